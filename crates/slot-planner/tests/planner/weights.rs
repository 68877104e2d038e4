//! The weights of the cluster file govern where copies go: beside every host each could go to.
//!
//! What always holds: the judge counts masters, survivors, racks and bytes from where copies are, and adds them up as the file weighs
//! them; it asks nothing of the planner. There is room everywhere, so a rack could be lost unless a store lives in it alone.

use crate::fullest::{least_fullest, level};
use crate::world::*;
use slot_types::cluster::*;
use slot_types::ids::*;
use slot_types::plan::{Budget, Intent, Plan, Scope, TaskKind};
use std::collections::{BTreeMap, BTreeSet};

/// A store: its size, what its master weighs, and the numbers of its copies' hosts, the master's first.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Placed {
    size: u64,
    load: usize,
    on: Vec<usize>,
}
type Fleet = BTreeMap<StoreName, Placed>;

/// The numbers of hosts, and the weights of all.
struct Hosts {
    numbers: Vec<usize>,
    weights: Vec<usize>,
}

impl Hosts {
    /// All but the first few.
    fn of(world: &World, first: usize) -> Hosts {
        Hosts { numbers: (first..world.cluster.hosts.len()).collect(), weights: world.weights()[1..].to_vec() }
    }
    fn iter(&self) -> std::slice::Iter<'_, usize> {
        self.numbers.iter()
    }
    fn len(&self) -> usize {
        self.numbers.len()
    }
}

const WEIGHTS: [&str; 5] = ["domain", "survivor", "masters", "bytes", "moved"];

/// This weight, and what all others are.
fn weights(one: &str, this: u16, others: u16) -> Weights {
    let of = |name: &str| if name == one { this } else { others };
    Weights {
        domain: of("domain"),
        survivor: of("survivor"),
        masters: of("masters"),
        bytes: of("bytes"),
        moved: of("moved"),
    }
}

/// Numbers that look random and are the same every time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n
    }
}

fn number(host: &HostName) -> usize {
    host.as_str().trim_start_matches("imap").parse::<usize>().unwrap() - 1
}

/// Some hosts, two in each rack, and stores of two or three copies that ask for different hosts; in every third fleet of two, and
/// with declared loads and weights.
fn small(seed: u64, least: usize) -> World {
    let mut dice = Dice(seed);
    let hosts = least + dice.below(3);
    let mut world = World::running(hosts, 24, 0, 1);
    for n in 1..=hosts {
        world.host_mut(&host(n)).at = Domain(vec!["ny".into(), format!("r{}", (n - 1) / 2)]);
    }
    let spec = file(hosts, 24, 1, 2).stores[&store(1)].clone();
    let mut used = vec![0u16; hosts + 1];
    for n in 1..=3 + dice.below(8) {
        let mut left: Vec<usize> = (1..=hosts).collect();
        let copies = 2 + dice.below(2) * usize::from(seed % 3 != 1);
        let on: Vec<usize> = (0..copies).map(|_| left.remove(dice.below(left.len()))).collect();
        let slots: Vec<SlotId> = on
            .into_iter()
            .map(|at| {
                used[at] += 1;
                SlotId::new(host(at), used[at])
            })
            .collect();
        let size_bytes = 100 * (1 + dice.below(6) as u64);
        let spec = StoreSpec { copies: copies as u8, size_bytes, spread: Spread::Host, ..spec.clone() };
        world.add_store(&store(n), &spec, &slots);
    }
    if seed % 3 == 1 {
        let mut draws = |below| (0..8).map(|_| 1 + dice.below(below) as u16).collect();
        world.declare(&(draws(5), draws(3)));
    }
    world.see_all();
    world
}

fn fleet(world: &World) -> Fleet {
    let of = |(name, store): (&StoreName, &Store)| {
        let master = store.master.clone().unwrap();
        let others = store.copies.keys().filter(|slot| **slot != master).map(|slot| number(&slot.host));
        let on = std::iter::once(number(&master.host)).chain(others).collect();
        (name.clone(), Placed { size: store.spec.size_bytes, load: store.spec.load.into(), on })
    };
    world.cluster.stores.iter().map(of).collect()
}

