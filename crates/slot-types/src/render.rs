//! A plan as text for a terminal.
//!
//! What always holds: no line is wider than [`WIDTH`] columns; the text depends on the plan, its number and its digest
//! alone; everything a person approves is in it: what happens, where, what may be lost, what is not fenced, how many
//! must say yes. No control character of a plan reaches the terminal.

mod fence;

use crate::cluster::{FenceLevel, HostState, LossClass, LossStatement};
use crate::evidence::{CopyEvidence, Seen};
use crate::ids::*;
use crate::plan::{Intent, Note, Plan, Reverse, Settlement, Task, TaskKind};
use crate::position::Digest;
use crate::probe::Reach;
use std::collections::{BTreeMap, BTreeSet};

/// The widest line.
pub const WIDTH: usize = 100;
/// Where the text of a headed block begins.
const INDENT: usize = 14;
/// A host whose agent was heard less long ago needs nobody else's eyes on its sheet.
const SILENT_SHOWN_MS: u64 = 3_000;
/// So many moves are written out; a larger plan says how to see the rest.
const MOVES_MAX: usize = 400;
/// So many names are written out in a row.
const NAMES_MAX: usize = 12;

/// Renders a plan. `id` is `None` until it is recorded.
pub fn render_plan(id: Option<PlanId>, plan: &Plan, digest: &Digest) -> String {
    let mut page = Page::default();
    head(&mut page, id, plan, digest);
    notes(&mut page, id, plan.notes.iter().filter(|n| n.heading == "!"));
    if plan.failovers().next().is_some() {
        is_it_dead(&mut page, plan);
        what_is_lost(&mut page, plan);
    }
    what_happens(&mut page, plan);
    moves(&mut page, id, plan);
    notes(&mut page, id, plan.notes.iter().filter(|n| n.heading != "!"));
    people(&mut page, plan);
    page.text
}

#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    fn gap(&mut self) {
        if !self.text.is_empty() && !self.text.ends_with("\n\n") {
            self.text.push('\n');
        }
    }
    /// One line of text, wrapped; later lines begin at `indent`.
    fn line(&mut self, text: &str, indent: usize) {
        let mut line = String::new();
        let lead: String = text.chars().take_while(|c| *c == ' ').take(WIDTH / 2).collect();
        for word in text.split(' ').skip(lead.len()) {
            for part in pieces(word, WIDTH - indent.max(lead.len())) {
                let room = WIDTH.saturating_sub(line.chars().count());
                let empty = line.trim().is_empty();
                if !empty && part.chars().count() + 1 > room {
                    self.end(&line);
                    line = " ".repeat(indent);
                } else if line.is_empty() {
                    line.clone_from(&lead);
                } else if !empty {
                    line.push(' ');
                }
                line.push_str(&part);
            }
        }
        self.end(&line);
    }
    fn end(&mut self, line: &str) {
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }
    /// A heading with its text beside it.
    fn beside(&mut self, heading: &str, lines: &[String]) {
        let wide = heading.chars().count() >= INDENT;
        if wide {
            self.line(heading, 0);
        }
        for (number, line) in lines.iter().enumerate() {
            let label = if number == 0 && !wide { heading } else { "" };
            self.line(&format!("{label:<INDENT$}{line}"), INDENT);
        }
    }
}

/// A word too long for a line is cut; control characters become spaces before this.
fn pieces(word: &str, width: usize) -> Vec<String> {
    let chars: Vec<char> = word.chars().collect();
    if chars.is_empty() {
        return vec![String::new()];
    }
    chars.chunks(width.max(1)).map(|c| c.iter().collect()).collect()
}

fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Bytes for a person, in powers of ten: `500.0 GB`.
pub fn size(bytes: u64) -> String {
    bytesize::ByteSize::b(bytes).display().si().to_string()
}

