//! What a person or a script may read of a cluster: queries, and the documents that answer them.
//!
//! What always holds: a view is read-only and decides nothing; what is observed stands beside what is declared and is
//! never mixed with it; what is not known is [`Seen::Unknown`] with its reason; texts in it are data, laid out elsewhere.

pub mod audit;
pub mod evidence;
pub mod explain;
pub mod fleet;
mod front_end;
mod invitation;
pub mod risk;
pub mod snapshot;
mod verify;

pub use audit::*;
pub use evidence::*;
pub use explain::*;
pub use fleet::*;
pub use front_end::*;
pub use invitation::*;
pub use risk::*;
pub use snapshot::*;
pub use verify::*;

use crate::cluster::*;
use crate::codec::Versioned;
use crate::evidence::{CopyEvidence, Seen};
use crate::hold::{Held, HoldOn};
use crate::ids::*;
use crate::position::{Digest, Position};
use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub enum Query {
    /// The whole cluster at a glance.
    Status,
    /// One host.
    Host(HostName),
    /// One store.
    Store(StoreName),
    /// The store that has a copy on this slot.
    Slot(SlotId),
    /// Every plan that is remembered, the newest first.
    Plans,
    /// One plan.
    Plan(PlanId),
    /// Every loss case, the open ones first.
    LossCases,
    /// One loss case.
    LossCase(LossCaseId),
    /// The audit chain.
    Audit {
        /// Entries with a higher number than this.
        after: u64,
        /// At most so many; [`AUDIT_LINES_MAX`] at most.
        limit: u32,
    },
    /// Where clients of every store must go.
    Routes,
    /// Stores as a table.
    Stores(StoreFilter),
    /// Slots as a table.
    Slots(SlotFilter),
    /// What each single loss would do.
    Risks,
    /// What one loss would do.
    Risk(Lost),
    /// Why things are where they are.
    Explain(ExplainWhat),
    /// Everything seen of a host, with its age.
    Evidence(HostName),
    /// The audit chain from a moment on: from the first entry of that wall time or a later one.
    AuditSince {
        /// The moment; for display only, as all wall time is.
        wall: WallTime,
        /// At most so many entries; [`AUDIT_LINES_MAX`] at most.
        limit: u32,
    },
    /// The whole state, to be kept in a file (R10).
    Backup,
    /// Everything the planner looks at, to be asked without the cluster.
    Snapshot,
    /// Which hosts may join, and what became of those that could.
    Invitations,
}
impl Versioned for Query {
    const NAME: &'static str = "query";
    const VERSION: u16 = 2;
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub enum View {
    /// To [`Query::Backup`].
    Backup(Box<crate::backup::BackupView>),
    /// To [`Query::Status`].
    Status(Box<StatusView>),
    /// To [`Query::Host`].
    Host(Box<HostView>),
    /// To [`Query::Store`].
    Store(Box<StoreView>),
    /// To [`Query::Slot`].
    Slot(Box<SlotView>),
    /// To [`Query::Plans`].
    Plans(Vec<PlanLine>),
    /// To [`Query::Plan`], and on every change while it is watched.
    Plan(Box<PlanView>),
    /// To [`Query::LossCases`].
    LossCases(Vec<LossCaseView>),
    /// To [`Query::LossCase`].
    LossCase(Box<LossCaseView>),
    /// To [`Query::Audit`] and [`Query::AuditSince`].
    Audit(AuditView),
    /// To [`Query::Routes`].
    Routes(RoutesView),
    /// There is no such thing.
    NotFound {
        /// What was asked for, as in `host imap3`.
        subject: String,
    },
    /// To [`Query::Stores`].
    Stores(StoresView),
    /// To [`Query::Slots`].
    Slots(SlotsView),
    /// To [`Query::Risks`].
    Risks(Box<RisksView>),
    /// To [`Query::Risk`].
    Risk(Box<RiskView>),
    /// To [`Query::Explain`].
    Explain(Box<ExplainView>),
    /// To [`Query::Evidence`].
    Evidence(Box<EvidenceView>),
    /// To a person who wants copies verified.
    Verify(VerifyView),
    /// To [`Query::Snapshot`].
    Snapshot(Box<SnapshotView>),
    /// To [`Query::Invitations`].
    Invitations(InvitationsView),
}
impl Versioned for View {
    const NAME: &'static str = "view";
    const VERSION: u16 = 3;
}

/// A coordinator, as the one that answers sees it.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct CoordinatorLine {
    /// Its name.
    pub name: CoordinatorName,
    /// Its address.
    pub address: SocketAddr,
    /// Whether it answers and follows the log; unknown when the answering node is not the leader.
    pub reachable: Seen<bool>,
}

