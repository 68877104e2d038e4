//! Explanations, held against what the planner does.

use super::world::*;
use slot_planner::{explain_plan, explain_store};
use slot_types::cluster::CopyState;
use slot_types::ids::*;
use slot_types::plan::{Intent, TaskKind};
use slot_types::position::Position;
use slot_types::view::{Candidate, ExplainedStore, ExplainedTask, Verdict, Were};

fn of_store(world: &World, n: usize) -> ExplainedStore {
    explain_store(&world.cluster, &world.evidence, &world.inputs, &store(n)).expect("it is there")
}
fn at<'a>(explained: &'a ExplainedStore, slot: &SlotId) -> &'a Candidate {
    explained.candidates.iter().find(|c| c.slot == *slot).expect("every copy is named")
}
fn replicas(world: &World, n: usize) -> Vec<SlotId> {
    let known = &world.cluster.stores[&store(n)];
    known.copies.keys().filter(|slot| Some(*slot) != known.master.as_ref()).cloned().collect()
}
fn no(why: &str) -> Verdict {
    Verdict::No { why: why.into() }
}

/// Whatever is wrong, a copy that the explanation calls able is one that the planner takes, and no other is.
#[test]
fn a_verdict_is_what_the_planner_does_when_it_is_told_the_target() {
    let well = World::running(4, 12, 4, 3);
    let master = well.cluster.stores[&store(1)].master.clone().unwrap();
    let [first, second] = replicas(&well, 1).try_into().expect("two replicas");
    let mut worlds = vec![well.clone()];
    for change in 0..6 {
        let mut world = well.clone();
        match change {
            0 => world.said(&first, |s| s.behind = Some(5_000)),
            1 => world.said(&first, |s| s.verified_ms = None),
            2 => world.silent(&first.host, 60_000),
            3 => world.store_mut(&store(1)).copies.get_mut(&second).unwrap().state = CopyState::Stopped,
            4 => world.host_mut(&second.host).declared = slot_types::cluster::HostState::Maintenance,
            _ => world.said(&second, |s| s.following = None),
        }
        worlds.push(world);
    }
    for (number, world) in worlds.iter().enumerate() {
        let explained = of_store(world, 1);
        assert_eq!(explained.not_well, None);
        for to in [&first, &second] {
            let intent = Intent::FailOverSlot { slot: master.clone(), to: Some(to.clone()) };
            let takes = world.plan(intent).is_ok();
            assert_eq!(at(&explained, to).planned == Verdict::Can, takes, "world {number}, {to}: {explained:?}");
        }
        assert_eq!(at(&explained, &master).planned, Verdict::Master);
    }
}

#[test]
fn reasons_are_the_planners_own_and_the_furthest_is_named() {
    let mut world = World::running(4, 12, 4, 3);
    let [first, second] = replicas(&world, 1).try_into().expect("two replicas");
    world.said(&first, |s| (s.tip.position.length, s.behind) = (90, Some(10)));
    world.said(&second, |s| s.verified_ms = None);
    let explained = of_store(&world, 1);
    assert_eq!(at(&explained, &second).planned, no("it was never verified"));
    assert_eq!(at(&explained, &second).unplanned, Verdict::Can);
    let furthest = Position { epoch: explained.epoch, length: 100 };
    assert_eq!(at(&explained, &first).unplanned, Verdict::NotFurthest { furthest });
    assert_eq!(at(&explained, &first).planned, Verdict::Can, "a hand-over waits until it has caught up");
    assert_eq!(explained.if_host_dies.as_ref(), Some(&second));
    world.silent(&first.host, 60_000);
    world.silent(&second.host, 60_000);
    let explained = of_store(&world, 1);
    assert_eq!(at(&explained, &second).unplanned, no("its host's agent is silent"));
    assert_eq!(explained.if_host_dies, None);
    assert!(explain_store(&world.cluster, &world.evidence, &world.inputs, &store(9)).is_none());
}

fn of_plan(world: &World, plan: &slot_types::plan::Plan) -> Vec<ExplainedTask> {
    explain_plan(&world.cluster, &world.evidence, &world.inputs, plan)
}

