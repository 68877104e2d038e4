//! Copies built, moved and destroyed: a host emptied, a slot moved, lost copies rebuilt.
//!
//! What always holds: a copy is destroyed only after as many whole ones as its store asks for are elsewhere, so a store never
//! passes through fewer (S9); a copy whose place nobody can take blocks the plan as a whole where a host is to be emptied,
//! and is named where many stores are looked at; everything about one store is one chain of tasks.

use crate::drain::{all_may_leave, declare_draining, declare_last, hand_over, host_state};
use crate::leave::{Gone, close_copies, domain, leaves, live_domains, stays};
use crate::live::{Chart, Stance, lifted};
use crate::nothing::Nothing;
use crate::refusal::{DrainBlock, Refusal, WhyNot};
use crate::view::View;
use crate::{Draft, leads, sheet, steps};
use slot_types::cluster::*;
use slot_types::ids::*;
use slot_types::plan::{Scope, Task, TaskKind};
use slot_types::render::size;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The generation that the next copy of a store on a slot has (R11).
pub(crate) fn next_generation(store: &Store, slot: &SlotId) -> CopyGeneration {
    let held = store.copies.get(slot).map(|copy| copy.generation).max(store.past.get(slot).copied());
    CopyGeneration(held.map_or(0, |held| held.0) + 1)
}

