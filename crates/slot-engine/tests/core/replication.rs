//! R7, R16, R24: followers, hand-over, divergence, stranded records.

use crate::world::*;
use slot_engine::journal::core::*;
use slot_types::engine::*;

#[test]
fn a_follower_gets_everything_and_measures_its_lag() {
    let mut w = World::with_master(2, 1, 0);
    for n in 1..=50 {
        w.must_append(0, 1, "w1", n);
    }
    w.run(200);
    assert_eq!(w.status(0).tip, w.status(1).tip);
    let status = w.status(1);
    assert_eq!((status.role, status.behind), (EngineRole::Replica, Some(0)));
    assert_eq!(status.following, Some((slot(0), E(1))));
    assert!(status.verified_ms.is_some() && status.heard_ms.is_some());
    w.crash(1, true);
    w.start(1).unwrap();
    assert_eq!(w.status(1).role, EngineRole::Idle);
    w.must_append(0, 1, "w1", 51);
    w.control(1, EngineCall::Follow { epoch: E(1), source: source(0) }).unwrap();
    w.run(3_000);
    assert_eq!(w.status(0).tip, w.status(1).tip);
}

#[test]
fn a_planned_hand_over_loses_nothing() {
    for seed in 0..20 {
        let mut w = World::with_master(3, seed, 0);
        for n in 1..=20 {
            w.begin_append(0, 1, "w1", n);
        }
        w.run(seed % 7);
        let p0 = w.tip_of(0, EngineCall::Freeze { id: freeze_id(1), epoch: E(1), limit_ms: 30_000 });
        w.tip_of(1, EngineCall::CatchUp { epoch: E(1), source: source(0), target: p0 });
        let p1 = w.tip_of(0, EngineCall::Demote { epoch: E(2) });
        let acked = w.replies.values().filter(|r| matches!(r, Reply::Append(AppendOutcome::Done { .. }))).count();
        w.tip_of(1, EngineCall::CatchUp { epoch: E(2), source: source(0), target: p1 });
        let tip = w.tip_of(1, EngineCall::Promote { epoch: E(2), expect: p1, sync_copies: 0 });
        assert_eq!(tip.position.length, p1.position.length + 1);
        assert!(w.ids(1).len() >= acked);
        for node in [0, 2] {
            w.control(node, EngineCall::Follow { epoch: E(2), source: source(1) }).unwrap();
        }
        w.must_append(1, 2, "w1", 100);
        w.run(3_000);
        assert_eq!(w.status(1).tip, w.status(0).tip);
        assert_eq!(w.status(1).tip, w.status(2).tip);
        assert!(w.status(0).aside.is_empty());
    }
}

#[test]
fn r16_a_replica_feeds_no_follower_but_may_feed_a_catch_up_once_raised() {
    let mut w = World::with_master(3, 2, 0);
    w.must_append(0, 1, "w1", 1);
    w.run(100);
    // 2 follows 1, which is no master.
    w.control(2, EngineCall::Follow { epoch: E(1), source: source(1) }).unwrap();
    w.must_append(0, 1, "w1", 2);
    w.run(3_000);
    assert_eq!(w.status(1).tip.position.length, 3);
    assert_eq!(w.status(2).tip.position.length, 2);
    assert_eq!(w.status(2).behind, None);
    let furthest = w.tip_of(1, EngineCall::Raise { epoch: E(2) });
    assert_eq!(w.tip_of(2, EngineCall::CatchUp { epoch: E(2), source: source(1), target: furthest }), furthest);
    assert_eq!(w.status(2).epoch, E(2));
}

