//! Commands that change nothing.
//!
//! What always holds: what could not be confirmed as the present state says so.

use super::shown::Shown;
use crate::client::{Client, Task, unexpected};
use crate::console::Console;
use crate::failure::{Exit, Failure};
use crate::{json, text};
use slot_proto::pb;
use slot_types::cluster::Domain;
use slot_types::ids::{HostName, PlanId};
use slot_types::view::{Lost, PlanState, Query, View};
use std::collections::BTreeSet;
use std::time::Duration;

/// How long any coordinator is asked for an unconfirmed answer when no confirmed one was to be had.
const STALE_TRY: Duration = Duration::from_secs(3);

/// `status`.
pub async fn status(client: &mut Client, console: &mut Console, check: bool, stale: bool) -> Result<Exit, Failure> {
    let task = Task::look("read", "the status");
    let answer = match client.view(&task, &Query::Status, stale).await {
        Ok(answer) => answer,
        // Nobody leads: an answer that is marked as unconfirmed is better than none.
        Err(failure) if !stale => {
            client.try_for(STALE_TRY);
            client.view(&task, &Query::Status, true).await.map_err(|_| failure)?
        }
        Err(failure) => return Err(failure),
    };
    let View::Status(status) = &answer.view else { return Err(unexpected(&task)) };
    if console.json {
        console.document(&json::view(&answer.view, answer.confirmed));
    } else {
        console.text(&text::status::status(status, answer.confirmed));
    }
    let well = status.needs_you.is_empty() && answer.confirmed;
    Ok(if check && !well { Exit::Failed } else { Exit::Done })
}

/// `hosts`: the table of `status`, whole.
pub async fn hosts(client: &mut Client, console: &mut Console) -> Result<Exit, Failure> {
    let task = Task::look("list", "hosts");
    let answer = client.view(&task, &Query::Status, false).await?;
    let View::Status(status) = &answer.view else { return Err(unexpected(&task)) };
    if console.json {
        console.document(&json::hosts(status, answer.confirmed));
    } else {
        console.text(&text::fleet::hosts(status, answer.confirmed));
    }
    Ok(Exit::Done)
}

/// `risk host` and `risk domain`.
pub async fn risk(client: &mut Client, console: &mut Console, lost: Lost) -> Result<Exit, Failure> {
    let task = Task::look("say what is lost with", &lost);
    let answer = client.view(&task, &Query::Risk(lost.clone()), false).await?;
    let View::Risk(risk) = &answer.view else { return Err(unexpected(&task)) };
    if console.json {
        console.document(&json::view(&answer.view, answer.confirmed));
    } else {
        console.text(&text::risk::one(risk, &lost));
    }
    Ok(Exit::Done)
}

/// Reads one document and prints it.
pub async fn look(client: &mut Client, console: &mut Console, task: &Task, query: &Query) -> Result<Exit, Failure> {
    let answer = client.view(task, query, false).await?;
    if console.json {
        console.document(&json::view(&answer.view, answer.confirmed));
        return Ok(Exit::Done);
    }
    let text = match &answer.view {
        View::Host(host) => text::show::host(host),
        View::Store(store) => text::show::store(store),
        View::Slot(slot) => text::show::slot(slot),
        View::Plans(lines) => text::plan::list(lines),
        View::LossCases(cases) => text::loss::list(cases),
        View::LossCase(case) => text::loss::show(case),
        View::Audit(audit) => text::audit::audit(audit),
        View::Routes(routes) => text::audit::routes(routes),
        View::Stores(stores) => text::fleet::stores(stores, answer.confirmed),
        View::Explain(explain) => text::explain::explain(explain),
        View::Evidence(evidence) => text::evidence::evidence(evidence),
        View::Slots(slots) => text::fleet::slots(slots, answer.confirmed),
        View::Invitations(invitations) => text::invite::list(invitations),
        View::Backup(_)
        | View::Status(_)
        | View::Plan(_)
        | View::Risks(_)
        | View::Risk(_)
        | View::Snapshot(_)
        | View::Verify(_)
        | View::NotFound { .. } => {
            return Err(unexpected(task));
        }
    };
    console.text(&text);
    Ok(Exit::Done)
}

/// `plan show`.
pub async fn show_plan(client: &mut Client, console: &mut Console, id: PlanId) -> Result<Exit, Failure> {
    let task = Task::look("show plan", id);
    let view = client.plan(&task, id).await?;
    let shown = Shown::new(&task, client.cluster(), id, &view.bytes)?;
    shown.must_be_recorded(&task, &view.digest)?;
    if console.json {
        console.document(&json::plan(&view, &shown.plan, &shown.digest));
        return Ok(Exit::Done);
    }
    let mut out = format!("{}\n{}", shown.text(), text::plan::standing(&view));
    if view.state == PlanState::Proposed {
        out += &text::plan::how_to_approve(id, &shown.plan, shown.digest.short(), view.people_missing);
    }
    console.text(&out);
    Ok(Exit::Done)
}

/// `routes --watch`: until somebody stops it.
pub async fn watch_routes(client: &mut Client, console: &mut Console) -> Result<Exit, Failure> {
    let task = Task::look("watch", "the routes");
    client.watch_routes(&task, |reply| print_routes(console, reply)).await?;
    Ok(Exit::Done)
}

fn print_routes(console: &mut Console, reply: &pb::RoutesReply) {
    let epoch =
        |route: &pb::StoreRoute| slot_types::ids::Epoch { generation: route.epoch_generation, n: route.epoch_n };
    if console.json {
        console.document(&json::routes_change(reply));
        return;
    }
    let mut table = text::layout::Table::new(&["STORE", "ADDRESS", "SLOT", "EPOCH"]);
    for route in &reply.routes {
        let at = if route.address.is_empty() { "NO MASTER" } else { &route.address };
        table.row(vec![route.store.clone(), at.into(), route.slot.clone(), epoch(route).to_string()]);
    }
    console.text(&format!("revision {}\n{}", reply.revision, table.text(0)));
}

/// The hosts of a failure domain, as the cluster surely has them now.
pub async fn hosts_in(client: &mut Client, domain: &Domain) -> Result<BTreeSet<HostName>, Failure> {
    let task = Task::look("list the hosts of", domain);
    let (lost, answer) = (Lost::Domain(domain.clone()), client.view(&task, &Query::Status, false).await?);
    let View::Status(status) = answer.view else { return Err(unexpected(&task)) };
    let hosts: BTreeSet<HostName> =
        status.hosts.into_iter().filter(|line| lost.takes(&line.host, &line.at)).map(|line| line.host).collect();
    match hosts.is_empty() {
        true => Err(task.failure("no host is there", "slotctl hosts shows where each is")),
        false => Ok(hosts),
    }
}
