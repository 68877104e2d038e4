//! The engine's process: opens one copy and serves it.
//!
//! What always holds: no request is served before the copy is open; the table in `slot_net::authz` lets a role in, and here
//! the rest is checked: a client writes under its own name, an engine pulls in its own host's name, and only the agent of
//! this very host controls (S15).

use super::core::{CANARY_CLIENT, Config, Event, PeerCall, Reply};
use super::folder::{self, CopyFolder, FolderError};
use super::peers::Peers;
use super::runtime::{Ended, Handle, OpenFailed, Runtime};
use super::{PURPOSE, wire};
use slot_net::{Dialer, Identity, IdentityFolder, MESSAGE_BYTES_MAX, Role, ServeError, identity_of};
use slot_proto::pb;
use slot_proto::pb::journal_server::{Journal, JournalServer};
use slot_types::codec;
use slot_types::engine::{EngineAnswer, EngineCall, EngineDone, EngineError};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tonic::{Request, Response, Status};

/// How long one wait of a Tail lasts before it asks the core again.
const TAIL_WAIT_MS: u64 = 2_000;
/// How long a stopped engine's last answers may take.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// Why the process ended with a failure.
#[derive(Debug, thiserror::Error)]
pub enum ServeFailed {
    /// Its identity folder.
    #[error("loading the identity: {0}")]
    Identity(#[from] slot_net::FolderError),
    /// The certificate is not of this slot's host.
    #[error("the copy is on {host}, but the identity folder is {identity}'s; give the folder of that host's agent")]
    OtherHost {
        /// The copy's host.
        host: String,
        /// Whose folder it is.
        identity: Identity,
    },
    /// Its data folder.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// Its files.
    #[error(transparent)]
    Open(#[from] OpenFailed),
    /// Its address.
    #[error("listening at {address}: {cause}; is another process there?")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why not.
        cause: std::io::Error,
    },
    /// Serving ended.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// It must not go on (P11, P12).
    #[error("the engine ended itself: {0}")]
    Died(String),
}

/// What it takes to serve a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServeOptions {
    /// The copy's folder.
    pub dir: PathBuf,
    /// Where to listen.
    pub listen: SocketAddr,
    /// The identity folder of the host's agent.
    pub folder: PathBuf,
}

/// Serves a copy until it is told to stop, by its agent or by SIGTERM.
pub async fn serve(options: &ServeOptions) -> Result<(), ServeFailed> {
    let identity = IdentityFolder::load(&options.folder)?;
    let config = folder::identify(&options.dir)?;
    let host = config.slot.host.as_str();
    if identity.identity().role() != Role::Agent || identity.identity().name() != host {
        return Err(ServeFailed::OtherHost { host: host.into(), identity: identity.identity().clone() });
    }
    let copy = CopyFolder::lock(&options.dir)?;
    let peers = Peers::new(Dialer::new(identity.clone()));
    let (runtime, handle) = Runtime::open(config.clone(), copy, peers)?;
    let listener = TcpListener::bind(options.listen)
        .await
        .map_err(|cause| ServeFailed::Listen { address: options.listen, cause })?;
    tracing::info!(store = %config.store, slot = %config.slot, generation = %config.generation, address = %options.listen, "serving; {PURPOSE}");
    stop_on_sigterm(handle.clone());
    let service = Service { handle, host: host.to_string(), config: config.clone() };
    let service = JournalServer::new(service)
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let routes = tonic::service::Routes::new(service);
    let (stop, stopped) = oneshot::channel::<()>();
    let shutdown = async {
        // A sender that is gone means the same.
        let _ = stopped.await;
    };
    let mut serving = std::pin::pin!(slot_net::serve(listener, &identity, routes, shutdown));
    let ended = tokio::select! {
        ended = runtime.run() => ended,
        outcome = &mut serving => return outcome.map_err(ServeFailed::from),
    };
    match ended {
        Ended::Died(reason) => Err(ServeFailed::Died(reason)),
        Ended::Stopped => {
            let _ = stop.send(());
            tracing::info!("stopped, everything is durable");
            // The last answers leave; whoever still holds a connection is cut.
            tokio::time::timeout(LAST_ANSWERS, serving)
                .await
                .map_or(Ok(()), |outcome| outcome.map_err(ServeFailed::from))
        }
    }
}

fn stop_on_sigterm(handle: Handle) {
    match signal(SignalKind::terminate()) {
        Ok(mut term) => {
            tokio::spawn(async move {
                term.recv().await;
                let stop = |request| Event::Control { request, call: EngineCall::Stop, budget_ms: 0 };
                handle.ask(stop).await;
            });
        }
        Err(e) => tracing::warn!("SIGTERM will not stop it cleanly: {e}"),
    }
}

/// Makes an empty copy, for the program's `provision`.
pub fn provision(dir: &Path, config: &Config) -> Result<(), ServeFailed> {
    Ok(folder::provision(dir, config)?)
}

struct Service {
    handle: Handle,
    host: String,
    config: Config,
}

fn ended() -> Status {
    Status::unavailable("the engine is ending; the outcome is unknown")
}

/// A client writes under its own name or one that begins with it and a hyphen; never under the canary's.
fn may_write_as(identity: &Identity, client: &str) -> bool {
    match identity.role() {
        Role::Agent => true,
        Role::Client => {
            let rest = client.strip_prefix(identity.name());
            client != CANARY_CLIENT && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        }
        Role::Coordinator | Role::Operator | Role::FrontEnd | Role::Joiner => false,
    }
}

