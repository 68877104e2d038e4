//! A store that a person retires: nobody serves it any more, all its copies are destroyed, its name is never used again.
//!
//! What always holds: it begins only where nobody but the settled master may acknowledge anything and no loss case waits to be
//! settled (R3, R7); no copy is destroyed before that master is durably demoted at an epoch that is nobody's (R2, S7); its
//! slots are free by their agents' word alone (R4); its tombstone keeps its last epoch and every generation (R11).

use crate::apply::Stamp;
use crate::ready::{At, next_epoch};
use slot_planted::planted;
use slot_types::cluster::*;
use slot_types::ids::*;
use slot_types::plan::{StepKind, TaskKind};

/// Whether the replicated state lets the store be given up.
pub(crate) fn retirable(at: &At<'_>) -> Result<(), String> {
    let TaskKind::RetireStore { master } = &at.task.kind else {
        return Err("the step does not belong to this task".into());
    };
    let store = at.store()?;
    if store.epoch != at.task.epoch || store.epoch == Epoch::ZERO {
        return Err("the epoch has moved on, or there never was one".into());
    }
    let mut cases = at.cluster.loss_cases.iter();
    let open = cases.find(|(_, case)| Some(&case.store) == at.task.store.as_ref() && case.state.is_open());
    if let Some((case, case_of)) = open {
        return Err(format!("{case} is open for {}; settle it first", case_of.slot));
    }
    if let Some(slot) = &store.pending {
        return Err(format!("its epoch was given to {slot}, which is not master yet"));
    }
    let leads = match store.retired {
        // Begun by a plan that could not go on: what is left is to fence whoever it was.
        true => store.possible_masters.contains_key(master),
        false => store.master.as_ref() == Some(master),
    };
    if !leads {
        return Err(format!("{master} is not its master any more"));
    }
    match store.possible_masters.keys().find(|slot| *slot != master) {
        Some(slot) => Err(format!("{slot} may still be a master and is not fenced")),
        None => Ok(()),
    }
}

/// R2: the Demote of the master that was.
pub(crate) fn demotable(at: &At<'_>, store: &Store, slot: &SlotId) -> Result<(), String> {
    let TaskKind::RetireStore { master } = &at.task.kind else {
        return Err("the step does not belong to this task".into());
    };
    if at.step.kind != StepKind::Demote || slot != master {
        return Err(format!("{slot} is not the master that was"));
    }
    if !store.retired || store.epoch != next_epoch(at.task.epoch, at.cluster.generation) {
        return Err("the store is not given up, or its epoch has moved on".into());
    }
    Ok(())
}

/// The point of no return: the next epoch is nobody's, clients have no route, and the copies are there to be destroyed.
pub(crate) fn given_up(cluster: &mut Cluster, name: &StoreName) -> String {
    let generation = cluster.generation;
    let Some(store) = cluster.stores.get_mut(name) else { return "nothing".into() };
    let old = store.epoch;
    if let Some(master) = store.master.take() {
        let generation = store.copies.get(&master).map(|copy| copy.generation).unwrap_or_default();
        store.possible_masters.insert(master, PossibleMaster { since: old, generation });
    }
    store.epoch = next_epoch(old, generation);
    store.retired = true;
    store.route = None;
    for copy in store.copies.values_mut() {
        copy.role = Role::Replica;
        copy.state = CopyState::Retired;
        copy.follows = None;
    }
    store.version += 1;
    let text = format!("{name} is retired at epoch {}, which is nobody's", store.epoch);
    for host in cluster.hosts.values_mut() {
        host.drained_masters.remove(name);
    }
    text
}

/// R2: nothing is acknowledged any more. Nobody asks for the end of a retired store, so nobody has to remember who held it.
pub(crate) fn demoted(cluster: &mut Cluster, name: &StoreName, slot: &SlotId) -> Result<(), String> {
    if let Some(store) = cluster.stores.get_mut(name) {
        store.possible_masters.remove(slot);
        store.version += 1;
    }
    Ok(())
}

/// The last copy of a retired store is gone, by its agent's word: only its tombstone stays (R11).
pub(crate) fn bury(cluster: &mut Cluster, stamp: Stamp, name: &StoreName) -> Option<String> {
    let over = |store: &Store| store.retired && store.copies.is_empty() && store.possible_masters.is_empty();
    cluster.stores.get(name).filter(|store| over(store))?;
    let store = cluster.stores.remove(name)?;
    if !planted("r11-tombstone-dropped") {
        let stone = Tombstone { epoch: store.epoch, past: store.past, at: stamp.now, wall: stamp.wall };
        cluster.tombstones.insert(name.clone(), stone);
    }
    Some(format!("{name} is gone; its name is not used again"))
}
