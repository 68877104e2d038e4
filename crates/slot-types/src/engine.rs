//! What an agent asks of an engine process, and what it answers.
//!
//! What always holds: every call is idempotent; a call names the epoch it is for, and an engine refuses an older one and
//! the same one with another content; an engine never changes its role by itself.

use crate::ids::*;
use crate::position::{EpochStart, Tip};
use crate::verify::Verification;
use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// Another copy to pull from or compare with.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Source {
    /// Its slot; the dialer pins the host's certificate name.
    pub slot: SlotId,
    /// Its address.
    pub address: SocketAddr,
}

/// One call on an engine.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub enum EngineCall {
    /// Answers its status; changes nothing.
    Status,
    /// Stop acknowledging writes until thawed, demoted, or `limit_ms` of boot time have passed (R1, R12).
    Freeze {
        /// The freeze's name; after its thaw this id answers [`EngineError::Thawed`] for ever.
        id: FreezeId,
        /// The epoch at which it must be master.
        epoch: Epoch,
        /// It thaws by itself then.
        limit_ms: u64,
    },
    /// End that freeze for good.
    Thaw {
        /// Which.
        id: FreezeId,
    },
    /// Pull from `source` until the copy equals `target`, then answer the tip. Raises to `epoch` first when higher.
    CatchUp {
        /// The epoch of the order.
        epoch: Epoch,
        /// Where to pull from.
        source: Source,
        /// What to be equal to.
        target: Tip,
    },
    /// Durably hold `epoch`, never acknowledge below it again, disarm any freeze timer (R29), and answer the final tip (R1, R2).
    Demote {
        /// The new epoch.
        epoch: Epoch,
    },
    /// Durably hold `epoch` without a role change of a replica; a master below it is demoted by it.
    Raise {
        /// The new epoch.
        epoch: Epoch,
    },
    /// Become master at `epoch`, if the copy equals `expect`; writes the epoch-start record first.
    Promote {
        /// The new epoch.
        epoch: Epoch,
        /// What the copy must be equal to (R1: Demote's final tip, never the freeze's).
        expect: Tip,
        /// R24.
        sync_copies: u8,
    },
    /// Everyday: be master again at the epoch already held, writing no epoch-start record (R25).
    StartMaster {
        /// The epoch, which must be the highest it holds and that of its last promote.
        epoch: Epoch,
        /// R24.
        sync_copies: u8,
    },
    /// Follow `source` at `epoch`. A suffix the source's history does not have is put aside and listed, never lost (R7).
    Follow {
        /// The epoch.
        epoch: Epoch,
        /// The master.
        source: Source,
    },
    /// List the records this copy holds that `against` lacks. The copy must not be serving.
    ListStranded {
        /// The epoch of the order.
        epoch: Epoch,
        /// The present master.
        against: Source,
    },
    /// Append every stranded record to `to` under its own record id; already present ones are skipped (R21).
    Reinject {
        /// The epoch of the order.
        epoch: Epoch,
        /// The present master.
        to: Source,
    },
    /// Write a canary record to the master of `store` at `to` and read it back.
    Canary {
        /// The store.
        store: StoreName,
        /// The epoch of its route.
        epoch: Epoch,
        /// The master.
        to: Source,
        /// Names the canary record.
        id: OrderId,
    },
    /// Begin to compare this copy, as its disk has it, with its master's, at most so fast; answered once it has begun, and
    /// told of in the status from then on. It changes nothing. A later one takes an earlier one's place.
    Verify {
        /// The epoch both must hold.
        epoch: Epoch,
        /// The master.
        against: Source,
        /// Its name: when it was asked for.
        asked: LogTime,
        /// Bytes a second at most.
        rate: u64,
    },
    /// Flush and end the process.
    Stop,
}

impl EngineCall {
    /// What it is called in logs; the same word as for the order that it is made for.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Freeze { .. } => "freeze",
            Self::Thaw { .. } => "thaw",
            Self::CatchUp { .. } => "catch-up",
            Self::Demote { .. } => "demote",
            Self::Raise { .. } => "raise",
            Self::Promote { .. } => "promote",
            Self::StartMaster { .. } => "start-master",
            Self::Follow { .. } => "follow",
            Self::ListStranded { .. } => "list-stranded",
            Self::Reinject { .. } => "reinject",
            Self::Canary { .. } => "canary",
            Self::Verify { .. } => "verify",
            Self::Stop => "stop",
        }
    }
}

