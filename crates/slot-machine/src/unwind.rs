//! Going back before the commit, and ending what a person aborts after it (R1, R4, R18).
//!
//! What always holds: a task before its commit ends as "not done" only when its freeze is known to be over and no order of
//! it that could still matter is in flight (R4); a task past its commit never goes back.

use crate::apply::Stamp;
use crate::ready::{is_done, target};
use crate::state::{StepState, TaskRun, TaskState, Unwind};
use slot_planted::planted;
use slot_types::cluster::{Cluster, CopyState, Role};
use slot_types::ids::*;
use slot_types::order::{NeverWill, Outcome};
use slot_types::plan::{Step, StepKind, Task, TaskKind};

/// Set in an order's step number: it cancels that step's order.
pub const CANCEL_BIT: u16 = 0x8000;
/// Set in an order's step number: it orders that step's Demote again, so that the demoted engine serves replication.
pub const SERVE_BIT: u16 = 0x2000;
/// Set in an order's step number: it thaws that step's freeze.
pub const THAW_BIT: u16 = 0x4000;

/// Whether the task has allocated an epoch that it has not filled yet, or has.
pub(crate) fn is_committed(task: &Task, run: &TaskRun) -> bool {
    let commits = match &task.kind {
        TaskKind::RetireStore { .. } => StepKind::RetireStore,
        kind if target(kind).is_some() => StepKind::CommitEpoch,
        _ => return false,
    };
    is_done(run, task, commits)
}

/// Orders of these kinds may do harm late, so their fate must be known before the task ends (R4). The others lose to any
/// later order on their slot by log index, or do nothing that a later one does not do again.
fn must_be_over(kind: StepKind) -> bool {
    matches!(
        kind,
        StepKind::Freeze
            | StepKind::Provision
            | StepKind::Destroy
            | StepKind::StartMaster
            | StepKind::Promote
            | StepKind::Demote
            | StepKind::FenceHost
    )
}

/// What builds or destroys one copy matters no more once its task is given up: the slot is neither present nor free until a later
/// order is done there (R4), and an agent that is gone must not hold the store for ever.
fn matters_late(task: &Task, kind: StepKind) -> bool {
    let alone = matches!(task.kind, TaskKind::BuildCopy { .. } | TaskKind::DestroyCopy { .. });
    must_be_over(kind) && !alone
}

/// Whether an engine may be frozen although its agent says that the freeze never will be: it may have been asked before the
/// order lost. A thaw of a freeze that never was does no harm, and ends its id for good (R1).
fn may_be_frozen(why: &NeverWill) -> bool {
    !matches!(
        why,
        NeverWill::BootEnded(_) | NeverWill::OtherCopy { .. } | NeverWill::OlderEpoch { .. } | NeverWill::Thawed
    )
}

/// Starts going back.
pub(crate) fn begin(cluster: &mut Cluster, task: &Task, run: &mut TaskRun, stamp: Stamp, why: &str) {
    if run.state.is_ended() || matches!(run.state, TaskState::Unwinding { .. }) {
        return;
    }
    let mut unwind = Unwind { index: stamp.index, cancel: Vec::new(), thaw: None };
    for (number, (step, at)) in task.steps.iter().zip(&run.steps).enumerate() {
        let number = u16::try_from(number).unwrap_or(u16::MAX);
        match &at.state {
            StepState::Started { .. } if matters_late(task, step.kind) && !planted("r4-abort-forgets-started") => {
                unwind.cancel.push(number);
            }
            StepState::Started { .. } => uncount(cluster, task, step),
            StepState::Done { attempt, .. } if step.kind == StepKind::Freeze => {
                unwind.thaw = Some(OrderId { plan: PlanId(0), task: 0, step: number, attempt: *attempt });
            }
            StepState::Never { attempt, why } if step.kind == StepKind::Freeze && may_be_frozen(why) => {
                unwind.thaw = Some(OrderId { plan: PlanId(0), task: 0, step: number, attempt: *attempt });
            }
            _ => {}
        }
    }
    run.state = TaskState::Unwinding { why: why.to_string() };
    run.unwind = Some(unwind);
    finish_if_over(cluster, task, run);
}

/// A Follow or Stop whose fate is unknown leaves a copy that is not counted until it follows again (R16).
fn uncount(cluster: &mut Cluster, task: &Task, step: &Step) {
    let (Some(store), Some(slot_types::plan::Place::Slot(slot))) = (&task.store, &step.at) else { return };
    if !matches!(step.kind, StepKind::Follow | StepKind::Stop) {
        return;
    }
    if let Some(store) = cluster.stores.get_mut(store) {
        if let Some(copy) = store.copies.get_mut(slot).filter(|c| c.role == Role::Replica)
            && copy.state != CopyState::Quarantined
        {
            copy.state = CopyState::Building;
        }
        store.version += 1;
    }
}

/// A person says stop (R18).
pub(crate) fn abort_task(cluster: &mut Cluster, task: &Task, run: &mut TaskRun, stamp: Stamp, held: bool, why: &str) {
    match run.state {
        TaskState::Waiting => run.state = TaskState::NotDone { why: why.to_string() },
        TaskState::Running if !is_committed(task, run) || planted("r18-abort-after-commit-thaws") => {
            begin(cluster, task, run, stamp, why);
        }
        TaskState::Running => abort_committed(cluster, task, run, stamp, held, why),
        _ => {}
    }
}

