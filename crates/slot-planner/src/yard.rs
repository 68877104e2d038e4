//! Free slots for one more copy of a store, and what keeps a host from having one.
//!
//! What always holds: a slot is given once; a copy goes to an Active host that answers, on a slot that is free and large
//! enough, in a domain that no other copy of its store is in (S9); of several hosts the one that spreads the master's pairs
//! thinnest, then the emptiest, then the first by name.

use crate::refusal::WhyNot;
use crate::view::View;
use slot_types::cluster::*;
use slot_types::ids::*;
use std::collections::{BTreeMap, BTreeSet};

/// What two copies of a store may not share.
pub(crate) fn domain(cluster: &Cluster, spread: Spread, host: &HostName) -> String {
    match (spread, cluster.hosts.get(host)) {
        (Spread::Rack, Some(known)) => known.at.to_string(),
        _ => host.to_string(),
    }
}

/// The slots that are free, as a plan fills them.
pub(crate) struct Yard<'a> {
    view: &'a View<'a>,
    free: BTreeMap<&'a HostName, BTreeMap<u16, u64>>,
    /// Copies by host.
    pub copies: BTreeMap<HostName, u32>,
    /// How many masters of the first host have a copy on the second.
    pairs: BTreeMap<(HostName, HostName), u32>,
    /// A host that gets nothing: it is about to be emptied.
    barred: Option<&'a BTreeSet<HostName>>,
}

/// One more copy of a store: where its master will be, which copy it takes the place of, and where it may not go.
pub(crate) struct Wanted<'a> {
    pub store: &'a Store,
    pub master: &'a HostName,
    pub replaces: Option<&'a SlotId>,
    /// Slots of this store that earlier tasks of the same plan fill.
    pub beside: &'a [SlotId],
    /// Copies that do not stand in the way: they are lost, or go.
    pub leaving: &'a BTreeSet<SlotId>,
}

impl<'a> Yard<'a> {
    pub fn new(view: &'a View<'a>) -> Self {
        let used = view.used_slots();
        let mut free: BTreeMap<&HostName, BTreeMap<u16, u64>> = BTreeMap::new();
        let mut copies: BTreeMap<HostName, u32> = BTreeMap::new();
        for (name, host) in &view.cluster.hosts {
            let open = host.slots.iter().filter(|(number, _)| {
                let slot = SlotId::new(name.clone(), **number);
                !used.contains_key(&slot) && !view.inputs.busy_slots.contains(&slot)
            });
            free.insert(name, open.map(|(number, slot)| (*number, slot.size_bytes)).collect());
            copies.insert(name.clone(), 0);
        }
        used.keys().for_each(|slot| *copies.entry(slot.host.clone()).or_default() += 1);
        let mut pairs = BTreeMap::new();
        for store in view.cluster.stores.values() {
            let Some(master) = store.pending.as_ref().or(store.master.as_ref()) else { continue };
            for slot in store.copies.keys().filter(|slot| *slot != master) {
                *pairs.entry((master.host.clone(), slot.host.clone())).or_default() += 1;
            }
        }
        Self { view, free, copies, pairs, barred: None }
    }

    /// With nothing for this host.
    pub fn without(self, hosts: &'a BTreeSet<HostName>) -> Self {
        Self { barred: Some(hosts), ..self }
    }

    fn is_barred(&self, host: &HostName) -> bool {
        self.barred.is_some_and(|barred| barred.contains(host))
    }

    /// How many slots of Active hosts that are not barred are free and large enough.
    pub fn room(&self, size: u64) -> usize {
        let active =
            |name: &HostName| self.view.cluster.hosts.get(name).is_some_and(|h| h.declared == HostState::Active);
        let hosts = self.free.iter().filter(|(name, _)| !self.is_barred(name) && active(name));
        hosts.map(|(_, free)| free.values().filter(|s| **s >= size).count()).sum()
    }

    /// Why a host may not have the copy; `None` if it may.
    pub fn why_not(&self, host: &HostName, wanted: &Wanted<'_>) -> Option<WhyNot> {
        let known = self.view.cluster.hosts.get(host)?;
        if self.is_barred(host) {
            return Some(WhyNot::HostState(HostState::Draining));
        }
        if known.declared != HostState::Active {
            return Some(WhyNot::HostState(known.declared));
        }
        if known.quarantined.is_some() {
            return Some(WhyNot::HostQuarantined);
        }
        if self.view.inputs.busy_hosts.contains(host) {
            return Some(WhyNot::HostBusy);
        }
        if !self.view.answers(host) {
            return Some(WhyNot::HostSilent);
        }
        if wanted.store.spec.never.contains(host) {
            return Some(WhyNot::Pinned);
        }
        let spread = wanted.store.spec.spread;
        let here = domain(self.view.cluster, spread, host);
        let stands = |(slot, copy): &(&SlotId, &Copy)| {
            copy.state != CopyState::Retired && Some(*slot) != wanted.replaces && !wanted.leaving.contains(*slot)
        };
        let others = wanted.store.copies.iter().filter(stands).map(|(slot, _)| slot).chain(wanted.beside);
        if let Some(other) = others.into_iter().find(|s| domain(self.view.cluster, spread, &s.host) == here) {
            return Some(WhyNot::SameDomain(other.clone()));
        }
        let fits = self.free.get(host).is_some_and(|free| free.values().any(|s| *s >= wanted.store.spec.size_bytes));
        (!fits).then_some(WhyNot::NoFreeSlot)
    }

