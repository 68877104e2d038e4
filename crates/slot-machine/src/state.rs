//! The replicated state.
//!
//! What always holds: it changes only in [`crate::apply::apply`]; it holds no clock and no address of a client; equal
//! logs give equal states, byte for byte (S14); every collection that clients can grow is bounded.

use crate::audit::Audit;
use crate::by_hand::Noted;
use crate::command::{Answer, StepRef};
use crate::join::Invitations;
use crate::restore::Restoring;
use borsh::{BorshDeserialize, BorshSerialize};
use slot_planted::planted;
use slot_types::cluster::Cluster;
use slot_types::codec::{self, CodecError, Versioned};
use slot_types::ids::*;
use slot_types::order::{Done, NeverWill};
use slot_types::plan::Plan;
use slot_types::position::Digest;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// The newest feature level this build can apply (R20).
pub const FEATURE_LEVEL_SUPPORTED: u32 = 1;
/// Ended plans kept for `plan show`; older ones live in the audit chain alone.
pub const ENDED_PLANS_MAX: usize = 256;
/// Plans that may wait for approval at once; a further one is refused.
pub const PROPOSED_PLANS_MAX: usize = 256;
/// Sessions remembered (R21); the least recently used goes first.
pub const SESSIONS_MAX: usize = 1024;
/// Answers remembered per session (R21).
pub const ANSWERS_PER_SESSION_MAX: usize = 64;
/// Attempts at one step after the commit before a person is asked.
pub const ATTEMPTS_MAX: u32 = 20;

/// The whole replicated state.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct State {
    /// The fleet; `None` until founded.
    pub cluster: Option<Cluster>,
    /// Grows with every change of the set of hosts, stores and policy.
    pub fleet_version: u64,
    /// Grows with every applied command.
    pub revision: Revision,
    /// The index of the last applied entry.
    pub applied: LogIndex,
    /// Its term.
    pub term: Term,
    /// Log time (R17).
    pub log_time: LogTime,
    /// Wall time of the last entry; for display.
    pub wall: WallTime,
    /// The node that last said it became leader.
    pub leader: Option<CoordinatorName>,
    /// The replicated feature level (R20).
    pub feature_level: u32,
    /// Plans, running and ended.
    pub plans: BTreeMap<PlanId, PlanRecord>,
    /// The last plan's number.
    pub last_plan: PlanId,
    /// The last loss case's number.
    pub last_loss_case: LossCaseId,
    /// Which running plan holds a store (R13).
    pub store_claims: BTreeMap<StoreName, PlanId>,
    /// Which running plan holds a host's declared state (R13).
    pub host_claims: BTreeMap<HostName, PlanId>,
    /// Which running plan has reserved a slot (R13).
    pub slot_claims: BTreeMap<SlotId, PlanId>,
    /// R21.
    pub sessions: BTreeMap<u64, Session>,
    /// S12.
    pub audit: Audit,
    /// When the latest everyday master starts were accepted (R25); at most a minute's worth.
    pub everyday: Vec<LogTime>,
    /// Per host, the last boot its agent said has ended (R27): it is waited for another one, and never goes back.
    pub ended_boots: BTreeMap<HostName, BootId>,
    /// Per host, the disks that were found older than they had been, or that another one took the place of: none of them is
    /// admitted again, for its ledger may have forgotten what it held (S2).
    pub given_up_disks: BTreeMap<HostName, BTreeSet<Incarnation>>,
    /// What is still to be learnt after a restore; until then nothing moves (R10).
    pub restoring: Option<Restoring>,
    /// Per slot, the latest start by hand that is in the audit (R19).
    pub by_hand: BTreeMap<SlotId, Noted>,
    /// Hosts that may join with a one-time token, or did so of late.
    pub invitations: Invitations,
}

impl Versioned for State {
    const NAME: &'static str = "snapshot";
    const VERSION: u16 = 2;
}

