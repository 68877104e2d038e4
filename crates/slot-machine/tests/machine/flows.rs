//! Whole plans, carried out to the end by perfect agents.

use crate::plans::*;
use crate::world::*;
use slot_machine::command::{Answer, Command};
use slot_machine::state::*;
use slot_types::cluster::*;
use slot_types::ids::*;
use slot_types::plan::*;
use slot_types::position::Tip;

#[test]
fn create_store_to_the_end() {
    let world = World::with_store();
    let store = world.store(1);
    assert_eq!((store.epoch, store.master.clone()), (epoch(1), Some(slot(1, 1))));
    assert_eq!(store.route.as_ref().unwrap().slot, slot(1, 1));
    for replica in [slot(2, 1), slot(3, 1)] {
        let copy = world.copy(1, &replica);
        assert_eq!((copy.state, copy.follows.clone()), (CopyState::Serving, Some((slot(1, 1), epoch(1)))));
    }
    assert!(world.state.store_claims.is_empty() && world.state.slot_claims.is_empty());
}

#[test]
fn hand_over_to_the_end() {
    let mut world = World::with_store();
    world.write(1, 10, &[]);
    let task = hand_over(&world, 1, &slot(1, 1), &slot(2, 1));
    let id = world.start(Intent::FailOverSlot { slot: slot(1, 1), to: None }, vec![task]);
    world.drive();
    assert_eq!(world.state.plans[&id].status, PlanStatus::Done);
    let store = world.store(1);
    assert_eq!((store.epoch, store.master.clone()), (epoch(2), Some(slot(2, 1))));
    assert!(store.possible_masters.is_empty());
    assert_eq!(store.route.as_ref().unwrap().epoch, epoch(2));
    assert_eq!(world.copy(1, &slot(1, 1)).follows, Some((slot(2, 1), epoch(2))));
}

/// The master dies, two people attest and approve, its host returns, is fenced, its tail is listed and settled.
#[test]
fn failover_attested_then_the_host_returns() {
    for how in [Settlement::Reinject, Settlement::Discard] {
        let mut world = World::with_store();
        world.write(1, 10, &[]);
        world.write(1, 3, &[slot(2, 1), slot(3, 1)]);
        world.dead.insert(host(1));
        assert_eq!(world.attest(1, "ann"), Answer::Done);
        let task = waiving(&world, 1, &slot(1, 1), &slot(2, 1), FenceLevel::Attested);
        let plan = world.plan(Intent::FailOverHost(host(1)), vec![task]);
        let id = world.record(&plan);
        assert_eq!(world.approve(id, "ben"), Ok(1));
        assert_eq!(world.approve(id, "cat"), Ok(0));
        assert_eq!((world.store(1).epoch, world.store(1).pending.clone()), (epoch(2), Some(slot(2, 1))));
        world.drive();
        assert_eq!(world.state.plans[&id].status, PlanStatus::Done);
        assert_eq!(world.store(1).master, Some(slot(2, 1)));
        let (case, open) = world.cluster().loss_cases.first_key_value().map(|(id, c)| (*id, c.clone())).unwrap();
        assert_eq!((open.slot, open.state), (slot(1, 1), LossState::AwaitingReturn));
        assert!(world.store(1).possible_masters.contains_key(&slot(1, 1)), "R28");

        // R8: its attestation is void, its Demote is a standing order; then the exact list (R7).
        world.dead.clear();
        world.seen(1, 2);
        assert!(world.cluster().attestations.is_empty());
        let client = ClientName::new("mta").unwrap();
        world.stranded.insert(slot(1, 1), vec![RecordId { client, sequence: 7 }]);
        let task = fence_returned(&world, 1, &slot(1, 1));
        let fence = world.start(Intent::FenceReturned { slot: slot(1, 1) }, vec![task]);
        world.drive();
        assert_eq!(world.state.plans[&fence].status, PlanStatus::Done);
        assert!(world.store(1).possible_masters.is_empty());
        assert_eq!(world.cluster().loss_cases[&case].state, LossState::Listed);
        assert_eq!(world.copy(1, &slot(1, 1)).state, CopyState::Quarantined);

        let task = settle(&world, 1, case, &slot(1, 1), how);
        let id = world.start(Intent::SettleLoss { case, how }, vec![task]);
        world.drive();
        assert_eq!(world.state.plans[&id].status, PlanStatus::Done);
        let by = person("ben");
        let settled = match how {
            Settlement::Reinject => LossState::Reinjected { by },
            Settlement::Discard => LossState::Discarded { by },
        };
        assert_eq!(world.cluster().loss_cases[&case].state, settled);
        assert_eq!(world.copy(1, &slot(1, 1)).state, CopyState::Serving);
    }
}

