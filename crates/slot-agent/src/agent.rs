//! The task that owns the core, and how everything is put together.
//!
//! What always holds: one task steps the core, so that events have one order; effects begin in the order given; time is
//! the machine's boot-time clock, which goes on while it sleeps.

use crate::config::AgentConfig;
use crate::core::{AgentCore, CoreConfig, Effect, Event};
use crate::fence::Fencer;
use crate::ledger::{Ledger, LedgerError};
use crate::ledger_thread::{self, Persist};
use crate::perform::Performer;
use crate::places::{PlaceError, Places};
use slot_engine::Engine;
use slot_types::codec;
use slot_types::ids::{BootId, ClusterId};
use slot_types::order::Answer;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};

/// The most deliveries that wait to be looked at; past it callers wait in their own calls.
const DELIVERIES_MAX: usize = 256;

/// Why an agent could not begin.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The data folder.
    #[error(transparent)]
    Places(#[from] PlaceError),
    /// The ledger's thread.
    #[error("starting the ledger's thread: {0}")]
    Thread(#[source] std::io::Error),
}

struct Delivery {
    bytes: Vec<u8>,
    answer: oneshot::Sender<Answer>,
}

/// The running agent, as the service sees it.
#[derive(Clone)]
pub struct Handle {
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

    /// The latest report, encoded, and every one after it.
    pub fn reports(&self) -> watch::Receiver<Vec<u8>> {
        self.reports.clone()
    }
}

/// An agent that was opened and does not run yet.
pub struct Agent {
    core: AgentCore,
    first: Vec<Effect>,
    performer: Performer,
    persists: std::sync::mpsc::Sender<Persist>,
    events: mpsc::UnboundedReceiver<Event>,
    deliveries: mpsc::Receiver<Delivery>,
    reports: watch::Sender<Vec<u8>>,
    waiting: BTreeMap<u64, oneshot::Sender<Answer>>,
    next_delivery: u64,
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
        let (reports, reports_seen) = watch::channel(codec::encode(&core.report()));
        let handle = Handle { deliveries: deliver, reports: reports_seen };
        let (waiting, next_delivery) = (BTreeMap::new(), 1);
        let agent = Agent { core, first, performer, persists, events, deliveries, reports, waiting, next_delivery };
        Ok((agent, handle))
    }

    /// Runs until every [`Handle`] is dropped. Engines run on (S10).
    pub async fn run(mut self) {
        let watching = tokio::spawn(self.performer.clone().watch());
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
                () = tokio::time::sleep(Duration::from_millis(wait)) => Event::Tick,
            };
            let effects = self.core.step(slot_net::boottime_ms(), event);
            self.begin(effects);
        }
        watching.abort();
    }

    fn delivered(&mut self, delivery: Delivery) -> Event {
        let number = self.next_delivery;
        self.next_delivery += 1;
        self.waiting.insert(number, delivery.answer);
        Event::Deliver { delivery: number, bytes: delivery.bytes }
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
                Effect::Report(report) => {
                    self.reports.send_replace(codec::encode(&report));
                }
                effect => self.performer.perform(effect),
            }
        }
    }
}
