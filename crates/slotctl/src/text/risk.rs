//! `slotctl risk`, and its lines in `status`.
//!
//! What always holds: stores that stop come first; a loss that stops nothing says so; what is not known is not called safe.

use super::layout::*;
use crate::asks::Pairs;
use slot_types::cluster::level_text;
use slot_types::evidence::Seen;
use slot_types::ids::{HostName, StoreName};
use slot_types::view::*;
use std::collections::BTreeMap;

/// The worst host, the worst rack and the worst two hosts, then every single one.
pub fn table(view: &RisksView, pairs: &Pairs, confirmed: Option<bool>) -> String {
    let losses = match &view.losses {
        Seen::Known { value, .. } => value,
        Seen::Unknown { reason } => return wrap("risk  ", &format!("NOT KNOWN: {reason}")),
    };
    let worst = [LossLine::worst(&losses.hosts), LossLine::worst(&losses.racks)];
    let mut text = lines(worst.into_iter().flatten());
    text += &super::asks::pairs(pairs);
    let sure = match confirmed {
        Some(true) => "read confirmed",
        Some(false) => "NOT CONFIRMED",
        None => "from a snapshot",
    };
    text += &join("as seen at     ", &[format!("revision {}", view.revision), sure.into()]);
    text.push('\n');
    let mut table = Table::new(&["IF LOST", ">MASTERS", ">STOP", ">NO WRITES", ">1 COPY", "FULLEST THEN", "ALSO LOST"]);
    for line in losses.racks.iter().chain(&losses.hosts) {
        let coordinators: Vec<&str> = line.coordinators.iter().map(|c| c.as_str()).collect();
        table.row(vec![
            line.lost.to_string(),
            line.masters.to_string(),
            line.stops.to_string(),
            line.short.to_string(),
            line.single.to_string(),
            line.fullest.as_ref().map_or("-".into(), |f| format!("{} on {}{}", f.after, f.host, load(f))),
            coordinators.join(" "),
        ]);
    }
    text + &table.text(0)
}

/// `one host dies`, `one rack dies` and `two hosts die`, each with the worst of them.
pub fn lines<'a>(worst: impl Iterator<Item = &'a LossLine>) -> String {
    let line = |line: &LossLine| {
        let prefix = match &line.lost {
            Lost::Host(_) => "one host dies  ",
            Lost::Domain(_) => "one rack dies  ",
            Lost::Hosts(_) => "two hosts die  ",
        };
        if line.masters > 0 || line.stops > 0 {
            join(prefix, &summary(line))
        } else {
            wrap(prefix, "no store has a master to lose")
        }
    };
    worst.map(line).collect()
}

/// The worst of any two hosts, and how many pairs were looked at if that is not all of them.
pub fn pair(pair: &PairLoss) -> String {
    let text = lines(pair.worst.iter());
    if pair.worst.is_none() || pair.looked_at >= pair.of {
        return text;
    }
    let looked =
        format!("{} of {} pairs were looked at, those that stop the most stores among them", pair.looked_at, pair.of);
    text + &wrap("               ", &looked)
}

fn summary(line: &LossLine) -> Vec<String> {
    let mut parts = Vec::new();
    if line.stops > 0 {
        parts.push(count(line.stops.into(), "store") + if line.stops == 1 { " STOPS" } else { " STOP" });
    }
    if line.moves > 0 {
        let go = if line.moves == 1 { "goes" } else { "go" };
        let masters = count(line.moves.into(), "master");
        let fullest = line.fullest.as_ref().map_or(String::new(), |f| format!(", fullest {}", growth(f)));
        parts.push(format!("{masters} {go} to {}{fullest}", count(line.to_hosts.into(), "host")));
    }
    if line.short > 0 {
        let refuse = if line.short == 1 { "refuses" } else { "refuse" };
        parts.push(format!("{} {refuse} writes until a replica is back", count(line.short.into(), "store")));
    }
    parts.push(format!("{} of {} still served", line.served, line.stores));
    if !line.coordinators.is_empty() {
        let names: Vec<&str> = line.coordinators.iter().map(|c| c.as_str()).collect();
        parts.push(format!("takes {} along", names.join(" ")));
    }
    if let Some(first) = parts.first_mut() {
        *first = format!("worst {}: {first}", line.lost.name());
    }
    parts
}

/// `, load 31.5`, where loads are declared.
fn load(fullest: &Fullest) -> String {
    fullest.load.map_or_else(String::new, |load| format!(", load {}", level_text(load.after_milli)))
}

/// `23 on imap7 (+15 %)`; where loads are declared it is these that grow: `23 on imap7, load 31.5 (+26 %)`.
fn growth(fullest: &Fullest) -> String {
    let (before, after) = match fullest.load {
        Some(load) => (load.before_milli, load.after_milli),
        None => (fullest.before.into(), fullest.after.into()),
    };
    let there = format!("{} on {}{}", fullest.after, fullest.host, load(fullest));
    match before {
        0 => there,
        _ => format!("{there} (+{} %)", after.saturating_sub(before) * 100 / before),
    }
}

