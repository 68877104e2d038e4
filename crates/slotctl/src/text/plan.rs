//! `slotctl plan list` and `plan show`, progress, and how a plan ended.
//!
//! What always holds: SAFE TO SWITCH OFF is said only of a host that the cluster declares to be in Maintenance after its
//! drain is done (S8); everything else is NOT SAFE.

use super::layout::*;
use crate::failure::Exit;
use slot_types::cluster::{HostState, Role};
use slot_types::ids::*;
use slot_types::plan::{Budget, Intent, Plan, Scope, Settlement, Task, TaskKind};
use slot_types::position::ShortDigest;
use slot_types::view::*;

/// All plans that are remembered.
pub fn list(lines: &[PlanLine]) -> String {
    if lines.is_empty() {
        return "no plans\n".into();
    }
    let mut table = Table::new(&["PLAN", "MADE (UTC)", "DIGEST", "WHAT", "BY", "TASKS", "STATE"]);
    for line in lines {
        let missing = if line.state == PlanState::Proposed && line.people_missing > 1 {
            format!(" of {} people", line.people_missing)
        } else {
            String::new()
        };
        let why = if line.why.is_empty() { String::new() } else { format!(": {}", line.why) };
        table.row(vec![
            line.id.to_string(),
            time(line.created),
            line.digest.to_string(),
            line.title.clone(),
            line.requested_by.as_ref().map_or("everyday".into(), ToString::to_string),
            format!("{}/{}", line.tasks_done, line.tasks_total),
            format!("{}{missing}{why}", line.state),
        ]);
    }
    table.text(0)
}

/// The command that says yes to a plan.
pub fn approve_command(id: PlanId, digest: ShortDigest) -> String {
    format!("slotctl plan approve {id} --digest {digest} -m \"...\"")
}

/// How to approve a plan, and who may.
pub fn how_to_approve(id: PlanId, plan: &Plan, digest: ShortDigest, missing: u32) -> String {
    let mut text = String::new();
    if plan.people >= 2 {
        let not =
            plan.requested_by.as_ref().map_or(String::new(), |who| format!("; {who} asked for it and is not one"));
        text += &wrap("", &format!("{id} needs {} people, {missing} more{not}. Each types:", plan.people));
    } else {
        text += &format!("{id} waits for one yes:\n");
    }
    text += &format!("  {}", approve_command(id, digest));
    if plan.destroys().is_some() {
        let what = "STORE is the store whose data is DESTROYED for good, typed by whoever says yes.";
        return text + " --destroy STORE\n" + &wrap("", what);
    }
    if plan.powers_off().is_empty() {
        return text + "\n";
    }
    text + " --switch-off HOST\n" + &wrap("", "HOST is the host that will be SWITCHED OFF, typed by whoever says yes.")
}

/// Whom it is approved by, and how far each task is: what `plan show` adds to the plan itself.
pub fn standing(view: &PlanView) -> String {
    let why = if view.why.is_empty() { String::new() } else { format!(": {}", view.why) };
    let mut text = wrap(&format!("{}   ", view.id), &format!("{}{why}", view.state));
    for approval in &view.approvals {
        text +=
            &wrap("approved  ", &format!("by {} {}: {}", approval.by, date_and_time(approval.wall), approval.reason));
    }
    if view.state == PlanState::Proposed || view.tasks.is_empty() {
        return text;
    }
    text.push('\n');
    let mut table = Table::new(&[">TASK", "WHAT", ">STEPS", "STATE"]);
    for (i, task) in view.tasks.iter().enumerate() {
        table.row(vec![
            (i + 1).to_string(),
            task.title.clone(),
            format!("{}/{}", task.steps_done, task.steps_total),
            task_state(task),
        ]);
    }
    text + &table.text(0)
}

fn task_state(task: &TaskLine) -> String {
    let mut text = task.state.to_string();
    if !task.step_now.is_empty() {
        text += &format!(": {}", task.step_now);
    }
    if !task.why.is_empty() {
        text += &format!(" ({})", task.why);
    }
    text
}

