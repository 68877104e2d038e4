//! Copies built, moved and destroyed: a host emptied, a slot moved, lost copies rebuilt, hosts made even.
//!
//! What always holds: a copy is destroyed only after as many whole ones as its store asks for are elsewhere, so a store never
//! passes through fewer (S9); a copy whose place nobody can take blocks the plan as a whole where a host is to be emptied,
//! and is named where many stores are looked at; everything about one store is one chain of tasks.

use crate::drain::{all_may_leave, declare_draining, declare_last, hand_over, host_state};
use crate::leave::{Gone, choices, close_copies, leaves, live_domains, stays, stays_whole};
use crate::nothing::Nothing;
use crate::refusal::{NotWell, Refusal, WhyNot};
use crate::view::View;
use crate::yard::{Wanted, Yard, domain};
use crate::{Draft, balance, sheet, steps};
use slot_types::cluster::*;
use slot_types::ids::*;
use slot_types::plan::{Scope, Task, TaskKind};
use slot_types::render::size;
use std::collections::{BTreeMap, BTreeSet};

/// So many copies one rebalancing moves at most; ask again for more.
const MOVES_MAX: usize = 40;

/// The generation that the next copy of a store on a slot has (R11).
pub(crate) fn next_generation(store: &Store, slot: &SlotId) -> CopyGeneration {
    let held = store.copies.get(slot).map(|copy| copy.generation).max(store.past.get(slot).copied());
    CopyGeneration(held.map_or(0, |held| held.0) + 1)
}

fn build(name: &StoreName, store: &Store, slot: &SlotId, replaces: Option<&SlotId>, after: Vec<u16>) -> Task {
    let generation = next_generation(store, slot);
    Task {
        steps: steps::build_copy(slot, true),
        kind: TaskKind::BuildCopy { slot: slot.clone(), generation, replaces: replaces.cloned() },
        store: Some(name.clone()),
        epoch: store.epoch,
        after,
    }
}

/// Goes on with a copy that an earlier plan began.
fn go_on(name: &StoreName, store: &Store, slot: &SlotId, copy: &Copy) -> Task {
    Task {
        steps: steps::build_copy(slot, false),
        kind: TaskKind::BuildCopy { slot: slot.clone(), generation: copy.generation, replaces: None },
        store: Some(name.clone()),
        epoch: store.epoch,
        after: Vec::new(),
    }
}

pub(crate) fn destroy(name: &StoreName, store: &Store, slot: &SlotId, copy: &Copy, after: Vec<u16>) -> Task {
    Task {
        steps: steps::destroy_copy(slot),
        kind: TaskKind::DestroyCopy { slot: slot.clone(), generation: copy.generation },
        store: Some(name.clone()),
        epoch: store.epoch,
        after,
    }
}

