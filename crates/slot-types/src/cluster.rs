//! The replicated picture of the fleet: hosts, slots, stores, copies, epochs, loss cases, policy.
//!
//! What always holds: this is what was *declared and committed*, never what was observed (that is [`crate::evidence`]); a
//! store's `version` and a host's `version` grow with every change a plan could have been computed from (R14).

mod led;
mod line;
mod reboot;
mod weights;

pub use led::{Led, ONE_STORE, level_text};
pub use line::{EngineKind, HostSpec, Spread, StoreSpec};
pub use reboot::{REBOOTS_KEPT, Reboot, Silence, length, reboots_took};
pub use weights::Weights;

use crate::disk::KeepFree;
use crate::fence::Device;
use crate::front_end::FrontEndSpec;
use crate::hold::{Hold, HoldOn};
use crate::ids::*;
use crate::position::Tip;
use crate::verify::Stamp;
use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::{fmt, net::SocketAddr};

/// A failure domain path, outermost first: `ny/r1`.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize, Serialize, Deserialize,
)]
pub struct Domain(pub Vec<String>);

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0.join("/"))
    }
}

/// What a person declared of a host; never mixed with what is observed.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize, Serialize, Deserialize,
)]
pub enum HostState {
    /// Carries masters and replicas.
    Active,
    /// Being emptied of masters by a running or stopped plan.
    Draining,
    /// No masters, engines stopped cleanly, copies stay: safe to switch off (S8).
    Maintenance,
    /// No copies.
    Empty,
    /// Declared off by a person or a fence.
    Off,
    /// Gone for good.
    Retired,
}
impl fmt::Display for HostState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            HostState::Active => "Active",
            HostState::Draining => "Draining",
            HostState::Maintenance => "Maintenance",
            HostState::Empty => "Empty",
            HostState::Off => "Off",
            HostState::Retired => "Retired",
        })
    }
}

/// A place for one copy, as the cluster file describes it.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct SlotSpec {
    /// Bytes it can hold.
    pub size_bytes: u64,
    /// Where its engine listens: clients, replication and control.
    pub address: SocketAddr,
}

/// A storage machine.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Host {
    /// Its failure domain.
    pub at: Domain,
    /// Where its agent listens.
    pub address: SocketAddr,
    /// What a person declared.
    pub declared: HostState,
    /// Its slots by number.
    pub slots: BTreeMap<u16, SlotSpec>,
    /// The admitted disk; `None` until its agent is first seen.
    pub incarnation: Option<Incarnation>,
    /// The latest boot an admitted agent reported (R27).
    pub boot: Option<BootId>,
    /// An incarnation that is not the admitted one, or an older disk put back: no order goes there (S2).
    pub quarantined: Option<HostQuarantine>,
    /// Highest StartStep index this host's ledger acknowledged: a disk that reports less was put back (S2).
    pub acknowledged: LogIndex,
    /// Masters a drain took off, in the order to hand them back.
    pub drained_masters: BTreeSet<StoreName>,
    /// When whoever took it off said it would be back, in wall time; gone once it is in service again.
    pub back_by: Option<WallTime>,
    /// The share of masters' load that it is meant to carry beside others; 1 is ordinary.
    pub weight: u16,
    /// What switches it off from outside, and what is held of its word (R26).
    pub device: Device,
    /// Its last reboots, the last one at the end.
    pub reboots: Vec<Reboot>,
    /// Grows with every change a plan could depend on.
    pub version: u64,
}

/// Why nothing is sent to a host although it answers.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub enum HostQuarantine {
    /// The disk is not the admitted one: wiped, replaced or cloned.
    OtherDisk {
        /// What the agent presented.
        presented: Incarnation,
    },
    /// The admitted disk, but older than what it acknowledged before.
    OlderDisk {
        /// Its ledger's highest order index.
        presented: LogIndex,
        /// What it had acknowledged.
        acknowledged: LogIndex,
    },
    /// The coordinators were restored, and this host was not re-adopted since (R10).
    Restored,
}

/// Master or replica.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize, Serialize, Deserialize,
)]
pub enum Role {
    /// Takes writes.
    Master,
    /// Follows the master.
    Replica,
}

