//! `slotctl status`: the verdict first, then what is wrong, whom it hurts and what to type.
//!
//! What always holds: when something needs a person, that comes first and what is well shrinks to a line.

use super::layout::*;
use super::{front_end, hold, risk, verify};
use slot_types::cluster::HostState;
use slot_types::evidence::Seen;
use slot_types::load::percent;
use slot_types::view::*;

/// The whole answer.
pub fn status(view: &StatusView, confirmed: bool) -> String {
    let quiet = view.needs_you.is_empty() && confirmed;
    let mut text = verdict(view, confirmed);
    text += &hold::lines("HELD           ", &view.holds);
    text.push('\n');
    if quiet {
        text += &summary(view);
        text.push('\n');
        text += &hosts(view.hosts.iter());
    } else {
        for (i, trouble) in view.needs_you.iter().enumerate() {
            text += &one_trouble(i + 1, trouble);
        }
        text += &still_well(view);
        let unwell: Vec<&HostLine> = view.hosts.iter().filter(|host| !is_well(host)).collect();
        if !unwell.is_empty() {
            text.push('\n');
            text += &hosts(unwell.into_iter());
        }
    }
    text
}

fn answering(view: &StatusView) -> usize {
    view.coordinators.iter().filter(|c| matches!(c.reachable, Seen::Known { value: true, .. })).count()
}

fn verdict(view: &StatusView, confirmed: bool) -> String {
    let verdict = match (view.needs_you.len(), confirmed) {
        (0, true) => "NOTHING NEEDS YOU".to_string(),
        (0, false) => "NOT CONFIRMED".into(),
        (n, _) => format!("NEEDS YOU: {n}"),
    };
    let leader = match &view.leader {
        Some(leader) => format!("leader {leader}, {} of {}", answering(view), view.voters),
        None => "NO LEADER".into(),
    };
    let read = if confirmed { "read confirmed".into() } else { format!("only {} says so", view.answered_by) };
    let parts = [day_and_time(view.wall), format!("revision {}", view.revision), leader, read];
    join(&format!("{}   {verdict}   ", view.cluster), &parts)
}

fn one_trouble(number: usize, trouble: &Trouble) -> String {
    let mut text = wrap(&format!("{number}  "), &format!("{} {}", trouble.subject, trouble.what));
    for (i, hurt) in trouble.hurts.iter().enumerate() {
        text += &wrap(if i == 0 { "   hurts     " } else { "             " }, hurt);
    }
    for (i, line) in trouble.seen.iter().enumerate() {
        text += &wrap(if i == 0 { "   seen      " } else { "             " }, line);
    }
    text += &wrap("   next      ", &trouble.next);
    text.push('\n');
    text
}

fn is_well(host: &HostLine) -> bool {
    host.state == HostState::Active && !host.silent && host.quarantined.is_none() && host.seen.value().is_some()
}

fn silent_coordinators(view: &StatusView) -> Vec<String> {
    let gone = view.coordinators.iter().filter(|c| matches!(c.reachable, Seen::Known { value: false, .. }));
    gone.map(|c| c.name.to_string()).collect()
}

fn still_well(view: &StatusView) -> String {
    let counts = &view.counts;
    if view.hosts.iter().all(|host| host.seen.value().is_none()) && !view.hosts.is_empty() {
        let committed = [
            count(view.hosts.len() as u64, "host"),
            count(counts.all, "store"),
            count(counts.open_plans, "open plan"),
            format!("what runs now is not known to {}", view.answered_by),
        ];
        return join("committed    ", &committed) + &careful(view);
    }
    let well = view.hosts.iter().filter(|host| is_well(host)).count() as u64;
    let parts = [
        count(well, "host"),
        format!("{} of {} served, {} with all live copies", counts.served, count(counts.all, "store"), counts.full),
        count(counts.open_plans, "open plan"),
        count(counts.open_loss_cases, "open loss case"),
    ];
    let mut text = join("still well   ", &parts);
    if !view.front_ends.is_empty() {
        text += &join("front ends   ", &front_end::parts(&view.front_ends));
    }
    text + &careful(view)
}

fn careful(view: &StatusView) -> String {
    let gone = silent_coordinators(view);
    if view.leader.is_none() {
        let what = "no coordinator leads: no changes are possible until a majority of them see each other; stores go \
                    on being served";
        return wrap("careful      ", what);
    }
    if gone.is_empty() {
        return String::new();
    }
    let verb = if gone.len() == 1 { "does" } else { "do" };
    let answering = answering(view);
    let voters = view.voters as usize;
    let room = match answering.saturating_sub(voters / 2 + 1) {
        0 if answering * 2 > voters => "if one more stops, no changes; stores go on being served".to_string(),
        0 => "no changes are possible; stores go on being served".to_string(),
        n => format!("{n} more may stop before changes do"),
    };
    wrap("careful      ", &format!("{} {verb} not answer: {room}", gone.join(", ")))
}

