//! Hosts, stores and where the copies are.
//!
//! What always holds: a store's copies are a fixed range of [`Layout::at`], its master at the range's start; everything in
//! a [`Tally`] can be counted from the layout again.

use super::pairs::Pairs;
use super::shared::Shared;

/// A copy that is nowhere: of a new store, or lost with its host.
pub const NOWHERE: u32 = u32::MAX;
/// More bytes than this, of all copies or of all hosts together, are not planned for: some times as many still have a number.
pub const BYTES_MAX: u64 = 1 << 60;
/// Nor are masters of more load than this, all together: what any two hosts share has a number then.
pub const LOAD_MAX: u32 = u32::MAX;
/// Levels of failure domains a host knows, itself included.
pub const LEVELS: usize = 4;
/// Spread level: two copies may not share a host.
pub const HOST: u8 = 0;
/// Spread level: two copies may not share the innermost domain, `site/rack` as a whole.
pub const RACK: u8 = 1;

/// The weight of an ordinary host.
pub const ORDINARY: u32 = 1_000;

/// What may be on a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Masters and replicas.
    Active,
    /// No masters, and nothing new; replicas may stay.
    Draining,
    /// Nothing of it runs and nothing is lost: copies stay, and none of them is live. As in maintenance.
    Stopped,
    /// Nothing may stay; what is there can be read.
    Leaving,
    /// Nothing is there any more: it does not answer, or burned.
    Down,
    /// Gone for good.
    Retired,
}

impl State {
    /// Whether a copy that is there may stay.
    #[inline]
    pub fn may_keep(self) -> bool {
        matches!(self, State::Active | State::Draining | State::Stopped)
    }
}

/// A machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Its failure domains by level: [`HOST`] is the host itself, [`RACK`] the innermost named one, then outwards. Equal
    /// numbers at a level are one domain; [`NOWHERE`] is shared with nobody.
    pub domain: [u32; LEVELS],
    /// Bytes it may hold, head-room taken off.
    pub bytes: u64,
    /// Copies it may hold.
    pub slots: u32,
    /// Bytes that a copy which comes may have at most: of its largest slot.
    pub largest: u64,
    /// Its share of masters, relative to the others'; [`ORDINARY`] is ordinary.
    pub weight: u32,
    /// What may be on it.
    pub state: State,
}

impl Host {
    /// An active host of ordinary weight, in no named domain.
    pub fn new(bytes: u64, slots: u32) -> Host {
        Host { domain: [NOWHERE; LEVELS], bytes, slots, largest: u64::MAX, weight: ORDINARY, state: State::Active }
    }
    /// In these domains, innermost first.
    pub fn within(mut self, domains: &[u32]) -> Host {
        for (level, domain) in domains.iter().enumerate().take(LEVELS - 1) {
            self.domain[level + 1] = *domain;
        }
        self
    }
    /// Whether it is counted on: active.
    pub fn is_active(&self) -> bool {
        self.state == State::Active
    }
    /// Whether a copy that is on it can be read.
    pub fn is_readable(&self) -> bool {
        matches!(self.state, State::Active | State::Draining | State::Leaving)
    }
}

/// A logical server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Store {
    /// Bytes of each copy.
    pub size: u64,
    /// What its master costs its host; 1 is ordinary.
    pub load: u32,
    /// Copies it asks for.
    pub copies: u8,
    /// What two copies of it may not share: [`HOST`], [`RACK`] or further out.
    pub level: u8,
}

/// What does not change while planning.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fleet {
    /// By number.
    pub hosts: Vec<Host>,
    /// By number.
    pub stores: Shared<Store>,
    /// Where each store's copies begin in a layout, and after the last store their count. Kept by [`Layout::of`].
    pub first: Shared<u32>,
    /// (store, host): a copy that is there stays there. Sorted.
    pub pins: Vec<(u32, u32)>,
    /// (store, host): no copy may be built there. Sorted.
    pub exclusions: Vec<(u32, u32)>,
    /// (store, host): a copy there may not become master; (store, [`NOWHERE`]): its master stays where it is, whatever the
    /// state of that host. Sorted.
    pub no_master: Vec<(u32, u32)>,
}

