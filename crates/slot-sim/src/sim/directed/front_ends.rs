//! Directed runs about front ends (R12, docs/adr/0022).
//!
//! What always holds: the store is the first one; A is its master's slot when the run begins, B the next copy's. There are two
//! front ends, and every second client comes through one of them.

use super::hosts::{STORE, away, ends, lose, until_sprung};
use super::*;
use crate::faults::DiskTrouble;
use slot_machine::state::PlanStatus;
use slot_types::plan::Intent;

/// The schedules. A campaign plays all of them in 300 seeds.
pub(super) const SCRIPTS: &[Script] = &[
    Script { name: "adr22-older-table-taken", swarm: pair, play: older_table_comes_late },
    Script { name: "adr22-plan-does-not-wait", swarm: pair, play: dead_at_a_hand_over },
    Script { name: "r12-moving-never-ends", swarm: pair, play: nobody_ends_the_move },
    Script { name: "adr22-begun-not-kept", swarm: pair, play: dies_after_a_reload },
    Script { name: "adr22-failed-reload-acknowledged", swarm: pair, play: reload_fails },
    Script { name: "front-end/starts-again-while-moving", swarm: pair, play: starts_again_while_moving },
    Script { name: "front-end/plan-given-up", swarm: pair, play: given_up_while_it_waits },
    Script { name: "front-end/line-taken-out", swarm: pair, play: line_taken_out },
    Script { name: "front-end/wiped", swarm: pair, play: wiped_at_a_hand_over },
    Script { name: "front-end/cut-off", swarm: pair, play: cut_off },
];

fn pair(dice: &mut Stream) -> Swarm {
    let swarm = Swarm::calm(2, 1 + u8::from(dice.one_in(2)), 2, 0);
    Swarm { front_ends: 2, client_pause_ms: (20, 200), ..swarm }
}

fn name(number: u8) -> Option<FrontEndName> {
    FrontEndName::new(format!("fe{number}")).ok()
}

/// One of the two, and its process.
fn one(dice: &mut Stream) -> Option<(FrontEndName, Node)> {
    let name = name(1 + u8::from(dice.one_in(2)))?;
    Some((name.clone(), Node::FrontEnd(name)))
}

/// R6: no front end holds up a promotion, nor what clients do at the new master.
fn is_master_in_time(sim: &mut Sim, slot: &SlotId) {
    let at = sim.now();
    let served = sim.run_until(20_000, |sim| sim.master_of(STORE).as_ref() == Some(slot));
    let written = sim.writers.written();
    if !served || !sim.run_until(10_000, |sim| sim.writers.written() > written + 4) {
        sim.finding("ADR22", format!("{slot} serves nobody yet, a hand-over to it began at {at}"));
    }
}

fn is_done_soon(sim: &mut Sim, id: PlanId) {
    let done = |sim: &Sim| sim.record(id).is_none_or(|plan| !plan.status.is_under_way());
    if !sim.run_until(20_000, done) {
        sim.finding("ADR22", format!("{id} waits on, and every front end is well"));
    }
}

/// The table of a leader that is dead comes when the store has moved once more.
fn older_table_comes_late(sim: &mut Sim, dice: &mut Stream) {
    let (Some((a, b)), Some(leader)) = (ends(sim), sim.leader()) else { return };
    sim.run_for(dice.within(0, 2_000));
    let Ok(id) = sim.order(away(&a, &b)) else { return };
    sim.run_until(20_000, |sim| sim.record(id).is_some_and(|plan| plan.status == PlanStatus::Done));
    // Asked every two seconds whether they still serve it: one of these tables is slow.
    sim.trap("serves-table", 0, Injection::Late(dice.within(16_000, 24_000)));
    until_sprung(sim, 0);
    sim.kill_now(&Node::Coordinator(leader));
    sim.run_until(20_000, |sim| sim.leader().is_some_and(|now| now != leader));
    if let Ok(id) = sim.order(away(&b, &a)) {
        sim.run_plan(id, 30_000);
    }
    sim.run_for(26_000);
    sim.start_now(&Node::Coordinator(leader));
    sim.run_for(2_000);
}

/// A front end is dead, the store gets its master all the same, and the plan says what it waits for.
fn dead_at_a_hand_over(sim: &mut Sim, dice: &mut Stream) {
    let (Some((a, b)), Some((name, node))) = (ends(sim), one(dice)) else { return };
    sim.kill_now(&node);
    let Ok(id) = sim.order(away(&a, &b)) else { return };
    is_master_in_time(sim, &b);
    let stuck = |sim: &Sim| {
        let steps = sim.record(id).into_iter().flat_map(|plan| &plan.tasks).flat_map(|task| &task.steps);
        steps.filter_map(|step| step.stuck.as_ref()).any(|why| why.contains(name.as_str()))
    };
    if !sim.run_until(60_000, stuck) {
        sim.finding("ADR22", format!("{id} does not say that it waits for {name}"));
    }
    sim.start_now(&node);
    is_done_soon(sim, id);
}