/// What a copy is doing, as committed.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize, Serialize, Deserialize,
)]
pub enum CopyState {
    /// Master serving clients, or replica following.
    Serving,
    /// A master inside a hand-over.
    Frozen,
    /// Not yet a full copy; never counted (R16).
    Building,
    /// Must not serve or follow until its loss case is settled.
    Quarantined,
    /// Deliberately stopped; counts as existing (S9).
    Stopped,
    /// Gone for good.
    Retired,
}

/// A store's data on one slot.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Copy {
    /// Master or replica.
    pub role: Role,
    /// What it is doing.
    pub state: CopyState,
    /// Grows with every provision of this store on this slot (R11).
    pub generation: CopyGeneration,
    /// Whom it follows, at which epoch (R16).
    pub follows: Option<(SlotId, Epoch)>,
    /// Whether it ever held everything its master held. Until then it is not counted, whoever it follows (R16).
    pub whole: bool,
}

/// How surely a former master can no longer acknowledge, strongest first.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize, Serialize, Deserialize,
)]
pub enum FenceLevel {
    /// Its agent's durable answer to Demote (R2, R5).
    Demoted,
    /// Its host's power is cut by a device, whose status then says off (R26).
    Device,
    /// A person says the host is off (R8).
    Attested,
    /// Nothing proves it; only by waiver.
    None,
}
impl fmt::Display for FenceLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            FenceLevel::Demoted => "demoted by its agent",
            FenceLevel::Device => "switched off by its device",
            FenceLevel::Attested => "attested off by a person",
            FenceLevel::None => "not fenced",
        })
    }
}

/// A slot that may still hold a master role below the current epoch (R3, R28).
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct PossibleMaster {
    /// The epoch at which it was, or may have become, master.
    pub since: Epoch,
    /// The copy generation it had then.
    pub generation: CopyGeneration,
}

/// Where clients of a store must go now.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Route {
    /// The master's slot.
    pub slot: SlotId,
    /// Its address.
    pub address: SocketAddr,
    /// The epoch clients send with each request.
    pub epoch: Epoch,
    /// The revision that set it: a front end at this one or a later one serves it.
    pub revision: Revision,
}

/// A logical server.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Store {
    /// What the cluster file says.
    pub spec: StoreSpec,
    /// The committed epoch.
    pub epoch: Epoch,
    /// The slot whose Promote at `epoch` is done.
    pub master: Option<SlotId>,
    /// The slot that `epoch` was allocated to and that is not master yet (S3).
    pub pending: Option<SlotId>,
    /// Whether a Promote order at `epoch` was ever started: from then on `pending` may be a master.
    pub promote_started: bool,
    /// All copies.
    pub copies: BTreeMap<SlotId, Copy>,
    /// Slots that may still hold a master role below `epoch` (R3).
    pub possible_masters: BTreeMap<SlotId, PossibleMaster>,
    /// Where clients go.
    pub route: Option<Route>,
    /// The last epoch whose Promote order was started: R7's bound needs its start record. It may be unheard of
    /// ([`Epoch::is_unheard_of`]).
    pub last_promoted: Epoch,
    /// The last generation of every copy that is gone: the next one on that slot is higher (R11).
    pub past: BTreeMap<SlotId, CopyGeneration>,
    /// Copies that are gone since the last finished Promote: an acknowledgement may have rested on them alone (R7).
    pub unheard: BTreeSet<SlotId>,
    /// A person has retired it: nobody serves it any more, and its copies are there only to be destroyed.
    pub retired: bool,
    /// Grows with every change a plan could depend on.
    pub version: u64,
}

/// What is kept for good of a store that a person has retired. Its name is never used again: an order or a client that is
/// late by years would otherwise meet another store's epochs (R11, S3).
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Tombstone {
    /// The last epoch it had, which nobody was master of.
    pub epoch: Epoch,
    /// The last generation on every slot that ever held a copy of it.
    pub past: BTreeMap<SlotId, CopyGeneration>,
    /// When its last copy was destroyed, in log time.
    pub at: LogTime,
    /// The same in wall time; for display.
    pub wall: WallTime,
}

