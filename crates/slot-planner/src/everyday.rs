//! Loss cases settled, and what the coordinator may propose by itself: the same master started again, a replica that
//! follows again, a returned master fenced (R25, R8).
//!
//! What always holds: none of these changes who is master of anything.

use crate::nothing::Nothing;
use crate::refusal::{NotWell, Refusal};
use crate::undrain::start_copy;
use crate::view::View;
use crate::{Draft, steps};
use slot_types::cluster::*;
use slot_types::engine::EngineRole;
use slot_types::ids::*;
use slot_types::plan::{Settlement, StepKind, Task, TaskKind};
use std::collections::BTreeSet;

type Found<'a> = (&'a StoreName, &'a Store, &'a Copy);

/// The store on a slot, if no running plan holds it and orders reach the slot.
fn found<'a>(view: &View<'a>, slot: &SlotId) -> Result<Found<'a>, Refusal> {
    let host = view.cluster.hosts.get(&slot.host).ok_or_else(|| Refusal::UnknownHost(slot.host.clone()))?;
    view.cluster.slot(slot).ok_or_else(|| Refusal::UnknownSlot(slot.clone()))?;
    let (name, store, copy) = view.cluster.copy_on(slot).ok_or_else(|| Refusal::NoCopy(slot.clone()))?;
    if view.inputs.busy_stores.contains(name) {
        return Err(Refusal::StoresBusy(BTreeSet::from([name.clone()])));
    }
    if host.quarantined.is_some() {
        return Err(Refusal::HostQuarantined(slot.host.clone()));
    }
    if !view.answers(&slot.host) {
        return Err(Refusal::HostSilent(slot.host.clone()));
    }
    Ok((name, store, copy))
}

/// A host on which engines may run.
fn in_service(view: &View<'_>, slot: &SlotId) -> Result<(), Refusal> {
    match view.cluster.hosts.get(&slot.host).map(|h| h.declared) {
        Some(HostState::Active | HostState::Draining) => Ok(()),
        Some(state) => {
            let needed = "its engines stay stopped until slotctl undrain host";
            Err(Refusal::HostIn { host: slot.host.clone(), state, needed })
        }
        None => Err(Refusal::UnknownHost(slot.host.clone())),
    }
}

/// The settled master of a store.
fn master<'a>(name: &StoreName, store: &'a Store) -> Result<&'a SlotId, Refusal> {
    let not_served = |why| Refusal::NotServed { store: name.clone(), why };
    if let Some(pending) = &store.pending {
        return Err(not_served(NotWell::Pending(pending.clone())));
    }
    store.master.as_ref().ok_or_else(|| not_served(NotWell::NoMaster))
}

fn one(task: Task) -> Draft {
    Draft { tasks: vec![task], ..Draft::default() }
}

/// R25: the same master at the same epoch.
pub(crate) fn start_master(view: &View<'_>, slot: &SlotId) -> Result<Draft, Refusal> {
    let (name, store, copy) = found(view, slot)?;
    in_service(view, slot)?;
    let master = master(name, store)?;
    if master != slot {
        let master = Some(master.clone());
        return Err(Refusal::NotMaster { slot: slot.clone(), store: name.clone(), master });
    }
    if copy.role != Role::Master || !matches!(copy.state, CopyState::Serving | CopyState::Frozen) {
        let next = "look at it: slotctl show slot";
        return Err(Refusal::CopyIn { store: name.clone(), slot: slot.clone(), state: copy.state, next });
    }
    let runs =
        view.status(name, slot, copy).is_some_and(|(s, _)| s.role == EngineRole::Master && s.epoch == store.epoch);
    if runs {
        return Err(Refusal::NothingToDo(Nothing::RunsAsMaster(slot.clone())));
    }
    Ok(one(Task {
        steps: vec![steps::at(StepKind::StartMaster, slot)],
        kind: TaskKind::StartMaster { slot: slot.clone() },
        store: Some(name.clone()),
        epoch: store.epoch,
        after: Vec::new(),
    }))
}

