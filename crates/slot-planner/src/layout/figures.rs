//! How good a layout is, with the bound beside each figure.
//!
//! What always holds: every figure is an integer counted from the layout; a bound holds for any layout of these stores on
//! these hosts, not only for those the solver can find.

use super::model::*;

/// Hard rules that are broken, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Violations {
    /// Pairs of copies of one store in one failure domain.
    pub domains: u64,
    /// Hosts with more bytes than they may hold.
    pub bytes: u64,
    /// Hosts with more copies than slots.
    pub slots: u64,
    /// Copies that are nowhere or on hosts that are down.
    pub missing: u64,
    /// Copies on hosts that are to be emptied.
    pub to_leave: u64,
    /// Masters on hosts that are not active.
    pub masters: u64,
    /// Copies on hosts their store is kept away from.
    pub excluded: u64,
}

impl Violations {
    /// Of all kinds.
    pub fn total(&self) -> u64 {
        self.domains + self.bytes + self.slots + self.missing + self.to_leave + self.masters + self.excluded
    }
}

/// How good a layout is. Loads are per ordinary host, in thousandths: a host of twice the ordinary weight counts half.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figures {
    /// Active hosts.
    pub hosts: u32,
    /// Masters on the active host with the most.
    pub masters_max: u32,
    /// And with the fewest.
    pub masters_min: u32,
    /// Load of the masters of the active host with the most.
    pub load_max: u64,
    /// And of the one with the least.
    pub load_min: u64,
    /// No layout has less.
    pub load_bound: u64,
    /// All masters' load over all active weight.
    pub load_mean: u64,
    /// After the loss of any one active host, the load of the survivor that then has the most.
    pub worst_survivor: u64,
    /// The host whose loss that is.
    pub worst_loss: u32,
    /// No layout has less.
    pub worst_survivor_bound: u64,
    /// Bytes of the fullest active host over its fair share by room, in millionths.
    pub bytes_max_ppm: u64,
    /// What is broken.
    pub violations: Violations,
}

/// What every host would carry after a loss.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survivors {
    /// Masters by host.
    pub masters: Vec<u32>,
    /// Their load by host.
    pub load: Vec<u64>,
    /// Stores without a copy that could be master.
    pub unserved: Vec<u32>,
    /// Stores with exactly one live copy left.
    pub unredundant: Vec<u32>,
}

/// A load per ordinary host, in thousandths.
pub(crate) fn per_ordinary(load: u64, weight: u32) -> u64 {
    match load.checked_mul(1_000_000) {
        Some(load) => load.div_ceil(u64::from(weight.max(1))),
        None => saturated((u128::from(load) * 1_000_000).div_ceil(u128::from(weight.max(1)))),
    }
}

/// The load a host may have when no ordinary host has more than `level` thousandths.
pub(super) fn share_at(level: u64, weight: u32) -> u64 {
    match level.checked_mul(u64::from(weight)) {
        Some(load) => load / 1_000_000,
        None => saturated(u128::from(level) * u128::from(weight) / 1_000_000),
    }
}

fn saturated(n: u128) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

/// The least level at which hosts of these weights can carry a load of whole numbers.
pub(super) fn least_level(weights: impl Iterator<Item = u32> + Clone, load: u64) -> u64 {
    let sum: u64 = weights.clone().map(u64::from).sum();
    if sum == 0 {
        return 0;
    }
    let first = weights.clone().next().unwrap_or(1);
    if weights.clone().all(|weight| weight == first) {
        // Of hosts that are alike each has the same whole number.
        let each = load.div_ceil(weights.count() as u64);
        return per_ordinary(each, first);
    }
    let all = load.saturating_mul(1_000_000);
    let (mut low, mut high) = (all / sum, all);
    while low < high {
        let level = low + (high - low) / 2;
        if weights.clone().map(|weight| share_at(level, weight)).sum::<u64>() >= load {
            high = level;
        } else {
            low = level + 1;
        }
    }
    low
}