impl Service {
    async fn peer<T>(
        &self,
        request: Request<pb::EnginePeerRequest>,
        fits: T,
    ) -> Result<Response<pb::EnginePeerReply>, Status>
    where
        T: FnOnce(&PeerCall, &Identity) -> bool,
    {
        let identity = identity_of(&request)?.clone();
        let call: PeerCall =
            codec::decode(&request.get_ref().call).map_err(|e| Status::invalid_argument(e.to_string()))?;
        if !fits(&call, &identity) {
            return Err(Status::permission_denied(format!("{identity} may not ask this here")));
        }
        match self.handle.ask(|request| Event::Peer { request, call }).await {
            Some(Reply::Peer(answer)) => Ok(Response::new(pb::EnginePeerReply { answer: codec::encode(&answer) })),
            _ => Err(ended()),
        }
    }

    async fn control_answer(
        &self,
        request: &pb::EngineControlRequest,
    ) -> Result<Result<EngineDone, EngineError>, Status> {
        let Config { store, slot, generation, .. } = &self.config;
        let is_meant = request.store == store.as_str()
            && request.slot == slot.to_string()
            && request.copy_generation == generation.0;
        if !is_meant {
            // R11: a slot's process is told by store and copy generation, not by its address.
            return Ok(Err(EngineError::OtherStore { held: format!("{store} on {slot}, copy {generation}") }));
        }
        let call: EngineCall = codec::decode(&request.call).map_err(|e| Status::invalid_argument(e.to_string()))?;
        let budget_ms = request.budget_ms.into();
        match self.handle.ask(move |request| Event::Control { request, call, budget_ms }).await {
            Some(Reply::Control(EngineAnswer(answer))) => Ok(answer),
            _ => Err(ended()),
        }
    }
}

#[tonic::async_trait]
impl Journal for Service {
    type TailStream = Pin<Box<dyn futures::Stream<Item = Result<pb::JournalReadReply, Status>> + Send>>;

    async fn append(&self, request: Request<pb::AppendRequest>) -> Result<Response<pb::AppendReply>, Status> {
        let identity = identity_of(&request)?;
        if !may_write_as(identity, &request.get_ref().client) {
            let client = &request.get_ref().client;
            return Err(Status::permission_denied(format!("{identity} may not write as {client:?}")));
        }
        let (append, budget_ms) = wire::append_from(request.into_inner())?;
        match self.handle.ask(move |request| Event::Append { request, append, budget_ms }).await {
            Some(Reply::Append(outcome)) => Ok(Response::new(wire::outcome_to(outcome))),
            _ => Err(ended()),
        }
    }

    async fn read(&self, request: Request<pb::JournalReadRequest>) -> Result<Response<pb::JournalReadReply>, Status> {
        let read = wire::read_from(request.into_inner())?;
        match self.handle.ask(|request| Event::Read { request, read }).await {
            Some(Reply::Read(outcome)) => Ok(Response::new(wire::read_outcome_to(outcome))),
            _ => Err(ended()),
        }
    }

    async fn tail(&self, request: Request<pb::JournalReadRequest>) -> Result<Response<Self::TailStream>, Status> {
        let mut read = wire::read_from(request.into_inner())?;
        read.wait_ms = TAIL_WAIT_MS;
        let handle = self.handle.clone();
        let stream = async_stream::stream! {
            loop {
                let next = read.clone();
                let Some(Reply::Read(outcome)) = handle.ask(move |request| Event::Read { request, read: next }).await else {
                    yield Err(ended());
                    return;
                };
                match &outcome {
                    super::core::ReadOutcome::Records { records, .. } if records.is_empty() => {}
                    super::core::ReadOutcome::Records { from, records, .. } => {
                        read.from = from + records.len() as u64;
                        yield Ok(wire::read_outcome_to(outcome));
                    }
                    super::core::ReadOutcome::Refused(_) => {
                        yield Ok(wire::read_outcome_to(outcome));
                        return;
                    }
                }
            }
        };
        Ok(Response::new(Box::pin(stream)))
    }

    async fn pull(&self, request: Request<pb::EnginePeerRequest>) -> Result<Response<pb::EnginePeerReply>, Status> {
        // What a follower says of itself counts for acknowledgements (R24): it must be its host that says so.
        let fits = |call: &PeerCall, identity: &Identity| match call {
            PeerCall::Pull(pull) => pull.from.host.as_str() == identity.name(),
            _ => false,
        };
        self.peer(request, fits).await
    }

    async fn contains(&self, request: Request<pb::EnginePeerRequest>) -> Result<Response<pb::EnginePeerReply>, Status> {
        let fits = |call: &PeerCall, _: &Identity| {
            matches!(call, PeerCall::Compare { .. } | PeerCall::Contains { .. } | PeerCall::Fingerprint { .. })
        };
        self.peer(request, fits).await
    }

    async fn control(
        &self,
        request: Request<pb::EngineControlRequest>,
    ) -> Result<Response<pb::EngineControlReply>, Status> {
        let identity = identity_of(&request)?;
        if identity.role() != Role::Agent || identity.name() != self.host {
            return Err(Status::permission_denied(format!("{identity} does not control the engines of {}", self.host)));
        }
        let answer = EngineAnswer(self.control_answer(request.get_ref()).await?);
        Ok(Response::new(pb::EngineControlReply { answer: codec::encode(&answer) }))
    }
}