pub(crate) fn build(
    name: &StoreName,
    store: &Store,
    slot: &SlotId,
    replaces: Option<&SlotId>,
    after: Vec<u16>,
) -> Task {
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
    let mut ways = Vec::new();
    let mut because = BTreeMap::new();
    let mut leaving: Vec<_> = off.iter().flat_map(|host| view.cluster.copies_on(host)).collect();
    leaving.sort_by_key(|(name, slot, _)| (*name, *slot));
    let mut gone: BTreeMap<&StoreName, Gone> = BTreeMap::new();
    for (name, slot, copy) in leaving {
        let Some(store) = view.cluster.stores.get(name) else { continue };
        let gone = gone.entry(name).or_default();
        match leaves(view, (name, store), (slot, copy), (off, gone)) {
            Ok(way) => {
                gone.left.insert(slot.clone());
                gone.built += usize::from(way.is_built);
                ways.push((name, store, slot, copy, way));
            }
            Err(block) => drop(because.insert(name.clone(), block)),
        }
    }
    let mut load = view.loads();
    load.retain(|host, _| !off.contains(host));
    let open: Vec<leads::Open<'_>> =
        ways.iter().map(|(name, .., way)| (*name, &way.hand_over[..])).filter(|(_, slots)| !slots.is_empty()).collect();
    let mut targets = leads::choose(view, off, &open, &load).into_iter();
    let leads: Vec<Option<SlotId>> =
        ways.iter().map(|(.., way)| if way.hand_over.is_empty() { None } else { targets.next() }).collect();
    let led = ways.iter().zip(&leads).filter_map(|((name, ..), to)| Some((*name, to.as_ref()?))).collect();
    let mut places = elsewhere(view, off, &gone, &led, &mut because);
    if !because.is_empty() {
        return Err(Refusal::Drain { hosts: off.clone(), because });
    }
    let mut draft = Draft::default();
    let first = declare_draining(&known, HostState::Empty, &mut draft);
    // Every master leaves before the first byte is copied: what takes long comes last.
    let mut before_it: BTreeMap<&StoreName, u16> = BTreeMap::new();
    let mut chains: Vec<Vec<u16>> = Vec::new();
    for (turn, ((name, store, slot, ..), to)) in ways.iter().zip(&leads).enumerate() {
        chains.push(match to {
            Some(to) => {
                let moves = draft.push(hand_over(view, name, store, slot, to, first.clone(), turn));
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
        let leaving = gone.get(name).map(|gone| &gone.left);
        let place = match places.get_mut(name).filter(|_| way.is_built) {
            Some(places) => place_for(view, store, places, (slot, leaving)),
            None => None,
        };
        let after = match place {
            Some(to) => {
                bytes = bytes.saturating_add(view.copy_bytes(name, &store.spec));
                vec![draft.push(build(name, store, &to, Some(slot), after))]
            }
            None => after,
        };
        before_it.insert(name, draft.push(destroy(name, store, slot, copy, after)));
    }
    declare_last(off, HostState::Empty, &mut draft);
    sheet::where_to(view, None, &mut draft);
    empty_notes(off, ways.iter().filter(|(.., way)| way.is_built).count(), bytes, &mut draft);
    Ok(draft)
}

/// Where what leaves a slot is built: in its own domain, since only it gives way there, or where no other that leaves is (S9).
fn place_for(
    view: &View<'_>,
    store: &Store,
    places: &mut VecDeque<SlotId>,
    (slot, leaving): (&SlotId, Option<&BTreeSet<SlotId>>),
) -> Option<SlotId> {
    let at = |slot: &SlotId| domain(view.cluster, store.spec.spread, &slot.host);
    let taken: BTreeSet<String> = leaving.into_iter().flatten().map(at).collect();
    let own = places.iter().position(|place| at(place) == at(slot));
    let free = || places.iter().position(|place| !taken.contains(&at(place)));
    places.remove(own.or_else(free).unwrap_or(0))
}

fn empty_notes(off: &BTreeSet<HostName>, built: usize, bytes: u64, draft: &mut Draft) {
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
}

/// Where the copies that leave are built, by store; stores of which one has no place anywhere are named.
fn elsewhere<'a>(
    view: &View<'a>,
    off: &BTreeSet<HostName>,
    gone: &BTreeMap<&'a StoreName, Gone>,
    led: &BTreeMap<&'a StoreName, &SlotId>,
    because: &mut BTreeMap<StoreName, DrainBlock>,
) -> BTreeMap<&'a StoreName, VecDeque<SlotId>> {
    let none = Gone::default();
    let stance = |name: &StoreName, store: &Store| {
        let gone = gone.get(name).unwrap_or(&none);
        let stance = Stance::kept(store).without(&gone.left);
        let stance = if let Some(master) = led.get(name) { stance.led_by(master) } else { stance };
        stance.and_more(gone.built)
    };
    let mut chart = Chart::of(view, off, stance);
    let placed = chart.place(view);
    let mut places = BTreeMap::new();
    for name in gone.keys() {
        let Some(number) = chart.number(name) else { continue };
        places.insert(*name, placed.of(number).iter().cloned().collect());
        if let Some(why) = placed.why_not(number) {
            let size_bytes = view.cluster.stores.get(*name).map_or(0, |store| view.copy_bytes(name, &store.spec));
            let block = || DrainBlock::NoRoom { size_bytes, why: why.clone(), is_most: placed.is_most() };
            because.entry((*name).clone()).or_insert_with(block);
        }
    }
    places
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
    let target = target(view, (name, store), (slot, leads), to)?;
    if let Err(live) = Gone::default().stays_whole(view, (name, store), slot) {
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
    draft.note("DATA", format!("at most {} are copied to {target}", size(view.copy_bytes(name, &store.spec))));
    draft.note("MEANWHILE", format!("{name} keeps its copies: {slot} is destroyed only once {target} counts"));
    draft.note("WAY BACK", format!("slotctl move slot {target} --to {slot}"));
    Ok(draft)
}

/// Where a copy goes that is to leave its slot: its host too, if there is no other.
fn target(
    view: &View<'_>,
    (name, store): (&StoreName, &Store),
    (slot, leads): (&SlotId, bool),
    to: Option<&SlotId>,
) -> Result<SlotId, Refusal> {
    if let Some(unknown) = to.filter(|to| view.cluster.slot(to).is_none()) {
        return Err(Refusal::UnknownSlot(unknown.clone()));
    }
    let (mut chart, number, nth) =
        lifted(view, name, slot, leads).ok_or_else(|| Refusal::UnknownStore(name.clone()))?;
    if let Some(to) = to {
        let refused = |why| Refusal::NotThisPlace { store: name.clone(), to: to.clone(), why };
        return chart.may_take(view, (number, nth), to).map(|()| to.clone()).map_err(refused);
    }
    let mut apart = chart.clone();
    apart.keep_away(number, &slot.host);
    let placed = apart.place(view);
    if let Some(found) = placed.of(number).first() {
        return Ok(found.clone());
    }
    let placed = chart.place(view);
    let why = || placed.why_not(number).cloned().unwrap_or_default();
    placed.of(number).first().cloned().ok_or_else(|| no_place(view, (name, store), why(), placed.is_most()))
}

fn no_place(
    view: &View<'_>,
    (name, store): (&StoreName, &Store),
    excluded: BTreeMap<HostName, WhyNot>,
    is_most: bool,
) -> Refusal {
    let size_bytes = view.copy_bytes(name, &store.spec);
    Refusal::NoRoom { store: name.clone(), needed: 1, found: 0, size_bytes, excluded, is_most }
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
    let mut left: Vec<(StoreName, Refusal)> = Vec::new();
    let mut repairs: BTreeMap<&StoreName, Repair<'_>> = BTreeMap::new();
    for (name, store) in &view.cluster.stores {
        let inside = match scope {
            Scope::Store(wanted) => wanted == name,
            Scope::Host(host) => store.copies.keys().any(|slot| slot.host == *host),
            Scope::All => true,
        };
        if !inside || store.retired || store.epoch == Epoch::ZERO {
            continue;
        }
        match repair(view, name, store) {
            Ok(repair) => drop(repairs.insert(name, repair)),
            Err(why) => left.push((name.clone(), why)),
        }
    }
    let mut draft = Draft::default();
    put_right(view, &repairs, &mut draft, &mut left);
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

/// What one store needs: unfinished copies finished, missing ones built, surplus ones destroyed.
struct Repair<'a> {
    store: &'a Store,
    master: &'a SlotId,
    /// What is done with the copies that were begun.
    begun: Vec<Task>,
    /// So many are built elsewhere.
    missing: usize,
    /// Copies whose hosts can't be asked.
    lost: Vec<SlotId>,
}

fn repair<'a>(view: &View<'a>, name: &'a StoreName, store: &'a Store) -> Result<Repair<'a>, Refusal> {
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
    let mut begun = Vec::new();
    let unfinished = store
        .copies
        .iter()
        .filter(|(slot, copy)| !copy.whole && copy.state == CopyState::Building && view.answers(&slot.host));
    for (slot, copy) in unfinished {
        let here = domain(view.cluster, store.spec.spread, &slot.host);
        if have.len() >= want || have.contains(&here) {
            if stays(view, name, store, slot).is_none() {
                begun.push(destroy(name, store, slot, copy, Vec::new()));
            }
            continue;
        }
        // S9: beside a copy that is only not seen now nothing is built.
        let beside = store.copies.iter().any(|(other, copy)| {
            let same = other != slot && domain(view.cluster, store.spec.spread, &other.host) == here;
            same && copy.state != CopyState::Retired && view.answers(&other.host)
        });
        let declared = view.cluster.hosts.get(&slot.host).map(|host| host.declared);
        begun.push(match (view.is_gone(slot, copy), declared) {
            _ if beside => continue,
            (false, Some(HostState::Active | HostState::Draining)) => go_on(name, store, slot, copy),
            // The disk of a lost copy was replaced: the next generation takes its slot (R11).
            (true, Some(HostState::Active)) if stays(view, name, store, slot).is_none() => {
                build(name, store, slot, None, Vec::new())
            }
            _ => continue,
        });
        have.insert(here);
    }
    let missing = want.saturating_sub(have.len());
    let there: Vec<&SlotId> =
        store.copies.iter().filter(|(_, copy)| copy.state != CopyState::Retired).map(|(slot, _)| slot).collect();
    let mut lost = Vec::new();
    // Only where the store has all its places may one be built beside a lost copy: it has one more from then on.
    if there.len() + missing > want {
        let gone = |slot: &&SlotId| slot.host != master.host && !view.answers(&slot.host);
        lost.extend(there.into_iter().filter(gone).cloned());
    }
    Ok(Repair { store, master, begun, missing, lost })
}

