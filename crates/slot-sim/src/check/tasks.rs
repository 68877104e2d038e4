//! Tasks and their steps, as the log tells (S7, R3, R4, R13, R14, R16, R18, R25, R28).
//!
//! What always holds: who may be master of a store below its epoch is kept here from the Promote orders that were started and
//! the Demotes and Raises that agents answered, beside the product's own list.

use super::Found;
use super::approvals::StoreBase;
use super::commits::{Sheet, does_harm_late, target};
use super::ledgers::MARKS;
use super::places::Places;
use slot_machine::command::{Command, StepRef};
use slot_machine::state::{PlanStatus, State, StepState, TaskState};
use slot_types::cluster::{CopyState, FenceLevel, Store};
use slot_types::engine::EngineRole;
use slot_types::evidence::Evidence;
use slot_types::ids::*;
use slot_types::order::Outcome;
use slot_types::plan::{Place, StepKind, Task, TaskKind};
use std::collections::{BTreeMap, BTreeSet};

/// How old what a guard rests on may be, in milliseconds (R14).
const GUARD_AGE_MS: u64 = 5_000;

/// An order that may be anywhere.
struct Outstanding {
    kind: StepKind,
    store: Option<StoreName>,
    slot: Option<SlotId>,
    epoch: Epoch,
}

#[derive(Default)]
struct Known {
    started: bool,
    over: bool,
    tasks_over: BTreeSet<usize>,
}

/// See the module's documentation.
#[derive(Default)]
pub(crate) struct Tasks {
    plans: BTreeMap<PlanId, Known>,
    starts: BTreeMap<u64, StepRef>,
    outstanding: BTreeMap<OrderId, Outstanding>,
    committed: BTreeSet<(PlanId, u16)>,
    promoted: BTreeSet<(PlanId, u16)>,
    possible: BTreeMap<StoreName, BTreeMap<SlotId, Epoch>>,
    /// When a person last admitted another disk of a host.
    admitted: BTreeMap<HostName, LogIndex>,
    pub places: Places,
}

fn task_of(state: &State, plan: PlanId, task: u16) -> Option<&Task> {
    state.plans.get(&plan)?.plan.tasks.get(usize::from(task))
}

impl Tasks {
    /// The log is lost: plans and what they had begun are void (R10). What was promoted and what places held stays known.
    pub fn restored(&mut self) {
        self.plans.clear();
        self.outstanding.clear();
        self.admitted.clear();
        self.places.restored();
    }

    /// R3: who may be master, by the hosts' own ledgers.
    pub fn possible_are(&mut self, possible: BTreeMap<StoreName, BTreeMap<SlotId, Epoch>>) {
        self.possible = possible;
    }

    /// The highest index of any step that was started.
    pub fn last_start(&self) -> u64 {
        self.starts.last_key_value().map_or(0, |(index, _)| *index)
    }

    /// Which step an index started.
    pub fn start_of(&self, index: u64) -> Option<StepRef> {
        self.starts.get(&index).copied()
    }

    /// Whether a task has committed its epoch and its master is not there yet (R18).
    pub fn is_past_return(&self, plan: PlanId, task: u16) -> bool {
        self.committed.contains(&(plan, task)) && !self.promoted.contains(&(plan, task))
    }

