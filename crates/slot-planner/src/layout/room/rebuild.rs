//! What one loss takes, and a host for each of it among those that are left.
//!
//! What always holds: a place that is found keeps the hard rules for every copy, those lost beside it included; that there is none is said
//! only where counting or prices say so, or where every packing was tried. What is tried is counted, not timed.

use super::{Free, Question};
use crate::layout::model::*;
use std::cmp::Reverse;
use std::collections::binary_heap::PeekMut;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

/// How often what is lost is placed with others making way, what found no place first; and copies times hosts looked at in all of it.
const ROUNDS_MAX: usize = 4;
const WORK_MAX: usize = 1_000_000;

/// A store that is there, or one of the new ones.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Name {
    Known(u32),
    New(u32),
}

/// A copy that is lost, with where all of its store's are.
pub(super) struct LostCopy<'a> {
    pub size: u64,
    pub level: u8,
    pub name: Name,
    /// The host that it is lost with.
    pub from: u32,
    pub copies: &'a [u32],
}

/// The hosts that are gone, to be asked often.
pub(super) struct Gone {
    is: Vec<bool>,
    count: usize,
}

impl Gone {
    pub fn of(fleet: &Fleet, hosts: &[u32]) -> Gone {
        let mut is = vec![false; fleet.hosts.len()];
        hosts.iter().for_each(|host| is[*host as usize] = true);
        Gone { is, count: hosts.len() }
    }
    #[inline]
    pub fn has(&self, host: u32) -> bool {
        self.is[host as usize]
    }
    /// Those of a store's hosts that are left.
    #[inline]
    pub fn stays<'c>(&self, copies: &'c [u32]) -> impl Iterator<Item = u32> + use<'_, 'c> {
        copies.iter().copied().filter(|host| *host != NOWHERE && !self.has(*host))
    }
}

/// What is known of a rebuilding.
pub(super) enum Found {
    /// A host for each lost copy.
    At(Vec<u32>),
    /// There is none.
    Nowhere,
    /// None was found.
    Unknown,
}

/// One loss.
pub(super) struct Rebuilding<'a> {
    pub question: &'a Question<'a>,
    pub free: &'a Free,
    pub gone: Gone,
    /// The largest first.
    pub lost: Vec<LostCopy<'a>>,
    /// For each of them the next one of its store, round and round: itself where it is the only one.
    twin: Vec<u32>,
}

impl<'a> Rebuilding<'a> {
    /// Of copies that are lost with these hosts.
    pub fn of(question: &'a Question<'a>, free: &'a Free, hosts: &[u32], mut lost: Vec<LostCopy<'a>>) -> Self {
        let gone = Gone::of(question.fleet, hosts);
        lost.sort_by_key(|copy| Reverse(copy.size));
        let mut twin: Vec<u32> = (0..).take(lost.len()).collect();
        let mut first: BTreeMap<Name, usize> = BTreeMap::new();
        for (nth, copy) in lost.iter().enumerate() {
            let is_there = |host: &&u32| **host != NOWHERE && gone.has(**host);
            if copy.copies.iter().filter(is_there).nth(1).is_some() {
                let first = *first.entry(copy.name).or_insert(nth);
                twin.swap(first, nth);
            }
        }
        Rebuilding { question, free, gone, lost, twin }
    }