/// The least level that loads of different sizes force, each of them being on one host: of the `n * hosts + 1` largest, some host has
/// `n + 1`, which are at least the smallest of these.
fn least_of_parts(fleet: &Fleet, layout: &Layout, weights: impl Iterator<Item = u32> + Clone) -> u64 {
    let first = fleet.stores.first().map_or(1, |store| store.load);
    let (hosts, heaviest) = (weights.clone().count(), weights.max().unwrap_or(0));
    if hosts == 0 || first == 1 && fleet.stores.iter().all(|store| store.load == 1) {
        return 0;
    }
    let served = (0..).zip(&fleet.stores).filter(|(number, _)| !fleet.is_lost(*number, layout));
    let mut loads: Vec<u64> = served.map(|(_, store)| u64::from(store.load)).collect();
    loads.sort_unstable_by(|a, b| b.cmp(a));
    let last = (0..loads.len()).step_by(hosts);
    let together = last.enumerate().map(|(n, last)| loads[last - n..=last].iter().sum::<u64>());
    per_ordinary(together.max().unwrap_or(0), heaviest)
}

/// Counts what is broken.
pub fn violations(fleet: &Fleet, layout: &Layout) -> Violations {
    count(fleet, layout, &Tally::without_pairs(fleet, layout)).0
}

/// What is broken, and the load of all stores but those that are lost: new ones will have a master too.
fn count(fleet: &Fleet, layout: &Layout, tally: &Tally) -> (Violations, u64) {
    let (mut broken, mut served) = (Violations::default(), 0);
    for (number, store) in (0..).zip(&fleet.stores) {
        let copies = layout.copies(fleet, number);
        of_store(fleet, number, copies, &mut broken);
        served += if fleet.is_lost_at(copies) { 0 } else { u64::from(store.load) };
    }
    (broken.bytes, broken.slots) = over_room(fleet, &tally.bytes, &tally.slots);
    (broken, served)
}

/// Adds what one store breaks, its copies being on these hosts.
#[inline]
pub(super) fn of_store(fleet: &Fleet, number: u32, copies: &[u32], broken: &mut Violations) {
    let store = &fleet.stores[number as usize];
    let is_fine = |host: &u32| *host != NOWHERE && fleet.hosts[*host as usize].is_active();
    // Most have two copies, of which nothing is to be said.
    if let &[one, other] = copies
        && fleet.exclusions.is_empty()
        && copies.iter().all(is_fine)
    {
        broken.domains += u64::from(fleet.share(store.level, one, other));
        return;
    }
    for (nth, &host) in copies.iter().enumerate() {
        let state = if host == NOWHERE { State::Down } else { fleet.hosts[host as usize].state };
        match state {
            State::Down | State::Retired => broken.missing += u64::from(nth < usize::from(store.copies)),
            State::Leaving => broken.to_leave += 1,
            State::Active | State::Draining | State::Stopped => {}
        }
        broken.masters += u64::from(nth == 0 && state != State::Active);
        if host == NOWHERE {
            continue;
        }
        broken.excluded += u64::from(fleet.is_excluded(number, host));
        let later = copies[nth + 1..].iter().filter(|other| **other != NOWHERE);
        broken.domains += later.filter(|other| fleet.share(store.level, host, **other)).count() as u64;
    }
}

/// Hosts with more bytes than they may hold, and hosts with more copies than slots.
pub(super) fn over_room(fleet: &Fleet, bytes: &[u64], slots: &[u32]) -> (u64, u64) {
    let readable = || fleet.hosts.iter().enumerate().filter(|(_, host)| host.is_readable());
    let over_bytes = readable().filter(|(number, host)| bytes[*number] > host.bytes).count();
    let over_slots = readable().filter(|(number, host)| slots[*number] > host.slots).count();
    (over_bytes as u64, over_slots as u64)
}