/// R25, R16: a replica follows its master again.
pub(crate) fn follow(view: &View<'_>, slot: &SlotId) -> Result<Draft, Refusal> {
    let (name, store, copy) = found(view, slot)?;
    in_service(view, slot)?;
    if copy.role == Role::Master || store.master.as_ref() == Some(slot) {
        return Err(Refusal::FollowsNobody { slot: slot.clone(), store: name.clone() });
    }
    let refused = |next| Refusal::CopyIn { store: name.clone(), slot: slot.clone(), state: copy.state, next };
    if copy.state == CopyState::Retired {
        return Err(refused("it is gone for good"));
    }
    if store.master.is_none() && store.epoch != Epoch::ZERO {
        return wake(view, name, store, slot, copy);
    }
    let master = master(name, store)?;
    if store.possible_masters.contains_key(slot) {
        // R8: its standing Demote comes first.
        let slots = BTreeSet::from([slot.clone()]);
        return Err(Refusal::PossibleMasters { store: name.clone(), slots });
    }
    if copy.state == CopyState::Quarantined {
        return Err(refused(match view.open_case(name, slot) {
            Some(_) => "settle its loss case first: slotctl loss list",
            None => "it was set aside and no loss case says why; look at it: slotctl show slot",
        }));
    }
    let follows = view.status(name, slot, copy).is_some_and(|(status, _)| {
        status.role == EngineRole::Replica && status.following == Some((master.clone(), store.epoch))
    });
    // R16: one that is being built follows, and counts later.
    let bound = !copy.whole && copy.follows == Some((master.clone(), store.epoch));
    if follows && (copy.state == CopyState::Serving || bound) {
        return Err(Refusal::NothingToDo(Nothing::Follows(slot.clone())));
    }
    Ok(one(start_copy(name, store, slot, Vec::new())))
}

/// L1: without a master there is nobody to follow. A dead engine is started at the epoch that is committed already, so that a
/// person can plan a failover to it; who may still be master is demoted, all others are raised.
fn wake(view: &View<'_>, name: &StoreName, store: &Store, slot: &SlotId, copy: &Copy) -> Result<Draft, Refusal> {
    if copy.state == CopyState::Stopped {
        let next = "it was stopped on purpose: slotctl undrain host";
        return Err(Refusal::CopyIn { store: name.clone(), slot: slot.clone(), state: copy.state, next });
    }
    let demote = steps::wakes_by_demote(store, slot);
    if view.status(name, slot, copy).is_some_and(|(status, _)| !demote || status.role == EngineRole::Demoted) {
        return Err(Refusal::NothingToDo(Nothing::Awake(slot.clone())));
    }
    Ok(one(Task { steps: vec![steps::wake(store, slot)], ..start_copy(name, store, slot, Vec::new()) }))
}

/// R8: the standing Demote, then the exact list of what it holds alone (R7).
pub(crate) fn fence_returned(view: &View<'_>, slot: &SlotId) -> Result<Draft, Refusal> {
    let (name, store, _) = found(view, slot)?;
    if store.master.as_ref() == Some(slot) || store.pending.as_ref() == Some(slot) {
        return Err(Refusal::FollowsNobody { slot: slot.clone(), store: name.clone() });
    }
    let case = view.open_case(name, slot);
    let unlisted =
        case.filter(|id| view.cluster.loss_cases.get(id).is_some_and(|c| c.state == LossState::AwaitingReturn));
    if !store.possible_masters.contains_key(slot) && unlisted.is_none() {
        return Err(Refusal::NothingToDo(Nothing::Fenced(slot.clone())));
    }
    master(name, store)?;
    Ok(one(Task {
        steps: steps::fence_returned(slot, case.is_some()),
        kind: TaskKind::FenceReturned { slot: slot.clone() },
        store: Some(name.clone()),
        epoch: store.epoch,
        after: Vec::new(),
    }))
}