/// What a fleet on these hosts comes to, in thousandths of a weight; what no layout of it can avoid included.
fn sum(hosts: &Hosts, fleet: &Fleet, weights: &Weights) -> u64 {
    let top = hosts.weights.len();
    let (mut load, mut bytes) = (vec![0; top], vec![0u64; top]);
    for Placed { size, load: master, on } in fleet.values() {
        load[on[0]] += master;
        on.iter().for_each(|host| bytes[*host] += size);
    }
    let after = hosts.iter().map(|lost| {
        let led = fleet.values().filter(|placed| placed.on[0] == *lost);
        let heirs: Vec<(usize, &[usize])> = led.map(|placed| (placed.load, &placed.on[1..])).collect();
        let mut left = load.clone();
        left[*lost] = 0;
        least_fullest(&heirs, &mut left, &hosts.weights)
    });
    let most = load.iter().zip(&hosts.weights).map(|(load, weight)| level(*load, *weight)).max().unwrap();
    let worst = after.max().unwrap().max(most);
    let room: u64 = bytes.iter().sum();
    let fullest = (bytes.iter().max().unwrap() * hosts.len() as u64 * 1_000_000).div_ceil(room);
    let rack = |host: &usize| host / 2;
    let lives_in = |on: &[usize]| Some(rack(&on[0])).filter(|first| on.iter().all(|host| rack(host) == *first));
    let racks: BTreeSet<usize> = fleet.values().filter_map(|placed| lives_in(&placed.on)).collect();
    let parts = [
        (weights.domain, 1_000 * racks.len() as u64),
        (weights.survivor, worst as u64),
        (weights.masters, most as u64),
        (weights.bytes, (fullest - 1_000_000) / 10),
    ];
    parts.iter().map(|(weight, units)| u64::from(*weight) * units).sum()
}

fn built(plan: &Plan) -> Vec<(StoreName, usize)> {
    let to = plan.tasks.iter().filter_map(|task| match &task.kind {
        TaskKind::BuildCopy { slot, .. } => Some((task.store.clone()?, number(&slot.host))),
        _ => None,
    });
    to.collect()
}

/// Where a copy goes that is moved, and what every other host would come to.
fn moved(world: &World, slot: &SlotId, weights: &Weights) -> (usize, BTreeMap<usize, u64>) {
    let mut world = world.clone();
    world.cluster.policy.weights = Some(*weights);
    let plan = world.plan(Intent::MoveCopy { slot: slot.clone(), to: None }).unwrap();
    let (name, to) = built(plan.plan()).remove(0);
    let (hosts, now) = (Hosts::of(&world, 0), fleet(&world));
    let at = now[&name].on.iter().position(|host| *host == number(&slot.host)).unwrap();
    let others = hosts.iter().filter(|host| !now[&name].on.contains(host));
    let weighed = others.map(|host| {
        let mut then = now.clone();
        then.get_mut(&name).unwrap().on[at] = *host;
        (*host, sum(&hosts, &then, weights))
    });
    (to, weighed.collect())
}

#[test]
fn a_copy_that_is_moved_goes_where_the_weights_say() {
    let mut decided: BTreeSet<&str> = BTreeSet::new();
    for seed in 0..40 {
        let world = small(seed, 4);
        for slot in world.cluster.stores.values().flat_map(|store| store.copies.keys()) {
            let mut chosen = BTreeMap::new();
            for (one, this) in WEIGHTS.into_iter().flat_map(|one| [(one, 0), (one, 400)]) {
                let weights = weights(one, this, 10);
                let (to, others) = moved(&world, slot, &weights);
                assert_eq!(
                    others[&to],
                    *others.values().min().unwrap(),
                    "seed {seed}, {slot} by {weights:?}: {others:?}"
                );
                if chosen.insert(one, to).is_some_and(|without| without != to) {
                    decided.insert(one);
                }
            }
        }
    }
    // What is copied is the same wherever it goes; `moved` weighs in a rebalancing.
    assert_eq!(decided, BTreeSet::from(["domain", "survivor", "masters", "bytes"]));
}

/// Each copy that is built where a host is emptied, or lost ones are built anew, is where it is best while all else stays.
#[test]
fn copies_that_leave_or_were_lost_go_where_the_weights_say() {
    let mut copies = 0;
    for seed in 0..120 {
        // After the loss of a rack and a host there are hosts enough to build three copies on.
        let mut world = small(seed, 6);
        let weights = weights(WEIGHTS[seed as usize % 5], 300, 10);
        world.cluster.policy.weights = Some(weights);
        let intent = match seed % 2 {
            0 => Intent::EmptyHost(host(1)),
            _ => {
                // One more copy is wanted of every store but the first few.
                let all = world.cluster.stores.values_mut().skip(2);
                all.filter(|store| store.spec.copies == 2).for_each(|store| store.spec.copies = 3);
                Intent::Rebuild(Scope::All)
            }
        };
        let Ok(plan) = world.plan(intent) else { continue };
        let first = usize::from(seed % 2 == 0);
        let hosts = Hosts::of(&world, first);
        let mut then = world.clone();
        then.complete(plan.plan());
        let now = fleet(&then);
        for (name, to) in built(plan.plan()) {
            copies += 1;
            let at = now[&name].on.iter().position(|host| *host == to).unwrap();
            for host in hosts.iter().filter(|host| !now[&name].on.contains(host)) {
                let mut other = now.clone();
                other.get_mut(&name).unwrap().on[at] = *host;
                let (here, there) = (sum(&hosts, &now, &weights), sum(&hosts, &other, &weights));
                assert!(here <= there, "seed {seed}, {name} on {to}: {here}, on {host}: {there}");
            }
        }
    }
    assert!(copies > 200, "{copies}");
}

