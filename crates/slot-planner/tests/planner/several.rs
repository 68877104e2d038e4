//! Several hosts drained or emptied as one.

use crate::world::{World, host};
use slot_planner::{DrainBlock, Nothing, Refusal};
use slot_types::cluster::{CopyState, HostState};
use slot_types::ids::*;
use slot_types::plan::{Intent, Plan, Reverse, TaskKind};
use std::collections::BTreeSet;

fn hosts(numbers: &[usize]) -> BTreeSet<HostName> {
    numbers.iter().map(|n| host(*n)).collect()
}

fn declared(world: &World, n: usize) -> HostState {
    world.cluster.hosts[&host(n)].declared
}

#[test]
fn nothing_goes_from_one_of_them_to_another() {
    let mut world = World::running(6, 8, 12, 3);
    let off = hosts(&[1, 2]);
    let plan = world.plan(Intent::DrainHosts(off.clone())).unwrap().plan().clone();
    let moves = |plan: &Plan| -> Vec<(SlotId, SlotId)> {
        let moves = plan.tasks.iter().filter_map(|task| match &task.kind {
            TaskKind::HandOver { from, to } => Some((from.clone(), to.clone())),
            _ => None,
        });
        moves.collect()
    };
    let moved = moves(&plan);
    assert_eq!(moved.len(), world.cluster.masters_on(&host(1)).count() + world.cluster.masters_on(&host(2)).count());
    assert!(moved.iter().all(|(from, to)| off.contains(&from.host) && !off.contains(&to.host)), "{moved:?}");
    // A store with copies on both hosts is left with its third.
    assert!(plan.notes.iter().any(|n| n.heading == "WHILE THEY ARE OFF" && n.text.contains("one live copy")));
    world.complete(&plan);
    assert_eq!((declared(&world, 1), declared(&world, 2)), (HostState::Maintenance, HostState::Maintenance));
    let again = world.plan(Intent::DrainHosts(off));
    assert_eq!(again, Err(Refusal::NothingToDo(Nothing::Drained(host(1)))));
}

#[test]
fn a_store_that_lives_on_all_of_them_is_named() {
    let world = World::running(4, 8, 8, 2);
    // The ring puts both copies of some store on hosts 1 and 2.
    let Err(Refusal::Drain { hosts: named, because }) = world.plan(Intent::DrainHosts(hosts(&[1, 2]))) else {
        panic!("both copies of a store would stop")
    };
    assert_eq!(named, hosts(&[1, 2]));
    assert!(!because.is_empty());
    for (name, why) in &because {
        let DrainBlock::AllDrained(others) = why else { panic!("{name}: {why:?}") };
        let known = &world.cluster.stores[name];
        let all: BTreeSet<SlotId> =
            known.copies.keys().filter(|slot| known.master.as_ref() != Some(*slot)).cloned().collect();
        assert_eq!(*others, all);
        assert!(why.to_string().contains("its other copies are on hosts that are drained too"), "{why}");
    }
    assert_eq!(world.plan(Intent::DrainHosts(BTreeSet::new())), Err(Refusal::NothingToDo(Nothing::NoHosts)));
}

/// S9: two copies of one store leave one after the other, and neither takes the other's domain while it is there.
#[test]
fn s9_several_hosts_are_emptied_and_every_store_stays_whole() {
    let mut world = World::running(8, 12, 8, 3);
    let off = hosts(&[1, 2]);
    let plan = world.plan(Intent::EmptyHosts(off.clone())).unwrap().plan().clone();
    for task in &plan.tasks {
        if let TaskKind::BuildCopy { slot, .. } = &task.kind {
            assert!(!off.contains(&slot.host), "{slot}");
        }
    }
    world.complete(&plan);
    assert_eq!((declared(&world, 1), declared(&world, 2)), (HostState::Empty, HostState::Empty));
    for (name, store) in &world.cluster.stores {
        let live = store.copies.iter().filter(|(_, copy)| copy.state == CopyState::Serving).map(|(s, _)| &s.host);
        let live: BTreeSet<_> = live.collect();
        assert_eq!(live.len(), 3, "{name}: {live:?}");
        assert!(live.is_disjoint(&off.iter().collect()), "{name}: {live:?}");
    }
}

