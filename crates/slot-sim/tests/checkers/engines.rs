//! Engines: S1, S2, S4, S10, S11, S13, P12, R1, R2, R21, R24, R29.
//!
//! What always holds: the engines are real; what is bad is what the witness is told, or what the engines are made to do.

use crate::*;
use slot_engine::journal::core::{
    Append, Body, Config, Effect, Event, JournalCore, PeerAnswer, PeerCall, Pull, Read, ReadOutcome, Record, Reply,
    fresh_files,
};
use slot_sim::check::{Seen, Witness};
use slot_types::engine::{EngineCall, Source};
use slot_types::position::{Digest, EpochStart, Tip};

pub struct Engine {
    pub slot: SlotId,
    pub core: JournalCore,
    request: u64,
    /// Whether the witness hears of what reaches the engine, and of what its disk has done.
    pub told: bool,
    pub disk_told: bool,
    pub calls: Vec<u64>,
}

impl Engine {
    pub fn open(witness: &mut Witness, slot: SlotId) -> Self {
        let config = Config::new(store(), slot.clone(), CopyGeneration(1));
        let (core, effects) = JournalCore::open(config.clone(), fresh_files(&config), 0).unwrap();
        witness.saw(0, Seen::EngineOpens { slot: &slot, core: &core, effects: &effects });
        let mut engine = Self { slot, core, request: 0, told: true, disk_told: true, calls: Vec::new() };
        engine.carry_out(witness, 0, effects);
        engine
    }
    pub fn take(&mut self, witness: &mut Witness, now: u64, event: Event) -> Vec<Reply> {
        let disk = matches!(event, Event::DiskDone { .. });
        if self.told && (self.disk_told || !disk) {
            witness.saw(now, Seen::EngineTakes { slot: &self.slot, event: &event });
        }
        let effects = self.core.step(now, event);
        witness.saw(now, Seen::EngineDid { slot: &self.slot, core: &self.core, effects: &effects });
        self.carry_out(witness, now, effects)
    }
    fn carry_out(&mut self, witness: &mut Witness, now: u64, effects: Vec<Effect>) -> Vec<Reply> {
        let mut replies = Vec::new();
        for effect in effects {
            match effect {
                Effect::Disk { op, .. } => {
                    replies.extend(self.take(witness, now, Event::DiskDone { op, result: Ok(()) }));
                }
                Effect::Reply { reply, .. } => replies.push(reply),
                Effect::Call { call, .. } => self.calls.push(call),
                _ => {}
            }
        }
        replies
    }
    fn request(&mut self) -> u64 {
        self.request += 1;
        self.request
    }
    pub fn call(&mut self, witness: &mut Witness, now: u64, call: EngineCall) -> Vec<Reply> {
        let request = self.request();
        self.take(witness, now, Event::Control { request, call, budget_ms: 1_000 })
    }
    pub fn promote(&mut self, witness: &mut Witness, n: u64, sync_copies: u8) {
        let expect = self.core.log().durable_tip();
        self.call(witness, 1, EngineCall::Promote { epoch: epoch(n), expect, sync_copies });
    }
    pub fn append(&mut self, witness: &mut Witness, now: u64, n: u64, sequence: u64) {
        let payload = sequence.to_le_bytes().to_vec();
        witness.saw(now, Seen::ClientSends { store: &store(), id: &record(sequence), payload: &payload });
        let append = Append { store: store(), epoch: epoch(n), id: record(sequence), payload };
        let request = self.request();
        self.take(witness, now, Event::Append { request, append, budget_ms: 1_000 });
    }
    /// A follower asks for records, and says so that it holds so many.
    pub fn pulled(&mut self, witness: &mut Witness, n: u64, by: SlotId, tip: Tip, history: Vec<EpochStart>) {
        let request = self.request();
        let pull = Pull {
            store: store(),
            epoch: epoch(n),
            from: by,
            follow: true,
            history,
            tip,
            upto: u64::MAX,
            bytes_max: 1 << 20,
            wait_ms: 0,
        };
        self.take(witness, 2, Event::Peer { request, call: PeerCall::Pull(pull) });
    }
}

fn source(slot: SlotId) -> Source {
    Source { slot, address: "127.0.0.1:1".parse().unwrap() }
}

/// What is said of a master that nobody committed is left out: these tests commit nothing.
fn others(witness: &Witness) -> Vec<&'static str> {
    broken(witness).into_iter().filter(|invariant| *invariant != "S3").collect()
}

