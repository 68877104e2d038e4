//! One slot: indexes, copies, epochs, freezes, demotes, cancels.

use crate::world::*;
use slot_agent::core::{Event, Serving};
use slot_types::engine::*;
use slot_types::ids::*;
use slot_types::order::*;
use slot_types::position::{Position, Tip};

fn not_yet(answer: Answer) -> String {
    match answer {
        Answer::NotYet { why } => why,
        other => panic!("not NotYet: {other:?}"),
    }
}

fn promote(index: u64, n: u64, expect: Tip) -> Order {
    order(index, n, Action::Promote { expect, source: None, sync_copies: 0 })
}

#[test]
fn r4_a_lower_index_is_superseded_for_good() {
    let mut world = World::with_master();
    world.done(&order(9, 2, Action::Demote));
    let late = order(5, 3, Action::Raise);
    assert_eq!(world.never(&late), NeverWill::Superseded { held: LogIndex(9) });
    world.restart();
    assert_eq!(world.never(&late), NeverWill::Superseded { held: LogIndex(9) });
    assert_eq!(world.engine().epoch, epoch(2));
}

#[test]
fn r4_the_index_is_per_slot() {
    let mut world = World::with_master();
    world.done(&order(9, 2, Action::Demote));
    let subject = Subject { store: store("store2"), slot: 2, generation: CopyGeneration(1), epoch: epoch(1) };
    world.done(&Order { subject: Some(subject), ..order(5, 1, Action::Provision) });
}

#[test]
fn r4_a_newer_order_stops_an_older_one_that_nothing_was_asked_for() {
    let mut world = World::with_master();
    world.kill_engine(1);
    world.launch_fails = true;
    let older = world.send(&order(3, 2, Action::Raise));
    let newer = world.send(&order(4, 3, Action::Demote));
    world.launch_fails = false;
    assert!(matches!(world.until_answered(newer), Answer::Receipt(Receipt { outcome: Outcome::Done(_), .. })));
    let superseded = Outcome::NeverWill(NeverWill::Superseded { held: LogIndex(4) });
    assert!(matches!(world.until_answered(older), Answer::Receipt(Receipt { outcome, .. }) if outcome == superseded));
    assert_eq!(world.calls, vec![EngineCall::Demote { epoch: epoch(3) }]);
}

#[test]
fn r21_orders_of_a_slot_run_one_at_a_time() {
    let mut world = World::with_master();
    world.hold_calls = true;
    let first = world.send(&order(3, 1, Action::Freeze { limit_ms: 60_000 }));
    let second = world.send(&order(4, 2, Action::Demote));
    let third = world.send(&order(5, 3, Action::Demote));
    assert_eq!(world.calls.len(), 1, "the newer ones wait for the call that is out");
    world.release();
    assert!(matches!(world.until_answered(first), Answer::Receipt(Receipt { outcome: Outcome::Done(_), .. })));
    assert!(matches!(world.until_answered(third), Answer::Receipt(Receipt { outcome: Outcome::Done(_), .. })));
    let superseded = Outcome::NeverWill(NeverWill::Superseded { held: LogIndex(5) });
    assert!(matches!(world.until_answered(second), Answer::Receipt(r) if r.outcome == superseded));
}

#[test]
fn r21_the_next_attempt_begins_after_the_one_before_is_over() {
    let mut world = World::with_master();
    world.hold_calls = true;
    let one = order(3, 2, Action::Raise);
    let two = Order { id: order_id(3, 2), index: LogIndex(4), ..one.clone() };
    let first = world.send(&one);
    let second = world.send(&Order { budget_ms: 500, ..two.clone() });
    assert!(not_yet(world.until_answered(second)).contains("earlier order"));
    assert_eq!(world.calls.len(), 1);
    world.release();
    assert!(matches!(world.until_answered(first), Answer::Receipt(_)));
    world.done(&two);
    assert_eq!(world.calls.len(), 2);
}

