//! What goes into a step and what comes out of it.
//!
//! What always holds: `committed` is in index order without a gap of normal entries, each entry once per life of a
//! `RaftCore`; a token of a read and a request of a proposal come back at most once.

use crate::batch::PersistBatch;
use crate::members::Members;
use slot_proto::pb::RaftMessage;

/// What happened.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "messages are the common case: boxing them would cost, not save")]
pub enum Input {
    /// Nothing but the passing of time.
    Tick,
    /// A peer's message; its sender's certificate, cluster and incarnation have been checked.
    Message(RaftMessage),
    /// The application wants these bytes in the log.
    Propose {
        /// Comes back in `proposals_dropped` when the bytes certainly did not enter the log.
        request: u64,
        /// The bytes; not empty, at most [`crate::MAX_PROPOSAL_BYTES`].
        data: Vec<u8>,
    },
    /// The application wants to change the members.
    ChangeMembers {
        /// Comes back in `proposals_dropped` when the change certainly did not enter the log.
        request: u64,
        /// The changes, taken together.
        changes: Vec<MemberChange>,
    },
    /// The application wants to answer a read as of now.
    ReadIndex {
        /// Comes back in `reads` or `read_failed`.
        token: u64,
    },
    /// The batch with this number, and every one before it, is on disk.
    Persisted {
        /// The batch's number.
        seq: u64,
    },
    /// The application gives its state, with everything delivered so far applied: older entries are not needed any
    /// more.
    Compact {
        /// The last entry applied; must be the last one delivered.
        index: u64,
        /// The state.
        snapshot_data: Vec<u8>,
    },
    /// Hand leadership to another voter.
    TransferLeader {
        /// The voter.
        to: u64,
    },
    /// A message to this peer could not be delivered.
    ReportUnreachable {
        /// The peer.
        peer: u64,
    },
    /// A snapshot to this peer has been delivered, or has not.
    ReportSnapshot {
        /// The peer.
        peer: u64,
        /// It has.
        ok: bool,
    },
}

/// A wish to change one member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberChange {
    /// Makes a node a voter; a new node should be a learner first.
    AddVoter(u64),
    /// Makes a node a learner.
    AddLearner(u64),
    /// Removes a node.
    Remove(u64),
}

/// A committed entry of the application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedEntry {
    /// Its place in the log.
    pub index: u64,
    /// The term it was proposed in.
    pub term: u64,
    /// Its bytes.
    pub data: Vec<u8>,
}

/// A state to replace the application's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstallSnapshot {
    /// The last index the state includes.
    pub index: u64,
    /// That entry's term.
    pub term: u64,
    /// The state, as an application's `Compact` gave it.
    pub data: Vec<u8>,
}

/// Who leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoleChange {
    /// The leader this node knows of.
    pub leader: Option<u64>,
    /// The term.
    pub term: u64,
    /// This node leads.
    pub is_leader: bool,
}

/// What to do. Apply `install_snapshot`, then `committed`, and only then answer `reads`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Effects {
    /// Write this in one transaction, then report `Persisted` with its number.
    pub persist: Option<PersistBatch>,
    /// Send these now; what must wait for a disk is not among them.
    pub send: Vec<(u64, RaftMessage)>,
    /// Replace the application's state by this.
    pub install_snapshot: Option<InstallSnapshot>,
    /// Apply these before the next step.
    pub committed: Vec<CommittedEntry>,
    /// Answer these reads: everything up to the index is applied.
    pub reads: Vec<(u64, u64)>,
    /// These reads could not be confirmed; try the leader named, if any.
    pub read_failed: Vec<(u64, Option<u64>)>,
    /// These proposals did not enter the log; try the leader named, if any.
    pub proposals_dropped: Vec<(u64, Option<u64>)>,
    /// Who leads has changed.
    pub role: Option<RoleChange>,
    /// The members have changed.
    pub members: Option<Members>,
    /// A member needs a newer snapshot than there is: answer with `Compact` soon. Said again until it comes.
    pub snapshot_wanted: bool,
    /// What was refused, and why; for the log and a counter.
    pub refused: Vec<Refusal>,
}

/// Why an input was refused. Messages are never answered with one: a refused message is as good as lost.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Addressed to another node.
    #[error("raft message for node {to} refused: this is node {node}; check the peer's addresses")]
    NotForThisNode {
        /// Whom it is for.
        to: u64,
        /// This node.
        node: u64,
    },
    /// From nobody, or from this node itself.
    #[error("raft message from node {from} refused: no peer has that id; check for a cloned disk")]
    ImpossibleSender {
        /// The sender given.
        from: u64,
    },
    /// Of a type peers do not send, or this build does not know.
    #[error("raft message of type {kind} from node {from} refused: peers do not send it; check the peer's version")]
    UnknownType {
        /// The sender.
        from: u64,
        /// The type's number.
        kind: i32,
    },
    /// Not what any correct node sends.
    #[error("raft message from node {from} refused: {detail}; check the peer's disk and version")]
    Nonsense {
        /// The sender.
        from: u64,
        /// What is wrong with it.
        detail: String,
    },
    /// Speaks of more entries than this node has: this node has lost entries it had acknowledged.
    #[error(
        "raft message from node {from} refused: it speaks of entry {index}, but the log here ends at {last}; \
         if this node's disk was wiped or restored, give it a new id"
    )]
    BeyondLog {
        /// The sender.
        from: u64,
        /// The index spoken of.
        index: u64,
        /// The last index here.
        last: u64,
    },
    /// A snapshot is being written to disk; until then this node hears nothing.
    #[error("raft message from node {from} refused: a snapshot is being written; it will be sent again")]
    Installing {
        /// The sender.
        from: u64,
    },
    /// A vote or an order to campaign while entries are not on disk yet.
    #[error("raft message from node {from} refused: it would make this node leader before its entries are on disk")]
    NotYetDurable {
        /// The sender.
        from: u64,
    },
    /// A proposal that can never enter the log.
    #[error("proposal of {bytes} bytes refused: 1 to {most} are allowed; split it")]
    ProposalSize {
        /// Its size.
        bytes: usize,
        /// The most allowed.
        most: usize,
    },
    /// A change of members that must not be made.
    #[error("change of members refused: {detail}")]
    MemberChange {
        /// Why.
        detail: String,
    },
    /// A snapshot of a state that is not the one delivered.
    #[error("compaction at entry {index} refused: entry {delivered} is the last delivered; compact between steps only")]
    CompactElsewhere {
        /// The index given.
        index: u64,
        /// The last one delivered.
        delivered: u64,
    },
    /// A batch reported durable that was never handed out, or twice.
    #[error("report of batch {seq} as durable refused: it is not under way; correct the driver")]
    UnknownBatch {
        /// The number given.
        seq: u64,
    },
}
