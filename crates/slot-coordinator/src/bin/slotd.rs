//! slotd: one coordinator of a cluster.

#[cfg(slot_planted)]
compile_error!("a shipped program never has planted bugs: build it without --cfg slot_planted");

use clap::{Parser, Subcommand};
use slot_coordinator::shell::{Options, StartupError, prepare, restore, run};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

/// One coordinator of a cluster: keeps the truth with the others, and carries out approved plans while it leads.
#[derive(Debug, Parser)]
#[command(name = "slotd", version)]
struct Arguments {
    /// Identity folder of this coordinator, as `slotctl init` made it
    #[arg(long, value_name = "DIR", global = true)]
    folder: Option<PathBuf>,
    /// Data folder; made when it is not there
    #[arg(long, value_name = "DIR", global = true)]
    dir: Option<PathBuf>,
    /// Where to listen, if not where cluster.json in the identity folder says
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// Check identity, data and address, say what was found, and end
    #[arg(long)]
    check: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write this coordinator's disk from a backup, when a majority of the disks is gone; the same on every coordinator
    Restore {
        /// The file that slotctl backup made
        #[arg(long, value_name = "FILE")]
        from: PathBuf,
        /// The generation to begin; one above the backup's if it is not said, higher if that one was used already
        #[arg(long, value_name = "NUMBER")]
        generation: Option<u32>,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    slot_net::logging::init("slotd");
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("slotd: starting the runtime: {error}; check the limits on threads and open files");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(serve(arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("slotd: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(arguments: Arguments) -> Result<(), StartupError> {
    let (Some(folder), Some(dir)) = (arguments.folder, arguments.dir) else { return Err(StartupError::Folders) };
    let options = Options { folder, dir, listen: arguments.listen };
    if let Some(Command::Restore { from, generation }) = &arguments.command {
        eprintln!("slotd: {}", restore(&options, from, *generation)?);
        return Ok(());
    }
    let prepared = prepare(&options).await?;
    if arguments.check {
        eprintln!("slotd: {}", prepared.summary());
        return Ok(());
    }
    tracing::info!("{}", prepared.summary());
    run(prepared, asked_to_stop()).await?;
    tracing::info!("stopped");
    Ok(())
}

async fn asked_to_stop() {
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
        tracing::warn!("signals can't be caught: stop this process by killing it, which is safe");
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => tracing::info!("asked to stop"),
        _ = int.recv() => tracing::info!("interrupted"),
    }
}
