//! `slotctl show host|store|slot`.
//!
//! What always holds: what is committed and what is seen stand in columns of their own; where they differ, the line says so.

use super::hold;
use super::layout::*;
use slot_types::cluster::*;
use slot_types::engine::EngineRole;
use slot_types::evidence::{CopyEvidence, Seen};
use slot_types::ids::SlotId;
use slot_types::view::*;

/// What was seen less than this long ago is said without its age.
const FRESH_MS: u64 = 2_000;

/// One host.
pub fn host(view: &HostView) -> String {
    let seen = match (&view.seen, view.silent) {
        (Seen::Known { .. }, false) => format!("seen {} ago", age(&view.seen)),
        (Seen::Known { age_ms, .. }, true) => format!("SILENT for {}", span(*age_ms)),
        (Seen::Unknown { reason }, _) => format!("NEVER SEEN: {reason}"),
    };
    let mut what = vec![view.declared.to_string(), seen, format!("at {}", view.at)];
    what.extend((view.weight != 1).then(|| format!("weight {}", view.weight)));
    let mut text = join(&format!("{}   ", view.host), &what);
    text.push('\n');
    text += &format!("agent        {}\n", view.address);
    let or_unseen = |value: Option<String>| value.unwrap_or_else(|| "not seen yet".into());
    text += &format!("incarnation  {}\n", or_unseen(view.incarnation.map(|i| i.to_string())));
    text += &format!("boot         {}\n", or_unseen(view.boot.map(|b| b.to_string())));
    text += &trouble(view);
    if !view.drained_masters.is_empty() {
        let stores: Vec<String> = view.drained_masters.iter().map(ToString::to_string).collect();
        text += &wrap("hand back    ", &stores.join(" "));
    }
    if let Some(due) = view.back_by {
        text += &format!("back by      {}\n", super::layout::day_and_time(due));
    }
    text += &hold::lines("HELD         ", &view.holds);
    if let Some(plan) = view.claimed_by {
        text += &format!("plan         {plan} is about this host\n");
    }
    if !view.running.is_empty() {
        let orders: Vec<String> = view.running.iter().map(ToString::to_string).collect();
        text += &wrap("running      ", &orders.join(" "));
    }
    text.push('\n');
    text += &slots(&view.slots, |line| format!("{:02}", line.slot.number), "SLOT");
    text += &next(view);
    text
}

fn trouble(view: &HostView) -> String {
    let mut text = String::new();
    match &view.quarantined {
        Some(HostQuarantine::OtherDisk { presented }) => {
            text += &wrap("QUARANTINED  ", &format!("its disk is not the admitted one: it presents {presented}"));
        }
        Some(HostQuarantine::OlderDisk { presented, acknowledged }) => {
            let why = format!(
                "its disk is older than it was: its ledger ends at order {presented}, it had acknowledged {acknowledged}"
            );
            text += &wrap("QUARANTINED  ", &why);
        }
        Some(HostQuarantine::Restored) => {
            let why = "the coordinators were restored, and it was not re-adopted since: nothing is ordered there";
            text += &wrap("QUARANTINED  ", why);
        }
        None => {}
    }
    if let Some(word) = &view.attestation {
        let holds = if view.attestation_valid { "holds" } else { "no longer holds" };
        text += &wrap("attested     ", &format!("off by {}: {} ({holds})", word.by, word.how));
    }
    text
}

fn next(view: &HostView) -> String {
    let host = &view.host;
    let masters = view.slots.iter().filter_map(|l| l.copy.as_ref()).any(|c| c.copy.role == Role::Master);
    let command = match (&view.quarantined, view.declared, view.silent) {
        (Some(HostQuarantine::OtherDisk { presented }), _, _) => {
            format!("slotctl admit host {host} --incarnation {presented} -m REASON")
        }
        (Some(HostQuarantine::Restored), _, _) => "slotctl status".to_string(),
        (_, HostState::Maintenance, _) => format!("slotctl undrain host {host} -m REASON"),
        (_, _, true) if masters => format!("slotctl failover host {host} -m REASON"),
        _ => return String::new(),
    };
    format!("\nnext  {command}\n")
}

pub(super) fn slots(lines: &[SlotLine], name: impl Fn(&SlotLine) -> String, title: &'static str) -> String {
    let mut table = Table::new(&[title, "STORE", "ROLE", "STATE", "POSITION", ">BEHIND", ">COMPARED", "ENGINE"]);
    for line in lines {
        let Some(copy) = &line.copy else {
            let note = line.claimed_by.map_or(String::new(), |plan| format!("reserved by {plan}"));
            let dash = || "-".to_string();
            table.row(vec![name(line), "free".into(), dash(), dash(), dash(), dash(), dash(), note]);
            continue;
        };
        let behind = match (copy.copy.role, &copy.behind) {
            (Role::Master, _) => "-".into(),
            (Role::Replica, Seen::Known { value, .. }) => value.to_string(),
            (Role::Replica, Seen::Unknown { .. }) => "?".into(),
        };
        table.row(vec![
            name(line),
            copy.store.to_string(),
            role(copy.copy.role).into(),
            state(copy.copy.state).into(),
            copy.position.value().map_or("?".into(), ToString::to_string),
            behind,
            super::verify::compared(copy.compared),
            engine(&copy.copy, &copy.engine),
        ]);
    }
    table.text(0)
}

