//! Agents: S2, S6, S10, S11, S15, R1, R4, R11, R21, R27, R29 and S1 after an agent's durable word.

use crate::engines::Engine;
use crate::*;
use slot_agent::core::image::{CopyEntry, CopyKey, LedgerImage, LedgerRole, LedgerWrite, OrderEntry};
use slot_agent::core::{Effect, Event, Serving};
use slot_coordinator::core as coordinator;
use slot_machine::state::State;
use slot_sim::check::{Seen, Witness};
use slot_types::codec;
use slot_types::engine::EngineCall;
use slot_types::order::*;
use slot_types::position::{Position, Tip};

const CLUSTER: ClusterId = ClusterId([9; 16]);
const DISK: Incarnation = Incarnation([1; 16]);
const BOOT: BootId = BootId([2; 16]);

fn order(step: u16, index: u64, action: Action, n: u64) -> Order {
    Order {
        cluster: CLUSTER,
        term: Term(3),
        index: LogIndex(index),
        id: OrderId { plan: PlanId(1), task: 0, step, attempt: 1 },
        incarnation: DISK,
        boot: BOOT,
        subject: Some(Subject { store: store(), slot: 1, generation: CopyGeneration(1), epoch: epoch(n) }),
        budget_ms: 1_000,
        action,
    }
}

struct Host {
    w: Witness,
    image: LedgerImage,
}

impl Host {
    fn new() -> Self {
        let mut host = Self { w: Witness::new(1), image: LedgerImage::empty(CLUSTER, host(1), DISK) };
        host.w.saw(0, Seen::HostOn { host: &crate::host(1), boot: BOOT });
        host.opens();
        host
    }
    fn opens(&mut self) {
        self.w.saw(1, Seen::AgentOpens { host: &host(1), boot: BOOT, image: &self.image });
    }
    /// A coordinator sends it; what is said of its log is not looked at here.
    fn sent(&mut self, order: &Order) {
        let deliver = coordinator::Effect::Deliver {
            delivery: 1,
            host: host(1),
            address: "127.0.0.1:1".parse().unwrap(),
            order: codec::encode(order),
            budget_ms: 1,
        };
        self.w.saw(2, Seen::CoordinatorDid { node: 1, state: &State::default(), effects: &[deliver] });
    }
    fn arrives(&mut self, order: &Order) {
        let event = Event::Deliver { delivery: 1, bytes: codec::encode(order) };
        self.w.saw(3, Seen::AgentTakes { host: &host(1), event: &event });
    }
    fn writes(&mut self, writes: &[LedgerWrite]) {
        writes.iter().for_each(|write| self.image.apply(write));
        self.w.saw(4, Seen::LedgerDurable { host: &host(1), writes });
    }
    fn does(&mut self, effect: Effect) {
        self.w.saw(5, Seen::AgentDid { host: &host(1), effects: &[effect] });
    }
    fn entry(order: &Order, outcome: Option<Outcome>) -> LedgerWrite {
        let entry = OrderEntry { index: order.index, slot: Some(1), boot: BOOT, fingerprint: None, outcome };
        LedgerWrite::Order(order.id, entry)
    }
    fn copy(n: u64, index: u64, retired: bool) -> LedgerWrite {
        let key = CopyKey { slot: 1, store: store(), generation: CopyGeneration(1) };
        let entry = CopyEntry {
            epoch: epoch(n),
            index: LogIndex(index),
            role: LedgerRole::Raised,
            settled: false,
            stopped: false,
            retired,
            freeze: None,
            sync_copies: 0,
            by_hand: Vec::new(),
        };
        LedgerWrite::Copy(key, entry)
    }
    fn accepts(&mut self, order: &Order) {
        self.sent(order);
        self.arrives(order);
        let n = order.subject.as_ref().map_or(0, |s| s.epoch.n);
        self.writes(&[Self::entry(order, None), Self::copy(n, order.index.0, false)]);
    }
    fn receipt(order: &Order, outcome: Outcome) -> Effect {
        let receipt = Receipt { id: order.id, index: order.index, outcome };
        Effect::Answer { delivery: 1, answer: Answer::Receipt(receipt) }
    }
    fn call(engine_call: EngineCall) -> Effect {
        Effect::Call { call: 1, slot: Some(1), engine_call, budget_ms: 1 }
    }
    /// Without what is said of the log, which is empty here.
    fn broken(&self) -> Vec<&'static str> {
        broken(&self.w).into_iter().filter(|invariant| *invariant != "S12").collect()
    }
    #[track_caller]
    fn breaks(&self, invariant: &str) {
        assert_eq!(self.broken(), [invariant], "{:?}", self.w.violations());
    }
}

