//! Preconditions of steps in the replicated state: S3, S7, S8, S9, R3.
//!
//! What always holds: no step starts unless [`ready`] says so, whatever the plan's bytes say; it is asked by
//! [`crate::runnable`] to know what to propose and by `apply` to decide.

use crate::state::{PlanRecord, PlanStatus, State, StepState, TaskRun, TaskState};
use slot_types::cluster::*;
use slot_types::ids::*;
use slot_types::order::Done;
use slot_types::plan::{Place, Step, StepKind, Task, TaskKind};
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

pub(crate) fn is_done(run: &TaskRun, task: &Task, kind: StepKind) -> bool {
    task.steps.iter().zip(&run.steps).any(|(s, r)| s.kind == kind && matches!(r.state, StepState::Done { .. }))
}

/// Whether the next step of a task may start, as far as the replicated state goes.
pub(crate) fn ready(at: &At<'_>) -> Result<(), String> {
    if !matches!(at.record.status, PlanStatus::Running | PlanStatus::Aborting { .. }) {
        return Err(format!("the plan is {}", at.record.status));
    }
    for dep in &at.task.after {
        match at.record.tasks.get(usize::from(*dep)).map(|t| &t.state) {
            Some(TaskState::Done) => {}
            _ => return Err(format!("task {} is not done", dep + 1)),
        }
    }
    if let Some(host) = at.host() {
        reachable(at.cluster, host)?;
    }
    match at.step.kind {
        StepKind::Provision | StepKind::ChangeFleet | StepKind::DeclareHost | StepKind::ConfirmStopped => {
            fleet_step(at)
        }
        StepKind::Freeze | StepKind::CatchUp | StepKind::CommitEpoch => before_commit(at),
        StepKind::Demote | StepKind::Raise | StepKind::Feed | StepKind::Promote => after_commit(at),
        _ => settled(at),
    }
}

/// An order names disk and boot (S15, R27); both must be known and admitted (S2).
fn reachable(cluster: &Cluster, host: &HostName) -> Result<(), String> {
    let known = cluster.hosts.get(host).ok_or_else(|| format!("{host} is not in the cluster file"))?;
    if let Some(why) = &known.quarantined {
        return Err(format!("{host} is quarantined: {why:?}"));
    }
    if known.incarnation.is_none() || known.boot.is_none() {
        return Err(format!("the agent of {host} was never seen"));
    }
    Ok(())
}