    /// A StartStep was accepted.
    pub fn started(
        &mut self,
        found: &mut Found,
        state: &State,
        before: &BTreeMap<StoreName, StoreBase>,
        index: u64,
        (at, attempt): (StepRef, u32),
        guards: &Evidence,
    ) {
        self.starts.insert(index, at);
        let Some(task) = task_of(state, at.plan, at.task) else { return };
        let Some(step) = task.steps.get(usize::from(at.step)) else { return };
        let store = task.store.as_ref().and_then(|name| state.cluster.as_ref()?.stores.get(name));
        let slot = match &step.at {
            Some(Place::Slot(slot)) => Some(slot.clone()),
            _ => None,
        };
        let base = task.store.as_ref().and_then(|name| before.get(name)).cloned().unwrap_or_default();
        let id = OrderId { plan: at.plan, task: at.task, step: at.step, attempt };
        if self.outstanding.keys().any(|o| (o.plan, o.task, o.step) == (at.plan, at.task, at.step)) {
            found.say("R21", format!("{id} starts while another attempt is outstanding"));
        }
        let internal = matches!(
            step.kind,
            StepKind::CommitEpoch
                | StepKind::Repoint
                | StepKind::DeclareHost
                | StepKind::CloseLossCase
                | StepKind::ChangeFleet
                | StepKind::RetireStore
        );
        let started = state.step(at).is_some_and(|(_, _, run)| matches!(run.state, StepState::Started { .. }));
        if !internal && (started || step.kind != StepKind::FenceHost) {
            let epoch = store.map_or(Epoch::ZERO, |s| s.epoch);
            let order = Outstanding { kind: step.kind, store: task.store.clone(), slot: slot.clone(), epoch };
            self.outstanding.insert(id, order);
        }
        match (step.kind, &task.kind) {
            (StepKind::CommitEpoch, kind) => {
                self.committed.insert((at.plan, at.task));
                handed_over(found, id, kind, &base, guards);
            }
            (StepKind::Freeze, kind) => handed_over(found, id, kind, &base, guards),
            (StepKind::Promote, kind) => {
                if let (Some(name), Some(store), Some(slot)) = (&task.store, store, &slot) {
                    self.promote(found, id, (name, store), kind, slot);
                    self.attested(found, state, id, (name, store), kind);
                }
            }
            (StepKind::StartMaster, _) if base.master != slot || base.pending.is_some() || base.epoch != task.epoch => {
                found.say("R25", format!("{id} starts {slot:?} as master, committed is {base:?}"));
            }
            _ => {}
        }
    }

    /// S7, R3, R28: whoever may still be master below is fenced, or waived by name in this very sheet.
    fn promote(
        &mut self,
        found: &mut Found,
        id: OrderId,
        (name, store): (&StoreName, &Store),
        kind: &TaskKind,
        to: &SlotId,
    ) {
        let waived = match kind {
            TaskKind::FailOver { waived, .. } => waived.clone(),
            _ => BTreeSet::new(),
        };
        let possible = self.possible.entry(name.clone()).or_default();
        for (slot, was) in possible.iter().filter(|(slot, was)| *slot != to && **was < store.epoch) {
            if !waived.contains(slot) {
                let text =
                    format!("{id} promotes {to} at {:?}; {slot}, ordered at {was:?}, is not fenced", store.epoch);
                found.say("S7", text);
            }
        }
        possible.insert(to.clone(), store.epoch);
    }

    /// S7, R8: a waiver by attestation needs one that stands, for the present boot, when the order is started.
    fn attested(
        &self,
        found: &mut Found,
        state: &State,
        id: OrderId,
        (name, store): (&StoreName, &Store),
        kind: &TaskKind,
    ) {
        let TaskKind::FailOver { waived, fence: FenceLevel::Attested, .. } = kind else { return };
        let (Some(cluster), Some(possible)) = (&state.cluster, self.possible.get(name)) else { return };
        let by_device = state.plans.get(&id.plan).map(|record| &record.plan.switch_off);
        let by_word = |slot: &&SlotId| !by_device.is_some_and(|off| off.contains_key(&slot.host));
        let waived = waived.iter().filter(by_word);
        for slot in waived.filter(|slot| possible.get(*slot).is_some_and(|was| *was < store.epoch)) {
            let boot = cluster.hosts.get(&slot.host).and_then(|host| host.boot);
            let word = cluster.attestations.get(&slot.host);
            if !word.is_some_and(|word| Some(word.boot) == boot && word.expires > state.log_time) {
                found.say("S7", format!("{id} goes past {slot}, that it is off is not attested any more"));
            }
        }
    }

    /// An agent's word was recorded.
    pub fn finished(&mut self, state: &State, id: OrderId, outcome: &Outcome) {
        let marks = id.step & MARKS;
        if marks != 0 && marks != 0x8000 {
            return;
        }
        let id = OrderId { step: id.step & !MARKS, ..id };
        let Some(order) = self.outstanding.remove(&id) else { return };
        let Outcome::Done(_) = outcome else { return };
        if order.kind == StepKind::Promote && task_of(state, id.plan, id.task).is_some() {
            self.promoted.insert((id.plan, id.task));
        }
        if let (StepKind::Demote | StepKind::Raise, Some(store), Some(slot)) = (order.kind, &order.store, &order.slot)
            && let Some(possible) = self.possible.get_mut(store)
            && possible.get(slot).is_some_and(|was| *was < order.epoch)
        {
            possible.remove(slot);
        }
    }

