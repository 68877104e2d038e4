//! The hard rules of one copy on one host.
//!
//! What always holds: a host that [`may_hold`] allows can take the copy without adding or worsening a violation.

use super::model::*;

/// The hard rules, under the names that both judges use: of a fleet's outcome, and of a live cluster's plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Rule {
    /// Copies of a store are in different failure domains of its level.
    #[error("copies of a store are in different failure domains")]
    Apart,
    /// A copy has the bytes it needs, head-room left free.
    #[error("a copy goes where it has its bytes")]
    Bytes,
    /// A slot holds one copy.
    #[error("a slot holds one copy")]
    Slots,
    /// A store has no fewer live copies than it asks for, or had.
    #[error("live copies are never below policy")]
    Copies,
    /// What is pinned, or held by a person, stays as it is.
    #[error("what is pinned or held stays as it is")]
    Pinned,
    /// A store is not on a host it is kept away from.
    #[error("a store is not where it is kept away from")]
    Excluded,
    /// Nothing new comes to a host that is draining, down or retired, and nothing is left on one that is given up.
    #[error("hosts that are draining, down or retired get nothing, and are left before they are given up")]
    Hosts,
    /// A master is a live copy on an active host.
    #[error("a master is a live copy on an active host")]
    Masters,
}

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
    let then = tally.bytes[host as usize].saturating_add(spec.size);
    if then > on.bytes {
        return Err(WhyNotHere::Bytes { short: then - on.bytes });
    }
    Ok(())
}
