//! How many more stores fit while any one host, or any one rack, may still be lost.
//!
//! What always holds: `fits` is shown by a placement that was made and by every loss having been rebuilt on what is left of it, by
//! the hard rules, no store of several copies having lost them all; `at_most` is a counting argument and never lower. Between
//! the two lies what greedy packing may miss: packing copies of many sizes is hard in general. Of small fleets every placement
//! is tried ([`search`]), so that there `fits` is the most there can be.

mod deny;
mod exchange;
mod prices;
mod rebuild;
mod search;
mod survival;
mod three;

pub use survival::{Survival, not_survivable, rebuilding, survivals};

use super::loss::Index;
use super::model::*;
use rebuild::{Found, Gone, LostCopy, Name, Rebuilding, Yard};
use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

/// Steps of the slower ways to pack what is lost, in all losses of one question.
const STEPS_MAX: u64 = 1_000_000;

/// More stores than this are not counted: where [`Room::at_most`] is this it may be more.
pub const COUNTED_MAX: u32 = u32::MAX - 1;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Bytes of each copy of a new store.
    pub size: u64,
    /// Its copies.
    pub copies: u8,
    /// What two of them may not share.
    pub level: u8,
    /// What may be lost at once: one domain of this level; [`None`] asks without any loss.
    pub survive: Option<u8>,
}

/// What stands in the way of one more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// No place for its copies.
    Places,
    /// After the loss of this domain, copies that were there could not be rebuilt.
    Loss {
        /// Its number on the level that was asked for.
        domain: u32,
    },
}

/// The answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// So many fit.
    pub fits: u32,
    /// No planner can place more.
    pub at_most: u32,
    /// Why not one more.
    pub limit: Limit,
    /// Whether what is there now survives every loss that is asked about.
    pub safe: bool,
}

/// What is free on each active host.
#[derive(Clone, Debug)]
struct Free {
    bytes: Vec<u64>,
    slots: Vec<u32>,
    largest: Vec<u64>,
}

impl Free {
    fn fits(&self, host: u32, size: u64) -> bool {
        self.bytes[host as usize] >= size && self.slots[host as usize] > 0 && self.largest[host as usize] >= size
    }
    fn take(&mut self, host: u32, size: u64) {
        self.bytes[host as usize] -= size;
        self.slots[host as usize] -= 1;
    }
    fn give_back(&mut self, host: u32, size: u64) {
        self.bytes[host as usize] += size;
        self.slots[host as usize] += 1;
    }
    /// How many copies of a size fit on a host.
    fn units(&self, host: u32, size: u64) -> u64 {
        let slots = if self.largest[host as usize] < size { 0 } else { u64::from(self.slots[host as usize]) };
        self.bytes[host as usize].checked_div(size).map_or(slots, |bytes| bytes.min(slots))
    }
}

/// No planner can place more.
pub(super) fn at_most(fleet: &Fleet, layout: &Layout, ask: &Ask) -> u64 {
    Question::of(fleet, layout, ask).most()
}

/// Answers the question.
pub fn room(fleet: &Fleet, layout: &Layout, ask: &Ask) -> Room {
    let question = Question::of(fleet, layout, ask);
    let at_most = question.bound();
    let (mut fits, mut above) = (0, at_most.saturating_add(1));
    let mut limit = match question.holds(0) {
        Err(limit) => return Room { fits: 0, at_most: 0, limit, safe: false },
        Ok(()) => None,
    };
    // Mostly the counting says it: that is tried first, then half-way between what fits and what does not.
    let mut next = at_most;
    while above - fits > 1 {
        let middle = next;
        match question.holds(middle) {
            Ok(()) => fits = middle,
            Err(found) => (above, limit) = (middle, Some(found)),
        }
        next = fits + (above - fits) / 2;
    }
    while fits < at_most && question.finds(fits + 1) {
        (fits, limit) = (fits + 1, None);
    }
    // What the counting forbids was not tried yet: what stands in its way is said of a try, too.
    let limit = limit.or_else(|| question.holds(fits.saturating_add(1)).err()).unwrap_or(Limit::Places);
    Room { fits, at_most, limit, safe: true }
}

