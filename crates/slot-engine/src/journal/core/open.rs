//! From files to a core.
//!
//! What always holds: nothing acknowledged is ever cut. Only the end of the last segment may be torn, and only beyond
//! every length known to be durable: that in `meta`, those in the frames, the base of the last segment (P12). The last
//! batch before a crash is known only by itself until `meta` is settled (`settle_ms` after the last write): damage to
//! the very last frame within that time looks like a torn write, and so does a sector of zeros anywhere in that batch.

use super::api::{Config, DiskOp, Effect};
use super::log::{Log, Segment};
use super::meta::{META, Meta};
use super::record::Record;
use super::segment::{Scan, SegmentError, cuts_the_unreadable, header_bytes, scan, segment_base, segment_name};
use super::{JournalCore, VecDeque};
use slot_planted::planted;
use slot_types::codec::CodecError;
use slot_types::engine::EngineRole;
use slot_types::position::Digest;
use std::collections::BTreeMap;

/// Why a copy was not opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// There is no `meta`.
    #[error("opening the copy: there is no file {META} in its folder; was it ever provisioned?")]
    NoMeta,
    /// `meta` can't be read.
    #[error("opening the copy: {0}")]
    Meta(#[from] CodecError),
    /// `meta` is of another copy.
    #[error("opening the copy: the folder holds {found}; give the right folder")]
    OtherCopy {
        /// What it holds.
        found: String,
    },
    /// A file of the log can't be used.
    #[error("opening the copy: {0}")]
    Segment(#[from] SegmentError),
    /// Files contradict each other.
    #[error("opening the copy: {file}: {detail}; rebuild this copy from another one")]
    Contradiction {
        /// The file.
        file: String,
        /// How.
        detail: String,
    },
    /// The log is shorter than what was durable (P12).
    #[error(
        "opening the copy: the log has {have} records but {known} were durable; rebuild this copy from another one"
    )]
    LostTail {
        /// Records found.
        have: u64,
        /// Records known to have been durable.
        known: u64,
    },
}

/// The files of a copy just provisioned.
pub fn fresh_files(config: &Config) -> BTreeMap<String, Vec<u8>> {
    let meta = Meta::new(config.store.clone(), config.slot.clone(), config.generation);
    BTreeMap::from([(META.to_string(), meta.to_bytes()), (segment_name(0), header_bytes(config, 0, Digest::default()))])
}

struct Opening<'a> {
    config: &'a Config,
    meta: Meta,
    log: Log,
    ops: Vec<DiskOp>,
    /// The highest length known to have been durable.
    known: u64,
}