fn done() -> Outcome {
    let position = Position { epoch: epoch(1), length: 1 };
    Outcome::Done(Done::Tip { tip: Tip { position, ..Tip::default() }, history: Vec::new() })
}

#[test]
fn an_order_that_is_accepted_done_and_answered_is_well() {
    let mut h = Host::new();
    let demote = order(1, 5, Action::Demote, 2);
    h.accepts(&demote);
    h.does(Host::call(EngineCall::Demote { epoch: epoch(2) }));
    h.does(Host::call(EngineCall::Status));
    h.writes(&[Host::entry(&demote, Some(done()))]);
    h.does(Host::receipt(&demote, done()));
    h.opens();
    h.accepts(&order(2, 6, Action::Raise, 2));
    assert_eq!(h.broken(), [""; 0], "{:?}", h.w.violations());
}

#[test]
fn s6_an_answer_before_it_is_durable() {
    let mut h = Host::new();
    let demote = order(1, 5, Action::Demote, 2);
    h.accepts(&demote);
    h.does(Host::receipt(&demote, done()));
    h.breaks("S6");
}

#[test]
fn s6_an_outcome_that_changes() {
    let mut h = Host::new();
    let demote = order(1, 5, Action::Demote, 2);
    h.accepts(&demote);
    h.writes(&[Host::entry(&demote, Some(done()))]);
    h.writes(&[Host::entry(&demote, Some(Outcome::NeverWill(NeverWill::Cancelled)))]);
    h.breaks("S6");
}

#[test]
fn s6_done_without_being_accepted_and_a_ledger_that_forgets() {
    let mut h = Host::new();
    let demote = order(1, 5, Action::Demote, 2);
    h.sent(&demote);
    h.arrives(&demote);
    h.writes(&[Host::entry(&demote, Some(done()))]);
    h.breaks("S6");

    let mut h = Host::new();
    h.accepts(&demote);
    h.writes(&[Host::entry(&demote, Some(done()))]);
    h.image.orders.clear();
    h.opens();
    h.breaks("S6");

    let mut h = Host::new();
    h.accepts(&demote);
    h.writes(&[Host::entry(&demote, Some(done())), LedgerWrite::Forget(demote.id)]);
    h.writes(&[Host::entry(&demote, None)]);
    h.breaks("S6");
}

#[test]
fn s15_what_nobody_delivered_or_is_for_another_disk() {
    let mut h = Host::new();
    h.writes(&[Host::entry(&order(1, 5, Action::Demote, 2), None)]);
    h.breaks("S15");
    let mut h = Host::new();
    h.accepts(&Order { incarnation: Incarnation([7; 16]), ..order(1, 5, Action::Demote, 2) });
    h.breaks("S15");
}

#[test]
fn s15_a_deed_for_an_order_of_an_older_term() {
    let mut h = Host::new();
    let demote = order(1, 5, Action::Demote, 2);
    h.accepts(&demote);
    let mut meta = h.image.meta.clone();
    meta.term = Term(4);
    h.writes(&[LedgerWrite::Meta(meta)]);
    h.does(Host::call(EngineCall::Demote { epoch: epoch(2) }));
    h.breaks("S15");
}

#[test]
fn s11_an_order_that_was_damaged_on_its_way() {
    let mut h = Host::new();
    h.sent(&order(1, 5, Action::Demote, 2));
    let damaged = order(1, 5, Action::Demote, 3);
    h.arrives(&damaged);
    h.writes(&[Host::entry(&damaged, None)]);
    h.breaks("S11");
}

#[test]
fn r4_an_index_that_is_not_higher() {
    let mut h = Host::new();
    let (first, second) = (order(1, 5, Action::Demote, 2), order(2, 5, Action::Raise, 2));
    h.accepts(&first);
    h.writes(&[Host::entry(&first, Some(done()))]);
    h.accepts(&second);
    h.breaks("R4");
}

#[test]
fn r21_two_orders_open_on_a_slot() {
    let mut h = Host::new();
    h.accepts(&order(1, 5, Action::Demote, 2));
    h.accepts(&order(2, 6, Action::Raise, 2));
    h.breaks("R21");
}

#[test]
fn r27_an_order_for_a_boot_that_has_ended() {
    let mut h = Host::new();
    h.accepts(&Order { boot: BootId([8; 16]), ..order(1, 5, Action::Demote, 2) });
    h.breaks("R27");
    let mut h = Host::new();
    h.accepts(&order(1, 5, Action::Demote, 2));
    h.w.saw(4, Seen::HostOn { host: &host(1), boot: BootId([8; 16]) });
    h.does(Effect::Launch { slot: 1, instance: 1, serving: Serving { store: store(), generation: CopyGeneration(1) } });
    h.breaks("R27");
}

