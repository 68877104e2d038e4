//! The simulated disks, under redb and under the journal's operations: what is acknowledged stays, what is not is there as a
//! whole or not at all, and the faults are as bad as they claim to be.

use redb::StorageBackend;
use slot_agent::core::image::{CopyEntry, CopyKey, LedgerImage, LedgerMeta, LedgerRole, LedgerWrite};
use slot_agent::ledger::Ledger;
use slot_engine::journal::core::DiskOp;
use slot_raft::store::{LogStore, MemStore, RedbStore};
use slot_raft::{
    NodeMarker, PersistBatch, RaftConfState, RaftEntry, RaftHardState, RaftLogStart, RaftSnapshot, Restored,
};
use slot_sim::disk::{DiskFailed, DiskFault, FaultKind, Folder, Lands, SimFile, SimHandle};
use slot_sim::queue::Stream;
use slot_types::ids::*;
use std::collections::{BTreeMap, BTreeSet};

/// A store on redb that lives through the same batches every time.
trait Subject: Sized {
    const BATCHES: usize;
    fn create(handle: SimHandle) -> Result<Self, String>;
    /// Opens it, and says after how many batches its state is.
    fn open(handle: SimHandle) -> Result<(Self, usize), String>;
    fn commit(&mut self, number: usize) -> Result<(), String>;
}

