//! A store that leaves for good, by name and never by a removed line.
//!
//! What always holds: it is planned only where every copy's agent answers and nothing of the store is open: no change of
//! master, no loss case, nobody who may still be master besides the one who is; that one is demoted before the first copy is
//! destroyed (R2); a retirement that stopped part way is planned again from where it is.

use crate::nothing::Nothing;
use crate::refusal::Refusal;
use crate::view::View;
use crate::{Draft, copies, sheet, steps};
use slot_types::cluster::*;
use slot_types::ids::*;
use slot_types::plan::{Task, TaskKind};
use slot_types::render::size;
use std::collections::BTreeSet;

/// What keeps a store from being retired now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RetireBlock {
    /// R7: records of it wait for a person's word.
    #[error("loss case {0} is open; settle it by name first: slotctl loss show {0}")]
    LossCase(LossCaseId),
    /// A change of master did not come to its end.
    #[error("its epoch was given to {0}, which is not master yet; end that first: slotctl failover slot {0}")]
    Pending(SlotId),
    /// R3.
    #[error("{0} may still be a master and is not fenced; that comes first: slotctl show slot {0}")]
    PossibleMaster(SlotId),
    /// It has no master, so nobody knows what it holds.
    #[error("it has no master; fail it over first, so that what it holds is known")]
    NoMaster,
    /// It never had an epoch.
    #[error("its making did not come to its end; let slotctl apply finish it first")]
    NotMade,
    /// R4: what an agent does not say is destroyed is not.
    #[error("the agents of {} do not answer, and only they can say that a copy is gone", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))]
    Silent(BTreeSet<HostName>),
}

pub(crate) fn plan(view: &View<'_>, name: &StoreName) -> Result<Draft, Refusal> {
    if view.cluster.tombstones.contains_key(name) {
        return Err(Refusal::NothingToDo(Nothing::StoreRetired(name.clone())));
    }
    let store = view.cluster.stores.get(name).ok_or_else(|| Refusal::UnknownStore(name.clone()))?;
    if view.inputs.busy_stores.contains(name) {
        return Err(Refusal::StoresBusy(BTreeSet::from([name.clone()])));
    }
    let master = head(view, name, store).map_err(|why| Refusal::Retire { store: name.clone(), why })?;
    let mut draft = Draft::default();
    let mut last: Option<u16> = None;
    if let Some(master) = &master {
        last = Some(draft.push(Task {
            steps: steps::retire_store(master),
            kind: TaskKind::RetireStore { master: master.clone() },
            store: Some(name.clone()),
            epoch: store.epoch,
            after: Vec::new(),
        }));
    }
    for (slot, copy) in &store.copies {
        let after = last.into_iter().collect();
        last = Some(draft.push(copies::destroy(name, store, slot, copy, after)));
    }
    let slots: Vec<&SlotId> = store.copies.keys().collect();
    let data = format!(
        "{} of {name}, up to {} each: {}",
        sheet::count(slots.len(), "copy", "copies"),
        size(store.spec.size_bytes),
        sheet::names(&slots)
    );
    draft.note("DATA DESTROYED", data);
    let text = "once its first step is taken nothing brings the data back; slotctl plan abort PLAN only leaves the rest undestroyed";
    draft.note("NO UNDO", text);
    let text = format!("take {name} out of the cluster file: its name is never used again, and no line makes it anew");
    draft.note("AFTER", text);
    Ok(draft)
}

/// Whoever is to be demoted first; `None` where an earlier plan did that already.
fn head(view: &View<'_>, name: &StoreName, store: &Store) -> Result<Option<SlotId>, RetireBlock> {
    if store.epoch == Epoch::ZERO {
        return Err(RetireBlock::NotMade);
    }
    let mut cases = view.cluster.loss_cases.iter();
    if let Some((case, _)) = cases.find(|(_, case)| case.store == *name && case.state.is_open()) {
        return Err(RetireBlock::LossCase(*case));
    }
    if let Some(slot) = &store.pending {
        return Err(RetireBlock::Pending(slot.clone()));
    }
    let head = if store.retired { store.possible_masters.keys().next() } else { store.master.as_ref() };
    if let Some(slot) = store.possible_masters.keys().find(|slot| Some(*slot) != head) {
        return Err(RetireBlock::PossibleMaster(slot.clone()));
    }
    if head.is_none() && !store.retired {
        return Err(RetireBlock::NoMaster);
    }
    let hosts = store.copies.keys().chain(head).map(|slot| &slot.host);
    let silent: BTreeSet<HostName> = hosts.filter(|host| !view.answers(host)).cloned().collect();
    if silent.is_empty() { Ok(head.cloned()) } else { Err(RetireBlock::Silent(silent)) }
}