/// R16: what was interrupted while it was built holds everything by now.
pub(crate) fn count(view: &View<'_>, slot: &SlotId) -> Result<Draft, Refusal> {
    let (name, store, copy) = found(view, slot)?;
    let refused = |next| Refusal::CopyIn { store: name.clone(), slot: slot.clone(), state: copy.state, next };
    if copy.whole {
        return Err(Refusal::NothingToDo(Nothing::Whole(slot.clone())));
    }
    if copy.state != CopyState::Building {
        return Err(refused("only a copy that is being built is counted"));
    }
    let follows = Some((master(name, store)?.clone(), store.epoch));
    let status = view.status(name, slot, copy).map(|(status, _)| status);
    let heard = |ms: Option<u64>| ms.is_some_and(|ms| ms <= view.policy().silent_ms);
    let holds = status
        .is_some_and(|s| s.following == follows && s.behind == Some(0) && s.verified_ms.is_some() && heard(s.heard_ms));
    if copy.follows != follows || !holds {
        return Err(refused("it is not seen to hold everything yet; it counts as soon as it is"));
    }
    Ok(one(Task {
        steps: steps::count_copy(),
        kind: TaskKind::CountCopy { slot: slot.clone() },
        store: Some(name.clone()),
        epoch: store.epoch,
        after: Vec::new(),
    }))
}

/// Puts a loss case's records into the master, or gives them up by name; then its copy follows again.
pub(crate) fn settle(view: &View<'_>, id: LossCaseId, how: Settlement) -> Result<Draft, Refusal> {
    let case = view.cluster.loss_cases.get(&id).ok_or(Refusal::UnknownLossCase(id))?;
    if case.state != LossState::Listed {
        return Err(Refusal::LossCaseIn { case: id, state: case.state.clone() });
    }
    let (name, store, copy) = found(view, &case.slot)?;
    let same = *name == case.store && copy.generation == case.generation;
    // A former master was set aside; a replica that put records aside follows already (R7).
    let next = match copy.state {
        _ if !same => "its loss case is about another copy; look at it: slotctl show slot",
        CopyState::Stopped => "it was stopped on purpose: slotctl undrain host",
        CopyState::Retired => "it is gone for good",
        CopyState::Frozen => "its hand-over has not come to its end: slotctl plan list",
        CopyState::Quarantined | CopyState::Serving | CopyState::Building => "",
    };
    if !next.is_empty() {
        return Err(Refusal::CopyIn { store: name.clone(), slot: case.slot.clone(), state: copy.state, next });
    }
    in_service(view, &case.slot)?;
    if master(name, store)? == &case.slot {
        return Err(Refusal::FollowsNobody { slot: case.slot.clone(), store: name.clone() });
    }
    if store.possible_masters.contains_key(&case.slot) {
        let slots = BTreeSet::from([case.slot.clone()]);
        return Err(Refusal::PossibleMasters { store: name.clone(), slots });
    }
    view.master_well(name, store).map_err(|why| Refusal::NotServed { store: name.clone(), why })?;
    let first = steps::follows_first(store, &case.slot);
    let mut draft = one(Task {
        steps: steps::settle_loss(&case.slot, how, first),
        kind: TaskKind::SettleLoss { case: id, slot: case.slot.clone(), how },
        store: Some(name.clone()),
        epoch: store.epoch,
        after: Vec::new(),
    });
    let records = crate::sheet::count(case.stranded.len(), "record", "records");
    match how {
        Settlement::Reinject => {
            draft.note("CHECKED", format!("{records} of {} go into {name} under their own ids", case.slot));
            if first {
                let text =
                    format!("{name} takes no record without {}: it follows first, and puts its own aside", case.slot);
                draft.note("CHECKED", text);
            }
        }
        Settlement::Discard => {
            let text = format!("{records}, held by {} alone: {}", case.slot, crate::sheet::names(&case.stranded));
            draft.note("WHAT IS GIVEN UP", text);
            draft.note("NO UNDO", "they stay aside on the old slot, but no command puts them back");
        }
    }
    Ok(draft)
}
