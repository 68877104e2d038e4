//! Whose orders a host takes, and which of its copies may be masters (S16, R10, R3).
//!
//! What always holds: a generation is followed from the durable Adopt on; a copy may be master from the durable Promote on, until
//! an order that fences it is durably done.

use super::{Copy, Found, Host, Ledgers};
use slot_agent::core::image::{CopyEntry, CopyKey, LedgerRole};
use slot_types::ids::*;
use slot_types::order::Action;

impl Ledgers {
    /// S16: the generation whose orders a host takes.
    pub fn generation(&self, host: &HostName) -> u32 {
        self.hosts.get(host).map_or(0, |host| host.generation)
    }

    /// The disk of a host, by its ledger.
    pub fn disk(&self, host: &HostName) -> Option<Incarnation> {
        self.hosts.get(host)?.meta.as_ref().map(|meta| meta.incarnation)
    }

    /// The epoch at which a ledger holds a live copy of a store on a slot.
    pub fn copy_of(&self, slot: &SlotId, store: &StoreName) -> Option<Epoch> {
        let mut copies = self.hosts.get(&slot.host)?.copies.iter();
        let is_it = |(key, copy): &(&CopyKey, &Copy)| key.slot == slot.number && key.store == *store && !copy.retired;
        copies.find(is_it).map(|(_, copy)| copy.epoch)
    }

    /// R3: the store of which a slot may be master, and since which epoch: it was ordered so, and nothing that fences it is done.
    pub fn may_be_master<'a>(&'a self, slot: &SlotId) -> Option<(&'a StoreName, Epoch)> {
        let host = self.hosts.get(&slot.host)?;
        let lives = |key: &CopyKey| host.copies.get(key).is_some_and(|copy| !copy.retired);
        let mut masters = host.masters.iter().filter(|(key, _)| key.slot == slot.number && lives(key));
        masters.next_back().map(|(key, epoch)| (&key.store, *epoch))
    }
}

impl Host {
    /// R3: a copy's entry is on the disk, or was read from it.
    pub(super) fn leads(&mut self, key: &CopyKey, entry: &CopyEntry) {
        if entry.role == LedgerRole::Master {
            let since = self.masters.entry(key.clone()).or_default();
            *since = entry.epoch.max(*since);
        }
    }

    /// R2: an order that fences a copy is done.
    pub(super) fn is_fenced(&mut self, slot: &SlotId, (store, generation): &(StoreName, CopyGeneration), epoch: Epoch) {
        let key = CopyKey { slot: slot.number, store: store.clone(), generation: *generation };
        if self.masters.get(&key).is_some_and(|since| *since <= epoch) {
            self.masters.remove(&key);
        }
    }

    /// S16: what is taken is of the generation that this host follows; an Adopt changes that, upwards.
    pub(super) fn of_generation(&mut self, found: &mut Found, name: &HostName, id: OrderId) {
        let Some(order) = self.delivered.get(&id) else { return };
        let of = order.index.generation();
        if order.action == Action::Adopt {
            if of < self.generation {
                found.say("S16", format!("{name} is adopted by generation {of} after {}", self.generation));
            }
            self.generation = of.max(self.generation);
        } else if of != self.generation {
            found.say("S16", format!("{name} takes {id} of generation {of}, it follows {}", self.generation));
        }
    }
}