/// Found by the simulator: a copy that its master needs follows before its records go in (R24), and for nothing else.
#[test]
fn r24_a_quarantined_copy_follows_only_to_bring_its_records_back() {
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
    let alone = follow(&world, 1, &slot(1, 1));
    let alone = world.plan(Intent::Follow { slot: slot(1, 1) }, vec![alone]);
    assert!(matches!(world.propose(&alone), Answer::Refused(_)));
    for how in [Settlement::Discard, Settlement::Reinject] {
        let mut task = settle(&world, 1, case, &slot(1, 1), how);
        task.steps.insert(0, at(StepKind::Follow, &slot(1, 1)));
        let id = world.start(Intent::SettleLoss { case, how }, vec![task]);
        assert_eq!(world.start_all(), how == Settlement::Reinject);
        world.drive();
        world.all_stuck();
        assert_eq!(world.state.plans[&id].status == PlanStatus::Done, how == Settlement::Reinject);
    }
    assert!(matches!(world.cluster().loss_cases[&case].state, LossState::Reinjected { .. }));
    assert_eq!(world.copy(1, &slot(1, 1)).state, CopyState::Serving);
}

#[test]
fn failover_with_a_demoted_master_loses_nothing() {
    let mut world = World::with_store();
    world.write(1, 10, &[]);
    world.write(1, 5, &[slot(2, 1)]);
    let task = demoting(&world, 1, &slot(1, 1), &slot(2, 1));
    let id = world.start(Intent::FailOverSlot { slot: slot(1, 1), to: None }, vec![task]);
    world.drive();
    assert_eq!(world.state.plans[&id].status, PlanStatus::Done);
    // 1 epoch-start record, 15 writes, and the new epoch's start.
    assert_eq!(world.tips[&slot(2, 1)].position.length, 17);
    assert!(world.cluster().loss_cases.is_empty());
}

/// Masters off, replicas stopped, Maintenance; and back.
#[test]
fn drain_and_undrain() {
    let mut world = World::with_store();
    world.create(2, &[slot(2, 2), slot(1, 2)]);
    let hand_back = |world: &World, from: &SlotId, to: &SlotId| hand_over(world, 1, from, to);
    let tasks = vec![
        host_state(1, HostState::Draining),
        after(hand_back(&world, &slot(1, 1), &slot(2, 1)), &[0]),
        after(stop(&world, 1, &slot(1, 1)), &[1]),
        after(stop(&world, 2, &slot(1, 2)), &[0]),
        after(host_state(1, HostState::Maintenance), &[0, 1, 2, 3]),
    ];
    let id = world.start(Intent::DrainHost(host(1)), tasks);
    world.drive();
    assert_eq!(world.state.plans[&id].status, PlanStatus::Done, "{:?}", world.state.plans[&id].tasks);
    let drained = &world.cluster().hosts[&host(1)];
    assert_eq!(drained.declared, HostState::Maintenance);
    assert!(drained.drained_masters.contains(&store(1)));

    let tasks = vec![
        host_state(1, HostState::Active),
        after(follow(&world, 1, &slot(1, 1)), &[0]),
        after(hand_back(&world, &slot(2, 1), &slot(1, 1)), &[1]),
        after(follow(&world, 2, &slot(1, 2)), &[0]),
    ];
    let id = world.start(Intent::UndrainHost(host(1)), tasks);
    world.drive();
    assert_eq!(world.state.plans[&id].status, PlanStatus::Done, "{:?}", world.state.plans[&id].tasks);
    assert_eq!(world.store(1).master, Some(slot(1, 1)));
    assert!(world.cluster().hosts[&host(1)].drained_masters.is_empty());
    assert!(world.state.host_claims.is_empty());
}

/// When a host is to be back is kept until it is in service again.
#[test]
fn back_by_is_kept_while_a_host_is_off() {
    let mut world = World::with_store();
    let due = Some(WallTime(43_200_000));
    let to = |world: &mut World, back_by: Option<WallTime>, state: HostState, intent: Intent| {
        let mut plan = world.plan(intent, vec![host_state(4, state)]);
        plan.said.back_by = back_by;
        let id = world.record(&plan);
        assert_eq!(world.approve(id, "ann"), Ok(0));
        world.drive();
        world.cluster().hosts[&host(4)].back_by
    };
    let drain = || Intent::DrainHost(host(4));
    assert_eq!(to(&mut world, due, HostState::Draining, drain()), due);
    assert_eq!(to(&mut world, None, HostState::Draining, drain()), due, "a drain that goes on says nothing new");
    let later = Some(WallTime(46_800_000));
    assert_eq!(to(&mut world, later, HostState::Draining, drain()), later);
    assert_eq!(to(&mut world, None, HostState::Active, Intent::UndrainHost(host(4))), None);
}

/// L2: a fault in one store's task stops no other.
#[test]
fn one_task_stuck_stops_no_other() {
    let mut world = World::with_store();
    world.create(2, &[slot(4, 1), slot(3, 2)]);
    let tasks = vec![hand_over(&world, 1, &slot(1, 1), &slot(2, 1)), hand_over(&world, 2, &slot(4, 1), &slot(3, 2))];
    let id = world.start(Intent::DrainHost(host(1)), tasks);
    world.dead.insert(host(2));
    world.drive();
    assert_eq!(world.run(id, 1).state, TaskState::Done);
    assert_ne!(world.run(id, 0).state, TaskState::Done);
    world.all_stuck();
    world.drive();
    assert!(matches!(world.state.plans[&id].status, PlanStatus::Paused { by: None, .. }));
    assert_eq!(world.copy(1, &slot(1, 1)).state, CopyState::Serving);
    assert_eq!(world.state.store_claims.keys().collect::<Vec<_>>(), [&store(1)]);
    world.ok(Command::AbortPlan { plan: id, by: person("ben"), reason: "no".into() });
    assert!(world.state.store_claims.is_empty());
}

