//! A host back in service: its replicas started, the same masters handed back.
//!
//! What always holds: a master goes back only after its own copy follows again, by a guarded hand-over like any
//! other; a store that is in no state for it keeps the master it has, and the plan says so.

use crate::drain::{hand_over, host_state};
use crate::nothing::Nothing;
use crate::refusal::{NotWell, Refusal};
use crate::view::View;
use crate::{Draft, sheet, steps};
use slot_types::cluster::*;
use slot_types::ids::*;
use slot_types::plan::{StepKind, Task, TaskKind};
use std::collections::{BTreeMap, BTreeSet};

pub(crate) fn start_copy(name: &StoreName, store: &Store, slot: &SlotId, after: Vec<u16>) -> Task {
    Task {
        steps: vec![steps::at(StepKind::Follow, slot)],
        kind: TaskKind::StartCopy { slot: slot.clone() },
        store: Some(name.clone()),
        epoch: store.epoch,
        after,
    }
}

/// What keeps a copy that was stopped on purpose from being started: no settled master to follow, or that it may be one itself.
pub(crate) fn may_start(view: &View<'_>, name: &StoreName, store: &Store, slot: &SlotId) -> Result<(), Refusal> {
    if view.inputs.busy_stores.contains(name) {
        return Err(Refusal::StoresBusy(BTreeSet::from([name.clone()])));
    }
    let not_served = |why| Refusal::NotServed { store: name.clone(), why };
    if let Some(pending) = &store.pending {
        return Err(not_served(NotWell::Pending(pending.clone())));
    }
    if store.master.is_none() {
        return Err(not_served(NotWell::NoMaster));
    }
    if store.possible_masters.contains_key(slot) {
        let slots = BTreeSet::from([slot.clone()]);
        return Err(Refusal::PossibleMasters { store: name.clone(), slots });
    }
    Ok(())
}

/// The master that a store is handed back by, or what keeps it where it is.
pub(crate) fn hands_back<'a>(view: &View<'a>, name: &StoreName, store: &'a Store) -> Result<&'a SlotId, Refusal> {
    if view.inputs.busy_stores.contains(name) {
        return Err(Refusal::StoresBusy(BTreeSet::from([name.clone()])));
    }
    let master = view.master_well(name, store).map_err(|why| Refusal::NotServed { store: name.clone(), why })?;
    if !store.possible_masters.is_empty() {
        let slots = store.possible_masters.keys().cloned().collect();
        return Err(Refusal::PossibleMasters { store: name.clone(), slots });
    }
    Ok(master)
}

pub(crate) fn plan(view: &View<'_>, host: &HostName) -> Result<Draft, Refusal> {
    let known = may_undrain(view, host)?;
    let mut draft = Draft::default();
    let first = draft.push(host_state(host, HostState::Active, Vec::new()));
    let mut back = Back { draft, turn: 0, left: BTreeMap::new(), kept: Vec::new(), waits: BTreeMap::new() };
    for (name, store) in &view.cluster.stores {
        back.store(view, host, known, (name, store), first);
    }
    let Back { mut draft, left, kept, waits, .. } = back;
    if known.declared == HostState::Active && draft.tasks.len() == 1 {
        // Of a store whose copy is not started, that is why its master is not handed back either.
        let left = waits.into_iter().chain(left);
        let because: BTreeMap<StoreName, Refusal> = left.map(|(name, why)| (name.clone(), why)).collect();
        return Err(match because.is_empty() {
            true => Refusal::NothingToDo(Nothing::Active(host.clone())),
            false => Refusal::Undrain { host: host.clone(), because },
        });
    }
    sheet::where_to(view, None, &mut draft);
    if !left.is_empty() {
        let left: Vec<&StoreName> = left.into_keys().collect();
        let text = format!("not started now, their store is in no state for it: {}", sheet::names(&left));
        draft.note("NOT POSSIBLE", text);
    }
    if !kept.is_empty() {
        let text = format!("not handed back, no well master or no copy here that follows: {}", sheet::names(&kept));
        draft.note("NOT POSSIBLE", text);
    }
    draft.note("WAY BACK", format!("slotctl drain host {host}"));
    Ok(draft)
}