/// What an engine is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub enum EngineRole {
    /// Started, told nothing yet: serves replication and status only.
    Idle,
    /// Takes writes.
    Master,
    /// Follows.
    Replica,
    /// Was master, or was raised past it: serves replication, not clients.
    Demoted,
    /// A replica ahead of its same-epoch master, or with a history it can't reconcile: stopped, asks (R7).
    Diverged,
}

/// What an engine says of itself.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct EngineStatus {
    /// The store it holds.
    pub store: StoreName,
    /// The slot it is on.
    pub slot: SlotId,
    /// Its copy generation.
    pub generation: CopyGeneration,
    /// The highest epoch it durably holds.
    pub epoch: Epoch,
    /// What it is doing.
    pub role: EngineRole,
    /// Where its durable data ends.
    pub tip: Tip,
    /// Bytes that its data takes on its disk.
    pub bytes: u64,
    /// Its history.
    pub history: Vec<EpochStart>,
    /// The freeze in force.
    pub frozen: Option<FreezeId>,
    /// Whom it follows.
    pub following: Option<(SlotId, Epoch)>,
    /// Records behind its source, as last heard; `None` is unknown.
    pub behind: Option<u64>,
    /// Milliseconds since its source last answered; `None` is never.
    pub heard_ms: Option<u64>,
    /// Milliseconds since its chain digest last agreed with its source's; `None` is never.
    pub verified_ms: Option<u64>,
    /// R24, while master.
    pub sync_copies: u8,
    /// Records that were put aside when it followed a history without them, not yet settled.
    pub aside: Vec<RecordId>,
    /// The last comparison with its master that was asked of this process.
    pub verification: Option<Box<Verification>>,
}

/// An engine's yes.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub enum EngineDone {
    /// To Status and every call whose answer is the new status.
    Status(Box<EngineStatus>),
    /// To Freeze, CatchUp, Demote, Raise, Promote: where it ends, durable.
    Tip {
        /// Where it ends.
        tip: Tip,
        /// The epoch history behind it.
        history: Vec<EpochStart>,
    },
    /// To ListStranded.
    Stranded(Vec<RecordId>),
    /// To Reinject.
    Reinjected {
        /// Appended now.
        appended: u64,
        /// Already there.
        present: u64,
    },
    /// To Thaw, Follow, StartMaster, Canary, Verify, Stop.
    Done,
}

/// An engine's no.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize, thiserror::Error)]
pub enum EngineError {
    /// An older epoch than it holds.
    #[error("epoch {asked} is older than {held}, which it holds")]
    OlderEpoch {
        /// In the call.
        asked: Epoch,
        /// Held.
        held: Epoch,
    },
    /// The same epoch with another content.
    #[error("at epoch {epoch} it already is {role:?}")]
    SameEpochOtherRole {
        /// The epoch.
        epoch: Epoch,
        /// What it is at that epoch.
        role: EngineRole,
    },
    /// Another store or copy generation.
    #[error("it holds {held}, not the store asked for")]
    OtherStore {
        /// What it holds.
        held: String,
    },
    /// This freeze was thawed; its id is over for good (R1).
    #[error("freeze {0} was thawed")]
    Thawed(FreezeId),
    /// The copy is not equal to what was asked (R1).
    #[error("its data ends at {have}, asked was {want}")]
    NotEqual {
        /// Where it ends.
        have: Tip,
        /// What was asked.
        want: Tip,
    },
    /// It does not have the role the call needs.
    #[error("it is {0:?}")]
    WrongRole(EngineRole),
    /// The other copy did not answer or refused; trying again may help.
    #[error("{slot} did not help: {detail}")]
    SourceFailed {
        /// Which.
        slot: SlotId,
        /// What happened.
        detail: String,
    },
    /// Not in the time given; trying again may help.
    #[error("not done in time: {0}")]
    TimedOut(String),
    /// Could not reach the engine process at all; trying again may help.
    #[error("the engine does not answer: {0}")]
    Unreachable(String),
    /// The disk failed or is damaged: the engine stops rather than guess (P11, P12).
    #[error("disk: {0}")]
    Disk(String),
}

impl EngineError {
    /// Whether the same call may succeed later without anything else being ordered.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::SourceFailed { .. } | Self::TimedOut(_) | Self::Unreachable(_))
    }
}

/// An engine's answer to one call.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct EngineAnswer(pub Result<EngineDone, EngineError>);

crate::versioned! {
    EngineCall: "engine call", 1;
    EngineAnswer: "engine answer", 1;
}
