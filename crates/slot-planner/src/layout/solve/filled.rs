//! A layout while it is searched, with what it costs kept up to date.
//!
//! What always holds: [`Filled::cost`] is what counting it from nothing would give; [`Filled::undo`] takes back everything since the
//! last [`Filled::keep`].

use super::aims::Aims;
use crate::layout::figures::share_at;
use crate::layout::model::{Fleet, Layout, NOWHERE};

/// Loads are counted so many times, so that a loss can be shared among up to four replicas in whole numbers.
const PARTS: i32 = 12;
/// A copy of mean size costs so much to move; everything else is told in the same unit.
const COPY: i64 = 1_024;
/// A rule that is broken, and while mending.
const BROKEN: i64 = COPY * 4_096;
const BROKEN_CHEAP: i64 = COPY * 3;
/// A store's load beyond what a host should have, in ordinary times and after a loss.
const LOAD: i64 = COPY * 12;
const SURVIVOR: i64 = COPY * 6;
/// A byte beyond what a host should have, in bytes moved.
const FULL: i64 = 6;
/// A master that changes host.
const CHANGE: i64 = COPY / 24;

pub(super) struct Filled<'a> {
    pub fleet: &'a Fleet,
    pub before: &'a Layout,
    /// Each copy's host, the master first.
    pub at: Vec<u32>,
    pub owner: Vec<u32>,
    /// Stores by the host of their master, and where each stands in that list.
    pub led: Vec<Vec<u32>>,
    nth: Vec<u32>,
    lost: Vec<bool>,
    bytes: Vec<u64>,
    slots: Vec<u32>,
    load: Vec<i32>,
    /// What each host takes when another is lost, row by row.
    takes: Vec<i32>,
    /// By host: how far it would be above its limit, summed over all losses.
    above: Vec<i64>,
    /// The same in [`COPY`]ths of a mean copy, and what it should not exceed.
    units: Vec<i64>,
    aim_units: Vec<i64>,
    /// Of each store's copies.
    size: Vec<i64>,
    aim_load: Vec<i32>,
    limit: Vec<i32>,
    /// The least load of a store: the unit of loads.
    least: i64,
    loads: i64,
    survivors: i64,
    full: i64,
    moved: i64,
    changed: i64,
    broken: i64,
    /// What a broken rule costs.
    breaking: i64,
    /// (copy, host) before each change since the last keep.
    done: Vec<(Change, u32, u32)>,
}

/// How far it is from its limits.
#[derive(Clone, Copy)]
pub(super) struct Short {
    /// Rules broken.
    pub broken: i64,
    loads: i64,
    survivors: i64,
}

impl Short {
    /// Whether no survivor is above its limit, and the rest no worse than this.
    pub fn is_within(self, first: Short) -> bool {
        self.survivors == 0 && self.loads <= first.loads && self.broken <= first.broken
    }
}

#[derive(Clone, Copy)]
enum Change {
    Placed,
    Led,
}

impl<'a> Filled<'a> {
    /// Above this much load in all, parts of it do not fit the table.
    pub const LOAD_MAX: u64 = i32::MAX as u64 / 4 / PARTS as u64;