#[test]
fn r24_too_few_copies_mean_no_acknowledgement_and_no_silent_lowering() {
    let mut w = World::with_master(2, 3, 1);
    w.must_append(0, 1, "w1", 1);
    assert_eq!(w.status(1).tip.position.length, 2, "acknowledged only when the follower holds it durably");
    w.cut.insert((1, 0));
    w.crash(1, true);
    // The follower was alive a moment ago: the record is written, but its outcome stays unknown.
    assert!(matches!(w.append(0, 1, "w1", 2), AppendOutcome::Unknown { .. }));
    w.run(20_000);
    // Nobody follows: refused, and not written.
    let before = w.status(0).tip;
    let AppendOutcome::Refused(refused) = w.append(0, 1, "w1", 3) else { panic!("acknowledged alone") };
    assert_eq!(refused.reason, RefusedReason::TooFewCopies);
    assert_eq!(w.status(0).tip, before);
    w.cut.clear();
    w.start(1).unwrap();
    w.control(1, EngineCall::Follow { epoch: E(1), source: source(0) }).unwrap();
    assert!(matches!(w.append(0, 1, "w1", 2), AppendOutcome::Done { existed: true, .. }));
    w.must_append(0, 1, "w1", 3);
}

/// Node 0 dies with records that node 1 lacks; node 1 is promoted at epoch 2.
fn failed_over(seed: u64) -> World {
    let mut w = World::with_master(3, seed, 0);
    for n in 1..=5 {
        w.must_append(0, 1, "w1", n);
    }
    w.run(100);
    w.cut.extend([(1, 0), (2, 0)]);
    w.run(3_000);
    for n in 6..=20 {
        w.must_append(0, 1, "w1", n);
    }
    w.crash(0, true);
    w.tip_of(2, EngineCall::Raise { epoch: E(2) });
    let tip = w.tip_of(1, EngineCall::Raise { epoch: E(2) });
    w.tip_of(1, EngineCall::Promote { epoch: E(2), expect: tip, sync_copies: 0 });
    w.control(2, EngineCall::Follow { epoch: E(2), source: source(1) }).unwrap();
    for n in 30..=40 {
        w.must_append(1, 2, "w2", n);
    }
    w.cut.clear();
    w.start(0).unwrap();
    w
}

#[test]
fn r7_the_stranded_tail_is_listed_exactly_and_reinjected_once() {
    let mut w = failed_over(4);
    let expected: Vec<_> = (6..=20).map(|n| id("w1", n)).collect();
    let list = EngineCall::ListStranded { epoch: E(2), against: source(1) };
    assert_eq!(w.control(0, list.clone()), Ok(EngineDone::Stranded(expected.clone())));
    // Followed first: the suffix goes aside and is still listed, whatever crashes.
    w.control(0, EngineCall::Follow { epoch: E(2), source: source(1) }).unwrap();
    w.run(3_000);
    assert_eq!(w.status(0).tip, w.status(1).tip);
    assert_eq!(w.status(0).aside, expected);
    w.crash(0, true);
    w.start(0).unwrap();
    assert_eq!(w.status(0).aside, expected);
    assert_eq!(w.control(0, list.clone()), Ok(EngineDone::Stranded(expected)));
    w.must_append(1, 2, "w1", 7);
    let reinject = EngineCall::Reinject { epoch: E(2), to: source(1) };
    assert_eq!(w.control(0, reinject.clone()), Ok(EngineDone::Reinjected { appended: 14, present: 1 }));
    assert_eq!(w.control(0, reinject), Ok(EngineDone::Reinjected { appended: 0, present: 15 }));
    assert_eq!(w.control(0, list), Ok(EngineDone::Stranded(vec![])));
    w.control(0, EngineCall::Follow { epoch: E(2), source: source(1) }).unwrap();
    w.run(5_000);
    assert_eq!(w.status(0).tip, w.status(1).tip);
    assert!(w.status(0).aside.is_empty(), "settled once the log holds them again");
    let mut ids = w.ids(1);
    let count = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), count);
}

