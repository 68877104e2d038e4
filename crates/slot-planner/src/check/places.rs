//! S9: where copies are, at every state the plan passes through.
//!
//! What always holds: a file adds copies and takes none away, so the state with all of them added is the fullest; if that
//! has every copy in a domain of its own, on a slot of its own that is large enough, every earlier one has.

use super::{Fault, Ground};
use slot_types::cluster::*;
use slot_types::ids::*;
use slot_types::plan::{Intent, TaskKind};
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn check(ground: &Ground<'_>) -> Result<(), Fault> {
    let Intent::Apply(file) = &ground.plan.intent else { return Ok(()) };
    let mut taken: BTreeMap<&SlotId, &StoreName> = BTreeMap::new();
    let made: BTreeSet<&StoreName> = ground.plan.tasks.iter().filter_map(|task| task.store.as_ref()).collect();
    for (name, store) in &ground.cluster.stores {
        for slot in store.copies.keys() {
            taken.insert(slot, name);
        }
        let live = store.copies.iter().filter(|(_, copy)| copy.state != CopyState::Retired).map(|(slot, _)| slot);
        // A line that changes must find the copies where it allows them.
        let line =
            file.stores.get(name).filter(|_| !store.retired && store.epoch != Epoch::ZERO).unwrap_or(&store.spec);
        let room = |slot: &SlotId| {
            let described = file.hosts.get(&slot.host).and_then(|h| h.slots.get(&slot.number));
            described.or_else(|| ground.cluster.slot(slot)).is_some_and(|room| room.size_bytes >= line.size_bytes)
        };
        let allowed = |slot: &&SlotId| !line.never.contains(&slot.host) && room(slot);
        if let Some(slot) = live.clone().find(|slot| *line != store.spec && !allowed(slot)) {
            return Err(Fault::Placement(format!("{slot} holds a copy of {name}, which its new line does not allow")));
        }
        if !made.contains(name) {
            apart(ground, file, name, line, live)?;
        }
    }
    for task in &ground.plan.tasks {
        let (TaskKind::CreateStore { spec, copies, master }, Some(name)) = (&task.kind, &task.store) else { continue };
        if copies.len() != usize::from(spec.copies) || !copies.contains_key(master) {
            return Err(Fault::Placement(format!("{name} does not get the copies it asks for")));
        }
        for (slot, generation) in copies {
            if let Some(other) = taken.insert(slot, name).filter(|other| *other != name) {
                return Err(Fault::Placement(format!("{slot} would hold copies of {other} and {name}")));
            }
            let before = ground.cluster.stores.get(name).and_then(|s| s.copies.get(slot)).map(|c| c.generation.0);
            if generation.0 != before.unwrap_or(0) + 1 {
                return Err(Fault::Placement(format!("the next copy on {slot} would be of generation {generation}")));
            }
            let described = file.hosts.get(&slot.host).and_then(|h| h.slots.get(&slot.number));
            if described.is_none_or(|d| d.size_bytes < spec.size_bytes) {
                return Err(Fault::Placement(format!("{slot} is not there or too small for {name}")));
            }
            if spec.never.contains(&slot.host) || !spec.engine.is_here() {
                return Err(Fault::Placement(format!("{name} may not be on {slot}, or no agent has its engine")));
            }
            usable(ground, slot, name)?;
        }
        apart(ground, file, name, spec, copies.keys())?;
    }
    Ok(())
}

/// New in this file, or Active and heard lately.
fn usable(ground: &Ground<'_>, slot: &SlotId, name: &StoreName) -> Result<(), Fault> {
    match ground.cluster.hosts.get(&slot.host) {
        None => Ok(()),
        Some(host) if host.declared == HostState::Active && ground.hears(&slot.host) => Ok(()),
        Some(host) => Err(Fault::Placement(format!("{name} would go to {slot}, whose host is {}", host.declared))),
    }
}

fn apart<'a>(
    ground: &Ground<'_>,
    file: &FleetSpec,
    name: &StoreName,
    spec: &StoreSpec,
    slots: impl Iterator<Item = &'a SlotId>,
) -> Result<(), Fault> {
    let mut domains: BTreeSet<String> = BTreeSet::new();
    for slot in slots {
        let host = &slot.host;
        let at = file.hosts.get(host).map(|h| &h.at).or_else(|| ground.cluster.hosts.get(host).map(|h| &h.at));
        let domain = match (spec.spread, at) {
            (Spread::Host, _) | (Spread::Rack, None) => format!("host {host}"),
            (Spread::Rack, Some(at)) => format!("domain {at}"),
        };
        if !domains.insert(domain.clone()) {
            return Err(Fault::Placement(format!("two copies of {name} share {domain}")));
        }
    }
    Ok(())
}
