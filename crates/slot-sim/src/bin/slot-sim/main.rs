//! Runs the simulator: many seeds, one seed, planted bugs, every single fault.
//!
//! What always holds: standard output is what was asked for, standard error is progress and complaints; the exit code is
//! 0 when all is well, 1 when something was found or left unreached, 2 when the command cannot be done as typed.

mod planted;
mod progress;
mod sim;
mod sweep;

use clap::{Parser, Subcommand};
use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;

/// A whole cluster in one thread from one seed.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run seeds and look for what must not happen.
    Sim(sim::Sim),
    /// Hunt the planted bugs: each must be caught.
    Planted(planted::Planted),
    /// One fault at every effect of every kind of plan, each in a run of its own; or sampled pairs of faults.
    Sweep(sweep::Sweep),
}

/// How many threads.
#[derive(Debug, Clone, Copy, clap::Args)]
struct Jobs {
    /// Threads; one for every core unless said otherwise.
    #[arg(long, value_name = "N")]
    jobs: Option<NonZeroUsize>,
}

impl Jobs {
    fn number(self) -> usize {
        let cores = || thread::available_parallelism().map_or(1, usize::from);
        self.jobs.map_or_else(cores, usize::from)
    }
}

/// Why a command cannot be done as typed.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// What was typed does not fit.
    #[error("{0}")]
    Usage(String),
    /// A file could not be written.
    #[error("could not write {path}: {source}; name a file in a folder that exists and may be written to")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Writes a value as JSON where it was asked for.
fn write(path: Option<&Path>, value: &impl serde::Serialize) -> Result<(), Failure> {
    let Some(path) = path else { return Ok(()) };
    let written = slot_sim::campaign::evidence::write(path, value);
    written.map_err(|source| Failure::Write { path: path.to_path_buf(), source })
}

/// The command line as it is written into a run's file.
fn command_line() -> String {
    slot_sim::campaign::evidence::command_line(std::env::args().skip(1))
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Sim(sim) => sim.run(),
        Command::Planted(planted) => planted.run(),
        Command::Sweep(sweep) => sweep.run(),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(failure) => {
            eprintln!("slot-sim: {failure}");
            ExitCode::from(2)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        let parsed = |args: &[&str]| Cli::try_parse_from(["xtask"].iter().chain(args)).is_ok();
        assert!(parsed(&["sim"]) && parsed(&["sim", "--seed", "7", "--shrink", "--suppress", "1,5-9"]));
        assert!(parsed(&["sim", "--minutes", "0.5", "--json", "f", "--jobs", "2", "--check-twice"]));
        assert!(!parsed(&["sim", "--seed", "7", "--seeds", "8"]));
        assert!(!parsed(&["sim", "--trace"]) && !parsed(&["sim", "--shrink"]));
        assert!(!parsed(&["sim", "--jobs", "0"]) && !parsed(&["sim", "--seed", "1", "--suppress", "x"]));
    }
}
