//! How many more stores fit while any one host, or any one rack, may still be lost.
//!
//! What always holds: `fits` is shown by a placement that was made and by every loss having been rebuilt on what is left of it, by
//! the hard rules; `at_most` is a counting argument and never lower. Between the two lies what greedy packing may miss:
//! packing copies of many sizes is hard in general.

use super::loss::Index;
use super::model::*;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

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
    /// How many copies of a size fit on a host.
    fn units(&self, host: u32, size: u64) -> u64 {
        let slots = if self.largest[host as usize] < size { 0 } else { u64::from(self.slots[host as usize]) };
        self.bytes[host as usize].checked_div(size).map_or(slots, |bytes| bytes.min(slots))
    }
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
    // What the counting forbids was not tried yet: what stands in its way is said of a try, too.
    let limit = limit.or_else(|| question.holds(fits.saturating_add(1)).err()).unwrap_or(Limit::Places);
    Room { fits, at_most, limit, safe: true }
}

/// The failure domains of a level whose loss, each alone, could not be borne: a store would have no copy left, or the hosts that
/// are left would have fewer slots or bytes free than were lost. By number. That what is lost fits by number does not say that every
/// copy finds a place apart from its others; that is for [`homeless`]. A domain that is the whole fleet is none of them.
pub fn not_survivable(fleet: &Fleet, layout: &Layout, level: u8) -> Vec<u32> {
    let tally = Tally::without_pairs(fleet, layout);
    let index = Index::of(fleet, layout);
    let all: Vec<u32> = fleet.active().collect();
    let sum =
        |of: &dyn Fn(u32) -> u64, hosts: &[u32]| hosts.iter().fold(0u64, |sum, host| sum.saturating_add(of(*host)));
    let bytes = |host: u32| fleet.hosts[host as usize].bytes.saturating_sub(tally.bytes[host as usize]);
    let slots = |host: u32| u64::from(fleet.hosts[host as usize].slots.saturating_sub(tally.slots[host as usize]));
    let (free_bytes, free_slots) = (sum(&bytes, &all), sum(&slots, &all));
    let survives = |gone: &[u32]| {
        let left = |host: &u32| *host != NOWHERE && !gone.contains(host) && fleet.hosts[*host as usize].is_readable();
        let served = |store: &u32| layout.copies(fleet, *store).iter().any(left);
        sum(&|host| tally.bytes[host as usize], gone) <= free_bytes - sum(&bytes, gone)
            && sum(&|host| u64::from(tally.slots[host as usize]), gone) <= free_slots - sum(&slots, gone)
            && gone.iter().flat_map(|host| index.on(*host)).all(served)
    };
    let losses = domains(fleet, level).into_iter().filter(|(_, gone)| gone.len() < all.len());
    losses.filter(|(_, gone)| !survives(gone)).map(|(domain, _)| domain).collect()
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
    /// The domains of which one may be lost, with their hosts.
    losses: Vec<(u32, Vec<u32>)>,
    /// The domains that copies of a new store are apart in, with their hosts.
    domains: Vec<Vec<u32>>,
}

