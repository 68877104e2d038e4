//! Copies that come and go: R11, R16, R4, S9 and R7, as `apply` enforces them.

use crate::plans::*;
use crate::world::*;
use slot_machine::command::*;
use slot_machine::state::*;
use slot_types::cluster::*;
use slot_types::ids::*;
use slot_types::order::{Action, NeverWill};
use slot_types::plan::*;

fn build(world: &World, n: u8, slot: &SlotId, generation: u32, replaces: Option<&SlotId>) -> Task {
    let steps = vec![at(StepKind::Provision, slot), at(StepKind::Follow, slot), internal(StepKind::Count)];
    let kind =
        TaskKind::BuildCopy { slot: slot.clone(), generation: CopyGeneration(generation), replaces: replaces.cloned() };
    task(n, world.store(n).epoch, kind, steps)
}
fn destroy(world: &World, n: u8, slot: &SlotId) -> Task {
    let generation = world.copy(n, slot).generation;
    let kind = TaskKind::DestroyCopy { slot: slot.clone(), generation };
    task(n, world.store(n).epoch, kind, vec![at(StepKind::Destroy, slot)])
}
fn after(mut task: Task, dep: u16) -> Task {
    task.after = vec![dep];
    task
}
pub fn moving(world: &World, from: &SlotId, to: &SlotId) -> (Intent, Vec<Task>) {
    let intent = Intent::MoveCopy { slot: from.clone(), to: Some(to.clone()) };
    (intent, vec![build(world, 1, to, 1, Some(from)), after(destroy(world, 1, from), 0)])
}

#[test]
fn a_copy_is_built_counted_and_then_the_old_one_destroyed() {
    let mut world = World::with_store();
    world.write(1, 10, &[]);
    let (from, to) = (slot(3, 1), slot(4, 1));
    let (intent, tasks) = moving(&world, &from, &to);
    let id = world.start(intent, tasks);
    world.drive();
    assert_eq!(world.state.plans[&id].status, PlanStatus::Done, "{:?}", world.state.plans[&id].tasks);
    let built = world.copy(1, &to);
    assert_eq!((built.state, built.whole, built.role), (CopyState::Serving, true, Role::Replica));
    assert!(!world.store(1).copies.contains_key(&from));
    // R11: the generation is used up; R7: what it acknowledged may have rested on it alone.
    assert_eq!(world.store(1).past[&from], CopyGeneration(1));
    assert!(world.store(1).unheard.contains(&from));
    // The slot is free: another store may have it.
    world.create(2, &[from.clone(), slot(1, 2)]);
    assert_eq!(world.copy(2, &from).generation, CopyGeneration(1));
}

#[test]
fn r11_a_slot_never_has_the_same_generation_of_a_store_again() {
    let mut world = World::with_store();
    let (from, to) = (slot(3, 1), slot(4, 1));
    let (intent, tasks) = moving(&world, &from, &to);
    world.start(intent, tasks);
    world.drive();
    let plan = world.plan(
        Intent::MoveCopy { slot: to.clone(), to: Some(from.clone()) },
        vec![build(&world, 1, &from, 1, Some(&to)), after(destroy(&world, 1, &to), 0)],
    );
    let id = world.record(&plan);
    world.approve(id, "ben").unwrap();
    world.drive();
    assert!(world.blocked().iter().any(|why| why.contains("R11")), "{:?}", world.blocked());
    assert!(!world.store(1).copies.contains_key(&from));
    // With the next one it comes back.
    world.apply(Command::AbortPlan { plan: id, by: person("ben"), reason: "wrong".into() });
    let back = vec![build(&world, 1, &from, 2, Some(&to)), after(destroy(&world, 1, &to), 0)];
    let id = world.start(Intent::MoveCopy { slot: to.clone(), to: Some(from.clone()) }, back);
    world.drive();
    assert_eq!(world.state.plans[&id].status, PlanStatus::Done);
    assert_eq!(world.copy(1, &from).generation, CopyGeneration(2));
}

