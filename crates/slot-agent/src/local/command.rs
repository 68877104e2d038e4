//! `slot-agent local …`.
//!
//! What always holds: stdout is data and stderr is talk; a master is started only after a person said that the disk is no older
//! one that was put back, and typed the slot's name once more.

use super::ask::{AskError, ask};
use super::{LocalReply, LocalRequest, LocalStatus, text};
use crate::config::{AgentConfig, ConfigError};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;
use slot_types::hand::HandState;
use slot_types::ids::{Epoch, OperatorName, SlotId};
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// For a person at this machine, when the coordinators are gone.
#[derive(Debug, Args)]
pub struct LocalArgs {
    /// This host's agent.toml: it says where the running agent is asked.
    #[arg(long, default_value = "/etc/slotd/agent.toml")]
    config: PathBuf,
    /// Where ledger and copies are, instead of what agent.toml says.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// How answers are printed.
    #[arg(long, value_enum, default_value = "text")]
    output: Output,
    #[command(subcommand)]
    command: LocalCommand,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
enum LocalCommand {
    /// What this host's ledger and engines say, and what could be started by hand.
    Status,
    /// Start the master of a slot again, at the epoch at which its ledger says that it was master (R19).
    StartMaster {
        /// The slot, as in imap3/07.
        slot: SlotId,
        /// The epoch that local status shows for it.
        #[arg(long)]
        epoch: Epoch,
        /// Who you are: kept in the ledger and in the audit.
        #[arg(long)]
        by: OperatorName,
        /// Why: kept in the ledger and in the audit.
        #[arg(short = 'm', long = "reason")]
        reason: String,
        /// The slot once more, where nobody can be asked to type it.
        #[arg(long)]
        confirm: Option<SlotId>,
        /// You know that this machine's disk was not restored, cloned or put back since it last spoke to a coordinator (S2).
        #[arg(long)]
        disk_is_current: bool,
    },
}

#[derive(Debug, thiserror::Error)]
enum LocalFailure {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Ask(#[from] AskError),
    #[error("cannot start {slot} by hand: {why}; look at it: slot-agent local status")]
    Refused { slot: SlotId, why: String },
    #[error("cannot start {0} by hand: the slot was not typed once more; type it, or say --confirm {0}")]
    NotConfirmed(SlotId),
    #[error(
        "cannot start {0} by hand: nobody said that the disk is the one it ran on last; if it was not restored, cloned or put \
         back since it last spoke to a coordinator, say --disk-is-current"
    )]
    DiskNotVouchedFor(SlotId),
    #[error("cannot ask the agent: it answered something else; is it of another version?")]
    Unexpected,
}

/// Runs the command.
pub async fn run(args: LocalArgs) -> ExitCode {
    let json = args.output == Output::Json;
    match obey(args).await {
        Ok(code) => code,
        Err(failure) if json => {
            eprintln!("{}", json!({ "schema": "error", "version": 1, "error": failure.to_string() }));
            ExitCode::FAILURE
        }
        Err(failure) => {
            eprintln!("slot-agent: {failure}");
            ExitCode::FAILURE
        }
    }
}

async fn obey(args: LocalArgs) -> Result<ExitCode, LocalFailure> {
    let data = match args.dir {
        Some(dir) => dir,
        None => AgentConfig::read(&args.config)?.data,
    };
    let json = args.output == Output::Json;
    match args.command {
        LocalCommand::Status => {
            let status = status(&data).await?;
            say(&if json { document("local-status", &status) } else { text::status(&status) });
            Ok(ExitCode::SUCCESS)
        }
        LocalCommand::StartMaster { slot, epoch, by, reason, confirm, disk_is_current } => {
            let before = status(&data).await?;
            let there = before.slots.iter().find(|there| there.slot == slot);
            let may_ask = !json && io::stdin().is_terminal() && io::stderr().is_terminal();
            let disk_is_current = disk_is_current || may_ask && line(text::DISK_QUESTION).as_deref() == Some("no");
            if !disk_is_current {
                return Err(LocalFailure::DiskNotVouchedFor(slot));
            }
            let typed = match confirm {
                Some(typed) => Some(typed),
                None if may_ask => line(&text::question(&slot, there)).and_then(|typed| typed.parse().ok()),
                None => None,
            };
            if typed.as_ref() != Some(&slot) {
                return Err(LocalFailure::NotConfirmed(slot));
            }
            let request = LocalRequest::StartMaster { slot: slot.clone(), epoch, by, reason, disk_is_current };
            let LocalReply::Started(answer) = ask(&data, &request).await? else { return Err(LocalFailure::Unexpected) };
            let start = answer.map_err(|why| LocalFailure::Refused { slot: slot.clone(), why })?;
            let store = there.map(|there| &there.store);
            let named = json!({ "slot": slot, "store": store, "start": start });
            say(&if json { document("local-started", &named) } else { text::started(&slot, store, &start) });
            Ok(if start.state == HandState::Serving { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
    }
}

async fn status(data: &Path) -> Result<LocalStatus, LocalFailure> {
    match ask(data, &LocalRequest::Status).await? {
        LocalReply::Status(status) => Ok(*status),
        LocalReply::Started(_) => Err(LocalFailure::Unexpected),
    }
}

/// What a person types.
fn line(question: &str) -> Option<String> {
    eprint!("{question}");
    let mut line = String::new();
    io::stdin().read_line(&mut line).ok()?;
    Some(line.trim().to_owned())
}

fn document(schema: &str, value: &impl serde::Serialize) -> String {
    let mut document = serde_json::to_value(value).unwrap_or_default();
    if let Some(fields) = document.as_object_mut() {
        fields.insert("schema".into(), schema.into());
        fields.insert("version".into(), 1.into());
    }
    format!("{document}\n")
}

fn say(text: &str) {
    // A reader that went away (`| head`) is no error of the command.
    let _ = io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush());
}
