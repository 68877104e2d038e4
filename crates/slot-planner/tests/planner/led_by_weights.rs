//! The weights of the cluster file govern which of the copies that are there leads: held against every other choice.
//!
//! What always holds: the judge counts masters and survivors from where copies are, weighs them as the file does, and asks nothing of
//! the planner. Between choices that weigh the same the order of aims decides.

use crate::fullest::least_masters;
use crate::world::*;
use slot_planner::explain_plan;
use slot_types::cluster::*;
use slot_types::ids::*;
use slot_types::plan::{Intent, Plan, TaskKind};
use std::collections::{BTreeMap, BTreeSet};

/// By store: the host of its master, and the hosts of all its copies that are alive and stay.
type Fleet = BTreeMap<StoreName, (usize, Vec<usize>)>;

/// What a fleet weighs; then masters of the fullest host after the loss of any one more, of the fullest host, the sum of squares.
type Worth = (u64, usize, usize, usize);

fn weights(survivor: u16, masters: u16) -> Weights {
    Weights { survivor, masters, ..Weights::default() }
}

fn number(host: &HostName) -> usize {
    host.as_str().trim_start_matches("imap").parse().unwrap()
}

fn worth(hosts: usize, fleet: &Fleet, weights: &Weights) -> Worth {
    let mut load = vec![0; hosts + 1];
    fleet.values().for_each(|(master, _)| load[*master] += 1);
    let fullest = load.iter().copied().max().unwrap();
    let after = (1..=hosts).map(|lost| {
        let led = fleet.values().filter(|(master, _)| *master == lost);
        let heirs: Vec<Vec<usize>> =
            led.map(|(_, on)| on.iter().copied().filter(|host| *host != lost).collect()).collect();
        let mut left = load.clone();
        left[lost] = 0;
        least_masters(&heirs.iter().map(Vec::as_slice).collect::<Vec<_>>(), &mut left)
    });
    let worst = after.max().unwrap().max(fullest);
    let weighed = 1_000 * (u64::from(weights.survivor) * worst as u64 + u64::from(weights.masters) * fullest as u64);
    (weighed, worst, fullest, load.iter().map(|n| n * n).sum())
}

/// The least of all choices: the master of each of these stores goes to any of its copies but the one that it leaves.
fn least(hosts: usize, fleet: &mut Fleet, open: &[StoreName], weights: &Weights) -> Worth {
    let Some((name, rest)) = open.split_first() else { return worth(hosts, fleet, weights) };
    let (was, on) = fleet[name].clone();
    let tried = on.iter().filter(|host| **host != was).map(|host| {
        fleet.get_mut(name).unwrap().0 = *host;
        least(hosts, fleet, rest, weights)
    });
    let tried: Vec<Worth> = tried.collect();
    fleet.get_mut(name).unwrap().0 = was;
    tried.into_iter().min().expect("a plan chose one")
}

/// The fleet as it is, without the copies on these hosts; a master that is there has still to leave.
fn fleet(world: &World, off: &BTreeSet<HostName>) -> Fleet {
    let store = |(name, store): (&StoreName, &Store)| {
        let on = store.copies.keys().filter(|slot| !off.contains(&slot.host)).map(|slot| number(&slot.host));
        (name.clone(), (number(&store.master.as_ref().unwrap().host), on.collect()))
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

/// Copies of each store on up to so many hosts, wherever the dice fall; but half of all first replicas are on the host after their
/// master's, and half of the masters in the front half, so that the loss of some hosts is worse than that of others.
fn scattered(hosts: usize, stores: usize, most: usize, dice: &mut Dice) -> World {
    scattered_after(hosts, stores, (0, most), dice)
}

/// The same, the first of these stores being led by the first host.
fn scattered_after(hosts: usize, stores: usize, (first, most): (usize, usize), dice: &mut Dice) -> World {
    let mut world = World::running(hosts, 64, 0, 1);
    let spec = file(hosts, 64, 1, 1).stores[&store(1)].clone();
    let mut used = vec![0u16; hosts + 1];
    for n in 1..=stores {
        let mut left: Vec<usize> = (1..=hosts).collect();
        let copies = (2 + dice.below(most - 1)).min(hosts);
        let front = if dice.below(2) == 0 { hosts } else { hosts.div_ceil(2) };
        let mut on = vec![left.remove(if n <= first { 0 } else { dice.below(front) })];
        while on.len() < copies {
            let next = left.iter().position(|host| *host == on[0] % hosts + 1).filter(|_| dice.below(2) == 0);
            on.push(left.remove(next.unwrap_or_else(|| dice.below(left.len()))));
        }
        let slots = on.into_iter().map(|at| {
            used[at] += 1;
            SlotId::new(host(at), used[at])
        });
        world.add_store(&store(n), &spec, &slots.collect::<Vec<_>>());
    }
    world.see_all();
    world
}

/// Numbers that look random and are the same every time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n
    }
}

