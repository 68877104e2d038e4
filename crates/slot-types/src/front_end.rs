//! Front ends: machines with an agent, a rendered map and a reload, but no slots.
//!
//! What always holds: the table of a revision is the same whoever sends it, since it is made of the state at that revision
//! alone; so a front end needs no term and no order, it only never goes back to an older revision. "Moving" is no part of
//! that: it is advice that a proxy may hold new connections for a while, and it ends by itself with the freeze (R12).

use crate::cluster::{Cluster, CopyState, Store};
use crate::ids::*;
use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

/// The most maps one front end renders.
pub const MAPS_MAX: usize = 16;

/// What the cluster file says of a front end.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct FrontEndSpec {
    /// Where its agent listens.
    pub address: SocketAddr,
    /// The maps it renders.
    pub render: BTreeSet<MapName>,
}

/// Where one store's clients go.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct TableLine {
    /// The master's slot.
    pub slot: SlotId,
    /// Its address.
    pub address: SocketAddr,
    /// The epoch clients send with each request.
    pub epoch: Epoch,
    /// Its master is frozen for a hand-over: new connections may be held so many milliseconds from now, no longer (R12).
    pub moving_ms: Option<u64>,
}

/// All routes at one revision, and what to make of them.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct RouteTable {
    /// The cluster it is of (S15).
    pub cluster: ClusterId,
    /// The cluster's generation: a table of a higher one is newer whatever its revision (R10).
    pub generation: u32,
    /// The revision of the state it was made of.
    pub revision: Revision,
    /// Whom it is for.
    pub front_end: FrontEndName,
    /// The maps to render.
    pub render: BTreeSet<MapName>,
    /// By store; one without a route is not in it.
    pub routes: BTreeMap<StoreName, TableLine>,
}

impl RouteTable {
    /// What decides which of two tables is newer.
    pub fn age(&self) -> (u32, Revision) {
        (self.generation, self.revision)
    }
}

/// What a front end says of itself, once what it says is durable.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct FrontEndReport {
    /// The cluster it belongs to.
    pub cluster: ClusterId,
    /// Its name.
    pub front_end: FrontEndName,
    /// What it serves.
    pub serving: FrontEndSeen,
}

/// What a front end serves.
#[derive(Clone, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct FrontEndSeen {
    /// The newest table whose maps are all written and reloaded: its generation and revision. `None` before the first.
    pub acknowledged: Option<(u32, Revision)>,
    /// Why it is not at a newer one.
    pub problem: Option<String>,
}

impl FrontEndSeen {
    /// Whether clients who come through it are sent where the route says that was set at this revision, or further on.
    pub fn serves(&self, generation: u32, revision: Revision) -> bool {
        self.acknowledged.is_some_and(|at| at >= (generation, revision))
    }
}

/// Whether a store's clients are sent to a slot whose master is frozen, or is handing over already.
pub fn is_moving(store: &Store) -> bool {
    let Some(route) = &store.route else { return false };
    let hands_over = store.master.is_none() && store.pending.as_ref().is_some_and(|to| *to != route.slot);
    match store.copies.get(&route.slot).map(|copy| copy.state) {
        Some(CopyState::Frozen) => true,
        Some(CopyState::Quarantined) | None => false,
        Some(_) => hands_over,
    }
}

/// Every store's line, nothing moving.
pub fn lines(cluster: &Cluster) -> BTreeMap<StoreName, TableLine> {
    let line = |store: &Store| {
        let route = store.route.clone()?;
        Some(TableLine { slot: route.slot, address: route.address, epoch: route.epoch, moving_ms: None })
    };
    cluster.stores.iter().filter_map(|(name, store)| Some((name.clone(), line(store)?))).collect()
}

crate::versioned! {
    RouteTable: "route table", 1;
    FrontEndReport: "front end's report", 1;
}