impl Default for State {
    fn default() -> Self {
        Self {
            cluster: None,
            fleet_version: 0,
            revision: Revision(0),
            applied: LogIndex(0),
            term: Term(0),
            log_time: LogTime(0),
            wall: WallTime(0),
            leader: None,
            feature_level: 1,
            plans: BTreeMap::new(),
            last_plan: PlanId(0),
            last_loss_case: LossCaseId(0),
            store_claims: BTreeMap::new(),
            host_claims: BTreeMap::new(),
            slot_claims: BTreeMap::new(),
            sessions: BTreeMap::new(),
            audit: Audit::default(),
            everyday: Vec::new(),
            ended_boots: BTreeMap::new(),
            given_up_disks: BTreeMap::new(),
            restoring: None,
            by_hand: BTreeMap::new(),
            invitations: Invitations::new(),
        }
    }
}

impl State {
    /// The canonical bytes of the whole state, audit entries since the trim point included (R22).
    pub fn snapshot(&self) -> Vec<u8> {
        if planted("r22-snapshot-without-audit") {
            return codec::encode(&Self { audit: Audit::default(), ..self.clone() });
        }
        codec::encode(self)
    }
    /// The state a snapshot holds.
    pub fn restore(bytes: &[u8]) -> Result<Self, CodecError> {
        codec::decode(bytes)
    }
    /// Equal on all nodes at equal applied index (S14).
    pub fn hash(&self) -> Digest {
        Digest::of(&self.snapshot())
    }
    /// The plans that are running.
    pub fn running(&self) -> impl Iterator<Item = &PlanRecord> {
        self.plans.values().filter(|p| p.status.is_under_way())
    }
    /// Whether a disk of a host was given up (S2).
    pub(crate) fn is_given_up(&self, host: &HostName, incarnation: Incarnation) -> bool {
        self.given_up_disks.get(host).is_some_and(|disks| disks.contains(&incarnation))
    }
    /// A step of a plan.
    pub fn step(&self, at: StepRef) -> Option<(&PlanRecord, &TaskRun, &StepRun)> {
        let plan = self.plans.get(&at.plan)?;
        let task = plan.tasks.get(usize::from(at.task))?;
        Some((plan, task, task.steps.get(usize::from(at.step))?))
    }
}

/// A client's session (R21).
#[derive(Clone, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Session {
    /// The index of its last request.
    pub last_used: LogIndex,
    /// One above the highest sequence whose answer was forgotten.
    pub forgotten: u64,
    /// Answers by sequence: a set, never a high-water mark.
    pub answers: BTreeMap<u64, Answer>,
}

/// A recorded plan and how far it is.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct PlanRecord {
    /// Its number.
    pub id: PlanId,
    /// Its canonical bytes (R15).
    pub bytes: Vec<u8>,
    /// What they say.
    pub plan: Plan,
    /// Their digest.
    pub digest: Digest,
    /// Where it stands.
    pub status: PlanStatus,
    /// Approvals given.
    pub approvals: Vec<Approval>,
    /// Approvals needed, by policy at recording (S5).
    pub people: u8,
    /// Its tasks' progress.
    pub tasks: Vec<TaskRun>,
    /// When it was recorded.
    pub recorded: LogTime,
    /// When it started.
    pub started: Option<LogTime>,
    /// When it ended.
    pub ended: Option<LogTime>,
    /// When it ended, in wall time; for display.
    pub ended_wall: Option<WallTime>,
}

/// A person's yes (S5).
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Approval {
    /// Who.
    pub by: OperatorName,
    /// When, in log time.
    pub at: LogTime,
    /// When, in wall time; for display.
    pub wall: WallTime,
    /// Why.
    pub reason: String,
}

/// Where a plan stands.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum PlanStatus {
    /// Recorded, waits for people.
    Proposed,
    /// Approved, consumed, under way.
    Running,
    /// Told to stop; finishes what can't go back (R18).
    Aborting {
        /// Who.
        by: OperatorName,
        /// Why.
        reason: String,
    },
    /// Begins nothing until it is resumed; what has begun goes to its next safe point (R18).
    Paused {
        /// Who said so; `None` when it could not be done whole.
        by: Option<OperatorName>,
        /// Why.
        reason: String,
    },
    /// Everything is done.
    Done,
    /// Ended with something not done; nothing is in motion.
    Stopped,
    /// Ended because a person said so.
    Aborted {
        /// Who.
        by: OperatorName,
        /// Why.
        reason: String,
    },
    /// A person said no.
    Rejected {
        /// Who.
        by: OperatorName,
        /// Why.
        reason: String,
    },
    /// It can never start.
    Void {
        /// Why.
        why: String,
    },
}

