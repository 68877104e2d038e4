//! How a copy leaves its slot: to whom its mastership goes, where it is built anew, or why it stays.
//!
//! What always holds: what leaves first is counted out, and what is built for it counted in, before the next copy of the same
//! store is looked at, so that no store passes through fewer whole copies than it asks for (S9).

use crate::refusal::DrainBlock;
use crate::view::View;
use crate::yard::{Wanted, Yard, domain};
use slot_types::cluster::*;
use slot_types::ids::*;
use std::collections::BTreeSet;

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
                view.cluster.fault(store, slot).is_none()
                    && s.behind.is_some_and(|behind| behind <= policy.max_lag_records)
                    && s.heard_ms.is_some_and(|ms| ms <= policy.silent_ms)
                    && s.verified_ms.is_some_and(|ms| ms <= policy.max_stamp_age_ms)
            })
    };
    let whole = |slot: &SlotId| store.copies.get(slot).is_some_and(|copy| copy.whole);
    view.live_copies(name, store).into_iter().filter(|slot| whole(slot) && close(slot)).collect()
}

/// S9: once the copy on `slot` is built on `to` instead, whether as many as the store asks for are seen live; `Err` is how many.
pub(crate) fn stays_whole(
    view: &View<'_>,
    name: &StoreName,
    store: &Store,
    slot: &SlotId,
    to: &SlotId,
) -> Result<(), usize> {
    Gone::default().stays_whole(view, (name, store), slot, to)
}

/// What earlier tasks of the same plan do to a store: which of its copies they destroy, and where they build others.
#[derive(Clone, Default)]
pub(crate) struct Gone {
    /// Destroyed.
    pub left: BTreeSet<SlotId>,
    /// Built.
    pub built: Vec<SlotId>,
}

impl Gone {
    /// The domains in which the store has whole live copies by then, without the one on `slot`.
    fn domains(&self, view: &View<'_>, (name, store): (&StoreName, &Store), slot: &SlotId) -> BTreeSet<String> {
        let leaving = self.left.iter().chain([slot]).cloned().collect();
        let mut domains = live_domains(view, name, store, &leaving);
        domains.extend(self.built.iter().map(|slot| domain(view.cluster, store.spec.spread, &slot.host)));
        domains
    }

    /// See [`stays_whole`].
    fn stays_whole(
        &self,
        view: &View<'_>,
        about: (&StoreName, &Store),
        slot: &SlotId,
        to: &SlotId,
    ) -> Result<(), usize> {
        let store = about.1;
        let mut domains = self.domains(view, about, slot);
        domains.insert(domain(view.cluster, store.spec.spread, &to.host));
        self.enough(store, &domains)
    }

    fn enough(&self, store: &Store, domains: &BTreeSet<String>) -> Result<(), usize> {
        if domains.len() >= usize::from(store.spec.copies) { Ok(()) } else { Err(domains.len()) }
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
    /// Where the copy is built anew, if it must be.
    pub build: Option<SlotId>,
}

pub(crate) fn leaves(
    view: &View<'_>,
    yard: &mut Yard<'_>,
    (name, store): (&StoreName, &Store),
    (slot, copy): (&SlotId, &Copy),
    (off, gone): (&BTreeSet<HostName>, &Gone),
) -> Result<Leaves, DrainBlock> {
    if let Some(block) = stays(view, name, store, slot) {
        return Err(block);
    }
    let mut way = Leaves { hand_over: Vec::new(), build: None };
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
    if gone.enough(store, &gone.domains(view, (name, store), slot)).is_err() {
        let lead = way.hand_over.first().map_or(&master.host, |to| &to.host);
        let wanted = Wanted { store, master: lead, replaces: Some(slot), beside: &gone.built, leaving: &gone.left };
        let to = yard.take(&wanted).map_err(DrainBlock::NoRoom)?;
        if let (true, Err(live)) = (copy.whole, gone.stays_whole(view, (name, store), slot, &to)) {
            return Err(DrainBlock::TooFewCopies { live, needed: store.spec.copies });
        }
        way.build = Some(to);
    }
    Ok(way)
}

/// How many hosts could take the place of a copy.
pub(crate) fn choices(view: &View<'_>, yard: &Yard<'_>, name: &StoreName, slot: &SlotId) -> usize {
    let Some(store) = view.cluster.stores.get(name) else { return 0 };
    let none = BTreeSet::new();
    let wanted = Wanted { store, master: &slot.host, replaces: Some(slot), beside: &[], leaving: &none };
    view.cluster.hosts.keys().filter(|host| yard.why_not(host, &wanted).is_none()).count()
}
