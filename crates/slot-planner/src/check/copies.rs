//! Copies that a plan builds and destroys, followed task by task.
//!
//! What always holds: at no state the plan passes through has a store fewer whole copies, in domains of their own, than it
//! asks for or had (S9); a slot is given to one copy, of a generation it never had (R11); nothing that is or may be a master
//! is destroyed, unless it was handed over before.

use super::{Fault, Ground};
use slot_types::cluster::*;
use slot_types::evidence::CopyEvidence;
use slot_types::ids::*;
use slot_types::plan::{Budget, Intent, Task, TaskKind};
use std::collections::{BTreeMap, BTreeSet};

/// A store as the plan goes on.
#[derive(Clone)]
struct Now {
    /// Copies that are there, whole or not, but for those that only their slot remembers.
    there: BTreeSet<SlotId>,
    /// Those that count.
    whole: BTreeSet<SlotId>,
    master: Option<SlotId>,
    /// Nobody serves it any more: what is left of it is only destroyed.
    retired: bool,
}

pub(super) fn check(ground: &Ground<'_>) -> Result<(), Fault> {
    let mut stores: BTreeMap<&StoreName, Now> = BTreeMap::new();
    let mut taken: BTreeSet<&SlotId> = BTreeSet::new();
    for (number, task) in ground.plan.tasks.iter().enumerate() {
        let Some((name, store)) = task.store.as_ref().and_then(|name| ground.cluster.stores.get_key_value(name)) else {
            continue;
        };
        let case = Case { ground, number, name, store };
        let now = stores.entry(name).or_insert_with(|| case.at_first());
        match &task.kind {
            TaskKind::HandOver { to, .. } => now.master = Some(to.clone()),
            TaskKind::BuildCopy { slot, generation, replaces } => {
                if !taken.insert(slot) {
                    return Err(Fault::Placement(format!("{slot} would be given twice")));
                }
                case.build(now, slot, *generation, replaces.as_ref())?;
            }
            TaskKind::CountCopy { slot } => case.count(slot)?,
            TaskKind::RetireStore { .. } => now.retired = true,
            TaskKind::DestroyCopy { slot, generation } => case.destroy(now, slot, *generation)?,
            _ => {}
        }
    }
    Ok(())
}

struct Case<'a> {
    ground: &'a Ground<'a>,
    number: usize,
    name: &'a StoreName,
    store: &'a Store,
}

