//! What the lines of stores say, and what a changed line does.

use crate::golden::page;
use crate::world::*;
use slot_planner::{Refusal, WhyNot};
use slot_types::cluster::*;
use slot_types::ids::*;
use slot_types::plan::{EntityRef, Intent, TaskKind};
use std::collections::BTreeSet;

fn apply(spec: FleetSpec) -> Intent {
    Intent::Apply(Box::new(spec))
}

/// A file in which no store may go to the first host.
fn pinned(stores: usize) -> FleetSpec {
    let mut spec = file(4, 8, stores, 2);
    spec.stores.values_mut().for_each(|line| line.never = BTreeSet::from([host(1)]));
    spec
}

#[test]
fn a_pin_is_kept_by_placement_moves_and_rebuilds() {
    let world = World::empty();
    let plan = world.plan(apply(pinned(6))).unwrap();
    let placed = plan.plan().tasks.iter().filter_map(|task| match &task.kind {
        TaskKind::CreateStore { copies, .. } => Some(copies.keys().cloned().collect::<Vec<_>>()),
        _ => None,
    });
    let placed: Vec<SlotId> = placed.flatten().collect();
    assert_eq!(placed.len(), 12);
    assert!(placed.iter().all(|slot| slot.host != host(1)), "{placed:?}");
    // There is no host left for a fourth copy.
    let mut wide = pinned(1);
    wide.stores.values_mut().for_each(|line| line.copies = 4);
    assert!(matches!(world.plan(apply(wide)), Err(Refusal::NoRoom { found: 3, .. })));

    let mut world = World::running(4, 8, 4, 2);
    let name = store(1);
    let free =
        world.cluster.hosts.keys().find(|host| !world.cluster.stores[&name].copies.keys().any(|s| s.host == **host));
    let free = free.unwrap().clone();
    world.store_mut(&name).spec.never.insert(free.clone());
    let from = world.cluster.stores[&name].copies.keys().next().unwrap().clone();
    let asked = world.plan(Intent::MoveCopy { slot: from.clone(), to: Some(SlotId::new(free.clone(), 8)) });
    assert!(matches!(asked, Err(Refusal::NotThisPlace { why: WhyNot::Pinned, .. })), "{asked:?}");
    let chosen = world.plan(Intent::MoveCopy { slot: from, to: None }).unwrap();
    let builds = chosen.plan().tasks.iter().filter_map(|task| match &task.kind {
        TaskKind::BuildCopy { slot, .. } => Some(slot.host.clone()),
        _ => None,
    });
    assert!(builds.into_iter().all(|host| host != free));
}

#[test]
fn the_checker_refuses_what_a_pin_forbids() {
    let mut world = World::running(4, 8, 4, 2);
    let from = world.cluster.stores[&store(1)].copies.keys().next().unwrap().clone();
    let plan = world.plan(Intent::MoveCopy { slot: from, to: None }).unwrap().plan().clone();
    let to = plan.tasks.iter().find_map(|task| match &task.kind {
        TaskKind::BuildCopy { slot, .. } => Some(slot.host.clone()),
        _ => None,
    });
    world.store_mut(&store(1)).spec.never.insert(to.unwrap());
    let judged = slot_planner::check::check(&world.cluster, &world.evidence, world.inputs.fleet_version, plan);
    assert!(judged.unwrap_err().to_string().contains("kept away from"));
    let world = World::empty();
    let mut plan = world.plan(apply(file(4, 8, 2, 2))).unwrap().plan().clone();
    let Intent::Apply(spec) = &mut plan.intent else { panic!("a file") };
    spec.stores.values_mut().for_each(|line| line.never = BTreeSet::from([host(1), host(2)]));
    for task in &mut plan.tasks {
        if let TaskKind::CreateStore { spec, .. } = &mut task.kind {
            spec.never = BTreeSet::from([host(1), host(2)]);
        }
    }
    let judged = slot_planner::check::check(&world.cluster, &world.evidence, world.inputs.fleet_version, plan);
    assert!(judged.unwrap_err().to_string().contains("kept away from"));
}

