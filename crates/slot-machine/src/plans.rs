//! Recording, approving, starting and ending plans.
//!
//! What always holds: an approval names the digest of the recorded bytes, is given once by one person, and is verified and
//! consumed in the entry that starts the plan (S5, R6, R13–R15); a store belongs to one running plan at most, and only an
//! approved failover may take it from another (R13).

use crate::apply::{Stamp, audit, cluster};
use crate::command::{Answer, Refused};
use crate::guard;
use crate::hosts::bounded;
use crate::state::*;
use crate::{effects, ready, unwind};
use slot_types::cluster::FenceLevel;
use slot_types::codec;
use slot_types::evidence::Evidence;
use slot_types::ids::*;
use slot_types::order::Done;
use slot_types::plan::*;
use slot_types::position::ShortDigest;

/// The most tasks a plan may have.
pub const TASKS_MAX: usize = 20_000;
/// The most steps a task may have.
pub const STEPS_MAX: usize = 64;

pub(crate) fn record(state: &mut State, stamp: Stamp, bytes: &[u8]) -> Result<Answer, Refused> {
    let plan: Plan = codec::decode(bytes).map_err(|e| Refused::BadPlan(e.to_string()))?;
    let cluster = cluster(state)?;
    if plan.cluster != cluster.id || plan.generation != cluster.generation {
        return Err(Refused::BadPlan("it is for another cluster or generation".into()));
    }
    shape(&plan).map_err(Refused::BadPlan)?;
    facts_hold(state, &plan)?;
    let everyday = plan.intent.is_everyday();
    // S5: the number of people is computed here from what the plan says, never taken from the proposer alone.
    let people = if everyday { 0 } else { people_needed(&plan, &cluster.policy).max(plan.people) };
    let digest = Plan::digest_of(bytes);
    let id = state.last_plan.next();
    let tasks = plan.tasks.iter().map(new_run).collect();
    let record = PlanRecord {
        id,
        bytes: bytes.to_vec(),
        digest,
        status: PlanStatus::Proposed,
        approvals: Vec::new(),
        people,
        tasks,
        recorded: stamp.now,
        started: None,
        ended: None,
        ended_wall: None,
        plan,
    };
    if everyday {
        everyday_allowed(state, &record, stamp)?;
        may_start(state, &record)?;
    }
    let actor = record.plan.requested_by.as_ref().map_or("slotd".to_string(), ToString::to_string);
    let text = format!(
        "{id} recorded: {}, digest {digest}, needs {people}: {}",
        record.plan.intent,
        bounded(&record.plan.reason)
    );
    state.last_plan = id;
    state.plans.insert(id, record);
    forget_old_plans(state);
    audit(state, stamp, &actor, text);
    if everyday {
        start(state, stamp, id);
    }
    Ok(Answer::Plan { id, people_missing: people })
}

fn new_run(task: &Task) -> TaskRun {
    let step = StepRun { state: StepState::Waiting { attempt: 1 }, stuck: None };
    TaskRun { state: TaskState::Waiting, steps: vec![step; task.steps.len()], unwind: None }
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
        if task.steps.is_empty() || task.steps.len() > STEPS_MAX {
            return Err(format!("task {} has {} steps, allowed are 1 to {STEPS_MAX}", number + 1, task.steps.len()));
        }
        if task.after.iter().any(|dep| usize::from(*dep) >= number) {
            return Err(format!("task {} waits for a later one", number + 1));
        }
        let about_store = !matches!(task.kind, TaskKind::Fleet | TaskKind::HostState { .. });
        if about_store != task.store.is_some() {
            return Err(format!("task {} names a store where it may not, or none where it must", number + 1));
        }
        if task.steps.iter().any(|s| s.kind.is_internal() != s.at.is_none()) {
            return Err(format!("task {} has a step without its place", number + 1));
        }
        if matches!(task.kind, TaskKind::FailOver { .. }) && task.steps[0].kind != StepKind::CommitEpoch {
            return Err(format!("task {} fails over without committing an epoch first", number + 1));
        }
        if matches!(task.kind, TaskKind::Fleet) && !matches!(plan.intent, Intent::Apply(_)) {
            return Err(format!("task {} changes the fleet without a cluster file", number + 1));
        }
    }
    let mut stores = std::collections::BTreeSet::new();
    let changing = plan.tasks.iter().filter(|t| ready::target(&t.kind).is_some());
    for store in changing.filter_map(|t| t.store.as_ref()) {
        if !stores.insert(store) {
            return Err(format!("two tasks change the master of {store}"));
        }
    }
    Ok(())
}