#[test]
fn r21_an_attempt_left_open_is_closed_by_the_next() {
    let mut world = World::with_master();
    world.unreachable = true;
    let one = Order { budget_ms: 700, ..order(3, 2, Action::Raise) };
    not_yet(world.deliver(&one));
    assert_eq!(world.disk.open_orders().into_iter().collect::<Vec<_>>(), vec![one.id]);
    world.unreachable = false;
    world.done(&Order { id: order_id(3, 2), index: LogIndex(4), ..one.clone() });
    assert_eq!(world.never(&one), NeverWill::Superseded { held: LogIndex(4) });
}

#[test]
fn slots_run_beside_each_other() {
    let mut world = World::with_master();
    let subject = Subject { store: store("store2"), slot: 2, generation: CopyGeneration(1), epoch: epoch(1) };
    world.hold_calls = true;
    let first = world.send(&order(3, 2, Action::Raise));
    let second = world.send(&Order { subject: Some(subject), ..order(4, 1, Action::Provision) });
    assert!(matches!(world.until_answered(second), Answer::Receipt(_)));
    assert!(!world.answers.contains_key(&first));
}

#[test]
fn r11_another_store_or_generation_is_refused_and_tombstones_stay() {
    let mut world = World::with_master();
    let with = |index: u64, name: &str, generation: u32, n: u64, action: Action| {
        let subject = Subject { store: store(name), slot: 1, generation: CopyGeneration(generation), epoch: epoch(n) };
        Order { subject: Some(subject), ..order(index, n, action) }
    };
    let other = |held: &str| NeverWill::OtherCopy { held: held.into() };
    assert_eq!(world.never(&with(3, "store9", 1, 9, Action::Demote)), other("store1 g1"));
    assert_eq!(world.never(&with(4, "store1", 2, 9, Action::Demote)), other("store1 g1"));
    assert_eq!(world.never(&with(5, "store9", 1, 9, Action::Provision)), other("store1 g1"));
    assert_eq!(world.never(&with(6, "store1", 2, 1, Action::Provision)), other("store1 g1 as master"));
    world.done(&with(7, "store1", 1, 17, Action::Demote));
    world.done(&with(8, "store1", 2, 17, Action::Provision));
    assert_eq!(world.disk.copies.len(), 2, "the tombstone stays");
    assert_eq!(world.never(&with(9, "store1", 1, 18, Action::Demote)), other("store1 g2"));
    assert_eq!(world.never(&with(10, "store1", 1, 18, Action::Provision)), other("store1 g2"));
    let late = Order { id: order_id(2, 7), ..with(2, "store1", 2, 18, Action::Stop) };
    assert!(matches!(world.never(&late), NeverWill::Superseded { .. }), "the index of the tombstone counts");
    assert_eq!(world.processes[&1].1, Serving { store: store("store1"), generation: CopyGeneration(2) });
    world.restart();
    world.done(&with(11, "store1", 2, 17, Action::Follow { source: source() }));
}

#[test]
fn r11_provision_again_makes_nothing_twice() {
    let mut world = World::new();
    world.done(&order(1, 1, Action::Provision));
    world.done(&order(2, 1, Action::Provision));
    assert_eq!(world.deeds, vec!["provision 1", "launch 1"]);
    assert_eq!(world.calls, vec![]);
    assert!(matches!(world.deliver(&order(3, 1, Action::Demote)), Answer::Receipt(_)));
    let nowhere = Subject { slot: 7, ..order(4, 1, Action::Provision).subject.unwrap() };
    assert!(matches!(
        world.deliver(&Order { subject: Some(nowhere), ..order(4, 1, Action::Provision) }),
        Answer::Refused { .. }
    ));
}

