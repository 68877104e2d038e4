//! The agent's decisions, without I/O: `step(now_ms, event) -> effects`.
//!
//! What always holds: an order is accepted durably before anything is performed for it, and its outcome is durable before
//! anyone hears of it (S6); orders on one slot run one at a time (R21); nothing is started, stopped, changed or deleted but
//! by an order, or by a person at the machine (S10, R19); every check on an order is made again just before each of its effects (P4).
//!
//! The shell's duties: perform effects in the order given; do `Persist` operations one after the other and answer each
//! with [`Event::LedgerDone`] once it is durable, or end the process; answer every `Call`, `Launch`, `Kill`, `Provision`,
//! `Remove` and `Fence` exactly once, a call no later than its budget and a little; say [`Event::EngineGone`] once a process it was given as
//! running, or launched, is dead.

pub mod admit;
mod deliver;
mod engines;
mod fence;
pub mod hand;
pub mod image;
pub mod local;
mod record;
mod work;

use hand::{ByHand, ByHandAnswer};
use image::{LedgerImage, LedgerRole, LedgerWrite};
use slot_types::engine::{EngineCall, EngineDone, EngineError, EngineStatus};
use slot_types::fence::{FenceAction, FenceSaid, FenceSpec};
use slot_types::ids::*;
use slot_types::order::{AgentReport, Answer, Order, Outcome};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// How often a running engine is asked for its status.
pub const POLL_EVERY_MS: u64 = 500;
/// How long a status call may take before the engine counts as silent.
pub const POLL_BUDGET_MS: u64 = 1_000;
/// The pause before something that failed is tried again within the budget.
pub const RETRY_PAUSE_MS: u64 = 100;
/// Reports are made at least this often.
pub const REPORT_EVERY_MS: u64 = 1_000;
/// Mere changes of engines' statuses are gathered for this long.
pub const REPORT_GATHER_MS: u64 = 100;
/// The most orders under way at once: past it a delivery is answered NotYet.
pub const ACTIVE_MAX: usize = 1_024;
/// The least time a demote or stop waits for the engine before its process is killed.
pub const PATIENCE_MIN_MS: u64 = 200;

/// What the core must know from its configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoreConfig {
    /// The slots that this host has.
    pub slots: BTreeSet<u16>,
}

/// Which copy an engine process serves.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Serving {
    /// The store.
    pub store: StoreName,
    /// The copy generation.
    pub generation: CopyGeneration,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// An encoded [`Order`] came; answered by [`Effect::Answer`] with the same number.
    Deliver {
        /// The shell's number for it.
        delivery: u64,
        /// The order, encoded.
        bytes: Vec<u8>,
    },
    /// A persist operation is durable, and all before it.
    LedgerDone {
        /// Which.
        op: u64,
    },
    /// A call was answered, or its time was up.
    EngineAnswer {
        /// Which.
        call: u64,
        /// With what.
        result: Result<EngineDone, EngineError>,
    },
    /// A launch ended; on an error no process of it is left.
    EngineLaunched {
        /// On which slot.
        slot: u16,
        /// Which launch.
        instance: u64,
        /// How.
        result: Result<(), String>,
    },
    /// An engine's process was seen dead.
    EngineGone {
        /// On which slot.
        slot: u16,
        /// Which launch; 0 is adopted.
        instance: u64,
    },
    /// A kill ended: `Ok` only when the process is gone.
    Reaped {
        /// On which slot.
        slot: u16,
        /// Which launch.
        instance: u64,
        /// How.
        result: Result<(), String>,
    },
    /// A provision ended.
    Provisioned {
        /// On which slot.
        slot: u16,
        /// How.
        result: Result<(), String>,
    },
    /// A removal ended.
    Removed {
        /// On which slot.
        slot: u16,
        /// How.
        result: Result<(), String>,
    },
    /// A fence agent ended, or its time was up and no process of it is left.
    FenceAnswer {
        /// Which call.
        call: u64,
        /// With what.
        result: Result<FenceSaid, String>,
    },
    /// A person at the machine asks for a master (R19); answered by [`Effect::Told`] with the same number.
    ByHand {
        /// The shell's number for it.
        ask: u64,
        /// What is asked.
        by_hand: Box<ByHand>,
    },
    /// Time has passed.
    Tick,
}