/// How many tasks are done, and how many will not be done any more.
pub fn tally(view: &PlanView) -> (u64, u64) {
    let done = view.tasks.iter().filter(|t| t.state == TaskProgress::Done).count() as u64;
    let ended = view.tasks.iter().filter(|t| t.state.is_ended()).count() as u64;
    (done, ended - done)
}

/// One line of progress: done, moving, to go, rate, time left.
pub fn progress(view: &PlanView) -> String {
    let total = view.tasks.len() as u64;
    let (done, given_up) = tally(view);
    let moving =
        view.tasks.iter().filter(|t| matches!(t.state, TaskProgress::Running | TaskProgress::Unwinding)).count();
    let left = total - done - given_up;
    let mut parts = vec![format!("{done} of {total} done")];
    if moving > 0 {
        parts.push(format!("{moving} moving"));
    }
    if given_up > 0 {
        parts.push(format!("{given_up} not done"));
    }
    if left > moving as u64 {
        parts.push(format!("{} to go", left - moving as u64));
    }
    let elapsed = view.started.map_or(0, |start| view.now.since(start));
    if done > 0 && left > 0 && elapsed > 0 {
        let tenths = done * 10_000 / elapsed;
        parts.push(format!("{}.{}/s", tenths / 10, tenths % 10));
        parts.push(format!("{} left", span(elapsed * left / done)));
    }
    parts.join(" · ")
}

/// Why nothing has moved for so long, on one line: the first task that says what it waits for, else what is under way.
pub fn stall(view: &PlanView, idle_ms: u64) -> String {
    let under_way = || view.tasks.iter().filter(|t| matches!(t.state, TaskProgress::Running | TaskProgress::Unwinding));
    let waits = under_way().find(|t| !t.why.is_empty()).or_else(|| under_way().next());
    let cause = match (waits, &view.state) {
        (Some(task), _) if !task.why.is_empty() => format!("{}: {}", task.title, task.why),
        (Some(task), _) if !task.step_now.is_empty() => format!("{}: waits for {}", task.title, task.step_now),
        (Some(task), _) => format!("{}: waits for its next step", task.title),
        (None, PlanState::Proposed) => format!("waits for {}", count(view.people_missing.into(), "approval")),
        (None, _) => "nothing is under way: does a coordinator lead? slotctl status".into(),
    };
    let line = format!("nothing moved for {} · {cause}", span(idle_ms));
    let line: String = line.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= COLUMNS { line } else { line.chars().take(COLUMNS - 1).chain(['…']).collect() }
}

/// What a task that gave up, or waits too long, says; empty for the others.
pub fn complaint(task: &TaskLine) -> String {
    let gave_up = task.state.is_ended() && task.state != TaskProgress::Done;
    if !gave_up && (task.why.is_empty() || task.state.is_ended()) {
        return String::new();
    }
    let why = if task.why.is_empty() { "no reason given" } else { &task.why };
    wrap(&format!("  {}   {}: ", task.title, task.state), why)
}

fn bounds(budget: &Budget) -> String {
    let bytes = budget.max_bytes.map(|bytes| format!(" --max-bytes {bytes}"));
    let moves = budget.max_moves.map(|moves| format!(" --max-moves {moves}"));
    let gain = (budget.min_gain_ppm > 0).then(|| format!(" --min-gain {}", f64::from(budget.min_gain_ppm) / 1e6));
    [bytes, moves, gain].into_iter().flatten().collect()
}

