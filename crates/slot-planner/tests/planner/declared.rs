//! Declared loads and weights: what is said of a fleet that has them, and where it goes.
//!
//! What always holds: the judge counts loads from the cluster by itself; whatever is said of the fleet's figures is what the placement
//! engine counts of the same cluster.

use crate::fullest::{least_fullest, level};
use crate::golden::page;
use crate::random::declared;
use crate::world::*;
use proptest::prelude::*;
use slot_planner::layout::cluster::named;
use slot_planner::layout::{Figures, figures};
use slot_planner::{WhatIf, explain_plan, explain_store};
use slot_types::cluster::*;
use slot_types::ids::*;
use slot_types::plan::{Budget, Intent, Plan, Task, TaskKind};
use slot_types::view::Lost;
use std::collections::BTreeMap;

impl World {
    /// Declares loads of stores and weights of hosts, in the order of their names; the draws are used over and over.
    pub fn declare(&mut self, (loads, weights): &(Vec<u16>, Vec<u16>)) {
        self.cluster.stores.values_mut().zip(loads.iter().cycle()).for_each(|(store, load)| store.spec.load = *load);
        self.cluster.hosts.values_mut().zip(weights.iter().cycle()).for_each(|(host, weight)| host.weight = *weight);
    }

    /// The weights of hosts imap1, imap2 and so on; the number 0 is nobody's.
    pub fn weights(&self) -> Vec<usize> {
        let of = |n| self.cluster.hosts.get(&host(n)).map_or(1, |host| host.weight.into());
        (0..=self.cluster.hosts.len()).map(of).collect()
    }
}

/// Six hosts, of which the first is meant to carry three times as much as each other, and twelve stores; two of them are heavy.
fn telling() -> World {
    let mut world = World::running(6, 12, 12, 2);
    world.host_mut(&host(1)).weight = 3;
    for (n, load) in [(2, 6), (8, 4)] {
        world.store_mut(&store(n)).spec.load = load;
    }
    world
}

fn engines(world: &World) -> Figures {
    let known = named(&world.cluster, &world.evidence, &world.inputs);
    figures(&known.fleet, &known.layout)
}

fn number(host: &HostName) -> usize {
    host.as_str().trim_start_matches("imap").parse().unwrap()
}

/// The load of each host's masters, by number.
fn loads(world: &World) -> Vec<usize> {
    let mut loads = vec![0; world.cluster.hosts.len() + 1];
    for store in world.cluster.stores.values() {
        loads[number(&store.master.as_ref().unwrap().host)] += usize::from(store.spec.load);
    }
    loads
}

/// What the fullest other host bears once each host is lost, at least.
fn after_each(world: &World) -> BTreeMap<HostName, usize> {
    let (weights, loads) = (world.weights(), loads(world));
    let after = |lost: &HostName| {
        let led = world.cluster.stores.values().filter(|store| store.master.as_ref().unwrap().host == *lost);
        let heirs: Vec<(usize, Vec<usize>)> = led
            .map(|store| {
                let others = store.copies.keys().map(|slot| number(&slot.host)).filter(|host| *host != number(lost));
                (usize::from(store.spec.load), others.collect())
            })
            .collect();
        let heirs: Vec<(usize, &[usize])> = heirs.iter().map(|(load, hosts)| (*load, &hosts[..])).collect();
        let mut left = loads.clone();
        left[number(lost)] = 0;
        least_fullest(&heirs, &mut left, &weights)
    };
    world.cluster.hosts.keys().map(|lost| (lost.clone(), after(lost))).collect()
}

fn notes(plan: &Plan, heading: &str) -> Vec<String> {
    plan.notes.iter().filter(|note| note.heading == heading).map(|note| note.text.clone()).collect()
}