#[test]
fn s2_r11_a_ledger_that_goes_back() {
    let mut h = Host::new();
    h.writes(&[Host::copy(3, 7, false)]);
    h.writes(&[Host::copy(2, 8, false)]);
    h.breaks("S2");
    let mut h = Host::new();
    h.writes(&[Host::copy(3, 7, true)]);
    h.writes(&[Host::copy(3, 8, false)]);
    h.breaks("R11");
    let mut h = Host::new();
    let mut meta = h.image.meta.clone();
    meta.term = Term(4);
    h.writes(&[LedgerWrite::Meta(meta.clone())]);
    meta.term = Term(3);
    h.writes(&[LedgerWrite::Meta(meta)]);
    h.breaks("S2");
    let mut h = Host::new();
    h.writes(&[Host::copy(3, 7, false)]);
    h.image.copies.clear();
    h.opens();
    h.breaks("S2");
    let mut h = Host::new();
    h.writes(&[Host::copy(3, 7, false)]);
    h.image.copies.clear();
    h.w.saw(5, Seen::HostDiskTouched { host: &host(1) });
    h.opens();
    assert_eq!(h.broken(), [""; 0]);
    let mut h = Host::new();
    h.writes(&[Host::copy(3, 7, false)]);
    h.accepts(&order(1, 8, Action::Demote, 2));
    h.breaks("S2");
}

#[test]
fn s10_deeds_without_an_order_or_of_another_kind() {
    let mut h = Host::new();
    h.does(Host::call(EngineCall::Demote { epoch: epoch(2) }));
    h.breaks("S10");
    let mut h = Host::new();
    h.does(Effect::Kill { slot: 1, instance: 0 });
    h.breaks("S10");
    let mut h = Host::new();
    h.accepts(&order(1, 5, Action::Demote, 2));
    h.does(Host::call(EngineCall::Raise { epoch: epoch(2) }));
    h.breaks("S10");
    let mut h = Host::new();
    h.accepts(&order(1, 5, Action::Demote, 2));
    h.does(Host::call(EngineCall::Demote { epoch: epoch(4) }));
    h.breaks("S15");
}

#[test]
fn s1_r29_a_master_after_its_agents_durable_word() {
    let mut h = Host::new();
    let mut a = Engine::open(&mut h.w, slot(1, 1));
    a.promote(&mut h.w, 1, 0);
    a.append(&mut h.w, 2, 1, 1);
    let demote = order(1, 5, Action::Demote, 2);
    h.accepts(&demote);
    h.writes(&[Host::entry(&demote, Some(done()))]);
    assert!(!h.broken().contains(&"S1"));
    a.append(&mut h.w, 3, 1, 2);
    breaks(&h.w, "S1");
    a.promote(&mut h.w, 1, 0);
    let mut b = Engine::open(&mut h.w, slot(1, 1));
    b.promote(&mut h.w, 1, 0);
    breaks(&h.w, "R29");
}

#[test]
fn r1_acknowledged_while_frozen() {
    for thawed in [true, false] {
        let mut h = Host::new();
        let mut a = Engine::open(&mut h.w, slot(1, 1));
        a.promote(&mut h.w, 1, 0);
        let freeze = order(1, 5, Action::Freeze { limit_ms: 10_000 }, 1);
        h.accepts(&freeze);
        a.call(&mut h.w, 5, EngineCall::Freeze { id: freeze.id, epoch: epoch(1), limit_ms: 10_000 });
        h.writes(&[Host::entry(&freeze, Some(done()))]);
        a.told = thawed;
        a.call(&mut h.w, 6, EngineCall::Thaw { id: freeze.id });
        a.told = true;
        a.append(&mut h.w, 7, 1, 1);
        assert_eq!(h.broken().contains(&"R1"), !thawed, "{:?}", h.w.violations());
    }
}

#[test]
fn s6_a_canary_for_an_order_that_is_not_open() {
    use slot_types::engine::Source;
    let source = Source { slot: slot(2, 1), address: "127.0.0.1:1".parse().unwrap() };
    let action = Action::Canary { store: store(), epoch: epoch(1), to: source.clone() };
    let canary = Order { subject: None, ..order(1, 5, action, 1) };
    let call = EngineCall::Canary { store: store(), epoch: epoch(1), to: source, id: canary.id };
    let deed = || Effect::Call { call: 1, slot: None, engine_call: call.clone(), budget_ms: 1 };
    let mut h = Host::new();
    h.sent(&canary);
    h.arrives(&canary);
    let entry = OrderEntry { index: canary.index, slot: None, boot: BOOT, fingerprint: None, outcome: None };
    h.writes(&[LedgerWrite::Order(canary.id, entry)]);
    h.does(deed());
    assert_eq!(h.broken(), [""; 0]);
    h.writes(&[Host::entry(&canary, Some(Outcome::Done(Done::Plain)))]);
    h.does(deed());
    h.breaks("S6");
}