/// What takes masters off hosts, with the world it is asked in and the hosts whose copies do not count then.
fn asked(world: &World) -> Vec<(&'static str, World, Intent, BTreeSet<HostName>)> {
    let one = BTreeSet::from([host(1)]);
    let two = BTreeSet::from([host(1), host(2)]);
    let mut dead = world.clone();
    dead.silent(&host(1), 60_000);
    dead.attest(&host(1));
    let led =
        |world: &World| world.cluster.stores.values().find_map(|s| s.master.clone().filter(|m| m.host == host(1)));
    let mut all = vec![
        ("drain", world.clone(), Intent::DrainHost(host(1)), one.clone()),
        ("drain of two", world.clone(), Intent::DrainHosts(two), BTreeSet::from([host(1), host(2)])),
        ("empty", world.clone(), Intent::EmptyHost(host(1)), one.clone()),
        ("failover of a host", dead.clone(), Intent::FailOverHost(host(1)), one.clone()),
    ];
    if let Some(slot) = led(world) {
        // The former master follows then, and could take over.
        let intent = Intent::FailOverSlot { slot, to: None };
        all.push(("hand-over of one slot", world.clone(), intent.clone(), BTreeSet::new()));
        all.push(("failover of one slot", dead, intent, one));
    }
    all
}

fn planned(mut world: World, intent: &Intent, weights: Option<Weights>) -> Option<BTreeMap<StoreName, usize>> {
    world.cluster.policy.weights = weights;
    world.plan(intent.clone()).ok().map(|plan| chosen(plan.plan()))
}

/// The fleet with these masters where they were chosen to go.
fn led(mut fleet: Fleet, chosen: &BTreeMap<StoreName, usize>) -> Fleet {
    chosen.iter().for_each(|(name, to)| fleet.get_mut(name).unwrap().0 = *to);
    fleet
}

#[test]
fn no_other_choice_weighs_less_and_each_weight_decides() {
    let mut decided: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut held = 0;
    for seed in 0..400 {
        let mut dice = Dice(seed);
        let (hosts, stores) = (4 + dice.below(3), 5 + dice.below(7));
        let world = scattered(hosts, stores, 3, &mut dice);
        for (what, world, intent, off) in asked(&world) {
            let ordered = planned(world.clone(), &intent, None);
            for (one, two) in
                [("survivor", [weights(0, 10), weights(400, 10)]), ("masters", [weights(10, 0), weights(10, 400)])]
            {
                let of_each = two.map(|weights| {
                    let chosen = planned(world.clone(), &intent, Some(weights))?;
                    let (mut before, open) = (fleet(&world, &off), chosen.keys().cloned().collect::<Vec<_>>());
                    let made = worth(hosts, &led(before.clone(), &chosen), &weights);
                    let least = least(hosts, &mut before, &open, &weights);
                    assert_eq!(made, least, "seed {seed}, {what} by {weights:?}: {chosen:?}");
                    held += 1;
                    Some(chosen)
                });
                assert_eq!(of_each[0].is_some(), ordered.is_some(), "weights forbid nothing");
                if of_each[0] != of_each[1] {
                    decided.entry(one).or_default().insert(what);
                }
            }
            // Where copies go as well, these bear on that.
            if what != "empty" {
                let others = Weights { domain: 400, bytes: 400, moved: 400, ..Weights::default() };
                assert_eq!(planned(world, &intent, Some(others)), ordered, "seed {seed}, {what}");
            }
        }
    }
    assert!(held > 5_000, "{held}");
    for one in ["survivor", "masters"] {
        let all = ["drain", "empty", "failover of a host"];
        assert!(decided.get(one).is_some_and(|what| all.iter().all(|one| what.contains(one))), "{one}: {decided:?}");
    }
}