/// R14: the versions of what it touches, not the revision of the whole cluster.
fn facts_hold(state: &State, plan: &Plan) -> Result<(), Refused> {
    let cluster = cluster(state)?;
    for (entity, then) in &plan.facts {
        let now = match entity {
            EntityRef::Host(host) => cluster.hosts.get(host).map_or(0, |h| h.version),
            EntityRef::Store(store) => cluster.stores.get(store).map_or(0, |s| s.version),
            EntityRef::LossCase(case) => cluster.loss_cases.get(case).map_or(0, |c| u64::from(c.state.is_open())),
            EntityRef::Fleet => state.fleet_version,
        };
        if now != *then {
            return Err(Refused::FactsChanged { entity: entity.to_string(), then: *then, now });
        }
    }
    // A plan must rest on everything it touches, or its approval could be used on a changed world.
    for store in plan.stores() {
        if !plan.facts.contains_key(&EntityRef::Store(store.clone())) {
            return Err(Refused::BadPlan(format!("it touches {store} without naming its version")));
        }
    }
    Ok(())
}

/// R25: everyday recovery is one task of its own kind, at a bounded rate.
fn everyday_allowed(state: &mut State, record: &PlanRecord, stamp: Stamp) -> Result<(), Refused> {
    let kind_fits = match (&record.plan.intent, record.plan.tasks.as_slice()) {
        (Intent::StartMaster { slot }, [Task { kind: TaskKind::StartMaster { slot: at }, .. }])
        | (Intent::Follow { slot }, [Task { kind: TaskKind::StartCopy { slot: at }, .. }])
        | (Intent::FenceReturned { slot }, [Task { kind: TaskKind::FenceReturned { slot: at }, .. }]) => slot == at,
        _ => false,
    };
    if !kind_fits {
        return Err(Refused::BadPlan("an everyday plan has one task, of the intent's own kind".into()));
    }
    let first = ready::At::new(state, record, 0, 0).ok_or_else(|| Refused::BadPlan("it has no first step".into()))?;
    // The plan is not running yet; everything else about its first step must hold now.
    let running = PlanRecord { status: PlanStatus::Running, ..record.clone() };
    let first = ready::At { record: &running, ..first };
    ready::ready(&first).map_err(Refused::Precondition)?;
    if matches!(record.plan.intent, Intent::StartMaster { .. }) {
        let per_minute = cluster(state)?.policy.everyday_per_minute;
        state.everyday.retain(|at| stamp.now.since(*at) < 60_000);
        if state.everyday.len() >= usize::from(per_minute) {
            return Err(Refused::EverydayRate { per_minute });
        }
        state.everyday.push(stamp.now);
    }
    Ok(())
}

fn forget_old_plans(state: &mut State) {
    let mut ended: Vec<PlanId> = state.plans.values().filter(|p| p.status.is_ended()).map(|p| p.id).collect();
    while ended.len() > ENDED_PLANS_MAX {
        state.plans.remove(&ended.remove(0));
    }
    // Proposals nobody answered in time go as well, so that they can't pile up.
    let now = state.log_time;
    let stale: Vec<PlanId> = state
        .plans
        .values()
        .filter(|p| p.status == PlanStatus::Proposed && now.since(p.recorded) > p.plan.valid_ms)
        .map(|p| p.id)
        .collect();
    for id in stale {
        if let Some(record) = state.plans.get_mut(&id) {
            record.status = PlanStatus::Void { why: "nobody approved it in time".into() };
            record.ended = Some(now);
            record.ended_wall = Some(state.wall);
        }
    }
}

