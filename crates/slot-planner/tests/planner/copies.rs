//! Copies that come and go, as the planner proposes them.

use crate::world::*;
use slot_planner::{DrainBlock, Nothing, Refusal, WhyNot};
use slot_types::cluster::*;
use slot_types::evidence::{CopyEvidence, Seen};
use slot_types::ids::*;
use slot_types::plan::*;
use std::collections::{BTreeMap, BTreeSet};

fn kinds(plan: &Plan) -> Vec<&'static str> {
    let kind = |task: &Task| match &task.kind {
        TaskKind::BuildCopy { .. } => "build",
        TaskKind::DestroyCopy { .. } => "destroy",
        TaskKind::HandOver { .. } => "hand over",
        TaskKind::HostState { .. } => "host",
        TaskKind::CountCopy { .. } => "count",
        _ => "other",
    };
    plan.tasks.iter().map(kind).collect()
}

/// Every store has as many whole copies as it asks for, each in a rack of its own, one store a slot.
fn in_order(world: &World) {
    let mut used = BTreeSet::new();
    for (name, store) in &world.cluster.stores {
        assert_eq!(store.copies.len(), usize::from(store.spec.copies), "{name}");
        let racks: BTreeSet<String> =
            store.copies.keys().map(|slot| world.cluster.hosts[&slot.host].at.to_string()).collect();
        assert_eq!(racks.len(), store.copies.len(), "{name}");
        assert!(store.copies.values().all(|copy| copy.whole));
        assert!(store.copies.contains_key(store.master.as_ref().unwrap()));
        for slot in store.copies.keys() {
            assert!(used.insert(slot.clone()), "{slot}");
        }
    }
}

#[test]
fn emptying_a_host_hands_its_masters_over_first_and_then_moves_every_copy() {
    let mut world = World::running(4, 8, 12, 2);
    let plan = world.plan(Intent::EmptyHost(host(2))).unwrap();
    let kinds = kinds(plan.plan());
    assert_eq!(kinds.iter().filter(|k| **k == "hand over").count(), 3);
    assert_eq!((kinds.first(), kinds.last()), (Some(&"host"), Some(&"host")));
    let last_hand_over = kinds.iter().rposition(|k| *k == "hand over").unwrap();
    assert!(kinds.iter().position(|k| *k == "build").unwrap() > last_hand_over);
    assert_eq!(kinds.iter().filter(|k| **k == "build").count(), 6);
    assert_eq!(kinds.iter().filter(|k| **k == "destroy").count(), 6);
    world.complete(plan.plan());
    assert_eq!(world.cluster.hosts[&host(2)].declared, HostState::Empty);
    assert!(world.cluster.copies_on(&host(2)).next().is_none());
    in_order(&world);
    assert_eq!(world.plan(Intent::EmptyHost(host(2))), Err(Refusal::NothingToDo(Nothing::Emptied(host(2)))));
    // It comes back without copies, and is filled again by rebalancing.
    let back = world.plan(Intent::UndrainHost(host(2))).unwrap();
    world.complete(back.plan());
    let even = world.plan(Intent::Rebalance(Budget::default())).unwrap();
    world.complete(even.plan());
    in_order(&world);
    let on = |h| world.cluster.copies_on(&host(h)).count();
    let counts = [on(1), on(2), on(3), on(4)];
    assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1, "{counts:?}");
}

#[test]
fn emptying_is_refused_as_a_whole_where_one_copy_has_no_place() {
    // Every slot is used.
    let world = World::running(4, 6, 12, 2);
    let Err(Refusal::Drain { because, .. }) = world.plan(Intent::EmptyHost(host(2))) else { panic!("not refused") };
    assert_eq!(because.len(), 6);
    let block = because.values().next().unwrap();
    let DrainBlock::NoRoom { size_bytes: 100, why, .. } = block else { panic!("{block:?}") };
    assert!(why.values().any(|why| *why == WhyNot::NoFreeSlot), "{why:?}");
    // A drain says so beforehand.
    let drain = world.plan(Intent::DrainHost(host(2))).unwrap();
    let notes: Vec<&str> = drain.plan().notes.iter().map(|note| note.text.as_str()).collect();
    let said =
        notes.iter().any(|note| note.starts_with("drain --empty: 6 stores of 600 B in all find no room elsewhere: "));
    assert!(said, "{notes:?}");
}

