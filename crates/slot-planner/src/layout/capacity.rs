//! How many more stores fit, whatever their size, within bounded work; and which copies a loss takes for the last time.
//!
//! What always holds: so few new stores are placed at a time that the work does not grow with their number. Where more would fit, so many of
//! them are taken together that they are few: as one store of their size, on one host for each of its copies. What fits together fits, so
//! [`Room::fits`] is shown as ever, and may be less than the most by what is taken together; [`Room::at_most`] is counted for single stores.

use super::model::*;
use super::room::{Ask, COUNTED_MAX, Room, at_most, room};

/// So many copies of new stores are placed at most.
const PLACED_MAX: u64 = 2_000;

/// The answer, and how many stores were taken together: 1 if each was placed by itself.
pub fn capacity(fleet: &Fleet, layout: &Layout, ask: &Ask) -> (Room, u32) {
    let most = at_most(fleet, layout, ask);
    let together = most.saturating_mul(u64::from(ask.copies.max(1))).div_ceil(PLACED_MAX);
    let together = u32::try_from(together).unwrap_or(u32::MAX);
    if together <= 1 {
        return (room(fleet, layout, ask), 1);
    }
    let tally = Tally::without_pairs(fleet, layout);
    let mut coarse = fleet.clone();
    for (number, host) in coarse.hosts.iter_mut().enumerate() {
        let used = tally.slots[number].min(host.slots);
        host.slots = used + (host.slots - used) / together;
        // Copies of new stores lie side by side, each as large as it was asked for.
        if host.largest < ask.size {
            host.slots = used;
        }
    }
    let largest = fleet.stores.iter().map(|store| store.size).max().unwrap_or(0);
    let bounds = |host: &Host| host.largest < u64::MAX && host.largest < largest;
    if fleet.hosts.iter().any(bounds) {
        // Which copy fits into which slot decides; slots are so many as there are lines for them.
        return (room(fleet, layout, ask), 1);
    }
    coarse.hosts.iter_mut().for_each(|host| host.largest = u64::MAX);
    let ask = Ask { size: ask.size.saturating_mul(u64::from(together)), ..*ask };
    let found = room(&coarse, layout, &ask);
    let most = u32::try_from(most).unwrap_or(COUNTED_MAX);
    let fits = found.fits.saturating_mul(together).min(most);
    (Room { fits, at_most: if found.safe { most } else { 0 }, ..found }, together)
}

/// Stores of several copies of which a loss takes all that can be read, the domain being the only one of this number on its level.
pub fn last_copies(fleet: &Fleet, layout: &Layout, level: u8, domain: u32) -> Vec<u32> {
    let is_in = |host: u32| match (level, fleet.hosts[host as usize].domain[usize::from(level).min(LEVELS - 1)]) {
        (HOST, _) => host == domain,
        (_, of) => of != NOWHERE && of == domain,
    };
    let is_last = |store: &u32| {
        let readable = |host: &u32| *host != NOWHERE && fleet.hosts[*host as usize].is_readable();
        let mut live = layout.copies(fleet, *store).iter().copied().filter(readable).peekable();
        fleet.stores[*store as usize].copies > 1 && live.peek().is_some() && live.all(is_in)
    };
    (0..fleet.stores.len() as u32).filter(is_last).collect()
}
