//! Preconditions of steps in the replicated state: S3, S7, S8, S9, R3.
//!
//! What always holds: no step starts unless [`ready`] says so, whatever the plan's bytes say; it is asked by
//! [`crate::runnable`] to know what to propose and by `apply` to decide.

use crate::copies;
use crate::fence;
use crate::retire;
use crate::state::{PlanRecord, State, StepState, TaskRun, TaskState};
use slot_planted::planted;
use slot_types::cluster::*;
use slot_types::engine::EngineRole;
use slot_types::ids::*;
use slot_types::order::Done;
use slot_types::plan::{Place, Settlement, Step, StepKind, Task, TaskKind};
use slot_types::position::Tip;

/// Where a step stands, with everything a precondition asks about.
pub(crate) struct At<'a> {
    pub state: &'a State,
    pub cluster: &'a Cluster,
    pub record: &'a PlanRecord,
    pub task: &'a Task,
    pub run: &'a TaskRun,
    pub step: &'a Step,
}

impl<'a> At<'a> {
    pub fn new(state: &'a State, record: &'a PlanRecord, task: u16, step: u16) -> Option<Self> {
        let cluster = state.cluster.as_ref()?;
        let run = record.tasks.get(usize::from(task))?;
        let task = record.plan.tasks.get(usize::from(task))?;
        let step = task.steps.get(usize::from(step))?;
        Some(Self { state, cluster, record, task, run, step })
    }
    pub fn store(&self) -> Result<&'a Store, String> {
        let name = self.task.store.as_ref().ok_or("the task names no store")?;
        self.cluster.stores.get(name).ok_or_else(|| format!("{name} does not exist"))
    }
    pub fn slot(&self) -> Result<&'a SlotId, String> {
        match &self.step.at {
            Some(Place::Slot(slot)) => Ok(slot),
            _ => Err("the step names no slot".into()),
        }
    }
    pub fn host(&self) -> Option<&'a HostName> {
        self.step.at.as_ref().map(Place::host)
    }
    /// The tip that the last finished step of a kind, at a slot, answered.
    pub fn tip_of(&self, kind: StepKind, slot: &SlotId) -> Option<Tip> {
        tip_of(self.task, self.run, kind, slot)
    }
}

pub(crate) fn tip_of(task: &Task, run: &TaskRun, kind: StepKind, slot: &SlotId) -> Option<Tip> {
    task.steps.iter().zip(&run.steps).rev().find_map(|(step, run)| match (&step.at, &run.state) {
        (Some(Place::Slot(at)), StepState::Done { done: Done::Tip { tip, .. }, .. })
            if step.kind == kind && at == slot =>
        {
            Some(*tip)
        }
        _ => None,
    })
}

/// The slots whose durable Demote this very task has (R2): fenced at its epoch.
pub(crate) fn demoted<'a>(task: &'a Task, run: &'a TaskRun) -> impl Iterator<Item = (&'a SlotId, Tip)> {
    ended_at(task, run, StepKind::Demote)
}

/// The slots at which this task has done a step of a kind that answers a tip, with that tip.
fn ended_at<'a>(task: &'a Task, run: &'a TaskRun, kind: StepKind) -> impl Iterator<Item = (&'a SlotId, Tip)> {
    task.steps.iter().zip(&run.steps).filter_map(move |(step, run)| match (&step.at, &run.state) {
        (Some(Place::Slot(at)), StepState::Done { done: Done::Tip { tip, .. }, .. }) if step.kind == kind => {
            Some((at, *tip))
        }
        _ => None,
    })
}

pub(crate) fn is_done(run: &TaskRun, task: &Task, kind: StepKind) -> bool {
    task.steps.iter().zip(&run.steps).any(|(s, r)| s.kind == kind && matches!(r.state, StepState::Done { .. }))
}