    /// A person admitted another disk of a host.
    pub fn disk_admitted(&mut self, host: &HostName, index: u64) {
        self.admitted.insert(host.clone(), LogIndex(index));
    }

    /// S3: whether a command allocates a store's epoch to a slot, and by which sheet if it is a failover's.
    pub fn allocates(
        &self,
        state: &State,
        command: &Command,
        store: &StoreName,
        holder: &SlotId,
    ) -> Option<Option<Sheet>> {
        let of = |plan: PlanId, task: &Task| {
            let (to, sheet) = target(plan, &task.kind)?;
            (to == holder && task.store.as_ref() == Some(store)).then_some(sheet)
        };
        match command {
            Command::StartStep { step, .. } => {
                let task = task_of(state, step.plan, step.task)?;
                let commits = task.steps.get(usize::from(step.step))?.kind == StepKind::CommitEpoch;
                of(step.plan, task).filter(|_| commits)
            }
            Command::ApprovePlan { plan, .. } => {
                // R6: the entry that consumes the approval, none before.
                let tasks = &state.plans.get(plan).filter(|record| record.started.is_some())?.plan.tasks;
                let failovers = tasks.iter().filter(|task| matches!(task.kind, TaskKind::FailOver { .. }));
                failovers.filter_map(|task| of(*plan, task)).next()
            }
            _ => None,
        }
    }

    /// Plans that started or ended with the last entry; those that started are given back.
    pub fn plans_changed(&mut self, found: &mut Found, state: &State) -> Vec<(PlanId, bool)> {
        let mut out = Vec::new();
        for (id, record) in &state.plans {
            let known = self.plans.entry(*id).or_default();
            // One that was over, rejected for instance, and starts nevertheless is looked at (S5).
            if known.over && (known.started || record.started.is_none()) {
                continue;
            }
            if record.started.is_some() && !known.started {
                known.started = true;
                for (number, task) in record.plan.tasks.iter().enumerate() {
                    if matches!(task.kind, TaskKind::FailOver { .. }) {
                        self.committed.insert((*id, u16::try_from(number).unwrap_or(u16::MAX)));
                    }
                }
                out.push((*id, true));
            }
            for (number, run) in record.tasks.iter().enumerate() {
                if run.state.is_ended() && known.tasks_over.insert(number) {
                    let task = u16::try_from(number).unwrap_or(u16::MAX);
                    let kind = &record.plan.tasks[number].kind;
                    ended(found, &mut self.outstanding, (*id, task), kind, &run.state);
                    if run.state == TaskState::Done {
                        followed(found, state, (*id, number), &self.admitted);
                    }
                }
            }
            known.over = record.status.is_ended();
        }
        if out.iter().any(|(_, started)| *started) {
            one_plan_a_store(found, state);
        }
        if self.plans.len() > state.plans.len() {
            self.plans.retain(|id, _| state.plans.contains_key(id));
        }
        out
    }
}

/// R4: a task that ends as not done or done leaves nothing behind that may do harm late.
fn ended(
    found: &mut Found,
    outstanding: &mut BTreeMap<OrderId, Outstanding>,
    (plan, task): (PlanId, u16),
    kind: &TaskKind,
    state: &TaskState,
) {
    // A copy that is built or destroyed is neither present nor free until a later order is done on its slot.
    let apart = matches!(kind, TaskKind::BuildCopy { .. } | TaskKind::DestroyCopy { .. });
    let mine: Vec<OrderId> = outstanding.keys().filter(|o| (o.plan, o.task) == (plan, task)).copied().collect();
    for id in mine {
        let Some(order) = outstanding.remove(&id) else { continue };
        let orderly = matches!(state, TaskState::Done | TaskState::NotDone { .. });
        if orderly && !apart && does_harm_late(order.kind) {
            found.say("R4", format!("{id} ({:?}) is outstanding while its task ends as {state:?}", order.kind));
        }
    }
}

/// R14: a hand-over rests on what was seen lately: the master is master, the other follows it.
fn handed_over(found: &mut Found, id: OrderId, kind: &TaskKind, base: &StoreBase, guards: &Evidence) {
    let TaskKind::HandOver { from, to } = kind else { return };
    let master = guards.running(from, GUARD_AGE_MS);
    if !master.is_some_and(|s| s.role == EngineRole::Master && s.epoch == base.epoch) {
        found.say("R14", format!("{id} goes on although {from} is not freshly seen as master at {:?}", base.epoch));
    }
    let replica = guards.running(to, GUARD_AGE_MS);
    let follows = Some((from.clone(), base.epoch));
    if !replica.is_some_and(|s| s.role == EngineRole::Replica && s.following == follows) {
        found.say("R14", format!("{id} goes on although {to} is not freshly seen following {from}"));
    }
}

