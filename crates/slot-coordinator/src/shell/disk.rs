//! The disk thread: batches become durable, in order, and only then is raft told.
//!
//! What always holds: a batch is reported only after the store said it is durable; after the first error the process ends,
//! since a disk that failed once may lie the second time (P11).

use super::Inbox;
use crate::core::Event;
use slot_net::failpoint;
use slot_raft::PersistBatch;
use slot_raft::store::{LogStore, RedbStore};
use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Instant;

/// More entries than this are not put into one transaction.
const MERGED_ENTRIES_MAX: usize = 1_024;

/// The thread that owns the store.
pub(super) struct Disk {
    queue: Option<Sender<PersistBatch>>,
    thread: Option<JoinHandle<()>>,
}

impl Disk {
    pub(super) fn start(store: RedbStore, inbox: Inbox) -> io::Result<Self> {
        let (queue, batches) = channel();
        let thread = std::thread::Builder::new().name("disk".into()).spawn(move || work(store, &batches, &inbox))?;
        Ok(Self { queue: Some(queue), thread: Some(thread) })
    }

    pub(super) fn persist(&self, batch: PersistBatch) {
        let lost = self.queue.as_ref().is_none_or(|queue| queue.send(batch).is_err());
        if lost {
            super::die("writing the raft log: the disk thread is gone");
        }
    }

    /// Waits until everything handed over is durable.
    pub(super) fn stop(mut self) {
        drop(self.queue.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn work(mut store: RedbStore, batches: &Receiver<PersistBatch>, inbox: &Inbox) {
    while let Ok(mut batch) = batches.recv() {
        // What queued up while the last transaction ran shares the next one.
        while batch.entries.len() < MERGED_ENTRIES_MAX
            && let Ok(later) = batches.try_recv()
        {
            batch.merge(later);
        }
        failpoint::reach("slotd-before-persist");
        let began = Instant::now();
        if let Err(error) = store.commit(&batch) {
            super::die(&error.to_string());
        }
        tracing::debug!(entries = batch.entries.len(), us = began.elapsed().as_micros(), "log durable");
        failpoint::reach("slotd-after-persist");
        if inbox.blocking_send(Event::Persisted { seq: batch.seq }).is_err() {
            return; // the process is ending
        }
    }
}