/// Finds places for all that is missing at once, every host taking a part, and writes the tasks down store by store.
fn put_right<'a>(
    view: &View<'a>,
    repairs: &BTreeMap<&'a StoreName, Repair<'a>>,
    draft: &mut Draft,
    left: &mut Vec<(StoreName, Refusal)>,
) {
    let none = BTreeSet::new();
    let mut chart = Chart::of(view, &none, |name, store| {
        let stance = Stance::kept(store);
        match repairs.get(name) {
            Some(repair) => Stance { lost: repair.lost.clone(), ..stance.and_more(repair.missing) },
            None => stance,
        }
    });
    let placed = chart.place(view);
    let mut on: BTreeMap<&HostName, u32> = BTreeMap::new();
    view.cluster
        .stores
        .values()
        .flat_map(|store| store.copies.keys())
        .for_each(|s| *on.entry(&s.host).or_default() += 1);
    for (name, repair) in repairs {
        let (store, mut last) = (repair.store, None);
        let mut chain = |draft: &mut Draft, task: Task| {
            last = Some(draft.push(Task { after: last.into_iter().collect(), ..task }));
        };
        repair.begun.iter().for_each(|task| chain(draft, task.clone()));
        let number = chart.number(name);
        for slot in number.map_or(&[][..], |number| placed.of(number)) {
            let lost = placed.beside(slot);
            chain(draft, build(name, store, slot, lost, Vec::new()));
            if let Some(lost) = lost {
                let text = format!("{name}: {slot} shares a failure domain with {lost}, which is lost");
                draft.note("BESIDE", format!("{text}; once that is back: slotctl rebuild store {name}"));
            }
        }
        if let Some(why) = number.and_then(|number| placed.why_not(number)) {
            left.push(((*name).clone(), no_place(view, (name, store), why.clone(), placed.is_most())));
        }
        for (slot, copy) in surplus(view, &on, name, store, repair.master) {
            if let Some(count) = on.get_mut(&slot.host) {
                *count -= 1;
            }
            chain(draft, destroy(name, store, slot, copy, Vec::new()));
        }
    }
}

/// Live replicas beyond what the store asks for, and what a destruction that was given up left behind.
fn surplus<'a>(
    view: &View<'_>,
    on: &BTreeMap<&HostName, u32>,
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
    candidates.sort_by_key(|(slot, _)| (std::cmp::Reverse(on.get(&slot.host).copied().unwrap_or(0)), *slot));
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