#[test]
fn each_choice_of_a_plan_is_explained_with_the_plans_own_evidence() {
    let mut world = World::running(4, 12, 8, 3);
    let plan = world.plan(Intent::DrainHost(host(1))).unwrap().plan().clone();
    // What is seen later does not change why the plan is as it is.
    for name in [host(2), host(3), host(4)] {
        world.silent(&name, 60_000);
    }
    let explained = of_plan(&world, &plan);
    let moved: Vec<&SlotId> = plan
        .tasks
        .iter()
        .filter_map(|t| if let TaskKind::HandOver { to, .. } = &t.kind { Some(to) } else { None })
        .collect();
    assert_eq!(explained.iter().map(|t| &t.to).collect::<Vec<_>>(), moved);
    for task in &explained {
        assert_eq!(task.others.len(), 1, "three copies: the old master, the new one, and one more");
        assert_eq!((&task.others[0].planned, task.changed.as_str()), (&Verdict::Can, ""));
        let other = &task.others[0].slot.host;
        assert_eq!(task.because.len(), 1);
        assert!(task.because[0].contains(&format!("{other} would have")), "{:?}", task.because);
        // The choice is one that no other choice betters.
        let numbers: Vec<u32> = task.because[0].split(' ').filter_map(|word| word.parse().ok()).collect();
        assert!(numbers[0] <= numbers[1], "{:?}", task.because);
    }
    // R14: the store has changed, so nothing is pretended.
    world.store_mut(&explained[0].store.clone()).version += 1;
    let later = of_plan(&world, &plan);
    assert!(later[0].changed.starts_with(explained[0].store.as_str()) && later[0].others.is_empty());
    // What the plan has recorded is said all the same: of the chosen copy, and of the other one.
    let seen =
        |slot: &SlotId| later[0].because.iter().any(|line| line.contains(&format!("plan saw it, {slot} ended at")));
    assert!(seen(&later[0].to) && seen(&explained[0].others[0].slot), "{:?}", later[0].because);
    assert_eq!(later[1].others.len(), 1, "the others have not");
}

#[test]
fn a_new_stores_place_and_a_target_asked_for_are_explained() {
    let mut world = World::empty();
    let file = file(3, 4, 3, 2);
    world.add_hosts(&file);
    world.see_all();
    let plan = world.plan(Intent::Apply(Box::new(file))).unwrap().plan().clone();
    let explained = of_plan(&world, &plan);
    assert_eq!(explained.len(), 3);
    assert!(explained[0].because[0].contains("must be in different racks"), "{:?}", explained[0].because);
    world.complete(&plan);
    world.see_all();
    // Carried out, it has the same reasons, and the same of every other host.
    let done = of_plan(&world, &plan);
    for (was, is) in explained.iter().zip(&done) {
        assert_eq!((is.changed.as_str(), &is.because[..2]), ("", &was.because[..]));
        assert!(is.because[2].starts_with("judged without what this plan made"), "{:?}", is.because);
        let hosts = |task: &ExplainedTask| -> Vec<(SlotId, Vec<HostName>)> {
            task.places.iter().map(|p| (p.slot.clone(), p.others.iter().map(|o| o.host.clone()).collect())).collect()
        };
        assert_eq!(hosts(is), hosts(was));
    }
    // Moved since, it can't be judged any more: the rule it was placed by is said, and where the plan put it.
    let name = done[0].store.clone();
    let other = world.cluster.stores[&name].copies.keys().find(|slot| **slot != done[0].to).cloned();
    world.store_mut(&name).master = other;
    let moved = of_plan(&world, &plan);
    assert!(moved[0].changed.contains("have moved since it was made"), "{}", moved[0].changed);
    assert!(
        !moved[0].changed.contains("slotctl explain") && moved[0].because[0].contains("must be in different racks")
    );

    let world = World::running(4, 12, 4, 3);
    let slot = world.cluster.stores[&store(1)].master.clone().unwrap();
    let to = replicas(&world, 1).pop();
    let plan = world.plan(Intent::FailOverSlot { slot, to }).unwrap().plan().clone();
    assert_eq!(of_plan(&world, &plan)[0].because[0], "asked for by name, with --to");
}

