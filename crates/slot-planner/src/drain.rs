//! Masters off a host, its engines stopped: safe to switch off.
//!
//! What always holds: a drain is refused as a whole, with every reason, before anything moves; each hand-over and each
//! stop is a task of its own (L2); the host is declared Maintenance only after all of them and its agent's word (S8).

use crate::nothing::Nothing;
use crate::refusal::{DrainBlock, Refusal};
use crate::view::View;
use crate::{Draft, leads, preflight, sheet, steps};
use slot_types::cluster::*;
use slot_types::ids::*;
use slot_types::plan::{Place, Task, TaskKind};
use std::collections::{BTreeMap, BTreeSet};

/// A hand-over of one store.
pub(crate) fn hand_over(
    view: &View<'_>,
    name: &StoreName,
    store: &Store,
    from: &SlotId,
    to: &SlotId,
    after: Vec<u16>,
    turn: usize,
) -> Task {
    // R16: every follower follows again; those that are stopped, set aside or silent follow when they come back.
    let others: Vec<SlotId> = store
        .copies
        .iter()
        .filter(|(slot, copy)| *slot != from && *slot != to && view.copy_answers(slot, copy))
        .map(|(slot, _)| slot.clone())
        .collect();
    let canary = view.canary_host(&[&from.host, &to.host], &[&from.host], turn).unwrap_or_else(|| from.host.clone());
    Task {
        steps: steps::hand_over(from, to, &others, &canary)
            .into_iter()
            .chain(steps::route_served(view.cluster))
            .collect(),
        kind: TaskKind::HandOver { from: from.clone(), to: to.clone() },
        store: Some(name.clone()),
        epoch: store.epoch,
        after,
    }
}

/// R16: whoever does not follow again before a hand-over is done is named, so that a person says yes to that too.
pub(crate) fn name_left_out(view: &View<'_>, draft: &mut Draft) {
    let mut left_out = Vec::new();
    for task in &draft.tasks {
        let (TaskKind::HandOver { from, to }, Some(name)) = (&task.kind, &task.store) else { continue };
        let ordered = |slot: &SlotId| task.steps.iter().any(|s| s.at == Some(Place::Slot(slot.clone())));
        for (slot, copy) in view.cluster.stores.get(name).into_iter().flat_map(|store| &store.copies) {
            let aside = matches!(copy.state, CopyState::Stopped | CopyState::Quarantined | CopyState::Retired);
            if slot != from && slot != to && !aside && !ordered(slot) {
                left_out.push(match view.is_gone(slot, copy) {
                    true => format!("{slot} of {name}: it is gone with its host's former disk"),
                    false => format!("{slot} of {name}: its host takes no orders now; it follows when it is back"),
                });
            }
        }
    }
    for text in left_out {
        draft.note("NOT REACHED", text);
    }
}

/// A change of a host's declared state.
pub(crate) fn host_state(host: &HostName, to: HostState, after: Vec<u16>) -> Task {
    Task {
        steps: steps::host_state(host, to),
        kind: TaskKind::HostState { host: host.clone(), to },
        store: None,
        epoch: Epoch::ZERO,
        after,
    }
}

/// What a host's copy of one store needs before the host is off.
enum Need {
    /// Hand the master over to one of these, then stop.
    HandOver(Vec<SlotId>),
    /// Stop the replica.
    Stop,
    /// It is stopped.
    Nothing,
}

/// One host, or several as one.
pub(crate) fn plan(view: &View<'_>, off: &BTreeSet<HostName>) -> Result<Draft, Refusal> {
    let known = all_may_leave(view, off, false)?;
    let mut needs: Vec<(&StoreName, &Store, &SlotId, Need)> = Vec::new();
    let mut because = BTreeMap::new();
    for (name, store) in &view.cluster.stores {
        for (slot, copy) in store.copies.iter().filter(|(slot, _)| off.contains(&slot.host)) {
            match need(view, name, store, (slot, copy), off) {
                Ok(need) => needs.push((name, store, slot, need)),
                Err(block) => {
                    because.insert(name.clone(), block);
                }
            }
        }
    }
    if !because.is_empty() {
        return Err(Refusal::Drain { hosts: off.clone(), because });
    }
    // Of a store with copies on several of the hosts, its master leaves before anything stops.
    needs.sort_by_key(|(name, .., need)| (*name, !matches!(need, Need::HandOver(_))));
    let mut load = view.loads();
    load.retain(|host, _| !off.contains(host));
    let open: Vec<leads::Open<'_>> = needs
        .iter()
        .filter_map(
            |(name, _, _, need)| if let Need::HandOver(slots) = need { Some((*name, &slots[..])) } else { None },
        )
        .collect();
    let mut targets = leads::choose(view, off, &open, &load).into_iter();

    let mut draft = Draft::default();
    let first = declare_draining(&known, HostState::Draining, &mut draft);
    let mut last: BTreeMap<&StoreName, u16> = BTreeMap::new();
    for (turn, (name, store, slot, need)) in needs.iter().enumerate() {
        let mut stop_after = match need {
            Need::Nothing => continue,
            Need::Stop => first.clone(),
            Need::HandOver(_) => {
                let Some(to) = targets.next() else { continue };
                let after = first.iter().copied().chain(last.get(name).copied()).collect();
                vec![draft.push(hand_over(view, name, store, slot, &to, after, turn))]
            }
        };
        // A host may hold a copy that is built beside the one it is to take the place of.
        stop_after.extend(last.get(name));
        last.insert(name, draft.push(stop_copy(name, store, slot, stop_after)));
    }
    declare_last(off, HostState::Maintenance, &mut draft);
    notes(view, off, &mut draft);
    Ok(draft)
}

