//! Stores of which the loss of one rack or site would take every copy, though their own spread allows it.
//!
//! What always holds: that any one failure domain can be lost comes before everything but the hard rules, for every store that has
//! copies enough; a domain that is the whole fleet is none.
//!
//! Whether what is lost fits on what is left does not depend on where copies are, as long as no host is too full: what is free
//! elsewhere and what was there come to the same room. So this is all of it that placement decides (docs/placement.md).

use crate::layout::model::*;

/// For each level the number of its domains with an active host, where they are more than one.
fn domains(fleet: &Fleet) -> [usize; LEVELS] {
    std::array::from_fn(|level| {
        if level < usize::from(RACK) {
            return 0;
        }
        let mut named: Vec<u32> = fleet.active().map(|host| fleet.hosts[host as usize].domain[level]).collect();
        named.retain(|domain| *domain != NOWHERE);
        named.sort_unstable();
        named.dedup();
        if named.len() > 1 { named.len() } else { 0 }
    })
}

/// Stores of two copies and more that one domain's loss takes whole, once for each level.
pub(super) fn exposed(fleet: &Fleet, layout: &Layout) -> u64 {
    let domains = domains(fleet);
    let outermost = (0..LEVELS).rev().find(|level| domains[*level] > 0).unwrap_or(0);
    let mut found = 0;
    for (number, store) in (0..).zip(&fleet.stores).filter(|(_, store)| usize::from(store.level) < outermost) {
        let held = || layout.copies(fleet, number).iter().copied().filter(|host| *host != NOWHERE);
        let Some(first) = held().next() else { continue };
        if held().count() < 2 || fleet.is_lost(number, layout) {
            continue;
        }
        let further = (usize::from(store.level) + 1..=outermost).filter(|level| domains[*level] > 0);
        found += further.filter(|level| held().all(|host| fleet.share(*level as u8, first, host))).count() as u64;
    }
    found
}

/// The fleet whose stores are spread as far as there are domains for their copies; [`None`] if they are anyway.
pub(super) fn further(fleet: &Fleet) -> Option<Fleet> {
    let domains = domains(fleet);
    let mut apart = fleet.clone();
    for store in apart.stores.iter_mut().filter(|store| store.copies > 1) {
        let copies = usize::from(store.copies);
        let level = (usize::from(store.level)..LEVELS).rev().find(|level| domains[*level] >= copies);
        store.level = store.level.max(level.map_or(0, |level| level as u8));
    }
    (apart.stores != fleet.stores).then_some(apart)
}