/// What `explain` says of a master that goes by weights is what the judge counts.
#[test]
fn a_reason_by_weights_is_the_true_one() {
    let mut said = 0;
    for seed in 0..200 {
        let mut dice = Dice(seed);
        let (hosts, stores) = (4 + dice.below(3), 4 + dice.below(8));
        let mut world = scattered(hosts, stores, 3, &mut dice);
        let weights = [weights(3, 10), weights(10, 400), weights(400, 10)][seed as usize % 3];
        world.cluster.policy.weights = Some(weights);
        let off = BTreeSet::from([host(1)]);
        let Ok(plan) = world.plan(Intent::DrainHost(host(1))) else { continue };
        let now = led(fleet(&world, &off), &chosen(plan.plan()));
        let here = worth(hosts, &now, &weights);
        for task in explain_plan(&world.cluster, &world.evidence, &world.inputs, plan.plan()) {
            let others = task.places.iter().flat_map(|place| &place.others);
            for other in others.filter(|other| now[&task.store].1.contains(&number(&other.host))) {
                let mut then = now.clone();
                then.get_mut(&task.store).unwrap().0 = number(&other.host);
                let there = worth(hosts, &then, &weights);
                let by_weights = other.why.starts_with("by the weights of the cluster file");
                assert_eq!(by_weights, here.0 != there.0, "seed {seed}, {}: {}", task.store, other.why);
                if by_weights {
                    let (more, to) = ((there.0 - here.0) / 1_000, &task.to.host);
                    let words = format!(
                        "by the weights of the cluster file it comes to {more} more than {to}: a host's loss could leave {} masters \
                         on one host, and the fullest would have {}; with {to} it is {} and {}",
                        there.1, there.2, here.1, here.2
                    );
                    assert_eq!(other.why, words, "seed {seed}");
                    said += 1;
                }
            }
        }
    }
    assert!(said > 50, "{said}");
}

/// Where not every choice can be tried: by weight never worse than what the order alone chooses, and somewhere better.
#[test]
fn on_larger_fleets_it_never_weighs_more_than_the_order_of_aims() {
    let mut held = 0;
    for seed in 0..100 {
        let mut dice = Dice(seed);
        let hosts = 8 + dice.below(10);
        // Thirteen masters leave, most of which have two or three ways to go.
        let world = scattered_after(hosts, hosts * 3, (13, 4), &mut dice);
        let mut dead = world.clone();
        dead.silent(&host(1), 60_000);
        dead.attest(&host(1));
        let off = BTreeSet::from([host(1)]);
        for (world, intent) in [(world, Intent::DrainHost(host(1))), (dead, Intent::FailOverHost(host(1)))] {
            let Some(ordered) = planned(world.clone(), &intent, None) else { continue };
            for weights in [weights(10, 1), weights(1, 10), weights(400, 300)] {
                let weighed = planned(world.clone(), &intent, Some(weights)).expect("weights forbid nothing");
                let [ours, theirs] =
                    [weighed, ordered.clone()].map(|chosen| worth(hosts, &led(fleet(&world, &off), &chosen), &weights));
                assert!(ours <= theirs, "seed {seed}, {intent} by {weights:?}: {ours:?}, in order {theirs:?}");
                held += 1;
            }
        }
    }
    assert!(held > 200, "{held}");
}

/// imap4 leads three and is safe to lose; imap3 leads one, and would take imap2's three. With imap4 the fullest host has four and so has
/// the worst survivor; with imap3 it is three and five. Twelve more masters leave, with three ways each.
#[test]
fn among_many_choices_weights_decide_where_the_order_chooses_otherwise() {
    let mut world = World::running(14, 64, 0, 1);
    let spec = file(14, 64, 1, 1).stores[&store(1)].clone();
    let mut stores = vec![vec![1, 3, 4], vec![3, 9], vec![4, 10], vec![4, 11], vec![4, 12]];
    stores.extend((0..3).map(|_| vec![2, 3]));
    stores.extend((0..12).map(|n| vec![1, 5 + n % 10, 5 + (n + 3) % 10, 5 + (n + 6) % 10]));
    let mut used = [0u16; 15];
    for (n, on) in (1..).zip(stores) {
        let slots = on.into_iter().map(|at| {
            used[at] += 1;
            SlotId::new(host(at), used[at])
        });
        world.add_store(&store(n), &spec, &slots.collect::<Vec<_>>());
    }
    world.see_all();
    let off = BTreeSet::from([host(1)]);
    let intent = Intent::DrainHost(host(1));
    let made = |weights: Option<Weights>| {
        let chosen = planned(world.clone(), &intent, weights).unwrap();
        let (_, worst, fullest, _) = worth(14, &led(fleet(&world, &off), &chosen), &Weights::default());
        (chosen[&store(1)], worst, fullest)
    };
    assert_eq!(made(None), (4, 4, 4));
    assert_eq!(made(Some(weights(10, 1))), (4, 4, 4));
    assert_eq!(made(Some(weights(10, 10))), (4, 4, 4), "equal weight: the order decides");
    assert_eq!(made(Some(weights(1, 10))), (3, 5, 3));
}