/// Each host is declared before anything leaves any of them; those that are in this state already are not.
pub(crate) fn declare_draining(hosts: &[(&HostName, &Host)], already: HostState, draft: &mut Draft) -> Vec<u16> {
    let to_declare = hosts.iter().filter(|(_, host)| match already {
        HostState::Draining => host.declared != HostState::Draining,
        _ => host.declared == HostState::Active,
    });
    to_declare.map(|(name, _)| draft.push(host_state(name, HostState::Draining, Vec::new()))).collect()
}

/// After all that leaves any of the hosts, each is declared.
pub(crate) fn declare_last(hosts: &BTreeSet<HostName>, to: HostState, draft: &mut Draft) {
    let all: Vec<u16> = (0..draft.tasks.len()).filter_map(|n| u16::try_from(n).ok()).collect();
    for host in hosts {
        draft.push(host_state(host, to, all.clone()));
    }
}

/// Whether all of these hosts may be drained.
pub(crate) fn all_may_leave<'a>(
    view: &View<'a>,
    off: &'a BTreeSet<HostName>,
    empty: bool,
) -> Result<Vec<(&'a HostName, &'a Host)>, Refusal> {
    if off.is_empty() {
        return Err(Refusal::NothingToDo(Nothing::NoHosts));
    }
    off.iter().map(|host| Ok((host, may_leave(view, host, empty)?))).collect()
}

fn stop_copy(name: &StoreName, store: &Store, slot: &SlotId, after: Vec<u16>) -> Task {
    Task {
        steps: vec![steps::at(slot_types::plan::StepKind::Stop, slot)],
        kind: TaskKind::StopCopy { slot: slot.clone() },
        store: Some(name.clone()),
        epoch: store.epoch,
        after,
    }
}