/// A person's word that a host is off (R8): names host and boot, expires, void at any later sign of life.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Attestation {
    /// The boot that is said to have ended.
    pub boot: BootId,
    /// How the person knows: "unplugged", "power button".
    pub how: String,
    /// Who said so.
    pub by: OperatorName,
    /// When, in log time.
    pub at: LogTime,
    /// Void from then on.
    pub expires: LogTime,
}

/// How a loss case ended, or stands.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub enum LossState {
    /// The old master has not come back: its stranded records are not known.
    AwaitingReturn,
    /// Listed exactly; waits for a person.
    Listed,
    /// Listed, and the list is empty: the successor has everything.
    NothingStranded,
    /// Put into the new master.
    Reinjected {
        /// By whom.
        by: OperatorName,
    },
    /// Kept aside on the old slot and given up by name.
    Discarded {
        /// By whom.
        by: OperatorName,
    },
}

impl LossState {
    /// Whether a person, or the host's return, is still waited for.
    pub fn is_open(&self) -> bool {
        matches!(self, Self::AwaitingReturn | Self::Listed)
    }
}

/// What an unplanned failover left behind on a former master or a divergent replica.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct LossCase {
    /// The store.
    pub store: StoreName,
    /// The slot whose data may be stranded.
    pub slot: SlotId,
    /// Its copy generation.
    pub generation: CopyGeneration,
    /// The plan that promoted past it.
    pub plan: PlanId,
    /// The epoch its successor was promoted at.
    pub epoch: Epoch,
    /// What the sheet said would be lost.
    pub stated: LossStatement,
    /// Where it stands.
    pub state: LossState,
    /// The slot's final position, once it was demoted.
    pub final_tip: Option<Tip>,
    /// Exactly the records it holds that its successor lacks, once listed.
    pub stranded: Vec<RecordId>,
    /// When it was opened.
    pub opened: LogTime,
}

/// How sure the loss is, for approving in groups; ordered from best to worst.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize, Serialize, Deserialize,
)]
pub enum LossClass {
    /// Provably none: the old master's final position will be matched, or the acknowledgement bound proves it (R7).
    NoneProvable,
    /// The candidate holds everything reported no longer than the policy time before silence.
    CaughtUp,
    /// The candidate is known to be behind.
    Lagging,
    /// The candidate was not verified recently enough.
    Unverified,
    /// Nothing is known.
    Unknown,
}
impl LossClass {
    /// All of them, the best first.
    pub const ALL: [Self; 5] = [Self::NoneProvable, Self::CaughtUp, Self::Lagging, Self::Unverified, Self::Unknown];

    /// As it is written on a command line.
    pub fn word(self) -> &'static str {
        match self {
            Self::NoneProvable => "none-provable",
            Self::CaughtUp => "caught-up",
            Self::Lagging => "lagging",
            Self::Unverified => "unverified",
            Self::Unknown => "unknown",
        }
    }
}
impl fmt::Display for LossClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            LossClass::NoneProvable => "NONE PROVABLE",
            LossClass::CaughtUp => "CAUGHT UP",
            LossClass::Lagging => "LAGGING",
            LossClass::Unverified => "UNVERIFIED",
            LossClass::Unknown => "UNKNOWN",
        })
    }
}

/// What a failover may lose, as shown to the person who approves it (R7).
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct LossStatement {
    /// The class.
    pub class: LossClass,
    /// Where the candidate ends: what is promoted may not be behind this, else a new approval is needed.
    pub candidate: Tip,
    /// The old master's last reported end.
    pub last_known: Option<Tip>,
    /// How old that report was when the sheet was made, in milliseconds.
    pub last_known_age_ms: Option<u64>,
    /// Records known to be missing on the candidate (last known lag).
    pub known_lag: Option<u64>,
}

