//! The hard rules of one copy on one host.
//!
//! What always holds: a host that [`may_hold`] allows can take the copy without adding or worsening a violation.

use super::model::*;

/// Why a host may not take a copy of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WhyNotHere {
    /// It is draining, stopped, leaving, down or retired.
    State(State),
    /// It holds a copy of the store.
    HasCopy,
    /// It shares a failure domain with this host, which holds a copy.
    SharesDomain {
        /// The holder.
        with: u32,
    },
    /// The store is kept away from it.
    Excluded,
    /// Not enough bytes are free.
    Bytes {
        /// What is missing.
        short: u64,
    },
    /// All slots are taken.
    Slots,
}

/// Whether a host may take a copy of a store besides what the tally counts on it, its copies being on `copies` and the one
/// on `instead` going away afterwards ([`NOWHERE`] if none).
pub fn may_hold(
    fleet: &Fleet,
    tally: &Tally,
    copies: &[u32],
    store: u32,
    instead: u32,
    host: u32,
) -> Result<(), WhyNotHere> {
    let (on, spec) = (&fleet.hosts[host as usize], &fleet.stores[store as usize]);
    if !on.is_active() {
        return Err(WhyNotHere::State(on.state));
    }
    if copies.contains(&host) {
        return Err(WhyNotHere::HasCopy);
    }
    let stays = copies.iter().copied().filter(|other| *other != NOWHERE && *other != instead);
    if let Some(with) = stays.into_iter().find(|other| fleet.share(spec.level, *other, host)) {
        return Err(WhyNotHere::SharesDomain { with });
    }
    if fleet.is_excluded(store, host) {
        return Err(WhyNotHere::Excluded);
    }
    if tally.slots[host as usize] >= on.slots {
        return Err(WhyNotHere::Slots);
    }
    if spec.size > on.largest {
        return Err(WhyNotHere::Bytes { short: spec.size - on.largest });
    }
    let then = tally.bytes[host as usize] + spec.size;
    if then > on.bytes {
        return Err(WhyNotHere::Bytes { short: then - on.bytes });
    }
    Ok(())
}
