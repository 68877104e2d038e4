//! Questions about the cluster as it is now, and the file that answers them later.
//!
//! What always holds: each is answered here from what the leader sends of one moment, by the very code that answers it from a
//! file; the leader computes nothing for it.

use crate::args;
use crate::asks::{self, CannotAnswer};
use crate::client::{Client, Task, unexpected};
use crate::console::Console;
use crate::failure::{Exit, Failure};
use crate::json::{self, Of, Schema};
use crate::offline::writing::{Unwritable, Why};
use crate::offline::{Loaded, snapshot as file};
use crate::text;
use serde::Serialize;
use slot_types::view::{Query, SnapshotView, View};
use std::path::Path;

/// The cluster at this moment, and whether that is confirmed.
async fn taken(client: &mut Client, task: &Task) -> Result<(Box<SnapshotView>, bool), Failure> {
    let answer = client.view(task, &Query::Snapshot, false).await?;
    match answer.view {
        View::Snapshot(view) => match &view.not_seen {
            None => Ok((view, answer.confirmed)),
            Some(why) => Err(task.failure(why, "ask again in a few seconds")),
        },
        _ => Err(unexpected(task)),
    }
}

async fn loaded(client: &mut Client, task: &Task) -> Result<(Loaded, Of), Failure> {
    let (view, confirmed) = taken(client, task).await?;
    let of = Of { revision: Some(view.revision), confirmed: Some(confirmed) };
    let loaded = file::load(view).map_err(|error| task.failure(error.to_string(), "slotctl status"))?;
    Ok((loaded, of))
}

/// Prints an answer.
pub(super) fn print<T: Serialize>(
    console: &mut Console,
    (schema, answer, of): (Schema, &T, Of),
    say: impl Fn(&T) -> String,
) -> Exit {
    if console.json {
        console.document(&json::answer(schema, answer, of));
    } else {
        console.text(&say(answer));
    }
    Exit::Done
}

/// A question without an answer is one that was put wrongly; one about a host that is not there is refused, as everywhere.
pub(super) fn put_wrongly(task: &Task, why: &CannotAnswer) -> Failure {
    let failure = task.failure(why.to_string(), why.next());
    if matches!(why, CannotAnswer::NoHost(_)) { failure } else { failure.usage() }
}

/// `risk`: every single loss as the leader's planner says it, and the worst of any two hosts.
pub async fn risk(client: &mut Client, console: &mut Console) -> Result<Exit, Failure> {
    let task = Task::look("say what is lost with", "any host or rack");
    let answer = client.view(&task, &Query::Risks, false).await?;
    let View::Risks(risks) = &answer.view else { return Err(unexpected(&task)) };
    let pairs = match (&risks.losses, loaded(client, &task).await) {
        (_, Ok((loaded, _))) => asks::pairs(&loaded),
        (losses, Err(failure)) if losses.value().is_some() => return Err(failure),
        (_, Err(failure)) => asks::Pairs { looked_at: 0, worst: None, not_looked: Some(failure.cause) },
    };
    if console.json {
        console.document(&json::risks(risks, &pairs, Some(answer.confirmed)));
    } else {
        console.text(&text::risk::table(risks, &pairs, Some(answer.confirmed)));
    }
    Ok(Exit::Done)
}

/// `whatif`.
pub async fn whatif(client: &mut Client, console: &mut Console, change: &args::Whatif) -> Result<Exit, Failure> {
    let task = Task::look("say what would be of", "the cluster");
    let (loaded, of) = loaded(client, &task).await?;
    let then = asks::whatif(&loaded, change).map_err(|why| put_wrongly(&task, &why))?;
    Ok(print(console, (Schema::Whatif, &then, of), text::asks::whatif))
}

/// `capacity`.
pub async fn capacity(client: &mut Client, console: &mut Console, ask: &args::Ask) -> Result<Exit, Failure> {
    let task = Task::look("count the room of", "the cluster");
    let (loaded, of) = loaded(client, &task).await?;
    let room = asks::capacity(&loaded, ask).map_err(|why| put_wrongly(&task, &why))?;
    Ok(print(console, (Schema::Capacity, &room, of), text::asks::capacity))
}

/// `service-groups`.
pub async fn groups(client: &mut Client, console: &mut Console) -> Result<Exit, Failure> {
    let task = Task::look("group", "the hosts");
    let (loaded, of) = loaded(client, &task).await?;
    Ok(print(console, (Schema::ServiceGroups, &asks::groups(&loaded), of), text::asks::groups))
}

/// A file that can't be written.
pub(super) fn unwritable(cannot: Unwritable) -> Failure {
    let failure = Failure::new("write", cannot.path.display().to_string(), cannot.why.to_string(), "name another file");
    match cannot.why {
        Why::Read | Why::Twice => failure.usage(),
        Why::File(_) | Why::NotOrdinary => failure,
    }
}

/// `snapshot`.
pub async fn snapshot(client: &mut Client, console: &mut Console, out: &Path) -> Result<Exit, Failure> {
    let task = Task::look("save", "the cluster");
    let (view, _) = taken(client, &task).await?;
    let subject = out.display().to_string();
    file::write(&view, out).map_err(unwritable)?;
    if console.json {
        console.document(&json::done("save the cluster", &subject, Exit::Done));
    } else {
        let (hosts, stores) = (view.cluster.hosts.len() as u64, view.cluster.stores.len() as u64);
        let what = [
            format!("revision {}", view.revision),
            text::layout::count(hosts, "host"),
            text::layout::count(stores, "store"),
            format!("ask it with: slotctl offline risk --format snapshot --from {subject}"),
        ];
        console.text(&text::layout::join("saved   ", &what));
    }
    Ok(Exit::Done)
}
