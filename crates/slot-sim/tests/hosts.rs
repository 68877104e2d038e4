//! Hosts that die and return, and hosts that are emptied, in one thread.
//!
//! What always holds: what an unplanned failover loses is exactly what its loss case lists, and reinjection brings every
//! record back; planned work loses nothing.

mod played;

use slot_coordinator::core::Failure;
use slot_machine::state::PlanStatus;
use slot_sim::check;
use slot_sim::setup::{fleet, host};
use slot_sim::world::{Faults, World};
use slot_types::cluster::{HostState, LossCase, LossState};
use slot_types::ids::*;
use slot_types::plan::{Intent, Settlement};
use std::collections::BTreeSet;

const CALM: Faults = Faults { lose_one_in: 0, double_one_in: 0 };

fn show(world: &World) -> String {
    let from = world.trace.len().saturating_sub(80);
    world.trace[from..].join("\n")
}

fn ended(world: &World, plan: PlanId) -> Option<PlanStatus> {
    world.state()?.plans.get(&plan).map(|p| p.status.clone()).filter(PlanStatus::is_ended)
}

fn run_to_end(world: &mut World, plan: PlanId, seed: u64) -> PlanStatus {
    let over = world.run_until(300_000, |w| ended(w, plan).is_some());
    let tasks = world.state().and_then(|s| s.plans.get(&plan)).map(|p| p.tasks.clone());
    assert!(over, "seed {seed}: no end of {plan} (L1)\n{tasks:?}\n{}", show(world));
    ended(world, plan).expect("it ended")
}

/// Asks until the evidence allows it, as a person would.
fn insist<T>(world: &mut World, seed: u64, mut what: impl FnMut(&mut World) -> Result<T, Failure>) -> T {
    let mut last = None;
    for _ in 0..60 {
        match what(world) {
            Ok(done) => return done,
            Err(failure) => last = Some(failure),
        }
        world.run_until(1_000, |_| false);
    }
    panic!("seed {seed}: refused for a minute: {last:?}\n{}", show(world));
}

fn served(seed: u64, hosts: u8, stores: u8) -> World {
    let mut world = World::new(seed, hosts, CALM);
    let plan = world.order(Intent::Apply(Box::new(fleet(hosts, stores)))).expect("the cluster file is accepted");
    assert_eq!(run_to_end(&mut world, plan, seed), PlanStatus::Done, "seed {seed}\n{}", show(&world));
    world.start_writer("store1");
    assert!(world.run_until(60_000, |w| w.written() >= 40), "seed {seed}: the writer gets nowhere");
    world
}

fn master(world: &World) -> SlotId {
    let cluster = world.state().and_then(|s| s.cluster.as_ref()).expect("founded");
    cluster.stores[&StoreName::new("store1").expect("a name")].master.clone().expect("served")
}

fn loss_case(world: &World) -> Option<(LossCaseId, LossCase)> {
    world.state()?.cluster.as_ref()?.loss_cases.iter().next().map(|(id, case)| (*id, case.clone()))
}

fn missing(world: &World) -> BTreeSet<u64> {
    let core = world.journals_core(&master(world)).expect("the master runs");
    let there: BTreeSet<u64> = check::records(core).into_iter().map(|id| id.sequence).collect();
    world.acked().into_iter().filter(|n| !there.contains(n)).collect()
}

#[test]
fn a_dead_master_is_failed_over_by_two_people_and_nothing_is_lost_without_a_name() {
    let mut stranded_somewhere = false;
    for seed in 0..25 {
        let mut world = served(seed, 3, 1);
        let dead = master(&world);
        world.power_off(&dead.host);
        world.run_until(6_000, |_| false);
        let intent = Intent::FailOverSlot { slot: dead.clone(), to: None };
        let refused = world.plan(intent.clone());
        assert!(matches!(refused, Err(Failure::Refused(_))), "seed {seed}: unfenced and unattested: {refused:?}");
        insist(&mut world, seed, |w| w.attest(&dead.host));
        let (id, plan) = insist(&mut world, seed, |w| w.plan(intent.clone()));
        assert_eq!(plan.people, 2, "seed {seed}: an attested fence asks for two people");
        assert!(world.approve("alice", id, &plan).is_err(), "seed {seed}: S5: the requester is neither of the two");
        insist(&mut world, seed, |w| w.approve("bob", id, &plan));
        assert!(world.approve("bob", id, &plan).is_err(), "seed {seed}: S5: one person twice");
        assert_eq!(ended(&world, id), None);
        insist(&mut world, seed, |w| w.approve("carol", id, &plan));
        assert_eq!(run_to_end(&mut world, id, seed), PlanStatus::Done, "seed {seed}\n{}", show(&world));
        let target = world.written() + 20;
        assert!(
            world.run_until(60_000, |w| w.written() >= target),
            "seed {seed}: writes do not go on\n{}",
            show(&world)
        );

        let lost = missing(&world);
        world.power_on(&dead.host);
        let listed = |w: &World| loss_case(w).is_some_and(|(_, c)| c.state != LossState::AwaitingReturn);
        assert!(world.run_until(120_000, listed), "seed {seed}: never listed\n{}", show(&world));
        let (case_id, case) = loss_case(&world).expect("listed");
        let named: BTreeSet<u64> = case.stranded.iter().map(|id| id.sequence).collect();
        assert!(lost.is_subset(&named), "seed {seed}: lost {lost:?}, named {named:?}");
        assert_eq!(named, lost, "seed {seed}: the case names what the successor lacks, and nothing else");
        if !named.is_empty() {
            stranded_somewhere = true;
            let intent = Intent::SettleLoss { case: case_id, how: Settlement::Reinject };
            let (id, plan) = insist(&mut world, seed, |w| w.plan(intent.clone()));
            insist(&mut world, seed, |w| w.approve("alice", id, &plan));
            assert_eq!(run_to_end(&mut world, id, seed), PlanStatus::Done, "seed {seed}\n{}", show(&world));
        }
        assert_eq!(check::acknowledged_are_there_once(&world), Ok(()), "seed {seed}");
        assert_eq!(check::single_writer(&world), Ok(()), "seed {seed}");
        let follows = |w: &World| {
            let cluster = w.state().and_then(|s| s.cluster.as_ref());
            cluster.is_some_and(|c| c.stores.values().all(|s| s.copies.get(&dead).is_some_and(|c| c.follows.is_some())))
        };
        assert!(world.run_until(120_000, follows), "seed {seed}: the returned copy does not follow\n{}", show(&world));
    }
    assert!(stranded_somewhere, "no seed stranded a record: the test looked at nothing");
}

