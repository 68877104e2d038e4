//! A fleet that grows and one that shrinks, each by the commands that do it, from the file to the last copy.

use crate::world::*;
use slot_planner::{Nothing, Refusal};
use slot_types::cluster::*;
use slot_types::plan::*;
use std::collections::BTreeSet;

fn carried_out(world: &mut World, intent: Intent) -> Plan {
    let plan = world.plan(intent.clone()).unwrap_or_else(|why| panic!("{intent}: {why}")).plan().clone();
    world.complete(&plan);
    plan
}

/// Copies and masters of every host.
fn on(world: &World) -> Vec<(usize, usize)> {
    let of = |name| (world.cluster.copies_on(name).count(), world.cluster.masters_on(name).count());
    world.cluster.hosts.keys().map(of).collect()
}

/// Every store is whole, and its copies are in different racks.
fn is_well(world: &World) -> bool {
    world.cluster.stores.values().all(|store| {
        let racks: BTreeSet<&Domain> = store.copies.keys().map(|slot| &world.cluster.hosts[&slot.host].at).collect();
        let whole = store.copies.values().filter(|copy| copy.whole && copy.state == CopyState::Serving).count();
        racks.len() == usize::from(store.spec.copies) && whole == racks.len()
    })
}

/// `slotctl apply` with two more hosts, `host join` of each, `slotctl fill host imap7 imap8`.
#[test]
fn a_fleet_grows_by_a_file_and_a_fill() {
    let mut world = World::running(6, 20, 48, 2);
    let mut grown = file(8, 20, 48, 2);
    grown.stores = world.cluster.stores.iter().map(|(name, store)| (name.clone(), store.spec.clone())).collect();
    let plan = carried_out(&mut world, Intent::Apply(Box::new(grown)));
    assert!(plan.tasks.iter().all(|task| task.kind == TaskKind::Fleet), "hosts alone are new");
    // They have not joined yet: nothing may come to them, which is said.
    for n in [7, 8] {
        world.silent(&host(n), 60_000);
    }
    let new = BTreeSet::from([host(7), host(8)]);
    let fill = Intent::Fill { hosts: new.clone(), budget: Budget::default() };
    assert_eq!(world.plan(fill.clone()), Err(Refusal::HostSilent(host(7))));
    world.see_all();
    let before = on(&world);
    let plan = carried_out(&mut world, fill.clone());
    let builds = plan.tasks.iter().filter_map(|task| match &task.kind {
        TaskKind::BuildCopy { slot, .. } => Some(&slot.host),
        _ => None,
    });
    assert!(builds.into_iter().all(|to| new.contains(to)), "nothing goes to any other host");
    let after = on(&world);
    assert!(is_well(&world));
    for n in [6, 7] {
        // 96 copies and 48 masters on eight hosts.
        assert!((11..=12).contains(&after[n].0) && after[n].1 == 6, "{after:?}");
    }
    assert!(after[..6].iter().zip(&before).all(|(now, was)| now.0 <= was.0), "{after:?}");
    assert_eq!(world.plan(fill), Err(Refusal::NothingToDo(Nothing::Filled(new))));
}

/// `slotctl drain host H --empty` and `slotctl retire host H`, of two hosts; while one holds anything it is not retired.
#[test]
fn a_fleet_shrinks_by_an_emptying_and_a_retirement() {
    let mut world = World::running(8, 20, 48, 2);
    let off = BTreeSet::from([host(2), host(5)]);
    assert!(matches!(world.plan(Intent::RetireHost(host(2))), Err(Refusal::HostHolds { .. })));
    for name in &off {
        let held = world.cluster.copies_on(name).count();
        let plan = carried_out(&mut world, Intent::EmptyHost(name.clone()));
        let built = plan.tasks.iter().filter(|task| matches!(task.kind, TaskKind::BuildCopy { .. })).count();
        assert_eq!(built, held, "what leaves is built, and nothing else");
        assert!(is_well(&world));
        assert_eq!(world.cluster.hosts[name].declared, HostState::Empty);
        carried_out(&mut world, Intent::RetireHost(name.clone()));
        let retired = Refusal::NothingToDo(Nothing::Retired(name.clone()));
        assert_eq!(world.plan(Intent::RetireHost(name.clone())), Err(retired));
    }
    let (copies, masters): (Vec<usize>, Vec<usize>) = on(&world).into_iter().filter(|on| on.0 > 0).unzip();
    assert_eq!((copies.len(), copies.iter().sum::<usize>()), (6, 96));
    // Eight masters each at best; of sixteen copies each one host may have one more or less.
    assert!(
        masters.iter().max() <= Some(&9) && copies.iter().all(|n| (14..=18).contains(n)),
        "{copies:?}, {masters:?}"
    );
    // A retired host takes nothing any more.
    let fill = Intent::Fill { hosts: off, budget: Budget::default() };
    assert!(matches!(world.plan(fill), Err(Refusal::HostIn { state: HostState::Retired, .. })));
}