impl<'a> Question<'a> {
    fn of(fleet: &'a Fleet, layout: &'a Layout, ask: &'a Ask) -> Question<'a> {
        let tally = Tally::of(fleet, layout);
        let largest = fleet.hosts.iter().map(|host| host.largest).collect();
        let mut free = Free { bytes: vec![0; fleet.hosts.len()], slots: vec![0; fleet.hosts.len()], largest };
        for host in fleet.active() {
            let (spec, at) = (&fleet.hosts[host as usize], host as usize);
            free.bytes[at] = spec.bytes.saturating_sub(tally.bytes[at]);
            free.slots[at] = spec.slots.saturating_sub(tally.slots[at]);
        }
        let losses = ask.survive.map(|level| domains(fleet, level)).unwrap_or_default();
        let domains = domains(fleet, ask.level).into_iter().map(|(_, hosts)| hosts).collect();
        Question { fleet, layout, ask, index: Index::of(fleet, layout), free, losses, domains }
    }

    /// Counting: each domain can take no more copies than fit there, nor more than there are stores; and after each loss the bytes
    /// and slots that are left hold all copies.
    fn bound(&self) -> u32 {
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
                (bytes + self.free.bytes[host as usize], slots + u64::from(self.free.slots[host as usize]))
            })
        };
        let whole = sum(&mut self.fleet.active());
        for (_, hosts) in &self.losses {
            let (bytes, slots) = sum(&mut hosts.iter().copied());
            let (lost_bytes, lost_slots) = self.held(hosts);
            // What stays free elsewhere takes what was there, and its share of what is new, which is all of what is new.
            let bytes = (whole.0 - bytes).saturating_sub(lost_bytes);
            let slots = (whole.1 - slots).saturating_sub(lost_slots);
            let by_bytes = bytes.checked_div(self.ask.size * copies).unwrap_or(u64::MAX);
            most = most.min(by_bytes).min(slots / copies);
        }
        u32::try_from(most).unwrap_or(u32::MAX - 1)
    }

    fn held(&self, hosts: &[u32]) -> (u64, u64) {
        let stores = || hosts.iter().flat_map(|host| self.index.on(*host));
        (stores().map(|store| self.fleet.stores[*store as usize].size).sum(), stores().count() as u64)
    }

    /// Whether so many new stores can be placed, and every loss rebuilt: in one of four ways to place them.
    fn holds(&self, new: u32) -> Result<(), Limit> {
        let ways = [(false, false), (true, false), (false, true), (true, true)];
        let mut first = None;
        for (tight, small) in ways {
            match self.holds_so(new, Way { tight, small }) {
                Ok(()) => return Ok(()),
                Err(limit) => first = first.or(Some(limit)),
            }
        }
        Err(first.unwrap_or(Limit::Places))
    }

    fn holds_so(&self, new: u32, way: Way) -> Result<(), Limit> {
        let mut free = self.free.clone();
        let placed = self.place(new, way, &mut free).ok_or(Limit::Places)?;
        let mut on: Vec<Vec<u32>> = vec![Vec::new(); self.fleet.hosts.len()];
        for (store, homes) in (0u32..).zip(placed.chunks(usize::from(self.ask.copies.max(1)))) {
            homes.iter().for_each(|host| on[*host as usize].push(store));
        }
        let mut roomiest: Vec<u32> = self.fleet.active().collect();
        roomiest.sort_by_key(|host| (Reverse(free.bytes[*host as usize]), *host));
        for (domain, hosts) in &self.losses {
            let mut lost = self.lost(hosts, &on, &placed);
            lost.sort_by_key(|copy| Reverse(copy.size));
            let one_each = self.one_each(&lost, hosts, &roomiest, &free);
            if !one_each && !self.rebuilt(&lost, hosts, &free) {
                return Err(Limit::Loss { domain: *domain });
            }
        }
        Ok(())
    }

    /// Places stores one after the other: the first copy in the domain with the most room for such copies, there on the host with
    /// the most bytes free, or the least. Where all go to the roomiest domains there is room for as many as in any order; where the others go to
    /// the tightest ones, what stays free is in different domains from them, and can take them after a loss.
    fn place(&self, new: u32, way: Way, free: &mut Free) -> Option<Vec<u32>> {
        let copies = usize::from(self.ask.copies.max(1));
        let mut placed = Vec::with_capacity(copies * new as usize);
        let mut roomy: BTreeSet<(u64, Reverse<usize>)> = BTreeSet::new();
        let mut hosts: Vec<BinaryHeap<(u64, Reverse<u32>)>> = Vec::new();
        for (number, domain) in self.domains.iter().enumerate() {
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
    fn lost(&self, hosts: &[u32], on: &[Vec<u32>], placed: &'a [u32]) -> Vec<LostCopy<'_>>
    where
        Self: 'a,
    {
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

    /// The largest first, each on the host with the most bytes free that may hold it; where there is none, one that was placed so
    /// makes way and is placed again (augmenting paths, which for copies of one size find a way whenever there is one).
    fn rebuilt(&self, lost: &[LostCopy<'_>], gone: &[u32], free: &Free) -> bool {
        let mut yard = self.yard(gone, free);
        (0..lost.len()).all(|copy| self.settle(&mut yard, lost, gone, copy, &mut BTreeSet::new()))
    }

    fn yard(&self, gone: &[u32], free: &Free) -> Yard {
        let left = self.fleet.active().filter(|host| !gone.contains(host));
        let order = left.map(|host| (Reverse(free.bytes[host as usize]), host)).collect();
        Yard { free: free.clone(), order, on: BTreeMap::new(), of: BTreeMap::new() }
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
        let found =
            yard.order.iter().map(|(_, host)| *host).find(|host| yard.free.fits(*host, copy.size) && able(yard, *host));
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
        self.free.bytes[host as usize] += copy.size;
        self.free.slots[host as usize] += 1;
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

/// The active hosts by domain of a level; a host in no named domain is one by itself, numbered by [`NOWHERE`].
fn domains(fleet: &Fleet, level: u8) -> Vec<(u32, Vec<u32>)> {
    let level = usize::from(level).min(LEVELS - 1);
    let mut named: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    let mut alone = Vec::new();
    for host in fleet.active() {
        match fleet.hosts[host as usize].domain[level] {
            _ if level == usize::from(HOST) => alone.push((host, vec![host])),
            NOWHERE => alone.push((NOWHERE, vec![host])),
            domain => named.entry(domain).or_default().push(host),
        }
    }
    named.into_iter().chain(alone).collect()
}
