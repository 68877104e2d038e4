//! Carrying out a command.
//!
//! What always holds: what is only looked at goes through [`look`], what changes something through [`change`]; nothing
//! else dials a coordinator.

pub mod change;
pub mod init;
pub mod look;
pub mod shown;
pub mod watch;

use crate::args::{Admit, Cli, Command, Failover, Global, Loss, Off, OnHost, Plan, Show};
use crate::client::{Client, Task};
use crate::console::Console;
use crate::failure::{Exit, Failure};
use slot_types::plan::{Intent, Settlement};
use slot_types::view::Query;
use std::path::PathBuf;

fn client(global: &Global) -> Result<Client, Failure> {
    let folder = match (&global.folder, std::env::var_os("SLOT_FOLDER")) {
        (Some(folder), _) => folder.clone(),
        (None, Some(folder)) => PathBuf::from(folder),
        (None, None) => {
            let next = "name the folder that `slotctl init` made for you: --folder DIR or SLOT_FOLDER=DIR";
            return Err(Failure::new("say", "who you are", "no identity folder was given", next).usage());
        }
    };
    Client::new(&folder, global.coordinator.first().map(String::as_str), global.timeout)
}

/// Carries a command out.
pub async fn dispatch(cli: Cli, console: &mut Console) -> Result<Exit, Failure> {
    if let Command::Init(args) = &cli.command {
        return init::init(args, &cli.global.coordinator, console);
    }
    let mut client = client(&cli.global)?;
    let client = &mut client;
    match cli.command {
        Command::Init(_) => Ok(Exit::Usage),
        Command::Apply { file, change } => {
            let spec = init::read_file(&file)?;
            let task = Task::change("apply", file.display());
            change::plan_and_ask(client, console, &task, &Intent::Apply(Box::new(spec)), &change.message).await
        }
        Command::Status { check, stale } => look::status(client, console, check, stale).await,
        Command::Show(what) => {
            let (task, query) = match what {
                Show::Host { host } => (Task::look("show host", &host), Query::Host(host)),
                Show::Store { store } => (Task::look("show store", &store), Query::Store(store)),
                Show::Slot { slot } => (Task::look("show slot", &slot), Query::Slot(slot)),
            };
            look::look(client, console, &task, &query).await
        }
        Command::Drain(OnHost::Host { host, change }) => {
            let task = Task::change("drain host", &host);
            change::plan_and_ask(client, console, &task, &Intent::DrainHost(host), &change.message).await
        }
        Command::Undrain(OnHost::Host { host, change }) => {
            let task = Task::change("undrain host", &host);
            change::plan_and_ask(client, console, &task, &Intent::UndrainHost(host), &change.message).await
        }
        Command::Failover(what) => failover(client, console, what).await,
        Command::Off(Off::Host { host, how, change }) => {
            change::attest(client, console, &host, &how, &change.message).await
        }
        Command::Admit(Admit::Host { host, incarnation, change }) => {
            change::admit(client, console, &host, incarnation, &change.message).await
        }
        Command::Plan(what) => plan(client, console, what).await,
        Command::Loss(what) => loss(client, console, what).await,
        Command::Audit { after, limit } => {
            look::look(client, console, &Task::look("read", "the audit"), &Query::Audit { after, limit }).await
        }
        Command::Routes { watch: false } => {
            look::look(client, console, &Task::look("read", "the routes"), &Query::Routes).await
        }
        Command::Routes { watch: true } => look::watch_routes(client, console).await,
    }
}

async fn failover(client: &mut Client, console: &mut Console, what: Failover) -> Result<Exit, Failure> {
    let (task, intent, change) = match what {
        Failover::Slot { slot, to, change } => {
            (Task::change("fail over slot", &slot), Intent::FailOverSlot { slot, to }, change)
        }
        Failover::Host { host, change } => (Task::change("fail over host", &host), Intent::FailOverHost(host), change),
    };
    change::plan_and_ask(client, console, &task, &intent, &change.message).await
}

async fn plan(client: &mut Client, console: &mut Console, what: Plan) -> Result<Exit, Failure> {
    match what {
        Plan::List => look::look(client, console, &Task::look("list", "plans"), &Query::Plans).await,
        Plan::Show { plan } => look::show_plan(client, console, plan).await,
        Plan::Approve { plan, digest, switch_off, no_wait, change } => {
            change::approve(client, console, plan, digest, &switch_off, &change.message, no_wait).await
        }
        Plan::Reject { plan, change } => change::reject(client, console, plan, &change.message).await,
        Plan::Abort { plan, change } => change::abort(client, console, plan, &change.message).await,
        Plan::Watch { plan } => watch::to_the_end(client, console, &Task::look("watch plan", plan), plan).await,
    }
}

async fn loss(client: &mut Client, console: &mut Console, what: Loss) -> Result<Exit, Failure> {
    let (case, how, change) = match what {
        Loss::List => return look::look(client, console, &Task::look("list", "loss cases"), &Query::LossCases).await,
        Loss::Show { case } => {
            let task = Task::look("show loss case", case);
            return look::look(client, console, &task, &Query::LossCase(case)).await;
        }
        Loss::Reinject { case, change } => (case, Settlement::Reinject, change),
        Loss::Discard { case, change } => (case, Settlement::Discard, change),
    };
    let operation = match how {
        Settlement::Reinject => "reinject loss case",
        Settlement::Discard => "discard loss case",
    };
    let task = Task::change(operation, case);
    change::plan_and_ask(client, console, &task, &Intent::SettleLoss { case, how }, &change.message).await
}