#[test]
fn r16_a_copy_that_follows_counts_only_once_it_was_seen_to_hold_everything() {
    let mut world = World::with_store();
    let to = slot(4, 1);
    let (intent, tasks) = moving(&world, &slot(3, 1), &to);
    let id = world.start(intent, tasks);
    let order = world.until(StepKind::Follow);
    world.answer_as_agent(&host(4), &order);
    let step = StepRef { plan: id, task: 0, step: 2 };
    let behind = |world: &World, records| {
        let mut guards = world.evidence();
        if let Some(slot_types::evidence::Seen::Known { value, .. }) = guards.copies.get_mut(&to)
            && let slot_types::evidence::CopyEvidence::Running(status) = value
        {
            status.behind = records;
        }
        Command::StartStep { step, attempt: 1, guards }
    };
    for records in [Some(1), None] {
        let command = behind(&world, records);
        assert!(matches!(world.refused(command), Refused::Guard(_)), "{records:?}");
        assert_eq!((world.copy(1, &to).state, world.copy(1, &to).whole), (CopyState::Building, false));
    }
    // A building copy can't become master, whatever a plan says.
    world.dead.insert(host(1));
    let failover = waiving(&world, 1, &slot(1, 1), &to, FenceLevel::None);
    let plan = world.plan(Intent::FailOverSlot { slot: slot(1, 1), to: None }, vec![failover]);
    let sheet = world.record(&plan);
    world.approve(sheet, "ben").unwrap();
    assert!(matches!(world.approve(sheet, "cat"), Err(Refused::Precondition(why)) if why.contains("never held all")));
    world.dead.clear();
    let command = behind(&world, Some(0));
    world.ok(command);
    assert_eq!((world.copy(1, &to).state, world.copy(1, &to).whole), (CopyState::Serving, true));
}

#[test]
fn r16_a_build_that_does_not_come_to_count_is_told_again_whom_it_follows() {
    let mut world = World::with_store();
    let to = slot(4, 1);
    let (intent, tasks) = moving(&world, &slot(3, 1), &to);
    let id = world.start(intent, tasks);
    let order = world.until(StepKind::Follow);
    world.answer_as_agent(&host(4), &order);
    world.ok(Command::StuckStep { step: StepRef { plan: id, task: 0, step: 2 }, why: "not seen running".into() });
    assert!(world.run(id, 0).steps[2].stuck.is_some());
    let again = world.until(StepKind::Follow);
    assert_eq!((again.id.attempt, again.index > order.index), (2, true));
    world.drive();
    assert_eq!(world.state.plans[&id].status, PlanStatus::Done);
    assert!(world.run(id, 0).steps.iter().all(|step| step.stuck.is_none()));
}

#[test]
fn s9_nothing_is_destroyed_while_its_store_would_be_left_with_fewer_copies() {
    let mut world = World::with_store();
    let intent = Intent::Rebuild(Scope::Store(store(1)));
    let id = world.start(intent.clone(), vec![destroy(&world, 1, &slot(3, 1))]);
    world.drive();
    assert!(world.blocked().iter().any(|why| why.starts_with("S9")), "{:?}", world.blocked());
    assert_eq!(world.copy(1, &slot(3, 1)).state, CopyState::Serving);
    world.apply(Command::AbortPlan { plan: id, by: person("ben"), reason: "wrong".into() });
    // A copy too many may go, but not while another one is not seen: then it is not one too many.
    let id = world.start(intent.clone(), vec![build(&world, 1, &slot(4, 1), 1, None)]);
    world.drive();
    assert_eq!(world.state.plans[&id].status, PlanStatus::Done);
    let id = world.start(intent, vec![destroy(&world, 1, &slot(3, 1))]);
    world.dead.insert(host(2));
    assert!(!world.start_all());
    assert_eq!(world.copy(1, &slot(3, 1)).state, CopyState::Serving);
    world.dead.clear();
    world.drive();
    assert_eq!(world.state.plans[&id].status, PlanStatus::Done);
    assert_eq!(world.store(1).copies.len(), 3);
}

#[test]
fn s9_the_master_and_who_may_still_be_one_are_never_destroyed() {
    let mut world = World::with_store();
    let id = world.start(Intent::Rebuild(Scope::All), vec![build(&world, 1, &slot(4, 1), 1, None)]);
    world.drive();
    assert_eq!(world.state.plans[&id].status, PlanStatus::Done);
    let id = world.start(Intent::Rebuild(Scope::All), vec![destroy(&world, 1, &slot(1, 1))]);
    world.drive();
    assert!(world.blocked().iter().any(|why| why.contains("is the master")), "{:?}", world.blocked());
    world.apply(Command::AbortPlan { plan: id, by: person("ben"), reason: "wrong".into() });
    world.dead.insert(host(1));
    let failover = waiving(&world, 1, &slot(1, 1), &slot(2, 1), FenceLevel::None);
    world.start(Intent::FailOverSlot { slot: slot(1, 1), to: None }, vec![failover]);
    world.drive();
    assert_eq!(world.store(1).master, Some(slot(2, 1)));
    world.start(Intent::Rebuild(Scope::All), vec![destroy(&world, 1, &slot(1, 1))]);
    world.drive();
    assert!(world.blocked().iter().any(|why| why.contains("may still be a master")), "{:?}", world.blocked());
}

