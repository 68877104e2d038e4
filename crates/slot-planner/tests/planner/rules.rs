//! The hard rules, one by one: a plan that breaks one is refused by the checker with that rule named.

use crate::world::*;
use slot_planner::CheckedPlan;
use slot_planner::check::{Fault, check};
use slot_planner::layout::Rule;
use slot_types::cluster::*;
use slot_types::hold::{Hold, HoldOn};
use slot_types::ids::*;
use slot_types::plan::*;

/// What the checker says of a changed plan, by the rule it names.
fn broken(world: &World, plan: &CheckedPlan, change: impl Fn(&mut Plan)) -> Rule {
    let mut mutant = plan.plan().clone();
    change(&mut mutant);
    match check(&world.cluster, &world.evidence, world.inputs.fleet_version, mutant) {
        Err(Fault::Broken { rule, .. }) => rule,
        other => panic!("no rule is named: {:?}", other.map(|_| "the plan passes")),
    }
}

/// Three copies of a store, in five racks of one host each, and one of the copies on its way to a rack that has none.
fn moving() -> (World, CheckedPlan, SlotId) {
    let world = World::running(5, 8, 6, 3);
    let from = world.cluster.stores[&store(1)].master.clone().expect("a store that runs has a master");
    let plan = world.plan(Intent::MoveCopy { slot: from.clone(), to: None }).unwrap();
    (world, plan, from)
}

fn built(plan: &mut Plan) -> &mut SlotId {
    let slots = plan.tasks.iter_mut().filter_map(|task| match &mut task.kind {
        TaskKind::BuildCopy { slot, .. } => Some(slot),
        _ => None,
    });
    slots.into_iter().next().expect("a copy is built")
}

/// A slot that nobody has, on a host.
fn free(world: &World, on: &HostName) -> SlotId {
    let slots = world.cluster.hosts[on].slots.keys().map(|number| SlotId::new(on.clone(), *number));
    slots.into_iter().find(|slot| world.cluster.copy_on(slot).is_none()).expect("a slot is free")
}

#[test]
fn copies_in_one_failure_domain() {
    let (world, plan, from) = moving();
    for other in world.cluster.stores[&store(1)].copies.keys().filter(|other| **other != from) {
        let slot = free(&world, &other.host);
        assert_eq!(broken(&world, &plan, |p| built(p).clone_from(&slot)), Rule::Apart);
    }
    // Beside the one it takes the place of is allowed for a while, and not where that one stays.
    let beside = free(&world, &from.host);
    let stays = |p: &mut Plan| {
        built(p).clone_from(&beside);
        p.tasks.retain(|task| !matches!(task.kind, TaskKind::DestroyCopy { .. } | TaskKind::HandOver { .. }));
    };
    assert_eq!(broken(&world, &plan, stays), Rule::Apart);
    let world = World::empty();
    let plan = world.plan(Intent::Apply(Box::new(file(4, 8, 4, 3)))).unwrap();
    let together = |p: &mut Plan| {
        let TaskKind::CreateStore { copies, .. } = &mut p.tasks[1].kind else { panic!("no store is made") };
        let first = copies.keys().next().cloned().expect("it has copies");
        copies.pop_last();
        copies.insert(SlotId::new(first.host, 8), CopyGeneration(1));
    };
    assert_eq!(broken(&world, &plan, together), Rule::Apart);
}

#[test]
fn a_slot_without_the_bytes_and_one_that_is_taken() {
    let (mut world, plan, _) = moving();
    let to = built(&mut plan.plan().clone()).clone();
    let taken = world.cluster.copies_on(&to.host).map(|(_, slot, _)| slot.clone()).next().expect("others are there");
    assert_eq!(broken(&world, &plan, |p| built(p).clone_from(&taken)), Rule::Slots);
    let twice = |p: &mut Plan| {
        let mut again = p.tasks.iter().find(|task| matches!(task.kind, TaskKind::BuildCopy { .. })).cloned().unwrap();
        again.store = Some(store(2));
        p.tasks.push(again);
    };
    let rule = broken(&world, &plan, twice);
    assert!(matches!(rule, Rule::Slots | Rule::Apart), "{rule}");
    let small = free(&world, &to.host);
    world.host_mut(&to.host).slots.get_mut(&small.number).unwrap().size_bytes = 1;
    assert_eq!(broken(&world, &plan, |p| built(p).clone_from(&small)), Rule::Bytes);
    let nowhere = SlotId::new(to.host, 99);
    assert_eq!(broken(&world, &plan, |p| built(p).clone_from(&nowhere)), Rule::Bytes);
}

