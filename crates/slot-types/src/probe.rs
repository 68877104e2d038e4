//! Looks: what the leader asks agents to look at from where they are, and what they saw.
//!
//! What always holds: a look changes nothing anywhere, and a device is asked for its status alone; a copy that is verified is
//! read and compared, and what was found comes with its engine's status; "answered" means that
//! whoever is there has proven to be that host, everything less is no sign of life (R8); the answers come in the order of
//! the questions.

use crate::engine::Source;
use crate::fence::{FenceSpec, Power};
use crate::ids::*;
use borsh::{BorshDeserialize, BorshSerialize};
use core::net::SocketAddr;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The most things one agent is asked to look at in one go: what is beyond it is looked at in the next round.
pub const LOOKS_MAX: usize = 128;
/// How long a probe may take before it counts as unanswered, in milliseconds.
pub const PROBE_MS: u64 = 1_000;

/// A probe this old still counts as how it is now, in milliseconds.
pub const FRESH_MS: u64 = 6_000;

/// One thing to look at.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum LookAt {
    /// Whether something that proves to be this host answers at an address of it: its agent's, or a slot's.
    Address {
        /// The host.
        host: HostName,
        /// The slot whose address it is; `None` for the agent's.
        slot: Option<SlotId>,
        /// Where.
        address: SocketAddr,
    },
    /// What its device says of a host's power.
    Power {
        /// The host.
        host: HostName,
        /// The device.
        device: Box<FenceSpec>,
    },
    /// How the agent's own copy compares with its master's, record by record; only whether it has begun is answered.
    Verify {
        /// The slot's number on the agent's host.
        slot: u16,
        /// Where its engine listens.
        address: SocketAddr,
        /// The store.
        store: StoreName,
        /// The copy generation (R11).
        generation: CopyGeneration,
        /// The epoch both must hold.
        epoch: Epoch,
        /// The master.
        against: Source,
        /// Its name: when it was asked for.
        asked: LogTime,
        /// Bytes a second at most.
        rate: u64,
    },
}

/// What an agent is asked to look at.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Looks {
    /// The cluster.
    pub cluster: ClusterId,
    /// At most [`LOOKS_MAX`].
    pub at: Vec<LookAt>,
}

/// What became of a probe of an address.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize, Serialize, Deserialize,
)]
pub enum Probed {
    /// It answered, and proved by its certificate to be that host.
    Answered,
    /// A connection was made, and nobody there proved anything in time: a process that hangs, or somebody else's.
    Unproven,
    /// Something refuses connections there: no process listens.
    Refused,
    /// Nothing came back in time, or there is no way.
    NoAnswer,
}

impl fmt::Display for Probed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Answered => "answered",
            Self::Unproven => "connected, nobody spoke",
            Self::Refused => "refused",
            Self::NoAnswer => "no answer",
        })
    }
}

/// What was seen of one thing.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Saw {
    /// Of an address.
    Probe(Probed),
    /// The device's word, or why there is none.
    Power(Result<Power, String>),
    /// Whether a comparison has begun, or why not.
    Verify(Result<(), String>),
}

/// What an agent saw, in the order of what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Sights {
    /// One for each.
    pub saw: Vec<Saw>,
}

/// What one host's agent last saw at an address of another host.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Probe {
    /// Who looked.
    pub by: HostName,
    /// The slot whose address it is; `None` for the agent's.
    pub slot: Option<SlotId>,
    /// What became of it.
    pub probed: Probed,
    /// Milliseconds since it was asked for.
    pub age_ms: u64,
    /// Milliseconds for which it has been so, as far as was looked.
    pub same_ms: u64,
}

/// How a host is seen from the others.
#[derive(Clone, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Reach {
    /// Every probe of it.
    pub probes: Vec<Probe>,
    /// Fresh probes of the other hosts' agents, by hosts other than it: how many there are.
    pub elsewhere: u32,
    /// How many of them were answered.
    pub elsewhere_answered: u32,
    /// The other hosts of its failure domain, and whether their agents are heard.
    pub near: Vec<(HostName, bool)>,
}

impl Reach {
    /// How many hosts probed its agent lately.
    pub fn seekers(&self, age_ms_max: u64) -> usize {
        self.agent_probes(age_ms_max).count()
    }
    /// How many of them were answered.
    pub fn answered(&self, age_ms_max: u64) -> usize {
        self.agent_probes(age_ms_max).filter(|probe| probe.probed == Probed::Answered).count()
    }
    /// Its slots that proved to be there to someone, lately: engines that serve although the agent may not.
    pub fn slots_answered(&self, age_ms_max: u64) -> std::collections::BTreeSet<&SlotId> {
        let fresh = self.probes.iter().filter(|probe| probe.age_ms <= age_ms_max && probe.probed == Probed::Answered);
        fresh.filter_map(|probe| probe.slot.as_ref()).collect()
    }
    /// What a person reads of it: how many see it, how well the others see each other, and its own failure domain.
    pub fn words(&self) -> Vec<String> {
        let hosts = self.seekers(FRESH_MS);
        let answered = self.answered(FRESH_MS);
        let mut words = vec![match (hosts, self.probes.iter().map(|probe| probe.age_ms).min()) {
            (0, None) => "UNKNOWN from elsewhere: no other host has probed it".to_string(),
            (0, Some(age)) => format!("UNKNOWN from elsewhere: last probed {} s ago", age / 1000),
            _ if answered == 0 => format!("{hosts} of {hosts} hosts cannot reach it"),
            _ => format!("{answered} of {hosts} hosts REACH it: it is not dead, or not cut off from everybody"),
        }];
        let serving = self.slots_answered(FRESH_MS);
        if !serving.is_empty() {
            let names = serving.iter().take(8).map(ToString::to_string).collect::<Vec<_>>().join(" ");
            words.push(format!("engines on it ANSWER other hosts: {names}"));
        }
        words.push(match (self.elsewhere, self.elsewhere_answered) {
            (0, _) => "UNKNOWN whether the others reach each other".to_string(),
            (all, answered) if all == answered => format!("the others all reach each other ({all} probes)"),
            (all, answered) => format!("of the others' probes of each other {answered} of {all} are answered"),
        });
        let names = |well: bool| {
            let names = self.near.iter().filter(|(_, heard)| *heard == well).map(|(name, _)| name.to_string());
            names.take(8).collect::<Vec<_>>().join(" ")
        };
        match (names(true), names(false)) {
            (fine, silent) if fine.is_empty() && silent.is_empty() => {}
            (fine, silent) if silent.is_empty() => words.push(format!("its failure domain is fine: {fine}")),
            (fine, silent) if fine.is_empty() => words.push(format!("ALL of its failure domain is silent: {silent}")),
            (fine, silent) => words.push(format!("in its failure domain {fine} fine, {silent} SILENT")),
        }
        words
    }
    fn agent_probes(&self, age_ms_max: u64) -> impl Iterator<Item = &Probe> {
        self.probes.iter().filter(move |probe| probe.slot.is_none() && probe.age_ms <= age_ms_max)
    }
}

crate::versioned! {
    Looks: "looks", 1;
    Sights: "sights", 1;
}