/// `drain --empty`: masters off first, then every copy is built elsewhere, then destroyed here.
/// One host, or several as one.
pub(crate) fn empty(view: &View<'_>, off: &BTreeSet<HostName>) -> Result<Draft, Refusal> {
    let known = all_may_leave(view, off, true)?;
    let mut yard = Yard::new(view).without(off);
    let mut ways = Vec::new();
    let mut because = BTreeMap::new();
    // Who has the fewest places chooses first: a store of as many copies as there are racks can't go elsewhere.
    let mut leaving: Vec<_> = off.iter().flat_map(|host| view.cluster.copies_on(host)).collect();
    leaving.sort_by_key(|(name, slot, _)| (choices(view, &yard, name, slot), *name, *slot));
    let mut gone: BTreeMap<&StoreName, Gone> = BTreeMap::new();
    for (name, slot, copy) in leaving {
        let Some(store) = view.cluster.stores.get(name) else { continue };
        let gone = gone.entry(name).or_default();
        match leaves(view, &mut yard, (name, store), (slot, copy), (off, gone)) {
            Ok(way) => {
                gone.left.insert(slot.clone());
                gone.built.extend(way.build.clone());
                ways.push((name, store, slot, copy, way));
            }
            Err(block) => drop(because.insert(name.clone(), block)),
        }
    }
    if !because.is_empty() {
        return Err(Refusal::Drain { hosts: off.clone(), because });
    }
    let before = view.masters();
    let mut load = before.clone();
    load.retain(|host, _| !off.contains(host));
    let options: Vec<Vec<SlotId>> =
        ways.iter().map(|(.., way)| way.hand_over.clone()).filter(|options| !options.is_empty()).collect();
    let mut targets = balance::choose(&options, &mut load).into_iter();
    let mut draft = Draft::default();
    let first = declare_draining(&known, HostState::Empty, &mut draft);
    // Every master leaves before the first byte is copied: what takes long comes last.
    let mut before_it: BTreeMap<&StoreName, u16> = BTreeMap::new();
    let mut chains: Vec<Vec<u16>> = Vec::new();
    for (turn, (name, store, slot, _, way)) in ways.iter().enumerate() {
        let to = if way.hand_over.is_empty() { None } else { targets.next() };
        chains.push(match to {
            Some(to) => {
                let moves = draft.push(hand_over(view, name, store, slot, &to, first.clone(), turn));
                before_it.insert(name, moves);
                vec![moves]
            }
            None => first.clone(),
        });
    }
    let mut bytes = 0u64;
    for ((name, store, slot, copy, way), mut after) in ways.iter().zip(chains) {
        // A host may hold a retired copy of a store beside the one that took its place (R11).
        after.extend(before_it.get(name));
        let after = match &way.build {
            Some(to) => {
                bytes = bytes.saturating_add(store.spec.size_bytes);
                vec![draft.push(build(name, store, to, Some(slot), after))]
            }
            None => after,
        };
        before_it.insert(name, draft.push(destroy(name, store, slot, copy, after)));
    }
    declare_last(off, HostState::Empty, &mut draft);
    if let Some((gains, fullest)) = sheet::where_to(&before, &load) {
        draft.note("WHERE TO", gains);
        draft.note("WHERE TO", fullest);
    }
    let built = ways.iter().filter(|(.., way)| way.build.is_some()).count();
    if built > 0 {
        let text = format!(
            "{}, at most {}",
            sheet::count(built, "copy is built elsewhere", "copies are built elsewhere"),
            size(bytes)
        );
        draft.note("DATA", text);
    }
    draft.note("MEANWHILE", "every store keeps its copies: each is built elsewhere before it is destroyed here");
    for host in off {
        draft.note("WAY BACK", format!("before the end: slotctl plan abort PLAN, then slotctl undrain host {host}"));
        draft.note("WAY BACK", format!("after: slotctl undrain host {host} puts it into service without copies"));
    }
    Ok(draft)
}

/// One copy elsewhere, the mastership with it.
pub(crate) fn move_copy(view: &View<'_>, slot: &SlotId, to: Option<&SlotId>) -> Result<Draft, Refusal> {
    view.cluster.slot(slot).ok_or_else(|| Refusal::UnknownSlot(slot.clone()))?;
    let (name, store, copy) = view.cluster.copy_on(slot).ok_or_else(|| Refusal::NoCopy(slot.clone()))?;
    if view.inputs.busy_stores.contains(name) {
        return Err(Refusal::StoresBusy(BTreeSet::from([name.clone()])));
    }
    if !view.answers(&slot.host) {
        return Err(Refusal::HostSilent(slot.host.clone()));
    }
    if let Some(case) = view.open_case(name, slot) {
        let state = view.cluster.loss_cases.get(&case).map_or(LossState::Listed, |c| c.state.clone());
        return Err(Refusal::LossCaseIn { case, state });
    }
    if !store.possible_masters.is_empty() {
        let slots = store.possible_masters.keys().cloned().collect();
        return Err(Refusal::PossibleMasters { store: name.clone(), slots });
    }
    if !copy.whole || !matches!(copy.state, CopyState::Serving | CopyState::Stopped) {
        let next = "slotctl rebuild store puts its copies right first";
        return Err(Refusal::CopyIn { store: name.clone(), slot: slot.clone(), state: copy.state, next });
    }
    let master = view.master_well(name, store).map_err(|why| Refusal::NotServed { store: name.clone(), why })?;
    let leads = master == slot;
    let mut yard = Yard::new(view);
    let none = BTreeSet::new();
    let wanted = Wanted { store, master: &master.host, replaces: Some(slot), beside: &[], leaving: &none };
    let target = match to {
        Some(to) if view.cluster.slot(to).is_none() => return Err(Refusal::UnknownSlot(to.clone())),
        Some(to) => yard.take_this(to, &wanted).map_err(|why| Refusal::NotThisPlace {
            store: name.clone(),
            to: to.clone(),
            why,
        })?,
        None => yard.take(&wanted).map_err(|why| no_place(name, store, why))?,
    };
    if let Err(live) = stays_whole(view, name, store, slot, &target) {
        let stopped = |(at, copy): &(&SlotId, &Copy)| *at != slot && copy.whole && copy.state == CopyState::Stopped;
        let stopped = store.copies.iter().filter(stopped).map(|(at, _)| at.host.clone()).collect();
        return Err(Refusal::TooFewCopies { store: name.clone(), live, needed: store.spec.copies, stopped });
    }
    let mut draft = Draft::default();
    let mut last = draft.push(build(name, store, &target, Some(slot), Vec::new()));
    if leads {
        last = draft.push(hand_over(view, name, store, slot, &target, vec![last], 0));
    }
    draft.push(destroy(name, store, slot, copy, vec![last]));
    draft.note("DATA", format!("at most {} are copied to {target}", size(store.spec.size_bytes)));
    draft.note("MEANWHILE", format!("{name} keeps its copies: {slot} is destroyed only once {target} counts"));
    draft.note("WAY BACK", format!("slotctl move slot {target} --to {slot}"));
    Ok(draft)
}

