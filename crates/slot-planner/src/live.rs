//! A live cluster as the placement engine sees it, and the engine's answer in slots again.
//!
//! What always holds: hosts and stores are numbered in the order of their names, so ties go to the first; what the planner must not
//! touch now stays where it is, its master with it, and counts all the same; a slot is given once, and only one that is free
//! before the plan begins, since what a copy leaves is free only once it is destroyed. The engine proposes; which tasks a
//! proposal becomes, and whether each of them is safe, is for the intent's own code, and the checker judges the plan.

mod explain;
mod merit;
mod order;
mod packing;
mod place;
mod rebalance;
mod single;
mod wanted;

pub(crate) use explain::{FEWER_MAX, lifted, places, places_of};
pub(crate) use merit::Above;
pub(crate) use rebalance::{fill, rebalance};

use crate::layout::{self, Fleet, HOST, Layout, NOWHERE, Outcome, RACK, State};
use crate::view::View;
use slot_types::cluster::*;
use slot_types::ids::*;
use std::collections::{BTreeMap, BTreeSet};

/// Levels of domains that a host's path fills, from the innermost outwards.
const PATHS: usize = layout::LEVELS - 1;
/// So often a problem is put to the engine anew where what it proposed found no slot; what still finds none is left out.
const ROUNDS_MAX: usize = 16;

/// Whether a store has its place in a problem: it has, or is to have, a master.
pub(crate) fn has_master(store: &Store) -> bool {
    let master = store.pending.as_ref().or(store.master.as_ref());
    !store.retired && master.is_some_and(|slot| store.copies.contains_key(slot))
}

/// What a store's copies may do.
pub(crate) struct Stance {
    /// The slots of its copies, the master's first; `None` for one that is to be placed.
    pub at: Vec<Option<SlotId>>,
    /// Of these, the ones that may move.
    pub movable: BTreeSet<SlotId>,
    /// Which copy may be master.
    pub lead: Lead,
    /// Copies that are lost: where there is no other place, one may be built in the domain of one of them.
    pub lost: Vec<SlotId>,
}

/// Which copy of a store may be master.
pub(crate) enum Lead {
    /// The one that is.
    Kept,
    /// The one that is, one of these, or one that is new.
    Or(BTreeSet<SlotId>),
    /// Any.
    Any,
}

impl Stance {
    /// As it is, nothing of it to be touched.
    pub fn kept(store: &Store) -> Self {
        let master = store.pending.as_ref().or(store.master.as_ref());
        let there = store.copies.iter().filter(|(_, copy)| copy.state != CopyState::Retired).map(|(slot, _)| slot);
        let mut at: Vec<&SlotId> = there.collect();
        at.sort_by_key(|slot| (Some(*slot) != master, *slot));
        Stance {
            at: at.into_iter().cloned().map(Some).collect(),
            movable: BTreeSet::new(),
            lead: Lead::Kept,
            lost: Vec::new(),
        }
    }
    /// A new store: on these slots, or wherever there is room.
    pub fn new(spec: &StoreSpec, held: Vec<SlotId>) -> Self {
        let at =
            if held.is_empty() { vec![None; usize::from(spec.copies)] } else { held.into_iter().map(Some).collect() };
        Stance { at, movable: BTreeSet::new(), lead: Lead::Any, lost: Vec::new() }
    }
    /// Without those that go: they do not count.
    pub fn without(mut self, gone: &BTreeSet<SlotId>) -> Self {
        self.at.retain(|slot| slot.as_ref().is_none_or(|slot| !gone.contains(slot)));
        self
    }
    /// Its master is this copy by then.
    pub fn led_by(mut self, master: &SlotId) -> Self {
        self.at.sort_by_key(|slot| slot.as_ref() != Some(master));
        self
    }
    /// And so many more are wanted.
    pub fn and_more(mut self, more: usize) -> Self {
        self.at.extend(std::iter::repeat_n(None, more));
        self
    }
}

/// A host as it is put into a problem.
struct Spot<'a> {
    name: &'a HostName,
    at: &'a Domain,
    slots: BTreeMap<u16, u64>,
    weight: u16,
    state: State,
}

