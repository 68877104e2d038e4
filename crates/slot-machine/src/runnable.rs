//! What is to be done now, computed from the state alone.
//!
//! What always holds: a new leader that computes it gets the same orders, with the same identities, as the old one (S6);
//! nothing is in here that [`crate::ready`] would refuse; no more hand-overs and builds run at once than policy
//! allows.

use crate::command::StepRef;
use crate::pause;
use crate::ready::{self, At};
use crate::state::*;
use crate::steps::current;
use crate::unwind::{CANCEL_BIT, SERVE_BIT, THAW_BIT};
use slot_planted::planted;
use slot_types::cluster::{Cluster, Domain};
use slot_types::engine::Source;
use slot_types::ids::*;
use slot_types::order::{Action, Order, Subject};
use slot_types::plan::{Place, StepKind, Task, TaskKind};
use std::collections::{BTreeMap, BTreeSet};

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Runnable {
    /// Propose StartStep, once its guard holds.
    Start {
        /// Which.
        step: StepRef,
        /// Which attempt.
        attempt: u32,
        /// The host that will carry it out; `None` for a change of the replicated state alone.
        host: Option<HostName>,
        /// What kind of step.
        kind: StepKind,
        /// In log time from when it could first start.
        deadline_ms: u64,
    },
    /// Deliver an order until its outcome is durable. The sender fills in its term and a budget.
    Send {
        /// Which step it is for.
        step: StepRef,
        /// What kind of step.
        kind: StepKind,
        /// To whom.
        host: HostName,
        /// The order; its term is 0.
        order: Box<Order>,
        /// When its step started, in log time.
        since: LogTime,
        /// In log time from then.
        deadline_ms: u64,
    },
    /// It can't start: the replicated state does not allow it now.
    Blocked {
        /// Which.
        step: StepRef,
        /// Why.
        why: String,
        /// In log time from when it was first blocked.
        deadline_ms: u64,
    },
}

/// How much of a kind policy lets be under way, in all, by host and by failure domain.
struct Bounds {
    at_once: u16,
    per_host: u16,
    per_domain: u16,
}

/// What is under way of a kind that policy bounds.
#[derive(Default)]
struct UnderWay {
    all: usize,
    by_host: BTreeMap<HostName, usize>,
    by_domain: BTreeMap<Domain, usize>,
}

impl UnderWay {
    fn add(&mut self, cluster: &Cluster, hosts: &[&HostName]) {
        self.all += 1;
        for host in hosts {
            *self.by_host.entry((*host).clone()).or_default() += 1;
        }
        for domain in domains(cluster, hosts) {
            *self.by_domain.entry(domain.clone()).or_default() += 1;
        }
    }
    /// Takes a place, if one is free for all of these hosts and their domains.
    fn take(&mut self, cluster: &Cluster, hosts: &[&HostName], bounds: &Bounds) -> bool {
        let below = |n: Option<&usize>, bound: u16| n.copied().unwrap_or(0) < usize::from(bound.max(1));
        let room = below(Some(&self.all), bounds.at_once)
            && hosts.iter().all(|host| below(self.by_host.get(*host), bounds.per_host))
            && domains(cluster, hosts).into_iter().all(|at| below(self.by_domain.get(at), bounds.per_domain));
        if room {
            self.add(cluster, hosts);
        }
        room
    }
}

/// The failure domains of some hosts, each once.
fn domains<'a>(cluster: &'a Cluster, hosts: &[&HostName]) -> BTreeSet<&'a Domain> {
    hosts.iter().filter_map(|host| cluster.hosts.get(*host).map(|host| &host.at)).collect()
}

/// Hand-overs and builds of copies under way.
#[derive(Default)]
struct Caps {
    handovers: UnderWay,
    copies: UnderWay,
}

impl Caps {
    fn count(state: &State, cluster: &Cluster) -> Self {
        let mut caps = Self::default();
        for record in state.running() {
            for (task, run) in record.plan.tasks.iter().zip(&record.tasks) {
                if !matches!(run.state, TaskState::Running | TaskState::Unwinding { .. }) {
                    continue;
                }
                match &task.kind {
                    // A front end that nobody reaches holds up its own stores' tasks, and no other promotion.
                    _ if waits_for_front_ends(task, run) => {}
                    TaskKind::HandOver { from, to } => caps.handovers.add(cluster, &[&from.host, &to.host]),
                    TaskKind::BuildCopy { slot, .. } => {
                        caps.copies.add(cluster, &ends_of_build(cluster, task, slot));
                    }
                    _ => {}
                }
            }
        }
        caps
    }

