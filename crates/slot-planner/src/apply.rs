//! The fleet as a cluster file says it.
//!
//! What always holds: a file adds and changes, and deletes nothing; what it would take from under a copy is refused;
//! the same file twice gives nothing to do.

use crate::live::{Sketch, Stance, has_master};
use crate::nothing::Nothing;
use crate::refusal::{Refusal, WhyNot};
use crate::view::View;
use crate::{Draft, lines, sheet, steps};
use slot_types::cluster::*;
use slot_types::ids::*;
use slot_types::plan::{StepKind, Task, TaskKind};
use std::collections::{BTreeMap, BTreeSet};

/// The most tasks one plan may have; the machine has the same bound.
pub(crate) const TASKS_MAX: usize = 20_000;

pub(crate) fn plan(view: &View<'_>, spec: &FleetSpec) -> Result<Draft, Refusal> {
    if spec.cluster != view.cluster.name {
        return Err(Refusal::OtherCluster { file: spec.cluster.clone(), cluster: view.cluster.name.clone() });
    }
    nothing_taken_away(view, spec)?;
    domains_stay_apart(view, spec)?;
    let New { stores: new_stores, unused } = new_stores(view, spec)?;
    let changes = changes(view, spec)?;
    let kept_hosts: BTreeSet<HostName> = missing(view.cluster.hosts.keys(), |h| spec.hosts.contains_key(h));
    let kept_stores: BTreeSet<StoreName> = missing(view.cluster.stores.keys(), |s| spec.stores.contains_key(s));
    let retired: BTreeSet<StoreName> = spec.stores.keys().filter(|name| is_retired(view, name)).cloned().collect();
    if changes.is_empty() && new_stores.is_empty() {
        return Err(Refusal::NothingToDo(Nothing::FleetAsFile { kept_hosts, kept_stores, retired, unused }));
    }
    if new_stores.len() >= TASKS_MAX {
        return Err(Refusal::TooManyTasks { tasks: new_stores.len() + 1, max: TASKS_MAX });
    }
    let mut draft = Draft::default();
    let mut after = Vec::new();
    if !changes.is_empty() {
        after.push(draft.push(Task {
            kind: TaskKind::Fleet,
            store: None,
            epoch: Epoch::ZERO,
            after: Vec::new(),
            steps: vec![steps::internal(StepKind::ChangeFleet)],
        }));
        changes.iter().for_each(|line| draft.note("CHANGES", line.as_str()));
    }
    create(view, spec, &new_stores, &after, &mut draft)?;
    if !kept_hosts.is_empty() {
        draft.note("LEFT OUT, STAYS", format!("hosts: {}", sheet::names(&kept_hosts.iter().collect::<Vec<_>>())));
    }
    if !kept_stores.is_empty() {
        draft.note("LEFT OUT, STAYS", format!("stores: {}", sheet::names(&kept_stores.iter().collect::<Vec<_>>())));
    }
    if !retired.is_empty() {
        let stores = sheet::names(&retired.iter().collect::<Vec<_>>());
        draft.note("RETIRED, NOT MADE", format!("{stores}: gone for good; take the names out of the file"));
    }
    unused.iter().for_each(|line| draft.note("NOT IN FORCE", line.as_str()));
    Ok(draft)
}

/// R11: a retired store's name is never used again.
fn is_retired(view: &View<'_>, name: &StoreName) -> bool {
    let cluster = view.cluster;
    cluster.tombstones.contains_key(name) || cluster.stores.get(name).is_some_and(|store| store.retired)
}

fn missing<'a, T: Clone + Ord + 'a>(all: impl Iterator<Item = &'a T>, has: impl Fn(&T) -> bool) -> BTreeSet<T> {
    all.filter(|thing| !has(thing)).cloned().collect()
}

/// A slot with a copy keeps its size and address: the engine listens there, and clients' routes say so.
fn nothing_taken_away(view: &View<'_>, spec: &FleetSpec) -> Result<(), Refusal> {
    for (slot, store) in view.used_slots() {
        let Some(wanted) = spec.hosts.get(&slot.host) else { continue };
        let refused = |what| Refusal::SlotInUse { slot: slot.clone(), store: store.clone(), what };
        let Some(wanted) = wanted.slots.get(&slot.number) else { return Err(refused("takes away")) };
        let size = view.cluster.stores.get(store).map_or(0, |s| s.spec.size_bytes);
        if wanted.size_bytes < size {
            return Err(refused("shrinks"));
        }
        if view.cluster.slot(slot).is_some_and(|now| now.address != wanted.address) {
            return Err(refused("gives another address to"));
        }
    }
    Ok(())
}

