//! The agent's program: one per storage host, and one per front end, which its identity folder tells apart.
//!
//! What always holds: it begins only as the agent that its identity folder, its `agent.toml` and its ledger agree on;
//! ending it leaves every engine running (S10).

#[cfg(slot_planted)]
compile_error!("a shipped program never has planted bugs: build it without --cfg slot_planted");

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand};
use slot_agent::agent::{Agent, AgentError};
use slot_agent::config::{AgentConfig, ConfigError};
use slot_agent::fence::Fencer;
use slot_agent::front_end::config::FrontEndConfig;
use slot_agent::front_end::service::{FrontEndService, StoreError};
use slot_agent::join::{self, JoinError};
use slot_agent::local::command::{self, LocalArgs};
use slot_agent::local::serve::{self, LocalError};
use slot_agent::looks::Lookout;
use slot_agent::service::AgentService;
use slot_engine::journal::JournalEngine;
use slot_net::{Dialer, FolderError, Identity, IdentityFolder, Role, ServeError, Token};
use slot_types::ids::BootId;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// Carries out the leader's orders on one storage host, fenced by a durable ledger. Engines are processes of their own: they
/// outlive this one, and the next one adopts them.
#[derive(Debug, Parser)]
#[command(name = "slot-agent", version, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: Option<Serve>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// For a person at this machine, when the coordinators are gone: what is here, and starting a master by hand.
    Local(LocalArgs),
    /// Makes this host's identity folder with a one-time token of `slotctl invite host`, and ends. The key is made here and
    /// stays here. The same command may be run again when it was interrupted.
    Join {
        /// The token's file.
        #[arg(long)]
        token: PathBuf,
        /// The host's agent.toml.
        #[arg(long)]
        config: PathBuf,
        /// The identity folder to make.
        #[arg(long)]
        folder: PathBuf,
        /// Where ledger and copies are, instead of what agent.toml says.
        #[arg(long)]
        dir: Option<PathBuf>,
        /// How many seconds to go on trying when no coordinator answers.
        #[arg(long, default_value_t = 30)]
        timeout: u64,
    },
}

#[derive(Debug, Args)]
struct Serve {
    /// The host's agent.toml: host, listen, data and slots; or a front end's front-end.toml: front_end, listen, data and maps.
    #[arg(long)]
    config: PathBuf,
    /// The identity folder that `slotctl init`, or `slot-agent join`, made for this agent.
    #[arg(long)]
    folder: PathBuf,
    /// Where ledger and copies are, instead of what agent.toml says.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Where to listen, instead of what agent.toml says.
    #[arg(long)]
    listen: Option<SocketAddr>,
    /// For trials that simulate several hosts on one machine: 32 hex digits that stand for this boot. Without it, the
    /// kernel's own boot id.
    #[arg(long)]
    boot_id: Option<BootId>,
}

