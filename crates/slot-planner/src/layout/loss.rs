//! What a loss does: of one host, of a rack, of any two hosts, for every one of them.
//!
//! What always holds: everything is counted from the layout; a store's master goes to a copy that is left, and where several are
//! left to the one whose host then bears least for its weight, of equals the first; a store of which nothing is left stops. Where a store has
//! one copy left this is what [`survivors`](super::survivors) says; where it has more, that one also exchanges heirs along chains,
//! so it is never worse: here every loss of a fleet is looked at, there one.

use super::figures::per_ordinary;
use super::model::*;

/// A host with the load that it would have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fullest {
    /// Which host; [`NOWHERE`] when none is left.
    pub host: u32,
    /// Load of its masters.
    pub load: u64,
    /// The same per ordinary host, in thousandths: what is compared.
    pub level: u64,
}

/// No host is left.
const NOBODY: Fullest = Fullest { host: NOWHERE, load: 0, level: 0 };

/// What one loss does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    /// The fullest host afterwards, among the active ones.
    pub fullest: Fullest,
    /// Stores without any copy left.
    pub stopped: u32,
    /// Stores that had more and have one copy left.
    pub on_one_copy: u32,
    /// Masters that go to another host.
    pub moved: u32,
}

/// Which stores have a copy on each host.
#[derive(Clone, Debug)]
pub struct Index {
    first: Vec<u32>,
    stores: Vec<u32>,
}

impl Index {
    /// Of a layout.
    pub fn of(fleet: &Fleet, layout: &Layout) -> Index {
        let mut first = vec![0u32; fleet.hosts.len() + 1];
        for host in layout.at.iter().filter(|host| **host != NOWHERE) {
            first[*host as usize + 1] += 1;
        }
        for host in 1..first.len() {
            first[host] += first[host - 1];
        }
        let mut next = first.clone();
        let mut stores = vec![0u32; first.last().map_or(0, |count| *count as usize)];
        for store in (0..).take(fleet.stores.len()) {
            for host in layout.copies(fleet, store).iter().filter(|host| **host != NOWHERE) {
                stores[next[*host as usize] as usize] = store;
                next[*host as usize] += 1;
            }
        }
        Index { first, stores }
    }

    /// The stores with a copy on a host, in order.
    pub fn on(&self, host: u32) -> &[u32] {
        &self.stores[self.first[host as usize] as usize..self.first[host as usize + 1] as usize]
    }
}

/// Looks at one loss after another without counting the fleet anew.
#[derive(Clone, Debug)]
pub struct Losses<'a> {
    fleet: &'a Fleet,
    layout: &'a Layout,
    index: Index,
    load: Vec<u64>,
    /// Active hosts, the fullest first.
    order: Vec<u32>,
    /// Which of the hosts that are lost each one is, from one on; zero is none of them.
    turn: Vec<u32>,
    changed: Vec<u32>,
    before: Vec<u64>,
}