/// Whether the next step of a task may start, as far as the replicated state goes.
pub(crate) fn ready(at: &At<'_>) -> Result<(), String> {
    if !at.record.status.is_under_way() || crate::pause::keeps_still(at.record, at.task, at.run) {
        return Err(format!("the plan is {}", at.record.status));
    }
    for dep in &at.task.after {
        match at.record.tasks.get(usize::from(*dep)).map(|t| &t.state) {
            Some(TaskState::Done) => {}
            _ => return Err(format!("task {} is not done", dep + 1)),
        }
    }
    copies::recovered(at)?;
    if let Some(host) = at.host() {
        reachable(at.state, at.cluster, host)?;
        if wakes_engine(at.step.kind) {
            in_service(at.cluster, host)?;
        }
    }
    if let Ok(slot) = at.slot()
        && at.step.kind != StepKind::Provision
        && !matches!(at.task.kind, TaskKind::DestroyCopy { .. } | TaskKind::RetireStore { .. })
        && at.store()?.copies.get(slot).is_none_or(|copy| copy.state == CopyState::Retired)
    {
        return Err(format!("{slot} holds no copy of it"));
    }
    match at.step.kind {
        StepKind::Provision if matches!(at.task.kind, TaskKind::BuildCopy { .. }) => copies::buildable(at),
        StepKind::Count => copies::countable(at),
        StepKind::RetireStore => retire::retirable(at),
        StepKind::Destroy => copies::destroyable(at),
        StepKind::Provision | StepKind::ChangeFleet | StepKind::DeclareHost | StepKind::ConfirmStopped => {
            fleet_step(at)
        }
        StepKind::Freeze | StepKind::CatchUp | StepKind::CommitEpoch => before_commit(at),
        StepKind::Demote | StepKind::Raise | StepKind::Feed | StepKind::Promote => after_commit(at),
        StepKind::FenceHost => fence::ready(at),
        _ => settled(at),
    }
}

/// An order names disk and boot (S15, R27); both must be known and admitted (S2).
fn reachable(state: &State, cluster: &Cluster, host: &HostName) -> Result<(), String> {
    let known = cluster.hosts.get(host).ok_or_else(|| format!("{host} is not in the cluster file"))?;
    if let Some(why) = &known.quarantined {
        return Err(format!("{host} is quarantined: {why:?}"));
    }
    if known.incarnation.is_none() || known.boot.is_none() {
        return Err(format!("the agent of {host} was never seen"));
    }
    // R27: another attempt for a boot that has ended would only end the same way.
    if known.boot.as_ref() == state.ended_boots.get(host) {
        return Err(format!("the agent of {host} was not heard since it booted again"));
    }
    Ok(())
}

/// Whether an order of this kind may leave an engine running. A standing Demote and the list behind it may go anywhere (R8):
/// they serve no client, and safety needs them.
pub(crate) fn wakes_engine(kind: StepKind) -> bool {
    matches!(
        kind,
        StepKind::Provision
            | StepKind::Freeze
            | StepKind::CatchUp
            | StepKind::Raise
            | StepKind::Feed
            | StepKind::Promote
            | StepKind::Follow
            | StepKind::StartMaster
            | StepKind::Reinject
    )
}

/// S8: on a host that a person may switch off, or has, nothing is started.
pub(crate) fn in_service(cluster: &Cluster, host: &HostName) -> Result<(), String> {
    match cluster.hosts.get(host).map(|h| h.declared) {
        Some(HostState::Active | HostState::Draining) => Ok(()),
        Some(declared) => Err(format!("S8: {host} is {declared}")),
        None => Err(format!("{host} is not in the cluster file")),
    }
}

