//! slot-demo: `demo`, and a cluster left running with `up` until `down`.

use clap::{Parser, Subcommand};
use slot_tests::{demo, engines, handover_bench};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc;
use tokio::signal::unix::{SignalKind, signal};

/// A small cluster of real processes on this machine.
#[derive(Debug, Parser)]
#[command(name = "slot-demo", max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    act: Act,
}

#[derive(Debug, Subcommand)]
enum Act {
    /// The main job, done and told: hand-overs, drains, a dead leader, a dead host.
    Demo {
        /// Write the numbers there.
        #[arg(long, value_name = "FILE")]
        json: Option<PathBuf>,
    },
    /// Start a cluster and leave it running.
    Up {
        /// Where its data goes.
        #[arg(long, value_name = "DIR", default_value = ".up")]
        dir: PathBuf,
    },
    /// Measure how long clients wait when many masters leave one host.
    BenchHandover {
        /// Write the figures there instead of printing them.
        #[arg(long, value_name = "FILE")]
        json: Option<PathBuf>,
        /// Masters on the host.
        #[arg(long, default_value_t = 40, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=90))]
        masters: u16,
        /// How often it is drained and undrained.
        #[arg(long, default_value_t = 3, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=100))]
        rounds: u32,
        /// Hand-overs that policy lets be under way at once.
        #[arg(long, default_value_t = 1, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=100))]
        at_once: u16,
    },
    /// End the cluster that `up` left running.
    Down {
        /// Where its data is.
        #[arg(long, value_name = "DIR", default_value = ".up")]
        dir: PathBuf,
    },
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().act {
        Act::Demo { json } => {
            let (began, folder) = mpsc::channel();
            std::thread::spawn(move || clean_up_when_told(&folder));
            demo::run(json.as_deref(), move |folder| {
                // The receiver lives as long as the process.
                let _ = began.send(folder);
            })
        }
        Act::BenchHandover { json, masters, rounds, at_once } => {
            handover_bench::run(handover_bench::Plan { masters, rounds, at_once }, json.as_deref())
        }
        Act::Up { dir } => demo::up(&dir),
        Act::Down { dir } => demo::down(&dir),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nslot-demo: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Ends everything when the demo is asked to stop, since its drop is not reached then.
#[expect(clippy::exit, reason = "the main thread is in the middle of an act and has no way to be told")]
fn clean_up_when_told(folder: &mpsc::Receiver<PathBuf>) {
    let Ok(folder) = folder.recv() else { return };
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
    let told = runtime.block_on(async {
        let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
        std::io::Result::Ok(())
    });
    if told.is_ok() {
        eprintln!("\nslot-demo: ending all processes");
        clean_up(&folder);
        std::process::exit(130);
    }
}

fn clean_up(folder: &Path) {
    for child in engines::own_children() {
        let _ = engines::signal(&child, rustix::process::Signal::KILL);
    }
    if let Err(error) = engines::kill_below(&folder.join("hosts")) {
        eprintln!("slot-demo: {error}");
    }
    let _ = std::fs::remove_dir_all(folder);
}