/// The stores that would have fewer copies for good if these hosts were gone: nothing that is left could take what was there. Once
/// for each copy, in order of the stores.
pub fn homeless(fleet: &Fleet, layout: &Layout, gone: &[u32]) -> Vec<u32> {
    let ask = Ask { size: 1, copies: 1, level: HOST, survive: None };
    let question = Question::of(fleet, layout, &ask);
    let lost = Rebuilding::of(&question, &question.free, gone, question.lost(gone, &New::default()));
    let mut yard = Yard::of(&lost, false);
    let mut homeless: Vec<u32> = Vec::new();
    for (number, copy) in lost.lost.iter().enumerate() {
        if let Name::Known(store) = copy.name
            && !yard.settle(number)
        {
            homeless.push(store);
        }
    }
    homeless.sort_unstable();
    homeless
}

struct Question<'a> {
    fleet: &'a Fleet,
    layout: &'a Layout,
    ask: &'a Ask,
    index: Index,
    free: Free,
    /// The domains of which one may be lost, with all of their hosts that hold something, active or not.
    losses: Vec<(u32, Vec<u32>)>,
    /// The domains that copies of a new store are apart in, with their hosts.
    domains: Vec<Vec<u32>>,
    /// Those in which they outlive a loss besides: as wide as what may be lost.
    wide: Vec<Vec<u32>>,
    /// What is left of [`STEPS_MAX`].
    steps: Cell<u64>,
}

/// Where new stores are: each one's hosts side by side, and the stores by host.
#[derive(Default)]
struct New<'p> {
    placed: &'p [u32],
    on: Vec<Vec<u32>>,
}

