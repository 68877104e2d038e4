//! A fence agent for trials: it switches off a simulated host of this machine by killing its processes.
//!
//! What always holds: it reads `key=value` lines from stdin and takes no argument; it kills only the agent named in its state
//! folder, as exactly that process, and the engines below that host's folder; its status is what is true of them. How it
//! misbehaves is in the file `mode`: `refuses`, `hangs`, or `lies`, which says off and leaves the power on.

use slot_net::process::{ProcessIdentity, is_alive, kill_and_wait};
use slot_tests::{Outcome, engines};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);

/// The processes of one host, as the test noted them.
struct Host {
    agent: ProcessIdentity,
    folder: PathBuf,
}

fn host(state: &Path, plug: &str) -> Outcome<Host> {
    let text = std::fs::read_to_string(state.join(format!("host{plug}")))?;
    let mut lines = text.lines();
    let mut line = || lines.next().ok_or("the host's file is too short");
    let agent = ProcessIdentity { pid: line()?.parse()?, start_time: line()?.parse()? };
    Ok(Host { agent, folder: PathBuf::from(line()?) })
}

fn act() -> Outcome<u8> {
    let mut input = String::new();
    std::io::stdin().read_to_string(&mut input)?;
    // The last one counts, as the API says.
    let given: BTreeMap<&str, &str> = input.lines().filter_map(|line| line.split_once('=')).collect();
    let get = |key: &str| given.get(key).copied().ok_or_else(|| format!("no {key} is given"));
    if get("password")? != "trial-secret" {
        return Err("wrong password".into());
    }
    let (state, plug, action) = (PathBuf::from(get("state")?), get("plug")?, get("action")?);
    let mut log = std::fs::OpenOptions::new().create(true).append(true).open(state.join("log"))?;
    writeln!(log, "{action} {plug}")?;
    let host = host(&state, plug)?;
    let mode = std::fs::read_to_string(state.join("mode")).unwrap_or_default();
    match (action, mode.trim()) {
        ("off", "refuses") => Err("the BMC refuses".into()),
        ("off", "hangs") => loop {
            std::thread::sleep(PATIENCE);
        },
        ("off", "lies") => Ok(0),
        ("off", _) => {
            kill_and_wait(&host.agent, PATIENCE)?;
            engines::kill_below(&host.folder)?;
            Ok(0)
        }
        ("status", _) => {
            let on = is_alive(&host.agent)? || !engines::below(&host.folder).is_empty();
            Ok(if on { 0 } else { 2 })
        }
        (other, _) => Err(format!("{other} is no action of this agent").into()),
    }
}

fn main() -> ExitCode {
    match act() {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("fence_trial: {error}");
            ExitCode::from(1)
        }
    }
}
