//! The journal engine's program: one process serves one copy.
//!
//! What always holds: it takes everything from its arguments; it exits with success only after a clean stop.

#[cfg(slot_planted)]
compile_error!("a shipped program never has planted bugs: build it without --cfg slot_planted");

use clap::{Parser, Subcommand};
use slot_engine::journal::core::Config;
use slot_engine::journal::{PURPOSE, server};
use slot_types::ids::{CopyGeneration, SlotId, StoreName};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

/// One copy of one store, served to clients, to other copies and to its host's agent.
#[derive(Debug, Parser)]
#[command(name = "slot-journal", version, after_help = PURPOSE)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make an empty copy in a new folder; agents do this themselves.
    #[command(after_help = PURPOSE)]
    Provision {
        /// The folder.
        #[arg(long)]
        dir: PathBuf,
        /// The store.
        #[arg(long)]
        store: StoreName,
        /// The slot it is on, as in imap3/07.
        #[arg(long)]
        slot: SlotId,
        /// The copy generation.
        #[arg(long)]
        generation: u32,
    },
    /// Serve the copy in a folder until told to stop.
    #[command(after_help = PURPOSE)]
    Serve {
        /// The copy's folder.
        #[arg(long)]
        dir: PathBuf,
        /// The slot's address.
        #[arg(long)]
        listen: SocketAddr,
        /// The identity folder of the host's agent.
        #[arg(long)]
        folder: PathBuf,
    },
}

fn run(cli: Cli) -> Result<(), Box<dyn std::error::Error>> {
    match cli.command {
        Command::Provision { dir, store, slot, generation } => {
            Ok(server::provision(&dir, &Config::new(store, slot, CopyGeneration(generation)))?)
        }
        Command::Serve { dir, listen, folder } => {
            let options = server::ServeOptions { dir, listen, folder };
            // One thread: the core is single threaded, and TLS for one small engine needs no more.
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            Ok(runtime.block_on(server::serve(&options))?)
        }
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    slot_net::logging::init("slot-journal");
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            tracing::error!("slot-journal: {e}");
            ExitCode::FAILURE
        }
    }
}
