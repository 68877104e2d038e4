//! Hosts made even on a live cluster: what a plan gains, what bounds it, and that nothing is left to do after it.

use crate::world::*;
use proptest::prelude::*;
use slot_planner::layout::room::not_survivable;
use slot_planner::layout::{self, Fleet, Layout, RACK, figures};
use slot_planner::{CheckedPlan, Nothing, Refusal};
use slot_types::cluster::*;
use slot_types::hold::{Hold, HoldOn};
use slot_types::ids::*;
use slot_types::plan::*;
use std::collections::{BTreeMap, BTreeSet};

fn all() -> Intent {
    Intent::Rebalance(Budget::default())
}

/// Two hosts that came later, without anything.
fn grown(hosts: usize, slots: u16, stores: usize, copies: u8) -> World {
    let mut world = World::running(hosts, slots, stores, copies);
    world.add_hosts(&file(hosts + 2, slots, 1, copies));
    world.see_all();
    world
}

fn on(world: &World) -> (Vec<usize>, Vec<usize>) {
    let hosts = world.cluster.hosts.keys();
    let copies = hosts.clone().map(|host| world.cluster.copies_on(host).count()).collect();
    (copies, hosts.map(|host| world.cluster.masters_on(host).count()).collect())
}

fn spread(counts: &[usize]) -> usize {
    counts.iter().max().unwrap() - counts.iter().min().unwrap()
}

fn built(plan: &Plan) -> usize {
    plan.tasks.iter().filter(|task| matches!(task.kind, TaskKind::BuildCopy { .. })).count()
}

#[test]
fn new_hosts_get_their_share_of_copies_and_masters() {
    let mut world = grown(6, 20, 48, 2);
    let plan = world.plan(all()).unwrap();
    world.complete(plan.plan());
    let (copies, masters) = on(&world);
    assert!(spread(&copies) <= 1, "{copies:?}");
    assert!(masters.iter().all(|masters| *masters == 6), "{masters:?}");
    // Two eighths of the copies had to move, and few more did: the worst survivor comes before bytes.
    assert!((24..=28).contains(&built(plan.plan())), "{}", built(plan.plan()));
    assert_eq!(world.plan(all()), Err(Refusal::NothingToDo(Nothing::Even)));
}

#[test]
fn masters_alone_are_handed_over_where_copies_are_even() {
    let mut world = World::running(4, 8, 12, 2);
    for name in world.cluster.stores.keys().cloned().collect::<Vec<_>>() {
        let slots: Vec<SlotId> = world.cluster.stores[&name].copies.keys().cloned().collect();
        // Every store is led from the first of its hosts by name.
        let spec = world.cluster.stores[&name].spec.clone();
        world.add_store(&name, &spec, &slots);
    }
    world.see_all();
    let before = on(&world).1;
    assert!(spread(&before) > 1, "{before:?}");
    let plan = world.plan(all()).unwrap();
    assert_eq!(built(plan.plan()), 0);
    world.complete(plan.plan());
    let after = on(&world).1;
    assert!(spread(&after) <= 1, "{after:?}");
}

#[test]
fn a_budget_bounds_bytes_and_moves_and_what_gains_most_comes_first() {
    let mut world = grown(6, 20, 48, 2);
    let names: Vec<StoreName> = world.cluster.stores.keys().cloned().collect();
    for (n, name) in names.iter().enumerate() {
        world.store_mut(name).spec.size_bytes = 100 + 50 * (n as u64 % 5);
    }
    world.see_all();
    let spread_of_bytes = |world: &World| {
        let mut bytes: BTreeMap<&HostName, u64> = world.cluster.hosts.keys().map(|host| (host, 0)).collect();
        for store in world.cluster.stores.values() {
            store.copies.keys().for_each(|slot| *bytes.get_mut(&slot.host).unwrap() += store.spec.size_bytes);
        }
        bytes.values().max().unwrap() - bytes.values().min().unwrap()
    };
    let begin = spread_of_bytes(&world);
    let mut reached = Vec::new();
    for max_bytes in [0, 300, 1_000, 2_000, u64::MAX] {
        let budget = Budget { max_bytes: Some(max_bytes), ..Budget::default() };
        let mut then = world.clone();
        if let Ok(plan) = world.plan(Intent::Rebalance(budget)) {
            let size = |task: &Task| match task.kind {
                TaskKind::BuildCopy { .. } => world.cluster.stores[task.store.as_ref().unwrap()].spec.size_bytes,
                _ => 0,
            };
            assert!(plan.plan().tasks.iter().map(size).sum::<u64>() <= max_bytes);
            then.complete(plan.plan());
        }
        reached.push(spread_of_bytes(&then));
    }
    assert_eq!(reached[0], begin, "without bytes no copy moves");
    assert!(reached.is_sorted_by(|less, more| less >= more), "more bytes leave it no less even: {reached:?}");
    assert!(reached.last().unwrap() * 10 < begin, "{reached:?}");
    let plan = world.plan(Intent::Rebalance(Budget { max_moves: Some(3), ..Budget::default() })).unwrap();
    let stores: BTreeSet<&StoreName> = plan.plan().stores();
    assert!(stores.len() <= 3, "{stores:?}");
    // The checker holds a plan to what was asked for.
    let mut mutant = world.plan(all()).unwrap().plan().clone();
    mutant.intent = Intent::Rebalance(Budget { max_bytes: Some(300), ..Budget::default() });
    assert!(slot_planner::check::check(&world.cluster, &world.evidence, world.inputs.fleet_version, mutant).is_err());
    let none = Budget { min_gain_ppm: 1_000_000, max_moves: Some(0), ..Budget::default() };
    assert_eq!(world.plan(Intent::Rebalance(none)), Err(Refusal::NothingToDo(Nothing::Even)));
}

