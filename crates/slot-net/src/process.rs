//! Processes that this one did not necessarily start, told apart from whoever reuses their number.
//!
//! What always holds: a signal goes through a pidfd whose process was compared with the recorded start time after the
//! pidfd was opened, so a reused number is never signalled; "gone" means that the kernel has ended every thread of the
//! process (R2), never that a signal was sent.
//!
//! A start time counts from boot: whoever keeps a [`ProcessIdentity`] on disk keeps the boot id beside it, and forgets
//! the process when the boot id has changed (R27).

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, getpid, kill_process_group, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

/// One process of this boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessIdentity {
    /// Its number, which another may have after it.
    pub pid: u32,
    /// When it started, in clock ticks since boot: field 22 of `/proc/PID/stat`.
    pub start_time: u64,
}

/// Why a process could not be looked at or ended.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// No process may have this number.
    #[error("{0} is not a process number")]
    Pid(u32),
    /// `/proc` could not be read, or says something unknown.
    #[error("cannot read /proc/{pid}/stat: {cause}")]
    Stat {
        /// The process.
        pid: u32,
        /// What went wrong.
        cause: String,
    },
    /// There is no such process.
    #[error("process {0} does not exist")]
    Gone(u32),
    /// The kernel refused.
    #[error("cannot {operation} process {pid}: {cause}")]
    System {
        /// What was tried.
        operation: &'static str,
        /// On which process.
        pid: u32,
        /// The kernel's answer.
        cause: Errno,
    },
    /// It was killed and has not ended; a thread may be stuck in the kernel.
    #[error(
        "process {pid} was killed and has not ended after {waited:?}; it must be taken for alive: look at its disk"
    )]
    StillThere {
        /// The process.
        pid: u32,
        /// How long it was waited for.
        waited: Duration,
    },
}

impl ProcessIdentity {
    /// The identity of the process that has this number now.
    pub fn of(pid: u32) -> Result<Self, ProcessError> {
        match start_time(pid)? {
            Some(start_time) => Ok(Self { pid, start_time }),
            None => Err(ProcessError::Gone(pid)),
        }
    }

    /// The identity of this process.
    pub fn own() -> Result<Self, ProcessError> {
        Self::of(u32::try_from(getpid().as_raw_nonzero().get()).unwrap_or(0))
    }
}

/// Field 22 of `/proc/PID/stat`; `None` when there is no such process.
fn start_time(pid: u32) -> Result<Option<u64>, ProcessError> {
    let refused = |cause: String| ProcessError::Stat { pid, cause };
    let text = match std::fs::read(format!("/proc/{pid}/stat")) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        // The process ended between the opening and the reading.
        Err(error) if error.raw_os_error() == Some(Errno::SRCH.raw_os_error()) => return Ok(None),
        Err(error) => return Err(refused(error.to_string())),
    };
    // Field 2 is the program's name in brackets and may hold blanks and brackets: fields are counted from its end.
    let (_, fields) = text.rsplit_once(") ").ok_or_else(|| refused("it has no program name".into()))?;
    let field = fields.split(' ').nth(22 - 3).ok_or_else(|| refused("it has no field 22".into()))?;
    field.parse().map(Some).map_err(|_| refused(format!("its field 22 is {field:?}")))
}

/// Opens exactly this process; `None` when it has ended and was reaped, whoever has its number now.
fn open(process: &ProcessIdentity) -> Result<Option<OwnedFd>, ProcessError> {
    let pid = i32::try_from(process.pid).ok().and_then(Pid::from_raw).ok_or(ProcessError::Pid(process.pid))?;
    let pidfd = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(pidfd) => pidfd,
        Err(Errno::SRCH) => return Ok(None),
        Err(cause) => return Err(ProcessError::System { operation: "open", pid: process.pid, cause }),
    };
    // Compared after the opening: the number cannot pass to another while the pidfd's process is not reaped, and if it
    // was reaped before, the start time is another's or nobody's.
    Ok(if start_time(process.pid)? == Some(process.start_time) { Some(pidfd) } else { None })
}

/// Waits until the process of a pidfd has ended; false when it has not in this time.
fn wait(pidfd: &OwnedFd, process: &ProcessIdentity, timeout: Duration) -> Result<bool, ProcessError> {
    let started = Instant::now();
    loop {
        let left = timeout.saturating_sub(started.elapsed());
        let left =
            Timespec { tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX), tv_nsec: left.subsec_nanos().into() };
        match poll(&mut [PollFd::new(pidfd, PollFlags::IN)], Some(&left)) {
            Ok(0) => return Ok(false),
            Ok(_) => return Ok(true),
            Err(Errno::INTR) => {}
            Err(cause) => return Err(ProcessError::System { operation: "wait for", pid: process.pid, cause }),
        }
    }
}

