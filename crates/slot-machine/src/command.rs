//! Commands, as they stand in the log, and what applying one answers.
//!
//! What always holds: a command carries everything `apply` needs, the time and the observations included; `apply` never
//! asks. The encoding is versioned, and a build that cannot read a command stops instead of skipping it (R20).

use crate::join::Guest;
use crate::restore::AdoptedHost;
use borsh::{BorshDeserialize, BorshSerialize};
use slot_types::cluster::{HostQuarantine, Silence};
use slot_types::codec::Versioned;
use slot_types::evidence::Evidence;
use slot_types::hand::HandStart;
use slot_types::hold::{Held, HoldOn};
use slot_types::ids::*;
use slot_types::order::Outcome;
use slot_types::position::{Digest, ShortDigest};
use slot_types::verify::Verification;

/// One log entry: a command, stamped by the leader that proposed it.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Proposal {
    /// Which request of which session, so that a retry is answered and not applied again (R21); `None` for proposals that
    /// are idempotent by themselves (the coordinator's own).
    pub request: Option<RequestId>,
    /// Log time: the last leader's, plus this leader's monotonic elapsed time (R17).
    pub log_time: LogTime,
    /// Wall time; for display only.
    pub wall: WallTime,
    /// What to do.
    pub command: Command,
}

impl Versioned for Proposal {
    const NAME: &'static str = "log entry";
    const VERSION: u16 = 2;
}

/// A request of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
pub struct RequestId {
    /// Opened by [`Command::OpenSession`]; the answer names it.
    pub session: u64,
    /// The client's own number.
    pub sequence: u64,
}