fn fleet_step(at: &At<'_>) -> Result<(), String> {
    match (&at.task.kind, at.step.kind) {
        (TaskKind::CreateStore { spec, copies, .. }, StepKind::Provision) => {
            let name = at.task.store.as_ref().ok_or("the task names no store")?;
            let made = at.cluster.stores.get(name);
            if made.is_some_and(|store| store.epoch != Epoch::ZERO) {
                return Err(format!("{name} exists"));
            }
            if at.cluster.tombstones.contains_key(name) {
                return Err(format!("R11: {name} was retired, and its name is not used again"));
            }
            if at.run.state == TaskState::Waiting {
                // The first Provision makes it, or makes it anew where an earlier plan could not finish it.
                return placement(at.cluster, name, spec, copies);
            }
            let mine = |(slot, generation): (&SlotId, &CopyGeneration)| {
                made.and_then(|s| s.copies.get(slot)).is_some_and(|c| c.generation == *generation)
            };
            if copies.iter().all(mine) { Ok(()) } else { Err(format!("{name} is not the one this task makes")) }
        }
        (TaskKind::Fleet, StepKind::ChangeFleet) => Ok(()),
        (TaskKind::HostState { host, to }, kind) => {
            if !at.cluster.hosts.contains_key(host) {
                return Err(format!("{host} is not in the cluster file"));
            }
            if let (HostState::Empty | HostState::Retired, Some((store, slot, _))) =
                (to, at.cluster.copies_on(host).next())
            {
                return Err(format!("S8: {slot} still holds a copy of {store}"));
            }
            if matches!(to, HostState::Active | HostState::Draining) {
                return Ok(());
            }
            // S8: no master and every copy stopped, by the committed state first ...
            if let Some((store, _)) = at.cluster.masters_on(host).next() {
                return Err(format!("{host} still has the master of {store}"));
            }
            if !matches!(to, HostState::Maintenance | HostState::Empty) {
                return Ok(());
            }
            if let Some((store, slot, copy)) =
                at.cluster.copies_on(host).find(|(_, _, c)| !matches!(c.state, CopyState::Stopped | CopyState::Retired))
            {
                return Err(format!("the copy of {store} on {slot} is {:?}", copy.state));
            }
            // ... and then by the agent's own report, which ConfirmStopped is.
            if kind == StepKind::DeclareHost && !is_done(at.run, at.task, StepKind::ConfirmStopped) {
                return Err(format!("{host} has not confirmed that nothing runs"));
            }
            Ok(())
        }
        _ => Err("the step does not belong to this task".into()),
    }
}

/// S9: distinct domains, free slots, enough room, active hosts.
fn placement(
    cluster: &Cluster,
    name: &StoreName,
    spec: &StoreSpec,
    copies: &std::collections::BTreeMap<SlotId, CopyGeneration>,
) -> Result<(), String> {
    if copies.len() != usize::from(spec.copies) || copies.is_empty() {
        return Err(format!("S9: {} copies are placed, the store wants {}", copies.len(), spec.copies));
    }
    let mut domains = std::collections::BTreeSet::new();
    for (slot, generation) in copies {
        let host = cluster.hosts.get(&slot.host).ok_or_else(|| format!("{} is not in the cluster file", slot.host))?;
        let room = host.slots.get(&slot.number).ok_or_else(|| format!("{slot} is not in the cluster file"))?;
        if host.declared != HostState::Active {
            return Err(format!("S9: {} is {}", slot.host, host.declared));
        }
        match cluster.copy_on(slot) {
            Some((other, _, _)) if other != name => return Err(format!("S9: {slot} holds a copy of {other}")),
            // R11: a copy generation never goes back.
            Some((_, _, copy)) if copy.generation > *generation => {
                return Err(format!("R11: {slot} held copy generation {} of {name}", copy.generation));
            }
            _ => {}
        }
        if room.size_bytes < spec.size_bytes {
            return Err(format!("S9: {slot} holds {} bytes, the store wants {}", room.size_bytes, spec.size_bytes));
        }
        if spec.never.contains(&slot.host) || !spec.engine.is_here() {
            return Err(format!(
                "the cluster file says never {}, or no agent has the engine {}",
                slot.host, spec.engine
            ));
        }
        let domain = match spec.spread {
            Spread::Host => slot.host.to_string(),
            Spread::Rack => host.at.to_string(),
        };
        if !domains.insert(domain.clone()) && !planted("s9-two-copies-one-rack") {
            return Err(format!("S9: two copies share {domain}"));
        }
    }
    Ok(())
}