/// A problem while it is drawn up.
pub(crate) struct Sketch<'a> {
    spots: Vec<Spot<'a>>,
    number: BTreeMap<&'a HostName, u32>,
    /// Slots that no copy may be built on: they hold one, or a running plan has reserved them.
    taken: BTreeSet<&'a SlotId>,
    view: &'a View<'a>,
    /// How the aims are weighed, if they are.
    weights: Option<Weights>,
    /// The cluster file that is applied: what it says of loads is in force.
    file: Option<&'a FleetSpec>,
    stores: Vec<(&'a StoreName, &'a StoreSpec, Stance)>,
}

impl<'a> Sketch<'a> {
    /// The cluster's hosts; `barred` get nothing.
    pub fn of(view: &'a View<'a>, barred: &BTreeSet<HostName>) -> Self {
        let hosts = view.cluster.hosts.iter();
        let spots = hosts.map(|(name, host)| Spot {
            name,
            at: &host.at,
            slots: host.slots.iter().map(|(number, slot)| (*number, slot.size_bytes)).collect(),
            weight: host.weight,
            state: if view.takes_copies(name).is_ok() && !barred.contains(name) {
                State::Active
            } else {
                State::Draining
            },
        });
        Self::with(view, spots.collect())
    }

    /// The hosts of a cluster file, those it adds among them. What it leaves out stays, and gets nothing.
    pub fn of_file(view: &'a View<'a>, file: &'a FleetSpec) -> Self {
        let mut spots: BTreeMap<&HostName, Spot<'_>> = Self::of(view, &view.cluster.hosts.keys().cloned().collect())
            .spots
            .into_iter()
            .map(|s| (s.name, s))
            .collect();
        for (name, spec) in &file.hosts {
            // A host that is new in this very file is not known yet: its agent is waited for.
            let usable = !view.cluster.hosts.contains_key(name) || view.takes_copies(name).is_ok();
            let state = if usable { State::Active } else { State::Draining };
            let slots = spec.slots.iter().map(|(number, slot)| (*number, slot.size_bytes)).collect();
            spots.insert(name, Spot { name, at: &spec.at, slots, weight: spec.weight, state });
        }
        Self { weights: file.policy.weights, file: Some(file), ..Self::with(view, spots.into_values().collect()) }
    }

    fn with(view: &'a View<'a>, spots: Vec<Spot<'a>>) -> Self {
        let number = (0..).zip(&spots).map(|(number, spot)| (spot.name, number)).collect();
        let taken = view.used_slots().into_keys().chain(&view.inputs.busy_slots).collect();
        Self { spots, number, taken, view, weights: view.policy().weights, file: None, stores: Vec::new() }
    }

    /// Adds a store. Stores are added in the order of their names, new ones after those that are there.
    pub fn add(&mut self, name: &'a StoreName, spec: &'a StoreSpec, stance: Stance) {
        self.stores.push((name, spec, stance));
    }