#[test]
fn s6_an_order_is_accepted_after_its_cancel_was_answered() {
    let mut h = Host::new();
    let (freeze, never) = (order(1, 5, Action::Freeze { limit_ms: 9 }, 1), Outcome::NeverWill(NeverWill::Cancelled));
    let cancel = order(0x8001, 6, Action::Cancel { order: freeze.id }, 1);
    h.accepts(&cancel);
    h.writes(&[Host::entry(&cancel, Some(never.clone()))]);
    h.does(Host::receipt(&cancel, never));
    assert_eq!(h.broken(), [""; 0], "{:?}", h.w.violations());
    h.accepts(&Order { index: LogIndex(7), ..freeze });
    h.breaks("S6");
}

#[test]
fn s15_an_answer_to_an_order_for_another_disk() {
    let mut h = Host::new();
    let other = Order { incarnation: Incarnation([8; 16]), ..order(1, 5, Action::Stop, 1) };
    let never = Outcome::NeverWill(NeverWill::Cancelled);
    h.sent(&other);
    h.arrives(&other);
    h.writes(&[Host::entry(&other, Some(never.clone()))]);
    assert_eq!(h.broken(), [""; 0], "{:?}", h.w.violations());
    h.does(Host::receipt(&other, never));
    h.breaks("S15");
}

#[test]
fn r1_a_freeze_that_ended_is_answered_as_done() {
    let frozen = |freeze| match Host::copy(1, 5, false) {
        LedgerWrite::Copy(key, entry) => LedgerWrite::Copy(key, CopyEntry { freeze, ..entry }),
        other => other,
    };
    let mut h = Host::new();
    let freeze = order(1, 5, Action::Freeze { limit_ms: 9 }, 1);
    h.accepts(&freeze);
    h.writes(&[frozen(Some(freeze.id)), Host::entry(&freeze, Some(done()))]);
    h.does(Host::receipt(&freeze, done()));
    assert_eq!(h.broken(), [""; 0], "{:?}", h.w.violations());
    h.writes(&[frozen(None)]);
    h.does(Host::receipt(&freeze, done()));
    h.breaks("R1");
}

#[test]
fn r2_r11_what_the_ledger_says_is_not_what_the_engine_holds() {
    for (n, generation, wrong) in [(1, 1, ""), (2, 1, "R2"), (1, 2, "R11")] {
        let mut h = Host::new();
        let mut a = Engine::open(&mut h.w, slot(1, 1));
        a.call(&mut h.w, 1, EngineCall::Raise { epoch: epoch(1) });
        let subject = Subject { store: store(), slot: 1, generation: CopyGeneration(generation), epoch: epoch(n) };
        let raise = Order { subject: Some(subject), ..order(1, 5, Action::Raise, n) };
        h.accepts(&raise);
        let key = CopyKey { slot: 1, store: store(), generation: CopyGeneration(generation) };
        let LedgerWrite::Copy(_, entry) = Host::copy(n, 5, false) else { return };
        h.writes(&[LedgerWrite::Copy(key, entry), Host::entry(&raise, Some(done()))]);
        assert_eq!(h.broken(), if wrong.is_empty() { vec![] } else { vec![wrong] }, "{:?}", h.w.violations());
    }
}

#[test]
fn r11_something_is_done_for_a_copy_that_the_ledger_does_not_know() {
    let mut h = Host::new();
    let subject = Subject { store: store(), slot: 1, generation: CopyGeneration(2), epoch: epoch(1) };
    let provision = Order { subject: Some(subject), ..order(1, 5, Action::Provision, 1) };
    h.accepts(&provision);
    h.writes(&[Host::entry(&provision, Some(Outcome::Done(Done::Plain)))]);
    h.breaks("R11");
}

#[test]
fn r21_two_calls_of_one_slot_are_out() {
    for answered in [true, false] {
        let mut h = Host::new();
        let demote = order(1, 5, Action::Demote, 2);
        h.accepts(&demote);
        let call = |call| {
            let engine_call = EngineCall::Demote { epoch: epoch(2) };
            Effect::Call { call, slot: Some(1), engine_call, budget_ms: 1 }
        };
        h.does(call(1));
        if answered {
            let result = Err(slot_types::engine::EngineError::TimedOut("test".into()));
            h.w.saw(5, Seen::AgentTakes { host: &host(1), event: &Event::EngineAnswer { call: 1, result } });
        }
        h.does(call(2));
        assert_eq!(h.broken(), if answered { vec![] } else { vec!["R21"] });
    }
}
