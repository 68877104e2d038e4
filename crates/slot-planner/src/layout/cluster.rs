//! A cluster as it is declared and seen, as a fleet and a layout.
//!
//! What always holds: hosts and stores are numbered in the order of their names; only a live copy is counted as one, so what a
//! loss would do is never said too well; a slot that holds what is not counted, or that a running plan has reserved, is no room.
//!
//! What is coarser here than in the cluster: slots of one host that differ in size are room for what fits the largest of them, as
//! long as the free ones together have the bytes.

use super::model::*;
use crate::Inputs;
use crate::view::View;
use slot_types::cluster::{Cluster, CopyState, Domain, Host as Declared, HostState, Spread, StoreSpec};
use slot_types::evidence::Evidence;
use slot_types::ids::*;
use slot_types::plan::{Plan, Task, TaskKind};
use std::collections::BTreeSet;

/// A fleet with the names behind its numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Hosts and stores.
    pub fleet: Fleet,
    /// Where the live copies are.
    pub layout: Layout,
    /// Names of hosts, by number.
    pub hosts: Vec<HostName>,
    /// Names of stores, by number.
    pub stores: Vec<StoreName>,
    /// Racks, by the numbers of hosts' innermost domains.
    pub racks: Vec<Domain>,
}

/// Numbers a cluster. Stores that are retired are not among those that are planned for.
pub fn named(cluster: &Cluster, evidence: &Evidence, inputs: &Inputs) -> Named {
    let view = View { cluster, evidence, inputs };
    let mut racks: Vec<Domain> = cluster.hosts.values().map(|host| host.at.clone()).collect();
    racks.sort();
    racks.dedup();
    let hosts: Vec<HostName> = cluster.hosts.keys().cloned().collect();
    let stores: Vec<StoreName> =
        cluster.stores.iter().filter(|(_, s)| !s.retired).map(|(name, _)| name.clone()).collect();
    let number = |slot: &SlotId| hosts.binary_search(&slot.host).map_or(NOWHERE, |at| at as u32);
    let mut counted: BTreeSet<SlotId> = BTreeSet::new();
    let mut rows: Vec<(Store, Vec<u32>)> = Vec::with_capacity(stores.len());
    for name in &stores {
        let store = &cluster.stores[name];
        let live = view.live_copies(name, store);
        let rests = |slot: &SlotId| state(&view, &slot.host) == State::Stopped;
        let stands = |slot: &&SlotId| {
            live.contains(*slot)
                || (rests(slot) && store.copies.get(*slot).is_some_and(|c| c.state == CopyState::Stopped))
        };
        let master = store.pending.as_ref().or(store.master.as_ref());
        let first = master.filter(stands).map_or(NOWHERE, number);
        let others = store.copies.keys().filter(|slot| Some(*slot) != master).filter(stands);
        let mut at: Vec<u32> = vec![first];
        at.extend(others.clone().map(number));
        counted.extend(master.filter(stands).into_iter().chain(others).cloned());
        let level = match store.spec.spread {
            Spread::Host => HOST,
            Spread::Rack => RACK,
        };
        let StoreSpec { size_bytes: size, load, copies, .. } = store.spec;
        rows.push((Store { size, load: load.into(), copies, level }, at));
    }
    let mut fleet = Fleet::default();
    let taken = view.used_slots();
    for (name, host) in &cluster.hosts {
        let used = |slot: &SlotId| taken.get(slot).map_or(0, |store| cluster.stores[*store].spec.size_bytes);
        let mut there = Host::new(0, 0).within(&levels(&racks, host));
        there.state = state(&view, name);
        there.weight = ORDINARY * u32::from(host.weight);
        there.largest = 0;
        for (slot, spec) in host.slots.iter().map(|(n, spec)| (SlotId::new(name.clone(), *n), spec)) {
            if counted.contains(&slot) {
                (there.slots, there.bytes) = (there.slots + 1, there.bytes + used(&slot));
            } else if !taken.contains_key(&slot) && !inputs.busy_slots.contains(&slot) {
                (there.slots, there.bytes) = (there.slots + 1, there.bytes + spec.size_bytes);
                there.largest = there.largest.max(spec.size_bytes);
            }
        }
        fleet.hosts.push(there);
    }
    let layout = Layout::of(&mut fleet, rows.iter().map(|(store, at)| (*store, at.as_slice())));
    hold(cluster, &hosts, &stores, &layout, &mut fleet);
    keep_away(cluster, &hosts, &stores, &mut fleet);
    Named { fleet, layout, hosts, stores, racks }
}

/// A cluster while the tasks of a plan are carried out. Hosts and stores keep their numbers; a store that the plan makes or ends is
/// none of them.
pub struct Course {
    named: Named,
    /// Copies by store, the master first.
    at: Vec<Vec<u32>>,
}

