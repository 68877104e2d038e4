//! Plans and explanations for a cluster in a snapshot, by the planner of its leader.
//!
//! What always holds: the plan is the one that the leader would have made at the moment of the snapshot, but for who asks; what has
//! no meaning for a cluster's plan is refused, never left out.

use super::left::{AllLeft, Asked};
use super::{hosts, unwritable};
use crate::args::{self, Files, Offline};
use crate::asks::Side;
use crate::commands::init::read_file;
use crate::console::Console;
use crate::failure::{Exit, Failure};
use crate::json::{self, Document};
use crate::offline::writing::{Readers, Unwritable, Writing};
use crate::offline::{Loaded, htools};
use crate::text::layout::wrap;
use slot_planner::layout::cluster::after_plan;
use slot_planner::layout::{Fleet, Goal, Layout, figures};
use slot_planner::{CheckedPlan, Inputs, Refusal, WhatIf};
use slot_types::evidence::Seen;
use slot_types::ids::{HostName, OperatorName, PlanId, SlotId, StoreName};
use slot_types::plan::{Budget, Intent, Plan, Scope, TaskKind};
use slot_types::render::render_plan;
use slot_types::view::*;
use std::collections::BTreeSet;

/// What was planned, with the figures of the fleet before and after.
#[derive(Debug)]
pub struct Planned {
    /// `rebalance`, `fill`, `drain` or `place`.
    pub operation: &'static str,
    /// The plan.
    pub plan: CheckedPlan,
    /// Before.
    pub before: Side,
    /// With everything in it done.
    pub after: Side,
    /// What is broken then, and why.
    pub left: AllLeft,
}

/// What nobody in particular asks for, from a file.
fn inputs(view: &SnapshotView) -> Inputs {
    Inputs::of(view, OperatorName::new("offline").ok(), "planned from a snapshot")
}