/// A named moment between two steps, for failpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// This transaction accepts an order of that action.
    Accepts(&'static str),
    /// This transaction records the outcome of a performed order of that action.
    Records(&'static str),
}

/// What the shell must do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Write these in one transaction.
    Persist {
        /// Grows by one with each.
        op: u64,
        /// In this order.
        writes: Vec<LedgerWrite>,
        /// What the transaction means.
        marks: Vec<Mark>,
    },
    /// Answer a delivery.
    Answer {
        /// Which.
        delivery: u64,
        /// With what.
        answer: Answer,
    },
    /// Call an engine.
    Call {
        /// Grows by one with each.
        call: u64,
        /// The engine's slot; `None` for a canary, which needs no engine here.
        slot: Option<u16>,
        /// What to ask.
        engine_call: EngineCall,
        /// How long it may take.
        budget_ms: u64,
    },
    /// Start the engine process of a copy; it starts idle.
    Launch {
        /// On which slot.
        slot: u16,
        /// Grows by one with each.
        instance: u64,
        /// Of which copy.
        serving: Serving,
    },
    /// Kill an engine process and wait until it is gone.
    Kill {
        /// On which slot.
        slot: u16,
        /// Which launch; 0 is adopted.
        instance: u64,
    },
    /// Make the folder of an empty copy, if it is not there.
    Provision {
        /// On which slot.
        slot: u16,
        /// Of which copy.
        serving: Serving,
    },
    /// Delete the folder of a copy that no process serves, if it is there.
    Remove {
        /// On which slot.
        slot: u16,
        /// Of which copy.
        serving: Serving,
    },
    /// Run a fence agent on another host's device; answered exactly once, no later than its budget and a little.
    Fence {
        /// Grows by one with each, and with each call of an engine.
        call: u64,
        /// The other host.
        host: HostName,
        /// What to ask.
        action: FenceAction,
        /// The device.
        device: Box<FenceSpec>,
        /// How long it may take.
        budget_ms: u64,
    },
    /// Answer a person at the machine.
    Told {
        /// Which.
        ask: u64,
        /// With what.
        answer: ByHandAnswer,
    },
    /// Tell whoever watches.
    Report(AgentReport),
}

/// The state of a slot's engine process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ProcessState {
    Down,
    Launching,
    Up,
    Killing,
}

/// A slot's engine as seen from here.
#[derive(Clone, Debug)]
struct Engine {
    state: ProcessState,
    instance: u64,
    serving: Serving,
    status: Option<EngineStatus>,
    silent: bool,
    polling: bool,
    poll_at: u64,
}

/// Who waits for an order's answer, and until when.
#[derive(Clone, Copy, Debug)]
struct Waiter {
    delivery: u64,
    deadline: u64,
}

/// How far an order is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Not accepted: another order of its slot has a call out.
    Queued,
    /// Being accepted.
    Accepting,
    /// Accepted; nothing is out.
    Ready,
    /// A call is out.
    Calling,
    /// A launch is out.
    Launching,
    /// A kill is out.
    Killing,
    /// A provision is out.
    Provisioning,
    /// A removal is out.
    Removing,
    /// A fence agent runs.
    Fencing,
    /// Waits until then for its engine to be gone.
    AwaitingGone(u64),
    /// Waits until then to try again.
    Pausing(u64),
    /// A cancel that waits for its target to be over.
    Watching(OrderId),
    /// Its outcome is being recorded.
    Recording,
}

/// Whether a promote first has to catch up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CatchingUp {
    NotAsked,
    Wanted,
    Done,
}