#[test]
fn one_epoch_has_one_role_order_except_the_named_pairs() {
    let follow = Action::Follow { source: source() };
    let start = Action::StartMaster { sync_copies: 0 };
    let to_master = Action::Promote { expect: Tip::default(), source: None, sync_copies: 0 };
    let all = [Action::Raise, to_master.clone(), Action::Demote, follow.clone(), start.clone()];
    let allowed = [
        (Action::Raise, vec![Action::Raise, to_master.clone(), Action::Demote, follow.clone()]),
        (to_master.clone(), vec![to_master.clone(), start.clone()]),
        (Action::Demote, vec![Action::Demote, follow.clone()]),
        (follow.clone(), vec![follow.clone()]),
    ];
    for (first, then) in &allowed {
        for second in &all {
            let mut world = World::new();
            world.done(&order(1, 1, Action::Provision));
            world.done(&order(2, 5, first.clone()));
            let refused = matches!(
                world.outcome(&order(3, 5, second.clone())),
                Outcome::NeverWill(NeverWill::SameEpochOtherRole { .. })
            );
            assert_eq!(refused, !then.contains(second), "{} after {}", second.name(), first.name());
        }
    }
}

#[test]
fn r1_a_thawed_freeze_answers_thawed_when_delivered_again() {
    let mut world = World::with_master();
    let freeze = order(3, 1, Action::Freeze { limit_ms: 60_000 });
    assert!(matches!(world.done(&freeze), Done::Tip { .. }));
    world.wait(600);
    assert!(matches!(world.done(&freeze), Done::Tip { .. }), "still frozen");
    world.done(&order(4, 1, Action::Thaw { freeze: freeze.id }));
    assert_eq!(world.never(&freeze), NeverWill::Thawed);
    world.restart();
    assert_eq!(world.never(&freeze), NeverWill::Thawed);
    let again = order(5, 1, Action::Freeze { limit_ms: 60_000 });
    world.done(&again);
    assert_eq!(world.engine().frozen, Some(again.id));
}

#[test]
fn r12_a_freeze_that_ended_by_its_timer_is_over_here_too() {
    let mut world = World::with_master();
    let freeze = order(3, 1, Action::Freeze { limit_ms: 1_000 });
    world.done(&freeze);
    world.wait(600);
    world.engine().thaw(freeze.id);
    world.wait(600);
    assert_eq!(world.never(&freeze), NeverWill::Thawed);
}

#[test]
fn r12_a_dead_engine_is_not_frozen_and_is_not_started_by_freeze_or_thaw() {
    let mut world = World::with_master();
    world.kill_engine(1);
    assert!(
        matches!(world.never(&order(3, 1, Action::Freeze { limit_ms: 1 })), NeverWill::Engine(why) if why.contains("not running"))
    );
    assert_eq!(world.done(&order(4, 1, Action::Thaw { freeze: order_id(3, 1) })), Done::Plain);
    assert!(world.processes.is_empty() && world.deeds.is_empty());
}

#[test]
fn r2_demote_starts_a_dead_engine_idle_and_answers_its_own_tip() {
    let mut world = World::with_master();
    world.kill_engine(1);
    let Done::Tip { tip, .. } = world.done(&order(3, 2, Action::Demote)) else { panic!("no tip") };
    assert_eq!(tip, world.engine().tip);
    assert_eq!(world.engine().epoch, epoch(2));
    assert_eq!(world.deeds, vec!["launch 1"]);
}

#[test]
fn r2_demote_kills_an_engine_that_does_not_answer() {
    let mut world = World::with_master();
    world.unreachable = true;
    let delivery = world.send(&order(3, 2, Action::Demote));
    assert_eq!(world.deeds, vec!["kill 1", "launch 1"]);
    assert!(!world.answers.contains_key(&delivery), "a reaped process alone is no receipt: the final tip is asked for");
    world.unreachable = false;
    let answer = world.until_answered(delivery);
    assert!(matches!(answer, Answer::Receipt(Receipt { outcome: Outcome::Done(Done::Tip { .. }), .. })));
}

#[test]
fn r2_demote_that_cannot_kill_is_not_fenced() {
    let mut world = World::with_master();
    world.unreachable = true;
    world.kill_fails = true;
    assert!(not_yet(world.deliver(&order(3, 2, Action::Demote))).contains("not fenced"));
    assert!(!world.deeds.contains(&"launch 1".to_string()));
    world.unreachable = false;
    world.kill_fails = false;
    world.done(&order(3, 2, Action::Demote));
    assert_eq!(world.engine().epoch, epoch(2));
}

