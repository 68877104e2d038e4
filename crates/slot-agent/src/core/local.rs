//! What a person at the machine is shown, without any coordinator.
//!
//! What always holds: it is the durable ledger and what the engines last said; looking changes nothing.

use super::image::{CopyEntry, LedgerRole};
use super::{AgentCore, Engine, ProcessState};
use borsh::{BorshDeserialize, BorshSerialize};
use serde::Serialize;
use slot_types::hand::HandStart;
use slot_types::ids::*;

/// What a host's agent knows by itself.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize)]
pub struct LocalStatus {
    /// The host.
    pub host: HostName,
    /// Its cluster.
    pub cluster: ClusterId,
    /// Its disk.
    pub incarnation: Incarnation,
    /// Its boot.
    pub boot: BootId,
    /// The highest term that it heard of.
    pub term: Term,
    /// The ledger was copied or restored, and no coordinator has admitted it since (S2).
    pub copied: bool,
    /// A coordinator that leads watches it now.
    pub led: bool,
    /// Its slots that hold something.
    pub slots: Vec<LocalSlot>,
}

/// What the ledger and the engine say of one slot.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize)]
pub struct LocalSlot {
    /// The slot.
    pub slot: SlotId,
    /// The store.
    pub store: StoreName,
    /// The copy generation.
    pub generation: CopyGeneration,
    /// The highest epoch that the ledger holds of it.
    pub epoch: Epoch,
    /// What the ledger says it is at that epoch.
    pub role: String,
    /// What its engine says.
    pub engine: String,
    /// Whether a person could start it as master now; else why not.
    pub may_start: Result<(), String>,
    /// Its starts by hand, the oldest first.
    pub by_hand: Vec<HandStart>,
}

fn role_text(entry: &CopyEntry) -> String {
    let role = match entry.role {
        LedgerRole::Idle => "idle",
        LedgerRole::Raised => "raised",
        LedgerRole::Master => "master",
        LedgerRole::Replica => "replica",
        LedgerRole::Demoted => "demoted",
    };
    if entry.settled || entry.role == LedgerRole::Idle { role.into() } else { format!("{role}?") }
}

fn engine_text(engine: Option<&Engine>) -> String {
    let Some(engine) = engine.filter(|engine| engine.state != ProcessState::Down) else { return "not running".into() };
    match &engine.status {
        Some(status) if !engine.silent => {
            let role = format!("{:?}", status.role).to_lowercase();
            format!("{role} at epoch {}, ends at {}", status.epoch, status.tip.position)
        }
        _ => "running, does not answer".into(),
    }
}

impl AgentCore {
    /// What a person at the machine is shown; `led` says whether a coordinator that leads watches this agent now.
    pub fn local_status(&self, led: bool) -> LocalStatus {
        let meta = &self.durable.meta;
        let slots = self.durable.copies.iter().filter(|(_, entry)| !entry.retired).map(|(key, entry)| LocalSlot {
            slot: SlotId::new(meta.host.clone(), key.slot),
            store: key.store.clone(),
            generation: key.generation,
            epoch: entry.epoch,
            role: role_text(entry),
            engine: engine_text(self.engines.get(&key.slot)),
            may_start: self.judge_by_hand(key.slot, entry.epoch, led).map(|_| ()),
            by_hand: entry.by_hand.clone(),
        });
        LocalStatus {
            host: meta.host.clone(),
            cluster: meta.cluster,
            incarnation: meta.incarnation,
            boot: self.boot,
            term: meta.term,
            copied: meta.copied,
            led,
            slots: slots.collect(),
        }
    }
}
