//! What the driver is told at start, and the bounds it holds raft-rs to.
//!
//! What always holds: every bound raft-rs leaves open by default is set here, with its reason; the safe choices (check
//! quorum, pre-vote, reads confirmed by a quorum, equal priority) are not choices at all.

use raft::ReadOnlyOption;

/// The most bytes of entries in one append message: well under the 4 MiB a peer's decoder allows, and large enough that
/// a lagging node catches up in few round trips. raft-rs's default is one entry per message.
pub const MAX_MESSAGE_BYTES: u64 = 512 * 1024;

/// The most append messages under way to one peer: 64 × 512 KiB bounds what a slow peer makes the leader hold.
pub const MAX_INFLIGHT_MESSAGES: usize = 64;

/// The most bytes of entries not yet committed: beyond it proposals are dropped, so a leader without a quorum cannot
/// eat the machine's memory. raft-rs's default is no limit.
pub const MAX_UNCOMMITTED_BYTES: u64 = 32 * 1024 * 1024;

/// The most bytes of committed entries handed out at once while replaying: bounds a restart's peak memory.
pub const MAX_COMMITTED_BYTES_PER_READY: u64 = 8 * 1024 * 1024;

/// The largest proposal: with the envelope around it, it must fit a peer's 4 MiB decoder.
pub const MAX_PROPOSAL_BYTES: usize = 2 * 1024 * 1024;

/// The most ticks one step catches up on. A process that was paused must not wake up, find an election timeout's worth
/// of ticks, and campaign before it has read the heartbeats waiting in its sockets.
pub const MAX_TICKS_PER_STEP: u64 = 3;

/// Terms and indexes beyond this are refused from peers: raft-rs adds to them without checking.
pub(crate) const MAX_POSITION: u64 = u64::MAX >> 2;

/// What the driver is told at start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RaftConfig {
    /// This node; never 0.
    pub node_id: u64,
    /// Drawn at random when this node's disk was first written; makes the election timeouts of a rebuilt node new.
    pub incarnation: [u8; 16],
    /// Milliseconds per tick.
    pub tick_ms: u64,
    /// Ticks between a leader's heartbeats.
    pub heartbeat_ticks: usize,
    /// The least ticks without a leader before a node campaigns; the most are twice as many. With the defaults a dead
    /// leader is noticed after 0.6 to 1.2 s, six heartbeats' worth. Heartbeats are answered without waiting for a disk,
    /// so a slow fsync does not look like a dead node.
    pub election_ticks: usize,
    /// How long a read may wait for its confirmation before it fails.
    pub read_timeout_ms: u64,
    /// How long a snapshot may be under way to a peer before it is taken for lost and sent anew.
    pub snapshot_timeout_ms: u64,
    /// Entries kept below a snapshot, so that a node that was away briefly needs no snapshot.
    pub log_tail: u64,
}

impl RaftConfig {
    /// The usual configuration of a node.
    pub fn new(node_id: u64, incarnation: [u8; 16]) -> Self {
        Self {
            node_id,
            incarnation,
            tick_ms: 100,
            heartbeat_ticks: 1,
            election_ticks: 6,
            read_timeout_ms: 1_000,
            snapshot_timeout_ms: 10_000,
            log_tail: 4_096,
        }
    }

    pub(crate) fn to_raft(&self, applied: u64) -> raft::Config {
        raft::Config {
            id: self.node_id,
            election_tick: self.election_ticks,
            heartbeat_tick: self.heartbeat_ticks,
            applied,
            max_size_per_msg: MAX_MESSAGE_BYTES,
            max_inflight_msgs: MAX_INFLIGHT_MESSAGES,
            check_quorum: true,
            pre_vote: true,
            min_election_tick: self.election_ticks,
            max_election_tick: self.election_ticks * 2,
            read_only_option: ReadOnlyOption::Safe,
            skip_bcast_commit: false,
            batch_append: true,
            priority: 0,
            max_uncommitted_size: MAX_UNCOMMITTED_BYTES,
            max_committed_size_per_ready: MAX_COMMITTED_BYTES_PER_READY,
        }
    }
}

/// Why a node could not be made from its configuration and its disk.
#[derive(Debug, thiserror::Error)]
pub enum RaftError {
    /// The configuration cannot work.
    #[error("start of raft node {node_id}: {detail}; correct the configuration")]
    Config {
        /// The node.
        node_id: u64,
        /// What is wrong.
        detail: String,
    },
    /// What the disk holds cannot be a node's state.
    #[error("start of raft node {node_id}: its disk holds no valid state: {detail}; rebuild the node under a new id")]
    Damaged {
        /// The node.
        node_id: u64,
        /// What is wrong.
        detail: String,
    },
}
