//! What is free on the file system of the data folder, looked at on a thread of its own.
//!
//! What always holds: nobody waits for the disk; a file system that does not answer makes the last look old, and an old look
//! is not reported.

use slot_types::disk::Disk;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

/// How often it is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// A look that is older than this says nothing any more.
const LOOK_AGE_MAX: Duration = Duration::from_secs(30);

type Last = Mutex<Option<(Instant, Disk)>>;

/// The latest look; the thread ends once it is dropped.
pub(crate) struct Room(Arc<Last>);

impl Room {
    /// Looks once, then again and again.
    pub(crate) fn watch(folder: &Path) -> io::Result<Self> {
        let last = Arc::new(Mutex::new(None));
        let failed = look(folder, &last, false);
        let (folder, seen) = (folder.to_path_buf(), Arc::downgrade(&last));
        std::thread::Builder::new().name("disk-room".into()).spawn(move || go_on(&folder, &seen, failed))?;
        Ok(Self(last))
    }

    /// What is free, if that was seen lately.
    pub(crate) fn now(&self) -> Option<Disk> {
        let last = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.filter(|(at, _)| at.elapsed() <= LOOK_AGE_MAX).map(|(_, disk)| disk)
    }
}

fn go_on(folder: &Path, seen: &Weak<Last>, mut failed: bool) {
    loop {
        std::thread::sleep(LOOK_EVERY);
        let Some(last) = seen.upgrade() else { return };
        failed = look(folder, &last, failed);
    }
}

/// Whether it failed. A failure is said once, and so is its end.
fn look(folder: &Path, last: &Last, failed_before: bool) -> bool {
    let what = || format!("asking what is free below {}", folder.display());
    match of(folder) {
        Ok(disk) => {
            *last.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), disk));
            if failed_before {
                tracing::info!("{}: it answers again, {disk}", what());
            }
            false
        }
        Err(cause) => {
            if !failed_before {
                tracing::warn!("{}: {cause}; until it answers, copies are planned by their slots alone", what());
            }
            true
        }
    }
}

/// What the file system of a folder has, for who is not root.
fn of(folder: &Path) -> io::Result<Disk> {
    let found = rustix::fs::statvfs(folder)?;
    let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
    Ok(Disk { free_bytes: bytes(found.f_bavail), total_bytes: bytes(found.f_blocks) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_on_a_disk_and_a_folder_that_is_not_there_on_none() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Room::watch(folder.path()).unwrap().now().expect("it was looked at once before it is asked");
        assert!(disk.total_bytes > 0 && disk.free_bytes <= disk.total_bytes, "{disk}");
        assert_eq!(Room::watch(&folder.path().join("gone")).unwrap().now(), None);
    }
}
