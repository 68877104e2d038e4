//! The store on a disk that fails: what was acknowledged is there, what was not is there whole or not at all.

use proptest::prelude::*;
use redb::StorageBackend;
use slot_raft::store::{LogStore, MemStore, RedbStore, StoreError};
use slot_raft::{
    NodeMarker, PersistBatch, RaftConfState, RaftEntry, RaftHardState, RaftLogStart, RaftSnapshot, Restored,
};
use std::sync::{Arc, Mutex};

/// A disk of two layers: what was written, and what was synced.
#[derive(Debug, Default)]
struct Platter {
    written: Vec<u8>,
    synced: Vec<u8>,
    /// Calls that still succeed; after that every call is an error.
    left: Option<u64>,
    syncs: u64,
}

#[derive(Debug, Clone, Default)]
struct Disk(Arc<Mutex<Platter>>);

impl Disk {
    fn fail_after(&self, calls: u64) {
        self.0.lock().unwrap().left = Some(calls);
    }

    /// A power cut: some of what was not synced is lost, sector by sector, as the seed says.
    fn power_cut(&self, seed: u64) -> Disk {
        let platter = self.0.lock().unwrap();
        let mut image = platter.synced.clone();
        image.resize(platter.written.len().max(image.len()), 0);
        for (number, sector) in image.chunks_mut(512).enumerate() {
            let start = number * 512;
            let kept =
                (seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(number as u32 % 64) ^ number as u64) & 1 == 0;
            if let Some(new) = platter.written.get(start..start + sector.len()).filter(|_| kept) {
                sector.copy_from_slice(new);
            }
        }
        if seed.is_multiple_of(3) {
            image = platter.synced.clone();
        }
        Disk(Arc::new(Mutex::new(Platter { written: image.clone(), synced: image, ..Platter::default() })))
    }

