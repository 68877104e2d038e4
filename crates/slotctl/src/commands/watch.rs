//! Following a plan to its end.
//!
//! What always holds: progress goes to stderr and only to a terminal; how it ended goes to stdout; the plan does not
//! depend on anybody watching.

use super::shown::Shown;
use crate::client::{Client, Task};
use crate::console::Console;
use crate::failure::{Exit, Failure};
use crate::{json, text};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use slot_types::ids::{HostName, PlanId};
use slot_types::plan::Intent;
use slot_types::view::{HostView, PlanView, Query, View};
use std::collections::BTreeSet;

/// Draws a plan's progress, and says each complaint once.
struct Progress {
    bar: ProgressBar,
    said: BTreeSet<String>,
}

impl Progress {
    fn new(draws: bool) -> Self {
        let bar = if draws {
            ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr())
        } else {
            ProgressBar::hidden()
        };
        // The template is a constant, and the default one does as well.
        if let Ok(style) = ProgressStyle::with_template("{bar:24} {wide_msg}") {
            bar.set_style(style);
        }
        Self { bar, said: BTreeSet::new() }
    }

    fn show(&mut self, view: &PlanView) {
        let (done, given_up) = text::plan::tally(view);
        self.bar.set_message(text::plan::progress(view));
        self.bar.set_length(view.tasks.len() as u64);
        self.bar.set_position(done + given_up);
        for complaint in view.tasks.iter().map(text::plan::complaint).filter(|text| !text.is_empty()) {
            if !self.said.contains(&complaint) {
                let line = crate::console::printable(complaint.trim_end());
                self.bar.println(format!("{}  {line}", text::layout::time(view.wall)));
                self.said.insert(complaint);
            }
        }
    }
}

/// Watches a plan until it ended and says how.
pub async fn to_the_end(client: &mut Client, console: &mut Console, task: &Task, id: PlanId) -> Result<Exit, Failure> {
    let task = Task::look(&task.operation, &task.subject);
    if console.interactive {
        console.remark(&format!("{id} goes on without this terminal; to see it again: slotctl plan watch {id}\n"));
    }
    let mut progress = Progress::new(console.draws());
    let view = client.watch_plan(&task, id, |view| progress.show(view)).await;
    progress.bar.finish_and_clear();
    let view = view?;
    let shown = Shown::new(&task, client.cluster(), id, &view.bytes)?;
    let host = match &shown.plan.intent {
        Intent::DrainHost(host) | Intent::EmptyHost(host) => host_now(client, &task, host).await,
        _ => None,
    };
    let ending = text::plan::ending(&view, &shown.plan, host.as_ref());
    if console.json {
        console.document(&json::ending(&view, &shown.plan, &shown.digest, &ending));
    } else {
        console.text(&ending.text);
    }
    Ok(ending.exit)
}

/// A host as the cluster surely has it now; `None` when that could not be learnt.
pub async fn host_now(client: &mut Client, task: &Task, host: &HostName) -> Option<HostView> {
    let task = Task::look(&task.operation, &task.subject);
    match client.view(&task, &Query::Host(host.clone()), false).await {
        Ok(answer) if answer.confirmed => match answer.view {
            View::Host(host) => Some(*host),
            _ => None,
        },
        _ => None,
    }
}
