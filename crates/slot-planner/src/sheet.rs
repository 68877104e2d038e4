//! What a person should know besides the steps: where load goes, what one more loss would stop, the way back.
//!
//! What always holds: a note decides nothing; it is computed from the same cluster and evidence as the tasks.

use crate::Draft;
use crate::forecast::Forecast;
use crate::ledger::Ledger;
use crate::view::View;
use slot_types::cluster::*;
use slot_types::ids::*;
use slot_types::plan::TaskKind;
use std::collections::{BTreeMap, BTreeSet};

/// So many names are written out; the rest is a number.
const NAMES_MAX: usize = 8;

/// `store4 store17 store23 and 17 more`.
pub(crate) fn names<T: std::fmt::Display>(things: &[T]) -> String {
    let mut text = things.iter().take(NAMES_MAX).map(ToString::to_string).collect::<Vec<_>>().join(" ");
    if things.len() > NAMES_MAX {
        text.push_str(&format!(" and {} more", things.len() - NAMES_MAX));
    }
    text
}

pub(crate) fn count(n: usize, one: &str, many: &str) -> String {
    if n == 1 { format!("1 {one}") } else { format!("{n} {many}") }
}

/// `imap5 +3  imap6 +2`, the fullest host before and after, and how busy the tasks written so far would make those that gain.
pub(crate) fn where_to(view: &View<'_>, file: Option<&FleetSpec>, draft: &mut Draft) {
    let ledger = Ledger::of(view, file, draft.tasks.iter());
    let gains: Vec<String> = ledger
        .after
        .iter()
        .filter_map(|(host, now)| {
            let then = ledger.before.get(host).copied().unwrap_or_default().masters;
            (now.masters > then).then(|| format!("{host} +{}", now.masters - then))
        })
        .collect();
    let Some((host, now)) = ledger.fullest(&ledger.after).filter(|_| !gains.is_empty()) else { return };
    let was = ledger.fullest(&ledger.before);
    let mut masters = format!("{} -> {} masters", was.map_or(0, |(_, was)| was.masters), now.masters);
    if ledger.is_declared() {
        let (was, now) = (was.map_or(0, |(host, was)| ledger.level(host, was)), ledger.level(host, now));
        masters += &format!(", declared load {} -> {}", level_text(was), level_text(now));
    }
    let forecast = Forecast::of(view, &draft.tasks);
    let load = forecast.words(host).map_or_else(String::new, |words| format!(", load {words}"));
    draft.note("WHERE TO", gains.join("  "));
    draft.note("WHERE TO", format!("fullest host {masters} ({host}{load})"));
    forecast.lines(host).into_iter().for_each(|line| draft.note("WHERE TO", line));
}

/// The notes of a failover: who takes over, what has one live copy afterwards, and that there is no undo.
pub(crate) fn after(view: &View<'_>, draft: &mut Draft) {
    where_to(view, None, draft);
    let mut single: Vec<&StoreName> = Vec::new();
    let mut groups: BTreeMap<LossClass, Vec<&StoreName>> = BTreeMap::new();
    for task in &draft.tasks {
        let (TaskKind::FailOver { from, fence, loss, .. }, Some(name)) = (&task.kind, &task.store) else { continue };
        let Some((name, store)) = view.cluster.stores.get_key_value(name) else { continue };
        let mut live = view.live_copies(name, store);
        live.remove(from);
        if live.len() + usize::from(*fence == FenceLevel::Demoted) <= 1 {
            single.push(name);
        }
        groups.entry(loss.class).or_default().push(name);
    }
    if groups.is_empty() {
        draft.note("WAY BACK", "hand it over again the same way");
        return;
    }
    let mut notes: Vec<(&str, String)> = Vec::new();
    if groups.len() > 1 {
        let grouped = groups.iter().map(|(class, stores)| {
            ("LOSS CLASSES", format!("{class}: {}, {}", count(stores.len(), "store", "stores"), names(stores)))
        });
        notes.extend(grouped);
    }
    if !single.is_empty() {
        let text = format!(
            "{} {} one live copy: {}",
            single.len(),
            if single.len() == 1 { "store has" } else { "stores have" },
            names(&single)
        );
        notes.push(("AFTER", text));
    }
    notes.push(("NO UNDO", "the old master can be master again only by a hand-over, once it follows again".into()));
    for (heading, text) in notes {
        draft.note(heading, text);
    }
}

