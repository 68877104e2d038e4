//! The spine in one thread: an election, a store made, hand-overs, and the leader killed at every step of one.
//!
//! What always holds: every run is checked by clients' own logs and engines' own records, and the same seed twice gives
//! the same digest of everything that happened.

use slot_machine::state::PlanStatus;
use slot_sim::check;
use slot_sim::setup::{fleet, host};
use slot_sim::world::{Faults, World};
use slot_types::ids::*;
use slot_types::plan::Intent;

const CALM: Faults = Faults { lose_one_in: 0, double_one_in: 0 };
const ROUGH: Faults = Faults { lose_one_in: 40, double_one_in: 20 };

fn show(world: &World) -> String {
    let from = world.trace.len().saturating_sub(60);
    world.trace[from..].join("\n")
}

fn checked(world: &World, seed: u64) {
    for check in [check::single_writer(world), check::one_master(world), check::replicas_agree(world)] {
        assert_eq!(check, Ok(()), "seed {seed}\n{}", show(world));
    }
}

fn ended(world: &World, plan: PlanId) -> Option<PlanStatus> {
    world.state()?.plans.get(&plan).map(|p| p.status.clone()).filter(PlanStatus::is_ended)
}

fn master(world: &World) -> Option<SlotId> {
    world.state()?.cluster.as_ref()?.stores.values().next()?.master.clone()
}

/// Three coordinators, two hosts, one store served, a writer on it.
fn served(seed: u64, faults: Faults) -> World {
    let mut world = World::new(seed, 2, faults);
    let plan = world.order(Intent::Apply(Box::new(fleet(2, 1)))).expect("the cluster file is accepted");
    assert!(world.run_until(120_000, |w| ended(w, plan).is_some()), "seed {seed}: no end of {plan}\n{}", show(&world));
    assert_eq!(
        ended(&world, plan),
        Some(PlanStatus::Done),
        "seed {seed}: {:?}",
        world.state().and_then(|s| s.plans.get(&plan)).map(|p| &p.tasks)
    );
    world.start_writer("store1");
    let wrote = world.run_until(60_000, |w| written(w) >= 50);
    assert!(wrote, "seed {seed}: the writer gets nowhere\n{}", show(&world));
    world
}

fn written(world: &World) -> usize {
    world.written()
}

/// Plans a move of the master to the other host and says yes to it.
fn move_master(world: &mut World, seed: u64) -> PlanId {
    let from = master(world).expect("a served store has a master");
    for _ in 0..20 {
        match world.order(Intent::FailOverSlot { slot: from.clone(), to: None }) {
            Ok(plan) => return plan,
            // Not fresh enough evidence yet, or a fact moved on: ask again, as a person would.
            Err(_) => drop(world.run_until(1_000, |_| false)),
        }
    }
    panic!("seed {seed}: no plan\n{}", show(world));
}

/// Moves the master to the other host; how the plan ended.
fn hand_over(world: &mut World, seed: u64) -> PlanStatus {
    let plan = move_master(world, seed);
    let over = world.run_until(240_000, |w| ended(w, plan).is_some());
    assert!(over, "seed {seed}: no end of {plan} (L1)\n{:?}\n{}", tasks(world, plan), show(world));
    ended(world, plan).expect("it ended")
}

fn tasks(world: &World, plan: PlanId) -> Option<&Vec<slot_machine::state::TaskRun>> {
    world.state().and_then(|s| s.plans.get(&plan)).map(|p| &p.tasks)
}

fn settle_and_check(world: &mut World, seed: u64) {
    let target = written(world) + 20;
    assert!(world.run_until(120_000, |w| written(w) >= target), "seed {seed}: writes stopped\n{}", show(world));
    checked(world, seed);
    assert_eq!(check::acknowledged_are_there_once(world), Ok(()), "seed {seed}\n{}", show(world));
}

#[test]
fn three_coordinators_elect_one_leader() {
    for seed in 0..20 {
        let mut world = World::new(seed, 2, ROUGH);
        assert!(world.run_until(30_000, |w| w.leader().is_some()), "seed {seed}: no leader (L3)");
        checked(&world, seed);
    }
}

