//! How many more stores fit while any one host, or any one rack, may still be lost.
//!
//! What always holds: `fits` is shown by a placement that was made and by every loss having been rebuilt on what is left of it, by
//! the hard rules, no store of several copies having lost them all; `at_most` is a counting argument and never lower. Between
//! the two lies what greedy packing may miss: packing copies of many sizes is hard in general. Of small fleets every placement
//! is tried ([`search`]), so that there `fits` is the most there can be.

mod search;
mod survival;

pub use survival::{Survival, not_survivable, survivals};

use super::loss::Index;
use super::model::*;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

/// How often what is lost is placed anew, what found no place first; and copies times hosts looked at in all of it.
const ROUNDS_MAX: usize = 24;
const WORK_MAX: usize = 1_000_000;

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
    while above - fits > 1 {
        let middle = fits + (above - fits) / 2;
        match question.holds(middle) {
            Ok(()) => fits = middle,
            Err(found) => (above, limit) = (middle, Some(found)),
        }
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
    let mut lost = question.lost(gone, &vec![Vec::new(); fleet.hosts.len()], &[]);
    lost.sort_by_key(|copy| Reverse(copy.size));
    let mut yard = question.yard(gone, &question.free);
    let mut homeless: Vec<u32> = Vec::new();
    for number in 0..lost.len() {
        if let Name::Known(store) = lost[number].name
            && !question.settle(&mut yard, &lost, gone, number, &mut BTreeSet::new())
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
        Question { fleet, layout, ask, index: Index::of(fleet, layout), free, losses, domains, wide }
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
        let mut most = units.iter().sum::<u64>() / copies;
        // The condition is monotone: too many stores leave too few other domains beside a large one.
        let enough = |n: u64| units.iter().map(|there| (*there).min(n)).sum::<u64>() >= copies * n;
        let (mut low, mut high) = (0, most + 1);
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if enough(middle) { low = middle } else { high = middle }
        }
        most = most.min(low);
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
            most = most.min(by_bytes).min(slots / copies);
        }
        most
    }

    fn bound(&self) -> u32 {
        u32::try_from(self.most()).unwrap_or(COUNTED_MAX)
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
        let roomiest = self.roomiest(free);
        for (domain, hosts) in &self.losses {
            let mut lost = self.lost(hosts, &on, placed);
            if lost.iter().any(|copy| self.is_last(copy, hosts)) || !self.rebuilds(&mut lost, hosts, &roomiest, free) {
                return Err(Limit::Loss { domain: *domain });
            }
        }
        Ok(())
    }

    /// Whether a loss takes all that can be read of a store that asks for more than one copy.
    fn is_last(&self, copy: &LostCopy<'_>, gone: &[u32]) -> bool {
        let asked = match copy.name {
            Name::Known(store) => self.fleet.stores[store as usize].copies,
            Name::New(_) => self.ask.copies,
        };
        let left =
            |host: &u32| *host != NOWHERE && !gone.contains(host) && self.fleet.hosts[*host as usize].is_readable();
        asked > 1 && !copy.copies.iter().any(left)
    }

    fn roomiest(&self, free: &Free) -> Vec<u32> {
        let mut roomiest: Vec<u32> = self.fleet.active().collect();
        roomiest.sort_by_key(|host| (Reverse(free.bytes[*host as usize]), *host));
        roomiest
    }

    /// Whether what is lost finds room on what is left.
    fn rebuilds(&self, lost: &mut [LostCopy<'_>], gone: &[u32], roomiest: &[u32], free: &Free) -> bool {
        lost.sort_by_key(|copy| Reverse(copy.size));
        self.one_each(lost, gone, roomiest, free)
            || !self.has_no_room(lost, gone, free) && (self.rebuilt(lost, gone, free) || self.packs(lost, gone, free))
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
    fn lost<'p>(&'p self, hosts: &[u32], on: &[Vec<u32>], placed: &'p [u32]) -> Vec<LostCopy<'p>> {
        let copies = usize::from(self.ask.copies.max(1));
        let mut lost = Vec::new();
        for host in hosts {
            for store in self.index.on(*host) {
                let spec = &self.fleet.stores[*store as usize];
                let store_copies = self.layout.copies(self.fleet, *store);
                lost.push(LostCopy {
                    size: spec.size,
                    level: spec.level,
                    name: Name::Known(*store),
                    copies: store_copies,
                });
            }
            for store in &on[*host as usize] {
                let from = *store as usize * copies;
                let store_copies = &placed[from..from + copies];
                lost.push(LostCopy {
                    size: self.ask.size,
                    level: self.ask.level,
                    name: Name::New(*store),
                    copies: store_copies,
                });
            }
        }
        lost
    }

    fn may(&self, copy: &LostCopy<'_>, gone: &[u32], host: u32) -> bool {
        let stays = copy.copies.iter().filter(|other| **other != NOWHERE && !gone.contains(other));
        let apart = stays.into_iter().all(|other| !self.fleet.share(copy.level, *other, host));
        let fits = copy.size <= self.free.largest[host as usize];
        fits && apart && !matches!(copy.name, Name::Known(store) if self.fleet.is_excluded(store, host))
    }

    /// The common case, without a copy of what is free: as many roomy hosts as there are copies, each taking one.
    fn one_each(&self, lost: &[LostCopy<'_>], gone: &[u32], roomiest: &[u32], free: &Free) -> bool {
        let mut used = vec![false; roomiest.len().min(lost.len() * 2 + gone.len())];
        lost.iter().all(|copy| {
            let able = |place: &usize| {
                let host = roomiest[*place];
                !used[*place] && !gone.contains(&host) && free.fits(host, copy.size) && self.may(copy, gone, host)
            };
            // Two lost copies of one store must not come together again: those are left to the slower way.
            let alone = copy.copies.iter().filter(|host| gone.contains(host)).count() == 1;
            let found = (0..used.len()).find(able).filter(|_| alone);
            found.inspect(|place| used[*place] = true).is_some()
        })
    }

    /// The largest first, each on the host with the most bytes free that may hold it, or the least; where there is none, one that was
    /// placed so makes way and is placed again (augmenting paths, which for copies of one size find a way whenever there is one). What
    /// found no place even so comes first in another round.
    fn rebuilt(&self, lost: &[LostCopy<'_>], gone: &[u32], free: &Free) -> bool {
        let mut order: Vec<usize> = (0..lost.len()).collect();
        let rounds = WORK_MAX / (lost.len() * self.free.bytes.len()).max(1);
        (0..rounds.clamp(1, ROUNDS_MAX)).any(|round| {
            let mut yard = self.yard(gone, free);
            yard.tight = round % 2 == 1;
            let stuck = |copy: &usize| !self.settle(&mut yard, lost, gone, *copy, &mut BTreeSet::new());
            let stuck = order.iter().position(stuck);
            stuck.inspect(|nth| order[..=*nth].rotate_right(1)).is_none()
        })
    }

    fn yard(&self, gone: &[u32], free: &Free) -> Yard {
        let left = self.fleet.active().filter(|host| !gone.contains(host));
        let order = left.map(|host| (Reverse(free.bytes[host as usize]), host)).collect();
        Yard { free: free.clone(), order, on: BTreeMap::new(), of: BTreeMap::new(), tight: false }
    }

    fn settle(
        &self,
        yard: &mut Yard,
        lost: &[LostCopy<'_>],
        gone: &[u32],
        number: usize,
        seen: &mut BTreeSet<u32>,
    ) -> bool {
        let copy = &lost[number];
        let able = |yard: &Yard, host: u32| {
            let beside = yard.of.get(&copy.name).into_iter().flatten();
            let apart =
                beside.filter(|(other, _)| *other != number).all(|(_, at)| !self.fleet.share(copy.level, *at, host));
            apart && self.may(copy, gone, host)
        };
        let fits = |host: &u32| yard.free.fits(*host, copy.size) && able(yard, *host);
        let mut hosts = yard.order.iter().map(|(_, host)| *host);
        let found = if yard.tight { hosts.rfind(fits) } else { hosts.find(fits) };
        if let Some(host) = found {
            yard.put(number, copy, host);
            return true;
        }
        let hosts: Vec<u32> = yard.order.iter().map(|(_, host)| *host).filter(|host| able(yard, *host)).collect();
        for host in hosts {
            if !seen.insert(host) {
                continue;
            }
            for other in yard.on.get(&host).cloned().unwrap_or_default() {
                let enough = yard.free.bytes[host as usize] + lost[other].size >= copy.size;
                if !enough || lost[other].name == copy.name {
                    continue;
                }
                yard.lift(other, &lost[other], host);
                // The place is taken first, so that the one that makes way does not come back to it.
                yard.put(number, copy, host);
                if self.settle(yard, lost, gone, other, seen) {
                    return true;
                }
                yard.lift(number, copy, host);
                yard.put(other, &lost[other], host);
            }
        }
        false
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

/// What is free while a loss is rebuilt, and where its copies went.
struct Yard {
    free: Free,
    order: BTreeSet<(Reverse<u64>, u32)>,
    on: BTreeMap<u32, Vec<usize>>,
    of: BTreeMap<Name, Vec<(usize, u32)>>,
    /// Whether a copy goes where it leaves the least bytes free.
    tight: bool,
}

impl Yard {
    fn put(&mut self, number: usize, copy: &LostCopy<'_>, host: u32) {
        self.order.remove(&(Reverse(self.free.bytes[host as usize]), host));
        self.free.take(host, copy.size);
        self.order.insert((Reverse(self.free.bytes[host as usize]), host));
        self.on.entry(host).or_default().push(number);
        self.of.entry(copy.name).or_default().push((number, host));
    }

    fn lift(&mut self, number: usize, copy: &LostCopy<'_>, host: u32) {
        self.order.remove(&(Reverse(self.free.bytes[host as usize]), host));
        self.free.give_back(host, copy.size);
        self.order.insert((Reverse(self.free.bytes[host as usize]), host));
        self.on.entry(host).or_default().retain(|other| *other != number);
        self.of.entry(copy.name).or_default().retain(|(other, _)| *other != number);
    }
}

/// A store that is there, or one of the new ones.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Name {
    Known(u32),
    New(u32),
}

struct LostCopy<'a> {
    size: u64,
    level: u8,
    name: Name,
    copies: &'a [u32],
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