/// What else than to fail over: how long the silent hosts that the sheet is about took to come back before, and how long they
/// are silent now. Nothing follows from it by itself.
pub(crate) fn or_wait(view: &View<'_>, draft: &mut Draft) {
    let from = draft.tasks.iter().filter_map(|task| match &task.kind {
        TaskKind::FailOver { from, .. } => Some(&from.host),
        _ => None,
    });
    let silent: BTreeSet<HostName> = from.filter(|host| !view.answers(host)).cloned().collect();
    for name in silent {
        let Some(host) = view.cluster.hosts.get(&name) else { continue };
        let agent = view.evidence.hosts.get(&name).and_then(|seen| seen.agent.age_ms());
        let now = agent.map_or_else(
            || "silent now for as long as this leader listens".to_string(),
            |ms| format!("silent now for {}", length(ms)),
        );
        draft.note("OR WAIT?", format!("{name}: {}; {now}", reboots_took(&host.reboots)));
    }
}

/// Failing over one slot of a silent host: the others are not forgotten.
pub(crate) fn neighbours(view: &View<'_>, slot: &SlotId, draft: &mut Draft) {
    let masters = view.cluster.masters_on(&slot.host).count();
    if !view.answers(&slot.host) && masters > 1 {
        let text = format!(
            "ALL of {host} is silent: {masters} masters. This sheet is for one store only.\nOne sheet for all: \
             slotctl failover host {host}",
            host = slot.host
        );
        draft.note("!", text);
    }
}

/// Live copies of every store once some hosts are off.
pub(crate) struct OneOff<'a> {
    live: BTreeMap<&'a StoreName, BTreeSet<SlotId>>,
    affected: BTreeSet<&'a StoreName>,
}

impl<'a> OneOff<'a> {
    pub fn new(view: &View<'a>, off: &BTreeSet<HostName>) -> Self {
        let mut live = BTreeMap::new();
        let mut affected = BTreeSet::new();
        for (name, store) in &view.cluster.stores {
            let mut copies = view.live_copies(name, store);
            let all = copies.len();
            copies.retain(|slot| !off.contains(&slot.host));
            if copies.len() < all {
                affected.insert(name);
            }
            live.insert(name, copies);
        }
        Self { live, affected }
    }
    /// Stores that have lost a copy and have one left.
    pub fn single(&self) -> Vec<&'a StoreName> {
        self.affected.iter().copied().filter(|name| self.live.get(name).is_some_and(|l| l.len() == 1)).collect()
    }
    /// Stores that stop if this host dies too.
    pub fn stopped_with(&self, host: &HostName) -> Vec<&'a StoreName> {
        let only = |l: &BTreeSet<SlotId>| !l.is_empty() && l.iter().all(|slot| slot.host == *host);
        self.live.iter().filter(|(_, l)| only(l)).map(|(name, _)| *name).collect()
    }
}

/// WHILE IT IS OFF: what plain drain costs in safety (settled question: it reduces what would survive a further loss).
pub(crate) fn while_off(view: &View<'_>, hosts: &BTreeSet<HostName>, draft: &mut Draft) {
    let off = OneOff::new(view, hosts);
    let single = off.single();
    let heading = if hosts.len() == 1 { "WHILE IT IS OFF" } else { "WHILE THEY ARE OFF" };
    match single.len() {
        0 => draft.note(heading, "every store keeps two live copies or more"),
        n => draft.note(
            heading,
            format!("{} one live copy", if n == 1 { "1 store has".to_string() } else { format!("{n} stores have") }),
        ),
    }
    let mut by_host: Vec<(usize, &HostName, Vec<&StoreName>)> = Vec::new();
    let mut none: Vec<&HostName> = Vec::new();
    for other in view.cluster.hosts.keys().filter(|h| !hosts.contains(*h)) {
        let stopped = off.stopped_with(other);
        if stopped.is_empty() {
            none.push(other);
        } else {
            by_host.push((stopped.len(), other, stopped));
        }
    }
    by_host.sort_by_key(|(n, host, _)| (std::cmp::Reverse(*n), (*host).clone()));
    match by_host.first() {
        None => draft.note(heading, "if one more host dies    no store stops"),
        Some((n, worst, stores)) => {
            draft.note(
                heading,
                format!(
                    "if one more host dies    at worst {worst}: {} ({})",
                    count(*n, "store stops", "stores stop"),
                    names(stores)
                ),
            );
            let rest: Vec<String> = by_host.iter().skip(1).map(|(n, h, _)| format!("{h} {n}")).collect();
            if !rest.is_empty() {
                draft.note(heading, format!("stores that stop with    {}", names(&rest)));
            }
            if !none.is_empty() {
                draft.note(heading, format!("none stops with          {}", names(&none)));
            }
        }
    }
}
