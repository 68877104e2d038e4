//! What each kind of task presupposes of the cluster, and what a failover may claim.
//!
//! What always holds: R3 and R28 (everyone who may acknowledge is demoted by a step or waived by name), R7 (a loss is
//! never said smaller than evidence shows), R16 (no building copy is promoted).

use super::{Fault, Ground};
use slot_types::cluster::*;
use slot_types::engine::{EngineRole, EngineStatus};
use slot_types::ids::*;
use slot_types::plan::{Intent, Task, TaskKind};
use std::collections::BTreeSet;

pub(super) fn check(ground: &Ground<'_>, number: usize, task: &Task) -> Result<(), Fault> {
    let role = |slot: &SlotId, what| Err(Fault::Role { task: number, slot: slot.clone(), what });
    let (Some(name), slot) = (&task.store, about(&task.kind)) else { return Ok(()) };
    let Some(store) = ground.cluster.stores.get(name) else { return Ok(()) };
    let Some(slot) = slot else { return Ok(()) };
    let Some(copy) = store.copies.get(slot) else { return role(slot, "holds no copy of the store") };
    let leads = store.master.as_ref() == Some(slot) || store.pending.as_ref() == Some(slot);
    match &task.kind {
        TaskKind::HandOver { from, to } => Case { ground, number, name, store }.hand_over(from, to),
        TaskKind::FailOver { .. } => Case { ground, number, name, store }.fail_over(&task.kind),
        TaskKind::StopCopy { .. } => {
            // A former master is stopped only after its hand-over, which is then an earlier task about the same store.
            let handed_over = ground.plan.tasks.iter().take(number).any(|other| {
                other.store.as_ref() == Some(name)
                    && matches!(&other.kind, TaskKind::HandOver { from, .. } if from == slot)
            });
            match copy.state {
                _ if leads && !handed_over => role(slot, "is the master and is not handed over first"),
                _ if store.possible_masters.contains_key(slot) => role(slot, "may still be a master"),
                CopyState::Serving | CopyState::Building | CopyState::Frozen => Ok(()),
                _ => role(slot, "is in no state to be stopped"),
            }
        }
        TaskKind::StartCopy { .. } if store.master.is_none() => wakes(ground, number, task, (store, slot, copy)),
        TaskKind::StartCopy { .. } => match copy.state {
            _ if leads => role(slot, "is the master"),
            _ if store.possible_masters.contains_key(slot) => role(slot, "may still be a master"),
            _ if store.master.is_none() || store.pending.is_some() => role(slot, "has no settled master to follow"),
            CopyState::Quarantined | CopyState::Retired => role(slot, "must not follow"),
            _ => Ok(()),
        },
        TaskKind::StartMaster { .. } => {
            let host = ground.cluster.hosts.get(&slot.host).map(|h| h.declared);
            if store.master.as_ref() != Some(slot) || store.pending.is_some() {
                role(slot, "is not the settled master")
            } else if !matches!(host, Some(HostState::Active | HostState::Draining)) || !ground.hears(&slot.host) {
                role(slot, "is on a host that is out of service")
            } else {
                Ok(())
            }
        }
        TaskKind::FenceReturned { .. } => {
            let listed = |c: &LossCase| c.store == *name && c.slot == *slot && c.state == LossState::AwaitingReturn;
            if leads {
                role(slot, "is the master")
            } else if !store.possible_masters.contains_key(slot) && !ground.cluster.loss_cases.values().any(listed) {
                role(slot, "is fenced already")
            } else {
                Ok(())
            }
        }
        TaskKind::SettleLoss { case, .. } => {
            let known = ground.cluster.loss_cases.get(case);
            let fits = known.is_some_and(|c| c.store == *name && c.slot == *slot && c.state == LossState::Listed);
            if fits && !leads { Ok(()) } else { role(slot, "has no listed loss case of that number") }
        }
        TaskKind::Fleet
        | TaskKind::CreateStore { .. }
        | TaskKind::HostState { .. }
        | TaskKind::BuildCopy { .. }
        | TaskKind::CountCopy { .. }
        | TaskKind::RetireStore { .. }
        | TaskKind::DestroyCopy { .. } => Ok(()),
    }
}