fn before_commit(at: &At<'_>) -> Result<(), String> {
    let store = at.store()?;
    match &at.task.kind {
        TaskKind::HandOver { from, to } => {
            if store.epoch != at.task.epoch || store.master.as_ref() != Some(from) || store.pending.is_some() {
                return Err(format!("{from} is not the master at epoch {} any more", at.task.epoch));
            }
            let follows = Some((from.clone(), store.epoch));
            let fits = |c: &Copy| c.role == Role::Replica && c.state == CopyState::Serving && c.follows == follows;
            if !store.copies.get(to).is_some_and(fits) {
                return Err(format!("{to} is not a serving replica that follows {from} at epoch {}", store.epoch));
            }
            in_service(at.cluster, &to.host)?;
            if let Some(slot) = store.possible_masters.keys().find(|slot| *slot != to) {
                // R3, R28: a hand-over never waives; it would have to fence them all.
                return Err(format!("{slot} may still be master at a lower epoch and is not fenced"));
            }
            let frozen = at.tip_of(StepKind::Freeze, from);
            match at.step.kind {
                StepKind::Freeze => Ok(()),
                StepKind::CatchUp => frozen.map(|_| ()).ok_or_else(|| format!("{from} is not frozen")),
                // A compare naming this freeze is in the log: both tips are outcomes of this very task.
                _ => match (frozen, at.tip_of(StepKind::CatchUp, to)) {
                    (Some(a), Some(b)) if a == b => Ok(()),
                    _ => Err(format!("{to} is not known to equal {from}")),
                },
            }
        }
        TaskKind::CreateStore { copies, .. } if at.step.kind == StepKind::CommitEpoch => {
            let provisioned = |slot: &SlotId| {
                let at_slot = Some(Place::Slot(slot.clone()));
                let mut steps = at.task.steps.iter().zip(&at.run.steps);
                steps.any(|(s, r)| {
                    s.kind == StepKind::Provision && s.at == at_slot && matches!(r.state, StepState::Done { .. })
                })
            };
            match copies.keys().find(|slot| !provisioned(slot)) {
                Some(slot) => Err(format!("{slot} is not provisioned")),
                None if store.epoch == Epoch::ZERO && store.pending.is_none() => Ok(()),
                None => Err("the store has an epoch already".into()),
            }
        }
        // A failover's epoch is allocated by its approval (R6), never by a step of its own.
        _ => Err("the step does not belong to this task".into()),
    }
}

fn after_commit(at: &At<'_>) -> Result<(), String> {
    let store = at.store()?;
    let slot = at.slot()?;
    if let TaskKind::FenceReturned { .. } = &at.task.kind {
        return fence_returned(at, store, slot);
    }
    if let TaskKind::RetireStore { .. } = &at.task.kind {
        return retire::demotable(at, store, slot);
    }
    if let TaskKind::StartCopy { .. } = &at.task.kind {
        return wakes_alone(at, store, slot);
    }
    if store.epoch != next_epoch(at.task.epoch, at.cluster.generation) {
        return Err(format!("the epoch is {}, not the one this task allocated", store.epoch));
    }
    let to = target(&at.task.kind).ok_or("the task promotes nothing")?;
    match at.step.kind {
        StepKind::Promote if slot == to => promotable(at, store, to),
        StepKind::Promote => Err(format!("{slot} is not the target {to}")),
        StepKind::Demote if Some(slot) == store.master.as_ref() || slot == to => Err(format!("{slot} is to be master")),
        _ => Ok(()),
    }
}

/// R8's standing order: only once there is a successor, for until then the former master's end is what is to be promoted,
/// and only where something is left to fence or to list.
fn fence_returned(at: &At<'_>, store: &Store, slot: &SlotId) -> Result<(), String> {
    if at.step.kind != StepKind::Demote || store.epoch != at.task.epoch {
        return Err("the epoch has moved on".into());
    }
    if store.master.is_none() {
        return Err("the store has no master; a failover fences what may still be one".into());
    }
    if store.master.as_ref() == Some(slot) || store.pending.as_ref() == Some(slot) {
        return Err(format!("{slot} is the master"));
    }
    let waits = |c: &LossCase| {
        Some(&c.store) == at.task.store.as_ref() && c.slot == *slot && c.state == LossState::AwaitingReturn
    };
    if store.possible_masters.contains_key(slot) || at.cluster.loss_cases.values().any(waits) {
        Ok(())
    } else {
        Err(format!("{slot} is fenced, and no loss case waits for it"))
    }
}

