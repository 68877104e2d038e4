//! The exact steps of a task, derived anew from its kind, the cluster and the evidence.
//!
//! What always holds: every step and its place must be as derived; only the canary's place leaves a choice, and that is
//! judged by itself.

use super::{Fault, Ground};
use slot_types::cluster::*;
use slot_types::evidence::CopyEvidence;
use slot_types::ids::*;
use slot_types::plan::{Place, Settlement, StepKind, Task, TaskKind};
use std::collections::BTreeSet;

type Wanted = Vec<(StepKind, Option<Place>)>;

pub(super) fn check(ground: &Ground<'_>, number: usize, task: &Task) -> Result<(), Fault> {
    if let Some(step) = task.steps.iter().position(|s| s.deadline_ms == 0) {
        return Err(Fault::Deadline { task: number, step });
    }
    let wanted = wanted(ground, task);
    let found = task.steps.len();
    for step in 0..wanted.len().max(found) {
        let same = match (wanted.get(step), task.steps.get(step)) {
            (Some((StepKind::Canary, _)), Some(found)) => found.kind == StepKind::Canary,
            (Some((kind, place)), Some(found)) => *kind == found.kind && *place == found.at,
            _ => false,
        };
        if !same {
            return Err(Fault::Steps { task: number, step });
        }
    }
    match task.steps.iter().find(|step| step.kind == StepKind::Canary) {
        Some(step) => canary(ground, number, task, step.at.as_ref()),
        None => Ok(()),
    }
}

fn wanted(ground: &Ground<'_>, task: &Task) -> Wanted {
    let slot = |kind, slot: &SlotId| (kind, Some(Place::Slot(slot.clone())));
    let host = |kind, host: &HostName| (kind, Some(Place::Host(host.clone())));
    let store = task.store.as_ref().and_then(|s| ground.cluster.stores.get(s));
    match &task.kind {
        TaskKind::Fleet => vec![(StepKind::ChangeFleet, None)],
        TaskKind::CreateStore { copies, master, .. } => {
            let mut steps: Wanted = copies.keys().map(|s| slot(StepKind::Provision, s)).collect();
            steps.extend([(StepKind::CommitEpoch, None), slot(StepKind::Promote, master), (StepKind::Repoint, None)]);
            steps.extend(copies.keys().filter(|s| *s != master).map(|s| slot(StepKind::Follow, s)));
            steps.push((StepKind::Canary, None));
            steps
        }
        TaskKind::HandOver { from, to } => {
            let mut steps = vec![
                slot(StepKind::Freeze, from),
                slot(StepKind::CatchUp, to),
                (StepKind::CommitEpoch, None),
                slot(StepKind::Demote, from),
                slot(StepKind::Promote, to),
                (StepKind::Repoint, None),
                slot(StepKind::Follow, from),
            ];
            for (other, copy) in store.iter().flat_map(|s| &s.copies).filter(|(s, _)| *s != from && *s != to) {
                if ground.follows_orders(other, copy) {
                    steps.push(slot(StepKind::Follow, other));
                }
            }
            steps.push((StepKind::Canary, None));
            steps.extend(route_served(ground));
            steps
        }
        TaskKind::FailOver { .. } => store.map(|s| fail_over(ground, s, &task.kind)).unwrap_or_default(),
        TaskKind::BuildCopy { slot: at, generation, .. } => {
            let begun = store.is_some_and(|s| s.copies.get(at).is_some_and(|copy| copy.generation == *generation));
            let begin = (!begun).then(|| slot(StepKind::Provision, at));
            begin.into_iter().chain([slot(StepKind::Follow, at), (StepKind::Count, None)]).collect()
        }
        TaskKind::RetireStore { master } => vec![(StepKind::RetireStore, None), slot(StepKind::Demote, master)],
        TaskKind::CountCopy { .. } => vec![(StepKind::Count, None)],
        TaskKind::DestroyCopy { slot: at, .. } => vec![slot(StepKind::Destroy, at)],
        TaskKind::StopCopy { slot: at } => vec![slot(StepKind::Stop, at)],
        TaskKind::StartCopy { slot: at } => match store.filter(|s| s.master.is_none()) {
            None => vec![slot(StepKind::Follow, at)],
            // R8, R3: nobody to follow; who may be master below the committed epoch is demoted, never raised.
            Some(s) if s.possible_masters.contains_key(at) && s.pending.as_ref() != Some(at) => {
                vec![slot(StepKind::Demote, at)]
            }
            Some(_) => vec![slot(StepKind::Raise, at)],
        },
        TaskKind::StartMaster { slot: at } => vec![slot(StepKind::StartMaster, at)],
        TaskKind::FenceReturned { slot: at } => {
            let mut steps = vec![slot(StepKind::Demote, at)];
            let open = |c: &LossCase| Some(&c.store) == task.store.as_ref() && c.slot == *at && c.state.is_open();
            if ground.cluster.loss_cases.values().any(open) {
                steps.push(slot(StepKind::ListStranded, at));
            }
            steps
        }
        TaskKind::SettleLoss { slot: at, how, .. } => settle_loss(store, at, *how),
        TaskKind::HostState { host: name, to } => {
            // S8: Maintenance and Empty are declared on the agent's own word.
            let proof =
                matches!(to, HostState::Maintenance | HostState::Empty).then(|| host(StepKind::ConfirmStopped, name));
            proof.into_iter().chain([(StepKind::DeclareHost, None)]).collect()
        }
    }
}

