//! A journal's folder: what was written, and what of it is durable.
//!
//! What always holds: a crash keeps everything durable and a seeded subset of the writes that were not; the last of them
//! may be torn.

use crate::queue::Stream;
use slot_engine::journal::core::DiskOp;
use std::collections::BTreeMap;

type Files = BTreeMap<String, Vec<u8>>;

/// One folder.
#[derive(Clone, Default)]
pub struct Folder {
    /// As a running process sees it.
    live: Files,
    /// As it is after the last FsyncDir and Fsyncs.
    durable: Files,
    /// Writes since the file's last Fsync.
    unsynced: Vec<DiskOp>,
}

impl Folder {
    /// A folder whose files are all durable.
    pub fn new(files: Files) -> Self {
        Self { durable: files.clone(), live: files, unsynced: Vec::new() }
    }
    /// Its files, as a process that opens it now sees them.
    pub fn files(&self) -> Files {
        self.live.clone()
    }
    /// Carries out one operation.
    pub fn carry_out(&mut self, op: &DiskOp) {
        perform(&mut self.live, op);
        match op {
            DiskOp::Fsync { file } => {
                self.unsynced.retain(|op| touched(op) != Some(file));
                if let Some(bytes) = self.live.get(file) {
                    self.durable.insert(file.clone(), bytes.clone());
                }
            }
            DiskOp::FsyncDir => {
                self.durable.retain(|name, _| self.live.contains_key(name));
                let entries =
                    self.unsynced.iter().filter(|op| matches!(op, DiskOp::Rename { .. } | DiskOp::Remove { .. }));
                for op in entries.cloned().collect::<Vec<_>>() {
                    perform(&mut self.durable, &op);
                }
                for (name, bytes) in &self.live {
                    let dirty = self.unsynced.iter().any(|op| touched(op) == Some(name));
                    if !dirty {
                        self.durable.insert(name.clone(), bytes.clone());
                    }
                }
                self.unsynced.retain(|op| !matches!(op, DiskOp::Rename { .. } | DiskOp::Remove { .. }));
            }
            _ => self.unsynced.push(op.clone()),
        }
    }
    /// The process died with the machine up: the page cache keeps what was written.
    pub fn process_died(&mut self) {}
    /// The power failed.
    pub fn power_failed(&mut self, faults: &mut Stream) {
        let mut files = self.durable.clone();
        for op in std::mem::take(&mut self.unsynced) {
            match op {
                DiskOp::Write { file, offset, mut bytes } if faults.one_in(2) => {
                    let keep = faults.within(0, bytes.len() as u64) as usize;
                    bytes.truncate(keep);
                    perform(&mut files, &DiskOp::Write { file, offset, bytes });
                }
                DiskOp::Rename { .. } | DiskOp::Remove { .. } | DiskOp::Truncate { .. } if faults.one_in(2) => {
                    perform(&mut files, &op);
                }
                _ => {}
            }
        }
        self.live = files.clone();
        self.durable = files;
    }
}

fn touched(op: &DiskOp) -> Option<&String> {
    match op {
        DiskOp::Write { file, .. } | DiskOp::Truncate { file, .. } => Some(file),
        _ => None,
    }
}

fn perform(files: &mut Files, op: &DiskOp) {
    match op {
        DiskOp::Write { file, offset, bytes } => {
            let content = files.entry(file.clone()).or_default();
            let (start, end) = (*offset as usize, *offset as usize + bytes.len());
            if content.len() < end {
                content.resize(end, 0);
            }
            content[start..end].copy_from_slice(bytes);
        }
        DiskOp::Rename { from, to } => {
            if let Some(content) = files.remove(from) {
                files.insert(to.clone(), content);
            }
        }
        DiskOp::Remove { file } => drop(files.remove(file)),
        DiskOp::Truncate { file, length } => {
            if let Some(content) = files.get_mut(file) {
                content.truncate(*length as usize);
            }
        }
        DiskOp::Fsync { .. } | DiskOp::FsyncDir => {}
    }
}
