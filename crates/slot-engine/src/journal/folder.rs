//! A copy's folder: made whole or not at all, opened by one process at a time.
//!
//! What always holds: a folder under its own name is complete (temporary name, fsync, rename, fsync of the parent); two
//! processes never serve one folder (P5); a disk operation's steps run in order and stop at the first failure (P11); the
//! descriptor that wrote a file is the one that syncs it, so that no error is reported to somebody else.

use super::core::{Config, DiskOp, DiskPiece, Meta, fresh_files};
use slot_types::codec::CodecError;
use slot_types::ids::{CopyGeneration, SlotId, StoreName};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Locked by the process that serves the folder.
const LOCK: &str = "LOCK";
/// Where the process's stdout and stderr go.
pub const LOG: &str = "journal.log";
const META: &str = "meta";

/// Why a folder could not be made or opened.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// The file system refused.
    #[error("{operation} {path}: {cause}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// What the file system said.
        cause: io::Error,
    },
    /// There is another copy.
    #[error("{path} holds {held}; give another folder, or the right store, slot and copy generation")]
    OtherCopy {
        /// The folder.
        path: PathBuf,
        /// What it holds.
        held: String,
    },
    /// Its `meta` can't be read.
    #[error("{path}: {cause}; rebuild this copy from another one")]
    Meta {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        cause: CodecError,
    },
    /// Another process serves it (P5).
    #[error("{path} is served by another process already; stop that one first")]
    Locked {
        /// The folder.
        path: PathBuf,
    },
}

fn failed<'a>(operation: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> FolderError + 'a {
    move |cause| FolderError::Io { operation, path: path.to_path_buf(), cause }
}

fn sync_dir(path: &Path) -> Result<(), FolderError> {
    File::open(path).and_then(|dir| dir.sync_all()).map_err(failed("syncing folder", path))
}

fn describe(store: &StoreName, slot: &SlotId, generation: CopyGeneration) -> String {
    format!("{store} on {slot}, copy {generation}")
}

/// Reads whose copy a folder holds.
pub fn identify(dir: &Path) -> Result<Config, FolderError> {
    let path = dir.join(META);
    let bytes = std::fs::read(&path).map_err(failed("reading", &path))?;
    let meta = Meta::from_bytes(&bytes).map_err(|cause| FolderError::Meta { path, cause })?;
    Ok(Config::new(meta.store, meta.slot, meta.generation))
}

/// Makes an empty copy; done already when the folder holds that very copy. Blocks: call it off the async runtime.
pub fn provision(dir: &Path, config: &Config) -> Result<(), FolderError> {
    let parent = dir.parent().unwrap_or(Path::new("."));
    if dir.exists() {
        let held = identify(dir)?;
        if (&held.store, &held.slot, held.generation) != (&config.store, &config.slot, config.generation) {
            let held = describe(&held.store, &held.slot, held.generation);
            return Err(FolderError::OtherCopy { path: dir.to_path_buf(), held });
        }
        // A crash may have come between the rename and this.
        return sync_dir(parent);
    }
    std::fs::create_dir_all(parent).map_err(failed("making folder", parent))?;
    let mut name = dir.file_name().unwrap_or_default().to_os_string();
    name.push(".provisioning");
    let staging = parent.join(name);
    if staging.exists() {
        std::fs::remove_dir_all(&staging).map_err(failed("removing what a crash left", &staging))?;
    }
    std::fs::create_dir(&staging).map_err(failed("making folder", &staging))?;
    for (name, bytes) in fresh_files(config) {
        let path = staging.join(name);
        let write = || {
            let mut file = File::create_new(&path)?;
            file.write_all(&bytes)?;
            file.sync_all()
        };
        write().map_err(failed("writing", &path))?;
    }
    sync_dir(&staging)?;
    std::fs::rename(&staging, dir).map_err(failed("renaming into place", &staging))?;
    sync_dir(parent)
}

/// Deletes a copy for good; done already when it is not there. Its folder loses its name first, so that half of a copy is
/// never taken for one; what a crash leaves behind goes with the next attempt. Blocks: call it off the async runtime.
pub fn destroy(dir: &Path, config: &Config) -> Result<(), FolderError> {
    let parent = dir.parent().unwrap_or(Path::new("."));
    let mut name = dir.file_name().unwrap_or_default().to_os_string();
    name.push(".destroyed");
    let grave = parent.join(name);
    if grave.exists() {
        std::fs::remove_dir_all(&grave).map_err(failed("removing", &grave))?;
    }
    if !dir.exists() {
        return if parent.exists() { sync_dir(parent) } else { Ok(()) };
    }
    // P5: nobody serves it while it goes. A copy whose identity can't be read is still the one its folder is named for.
    let lock = CopyFolder::lock(dir)?;
    if let Ok(held) = identify(dir)
        && (&held.store, &held.slot, held.generation) != (&config.store, &config.slot, config.generation)
    {
        let held = describe(&held.store, &held.slot, held.generation);
        return Err(FolderError::OtherCopy { path: dir.to_path_buf(), held });
    }
    std::fs::rename(dir, &grave).map_err(failed("renaming", dir))?;
    sync_dir(parent)?;
    drop(lock);
    std::fs::remove_dir_all(&grave).map_err(failed("removing", &grave))?;
    sync_dir(parent)
}

