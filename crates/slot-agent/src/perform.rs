//! Carrying out the core's effects on engines and processes.
//!
//! What always holds: every call, launch, kill, provision, removal and fence is answered exactly once, a call no later than its budget and
//! [`CALL_SLACK`]; a launch that failed left no process; "gone" is the kernel's word (R2).

use crate::core::{Effect, Event, Serving};
use crate::fence::Fencer;
use crate::places::{Adopted, Places};
use slot_engine::{Engine, EngineSpec, EngineTarget};
use slot_net::process::{ProcessIdentity, is_alive, kill_and_wait};
use slot_types::engine::{EngineCall, EngineError};
use slot_types::ids::*;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::{Instant, sleep, timeout};

/// How much longer than its budget a call is waited for.
pub const CALL_SLACK: Duration = Duration::from_millis(500);
/// How long a started engine may take to answer its first call: it reads its whole journal first.
pub const START_PATIENCE: Duration = Duration::from_secs(20);
/// How long a killed process may take to be gone.
pub const KILL_PATIENCE: Duration = Duration::from_secs(10);
/// How often engine processes are looked at.
pub const WATCH_EVERY: Duration = Duration::from_millis(100);
/// The pause between two first calls on a starting engine.
const START_PAUSE: Duration = Duration::from_millis(20);

/// An engine process that runs, as far as is known.
#[derive(Clone, Debug)]
struct Running {
    instance: u64,
    serving: Serving,
    process: ProcessIdentity,
}

/// Performs effects in tasks of their own and tells the agent what came of them.
#[derive(Clone)]
pub struct Performer {
    shared: Arc<Shared>,
}

struct Shared {
    host: HostName,
    slots: BTreeMap<u16, SocketAddr>,
    engine: Arc<dyn Engine>,
    places: Places,
    fencer: Fencer,
    running: Mutex<BTreeMap<u16, Running>>,
    events: UnboundedSender<Event>,
}

impl Performer {
    /// Begins with the engine processes that were found alive.
    pub fn new(
        host: HostName,
        slots: BTreeMap<u16, SocketAddr>,
        engine: Arc<dyn Engine>,
        places: Places,
        fencer: Fencer,
        adopted: BTreeMap<u16, Adopted>,
        events: UnboundedSender<Event>,
    ) -> Self {
        let running = adopted.into_iter().map(|(slot, Adopted { serving, process })| {
            let running = Running { instance: 0, serving, process };
            (slot, running)
        });
        let running = Mutex::new(running.collect());
        Self { shared: Arc::new(Shared { host, slots, engine, places, fencer, running, events }) }
    }

    /// Begins an effect; what comes of it follows as an event. Effects of the ledger, answers and reports are not for here.
    pub fn perform(&self, effect: Effect) {
        let shared = self.shared.clone();
        match effect {
            Effect::Call { call, slot, engine_call, budget_ms } => drop(tokio::spawn(async move {
                let (began, name) = (Instant::now(), engine_call.name());
                let result = shared.call(slot, engine_call, Duration::from_millis(budget_ms)).await;
                tracing::debug!(?slot, call = name, us = began.elapsed().as_micros(), "engine answered");
                shared.tell(Event::EngineAnswer { call, result });
            })),
            Effect::Launch { slot, instance, serving } => drop(tokio::spawn(async move {
                shared.launch(slot, instance, serving).await;
            })),
            Effect::Kill { slot, instance } => drop(tokio::spawn(async move {
                let result = shared.kill(slot, instance).await;
                shared.tell(Event::Reaped { slot, instance, result });
            })),
            Effect::Provision { slot, serving } => drop(tokio::spawn(async move {
                let result = shared.provision(slot, serving).await;
                shared.tell(Event::Provisioned { slot, result });
            })),
            Effect::Remove { slot, serving } => drop(tokio::spawn(async move {
                let result = shared.remove(slot, serving).await;
                shared.tell(Event::Removed { slot, result });
            })),
            Effect::Fence { call, host, action, device, budget_ms } => drop(tokio::spawn(async move {
                let result = shared.fencer.ask(&host, action, &device, Duration::from_millis(budget_ms)).await;
                shared.tell(Event::FenceAnswer { call, result });
            })),
            Effect::Persist { .. } | Effect::Answer { .. } | Effect::Told { .. } | Effect::Report(_) => {}
        }
    }

    /// The engine processes that run, by slot, as far as is known.
    pub fn processes(&self) -> BTreeMap<u16, ProcessIdentity> {
        self.shared.running().iter().map(|(slot, running)| (*slot, running.process)).collect()
    }

    /// Looks at the engine processes for ever, and says which are dead. Nothing is started again (S10).
    pub async fn watch(self) {
        loop {
            sleep(WATCH_EVERY).await;
            let running: Vec<_> =
                self.shared.running().iter().map(|(slot, r)| (*slot, r.instance, r.process)).collect();
            let looked = tokio::task::spawn_blocking(move || {
                let dead = running.into_iter().filter(|(slot, _, process)| match is_alive(process) {
                    Ok(alive) => !alive,
                    Err(error) => {
                        tracing::warn!("cannot look at the engine of slot {slot:02}: {error}; it counts as alive");
                        false
                    }
                });
                dead.collect::<Vec<_>>()
            });
            for (slot, instance, _) in looked.await.unwrap_or_default() {
                if self.shared.forget(slot, instance) {
                    tracing::warn!("the engine of slot {slot:02} is gone");
                    self.shared.tell(Event::EngineGone { slot, instance });
                }
            }
        }
    }
}

