//! Where things lie in an agent's data folder, and which engine processes of it are alive.
//!
//! What always holds: an engine process is known by number and start time together with the boot it belongs to, so that
//! nobody who reuses a number is taken for it; a process that was started and not noted, because the agent died in
//! between, is found by its own arguments: no engine of this folder is ever unknown to an agent that starts.

use crate::core::Serving;
use serde::{Deserialize, Serialize};
use slot_net::process::{ProcessError, ProcessIdentity, is_alive};
use slot_types::ids::{BootId, CopyGeneration, StoreName};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The format of `engine.json` this build writes and reads.
pub const RUN_FILE_FORMAT: u16 = 1;

/// Why the data folder could not be used.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// A file or folder.
    #[error("{operation} {path}: {cause}")]
    Io {
        /// What was being done, as in "reading".
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// What happened.
        #[source]
        cause: std::io::Error,
    },
    /// A process could not be looked at.
    #[error("looking for the engine of {path}: {cause}")]
    Process {
        /// The copy's folder.
        path: PathBuf,
        /// What happened.
        #[source]
        cause: ProcessError,
    },
    /// Two engines of one slot are alive.
    #[error("slot {slot:02} has two engine processes, {first} and {second}; stop the one that is not wanted by hand")]
    TwoEngines {
        /// The slot.
        slot: u16,
        /// One.
        first: u32,
        /// The other.
        second: u32,
    },
}

/// `engine.json`: the engine process of a slot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RunFile {
    format: u16,
    boot: BootId,
    store: StoreName,
    generation: CopyGeneration,
    process: ProcessIdentity,
}

/// An engine process that is alive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adopted {
    /// Of which copy.
    pub serving: Serving,
    /// Which process.
    pub process: ProcessIdentity,
}

/// The data folder.
#[derive(Clone, Debug)]
pub struct Places {
    root: PathBuf,
    boot: BootId,
}

impl Places {
    /// Makes the folder when it is not there.
    pub fn open(root: &Path, boot: BootId) -> Result<Self, PlaceError> {
        std::fs::create_dir_all(root).map_err(|cause| io("making", root, cause))?;
        let root = root.canonicalize().map_err(|cause| io("reading", root, cause))?;
        root.parent().map_or(Ok(()), sync)?;
        make(&root.join("slots"))?;
        Ok(Self { root, boot })
    }

    /// The ledger's file.
    pub fn ledger(&self) -> PathBuf {
        self.root.join("ledger.redb")
    }

    fn slot(&self, slot: u16) -> PathBuf {
        self.root.join("slots").join(format!("{slot:02}"))
    }

    /// A copy's folder: one per generation, so that a new one never touches what an older one left (R11, S10).
    pub fn copy(&self, slot: u16, serving: &Serving) -> PathBuf {
        self.slot(slot).join(format!("{}-{}", serving.store, serving.generation))
    }

    /// Makes the folder that a slot's copies lie in, durably.
    pub fn make_slot(&self, slot: u16) -> Result<(), PlaceError> {
        make(&self.slot(slot))
    }

    fn run_file(&self, slot: u16) -> PathBuf {
        self.slot(slot).join("engine.json")
    }

    /// Notes the engine process of a slot, for the agent that comes after this one. It outlives this process, and need not
    /// outlive the machine: engines don't either.
    pub fn note(&self, slot: u16, serving: &Serving, process: ProcessIdentity) -> Result<(), PlaceError> {
        let Serving { store, generation } = serving.clone();
        let file = RunFile { format: RUN_FILE_FORMAT, boot: self.boot, store, generation, process };
        let path = self.run_file(slot);
        let temporary = path.with_extension("unfinished");
        let text = serde_json::to_string(&file).unwrap_or_default();
        std::fs::write(&temporary, text).map_err(|cause| io("writing", &temporary, cause))?;
        std::fs::rename(&temporary, &path).map_err(|cause| io("writing", &path, cause))
    }

    /// Every engine process of this folder that is alive, by slot. They are looked at and left as they are (S10).
    pub fn adopt(&self) -> Result<BTreeMap<u16, Adopted>, PlaceError> {
        let mut adopted: BTreeMap<u16, Adopted> = BTreeMap::new();
        let processes = command_lines();
        for (slot, serving, folder) in self.copies()? {
            let noted = self.noted(slot, &serving).filter(|process| matches!(is_alive(process), Ok(true)));
            let Some(process) = noted.map_or_else(|| find(&processes, &folder), |process| Ok(Some(process)))? else {
                continue;
            };
            if let Some(other) = adopted.get(&slot) {
                return Err(PlaceError::TwoEngines { slot, first: other.process.pid, second: process.pid });
            }
            adopted.insert(slot, Adopted { serving, process });
        }
        Ok(adopted)
    }

    /// The noted process of exactly this copy in this boot; a damaged or foreign note counts as none, since the search by
    /// arguments finds the process as well.
    fn noted(&self, slot: u16, serving: &Serving) -> Option<ProcessIdentity> {
        let text = std::fs::read_to_string(self.run_file(slot)).ok()?;
        let file: RunFile = serde_json::from_str(&text).ok()?;
        let same = file.format == RUN_FILE_FORMAT
            && file.boot == self.boot
            && file.store == serving.store
            && file.generation == serving.generation;
        same.then_some(file.process)
    }

    fn copies(&self) -> Result<Vec<(u16, Serving, PathBuf)>, PlaceError> {
        let mut copies = Vec::new();
        for slot_folder in folders(&self.root.join("slots"))? {
            let Some(slot) = name_of(&slot_folder).and_then(|name| name.parse::<u16>().ok()) else { continue };
            for folder in folders(&slot_folder)? {
                if let Some(serving) = name_of(&folder).and_then(serving_of) {
                    copies.push((slot, serving, folder));
                }
            }
        }
        Ok(copies)
    }
}

