//! A host in memory: one agent core, its ledger as a value, and engines that behave like engines.
//!
//! What always holds: effects are performed in the order given; a crash loses the core and every effect not performed.

use slot_agent::core::hand::{ByHand, ByHandAnswer};
use slot_agent::core::image::{LedgerImage, LedgerWrite};
use slot_agent::core::{AgentCore, CoreConfig, Effect, Event, Serving};
use slot_types::codec;
use slot_types::engine::*;
use slot_types::fence::*;
use slot_types::ids::*;
use slot_types::order::*;
use slot_types::position::*;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

pub const CLUSTER: ClusterId = ClusterId([1; 16]);
pub const DISK: Incarnation = Incarnation([2; 16]);
pub const BOOT: BootId = BootId([3; 16]);
pub const OTHER_BOOT: BootId = BootId([4; 16]);
/// A budget that the fake engines always keep.
pub const BUDGET: u64 = 6_000;

pub fn epoch(n: u64) -> Epoch {
    Epoch { generation: 0, n }
}

pub fn order_id(plan: u64, attempt: u32) -> OrderId {
    OrderId { plan: PlanId(plan), task: 0, step: 0, attempt }
}

pub fn store(name: &str) -> StoreName {
    StoreName::new(name).unwrap()
}

pub fn source() -> Source {
    let host = HostName::new("imap9").unwrap();
    Source { slot: SlotId::new(host, 1), address: "127.0.0.1:1".parse().unwrap() }
}

/// An order on `store1`, generation 1, in slot 1.
pub fn order(index: u64, n: u64, action: Action) -> Order {
    Order {
        cluster: CLUSTER,
        term: Term(1),
        index: LogIndex(index),
        id: order_id(index, 1),
        incarnation: DISK,
        boot: BOOT,
        subject: Some(Subject { store: store("store1"), slot: 1, generation: CopyGeneration(1), epoch: epoch(n) }),
        budget_ms: BUDGET,
        action,
    }
}

/// A person's wish for slot 1 as master at an epoch.
pub fn by_hand(n: u64) -> ByHand {
    let by = OperatorName::new("alice").unwrap();
    let (reason, wall) = ("no coordinator answers".into(), WallTime(7));
    ByHand { slot: 1, epoch: epoch(n), by, uid: 1000, reason, wall, led: false, disk_is_current: true }
}

pub fn host_order(index: u64, action: Action) -> Order {
    Order { subject: None, ..order(index, 0, action) }
}

/// A copy's data and engine state, as its engine keeps them.
#[derive(Clone, Debug)]
pub struct FakeEngine {
    pub epoch: Epoch,
    pub role: EngineRole,
    pub promoted: Option<Epoch>,
    pub frozen: Option<FreezeId>,
    pub thawed: BTreeSet<FreezeId>,
    pub tip: Tip,
    /// Epoch-start records written, by epoch: more than one each would be an effect done twice.
    pub starts: BTreeMap<Epoch, u32>,
}

impl FakeEngine {
    fn new() -> Self {
        let role = EngineRole::Idle;
        let (epoch, promoted, frozen) = (Epoch::ZERO, None, None);
        Self { epoch, role, promoted, frozen, thawed: BTreeSet::new(), tip: Tip::default(), starts: BTreeMap::new() }
    }

    fn end(&self) -> Result<EngineDone, EngineError> {
        Ok(EngineDone::Tip { tip: self.tip, history: Vec::new() })
    }

    fn lower(&mut self, asked: Epoch, role: EngineRole) -> Result<EngineDone, EngineError> {
        if asked < self.epoch {
            return Err(EngineError::OlderEpoch { asked, held: self.epoch });
        }
        if asked == self.epoch && self.promoted == Some(asked) {
            return Err(EngineError::SameEpochOtherRole { epoch: asked, role: EngineRole::Master });
        }
        self.epoch = asked;
        if let Some(freeze) = self.frozen.take() {
            self.thawed.insert(freeze);
        }
        self.role = role;
        self.end()
    }