pub(crate) fn approve(
    state: &mut State,
    stamp: Stamp,
    id: PlanId,
    digest: ShortDigest,
    by: &OperatorName,
    reason: &str,
    guards: &Evidence,
) -> Result<Answer, Refused> {
    let record = state.plans.get(&id).ok_or(Refused::UnknownPlan(id))?;
    if record.status != PlanStatus::Proposed {
        return Err(Refused::WrongStatus { plan: id, status: record.status.to_string() });
    }
    if record.digest.short() != digest {
        return Err(Refused::OtherDigest { plan: id, given: digest, digest: record.digest.short() });
    }
    if stamp.now.since(record.recorded) > record.plan.valid_ms {
        return Err(Refused::Expired(id));
    }
    if record.approvals.iter().any(|a| a.by == *by) {
        return Err(Refused::ApprovedAlready { plan: id, by: by.clone() });
    }
    // S5; protocol.md says "neither the requester alone": the safe reading is taken (docs/adr/0004).
    if record.people >= 2 && record.plan.requested_by.as_ref() == Some(by) {
        return Err(Refused::RequesterMayNotApprove { plan: id, by: by.clone(), people: record.people });
    }
    facts_hold(state, &record.plan)?;
    failover_guards(state, record, guards)?;
    let missing = usize::from(record.people).saturating_sub(record.approvals.len() + 1);
    if missing == 0 {
        may_start(state, record)?;
    }
    let text = format!(
        "approve {id}, digest {digest}, {} of {}: {}",
        record.approvals.len() + 1,
        record.people,
        bounded(reason)
    );
    audit(state, stamp, by.as_str(), text);
    if let Some(record) = state.plans.get_mut(&id) {
        record.approvals.push(Approval { by: by.clone(), at: stamp.now, wall: stamp.wall, reason: bounded(reason) });
    }
    if missing == 0 {
        start(state, stamp, id);
    }
    Ok(Answer::Plan { id, people_missing: u8::try_from(missing).unwrap_or(u8::MAX) })
}

/// R14, R8: what the sheet of a failover rests on still holds, at every yes.
fn failover_guards(state: &State, record: &PlanRecord, guards: &Evidence) -> Result<(), Refused> {
    let cluster = cluster(state)?;
    for task in &record.plan.tasks {
        let TaskKind::FailOver { fence, waived, .. } = &task.kind else { continue };
        if *fence == FenceLevel::None && !cluster.policy.allow_unfenced {
            return Err(Refused::Precondition(
                "policy does not allow to promote past a master that nothing fences".into(),
            ));
        }
        for slot in waived {
            guard::still_silent(cluster, slot, guards).map_err(Refused::Guard)?;
            if *fence == FenceLevel::Attested {
                ready::attested(cluster, &slot.host, state.log_time).map_err(Refused::Guard)?;
            }
        }
    }
    Ok(())
}

/// R13: claims do not collide, but an approved failover takes a store from a running plan.
fn may_start(state: &State, record: &PlanRecord) -> Result<(), Refused> {
    for task in &record.plan.tasks {
        let takes_over = matches!(task.kind, TaskKind::FailOver { .. });
        if let Some(store) = &task.store
            && let Some(plan) = state.store_claims.get(store).filter(|_| !takes_over)
        {
            return Err(Refused::Claimed { entity: store.to_string(), plan: *plan });
        }
        match &task.kind {
            TaskKind::HostState { host, .. } => {
                if let Some(plan) = state.host_claims.get(host) {
                    return Err(Refused::Claimed { entity: host.to_string(), plan: *plan });
                }
            }
            TaskKind::CreateStore { copies, .. } => {
                for slot in copies.keys() {
                    if let Some(plan) = state.slot_claims.get(slot) {
                        return Err(Refused::Claimed { entity: slot.to_string(), plan: *plan });
                    }
                }
            }
            TaskKind::FailOver { from, to, .. } => failover_fits(state, task, from, to)?,
            _ => {}
        }
    }
    Ok(())
}

