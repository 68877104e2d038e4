//! The log in memory and where each record lies on disk.
//!
//! What always holds: the chain digest of n records is that of n-1 records chained with the n-th's canonical bytes; what
//! is below `durable` was fsynced; ids are a set, never a high-water mark (R21). All records and one digest (32 bytes)
//! each are kept in memory, so that every length's tip can be answered and no read touches the disk; `log_bytes_max`
//! bounds it.

use super::api::{Config, DiskOp, DiskPiece};
use super::meta::{Aside, Meta};
use super::record::{Body, Record};
use super::segment::{FRAME_HEAD, frame_at, frame_bytes, header_bytes, salt, segment_name};
use slot_planted::planted;
use slot_types::ids::{ClientName, Epoch, RecordId};
use slot_types::position::{Digest, EpochStart, Position, Tip};
use std::collections::BTreeMap;

/// A record as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its canonical bytes.
    pub bytes: Vec<u8>,
    /// The chain digest including it.
    pub digest: Digest,
}

/// A segment file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Index of its first record.
    pub base: u64,
    /// Where its frames begin.
    pub body_start: u64,
    /// Where its frames end.
    pub end: u64,
}

/// The log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Log {
    entries: Vec<Entry>,
    ids: BTreeMap<ClientName, BTreeMap<u64, u64>>,
    history: Vec<EpochStart>,
    /// The files, by base; never empty once opened.
    pub segments: Vec<Segment>,
    /// How many records are durable.
    pub durable: u64,
    /// Bytes of all frames.
    pub bytes: u64,
}

impl Log {
    /// How many records there are, durable or not.
    pub fn length(&self) -> u64 {
        self.entries.len() as u64
    }

    /// Whether everything is durable.
    pub fn is_quiet(&self) -> bool {
        self.durable == self.length()
    }

    /// The history of all records.
    pub fn history(&self) -> &[EpochStart] {
        &self.history
    }

    /// The history of the first `length` records.
    pub fn history_at(&self, length: u64) -> Vec<EpochStart> {
        self.history.iter().filter(|line| line.start < length).copied().collect()
    }

    /// The epoch of the last record.
    pub fn last_epoch(&self) -> Epoch {
        self.history.last().map_or(Epoch::ZERO, |line| line.epoch)
    }

    /// The chain digest of the first `length` records.
    pub fn digest_at(&self, length: u64) -> Digest {
        match length.checked_sub(1) {
            None => Digest::default(),
            Some(last) => self.entry(last).map_or(Digest::default(), |entry| entry.digest),
        }
    }

    /// Position and digest of the first `length` records.
    pub fn tip_at(&self, length: u64) -> Tip {
        let length = length.min(self.length());
        let epoch = self.history.iter().rev().find(|line| line.start < length).map_or(Epoch::ZERO, |line| line.epoch);
        Tip { position: Position { epoch, length }, digest: self.digest_at(length) }
    }

    /// Where the durable log ends.
    pub fn durable_tip(&self) -> Tip {
        self.tip_at(self.durable)
    }

    /// One record.
    pub fn entry(&self, index: u64) -> Option<&Entry> {
        self.entries.get(usize::try_from(index).ok()?)
    }

    /// One record, decoded.
    pub fn record(&self, index: u64) -> Option<Record> {
        Record::from_bytes(&self.entry(index)?.bytes).ok()
    }

    /// Where the record of that id is.
    pub fn find(&self, id: &RecordId) -> Option<u64> {
        let sequences = self.ids.get(&id.client)?;
        if planted("r21-record-high-water") {
            return sequences.range(id.sequence..).next().map(|(_, index)| *index);
        }
        sequences.get(&id.sequence).copied()
    }

    /// Where the frames of records `from..to` lie on disk, one piece for each.
    pub fn pieces(&self, from: u64, to: u64) -> Vec<DiskPiece> {
        let to = to.min(self.length());
        let mut pieces = Vec::new();
        let first = self.segments.partition_point(|segment| segment.base <= from).saturating_sub(1);
        for (number, segment) in self.segments.iter().enumerate().skip(first) {
            let end = self.segments.get(number + 1).map_or(to, |next| next.base.min(to));
            let mut offset = segment.body_start;
            for index in segment.base..end {
                let Some(entry) = self.entry(index) else { return pieces };
                let length = (FRAME_HEAD + entry.bytes.len()) as u64;
                if index >= from {
                    pieces.push(DiskPiece { file: segment_name(segment.base), offset, length });
                }
                offset += length;
            }
        }
        pieces
    }

    /// The record that a frame read from the disk holds, if it is whole and belongs there.
    pub fn frame(&self, config: &Config, index: u64, bytes: &[u8]) -> Option<Vec<u8>> {
        let segment = self.segments.iter().rev().find(|segment| segment.base <= index)?;
        let frame = frame_at(salt(config, segment.base), bytes, 0)?;
        (frame.index == index && frame.end == bytes.len() as u64).then_some(frame.body)
    }

    /// Whether that record may be the next one.
    pub fn accepts(&self, record: &Record) -> Result<(), String> {
        let last = self.last_epoch();
        match record.body {
            Body::EpochStart if record.epoch > last => Ok(()),
            Body::EpochStart => Err(format!("an epoch start of {} after records of {last}", record.epoch)),
            Body::Data { .. } if record.epoch == last && last > Epoch::ZERO => Ok(()),
            Body::Data { .. } => Err(format!("a record of epoch {} after records of {last}", record.epoch)),
        }
    }