fn summary(view: &StatusView) -> String {
    let counts = &view.counts;
    let mut stores = vec![
        if counts.served == counts.all {
            format!("{} served", counts.all)
        } else {
            format!("{} of {} served", counts.served, counts.all)
        },
        format!("{} with all live copies", counts.full),
    ];
    if counts.reduced > 0 {
        stores.push(format!("{} with fewer", counts.reduced));
    }
    stores.push(count(counts.open_loss_cases, "open loss case"));
    stores.push(count(counts.open_plans, "open plan"));
    let mut text = join("stores         ", &stores);
    text += &wrap("replication    ", &replication(view));
    text += &wrap("compared       ", &verify::counts(&view.compared));
    text += &losses(view);
    text += &wrap("room           ", &room(counts));
    let coordinators: Vec<String> = view.coordinators.iter().map(|c| coordinator(view, c)).collect();
    text += &join("coordinators   ", &coordinators);
    if !view.front_ends.is_empty() {
        text += &join("front ends     ", &front_end::parts(&view.front_ends));
    }
    text + &careful(view)
}

fn replication(view: &StatusView) -> String {
    let known = view.hosts.iter().filter_map(|h| h.worst_lag_records.value().map(|lag| (*lag, &h.host)));
    let unknown = view.hosts.iter().filter(|h| h.replicas > 0 && h.worst_lag_records.value().is_none()).count() as u64;
    let worst = match known.max_by_key(|(lag, _)| *lag) {
        Some((0, _)) => "every replica seen has what its master has".to_string(),
        Some((lag, host)) => format!("worst on {host}: {} behind", count(lag, "record")),
        None => "nothing is known".into(),
    };
    if unknown == 0 { worst } else { format!("{worst} · unknown on {}", count(unknown, "host")) }
}

fn losses(view: &StatusView) -> String {
    match &view.worst_losses {
        Seen::Known { value, .. } => {
            risk::lines(value.iter()) + &view.worst_pair.value().map_or(String::new(), risk::pair)
        }
        Seen::Unknown { reason } => wrap("one host dies  ", &format!("not known: {reason}")),
    }
}

fn room(counts: &StoreCounts) -> String {
    let text = format!("{} of {} free", counts.slots_free, count(counts.slots, "slot"));
    if counts.slots_free == 0 && counts.slots > 0 {
        return format!("{text}: after a host loss its stores stay short of a copy until it is back");
    }
    text
}

fn coordinator(view: &StatusView, line: &CoordinatorLine) -> String {
    let leads = if view.leader.as_ref() == Some(&line.name) { " leader" } else { "" };
    let state = match line.reachable {
        Seen::Known { value: true, .. } => "",
        Seen::Known { value: false, .. } => " SILENT",
        Seen::Unknown { .. } => " (not known from here)",
    };
    format!("{}{leads}{state}", line.name)
}

pub(super) fn hosts<'a>(lines: impl Iterator<Item = &'a HostLine>) -> String {
    let mut table = Table::new(&[
        "HOST",
        "AT",
        "STATE",
        ">MASTER",
        ">REPLICA",
        ">FREE",
        ">LOAD",
        ">WORST LAG",
        ">SEEN",
        "IF IT DIES, FULLEST",
    ]);
    for host in lines {
        table.row(vec![
            host.host.to_string(),
            host.at.to_string(),
            host.state.to_string(),
            host.masters.to_string(),
            host.replicas.to_string(),
            host.free.to_string(),
            match &host.load_ppm {
                Seen::Known { value, .. } if !host.silent => format!("{} %", percent(*value)),
                _ => "?".into(),
            },
            match &host.worst_lag_records {
                Seen::Known { value, .. } => value.to_string(),
                Seen::Unknown { .. } if host.replicas == 0 => "-".into(),
                Seen::Unknown { .. } => "?".into(),
            },
            age(&host.seen),
            remark(host),
        ]);
    }
    table.text(0)
}

fn remark(host: &HostLine) -> String {
    let mut parts = Vec::new();
    if host.silent {
        parts.push("SILENT".to_string());
    }
    if let Some(why) = &host.quarantined {
        parts.push(format!("QUARANTINED: {why}"));
    }
    match (host.stop_if_dies, &host.fullest_if_dies) {
        _ if !parts.is_empty() => {}
        (Some(stop @ 1..), _) => parts.push(format!("{} STOP", count(stop.into(), "store"))),
        (_, Some((n, on))) => parts.push(format!("{n} on {on}")),
        _ => {}
    }
    if !host.held.is_empty() {
        parts.push("HELD".into());
    }
    parts.extend(host.coordinator.clone());
    parts.join("  ")
}