fn failover_fits(state: &State, task: &Task, from: &SlotId, to: &SlotId) -> Result<(), Refused> {
    let cluster = cluster(state)?;
    let store = task.store.as_ref().and_then(|s| cluster.stores.get(s));
    let store = store.ok_or_else(|| Refused::Precondition("the store does not exist".into()))?;
    if store.epoch != task.epoch {
        return Err(Refused::Precondition(format!(
            "the epoch is {}, the plan was made at {}",
            store.epoch, task.epoch
        )));
    }
    let holds = store.master.iter().chain(store.pending.iter()).any(|slot| slot == from);
    if !holds || from == to {
        return Err(Refused::Precondition(format!("{from} is not the master, or is to be master itself")));
    }
    match store.copies.get(to) {
        Some(copy)
            if !matches!(
                copy.state,
                slot_types::cluster::CopyState::Quarantined | slot_types::cluster::CopyState::Retired
            ) =>
        {
            Ok(())
        }
        Some(copy) => Err(Refused::Precondition(format!("the copy on {to} is {:?}", copy.state))),
        None => Err(Refused::Precondition(format!("{to} holds no copy of it"))),
    }
}

/// The approval is consumed here; for failovers the same entry allocates the epochs (R6).
fn start(state: &mut State, stamp: Stamp, id: PlanId) {
    let Some(record) = state.plans.get(&id) else { return };
    let plan = record.plan.clone();
    audit(state, stamp, "slotd", format!("{id} starts; its approval is consumed"));
    for task in &plan.tasks {
        if let (TaskKind::FailOver { .. }, Some(store)) = (&task.kind, &task.store)
            && let Some(other) = state.store_claims.get(store).copied()
        {
            supersede(state, stamp, other, store, id);
        }
    }
    for task in &plan.tasks {
        if let Some(store) = &task.store {
            state.store_claims.insert(store.clone(), id);
        }
        match &task.kind {
            TaskKind::HostState { host, .. } => {
                state.host_claims.insert(host.clone(), id);
            }
            TaskKind::CreateStore { copies, .. } => {
                state.slot_claims.extend(copies.keys().map(|slot| (slot.clone(), id)));
            }
            _ => {}
        }
    }
    let mut events = Vec::new();
    if let (Some(cluster), Some(record)) = (state.cluster.as_mut(), state.plans.get_mut(&id)) {
        record.status = PlanStatus::Running;
        record.started = Some(stamp.now);
        for (task, run) in plan.tasks.iter().zip(&mut record.tasks) {
            let (TaskKind::FailOver { to, fence, .. }, Some(name)) = (&task.kind, &task.store) else { continue };
            let Some(store) = cluster.stores.get_mut(name) else { continue };
            effects::commit_epoch(store, cluster.generation, to, *fence == FenceLevel::Demoted);
            run.state = TaskState::Running;
            run.steps[0].state = StepState::Done { attempt: 1, index: stamp.index, done: Done::Plain };
            events.push(format!("{id}: epoch {} of {name} is for {to}", store.epoch));
        }
    }
    for event in events {
        audit(state, stamp, "slotd", event);
    }
    settle(state, stamp, id);
}

/// R13, R4: the tasks of a running plan that hold this store end; their orders lose to higher log indexes.
fn supersede(state: &mut State, stamp: Stamp, other: PlanId, store: &StoreName, by: PlanId) {
    if let Some(record) = state.plans.get_mut(&other) {
        for (task, run) in record.plan.tasks.iter().zip(&mut record.tasks) {
            if task.store.as_ref() == Some(store) && !run.state.is_ended() {
                run.state = TaskState::Superseded { by };
                run.unwind = None;
            }
        }
    }
    state.store_claims.remove(store);
    audit(state, stamp, "slotd", format!("{by} takes {store} from {other}"));
    settle(state, stamp, other);
}

