//! The journal as an agent sees it.
//!
//! What always holds: a started process is in a process group of its own with a cleared environment, and outlives the
//! agent; it is reaped when it ends while the agent lives; transport trouble is never a "no", only "unreachable" or "not in
//! time".

use super::client::{ClientError, JournalClient};
use super::core::{CANARY_CLIENT, Config};
use super::folder::{self, FolderError, LOG};
use super::peers::Peers;
use crate::{Engine, EngineFuture, EngineSpec, EngineTarget};
use slot_net::Dialer;
use slot_net::process::ProcessIdentity;
use slot_proto::pb;
use slot_types::codec;
use slot_types::engine::{EngineAnswer, EngineCall, EngineDone, EngineError, Source};
use slot_types::ids::{ClientName, Epoch, OrderId, RecordId, StoreName};
use slot_types::position::Digest;
use std::fs::OpenOptions;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;
use tonic::Code;

/// The most that is kept back of a call's budget for its answer's way.
const ANSWER_SLACK: Duration = Duration::from_millis(500);
/// What of the agent's environment a process gets.
const ENVIRONMENT: [&str; 3] = ["SLOT_LOG", "SLOT_FAILPOINTS", "RUST_BACKTRACE"];

/// The journal engine, with the program that serves it.
#[derive(Clone, Debug)]
pub struct JournalEngine {
    dialer: Dialer,
    peers: Peers,
    program: PathBuf,
}

impl JournalEngine {
    /// Calls engines with the agent's dialer, and starts them with this program and the agent's identity folder.
    pub fn new(dialer: Dialer, program: PathBuf) -> Self {
        Self { peers: Peers::new(dialer.clone()), dialer, program }
    }

    async fn control(
        &self,
        target: &EngineTarget,
        call: EngineCall,
        budget: Duration,
    ) -> Result<EngineDone, EngineError> {
        let to = Source { slot: target.slot.clone(), address: target.address };
        let mut client = self.peers.client(&to).map_err(EngineError::Unreachable)?;
        let request = pb::EngineControlRequest {
            call: codec::encode(&call),
            // A little less than is waited here, so that its own "not in time" still arrives.
            budget_ms: u32::try_from((budget - (budget / 10).min(ANSWER_SLACK)).as_millis()).unwrap_or(u32::MAX),
            store: target.store.to_string(),
            slot: target.slot.to_string(),
            copy_generation: target.generation.0,
        };
        let reply = tokio::time::timeout(budget, client.control(request));
        let reply =
            reply.await.map_err(|_| EngineError::TimedOut(format!("no answer in {} ms", budget.as_millis())))?;
        let reply = reply.map_err(|status| match status.code() {
            Code::DeadlineExceeded | Code::Cancelled => EngineError::TimedOut(status.to_string()),
            _ => EngineError::Unreachable(status.to_string()),
        })?;
        let answer: Result<EngineAnswer, _> = codec::decode(&reply.into_inner().answer);
        answer.map_err(|e| EngineError::Unreachable(e.to_string()))?.0
    }

    /// Writes a canary to the master and reads it back. It needs no copy here: the agent speaks to the master itself.
    async fn canary(
        &self,
        store: StoreName,
        epoch: Epoch,
        to: Source,
        id: OrderId,
        budget: Duration,
    ) -> Result<EngineDone, EngineError> {
        let failed = |detail: String| EngineError::SourceFailed { slot: to.slot.clone(), detail };
        let said = |e: ClientError| failed(e.to_string());
        let payload = format!("canary of {id}").into_bytes();
        let client = ClientName::new(CANARY_CLIENT).map_err(|e| failed(e.to_string()))?;
        // The same order gives the same record, however often it is tried (R21).
        let name = Digest::of(&borsh::to_vec(&id).unwrap_or_default()).0;
        let sequence = name.first_chunk::<8>().map_or(0, |head| u64::from_le_bytes(*head));
        let id = RecordId { client, sequence };
        let write_and_read = async {
            let client = JournalClient::new(&self.dialer, &to, store).map_err(said)?;
            let appended = client.append(epoch, id.clone(), payload.clone(), budget).await.map_err(said)?;
            let (records, _) = client.read(Some(epoch), appended.index, 1, budget).await.map_err(said)?;
            match records.first() {
                Some((_, record)) if record.id() == Some(&id) => Ok(EngineDone::Done),
                _ => Err(failed(format!("record {} was acknowledged and could not be read back", appended.index))),
            }
        };
        let late = || EngineError::TimedOut(format!("the canary took longer than {} ms", budget.as_millis()));
        tokio::time::timeout(budget, write_and_read).await.map_err(|_| late())?
    }