impl<'a> Losses<'a> {
    /// Of a layout.
    pub fn of(fleet: &'a Fleet, layout: &'a Layout) -> Losses<'a> {
        let tally = Tally::of(fleet, layout);
        let mut order: Vec<u32> = fleet.active().collect();
        let level = |host: u32| per_ordinary(tally.load[host as usize], fleet.hosts[host as usize].weight);
        order.sort_by_cached_key(|host| (std::cmp::Reverse(level(*host)), *host));
        Losses {
            fleet,
            layout,
            index: Index::of(fleet, layout),
            before: tally.load.clone(),
            load: tally.load,
            order,
            turn: vec![0; fleet.hosts.len()],
            changed: Vec::new(),
        }
    }

    /// The loss of these hosts at once.
    pub fn of_hosts(&mut self, hosts: &[u32]) -> Loss {
        self.take_down(hosts);
        let mut loss = Loss { fullest: NOBODY, stopped: 0, on_one_copy: 0, moved: 0 };
        for (turn, host) in (1..).zip(hosts) {
            for place in 0..self.index.on(*host).len() {
                let store = self.index.on(*host)[place];
                if self.is_first(store, turn) {
                    self.lose(store, &mut loss);
                }
            }
        }
        loss.fullest = self.fullest();
        self.put_back(hosts);
        loss
    }

    /// The layout with the masters of these hosts where their loss would send them.
    pub fn layout_without(&mut self, hosts: &[u32]) -> Layout {
        let mut placed = self.layout.clone();
        self.take_down(hosts);
        let mut loss = Loss { fullest: NOBODY, stopped: 0, on_one_copy: 0, moved: 0 };
        for (turn, host) in (1..).zip(hosts) {
            for place in 0..self.index.on(*host).len() {
                let store = self.index.on(*host)[place];
                if !self.is_first(store, turn) {
                    continue;
                }
                if let Some(heir) = self.lose(store, &mut loss) {
                    let copies = &mut placed.at[self.fleet.range(store)];
                    let place = copies.iter().position(|host| *host == heir).unwrap_or(0);
                    copies[..=place].rotate_right(1);
                }
            }
        }
        self.put_back(hosts);
        placed
    }

    fn take_down(&mut self, hosts: &[u32]) {
        for (turn, host) in (1..).zip(hosts) {
            if !self.is_lost(*host) {
                self.turn[*host as usize] = turn;
            }
        }
    }

    /// With what their masters weighed elsewhere.
    fn put_back(&mut self, hosts: &[u32]) {
        for host in self.changed.drain(..) {
            self.load[host as usize] = self.before[host as usize];
        }
        hosts.iter().for_each(|host| self.turn[*host as usize] = 0);
    }

    fn is_lost(&self, host: u32) -> bool {
        self.turn[host as usize] > 0
    }

    /// Whether none of the hosts that are lost before this turn holds a copy of the store: one on several is looked at once.
    fn is_first(&self, store: u32, turn: u32) -> bool {
        if turn == 1 {
            return true;
        }
        let mut held = self.layout.copies(self.fleet, store).iter().filter(|other| **other != NOWHERE);
        held.all(|other| !(1..turn).contains(&self.turn[*other as usize]))
    }

    /// Answers whose master the store is then, if it moves.
    fn lose(&mut self, store: u32, loss: &mut Loss) -> Option<u32> {
        let copies = self.layout.copies(self.fleet, store);
        let there = |host: &u32| *host != NOWHERE && self.fleet.hosts[*host as usize].is_readable();
        let had = copies.iter().filter(|host| there(host)).count();
        let left = || copies.iter().copied().filter(|host| there(host) && !self.is_lost(*host));
        match left().count() {
            0 => loss.stopped += u32::from(had > 0),
            1 => loss.on_one_copy += u32::from(had > 1),
            _ => {}
        }
        let master = self.layout.master(self.fleet, store);
        if master == NOWHERE || !self.is_lost(master) {
            return None;
        }
        let load = u64::from(self.fleet.stores[store as usize].load);
        let heir = left().min_by_key(|host| (!self.fleet.hosts[*host as usize].is_active(), self.level(*host, load)));
        heir.inspect(|heir| {
            self.load[*heir as usize] += load;
            self.changed.push(*heir);
            loss.moved += 1;
        })
    }

    /// What a host would bear with so much more.
    fn level(&self, host: u32, more: u64) -> u64 {
        per_ordinary(self.load[host as usize] + more, self.fleet.hosts[host as usize].weight)
    }

    fn fullest(&self) -> Fullest {
        let here = |host: u32| Fullest { host, load: self.load[host as usize], level: self.level(host, 0) };
        let untouched = self.order.iter().find(|host| !self.is_lost(**host)).map(|host| here(*host));
        let mut fullest = untouched.unwrap_or(NOBODY);
        for next in self.changed.iter().map(|host| here(*host)) {
            let active = self.fleet.hosts[next.host as usize].is_active();
            if active && (next.level > fullest.level || (next.level == fullest.level && next.host < fullest.host)) {
                fullest = next;
            }
        }
        fullest
    }

    /// The loss of each active host alone, by number.
    pub fn of_each(&mut self) -> Vec<(u32, Loss)> {
        let fleet = self.fleet;
        fleet.active().map(|host| (host, self.of_hosts(&[host]))).collect()
    }

    /// The loss of each whole domain of a level, by number.
    pub fn of_domains(&mut self, level: u8) -> Vec<(u32, Loss)> {
        let fleet = self.fleet;
        let level = usize::from(level).min(LEVELS - 1);
        let mut hosts: Vec<(u32, u32)> =
            fleet.active().map(|host| (fleet.hosts[host as usize].domain[level], host)).collect();
        hosts.retain(|(domain, _)| *domain != NOWHERE);
        hosts.sort_unstable();
        let groups = hosts.chunk_by(|a, b| a.0 == b.0);
        groups
            .map(|group| (group[0].0, self.of_hosts(&group.iter().map(|(_, host)| *host).collect::<Vec<_>>())))
            .collect()
    }

    /// The two active hosts whose loss at once is worst: stops the most stores, then fills a host the most; of equals the first.
    /// Looks at every pair, so it takes the square of the hosts.
    pub fn worst_pair(&mut self) -> Option<((u32, u32), Loss)> {
        let active: Vec<u32> = self.fleet.active().collect();
        let mut worst: Option<((u32, u32), Loss)> = None;
        for (n, a) in active.iter().enumerate() {
            for b in &active[n + 1..] {
                let loss = self.of_hosts(&[*a, *b]);
                if worst.is_none_or(|(_, known)| severity(&loss) > severity(&known)) {
                    worst = Some(((*a, *b), loss));
                }
            }
        }
        worst
    }
}

/// What makes one loss worse than another.
pub fn severity(loss: &Loss) -> (u32, u64, u32) {
    (loss.stopped, loss.fullest.level, loss.on_one_copy)
}
