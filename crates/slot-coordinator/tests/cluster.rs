//! Three coordinator cores over a pretended network: elections, requests, and plans that outlive their leader.

#[path = "cluster/looks.rs"]
mod looks;
#[path = "cluster/reboots.rs"]
mod reboots;
#[path = "cluster/studies.rs"]
mod studies;
#[path = "cluster/verify.rs"]
mod verify;
#[path = "cluster/views.rs"]
mod views;
mod world;

use slot_coordinator::core::{ControlRequest, Failure, Reply};
use slot_machine::command::RequestId;
use slot_machine::join::Guest;
use slot_types::cluster::HostState;
use slot_types::engine::EngineRole;
use slot_types::ids::*;
use slot_types::plan::Intent;
use slot_types::position::Digest;
use slot_types::view::{PlanState, Query, View};
use world::{World, name};

const FLEET: &str = r#"
version = 1
cluster = "fm1"
coordinators = { c1 = "127.0.0.1:7400", c2 = "127.0.0.2:7400", c3 = "127.0.0.3:7400" }

[hosts]
"imap[1-3]" = { at = "ny/r{n}", address = "127.7.{n}.0:7420", kind = "small" }

[kind.small]
slots = 4
slot = { size = "1 GiB", address = "127.7.{n}.{slot}:7430" }

[stores]
"store[1-3]" = { engine = "journal", copies = 2, spread = "host", size = "1 MiB" }
"#;

const HOSTS: [&str; 3] = ["imap1", "imap2", "imap3"];

fn host(text: &str) -> HostName {
    HostName::new(text).unwrap()
}

fn fleet() -> Intent {
    Intent::Apply(Box::new(slot_types::file::parse(FLEET, "cluster.toml").unwrap()))
}

/// A cluster with three stores, all served.
fn built(seed: u64, nodes: u64) -> World {
    let mut world = World::new(seed, nodes, &HOSTS);
    let plan = world.plan(fleet()).unwrap();
    world.approve(plan).unwrap();
    world.until("the fleet is made", |w| w.plan_status(plan).as_deref() == Some("done"));
    world
}

#[test]
fn one_node_alone_founds_and_serves() {
    let mut world = World::new(1, 1, &[]);
    let View::Status(status) = world.view(Query::Status) else { panic!("a status") };
    assert_eq!((status.leader, status.voters), (Some(name(1)), 1));
    assert!(matches!(world.ask(1, "alice", ControlRequest::OpenSession), Ok(Reply::Session(_))));
    let nothing = world.ask(1, "alice", ControlRequest::View { query: Query::Plan(PlanId(7)), stale_ok: true });
    assert!(matches!(nothing, Ok(Reply::View { confirmed: false, .. })));
    world.check();
}

#[test]
fn a_follower_names_the_leader() {
    let mut world = World::new(2, 3, &[]);
    world.until("a leader everybody knows", |w| {
        w.leader().is_some_and(|l| w.nodes.keys().all(|id| w.core(*id).leader() == Some(&name(l))))
    });
    let leader = world.leader().unwrap();
    let follower = world.nodes.keys().find(|id| **id != leader).copied().unwrap();
    let answer = world.ask(follower, "alice", ControlRequest::OpenSession);
    assert_eq!(answer, Err(Failure::NotLeader { leader: Some(name(leader)) }));
    let stale = world.ask(follower, "alice", ControlRequest::View { query: Query::Status, stale_ok: true });
    assert!(matches!(stale, Ok(Reply::View { confirmed: false, .. })));
}

