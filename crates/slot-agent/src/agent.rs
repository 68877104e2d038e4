//! The task that owns the core, and how everything is put together.
//!
//! What always holds: one task steps the core, so that events have one order; effects begin in the order given; time is
//! the machine's boot-time clock, which goes on while it sleeps.

use crate::config::AgentConfig;
use crate::core::hand::{ByHand, ByHandAnswer};
use crate::core::local::LocalStatus;
use crate::core::{AgentCore, CoreConfig, Effect, Event};
use crate::fence::Fencer;
use crate::ledger::{Ledger, LedgerError};
use crate::ledger_thread::{self, Persist};

use crate::load::Meter;
use crate::perform::Performer;
use crate::places::{PlaceError, Places};
use crate::room::Room;
use slot_engine::Engine;
use slot_types::codec;
use slot_types::ids::{BootId, ClusterId, HostName};
use slot_types::order::{AgentReport, Answer};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};

/// The most deliveries that wait to be looked at; past it callers wait in their own calls.
const DELIVERIES_MAX: usize = 256;
/// The same for people at the machine.
const LOCALS_MAX: usize = 16;

/// Why an agent could not begin.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The data folder.
    #[error(transparent)]
    Places(#[from] PlaceError),
    /// A thread of its own, for the ledger or the disk.
    #[error("starting a thread for the ledger or the disk: {0}")]
    Thread(#[source] std::io::Error),
}

struct Delivery {
    bytes: Vec<u8>,
    answer: oneshot::Sender<Answer>,
}

/// What a person at the machine asks.
enum Local {
    Status(oneshot::Sender<LocalStatus>),
    Start(Box<ByHand>, oneshot::Sender<ByHandAnswer>),
}

/// The running agent, as the service sees it.
#[derive(Clone)]
pub struct Handle {
    host: HostName,
    locals: mpsc::Sender<Local>,
    watchers: Arc<AtomicUsize>,
    deliveries: mpsc::Sender<Delivery>,
    reports: watch::Receiver<Vec<u8>>,
}

impl Handle {
    /// Hands in an encoded order and waits for the answer; `None` when the agent is ending.
    pub async fn deliver(&self, bytes: Vec<u8>) -> Option<Answer> {
        let (answer, answered) = oneshot::channel();
        self.deliveries.send(Delivery { bytes, answer }).await.ok()?;
        answered.await.ok()
    }

    /// Whose agent it is.
    pub fn host(&self) -> &HostName {
        &self.host
    }

    /// Counts a coordinator as watching for as long as the answer is kept; only one that leads watches.
    pub fn watched(&self) -> Watcher {
        self.watchers.fetch_add(1, Ordering::Relaxed);
        Watcher(self.watchers.clone())
    }

    /// Whether a coordinator that leads watches this agent now.
    pub fn is_led(&self) -> bool {
        self.watchers.load(Ordering::Relaxed) > 0
    }

    /// What a person at the machine is shown; `None` when the agent is ending.
    pub async fn local_status(&self) -> Option<LocalStatus> {
        let (answer, answered) = oneshot::channel();
        self.locals.send(Local::Status(answer)).await.ok()?;
        answered.await.ok()
    }

    /// Starts a master by a person's word (R19) and waits for what came of it; `None` when the agent is ending.
    pub async fn start_by_hand(&self, by_hand: ByHand) -> Option<ByHandAnswer> {
        let (answer, answered) = oneshot::channel();
        self.locals.send(Local::Start(Box::new(by_hand), answer)).await.ok()?;
        answered.await.ok()
    }

    /// Waits until the agent has ended: nobody who serves it is of any use from then on.
    pub async fn gone(&self) {
        let mut reports = self.reports.clone();
        while reports.changed().await.is_ok() {}
    }

    /// The latest report, encoded, and every one after it.
    pub fn reports(&self) -> watch::Receiver<Vec<u8>> {
        self.reports.clone()
    }
}

/// A coordinator that watches, until it is dropped.
pub struct Watcher(Arc<AtomicUsize>);

impl Drop for Watcher {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An agent that was opened and does not run yet.
pub struct Agent {
    core: AgentCore,
    first: Vec<Effect>,
    performer: Performer,
    room: Room,
    meter: Meter,
    persists: std::sync::mpsc::Sender<Persist>,
    events: mpsc::UnboundedReceiver<Event>,
    deliveries: mpsc::Receiver<Delivery>,
    reports: watch::Sender<Vec<u8>>,
    waiting: BTreeMap<u64, oneshot::Sender<Answer>>,
    next_delivery: u64,
    locals: mpsc::Receiver<Local>,
    watchers: Arc<AtomicUsize>,
    asking: BTreeMap<u64, oneshot::Sender<ByHandAnswer>>,
}

impl Agent {
    /// Opens ledger and data folder and adopts the engines that run. Needs a tokio runtime around it. Blocks: the ledger
    /// is read and checked.
    pub fn open(
        config: &AgentConfig,
        cluster: ClusterId,
        boot: BootId,
        engine: Arc<dyn Engine>,
    ) -> Result<(Agent, Handle), AgentError> {
        let places = Places::open(&config.data, boot)?;
        let (ledger, image) = Ledger::open(&places.ledger(), cluster, &config.host)?;
        let adopted = places.adopt()?;
        for (slot, engine) in &adopted {
            tracing::info!(pid = engine.process.pid, "adopted the engine of slot {slot:02}, {}", engine.serving.store);
        }
        let (sender, events) = mpsc::unbounded_channel();
        let persists = ledger_thread::start(ledger, sender.clone()).map_err(AgentError::Thread)?;
        let running = adopted.iter().map(|(slot, engine)| (*slot, engine.serving.clone())).collect();
        let core_config = CoreConfig { slots: config.slots.keys().copied().collect() };
        let incarnation = image.meta.incarnation;
        let (core, first) = AgentCore::open(core_config, image, boot, running, slot_net::boottime_ms());
        tracing::info!(%incarnation, %boot, "ledger opened, highest order {}", core.ledger().meta.highest);
        let room = Room::watch(&config.data).map_err(AgentError::Thread)?;
        let meter = Meter::new(&config.data);
        let performer = Performer::new(
            config.host.clone(),
            config.slots.clone(),
            engine,
            places,
            Fencer::new(config.fence_dir.clone()),
            adopted,
            sender,
        );
        let (deliver, deliveries) = mpsc::channel(DELIVERIES_MAX);
        let first_report = AgentReport { disk: room.now(), ..core.report() };
        let (reports, reports_seen) = watch::channel(codec::encode(&first_report));
        let (locals_in, locals) = mpsc::channel(LOCALS_MAX);
        let watchers = Arc::new(AtomicUsize::new(0));
        let handle = Handle {
            host: config.host.clone(),
            locals: locals_in,
            watchers: watchers.clone(),
            deliveries: deliver,
            reports: reports_seen,
        };
        let (waiting, asking, next_delivery) = (BTreeMap::new(), BTreeMap::new(), 1);
        let agent = Agent {
            core,
            first,
            performer,
            room,
            meter,
            persists,
            events,
            deliveries,
            reports,
            waiting,
            next_delivery,
            locals,
            watchers,
            asking,
        };
        Ok((agent, handle))
    }

    /// Runs until every [`Handle`] is dropped. Engines run on (S10).
    pub async fn run(mut self) {
        let watching = tokio::spawn(self.performer.clone().watch());
        let measuring = tokio::spawn(self.meter.clone().watch(self.performer.clone()));
        let first = std::mem::take(&mut self.first);
        self.begin(first);
        loop {
            let wait = self.core.wake_at().saturating_sub(slot_net::boottime_ms());
            let event = tokio::select! {
                event = self.events.recv() => match event {
                    Some(event) => event,
                    None => break,
                },
                delivery = self.deliveries.recv() => match delivery {
                    Some(delivery) => self.delivered(delivery),
                    None => break,
                },
                local = self.locals.recv() => match local {
                    Some(local) => self.asked(local),
                    None => break,
                },
                () = tokio::time::sleep(Duration::from_millis(wait)) => Event::Tick,
            };
            let effects = self.core.step(slot_net::boottime_ms(), event);
            self.begin(effects);
        }
        watching.abort();
        measuring.abort();
    }

    fn delivered(&mut self, delivery: Delivery) -> Event {
        let number = self.next_delivery;
        self.next_delivery += 1;
        self.waiting.insert(number, delivery.answer);
        Event::Deliver { delivery: number, bytes: delivery.bytes }
    }

    fn asked(&mut self, local: Local) -> Event {
        match local {
            Local::Status(answer) => {
                // Whoever asked may have gone.
                let _ = answer.send(self.core.local_status(self.watchers.load(Ordering::Relaxed) > 0));
                Event::Tick
            }
            Local::Start(by_hand, answer) => {
                let ask = self.next_delivery;
                self.next_delivery += 1;
                self.asking.insert(ask, answer);
                Event::ByHand { ask, by_hand }
            }
        }
    }

    fn begin(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Persist { op, writes, marks } => {
                    if self.persists.send(Persist { op, writes, marks }).is_err() {
                        // Its thread ended without an answer: what is durable is not known any more (P11).
                        tracing::error!("the ledger's thread is gone; ending");
                        std::process::abort();
                    }
                }
                Effect::Answer { delivery, answer } => {
                    if let Some(waiting) = self.waiting.remove(&delivery) {
                        // Whoever asked may have gone; the outcome is in the ledger.
                        let _ = waiting.send(answer);
                    }
                }
                Effect::Told { ask, answer } => {
                    if let Some(asking) = self.asking.remove(&ask) {
                        // Whoever asked may have gone; what came of it is in the ledger.
                        let _ = asking.send(answer);
                    }
                }
                Effect::Report(mut report) => {
                    report.disk = self.room.now();
                    report.load = self.meter.now();
                    self.reports.send_replace(codec::encode(&report));
                }
                effect => self.performer.perform(effect),
            }
        }
    }
}
