//! The store on a disk.
//!
//! What always holds: every commit is two-phase and every open checks the whole file, which together found each bit
//! flip tried; a store is created under another name and renamed when complete, so a crash on the way leaves no half
//! store; the node's marker is checked before anything is used.

use super::{LogStore, StoreError};
use crate::batch::PersistBatch;
use crate::marker::NodeMarker;
use crate::restored::Restored;
use redb::{Builder, Database, ReadableDatabase, StorageBackend, TableDefinition, TableError};
use slot_planted::planted;
use slot_proto::pb::{RaftEntry, RaftHardState, RaftLogStart, RaftNodeMarker, RaftSnapshot};
use slot_proto::raft::{Stored, from_stored, to_stored};
use std::fs::File;
use std::path::Path;

const LOG: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("raft_log");
const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("raft_meta");

const MARKER: &str = "node_marker";
const HARD_STATE: &str = "hard_state";
const LOG_START: &str = "log_start";
const SNAPSHOT: &str = "snapshot";

/// What redb may cache: the log is read once, at start, and mirrored in memory after that.
const CACHE_BYTES: usize = 16 * 1024 * 1024;

/// A store in a redb file, or on any backend of redb's.
#[derive(Debug)]
pub struct RedbStore {
    database: Database,
    subject: String,
    marker: NodeMarker,
    failed: bool,
}

impl RedbStore {
    /// Writes a node's disk for the first time.
    pub fn create(path: &Path, marker: &NodeMarker, first: &Restored) -> Result<Self, StoreError> {
        let subject = path.display().to_string();
        if path.exists() {
            return Err(StoreError::Exists { subject });
        }
        let io = |detail: std::io::Error| disk("creating", &subject, &detail);
        let unfinished = path.with_extension("unfinished");
        if unfinished.exists() {
            std::fs::remove_file(&unfinished).map_err(io)?;
        }
        let database = builder().create(&unfinished).map_err(|e| disk("creating", &subject, &e))?;
        let mut store = Self { database, subject: subject.clone(), marker: marker.clone(), failed: false };
        store.write_first(first)?;
        drop(store);
        File::open(&unfinished).and_then(|file| file.sync_all()).map_err(io)?;
        std::fs::rename(&unfinished, path).map_err(io)?;
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(io)?;
        Self::open(path, &marker.cluster_id, marker.node_id)
    }

    /// Opens a node's disk, checking every page and whose it is.
    pub fn open(path: &Path, cluster_id: &[u8], node_id: u64) -> Result<Self, StoreError> {
        let subject = path.display().to_string();
        let database = builder().open(path).map_err(|e| disk("opening", &subject, &e))?;
        Self::opened(database, subject, cluster_id, node_id)
    }

    /// Writes a node's disk for the first time, on a backend of the caller's.
    pub fn create_with_backend(
        backend: impl StorageBackend,
        marker: &NodeMarker,
        first: &Restored,
    ) -> Result<Self, StoreError> {
        let subject = format!("of node {}", marker.node_id);
        let database = builder().create_with_backend(backend).map_err(|e| disk("creating", &subject, &e))?;
        let mut store = Self { database, subject, marker: marker.clone(), failed: false };
        store.write_first(first)?;
        Ok(store)
    }

    /// Opens a node's disk on a backend of the caller's.
    pub fn with_backend(backend: impl StorageBackend, cluster_id: &[u8], node_id: u64) -> Result<Self, StoreError> {
        let subject = format!("of node {node_id}");
        let database = builder().create_with_backend(backend).map_err(|e| disk("opening", &subject, &e))?;
        Self::opened(database, subject, cluster_id, node_id)
    }

    /// Whose disk it is.
    pub fn marker(&self) -> &NodeMarker {
        &self.marker
    }

    fn opened(database: Database, subject: String, cluster_id: &[u8], node_id: u64) -> Result<Self, StoreError> {
        let Some(stored) = read_meta::<RaftNodeMarker>(&database, &subject, MARKER)? else {
            return Err(StoreError::Damaged { subject, detail: "it says nowhere whose it is".into() });
        };
        let Some(marker) = NodeMarker::from_stored(stored) else {
            return Err(StoreError::Damaged { subject, detail: "it names no node".into() });
        };
        if marker.node_id != node_id || marker.cluster_id != cluster_id {
            let name = |cluster: &[u8], node: u64| format!("node {node} of cluster {}", cluster.escape_ascii());
            let found = name(&marker.cluster_id, marker.node_id);
            return Err(StoreError::OtherNode { subject, found, wanted: name(cluster_id, node_id) });
        }
        Ok(Self { database, subject, marker, failed: false })
    }

