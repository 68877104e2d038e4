//! The first state of a restored group, from a backup's bytes (R10, S16).
//!
//! What always holds: nothing is read or written here; the backup is checked whole; equal arguments give equal bytes, so that
//! coordinators which are restored apart are one group, at an index and a term that nobody was ever given before.

use slot_machine::restore::{Restoring, restored};
use slot_raft::Restored;
use slot_types::backup::Backup;
use slot_types::ids::{ClusterId, ClusterName};

/// What every coordinator of the restored group begins with.
pub struct First {
    /// Its disk's first content.
    pub disk: Restored,
    /// The generation that begins.
    pub generation: u32,
    /// The entry that the backup was taken at.
    pub entry: u64,
    /// How many hosts must be re-adopted.
    pub hosts: usize,
}

/// Reads a backup of this cluster for these voters; `generation` is one above the backup's unless it is given.
pub fn first(
    file: &[u8],
    (cluster, name): (ClusterId, &ClusterName),
    voters: &[u64],
    generation: Option<u32>,
) -> Result<First, String> {
    let backup = Backup::from_file(file).map_err(|e| e.to_string())?;
    let head = &backup.view.head;
    if (head.cluster, &head.name) != (cluster, name) {
        return Err(format!("it is of cluster {} ({}), this folder's is {name} ({cluster})", head.name, head.cluster));
    }
    let generation = generation.unwrap_or(head.generation.saturating_add(1));
    let state = restored(&backup, generation).map_err(|e| e.to_string())?;
    let disk = Restored::at(voters, state.applied.0, state.term.0, state.snapshot());
    let hosts = state.restoring.as_ref().map_or(0, |Restoring { hosts }| hosts.len());
    Ok(First { disk, generation, entry: head.applied.0, hosts })
}
