//! What a fleet's aims are measured by, followed from one layout to the next; and what they would be with one copy on each of many
//! hosts, without counting the fleet for each.
//!
//! What always holds: every figure is the one that [`figures`](super::figures) counts of the same layout. A loss is looked at again only
//! where who leads, or who could take over, is another one than before; and, where every store and every host counts alike, only where it could be
//! the worst one: one master more, on a host or to be taken, adds no more than itself.

use super::figures::{Figures, Taking, bounds, over_share, per_ordinary};
use super::model::*;
use std::collections::BTreeSet;

/// Figures that aims are measured by, in the units of [`Figures`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measure {
    /// Load of the masters of the active host with the most.
    pub load_max: u64,
    /// No layout has less.
    pub load_bound: u64,
    /// After the loss of any one active host, the load of the survivor that then has the most.
    pub worst_survivor: u64,
    /// No layout has less.
    pub worst_survivor_bound: u64,
    /// Bytes of the fullest active host over its fair share by room, in millionths.
    pub bytes_max_ppm: u64,
}

impl From<&Figures> for Measure {
    fn from(figures: &Figures) -> Measure {
        Measure {
            load_max: figures.load_max,
            load_bound: figures.load_bound,
            worst_survivor: figures.worst_survivor,
            worst_survivor_bound: figures.worst_survivor_bound,
            bytes_max_ppm: figures.bytes_max_ppm,
        }
    }
}

/// A copy that is nowhere and goes to one of many hosts.
#[derive(Clone, Copy, Debug)]
pub struct Homeless {
    /// Its store.
    pub store: u32,
    /// Which of the store's copies, the master being the first.
    pub nth: usize,
    /// Bytes that come to other hosts besides, nobody knows which.
    pub more: u64,
}

/// A layout with what its figures are made of.
#[derive(Clone, Debug)]
pub struct Scale<'a> {
    fleet: &'a Fleet,
    layout: Layout,
    active: Vec<u32>,
    tally: Tally,
    /// Stores by the host of their master, in order.
    led: Vec<Vec<u32>>,
    /// By host: stores with a replica on it, in order.
    on: Vec<Vec<u32>>,
    /// By host: what the fullest of those that take its masters has once it is lost.
    taken: Vec<u64>,
    /// Load of all stores that are not lost.
    served: u64,
    /// Bytes of all copies, and those that active hosts may hold.
    held: u128,
    room: u128,
    /// What one load is on every host, where all loads and all active hosts count alike.
    unit: Option<u64>,
    /// Room to hand masters over in, all zeros.
    extra: Vec<u64>,
    /// Masters of lost hosts that were looked at.
    pub looks: u64,
}

