//! A dozen clusters that tell something: what is planned for them, what is refused, and why, as a person reads it.
//!
//! What always holds: each is saved to a file and asked by the real commands; every line fits a terminal.

use super::clusters::world::{self, World};
use super::outputs::ended;
use super::snapshots::{golden, saved};
use slot_types::cluster::{Domain, HostState, SlotSpec, StoreSpec};
use slot_types::hold::{Hold, HoldOn};
use slot_types::ids::*;
use std::collections::BTreeSet;

/// Asks a world, question after question.
fn transcript(name: &str, world: &World, questions: &[&str]) {
    let (_folder, path) = saved(world);
    let mut text = String::new();
    for question in questions {
        // Options of the file stand before a subcommand, if there is one.
        let (command, rest) = question.split_once(' ').unwrap_or((question, ""));
        let line = format!("slotctl offline {command} --from {path} --format snapshot {rest}");
        let (exit, mut said) = ended(line.trim(), false);
        if let Err(mut failure) = exit {
            failure.subject = failure.subject.replace(&path, "cluster.json");
            said += &failure.text();
        }
        text += &format!("$ slotctl offline {question}\n{said}\n");
    }
    golden(name, text.trim_end());
}

fn in_racks(mut world: World, racks: usize) -> World {
    for (n, host) in world.cluster.hosts.values_mut().enumerate() {
        host.at = Domain(vec!["ny".into(), format!("r{}", n % racks + 1)]);
    }
    world
}

/// More slots for a host.
fn larger(world: &mut World, n: usize, slots: u16) {
    let host = world.host_mut(&world::host(n));
    for slot in 1..=slots {
        let address = format!("10.20.{n}.{slot}:7430").parse().unwrap();
        host.slots.entry(slot).or_insert(SlotSpec { size_bytes: 1000, address });
    }
}

#[test]
fn two_racks_of_two_hosts() {
    // Masters in one rack have their replicas in the other.
    let world = in_racks(World::running(4, 6, 8, 2), 2);
    transcript(
        "two_racks_of_two_hosts",
        &world,
        &["drain --host imap1", "drain --host imap1 --empty", "capacity --survive rack"],
    );
}

#[test]
fn hosts_of_unequal_size() {
    let mut world = World::running(4, 6, 8, 2);
    larger(&mut world, 4, 18);
    transcript("hosts_of_unequal_size", &world, &["rebalance", "capacity"]);
}

#[test]
fn one_host_larger_than_all_others_together() {
    let mut world = World::running(3, 4, 6, 2);
    larger(&mut world, 3, 40);
    transcript(
        "one_host_larger_than_all_others_together",
        &world,
        &["capacity", "capacity --survive nothing", "drain --host imap3 --empty"],
    );
}

#[test]
fn every_slot_is_taken() {
    let world = World::running(4, 4, 8, 2);
    transcript("every_slot_is_taken", &world, &["drain --host imap2", "drain --host imap2 --empty", "capacity"]);
}

#[test]
fn a_store_that_is_kept_away_from_a_host() {
    let mut world = World::running(3, 6, 3, 2);
    for n in 1..=3 {
        world.store_mut(&world::store(n)).spec.never = BTreeSet::from([world::host(3)]);
    }
    transcript("a_store_that_is_kept_away_from_a_host", &world, &["drain --host imap1 --empty", "whatif down imap1"]);
}

#[test]
fn two_hosts_that_hold_both_copies_of_a_store() {
    let world = World::running(4, 6, 8, 2);
    transcript(
        "two_hosts_that_hold_both_copies_of_a_store",
        &world,
        &["drain --host imap1 --host imap2", "service-groups"],
    );
}

#[test]
fn three_copies_in_three_racks() {
    let world = World::running(3, 6, 4, 3);
    transcript("three_copies_in_three_racks", &world, &["drain --host imap2", "drain --host imap2 --empty", "risk"]);
}

#[test]
fn a_store_without_a_legal_place() {
    let mut world = World::running(3, 6, 4, 2);
    let large = StoreSpec { copies: 3, size_bytes: 5_000, ..world.cluster.stores[&world::store(1)].spec.clone() };
    world.store_mut(&world::store(1)).spec = large;
    transcript("a_store_without_a_legal_place", &world, &["place", "explain store store1"]);
}

#[test]
fn nothing_is_to_be_done() {
    transcript("nothing_is_to_be_done", &World::running(4, 8, 8, 2), &["rebalance", "place"]);
}

#[test]
fn a_host_that_is_silent() {
    let mut world = World::running(4, 8, 8, 2);
    world.silent(&world::host(3), 600_000);
    transcript("a_host_that_is_silent", &world, &["place", "drain --host imap2", "risk"]);
}

#[test]
fn a_store_that_is_held() {
    let mut world = World::running(4, 8, 8, 2);
    let hold = Hold {
        by: OperatorName::new("alice").unwrap(),
        reason: "disk is looked at".into(),
        at: LogTime(5),
        wall: WallTime(36_000_000),
    };
    world.cluster.holds.insert(HoldOn::Store(world::store(2)), hold);
    transcript("a_store_that_is_held", &world, &["drain --host imap2", "whatif remove-host imap2"]);
}

#[test]
fn a_replica_that_is_far_behind() {
    let mut world = World::running(4, 8, 8, 2);
    let store = &world.cluster.stores[&world::store(1)];
    let (master, replica) =
        (store.master.clone(), store.copies.keys().find(|s| Some(*s) != store.master.as_ref()).cloned());
    world.said(&replica.unwrap(), |status| status.behind = Some(90_000));
    let host = master.unwrap().host;
    transcript("a_replica_that_is_far_behind", &world, &[&format!("drain --host {host}"), "explain store store1"]);
}

#[test]
fn a_host_in_maintenance() {
    let mut world = World::running(4, 8, 8, 2);
    let drain = world.plan(slot_types::plan::Intent::DrainHost(world::host(4))).unwrap();
    world.complete(drain.plan());
    assert_eq!(world.cluster.hosts[&world::host(4)].declared, HostState::Maintenance);
    transcript("a_host_in_maintenance", &world, &["risk", "whatif down imap1", "drain --host imap1"]);
}