impl PlanStatus {
    /// Whether it is over.
    pub fn is_ended(&self) -> bool {
        !matches!(self, Self::Proposed) && !self.is_under_way()
    }
    /// Whether its approval is consumed and it is not over.
    pub fn is_under_way(&self) -> bool {
        matches!(self, Self::Running | Self::Aborting { .. } | Self::Paused { .. })
    }
}

impl fmt::Display for PlanStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Proposed => write!(f, "waiting for approval"),
            Self::Running => write!(f, "running"),
            Self::Aborting { by, .. } => write!(f, "being aborted by {by}"),
            Self::Paused { by: Some(by), .. } => write!(f, "paused by {by}"),
            Self::Paused { by: None, .. } => write!(f, "paused part way"),
            Self::Done => write!(f, "done"),
            Self::Stopped => write!(f, "stopped part way"),
            Self::Aborted { by, .. } => write!(f, "aborted by {by}"),
            Self::Rejected { by, .. } => write!(f, "rejected by {by}"),
            Self::Void { why } => write!(f, "void: {why}"),
        }
    }
}

/// How far a task is.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct TaskRun {
    /// Where it stands.
    pub state: TaskState,
    /// Its steps.
    pub steps: Vec<StepRun>,
    /// While unwinding: what is left to make sure of.
    pub unwind: Option<Unwind>,
    /// While a Promote is outstanding: the demoted source is asked to serve again.
    pub serve: Option<Serve>,
}

/// The demoted master's engine died before its successor caught up from it (hand-over 5): its Demote, which starts a dead
/// engine read-only, is ordered again, for the outstanding Promote depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Serve {
    /// Which time.
    pub attempt: u32,
    /// The log index its order carries (R4).
    pub index: LogIndex,
    /// Since when, in log time.
    pub at: LogTime,
    /// Its agent has answered.
    pub answered: bool,
}

/// Where a task stands.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum TaskState {
    /// No step was started.
    Waiting,
    /// Under way.
    Running,
    /// Going back to the old state: outstanding orders are being cancelled, the freeze thawed (R1, R4).
    Unwinding {
        /// Why.
        why: String,
    },
    /// Done.
    Done,
    /// Not done; the store is as it was before, or as the reason says.
    NotDone {
        /// Why.
        why: String,
    },
    /// Past the point of no return and unable to go on: a person must plan anew (R18).
    NeedsHuman {
        /// Why.
        why: String,
    },
    /// An approved failover took its store (R13).
    Superseded {
        /// Which plan.
        by: PlanId,
    },
}

impl TaskState {
    /// Whether nothing more will happen in it.
    pub fn is_ended(&self) -> bool {
        !matches!(self, Self::Waiting | Self::Running | Self::Unwinding { .. })
    }
}

/// What an unwinding task still has to make sure of; its orders carry `index` (R4).
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Unwind {
    /// The log index at which unwinding began.
    pub index: LogIndex,
    /// Steps whose outstanding orders must be over.
    pub cancel: Vec<u16>,
    /// The freeze to thaw, once it is known to have happened.
    pub thaw: Option<FreezeId>,
}

/// How far a step is.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct StepRun {
    /// Where it stands.
    pub state: StepState,
    /// What it waits for, when a deadline passed.
    pub stuck: Option<String>,
}

/// Where a step stands.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum StepState {
    /// Not started; the next attempt has this number.
    Waiting {
        /// From 1.
        attempt: u32,
    },
    /// Its order may be anywhere (R4).
    Started {
        /// Which attempt.
        attempt: u32,
        /// The index of its StartStep entry.
        index: LogIndex,
        /// When, in log time.
        at: LogTime,
        /// The disk its order is for.
        incarnation: Incarnation,
        /// The boot its order is for (R27).
        boot: BootId,
    },
    /// Done.
    Done {
        /// Which attempt.
        attempt: u32,
        /// The index of its StartStep entry.
        index: LogIndex,
        /// What the agent answered.
        done: Done,
    },
    /// Over without effect (R4).
    Never {
        /// Which attempt.
        attempt: u32,
        /// Why.
        why: NeverWill,
    },
}