fn role(role: Role) -> &'static str {
    match role {
        Role::Master => "master",
        Role::Replica => "replica",
    }
}

pub(super) fn state(state: CopyState) -> &'static str {
    match state {
        CopyState::Serving => "serving",
        CopyState::Frozen => "frozen",
        CopyState::Building => "BUILDING",
        CopyState::Quarantined => "QUARANTINED",
        CopyState::Stopped => "stopped",
        CopyState::Retired => "retired",
    }
}

/// What is seen of an engine, and whether it is what was committed.
fn engine(copy: &Copy, seen: &Seen<CopyEvidence>) -> String {
    let stopped = matches!(copy.state, CopyState::Stopped | CopyState::Retired);
    match seen {
        Seen::Unknown { reason } => format!("unknown: {reason}"),
        Seen::Known { value, age_ms } => {
            let ago = if *age_ms < FRESH_MS { String::new() } else { format!(", {} ago", span(*age_ms)) };
            let what = match value {
                CopyEvidence::NotRunning if stopped => "stopped".to_string(),
                CopyEvidence::NotRunning => "NOT RUNNING".into(),
                CopyEvidence::Silent => "DOES NOT ANSWER".into(),
                CopyEvidence::Absent => "NO SUCH COPY THERE".into(),
                CopyEvidence::Running(status) => running(copy, status.role, status.frozen.is_some(), stopped),
            };
            format!("{what}{ago}")
        }
    }
}

fn running(copy: &Copy, seen: EngineRole, frozen: bool, stopped: bool) -> String {
    let text = match seen {
        EngineRole::Idle => "idle",
        EngineRole::Master if frozen => "master, frozen",
        EngineRole::Master => "master",
        EngineRole::Replica => "follows",
        EngineRole::Demoted => "demoted",
        EngineRole::Diverged => "DIVERGED",
    };
    let fits = match copy.role {
        Role::Master => seen == EngineRole::Master,
        Role::Replica => {
            seen == EngineRole::Replica || (copy.state != CopyState::Serving && seen != EngineRole::Master)
        }
    };
    if stopped {
        format!("RUNS ({text})")
    } else if fits {
        text.into()
    } else {
        format!("{text} (!)")
    }
}

/// One store.
pub fn store(view: &StoreView) -> String {
    let master = match (&view.master, &view.pending) {
        (Some(master), None) if view.served => format!("served by {master}"),
        (Some(master), None) => format!("NOT SERVED: {master} is master and was not seen serving lately"),
        (_, Some(pending)) => format!("NOT SERVED: epoch {} is for {pending}, which is not master yet", view.epoch),
        (None, None) => "NOT SERVED: no master".into(),
    };
    let mut text = join(&format!("{}   ", view.store), &[master, format!("epoch {}", view.epoch)]);
    text.push('\n');
    let spec = &view.spec;
    let mut asked = vec![
        format!("engine {}", spec.engine),
        count(u64::from(spec.copies), "copy"),
        format!("one per {}", spec.spread),
        format!("{} each", bytes(spec.size_bytes)),
        format!("acknowledged after {}", count(u64::from(spec.sync_copies), "replica")),
    ];
    if spec.load != 1 {
        asked.push(format!("load {}", spec.load));
    }
    if !spec.never.is_empty() {
        asked.push(format!("never on {}", spec.never.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")));
    }
    text += &join("asked    ", &asked);
    text += &match &view.route {
        Some(route) => format!("route    {} (epoch {})\n", route.address, route.epoch),
        None => "route    none\n".into(),
    };
    for (slot, possible) in &view.possible_masters {
        text += &wrap("CAREFUL  ", &format!("{slot} may still hold a master role of epoch {}", possible.since));
    }
    text += &hold::lines("HELD     ", &view.holds);
    if let Some(plan) = view.claimed_by {
        text += &format!("plan     {plan} is about this store\n");
    }
    if !view.loss_cases.is_empty() {
        let cases: Vec<String> = view.loss_cases.iter().map(ToString::to_string).collect();
        text += &wrap("loss     ", &cases.join(" "));
    }
    text.push('\n');
    text += &slots(&view.copies, |line| line.slot.to_string(), "COPY ON");
    text
}

/// One slot, and the store on it.
pub fn slot(view: &SlotView) -> String {
    let slot: &SlotId = &view.line.slot;
    let holds = view.line.copy.as_ref().map_or("free".into(), |copy| copy.store.to_string());
    let mut text = join(
        &format!("{slot}   "),
        &[holds, format!("listens at {}", view.line.address), format!("holds {}", bytes(view.size_bytes))],
    );
    if let Some(plan) = view.line.claimed_by {
        text += &format!("reserved by {plan}\n");
    }
    if let Some(on_it) = &view.store {
        text.push('\n');
        text += &store(on_it);
    }
    text
}