/// L1: an engine of a store that has an epoch and no master is only started, by the coordinator itself, at that epoch.
fn wakes(
    ground: &Ground<'_>,
    number: usize,
    task: &Task,
    (store, slot, copy): (&Store, &SlotId, &Copy),
) -> Result<(), Fault> {
    let bad = |what| Err(Fault::Role { task: number, slot: slot.clone(), what });
    let host = ground.cluster.hosts.get(&slot.host).map(|h| h.declared);
    if !matches!(ground.plan.intent, Intent::Follow { .. }) {
        bad("has no settled master to follow")
    } else if store.epoch == Epoch::ZERO || task.epoch != store.epoch {
        bad("is not woken at the committed epoch")
    } else if matches!(copy.state, CopyState::Stopped | CopyState::Retired) {
        bad("is stopped on purpose, or gone")
    } else if !matches!(host, Some(HostState::Active | HostState::Draining)) || !ground.hears(&slot.host) {
        bad("is on a host that is out of service")
    } else {
        Ok(())
    }
}

fn about(kind: &TaskKind) -> Option<&SlotId> {
    match kind {
        TaskKind::HandOver { from, .. } | TaskKind::FailOver { from, .. } => Some(from),
        TaskKind::StopCopy { slot }
        | TaskKind::StartCopy { slot }
        | TaskKind::StartMaster { slot }
        | TaskKind::FenceReturned { slot }
        | TaskKind::SettleLoss { slot, .. } => Some(slot),
        // What comes and goes is followed task by task elsewhere.
        TaskKind::BuildCopy { .. }
        | TaskKind::CountCopy { .. }
        | TaskKind::RetireStore { .. }
        | TaskKind::DestroyCopy { .. } => None,
        TaskKind::Fleet | TaskKind::CreateStore { .. } | TaskKind::HostState { .. } => None,
    }
}

impl Ground<'_> {
    /// R8: a person's word for the latest boot, in force, and nothing heard of agent or engines since.
    pub(super) fn said_off(&self, host: &HostName) -> bool {
        let (cluster, evidence) = (self.cluster, self.evidence);
        let Some(word) = cluster.attestations.get(host) else { return false };
        let boot = cluster.hosts.get(host).and_then(|h| h.boot);
        if boot != Some(word.boot) || word.expires <= self.plan.created {
            return false;
        }
        let since = |age: u64| evidence.taken_at.0.saturating_sub(age) > word.at.0;
        let agent = evidence.hosts.get(host).and_then(|h| h.agent.age_ms()).is_some_and(since);
        let engine = evidence.copies.iter().any(|(slot, _)| {
            let Some((status, age)) = evidence.last_status(slot) else { return false };
            let from_host = status.following.as_ref().is_some_and(|(source, _)| source.host == *host);
            slot.host != *host && from_host && status.heard_ms.is_some_and(|ms| since(age.saturating_add(ms)))
        });
        !agent && !engine
    }
}

struct Case<'a> {
    ground: &'a Ground<'a>,
    number: usize,
    name: &'a StoreName,
    store: &'a Store,
}

