//! Copies of a plan step aside for each other, so that as many as possible find a place.
//!
//! What always holds: only copies that the plan itself builds change their place, and none loses it for another; each ends in a free
//! slot that is large enough, where the rules allow it, and no disk gets more than it has to spare. Where copies compete for slots
//! alone, no packing has more of them: a chain of copies that step aside is found if there is one (a matching is as large as any
//! once no path augments it). Where two of them depend on each other otherwise, as copies of one store that have to be apart, every
//! packing is tried, [`TRIES_MAX`] placings far; whether it was shown that no more fit is part of the answer.

use super::Chart;
use crate::layout::{NOWHERE, Tally};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// No slot, no copy.
const NONE: usize = usize::MAX;
/// So often a copy is put somewhere, at most, where every packing is to be tried.
const TRIES_MAX: u32 = 100_000;
/// So many slots are looked at for chains, at most, where a chain that is not found proves nothing.
const LOOKS_MAX: u64 = 4_000_000;

/// Where a copy goes: the host, and the lost copy's host in whose domain that is, or [`NOWHERE`].
pub(super) type Seat = (u32, u32);

/// A packing that was found.
pub(super) struct Packed {
    /// By copy.
    pub seats: Vec<Option<Seat>>,
    /// Whether none has more.
    pub is_most: bool,
}

/// A copy that is to be placed.
struct Item {
    store: u32,
    size: u64,
    /// What it takes of a disk.
    takes: u64,
    /// Where it may be for all that stays, places beside a lost copy last.
    seats: Vec<Seat>,
}

/// A free slot.
struct Place {
    host: u32,
    size: u64,
}

/// All free slots and who has them.
#[derive(Clone)]
struct Matching {
    /// By slot, the copy on it.
    on: Vec<usize>,
    /// By copy, its slot.
    at: Vec<usize>,
}

impl Matching {
    fn placed(&self) -> usize {
        self.at.iter().filter(|slot| **slot != NONE).count()
    }
}

/// What a chain of copies that step aside may use.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Edges {
    /// Places in nobody's domain.
    Apart,
    /// Those beside a lost copy too.
    All,
}

/// Which chains count.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Chains {
    /// Those that slots allow.
    OfSlots,
    /// Those after which all rules are kept.
    Kept,
}

pub(super) struct Packing<'c, 'a> {
    chart: &'c Chart<'a>,
    items: Vec<Item>,
    /// In order of hosts, and of size on each.
    slots: Vec<Place>,
    /// By host, where its slots begin.
    first: Vec<usize>,
    /// By host, the bytes it may still hold: less than its free slots have where copies have outgrown theirs.
    room: Vec<u64>,
    /// By store, its copies.
    siblings: BTreeMap<u32, Vec<usize>>,
    /// Which copy a chain reached a slot from.
    came: Vec<usize>,
    looks: u64,
}

impl<'c, 'a> Packing<'c, 'a> {
    /// The copies to be placed, as (store, which of its copies).
    pub fn of(chart: &'c Chart<'a>, open: &[(u32, usize)]) -> Self {
        let (mut slots, mut first) = (Vec::new(), Vec::new());
        for (host, free) in (0u32..).zip(&chart.free) {
            first.push(slots.len());
            slots.extend(free.iter().map(|(size, _)| Place { host, size: *size }));
        }
        first.push(slots.len());
        let items: Vec<Item> = open.iter().map(|(store, _)| item(chart, *store)).collect();
        let mut siblings: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
        items.iter().enumerate().for_each(|(nth, item)| siblings.entry(item.store).or_default().push(nth));
        let held = Tally::without_pairs(&chart.fleet, &chart.layout).bytes;
        let room = chart.fleet.hosts.iter().zip(held).map(|(host, held)| host.bytes.saturating_sub(held)).collect();
        let came = vec![NONE; slots.len()];
        Packing { chart, items, slots, first, room, siblings, came, looks: 0 }
    }

    /// Packs them, beginning with those that have their slots: the host of each, and the size and place of its slot among those of the
    /// host that are free.
    pub fn pack(mut self, held: &[Option<(u32, usize)>]) -> Packed {
        let mut now = Matching { on: vec![NONE; self.slots.len()], at: vec![NONE; self.items.len()] };
        for (item, (host, nth)) in held.iter().enumerate().filter_map(|(item, held)| Some((item, (*held)?))) {
            let slot = self.first[host as usize] + nth;
            (now.at[item], now.on[slot]) = (slot, item);
        }
        let depends = self.depends();
        let chains = if depends { Chains::Kept } else { Chains::OfSlots };
        self.lengthen(&mut now, chains);
        if !depends || now.placed() == self.items.len() {
            return self.packed(&now, true);
        }
        let mut bound = now.clone();
        self.lengthen(&mut bound, Chains::OfSlots);
        self.try_all(&now, bound.placed())
    }

