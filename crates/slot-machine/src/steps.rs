//! Starting and finishing steps.
//!
//! What always holds: a step's order exists only after its StartStep entry, whose index the order carries (R4); a started
//! step ends only by its agent's durable word; the audit entry of a start stands before its effect (S12).

use crate::apply::{Stamp, audit};
use crate::command::{Answer, Refused, StepRef};
use crate::guard;
use crate::ready::{self, At};
use crate::state::*;
use crate::{effects, fence, plans, retire, unwind};
use slot_planted::planted;
use slot_types::evidence::Evidence;
use slot_types::ids::*;
use slot_types::order::{Done, NeverWill, Outcome};
use slot_types::plan::{Step, StepKind, Task, TaskKind};

fn step_name(id: PlanId, task: &Task, number: u16, step: &Step) -> String {
    let place = match &step.at {
        Some(slot_types::plan::Place::Slot(slot)) => format!(" {slot}"),
        Some(slot_types::plan::Place::Host(host)) => format!(" {host}"),
        Some(slot_types::plan::Place::Device { of, by }) => format!(" {of}, by {by}"),
        None => String::new(),
    };
    let store = task.store.as_ref().map(|s| format!(" of {s}")).unwrap_or_default();
    format!("{id} task {} {:?}{place}{store}", number + 1, step.kind)
}

/// The number of the first step that is not done.
pub(crate) fn current(run: &TaskRun) -> Option<u16> {
    run.steps.iter().position(|s| !matches!(s.state, StepState::Done { .. })).and_then(|n| u16::try_from(n).ok())
}

pub(crate) fn start(
    state: &mut State,
    stamp: Stamp,
    at: StepRef,
    attempt: u32,
    guards: &Evidence,
) -> Result<Answer, Refused> {
    let record = state.plans.get(&at.plan).ok_or(Refused::UnknownPlan(at.plan))?;
    let here = At::new(state, record, at.task, at.step)
        .ok_or_else(|| Refused::Precondition(format!("{} has no such step", at.plan)))?;
    let expected = here.run.steps.get(usize::from(at.step)).map(|s| &s.state);
    if expected != Some(&StepState::Waiting { attempt }) || current(here.run) != Some(at.step) {
        return Err(Refused::Precondition(format!("{} task {} is not at that step and attempt", at.plan, at.task + 1)));
    }
    if !matches!(here.run.state, TaskState::Waiting | TaskState::Running) {
        return Err(Refused::Precondition(format!("{} task {} is over or going back", at.plan, at.task + 1)));
    }
    ready::ready(&here).map_err(Refused::Precondition)?;
    guard::guard(state, at, guards).map_err(Refused::Guard)?;

    let (task, step) = (here.task.clone(), here.step.clone());
    let target = here.host().and_then(|h| here.cluster.hosts.get(h)).map(|h| (h.incarnation, h.boot));
    let name = step_name(at.plan, &task, at.task, &step);
    let next = if step.kind.is_internal() || (step.kind == StepKind::Follow && planted("r16-done-before-followers")) {
        StepState::Done { attempt, index: stamp.index, done: Done::Plain }
    } else if fence::is_off_already(&here) {
        StepState::Done { attempt, index: stamp.index, done: Done::Off }
    } else if let Some(done) = taken_for_done(&here) {
        StepState::Done { attempt, index: stamp.index, done }
    } else {
        let (incarnation, boot) = match target {
            Some((Some(incarnation), Some(boot))) => (incarnation, boot),
            _ => return Err(Refused::Precondition(format!("{name}: the agent was never seen"))),
        };
        StepState::Started { attempt, index: stamp.index, at: stamp.now, incarnation, boot }
    };
    if !planted("s12-step-without-entry") {
        audit(state, stamp, "slotd", format!("start {name}, attempt {attempt}"));
    }
    let text = take_effect_at_start(state, stamp, at.plan, &task, &step);
    if let Some(run) = run_mut(state, at) {
        run.state = TaskState::Running;
        run.steps[usize::from(at.step)] = StepRun { state: next, stuck: None };
    }
    for text in text {
        audit(state, stamp, "slotd", format!("{}: {text}", at.plan));
    }
    end_task_if_done(state, at);
    plans::settle(state, stamp, at.plan);
    Ok(Answer::Done)
}