/// L1: a change of master was given up after its commit, and the engines of the copies died. They are started at the epoch
/// that is committed already, so that a person's next plan can look at them and choose; nobody becomes master by it. A raise
/// only ever refuses what is below that epoch. Who may still be master is demoted instead (R8) and stays a possible master,
/// for there is no successor (R3, R28).
fn wakes_alone(at: &At<'_>, store: &Store, slot: &SlotId) -> Result<(), String> {
    if store.epoch != at.task.epoch || store.epoch == Epoch::ZERO {
        return Err("the epoch has moved on".into());
    }
    if let Some(master) = &store.master {
        return Err(format!("{master} is the master, and can be followed"));
    }
    in_service(at.cluster, &slot.host)?;
    let copy = store.copies.get(slot).ok_or_else(|| format!("{slot} holds no copy of it"))?;
    // S8: what a person had stopped, only a person's plan starts again.
    if copy.state == CopyState::Stopped {
        return Err(format!("{slot} is stopped on purpose"));
    }
    match (at.step.kind, demoted_to_wake(store, slot)) {
        (StepKind::Raise, false) | (StepKind::Demote, true) => Ok(()),
        (_, true) => Err(format!("{slot} may still be master at a lower epoch; it is demoted")),
        (_, false) => Err(format!("{slot} is no possible master; it is raised")),
    }
}

/// Whether a copy of a store without a master is woken by a Demote: it may be master below the committed epoch. The pending
/// slot may be promoted at that very epoch, so it is raised.
fn demoted_to_wake(store: &Store, slot: &SlotId) -> bool {
    store.possible_masters.contains_key(slot) && store.pending.as_ref() != Some(slot)
}

/// The epoch after `old` (S3); a restore may have raised the generation since (R10).
pub(crate) fn next_epoch(old: Epoch, generation: u32) -> Epoch {
    Epoch { generation: generation.max(old.generation), n: old.n.saturating_add(1) }
}

/// The slot that a task promotes.
pub(crate) fn target(kind: &TaskKind) -> Option<&SlotId> {
    match kind {
        TaskKind::HandOver { to, .. } | TaskKind::FailOver { to, .. } => Some(to),
        TaskKind::CreateStore { master, .. } => Some(master),
        _ => None,
    }
}

/// R8: whether a task's Promote was started and is not sent on, since what it rests on is gone.
pub(crate) fn holds_back(state: &State, plan: PlanId, task: u16) -> bool {
    let Some(record) = state.plans.get(&plan) else { return false };
    let Some(number) = record.tasks.get(usize::from(task)).and_then(crate::steps::current) else { return false };
    At::new(state, record, task, number).is_some_and(|at| {
        let started = matches!(at.run.steps[usize::from(number)].state, StepState::Started { .. });
        at.step.kind == StepKind::Promote && started && ready(&at).is_err()
    })
}

/// S7, R3, R28: every possible master is durably fenced, or waived by name in the approval; R8: checked just before Promote.
fn promotable(at: &At<'_>, store: &Store, to: &SlotId) -> Result<(), String> {
    if store.pending.as_ref() != Some(to) {
        return Err(format!("epoch {} was not allocated to {to}", store.epoch));
    }
    let fenced: std::collections::BTreeSet<&SlotId> = demoted(at.task, at.run).map(|(slot, _)| slot).collect();
    for slot in store.possible_masters.keys().filter(|slot| *slot != to && !fenced.contains(slot)) {
        let TaskKind::FailOver { fence: level, waived, .. } = &at.task.kind else {
            return Err(format!("S7: {slot} is not fenced at epoch {}", store.epoch));
        };
        if !waived.contains(slot) {
            return Err(format!("S7: {slot} is neither fenced at epoch {} nor waived by name", store.epoch));
        }
        if at.record.plan.switch_off.contains_key(&slot.host) {
            // R26: its device's word for that boot, whoever of this plan had it asked.
            fence::stands(at.cluster, &at.record.plan, &slot.host).map_err(|why| format!("S7: {why}"))?;
            continue;
        }
        match level {
            FenceLevel::Device => return Err(format!("S7: no device switches off {}", slot.host)),
            FenceLevel::Demoted => return Err(format!("S7: {slot} is waived, but the plan says it is demoted")),
            FenceLevel::Attested if planted("s7-attestation-unchecked-at-promote") => {}
            FenceLevel::Attested => fence::attested(at.cluster, &slot.host, at.state.log_time)?,
            FenceLevel::None if at.record.people < 2 && at.cluster.policy.two_if_unfenced => {
                return Err(format!("S7: {slot} is not fenced and fewer than two people approved"));
            }
            FenceLevel::None => {}
        }
    }
    let (tip, _) = expected_tip(at)?;
    match &at.task.kind {
        // R7, S5: what is promoted is no worse than what was approved.
        TaskKind::FailOver { loss, .. } if tip.position < loss.candidate.position => Err(format!(
            "what would be promoted ends at {}, the approved sheet said {}: the loss is worse than approved",
            tip.position, loss.candidate.position
        )),
        _ => Ok(()),
    }
}

