//! Which copies become masters: held against every other choice on small fleets.

use super::fullest::{least_fullest, level};
use super::random::declared;
use super::world::*;
use proptest::prelude::*;
use slot_planner::layout;
use slot_types::ids::*;
use slot_types::plan::{Intent, Plan, TaskKind};
use std::collections::{BTreeMap, BTreeSet};

/// What the fullest host bears after the loss of any one more, what it bears now, and how uneven all are.
type Score = (usize, usize, usize);

/// A fleet after a choice: by store, its master's host and the hosts of its other live copies.
type Fleet = BTreeMap<StoreName, (usize, Vec<usize>)>;

/// What weighs what: stores by name, hosts by number.
struct Scale {
    loads: BTreeMap<StoreName, usize>,
    weights: Vec<usize>,
}

impl Scale {
    fn of(world: &World) -> Scale {
        let loads = world.cluster.stores.iter().map(|(name, store)| (name.clone(), store.spec.load.into()));
        Scale { loads: loads.collect(), weights: world.weights() }
    }
}

fn score(scale: &Scale, fleet: &Fleet) -> Score {
    let hosts = scale.weights.len() - 1;
    let mut load = vec![0; hosts + 1];
    fleet.iter().for_each(|(name, (master, _))| load[*master] += scale.loads[name]);
    let levels: Vec<usize> = load.iter().zip(&scale.weights).map(|(load, weight)| level(*load, *weight)).collect();
    let fullest = levels.iter().copied().max().unwrap_or(0);
    let after = (1..=hosts).map(|lost| {
        let led = fleet.iter().filter(|(_, (master, _))| *master == lost);
        let heirs: Vec<(usize, &[usize])> = led.map(|(name, (_, others))| (scale.loads[name], &others[..])).collect();
        let mut left = load.clone();
        left[lost] = 0;
        least_fullest(&heirs, &mut left, &scale.weights)
    });
    let worst = after.max().unwrap_or(0).max(fullest);
    (worst, fullest, load.iter().zip(&levels).map(|(load, level)| load * level).sum())
}

/// The best of all choices: each of these stores' masters goes to one of its other copies.
fn best(scale: &Scale, fleet: &mut Fleet, open: &[StoreName]) -> Score {
    let Some((name, rest)) = open.split_first() else { return score(scale, fleet) };
    let known = fleet[name].clone();
    let tried: Vec<Score> = (0..known.1.len())
        .map(|nth| {
            let mut others = known.1.clone();
            let master = others.remove(nth);
            fleet.insert(name.clone(), (master, others));
            best(scale, fleet, rest)
        })
        .collect();
    fleet.insert(name.clone(), known);
    tried.into_iter().min().unwrap_or_else(|| score(scale, fleet))
}

fn number(host: &HostName) -> usize {
    host.as_str().trim_start_matches("imap").parse().unwrap()
}

/// The fleet as it is once these hosts are off.
fn without(world: &World, off: &BTreeSet<HostName>) -> Fleet {
    let store = |(name, store): (&StoreName, &slot_types::cluster::Store)| {
        let master = store.master.clone().unwrap();
        let others = store.copies.keys().filter(|slot| **slot != master && !off.contains(&slot.host));
        (name.clone(), (number(&master.host), others.map(|slot| number(&slot.host)).collect()))
    };
    world.cluster.stores.iter().map(store).collect()
}

fn chosen(plan: &Plan) -> BTreeMap<StoreName, usize> {
    let to = plan.tasks.iter().filter_map(|task| match &task.kind {
        TaskKind::HandOver { to, .. } | TaskKind::FailOver { to, .. } => Some((task.store.clone()?, number(&to.host))),
        _ => None,
    });
    to.collect()
}