/// What the planted bug `s7-demote-not-awaited` takes for a Demote's answer: where the freeze stopped.
fn taken_for_done(at: &At<'_>) -> Option<Done> {
    let demotes = at.step.kind == StepKind::Demote && planted("s7-demote-not-awaited");
    let tip = at.slot().ok().filter(|_| demotes).and_then(|slot| at.tip_of(StepKind::Freeze, slot))?;
    Some(Done::Tip { tip, history: Vec::new() })
}

/// What the planted bug `r4-new-leader-starts-anew` does: outstanding orders are taken for gone with their leader.
pub(crate) fn start_anew(state: &mut State) {
    let running = state.plans.values_mut().filter(|record| record.status == PlanStatus::Running);
    for step in running.flat_map(|record| &mut record.tasks).flat_map(|run| &mut run.steps) {
        if let StepState::Started { attempt, .. } = step.state {
            step.state = StepState::Waiting { attempt: attempt.saturating_add(1) };
        }
    }
}

fn take_effect_at_start(state: &mut State, stamp: Stamp, plan: PlanId, task: &Task, step: &Step) -> Vec<String> {
    let (Some(cluster), Some(record)) = (state.cluster.as_mut(), state.plans.get(&plan)) else { return Vec::new() };
    if ready::wakes_engine(step.kind) || step.kind == StepKind::Demote {
        effects::wakes(cluster, task, step.at.as_ref());
    }
    match step.kind {
        StepKind::Provision | StepKind::Destroy => {
            effects::copies_start(cluster, task, step.kind);
            Vec::new()
        }
        StepKind::Promote => {
            let opened = effects::promote_starts(cluster, &mut state.last_loss_case, record, task, stamp);
            opened.into_iter().map(|(case, slot)| format!("loss case {case} opened for {slot}")).collect()
        }
        kind if kind.is_internal() => {
            vec![effects::internal(cluster, &mut state.fleet_version, record, task, kind, stamp)]
        }
        _ => Vec::new(),
    }
}

fn run_mut(state: &mut State, at: StepRef) -> Option<&mut TaskRun> {
    state.plans.get_mut(&at.plan)?.tasks.get_mut(usize::from(at.task))
}

fn end_task_if_done(state: &mut State, at: StepRef) {
    if let Some(run) = run_mut(state, at)
        && current(run).is_none()
        && !run.state.is_ended()
    {
        run.state = TaskState::Done;
    }
}

pub(crate) fn finish(state: &mut State, stamp: Stamp, id: OrderId, outcome: &Outcome) -> Result<Answer, Refused> {
    let record = state.plans.get(&id.plan).ok_or(Refused::UnknownPlan(id.plan))?;
    if id.step & unwind::SERVE_BIT != 0 {
        return finish_serving(state, stamp, id, outcome);
    }
    let number = id.step & !(unwind::CANCEL_BIT | unwind::THAW_BIT);
    let at = StepRef { plan: id.plan, task: id.task, step: number };
    let (task, step) = record
        .plan
        .tasks
        .get(usize::from(id.task))
        .and_then(|t| t.steps.get(usize::from(number)).map(|s| (t.clone(), s.clone())))
        .ok_or_else(|| Refused::Precondition(format!("{id} names no step")))?;
    if id.step != number {
        return finish_unwinding(state, stamp, id, at, &task, outcome);
    }
    let Some(StepState::Started { attempt, index, incarnation, .. }) =
        record.tasks.get(usize::from(id.task)).and_then(|t| t.steps.get(usize::from(number))).map(|s| s.state.clone())
    else {
        return Err(Refused::Precondition(format!("{id} is not outstanding")));
    };
    if attempt != id.attempt {
        return Err(Refused::Precondition(format!("{id} is not the outstanding attempt, which is {attempt}")));
    }
    let run_state = record.tasks[usize::from(id.task)].state.clone();
    if run_state.is_ended() || matches!(run_state, TaskState::Unwinding { .. }) {
        // Its fate is settled by the cancel that is under way, or does not matter any more (R13, R4).
        return Err(Refused::Precondition(format!("{id} is being cancelled, or its task is over")));
    }
    if is_of_another_disk(state, &step, incarnation) {
        return Err(Refused::Precondition(format!("{id} was for a disk that another one has taken the place of")));
    }
    acknowledge(state, &step, index, outcome);
    let name = step_name(id.plan, &task, id.task, &step);
    match outcome {
        Outcome::Done(done) => finish_done(state, stamp, at, &task, &step, (attempt, index, done), &name),
        Outcome::NeverWill(why) => finish_never(state, stamp, at, &task, &step, attempt, why, &name),
    }
    bury(state, stamp, &task);
    end_task_if_done(state, at);
    plans::settle(state, stamp, id.plan);
    Ok(Answer::Done)
}