/// Site policy, as the cluster file says it; every time in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Policy {
    /// Hand-overs at once in the cluster.
    pub handover_at_once: u16,
    /// Hand-overs at once touching one host.
    pub handover_per_host: u16,
    /// Hand-overs at once touching one failure domain (a rack).
    pub handover_per_domain: u16,
    /// A hand-over starts only when the target is at most this many records behind.
    pub max_lag_records: u64,
    /// A replica counts as verified when its chain digest agreed with its master's at most this long ago.
    pub max_stamp_age_ms: u64,
    /// A frozen master thaws by itself after this long.
    pub freeze_limit_ms: u64,
    /// "Caught up" allows the last report to be at most this old at silence.
    pub caught_up_ms: u64,
    /// People for an unplanned failover that needs no second opinion (1), or throughout.
    pub failover_people: u8,
    /// Ask two people when the loss is lagging, unverified or unknown.
    pub two_if_loss: bool,
    /// Ask two people when the old master is attested off or not fenced at all.
    pub two_if_unfenced: bool,
    /// Whether a master that nothing fences may be promoted past at all.
    pub allow_unfenced: bool,
    /// More silent hosts than this look like our own partition: two people (R23).
    pub brake_silent_hosts: u16,
    /// A host counts as silent when nothing was heard of it this long.
    pub silent_ms: u64,
    /// An attestation is void after this long.
    pub attestation_ms: u64,
    /// A plan nobody approved is void after this long, in log time.
    pub plan_valid_ms: u64,
    /// Everyday starts of masters per minute (R25: bounded rate).
    pub everyday_per_minute: u16,
    /// Copies that are built at once in the cluster.
    pub copy_at_once: u16,
    /// Copies that are built at once from or onto one host.
    pub copy_per_host: u16,
    /// Copies that are built at once from or into one failure domain (a rack).
    pub copy_per_domain: u16,
    /// What copies that are built leave free on a disk.
    pub copy_keep_free: KeepFree,
    /// What placement aims at, weighed; `None` meets the aims in their order.
    pub weights: Option<Weights>,
    /// Every replica is compared with its master, record by record, once in this time; never when it is 0.
    pub verify_every_ms: u64,
    /// Bytes a second that one comparison reads at most, on each of the two disks.
    pub verify_rate: u64,
    /// Comparisons at once in the cluster.
    pub verify_at_once: u16,
}
/// A cap that nothing reaches.
const NO_CAP: u16 = u16::MAX;

impl Policy {
    /// Whether a loss of this class asks for two people (S5).
    pub fn loss_asks_two(&self, class: LossClass) -> bool {
        self.two_if_loss && class > LossClass::CaughtUp
    }
    /// Whether a former master that is fenced so well and no better asks for two people (S5).
    pub fn fence_asks_two(&self, fence: FenceLevel) -> bool {
        self.two_if_unfenced && fence > FenceLevel::Device
    }
    /// Whether so many silent hosts look like our own partition (R23).
    pub fn brakes(&self, silent_hosts: u16) -> bool {
        silent_hosts > self.brake_silent_hosts
    }
}
impl Default for Policy {
    fn default() -> Self {
        Self {
            handover_at_once: 4,
            handover_per_host: 2,
            handover_per_domain: NO_CAP,
            max_lag_records: 1_000,
            max_stamp_age_ms: 8 * 24 * 3_600_000,
            freeze_limit_ms: 15_000,
            caught_up_ms: 10_000,
            failover_people: 1,
            two_if_loss: true,
            two_if_unfenced: true,
            allow_unfenced: false,
            brake_silent_hosts: 3,
            silent_ms: 3_000,
            attestation_ms: 30 * 60_000,
            plan_valid_ms: 15 * 60_000,
            everyday_per_minute: 120,
            copy_at_once: 6,
            copy_per_host: 2,
            copy_per_domain: NO_CAP,
            copy_keep_free: KeepFree::NOTHING,
            weights: None,
            verify_every_ms: 7 * 24 * 3_600_000,
            verify_rate: 20_000_000,
            verify_at_once: 2,
        }
    }
}

