//! Carrying out a command.
//!
//! What always holds: what is only looked at goes through [`look`], what changes something through [`change`]; nothing
//! else dials a coordinator.

mod asks;
pub mod audit;
pub mod backup;
pub mod change;
pub mod generate;
pub mod init;
mod invite;
pub mod look;
pub mod offline;
mod pause;
pub mod shown;
mod verify;
pub mod watch;

use crate::args::{
    Admit, Audit, Cli, Command, Drain, Evidence, Explain, Failover, Fill, Global, Loss, Move, Off, OnHost, Plan,
    Rebuild, Retire, Risk, Show, Slots, Stores,
};
use crate::client::{Client, Task, Why};
use crate::console::Console;
use crate::failure::{Exit, Failure};
use slot_types::ids::HostName;
use slot_types::plan::{Intent, Said, Scope, Settlement};
use slot_types::view::{ExplainWhat, Lost, Query, SlotFilter, StoreFilter};
use std::collections::BTreeSet;
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
    if let Command::Offline(what) = cli.command {
        return offline::offline(what, console);
    }
    match &cli.command {
        Command::Init(args) => return init::init(args, &cli.global.coordinator, console),
        Command::Completions { shell } => return Ok(generate::completions(*shell, console)),
        Command::Man { dir } => return generate::man(dir, console),
        _ => {}
    }
    let mut client = client(&cli.global)?;
    let client = &mut client;
    match cli.command {
        Command::Init(_) | Command::Offline(_) | Command::Completions { .. } | Command::Man { .. } => Ok(Exit::Usage),
        Command::Apply { file, change } => {
            let spec = init::read_file(&file)?;
            let task = Task::change("apply", file.display());
            change::plan_and_ask(client, console, &task, &Intent::Apply(Box::new(spec)), change.message.as_str().into())
                .await
        }
        Command::Status { check, stale } => look::status(client, console, check, stale).await,
        Command::Show(what) => show(client, console, what).await,
        Command::Hosts => look::hosts(client, console).await,
        Command::Stores(what) => stores(client, console, what).await,
        Command::Slots(what) => slots(client, console, what).await,
        Command::Risk { of: None } => asks::risk(client, console).await,
        Command::Risk { of: Some(Risk::Host { host }) } => look::risk(client, console, Lost::Host(host)).await,
        Command::Risk { of: Some(Risk::Domain { domain }) } => look::risk(client, console, Lost::Domain(domain)).await,
        Command::Whatif(change) => asks::whatif(client, console, &change).await,
        Command::Capacity(ask) => asks::capacity(client, console, &ask).await,
        Command::ServiceGroups => asks::groups(client, console).await,
        Command::Snapshot { out } => asks::snapshot(client, console, &out).await,
        Command::Evidence(Evidence::Host { host }) => {
            let task = Task::look("show the evidence of host", &host);
            look::look(client, console, &task, &Query::Evidence(host)).await
        }
        Command::Explain(what) => explain(client, console, what).await,
        Command::Verify(what) => verify::verify(client, console, &what.on()).await,
        Command::Drain(what) => drain(client, console, what).await,
        command @ (Command::Move(_)
        | Command::Rebuild(_)
        | Command::Rebalance { .. }
        | Command::Fill(_)
        | Command::Retire(_)) => copies(client, console, command).await,
        Command::Undrain(OnHost::Host { host, change }) => {
            let task = Task::change("undrain host", &host);
            change::plan_and_ask(client, console, &task, &Intent::UndrainHost(host), change.message.as_str().into())
                .await
        }
        Command::Failover(what) => failover(client, console, what).await,
        Command::Off(Off::Host { host, how, change }) => {
            change::attest(client, console, &host, &how, &change.message).await
        }
        Command::Admit(Admit::Host { host, incarnation, change }) => {
            change::admit(client, console, &host, incarnation, &change.message).await
        }
        Command::Invite(what) => invite::invite(client, console, what).await,
        Command::Hold(what) => change::hold(client, console, what, false).await,
        Command::Release(what) => change::hold(client, console, what, true).await,
        Command::Plan(what) => plan(client, console, what).await,
        Command::Loss(what) => loss(client, console, what).await,
        Command::Events { since, follow } => audit::events(client, console, since, follow).await,
        Command::Audit { what: Some(Audit::Verify { noted, stale }), .. } => {
            audit::verify(client, console, noted, stale).await
        }
        Command::Audit { what: None, after, limit } => {
            look::look(client, console, &Task::look("read", "the audit"), &Query::Audit { after, limit }).await
        }
        Command::Backup { out } => backup::backup(client, console, &out).await,
        Command::Routes { watch: false } => {
            look::look(client, console, &Task::look("read", "the routes"), &Query::Routes).await
        }
        Command::Routes { watch: true } => look::watch_routes(client, console).await,
    }
}

async fn explain(client: &mut Client, console: &mut Console, what: Explain) -> Result<Exit, Failure> {
    let (task, what) = match what {
        Explain::Plan { plan } => (Task::look("explain plan", plan), ExplainWhat::Plan(plan)),
        Explain::Store { store } => (Task::look("explain store", &store), ExplainWhat::Store(store)),
        Explain::Slot { slot } => (Task::look("explain slot", &slot), ExplainWhat::Slot(slot)),
    };
    look::look(client, console, &task, &Query::Explain(what)).await
}

async fn stores(client: &mut Client, console: &mut Console, what: Stores) -> Result<Exit, Failure> {
    let filter = StoreFilter { host: what.host, not_served: what.not_served, name: what.store };
    look::look(client, console, &Task::look("list", "stores"), &Query::Stores(filter)).await
}

