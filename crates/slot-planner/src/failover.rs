//! Another master for a store: planned where the master is well, else the sheet of an unplanned failover.
//!
//! What always holds: every possible master other than the new one is demoted by a step of the task or waived by name
//! (R3, R28); every copy that answers is raised; the furthest of them feeds the new master; a store without a way is
//! left out and said, and stops no other (L2).

use crate::loss::{self, Past};
use crate::nothing::Nothing;
use crate::parts::{self, Part};
use crate::refusal::{Refusal, WhyNot};
use crate::steps::{self, FailOverPlaces};
use crate::view::View;
use crate::{Draft, drain, fence, leads, sheet};
use slot_types::cluster::*;
use slot_types::engine::{EngineRole, EngineStatus};
use slot_types::ids::*;
use slot_types::plan::{Task, TaskKind};
use std::collections::{BTreeMap, BTreeSet};

/// One store's way: who gives, who may take, and whether the giver is well.
pub(crate) struct Way<'a> {
    pub name: &'a StoreName,
    store: &'a Store,
    from: SlotId,
    planned: bool,
    options: Vec<SlotId>,
}

impl Way<'_> {
    /// Whether its host counts it among its masters.
    fn counted(&self) -> bool {
        self.store.pending.as_ref().or(self.store.master.as_ref()) == Some(&self.from)
    }
}

/// The master on one slot ends.
pub(crate) fn plan_slot(view: &View<'_>, slot: &SlotId, to: Option<&SlotId>) -> Result<Draft, Refusal> {
    view.cluster.slot(slot).ok_or_else(|| Refusal::UnknownSlot(slot.clone()))?;
    let (name, store, _) = view.cluster.copy_on(slot).ok_or_else(|| Refusal::NoCopy(slot.clone()))?;
    if let Some(to) = to {
        view.cluster.slot(to).ok_or_else(|| Refusal::UnknownSlot(to.clone()))?;
    }
    if !leads(store, slot) {
        let master = store.master.clone().or_else(|| store.pending.clone());
        return Err(Refusal::NotMaster { slot: slot.clone(), store: name.clone(), master });
    }
    let way = way(view, name, store, slot, to, None)?;
    let mut draft = Draft::default();
    carry_out(view, vec![way], &Part::All, &mut draft)?;
    sheet::neighbours(view, slot, &mut draft);
    Ok(draft)
}

/// The master of one store ends, wherever it is.
pub(crate) fn plan_store(view: &View<'_>, name: &StoreName, to: Option<&SlotId>) -> Result<Draft, Refusal> {
    let store = view.cluster.stores.get(name).ok_or_else(|| Refusal::UnknownStore(name.clone()))?;
    let heads: BTreeSet<&SlotId> = match store.pending.as_ref().or(store.master.as_ref()) {
        Some(slot) => BTreeSet::from([slot]),
        None => store.possible_masters.keys().filter(|_| !store.retired).collect(),
    };
    let mut slots = heads.iter();
    match (slots.next(), slots.next()) {
        (Some(slot), None) => plan_slot(view, slot, to),
        (None, _) => Err(Refusal::NoHead(name.clone())),
        _ => Err(Refusal::ManyHeads { store: name.clone(), slots: heads.into_iter().cloned().collect() }),
    }
}

/// One sheet for every master of a host. Of those whose loss is of the classes asked for; else of those that need the
/// fewest people, the others being named with the command that asks for them.
pub(crate) fn plan_host(
    view: &View<'_>,
    host: &HostName,
    classes: Option<&BTreeSet<LossClass>>,
) -> Result<Draft, Refusal> {
    view.cluster.hosts.get(host).ok_or_else(|| Refusal::UnknownHost(host.clone()))?;
    let mut ways = Vec::new();
    let mut without = BTreeMap::new();
    for (name, store) in &view.cluster.stores {
        let Some(slot) = store.copies.keys().find(|slot| slot.host == *host && leads(store, slot)) else { continue };
        // While a copy moves within its rack its host may hold both.
        match way(view, name, store, slot, None, Some(host)) {
            Ok(way) => ways.push(way),
            Err(why) => {
                without.insert(name.clone(), why);
            }
        }
    }
    match (ways.is_empty(), without.is_empty()) {
        (true, true) => return Err(Refusal::NothingToDo(Nothing::NoMasters(host.clone()))),
        (true, false) => return Err(no_way(host, without)),
        _ => {}
    }
    let mut draft = Draft::default();
    let whole = carry_out(view, ways, &Part::Host { host, classes }, &mut draft)?;
    if draft.tasks.is_empty() {
        let classes = classes.into_iter().flatten().copied().collect();
        return Err(Refusal::NothingToDo(Nothing::NoneOfClass { host: host.clone(), classes, whole }));
    }
    for (name, why) in without {
        draft.note("NOT POSSIBLE", format!("{name}: {why}"));
    }
    Ok(draft)
}