fn settle_loss(store: Option<&Store>, at: &SlotId, how: Settlement) -> Wanted {
    let slot = |kind, slot: &SlotId| (kind, Some(Place::Slot(slot.clone())));
    let mut steps = Vec::new();
    if how == Settlement::Reinject {
        // R24: with too few others the master takes the records only once this copy counts.
        let quarantined = store.is_some_and(|s| s.copies.get(at).is_some_and(|c| c.state == CopyState::Quarantined));
        let others = store.map_or(0, |s| {
            let is_led =
                |copy: &Copy| copy.follows.as_ref().is_some_and(|(m, e)| (Some(m), *e) == (s.master.as_ref(), s.epoch));
            let serving = s.copies.iter().filter(|(_, copy)| copy.state == CopyState::Serving && is_led(copy));
            serving.filter(|(other, _)| *other != at).count()
        });
        if quarantined && others < store.map_or(0, |s| usize::from(s.spec.sync_copies)) {
            steps.push(slot(StepKind::Follow, at));
        }
        steps.push(slot(StepKind::Reinject, at));
    }
    steps.extend([(StepKind::CloseLossCase, None), slot(StepKind::Follow, at)]);
    steps
}

fn fail_over(ground: &Ground<'_>, store: &Store, kind: &TaskKind) -> Wanted {
    let TaskKind::FailOver { from, to, waived, feed, .. } = kind else { return Vec::new() };
    let slot = |kind, slot: &SlotId| (kind, Some(Place::Slot(slot.clone())));
    let demoted: BTreeSet<SlotId> =
        ground.may_acknowledge(store, from, to).into_iter().filter(|s| !waived.contains(s)).collect();
    let reached: Vec<&SlotId> =
        store.copies.iter().filter(|(s, c)| ground.follows_orders(s, c)).map(|(s, _)| s).collect();
    let mut steps = vec![(StepKind::CommitEpoch, None), slot(StepKind::Raise, to)];
    for other in reached.iter().filter(|s| **s != to && **s != from && !demoted.contains(**s)) {
        steps.push(slot(StepKind::Raise, other));
    }
    if feed.is_some() {
        steps.push(slot(StepKind::Feed, to));
    }
    for other in demoted.iter().filter(|s| *s == from).chain(demoted.iter().filter(|s| *s != from)) {
        steps.push(slot(StepKind::Demote, other));
    }
    let hosts: BTreeSet<&HostName> = waived.iter().map(|slot| &slot.host).collect();
    for of in hosts {
        if let Some(by) = ground.plan.switch_off.get(of).and_then(|off| off.by.clone()) {
            steps.push((StepKind::FenceHost, Some(Place::Device { of: of.clone(), by })));
        }
    }
    steps.extend([slot(StepKind::Promote, to), (StepKind::Repoint, None)]);
    if demoted.contains(from) && reached.contains(&from) {
        steps.push(slot(StepKind::Follow, from));
    }
    for other in reached.iter().filter(|s| **s != to && **s != from) {
        steps.push(slot(StepKind::Follow, other));
    }
    steps.push((StepKind::Canary, None));
    steps.extend(route_served(ground));
    steps
}