#[test]
fn a_telling_cluster_drained_and_evened_out() {
    let mut world = telling();
    let drain = world.plan(Intent::DrainHost(host(3))).unwrap();
    insta::assert_snapshot!("drain", page(&drain));
    let even = world.plan(Intent::Rebalance(Budget::default())).unwrap();
    insta::assert_snapshot!("rebalance", page(&even));
    let before = engines(&world);
    world.complete(even.plan());
    let after = engines(&world);
    let said = notes(even.plan(), "EVENNESS");
    let levels = [before.worst_survivor, after.worst_survivor].map(level_text);
    assert!(said[0].contains(&format!("{} -> {} of declared load", levels[0], levels[1])), "{said:?} {levels:?}");
    assert!(after.worst_survivor < before.worst_survivor);
}

/// What is said of a master that moves, and of hosts that a copy is not on, names loads where there are any, and masters where not.
#[test]
fn explanations_say_loads_where_there_are_any_and_masters_where_there_are_none() {
    for (world, word, other) in
        [(telling(), "declared load", "masters on"), (World::running(6, 12, 12, 2), "masters", "declared load")]
    {
        let places = explain_store(&world.cluster, &world.evidence, &world.inputs, &store(1)).unwrap().places;
        let whys: Vec<&String> = places.iter().flat_map(|place| &place.others).map(|other| &other.why).collect();
        assert!(whys.iter().any(|why| why.contains(word)), "{whys:?}");
        assert!(whys.iter().all(|why| !why.contains(other)), "{whys:?}");
        let plan = world.plan(Intent::Apply(Box::new(with_one_more(&world)))).unwrap();
        let told = explain_plan(&world.cluster, &world.evidence, &world.inputs, plan.plan());
        let because = told[0].because.join("\n");
        assert!(because.contains(word), "{because}");
        assert_eq!(because.contains("declared load"), word == "declared load", "{because}");
    }
}

/// The file of a cluster, and store 99.
fn with_one_more(world: &World) -> FleetSpec {
    let mut file = file(world.cluster.hosts.len(), 12, 0, 2);
    for (name, line) in &mut file.hosts {
        line.weight = world.cluster.hosts[name].weight;
    }
    file.stores = world.cluster.stores.iter().map(|(name, store)| (name.clone(), store.spec.clone())).collect();
    file.stores.insert(store(99), file.stores[&store(1)].clone());
    file
}

/// A file that makes stores and changes loads in one: the places are chosen by what it says, not by what is still in force.
#[test]
fn new_stores_are_placed_by_the_loads_of_the_very_file() {
    let world = World::running(4, 12, 4, 2);
    let leader = world.cluster.stores[&store(1)].master.as_ref().unwrap().host.clone();
    let mut file = file(4, 12, 4, 2);
    file.stores.insert(store(5), file.stores[&store(1)].clone());
    file.stores.get_mut(&store(1)).unwrap().load = 50;
    let mut then = world.clone();
    let plan = world.plan(Intent::Apply(Box::new(file.clone()))).unwrap();
    then.complete(plan.plan());
    assert_ne!(then.cluster.stores[&store(5)].master.as_ref().unwrap().host, leader);
    let said = notes(plan.plan(), "WHERE TO");
    assert!(
        said.iter().any(|text| text.starts_with("fullest host 1 -> 1 masters, declared load 50 -> 50")),
        "{said:?}"
    );
    // And by weights: who is meant to carry much gets it.
    file.stores.get_mut(&store(1)).unwrap().load = 1;
    file.hosts.get_mut(&leader).unwrap().weight = 9;
    let mut then = world.clone();
    then.complete(world.plan(Intent::Apply(Box::new(file))).unwrap().plan());
    assert_eq!(then.cluster.stores[&store(5)].master.as_ref().unwrap().host, leader);
}

