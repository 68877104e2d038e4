//! Recording, approving, starting and ending plans.
//!
//! What always holds: an approval names the digest of the recorded bytes, is given once by one person, and is verified and
//! consumed in the entry that starts the plan (S5, R6, R13–R15); a store belongs to one running plan at most, and only an
//! approved failover may take it from another (R13).

use crate::apply::{Stamp, audit, cluster};
use crate::command::{Answer, Refused};
use crate::fence;
use crate::guard;
use crate::hosts::bounded;
use crate::state::*;
use crate::{effects, holds, pause, ready, shape, undo, unwind};
use slot_planted::planted;
use slot_types::cluster::{CopyState, FenceLevel};
use slot_types::evidence::Evidence;
use slot_types::ids::*;
use slot_types::order::Done;
use slot_types::plan::*;
use slot_types::position::ShortDigest;

pub use crate::shape::{STEPS_MAX, TASKS_MAX};

pub(crate) fn record(state: &mut State, stamp: Stamp, bytes: &[u8]) -> Result<Answer, Refused> {
    let plan = shape::decode(bytes)?;
    let cluster = cluster(state)?;
    if plan.cluster != cluster.id || plan.generation != cluster.generation {
        return Err(Refused::BadPlan("it is for another cluster or generation".into()));
    }
    shape::facts_hold(state, &plan)?;
    if let Intent::Undo(wanted) = &plan.intent
        && undo::reverse(state, wanted.plan)? != **wanted
    {
        return Err(Refused::BadPlan(format!("it is not the reverse of what {} has done", wanted.plan)));
    }
    let everyday = plan.intent.is_everyday();
    let people = shape::people(&plan, &cluster.policy, 0);
    shape::brake(&plan, &cluster.policy, 0)?;
    if !everyday {
        room_to_wait(state)?;
    }
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
        may_start(state, &record)?;
        everyday_allowed(state, &record, stamp)?;
    }
    let unasked = planted("r18-undo-with-old-approval") && undo::of(&record).is_some();
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
    if everyday || unasked {
        start(state, stamp, id);
    }
    Ok(Answer::Plan { id, people_missing: people })
}

fn new_run(task: &Task) -> TaskRun {
    let step = StepRun { state: StepState::Waiting { attempt: 1 }, stuck: None };
    TaskRun { state: TaskState::Waiting, steps: vec![step; task.steps.len()], unwind: None, serve: None }
}

