//! A store whose change of master was given up after its commit: its engines are started again by nobody's approval, and
//! nobody becomes master by it; what waits for a loss case can be the last resort. Every one failed before its repair.

use crate::plans::*;
use crate::world::*;
use slot_machine::command::*;
use slot_machine::state::*;
use slot_types::cluster::*;
use slot_types::ids::*;
use slot_types::order::{Action, NeverWill};
use slot_types::plan::*;

/// Epoch 2 is committed for h2 and given up; h1 may be master at epoch 1.
fn given_up() -> World {
    let mut world = World::with_store();
    let task = hand_over(&world, 1, &slot(1, 1), &slot(2, 1));
    let id = world.start(Intent::FailOverSlot { slot: slot(1, 1), to: None }, vec![task]);
    let demote = world.until(StepKind::Demote);
    world.finish(demote.id, never(NeverWill::Engine("it says no".into())));
    assert!(matches!(world.run(id, 0).state, TaskState::NeedsHuman { .. }));
    world
}

fn wake(world: &World, at_slot: &SlotId, kind: StepKind) -> Plan {
    let kind_of_task = TaskKind::StartCopy { slot: at_slot.clone() };
    let task = task(1, world.store(1).epoch, kind_of_task, vec![at(kind, at_slot)]);
    world.plan(Intent::Follow { slot: at_slot.clone() }, vec![task])
}

#[test]
fn l1_copies_without_a_master_are_woken_at_the_committed_epoch() {
    let mut world = given_up();
    let before = world.store(1).clone();
    for (copy, kind) in [(slot(2, 1), StepKind::Raise), (slot(3, 1), StepKind::Raise), (slot(1, 1), StepKind::Demote)] {
        let id = world.record(&wake(&world, &copy, kind));
        let order = world.until(kind);
        let subject = order.subject.clone().unwrap();
        assert_eq!((subject.epoch, subject.slot), (before.epoch, copy.number));
        assert_eq!(order.action, if kind == StepKind::Raise { Action::Raise } else { Action::Demote });
        world.drive();
        assert_eq!(world.state.plans[&id].status, PlanStatus::Done);
        let now = world.store(1);
        assert_eq!((now.epoch, &now.pending, &now.master), (before.epoch, &Some(slot(2, 1)), &None));
        assert_eq!(now.possible_masters, before.possible_masters, "R3, R28: without a successor nobody is forgotten");
    }
    assert_eq!(world.copy(1, &slot(3, 1)), &before.copies[&slot(3, 1)]);
}

#[test]
fn r3_who_may_be_master_is_demoted_and_never_only_raised() {
    let mut world = given_up();
    for (copy, kind) in [(slot(1, 1), StepKind::Raise), (slot(2, 1), StepKind::Demote), (slot(3, 1), StepKind::Demote)]
    {
        let plan = wake(&world, &copy, kind);
        assert!(matches!(world.propose(&plan), Answer::Refused(Refused::Precondition(_))), "{copy} {kind:?}");
    }
}

#[test]
fn r25_nothing_is_woken_beside_a_master_nor_what_was_stopped_on_purpose() {
    let mut world = World::with_store();
    let raise = wake(&world, &slot(2, 1), StepKind::Raise);
    assert!(matches!(world.propose(&raise), Answer::Refused(Refused::Precondition(_))));
    let demote = wake(&world, &slot(1, 1), StepKind::Demote);
    assert!(matches!(world.propose(&demote), Answer::Refused(Refused::Precondition(_))));

    let mut world = given_up();
    world.cluster_mut().stores.get_mut(&store(1)).unwrap().copies.get_mut(&slot(3, 1)).unwrap().state =
        CopyState::Stopped;
    let stopped = wake(&world, &slot(3, 1), StepKind::Raise);
    assert!(matches!(world.propose(&stopped), Answer::Refused(Refused::Precondition(_))), "S8");
    world.cluster_mut().hosts.get_mut(&host(1)).unwrap().declared = HostState::Maintenance;
    let off = wake(&world, &slot(1, 1), StepKind::Demote);
    assert!(matches!(world.propose(&off), Answer::Refused(Refused::Precondition(_))), "S8");
}

/// R13: a person's failover takes the store from the order that wakes a copy.
#[test]
fn r13_a_failover_goes_before_waking() {
    let mut world = given_up();
    let woken = world.record(&wake(&world, &slot(3, 1), StepKind::Raise));
    world.until(StepKind::Raise);
    let id = world.start(
        Intent::FailOverSlot { slot: slot(1, 1), to: None },
        vec![demoting(&world, 1, &slot(1, 1), &slot(2, 1))],
    );
    assert!(world.state.plans[&woken].status.is_ended());
    world.drive();
    assert_eq!(world.state.plans[&id].status, PlanStatus::Done);
    assert_eq!(world.store(1).master, Some(slot(2, 1)));
}

/// L1, R7: everyone else is off, and the former master, which waits for its loss case, is the only copy left. Promoted, it
/// holds all that it held alone, so the case tells of nothing any more; who was promoted past gets one.
#[test]
fn l1_a_former_master_with_a_loss_case_may_be_the_last_copy() {
    let mut world = World::with_store();
    world.write(1, 10, &[]);
    world.dead.insert(host(1));
    world.attest(1, "ann");
    let task = waiving(&world, 1, &slot(1, 1), &slot(2, 1), FenceLevel::Attested);
    world.start(Intent::FailOverHost(host(1)), vec![task]);
    world.drive();
    let case = *world.cluster().loss_cases.keys().next().unwrap();
    assert_eq!(world.copy(1, &slot(1, 1)).state, CopyState::Quarantined);

    world.dead = [host(2), host(3)].into();
    world.seen(1, 2);
    world.attest(2, "ann");
    let task = waiving(&world, 1, &slot(2, 1), &slot(1, 1), FenceLevel::Attested);
    let id = world.start(Intent::FailOverHost(host(2)), vec![task]);
    world.drive();
    assert_eq!(world.store(1).master, Some(slot(1, 1)), "{:?}", world.run(id, 0));
    assert_eq!(world.cluster().loss_cases[&case].state, LossState::NothingStranded);
    assert!(world.store(1).possible_masters.contains_key(&slot(2, 1)), "R28");
    let open: Vec<_> = world.cluster().loss_cases.values().filter(|c| c.state.is_open()).map(|c| &c.slot).collect();
    assert_eq!(open, [&slot(2, 1)]);
}

/// S2: an order of a boot that has ended is refused by any disk; that it was refused is no word about what a disk holds.
#[test]
fn s2_a_refusal_for_an_ended_boot_acknowledges_nothing() {
    let mut world = World::with_store();
    let task = hand_over(&world, 1, &slot(1, 1), &slot(2, 1));
    world.start(Intent::FailOverSlot { slot: slot(1, 1), to: None }, vec![task]);
    let demote = world.until(StepKind::Demote);
    let before = world.cluster().hosts[&host(1)].acknowledged;
    world.finish(demote.id, never(NeverWill::BootEnded(boot(1, 1))));
    assert_eq!(world.cluster().hosts[&host(1)].acknowledged, before);
}