/// One reason for all is said once.
fn no_way(host: &HostName, because: BTreeMap<StoreName, Refusal>) -> Refusal {
    let slots: Option<BTreeSet<SlotId>> = because
        .values()
        .map(|why| if let Refusal::NotFenced { slots, .. } = why { Some(slots.clone()) } else { None })
        .reduce(|all, slots| Some(all?.into_iter().chain(slots?).collect()))
        .flatten();
    match (slots, because.keys().next()) {
        (Some(slots), Some(store)) => Refusal::NotFenced { store: store.clone(), slots },
        _ => Refusal::FailOverHost { host: host.clone(), because },
    }
}

/// Whether a slot is, is to be, or in the absence of a master may still be the master.
pub(crate) fn leads(store: &Store, slot: &SlotId) -> bool {
    let is = |other: &Option<SlotId>| other.as_ref() == Some(slot);
    let left = store.master.is_none() && !store.retired && store.possible_masters.contains_key(slot);
    is(&store.master) || is(&store.pending) || left
}

fn way<'a>(
    view: &View<'a>,
    name: &'a StoreName,
    store: &'a Store,
    from: &SlotId,
    to: Option<&SlotId>,
    gone: Option<&HostName>,
) -> Result<Way<'a>, Refusal> {
    let planned = view.master_well(name, store).is_ok_and(|master| master == from);
    if planned {
        if view.inputs.busy_stores.contains(name) {
            return Err(Refusal::StoresBusy(BTreeSet::from([name.clone()])));
        }
        if !store.possible_masters.is_empty() {
            let slots = store.possible_masters.keys().cloned().collect();
            return Err(Refusal::PossibleMasters { store: name.clone(), slots });
        }
    }
    let mut why = BTreeMap::new();
    let mut able: Vec<(SlotId, &EngineStatus)> = Vec::new();
    let stays = |slot: &SlotId| gone.is_none_or(|host| slot.host != *host);
    for slot in store
        .copies
        .keys()
        .filter(|slot| *slot != from && stays(slot))
        .chain(to.filter(|t| !store.copies.contains_key(t)))
    {
        let verdict = if planned {
            view.handover_target(name, store, from, slot)
                .and_then(|()| view.evidence.running(slot, view.policy().silent_ms).ok_or(WhyNot::EngineNotSeen))
        } else {
            view.failover_target(name, store, from, slot).map(|(status, _)| status)
        };
        match verdict {
            Ok(status) => able.push((slot.clone(), status)),
            Err(reason) => {
                why.insert(slot.clone(), reason);
            }
        }
    }
    if !planned && able.is_empty() {
        able = last_resorts(view, name, store, from);
        able.retain(|(slot, _)| stays(slot));
    }
    // L1: a slot that was to be master, or had been, and is no master now, when nothing else is left: it is raised and promoted
    // itself.
    if !planned && able.is_empty() && stays(from) && to.is_none_or(|to| to == from) {
        match view.failover_target(name, store, from, from) {
            Ok((status, _)) => able.push((from.clone(), status)),
            Err(reason) if store.master.is_none() => drop(why.insert(from.clone(), reason)),
            Err(_) => {}
        }
    }
    let options = match to {
        Some(to) if able.iter().any(|(slot, _)| slot == to) => vec![to.clone()],
        Some(to) => {
            let itself = if store.master.as_ref() == Some(to) { WhyNot::IsMaster } else { WhyNot::OthersCan };
            let why = why.remove(to).unwrap_or(itself);
            return Err(Refusal::NotThisTarget { store: name.clone(), to: to.clone(), why });
        }
        None => furthest(&able, planned),
    };
    if options.is_empty() {
        return Err(Refusal::NoTarget { store: name.clone(), from: from.clone(), why });
    }
    let way = Way { name, store, from: from.clone(), planned, options };
    if !planned {
        fenced(view, &way)?;
    }
    Ok(way)
}

