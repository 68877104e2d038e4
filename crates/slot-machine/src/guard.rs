//! Guards: what must be observed, freshly, before a step starts (R14).
//!
//! What always holds: a guard reads only the state and the evidence in the command, whose ages the leader stamped; it is
//! evaluated by the executor before it proposes and again in `apply`, and only the second time counts.

use crate::command::StepRef;
use crate::copies;
use crate::fence;
use crate::state::State;
use slot_planted::planted;
use slot_types::cluster::{Cluster, CopyState, FenceLevel, Host, HostState, Store};
use slot_types::engine::EngineRole;
use slot_types::evidence::{Evidence, Seen};
use slot_types::front_end::FrontEndSeen;
use slot_types::ids::{HostName, SlotId, StoreName};
use slot_types::plan::{StepKind, TaskKind};
use slot_types::render::size;

/// How old an observation may be to pass a guard, in milliseconds: a few reports' distance.
pub const GUARD_AGE_MS_MAX: u64 = 5_000;

/// How long an attestation stands before copies are raised: longer than a sign of life may be on its way to the leader.
const ATTESTATION_STANDS_MS: u64 = 5_000;

/// Whether a step may start, as far as observation goes. `Err` says what is missing, for a person.
pub fn guard(state: &State, at: StepRef, evidence: &Evidence) -> Result<(), String> {
    let (Some(cluster), Some(record)) = (&state.cluster, state.plans.get(&at.plan)) else { return Ok(()) };
    let Some(task) = record.plan.tasks.get(usize::from(at.task)) else { return Ok(()) };
    let Some(step) = task.steps.get(usize::from(at.step)) else { return Ok(()) };
    let Some(store) = task.store.as_ref().and_then(|s| cluster.stores.get(s)) else { return Ok(()) };
    match (&task.kind, step.kind) {
        (TaskKind::HandOver { from, to }, StepKind::Freeze) => handover(cluster, store, from, to, evidence, true),
        (TaskKind::HandOver { from, to }, StepKind::CommitEpoch) if !planted("r14-guards-skipped-at-commit") => {
            handover(cluster, store, from, to, evidence, false)
        }
        (TaskKind::BuildCopy { slot, .. } | TaskKind::CountCopy { slot }, StepKind::Count)
            if !planted("r16-counted-while-behind") =>
        {
            copies::holds_everything(cluster, store, slot, evidence)
        }
        // An order that nobody answers would hold its store for ever.
        (TaskKind::BuildCopy { slot, .. }, StepKind::Provision) => {
            heard(cluster, slot, evidence)?;
            task.store.as_ref().map_or(Ok(()), |name| fits(cluster, (name, store), slot, evidence))
        }
        (TaskKind::DestroyCopy { slot, .. }, StepKind::Destroy) => {
            heard(cluster, slot, evidence)?;
            copies::others_live(cluster, store, slot, evidence)
        }
        (TaskKind::FailOver { fence: FenceLevel::Attested, waived, .. }, StepKind::Raise) => {
            let by_word = waived.iter().filter(|slot| !record.plan.switch_off.contains_key(&slot.host));
            by_word.into_iter().try_for_each(|slot| listened(cluster, slot, evidence))
        }
        // R26: power is the last fence; an agent that answers can be asked to demote.
        (_, StepKind::FenceHost) if !planted("r26-power-cut-while-the-agent-answers") => {
            fence::target(step).map_or(Ok(()), |host| still_silent(cluster, host, evidence))
        }
        (TaskKind::FailOver { fence, waived, .. }, StepKind::Promote) if *fence != FenceLevel::Demoted => {
            waived.iter().try_for_each(|slot| still_silent(cluster, &slot.host, evidence))
        }
        (_, StepKind::RouteServed) => route_served(cluster, store, evidence),
        _ => Ok(()),
    }
}

/// Hand-over 7: every front end has acknowledged the revision that set the route, or a later one. Its word needs no age: it
/// never goes back.
fn route_served(cluster: &Cluster, store: &Store, evidence: &Evidence) -> Result<(), String> {
    let Some(route) = &store.route else { return Err("the store has no route".into()) };
    for name in cluster.front_ends.keys().filter(|_| !planted("adr22-plan-does-not-wait")) {
        let at = match evidence.front_ends.get(name) {
            Some(Seen::Known { value, .. }) if value.serves(cluster.generation, route.revision) => continue,
            Some(Seen::Known { value: FrontEndSeen { acknowledged, problem }, age_ms }) => {
                let at = acknowledged.map_or("no revision".into(), |(_, at)| format!("revision {at}"));
                let why = problem.as_ref().map_or(String::new(), |why| format!(": {why}"));
                format!("serves {at}, {} s ago{why}", age_ms / 1000)
            }
            Some(Seen::Unknown { reason }) => reason.clone(),
            None => "is not heard by this leader yet".into(),
        };
        return Err(format!("front end {name} does not serve revision {} yet: {at}", route.revision));
    }
    Ok(())
}

/// Whether the agent of a slot's host was heard lately.
fn heard(cluster: &Cluster, slot: &SlotId, evidence: &Evidence) -> Result<(), String> {
    let silent = cluster.policy.silent_ms.min(GUARD_AGE_MS_MAX);
    if evidence.agent_alive(&slot.host, silent) { Ok(()) } else { Err(format!("the agent of {} is silent", slot.host)) }
}