/// The same log gives the same state, byte for byte; a snapshot in the middle changes nothing (S14, R22).
#[test]
fn the_same_log_gives_the_same_state() {
    let mut world = World::with_store();
    world.write(1, 4, &[]);
    let task = hand_over(&world, 1, &slot(1, 1), &slot(3, 1));
    world.start(Intent::FailOverSlot { slot: slot(1, 1), to: None }, vec![task]);
    world.drive();
    for cut in [0, world.log.len() / 2, world.log.len()] {
        let mut state = State::default();
        for (n, (index, proposal)) in world.log.iter().enumerate() {
            if n == cut {
                state = State::restore(&state.snapshot()).unwrap();
            }
            slot_machine::apply::apply(&mut state, *index, Term(1), proposal);
        }
        assert_eq!(state.hash(), world.state.hash());
    }
}

/// A store whose Provision is refused for good is made anew, on other slots, by another plan; generations never go back.
#[test]
fn create_store_again_elsewhere() {
    let mut world = World::new();
    let plan = world.plan(Intent::Apply(Box::new(fleet())), vec![create(1, &[slot(1, 1), slot(2, 1)])]);
    let id = world.record(&plan);
    world.approve(id, "ann").unwrap();
    world.start_all();
    let order = world.order(StepKind::Provision);
    world.answer_as_agent(&host(1), &order);
    world.start_all();
    let order = world.order(StepKind::Provision);
    let why = slot_types::order::NeverWill::Engine("no room".into());
    world.finish(order.id, never(why));
    assert!(matches!(world.run(id, 0).state, TaskState::NotDone { .. }));
    assert_eq!(world.store(1).epoch, Epoch::ZERO);

    // R11: not at a lower generation than a slot has had.
    let mut older = create(1, &[slot(1, 1), slot(3, 1)]);
    if let TaskKind::CreateStore { copies, .. } = &mut older.kind {
        copies.insert(slot(1, 1), CopyGeneration(0));
    }
    let plan = world.plan(Intent::Apply(Box::new(fleet())), vec![older]);
    let id = world.record(&plan);
    world.approve(id, "ann").unwrap();
    world.drive();
    assert!(world.blocked()[0].contains("R11"), "{:?}", world.blocked());
    world.all_stuck();

    world.create(1, &[slot(3, 1), slot(4, 1)]);
    assert_eq!(world.store(1).master, Some(slot(3, 1)));
    assert_eq!(world.copy(1, &slot(1, 1)).state, CopyState::Retired);
    // Its agent holds something there: the slot is not free.
    let plan = world.plan(Intent::Apply(Box::new(fleet())), vec![create(2, &[slot(1, 1), slot(2, 2)])]);
    let id = world.record(&plan);
    world.approve(id, "ann").unwrap();
    world.drive();
    assert!(world.blocked()[0].contains("S9"), "{:?}", world.blocked());
}

/// A failover's own Promote is refused by its agent: needs a person, and a further failover to another copy still can be.
#[test]
fn failover_after_a_failover_that_could_not_promote() {
    let mut world = World::with_store();
    world.write(1, 5, &[]);
    world.dead.insert(host(1));
    world.attest(1, "ann");
    let task = waiving(&world, 1, &slot(1, 1), &slot(2, 1), FenceLevel::Attested);
    let first = world.start(Intent::FailOverHost(host(1)), vec![task]);
    let promote = world.until(StepKind::Promote);
    let why = slot_types::order::NeverWill::NotEqual { have: Tip::default(), want: tip(1, 6) };
    world.finish(promote.id, never(why));
    assert!(matches!(world.run(first, 0).state, TaskState::NeedsHuman { .. }));
    assert_eq!(world.store(1).pending, Some(slot(2, 1)));

    let demote = [slot(2, 1)];
    let waived = [slot(1, 1)];
    let (from, to) = (slot(2, 1), slot(3, 1));
    let (fence, class) = (FenceLevel::Attested, LossClass::Unknown);
    let task =
        Failover { from: &from, to: &to, fence, demote: &demote, waived: &waived, class, candidate: Tip::default() }
            .task(&world, 1);
    world.start(Intent::FailOverSlot { slot: from.clone(), to: None }, vec![task]);
    world.drive();
    assert_eq!((world.store(1).master.clone(), world.store(1).epoch), (Some(slot(3, 1)), epoch(3)));
    assert_eq!(world.cluster().loss_cases.len(), 1, "one case for one stranded slot");
    assert_eq!(world.apply(Command::SignOfLife { host: host(1), seen: "engine answered".into() }), Answer::Done);
}
