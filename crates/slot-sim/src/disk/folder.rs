//! A journal's folder: what was written, and what of it is durable.
//!
//! What always holds: a file's bytes are durable by its Fsync, its name by FsyncDir, and neither by the other's; a power
//! failure keeps an arbitrary subset of the changes of names and, within each file, of the writes.

use super::fault::{DiskFailed, DiskFault, Faults, Lands, OpKind};
use super::layers::{Layers, subset};
use super::pages::Pages;
use crate::queue::Stream;
use slot_engine::journal::core::{DiskOp, DiskPiece};
use std::collections::{BTreeMap, BTreeSet};

type Files = BTreeMap<String, Vec<u8>>;
type Names = BTreeMap<String, u64>;

/// A change of names; files go by number, so that a rename takes along the file it meant.
#[derive(Clone)]
enum Entry {
    Made { name: String, file: u64 },
    Renamed { from: String, to: String, file: u64 },
    Removed { name: String, file: u64 },
}

impl Entry {
    fn apply(&self, names: &mut Names) {
        let forget = |names: &mut Names, name: &String, file: u64| {
            if names.get(name) == Some(&file) {
                names.remove(name);
            }
        };
        match self {
            Self::Made { name, file } => drop(names.insert(name.clone(), *file)),
            Self::Renamed { from, to, file } => {
                forget(names, from, *file);
                names.insert(to.clone(), *file);
            }
            Self::Removed { name, file } => forget(names, name, *file),
        }
    }
}

/// A folder's files at some moment; cheap to keep, to clone and to put back.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct FolderImage(BTreeMap<String, Pages>);

/// One folder.
#[derive(Clone, Default)]
pub struct Folder {
    files: BTreeMap<u64, Layers>,
    next: u64,
    /// Names as a running process sees them.
    live: Names,
    /// Names as of the last FsyncDir.
    durable: Names,
    /// Changes of names since.
    entries: Vec<Entry>,
    faults: Faults,
    lies: bool,
}

impl Folder {
    /// A folder whose files are all durable.
    pub fn new(files: Files) -> Self {
        let files = files.into_iter().map(|(name, bytes)| (name, Pages::from_bytes(&bytes))).collect();
        Self::from_snapshot(&FolderImage(files))
    }
    /// A folder with this content, all durable, sharing its pages.
    pub fn from_snapshot(image: &FolderImage) -> Self {
        let mut folder = Self::default();
        folder.fill(image);
        folder
    }
    /// Its files, as a process that opens it now sees them.
    pub fn files(&self) -> Files {
        self.content(&self.live, |layers| layers.live_pages().to_vec())
    }
    /// Pieces of its files, as the running process sees them.
    pub fn read(&self, pieces: &[DiskPiece]) -> Vec<Option<Vec<u8>>> {
        let files = self.files();
        let read = |piece: &DiskPiece| {
            let (start, end) = (usize::try_from(piece.offset).ok()?, usize::try_from(piece.length).ok()?);
            files.get(&piece.file)?.get(start..start + end).map(<[u8]>::to_vec)
        };
        pieces.iter().map(read).collect()
    }
    /// Its files as far as they are durable.
    pub fn durable_files(&self) -> Files {
        self.content(&self.durable, |layers| layers.durable_pages().to_vec())
    }
    /// Its content as a process sees it, to put back later or to clone the folder.
    pub fn snapshot(&self) -> FolderImage {
        FolderImage(self.content(&self.live, |layers| layers.live_pages().clone()))
    }
    /// An old disk is put back: this is the durable content now.
    pub fn put_back(&mut self, image: &FolderImage) {
        self.faults.buried();
        self.fill(image);
    }
    /// The folder is empty now.
    pub fn wipe(&mut self) {
        self.put_back(&FolderImage::default());
    }

    /// Carries out one operation, past any fault.
    pub fn carry_out(&mut self, op: &DiskOp) {
        // Nothing but a rename of a file that is not there can fail, and that changes nothing.
        let _ = self.perform(op, Lands::Whole);
    }
    /// Carries out one operation, unless a fault has it otherwise. After an error the process ends (P11); after
    /// [`DiskFailed::Crashed`], or when `crashed` says so, it is dead already.
    pub fn try_carry_out(&mut self, op: &DiskOp) -> Result<(), DiskFailed> {
        let verdict = self.faults.next(match op {
            DiskOp::Write { .. } | DiskOp::Rename { .. } => OpKind::Grows,
            DiskOp::Fsync { .. } | DiskOp::FsyncDir => OpKind::Syncs,
            DiskOp::Remove { .. } | DiskOp::Truncate { .. } => OpKind::Other,
        });
        let done = match op {
            DiskOp::Fsync { file } if verdict.fails == Some(DiskFailed::Io) => {
                if let Some(layers) = self.layers(file) {
                    layers.sync_failed(verdict.lands);
                }
                Ok(())
            }
            DiskOp::FsyncDir if verdict.fails == Some(DiskFailed::Io) => {
                for (number, entry) in std::mem::take(&mut self.entries).iter().enumerate() {
                    if verdict.lands.takes(number) {
                        entry.apply(&mut self.durable);
                    }
                }
                Ok(())
            }
            DiskOp::Fsync { .. } if verdict.fails.is_none() && std::mem::take(&mut self.lies) => Ok(()),
            _ => self.perform(op, verdict.lands),
        };
        verdict.result().and(done)
    }

