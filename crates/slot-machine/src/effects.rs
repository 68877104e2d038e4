//! What a step that took effect means for the replicated picture.
//!
//! What always holds: an epoch is allocated once, to one slot, by one entry (S3); a former master leaves the possible
//! masters only by its durable Demote and a successor that is promoted, or by being promoted itself (R3, R28): until then
//! its end is the store's, and the next plan has to fence and ask it again; whoever is promoted past without a Demote gets
//! an open loss case before its successor's Promote order exists.

use crate::apply::Stamp;
use crate::copies;
use crate::ready;
use crate::retire;
use crate::state::{PlanRecord, TaskRun};
use slot_planted::planted;
use slot_types::cluster::*;
use slot_types::fence::Device;
use slot_types::ids::*;
use slot_types::order::Done;
use slot_types::plan::{Place, StepKind, Task, TaskKind};
use std::collections::{BTreeMap, BTreeSet};

/// Allocates the next epoch of a store to a slot (S3). The present and any half-made master become possible masters.
pub(crate) fn commit_epoch(store: &mut Store, generation: u32, to: &SlotId, keep_from: bool) {
    let old = store.epoch;
    let former: Vec<SlotId> = store
        .master
        .take()
        .into_iter()
        // R3: a slot whose Promote order was ever started may have become master.
        .chain(store.pending.take().filter(|_| store.promote_started && !planted("r3-half-made-master-forgotten")))
        .collect();
    for slot in former {
        let copy_generation = store.copies.get(&slot).map(|c| c.generation).unwrap_or_default();
        if !planted("r3-former-master-forgotten") {
            let possible = PossibleMaster { since: old, generation: copy_generation };
            store.possible_masters.entry(slot.clone()).or_insert(possible);
        }
        if let Some(copy) = store.copies.get_mut(&slot)
            && slot != *to
        {
            copy.role = Role::Replica;
            copy.follows = None;
            copy.state = if keep_from { CopyState::Frozen } else { CopyState::Quarantined };
        }
    }
    let after = if planted("s3-epoch-allocated-twice") { store.last_promoted } else { old };
    store.epoch = ready::next_epoch(after, generation);
    store.pending = Some(to.clone());
    store.promote_started = false;
    store.version += 1;
}

/// The Promote order is about to exist: from now on the slot may be master, and what is left behind has a loss case.
pub(crate) fn promote_starts(
    cluster: &mut Cluster,
    last_loss_case: &mut LossCaseId,
    record: &PlanRecord,
    task: &Task,
    stamp: Stamp,
) -> Vec<(LossCaseId, SlotId)> {
    let mut opened = Vec::new();
    let Some(name) = &task.store else { return opened };
    let Some(store) = cluster.stores.get_mut(name) else { return opened };
    store.promote_started = true;
    store.last_promoted = store.epoch;
    store.version += 1;
    let TaskKind::FailOver { to, loss, .. } = &task.kind else { return opened };
    let run = record.plan.tasks.iter().position(|t| t == task).and_then(|n| record.tasks.get(n));
    let fenced: BTreeSet<&SlotId> =
        run.into_iter().flat_map(|run| ready::demoted(task, run)).map(|(slot, _)| slot).collect();
    let left = store.possible_masters.iter().filter(|(slot, _)| *slot != to && !fenced.contains(slot));
    for (slot, possible) in left {
        let known = cluster
            .loss_cases
            .values()
            .any(|c| c.store == *name && c.slot == *slot && c.generation == possible.generation && c.state.is_open());
        if known {
            continue;
        }
        *last_loss_case = last_loss_case.next();
        opened.push((*last_loss_case, slot.clone()));
        cluster.loss_cases.insert(
            *last_loss_case,
            LossCase {
                store: name.clone(),
                slot: slot.clone(),
                generation: possible.generation,
                plan: record.id,
                epoch: store.epoch,
                stated: loss.clone(),
                state: LossState::AwaitingReturn,
                final_tip: None,
                stranded: Vec::new(),
                opened: stamp.now,
            },
        );
    }
    for (_, slot) in &opened {
        if let Some(copy) = store.copies.get_mut(slot) {
            copy.state = CopyState::Quarantined;
        }
    }
    opened
}

/// What an agent's "done" means. `Err` is a verdict that stops the task, for a person.
pub(crate) fn done(
    cluster: &mut Cluster,
    (task, run): (&Task, &TaskRun),
    kind: StepKind,
    at: Option<&Place>,
    done: &Done,
) -> Result<(), String> {
    let (Some(name), Some(Place::Slot(slot))) = (&task.store, at) else { return Ok(()) };
    match (kind, &task.kind) {
        (StepKind::Promote, _) => promoted(cluster, name, slot, ready::demoted(task, run).map(|(slot, _)| slot)),
        (StepKind::Demote, TaskKind::RetireStore { .. }) => retire::demoted(cluster, name, slot),
        _ => copy_done(cluster, task, (name, slot), kind, done),
    }
}