#[test]
fn a_copy_moves_to_the_place_asked_for_and_a_master_with_it() {
    let mut world = World::running(4, 8, 4, 2);
    let master = world.cluster.stores[&store(1)].master.clone().unwrap();
    let plan = world.plan(Intent::MoveCopy { slot: master.clone(), to: Some(slot("imap4/8")) }).unwrap();
    assert_eq!(kinds(plan.plan()), ["build", "hand over", "destroy"]);
    world.complete(plan.plan());
    assert_eq!(world.cluster.stores[&store(1)].master, Some(slot("imap4/8")));
    in_order(&world);
    // Back again, with the next generation (R11).
    let plan = world.plan(Intent::MoveCopy { slot: slot("imap4/8"), to: Some(master.clone()) }).unwrap();
    let TaskKind::BuildCopy { generation, .. } = &plan.plan().tasks[0].kind else { panic!("no build") };
    assert_eq!(*generation, CopyGeneration(2));
}

#[test]
fn s9_a_copy_does_not_go_where_another_of_its_store_is() {
    let world = World::running(4, 8, 4, 2);
    let copies: Vec<SlotId> = world.cluster.stores[&store(1)].copies.keys().cloned().collect();
    let beside = SlotId::new(copies[1].host.clone(), 8);
    let refused = world.plan(Intent::MoveCopy { slot: copies[0].clone(), to: Some(beside.clone()) });
    let why = WhyNot::SameDomain(copies[1].clone());
    assert_eq!(refused, Err(Refusal::NotThisPlace { store: store(1), to: beside, why }));
    // Within its own rack it may: the one it takes the place of goes.
    let own = SlotId::new(copies[0].host.clone(), 8);
    assert!(world.plan(Intent::MoveCopy { slot: copies[0].clone(), to: Some(own) }).is_ok());
}

#[test]
fn a_lost_copy_is_rebuilt_elsewhere_and_one_too_many_destroyed_when_it_is_back() {
    let mut world = World::running(4, 8, 4, 2);
    let replica = world.cluster.stores[&store(1)]
        .copies
        .keys()
        .find(|s| world.cluster.stores[&store(1)].master.as_ref() != Some(*s));
    let replica = replica.unwrap().clone();
    world.silent(&replica.host, 60_000);
    let plan = world.plan(Intent::Rebuild(Scope::Store(store(1)))).unwrap();
    assert_eq!(kinds(plan.plan()), ["build"]);
    world.complete(plan.plan());
    world.see_all();
    assert_eq!(world.cluster.stores[&store(1)].copies.len(), 3);
    let plan = world.plan(Intent::Rebuild(Scope::Store(store(1)))).unwrap();
    assert_eq!(kinds(plan.plan()), ["destroy"]);
    world.complete(plan.plan());
    in_order(&world);
    let again = world.plan(Intent::Rebuild(Scope::All));
    assert_eq!(again, Err(Refusal::NothingToDo(Nothing::Rebuilt(Scope::All))));
}

#[test]
fn r16_the_slot_of_a_replaced_disk_gets_the_next_generation_and_one_begun_goes_on() {
    let mut world = World::running(4, 8, 4, 2);
    let master = world.cluster.stores[&store(1)].master.clone().unwrap();
    let lost = world.cluster.stores[&store(1)].copies.keys().find(|s| **s != master).unwrap().clone();
    let copy = world.store_mut(&store(1)).copies.get_mut(&lost).unwrap();
    (copy.state, copy.whole, copy.follows) = (CopyState::Building, false, None);
    let absent = Seen::Known { value: CopyEvidence::Absent, age_ms: 500 };
    world.evidence.copies.insert(lost.clone(), absent);
    let plan = world.plan(Intent::Rebuild(Scope::Host(lost.host.clone()))).unwrap();
    let task = &plan.plan().tasks[0];
    assert_eq!(task.kind, TaskKind::BuildCopy { slot: lost.clone(), generation: CopyGeneration(2), replaces: None });
    assert_eq!(task.steps[0].kind, StepKind::Provision);
    // It is there and only not finished: nothing is made anew.
    world.see_all();
    let plan = world.plan(Intent::Rebuild(Scope::Host(lost.host.clone()))).unwrap();
    let task = &plan.plan().tasks[0];
    assert_eq!(task.kind, TaskKind::BuildCopy { slot: lost.clone(), generation: CopyGeneration(1), replaces: None });
    assert_eq!(task.steps[0].kind, StepKind::Follow);
    // R16: it never is a candidate.
    let refused = world.plan(Intent::FailOverSlot { slot: master.clone(), to: Some(lost.clone()) });
    assert!(matches!(refused, Err(Refusal::NotThisTarget { .. })), "{refused:?}");
    world.silent(&master.host, 60_000);
    world.attest(&master.host);
    let refused = world.plan(Intent::FailOverSlot { slot: master.clone(), to: None });
    let Err(Refusal::NoTarget { why, .. }) = refused else { panic!("{refused:?}") };
    assert_eq!(why[&lost], WhyNot::NotWhole);
}