    /// Puts a record at the end, in memory only.
    pub fn push(&mut self, record: &Record, bytes: Vec<u8>) {
        let index = self.length();
        match &record.body {
            Body::EpochStart => self.history.push(EpochStart { epoch: record.epoch, start: index }),
            Body::Data { id, .. } => {
                self.ids.entry(id.client.clone()).or_default().entry(id.sequence).or_insert(index);
            }
        }
        let digest = self.digest_at(index).chain(&bytes);
        self.bytes += (FRAME_HEAD + bytes.len()) as u64;
        self.entries.push(Entry { bytes, digest });
    }

    /// Removes records from `to` on, in memory only.
    pub fn cut(&mut self, to: u64) {
        while self.length() > to {
            let Some(entry) = self.entries.pop() else { return };
            let index = self.entries.len() as u64;
            self.bytes = self.bytes.saturating_sub((FRAME_HEAD + entry.bytes.len()) as u64);
            if let Ok(Record { body: Body::Data { id, .. }, .. }) = Record::from_bytes(&entry.bytes)
                && let Some(sequences) = self.ids.get_mut(&id.client)
                && sequences.get(&id.sequence) == Some(&index)
            {
                sequences.remove(&id.sequence);
            }
        }
        self.history.retain(|line| line.start < to);
        self.durable = self.durable.min(to);
    }

    /// The operations that make records from `from` on durable: frames into the last segment, or into new ones when it is
    /// long enough. A new segment is begun only when all before it is in the same operation's past (its Fsync comes first).
    pub fn append_ops(&mut self, config: &Config, from: u64) -> Vec<DiskOp> {
        let mut ops = Vec::new();
        let mut frames = Vec::new();
        for index in from..self.length() {
            let Some(mut segment) = self.segments.last().cloned() else { return ops };
            if segment.end + frames.len() as u64 >= config.segment_bytes
                && segment.end + frames.len() as u64 > segment.body_start
            {
                self.flush(&mut ops, &mut frames);
                segment = self.begin_segment(config, index, &mut ops);
            }
            if let Some(entry) = self.entry(index) {
                frame_bytes(salt(config, segment.base), index, self.durable, &entry.bytes, &mut frames);
            }
        }
        self.flush(&mut ops, &mut frames);
        ops
    }

    fn flush(&mut self, ops: &mut Vec<DiskOp>, frames: &mut Vec<u8>) {
        let Some(segment) = self.segments.last_mut().filter(|_| !frames.is_empty()) else { return };
        let file = segment_name(segment.base);
        let bytes = std::mem::take(frames);
        let offset = segment.end;
        segment.end += bytes.len() as u64;
        ops.push(DiskOp::Write { file: file.clone(), offset, bytes });
        ops.push(DiskOp::Fsync { file });
    }

    /// A header is whole or not there: temporary name, fsync, rename, fsync of the folder (P10).
    fn begin_segment(&mut self, config: &Config, base: u64, ops: &mut Vec<DiskOp>) -> Segment {
        let header = header_bytes(config, base, self.digest_at(base));
        let segment = Segment { base, body_start: header.len() as u64, end: header.len() as u64 };
        ops.extend(new_file_ops(&segment_name(base), header));
        self.segments.push(segment.clone());
        segment
    }

    /// The operations that put records from `to` on into an aside file and then remove them from the log, in an order that
    /// any crash may interrupt: the aside file, `meta` with the intent, the cut, `meta` without it (R7, P10).
    pub fn truncate_ops(&mut self, config: &Config, meta: &mut Meta, aside: Aside) -> Vec<DiskOp> {
        let to = aside.base;
        let mut bytes = header_bytes(config, to, self.digest_at(to));
        for index in to..self.length() {
            if let Some(entry) = self.entry(index) {
                frame_bytes(salt(config, to), index, self.durable, &entry.bytes, &mut bytes);
            }
        }
        let mut ops = new_file_ops(&aside.file, bytes);
        meta.aside.push(aside);
        meta.truncating = Some(to);
        ops.extend(meta.write_ops());
        ops.extend(self.cut_ops(to));
        self.cut(to);
        meta.truncating = None;
        meta.durable = to;
        ops.extend(meta.write_ops());
        ops
    }

    /// The operations that cut the files to `to` records; forgets the segments behind it.
    pub fn cut_ops(&mut self, to: u64) -> Vec<DiskOp> {
        let mut ops = Vec::new();
        while self.segments.len() > 1 && self.segments.last().is_some_and(|s| s.base >= to) {
            if let Some(segment) = self.segments.pop() {
                ops.push(DiskOp::Remove { file: segment_name(segment.base) });
            }
        }
        if let Some(last) = self.segments.last() {
            let frames: u64 =
                (last.base..to).filter_map(|i| self.entry(i)).map(|e| (FRAME_HEAD + e.bytes.len()) as u64).sum();
            let (base, end) = (last.base, last.body_start + frames);
            let file = segment_name(base);
            ops.push(DiskOp::Truncate { file: file.clone(), length: end });
            ops.push(DiskOp::Fsync { file });
            if let Some(last) = self.segments.last_mut() {
                last.end = end;
            }
        }
        ops.push(DiskOp::FsyncDir);
        ops
    }
}

/// Makes a whole file under a temporary name and renames it.
pub fn new_file_ops(file: &str, bytes: Vec<u8>) -> Vec<DiskOp> {
    let next = format!("{file}.next");
    vec![
        DiskOp::Remove { file: next.clone() },
        DiskOp::Write { file: next.clone(), offset: 0, bytes },
        DiskOp::Fsync { file: next.clone() },
        DiskOp::Rename { from: next, to: file.into() },
        DiskOp::FsyncDir,
    ]
}