/// What is left of a retired store once the last of its copies is destroyed.
fn bury(state: &mut State, stamp: Stamp, task: &Task) {
    let TaskKind::DestroyCopy { .. } = &task.kind else { return };
    let (Some(name), Some(cluster)) = (&task.store, state.cluster.as_mut()) else { return };
    if let Some(text) = retire::bury(cluster, stamp, name) {
        audit(state, stamp, "slotd", text);
    }
}

/// S2: a late word from the disk that a person has replaced since says nothing about the one that is there now.
fn is_of_another_disk(state: &State, step: &Step, incarnation: Incarnation) -> bool {
    let host = step.at.as_ref().map(slot_types::plan::Place::host);
    let host = host.and_then(|name| state.cluster.as_ref()?.hosts.get(name));
    host.is_some_and(|host| host.incarnation.is_some_and(|admitted| admitted != incarnation))
}

/// S2: an agent that presents a ledger older than this was restored from an old disk. An order of a boot that has ended is
/// refused by any disk, so it is no word about what this one holds.
fn acknowledge(state: &mut State, step: &Step, index: LogIndex, outcome: &Outcome) {
    if matches!(outcome, Outcome::NeverWill(NeverWill::BootEnded(_))) {
        return;
    }
    let host = step.at.as_ref().map(slot_types::plan::Place::host);
    if let Some(host) = host.and_then(|h| state.cluster.as_mut()?.hosts.get_mut(h)) {
        host.acknowledged = host.acknowledged.max(index);
    }
}

fn finish_unwinding(
    state: &mut State,
    stamp: Stamp,
    id: OrderId,
    at: StepRef,
    task: &Task,
    outcome: &Outcome,
) -> Result<Answer, Refused> {
    let run = state.plans.get(&at.plan).and_then(|p| p.tasks.get(usize::from(at.task)));
    if !run.is_some_and(|run| unwind::expects(run, id)) {
        return Err(Refused::Precondition(format!("{id} is not outstanding")));
    }
    audit(state, stamp, "slotd", format!("{id} going back: {}", outcome_text(outcome)));
    if let (Some(cluster), Some(record)) = (state.cluster.as_mut(), state.plans.get_mut(&at.plan))
        && let Some(run) = record.tasks.get_mut(usize::from(at.task))
    {
        unwind::finish(cluster, task, run, id, outcome);
    }
    bury(state, stamp, task);
    // What was cut was cut, whatever the plan wanted of it in the end.
    match (task.steps.get(usize::from(at.step)).and_then(fence::target), outcome) {
        (Some(host), Outcome::Done(Done::Off)) => fence::confirmed(state, stamp, at.plan, host),
        (Some(host), Outcome::NeverWill(NeverWill::NotOff { why, .. })) => {
            fence::not_confirmed(state, stamp, at.plan, host, why);
        }
        _ => {}
    }
    plans::settle(state, stamp, at.plan);
    Ok(Answer::Done)
}

/// The demoted source serves again, or can't: the outstanding Promote waits anew, and is called stuck anew.
fn finish_serving(state: &mut State, stamp: Stamp, id: OrderId, outcome: &Outcome) -> Result<Answer, Refused> {
    let run = state.plans.get_mut(&id.plan).and_then(|p| p.tasks.get_mut(usize::from(id.task)));
    let run = run.filter(|run| run.state == TaskState::Running);
    let serve = run.as_ref().and_then(|r| r.serve).filter(|s| s.attempt == id.attempt && !s.answered);
    let (Some(run), Some(serve)) = (run, serve) else {
        return Err(Refused::Precondition(format!("{id} is not outstanding")));
    };
    run.serve = Some(Serve { answered: true, at: stamp.now, ..serve });
    for step in &mut run.steps {
        step.stuck = None;
    }
    audit(state, stamp, "slotd", format!("{id} to serve its successor: {}", outcome_text(outcome)));
    Ok(Answer::Done)
}

fn outcome_text(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Done(Done::Plain) => "done".into(),
        Outcome::Done(Done::Off) => "done, its device says off".into(),
        Outcome::Done(Done::Tip { tip, .. }) => format!("done, ends at {tip}"),
        Outcome::Done(Done::Stranded(records)) => format!("done, {} stranded records", records.len()),
        Outcome::Done(Done::Reinjected { appended, present }) => {
            format!("done, {appended} reinjected, {present} there already")
        }
        Outcome::NeverWill(why) => crate::hosts::bounded(&format!("never will: {why}")),
    }
}