    fn promote(&mut self, asked: Epoch, expect: Tip) -> Result<EngineDone, EngineError> {
        if asked < self.epoch {
            return Err(EngineError::OlderEpoch { asked, held: self.epoch });
        }
        if self.promoted == Some(asked) {
            self.role = EngineRole::Master;
            return self.end();
        }
        if self.tip != expect {
            return Err(EngineError::NotEqual { have: self.tip, want: expect });
        }
        self.epoch = asked;
        self.promoted = Some(asked);
        self.role = EngineRole::Master;
        self.tip.position = Position { epoch: asked, length: self.tip.position.length + 1 };
        *self.starts.entry(asked).or_default() += 1;
        self.end()
    }

    fn freeze(&mut self, id: FreezeId, asked: Epoch) -> Result<EngineDone, EngineError> {
        if self.thawed.contains(&id) {
            return Err(EngineError::Thawed(id));
        }
        if self.role != EngineRole::Master || asked != self.epoch {
            return Err(EngineError::WrongRole(self.role));
        }
        self.frozen = Some(id);
        self.end()
    }

    pub fn thaw(&mut self, id: FreezeId) {
        self.thawed.insert(id);
        if self.frozen == Some(id) {
            self.frozen = None;
        }
    }

    fn call(&mut self, serving: &Serving, slot: u16, call: &EngineCall) -> Result<EngineDone, EngineError> {
        match call {
            EngineCall::Status => Ok(EngineDone::Status(Box::new(self.status(serving, slot)))),
            EngineCall::Freeze { id, epoch, .. } => self.freeze(*id, *epoch),
            EngineCall::Thaw { id } => {
                self.thaw(*id);
                Ok(EngineDone::Done)
            }
            EngineCall::CatchUp { epoch, target, .. } => {
                if *epoch < self.epoch {
                    return Err(EngineError::OlderEpoch { asked: *epoch, held: self.epoch });
                }
                if self.role == EngineRole::Master || self.tip.position > target.position {
                    return Err(EngineError::NotEqual { have: self.tip, want: *target });
                }
                self.tip = *target;
                self.end()
            }
            EngineCall::Demote { epoch } => self.lower(*epoch, EngineRole::Demoted),
            EngineCall::Raise { epoch } => {
                let role = if self.role == EngineRole::Master { EngineRole::Demoted } else { self.role };
                self.lower(*epoch, role)
            }
            EngineCall::Verify { .. } => Ok(EngineDone::Done),
            EngineCall::Promote { epoch, expect, .. } => self.promote(*epoch, *expect),
            EngineCall::StartMaster { epoch, .. } => {
                if self.epoch != *epoch || self.promoted != Some(*epoch) {
                    return Err(EngineError::WrongRole(self.role));
                }
                self.role = EngineRole::Master;
                Ok(EngineDone::Done)
            }
            EngineCall::Follow { epoch, .. } => self.lower(*epoch, EngineRole::Replica).map(|_| EngineDone::Done),
            EngineCall::ListStranded { .. } => Ok(EngineDone::Stranded(Vec::new())),
            EngineCall::Reinject { .. } => Ok(EngineDone::Reinjected { appended: 2, present: 1 }),
            EngineCall::Canary { .. } | EngineCall::Stop => Ok(EngineDone::Done),
        }
    }

    fn status(&self, serving: &Serving, slot: u16) -> EngineStatus {
        EngineStatus {
            store: serving.store.clone(),
            slot: SlotId::new(HostName::new("imap3").unwrap(), slot),
            generation: serving.generation,
            epoch: self.epoch,
            role: self.role,
            tip: self.tip,
            bytes: 0,
            history: Vec::new(),
            frozen: self.frozen,
            following: None,
            behind: None,
            heard_ms: None,
            verified_ms: None,
            sync_copies: 0,
            aside: Vec::new(),
            verification: None,
        }
    }
}

