//! R1, R2, R12, R21, R25, R29: masters, freezes, demotes, retries.

use crate::world::*;
use slot_engine::journal::core::*;
use slot_types::engine::*;
use slot_types::position::Tip;

fn refused(outcome: AppendOutcome) -> RefusedReason {
    match outcome {
        AppendOutcome::Refused(refused) => refused.reason,
        other => panic!("not refused but {other:?}"),
    }
}

#[test]
fn appends_are_durable_and_carry_the_right_epoch_and_store() {
    let mut w = World::with_master(1, 1, 0);
    assert_eq!(w.must_append(0, 1, "w1", 1), 1);
    assert_eq!(refused(w.append(0, 0, "w1", 2)), RefusedReason::OlderEpoch);
    assert_eq!(refused(w.append(0, 2, "w1", 2)), RefusedReason::NewerEpoch);
    let other = Append { store: "store9".parse().unwrap(), epoch: E(1), id: id("w1", 2), payload: vec![] };
    let request = w.request();
    w.step(0, Event::Append { request, append: other, budget_ms: 10 });
    assert!(
        matches!(&w.replies[&request], Reply::Append(AppendOutcome::Refused(r)) if r.reason == RefusedReason::OtherStore)
    );
    assert_eq!(w.status(0).tip.position.length, 2);
    assert!(w.milestones.contains("journal-before-ack"));
}

#[test]
fn r21_a_retry_never_duplicates_whatever_the_order() {
    let mut w = World::with_master(1, 2, 0);
    let at = w.must_append(0, 1, "w1", 500);
    // A lower sequence of the same client is another record: no high-water mark.
    let low = w.must_append(0, 1, "w1", 3);
    assert_ne!(at, low);
    assert_eq!(w.append(0, 1, "w1", 500), AppendOutcome::Done { index: at, existed: true });
    let a = w.begin_append(0, 1, "w1", 4);
    let b = w.begin_append(0, 1, "w1", 4);
    w.run(50);
    let index = |w: &World, r| match w.replies[&r] {
        Reply::Append(AppendOutcome::Done { index, .. }) => index,
        ref other => panic!("{other:?}"),
    };
    assert_eq!(index(&w, a), index(&w, b));
    assert_eq!(w.status(0).tip.position.length, 4);
}

#[test]
fn r1_a_thawed_freeze_is_over_for_good_also_after_a_crash() {
    let mut w = World::with_master(1, 3, 0);
    w.must_append(0, 1, "w1", 1);
    let freeze = EngineCall::Freeze { id: freeze_id(1), epoch: E(1), limit_ms: 60_000 };
    let p0 = w.tip_of(0, freeze.clone());
    assert_eq!(p0.position.length, 2);
    assert_eq!(w.tip_of(0, freeze.clone()), p0);
    let held = w.begin_append(0, 1, "w1", 2);
    w.run(100);
    assert!(!w.replies.contains_key(&held), "an append is held while frozen");
    assert_eq!(w.control(0, EngineCall::Thaw { id: freeze_id(1) }), Ok(EngineDone::Done));
    w.run(50);
    assert!(matches!(w.replies[&held], Reply::Append(AppendOutcome::Done { .. })));
    assert_eq!(w.control(0, freeze.clone()), Err(EngineError::Thawed(freeze_id(1))));
    // A thaw that overtakes its freeze.
    assert_eq!(w.control(0, EngineCall::Thaw { id: freeze_id(2) }), Ok(EngineDone::Done));
    let late = EngineCall::Freeze { id: freeze_id(2), epoch: E(1), limit_ms: 60_000 };
    assert_eq!(w.control(0, late.clone()), Err(EngineError::Thawed(freeze_id(2))));
    // A freeze in force when the process dies.
    let third = EngineCall::Freeze { id: freeze_id(3), epoch: E(1), limit_ms: 60_000 };
    w.tip_of(0, third.clone());
    w.crash(0, true);
    w.start(0).unwrap();
    assert_eq!(w.control(0, EngineCall::StartMaster { epoch: E(1), sync_copies: 0 }), Ok(EngineDone::Done));
    for (call, n) in [(freeze, 1), (late, 2), (third, 3)] {
        assert_eq!(w.control(0, call), Err(EngineError::Thawed(freeze_id(n))));
    }
    w.must_append(0, 1, "w1", 3);
}

