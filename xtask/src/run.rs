//! What each command of the workshop does.
//!
//! What always holds: the exit code of the program that failed is ours.

use std::fmt;
use std::io;
use std::process::{Command, ExitCode, ExitStatus};

use crate::SimOptions;
use crate::build::{self, Profile, cargo};

/// Where tests find the programs as they are shipped.
const BIN_DIR: &str = "SLOT_BIN_DIR";
/// Where tests find the programs with failpoints.
const FAILPOINT_BIN_DIR: &str = "SLOT_FAILPOINT_BIN_DIR";

/// Why a command of the workshop did not end well.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The program could not be started.
    Start {
        /// What we were about to do.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// The program ran and failed.
    Failed {
        /// What it was to do.
        what: String,
        /// How it ended.
        status: ExitStatus,
    },
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Start { what, source } => {
                write!(f, "could not {what}: {source}; is the program there and executable?")
            }
            Failure::Failed { what, status } => write!(f, "could not {what}: {status}; its own output above says why"),
        }
    }
}

impl Failure {
    /// The failed program's own code where it has one; a program ended by a signal counts as 1.
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Failure::Failed { status, .. } => {
                let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
                ExitCode::from(code.max(1))
            }
            Failure::Start { .. } => ExitCode::from(2),
        }
    }
}

/// Says on standard error what comes next: standard output belongs to the program that is run.
pub(crate) fn announce(text: &str) {
    eprintln!("xtask: {text}");
}

/// Prints the command line, runs it to its end, and turns a bad end into a failure.
pub(crate) fn finish(what: &str, command: &mut Command) -> Result<(), Failure> {
    let mut line = command.get_program().to_string_lossy().into_owned();
    for arg in command.get_args() {
        line.push(' ');
        line.push_str(&arg.to_string_lossy());
    }
    announce(&line);
    let status = command.status().map_err(|source| Failure::Start { what: what.into(), source })?;
    if status.success() { Ok(()) } else { Err(Failure::Failed { what: what.into(), status }) }
}

/// Builds what the tests need and passes them.
pub(crate) fn test(args: &[String]) -> Result<(), Failure> {
    let programs = build::programs(Profile::Dev)?;
    let failpoint_programs = build::failpoint_programs()?;
    announce(&format!("{BIN_DIR}={} {FAILPOINT_BIN_DIR}={}", programs.display(), failpoint_programs.display()));
    let mut command = cargo();
    command.args(["test", "--locked"]);
    if !names_packages(args) {
        command.arg("--workspace");
    }
    command.args(args);
    command.env(BIN_DIR, programs).env(FAILPOINT_BIN_DIR, failpoint_programs);
    finish("pass the tests", &mut command)
}

/// Whether the caller chose packages, so that we do not add all of them.
fn names_packages(args: &[String]) -> bool {
    args.iter()
        .take_while(|arg| *arg != "--")
        .any(|arg| arg.starts_with("-p") || arg == "--package" || arg.starts_with("--package="))
}

/// Builds the programs and hands over to the rig, which lives with the tests: `slot-demo demo|up|down`.
pub(crate) fn rig(act: &str, dev: bool, args: &[String]) -> Result<(), Failure> {
    let profile = if dev { Profile::Dev } else { Profile::Release };
    let programs = build::programs(profile)?;
    // Started where the caller stands, so that a relative FILE means what the caller meant.
    let mut command = build::cargo_here();
    command.args(["run", "--locked", "--quiet", "--package", "slot-tests", "--bin", "slot-demo", "--manifest-path"]);
    command.arg(build::root().join("Cargo.toml"));
    profile.apply(&mut command);
    command.args(["--", act]).args(args).env(BIN_DIR, programs);
    finish(&format!("finish `{act}`"), &mut command)
}

/// Builds the simulator and hands over to it: `slot-sim sim|planted|sweep`.
pub(crate) fn simulator(act: &str, options: &SimOptions) -> Result<(), Failure> {
    let profile = if options.dev { Profile::Dev } else { Profile::Release };
    let program = build::simulator(profile, options.planted_build || act == "planted")?;
    // Started where the caller stands, so that a relative FILE means what the caller meant.
    finish(&format!("finish `{act}`"), Command::new(program).arg(act).args(&options.args))
}

/// Runs all benchmarks, or one; cargo names those there are when there is none of that name.
pub(crate) fn bench(name: Option<&str>, args: &[String]) -> Result<(), Failure> {
    if name == Some("handover") {
        // Over real processes, by the rig that the tests and the demo have.
        return rig("bench-handover", false, args);
    }
    let args = if args.first().is_some_and(|arg| arg == "--") { &args[1..] } else { args };
    if name == Some("placement") {
        return bench_placement(args);
    }
    let mut command = cargo();
    command.args(["bench", "--locked", "--package", "slot-benches"]);
    match name {
        Some(name) => command.args(["--bench", name]),
        None => command.arg("--benches"),
    };
    command.arg("--").args(from_here(args));
    finish("run the benchmarks", &mut command)
}

/// The file behind `--json` as whoever types it means it: cargo starts benchmarks in their own folder.
fn from_here(args: &[String]) -> Vec<String> {
    let here = std::env::current_dir().unwrap_or_default();
    let mut file = false;
    let absolute = |arg: &String| {
        let is_file = std::mem::replace(&mut file, arg == "--json");
        if is_file { here.join(arg).display().to_string() } else { arg.clone() }
    };
    args.iter().map(absolute).collect()
}

/// Runs `slotctl offline`, and hbal beside it, on the shared generator's files.
fn bench_placement(args: &[String]) -> Result<(), Failure> {
    let mut build = cargo();
    build.args(["build", "--locked", "--release", "--package", "slotctl", "--package", "slot-benches", "--bins"]);
    finish("build slotctl and its bench", &mut build)?;
    let mut command = cargo();
    command.args(["run", "--locked", "--release", "--package", "slot-benches", "--bin", "placement", "--"]).args(args);
    finish("run the placement bench", &mut command)
}

/// Runs what CI runs.
pub(crate) fn ci() -> Result<(), Failure> {
    finish("pass the gates", &mut Command::new(build::root().join(".ci").join("run")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_seen_before_the_double_dash_only() {
        let args = |list: &[&str]| list.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>();
        assert!(names_packages(&args(&["-p", "slot-raft"])));
        assert!(names_packages(&args(&["--package=slot-raft"])));
        assert!(!names_packages(&args(&["floors", "--", "-p"])));
        assert!(!names_packages(&[]));
    }
}