/// Whether a host may be drained; `empty` whether its copies go as well.
fn may_leave<'a>(view: &View<'a>, host: &HostName, empty: bool) -> Result<&'a Host, Refusal> {
    let known = view.cluster.hosts.get(host).ok_or_else(|| Refusal::UnknownHost(host.clone()))?;
    match known.declared {
        HostState::Active | HostState::Draining => {}
        HostState::Maintenance if empty => {}
        HostState::Empty => return Err(Refusal::NothingToDo(Nothing::Emptied(host.clone()))),
        HostState::Maintenance => return Err(Refusal::NothingToDo(Nothing::Drained(host.clone()))),
        state => {
            let needed = "only an Active host, or one a stopped drain left Draining, can be drained";
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

fn need(
    view: &View<'_>,
    name: &StoreName,
    store: &Store,
    (slot, copy): (&SlotId, &Copy),
    off: &BTreeSet<HostName>,
) -> Result<Need, DrainBlock> {
    if matches!(copy.state, CopyState::Stopped | CopyState::Retired) && store.master.as_ref() != Some(slot) {
        return Ok(Need::Nothing);
    }
    if view.inputs.busy_stores.contains(name) {
        return Err(DrainBlock::Busy);
    }
    if let Some(case) = view.open_case(name, slot) {
        return Err(DrainBlock::LossCase(case));
    }
    if store.master.as_ref() == Some(slot) || store.pending.as_ref() == Some(slot) {
        return Ok(Need::HandOver(hand_over_options(view, name, store, slot, off)?));
    }
    if store.possible_masters.contains_key(slot) {
        return Err(DrainBlock::PossibleMasters(BTreeSet::from([slot.clone()])));
    }
    if !matches!(copy.state, CopyState::Serving | CopyState::Building) {
        return Err(DrainBlock::Copy(copy.state));
    }
    let master = view.master_well(name, store).map_err(DrainBlock::NotServed)?;
    if !off.contains(&master.host) {
        enough_replicas(view, name, store, off, &[slot, master])?;
    }
    Ok(Need::Stop)
}

/// The copies that can take the master role of this slot, as a planned thing.
pub(crate) fn hand_over_options(
    view: &View<'_>,
    name: &StoreName,
    store: &Store,
    slot: &SlotId,
    off: &BTreeSet<HostName>,
) -> Result<Vec<SlotId>, DrainBlock> {
    view.master_well(name, store).map_err(DrainBlock::MasterNotWell)?;
    if !store.possible_masters.is_empty() {
        return Err(DrainBlock::PossibleMasters(store.possible_masters.keys().cloned().collect()));
    }
    let mut why = BTreeMap::new();
    let mut options = Vec::new();
    // A host may hold two copies of a store while one of them moves within its rack.
    for to in store.copies.keys().filter(|to| to.host != slot.host && !off.contains(&to.host)) {
        match view.handover_target(name, store, slot, to) {
            Ok(()) => options.push(to.clone()),
            Err(reason) => {
                why.insert(to.clone(), reason);
            }
        }
    }
    let Some(to) = options.first() else {
        let too = store.copies.keys().filter(|to| *to != slot && off.contains(&to.host));
        let too: BTreeSet<SlotId> = too.cloned().collect();
        return Err(if why.is_empty() && !too.is_empty() {
            DrainBlock::AllDrained(too)
        } else {
            DrainBlock::NoTarget(why)
        });
    };
    enough_replicas(view, name, store, off, &[slot, to])?;
    Ok(options)
}

/// R24: the master that remains still finds the replicas that must hold every record.
fn enough_replicas(
    view: &View<'_>,
    name: &StoreName,
    store: &Store,
    off: &BTreeSet<HostName>,
    without: &[&SlotId],
) -> Result<(), DrainBlock> {
    let stays = |slot: &SlotId| !without.contains(&slot) && !off.contains(&slot.host);
    let live = view.live_copies(name, store).into_iter().filter(stays).count();
    let (live, needed) = (u8::try_from(live).unwrap_or(u8::MAX), store.spec.sync_copies);
    if live < needed { Err(DrainBlock::TooFewReplicas { live, needed }) } else { Ok(()) }
}

fn notes(view: &View<'_>, off: &BTreeSet<HostName>, draft: &mut Draft) {
    sheet::where_to(view, None, draft);
    sheet::while_off(view, off, draft);
    if let Some(text) = checked(view, draft) {
        draft.note("CHECKED", text);
    }
    for host in off {
        draft.note("WAY BACK", format!("before the end: slotctl plan abort PLAN, then slotctl undrain host {host}"));
        draft.note(
            "WAY BACK",
            format!("after: slotctl undrain host {host} starts the replicas and hands the same masters back"),
        );
    }
    empties(view, off, draft);
}

/// Whether the data could go as well; if not, whose could not, and how much that is.
fn empties(view: &View<'_>, off: &BTreeSet<HostName>, draft: &mut Draft) {
    let copies = off.iter().flat_map(|host| view.cluster.copies_on(host));
    let copies = copies.filter(|(_, _, copy)| copy.state != CopyState::Retired).count();
    if let Some(why) = preflight::not_emptied(view, off) {
        draft.note("NOT POSSIBLE", format!("drain --empty: {why}"));
    } else {
        let hosts = off.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        let needed = sheet::count(copies, "copy has", "copies have");
        draft.note("ALSO", format!("slotctl drain host {hosts} --empty moves the data too: {needed} room elsewhere"));
    }
}

/// The worst of what was looked at.
fn checked(view: &View<'_>, draft: &Draft) -> Option<String> {
    let mut worst: Option<(u64, &StoreName)> = None;
    let mut oldest = 0;
    let mut targets = 0usize;
    for task in &draft.tasks {
        let (TaskKind::HandOver { to, .. }, Some(name)) = (&task.kind, &task.store) else { continue };
        let status = view.evidence.running(to, view.policy().silent_ms)?;
        targets += 1;
        oldest = oldest.max(status.verified_ms.unwrap_or(0));
        let behind = status.behind.unwrap_or(0);
        if worst.is_none_or(|(most, _)| behind > most) {
            worst = Some((behind, name));
        }
    }
    let (behind, store) = worst?;
    Some(format!(
        "{targets} of {targets} targets answer, worst {} behind ({store}), verified within {} s",
        sheet::count(usize::try_from(behind).unwrap_or(usize::MAX), "record", "records"),
        oldest.div_ceil(1000)
    ))
}
