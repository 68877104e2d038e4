//! Schedules that once went wrong, each found by reading; every one failed before its repair.

use crate::plans::*;
use crate::world::*;
use slot_machine::command::*;
use slot_machine::state::*;
use slot_types::cluster::*;
use slot_types::ids::*;
use slot_types::order::{Action, NeverWill};
use slot_types::plan::*;

/// A hand-over of store1 from h1 to h2 up to A's durable Demote; A acknowledged four records after the freeze ran out.
fn demoted_and_not_promoted() -> (World, PlanId) {
    let (mut world, id) = handing_over(StepKind::Demote);
    world.tips.insert(slot(1, 1), tip(1, 15));
    world.until(StepKind::Promote);
    (world, id)
}

/// The same, up to this order.
fn handing_over(kind: StepKind) -> (World, PlanId) {
    let mut world = World::with_store();
    world.write(1, 10, &[]);
    let task = hand_over(&world, 1, &slot(1, 1), &slot(2, 1));
    let id = world.start(Intent::FailOverSlot { slot: slot(1, 1), to: None }, vec![task]);
    world.until(kind);
    (world, id)
}

/// A is demoted at P1, B dies before it caught up. A failover that asks neither A nor a person about A would lose what A
/// acknowledged after the freeze, without a loss case.
#[test]
fn a_demoted_master_is_asked_again_until_its_successor_is_promoted() {
    let (mut world, _) = demoted_and_not_promoted();
    world.dead.insert(host(2));
    assert!(world.store(1).possible_masters.contains_key(&slot(1, 1)));
    let (from, to) = (slot(2, 1), slot(3, 1));
    let waived = [from.clone()];
    let (fence, class) = (FenceLevel::None, LossClass::Unknown);
    let careless = Failover { from: &from, to: &to, fence, demote: &[], waived: &waived, class, candidate: tip(1, 11) };
    let plan = world.plan(Intent::FailOverHost(host(2)), vec![careless.task(&world, 1)]);
    let id = world.record(&plan);
    assert_eq!(world.approve(id, "ben"), Ok(1));
    assert!(matches!(world.approve(id, "cat"), Err(Refused::Precondition(_))));

    // With A demoted again: what it holds is what is promoted, though the plan is past B and B is only waived.
    let demote = [slot(1, 1)];
    let task = Failover { demote: &demote, ..careless }.task(&world, 1);
    world.start(Intent::FailOverHost(host(2)), vec![task]);
    let promote = world.until(StepKind::Promote);
    let Action::Promote { expect, source, .. } = &promote.action else { panic!() };
    assert_eq!((*expect, source.as_ref().unwrap().slot.clone()), (tip(1, 15), slot(1, 1)));
    world.drive();
    assert_eq!(world.tips[&slot(3, 1)].position.length, 16);
    assert!(!world.store(1).possible_masters.contains_key(&slot(1, 1)));
}

/// The everyday fence must not make the former master forgotten while nobody is promoted.
#[test]
fn no_everyday_fence_without_a_successor() {
    let mut world = World::with_store();
    let task = hand_over(&world, 1, &slot(1, 1), &slot(2, 1));
    let id = world.start(Intent::FailOverSlot { slot: slot(1, 1), to: None }, vec![task]);
    let demote = world.until(StepKind::Demote);
    world.finish(demote.id, never(NeverWill::Engine("it says no".into())));
    assert!(matches!(world.run(id, 0).state, TaskState::NeedsHuman { .. }));
    let plan = world.plan(Intent::FenceReturned { slot: slot(1, 1) }, vec![fence_returned(&world, 1, &slot(1, 1))]);
    assert!(matches!(world.propose(&plan), Answer::Refused(_)));
    assert!(world.store(1).possible_masters.contains_key(&slot(1, 1)));
    // Nor of a copy that nothing waits for.
    let mut world = World::with_store();
    let plan = world.plan(Intent::FenceReturned { slot: slot(2, 1) }, vec![fence_returned(&world, 1, &slot(2, 1))]);
    assert!(matches!(world.propose(&plan), Answer::Refused(_)));
}

