//! Directed runs of R19: a person at the machine of A, the first store's master, while no coordinator runs.
//!
//! What always holds: the coordinators come back, and everything is healed after it.

use super::hosts::{away, carried_out, ends, pair};
use super::*;
use slot_types::plan::Intent;

/// The schedules.
pub(super) const SCRIPTS: &[Script] = &[
    Script { name: "r19-branch-not-recorded", swarm: pair, play: started_while_nobody_leads },
    Script { name: "r19-conflict-adopted", swarm: pair, play: started_past_a_failover },
    Script { name: "r19-any-copy-started-by-hand", swarm: pair, play: former_master_is_asked_for },
    Script { name: "r19-disk-not-vouched-for", swarm: pair, play: asked_on_an_older_disk },
    Script { name: "r19-started-beside-a-leader", swarm: pair, play: asked_beside_a_leader },
];

fn coordinators(sim: &mut Sim, run: bool) {
    for id in 1..=3 {
        let node = Node::Coordinator(id);
        if run { sim.start_now(&node) } else { sim.kill_now(&node) }
    }
}

fn epoch_of(sim: &Sim, slot: &SlotId) -> Epoch {
    sim.engine(slot).map(|engine| engine.epoch()).unwrap_or_default()
}

/// R19: nobody leads, A's engine dies, a person starts it, and writes go on.
fn started_while_nobody_leads(sim: &mut Sim, dice: &mut Stream) {
    let Some((a, _)) = ends(sim) else { return };
    let epoch = epoch_of(sim, &a);
    coordinators(sim, false);
    sim.kill_now(&Node::Engine(a.clone()));
    sim.run_for(dice.within(200, 2_000));
    sim.start_by_hand(&a, epoch);
    sim.run_for(dice.within(1_000, 9_000));
    coordinators(sim, true);
    sim.run_for(15_000);
}

/// R19: A is failed over while it has no power; when nobody leads it is switched on, and started by somebody who knows nothing
/// of it.
fn started_past_a_failover(sim: &mut Sim, dice: &mut Stream) {
    let Some((a, _)) = ends(sim) else { return };
    let epoch = epoch_of(sim, &a);
    sim.power_off_now(&a.host);
    sim.run_for(4_000);
    drop(sim.attest(&a.host));
    carried_out(sim, Intent::FailOverSlot { slot: a.clone(), to: None });
    coordinators(sim, false);
    sim.power_on_now(&a.host);
    sim.run_for(dice.within(500, 2_000));
    sim.start_by_hand(&a, epoch);
    sim.run_for(dice.within(2_000, 8_000));
    coordinators(sim, true);
    sim.run_for(20_000);
}

/// R19: A was demoted in a hand-over, and a person wants it as master at the epoch that it holds.
fn former_master_is_asked_for(sim: &mut Sim, dice: &mut Stream) {
    let Some((a, b)) = ends(sim) else { return };
    carried_out(sim, away(&a, &b));
    let epoch = epoch_of(sim, &b);
    coordinators(sim, false);
    sim.kill_now(&Node::Engine(a.clone()));
    sim.run_for(dice.within(200, 2_000));
    sim.start_by_hand(&a, epoch);
    sim.run_for(3_000);
    coordinators(sim, true);
    sim.run_for(5_000);
}

/// R19, S2: A was demoted in a hand-over, nobody leads, and A's disk is put back to when it was master: the person who did
/// that does not vouch for it.
fn asked_on_an_older_disk(sim: &mut Sim, dice: &mut Stream) {
    let Some((a, b)) = ends(sim) else { return };
    let epoch = epoch_of(sim, &a);
    sim.keep_now(&a.host);
    carried_out(sim, away(&a, &b));
    coordinators(sim, false);
    sim.put_back_now(&a.host, 500);
    sim.run_for(dice.within(2_000, 4_000));
    for _ in 0..3 {
        sim.start_by_hand(&a, epoch);
        sim.run_for(dice.within(500, 2_000));
    }
    coordinators(sim, true);
    sim.run_for(10_000);
}

/// R19: A's engine dies while a leader watches, and a person is quicker than it.
fn asked_beside_a_leader(sim: &mut Sim, dice: &mut Stream) {
    let Some((a, _)) = ends(sim) else { return };
    let epoch = epoch_of(sim, &a);
    sim.kill_now(&Node::Engine(a.clone()));
    for _ in 0..20 {
        sim.run_for(dice.within(20, 60));
        sim.start_by_hand(&a, epoch);
    }
    sim.run_for(8_000);
}