/// A step of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
pub struct StepRef {
    /// The plan.
    pub plan: PlanId,
    /// The task's number in it.
    pub task: u16,
    /// The step's number in the task.
    pub step: u16,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Command {
    /// Name the cluster; the first command of its life.
    Found {
        /// Its identity.
        cluster: ClusterId,
        /// Its name.
        name: ClusterName,
    },
    /// A node became leader: approvals of plans that have not started are void, since log time stood still (R17).
    NewLeader {
        /// Which.
        node: CoordinatorName,
    },
    /// Open a session for deduplication (R21).
    OpenSession,
    /// An agent was heard with this disk, boot and ledger (S2, R27, R8: a sign of life).
    HostSeen {
        /// The host.
        host: HostName,
        /// Its disk.
        incarnation: Incarnation,
        /// Its boot.
        boot: BootId,
        /// Its ledger's highest order index.
        high_water: LogIndex,
        /// How long the leader had heard nothing of it before this boot's first report.
        silence: Silence,
        /// Whether this was said before the log knew of this boot: no order of it was acknowledged yet, since every order is
        /// bound to a boot that the log knows (R27), and what its host ever acknowledged must be in its ledger (S2).
        first: bool,
    },
    /// Something of a host answered although its agent is silent, its engine perhaps: attestations are void (R8).
    SignOfLife {
        /// The host.
        host: HostName,
        /// What was seen, by whom.
        seen: String,
    },
    /// Admit another disk of a host (S2), by a person's word.
    AdmitHost {
        /// The host.
        host: HostName,
        /// The disk.
        incarnation: Incarnation,
        /// Who.
        by: OperatorName,
        /// Why.
        reason: String,
    },
    /// Record a plan's canonical bytes (R15).
    RecordPlan {
        /// The bytes of a [`slot_types::plan::Plan`].
        bytes: Vec<u8>,
    },
    /// A person's yes to a digest; when enough are in, it is consumed and the plan starts, in this one entry (S5, R6).
    ApprovePlan {
        /// The plan.
        plan: PlanId,
        /// What the person saw.
        digest: ShortDigest,
        /// Who; taken from the certificate.
        by: OperatorName,
        /// Why.
        reason: String,
        /// What the leader observes now of the hosts the plan touches (R14).
        guards: Evidence,
    },
    /// A person's no.
    RejectPlan {
        /// The plan.
        plan: PlanId,
        /// Who.
        by: OperatorName,
        /// Why.
        reason: String,
    },
    /// Stop a plan: before the commit back, after it only forward (R18).
    AbortPlan {
        /// The plan.
        plan: PlanId,
        /// Who.
        by: OperatorName,
        /// Why.
        reason: String,
    },
    /// Start a step: its index becomes the order's (R4). Internal steps take effect here.
    StartStep {
        /// Which.
        step: StepRef,
        /// Which attempt.
        attempt: u32,
        /// What the leader observes now (R14).
        guards: Evidence,
    },
    /// An agent's durable word on an order.
    FinishStep {
        /// Which order.
        id: OrderId,
        /// Done, or never will.
        outcome: Outcome,
    },
    /// A step's deadline passed, or its guard did not hold in time.
    StuckStep {
        /// Which.
        step: StepRef,
        /// What it waits for.
        why: String,
    },
    /// A person's word that a host is off (R8).
    Attest {
        /// The host.
        host: HostName,
        /// The boot that is said to have ended.
        boot: BootId,
        /// How the person knows.
        how: String,
        /// Who.
        by: OperatorName,
    },
    /// Drop audit entries up to and including this number, which are archived (R22).
    TrimAudit {
        /// The last number to drop.
        through: u64,
        /// Its hash, as archived.
        hash: Digest,
        /// Who.
        by: OperatorName,
    },
    /// Raise the feature level by one, when all voters support it (R20).
    RaiseFeatureLevel {
        /// To what.
        level: u32,
    },
    /// A copy reports records that it put aside when it followed a history without them (R7).
    AsideSeen {
        /// Where.
        slot: SlotId,
        /// Its copy generation.
        generation: CopyGeneration,
        /// Which.
        records: Vec<RecordId>,
    },
    /// A copy was compared with its master, record by record.
    Verified {
        /// Which.
        slot: SlotId,
        /// Its copy generation.
        generation: CopyGeneration,
        /// What was found.
        of: Verification,
    },
    /// A person's "hands off": nothing that touches it starts until it is released.
    Hold {
        /// What.
        on: HoldOn,
        /// Who.
        by: OperatorName,
        /// Why.
        reason: String,
    },
    /// The end of a hold.
    Release {
        /// On what.
        on: HoldOn,
        /// Who.
        by: OperatorName,
        /// Why.
        reason: String,
    },
    /// A plan begins nothing more until it is resumed (R18).
    PausePlan {
        /// The plan.
        plan: PlanId,
        /// Who.
        by: OperatorName,
        /// Why.
        reason: String,
    },
    /// A paused plan goes on, and tries again what it did not do.
    ResumePlan {
        /// The plan.
        plan: PlanId,
        /// Who.
        by: OperatorName,
        /// Why.
        reason: String,
        /// What the leader observes now of the hosts the plan touches (R14).
        guards: Evidence,
    },
    /// An agent reports masters that a person started at its machine (R19).
    ByHandSeen {
        /// Where.
        slot: SlotId,
        /// Of which store.
        store: StoreName,
        /// Its copy generation.
        generation: CopyGeneration,
        /// Which, the oldest first.
        starts: Vec<HandStart>,
    },
    /// After a restore: a person's word that a host belongs to this cluster (R10).
    AdoptHost {
        /// The host.
        host: HostName,
        /// Its disk.
        incarnation: Incarnation,
        /// Its ledger's highest order index, as heard then.
        high_water: LogIndex,
        /// Who.
        by: OperatorName,
        /// Why.
        reason: String,
    },
    /// A person's word that a host may join, with the token that has this certificate.
    InviteHost {
        /// Which.
        host: HostName,
        /// The digest of the token's certificate.
        certificate: Digest,
        /// Who.
        by: OperatorName,
        /// Why.
        reason: String,
    },
    /// After a restore: a host's agent has adopted this generation, and says what it holds (R10).
    HostAdopted {
        /// The host.
        host: HostName,
        /// What it said.
        said: AdoptedHost,
    },
    /// A host uses its token: burnt with this entry.
    JoinHost(Guest),
    /// A person takes back that a host may join.
    RevokeInvitation {
        /// Which.
        host: HostName,
        /// Who.
        by: OperatorName,
        /// Why.
        reason: String,
    },
}

/// What applying a command answered.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Answer {
    /// Accepted, nothing to tell.
    Done,
    /// A session was opened.
    Session(u64),
    /// A plan was recorded, approved, rejected or aborted.
    Plan {
        /// Which.
        id: PlanId,
        /// How many more people must approve; 0 when it started.
        people_missing: u8,
    },
    /// Refused; the state is as before.
    Refused(Refused),
    /// Held or released, as was asked.
    Hold {
        /// Whether that is a change; if not, it was so already.
        changed: bool,
        /// Plans that touch it and go on running, the first [`crate::holds::RUNNING_NAMED_MAX`] of them.
        running: Vec<PlanId>,
    },
}

