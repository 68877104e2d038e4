//! What a loss would do, held against what a failover then does.

use super::world::*;
use slot_planner::WhatIf;
use slot_types::cluster::*;
use slot_types::engine::EngineRole;
use slot_types::ids::*;
use slot_types::plan::{Intent, TaskKind};
use slot_types::view::{Loss, LossLine, Losses, Lost};
use std::collections::{BTreeMap, BTreeSet};

fn loss(world: &World, lost: Lost) -> Loss {
    WhatIf::new(&world.cluster, &world.evidence, &world.inputs).of(&lost).expect("it is there")
}
fn of_host(world: &World, n: usize) -> Loss {
    loss(world, Lost::Host(host(n)))
}
fn each(world: &World) -> Losses {
    WhatIf::new(&world.cluster, &world.evidence, &world.inputs).each()
}
fn rack(name: &str) -> Domain {
    Domain(vec!["ny".into(), name.into()])
}

#[test]
fn masters_go_where_the_failover_of_the_host_then_sends_them() {
    for (hosts, stores, copies) in [(3, 6, 2), (4, 12, 3), (6, 17, 2)] {
        let before = World::running(hosts, 20, stores, copies);
        for dead in 1..=hosts {
            let said = of_host(&before, dead);
            let mut world = before.clone();
            world.silent(&host(dead), 60_000);
            world.attest(&host(dead));
            let plan = world.plan(Intent::FailOverHost(host(dead))).expect("a sheet");
            let done: BTreeMap<StoreName, SlotId> = plan
                .plan()
                .tasks
                .iter()
                .filter_map(|t| match &t.kind {
                    TaskKind::FailOver { to, .. } => Some((t.store.clone()?, to.clone())),
                    _ => None,
                })
                .collect();
            let predicted: BTreeMap<StoreName, SlotId> =
                said.moves.iter().map(|m| (m.store.clone(), m.to.clone())).collect();
            assert_eq!(predicted, done, "{hosts} hosts, {stores} stores, imap{dead}");
            assert_eq!((said.stops.len(), said.served as usize), (0, stores));
            world.complete(plan.plan());
            let load = |h: &HostName| world.cluster.masters_on(h).count();
            let fullest = said.fullest.expect("masters move");
            assert_eq!(load(&fullest.host), fullest.after as usize);
            assert!(world.cluster.hosts.keys().all(|h| load(h) <= fullest.after as usize));
        }
    }
}

#[test]
fn a_store_with_no_copy_elsewhere_stops_and_one_with_a_silent_one_says_why() {
    let mut world = World::running(3, 8, 3, 2);
    let replica = world.cluster.stores[&store(1)].copies.keys().find(|s| s.host != host(1)).cloned().unwrap();
    assert!(of_host(&world, 1).stops.is_empty());
    world.silent(&replica.host, 60_000);
    let said = of_host(&world, 1);
    let stop = said.stops.iter().find(|s| s.store == store(1)).expect("its replica is silent");
    assert_eq!(stop.why, BTreeMap::from([(replica.clone(), "its host's agent is silent".to_string())]));

    let mut world = World::running(3, 8, 3, 1);
    let said = of_host(&world, 1);
    assert_eq!((said.stops.len(), said.moves.len(), said.fullest.clone(), said.served), (1, 0, None, 2));
    assert!(said.stops[0].why.is_empty(), "it has no other copy");
    // What is down is not lost again.
    world.silent(&host(1), 60_000);
    let said = of_host(&world, 1);
    assert_eq!((said.stops.len(), said.down_already.as_slice()), (0, [store(1)].as_slice()));
}

#[test]
fn a_rack_takes_both_copies_when_they_are_both_in_it() {
    let mut world = World::running(4, 8, 4, 2);
    for n in 1..=4 {
        world.host_mut(&host(n)).at = rack(if n <= 2 { "r1" } else { "r2" });
    }
    let inside = |name: &StoreName, world: &World, hosts: &[usize]| {
        world.cluster.stores[name].copies.keys().all(|slot| hosts.iter().any(|n| slot.host == host(*n)))
    };
    let said = loss(&world, Lost::Domain(rack("r1")));
    let expected: BTreeSet<StoreName> =
        world.cluster.stores.keys().filter(|name| inside(name, &world, &[1, 2])).cloned().collect();
    assert!(!expected.is_empty(), "the ring puts two neighbours into one rack");
    assert_eq!(said.stops.iter().map(|s| s.store.clone()).collect::<BTreeSet<_>>(), expected);
    assert_eq!(said.hosts, [host(1), host(2)]);
    assert!(said.moves.iter().all(|m| m.to.host == host(3) || m.to.host == host(4)));
    // The whole site is a domain too, and nothing is left of it.
    let all = loss(&world, Lost::Domain(Domain(vec!["ny".into()])));
    assert_eq!((all.stops.len(), all.served), (4, 0));
    let losses = each(&world);
    assert_eq!((losses.hosts.len(), losses.racks.len()), (4, 2));
    let worst = LossLine::worst(&losses.racks).unwrap();
    assert!(losses.racks.iter().all(|line| line.stops <= worst.stops));
    assert!(WhatIf::new(&world.cluster, &world.evidence, &world.inputs).of(&Lost::Domain(rack("r3"))).is_none());
    assert!(WhatIf::new(&world.cluster, &world.evidence, &world.inputs).of(&Lost::Host(host(5))).is_none());
}

