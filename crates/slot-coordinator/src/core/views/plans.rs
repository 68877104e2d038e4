//! Plans as a person follows them.

use super::Fleet;
use slot_machine::pause::is_at_rest;
use slot_machine::state::{PlanRecord, PlanStatus, StepState, TaskRun, TaskState};
use slot_machine::verified::found_unequal;
use slot_types::cluster::HostState;
use slot_types::engine::EngineRole;
use slot_types::ids::*;
use slot_types::plan::{Intent, Place, Task, TaskKind};
use slot_types::view::*;

impl Fleet<'_> {
    pub(super) fn plan_line(&self, record: &PlanRecord) -> PlanLine {
        let (state, why) = standing(record);
        let done = record.tasks.iter().filter(|t| t.state == TaskState::Done).count();
        PlanLine {
            id: record.id,
            digest: record.digest,
            title: record.plan.intent.to_string(),
            requested_by: record.plan.requested_by.clone(),
            state,
            why,
            tasks_done: number(done),
            tasks_total: number(record.tasks.len()),
            people_missing: people_missing(record),
            created: record.plan.created_wall,
        }
    }

    pub(super) fn plan(&self, record: &PlanRecord) -> PlanView {
        let (state, why) = standing(record);
        let approvals = record
            .approvals
            .iter()
            .map(|a| ApprovalLine { by: a.by.clone(), wall: a.wall, reason: a.reason.clone() })
            .collect();
        let all = record.plan.tasks.iter().zip(&record.tasks);
        let tasks =
            all.map(|(task, run)| TaskLine { differs: self.differs(task, run), ..task_line(task, run) }).collect();
        let cases = self.cluster.loss_cases.iter().filter(|(_, c)| c.plan == record.id);
        PlanView {
            id: record.id,
            digest: record.digest,
            bytes: record.bytes.clone(),
            state,
            why,
            approvals,
            people_needed: u32::from(record.people),
            people_missing: people_missing(record),
            tasks,
            loss_cases: cases.map(|(id, _)| *id).collect(),
            started: record.started,
            ended: record.ended,
            now: self.eyes.log_now,
            ended_wall: record.ended_wall,
            wall: self.eyes.now.wall,
            host_state: self.host_state(&record.plan.intent),
        }
    }

    /// R7: what is known of how the copy differs that a hand-over was for and gave up.
    fn differs(&self, task: &Task, run: &TaskRun) -> Option<Differs> {
        let TaskKind::HandOver { to, .. } = &task.kind else { return None };
        if !matches!(run.state, TaskState::NotDone { .. } | TaskState::Unwinding { .. }) {
            return None;
        }
        let store = self.cluster.stores.get(task.store.as_ref()?)?;
        let generation = store.copies.get(to)?.generation;
        let stamp = self.cluster.stamps.get(to).filter(|stamp| stamp.generation == generation && stamp.differs());
        let findings = stamp.map(|stamp| stamp.of.findings.clone());
        let seen = self.eyes.evidence.running(to, self.cluster.policy.silent_ms);
        let stopped = seen.is_some_and(|status| status.role == EngineRole::Diverged);
        (findings.is_some() || stopped || found_unequal(task, run)).then(|| Differs { slot: to.clone(), findings })
    }

    fn host_state(&self, intent: &Intent) -> Option<HostState> {
        let host = match intent {
            Intent::DrainHost(host)
            | Intent::EmptyHost(host)
            | Intent::RetireHost(host)
            | Intent::UndrainHost(host)
            | Intent::FailOverHost(host)
            | Intent::FailOverClasses { host, .. } => host,
            Intent::FailOverSlot { slot, .. } => &slot.host,
            _ => return None,
        };
        self.cluster.hosts.get(host).map(|h| h.declared)
    }

    /// The running plan that settles a loss case.
    pub(super) fn settling(&self, id: LossCaseId) -> Option<PlanId> {
        let settles = |r: &&PlanRecord| matches!(&r.plan.intent, Intent::SettleLoss { case, .. } if *case == id);
        self.eyes.state.running().find(settles).map(|r| r.id)
    }
}