/// How the stores are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct StoreCounts {
    /// All of them.
    pub all: u64,
    /// Whose master was seen running as master lately.
    pub served: u64,
    /// With as many live copies as the cluster file asks for.
    pub full: u64,
    /// With fewer, one or more: one more loss may stop them.
    pub reduced: u64,
    /// Loss cases that wait for a person or for a host's return.
    pub open_loss_cases: u64,
    /// Plans that wait for people or are under way.
    pub open_plans: u64,
    /// Slots of all hosts.
    pub slots: u64,
    /// Slots with no copy on them.
    pub slots_free: u64,
}

/// Something that waits for a person.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Trouble {
    /// What is in trouble: `imap3`, `store23`, `p17`, `L12`.
    pub subject: String,
    /// What it is: `SILENT for 2 min 51 s`.
    pub what: String,
    /// Whom it hurts, one line each.
    pub hurts: Vec<String>,
    /// What else is seen of it, and from where (R23), one line each.
    pub seen: Vec<String>,
    /// The command to type next.
    pub next: String,
}

/// A host in the table of `status`.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct HostLine {
    /// Which.
    pub host: HostName,
    /// Its failure domain.
    pub at: Domain,
    /// What a person declared.
    pub state: HostState,
    /// Masters on it.
    pub masters: u32,
    /// What they weigh together, by the cluster file.
    pub masters_load: u64,
    /// The share of masters' load that it is meant to carry beside others.
    pub weight: u16,
    /// Replicas on it.
    pub replicas: u32,
    /// Its slots with no copy.
    pub free: u32,
    /// Of the replicas on it: the furthest behind, in records.
    pub worst_lag_records: Seen<u64>,
    /// How busy its machine is: millionths of whichever of processors and disk is busier.
    pub load_ppm: Seen<u32>,
    /// When its agent was last heard, in milliseconds ago; the value is its boot.
    pub seen: Seen<BootId>,
    /// Whether it counts as silent by policy.
    pub silent: bool,
    /// Why nothing is sent to it although it answers.
    pub quarantined: Option<String>,
    /// If it dies: masters of the fullest survivor then, and which that is; `None` when none moves, or it is not known.
    pub fullest_if_dies: Option<(u32, HostName)>,
    /// If it dies: how many stores stop; `None` when that is not known.
    pub stop_if_dies: Option<u32>,
    /// The coordinator that has the same address, with `leader` when it is.
    pub coordinator: Option<String>,
    /// What persons hold that covers it.
    pub held: Vec<HoldOn>,
}

/// The whole cluster at a glance.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct StatusView {
    /// The cluster's name.
    pub cluster: ClusterName,
    /// Its identity.
    pub id: ClusterId,
    /// The revision the answer is of.
    pub revision: Revision,
    /// The leader, when one is known.
    pub leader: Option<CoordinatorName>,
    /// Who answered.
    pub answered_by: CoordinatorName,
    /// All coordinators.
    pub coordinators: Vec<CoordinatorLine>,
    /// How many of them vote.
    pub voters: u32,
    /// When it was answered, by the answering node's wall clock.
    pub wall: WallTime,
    /// What waits for a person, the worst first.
    pub needs_you: Vec<Trouble>,
    /// How the stores are.
    pub counts: StoreCounts,
    /// When replicas were last compared with their masters.
    pub compared: ComparedCounts,
    /// What the worst single losses would do; the worst host first, then the worst rack if there are racks.
    pub worst_losses: Seen<Vec<LossLine>>,
    /// What losing the worst two hosts at once would do.
    pub worst_pair: Seen<PairLoss>,
    /// All hosts.
    pub hosts: Vec<HostLine>,
    /// All front ends.
    pub front_ends: Vec<FrontEndLine>,
    /// Every hold.
    pub holds: Vec<Held>,
}

/// A slot in the table of `show host`.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct SlotLine {
    /// Which.
    pub slot: SlotId,
    /// Its address.
    pub address: SocketAddr,
    /// The copy on it; `None` when it is free.
    pub copy: Option<SlotCopy>,
    /// The plan that has reserved it.
    pub claimed_by: Option<PlanId>,
}

