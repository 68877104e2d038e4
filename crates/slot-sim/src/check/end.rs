//! The end of a run: everything acknowledged is somewhere (S4, R7, R21), states and audits agree (S14, R22), and after a heal
//! everything is well in time (L1–L3).
//!
//! What always holds: records are read from the engines' own logs; who gave a record up is read from the committed loss
//! cases.

use super::witness::{End, Violation, Witness};
use slot_engine::journal::core::JournalCore;
use slot_machine::state::State;
use slot_types::cluster::{LossState, Store};
use slot_types::engine::EngineRole;
use slot_types::ids::*;
use std::collections::{BTreeMap, BTreeSet};

/// A leader is heard more often than this, in milliseconds.
const LEADER_SILENT_MS: u64 = 10_000;

/// When everything was healed, and until when it was waited for that all is well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heal {
    /// From when on nothing goes wrong any more.
    pub begun_ms: u64,
    /// Now.
    pub ended_ms: u64,
    /// How long it may take until a leader is back and no plan is under way.
    pub bound_ms: u64,
}

/// L1–L3: nothing is said before the bound is over, except that nobody leads, when somebody last did `led_ms`.
pub fn liveness(heal: &Heal, led_ms: Option<u64>, state: Option<&State>) -> Vec<Violation> {
    let mut out = Vec::new();
    let mut say = |invariant, text| out.push(Violation { invariant, at_ms: heal.ended_ms, text });
    let passed = heal.ended_ms.saturating_sub(heal.begun_ms);
    if passed < heal.bound_ms {
        return out;
    }
    let silent = heal.ended_ms.saturating_sub(led_ms.unwrap_or(heal.begun_ms));
    if led_ms.is_none() || silent > LEADER_SILENT_MS {
        say("L3", format!("{passed} ms after the heal nobody leads, for {silent} ms"));
    }
    let Some(state) = state else { return out };
    let mut stuck: BTreeMap<&StoreName, PlanId> = BTreeMap::new();
    for record in state.plans.values() {
        if record.status.is_under_way() {
            say("L1", format!("{} is {} {passed} ms after the heal", record.id, record.status));
            stuck.extend(record.plan.stores().into_iter().map(|store| (store, record.id)));
        }
    }
    for (name, store) in state.cluster.iter().flat_map(|c| &c.stores) {
        if store.master.is_none() && !store.retired && store.epoch != Epoch::ZERO && !stuck.contains_key(name) {
            say("L2", format!("{name} has no master {passed} ms after the heal, and no plan is under way"));
        }
    }
    out
}

pub(super) fn finish(witness: &mut Witness, end: &End<'_>) {
    if let Some(heal) = &end.heal {
        for Violation { invariant, text, .. } in liveness(heal, witness.raft.led_at(), end.state) {
            witness.found.say(invariant, text);
        }
    }
    same_states(witness, end);
    if let (Some(state), Some(_)) = (end.state, &end.heal) {
        witness.ledgers.branches_told(&mut witness.found, state, &witness.touched);
    }
    let Some(cluster) = end.state.and_then(|s| s.cluster.as_ref()) else { return };
    for (name, store) in &cluster.stores {
        let serves = |core: &JournalCore| core.role() == EngineRole::Master && core.epoch() == store.epoch;
        let master = store.master.as_ref().and_then(|m| end.engines.iter().find(|(slot, _)| *slot == m));
        let Some((slot, core)) = master.filter(|(_, core)| serves(core)) else { continue };
        everything_is_there(witness, end, name, store, slot, core);
        if end.heal.is_some() {
            followers_are_beginnings(witness, end, name, slot, core);
        }
    }
}

/// R16, R7: once all is well, what a follower holds is the beginning of what its master holds.
fn followers_are_beginnings(
    witness: &mut Witness,
    end: &End<'_>,
    name: &StoreName,
    master: &SlotId,
    core: &JournalCore,
) {
    for (slot, engine) in end.engines {
        let follows = engine.config().store == *name
            && engine.role() == EngineRole::Replica
            && engine.epoch() == core.epoch()
            && !witness.touched.contains_key(&slot.host);
        let (length, there) = (engine.log().length(), core.log().length());
        if follows && (length > there || engine.log().digest_at(length) != core.log().digest_at(length)) {
            let text =
                format!("{slot} follows {master} and holds {length} records that are no beginning of its {there}");
            witness.found.say("R16", text);
        }
    }
}

/// S14 at the end: nodes at one index are equal; R22: each chain can be verified.
fn same_states(witness: &mut Witness, end: &End<'_>) {
    let mut hashes = BTreeMap::new();
    for (node, state) in end.nodes {
        if let Err(why) = super::audit::verify(&state.audit) {
            witness.found.say("S12", format!("the audit chain of c{node} is broken: {why}"));
        }
        let hash = state.hash();
        let (first, known) = *hashes.entry(state.applied).or_insert((*node, hash));
        if known != hash {
            witness.found.say("S14", format!("c{first} and c{node} differ at index {}", state.applied));
        }
        if state.applied.0 == witness.commits.applied() && hash != witness.commits.state.hash() {
            witness.found.say("S14", format!("c{node} differs at index {} from what the log gives", state.applied));
        }
    }
}

/// Every acknowledged record is in the master's log, once, or in a loss case, or was on a disk that was touched.
fn everything_is_there(
    witness: &mut Witness,
    end: &End<'_>,
    name: &StoreName,
    store: &Store,
    slot: &SlotId,
    core: &JournalCore,
) {
    let mut there: BTreeMap<RecordId, u64> = BTreeMap::new();
    for id in super::records(core) {
        *there.entry(id).or_default() += 1;
    }
    if let Some((id, times)) = there.iter().find(|(_, times)| **times > 1) {
        witness.found.say("R21", format!("{id} is {times} times in the log of {slot}"));
    }
    let Some(acks) = witness.acks.stores.get(name) else { return };
    let held: BTreeSet<_> = there.keys().filter_map(|id| witness.engines.known(name, id)).collect();
    let missing: Vec<_> = acks.ids.keys().filter(|id| !held.contains(*id)).copied().collect();
    let cases: Vec<_> =
        end.state.iter().filter_map(|s| s.cluster.as_ref()).flat_map(|c| c.loss_cases.values()).collect();
    let cases: Vec<_> = cases.into_iter().filter(|case| case.store == *name).collect();
    let told: BTreeSet<_> = cases
        .iter()
        .filter(|case| !matches!(case.state, LossState::Reinjected { .. }))
        .flat_map(|case| &case.stranded)
        .filter_map(|id| witness.engines.known(name, id))
        .collect();
    let aside: BTreeSet<_> = end
        .engines
        .iter()
        .filter(|(at, engine)| engine.config().store == *name && *at != slot)
        .flat_map(|(_, engine)| engine.status().aside)
        .filter_map(|id| witness.engines.known(name, &id))
        .collect();
    let awaits = cases.iter().any(|case| case.state == LossState::AwaitingReturn);
    let touched = store.copies.keys().any(|copy| witness.touched.contains_key(&copy.host));
    let mut silent = missing.iter().filter(|id| !told.contains(*id) && !aside.contains(*id));
    let Some(first) = silent.next().filter(|_| !awaits && !touched) else { return };
    let count = silent.count() + 1;
    let known = if acks.lost.contains(first) { "R7" } else { "S4" };
    let text =
        format!("{count} acknowledged records of {name}, {first:?} first, are neither with {slot} nor in a loss case");
    witness.found.say(known, text);
}