    fn call<T>(&self, act: impl FnOnce(&mut Platter) -> T) -> Result<T, std::io::Error> {
        let mut platter = self.0.lock().unwrap();
        match &mut platter.left {
            Some(0) => return Err(std::io::Error::from_raw_os_error(5)),
            Some(left) => *left -= 1,
            None => {}
        }
        Ok(act(&mut platter))
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> Result<u64, std::io::Error> {
        self.call(|p| p.written.len() as u64)
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), std::io::Error> {
        self.call(|p| out.copy_from_slice(&p.written[offset as usize..offset as usize + out.len()]))
    }
    fn set_len(&self, len: u64) -> Result<(), std::io::Error> {
        self.call(|p| p.written.resize(len as usize, 0))
    }
    fn sync_data(&self) -> Result<(), std::io::Error> {
        self.call(|p| {
            p.synced = p.written.clone();
            p.syncs += 1;
        })
    }
    fn write(&self, offset: u64, data: &[u8]) -> Result<(), std::io::Error> {
        self.call(|p| p.written[offset as usize..offset as usize + data.len()].copy_from_slice(data))
    }
}

/// What one entry of the log costs; `docs/performance.md` counts with it.
#[test]
fn a_batch_is_two_fsyncs_however_many_entries_it_has() {
    let disk = Disk::default();
    let first = Restored::bootstrap(&[1], vec![]);
    let mut store = RedbStore::create_with_backend(disk.clone(), &marker(), &first).unwrap();
    for (seq, first, last) in [(1, 2, 2), (2, 3, 3), (3, 4, 12)] {
        let before = disk.0.lock().unwrap().syncs;
        store.commit(&batch(seq, first, last, 1)).unwrap();
        assert_eq!(disk.0.lock().unwrap().syncs - before, 2);
    }
}

fn marker() -> NodeMarker {
    NodeMarker { cluster_id: b"fm1".to_vec(), node_id: 1, incarnation: [9; 16] }
}

fn entry(index: u64, term: u64) -> RaftEntry {
    RaftEntry { r#type: 1, term, index, data: vec![index as u8; 300] }
}

fn batch(seq: u64, first: u64, last: u64, term: u64) -> PersistBatch {
    PersistBatch {
        seq,
        truncate_from: Some(first),
        entries: (first..=last).map(|i| entry(i, term)).collect(),
        hard_state: Some(RaftHardState { term, vote: 1, commit: first - 1 }),
        ..Default::default()
    }
}

fn snapshot(index: u64, term: u64) -> RaftSnapshot {
    let conf_state = Some(RaftConfState { voters: vec![1, 2, 3], ..Default::default() });
    RaftSnapshot { index, term, conf_state, data: vec![index as u8; 9_000] }
}

/// Appends, an overwrite by a new leader, a compaction, a snapshot received, and appends after it.
fn life() -> Vec<PersistBatch> {
    vec![
        batch(1, 2, 6, 1),
        batch(2, 7, 9, 1),
        batch(3, 8, 12, 2),
        PersistBatch {
            seq: 4,
            log_start: Some(RaftLogStart { index: 5, term: 1 }),
            snapshot: Some(snapshot(7, 1)),
            hard_state: Some(RaftHardState { term: 2, vote: 1, commit: 12 }),
            ..Default::default()
        },
        PersistBatch {
            seq: 5,
            truncate_from: Some(0),
            entries: vec![],
            log_start: Some(RaftLogStart { index: 40, term: 3 }),
            snapshot: Some(snapshot(40, 3)),
            hard_state: Some(RaftHardState { term: 3, vote: 0, commit: 40 }),
        },
        batch(6, 41, 44, 3),
    ]
}

/// The states after each prefix of the life.
fn states() -> Vec<Restored> {
    let mut model = MemStore::new(Restored::bootstrap(&[1, 2, 3], vec![1]));
    let mut states = vec![model.load().unwrap()];
    for batch in life() {
        model.commit(&batch).unwrap();
        states.push(model.load().unwrap());
    }
    states
}

#[test]
fn every_batch_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("raft.redb");
    let states = states();
    let mut store = RedbStore::create(&path, &marker(), &states[0]).unwrap();
    for (number, batch) in life().iter().enumerate() {
        assert_eq!(store.load().unwrap(), states[number]);
        store.commit(batch).unwrap();
        drop(store);
        store = RedbStore::open(&path, b"fm1", 1).unwrap();
        assert_eq!(store.load().unwrap(), states[number + 1]);
    }
    assert_eq!(store.marker(), &marker());
}

#[test]
fn a_store_is_its_nodes_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("raft.redb");
    std::fs::write(path.with_extension("unfinished"), b"left by a crash").unwrap();
    drop(RedbStore::create(&path, &marker(), &Restored::bootstrap(&[1], vec![])).unwrap());
    assert!(!path.with_extension("unfinished").exists());
    let again = RedbStore::create(&path, &marker(), &Restored::bootstrap(&[1], vec![]));
    assert!(matches!(again, Err(StoreError::Exists { .. })));
    assert!(matches!(RedbStore::open(&path, b"fm1", 2), Err(StoreError::OtherNode { .. })));
    assert!(matches!(RedbStore::open(&path, b"fm2", 1), Err(StoreError::OtherNode { .. })));
    assert!(RedbStore::open(&folder.path().join("none.redb"), b"fm1", 1).is_err());
    let empty = RedbStore::with_backend(Disk::default(), b"fm1", 1);
    assert!(matches!(empty, Err(StoreError::Damaged { .. })));
}