/// How good a layout is.
pub fn figures(fleet: &Fleet, layout: &Layout) -> Figures {
    let tally = Tally::without_pairs(fleet, layout);
    let active: Vec<u32> = fleet.active().collect();
    let hosts = || active.iter().map(|host| *host as usize);
    let (violations, load) = count(fleet, layout, &tally);
    let weight: u64 = hosts().map(|host| u64::from(fleet.hosts[host].weight)).sum();
    let (load_bound, worst_survivor_bound) = bounds(fleet, layout, &active, load);
    let own = |host: usize| per_ordinary(tally.load[host], fleet.hosts[host].weight);
    let (worst_loss, worst_survivor) = worst(fleet, layout, &tally, &active);
    let bytes: u128 = tally.bytes.iter().map(|bytes| u128::from(*bytes)).sum();
    let room: u128 = hosts().map(|host| u128::from(fleet.hosts[host].bytes)).sum();
    let over_share = |host: usize| over_share(tally.bytes[host], fleet.hosts[host].bytes, bytes, room);
    Figures {
        hosts: u32::try_from(active.len()).unwrap_or(u32::MAX),
        masters_max: hosts().map(|host| tally.masters[host]).max().unwrap_or(0),
        masters_min: hosts().map(|host| tally.masters[host]).min().unwrap_or(0),
        load_max: hosts().map(own).max().unwrap_or(0),
        load_min: hosts().map(own).min().unwrap_or(0),
        load_bound,
        load_mean: load.saturating_mul(1_000_000).checked_div(weight).unwrap_or(0),
        worst_survivor,
        worst_loss,
        worst_survivor_bound,
        bytes_max_ppm: hosts().map(over_share).max().unwrap_or(0),
        violations,
    }
}

/// What no layout can avoid with so much load on these hosts: on the host with most, and on the worst survivor.
pub(super) fn bounds(fleet: &Fleet, layout: &Layout, active: &[u32], load: u64) -> (u64, u64) {
    let weight = |host: &u32| fleet.hosts[*host as usize].weight;
    let weights = active.iter().map(weight);
    let load_bound = least_level(weights.clone(), load).max(least_of_parts(fleet, layout, weights));
    let heaviest = active.iter().max_by_key(|host| weight(host));
    let rest = active.iter().filter(|host| Some(*host) != heaviest);
    (load_bound, load_bound.max(least_level(rest.map(weight), load)))
}

/// What is on a host over its fair share by room of all bytes that are held, in millionths.
pub(super) fn over_share(bytes: u64, host_room: u64, held: u128, room: u128) -> u64 {
    let (is, of) = (u128::from(bytes), u128::from(host_room));
    saturated(match is.checked_mul(room).and_then(|is| is.checked_mul(1_000_000)) {
        Some(is) => is.div_ceil(held.saturating_mul(of).max(1)),
        // As near as there are digits for.
        None => (is >> 24).saturating_mul(room >> 24).saturating_mul(1_000_000) / ((held >> 24) * (of >> 24)).max(1),
    })
}

/// The loss of one active host after which a survivor has the most, and what it then has.
fn worst(fleet: &Fleet, layout: &Layout, tally: &Tally, active: &[u32]) -> (u32, u64) {
    let mut taking = Taking::new(fleet, tally);
    let heirs = Heirs::of(fleet, layout);
    // A host that loses nobody's masters is the worst survivor by itself: the two with the most say which.
    let own = |host: u32| per_ordinary(tally.load[host as usize], fleet.hosts[host as usize].weight);
    let first = active.iter().copied().max_by_key(|host| (own(*host), std::cmp::Reverse(*host)));
    let second = active.iter().copied().filter(|host| Some(*host) != first).map(own).max().unwrap_or(0);
    let mut worst = (NOWHERE, 0);
    for &lost in active {
        let rest = if Some(lost) == first { second } else { first.map_or(0, own) };
        heirs.sole_of(lost).iter().for_each(|(heir, load)| taking.take(*load, *heir));
        let taken = taking.lose(fleet, layout, heirs.open.of_host(lost), |host| host == lost, |_, _| {});
        let then = rest.max(taken);
        if then > worst.1 {
            worst = (lost, then);
        }
    }
    worst
}