/// A folder this process alone serves.
#[derive(Debug)]
pub struct CopyFolder {
    dir: PathBuf,
    handles: BTreeMap<String, File>,
    _lock: File,
}

impl CopyFolder {
    /// Takes the folder's lock; it is held until this value goes, at the latest until the process ends.
    pub fn lock(dir: &Path) -> Result<Self, FolderError> {
        let path = dir.join(LOCK);
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let lock = lock.map_err(failed("opening", &path))?;
        match rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { dir: dir.to_path_buf(), handles: BTreeMap::new(), _lock: lock }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(FolderError::Locked { path: dir.to_path_buf() }),
            Err(cause) => Err(failed("locking", &path)(cause.into())),
        }
    }

    /// The bytes of every file of the journal in it.
    pub fn read(&self) -> Result<BTreeMap<String, Vec<u8>>, FolderError> {
        let mut files = BTreeMap::new();
        for entry in std::fs::read_dir(&self.dir).map_err(failed("reading folder", &self.dir))? {
            let entry = entry.map_err(failed("reading folder", &self.dir))?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let is_ours = name == META || name.ends_with(".next") || (name.ends_with(".log") && name != LOG);
            if is_ours {
                let path = entry.path();
                files.insert(name, std::fs::read(&path).map_err(failed("reading", &path))?);
            }
        }
        Ok(files)
    }

    /// Reads pieces of its files, beside whoever writes.
    pub fn reader(&self) -> CopyReader {
        CopyReader { dir: self.dir.clone() }
    }

    fn handle(&mut self, file: &str) -> io::Result<&File> {
        if !self.handles.contains_key(file) {
            let opened = OpenOptions::new().create(true).truncate(false).write(true).open(self.dir.join(file))?;
            self.handles.insert(file.to_string(), opened);
        }
        self.handles.get(file).ok_or_else(|| io::Error::other("no handle"))
    }

    fn run_one(&mut self, op: &DiskOp) -> io::Result<()> {
        match op {
            DiskOp::Write { file, offset, bytes } => self.handle(file)?.write_all_at(bytes, *offset),
            DiskOp::Fsync { file } => self.handle(file)?.sync_data(),
            DiskOp::Truncate { file, length } => self.handle(file)?.set_len(*length),
            DiskOp::Rename { from, to } => {
                std::fs::rename(self.dir.join(from), self.dir.join(to))?;
                self.handles.remove(to);
                if let Some(handle) = self.handles.remove(from) {
                    self.handles.insert(to.clone(), handle);
                }
                Ok(())
            }
            DiskOp::Remove { file } => {
                self.handles.remove(file);
                match std::fs::remove_file(self.dir.join(file)) {
                    Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
                    other => other,
                }
            }
            DiskOp::FsyncDir => File::open(&self.dir)?.sync_all(),
        }
    }

    /// Carries out an operation, in order, up to the first failure.
    pub fn run(&mut self, ops: &[DiskOp]) -> Result<(), String> {
        ops.iter().try_for_each(|op| {
            let (name, file) = match op {
                DiskOp::Write { file, .. } => ("writing", file.as_str()),
                DiskOp::Fsync { file } => ("syncing", file.as_str()),
                DiskOp::Truncate { file, .. } => ("cutting", file.as_str()),
                DiskOp::Rename { from, .. } => ("renaming", from.as_str()),
                DiskOp::Remove { file } => ("removing", file.as_str()),
                DiskOp::FsyncDir => ("syncing the folder", "."),
            };
            self.run_one(op).map_err(|cause| format!("{name} {}: {cause}", self.dir.join(file).display()))
        })
    }
}

/// Reads what the disk has of a copy's files.
#[derive(Clone, Debug)]
pub struct CopyReader {
    dir: PathBuf,
}

impl CopyReader {
    /// Each piece by itself; one that cannot be read whole is missing. Blocks.
    pub fn read(&self, pieces: &[DiskPiece]) -> Vec<Option<Vec<u8>>> {
        let mut open: BTreeMap<String, Option<File>> = BTreeMap::new();
        let read = |piece: &DiskPiece| {
            let file = open.entry(piece.file.clone()).or_insert_with(|| self.open(&piece.file)).as_ref()?;
            let mut bytes = vec![0; usize::try_from(piece.length).ok()?];
            file.read_exact_at(&mut bytes, piece.offset).ok()?;
            Some(bytes)
        };
        pieces.iter().map(read).collect()
    }

    /// What is durable need not be in memory: the kernel is asked to forget it first, so that the disk itself is read.
    fn open(&self, file: &str) -> Option<File> {
        let path = self.dir.join(file);
        let file = File::open(&path).inspect_err(|e| tracing::warn!("opening {}: {e}", path.display())).ok()?;
        // A kernel that does not gives back what it remembers; there is nothing better to do.
        let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed);
        Some(file)
    }
}