#[test]
fn r4_from_its_order_on_a_copy_is_neither_present_nor_free() {
    let mut world = World::with_store();
    let (from, to) = (slot(3, 1), slot(4, 1));
    let (intent, tasks) = moving(&world, &from, &to);
    let id = world.start(intent, tasks);
    let order = world.until(StepKind::Destroy);
    assert_eq!(order.action, Action::Destroy);
    assert_eq!(world.copy(1, &from).state, CopyState::Retired);
    // Its plan is aborted: the agent is asked to cancel, and says that it never will be.
    world.apply(Command::AbortPlan { plan: id, by: person("ben"), reason: "stop".into() });
    world.drive();
    assert!(world.state.plans[&id].status.is_ended());
    assert_eq!(world.copy(1, &from).state, CopyState::Retired);
    // Nothing else may have the slot.
    let plan = world.plan(Intent::Apply(Box::new(fleet())), vec![create(2, &[from.clone(), slot(1, 2)])]);
    let other = world.record(&plan);
    world.approve(other, "ben").unwrap();
    world.drive();
    assert!(world.blocked().iter().any(|why| why.contains("holds a copy")), "{:?}", world.blocked());
    world.apply(Command::AbortPlan { plan: other, by: person("ben"), reason: "stop".into() });
    // Until a later order is done.
    let id = world.start(Intent::Rebuild(Scope::All), vec![destroy(&world, 1, &from)]);
    world.drive();
    assert_eq!(world.state.plans[&id].status, PlanStatus::Done);
    assert!(!world.store(1).copies.contains_key(&from));
}

/// Found by review: a host that burned held every store of a plan that wanted its copies destroyed.
#[test]
fn l1_a_silent_host_holds_no_store_and_an_abort_waits_for_nobody() {
    let mut world = World::with_store();
    let (from, to) = (slot(3, 1), slot(4, 1));
    let (intent, tasks) = moving(&world, &from, &to);
    let id = world.start(intent, tasks);
    world.until(StepKind::Follow);
    world.dead.insert(host(3));
    world.drive();
    // Its order does not come to exist while nobody would hear it.
    assert_eq!(world.copy(1, &from).state, CopyState::Serving);
    world.dead.clear();
    let order = world.until(StepKind::Destroy);
    world.dead.insert(host(3));
    world.apply(Command::AbortPlan { plan: id, by: person("ben"), reason: "stop".into() });
    assert!(world.state.plans[&id].status.is_ended());
    assert!(world.state.store_claims.is_empty());
    // A late word changes nothing: the slot stays neither present nor free (R4) until a later order is done there.
    let done = slot_types::order::Outcome::Done(slot_types::order::Done::Plain);
    assert!(matches!(world.finish(order.id, done), Answer::Refused(_)));
    assert_eq!(world.copy(1, &from).state, CopyState::Retired);
}

/// Found by review: a build holds its store for hours, and nobody started the store's master again meanwhile.
#[test]
fn r25_a_master_is_started_again_beside_a_build() {
    let mut world = World::with_store();
    let (intent, tasks) = moving(&world, &slot(3, 1), &slot(4, 1));
    let id = world.start(intent, tasks);
    world.until(StepKind::Follow);
    let plan = world.plan(Intent::StartMaster { slot: slot(1, 1) }, vec![start_master(&world, 1, &slot(1, 1))]);
    let Answer::Plan { id: recovery, .. } = world.propose(&plan) else { panic!("not recorded") };
    // R4: at the slot that is built nobody else gives orders.
    let plan = world.plan(Intent::Follow { slot: slot(4, 1) }, vec![follow(&world, 1, &slot(4, 1))]);
    assert!(matches!(world.propose(&plan), Answer::Refused(Refused::Claimed { .. })));
    // A failover takes the store from both.
    world.dead.insert(host(1));
    let failover = waiving(&world, 1, &slot(1, 1), &slot(2, 1), FenceLevel::None);
    world.start(Intent::FailOverSlot { slot: slot(1, 1), to: None }, vec![failover]);
    assert!(matches!(world.run(id, 0).state, TaskState::Superseded { .. }));
    assert!(matches!(world.run(recovery, 0).state, TaskState::Superseded { .. }));
}