    fn start(&self, spec: &EngineSpec) -> std::io::Result<ProcessIdentity> {
        let out = OpenOptions::new().create(true).append(true).open(spec.dir.join(LOG))?;
        let mut command = Command::new(&self.program);
        command
            .arg("serve")
            .arg("--dir")
            .arg(&spec.dir)
            .arg("--listen")
            .arg(spec.target.address.to_string())
            .arg("--folder")
            .arg(self.dialer.folder().path())
            .env_clear()
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .process_group(0);
        for name in ENVIRONMENT {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        let mut child = command.spawn()?;
        let pid = child.id().ok_or_else(|| std::io::Error::other("it ended before it had a number"))?;
        let identity = ProcessIdentity::of(pid).map_err(std::io::Error::other);
        let slot = spec.target.slot.clone();
        // Reaps it; when the agent ends first, init does.
        tokio::spawn(async move {
            match child.wait().await {
                Ok(status) => tracing::info!(%slot, pid, "engine ended: {status}"),
                Err(e) => tracing::warn!(%slot, pid, "cannot wait for the engine: {e}"),
            }
        });
        identity
    }
}

fn config_of(target: &EngineTarget) -> Config {
    Config::new(target.store.clone(), target.slot.clone(), target.generation)
}

impl Engine for JournalEngine {
    fn call<'a>(
        &'a self,
        target: &'a EngineTarget,
        call: EngineCall,
        budget: Duration,
    ) -> EngineFuture<'a, EngineDone> {
        Box::pin(async move {
            match call {
                EngineCall::Canary { store, epoch, to, id } => self.canary(store, epoch, to, id, budget).await,
                call => self.control(target, call, budget).await,
            }
        })
    }

    fn provision<'a>(&'a self, spec: &'a EngineSpec) -> EngineFuture<'a, ()> {
        Box::pin(async move {
            let (dir, config) = (spec.dir.clone(), config_of(&spec.target));
            let made = tokio::task::spawn_blocking(move || folder::provision(&dir, &config)).await;
            match made {
                Ok(Ok(())) => Ok(()),
                Ok(Err(FolderError::OtherCopy { held, .. })) => Err(EngineError::OtherStore { held }),
                Ok(Err(e)) => Err(EngineError::Disk(e.to_string())),
                Err(e) => Err(EngineError::TimedOut(e.to_string())),
            }
        })
    }

    fn destroy<'a>(&'a self, spec: &'a EngineSpec) -> EngineFuture<'a, ()> {
        Box::pin(async move {
            let (dir, config) = (spec.dir.clone(), config_of(&spec.target));
            let gone = tokio::task::spawn_blocking(move || folder::destroy(&dir, &config)).await;
            match gone {
                Ok(Ok(())) => Ok(()),
                Ok(Err(FolderError::OtherCopy { held, .. })) => Err(EngineError::OtherStore { held }),
                Ok(Err(e)) => Err(EngineError::Disk(e.to_string())),
                Err(e) => Err(EngineError::TimedOut(e.to_string())),
            }
        })
    }

    fn launch<'a>(&'a self, spec: &'a EngineSpec) -> EngineFuture<'a, ProcessIdentity> {
        Box::pin(async move {
            let failed =
                |e: std::io::Error| EngineError::Unreachable(format!("starting {}: {e}", self.program.display()));
            self.start(spec).map_err(failed)
        })
    }
}
