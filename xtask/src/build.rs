//! Builds of the programs that tests and the demo start, and where each build puts them.
//!
//! What always holds: the build with failpoints and the one with planted bugs have target folders of their own, so a
//! program with either in it is never found where a shipped one is looked for.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::run::{Failure, announce, finish};

/// The packages whose programs have failpoints: slotd, slot-agent and slot-journal.
const FAILPOINT_PACKAGES: [&str; 3] = ["slot-coordinator", "slot-agent", "slot-engine"];
/// The packages whose programs make up a cluster and its clients.
const PROGRAM_PACKAGES: [&str; 5] = ["slot-coordinator", "slot-agent", "slot-engine", "slotctl", "slot-tests"];
/// The flag that builds failpoints in.
const FAILPOINT_FLAGS: [&str; 2] = ["--cfg", "slot_failpoints"];
/// The failpoint build's folder, below the root.
const FAILPOINT_TARGET: &str = "target-failpoints";

/// The package and the program of the simulator.
const SIMULATOR: &str = "slot-sim";
/// The flag that builds planted bugs in.
const PLANTED_FLAGS: [&str; 2] = ["--cfg", "slot_planted"];
/// The folder of the build with planted bugs, below the root.
const PLANTED_TARGET: &str = "target-planted";

/// Optimised or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    /// Built sooner.
    Dev,
    /// Runs faster.
    Release,
}

impl Profile {
    /// The folder's name below the target folder.
    fn folder(self) -> &'static str {
        match self {
            Profile::Dev => "debug",
            Profile::Release => "release",
        }
    }

    /// Adds the flag that chooses this profile.
    pub(crate) fn apply(self, command: &mut Command) {
        if self == Profile::Release {
            command.arg("--release");
        }
    }
}

/// The workspace's root: this crate lies directly below it.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// The same cargo that runs us, started where the caller stands.
pub(crate) fn cargo_here() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")))
}

/// The same cargo that runs us, started in the workspace's root.
pub(crate) fn cargo() -> Command {
    let mut command = cargo_here();
    command.current_dir(root());
    command
}

/// Where ordinary builds go.
fn target() -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => root().join(folder),
        None => root().join("target"),
    }
}

/// Builds the programs and says in which folder they are.
pub(crate) fn programs(profile: Profile) -> Result<PathBuf, Failure> {
    let mut command = cargo();
    command.args(["build", "--locked", "--bins"]);
    for package in PROGRAM_PACKAGES {
        command.args(["--package", package]);
    }
    profile.apply(&mut command);
    finish("build the programs", &mut command)?;
    Ok(target().join(profile.folder()))
}

/// Builds the three programs with failpoints into a target folder of their own and says where they are.
pub(crate) fn failpoint_programs() -> Result<PathBuf, Failure> {
    let folder = root().join(FAILPOINT_TARGET);
    let mut command = cargo();
    command.args(["build", "--locked", "--bins"]);
    for package in FAILPOINT_PACKAGES {
        command.args(["--package", package]);
    }
    command.arg("--target-dir").arg(&folder);
    with_flags(&mut command, FAILPOINT_FLAGS);
    finish("build the programs with failpoints", &mut command)?;
    Ok(folder.join("debug"))
}

/// Builds the simulator, with planted bugs or without, and says where the program is.
pub(crate) fn simulator(profile: Profile, planted: bool) -> Result<PathBuf, Failure> {
    let mut command = cargo();
    command.args(["build", "--locked", "--package", SIMULATOR, "--bin", SIMULATOR]);
    profile.apply(&mut command);
    let folder = if planted { root().join(PLANTED_TARGET) } else { target() };
    if planted {
        command.arg("--target-dir").arg(&folder);
        with_flags(&mut command, PLANTED_FLAGS);
    }
    finish("build the simulator", &mut command)?;
    Ok(folder.join(profile.folder()).join(SIMULATOR))
}

/// Gives a command the compiler flags of the caller's environment with ours added.
fn with_flags(command: &mut Command, ours: [&str; 2]) {
    let (name, value) = added(env::var_os("CARGO_ENCODED_RUSTFLAGS"), env::var_os("RUSTFLAGS"), ours);
    announce(&format!("the next command has {name} extended by {}", ours.join(" ")));
    command.env(name, value);
}

/// The variable and its value with our flags added: cargo heeds the encoded variable before the plain one.
fn added(encoded: Option<OsString>, plain: Option<OsString>, ours: [&str; 2]) -> (&'static str, OsString) {
    let (name, separator, before) = match (encoded, plain) {
        (Some(flags), _) => ("CARGO_ENCODED_RUSTFLAGS", "\u{1f}", flags),
        (None, Some(flags)) => ("RUSTFLAGS", " ", flags),
        (None, None) => ("RUSTFLAGS", " ", OsString::new()),
    };
    let mut value = before;
    for flag in ours {
        if !value.is_empty() {
            value.push(separator);
        }
        value.push(flag);
    }
    (name, value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_callers_flags_are_kept() {
        assert_eq!(added(None, None, PLANTED_FLAGS), ("RUSTFLAGS", "--cfg slot_planted".into()));
        assert_eq!(
            added(None, Some("-Dwarnings".into()), FAILPOINT_FLAGS),
            ("RUSTFLAGS", "-Dwarnings --cfg slot_failpoints".into())
        );
        assert_eq!(
            added(Some("-g".into()), Some("-Dwarnings".into()), FAILPOINT_FLAGS),
            ("CARGO_ENCODED_RUSTFLAGS", "-g\u{1f}--cfg\u{1f}slot_failpoints".into())
        );
    }
}