/// Two copies only: A dies after the commit and before its Demote. B itself must be promotable past A.
#[test]
fn the_pending_slot_can_be_promoted_past_a_dead_former_master() {
    let mut world = World::new();
    world.create(1, &[slot(1, 1), slot(2, 1)]);
    let task = hand_over(&world, 1, &slot(1, 1), &slot(2, 1));
    world.start(Intent::FailOverSlot { slot: slot(1, 1), to: None }, vec![task]);
    world.until(StepKind::Demote);
    world.dead.insert(host(1));
    world.attest(1, "ann");
    let task = waiving(&world, 1, &slot(1, 1), &slot(2, 1), FenceLevel::Attested);
    world.start(Intent::FailOverHost(host(1)), vec![task]);
    world.drive();
    assert_eq!((world.store(1).master.clone(), world.store(1).epoch), (Some(slot(2, 1)), epoch(3)));
    assert_eq!(world.cluster().loss_cases.len(), 1);
}

/// A Promote that is out when a failover takes the store: its slot may be master (R3).
#[test]
fn an_outstanding_promote_makes_a_possible_master() {
    let (mut world, _) = demoted_and_not_promoted();
    let (from, to) = (slot(1, 1), slot(3, 1));
    let careless = demoting(&world, 1, &from, &to);
    let plan = world.plan(Intent::FailOverSlot { slot: from.clone(), to: None }, vec![careless]);
    let id = world.record(&plan);
    assert!(matches!(world.approve(id, "ann"), Err(Refused::Precondition(_))), "h2/01 is not fenced");
    // B was promoted and took writes, and nobody heard: what it holds is further than A's end.
    world.tips.insert(slot(2, 1), tip(2, 40));
    let demote = [from.clone(), slot(2, 1)];
    let (fence, class) = (FenceLevel::Demoted, LossClass::NoneProvable);
    let task = Failover { from: &from, to: &to, fence, demote: &demote, waived: &[], class, candidate: tip(1, 11) }
        .task(&world, 1);
    world.start(Intent::FailOverSlot { slot: from.clone(), to: None }, vec![task]);
    assert!(world.store(1).possible_masters.contains_key(&slot(2, 1)));
    let promote = world.until(StepKind::Promote);
    let Action::Promote { expect, source, .. } = &promote.action else { panic!() };
    assert_eq!((*expect, source.as_ref().unwrap().slot.clone()), (tip(2, 40), slot(2, 1)));
    world.drive();
    assert!(world.store(1).possible_masters.is_empty());
}

/// A failover on an attestation that also demotes somebody who is further than the candidate.
#[test]
fn the_furthest_demoted_feeds_the_candidate() {
    let (mut world, _) = demoted_and_not_promoted();
    world.dead.insert(host(2));
    world.attest(2, "ann");
    let (from, to) = (slot(2, 1), slot(3, 1));
    let (demote, waived) = ([slot(1, 1)], [slot(2, 1)]);
    let (fence, class) = (FenceLevel::Attested, LossClass::Unknown);
    let task = Failover { from: &from, to: &to, fence, demote: &demote, waived: &waived, class, candidate: tip(1, 11) }
        .task(&world, 1);
    world.start(Intent::FailOverHost(host(2)), vec![task]);
    let Action::Promote { expect, .. } = world.until(StepKind::Promote).action else { panic!() };
    assert_eq!(expect, tip(1, 15));
    let cases: Vec<_> = world.cluster().loss_cases.values().map(|c| c.slot.clone()).collect();
    assert_eq!(cases, [slot(2, 1)], "only who is promoted past without a Demote");
}

/// Two tasks of one plan about one store, at once.
#[test]
fn tasks_about_one_store_wait_for_one_another() {
    let mut world = World::with_store();
    let tasks = vec![hand_over(&world, 1, &slot(1, 1), &slot(2, 1)), stop(&world, 1, &slot(2, 1))];
    let plan = world.plan(Intent::DrainHost(host(1)), tasks.clone());
    assert!(matches!(world.propose(&plan), Answer::Refused(Refused::BadPlan(_))));
    let plan = world.plan(Intent::DrainHost(host(1)), vec![tasks[0].clone(), after(tasks[1].clone(), &[0])]);
    let id = world.record(&plan);
    world.approve(id, "ann").unwrap();
    world.drive();
    assert_eq!(world.store(1).master, Some(slot(2, 1)));
    assert!(world.blocked()[0].contains("is the master"));
}

/// One slot provisioned twice is not two copies.
#[test]
fn every_copy_is_provisioned_before_the_first_epoch() {
    let mut world = World::new();
    let mut task = create(1, &[slot(1, 1), slot(2, 1)]);
    task.steps[1] = at(StepKind::Provision, &slot(1, 1));
    let plan = world.plan(Intent::Apply(Box::new(fleet())), vec![task]);
    let id = world.record(&plan);
    world.approve(id, "ann").unwrap();
    world.drive();
    assert_eq!(world.store(1).epoch, Epoch::ZERO);
    assert!(world.blocked()[0].contains("h2/01"));
}