/// From A to B, and B's catch-up never comes: the store moves for as long as its freeze lasts.
fn moves_for_long(sim: &mut Sim, a: &SlotId, b: &SlotId) -> Option<PlanId> {
    lose(sim, "deliver-catch-up");
    let id = sim.order(away(a, b)).ok()?;
    let shown = |sim: &Sim| sim.front_ends.values().any(super::super::front_ends::FrontEndMachine::holds);
    sim.run_until(10_000, shown);
    Some(id)
}

/// R12: no coordinator is left while new connections are held.
fn nobody_ends_the_move(sim: &mut Sim, dice: &mut Stream) {
    let Some((a, b)) = ends(sim) else { return };
    let Some(_) = moves_for_long(sim, &a, &b) else { return };
    sim.run_for(dice.within(0, 2_000));
    for id in 1..=3 {
        sim.kill_now(&Node::Coordinator(id));
    }
    sim.triggers.clear();
    sim.run_for(30_000);
    for id in 1..=3 {
        sim.start_now(&Node::Coordinator(id));
    }
    sim.run_for(3_000);
}

/// A front end dies when its proxy has read a map of the new table and the table is not acknowledged.
fn dies_after_a_reload(sim: &mut Sim, dice: &mut Stream) {
    let Some((a, b)) = ends(sim) else { return };
    let Some((_, node)) = one(dice) else { return };
    let down = dice.within(500, 6_000);
    sim.trap("front-end-did-reload", dice.within(0, 1) as u32, Injection::Kill(node, down));
    if let Ok(id) = sim.order(away(&a, &b)) {
        sim.run_plan(id, 30_000);
    }
    sim.run_for(8_000);
}

/// A reload fails for a while.
fn reload_fails(sim: &mut Sim, dice: &mut Stream) {
    let Some((a, b)) = ends(sim) else { return };
    let Some((_, node)) = one(dice) else { return };
    let trouble = if dice.one_in(4) { DiskTrouble::Enospc } else { DiskTrouble::Eio };
    sim.strike(Injection::Disk(node, trouble));
    let Ok(id) = sim.order(away(&a, &b)) else { return };
    is_master_in_time(sim, &b);
    sim.run_plan(id, 30_000);
}

/// R12: whoever is told of a move, dies and starts again holds nobody, until it is told anew.
fn starts_again_while_moving(sim: &mut Sim, dice: &mut Stream) {
    let Some((a, b)) = ends(sim) else { return };
    let Some(id) = moves_for_long(sim, &a, &b) else { return };
    for number in 1..=2 {
        let Some(name) = name(number) else { return };
        sim.kill_now(&Node::FrontEnd(name.clone()));
        sim.run_for(dice.within(100, 1_500));
        sim.start_now(&Node::FrontEnd(name));
    }
    sim.run_for(dice.within(0, 4_000));
    drop(sim.abort(id));
    sim.triggers.clear();
    sim.run_plan(id, 30_000);
}

/// The plan that waits for a dead front end is given up by a person; then its word comes.
fn given_up_while_it_waits(sim: &mut Sim, dice: &mut Stream) {
    let (Some((a, b)), Some((_, node))) = (ends(sim), one(dice)) else { return };
    sim.kill_now(&node);
    let Ok(id) = sim.order(away(&a, &b)) else { return };
    is_master_in_time(sim, &b);
    drop(sim.abort(id));
    sim.run_for(dice.within(500, 5_000));
    sim.start_now(&node);
    is_done_soon(sim, id);
}

/// A front end that does not come back is taken out of the cluster file: nothing waits for it.
fn line_taken_out(sim: &mut Sim, dice: &mut Stream) {
    let (Some((a, b)), Some((name, node))) = (ends(sim), one(dice)) else { return };
    sim.kill_now(&node);
    let Ok(id) = sim.order(away(&a, &b)) else { return };
    is_master_in_time(sim, &b);
    sim.run_for(dice.within(0, 34_000));
    let mut fleet = super::super::fleet_of(&sim.swarm);
    fleet.front_ends.remove(&name);
    if let Ok(applied) = sim.order(Intent::Apply(Box::new(fleet))) {
        sim.run_plan(applied, 20_000);
    }
    is_done_soon(sim, id);
    sim.start_now(&node);
    sim.run_for(3_000);
}

/// A front end's disk is empty in the middle of a hand-over: it serves nothing, and then the newest table.
fn wiped_at_a_hand_over(sim: &mut Sim, dice: &mut Stream) {
    let (Some((a, b)), Some((name, node))) = (ends(sim), one(dice)) else { return };
    let Ok(id) = sim.order(away(&a, &b)) else { return };
    sim.run_for(dice.within(0, 400));
    sim.wipe_front_end(&name);
    sim.run_for(dice.within(100, 4_000));
    sim.start_now(&node);
    sim.run_plan(id, 40_000);
}

/// No coordinator reaches a front end: its clients are sent to A, and A, which has handed over, takes nothing of theirs.
fn cut_off(sim: &mut Sim, dice: &mut Stream) {
    let (Some((a, b)), Some((name, _))) = (ends(sim), one(dice)) else { return };
    sim.cut_front_end(&name, dice.within(8_000, 20_000), FaultClass::PartialCut);
    let Ok(id) = sim.order(away(&a, &b)) else { return };
    is_master_in_time(sim, &b);
    sim.run_plan(id, 60_000);
}