#[test]
fn r7_putting_aside_survives_a_crash_at_any_moment() {
    for seed in 0..300 {
        let mut w = failed_over(seed);
        let expected: Vec<_> = (6..=20).map(|n| id("w1", n)).collect();
        w.order(0, EngineCall::Follow { epoch: E(2), source: source(1) });
        w.run(seed % 40);
        w.crash(0, seed % 3 != 0);
        w.start(0).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        let list = EngineCall::ListStranded { epoch: E(2), against: source(1) };
        let Ok(EngineDone::Stranded(mut found)) = w.control(0, list) else { panic!("seed {seed}") };
        found.sort();
        assert_eq!(found, expected, "seed {seed}");
        w.control(0, EngineCall::Follow { epoch: E(2), source: source(1) }).unwrap();
        w.run(3_000);
        assert_eq!(w.status(0).tip, w.status(1).tip, "seed {seed}");
        assert_eq!(w.status(0).aside, expected, "seed {seed}");
    }
}

#[test]
fn r7_a_replica_ahead_of_its_same_epoch_master_stops_and_asks() {
    let mut w = World::with_master(2, 5, 0);
    for n in 1..=5 {
        w.must_append(0, 1, "w1", n);
    }
    w.run(100);
    let lost = w.nodes[0].disk.clone();
    for n in 6..=9 {
        w.must_append(0, 1, "w1", n);
    }
    w.run(100);
    let ahead = w.status(1).tip;
    // The master's disk went back in time.
    w.crash(0, true);
    w.nodes[0].disk = lost;
    w.start(0).unwrap();
    w.control(0, EngineCall::StartMaster { epoch: E(1), sync_copies: 0 }).unwrap();
    w.run(5_000);
    let status = w.status(1);
    assert_eq!((status.role, status.tip), (EngineRole::Diverged, ahead));
    assert!(status.aside.is_empty());
}

#[test]
fn a_catch_up_that_can_never_be_equal_says_so() {
    let mut w = World::with_master(2, 6, 0);
    for n in 1..=5 {
        w.must_append(0, 1, "w1", n);
    }
    w.run(100);
    let mut target = w.status(0).tip;
    target.digest = Default::default();
    let call = EngineCall::CatchUp { epoch: E(1), source: source(0), target };
    assert!(matches!(w.control(1, call), Err(EngineError::NotEqual { .. })));
    target.position.length = 3;
    let call = EngineCall::CatchUp { epoch: E(1), source: source(0), target };
    assert!(matches!(w.control(1, call), Err(EngineError::NotEqual { .. })));
    target.position.length = 100;
    let call = EngineCall::CatchUp { epoch: E(1), source: source(0), target };
    assert!(matches!(w.control(1, call), Err(EngineError::TimedOut(_))));
}

#[test]
fn only_durable_records_leave_a_copy() {
    let mut w = World::with_master(1, 7, 0);
    w.must_append(0, 1, "w1", 1);
    let tip = w.status(0).tip;
    let history = w.status(0).history;
    w.nodes[0].disk_stalled = true;
    w.begin_append(0, 1, "w1", 2);
    w.run(20);
    let (store, epoch) = (store(), E(1));
    let ids = vec![id("w1", 1), id("w1", 2)];
    let pull = Pull {
        store: store.clone(),
        epoch,
        from: slot(1),
        follow: true,
        history,
        tip,
        upto: u64::MAX,
        bytes_max: 1 << 20,
        wait_ms: 10,
    };
    let contains = w.request();
    w.step(0, Event::Peer { request: contains, call: PeerCall::Contains { store, epoch, ids } });
    let pulled = w.request();
    w.step(0, Event::Peer { request: pulled, call: PeerCall::Pull(pull) });
    w.run(100);
    assert_eq!(w.replies[&contains], Reply::Peer(PeerAnswer::Contained(vec![id("w1", 1)])));
    let Reply::Peer(PeerAnswer::Records { records, head, .. }) = &w.replies[&pulled] else { panic!("not answered") };
    assert!(records.is_empty() && *head == 2);
}