    pub fn of(fleet: &'a Fleet, before: &'a Layout, start: &Layout, aims: &Aims) -> Filled<'a> {
        let hosts = fleet.hosts.len();
        let parts = |load: u64| i32::try_from(load.min(Self::LOAD_MAX * 2)).unwrap_or(0) * PARTS;
        let limit = fleet.hosts.iter().map(|host| parts(share_at(aims.survivor, host.weight)));
        let all: u128 = fleet.stores.iter().map(|store| u128::from(store.size)).sum();
        let mean = (all / fleet.stores.len().max(1) as u128).max(1);
        let in_copies = |bytes: u64, up: bool| {
            let copies = (u128::from(bytes) * COPY as u128 + if up { mean - 1 } else { 0 }) / mean;
            i64::try_from(copies).unwrap_or(i64::MAX).min(i64::MAX >> 20)
        };
        let mut filled = Filled {
            fleet,
            before,
            at: vec![NOWHERE; start.at.len()],
            owner: vec![0; start.at.len()],
            led: vec![Vec::new(); hosts],
            nth: vec![0; fleet.stores.len()],
            lost: vec![false; fleet.stores.len()],
            bytes: vec![0; hosts],
            slots: vec![0; hosts],
            load: vec![0; hosts],
            takes: vec![0; hosts * hosts],
            above: vec![0; hosts],
            units: vec![0; hosts],
            aim_units: aims.bytes.iter().map(|bytes| in_copies(*bytes, false)).collect(),
            size: fleet.stores.iter().map(|store| in_copies(store.size, true)).collect(),
            aim_load: aims.load.iter().map(|load| parts(*load)).collect(),
            limit: limit.collect(),
            least: i64::from(fleet.stores.iter().map(|store| store.load).min().unwrap_or(1).max(1)) * i64::from(PARTS),
            loads: 0,
            survivors: 0,
            full: 0,
            moved: 0,
            changed: 0,
            broken: 0,
            breaking: BROKEN,
            done: Vec::new(),
        };
        for store in 0..fleet.stores.len() as u32 {
            filled.lost[store as usize] = fleet.is_lost(store, before);
            let range = fleet.range(store);
            range.clone().for_each(|copy| filled.owner[copy] = store);
            // A new store has all copies somewhere else than before, and none of them is there.
            for copy in range.clone() {
                filled.at[copy] = start.at[copy];
                filled.fill(start.at[copy], store, true);
            }
            filled.share(store, 1);
            filled.count(store, true);
        }
        filled
    }
    /// What is short, and what it costs to be there.
    pub fn cost(&self) -> i64 {
        self.broken * self.breaking
            + self.loads * LOAD / self.least
            + self.survivors * SURVIVOR / self.least
            + self.full * FULL
            + self.moved
            + self.changed * CHANGE
    }
    pub fn make_breaking_cheap(&mut self) {
        self.breaking = BROKEN_CHEAP;
    }
    pub fn is_lost(&self, store: u32) -> bool {
        self.lost[store as usize]
    }
    /// A host that held a copy of this copy's store and holds none now.
    pub fn home_of(&self, copy: usize) -> Option<u32> {
        let store = self.owner[copy];
        let now = &self.at[self.fleet.range(store)];
        self.before.copies(self.fleet, store).iter().copied().find(|host| *host != NOWHERE && !now.contains(host))
    }
    /// Whether a host can take a copy without breaking a rule that is kept now.
    pub fn may_take(&self, copy: usize, to: u32) -> bool {
        let store = &self.fleet.stores[self.owner[copy] as usize];
        let host = &self.fleet.hosts[to as usize];
        self.may_be(copy, to)
            && self.slots[to as usize] < host.slots
            && self.bytes[to as usize] + store.size <= host.bytes
    }
    /// Whether a copy can be back where it was, though a rule is broken there: no rule that new copies keep.
    pub fn may_return(&self, copy: usize, home: u32) -> bool {
        let store = self.owner[copy];
        let (spec, host) = (&self.fleet.stores[store as usize], &self.fleet.hosts[home as usize]);
        let was = self.before.copies(self.fleet, store);
        let mut others = self.fleet.range(store).filter(|other| *other != copy).map(|other| self.at[other]);
        others.all(|other| other == NOWHERE || was.contains(&other) || !self.fleet.share(spec.level, other, home))
            && self.slots[home as usize] < host.slots
            && self.bytes[home as usize] + spec.size <= host.bytes
    }
    /// Whether a copy was built here of what its store was missing, and may be missing again.
    pub fn may_be_nowhere(&self, copy: usize) -> bool {
        let range = self.fleet.range(self.owner[copy]);
        let missing = |at: &[u32]| at.iter().filter(|host| **host == NOWHERE).count();
        self.at[copy] != NOWHERE && missing(&self.at[range.clone()]) < missing(&self.before.at[range])
    }
    /// Whether two copies can be exchanged without breaking a rule.
    pub fn may_exchange(&self, one: usize, other: usize) -> bool {
        let (a, b) = (self.at[one], self.at[other]);
        let size = |copy: usize| self.fleet.stores[self.owner[copy] as usize].size;
        let fits = |host: u32, leaves: u64, comes: u64| {
            let (has, room) = (self.bytes[host as usize], self.fleet.hosts[host as usize].bytes);
            comes <= leaves || has - leaves + comes <= room
        };
        self.may_be(one, b)
            && self.may_be(other, a)
            && fits(a, size(one), size(other))
            && fits(b, size(other), size(one))
    }
    fn may_be(&self, copy: usize, to: u32) -> bool {
        let store = self.owner[copy];
        let level = self.fleet.stores[store as usize].level;
        let mut others = self.fleet.range(store).filter(|other| *other != copy).map(|other| self.at[other]);
        self.fleet.hosts[to as usize].is_active()
            && self.at[copy] != to
            && others.all(|other| other == NOWHERE || !self.fleet.share(level, other, to))
            && !self.fleet.is_excluded(store, to)
    }
    /// Moves a copy.
    pub fn place(&mut self, copy: usize, to: u32) {
        self.done.push((Change::Placed, copy as u32, self.at[copy]));
        self.put(copy, to);
    }
    /// Makes a copy its store's master.
    pub fn lead(&mut self, store: u32, copy: usize) {
        self.done.push((Change::Led, store, copy as u32));
        self.swap(store, copy);
    }
    /// What was done stays.
    pub fn keep(&mut self) {
        self.done.clear();
    }
    pub fn short(&self) -> Short {
        Short { broken: self.broken, loads: self.loads, survivors: self.survivors }
    }
    /// Takes back what was done.
    pub fn undo(&mut self) {
        while let Some((change, what, was)) = self.done.pop() {
            match change {
                Change::Placed => self.put(what as usize, was),
                Change::Led => self.swap(what, was as usize),
            }
        }
    }
    fn put(&mut self, copy: usize, to: u32) {
        let (store, from) = (self.owner[copy], self.at[copy]);
        self.count(store, false);
        self.share(store, -1);
        self.fill(from, store, false);
        self.at[copy] = to;
        self.fill(to, store, true);
        self.share(store, 1);
        self.count(store, true);
    }
    fn swap(&mut self, store: u32, copy: usize) {
        let first = self.fleet.first[store as usize] as usize;
        let was = self.before.at[first];
        self.changed -= i64::from(self.at[first] != was);
        self.broken -= self.misled(first);
        self.share(store, -1);
        self.at.swap(first, copy);
        self.share(store, 1);
        self.broken += self.misled(first);
        self.changed += i64::from(self.at[first] != was);
    }
    /// Whether a master is where none may be.
    fn misled(&self, first: usize) -> i64 {
        let host = self.at[first];
        i64::from(host == NOWHERE || !self.fleet.hosts[host as usize].is_active())
    }
    fn fill(&mut self, host: u32, store: u32, comes: bool) {
        if host == NOWHERE {
            return;
        }
        let (host, store) = (host as usize, store as usize);
        let (size, units) = (self.fleet.stores[store].size, self.size[store]);
        self.full -= self.over(host);
        if comes {
            (self.bytes[host], self.slots[host]) = (self.bytes[host] + size, self.slots[host] + 1);
            self.units[host] += units;
        } else {
            (self.bytes[host], self.slots[host]) = (self.bytes[host] - size, self.slots[host] - 1);
            self.units[host] -= units;
        }
        self.full += self.over(host);
    }
    fn over(&self, host: usize) -> i64 {
        (self.units[host] - self.aim_units[host]).max(0)
    }
    /// Counts a store's copies in, or out: what is broken, moved and changed.
    fn count(&mut self, store: u32, comes: bool) {
        let (range, level) = (self.fleet.range(store), self.fleet.stores[store as usize].level);
        let sign = if comes { 1 } else { -1 };
        let was = self.before.copies(self.fleet, store);
        let (mut moved, mut broken) = (0, self.misled(range.start));
        for copy in range.clone() {
            let host = self.at[copy];
            if host == NOWHERE {
                broken += 1;
                continue;
            }
            moved += i64::from(!was.contains(&host));
            broken += i64::from(!self.fleet.may_stay(host)) + i64::from(self.fleet.is_excluded(store, host));
            let later = self.at[copy + 1..range.end].iter();
            broken += later.filter(|o| **o != NOWHERE && self.fleet.share(level, host, **o)).count() as i64;
        }
        self.broken += sign * broken;
        self.moved += sign * moved * self.size[store as usize];
        self.changed += sign * i64::from(self.at[range.start] != was[0]);
    }
    /// Counts a store's load in, or out: at its master, and where it goes when the master's host is lost.
    fn share(&mut self, store: u32, sign: i32) {
        let range = self.fleet.range(store);
        let master = self.at[range.start];
        if master == NOWHERE {
            return;
        }
        let others = range.len().saturating_sub(1).max(1) as i32;
        let parts = sign * self.fleet.stores[store as usize].load as i32 * PARTS;
        for copy in range.start + 1..range.end {
            let host = self.at[copy];
            if host != NOWHERE && host != master {
                self.take(host as usize, master as usize, parts / others);
            }
        }
        self.carry(master as usize, parts);
        if sign > 0 {
            self.nth[store as usize] = self.led[master as usize].len() as u32;
            self.led[master as usize].push(store);
        } else {
            let nth = self.nth[store as usize] as usize;
            self.led[master as usize].swap_remove(nth);
            if let Some(other) = self.led[master as usize].get(nth) {
                self.nth[*other as usize] = nth as u32;
            }
        }
    }
    /// What a host takes when another is lost changes.
    fn take(&mut self, host: usize, lost: usize, more: i32) {
        let base = self.load[host] - self.limit[host];
        let takes = &mut self.takes[host * self.load.len() + lost];
        let was = (base + *takes).max(0);
        *takes += more;
        let change = i64::from((base + *takes).max(0) - was);
        self.above[host] += change;
        self.survivors += change;
    }
    /// What a host carries in ordinary times changes.
    fn carry(&mut self, host: usize, more: i32) {
        self.loads -= i64::from((self.load[host] - self.aim_load[host]).max(0));
        self.load[host] += more;
        self.loads += i64::from((self.load[host] - self.aim_load[host]).max(0));
        let (base, hosts) = (self.load[host] - self.limit[host], self.load.len());
        let row = &self.takes[host * hosts..(host + 1) * hosts];
        let above: i64 = i64::from(row.iter().map(|takes| (base + takes).max(0)).sum::<i32>());
        self.survivors += above - self.above[host];
        self.above[host] = above;
    }
}