/// What it means for the copy that the step was about.
fn copy_done(
    cluster: &mut Cluster,
    task: &Task,
    (name, slot): (&StoreName, &SlotId),
    kind: StepKind,
    done: &Done,
) -> Result<(), String> {
    let Some(store) = cluster.stores.get_mut(name) else { return Ok(()) };
    let Some(copy) = store.copies.get_mut(slot) else { return Ok(()) };
    match (kind, done) {
        (StepKind::Freeze, _) => copy.state = CopyState::Frozen,
        (StepKind::Demote, Done::Tip { tip, .. }) => {
            // Without a successor its end is still the store's: whoever plans next must fence and ask it again (R3).
            if store.master.is_some() {
                store.possible_masters.remove(slot);
            }
            copy.role = Role::Replica;
            copy.follows = None;
            let cases = &mut cluster.loss_cases;
            let case = cases.values_mut().find(|c| c.store == *name && c.slot == *slot && c.state.is_open());
            match case {
                Some(case) => {
                    case.final_tip = Some(*tip);
                    copy.state = CopyState::Quarantined;
                }
                // R16: not counted until it follows the new master.
                None => copy.state = CopyState::Building,
            }
        }
        (StepKind::Demote, _) => return Err(format!("{slot} answered a Demote without its final position")),
        // A copy that was only woken is what it was.
        (StepKind::Raise, _) if matches!(task.kind, TaskKind::StartCopy { .. }) => return Ok(()),
        (StepKind::Raise | StepKind::Feed, Done::Tip { tip, .. }) => {
            if let TaskKind::FailOver { to, loss, feed, .. } = &task.kind {
                let last = kind == StepKind::Feed || feed.is_none();
                if slot == to && last && tip.position < loss.candidate.position {
                    return Err(format!(
                        "{slot} ends at {}, the approved sheet said {}: the loss is worse than approved, ask for a new plan",
                        tip.position, loss.candidate.position
                    ));
                }
            }
        }
        (StepKind::Destroy, _) => {
            copies::destroyed(cluster, name, slot);
            return Ok(());
        }
        (StepKind::Follow, _) if store.master.as_ref() != Some(slot) && store.pending.as_ref() != Some(slot) => {
            copy.role = Role::Replica;
            // R16: one that never held everything is not counted by following alone.
            // In a store that is being made it has nothing to catch up with.
            copy.whole |= matches!(task.kind, TaskKind::CreateStore { .. });
            let counts = copy.whole || planted("r16-building-copy-counted");
            copy.state = if counts { CopyState::Serving } else { CopyState::Building };
            copy.follows = store.master.clone().map(|master| (master, store.epoch));
        }
        (StepKind::Stop, _) if store.master.as_ref() != Some(slot) && store.pending.as_ref() != Some(slot) => {
            copy.state = CopyState::Stopped;
            copy.follows = None;
        }
        (StepKind::ListStranded, Done::Stranded(records)) => {
            let case =
                cluster.loss_cases.values_mut().find(|c| c.store == *name && c.slot == *slot && c.state.is_open());
            if let Some(case) = case {
                case.stranded.clone_from(records);
                case.state = if records.is_empty() { LossState::NothingStranded } else { LossState::Listed };
                copy.state = if records.is_empty() { CopyState::Building } else { CopyState::Quarantined };
            }
        }
        _ => return Ok(()),
    }
    store.version += 1;
    Ok(())
}

fn promoted<'a>(
    cluster: &mut Cluster,
    name: &StoreName,
    slot: &SlotId,
    fenced: impl Iterator<Item = &'a SlotId>,
) -> Result<(), String> {
    let Some(store) = cluster.stores.get_mut(name) else { return Ok(()) };
    store.master = Some(slot.clone());
    store.pending = None;
    store.promote_started = false;
    store.possible_masters.remove(slot);
    for former in fenced {
        store.possible_masters.remove(former);
    }
    if planted("r28-waived-master-forgotten") {
        store.possible_masters.clear();
    }
    if let Some(copy) = store.copies.get_mut(slot) {
        copy.role = Role::Master;
        copy.state = CopyState::Serving;
        copy.follows = None;
        copy.whole = true;
    }
    store.unheard.clear();
    store.version += 1;
    // R7: what its log held alone is in the master now. What it has put aside, at any time, it reports, and since this case
    // tells of nothing any more that opens one of its own.
    for case in cluster.loss_cases.values_mut().filter(|c| c.store == *name && c.slot == *slot && c.state.is_open()) {
        case.state = LossState::NothingStranded;
        case.stranded.clear();
    }
    if let Some(host) = cluster.hosts.get_mut(&slot.host) {
        host.drained_masters.remove(name);
    }
    Ok(())
}

