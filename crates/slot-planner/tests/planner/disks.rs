//! What disks really have free, in every plan that builds copies.

use crate::world::*;
use slot_planner::check::check;
use slot_planner::{DrainBlock, Refusal, WhyNot};
use slot_types::cluster::*;
use slot_types::disk::{Disk, KeepFree};
use slot_types::evidence::Seen;
use slot_types::ids::*;
use slot_types::plan::*;
use std::collections::BTreeMap;

fn disk(world: &mut World, h: usize, free_bytes: u64) {
    let value = Disk { free_bytes, total_bytes: 10_000 };
    world.evidence.hosts.get_mut(&host(h)).unwrap().disk = Seen::Known { value, age_ms: 500 };
}

/// Bytes of the copies that a plan builds, by host.
fn built(world: &World, plan: &Plan) -> BTreeMap<HostName, u64> {
    let mut bytes = BTreeMap::new();
    for task in &plan.tasks {
        if let TaskKind::BuildCopy { slot, .. } = &task.kind {
            let name = task.store.as_ref().unwrap();
            *bytes.entry(slot.host.clone()).or_default() +=
                world.evidence.copy_bytes(name, 100, world.cluster.stores.get(name));
        }
    }
    bytes
}

#[test]
fn a_host_is_emptied_onto_the_disks_that_have_the_bytes() {
    let mut world = World::running(4, 8, 12, 2);
    // Six copies of 100 bytes leave; two hosts have slots, and room for two and for none.
    disk(&mut world, 1, 250);
    disk(&mut world, 3, 99);
    disk(&mut world, 4, 10_000);
    let Err(Refusal::Drain { because, .. }) = world.plan(Intent::EmptyHost(host(2))) else { panic!("not refused") };
    let why: Vec<&BTreeMap<HostName, WhyNot>> = because
        .values()
        .filter_map(|b| if let DrainBlock::NoRoom { why, .. } = b { Some(why) } else { None })
        .collect();
    let full = WhyNot::DiskFull { takes_bytes: 100, spare_bytes: 99 };
    assert!(why.iter().any(|why| why.get(&host(3)) == Some(&full)), "{because:?}");
    let said = Refusal::Drain { hosts: [host(2)].into(), because }.to_string();
    assert!(said.contains("imap3: its disk has 99 B to spare, the copy takes 100 B"), "{said}");
    // A drain says so beforehand, with the stores and their bytes.
    let drain = world.plan(Intent::DrainHost(host(2))).unwrap();
    let notes: Vec<&str> = drain.plan().notes.iter().map(|note| note.text.as_str()).collect();
    assert!(notes.iter().any(|note| note.contains("no room elsewhere") && note.contains("100 B")), "{notes:?}");
    // With as many bytes as the copies take it goes, and no disk gets more than it has.
    disk(&mut world, 1, 300);
    disk(&mut world, 3, 200);
    let plan = world.plan(Intent::EmptyHost(host(2))).unwrap();
    let bytes = built(&world, plan.plan());
    assert_eq!(bytes.values().sum::<u64>(), 600);
    assert!(
        bytes.get(&host(1)).is_none_or(|b| *b <= 300) && bytes.get(&host(3)).is_none_or(|b| *b <= 200),
        "{bytes:?}"
    );
}

#[test]
fn what_policy_keeps_free_is_no_room() {
    let mut world = World::running(4, 8, 4, 2);
    let from = world.cluster.stores[&store(1)].master.clone().unwrap();
    let ask = Intent::MoveCopy { slot: from, to: Some(slot("imap4/8")) };
    disk(&mut world, 4, 1_099);
    assert!(world.plan(ask.clone()).is_ok());
    for keep in [KeepFree::Percent(10), KeepFree::Bytes(1_000)] {
        world.cluster.policy.copy_keep_free = keep;
        let refused = world.plan(ask.clone());
        let why = WhyNot::DiskFull { takes_bytes: 100, spare_bytes: 99 };
        assert_eq!(refused, Err(Refusal::NotThisPlace { store: store(1), to: slot("imap4/8"), why }));
    }
}