/// What the promoted copy must equal (R1), and the demoted slot that feeds it up to there, if one does.
pub(crate) fn expected_tip<'a>(at: &At<'a>) -> Result<(Tip, Option<&'a SlotId>), String> {
    let missing = |what: &SlotId| format!("the final position of {what} is not known");
    match &at.task.kind {
        TaskKind::CreateStore { .. } => Ok((Tip::default(), None)),
        TaskKind::HandOver { from, .. } => {
            let proof = if planted("r1-promote-against-freeze") { StepKind::Freeze } else { StepKind::Demote };
            at.tip_of(proof, from).map(|tip| (tip, Some(from))).ok_or_else(|| missing(from))
        }
        TaskKind::FailOver { from, to, fence, .. } => {
            let own = at.tip_of(StepKind::Feed, to).or_else(|| at.tip_of(StepKind::Raise, to)).map(|tip| (tip, None));
            let demoted = furthest_demoted(at, from);
            let known = if *fence == FenceLevel::Demoted && from != to {
                at.tip_of(StepKind::Demote, from).ok_or_else(|| missing(from))?;
                [demoted, own, furthest_raised(at, to)]
            } else {
                // Whoever is demoted here and is further may have acknowledged what `to` lacks; nothing else would tell
                // of it.
                [Some(own.ok_or_else(|| missing(to))?), demoted, furthest_raised(at, to)]
            };
            // R7: all of them taken together; of equal ones the first.
            let mut known = known.into_iter().flatten();
            let first = known.next().ok_or_else(|| missing(from))?;
            Ok(known.fold(first, |best, next| if next.0.position > best.0.position { next } else { best }))
        }
        _ => Err("the task promotes nothing".into()),
    }
}

/// The furthest final tip of the masters that this task demoted. What an open loss case tells of is left to it, except that
/// of the slot the sheet is about.
fn furthest_demoted<'a>(at: &At<'a>, from: &SlotId) -> Option<(Tip, Option<&'a SlotId>)> {
    let told = |slot: &SlotId| {
        let mut cases = at.cluster.loss_cases.values();
        cases.any(|c| Some(&c.store) == at.task.store.as_ref() && c.slot == *slot && c.state.is_open())
    };
    let candidates = demoted(at.task, at.run).filter(|(slot, _)| *slot == from || !told(slot));
    candidates.max_by_key(|(slot, tip)| (tip.position, *slot == from)).map(|(slot, tip)| (tip, Some(slot)))
}

/// Unplanned 3: the furthest of the other copies that this task raised, by what they answered and not by what the sheet
/// knew: until the last of them was raised, the old master may have acknowledged through it alone (R7). One that the sheet
/// shows as diverged feeds nobody.
fn furthest_raised<'a>(at: &At<'a>, to: &SlotId) -> Option<(Tip, Option<&'a SlotId>)> {
    let diverged = |slot: &SlotId| {
        let status = at.record.plan.evidence.last_status(slot);
        status.is_some_and(|(status, _)| status.role == EngineRole::Diverged)
    };
    let raised = ended_at(at.task, at.run, StepKind::Raise).filter(|(slot, _)| *slot != to && !diverged(slot));
    let raised = raised.filter(|_| !planted("r7-furthest-raised-ignored"));
    raised.max_by_key(|(_, tip)| tip.position).map(|(slot, tip)| (tip, Some(slot)))
}

/// The number of the step that fenced the slot from which a Promote catches up.
pub(crate) fn demote_of_source(promote: &At<'_>) -> Option<u16> {
    let (_, source) = expected_tip(promote).ok()?;
    let at = Place::Slot(source?.clone());
    let fences = |kind| matches!(kind, StepKind::Demote | StepKind::Raise);
    let step = promote.task.steps.iter().position(|s| fences(s.kind) && s.at.as_ref() == Some(&at))?;
    u16::try_from(step).ok()
}