impl Shared {
    fn running(&self) -> MutexGuard<'_, BTreeMap<u16, Running>> {
        // A task that panicked while it held the map left it whole: every change is one insert or remove.
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, event: Event) {
        // The receiver is gone only when the agent is ending.
        let _ = self.events.send(event);
    }

    fn forget(&self, slot: u16, instance: u64) -> bool {
        let mut running = self.running();
        let is_it = running.get(&slot).is_some_and(|r| r.instance == instance);
        if is_it {
            running.remove(&slot);
        }
        is_it
    }

    fn target(&self, slot: u16, serving: &Serving) -> Result<EngineTarget, String> {
        let address = *self.slots.get(&slot).ok_or_else(|| format!("slot {slot:02} is not in agent.toml"))?;
        let Serving { store, generation } = serving.clone();
        Ok(EngineTarget { slot: SlotId::new(self.host.clone(), slot), address, store, generation })
    }

    fn spec(&self, slot: u16, serving: &Serving) -> Result<EngineSpec, String> {
        Ok(EngineSpec { target: self.target(slot, serving)?, dir: self.places.copy(slot, serving) })
    }

    async fn call(
        &self,
        slot: Option<u16>,
        call: EngineCall,
        budget: Duration,
    ) -> Result<slot_types::engine::EngineDone, EngineError> {
        let target = match (slot, &call) {
            (None, EngineCall::Canary { store, to, .. }) => EngineTarget {
                slot: to.slot.clone(),
                address: to.address,
                store: store.clone(),
                generation: CopyGeneration::default(),
            },
            (None, _) => return Err(EngineError::Unreachable("the call names no slot".into())),
            (Some(slot), _) => {
                let serving = self.running().get(&slot).map(|r| r.serving.clone());
                let serving = serving.ok_or_else(|| EngineError::Unreachable("no engine process runs".into()))?;
                self.target(slot, &serving).map_err(EngineError::Unreachable)?
            }
        };
        match timeout(budget + CALL_SLACK, self.engine.call(&target, call, budget)).await {
            Ok(result) => result,
            Err(_) => Err(EngineError::TimedOut(format!("no answer within {budget:?}"))),
        }
    }

    async fn provision(&self, slot: u16, serving: Serving) -> Result<(), String> {
        self.places.make_slot(slot).map_err(|e| e.to_string())?;
        let spec = self.spec(slot, &serving)?;
        self.engine.provision(&spec).await.map_err(|e| e.to_string())
    }

    async fn remove(&self, slot: u16, serving: Serving) -> Result<(), String> {
        let spec = self.spec(slot, &serving)?;
        self.engine.destroy(&spec).await.map_err(|e| e.to_string())
    }

    /// Starts an engine, notes its process, and waits until it answers.
    async fn launch(&self, slot: u16, instance: u64, serving: Serving) {
        let result = self.start(slot, &serving).await;
        // Known before it is told, so that the first call after the launch finds it.
        if let Ok(process) = result {
            self.running().insert(slot, Running { instance, serving, process });
        }
        if let Err(why) = &result {
            tracing::warn!("the engine of slot {slot:02} did not start: {why}");
        }
        self.tell(Event::EngineLaunched { slot, instance, result: result.map(|_| ()) });
    }

    /// `Ok` when a process is there, also one that does not answer and can't be ended: it must be taken for alive (R2).
    async fn start(&self, slot: u16, serving: &Serving) -> Result<ProcessIdentity, String> {
        let spec = self.spec(slot, serving)?;
        let process = self.engine.launch(&spec).await.map_err(|e| e.to_string())?;
        tracing::info!(pid = process.pid, "started the engine of slot {slot:02} for {}", serving.store);
        let ready = match self.places.note(slot, serving, process) {
            Ok(()) => self.ready(&spec.target, process).await,
            Err(error) => Err(error.to_string()),
        };
        let Err(why) = ready else { return Ok(process) };
        match self.end(process).await {
            Ok(()) => Err(why),
            Err(error) => {
                tracing::error!("the engine of slot {slot:02}: {why}; and it can't be ended: {error}");
                Ok(process)
            }
        }
    }

    async fn ready(&self, target: &EngineTarget, process: ProcessIdentity) -> Result<(), String> {
        let deadline = Instant::now() + START_PATIENCE;
        loop {
            let budget = Duration::from_secs(1);
            let answer = timeout(budget + CALL_SLACK, self.engine.call(target, EngineCall::Status, budget)).await;
            if matches!(answer, Ok(Ok(_))) {
                return Ok(());
            }
            if matches!(is_alive(&process), Ok(false)) {
                return Err("it ended at once; see its log".into());
            }
            if Instant::now() >= deadline {
                return Err(format!("it did not answer within {START_PATIENCE:?}"));
            }
            sleep(START_PAUSE).await;
        }
    }

    async fn kill(&self, slot: u16, instance: u64) -> Result<(), String> {
        let process = self.running().get(&slot).filter(|r| r.instance == instance).map(|r| r.process);
        // Not in the map: it was seen dead.
        let Some(process) = process else { return Ok(()) };
        self.end(process).await?;
        self.forget(slot, instance);
        Ok(())
    }

    /// R2: `Ok` only when no thread of it runs any more.
    async fn end(&self, process: ProcessIdentity) -> Result<(), String> {
        let killed = tokio::task::spawn_blocking(move || kill_and_wait(&process, KILL_PATIENCE)).await;
        killed.map_err(|e| e.to_string())?.map_err(|e| e.to_string())
    }
}
