//! The lines of stores that are there, when a file says something else of them.
//!
//! What always holds: what can change without a copy being touched changes with the file; what would break a promise that
//! the store has already made is refused with what to do instead; copies are made and destroyed by a rebuild, not by a file.

use crate::refusal::Refusal;
use crate::sheet;
use crate::view::View;
use slot_types::cluster::*;
use slot_types::ids::*;
use slot_types::render::size as bytes;
use std::collections::BTreeMap;

/// Stores that were made, with what the file says of them now where that is something else.
pub(crate) fn changed<'a>(
    cluster: &'a Cluster,
    spec: &'a FleetSpec,
) -> impl Iterator<Item = (&'a StoreName, &'a Store, &'a StoreSpec)> {
    let made = |store: &&Store| store.epoch != Epoch::ZERO && !store.retired;
    let both = spec.stores.iter().filter_map(move |(name, wanted)| {
        let store = cluster.stores.get(name).filter(made)?;
        Some((name, store, wanted))
    });
    both.filter(|(_, store, wanted)| store.spec != **wanted)
}

/// What changes, a line for each kind of change with the stores it is about.
pub(crate) fn changes(view: &View<'_>, spec: &FleetSpec) -> Result<Vec<String>, Refusal> {
    let mut said: BTreeMap<String, Vec<&StoreName>> = BTreeMap::new();
    for (name, store, wanted) in changed(view.cluster, spec) {
        keeps_its_promises(name, &store.spec, wanted)?;
        fits(view, spec, name, store, wanted)?;
        let now = &store.spec;
        let mut say = |text: String| said.entry(text).or_default().push(name);
        if now.copies != wanted.copies {
            say(format!("{} copies wanted, was {}; slotctl rebuild all makes it so", wanted.copies, now.copies));
        }
        if now.size_bytes != wanted.size_bytes {
            say(format!("{} reserved on each slot, was {}", bytes(wanted.size_bytes), bytes(now.size_bytes)));
        }
        if now.spread != wanted.spread {
            say(format!("no two copies in one {}, was {}", wanted.spread, now.spread));
        }
        if now.load != wanted.load {
            say(format!("load {}, was {}", wanted.load, now.load));
        }
        if now.never != wanted.never {
            let hosts: Vec<&HostName> = wanted.never.iter().collect();
            say(if hosts.is_empty() { "no pin".into() } else { format!("never on {}", sheet::names(&hosts)) });
        }
    }
    Ok(said.into_iter().map(|(text, stores)| format!("{}: {text}", sheet::names(&stores))).collect())
}

/// What of a store stays as it was made, and what to do instead.
fn keeps_its_promises(name: &StoreName, now: &StoreSpec, wanted: &StoreSpec) -> Result<(), Refusal> {
    let refuse = |what, next| Err(Refusal::NotSupported { store: name.clone(), what, next });
    if now.engine != wanted.engine {
        return refuse("the engine", "its data is that engine's: put the old value back, and make another store");
    }
    // R24: it is committed configuration of the epoch, and what a sheet says of losses is reckoned with it.
    if now.sync_copies != wanted.sync_copies {
        return refuse("sync_copies", "what it has acknowledged was promised with the old value (R24): put that back");
    }
    Ok(())
}

/// S9: the copies that are there are where the new line allows them.
fn fits(view: &View<'_>, spec: &FleetSpec, name: &StoreName, store: &Store, wanted: &StoreSpec) -> Result<(), Refusal> {
    for (slot, _) in store.copies.iter().filter(|(_, copy)| copy.state != CopyState::Retired) {
        if wanted.never.contains(&slot.host) {
            return Err(Refusal::Pinned { store: name.clone(), slot: slot.clone() });
        }
        let room = spec.hosts.get(&slot.host).and_then(|host| host.slots.get(&slot.number));
        let room = room.or_else(|| view.cluster.slot(slot));
        if room.is_some_and(|room| room.size_bytes < wanted.size_bytes) {
            let what = "reserves more than there is on";
            return Err(Refusal::SlotInUse { slot: slot.clone(), store: name.clone(), what });
        }
    }
    Ok(())
}