impl Fleet {
    /// Whether every host and every store is ordinary, so that loads are numbers of masters.
    pub fn is_ordinary(&self) -> bool {
        self.hosts.iter().all(|host| host.weight == ORDINARY) && self.stores.iter().all(|store| store.load == 1)
    }
    /// The places of a store's copies in a layout.
    #[inline]
    pub fn range(&self, store: u32) -> std::ops::Range<usize> {
        self.first[store as usize] as usize..self.first[store as usize + 1] as usize
    }
    /// Whether two hosts may not both hold a copy of a store with this spread level.
    #[inline]
    pub fn share(&self, level: u8, a: u32, b: u32) -> bool {
        if a == b {
            return true;
        }
        let level = usize::from(level).min(LEVELS - 1);
        let (a, b) = (self.hosts[a as usize].domain[level], self.hosts[b as usize].domain[level]);
        level > 0 && a == b && a != NOWHERE
    }
    /// Whether a copy of a store that is on a host has to stay there.
    #[inline]
    pub fn is_pinned(&self, store: u32, host: u32) -> bool {
        !self.pins.is_empty() && self.pins.binary_search(&(store, host)).is_ok()
    }
    /// Whether no copy of a store may be built on a host.
    #[inline]
    pub fn is_excluded(&self, store: u32, host: u32) -> bool {
        !self.exclusions.is_empty() && self.exclusions.binary_search(&(store, host)).is_ok()
    }
    /// Whether a store's master stays where it is.
    #[inline]
    pub fn keeps_master(&self, store: u32) -> bool {
        !self.no_master.is_empty() && self.no_master.binary_search(&(store, NOWHERE)).is_ok()
    }
    /// Whether a copy of a store on a host may become master, the host's state apart.
    #[inline]
    pub fn may_become_master(&self, store: u32, host: u32) -> bool {
        self.no_master.is_empty() || !self.keeps_master(store) && self.no_master.binary_search(&(store, host)).is_err()
    }
    /// Whether a copy that is on a host may stay there.
    #[inline]
    pub fn may_stay(&self, host: u32) -> bool {
        self.hosts[host as usize].state.may_keep()
    }
    /// Whether no copy of those on these hosts can be read: there is nothing to build another from. A new store is made empty.
    pub fn is_lost_at(&self, hosts: &[u32]) -> bool {
        let mut held = false;
        for host in hosts.iter().filter(|host| **host != NOWHERE) {
            if self.hosts[*host as usize].is_readable() {
                return false;
            }
            held = true;
        }
        held
    }
    /// Whether no copy of a store can be read.
    pub fn is_lost(&self, store: u32, layout: &Layout) -> bool {
        self.is_lost_at(layout.copies(self, store))
    }
    /// Whether all copies together, or all hosts, have more bytes than [`BYTES_MAX`], or all masters more load than [`LOAD_MAX`].
    pub fn is_too_large(&self) -> bool {
        let copies = (0..).zip(&self.stores).map(|(number, store)| {
            let copies = self.range(number).len().max(usize::from(store.copies));
            copies as u128 * u128::from(store.size)
        });
        let hosts = self.hosts.iter().map(|host| u128::from(host.bytes));
        let load: u64 = self.stores.iter().map(|store| u64::from(store.load)).sum();
        copies.sum::<u128>().max(hosts.sum()) > u128::from(BYTES_MAX) || load > u64::from(LOAD_MAX)
    }
    /// Active hosts, by number.
    pub fn active(&self) -> impl Iterator<Item = u32> + '_ {
        (0..).zip(&self.hosts).filter(|(_, host)| host.is_active()).map(|(number, _)| number)
    }
}

/// Where the copies are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// Each copy's host; a store's copies side by side, the master first.
    pub at: Vec<u32>,
}

impl Layout {
    /// Adds stores to a fleet, each with the hosts of its copies, the master first. What a store asks for and is not given
    /// is [`NOWHERE`].
    pub fn of<H: AsRef<[u32]>>(fleet: &mut Fleet, stores: impl IntoIterator<Item = (Store, H)>) -> Layout {
        let stores = stores.into_iter();
        let (least, most) = stores.size_hint();
        let most = most.unwrap_or(least);
        let mut layout = Layout { at: Vec::with_capacity(2 * most) };
        let (kept, first) = (&mut *fleet.stores, &mut *fleet.first);
        kept.reserve_exact(most);
        first.reserve_exact(most + 1);
        first.push(0);
        for (store, hosts) in stores {
            let hosts = hosts.as_ref();
            layout.at.extend_from_slice(hosts);
            layout.at.extend(std::iter::repeat_n(NOWHERE, usize::from(store.copies).saturating_sub(hosts.len())));
            kept.push(store);
            first.push(u32::try_from(layout.at.len()).expect("fewer copies than a number can name"));
        }
        layout
    }
    /// The hosts of a store's copies, the master first.
    #[inline]
    pub fn copies<'a>(&'a self, fleet: &Fleet, store: u32) -> &'a [u32] {
        &self.at[fleet.range(store)]
    }
    /// The host of a store's master.
    #[inline]
    pub fn master(&self, fleet: &Fleet, store: u32) -> u32 {
        self.at[fleet.first[store as usize] as usize]
    }
}

/// What is on every host, counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally {
    /// Bytes.
    pub bytes: Vec<u64>,
    /// Copies.
    pub slots: Vec<u32>,
    /// Masters.
    pub masters: Vec<u32>,
    /// Load of the masters.
    pub load: Vec<u64>,
    /// (host, other host): load of the first one's masters that have a replica on the other.
    pub pairs: Pairs,
}

impl Tally {
    /// Counts a layout. Copies on hosts that are down are counted where they are said to be.
    pub fn of(fleet: &Fleet, layout: &Layout) -> Tally {
        let mut tally = Tally::without_pairs(fleet, layout);
        tally.pairs = Pairs::for_copies(layout.at.len());
        for (number, store) in (0..).zip(&fleet.stores) {
            if let Some((&master, replicas)) = layout.copies(fleet, number).split_first()
                && master != NOWHERE
            {
                for replica in replicas.iter().filter(|host| **host != NOWHERE) {
                    tally.pairs.add(master, *replica, store.load);
                }
            }
        }
        tally
    }
    /// The same, with nothing in the table of pairs, which takes longest to count.
    pub fn without_pairs(fleet: &Fleet, layout: &Layout) -> Tally {
        let hosts = fleet.hosts.len();
        let mut tally = Tally {
            bytes: vec![0; hosts],
            slots: vec![0; hosts],
            masters: vec![0; hosts],
            load: vec![0; hosts],
            pairs: Pairs::for_copies(0),
        };
        for (number, store) in (0..).zip(&fleet.stores) {
            let copies = layout.copies(fleet, number);
            for host in copies.iter().filter(|host| **host != NOWHERE) {
                let bytes = &mut tally.bytes[*host as usize];
                *bytes = bytes.saturating_add(store.size);
                tally.slots[*host as usize] += 1;
            }
            let master = layout.master(fleet, number);
            if master != NOWHERE {
                tally.masters[master as usize] += 1;
                tally.load[master as usize] += u64::from(store.load);
            }
        }
        tally
    }
}
