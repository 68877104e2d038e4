//! A cluster that is left running (`up`) and ended later (`down`).
//!
//! What always holds: a process is noted by number and start time, and only exactly that process is ended; engines are
//! found below the cluster's own folder.

use crate::cluster::Cluster;
use crate::{Outcome, engines};
use serde::{Deserialize, Serialize};
use slot_net::process::{ProcessIdentity, kill_and_wait};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The only version of the note this build reads.
const FORMAT: u16 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Note {
    format: u16,
    processes: Vec<ProcessIdentity>,
}

fn note(folder: &Path) -> PathBuf {
    folder.join("processes.json")
}

/// Whether a cluster was left running there and was not ended.
pub fn is_noted(folder: &Path) -> bool {
    note(folder).exists()
}

/// Leaves a cluster running and notes its processes in its folder.
pub fn leave(cluster: Cluster) -> Outcome<()> {
    let path = note(cluster.folder());
    let processes = cluster.leave_running().into_iter().map(ProcessIdentity::of).collect::<Result<_, _>>()?;
    let text = serde_json::to_string_pretty(&Note { format: FORMAT, processes })?;
    Ok(fs::write(path, text + "\n")?)
}

/// Ends every process of the cluster that was left running in `folder`; answers how many.
pub fn end(folder: &Path) -> Outcome<usize> {
    let folder = folder.canonicalize().map_err(|error| format!("no cluster in {}: {error}", folder.display()))?;
    let text = fs::read_to_string(note(&folder))
        .map_err(|error| format!("no cluster was left running in {}: {error}", folder.display()))?;
    let note: Note = serde_json::from_str(&text)?;
    if note.format != FORMAT {
        return Err(format!("processes.json has format {}, this build reads {FORMAT}", note.format).into());
    }
    for process in &note.processes {
        kill_and_wait(process, Duration::from_secs(10))?;
    }
    let engines = engines::kill_below(&folder.join("hosts"))?;
    fs::remove_dir_all(&folder)?;
    Ok(note.processes.len() + engines)
}
