//! A sans-I/O driver over raft-rs with a durable log; knows no domain word.
//!
//! What always holds:
//!
//! - [`RaftCore::step`] is the only way in: one call, one [`Effects`], the same inputs give the same effects bit for
//!   bit. It reads no clock, no disk, no environment and no randomness but the seed it was made with.
//! - No vote and no acknowledgement of entries leaves this crate before the batch it speaks of is reported durable
//!   (S14).
//! - State is a snapshot plus the log after it: the application replaces its state on `install_snapshot`, applies
//!   `committed` in order, and holds nothing on disk of its own for it.
//! - raft-rs never sees a byte of a peer or of a disk: its values are built field by field from checked values of
//!   `slot.v1`, and a message that would make it panic is refused and counted.
//!
//! A driver's loop is: take an input, call `step`, apply `install_snapshot` then `committed`, answer `reads`, send
//! `send`, hand `persist` to the thread that owns the [`store::LogStore`], and report [`Input::Persisted`] when it is
//! on disk. If the store reports an error the process must end: a disk that failed once is not asked again.

mod batch;
mod check;
mod config;
mod convert;
mod core;
mod drain;
mod effects;
mod marker;
mod members;
mod mirror;
mod raft_log;
mod reads;
mod restored;
pub mod store;
mod timeouts;

pub use crate::batch::PersistBatch;
pub use crate::config::{
    MAX_COMMITTED_BYTES_PER_READY, MAX_INFLIGHT_MESSAGES, MAX_MESSAGE_BYTES, MAX_PROPOSAL_BYTES, MAX_TICKS_PER_STEP,
    MAX_UNCOMMITTED_BYTES, RaftConfig, RaftError,
};
pub use crate::core::RaftCore;
pub use crate::effects::{CommittedEntry, Effects, Input, InstallSnapshot, MemberChange, Refusal, RoleChange};
pub use crate::marker::{EnvelopeError, NodeMarker, Received};
pub use crate::members::Members;
pub use crate::restored::Restored;
pub use slot_proto::pb::{
    RaftConfState, RaftEntry, RaftEnvelope, RaftHardState, RaftLogStart, RaftMessage, RaftMessageType, RaftSnapshot,
};