impl Opening<'_> {
    fn contradiction(file: &str, detail: impl Into<String>) -> OpenError {
        OpenError::Contradiction { file: file.into(), detail: detail.into() }
    }

    fn add_segment(&mut self, file: &str, bytes: &[u8], is_last: bool) -> Result<(), OpenError> {
        let found: Scan = scan(self.config, file, bytes, self.meta.truncating)?;
        let base = found.header.base;
        if segment_base(file) != Some(base) || base != self.log.length() {
            return Err(Self::contradiction(
                file,
                format!("it begins at record {base}, {} belongs there", self.log.length()),
            ));
        }
        if found.header.digest != self.log.digest_at(base) {
            return Err(Self::contradiction(file, "the records before it are not those it was begun after"));
        }
        self.known = self.known.max(base);
        if let Some(detail) = found.torn.filter(|_| !is_last) {
            return Err(SegmentError::Damaged { file: file.into(), offset: found.good_end, detail }.into());
        }
        for frame in found.frames {
            let record = Record::from_bytes(&frame.body).map_err(|e| Self::contradiction(file, e))?;
            self.log.accepts(&record).map_err(|e| Self::contradiction(file, e))?;
            if record.epoch > self.meta.epoch {
                let detail = format!(
                    "record {} is of epoch {}, but {META} holds {}",
                    frame.index, record.epoch, self.meta.epoch
                );
                return Err(Self::contradiction(file, detail));
            }
            self.known = self.known.max(frame.durable);
            self.log.push(&record, frame.body);
        }
        self.log.segments.push(Segment { base, body_start: found.body_start, end: found.good_end });
        if is_last {
            if (bytes.len() as u64) > found.good_end {
                self.ops.push(DiskOp::Truncate { file: file.into(), length: found.good_end });
            }
            // A killed process may have left pages that no fsync covers yet.
            self.ops.push(DiskOp::Fsync { file: file.into() });
        }
        Ok(())
    }

    fn add_segments(&mut self, files: &BTreeMap<String, Vec<u8>>) -> Result<(), OpenError> {
        let mut names: Vec<(u64, &String)> =
            files.keys().filter_map(|name| Some((segment_base(name)?, name))).collect();
        names.sort_unstable();
        if let Some(to) = self.meta.truncating {
            // R7: the suffix is in its aside file and `meta` says so; go on cutting where the crash interrupted.
            let dropped: Vec<&String> =
                names.iter().filter(|(base, _)| *base >= to && *base > 0).map(|(_, n)| *n).collect();
            self.ops.extend(dropped.iter().rev().map(|file| DiskOp::Remove { file: (*file).clone() }));
            names.retain(|(base, _)| *base < to || *base == 0);
        }
        let last = names
            .last()
            .map(|(_, name)| *name)
            .ok_or_else(|| Self::contradiction(&segment_name(0), "it is missing"))?;
        for (_, name) in &names {
            let bytes = files.get(*name).map_or(&[][..], Vec::as_slice);
            self.add_segment(name, bytes, *name == last)?;
        }
        Ok(())
    }

    fn asides(&mut self, files: &BTreeMap<String, Vec<u8>>) -> Result<BTreeMap<String, Vec<Record>>, OpenError> {
        let mut asides = BTreeMap::new();
        for aside in &self.meta.aside {
            let bytes = files.get(&aside.file).ok_or_else(|| Self::contradiction(&aside.file, "it is missing"))?;
            let found = scan(self.config, &aside.file, bytes, None)?;
            if found.torn.is_some() || found.header.base != aside.base || found.frames.len() as u64 != aside.records {
                return Err(Self::contradiction(&aside.file, "it does not hold the records put aside"));
            }
            let records: Result<Vec<Record>, String> =
                found.frames.iter().map(|f| Record::from_bytes(&f.body)).collect();
            let records = records.map_err(|e| Self::contradiction(&aside.file, e))?;
            asides.insert(aside.file.clone(), records.into_iter().filter(|r| r.data_id().is_some()).collect());
        }
        let is_leftover =
            |name: &String| name.ends_with(".next") || (name.starts_with("aside-") && !asides.contains_key(name));
        self.ops.extend(files.keys().filter(|n| is_leftover(n)).map(|file| DiskOp::Remove { file: file.clone() }));
        Ok(asides)
    }
}

impl JournalCore {
    /// Opens a copy from the bytes of its files. It serves nothing until the returned disk operation is done.
    pub fn open(
        config: Config,
        files: BTreeMap<String, Vec<u8>>,
        now_ms: u64,
    ) -> Result<(JournalCore, Vec<Effect>), OpenError> {
        let meta = Meta::from_bytes(files.get(META).ok_or(OpenError::NoMeta)?)?;
        if (&meta.store, &meta.slot, meta.generation) != (&config.store, &config.slot, config.generation) {
            return Err(OpenError::OtherCopy { found: format!("{} on {} {}", meta.store, meta.slot, meta.generation) });
        }
        let mut opening = Opening { config: &config, known: meta.durable, meta, log: Log::default(), ops: Vec::new() };
        let asides = opening.asides(&files)?;
        opening.add_segments(&files)?;
        let Opening { mut meta, log, mut ops, known, .. } = opening;
        let known = meta.truncating.unwrap_or(known);
        if log.length() < known && !planted("p12-lost-tail-opened") && !cuts_the_unreadable() {
            return Err(OpenError::LostTail { have: log.length(), known });
        }
        ops.push(DiskOp::FsyncDir);
        if let Some(to) = meta.truncating.take() {
            meta.durable = to;
            ops.extend(meta.write_ops());
        }
        let mut core = Self::from_parts(config, meta, log, asides, now_ms);
        core.emit_disk(ops);
        let effects = std::mem::take(&mut core.out);
        Ok((core, effects))
    }

    fn from_parts(config: Config, meta: Meta, log: Log, asides: BTreeMap<String, Vec<Record>>, now: u64) -> Self {
        Self {
            epoch_durable: meta.epoch,
            config,
            meta,
            meta_version: 0,
            meta_durable: 0,
            log,
            role: EngineRole::Idle,
            ready: false,
            dead: false,
            leaving: false,
            now,
            out: Vec::new(),
            disk: None,
            next_op: 1,
            next_call: 1,
            held: VecDeque::new(),
            held_bytes: 0,
            waiting: Vec::new(),
            frozen: None,
            sync_copies: 0,
            followers: BTreeMap::new(),
            polls: Vec::new(),
            reads: Vec::new(),
            barriers: Vec::new(),
            promotion: None,
            pulling: None,
            catch_ups: Vec::new(),
            asides,
            tasks: Vec::new(),
            verify: None,
            served: Vec::new(),
            settle_at: None,
            armed: None,
        }
    }
}