/// One host.
#[derive(Clone)]
pub struct World {
    pub core: AgentCore,
    pub boot: BootId,
    pub now: u64,
    /// The durable ledger.
    pub disk: LedgerImage,
    /// Copies on disk, by slot, store and generation.
    pub copies: BTreeMap<(u16, Serving), FakeEngine>,
    /// Running engine processes.
    pub processes: BTreeMap<u16, (u64, Serving)>,
    pub answers: BTreeMap<u64, Answer>,
    /// What people at the machine were told.
    pub told: BTreeMap<u64, ByHandAnswer>,
    pub reports: Vec<AgentReport>,
    /// Every call but Status, in order.
    pub calls: Vec<EngineCall>,
    /// Launches, kills and provisions, in order.
    pub deeds: Vec<String>,
    /// Calls that no answer comes to, until `release`.
    pub held: Vec<(u64, Option<u16>, EngineCall)>,
    pub hold_calls: bool,
    /// Calls that are answered as unreachable.
    pub unreachable: bool,
    pub kill_fails: bool,
    pub launch_fails: bool,
    /// What the device of another host does, in order; when it ends, everything works.
    pub device: VecDeque<Result<FenceSaid, String>>,
    /// What it was asked, with the time it was given.
    pub asked: Vec<(FenceAction, u64)>,
    /// Asked, and not answered until the test says so.
    pub hold_device: bool,
    /// The calls that wait for it.
    pub device_calls: Vec<u64>,
    /// Stop before that many transactions are durable.
    pub crash_before_persist: Option<usize>,
    pub persists: usize,
    pub crashed: bool,
    queue: VecDeque<Effect>,
    next_delivery: u64,
}

impl World {
    pub fn new() -> Self {
        let disk = LedgerImage::empty(CLUSTER, HostName::new("imap3").unwrap(), DISK);
        Self::with_ledger(disk)
    }

    pub fn with_ledger(disk: LedgerImage) -> Self {
        let (core, effects) = AgentCore::open(Self::config(), disk.clone(), BOOT, BTreeMap::new(), 0);
        let mut world = Self {
            core,
            boot: BOOT,
            now: 0,
            disk,
            copies: BTreeMap::new(),
            processes: BTreeMap::new(),
            answers: BTreeMap::new(),
            told: BTreeMap::new(),
            reports: Vec::new(),
            calls: Vec::new(),
            deeds: Vec::new(),
            held: Vec::new(),
            hold_calls: false,
            unreachable: false,
            kill_fails: false,
            launch_fails: false,
            device: VecDeque::new(),
            asked: Vec::new(),
            hold_device: false,
            device_calls: Vec::new(),
            crash_before_persist: None,
            persists: 0,
            crashed: false,
            queue: effects.into(),
            next_delivery: 1,
        };
        world.run();
        world
    }

    fn config() -> CoreConfig {
        CoreConfig { slots: [1, 2].into() }
    }

    /// The copy of slot 1 that the tests use.
    pub fn engine(&mut self) -> &mut FakeEngine {
        let serving = Serving { store: store("store1"), generation: CopyGeneration(1) };
        self.copies.get_mut(&(1, serving)).unwrap()
    }

    /// Hands in an order and performs what follows; answers nothing by itself.
    pub fn send(&mut self, order: &Order) -> u64 {
        let delivery = self.next_delivery;
        self.next_delivery += 1;
        self.event(Event::Deliver { delivery, bytes: codec::encode(order) });
        delivery
    }

    /// Delivers an order and lets time pass until it is answered.
    pub fn deliver(&mut self, order: &Order) -> Answer {
        let delivery = self.send(order);
        self.until_answered(delivery)
    }

    pub fn until_answered(&mut self, delivery: u64) -> Answer {
        for _ in 0..10_000 {
            if let Some(answer) = self.answers.get(&delivery) {
                return answer.clone();
            }
            assert!(!self.crashed, "crashed before the answer");
            self.wait(20);
        }
        panic!("delivery {delivery} was never answered");
    }

    /// Delivers, and takes the receipt's outcome.
    pub fn outcome(&mut self, order: &Order) -> Outcome {
        match self.deliver(order) {
            Answer::Receipt(receipt) => {
                assert_eq!((receipt.id, receipt.index), (order.id, order.index));
                receipt.outcome
            }
            other => panic!("{} got {other:?}", order.action.name()),
        }
    }