    /// The next Fsync of a file says it is done and is not; the file's next one after it makes up for it. For a replica's
    /// disk only: a master's may not lie to one that lives on.
    pub fn lie_once(&mut self) {
        self.lies = true;
    }
    /// How many operations [`Folder::try_carry_out`] was asked for.
    pub fn ops(&self) -> u64 {
        self.faults.ops()
    }
    /// Sets the next fault, instead of any that has not happened.
    pub fn arm(&mut self, fault: DiskFault) {
        self.faults.arm(fault);
    }
    /// No fault and no lie from now on; a crash that happened stays.
    pub fn disarm(&mut self) {
        self.faults.disarm();
        self.lies = false;
    }
    /// How many operations went wrong by faults.
    pub fn fired(&self) -> u64 {
        self.faults.fired()
    }
    /// Whether the process died in an operation here; what it was about to say or do is dropped, whatever came back.
    pub fn crashed(&self) -> bool {
        self.faults.crashed()
    }
    /// Whether it was the power that failed in that operation; then `power_failed` is due, for the whole machine.
    pub fn power_lost(&self) -> bool {
        self.faults.power_lost()
    }
    /// Whether pages of a file or names count as clean and are not durable (P11).
    pub fn has_lost_pages(&self) -> bool {
        self.files.values().any(Layers::has_lost) || (self.entries.is_empty() && self.live != self.durable)
    }
    /// Whether a power failure could change anything.
    pub fn is_dirty(&self) -> bool {
        self.live != self.durable || self.files.values().any(Layers::is_dirty)
    }

    /// The process died with the machine up: the page cache keeps what was written.
    pub fn process_died(&mut self) {
        self.faults.buried();
    }
    /// The power failed.
    pub fn power_failed(&mut self, faults: &mut Stream) {
        self.faults.buried();
        let entries = std::mem::take(&mut self.entries);
        if !entries.is_empty() {
            let kept = subset(entries.len(), faults);
            for (entry, _) in entries.iter().zip(kept).filter(|(_, kept)| *kept) {
                entry.apply(&mut self.durable);
            }
        }
        self.live = self.durable.clone();
        self.forget_unnamed();
        for layers in self.files.values_mut() {
            layers.power_failed(faults);
        }
    }

    fn fill(&mut self, image: &FolderImage) {
        self.files.clear();
        self.entries.clear();
        self.live.clear();
        for (name, pages) in &image.0 {
            self.next += 1;
            self.files.insert(self.next, Layers::durable(pages.clone()));
            self.live.insert(name.clone(), self.next);
        }
        self.durable = self.live.clone();
    }

    fn content<T>(&self, names: &Names, of: impl Fn(&Layers) -> T) -> BTreeMap<String, T> {
        names.iter().filter_map(|(name, file)| Some((name.clone(), of(self.files.get(file)?)))).collect()
    }

    fn layers(&mut self, name: &str) -> Option<&mut Layers> {
        self.files.get_mut(self.live.get(name)?)
    }

    /// The file of a name, made when there is none.
    fn made(&mut self, name: &str) -> &mut Layers {
        let file = match self.live.get(name) {
            Some(file) => *file,
            None => {
                self.next += 1;
                self.note(Entry::Made { name: name.into(), file: self.next });
                self.next
            }
        };
        self.files.entry(file).or_default()
    }

    fn note(&mut self, entry: Entry) {
        entry.apply(&mut self.live);
        self.entries.push(entry);
    }

    fn perform(&mut self, op: &DiskOp, lands: Lands) -> Result<(), DiskFailed> {
        if lands == Lands::Nothing || (lands != Lands::Whole && !matches!(op, DiskOp::Write { .. })) {
            return Ok(());
        }
        match op {
            DiskOp::Write { file, offset, bytes } => {
                let lands = lands.of(bytes.len());
                self.made(file).write(*offset as usize, &bytes[..lands]);
            }
            DiskOp::Truncate { file, length } => self.made(file).set_length(*length as usize),
            DiskOp::Fsync { file } => {
                if let Some(layers) = self.layers(file) {
                    layers.sync();
                }
            }
            DiskOp::Rename { from, to } => {
                let file = *self.live.get(from).ok_or(DiskFailed::Missing)?;
                self.note(Entry::Renamed { from: from.clone(), to: to.clone(), file });
            }
            DiskOp::Remove { file: name } => {
                if let Some(file) = self.live.get(name).copied() {
                    self.note(Entry::Removed { name: name.clone(), file });
                }
            }
            DiskOp::FsyncDir => {
                for entry in std::mem::take(&mut self.entries) {
                    entry.apply(&mut self.durable);
                }
                self.forget_unnamed();
            }
        }
        Ok(())
    }

    fn forget_unnamed(&mut self) {
        let named: BTreeSet<u64> = self.live.values().chain(self.durable.values()).copied().collect();
        self.files.retain(|file, _| named.contains(file));
    }
}