/// A new store, beside every host for its master and every other for its replica.
#[test]
fn a_new_store_goes_where_the_weights_say() {
    let mut decided: BTreeSet<&str> = BTreeSet::new();
    for seed in 0..100 {
        let mut chosen = BTreeMap::new();
        for (one, this) in WEIGHTS.into_iter().flat_map(|one| [(one, 0), (one, 400)]) {
            let mut world = small(seed, 4);
            let weights = weights(one, this, 10);
            let hosts = Hosts::of(&world, 0);
            let mut file = file(hosts.len(), 24, 1, 2);
            let spec = StoreSpec { size_bytes: 300, spread: Spread::Host, ..file.stores[&store(1)].clone() };
            for (name, line) in &mut file.hosts {
                let known = &world.cluster.hosts[name];
                (line.at, line.weight) = (known.at.clone(), known.weight);
            }
            file.stores = world.cluster.stores.iter().map(|(name, store)| (name.clone(), store.spec.clone())).collect();
            file.stores.insert(store(99), spec);
            file.policy.weights = Some(weights);
            let before = fleet(&world);
            let plan = world.plan(Intent::Apply(Box::new(file))).unwrap();
            world.complete(plan.plan());
            let now = fleet(&world);
            let on = &now[&store(99)].on;
            let mut least = u64::MAX;
            for (master, replica) in
                hosts.iter().flat_map(|a| hosts.iter().map(move |b| (*a, *b))).filter(|(a, b)| a != b)
            {
                let mut then = before.clone();
                then.insert(store(99), Placed { size: 300, load: 1, on: vec![master, replica] });
                least = least.min(sum(&hosts, &then, &weights));
            }
            assert_eq!(sum(&hosts, &now, &weights), least, "seed {seed}, by {weights:?}: {on:?}");
            if chosen.insert(one, on.clone()).is_some_and(|without| without != *on) {
                decided.insert(one);
            }
        }
    }
    assert_eq!(decided, BTreeSet::from(["domain", "survivor", "masters", "bytes"]));
}

/// Carries plans out until there is none; then no single move onto these hosts weighs less.
fn evened(mut world: World, intent: &Intent, onto: &BTreeSet<usize>, weights: &Weights) -> Fleet {
    world.cluster.policy.weights = Some(*weights);
    let hosts = Hosts::of(&world, 0);
    let start = sum(&hosts, &fleet(&world), weights);
    for plans in 0.. {
        assert!(plans < 16, "{intent}: it goes on and on");
        let Ok(plan) = world.plan(intent.clone()) else { break };
        let before = sum(&hosts, &fleet(&world), weights);
        world.complete(plan.plan());
        assert!(sum(&hosts, &fleet(&world), weights) <= before, "{intent}: a plan that weighs more");
    }
    let now = fleet(&world);
    let held = |fleet: &Fleet, host: usize| fleet.values().filter(|placed| placed.on.contains(&host)).count();
    let share = now.values().map(|placed| placed.on.len()).sum::<usize>().div_ceil(hosts.len());
    let here = sum(&hosts, &now, weights);
    for (name, Placed { on, .. }) in &now {
        for (nth, host) in (0..on.len()).flat_map(|nth| onto.iter().map(move |host| (nth, *host))) {
            let mut then = now.clone();
            let copies = &mut then.get_mut(name).unwrap().on;
            match on.iter().position(|other| *other == host) {
                // It has the copy: it leads.
                Some(at) => copies.swap(0, at),
                None => copies[nth] = host,
            }
            let within = onto.len() == hosts.len() || held(&then, host) <= share.max(held(&now, host));
            let there = sum(&hosts, &then, weights);
            assert!(!within || here <= there, "{intent}: {name} on {host} weighs {there}, not {here}");
        }
    }
    assert!(here <= start);
    now
}

#[test]
fn hosts_are_filled_and_evened_out_as_the_weights_say() {
    let mut decided: BTreeSet<(&str, bool)> = BTreeSet::new();
    for seed in 0..6 {
        let world = small(seed, 6);
        let all = (0..world.cluster.hosts.len()).collect();
        let fill = Intent::Fill { hosts: [host(2)].into(), budget: Budget::default() };
        for (intent, onto) in [(Intent::Rebalance(Budget::default()), all), (fill, BTreeSet::from([1]))] {
            for one in ["domain", "survivor", "masters", "bytes"] {
                // What is copied weighs nothing here, so that a single move can be judged by where it leads.
                let weigh = |this: u16| Weights { moved: 0, ..weights(one, this, 10) };
                let [without, with] =
                    [weigh(0), weigh(400)].map(|weights| evened(world.clone(), &intent, &onto, &weights));
                decided.extend((without != with).then_some((one, matches!(intent, Intent::Fill { .. }))));
            }
        }
    }
    // Whether it is a fill.
    for known in [("bytes", false), ("bytes", true), ("masters", true), ("survivor", false)] {
        assert!(decided.contains(&known), "{known:?} is not in {decided:?}");
    }
}