/// The whole cluster file, ranges expanded.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct FleetSpec {
    /// The cluster's name.
    pub cluster: ClusterName,
    /// Coordinators and where they listen.
    pub coordinators: BTreeMap<CoordinatorName, SocketAddr>,
    /// Hosts.
    pub hosts: BTreeMap<HostName, HostSpec>,
    /// Stores.
    pub stores: BTreeMap<StoreName, StoreSpec>,
    /// Front ends.
    pub front_ends: BTreeMap<FrontEndName, FrontEndSpec>,
    /// Policy.
    pub policy: Policy,
    /// What the file says and this build does not carry out, a line for each: every diff says it.
    pub unused: BTreeSet<String>,
}

/// The replicated picture of the fleet.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Cluster {
    /// Drawn at init; every order carries it.
    pub id: ClusterId,
    /// The name.
    pub name: ClusterName,
    /// Grows only by a restore (R10).
    pub generation: u32,
    /// Policy.
    pub policy: Policy,
    /// Hosts.
    pub hosts: BTreeMap<HostName, Host>,
    /// Stores.
    pub stores: BTreeMap<StoreName, Store>,
    /// Front ends, exactly as the cluster file names them: they hold no data, so a line taken away ends one.
    pub front_ends: BTreeMap<FrontEndName, FrontEndSpec>,
    /// Attestations in force or expired, by host.
    pub attestations: BTreeMap<HostName, Attestation>,
    /// Loss cases, settled ones included.
    pub loss_cases: BTreeMap<LossCaseId, LossCase>,
    /// What persons said the tool must not touch; at most one hold on each thing.
    pub holds: BTreeMap<HoldOn, Hold>,
    /// Stores that are gone for good, by their names.
    pub tombstones: BTreeMap<StoreName, Tombstone>,
    /// What the last comparison of each copy with its master found.
    pub stamps: BTreeMap<SlotId, Stamp>,
}

impl Cluster {
    /// A cluster with nothing in it.
    pub fn new(id: ClusterId, name: ClusterName) -> Self {
        Self {
            id,
            name,
            generation: 0,
            policy: Policy::default(),
            hosts: BTreeMap::new(),
            stores: BTreeMap::new(),
            front_ends: BTreeMap::new(),
            attestations: BTreeMap::new(),
            loss_cases: BTreeMap::new(),
            holds: BTreeMap::new(),
            tombstones: BTreeMap::new(),
            stamps: BTreeMap::new(),
        }
    }
    /// The spec of a slot.
    pub fn slot(&self, slot: &SlotId) -> Option<&SlotSpec> {
        self.hosts.get(&slot.host)?.slots.get(&slot.number)
    }
    /// The store that has a copy on a slot, with that copy. A slot holds at most one copy.
    pub fn copy_on(&self, slot: &SlotId) -> Option<(&StoreName, &Store, &Copy)> {
        self.stores.iter().find_map(|(name, store)| store.copies.get(slot).map(|copy| (name, store, copy)))
    }
    /// The stamp of the copy that is on a slot now.
    pub fn stamp(&self, slot: &SlotId) -> Option<&Stamp> {
        let stamp = self.stamps.get(slot)?;
        let (.., copy) = self.copy_on(slot)?;
        (copy.generation == stamp.generation).then_some(stamp)
    }
    /// What the last comparison found that speaks against the copy of a store on a slot.
    pub fn fault(&self, store: &Store, slot: &SlotId) -> Option<&Stamp> {
        let generation = store.copies.get(slot)?.generation;
        self.stamps.get(slot).filter(|stamp| stamp.generation == generation && stamp.is_at_fault())
    }
    /// The stores whose master or pending master is on a host.
    pub fn masters_on<'a>(&'a self, host: &'a HostName) -> impl Iterator<Item = (&'a StoreName, &'a Store)> {
        self.stores.iter().filter(move |(_, s)| s.master.iter().chain(s.pending.iter()).any(|slot| slot.host == *host))
    }
    /// Every copy on a host.
    pub fn copies_on<'a>(&'a self, host: &'a HostName) -> impl Iterator<Item = (&'a StoreName, &'a SlotId, &'a Copy)> {
        self.stores.iter().flat_map(move |(name, s)| {
            s.copies.iter().filter(move |(slot, _)| slot.host == *host).map(move |(slot, copy)| (name, slot, copy))
        })
    }
}