#[test]
fn r16_an_interrupted_build_is_counted_once_it_holds_everything() {
    let mut world = World::running(4, 8, 4, 2);
    let master = world.cluster.stores[&store(1)].master.clone().unwrap();
    let begun = world.cluster.stores[&store(1)].copies.keys().find(|s| **s != master).unwrap().clone();
    let copy = world.store_mut(&store(1)).copies.get_mut(&begun).unwrap();
    (copy.state, copy.whole) = (CopyState::Building, false);
    world.inputs.requested_by = None;
    let count = Intent::CountCopy { slot: begun.clone() };
    let plan = world.plan(count.clone()).unwrap();
    assert_eq!((kinds(plan.plan()), plan.plan().people), (vec!["count"], 0));
    world.said(&begun, |status| status.behind = Some(3));
    assert!(matches!(world.plan(count), Err(Refusal::CopyIn { .. })));
    // It follows well, so nothing else is wanted of it either.
    let follow = world.plan(Intent::Follow { slot: begun.clone() });
    assert_eq!(follow, Err(Refusal::NothingToDo(Nothing::Follows(begun))));
}

#[test]
fn r7_what_is_gone_since_the_last_promote_counts_as_not_heard() {
    let mut world = World::running(4, 8, 4, 3);
    for store in world.cluster.stores.values_mut() {
        store.spec.sync_copies = 1;
    }
    world.see_all();
    let master = world.cluster.stores[&store(1)].master.clone().unwrap();
    world.silent(&master.host, 60_000);
    world.attest(&master.host);
    let class = |world: &World| {
        let plan = world.plan(Intent::FailOverSlot { slot: master.clone(), to: None }).unwrap();
        plan.plan().failovers().map(|(_, _, loss)| loss.class).max()
    };
    assert_eq!(class(&world), Some(LossClass::NoneProvable));
    // Two replicas answer, and one more, that is gone by now, may have been all that an acknowledgement rested on.
    world.store_mut(&store(1)).unheard.insert(slot("imap4/8"));
    assert_ne!(class(&world), Some(LossClass::NoneProvable));
}

#[test]
fn a_host_is_retired_only_without_copies() {
    let mut world = World::running(4, 8, 4, 2);
    let refused = world.plan(Intent::RetireHost(host(1)));
    assert!(matches!(refused, Err(Refusal::HostHolds { .. })), "{refused:?}");
    let empty = world.plan(Intent::EmptyHost(host(1))).unwrap();
    world.complete(empty.plan());
    let retire = world.plan(Intent::RetireHost(host(1))).unwrap();
    world.complete(retire.plan());
    assert_eq!(world.cluster.hosts[&host(1)].declared, HostState::Retired);
    let again = world.plan(Intent::RetireHost(host(1)));
    assert_eq!(again, Err(Refusal::NothingToDo(Nothing::Retired(host(1)))));
}

#[test]
fn s9_the_checker_refuses_what_would_leave_too_few_copies_or_give_a_slot_twice() {
    let world = World::running(4, 8, 12, 2);
    let plan = world.plan(Intent::EmptyHost(host(2))).unwrap();
    let check = |change: &dyn Fn(&mut Plan)| {
        let mut mutant = plan.plan().clone();
        change(&mut mutant);
        slot_planner::check::check(&world.cluster, &world.evidence, world.inputs.fleet_version, mutant).is_err()
    };
    let builds: BTreeMap<usize, SlotId> = plan
        .plan()
        .tasks
        .iter()
        .enumerate()
        .filter_map(|(n, task)| match &task.kind {
            TaskKind::BuildCopy { slot, .. } => Some((n, slot.clone())),
            _ => None,
        })
        .collect();
    let (number, place) = builds.iter().next().map(|(n, s)| (*n, s.clone())).unwrap();
    let (other, _) = builds.iter().nth(1).map(|(n, s)| (*n, s.clone())).unwrap();
    // The build is left out; its destruction stays.
    assert!(check(&|p| {
        let task = &mut p.tasks[number];
        task.kind = TaskKind::StopCopy { slot: place.clone() };
    }));
    assert!(check(&|p| {
        let TaskKind::BuildCopy { slot, .. } = &mut p.tasks[other].kind else { return };
        *slot = place.clone();
        for step in &mut p.tasks[other].steps {
            if step.at.is_some() {
                step.at = Some(Place::Slot(place.clone()));
            }
        }
    }));
    assert!(check(&|p| {
        let TaskKind::BuildCopy { generation, .. } = &mut p.tasks[number].kind else { return };
        generation.0 += 1;
    }));
    assert!(check(&|p| {
        let TaskKind::BuildCopy { replaces, .. } = &mut p.tasks[number].kind else { return };
        *replaces = None;
    }));
    // A destruction that does not wait for its build.
    let destroyed = number + builds.len();
    assert!(check(&|p| {
        let at = p.tasks.iter().position(|t| matches!(t.kind, TaskKind::DestroyCopy { .. })).unwrap_or(destroyed);
        p.tasks[at].after = vec![0];
    }));
}