/// L1: where nothing else can become master, a former master that waits for its loss case can: its copy is whole. Else it
/// would wait for a master, and the master for it.
pub(crate) fn last_resorts<'a>(
    view: &View<'a>,
    name: &StoreName,
    store: &Store,
    from: &SlotId,
) -> Vec<(SlotId, &'a EngineStatus)> {
    let waiting = store.copies.keys().filter(|slot| *slot != from);
    waiting.filter_map(|slot| Some((slot.clone(), view.last_resort(name, store, slot)?.0))).collect()
}

/// A planned target catches up in any case; an unplanned one had better be the furthest by (epoch, position).
pub(crate) fn furthest(able: &[(SlotId, &EngineStatus)], planned: bool) -> Vec<SlotId> {
    let best = able.iter().map(|(_, status)| status.tip.position).max();
    able.iter().filter(|(_, s)| planned || Some(s.tip.position) == best).map(|(slot, _)| slot.clone()).collect()
}

/// Everyone who may acknowledge below the new epoch (R3): recorded ones, the master, a slot whose Promote was
/// started, and the slot the sheet is about.
fn possible_masters(store: &Store, from: &SlotId, to: &SlotId) -> BTreeSet<SlotId> {
    let mut slots: BTreeSet<SlotId> = store.possible_masters.keys().cloned().collect();
    slots.extend(store.master.clone());
    slots.extend(store.pending.clone().filter(|_| store.promote_started));
    slots.insert(from.clone());
    slots.remove(to);
    slots
}

/// Refuses when something would have to be waived that policy does not let anyone waive.
fn fenced(view: &View<'_>, way: &Way<'_>) -> Result<(), Refusal> {
    let allowed = view.policy().allow_unfenced;
    let options = way.options.iter().map(|to| {
        let loose = possible_masters(way.store, &way.from, to).into_iter();
        loose.filter(|slot| view.fence(slot) == FenceLevel::None).collect::<BTreeSet<_>>()
    });
    match options.min_by_key(BTreeSet::len) {
        Some(slots) if !allowed && !slots.is_empty() => Err(Refusal::NotFenced { store: way.name.clone(), slots }),
        _ => Ok(()),
    }
}

/// Chooses among the options of all together, and makes the tasks of those in this part of the
/// sheet. Answers how many stores of each class the whole sheet has.
fn carry_out(
    view: &View<'_>,
    ways: Vec<Way<'_>>,
    part: &Part<'_>,
    draft: &mut Draft,
) -> Result<BTreeMap<LossClass, usize>, Refusal> {
    let mut load = view.loads();
    for way in &ways {
        if let Some(led) = load.get_mut(&way.from.host).filter(|_| way.counted()) {
            *led = led.saturating_sub(way.store.spec.load.into());
        }
    }
    let open: Vec<leads::Open<'_>> = ways.iter().map(|way| (way.name, &way.options[..])).collect();
    // A silent host's copies are not live, so nothing is gone besides.
    let chosen = leads::choose(view, &BTreeSet::new(), &open, &load);
    let mut made = Vec::new();
    for (turn, (way, to)) in ways.into_iter().zip(chosen).enumerate() {
        let task = if way.planned {
            drain::hand_over(view, way.name, way.store, &way.from, &to, Vec::new(), turn)
        } else {
            fail_over(view, &way, &to, turn)?
        };
        made.push((way, to, task));
    }
    let mut whole = BTreeMap::new();
    for class in made.iter().filter_map(|(_, _, task)| parts::class(task)) {
        *whole.entry(class).or_default() += 1;
    }
    let (here, later) = part.split(view.policy(), made);
    parts::name_later(part, &later, draft);
    let taken: Vec<&StoreName> =
        here.iter().map(|(way, _, _)| way.name).filter(|name| view.inputs.busy_stores.contains(*name)).collect();
    if !taken.is_empty() {
        // R13.
        draft.note("TAKES OVER", format!("from running plans: {}", sheet::names(&taken)));
    }
    for (way, to, task) in here {
        if let Some(case) = view.open_case(way.name, &to).filter(|_| !way.planned) {
            let text = format!("{}: {to} waits for {case}, and no other copy of it can become master", way.name);
            draft.note("LAST RESORT", text);
        }
        draft.push(task);
    }
    sheet::or_wait(view, draft);
    fence::name_switched_off(view, draft);
    sheet::after(view, draft);
    Ok(whole)
}