/// A loss case is settled only at the very slot and store it is about.
#[test]
fn a_loss_case_is_settled_at_its_own_slot() {
    let mut world = World::with_store();
    world.dead.insert(host(1));
    world.attest(1, "ann");
    let task = waiving(&world, 1, &slot(1, 1), &slot(2, 1), FenceLevel::Attested);
    world.start(Intent::FailOverHost(host(1)), vec![task]);
    world.drive();
    world.dead.clear();
    world.seen(1, 2);
    let client = ClientName::new("mta").unwrap();
    world.stranded.insert(slot(1, 1), vec![RecordId { client, sequence: 7 }]);
    let task = fence_returned(&world, 1, &slot(1, 1));
    world.start(Intent::FenceReturned { slot: slot(1, 1) }, vec![task]);
    world.drive();
    let case = *world.cluster().loss_cases.keys().next().unwrap();
    for wrong in [slot(2, 1), slot(3, 1)] {
        for how in [Settlement::Discard, Settlement::Reinject] {
            let task = settle(&world, 1, case, &wrong, how);
            world.start(Intent::SettleLoss { case, how }, vec![task]);
            assert!(!world.start_all(), "{wrong} {how:?}");
            world.all_stuck();
        }
    }
    assert_eq!(world.cluster().loss_cases[&case].state, LossState::Listed);
    assert_eq!(world.copy(1, &slot(2, 1)).state, CopyState::Serving);
}

/// An entry that starts nothing twice: everyday starts that are refused use up no rate.
#[test]
fn a_refused_everyday_start_uses_up_no_rate() {
    let mut world = World::with_store();
    let task = hand_over(&world, 1, &slot(1, 1), &slot(2, 1));
    world.start(Intent::FailOverSlot { slot: slot(1, 1), to: None }, vec![task]);
    let plan = world.plan(Intent::StartMaster { slot: slot(1, 1) }, vec![start_master(&world, 1, &slot(1, 1))]);
    assert!(matches!(world.propose(&plan), Answer::Refused(Refused::Claimed { .. })));
    assert!(world.state.everyday.is_empty());
}

/// R10: a plan's epochs are right although the cluster's generation was raised before it.
#[test]
fn r10_a_raised_generation_is_in_the_next_epoch() {
    let mut world = World::with_store();
    world.cluster_mut().generation = 1;
    let task = hand_over(&world, 1, &slot(1, 1), &slot(2, 1));
    let id = world.start(Intent::FailOverSlot { slot: slot(1, 1), to: None }, vec![task]);
    world.drive();
    assert_eq!(world.state.plans[&id].status, PlanStatus::Done);
    assert_eq!(world.store(1).epoch, Epoch { generation: 1, n: 2 });
}

/// While a Promote waits for a source whose engine died, the source's Demote is ordered once more, and once only.
#[test]
fn a_dead_source_is_asked_to_serve_again() {
    let (mut world, id) = demoted_and_not_promoted();
    let promote = world.order(StepKind::Promote);
    world.all_stuck();
    let serve = world.order(StepKind::Demote);
    assert!(serve.index > promote.index && serve.action == Action::Demote);
    let stuck = Command::StuckStep { step: StepRef { plan: id, task: 0, step: 4 }, why: "still".into() };
    world.apply(stuck);
    assert_eq!(world.order(StepKind::Demote), serve, "the same order while it is out");
    world.answer_as_agent(&host(1), &serve);
    assert!(world.sends().iter().all(|(_, kind, _)| *kind != StepKind::Demote));
    world.drive();
    assert_eq!(world.state.plans[&id].status, PlanStatus::Done);
}

/// L1: a step that can never start does not hold a promoted store for ever.
#[test]
fn a_promoted_task_with_a_step_that_never_fits_can_be_aborted() {
    let mut world = World::new();
    let mut task = create(1, &[slot(1, 1), slot(2, 1)]);
    task.steps.push(at(StepKind::Provision, &slot(1, 1)));
    let plan = world.plan(Intent::Apply(Box::new(fleet())), vec![task]);
    let id = world.record(&plan);
    world.approve(id, "ann").unwrap();
    world.drive();
    assert_eq!(world.store(1).master, Some(slot(1, 1)));
    world.ok(Command::AbortPlan { plan: id, by: person("ann"), reason: "it hangs".into() });
    world.all_stuck();
    assert!(world.state.plans[&id].status.is_ended() && world.state.store_claims.is_empty());
}