#[test]
fn r12_a_freeze_thaws_by_itself_at_its_limit() {
    let mut w = World::with_master(1, 4, 0);
    let freeze = EngineCall::Freeze { id: freeze_id(1), epoch: E(1), limit_ms: 500 };
    w.tip_of(0, freeze.clone());
    let held = w.begin_append(0, 1, "w1", 1);
    w.run(400);
    assert!(!w.replies.contains_key(&held));
    assert_eq!(w.status(0).frozen, Some(freeze_id(1)));
    w.run(200);
    assert!(matches!(w.replies[&held], Reply::Append(AppendOutcome::Done { .. })));
    assert_eq!(w.status(0).frozen, None);
    assert_eq!(w.control(0, freeze), Err(EngineError::Thawed(freeze_id(1))));
}

#[test]
fn r2_a_demote_between_fsync_and_acknowledgement_leaves_no_acknowledgement() {
    let mut w = World::with_master(1, 5, 0);
    w.must_append(0, 1, "w1", 1);
    w.nodes[0].disk_stalled = true;
    let under_way = w.begin_append(0, 1, "w1", 2);
    let behind = w.begin_append(0, 1, "w1", 3);
    w.run(20);
    let demote = w.order(0, EngineCall::Demote { epoch: E(2) });
    w.run(20);
    assert!(!w.replies.contains_key(&demote), "the answer waits for the disk");
    let after = w.begin_append(0, 1, "w1", 4);
    w.release_disk(0);
    let answer = w.wait(demote, 1_000).unwrap();
    assert!(matches!(w.replies[&under_way], Reply::Append(AppendOutcome::Unknown { .. })));
    assert!(matches!(w.replies[&behind], Reply::Append(AppendOutcome::Refused(_))));
    assert!(matches!(w.replies[&after], Reply::Append(AppendOutcome::Refused(_))));
    let Reply::Control(EngineAnswer(Ok(EngineDone::Tip { tip, .. }))) = answer else { panic!("{answer:?}") };
    // The record under way belongs to the final tip, the others were never written.
    assert_eq!(tip.position.length, 3);
    w.run(5_000);
    assert_eq!(w.status(0).tip, tip);
    assert_eq!(w.status(0).role, EngineRole::Demoted);
    assert_eq!(w.tip_of(0, EngineCall::Demote { epoch: E(2) }), tip);
    assert!(w.milestones.contains("journal-after-demote-durable"));
}

#[test]
fn r29_demote_disarms_the_freeze_for_good() {
    let mut w = World::with_master(1, 6, 0);
    w.tip_of(0, EngineCall::Freeze { id: freeze_id(1), epoch: E(1), limit_ms: 300 });
    let held = w.begin_append(0, 1, "w1", 1);
    w.tip_of(0, EngineCall::Demote { epoch: E(2) });
    assert_eq!(w.status(0).frozen, None, "the timer is gone with the answer");
    assert!(matches!(w.replies[&held], Reply::Append(AppendOutcome::Refused(_))));
    w.run(1_000);
    assert_eq!(w.status(0).role, EngineRole::Demoted);
    assert_eq!(refused(w.append(0, 1, "w1", 2)), RefusedReason::OlderEpoch);
    w.crash(0, true);
    w.start(0).unwrap();
    assert_eq!(w.status(0).epoch, E(2));
    assert_eq!(w.status(0).role, EngineRole::Idle);
    let again = EngineCall::StartMaster { epoch: E(1), sync_copies: 0 };
    assert!(matches!(w.control(0, again), Err(EngineError::OlderEpoch { .. })));
    let promote = EngineCall::Promote { epoch: E(2), expect: w.status(0).tip, sync_copies: 0 };
    assert!(matches!(w.control(0, promote), Err(EngineError::SameEpochOtherRole { .. })));
    w.tip_of(0, EngineCall::Demote { epoch: E(2) });
}

#[test]
fn promote_wants_the_exact_tip_and_is_idempotent() {
    let mut w = World::with_master(1, 7, 0);
    w.must_append(0, 1, "w1", 1);
    let p1 = w.tip_of(0, EngineCall::Demote { epoch: E(2) });
    let wrong = EngineCall::Promote { epoch: E(3), expect: Tip::default(), sync_copies: 0 };
    assert!(matches!(w.control(0, wrong), Err(EngineError::NotEqual { have, .. }) if have == p1));
    assert_eq!(w.status(0).epoch, E(2));
    assert_eq!(w.tip_of(0, EngineCall::Raise { epoch: E(3) }), p1);
    let promote = EngineCall::Promote { epoch: E(3), expect: p1, sync_copies: 0 };
    let tip = w.tip_of(0, promote.clone());
    assert_eq!((tip.position.epoch, tip.position.length), (E(3), 3));
    assert_eq!(w.tip_of(0, promote.clone()), tip);
    let other = EngineCall::Promote { epoch: E(3), expect: tip, sync_copies: 0 };
    assert!(matches!(w.control(0, other), Err(EngineError::SameEpochOtherRole { .. })));
    assert!(matches!(w.control(0, EngineCall::Demote { epoch: E(3) }), Err(EngineError::SameEpochOtherRole { .. })));
    let follow = EngineCall::Follow { epoch: E(3), source: source(0) };
    assert!(matches!(w.control(0, follow), Err(EngineError::SameEpochOtherRole { .. })));
    w.crash(0, false);
    w.start(0).unwrap();
    assert_eq!(w.tip_of(0, promote), tip);
    w.must_append(0, 3, "w1", 2);
    // The canary rule of R25: the same master at the same epoch, no new start record.
    w.crash(0, true);
    w.start(0).unwrap();
    assert_eq!(refused(w.append(0, 3, "w1", 3)), RefusedReason::NotMaster);
    assert_eq!(w.control(0, EngineCall::StartMaster { epoch: E(3), sync_copies: 0 }), Ok(EngineDone::Done));
    assert_eq!(w.must_append(0, 3, "w1", 3), 4);
}