#[test]
fn a_host_is_drained_and_gets_its_masters_back() {
    for seed in 50..60 {
        let mut world = served(seed, 4, 6);
        let emptied = master(&world).host;
        let before: BTreeSet<StoreName> = masters_on(&world, &emptied);
        let (id, plan) = insist(&mut world, seed, |w| w.plan(Intent::DrainHost(emptied.clone())));
        insist(&mut world, seed, |w| w.approve("alice", id, &plan));
        assert_eq!(run_to_end(&mut world, id, seed), PlanStatus::Done, "seed {seed}\n{}", show(&world));
        assert_eq!(declared(&world, &emptied), HostState::Maintenance);
        assert!(masters_on(&world, &emptied).is_empty(), "S8");
        assert!(world.engines_on(&emptied).is_empty(), "S8: engines run on a host in Maintenance");
        world.run_until(30_000, |_| false);
        assert!(world.engines_on(&emptied).is_empty(), "S8: everyday recovery started an engine in Maintenance");
        let (id, plan) = insist(&mut world, seed, |w| w.plan(Intent::UndrainHost(emptied.clone())));
        insist(&mut world, seed, |w| w.approve("alice", id, &plan));
        assert_eq!(run_to_end(&mut world, id, seed), PlanStatus::Done, "seed {seed}\n{}", show(&world));
        assert_eq!(masters_on(&world, &emptied), before, "seed {seed}: the same masters come back");
        assert_eq!(check::acknowledged_are_there_once(&world), Ok(()), "seed {seed}");
        assert_eq!(check::single_writer(&world), Ok(()), "seed {seed}");
        assert_eq!(check::replicas_agree(&world), Ok(()), "seed {seed}");
    }
}

#[test]
fn a_site_that_lost_power_comes_back_without_anybody() {
    for seed in 70..80 {
        let mut world = served(seed, 3, 3);
        let served_by = master(&world);
        for number in 1..=3 {
            world.power_off(&host(number));
        }
        for id in 1..=3 {
            world.kill_coordinator(id);
        }
        world.run_until(5_000, |_| false);
        let written = world.written();
        for id in 1..=3 {
            world.start_coordinator(id);
        }
        for number in 1..=3 {
            world.power_on(&host(number));
        }
        let on = |w: &World| w.written() >= written + 20;
        assert!(world.run_until(180_000, on), "seed {seed}: R25: nothing serves again\n{}", show(&world));
        assert_eq!(master(&world), served_by, "seed {seed}: R25: the same master");
        assert_eq!(check::acknowledged_are_there_once(&world), Ok(()), "seed {seed}");
        assert_eq!(check::single_writer(&world), Ok(()), "seed {seed}");
    }
}

fn masters_on(world: &World, host: &HostName) -> BTreeSet<StoreName> {
    let cluster = world.state().and_then(|s| s.cluster.as_ref()).expect("founded");
    cluster.masters_on(host).map(|(name, _)| name.clone()).collect()
}

fn declared(world: &World, host: &HostName) -> HostState {
    world.state().and_then(|s| s.cluster.as_ref()).expect("founded").hosts[host].declared
}

/// A report of a boot that has ended comes after the next boot acknowledged orders: the disk is no older one for that.
#[test]
fn r27_s2_a_late_report_of_an_ended_boot_gives_no_disk_up() {
    played::played("r27-ended-boot-comes-back", &[], &[]);
}
