//! `slotctl explain`.
//!
//! What always holds: each copy is named, with the planner's reason why it was or was not chosen; what can't be judged any
//! more is said so.

use super::layout::*;
use super::show;
use slot_types::cluster::Role;
use slot_types::evidence::Seen;
use slot_types::ids::{HostName, PlanId};
use slot_types::render::size;
use slot_types::view::*;

/// The whole answer.
pub fn explain(view: &ExplainView) -> String {
    match &view.explained {
        Seen::Unknown { reason } => wrap("explain  ", &format!("NOT KNOWN: {reason}")),
        Seen::Known { value: Explained::Plan(plan), .. } => explained_plan(plan),
        Seen::Known { value: Explained::Store(store), .. } => explained_store(store),
        Seen::Known { value: Explained::Slot { slot, claimed_by, store }, .. } => {
            let what = match (store, claimed_by) {
                (Some(store), _) => format!("holds a copy of {}", store.store),
                (None, Some(plan)) => format!("is free, reserved by {plan}"),
                (None, None) => "is free".into(),
            };
            let text = wrap(&format!("{slot}   "), &what);
            store.as_ref().map_or_else(|| text.clone(), |store| format!("{text}\n{}", explained_store(store)))
        }
    }
}

fn explained_store(store: &ExplainedStore) -> String {
    let master = match (&store.master, &store.pending) {
        (_, Some(pending)) => format!("epoch {} was given to {pending}, which is not master yet", store.epoch),
        (Some(master), None) => format!("master {master} at epoch {}", store.epoch),
        (None, None) => "NO MASTER".into(),
    };
    let mut parts = vec![master];
    parts.extend(store.claimed_by.map(|plan| format!("held by {plan}")));
    let mut text = join(&format!("{}   ", store.store), &parts);
    text.push('\n');
    text += &wrap("why there    ", &made_by(store));
    let takers = store.candidates.iter().filter(|c| c.planned == Verdict::Can).count() as u64;
    let hand_over = match (&store.not_well, takers) {
        (Some(why), _) => format!("not now: {why}"),
        (None, 0) => "its master is well, and no other copy can take it now".into(),
        (None, n) => format!("its master is well, and {} can take it", count(n, "copy")),
    };
    text += &wrap("hand-over    ", &hand_over);
    let dies = match &store.if_host_dies {
        Some(slot) => format!("its master would go to {slot}, once a person approves it"),
        None => "NOTHING could become master".into(),
    };
    text += &wrap("if it dies   ", &dies);
    text.push('\n');
    text += &store.candidates.iter().map(|c| candidate(c, true, true)).collect::<String>();
    text + &store.places.iter().map(place).collect::<String>()
}

/// No less than so many bytes once it is written with one digit after the point.
fn shown(bytes: u64) -> u64 {
    let mut unit = 1u64;
    while bytes / unit >= 1000 {
        unit *= 1000;
    }
    bytes.div_ceil((unit / 10).max(1)).saturating_mul((unit / 10).max(1))
}

/// Why a copy is on its host, and why not on each other one.
fn place(copy: &ExplainedCopy) -> String {
    let here = &copy.slot.host;
    let best = match &copy.best {
        Some(best) if best == here => format!("{here} is the best host for it now, all else staying as it is"),
        Some(best) => format!("{best} would be better for it now; slotctl move slot {} asks for that", copy.slot),
        None => "no host may have it now".into(),
    };
    let mut text = format!("\n{}", wrap(&format!("place of {:<9}  ", copy.slot.to_string()), &best));
    for other in &copy.others {
        let why = if other.why.is_empty() { "the best host for it now" } else { &other.why };
        text += &wrap(&format!("  {:<8}  ", other.host.to_string()), &format!("{why}{}", nearest(other)));
    }
    text
}

/// `; would be chosen were it active, with 2 fewer masters (store3 on imap7/31, store9 on imap8/02) and one more free slot of 40 GB`.
fn nearest(other: &OtherHost) -> String {
    let Some(change) = &other.change else {
        return if other.no_change.is_empty() {
            String::new()
        } else {
            format!("; no change said: {}", other.no_change)
        };
    };
    let mut parts: Vec<String> = change.were.iter().map(were).collect();
    let mut with = Vec::new();
    if !change.led_elsewhere.is_empty() {
        let led: Vec<String> = change.led_elsewhere.iter().map(|one| format!("{} on {}", one.store, one.to)).collect();
        let masters = count(led.len() as u64, "fewer master");
        with.push(format!("{masters} ({})", led.join(", ")));
    }
    with.extend(change.slot_bytes.map(|bytes| format!("one more free slot of {}", size(shown(bytes)))));
    parts.extend((!with.is_empty()).then(|| format!("with {}", with.join(" and "))));
    let nothing = if parts.is_empty() { ", alone, as things are" } else { "" };
    let bounded = if change.bounded { " (not every nearer change was looked at)" } else { "" };
    format!("; would be chosen{nothing} {}{bounded}", parts.join(", ")).trim_end().into()
}