#[test]
fn what_is_busy_in_doubt_or_not_whole_stays_where_it_is() {
    let mut world = grown(6, 20, 24, 2);
    let names: Vec<StoreName> = world.cluster.stores.keys().cloned().collect();
    world.inputs.busy_stores.insert(names[0].clone());
    let master = world.cluster.stores[&names[1]].master.clone().unwrap();
    let replica = world.cluster.stores[&names[1]].copies.keys().find(|slot| **slot != master).unwrap().clone();
    world.said(&replica, |status| status.behind = Some(1_000_000));
    let known = world.store_mut(&names[2]);
    let slot = known.copies.iter().find(|(_, copy)| copy.role == Role::Replica).map(|(slot, _)| slot.clone()).unwrap();
    known.copies.get_mut(&slot).unwrap().state = CopyState::Stopped;
    world.silent(&host(3), 60_000);
    let plan = world.plan(all()).unwrap();
    let touched = plan.plan().stores();
    let on_silent = |store: &Store| store.copies.keys().any(|slot| slot.host == host(3));
    for name in &names[..3] {
        assert!(!touched.contains(name), "{name}");
    }
    for name in touched {
        assert!(!on_silent(&world.cluster.stores[name]), "{name}");
    }
    assert!(plan.plan().tasks.iter().all(|task| match &task.kind {
        TaskKind::BuildCopy { slot, .. } => slot.host != host(3),
        _ => true,
    }));
}

#[test]
fn what_a_person_holds_stays_and_a_hold_on_everything_is_a_refusal() {
    let mut world = grown(6, 20, 24, 2);
    let hold = Hold { by: OperatorName::new("ben").unwrap(), reason: "why".into(), at: LogTime(1), wall: WallTime(2) };
    world.cluster.holds.insert(HoldOn::Host(host(2)), hold.clone());
    world.cluster.holds.insert(HoldOn::Store(store(3)), hold.clone());
    let plan = world.plan(all()).unwrap();
    let touched = plan.plan().stores();
    assert!(!touched.contains(&store(3)));
    assert!(touched.iter().all(|name| world.cluster.stores[*name].copies.keys().all(|slot| slot.host != host(2))));
    world.cluster.holds.insert(HoldOn::All, hold);
    assert!(matches!(world.plan(all()), Err(Refusal::Held(_))));
}

#[test]
fn nothing_goes_where_the_file_says_never() {
    let mut world = grown(6, 20, 24, 2);
    for name in world.cluster.stores.keys().cloned().collect::<Vec<_>>() {
        world.store_mut(&name).spec.never.insert(host(8));
    }
    let plan = world.plan(all()).unwrap();
    world.complete(plan.plan());
    assert_eq!(world.cluster.copies_on(&host(8)).count(), 0);
    assert!(world.cluster.copies_on(&host(7)).count() > 0);
}

#[test]
fn weights_decide_between_even_bytes_and_few_bytes_copied() {
    let mut world = grown(6, 20, 48, 2);
    let weigh = |world: &mut World, weights| world.cluster.policy.weights = Some(weights);
    weigh(&mut world, Weights { masters: 1, bytes: 1, moved: 1_000, ..Weights::default() });
    let thrifty = world.plan(all());
    let copied = |plan: &Result<CheckedPlan, Refusal>| plan.as_ref().map_or(0, |plan| built(plan.plan()));
    assert_eq!(copied(&thrifty), 0, "{thrifty:?}");
    weigh(&mut world, Weights { bytes: 1_000, moved: 1, ..Weights::default() });
    let even = world.plan(all());
    assert!((24..=28).contains(&copied(&even)), "{even:?}");
    // Something between: less even, and less copied.
    weigh(&mut world, Weights { bytes: 10, masters: 1_000, moved: 10, ..Weights::default() });
    world.complete(world.plan(all()).unwrap().plan());
    assert!(on(&world).1.iter().max() < Some(&8));
}

