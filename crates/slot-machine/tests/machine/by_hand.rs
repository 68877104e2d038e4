//! R19: masters that a person started at their machine, on contact.

use crate::plans::*;
use crate::world::*;
use slot_machine::by_hand::unnoted;
use slot_machine::command::*;
use slot_machine::state::State;
use slot_types::cluster::*;
use slot_types::hand::{HandStart, HandState};
use slot_types::ids::*;
use slot_types::plan::*;

fn start(number: u32, n: u64, state: HandState) -> HandStart {
    let (boot, reason) = (boot(1, 1), "no coordinator answers".to_string());
    HandStart { number, epoch: epoch(n), boot, by: person("ann"), uid: 0, reason, wall: WallTime(7), state }
}

fn told(starts: &[HandStart]) -> Command {
    let (generation, starts) = (CopyGeneration(1), starts.to_vec());
    Command::ByHandSeen { slot: slot(1, 1), store: store(1), generation, starts }
}

fn audit(world: &World) -> Vec<String> {
    world.state.audit.entries.iter().map(|entry| entry.event.clone()).filter(|event| event.contains("branch")).collect()
}

/// The last thing the audit says of a branch.
fn verdict(world: &World) -> String {
    audit(world).pop().unwrap()
}

/// `store1`'s master on h1 was failed over to h2 while h1 was attested off: epoch 2.
fn failed_over() -> World {
    let mut world = World::with_store();
    world.write(1, 3, &[]);
    world.dead.insert(host(1));
    world.attest(1, "ann");
    let task = waiving(&world, 1, &slot(1, 1), &slot(2, 1), FenceLevel::Attested);
    let id = world.record(&world.plan(Intent::FailOverSlot { slot: slot(1, 1), to: None }, vec![task]));
    for by in ["bob", "carol"] {
        let _ = world.approve(id, by);
    }
    world.drive();
    assert_eq!((world.store(1).epoch, world.store(1).master.clone()), (epoch(2), Some(slot(2, 1))));
    world
}

#[test]
fn r19_a_branch_is_adopted_when_nothing_higher_was_committed_and_audited_once() {
    let mut world = World::with_store();
    let before = world.store(1).clone();
    world.ok(told(&[start(1, 1, HandState::Serving)]));
    assert_eq!(*world.store(1), before, "the copy is what it was");
    let told_of = audit(&world);
    assert!(told_of[0].contains("ann (user 0") && told_of[0].contains("store1@1+1"), "{told_of:?}");
    assert!(told_of[1].contains("adopted: no epoch above 1"), "{told_of:?}");
    world.ok(told(&[start(1, 1, HandState::Serving)]));
    assert_eq!(audit(&world).len(), 2, "again is not news");
    assert!(world.cluster().loss_cases.is_empty());
}

#[test]
fn r19_a_branch_is_told_of_again_once_it_is_known_how_it_ended() {
    let mut world = World::with_store();
    world.ok(told(&[start(1, 1, HandState::Asked)]));
    world.ok(told(&[start(1, 1, HandState::Serving), start(2, 1, HandState::Serving)]));
    assert_eq!(audit(&world).iter().filter(|event| event.contains("by hand at")).count(), 3);
}

/// The schedule of R19: A was started at e by hand while another person approved e+1.
#[test]
fn r19_a_branch_beside_a_higher_epoch_is_not_adopted_and_has_a_loss_case() {
    let mut world = failed_over();
    world.ok(told(&[start(1, 1, HandState::Serving)]));
    assert!(verdict(&world).contains("not adopted: epoch 2 was committed"), "{}", verdict(&world));
    let case = world.cluster().loss_cases.values().next().unwrap();
    assert_eq!((&case.slot, case.state.is_open()), (&slot(1, 1), true));
    assert_eq!(world.copy(1, &slot(1, 1)).state, CopyState::Quarantined);
    assert!(world.store(1).possible_masters.contains_key(&slot(1, 1)), "the standing Demote is for it");
    assert_eq!(world.cluster().loss_cases.len(), 1, "the failover's own case tells of it");
}