#[derive(Debug, thiserror::Error)]
enum RunError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error("{folder} is the identity of {found}, --config is for {wanted}; give this machine its own folder")]
    OtherIdentity { folder: PathBuf, found: Identity, wanted: String },
    #[error(transparent)]
    Join(#[from] JoinError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    BootId(#[from] slot_net::clock::BootIdError),
    #[error("cannot listen on {address}: {cause}; is another agent running?")]
    Listen { address: SocketAddr, cause: std::io::Error },
    #[error("cannot find the engine's program: {0}; set engine_binary in agent.toml")]
    Program(String),
    #[error(transparent)]
    Agent(#[from] AgentError),
    #[error(transparent)]
    Local(#[from] LocalError),
    #[error(transparent)]
    Serve(#[from] ServeError),
    #[error("cannot {what}: {cause}")]
    System { what: &'static str, cause: std::io::Error },
}

fn absolute(dir: &Path) -> Result<PathBuf, RunError> {
    std::path::absolute(dir).map_err(|cause| RunError::System { what: "find the data folder", cause })
}

fn config(path: &Path, dir: Option<&Path>, listen: Option<SocketAddr>) -> Result<AgentConfig, RunError> {
    let mut config = AgentConfig::read(path)?;
    if let Some(dir) = dir {
        config.data = absolute(dir)?;
    }
    config.listen = listen.unwrap_or(config.listen);
    Ok(config)
}

/// The engine's program: as configured, or beside this one.
fn program(config: &AgentConfig) -> Result<PathBuf, RunError> {
    let program = match &config.engine_binary {
        Some(program) => program.clone(),
        None => {
            let own = std::env::current_exe().map_err(|e| RunError::Program(e.to_string()))?;
            own.with_file_name("slot-journal")
        }
    };
    if program.is_file() { Ok(program) } else { Err(RunError::Program(format!("{} is no file", program.display()))) }
}

async fn ended() {
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::warn!("cannot listen for signals: only a kill ends this agent");
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("ending; engines run on");
}

/// A front end: its identity says so, and its file is a front-end.toml.
async fn run_front_end(cli: Serve, folder: IdentityFolder) -> Result<(), RunError> {
    let mut config = FrontEndConfig::read(&cli.config)?;
    if let Some(dir) = &cli.dir {
        config.data = absolute(dir)?;
    }
    let listen = cli.listen.unwrap_or(config.listen);
    if folder.identity().name() != config.front_end.as_str() {
        let (found, wanted) = (folder.identity().clone(), config.front_end.to_string());
        return Err(RunError::OtherIdentity { folder: cli.folder, found, wanted });
    }
    let listener = TcpListener::bind(listen).await.map_err(|cause| RunError::Listen { address: listen, cause })?;
    tracing::info!("front end {} listens on {listen}", config.front_end);
    let service = FrontEndService::start(config, folder.membership().cluster_id)?;
    Ok(slot_net::serve(listener, &folder, tonic::service::Routes::new(service), ended()).await?)
}

async fn serve(cli: Serve) -> Result<(), RunError> {
    let folder = IdentityFolder::load(&cli.folder)?;
    if folder.identity().role() == Role::FrontEnd {
        return run_front_end(cli, folder).await;
    }
    let config = config(&cli.config, cli.dir.as_deref(), cli.listen)?;
    let identity = folder.identity();
    if identity.role() != Role::Agent || identity.name() != config.host.as_str() {
        let found = identity.clone();
        return Err(RunError::OtherIdentity { folder: cli.folder, found, wanted: config.host.to_string() });
    }
    let boot = match cli.boot_id {
        Some(boot) => boot,
        None => slot_net::boot_id()?,
    };
    let engine = Arc::new(JournalEngine::new(Dialer::new(folder.clone()), program(&config)?));
    let listener =
        TcpListener::bind(config.listen).await.map_err(|cause| RunError::Listen { address: config.listen, cause })?;
    let (agent, handle) = Agent::open(&config, folder.membership().cluster_id, boot, engine.clone())?;
    let running = tokio::spawn(agent.run());
    let people = tokio::spawn(serve::run(serve::listen(&config.data)?, handle.clone()));
    tracing::info!("agent of {} listens on {}", config.host, config.listen);
    let watched = handle.clone();
    let end = async move {
        tokio::select! {
            () = ended() => {}
            () = watched.gone() => tracing::error!("the agent ended by itself; ending, so that it is started again"),
        }
    };
    let fencer = Fencer::new(config.fence_dir.clone());
    let lookout = Lookout::new(config.host.clone(), Dialer::new(folder.clone()), fencer, engine);
    let routes = tonic::service::Routes::new(AgentService::server(handle, lookout));
    slot_net::serve(listener, &folder, routes, end).await?;
    people.abort();
    running.await.map_err(|e| RunError::System { what: "end the agent", cause: std::io::Error::other(e) })
}

async fn run(cli: Cli) -> Result<ExitCode, RunError> {
    match (cli.command, cli.serve) {
        (Some(Command::Join { token, config: file, folder, dir, timeout }), _) => {
            let token = Token::read(&token)?;
            let config = config(&file, dir.as_deref(), None)?;
            let patience = Duration::from_secs(timeout);
            let made = join::join(&token, &config, &folder, slot_net::boot_id()?, patience).await?;
            let (file, folder) = (file.display(), made.path().display());
            println!(
                "{} joined; the token is burnt\n  next  slot-agent --config {file} --folder {folder}",
                config.host
            );
            Ok(ExitCode::SUCCESS)
        }
        (Some(Command::Local(local)), _) => Ok(command::run(local).await),
        (None, Some(cli)) => serve(cli).await.map(|()| ExitCode::SUCCESS),
        (None, None) => {
            Cli::command().error(ErrorKind::MissingRequiredArgument, "--config and --folder are needed").exit()
        }
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    slot_net::logging::init("slot-agent");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(run(cli)),
        Err(cause) => Err(RunError::System { what: "start the runtime", cause }),
    };
    outcome.unwrap_or_else(|error| {
        tracing::error!("slot-agent: {error}");
        ExitCode::FAILURE
    })
}
