//! What a plan's bytes must look like before anything of it is recorded.
//!
//! What always holds: a recorded plan is canonical (R15) and rests on everything it touches (R14, S5); every step is of its
//! task's kind and at a place the task names, so an everyday plan does nothing but what R25 and R8 allow; tasks about one
//! store wait for one another, so that no two of them have orders at its copies at once.

use crate::apply::cluster;
use crate::command::Refused;
use crate::ready::target;
use crate::state::State;
use slot_planted::planted;
use slot_types::cluster::Policy;
use slot_types::codec;
use slot_types::ids::*;
use slot_types::plan::*;
use std::collections::BTreeMap;

/// The most tasks a plan may have.
pub const TASKS_MAX: usize = 20_000;
/// The most steps a task may have.
pub const STEPS_MAX: usize = 64;

/// The plan that canonical bytes hold.
pub(crate) fn decode(bytes: &[u8]) -> Result<Plan, Refused> {
    let plan: Plan = codec::decode(bytes).map_err(|e| Refused::BadPlan(e.to_string()))?;
    // R15: one plan has one encoding, so one meaning has one digest.
    if plan.bytes() != bytes {
        return Err(Refused::BadPlan("its bytes are not in canonical order".into()));
    }
    shape(&plan).map_err(Refused::BadPlan)?;
    Ok(plan)
}

/// S5: how many people must approve, from what the plan says and from policy as it is now; the proposer may only ask for
/// more.
/// R23: so many hosts are `silent` now.
pub(crate) fn people(plan: &Plan, policy: &Policy, silent: u16) -> u8 {
    if plan.intent.is_everyday() {
        return 0;
    }
    let unplanned = match plan.failovers().next() {
        Some(_) if policy.brakes(silent) => policy.failover_people.max(2),
        Some(_) => policy.failover_people,
        None => 0,
    };
    people_needed(plan, policy).max(plan.people).max(unplanned)
}

/// What no honest planner makes, and what nothing later looks at again.
fn shape(plan: &Plan) -> Result<(), String> {
    if plan.tasks.is_empty() || plan.tasks.len() > TASKS_MAX {
        return Err(format!("it has {} tasks, allowed are 1 to {TASKS_MAX}", plan.tasks.len()));
    }
    if plan.intent.is_everyday() != plan.requested_by.is_none() {
        return Err("everyday plans, and only they, are asked for by nobody".into());
    }
    for (number, task) in plan.tasks.iter().enumerate() {
        task_shape(plan, number, task).map_err(|why| format!("task {} {why}", number + 1))?;
    }
    stores_in_order(plan)
}

/// R23: many silent hosts at once look like our own partition; only who said to know that goes past a master then. What is
/// `silent` now counts as well as what was when the plan was made: it may have waited for its approval since (R14).
pub(crate) fn brake(plan: &Plan, policy: &Policy, silent: u16) -> Result<(), Refused> {
    let (silent, allowed) = (plan.silent_hosts.max(silent), policy.brake_silent_hosts);
    match plan.failovers().next().is_some() && policy.brakes(silent) && !plan.said.mass {
        true => Err(Refused::Brake { silent, allowed }),
        false => Ok(()),
    }
}

fn task_shape(plan: &Plan, number: usize, task: &Task) -> Result<(), String> {
    if task.steps.is_empty() || task.steps.len() > STEPS_MAX {
        return Err(format!("has {} steps, allowed are 1 to {STEPS_MAX}", task.steps.len()));
    }
    if task.after.iter().any(|dep| usize::from(*dep) >= number) {
        return Err("waits for a later one".into());
    }
    let about_store = !matches!(task.kind, TaskKind::Fleet | TaskKind::HostState { .. });
    if about_store != task.store.is_some() {
        return Err("names a store where it may not, or none where it must".into());
    }
    let fits = |step: &Step| fits(&task.kind, step) && crate::fence::fits(plan, task, step);
    if let Some(step) = task.steps.iter().position(|step| !fits(step)) {
        return Err(format!("has {:?} as step {}, which is not of its kind or not at its place", task.kind, step + 1));
    }
    match &task.kind {
        TaskKind::FailOver { .. } if task.steps[0].kind != StepKind::CommitEpoch => {
            Err("fails over without committing an epoch first".into())
        }
        TaskKind::Fleet if !matches!(plan.intent, Intent::Apply(_)) => {
            Err("changes the fleet without a cluster file".into())
        }
        TaskKind::RetireStore { .. } if !retires(plan, task) => {
            Err("retires a store that nobody asked to retire, or demotes its master first".into())
        }
        TaskKind::CreateStore { copies, master, .. } if !copies.contains_key(master) || task.epoch.n != 0 => {
            Err("makes a store without its master's copy, or one that has an epoch already".into())
        }
        _ => Ok(()),
    }
}

/// Whether it is the very store of the intent, given up first and demoted then.
fn retires(plan: &Plan, task: &Task) -> bool {
    let asked = matches!(&plan.intent, Intent::RetireStore(store) if task.store.as_ref() == Some(store));
    let kinds: Vec<StepKind> = task.steps.iter().map(|step| step.kind).collect();
    asked && kinds == [StepKind::RetireStore, StepKind::Demote]
}

