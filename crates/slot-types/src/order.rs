//! What the coordinator sends an agent, what the agent answers, and what it reports by itself.
//!
//! What always holds: an order is identified by plan, task, step and attempt and carries the raft index of its StartStep
//! entry (R4); role orders carry the boot they are meant for (R27); budgets are never safety. A [`Receipt`] is durable at the
//! agent before it is sent: it is "done" or "never will". Anything else is [`Answer::NotYet`] and proves nothing.

use crate::disk::Disk;
use crate::engine::{EngineStatus, Source};
use crate::fence::FenceSpec;
use crate::hand::HandStart;
use crate::ids::*;
use crate::load::HostLoad;
use crate::position::{EpochStart, Tip};
use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

/// What the coordinator sends an agent for a step.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Order {
    /// The cluster's identity (S15).
    pub cluster: ClusterId,
    /// The sender's term: the agent refuses a lower one than it has seen (S15).
    pub term: Term,
    /// The raft index of its StartStep entry (R4).
    pub index: LogIndex,
    /// Which attempt at which step of which plan.
    pub id: OrderId,
    /// The disk it is meant for (S15).
    pub incarnation: Incarnation,
    /// The boot it is meant for (R27).
    pub boot: BootId,
    /// The copy it is about; `None` for an order about the whole host.
    pub subject: Option<Subject>,
    /// How long the agent should try before it answers NotYet; never safety.
    pub budget_ms: u64,
    /// What to do.
    pub action: Action,
}

/// The copy an order is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Subject {
    /// The store.
    pub store: StoreName,
    /// The slot's number on the agent's host.
    pub slot: u16,
    /// The copy generation (R11).
    pub generation: CopyGeneration,
    /// The epoch the order is for.
    pub epoch: Epoch,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub enum Action {
    /// Make an empty copy at the subject's generation and start its engine, idle.
    Provision,
    /// Stop acknowledging writes; the freeze's id is the order's id (R1).
    Freeze {
        /// It thaws by itself then.
        limit_ms: u64,
    },
    /// End a freeze for good.
    Thaw {
        /// Which.
        freeze: FreezeId,
    },
    /// Be equal to `target`, pulling from `source`.
    CatchUp {
        /// From where.
        source: Source,
        /// To what.
        target: Tip,
    },
    /// Hold the subject's epoch durably, answer the final tip (R2). Starts a dead engine read-only to learn it (protocol step 5).
    Demote,
    /// Durably hold the subject's epoch.
    Raise,
    /// Become master at the subject's epoch when equal to `expect`, catching up from `source` first if given.
    Promote {
        /// What to be equal to.
        expect: Tip,
        /// From where to catch up.
        source: Option<Source>,
        /// R24.
        sync_copies: u8,
    },
    /// Everyday recovery: start the same master at the same epoch (R25, R5).
    StartMaster {
        /// R24.
        sync_copies: u8,
    },
    /// Start the engine if needed and follow `source` at the subject's epoch.
    Follow {
        /// The master.
        source: Source,
    },
    /// Stop the engine cleanly and reap its process.
    Stop,
    /// List records the subject's copy has and `against` lacks.
    ListStranded {
        /// The present master.
        against: Source,
    },
    /// Put the stranded records into `to`.
    Reinject {
        /// The present master.
        to: Source,
    },
    /// Take orders of this order's generation from now on, and of none before it (R10); the subject is `None`.
    Adopt,
    /// Write and read back a canary in `store` through its route; the subject is `None`.
    Canary {
        /// The store.
        store: StoreName,
        /// Its epoch.
        epoch: Epoch,
        /// Its master.
        to: Source,
    },
    /// Delete the subject's copy for good: engine ended, data removed, a tombstone kept (R11).
    Destroy,
    /// Prove that no engine process and no order runs on this host (S8).
    ConfirmStopped,
    /// Make sure that order never takes effect, or answer what it did (R4).
    Cancel {
        /// Which.
        order: OrderId,
    },
    /// Switch another host off by its device, whose status must then say off (R26); the subject is `None`.
    Fence {
        /// The host.
        host: HostName,
        /// The boot that is ended (R6).
        ends: BootId,
        /// The device.
        device: Box<FenceSpec>,
    },
}

impl Action {
    /// A short name for logs, failpoints and refusals.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Provision => "provision",
            Self::Freeze { .. } => "freeze",
            Self::Thaw { .. } => "thaw",
            Self::CatchUp { .. } => "catch-up",
            Self::Demote => "demote",
            Self::Raise => "raise",
            Self::Promote { .. } => "promote",
            Self::StartMaster { .. } => "start-master",
            Self::Follow { .. } => "follow",
            Self::Stop => "stop",
            Self::ListStranded { .. } => "list-stranded",
            Self::Reinject { .. } => "reinject",
            Self::Adopt => "adopt",
            Self::Canary { .. } => "canary",
            Self::Destroy => "destroy",
            Self::ConfirmStopped => "confirm-stopped",
            Self::Cancel { .. } => "cancel",
            Self::Fence { .. } => "fence",
        }
    }
    /// Whether it changes which role a copy has, so that it is bound to one boot (R27).
    pub fn is_role_order(&self) -> bool {
        matches!(
            self,
            Self::Freeze { .. }
                | Self::Demote
                | Self::Raise
                | Self::Promote { .. }
                | Self::StartMaster { .. }
                | Self::Follow { .. }
        )
    }
}