/// Why `apply` refused a command.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, thiserror::Error)]
pub enum Refused {
    /// No cluster yet.
    #[error("this cluster is not founded yet; run slotctl init and start its coordinators")]
    NotFounded,
    /// Founded already, as something else.
    #[error("this cluster was founded already")]
    Founded,
    /// R21.
    #[error(
        "session {0} is not known (any more); whether the request took effect is unknown: look before you ask again"
    )]
    SessionUnknown(u64),
    /// R21.
    #[error("request {sequence} of session {session} is older than what is remembered; look before you ask again")]
    SequenceTooOld {
        /// The session.
        session: u64,
        /// The sequence.
        sequence: u64,
    },
    /// Unknown host.
    #[error("host {0} is not in the cluster file")]
    UnknownHost(HostName),
    /// S2.
    #[error("host {host} is quarantined: {why:?}; if its disk was replaced on purpose: slotctl admit host {host}")]
    HostQuarantined {
        /// The host.
        host: HostName,
        /// Why.
        why: HostQuarantine,
    },
    /// No such plan.
    #[error("plan {0} does not exist; slotctl plan list shows those that do")]
    UnknownPlan(PlanId),
    /// The bytes are not a plan this build reads.
    #[error("the plan's bytes are refused: {0}")]
    BadPlan(String),
    /// R14: something it was computed from has changed.
    #[error("plan no longer fits: {entity} is at version {now}, the plan was made at {then}; ask for a new plan")]
    FactsChanged {
        /// What changed.
        entity: String,
        /// Its version then.
        then: u64,
        /// Its version now.
        now: u64,
    },
    /// The plan is in no state for this.
    #[error("plan {plan} is {status}")]
    WrongStatus {
        /// The plan.
        plan: PlanId,
        /// What it is.
        status: String,
    },
    /// R15, S5.
    #[error(
        "digest {given} is not that of plan {plan}, which is {digest}; read the plan again: slotctl plan show {plan}"
    )]
    OtherDigest {
        /// The plan.
        plan: PlanId,
        /// What was given.
        given: ShortDigest,
        /// What it is.
        digest: ShortDigest,
    },
    /// S5: an approval waited too long.
    #[error("plan {0} is older than its validity; ask for a new plan")]
    Expired(PlanId),
    /// S5: the same person twice.
    #[error("{by} has approved plan {plan} already; another person must")]
    ApprovedAlready {
        /// The plan.
        plan: PlanId,
        /// Who.
        by: OperatorName,
    },
    /// R23: the brake.
    #[error("{silent} hosts are silent at once and policy brakes above {allowed}: ask again with --mass")]
    Brake {
        /// Silent when the plan was made.
        silent: u16,
        /// What policy allows.
        allowed: u16,
    },
    /// S5: two people are asked, and the requester is neither.
    #[error("plan {plan} needs {people} people besides {by}, who asked for it")]
    RequesterMayNotApprove {
        /// The plan.
        plan: PlanId,
        /// Who.
        by: OperatorName,
        /// How many.
        people: u8,
    },
    /// R13.
    #[error("{entity} is claimed by running plan {plan}; wait for it or abort it: slotctl plan abort {plan}")]
    Claimed {
        /// What.
        entity: String,
        /// By which plan.
        plan: PlanId,
    },
    /// R14: a guard does not hold now.
    #[error("not now: {0}")]
    Guard(String),
    /// A precondition of the replicated state does not hold (S3, S7, S9, R3).
    #[error("refused: {0}")]
    Precondition(String),
    /// R8.
    #[error("attestation names boot {given}, host {host} was last seen in boot {known}")]
    OtherBoot {
        /// The host.
        host: HostName,
        /// Given.
        given: BootId,
        /// Known.
        known: BootId,
    },
    /// R25.
    #[error("everyday starts are limited to {per_minute} a minute")]
    EverydayRate {
        /// The limit.
        per_minute: u16,
    },
    /// R22.
    #[error("audit entry {0} is not there to trim, or has another hash")]
    AuditTrim(u64),
    /// R20.
    #[error("feature level {asked} is not the one after {now}, or this build supports only {supported}")]
    FeatureLevel {
        /// Asked.
        asked: u32,
        /// Now.
        now: u32,
        /// Supported.
        supported: u32,
    },
    /// Unknown store.
    #[error("store {0} does not exist; slotctl status lists those that do")]
    UnknownStore(StoreName),
    /// R10: a restore is not finished.
    #[error(
        "the coordinators were restored, and nothing moves until these hosts are re-adopted: {hosts}; slotctl status says how"
    )]
    Restoring {
        /// Which, as text.
        hosts: String,
    },
    /// A host with a token that is not good, or not good any more.
    #[error("{host} may not join: {why}; make another token where the CA is: slotctl invite host {host}")]
    MayNotJoin {
        /// The host.
        host: HostName,
        /// Why.
        why: NoJoin,
    },
    /// A person holds what the plan touches, or what another wants to hold.
    #[error("refused: {0}")]
    Held(Box<Held>),
    /// There is no open invitation.
    #[error("{host} has no invitation that can be revoked: {why}")]
    NothingToRevoke {
        /// The host.
        host: HostName,
        /// Why.
        why: NoRevoke,
    },
}

/// Why an invitation can't be revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, thiserror::Error)]
pub enum NoRevoke {
    /// Nobody said that it may join, or more than a day ago.
    #[error("nobody has invited it within a day; slotctl invite list shows who is")]
    NotInvited,
    /// It has what a token is good for.
    #[error("it has joined, and its token is burnt; if that was somebody else, see slotctl show host and hold it")]
    Joined,
}

/// Why a host may not join.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, thiserror::Error)]
pub enum NoJoin {
    /// Nobody said that it may, or so long ago that it is forgotten.
    #[error("nobody has invited it")]
    NotInvited,
    /// A token that another one took the place of, or that the cluster was never told of.
    #[error("it was invited with another token than this one")]
    OtherToken,
    /// A day has passed.
    #[error("its token is older than a day")]
    Expired,
    /// With another key, or from another disk.
    #[error(
        "its token was used, by another key or from another disk; if that was not you, somebody else has joined as it"
    )]
    Used,
    /// A person took it back.
    #[error("its token was revoked")]
    Revoked,
}
