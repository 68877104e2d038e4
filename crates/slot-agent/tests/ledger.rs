//! The ledger on a disk: what was acknowledged is there after any crash, and a wiped or copied ledger is another one.

use redb::{ReadableTable, StorageBackend};
use slot_agent::core::image::*;
use slot_agent::ledger::{Ledger, LedgerError};
use slot_types::ids::*;
use slot_types::order::{Done, NeverWill, Outcome};
use std::path::Path;
use std::sync::{Arc, Mutex};

const CLUSTER: ClusterId = ClusterId([1; 16]);

fn host() -> HostName {
    HostName::new("imap3").unwrap()
}

/// A disk of two layers: what was written, and what was synced.
#[derive(Debug, Default)]
struct Platter {
    written: Vec<u8>,
    synced: Vec<u8>,
    /// Calls that still succeed; after that every call is an error.
    left: Option<u64>,
    syncs: u64,
    calls: u64,
}

#[derive(Debug, Clone, Default)]
struct Disk(Arc<Mutex<Platter>>);

impl Disk {
    fn fail_after(&self, calls: u64) {
        self.0.lock().unwrap().left = Some(calls);
    }

    fn calls(&self) -> u64 {
        self.0.lock().unwrap().calls
    }

    /// A power cut: of what was not synced, every other sector is there, counted from `keep`.
    fn power_cut(&self, keep: usize) -> Disk {
        let platter = self.0.lock().unwrap();
        let mut image = platter.synced.clone();
        image.resize(platter.written.len().max(image.len()), 0);
        for (number, sector) in image.chunks_mut(512).enumerate() {
            let start = number * 512;
            if let Some(new) =
                platter.written.get(start..start + sector.len()).filter(|_| (number + keep).is_multiple_of(2))
            {
                sector.copy_from_slice(new);
            }
        }
        Disk(Arc::new(Mutex::new(Platter { written: image.clone(), synced: image, ..Platter::default() })))
    }