/// Two hosts in each rack, every store on the two of one rack, and stores ask for different hosts only.
#[test]
fn copies_go_further_apart_where_a_rack_could_not_be_lost() {
    let mut world = World::running(6, 20, 12, 2);
    for n in 1..=6 {
        world.host_mut(&host(n)).at = Domain(vec!["ny".into(), format!("r{}", (n - 1) / 2)]);
    }
    for n in 0..12 {
        let mut spec = world.cluster.stores[&store(n + 1)].spec.clone();
        spec.spread = Spread::Host;
        let (rack, slot) = (n % 3, u16::try_from(n / 3 + 1).unwrap());
        let (a, b) = if n % 2 == 0 { (1, 2) } else { (2, 1) };
        let slots = [a, b].map(|one| SlotId::new(host(rack * 2 + one), slot));
        world.add_store(&store(n + 1), &spec, &slots);
    }
    world.see_all();
    let plan = world.plan(all()).unwrap();
    let notes: Vec<&str> = plan.plan().notes.iter().map(|note| note.text.as_str()).collect();
    assert!(
        notes.contains(&"racks and sites that could not be lost: no copy left, or no room for what was there: 3 -> 0"),
        "{notes:?}"
    );
    world.complete(plan.plan());
    for (name, store) in &world.cluster.stores {
        let racks: BTreeSet<&Domain> = store.copies.keys().map(|slot| &world.cluster.hosts[&slot.host].at).collect();
        assert_eq!(racks.len(), 2, "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    /// Slots are larger than what moves, so each plan finds its room; then the next has nothing to do.
    #[test]
    fn asking_again_ends(hosts in 3usize..7, stores in 1usize..30, copies in 1u8..4, sizes in prop::collection::vec(1u64..1000, 30)) {
        let mut world = grown(hosts, 64, stores, copies);
        let names: Vec<StoreName> = world.cluster.stores.keys().cloned().collect();
        for (name, size) in names.iter().zip(&sizes) {
            world.store_mut(name).spec.size_bytes = *size;
        }
        world.see_all();
        let mut plans = 0;
        while let Ok(plan) = world.plan(all()) {
            prop_assert_eq!(world.plan(all()).unwrap().digest(), plan.digest(), "the same inputs give the same bytes");
            world.complete(plan.plan());
            plans += 1;
            prop_assert!(plans <= 6, "a plan is made again and again: {:?}", plan.plan().tasks.len());
        }
        let (_, masters) = on(&world);
        prop_assert!(copies == 1 || masters.iter().max().unwrap() <= &(stores.div_ceil(masters.len()) + 1), "{masters:?}");
    }
}

/// Where the file says no sizes, a host without copies gets some all the same.
#[test]
fn copies_without_a_size_are_spread_by_their_number() {
    let mut world = World::running(3, 6, 6, 2);
    for n in 1..=6 {
        world.store_mut(&store(n)).spec.size_bytes = 0;
    }
    world.add_hosts(&file(4, 6, 1, 2));
    world.see_all();
    // What was touched by one plan is looked at again by the next.
    for _ in 0..2 {
        let plan = world.plan(all()).unwrap();
        world.complete(plan.plan());
    }
    assert!(spread(&on(&world).0) <= 1, "{:?}", on(&world));
    assert_eq!(world.plan(all()), Err(Refusal::NothingToDo(Nothing::Even)));
}

/// How good a fleet is, in the order of the aims; lower is better. Counted by the engine from hosts and slots alone.
fn quality(world: &World) -> (usize, u64, u64, u64, u64) {
    let mut fleet = Fleet::default();
    let names: Vec<&HostName> = world.cluster.hosts.keys().collect();
    for (rack, host) in (0..).zip(world.cluster.hosts.values()) {
        let bytes = host.slots.values().map(|slot| slot.size_bytes).sum();
        let there = layout::Host::new(bytes, u32::try_from(host.slots.len()).unwrap()).within(&[rack]);
        fleet.hosts.push(layout::Host { weight: layout::ORDINARY * u32::from(host.weight), ..there });
    }
    let number = |slot: &SlotId| u32::try_from(names.binary_search(&&slot.host).unwrap()).unwrap();
    let stores = world.cluster.stores.values().map(|store| {
        let master = store.master.as_ref().unwrap();
        let others = store.copies.keys().filter(|slot| *slot != master);
        let hosts: Vec<u32> = std::iter::once(master).chain(others).map(number).collect();
        let (size, copies) = (store.spec.size_bytes.max(1), u8::try_from(hosts.len()).unwrap());
        (layout::Store { size, load: store.spec.load.into(), copies, level: RACK }, hosts)
    });
    let stores: Vec<(layout::Store, Vec<u32>)> = stores.collect();
    let layout = Layout::of(&mut fleet, stores.iter().map(|(store, hosts)| (*store, hosts.as_slice())));
    let found = figures(&fleet, &layout);
    let least = u64::MAX - found.load_min;
    let domains = not_survivable(&fleet, &layout, RACK).len();
    (domains, found.worst_survivor, found.load_max, least, found.bytes_max_ppm.max(1_010_000))
}

/// The fleets after each move of a plan, which is a hand-over, or a copy once what it takes the place of is destroyed; and whether
/// all moves of each store are made then, or none.
fn stopped_early(world: &World, plan: &Plan) -> Vec<(World, bool)> {
    let moves_later = |nth: usize| plan.tasks[nth + 1..].iter().any(|task| task.store == plan.tasks[nth].store);
    let ends = (0..plan.tasks.len()).filter(|nth| match plan.tasks[*nth].kind {
        TaskKind::HandOver { .. } => !moves_later(*nth),
        TaskKind::DestroyCopy { .. } => true,
        _ => false,
    });
    let cut = |end: usize| {
        let mut then = world.clone();
        then.complete(&Plan { tasks: plan.tasks[..=end].to_vec(), ..plan.clone() });
        (then, (0..=end).all(|nth| plan.tasks[end + 1..].iter().all(|task| task.store != plan.tasks[nth].store)))
    };
    ends.map(cut).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    /// However early a plan is stopped, the fleet is no worse than before it, but for at most two moves in the midst of an exchange, and
    /// then by one master on one host. The whole plan is the best of all, and no budget leaves the fleet worse.
    #[test]
    fn a_plan_that_is_stopped_anywhere_has_made_nothing_worse(
        hosts in 3usize..7,
        stores in 4usize..28,
        sizes in prop::collection::vec(1u64..1000, 28),
        turned in prop::collection::vec(any::<bool>(), 28),
    ) {
        let mut world = grown(hosts, 64, stores, 2);
        let names: Vec<StoreName> = world.cluster.stores.keys().cloned().collect();
        for ((name, size), turned) in names.iter().zip(&sizes).zip(&turned) {
            let mut spec = world.cluster.stores[name].spec.clone();
            spec.size_bytes = *size;
            let mut slots: Vec<SlotId> = world.cluster.stores[name].copies.keys().cloned().collect();
            if *turned {
                slots.reverse();
            }
            world.add_store(name, &spec, &slots);
        }
        world.see_all();
        let Ok(plan) = world.plan(all()) else { return Ok(()) };
        let before = quality(&world);
        let (mut best, mut worse) = (before, 0);
        let steps = stopped_early(&world, plan.plan());
        for (then, whole) in steps.iter().map(|(then, whole)| (quality(then), *whole)) {
            worse = if then > before { worse + 1 } else { 0 };
            prop_assert!(then.1 <= before.1 + 1_000 && then.2 <= before.2 + 1_000, "{then:?} after {before:?}");
            prop_assert!(worse <= 2, "{then:?} is worse than {before:?} for so long");
            best = if whole { best.min(then) } else { best };
        }
        prop_assert_eq!(steps.last().map(|(then, _)| quality(then)), Some(best), "the whole plan is the best of all");
        // No budget leaves the fleet worse. (A small one may end better than none: the search is not exact.)
        for max_bytes in [0, 500, 2_000, u64::MAX] {
            let budget = Budget { max_bytes: Some(max_bytes), ..Budget::default() };
            let mut then = world.clone();
            if let Ok(plan) = world.plan(Intent::Rebalance(budget)) {
                then.complete(plan.plan());
            }
            prop_assert!(quality(&then) <= before);
        }
    }
}

/// What a plan costs: the worst survivor comes first, and nothing moves that makes nothing better.
#[test]
fn plans_do_not_grow_without_need() {
    let (mut copies, mut hand_overs, mut plans) = (0, 0, 0);
    for hosts in 3..8 {
        for stores in [5, 9, 14, 22, 30] {
            for copies_each in [2u8, 3] {
                if usize::from(copies_each) > hosts {
                    continue;
                }
                let mut world = grown(hosts, 64, stores, copies_each);
                for n in 1..=stores {
                    world.store_mut(&store(n)).spec.size_bytes = 100 + 37 * (n as u64 % 7);
                }
                world.see_all();
                if let Ok(plan) = world.plan(all()) {
                    plans += 1;
                    copies += built(plan.plan());
                    let handed = |task: &&Task| matches!(task.kind, TaskKind::HandOver { .. });
                    hand_overs += plan.plan().tasks.iter().filter(handed).count();
                }
            }
        }
    }
    assert_eq!(plans, 50);
    assert!(copies <= 660 && hand_overs <= 280, "{copies} copies, {hand_overs} hand-overs");
}