impl Case<'_> {
    fn role(&self, slot: &SlotId, what: &'static str) -> Result<(), Fault> {
        Err(Fault::Role { task: self.number, slot: slot.clone(), what })
    }

    /// What an engine said lately, if it holds the recorded copy.
    fn seen(&self, slot: &SlotId) -> Option<&EngineStatus> {
        let status = self.ground.evidence.running(slot, self.ground.cluster.policy.silent_ms)?;
        let generation = self.store.copies.get(slot)?.generation;
        let same = status.store == *self.name && status.generation == generation;
        (same && self.ground.hears(&slot.host)).then_some(status)
    }

    fn hand_over(&self, from: &SlotId, to: &SlotId) -> Result<(), Fault> {
        let (store, policy) = (self.store, &self.ground.cluster.policy);
        if store.master.as_ref() != Some(from) || store.pending.is_some() {
            return self.role(from, "is not the settled master");
        }
        if !self.seen(from).is_some_and(|s| s.role == EngineRole::Master && s.epoch == store.epoch) {
            return self.role(from, "is not seen as master at the store's epoch");
        }
        if let Some(slot) = store.possible_masters.keys().next() {
            return Err(Fault::NotFenced { task: self.number, slot: slot.clone() });
        }
        // Built by this very plan: the guards of the hand-over look at it then (R14).
        let built = self.ground.plan.tasks.iter().take(self.number).any(|task| {
            task.store.as_ref() == Some(self.name)
                && matches!(&task.kind, TaskKind::BuildCopy { slot, .. } if slot == to)
        });
        if built {
            return Ok(());
        }
        let Some(copy) = store.copies.get(to).filter(|c| to != from && c.role == Role::Replica) else {
            return self.role(to, "is no replica of the store");
        };
        if matches!(self.ground.plan.intent, Intent::UndrainHost(_) | Intent::Undo(_)) {
            // It follows again before it gets the master role; the guards of the hand-over look at it then (R14).
            let started = self.ground.plan.tasks.iter().take(self.number).any(|task| {
                task.store.as_ref() == Some(self.name)
                    && matches!(&task.kind, TaskKind::StartCopy { slot } if slot == to)
            });
            let fine = copy.state == CopyState::Serving || (copy.state == CopyState::Stopped && started);
            return if fine { Ok(()) } else { self.role(to, "is not started before it gets the master role") };
        }
        let active = self.ground.cluster.hosts.get(&to.host).is_some_and(|h| h.declared == HostState::Active);
        let close = self.seen(to).is_some_and(|s| {
            s.role == EngineRole::Replica
                && s.following.as_ref() == Some(&(from.clone(), store.epoch))
                && s.behind.is_some_and(|n| n <= policy.max_lag_records)
                && s.heard_ms.is_some_and(|ms| ms <= policy.silent_ms)
                && s.verified_ms.is_some_and(|ms| ms <= policy.max_stamp_age_ms)
                && self.ground.cluster.fault(store, to).is_none()
        });
        if active && close && copy.state == CopyState::Serving {
            Ok(())
        } else {
            self.role(to, "is not close behind and verified, on an Active host")
        }
    }

    fn fail_over(&self, kind: &TaskKind) -> Result<(), Fault> {
        let TaskKind::FailOver { from, to, fence, waived, unreachable, feed, loss } = kind else { return Ok(()) };
        let (store, ground) = (self.store, self.ground);
        let leads = store.master.as_ref() == Some(from)
            || store.pending.as_ref() == Some(from)
            || (store.master.is_none() && store.possible_masters.contains_key(from));
        // L1: where there is no master, the slot that was to be one may be the only copy left.
        if !leads || (from == to && (store.master.is_some() || self.another_can_lead(from, to))) {
            return self.role(from, "is not the master, or is to be master itself");
        }
        let candidate = self.candidate(from, to)?;
        self.fences(from, to, *fence, waived)?;
        let possible = ground.may_acknowledge(store, from, to);
        let left: BTreeSet<SlotId> = store
            .copies
            .iter()
            .filter(|(s, c)| *s != from && *s != to && !ground.follows_orders(s, c))
            .filter(|(s, _)| waived.contains(*s) || !possible.contains(*s))
            .filter(|(s, c)| {
                c.state != CopyState::Retired && !(c.state == CopyState::Quarantined && ground.hears(&s.host))
            })
            .map(|(s, _)| s.clone())
            .collect();
        if *unreachable != left {
            return self.role(to, "is promoted past copies that are not named as unreachable");
        }
        // Unplanned 3: the furthest raised copy feeds; nobody further is left behind.
        let raised = store.copies.iter().filter(|(s, c)| {
            *s != from && *s != to && ground.follows_orders(s, c) && (!possible.contains(*s) || waived.contains(*s))
        });
        let further = raised.filter_map(|(s, c)| self.seen(s).map(|status| (s, c, status))).filter(|(_, c, status)| {
            let whole = c.state != CopyState::Building || status.role == EngineRole::Demoted;
            whole && status.role != EngineRole::Diverged && status.tip.position > candidate.tip.position
        });
        let best = further.clone().map(|(_, _, status)| status.tip.position).max();
        let furthest = match (feed, best) {
            (None, None) => candidate,
            (Some(slot), Some(best)) => match further.into_iter().find(|(s, ..)| *s == slot) {
                Some((_, _, status)) if status.tip.position == best => status,
                _ => return self.role(slot, "feeds, but is not the furthest raised copy"),
            },
            _ => return self.role(to, "is behind a raised copy that does not feed it, or is fed by none"),
        };
        self.loss(from, waived, candidate, furthest, loss)
    }

    fn candidate(&self, from: &SlotId, to: &SlotId) -> Result<&EngineStatus, Fault> {
        let bad = |what| Fault::Role { task: self.number, slot: to.clone(), what };
        let copy = self.store.copies.get(to).ok_or(bad("holds no copy of the store"))?;
        let active = self.ground.cluster.hosts.get(&to.host).is_some_and(|h| h.declared == HostState::Active);
        let status = self.seen(to).ok_or(bad("is not seen running"))?;
        let whole = match copy.state {
            CopyState::Serving | CopyState::Frozen => true,
            CopyState::Building => status.role == EngineRole::Demoted,
            CopyState::Quarantined => self.waits(to) && !self.another_can_lead(from, to),
            CopyState::Stopped | CopyState::Retired => false,
        };
        if whole && copy.whole && active && status.role != EngineRole::Diverged {
            Ok(status)
        } else {
            Err(bad("is not a whole copy on an Active host"))
        }
    }

    /// Whether an open loss case is about the copy on a slot.
    fn waits(&self, slot: &SlotId) -> bool {
        let mut cases = self.ground.cluster.loss_cases.values();
        cases.any(|c| c.store == *self.name && c.slot == *slot && c.state.is_open())
    }

    /// A copy that waits for its loss case is the last resort: nothing is seen that could be promoted without one.
    fn another_can_lead(&self, from: &SlotId, to: &SlotId) -> bool {
        self.store.copies.iter().any(|(slot, copy)| {
            let active = self.ground.cluster.hosts.get(&slot.host).is_some_and(|h| h.declared == HostState::Active);
            let seen = self.seen(slot).is_some_and(|status| status.role != EngineRole::Diverged);
            let plain = matches!(copy.state, CopyState::Serving | CopyState::Frozen);
            slot != to
                && slot != from
                && self.store.master.as_ref() != Some(slot)
                && active
                && seen
                && plain
                && !self.waits(slot)
        })
    }

    /// R3, R28, R8.
    fn fences(&self, from: &SlotId, to: &SlotId, fence: FenceLevel, waived: &BTreeSet<SlotId>) -> Result<(), Fault> {
        let possible = self.ground.may_acknowledge(self.store, from, to);
        if let Some(slot) = possible.iter().find(|s| !waived.contains(*s) && !self.ground.hears(&s.host)) {
            return Err(Fault::NotFenced { task: self.number, slot: slot.clone() });
        }
        if waived.iter().any(|slot| !possible.contains(slot) || self.ground.hears(&slot.host)) {
            return Err(Fault::Fence(self.number));
        }
        let weakest = waived.iter().map(|s| {
            // Whether the device may be used is judged by itself.
            if self.ground.plan.switch_off.contains_key(&s.host) {
                FenceLevel::Device
            } else if self.ground.said_off(&s.host) {
                FenceLevel::Attested
            } else {
                FenceLevel::None
            }
        });
        let weakest = weakest.max().unwrap_or(FenceLevel::Demoted);
        let allowed = weakest != FenceLevel::None || self.ground.cluster.policy.allow_unfenced;
        if fence == weakest && allowed { Ok(()) } else { Err(Fault::Fence(self.number)) }
    }

    /// R7: never smaller than evidence shows.
    fn loss(
        &self,
        from: &SlotId,
        waived: &BTreeSet<SlotId>,
        candidate: &EngineStatus,
        furthest: &EngineStatus,
        loss: &LossStatement,
    ) -> Result<(), Fault> {
        let wrong = Err(Fault::Loss(self.number));
        if loss.candidate != furthest.tip {
            return wrong;
        }
        let reported = self.ground.evidence.last_status(from).map(|(status, age)| (status.tip, age));
        if loss.last_known.is_some() && loss.last_known.zip(loss.last_known_age_ms) != reported {
            return wrong;
        }
        if self.store.last_promoted.is_unheard_of() {
            // R10: a master that nobody knows of may have acknowledged.
            return if loss.class == LossClass::Unknown { Ok(()) } else { wrong };
        }
        if waived.is_empty() {
            return if loss.class == LossClass::NoneProvable { Ok(()) } else { wrong };
        }
        let verified = candidate.verified_ms.is_some_and(|ms| ms <= self.ground.cluster.policy.max_stamp_age_ms)
            && self.ground.cluster.fault(self.store, &candidate.slot).is_none();
        let only_from = waived.iter().all(|slot| slot == from);
        let fine = match loss.class {
            LossClass::NoneProvable => verified && only_from && self.bound_holds(from, furthest),
            LossClass::CaughtUp => {
                verified && only_from && loss.last_known.is_some_and(|tip| tip.position <= furthest.tip.position)
            }
            LossClass::Lagging => loss.last_known.is_some_and(|tip| tip.position > furthest.tip.position),
            LossClass::Unverified | LossClass::Unknown => true,
        };
        if fine { Ok(()) } else { wrong }
    }

    /// With `sync_copies` = k, an acknowledged record is on k of the copies that are not master; fewer than k of them
    /// may be out of reach.
    fn bound_holds(&self, from: &SlotId, furthest: &EngineStatus) -> bool {
        let store = self.store;
        let replicas = store.copies.iter().filter(|(slot, _)| *slot != from);
        let out_of_reach = replicas
            .filter(|(slot, copy)| copy.state != CopyState::Serving || !self.ground.follows_orders(slot, copy))
            .count()
            // R7: what is gone since the last Promote may have been all that an acknowledgement rested on.
            + store.unheard.len();
        let alone = store.possible_masters.keys().all(|slot| slot == from) && store.pending.is_none();
        alone
            && store.master.as_ref() == Some(from)
            && out_of_reach < usize::from(store.spec.sync_copies)
            && furthest.history.iter().any(|line| line.epoch == store.last_promoted)
    }
}
