//! Stamps: what comparing a copy with its master found, and what follows from it.

use crate::plans::*;
use crate::world::*;
use slot_machine::command::*;
use slot_machine::runnable::{Runnable, runnable};
use slot_machine::state::*;
use slot_types::ids::*;
use slot_types::plan::*;
use slot_types::position::Digest;
use slot_types::verify::*;

fn found(asked: u64, stage: VerifyStage, faults: u64, masters: u64) -> Verification {
    let record = || Held::Record { epoch: epoch(1), id: None, digest: Digest::default() };
    let mut findings = Findings::default();
    (0..faults).for_each(|index| findings.add(Difference { index, here: Held::Unreadable, master: record() }));
    (0..masters).for_each(|index| findings.add(Difference { index, here: record(), master: Held::Unreadable }));
    let epoch = epoch(1);
    let against = slot(1, 1);
    let (upto, records, bytes, took_ms) = (90, 90, 900, 5);
    Verification { asked: LogTime(asked), epoch, against, upto, records, bytes, took_ms, stage, findings }
}

fn ended(asked: u64, faults: u64) -> Verification {
    found(asked, VerifyStage::Ended, faults, 0)
}

fn verified(world: &World, of: Verification) -> Command {
    let at = slot(2, 1);
    Command::Verified { slot: at.clone(), generation: world.copy(1, &at).generation, of }
}

fn audit_of(world: &World, text: &str) -> usize {
    world.state.audit.entries.iter().filter(|entry| entry.event.contains(text)).count()
}

#[test]
fn a_stamp_is_replaced_only_by_a_later_comparison_of_the_same_copy() {
    let mut world = World::with_store();
    world.ok(verified(&world, ended(10, 0)));
    assert!(world.cluster().stamp(&slot(2, 1)).unwrap().is_clean());
    let version = world.store(1).version;
    for late in [ended(10, 3), ended(9, 3), found(11, VerifyStage::UnderWay, 3, 0)] {
        world.ok(verified(&world, late));
    }
    world.ok(verified(&world, found(12, VerifyStage::Broken { why: "away".into() }, 0, 0)));
    assert_eq!(
        world.cluster().stamp(&slot(2, 1)).unwrap().of,
        ended(10, 0),
        "none of these says anything new for good"
    );
    let other = Command::Verified { slot: slot(2, 1), generation: CopyGeneration(77), of: ended(20, 3) };
    world.ok(other);
    world.ok(Command::Verified { slot: slot(2, 4), generation: CopyGeneration(1), of: ended(20, 3) });
    assert_eq!(world.cluster().stamps.len(), 1, "another copy, or none: nothing is kept of it");
    world.ok(verified(&world, ended(21, 0)));
    assert_eq!(
        (world.store(1).version, audit_of(&world, "slot-")),
        (version, 0),
        "clean after clean: nobody needs to know"
    );
}

/// A comparison that broke off has not seen again what an earlier one found: the copy is no better by it.
#[test]
fn what_broke_off_takes_nothing_back_that_speaks_against_a_copy() {
    let mut world = World::with_store();
    world.ok(verified(&world, ended(10, 3)));
    world.ok(verified(&world, found(11, VerifyStage::Broken { why: "away".into() }, 0, 1)));
    let stamp = world.cluster().stamp(&slot(2, 1)).unwrap();
    assert!(stamp.is_at_fault(), "{stamp:?}");
    assert_eq!(stamp.of.asked, LogTime(11), "it is no news again");
    world.ok(verified(&world, found(12, VerifyStage::Ended, 0, 1)));
    assert!(!world.cluster().stamp(&slot(2, 1)).unwrap().is_at_fault(), "one that ended has looked at all of it");
}

#[test]
fn r14_what_speaks_against_a_copy_is_a_fact_that_plans_depend_on() {
    let mut world = World::with_store();
    let task = hand_over(&world, 1, &slot(1, 1), &slot(2, 1));
    let id = world.record(&world.plan(Intent::FailOverSlot { slot: slot(1, 1), to: None }, vec![task]));
    let yes = world.approval(id, "ann");
    world.ok(verified(&world, ended(10, 3)));
    assert!(matches!(world.refused(yes), Refused::FactsChanged { .. }), "a plan made before trusted it");
    assert_eq!(audit_of(&world, "DIFFERS from h1/01: record 0: UNREADABLE on its disk here"), 1);
    assert_eq!(audit_of(&world, "and 2 more"), 1);
    let version = world.store(1).version;
    world.ok(verified(&world, ended(11, 3)));
    assert_eq!((world.store(1).version, audit_of(&world, "DIFFERS")), (version, 1), "known already");
    world.ok(verified(&world, ended(12, 0)));
    assert_eq!((world.store(1).version, audit_of(&world, "is equal to h1/01 again")), (version + 1, 1));
}

#[test]
fn a_copy_found_to_differ_while_the_hand_over_waits_gets_no_master_role() {
    let mut world = World::with_store();
    let task = hand_over(&world, 1, &slot(1, 1), &slot(2, 1));
    let id = world.start(Intent::FailOverSlot { slot: slot(1, 1), to: None }, vec![task]);
    world.ok(verified(&world, ended(10, 1)));
    let mut why = String::new();
    for item in runnable(&world.state) {
        if let Runnable::Start { step, attempt, .. } = item {
            let start = world.start_step(step, attempt);
            why += &format!("{:?}", world.apply(start));
        }
    }
    assert!(why.contains("h2/01 differs from its master: record 0: UNREADABLE"), "{why}");
    assert!(matches!(world.state.plans[&id].status, PlanStatus::Running));
    // It is the master's disk that fails: the copy is the better one, and may have the role.
    world.ok(verified(&world, found(11, VerifyStage::Ended, 0, 2)));
    world.drive();
    assert_eq!(world.store(1).master, Some(slot(2, 1)));
}