/// What every host would carry if these were lost, each master going to the copy that leaves the worst survivor best off.
pub fn survivors(fleet: &Fleet, layout: &Layout, lost: &[u32]) -> Survivors {
    let tally = Tally::without_pairs(fleet, layout);
    let by_master = ByMaster::of(fleet, layout);
    let gone = |host: u32| lost.contains(&host);
    let live = |host: &&u32| **host != NOWHERE && !gone(**host) && fleet.hosts[**host as usize].is_readable();
    let mut stores: Vec<u32> = lost.iter().flat_map(|host| by_master.of_host(*host)).copied().collect();
    stores.sort_unstable();
    stores.dedup();
    let mut after =
        Survivors { masters: tally.masters.clone(), load: tally.load.clone(), unserved: vec![], unredundant: vec![] };
    for host in lost.iter().filter(|host| (**host as usize) < fleet.hosts.len()) {
        (after.masters[*host as usize], after.load[*host as usize]) = (0, 0);
    }
    let mut taking = Taking::new(fleet, &tally);
    taking.lose(fleet, layout, &stores, gone, |store, host| {
        after.masters[host as usize] += 1;
        after.load[host as usize] += u64::from(fleet.stores[store as usize].load);
    });
    after.unserved = stores.iter().copied().filter(|store| !taking.served(fleet, layout, *store, gone)).collect();
    let all = 0..u32::try_from(fleet.stores.len()).unwrap_or(u32::MAX);
    after.unredundant = all.filter(|store| layout.copies(fleet, *store).iter().filter(live).count() == 1).collect();
    after
}

/// Stores by the host of their master.
pub(super) struct ByMaster {
    first: Vec<u32>,
    stores: Vec<u32>,
}

impl ByMaster {
    pub fn of(fleet: &Fleet, layout: &Layout) -> ByMaster {
        ByMaster::of_those(fleet, layout, |_| true)
    }
    fn of_those(fleet: &Fleet, layout: &Layout, which: impl Fn(u32) -> bool + Copy) -> ByMaster {
        let mut first = vec![0u32; fleet.hosts.len() + 1];
        let numbers = (0..u32::try_from(fleet.stores.len()).unwrap_or(u32::MAX)).filter(|store| which(*store));
        let placed = numbers.map(|s| (s, layout.master(fleet, s))).filter(|(_, host)| *host != NOWHERE);
        for (_, host) in placed.clone() {
            first[host as usize + 1] += 1;
        }
        for host in 0..fleet.hosts.len() {
            first[host + 1] += first[host];
        }
        let (mut next, mut stores) = (first.clone(), vec![0; first[fleet.hosts.len()] as usize]);
        for (store, host) in placed {
            stores[next[host as usize] as usize] = store;
            next[host as usize] += 1;
        }
        ByMaster { first, stores }
    }
    pub fn of_host(&self, host: u32) -> &[u32] {
        match self.first.get(host as usize..=host as usize + 1) {
            Some(&[from, to]) => &self.stores[from as usize..to as usize],
            _ => &[],
        }
    }
}

/// Who takes the masters of each host that is lost alone. Of most stores it is settled: they have one other copy.
struct Heirs {
    /// By the host that is lost, who takes which load; side by side, since all of it is walked.
    first: Vec<u32>,
    sole: Vec<(u32, u32)>,
    /// Stores with more than one copy that could be master then.
    open: ByMaster,
}