    /// Whether anything but slots can stand between two of the copies.
    fn depends(&self) -> bool {
        let mut most: BTreeMap<u32, u64> = BTreeMap::new();
        for item in &self.items {
            for host in item.seats.iter().map(|(host, _)| *host).collect::<BTreeSet<u32>>() {
                let bytes = most.entry(host).or_default();
                *bytes = bytes.saturating_add(item.takes);
            }
        }
        let is_scarce = |(host, bytes): (&u32, &u64)| {
            let slots = &self.slots[self.fitting(*host, 0)];
            let all = slots.iter().map(|slot| slot.size).fold(0, u64::saturating_add);
            self.room[*host as usize] < all || self.chart.spare[*host as usize].is_some_and(|spare| spare < *bytes)
        };
        self.siblings.values().any(|of_store| of_store.len() > 1) || most.iter().any(is_scarce)
    }

    /// Gives places to copies without one, along chains, until no chain is left.
    fn lengthen(&mut self, now: &mut Matching, chains: Chains) {
        for edges in [Edges::Apart, Edges::All] {
            self.came.fill(NONE);
            for item in 0..self.items.len() {
                if now.at[item] != NONE || chains == Chains::Kept && self.looks >= LOOKS_MAX {
                    continue;
                }
                // What a search that found nothing has reached, no later one comes out of either: it stays marked.
                let found = self.chain(now, item, edges, chains);
                if found || chains == Chains::Kept {
                    self.came.fill(NONE);
                }
            }
        }
    }

    /// One copy gets a slot, others stepping aside for it; breadth first, so that few do.
    fn chain(&mut self, now: &mut Matching, start: usize, edges: Edges, chains: Chains) -> bool {
        let mut queue = VecDeque::from([start]);
        while let Some(item) = queue.pop_front() {
            for seat in 0..self.items[item].seats.len() {
                let (host, beside) = self.items[item].seats[seat];
                if beside != NOWHERE && edges == Edges::Apart
                    || chains == Chains::Kept && !self.is_apart(now, item, host)
                {
                    continue;
                }
                for slot in self.fitting(host, self.items[item].size) {
                    self.looks += 1;
                    if self.came[slot] != NONE {
                        continue;
                    }
                    self.came[slot] = item;
                    let other = now.on[slot];
                    if other != NONE {
                        queue.push_back(other);
                    } else if self.step_aside(now, slot, chains) {
                        return true;
                    }
                }
            }
        }
        false
    }

    /// Carries out the chain that ends at a slot, unless a rule would be broken then.
    fn step_aside(&self, now: &mut Matching, end: usize, chains: Chains) -> bool {
        let (mut slot, mut moved) = (end, Vec::new());
        while slot != NONE {
            let item = self.came[slot];
            let left = std::mem::replace(&mut now.at[item], slot);
            now.on[slot] = item;
            moved.push((item, left, slot));
            slot = left;
        }
        let hosts = moved.iter().map(|(_, _, slot)| self.slots[*slot].host);
        let kept = chains == Chains::OfSlots
            || moved.iter().all(|(item, _, slot)| self.is_apart(now, *item, self.slots[*slot].host))
                && hosts.collect::<BTreeSet<u32>>().into_iter().all(|host| self.has_bytes(now, host));
        if !kept {
            moved.iter().for_each(|(_, _, slot)| now.on[*slot] = NONE);
            for (item, left, _) in moved {
                now.at[item] = left;
                if left != NONE {
                    now.on[left] = item;
                }
            }
        }
        kept
    }

    /// The free slots of a host that are large enough.
    fn fitting(&self, host: u32, size: u64) -> std::ops::Range<usize> {
        let (from, to) = (self.first[host as usize], self.first[host as usize + 1]);
        from + self.slots[from..to].partition_point(|slot| slot.size < size)..to
    }

    fn is_apart(&self, now: &Matching, item: usize, host: u32) -> bool {
        let store = self.items[item].store;
        let level = self.chart.fleet.stores[store as usize].level;
        self.siblings[&store].iter().filter(|other| **other != item && now.at[**other] != NONE).all(|other| {
            let at = self.slots[now.at[*other]].host;
            !self.chart.fleet.share(level, at, host)
        })
    }

    fn has_bytes(&self, now: &Matching, host: u32) -> bool {
        let on = self.fitting(host, 0).map(|slot| now.on[slot]).filter(|item| *item != NONE);
        self.bear(host, on)
    }

    /// Whether a host has the bytes for all of these, and its disk.
    fn bear(&self, host: u32, items: impl Iterator<Item = usize>) -> bool {
        let sum =
            |(size, takes): (u64, u64), item: &Item| (size.saturating_add(item.size), takes.saturating_add(item.takes));
        let (size, takes) = items.map(|item| &self.items[item]).fold((0, 0), sum);
        size <= self.room[host as usize] && self.chart.spare[host as usize].is_none_or(|spare| takes <= spare)
    }

    /// Where the copies of a matching are; of two ways to be on a host the one that is apart from lost copies comes first.
    fn packed(&self, now: &Matching, is_most: bool) -> Packed {
        let seat = |(item, slot): (&Item, &usize)| {
            let host = self.slots.get(*slot)?.host;
            item.seats.iter().copied().find(|(at, _)| *at == host)
        };
        Packed { seats: self.items.iter().zip(&now.at).map(seat).collect(), is_most }
    }

