//! Looking around for the leader: other hosts' addresses, and devices' words on their power.
//!
//! What always holds: what to look at is the leader's choice, how often too; what is tried, for how long and what it means is
//! decided in [`crate::core_looks`]; nothing here changes anything.

use crate::core_looks::{Connected, Effect, Event, LookCore};
use crate::fence::Fencer;
use slot_engine::{Engine, EngineTarget};
use slot_net::{Dialer, Identity, Role};
use slot_types::fence::FenceAction;
use slot_types::ids::{HostName, SlotId};
use slot_types::probe::{Looks, Sights};
use std::io::ErrorKind;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

/// Looks on behalf of one agent.
#[derive(Clone)]
pub struct Lookout {
    shared: Arc<Shared>,
}

struct Shared {
    core: Mutex<LookCore>,
    started: Instant,
    host: HostName,
    dialer: Dialer,
    fencer: Fencer,
    engine: Arc<dyn Engine>,
}

/// A call that is under way for as long as this lives: whoever asked may hang up at any time.
struct Call {
    shared: Arc<Shared>,
    number: u64,
}

impl Drop for Call {
    fn drop(&mut self) {
        self.shared.core().gone(self.number);
    }
}

impl Lookout {
    /// Looks as the identity of this dialer, which is that host's; its copies are asked by this engine.
    pub fn new(host: HostName, dialer: Dialer, fencer: Fencer, engine: Arc<dyn Engine>) -> Self {
        let core = Mutex::new(LookCore::new(dialer.folder().membership().cluster_id));
        Self { shared: Arc::new(Shared { core, started: Instant::now(), host, dialer, fencer, engine }) }
    }

    /// Looks at everything at once; the answers are in the order of the questions.
    pub async fn look(&self, looks: Looks) -> Result<Sights, String> {
        let now = self.shared.now();
        let (number, mut effects) = self.shared.core().ask(now, looks)?;
        // Dropped last: what is tried ends before the call counts as over.
        let call = Call { shared: self.shared.clone(), number };
        let mut running = JoinSet::new();
        loop {
            for effect in effects {
                if let Effect::Answer { sights, .. } = effect {
                    return Ok(sights);
                }
                let shared = self.shared.clone();
                running.spawn(async move { shared.carry_out(effect).await });
            }
            let wake = call.shared.core().wake_at(number).unwrap_or_default();
            let event = tokio::select! {
                Some(done) = running.join_next() => done.map_err(|e| format!("looking around: {e}"))?,
                () = sleep_until(self.shared.started + Duration::from_millis(wake)) => Some(Event::Tick(number)),
            };
            effects = event.map(|event| call.shared.core().step(self.shared.now(), event)).unwrap_or_default();
        }
    }
}

impl Shared {
    fn core(&self) -> MutexGuard<'_, LookCore> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    async fn carry_out(&self, effect: Effect) -> Option<Event> {
        Some(match effect {
            Effect::Connect { at, address } => {
                let connected = match TcpStream::connect(address).await {
                    Ok(_) => Connected::Made,
                    Err(error) if error.kind() == ErrorKind::ConnectionRefused => Connected::Refused,
                    Err(_) => Connected::Failed,
                };
                Event::Connected(at, connected)
            }
            Effect::Prove { at, host, address } => {
                let proven = match Identity::new(Role::Agent, host.as_str()) {
                    Ok(expected) => self.dialer.connect(address, &expected).await.is_ok(),
                    Err(_) => false,
                };
                Event::Proved(at, proven)
            }
            Effect::AskDevice { at, host, device, budget_ms } => {
                let budget = Duration::from_millis(budget_ms);
                Event::Told(at, self.fencer.ask(&host, FenceAction::Status, &device, budget).await)
            }
            Effect::AskEngine { at, copy, engine_call, budget_ms } => {
                let slot = SlotId::new(self.host.clone(), copy.slot);
                let (store, generation) = (copy.store, copy.generation);
                let target = EngineTarget { slot, address: copy.address, store, generation };
                let asked = self.engine.call(&target, engine_call, Duration::from_millis(budget_ms)).await;
                Event::Began(at, asked.map(drop).map_err(|e| e.to_string()))
            }
            Effect::Answer { .. } => return None,
        })
    }
}