impl Heirs {
    fn of(fleet: &Fleet, layout: &Layout) -> Heirs {
        let choices = |store: u32| {
            let master = layout.master(fleet, store);
            Taking::choices(fleet, layout, store, move |host| host == master)
        };
        let sole = |store: u32| {
            let mut choices = choices(store);
            choices.next().filter(|_| choices.next().is_none())
        };
        let settled = || {
            let stores =
                (0..).zip(&fleet.stores).map(|(number, store)| (number, layout.master(fleet, number), store.load));
            let placed = stores.filter(|(_, master, _)| *master != NOWHERE);
            placed.filter_map(|(number, master, load)| sole(number).map(|heir| (master, heir, load)))
        };
        let mut first = vec![0u32; fleet.hosts.len() + 1];
        settled().for_each(|(master, ..)| first[master as usize + 1] += 1);
        (0..fleet.hosts.len()).for_each(|host| first[host + 1] += first[host]);
        let (mut next, mut by_master) = (first.clone(), vec![(NOWHERE, 0); first[fleet.hosts.len()] as usize]);
        for (master, heir, load) in settled() {
            by_master[next[master as usize] as usize] = (heir, load);
            next[master as usize] += 1;
        }
        let open =
            ByMaster::of_those(fleet, layout, |store| fleet.range(store).len() > 2 && choices(store).nth(1).is_some());
        Heirs { first, sole: by_master, open }
    }
    fn sole_of(&self, lost: u32) -> &[(u32, u32)] {
        &self.sole[self.first[lost as usize] as usize..self.first[lost as usize + 1] as usize]
    }
}

/// Who takes the masters of lost hosts: those with one choice first, then each to the choice that has least, then
/// exchanges along chains while they make the worst better.
pub(super) struct Taking<'a> {
    fleet: &'a Fleet,
    before: &'a Tally,
    extra: Vec<u64>,
    touched: Vec<u32>,
}