#[test]
fn r2_demote_that_gets_no_answer_at_all_stays_open() {
    let mut world = World::with_master();
    world.unreachable = true;
    assert!(not_yet(world.deliver(&order(3, 2, Action::Demote))).contains("not fenced"));
    assert_eq!(world.deeds, vec!["kill 1", "launch 1"], "killed once, not over and over");
    assert_eq!(world.last_report().running, vec![order_id(3, 1)]);
    world.unreachable = false;
    world.done(&order(3, 2, Action::Demote));
}

#[test]
fn r1_promote_that_is_not_equal_never_will_and_leaves_the_epoch_raised() {
    let mut world = World::new();
    world.done(&order(1, 1, Action::Provision));
    let want = Tip { position: Position { epoch: epoch(1), length: 7 }, ..Tip::default() };
    assert!(matches!(world.never(&promote(2, 2, want)), NeverWill::NotEqual { .. }));
    assert!(!world.last_report().slots[0].ledger_master);
    assert!(matches!(world.never(&order(3, 1, Action::Raise)), NeverWill::OlderEpoch { .. }));
    world.done(&order(4, 2, Action::Follow { source: source() }));
}

/// L1: the host booted again before its engine answered a Promote, and the plan was given up. The copy is woken by a Raise at
/// that very epoch, by which it is no master; a Promote that was settled is not undone so.
#[test]
fn l1_a_promote_that_a_boot_cut_short_may_be_woken_at_its_epoch() {
    let mut world = World::new();
    world.done(&order(1, 1, Action::Provision));
    world.unreachable = true;
    let promote = promote(2, 2, Tip::default());
    world.send(&promote);
    world.reboot(BootId([9; 16]));
    world.unreachable = false;
    world.done(&Order { boot: world.boot, ..order(3, 2, Action::Raise) });
    assert!(!world.last_report().slots[0].ledger_master);
    assert_ne!(world.engine().role, EngineRole::Master);
    assert!(matches!(world.never(&promote), NeverWill::BootEnded(_)), "R27, R4: it does not come late");

    let mut world = World::with_master();
    assert!(matches!(world.never(&order(3, 1, Action::Raise)), NeverWill::SameEpochOtherRole { .. }));
}

#[test]
fn promote_catches_up_first_when_it_has_a_source_and_only_when_needed() {
    let mut world = World::new();
    world.done(&order(1, 1, Action::Provision));
    let want = Tip { position: Position { epoch: epoch(1), length: 7 }, ..Tip::default() };
    let promote = order(2, 2, Action::Promote { expect: want, source: Some(source()), sync_copies: 0 });
    // The engine becomes master, and the agent dies before it has recorded that.
    world.crash_before_persist = Some(world.persists + 1);
    world.send(&promote);
    assert!(world.crashed && world.engine().role == EngineRole::Master);
    world.restart();
    world.done(&promote);
    let starts = world.engine().starts.clone();
    assert_eq!(starts.into_iter().collect::<Vec<_>>(), vec![(epoch(2), 1)], "one epoch-start record");
    assert_eq!(world.engine().tip.position, Position { epoch: epoch(2), length: 8 });
    assert!(world.last_report().slots[0].ledger_master);
}

#[test]
fn stop_is_done_only_when_the_process_is_gone() {
    let mut world = World::with_master();
    world.unreachable = true;
    let delivery = world.send(&order(3, 1, Action::Stop));
    assert!(!world.answers.contains_key(&delivery));
    assert!(matches!(world.until_answered(delivery), Answer::Receipt(Receipt { outcome: Outcome::Done(_), .. })));
    assert_eq!(world.deeds, vec!["kill 1"]);
    assert!(world.processes.is_empty());
    assert_eq!(world.done(&order(4, 1, Action::Stop)), Done::Plain);
}