/// Holds a plan that takes the masters off these hosts against every other choice.
fn held_against_all(world: &World, off: &BTreeSet<HostName>, plan: &Plan) -> (Score, Score) {
    let scale = Scale::of(world);
    let mut fleet = without(world, off);
    let chosen = chosen(plan);
    let open: Vec<StoreName> = chosen.keys().cloned().collect();
    let least = best(&scale, &mut fleet, &open);
    for (name, to) in chosen {
        let (_, others) = &fleet[&name];
        let others = others.iter().copied().filter(|host| *host != to).collect();
        fleet.insert(name, (to, others));
    }
    (score(&scale, &fleet), least)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_other_choice_has_a_better_worst_survivor_or_is_more_even(
        hosts in 3usize..7,
        picks in prop::collection::vec(prop::collection::vec(0usize..720, 4), 1..9),
        copies in prop::collection::vec(2u8..5, 9),
        two in any::<bool>(),
        declared in declared(),
    ) {
        let mut world = World::running(hosts, 12, 0, 1);
        let file = file(hosts, 12, 1, 1);
        let mut used = vec![0u16; hosts + 1];
        for (n, (pick, copies)) in picks.iter().zip(&copies).enumerate() {
            let mut left: Vec<usize> = (1..=hosts).collect();
            let wanted = usize::from(*copies).min(hosts);
            let on: Vec<usize> = pick[..wanted].iter().map(|pick| left.remove(pick % left.len())).collect();
            let slots = on.iter().map(|at| { used[*at] += 1; SlotId::new(host(*at), used[*at]) });
            let slots: Vec<SlotId> = slots.collect();
            world.add_store(&store(n + 1), &file.stores[&store(1)], &slots);
        }
        declared.iter().for_each(|declared| world.declare(declared));
        world.see_all();
        let off: BTreeSet<HostName> = if two && hosts > 3 { [host(1), host(2)].into() } else { [host(1)].into() };
        if let Ok(plan) = world.plan(Intent::DrainHosts(off.clone())) {
            let (made, least) = held_against_all(&world, &off, plan.plan());
            prop_assert_eq!(made, least, "drain");
        }
        let dead = BTreeSet::from([host(1)]);
        world.silent(&host(1), 60_000);
        world.attest(&host(1));
        if let Ok(plan) = world.plan(Intent::FailOverHost(host(1))) {
            let (made, least) = held_against_all(&world, &dead, plan.plan());
            prop_assert_eq!(made, least, "failover");
        }
    }
}

/// Evenness alone would send the master to imap2, which leads nothing; but it is the one that imap4's two masters would go to.
#[test]
fn a_better_worst_survivor_comes_before_even_masters() {
    let mut world = World::running(5, 12, 0, 1);
    let spec = &file(5, 12, 1, 1).stores[&store(1)];
    let at = |on: &[(usize, u16)]| on.iter().map(|(n, slot)| SlotId::new(host(*n), *slot)).collect::<Vec<_>>();
    world.add_store(&store(1), spec, &at(&[(1, 1), (2, 1), (3, 1)]));
    world.add_store(&store(2), spec, &at(&[(3, 2), (5, 1)]));
    world.add_store(&store(3), spec, &at(&[(4, 1), (2, 2)]));
    world.add_store(&store(4), spec, &at(&[(4, 2), (2, 3)]));
    world.see_all();
    let plan = world.plan(Intent::DrainHost(host(1))).unwrap();
    assert_eq!(chosen(plan.plan()), BTreeMap::from([(store(1), 3)]));
    let (made, least) = held_against_all(&world, &BTreeSet::from([host(1)]), plan.plan());
    assert_eq!((made, made.0), (least, 2_000), "with imap2 it would be 3");
}

/// Many masters with many choices each: the same every time, and nobody is swamped.
#[test]
fn of_a_large_fleet_nobody_is_swamped() {
    let mut world = World::running(60, 120, 1_500, 4);
    world.silent(&host(7), 60_000);
    world.attest(&host(7));
    let plan = world.plan(Intent::FailOverHost(host(7))).unwrap();
    assert_eq!(world.plan(Intent::FailOverHost(host(7))).unwrap().digest(), plan.digest());
    let mut load = vec![0usize; 61];
    world.complete(plan.plan());
    world.cluster.stores.values().for_each(|store| load[number(&store.master.as_ref().unwrap().host)] += 1);
    assert!(load.iter().max() <= Some(&27), "{load:?}");
}