/// The copy on a slot, as committed and as seen.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct SlotCopy {
    /// The store.
    pub store: StoreName,
    /// As committed.
    pub copy: Copy,
    /// What its agent reported of the engine.
    pub engine: Seen<CopyEvidence>,
    /// Where its data ends, as last reported.
    pub position: Seen<Position>,
    /// Records behind its master, as last reported.
    pub behind: Seen<u64>,
    /// When it was last compared with its master; `None` of a master.
    pub compared: Option<Compared>,
}

/// One host.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct HostView {
    /// Which.
    pub host: HostName,
    /// Its failure domain.
    pub at: Domain,
    /// What a person declared.
    pub declared: HostState,
    /// Where its agent listens.
    pub address: SocketAddr,
    /// The share of masters' load that it is meant to carry beside others.
    pub weight: u16,
    /// The admitted disk; `None` until its agent is first seen.
    pub incarnation: Option<Incarnation>,
    /// Its latest boot; `None` until its agent is first seen.
    pub boot: Option<BootId>,
    /// When its agent was last heard.
    pub seen: Seen<BootId>,
    /// Whether it counts as silent by policy.
    pub silent: bool,
    /// Why nothing is sent to it although it answers.
    pub quarantined: Option<HostQuarantine>,
    /// A person's word that it is off.
    pub attestation: Option<Attestation>,
    /// Whether that word still holds.
    pub attestation_valid: bool,
    /// Masters a drain took off, to be handed back.
    pub drained_masters: BTreeSet<StoreName>,
    /// When it is to be back, as was said when it was taken off.
    pub back_by: Option<WallTime>,
    /// The plan that holds its declared state.
    pub claimed_by: Option<PlanId>,
    /// Orders its agent said are running.
    pub running: Vec<OrderId>,
    /// Its slots.
    pub slots: Vec<SlotLine>,
    /// Holds that cover it.
    pub holds: Vec<Held>,
}

/// One store.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct StoreView {
    /// Which.
    pub store: StoreName,
    /// What the cluster file says.
    pub spec: StoreSpec,
    /// The committed epoch.
    pub epoch: Epoch,
    /// The slot whose Promote at that epoch is done.
    pub master: Option<SlotId>,
    /// The slot the epoch was allocated to that is not master yet (S3).
    pub pending: Option<SlotId>,
    /// Whether its master was seen running as master lately.
    pub served: bool,
    /// Its copies.
    pub copies: Vec<SlotLine>,
    /// Slots that may still hold a master role below the epoch (R3).
    pub possible_masters: BTreeMap<SlotId, PossibleMaster>,
    /// Where clients go.
    pub route: Option<Route>,
    /// The running plan that holds it.
    pub claimed_by: Option<PlanId>,
    /// Its loss cases, settled ones included.
    pub loss_cases: Vec<LossCaseId>,
    /// Holds that cover it, those of its copies' hosts included.
    pub holds: Vec<Held>,
}

/// One slot, and the store that has a copy on it.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct SlotView {
    /// The slot.
    pub line: SlotLine,
    /// Bytes it can hold.
    pub size_bytes: u64,
    /// The store on it.
    pub store: Option<StoreView>,
}

/// Where a plan stands.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub enum PlanState {
    /// Recorded, waits for people.
    Proposed,
    /// Under way.
    Running,
    /// Under way, and a step of it waits longer than it should.
    Stuck,
    /// Told to stop; finishes what can't go back (R18).
    Aborting,
    /// Told to pause; what has begun goes to its next safe point (R18).
    Pausing,
    /// Begins nothing until it is resumed; nothing of it is in motion.
    Paused,
    /// Everything is done.
    Done,
    /// Ended with something not done; nothing is in motion.
    Stopped,
    /// Ended because a person said so.
    Aborted,
    /// A person said no.
    Rejected,
    /// It can never start.
    Void,
}

impl PlanState {
    /// Whether nothing more will happen in it.
    pub fn is_ended(&self) -> bool {
        !matches!(self, Self::Proposed | Self::Running | Self::Stuck | Self::Aborting | Self::Pausing | Self::Paused)
    }
    /// Whether there is nothing more to see until a person does something, or ever.
    pub fn is_still(&self) -> bool {
        self.is_ended() || matches!(self, Self::Paused)
    }
}
impl fmt::Display for PlanState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Proposed => "waiting for approval",
            Self::Running => "running",
            Self::Stuck => "STUCK",
            Self::Aborting => "being aborted",
            Self::Pausing => "pausing",
            Self::Paused => "PAUSED",
            Self::Done => "done",
            Self::Stopped => "STOPPED part way",
            Self::Aborted => "aborted",
            Self::Rejected => "rejected",
            Self::Void => "void",
        })
    }
}