#[test]
fn r21_a_retry_is_answered_and_not_applied_again() {
    let mut world = World::new(3, 3, &HOSTS);
    let Ok(Reply::Session(session)) = world.ask_leader("alice", &ControlRequest::OpenSession) else {
        panic!("a session")
    };
    let request = ControlRequest::MakePlan {
        request: Some(RequestId { session, sequence: 1 }),
        intent: Box::new(fleet()),
        reason: "first fleet".into(),
        said: Default::default(),
    };
    let first = world.ask_leader("alice", &request).unwrap();
    assert_eq!(world.ask_leader("alice", &request).unwrap(), first);
    let leader = world.leader().unwrap();
    world.crash(leader);
    assert_eq!(world.ask_leader("alice", &request).unwrap(), first, "also at the next leader");
    let plans = world.core(world.leader().unwrap()).state().plans.len();
    assert_eq!(plans, 1);
    world.check();
}

/// S13: whether a host is invited is nothing that a leader may answer from memory: it may have been succeeded meanwhile, and
/// the host would give up. Refusals are in the log, and not so many that they fill it.
#[test]
fn s13_nobody_is_turned_away_by_a_leader_that_is_none_any_more() {
    let mut world = World::new(5, 3, &[]);
    assert!(world.ask_leader("alice", &ControlRequest::OpenSession).is_ok());
    let leader = world.leader().unwrap();
    let digest = |text: &str| Digest::of(text.as_bytes());
    let (certificate, key, incarnation) = (digest("token"), digest("key"), Incarnation([7; 16]));
    let guest = Guest { host: host("imap9"), certificate, key, incarnation };
    let refusals = |world: &World| {
        let entries = &world.core(leader).state().audit.entries;
        entries.iter().filter(|entry| entry.event.contains("imap9 joins")).count()
    };
    for _ in 0..2 {
        let refused = world.join(leader, guest.clone());
        assert!(matches!(&refused, Err(Failure::Refused(why)) if why.contains("imap9")), "{refused:?}");
        assert_eq!(refusals(&world), 1);
    }
    for follower in world.nodes.keys().copied().filter(|id| *id != leader).collect::<Vec<_>>() {
        world.crash(follower);
    }
    let unheard = world.join(leader, guest);
    assert!(matches!(unheard, Err(Failure::NotLeader { .. })), "{unheard:?}");
}

#[test]
fn a_change_needs_a_reason_and_everyday_intents_a_coordinator() {
    let mut world = World::new(4, 1, &[]);
    let mut plan = |intent: Intent, reason: &str| {
        let request = ControlRequest::MakePlan {
            request: None,
            intent: Box::new(intent),
            reason: reason.into(),
            said: Default::default(),
        };
        world.ask_leader("alice", &request)
    };
    assert!(matches!(plan(fleet(), " "), Err(Failure::Invalid(_))));
    let slot = SlotId::new(host("imap1"), 1);
    assert!(matches!(plan(Intent::StartMaster { slot }, "now"), Err(Failure::Invalid(_))));
    assert!(matches!(plan(Intent::DrainHost(host("imap9")), "now"), Err(Failure::Refused(_))));
}

#[test]
fn a_fleet_is_made_and_drained() {
    let mut world = built(5, 3);
    let drain = world.plan(Intent::DrainHost(host("imap1"))).unwrap();
    world.approve(drain).unwrap();
    world.until("the drain is done", |w| w.plan_status(drain).as_deref() == Some("done"));
    let View::Host(view) = world.view(Query::Host(host("imap1"))) else { panic!("a host") };
    assert_eq!(view.declared, HostState::Maintenance);
    assert!(world.agents[&host("imap1")].slots.values().all(|copy| !copy.running));
    let View::Plan(plan) = world.view(Query::Plan(drain)) else { panic!("a plan") };
    assert_eq!(plan.state, PlanState::Done);
    assert!(plan.tasks.iter().all(|t| t.steps_done == t.steps_total), "{:?}", plan.tasks);
    world.check();
}