/// While a copy moves within its rack its host may hold both: what is failed over off a host does not stay there.
#[test]
fn a_host_is_not_failed_over_to_its_own_other_copy() {
    let mut world = World::running(4, 4, 4, 2);
    let (name, from, twin) = (store(1), slot("imap1/1"), slot("imap1/4"));
    let known = world.store_mut(&name);
    assert_eq!(known.master, Some(from.clone()));
    let copy = known.copies.values().find(|copy| copy.role == Role::Replica).cloned().unwrap();
    known.copies.insert(twin, copy);
    world.see_all();
    let plan = world.plan(Intent::FailOverHost(host(1))).unwrap();
    for task in &plan.plan().tasks {
        let TaskKind::HandOver { to, .. } = &task.kind else { panic!("{:?}", task.kind) };
        assert_ne!(to.host, host(1));
    }
    // Only the other copy of the host is left: no way off it.
    let other = world.cluster.stores[&name].copies.keys().find(|slot| slot.host != host(1)).cloned().unwrap();
    world.store_mut(&name).copies.remove(&other);
    assert!(matches!(world.plan(Intent::FailOverHost(host(1))), Err(Refusal::FailOverHost { .. })));
}

/// L1, S9: in a fleet of two racks there is no third domain; a lost copy is rebuilt beside its lost place, and one of the two
/// goes once both are there.
#[test]
fn l1_in_a_fleet_of_two_racks_a_lost_copy_is_rebuilt_beside_its_lost_place() {
    let mut world = World::running(4, 8, 4, 2);
    for n in 1..=4 {
        world.host_mut(&host(n)).at = Domain(vec!["ny".into(), format!("r{}", n % 2)]);
    }
    let known = world.cluster.stores[&store(1)].clone();
    let master = known.master.clone().unwrap();
    let lost = known.copies.keys().find(|slot| **slot != master).unwrap().clone();
    let rack = world.cluster.hosts[&lost.host].at.clone();
    assert_ne!(world.cluster.hosts[&master.host].at, rack);
    world.silent(&lost.host, 60_000);
    let rebuild = Intent::Rebuild(Scope::Store(store(1)));
    let plan = world.plan(rebuild.clone()).unwrap();
    let TaskKind::BuildCopy { slot: built, replaces, .. } = &plan.plan().tasks[0].kind else { panic!("no build") };
    assert_eq!((&world.cluster.hosts[&built.host].at, replaces), (&rack, &Some(lost.clone())));
    assert_ne!(built.host, lost.host);
    assert_eq!(kinds(plan.plan()), ["build"], "what can't be asked is not destroyed");
    assert!(plan.plan().notes.iter().any(|note| note.text.contains(&lost.to_string())), "{:?}", plan.plan().notes);
    world.complete(plan.plan());
    world.silent(&lost.host, 60_000);
    assert_eq!(world.plan(rebuild.clone()), Err(Refusal::NothingToDo(Nothing::Rebuilt(Scope::Store(store(1))))));
    world.see_all();
    let plan = world.plan(rebuild).unwrap();
    assert_eq!(kinds(plan.plan()), ["destroy"]);
    world.complete(plan.plan());
    in_order(&world);
}

/// A stopped copy exists, so a rebuild has nothing to do: what helps is to start it.
#[test]
fn a_move_beside_a_stopped_copy_says_how_it_is_started() {
    let mut world = World::running(5, 8, 4, 3);
    let known = world.cluster.stores[&store(1)].clone();
    let mut replicas = known.copies.keys().filter(|slot| known.master.as_ref() != Some(*slot));
    let (stopped, moved) = (replicas.next().unwrap(), replicas.next().unwrap());
    world.store_mut(&store(1)).copies.get_mut(stopped).unwrap().state = CopyState::Stopped;
    world.see_all();
    let refused = world.plan(Intent::MoveCopy { slot: moved.clone(), to: None }).unwrap_err();
    let text = refused.to_string();
    assert!(text.contains(&format!("slotctl undrain host {}", stopped.host)), "{text}");
    let rebuild = world.plan(Intent::Rebuild(Scope::Store(store(1))));
    assert_eq!(rebuild, Err(Refusal::NothingToDo(Nothing::Rebuilt(Scope::Store(store(1))))));
    world.store_mut(&store(1)).copies.get_mut(stopped).unwrap().state = CopyState::Serving;
    world.see_all();
    world.said(stopped, |status| status.verified_ms = None);
    let text = world.plan(Intent::MoveCopy { slot: moved.clone(), to: None }).unwrap_err().to_string();
    assert!(text.contains("slotctl rebuild store store1"), "{text}");
}