fn fleet_step(at: &At<'_>) -> Result<(), String> {
    match (&at.task.kind, at.step.kind) {
        (TaskKind::CreateStore { spec, copies, .. }, StepKind::Provision) => {
            let name = at.task.store.as_ref().ok_or("the task names no store")?;
            if let Some(store) = at.cluster.stores.get(name) {
                // The first Provision made it; the others go on.
                return if store.epoch == Epoch::ZERO { Ok(()) } else { Err(format!("{name} exists")) };
            }
            placement(at.cluster, spec, copies)
        }
        (TaskKind::Fleet, StepKind::ChangeFleet) => Ok(()),
        (TaskKind::HostState { host, to }, kind) => {
            if !at.cluster.hosts.contains_key(host) {
                return Err(format!("{host} is not in the cluster file"));
            }
            if *to != HostState::Maintenance {
                return Ok(());
            }
            // S8: no master and every copy stopped, by the committed state first ...
            if let Some((store, _)) = at.cluster.masters_on(host).next() {
                return Err(format!("{host} still has the master of {store}"));
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
    spec: &StoreSpec,
    copies: &std::collections::BTreeMap<SlotId, CopyGeneration>,
) -> Result<(), String> {
    if copies.len() != usize::from(spec.copies) || copies.is_empty() {
        return Err(format!("S9: {} copies are placed, the store wants {}", copies.len(), spec.copies));
    }
    let mut domains = std::collections::BTreeSet::new();
    for slot in copies.keys() {
        let host = cluster.hosts.get(&slot.host).ok_or_else(|| format!("{} is not in the cluster file", slot.host))?;
        let room = host.slots.get(&slot.number).ok_or_else(|| format!("{slot} is not in the cluster file"))?;
        if host.declared != HostState::Active {
            return Err(format!("S9: {} is {}", slot.host, host.declared));
        }
        if let Some((other, _, _)) = cluster.copy_on(slot) {
            return Err(format!("S9: {slot} holds a copy of {other}"));
        }
        if room.size_bytes < spec.size_bytes {
            return Err(format!("S9: {slot} holds {} bytes, the store wants {}", room.size_bytes, spec.size_bytes));
        }
        let domain = match spec.spread {
            Spread::Host => slot.host.to_string(),
            Spread::Rack => host.at.to_string(),
        };
        if !domains.insert(domain.clone()) {
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
            if !store.copies.get(to).is_some_and(|c| c.role == Role::Replica && c.state == CopyState::Serving) {
                return Err(format!("{to} is not a serving replica"));
            }
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
            let provisioned = at
                .task
                .steps
                .iter()
                .zip(&at.run.steps)
                .filter(|(s, r)| s.kind == StepKind::Provision && matches!(r.state, StepState::Done { .. }));
            if store.epoch == Epoch::ZERO && provisioned.count() == copies.len() {
                Ok(())
            } else {
                Err("not every copy is provisioned".into())
            }
        }
        // A failover's epoch is allocated by its approval (R6), never by a step of its own.
        _ => Err("the step does not belong to this task".into()),
    }
}

fn after_commit(at: &At<'_>) -> Result<(), String> {
    let store = at.store()?;
    let slot = at.slot()?;
    if !store.copies.contains_key(slot) {
        return Err(format!("{slot} holds no copy of it"));
    }
    if let TaskKind::FenceReturned { .. } = &at.task.kind {
        if at.step.kind != StepKind::Demote || store.epoch != at.task.epoch {
            return Err("the epoch has moved on".into());
        }
        if store.master.as_ref() == Some(slot) || store.pending.as_ref() == Some(slot) {
            return Err(format!("{slot} is the master"));
        }
        return Ok(());
    }
    if store.epoch != at.task.epoch.next() && !(store.epoch.n == 1 && at.task.epoch == Epoch::ZERO) {
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

/// The slot that a task promotes.
pub(crate) fn target(kind: &TaskKind) -> Option<&SlotId> {
    match kind {
        TaskKind::HandOver { to, .. } | TaskKind::FailOver { to, .. } => Some(to),
        TaskKind::CreateStore { master, .. } => Some(master),
        _ => None,
    }
}

/// S7, R3, R28: every possible master is durably fenced, or waived by name in the approval; R8: checked just before Promote.
fn promotable(at: &At<'_>, store: &Store, to: &SlotId) -> Result<(), String> {
    if store.pending.as_ref() != Some(to) {
        return Err(format!("epoch {} was not allocated to {to}", store.epoch));
    }
    for slot in store.possible_masters.keys().filter(|slot| *slot != to) {
        let TaskKind::FailOver { fence, waived, .. } = &at.task.kind else {
            return Err(format!("S7: {slot} is not fenced at epoch {}", store.epoch));
        };
        if !waived.contains(slot) {
            return Err(format!("S7: {slot} is neither fenced at epoch {} nor waived by name", store.epoch));
        }
        match fence {
            FenceLevel::Demoted => return Err(format!("S7: {slot} is waived, but the plan says it is demoted")),
            FenceLevel::Attested => attested(at.cluster, &slot.host, at.state.log_time)?,
            FenceLevel::None if at.record.people < 2 && at.cluster.policy.two_if_unfenced => {
                return Err(format!("S7: {slot} is not fenced and fewer than two people approved"));
            }
            FenceLevel::None => {}
        }
    }
    expected_tip(at).map(|_| ())
}

/// R8: the attestation is for the latest boot, in force, and no sign of life has come since.
pub(crate) fn attested(cluster: &Cluster, host: &HostName, now: LogTime) -> Result<(), String> {
    let attestation = cluster
        .attestations
        .get(host)
        .ok_or_else(|| format!("nobody attests that {host} is off, or it showed a sign of life since"))?;
    if cluster.hosts.get(host).and_then(|h| h.boot) != Some(attestation.boot) {
        return Err(format!("{host} was attested off in another boot"));
    }
    if attestation.expires <= now {
        return Err(format!("the attestation that {host} is off has expired"));
    }
    Ok(())
}

/// What the promoted copy must equal (R1): the demoted master's final tip where there is one.
pub(crate) fn expected_tip(at: &At<'_>) -> Result<Tip, String> {
    let missing = |what: &SlotId| format!("the final position of {what} is not known");
    match &at.task.kind {
        TaskKind::CreateStore { .. } => Ok(Tip::default()),
        TaskKind::HandOver { from, .. } => at.tip_of(StepKind::Demote, from).ok_or_else(|| missing(from)),
        TaskKind::FailOver { from, fence: FenceLevel::Demoted, .. } => {
            at.tip_of(StepKind::Demote, from).ok_or_else(|| missing(from))
        }
        TaskKind::FailOver { to, .. } => {
            at.tip_of(StepKind::Feed, to).or_else(|| at.tip_of(StepKind::Raise, to)).ok_or_else(|| missing(to))
        }
        _ => Err("the task promotes nothing".into()),
    }
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
    if kind == StepKind::Repoint || kind == StepKind::Canary {
        return Ok(());
    }
    let slot = at.slot()?;
    let copy = store.copies.get(slot).ok_or_else(|| format!("{slot} holds no copy of it"))?;
    let is_master = master == Some(slot) || store.pending.as_ref() == Some(slot);
    match kind {
        StepKind::StartMaster => {
            // R25: same slot, same epoch, nothing higher committed.
            let declared = at.cluster.hosts.get(&slot.host).map(|h| h.declared);
            if master != Some(slot) || store.pending.is_some() || store.epoch != at.task.epoch {
                Err(format!("{slot} is not the master at epoch {} any more", at.task.epoch))
            } else if !matches!(declared, Some(HostState::Active | HostState::Draining)) {
                Err(format!("{} is not Active", slot.host))
            } else {
                Ok(())
            }
        }
        _ if is_master => Err(format!("{slot} is the master")),
        StepKind::Follow if copy.state == CopyState::Quarantined => {
            Err(format!("{slot} is quarantined until its loss case is settled"))
        }
        StepKind::Follow if store.possible_masters.contains_key(slot) => Err(format!("{slot} is not fenced yet")),
        StepKind::Follow => Ok(()),
        StepKind::Stop if store.possible_masters.contains_key(slot) => Err(format!("{slot} may still be a master")),
        StepKind::Stop => Ok(()),
        StepKind::ListStranded if is_done(at.run, at.task, StepKind::Demote) => Ok(()),
        StepKind::Reinject if matches!(at.task.kind, TaskKind::SettleLoss { .. }) => Ok(()),
        _ => Err("the step does not belong to this task".into()),
    }
}

fn closable(at: &At<'_>) -> Result<(), String> {
    let TaskKind::SettleLoss { case, how, .. } = &at.task.kind else {
        return Err("the step does not belong to this task".into());
    };
    let known = at.cluster.loss_cases.get(case).ok_or_else(|| format!("{case} does not exist"))?;
    if known.state != LossState::Listed {
        return Err(format!("{case} is not listed, or is settled"));
    }
    if *how == slot_types::plan::Settlement::Reinject && !is_done(at.run, at.task, StepKind::Reinject) {
        return Err("its records are not reinjected".into());
    }
    Ok(())
}