/// A plan in the table of `plan list`.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct PlanLine {
    /// Which.
    pub id: PlanId,
    /// Its digest.
    pub digest: Digest,
    /// What it is for: `drain imap3`.
    pub title: String,
    /// Who asked; `None` for everyday recovery.
    pub requested_by: Option<OperatorName>,
    /// Where it stands.
    pub state: PlanState,
    /// Why, when the state alone does not say it.
    pub why: String,
    /// Tasks done.
    pub tasks_done: u32,
    /// All its tasks.
    pub tasks_total: u32,
    /// How many more people must approve it.
    pub people_missing: u32,
    /// When it was made.
    pub created: WallTime,
}

/// A person's yes.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct ApprovalLine {
    /// Who.
    pub by: OperatorName,
    /// When; for display.
    pub wall: WallTime,
    /// Why.
    pub reason: String,
}

/// Where a task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub enum TaskProgress {
    /// No step was started.
    Waiting,
    /// Under way.
    Running,
    /// Going back to the old state.
    Unwinding,
    /// Done.
    Done,
    /// Not done; the store is as before, or as the reason says.
    NotDone,
    /// Past the point of no return and unable to go on: a person must plan anew (R18).
    NeedsHuman,
    /// A failover took its store (R13).
    Superseded,
}

impl TaskProgress {
    /// Whether nothing more will happen in it.
    pub fn is_ended(self) -> bool {
        !matches!(self, Self::Waiting | Self::Running | Self::Unwinding)
    }
}
impl fmt::Display for TaskProgress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Unwinding => "going back",
            Self::Done => "done",
            Self::NotDone => "NOT DONE",
            Self::NeedsHuman => "NEEDS A PERSON",
            Self::Superseded => "superseded",
        })
    }
}

/// How far a task of a plan is.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct TaskLine {
    /// What it is: `store58  imap3/11 -> imap10/02`.
    pub title: String,
    /// Where it stands.
    pub state: TaskProgress,
    /// Why, or what it waits for; empty when there is nothing to say.
    pub why: String,
    /// The step under way: `demote imap3/11`; empty when none is.
    pub step_now: String,
    /// Steps done.
    pub steps_done: u32,
    /// All its steps.
    pub steps_total: u32,
    /// Of a hand-over that gave up: how the copy it was for differs from its master, when it does.
    pub differs: Option<Differs>,
}

/// One plan.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct PlanView {
    /// Which.
    pub id: PlanId,
    /// The digest of `bytes`, as recorded; a reader hashes `bytes` itself (R15).
    pub digest: Digest,
    /// The canonical bytes, exactly as recorded.
    pub bytes: Vec<u8>,
    /// Where it stands.
    pub state: PlanState,
    /// Why, or by whom, when the state alone does not say it; empty otherwise.
    pub why: String,
    /// Approvals given.
    pub approvals: Vec<ApprovalLine>,
    /// How many people it needs.
    pub people_needed: u32,
    /// How many more must approve it.
    pub people_missing: u32,
    /// Its tasks.
    pub tasks: Vec<TaskLine>,
    /// Loss cases it opened.
    pub loss_cases: Vec<LossCaseId>,
    /// When it started, in log time.
    pub started: Option<LogTime>,
    /// When it ended, in log time.
    pub ended: Option<LogTime>,
    /// Log time when the view was made.
    pub now: LogTime,
    /// When it ended, in wall time; for display.
    pub ended_wall: Option<WallTime>,
    /// Wall time when the view was made; for display.
    pub wall: WallTime,
    /// The declared state, now, of the host it drains, undrains or fails over.
    pub host_state: Option<HostState>,
}

/// One loss case.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct LossCaseView {
    /// Which.
    pub id: LossCaseId,
    /// As committed.
    pub case: LossCase,
    /// The store's present master.
    pub master: Option<SlotId>,
    /// The running plan that settles it.
    pub plan: Option<PlanId>,
}

/// Where clients of one store must go.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct RouteLine {
    /// The store.
    pub store: StoreName,
    /// Its route; `None` while it has no master.
    pub route: Option<Route>,
}

/// Where clients of every store must go.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct RoutesView {
    /// The revision they are of.
    pub revision: Revision,
    /// By store.
    pub routes: Vec<RouteLine>,
}
