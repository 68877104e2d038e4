//! R6, R26: power that is cut by order, and what is said of it.
//!
//! What always holds: judged from the committed entries and from the machines' true power alone.

use super::Found;
use super::ledgers::Ledgers;
use slot_machine::command::StepRef;
use slot_machine::state::{State, StepState};
use slot_types::cluster::CopyState;
use slot_types::evidence::Evidence;
use slot_types::ids::*;
use slot_types::order::{Done, Outcome};
use slot_types::plan::{Place, StepKind, Task};

/// The host that a step switches off, and who does it.
pub(crate) fn target(state: &State, at: StepRef) -> Option<(&HostName, &HostName, &Task)> {
    let task = state.plans.get(&at.plan)?.plan.tasks.get(usize::from(at.task))?;
    match task.steps.get(usize::from(at.step)).map(|step| (step.kind, step.at.as_ref())) {
        Some((StepKind::FenceHost, Some(Place::Device { of, by }))) => Some((of, by, task)),
        _ => None,
    }
}

/// A StartStep was accepted; if it cuts power, then for the boot that is known, from elsewhere, after the commit, and only
/// while the agent is silent.
pub(super) fn started(found: &mut Found, state: &State, at: StepRef, guards: &Evidence, past_return: bool) {
    let Some((of, by, _)) = target(state, at) else { return };
    let (Some(record), Some(cluster)) = (state.plans.get(&at.plan), &state.cluster) else { return };
    // Another task had it switched off before: nothing is ordered.
    if !state.step(at).is_some_and(|(_, _, run)| matches!(run.state, StepState::Started { .. })) {
        return;
    }
    let (Some(host), Some(other)) = (cluster.hosts.get(of), cluster.hosts.get(by)) else { return };
    let named = record.plan.switch_off.get(of);
    if named.map(|off| off.boot) != host.boot {
        found.say("R6", format!("{} switches off {of} at another boot than its approval names", at.plan));
    }
    if !past_return {
        found.say("R6", format!("{} switches off {of} before its epoch is committed", at.plan));
    }
    if other.at == host.at {
        found.say("R26", format!("{} has {of} switched off by {by}, of its own failure domain", at.plan));
    }
    if guards.agent_alive(of, cluster.policy.silent_ms) {
        found.say("R26", format!("{} switches off {of} while its agent answers", at.plan));
    }
    // What is about to be destroyed serves nobody.
    let mut copies = cluster.copies_on(of).filter(|(_, _, copy)| copy.state != CopyState::Retired);
    let untold = copies.find(|(_, slot, _)| !named.is_some_and(|off| off.kills.contains(*slot)));
    if let Some((store, slot, _)) = untold {
        found.say("R6", format!("{} switches off {of} without naming {slot} of {store}", at.plan));
    }
}

/// An agent's word on it: a host that counts as off at a boot runs nothing of that boot.
pub(super) fn finished(found: &mut Found, state: &State, ledgers: &Ledgers, id: &OrderId, outcome: &Outcome) {
    let at = StepRef { plan: id.plan, task: id.task, step: id.step & 0x1fff };
    let (Some((of, ..)), Outcome::Done(Done::Off)) = (target(state, at), outcome) else { return };
    let named = state.plans.get(&at.plan).and_then(|record| record.plan.switch_off.get(of)).map(|off| off.boot);
    if named.is_some() && ledgers.power(of) == named {
        found.say("R26", format!("{of} counts as off by {id}, and has power"));
    }
}