/// A heavy store on few hosts is the worst that can be lost, though others lead more masters.
#[test]
fn the_worst_loss_and_the_worst_pair_are_those_of_loads() {
    let mut world = World::running(6, 12, 18, 2);
    let heavy = world.cluster.stores[&store(4)].master.as_ref().unwrap().host.clone();
    world.store_mut(&store(4)).spec.load = 40;
    let asked = WhatIf::new(&world.cluster, &world.evidence, &world.inputs);
    let said = asked.of(&Lost::Host(heavy.clone())).unwrap().fullest.unwrap();
    assert_eq!(said.load.unwrap().after_milli as usize, after_each(&world)[&heavy]);
    let worst = asked.worst_pair().worst.unwrap();
    let pairs = world.cluster.hosts.keys().flat_map(|a| world.cluster.hosts.keys().map(move |b| [a, b]));
    let lines = pairs.filter(|[a, b]| a < b).map(|pair| {
        let lost = Lost::Hosts(pair.map(Clone::clone).into());
        asked.of(&lost).unwrap().line(Vec::new())
    });
    let most =
        lines.map(|line| (line.stops, line.fullest.and_then(|full| full.load).map(|load| load.after_milli))).max();
    assert_eq!(Some((worst.stops, worst.fullest.and_then(|full| full.load).map(|load| load.after_milli))), most);
    let plain = World::running(6, 12, 18, 2);
    let said = WhatIf::new(&plain.cluster, &plain.evidence, &plain.inputs).of(&Lost::Host(heavy)).unwrap();
    assert_eq!(said.fullest.unwrap().load, None);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    /// What is said of each loss, and the figures of the whole, are what counting says, and what the engine says.
    #[test]
    fn what_is_said_of_a_fleet_is_what_the_engine_counts(
        hosts in 3usize..8,
        stores in 1usize..30,
        declared in declared(),
    ) {
        let mut world = World::running(hosts, 40, stores, 2);
        declared.iter().for_each(|declared| world.declare(declared));
        let (counted, found) = (after_each(&world), engines(&world));
        let levels: Vec<usize> = loads(&world).iter().zip(world.weights()).map(|(l, w)| level(*l, w)).collect();
        prop_assert_eq!(found.load_max as usize, levels[1..].iter().copied().max().unwrap());
        prop_assert_eq!(found.load_min as usize, levels[1..].iter().copied().min().unwrap());
        prop_assert_eq!(found.worst_survivor as usize, counted.values().copied().max().unwrap());
        let asked = WhatIf::new(&world.cluster, &world.evidence, &world.inputs);
        for (lost, after) in counted {
            let Some(full) = asked.of(&Lost::Host(lost.clone())).unwrap().fullest else { continue };
            prop_assert_eq!(full.load.is_some(), world.cluster.has_loads());
            let said = full.load.map_or(u64::from(full.after) * ONE_STORE, |load| load.after_milli);
            prop_assert_eq!(said as usize, after, "{}", lost);
        }
    }

    /// New stores go where they are the least trouble by loads: a plan for them leaves no store that another host would bear better,
    /// all else staying.
    #[test]
    fn hosts_that_are_evened_out_bear_loads_and_not_numbers(
        hosts in 4usize..7,
        stores in 6usize..20,
        heavy in 4u16..9,
        weight in 2u16..4,
    ) {
        let mut world = World::running(hosts, 60, stores, 2);
        world.store_mut(&store(1)).spec.load = heavy;
        world.host_mut(&host(2)).weight = weight;
        let before = engines(&world);
        let mut plans = 0;
        while let Ok(plan) = world.plan(Intent::Rebalance(Budget::default())) {
            let moves = |task: &Task| matches!(task.kind, TaskKind::HandOver { .. } | TaskKind::BuildCopy { .. });
            let has_moves = plan.plan().tasks.iter().any(moves);
            prop_assert!(has_moves);
            world.complete(plan.plan());
            plans += 1;
            prop_assert!(plans <= 8, "it goes on and on");
        }
        let after = engines(&world);
        prop_assert!((after.worst_survivor, after.load_max) <= (before.worst_survivor, before.load_max));
        // A store of the heaviest load more than what no layout can avoid, at most.
        prop_assert!(after.load_max <= after.load_bound + 2 * ONE_STORE, "{:?}", after);
    }
}
