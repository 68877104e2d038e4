//! Where copies are (S9), and hosts that are declared to serve nothing (S8).
//!
//! What always holds: domains, slots and capacities are read from the fleet and counted here; what runs on a host is known
//! from the engines themselves.

use super::Found;
use super::engines::Engines;
use slot_types::cluster::{Cluster, CopyState, HostState, Spread};
use slot_types::engine::EngineRole;
use slot_types::ids::*;
use std::collections::{BTreeMap, BTreeSet};

/// See the module's documentation.
#[derive(Default)]
pub(crate) struct Places {
    seen: BTreeMap<StoreName, BTreeSet<(SlotId, CopyGeneration)>>,
    /// Whose copy a slot was given to first: nothing empties a slot (R11).
    given: BTreeMap<SlotId, StoreName>,
}

impl Places {
    /// S9, where the set of a store's copies changed.
    pub fn check(&mut self, found: &mut Found, cluster: &Cluster) {
        for (name, store) in &cluster.stores {
            let copies: BTreeSet<(SlotId, CopyGeneration)> = store
                .copies
                .iter()
                .filter(|(_, copy)| copy.state != CopyState::Retired)
                .map(|(slot, copy)| (slot.clone(), copy.generation))
                .collect();
            if self.seen.get(name) == Some(&copies) {
                continue;
            }
            if copies.len() < usize::from(store.spec.copies) {
                found.say("S9", format!("{name} has {} copies, it wants {}", copies.len(), store.spec.copies));
            }
            let mut domains: BTreeMap<String, &SlotId> = BTreeMap::new();
            for (slot, _) in &copies {
                let host = cluster.hosts.get(&slot.host);
                let Some((host, room)) = host.and_then(|h| Some((h, h.slots.get(&slot.number)?))) else {
                    found.say("S9", format!("{name} has a copy on {slot}, which does not exist"));
                    continue;
                };
                if room.size_bytes < store.spec.size_bytes {
                    found.say("S9", format!("{name} has a copy on {slot}, which is too small"));
                }
                let domain = match store.spec.spread {
                    Spread::Host => slot.host.to_string(),
                    Spread::Rack => host.at.0.join("/"),
                };
                if let Some(other) = domains.insert(domain, slot) {
                    found.say("S9", format!("{name} has copies on {other} and {slot}, in one failure domain"));
                }
                let taken = |(other, s): (&StoreName, &slot_types::cluster::Store)| {
                    other != name && s.copies.contains_key(slot)
                };
                let first = self.given.entry(slot.clone()).or_insert_with(|| name.clone());
                if first != name {
                    found.say("R11", format!("{slot} is given to {name}, its agent may hold a copy of {first}"));
                }
                if let Some((other, _)) = cluster.stores.iter().find(|(n, s)| taken((n, s))) {
                    found.say("S9", format!("{slot} holds copies of {name} and of {other}"));
                }
            }
            self.seen.insert(name.clone(), copies);
        }
    }
}

/// S8: a host declared away has no master, no copy that serves, and no engine that does.
pub(crate) fn nothing_serves(
    found: &mut Found,
    cluster: &Cluster,
    host: &HostName,
    declared: HostState,
    engines: &Engines,
) {
    for (name, store) in &cluster.stores {
        if let Some(slot) = store.master.iter().chain(&store.pending).find(|slot| slot.host == *host) {
            found.say("S8", format!("{host} is declared {declared}, {slot} is or is to be master of {name}"));
        }
        let copy = store.copies.iter().find(|(slot, c)| slot.host == *host && c.state != CopyState::Retired);
        if let Some((slot, _)) = copy.filter(|_| declared == HostState::Empty) {
            found.say("S8", format!("{host} is declared {declared}, {slot} holds a copy of {name}"));
        }
    }
    let serves = |role: EngineRole| matches!(role, EngineRole::Master | EngineRole::Replica | EngineRole::Diverged);
    for (slot, engine) in engines.all.iter().filter(|(slot, e)| slot.host == *host && e.alive) {
        if serves(engine.role.0) {
            found.say("S8", format!("{host} is declared {declared}, the engine of {slot} is {:?}", engine.role.0));
        }
    }
}
