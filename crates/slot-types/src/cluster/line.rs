//! What the cluster file's lines of hosts and stores say.
//!
//! What always holds: it is what was asked for, not what there is; no field of it names a master.

use super::{Domain, SlotSpec};
use crate::fence::FenceSpec;
use crate::ids::HostName;
use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;

/// What the cluster file says of a host.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct HostSpec {
    /// Its failure domain.
    pub at: Domain,
    /// Where its agent listens.
    pub address: SocketAddr,
    /// Its slots.
    pub slots: BTreeMap<u16, SlotSpec>,
    /// The share of masters' load that it is meant to carry beside others; 1 is ordinary.
    pub weight: u16,
    /// What switches it off from outside.
    pub fence: Option<FenceSpec>,
}

/// What the cluster file says of a store.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct StoreSpec {
    /// Which engine serves it.
    pub engine: EngineKind,
    /// How many copies, the master included.
    pub copies: u8,
    /// Bytes reserved on each slot.
    pub size_bytes: u64,
    /// How many levels of the domain path must differ between copies: 0 host only, 1 the innermost level (rack), and so on.
    pub spread: Spread,
    /// Replicas that must hold a record before it is acknowledged; committed configuration of the epoch (R24).
    pub sync_copies: u8,
    /// Hosts that never hold a copy of it.
    pub never: BTreeSet<HostName>,
    /// What its master weighs beside others; 1 is ordinary. Declared, never measured.
    pub load: u16,
}

/// What two copies of a store may not share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub enum Spread {
    /// A host.
    Host,
    /// The whole domain path, so a rack when domains are `site/rack`.
    Rack,
}
impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Spread::Host => "host",
            Spread::Rack => "rack",
        })
    }
}

/// Which engine.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize, Serialize, Deserialize,
)]
pub enum EngineKind {
    /// The embedded record store: for trial, tests and simulation.
    Journal,
    /// Cyrus IMAP. The file may name it; no agent of this build has it, so no store of it is made.
    Cyrus,
}

impl EngineKind {
    /// Whether agents of this build can serve it.
    pub fn is_here(self) -> bool {
        self == Self::Journal
    }
}
impl fmt::Display for EngineKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            EngineKind::Journal => "journal",
            EngineKind::Cyrus => "cyrus",
        })
    }
}