impl<'a> Scale<'a> {
    /// Of a layout.
    pub fn of(fleet: &'a Fleet, layout: &Layout) -> Scale<'a> {
        let hosts = fleet.hosts.len();
        let active: Vec<u32> = fleet.active().collect();
        let mut weights: Vec<u32> = active.iter().map(|host| fleet.hosts[*host as usize].weight).collect();
        weights.dedup();
        let is_alike = weights.len() == 1 && fleet.stores.iter().all(|store| store.load == 1);
        let nowhere = Layout { at: vec![NOWHERE; layout.at.len()] };
        let mut scale = Scale {
            fleet,
            tally: Tally::without_pairs(fleet, &nowhere),
            room: active.iter().map(|host| u128::from(fleet.hosts[*host as usize].bytes)).sum(),
            layout: nowhere,
            active,
            led: vec![Vec::new(); hosts],
            on: vec![Vec::new(); hosts],
            taken: vec![0; hosts],
            served: fleet.stores.iter().map(|store| u64::from(store.load)).sum(),
            held: 0,
            unit: weights.first().filter(|_| is_alike).map(|weight| per_ordinary(1, *weight)),
            extra: vec![0; hosts],
            looks: 0,
        };
        scale.follow(layout);
        scale
    }

    /// Goes over to another layout of the same fleet.
    pub fn follow(&mut self, layout: &Layout) {
        let first = &self.fleet.first;
        let differ = (0..).zip(self.layout.at.iter().zip(&layout.at)).filter(|(_, (is, then))| is != then);
        let store = |(at, _): (u32, _)| first.partition_point(|first| *first <= at) - 1;
        let mut changed: Vec<u32> = differ.filter_map(|copy| u32::try_from(store(copy)).ok()).collect();
        changed.dedup();
        let mut leads_other: BTreeSet<u32> = BTreeSet::new();
        let mut losses: BTreeSet<u32> = BTreeSet::new();
        for (store, comes) in changed.iter().flat_map(|store| [(*store, false), (*store, true)]) {
            if comes {
                let range = self.fleet.range(store);
                self.layout.at[range.clone()].copy_from_slice(&layout.at[range]);
            }
            self.count(store, comes);
            let master = self.layout.master(self.fleet, store);
            if master != NOWHERE {
                leads_other.insert(master);
            }
        }
        for host in leads_other {
            losses.insert(host);
            losses.extend(self.on[host as usize].iter().map(|store| self.layout.master(self.fleet, *store)));
        }
        let mut taking = Taking::with(self.fleet, &self.tally, std::mem::take(&mut self.extra));
        for lost in losses.into_iter().filter(|lost| *lost != NOWHERE && self.fleet.hosts[*lost as usize].is_active()) {
            let stores = &self.led[lost as usize];
            self.looks += stores.len() as u64;
            self.taken[lost as usize] = taking.lose(self.fleet, &self.layout, stores, |host| host == lost, |_, _| {});
        }
        self.extra = taking.into_extra();
    }

    fn count(&mut self, store: u32, comes: bool) {
        let (spec, copies) = (self.fleet.stores[store as usize], self.layout.copies(self.fleet, store));
        let load = u64::from(spec.load);
        let keep = |stores: &mut Vec<u32>| match stores.binary_search(&store) {
            Err(at) if comes => stores.insert(at, store),
            Ok(at) if !comes => drop(stores.remove(at)),
            _ => {}
        };
        for (nth, host) in copies.iter().enumerate().filter(|(_, host)| **host != NOWHERE) {
            let at = *host as usize;
            let bytes = &mut self.tally.bytes[at];
            *bytes = if comes { *bytes + spec.size } else { *bytes - spec.size };
            self.held = if comes { self.held + u128::from(spec.size) } else { self.held - u128::from(spec.size) };
            if nth > 0 {
                keep(&mut self.on[at]);
                continue;
            }
            keep(&mut self.led[at]);
            let led = &mut self.tally.load[at];
            *led = if comes { *led + load } else { *led - load };
        }
        if self.fleet.is_lost_at(copies) {
            self.served = if comes { self.served - load } else { self.served + load };
        }
    }

    /// As it is.
    pub fn measure(&self) -> Measure {
        let load_max = self.load_max();
        let (load_bound, worst_survivor_bound) = bounds(self.fleet, &self.layout, &self.active, self.served);
        let taken = self.active.iter().map(|host| self.taken[*host as usize]).max().unwrap_or(0);
        Measure {
            load_max,
            load_bound,
            worst_survivor: self.survivor_by_itself(load_max).max(taken),
            worst_survivor_bound,
            bytes_max_ppm: self.fullest(self.held),
        }
    }

    /// With a copy on each of these hosts, all of them active, alone.
    pub fn with(&mut self, copy: Homeless, hosts: &[u32]) -> Vec<Measure> {
        let (fleet, spec) = (self.fleet, self.fleet.stores[copy.store as usize]);
        let (Some(first), at) = (hosts.first(), fleet.range(copy.store).start + copy.nth) else { return Vec::new() };
        debug_assert_eq!(self.layout.at[at], NOWHERE, "it is nowhere");
        let was_lost = fleet.is_lost(copy.store, &self.layout);
        let served = self.served + if was_lost { u64::from(spec.load) } else { 0 };
        self.layout.at[at] = *first;
        let (load_bound, worst_survivor_bound) = bounds(fleet, &self.layout, &self.active, served);
        self.layout.at[at] = NOWHERE;
        let (load_max, held) = (self.load_max(), self.held + u128::from(spec.size) + u128::from(copy.more));
        let fullest = self.fullest(held);
        let mut losses = self.active.clone();
        losses.sort_unstable_by_key(|host| std::cmp::Reverse(self.taken[*host as usize]));
        let measure = |host: &u32| {
            let on = *host as usize;
            let more = if copy.nth == 0 { u64::from(spec.load) } else { 0 };
            let load_max = load_max.max(per_ordinary(self.tally.load[on] + more, fleet.hosts[on].weight));
            let bytes = self.tally.bytes[on] + spec.size;
            self.layout.at[at] = *host;
            let worst_survivor = self.survivor_with(copy, *host, load_max, &losses);
            self.layout.at[at] = NOWHERE;
            let bytes_max_ppm = fullest.max(over_share(bytes, fleet.hosts[on].bytes, held, self.room));
            Measure { load_max, load_bound, worst_survivor, worst_survivor_bound, bytes_max_ppm }
        };
        hosts.iter().map(measure).collect()
    }

    fn own(&self, host: u32) -> u64 {
        per_ordinary(self.tally.load[host as usize], self.fleet.hosts[host as usize].weight)
    }
    fn load_max(&self) -> u64 {
        self.active.iter().map(|host| self.own(*host)).max().unwrap_or(0)
    }
    fn fullest(&self, held: u128) -> u64 {
        let over = |host: &u32| {
            over_share(self.tally.bytes[*host as usize], self.fleet.hosts[*host as usize].bytes, held, self.room)
        };
        self.active.iter().map(over).max().unwrap_or(0)
    }

    /// The fullest host survives the loss of any other one.
    fn survivor_by_itself(&self, load_max: u64) -> u64 {
        if self.active.len() > 1 { load_max } else { 0 }
    }

    /// The worst survivor with a copy on a host, where the layout has it already and nothing else does. `losses` are all hosts, the one
    /// whose loss was worst first.
    fn survivor_with(&mut self, copy: Homeless, host: u32, load_max: u64, losses: &[u32]) -> u64 {
        let (fleet, load) = (self.fleet, u64::from(self.fleet.stores[copy.store as usize].load));
        let master = self.layout.master(fleet, copy.store);
        let mut others: Vec<u32> = match copy.nth {
            0 => self.on[host as usize].iter().map(|store| self.layout.master(fleet, *store)).collect(),
            _ => Vec::new(),
        };
        others.push(master);
        others.retain(|lost| *lost != NOWHERE && fleet.hosts[*lost as usize].is_active());
        others.sort_unstable();
        others.dedup();
        let same = losses.iter().find(|lost| others.binary_search(lost).is_err());
        let mut worst = self.survivor_by_itself(load_max).max(same.map_or(0, |lost| self.taken[*lost as usize]));
        let mut extra = std::mem::take(&mut self.extra);
        for lost in others {
            if self.at_most(copy, host, lost).is_some_and(|most| most <= worst) {
                continue;
            }
            let mut stores = self.led[lost as usize].clone();
            let comes = lost == master && copy.nth == 0;
            if let Some(at) = stores.binary_search(&copy.store).err().filter(|_| comes) {
                stores.insert(at, copy.store);
            }
            self.looks += stores.len() as u64;
            // It has one more by itself, whoever is lost but itself.
            let more = if copy.nth == 0 && lost != host { load } else { 0 };
            extra[host as usize] = more;
            let mut taking = Taking::with(fleet, &self.tally, extra);
            worst = worst.max(taking.lose(fleet, &self.layout, &stores, |gone| gone == lost, |_, _| {}));
            extra = taking.into_extra();
            extra[host as usize] = 0;
        }
        self.extra = extra;
        worst
    }

    /// No more than this, or than the fullest host, does the fullest of those that take a host's masters have, with a copy on another host;
    /// `None` where nothing is known.
    fn at_most(&self, copy: Homeless, host: u32, lost: u32) -> Option<u64> {
        let unit = self.unit?;
        let was = self.taken[lost as usize];
        let copies = self.layout.copies(self.fleet, copy.store);
        let heirs = copies.iter().filter(|heir| **heir != NOWHERE && self.fleet.hosts[**heir as usize].is_active());
        let heirs = heirs.filter(|heir| **heir != lost);
        if self.layout.master(self.fleet, copy.store) != lost {
            // The host has one more by itself.
            return Some(was + unit);
        }
        let had_another = heirs.clone().any(|heir| *heir != host);
        if copy.nth > 0 && had_another {
            return Some(was);
        }
        let least = heirs.map(|heir| self.own(*heir)).min();
        Some(least.map_or(was, |least| was.max(least) + unit))
    }
}