    /// The problem.
    pub fn chart(self) -> Chart<'a> {
        let mut fleet = Fleet { hosts: self.hosts(), ..Fleet::default() };
        let free: Vec<BTreeSet<(u64, u16)>> = self.spots.iter().map(|spot| self.free(spot)).collect();
        let mut counted = vec![0u32; self.spots.len()];
        let mut placed: Vec<(layout::Store, Vec<u32>)> = Vec::new();
        let (mut slot_of, mut lost, mut never_on) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        let spare: Vec<Option<u64>> = self.spots.iter().map(|spot| self.view.disk_to_spare(spot.name)).collect();
        let mut takes: Vec<u64> = Vec::new();
        for (store, (name, spec, stance)) in (0..).zip(&self.stores) {
            let mut hosts: Vec<u32> = Vec::new();
            for slot in &stance.at {
                let host = slot.as_ref().and_then(|slot| self.number.get(&slot.host)).copied();
                // While a copy moves within its rack its host may hold both: they are one to the engine.
                let Some(host) = host.filter(|host| !hosts.contains(host)) else {
                    hosts.extend(slot.is_none().then_some(NOWHERE));
                    continue;
                };
                hosts.push(host);
                counted[host as usize] += 1;
                if let Some(slot) = slot {
                    slot_of.insert((store, host), slot.clone());
                    if !stance.movable.contains(slot) {
                        fleet.pins.push((store, host));
                    }
                }
            }
            let never = spec.never.iter().filter_map(|host| self.number.get(host)).copied();
            never_on.extend(never.map(|host| (store, host)));
            let bytes = self.view.copy_bytes(name, spec);
            takes.push(bytes);
            if stance.at.contains(&None) || !stance.movable.is_empty() {
                let full = (0..).zip(&spare).filter(|(_, spare)| spare.is_some_and(|spare| spare < bytes));
                let full = full.map(|(host, _)| host).filter(|host| !hosts.contains(host));
                fleet.exclusions.extend(full.map(|host| (store, host)));
            }
            let of_lost = stance.lost.iter().filter_map(|slot| self.number.get(&slot.host)).copied();
            lost.insert(store, of_lost.collect::<Vec<u32>>());
            self.leads(store, stance, &hosts, &slot_of, &mut fleet.no_master);
            let copies = u8::try_from(hosts.len()).unwrap_or(u8::MAX);
            let level = if spec.spread == Spread::Host { HOST } else { RACK };
            // Where the file says no sizes, every copy counts as much as any other.
            let size = spec.size_bytes.max(1);
            placed.push((layout::Store { size, load: self.load(name, spec), copies, level }, hosts));
        }
        // What is taken by anything the engine does not see is no room.
        for ((host, free), counted) in fleet.hosts.iter_mut().zip(&free).zip(&counted) {
            host.slots = counted.saturating_add(u32::try_from(free.len()).unwrap_or(u32::MAX));
        }
        fleet.exclusions.extend(&never_on);
        fleet.exclusions.sort_unstable();
        fleet.exclusions.dedup();
        fleet.pins.sort_unstable();
        fleet.no_master.sort_unstable();
        let layout = Layout::of(&mut fleet, placed.iter().map(|(store, hosts)| (*store, hosts.as_slice())));
        let hosts = self.spots.iter().map(|spot| spot.name).collect();
        let stores = self.stores.iter().map(|(name, ..)| *name).collect();
        let (weights, has_loads) = (self.weights, !fleet.is_ordinary());
        let mut chart =
            Chart { hosts, stores, fleet, layout, free, spare, takes, slot_of, lost, never_on, weights, has_loads };
        chart.set_largest();
        chart
    }

    fn load(&self, name: &StoreName, spec: &StoreSpec) -> u32 {
        self.file.and_then(|file| file.stores.get(name)).unwrap_or(spec).load.into()
    }

    fn hosts(&self) -> Vec<layout::Host> {
        let mut paths: BTreeMap<&[String], u32> = BTreeMap::new();
        let mut hosts = Vec::new();
        for spot in &self.spots {
            let path = spot.at.0.as_slice();
            let mut domains = Vec::new();
            for level in 0..PATHS.min(path.len().max(1)) {
                let next = u32::try_from(paths.len()).unwrap_or(NOWHERE - 1);
                domains.push(*paths.entry(&path[..path.len().saturating_sub(level)]).or_insert(next));
            }
            let bytes = spot.slots.values().fold(0u64, |sum, size| sum.saturating_add(*size));
            let weight = layout::ORDINARY * u32::from(spot.weight);
            let host = layout::Host::new(bytes, 0).within(&domains);
            hosts.push(layout::Host { state: spot.state, weight, ..host });
        }
        hosts
    }

    fn free(&self, spot: &Spot<'_>) -> BTreeSet<(u64, u16)> {
        let open =
            spot.slots.iter().filter(|(number, _)| !self.taken.contains(&SlotId::new(spot.name.clone(), **number)));
        open.map(|(number, size)| (*size, *number)).collect()
    }

    fn leads(
        &self,
        store: u32,
        stance: &Stance,
        hosts: &[u32],
        slot_of: &BTreeMap<(u32, u32), SlotId>,
        no_master: &mut Vec<(u32, u32)>,
    ) {
        match &stance.lead {
            Lead::Any => {}
            Lead::Kept => no_master.push((store, NOWHERE)),
            Lead::Or(slots) => {
                let first = stance.at.first().and_then(Option::as_ref);
                let may = |slot: &SlotId| Some(slot) == first || slots.contains(slot);
                let known = hosts.iter().filter(|host| **host != NOWHERE);
                let barred = known.filter(|host| slot_of.get(&(store, **host)).is_some_and(|slot| !may(slot)));
                no_master.extend(barred.map(|host| (store, *host)));
            }
        }
    }
}

