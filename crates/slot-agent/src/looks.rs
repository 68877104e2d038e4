//! Looking around for the leader: other hosts' addresses, and devices' words on their power.
//!
//! What always holds: what to look at is the leader's choice, how often too; nothing here changes anything, and a device is
//! asked for its status and nothing else; each probe ends at its time, and a call holds at most
//! [`slot_types::probe::LOOKS_MAX`] of them.

use crate::fence::Fencer;
use slot_engine::{Engine, EngineTarget};
use slot_net::{Dialer, Identity, Role};
use slot_types::engine::EngineCall;
use slot_types::fence::{FenceAction, FenceSaid, FenceSpec};
use slot_types::ids::{ClusterId, HostName, SlotId};
use slot_types::probe::{LOOKS_MAX, LookAt, Looks, PROBE_MS, Probed, Saw, Sights};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// How long one look may take, a question to an engine of its own host among them.
const PROBE: Duration = Duration::from_millis(PROBE_MS);
/// The longest that a device is waited for here; a fence gives it its own time.
const DEVICE_MAX: Duration = Duration::from_secs(20);

/// Looks on behalf of one agent.
#[derive(Clone)]
pub struct Lookout {
    shared: Arc<Shared>,
}

struct Shared {
    cluster: ClusterId,
    host: HostName,
    dialer: Dialer,
    fencer: Fencer,
    engine: Arc<dyn Engine>,
}

impl Lookout {
    /// Looks as the identity of this dialer, which is that host's; its copies are asked by this engine.
    pub fn new(host: HostName, dialer: Dialer, fencer: Fencer, engine: Arc<dyn Engine>) -> Self {
        let cluster = dialer.folder().membership().cluster_id;
        Self { shared: Arc::new(Shared { cluster, host, dialer, fencer, engine }) }
    }

    /// Looks at everything at once; the answers are in the order of the questions.
    pub async fn look(&self, looks: Looks) -> Result<Sights, String> {
        if looks.cluster != self.shared.cluster {
            return Err(format!("looks for cluster {} asked of cluster {}", looks.cluster, self.shared.cluster));
        }
        if looks.at.len() > LOOKS_MAX {
            return Err(format!("{} looks asked in one call; at most {LOOKS_MAX} are taken", looks.at.len()));
        }
        let mut running = JoinSet::new();
        let mut saw: Vec<Saw> = looks.at.iter().map(unseen).collect();
        for (number, at) in looks.at.into_iter().enumerate() {
            let shared = self.shared.clone();
            running.spawn(async move { (number, shared.one(at).await) });
        }
        while let Some(done) = running.join_next().await {
            let (number, what) = done.map_err(|e| format!("looking around: {e}"))?;
            saw[number] = what;
        }
        Ok(Sights { saw })
    }
}

fn unseen(at: &LookAt) -> Saw {
    match at {
        LookAt::Address { .. } => Saw::Probe(Probed::NoAnswer),
        LookAt::Power { .. } => Saw::Power(Err("it was not asked".into())),
        LookAt::Verify { .. } => Saw::Verify(Err("it was not asked".into())),
    }
}

impl Shared {
    async fn one(&self, at: LookAt) -> Saw {
        match at {
            LookAt::Address { host, address, .. } => Saw::Probe(self.probe(&host, address).await),
            LookAt::Power { host, device } => Saw::Power(self.power(&host, &device).await),
            LookAt::Verify { slot, address, store, generation, epoch, against, asked, rate } => {
                let target = EngineTarget { slot: SlotId::new(self.host.clone(), slot), address, store, generation };
                let call = EngineCall::Verify { epoch, against, asked, rate };
                Saw::Verify(self.engine.call(&target, call, PROBE).await.map(drop).map_err(|e| e.to_string()))
            }
        }
    }

    /// First whether anything takes the connection, then whether it proves to be that host.
    async fn probe(&self, host: &HostName, address: SocketAddr) -> Probed {
        match timeout(PROBE, TcpStream::connect(address)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused => return Probed::Refused,
            Ok(Err(_)) | Err(_) => return Probed::NoAnswer,
        }
        let Ok(expected) = Identity::new(Role::Agent, host.as_str()) else { return Probed::Unproven };
        match timeout(PROBE, self.dialer.connect(address, &expected)).await {
            Ok(Ok(_)) => Probed::Answered,
            Ok(Err(_)) | Err(_) => Probed::Unproven,
        }
    }

    async fn power(&self, host: &HostName, device: &FenceSpec) -> Result<slot_types::fence::Power, String> {
        let budget = Duration::from_millis(device.timeout_ms).min(DEVICE_MAX);
        match self.fencer.ask(host, FenceAction::Status, device, budget).await? {
            FenceSaid::Power(power) => Ok(power),
            FenceSaid::Switched => Err("it answered another question".into()),
        }
    }
}