fn no_place(name: &StoreName, store: &Store, why: BTreeMap<HostName, WhyNot>) -> Refusal {
    Refusal::NoRoom { store: name.clone(), needed: 1, found: 0, size_bytes: store.spec.size_bytes, excluded: why }
}

/// As many whole copies as the file asks for, of every store in the scope.
pub(crate) fn rebuild(view: &View<'_>, scope: &Scope) -> Result<Draft, Refusal> {
    match scope {
        Scope::Store(name) if !view.cluster.stores.contains_key(name) => {
            return Err(Refusal::UnknownStore(name.clone()));
        }
        Scope::Host(host) if !view.cluster.hosts.contains_key(host) => return Err(Refusal::UnknownHost(host.clone())),
        _ => {}
    }
    let mut yard = Yard::new(view);
    let mut draft = Draft::default();
    let mut left: Vec<(StoreName, Refusal)> = Vec::new();
    for (name, store) in &view.cluster.stores {
        let inside = match scope {
            Scope::Store(wanted) => wanted == name,
            Scope::Host(host) => store.copies.keys().any(|slot| slot.host == *host),
            Scope::All => true,
        };
        if !inside || store.retired || store.epoch == Epoch::ZERO {
            continue;
        }
        if let Err(why) = put_right(view, &mut yard, name, store, &mut draft) {
            left.push((name.clone(), why));
        }
    }
    match (draft.tasks.is_empty(), left.len()) {
        (true, 0) => return Err(Refusal::NothingToDo(Nothing::Rebuilt(scope.clone()))),
        (true, 1) => return Err(left.remove(0).1),
        (true, _) => return Err(Refusal::Rebuild { because: left.into_iter().collect() }),
        (false, _) => {}
    }
    for (store, why) in &left {
        draft.note("NOT POSSIBLE", format!("{store}: {}", why.to_string().replace('\n', " ")));
    }
    draft.note(
        "WAY BACK",
        "slotctl plan abort PLAN stops it; what is not whole by then is not counted, and can be rebuilt",
    );
    Ok(draft)
}

