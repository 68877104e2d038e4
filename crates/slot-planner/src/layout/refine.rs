//! New stores in small fleets: what was found is bettered by single changes, in the smallest by two at once.
//!
//! What always holds: every change lowers the score, so it ends, and keeps the hard rules; stores that were there are not touched.
//!
//! Why: with a handful of stores one of them more or less on a host is much, and a few thousand looks cost nothing.

use super::figures::per_ordinary;
use super::model::*;

/// Above so many (store, host) combinations what was found stands.
const COMBINATIONS_MAX: usize = 512;
/// Up to here two changes at once are looked at: small fleets get stuck more easily.
const DEEP_MAX: usize = 32;
/// Each round lowers the score; this is only a bound on time.
const ROUNDS_MAX: usize = 256;

/// Lower is better: the worst survivor of any one host's loss, the host with most masters, then evenness of survivors and of
/// copies.
type Score = (u64, u64, u64, u64);

/// Betters the places of these stores, all of whose copies are new and somewhere. Hosts count as having room by bytes and slots
/// alone.
pub fn refine(fleet: &Fleet, layout: &mut Layout, stores: &[u32]) {
    let active: Vec<u32> = fleet.active().collect();
    if stores.is_empty() || stores.len() * active.len() > COMBINATIONS_MAX {
        return;
    }
    let small = Small::of(fleet, layout, stores, active);
    let mut places: Vec<Vec<u32>> = stores.iter().map(|store| layout.copies(fleet, *store).to_vec()).collect();
    if places.iter().flatten().any(|host| *host == NOWHERE) {
        return;
    }
    let mut best = small.score(&places);
    for _ in 0..ROUNDS_MAX {
        if !(0..stores.len()).any(|nth| small.improve(&mut places, nth, &mut best)) {
            break;
        }
    }
    for (store, hosts) in stores.iter().zip(&places) {
        layout.at[fleet.range(*store)].copy_from_slice(hosts);
    }
}

/// The fleet without the stores that are placed.
struct Small<'a> {
    fleet: &'a Fleet,
    stores: &'a [u32],
    active: Vec<u32>,
    base: Tally,
}

impl<'a> Small<'a> {
    fn of(fleet: &'a Fleet, layout: &Layout, stores: &'a [u32], active: Vec<u32>) -> Small<'a> {
        let mut rest = layout.clone();
        stores.iter().for_each(|store| rest.at[fleet.range(*store)].fill(NOWHERE));
        Small { fleet, stores, active, base: Tally::of(fleet, &rest) }
    }

    fn score(&self, places: &[Vec<u32>]) -> Score {
        let mut load = self.base.load.clone();
        let mut copies = self.base.slots.clone();
        let mut pairs = self.base.pairs.clone();
        for (store, hosts) in self.stores.iter().zip(places) {
            let spec = self.fleet.stores[*store as usize];
            load[hosts[0] as usize] += u64::from(spec.load);
            hosts.iter().for_each(|host| copies[*host as usize] += 1);
            hosts[1..].iter().for_each(|other| {
                pairs.add(hosts[0], *other, spec.load);
            });
        }
        let level =
            |host: u32, more: u64| per_ordinary(load[host as usize] + more, self.fleet.hosts[host as usize].weight);
        let (mut worst, mut survivors) = (0, 0u64);
        for lost in &self.active {
            for survivor in self.active.iter().filter(|survivor| *survivor != lost) {
                let then = level(*survivor, u64::from(pairs.get(*lost, *survivor)));
                worst = worst.max(then);
                survivors = survivors.saturating_add((then / 10).saturating_mul(then / 10));
            }
        }
        let most = self.active.iter().map(|host| level(*host, 0)).max().unwrap_or(0);
        (worst, most, survivors, copies.iter().map(|n| u64::from(*n) * u64::from(*n)).sum())
    }

    /// Takes the first change of one store that lowers the score, followed by a second one in the smallest fleets.
    fn improve(&self, places: &mut Vec<Vec<u32>>, nth: usize, best: &mut Score) -> bool {
        let deep = self.stores.len() * self.active.len() <= DEEP_MAX;
        for candidate in self.changes(places, nth) {
            let second = if deep { 0..self.stores.len() } else { 0..0 };
            let further = second.flat_map(|other| self.changes(&candidate, other));
            let mut all = std::iter::once(candidate.clone()).chain(further);
            if let Some(better) = all.find(|places| self.is_legal(places) && self.score(places) < *best) {
                *best = self.score(&better);
                *places = better;
                return true;
            }
        }
        false
    }

    /// Another master among a store's copies, a copy on another host, two copies exchanged.
    fn changes(&self, places: &[Vec<u32>], nth: usize) -> Vec<Vec<Vec<u32>>> {
        let mut all = Vec::new();
        let mut change = |make: &dyn Fn(&mut Vec<Vec<u32>>)| {
            let mut next = places.to_vec();
            make(&mut next);
            all.push(next);
        };
        for copy in 0..places[nth].len() {
            if copy > 0 {
                change(&|next| next[nth].swap(0, copy));
            }
            for host in self.active.iter().filter(|host| !places[nth].contains(host)) {
                change(&|next| next[nth][copy] = *host);
            }
            for other in nth + 1..places.len() {
                for there in 0..places[other].len() {
                    change(&|next| {
                        let mine = next[nth][copy];
                        next[nth][copy] = next[other][there];
                        next[other][there] = mine;
                    });
                }
            }
        }
        all
    }

    fn is_legal(&self, places: &[Vec<u32>]) -> bool {
        let (mut bytes, mut slots) = (self.base.bytes.clone(), self.base.slots.clone());
        for (store, hosts) in self.stores.iter().zip(places) {
            let spec = self.fleet.stores[*store as usize];
            for (nth, host) in hosts.iter().enumerate() {
                let together = hosts[nth + 1..].iter().any(|other| self.fleet.share(spec.level, *host, *other));
                if together || self.fleet.is_excluded(*store, *host) {
                    return false;
                }
                bytes[*host as usize] += spec.size;
                slots[*host as usize] += 1;
            }
        }
        let fits = |host: &u32| {
            let (on, spec) = (*host as usize, &self.fleet.hosts[*host as usize]);
            bytes[on] <= spec.bytes && slots[on] <= spec.slots
        };
        self.active.iter().all(fits)
    }
}
