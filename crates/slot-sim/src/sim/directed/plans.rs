//! Schedules of plans that are paused, resumed and undone.
//!
//! What always holds: as in the other schedules, nothing is asserted here.

use super::*;
use slot_coordinator::core::ControlRequest;
use slot_machine::state::{PlanStatus, StepState};
use slot_types::plan::{Intent, Reverse, StepKind};

/// The schedules, and those of the bugs planted in plans.
pub(super) const SCRIPTS: &[Script] = &[
    Script { name: "reach/paused-while-frozen", swarm: three, play: paused_while_frozen },
    Script { name: "r14-resume-without-guards", swarm: three, play: resumed_in_the_dark },
    Script { name: "r18-undo-with-old-approval", swarm: three, play: undone },
];

fn three(_: &mut Stream) -> Swarm {
    Swarm::calm(3, 1, 2, 0)
}

fn is_frozen(sim: &Sim, id: PlanId) -> bool {
    sim.record(id).is_some_and(|record| {
        let tasks = record.plan.tasks.iter().zip(&record.tasks);
        let mut steps = tasks.flat_map(|(task, run)| task.steps.iter().zip(&run.steps));
        steps.any(|(step, run)| step.kind == StepKind::Freeze && matches!(run.state, StepState::Done { .. }))
    })
}

fn pause(sim: &mut Sim, plan: PlanId) {
    let request = ControlRequest::PausePlan { request: None, plan, reason: "a directed run".into() };
    let _ = sim.ask_and_wait("bob", request);
}

fn resume(sim: &mut Sim, plan: PlanId) {
    let request = ControlRequest::ResumePlan { request: None, plan, reason: "a directed run".into() };
    let _ = sim.ask_and_wait("carol", request);
}

/// A drain of the master's host whose store is refused, because its freezes are lost; it waits for a person.
fn part_way(sim: &mut Sim) -> Option<PlanId> {
    let host = sim.master_of("store1")?.host;
    super::hosts::lose(sim, "deliver-freeze");
    let id = sim.order(Intent::DrainHost(host)).ok()?;
    sim.run_until(120_000, |sim| {
        sim.record(id).is_some_and(|r| matches!(r.status, PlanStatus::Paused { by: None, .. }))
    });
    Some(id)
}

/// R18: a person says pause between the freeze and the commit; the compare is late enough for that.
fn paused_while_frozen(sim: &mut Sim, dice: &mut Stream) {
    let [a, b] = match <[SlotId; 2]>::try_from(sim.copies_of("store1")) {
        Ok(copies) => copies,
        Err(_) => return,
    };
    sim.trap("deliver-catch-up", 0, Injection::Late(dice.within(1_500, 3_000)));
    let Ok(id) = sim.order(Intent::FailOverSlot { slot: a, to: Some(b) }) else { return };
    sim.run_until(10_000, |sim| is_frozen(sim, id));
    pause(sim, id);
    sim.run_for(120_000);
    // The books are looked at with each entry, and nobody else makes one.
    let _ = sim.ask_and_wait("carol", ControlRequest::OpenSession);
    resume(sim, id);
    sim.run_plan(id, 30_000);
}

/// R14: the drain is resumed while nobody hears the hosts that its masters are to go to.
fn resumed_in_the_dark(sim: &mut Sim, dice: &mut Stream) {
    let copies = sim.copies_of("store1");
    let Some(id) = part_way(sim) else { return };
    for slot in copies.iter().skip(1) {
        sim.silence_now(&slot.host, 30_000);
    }
    sim.run_for(dice.within(7_000, 12_000));
    resume(sim, id);
    sim.run_for(40_000);
    resume(sim, id);
    sim.run_plan(id, 60_000);
}

/// R18: the undo of a drain is proposed; only later somebody says yes to it.
fn undone(sim: &mut Sim, dice: &mut Stream) {
    let Some(id) = part_way(sim) else { return };
    let undo = || Intent::Undo(Box::new(Reverse { plan: id, ..Reverse::default() }));
    let _ = sim.plan("bob", undo());
    sim.run_for(dice.within(2_000, 6_000));
    if let Ok(back) = sim.order(undo()) {
        sim.run_plan(back, 60_000);
    }
}
