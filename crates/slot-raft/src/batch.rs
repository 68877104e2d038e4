//! What one transaction of the store must hold.
//!
//! What always holds: a snapshot, the hard state and the truncation that belong together are in one batch, and merging
//! two batches leaves the disk exactly as writing them one after the other would.

use slot_proto::pb::{RaftEntry, RaftHardState, RaftLogStart, RaftSnapshot};

/// Everything one transaction of the store must hold, in the order of the fields.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PersistBatch {
    /// The batch's number; numbers grow by one.
    pub seq: u64,
    /// First remove every entry at or after this index.
    pub truncate_from: Option<u64>,
    /// Then add these; they have no gap.
    pub entries: Vec<RaftEntry>,
    /// Then remove every entry up to and including this one, and remember it as the place the log begins after.
    pub log_start: Option<RaftLogStart>,
    /// Replace the snapshot, its members with it.
    pub snapshot: Option<RaftSnapshot>,
    /// Replace term, vote and commit index. Whenever entries are written the commit index known with them is too: a
    /// node must not forget that a change of members was committed before entries it holds (S14).
    pub hard_state: Option<RaftHardState>,
}

impl PersistBatch {
    /// There is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.truncate_from.is_none()
            && self.entries.is_empty()
            && self.log_start.is_none()
            && self.snapshot.is_none()
            && self.hard_state.is_none()
    }

    /// Adds the batch that follows this one, so that both can be written in one transaction and reported by the later
    /// number.
    pub fn merge(&mut self, later: PersistBatch) {
        self.seq = later.seq;
        if let Some(from) = later.truncate_from {
            self.entries.retain(|entry| entry.index < from);
            self.truncate_from = Some(self.truncate_from.map_or(from, |own| own.min(from)));
        }
        self.entries.extend(later.entries);
        self.log_start = later.log_start.or(self.log_start.take());
        self.snapshot = later.snapshot.or(self.snapshot.take());
        self.hard_state = later.hard_state.or(self.hard_state.take());
    }

    /// Appends entries, replacing what they overlap.
    pub(crate) fn append(&mut self, entries: Vec<RaftEntry>) {
        if let Some(first) = entries.first() {
            let from = first.index;
            self.merge(PersistBatch { seq: self.seq, truncate_from: Some(from), entries, ..Default::default() });
        }
    }

    /// Replaces the whole log by a snapshot received from the leader.
    pub(crate) fn replace_by_snapshot(&mut self, snapshot: RaftSnapshot) {
        self.entries.clear();
        self.truncate_from = Some(0);
        self.log_start = Some(RaftLogStart { index: snapshot.index, term: snapshot.term });
        self.snapshot = Some(snapshot);
    }
}