/// Found by review: a copy that was whole once, and was away since, counted for what may be destroyed beside it.
#[test]
fn s9_a_copy_that_lags_is_none_when_another_is_to_be_destroyed() {
    let mut world = World::with_store();
    world.start(Intent::Rebuild(Scope::All), vec![build(&world, 1, &slot(4, 1), 1, None)]);
    world.drive();
    let id = world.start(Intent::Rebuild(Scope::All), vec![destroy(&world, 1, &slot(3, 1))]);
    let mut guards = world.evidence();
    if let Some(slot_types::evidence::Seen::Known { value, .. }) = guards.copies.get_mut(&slot(4, 1))
        && let slot_types::evidence::CopyEvidence::Running(status) = value
    {
        status.behind = Some(100_000);
    }
    let step = StepRef { plan: id, task: 0, step: 0 };
    assert!(matches!(world.refused(Command::StartStep { step, attempt: 1, guards }), Refused::Guard(_)));
}

#[test]
fn r27_a_destroy_of_an_ended_boot_is_ordered_again() {
    let mut world = World::with_store();
    let (from, to) = (slot(3, 1), slot(4, 1));
    let (intent, tasks) = moving(&world, &from, &to);
    let id = world.start(intent, tasks);
    let order = world.until(StepKind::Destroy);
    world.finish(order.id, never(NeverWill::BootEnded(boot(3, 1))));
    assert_eq!(world.copy(1, &from).state, CopyState::Retired);
    world.seen(3, 2);
    world.drive();
    assert_eq!(world.state.plans[&id].status, PlanStatus::Done, "{:?}", world.state.plans[&id].tasks);
    assert!(!world.store(1).copies.contains_key(&from));
}

#[test]
fn r13_a_failover_takes_a_store_from_a_build_and_what_was_built_does_not_count() {
    let mut world = World::with_store();
    let to = slot(4, 1);
    let (intent, tasks) = moving(&world, &slot(3, 1), &to);
    let id = world.start(intent, tasks);
    let order = world.until(StepKind::Follow);
    world.answer_as_agent(&host(4), &order);
    world.dead.insert(host(1));
    let failover = waiving(&world, 1, &slot(1, 1), &slot(2, 1), FenceLevel::None);
    world.start(Intent::FailOverSlot { slot: slot(1, 1), to: None }, vec![failover]);
    world.drive();
    assert!(matches!(world.run(id, 0).state, TaskState::Superseded { .. }));
    assert_eq!((world.copy(1, &to).state, world.copy(1, &to).whole), (CopyState::Building, false));
    // R16: bound to the former master, it can't be counted; followed anew, it is by everyday recovery.
    let count = |world: &World| {
        let steps = vec![internal(StepKind::Count)];
        task(1, world.store(1).epoch, TaskKind::CountCopy { slot: to.clone() }, steps)
    };
    let early = world.plan(Intent::CountCopy { slot: to.clone() }, vec![count(&world)]);
    assert!(matches!(world.propose(&early), Answer::Refused(Refused::Precondition(_))));
    let plan = world.plan(Intent::Follow { slot: to.clone() }, vec![follow(&world, 1, &to)]);
    world.record(&plan);
    world.drive();
    assert_eq!((world.copy(1, &to).state, world.copy(1, &to).whole), (CopyState::Building, false));
    let plan = world.plan(Intent::CountCopy { slot: to.clone() }, vec![count(&world)]);
    world.record(&plan);
    world.drive();
    assert_eq!((world.copy(1, &to).state, world.copy(1, &to).whole), (CopyState::Serving, true));
}