#[test]
fn racks_of_one_host_each_are_no_racks() {
    assert!(each(&World::running(3, 8, 3, 2)).racks.is_empty());
}

#[test]
fn one_copy_left_and_writes_refused_are_counted() {
    let mut world = World::running(3, 8, 3, 2);
    let touched: Vec<StoreName> = world
        .cluster
        .copies_on(&host(1))
        .map(|(name, _, _)| name.clone())
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();
    let said = of_host(&world, 1);
    assert_eq!((&said.single, said.short.len()), (&touched, 0));
    // R24: its one replica must hold every record.
    for name in world.cluster.stores.keys().cloned().collect::<Vec<_>>() {
        world.store_mut(&name).spec.sync_copies = 1;
    }
    assert_eq!(of_host(&world, 1).short, touched);
    let three = World::running(4, 12, 4, 3);
    assert!(of_host(&three, 1).single.is_empty(), "two are left");
}

#[test]
fn a_copy_that_is_behind_is_not_chosen_before_the_furthest() {
    let mut world = World::running(4, 12, 1, 3);
    let master = world.cluster.stores[&store(1)].master.clone().unwrap();
    let replicas: Vec<SlotId> =
        world.cluster.stores[&store(1)].copies.keys().filter(|s| **s != master).cloned().collect();
    world.said(&replicas[0], |s| s.tip.position.length = 90);
    let said = loss(&world, Lost::Host(master.host.clone()));
    assert_eq!(said.moves[0].to, replicas[1]);
    world.said(&replicas[1], |s| s.role = EngineRole::Diverged);
    assert_eq!(loss(&world, Lost::Host(master.host)).moves[0].to, replicas[0]);
}

#[test]
fn the_worst_stops_the_most_and_of_equals_it_is_the_first() {
    let world = World::running(3, 8, 3, 2);
    let mut lines = each(&world).hosts;
    assert_eq!(LossLine::worst(&lines).unwrap().lost, Lost::Host(host(1)));
    lines[2].fullest.as_mut().unwrap().after += 1;
    assert_eq!(LossLine::worst(&lines).unwrap().lost, Lost::Host(host(3)));
    lines[1].stops = 1;
    assert_eq!(LossLine::worst(&lines).unwrap().lost, Lost::Host(host(2)));
    assert!(LossLine::worst(&[]).is_none());
}

/// What the loss of two hosts does, for every pair: the worst is the one that is said.
fn worst_of_all(world: &World) -> Option<(u32, u32)> {
    let hosts: Vec<HostName> = world.cluster.hosts.keys().cloned().collect();
    let pairs = hosts.iter().enumerate().flat_map(|(n, a)| hosts[n + 1..].iter().map(move |b| [a.clone(), b.clone()]));
    let line = |pair: [HostName; 2]| loss(world, Lost::Hosts(pair.into())).line(Vec::new());
    pairs.map(line).map(|line| (line.stops, line.fullest.map_or(0, |fullest| fullest.after))).max()
}

#[test]
fn the_worst_pair_is_the_worst_of_all_pairs() {
    for (hosts, stores, copies) in [(3, 6, 2), (5, 12, 2), (6, 9, 1), (6, 17, 3)] {
        let world = World::running(hosts, 20, stores, copies);
        let pair = WhatIf::new(&world.cluster, &world.evidence, &world.inputs).worst_pair();
        let count = (hosts * (hosts - 1) / 2) as u64;
        assert_eq!((pair.looked_at, pair.of), (count, count));
        let worst = pair.worst.expect("two hosts");
        assert!(matches!(&worst.lost, Lost::Hosts(two) if two.len() == 2));
        assert_eq!(Some(worst.stops), worst_of_all(&world).map(|(stops, _)| stops), "{hosts} hosts, {copies} copies");
        if copies == 3 {
            assert_eq!(worst.stops, 0);
            assert_eq!(worst.fullest.map(|f| f.after), worst_of_all(&world).map(|(_, fullest)| fullest));
        }
    }
    let one = World::running(1, 4, 2, 1);
    let pair = WhatIf::new(&one.cluster, &one.evidence, &one.inputs).worst_pair();
    assert_eq!((pair.worst, pair.looked_at, pair.of), (None, 0, 0));
}

/// More pairs than are looked at one by one: the one that stops the most stores is found all the same.
#[test]
fn of_many_hosts_the_pair_that_stops_the_most_is_among_those_looked_at() {
    let mut world = World::running(200, 40, 1_000, 2);
    let spec = world.cluster.stores[&store(1)].spec.clone();
    for n in 0..9 {
        let slots = [150, 180].map(|host_number| SlotId::new(host(host_number), 31 + n));
        world.add_store(&store(2_000 + usize::from(n)), &spec, &slots);
    }
    world.see_all();
    let pair = WhatIf::new(&world.cluster, &world.evidence, &world.inputs).worst_pair();
    assert_eq!((pair.of, pair.looked_at < pair.of), (19_900, true));
    let worst = pair.worst.unwrap();
    assert_eq!((worst.lost.name(), worst.stops >= 9), ("imap150 imap180".into(), true), "{worst:?}");
}