#[test]
fn r4_cancel_answers_what_became_of_its_target() {
    let mut world = World::with_master();
    let raise = order(3, 2, Action::Raise);
    let done = world.outcome(&raise);
    assert_eq!(world.outcome(&host_order(4, Action::Cancel { order: raise.id })), done);
    // Unknown here: it never will take effect, however late it comes.
    let late = order(5, 3, Action::Demote);
    assert_eq!(world.never(&host_order(6, Action::Cancel { order: late.id })), NeverWill::Cancelled);
    world.restart();
    assert_eq!(world.never(&late), NeverWill::Cancelled);
    assert_eq!(world.engine().epoch, epoch(2));
    let own = host_order(7, Action::Cancel { order: order_id(7, 1) });
    assert!(matches!(world.deliver(&own), Answer::Refused { .. }));
}

#[test]
fn r4_cancel_waits_for_a_call_that_is_out() {
    let mut world = World::with_master();
    world.hold_calls = true;
    let raise = order(3, 2, Action::Raise);
    let first = world.send(&raise);
    let cancel = host_order(4, Action::Cancel { order: raise.id });
    assert!(not_yet(world.deliver(&Order { budget_ms: 200, ..cancel.clone() })).contains("under way"));
    let again = world.send(&cancel);
    world.release();
    let Answer::Receipt(receipt) = world.until_answered(again) else { panic!("no receipt") };
    assert!(matches!(receipt.outcome, Outcome::Done(Done::Tip { .. })));
    assert!(matches!(world.until_answered(first), Answer::Receipt(r) if r.outcome == receipt.outcome));
}

#[test]
fn r4_cancel_stops_what_is_between_two_calls_or_open() {
    let mut world = World::with_master();
    world.kill_engine(1);
    world.launch_fails = true;
    let raise = order(3, 2, Action::Raise);
    let first = world.send(&raise);
    assert_eq!(world.never(&host_order(4, Action::Cancel { order: raise.id })), NeverWill::Cancelled);
    assert!(
        matches!(world.until_answered(first), Answer::Receipt(r) if r.outcome == Outcome::NeverWill(NeverWill::Cancelled))
    );
    let open = order(5, 2, Action::Raise);
    not_yet(world.deliver(&Order { budget_ms: 300, ..open.clone() }));
    assert_eq!(world.never(&host_order(6, Action::Cancel { order: open.id })), NeverWill::Cancelled);
    world.launch_fails = false;
    assert_eq!(world.never(&open), NeverWill::Cancelled);
    assert!(world.calls.is_empty() && world.disk.open_orders().is_empty());
}

#[test]
fn what_engines_answer_is_passed_on() {
    let mut world = World::with_master();
    world.done(&order(3, 2, Action::Demote));
    assert_eq!(world.done(&order(4, 2, Action::ListStranded { against: source() })), Done::Stranded(vec![]));
    assert_eq!(
        world.done(&order(5, 2, Action::Reinject { to: source() })),
        Done::Reinjected { appended: 2, present: 1 }
    );
    let canary = Action::Canary { store: store("store1"), epoch: epoch(2), to: source() };
    assert_eq!(world.done(&host_order(6, canary)), Done::Plain);
    world.engine().epoch = epoch(9);
    assert_eq!(world.never(&order(7, 3, Action::Demote)), NeverWill::OlderEpoch { held: epoch(9) });
}

#[test]
fn r4_a_call_that_failed_is_not_tried_again_once_cancelled() {
    let mut world = World::with_master();
    world.hold_calls = true;
    let raise = order(3, 2, Action::Raise);
    let first = world.send(&raise);
    let cancel = world.send(&host_order(4, Action::Cancel { order: raise.id }));
    world.unreachable = true;
    world.release();
    for delivery in [first, cancel] {
        let cancelled = Outcome::NeverWill(NeverWill::Cancelled);
        assert!(matches!(world.until_answered(delivery), Answer::Receipt(r) if r.outcome == cancelled));
    }
    assert_eq!(world.calls.len(), 1);
}

