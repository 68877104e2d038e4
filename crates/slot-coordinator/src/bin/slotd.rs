//! slotd: one coordinator of a cluster.

#[cfg(slot_planted)]
compile_error!("a shipped program never has planted bugs: build it without --cfg slot_planted");

use clap::Parser;
use slot_coordinator::shell::{Options, StartupError, prepare, run};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

/// One coordinator of a cluster: keeps the truth with the others, and carries out approved plans while it leads.
#[derive(Debug, Parser)]
#[command(name = "slotd", version)]
struct Arguments {
    /// Identity folder of this coordinator, as `slotctl init` made it
    #[arg(long, value_name = "DIR")]
    folder: PathBuf,
    /// Data folder; made when it is not there
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// Where to listen, if not where cluster.json in the identity folder says
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// Check identity, data and address, say what was found, and end
    #[arg(long)]
    check: bool,
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
    let options = Options { folder: arguments.folder, dir: arguments.dir, listen: arguments.listen };
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