/// After the commit only forward: what is under way goes on. What is stuck ends here, for a person.
///
/// A Raise or a Demote of this epoch may still come late: it only takes mastership away, and loses to whatever a later plan
/// orders there (R4). A Promote that is `held` back ([`ready::holds_back`]) may have been carried out, and nobody asks about
/// it any more: whoever takes the store next fences the half-made master (R3).
///
/// [`ready::holds_back`]: crate::ready::holds_back
pub(crate) fn abort_committed(
    cluster: &mut Cluster,
    task: &Task,
    run: &mut TaskRun,
    stamp: Stamp,
    held: bool,
    why: &str,
) {
    let Some((number, step)) = run.steps.iter().enumerate().find(|(_, s)| !matches!(s.state, StepState::Done { .. }))
    else {
        return;
    };
    let kind = task.steps.get(number).map(|s| s.kind);
    let promoted = is_done(run, task, StepKind::Promote);
    match (kind, &step.state, &step.stuck) {
        // R4, R6: an order to cut a host's power must not come late; it is cancelled, or its outcome learnt.
        (Some(StepKind::FenceHost), StepState::Started { .. }, Some(stuck)) => {
            begin(cluster, task, run, stamp, &format!("{why}; the store has no master: {stuck}"));
        }
        // The master serves and clients are routed; followers come back by everyday recovery.
        (Some(kind), state, Some(stuck))
            if promoted
                && (matches!(kind, StepKind::Follow | StepKind::Canary)
                    || matches!(state, StepState::Waiting { .. })) =>
        {
            let why = format!("{why}; the new master serves, but {stuck}");
            begin(cluster, task, run, stamp, &why);
        }
        // Nothing of the task is in flight that could matter later, and it can't go on by itself.
        (Some(kind), state, Some(stuck))
            if !promoted
                && (held
                    || kind == StepKind::Demote
                    || !must_be_over(kind)
                    || matches!(state, StepState::Waiting { .. })) =>
        {
            run.state = TaskState::NeedsHuman { why: format!("{why}; the store has no master: {stuck}") };
        }
        _ => {}
    }
}

/// Whether the task waits for an agent's word on this cancel or thaw.
pub(crate) fn expects(run: &TaskRun, id: OrderId) -> bool {
    let Some(unwind) = &run.unwind else { return false };
    let number = id.step & !(CANCEL_BIT | THAW_BIT);
    if id.step == number | CANCEL_BIT {
        let state = run.steps.get(usize::from(number)).map(|s| &s.state);
        let outstanding = matches!(state, Some(StepState::Started { attempt, .. }) if *attempt == id.attempt);
        outstanding && unwind.cancel.contains(&number)
    } else {
        // R1: a thaw is said only once every cancel is over, of the freeze that is known by then.
        let thaw = unwind.thaw.is_some_and(|t| t.step == number && t.attempt == id.attempt);
        id.step == number | THAW_BIT && thaw && unwind.cancel.is_empty()
    }
}

/// An agent's word on a cancel or a thaw that [`expects`] says is waited for.
pub(crate) fn finish(cluster: &mut Cluster, task: &Task, run: &mut TaskRun, id: OrderId, outcome: &Outcome) {
    let Some(unwind) = run.unwind.as_mut() else { return };
    if id.step & CANCEL_BIT != 0 {
        let number = id.step & !CANCEL_BIT;
        if !unwind.cancel.contains(&number) {
            return;
        }
        unwind.cancel.retain(|n| *n != number);
        let kind = task.steps.get(usize::from(number)).map(|s| s.kind);
        if let (Some(StepKind::Destroy), Outcome::Done(_), TaskKind::DestroyCopy { slot, .. }, Some(name)) =
            (kind, outcome, &task.kind, &task.store)
        {
            crate::copies::destroyed(cluster, name, slot);
        }
        let is_freeze = kind == Some(StepKind::Freeze);
        let frozen = match outcome {
            Outcome::Done(_) => true,
            Outcome::NeverWill(why) => may_be_frozen(why),
        };
        if is_freeze && frozen {
            // The freeze had happened, or may have: now it must end, for good (R1).
            unwind.thaw = Some(OrderId { plan: PlanId(0), task: 0, step: number, attempt: id.attempt });
        }
    } else if id.step & THAW_BIT != 0 && unwind.thaw.is_some_and(|t| t.step == id.step & !THAW_BIT) {
        // Thawed; or never will be, since the boot or the copy that was frozen is gone or a later order rules.
        unwind.thaw = None;
    }
    finish_if_over(cluster, task, run);
}

fn finish_if_over(cluster: &mut Cluster, task: &Task, run: &mut TaskRun) {
    let over = run.unwind.as_ref().is_some_and(|u| u.cancel.is_empty() && u.thaw.is_none());
    let TaskState::Unwinding { why } = &run.state else { return };
    if !over {
        return;
    }
    run.state = TaskState::NotDone { why: why.clone() };
    run.unwind = None;
    if let (TaskKind::HandOver { from, .. }, Some(store)) = (&task.kind, &task.store)
        && let Some(store) = cluster.stores.get_mut(store)
        && let Some(copy) =
            store.copies.get_mut(from).filter(|c| c.state == CopyState::Frozen && c.role == Role::Master)
    {
        copy.state = CopyState::Serving;
        store.version += 1;
    }
}
