//! Every command of the workshop: `cargo xtask test | demo | up | down | sim | planted | sweep | bench | ci`.
//!
//! What always holds: nothing goes through a shell; every program is started from an argument list and its exit code is
//! handed on; each command line is printed before it runs; builds with failpoints or planted bugs never share a target
//! folder with others, since cargo's features and flags unify across a workspace.

mod build;
mod run;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Every command of the workshop.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build what the tests need, the failpoint programs too, and run all tests.
    Test {
        /// Handed to `cargo test`: a filter, `-p CRATE`, `--test NAME`, `-- --nocapture`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// A small cluster of real processes does the main job and says what it does.
    Demo {
        #[command(flatten)]
        options: RigOptions,
    },
    /// Start a small cluster and leave it running, with the first five commands to type.
    Up {
        #[command(flatten)]
        options: RigOptions,
    },
    /// Stop the cluster that `up` started.
    Down {
        #[command(flatten)]
        options: RigOptions,
    },
    /// Whole clusters, each in one thread from one seed, under faults: looks for what must not happen.
    Sim {
        #[command(flatten)]
        options: SimOptions,
    },
    /// The simulator, built with planted bugs: it must catch each of them.
    Planted {
        #[command(flatten)]
        options: SimOptions,
    },
    /// The simulator with one fault at every effect of every kind of plan, or with sampled pairs of faults.
    Sweep {
        #[command(flatten)]
        options: SimOptions,
    },
    /// Run the benchmarks, or one of them.
    Bench {
        /// Which one: machine, planner, questions, journal, raft, handover or placement.
        name: Option<String>,
        /// Handed to the benchmark: `--json FILE` to handover, placement and questions, `--peer hbal` and
        /// `--inputs DIR` to placement; to criterion for instance `--quick`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// What CI runs: `.ci/run`.
    Ci,
}

/// How the rig's programs are built, and what the rig itself is told.
#[derive(Debug, clap::Args)]
struct RigOptions {
    /// Use unoptimised programs: built sooner, slower to run.
    #[arg(long)]
    dev: bool,
    /// Handed to the rig, for instance `--json FILE`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

/// How the simulator is built, and what it is told.
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct SimOptions {
    /// Use an unoptimised simulator: built sooner, much slower to run.
    #[arg(long)]
    pub(crate) dev: bool,
    /// Use the build that has the planted bugs in it, with none switched on: it comes to the same, and CI builds once.
    #[arg(long)]
    pub(crate) planted_build: bool,
    /// Handed to the simulator, for instance `--seeds 300`, `--json FILE`, `--help`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) args: Vec<String>,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match cli.command {
        Command::Test { args } => run::test(&args),
        Command::Demo { options } => run::rig("demo", options.dev, &options.args),
        Command::Up { options } => run::rig("up", options.dev, &options.args),
        Command::Down { options } => run::rig("down", options.dev, &options.args),
        Command::Sim { options } => run::simulator("sim", &options),
        Command::Planted { options } => run::simulator("planted", &options),
        Command::Sweep { options } => run::simulator("sweep", &options),
        Command::Bench { name, args } => run::bench(name.as_deref(), &args),
        Command::Ci => run::ci(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("xtask: {failure}");
            failure.exit_code()
        }
    }
}
