//! "No move would make the hosts more even": every single move, beside the fleet as it is.
//!
//! What always holds: the judge counts masters, survivors and bytes from where copies are, over every way to share a lost host's
//! masters out; it asks nothing of the planner. Every store has two copies at least and every host is a rack of its own with much
//! room, so which racks could be lost is the same whatever moves.

use crate::fullest::{least_fullest, level};
use crate::random::declared;
use crate::world::*;
use proptest::prelude::*;
use slot_planner::{Nothing, Refusal};
use slot_types::cluster::*;
use slot_types::ids::*;
use slot_types::plan::{Budget, Intent};
use std::collections::BTreeSet;

/// By store: its size, what its master weighs, and the hosts of its copies, the master's first.
type Fleet = Vec<(u64, usize, Vec<usize>)>;

/// Lower is better: the worst survivor of any one loss, the host that bears most, the one that bears least, and the fullest by bytes over its
/// fair share, within one per cent of which hosts count as even.
type Score = (usize, usize, std::cmp::Reverse<usize>, u64);

fn fleet(world: &World) -> Fleet {
    let number = |slot: &SlotId| slot.host.as_str().trim_start_matches("imap").parse::<usize>().unwrap() - 1;
    let store = |store: &Store| {
        let master = store.master.clone().unwrap();
        let others = store.copies.keys().filter(|slot| **slot != master).map(number);
        let on = std::iter::once(number(&master)).chain(others).collect();
        (store.spec.size_bytes, store.spec.load.into(), on)
    };
    world.cluster.stores.values().map(store).collect()
}

fn score(weights: &[usize], fleet: &Fleet) -> Score {
    let hosts = weights.len();
    let (mut load, mut bytes) = (vec![0; hosts], vec![0; hosts]);
    for (size, master, on) in fleet {
        load[on[0]] += master;
        on.iter().for_each(|host| bytes[*host] += size);
    }
    let after = (0..hosts).map(|lost| {
        let led = fleet.iter().filter(|(_, _, on)| on[0] == lost);
        let heirs: Vec<(usize, &[usize])> = led.map(|(_, master, on)| (*master, &on[1..])).collect();
        let mut left = load.clone();
        left[lost] = 0;
        least_fullest(&heirs, &mut left, weights)
    });
    let levels: Vec<usize> = load.iter().zip(weights).map(|(load, weight)| level(*load, *weight)).collect();
    let (most, fewest) = (*levels.iter().max().unwrap(), *levels.iter().min().unwrap());
    let all: u64 = bytes.iter().sum();
    // Hosts are of one size, so each one's fair share is the same.
    let fullest = (bytes.iter().max().unwrap() * hosts as u64 * 1_000_000).div_ceil(all.max(1));
    (after.max().unwrap().max(most), most, std::cmp::Reverse(fewest), fullest.max(1_010_000))
}

/// Every hand-over of one store, and every copy of it on another host, the mastership with it.
fn moved(hosts: usize, onto: &BTreeSet<usize>, fleet: &Fleet) -> Vec<Fleet> {
    let mut all = Vec::new();
    for store in 0..fleet.len() {
        for nth in 0..fleet[store].2.len() {
            let mut then = fleet.clone();
            then[store].2.swap(0, nth);
            all.extend(onto.contains(&fleet[store].2[nth]).then_some(then));
            for to in (0..hosts).filter(|to| onto.contains(to) && !fleet[store].2.contains(to)) {
                let mut then = fleet.clone();
                then[store].2[nth] = to;
                all.push(then);
            }
        }
    }
    all
}

/// Carries plans out until there is none, and looks at what is then said.
fn until_even(mut world: World, intent: &Intent, onto: &BTreeSet<usize>) -> Result<(), TestCaseError> {
    let (hosts, weights) = (world.cluster.hosts.len(), world.weights()[1..].to_vec());
    for _ in 0..16 {
        match world.plan(intent.clone()) {
            Ok(plan) => world.complete(plan.plan()),
            Err(Refusal::NothingToDo(Nothing::Even | Nothing::Filled(_))) => {
                let (now, all) = (fleet(&world), moved(hosts, onto, &fleet(&world)));
                // A host that is filled gets copies up to its share, by its part of all slots' bytes.
                let share = now.iter().map(|(.., on)| on.len()).sum::<usize>().div_ceil(hosts);
                let count = |fleet: &Fleet, host: usize| fleet.iter().filter(|(.., on)| on.contains(&host)).count();
                let within = |then: &Fleet| {
                    onto.len() == hosts || onto.iter().all(|host| count(then, *host) <= share.max(count(&now, *host)))
                };
                let better =
                    all.iter().filter(|then| within(then)).find(|then| score(&weights, then) < score(&weights, &now));
                prop_assert!(better.is_none(), "{now:?} is {:?}, {better:?} is better", score(&weights, &now));
                return Ok(());
            }
            Err(other) => prop_assert!(false, "{other}"),
        }
    }
    prop_assert!(false, "it goes on and on");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn that_no_move_evens_out_more_is_so(
        hosts in 4usize..7,
        picks in prop::collection::vec((prop::collection::vec(0usize..720, 3), 2usize..4, 1u64..6), 1..10),
        named in prop::collection::btree_set(0usize..6, 1..3),
        declared in declared(),
    ) {
        let mut world = World::running(hosts, 24, 0, 1);
        let spec = file(hosts, 24, 1, 2).stores[&store(1)].clone();
        let mut used = vec![0u16; hosts + 1];
        for (n, (pick, copies, size)) in picks.iter().enumerate() {
            let mut left: Vec<usize> = (1..=hosts).collect();
            // Who takes what of a lost host is the best choice where loads are alike, or where there is none.
            let copies = if declared.is_some() { 2 } else { *copies };
            let on = pick[..copies].iter().map(|pick| left.remove(pick % left.len()));
            let slots: Vec<SlotId> = on.map(|at| { used[at] += 1; SlotId::new(host(at), used[at]) }).collect();
            let spec = StoreSpec { copies: copies as u8, size_bytes: size * 100, ..spec.clone() };
            world.add_store(&store(n + 1), &spec, &slots);
        }
        declared.iter().for_each(|declared| world.declare(declared));
        world.see_all();
        until_even(world.clone(), &Intent::Rebalance(Budget::default()), &(0..hosts).collect())?;
        let onto: BTreeSet<usize> = named.iter().map(|n| n % hosts).collect();
        let names = onto.iter().map(|n| host(n + 1)).collect();
        until_even(world, &Intent::Fill { hosts: names, budget: Budget::default() }, &onto)?;
    }
}

/// A fleet with more copies than are looked at move by move says that it was not.
#[test]
fn of_a_fleet_that_is_too_large_for_every_move_it_is_not_said() {
    let mut world = World::running(30, 30, 300, 2);
    for _ in 0..16 {
        match world.plan(Intent::Rebalance(Budget::default())) {
            Ok(plan) => world.complete(plan.plan()),
            Err(why) => {
                assert_eq!(why, Refusal::NothingToDo(Nothing::NotFound(BTreeSet::new())));
                assert!(why.to_string().starts_with("nothing to do: nothing was found that would make"), "{why}");
                return;
            }
        }
    }
    panic!("it goes on and on");
}