#[test]
fn a_drain_of_one_is_the_drain_of_a_set_of_one() {
    let world = World::running(4, 8, 12, 2);
    let one = world.plan(Intent::DrainHost(host(2))).unwrap().plan().clone();
    let set = world.plan(Intent::DrainHosts(hosts(&[2]))).unwrap().plan().clone();
    assert_eq!((one.tasks, one.notes), (set.tasks, set.notes));
    assert_eq!(world.plan(Intent::DrainHosts(hosts(&[2, 9]))), Err(Refusal::UnknownHost(host(9))));
    // A host that is silent keeps the others from being drained with it: each is named when it is the reason.
    let mut world = world;
    world.silent(&host(3), 20_000);
    assert_eq!(world.plan(Intent::DrainHosts(hosts(&[2, 3]))), Err(Refusal::HostSilent(host(3))));
}

/// What a done drain did, as the machine's record would tell it.
fn reverse_of(plan: &Plan, id: PlanId) -> Reverse {
    let mut reverse = Reverse { plan: id, ..Reverse::default() };
    for task in &plan.tasks {
        match (&task.kind, &task.store) {
            (TaskKind::HandOver { from, .. }, Some(name)) => drop(reverse.masters.insert(name.clone(), from.clone())),
            (TaskKind::StopCopy { slot }, Some(name)) => drop(reverse.started.insert(slot.clone(), name.clone())),
            (TaskKind::HostState { host, .. }, _) => drop(reverse.active.insert(host.clone())),
            _ => {}
        }
    }
    reverse
}

/// R18: an undo brings back the masters, the replicas and the host, and nothing that the other plan did not do.
#[test]
fn r18_an_undo_brings_back_what_was_done_and_no_more() {
    let mut world = World::running(4, 8, 8, 2);
    let masters = |world: &World| -> BTreeSet<StoreName> {
        world.cluster.masters_on(&host(1)).map(|(name, _)| name.clone()).collect()
    };
    let before = masters(&world);
    let drain = world.plan(Intent::DrainHost(host(1))).unwrap().plan().clone();
    world.complete(&drain);
    assert!(masters(&world).is_empty() && !before.is_empty());
    let reverse = reverse_of(&drain, PlanId(7));
    let undo = world.plan(Intent::Undo(Box::new(reverse.clone()))).unwrap().plan().clone();
    assert_eq!(undo.people, 1, "it needs a yes of its own");
    assert!(undo.notes.iter().any(|note| note.heading == "UNDO ENDS"));
    world.complete(&undo);
    assert_eq!((masters(&world), declared(&world, 1)), (before, HostState::Active));
    let again = world.plan(Intent::Undo(Box::new(reverse)));
    assert_eq!(again, Err(Refusal::NothingToDo(Nothing::Undone(PlanId(7)))));
}

/// The checker does not believe the planner: a task that is no reverse, or that begins too early, is a fault.
#[test]
fn r18_the_checker_knows_an_undo() {
    let mut world = World::running(4, 8, 8, 2);
    let drain = world.plan(Intent::DrainHost(host(1))).unwrap().plan().clone();
    world.complete(&drain);
    let reverse = reverse_of(&drain, PlanId(7));
    let good = world.plan(Intent::Undo(Box::new(reverse))).unwrap().plan().clone();
    let fleet = world.inputs.fleet_version;
    let verdict = |plan: Plan| slot_planner::check::check(&world.cluster, &world.evidence, fleet, plan);
    assert!(verdict(good.clone()).is_ok());
    let mut unasked = good.clone();
    if let Intent::Undo(reverse) = &mut unasked.intent {
        reverse.masters.pop_first();
    }
    assert!(verdict(unasked).is_err(), "a master that was not asked for");
    let mut early = good;
    for task in &mut early.tasks {
        task.after.retain(|dep| *dep != 0);
    }
    assert!(verdict(early).is_err(), "before its host is Active");
}