    fn call<T>(&self, act: impl FnOnce(&mut Platter) -> T) -> Result<T, std::io::Error> {
        let mut platter = self.0.lock().unwrap();
        platter.calls += 1;
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

fn id(n: u64) -> OrderId {
    OrderId { plan: PlanId(n), task: 0, step: 1, attempt: 1 }
}

fn copy(n: u64) -> LedgerWrite {
    let key = CopyKey { slot: 7, store: StoreName::new("store23").unwrap(), generation: CopyGeneration(2) };
    let entry = CopyEntry {
        epoch: Epoch { generation: 0, n },
        index: LogIndex(n),
        role: LedgerRole::Master,
        settled: n.is_multiple_of(2),
        stopped: false,
        retired: false,
        freeze: Some(id(n)),
        sync_copies: 0,
        by_hand: Vec::new(),
    };
    LedgerWrite::Copy(key, entry)
}

fn order(n: u64, outcome: Option<Outcome>) -> LedgerWrite {
    let fingerprint = Some(slot_types::position::Digest::of(&[n as u8]));
    LedgerWrite::Order(
        id(n),
        OrderEntry { index: LogIndex(n), slot: Some(7), boot: BootId([3; 16]), fingerprint, outcome },
    )
}

/// Accepts and outcomes, as an agent writes them.
fn life(first: &LedgerImage) -> Vec<Vec<LedgerWrite>> {
    let meta = |n| LedgerWrite::Meta(LedgerMeta { highest: LogIndex(n), term: Term(n), ..first.meta.clone() });
    vec![
        vec![copy(1), order(1, None), meta(1)],
        vec![copy(2), order(1, Some(Outcome::Done(Done::Plain)))],
        vec![order(2, None), copy(3), meta(2)],
        vec![order(2, Some(Outcome::NeverWill(NeverWill::Cancelled))), LedgerWrite::Forget(id(1)), meta(3)],
    ]
}

#[test]
fn s6_what_was_committed_is_there_after_a_failure_at_every_disk_call() {
    let first = LedgerImage::empty(CLUSTER, host(), Incarnation([5; 16]));
    let mut states = vec![first.clone()];
    for writes in life(&first) {
        let mut next = states.last().unwrap().clone();
        writes.iter().for_each(|write| next.apply(write));
        states.push(next);
    }
    let mut calls = 0;
    loop {
        let disk = Disk::default();
        let mut ledger = Ledger::create_with_backend(disk.clone(), &first).unwrap();
        disk.fail_after(calls);
        let mut committed = 0;
        for writes in life(&first) {
            if ledger.commit(&writes).is_err() {
                break;
            }
            committed += 1;
        }
        std::mem::forget(ledger);
        for keep in 0..2 {
            let (_, image) = Ledger::open_with_backend(disk.power_cut(keep)).unwrap();
            let at = states.iter().rposition(|state| *state == image).expect("a state that never was");
            assert!(at == committed || at == committed + 1, "call {calls}: {at} of {committed} committed");
        }
        if committed == life(&first).len() {
            break;
        }
        calls += 1;
    }
    assert!(calls > 20, "the disk was used");
    assert!(Disk::default().calls() == 0);
}

/// What accepting an order, or recording its outcome, costs; `docs/performance.md` counts with it.
#[test]
fn a_commit_is_two_fsyncs_however_many_orders_it_tells_of() {
    let disk = Disk::default();
    let image = LedgerImage::empty(CLUSTER, host(), Incarnation([7; 16]));
    let mut ledger = Ledger::create_with_backend(disk.clone(), &image).unwrap();
    for orders in [1, 2, 40] {
        let writes: Vec<_> = (1..=orders).flat_map(|n| [copy(n), order(n, None)]).collect();
        let before = disk.0.lock().unwrap().syncs;
        ledger.commit(&writes).unwrap();
        assert_eq!(disk.0.lock().unwrap().syncs - before, 2);
    }
}

fn open(path: &Path) -> (Ledger, LedgerImage) {
    Ledger::open(path, CLUSTER, &host()).unwrap()
}

#[test]
fn s2_a_ledger_keeps_its_incarnation_and_a_wiped_or_copied_one_has_another() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.redb");
    let (mut ledger, first) = open(&path);
    assert_ne!(first.meta.incarnation, Incarnation::default());
    for writes in life(&first) {
        ledger.commit(&writes).unwrap();
    }
    drop(ledger);
    let (ledger, again) = open(&path);
    assert_eq!(again.meta.incarnation, first.meta.incarnation);
    assert_eq!((again.copies.len(), again.orders.len(), again.meta.highest), (1, 1, LogIndex(3)));
    drop(ledger);

    let other = folder.path().join("other");
    std::fs::create_dir(&other).unwrap();
    std::fs::copy(&path, other.join("ledger.redb")).unwrap();
    let (copied, image) = open(&other.join("ledger.redb"));
    assert_ne!(image.meta.incarnation, first.meta.incarnation, "a copy may be older than what was acknowledged");
    assert_eq!((&image.copies, &image.orders), (&again.copies, &again.orders), "its epochs still count");
    drop(copied);
    let (_copied, reopened) = open(&other.join("ledger.redb"));
    assert_eq!(reopened, image);

    std::fs::remove_file(&path).unwrap();
    let (_wiped, image) = open(&path);
    assert_ne!(image.meta.incarnation, first.meta.incarnation);
    assert!(image.copies.is_empty());
}

#[test]
fn s15_a_ledger_of_another_host_or_cluster_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.redb");
    drop(open(&path));
    let refused = Ledger::open(&path, CLUSTER, &HostName::new("imap4").unwrap()).unwrap_err();
    assert!(matches!(refused, LedgerError::OtherHost { .. }), "{refused}");
    assert!(refused.to_string().contains("imap3") && refused.to_string().contains("imap4"), "{refused}");
    assert!(matches!(Ledger::open(&path, ClusterId([9; 16]), &host()), Err(LedgerError::OtherHost { .. })));
}

#[test]
fn an_unknown_version_is_refused_with_both_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.redb");
    drop(open(&path));
    let database = redb::Database::open(&path).unwrap();
    let write = database.begin_write().unwrap();
    {
        let mut table = write.open_table(redb::TableDefinition::<&str, &[u8]>::new("meta")).unwrap();
        let mut bytes = table.get("ledger").unwrap().unwrap().value().to_vec();
        bytes[0] = 77;
        table.insert("ledger", bytes.as_slice()).unwrap();
    }
    write.commit().unwrap();
    drop(database);
    let refused = Ledger::open(&path, CLUSTER, &host()).unwrap_err().to_string();
    assert!(refused.contains("77"), "{refused}");
    assert!(std::error::Error::source(&Ledger::open(&path, CLUSTER, &host()).unwrap_err()).is_some());
}

#[test]
fn a_half_made_ledger_is_made_anew_and_one_ledger_has_one_agent() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.redb");
    std::fs::write(path.with_extension("unfinished"), b"half").unwrap();
    let (_ledger, _) = open(&path);
    assert!(!path.with_extension("unfinished").exists());
    assert!(matches!(Ledger::open(&path, CLUSTER, &host()), Err(LedgerError::Disk { .. })), "opened twice");
}