    pub fn done(&mut self, order: &Order) -> Done {
        match self.outcome(order) {
            Outcome::Done(done) => done,
            other => panic!("{} got {other:?}", order.action.name()),
        }
    }

    pub fn never(&mut self, order: &Order) -> NeverWill {
        match self.outcome(order) {
            Outcome::NeverWill(why) => why,
            other => panic!("{} got {other:?}", order.action.name()),
        }
    }

    /// A person at the machine asks for slot 1 as master, while nobody leads; answers nothing by itself.
    pub fn ask_by_hand(&mut self, n: u64) -> u64 {
        let ask = self.next_delivery;
        self.next_delivery += 1;
        self.event(Event::ByHand { ask, by_hand: Box::new(by_hand(n)) });
        ask
    }

    /// The same, and what the person hears.
    pub fn by_hand(&mut self, n: u64) -> ByHandAnswer {
        let ask = self.ask_by_hand(n);
        self.until_told(ask)
    }

    pub fn until_told(&mut self, ask: u64) -> ByHandAnswer {
        for _ in 0..10_000 {
            if let Some(answer) = self.told.get(&ask) {
                return answer.clone();
            }
            assert!(!self.crashed, "crashed before the answer");
            self.wait(20);
        }
        panic!("ask {ask} was never answered");
    }

    pub fn wait(&mut self, ms: u64) {
        self.now += ms;
        self.event(Event::Tick);
    }

    pub fn event(&mut self, event: Event) {
        if self.crashed {
            return;
        }
        let effects = self.core.step(self.now, event);
        self.queue.extend(effects);
        self.run();
    }

    fn run(&mut self) {
        while let Some(effect) = self.queue.pop_front() {
            if self.crashed {
                self.queue.clear();
                return;
            }
            if let Some(event) = self.perform(effect) {
                let effects = self.core.step(self.now, event);
                self.queue.extend(effects);
            }
        }
    }

    fn perform(&mut self, effect: Effect) -> Option<Event> {
        match effect {
            Effect::Persist { op, writes, .. } => self.persist(op, &writes),
            Effect::Answer { delivery, answer } => {
                let earlier = self.answers.insert(delivery, answer);
                assert!(earlier.is_none(), "delivery {delivery} was answered twice");
                None
            }
            Effect::Call { call, slot, engine_call, .. } => self.call(call, slot, engine_call),
            Effect::Launch { slot, instance, serving } => {
                self.deeds.push(format!("launch {slot}"));
                if self.launch_fails || !self.copies.contains_key(&(slot, serving.clone())) {
                    return Some(Event::EngineLaunched { slot, instance, result: Err("no".into()) });
                }
                assert!(!self.processes.contains_key(&slot), "two engines on one slot");
                self.processes.insert(slot, (instance, serving.clone()));
                self.copies.entry((slot, serving)).and_modify(|engine| engine.role = EngineRole::Idle);
                Some(Event::EngineLaunched { slot, instance, result: Ok(()) })
            }
            Effect::Kill { slot, instance } => {
                self.deeds.push(format!("kill {slot}"));
                if self.kill_fails {
                    return Some(Event::Reaped { slot, instance, result: Err("stuck in the kernel".into()) });
                }
                self.processes.remove(&slot);
                Some(Event::Reaped { slot, instance, result: Ok(()) })
            }
            Effect::Provision { slot, serving } => {
                self.deeds.push(format!("provision {slot}"));
                self.copies.entry((slot, serving)).or_insert_with(FakeEngine::new);
                Some(Event::Provisioned { slot, result: Ok(()) })
            }
            Effect::Remove { slot, serving } => {
                self.deeds.push(format!("remove {slot}"));
                assert!(!self.processes.contains_key(&slot), "a copy is removed under its engine");
                self.copies.remove(&(slot, serving));
                Some(Event::Removed { slot, result: Ok(()) })
            }
            Effect::Fence { call, action, budget_ms, .. } => {
                self.asked.push((action, budget_ms));
                if self.hold_device {
                    self.device_calls.push(call);
                    return None;
                }
                let works = match action {
                    FenceAction::Off => FenceSaid::Switched,
                    FenceAction::Status => FenceSaid::Power(Power::Off),
                };
                Some(Event::FenceAnswer { call, result: self.device.pop_front().unwrap_or(Ok(works)) })
            }
            Effect::Told { ask, answer } => {
                let earlier = self.told.insert(ask, answer);
                assert!(earlier.is_none(), "ask {ask} was answered twice");
                None
            }
            Effect::Report(report) => {
                self.reports.push(report);
                None
            }
        }
    }