impl<'a> Question<'a> {
    fn of(fleet: &'a Fleet, layout: &'a Layout, ask: &'a Ask) -> Question<'a> {
        let tally = Tally::without_pairs(fleet, layout);
        let largest = fleet.hosts.iter().map(|host| host.largest).collect();
        let mut free = Free { bytes: vec![0; fleet.hosts.len()], slots: vec![0; fleet.hosts.len()], largest };
        for host in fleet.active() {
            let (spec, at) = (&fleet.hosts[host as usize], host as usize);
            free.bytes[at] = spec.bytes.saturating_sub(tally.bytes[at]);
            free.slots[at] = spec.slots.saturating_sub(tally.slots[at]);
        }
        let there = |host: &Host| host.is_active() || host.is_readable() || host.state == State::Stopped;
        let losses = ask.survive.map(|level| domains(fleet, level, there)).unwrap_or_default();
        let apart = |level: u8| domains(fleet, level, Host::is_active).into_iter().map(|(_, hosts)| hosts).collect();
        let (domains, wide) = (apart(ask.level), apart(ask.level.max(ask.survive.unwrap_or(HOST))));
        let (index, steps) = (Index::of(fleet, layout), Cell::new(STEPS_MAX));
        Question { fleet, layout, ask, index, free, losses, domains, wide, steps }
    }

    /// Counting: each domain can take no more copies than fit there, nor more than there are stores; and after each loss the bytes
    /// and slots that are left hold all copies.
    fn most(&self) -> u64 {
        let copies = u64::from(self.ask.copies.max(1));
        let units: Vec<u64> = self
            .domains
            .iter()
            .map(|hosts| hosts.iter().map(|host| self.free.units(*host, self.ask.size)).sum())
            .collect();
        let mut most = most_apart(&units, 0, copies);
        let sum = |hosts: &mut dyn Iterator<Item = u32>| {
            hosts.fold((0u64, 0u64), |(bytes, slots), host| {
                let (more, places) = (self.free.bytes[host as usize], u64::from(self.free.slots[host as usize]));
                (bytes.saturating_add(more), slots + places)
            })
        };
        let whole = sum(&mut self.fleet.active());
        for (_, hosts) in &self.losses {
            let (bytes, slots) = sum(&mut hosts.iter().copied());
            let (lost_bytes, lost_slots) = self.held(hosts);
            // What stays free elsewhere takes what was there, and its share of what is new, which is all of what is new.
            let bytes = (whole.0 - bytes).saturating_sub(lost_bytes);
            let slots = (whole.1 - slots).saturating_sub(lost_slots);
            let by_bytes = bytes.checked_div(self.ask.size.saturating_mul(copies)).unwrap_or(u64::MAX);
            most = most.min(by_bytes).min(slots / copies).min(self.bound_by_size(hosts));
        }
        most
    }

    fn bound(&self) -> u32 {
        u32::try_from(self.most()).unwrap_or(COUNTED_MAX)
    }

    /// After a loss all of what is new is on what is left, and so is what was there of that size or more: each of them takes the place of one.
    fn bound_by_size(&self, hosts: &[u32]) -> u64 {
        let gone = Gone::of(self.fleet, hosts);
        let units = |host: &u32| if gone.has(*host) { 0 } else { self.free.units(*host, self.ask.size) };
        let units: Vec<u64> = self.domains.iter().map(|hosts| hosts.iter().map(units).sum()).collect();
        let stores = hosts.iter().flat_map(|host| self.index.on(*host));
        let as_large = stores.filter(|store| self.fleet.stores[**store as usize].size >= self.ask.size).count();
        most_apart(&units, as_large as u64, u64::from(self.ask.copies.max(1)))
    }

    fn held(&self, hosts: &[u32]) -> (u64, u64) {
        let stores = || hosts.iter().flat_map(|host| self.index.on(*host));
        let sizes = stores().map(|store| self.fleet.stores[*store as usize].size);
        (sizes.fold(0, u64::saturating_add), stores().count() as u64)
    }

    /// Whether so many new stores can be placed, and every loss rebuilt: in one of eight ways to place them.
    fn holds(&self, new: u32) -> Result<(), Limit> {
        let mut first = None;
        // Where both are the same domains the second four would find nothing else.
        let domains = [&self.wide, &self.domains];
        for domains in if self.wide == self.domains { &domains[..1] } else { &domains[..] } {
            for (tight, small) in [(false, false), (true, false), (false, true), (true, true)] {
                match self.holds_so(new, domains, Way { tight, small }) {
                    Ok(()) => return Ok(()),
                    Err(limit) => first = first.or(Some(limit)),
                }
            }
        }
        Err(first.unwrap_or(Limit::Places))
    }

    fn holds_so(&self, new: u32, domains: &[Vec<u32>], way: Way) -> Result<(), Limit> {
        let mut free = self.free.clone();
        let placed = self.place(new, domains, way, &mut free).ok_or(Limit::Places)?;
        self.bears(&placed, &free)
    }

    /// Whether every loss can be rebuilt, new stores being placed so.
    fn bears(&self, placed: &[u32], free: &Free) -> Result<(), Limit> {
        let mut on: Vec<Vec<u32>> = vec![Vec::new(); self.fleet.hosts.len()];
        for (store, homes) in (0u32..).zip(placed.chunks(usize::from(self.ask.copies.max(1)))) {
            homes.iter().for_each(|host| on[*host as usize].push(store));
        }
        let (roomiest, new) = (self.roomiest(free), New { placed, on });
        for (domain, hosts) in &self.losses {
            let lost = Rebuilding::of(self, free, hosts, self.lost(hosts, &new));
            if lost.takes_a_last_copy(2) || !matches!(lost.find(&roomiest), Found::At(_)) {
                return Err(Limit::Loss { domain: *domain });
            }
        }
        Ok(())
    }

    fn roomiest(&self, free: &Free) -> Vec<u32> {
        let mut roomiest: Vec<u32> = self.fleet.active().collect();
        roomiest.sort_by_key(|host| (Reverse(free.bytes[*host as usize]), *host));
        roomiest
    }

    /// Places stores one after the other: the first copy in the domain with the most room for such copies, there on the host with
    /// the most bytes free, or the least. Where all go to the roomiest domains there is room for as many as in any order; where the others go to
    /// the tightest ones, what stays free is in different domains from them, and can take them after a loss.
    fn place(&self, new: u32, domains: &[Vec<u32>], way: Way, free: &mut Free) -> Option<Vec<u32>> {
        let copies = usize::from(self.ask.copies.max(1));
        let mut placed = Vec::with_capacity(copies * new as usize);
        let mut roomy: BTreeSet<(u64, Reverse<usize>)> = BTreeSet::new();
        let mut hosts: Vec<BinaryHeap<(u64, Reverse<u32>)>> = Vec::new();
        for (number, domain) in domains.iter().enumerate() {
            let units = domain.iter().map(|host| free.units(*host, self.ask.size)).sum();
            if units > 0 {
                roomy.insert((units, Reverse(number)));
            }
            let able = domain.iter().filter(|host| free.fits(**host, self.ask.size));
            hosts.push(able.map(|host| (way.key(free, *host), Reverse(*host))).collect());
        }
        for left in (0..u64::from(new)).rev() {
            let mut taken = Vec::with_capacity(copies);
            for copy in 0..copies {
                // A domain with room for one copy of every store that is to come must give one now.
                let full = roomy.last().is_some_and(|(units, _)| *units > left);
                let tight = way.tight && copy > 0 && !full;
                let (units, Reverse(domain)) = if tight { roomy.pop_first() } else { roomy.pop_last() }?;
                let (_, Reverse(host)) = hosts[domain].pop()?;
                free.take(host, self.ask.size);
                if free.fits(host, self.ask.size) {
                    hosts[domain].push((way.key(free, host), Reverse(host)));
                }
                placed.push(host);
                taken.push((units - 1, Reverse(domain)));
            }
            roomy.extend(taken.into_iter().filter(|(units, _)| *units > 0));
        }
        Some(placed)
    }

    /// The copies that a loss takes, with what stays of their stores.
    fn lost<'p>(&'p self, hosts: &[u32], new: &New<'p>) -> Vec<LostCopy<'p>> {
        let each = usize::from(self.ask.copies.max(1));
        let mut lost = Vec::new();
        for host in hosts {
            lost.extend(self.index.on(*host).iter().map(|store| {
                let Store { size, level, .. } = self.fleet.stores[*store as usize];
                let copies = self.layout.copies(self.fleet, *store);
                LostCopy { size, level, name: Name::Known(*store), from: *host, copies }
            }));
            lost.extend(new.on.get(*host as usize).into_iter().flatten().map(|store| {
                let copies = &new.placed[*store as usize * each..][..each];
                let Ask { size, level, .. } = *self.ask;
                LostCopy { size, level, name: Name::New(*store), from: *host, copies }
            }));
        }
        lost
    }

    /// Whether a host may have a lost copy, its room apart, beside those of its store that are left.
    #[inline]
    fn may(&self, copy: &LostCopy<'_>, gone: &Gone, host: u32) -> bool {
        let apart = gone.stays(copy.copies).all(|other| !self.fleet.share(copy.level, other, host));
        let fits = copy.size <= self.free.largest[host as usize];
        fits && apart && !matches!(copy.name, Name::Known(store) if self.fleet.is_excluded(store, host))
    }
}

/// How new stores are placed.
#[derive(Clone, Copy)]
struct Way {
    /// All copies but the first go to the tightest domains.
    tight: bool,
    /// Within its domain a copy goes to the host with the least room for it.
    small: bool,
}

impl Way {
    fn key(self, free: &Free, host: u32) -> u64 {
        let bytes = free.bytes[host as usize];
        if self.small { u64::MAX - bytes } else { bytes }
    }
}

/// The most stores whose copies are all in different domains with room for so many copies each, some of it taken by others.
fn most_apart(units: &[u64], taken: u64, copies: u64) -> u64 {
    let most = units.iter().sum::<u64>().saturating_sub(taken) / copies;
    // The condition is monotone: too many stores leave too few other domains beside a large one.
    let enough = |n: u64| units.iter().map(|there| (*there).min(n)).sum::<u64>() >= copies * n;
    let (mut low, mut high) = (0, most + 1);
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if enough(middle) { low = middle } else { high = middle }
    }
    low
}

/// The hosts of some kind by domain of a level; a host in no named domain is one by itself, numbered by [`NOWHERE`].
fn domains(fleet: &Fleet, level: u8, of: impl Fn(&Host) -> bool) -> Vec<(u32, Vec<u32>)> {
    let level = usize::from(level).min(LEVELS - 1);
    let mut named: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    let mut alone = Vec::new();
    for (host, spec) in (0..).zip(&fleet.hosts).filter(|(_, host)| of(host)) {
        match spec.domain[level] {
            _ if level == usize::from(HOST) => alone.push((host, vec![host])),
            NOWHERE => alone.push((NOWHERE, vec![host])),
            domain => named.entry(domain).or_default().push(host),
        }
    }
    named.into_iter().chain(alone).collect()
}