/// Whether any thread of exactly this process may still run. One that has ended and was not reaped is not alive.
pub fn is_alive(process: &ProcessIdentity) -> Result<bool, ProcessError> {
    match open(process)? {
        Some(pidfd) => Ok(!wait(&pidfd, process, Duration::ZERO)?),
        None => Ok(false),
    }
}

fn send(pidfd: &OwnedFd, process: &ProcessIdentity, signal: Signal) -> Result<bool, ProcessError> {
    match pidfd_send_signal(pidfd, signal) {
        Ok(()) => Ok(true),
        Err(Errno::SRCH) => Ok(false),
        Err(cause) => Err(ProcessError::System { operation: "signal", pid: process.pid, cause }),
    }
}

/// Asks exactly this process to end (SIGTERM); false when it had ended already.
pub fn terminate(process: &ProcessIdentity) -> Result<bool, ProcessError> {
    match open(process)? {
        Some(pidfd) => send(&pidfd, process, Signal::TERM),
        None => Ok(false),
    }
}

/// Kills exactly this process (SIGKILL, which a stopped one gets too) and waits until it has ended. `Ok` means that no
/// thread of it runs any more. Blocks: call it off the async runtime.
pub fn kill_and_wait(process: &ProcessIdentity, timeout: Duration) -> Result<(), ProcessError> {
    let Some(pidfd) = open(process)? else { return Ok(()) };
    send(&pidfd, process, Signal::KILL)?;
    if wait(&pidfd, process, timeout)? {
        Ok(())
    } else {
        Err(ProcessError::StillThere { pid: process.pid, waited: timeout })
    }
}

/// Kills a process that leads a group of its own, with all it started that did not leave the group. Nobody may have reaped
/// the leader yet: its number, and with it the group's, can't be another's before that.
pub fn kill_group(leader: &ProcessIdentity) -> Result<(), ProcessError> {
    if start_time(leader.pid)? != Some(leader.start_time) {
        return Ok(());
    }
    let group = i32::try_from(leader.pid).ok().and_then(Pid::from_raw).ok_or(ProcessError::Pid(leader.pid))?;
    match kill_process_group(group, Signal::KILL) {
        Ok(()) | Err(Errno::SRCH) => Ok(()),
        Err(cause) => Err(ProcessError::System { operation: "kill the group of", pid: leader.pid, cause }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Child, Command};

    const LONG: Duration = Duration::from_secs(60);

    fn sleeper() -> (Child, ProcessIdentity) {
        let child = Command::new("sleep").arg("600").spawn().unwrap();
        let identity = ProcessIdentity::of(child.id()).unwrap();
        (child, identity)
    }

    #[test]
    fn a_killed_process_is_gone_even_before_it_is_reaped() {
        let (mut child, identity) = sleeper();
        assert!(is_alive(&identity).unwrap());
        kill_and_wait(&identity, LONG).unwrap();
        assert!(!is_alive(&identity).unwrap());
        child.wait().unwrap();
        assert!(!is_alive(&identity).unwrap());
        kill_and_wait(&identity, LONG).unwrap();
        assert!(!terminate(&identity).unwrap());
    }

    #[test]
    fn a_stopped_process_is_alive_and_can_be_killed() {
        let (mut child, identity) = sleeper();
        let pidfd = open(&identity).unwrap().unwrap();
        assert!(send(&pidfd, &identity, Signal::STOP).unwrap());
        assert!(is_alive(&identity).unwrap());
        kill_and_wait(&identity, LONG).unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn whoever_reuses_a_number_is_not_touched() {
        let (mut child, identity) = sleeper();
        let earlier = ProcessIdentity { start_time: identity.start_time - 1, ..identity };
        assert!(!is_alive(&earlier).unwrap());
        assert!(!terminate(&earlier).unwrap());
        kill_and_wait(&earlier, LONG).unwrap();
        assert!(is_alive(&identity).unwrap(), "the one that has the number now lives on");
        assert!(terminate(&identity).unwrap());
        child.wait().unwrap();
    }

    #[test]
    fn this_process_is_alive() {
        assert!(is_alive(&ProcessIdentity::own().unwrap()).unwrap());
        assert!(matches!(ProcessIdentity::of(u32::MAX), Err(ProcessError::Gone(_) | ProcessError::Stat { .. })));
    }
}
