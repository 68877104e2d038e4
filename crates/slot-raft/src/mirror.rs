//! The uncompacted log in memory: what raft-rs reads.
//!
//! What always holds: reading never fails for I/O, since there is none; the mirror is ahead of the disk by exactly the
//! batches under way; `start` ≤ snapshot ≤ applied ≤ last, and the term at `start` is known.

use crate::convert;
use crate::restored::Restored;
use raft::eraftpb::{ConfState, Entry, HardState, Snapshot};
use raft::util::limit_size;
use raft::{Error, GetEntriesContext, RaftState, Result, Storage, StorageError};
use slot_proto::pb::{RaftConfState, RaftLogStart, RaftSnapshot};
use std::cell::Cell;

pub(crate) struct Mirror {
    initial: RaftState,
    snapshot: Option<RaftSnapshot>,
    start: RaftLogStart,
    entries: Vec<Entry>,
    /// raft-rs asked for a snapshot this one cannot be; a cell, since it asks through a shared reference.
    newer_wanted: Cell<bool>,
}

impl Mirror {
    /// Takes over a checked state.
    pub(crate) fn new(restored: Restored) -> std::result::Result<Self, String> {
        let entries =
            restored.entries.into_iter().map(convert::entry_to_raft).collect::<std::result::Result<_, _>>()?;
        let members = restored.snapshot.as_ref().and_then(|s| s.conf_state.clone()).unwrap_or_default();
        let mut hard_state = HardState::default();
        hard_state.term = restored.hard_state.term;
        hard_state.vote = restored.hard_state.vote;
        hard_state.commit = restored.hard_state.commit;
        let initial = RaftState::new(hard_state, convert::conf_state_to_raft(&members));
        Ok(Self {
            initial,
            snapshot: restored.snapshot,
            start: restored.log_start,
            entries,
            newer_wanted: Cell::new(false),
        })
    }

    pub(crate) fn snapshot_index(&self) -> u64 {
        self.snapshot.as_ref().map_or(0, |s| s.index)
    }

    /// Whether a newer snapshot has been asked for since the last call.
    pub(crate) fn take_newer_wanted(&self) -> bool {
        self.newer_wanted.take()
    }

    pub(crate) fn members(&self) -> &ConfState {
        &self.initial.conf_state
    }

    pub(crate) fn append(&mut self, entries: &[Entry]) {
        if let Some(first) = entries.first() {
            self.entries.truncate(self.offset(first.index));
            self.entries.extend_from_slice(entries);
        }
    }

    /// Replaces everything by a snapshot from the leader.
    pub(crate) fn replace(&mut self, snapshot: RaftSnapshot) {
        self.entries.clear();
        self.start = RaftLogStart { index: snapshot.index, term: snapshot.term };
        self.snapshot = Some(snapshot);
    }

    /// Takes the application's own snapshot and forgets entries up to `keep_after`; says where the log begins now.
    pub(crate) fn compact(&mut self, snapshot: RaftSnapshot, keep_after: u64) -> Option<RaftLogStart> {
        self.snapshot = Some(snapshot);
        if keep_after <= self.start.index {
            return None;
        }
        let term = Storage::term(self, keep_after).ok()?;
        self.entries.drain(..self.offset(keep_after + 1));
        self.start = RaftLogStart { index: keep_after, term };
        Some(self.start)
    }

    fn last(&self) -> u64 {
        self.start.index + self.entries.len() as u64
    }

    fn offset(&self, index: u64) -> usize {
        let offset = index.saturating_sub(self.start.index + 1);
        usize::try_from(offset).unwrap_or(usize::MAX).min(self.entries.len())
    }
}

impl Storage for Mirror {
    fn initial_state(&self) -> Result<RaftState> {
        Ok(self.initial.clone())
    }

    fn entries(&self, low: u64, high: u64, max: impl Into<Option<u64>>, _: GetEntriesContext) -> Result<Vec<Entry>> {
        if low <= self.start.index {
            return Err(Error::Store(StorageError::Compacted));
        }
        if high > self.last() + 1 {
            return Err(Error::Store(StorageError::Unavailable));
        }
        let (low, high) = (self.offset(low), self.offset(high));
        let mut found = self.entries.get(low..high).map(<[Entry]>::to_vec).unwrap_or_default();
        limit_size(&mut found, max.into());
        Ok(found)
    }

    fn term(&self, index: u64) -> Result<u64> {
        if index == self.start.index {
            return Ok(self.start.term);
        }
        if index < self.start.index {
            return Err(Error::Store(StorageError::Compacted));
        }
        let entry = self.entries.get((index - self.start.index - 1) as usize);
        entry.map(|e| e.term).ok_or(Error::Store(StorageError::Unavailable))
    }

    fn first_index(&self) -> Result<u64> {
        Ok(self.start.index + 1)
    }

    fn last_index(&self) -> Result<u64> {
        Ok(self.last())
    }

    /// A node ignores a snapshot that does not name it as a member, so one from before it was added is of no use to it.
    fn snapshot(&self, request_index: u64, to: u64) -> Result<Snapshot> {
        let names = |state: &RaftConfState| {
            [&state.voters, &state.learners, &state.voters_outgoing].iter().any(|list| list.contains(&to))
        };
        match &self.snapshot {
            Some(snapshot) if snapshot.index >= request_index && snapshot.conf_state.as_ref().is_some_and(names) => {
                Ok(convert::snapshot_to_raft(snapshot))
            }
            _ => {
                self.newer_wanted.set(true);
                Err(Error::Store(StorageError::SnapshotTemporarilyUnavailable))
            }
        }
    }
}