/// Whether a copy that is to be built still fits the disk: it was free when the plan was made.
fn fits(
    cluster: &Cluster,
    (name, store): (&StoreName, &Store),
    slot: &SlotId,
    evidence: &Evidence,
) -> Result<(), String> {
    if store.copies.get(slot).is_some_and(|copy| copy.state == CopyState::Building) {
        // It was begun: what is still to come of it is counted already.
        return Ok(());
    }
    let takes = evidence.copy_bytes(name, store.spec.size_bytes, Some(store));
    match evidence.disk_to_spare(cluster, &slot.host) {
        Some(spare) if spare < takes => {
            let (spare, takes) = (size(spare), size(takes));
            let host = &slot.host;
            Err(format!(
                "the disk of {host} has {spare} to spare, the copy takes {takes}: make room there, or abort the plan"
            ))
        }
        _ => Ok(()),
    }
}

/// Whether an order that is under way may be sent once more, as far as observation goes (R14): what destroys data is looked at
/// again each time.
pub fn may_send(state: &State, at: StepRef, evidence: &Evidence) -> Result<(), String> {
    let (Some(cluster), Some(record)) = (&state.cluster, state.plans.get(&at.plan)) else { return Ok(()) };
    let Some(task) = record.plan.tasks.get(usize::from(at.task)) else { return Ok(()) };
    match (&task.kind, task.store.as_ref().and_then(|name| cluster.stores.get(name))) {
        (TaskKind::DestroyCopy { slot, .. }, Some(store)) => copies::others_live(cluster, store, slot, evidence),
        _ => Ok(()),
    }
}

/// R8: once the replicas are raised nobody hears the old master's engine any more, so an attestation must have stood for a
/// while before, without a sign of life: a replica's word that it heard the engine is on its way for a moment.
fn listened(cluster: &Cluster, slot: &SlotId, evidence: &Evidence) -> Result<(), String> {
    fence::attested(cluster, &slot.host, evidence.taken_at)?;
    let stood = cluster.attestations.get(&slot.host).map_or(0, |word| evidence.taken_at.since(word.at));
    if stood < ATTESTATION_STANDS_MS {
        return Err(format!("{} was attested off {stood} ms ago; signs of life are listened for", slot.host));
    }
    Ok(())
}

/// Hand-over 1: A and B healthy, B follows A directly, lag under the gate, verified recently.
fn handover(
    cluster: &Cluster,
    store: &Store,
    from: &SlotId,
    to: &SlotId,
    evidence: &Evidence,
    before_freeze: bool,
) -> Result<(), String> {
    let policy = &cluster.policy;
    let master = evidence.running(from, GUARD_AGE_MS_MAX).ok_or_else(|| format!("{from} is not seen running"))?;
    if master.role != EngineRole::Master || master.epoch != store.epoch {
        return Err(format!("{from} is {:?} at epoch {}, not master at {}", master.role, master.epoch, store.epoch));
    }
    if let Some(stamp) = cluster.fault(store, to).filter(|_| before_freeze) {
        return Err(format!("{to} differs from its master: {}", stamp.of.findings));
    }
    let replica = evidence.running(to, GUARD_AGE_MS_MAX).ok_or_else(|| format!("{to} is not seen running"))?;
    if replica.role != EngineRole::Replica || replica.following != Some((from.clone(), store.epoch)) {
        return Err(format!("{to} does not follow {from} directly at epoch {}", store.epoch));
    }
    if !before_freeze {
        return Ok(());
    }
    match replica.behind {
        Some(behind) if behind <= policy.max_lag_records => {}
        Some(behind) => return Err(format!("{to} is {behind} records behind, allowed are {}", policy.max_lag_records)),
        None => return Err(format!("{to} does not know how far it is behind")),
    }
    match replica.verified_ms {
        Some(age) if age <= policy.max_stamp_age_ms => Ok(()),
        Some(age) => {
            Err(format!("{to} was verified {} s ago, allowed are {}", age / 1000, policy.max_stamp_age_ms / 1000))
        }
        None => Err(format!("{to} was never verified against {from}")),
    }
}

/// R23: how many hosts that should be heard are known to be silent. Where the leader has only begun to listen it knows of none,
/// and [`still_silent`] lets nobody go past a master by then.
pub(crate) fn silent_hosts(cluster: &Cluster, evidence: &Evidence) -> u16 {
    let expected = |host: &Host| matches!(host.declared, HostState::Active | HostState::Draining | HostState::Empty);
    let silent = cluster.hosts.iter().filter(|(name, host)| {
        let listened = evidence.hosts.contains_key(*name);
        expected(host) && listened && !evidence.agent_alive(name, cluster.policy.silent_ms)
    });
    u16::try_from(silent.count()).unwrap_or(u16::MAX)
}

/// R14: a sheet made while the host was silent does not outlive its silence.
pub(crate) fn still_silent(cluster: &Cluster, host: &HostName, evidence: &Evidence) -> Result<(), String> {
    if !evidence.hosts.contains_key(host) {
        return Err(format!(
            "whether {host} is silent is not known: the leader has only begun to listen; ask again in a few seconds"
        ));
    }
    if evidence.agent_alive(host, cluster.policy.silent_ms) {
        return Err(format!("the agent of {host} answers again; ask for a new plan, which can demote what is there"));
    }
    Ok(())
}