/// `store23-g2`; a store's name may hold `-g` too, so the last one counts.
fn serving_of(name: &str) -> Option<Serving> {
    let (store, generation) = name.rsplit_once("-g")?;
    let generation = CopyGeneration(generation.parse().ok()?);
    Some(Serving { store: StoreName::new(store).ok()?, generation })
}

fn name_of(path: &Path) -> Option<&str> {
    path.file_name().and_then(OsStr::to_str)
}

fn folders(path: &Path) -> Result<Vec<PathBuf>, PlaceError> {
    let mut folders = Vec::new();
    for entry in std::fs::read_dir(path).map_err(|cause| io("reading", path, cause))? {
        let entry = entry.map_err(|cause| io("reading", path, cause))?;
        if entry.path().is_dir() {
            folders.push(entry.path());
        }
    }
    folders.sort();
    Ok(folders)
}

/// Makes one folder and its entry in its parent durable.
fn make(path: &Path) -> Result<(), PlaceError> {
    std::fs::create_dir_all(path).map_err(|cause| io("making", path, cause))?;
    path.parent().map_or(Ok(()), sync)
}

fn sync(folder: &Path) -> Result<(), PlaceError> {
    let synced = std::fs::File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|cause| io("syncing", folder, cause))
}

fn io(operation: &'static str, path: &Path, cause: std::io::Error) -> PlaceError {
    PlaceError::Io { operation, path: path.to_path_buf(), cause }
}

/// Every process's number and arguments, as far as they may be read.
fn command_lines() -> Vec<(u32, Vec<u8>)> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter_map(|pid| Some((pid, std::fs::read(format!("/proc/{pid}/cmdline")).ok()?))).collect()
}

/// The process that was started with this folder as an argument and is not this one.
fn find(processes: &[(u32, Vec<u8>)], folder: &Path) -> Result<Option<ProcessIdentity>, PlaceError> {
    let wanted = folder.as_os_str().as_bytes();
    let own = std::process::id();
    for (pid, line) in processes {
        let mut arguments = line.split(|byte| *byte == 0);
        let program = arguments.next().map(|program| Path::new(OsStr::from_bytes(program)).to_path_buf());
        let is_engine = program.as_deref().and_then(name_of).is_some_and(|name| name.starts_with("slot-"));
        if *pid == own || !is_engine || !arguments.any(|argument| argument == wanted) {
            continue;
        }
        let failed = |cause| PlaceError::Process { path: folder.to_path_buf(), cause };
        match ProcessIdentity::of(*pid) {
            Ok(process) if is_alive(&process).map_err(failed)? => return Ok(Some(process)),
            Ok(_) | Err(ProcessError::Gone(_)) => {}
            Err(cause) => return Err(failed(cause)),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOOT: BootId = BootId([1; 16]);

    fn serving(store: &str, generation: u32) -> Serving {
        Serving { store: StoreName::new(store).unwrap(), generation: CopyGeneration(generation) }
    }

    #[test]
    fn a_noted_process_is_adopted_in_its_boot_while_it_lives() {
        let folder = tempfile::tempdir().unwrap();
        let places = Places::open(folder.path(), BOOT).unwrap();
        let copy = serving("store-g1", 2);
        std::fs::create_dir_all(places.copy(7, &copy)).unwrap();
        assert_eq!(places.adopt().unwrap(), BTreeMap::new());
        let mut child = std::process::Command::new("sleep").arg("600").spawn().unwrap();
        let process = ProcessIdentity::of(child.id()).unwrap();
        places.note(7, &copy, process).unwrap();
        let wanted = BTreeMap::from([(7, Adopted { serving: copy.clone(), process })]);
        assert_eq!(places.adopt().unwrap(), wanted);
        let later = Places::open(folder.path(), BootId([2; 16])).unwrap();
        assert_eq!(later.adopt().unwrap(), BTreeMap::new(), "another boot");
        let reused = ProcessIdentity { start_time: process.start_time + 1, ..process };
        places.note(7, &copy, reused).unwrap();
        assert_eq!(places.adopt().unwrap(), BTreeMap::new(), "another process with the same number");
        places.note(7, &copy, process).unwrap();
        std::fs::write(places.run_file(7), "{").unwrap();
        assert_eq!(places.adopt().unwrap(), BTreeMap::new(), "a damaged note is no note");
        places.note(7, &copy, process).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(places.adopt().unwrap(), BTreeMap::new());
    }

    #[test]
    fn a_process_that_was_never_noted_is_found_by_its_arguments() {
        let folder = tempfile::tempdir().unwrap();
        let places = Places::open(folder.path(), BOOT).unwrap();
        let copy = serving("store23", 1);
        let copy_folder = places.copy(1, &copy);
        std::fs::create_dir_all(&copy_folder).unwrap();
        let mut child = {
            use std::os::unix::process::CommandExt;
            std::process::Command::new("sh")
                .arg0("slot-journal")
                .args(["-c", "read line", "sh"])
                .arg(&copy_folder)
                .stdin(std::process::Stdio::piped())
                .spawn()
                .unwrap()
        };
        let process = ProcessIdentity::of(child.id()).unwrap();
        // The parent goes on as soon as exec has taken the new memory; the kernel shows the arguments a moment later.
        let arguments = format!("/proc/{}/cmdline", process.pid);
        let shown = (0..1_000).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(1));
            std::fs::read(&arguments).is_ok_and(|bytes| !bytes.is_empty())
        });
        assert!(shown, "the process never showed its arguments");
        let adopted = places.adopt().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(adopted, BTreeMap::from([(1, Adopted { serving: copy, process })]));
    }
}
