//! Pausing a plan and taking it up again (R18, R14).
//!
//! What always holds: a paused plan begins nothing; what is frozen or has an epoch goes on to its end, and so does every order
//! that is out, so a pause takes effect at the next safe point and never while anything is frozen; a plan that is taken up
//! again begins only what its guards, looked at anew, allow.

use crate::apply::{Stamp, audit};
use crate::command::{Answer, Refused, StepRef};
use crate::hosts::bounded;
use crate::ready::{self, At};
use crate::state::*;
use crate::{guard, holds, plans, unwind};
use slot_planted::planted;
use slot_types::evidence::Evidence;
use slot_types::ids::*;
use slot_types::plan::{Task, TaskKind};

/// Whether a task keeps still because its plan is paused: it has not begun, or it moves no mastership and waits between two
/// steps. A hand-over that has begun is frozen or past its commit, and goes on (R18).
pub(crate) fn keeps_still(record: &PlanRecord, task: &Task, run: &TaskRun) -> bool {
    let paused = matches!(record.status, PlanStatus::Paused { .. });
    let moves = ready::target(&task.kind).is_some();
    paused && (run.state == TaskState::Waiting || run.state == TaskState::Running && !moves)
}

/// Whether nothing of a plan is in motion: no order is out, nothing is frozen, nothing goes back.
pub fn is_at_rest(record: &PlanRecord) -> bool {
    let still = |(task, run): (&Task, &TaskRun)| {
        let out = run.steps.iter().any(|step| matches!(step.state, StepState::Started { .. }));
        run.state.is_ended() || keeps_still(record, task, run) && (!out || run.state == TaskState::Waiting)
    };
    record.status.is_ended() || record.plan.tasks.iter().zip(&record.tasks).all(still)
}

/// Whether what a task did not do may be tried again by the same plan: nothing of it was committed, and it makes and destroys no
/// copy whose fate is open.
fn may_be_tried_again(task: &Task, run: &TaskRun) -> bool {
    let untouched = run.steps.iter().all(|step| step.state == StepState::Waiting { attempt: 1 });
    let plain = matches!(task.kind, TaskKind::HandOver { .. } | TaskKind::StopCopy { .. } | TaskKind::HostState { .. });
    matches!(run.state, TaskState::NotDone { .. }) && !unwind::is_committed(task, run) && (plain || untouched)
}

/// Whether a drain that can't be done whole waits for a person instead of ending: what it did not do may be tried again.
pub(crate) fn waits_for_resume(record: &PlanRecord) -> bool {
    let lives = matches!(record.status, PlanStatus::Running | PlanStatus::Paused { .. });
    let fits = |(task, run): (&Task, &TaskRun)| {
        !run.state.is_ended() || run.state == TaskState::Done || may_be_tried_again(task, run)
    };
    lives && !record.plan.intent.drained().is_empty() && record.plan.tasks.iter().zip(&record.tasks).all(fits)
}

/// Whether a task holds its store no more.
pub(crate) fn lets_go(record: &PlanRecord, run: &TaskRun) -> bool {
    match run.state {
        TaskState::NotDone { .. } => !waits_for_resume(record),
        _ => run.state.is_ended(),
    }
}

/// A person says: begin nothing more.
pub(crate) fn pause(
    state: &mut State,
    stamp: Stamp,
    id: PlanId,
    by: &OperatorName,
    reason: &str,
) -> Result<Answer, Refused> {
    let record = plans::standing(state, id, |status| *status == PlanStatus::Running)?;
    if record.plan.intent.is_everyday() {
        return Err(Refused::Precondition(format!("{id} is everyday recovery and is not paused")));
    }
    // R6, R18: a failover has its epoch from its approval on, and its store has no master until it is through.
    if record.plan.failovers().next().is_some() {
        return Err(Refused::Precondition(format!(
            "R18: {id} fails over and is past its commit: it only goes forward"
        )));
    }
    record.status = PlanStatus::Paused { by: Some(by.clone()), reason: bounded(reason) };
    audit(state, stamp, by.as_str(), format!("pause {id}: {}", bounded(reason)));
    Ok(Answer::Plan { id, people_missing: 0 })
}

/// A person says: go on, and try again what was not done.
pub(crate) fn resume(
    state: &mut State,
    stamp: Stamp,
    id: PlanId,
    by: &OperatorName,
    reason: &str,
    guards: &Evidence,
) -> Result<Answer, Refused> {
    let before = plans::standing(state, id, |status| matches!(status, PlanStatus::Paused { .. }))?.clone();
    holds::let_start(state, &before)?;
    take_up(state, id);
    let refused = look_again(state, id, guards);
    let may_go = refused.iter().filter(|(_, why)| why.is_none()).count();
    if let Some((_, Some(why))) = refused.iter().find(|(_, why)| why.is_some()).filter(|_| may_go == 0) {
        let why = format!("{why}; nothing else of {id} can go on now");
        state.plans.insert(id, before);
        return Err(Refused::Guard(why));
    }
    audit(state, stamp, by.as_str(), format!("resume {id}: {}", bounded(reason)));
    for (task, why) in refused.into_iter().filter_map(|(task, why)| Some((task, why?))) {
        audit(state, stamp, "slotd", format!("{id} task {} is not tried again: {why}", task + 1));
        if let Some(run) = state.plans.get_mut(&id).and_then(|r| r.tasks.get_mut(usize::from(task))) {
            run.state = TaskState::NotDone { why: bounded(&format!("not now: {why}")) };
        }
    }
    plans::settle(state, stamp, id);
    Ok(Answer::Plan { id, people_missing: 0 })
}

/// What was not done is as if it had not begun, but for the numbers of its attempts, which name its orders and its freezes (R1, R4).
fn take_up(state: &mut State, id: PlanId) {
    let Some(record) = state.plans.get_mut(&id) else { return };
    record.status = PlanStatus::Running;
    for (task, run) in record.plan.tasks.iter().zip(&mut record.tasks) {
        if !may_be_tried_again(task, run) {
            continue;
        }
        let again = |step: &StepRun| {
            let attempt = match &step.state {
                StepState::Waiting { attempt } => *attempt,
                StepState::Started { attempt, .. }
                | StepState::Done { attempt, .. }
                | StepState::Never { attempt, .. } => attempt.saturating_add(1),
            };
            StepRun { state: StepState::Waiting { attempt }, stuck: None }
        };
        let steps = run.steps.iter().map(again).collect();
        *run = TaskRun { state: TaskState::Waiting, steps, unwind: None, serve: None };
    }
}

/// R14: the tasks that could begin at once, each with what now speaks against it.
fn look_again(state: &State, id: PlanId, guards: &Evidence) -> Vec<(u16, Option<String>)> {
    let Some(record) = state.plans.get(&id) else { return Vec::new() };
    let is_done = |dep: &u16| record.tasks.get(usize::from(*dep)).is_some_and(|run| run.state == TaskState::Done);
    let mut seen = Vec::new();
    for (number, (task, run)) in record.plan.tasks.iter().zip(&record.tasks).enumerate() {
        if run.state != TaskState::Waiting || !task.after.iter().all(is_done) {
            continue;
        }
        let number = u16::try_from(number).unwrap_or(u16::MAX);
        let Some(at) = At::new(state, record, number, 0) else { continue };
        let step = StepRef { plan: id, task: number, step: 0 };
        let verdict = match planted("r14-resume-without-guards") {
            true => Ok(()),
            false => ready::ready(&at).and_then(|()| guard::guard(state, step, guards)),
        };
        seen.push((number, verdict.err()));
    }
    seen
}
