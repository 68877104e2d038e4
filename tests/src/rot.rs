//! Disks that hold other records than were written there.
//!
//! What always holds: only a file of a copy's newest segment is changed, in place; the frame stays whole, so that the engine that
//! reads it has no reason to doubt it but its master.

use crate::Outcome;
use crate::cluster::Cluster;
use slot_engine::journal::core::{Body, Config, FRAME_HEAD, Record, frame_bytes, salt, segment_base};
use slot_types::ids::{CopyGeneration, SlotId, StoreName};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Magic, version, length and CRC of a segment's header.
const HEADER_FIXED: usize = 8 + 2 + 4 + 4;

/// Where a record's frame lies in a segment file.
#[derive(Debug)]
pub struct Place {
    /// The record's index.
    pub index: u64,
    /// Where its frame begins.
    pub start: usize,
    /// The record's bytes.
    pub body: Vec<u8>,
}

fn number(bytes: &[u8], at: usize) -> Outcome<usize> {
    let four = bytes.get(at..at + 4).and_then(|four| four.try_into().ok()).ok_or("the file ends too early")?;
    Ok(usize::try_from(u32::from_le_bytes(four))?)
}

/// Every frame of the newest segment in a copy's folder.
pub fn frames(dir: &Path) -> Outcome<(PathBuf, u64, Vec<Place>)> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(dir)?.flatten().map(|entry| entry.path()).collect();
    files.sort();
    let base = |path: &PathBuf| segment_base(path.file_name()?.to_str()?);
    let (file, base) = files.iter().rev().find_map(|path| Some((path.clone(), base(path)?))).ok_or("no segment")?;
    let bytes = std::fs::read(&file)?;
    let mut at = HEADER_FIXED + number(&bytes, 10)?;
    let mut places = Vec::new();
    while at < bytes.len() {
        let end = at + FRAME_HEAD + number(&bytes, at)?;
        let body = bytes.get(at + FRAME_HEAD..end).ok_or("a frame is cut short")?.to_vec();
        places.push(Place { index: base + places.len() as u64, start: at, body });
        at = end;
    }
    Ok((file, base, places))
}

/// The replica's slot of a store of two copies, and its copy's folder.
pub fn replica(cluster: &Cluster, store: &str) -> Outcome<(String, PathBuf)> {
    let master = cluster.master_of(store)?;
    let slot = cluster.copies_of(store)?.into_iter().find(|slot| *slot != master).ok_or("no replica")?;
    let dir = cluster.engine_on(&slot)?.dir;
    Ok((slot, dir))
}

/// Puts another payload into the last record of a copy whose engine does not run; answers the record's index.
pub fn rewrite_last(store: &str, slot: &str, dir: &Path) -> Outcome<u64> {
    let (file, base, places) = frames(dir)?;
    let data = |place: &&Place| matches!(Record::from_bytes(&place.body), Ok(Record { body: Body::Data { .. }, .. }));
    let last = places.iter().rev().find(data).ok_or("no record of a client")?;
    let mut record = Record::from_bytes(&last.body)?;
    let Body::Data { payload, .. } = &mut record.body else { return Err("a start of an epoch".into()) };
    *payload.first_mut().ok_or("an empty payload")? ^= 1;
    let generation = dir.file_name().and_then(|name| name.to_str()?.rsplit_once("-g")?.1.parse().ok());
    let generation = CopyGeneration(generation.ok_or("no generation")?);
    let config = Config::new(StoreName::new(store)?, slot.parse::<SlotId>()?, generation);
    let mut frame = Vec::new();
    frame_bytes(salt(&config, base), last.index, last.index, &record.to_bytes(), &mut frame);
    std::fs::OpenOptions::new().write(true).open(&file)?.write_all_at(&frame, last.start as u64)?;
    Ok(last.index)
}
