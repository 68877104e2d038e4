//! `slotd restore`: a coordinator's disk from a backup (R10, S16).
//!
//! What always holds: a disk that exists is never touched; the backup is checked whole before anything is written; every
//! coordinator that is given the same file and generation begins with the same bytes, so that together they are the new group,
//! at an index and a term that nobody was ever given before.

use super::start::{Options, StartupError, identify, store_path};
use crate::core::restore::{First, first};
use slot_raft::NodeMarker;
use slot_raft::store::RedbStore;
use std::path::{Path, PathBuf};

/// The largest backup that is read.
const BACKUP_BYTES_MAX: u64 = 1 << 30;

/// What was restored.
pub struct Summary {
    coordinator: String,
    cluster: String,
    generation: u32,
    entry: u64,
    hosts: usize,
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { coordinator, cluster, generation, entry, hosts } = self;
        writeln!(f, "{coordinator} of {cluster} restored: generation {generation}, from a backup of entry {entry}")?;
        writeln!(f, "next  the same file and generation on every other coordinator, then start them")?;
        write!(f, "      nothing moves until all {hosts} hosts are re-adopted: slotctl status names the commands")
    }
}

/// Writes this coordinator's disk from a backup; `generation` is one above the backup's unless it is given.
pub fn restore(options: &Options, from: &Path, generation: Option<u32>) -> Result<Summary, StartupError> {
    let place = identify(options)?;
    let error = |why: String| StartupError::Backup { file: from.to_path_buf(), why };
    let size = std::fs::metadata(from).map_err(|e| error(e.to_string()))?.len();
    if size > BACKUP_BYTES_MAX {
        return Err(error(format!("it has {size} bytes, at most {BACKUP_BYTES_MAX} are read")));
    }
    let bytes = std::fs::read(from).map_err(|e| error(e.to_string()))?;
    let (membership, voters) = (place.folder.membership(), place.members.keys().copied().collect::<Vec<u64>>());
    let cluster = (membership.cluster_id, &membership.cluster);
    let First { disk, generation, entry, hosts } = first(&bytes, cluster, &voters, generation).map_err(error)?;
    let marker = NodeMarker {
        cluster_id: membership.cluster_id.0.to_vec(),
        node_id: place.node_id,
        incarnation: rand::random(),
    };
    let path: PathBuf = store_path(options);
    RedbStore::create(&path, &marker, &disk)?;
    let (coordinator, cluster) = (place.node.to_string(), membership.cluster.to_string());
    Ok(Summary { coordinator, cluster, generation, entry, hosts })
}