/// The internal steps: they take effect when they start.
pub(crate) fn internal(
    cluster: &mut Cluster,
    fleet_version: &mut u64,
    record: &PlanRecord,
    task: &Task,
    kind: StepKind,
    stamp: Stamp,
) -> String {
    match (kind, &task.kind, &task.store) {
        (StepKind::CommitEpoch, task_kind, Some(name)) => {
            let generation = cluster.generation;
            let to = ready::target(task_kind);
            match (cluster.stores.get_mut(name), to) {
                (Some(store), Some(to)) => {
                    commit_epoch(store, generation, to, true);
                    format!("epoch {} of {name} is for {to}", store.epoch)
                }
                _ => "nothing".into(),
            }
        }
        (StepKind::RetireStore, TaskKind::RetireStore { .. }, Some(name)) => retire::given_up(cluster, name),
        (StepKind::Repoint, _, Some(name)) => repoint(cluster, name, stamp.revision),
        (StepKind::RouteServed, _, Some(name)) => format!("every front end serves the route of {name}"),
        (StepKind::Count, TaskKind::BuildCopy { slot, .. } | TaskKind::CountCopy { slot }, Some(name)) => {
            if let Some(store) = cluster.stores.get_mut(name) {
                copies::counted(store, slot);
            }
            format!("{slot} holds all of {name} and counts from now on")
        }
        (StepKind::DeclareHost, TaskKind::HostState { host, to }, _) => declare(cluster, record, host, *to),
        (StepKind::CloseLossCase, TaskKind::SettleLoss { case, slot, how }, _) => {
            close_loss_case(cluster, record, *case, slot, *how)
        }
        (StepKind::ChangeFleet, _, _) => {
            if let slot_types::plan::Intent::Apply(spec) = &record.plan.intent {
                change_fleet(cluster, spec);
                change_lines(cluster, spec);
                *fleet_version += 1;
            }
            "hosts, slots and policy are as the cluster file says".into()
        }
        _ => "nothing".into(),
    }
}

fn repoint(cluster: &mut Cluster, name: &StoreName, revision: Revision) -> String {
    let Some((slot, epoch)) = cluster.stores.get(name).and_then(|s| s.master.clone().map(|m| (m, s.epoch))) else {
        return format!("{name} has no master to route to");
    };
    let Some(address) = cluster.slot(&slot).map(|s| s.address) else { return format!("{slot} has no address") };
    let text = format!("clients of {name} go to {slot} at epoch {epoch}");
    if let Some(store) = cluster.stores.get_mut(name) {
        store.route = Some(Route { slot, address, epoch, revision });
        store.version += 1;
    }
    text
}

fn declare(cluster: &mut Cluster, record: &PlanRecord, name: &HostName, to: HostState) -> String {
    let masters: Vec<StoreName> = cluster.masters_on(name).map(|(store, _)| store.clone()).collect();
    if let Some(host) = cluster.hosts.get_mut(name) {
        if to == HostState::Draining {
            host.drained_masters.extend(masters);
        }
        host.declared = to;
        host.back_by = match to {
            HostState::Active | HostState::Retired => None,
            _ => record.plan.said.back_by.or(host.back_by),
        };
        host.version += 1;
    }
    format!("{name} is {to}")
}

fn close_loss_case(
    cluster: &mut Cluster,
    record: &PlanRecord,
    id: LossCaseId,
    slot: &SlotId,
    how: slot_types::plan::Settlement,
) -> String {
    let Some(by) = record.approvals.first().map(|a| a.by.clone()).or_else(|| record.plan.requested_by.clone()) else {
        return "nothing".into();
    };
    let Some(case) = cluster.loss_cases.get_mut(&id) else { return "nothing".into() };
    case.state = match how {
        slot_types::plan::Settlement::Reinject => LossState::Reinjected { by },
        slot_types::plan::Settlement::Discard => LossState::Discarded { by },
    };
    let store = case.store.clone();
    if let Some(store) = cluster.stores.get_mut(&store) {
        if let Some(copy) = store.copies.get_mut(slot) {
            // R16: not counted until it follows again.
            copy.state = CopyState::Building;
        }
        store.version += 1;
    }
    format!("{id} is settled: {how:?}")
}

/// The lines of stores that are there: how many copies, how large, how far apart, where never. What the copies by now do not
/// allow stays as it was, and so do engine and sync_copies (R24); the same file changes it once it can.
fn change_lines(cluster: &mut Cluster, spec: &FleetSpec) {
    for (name, wanted) in &spec.stores {
        let Some(store) = cluster.stores.get(name).filter(|s| !s.retired && s.epoch != Epoch::ZERO) else { continue };
        let now = &store.spec;
        let kept = (now.engine, now.sync_copies) == (wanted.engine, wanted.sync_copies);
        if wanted == now || !kept || !copies::allowed(cluster, store, wanted) {
            continue;
        }
        if let Some(store) = cluster.stores.get_mut(name) {
            store.spec = wanted.clone();
            store.version += 1;
        }
    }
}