#[test]
fn a_master_that_acknowledges_what_is_durable_is_well() {
    let mut w = Witness::new(3);
    let mut a = Engine::open(&mut w, slot(1, 1));
    a.promote(&mut w, 1, 0);
    for sequence in 1..20 {
        a.append(&mut w, sequence, 1, sequence);
        w.saw(sequence, Seen::ClientAcked { store: &store(), id: &record(sequence) });
    }
    assert_eq!(others(&w), [""; 0]);
    assert_eq!(w.acknowledged(), 19);
    let demoted = a.call(&mut w, 30, EngineCall::Demote { epoch: epoch(2) });
    assert_eq!(demoted.len(), 1);
    assert_eq!(others(&w), [""; 0]);
}

#[test]
fn s3_a_master_at_an_epoch_that_nobody_committed() {
    let mut w = Witness::new(3);
    Engine::open(&mut w, slot(1, 1)).promote(&mut w, 1, 0);
    breaks(&w, "S3");
}

#[test]
fn s1_two_masters_at_one_epoch() {
    let mut w = Witness::new(3);
    let (mut a, mut b) = (Engine::open(&mut w, slot(1, 1)), Engine::open(&mut w, slot(2, 1)));
    a.promote(&mut w, 1, 0);
    assert_eq!(others(&w), [""; 0]);
    b.promote(&mut w, 1, 0);
    breaks(&w, "S1");
}

#[test]
fn s1_s7_s4_an_older_master_is_not_fenced_and_goes_on() {
    let mut w = Witness::new(3);
    let (mut a, mut b) = (Engine::open(&mut w, slot(1, 1)), Engine::open(&mut w, slot(2, 1)));
    a.promote(&mut w, 1, 0);
    a.append(&mut w, 2, 1, 1);
    b.promote(&mut w, 2, 0);
    assert_eq!(others(&w), ["S7", "S4"]);
    b.append(&mut w, 3, 2, 2);
    assert_eq!(others(&w), ["S7", "S4"]);
    a.append(&mut w, 4, 1, 3);
    breaks(&w, "S1");
}

#[test]
fn s4_a_successor_with_everything_is_well_and_one_without_is_not() {
    for complete in [true, false] {
        let mut w = Witness::new(3);
        let (mut a, mut b) = (Engine::open(&mut w, slot(1, 1)), Engine::open(&mut w, slot(2, 1)));
        a.promote(&mut w, 1, 0);
        (1..5).for_each(|sequence| a.append(&mut w, 2, 1, sequence));
        b.call(&mut w, 3, EngineCall::Follow { epoch: epoch(1), source: source(slot(1, 1)) });
        let upto = if complete { 5 } else { 4 };
        feed(&mut w, &mut b, &a.core, upto);
        a.call(&mut w, 4, EngineCall::Demote { epoch: epoch(2) });
        b.promote(&mut w, 2, 0);
        assert_eq!(others(&w), if complete { vec![] } else { vec!["S4"] });
    }
}

/// Answers the pull of a follower with the first records of another's log.
fn feed(w: &mut Witness, to: &mut Engine, from: &JournalCore, upto: u64) {
    let records = (0..upto).map(|i| from.log().entry(i).unwrap().bytes.clone()).collect();
    let digest = from.log().digest_at(upto);
    let head = from.log().length();
    let answer = PeerAnswer::Records { master: true, start: 0, records, digest, head };
    let call = *to.calls.last().unwrap();
    to.take(w, 3, Event::CallAnswer { call, result: Ok(answer) });
}

#[test]
fn r2_an_acknowledgement_before_the_disk_has_it() {
    let mut w = Witness::new(3);
    let mut a = Engine::open(&mut w, slot(1, 1));
    a.promote(&mut w, 1, 0);
    a.disk_told = false;
    a.append(&mut w, 2, 1, 1);
    breaks(&w, "R2");
}

#[test]
fn s2_an_epoch_that_is_answered_before_it_is_on_disk() {
    let mut w = Witness::new(3);
    let mut a = Engine::open(&mut w, slot(1, 1));
    a.promote(&mut w, 1, 0);
    a.disk_told = false;
    a.call(&mut w, 2, EngineCall::Demote { epoch: epoch(2) });
    breaks(&w, "S2");
    breaks(&w, "R2");
}

#[test]
fn p12_s2_a_disk_that_gives_back_less_than_was_durable() {
    for touched in [false, true] {
        let mut w = Witness::new(3);
        let mut a = Engine::open(&mut w, slot(1, 1));
        a.promote(&mut w, 1, 0);
        a.append(&mut w, 2, 1, 1);
        w.saw(3, Seen::EngineGone { slot: &a.slot });
        if touched {
            w.saw(3, Seen::HostDiskTouched { host: &host(1) });
        }
        Engine::open(&mut w, slot(1, 1));
        assert_eq!(others(&w), if touched { vec![] } else { vec!["P12", "S2"] });
    }
}

