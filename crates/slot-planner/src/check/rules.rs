//! The hard rules, task by task: every task that moves a master or a copy is carried out on where they are, and no task may add to
//! what is broken.
//!
//! What always holds: nothing here comes from the planner or the engine, whose outcomes reach a live cluster as tasks alone; where
//! copies are, what is live and what hosts are declared is followed from cluster and evidence. A slot that is left is not given
//! again by the same plan, and tasks of one store wait for each other; so what holds in the order of the tasks holds in every
//! order in which they may run, wherever it stops.

use super::{Fault, Ground};
use crate::layout::Rule;
use slot_types::cluster::*;
use slot_types::ids::*;
use slot_types::plan::{Intent, Task, TaskKind};
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn check(ground: &Ground<'_>) -> Result<(), Fault> {
    if let Some(held) = ground.cluster.hold_against(ground.plan) {
        return Err(Fault::Broken { task: 0, rule: Rule::Pinned, what: held.to_string() });
    }
    let mut yard = Yard::of(ground);
    for (number, task) in ground.plan.tasks.iter().enumerate() {
        yard.carry_out(task).map_err(|(rule, what)| Fault::Broken { task: number, rule, what })?;
    }
    let end = ground.plan.tasks.len().saturating_sub(1);
    yard.end().map_err(|(rule, what)| Fault::Broken { task: end, rule, what })
}

type Broken = (Rule, String);

/// A store as the plan goes on.
struct Held {
    spec: StoreSpec,
    /// Copies that take up their slot.
    there: BTreeSet<SlotId>,
    /// Those of them that count.
    live: BTreeSet<SlotId>,
    master: Option<SlotId>,
    /// What is built beside the copy that it is to take the place of: (new, old).
    beside: Vec<(SlotId, SlotId)>,
    /// Nobody is to serve it any more.
    retired: bool,
}

struct Yard<'a> {
    ground: &'a Ground<'a>,
    stores: BTreeMap<&'a StoreName, Held>,
    /// Who has each slot, from the beginning or since; asked only of plans that give any.
    slots: BTreeMap<&'a SlotId, &'a StoreName>,
    /// What hosts are declared by tasks so far.
    declared: BTreeMap<&'a HostName, HostState>,
}