/// An agent's durable word on one order.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Receipt {
    /// Which order.
    pub id: OrderId,
    /// Its StartStep index.
    pub index: LogIndex,
    /// What came of it.
    pub outcome: Outcome,
}

/// Done, or never will.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub enum Outcome {
    /// It took effect, once (S6).
    Done(Done),
    /// It never took and never will take effect (R4).
    NeverWill(NeverWill),
}

/// What an order's effect answered.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub enum Done {
    /// Nothing to tell.
    Plain,
    /// Where the copy ends, durably.
    Tip {
        /// Where.
        tip: Tip,
        /// The history behind it.
        history: Vec<EpochStart>,
    },
    /// The stranded records.
    Stranded(Vec<RecordId>),
    /// How many were put in, how many were there.
    Reinjected {
        /// Appended now.
        appended: u64,
        /// Already there.
        present: u64,
    },
    /// The device switched the host off, and its status says off.
    Off,
}

/// Why an order never will take effect.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize, thiserror::Error)]
pub enum NeverWill {
    /// A higher order index was already accepted for this slot (R4).
    #[error("a later order, of log index {held}, was already accepted for this slot")]
    Superseded {
        /// The highest accepted.
        held: LogIndex,
    },
    /// The copy holds a higher epoch (S2).
    #[error("the copy holds epoch {held}")]
    OlderEpoch {
        /// Held.
        held: Epoch,
    },
    /// The same epoch was used for another role order.
    #[error("epoch {epoch} was already used for {role}")]
    SameEpochOtherRole {
        /// The epoch.
        epoch: Epoch,
        /// For what.
        role: String,
    },
    /// Another copy generation lives there (R11).
    #[error("the slot holds {held}")]
    OtherCopy {
        /// What it holds.
        held: String,
    },
    /// That boot has ended (R27).
    #[error("boot {0} has ended")]
    BootEnded(BootId),
    /// Cancelled before it took effect.
    #[error("it was cancelled before it took effect")]
    Cancelled,
    /// The engine refused for good.
    #[error("the engine refuses: {0}")]
    Engine(String),
    /// The freeze's id was thawed (R1).
    #[error("the freeze was thawed")]
    Thawed,
    /// The copy is not equal to what Promote or CatchUp asked.
    #[error("the copy ends at {have}, asked was {want}")]
    NotEqual {
        /// Where it ends.
        have: Tip,
        /// What was asked.
        want: Tip,
    },
    /// Engines or orders still run there.
    #[error("still running on this host: {0}")]
    StillRunning(String),
    /// The device did not confirm that the host is off (R26).
    #[error("the device of {host} does not confirm that it is off: {why}")]
    NotOff {
        /// The host.
        host: HostName,
        /// What the device, or its fence agent, said last.
        why: String,
    },
}

/// What an agent answers to a delivery.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub enum Answer {
    /// Durable.
    Receipt(Receipt),
    /// Nothing durable yet: deliver again.
    NotYet {
        /// Why, for a person.
        why: String,
    },
    /// The order was not even considered: wrong cluster, incarnation, host or an older term (S15). Not durable.
    Refused {
        /// Why, for a person.
        why: String,
    },
}

/// What the last role order made of a copy, as its ledger has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub enum RoleOrdered {
    /// The ledger knows no such copy: what runs there is an engine that outlived it.
    Unknown,
    /// Nothing, or to hold an epoch, or to follow.
    Replica,
    /// To be master.
    Master {
        /// That is done, so it was one.
        done: bool,
    },
    /// To be master no more.
    Demoted {
        /// That is durably so (R2).
        done: bool,
    },
}

/// What an agent says of one of its slots.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct SlotReport {
    /// The slot's number.
    pub slot: u16,
    /// The store it holds.
    pub store: StoreName,
    /// The copy generation.
    pub generation: CopyGeneration,
    /// The highest epoch in the ledger.
    pub ledger_epoch: Epoch,
    /// Whether the last finished role order left it as master (intact ledger: R25).
    pub ledger_master: bool,
    /// What role orders made of it at that epoch: whom a restore must count as a possible master (R10).
    pub ordered: RoleOrdered,
    /// Its engine was stopped by an order, and by none started since (S8).
    pub stopped: bool,
    /// R24: how many replicas the last order that made it master asked for.
    pub sync_copies: u8,
    /// Starts of this copy by hand (R19), the oldest first.
    pub by_hand: Vec<HandStart>,
    /// The engine process.
    pub engine: EngineSeen,
}

/// What an agent sees of an engine process; agent and engine are separate signs of life (R8).
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub enum EngineSeen {
    /// No process.
    NotRunning,
    /// A process that does not answer.
    Silent,
    /// It answered.
    Running(Box<EngineStatus>),
}

/// What an agent pushes to the leader.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct AgentReport {
    /// The cluster it belongs to.
    pub cluster: ClusterId,
    /// Its host.
    pub host: HostName,
    /// Its disk.
    pub incarnation: Incarnation,
    /// Its boot.
    pub boot: BootId,
    /// The highest order index its ledger holds, over all slots (S2).
    pub high_water: LogIndex,
    /// Its slots that hold something.
    pub slots: Vec<SlotReport>,
    /// Orders accepted and without an outcome.
    pub running: Vec<OrderId>,
    /// What the file system of its copies has free, if that was seen lately.
    pub disk: Option<Disk>,
    /// How busy its machine is, once that was measured over a whole window.
    pub load: Option<HostLoad>,
}

crate::versioned! {
    Order: "order", 2;
    Answer: "answer to an order", 2;
    AgentReport: "agent report", 1;
}