#[test]
fn a_raise_demotes_a_master_and_an_unwritten_epoch_cannot_be_started() {
    let mut w = World::with_master(1, 8, 0);
    w.must_append(0, 1, "w1", 1);
    w.tip_of(0, EngineCall::Raise { epoch: E(2) });
    assert_eq!(w.status(0).role, EngineRole::Demoted);
    assert!(matches!(
        w.control(0, EngineCall::StartMaster { epoch: E(2), sync_copies: 0 }),
        Err(EngineError::WrongRole(_))
    ));
    assert!(matches!(
        w.control(0, EngineCall::StartMaster { epoch: E(3), sync_copies: 0 }),
        Err(EngineError::WrongRole(_))
    ));
    assert!(matches!(w.control(0, EngineCall::Raise { epoch: E(1) }), Err(EngineError::OlderEpoch { .. })));
}

#[test]
fn p11_a_disk_error_ends_it_and_acknowledges_nothing() {
    let mut w = World::with_master(1, 9, 0);
    w.nodes[0].disk_stalled = true;
    let append = w.begin_append(0, 1, "w1", 1);
    w.run(20);
    w.fail_disk(0);
    w.run(10_000);
    assert!(w.nodes[0].died.is_some());
    assert!(!w.replies.contains_key(&append));
}

#[test]
fn stop_ends_it_with_everything_durable() {
    let mut w = World::with_master(1, 10, 0);
    w.must_append(0, 1, "w1", 1);
    assert_eq!(w.control(0, EngineCall::Stop), Ok(EngineDone::Done));
    assert!(w.nodes[0].exited);
    w.crash(0, true);
    w.start(0).unwrap();
    assert_eq!(w.status(0).tip.position.length, 2);
}

/// What the steps of a hand-over cost an engine; `docs/performance.md` counts with it.
#[test]
fn the_fsyncs_of_a_hand_over_are_these() {
    let mut w = World::with_master(2, 9, 0);
    w.must_append(0, 1, "w1", 1);
    w.control(1, EngineCall::Follow { epoch: E(1), source: source(0) }).unwrap();
    w.run(2_000);
    let fsyncs = |w: &World, node: usize| w.nodes[node].disk.fsyncs;
    let mut counted = Vec::new();
    let p0 = {
        let before = fsyncs(&w, 0);
        let p0 = w.tip_of(0, EngineCall::Freeze { id: freeze_id(1), epoch: E(1), limit_ms: 60_000 });
        counted.push(("freeze", fsyncs(&w, 0) - before));
        p0
    };
    let before = fsyncs(&w, 1);
    assert_eq!(w.tip_of(1, EngineCall::CatchUp { epoch: E(1), source: source(0), target: p0 }), p0);
    counted.push(("catch-up of one that is level", fsyncs(&w, 1) - before));
    let before = fsyncs(&w, 0);
    assert_eq!(w.tip_of(0, EngineCall::Demote { epoch: E(2) }), p0);
    counted.push(("demote", fsyncs(&w, 0) - before));
    let before = fsyncs(&w, 1);
    w.tip_of(1, EngineCall::Promote { epoch: E(2), expect: p0, sync_copies: 0 });
    counted.push(("promote", fsyncs(&w, 1) - before));
    let before = fsyncs(&w, 1);
    w.must_append(1, 2, "w1", 2);
    counted.push(("append", fsyncs(&w, 1) - before));
    let wanted = [("freeze", 2), ("catch-up of one that is level", 0), ("demote", 2), ("promote", 3), ("append", 1)];
    assert_eq!(counted, wanted);
}
