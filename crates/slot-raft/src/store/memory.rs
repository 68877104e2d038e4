//! A store without a disk.
//!
//! What always holds: it does with a batch what the disk does, in the same order, so that it can stand for one in tests
//! and simulations; a crash is dropping everything but it.

use super::{LogStore, StoreError};
use crate::batch::PersistBatch;
use crate::restored::Restored;

/// A store without a disk; a clone is a copy of the disk.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MemStore {
    state: Restored,
    commits: u64,
}

impl MemStore {
    /// A disk with a first state on it.
    pub fn new(first: Restored) -> Self {
        Self { state: first, commits: 0 }
    }

    /// How many batches have been written.
    pub fn commits(&self) -> u64 {
        self.commits
    }
}

impl LogStore for MemStore {
    fn commit(&mut self, batch: &PersistBatch) -> Result<(), StoreError> {
        self.commits += 1;
        let state = &mut self.state;
        if let Some(from) = batch.truncate_from {
            state.entries.retain(|entry| entry.index < from);
        }
        state.entries.extend(batch.entries.iter().cloned());
        if let Some(start) = batch.log_start {
            state.entries.retain(|entry| entry.index > start.index);
            state.log_start = start;
        }
        if let Some(snapshot) = &batch.snapshot {
            state.snapshot = Some(snapshot.clone());
        }
        if let Some(hard_state) = batch.hard_state {
            state.hard_state = hard_state;
        }
        Ok(())
    }

    fn load(&mut self) -> Result<Restored, StoreError> {
        self.state.check().map_err(|detail| StoreError::Damaged { subject: "in memory".into(), detail })?;
        Ok(self.state.clone())
    }
}