    /// Whether policy lets this task begin now.
    fn admits(&mut self, cluster: &Cluster, task: &Task) -> bool {
        let policy = &cluster.policy;
        match &task.kind {
            TaskKind::HandOver { from, to } => {
                let bounds = Bounds {
                    at_once: policy.handover_at_once,
                    per_host: policy.handover_per_host,
                    per_domain: policy.handover_per_domain,
                };
                self.handovers.take(cluster, &[&from.host, &to.host], &bounds)
            }
            TaskKind::BuildCopy { slot, .. } => {
                let hosts = ends_of_build(cluster, task, slot);
                let bounds = Bounds {
                    at_once: policy.copy_at_once,
                    per_host: policy.copy_per_host,
                    per_domain: policy.copy_per_domain,
                };
                self.copies.take(cluster, &hosts, &bounds)
            }
            _ => true,
        }
    }
}

/// Whether everything is done but that front ends say that they serve the route.
fn waits_for_front_ends(task: &Task, run: &TaskRun) -> bool {
    let kind = current(run).and_then(|number| task.steps.get(usize::from(number))).map(|step| step.kind);
    kind == Some(StepKind::RouteServed)
}

/// The hosts that a build reads from and writes to.
fn ends_of_build<'a>(cluster: &'a Cluster, task: &'a Task, slot: &'a SlotId) -> Vec<&'a HostName> {
    let store = task.store.as_ref().and_then(|name| cluster.stores.get(name));
    let master = store.and_then(|store| store.master.as_ref()).map(|master| &master.host);
    std::iter::once(&slot.host).chain(master).collect()
}

/// Everything that is to be done now. Pure; the term and budgets of the orders are the sender's.
pub fn runnable(state: &State) -> Vec<Runnable> {
    let mut out = Vec::new();
    let Some(cluster) = &state.cluster else { return out };
    let mut caps = Caps::count(state, cluster);
    for record in state.running() {
        for number in 0..record.tasks.len() {
            let number = u16::try_from(number).unwrap_or(u16::MAX);
            task_runnable(state, cluster, record, number, &mut caps, &mut out);
        }
    }
    out
}

fn task_runnable(
    state: &State,
    cluster: &Cluster,
    record: &PlanRecord,
    task: u16,
    caps: &mut Caps,
    out: &mut Vec<Runnable>,
) {
    let run = &record.tasks[usize::from(task)];
    if let TaskState::Unwinding { .. } = run.state {
        return unwinding(state, cluster, record, task, out);
    }
    if run.state.is_ended() {
        return;
    }
    let Some(number) = current(run) else { return };
    let Some(at) = At::new(state, record, task, number) else { return };
    let step = StepRef { plan: record.id, task, step: number };
    let deadline_ms = at.step.deadline_ms;
    match &run.steps[usize::from(number)].state {
        StepState::Waiting { attempt } => {
            let waits = at
                .task
                .after
                .iter()
                .any(|dep| !record.tasks.get(usize::from(*dep)).is_some_and(|t| t.state.is_ended()));
            if waits {
                return;
            }
            // R18: nobody waits for what a pause holds back, so it never is called stuck.
            if pause::keeps_still(record, at.task, run) {
                return;
            }
            if run.state == TaskState::Waiting && !caps.admits(cluster, at.task) {
                return;
            }
            out.push(match ready::ready(&at) {
                Ok(()) => {
                    let host = at.host().cloned();
                    Runnable::Start { step, attempt: *attempt, host, kind: at.step.kind, deadline_ms }
                }
                Err(why) => Runnable::Blocked { step, why, deadline_ms },
            });
        }
        StepState::Started { attempt, index, at: since, incarnation, boot } => {
            let id = OrderId { plan: record.id, task, step: number, attempt: *attempt };
            let Some(host) = at.host().cloned() else { return };
            let since = run.serve.filter(|_| at.step.kind == StepKind::Promote).map_or(*since, |serve| serve.at);
            serving(state, &at, step, out);
            let newest = cluster.hosts.get(&host).and_then(|h| h.boot);
            let boot = newest.filter(|_| planted("r27-order-moved-to-new-boot")).unwrap_or(*boot);
            // R8, S7: a Promote that is not there yet is not sent on once what it rests on is gone.
            // R6: neither does the order to cut a host's power, once it has booted again.
            let holds = match at.step.kind {
                StepKind::Promote | StepKind::FenceHost => ready::ready(&at),
                _ => Ok(()),
            };
            out.push(match holds.and_then(|()| order(&at, id, *index, *incarnation, boot)) {
                Ok(order) => {
                    Runnable::Send { step, kind: at.step.kind, host, order: Box::new(order), since, deadline_ms }
                }
                Err(why) => Runnable::Blocked { step, why, deadline_ms },
            });
        }
        StepState::Done { .. } | StepState::Never { .. } => {}
    }
}

