//! P12: a damaged copy is refused, or exactly an unacknowledged tail is cut; never anything silent.

use crate::disk::Disk;
use crate::world::*;
use slot_engine::journal::core::*;
use slot_types::ids::CopyGeneration;
use std::collections::BTreeMap;

type Files = BTreeMap<String, Vec<u8>>;

/// A master with acknowledged records over several segments; settled when `ms` is long.
fn files(ms: u64) -> (Files, u64) {
    let mut w = World::with_master(1, 1, 0);
    for n in 1..=30 {
        w.must_append(0, 1, "w1", n);
    }
    w.run(ms);
    let length = w.status(0).tip.position.length;
    w.crash(0, true);
    (w.nodes[0].disk.files(), length)
}

fn open(files: &Files) -> Result<u64, OpenError> {
    JournalCore::open(config(0), files.clone(), 0).map(|(core, _)| core.log().length())
}

#[test]
fn p12_a_flipped_bit_anywhere_is_refused_once_the_copy_is_settled() {
    let (files, length) = files(1_000);
    assert!(files.keys().filter(|f| f.starts_with("seg-")).count() > 2);
    assert_eq!(open(&files), Ok(length));
    for (name, bytes) in &files {
        for at in 0..bytes.len() {
            let mut damaged = files.clone();
            damaged.get_mut(name).unwrap()[at] ^= 1 << (at % 8);
            assert!(open(&damaged).is_err(), "{name}: byte {at} was damaged and nobody noticed");
        }
    }
}

#[test]
fn p12_before_it_is_settled_only_the_last_batch_can_be_taken_for_torn() {
    let (files, length) = files(0);
    for (name, bytes) in &files {
        for at in 0..bytes.len() {
            let mut damaged = files.clone();
            damaged.get_mut(name).unwrap()[at] ^= 0x10;
            match open(&damaged) {
                Err(_) => {}
                Ok(found) => assert!(found + 1 >= length, "{name}: byte {at}: only {found} of {length} left"),
            }
        }
    }
}

#[test]
fn p12_a_cut_file_is_refused_below_what_was_durable() {
    let (files, length) = files(1_000);
    for (name, bytes) in &files {
        for at in 0..bytes.len() {
            let mut cut = files.clone();
            cut.get_mut(name).unwrap().truncate(at);
            assert!(open(&cut).is_err(), "{name} cut to {at} bytes was opened");
        }
        let mut missing = files.clone();
        missing.remove(name);
        assert!(open(&missing).is_err(), "{name} is missing and nobody noticed");
        let mut longer = files.clone();
        longer.get_mut(name).unwrap().extend([0, 0, 0]);
        let last = name.starts_with("seg-") && files.keys().rfind(|f| f.starts_with("seg-")) == Some(name);
        assert_eq!(open(&longer).is_ok(), last, "{name} with a torn tail");
        assert!(!last || open(&longer) == Ok(length));
    }
}

#[test]
fn an_unknown_version_is_refused_with_both_numbers() {
    let (files, _) = files(1_000);
    let mut newer = files.clone();
    newer.get_mut("meta").unwrap()[0] = 9;
    let text = open(&newer).unwrap_err().to_string();
    assert!(text.contains("version 9") && text.contains("version 1"), "{text}");
    let mut newer = files;
    newer.get_mut(&segment_name(0)).unwrap()[8] = 7;
    let text = open(&newer).unwrap_err().to_string();
    assert!(text.contains("version 7") && text.contains("version 1"), "{text}");
}

#[test]
fn r11_another_copy_is_refused() {
    let (files, _) = files(1_000);
    let other = Config::new(store(), slot(0), CopyGeneration(2));
    assert!(matches!(JournalCore::open(other, files.clone(), 0), Err(OpenError::OtherCopy { .. })));
    let other = Config::new(store(), slot(1), CopyGeneration(1));
    assert!(matches!(JournalCore::open(other, files, 0), Err(OpenError::OtherCopy { .. })));
}