#[test]
fn a_planned_hand_over_loses_nothing() {
    for seed in 0..10 {
        let mut world = served(seed, CALM);
        let before = master(&world);
        assert_eq!(hand_over(&mut world, seed), PlanStatus::Done, "seed {seed}\n{}", show(&world));
        assert_ne!(master(&world), before, "seed {seed}");
        settle_and_check(&mut world, seed);
    }
}

#[test]
fn lost_and_doubled_messages_lose_no_record() {
    for seed in 100..110 {
        let mut world = served(seed, ROUGH);
        let status = hand_over(&mut world, seed);
        assert!(matches!(status, PlanStatus::Done | PlanStatus::Stopped), "seed {seed}: {status}");
        settle_and_check(&mut world, seed);
    }
}

/// Every place where the leader's own step is committed and nothing followed from it yet.
const LEADER_POINTS: [&str; 17] = [
    "slotd-started-freeze",
    "slotd-finished-freeze",
    "slotd-started-catch-up",
    "slotd-finished-catch-up",
    "slotd-started-commit-epoch",
    "slotd-started-demote",
    "slotd-finished-demote",
    "slotd-started-promote",
    "slotd-finished-promote",
    "slotd-started-repoint",
    "slotd-started-follow",
    "slotd-finished-follow",
    "slotd-started-canary",
    "slotd-finished-canary",
    "slotd-started-provision",
    "slotd-finished-provision",
    "slotd-started-change-fleet",
];

#[test]
fn the_leader_dies_at_every_step_of_a_hand_over() {
    for (seed, point) in (200..).zip(LEADER_POINTS.into_iter().take(14)) {
        let mut world = served(seed, CALM);
        world.kill_leader_at = Some(point.to_string());
        let status = hand_over(&mut world, seed);
        assert!(world.kill_leader_at.is_none(), "{point} was never passed");
        assert!(matches!(status, PlanStatus::Done | PlanStatus::Stopped), "{point}: {status}\n{}", show(&world));
        settle_and_check(&mut world, seed);
    }
}

#[test]
fn engines_and_agents_die_during_hand_overs() {
    for seed in 300..360 {
        let mut world = served(seed, CALM);
        let from = master(&world).expect("a served store has a master");
        let other = if from.host == host(1) { host(2) } else { host(1) };
        let victim_is_engine = seed % 2 == 0;
        let at = 20 + (seed % 10) * 9;
        let plan = move_master(&mut world, seed);
        world.run_until(at, |_| false);
        if victim_is_engine {
            world.kill_engine(&from);
        } else {
            world.kill_agent(&other);
            world.run_until(700, |_| false);
            world.start_agent(&other);
        }
        assert!(
            world.run_until(240_000, |w| ended(w, plan).is_some()),
            "seed {seed}: no end (L1)\n{:?}\n{}",
            tasks(&world, plan),
            show(&world)
        );
        settle_and_check(&mut world, seed);
    }
}

/// Found by seed 314 of the test above: nobody started the demoted engine again, and the successor waited for it for ever.
#[test]
fn a_demoted_master_that_dies_before_its_successor_caught_up_is_started_again() {
    for seed in 400..420 {
        let mut world = served(seed, CALM);
        let from = master(&world).expect("a served store has a master");
        let plan = move_master(&mut world, seed);
        let demoted = |w: &World| w.passed.contains_key("slotd-finished-demote");
        assert!(world.run_until(60_000, demoted), "seed {seed}: never demoted");
        world.kill_engine(&from);
        let over = world.run_until(240_000, |w| ended(w, plan).is_some());
        assert!(over, "seed {seed}: no end (L1)\n{:?}\n{}", tasks(&world, plan), show(&world));
        assert_eq!(ended(&world, plan), Some(PlanStatus::Done), "seed {seed}");
        settle_and_check(&mut world, seed);
    }
}

#[test]
fn the_same_seed_is_the_same_world() {
    let run = |seed| {
        let mut world = served(seed, ROUGH);
        hand_over(&mut world, seed);
        settle_and_check(&mut world, seed);
        (world.digest, world.now(), world.state().map(|s| s.hash()))
    };
    for seed in [1, 7, 42] {
        assert_eq!(run(seed), run(seed), "seed {seed} gave two worlds");
    }
    assert_ne!(run(1), run(2));
}