#[test]
fn r19_a_branch_that_no_case_tells_of_opens_one() {
    for state in [HandState::Serving, HandState::Asked] {
        let mut world = failed_over();
        world.cluster_mut().loss_cases.clear();
        let store_now = world.cluster_mut().stores.get_mut(&store(1)).unwrap();
        store_now.possible_masters.clear();
        store_now.copies.get_mut(&slot(1, 1)).unwrap().state = CopyState::Building;
        world.ok(told(&[start(1, 1, state)]));
        let case = world.cluster().loss_cases.values().next().unwrap();
        assert_eq!((&case.slot, &case.state), (&slot(1, 1), &LossState::AwaitingReturn));
        assert_eq!(world.copy(1, &slot(1, 1)).state, CopyState::Quarantined);
        assert_eq!(world.store(1).possible_masters[&slot(1, 1)].since, epoch(1));
        assert!(verdict(&world).contains("loss case"), "{}", verdict(&world));
    }
}

#[test]
fn r19_a_branch_that_came_to_nothing_conflicts_with_nothing() {
    let mut world = failed_over();
    let before = (world.cluster().loss_cases.clone(), world.store(1).clone());
    world.ok(told(&[start(1, 1, HandState::Failed("its disk is gone".into()))]));
    assert_eq!((world.cluster().loss_cases.clone(), world.store(1).clone()), before);
    assert!(verdict(&world).contains("came to nothing"));
}

/// Of several starts that come in one report each is a branch of its own: one that came to nothing later says nothing of one
/// that served before it.
#[test]
fn r19_a_start_that_failed_later_does_not_hide_one_that_served() {
    let mut world = failed_over();
    world.cluster_mut().loss_cases.clear();
    let store_now = world.cluster_mut().stores.get_mut(&store(1)).unwrap();
    store_now.possible_masters.clear();
    store_now.copies.get_mut(&slot(1, 1)).unwrap().state = CopyState::Building;
    world.ok(told(&[start(1, 1, HandState::Serving), start(2, 1, HandState::Failed("its disk is gone".into()))]));
    let case = world.cluster().loss_cases.values().next().expect("branch 1 may have acknowledged");
    assert_eq!((&case.slot, &case.state), (&slot(1, 1), &LossState::AwaitingReturn));
    assert!(world.store(1).possible_masters.contains_key(&slot(1, 1)), "R3, R8: the standing Demote is for it");
    assert_eq!(world.cluster().loss_cases.len(), 1);
    let verdicts = audit(&world);
    assert!(verdicts.iter().any(|event| event.starts_with("branch store1@1+1: not adopted")), "{verdicts:?}");
    assert!(verdict(&world).contains("came to nothing"), "{verdicts:?}");
}

/// A hand-over that had committed goes on: its Demote takes the final end of what a person started, so nothing is lost (R1).
#[test]
fn r19_a_hand_over_past_its_commit_demotes_what_was_started_by_hand() {
    let mut world = World::with_store();
    let task = hand_over(&world, 1, &slot(1, 1), &slot(2, 1));
    world.start(Intent::FailOverSlot { slot: slot(1, 1), to: None }, vec![task]);
    world.until(StepKind::Demote);
    world.ok(told(&[start(1, 1, HandState::Serving)]));
    assert!(verdict(&world).contains("nobody was promoted at it yet"), "{}", verdict(&world));
    assert!(world.cluster().loss_cases.is_empty());
    world.drive();
    assert_eq!(world.store(1).master, Some(slot(2, 1)));
    assert!(world.store(1).possible_masters.is_empty());
}

#[test]
fn r11_another_copy_generation_counts_its_starts_anew() {
    let mut world = World::with_store();
    world.ok(told(&[start(3, 1, HandState::Serving)]));
    let first = [start(1, 1, HandState::Serving)];
    assert!(unnoted(&world.state, &slot(1, 1), &store(1), CopyGeneration(1), &first).is_empty());
    assert_eq!(unnoted(&world.state, &slot(1, 1), &store(1), CopyGeneration(2), &first).len(), 1);
    assert_eq!(State::restore(&world.state.snapshot()).unwrap(), world.state, "R22");
}