/// The command that asks for the same thing again.
pub fn ask_again(intent: &Intent) -> String {
    match intent {
        Intent::Apply(_) => "slotctl apply -f FILE -m REASON".into(),
        Intent::DrainHost(_) | Intent::DrainHosts(_) => format!("slotctl drain host {} -m REASON", drained(intent)),
        Intent::EmptyHost(_) | Intent::EmptyHosts(_) => {
            format!("slotctl drain host {} --empty -m REASON", drained(intent))
        }
        Intent::MoveCopy { slot, .. } => format!("slotctl move slot {slot} -m REASON"),
        Intent::Rebuild(Scope::Store(store)) => format!("slotctl rebuild store {store} -m REASON"),
        Intent::Rebuild(Scope::Host(host)) => format!("slotctl rebuild host {host} -m REASON"),
        Intent::Rebuild(Scope::All) => "slotctl rebuild all -m REASON".into(),
        Intent::Rebalance(budget) => format!("slotctl rebalance{} -m REASON", bounds(budget)),
        Intent::Fill { hosts, budget } => {
            let hosts: Vec<&str> = hosts.iter().map(HostName::as_str).collect();
            format!("slotctl fill host {}{} -m REASON", hosts.join(" "), bounds(budget))
        }
        Intent::RetireStore(store) => format!("slotctl retire store {store} -m REASON"),
        Intent::RetireHost(host) => format!("slotctl retire host {host} -m REASON"),
        Intent::UndrainHost(host) => format!("slotctl undrain host {host} -m REASON"),
        Intent::FailOverSlot { slot, .. } => format!("slotctl failover slot {slot} -m REASON"),
        Intent::FailOverStore { store, .. } => format!("slotctl failover store {store} -m REASON"),
        Intent::FailOverHost(host) => format!("slotctl failover host {host} -m REASON"),
        Intent::FailOverClasses { host, classes } => {
            let classes: Vec<&str> = classes.iter().map(|class| class.word()).collect();
            format!("slotctl failover host {host} --class {} -m REASON", classes.join(","))
        }
        Intent::SettleLoss { case, how: Settlement::Reinject } => format!("slotctl loss reinject {case} -m REASON"),
        Intent::SettleLoss { case, how: Settlement::Discard } => format!("slotctl loss discard {case} -m REASON"),
        Intent::Undo(reverse) => format!("slotctl plan undo {} -m REASON", reverse.plan),
        Intent::StartMaster { slot }
        | Intent::Follow { slot }
        | Intent::FenceReturned { slot }
        | Intent::CountCopy { slot } => format!("slotctl show slot {slot}"),
    }
}

/// The names that must be typed: of the store that a plan destroys, of the hosts it switches off (R26), else of the one whose
/// masters an unplanned failover gives up.
pub fn names_to_type(plan: &Plan) -> Option<String> {
    if let Some(store) = plan.destroys() {
        return Some(store.to_string());
    }
    let off = plan.powers_off();
    match off.is_empty() {
        true => host_to_type(plan).map(ToString::to_string),
        false => Some(off.into_iter().map(HostName::as_str).collect::<Vec<_>>().join(" ")),
    }
}

/// What to type, and why.
pub fn question(id: PlanId, plan: &Plan, who: &str) -> String {
    match names_to_type(plan) {
        Some(store) if plan.destroys().is_some() => {
            format!("Type the store whose data is DESTROYED for good to carry out {id} as {who} ({store}): ")
        }
        Some(hosts) if !plan.powers_off().is_empty() => {
            format!("Type the host that will be SWITCHED OFF to carry out {id} as {who} ({hosts}): ")
        }
        Some(host) => format!("Type the host whose masters are given up to carry out {id} as {who} ({host}): "),
        None => format!("Carry out {id} as {who}? [yes/no] "),
    }
}

/// The host of the masters that an unplanned failover gives up.
pub fn host_to_type(plan: &Plan) -> Option<&HostName> {
    plan.tasks.iter().find_map(|task| match &task.kind {
        TaskKind::FailOver { from, .. } => Some(&from.host),
        _ => None,
    })
}

/// How a plan ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// What to print.
    pub text: String,
    /// The exit code.
    pub exit: Exit,
    /// For a drain: whether its host is safe to switch off.
    pub safe: Option<bool>,
}