/// A time of day: `10:03:40 UTC`.
pub fn clock(wall: WallTime) -> String {
    let seconds = wall.0 / 1000 % 86_400;
    format!("{:02}:{:02}:{:02} UTC", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

fn span(ms: u64) -> String {
    match ms {
        0..10_000 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        10_000..120_000 => format!("{} s", ms / 1000),
        120_000..7_200_000 => format!("{} min", ms / 60_000),
        7_200_000..172_800_000 => format!("{} h", ms / 3_600_000),
        _ => format!("{} d", ms / 86_400_000),
    }
}

fn count(n: usize, one: &str, many: &str) -> String {
    if n == 1 { format!("1 {one}") } else { format!("{n} {many}") }
}

fn names<T: std::fmt::Display>(things: impl IntoIterator<Item = T>) -> String {
    let all: Vec<String> = things.into_iter().map(|t| t.to_string()).collect();
    let mut text = all.iter().take(NAMES_MAX).cloned().collect::<Vec<_>>().join(" ");
    if all.len() > NAMES_MAX {
        text.push_str(&format!(" and {} more", all.len() - NAMES_MAX));
    }
    text
}

fn head(page: &mut Page, id: Option<PlanId>, plan: &Plan, digest: &Digest) {
    let number = id.map_or("Plan".to_string(), |id| format!("Plan {id}"));
    page.line(
        &format!(
            "{number}   {}   revision {} · {} · valid {}",
            plan.intent,
            plan.revision,
            clock(plan.created_wall),
            span(plan.valid_ms)
        ),
        4,
    );
    page.line(&format!("digest {digest}"), 4);
    let reason = plain(&plan.reason);
    match &plan.requested_by {
        Some(by) if reason.trim().is_empty() => page.line(&format!("asked for by {by}"), 4),
        Some(by) => page.line(&format!("asked for by {by}: {reason}"), 4),
        None => page.line("everyday recovery: same masters, same epochs", 4),
    }
    page.gap();
}

/// The observations a failover rests on, with their ages; what is not known is said.
fn is_it_dead(page: &mut Page, plan: &Plan) {
    page.line("IS IT DEAD?", 0);
    let mut gone: BTreeSet<&HostName> = BTreeSet::new();
    let mut takers: BTreeSet<&HostName> = BTreeSet::new();
    for task in &plan.tasks {
        if let TaskKind::FailOver { from, to, waived, .. } = &task.kind {
            gone.insert(&from.host);
            gone.extend(waived.iter().map(|slot| &slot.host));
            takers.insert(&to.host);
        }
    }
    for host in gone.iter().chain(takers.difference(&gone)) {
        page.line(&format!("  {:<11} {}", host.to_string(), agent(plan, host)), INDENT);
    }
    for host in gone.iter().filter(|host| !plan.evidence.agent_alive(host, SILENT_SHOWN_MS)) {
        let words = plan.evidence.reach.get(*host).map_or_else(|| Reach::default().words(), Reach::words);
        page.line(&format!("  {:<11} {}", "other hosts", words.join(" · ")), INDENT);
    }
    fence::power(page, plan);
    let mut engines: BTreeMap<String, Vec<&SlotId>> = BTreeMap::new();
    for task in &plan.tasks {
        if let TaskKind::FailOver { from, .. } = &task.kind {
            engines.entry(engine(plan, from)).or_default().push(from);
        }
    }
    for (what, slots) in engines {
        page.line(&format!("  engine of {}: {what}", names(slots)), INDENT);
    }
    if plan.silent_hosts > 1 {
        let text = format!("  {} hosts are silent at once, seen from the leader alone", plan.silent_hosts);
        page.line(&text, INDENT);
    }
    if plan.said.mass {
        page.line("  whoever asked said --mass: looked from elsewhere, they are dead (R23)", INDENT);
    }
    page.gap();
}

fn agent(plan: &Plan, host: &HostName) -> String {
    match plan.evidence.hosts.get(host).map(|h| &h.agent) {
        Some(Seen::Known { age_ms, .. }) => format!("agent last heard {} ago", span(*age_ms)),
        Some(Seen::Unknown { reason }) => format!("agent: UNKNOWN, {}", plain(reason)),
        None => "agent: UNKNOWN, never heard".into(),
    }
}

fn engine(plan: &Plan, slot: &SlotId) -> String {
    match plan.evidence.copy(slot) {
        Seen::Unknown { reason } => format!("UNKNOWN, {}", plain(&reason)),
        Seen::Known { value, age_ms } => {
            let what = match value {
                CopyEvidence::NotRunning => "not running".into(),
                CopyEvidence::Silent => "runs, does not answer".into(),
                CopyEvidence::Absent => "its agent holds no such copy".into(),
                CopyEvidence::Running(status) => format!("{:?} at epoch {}", status.role, status.epoch),
            };
            format!("{what}, seen {} ago", span(age_ms))
        }
    }
}

/// Grouped by class, the best first, so that the exceptions stand out at the end.
fn what_is_lost(page: &mut Page, plan: &Plan) {
    page.line("WHAT IS LOST?", 0);
    let mut groups: BTreeMap<LossClass, Vec<(&Task, &LossStatement)>> = BTreeMap::new();
    for task in &plan.tasks {
        if let TaskKind::FailOver { loss, .. } = &task.kind {
            groups.entry(loss.class).or_default().push((task, loss));
        }
    }
    for (class, group) in groups {
        page.line(&format!("  {class}: {}, {}", count(group.len(), "store", "stores"), meaning(class)), 4);
        if class == LossClass::NoneProvable {
            let stores = group.iter().filter_map(|(task, _)| task.store.as_ref());
            page.line(&format!("    {}", stores.map(ToString::to_string).collect::<Vec<_>>().join(" ")), 4);
            continue;
        }
        for (task, loss) in group {
            page.line(&format!("    {}", statement(task, loss)), 6);
        }
    }
    page.gap();
}

fn meaning(class: LossClass) -> &'static str {
    match class {
        LossClass::NoneProvable => "nothing that was acknowledged",
        LossClass::CaughtUp => "at most what came after the last report",
        LossClass::Lagging => "the candidate is known to be behind",
        LossClass::Unverified => "the candidate was not verified lately",
        LossClass::Unknown => "no bound is known",
    }
}

fn statement(task: &Task, loss: &LossStatement) -> String {
    let TaskKind::FailOver { from, to, feed, .. } = &task.kind else { return String::new() };
    let store = task.store.as_ref().map(ToString::to_string).unwrap_or_default();
    let holder = feed.as_ref().unwrap_or(to);
    let mut text = format!("{store}  {holder} ends at {}", loss.candidate.position);
    match (&loss.last_known, loss.last_known_age_ms) {
        (Some(tip), Some(age)) => {
            text.push_str(&format!(" · {from} reported {} {} ago", tip.position, span(age)));
        }
        _ => text.push_str(&format!(" · no report of {from} as this master is known")),
    }
    match loss.known_lag {
        Some(0) => {}
        Some(lag) => text.push_str(&format!(" · {lag} records behind")),
        None => text.push_str(" · lag unknown"),
    }
    text
}

fn what_happens(page: &mut Page, plan: &Plan) {
    page.line("WHAT HAPPENS", 0);
    let lines = match &plan.intent {
        Intent::DrainHost(_) | Intent::DrainHosts(_) => drain_lines(plan),
        Intent::EmptyHost(_) | Intent::EmptyHosts(_) => empty_lines(plan),
        Intent::MoveCopy { .. } | Intent::Rebuild(_) | Intent::Rebalance(_) | Intent::Fill { .. } => copy_lines(plan),
        Intent::UndrainHost(host) => undrain_lines(plan, host),
        Intent::Undo(reverse) => undo_lines(plan, reverse),
        Intent::FailOverSlot { .. }
        | Intent::FailOverStore { .. }
        | Intent::FailOverHost(_)
        | Intent::FailOverClasses { .. } => failover_lines(plan),
        Intent::Apply(_) => apply_lines(plan),
        _ => plan.tasks.iter().map(small_task).collect(),
    };
    let ends = end_line(plan);
    for (number, line) in lines.iter().enumerate() {
        page.line(&format!("  {}  {line}", number + 1), 5);
    }
    if let Some(line) = ends {
        page.line(&format!("  =  {line}"), 5);
    }
    page.gap();
}

fn tasks_of(plan: &Plan, wanted: impl Fn(&TaskKind) -> bool) -> usize {
    plan.tasks.iter().filter(|t| wanted(&t.kind)).count()
}

fn handovers(plan: &Plan) -> usize {
    tasks_of(plan, |k| matches!(k, TaskKind::HandOver { .. }))
}

fn drain_lines(plan: &Plan) -> Vec<String> {
    let mut lines = Vec::new();
    let (masters, stops) = (handovers(plan), tasks_of(plan, |k| matches!(k, TaskKind::StopCopy { .. })));
    let hosts = names(plan.intent.drained());
    if masters > 0 {
        let who = count(masters, "master leaves", "masters leave");
        lines.push(format!(
            "{who} {hosts} for the hosts of their replicas; no data is copied, each store pauses for a moment"
        ));
    }
    if stops > 0 {
        lines.push(format!("{} on {hosts} cleanly", count(stops, "copy stops", "copies stop")));
    }
    lines.extend(confirmed(plan));
    lines
}

fn empty_lines(plan: &Plan) -> Vec<String> {
    let mut lines = copy_lines(plan);
    lines.extend(confirmed(plan));
    lines
}

/// S8.
fn confirmed(plan: &Plan) -> Vec<String> {
    let hosts = plan.intent.drained();
    hosts.into_iter().map(|host| format!("the agent of {host} confirms that no engine runs there")).collect()
}

fn copy_lines(plan: &Plan) -> Vec<String> {
    let mut lines = Vec::new();
    let masters = handovers(plan);
    let (builds, goes) = (
        tasks_of(plan, |k| matches!(k, TaskKind::BuildCopy { .. })),
        tasks_of(plan, |k| matches!(k, TaskKind::DestroyCopy { .. })),
    );
    if masters > 0 {
        let who = count(masters, "master is handed over", "masters are handed over");
        lines.push(format!("{who}; each store pauses for a moment"));
    }
    if builds > 0 {
        let who = count(builds, "copy is built; it counts", "copies are built; each counts");
        lines.push(format!("{who} once it was seen to hold everything its master has"));
    }
    if goes > 0 {
        let who = count(goes, "copy is destroyed", "copies are destroyed");
        lines.push(format!("{who}, each only while as many others as its store asks for are seen live"));
    }
    lines
}

fn undrain_lines(plan: &Plan, host: &HostName) -> Vec<String> {
    let mut lines = vec![format!("{host} is Active again")];
    let starts = tasks_of(plan, |k| matches!(k, TaskKind::StartCopy { .. }));
    if starts > 0 {
        lines.push(format!(
            "{} and catches up",
            count(starts, "copy on it starts", "copies on it start, each follows its master")
        ));
    }
    let back = handovers(plan);
    if back > 0 {
        let who =
            count(back, "master goes back to it, once its copy is", "masters go back to it, each once its copy is");
        lines.push(format!("{who} close behind and verified"));
    }
    lines
}

fn undo_lines(plan: &Plan, reverse: &Reverse) -> Vec<String> {
    let mut lines = vec![format!("{} is over and can't be resumed any more", reverse.plan)];
    for task in &plan.tasks {
        if let TaskKind::HostState { host, to } = &task.kind {
            lines.push(format!("{host} is {to} again"));
        }
    }
    let starts = tasks_of(plan, |k| matches!(k, TaskKind::StartCopy { .. }));
    if starts > 0 {
        let what = count(starts, "replica that it stopped starts", "replicas that it stopped start");
        lines.push(format!("{what} and catch up"));
    }
    if handovers(plan) > 0 {
        let what = count(handovers(plan), "master goes back", "masters go back");
        lines.push(format!("{what} to where it was, once its copy there is close behind and verified"));
    }
    lines
}

fn failover_lines(plan: &Plan) -> Vec<String> {
    let mut lines = Vec::new();
    let planned = handovers(plan);
    if planned > 0 {
        let who = count(planned, "master is well and is handed over", "masters are well and are handed over");
        lines.push(format!("{who}; nothing is lost, each store pauses for a moment"));
    }
    let unplanned = plan.failovers().count();
    if unplanned == 0 {
        return lines;
    }
    lines.push(format!("the next epoch of {} is committed. POINT OF NO RETURN", count(unplanned, "store", "stores")));
    lines.push("every copy that answers is raised to it: none takes writes or replication below it any more".into());
    lines.extend(fence::lines(plan));
    lines.push(
        "the new masters start, clients are pointed at them, the others follow, one record in and read back".into(),
    );
    if plan.failovers().any(|(_, fence, _)| fence > FenceLevel::Demoted) {
        lines.push(
            "a loss case opens for each slot that is not demoted: it never serves again until that is settled".into(),
        );
    }
    lines
}

fn apply_lines(plan: &Plan) -> Vec<String> {
    let mut lines = Vec::new();
    if tasks_of(plan, |k| matches!(k, TaskKind::Fleet)) > 0 {
        lines.push("hosts, slots and policy change as the file says".into());
    }
    let stores = tasks_of(plan, |k| matches!(k, TaskKind::CreateStore { .. }));
    if stores > 0 {
        let copies: usize = plan
            .tasks
            .iter()
            .map(|t| if let TaskKind::CreateStore { copies, .. } = &t.kind { copies.len() } else { 0 })
            .sum();
        lines.push(format!(
            "{} made, with {}",
            count(stores, "store is", "stores are"),
            count(copies, "copy", "copies in all")
        ));
    }
    lines
}

fn small_task(task: &Task) -> String {
    let store = task.store.as_ref().map(ToString::to_string).unwrap_or_default();
    match &task.kind {
        TaskKind::StartMaster { slot } => {
            format!("{slot} is started as master of {store} again, at the same epoch {}", task.epoch)
        }
        TaskKind::StartCopy { slot } => format!("{slot} follows the master of {store}"),
        TaskKind::FenceReturned { slot } => format!("{slot} is demoted; what only it holds of {store} is listed"),
        TaskKind::SettleLoss { case, slot, how: Settlement::Reinject } => {
            format!("what only {slot} holds goes into {store} under its own ids; {case} is closed; {slot} follows")
        }
        TaskKind::SettleLoss { case, slot, how: Settlement::Discard } => {
            format!("what only {slot} holds of {store} is GIVEN UP; {case} is closed; {slot} follows")
        }
        TaskKind::HostState { host, to } => format!("{host} is declared {to}"),
        TaskKind::RetireStore { master } => format!(
            "{store} is retired: clients have no route to it, and {master} is demoted at an epoch that is nobody's. \
             POINT OF NO RETURN"
        ),
        TaskKind::DestroyCopy { slot, .. } => format!("the copy of {store} on {slot} is DESTROYED"),
        _ => String::new(),
    }
}

fn end_line(plan: &Plan) -> Option<String> {
    let ends = |task: &Task| matches!(task.kind, TaskKind::HostState { to: HostState::Maintenance, .. });
    plan.tasks.last().filter(|task| ends(task))?;
    let hosts = plan.intent.drained();
    let are = if hosts.len() == 1 { "is" } else { "are" };
    let due =
        plan.said.back_by.map_or(String::new(), |due| format!(". Back by {}; status says so when not", clock(due)));
    Some(format!("{} {are} in Maintenance: safe to switch off{due}", names(hosts)))
}

/// Every change of master and every new store: what is approved is what is shown (R15).
fn moves(page: &mut Page, id: Option<PlanId>, plan: &Plan) {
    let lines: Vec<String> = plan.tasks.iter().filter_map(one_move).collect();
    if lines.is_empty() {
        return;
    }
    page.line("MASTERS", 0);
    for line in lines.iter().take(MOVES_MAX) {
        page.line(&format!("  {line}"), 6);
    }
    if lines.len() > MOVES_MAX {
        let show = id.map_or("plan show".to_string(), |id| format!("plan show {id}"));
        page.line(&format!("  and {} more: slotctl {show} --output json", lines.len() - MOVES_MAX), 6);
    }
    page.gap();
}

fn one_move(task: &Task) -> Option<String> {
    let store = task.store.as_ref()?.to_string();
    let next = task.epoch.next();
    match &task.kind {
        TaskKind::HandOver { from, to } => {
            Some(format!("{store:<10}  {from} -> {to}   epoch {} -> {next}", task.epoch))
        }
        TaskKind::FailOver { from, to, feed, .. } => {
            let fed = feed.as_ref().map(|slot| format!("   fed by {slot}")).unwrap_or_default();
            let way = if from == to { format!("{to} itself") } else { format!("{from} -> {to}") };
            Some(format!("{store:<10}  {way}   epoch {} -> {next}   unplanned{fed}", task.epoch))
        }
        TaskKind::CreateStore { copies, master, .. } => {
            let others: Vec<String> = copies.keys().filter(|s| *s != master).map(ToString::to_string).collect();
            let replicas =
                if others.is_empty() { "no replica".to_string() } else { format!("replicas {}", others.join(" ")) };
            Some(format!("{store:<10}  {master}   {replicas}   epoch {next}"))
        }
        _ => None,
    }
}

/// A plan's notes are written before it has a number; where one names a command on the plan itself, the number goes in here.
fn notes<'a>(page: &mut Page, id: Option<PlanId>, notes: impl Iterator<Item = &'a Note>) {
    let mut blocks: Vec<(&str, Vec<String>)> = Vec::new();
    for note in notes {
        let text = match id {
            Some(id) => note.text.replace("slotctl plan abort PLAN", &format!("slotctl plan abort {id}")),
            None => note.text.clone(),
        };
        let lines = text.split('\n').map(plain);
        match blocks.iter_mut().find(|(heading, _)| *heading == note.heading) {
            Some((_, block)) => block.extend(lines),
            None => blocks.push((&note.heading, lines.collect())),
        }
    }
    for (heading, lines) in &blocks {
        if *heading == "!" {
            for (number, line) in lines.iter().enumerate() {
                page.line(&format!("{} {line}", if number == 0 { "!" } else { " " }), 2);
            }
            page.gap();
        } else {
            page.beside(&plain(heading), lines);
        }
    }
}

fn people(page: &mut Page, plan: &Plan) {
    page.gap();
    match plan.people {
        0 => page.line("Needs nobody's yes.", 0),
        1 => page.line("Needs 1 person: the yes of who asked for it is enough.", 0),
        n => {
            let why = plain(&plan.two_because.join("; "));
            page.line(&format!("Needs {n} people besides who asked for it: {why}."), 0);
        }
    }
}
