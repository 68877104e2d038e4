//! What comparing copies with their masters found.
//!
//! What always holds: a stamp is about one copy generation and is replaced only by a later comparison; whether a copy may be
//! trusted with a master role is a fact that plans depend on, so a change of that changes the store's version (R14) and
//! stands in the audit; a clean stamp after a clean one does not.

use crate::apply::{Stamp as At, audit, cluster};
use crate::command::{Answer, Refused};
use crate::ready;
use crate::state::{State, StepState, TaskRun, TaskState};
use slot_types::cluster::Cluster;
use slot_types::ids::*;
use slot_types::order::NeverWill;
use slot_types::plan::{StepKind, Task, TaskKind};
use slot_types::verify::{DIFFERENCES_NAMED_MAX, Stamp, Verification, VerifyStage};

/// Whether a hand-over gave up because the copy it was for is not equal to its master (R1): what differs is then to be named.
pub fn found_unequal(task: &Task, run: &TaskRun) -> bool {
    let TaskKind::HandOver { from, to } = &task.kind else { return false };
    if !matches!(run.state, TaskState::NotDone { .. } | TaskState::Unwinding { .. }) {
        return false;
    }
    let refused = task.steps.iter().zip(&run.steps).any(|(step, at)| {
        step.kind == StepKind::CatchUp && matches!(&at.state, StepState::Never { why: NeverWill::NotEqual { .. }, .. })
    });
    let frozen = ready::tip_of(task, run, StepKind::Freeze, from);
    let caught_up = ready::tip_of(task, run, StepKind::CatchUp, to);
    refused || caught_up.is_some() && caught_up != frozen
}

/// Whether the state does not know yet what a copy says it found.
pub fn is_news(cluster: &Cluster, slot: &SlotId, generation: CopyGeneration, of: &Verification) -> bool {
    let held = cluster.copy_on(slot).filter(|(_, store, copy)| !store.retired && copy.generation == generation);
    let known = cluster.stamps.get(slot).filter(|stamp| stamp.generation == generation);
    of.tells() && held.is_some() && known.is_none_or(|stamp| stamp.of.asked < of.asked)
}

pub(crate) fn verified(
    state: &mut State,
    at: At,
    slot: &SlotId,
    generation: CopyGeneration,
    of: &Verification,
) -> Result<Answer, Refused> {
    if !is_news(cluster(state)?, slot, generation, of) {
        return Ok(Answer::Done);
    }
    let Some(cluster) = state.cluster.as_mut() else { return Err(Refused::NotFounded) };
    let Some(name) = cluster.copy_on(slot).map(|(name, ..)| name.clone()) else { return Ok(Answer::Done) };
    let mut of = of.clone();
    of.findings.first.truncate(DIFFERENCES_NAMED_MAX);
    let before = cluster.stamps.get(slot).filter(|stamp| stamp.generation == generation).cloned();
    let mut after = Stamp { generation, at: at.now, wall: at.wall, of };
    // What broke off did not look at all of it: it takes back nothing that speaks against the copy.
    if let Some(before) = before.as_ref().filter(|before| before.is_at_fault() && !after.is_at_fault())
        && after.of.stage != VerifyStage::Ended
    {
        after.of.findings.clone_from(&before.of.findings);
    }
    let text = match &before {
        Some(before) if before.of.findings == after.of.findings => None,
        None if !after.differs() => None,
        _ => Some(line(&name, slot, &after)),
    };
    if before.is_some_and(|before| before.is_at_fault()) != after.is_at_fault()
        && let Some(store) = cluster.stores.get_mut(&name)
    {
        store.version += 1;
    }
    cluster.stamps.insert(slot.clone(), after);
    // A copy that is gone leaves nothing behind: another one on its slot is another copy.
    let stores = &cluster.stores;
    let there = |slot: &SlotId, stamp: &Stamp| {
        stores.values().any(|s| s.copies.get(slot).is_some_and(|copy| copy.generation == stamp.generation))
    };
    cluster.stamps.retain(|slot, stamp| there(slot, stamp));
    if let Some(text) = text {
        audit(state, at, "slotd", text);
    }
    Ok(Answer::Done)
}

fn line(store: &StoreName, slot: &SlotId, stamp: &Stamp) -> String {
    let Verification { against, findings, records, .. } = &stamp.of;
    match findings.first.first() {
        None => format!("{store}: {slot} is equal to {against} again, in all of {records} records"),
        Some(first) => {
            let more = match findings.count {
                0 | 1 => String::new(),
                count => format!(", and {} more", count - 1),
            };
            format!("{store}: {slot} DIFFERS from {against}: {first}{more}")
        }
    }
}