fn drained(intent: &Intent) -> String {
    intent.drained().iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

/// How a plan ended; for a drain, with what is now declared of its hosts, as far as that could be learnt.
pub fn ending(view: &PlanView, plan: &Plan, hosts: &[HostView]) -> Ending {
    let total = view.tasks.len();
    let (done, _) = tally(view);
    let exit = match view.state {
        PlanState::Done => Exit::Done,
        PlanState::Proposed => Exit::NeedsApproval,
        PlanState::Rejected | PlanState::Void => Exit::Failed,
        _ => Exit::PartWay,
    };
    let took = match (view.started, view.ended) {
        (Some(start), Some(end)) => format!(" · {}", span(end.since(start))),
        _ => String::new(),
    };
    let why = if view.why.is_empty() { String::new() } else { format!(" ({})", view.why) };
    let state = format!("{}{why} · {} · {done} of {total} tasks done{took}", view.state, plan.intent);
    let mut text = wrap(&format!("{}   ", view.id), &state);
    for task in view.tasks.iter().filter(|t| t.state != TaskProgress::Done) {
        text += &complaint(task);
        text += &task.differs.as_ref().map_or_else(String::new, super::verify::named);
    }
    for case in &view.loss_cases {
        text += &format!("  loss case {case} is open   slotctl loss show {case}\n");
    }
    if view.state == PlanState::Paused {
        text += &super::pause::next(view, plan);
    } else if exit == Exit::PartWay {
        text += &format!("  next  {}   plans what is left\n", ask_again(&plan.intent));
    }
    let drained = plan.intent.drained();
    let mut safe = (!drained.is_empty()).then_some(true);
    for name in drained {
        let now = hosts.iter().find(|host| host.host == *name);
        let (line, is_safe) = switch_off(name, view, plan, now);
        if is_safe {
            text += &format!("  back  slotctl undrain host {name} -m REASON\n");
        }
        text += &line;
        safe = safe.map(|all| all && is_safe);
    }
    let exit = if safe == Some(false) && exit == Exit::Done { Exit::PartWay } else { exit };
    Ending { text, exit, safe }
}

fn switch_off(name: &HostName, view: &PlanView, plan: &Plan, host: Option<&HostView>) -> (String, bool) {
    let Some(host) = host else {
        return (not_safe(name, "its state could not be read after the drain"), false);
    };
    if view.state == PlanState::Done && is_safe(host.declared) {
        let left = |t: &&Task| matches!(&t.kind, TaskKind::HandOver { from, .. } if from.host == *name);
        let moved = plan.tasks.iter().filter(left).count() as u64;
        let moved = format!("{} moved · 0 masters, 0 engines running", count(moved, "master"));
        return (join(&format!("{name} is SAFE TO SWITCH OFF   "), &[moved]), true);
    }
    (switch_off_now(host), false)
}

/// Whether nothing runs on a host that is in this state, by its agent's own word (S8).
pub fn is_safe(declared: HostState) -> bool {
    matches!(declared, HostState::Maintenance | HostState::Empty)
}

/// What is true of a host now, whatever a plan did: the last line of a drain that did not end well, or was refused.
pub fn switch_off_now(host: &HostView) -> String {
    let name = &host.host;
    if is_safe(host.declared) {
        let state = if host.declared == HostState::Maintenance { "in Maintenance" } else { "Empty" };
        return format!("{name} is SAFE TO SWITCH OFF   it is {state}\n");
    }
    let copies = || host.slots.iter().filter_map(|line| line.copy.as_ref().map(|copy| (line, copy)));
    let masters: Vec<String> = copies()
        .filter(|(_, copy)| copy.copy.role == Role::Master)
        .map(|(line, copy)| format!("{} on {}", copy.store, line.slot))
        .collect();
    let state = host.declared;
    let why = match masters.as_slice() {
        [] => format!("it is {state}, and that nothing runs there is not confirmed"),
        [one] => format!("1 master left, {one}"),
        [first, ..] => format!("{} masters left, the first is {first}", masters.len()),
    };
    not_safe(name, &why)
}

/// The last line of a drain whose host may still be needed.
pub fn not_safe(name: &HostName, why: &str) -> String {
    wrap(&format!("{name} is NOT SAFE TO SWITCH OFF: "), why)
}