/// A problem for the engine, with the names of what it numbers.
#[derive(Clone)]
pub(crate) struct Chart<'a> {
    hosts: Vec<&'a HostName>,
    stores: Vec<&'a StoreName>,
    /// What does not change.
    pub fleet: Fleet,
    /// Where the copies are.
    pub layout: Layout,
    /// Free slots by host: (size, number).
    free: Vec<BTreeSet<(u64, u16)>>,
    /// Bytes that each host's disk has to spare; `None` where nobody knows.
    spare: Vec<Option<u64>>,
    /// Bytes that a new copy of each store takes of a disk.
    takes: Vec<u64>,
    slot_of: BTreeMap<(u32, u32), SlotId>,
    /// Hosts of lost copies, by store.
    lost: BTreeMap<u32, Vec<u32>>,
    /// (store, host): the file says never.
    never_on: BTreeSet<Arrival>,
    /// How the aims are weighed, if they are.
    weights: Option<Weights>,
    /// Whether loads or weights are declared, so that numbers of masters do not say all.
    has_loads: bool,
}

/// Takes bytes off what a disk has to spare.
fn take(spare: &mut Option<u64>, bytes: u64) {
    *spare = spare.map(|spare| spare.saturating_sub(bytes));
}

/// A copy that gets a slot: (store, host).
type Arrival = (u32, u32);
/// The slots of copies that are built.
pub(crate) type Slots = BTreeMap<Arrival, SlotId>;

