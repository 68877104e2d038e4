//! Copies that come and go: S9, R11, R16.
//!
//! What always holds: a copy is not counted before it was seen to hold everything its master held (R16); from the moment an
//! order to destroy a copy may exist that copy is neither present nor free (R4), and no such order comes to exist unless as
//! many whole copies as the store asks for stay, in as many domains (S9); the generation of a copy that is gone is
//! remembered for good (R11), and that it is gone for as long as an acknowledgement may rest on it (R7).

use crate::guard::GUARD_AGE_MS_MAX;
use crate::ready::{At, in_service};
use slot_planted::planted;
use slot_types::cluster::*;
use slot_types::engine::{EngineRole, EngineStatus};
use slot_types::evidence::Evidence;
use slot_types::ids::*;
use slot_types::plan::TaskKind;
use std::collections::BTreeSet;

/// What two copies of a store may not share: the domain that counts for it.
pub(crate) fn domain(cluster: &Cluster, spread: Spread, host: &HostName) -> String {
    match (spread, cluster.hosts.get(host)) {
        (Spread::Rack, Some(known)) => known.at.to_string(),
        _ => host.to_string(),
    }
}

/// S9: whether every copy that is there is where this line of the file would allow it.
pub(crate) fn allowed(cluster: &Cluster, store: &Store, line: &StoreSpec) -> bool {
    let mut domains = BTreeSet::new();
    store.copies.iter().filter(|(_, copy)| copy.state != CopyState::Retired).all(|(slot, _)| {
        cluster.slot(slot).is_some_and(|room| room.size_bytes >= line.size_bytes)
            && !line.never.contains(&slot.host)
            && domains.insert(domain(cluster, line.spread, &slot.host))
    })
}

/// Whether the replicated state lets a copy be made here, followed and counted.
pub(crate) fn buildable(at: &At<'_>) -> Result<(), String> {
    let TaskKind::BuildCopy { slot, generation, replaces } = &at.task.kind else {
        return Err("the step does not belong to this task".into());
    };
    let store = at.store()?;
    if at.run.state != crate::state::TaskState::Waiting {
        // Begun: only that very copy goes on.
        let mine =
            store.copies.get(slot).is_some_and(|c| c.generation == *generation && c.state == CopyState::Building);
        return if mine { Ok(()) } else { Err(format!("{slot} does not hold the copy that this task makes")) };
    }
    if store.master.is_none() || store.pending.is_some() {
        return Err("the store has no settled master to build from".into());
    }
    let host = at.cluster.hosts.get(&slot.host).ok_or_else(|| format!("{} is not in the cluster file", slot.host))?;
    let room = host.slots.get(&slot.number).ok_or_else(|| format!("{slot} is not in the cluster file"))?;
    if host.declared != HostState::Active {
        return Err(format!("S9: {} is {}", slot.host, host.declared));
    }
    if room.size_bytes < store.spec.size_bytes {
        return Err(format!("S9: {slot} holds {} bytes, the store wants {}", room.size_bytes, store.spec.size_bytes));
    }
    if store.spec.never.contains(&slot.host) {
        return Err(format!("the cluster file says of it never {}", slot.host));
    }
    free_for(at, store, slot, *generation)?;
    let here = domain(at.cluster, store.spec.spread, &slot.host);
    let mut others = store.copies.iter().filter(|(other, copy)| {
        *other != slot && Some(*other) != replaces.as_ref() && copy.state != CopyState::Retired
    });
    match others.find(|(other, _)| domain(at.cluster, store.spec.spread, &other.host) == here) {
        Some((other, _)) if !planted("s9-two-copies-one-rack") => {
            Err(format!("S9: {other} holds a copy of it in {here} already"))
        }
        _ => Ok(()),
    }
}

/// R11: the slot holds nothing, or a lost copy of this very store that nothing depends on any more.
fn free_for(at: &At<'_>, store: &Store, slot: &SlotId, generation: CopyGeneration) -> Result<(), String> {
    let name = at.task.store.as_ref().ok_or("the task names no store")?;
    if let Some((other, _, _)) = at.cluster.copy_on(slot).filter(|(other, _, _)| *other != name) {
        return Err(format!("S9: {slot} holds a copy of {other}"));
    }
    if let Some(copy) = store.copies.get(slot) {
        may_go(at, store, slot, copy)?;
        if copy.whole && copy.state != CopyState::Retired {
            return Err(format!("{slot} holds a whole copy of it"));
        }
    }
    let held = store.copies.get(slot).map(|copy| copy.generation).max(store.past.get(slot).copied());
    match held.filter(|held| *held >= generation) {
        Some(held) => Err(format!("R11: {slot} held copy generation {held} of it")),
        None => Ok(()),
    }
}