fn batches() -> Vec<PersistBatch> {
    let batch = |seq, first, last, term| PersistBatch {
        seq,
        truncate_from: Some(first),
        entries: (first..=last)
            .map(|index| RaftEntry { r#type: 1, term, index, data: vec![index as u8; 900] })
            .collect(),
        hard_state: Some(RaftHardState { term, vote: 1, commit: first - 1 }),
        ..Default::default()
    };
    let voters = RaftConfState { voters: vec![1, 2, 3], ..Default::default() };
    let cut = PersistBatch {
        seq: 3,
        log_start: Some(RaftLogStart { index: 5, term: 1 }),
        snapshot: Some(RaftSnapshot { index: 7, term: 1, conf_state: Some(voters), data: vec![7; 9_000] }),
        hard_state: Some(RaftHardState { term: 2, vote: 1, commit: 12 }),
        ..Default::default()
    };
    vec![batch(1, 2, 9, 1), batch(2, 8, 12, 2), cut]
}

fn text(e: impl std::fmt::Display) -> String {
    e.to_string()
}

impl Subject for RedbStore {
    const BATCHES: usize = 3;
    fn create(handle: SimHandle) -> Result<Self, String> {
        let marker = NodeMarker { cluster_id: b"fm1".to_vec(), node_id: 1, incarnation: [9; 16] };
        Self::create_with_backend(handle, &marker, &Restored::bootstrap(&[1, 2, 3], vec![1])).map_err(text)
    }
    fn open(handle: SimHandle) -> Result<(Self, usize), String> {
        let mut store = Self::with_backend(handle, b"fm1", 1).map_err(text)?;
        let found = store.load().map_err(text)?;
        let mut model = MemStore::new(Restored::bootstrap(&[1, 2, 3], vec![1]));
        for (number, batch) in batches().iter().enumerate() {
            if model.load().map_err(text)? == found {
                return Ok((store, number));
            }
            model.commit(batch).map_err(text)?;
        }
        if model.load().map_err(text)? == found { Ok((store, Self::BATCHES)) } else { Err("no such state".into()) }
    }
    fn commit(&mut self, number: usize) -> Result<(), String> {
        LogStore::commit(self, &batches()[number]).map_err(text)
    }
}

fn empty_ledger() -> LedgerImage {
    LedgerImage::empty(ClusterId([1; 16]), HostName::new("imap3").unwrap(), Incarnation([5; 16]))
}

fn ledger_writes(number: usize) -> Vec<LedgerWrite> {
    let n = number as u64 + 1;
    let key =
        CopyKey { slot: 7, store: StoreName::new("store23").unwrap(), generation: CopyGeneration(number as u32 / 2) };
    let entry = CopyEntry {
        epoch: Epoch { generation: 0, n },
        index: LogIndex(n),
        role: LedgerRole::Master,
        settled: true,
        stopped: false,
        retired: false,
        freeze: None,
        sync_copies: 0,
        by_hand: Vec::new(),
    };
    let meta = LedgerMeta { highest: LogIndex(n), ..empty_ledger().meta };
    vec![LedgerWrite::Copy(key, entry), LedgerWrite::Meta(meta)]
}

impl Subject for Ledger {
    const BATCHES: usize = 3;
    fn create(handle: SimHandle) -> Result<Self, String> {
        Self::create_with_backend(handle, &empty_ledger()).map_err(text)
    }
    fn open(handle: SimHandle) -> Result<(Self, usize), String> {
        let (ledger, found) = Self::open_with_backend(handle).map_err(text)?;
        let mut state = empty_ledger();
        for number in 0..Self::BATCHES {
            if state == found {
                return Ok((ledger, number));
            }
            ledger_writes(number).iter().for_each(|write| state.apply(write));
        }
        if state == found { Ok((ledger, Self::BATCHES)) } else { Err("no such state".into()) }
    }
    fn commit(&mut self, number: usize) -> Result<(), String> {
        Self::commit(self, &ledger_writes(number)).map_err(text)
    }
}

/// Every kind of fault, each in the ways it can go.
fn faults(at_op: u64) -> Vec<DiskFault> {
    use FaultKind::*;
    let fault = |kind| DiskFault::new(at_op, kind);
    vec![
        fault(Crash),
        fault(Crash).landing(Lands::Part(700)).with_power(),
        fault(Crash).landing(Lands::Whole),
        fault(Eio),
        fault(Eio).landing(Lands::Part(0x5a5a)),
        fault(Eio).landing(Lands::Whole).staying(),
        fault(NoSpace).landing(Lands::Part(512)),
        fault(LostSync),
    ]
}

/// Opens a disk, expects a state from `least` to `most`, goes on to the last batch, loses power, and expects that.
fn lives_on<S: Subject>(file: &SimFile, range: (usize, usize), seed: u64, what: &str) {
    let (mut store, at) = S::open(file.open()).unwrap_or_else(|e| panic!("{what}: {e}"));
    assert!(range.0 <= at && at <= range.1, "{what}: after batch {at}, not {range:?}");
    for number in at..S::BATCHES {
        store.commit(number).unwrap_or_else(|e| panic!("{what}: {e}"));
    }
    file.power_failed(&mut Stream::new(seed, 2));
    drop(store);
    let (_, at) = S::open(file.open()).unwrap_or_else(|e| panic!("{what}: {e}"));
    assert_eq!(at, S::BATCHES, "{what}: acknowledged and gone");
}

/// One fault at every operation of a life, then each way to come back. Returns how many faults happened.
fn sweep<S: Subject>() -> u64 {
    let first = SimFile::formatted();
    drop(S::create(first.open()).unwrap());
    let first = first.snapshot();
    let mut happened = 0;
    for at_op in 0.. {
        let mut any = false;
        for fault in faults(at_op) {
            let what = format!("{fault:?}");
            let file = SimFile::from_snapshot(&first);
            let (mut store, _) = S::open(file.open()).unwrap();
            file.arm(fault);
            let mut acknowledged = 0;
            while acknowledged < S::BATCHES {
                let done = store.commit(acknowledged).is_ok();
                if file.crashed() || !done {
                    break;
                }
                acknowledged += 1;
            }
            if file.fired() == 0 {
                continue;
            }
            (any, happened) = (true, happened + 1);
            let power = file.power_lost();
            assert_eq!(power, fault.power || fault.kind == FaultKind::LostSync, "{what}");
            file.process_died();
            let before = (file.ops(), file.snapshot());
            drop(store);
            assert!(before == (file.ops(), file.snapshot()), "{what}: a dead process wrote");
            let range = (acknowledged, acknowledged + 1);
            for seed in 0..2 {
                let fork = file.fork();
                fork.power_failed(&mut Stream::new(at_op * 3 + seed, 1));
                lives_on::<S>(&fork, range, seed, &format!("{what}, power failure {seed}"));
            }
            // Also with pages that are clean and lost: two-phase commits never build on them.
            if !power {
                lives_on::<S>(&file.fork(), range, at_op, &format!("{what}, process only"));
            }
        }
        if !any {
            break;
        }
    }
    happened
}

#[test]
fn p10_p11_a_raft_store_outlives_every_fault_at_every_operation() {
    let happened = sweep::<RedbStore>();
    assert!(happened > 150, "{happened} faults");
}

#[test]
fn p10_p11_a_ledger_outlives_every_fault_at_every_operation() {
    let happened = sweep::<Ledger>();
    assert!(happened > 150, "{happened} faults");
}

#[test]
fn a_crash_in_the_middle_of_a_recovery_is_recovered_from() {
    let file = SimFile::formatted();
    let mut store = <RedbStore as Subject>::create(file.open()).unwrap();
    for number in 0..3 {
        Subject::commit(&mut store, number).unwrap();
    }
    file.power_failed(&mut Stream::new(1, 1));
    drop(store);
    let mut cut_short = 0;
    for at_op in 0..200 {
        let fork = file.fork();
        fork.arm(DiskFault::new(at_op, FaultKind::Crash).landing(Lands::Part(at_op * 37)).with_power());
        let opened = <RedbStore as Subject>::open(fork.open());
        if !fork.crashed() {
            opened.unwrap();
            break;
        }
        cut_short += 1;
        fork.power_failed(&mut Stream::new(at_op, 1));
        drop(opened);
        lives_on::<RedbStore>(&fork, (3, 3), at_op, &format!("recovery cut short at {at_op}"));
    }
    assert!(cut_short > 3, "{cut_short}");
}

#[test]
fn a_power_failure_keeps_any_subset_and_tears() {
    let mut seen = BTreeSet::new();
    let mut torn = 0;
    for seed in 0..2_000 {
        let file = SimFile::from_image(vec![0; 3 * 4096]);
        let handle = file.open();
        for part in 0..3u64 {
            handle.write(part * 4096, &[part as u8 + 1; 4096]).unwrap();
        }
        file.power_failed(&mut Stream::new(seed, 1));
        let image = file.image();
        let whole: Vec<bool> = (0..3).map(|part| image[part * 4096..][..4096].iter().all(|b| *b != 0)).collect();
        torn += image.chunks(4096).filter(|page| page.contains(&0) && page.iter().any(|b| *b != 0)).count();
        seen.insert(whole);
        assert!(handle.dead() && handle.write(0, &[9]).is_err() && file.image() == image);
    }
    assert_eq!(seen.len(), 8, "every subset: {seen:?}");
    assert!(torn > 300, "{torn}");
}

#[test]
fn p11_a_failed_sync_leaves_pages_clean_and_lost() {
    let file = SimFile::from_image(vec![1; 8192]);
    let handle = file.open();
    handle.write(0, &[2; 4096]).unwrap();
    file.arm(DiskFault::new(0, FaultKind::Eio));
    assert_eq!(handle.sync_data().unwrap_err().raw_os_error(), Some(5));
    assert!(file.has_lost_pages() && file.is_dirty());
    handle.sync_data().unwrap();
    assert_eq!((file.live_image()[0], file.image()[0]), (2, 1), "a retry that succeeds makes nothing durable");
    handle.write(10, &[3]).unwrap();
    handle.sync_data().unwrap();
    assert!(file.image()[..4096] == file.live_image()[..4096] && !file.has_lost_pages(), "a page goes as a whole");
}

#[test]
fn old_disks_wiped_disks_and_full_disks() {
    let file = SimFile::from_image(b"first".to_vec());
    let old = file.snapshot();
    let handle = file.open();
    handle.write(0, b"later").unwrap();
    handle.set_len(9_000).unwrap();
    handle.set_len(3).unwrap();
    handle.set_len(6).unwrap();
    handle.sync_data().unwrap();
    assert_eq!(file.image(), b"lat\0\0\0");
    assert_eq!((file.ops(), SimFile::from_snapshot(&old).image()), (5, b"first".to_vec()));
    file.arm(DiskFault::new(1, FaultKind::NoSpace).landing(Lands::Part(2)));
    handle.write(0, b"x").unwrap();
    assert_eq!(handle.write(6, b"abc").unwrap_err().raw_os_error(), Some(28));
    assert!(handle.set_len(100).is_err() && handle.sync_data().is_ok());
    file.disarm();
    handle.write(0, b"y").unwrap();
    assert_eq!(file.live_image(), b"yat\0\0\0ab");
    file.put_back(&old);
    assert!(handle.dead() && handle.len().is_err());
    assert_eq!(file.image(), b"first");
    file.wipe();
    assert!(file.image().is_empty());
}

fn write(file: &str, offset: u64, bytes: &[u8]) -> DiskOp {
    DiskOp::Write { file: file.into(), offset, bytes: bytes.to_vec() }
}

fn fsync(file: &str) -> DiskOp {
    DiskOp::Fsync { file: file.into() }
}

/// A file replaced as the journal replaces one.
fn replace(file: &str, bytes: &[u8]) -> Vec<DiskOp> {
    let next = format!("{file}.next");
    vec![
        DiskOp::Remove { file: next.clone() },
        write(&next, 0, bytes),
        fsync(&next),
        DiskOp::Rename { from: next, to: file.into() },
        DiskOp::FsyncDir,
    ]
}

fn folder() -> Folder {
    Folder::new(BTreeMap::from([("meta".to_string(), b"old".to_vec()), ("1.log".to_string(), b"one".to_vec())]))
}

#[test]
fn p10_a_file_replaced_is_the_old_or_the_new_one_at_every_crash() {
    let mut seen = BTreeSet::new();
    for at_op in 0..5 {
        for lands in [Lands::Nothing, Lands::Part(2), Lands::Whole] {
            for seed in 0..40 {
                let mut disk = folder();
                disk.arm(DiskFault::new(at_op, FaultKind::Crash).landing(lands));
                let failed = replace("meta", b"newer").iter().try_for_each(|op| disk.try_carry_out(op));
                assert_eq!((failed, disk.crashed()), (Err(DiskFailed::Crashed), true));
                assert!(disk.try_carry_out(&write("meta", 0, b"xxxxxx")).is_err(), "dead");
                let mut process_only = disk.clone();
                process_only.process_died();
                let renamed = at_op > 3 || (at_op == 3 && lands == Lands::Whole);
                assert_eq!(process_only.files()["meta"], if renamed { &b"newer"[..] } else { b"old" });
                disk.power_failed(&mut Stream::new(seed, at_op));
                let files = disk.files();
                assert_eq!(files, disk.durable_files());
                assert_eq!(files["1.log"], b"one");
                let found = files["meta"].clone();
                assert!(found == b"newer" && renamed || found == b"old", "{files:?}");
                assert!(at_op < 4 || lands != Lands::Whole || found == b"newer", "the folder was synced");
                seen.insert((at_op, renamed, found));
            }
        }
    }
    assert!(seen.contains(&(4, true, b"old".to_vec())) && seen.contains(&(4, true, b"newer".to_vec())));
}

#[test]
fn p10_without_its_folder_synced_a_new_file_may_be_gone_and_without_its_own_sync_be_empty() {
    let outcomes = |ops: &[DiskOp]| {
        let lives = (0..200).map(|seed| {
            let mut disk = folder();
            ops.iter().for_each(|op| disk.carry_out(op));
            disk.power_failed(&mut Stream::new(seed, 3));
            disk.files().get("2.log").cloned()
        });
        lives.collect::<BTreeSet<_>>()
    };
    let full = Some(b"two".to_vec());
    let named = outcomes(&[write("2.log", 0, b"two"), DiskOp::FsyncDir]);
    assert!(named.contains(&Some(vec![])) && named.contains(&full) && named.len() > 2 && !named.contains(&None));
    let synced = outcomes(&[write("2.log", 0, b"two"), fsync("2.log")]);
    assert_eq!(synced, BTreeSet::from([None, full.clone()]));
    let both = outcomes(&[write("2.log", 0, b"two"), fsync("2.log"), DiskOp::FsyncDir]);
    assert_eq!(both, BTreeSet::from([full]));
}

#[test]
fn p11_a_failed_fsync_in_a_folder_loses_silently_and_a_lie_is_made_up_for() {
    let mut disk = folder();
    disk.arm(DiskFault::new(1, FaultKind::Eio));
    disk.try_carry_out(&write("1.log", 0, b"TWO")).unwrap();
    assert_eq!(disk.try_carry_out(&fsync("1.log")), Err(DiskFailed::Io));
    disk.try_carry_out(&fsync("1.log")).unwrap();
    assert!(disk.has_lost_pages() && disk.files()["1.log"] == b"TWO" && disk.durable_files()["1.log"] == b"one");
    disk.power_failed(&mut Stream::new(1, 1));
    assert_eq!((disk.files()["1.log"].as_slice(), disk.is_dirty()), (&b"one"[..], false));

    disk.arm(DiskFault::new(3, FaultKind::Eio));
    let ops = [write("2.log", 0, b"2"), fsync("2.log"), write("2.log", 0, b"3"), DiskOp::FsyncDir];
    assert_eq!(ops.iter().try_for_each(|op| disk.try_carry_out(op)), Err(DiskFailed::Io));
    disk.try_carry_out(&DiskOp::FsyncDir).unwrap();
    assert!(disk.has_lost_pages());
    disk.power_failed(&mut Stream::new(1, 1));
    assert!(!disk.files().contains_key("2.log"), "its name was never durable");

    let old = disk.snapshot();
    disk.lie_once();
    disk.try_carry_out(&write("1.log", 0, b"six")).unwrap();
    disk.try_carry_out(&fsync("1.log")).unwrap();
    assert_eq!(disk.durable_files()["1.log"], b"one");
    disk.try_carry_out(&fsync("1.log")).unwrap();
    assert_eq!(disk.durable_files()["1.log"], b"six");
    disk.put_back(&old);
    assert_eq!((disk.files()["1.log"].as_slice(), disk.is_dirty()), (&b"one"[..], false));
    disk.wipe();
    assert!(disk.files().is_empty() && disk.durable_files().is_empty());
}

#[test]
fn a_full_folder_and_a_lost_sync() {
    let mut disk = folder();
    disk.arm(DiskFault::new(0, FaultKind::NoSpace).landing(Lands::Part(1)));
    disk.try_carry_out(&DiskOp::Remove { file: "none".into() }).unwrap();
    assert_eq!(disk.try_carry_out(&write("2.log", 0, b"two")), Err(DiskFailed::NoSpace));
    assert_eq!((disk.files()["2.log"].as_slice(), disk.fired()), (&b"t"[..], 1));
    disk.disarm();
    disk.arm(DiskFault::new(0, FaultKind::LostSync));
    disk.try_carry_out(&write("1.log", 0, b"two")).unwrap();
    disk.try_carry_out(&fsync("1.log")).unwrap();
    assert!(disk.crashed() && disk.power_lost(), "it said so to nobody who lives on");
    assert_eq!(disk.durable_files()["1.log"], b"one");
    let missing = DiskOp::Rename { from: "9".into(), to: "1".into() };
    disk.process_died();
    assert_eq!(disk.try_carry_out(&missing), Err(DiskFailed::Missing));
}