impl Case<'_> {
    fn bad<T>(&self, slot: &SlotId, what: &'static str) -> Result<T, Fault> {
        Err(Fault::Role { task: self.number, slot: slot.clone(), what })
    }

    fn at_first(&self) -> Now {
        let cluster = self.ground.cluster;
        let there = self.store.copies.iter().filter(|(_, copy)| copy.state != CopyState::Retired);
        let live = |slot: &SlotId, copy: &Copy| {
            let seen = self.ground.evidence.running(slot, cluster.policy.silent_ms);
            let policy = &cluster.policy;
            let close = |s: &slot_types::engine::EngineStatus| {
                self.store.master.as_ref() == Some(slot)
                    || cluster.fault(self.store, slot).is_none()
                        && s.behind.is_some_and(|behind| behind <= policy.max_lag_records)
                        && s.heard_ms.is_some_and(|ms| ms <= policy.silent_ms)
                        && s.verified_ms.is_some_and(|ms| ms <= policy.max_stamp_age_ms)
            };
            let same = seen.is_some_and(|s| s.store == *self.name && s.generation == copy.generation && close(s));
            copy.whole
                && matches!(copy.state, CopyState::Serving | CopyState::Frozen)
                && same
                && self.ground.hears(&slot.host)
        };
        Now {
            there: there.map(|(slot, _)| slot.clone()).collect(),
            whole: self.store.copies.iter().filter(|(s, c)| live(s, c)).map(|(slot, _)| slot.clone()).collect(),
            master: self.store.master.clone(),
            retired: self.store.retired,
        }
    }

    fn domain(&self, slot: &SlotId) -> String {
        match (self.store.spec.spread, self.ground.cluster.hosts.get(&slot.host)) {
            (Spread::Rack, Some(host)) => host.at.to_string(),
            _ => slot.host.to_string(),
        }
    }

    fn settled(&self, slot: &SlotId) -> Result<(), Fault> {
        if self.store.master.is_none() || self.store.pending.is_some() {
            return self.bad(slot, "has no settled master to be built from");
        }
        Ok(())
    }

    fn build(
        &self,
        now: &mut Now,
        slot: &SlotId,
        generation: CopyGeneration,
        replaces: Option<&SlotId>,
    ) -> Result<(), Fault> {
        self.settled(slot)?;
        let cluster = self.ground.cluster;
        let host = cluster.hosts.get(&slot.host);
        let usable = host.is_some_and(|h| h.declared == HostState::Active) && self.ground.hears(&slot.host);
        let before = self.store.copies.get(slot);
        let goes_on = before
            .is_some_and(|copy| copy.generation == generation && !copy.whole && copy.state == CopyState::Building);
        let in_service = host.is_some_and(|h| matches!(h.declared, HostState::Active | HostState::Draining));
        if !(usable || goes_on && in_service && self.ground.hears(&slot.host)) {
            return Err(Fault::Placement(format!("{} would go to {slot}, whose host is not in use", self.name)));
        }
        if cluster.slot(slot).is_none_or(|room| room.size_bytes < self.store.spec.size_bytes) {
            return Err(Fault::Placement(format!("{slot} is not there or too small for {}", self.name)));
        }
        if self.store.spec.never.contains(&slot.host) {
            return Err(Fault::Placement(format!("{} would go to {slot}, the file says never there", self.name)));
        }
        if !goes_on {
            self.is_free(slot, generation)?;
        }
        // A copy on a host that can't be asked is lost to the plan; where it is to be replaced, it may share the domain.
        let stands = |other: &&SlotId| *other != slot && Some(*other) != replaces && self.ground.hears(&other.host);
        if let Some(other) = now.there.iter().filter(stands).find(|other| self.domain(other) == self.domain(slot)) {
            return Err(Fault::Placement(format!("{slot} and {other} of {} share a domain", self.name)));
        }
        // One that is lost is destroyed by a later plan, once its host can be asked.
        let lost = |old: &SlotId| {
            matches!(self.ground.plan.intent, Intent::Rebuild(_))
                && !self.ground.hears(&old.host)
                && self.domain(old) == self.domain(slot)
        };
        if let Some(old) = replaces
            && !self.goes_later(old)
            && !lost(old)
        {
            return self.bad(old, "is said to be replaced and is not destroyed afterwards");
        }
        now.there.insert(slot.clone());
        now.whole.insert(slot.clone());
        Ok(())
    }

    /// R11: nobody has it, or a lost copy of this very store that its agent does not hold any more.
    fn is_free(&self, slot: &SlotId, generation: CopyGeneration) -> Result<(), Fault> {
        let cluster = self.ground.cluster;
        if let Some((other, _, _)) = cluster.copy_on(slot).filter(|(other, ..)| *other != self.name) {
            return Err(Fault::Placement(format!("{slot} would hold copies of {other} and {}", self.name)));
        }
        let before = self.store.copies.get(slot);
        if before.is_some_and(|copy| copy.whole || self.holds(slot)) || self.depends(slot) {
            return self.bad(slot, "holds something that is still needed");
        }
        let held = before.map(|copy| copy.generation).max(self.store.past.get(slot).copied());
        if generation.0 != held.map_or(0, |held| held.0) + 1 {
            return Err(Fault::Placement(format!("the next copy on {slot} would be of generation {generation}")));
        }
        Ok(())
    }

    fn holds(&self, slot: &SlotId) -> bool {
        !matches!(self.ground.evidence.copy(slot).value(), Some(CopyEvidence::Absent))
    }

    fn depends(&self, slot: &SlotId) -> bool {
        let open = |c: &LossCase| c.store == *self.name && c.slot == *slot && c.state.is_open();
        self.store.possible_masters.contains_key(slot) || self.ground.cluster.loss_cases.values().any(open)
    }

    fn goes_later(&self, slot: &SlotId) -> bool {
        self.ground.plan.tasks.iter().skip(self.number + 1).any(|task| {
            task.store.as_ref() == Some(self.name)
                && matches!(&task.kind, TaskKind::DestroyCopy { slot: gone, .. } if gone == slot)
        })
    }

    fn count(&self, slot: &SlotId) -> Result<(), Fault> {
        self.settled(slot)?;
        let follows = self.store.master.clone().map(|master| (master, self.store.epoch));
        let Some(copy) = self.store.copies.get(slot) else { return self.bad(slot, "holds no copy of the store") };
        let status = self.ground.evidence.running(slot, self.ground.cluster.policy.silent_ms);
        let holds = status.is_some_and(|s| {
            s.generation == copy.generation && s.following == follows && s.behind == Some(0) && s.verified_ms.is_some()
        });
        if !copy.whole && copy.state == CopyState::Building && copy.follows == follows && holds {
            Ok(())
        } else {
            self.bad(slot, "was not seen to hold everything")
        }
    }

    fn destroy(&self, now: &mut Now, slot: &SlotId, generation: CopyGeneration) -> Result<(), Fault> {
        let Some(copy) = self.store.copies.get(slot).filter(|copy| copy.generation == generation) else {
            return self.bad(slot, "holds no such copy of the store");
        };
        if now.retired {
            // That its master is fenced first and nothing is open is judged with the whole plan.
            return if self.ground.hears(&slot.host) {
                Ok(())
            } else {
                self.bad(slot, "is on a host that can't be asked")
            };
        }
        if self.depends(slot) || self.store.pending.as_ref() == Some(slot) {
            return self.bad(slot, "may still be a master, or holds records of a loss case");
        }
        if now.master.as_ref() == Some(slot) {
            return self.bad(slot, "is the master and is not handed over first");
        }
        if !self.ground.hears(&slot.host) {
            return self.bad(slot, "is on a host that can't be asked");
        }
        now.there.remove(slot);
        now.whole.remove(slot);
        if !copy.whole || copy.state == CopyState::Retired {
            return Ok(());
        }
        let domains: BTreeSet<String> = now.whole.iter().map(|other| self.domain(other)).collect();
        if domains.len() < usize::from(self.store.spec.copies) {
            return Err(Fault::Placement(format!("{} would be left with {} whole copies", self.name, domains.len())));
        }
        Ok(())
    }
}

