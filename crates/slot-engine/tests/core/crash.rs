//! Power cuts and arbitrary calls: what was acknowledged is there, epochs never go down, nothing panics.

use crate::disk::Rng;
use crate::world::*;
use proptest::prelude::*;
use slot_engine::journal::core::*;
use slot_types::engine::*;
use slot_types::ids::*;
use slot_types::position::{Position, Tip};
use std::collections::BTreeMap;

#[test]
fn p10_acknowledged_records_survive_any_power_cut() {
    for seed in 0..400 {
        let mut w = World::with_master(1, seed, 0);
        let mut requests = BTreeMap::new();
        let mut acked = BTreeMap::new();
        for n in 1..=60 {
            requests.insert(w.begin_append(0, 1, "w1", n), n);
            let ms = w.rng.below(4);
            w.run(ms);
            if w.rng.one_in(15) {
                w.crash(0, true);
                w.start(0).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
                w.control(0, EngineCall::StartMaster { epoch: E(1), sync_copies: 0 }).unwrap();
            }
        }
        for (request, n) in requests {
            if let Some(Reply::Append(AppendOutcome::Done { index, .. })) = w.replies.get(&request) {
                acked.insert(n, *index);
            }
        }
        assert!(!acked.is_empty());
        w.crash(0, true);
        w.start(0).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        let log = w.nodes[0].core.as_ref().unwrap().log();
        for (n, index) in acked {
            assert_eq!(log.find(&id("w1", n)), Some(index), "seed {seed}: record {n} was acknowledged");
        }
    }
}

#[test]
fn s2_a_demote_or_promote_that_was_answered_survives_any_power_cut() {
    for seed in 0..200 {
        let mut w = World::with_master(1, seed, 0);
        w.begin_append(0, 1, "w1", 1);
        let demote = w.order(0, EngineCall::Demote { epoch: E(2) });
        let ms = w.rng.below(30);
        w.run(ms);
        w.crash(0, true);
        let answered = w.replies.get(&demote).cloned();
        w.start(0).unwrap();
        let status = w.status(0);
        if let Some(Reply::Control(EngineAnswer(Ok(EngineDone::Tip { tip, .. })))) = answered {
            assert_eq!((status.epoch, status.tip), (E(2), tip), "seed {seed}");
        }
        let tip = w.tip_of(0, EngineCall::Demote { epoch: E(2) });
        let promote = EngineCall::Promote { epoch: E(3), expect: tip, sync_copies: 0 };
        w.order(0, promote.clone());
        let ms = w.rng.below(12);
        w.run(ms);
        w.crash(0, true);
        w.start(0).unwrap();
        w.tip_of(0, promote);
        assert_eq!(w.status(0).role, EngineRole::Master);
        assert_eq!(w.status(0).history.last().map(|l| (l.epoch, l.start)), Some((E(3), tip.position.length)));
    }
}

fn any_call(rng: &mut Rng, tip: Tip) -> EngineCall {
    let epoch = E(rng.below(6));
    let node = rng.below(3) as usize;
    let wrong = Tip { position: Position { epoch, length: rng.below(30) }, digest: Default::default() };
    let expect = if rng.one_in(3) { wrong } else { tip };
    match rng.below(11) {
        0 => EngineCall::Freeze { id: freeze_id(rng.below(4)), epoch, limit_ms: rng.below(50) },
        1 => EngineCall::Thaw { id: freeze_id(rng.below(4)) },
        2 => EngineCall::CatchUp { epoch, source: source(node), target: expect },
        3 => EngineCall::Demote { epoch },
        4 => EngineCall::Raise { epoch },
        5 | 6 => EngineCall::Promote { epoch, expect, sync_copies: rng.below(2) as u8 },
        7 => EngineCall::StartMaster { epoch, sync_copies: 0 },
        8 => EngineCall::Follow { epoch, source: source(node) },
        9 => EngineCall::ListStranded { epoch, against: source(node) },
        _ => EngineCall::Reinject { epoch, to: source(node) },
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    /// Any calls on any copies, with crashes: no panic, held epochs never go down, a master's log has its start record.
    #[test]
    fn any_calls_never_panic_and_never_lower_an_epoch(seed in any::<u64>()) {
        let mut w = World::new(3, seed);
        let mut rng = Rng(seed ^ 0xabcd);
        let mut held = [Epoch::ZERO; 3];
        for n in 0..120u64 {
            let node = rng.below(3) as usize;
            let tip = w.nodes[node].core.as_ref().map_or(Tip::default(), |c| c.log().durable_tip());
            match rng.below(10) {
                0..=5 => { w.order(node, any_call(&mut rng, tip)); }
                6..=8 => { let e = rng.below(6); w.begin_append(node, e, "w1", n); }
                _ => {
                    w.crash(node, rng.one_in(2));
                    w.start(node).unwrap();
                }
            }
            w.run(rng.below(30));
            for (node, held) in held.iter_mut().enumerate() {
                let core = w.nodes[node].core.as_ref().unwrap();
                let epoch = core.epoch();
                prop_assert!(epoch >= *held, "node {} went from {:?} to {:?}", node, held, epoch);
                *held = epoch;
                if core.role() == EngineRole::Master {
                    prop_assert_eq!(core.log().last_epoch(), epoch);
                }
            }
        }
    }

    /// Hostile answers to a pull change nothing or something legal, and never panic.
    #[test]
    fn any_pull_answer_is_survived(start in 0u64..5, head in 0u64..50, common in 0u64..9, master: bool,
                                   records in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..4)) {
        let mut w = World::with_master(2, 1, 0);
        w.must_append(0, 1, "w1", 1);
        w.run(100);
        let before = w.status(1).tip;
        for call in 0..40 {
            let records = records.clone();
            let answer = PeerAnswer::Records { master, start, records, digest: Default::default(), head };
            w.step(1, Event::CallAnswer { call, result: Ok(answer) });
            let answer = PeerAnswer::Diverged { master, history: vec![], head, common, digest: Default::default() };
            w.step(1, Event::CallAnswer { call, result: Ok(answer) });
        }
        w.run(100);
        prop_assert_eq!(w.status(1).tip, before);
    }
}