#[test]
fn after_an_error_a_store_refuses_everything_and_a_reopened_one_has_what_was_acknowledged() {
    let states = states();
    let mut cut_short = 0;
    for calls in (0..400).step_by(3) {
        let disk = Disk::default();
        let mut store = RedbStore::create_with_backend(disk.clone(), &marker(), &states[0]).unwrap();
        disk.fail_after(calls);
        let mut acknowledged = 0;
        let mut failed = false;
        for batch in life() {
            match store.commit(&batch) {
                Ok(()) => {
                    assert!(!failed, "a store that failed must not go on");
                    acknowledged += 1;
                }
                Err(StoreError::FailedBefore { .. }) => assert!(failed),
                Err(e) => {
                    assert!(!failed, "{e}");
                    failed = true;
                }
            }
        }
        cut_short += u64::from(failed);
        drop(store);
        for seed in 0..4 {
            let mut store = RedbStore::with_backend(disk.power_cut(calls * 4 + seed), b"fm1", 1).unwrap();
            let found = store.load().unwrap();
            let at = states.iter().position(|state| *state == found).expect("a state between two batches");
            let most = acknowledged + usize::from(failed);
            assert!(at >= acknowledged && at <= most, "after {calls} calls: batch {at}, {acknowledged} acknowledged");
        }
    }
    assert!(cut_short > 20, "errors came in the middle: {cut_short}");
}

#[test]
fn an_unknown_version_on_disk_is_named() {
    let disk = Disk::default();
    drop(RedbStore::create_with_backend(disk.clone(), &marker(), &Restored::bootstrap(&[1], vec![])).unwrap());
    let database = redb::Builder::new().create_with_backend(disk.clone()).unwrap();
    let write = database.begin_write().unwrap();
    let table: redb::TableDefinition<'_, &str, &[u8]> = redb::TableDefinition::new("raft_meta");
    write.open_table(table).unwrap().insert("hard_state", [9u8, 0, 1].as_slice()).unwrap();
    write.commit().unwrap();
    drop(database);
    let text = RedbStore::with_backend(disk, b"fm1", 1).unwrap().load().unwrap_err().to_string();
    assert!(text.contains("format 9") && text.contains("format 1"), "{text}");
}

proptest! {
    /// Writing merged batches leaves the disk as writing them one by one does.
    #[test]
    fn merging_batches_changes_nothing(kinds in proptest::collection::vec((0u8..4, 0u64..6, 1u64..5), 1..12)) {
        let first = Restored::bootstrap(&[1, 2, 3], vec![1]);
        let mut one_by_one = MemStore::new(first.clone());
        let mut merged: Option<PersistBatch> = None;
        let mut term = 1;
        for (number, (kind, back, count)) in kinds.into_iter().enumerate() {
            let state = one_by_one.load().unwrap();
            let (start, last) = (state.log_start.index, state.last_index());
            let commit = state.hard_state.commit;
            let term_at = |index| state.entries.iter().find(|e| e.index == index).map_or(0, |e| e.term);
            term += u64::from(back > 3);
            let mut next = match kind {
                0 | 1 => {
                    let from = (last + 1 - back.min(last - commit)).max(start + 1);
                    batch(0, from, from + count, term)
                }
                2 if last > commit => PersistBatch {
                    log_start: Some(RaftLogStart { index: commit + 1, term: term_at(commit + 1) }),
                    snapshot: Some(snapshot(commit + 1, term_at(commit + 1))),
                    hard_state: Some(RaftHardState { term, vote: 0, commit: commit + 1 }),
                    ..Default::default()
                },
                _ => PersistBatch {
                    truncate_from: Some(0),
                    log_start: Some(RaftLogStart { index: last + count, term }),
                    snapshot: Some(snapshot(last + count, term)),
                    hard_state: Some(RaftHardState { term, vote: 0, commit: last + count }),
                    ..Default::default()
                },
            };
            next.seq = number as u64 + 1;
            if let Some(hard) = &mut next.hard_state {
                hard.commit = hard.commit.max(commit);
            }
            one_by_one.commit(&next).unwrap();
            match &mut merged {
                Some(batch) => batch.merge(next),
                None => merged = Some(next),
            }
        }
        let mut at_once = MemStore::new(first.clone());
        at_once.commit(merged.as_ref().unwrap()).unwrap();
        prop_assert_eq!(at_once.load().unwrap(), one_by_one.load().unwrap());
    }
}