/// Whether an intent is one that builds and destroys, and a task of it is within what was asked for.
pub(super) fn within(ground: &Ground<'_>, task: &Task) -> bool {
    let at = match &task.kind {
        TaskKind::BuildCopy { slot, .. } | TaskKind::DestroyCopy { slot, .. } => slot,
        TaskKind::HandOver { from, .. } => from,
        _ => return false,
    };
    match &ground.plan.intent {
        Intent::EmptyHost(_) | Intent::EmptyHosts(_) => {
            let off = ground.plan.intent.drained();
            let leaves = |slot: &SlotId| off.contains(&&slot.host);
            match &task.kind {
                TaskKind::BuildCopy { replaces, .. } => !leaves(at) && replaces.as_ref().is_some_and(leaves),
                TaskKind::HandOver { to, .. } => leaves(at) && !leaves(to),
                _ => leaves(at),
            }
        }
        Intent::MoveCopy { slot, to } => match &task.kind {
            TaskKind::BuildCopy { slot: built, replaces, .. } => {
                replaces.as_ref() == Some(slot) && to.as_ref().is_none_or(|to| to == built)
            }
            TaskKind::HandOver { from, to: next } => {
                from == slot
                    && ground
                        .plan
                        .tasks
                        .iter()
                        .any(|t| matches!(&t.kind, TaskKind::BuildCopy { slot, .. } if slot == next))
            }
            _ => at == slot,
        },
        Intent::Rebuild(scope) => {
            let store = task.store.as_ref();
            let inside = match scope {
                slot_types::plan::Scope::Store(wanted) => store == Some(wanted),
                slot_types::plan::Scope::Host(host) => store
                    .and_then(|name| ground.cluster.stores.get(name))
                    .is_some_and(|store| store.copies.keys().any(|slot| slot.host == *host)),
                slot_types::plan::Scope::All => true,
            };
            inside && !matches!(task.kind, TaskKind::HandOver { .. })
        }
        Intent::Rebalance(budget) => budget_holds(ground, budget),
        Intent::Fill { hosts, budget } => {
            let comes = match &task.kind {
                TaskKind::BuildCopy { slot: to, .. } | TaskKind::HandOver { to, .. } => hosts.contains(&to.host),
                _ => true,
            };
            comes && budget_holds(ground, budget)
        }
        _ => false,
    }
}

/// What a rebalancing copies and moves stays within what was asked for.
fn budget_holds(ground: &Ground<'_>, budget: &Budget) -> bool {
    let tasks = ground.plan.tasks.as_slice();
    let size = |task: &Task| {
        let store = task.store.as_ref().and_then(|name| ground.cluster.stores.get(name));
        store.filter(|_| matches!(task.kind, TaskKind::BuildCopy { .. })).map_or(0, |store| store.spec.size_bytes)
    };
    let bytes = tasks.iter().map(size).fold(0u64, u64::saturating_add);
    let moves = |kind: fn(&TaskKind) -> bool| tasks.iter().filter(|task| kind(&task.kind)).count();
    let copies = moves(|kind| matches!(kind, TaskKind::BuildCopy { .. }));
    let masters = moves(|kind| matches!(kind, TaskKind::HandOver { .. }));
    // A master that goes along with a copy is one move.
    let within = |max: u32| copies.max(masters) <= max as usize;
    budget.max_bytes.is_none_or(|max| bytes <= max) && budget.max_moves.is_none_or(within)
}