/// The copies of one store: missing ones built, unfinished ones finished, surplus ones destroyed.
fn put_right(
    view: &View<'_>,
    yard: &mut Yard<'_>,
    name: &StoreName,
    store: &Store,
    draft: &mut Draft,
) -> Result<(), Refusal> {
    if view.inputs.busy_stores.contains(name) {
        return Err(Refusal::StoresBusy(BTreeSet::from([name.clone()])));
    }
    let master = view.master_well(name, store).map_err(|why| Refusal::NotServed { store: name.clone(), why })?;
    let mut have = live_domains(view, name, store, &BTreeSet::new());
    // What a person stopped counts as existing (S9) for as long as its host can be asked.
    let stopped =
        |(slot, copy): &(&SlotId, &Copy)| copy.whole && copy.state == CopyState::Stopped && view.answers(&slot.host);
    have.extend(store.copies.iter().filter(stopped).map(|(s, _)| domain(view.cluster, store.spec.spread, &s.host)));
    let want = usize::from(store.spec.copies);
    let mut last: Option<u16> = None;
    let chain = |draft: &mut Draft, mut task: Task, last: &mut Option<u16>| {
        task.after = last.iter().copied().collect();
        *last = Some(draft.push(task));
    };
    let unfinished = store
        .copies
        .iter()
        .filter(|(slot, copy)| !copy.whole && copy.state == CopyState::Building && view.answers(&slot.host));
    for (slot, copy) in unfinished {
        if have.len() >= want || have.contains(&domain(view.cluster, store.spec.spread, &slot.host)) {
            if stays(view, name, store, slot).is_none() {
                chain(draft, destroy(name, store, slot, copy, Vec::new()), &mut last);
            }
            continue;
        }
        // The disk of a lost copy was replaced: the next generation takes its slot (R11).
        // S9: beside a copy that is only not seen now nothing is built.
        let here = domain(view.cluster, store.spec.spread, &slot.host);
        let beside = store.copies.iter().any(|(other, copy)| {
            let same = other != slot && domain(view.cluster, store.spec.spread, &other.host) == here;
            same && copy.state != CopyState::Retired && view.answers(&other.host)
        });
        if beside {
            continue;
        }
        let declared = view.cluster.hosts.get(&slot.host).map(|host| host.declared);
        let task = match (view.is_gone(slot, copy), declared) {
            (false, Some(HostState::Active | HostState::Draining)) => go_on(name, store, slot, copy),
            (true, Some(HostState::Active)) if stays(view, name, store, slot).is_none() => {
                build(name, store, slot, None, Vec::new())
            }
            _ => continue,
        };
        have.insert(domain(view.cluster, store.spec.spread, &slot.host));
        chain(draft, task, &mut last);
    }
    let none = BTreeSet::new();
    let mut beside = Vec::new();
    while have.len() < want {
        let wanted = Wanted { store, master: &master.host, replaces: None, beside: &beside, leaving: &none };
        let (slot, lost) = yard.take_or_beside_lost(&wanted).map_err(|why| no_place(name, store, why))?;
        have.insert(domain(view.cluster, store.spec.spread, &slot.host));
        chain(draft, build(name, store, &slot, lost.as_ref(), Vec::new()), &mut last);
        if let Some(lost) = lost {
            let text = format!("{name}: {slot} shares a failure domain with {lost}, which is lost");
            draft.note("BESIDE", format!("{text}; once that is back: slotctl rebuild store {name}"));
        }
        beside.push(slot);
    }
    for (slot, copy) in surplus(view, yard, name, store, master) {
        yard.leaves(&slot.host);
        chain(draft, destroy(name, store, slot, copy, Vec::new()), &mut last);
    }
    Ok(())
}

/// Live replicas beyond what the store asks for, and what a destruction that was given up left behind.
fn surplus<'a>(
    view: &View<'_>,
    yard: &Yard<'_>,
    name: &StoreName,
    store: &'a Store,
    master: &SlotId,
) -> Vec<(&'a SlotId, &'a Copy)> {
    let gone = |(slot, copy): &(&SlotId, &Copy)| {
        let free = stays(view, name, store, slot).is_none() && *slot != master;
        copy.state == CopyState::Retired && view.answers(&slot.host) && free
    };
    let mut all: Vec<(&SlotId, &Copy)> = store.copies.iter().filter(gone).collect();
    let live = close_copies(view, name, store);
    let mut staying: BTreeSet<&SlotId> =
        live.iter().filter(|slot| store.copies.get(slot).is_some_and(|c| c.whole)).collect();
    let mut candidates: Vec<(&SlotId, &Copy)> = store
        .copies
        .iter()
        .filter(|(slot, copy)| *slot != master && copy.whole && live.contains(*slot))
        .filter(|(slot, _)| stays(view, name, store, slot).is_none())
        .collect();
    candidates.sort_by_key(|(slot, _)| (std::cmp::Reverse(yard.copies.get(&slot.host).copied().unwrap_or(0)), *slot));
    for (slot, copy) in candidates {
        let without: BTreeSet<String> = staying
            .iter()
            .filter(|other| **other != slot)
            .map(|other| domain(view.cluster, store.spec.spread, &other.host))
            .collect();
        if without.len() >= usize::from(store.spec.copies) {
            staying.remove(slot);
            all.push((slot, copy));
        }
    }
    all
}