/// What the placement engine would choose for masters that have to leave these hosts, every other one staying where it is.
fn by_the_engine(hosts: usize, fleet: &Fleet, off: &BTreeSet<HostName>, open: &[StoreName]) -> Fleet {
    let gone: BTreeSet<usize> = off.iter().map(number).collect();
    let mut problem = layout::Fleet {
        hosts: (0..=hosts).map(|n| layout::Host { state: state(n, &gone), ..layout::Host::new(1_000, 100) }).collect(),
        ..layout::Fleet::default()
    };
    let on: Vec<Vec<u32>> = fleet
        .values()
        .map(|(master, others)| {
            std::iter::once(*master).chain(others.iter().copied()).map(|host| host as u32).collect()
        })
        .collect();
    for (n, name) in (0u32..).zip(fleet.keys()) {
        problem.no_master.extend((!open.contains(name)).then_some((n, layout::NOWHERE)));
    }
    let store = |on: &Vec<u32>| layout::Store { size: 1, load: 1, copies: on.len() as u8, level: layout::HOST };
    let before = layout::Layout::of(&mut problem, on.iter().map(|on| (store(on), on.as_slice())));
    let found = layout::solve(&problem, &before, &layout::Goal::FailOver, &layout::Wish::default()).unwrap();
    let led = (0u32..).map(|n| found.layout.master(&problem, n) as usize);
    let chosen = fleet.iter().zip(led).map(|((name, (was, others)), master)| {
        let others =
            if master == *was { others.clone() } else { others.iter().copied().filter(|o| *o != master).collect() };
        (name.clone(), (master, others))
    });
    chosen.collect()
}

fn state(n: usize, gone: &BTreeSet<usize>) -> layout::State {
    if n == 0 || gone.contains(&n) { layout::State::Down } else { layout::State::Active }
}

/// What no choice can avoid: what is there without these masters, and even shares of all before and after one more loss.
fn unavoidable(scale: &Scale, fleet: &Fleet, off: &BTreeSet<HostName>, open: &[StoreName]) -> usize {
    let hosts = scale.weights.len() - 1;
    let rest: Fleet =
        fleet.iter().filter(|(name, _)| !open.contains(name)).map(|(n, f)| (n.clone(), f.clone())).collect();
    score(scale, &rest).0.max(1_000 * fleet.len().div_ceil(hosts - off.len() - 1))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    /// On fleets where not every choice can be tried: no worse than the engine's own choice, and within one master, or a quarter, of
    /// what no choice can avoid.
    #[test]
    fn on_larger_fleets_it_is_no_worse_than_the_engines_own(
        hosts in 8usize..20,
        picks in prop::collection::vec((prop::collection::vec(0usize..5_040, 4), 2usize..5), 100),
        several in 1usize..3,
    ) {
        let mut world = World::running(hosts, 64, 0, 1);
        let spec = file(hosts, 64, 1, 1).stores[&store(1)].clone();
        let mut used = vec![0u16; hosts + 1];
        for (n, (pick, copies)) in picks.iter().take(hosts * 5).enumerate() {
            let mut left: Vec<usize> = (1..=hosts).collect();
            let on = pick[..*copies].iter().map(|pick| left.remove(pick % left.len()));
            let slots: Vec<SlotId> = on.map(|at| { used[at] += 1; SlotId::new(host(at), used[at]) }).collect();
            world.add_store(&store(n + 1), &spec, &slots);
        }
        world.see_all();
        let off: BTreeSet<HostName> = (1..=several).map(host).collect();
        let mut planned = vec![(off.clone(), world.plan(Intent::DrainHosts(off)))];
        world.silent(&host(1), 60_000);
        world.attest(&host(1));
        planned.push(([host(1)].into(), world.plan(Intent::FailOverHost(host(1)))));
        for (off, plan) in planned {
            // A store may have all its copies on the hosts that are drained.
            let Ok(plan) = plan else { continue };
            let (mut ours, chosen) = (without(&world, &off), chosen(plan.plan()));
            let open: Vec<StoreName> = chosen.keys().cloned().collect();
            let scale = Scale::of(&world);
            let engine = score(&scale, &by_the_engine(hosts, &ours, &off, &open));
            let least = unavoidable(&scale, &ours, &off, &open);
            for (name, to) in chosen {
                let others = ours[&name].1.iter().copied().filter(|host| *host != to).collect();
                ours.insert(name, (to, others));
            }
            let ours = score(&scale, &ours);
            prop_assert!(ours <= engine, "{:?} and the engine {:?}", ours, engine);
            prop_assert!(ours.0 <= (least + 1_000).max(least * 5 / 4), "{:?}, and {} can't be avoided", ours, least);
        }
    }
}