/// Whether a step belongs to a task of this kind, at this place.
fn fits(kind: &TaskKind, step: &Step) -> bool {
    let slot = match &step.at {
        Some(Place::Slot(slot)) => Some(slot),
        _ => None,
    };
    let at = |wanted: &SlotId| slot == Some(wanted);
    match step.kind {
        k if k.is_internal() && step.at.is_some() => false,
        StepKind::Canary => matches!(step.at, Some(Place::Host(_))) && target(kind).is_some(),
        StepKind::CommitEpoch | StepKind::Repoint | StepKind::RouteServed => target(kind).is_some(),
        StepKind::Promote => target(kind).is_some_and(at),
        StepKind::Provision => {
            matches!(kind, TaskKind::CreateStore { copies, .. } if slot.is_some_and(|s| copies.contains_key(s)))
                || matches!(kind, TaskKind::BuildCopy { slot, .. } if at(slot))
        }
        StepKind::Count => matches!(kind, TaskKind::BuildCopy { .. } | TaskKind::CountCopy { .. }),
        StepKind::Destroy => matches!(kind, TaskKind::DestroyCopy { slot, .. } if at(slot)),
        StepKind::Freeze => matches!(kind, TaskKind::HandOver { from, .. } if at(from)),
        StepKind::CatchUp => matches!(kind, TaskKind::HandOver { to, .. } if at(to)),
        StepKind::Demote => match kind {
            TaskKind::HandOver { from, .. } => at(from),
            TaskKind::FailOver { to, .. } => slot.is_some_and(|slot| slot != to),
            TaskKind::RetireStore { master } => at(master),
            // A copy is woken while its store has no master.
            TaskKind::FenceReturned { slot } | TaskKind::StartCopy { slot } => at(slot),
            _ => false,
        },
        StepKind::Raise => match kind {
            TaskKind::FailOver { .. } => slot.is_some(),
            TaskKind::StartCopy { slot } => at(slot),
            _ => false,
        },
        StepKind::Feed => matches!(kind, TaskKind::FailOver { to, feed: Some(_), .. } if at(to)),
        StepKind::Follow => match kind {
            TaskKind::StartCopy { slot } | TaskKind::SettleLoss { slot, .. } | TaskKind::BuildCopy { slot, .. } => {
                at(slot)
            }
            _ => target(kind).is_some_and(|to| slot.is_some_and(|slot| slot != to)),
        },
        StepKind::StartMaster => matches!(kind, TaskKind::StartMaster { slot } if at(slot)),
        StepKind::Stop => matches!(kind, TaskKind::StopCopy { slot } if at(slot)),
        StepKind::ListStranded => matches!(kind, TaskKind::FenceReturned { slot } if at(slot)),
        StepKind::Reinject => matches!(kind, TaskKind::SettleLoss { slot, .. } if at(slot)),
        StepKind::CloseLossCase => matches!(kind, TaskKind::SettleLoss { .. }),
        StepKind::ConfirmStopped => {
            matches!((kind, &step.at), (TaskKind::HostState { host, .. }, Some(Place::Host(at))) if host == at)
        }
        StepKind::DeclareHost => matches!(kind, TaskKind::HostState { .. }),
        StepKind::ChangeFleet => matches!(kind, TaskKind::Fleet),
        StepKind::RetireStore => matches!(kind, TaskKind::RetireStore { .. }),
        StepKind::FenceHost => matches!(kind, TaskKind::FailOver { .. }),
    }
}

/// A store is touched by one task after the other, and its master changes once.
fn stores_in_order(plan: &Plan) -> Result<(), String> {
    let mut last: BTreeMap<&StoreName, usize> = BTreeMap::new();
    let mut changed: BTreeMap<&StoreName, usize> = BTreeMap::new();
    for (number, task) in plan.tasks.iter().enumerate() {
        let Some(store) = &task.store else { continue };
        if let Some(before) = last.insert(store, number)
            && !task.after.iter().any(|dep| usize::from(*dep) == before)
        {
            return Err(format!(
                "tasks {} and {} are about {store}; one must wait for the other",
                before + 1,
                number + 1
            ));
        }
        if target(&task.kind).is_some() && changed.insert(store, number).is_some() {
            return Err(format!("two tasks change the master of {store}"));
        }
    }
    Ok(())
}

/// R14: the versions of what it touches, not the revision of the whole cluster.
pub(crate) fn facts_hold(state: &State, plan: &Plan) -> Result<(), Refused> {
    let cluster = cluster(state)?;
    for (entity, then) in &plan.facts {
        let now = match entity {
            EntityRef::Host(host) => cluster.hosts.get(host).map_or(0, |h| h.version),
            EntityRef::Store(store) => cluster.stores.get(store).map_or(0, |s| s.version),
            EntityRef::LossCase(case) => cluster.loss_cases.get(case).map_or(0, |c| u64::from(c.state.is_open())),
            EntityRef::Fleet => state.fleet_version,
        };
        if now != *then && !planted("r14-stale-plan-executed-late") {
            return Err(Refused::FactsChanged { entity: entity.to_string(), then: *then, now });
        }
    }
    // S5: a plan must rest on everything it touches, or its approval could be used on a changed world.
    let stores = plan.stores().into_iter().cloned().map(EntityRef::Store);
    let hosts = plan.hosts().into_iter().cloned().map(EntityRef::Host);
    let fleet = plan.tasks.iter().any(|t| t.kind == TaskKind::Fleet).then_some(EntityRef::Fleet);
    match stores.chain(hosts).chain(fleet).find(|entity| !plan.facts.contains_key(entity)) {
        Some(entity) => Err(Refused::BadPlan(format!("it touches {entity} without naming its version"))),
        None => Ok(()),
    }
}