/// S6, L1: whatever step the leader dies at, the plan ends, and no order takes effect twice.
#[test]
fn a_drain_outlives_its_leader_at_every_step() {
    let names = ["freeze", "catch-up", "commit-epoch", "demote", "promote", "repoint", "follow", "canary", "stop"];
    for (number, step) in (0..).zip(names) {
        for verb in ["started", "finished"] {
            if verb == "finished" && matches!(step, "commit-epoch" | "repoint") {
                continue; // no order, so nothing to finish
            }
            let mut world = built(100 + number, 3);
            let drain = world.plan(Intent::DrainHost(host("imap1"))).unwrap();
            world.crash_at = Some(format!("slotd-{verb}-{step}"));
            world.approve(drain).unwrap();
            world.until(&format!("a crash at {verb} {step}, and the end"), |w| {
                w.crashed.len() == 1 && w.plan_status(drain).as_deref() == Some("done")
            });
            let crashed = world.crashed[0];
            world.start(crashed);
            world.run_for(3_000);
            world.check();
        }
    }
}

/// While a master is frozen every round trip counts: a step's end and its successor's start are committed together.
#[test]
fn the_next_step_shares_its_predecessors_way_through_the_log() {
    let mut world = built(11, 3);
    world.nodes.values_mut().for_each(|node| node.failpoints.clear());
    let drain = world.plan(Intent::DrainHost(host("imap1"))).unwrap();
    world.approve(drain).unwrap();
    world.until("the drain is done", |w| w.plan_status(drain).as_deref() == Some("done"));
    let reached = || world.nodes.values().flat_map(|node| &node.failpoints);
    let times = |name: &str| -> Vec<u64> { reached().filter(|(_, at)| at == name).map(|(time, _)| *time).collect() };
    for (end, next) in [
        ("slotd-finished-freeze", "slotd-started-catch-up"),
        ("slotd-finished-catch-up", "slotd-started-commit-epoch"),
        ("slotd-finished-catch-up", "slotd-started-demote"),
        ("slotd-finished-demote", "slotd-started-promote"),
    ] {
        let (ends, nexts) = (times(end), times(next));
        assert!(!ends.is_empty() && ends.len() == nexts.len(), "{end} {ends:?}, {next} {nexts:?}");
        // Of simulated time: a way of its own through two disks and the network takes at least six.
        assert!(ends.iter().zip(&nexts).all(|(end, next)| next - end < 5), "{end} {ends:?}, {next} {nexts:?}");
    }
}

#[test]
fn r25_a_dead_engine_is_started_again_without_a_person() {
    let mut world = built(7, 3);
    for agent in world.agents.values_mut() {
        agent.slots.values_mut().for_each(|copy| copy.running = false);
    }
    world.until("every engine runs again", |w| {
        w.agents.values().flat_map(|a| a.slots.values()).all(|copy| copy.running)
    });
    let masters = world.agents.values().flat_map(|a| a.slots.values()).filter(|c| c.role == EngineRole::Master);
    assert_eq!(masters.count(), 3);
    let leader = world.leader().unwrap();
    let stores = &world.core(leader).state().cluster.as_ref().unwrap().stores;
    assert!(stores.values().all(|store| store.epoch.n == 1), "nobody was failed over");
    world.check();
}

#[test]
fn a_silent_host_is_told_and_left_alone() {
    let mut world = built(8, 3);
    world.run_for(5_000);
    let View::Status(before) = world.view(Query::Status) else { panic!("a status") };
    assert_eq!(before.needs_you, [], "a quiet day");
    assert_eq!((before.counts.all, before.counts.served, before.counts.full), (3, 3, 3));
    let plans = world.core(world.leader().unwrap()).state().plans.len();
    world.agents.get_mut(&host("imap2")).unwrap().up = false;
    world.run_for(20_000);
    let View::Status(after) = world.view(Query::Status) else { panic!("a status") };
    assert_eq!(after.needs_you[0].next, "slotctl failover host imap2");
    let state = world.core(world.leader().unwrap()).state();
    assert_eq!(state.plans.len(), plans, "it never fails over by itself");
    world.check();
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let trace = |seed| {
        let mut world = built(seed, 3);
        let leader = world.leader().unwrap();
        world.crash(leader);
        world.run_for(5_000);
        world.trace
    };
    assert_eq!(trace(9), trace(9));
    assert_ne!(trace(9), trace(10));
}