/// Cancels and thaws; they carry the index at which going back began, which is above that of the orders they are about.
fn unwinding(state: &State, cluster: &Cluster, record: &PlanRecord, task: u16, out: &mut Vec<Runnable>) {
    let Some(unwind) = &record.tasks[usize::from(task)].unwind else { return };
    let mut send = |number: u16, bit: u16, action: Action| {
        let Some(at) = At::new(state, record, task, number) else { return };
        let (Some(host), Some(attempt)) = (at.host().cloned(), attempt_of(&at, number)) else { return };
        let Some((incarnation, boot)) = cluster.hosts.get(&host).and_then(|h| Some((h.incarnation?, h.boot?))) else {
            return;
        };
        let id = OrderId { plan: record.id, task, step: number | bit, attempt };
        let order = Order {
            cluster: cluster.id,
            term: Term(0),
            index: unwind.index,
            id,
            incarnation,
            boot,
            subject: subject(&at, at.task.epoch).ok(),
            budget_ms: at.step.deadline_ms,
            action,
        };
        let step = StepRef { plan: record.id, task, step: number };
        out.push(Runnable::Send {
            step,
            kind: at.step.kind,
            host,
            order: Box::new(order),
            since: state.log_time,
            deadline_ms: at.step.deadline_ms,
        });
    };
    for number in &unwind.cancel {
        let attempt = match &record.tasks[usize::from(task)].steps[usize::from(*number)].state {
            StepState::Started { attempt, .. } => *attempt,
            _ => 1,
        };
        let order = OrderId { plan: record.id, task, step: *number, attempt };
        send(*number, CANCEL_BIT, Action::Cancel { order });
    }
    // The freeze's id names plan and task of this task; the unwinding record keeps only step and attempt.
    if let Some(thaw) = unwind.thaw.filter(|_| unwind.cancel.is_empty()) {
        let freeze = OrderId { plan: record.id, task, step: thaw.step, attempt: thaw.attempt };
        send(thaw.step, THAW_BIT, Action::Thaw { freeze });
    }
}

/// While a Promote waits for its source: the source's Demote once more, which starts its engine read-only if it is dead.
fn serving(state: &State, promote: &At<'_>, step: StepRef, out: &mut Vec<Runnable>) {
    let Some(serve) = promote.run.serve.filter(|serve| !serve.answered) else { return };
    let Some(number) = ready::demote_of_source(promote) else { return };
    let Some(at) = At::new(state, promote.record, step.task, number) else { return };
    let Some(host) = at.host().cloned() else { return };
    let Some((incarnation, boot)) = at.cluster.hosts.get(&host).and_then(|h| Some((h.incarnation?, h.boot?))) else {
        return;
    };
    let id = OrderId { plan: step.plan, task: step.task, step: number | SERVE_BIT, attempt: serve.attempt };
    let Ok(order) = order(&at, id, serve.index, incarnation, boot) else { return };
    out.push(Runnable::Send {
        step: StepRef { step: number, ..step },
        kind: StepKind::Demote,
        host,
        order: Box::new(order),
        since: state.log_time,
        deadline_ms: at.step.deadline_ms,
    });
}

fn attempt_of(at: &At<'_>, number: u16) -> Option<u32> {
    match at.run.steps.get(usize::from(number))?.state {
        StepState::Waiting { attempt }
        | StepState::Started { attempt, .. }
        | StepState::Done { attempt, .. }
        | StepState::Never { attempt, .. } => Some(attempt),
    }
}