impl<'a> Chart<'a> {
    /// All stores of the cluster that have a master, each as `stance` says; `barred` hosts get nothing.
    pub fn of(
        view: &'a View<'a>,
        barred: &BTreeSet<HostName>,
        mut stance: impl FnMut(&StoreName, &Store) -> Stance,
    ) -> Self {
        let mut sketch = Sketch::of(view, barred);
        for (name, store) in view.cluster.stores.iter().filter(|(_, store)| has_master(store)) {
            sketch.add(name, &store.spec, stance(name, store));
        }
        sketch.chart()
    }
    pub fn store(&self, number: u32) -> &'a StoreName {
        self.stores[number as usize]
    }
    pub fn host(&self, number: u32) -> &'a HostName {
        self.hosts[number as usize]
    }
    /// The number of a store.
    pub fn number(&self, name: &StoreName) -> Option<u32> {
        self.stores.iter().position(|store| *store == name).and_then(|at| u32::try_from(at).ok())
    }
    /// The slot of a store's copy on a host.
    pub fn slot(&self, store: u32, host: u32) -> Option<&SlotId> {
        self.slot_of.get(&(store, host))
    }
    /// The fleet as if every store asked for different racks, as far as there are racks enough.
    pub fn further_apart(&self) -> Fleet {
        let mut fleet = self.fleet.clone();
        let rack = |host: u32| fleet.hosts[host as usize].domain[usize::from(RACK)];
        let racks = fleet.active().map(rack).collect::<BTreeSet<u32>>().len();
        for store in fleet.stores.iter_mut().filter(|store| usize::from(store.copies) <= racks) {
            store.level = store.level.max(RACK);
        }
        fleet
    }
    /// Leaves a store as it is.
    pub fn hold(&mut self, store: u32) {
        self.pin(store);
        self.sort();
    }
    /// The same for many; [`Chart::sort`] is called after them.
    fn pin(&mut self, store: u32) {
        let copies = self.layout.copies(&self.fleet, store).iter().filter(|host| **host != NOWHERE);
        self.fleet.pins.extend(copies.map(|host| (store, *host)));
        self.fleet.no_master.push((store, NOWHERE));
    }
    fn sort(&mut self) {
        self.fleet.pins.sort_unstable();
        self.fleet.pins.dedup();
        self.fleet.no_master.sort_unstable();
        self.fleet.no_master.dedup();
    }
    /// The problem that is left after a solution, the stores in `without` as they were: what was touched is not touched again, and a
    /// slot that a copy leaves is not free.
    fn carry_out(&mut self, outcome: &Outcome, slots: &Slots, without: &BTreeSet<u32>) {
        let touched: BTreeSet<u32> =
            outcome.moves.iter().map(|one| one.store).filter(|s| !without.contains(s)).collect();
        for one in outcome.moves.iter().filter(|one| touched.contains(&one.store)) {
            if one.from != NOWHERE {
                self.fleet.hosts[one.from as usize].slots -= 1;
            }
            if let Some(slot) = slots.get(&(one.store, one.to)) {
                self.free[one.to as usize].retain(|(_, number)| *number != slot.number);
                // What leaves a disk is free only once it is destroyed.
                take(&mut self.spare[one.to as usize], self.takes[one.store as usize]);
                self.slot_of.insert((one.store, one.to), slot.clone());
            }
        }
        for store in touched {
            let range = self.fleet.range(store);
            self.layout.at[range.clone()].copy_from_slice(&outcome.layout.at[range]);
            self.pin(store);
        }
        self.sort();
        self.set_largest();
    }
    /// Keeps copies of a store away from a host, of whatever name.
    pub fn keep_away(&mut self, store: u32, host: &HostName) {
        if let Some(number) = self.hosts.binary_search(&host).ok().and_then(|at| u32::try_from(at).ok()) {
            self.exclude(store, number);
        }
    }
    fn exclude(&mut self, store: u32, host: u32) {
        let at = self.fleet.exclusions.partition_point(|known| *known < (store, host));
        self.fleet.exclusions.insert(at, (store, host));
    }

    /// What comes is no larger than the largest slot that is free; where none is, their number says so.
    fn set_largest(&mut self) {
        for (host, free) in self.fleet.hosts.iter_mut().zip(&self.free) {
            host.largest = free.last().map_or(u64::MAX, |(size, _)| *size);
        }
    }

    /// Whether a host has a slot for one more copy of a store, and its disk the bytes.
    fn has_slot(&self, store: u32, host: u32) -> bool {
        let size = self.fleet.stores[store as usize].size;
        let fits = self.free[host as usize].range((size, 0)..).next().is_some();
        fits && self.spare[host as usize].is_none_or(|spare| spare >= self.takes[store as usize])
    }

    /// Gives each arrival a slot: on every host the largest copy first, each on the smallest that fits.
    fn slots(&self, arrivals: &[Arrival]) -> Slots {
        let mut order: Vec<Arrival> = arrivals.to_vec();
        order.sort_by_key(|(store, host)| (std::cmp::Reverse(self.fleet.stores[*store as usize].size), *store, *host));
        let (mut free, mut spare) = (self.free.clone(), self.spare.clone());
        let mut given = BTreeMap::new();
        for (store, host) in order {
            let bytes = self.takes[store as usize];
            let fits = free[host as usize].range((self.fleet.stores[store as usize].size, 0)..).next().copied();
            if let Some((size, number)) = fits.filter(|_| spare[host as usize].is_none_or(|spare| spare >= bytes)) {
                take(&mut spare[host as usize], bytes);
                free[host as usize].remove(&(size, number));
                given.insert((store, host), SlotId::new(self.host(host).clone(), number));
            }
        }
        given
    }

    /// The slots of everything that comes, and what gets none.
    fn arrivals(&self, outcome: &Outcome) -> (Slots, Vec<Arrival>) {
        let builds = outcome.moves.iter().filter(|one| one.to != NOWHERE).map(|one| (one.store, one.to));
        let arrivals: Vec<Arrival> = builds.collect();
        let given = self.slots(&arrivals);
        let without = arrivals.into_iter().filter(|arrival| !given.contains_key(arrival)).collect();
        (given, without)
    }
}
