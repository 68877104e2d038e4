//! Failovers in which the sheet grows old while it is being carried out, and copies that come back with more than their
//! new master: schedules that a review of R7 and R8 looked for.
//!
//! What always holds: what a client was acknowledged is on the master or named in a loss case, and a sheet that says
//! "none provable" loses nothing.

use slot_coordinator::core::{ControlRequest, Failure};
use slot_machine::state::PlanStatus;
use slot_sim::check;
use slot_sim::setup::fleet;
use slot_sim::world::{Faults, World};
use slot_types::cluster::*;
use slot_types::ids::*;
use slot_types::plan::{Intent, Plan, Settlement, TaskKind};
use std::collections::BTreeSet;

const CALM: Faults = Faults { lose_one_in: 0, double_one_in: 0 };

fn show(world: &World) -> String {
    let from = world.trace.len().saturating_sub(80);
    world.trace[from..].join("\n")
}

fn cluster(world: &World) -> &Cluster {
    world.state().and_then(|s| s.cluster.as_ref()).expect("founded")
}

fn store(world: &World) -> &Store {
    &cluster(world).stores[&StoreName::new("store1").expect("a name")]
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

/// Three hosts, one store of three copies, of which one beside the master must have a record before it is acknowledged.
fn served(seed: u64, allow_unfenced: bool) -> World {
    let mut world = World::new(seed, 3, CALM);
    let mut spec = fleet(3, 1);
    spec.policy.allow_unfenced = allow_unfenced;
    for store in spec.stores.values_mut() {
        (store.copies, store.sync_copies) = (3, 1);
    }
    let plan = world.order(Intent::Apply(Box::new(spec))).expect("the cluster file is accepted");
    assert_eq!(run_to_end(&mut world, plan, seed), PlanStatus::Done, "seed {seed}\n{}", show(&world));
    world.start_writer("store1");
    assert!(world.run_until(60_000, |w| w.written() >= 40), "seed {seed}: the writer gets nowhere");
    world
}

fn master(world: &World) -> SlotId {
    store(world).master.clone().expect("served")
}

/// Acknowledged and not on the master.
fn missing(world: &World) -> BTreeSet<u64> {
    let core = world.journals_core(&master(world)).expect("the master runs");
    let there: BTreeSet<u64> = check::records(core).into_iter().map(|id| id.sequence).collect();
    world.acked().into_iter().filter(|n| !there.contains(n)).collect()
}

fn sheet(plan: &Plan) -> (SlotId, LossClass, Option<SlotId>) {
    match &plan.tasks[0].kind {
        TaskKind::FailOver { to, loss, feed, .. } => (to.clone(), loss.class, feed.clone()),
        other => panic!("no failover but {other:?}"),
    }
}

fn approve_by_two(world: &mut World, seed: u64, id: PlanId, plan: &Plan) {
    insist(world, seed, |w| w.approve("bob", id, plan));
    insist(world, seed, |w| w.approve("carol", id, plan));
}

/// R7: between the sheet and the raise the old master, whose agent alone is dead, goes on acknowledging through the copy
/// that is not the candidate. The furthest raised copy feeds, whatever the sheet knew.
#[test]
fn r7_a_raised_copy_that_went_ahead_after_the_sheet_feeds_the_new_master() {
    let mut went_ahead = false;
    for seed in 0..4 {
        let mut world = served(seed, true);
        let old = master(&world);
        world.kill_agent(&old.host);
        world.run_until(6_000, |_| false);
        let intent = Intent::FailOverSlot { slot: old.clone(), to: None };
        let (id, plan) = insist(&mut world, seed, |w| w.plan(intent.clone()));
        let (to, class, feed) = sheet(&plan);
        assert_eq!(feed, None, "seed {seed}: the candidate is the furthest");
        let before = world.written();
        world.cut.insert((old.host.clone(), to.host.clone()));
        world.run_until(400, |_| false);
        went_ahead |= world.written() > before + 5;
        approve_by_two(&mut world, seed, id, &plan);
        assert_eq!(run_to_end(&mut world, id, seed), PlanStatus::Done, "seed {seed}\n{}", show(&world));
        let lost = missing(&world);
        assert!(lost.is_empty(), "seed {seed}: R7: the sheet said {class}, lost {lost:?}\n{}", show(&world));
        assert_eq!(check::single_writer(&world), Ok(()), "seed {seed}");
    }
    assert!(went_ahead, "no seed acknowledged anything after the sheet: the test looked at nothing");
}

/// A master that acknowledged through one copy only, both gone; the third is promoted, and that copy alone comes back.
fn a_returned_replica_put_records_aside(seed: u64) -> (World, SlotId, BTreeSet<u64>) {
    let mut world = served(seed, false);
    let old = master(&world);
    let replicas: Vec<SlotId> = store(&world).copies.keys().filter(|s| **s != old).cloned().collect();
    let (to, other) = (replicas[0].clone(), replicas[1].clone());
    world.cut.insert((old.host.clone(), to.host.clone()));
    let target = world.written() + 30;
    assert!(world.run_until(30_000, |w| w.written() >= target), "seed {seed}: no writes through {other}");
    world.run_until(3_000, |_| false);
    world.silent.insert(other.host.clone());
    world.cut.insert((other.host.clone(), to.host.clone()));
    world.power_off(&old.host);
    world.run_until(6_000, |_| false);
    insist(&mut world, seed, |w| w.attest(&old.host));
    let intent = Intent::FailOverSlot { slot: old.clone(), to: Some(to.clone()) };
    let (id, plan) = insist(&mut world, seed, |w| w.plan(intent.clone()));
    assert!(sheet(&plan).1 > LossClass::CaughtUp, "seed {seed}: R7: {other} was out of reach: {:?}", sheet(&plan));
    approve_by_two(&mut world, seed, id, &plan);
    // One acknowledgement needs one copy beside the master: without the third nobody's write is taken, and the plan waits.
    world.run_until(20_000, |_| false);
    world.silent.clear();
    world.cut.clear();
    // The canary stopped it for a person, who lets everyday recovery bring the third copy back.
    let reason = "the canary waits for the third copy".to_string();
    let stop = ControlRequest::AbortPlan { request: None, plan: id, reason };
    insist(&mut world, seed, |w| w.ask("alice", stop.clone()));
    let status = run_to_end(&mut world, id, seed);
    assert!(matches!(status, PlanStatus::Aborted { .. }), "seed {seed}: {status}\n{}", show(&world));
    let target = world.written() + 20;
    assert!(world.run_until(120_000, |w| w.written() >= target), "seed {seed}: writes stand still\n{}", show(&world));
    let lost = missing(&world);
    assert!(!lost.is_empty(), "seed {seed}: nothing was lost, the test looked at nothing");
    (world, other, lost)
}

fn case_of(world: &World, slot: &SlotId) -> Option<(LossCaseId, LossCase)> {
    cluster(world).loss_cases.iter().find(|(_, c)| c.slot == *slot).map(|(id, case)| (*id, case.clone()))
}

#[test]
fn r7_what_a_returned_replica_put_aside_is_a_loss_case_and_comes_back() {
    for seed in 20..22 {
        let (mut world, other, lost) = a_returned_replica_put_records_aside(seed);
        let listed = |w: &World| case_of(w, &other).is_some_and(|(_, c)| c.state == LossState::Listed);
        assert!(world.run_until(60_000, listed), "seed {seed}: R7: {lost:?} are in no loss case\n{}", show(&world));
        let (case, content) = case_of(&world, &other).expect("listed");
        let named: BTreeSet<u64> = content.stranded.iter().map(|id| id.sequence).collect();
        assert!(lost.is_subset(&named), "seed {seed}: lost {lost:?}, named {named:?}");
        let intent = Intent::SettleLoss { case, how: Settlement::Reinject };
        let (id, plan) = insist(&mut world, seed, |w| w.plan(intent.clone()));
        insist(&mut world, seed, |w| w.approve("alice", id, &plan));
        assert_eq!(run_to_end(&mut world, id, seed), PlanStatus::Done, "seed {seed}\n{}", show(&world));
        assert_eq!(check::acknowledged_are_there_once(&world), Ok(()), "seed {seed}");
        world.run_until(20_000, |_| false);
        let cases = cluster(&world).loss_cases.values().filter(|c| c.slot == other).count();
        assert_eq!(cases, 1, "seed {seed}: a settled case is opened again");
        assert_eq!(check::replicas_agree(&world), Ok(()), "seed {seed}");
    }
}

#[test]
fn r7_what_was_put_aside_and_given_up_by_name_opens_no_case_again() {
    for seed in 30..31 {
        let (mut world, other, _) = a_returned_replica_put_records_aside(seed);
        let listed = |w: &World| case_of(w, &other).is_some_and(|(_, c)| c.state == LossState::Listed);
        assert!(world.run_until(60_000, listed), "seed {seed}: R7: no loss case\n{}", show(&world));
        let (case, _) = case_of(&world, &other).expect("listed");
        let intent = Intent::SettleLoss { case, how: Settlement::Discard };
        let (id, plan) = insist(&mut world, seed, |w| w.plan(intent.clone()));
        insist(&mut world, seed, |w| w.approve("alice", id, &plan));
        assert_eq!(run_to_end(&mut world, id, seed), PlanStatus::Done, "seed {seed}\n{}", show(&world));
        world.run_until(60_000, |_| false);
        let cases = cluster(&world).loss_cases.values().filter(|c| c.slot == other).count();
        assert_eq!(cases, 1, "seed {seed}: given up by name, and opened again");
        let serves = store(&world).copies[&other].state == CopyState::Serving;
        assert!(serves, "seed {seed}: the copy does not follow again\n{}", show(&world));
    }
}

/// R8: the agent is dead, the engine serves, and a person in a hurry attests, plans and says yes within moments: the word
/// is void once a replica is seen to have heard the engine after it, so nobody is promoted.
#[test]
fn r8_an_engine_that_lives_on_voids_a_hasty_attestation() {
    for seed in 40..42 {
        let mut world = served(seed, false);
        let old = master(&world);
        world.kill_agent(&old.host);
        world.run_until(8_000, |_| false);
        let intent = Intent::FailOverSlot { slot: old.clone(), to: None };
        let mut started = false;
        for _ in 0..20 {
            let _ = world.attest(&old.host);
            let Ok((id, plan)) = world.plan(intent.clone()) else { continue };
            let yes = world.approve("bob", id, &plan).is_ok() && world.approve("carol", id, &plan).is_ok();
            if yes {
                started = true;
                break;
            }
        }
        world.run_until(20_000, |_| false);
        let promoted = store(&world).promote_started || store(&world).master.as_ref().is_some_and(|m| *m != old);
        assert!(
            !promoted,
            "seed {seed}: R8: promoted beside a master that serves (started: {started})\n{}",
            show(&world)
        );
        assert_eq!(check::one_master(&world), Ok(()), "seed {seed}");
        assert_eq!(check::single_writer(&world), Ok(()), "seed {seed}");
    }
}

/// L1: two possible causes of work at one time. The former master is back and has to list what it alone holds, for which it
/// needs its successor; the successor's engine died, and only an order starts it. The list must not keep that order away.
#[test]
fn l1_a_dead_master_is_started_though_a_returned_one_waits_to_list() {
    for seed in 0..4 {
        let mut world = served(seed, true);
        let old = master(&world);
        world.power_off(&old.host);
        world.run_until(6_000, |_| false);
        let _ = world.attest(&old.host);
        world.run_until(3_500, |_| false);
        let intent = Intent::FailOverSlot { slot: old.clone(), to: None };
        let (id, plan) = insist(&mut world, seed, |w| w.plan(intent.clone()));
        approve_by_two(&mut world, seed, id, &plan);
        assert_eq!(run_to_end(&mut world, id, seed), PlanStatus::Done, "seed {seed}\n{}", show(&world));
        let new = master(&world);
        world.power_off(&new.host);
        world.power_on(&old.host);
        world.power_on(&new.host);
        let listed = |w: &World| case_of(w, &old).is_none_or(|(_, case)| case.state != LossState::AwaitingReturn);
        let well = |w: &World| w.journals_core(&new).is_some() && listed(w);
        assert!(world.run_until(240_000, well), "seed {seed}: nobody starts {new} (L1)\n{}", show(&world));
    }
}