fn finish_done(
    state: &mut State,
    stamp: Stamp,
    at: StepRef,
    task: &Task,
    step: &Step,
    (attempt, index, done): (u32, LogIndex, &Done),
    name: &str,
) {
    audit(state, stamp, "slotd", format!("{name}: {}", outcome_text(&Outcome::Done(done.clone()))));
    let Some(cluster) = state.cluster.as_mut() else { return };
    let Some(before) = state.plans.get(&at.plan).and_then(|p| p.tasks.get(usize::from(at.task))) else { return };
    let verdict = match (fence::target(step), done) {
        (Some(_), Done::Off) | (None, _) => effects::done(cluster, (task, before), step.kind, step.at.as_ref(), done),
        (Some(host), _) => Err(format!("whether {host} is off was not answered")),
    };
    let Some(run) = state.plans.get_mut(&at.plan).and_then(|p| p.tasks.get_mut(usize::from(at.task))) else { return };
    run.steps[usize::from(at.step)] =
        StepRun { state: StepState::Done { attempt, index, done: done.clone() }, stuck: None };
    if step.kind == StepKind::Follow && matches!(task.kind, TaskKind::BuildCopy { .. }) {
        run.steps.iter_mut().for_each(|step| step.stuck = None);
    }
    if let (Some(host), Ok(())) = (fence::target(step), &verdict) {
        return fence::confirmed(state, stamp, at.plan, host);
    }
    if let Err(why) = verdict {
        run.state = TaskState::NeedsHuman { why: why.clone() };
        audit(state, stamp, "slotd", format!("{name}: {why}"));
        return;
    }
    // Hand-over 3: an early stop. It proves nothing by itself (R1), so it only ever goes back.
    if let (TaskKind::HandOver { from, to }, StepKind::CatchUp) = (&task.kind, step.kind) {
        let (a, b) =
            (ready::tip_of(task, run, StepKind::Freeze, from), ready::tip_of(task, run, StepKind::CatchUp, to));
        if a != b || a.is_none() {
            unwind::begin(cluster, task, run, stamp, "the copies differ");
        }
    }
}

#[expect(clippy::too_many_arguments, reason = "the whole of one outcome; a struct would be used once")]
fn finish_never(
    state: &mut State,
    stamp: Stamp,
    at: StepRef,
    task: &Task,
    step: &Step,
    attempt: u32,
    why: &NeverWill,
    name: &str,
) {
    audit(state, stamp, "slotd", format!("{name}: {}", outcome_text(&Outcome::NeverWill(why.clone()))));
    // R27: no further attempt for that boot, or all of them would be used up before the new one is heard of.
    if let (NeverWill::BootEnded(boot), Some(host)) = (why, step.at.as_ref().map(slot_types::plan::Place::host)) {
        state.ended_boots.insert(host.clone(), *boot);
    }
    if let (Some(host), NeverWill::NotOff { why, .. }) = (fence::target(step), why) {
        fence::not_confirmed(state, stamp, at.plan, host, why);
    }
    let aborting = state.plans.get(&at.plan).is_some_and(|p| matches!(p.status, PlanStatus::Aborting { .. }));
    let Some(cluster) = state.cluster.as_mut() else { return };
    let Some(run) = state.plans.get_mut(&at.plan).and_then(|p| p.tasks.get_mut(usize::from(at.task))) else { return };
    run.steps[usize::from(at.step)] = StepRun { state: StepState::Never { attempt, why: why.clone() }, stuck: None };
    // R27: issued anew, for the present boot. Others lost to nothing that forbids another try, as what still runs will end.
    let again = matches!(
        why,
        NeverWill::BootEnded(_) | NeverWill::Superseded { .. } | NeverWill::Cancelled | NeverWill::StillRunning(_)
    );
    let text = crate::hosts::bounded(&format!("{:?} was refused: {why}", step.kind));
    let committed = unwind::is_committed(task, run);
    let hands_over = matches!(task.kind, TaskKind::HandOver { .. });
    // Whom it follows is told a copy again and again while it is built.
    let builds = matches!(task.kind, TaskKind::BuildCopy { .. }) && step.kind == StepKind::Follow;
    let next = StepState::Waiting { attempt: attempt.saturating_add(1) };
    if !committed && hands_over {
        // Before the commit every failure returns to the old state.
        unwind::begin(cluster, task, run, stamp, &text);
    } else if again && (attempt < ATTEMPTS_MAX || builds) && (committed || !aborting) {
        run.steps[usize::from(at.step)].state = next;
    } else if committed {
        run.state = TaskState::NeedsHuman { why: text };
    } else {
        run.state = TaskState::NotDone { why: text };
    }
}

