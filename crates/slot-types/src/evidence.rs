//! What was observed, by whom and how long ago.
//!
//! What always holds: *unknown* is a value with a reason, never a missing field; every known value has an age. Evidence is
//! never truth: the planner reads it, a person is shown it, and guards evaluate it again when it matters (R14).

use crate::disk::Disk;
use crate::engine::EngineStatus;
use crate::fence::Power;
use crate::front_end::FrontEndSeen;
use crate::ids::*;
use crate::load::HostLoad;
use crate::probe::Reach;
use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A value that was seen, or the reason why it is not known.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub enum Seen<T> {
    /// Seen so many milliseconds before the evidence was taken.
    Known {
        /// The value.
        value: T,
        /// Its age in milliseconds.
        age_ms: u64,
    },
    /// Not known.
    Unknown {
        /// Why, for a person.
        reason: String,
    },
}

impl<T> Seen<T> {
    /// The value, however old.
    pub fn value(&self) -> Option<&T> {
        match self {
            Self::Known { value, .. } => Some(value),
            Self::Unknown { .. } => None,
        }
    }
    /// The same of another value, as old.
    pub fn map<U>(self, of: impl FnOnce(T) -> U) -> Seen<U> {
        match self {
            Self::Known { value, age_ms } => Seen::Known { value: of(value), age_ms },
            Self::Unknown { reason } => Seen::Unknown { reason },
        }
    }
    /// The value, if no older than this.
    pub fn fresh(&self, age_ms_max: u64) -> Option<&T> {
        match self {
            Self::Known { value, age_ms } if *age_ms <= age_ms_max => Some(value),
            _ => None,
        }
    }
    /// Its age in milliseconds, if seen.
    pub fn age_ms(&self) -> Option<u64> {
        match self {
            Self::Known { age_ms, .. } => Some(*age_ms),
            Self::Unknown { .. } => None,
        }
    }
}

/// What is seen of a host.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct HostEvidence {
    /// Its agent's last report: disk and boot.
    pub agent: Seen<AgentSeen>,
    /// Orders it said are running.
    pub running: Vec<OrderId>,
    /// What the file system of its copies has free.
    pub disk: Seen<Disk>,
    /// How busy its machine is, and what of that each engine takes. No guard and no refusal asks.
    pub load: Seen<HostLoad>,
}

/// What an agent said of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct AgentSeen {
    /// Its disk.
    pub incarnation: Incarnation,
    /// Its boot.
    pub boot: BootId,
}

/// What is seen of one copy's engine, as its host's agent reported it.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub enum CopyEvidence {
    /// No process runs.
    NotRunning,
    /// A process that does not answer its agent.
    Silent,
    /// It answered.
    Running(Box<EngineStatus>),
    /// The agent holds no such copy in its ledger.
    Absent,
}

/// Everything observed, as one observer (the leader) holds it.
#[derive(Clone, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Evidence {
    /// When it was put together, in log time.
    pub taken_at: LogTime,
    /// By host.
    pub hosts: BTreeMap<HostName, HostEvidence>,
    /// By slot. A slot absent here was never reported: [`Evidence::copy`] says so as unknown.
    pub copies: BTreeMap<SlotId, Seen<CopyEvidence>>,
    /// What their devices say of hosts' power. A host absent here was not asked about: [`Evidence::power_of`] says so.
    pub power: BTreeMap<HostName, Seen<Power>>,
    /// How hosts that are silent are seen from the others. A host absent here was probed by nobody.
    pub reach: BTreeMap<HostName, Reach>,
    /// What front ends serve; only where that is asked about.
    pub front_ends: BTreeMap<FrontEndName, Seen<FrontEndSeen>>,
}

impl Evidence {
    /// What is seen of the copy on a slot.
    pub fn copy(&self, slot: &SlotId) -> Seen<CopyEvidence> {
        self.copies.get(slot).cloned().unwrap_or_else(|| Seen::Unknown { reason: "never reported".into() })
    }
    /// What its device says of a host's power.
    pub fn power_of(&self, host: &HostName) -> Seen<Power> {
        self.power.get(host).cloned().unwrap_or_else(|| Seen::Unknown { reason: "its device was not asked".into() })
    }
    /// The engine status on a slot, if it was seen running no longer ago than this.
    pub fn running(&self, slot: &SlotId, age_ms_max: u64) -> Option<&EngineStatus> {
        match self.copies.get(slot)?.fresh(age_ms_max)? {
            CopyEvidence::Running(status) => Some(status),
            _ => None,
        }
    }
    /// The last engine status ever seen on a slot, with its age.
    pub fn last_status(&self, slot: &SlotId) -> Option<(&EngineStatus, u64)> {
        match self.copies.get(slot)? {
            Seen::Known { value: CopyEvidence::Running(status), age_ms } => Some((status, *age_ms)),
            _ => None,
        }
    }
    /// Whether a host's agent was heard no longer ago than this.
    pub fn agent_alive(&self, host: &HostName, age_ms_max: u64) -> bool {
        self.hosts.get(host).is_some_and(|h| h.agent.fresh(age_ms_max).is_some())
    }
    /// Only what is about these hosts.
    #[must_use]
    pub fn only(&self, hosts: &std::collections::BTreeSet<HostName>) -> Self {
        Self {
            taken_at: self.taken_at,
            hosts: self.hosts.iter().filter(|(h, _)| hosts.contains(*h)).map(|(h, e)| (h.clone(), e.clone())).collect(),
            copies: self
                .copies
                .iter()
                .filter(|(s, _)| hosts.contains(&s.host))
                .map(|(s, e)| (s.clone(), e.clone()))
                .collect(),
            power: self.power.iter().filter(|(h, _)| hosts.contains(*h)).map(|(h, e)| (h.clone(), e.clone())).collect(),
            reach: self.reach.iter().filter(|(h, _)| hosts.contains(*h)).map(|(h, e)| (h.clone(), e.clone())).collect(),
            front_ends: BTreeMap::new(),
        }
    }
}
