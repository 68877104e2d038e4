//! Which copy of each store is master.
//!
//! What always holds: no copy moves here. Masters go from hosts with too many to hosts with too few along chains of
//! hand-overs (each store of a chain is shared by the two hosts it joins, so the hosts between keep their count); a chain is
//! the shortest in hand-overs that would not happen anyway; what two hosts share in one direction stays within what the
//! worst survivor's level allows.

use super::aims::Aims;
use super::board::ByHost;
use super::flow;
use super::refine;
use crate::layout::model::*;
use crate::layout::pairs::Pairs;
use std::collections::VecDeque;

pub(super) struct Roles<'a> {
    pub fleet: &'a Fleet,
    pub aims: &'a Aims,
    /// The host of each store's master before.
    pub was: Vec<u32>,
    pub at: Vec<u32>,
    /// The copy that is master, by store.
    pub lead: Vec<u32>,
    pub load: Vec<u64>,
    /// Whether what follows is counted: where masters are even and spread thin already, nobody asks for it.
    counted: bool,
    pub owner: Vec<u32>,
    pub by_host: ByHost,
    /// (host, other): load of the first one's masters with a copy on the other.
    pairs: Pairs,
    /// What no pair of each host has been above: most hosts need no look at their pairs.
    most: Vec<u32>,
    /// Steps of levels that are given up where a chain is not found otherwise.
    slack: u64,
    seen: Vec<u32>,
    turn: u32,
    reached_by: Vec<(u32, u32)>,
    /// Stores without a copy that could be master.
    pub lost: Vec<u32>,
}

