//! What another plan has done, brought back.
//!
//! What always holds: it is planned like anything else, from what is observed now: a master goes back by a guarded hand-over and
//! only to a copy that follows, on a host that is in service; what can't be brought back is named, and so is where undo ends. That
//! nothing is left to bring back is said only where nothing is.

use crate::drain::{hand_over, host_state};
use crate::nothing::Nothing;
use crate::refusal::Refusal;
use crate::undrain::{hands_back, may_start, not_back, start_copy};
use crate::view::View;
use crate::{Draft, sheet};
use slot_types::cluster::*;
use slot_types::ids::*;
use slot_types::plan::Reverse;
use std::collections::BTreeMap;

/// Why something of a store is not brought back.
type Left<'a> = BTreeMap<&'a StoreName, Refusal>;

pub(crate) fn plan(view: &View<'_>, wanted: &Reverse) -> Result<Draft, Refusal> {
    let mut draft = Draft::default();
    let first = declare_active(view, wanted, &mut draft)?;
    let mut not_started = Left::new();
    let mut last: BTreeMap<&StoreName, u16> = BTreeMap::new();
    let mut begun: BTreeMap<&SlotId, u16> = BTreeMap::new();
    for (slot, name) in &wanted.started {
        let Some(store) = view.cluster.stores.get(name).filter(|store| !store.retired) else { continue };
        match starts(view, (name, store), slot, &first) {
            Ok(true) => {
                let after = first.get(&slot.host).into_iter().chain(last.get(name)).copied().collect();
                let task = draft.push(start_copy(name, store, slot, after));
                begun.insert(slot, task);
                last.insert(name, task);
            }
            Ok(false) => {}
            Err(why) => drop(not_started.insert(name, why)),
        }
    }
    let mut kept = Left::new();
    for (turn, (name, to)) in wanted.masters.iter().enumerate() {
        let Some(store) = view.cluster.stores.get(name).filter(|store| !store.retired) else { continue };
        if store.master.as_ref() == Some(to) {
            continue;
        }
        match takes_back(view, (name, store), to, (&first, begun.contains_key(to))) {
            Ok(from) => {
                let after = first.get(&to.host).into_iter().chain(last.get(name)).copied().collect();
                last.insert(name, draft.push(hand_over(view, name, store, from, to, after, turn)));
            }
            Err(why) => drop(kept.insert(name, why)),
        }
    }
    if draft.tasks.is_empty() {
        // Of a store whose copy is not started, that is why its master is not handed back either.
        let left = kept.into_iter().chain(not_started);
        let because: BTreeMap<StoreName, Refusal> = left.map(|(name, why)| (name.clone(), why)).collect();
        return Err(match because.is_empty() {
            true => Refusal::NothingToDo(Nothing::Undone(wanted.plan)),
            false => Refusal::Undo { plan: wanted.plan, because },
        });
    }
    sheet::where_to(view, None, &mut draft);
    let names = |left: &Left<'_>| sheet::names(&left.keys().collect::<Vec<_>>());
    if !not_started.is_empty() {
        let text = format!("not started now, their store is in no state for it: {}", names(&not_started));
        draft.note("NOT POSSIBLE", text);
    }
    if !kept.is_empty() {
        let text = format!("not handed back, no well master or no copy that follows: {}", names(&kept));
        draft.note("NOT POSSIBLE", text);
    }
    draft.note("UNDO ENDS", where_it_ends(wanted, not_started.is_empty() && kept.is_empty()));
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

/// Whether a copy that the plan had stopped is to be started; not where it runs again already.
fn starts(
    view: &View<'_>,
    (name, store): (&StoreName, &Store),
    slot: &SlotId,
    first: &BTreeMap<HostName, u16>,
) -> Result<bool, Refusal> {
    match copy_on(name, store, slot)? {
        CopyState::Serving => Ok(false),
        CopyState::Stopped => {
            may_start(view, name, store, slot)?;
            in_service(view, &slot.host, first)?;
            Ok(true)
        }
        state => Err(not_back(name, slot, state)),
    }
}

/// Who hands a store over to the slot that had it before the plan.
fn takes_back<'a>(
    view: &View<'a>,
    (name, store): (&StoreName, &'a Store),
    to: &SlotId,
    (first, begun): (&BTreeMap<HostName, u16>, bool),
) -> Result<&'a SlotId, Refusal> {
    match copy_on(name, store, to)? {
        CopyState::Serving => {}
        CopyState::Stopped if begun => {}
        state => return Err(not_back(name, to, state)),
    }
    let from = hands_back(view, name, store)?;
    in_service(view, &to.host, first)?;
    Ok(from)
}

fn copy_on(name: &StoreName, store: &Store, slot: &SlotId) -> Result<CopyState, Refusal> {
    let gone = || Refusal::CopyGone { store: name.clone(), slot: slot.clone() };
    store.copies.get(slot).map(|copy| copy.state).ok_or_else(gone)
}

/// Active, or made so by this plan first, and its agent answers.
fn in_service(view: &View<'_>, host: &HostName, first: &BTreeMap<HostName, u16>) -> Result<(), Refusal> {
    let known = view.cluster.hosts.get(host).ok_or_else(|| Refusal::UnknownHost(host.clone()))?;
    if known.declared != HostState::Active && !first.contains_key(host) {
        let needed = "slotctl undrain host brings it back into service first";
        return Err(Refusal::HostIn { host: host.clone(), state: known.declared, needed });
    }
    if known.quarantined.is_some() {
        return Err(Refusal::HostQuarantined(host.clone()));
    }
    if view.answers(host) { Ok(()) } else { Err(Refusal::HostSilent(host.clone())) }
}

fn where_it_ends(wanted: &Reverse, is_all: bool) -> String {
    match wanted.stays {
        0 if !is_all => {
            format!("all else that {} did is brought back; what it had not begun stays undone", wanted.plan)
        }
        0 => format!("all that {} did is brought back; what it had not begun stays undone", wanted.plan),
        n => format!(
            "{n} of its tasks stay as they are: copies built or destroyed, failovers, and what it left half done",
        ),
    }
}