#[test]
fn every_other_host_has_one_reason_and_a_full_one_the_slot_that_is_missing() {
    let mut world = World::running(4, 8, 4, 2);
    world.host_mut(&host(4)).slots.retain(|number, _| *number <= 2);
    world.see_all();
    let explained = of_store(&world, 1);
    assert_eq!(explained.places.len(), 2);
    let master = &explained.places[0];
    assert_eq!(Some(&master.slot), explained.master.as_ref());
    let of = |n: usize| master.others.iter().find(|other| other.host == host(n)).unwrap();
    assert_eq!(master.others.len(), 3);
    assert!(master.others.iter().all(|other| master.best.as_ref() == Some(&other.host) || !other.why.is_empty()));
    assert_eq!(of(4).why, slot_planner::WhyNot::NoFreeSlot.to_string());
    let stated = (1..=4).flat_map(|n| of_store(&world, n).places).flat_map(|copy| copy.others);
    assert!(stated.filter(|other| other.host == host(4)).any(|other| other.change.is_some()));
    // Where the replica is no room would help, but that it were elsewhere.
    let replica = &explained.places[1].slot;
    let there = master.others.iter().find(|other| other.host == replica.host).unwrap();
    assert_eq!(there.why, slot_planner::WhyNot::SameDomain(replica.clone()).to_string());
    let were = &there.change.as_ref().expect("it can be elsewhere").were;
    assert!(matches!(&were[..], [Were::CopyOn { slot, .. }] if slot == replica), "{were:?}");
}

#[test]
fn every_choice_of_a_plan_names_every_other_host_and_why_it_is_not_that_one() {
    let mut world = World::running(5, 12, 10, 2);
    world.see_all();
    let plan = world.plan(Intent::EmptyHost(host(1))).unwrap().plan().clone();
    let explained = of_plan(&world, &plan);
    let built = plan.tasks.iter().filter(|task| matches!(task.kind, TaskKind::BuildCopy { .. })).count();
    assert_eq!(explained.iter().filter(|task| task.builds).count(), built);
    assert!(built > 0);
    for task in &explained {
        assert_eq!(task.places.len(), 1, "{task:?}");
        let place = &task.places[0];
        assert_eq!((&place.slot, place.others.len()), (&task.to, 4));
        for other in &place.others {
            assert!(!other.why.is_empty() || place.best.as_ref() == Some(&other.host), "{task:?}");
        }
        let left = place.others.iter().find(|other| other.host == host(1)).unwrap();
        let emptied = slot_planner::WhyNot::HostState(slot_types::cluster::HostState::Empty).to_string();
        assert_eq!(left.why, if task.builds { emptied } else { "the master leaves it".to_string() });
        if task.builds {
            assert_eq!(place.best.as_ref(), Some(&task.to.host), "each copy is on the best host for it: {task:?}");
        }
    }
}

/// Masters decide for one host, and the change names the masters that are too many.
#[test]
fn a_host_with_too_many_masters_would_be_chosen_with_fewer() {
    let mut world = World::running(5, 12, 0, 1);
    let spec = file(5, 12, 1, 3).stores[&store(1)].clone();
    let at = |on: &[(usize, u16)]| on.iter().map(|(n, slot)| SlotId::new(host(*n), *slot)).collect::<Vec<_>>();
    world.add_store(&store(1), &spec, &at(&[(1, 1), (2, 1), (3, 1)]));
    world.add_store(&store(2), &spec, &at(&[(3, 2), (4, 1)]));
    world.add_store(&store(3), &spec, &at(&[(3, 3), (5, 2)]));
    world.add_store(&store(4), &spec, &at(&[(2, 2), (5, 1)]));
    world.see_all();
    let slot = world.cluster.stores[&store(1)].master.clone().unwrap();
    let plan = world.plan(Intent::FailOverSlot { slot, to: None }).unwrap();
    let explained = of_plan(&world, plan.plan());
    let place = &explained[0].places[0];
    assert_eq!(place.slot.host, host(2));
    let third = place.others.iter().find(|other| other.host == host(3)).unwrap();
    let led = &third.change.as_ref().expect("masters decide").led_elsewhere;
    let led: Vec<(StoreName, HostName)> = led.iter().map(|one| (one.store.clone(), one.to.host.clone())).collect();
    assert_eq!(led, [(store(2), host(4)), (store(3), host(5))]);
    let none = place.others.iter().find(|other| other.host == host(4)).unwrap();
    assert_eq!(none.why, "it holds no copy of it");
    assert_eq!(none.change.as_ref().expect("it could").were.first(), Some(&Were::HoldsCopy));
}
