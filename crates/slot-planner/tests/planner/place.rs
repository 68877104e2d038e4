//! Where the copies of new stores go, beside what brute force finds.

use crate::world::*;
use slot_planner::Refusal;
use slot_types::cluster::*;
use slot_types::ids::*;
use slot_types::plan::{Intent, TaskKind};
use std::collections::{BTreeMap, BTreeSet};

/// Hosts as (rack, slots), and so many stores of two copies.
fn fleet(shape: &[(usize, u16)], stores: usize) -> FleetSpec {
    let most = shape.iter().map(|(_, slots)| *slots).max().unwrap();
    let mut file = file(shape.len(), most, stores, 2);
    for (n, (rack, slots)) in shape.iter().enumerate() {
        let spec = file.hosts.get_mut(&host(n + 1)).unwrap();
        spec.at = Domain(vec!["ny".into(), format!("r{rack}")]);
        spec.slots.retain(|number, _| number <= slots);
    }
    file
}

/// The hosts of each new store, its master's first.
fn placed(file: &FleetSpec) -> Result<Vec<Vec<HostName>>, Refusal> {
    let plan = World::empty().plan(Intent::Apply(Box::new(file.clone())))?;
    let made = plan.plan().tasks.iter().filter_map(|task| match &task.kind {
        TaskKind::CreateStore { copies, master, .. } => {
            let others = copies.keys().filter(|slot| *slot != master).map(|slot| slot.host.clone());
            Some(std::iter::once(master.host.clone()).chain(others).collect())
        }
        _ => None,
    });
    Ok(made.collect())
}

/// (masters of the worst survivor of any one host's loss, masters of the fullest host).
fn worst(stores: &[Vec<HostName>]) -> (u32, u32) {
    let mut masters: BTreeMap<&HostName, u32> = BTreeMap::new();
    let mut pairs: BTreeMap<(&HostName, &HostName), u32> = BTreeMap::new();
    for hosts in stores {
        *masters.entry(&hosts[0]).or_default() += 1;
        *pairs.entry((&hosts[0], &hosts[1])).or_default() += 1;
    }
    let most = masters.values().copied().max().unwrap_or(0);
    let after = pairs.iter().map(|((_, survivor), gains)| gains + masters.get(survivor).copied().unwrap_or(0));
    (after.max().unwrap_or(0).max(most), most)
}

/// Every way of placing the stores of a file; only for very small cases.
fn best(file: &FleetSpec, left: usize, stores: &mut Vec<Vec<HostName>>, least: &mut Option<u32>) {
    if left == 0 {
        let used = |host: &HostName| stores.iter().flatten().filter(|other| *other == host).count();
        if file.hosts.iter().all(|(name, spec)| used(name) <= spec.slots.len()) {
            *least = Some(least.unwrap_or(u32::MAX).min(worst(stores).0));
        }
        return;
    }
    let last = stores.last().cloned().unwrap_or_default();
    for (a, one) in &file.hosts {
        for (b, other) in &file.hosts {
            let next = vec![a.clone(), b.clone()];
            // Stores are alike, so their order does not matter.
            if one.at != other.at && next >= last {
                stores.push(next);
                best(file, left - 1, stores, least);
                stores.pop();
            }
        }
    }
}

#[test]
fn the_worst_survivor_is_as_low_as_brute_force_finds() {
    let shapes: [&[(usize, u16)]; 5] = [
        &[(1, 4), (2, 4), (3, 4)],
        &[(1, 3), (2, 3), (3, 3), (4, 3)],
        &[(1, 4), (1, 4), (2, 4), (2, 4)],
        &[(1, 2), (2, 6), (3, 2), (4, 2)],
        &[(1, 6), (2, 3), (2, 3)],
    ];
    for shape in shapes {
        let room: u16 = shape.iter().map(|(_, slots)| slots).sum();
        for stores in 1..=usize::from(room / 2).min(6) {
            let file = fleet(shape, stores);
            let mut least = None;
            best(&file, stores, &mut Vec::new(), &mut least);
            match (placed(&file), least) {
                (Ok(ours), Some(least)) => assert_eq!(worst(&ours).0, least, "{shape:?}: {stores} stores at {ours:?}"),
                (Err(Refusal::NoRoom { .. }), None) => {}
                (ours, least) => panic!("{shape:?}, {stores} stores: {ours:?}, and {least:?} can be reached"),
            }
        }
    }
}

#[test]
fn room_that_is_there_is_found() {
    // One rack has most of the room: every store must use it, though its masters then look uneven.
    let stores = placed(&fleet(&[(1, 6), (2, 2), (3, 2), (4, 2)], 6)).unwrap();
    assert_eq!(stores.len(), 6);
    assert!(stores.iter().all(|hosts| hosts.contains(&host(1))));
}

#[test]
fn a_large_fleet_is_even() {
    let shape: Vec<(usize, u16)> = (0..12).map(|h| (h / 4, 44)).collect();
    let (after, most) = worst(&placed(&fleet(&shape, 240)).unwrap());
    assert_eq!(most, 20);
    // 20 masters of a lost host go to the 8 hosts of other racks: 23 at best.
    assert!(after <= 24, "{after}");
}

#[test]
fn hundreds_of_stores_of_three_copies_have_one_in_every_rack() {
    let mut file = fleet(&(0..9).map(|h| (h / 3, 40)).collect::<Vec<_>>(), 120);
    file.stores.values_mut().for_each(|store| store.copies = 3);
    let stores = placed(&file).unwrap();
    for hosts in &stores {
        let racks: BTreeSet<&Domain> = hosts.iter().map(|host| &file.hosts[host].at).collect();
        assert_eq!(racks.len(), 3);
    }
    let masters = |host: &HostName| stores.iter().filter(|hosts| hosts[0] == *host).count();
    let on: Vec<usize> = file.hosts.keys().map(masters).collect();
    // 120 masters on 9 hosts: one has 14 at least.
    assert_eq!(on.iter().max(), Some(&14), "{on:?}");
}