    /// Takes a slot of the best host, or says why every host will not do.
    pub fn take(&mut self, wanted: &Wanted<'_>) -> Result<SlotId, BTreeMap<HostName, WhyNot>> {
        let mut why = BTreeMap::new();
        let mut open: Vec<HostName> = Vec::new();
        for host in self.view.cluster.hosts.keys() {
            match self.why_not(host, wanted) {
                None => open.push(host.clone()),
                Some(reason) => drop(why.insert(host.clone(), reason)),
            }
        }
        let best = open.into_iter().min_by_key(|host| {
            let pair = self.pairs.get(&(wanted.master.clone(), host.clone())).copied().unwrap_or(0);
            (pair, self.copies.get(host).copied().unwrap_or(0), host.clone())
        });
        best.and_then(|host| self.best_fit(&host, wanted.store.spec.size_bytes))
            .map(|slot| self.put(slot, wanted.master))
            .ok_or(why)
    }

    /// See [`Yard::take`]. Where every other domain is taken it may be that of a copy which is lost, since its host can't be asked
    /// (S9), and which is named: the store has one copy more than it asks for from then on, until the lost one is back.
    pub fn take_or_beside_lost(
        &mut self,
        wanted: &Wanted<'_>,
    ) -> Result<(SlotId, Option<SlotId>), BTreeMap<HostName, WhyNot>> {
        let why = match self.take(wanted) {
            Ok(slot) => return Ok((slot, None)),
            Err(why) => why,
        };
        let Wanted { store, master, beside, leaving, .. } = *wanted;
        let there = || store.copies.iter().filter(|(_, copy)| copy.state != CopyState::Retired).map(|(slot, _)| slot);
        if there().count() + beside.len() < usize::from(store.spec.copies) {
            return Err(why);
        }
        for lost in there().filter(|slot| slot.host != *master && !self.view.answers(&slot.host)) {
            if let Ok(slot) = self.take(&Wanted { store, master, replaces: Some(lost), beside, leaving }) {
                return Ok((slot, Some(lost.clone())));
            }
        }
        Err(why)
    }

    /// Takes a slot of this very host, if it may have the copy.
    pub fn take_on(&mut self, host: &HostName, wanted: &Wanted<'_>) -> Option<SlotId> {
        if self.why_not(host, wanted).is_some() {
            return None;
        }
        let slot = self.best_fit(host, wanted.store.spec.size_bytes)?;
        Some(self.put(slot, wanted.master))
    }

    /// Takes this very slot, if it is free and large enough.
    pub fn take_this(&mut self, slot: &SlotId, wanted: &Wanted<'_>) -> Result<SlotId, WhyNot> {
        if let Some(why) = self.why_not(&slot.host, wanted) {
            return Err(why);
        }
        let size = self.free.get(&slot.host).and_then(|free| free.get(&slot.number));
        if size.is_none_or(|size| *size < wanted.store.spec.size_bytes) {
            return Err(WhyNot::NoFreeSlot);
        }
        Ok(self.put(slot.clone(), wanted.master))
    }

    fn best_fit(&self, host: &HostName, size: u64) -> Option<SlotId> {
        let fitting = self.free.get(host)?.iter().filter(|(_, s)| **s >= size);
        let (number, _) = fitting.min_by_key(|(number, s)| (**s, **number))?;
        Some(SlotId::new(host.clone(), *number))
    }

    fn put(&mut self, slot: SlotId, master: &HostName) -> SlotId {
        if let Some(free) = self.free.get_mut(&slot.host) {
            free.remove(&slot.number);
        }
        *self.copies.entry(slot.host.clone()).or_default() += 1;
        *self.pairs.entry((master.clone(), slot.host.clone())).or_default() += 1;
        slot
    }

    /// A copy leaves its host; its slot is free only once it is destroyed, so not for this plan.
    pub fn leaves(&mut self, host: &HostName) {
        if let Some(copies) = self.copies.get_mut(host) {
            *copies = copies.saturating_sub(1);
        }
    }
}