/// Whether nothing depends on this copy's data: no mastership, and no loss case that may have to be settled from it.
fn may_go(at: &At<'_>, store: &Store, slot: &SlotId, copy: &Copy) -> Result<(), String> {
    if store.master.as_ref() == Some(slot) || store.pending.as_ref() == Some(slot) {
        return Err(format!("{slot} is the master"));
    }
    if store.possible_masters.contains_key(slot) {
        return Err(format!("{slot} may still be a master and is not fenced"));
    }
    let mut cases = at.cluster.loss_cases.iter();
    let open = cases.find(|(_, c)| {
        Some(&c.store) == at.task.store.as_ref()
            && c.slot == *slot
            && c.generation == copy.generation
            && c.state.is_open()
    });
    match open {
        Some((case, _)) => Err(format!("{case} is open for {slot}; settle it first")),
        None => Ok(()),
    }
}

/// R16: the copy is bound to the present master at the present epoch, and is not counted yet.
pub(crate) fn countable(at: &At<'_>) -> Result<(), String> {
    let (TaskKind::BuildCopy { slot, .. } | TaskKind::CountCopy { slot }) = &at.task.kind else {
        return Err("the step does not belong to this task".into());
    };
    let store = at.store()?;
    in_service(at.cluster, &slot.host)?;
    let copy = store.copies.get(slot).ok_or_else(|| format!("{slot} holds no copy of it"))?;
    if let TaskKind::BuildCopy { generation, .. } = &at.task.kind
        && copy.generation != *generation
    {
        return Err(format!("{slot} holds another copy than this task makes"));
    }
    let master = store.master.clone().ok_or("the store has no master now")?;
    if copy.state != CopyState::Building || copy.whole {
        return Err(format!("{slot} is not being built"));
    }
    if copy.follows != Some((master.clone(), store.epoch)) {
        return Err(format!("R16: {slot} does not follow {master} at epoch {}", store.epoch));
    }
    Ok(())
}

/// R16: it was seen, lately, to hold everything its master had told it of, with the master's own digest.
pub(crate) fn holds_everything(cluster: &Cluster, store: &Store, slot: &SlotId, seen: &Evidence) -> Result<(), String> {
    let master = store.master.as_ref().ok_or("the store has no master now")?;
    let generation = store.copies.get(slot).map(|copy| copy.generation);
    let status = seen.running(slot, GUARD_AGE_MS_MAX).ok_or_else(|| format!("{slot} is not seen running"))?;
    if Some(status.generation) != generation
        || status.role != EngineRole::Replica
        || status.following != Some((master.clone(), store.epoch))
    {
        return Err(format!("{slot} is not seen following {master} at epoch {}", store.epoch));
    }
    if status.heard_ms.is_none_or(|ms| ms > cluster.policy.silent_ms) || status.verified_ms.is_none() {
        return Err(format!("{slot} has not heard {master} lately"));
    }
    match status.behind {
        Some(0) => Ok(()),
        Some(behind) => Err(format!("{slot} is {behind} records behind {master}, at {}", status.tip.position)),
        None => Err(format!("{slot} does not know how far it is behind")),
    }
}

/// The whole copies that stay when `slot` goes, the master among them.
fn staying<'a>(store: &'a Store, slot: &'a SlotId) -> impl Iterator<Item = (&'a SlotId, &'a Copy)> {
    store.copies.iter().filter(move |(other, copy)| {
        *other != slot && copy.whole && matches!(copy.state, CopyState::Serving | CopyState::Frozen)
    })
}

/// S9: what is destroyed is one too many, in number and in domains; what is not whole is no copy.
pub(crate) fn destroyable(at: &At<'_>) -> Result<(), String> {
    let TaskKind::DestroyCopy { slot, generation } = &at.task.kind else {
        return Err("the step does not belong to this task".into());
    };
    let store = at.store()?;
    let copy = store.copies.get(slot).ok_or_else(|| format!("{slot} holds no copy of it"))?;
    if copy.generation != *generation {
        return Err(format!("R11: {slot} holds copy {}, not {generation}", copy.generation));
    }
    may_go(at, store, slot, copy)?;
    if !copy.whole || store.retired {
        return Ok(());
    }
    let master = store.master.as_ref().ok_or("the store has no master now")?;
    let follows = Some((master.clone(), store.epoch));
    let bound = |(other, copy): &(&SlotId, &Copy)| *other == master || copy.follows == follows;
    let domains: BTreeSet<String> = staying(store, slot)
        .filter(bound)
        .map(|(other, _)| domain(at.cluster, store.spec.spread, &other.host))
        .collect();
    if domains.len() < usize::from(store.spec.copies) {
        return Err(format!(
            "S9: without {slot} it would have {} whole copies in domains of their own, it wants {}",
            domains.len(),
            store.spec.copies
        ));
    }
    Ok(())
}

