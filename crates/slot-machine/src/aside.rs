//! Records that a replica put aside when it followed a history without them (R7).
//!
//! What always holds: a divergent suffix joins a loss case, whoever held it: a copy that came back need not be a former
//! master to hold what nobody else does. What was settled by name opens no case again.

use crate::apply::{Stamp, audit, cluster};
use crate::command::{Answer, Refused};
use crate::state::State;
use slot_types::cluster::*;
use slot_types::ids::*;
use slot_types::plan::TaskKind;
use slot_types::position::Tip;
use std::collections::BTreeSet;

/// The most records one loss case names; what is left opens the next one once it is settled.
pub const ASIDE_RECORDS_MAX: usize = 2_000;

/// Which of the records that a copy says it put aside no loss case tells of yet; none while a case of that copy is open, for
/// settling it settles them all.
pub fn untold(cluster: &Cluster, slot: &SlotId, generation: CopyGeneration, aside: &[RecordId]) -> Vec<RecordId> {
    let holds =
        |store: &Store| !store.retired && store.copies.get(slot).is_some_and(|copy| copy.generation == generation);
    let Some((name, _)) = cluster.stores.iter().find(|(_, store)| holds(store)) else { return Vec::new() };
    let mut told: BTreeSet<&RecordId> = BTreeSet::new();
    for case in cluster.loss_cases.values().filter(|case| case.store == *name) {
        let own = case.slot == *slot && case.generation == generation;
        if own && case.state.is_open() {
            return Vec::new();
        }
        if own || matches!(case.state, LossState::Reinjected { .. }) {
            told.extend(&case.stranded);
        }
    }
    aside.iter().filter(|id| !told.contains(id)).take(ASIDE_RECORDS_MAX).cloned().collect()
}

pub(crate) fn seen(
    state: &mut State,
    stamp: Stamp,
    slot: &SlotId,
    generation: CopyGeneration,
    aside: &[RecordId],
) -> Result<Answer, Refused> {
    let stranded = untold(cluster(state)?, slot, generation, aside);
    let Some((name, epoch)) = cluster(state)?.copy_on(slot).map(|(name, store, _)| (name.clone(), store.epoch)) else {
        return Ok(Answer::Done);
    };
    if stranded.is_empty() {
        return Ok(Answer::Done);
    }
    let (plan, stated) = promoted_past(state, &name);
    let case = state.last_loss_case.next();
    state.last_loss_case = case;
    let text = format!("loss case {case} opened for {slot}: it put {} records of {name} aside", stranded.len());
    audit(state, stamp, "slotd", text);
    let Some(cluster) = state.cluster.as_mut() else { return Err(Refused::NotFounded) };
    let content = LossCase {
        store: name.clone(),
        slot: slot.clone(),
        generation,
        plan,
        epoch,
        stated,
        state: LossState::Listed,
        final_tip: None,
        stranded,
        opened: stamp.now,
    };
    cluster.loss_cases.insert(case, content);
    if let Some(store) = cluster.stores.get_mut(&name) {
        store.version += 1;
    }
    Ok(Answer::Done)
}

/// The latest failover of a store and what its sheet said, as far as it is remembered.
pub(crate) fn promoted_past(state: &State, store: &StoreName) -> (PlanId, LossStatement) {
    let unknown = LossStatement {
        class: LossClass::Unknown,
        candidate: Tip::default(),
        last_known: None,
        last_known_age_ms: None,
        known_lag: None,
    };
    let started = state.plans.values().rev().filter(|record| record.started.is_some());
    let mut stated = started.flat_map(|record| {
        record.plan.tasks.iter().filter_map(|task| match &task.kind {
            TaskKind::FailOver { loss, .. } if task.store.as_ref() == Some(store) => Some((record.id, loss.clone())),
            _ => None,
        })
    });
    stated.next().unwrap_or((PlanId(0), unknown))
}