/// Steps that need a settled master, or none at all.
fn settled(at: &At<'_>) -> Result<(), String> {
    let store = at.store()?;
    let kind = at.step.kind;
    if kind == StepKind::CloseLossCase {
        return closable(at);
    }
    let master = match (&store.master, kind) {
        (Some(master), _) => Some(master),
        (None, StepKind::Stop) => None,
        (None, _) => return Err("the store has no master now".into()),
    };
    if matches!(kind, StepKind::Repoint | StepKind::Canary | StepKind::RouteServed) {
        return Ok(());
    }
    let slot = at.slot()?;
    let copy = store.copies.get(slot).ok_or_else(|| format!("{slot} holds no copy of it"))?;
    let is_master = master == Some(slot) || store.pending.as_ref() == Some(slot);
    match kind {
        StepKind::StartMaster => {
            // R25: same slot, same epoch, nothing higher committed.
            if master != Some(slot) || store.pending.is_some() || store.epoch != at.task.epoch {
                Err(format!("{slot} is not the master at epoch {} any more", at.task.epoch))
            } else {
                Ok(())
            }
        }
        _ if is_master => Err(format!("{slot} is the master")),
        // R24: where the master acknowledges nothing without this copy, it follows before its records go in. What its master
        // lacks is put aside, and brought back from there; its case stays open until then.
        StepKind::Follow if copy.state == CopyState::Quarantined && !brings_back(at) => {
            Err(format!("{slot} is quarantined until its loss case is settled"))
        }
        StepKind::Follow if store.possible_masters.contains_key(slot) => Err(format!("{slot} is not fenced yet")),
        // S8: what a person had stopped, only a person's plan starts again.
        StepKind::Follow if copy.state == CopyState::Stopped && at.record.plan.intent.is_everyday() => {
            Err(format!("{slot} is stopped on purpose"))
        }
        StepKind::Follow => Ok(()),
        StepKind::Stop if store.possible_masters.contains_key(slot) => Err(format!("{slot} may still be a master")),
        StepKind::Stop => Ok(()),
        StepKind::ListStranded if is_done(at.run, at.task, StepKind::Demote) => Ok(()),
        StepKind::Reinject => case_listed(at).map(|_| ()),
        _ => Err("the step does not belong to this task".into()),
    }
}

/// The loss case of a settling task: it must be listed, and be about the very copy the task names.
fn case_listed<'a>(at: &At<'a>) -> Result<&'a LossCase, String> {
    let TaskKind::SettleLoss { case, slot, .. } = &at.task.kind else {
        return Err("the step does not belong to this task".into());
    };
    let known = at.cluster.loss_cases.get(case).ok_or_else(|| format!("{case} does not exist"))?;
    let generation = at.store()?.copies.get(slot).map(|copy| copy.generation);
    if Some(&known.store) != at.task.store.as_ref() || known.slot != *slot || generation != Some(known.generation) {
        return Err(format!("{case} is not about the copy on {slot}"));
    }
    if known.state != LossState::Listed {
        return Err(format!("{case} is not listed, or is settled"));
    }
    let store = at.store()?;
    if store.possible_masters.contains_key(slot) {
        return Err(format!("{slot} is not fenced yet"));
    }
    if store.master.as_ref() == Some(slot) || store.pending.as_ref() == Some(slot) {
        return Err(format!("{slot} is the master; hand over first"));
    }
    Ok(known)
}

/// Whether the task is about to put the listed records of this very copy into the master.
fn brings_back(at: &At<'_>) -> bool {
    matches!(&at.task.kind, TaskKind::SettleLoss { how: Settlement::Reinject, .. }) && case_listed(at).is_ok()
}

fn closable(at: &At<'_>) -> Result<(), String> {
    case_listed(at)?;
    let reinjects = matches!(&at.task.kind, TaskKind::SettleLoss { how: Settlement::Reinject, .. });
    if reinjects && !is_done(at.run, at.task, StepKind::Reinject) {
        return Err("its records are not reinjected".into());
    }
    Ok(())
}