#[test]
fn p12_a_torn_tail_is_cut_on_disk_before_anything_is_written_behind_it() {
    let mut w = World::with_master(1, 3, 0);
    w.must_append(0, 1, "w1", 1);
    w.crash(0, true);
    let whole = w.nodes[0].disk.files();
    let mut torn = whole.clone();
    torn.get_mut(&segment_name(0)).unwrap().extend([9; 300]);
    w.nodes[0].disk = Disk::new(torn);
    w.start(0).unwrap();
    assert_eq!(w.nodes[0].disk.files()[&segment_name(0)], whole[&segment_name(0)]);
}

/// A master whose last batch, of many records, was written but never acknowledged; how many records were before it.
fn long_batch() -> (Vec<u8>, Files, usize, u64) {
    long_batch_of(|n| format!("w1 {n}").into_bytes())
}

fn long_batch_of(payload: fn(u64) -> Vec<u8>) -> (Vec<u8>, Files, usize, u64) {
    let mut w = World::with_master(1, 1, 0);
    w.crash(0, false);
    w.segment_bytes = 1 << 20;
    w.start(0).unwrap();
    w.control(0, slot_types::engine::EngineCall::StartMaster { epoch: E(1), sync_copies: 0 }).unwrap();
    for n in 1..=20 {
        w.must_append(0, 1, "w1", n);
    }
    let before = w.status(0).tip.position.length;
    let short = w.nodes[0].disk.files()[&segment_name(0)].len();
    // The first goes alone; all others wait for it and make one batch.
    for n in 21..=90 {
        let append = Append { store: store(), epoch: E(1), id: id("w1", n), payload: payload(n) };
        let request = w.request();
        w.step(0, Event::Append { request, append, budget_ms: 2_000 });
    }
    while w.status(0).tip.position.length < before + 70 {
        w.run(1);
    }
    w.crash(0, false);
    let files = w.nodes[0].disk.files();
    let segment = files[&segment_name(0)].clone();
    assert!(segment.len() > short + 4 * 512);
    (segment, files, short, before + 1)
}

/// Found by the simulator, seeds 234 and 9193: a file system may write the end of an unsynced batch and not its middle.
#[test]
fn p12_a_hole_in_a_batch_that_was_never_synced_is_cut() {
    let (segment, mut files, short, before) = long_batch();
    let mut cut = 0;
    for sector in (short + 200) / 512 + 1..segment.len() / 512 - 1 {
        let mut hole = segment.clone();
        hole[sector * 512..(sector + 1) * 512].fill(0);
        files.insert(segment_name(0), hole);
        let found = open(&files).unwrap_or_else(|e| panic!("a hole at sector {sector}: {e}"));
        assert!((before..before + 69).contains(&found), "sector {sector}: {found} records");
        cut += 1;
    }
    assert!(cut > 2);
}

#[test]
fn p12_a_hole_below_what_was_durable_is_refused() {
    let (segment, mut files, short, _) = long_batch();
    for sector in 1..short / 512 {
        let mut hole = segment.clone();
        hole[sector * 512..(sector + 1) * 512].fill(0);
        files.insert(segment_name(0), hole);
        assert!(open(&files).is_err(), "a hole at sector {sector} was taken for torn");
    }
}

#[test]
fn p12_a_flipped_bit_in_the_middle_of_the_last_batch_is_refused() {
    let (segment, mut files, short, _) = long_batch();
    for at in short + 200..segment.len() - 100 {
        let mut damaged = segment.clone();
        damaged[at] ^= 1 << (at % 8);
        files.insert(segment_name(0), damaged);
        assert!(open(&files).is_err(), "byte {at} was damaged and nobody noticed");
    }
}

/// A client's zeros are no hole: whatever else is wrong with their frame is damage.
#[test]
fn p12_a_flipped_bit_among_zeros_is_refused() {
    let (segment, mut files, short, _) = long_batch_of(|n| vec![0; 300 + 7 * n as usize]);
    for at in (short + 200..segment.len() - 1_000).step_by(17) {
        let mut damaged = segment.clone();
        damaged[at] ^= 1 << (at % 8);
        files.insert(segment_name(0), damaged);
        assert!(open(&files).is_err(), "byte {at} was damaged and nobody noticed");
    }
}
