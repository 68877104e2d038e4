//! A fleet as it would be after a change that nobody made: hosts down, removed, added or resized, stores grown.
//!
//! What always holds: nothing is planned and nothing moves but what the change itself moves: masters of hosts that are down go to the
//! copies that are left, by the failover's rule; what does not fit is named, never made to fit.

use super::loss::Losses;
use super::model::*;
use super::room::homeless;

/// The change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// These hosts are lost at once.
    Down(Vec<u32>),
    /// These hosts are taken out for good; what is there has to go elsewhere.
    Remove(Vec<u32>),
    /// So many empty hosts like this one, in its failure domain.
    Add {
        /// Like which.
        like: u32,
        /// How many.
        count: u32,
    },
    /// A host holds so many bytes.
    Resize {
        /// Which.
        host: u32,
        /// Head-room taken off.
        bytes: u64,
    },
    /// Every store is so much larger.
    Grow {
        /// In thousandths of its size.
        per_mille: u32,
    },
}

/// The fleet after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct After {
    /// Its hosts and stores.
    pub fleet: Fleet,
    /// Where the copies are, each master first.
    pub layout: Layout,
    /// Stores without any copy left.
    pub stopped: Vec<u32>,
    /// Stores that had more and have one copy left.
    pub on_one_copy: Vec<u32>,
    /// Stores of which a copy that is gone, or has to go, fits nowhere else; once for each such copy.
    pub homeless: Vec<u32>,
    /// Hosts that hold more bytes than they may, and how many more.
    pub overfull: Vec<(u32, u64)>,
}

/// Makes the change, on paper.
pub fn after(fleet: &Fleet, layout: &Layout, change: &Change) -> After {
    let (mut then, mut placed) = (fleet.clone(), layout.clone());
    let mut gone: &[u32] = &[];
    match change {
        Change::Down(hosts) => {
            gone = hosts;
            placed = Losses::of(fleet, layout).layout_without(hosts);
            hosts.iter().for_each(|host| then.hosts[*host as usize].state = State::Down);
        }
        Change::Remove(hosts) => {
            gone = hosts;
            placed = Losses::of(fleet, layout).layout_without(hosts);
            hosts.iter().for_each(|host| then.hosts[*host as usize].state = State::Leaving);
        }
        Change::Add { like, count } => {
            let model = fleet.hosts[*like as usize].clone();
            let new = Host { state: State::Active, ..model };
            then.hosts.extend((0..*count).map(|_| new.clone()));
        }
        Change::Resize { host, bytes } => then.hosts[*host as usize].bytes = *bytes,
        Change::Grow { per_mille } => {
            for store in then.stores.iter_mut() {
                let more = u128::from(store.size) * u128::from(*per_mille) / 1000;
                store.size = store.size.saturating_add(u64::try_from(more).unwrap_or(u64::MAX));
            }
        }
    }
    let tally = Tally::of(&then, &placed);
    let over =
        |host: u32| tally.bytes[host as usize].checked_sub(then.hosts[host as usize].bytes).filter(|more| *more > 0);
    let overfull = then.active().filter_map(|host| Some((host, over(host)?))).collect();
    let left = |store: u32| {
        let copies = layout.copies(fleet, store).iter().copied().filter(|host| *host != NOWHERE);
        let there = |host: &u32| fleet.hosts[*host as usize].is_readable();
        let had = copies.clone().filter(there).count();
        (had, copies.filter(there).filter(|host| !gone.contains(host)).count())
    };
    let stores = || (0..).take(fleet.stores.len());
    let down = matches!(change, Change::Down(_));
    After {
        stopped: stores().filter(|store| down && matches!(left(*store), (1.., 0))).collect(),
        on_one_copy: stores().filter(|store| down && matches!(left(*store), (2.., 1))).collect(),
        homeless: if gone.is_empty() { Vec::new() } else { homeless(fleet, layout, gone) },
        fleet: then,
        layout: placed,
        overfull,
    }
}
