//! Where the copies are while the solver works.
//!
//! What always holds: bytes, slots and shared stores are those of the copies that are somewhere; shared stores are counted where
//! anybody will ask for them.

use super::aims::Aims;
use super::refine;
use crate::layout::model::*;
use crate::layout::pairs::Pairs;

pub(super) struct Board<'a> {
    pub fleet: &'a Fleet,
    pub aims: &'a Aims,
    /// Where each copy was.
    pub origin: &'a [u32],
    /// Where it is.
    pub at: Vec<u32>,
    /// Its store.
    pub owner: Vec<u32>,
    pub bytes: Vec<u64>,
    pub slots: Vec<u32>,
    /// Masters, by where they were.
    pub load: Vec<u64>,
    /// (lower host, higher host): stores they share.
    shared: Pairs,
    /// (host, other host): stores that the first one led and of which the other holds a copy, as long as the master has not moved.
    led: Option<Pairs>,
    /// Hosts of which one is in every pair that is counted; every pair is if empty.
    watched: Vec<bool>,
}

impl<'a> Board<'a> {
    /// With the stores that hosts share counted for all pairs, or for those alone with a host that keeps another copy of what
    /// has to leave or is nowhere: nothing else is ever asked where nothing else moves.
    pub fn of(fleet: &'a Fleet, before: &'a Layout, aims: &'a Aims, all_pairs: bool) -> Board<'a> {
        let watched = if all_pairs { None } else { beside_homeless(fleet, before) };
        let pairs = if watched.is_some() { 0 } else { before.at.len() };
        let tally = Tally::without_pairs(fleet, before);
        let mut board = Board {
            fleet,
            aims,
            origin: &before.at,
            at: before.at.clone(),
            owner: Vec::with_capacity(before.at.len()),
            bytes: tally.bytes,
            slots: tally.slots,
            load: tally.load,
            shared: Pairs::for_copies(pairs),
            led: (all_pairs && !refine::is_small(fleet)).then(|| Pairs::for_copies(pairs)),
            watched: watched.unwrap_or_default(),
        };
        for number in 0..fleet.stores.len() as u32 {
            let range = fleet.range(number);
            board.owner.extend(std::iter::repeat_n(number, range.len()));
            for copy in range.clone() {
                for other in range.start..copy {
                    board.share((copy as u32, before.at[copy]), (other as u32, before.at[other]));
                }
            }
        }
        board
    }
    /// Counts that two copies of a store are on these hosts.
    fn share(&mut self, (copy, host): (u32, u32), (other, with): (u32, u32)) {
        let is_pair = host != NOWHERE && with != NOWHERE && with != host;
        if is_pair && self.is_counted(with, host) {
            self.shared.add(with.min(host), with.max(host), 1);
            let leads = self.leads((copy, host), (other, with));
            if let (Some((leader, other)), Some(led)) = (leads, &mut self.led) {
                led.add(leader, other, 1);
            }
        }
    }
    pub fn store(&self, copy: u32) -> &'a Store {
        &self.fleet.stores[self.owner[copy as usize] as usize]
    }
    pub fn size(&self, copy: u32) -> u64 {
        self.store(copy).size
    }
    /// The other copies of a copy's store that are somewhere.
    pub fn siblings(&self, copy: u32) -> impl Iterator<Item = u32> + '_ {
        let range = self.fleet.range(self.owner[copy as usize]);
        let others = range.filter(move |other| *other != copy as usize);
        others.map(|other| self.at[other]).filter(|host| *host != NOWHERE)
    }
    pub fn put(&mut self, copy: u32, host: u32) {
        let range = self.fleet.range(self.owner[copy as usize]);
        for other in range.filter(|other| *other != copy as usize) {
            self.share((copy, host), (other as u32, self.at[other]));
        }
        self.at[copy as usize] = host;
        self.bytes[host as usize] += self.size(copy);
        self.slots[host as usize] += 1;
    }
    pub fn lift(&mut self, copy: u32) -> u32 {
        let host = self.at[copy as usize];
        let range = self.fleet.range(self.owner[copy as usize]);
        for other in range.filter(|other| *other != copy as usize) {
            let with = self.at[other];
            if with != NOWHERE && with != host && self.is_counted(with, host) {
                self.shared.sub(with.min(host), with.max(host), 1);
                let leads = self.leads((copy, host), (other as u32, with));
                if let (Some((leader, other)), Some(led)) = (leads, &mut self.led) {
                    led.sub(leader, other, 1);
                }
            }
        }
        self.at[copy as usize] = NOWHERE;
        self.bytes[host as usize] -= self.size(copy);
        self.slots[host as usize] -= 1;
        host
    }
    /// Of two copies on hosts the host of the one that leads, where it always did, and the other's.
    fn leads(&self, (a, on): (u32, u32), (b, with): (u32, u32)) -> Option<(u32, u32)> {
        let stays = |copy: u32, host: u32| self.is_master(copy) && self.origin[copy as usize] == host;
        if stays(a, on) { Some((on, with)) } else { stays(b, with).then_some((with, on)) }
    }
    /// Whether a copy can be on a host beside the others that its master's host leads there: of what is above, one has to be handed over.
    pub fn is_calm(&self, copy: u32, host: u32) -> bool {
        let first = self.fleet.first[self.owner[copy as usize] as usize];
        let master = self.at[first as usize];
        let stays = first != copy && master != NOWHERE && master == self.origin[first as usize];
        !stays || self.led.as_ref().is_none_or(|led| led.get(master, host) < self.aims.shared / 2)
    }
    /// The other host, where a copy is one of more that its master's host leads on the same one than the worst survivor's level allows.
    pub fn too_many_led(&self, copy: u32) -> Option<u32> {
        let led = self.led.as_ref()?;
        let (range, host) = (self.fleet.range(self.owner[copy as usize]), self.at[copy as usize]);
        let first = range.start as u32;
        let (master, moved) = (self.at[range.start], self.at[range.start] != self.origin[range.start]);
        let above = |other: u32| led.get(master, other) > self.aims.shared / 2;
        if master == NOWHERE || moved {
            return None;
        }
        if copy != first {
            return above(host).then_some(master);
        }
        self.siblings(copy).find(|other| above(*other))
    }
    fn is_counted(&self, a: u32, b: u32) -> bool {
        self.watched.is_empty() || self.watched[a as usize] || self.watched[b as usize]
    }
    pub fn shared(&self, a: u32, b: u32) -> u32 {
        debug_assert!(self.is_counted(a, b), "what {a} and {b} share is not counted");
        self.shared.get(a.min(b), a.max(b))
    }
    pub fn is_pinned(&self, copy: u32) -> bool {
        let store = self.owner[copy as usize];
        self.fleet.is_pinned(store, self.origin[copy as usize]) || self.is_lost(store)
    }
    fn is_lost(&self, store: u32) -> bool {
        self.fleet.is_lost_at(&self.origin[self.fleet.range(store)])
    }
    pub fn is_master(&self, copy: u32) -> bool {
        self.fleet.first[self.owner[copy as usize] as usize] == copy
    }
    /// Bytes above what a host should have; negative when below.
    pub fn over(&self, host: u32) -> i64 {
        let (is, aim) = (self.bytes[host as usize], self.aims.bytes[host as usize]);
        i64::try_from(is).unwrap_or(i64::MAX) - i64::try_from(aim).unwrap_or(i64::MAX)
    }
    /// Lifts what may not stay where it is, and lists it with what is nowhere; of these what the caller is about.
    pub fn homeless(&mut self, about: impl Fn(u32) -> bool) -> Vec<u32> {
        let mut found = Vec::new();
        for copy in 0..self.at.len() as u32 {
            let host = self.at[copy as usize];
            let is_homeless = host == NOWHERE || !self.fleet.may_stay(host);
            if !is_homeless || !about(host) || self.is_lost(self.owner[copy as usize]) {
                continue;
            }
            if host == NOWHERE {
                found.push(copy);
            } else if !self.is_pinned(copy) {
                self.lift(copy);
                found.push(copy);
            }
        }
        found
    }
    /// Whether a copy may be on a host for all rules that are hard, room apart.
    pub fn may(&self, copy: u32, host: u32) -> bool {
        let level = self.store(copy).level;
        self.fleet.hosts[host as usize].is_active()
            && self.slots[host as usize] < self.fleet.hosts[host as usize].slots
            && self.size(copy) <= self.fleet.hosts[host as usize].largest
            && self.siblings(copy).all(|other| !self.fleet.share(level, other, host))
            && !self.fleet.is_excluded(self.owner[copy as usize], host)
    }
    /// Whether a copy's pairs with its siblings stay within what two hosts may share.
    pub fn thin(&self, copy: u32, host: u32) -> bool {
        self.siblings(copy).all(|other| self.shared(other, host) < self.aims.shared)
    }
    /// Copies by host.
    pub fn by_host(&self) -> ByHost {
        ByHost::of(&self.at, self.fleet.hosts.len())
    }
}