#[test]
fn r16_the_copies_of_a_replaced_disk_are_built_anew_with_the_next_generation() {
    let mut world = World::with_store();
    let lost = slot(3, 1);
    let other = Incarnation([77; 16]);
    world.ok(Command::HostSeen {
        host: host(3),
        incarnation: other,
        boot: boot(3, 2),
        high_water: LogIndex(0),
        silence: SILENCE,
        first: false,
    });
    let admit = Command::AdmitHost { host: host(3), incarnation: other, by: person("ben"), reason: "new".into() };
    world.ok(admit);
    world.ok(Command::HostSeen {
        host: host(3),
        incarnation: other,
        boot: boot(3, 2),
        high_water: LogIndex(0),
        silence: SILENCE,
        first: false,
    });
    assert_eq!((world.copy(1, &lost).state, world.copy(1, &lost).whole), (CopyState::Building, false));
    let id = world.start(Intent::Rebuild(Scope::All), vec![build(&world, 1, &lost, 2, None)]);
    world.drive();
    assert_eq!(world.state.plans[&id].status, PlanStatus::Done, "{:?}", world.blocked());
    let copy = world.copy(1, &lost);
    assert_eq!((copy.state, copy.whole, copy.generation), (CopyState::Serving, true, CopyGeneration(2)));
    assert!(world.store(1).unheard.contains(&lost));
    // R7: a finished Promote rests on nothing that is gone.
    let id = world.start(
        Intent::FailOverSlot { slot: slot(1, 1), to: None },
        vec![{
            let mut task = hand_over(&world, 1, &slot(1, 1), &slot(2, 1));
            task.steps.insert(7, at(StepKind::Follow, &lost));
            task
        }],
    );
    world.drive();
    assert_eq!(world.state.plans[&id].status, PlanStatus::Done);
    assert!(world.store(1).unheard.is_empty());
}

#[test]
fn builds_run_no_more_at_once_than_policy_allows() {
    let mut world = World::with_store();
    world.create(2, &[slot(1, 2), slot(2, 2), slot(3, 2)]);
    world.cluster_mut().policy.copy_at_once = 1;
    let tasks = vec![build(&world, 1, &slot(4, 1), 1, None), build(&world, 2, &slot(4, 2), 1, None)];
    let id = world.start(Intent::Rebuild(Scope::All), tasks);
    world.start_all();
    let begun =
        |world: &World| world.state.plans[&id].tasks.iter().filter(|run| run.state == TaskState::Running).count();
    assert_eq!(begun(&world), 1);
    world.drive();
    assert_eq!(world.state.plans[&id].status, PlanStatus::Done);
}

/// Hosts 3 and 4 share a rack here: one build into it at a time, whichever of them it is for.
#[test]
fn builds_into_one_domain_run_no_more_at_once_than_policy_allows() {
    let begun_with = |bound: u16| {
        let mut world = World::with_store();
        world.create(2, &[slot(1, 2), slot(2, 2)]);
        let rack = world.cluster().hosts[&host(3)].at.clone();
        let cluster = world.cluster_mut();
        cluster.hosts.get_mut(&host(4)).unwrap().at = rack;
        cluster.policy.copy_per_domain = bound;
        let beside = Some(&slot(3, 1));
        let tasks = vec![build(&world, 2, &slot(3, 2), 1, None), build(&world, 1, &slot(4, 1), 1, beside)];
        let id = world.start(Intent::Rebalance(Default::default()), tasks);
        world.start_all();
        let runs = world.state.plans[&id].tasks.iter();
        runs.filter(|run| run.state == TaskState::Running).count()
    };
    assert_eq!((begun_with(1), begun_with(2)), (1, 2));
}

#[test]
fn s8_a_host_is_declared_empty_only_without_any_copy() {
    let mut world = World::with_store();
    let empty = Task {
        kind: TaskKind::HostState { host: host(3), to: HostState::Empty },
        store: None,
        epoch: Epoch::ZERO,
        after: Vec::new(),
        steps: vec![step(StepKind::ConfirmStopped, Some(Place::Host(host(3)))), internal(StepKind::DeclareHost)],
    };
    let id = world.start(Intent::EmptyHost(host(3)), vec![empty.clone()]);
    world.drive();
    assert!(world.blocked().iter().any(|why| why.starts_with("S8")), "{:?}", world.blocked());
    world.apply(Command::AbortPlan { plan: id, by: person("ben"), reason: "wrong".into() });
    let (intent, tasks) = moving(&world, &slot(3, 1), &slot(4, 1));
    world.start(intent, tasks);
    world.drive();
    world.start(Intent::EmptyHost(host(3)), vec![empty]);
    world.drive();
    assert_eq!(world.cluster().hosts[&host(3)].declared, HostState::Empty);
}