/// Hand-over 7: whoever moves a route waits for the front ends, if there are any.
fn route_served(ground: &Ground<'_>) -> Option<(StepKind, Option<Place>)> {
    (!ground.cluster.front_ends.is_empty()).then_some((StepKind::RouteServed, None))
}

/// The canary is written from another host than the new master's, and from a third one where there is one.
fn canary(ground: &Ground<'_>, number: usize, task: &Task, at: Option<&Place>) -> Result<(), Fault> {
    let Some(Place::Host(host)) = at else { return Err(Fault::Canary(number)) };
    let fine = match &task.kind {
        TaskKind::CreateStore { copies, master, .. } => {
            let has_copy = copies.keys().any(|slot| slot.host == *host);
            has_copy && (copies.len() == 1 || *host != master.host)
        }
        TaskKind::HandOver { from, to } | TaskKind::FailOver { from, to, .. } => {
            let third = |name: &HostName| *name != from.host && *name != to.host && ground.in_use(name);
            third(host) || (!ground.cluster.hosts.keys().any(third) && [&from.host, &to.host].contains(&host))
        }
        _ => true,
    };
    if fine { Ok(()) } else { Err(Fault::Canary(number)) }
}

impl Ground<'_> {
    /// Whether orders reach a host: heard lately, with the admitted disk and the latest boot.
    pub(super) fn hears(&self, name: &HostName) -> bool {
        let Some(host) = self.cluster.hosts.get(name) else { return false };
        let Some(seen) = self.evidence.hosts.get(name) else { return false };
        match (seen.agent.value(), seen.agent.age_ms()) {
            (Some(agent), Some(age)) => {
                age <= self.cluster.policy.silent_ms
                    && host.quarantined.is_none()
                    && host.incarnation == Some(agent.incarnation)
                    && host.boot == Some(agent.boot)
            }
            _ => false,
        }
    }

    fn in_use(&self, name: &HostName) -> bool {
        let declared = self.cluster.hosts.get(name).map(|h| h.declared);
        matches!(declared, Some(HostState::Active | HostState::Draining | HostState::Empty)) && self.hears(name)
    }

    /// Whether a copy is raised and follows: not stopped, not set aside, and its host hears.
    pub(super) fn follows_orders(&self, slot: &SlotId, copy: &Copy) -> bool {
        !matches!(copy.state, CopyState::Stopped | CopyState::Quarantined | CopyState::Retired)
            && self.hears(&slot.host)
            && (copy.whole || self.evidence.running(slot, self.cluster.policy.silent_ms).is_some())
            // A disk that was replaced holds none of the copies, and nothing can be ordered of them.
            && !(copy.state == CopyState::Building && matches!(self.evidence.copy(slot).value(), Some(CopyEvidence::Absent)))
    }

    /// R3: everyone but `to` who may acknowledge below the new epoch.
    pub(super) fn may_acknowledge(&self, store: &Store, from: &SlotId, to: &SlotId) -> BTreeSet<SlotId> {
        let pending = store.pending.iter().filter(|_| store.promote_started);
        let all = store.possible_masters.keys().chain(&store.master).chain(pending).chain([from]);
        all.filter(|slot| *slot != to).cloned().collect()
    }
}