impl<'a> Yard<'a> {
    fn of(ground: &'a Ground<'a>) -> Yard<'a> {
        let gives = |task: &Task| matches!(task.kind, TaskKind::CreateStore { .. } | TaskKind::BuildCopy { .. });
        let of_all = ground.plan.tasks.iter().any(gives).then_some(&ground.cluster.stores);
        let held = of_all.into_iter().flatten();
        let slots = held.flat_map(|(name, store)| store.copies.keys().map(move |at| (at, name))).collect();
        Yard { ground, stores: BTreeMap::new(), slots, declared: BTreeMap::new() }
    }

    fn carry_out(&mut self, task: &'a Task) -> Result<(), Broken> {
        let name = task.store.as_ref();
        match (&task.kind, name) {
            (TaskKind::HostState { host, to }, _) => {
                self.declared.insert(host, *to);
                self.left(host, *to)
            }
            (TaskKind::CreateStore { spec, copies, master }, Some(name)) => self.create(name, spec, copies, master),
            (TaskKind::BuildCopy { slot, generation, replaces }, Some(name)) => {
                self.build(name, slot, *generation, replaces.as_ref())
            }
            (TaskKind::DestroyCopy { slot, .. }, Some(name)) => self.destroy(name, slot),
            (TaskKind::HandOver { to, .. } | TaskKind::FailOver { to, .. }, Some(name)) => self.lead(name, to),
            (TaskKind::RetireStore { .. }, Some(name)) => {
                if let Some(held) = self.held(name) {
                    (held.retired, held.master) = (true, None);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// A store of the cluster or one that the plan made.
    fn held(&mut self, name: &'a StoreName) -> Option<&mut Held> {
        if !self.stores.contains_key(name) {
            let store = self.ground.cluster.stores.get(name)?;
            let there = store.copies.iter().filter(|(_, copy)| copy.state != CopyState::Retired);
            let live = store.copies.iter().filter(|(slot, copy)| self.is_live(name, slot, copy));
            let held = Held {
                spec: store.spec.clone(),
                there: there.map(|(slot, _)| slot.clone()).collect(),
                live: live.map(|(slot, _)| slot.clone()).collect(),
                master: store.pending.as_ref().or(store.master.as_ref()).cloned(),
                beside: Vec::new(),
                retired: store.retired,
            };
            self.stores.insert(name, held);
        }
        self.stores.get_mut(name)
    }

    /// Recorded whole and serving, and seen so on a host that answers.
    fn is_live(&self, name: &StoreName, slot: &SlotId, copy: &Copy) -> bool {
        let seen = self.ground.evidence.running(slot, self.ground.cluster.policy.silent_ms);
        copy.whole
            && matches!(copy.state, CopyState::Serving | CopyState::Frozen)
            && self.ground.hears(&slot.host)
            && seen.is_some_and(|s| s.store == *name && s.generation == copy.generation)
    }

    /// What a cluster file says of a host, if one is applied.
    fn in_file(&self, host: &HostName) -> Option<&'a HostSpec> {
        match &self.ground.plan.intent {
            Intent::Apply(file) => file.hosts.get(host),
            _ => None,
        }
    }

    /// Declared so by a task before, or by the cluster; a host that a file adds is active.
    fn state(&self, host: &HostName) -> Option<HostState> {
        let known = self.ground.cluster.hosts.get(host).map(|known| known.declared);
        let added = || self.in_file(host).map(|_| HostState::Active);
        self.declared.get(host).copied().or(known).or_else(added)
    }

    fn domain(&self, spread: Spread, host: &HostName) -> String {
        let known = || self.ground.cluster.hosts.get(host).map(|known| &known.at);
        let at = self.in_file(host).map(|line| &line.at).or_else(known);
        match (spread, at) {
            (Spread::Rack, Some(at)) => at.to_string(),
            (Spread::Host, _) | (Spread::Rack, None) => host.to_string(),
        }
    }

    /// Whether a copy that is there is one the plan has to reckon with: what nothing answers for may be lost.
    fn stands(&self, slot: &SlotId) -> bool {
        self.ground.hears(&slot.host) || !self.ground.cluster.hosts.contains_key(&slot.host)
    }

    /// A new copy on a slot, of a store of this spec.
    fn may_come(&mut self, name: &'a StoreName, spec: &StoreSpec, slot: &'a SlotId) -> Result<(), Broken> {
        if spec.never.contains(&slot.host) {
            return Err((Rule::Excluded, format!("{name} on {slot}")));
        }
        let described = self.in_file(&slot.host).and_then(|line| line.slots.get(&slot.number));
        let room = described.or_else(|| self.ground.cluster.slot(slot)).map_or(0, |room| room.size_bytes);
        if room < spec.size_bytes {
            return Err((Rule::Bytes, format!("{name} needs {} bytes, {slot} has {room}", spec.size_bytes)));
        }
        match self.slots.insert(slot, name) {
            Some(other) if other != name => Err((Rule::Slots, format!("{other} and {name} on {slot}"))),
            _ => Ok(()),
        }
    }

    fn create(
        &mut self,
        name: &'a StoreName,
        spec: &StoreSpec,
        copies: &'a BTreeMap<SlotId, CopyGeneration>,
        master: &'a SlotId,
    ) -> Result<(), Broken> {
        for (nth, slot) in copies.keys().enumerate() {
            if self.state(&slot.host) != Some(HostState::Active) || !self.stands(slot) {
                return Err((Rule::Hosts, format!("{name} on {slot}")));
            }
            self.may_come(name, spec, slot)?;
            let mut before = copies.keys().take(nth);
            let at = self.domain(spec.spread, &slot.host);
            if let Some(other) = before.find(|other| self.domain(spec.spread, &other.host) == at) {
                return Err((Rule::Apart, format!("{name} on {other} and {slot}")));
            }
        }
        if copies.len() < usize::from(spec.copies) {
            return Err((Rule::Copies, format!("{name} with {} of {}", copies.len(), spec.copies)));
        }
        if !copies.contains_key(master) {
            return Err((Rule::Masters, format!("{name} led from {master}")));
        }
        let all: BTreeSet<SlotId> = copies.keys().cloned().collect();
        let held = Held {
            spec: spec.clone(),
            there: all.clone(),
            live: all,
            master: Some(master.clone()),
            beside: Vec::new(),
            retired: false,
        };
        self.stores.insert(name, held);
        Ok(())
    }

    fn build(
        &mut self,
        name: &'a StoreName,
        slot: &'a SlotId,
        generation: CopyGeneration,
        replaces: Option<&SlotId>,
    ) -> Result<(), Broken> {
        let Some(spec) = self.held(name).map(|held| held.spec.clone()) else { return Ok(()) };
        // One that was begun before its host was declared Draining may be gone on with.
        let begun = self
            .ground
            .cluster
            .stores
            .get(name)
            .and_then(|store| store.copies.get(slot))
            .is_some_and(|copy| copy.generation == generation && copy.state == CopyState::Building);
        let is_open = match self.state(&slot.host) {
            Some(HostState::Active) => true,
            Some(HostState::Draining) => begun,
            _ => false,
        };
        if !is_open || !self.ground.hears(&slot.host) {
            return Err((Rule::Hosts, format!("{name} on {slot}")));
        }
        self.may_come(name, &spec, slot)?;
        let Some(held) = self.stores.get(name) else { return Ok(()) };
        if held.live.is_empty() {
            return Err((Rule::Copies, format!("{name} on {slot}, with no copy to be built from")));
        }
        let at = self.domain(spec.spread, &slot.host);
        let near = |other: &&SlotId| *other != slot && self.domain(spec.spread, &other.host) == at;
        let mut beside = Vec::new();
        for other in held.there.iter().filter(near).filter(|other| self.stands(other)) {
            if Some(other) != replaces {
                return Err((Rule::Apart, format!("{name} on {other} and {slot}")));
            }
            beside.push((slot.clone(), other.clone()));
        }
        if let Some(held) = self.held(name) {
            held.there.insert(slot.clone());
            held.live.insert(slot.clone());
            held.beside.extend(beside);
        }
        Ok(())
    }

    fn destroy(&mut self, name: &'a StoreName, slot: &'a SlotId) -> Result<(), Broken> {
        let Some(held) = self.held(name) else { return Ok(()) };
        if held.master.as_ref() == Some(slot) {
            return Err((Rule::Masters, format!("the master of {name} is destroyed on {slot}")));
        }
        held.there.remove(slot);
        if !held.live.remove(slot) || held.retired {
            return Ok(());
        }
        let (spec, live) = (held.spec.clone(), held.live.clone());
        let domains: BTreeSet<String> = live.iter().map(|slot| self.domain(spec.spread, &slot.host)).collect();
        if domains.len() < usize::from(spec.copies) {
            return Err((Rule::Copies, format!("{name} with {} of {}", domains.len(), spec.copies)));
        }
        Ok(())
    }

    fn lead(&mut self, name: &'a StoreName, to: &'a SlotId) -> Result<(), Broken> {
        let is_active = self.state(&to.host) == Some(HostState::Active);
        let Some(held) = self.held(name) else { return Ok(()) };
        if !is_active || !held.there.contains(to) {
            return Err((Rule::Masters, format!("{name} led from {to}")));
        }
        held.master = Some(to.clone());
        Ok(())
    }

    /// A host that is given up has nothing on it: no master in Maintenance, no copy afterwards.
    fn left(&mut self, host: &'a HostName, to: HostState) -> Result<(), Broken> {
        let nothing = match to {
            HostState::Active | HostState::Draining => return Ok(()),
            HostState::Maintenance => false,
            HostState::Empty | HostState::Off | HostState::Retired => true,
        };
        let cluster = self.ground.cluster;
        let stores: Vec<&StoreName> =
            cluster.copies_on(host).map(|(name, ..)| name).chain(self.made_on(host)).collect();
        for name in stores {
            let Some(held) = self.held(name) else { continue };
            if held.master.as_ref().is_some_and(|master| master.host == *host) {
                return Err((Rule::Masters, format!("{name} led from {host}, which is declared {to}")));
            }
            if nothing && let Some(slot) = held.there.iter().find(|slot| slot.host == *host) {
                return Err((Rule::Hosts, format!("{name} on {slot}, whose host is declared {to}")));
            }
        }
        Ok(())
    }

    fn made_on(&self, host: &HostName) -> Vec<&'a StoreName> {
        let on = |held: &Held| held.there.iter().any(|slot| slot.host == *host);
        self.stores.iter().filter(|(_, held)| on(held)).map(|(name, _)| *name).collect()
    }

    /// Nothing that was built beside another for a while is beside it at the end.
    fn end(&self) -> Result<(), Broken> {
        for (name, held) in &self.stores {
            let both = |(new, old): &&(SlotId, SlotId)| held.there.contains(new) && held.there.contains(old);
            if let Some((new, old)) = held.beside.iter().find(both) {
                return Err((Rule::Apart, format!("{name} on {old} and {new}")));
            }
        }
        Ok(())
    }
}