    /// The active hosts that are left.
    pub fn left(&self) -> impl Iterator<Item = u32> + '_ {
        self.question.fleet.active().filter(|host| !self.gone.has(*host))
    }

    /// Whether all that can be read of a store that asks for so many copies, or more, is lost.
    pub fn takes_a_last_copy(&self, of: u8) -> bool {
        let fleet = self.question.fleet;
        self.lost.iter().any(|copy| {
            let asked = match copy.name {
                Name::Known(store) => fleet.stores[store as usize].copies,
                Name::New(_) => self.question.ask.copies,
            };
            asked >= of && !self.gone.stays(copy.copies).any(|host| fleet.hosts[host as usize].is_readable())
        })
    }

    /// Whether a host may have a copy, its room apart: the others of its store being where they are, lost ones where `at` says.
    #[inline]
    pub fn may(&self, nth: usize, host: u32, at: &[u32]) -> bool {
        let copy = &self.lost[nth];
        let apart = |other: u32| other == NOWHERE || !self.question.fleet.share(copy.level, other, host);
        self.question.may(copy, &self.gone, host) && self.twins(nth).all(|other| apart(at[other]))
    }

    /// Whether a copy is the only one that its store loses.
    pub fn is_alone(&self, nth: usize) -> bool {
        self.twin[nth] as usize == nth
    }

    fn twins(&self, nth: usize) -> impl Iterator<Item = usize> + '_ {
        let next = move |other: usize| Some(self.twin[other] as usize).filter(|other| *other != nth);
        std::iter::successors(next(nth), move |other| next(*other))
    }

    /// A host for each copy, as far as that is found.
    pub fn find(&self, roomiest: &[u32]) -> Found {
        if let Some(at) = self.one_each(roomiest).or_else(|| self.by_room()) {
            return Found::At(at);
        }
        if self.has_no_room() {
            return Found::Nowhere;
        }
        if let Some(at) = self.making_way() {
            return Found::At(at);
        }
        match self.every() {
            Found::Unknown => self.by_exchange(),
            found => found,
        }
    }

    /// The common case, without a copy of what is free: as many roomy hosts as there are copies, each taking one.
    fn one_each(&self, roomiest: &[u32]) -> Option<Vec<u32>> {
        let mut used = vec![false; roomiest.len().min(self.lost.len() * 2 + self.gone.count)];
        let (mut from, mut at) = (0, Vec::with_capacity(self.lost.len()));
        if self.lost.len() > roomiest.len() {
            return None;
        }
        for (nth, copy) in self.lost.iter().enumerate() {
            while used.get(from) == Some(&true) {
                from += 1;
            }
            let able = |place: &usize| {
                let host = roomiest[*place];
                !used[*place] && !self.gone.has(host) && self.free.fits(host, copy.size) && self.may(nth, host, &[])
            };
            // Two lost copies of one store must not come together again: those are left to the slower way.
            let place = (from..used.len()).filter(|_| self.is_alone(nth)).find(able)?;
            used[place] = true;
            at.push(roomiest[place]);
        }
        Some(at)
    }

    /// The largest first, each on the host with the most bytes free that may hold it.
    fn by_room(&self) -> Option<Vec<u32>> {
        let mut at = vec![NOWHERE; self.lost.len()];
        let mut slots = self.free.slots.clone();
        let able = self.left().filter(|host| slots[*host as usize] > 0);
        let mut roomy: BinaryHeap<(u64, Reverse<u32>)> =
            able.map(|host| (self.free.bytes[host as usize], Reverse(host))).collect();
        let mut passed = Vec::new();
        for (nth, copy) in self.lost.iter().enumerate() {
            at[nth] = loop {
                let mut top = roomy.peek_mut()?;
                let (bytes, Reverse(host)) = *top;
                if bytes < copy.size {
                    return None;
                }
                if !self.may(nth, host, &at) {
                    passed.push(PeekMut::pop(top));
                    continue;
                }
                slots[host as usize] -= 1;
                top.0 -= copy.size;
                if slots[host as usize] == 0 {
                    PeekMut::pop(top);
                }
                break host;
            };
            roomy.extend(passed.drain(..));
        }
        Some(at)
    }

    /// The same, or each on the host with the least that may hold it; where there is none, one that was placed so makes way and is placed
    /// again (augmenting paths, which for copies of one size find a way whenever there is one). What found no place even so comes first
    /// in another round.
    fn making_way(&self) -> Option<Vec<u32>> {
        let mut order: Vec<usize> = (0..self.lost.len()).collect();
        let rounds = WORK_MAX / (self.lost.len() * self.gone.is.len()).max(1);
        for round in 0..rounds.clamp(1, ROUNDS_MAX) {
            let mut yard = Yard::of(self, round % 2 == 1);
            match order.iter().position(|nth| !yard.settle(*nth)) {
                None => return Some(yard.at),
                Some(stuck) => order[..=stuck].rotate_right(1),
            }
        }
        None
    }
}

/// What is free while a loss is rebuilt, and where its copies went.
pub(super) struct Yard<'r> {
    of: &'r Rebuilding<'r>,
    free: Free,
    order: BTreeSet<(Reverse<u64>, u32)>,
    on: Vec<Vec<usize>>,
    pub at: Vec<u32>,
    /// Whether a copy goes where it leaves the least bytes free.
    tight: bool,
}

impl<'r> Yard<'r> {
    pub fn of(of: &'r Rebuilding<'r>, tight: bool) -> Yard<'r> {
        let order = of.left().map(|host| (Reverse(of.free.bytes[host as usize]), host)).collect();
        let on = vec![Vec::new(); of.question.fleet.hosts.len()];
        Yard { of, free: of.free.clone(), order, on, at: vec![NOWHERE; of.lost.len()], tight }
    }

    /// Gives a copy a host, others making way for it.
    pub fn settle(&mut self, nth: usize) -> bool {
        self.make_way(nth, &mut BTreeSet::new())
    }

    fn make_way(&mut self, nth: usize, seen: &mut BTreeSet<u32>) -> bool {
        let size = self.of.lost[nth].size;
        let fits = |host: &u32| self.free.fits(*host, size) && self.of.may(nth, *host, &self.at);
        let mut hosts = self.order.iter().map(|(_, host)| *host);
        let found = if self.tight { hosts.rfind(fits) } else { hosts.find(fits) };
        if let Some(host) = found {
            self.put(nth, host);
            return true;
        }
        let able = |host: &u32| self.of.may(nth, *host, &self.at);
        let hosts: Vec<u32> = self.order.iter().map(|(_, host)| *host).filter(able).collect();
        for host in hosts {
            if !seen.insert(host) {
                continue;
            }
            for other in self.on[host as usize].clone() {
                let lost = &self.of.lost;
                let enough = self.free.bytes[host as usize] + lost[other].size >= size;
                if !enough || lost[other].name == lost[nth].name {
                    continue;
                }
                self.lift(other);
                // The place is taken first, so that the one that makes way does not come back to it.
                self.put(nth, host);
                if self.make_way(other, seen) {
                    return true;
                }
                self.lift(nth);
                self.put(other, host);
            }
        }
        false
    }

    fn put(&mut self, nth: usize, host: u32) {
        self.order.remove(&(Reverse(self.free.bytes[host as usize]), host));
        self.free.take(host, self.of.lost[nth].size);
        self.order.insert((Reverse(self.free.bytes[host as usize]), host));
        self.on[host as usize].push(nth);
        self.at[nth] = host;
    }

    fn lift(&mut self, nth: usize) {
        let host = std::mem::replace(&mut self.at[nth], NOWHERE);
        self.order.remove(&(Reverse(self.free.bytes[host as usize]), host));
        self.free.give_back(host, self.of.lost[nth].size);
        self.order.insert((Reverse(self.free.bytes[host as usize]), host));
        self.on[host as usize].retain(|other| *other != nth);
    }
}
