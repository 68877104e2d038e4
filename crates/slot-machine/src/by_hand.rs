//! Masters that a person started at their machine while there was no coordinator (R19).
//!
//! What always holds: each branch is audited once, and once more when it turned out how it ended; it is adopted only if no
//! higher epoch was committed, for then the copy is what it was before; else its copy stays a possible master until it is
//! demoted (R3, R8), and where a successor may have acknowledged at the same time a loss case tells of it.

use crate::apply::{Stamp, audit, cluster};
use crate::aside::promoted_past;
use crate::command::{Answer, Refused};
use crate::hosts::bounded;
use crate::state::State;
use borsh::{BorshDeserialize, BorshSerialize};
use slot_planted::planted;
use slot_types::cluster::*;
use slot_types::hand::{HandStart, HandState};
use slot_types::ids::*;

/// The latest start by hand of a slot's copy that is in the audit.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Noted {
    /// The store.
    pub store: StoreName,
    /// The copy generation: another one counts from 1 again (R11).
    pub generation: CopyGeneration,
    /// The start.
    pub last: HandStart,
}

/// Which of the starts that an agent reports are not in the audit yet, or not as they ended.
pub fn unnoted(
    state: &State,
    slot: &SlotId,
    store: &StoreName,
    generation: CopyGeneration,
    starts: &[HandStart],
) -> Vec<HandStart> {
    let noted = state.by_hand.get(slot).filter(|noted| noted.store == *store && noted.generation == generation);
    let is_new = |start: &&HandStart| match noted.map(|noted| &noted.last) {
        Some(last) => start.number > last.number || (start.number == last.number && start.state != last.state),
        None => true,
    };
    starts.iter().filter(is_new).cloned().collect()
}

/// An agent reported starts by hand.
pub(crate) fn seen(
    state: &mut State,
    stamp: Stamp,
    slot: &SlotId,
    store: &StoreName,
    generation: CopyGeneration,
    starts: &[HandStart],
) -> Result<Answer, Refused> {
    if !cluster(state)?.hosts.contains_key(&slot.host) {
        return Err(Refused::UnknownHost(slot.host.clone()));
    }
    let starts = unnoted(state, slot, store, generation, starts);
    let Some(last) = starts.last().cloned() else { return Ok(Answer::Done) };
    for start in &starts {
        let HandStart { boot, by, uid, reason, wall, state: how, .. } = start;
        let text = format!(
            "by hand at {slot}: {by} (user {uid}, boot {boot}, wall time {wall}) started the master of {store} at epoch {}, \
             branch {}: {} · {}",
            start.epoch,
            start.branch(store),
            bounded(reason),
            bounded(&how.to_string())
        );
        audit(state, stamp, "slotd", text);
    }
    state.by_hand.insert(slot.clone(), Noted { store: store.clone(), generation, last });
    // Each for itself: one that came to nothing says nothing of what an earlier one acknowledged.
    for start in &starts {
        let verdict = judge(state, stamp, slot, store, generation, start);
        audit(state, stamp, "slotd", format!("branch {}: {verdict}", start.branch(store)));
    }
    Ok(Answer::Done)
}

/// What becomes of a branch, in words; what must change is changed.
fn judge(
    state: &mut State,
    stamp: Stamp,
    slot: &SlotId,
    name: &StoreName,
    generation: CopyGeneration,
    start: &HandStart,
) -> String {
    let next_case = state.last_loss_case.next();
    let (plan, stated) = promoted_past(state, name);
    let Some(cluster) = state.cluster.as_mut() else { return "no cluster yet".into() };
    let Some(store) = cluster.stores.get_mut(name) else { return "its store is none of this cluster's".into() };
    if matches!(start.state, HandState::Failed(_)) {
        return "it came to nothing".into();
    }
    if start.epoch == store.epoch {
        return format!("adopted: no epoch above {} was committed", start.epoch);
    }
    if start.epoch > store.epoch {
        return format!("this state knows {name} at epoch {} only: a person must look at {slot}", store.epoch);
    }
    if planted("r19-conflict-adopted") {
        store.possible_masters.remove(slot);
        return format!("adopted although epoch {} was committed", store.epoch);
    }
    if store.master.as_ref() == Some(slot) {
        return format!("over: {slot} is master at epoch {} by now", store.epoch);
    }
    let Some(copy) = store.copies.get_mut(slot).filter(|copy| copy.generation == generation) else {
        return format!(
            "epoch {} was committed and its copy is none any more: a person must look at {slot}",
            store.epoch
        );
    };
    // R3, R8: whatever was believed of it, it was a master since; the standing Demote is for it.
    if store.pending.as_ref() != Some(slot) {
        let possible = PossibleMaster { since: start.epoch, generation };
        store.possible_masters.entry(slot.clone()).or_insert(possible);
    }
    store.version += 1;
    if store.last_promoted <= start.epoch {
        return format!(
            "not adopted: epoch {} was committed; nobody was promoted at it yet, and {slot} is demoted before anybody is",
            store.epoch
        );
    }
    let of_it = |case: &&LossCase| case.store == *name && case.slot == *slot && case.generation == generation;
    if cluster.loss_cases.values().any(|case| of_it(&case) && case.state.is_open()) {
        return format!("not adopted: epoch {} was committed; its open loss case tells of it", store.epoch);
    }
    copy.state = CopyState::Quarantined;
    let (epoch, state_of_case) = (store.epoch, LossState::AwaitingReturn);
    let case = LossCase {
        store: name.clone(),
        slot: slot.clone(),
        generation,
        plan,
        epoch,
        stated,
        state: state_of_case,
        final_tip: None,
        stranded: Vec::new(),
        opened: stamp.now,
    };
    cluster.loss_cases.insert(next_case, case);
    state.last_loss_case = next_case;
    format!("not adopted: epoch {epoch} was committed; {slot} is quarantined, loss case {next_case} opened")
}
