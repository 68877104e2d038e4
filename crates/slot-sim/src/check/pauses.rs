//! Pauses, booked anew from the committed entries (R18, R14).
//!
//! What always holds: what is paused is what the entries said; a paused plan begins nothing, and leaves no master frozen; a plan
//! that is resumed takes up no hand-over between hosts that nobody hears.

use super::Found;
use slot_machine::command::Command;
use slot_machine::state::{PlanRecord, State, StepState, TaskRun, TaskState};
use slot_types::evidence::Evidence;
use slot_types::ids::{LogTime, PlanId};
use slot_types::plan::{StepKind, Task, TaskKind};
use std::collections::{BTreeMap, BTreeSet};

/// A frozen hand-over of a paused plan goes on, or goes back, within this log time: some times a step's deadline.
const STANDS_STILL_MS: u64 = 90_000;
/// How old an observation may be that a hand-over begins with.
const HEARD_MS: u64 = 5_000;

/// See the module's documentation.
#[derive(Default)]
pub(crate) struct Pauses {
    paused: BTreeSet<PlanId>,
    /// Tasks that have begun, with the log time of the last entry about each.
    begun: BTreeMap<(PlanId, u16), LogTime>,
    told: BTreeSet<(PlanId, u16)>,
}

impl Pauses {
    /// An entry was accepted; `state` is the one after it.
    pub fn said(&mut self, found: &mut Found, state: &State, command: &Command) {
        match command {
            Command::PausePlan { plan, .. } => drop(self.paused.insert(*plan)),
            // What is past its commit goes forward while the rest of the plan is given up.
            Command::AbortPlan { plan, .. } => drop(self.paused.remove(plan)),
            Command::ResumePlan { plan, guards, .. } => {
                self.paused.remove(plan);
                if let Some(record) = state.plans.get(plan) {
                    // What was frozen or past its commit went on all the while and is not begun anew: it may be paused again.
                    let goes_on = |task: u16| {
                        record.tasks.get(usize::from(task)).is_some_and(|run| run.state == TaskState::Running)
                    };
                    self.begun.retain(|(of, task), _| of != plan || goes_on(*task));
                    resumed(found, record, guards);
                }
            }
            Command::StartStep { step, .. } => {
                let key = (step.plan, step.task);
                let kind = state.plans.get(&key.0).and_then(|r| r.plan.tasks.get(usize::from(key.1))).map(|t| &t.kind);
                let moves = matches!(kind, Some(TaskKind::HandOver { .. } | TaskKind::CreateStore { .. }));
                if self.paused.contains(&key.0) && !(moves && self.begun.contains_key(&key)) {
                    found.say("R18", format!("{} is paused and begins {kind:?}", key.0));
                }
                self.begun.insert(key, state.log_time);
            }
            Command::FinishStep { id, .. } => self.moved((id.plan, id.task), state.log_time),
            Command::StuckStep { step, .. } => self.moved((step.plan, step.task), state.log_time),
            _ => {}
        }
        self.paused.retain(|plan| state.plans.get(plan).is_some_and(|r| !r.status.is_ended()));
        self.stand_still(found, state);
    }

    fn moved(&mut self, key: (PlanId, u16), now: LogTime) {
        if let Some(last) = self.begun.get_mut(&key) {
            *last = now;
        }
    }

    fn stand_still(&mut self, found: &mut Found, state: &State) {
        for record in self.paused.iter().filter_map(|plan| state.plans.get(plan)) {
            for (number, (task, run)) in record.plan.tasks.iter().zip(&record.tasks).enumerate() {
                let key = (record.id, u16::try_from(number).unwrap_or(u16::MAX));
                let since = self.begun.get(&key).map_or(0, |last| state.log_time.since(*last));
                if since > STANDS_STILL_MS && is_frozen(task, run) && self.told.insert(key) {
                    found.say("R18", format!("{} is paused with {:?} frozen for {since} ms", record.id, task.store));
                }
            }
        }
    }
}

/// A freeze is done, the epoch is not committed, and nothing goes back.
fn is_frozen(task: &Task, run: &TaskRun) -> bool {
    let done = |kind| {
        let mut steps = task.steps.iter().zip(&run.steps);
        steps.any(|(step, run)| step.kind == kind && matches!(run.state, StepState::Done { .. }))
    };
    run.state == TaskState::Running && done(StepKind::Freeze) && !done(StepKind::CommitEpoch)
}

fn resumed(found: &mut Found, record: &PlanRecord, guards: &Evidence) {
    for (task, run) in record.plan.tasks.iter().zip(&record.tasks) {
        let TaskKind::HandOver { from, to } = &task.kind else { continue };
        let is_done = |dep: &u16| record.tasks.get(usize::from(*dep)).is_some_and(|run| run.state == TaskState::Done);
        let next = run.state == TaskState::Waiting && task.after.iter().all(is_done);
        let unheard = [from, to].into_iter().find(|slot| guards.running(slot, HEARD_MS).is_none());
        if let Some(slot) = unheard.filter(|_| next) {
            found.say("R14", format!("{} is resumed with {slot}, which nobody hears", record.id));
        }
    }
}