    fn persist(&mut self, op: u64, writes: &[LedgerWrite]) -> Option<Event> {
        if self.crash_before_persist == Some(self.persists) {
            self.crashed = true;
            return None;
        }
        self.persists += 1;
        for write in writes {
            if let LedgerWrite::Copy(key, entry) = write
                && let Some(old) = self.disk.copies.get(key)
            {
                assert!(entry.epoch >= old.epoch && entry.index >= old.index, "S2: {key:?} went back");
            }
            self.disk.apply(write);
        }
        Some(Event::LedgerDone { op })
    }

    fn call(&mut self, call: u64, slot: Option<u16>, engine_call: EngineCall) -> Option<Event> {
        if engine_call != EngineCall::Status {
            self.calls.push(engine_call.clone());
            if self.hold_calls {
                self.held.push((call, slot, engine_call));
                return None;
            }
        }
        let result = self.answer_call(slot, &engine_call);
        if engine_call == EngineCall::Stop && result.is_ok() {
            self.end_process(slot.unwrap());
        }
        Some(Event::EngineAnswer { call, result })
    }

    fn answer_call(&mut self, slot: Option<u16>, engine_call: &EngineCall) -> Result<EngineDone, EngineError> {
        if self.unreachable {
            return Err(EngineError::TimedOut("no answer".into()));
        }
        let Some(slot) = slot else { return Ok(EngineDone::Done) };
        let Some((_, serving)) = self.processes.get(&slot).cloned() else {
            return Err(EngineError::Unreachable("no process".into()));
        };
        let engine = self.copies.get_mut(&(slot, serving.clone())).unwrap();
        engine.call(&serving, slot, engine_call)
    }

    /// Answers the calls that were held back.
    pub fn release(&mut self) {
        self.hold_calls = false;
        for (call, slot, engine_call) in std::mem::take(&mut self.held) {
            let result = self.answer_call(slot, &engine_call);
            self.event(Event::EngineAnswer { call, result });
        }
    }

    /// The engine process of a slot dies, and the shell says so.
    pub fn end_process(&mut self, slot: u16) {
        if let Some((instance, _)) = self.processes.remove(&slot) {
            let effects = self.core.step(self.now, Event::EngineGone { slot, instance });
            self.queue.extend(effects);
        }
    }

    pub fn kill_engine(&mut self, slot: u16) {
        self.end_process(slot);
        self.run();
    }

    /// The agent dies and starts again; engines run on.
    pub fn restart(&mut self) {
        self.reopen(self.boot);
    }

    /// The machine boots: no engine is left.
    pub fn reboot(&mut self, boot: BootId) {
        self.processes.clear();
        self.reopen(boot);
    }

    fn reopen(&mut self, boot: BootId) {
        self.boot = boot;
        self.crashed = false;
        self.crash_before_persist = None;
        self.queue.clear();
        self.held.clear();
        for process in self.processes.values_mut() {
            process.0 = 0;
        }
        let running = self.processes.iter().map(|(slot, (_, serving))| (*slot, serving.clone())).collect();
        let (core, effects) = AgentCore::open(Self::config(), self.disk.clone(), boot, running, self.now);
        self.core = core;
        self.queue.extend(effects);
        self.run();
    }

    /// Provisions slot 1 and makes it master at epoch 1; uses indexes 1 and 2.
    pub fn with_master() -> Self {
        let mut world = Self::new();
        world.done(&order(1, 1, Action::Provision));
        world.done(&order(2, 1, Action::Promote { expect: Tip::default(), source: None, sync_copies: 0 }));
        world.calls.clear();
        world.deeds.clear();
        world
    }

    pub fn last_report(&self) -> &AgentReport {
        self.reports.last().unwrap()
    }
}