/// S9: neither a host's new domain nor a store's new spread may find two copies of a store together.
fn domains_stay_apart(view: &View<'_>, spec: &FleetSpec) -> Result<(), Refusal> {
    for (name, store) in &view.cluster.stores {
        let mut seen: BTreeMap<String, &SlotId> = BTreeMap::new();
        let spread = spec.stores.get(name).filter(|_| !store.retired).map_or(store.spec.spread, |line| line.spread);
        for (slot, _) in store.copies.iter().filter(|(_, copy)| copy.state != CopyState::Retired) {
            let at = spec.hosts.get(&slot.host).map(|h| &h.at);
            let at = at.or_else(|| view.cluster.hosts.get(&slot.host).map(|h| &h.at));
            let domain = match (spread, at) {
                (Spread::Rack, Some(at)) => at.to_string(),
                _ => slot.host.to_string(),
            };
            if let Some(first) = seen.insert(domain, slot) {
                return Err(Refusal::SpreadBroken { store: name.clone(), a: first.clone(), b: slot.clone() });
            }
        }
    }
    Ok(())
}

/// Stores that this plan makes, and what of the file it does not carry out.
struct New {
    stores: Vec<(StoreName, StoreSpec)>,
    unused: BTreeSet<String>,
}

/// Stores the cluster does not have. Those of an engine that no agent has are not made, and every diff says so.
fn new_stores(view: &View<'_>, spec: &FleetSpec) -> Result<New, Refusal> {
    let mut new = New { stores: Vec::new(), unused: spec.unused.clone() };
    let mut busy = BTreeSet::new();
    let mut elsewhere: BTreeMap<EngineKind, Vec<&StoreName>> = BTreeMap::new();
    for (name, wanted) in spec.stores.iter().filter(|(name, _)| !is_retired(view, name)) {
        // One whose making was given up before its first epoch is made anew (L1, R11).
        let is_given_up = |s: &&Store| s.epoch == Epoch::ZERO && !view.inputs.busy_stores.contains(name);
        if view.cluster.stores.get(name).is_some_and(|store| !is_given_up(&store)) {
            continue;
        }
        if !wanted.engine.is_here() {
            elsewhere.entry(wanted.engine).or_default().push(name);
            continue;
        }
        if view.inputs.busy_stores.contains(name) {
            busy.insert(name.clone());
        }
        new.stores.push((name.clone(), wanted.clone()));
    }
    for (engine, stores) in elsewhere {
        let count = sheet::count(stores.len(), "store is", "stores are");
        new.unused.insert(format!("{count} not made, no agent has the engine {engine}: {}", sheet::names(&stores)));
    }
    if busy.is_empty() { Ok(new) } else { Err(Refusal::StoresBusy(busy)) }
}

/// What ChangeFleet will change, a line for each.
fn changes(view: &View<'_>, spec: &FleetSpec) -> Result<Vec<String>, Refusal> {
    let mut lines = lines::changes(view, spec)?;
    let added: Vec<&HostName> = spec.hosts.keys().filter(|h| !view.cluster.hosts.contains_key(h)).collect();
    if !added.is_empty() {
        lines.push(format!("{}: {}", sheet::count(added.len(), "new host", "new hosts"), sheet::names(&added)));
    }
    for (name, wanted) in &spec.hosts {
        let Some(host) = view.cluster.hosts.get(name) else { continue };
        if host.at != wanted.at {
            lines.push(format!("{name} is at {}, was at {}", wanted.at, host.at));
        }
        if host.address != wanted.address {
            lines.push(format!("the agent of {name} is at {}, was at {}", wanted.address, host.address));
        }
        if host.weight != wanted.weight {
            lines.push(format!("{name} has weight {}, was {}", wanted.weight, host.weight));
        }
        if host.device.spec != wanted.fence {
            lines.push(match &wanted.fence {
                Some(device) => format!("{name} can be switched off by {device}"),
                None => format!("nothing switches {name} off any more"),
            });
        }
        // A slot the file leaves out stays; only new and changed ones count.
        let differing = wanted.slots.iter().filter(|(n, slot)| host.slots.get(n) != Some(slot)).count();
        if differing > 0 {
            lines.push(format!(
                "{name}: {}",
                sheet::count(differing, "slot is new or changed", "slots are new or changed")
            ));
        }
    }
    lines.extend(front_ends(view, spec));
    if view.cluster.policy != spec.policy {
        lines.push("the policy".into());
    }
    Ok(lines)
}

/// Hosts of the file that get no copies now, and why. One that is new in it is not known yet: its agent is waited for.
fn excluded(view: &View<'_>, file: &FleetSpec) -> BTreeMap<HostName, WhyNot> {
    let known = file.hosts.keys().filter(|name| view.cluster.hosts.contains_key(*name));
    known.filter_map(|name| Some((name.clone(), view.takes_copies(name).err()?))).collect()
}