#[test]
fn a_copy_takes_what_its_store_holds_where_that_is_more_than_the_file_reserves() {
    let mut world = World::running(4, 8, 4, 2);
    let from = world.cluster.stores[&store(1)].master.clone().unwrap();
    world.said(&from, |status| status.bytes = 5_000);
    disk(&mut world, 4, 4_999);
    let refused = world.plan(Intent::MoveCopy { slot: from, to: Some(slot("imap4/8")) });
    let why = WhyNot::DiskFull { takes_bytes: 5_000, spare_bytes: 4_999 };
    assert_eq!(refused, Err(Refusal::NotThisPlace { store: store(1), to: slot("imap4/8"), why }));
}

#[test]
fn a_lost_copy_is_rebuilt_where_there_are_bytes_or_not_at_all() {
    let mut world = World::running(4, 8, 4, 2);
    let copies = world.cluster.stores[&store(1)].copies.clone();
    let master = world.cluster.stores[&store(1)].master.clone().unwrap();
    let replica = copies.keys().find(|slot| **slot != master).unwrap().clone();
    world.silent(&replica.host, 60_000);
    let others: Vec<usize> = (1..=4).filter(|h| host(*h) != master.host && host(*h) != replica.host).collect();
    disk(&mut world, others[0], 50);
    disk(&mut world, others[1], 100);
    let plan = world.plan(Intent::Rebuild(Scope::Store(store(1)))).unwrap();
    assert_eq!(built(&world, plan.plan()).into_keys().collect::<Vec<_>>(), [host(others[1])]);
    // The same plan is refused by the checker once the disk is fuller than the planner saw.
    disk(&mut world, others[1], 99);
    let mut late = plan.plan().clone();
    late.evidence = world.evidence.only(&late.evidence.hosts.keys().cloned().collect());
    let fault = check(&world.cluster, &world.evidence, world.inputs.fleet_version, late).unwrap_err();
    assert!(fault.to_string().contains("would get 100 bytes of new copies, it has 99 to spare"), "{fault}");
    let Err(Refusal::NoRoom { excluded, .. }) = world.plan(Intent::Rebuild(Scope::Store(store(1)))) else {
        panic!("not refused")
    };
    assert_eq!(excluded.get(&host(others[0])), Some(&WhyNot::DiskFull { takes_bytes: 100, spare_bytes: 50 }));
}

#[test]
fn what_is_still_to_come_of_a_copy_that_was_begun_is_taken_already() {
    let mut world = World::running(4, 8, 4, 2);
    let master = world.cluster.stores[&store(2)].master.clone().unwrap();
    let begun = world.cluster.stores[&store(2)].copies.keys().find(|slot| **slot != master).unwrap().clone();
    let copy = world.store_mut(&store(2)).copies.get_mut(&begun).unwrap();
    (copy.whole, copy.state) = (false, CopyState::Building);
    world.said(&begun, |status| status.bytes = 30);
    let h: usize = begun.host.as_str().trim_start_matches("imap").parse().unwrap();
    disk(&mut world, h, 1_000);
    assert_eq!(world.evidence.disk_to_spare(&world.cluster, &begun.host), Some(930));
    assert_eq!(world.evidence.disk_to_spare(&world.cluster, &host(9)), None, "nobody knows");
}

#[test]
fn a_file_makes_no_store_that_no_disk_has_room_for() {
    let mut world = World::running(4, 8, 4, 2);
    (1..=4).for_each(|h| disk(&mut world, h, 99));
    let refused = world.plan(Intent::Apply(Box::new(file(4, 8, 6, 2))));
    let Err(Refusal::NoRoom { excluded, size_bytes: 100, .. }) = refused else { panic!("{refused:?}") };
    assert_eq!(excluded.get(&host(1)), Some(&WhyNot::DiskFull { takes_bytes: 100, spare_bytes: 99 }));
}
