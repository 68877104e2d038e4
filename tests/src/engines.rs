//! The engine processes of a host, found by the folder they serve.
//!
//! What always holds: a process counts as an engine of a host only when its own argument list names a folder below that
//! host's; it is signalled as exactly that process, number and start time, so a reused number is never touched.

use crate::{Outcome, wait_until};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use slot_net::process::{ProcessIdentity, is_alive, kill_and_wait};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a killed process may take to end.
const END_LIMIT: Duration = Duration::from_secs(30);

/// One engine process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineProcess {
    /// Exactly which process.
    pub identity: ProcessIdentity,
    /// The folder it serves.
    pub dir: PathBuf,
}

/// Every live engine process that serves a folder below `folder`.
pub fn below(folder: &Path) -> Vec<EngineProcess> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let mut found: Vec<EngineProcess> = pids.filter_map(|pid| engine(pid, folder)).collect();
    found.sort_by(|a, b| a.dir.cmp(&b.dir));
    found
}

fn engine(pid: u32, folder: &Path) -> Option<EngineProcess> {
    let identity = ProcessIdentity::of(pid).ok()?;
    let arguments = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let arguments: Vec<&str> = arguments.split(|byte| *byte == 0).filter_map(|a| std::str::from_utf8(a).ok()).collect();
    if !Path::new(arguments.first()?).ends_with("slot-journal") {
        return None;
    }
    let dir = arguments.iter().skip(1).map(|a| Path::new(a.strip_prefix("--dir=").unwrap_or(a)));
    let dir = dir.filter(|path| path.starts_with(folder)).map(Path::to_path_buf).next()?;
    // The process whose arguments were read is the one that was identified before.
    is_alive(&identity).ok().filter(|alive| *alive).map(|_| EngineProcess { identity, dir })
}

/// Kills every engine process below `folder`, also those that appear meanwhile, and waits until all have ended. Whoever
/// starts engines there must have been ended before.
pub fn kill_below(folder: &Path) -> Outcome<usize> {
    let mut killed = 0;
    let mut quiet = 0;
    while quiet < 3 {
        let engines = below(folder);
        if engines.is_empty() {
            // One that was being started when its agent was killed shows only now.
            quiet += 1;
            std::thread::sleep(Duration::from_millis(30));
            continue;
        }
        quiet = 0;
        for engine in engines {
            kill_and_wait(&engine.identity, END_LIMIT)?;
            killed += 1;
        }
    }
    Ok(killed)
}

/// Kills one engine process.
pub fn kill(engine: &EngineProcess) -> Outcome<()> {
    Ok(kill_and_wait(&engine.identity, END_LIMIT)?)
}

/// Waits until no engine process runs below `folder`.
pub fn wait_none(folder: &Path, limit: Duration) -> Outcome<()> {
    wait_until(&format!("no engine runs below {}", folder.display()), limit, || below(folder).is_empty())
}

/// Sends a signal to exactly this process; false when it has ended.
pub fn signal(process: &ProcessIdentity, signal: Signal) -> Outcome<bool> {
    let Some(pid) = i32::try_from(process.pid).ok().and_then(Pid::from_raw) else { return Ok(false) };
    let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty()) else { return Ok(false) };
    if ProcessIdentity::of(process.pid).ok() != Some(*process) {
        return Ok(false);
    }
    pidfd_send_signal(pidfd, signal)?;
    Ok(true)
}

/// The processes that this one has started and that have not been reaped.
pub fn own_children() -> Vec<ProcessIdentity> {
    let own = std::process::id();
    let Ok(tasks) = fs::read_dir(format!("/proc/{own}/task")) else { return Vec::new() };
    let lists = tasks.flatten().filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    let pids: Vec<u32> = lists
        .flat_map(|list| list.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        .filter_map(|pid| pid.parse().ok())
        .collect();
    pids.into_iter().filter_map(|pid| ProcessIdentity::of(pid).ok()).collect()
}
