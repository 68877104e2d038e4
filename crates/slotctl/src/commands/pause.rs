//! Plans paused, taken up again, and undone (R18).
//!
//! What always holds: a pause is waited for until nothing of the plan is in motion, and only then called a pause; undo proposes
//! and never carries out: its plan is shown and asked about like any other.

use super::{change, watch};
use crate::client::{Client, Task};
use crate::console::Console;
use crate::failure::{Exit, Failure};
use crate::{json, text};
use slot_types::ids::PlanId;
use slot_types::plan::{Intent, Reverse};
use slot_types::view::PlanState;

/// `plan pause`.
pub async fn pause(client: &mut Client, console: &mut Console, id: PlanId, reason: &str) -> Result<Exit, Failure> {
    let task = Task::change("pause plan", id);
    client.pause(&task, id, reason).await?;
    console.remark(&text::pause::pausing(id));
    watch::to_the_end(client, console, &task, id).await
}

/// `plan resume`.
pub async fn resume(
    client: &mut Client,
    console: &mut Console,
    id: PlanId,
    reason: &str,
    no_wait: bool,
) -> Result<Exit, Failure> {
    let task = Task::change("resume plan", id);
    client.resume(&task, id, reason).await?;
    if !no_wait {
        return watch::to_the_end(client, console, &task, id).await;
    }
    match console.json {
        true => console.document(&json::done(&task.operation, &task.subject, Exit::Done)),
        false => console.text(&text::pause::resumed(id)),
    }
    Ok(Exit::Done)
}

/// `plan undo`: a safe point first, then the reverse as a plan of its own.
pub async fn undo(client: &mut Client, console: &mut Console, id: PlanId, reason: &str) -> Result<Exit, Failure> {
    let task = Task::change("undo plan", id);
    let mut view = client.plan(&Task::look(&task.operation, id), id).await?;
    if matches!(view.state, PlanState::Running | PlanState::Stuck) {
        client.pause(&task, id, reason).await?;
        console.remark(&text::pause::pausing(id));
    }
    if !view.state.is_still() {
        view = client.watch_plan(&Task::look(&task.operation, id), id, |_| ()).await?;
    }
    let paused = view.state == PlanState::Paused;
    let intent = Intent::Undo(Box::new(Reverse { plan: id, ..Reverse::default() }));
    let exit = change::plan_and_ask(client, console, &task, &intent, reason.into()).await;
    if paused && !console.json && !matches!(exit, Ok(Exit::Done | Exit::PartWay)) {
        console.remark(&text::pause::still_paused(id));
    }
    exit
}
