//! Tasks as an honest planner makes them.

use crate::world::*;
use slot_types::cluster::*;
use slot_types::ids::*;
use slot_types::plan::*;
use slot_types::position::Tip;
use std::collections::BTreeSet;

pub fn step(kind: StepKind, at: Option<Place>) -> Step {
    Step { kind, at, deadline_ms: 10_000 }
}
pub fn at(kind: StepKind, slot: &SlotId) -> Step {
    step(kind, Some(Place::Slot(slot.clone())))
}
pub fn internal(kind: StepKind) -> Step {
    step(kind, None)
}
pub fn canary(h: u8) -> Step {
    step(StepKind::Canary, Some(Place::Host(host(h))))
}
pub fn spec(copies: usize) -> StoreSpec {
    let copies = u8::try_from(copies).unwrap();
    StoreSpec {
        engine: EngineKind::Journal,
        copies,
        size_bytes: 1 << 20,
        spread: Spread::Rack,
        sync_copies: 0,
        never: std::collections::BTreeSet::new(),
        load: 1,
    }
}
pub fn task(n: u8, epoch: Epoch, kind: TaskKind, steps: Vec<Step>) -> Task {
    Task { kind, store: Some(store(n)), epoch, after: Vec::new(), steps }
}

/// The first slot becomes master.
pub fn create(n: u8, slots: &[SlotId]) -> Task {
    let mut steps: Vec<Step> = slots.iter().map(|s| at(StepKind::Provision, s)).collect();
    steps.extend([internal(StepKind::CommitEpoch), at(StepKind::Promote, &slots[0]), internal(StepKind::Repoint)]);
    steps.extend(slots[1..].iter().map(|s| at(StepKind::Follow, s)));
    steps.push(canary(2));
    let copies = slots.iter().map(|s| (s.clone(), CopyGeneration(1))).collect();
    let kind = TaskKind::CreateStore { spec: spec(slots.len()), copies, master: slots[0].clone() };
    task(n, Epoch::ZERO, kind, steps)
}

pub fn hand_over(world: &World, n: u8, from: &SlotId, to: &SlotId) -> Task {
    let mut steps = vec![
        at(StepKind::Freeze, from),
        at(StepKind::CatchUp, to),
        internal(StepKind::CommitEpoch),
        at(StepKind::Demote, from),
        at(StepKind::Promote, to),
        internal(StepKind::Repoint),
        at(StepKind::Follow, from),
    ];
    steps.push(canary(4));
    task(n, world.store(n).epoch, TaskKind::HandOver { from: from.clone(), to: to.clone() }, steps)
}

/// An unplanned failover; `demote` are fenced by their agents, `waived` by `fence`.
pub struct Failover<'a> {
    pub from: &'a SlotId,
    pub to: &'a SlotId,
    pub fence: FenceLevel,
    pub demote: &'a [SlotId],
    pub waived: &'a [SlotId],
    pub class: LossClass,
    pub candidate: Tip,
}

impl Failover<'_> {
    pub fn task(&self, world: &World, n: u8) -> Task {
        let mut steps = vec![internal(StepKind::CommitEpoch), at(StepKind::Raise, self.to)];
        steps.extend(self.demote.iter().map(|s| at(StepKind::Demote, s)));
        steps.extend([at(StepKind::Promote, self.to), internal(StepKind::Repoint)]);
        steps.extend(self.demote.iter().map(|s| at(StepKind::Follow, s)));
        steps.push(canary(4));
        let loss = LossStatement {
            class: self.class,
            candidate: self.candidate,
            last_known: None,
            last_known_age_ms: None,
            known_lag: None,
        };
        let kind = TaskKind::FailOver {
            from: self.from.clone(),
            to: self.to.clone(),
            fence: self.fence,
            waived: self.waived.iter().cloned().collect(),
            unreachable: BTreeSet::new(),
            feed: None,
            loss,
        };
        task(n, world.store(n).epoch, kind, steps)
    }
}

/// The master is waived at this level, nothing is demoted.
pub fn waiving(world: &World, n: u8, from: &SlotId, to: &SlotId, fence: FenceLevel) -> Task {
    let class = LossClass::Unknown;
    let waived = [from.clone()];
    Failover { from, to, fence, demote: &[], waived: &waived, class, candidate: Tip::default() }.task(world, n)
}

/// The master is demoted by its agent.
pub fn demoting(world: &World, n: u8, from: &SlotId, to: &SlotId) -> Task {
    let demote = [from.clone()];
    let (fence, class) = (FenceLevel::Demoted, LossClass::NoneProvable);
    Failover { from, to, fence, demote: &demote, waived: &[], class, candidate: Tip::default() }.task(world, n)
}

pub fn stop(world: &World, n: u8, slot: &SlotId) -> Task {
    let steps = vec![at(StepKind::Stop, slot)];
    task(n, world.store(n).epoch, TaskKind::StopCopy { slot: slot.clone() }, steps)
}
pub fn follow(world: &World, n: u8, slot: &SlotId) -> Task {
    let steps = vec![at(StepKind::Follow, slot)];
    task(n, world.store(n).epoch, TaskKind::StartCopy { slot: slot.clone() }, steps)
}
pub fn start_master(world: &World, n: u8, slot: &SlotId) -> Task {
    let steps = vec![at(StepKind::StartMaster, slot)];
    task(n, world.store(n).epoch, TaskKind::StartMaster { slot: slot.clone() }, steps)
}
pub fn fence_returned(world: &World, n: u8, slot: &SlotId) -> Task {
    let steps = vec![at(StepKind::Demote, slot), at(StepKind::ListStranded, slot)];
    task(n, world.store(n).epoch, TaskKind::FenceReturned { slot: slot.clone() }, steps)
}
pub fn settle(world: &World, n: u8, case: LossCaseId, slot: &SlotId, how: Settlement) -> Task {
    let mut steps = vec![internal(StepKind::CloseLossCase), at(StepKind::Follow, slot)];
    if how == Settlement::Reinject {
        steps.insert(0, at(StepKind::Reinject, slot));
    }
    task(n, world.store(n).epoch, TaskKind::SettleLoss { case, slot: slot.clone(), how }, steps)
}
pub fn host_state(h: u8, to: HostState) -> Task {
    let mut steps = vec![internal(StepKind::DeclareHost)];
    if to == HostState::Maintenance {
        steps.insert(0, step(StepKind::ConfirmStopped, Some(Place::Host(host(h)))));
    }
    Task { kind: TaskKind::HostState { host: host(h), to }, store: None, epoch: Epoch::ZERO, after: vec![], steps }
}
pub fn after(mut task: Task, deps: &[u16]) -> Task {
    task.after = deps.to_vec();
    task
}
