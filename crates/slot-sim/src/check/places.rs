//! Where copies are (S9), and hosts that are declared to serve nothing (S8).
//!
//! What always holds: domains, slots and capacities are read from the fleet and counted here; what runs on a host is known
//! from the engines themselves.

use super::Found;
use super::commits::Facts;
use super::engines::Engines;
use slot_types::cluster::{Cluster, Copy, CopyState, HostState, Spread, Store};
use slot_types::engine::EngineRole;
use slot_types::ids::*;
use std::collections::{BTreeMap, BTreeSet};

/// See the module's documentation.
#[derive(Default)]
pub(crate) struct Places {
    seen: BTreeMap<StoreName, BTreeSet<(SlotId, CopyGeneration)>>,
    /// Whose copy a slot was given to: only its agent's word that it destroyed the copy empties it (R11).
    given: BTreeMap<SlotId, StoreName>,
    /// Where each copy stood last.
    stood: BTreeMap<Name, CopyState>,
    /// How much its master held durably when a copy's slot was taken for it.
    begun: BTreeMap<Name, u64>,
    /// Copies that held everything at some time, on the disk that is there.
    whole: BTreeSet<Name>,
    disks: BTreeMap<HostName, Incarnation>,
    /// Hosts whose disk was replaced, or an older one put back, and whose boot since then is not in the log yet: what was seen
    /// of them before may still be committed.
    unheard: BTreeSet<HostName>,
}

/// A copy.
type Name = (StoreName, SlotId, CopyGeneration);

impl Places {
    /// The disk of a host is another one from now on.
    pub fn touched(&mut self, host: &HostName) {
        self.unheard.insert(host.clone());
    }

    /// The log is lost: where copies are is what the hosts will say. Which of them were ever whole stays known.
    pub fn restored(&mut self) {
        self.given.clear();
        self.stood.clear();
        self.begun.clear();
    }

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
            if !self.seen.contains_key(name) && copies.len() < usize::from(store.spec.copies) {
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
                // While a copy moves, the new one may stand beside the one that it takes the place of.
                if let Some(other) =
                    domains.insert(domain, slot).filter(|_| copies.len() <= usize::from(store.spec.copies))
                {
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

impl Places {
    /// R16, S9: what counts had held everything that its master held when it was begun, by the engines' own disks; and what is
    /// about to be destroyed leaves as many such copies, in as many domains, as its store asks for.
    pub fn copies(&mut self, found: &mut Found, cluster: &Cluster, facts: Facts<'_>) {
        let engines = facts.engines;
        let heard = |name: &HostName| {
            let boot = cluster.hosts.get(name).and_then(|host| host.boot);
            !facts.ledgers.is_touched(name) && boot.is_some() && boot == facts.ledgers.power(name)
        };
        self.unheard.retain(|name| !heard(name));
        for (name, host) in &cluster.hosts {
            if host.incarnation.is_some() && self.disks.get(name) != host.incarnation.as_ref() {
                self.disks.extend(host.incarnation.map(|disk| (name.clone(), disk)));
                self.whole.retain(|(_, slot, _)| slot.host != *name);
            }
        }
        let held: BTreeSet<(&StoreName, &SlotId)> =
            cluster.stores.iter().flat_map(|(name, s)| s.copies.keys().map(move |slot| (name, slot))).collect();
        self.given.retain(|slot, name| held.contains(&(&*name, slot)));
        for (name, store) in &cluster.stores {
            for (slot, copy) in &store.copies {
                let key = (name.clone(), slot.clone(), copy.generation);
                let before = self.stood.insert(key.clone(), copy.state);
                if before == Some(copy.state) {
                    continue;
                }
                if before.is_none() {
                    // R4, R11: a slot is free by its agent's word, not by anybody's plan.
                    let known = !facts.ledgers.is_touched(&slot.host);
                    if let Some(other) = facts.ledgers.held_on(slot).find(|held| known && *held != name) {
                        found.say("R11", format!("{slot} is given to {name}, its agent holds a copy of {other}"));
                    }
                    self.begins(store, &key, engines);
                }
                if copy.state == CopyState::Serving && !self.whole.contains(&key) {
                    self.counts(found, &key, facts);
                }
                // Of a retired store nothing is to stay; that somebody asked for it is looked at elsewhere.
                if copy.state == CopyState::Retired && self.whole.contains(&key) && !store.retired {
                    self.goes(found, cluster, store, &key);
                }
            }
        }
    }

    fn begins(&mut self, store: &Store, key: &Name, engines: &Engines) {
        if store.epoch == Epoch::ZERO {
            self.whole.insert(key.clone());
            return;
        }
        let master = store.master.as_ref().and_then(|master| engines.all.get(master));
        let there = master.filter(|engine| engine.store == key.0).map_or(0, |engine| engine.durable);
        self.begun.insert(key.clone(), there);
    }

    fn counts(&mut self, found: &mut Found, key: &Name, facts: Facts<'_>) {
        let (name, slot, generation) = key;
        let engine = facts.engines.all.get(slot).filter(|e| e.store == *name && e.generation == *generation);
        let holds = engine.map_or(0, |engine| engine.durable);
        let there = self.begun.get(key).copied().unwrap_or(0);
        // Nothing is known of what another disk, or an older one, holds.
        let known = !facts.ledgers.is_touched(&slot.host) && !self.unheard.contains(&slot.host);
        if (engine.is_none() || holds < there) && known {
            let text = format!("{slot} counts as a copy of {name}, it holds {holds} of the {there} records there were");
            found.say("R16", text);
        }
        self.whole.insert(key.clone());
    }

    fn goes(&self, found: &mut Found, cluster: &Cluster, store: &Store, key: &Name) {
        let (name, slot, _) = key;
        let stays = |(other, copy): &(&SlotId, &Copy)| {
            let other_key = (name.clone(), (*other).clone(), copy.generation);
            *other != slot && copy.state != CopyState::Retired && self.whole.contains(&other_key)
        };
        let domain = |(other, _): (&SlotId, &Copy)| match (store.spec.spread, cluster.hosts.get(&other.host)) {
            (Spread::Rack, Some(host)) => host.at.0.join("/"),
            _ => other.host.to_string(),
        };
        let left: BTreeSet<String> = store.copies.iter().filter(stays).map(domain).collect();
        if left.len() < usize::from(store.spec.copies) {
            let text = format!("{slot} of {name} is to be destroyed, {} whole copies stay", left.len());
            found.say("S9", text);
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