#[test]
fn r24_an_acknowledgement_with_too_few_copies() {
    for honest in [true, false] {
        let mut w = Witness::new(3);
        let (mut a, mut b) = (Engine::open(&mut w, slot(1, 1)), Engine::open(&mut w, slot(2, 1)));
        a.promote(&mut w, 1, 1);
        let follower = |a: &mut Engine, w: &mut Witness| {
            let (tip, history) = (a.core.log().durable_tip(), a.core.log().history().to_vec());
            a.pulled(w, 1, slot(2, 1), tip, history);
        };
        b.call(&mut w, 2, EngineCall::Follow { epoch: epoch(1), source: source(slot(1, 1)) });
        follower(&mut a, &mut w);
        a.append(&mut w, 2, 1, 1);
        assert_eq!(w.acknowledged(), 0);
        if honest {
            feed(&mut w, &mut b, &a.core, 2);
        }
        follower(&mut a, &mut w);
        assert_eq!(w.acknowledged(), 1);
        assert_eq!(others(&w), if honest { vec![] } else { vec!["R24"] });
    }
}

#[test]
fn s11_a_record_that_no_client_sent() {
    for bad in [b"other".as_slice(), &1u64.to_le_bytes()] {
        let mut w = Witness::new(3);
        let mut a = Engine::open(&mut w, slot(1, 1));
        a.promote(&mut w, 1, 0);
        w.saw(1, Seen::ClientSends { store: &store(), id: &record(1), payload: bad });
        let append = Append { store: store(), epoch: epoch(1), id: record(1), payload: 1u64.to_le_bytes().to_vec() };
        a.take(&mut w, 2, Event::Append { request: 99, append, budget_ms: 1_000 });
        assert_eq!(others(&w), if bad.len() == 5 { vec!["S11"] } else { vec![] });
    }
    let mut w = Witness::new(3);
    w.saw(1, Seen::ClientAcked { store: &store(), id: &record(1) });
    breaks(&w, "S11");
}

#[test]
fn r21_one_record_twice_in_a_log() {
    let mut w = Witness::new(3);
    let mut b = Engine::open(&mut w, slot(2, 1));
    w.saw(1, Seen::ClientSends { store: &store(), id: &record(1), payload: &[7] });
    b.call(&mut w, 2, EngineCall::Follow { epoch: epoch(1), source: source(slot(1, 1)) });
    let start = Record { epoch: epoch(1), body: Body::EpochStart };
    let data = Record { epoch: epoch(1), body: Body::Data { id: record(1), payload: vec![7] } };
    let records: Vec<Vec<u8>> = [start, data.clone(), data].iter().map(Record::to_bytes).collect();
    let digest = records.iter().fold(Digest::default(), |digest, bytes| digest.chain(bytes));
    let answer = PeerAnswer::Records { master: true, start: 0, records, digest, head: 3 };
    let call = *b.calls.last().unwrap();
    b.take(&mut w, 3, Event::CallAnswer { call, result: Ok(answer) });
    breaks(&w, "R21");
}

#[test]
fn s10_a_role_that_nobody_called_for() {
    let mut w = Witness::new(3);
    let mut a = Engine::open(&mut w, slot(1, 1));
    a.told = false;
    a.promote(&mut w, 1, 0);
    breaks(&w, "S10");
}

#[test]
fn s13_a_read_from_a_master_that_was_replaced_before_it_began() {
    for begun in [1, 9] {
        let mut w = Witness::new(3);
        let (mut a, mut b) = (Engine::open(&mut w, slot(1, 1)), Engine::open(&mut w, slot(2, 1)));
        a.promote(&mut w, 1, 0);
        b.promote(&mut w, 2, 0);
        b.append(&mut w, 5, 2, 1);
        let read = Read { store: store(), epoch: epoch(1), from: 0, records_max: 10, wait_ms: 0, stale: false };
        let replies = a.take(&mut w, 10, Event::Read { request: 77, read });
        let Some(Reply::Read(outcome @ ReadOutcome::Records { .. })) = replies.first() else { panic!("{replies:?}") };
        let (name, at) = (store(), slot(1, 1));
        let seen =
            Seen::ClientRead { store: &name, slot: &at, epoch: epoch(1), begun_ms: begun, stale: false, outcome };
        w.saw(10, seen);
        assert_eq!(broken(&w).contains(&"S13"), begun == 9);
    }
}

