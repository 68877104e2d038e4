//! The first checkers, asked by tests at a moment of their choice.
//!
//! What always holds: they look at clients' own logs and at engines' own records, never at what the code under test says
//! of itself.

use crate::world::World;
use slot_engine::journal::core::JournalCore;
use slot_types::engine::EngineRole;
use slot_types::ids::*;
use std::collections::{BTreeMap, BTreeSet};

/// Every acknowledged record is in the master's log, once (S4; duplicates: R21).
pub fn acknowledged_are_there_once(world: &World) -> Result<(), String> {
    let Some(writer) = &world.writer else { return Ok(()) };
    let store = world.state().and_then(|s| s.cluster.as_ref()?.stores.get(&writer.store));
    let master = store.and_then(|s| s.master.clone()).ok_or("the store has no master")?;
    let core = world.journals.get(&master).and_then(|n| n.core.as_ref()).ok_or(format!("{master} does not run"))?;
    let mut there: BTreeMap<u64, u64> = BTreeMap::new();
    for id in records(core) {
        *there.entry(id.sequence).or_default() += 1;
    }
    for (sequence, slot, epoch) in &writer.acked {
        match there.get(sequence) {
            Some(1) => {}
            Some(n) => return Err(format!("record {sequence} is there {n} times")),
            None => return Err(format!("S4: record {sequence}, acknowledged by {slot} at epoch {epoch}, is lost")),
        }
    }
    Ok(())
}

/// For every epoch at most one slot acknowledged writes, and epochs of acknowledgements never go back (S1).
pub fn single_writer(world: &World) -> Result<(), String> {
    let Some(writer) = &world.writer else { return Ok(()) };
    let mut slots: BTreeMap<Epoch, BTreeSet<&SlotId>> = BTreeMap::new();
    for (sequence, slot, epoch) in &writer.acked {
        let at = slots.entry(*epoch).or_default();
        at.insert(slot);
        if at.len() > 1 {
            return Err(format!("S1: at epoch {epoch} more than one slot acknowledged, record {sequence} last"));
        }
    }
    let epochs: Vec<Epoch> = writer.acked.iter().map(|(_, _, epoch)| *epoch).collect();
    if epochs.is_sorted() {
        Ok(())
    } else {
        Err("S1: an acknowledgement came from an older epoch after a newer one".into())
    }
}

/// At no moment do two engines hold one store as masters at one epoch (S1, S3).
pub fn one_master(world: &World) -> Result<(), String> {
    let mut masters: BTreeMap<(StoreName, Epoch), SlotId> = BTreeMap::new();
    for (slot, node) in &world.journals {
        let Some(core) = node.core.as_ref().filter(|c| c.role() == EngineRole::Master) else { continue };
        let key = (node.serving.store.clone(), core.epoch());
        if let Some(other) = masters.insert(key, slot.clone()) {
            return Err(format!(
                "S1: {slot} and {other} both are master of {} at epoch {}",
                node.serving.store,
                core.epoch()
            ));
        }
    }
    Ok(())
}

/// States are equal where the applied index is equal, and the audit chain holds (S14, S12).
pub fn replicas_agree(world: &World) -> Result<(), String> {
    let mut hashes = BTreeMap::new();
    for (id, node) in &world.coordinators {
        let Some(state) = node.core.as_ref().map(|c| c.state()) else { continue };
        if let Some(number) = state.audit.first_broken() {
            return Err(format!("S12: c{id}: audit entry {number} breaks the chain"));
        }
        let hash = *hashes.entry(state.applied).or_insert_with(|| state.hash());
        if hash != state.hash() {
            return Err(format!("S14: c{id} differs at index {}", state.applied));
        }
    }
    Ok(())
}

/// The ids of clients' records in an engine's log, in order.
pub fn records(core: &JournalCore) -> Vec<RecordId> {
    let log = core.log();
    (0..log.length()).filter_map(|index| log.record(index)).filter_map(|r| r.data_id().cloned()).collect()
}

impl World {
    /// The engine on a slot, if its process runs.
    pub fn journals_core(&self, slot: &SlotId) -> Option<&JournalCore> {
        self.journals.get(slot)?.core.as_ref()
    }
    /// The slots of a host whose engine processes run.
    pub fn engines_on(&self, host: &HostName) -> Vec<SlotId> {
        let running = self.journals.iter().filter(|(slot, node)| slot.host == *host && node.core.is_some());
        running.map(|(slot, _)| slot.clone()).collect()
    }
    /// The sequences the writer has had acknowledged.
    pub fn acked(&self) -> Vec<u64> {
        self.writer.iter().flat_map(|w| w.acked.iter().map(|(sequence, _, _)| *sequence)).collect()
    }
}
