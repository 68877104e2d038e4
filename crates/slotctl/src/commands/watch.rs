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
use slot_types::ids::{HostName, LogTime, PlanId};
use slot_types::view::{HostView, PlanView, Query, View};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::Instant;

/// Nothing moved for so long: the cause is drawn below the bar.
const STALL_MS: u64 = 5_000;
/// A store that was stopped because a copy differs is compared at once; its records are waited for so long.
const NAMED_WITHIN: Duration = Duration::from_secs(20);
/// And looked for so often.
const LOOK_AGAIN: Duration = Duration::from_millis(300);
/// The bar, how far it is, and how long it still takes.
const MOVING: &str = "{bar:24} {wide_msg}";
/// The same, and below it why nothing moves.
const STALLED: &str = "{bar:24} {wide_msg}\n{prefix}";

/// Draws a plan's progress, and says each complaint once.
pub struct Progress {
    bar: ProgressBar,
    said: BTreeSet<String>,
    /// What was done when something last moved, and when that was.
    moved: Option<(u64, LogTime)>,
}

impl Progress {
    /// On the terminal behind stderr, or nowhere.
    fn new(draws: bool) -> Self {
        Self::drawn_on(if draws { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() })
    }

    /// Drawn there.
    pub fn drawn_on(target: ProgressDrawTarget) -> Self {
        let progress = Self { bar: ProgressBar::with_draw_target(Some(0), target), said: BTreeSet::new(), moved: None };
        progress.style(MOVING);
        progress
    }

    fn style(&self, template: &str) {
        // The templates are constants, and the default one does as well.
        if let Ok(style) = ProgressStyle::with_template(template) {
            self.bar.set_style(style);
        }
    }

    /// How long nothing has moved.
    fn idle_ms(&mut self, view: &PlanView) -> u64 {
        let done = view.tasks.iter().map(|task| u64::from(task.steps_done) + u64::from(task.state.is_ended())).sum();
        match self.moved {
            Some((before, since)) if before == done => view.now.since(since),
            _ => {
                self.moved = Some((done, view.now));
                0
            }
        }
    }

    /// Draws it as it is now.
    pub fn show(&mut self, view: &PlanView) {
        let idle_ms = self.idle_ms(view);
        let stall = if idle_ms < STALL_MS { String::new() } else { text::plan::stall(view, idle_ms) };
        let (done, given_up) = text::plan::tally(view);
        self.style(if stall.is_empty() { MOVING } else { STALLED });
        // The length first: a bar of no length is drawn as a full one.
        self.bar.set_length(view.tasks.len() as u64);
        self.bar.set_position(done + given_up);
        self.bar.set_prefix(crate::console::printable(&stall));
        self.bar.set_message(text::plan::progress(view));
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
    let view = named(client, console, &task, view?).await?;
    let shown = Shown::new(&task, client.cluster(), id, &view.bytes)?;
    let mut hosts = Vec::new();
    for host in shown.plan.intent.drained() {
        hosts.extend(host_now(client, &task, host).await);
    }
    let ending = text::plan::ending(&view, &shown.plan, &hosts);
    if console.json {
        console.document(&json::ending(&view, &shown.plan, &shown.digest, &ending));
    } else {
        console.text(&ending.text);
    }
    Ok(ending.exit)
}

/// The same view, once the records are named in which a copy differs that a store was stopped for; or as it is after a while.
async fn named(client: &mut Client, console: &mut Console, task: &Task, view: PlanView) -> Result<PlanView, Failure> {
    let unnamed = |view: &PlanView| {
        let mut differ = view.tasks.iter().filter_map(|line| line.differs.as_ref());
        differ.find(|differs| differs.findings.is_none()).map(|differs| differs.slot.clone())
    };
    let (mut view, began) = (view, Instant::now());
    if let Some(slot) = unnamed(&view) {
        console.remark(&format!("{slot} differs from its master; its records are being compared\n"));
    }
    while unnamed(&view).is_some() && began.elapsed() < NAMED_WITHIN {
        tokio::time::sleep(LOOK_AGAIN).await;
        view = client.plan(task, view.id).await?;
    }
    Ok(view)
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
