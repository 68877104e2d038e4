//! Directed runs for the bugs planted in the Raft driver.
//!
//! What always holds: each is the schedule that its bug's `how` tells.

use super::coordinator::{another_leader, begin, copies, open_sessions, over};
use super::*;
use crate::check::Seen;
use crate::faults::DiskTrouble;

/// The schedules.
pub(super) const SCRIPTS: &[Script] = &[
    Script { name: "r22-snapshot-without-audit", swarm: short_log, play: restart_from_snapshot },
    Script { name: "raft-snapshot-without-hard-state", swarm: short_log, play: restart_from_snapshot },
    Script { name: "raft-applied-without-effect", swarm: |_| Swarm::calm(2, 1, 2, 0), play: restart_from_snapshot },
    Script { name: "raft-node-id-reused", swarm: |_| Swarm::calm(2, 1, 2, 0), play: wiped_node },
    Script { name: "raft-persist-error-ignored", swarm: |_| Swarm::calm(2, 1, 2, 0), play: failed_write },
    Script { name: "raft-snapshot-never-reported", swarm: short_log, play: lost_snapshot },
    Script { name: "raft-vote-not-persisted", swarm: |_| Swarm::calm(2, 1, 2, 0), play: leaders_change },
    Script { name: "raft-read-context-reused", swarm: |_| Swarm::calm(2, 1, 2, 0), play: leaders_change },
];

fn short_log(dice: &mut Stream) -> Swarm {
    Swarm { snapshot_every: dice.within(3, 12), log_tail: dice.within(2, 4), ..Swarm::calm(2, 1, 2, 0) }
}

/// A coordinator that follows.
fn follower(sim: &Sim, dice: &mut Stream) -> u64 {
    let leader = sim.leader().unwrap_or(1);
    let others: Vec<u64> = (1..=3).filter(|id| *id != leader).collect();
    others[dice.within(0, 1) as usize]
}

/// Coordinators die between two entries and begin again from their disks.
fn restart_from_snapshot(sim: &mut Sim, dice: &mut Stream) {
    for _ in 0..6 {
        open_sessions(sim, dice.within(1, 4) as usize);
        sim.run_for(dice.within(20, 900));
        let node = Node::Coordinator(dice.within(1, 3));
        sim.kill_now(&node);
        sim.run_for(dice.within(200, 2_000));
        sim.start_now(&node);
        sim.run_for(dice.within(1_000, 4_000));
    }
}

/// A follower's disk is empty when it comes back, and the other follower is away.
fn wiped_node(sim: &mut Sim, dice: &mut Stream) {
    let wiped = follower(sim, dice);
    let leader = sim.leader().unwrap_or(1);
    let away = (1..=3).find(|id| *id != wiped && *id != leader).unwrap_or(1);
    sim.kill_now(&Node::Coordinator(away));
    sim.without_disk.insert(wiped);
    sim.coordinator_power_fails(wiped, 500);
    let now = sim.now();
    sim.witness.saw(now, Seen::CoordinatorDiskTouched { node: wiped });
    if let Some(node) = sim.coordinators.get_mut(&wiped) {
        node.file = crate::disk::SimFile::formatted();
        node.has_store = false;
    }
    sim.run_for(3_000);
    open_sessions(sim, 3);
    sim.run_for(4_000);
}

/// A follower's disk fails under it, and then it dies.
fn failed_write(sim: &mut Sim, dice: &mut Stream) {
    for _ in 0..4 {
        let node = Node::Coordinator(follower(sim, dice));
        let trouble = if dice.one_in(2) { DiskTrouble::Eio } else { DiskTrouble::Enospc };
        sim.strike(Injection::Disk(node.clone(), trouble));
        open_sessions(sim, 4);
        sim.run_for(dice.within(200, 1_500));
        sim.kill_now(&node);
        sim.run_for(500);
        sim.start_now(&node);
        sim.run_for(4_000);
    }
}

/// A follower is behind the log's tail, and the snapshot for it is lost.
fn lost_snapshot(sim: &mut Sim, dice: &mut Stream) {
    let behind = follower(sim, dice);
    let leader = sim.leader().unwrap_or(1);
    sim.kill_now(&Node::Coordinator(behind));
    for _ in 0..8 {
        open_sessions(sim, 8);
        sim.run_for(300);
    }
    let sent = |sim: &Sim| sim.reached.get("R22: a snapshot was sent").copied().unwrap_or(0);
    let before = sent(sim);
    sim.start_now(&Node::Coordinator(behind));
    if sim.run_until(20_000, |sim| sent(sim) > before) {
        sim.cut(Place::Coordinator(leader), Place::Coordinator(behind), 300);
    }
    sim.run_for(10_000);
}

/// Leaders come and go while a store changes its master.
fn leaders_change(sim: &mut Sim, dice: &mut Stream) {
    for _ in 0..2 {
        let Some([a, b]) = copies(sim) else { return };
        begin(sim, &over(&a, &b), 3);
        another_leader(sim, dice);
    }
}