/// The witness is told of a step of this engine that left it as it is.
fn looked_at(w: &mut Witness, now: u64, slot: &SlotId, core: &JournalCore) {
    w.saw(now, Seen::EngineDid { slot, core, effects: &[] });
}

fn freeze_id() -> FreezeId {
    OrderId { plan: PlanId(1), task: 0, step: 0, attempt: 1 }
}

#[test]
fn r12_r1_a_freeze_beyond_its_limit_and_one_that_begins_again() {
    let mut w = Witness::new(3);
    let mut a = Engine::open(&mut w, slot(1, 1));
    a.promote(&mut w, 1, 0);
    let freeze = || EngineCall::Freeze { id: freeze_id(), epoch: epoch(1), limit_ms: 100 };
    let frozen = a.call(&mut w, 10, freeze());
    looked_at(&mut w, 109, &a.slot, &a.core);
    assert_eq!(others(&w), [""; 0]);
    looked_at(&mut w, 110, &a.slot, &a.core);
    assert_eq!(others(&w), ["R12"]);
    // It answers so once more, long after.
    w.saw(
        300,
        Seen::EngineTakes { slot: &a.slot, event: &Event::Control { request: 99, call: freeze(), budget_ms: 1 } },
    );
    let effects = [Effect::Reply { request: 99, reply: frozen[0].clone() }];
    w.saw(300, Seen::EngineDid { slot: &a.slot, core: &a.core, effects: &effects });
    breaks(&w, "R1");
}

#[test]
fn s2_a_yes_to_a_call_of_an_older_epoch() {
    let mut w = Witness::new(3);
    let mut a = Engine::open(&mut w, slot(1, 1));
    let follow = |n| EngineCall::Follow { epoch: epoch(n), source: source(slot(2, 1)) };
    let yes = a.call(&mut w, 1, follow(2));
    assert_eq!(others(&w), [""; 0]);
    w.saw(
        2,
        Seen::EngineTakes { slot: &a.slot, event: &Event::Control { request: 99, call: follow(1), budget_ms: 1 } },
    );
    let effects = [Effect::Reply { request: 99, reply: yes[0].clone() }];
    w.saw(2, Seen::EngineDid { slot: &a.slot, core: &a.core, effects: &effects });
    breaks(&w, "S2");
}

#[test]
fn p11_an_engine_goes_on_after_its_disk_has_failed() {
    let mut w = Witness::new(3);
    let mut a = Engine::open(&mut w, slot(1, 1));
    a.promote(&mut w, 1, 0);
    assert_eq!(others(&w), [""; 0]);
    w.saw(2, Seen::EngineTakes { slot: &a.slot, event: &Event::DiskDone { op: 99, result: Err("EIO".into()) } });
    let die = [Effect::Die { reason: "EIO".into() }];
    w.saw(2, Seen::EngineDid { slot: &a.slot, core: &a.core, effects: &die });
    assert_eq!(others(&w), [""; 0]);
    looked_at(&mut w, 3, &a.slot, &a.core);
    breaks(&w, "P11");
}

#[test]
fn r7_durable_records_are_cut_and_listed_nowhere() {
    let mut w = Witness::new(3);
    let (mut a, mut b) = (Engine::open(&mut w, slot(1, 1)), Engine::open(&mut w, slot(2, 1)));
    a.promote(&mut w, 1, 0);
    a.append(&mut w, 2, 1, 1);
    b.call(&mut w, 3, EngineCall::Follow { epoch: epoch(1), source: source(slot(1, 1)) });
    feed(&mut w, &mut b, &a.core, 1);
    assert_eq!(others(&w), [""; 0]);
    // A is now what B is: without the record, which nothing has put aside.
    looked_at(&mut w, 4, &a.slot, &b.core);
    breaks(&w, "R7");
}

#[test]
fn r2_r16_a_raised_copy_takes_records_of_an_older_epoch() {
    let mut w = Witness::new(3);
    let (mut a, mut b) = (Engine::open(&mut w, slot(1, 1)), Engine::open(&mut w, slot(2, 1)));
    a.promote(&mut w, 1, 0);
    a.append(&mut w, 2, 1, 1);
    b.call(&mut w, 3, EngineCall::Raise { epoch: epoch(2) });
    assert_eq!(others(&w), [""; 0]);
    looked_at(&mut w, 4, &b.slot, &a.core);
    breaks(&w, "R2");
}
