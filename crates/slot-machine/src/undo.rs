//! What a plan has done, turned round.
//!
//! What always holds: undo is a plan of its own with an approval of its own (R18); what it is to bring back is read from what
//! the plan is recorded to have done, never from what a client says; it starts only when nothing of the plan it undoes is in
//! motion, and in that entry the other plan is over.

use crate::apply::{Stamp, audit};
use crate::command::Refused;
use crate::state::*;
use crate::{pause, plans};
use slot_types::cluster::HostState;
use slot_types::ids::*;
use slot_types::plan::{Intent, Reverse, Task, TaskKind};

/// The reverse of what a plan has done so far. Masters and replicas go back; copies that were built or destroyed stay as they
/// are, and so does every change of the fleet.
pub fn reverse(state: &State, id: PlanId) -> Result<Reverse, Refused> {
    let record = state.plans.get(&id).ok_or(Refused::UnknownPlan(id))?;
    let stopped = !matches!(record.status, PlanStatus::Proposed | PlanStatus::Running | PlanStatus::Aborting { .. });
    if !stopped || record.started.is_none() {
        return Err(Refused::WrongStatus { plan: id, status: record.status.to_string() });
    }
    if !pause::is_at_rest(record) {
        return Err(Refused::Precondition(format!(
            "{id} is on its way to a safe point; ask again in a moment: slotctl plan watch {id}"
        )));
    }
    if matches!(record.plan.intent, Intent::Undo(_)) || record.plan.intent.is_everyday() {
        return Err(Refused::Precondition(format!("{id} is itself an undo, or everyday recovery, and is not undone")));
    }
    let mut reverse = Reverse { plan: id, ..Reverse::default() };
    for (task, run) in record.plan.tasks.iter().zip(&record.tasks) {
        let done = run.state == TaskState::Done;
        if done || matches!(run.state, TaskState::NeedsHuman { .. } | TaskState::Superseded { .. }) {
            turn_round(&mut reverse, task, done);
        }
    }
    Ok(reverse)
}

fn turn_round(reverse: &mut Reverse, task: &Task, done: bool) {
    match (&task.kind, &task.store) {
        (TaskKind::HandOver { from, .. }, Some(store)) if done => {
            // A store's first master is the one it had before the plan.
            reverse.masters.entry(store.clone()).or_insert_with(|| from.clone());
        }
        (TaskKind::StopCopy { slot }, Some(store)) if done => {
            reverse.started.insert(slot.clone(), store.clone());
        }
        (TaskKind::HostState { host, to: HostState::Draining | HostState::Maintenance }, _) if done => {
            reverse.active.insert(host.clone());
        }
        (TaskKind::StartCopy { .. } | TaskKind::CountCopy { .. }, _) => {}
        _ => reverse.stays = reverse.stays.saturating_add(1),
    }
}

/// The plan that an undo is about, if it is one.
pub(crate) fn of(record: &PlanRecord) -> Option<&Reverse> {
    match &record.plan.intent {
        Intent::Undo(reverse) => Some(reverse),
        _ => None,
    }
}

/// R18, R14: what is to be brought back is what was done, as it stands now.
pub(crate) fn still_fits(state: &State, record: &PlanRecord) -> Result<(), Refused> {
    let Some(wanted) = of(record) else { return Ok(()) };
    if reverse(state, wanted.plan)? == *wanted {
        return Ok(());
    }
    Err(Refused::Precondition(format!(
        "{} has done something else since; ask again: slotctl plan undo {}",
        wanted.plan, wanted.plan
    )))
}

/// Whether a claim of another plan is in the way of this one: not that of the plan it undoes, which ends as it starts.
pub(crate) fn in_the_way(record: &PlanRecord, holder: PlanId) -> bool {
    of(record).is_none_or(|reverse| reverse.plan != holder)
}

/// The plan that is undone is over: it can't be resumed any more, and lets go of what it holds.
pub(crate) fn ends_the_other(state: &mut State, stamp: Stamp, id: PlanId) {
    let Some(other) = state.plans.get(&id).and_then(of).map(|reverse| reverse.plan) else { return };
    let Some(record) = state.plans.get_mut(&other).filter(|record| !record.status.is_ended()) else { return };
    let by = match &record.status {
        PlanStatus::Paused { by: Some(by), .. } => Some(by.clone()),
        _ => record.plan.requested_by.clone(),
    };
    let Some(by) = by else { return };
    record.status = PlanStatus::Aborting { by, reason: format!("undone by {id}") };
    for run in &mut record.tasks {
        if !run.state.is_ended() {
            run.state = TaskState::NotDone { why: format!("undone by {id}") };
        }
    }
    audit(state, stamp, "slotd", format!("{other} ends: {id} undoes it"));
    plans::settle(state, stamp, other);
}