fn fail_over(view: &View<'_>, way: &Way<'_>, to: &SlotId, turn: usize) -> Result<Task, Refusal> {
    let (name, store, from) = (way.name, way.store, &way.from);
    let refused = |why| Refusal::NotThisTarget { store: name.clone(), to: to.clone(), why };
    let candidate = match view.failover_target(name, store, from, to) {
        Ok(seen) => seen,
        Err(why) => view.last_resort(name, store, to).ok_or_else(|| refused(why))?,
    };
    let possible = possible_masters(store, from, to);
    let (mut demote, waived): (Vec<SlotId>, BTreeSet<SlotId>) = {
        let (demote, waived): (Vec<_>, Vec<_>) =
            possible.into_iter().partition(|slot| view.fence(slot) == FenceLevel::Demoted);
        (demote, waived.into_iter().collect())
    };
    // The slot the sheet is about comes first.
    demote.sort_by_key(|slot| (slot != from, slot.clone()));
    let fence = waived.iter().map(|slot| view.fence(slot)).max().unwrap_or(FenceLevel::Demoted);
    let switch_off: Vec<(HostName, HostName, u64)> = fence::switches(view, &waived);
    let answers = |slot: &SlotId| store.copies.get(slot).is_some_and(|copy| view.copy_answers(slot, copy));
    let others = || store.copies.keys().filter(|slot| *slot != from && *slot != to);
    let raise: Vec<SlotId> = others().filter(|slot| answers(slot) && !demote.contains(slot)).cloned().collect();
    let unreachable: BTreeSet<SlotId> = others()
        .filter(|slot| !raise.contains(slot) && !demote.contains(slot))
        .filter(|slot| !set_aside(view, store, slot))
        .cloned()
        .collect();
    let feed = feed(view, way, candidate.0, &raise);
    let past = Past {
        name,
        store,
        from,
        to,
        candidate,
        feed: feed.as_ref().map(|(_, status, age)| (*status, *age)),
        raise: &raise,
        waived: &waived,
    };
    let loss = loss::statement(view, &past);
    let mut follow: Vec<SlotId> = demote.iter().filter(|slot| *slot == from && answers(slot)).cloned().collect();
    follow.extend(others().filter(|slot| answers(slot)).cloned());
    let canary =
        view.canary_host(&[&from.host, &to.host], &[&from.host, &to.host], turn).unwrap_or_else(|| to.host.clone());
    let places = FailOverPlaces {
        to,
        raise: &raise,
        feed: feed.is_some(),
        demote: &demote,
        switch_off: &switch_off,
        follow: &follow,
        canary: &canary,
    };
    let feed = feed.map(|(slot, _, _)| slot);
    Ok(Task {
        steps: steps::fail_over(&places).into_iter().chain(steps::route_served(view.cluster)).collect(),
        kind: TaskKind::FailOver { from: from.clone(), to: to.clone(), fence, waived, unreachable, feed, loss },
        store: Some(name.clone()),
        epoch: store.epoch,
        after: Vec::new(),
    })
}

/// A copy that is not raised although its host answers: it was set aside, or is gone.
fn set_aside(view: &View<'_>, store: &Store, slot: &SlotId) -> bool {
    store.copies.get(slot).is_some_and(|copy| match copy.state {
        CopyState::Retired => true,
        CopyState::Quarantined => view.answers(&slot.host),
        _ => false,
    })
}

/// The furthest raised copy, if it is further than the candidate (protocol, unplanned 3).
fn feed<'a>(
    view: &View<'a>,
    way: &Way<'_>,
    candidate: &EngineStatus,
    raise: &[SlotId],
) -> Option<(SlotId, &'a EngineStatus, u64)> {
    let mut best: Option<(SlotId, &EngineStatus, u64)> = None;
    for slot in raise {
        let Some(copy) = way.store.copies.get(slot) else { continue };
        let Some((status, age)) = view.status(way.name, slot, copy) else { continue };
        // R16: a building copy is never counted; a demoted master that waits to follow is none.
        let counts = match copy.state {
            CopyState::Building => status.role == EngineRole::Demoted,
            _ => status.role != EngineRole::Diverged,
        };
        let ahead = best.as_ref().map_or(candidate.tip.position, |(_, b, _)| b.tip.position);
        if counts && status.tip.position > ahead {
            best = Some((slot.clone(), status, age));
        }
    }
    best
}
