//! The cluster as a plan leaves it, for looking at one of its choices while the rest stays.
//!
//! What always holds: what the plan destroys has left its slot, and the slot is not free for any other choice of the same plan; what
//! has changed since the plan was made is left as it is now.

use super::version_changed;
use crate::Inputs;
use crate::view::View;
use slot_types::cluster::*;
use slot_types::ids::*;
use slot_types::plan::{EntityRef, Intent, Plan, Task, TaskKind};
use std::collections::{BTreeMap, BTreeSet};

/// The cluster after the plan, and what is busy then.
pub(super) fn after(view: &View<'_>, plan: &Plan) -> (Cluster, Inputs) {
    let (mut cluster, mut inputs) = (view.cluster.clone(), view.inputs.clone());
    // What the plan holds itself is not in its own way.
    let own = plan.stores();
    inputs.busy_stores.retain(|store| !own.contains(store));
    for task in &plan.tasks {
        if let TaskKind::HostState { host, to } = &task.kind
            && let Some(known) = cluster.hosts.get_mut(host)
        {
            known.declared = *to;
        }
        if let (TaskKind::Fleet, Intent::Apply(file)) = (&task.kind, &plan.intent) {
            extend(&mut cluster, file);
        }
        let Some(name) = &task.store else { continue };
        if version_changed(view, plan, &EntityRef::Store(name.clone())) {
            continue;
        }
        match (cluster.stores.get_mut(name), &task.kind) {
            (None, TaskKind::CreateStore { .. }) => drop(create(&mut cluster, name, task)),
            (Some(store), _) => carry_out(store, task, &mut inputs.busy_slots),
            _ => {}
        }
    }
    (cluster, inputs)
}

/// What a cluster file gives to hosts that are there. Those that are new in it have no agent yet.
fn extend(cluster: &mut Cluster, file: &FleetSpec) {
    for (name, host) in &mut cluster.hosts {
        if let Some(spec) = file.hosts.get(name) {
            host.at.clone_from(&spec.at);
            host.slots.extend(spec.slots.clone());
        }
    }
}

fn carry_out(store: &mut Store, task: &Task, busy: &mut BTreeSet<SlotId>) {
    match &task.kind {
        TaskKind::HandOver { to, .. } | TaskKind::FailOver { to, .. } => {
            store.master = Some(to.clone());
            store.pending = None;
            for (slot, copy) in &mut store.copies {
                copy.role = if slot == to { Role::Master } else { Role::Replica };
            }
        }
        TaskKind::BuildCopy { slot, generation, .. } => {
            store.copies.insert(slot.clone(), copy(*generation, Role::Replica));
        }
        TaskKind::DestroyCopy { slot, .. } => {
            store.copies.remove(slot);
            busy.insert(slot.clone());
        }
        TaskKind::StopCopy { slot } | TaskKind::StartCopy { slot } => {
            let stops = matches!(task.kind, TaskKind::StopCopy { .. });
            if let Some(copy) = store.copies.get_mut(slot) {
                copy.state = if stops { CopyState::Stopped } else { CopyState::Serving };
            }
        }
        _ => {}
    }
}

fn copy(generation: CopyGeneration, role: Role) -> Copy {
    Copy { role, state: CopyState::Serving, generation, follows: None, whole: true }
}

fn create(cluster: &mut Cluster, name: &StoreName, task: &Task) -> Option<()> {
    let TaskKind::CreateStore { spec, copies, master } = &task.kind else { return None };
    let role = |slot: &SlotId| if slot == master { Role::Master } else { Role::Replica };
    let store = Store {
        spec: spec.clone(),
        epoch: task.epoch,
        master: Some(master.clone()),
        pending: None,
        promote_started: false,
        copies: copies.iter().map(|(slot, generation)| (slot.clone(), copy(*generation, role(slot)))).collect(),
        possible_masters: BTreeMap::new(),
        route: None,
        last_promoted: task.epoch,
        past: BTreeMap::new(),
        unheard: BTreeSet::new(),
        retired: false,
        version: 0,
    };
    cluster.stores.insert(name.clone(), store);
    Some(())
}