async fn slots(client: &mut Client, console: &mut Console, what: Slots) -> Result<Exit, Failure> {
    let filter = SlotFilter { host: what.host, free: what.free };
    look::look(client, console, &Task::look("list", "slots"), &Query::Slots(filter)).await
}

async fn show(client: &mut Client, console: &mut Console, what: Show) -> Result<Exit, Failure> {
    let (task, query) = match what {
        Show::Host { host } => (Task::look("show host", &host), Query::Host(host)),
        Show::Store { store } => (Task::look("show store", &store), Query::Store(store)),
        Show::Slot { slot } => (Task::look("show slot", &slot), Query::Slot(slot)),
    };
    look::look(client, console, &task, &query).await
}

async fn drain(client: &mut Client, console: &mut Console, what: Drain) -> Result<Exit, Failure> {
    let (hosts, how) = match what {
        Drain::Host { host, how } => (host.into_iter().collect(), how),
        Drain::Rack { domain, how } => (look::hosts_in(client, &domain).await?, how),
    };
    let subject = hosts.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    let task = Task::change(if how.empty { "empty host" } else { "drain host" }, subject);
    let intent = match (hosts.len(), hosts.first().cloned(), how.empty) {
        (1, Some(host), true) => Intent::EmptyHost(host),
        (1, Some(host), false) => Intent::DrainHost(host),
        (_, _, true) => Intent::EmptyHosts(hosts),
        (_, _, false) => Intent::DrainHosts(hosts),
    };
    let back_by = match how.back_by {
        None => None,
        Some(time) => {
            let due = time.wall(audit::now());
            let passed = || task.failure("the time to be back by has passed", "give one that is to come");
            Some(due.ok_or_else(passed)?)
        }
    };
    let why = Why { reason: &how.change.message, said: Said { back_by, ..Said::default() } };
    change::plan_and_ask(client, console, &task, &intent, why).await
}

/// Copies that come and go.
async fn copies(client: &mut Client, console: &mut Console, command: Command) -> Result<Exit, Failure> {
    let (task, intent, change) = match command {
        Command::Move(Move::Slot { slot, to, change }) => {
            (Task::change("move slot", &slot), Intent::MoveCopy { slot, to }, change)
        }
        Command::Rebuild(what) => {
            let (scope, change) = match what {
                Rebuild::Store { store, change } => (Scope::Store(store), change),
                Rebuild::Host { host, change } => (Scope::Host(host), change),
                Rebuild::All { change } => (Scope::All, change),
            };
            (Task::change("rebuild", &scope), Intent::Rebuild(scope), change)
        }
        Command::Rebalance { budget, change } => {
            (Task::change("rebalance", "the hosts"), Intent::Rebalance(budget.into()), change)
        }
        Command::Fill(Fill::Host { host, budget, change }) => {
            let hosts: BTreeSet<HostName> = host.into_iter().collect();
            let subject = hosts.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
            (Task::change("fill host", subject), Intent::Fill { hosts, budget: budget.into() }, change)
        }
        Command::Retire(Retire::Store { store, change }) => {
            (Task::change("retire store", &store), Intent::RetireStore(store), change)
        }
        Command::Retire(Retire::Host { host, change }) => {
            (Task::change("retire host", &host), Intent::RetireHost(host), change)
        }
        _ => return Ok(Exit::Usage),
    };
    change::plan_and_ask(client, console, &task, &intent, change.message.as_str().into()).await
}

async fn failover(client: &mut Client, console: &mut Console, what: Failover) -> Result<Exit, Failure> {
    let (task, intent, mass, change) = match what {
        Failover::Slot { slot, to, mass, change } => {
            (Task::change("fail over slot", &slot), Intent::FailOverSlot { slot, to }, mass, change)
        }
        Failover::Store { store, to, mass, change } => {
            (Task::change("fail over store", &store), Intent::FailOverStore { store, to }, mass, change)
        }
        Failover::Host { host, class, mass, change } => {
            let task = Task::change("fail over host", &host);
            let classes: BTreeSet<_> = class.into_iter().flatten().collect();
            let intent = match classes.is_empty() {
                true => Intent::FailOverHost(host),
                false => Intent::FailOverClasses { host, classes },
            };
            (task, intent, mass, change)
        }
    };
    let why = Why { reason: &change.message, said: Said { mass: mass.mass, ..Said::default() } };
    change::plan_and_ask(client, console, &task, &intent, why).await
}

async fn plan(client: &mut Client, console: &mut Console, what: Plan) -> Result<Exit, Failure> {
    match what {
        Plan::List => look::look(client, console, &Task::look("list", "plans"), &Query::Plans).await,
        Plan::Show { plan } => look::show_plan(client, console, plan).await,
        Plan::Approve { plan, digest, switch_off, destroy, no_wait, change } => {
            let typed = change::Typed { switch_off, destroy };
            change::approve(client, console, (plan, digest), &typed, &change.message, no_wait).await
        }
        Plan::Reject { plan, change } => change::reject(client, console, plan, &change.message).await,
        Plan::Abort { plan, change } => change::abort(client, console, plan, &change.message).await,
        Plan::Pause { plan, change } => pause::pause(client, console, plan, &change.message).await,
        Plan::Resume { plan, no_wait, change } => pause::resume(client, console, plan, &change.message, no_wait).await,
        Plan::Undo { plan, change } => pause::undo(client, console, plan, &change.message).await,
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
    change::plan_and_ask(client, console, &task, &Intent::SettleLoss { case, how }, change.message.as_str().into())
        .await
}
