//! Many hand-overs and failovers in a row, with crashes in the middle of each call, judged by an oracle outside: what was
//! acknowledged is at the master after planned work, and after unplanned work it is there or listed as stranded.

use crate::world::*;
use slot_engine::journal::core::*;
use slot_types::engine::*;
use slot_types::ids::RecordId;
use slot_types::position::Tip;
use std::collections::{BTreeMap, BTreeSet};

struct Campaign {
    w: World,
    master: usize,
    epoch: u64,
    plans: u64,
    sequence: u64,
    sync_copies: u8,
    requests: BTreeMap<RequestId, RecordId>,
    seen: Seen,
}

/// Dangerous states that a campaign must have been in, or it proved nothing.
#[derive(Debug, Default)]
struct Seen {
    thawed_before_demote: u64,
    grew_after_freeze: u64,
    lost_then_brought_back: u64,
    stranded_but_unacknowledged: u64,
    put_aside: u64,
}

fn tip_in(answer: Result<EngineDone, EngineError>) -> Tip {
    match answer {
        Ok(EngineDone::Tip { tip, .. }) => tip,
        other => panic!("{other:?}"),
    }
}

impl Campaign {
    fn new(seed: u64, sync_copies: u8) -> Self {
        let w = World::with_master(3, seed, sync_copies);
        Self {
            w,
            master: 0,
            epoch: 1,
            plans: 0,
            sequence: 0,
            sync_copies,
            requests: BTreeMap::new(),
            seen: Seen::default(),
        }
    }

    fn write(&mut self, count: u64) {
        for _ in 0..count {
            // Now and then a retry of an older record.
            let sequence =
                if self.w.rng.one_in(5) { 1 + self.w.rng.below(self.sequence.max(1)) } else { self.sequence + 1 };
            self.sequence = self.sequence.max(sequence);
            let request = self.w.begin_append(self.master, self.epoch, "w1", sequence);
            self.requests.insert(request, id("w1", sequence));
            let ms = self.w.rng.below(4);
            self.w.run(ms);
        }
    }

    fn acknowledged(&self) -> BTreeSet<RecordId> {
        let is_done = |r: &RequestId| matches!(self.w.replies.get(r), Some(Reply::Append(AppendOutcome::Done { .. })));
        self.requests.iter().filter(|(r, _)| is_done(r)).map(|(_, id)| id.clone()).collect()
    }

    fn missing(&self) -> BTreeSet<RecordId> {
        let held = self.w.ids(self.master);
        let unique: BTreeSet<RecordId> = held.iter().cloned().collect();
        assert_eq!(unique.len(), held.len(), "R21: a record is there twice");
        self.acknowledged().difference(&unique).cloned().collect()
    }

    fn follow_all(&mut self) {
        for node in (0..3).filter(|n| *n != self.master) {
            let follow = EngineCall::Follow { epoch: E(self.epoch), source: source(self.master) };
            self.w.disturb(node, &follow);
            self.w.insist(node, follow).unwrap();
        }
        // A pull that was on its way to a process that died is given up after its budget.
        self.w.run(8_000);
    }

    fn settle(&mut self) {
        if self.w.nodes[self.master].core.is_none() {
            self.w.start(self.master).unwrap();
        }
        if self.w.nodes[self.master].core.as_ref().unwrap().role() != EngineRole::Master {
            let start = EngineCall::StartMaster { epoch: E(self.epoch), sync_copies: self.sync_copies };
            self.w.insist(self.master, start).unwrap();
        }
        self.follow_all();
        for node in 0..3 {
            assert_eq!(self.w.status(node).tip, self.w.status(self.master).tip);
        }
    }

    fn planned(&mut self, to: usize) {
        let from = self.master;
        self.plans += 1;
        let (held, next) = (E(self.epoch), E(self.epoch + 1));
        let freeze =
            EngineCall::Freeze { id: freeze_id(self.plans), epoch: held, limit_ms: 20 + self.w.rng.below(300) };
        let frozen = self.w.control(from, freeze);
        self.write(3);
        let ms = self.w.rng.below(400);
        self.w.run(ms);
        if let Ok(EngineDone::Tip { tip, .. }) = frozen {
            // Only an early check: it may thaw, and go on, before the demote (R1).
            self.w.order(to, EngineCall::CatchUp { epoch: held, source: source(from), target: tip });
        }
        if self.w.nodes[from].core.is_some() {
            self.seen.thawed_before_demote += u64::from(self.w.status(from).frozen.is_none());
        }
        let demote = EngineCall::Demote { epoch: next };
        self.w.disturb(from, &demote);
        let p1 = tip_in(self.w.insist(from, demote));
        if let Ok(EngineDone::Tip { tip, .. }) = &frozen {
            self.seen.grew_after_freeze += u64::from(*tip != p1);
        }
        self.epoch += 1;
        let catch_up = EngineCall::CatchUp { epoch: next, source: source(from), target: p1 };
        self.w.disturb(to, &catch_up);
        assert_eq!(tip_in(self.w.insist(to, catch_up)), p1);
        let promote = EngineCall::Promote { epoch: next, expect: p1, sync_copies: self.sync_copies };
        self.w.disturb(to, &promote);
        tip_in(self.w.insist(to, promote));
        self.master = to;
        assert_eq!(self.missing(), BTreeSet::new(), "S4: planned work loses nothing");
        self.follow_all();
    }