#[test]
fn r7_an_aside_is_settled_only_when_all_of_it_is_back() {
    let mut w = failed_over(8);
    w.control(0, EngineCall::Follow { epoch: E(2), source: source(1) }).unwrap();
    w.run(3_000);
    w.must_append(1, 2, "w1", 7);
    w.run(3_000);
    let expected: Vec<_> = (6..=20).filter(|n| *n != 7).map(|n| id("w1", n)).collect();
    assert_eq!(w.status(0).aside, expected);
    w.crash(0, true);
    w.start(0).unwrap();
    assert_eq!(w.status(0).aside, expected);
    let list = EngineCall::ListStranded { epoch: E(2), against: source(1) };
    assert_eq!(w.control(0, list), Ok(EngineDone::Stranded(expected)));
}

#[test]
fn r7_a_common_part_with_another_digest_is_asked_for_record_by_record() {
    let mut w = failed_over(9);
    let now = w.now;
    let core = w.nodes[0].core.as_mut().unwrap();
    let length = core.log().durable;
    let list = EngineCall::ListStranded { epoch: E(2), against: source(1) };
    let effects = core.step(now, Event::Control { request: 1, call: list, budget_ms: 5_000 });
    let call = effects.iter().find_map(|e| if let Effect::Call { call, .. } = e { Some(*call) } else { None }).unwrap();
    let answer = PeerAnswer::Compared { common: length, digest: Default::default() };
    let effects = core.step(now, Event::CallAnswer { call, result: Ok(answer) });
    let asked = effects.iter().find_map(|e| match e {
        Effect::Call { request: PeerCall::Contains { ids, .. }, .. } => Some(ids.clone()),
        _ => None,
    });
    assert_eq!(asked.unwrap().len(), 20);
}

#[test]
fn records_that_arrive_behind_another_disk_operation_are_written_too() {
    let mut w = World::with_master(2, 10, 0);
    w.must_append(0, 1, "w1", 1);
    w.run(60);
    // The follower settles its meta on a slow disk while the next records come in.
    w.nodes[1].disk_stalled = true;
    w.run(400);
    w.must_append(0, 1, "w1", 2);
    w.run(100);
    assert_eq!(w.status(1).tip.position.length, 2, "not durable there yet");
    w.release_disk(1);
    w.run(100);
    assert_eq!(w.status(1).tip, w.status(0).tip);
    w.crash(1, true);
    w.start(1).unwrap();
    assert_eq!(w.status(1).tip, w.status(0).tip);
}

#[test]
fn fingerprints_compare_two_copies_piece_by_piece() {
    let mut w = failed_over(8);
    w.control(0, EngineCall::Follow { epoch: E(2), source: source(1) }).unwrap();
    w.run(3_000);
    let mut ask = |at: usize, from: u64, to: u64, epoch: u64, each: bool| {
        let request = w.request();
        let call = PeerCall::Fingerprint { store: store(), epoch: E(epoch), from, to, each };
        w.step(at, Event::Peer { request, call });
        w.run(50);
        w.replies[&request].clone()
    };
    let whole = ask(1, 0, 5, 2, false);
    assert!(matches!(&whole, Reply::Peer(PeerAnswer::Fingerprint { whole: Some(_), each }) if each.is_empty()));
    assert_eq!(whole, ask(0, 0, 5, 2, false), "the same records hash to the same, on master and replica");
    assert_ne!(whole, ask(1, 1, 5, 2, false), "other records hash to something else");
    let each = ask(1, 3, 5, 2, true);
    assert!(matches!(&each, Reply::Peer(PeerAnswer::Fingerprint { whole: None, each }) if each.len() == 2), "{each:?}");
    assert_eq!(each, ask(0, 3, 5, 2, true));
    let beyond = ask(1, 0, 1_500, 2, false);
    assert!(matches!(&beyond, Reply::Peer(PeerAnswer::Fingerprint { whole: None, .. })), "{beyond:?}");
    for (from, to, epoch) in [(0, 1_000_000, 2), (5, 4, 2), (0, 5, 1)] {
        let refused = ask(1, from, to, epoch, false);
        assert!(matches!(refused, Reply::Peer(PeerAnswer::Refused { .. })), "{from}..{to}: {refused:?}");
    }
}