#[test]
fn r21_a_call_that_failed_is_not_tried_again_once_a_newer_order_waits() {
    let mut world = World::with_master();
    world.hold_calls = true;
    let older = world.send(&order(3, 2, Action::Raise));
    let newer = world.send(&order(4, 3, Action::Demote));
    world.unreachable = true;
    world.release();
    world.unreachable = false;
    assert!(matches!(world.until_answered(newer), Answer::Receipt(Receipt { outcome: Outcome::Done(_), .. })));
    let superseded = Outcome::NeverWill(NeverWill::Superseded { held: LogIndex(4) });
    assert!(matches!(world.until_answered(older), Answer::Receipt(r) if r.outcome == superseded));
    let raises = world.calls.iter().filter(|call| matches!(call, EngineCall::Raise { .. }));
    assert_eq!(raises.count(), 1);
}

#[test]
fn r2_a_fresh_engine_is_asked_before_it_is_killed() {
    let mut world = World::with_master();
    world.hold_calls = true;
    let delivery = world.send(&order(3, 2, Action::Demote));
    // It dies while it is asked; the one that is started in its place is sound.
    world.kill_engine(1);
    world.release();
    assert!(matches!(world.until_answered(delivery), Answer::Receipt(Receipt { outcome: Outcome::Done(_), .. })));
    assert_eq!(world.deeds, vec!["launch 1"]);
}

#[test]
fn news_of_an_earlier_process_changes_nothing() {
    let mut world = World::with_master();
    world.wait(600);
    world.event(Event::EngineGone { slot: 1, instance: 999 });
    world.event(Event::Reaped { slot: 1, instance: 999, result: Ok(()) });
    world.event(Event::EngineLaunched { slot: 1, instance: 999, result: Err("late".into()) });
    world.wait(2_000);
    assert!(matches!(world.last_report().slots[0].engine, EngineSeen::Running(_)));
}

#[test]
fn r25_a_promote_whose_end_is_unknown_is_no_mastership_to_start_again() {
    let mut world = World::new();
    world.done(&order(1, 1, Action::Provision));
    world.hold_calls = true;
    world.send(&promote(2, 1, Tip::default()));
    world.hold_calls = false;
    world.reboot(OTHER_BOOT);
    let start = Order { boot: OTHER_BOOT, ..order(3, 1, Action::StartMaster { sync_copies: 0 }) };
    assert!(matches!(world.never(&start), NeverWill::SameEpochOtherRole { .. }));
    assert!(!world.last_report().slots[0].ledger_master);
    world.done(&Order { boot: OTHER_BOOT, ..promote(4, 1, Tip::default()) });
    assert!(world.last_report().slots[0].ledger_master);
}

#[test]
fn r11_a_destroyed_copy_leaves_a_tombstone_and_its_slot_to_others() {
    let mut world = World::new();
    world.done(&order(1, 1, Action::Provision));
    world.done(&order(2, 1, Action::Destroy));
    assert!(world.deeds.contains(&"remove 1".to_string()), "{:?}", world.deeds);
    let dead: Vec<_> = world.core.ledger().copies.values().map(|entry| (entry.retired, entry.index)).collect();
    assert_eq!(dead, [(true, LogIndex(2))]);
    // What wants it destroyed once more is told that it is, and nothing lives again.
    world.done(&order(3, 1, Action::Destroy));
    assert!(world.core.ledger().copies.values().all(|entry| entry.retired));
    // The same generation never comes back; another store may have the slot.
    assert!(matches!(world.never(&order(4, 1, Action::Provision)), NeverWill::OtherCopy { .. }));
}

#[test]
fn r2_a_master_is_not_destroyed() {
    let mut world = World::new();
    world.done(&order(1, 1, Action::Provision));
    let promote = Action::Promote { expect: Tip::default(), source: None, sync_copies: 0 };
    world.done(&order(2, 1, promote));
    assert!(matches!(world.never(&order(3, 1, Action::Destroy)), NeverWill::OtherCopy { .. }));
    assert!(!world.deeds.contains(&"remove 1".to_string()));
}