/// Hosts even: replicas from the fullest host to the emptiest, then masters by hand-over.
pub(crate) fn rebalance(view: &View<'_>) -> Result<Draft, Refusal> {
    let mut yard = Yard::new(view);
    let mut draft = Draft::default();
    let mut touched: BTreeSet<&StoreName> = BTreeSet::new();
    while touched.len() < MOVES_MAX {
        let Some((name, store, slot, copy, to)) = next_move(view, &mut yard, &touched) else { break };
        let after = vec![draft.push(build(name, store, &to, Some(slot), Vec::new()))];
        draft.push(destroy(name, store, slot, copy, after));
        yard.leaves(&slot.host);
        touched.insert(name);
    }
    let before = view.masters();
    let mut load = before.clone();
    for turn in 0.. {
        let Some((name, store, from, to)) = next_hand_over(view, &load, &touched) else { break };
        draft.push(hand_over(view, name, store, from, &to, Vec::new(), turn));
        if let Some(count) = load.get_mut(&from.host) {
            *count -= 1;
        }
        *load.entry(to.host).or_default() += 1;
        touched.insert(name);
    }
    if draft.tasks.is_empty() {
        return Err(Refusal::NothingToDo(Nothing::Even));
    }
    if let Some((gains, fullest)) = sheet::where_to(&before, &load) {
        draft.note("WHERE TO", gains);
        draft.note("WHERE TO", fullest);
    }
    if touched.len() >= MOVES_MAX {
        draft.note("NOT ALL", format!("at most {MOVES_MAX} copies are moved by one plan; ask again afterwards"));
    }
    Ok(draft)
}

type Move<'a> = (&'a StoreName, &'a Store, &'a SlotId, &'a Copy, SlotId);

/// A replica of a host that has at least two copies more than the host it could go to.
fn next_move<'a>(view: &View<'a>, yard: &mut Yard<'_>, touched: &BTreeSet<&StoreName>) -> Option<Move<'a>> {
    let usable = |host: &HostName| {
        view.cluster.hosts.get(host).is_some_and(|h| h.declared == HostState::Active) && view.answers(host)
    };
    let mut hosts: Vec<(HostName, u32)> =
        yard.copies.iter().filter(|(host, _)| usable(host)).map(|(host, n)| (host.clone(), *n)).collect();
    hosts.sort_by_key(|(host, n)| (std::cmp::Reverse(*n), host.clone()));
    for (from, most) in &hosts {
        for (to, least) in hosts.iter().rev().take_while(|(_, least)| least + 2 <= *most) {
            for (name, slot, copy) in view.cluster.copies_on(from).filter(|(name, ..)| !touched.contains(name)) {
                let Some((name, store)) = view.cluster.stores.get_key_value(name) else { continue };
                let Some((slot, copy)) = store.copies.get_key_value(slot).filter(|(_, c)| *c == copy) else { continue };
                let movable = copy.whole && copy.state == CopyState::Serving && copy.role == Role::Replica;
                if !movable || least + 2 > *most || stays(view, name, store, slot).is_some() {
                    continue;
                }
                let Ok(master) = view.master_well(name, store) else { continue };
                let none = BTreeSet::new();
                let wanted = Wanted { store, master: &master.host, replaces: Some(slot), beside: &[], leaving: &none };
                let beside = SlotId::new(to.clone(), 0);
                if stays_whole(view, name, store, slot, &beside).is_err() {
                    continue;
                }
                if let Some(target) = yard.take_on(to, &wanted) {
                    return Some((name, store, slot, copy, target));
                }
            }
        }
    }
    None
}