#[test]
fn a_changed_line_is_shown_and_what_is_not_in_force_is_said() {
    let mut world = World::running(4, 8, 4, 2);
    let mut spec = file(4, 8, 4, 2);
    spec.unused = BTreeSet::from(["policy alarm: nobody is called".to_string()]);
    let same = world.plan(apply(spec.clone())).unwrap_err().to_string();
    assert!(same.contains("not in force: policy alarm"), "{same}");
    let line = spec.stores.get_mut(&store(1)).unwrap();
    (line.copies, line.size_bytes, line.load) = (3, 50, 5);
    spec.hosts.get_mut(&host(2)).unwrap().weight = 4;
    let line = spec.stores.get_mut(&store(1)).unwrap();
    let on: BTreeSet<HostName> = world.cluster.stores[&store(1)].copies.keys().map(|slot| slot.host.clone()).collect();
    let other = world.cluster.hosts.keys().find(|host| !on.contains(*host)).unwrap().clone();
    line.never = BTreeSet::from([other.clone()]);
    let plan = world.plan(apply(spec.clone())).unwrap().plan().clone();
    let said = |heading: &str, text: &str| plan.notes.iter().any(|n| n.heading == heading && n.text.contains(text));
    assert!(said("CHANGES", "store1: 3 copies wanted, was 2; slotctl rebuild all makes it so"), "{:?}", plan.notes);
    assert!(said("CHANGES", "store1: 50 B reserved on each slot, was 100 B"));
    assert!(said("CHANGES", &format!("store1: never on {other}")));
    assert!(said("CHANGES", "store1: load 5, was 1"));
    assert!(said("CHANGES", "imap2 has weight 4, was 1"));
    assert!(said("NOT IN FORCE", "policy alarm"));
    // R14: the yes is to this change of this store as it is now.
    assert!(
        plan.facts.contains_key(&EntityRef::Store(store(1))) && !plan.facts.contains_key(&EntityRef::Store(store(2)))
    );
    world.store_mut(&store(1)).spec = spec.stores[&store(1)].clone();
    world.host_mut(&host(2)).weight = 4;
    let again = world.plan(apply(spec));
    assert!(matches!(again, Err(Refusal::NothingToDo(_))), "{again:?}");
}

#[test]
fn one_line_says_what_changes_of_many_stores() {
    let mut spec = file(4, 8, 12, 2);
    spec.stores.values_mut().for_each(|line| line.spread = Spread::Host);
    let plan = World::running(4, 8, 12, 2).plan(apply(spec)).unwrap().plan().clone();
    let changes: Vec<&str> = plan.notes.iter().filter(|n| n.heading == "CHANGES").map(|n| n.text.as_str()).collect();
    let many = "store1 store10 store11 store12 store2 store3 store4 store5 and 4 more";
    assert_eq!(changes, [format!("{many}: no two copies in one host, was rack")]);
}

/// The file in `shared/ux`: 240 stores of an engine that no agent has, and everything else of it.
#[test]
fn stores_of_an_engine_that_no_agent_has_are_not_made_and_every_diff_says_so() {
    let text = include_str!("../../../slot-types/tests/fm1.toml");
    let spec = slot_types::file::parse(text, "cluster.toml").unwrap();
    let mut world = World::empty();
    let plan = world.plan(apply(spec.clone())).unwrap();
    assert_eq!(plan.plan().tasks.iter().map(|task| &task.kind).collect::<Vec<_>>(), [&TaskKind::Fleet]);
    insta::assert_snapshot!("whole_fleet_file", page(&plan));
    world.add_hosts(&spec);
    world.cluster.front_ends = spec.front_ends.clone();
    let again = world.plan(apply(spec)).unwrap_err();
    assert!(matches!(again, Refusal::NothingToDo(_)), "{again:?}");
    assert!(
        again.to_string().contains("not in force: 240 stores are not made, no agent has the engine cyrus"),
        "{again}"
    );
}