/// The hosts with another copy of a store of which one has to leave, or is nowhere. [`None`] where a store has two such copies: the
/// place of the first is then asked for with the second, and it may be anywhere.
fn beside_homeless(fleet: &Fleet, before: &Layout) -> Option<Vec<bool>> {
    let mut beside = vec![false; fleet.hosts.len()];
    let is_homeless = |host: u32| host == NOWHERE || !fleet.may_stay(host);
    for store in 0..fleet.stores.len() as u32 {
        let copies = before.copies(fleet, store);
        match copies.iter().filter(|host| is_homeless(**host)).count() {
            0 => {}
            1 => copies.iter().filter(|host| !is_homeless(**host)).for_each(|host| beside[*host as usize] = true),
            _ => return None,
        }
    }
    Some(beside)
}

/// Copies by host, those of each in ascending order.
pub(super) struct ByHost {
    first: Vec<u32>,
    copies: Vec<u32>,
}

impl ByHost {
    pub fn of(at: &[u32], hosts: usize) -> ByHost {
        let mut first = vec![0u32; hosts + 1];
        for host in at.iter().filter(|host| **host != NOWHERE) {
            first[*host as usize + 1] += 1;
        }
        for host in 0..hosts {
            first[host + 1] += first[host];
        }
        let (mut next, mut copies) = (first.clone(), vec![0; first[hosts] as usize]);
        for (copy, host) in (0..).zip(at).filter(|(_, host)| **host != NOWHERE) {
            copies[next[*host as usize] as usize] = copy;
            next[*host as usize] += 1;
        }
        ByHost { first, copies }
    }
    pub fn of_host(&self, host: u32) -> &[u32] {
        &self.copies[self.first[host as usize] as usize..self.first[host as usize + 1] as usize]
    }
}