/// A master whose host has at least two more than that of a replica which could take it.
fn next_hand_over<'a>(
    view: &View<'a>,
    load: &BTreeMap<HostName, u32>,
    touched: &BTreeSet<&StoreName>,
) -> Option<(&'a StoreName, &'a Store, &'a SlotId, SlotId)> {
    let on = |host: &HostName| load.get(host).copied().unwrap_or(0);
    let mut stores: Vec<(&StoreName, &Store)> = view.cluster.stores.iter().collect();
    stores.sort_by_key(|(name, store)| {
        (std::cmp::Reverse(store.master.as_ref().map_or(0, |master| on(&master.host))), *name)
    });
    for (name, store) in stores {
        if touched.contains(name) || view.inputs.busy_stores.contains(name) || !store.possible_masters.is_empty() {
            continue;
        }
        let Ok(from) = view.master_well(name, store) else { continue };
        let fits =
            |to: &&SlotId| on(&to.host) + 2 <= on(&from.host) && view.handover_target(name, store, from, to).is_ok();
        let best = store.copies.keys().filter(fits).min_by_key(|to| (on(&to.host), *to));
        if let Some(to) = best {
            return Some((name, store, from, to.clone()));
        }
    }
    None
}

/// An empty host leaves for good.
pub(crate) fn retire_host(view: &View<'_>, host: &HostName) -> Result<Draft, Refusal> {
    let known = view.cluster.hosts.get(host).ok_or_else(|| Refusal::UnknownHost(host.clone()))?;
    if known.declared == HostState::Retired {
        return Err(Refusal::NothingToDo(Nothing::Retired(host.clone())));
    }
    if view.inputs.busy_hosts.contains(host) {
        return Err(Refusal::HostBusy(host.clone()));
    }
    let held: BTreeSet<SlotId> = view.cluster.copies_on(host).map(|(_, slot, _)| slot.clone()).collect();
    let possible = view.cluster.stores.values().flat_map(|store| store.possible_masters.keys());
    let held: BTreeSet<SlotId> = held.into_iter().chain(possible.filter(|slot| slot.host == *host).cloned()).collect();
    if !held.is_empty() {
        return Err(Refusal::HostHolds { host: host.clone(), slots: held });
    }
    let mut draft = Draft::default();
    draft.push(host_state(host, HostState::Retired, Vec::new()));
    draft.note("NO UNDO", format!("{host} gets no orders any more; a machine that takes its place needs another name"));
    Ok(draft)
}

/// Everyday: what was interrupted while it was built holds everything by now (R16).
pub(crate) fn count(view: &View<'_>, slot: &SlotId) -> Result<Draft, Refusal> {
    let (name, store, copy) = view.cluster.copy_on(slot).ok_or_else(|| Refusal::NoCopy(slot.clone()))?;
    if view.inputs.busy_stores.contains(name) {
        return Err(Refusal::StoresBusy(BTreeSet::from([name.clone()])));
    }
    if copy.whole || copy.state != CopyState::Building {
        return Err(Refusal::NothingToDo(Nothing::Follows(slot.clone())));
    }
    let master = store.master.as_ref().filter(|_| store.pending.is_none());
    let master = master.ok_or_else(|| Refusal::NotServed { store: name.clone(), why: NotWell::NoMaster })?;
    let follows = Some((master.clone(), store.epoch));
    let status = view.status(name, slot, copy).map(|(status, _)| status);
    let heard = |ms: Option<u64>| ms.is_some_and(|ms| ms <= view.policy().silent_ms);
    let holds = status
        .is_some_and(|s| s.following == follows && s.behind == Some(0) && s.verified_ms.is_some() && heard(s.heard_ms));
    if copy.follows != follows || !holds {
        let next = "it does not hold everything yet; it counts as soon as it does";
        return Err(Refusal::CopyIn { store: name.clone(), slot: slot.clone(), state: copy.state, next });
    }
    let task = Task {
        steps: steps::count_copy(),
        kind: TaskKind::CountCopy { slot: slot.clone() },
        store: Some(name.clone()),
        epoch: store.epoch,
        after: Vec::new(),
    };
    Ok(Draft { tasks: vec![task], ..Draft::default() })
}