/// R16: a copy that is built and does not come to count is told again whom it follows: its engine may have died, or its
/// master moved. What it holds by then stays.
fn follow_again(state: &mut State, stamp: Stamp, at: StepRef, task: &Task, why: &str) -> Result<Answer, Refused> {
    let follow = task.steps.iter().position(|step| step.kind == StepKind::Follow);
    audit(state, stamp, "slotd", format!("{} task {} goes on building: {why}", at.plan, at.task + 1));
    if let (Some(run), Some(follow)) = (run_mut(state, at), follow) {
        let attempt = match &run.steps[follow].state {
            StepState::Done { attempt, .. } => attempt.saturating_add(1),
            _ => 1,
        };
        run.steps[follow] = StepRun { state: StepState::Waiting { attempt }, stuck: None };
        run.steps[usize::from(at.step)].stuck = Some(why.to_string());
    }
    Ok(Answer::Done)
}

pub(crate) fn stuck(state: &mut State, stamp: Stamp, at: StepRef, why: &str) -> Result<Answer, Refused> {
    let record = state.plans.get(&at.plan).ok_or(Refused::UnknownPlan(at.plan))?;
    let here = At::new(state, record, at.task, at.step)
        .ok_or_else(|| Refused::Precondition(format!("{} has no such step", at.plan)))?;
    let live = matches!(here.run.state, TaskState::Waiting | TaskState::Running);
    if !live || current(here.run) != Some(at.step) {
        return Err(Refused::Precondition(format!("{} task {} is not at that step", at.plan, at.task + 1)));
    }
    let waiting = matches!(here.run.steps[usize::from(at.step)].state, StepState::Waiting { .. });
    if waiting && crate::pause::keeps_still(record, here.task, here.run) {
        return Err(Refused::Precondition(format!("{} is paused and waits for nothing", at.plan)));
    }
    let why = crate::hosts::bounded(why);
    let (task, step) = (here.task.clone(), here.step.clone());
    if matches!(step.kind, StepKind::Stop | StepKind::ConfirmStopped) && planted("s8-silent-counts-as-stopped") {
        let name = step_name(at.plan, &task, at.task, &step);
        finish_done(state, stamp, at, &task, &step, (1, stamp.index, &Done::Plain), &name);
        end_task_if_done(state, at);
        plans::settle(state, stamp, at.plan);
        return Ok(Answer::Done);
    }
    let committed = unwind::is_committed(&task, here.run);
    // An everyday order to a silent host must not hold its store for ever (L2).
    let everyday = record.plan.intent.is_everyday();
    let reversible = matches!(task.kind, TaskKind::HandOver { .. }) || waiting || everyday;
    let aborting = matches!(record.status, PlanStatus::Aborting { .. });
    let known = here.run.steps[usize::from(at.step)].stuck.is_some();
    if known && !(aborting && committed) {
        // Said once: a retry adds nothing to the audit.
        return Ok(Answer::Done);
    }
    if matches!(task.kind, TaskKind::BuildCopy { .. }) && step.kind == StepKind::Count && !aborting {
        return follow_again(state, stamp, at, &task, &why);
    }
    let serves = step.kind == StepKind::Promote && !waiting && ready::demote_of_source(&here).is_some();
    let name = step_name(at.plan, &task, at.task, &step);
    let held = ready::holds_back(state, at.plan, at.task);
    audit(state, stamp, "slotd", format!("{name} is stuck: {why}"));
    if let (Some(cluster), Some(record)) = (state.cluster.as_mut(), state.plans.get_mut(&at.plan))
        && let Some(run) = record.tasks.get_mut(usize::from(at.task))
    {
        run.steps[usize::from(at.step)].stuck = Some(why.clone());
        if serves {
            let attempt = run.serve.map_or(2, |serve| serve.attempt.saturating_add(1));
            run.serve = Some(Serve { attempt, index: stamp.index, at: stamp.now, answered: false });
        }
        if !committed && reversible {
            unwind::begin(cluster, &task, run, stamp, &why);
        } else if committed && aborting {
            unwind::abort_committed(cluster, &task, run, stamp, held, "aborted");
        }
    }
    plans::settle(state, stamp, at.plan);
    Ok(Answer::Done)
}
