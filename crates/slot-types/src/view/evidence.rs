//! Everything that is seen of one host, by whom and how long ago: what a person reads before they call it dead.
//!
//! What always holds: nothing here concludes anything; what nobody looked at is said to be unknown, with the reason.

use crate::cluster::{Attestation, Domain, HostState, Reboot};
use crate::disk::Disk;
use crate::evidence::{AgentSeen, CopyEvidence, Seen};
use crate::fence::{DeviceFailed, DeviceOff, Power};
use crate::ids::*;
use crate::load::HostLoad;
use crate::probe::Reach;
use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

/// Of one host.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct EvidenceView {
    /// Which.
    pub host: HostName,
    /// Its failure domain.
    pub at: Domain,
    /// What a person declared.
    pub declared: HostState,
    /// The revision of what is committed.
    pub revision: Revision,
    /// The boot that is known of it (R27).
    pub boot: Option<BootId>,
    /// Its last reboots, the last one at the end.
    pub reboots: Vec<Reboot>,
    /// What its agent last said to the leader.
    pub agent: Seen<AgentSeen>,
    /// What the file system of its copies has free, as its agent last said.
    pub disk: Seen<Disk>,
    /// How busy its machine is, as its agent last measured.
    pub load: Seen<HostLoad>,
    /// The engines of its copies, as its agent last reported them.
    pub engines: Vec<EngineSeen>,
    /// Replicas elsewhere whose master is on it: when they last heard it. A sign of life that does not pass through its agent
    /// (R8).
    pub links: Vec<LinkSeen>,
    /// All other hosts, those of its own failure domain first.
    pub others: Vec<OtherSeen>,
    /// How other hosts see it: every probe, with its age. Unknown on a coordinator that does not lead.
    pub reach: Option<Reach>,
    /// What switches it off from outside.
    pub device: Option<DeviceSeen>,
    /// A person's word that it is off.
    pub word: Option<Attestation>,
    /// Whether that word still holds.
    pub word_holds: bool,
}

/// One of its engines.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct EngineSeen {
    /// Where.
    pub slot: SlotId,
    /// Of which store.
    pub store: StoreName,
    /// What was reported.
    pub engine: Seen<CopyEvidence>,
}

/// A replica that follows a master on the host.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct LinkSeen {
    /// Of which store.
    pub store: StoreName,
    /// The replica that listens.
    pub from: SlotId,
    /// The master it listens to.
    pub to: SlotId,
    /// Milliseconds between its last word of the master and its own report; the age is that of the report.
    pub heard_ms: Seen<u64>,
}

/// Another host.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct OtherSeen {
    /// Which.
    pub host: HostName,
    /// Whether it shares the failure domain.
    pub same_domain: bool,
    /// Its agent.
    pub agent: Seen<AgentSeen>,
    /// Whether it counts as silent by policy; a host that is off on purpose does not.
    pub silent: bool,
}

/// The device.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct DeviceSeen {
    /// The fence agent.
    pub fence_agent: String,
    /// What it says of the power.
    pub power: Seen<Power>,
    /// It switched the host off and says so.
    pub off: Option<DeviceOff>,
    /// It did not confirm.
    pub failed: Option<DeviceFailed>,
}