impl<'a> Taking<'a> {
    fn new(fleet: &'a Fleet, before: &'a Tally) -> Taking<'a> {
        Taking::with(fleet, before, vec![0; fleet.hosts.len()])
    }
    /// With what each host has more than was counted before.
    pub fn with(fleet: &'a Fleet, before: &'a Tally, extra: Vec<u64>) -> Taking<'a> {
        Taking { fleet, before, extra, touched: Vec::new() }
    }
    /// What each host has more: of those that took masters nothing.
    pub fn into_extra(self) -> Vec<u64> {
        self.extra
    }
    fn level(&self, host: u32, more: u64) -> u64 {
        let load = self.before.load[host as usize] + self.extra[host as usize] + more;
        per_ordinary(load, self.fleet.hosts[host as usize].weight)
    }
    fn choices<'b>(
        fleet: &'b Fleet,
        layout: &'b Layout,
        store: u32,
        gone: impl Fn(u32) -> bool + Copy + 'b,
    ) -> impl Iterator<Item = u32> + Clone + 'b {
        let copies = layout.copies(fleet, store).iter().copied();
        copies.filter(move |host| *host != NOWHERE && !gone(*host) && fleet.hosts[*host as usize].is_active())
    }
    fn served(&self, fleet: &Fleet, layout: &Layout, store: u32, gone: impl Fn(u32) -> bool + Copy) -> bool {
        Taking::choices(fleet, layout, store, gone).next().is_some()
    }
    /// Hands these stores' masters over, tells who took which, and answers the level of the survivor that took and has most.
    pub fn lose(
        &mut self,
        fleet: &Fleet,
        layout: &Layout,
        stores: &[u32],
        gone: impl Fn(u32) -> bool + Copy,
        mut told: impl FnMut(u32, u32),
    ) -> u64 {
        let mut free: Vec<(u32, u32)> = Vec::new();
        for &store in stores {
            let mut choices = Taking::choices(fleet, layout, store, gone);
            match (choices.next(), choices.next()) {
                (Some(only), None) => {
                    self.take(fleet.stores[store as usize].load, only);
                    told(store, only);
                }
                (Some(first), Some(_)) => free.push((store, first)),
                (None, _) => {}
            }
        }
        for (store, taker) in &mut free {
            let load = u64::from(fleet.stores[*store as usize].load);
            let choices = Taking::choices(fleet, layout, *store, gone);
            *taker = choices.min_by_key(|host| (self.level(*host, load), *host)).unwrap_or(*taker);
            self.take(fleet.stores[*store as usize].load, *taker);
        }
        while let Some((nth, to)) = self.exchange(fleet, layout, &free, gone) {
            self.pass_on(fleet, &mut free[nth], to);
        }
        while self.relieve(fleet, layout, &mut free, gone) {}
        free.iter().for_each(|(store, taker)| told(*store, *taker));
        // Several times for who takes several: only the first time is anything extra.
        let mut worst = 0;
        for host in self.touched.drain(..) {
            let load = self.before.load[host as usize] + self.extra[host as usize];
            let weight = self.fleet.hosts[host as usize].weight;
            if u128::from(load * 1_000_000) > u128::from(worst) * u128::from(weight.max(1)) {
                worst = per_ordinary(load, weight);
            }
            self.extra[host as usize] = 0;
        }
        worst
    }
    fn take(&mut self, load: u32, host: u32) {
        self.extra[host as usize] += u64::from(load);
        self.touched.push(host);
    }
    /// One store goes to another of its choices. Answers whose it was.
    fn pass_on(&mut self, fleet: &Fleet, (store, taker): &mut (u32, u32), to: u32) -> u32 {
        self.extra[*taker as usize] -= u64::from(fleet.stores[*store as usize].load);
        self.take(fleet.stores[*store as usize].load, to);
        std::mem::replace(taker, to)
    }
    /// Makes the fullest of those who took less full, by a shortest chain: each host of it passes one store on to the next. Answers
    /// whether there is one after which none of its hosts is as full as the first was.
    fn relieve(
        &mut self,
        fleet: &Fleet,
        layout: &Layout,
        free: &mut [(u32, u32)],
        gone: impl Fn(u32) -> bool + Copy,
    ) -> bool {
        let full = |taking: &Taking<'_>, host: u32| (taking.level(host, 0), std::cmp::Reverse(host));
        let Some(first) = free.iter().map(|(_, taker)| *taker).max_by_key(|host| full(self, *host)) else {
            return false;
        };
        let limit = self.level(first, 0);
        // Each host that is reached, with the store that reached it.
        let mut reached: Vec<(u32, usize)> = vec![(first, usize::MAX)];
        let mut next = 0;
        while let Some(&(host, _)) = reached.get(next) {
            next += 1;
            for nth in (0..free.len()).filter(|nth| free[*nth].1 == host) {
                let load = u64::from(fleet.stores[free[nth].0 as usize].load);
                for to in Taking::choices(fleet, layout, free[nth].0, gone) {
                    if reached.iter().any(|(known, _)| *known == to) {
                        continue;
                    }
                    reached.push((to, nth));
                    if self.level(to, load) < limit {
                        return self.pass_along(fleet, free, &reached, limit);
                    }
                }
            }
        }
        false
    }
    /// Carries out the chain that ends at the last host that was reached; takes it back if a host between gets too much.
    fn pass_along(&mut self, fleet: &Fleet, free: &mut [(u32, u32)], reached: &[(u32, usize)], limit: u64) -> bool {
        let mut passed: Vec<(usize, u32)> = Vec::new();
        let mut at = reached.last().copied();
        while let Some((to, nth)) = at.filter(|(_, nth)| *nth != usize::MAX) {
            let from = self.pass_on(fleet, &mut free[nth], to);
            passed.push((nth, from));
            at = reached.iter().copied().find(|(host, _)| *host == from);
        }
        let well = passed.iter().all(|(_, host)| self.level(*host, 0) < limit);
        if !well {
            for (nth, host) in passed {
                self.pass_on(fleet, &mut free[nth], host);
            }
        }
        well
    }
    /// A choice that makes the fuller of two hosts less full.
    fn exchange(
        &self,
        fleet: &Fleet,
        layout: &Layout,
        free: &[(u32, u32)],
        gone: impl Fn(u32) -> bool + Copy,
    ) -> Option<(usize, u32)> {
        free.iter().enumerate().find_map(|(nth, &(store, from))| {
            let load = u64::from(fleet.stores[store as usize].load);
            let mut others = Taking::choices(fleet, layout, store, gone).filter(|host| *host != from);
            others.find(|to| self.level(*to, load) < self.level(from, 0)).map(|to| (nth, to))
        })
    }
}