pub(crate) fn reject(
    state: &mut State,
    stamp: Stamp,
    id: PlanId,
    by: &OperatorName,
    reason: &str,
) -> Result<Answer, Refused> {
    let record = state.plans.get_mut(&id).ok_or(Refused::UnknownPlan(id))?;
    if record.status != PlanStatus::Proposed {
        return Err(Refused::WrongStatus { plan: id, status: record.status.to_string() });
    }
    record.status = PlanStatus::Rejected { by: by.clone(), reason: bounded(reason) };
    record.ended = Some(stamp.now);
    record.ended_wall = Some(stamp.wall);
    audit(state, stamp, by.as_str(), format!("reject {id}: {}", bounded(reason)));
    Ok(Answer::Plan { id, people_missing: 0 })
}

pub(crate) fn abort(
    state: &mut State,
    stamp: Stamp,
    id: PlanId,
    by: &OperatorName,
    reason: &str,
) -> Result<Answer, Refused> {
    let record = state.plans.get_mut(&id).ok_or(Refused::UnknownPlan(id))?;
    match record.status {
        PlanStatus::Proposed => return reject(state, stamp, id, by, reason),
        PlanStatus::Running => {}
        _ => return Err(Refused::WrongStatus { plan: id, status: record.status.to_string() }),
    }
    record.status = PlanStatus::Aborting { by: by.clone(), reason: bounded(reason) };
    audit(state, stamp, by.as_str(), format!("abort {id}: {}", bounded(reason)));
    if let (Some(cluster), Some(record)) = (state.cluster.as_mut(), state.plans.get_mut(&id)) {
        for (task, run) in record.plan.tasks.iter().zip(&mut record.tasks) {
            unwind::abort_task(cluster, task, run, stamp, &format!("aborted by {by}"));
        }
    }
    settle(state, stamp, id);
    Ok(Answer::Plan { id, people_missing: 0 })
}

/// Ends what can't go on any more, releases claims, and ends the plan when every task has ended.
pub(crate) fn settle(state: &mut State, stamp: Stamp, id: PlanId) {
    let Some(record) = state.plans.get_mut(&id) else { return };
    if record.status.is_ended() || record.status == PlanStatus::Proposed {
        return;
    }
    for number in 0..record.tasks.len() {
        if record.tasks[number].state != TaskState::Waiting {
            continue;
        }
        let lost = record.plan.tasks[number].after.iter().find(|dep| {
            let dep = &record.tasks[usize::from(**dep)].state;
            dep.is_ended() && *dep != TaskState::Done
        });
        if let Some(dep) = lost {
            record.tasks[number].state = TaskState::NotDone { why: format!("task {} before it was not done", dep + 1) };
        }
    }
    let open: std::collections::BTreeSet<&StoreName> = record
        .plan
        .tasks
        .iter()
        .zip(&record.tasks)
        .filter(|(_, run)| !run.state.is_ended())
        .filter_map(|(task, _)| task.store.as_ref())
        .collect();
    state.store_claims.retain(|store, plan| *plan != id || open.contains(store));
    if record.tasks.iter().any(|run| !run.state.is_ended()) {
        return;
    }
    state.host_claims.retain(|_, plan| *plan != id);
    state.slot_claims.retain(|_, plan| *plan != id);
    let all_done = record.tasks.iter().all(|run| run.state == TaskState::Done);
    record.status = match (&record.status, all_done) {
        (_, true) => PlanStatus::Done,
        (PlanStatus::Aborting { by, reason }, false) => PlanStatus::Aborted { by: by.clone(), reason: reason.clone() },
        (_, false) => PlanStatus::Stopped,
    };
    record.ended = Some(stamp.now);
    record.ended_wall = Some(stamp.wall);
    let text = format!("{id} ended: {}", record.status);
    audit(state, stamp, "slotd", text);
}
