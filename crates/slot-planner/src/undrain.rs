//! A host back in service: its replicas started, the same masters handed back.
//!
//! What always holds: a master goes back only after its own copy follows again, by a guarded hand-over like any
//! other; a store that is in no state for it keeps the master it has, and the plan says so.

use crate::drain::{hand_over, host_state};
use crate::nothing::Nothing;
use crate::refusal::Refusal;
use crate::view::View;
use crate::{Draft, sheet, steps};
use slot_types::cluster::*;
use slot_types::ids::*;
use slot_types::plan::{StepKind, Task, TaskKind};

pub(crate) fn start_copy(name: &StoreName, store: &Store, slot: &SlotId, after: Vec<u16>) -> Task {
    Task {
        steps: vec![steps::at(StepKind::Follow, slot)],
        kind: TaskKind::StartCopy { slot: slot.clone() },
        store: Some(name.clone()),
        epoch: store.epoch,
        after,
    }
}

pub(crate) fn plan(view: &View<'_>, host: &HostName) -> Result<Draft, Refusal> {
    let known = may_undrain(view, host)?;
    let mut draft = Draft::default();
    let first = draft.push(host_state(host, HostState::Active, Vec::new()));
    let mut left: Vec<&StoreName> = Vec::new();
    let mut kept: Vec<&StoreName> = Vec::new();
    let mut turn = 0;
    for (name, store) in &view.cluster.stores {
        // A host may hold a retired copy of a store beside the one that took its place (R11).
        let here = |(slot, copy): &(&SlotId, &Copy)| slot.host == *host && copy.state != CopyState::Retired;
        let (mut ready_after, mut handed) = (first, false);
        for (slot, copy) in store.copies.iter().filter(here) {
            if store.master.as_ref() == Some(slot) || store.pending.as_ref() == Some(slot) {
                continue;
            }
            let settled = store.master.is_some() && store.pending.is_none() && !view.inputs.busy_stores.contains(name);

            match copy.state {
                CopyState::Stopped if settled && !store.possible_masters.contains_key(slot) => {
                    ready_after = draft.push(start_copy(name, store, slot, vec![ready_after]));
                }
                CopyState::Serving => {}
                CopyState::Stopped => {
                    left.push(name);
                    continue;
                }
                _ => continue,
            }
            if handed || !known.drained_masters.contains(name) {
                continue;
            }
            match view.master_well(name, store) {
                Ok(from) if settled && store.possible_masters.is_empty() && from.host != *host => {
                    handed = true;
                    ready_after = draft.push(hand_over(view, name, store, from, slot, vec![ready_after], turn));
                    turn += 1;
                }
                _ => kept.push(name),
            }
        }
    }
    if known.declared == HostState::Active && draft.tasks.len() == 1 {
        return Err(Refusal::NothingToDo(Nothing::Active(host.clone())));
    }
    sheet::where_to(view, None, &mut draft);
    if !left.is_empty() {
        let text = format!("not started now, their store is in no state for it: {}", sheet::names(&left));
        draft.note("NOT POSSIBLE", text);
    }
    if !kept.is_empty() {
        draft.note("NOT POSSIBLE", format!("not handed back, their master is not well: {}", sheet::names(&kept)));
    }
    draft.note("WAY BACK", format!("slotctl drain host {host}"));
    Ok(draft)
}

fn may_undrain<'a>(view: &View<'a>, host: &HostName) -> Result<&'a Host, Refusal> {
    let known = view.cluster.hosts.get(host).ok_or_else(|| Refusal::UnknownHost(host.clone()))?;
    match known.declared {
        HostState::Maintenance | HostState::Draining | HostState::Off | HostState::Empty => {}
        // A copy that a drain had stopped before it was given up, or that an undrain could not start, is started now.
        HostState::Active if view.cluster.copies_on(host).any(|(_, _, copy)| copy.state == CopyState::Stopped) => {}
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