/// An order under way in this process.
#[derive(Clone, Debug)]
struct Active {
    order: Order,
    slot: Option<u16>,
    phase: Phase,
    waiters: Vec<Waiter>,
    deadline: u64,
    started: u64,
    /// Something outside was asked for it.
    called: bool,
    cancelled: bool,
    role_before: Option<LedgerRole>,
    catching_up: CatchingUp,
    fencing: fence::Fencing,
    provisioned: bool,
    removed: bool,
    asked: bool,
    killed: bool,
    why: String,
}

/// What waits for a persist operation.
#[derive(Clone, Debug)]
enum Then {
    Accepted(OrderId),
    Recorded(OrderId, Answer),
    Say(u64, Answer),
    ByHand(u16),
    Told(u64, ByHandAnswer),
}

#[derive(Clone, Debug)]
struct PendingOp {
    op: u64,
    writes: Vec<LedgerWrite>,
    then: Vec<Then>,
}

#[derive(Clone, Copy, Debug)]
enum CallFor {
    Order(OrderId),
    /// The slot, the launch, and how many persist operations were made before it.
    Status(u16, u64, u64),
    /// A person's start of that slot.
    Hand(u16),
}

/// The agent's state machine.
#[derive(Clone, Debug)]
pub struct AgentCore {
    config: CoreConfig,
    boot: BootId,
    now: u64,
    /// What the ledger holds once everything asked for is durable; decisions are made on it.
    image: LedgerImage,
    /// What is durable; reports are made from it.
    durable: LedgerImage,
    engines: BTreeMap<u16, Engine>,
    active: BTreeMap<OrderId, Active>,
    /// The order that runs on a slot.
    lanes: BTreeMap<u16, OrderId>,
    /// Starts by hand under way; no order is in the lane of such a slot (R21).
    hands: BTreeMap<u16, hand::Hand>,
    /// Orders with an outcome, lowest index first: what to forget next.
    over: BTreeSet<(LogIndex, OrderId)>,
    calls: BTreeMap<u64, CallFor>,
    /// The persist operation that recorded a slot's latest freeze.
    frozen_at_op: BTreeMap<u16, u64>,
    pending: VecDeque<PendingOp>,
    staged: Vec<LedgerWrite>,
    staged_meta: bool,
    staged_then: Vec<Then>,
    staged_marks: Vec<Mark>,
    effects: Vec<Effect>,
    next_op: u64,
    next_call: u64,
    next_instance: u64,
    report_urgent: bool,
    report_soon: bool,
    reported_at: u64,
}

impl AgentCore {
    /// Begins from a ledger and from the engine processes that were found alive; they are left as they are (S10).
    ///
    /// R27: open orders of another boot are closed; those of this boot stay open until they are delivered again.
    pub fn open(
        config: CoreConfig,
        ledger: LedgerImage,
        boot: BootId,
        running: BTreeMap<u16, Serving>,
        now: u64,
    ) -> (AgentCore, Vec<Effect>) {
        let engines = running.into_iter().map(|(slot, serving)| (slot, Engine::adopted(serving, now))).collect();
        let over = ledger.orders.iter().filter(|(_, e)| e.outcome.is_some()).map(|(id, e)| (e.index, *id)).collect();
        let mut core = AgentCore {
            config,
            boot,
            now,
            durable: ledger.clone(),
            image: ledger,
            engines,
            active: BTreeMap::new(),
            lanes: BTreeMap::new(),
            hands: BTreeMap::new(),
            over,
            calls: BTreeMap::new(),
            frozen_at_op: BTreeMap::new(),
            pending: VecDeque::new(),
            staged: Vec::new(),
            staged_meta: false,
            staged_then: Vec::new(),
            staged_marks: Vec::new(),
            effects: Vec::new(),
            next_op: 1,
            next_call: 1,
            next_instance: 1,
            report_urgent: true,
            report_soon: false,
            reported_at: now,
        };
        core.close_ended_boots();
        core.meddle_at_start();
        core.poll_engines();
        core.flush();
        let effects = std::mem::take(&mut core.effects);
        (core, effects)
    }

