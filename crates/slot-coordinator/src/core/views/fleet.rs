//! The tables of stores and slots.

use super::{Fleet, of_status};
use slot_types::cluster::*;
use slot_types::evidence::Seen;
use slot_types::hold::HoldOn;
use slot_types::ids::*;
use slot_types::view::*;
use std::collections::BTreeSet;

/// Why a node that does not lead knows nothing of engines.
const NOT_LEADING: &str = "only the leader hears agents";

impl Fleet<'_> {
    /// Stores that fit; `None` when the filter names a host that is not there.
    pub(super) fn stores(&self, filter: &StoreFilter) -> Option<StoresView> {
        self.host_is_known(filter.host.as_ref())?;
        let wanted = |name: &StoreName, store: &Store| {
            filter.host.as_ref().is_none_or(|host| store.copies.keys().any(|slot| slot.host == *host))
                && filter.name.as_ref().is_none_or(|pattern| pattern.fits(name.as_str()))
                && !(filter.not_served && self.served(store))
        };
        let all = &self.cluster.stores;
        let stores = all.iter().filter(|(name, store)| wanted(name, store)).map(|(n, s)| self.store_line(n, s));
        let stores: Vec<StoreLine> = stores.collect();
        let named: BTreeSet<&HoldOn> = stores.iter().flat_map(|line| &line.held).collect();
        let holds = self.cluster.holds().filter(|held| named.contains(&held.on)).collect();
        Some(StoresView { revision: self.eyes.state.revision, all: all.len() as u64, stores, holds })
    }

    /// Slots that fit; `None` when the filter names a host that is not there.
    pub(super) fn slots(&self, filter: &SlotFilter) -> Option<SlotsView> {
        self.host_is_known(filter.host.as_ref())?;
        let hosts = self.cluster.hosts.iter();
        let of_hosts = hosts.filter(|(name, _)| filter.host.as_ref().is_none_or(|host| host == *name));
        let slots = of_hosts.flat_map(|(name, host)| {
            host.slots.iter().map(|(number, spec)| self.slot_line(&SlotId::new(name.clone(), *number), spec))
        });
        let free = |line: &SlotLine| line.copy.is_none() && line.claimed_by.is_none();
        Some(SlotsView {
            revision: self.eyes.state.revision,
            all: self.cluster.hosts.values().map(|h| h.slots.len() as u64).sum(),
            slots: slots.filter(|line| !filter.free || free(line)).collect(),
        })
    }

    fn host_is_known(&self, host: Option<&HostName>) -> Option<()> {
        host.is_none_or(|name| self.cluster.hosts.contains_key(name)).then_some(())
    }

    fn store_line(&self, name: &StoreName, store: &Store) -> StoreLine {
        let cases = self.cluster.loss_cases.iter().filter(|(_, c)| c.store == *name && c.state.is_open());
        StoreLine {
            store: name.clone(),
            epoch: store.epoch,
            master: store.master.clone(),
            pending: store.pending.clone(),
            served: self.seen_by_leader(self.served(store)),
            live: self.seen_by_leader(u32::try_from(self.live_copies(store)).unwrap_or(u32::MAX)),
            copies: store.spec.copies,
            load: store.spec.load,
            others: store.copies.keys().filter(|slot| Some(*slot) != store.master.as_ref()).cloned().collect(),
            worst_lag_records: self.worst_of_replicas(store, |s| s.behind, "a replica does not know"),
            oldest_stamp_ms: self.worst_of_replicas(store, |s| s.verified_ms, "a replica was never verified"),
            compared: store.copies.iter().filter_map(|(slot, copy)| self.compared(slot, copy)).max(),
            claimed_by: self.eyes.state.store_claims.get(name).copied(),
            open_loss_cases: cases.map(|(id, _)| *id).collect(),
            held: self.cluster.holds_on_store(name).map(|held| held.on).collect(),
        }
    }

    /// A conclusion from what agents report, which only the leader hears.
    fn seen_by_leader<T>(&self, value: T) -> Seen<T> {
        if self.eyes.leads { Seen::Known { value, age_ms: 0 } } else { Seen::Unknown { reason: NOT_LEADING.into() } }
    }

    /// The largest of what a store's replicas say; one that does not know makes it unknown.
    fn worst_of_replicas(
        &self,
        store: &Store,
        get: impl Fn(&slot_types::engine::EngineStatus) -> Option<u64>,
        missing: &str,
    ) -> Seen<u64> {
        if !self.eyes.leads {
            return Seen::Unknown { reason: NOT_LEADING.into() };
        }
        let mut worst = Seen::Unknown { reason: "it has no replica that serves".into() };
        let replicas = store.copies.iter().filter(|(_, c)| c.role == Role::Replica && c.state == CopyState::Serving);
        for (slot, _) in replicas {
            let said = of_status(&self.eyes.evidence.copy(slot), &get, missing);
            worst = match (&worst, &said) {
                (_, Seen::Unknown { .. }) => return said,
                (Seen::Known { value: old, .. }, Seen::Known { value: new, .. }) if new <= old => worst,
                _ => said,
            };
        }
        worst
    }
}
