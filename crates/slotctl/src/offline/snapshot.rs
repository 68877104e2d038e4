//! A cluster at one moment, in a file of JSON.
//!
//! What always holds: a file says its schema and version, and another version is refused by its number; its parts fit each other
//! or it is refused; it is written whole, under its name only once it is, and readable by its owner alone.

use super::Loaded;
use super::writing::{Readers, Unwritable, Writing};
use crate::json::{self, Schema};
use slot_types::view::{SnapshotError, SnapshotView};
use std::fs;
use std::io;
use std::path::Path;

/// Why a file can't be read as a snapshot.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// It can't be read at all.
    #[error("{0}")]
    File(#[from] io::Error),
    /// It is no JSON, or no snapshot.
    #[error("it is no snapshot: {0}")]
    NoSnapshot(String),
    /// Of another version.
    #[error("it is a snapshot of version {found}, and this slotctl reads version {supported}")]
    Version {
        /// The file's.
        found: u64,
        /// Ours.
        supported: u32,
    },
    /// Its parts do not fit each other.
    #[error("{0}")]
    Crooked(#[from] SnapshotError),
    /// It was taken when the leader had not heard everybody.
    #[error("what runs was not known when it was taken: {0}")]
    NotSeen(String),
}

/// Reads a file.
pub fn read(path: &Path) -> Result<Loaded, Unreadable> {
    parse(&fs::read_to_string(path)?)
}

/// Reads a text.
pub fn parse(text: &str) -> Result<Loaded, Unreadable> {
    let no_snapshot = |error: serde_json::Error| Unreadable::NoSnapshot(error.to_string());
    let value: serde_json::Value = serde_json::from_str(text).map_err(no_snapshot)?;
    let (name, supported) = (Schema::Snapshot.name(), Schema::Snapshot.version());
    if value["schema"] != name {
        return Err(Unreadable::NoSnapshot(format!("it does not say \"schema\": \"{name}\"")));
    }
    match value["version"].as_u64() {
        Some(found) if found == u64::from(supported) => {}
        found => return Err(Unreadable::Version { found: found.unwrap_or(0), supported }),
    }
    // Read again from the text: an error then names its line and column.
    let view: SnapshotView = serde_json::from_str(text).map_err(no_snapshot)?;
    load(Box::new(view))
}

/// Takes a cluster as it was sent.
pub fn load(view: Box<SnapshotView>) -> Result<Loaded, Unreadable> {
    view.check()?;
    match &view.not_seen {
        Some(reason) => Err(Unreadable::NotSeen(reason.clone())),
        None => Ok(Loaded::of(view)),
    }
}

/// Writes a file.
pub fn write(view: &SnapshotView, path: &Path) -> Result<(), Unwritable> {
    let mut writing = Writing::default();
    writing.put(path, format!("{}\n", json::snapshot(view)).as_bytes(), Readers::Owner)?;
    writing.finish()
}