/// One loss in full.
pub fn one(view: &RiskView, lost: &Lost) -> String {
    let loss = match &view.loss {
        Seen::Known { value, .. } => value,
        Seen::Unknown { reason } => return wrap(&format!("if {lost} is lost   "), &format!("NOT KNOWN: {reason}")),
    };
    let verdict = match loss.stops.len() as u64 {
        0 => "no store stops".to_string(),
        n => count(n, "store") + if n == 1 { " STOPS" } else { " STOP" },
    };
    let served = format!("{} of {} still served", loss.served, count(loss.stores.into(), "store"));
    let mut text = join(&format!("if {lost} is lost   "), &[verdict, served, format!("revision {}", view.revision)]);
    text.push('\n');
    if !matches!(loss.lost, Lost::Host(_)) {
        let hosts: Vec<&str> = loss.hosts.iter().map(HostName::as_str).collect();
        text += &wrap("hosts        ", &hosts.join(" "));
    }
    text += &join("on it        ", &[count(loss.masters.into(), "master"), count(loss.replicas.into(), "replica")]);
    text += &stops(loss);
    text += &names("one copy     ", &loss.single, "with one live copy then");
    text += &names("no writes    ", &loss.short, "with too few replicas left to hold every record");
    text += &names("down now     ", &loss.down_already, "with no live copy already");
    text += &coordinators(view);
    text + &moves(loss)
}

/// Stores that stop: each with the copies that can't take over; those without any on one line.
fn stops(loss: &Loss) -> String {
    let (alone, others): (Vec<&Stop>, Vec<&Stop>) = loss.stops.iter().partition(|stop| stop.why.is_empty());
    let mut lines = Vec::new();
    if !alone.is_empty() {
        let stores: Vec<&str> = alone.iter().map(|stop| stop.store.as_str()).collect();
        let count = count(alone.len() as u64, "store");
        lines.push(format!("{count} with no live copy anywhere else: {}", stores.join(" ")));
    }
    lines.extend(others.iter().map(|stop| {
        let why: Vec<String> = stop.why.iter().map(|(slot, why)| format!("{slot} {why}")).collect();
        format!("{}: {}", stop.store, why.join("; "))
    }));
    let prefix = |i| if i == 0 { "STOPS        " } else { "             " };
    lines.iter().enumerate().map(|(i, line)| wrap(prefix(i), line)).collect()
}

fn names(prefix: &str, stores: &[StoreName], what: &str) -> String {
    if stores.is_empty() {
        return String::new();
    }
    let names: Vec<&str> = stores.iter().map(StoreName::as_str).collect();
    wrap(prefix, &format!("{} {what}: {}", count(stores.len() as u64, "store"), names.join(" ")))
}

fn coordinators(view: &RiskView) -> String {
    if view.coordinators.is_empty() {
        return String::new();
    }
    let lost = u32::try_from(view.coordinators.len()).unwrap_or(u32::MAX);
    let left = view.voters.saturating_sub(lost);
    let majority = view.voters / 2 + 1;
    let names: Vec<&str> = view.coordinators.iter().map(|c| c.as_str()).collect();
    let then = match left.checked_sub(majority) {
        None => "NO CHANGES are possible until one is back; stores go on being served".to_string(),
        Some(0) => "if one more stops, no changes; stores go on being served".into(),
        Some(n) => format!("{n} more may stop before changes do"),
    };
    let text = format!(
        "{} {} with it, {left} of {} left: {then}",
        names.join(" "),
        if lost == 1 { "goes" } else { "go" },
        view.voters
    );
    wrap("coordinators ", &text)
}

/// Where the masters go, by host.
fn moves(loss: &Loss) -> String {
    if loss.moves.is_empty() {
        return String::new();
    }
    let mut gains: BTreeMap<&HostName, u32> = BTreeMap::new();
    for moved in &loss.moves {
        *gains.entry(&moved.to.host).or_default() += 1;
    }
    let gains: Vec<String> = gains.into_iter().map(|(host, n)| format!("{host}\u{a0}+{n}")).collect();
    let mut text = wrap("where to     ", &gains.join(" ")).replace('\u{a0}', " ");
    if let Some(fullest) = &loss.fullest {
        text += &wrap("fullest      ", &format!("{}, from {}", growth(fullest), fullest.before));
    }
    let host = if let Lost::Host(host) = &loss.lost { host.as_str() } else { "HOST" };
    text +=
        &wrap("by           ", &format!("a failover that a person approves: slotctl failover host {host} -m REASON"));
    text.push('\n');
    let mut table = Table::new(&["STORE", "FROM", "TO", ">BEHIND"]);
    for moved in &loss.moves {
        let behind = moved.behind.map_or("?".into(), |n| n.to_string());
        table.row(vec![moved.store.to_string(), moved.from.to_string(), moved.to.to_string(), behind]);
    }
    text + &table.text(0)
}