/// A failover of store1 from dead h1 to h2, up to this order.
fn failing_over(kind: StepKind) -> (World, PlanId) {
    let mut world = World::with_store();
    world.dead.insert(host(1));
    world.attest(1, "ann");
    let task = waiving(&world, 1, &slot(1, 1), &slot(2, 1), FenceLevel::Attested);
    let id = world.start(Intent::FailOverHost(host(1)), vec![task]);
    world.until(kind);
    (world, id)
}

fn aborted(world: &mut World, id: PlanId) -> TaskState {
    world.ok(Command::AbortPlan { plan: id, by: person("ann"), reason: "it is stuck".into() });
    world.run(id, 0).state.clone()
}

/// Found by the simulator, seed 9284: the successor came back with another disk, which answers no order for the old one. Its
/// Raise stayed out for ever, and with it the store's claim, so that nothing started the engine that had all the data.
#[test]
fn l1_a_raise_that_nobody_answers_does_not_hold_its_store() {
    let (mut world, id) = failing_over(StepKind::Raise);
    world.dead.insert(host(2));
    world.all_stuck();
    assert!(matches!(aborted(&mut world, id), TaskState::NeedsHuman { .. }));
    assert!(world.state.plans[&id].status.is_ended() && world.state.store_claims.is_empty());
    assert_eq!(world.store(1).pending, Some(slot(2, 1)));
}

/// Found by the simulator, seed 11034: a Promote that was out when the waived master showed a sign of life is not sent any
/// more (R8), so nobody learned its fate, and an abort waited for it for ever. Who comes next fences the half-made master.
#[test]
fn l1_a_promote_that_is_held_back_does_not_hold_its_store() {
    let (mut world, id) = failing_over(StepKind::Promote);
    world.all_stuck();
    world.seen(1, 2);
    world.all_stuck();
    assert!(matches!(aborted(&mut world, id), TaskState::NeedsHuman { .. }));
    assert!(world.state.plans[&id].status.is_ended() && world.state.store_claims.is_empty());
    let store = world.store(1);
    assert!(store.master.is_none() && store.promote_started && store.pending == Some(slot(2, 1)));
}

/// R18: a Promote that is still being sent goes on, however stuck it is.
#[test]
fn r18_a_promote_that_is_sent_on_outlives_its_abort() {
    let (mut world, id) = failing_over(StepKind::Promote);
    world.all_stuck();
    assert!(matches!(aborted(&mut world, id), TaskState::Running));
    world.drive();
    assert_eq!(world.store(1).master, Some(slot(2, 1)));
}

/// R4, L1: a Demote that nobody answers only takes mastership away; after an abort it holds its store no longer, and its
/// slot stays a possible master.
#[test]
fn l1_a_demote_that_nobody_answers_does_not_hold_its_store() {
    let (mut world, id) = handing_over(StepKind::Demote);
    world.dead.insert(host(1));
    world.all_stuck();
    assert!(matches!(aborted(&mut world, id), TaskState::NeedsHuman { .. }));
    assert!(world.state.plans[&id].status.is_ended() && world.state.store_claims.is_empty());
    assert!(world.store(1).possible_masters.contains_key(&slot(1, 1)));
}

/// S2: a late "done" from a disk that a person has replaced since makes no copy of what is not there.
#[test]
fn s2_a_word_from_a_replaced_disk_counts_for_nothing() {
    let mut world = World::with_store();
    let task = hand_over(&world, 1, &slot(1, 1), &slot(2, 1));
    world.start(Intent::FailOverSlot { slot: slot(1, 1), to: None }, vec![task]);
    let order = world.until(StepKind::Follow);
    let replaced = order.id;
    assert_eq!(order.incarnation, disk(1));
    let seen = Command::HostSeen {
        host: host(1),
        incarnation: disk(101),
        boot: boot(1, 9),
        high_water: LogIndex(0),
        silence: SILENCE,
        first: false,
    };
    world.ok(seen);
    world.ok(Command::AdmitHost {
        host: host(1),
        incarnation: disk(101),
        by: person("ann"),
        reason: "the old one broke".into(),
    });
    let late = world.finish(replaced, slot_types::order::Outcome::Done(slot_types::order::Done::Plain));
    assert!(matches!(late, Answer::Refused(Refused::Precondition(_))), "{late:?}");
    assert_ne!(world.copy(1, &slot(1, 1)).state, CopyState::Serving);
    assert_eq!(world.cluster().hosts[&host(1)].acknowledged, LogIndex(0));
}