/// Slots for each store, the master's first.
fn placements(
    view: &View<'_>,
    file: &FleetSpec,
    stores: &[(StoreName, StoreSpec)],
    excluded: &BTreeMap<HostName, WhyNot>,
) -> Result<Vec<Vec<SlotId>>, Refusal> {
    let mut sketch = Sketch::of_file(view, file);
    let new: BTreeSet<&StoreName> = stores.iter().map(|(name, _)| name).collect();
    for (name, store) in view.cluster.stores.iter().filter(|(name, store)| has_master(store) && !new.contains(name)) {
        sketch.add(name, &store.spec, Stance::kept(store));
    }
    let led = view.cluster.led();
    for (name, spec) in stores {
        let held = again(view, file, name, spec, &led);
        sketch.add(name, spec, Stance::new(spec, held));
    }
    let mut chart = sketch.chart();
    let placed = chart.place(view);
    let mut slots = Vec::new();
    for (name, spec) in stores {
        let number = chart.number(name).unwrap_or_default();
        let found = chart.slots_of(number, &placed);
        if found.len() < usize::from(spec.copies) {
            return Err(Refusal::NoRoom {
                store: name.clone(),
                needed: spec.copies,
                found: u8::try_from(found.len()).unwrap_or(u8::MAX),
                size_bytes: spec.size_bytes,
                excluded: excluded.clone().into_iter().chain(full(placed.why_not(number))).collect(),
                is_most: placed.is_most(),
            });
        }
        slots.push(found);
    }
    Ok(slots)
}

/// Of why hosts get no copy, what their disks say.
fn full(why: Option<&BTreeMap<HostName, WhyNot>>) -> BTreeMap<HostName, WhyNot> {
    let full = why.into_iter().flatten().filter(|(_, why)| matches!(why, WhyNot::DiskFull { .. }));
    full.map(|(host, why)| (host.clone(), why.clone())).collect()
}

/// The slots that a store whose making was given up had, if it can have all of them again: they are free for it and for no
/// other (R11). The one on the host that bears least comes first.
fn again(
    view: &View<'_>,
    file: &FleetSpec,
    name: &StoreName,
    spec: &StoreSpec,
    led: &BTreeMap<HostName, Led>,
) -> Vec<SlotId> {
    let Some(store) = view.cluster.stores.get(name) else { return Vec::new() };
    let mut held: Vec<SlotId> = store.copies.keys().cloned().collect();
    let fits = |slot: &SlotId| {
        let described = file.hosts.get(&slot.host).and_then(|host| host.slots.get(&slot.number));
        described.is_some_and(|s| s.size_bytes >= spec.size_bytes) && view.takes_copies(&slot.host).is_ok()
    };
    let domain = |slot: &SlotId| match (spec.spread, file.hosts.get(&slot.host)) {
        (Spread::Rack, Some(host)) => host.at.to_string(),
        _ => slot.host.to_string(),
    };
    let apart = held.iter().map(domain).collect::<BTreeSet<_>>().len() == usize::from(spec.copies);
    if held.len() != usize::from(spec.copies) || !apart || !held.iter().all(fits) {
        return Vec::new();
    }
    let bears = |host: &HostName| view.cluster.level(host, led.get(host).copied().unwrap_or_default());
    held.sort_by_key(|slot| (bears(&slot.host), slot.clone()));
    held
}

fn create(
    view: &View<'_>,
    file: &FleetSpec,
    stores: &[(StoreName, StoreSpec)],
    after: &[u16],
    draft: &mut Draft,
) -> Result<(), Refusal> {
    if stores.is_empty() {
        return Ok(());
    }
    let excluded = excluded(view, file);
    let placed = placements(view, file, stores, &excluded)?;
    for ((name, spec), copies) in stores.iter().zip(&placed) {
        let Some(master) = copies.first() else { continue };
        // Written from the host of another copy, so that the way over the network is tried.
        let canary = copies.get(1).unwrap_or(master).host.clone();
        let mut in_order = copies.clone();
        in_order.sort();
        let held = |slot: &SlotId| view.cluster.stores.get(name).and_then(|s| s.copies.get(slot));
        // R11: a slot that held it before gets the next generation.
        let next = |slot: &SlotId| CopyGeneration(held(slot).map_or(0, |copy| copy.generation.0) + 1);
        draft.push(Task {
            steps: steps::create_store(master, &in_order, &canary),
            kind: TaskKind::CreateStore {
                spec: spec.clone(),
                copies: copies.iter().map(|slot| (slot.clone(), next(slot))).collect(),
                master: master.clone(),
            },
            store: Some(name.clone()),
            epoch: Epoch { generation: view.cluster.generation, n: 0 },
            after: after.to_vec(),
        });
    }
    sheet::where_to(view, Some(file), draft);
    if !excluded.is_empty() {
        let hosts: Vec<&HostName> = excluded.keys().collect();
        draft.note("NOT USED", format!("not Active or not heard lately: {}", sheet::names(&hosts)));
    }
    Ok(())
}

/// Front ends hold no data, so a line taken away ends one.
fn front_ends(view: &View<'_>, spec: &FleetSpec) -> Vec<String> {
    let now = &view.cluster.front_ends;
    let mut lines = Vec::new();
    for (name, wanted) in &spec.front_ends {
        let maps = sheet::names(&wanted.render.iter().collect::<Vec<_>>());
        match now.get(name) {
            None => lines.push(format!("new front end {name} at {} renders {maps}", wanted.address)),
            Some(known) if known != wanted => {
                lines.push(format!("front end {name} is at {} and renders {maps}", wanted.address));
            }
            Some(_) => {}
        }
    }
    let gone = now.keys().filter(|name| !spec.front_ends.contains_key(*name));
    lines.extend(gone.map(|name| format!("{name} is no front end any more: nothing waits for it")));
    lines
}