/// What comes back to a host, and what does not.
struct Back<'a> {
    draft: Draft,
    turn: usize,
    /// Stores of which a copy stays stopped.
    left: BTreeMap<&'a StoreName, Refusal>,
    /// Stores that a drain took and that stay where they are.
    kept: Vec<&'a StoreName>,
    /// Of those, why: where a copy on the host could take them back, were it otherwise.
    waits: BTreeMap<&'a StoreName, Refusal>,
}

impl<'a> Back<'a> {
    fn store(
        &mut self,
        view: &View<'_>,
        host: &HostName,
        known: &Host,
        (name, store): (&'a StoreName, &Store),
        first: u16,
    ) {
        let is_there = store.master.as_ref().is_some_and(|master| master.host == *host);
        let mut to_hand_back = known.drained_masters.contains(name) && !is_there;
        let mut ready_after = first;
        // A host may hold a retired copy of a store beside the one that took its place (R11).
        let here = |(slot, copy): &(&SlotId, &Copy)| slot.host == *host && copy.state != CopyState::Retired;
        for (slot, copy) in store.copies.iter().filter(here) {
            if store.master.as_ref() == Some(slot) || store.pending.as_ref() == Some(slot) {
                continue;
            }
            match copy.state {
                CopyState::Serving => {}
                CopyState::Stopped => {
                    if let Err(why) = may_start(view, name, store, slot) {
                        self.left.insert(name, why);
                        continue;
                    }
                    ready_after = self.draft.push(start_copy(name, store, slot, vec![ready_after]));
                }
                state => {
                    self.waits.extend(to_hand_back.then(|| (name, not_back(name, slot, state))));
                    continue;
                }
            }
            if !to_hand_back {
                continue;
            }
            match hands_back(view, name, store) {
                Ok(from) => {
                    to_hand_back = false;
                    let moves = hand_over(view, name, store, from, slot, vec![ready_after], self.turn);
                    ready_after = self.draft.push(moves);
                    self.turn += 1;
                }
                Err(why) => drop(self.waits.insert(name, why)),
            }
        }
        if to_hand_back {
            self.kept.push(name);
        }
    }
}

/// A copy that is no use for getting a master back, or for being started, as it is.
pub(crate) fn not_back(name: &StoreName, slot: &SlotId, state: CopyState) -> Refusal {
    let next = "it is brought back only once it serves; slotctl show slot says more";
    Refusal::CopyIn { store: name.clone(), slot: slot.clone(), state, next }
}

fn may_undrain<'a>(view: &View<'a>, host: &HostName) -> Result<&'a Host, Refusal> {
    let known = view.cluster.hosts.get(host).ok_or_else(|| Refusal::UnknownHost(host.clone()))?;
    match known.declared {
        HostState::Maintenance | HostState::Draining | HostState::Off | HostState::Empty => {}
        // A copy that a drain had stopped before it was given up, or that an undrain could not start, is started now.
        HostState::Active if view.cluster.copies_on(host).any(|(_, _, copy)| copy.state == CopyState::Stopped) => {}
        // A master that could not be handed back then.
        HostState::Active if !known.drained_masters.is_empty() => {}
        HostState::Active => return Err(Refusal::NothingToDo(Nothing::Active(host.clone()))),
        state => {
            let needed = "only a host in Maintenance, Draining, Empty or Off can be undrained";
            return Err(Refusal::HostIn { host: host.clone(), state, needed });
        }
    }
    if view.inputs.busy_hosts.contains(host) {
        return Err(Refusal::HostBusy(host.clone()));
    }
    if known.quarantined.is_some() {
        return Err(Refusal::HostQuarantined(host.clone()));
    }
    if !view.answers(host) {
        return Err(Refusal::HostSilent(host.clone()));
    }
    Ok(known)
}