fn were(were: &Were) -> String {
    let names = |hosts: &[HostName]| hosts.iter().map(HostName::as_str).collect::<Vec<_>>().join(" ");
    match were {
        Were::Active => "were it Active".into(),
        Were::Heard => "were its agent heard".into(),
        Were::Admitted => "were its disk admitted".into(),
        Were::Unclaimed => "were it held by no running plan".into(),
        Were::ApartFrom(slot) => format!("were it in another failure domain than {}", slot.host),
        Were::CopyOn { slot, to } => format!("were {slot} on {to}"),
        Were::Allowed => "did the file not say never there".into(),
        Were::DiskBytes(bytes) => format!("had its disk {} more free", size(shown(*bytes))),
        Were::NeverOn(hosts) => format!("did the file say never on {}", names(hosts)),
        Were::Draining(hosts) => format!("were {} Draining", names(hosts)),
        Were::HoldsCopy => "had it a copy as well as the chosen one".into(),
        Were::Serving => "were its copy Serving".into(),
        Were::Following => "were its engine seen doing its part".into(),
        Were::Behind(records) => format!("were it at most {} behind", count(*records, "record")),
        Were::VerifiedWithin(ms) => format!("were it verified within {} s", ms / 1000),
        Were::EndsAt(position) => format!("did it end at {position}"),
        Were::CaseClosed(case) => format!("were {case} closed"),
        Were::Agreeing => "did it not differ".into(),
    }
}

/// Why no other host, in a plan: hosts of which the same is said are named together.
fn place_in_plan(copy: &ExplainedCopy, alone: bool) -> String {
    let mut text = String::new();
    if !alone {
        text += &wrap("     ", &format!("place of {}", copy.slot));
    }
    if let Some(best) = copy.best.as_ref().filter(|best| **best != copy.slot.host) {
        text += &wrap("     ", &format!("{best} would be better for it alone; what a plan places is placed together"));
    }
    let mut said: Vec<(String, Vec<&str>)> = Vec::new();
    for other in copy.others.iter().filter(|other| !other.why.is_empty()) {
        let why = format!("{}{}", other.why, nearest(other));
        match said.iter_mut().find(|(known, _)| *known == why) {
            Some((_, hosts)) => hosts.push(other.host.as_str()),
            None => said.push((why, vec![other.host.as_str()])),
        }
    }
    for (why, hosts) in said {
        text += &wrap("     not ", &format!("{}: {why}", hosts.join(" ")));
    }
    text
}

fn made_by(store: &ExplainedStore) -> String {
    match (&store.made_by, &store.master) {
        (Some(made), _) => {
            let who = made.requested_by.as_ref().map_or("everyday recovery".into(), ToString::to_string);
            let reason = if made.reason.is_empty() { String::new() } else { format!(": {}", made.reason) };
            format!(
                "{} ({}) for {who}{reason}; why it chose so: slotctl explain plan {}",
                made.plan, made.title, made.plan
            )
        }
        (None, Some(_)) => "the plan that put it there is no longer remembered; slotctl events has what is kept".into(),
        (None, None) => "it has no master now".into(),
    }
}

/// A copy, with what it is good for.
fn candidate(candidate: &Candidate, planned: bool, unplanned: bool) -> String {
    let role = match candidate.role {
        Role::Master => "master",
        Role::Replica => "replica",
    };
    let host = format!("{} has {}", candidate.slot.host, count(candidate.host_masters.into(), "master"));
    let ends = candidate.ends_at.map_or("its end was not seen".into(), |at| format!("ends at {at}"));
    let what = format!("{role}, {}", show::state(candidate.state));
    let mut text = join(&format!("{:<11}  ", candidate.slot.to_string()), &[what, ends, host]);
    let verdicts = [(planned, "hand-over", &candidate.planned), (unplanned, "failover", &candidate.unplanned)];
    for (_, name, verdict) in verdicts.into_iter().filter(|(wanted, _, _)| *wanted) {
        text += &wrap(&format!("  {name:<9}  "), &said(verdict));
    }
    text
}

fn said(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Master => "it is the master".into(),
        Verdict::Can => "could take it".into(),
        Verdict::LastResort => "could take it, as nothing else can: a loss case is open there".into(),
        Verdict::NotFurthest { furthest } => format!("no: another copy has more, it ends at {furthest}"),
        Verdict::No { why } => format!("no: {why}"),
    }
}

fn explained_plan(plan: &ExplainedPlan) -> String {
    let chosen = count(plan.tasks.len() as u64, "choice");
    let follows = match plan.without_choice {
        0 => String::new(),
        n => format!("{} from the intent alone", count(n.into(), "task") + if n == 1 { " follows" } else { " follow" }),
    };
    let mut parts = vec![plan.title.clone(), format!("planned at revision {}", plan.planned_at), chosen];
    parts.extend(Some(follows).filter(|text| !text.is_empty()));
    // One that was made for a file was never recorded, and has no number.
    let name = if plan.plan == PlanId(0) { "plan".to_owned() } else { plan.plan.to_string() };
    let mut text = join(&format!("{name}   "), &parts);
    for task in &plan.tasks {
        text.push('\n');
        let way = match &task.from {
            Some(from) if task.builds => format!("copy built at {} in place of {from}", task.to),
            None if task.builds => format!("copy built at {}", task.to),
            Some(from) => format!("{from} -> {}", task.to),
            None => format!("made, master {}", task.to),
        };
        text += &wrap(&format!("{:>3}  ", task.task), &format!("{}  {way}", task.store));
        for because in &task.because {
            text += &wrap("     because  ", because);
        }
        if !task.changed.is_empty() {
            text += &wrap("     now      ", &task.changed);
        }
        for other in &task.others {
            text += &indented(&candidate(other, task.planned, !task.planned));
        }
        for place in &task.places {
            text += &place_in_plan(place, task.places.len() == 1);
        }
    }
    text
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("     {line}\n")).collect()
}