#[test]
fn fewer_live_copies_than_policy() {
    let (world, plan, from) = moving();
    let early = |p: &mut Plan| {
        p.tasks.retain(|task| !matches!(task.kind, TaskKind::BuildCopy { .. } | TaskKind::HandOver { .. }))
    };
    // The master itself first, then a replica.
    assert_eq!(broken(&world, &plan, early), Rule::Masters);
    let replica = world.cluster.stores[&store(1)].copies.keys().find(|slot| **slot != from).cloned().unwrap();
    let plan = world.plan(Intent::MoveCopy { slot: replica, to: None }).unwrap();
    assert_eq!(broken(&world, &plan, early), Rule::Copies);
    let order = |p: &mut Plan| p.tasks.reverse();
    assert_eq!(broken(&world, &plan, order), Rule::Copies);
    // Nothing of the store runs: there is nothing to build from.
    let mut dead = world.clone();
    for slot in world.cluster.stores[&store(1)].copies.keys() {
        dead.evidence.copies.remove(slot);
    }
    assert_eq!(broken(&dead, &plan, |_| {}), Rule::Copies);
}

#[test]
fn what_is_held_and_what_is_kept_away() {
    let (mut world, plan, _) = moving();
    let to = built(&mut plan.plan().clone()).clone();
    for on in [HoldOn::Store(store(1)), HoldOn::Host(to.host.clone()), HoldOn::All] {
        let mut held = world.clone();
        let by = OperatorName::new("oncall").unwrap();
        let hold = Hold { by, reason: "its disk is looked at".into(), at: world.inputs.now, wall: world.inputs.wall };
        held.cluster.holds.insert(on, hold);
        assert_eq!(broken(&held, &plan, |_| {}), Rule::Pinned);
    }
    world.store_mut(&store(1)).spec.never.insert(to.host);
    assert_eq!(broken(&world, &plan, |_| {}), Rule::Excluded);
}

#[test]
fn hosts_that_are_draining_down_or_retired() {
    let (world, plan, _) = moving();
    let to = built(&mut plan.plan().clone()).clone();
    for state in [HostState::Draining, HostState::Maintenance, HostState::Empty, HostState::Off, HostState::Retired] {
        let mut other = world.clone();
        other.host_mut(&to.host).declared = state;
        assert_eq!(broken(&other, &plan, |_| {}), Rule::Hosts, "{state}");
    }
    let mut silent = world.clone();
    silent.silent(&to.host, 60_000);
    assert_eq!(broken(&silent, &plan, |_| {}), Rule::Hosts);
    // A host is declared Empty while a copy is on it, or while a master is.
    let empty = world.plan(Intent::EmptyHost(host(2))).unwrap();
    let destroys = |task: &Task| matches!(task.kind, TaskKind::DestroyCopy { .. });
    let mut left = 0;
    for number in (0..empty.plan().tasks.len()).filter(|number| destroys(&empty.plan().tasks[*number])) {
        let stays = |p: &mut Plan| drop(p.tasks.remove(number));
        let rule = broken(&world, &empty, stays);
        assert!(matches!(rule, Rule::Hosts | Rule::Apart), "task {number}: {rule}");
        left += 1;
    }
    assert!(left > 1);
}

#[test]
fn masters_where_none_may_be() {
    let world = World::running(5, 8, 6, 3);
    let drain = world.plan(Intent::DrainHost(host(1))).unwrap();
    let hands = |task: &Task| matches!(task.kind, TaskKind::HandOver { .. });
    let stays = |p: &mut Plan| p.tasks.retain(|task| !hands(task));
    assert_eq!(broken(&world, &drain, stays), Rule::Masters);
    let about = |p: &mut Plan, to: &dyn Fn(&StoreName) -> SlotId| {
        for task in p.tasks.iter_mut() {
            if let (TaskKind::HandOver { to: slot, .. }, Some(name)) = (&mut task.kind, &task.store) {
                *slot = to(name);
            }
        }
    };
    // To a slot without a copy of it, then back to the host that is drained.
    assert_eq!(broken(&world, &drain, |p| about(p, &|_| free(&world, &host(5)))), Rule::Masters);
    let home = |name: &StoreName| world.cluster.stores[name].master.clone().unwrap();
    assert_eq!(broken(&world, &drain, |p| about(p, &home)), Rule::Masters);
    // To a host that is itself out of service.
    let to = drain.plan().tasks.iter().find_map(|task| match &task.kind {
        TaskKind::HandOver { to, .. } => Some(to.host.clone()),
        _ => None,
    });
    let mut other = world.clone();
    other.host_mut(&to.expect("a master leaves")).declared = HostState::Draining;
    assert_eq!(broken(&other, &drain, |_| {}), Rule::Masters);
}
