//! S9, R24: a changed line of a store's is in force from the entry that carries the file out, as far as its copies allow it.

use crate::plans::*;
use crate::world::*;
use slot_machine::state::*;
use slot_types::cluster::*;
use slot_types::plan::*;
use std::collections::BTreeSet;

/// Carries out a file in which store 1 has this line.
fn apply(world: &mut World, line: &StoreSpec) {
    let mut file = fleet();
    file.stores.insert(store(1), line.clone());
    apply_file(world, file);
}

fn apply_file(world: &mut World, file: FleetSpec) {
    let fleet = Task {
        kind: TaskKind::Fleet,
        store: None,
        epoch: slot_types::ids::Epoch::ZERO,
        after: Vec::new(),
        steps: vec![internal(StepKind::ChangeFleet)],
    };
    let id = world.start(Intent::Apply(Box::new(file)), vec![fleet]);
    world.drive();
    assert_eq!(world.state.plans[&id].status, PlanStatus::Done);
}

/// Store 1 on hosts 1, 2 and 3.
fn line() -> StoreSpec {
    World::with_store().store(1).spec.clone()
}

#[test]
fn copies_size_spread_and_pin_change_and_what_was_planned_before_is_void() {
    let mut world = World::with_store();
    let (from, to) = (slot(1, 1), slot(2, 1));
    let task = hand_over(&world, 1, &from, &to);
    let earlier = world.plan(Intent::FailOverSlot { slot: from, to: None }, vec![task]);
    let earlier = world.record(&earlier);
    let wanted =
        StoreSpec { copies: 2, size_bytes: 5, spread: Spread::Host, never: [host(4)].into(), load: 7, ..line() };
    apply(&mut world, &wanted);
    assert_eq!(world.store(1).spec, wanted);
    assert!(world.approve(earlier, "ben").is_err(), "R14: it was planned for the line before");
    let version = world.store(1).version;
    apply(&mut world, &wanted);
    assert_eq!(world.store(1).version, version, "the same file twice");
}

#[test]
fn what_the_copies_do_not_allow_stays_as_it_was() {
    let mut world = World::with_store();
    let never = |n| BTreeSet::from([host(n)]);
    for other in [
        StoreSpec { never: never(3), ..line() },
        StoreSpec { size_bytes: 2 << 30, ..line() },
        StoreSpec { engine: EngineKind::Cyrus, copies: 2, ..line() },
        StoreSpec { sync_copies: 1, copies: 2, ..line() },
    ] {
        apply(&mut world, &other);
        assert_eq!(world.store(1).spec, line(), "{other:?}");
    }
}

#[test]
fn a_weight_changes_with_the_file_and_the_host_is_another_one_then() {
    let mut world = World::with_store();
    let before = world.state.cluster.as_ref().unwrap().hosts.clone();
    let mut file = fleet();
    file.stores.insert(store(1), line());
    file.hosts.get_mut(&host(2)).unwrap().weight = 4;
    for _ in 0..2 {
        apply_file(&mut world, file.clone());
        let now = &world.state.cluster.as_ref().unwrap().hosts;
        assert_eq!((now[&host(2)].weight, now[&host(2)].version), (4, before[&host(2)].version + 1), "R14, and once");
        assert_eq!(now[&host(1)], before[&host(1)]);
    }
}

#[test]
fn s9_no_copy_is_built_where_the_file_says_never() {
    let mut world = World::with_store();
    apply(&mut world, &StoreSpec { never: [host(4)].into(), ..line() });
    let (intent, tasks) = crate::copies::moving(&world, &slot(3, 1), &slot(4, 1));
    let plan = world.plan(intent, tasks);
    let id = world.record(&plan);
    world.approve(id, "ben").unwrap();
    world.drive();
    assert!(world.blocked().iter().any(|why| why.contains("never h4")), "{:?}", world.blocked());
    assert!(!world.store(1).copies.contains_key(&slot(4, 1)));
}