    /// Every packing that has more, until one has as many copies as slots alone allow.
    fn try_all(&self, now: &Matching, at_most: usize) -> Packed {
        let mut best = self.packed(now, true);
        let mut order: Vec<usize> = (0..self.items.len()).collect();
        // Those with the fewest ways first, the largest among them.
        order.sort_by_key(|nth| (self.items[*nth].seats.len(), Reverse(self.items[*nth].size), *nth));
        let mut left = TRIES_MAX;
        loop {
            let without = best.seats.iter().filter(|seat| seat.is_none()).count();
            if self.items.len() - without >= at_most || without == 0 {
                return best;
            }
            let seats = vec![None; self.items.len()];
            let mut trial =
                Trial { packing: self, order: &order, first: &best.seats, seats, on: BTreeMap::new(), left };
            let found = trial.place(0, without - 1);
            left = trial.left;
            match (found, trial.seats) {
                (true, seats) => best.seats = seats,
                (false, _) => return Packed { is_most: left > 0, ..best },
            }
        }
    }
}

/// Where a copy may be for all that stays: on a host without a copy of its store, neither excluded nor too small, and in no
/// domain of one but that of a single lost one.
fn item(chart: &Chart<'_>, store: u32) -> Item {
    let (fleet, spec) = (&chart.fleet, chart.fleet.stores[store as usize]);
    let held: Vec<u32> = chart.layout.copies(fleet, store).iter().copied().filter(|host| *host != NOWHERE).collect();
    let lost = chart.lost.get(&store).map_or(&[][..], Vec::as_slice);
    let takes = chart.takes[store as usize];
    let seat = |host: u32| {
        let is_large = chart.free[host as usize].last().is_some_and(|(size, _)| *size >= spec.size);
        let is_full = chart.spare[host as usize].is_some_and(|spare| spare < takes);
        if !is_large || is_full || held.contains(&host) || fleet.is_excluded(store, host) {
            return None;
        }
        let mut sharing = held.iter().copied().filter(|other| fleet.share(spec.level, *other, host));
        match (sharing.next(), sharing.next()) {
            (None, _) => Some((host, NOWHERE)),
            (Some(one), None) if lost.contains(&one) => Some((host, one)),
            _ => None,
        }
    };
    let mut seats: Vec<Seat> = fleet.active().filter_map(seat).collect();
    seats.sort_by_key(|(host, beside)| (*beside != NOWHERE, *host));
    Item { store, size: spec.size, takes, seats }
}

/// One way after the other to place all copies but a few.
struct Trial<'p, 'c, 'a> {
    packing: &'p Packing<'c, 'a>,
    order: &'p [usize],
    /// Where each is tried first.
    first: &'p [Option<Seat>],
    seats: Vec<Option<Seat>>,
    /// By host, the copies that come to it.
    on: BTreeMap<u32, Vec<usize>>,
    left: u32,
}

impl Trial<'_, '_, '_> {
    /// Places those from the nth on; so many may stay without a place.
    fn place(&mut self, nth: usize, without: usize) -> bool {
        let Some(&item) = self.order.get(nth) else { return true };
        let all = &self.packing.items[item].seats;
        let first = self.first[item];
        let rest = all.iter().copied().filter(|seat| Some(*seat) != first);
        for seat in first.into_iter().chain(rest) {
            if self.left == 0 {
                return false;
            }
            self.left -= 1;
            if !self.may(item, seat.0) {
                continue;
            }
            self.seats[item] = Some(seat);
            self.on.entry(seat.0).or_default().push(item);
            if self.place(nth + 1, without) {
                return true;
            }
            self.on.entry(seat.0).or_default().pop();
            self.seats[item] = None;
        }
        without > 0 && self.place(nth + 1, without - 1)
    }

    /// Whether a copy may join those that come to a host.
    fn may(&self, item: usize, host: u32) -> bool {
        let Packing { chart, items, siblings, slots, .. } = self.packing;
        let store = items[item].store;
        let level = chart.fleet.stores[store as usize].level;
        let seats = siblings[&store].iter().filter_map(|other| self.seats[*other]);
        if seats.into_iter().any(|(at, _)| chart.fleet.share(level, at, host)) {
            return false;
        }
        let here = || self.on.get(&host).into_iter().flatten().copied().chain([item]);
        if !self.packing.bear(host, here()) {
            return false;
        }
        // The largest copies on the largest slots: if that does not fit nothing does.
        let mut sizes: Vec<u64> = here().map(|item| items[item].size).collect();
        sizes.sort_unstable_by_key(|size| Reverse(*size));
        let largest = slots[self.packing.fitting(host, 0)].iter().rev().map(|slot| slot.size);
        sizes.len() <= largest.len() && sizes.iter().zip(largest).all(|(size, slot)| *size <= slot)
    }
}