/// R25: everyday recovery is one task of its own kind, at a bounded rate.
fn everyday_allowed(state: &mut State, record: &PlanRecord, stamp: Stamp) -> Result<(), Refused> {
    let kind_fits = match (&record.plan.intent, record.plan.tasks.as_slice()) {
        (Intent::StartMaster { slot }, [Task { kind: TaskKind::StartMaster { slot: at }, .. }])
        | (Intent::Follow { slot }, [Task { kind: TaskKind::StartCopy { slot: at }, .. }])
        | (Intent::FenceReturned { slot }, [Task { kind: TaskKind::FenceReturned { slot: at }, .. }])
        | (Intent::CountCopy { slot }, [Task { kind: TaskKind::CountCopy { slot: at }, .. }]) => slot == at,
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

/// An approval waits no longer than the plan says, and no longer than policy says, whatever the plan says (S5).
fn is_stale(state: &State, record: &PlanRecord) -> bool {
    let policy_ms = state.cluster.as_ref().map_or(0, |c| c.policy.plan_valid_ms);
    state.log_time.since(record.recorded) > record.plan.valid_ms.min(policy_ms)
}

/// Plans that wait for people are bounded in number, as everything that clients can grow.
fn room_to_wait(state: &State) -> Result<(), Refused> {
    let waiting = state.plans.values().filter(|p| p.status == PlanStatus::Proposed && !is_stale(state, p)).count();
    if waiting >= PROPOSED_PLANS_MAX {
        return Err(Refused::Precondition(format!(
            "{waiting} plans wait for approval already; reject some: slotctl plan list"
        )));
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
    let stale: Vec<PlanId> =
        state.plans.values().filter(|p| p.status == PlanStatus::Proposed && is_stale(state, p)).map(|p| p.id).collect();
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
    let revived = planted("s5-rejected-plan-approved") && matches!(record.status, PlanStatus::Rejected { .. });
    if record.status != PlanStatus::Proposed && !revived {
        return Err(Refused::WrongStatus { plan: id, status: record.status.to_string() });
    }
    if record.digest.short() != digest && !planted("s5-other-digest-approved") {
        return Err(Refused::OtherDigest { plan: id, given: digest, digest: record.digest.short() });
    }
    if is_stale(state, record) && !planted("s5-expired-approval-accepted") {
        return Err(Refused::Expired(id));
    }
    if record.approvals.iter().any(|a| a.by == *by) && !planted("s5-same-person-twice") {
        return Err(Refused::ApprovedAlready { plan: id, by: by.clone() });
    }
    // S5: as many as policy asks for now; it may have become stricter since the plan was recorded.
    let silent = guard::silent_hosts(cluster(state)?, guards);
    let people = record.people.max(shape::people(&record.plan, &cluster(state)?.policy, silent));
    // protocol.md says "neither the requester alone": the safe reading is taken (docs/adr/0004).
    let is_requester = |who: &OperatorName| record.plan.requested_by.as_ref() == Some(who);
    if people >= 2 && is_requester(by) {
        return Err(Refused::RequesterMayNotApprove { plan: id, by: by.clone(), people });
    }
    shape::facts_hold(state, &record.plan)?;
    shape::brake(&record.plan, &cluster(state)?.policy, silent)?;
    failover_guards(state, record, guards)?;
    let given = record.approvals.iter().filter(|a| people < 2 || !is_requester(&a.by)).count() + 1;
    let missing = usize::from(people).saturating_sub(given);
    if missing == 0 {
        may_start(state, record)?;
    }
    let text = format!("approve {id}, digest {digest}, {given} of {people}: {}", bounded(reason));
    audit(state, stamp, by.as_str(), text);
    if let Some(record) = state.plans.get_mut(&id) {
        record.people = people;
        record.approvals.push(Approval { by: by.clone(), at: stamp.now, wall: stamp.wall, reason: bounded(reason) });
    }
    if missing == 0 {
        start(state, stamp, id);
    } else if planted("r6-epoch-before-last-yes") {
        allocate_epochs(state, id);
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
            guard::still_silent(cluster, &slot.host, guards).map_err(Refused::Guard)?;
            if record.plan.switch_off.contains_key(&slot.host) || *fence == FenceLevel::Device {
                crate::fence::approvable(cluster, &record.plan, &slot.host).map_err(Refused::Guard)?;
            } else if *fence == FenceLevel::Attested {
                fence::attested(cluster, &slot.host, state.log_time).map_err(Refused::Guard)?;
            }
        }
    }
    Ok(())
}

/// R25, R8: whether everyday recovery may act on a store although a running plan holds it: one that builds or destroys a copy of
/// it, which may take hours, and does nothing else there yet. It neither starts the store's master nor fences one that is back. `slot` is where recovery
/// would send its order: orders of two plans at one slot would end each other (R4).
pub fn yields_to_everyday(state: &State, store: &StoreName, slot: &SlotId) -> bool {
    let Some(record) = state.store_claims.get(store).and_then(|plan| state.plans.get(plan)) else { return true };
    // What a plan does not do here, because it is paused or because it gave it up for now, may take as long as a person takes.
    let still = |(task, run): (&Task, &TaskRun)| {
        task.store.as_ref() != Some(store)
            || run.state.is_ended()
            || run.state == TaskState::Waiting && pause::keeps_still(record, task, run)
    };
    if record.plan.tasks.iter().zip(&record.tasks).all(still) {
        return in_hand(state, store, record.id).is_empty();
    }
    // One at a time: what recovers it already is left to end.
    if !in_hand(state, store, record.id).is_empty() {
        return false;
    }
    let tasks = record
        .plan
        .tasks
        .iter()
        .zip(&record.tasks)
        .filter(|(task, run)| task.store.as_ref() == Some(store) && !run.state.is_ended());
    let yields = |(task, run): (&Task, &TaskRun)| match &task.kind {
        TaskKind::BuildCopy { slot: at, .. } | TaskKind::DestroyCopy { slot: at, .. } => at != slot,
        _ => run.state == TaskState::Waiting,
    };
    let builds =
        |(task, _): &(&Task, &TaskRun)| matches!(task.kind, TaskKind::BuildCopy { .. } | TaskKind::DestroyCopy { .. });
    tasks.clone().any(|it| builds(&it)) && tasks.into_iter().all(yields)
}

/// The slot that an everyday task sends its order to.
fn everyday_slot(task: &Task) -> Option<&SlotId> {
    match &task.kind {
        TaskKind::StartMaster { slot } | TaskKind::StartCopy { slot } | TaskKind::FenceReturned { slot } => Some(slot),
        _ => None,
    }
}

/// No person's hold is in its way. R13: claims do not collide, but an approved failover takes a store from a running plan.
fn may_start(state: &State, record: &PlanRecord) -> Result<(), Refused> {
    holds::let_start(state, record)?;
    undo::still_fits(state, record)?;
    for task in &record.plan.tasks {
        let recovers = record.plan.intent.is_everyday()
            && task.store.as_ref().zip(everyday_slot(task)).is_some_and(|(s, at)| yields_to_everyday(state, s, at));
        let takes_over = matches!(task.kind, TaskKind::FailOver { .. }) || recovers;
        if let Some(store) = &task.store
            && let Some(plan) =
                state.store_claims.get(store).filter(|_| !takes_over && !planted("r13-store-claim-not-checked"))
            && undo::in_the_way(record, *plan)
        {
            return Err(Refused::Claimed { entity: store.to_string(), plan: *plan });
        }
        match &task.kind {
            TaskKind::HostState { host, .. } => {
                if let Some(plan) = state.host_claims.get(host).filter(|plan| undo::in_the_way(record, **plan)) {
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
            TaskKind::BuildCopy { slot, .. } => {
                if let Some(plan) = state.slot_claims.get(slot) {
                    return Err(Refused::Claimed { entity: slot.to_string(), plan: *plan });
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
    let refused = |why: String| Err(Refused::Precondition(why));
    if store.epoch != task.epoch {
        return refused(format!("the epoch is {}, the plan was made at {}", store.epoch, task.epoch));
    }
    if store.retired {
        return refused("a person has retired the store".into());
    }
    // While an epoch is allocated and not filled, the former master's place may be taken over too.
    let holds = store.master.iter().chain(&store.pending).any(|slot| slot == from)
        || (store.master.is_none() && store.possible_masters.contains_key(from));
    // L1: where there is no master, the slot that was to be one is raised and promoted itself, at a new epoch.
    if !holds || (from == to && store.master.is_some()) {
        return refused(format!("{from} is not the master, or is to be master itself"));
    }
    match store.copies.get(to).map(|copy| (copy.state, copy.whole)) {
        Some((CopyState::Retired, _)) | None => {
            return refused(format!("{to} holds no copy of it that may become master"));
        }
        // R16: whatever its engine says, it never was seen to hold everything.
        Some((_, false)) => {
            return refused(format!("{to} never held all of it and can't become master"));
        }
        // L1: a former master that waits for its loss case is a whole copy; it may be the last one (R7 is in the sheet).
        Some(_) => ready::in_service(cluster, &to.host).map_err(Refused::Precondition)?,
    }
    // S7: what could never be promoted must not use up the approval and take the store's master away.
    let TaskKind::FailOver { waived, fence, .. } = &task.kind else { return Ok(()) };
    let demoted = |slot: &SlotId| {
        let at = Place::Slot(slot.clone());
        task.steps.iter().any(|s| s.kind == StepKind::Demote && s.at.as_ref() == Some(&at))
    };
    let half_made = store.pending.iter().filter(|_| store.promote_started);
    let possible = store.possible_masters.keys().chain(&store.master).chain(half_made);
    for slot in possible.filter(|slot| *slot != to) {
        let waived = waived.contains(slot) && *fence != FenceLevel::Demoted;
        if !waived && !demoted(slot) {
            return refused(format!("S7: {slot} may be master and is neither demoted by this plan nor waived by name"));
        }
    }
    Ok(())
}

/// The approval is consumed here; for failovers the same entry allocates the epochs (R6).
fn start(state: &mut State, stamp: Stamp, id: PlanId) {
    let Some(record) = state.plans.get(&id) else { return };
    let plan = record.plan.clone();
    audit(state, stamp, "slotd", format!("{id} starts; its approval is consumed"));
    undo::ends_the_other(state, stamp, id);
    for task in &plan.tasks {
        let (TaskKind::FailOver { .. }, Some(store)) = (&task.kind, &task.store) else { continue };
        for other in in_hand(state, store, id) {
            supersede(state, stamp, other, store, id);
        }
    }
    for task in &plan.tasks {
        if let Some(store) = &task.store {
            // Everyday recovery beside a build leaves the claim where it is.
            state.store_claims.entry(store.clone()).or_insert(id);
        }
        match &task.kind {
            TaskKind::HostState { host, .. } => {
                state.host_claims.insert(host.clone(), id);
            }
            TaskKind::CreateStore { copies, .. } => {
                state.slot_claims.extend(copies.keys().map(|slot| (slot.clone(), id)));
            }
            TaskKind::BuildCopy { slot, .. } => {
                state.slot_claims.insert(slot.clone(), id);
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

/// The running plans that have a store in hand, but for one of them: the one that claims it, and everyday recovery beside it.
pub(crate) fn in_hand(state: &State, store: &StoreName, but: PlanId) -> Vec<PlanId> {
    let holds = |record: &&PlanRecord| {
        let mut tasks = record.plan.tasks.iter().zip(&record.tasks);
        record.id != but && tasks.any(|(task, run)| task.store.as_ref() == Some(store) && !pause::lets_go(record, run))
    };
    state.running().filter(holds).map(|record| record.id).collect()
}

/// What the planted bug `r6-epoch-before-last-yes` does while the approval still lacks people.
fn allocate_epochs(state: &mut State, id: PlanId) {
    let (Some(cluster), Some(record)) = (state.cluster.as_mut(), state.plans.get(&id)) else { return };
    for task in &record.plan.tasks {
        let (TaskKind::FailOver { to, fence, .. }, Some(name)) = (&task.kind, &task.store) else { continue };
        let Some(store) = cluster.stores.get_mut(name) else { continue };
        effects::commit_epoch(store, cluster.generation, to, *fence == FenceLevel::Demoted);
    }
}

/// R13, R4: the tasks of a running plan that hold this store end; their orders lose to higher log indexes.
fn supersede(state: &mut State, stamp: Stamp, other: PlanId, store: &StoreName, by: PlanId) {
    if let Some(record) = state.plans.get_mut(&other) {
        let waits = pause::waits_for_resume(record);
        for (task, run) in record.plan.tasks.iter().zip(&mut record.tasks) {
            let starts = matches!(task.kind, TaskKind::StartMaster { .. }) && planted("r25-start-master-after-commit");
            if starts || planted("r13-superseded-plan-goes-on") {
                continue;
            }
            let given_up = !waits && matches!(run.state, TaskState::NotDone { .. });
            let over = run.state.is_ended() && !matches!(run.state, TaskState::NotDone { .. });
            if task.store.as_ref() == Some(store) && !over && !given_up {
                run.state = TaskState::Superseded { by };
                run.unwind = None;
            }
        }
    }
    state.store_claims.remove(store);
    audit(state, stamp, "slotd", format!("{by} takes {store} from {other}"));
    settle(state, stamp, other);
}

/// A plan that a person wants something of, if it stands where that fits.
pub(crate) fn standing(
    state: &mut State,
    id: PlanId,
    fits: impl Fn(&PlanStatus) -> bool,
) -> Result<&mut PlanRecord, Refused> {
    let record = state.plans.get_mut(&id).ok_or(Refused::UnknownPlan(id))?;
    if fits(&record.status) {
        return Ok(record);
    }
    Err(Refused::WrongStatus { plan: id, status: record.status.to_string() })
}

pub(crate) fn reject(
    state: &mut State,
    stamp: Stamp,
    id: PlanId,
    by: &OperatorName,
    reason: &str,
) -> Result<Answer, Refused> {
    let record = standing(state, id, |status| *status == PlanStatus::Proposed)?;
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
    let may_end =
        |status: &PlanStatus| matches!(status, PlanStatus::Proposed | PlanStatus::Running | PlanStatus::Paused { .. });
    let record = standing(state, id, may_end)?;
    if record.status == PlanStatus::Proposed {
        return reject(state, stamp, id, by, reason);
    }
    record.status = PlanStatus::Aborting { by: by.clone(), reason: bounded(reason) };
    let tasks = u16::try_from(record.tasks.len()).unwrap_or(u16::MAX);
    audit(state, stamp, by.as_str(), format!("abort {id}: {}", bounded(reason)));
    let held: Vec<bool> = (0..tasks).map(|task| ready::holds_back(state, id, task)).collect();
    if let (Some(cluster), Some(record)) = (state.cluster.as_mut(), state.plans.get_mut(&id)) {
        for ((task, run), held) in record.plan.tasks.iter().zip(&mut record.tasks).zip(held) {
            unwind::abort_task(cluster, task, run, stamp, held, &format!("aborted by {by}"));
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
    let open: std::collections::BTreeSet<StoreName> = record
        .plan
        .tasks
        .iter()
        .zip(&record.tasks)
        .filter(|(_, run)| !pause::lets_go(record, run))
        .filter_map(|(task, _)| task.store.clone())
        .collect();
    let released: Vec<StoreName> = state
        .store_claims
        .iter()
        .filter(|(s, plan)| **plan == id && !open.contains(*s))
        .map(|(s, _)| s.clone())
        .collect();
    for store in released {
        // Everyday recovery that ran beside it has the store in hand now.
        match in_hand(state, &store, id).first() {
            Some(next) => drop(state.store_claims.insert(store, *next)),
            None => drop(state.store_claims.remove(&store)),
        }
    }
    let Some(record) = state.plans.get_mut(&id) else { return };
    if record.tasks.iter().any(|run| !run.state.is_ended()) {
        return;
    }
    let undone = record.tasks.iter().filter(|run| run.state != TaskState::Done).count();
    if undone > 0 && pause::waits_for_resume(record) {
        return part_way(state, stamp, id);
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

/// A drain that can't be done whole keeps what it has, and waits for a person: to resume it, to undo it or to abort it.
fn part_way(state: &mut State, stamp: Stamp, id: PlanId) {
    let Some(record) = state.plans.get_mut(&id) else { return };
    if matches!(record.status, PlanStatus::Paused { by: None, .. }) {
        return;
    }
    let refused = |(task, run): &(&Task, &TaskRun)| {
        task.store.is_some() && matches!(task.kind, TaskKind::HandOver { .. }) && run.state != TaskState::Done
    };
    let stores = record.plan.tasks.iter().zip(&record.tasks).filter(refused).count();
    let reason = match stores {
        0 => "a part of it was not done".to_string(),
        1 => "1 master was not handed over".to_string(),
        n => format!("{n} masters were not handed over"),
    };
    record.status = PlanStatus::Paused { by: None, reason: reason.clone() };
    audit(state, stamp, "slotd", format!("{id} is paused part way: {reason}; nothing of it is in motion"));
}