    fn unplanned(&mut self) {
        let dead = self.master;
        let power = self.w.rng.one_in(2);
        self.w.crash(dead, power);
        self.epoch += 1;
        let epoch = E(self.epoch);
        let mut best: Option<(Tip, usize)> = None;
        for node in (0..3).filter(|n| *n != dead) {
            self.w.disturb(node, &EngineCall::Raise { epoch });
            let tip = tip_in(self.w.insist(node, EngineCall::Raise { epoch }));
            if best.is_none_or(|(furthest, _)| tip.position > furthest.position) {
                best = Some((tip, node));
            }
        }
        let (expect, to) = best.unwrap();
        let promote = EngineCall::Promote { epoch, expect, sync_copies: 0 };
        self.w.disturb(to, &promote);
        tip_in(self.w.insist(to, promote));
        self.master = to;
        let missing = self.missing();
        assert!(self.sync_copies == 0 || missing.is_empty(), "R24: acknowledged with a copy, and lost with one host");
        self.write(4);
        self.w.run(100);
        self.w.start(dead).unwrap();
        let list = EngineCall::ListStranded { epoch, against: source(to) };
        if self.w.rng.one_in(2) {
            self.w.insist(dead, EngineCall::Follow { epoch, source: source(to) }).unwrap();
            let ms = self.w.rng.below(60);
            self.w.run(ms);
            let power = self.w.rng.one_in(2);
            self.w.crash(dead, power);
        }
        let Ok(EngineDone::Stranded(stranded)) = self.w.insist(dead, list) else { panic!("not listed") };
        let stranded: BTreeSet<RecordId> = stranded.into_iter().collect();
        let missing = self.missing();
        assert!(missing.is_subset(&stranded), "lost and not listed: {:?}", missing.difference(&stranded));
        self.seen.lost_then_brought_back += u64::from(!missing.is_empty());
        self.seen.stranded_but_unacknowledged += u64::from(stranded.len() > missing.len());
        self.seen.put_aside += u64::from(!self.w.status(dead).aside.is_empty());
        let reinject = EngineCall::Reinject { epoch, to: source(to) };
        self.w.disturb(dead, &reinject);
        self.w.insist(dead, reinject).unwrap();
        assert_eq!(self.missing(), BTreeSet::new(), "reinjection brings every one back");
        self.follow_all();
        assert!(self.w.status(dead).aside.is_empty());
    }
}

fn run(seed: u64, sync_copies: u8) -> Seen {
    let mut c = Campaign::new(seed, sync_copies);
    for _ in 0..6 {
        let count = 1 + c.w.rng.below(15);
        c.write(count);
        match c.w.rng.below(4) {
            0 => {
                let (node, power) = (c.w.rng.below(3) as usize, c.w.rng.one_in(2));
                c.w.crash(node, power);
                c.settle();
            }
            1 | 2 => {
                let to = (c.master + 1 + c.w.rng.below(2) as usize) % 3;
                c.planned(to);
            }
            _ => {
                c.unplanned();
                c.sync_copies = 0;
            }
        }
    }
    c.settle();
    assert_eq!(c.missing(), BTreeSet::new(), "seed {seed}");
    c.seen
}

#[test]
fn s4_campaigns_of_hand_overs_and_failovers_lose_nothing_unlisted() {
    let mut seen = Seen::default();
    for seed in 0..150 {
        let one = run(seed, 0);
        seen.thawed_before_demote += one.thawed_before_demote;
        seen.grew_after_freeze += one.grew_after_freeze;
        seen.lost_then_brought_back += one.lost_then_brought_back;
        seen.stranded_but_unacknowledged += one.stranded_but_unacknowledged;
        seen.put_aside += one.put_aside;
    }
    let Seen {
        thawed_before_demote,
        grew_after_freeze,
        lost_then_brought_back,
        stranded_but_unacknowledged,
        put_aside,
    } = seen;
    for count in
        [thawed_before_demote, grew_after_freeze, lost_then_brought_back, stranded_but_unacknowledged, put_aside]
    {
        assert!(count > 3, "a dangerous state was hardly reached: {seen:?}");
    }
}

#[test]
fn r24_campaigns_with_a_synchronous_copy() {
    for seed in 1_000..1_080 {
        run(seed, 1);
    }
}