    fn write_first(&mut self, first: &Restored) -> Result<(), StoreError> {
        first.check().map_err(|detail| StoreError::Damaged { subject: self.subject.clone(), detail })?;
        let batch = PersistBatch {
            seq: 0,
            truncate_from: None,
            entries: first.entries.clone(),
            log_start: Some(first.log_start),
            snapshot: first.snapshot.clone(),
            hard_state: Some(first.hard_state),
        };
        let marker = to_stored(&self.marker.to_stored());
        write(&self.database, &batch, Some(&marker)).map_err(|e| disk("creating", &self.subject, &e))
    }

    fn read_log(&self) -> Result<Vec<RaftEntry>, StoreError> {
        let failed = |e: redb::Error| disk("reading", &self.subject, &e);
        let read = self.database.begin_read().map_err(|e| failed(e.into()))?;
        let table = match read.open_table(LOG) {
            Ok(table) => table,
            Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
            Err(e) => return Err(failed(e.into())),
        };
        let mut entries = Vec::new();
        for row in table.range::<u64>(..).map_err(|e| failed(e.into()))? {
            let (index, bytes) = row.map_err(|e| failed(e.into()))?;
            let entry: RaftEntry = self.value(bytes.value())?;
            if entry.index != index.value() {
                let detail = format!("under {} is entry {}", index.value(), entry.index);
                return Err(StoreError::Damaged { subject: self.subject.clone(), detail });
            }
            entries.push(entry);
        }
        Ok(entries)
    }

    fn value<T: Stored>(&self, bytes: &[u8]) -> Result<T, StoreError> {
        from_stored(bytes).map_err(|cause| StoreError::Value { subject: self.subject.clone(), cause })
    }
}

impl LogStore for RedbStore {
    fn commit(&mut self, batch: &PersistBatch) -> Result<(), StoreError> {
        if self.failed {
            return Err(StoreError::FailedBefore { subject: self.subject.clone() });
        }
        let written = write(&self.database, batch, None);
        if planted("raft-persist-error-ignored") {
            return Ok(());
        }
        written.map_err(|e| {
            self.failed = true;
            disk("writing", &self.subject, &e)
        })
    }

    fn load(&mut self) -> Result<Restored, StoreError> {
        let restored = Restored {
            hard_state: read_meta::<RaftHardState>(&self.database, &self.subject, HARD_STATE)?.unwrap_or_default(),
            snapshot: read_meta::<RaftSnapshot>(&self.database, &self.subject, SNAPSHOT)?,
            log_start: read_meta::<RaftLogStart>(&self.database, &self.subject, LOG_START)?.unwrap_or_default(),
            entries: self.read_log()?,
        };
        restored.check().map_err(|detail| StoreError::Damaged { subject: self.subject.clone(), detail })?;
        Ok(restored)
    }
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
    builder
}

fn disk(operation: &'static str, subject: &str, cause: &dyn std::fmt::Display) -> StoreError {
    StoreError::Disk { operation, subject: subject.into(), detail: cause.to_string() }
}

/// One transaction: snapshot, hard state, truncation and entries are there together or not at all.
fn write(database: &Database, batch: &PersistBatch, marker: Option<&[u8]>) -> Result<(), redb::Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_two_phase_commit(true);
    {
        let mut log = transaction.open_table(LOG)?;
        if let Some(from) = batch.truncate_from {
            log.retain_in::<u64, _>(from.., |_, _| false)?;
        }
        for entry in &batch.entries {
            log.insert(entry.index, to_stored(entry).as_slice())?;
        }
        let mut meta = transaction.open_table(META)?;
        if let Some(start) = &batch.log_start {
            log.retain_in::<u64, _>(..=start.index, |_, _| false)?;
            meta.insert(LOG_START, to_stored(start).as_slice())?;
        }
        if let Some(snapshot) = &batch.snapshot {
            meta.insert(SNAPSHOT, to_stored(snapshot).as_slice())?;
        }
        if let Some(hard_state) = &batch.hard_state {
            meta.insert(HARD_STATE, to_stored(hard_state).as_slice())?;
        }
        if let Some(marker) = marker {
            meta.insert(MARKER, marker)?;
        }
    }
    transaction.commit()?;
    Ok(())
}

fn read_meta<T: Stored>(database: &Database, subject: &str, key: &str) -> Result<Option<T>, StoreError> {
    let failed = |e: redb::Error| disk("reading", subject, &e);
    let read = database.begin_read().map_err(|e| failed(e.into()))?;
    let table = match read.open_table(META) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_)) => return Ok(None),
        Err(e) => return Err(failed(e.into())),
    };
    let Some(bytes) = table.get(key).map_err(|e| failed(e.into()))? else { return Ok(None) };
    from_stored(bytes.value()).map(Some).map_err(|cause| StoreError::Value { subject: subject.into(), cause })
}
