//! How a copy leaves its slot: to whom its mastership goes, where it is built anew, or why it stays.
//!
//! What always holds: what leaves first is counted out, and what is built for it counted in, before the next copy of the same
//! store is looked at, so that no store passes through fewer whole copies than it asks for (S9).

use crate::refusal::DrainBlock;
use crate::view::View;
use slot_types::cluster::*;
use slot_types::ids::*;
use std::collections::BTreeSet;

/// What two copies of a store may not share.
pub(crate) fn domain(cluster: &Cluster, spread: Spread, host: &HostName) -> String {
    match (spread, cluster.hosts.get(host)) {
        (Spread::Rack, Some(known)) => known.at.to_string(),
        _ => host.to_string(),
    }
}

/// Whole copies of a store that are seen live, in how many domains they are, without `leaving`.
pub(crate) fn live_domains(
    view: &View<'_>,
    name: &StoreName,
    store: &Store,
    leaving: &BTreeSet<SlotId>,
) -> BTreeSet<String> {
    let live = close_copies(view, name, store).into_iter();
    let whole = live.filter(|slot| !leaving.contains(slot));
    whole.map(|slot| domain(view.cluster, store.spec.spread, &slot.host)).collect()
}

/// The whole copies of a store that are seen live and close behind, its master among them.
pub(crate) fn close_copies(view: &View<'_>, name: &StoreName, store: &Store) -> BTreeSet<SlotId> {
    let policy = view.policy();
    let close = |slot: &SlotId| {
        let status = store.copies.get(slot).and_then(|copy| view.status(name, slot, copy)).map(|(status, _)| status);
        store.master.as_ref() == Some(slot)
            || status.is_some_and(|s| {
                s.behind.is_some_and(|behind| behind <= policy.max_lag_records)
                    && s.heard_ms.is_some_and(|ms| ms <= policy.silent_ms)
                    && s.verified_ms.is_some_and(|ms| ms <= policy.max_stamp_age_ms)
            })
    };
    let whole = |slot: &SlotId| store.copies.get(slot).is_some_and(|copy| copy.whole);
    view.live_copies(name, store).into_iter().filter(|slot| whole(slot) && close(slot)).collect()
}

/// What earlier tasks of the same plan do to a store: which of its copies they destroy, and how many they build, each in a domain
/// of its own.
#[derive(Clone, Default)]
pub(crate) struct Gone {
    /// Destroyed.
    pub left: BTreeSet<SlotId>,
    /// Built.
    pub built: usize,
}

impl Gone {
    /// In how many domains the store has whole live copies by then, without the one on `slot`.
    fn whole(&self, view: &View<'_>, (name, store): (&StoreName, &Store), slot: &SlotId) -> usize {
        let leaving = self.left.iter().chain([slot]).cloned().collect();
        live_domains(view, name, store, &leaving).len() + self.built
    }

    /// S9: once the copy on `slot` is built elsewhere instead, whether as many as the store asks for are seen live; `Err` is how
    /// many.
    pub fn stays_whole(&self, view: &View<'_>, about: (&StoreName, &Store), slot: &SlotId) -> Result<(), usize> {
        let whole = self.whole(view, about, slot) + 1;
        if whole >= usize::from(about.1.spec.copies) { Ok(()) } else { Err(whole) }
    }
}

/// What keeps a copy from being destroyed at all.
pub(crate) fn stays(view: &View<'_>, name: &StoreName, store: &Store, slot: &SlotId) -> Option<DrainBlock> {
    if view.inputs.busy_stores.contains(name) {
        return Some(DrainBlock::Busy);
    }
    if let Some(case) = view.open_case(name, slot) {
        return Some(DrainBlock::LossCase(case));
    }
    let possible = store.possible_masters.contains_key(slot) || store.pending.as_ref() == Some(slot);
    possible.then(|| DrainBlock::PossibleMasters(BTreeSet::from([slot.clone()])))
}

/// How the copy on a slot leaves it.
pub(crate) struct Leaves {
    /// The master goes to one of these first.
    pub hand_over: Vec<SlotId>,
    /// Whether it has to be built elsewhere before.
    pub is_built: bool,
}

pub(crate) fn leaves(
    view: &View<'_>,
    (name, store): (&StoreName, &Store),
    (slot, copy): (&SlotId, &Copy),
    (off, gone): (&BTreeSet<HostName>, &Gone),
) -> Result<Leaves, DrainBlock> {
    if let Some(block) = stays(view, name, store, slot) {
        return Err(block);
    }
    let mut way = Leaves { hand_over: Vec::new(), is_built: false };
    if copy.state == CopyState::Retired && store.master.as_ref() != Some(slot) {
        return Ok(way);
    }
    let master = view.master_well(name, store).map_err(DrainBlock::NotServed)?;
    if master == slot {
        way.hand_over = crate::drain::hand_over_options(view, name, store, slot, off)?;
    }
    if copy.state == CopyState::Quarantined {
        return Err(DrainBlock::Copy(copy.state));
    }
    way.is_built = gone.whole(view, (name, store), slot) < usize::from(store.spec.copies);
    if let (true, true, Err(live)) = (way.is_built, copy.whole, gone.stays_whole(view, (name, store), slot)) {
        return Err(DrainBlock::TooFewCopies { live, needed: store.spec.copies });
    }
    Ok(way)
}