    /// Takes one event and says what must be done. Time never goes back: an earlier `now` counts as the latest one.
    pub fn step(&mut self, now: u64, event: Event) -> Vec<Effect> {
        self.now = self.now.max(now);
        match event {
            Event::Deliver { delivery, bytes } => self.deliver(delivery, &bytes),
            Event::LedgerDone { op } => self.ledger_done(op),
            Event::EngineAnswer { call, result } => self.engine_answer(call, result),
            Event::EngineLaunched { slot, instance, result } => self.engine_launched(slot, instance, result),
            Event::EngineGone { slot, instance } => self.engine_gone(slot, instance),
            Event::Reaped { slot, instance, result } => self.engine_reaped(slot, instance, result),
            Event::Provisioned { slot, result } => self.provisioned(slot, result),
            Event::Removed { slot, result } => self.removed(slot, result),
            Event::FenceAnswer { call, result } => self.device_answered(call, result),
            Event::ByHand { ask, by_hand } => self.by_hand(ask, *by_hand),
            Event::Tick => {}
        }
        self.pass_time();
        self.hands_wake();
        self.poll_engines();
        self.flush();
        std::mem::take(&mut self.effects)
    }

    /// When a [`Event::Tick`] is next of use.
    pub fn wake_at(&self) -> u64 {
        let polls = self.engines.values().filter(|e| e.state == ProcessState::Up && !e.polling).map(|e| e.poll_at);
        let waits = self.active.values().filter(|active| active.phase != Phase::Recording).flat_map(|active| {
            let phase = match active.phase {
                Phase::AwaitingGone(until) | Phase::Pausing(until) => Some(until.min(active.deadline)),
                _ => None,
            };
            active.waiters.iter().map(|w| w.deadline).chain(phase)
        });
        let gather = self.report_soon.then_some(self.reported_at + REPORT_GATHER_MS);
        let hands = self.hands.values().filter_map(hand::Hand::wake_at);
        polls
            .chain(waits)
            .chain(hands)
            .chain(gather)
            .chain([self.reported_at + REPORT_EVERY_MS])
            .min()
            .unwrap_or(self.now)
    }

    /// The ledger as it is durable.
    pub fn ledger(&self) -> &LedgerImage {
        &self.durable
    }

    /// Ends waits whose time is up.
    fn pass_time(&mut self) {
        let now = self.now;
        let mut late = Vec::new();
        let mut due = Vec::new();
        for (id, active) in &mut self.active {
            if active.phase == Phase::Recording {
                continue;
            }
            let why = &active.why;
            active.waiters.retain(|waiter| {
                if waiter.deadline > now {
                    return true;
                }
                late.push((waiter.delivery, why.clone()));
                false
            });
            let over = match active.phase {
                Phase::AwaitingGone(until) | Phase::Pausing(until) => now >= until || now >= active.deadline,
                Phase::Queued | Phase::Watching(_) => active.waiters.is_empty(),
                _ => false,
            };
            if over {
                due.push(*id);
            }
        }
        for (delivery, why) in late {
            self.effects.push(Effect::Answer { delivery, answer: Answer::NotYet { why } });
        }
        for id in due {
            self.wait_is_over(id);
        }
    }

    fn wait_is_over(&mut self, id: OrderId) {
        let Some(active) = self.active.get_mut(&id) else { return };
        match active.phase {
            // Never accepted, so nothing is lost: it will be delivered again.
            Phase::Queued | Phase::Watching(_) => {
                self.active.remove(&id);
            }
            Phase::AwaitingGone(_) | Phase::Pausing(_) => {
                active.phase = Phase::Ready;
                self.advance(id);
            }
            _ => {}
        }
    }

    /// R27: what was open when its boot ended never will take effect.
    fn close_ended_boots(&mut self) {
        let ended: Vec<_> = self
            .image
            .orders
            .iter()
            .filter(|(_, entry)| entry.outcome.is_none() && entry.boot != self.boot)
            .map(|(id, entry)| (*id, entry.boot))
            .collect();
        for (id, boot) in ended {
            self.settle(id, Outcome::NeverWill(slot_types::order::NeverWill::BootEnded(boot)), false);
        }
    }
}
