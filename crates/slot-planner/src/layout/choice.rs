//! One copy and every host: where it would be best if all else stays as it is, and why no other host is that one.
//!
//! What always holds: a host that breaks a hard rule has no rank; of two with a rank the lower one is better, and no two are equal;
//! everything a rank is made of is in it, so whoever explains a choice compares numbers and guesses nothing.
//!
//! The order is that of all placement: first what the worst survivor of a host's loss would have, as far as it is above what no
//! layout can avoid; then the masters of the host that gets one, likewise; then how full the host is; then its number. Where
//! a cluster file weighs the aims, what they come to in all is before these.

use super::figures::{Figures, per_ordinary};
use super::model::*;
use super::rules::{WhyNotHere, may_hold};

/// How good a host is for a copy; lower is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    /// What the fleet is worth with the copy there, where the aims are weighed; 0 where their order decides.
    pub weighed: u64,
    /// The load of the survivor that would have most after the one loss that this copy bears on, per ordinary host and in
    /// thousandths; no less than what no layout can avoid.
    pub survivor: u64,
    /// The load of the host's masters with this one, where the copy is one; no less than what no layout can avoid.
    pub masters: u64,
    /// Bytes on the host with the copy, of what it may hold, in millionths.
    pub fill: u64,
    /// The host.
    pub host: u32,
}

/// A layout in which single copies are taken up and put down.
#[derive(Clone, Debug)]
pub struct Seats<'a> {
    fleet: &'a Fleet,
    /// Where the copies are.
    pub layout: Layout,
    /// What is on every host.
    pub tally: Tally,
    /// What no layout can avoid: of the worst survivor, and of the host with most masters.
    floors: (u64, u64),
}

impl<'a> Seats<'a> {
    /// As they are taken now.
    pub fn of(fleet: &'a Fleet, layout: &Layout, figures: &Figures) -> Seats<'a> {
        let floors = (figures.worst_survivor_bound, figures.load_bound);
        Seats { fleet, layout: layout.clone(), tally: Tally::of(fleet, layout), floors }
    }
    /// Takes up the nth copy of a store; answers where it was.
    pub fn lift(&mut self, store: u32, nth: usize) -> u32 {
        let at = self.fleet.range(store).start + nth;
        let host = self.layout.at[at];
        if host != NOWHERE {
            self.count(store, nth, host, false);
            self.layout.at[at] = NOWHERE;
        }
        host
    }
    /// Puts it down.
    pub fn put(&mut self, store: u32, nth: usize, host: u32) {
        let at = self.fleet.range(store).start + nth;
        debug_assert_eq!(self.layout.at[at], NOWHERE, "a copy is put down once");
        self.count(store, nth, host, true);
        self.layout.at[at] = host;
    }
    fn count(&mut self, store: u32, nth: usize, host: u32, comes: bool) {
        let (spec, fleet) = (self.fleet.stores[store as usize], self.fleet);
        let on = host as usize;
        let copies = self.layout.copies(fleet, store);
        let pairs: Vec<(u32, u32)> = match nth {
            0 => copies.iter().skip(1).filter(|other| **other != NOWHERE).map(|other| (host, *other)).collect(),
            _ => {
                copies.first().filter(|master| **master != NOWHERE).map(|master| (*master, host)).into_iter().collect()
            }
        };
        let tally = &mut self.tally;
        if comes {
            tally.bytes[on] = tally.bytes[on].saturating_add(spec.size);
            tally.slots[on] += 1;
            pairs.into_iter().for_each(|(a, b)| {
                tally.pairs.add(a, b, spec.load);
            });
        } else {
            tally.bytes[on] = tally.bytes[on].saturating_sub(spec.size);
            tally.slots[on] -= 1;
            pairs.into_iter().for_each(|(a, b)| tally.pairs.sub(a, b, spec.load));
        }
        if nth == 0 {
            tally.masters[on] = if comes { tally.masters[on] + 1 } else { tally.masters[on] - 1 };
            let load = u64::from(spec.load);
            tally.load[on] = if comes { tally.load[on] + load } else { tally.load[on] - load };
        }
    }
    /// How good a host is for the nth copy of a store, which is taken up, the copy on `instead` being as good as gone.
    pub fn rank(&self, store: u32, nth: usize, instead: u32, host: u32) -> Result<Rank, WhyNotHere> {
        let copies = self.layout.copies(self.fleet, store);
        may_hold(self.fleet, &self.tally, copies, store, instead, host)?;
        Ok(self.rank_with(store, nth, host, 0))
    }
    /// How good a host would be if it had so many bytes more, and a slot for the copy.
    pub fn rank_with(&self, store: u32, nth: usize, host: u32, more: u64) -> Rank {
        let copies = self.layout.copies(self.fleet, store);
        let (spec, on) = (self.fleet.stores[store as usize], &self.fleet.hosts[host as usize]);
        let room = on.bytes.saturating_add(more).max(1);
        let then = |at: u32, more: u64| {
            per_ordinary(self.tally.load[at as usize] + more, self.fleet.hosts[at as usize].weight)
        };
        let load = u64::from(spec.load);
        let shared = |master: u32, with: u32| u64::from(self.tally.pairs.get(master, with)) + load;
        let survivor = match (nth, copies.first()) {
            (0, _) => {
                let others = copies.iter().skip(1).filter(|other| **other != NOWHERE);
                let after = others.map(|other| then(*other, shared(host, *other)));
                after.max().unwrap_or(0).max(then(host, load))
            }
            (_, Some(&master)) if master != NOWHERE => then(host, shared(master, host)),
            _ => 0,
        };
        let bytes = u128::from(self.tally.bytes[host as usize]) + u128::from(spec.size);
        let fill = u64::try_from(bytes * 1_000_000 / u128::from(room)).unwrap_or(u64::MAX);
        let masters = if nth == 0 { then(host, load).max(self.floors.1) } else { 0 };
        Rank { weighed: 0, survivor: survivor.max(self.floors.0), masters, fill, host }
    }
}