fn number(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

fn people_missing(record: &PlanRecord) -> u32 {
    let given = number(record.approvals.len());
    if record.status == PlanStatus::Proposed { u32::from(record.people).saturating_sub(given) } else { 0 }
}

fn standing(record: &PlanRecord) -> (PlanState, String) {
    let unended = || record.tasks.iter().filter(|t| !t.state.is_ended());
    let stuck = || unended().flat_map(|t| &t.steps).find_map(|s| s.stuck.clone());
    let by = |by: &OperatorName, reason: &String| format!("by {by}: {reason}");
    match &record.status {
        PlanStatus::Proposed => (PlanState::Proposed, String::new()),
        PlanStatus::Running => match stuck() {
            Some(why) => (PlanState::Stuck, why),
            None => (PlanState::Running, String::new()),
        },
        PlanStatus::Aborting { by: who, reason } => (PlanState::Aborting, by(who, reason)),
        PlanStatus::Paused { by: who, reason } => {
            let state = if is_at_rest(record) { PlanState::Paused } else { PlanState::Pausing };
            (state, who.as_ref().map_or_else(|| reason.clone(), |who| by(who, reason)))
        }
        PlanStatus::Done => (PlanState::Done, String::new()),
        PlanStatus::Stopped => (PlanState::Stopped, record.tasks.iter().find_map(why_not).unwrap_or_default()),
        PlanStatus::Aborted { by: who, reason } => (PlanState::Aborted, by(who, reason)),
        PlanStatus::Rejected { by: who, reason } => (PlanState::Rejected, by(who, reason)),
        PlanStatus::Void { why } => (PlanState::Void, why.clone()),
    }
}

fn why_not(task: &TaskRun) -> Option<String> {
    match &task.state {
        TaskState::NotDone { why } | TaskState::NeedsHuman { why } => Some(why.clone()),
        TaskState::Superseded { by } => Some(format!("superseded by {by}")),
        _ => None,
    }
}

fn task_line(task: &Task, run: &TaskRun) -> TaskLine {
    let done = run.steps.iter().filter(|s| matches!(s.state, StepState::Done { .. })).count();
    let (state, why) = match &run.state {
        TaskState::Waiting => (TaskProgress::Waiting, String::new()),
        TaskState::Running => {
            (TaskProgress::Running, run.steps.iter().find_map(|s| s.stuck.clone()).unwrap_or_default())
        }
        TaskState::Unwinding { why } => (TaskProgress::Unwinding, why.clone()),
        TaskState::Done => (TaskProgress::Done, String::new()),
        TaskState::NotDone { why } => (TaskProgress::NotDone, why.clone()),
        TaskState::NeedsHuman { why } => (TaskProgress::NeedsHuman, why.clone()),
        TaskState::Superseded { by } => (TaskProgress::Superseded, format!("by {by}")),
    };
    TaskLine {
        title: title(task),
        state,
        why,
        step_now: step_now(task, run),
        steps_done: number(done),
        steps_total: number(run.steps.len()),
        differs: None,
    }
}

fn step_now(task: &Task, run: &TaskRun) -> String {
    if run.state.is_ended() || run.state == TaskState::Waiting {
        return String::new();
    }
    let under_way = task.steps.iter().zip(&run.steps).find(|(_, r)| !matches!(r.state, StepState::Done { .. }));
    let Some((step, _)) = under_way else { return String::new() };
    match &step.at {
        Some(Place::Slot(slot)) => format!("{} {slot}", super::super::kebab(step.kind)),
        Some(Place::Host(host)) => format!("{} {host}", super::super::kebab(step.kind)),
        Some(Place::Device { of, by }) => format!("{} {of}, by {by}", super::super::kebab(step.kind)),
        None => super::super::kebab(step.kind).to_string(),
    }
}

pub(super) fn title(task: &Task) -> String {
    let what = match &task.kind {
        TaskKind::Fleet => "hosts, slots and policy".to_string(),
        TaskKind::CreateStore { master, .. } => format!("make, master {master}"),
        TaskKind::HandOver { from, to } => format!("{from} -> {to}"),
        TaskKind::FailOver { from, to, .. } => format!("{from} => {to}"),
        TaskKind::BuildCopy { slot, .. } => format!("build {slot}"),
        TaskKind::CountCopy { slot } => format!("count {slot}"),
        TaskKind::DestroyCopy { slot, .. } => format!("destroy {slot}"),
        TaskKind::RetireStore { master } => format!("retire, demote {master}"),
        TaskKind::StopCopy { slot } => format!("stop {slot}"),
        TaskKind::StartCopy { slot } => format!("start {slot}"),
        TaskKind::StartMaster { slot } => format!("start master {slot}"),
        TaskKind::FenceReturned { slot } => format!("fence {slot}"),
        TaskKind::SettleLoss { case, slot, .. } => format!("settle {case} on {slot}"),
        TaskKind::HostState { host, to } => format!("{host} is {to}"),
    };
    match &task.store {
        Some(store) => format!("{store}  {what}"),
        None => what,
    }
}