/// Whether a replica holds all but what is on its way: a copy that was whole once may have been away since.
fn close_behind(cluster: &Cluster, store: &Store, master: &SlotId, status: &EngineStatus) -> bool {
    let policy = &cluster.policy;
    status.role == EngineRole::Replica
        && status.following == Some((master.clone(), store.epoch))
        && status.heard_ms.is_some_and(|ms| ms <= policy.silent_ms)
        && status.verified_ms.is_some_and(|ms| ms <= policy.max_stamp_age_ms)
        && status.behind.is_some_and(|behind| behind <= policy.max_lag_records)
}

/// R14: the copies that stay are seen, lately, in the roles that the state says, and close behind.
pub(crate) fn others_live(cluster: &Cluster, store: &Store, slot: &SlotId, seen: &Evidence) -> Result<(), String> {
    let copy = store.copies.get(slot).ok_or_else(|| format!("{slot} holds no copy of it"))?;
    if !copy.whole || store.retired {
        return Ok(());
    }
    let master = store.master.as_ref().ok_or("the store has no master now")?;
    let live = |(other, copy): &(&SlotId, &Copy)| {
        seen.running(other, GUARD_AGE_MS_MAX).is_some_and(|status| {
            let right = match *other == master {
                true => status.role == EngineRole::Master && status.epoch == store.epoch,
                false => close_behind(cluster, store, master, status),
            };
            right && status.generation == copy.generation
        })
    };
    let domains: BTreeSet<String> =
        staying(store, slot).filter(live).map(|(other, _)| domain(cluster, store.spec.spread, &other.host)).collect();
    if domains.len() < usize::from(store.spec.copies) {
        return Err(format!(
            "only {} other copies are seen live in domains of their own, it wants {}",
            domains.len(),
            store.spec.copies
        ));
    }
    Ok(())
}

/// R13: what changes a store's master does not begin while everyday recovery, which ran beside a build, is under way there.
pub(crate) fn recovered(at: &At<'_>) -> Result<(), String> {
    let aside = matches!(at.task.kind, TaskKind::BuildCopy { .. } | TaskKind::DestroyCopy { .. });
    let everyday = |id: &PlanId| at.state.plans.get(id).is_some_and(|r| r.plan.intent.is_everyday());
    if aside || at.run.state != crate::state::TaskState::Waiting || at.record.plan.intent.is_everyday() {
        return Ok(());
    }
    let Some(store) = &at.task.store else { return Ok(()) };
    match crate::plans::in_hand(at.state, store, at.record.id).into_iter().find(everyday) {
        Some(plan) => Err(format!("{plan} recovers {store} first")),
        None => Ok(()),
    }
}

/// The first order of a copy may exist from now on: its slot is taken (R4), and it counts for nothing (R16).
pub(crate) fn build_starts(store: &mut Store, slot: &SlotId, generation: CopyGeneration) {
    if store.copies.get(slot).is_some_and(|copy| copy.generation == generation) {
        return;
    }
    if let Some(lost) = store.copies.get(slot) {
        store.past.insert(slot.clone(), lost.generation);
        store.unheard.insert(slot.clone());
    }
    let copy = Copy { role: Role::Replica, state: CopyState::Building, generation, follows: None, whole: false };
    store.copies.insert(slot.clone(), copy);
    store.version += 1;
}

/// R16: from now on it counts.
pub(crate) fn counted(store: &mut Store, slot: &SlotId) {
    if let Some(copy) = store.copies.get_mut(slot) {
        copy.whole = true;
        copy.state = CopyState::Serving;
        store.version += 1;
    }
}

/// R4: the order to destroy it may exist from now on, so it is neither present nor free.
pub(crate) fn destroy_starts(store: &mut Store, slot: &SlotId) {
    if planted("r4-slot-free-before-destroyed") {
        store.copies.remove(slot);
    }
    if let Some(copy) = store.copies.get_mut(slot) {
        copy.state = CopyState::Retired;
        copy.follows = None;
        store.version += 1;
    }
}

/// Its agent's durable word: the slot is free, and the generation is used up (R11).
pub(crate) fn destroyed(cluster: &mut Cluster, name: &StoreName, slot: &SlotId) {
    let Some(store) = cluster.stores.get_mut(name) else { return };
    let Some(copy) = store.copies.remove(slot) else { return };
    store.past.insert(slot.clone(), copy.generation);
    store.unheard.insert(slot.clone());
    store.version += 1;
    if let Some(host) = cluster.hosts.get_mut(&slot.host) {
        host.version += 1;
    }
}
