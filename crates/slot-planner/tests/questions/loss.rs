//! What losses do, against counting them the slow way.

use super::fleet;
use proptest::prelude::*;
use slot_planner::layout::loss::{Loss, Losses, severity};
use slot_planner::layout::*;
use std::collections::BTreeMap;

/// The same from the definition, with nothing kept between two losses.
fn slowly(fleet: &Fleet, layout: &Layout, lost: &[u32]) -> Loss {
    // In thousandths of a store of load 1 on a host of weight 1,000.
    let level = |host: u32, load: u64| (load * 1_000_000).div_ceil(u64::from(fleet.hosts[host as usize].weight));
    let mut load: BTreeMap<u32, u64> =
        fleet.active().filter(|host| !lost.contains(host)).map(|host| (host, 0)).collect();
    let stores = || (0..).zip(&fleet.stores).map(|(number, store)| (layout.copies(fleet, number), store));
    for (copies, store) in stores() {
        if let Some(load) = load.get_mut(&copies[0]) {
            *load += u64::from(store.load);
        }
    }
    let (mut stopped, mut on_one_copy, mut moved) = (0, 0, 0);
    let mut order: Vec<usize> = (0..fleet.stores.len()).collect();
    // Stores are looked at host by host, as they are lost.
    order.sort_by_key(|store| {
        let copies = layout.copies(fleet, *store as u32);
        (lost.iter().position(|host| copies.contains(host)).unwrap_or(usize::MAX), *store)
    });
    for store in order {
        let copies = layout.copies(fleet, store as u32);
        let left: Vec<u32> = copies.iter().copied().filter(|host| !lost.contains(host)).collect();
        let hit = left.len() < copies.len();
        stopped += u32::from(left.is_empty());
        on_one_copy += u32::from(hit && left.len() == 1);
        if lost.contains(&copies[0])
            && let Some(heir) =
                left.iter().min_by_key(|host| level(**host, load[*host] + u64::from(fleet.stores[store].load)))
        {
            *load.get_mut(heir).unwrap() += u64::from(fleet.stores[store].load);
            moved += 1;
        }
    }
    let most = |(host, load): (&u32, &u64)| (level(*host, *load), std::cmp::Reverse(*host));
    let (host, load) = load.iter().max_by_key(|one| most(*one)).map(|(host, load)| (*host, *load)).unwrap();
    let level = level(host, load);
    Loss { fullest: slot_planner::layout::loss::Fullest { host, load, level }, stopped, on_one_copy, moved }
}

fn any_fleet() -> impl Strategy<Value = (Fleet, Layout)> {
    let store = prop::sample::subsequence((0u32..6).collect::<Vec<_>>(), 1..4).prop_shuffle();
    let stores = prop::collection::vec(store, 1..24);
    (stores, any::<bool>(), prop::collection::vec(1u32..6, 24), prop::collection::vec(1u32..4, 6)).prop_map(
        |(stores, declared, loads, weights)| {
            let stores: Vec<(u64, u8, &[u32])> = stores.iter().map(|at| (1, HOST, at.as_slice())).collect();
            let hosts = [(0, 99, 99), (0, 99, 99), (1, 99, 99), (1, 99, 99), (2, 99, 99), (2, 99, 99)];
            let (mut fleet, layout) = fleet(&hosts, &stores);
            if declared {
                fleet.stores.iter_mut().zip(loads).for_each(|(store, load)| store.load = load);
                fleet.hosts.iter_mut().zip(weights).for_each(|(host, weight)| host.weight = weight * ORDINARY);
            }
            (fleet, layout)
        },
    )
}

proptest! {
    #[test]
    fn every_loss_is_what_counting_it_alone_says((fleet, layout) in any_fleet()) {
        let mut losses = Losses::of(&fleet, &layout);
        for (host, loss) in losses.of_each() {
            prop_assert_eq!(loss, slowly(&fleet, &layout, &[host]), "host {}", host);
        }
        for (rack, loss) in losses.of_domains(RACK) {
            prop_assert_eq!(loss, slowly(&fleet, &layout, &[2 * rack, 2 * rack + 1]), "rack {}", rack);
        }
        let ((a, b), worst) = losses.worst_pair().unwrap();
        prop_assert_eq!(worst, slowly(&fleet, &layout, &[a, b]));
        for a in 0..6u32 {
            for b in a + 1..6 {
                prop_assert!(severity(&slowly(&fleet, &layout, &[a, b])) <= severity(&worst), "{} {}", a, b);
            }
        }
    }
}

#[test]
fn a_rack_takes_the_stores_that_are_only_there() {
    let stores: [(u64, u8, &[u32]); 3] = [(1, HOST, &[0, 1]), (1, RACK, &[0, 2]), (1, RACK, &[2, 1, 3])];
    let (fleet, layout) = fleet(&[(7, 4, 9), (7, 4, 9), (8, 4, 9), (9, 4, 9)], &stores);
    let mut losses = Losses::of(&fleet, &layout);
    let racks = losses.of_domains(RACK);
    assert_eq!(
        racks.iter().map(|(rack, loss)| (*rack, loss.stopped, loss.moved)).collect::<Vec<_>>(),
        [(7, 1, 1), (8, 0, 1), (9, 0, 0)]
    );
    assert_eq!(racks[1].1.on_one_copy, 1, "the third store has two left");
}
