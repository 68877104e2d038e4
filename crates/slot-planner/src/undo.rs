//! What another plan has done, brought back.
//!
//! What always holds: it is planned like anything else, from what is observed now: a master goes back by a guarded hand-over and
//! only to a copy that follows; what can't be brought back is named, and so is where undo ends.

use crate::drain::{hand_over, host_state};
use crate::nothing::Nothing;
use crate::refusal::Refusal;
use crate::undrain::start_copy;
use crate::view::View;
use crate::{Draft, sheet};
use slot_types::cluster::*;
use slot_types::ids::*;
use slot_types::plan::Reverse;
use std::collections::BTreeMap;

pub(crate) fn plan(view: &View<'_>, wanted: &Reverse) -> Result<Draft, Refusal> {
    let mut draft = Draft::default();
    let first = declare_active(view, wanted, &mut draft)?;
    let mut not_started = Vec::new();
    let mut last: BTreeMap<&StoreName, u16> = BTreeMap::new();
    let mut begun: BTreeMap<&SlotId, u16> = BTreeMap::new();
    for (slot, name) in &wanted.started {
        let Some(store) = view.cluster.stores.get(name) else { continue };
        match store.copies.get(slot).map(|copy| copy.state) {
            Some(CopyState::Stopped) if may_start(view, name, store, slot) => {
                let after = first.get(&slot.host).into_iter().chain(last.get(name)).copied().collect();
                let task = draft.push(start_copy(name, store, slot, after));
                begun.insert(slot, task);
                last.insert(name, task);
            }
            Some(CopyState::Serving) => {}
            _ => not_started.push(name),
        }
    }
    let mut kept = Vec::new();
    for (turn, (name, to)) in wanted.masters.iter().enumerate() {
        let Some(store) = view.cluster.stores.get(name).filter(|store| store.master.as_ref() != Some(to)) else {
            continue;
        };
        let follows = match store.copies.get(to).map(|copy| copy.state) {
            Some(CopyState::Serving) => true,
            Some(CopyState::Stopped) => begun.contains_key(to),
            _ => false,
        };
        match view.master_well(name, store) {
            Ok(from) if follows && is_settled(view, name, store) && store.possible_masters.is_empty() => {
                let after = first.get(&to.host).into_iter().chain(last.get(name)).copied().collect();
                last.insert(name, draft.push(hand_over(view, name, store, from, to, after, turn)));
            }
            _ => kept.push(name),
        }
    }
    if draft.tasks.is_empty() {
        return Err(Refusal::NothingToDo(Nothing::Undone(wanted.plan)));
    }
    sheet::where_to(view, None, &mut draft);
    if !not_started.is_empty() {
        let text = format!("not started now, their store is in no state for it: {}", sheet::names(&not_started));
        draft.note("NOT POSSIBLE", text);
    }
    if !kept.is_empty() {
        let text = format!("not handed back, no well master or no copy that follows: {}", sheet::names(&kept));
        draft.note("NOT POSSIBLE", text);
    }
    draft.note("UNDO ENDS", where_it_ends(wanted));
    Ok(draft)
}

/// The hosts that are Active again, each with the task that declares it so.
fn declare_active(view: &View<'_>, wanted: &Reverse, draft: &mut Draft) -> Result<BTreeMap<HostName, u16>, Refusal> {
    let mut first = BTreeMap::new();
    for host in &wanted.active {
        let known = view.cluster.hosts.get(host).ok_or_else(|| Refusal::UnknownHost(host.clone()))?;
        match known.declared {
            HostState::Active => continue,
            HostState::Draining | HostState::Maintenance => {}
            state => {
                let needed = "only a host in Draining or Maintenance is made Active by an undo";
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
        first.insert(host.clone(), draft.push(host_state(host, HostState::Active, Vec::new())));
    }
    Ok(first)
}

fn is_settled(view: &View<'_>, name: &StoreName, store: &Store) -> bool {
    store.master.is_some() && store.pending.is_none() && !view.inputs.busy_stores.contains(name)
}

fn may_start(view: &View<'_>, name: &StoreName, store: &Store, slot: &SlotId) -> bool {
    is_settled(view, name, store) && !store.possible_masters.contains_key(slot) && view.answers(&slot.host)
}

fn where_it_ends(wanted: &Reverse) -> String {
    match wanted.stays {
        0 => format!("all that {} did is brought back; what it had not begun stays undone", wanted.plan),
        n => format!(
            "{n} of its tasks stay as they are: copies built or destroyed, failovers, and what it left half done",
        ),
    }
}