/// R16: a task that changed a master is done only when every copy follows it, except those that its plan names. From then on
/// its store is free for other plans.
fn followed(found: &mut Found, state: &State, at: (PlanId, usize), admitted: &BTreeMap<HostName, LogIndex>) {
    let (id, number) = at;
    let (Some(record), Some(cluster)) = (state.plans.get(&id), &state.cluster) else { return };
    let (Some(task), Some(run)) = (record.plan.tasks.get(number), record.tasks.get(number)) else { return };
    let (Some((to, _)), Some(name)) = (target(id, &task.kind), &task.store) else { return };
    let Some(store) = cluster.stores.get(name) else { return };
    if store.epoch.n != task.epoch.n + 1 || store.master.as_ref() != Some(to) {
        return;
    }
    let (mut named, mut from_there) = (BTreeSet::new(), BTreeSet::new());
    if let TaskKind::FailOver { waived, unreachable, .. } = &task.kind {
        named.extend(waived.iter().chain(unreachable));
    }
    // A copy that another task of this plan stops, or that stood outside before, is not this task's to follow.
    from_there.extend(task.steps.iter().filter(|s| s.kind == StepKind::Follow).filter_map(|s| match &s.at {
        Some(Place::Slot(slot)) => Some(slot),
        _ => None,
    }));
    // A copy that had followed went with its disk, for which a person admitted another one since: nothing follows there.
    let gone = |slot: &SlotId| {
        let place = Some(Place::Slot(slot.clone()));
        let mut steps = task.steps.iter().zip(&run.steps).filter(|(step, _)| step.kind == StepKind::Follow);
        steps.any(|(step, run)| match run.state {
            StepState::Done { index, .. } if step.at == place => admitted.get(&slot.host).is_some_and(|at| *at > index),
            _ => false,
        })
    };
    let follows = Some((to.clone(), store.epoch));
    for (slot, copy) in &store.copies {
        if gone(slot) {
            continue;
        }
        let counted = copy.state == CopyState::Serving || from_there.contains(slot);
        let stopped = matches!(copy.state, CopyState::Stopped | CopyState::Retired | CopyState::Quarantined);
        let apart = slot != to && counted && !stopped && !named.contains(slot) && copy.follows != follows;
        let left_out = format!("{slot} of {name}");
        if apart && !record.plan.notes.iter().any(|n| n.heading == "NOT REACHED" && n.text.starts_with(&left_out)) {
            let text = format!("{id} is done, {slot} is {:?} and follows {:?}, not {to}", copy.state, copy.follows);
            found.say("R16", text);
        }
    }
}

/// Whether a plan does no more at a store, for now, than build or destroy a copy of it.
fn builds(record: &slot_machine::state::PlanRecord, store: &StoreName) -> bool {
    record.plan.tasks.iter().zip(&record.tasks).all(|(task, run)| {
        let moves = matches!(task.kind, TaskKind::BuildCopy { .. } | TaskKind::DestroyCopy { .. });
        moves || task.store.as_ref() != Some(store) || run.state.is_ended() || run.state == TaskState::Waiting
    })
}

/// R13: a store is in the hands of one running plan.
fn one_plan_a_store(found: &mut Found, state: &State) {
    let mut held: BTreeMap<&StoreName, PlanId> = BTreeMap::new();
    let running = PlanStatus::is_under_way;
    for record in state.plans.values().filter(|r| running(&r.status)) {
        for (task, run) in record.plan.tasks.iter().zip(&record.tasks) {
            let Some(store) = task.store.as_ref().filter(|_| !run.state.is_ended()) else { continue };
            let other = held.insert(store, record.id).filter(|other| *other != record.id);
            // R25, R8: recovery may act beside a build or a destruction.
            let beside = |other: &PlanId| {
                let (a, b) = (record, &state.plans[other]);
                (a.plan.requested_by.is_none() && builds(b, store))
                    || (b.plan.requested_by.is_none() && builds(a, store))
            };
            if let Some(other) = other.filter(|other| !beside(other)) {
                found.say("R13", format!("{other} and {} both have {store} in hand", record.id));
            }
        }
    }
}