impl Course {
    /// Before the first.
    pub fn of(cluster: &Cluster, evidence: &Evidence, inputs: &Inputs) -> Course {
        let named = named(cluster, evidence, inputs);
        let stores = 0..named.stores.len() as u32;
        let at = stores.map(|store| named.layout.copies(&named.fleet, store).to_vec()).collect();
        Course { named, at }
    }
    /// The number of a host.
    pub fn number(&self, host: &HostName) -> u32 {
        self.named.hosts.binary_search(host).map_or(NOWHERE, |at| at as u32)
    }
    /// The host of a store's master, and its size.
    pub fn master(&self, store: &StoreName) -> Option<(u32, u64)> {
        let number = self.named.stores.binary_search(store).ok()?;
        Some((self.at[number].first().copied().unwrap_or(NOWHERE), self.named.fleet.stores[number].size))
    }
    /// How many copies there are.
    pub fn copies(&self) -> usize {
        self.named.layout.at.len()
    }
    /// With one more task done.
    pub fn carry_out(&mut self, task: &Task) {
        if let TaskKind::HostState { host, to } = &task.kind {
            let number = self.number(host);
            if let Some(host) = self.named.fleet.hosts.get_mut(number as usize) {
                host.state = declared(*to);
            }
            return;
        }
        let (at, to) = match &task.kind {
            TaskKind::HandOver { to, .. } | TaskKind::FailOver { to, .. } => (self.number(&to.host), true),
            TaskKind::BuildCopy { slot, .. } => (self.number(&slot.host), true),
            TaskKind::DestroyCopy { slot, .. } => (self.number(&slot.host), false),
            _ => return,
        };
        let store = task.store.as_ref().and_then(|name| self.named.stores.binary_search(name).ok());
        let Some(copies) = store.map(|number| &mut self.at[number]) else { return };
        match &task.kind {
            TaskKind::BuildCopy { .. } => match copies.iter().skip(1).position(|host| *host == NOWHERE) {
                Some(place) => copies[place + 1] = at,
                None => copies.push(at),
            },
            _ if to => {
                if let Some(place) = copies.iter().position(|host| *host == at) {
                    copies.swap(0, place);
                }
            }
            _ => copies.retain(|host| *host != at),
        }
    }
    /// As it is now.
    pub fn now(&self) -> (Fleet, Layout) {
        let mut fleet = self.named.fleet.clone();
        fleet.first.clear();
        let rows: Vec<(Store, &[u32])> = fleet.stores.drain(..).zip(self.at.iter().map(Vec::as_slice)).collect();
        let layout = Layout::of(&mut fleet, rows);
        (fleet, layout)
    }
}

/// The fleet and the layout as they would be with everything in a plan done.
pub fn after_plan(cluster: &Cluster, evidence: &Evidence, inputs: &Inputs, plan: &Plan) -> (Fleet, Layout) {
    let mut course = Course::of(cluster, evidence, inputs);
    plan.tasks.iter().for_each(|task| course.carry_out(task));
    course.now()
}

/// What may be on a host, by what was declared of it and what is seen.
fn state(view: &View<'_>, name: &HostName) -> State {
    match view.cluster.hosts.get(name).map(|host| host.declared) {
        Some(HostState::Active | HostState::Draining) if !view.answers(name) => State::Down,
        Some(state) => declared(state),
        None => State::Retired,
    }
}

fn declared(state: HostState) -> State {
    match state {
        HostState::Active => State::Active,
        HostState::Draining => State::Draining,
        HostState::Maintenance | HostState::Empty => State::Stopped,
        HostState::Off => State::Down,
        HostState::Retired => State::Retired,
    }
}

/// A host's domains from the innermost outwards, by number: a rack is its whole path, what is around it a path's beginning.
fn levels(racks: &[Domain], host: &Declared) -> Vec<u32> {
    let mut levels = vec![racks.binary_search(&host.at).unwrap_or_default() as u32];
    for length in (1..host.at.0.len()).rev().take(LEVELS - 2) {
        let prefix = &host.at.0[..length];
        // The first rack within a domain gives it its number: racks are sorted, so all of a domain are side by side.
        let first = racks.partition_point(|rack| rack.0.as_slice() < prefix);
        levels.push(first as u32);
    }
    levels
}

/// What persons hold: copies of a held store stay where they are, and so does everything on a held host, where nothing comes.
fn hold(cluster: &Cluster, hosts: &[HostName], stores: &[StoreName], layout: &Layout, fleet: &mut Fleet) {
    if cluster.holds.is_empty() {
        return;
    }
    let closed: BTreeSet<u32> = (0..)
        .zip(hosts)
        .filter(|(_, host)| cluster.holds_on_host(host).next().is_some())
        .map(|(number, _)| number)
        .collect();
    let (mut pins, mut exclusions) = (Vec::new(), Vec::new());
    for (number, name) in (0..).zip(stores) {
        let copies = layout.copies(fleet, number);
        if cluster.holds_on_store(name).next().is_some() {
            pins.extend(copies.iter().filter(|host| **host != NOWHERE).map(|host| (number, *host)));
            exclusions.extend((0..hosts.len() as u32).filter(|host| !copies.contains(host)).map(|host| (number, host)));
        } else {
            exclusions.extend(closed.iter().filter(|host| !copies.contains(host)).map(|host| (number, *host)));
        }
    }
    pins.sort_unstable();
    exclusions.sort_unstable();
    (fleet.pins, fleet.exclusions) = (pins, exclusions);
}

/// Hosts that never hold a copy of a store, by its line in the cluster file.
fn keep_away(cluster: &Cluster, hosts: &[HostName], stores: &[StoreName], fleet: &mut Fleet) {
    let known = fleet.exclusions.len();
    for (number, name) in (0..).zip(stores) {
        let never = cluster.stores[name].spec.never.iter();
        let there = never.filter_map(|host| hosts.binary_search(host).ok());
        fleet.exclusions.extend(there.map(|host| (number, host as u32)));
    }
    if fleet.exclusions.len() > known {
        fleet.exclusions.sort_unstable();
        fleet.exclusions.dedup();
    }
}