fn subject(at: &At<'_>, epoch: Epoch) -> Result<Subject, String> {
    let store = at.task.store.clone().ok_or("the task names no store")?;
    let slot = at.slot()?;
    let generation =
        at.store()?.copies.get(slot).map(|c| c.generation).ok_or_else(|| format!("{slot} holds no copy of it"))?;
    Ok(Subject { store, slot: slot.number, generation, epoch })
}

fn source(at: &At<'_>, slot: &SlotId) -> Result<Source, String> {
    let address = at.cluster.slot(slot).map(|s| s.address).ok_or_else(|| format!("{slot} has no address"))?;
    Ok(Source { slot: slot.clone(), address })
}

fn master(at: &At<'_>) -> Result<Source, String> {
    let slot = at.store()?.master.as_ref().ok_or("the store has no master now")?;
    source(at, slot)
}

fn order(at: &At<'_>, id: OrderId, index: LogIndex, incarnation: Incarnation, boot: BootId) -> Result<Order, String> {
    let epoch = match at.step.kind {
        StepKind::Freeze | StepKind::CatchUp => at.task.epoch,
        StepKind::ConfirmStopped => Epoch::ZERO,
        StepKind::StartMaster if planted("r25-start-master-after-commit") => at.task.epoch,
        _ => at.store()?.epoch,
    };
    let subject = match &at.step.at {
        Some(Place::Slot(_)) => Some(subject(at, epoch)?),
        _ => None,
    };
    Ok(Order {
        cluster: at.cluster.id,
        term: Term(0),
        index,
        id,
        incarnation,
        boot,
        subject,
        budget_ms: at.step.deadline_ms,
        action: action(at)?,
    })
}

fn action(at: &At<'_>) -> Result<Action, String> {
    let sync_copies = at.store().map(|s| s.spec.sync_copies).unwrap_or(0);
    Ok(match (at.step.kind, &at.task.kind) {
        (StepKind::Provision, _) => Action::Provision,
        (StepKind::Destroy, _) => Action::Destroy,
        (StepKind::Freeze, _) => Action::Freeze { limit_ms: at.cluster.policy.freeze_limit_ms },
        (StepKind::CatchUp, TaskKind::HandOver { from, .. }) => {
            let target = at.tip_of(StepKind::Freeze, from).ok_or_else(|| format!("{from} is not frozen"))?;
            Action::CatchUp { source: source(at, from)?, target }
        }
        (StepKind::Demote, _) => Action::Demote,
        (StepKind::Raise, _) => Action::Raise,
        (StepKind::Feed, TaskKind::FailOver { feed: Some(feed), .. }) => {
            let target = at.tip_of(StepKind::Raise, feed).ok_or_else(|| format!("{feed} was not raised"))?;
            Action::CatchUp { source: source(at, feed)?, target }
        }
        (StepKind::Promote, _) => {
            let (expect, fed_by) = ready::expected_tip(at)?;
            let source = fed_by.map(|slot| source(at, slot)).transpose()?;
            Action::Promote { expect, source, sync_copies }
        }
        (StepKind::Follow, _) => Action::Follow { source: master(at)? },
        (StepKind::Canary, _) => {
            let store = at.task.store.clone().ok_or("the task names no store")?;
            Action::Canary { store, epoch: at.store()?.epoch, to: master(at)? }
        }
        (StepKind::StartMaster, _) => Action::StartMaster { sync_copies },
        (StepKind::Stop, _) => Action::Stop,
        (StepKind::ConfirmStopped, _) => Action::ConfirmStopped,
        (StepKind::ListStranded, _) => Action::ListStranded { against: master(at)? },
        (StepKind::Reinject, _) => Action::Reinject { to: master(at)? },
        (StepKind::FenceHost, _) => {
            let host = crate::fence::target(at.step).ok_or("the step switches nothing off")?;
            let off = at.record.plan.switch_off.get(host).ok_or_else(|| format!("the plan does not name {host}"))?;
            Action::Fence { host: host.clone(), ends: off.boot, device: Box::new(off.spec.clone()) }
        }
        (kind, _) => return Err(format!("{kind:?} has no order")),
    })
}