impl<'a> Roles<'a> {
    /// Chooses the masters of a layout whose copies are settled. Answers the stores too that have no copy which could be master.
    pub fn assign(fleet: &'a Fleet, before: &Layout, layout: Layout, aims: &'a Aims) -> (Layout, Vec<u32>) {
        let mut roles = Roles::of(fleet, before, layout, aims);
        let flows = if refine::is_small(fleet) { None } else { flow::leads(fleet, &roles.at, &roles.was, aims) };
        match flows {
            Some(lead) => roles.lead_from(&lead),
            None => {
                roles.begin();
                roles.thin_pairs();
            }
        }
        roles.even();
        let lost = std::mem::take(&mut roles.lost);
        (roles.finish(), lost)
    }
    /// The same layout with as few masters elsewhere than before as is found without anything getting worse.
    pub fn calmed(fleet: &'a Fleet, before: &Layout, layout: &Layout, aims: &'a Aims) -> Option<Layout> {
        if layout.at.len() > super::calm::COPIES_MAX {
            return None;
        }
        let mut roles = Roles::of(fleet, before, layout.clone(), aims);
        if let Some(lead) = flow::leads(fleet, &roles.at, &roles.was, aims) {
            let same = lead.iter().zip(&fleet.first).all(|(copy, first)| copy == first);
            roles.lead_from(&lead);
            if (0..roles.load.len()).all(|host| roles.load[host] <= aims.load[host]) {
                return (!same).then(|| roles.finish());
            }
            roles = Roles::of(fleet, before, layout.clone(), aims);
        }
        for store in 0..fleet.stores.len() as u32 {
            let range = fleet.range(store);
            roles.lead.push(range.start as u32);
            match roles.active(roles.at[range.start]) {
                true => roles.book(store, range.start as u32),
                false => roles.lost.push(store),
            }
        }
        roles.count();
        roles.calm().then(|| roles.finish())
    }
    /// Begins with masters that were chosen elsewhere.
    fn lead_from(&mut self, lead: &[u32]) {
        for (store, copy) in (0..).zip(lead) {
            self.lead.push(*copy);
            self.book(store, *copy);
        }
    }
    fn of(fleet: &'a Fleet, before: &Layout, layout: Layout, aims: &'a Aims) -> Roles<'a> {
        let hosts = fleet.hosts.len();
        Roles {
            fleet,
            aims,
            was: (0..fleet.stores.len() as u32).map(|store| before.master(fleet, store)).collect(),
            lead: Vec::with_capacity(fleet.stores.len()),
            load: vec![0; hosts],
            counted: false,
            owner: Vec::new(),
            by_host: ByHost::of(&[], 0),
            pairs: Pairs::for_copies(0),
            most: vec![0; hosts],
            slack: 0,
            seen: vec![0; hosts],
            turn: 0,
            reached_by: vec![(NOWHERE, NOWHERE); hosts],
            lost: Vec::new(),
            at: layout.at,
        }
    }
    pub fn active(&self, host: u32) -> bool {
        host != NOWHERE && self.fleet.hosts[host as usize].is_active()
    }
    pub fn load_of(&self, store: u32) -> u32 {
        self.fleet.stores[store as usize].load
    }
    /// Masters stay where they may; those that may not go to the copy with the most room for them.
    fn begin(&mut self) {
        let mut open: Vec<u32> = Vec::new();
        for store in 0..self.fleet.stores.len() as u32 {
            let mut range = self.fleet.range(store);
            let stays = |host: u32| self.active(host) || host != NOWHERE && self.fleet.keeps_master(store);
            let same = range.find(|copy| self.at[*copy] == self.was[store as usize] && stays(self.at[*copy]));
            self.lead.push(same.map_or(NOWHERE, |copy| copy as u32));
            if let Some(copy) = same {
                self.book(store, copy as u32);
            } else {
                open.push(store);
            }
        }
        for store in open {
            let copies = self.fleet.range(store).map(|copy| copy as u32);
            let may = copies.filter(|copy| {
                let host = self.at[*copy as usize];
                self.active(host) && self.fleet.may_become_master(store, host)
            });
            let room = |copy: u32| {
                let host = self.at[copy as usize] as usize;
                self.load[host] as i64 - self.aims.load[host] as i64
            };
            match may.min_by_key(|copy| (room(*copy), *copy)) {
                Some(copy) => {
                    self.lead[store as usize] = copy;
                    self.book(store, copy);
                }
                None => {
                    let was = self.was[store as usize];
                    let copy = self.fleet.range(store).find(|copy| self.at[*copy] == was).unwrap_or_default();
                    self.lead[store as usize] = copy as u32;
                    self.lost.push(store);
                }
            }
        }
    }
    fn others(&self, store: u32) -> impl Iterator<Item = u32> + use<'_, 'a> {
        let lead = self.lead[store as usize] as usize;
        let copies = self.fleet.range(store).filter(move |copy| *copy != lead);
        copies.map(|copy| self.at[copy]).filter(|host| *host != NOWHERE)
    }
    fn book(&mut self, store: u32, copy: u32) {
        let (host, load) = (self.at[copy as usize], self.load_of(store));
        self.load[host as usize] += u64::from(load);
        if self.counted {
            self.book_pairs(store, copy);
        }
    }
    fn book_pairs(&mut self, store: u32, copy: u32) {
        let (host, load) = (self.at[copy as usize], self.load_of(store));
        for other in self.fleet.range(store).filter(|other| *other != copy as usize) {
            if self.at[other] != NOWHERE {
                let then = self.pairs.add(host, self.at[other], load);
                self.most[host as usize] = self.most[host as usize].max(then);
            }
        }
    }
    /// Counts what hosts share, and whose copies are on which.
    fn count(&mut self) {
        if std::mem::replace(&mut self.counted, true) {
            return;
        }
        self.pairs = Pairs::for_copies(self.at.len());
        self.by_host = ByHost::of(&self.at, self.fleet.hosts.len());
        self.owner.reserve_exact(self.at.len());
        for store in 0..self.fleet.stores.len() as u32 {
            self.owner.extend(std::iter::repeat_n(store, self.fleet.range(store).len()));
            if self.lost.binary_search(&store).is_err() {
                self.book_pairs(store, self.lead[store as usize]);
            }
        }
    }
    /// Whether a pair of hosts may share too much: false only if none does.
    fn may_share_too_much(&self) -> bool {
        let hosts = self.fleet.hosts.len();
        let leader = |store: u32| match self.lost.binary_search(&store) {
            Ok(_) => None,
            Err(_) => Some(self.at[self.lead[store as usize] as usize]),
        };
        let led = || (0..self.fleet.stores.len() as u32).filter_map(|store| leader(store).map(|host| (store, host)));
        // By leader, which other host holds a copy of what it leads, and the load of that.
        let mut first = vec![0u32; hosts + 1];
        for (store, host) in led() {
            first[host as usize + 1] += self.others(store).count() as u32;
        }
        (0..hosts).for_each(|host| first[host + 1] += first[host]);
        let (mut next, mut beside) = (first.clone(), vec![(NOWHERE, 0u32); first[hosts] as usize]);
        for (store, host) in led() {
            for other in self.others(store) {
                beside[next[host as usize] as usize] = (other, self.load_of(store));
                next[host as usize] += 1;
            }
        }
        let mut shared = vec![0u64; hosts];
        first.windows(2).any(|of_host| {
            let beside = &beside[of_host[0] as usize..of_host[1] as usize];
            beside.iter().for_each(|(other, load)| shared[*other as usize] += u64::from(*load));
            let any = beside.iter().any(|(other, _)| shared[*other as usize] > self.allowed(*other));
            beside.iter().for_each(|(other, _)| shared[*other as usize] = 0);
            any
        })
    }
    fn unbook(&mut self, store: u32) {
        let copy = self.lead[store as usize];
        let (host, load) = (self.at[copy as usize], self.load_of(store));
        self.load[host as usize] -= u64::from(load);
        if !self.counted {
            return;
        }
        for other in self.fleet.range(store).filter(|other| *other != copy as usize) {
            if self.at[other] != NOWHERE {
                self.pairs.sub(host, self.at[other], load);
            }
        }
    }
    pub fn hand_over(&mut self, store: u32, copy: u32) {
        self.unbook(store);
        self.lead[store as usize] = copy;
        self.book(store, copy);
    }
    /// How much of one host's load another may take when the first is lost.
    fn allowed(&self, survivor: u32) -> u64 {
        let host = survivor as usize;
        let level = crate::layout::figures::share_at(self.aims.survivor, self.fleet.hosts[host].weight);
        let own = self.load[host].clamp(self.aims.load_low[host], self.aims.load[host].max(self.aims.load_low[host]));
        level.saturating_sub(own) + self.slack
    }
    /// Whether a store's master may go to this copy without any pair sharing too much.
    pub fn may_lead(&self, store: u32, copy: u32) -> bool {
        let host = self.at[copy as usize];
        if !self.fleet.may_become_master(store, host) {
            return false;
        }
        let load = u64::from(self.load_of(store));
        let others = self.fleet.range(store).filter(|other| *other != copy as usize && self.at[*other] != NOWHERE);
        let mut others = others.map(|other| self.at[other]);
        others.all(|other| u64::from(self.pairs.get(host, other)) + load <= self.allowed(other) * self.choices(store))
    }
    /// With several replicas a loss is shared among them.
    fn choices(&self, store: u32) -> u64 {
        (self.fleet.range(store).len() as u64).saturating_sub(1).max(1)
    }
    /// Whether a host can take one more and still survive every loss within the level.
    pub fn may_end(&self, host: u32, load: u64) -> bool {
        let then = self.load[host as usize] + load;
        if then > self.aims.load[host as usize] {
            return false;
        }
        if then <= self.aims.load_low[host as usize] {
            return true;
        }
        let level =
            crate::layout::figures::share_at(self.aims.survivor, self.fleet.hosts[host as usize].weight) + self.slack;
        self.by_host.of_host(host).iter().all(|copy| {
            let store = self.owner[*copy as usize];
            let lead = self.lead[store as usize];
            lead == *copy || {
                let master = self.at[lead as usize];
                u64::from(self.pairs.get(master, host)) <= level.saturating_sub(then) * self.choices(store)
            }
        })
    }
    /// Turns stores of pairs that share too much in one direction round.
    fn thin_pairs(&mut self) {
        if !self.may_share_too_much() {
            return;
        }
        self.count();
        for store in 0..self.fleet.stores.len() as u32 {
            if self.lost.binary_search(&store).is_ok() {
                continue;
            }
            let from = self.at[self.lead[store as usize] as usize];
            let over = |roles: &Roles<'_>, to: u32| {
                let allowed = roles.allowed(to) * roles.choices(store);
                u64::from(roles.most[from as usize]) > allowed && u64::from(roles.pairs.get(from, to)) > allowed
            };
            if !self.others(store).any(|to| over(self, to)) {
                continue;
            }
            let copies = self.fleet.range(store).map(|copy| copy as u32);
            let lead = self.lead[store as usize];
            let mut turned = copies.filter(|copy| *copy != lead && self.active(self.at[*copy as usize]));
            if let Some(copy) = turned.find(|copy| self.may_lead(store, *copy)) {
                self.hand_over(store, copy);
            }
        }
    }
    /// Evens the masters out: first within the pairs' limits, then, for what is left, a step beyond.
    fn even(&mut self) {
        let most = self.fleet.stores.iter().map(|store| u64::from(store.load)).max().unwrap_or(1);
        for slack in [0, most, 3 * most] {
            self.slack = slack;
            let mut stuck = true;
            for host in 0..self.load.len() as u32 {
                while self.load[host as usize] > self.aims.load[host as usize] {
                    if !self.relieve(host) {
                        stuck = false;
                        break;
                    }
                }
            }
            if stuck {
                break;
            }
        }
        self.slack = 0;
    }
    /// One chain of hand-overs from a host with too many to one with too few.
    fn relieve(&mut self, from: u32) -> bool {
        self.count();
        self.turn += 1;
        let mut queue = VecDeque::from([(from, false)]);
        self.seen[from as usize] = self.turn;
        while let Some((host, _)) = queue.pop_front() {
            for nth in 0..self.by_host.of_host(host).len() {
                let copy = self.by_host.of_host(host)[nth];
                let store = self.owner[copy as usize];
                if self.lead[store as usize] != copy {
                    continue;
                }
                for other in self.fleet.range(store) {
                    let to = self.at[other];
                    if other == copy as usize || !self.active(to) || self.seen[to as usize] == self.turn {
                        continue;
                    }
                    if !self.may_lead(store, other as u32) {
                        continue;
                    }
                    self.seen[to as usize] = self.turn;
                    self.reached_by[to as usize] = (store, other as u32);
                    let load = u64::from(self.load_of(store));
                    if self.may_end(to, load) && self.walk(from, to) {
                        return true;
                    }
                    // What changes anyway is free, and comes first.
                    let free = host != self.was[store as usize];
                    if free {
                        queue.push_front((to, free));
                    } else {
                        queue.push_back((to, free));
                    }
                }
            }
        }
        false
    }
    /// Carries a chain out, its far end first, if every host between stays within its share or does not grow.
    fn walk(&mut self, from: u32, to: u32) -> bool {
        let mut chain = Vec::new();
        let mut host = to;
        while host != from {
            let (store, copy) = self.reached_by[host as usize];
            chain.push((store, copy));
            host = self.at[self.lead[store as usize] as usize];
        }
        for pair in chain.windows(2) {
            let (leaves, comes) = (u64::from(self.load_of(pair[0].0)), u64::from(self.load_of(pair[1].0)));
            let between = self.at[pair[1].1 as usize] as usize;
            if comes > leaves && self.load[between] + comes - leaves > self.aims.load[between] {
                return false;
            }
        }
        for (store, copy) in chain {
            self.hand_over(store, copy);
        }
        true
    }
    fn finish(mut self) -> Layout {
        for store in 0..self.fleet.stores.len() as u32 {
            let first = self.fleet.first[store as usize] as usize;
            self.at.swap(first, self.lead[store as usize] as usize);
        }
        Layout { at: self.at }
    }
}