/// Plans, and writes where the copies would be.
pub(super) fn plan(
    loaded: &Loaded,
    view: &SnapshotView,
    what: &Offline,
    (operation, files, budget): (&'static str, &Files, &args::Budget),
    console: &mut Console,
) -> Result<Exit, Failure> {
    let (bounds, other) = budget.of_plan();
    let only_rebalances =
        !matches!(what, Offline::Rebalance { .. } | Offline::Fill { .. }) && bounds != Default::default();
    refuse_what_has_no_meaning(operation, files, other || only_rebalances)?;
    let intent = intent(loaded, what, bounds)?;
    let (goal, asked) = asked(loaded, what)?;
    let wish = super::fleet::wish(budget);
    let left = |fleet: &Fleet, layout: &Layout| AllLeft::of(loaded, (fleet, layout, layout), (&goal, &wish), &asked);
    let subject = files.from.display().to_string();
    let plan = match slot_planner::plan(&view.cluster, &view.evidence, intent, inputs(view)) {
        Ok(plan) => plan,
        Err(Refusal::NothingToDo(why)) => {
            let left = left(&loaded.fleet, &loaded.layout);
            let document = json::nothing_to_plan(operation, &subject, &why.to_string(), &left);
            write(loaded, files, (&loaded.fleet, &loaded.layout, None), &document).map_err(unwritable)?;
            if console.json {
                console.document(&document);
            } else {
                console.text(&(wrap("", &format!("nothing to do: {why}")) + &left.text()));
            }
            return left.ended(operation, &subject);
        }
        Err(refusal) => {
            return Err(Failure::new(operation, &subject, refusal.to_string(), "put that right, or ask for less"));
        }
    };
    let (fleet, layout) = after_plan(&view.cluster, &view.evidence, &inputs(view), plan.plan());
    let planned = Planned {
        operation,
        before: Side::of(&figures(&loaded.fleet, &loaded.layout)),
        after: Side::of(&figures(&fleet, &layout)),
        left: left(&fleet, &layout),
        plan,
    };
    let document = json::offline_plan(&planned);
    write(loaded, files, (&fleet, &layout, Some(planned.plan.plan())), &document).map_err(unwritable)?;
    if console.json {
        console.document(&document);
    } else {
        console.text(&(render_plan(None, planned.plan.plan(), &planned.plan.digest()) + &planned.left.text()));
    }
    planned.left.ended(operation, &subject)
}

/// Writes where the copies are then, those of stores that a plan makes among them, and the document.
fn write(
    loaded: &Loaded,
    files: &Files,
    (fleet, layout, plan): (&Fleet, &Layout, Option<&Plan>),
    document: &Document,
) -> Result<(), Unwritable> {
    let mut writing = Writing::default();
    if let Some(path) = &files.out {
        let mut text = Vec::new();
        htools::write_csv(loaded, fleet, layout, &mut text)
            .map_err(|error| Unwritable { path: path.clone(), why: error.into() })?;
        let text = with_new(text, plan);
        writing.put(path, &text, Readers::Anybody)?;
    }
    if let Some(path) = &files.json {
        writing.put(path, format!("{document}\n").as_bytes(), Readers::Anybody)?;
    }
    writing.finish()
}

/// With a row for each store that a plan makes, in the order of names.
fn with_new(rows: Vec<u8>, plan: Option<&Plan>) -> Vec<u8> {
    let made = plan.iter().flat_map(|plan| &plan.tasks).filter_map(|task| match (&task.kind, &task.store) {
        (TaskKind::CreateStore { copies, master, .. }, Some(name)) => Some((name, copies, master)),
        _ => None,
    });
    let new: Vec<String> = made
        .map(|(name, copies, master)| {
            let others = copies.keys().filter(|slot| *slot != master);
            let hosts: Vec<&str> = std::iter::once(master).chain(others).map(|slot| slot.host.as_str()).collect();
            format!("{name},{}{}", hosts.join(","), if hosts.len() == 1 { "," } else { "" })
        })
        .collect();
    if new.is_empty() {
        return rows;
    }
    let known = String::from_utf8_lossy(&rows);
    let mut all: Vec<&str> = known.lines().chain(new.iter().map(String::as_str)).collect();
    all.sort_by_key(|row| row.split(',').next());
    (all.join("\n") + "\n").into_bytes()
}

fn refuse_what_has_no_meaning(operation: &str, files: &Files, budget: bool) -> Result<(), Failure> {
    let data = files.out.as_ref().is_some_and(|path| path.extension().is_some_and(|ending| ending == "data"));
    let given = [
        (data, "--out NAME.data", "say --out NAME.csv"),
        (files.moves.is_some(), "--moves", "take the tasks of --json"),
        (files.rate.is_some(), "--rate", "leave it out: a cluster's plan has an estimate of its own"),
        (files.during, "--during", "leave it out: a cluster's plan says so of itself"),
        (
            budget,
            "a budget of this kind",
            "only rebalance and fill have bounds, and the cluster's policy says how many copies move at once",
        ),
    ];
    match given.into_iter().find(|(is, ..)| *is) {
        None => Ok(()),
        Some((_, what, next)) => {
            let cause = format!("{what} is for files of htools");
            Err(Failure::new(operation, files.from.display().to_string(), cause, next).usage())
        }
    }
}

/// What is asked for, and that as far as it can be seen in the end. New stores are all placed, or the plan is refused.
fn asked(loaded: &Loaded, what: &Offline) -> Result<(Goal, Asked), Failure> {
    // The planner says it of those that it does not know.
    let numbers = |hosts: &[String]| hosts.iter().filter_map(|host| loaded.number(host)).collect::<Vec<u32>>();
    Ok(match what {
        Offline::Place { file: Some(_), .. } => (Goal::Place, Asked::Even),
        Offline::Place { file: None, .. } => (Goal::Rebuild, Asked::Placed),
        Offline::Drain { hosts: named, racks, empty, .. } => {
            let hosts = numbers(&hosts(loaded, "drain", named, racks)?);
            (Goal::Drain { hosts: hosts.clone(), empty: *empty }, Asked::Drained { hosts, empty: *empty })
        }
        Offline::Fill { hosts, .. } => (Goal::Fill { hosts: numbers(hosts) }, Asked::Even),
        _ => (Goal::Rebalance, Asked::Even),
    })
}

fn intent(loaded: &Loaded, what: &Offline, bounds: Budget) -> Result<Intent, Failure> {
    let (hosts, empty) = match what {
        Offline::Place { file: Some(file), .. } => return Ok(Intent::Apply(Box::new(read_file(file)?))),
        Offline::Place { file: None, .. } => return Ok(Intent::Rebuild(Scope::All)),
        Offline::Fill { hosts, .. } => return Ok(Intent::Fill { hosts: named("fill", hosts)?, budget: bounds }),
        Offline::Drain { hosts: drained, racks, empty, .. } => {
            (named("drain", &hosts(loaded, "drain", drained, racks)?)?, empty)
        }
        _ => return Ok(Intent::Rebalance(bounds)),
    };
    Ok(match (hosts.len(), hosts.first().cloned(), empty) {
        (1, Some(host), true) => Intent::EmptyHost(host),
        (1, Some(host), false) => Intent::DrainHost(host),
        (_, _, true) => Intent::EmptyHosts(hosts),
        (_, _, false) => Intent::DrainHosts(hosts),
    })
}

fn named(operation: &str, hosts: &[String]) -> Result<BTreeSet<HostName>, Failure> {
    let name = |text: &String| {
        HostName::new(text.as_str())
            .map_err(|error| Failure::new(operation, text, error.to_string(), "name a host of the snapshot").usage())
    };
    hosts.iter().map(name).collect()
}

/// Each single loss, as the leader would have said it.
pub(super) fn risks(view: &SnapshotView) -> RisksView {
    let inputs = inputs(view);
    let mut losses = WhatIf::new(&view.cluster, &view.evidence, &inputs).each();
    for line in losses.hosts.iter_mut().chain(&mut losses.racks) {
        line.coordinators = line.lost.coordinators(&view.cluster, view.coordinators.iter());
    }
    RisksView { revision: view.revision, losses: Seen::Known { value: losses, age_ms: 0 } }
}

/// Why a store is where it is; [`None`] when there is none. Which plan made it so is not in a snapshot.
pub(super) fn explain_store(view: &SnapshotView, name: &str) -> Option<ExplainView> {
    let name = StoreName::new(name).ok()?;
    let store = slot_planner::explain_store(&view.cluster, &view.evidence, &inputs(view), &name)?;
    Some(explained(view, Explained::Store(store)))
}

/// Why what is on a slot is there; [`None`] when there is no such slot.
pub(super) fn explain_slot(view: &SnapshotView, slot: &SlotId) -> Option<ExplainView> {
    view.cluster.slot(slot)?;
    let inputs = inputs(view);
    let of_store = |name| slot_planner::explain_store(&view.cluster, &view.evidence, &inputs, name);
    let store = view.cluster.copy_on(slot).and_then(|(name, ..)| of_store(name));
    Some(explained(view, Explained::Slot { slot: slot.clone(), claimed_by: None, store }))
}

/// Every choice of the plan that its leader would make, or why there is nothing to do.
pub(super) fn explain_plan(
    loaded: &Loaded,
    view: &SnapshotView,
    (operation, budget, what): &(&'static str, args::Budget, Offline),
) -> Result<Result<ExplainView, String>, Failure> {
    let intent = intent(loaded, what, budget.of_plan().0)?;
    let plan = match slot_planner::plan(&view.cluster, &view.evidence, intent, inputs(view)) {
        Ok(plan) => plan,
        Err(Refusal::NothingToDo(why)) => return Ok(Err(why.to_string())),
        Err(refusal) => return Err(Failure::new(*operation, "the snapshot", refusal.to_string(), "ask for less")),
    };
    let plan = plan.plan();
    let tasks = slot_planner::explain_plan(&view.cluster, &view.evidence, &inputs(view), plan);
    let without_choice = u32::try_from(plan.tasks.len().saturating_sub(tasks.len())).unwrap_or(u32::MAX);
    let title = plan.intent.to_string();
    // Nobody recorded it: it has no number.
    let plan = ExplainedPlan { plan: PlanId(0), title, planned_at: plan.revision, without_choice, tasks };
    Ok(Ok(explained(view, Explained::Plan(plan))))
}

fn explained(view: &SnapshotView, value: Explained) -> ExplainView {
    ExplainView { revision: view.revision, explained: Seen::Known { value, age_ms: 0 } }
}
