//! Where batches become durable.
//!
//! What always holds: a batch is on disk as a whole or not at all; `commit` returns only when it is durable; after one
//! error a store refuses everything, since a disk that failed once may lie the second time: the process must end.

mod memory;
mod redb_store;

pub use memory::MemStore;
pub use redb_store::RedbStore;

use crate::batch::PersistBatch;
use crate::restored::Restored;
use slot_proto::raft::RaftWireError;

/// What makes batches durable.
pub trait LogStore: Send {
    /// Writes a batch in one transaction and returns when it is durable.
    fn commit(&mut self, batch: &PersistBatch) -> Result<(), StoreError>;

    /// Reads everything back, checked.
    fn load(&mut self) -> Result<Restored, StoreError>;
}

/// Why a store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk or the database on it gave an error.
    #[error(
        "{operation} raft store {subject}: {detail}; stop this process and look at the disk before starting it again"
    )]
    Disk {
        /// What was being done, as in "opening".
        operation: &'static str,
        /// The store.
        subject: String,
        /// The cause.
        detail: String,
    },
    /// An earlier error is still unresolved.
    #[error("writing raft store {subject}: it failed before; stop this process, its disk cannot be trusted to retry")]
    FailedBefore {
        /// The store.
        subject: String,
    },
    /// A stored value is of an unknown version or damaged.
    #[error("reading raft store {subject}: {cause}")]
    Value {
        /// The store.
        subject: String,
        /// The cause.
        cause: RaftWireError,
    },
    /// The values do not fit together.
    #[error("reading raft store {subject}: {detail}; rebuild this node under a new id from an empty folder")]
    Damaged {
        /// The store.
        subject: String,
        /// What does not fit.
        detail: String,
    },
    /// There is a store already.
    #[error("creating raft store {subject}: it exists; a node's disk is written first once only")]
    Exists {
        /// The store.
        subject: String,
    },
    /// The disk is another node's or another cluster's.
    #[error("opening raft store {subject}: it belongs to {found}, not to {wanted}; give each node its own folder")]
    OtherNode {
        /// The store.
        subject: String,
        /// Whose it is.
        found: String,
        /// Who asked.
        wanted: String,
    },
}