fn change_fleet(cluster: &mut Cluster, spec: &FleetSpec) {
    cluster.policy = spec.policy.clone();
    cluster.front_ends = spec.front_ends.clone();
    for (name, wanted) in &spec.hosts {
        match cluster.hosts.get_mut(name) {
            Some(host) => {
                let mut slots = wanted.slots.clone();
                // A slot that holds a copy is never taken away by a file.
                for (number, slot) in &host.slots {
                    slots.entry(*number).or_insert_with(|| slot.clone());
                }
                let same = (&host.at, host.address, &host.slots) == (&wanted.at, wanted.address, &slots);
                if !same || (host.weight, &host.device.spec) != (wanted.weight, &wanted.fence) {
                    host.weight = wanted.weight;
                    host.at = wanted.at.clone();
                    host.address = wanted.address;
                    host.slots = slots;
                    host.device.spec = wanted.fence.clone();
                    host.version += 1;
                }
            }
            None => {
                cluster.hosts.insert(
                    name.clone(),
                    Host {
                        at: wanted.at.clone(),
                        address: wanted.address,
                        declared: HostState::Active,
                        slots: wanted.slots.clone(),
                        incarnation: None,
                        boot: None,
                        quarantined: None,
                        acknowledged: LogIndex(0),
                        drained_masters: BTreeSet::new(),
                        back_by: None,
                        weight: wanted.weight,
                        device: Device { spec: wanted.fence.clone(), ..Device::default() },
                        reboots: Vec::new(),
                        version: 1,
                    },
                );
            }
        }
    }
}

/// What the order of a copy's first or last step means from the moment it may exist (R4).
pub(crate) fn copies_start(cluster: &mut Cluster, task: &Task, kind: StepKind) {
    let store = task.store.as_ref().and_then(|name| cluster.stores.get_mut(name));
    match (&task.kind, kind, store) {
        (TaskKind::CreateStore { .. }, ..) => create_store(cluster, task),
        (TaskKind::BuildCopy { slot, generation, .. }, StepKind::Provision, Some(store)) => {
            copies::build_starts(store, slot, *generation);
            if let Some(host) = cluster.hosts.get_mut(&slot.host) {
                host.version += 1;
            }
        }
        (TaskKind::DestroyCopy { slot, .. }, StepKind::Destroy, Some(store)) => copies::destroy_starts(store, slot),
        _ => {}
    }
}

/// The first Provision makes the store; its copies are `Building` and count for nothing (R16). Where an earlier plan could
/// not finish it, it is made anew: slots that are not used any more stay taken, since their agents hold something (R4, R11).
fn create_store(cluster: &mut Cluster, task: &Task) {
    let (Some(name), TaskKind::CreateStore { spec, copies, .. }) = (&task.store, &task.kind) else { return };
    let before = cluster.stores.get(name);
    if before.is_some_and(|store| store.epoch != Epoch::ZERO) {
        return;
    }
    let version = before.map_or(0, |store| store.version);
    let mut all: BTreeMap<SlotId, Copy> = before.map(|store| store.copies.clone()).unwrap_or_default();
    for copy in all.values_mut() {
        copy.state = CopyState::Retired;
    }
    for (slot, generation) in copies {
        // Whole with its first Follow, or as the first master: until then nobody saw that it holds anything (R16).
        let copy = Copy {
            role: Role::Replica,
            state: CopyState::Building,
            generation: *generation,
            follows: None,
            whole: false,
        };
        all.insert(slot.clone(), copy);
    }
    let store = Store {
        spec: spec.clone(),
        epoch: Epoch::ZERO,
        master: None,
        pending: None,
        promote_started: false,
        copies: all,
        possible_masters: BTreeMap::new(),
        route: None,
        last_promoted: Epoch::ZERO,
        past: before.map(|store| store.past.clone()).unwrap_or_default(),
        unheard: BTreeSet::new(),
        retired: false,
        version: version + 1,
    };
    cluster.stores.insert(name.clone(), store);
}

/// S8: a copy whose engine an order may start is not stopped any more, whatever becomes of the order.
pub(crate) fn wakes(cluster: &mut Cluster, task: &Task, at: Option<&Place>) {
    let (Some(name), Some(Place::Slot(slot))) = (&task.store, at) else { return };
    let Some(store) = cluster.stores.get_mut(name) else { return };
    if let Some(copy) = store.copies.get_mut(slot).filter(|copy| copy.state == CopyState::Stopped) {
        copy.state = CopyState::Building;
        store.version += 1;
    }
}
