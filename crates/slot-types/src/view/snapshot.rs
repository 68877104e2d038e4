//! Everything the planner looks at, at one moment: what a file of `slotctl snapshot` holds.
//!
//! What always holds: it is what the leader plans from and nothing less, so that the same question gives the same answer from a
//! file as from the cluster; no secret is in it, as none is in the replicated state; it says of what revision it is.

use crate::cluster::{Cluster, Copy};
use crate::evidence::Evidence;
use crate::ids::*;
use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

/// A cluster at one moment.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct SnapshotView {
    /// The revision it is of.
    pub revision: Revision,
    /// When, in log time.
    pub log_time: LogTime,
    /// When, by the answering node's wall clock; for display.
    pub wall: WallTime,
    /// Hosts, slots, stores, copies, policy, holds: what was declared and committed.
    pub cluster: Cluster,
    /// What was seen of them, with its age.
    pub evidence: Evidence,
    /// Why what was seen is not enough to conclude from; null when it is.
    pub not_seen: Option<String>,
    /// Stores that running plans hold (R13).
    pub busy_stores: BTreeSet<StoreName>,
    /// Hosts that running plans hold.
    pub busy_hosts: BTreeSet<HostName>,
    /// Slots that running plans have reserved.
    pub busy_slots: BTreeSet<SlotId>,
    /// The version of the set of hosts and stores and the policy.
    pub fleet_version: u64,
    /// Coordinators that vote, and where they listen.
    pub coordinators: BTreeMap<CoordinatorName, SocketAddr>,
}

/// Why a snapshot is not one of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// A copy is on a slot that no host has.
    #[error("store {store} has a copy on {slot}, and no host has that slot")]
    NoSlot {
        /// The store.
        store: StoreName,
        /// The slot.
        slot: SlotId,
    },
    /// Two stores are on one slot.
    #[error("stores {store} and {other} have a copy on {slot}, which holds one")]
    TwoOnOne {
        /// The store.
        store: StoreName,
        /// The other.
        other: StoreName,
        /// The slot.
        slot: SlotId,
    },
    /// A store's master is not one of its copies.
    #[error("store {store} has its master on {slot} and no copy there")]
    NoCopy {
        /// The store.
        store: StoreName,
        /// The slot.
        slot: SlotId,
    },
}

impl SnapshotView {
    /// Whether its parts fit each other: a file may have been written by hand.
    pub fn check(&self) -> Result<(), SnapshotError> {
        let mut on: BTreeMap<&SlotId, &StoreName> = BTreeMap::new();
        for (name, store) in &self.cluster.stores {
            let copies: &BTreeMap<SlotId, Copy> = &store.copies;
            for slot in copies.keys() {
                if self.cluster.slot(slot).is_none() {
                    return Err(SnapshotError::NoSlot { store: name.clone(), slot: slot.clone() });
                }
                if let Some(other) = on.insert(slot, name) {
                    let (store, other, slot) = (name.clone(), other.clone(), slot.clone());
                    return Err(SnapshotError::TwoOnOne { store, other, slot });
                }
            }
            for slot in store.master.iter().chain(&store.pending) {
                if !copies.contains_key(slot) {
                    return Err(SnapshotError::NoCopy { store: name.clone(), slot: slot.clone() });
                }
            }
        }
        Ok(())
    }
}
