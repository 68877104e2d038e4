//! Everyday recovery: what the leader proposes by itself and needs no approval for (R25, and R8's standing order).
//!
//! What always holds: it only proposes plans the planner made; one is in flight per store; after a try the store rests,
//! longer each time; nothing is proposed in the first seconds of a leadership, while agents have not been heard, and nothing
//! but the standing Demote where a person holds it. It never changes which slot is the master.

use super::io::Now;
use super::observer::{Observer, running};
use slot_machine::plans::yields_to_everyday;
use slot_machine::state::State;
use slot_types::cluster::*;
use slot_types::engine::{EngineRole, EngineStatus};
use slot_types::ids::*;
use slot_types::order::{EngineSeen, SlotReport};
use slot_types::plan::Intent;
use std::collections::{BTreeMap, BTreeSet};

/// A new leader listens this long before it proposes anything by itself.
const LISTEN_MS: u64 = 3_000;
/// A store rests this long after a try, doubled with each further one.
const REST_MS: u64 = 2_000;
/// A store that needed nothing for this long begins again at the shortest rest.
const FORGET_MS: u64 = 120_000;
/// How often the whole fleet is looked over; a host is looked over whenever it reports.
const ROUND_MS: u64 = 1_000;

#[derive(Default)]
struct Tried {
    at: u64,
    tries: u32,
    in_flight: bool,
}

impl Tried {
    fn rests_until(&self) -> u64 {
        self.at.saturating_add(REST_MS << self.tries.saturating_sub(1).min(4))
    }
}

/// See the module's documentation.
#[derive(Default)]
pub(super) struct Everyday {
    since: u64,
    tried: BTreeMap<StoreName, Tried>,
    last_round: u64,
}

impl Everyday {
    pub(super) fn new(now: Now) -> Self {
        Self { since: now.ms, ..Self::default() }
    }

    /// Whether the whole fleet is due to be looked over.
    pub(super) fn round_due(&mut self, now: Now) -> bool {
        let due = now.ms.saturating_sub(self.last_round) >= ROUND_MS;
        if due {
            self.last_round = now.ms;
        }
        due
    }

    /// What should be proposed for the stores with a copy on this host, or for all: the first intent that can be planned.
    pub(super) fn wanted(
        &mut self,
        state: &State,
        observer: &Observer,
        now: Now,
        host: Option<&HostName>,
    ) -> Vec<(StoreName, Vec<Intent>)> {
        let Some(cluster) = &state.cluster else { return Vec::new() };
        if now.ms.saturating_sub(self.since) < LISTEN_MS {
            return Vec::new();
        }
        let mut wanted = Vec::new();
        for (name, store) in &cluster.stores {
            if store.retired || host.is_some_and(|h| !store.copies.keys().any(|s| s.host == *h)) {
                continue;
            }
            if self.tried.get(name).is_some_and(|t| t.in_flight || t.rests_until() > now.ms) {
                continue;
            }
            let turn = self.tried.get(name).map_or(0, |t| t.tries);
            let look = Look { cluster, observer, now, name, store, turn };
            // R13: what a running plan holds is left to it, but for what it would never do itself.
            let free = |intent: &Intent| match intent {
                Intent::StartMaster { slot } | Intent::Follow { slot } | Intent::FenceReturned { slot } => {
                    yields_to_everyday(state, name, slot)
                }
                _ => !state.store_claims.contains_key(name),
            };
            let intents: Vec<Intent> = look.intents().into_iter().filter(free).collect();
            if !intents.is_empty() {
                let tried = self.tried.entry(name.clone()).or_default();
                if now.ms.saturating_sub(tried.at) > FORGET_MS {
                    tried.tries = 0;
                }
                *tried = Tried { at: now.ms, tries: tried.tries + 1, in_flight: true };
                wanted.push((name.clone(), intents));
            }
        }
        wanted
    }

    /// A proposal was decided on, refused or lost.
    pub(super) fn decided(&mut self, store: &StoreName) {
        if let Some(tried) = self.tried.get_mut(store) {
            tried.in_flight = false;
        }
    }
}

/// One store, looked at.
struct Look<'a> {
    cluster: &'a Cluster,
    observer: &'a Observer,
    now: Now,
    name: &'a StoreName,
    store: &'a Store,
    /// Tries lately made for this store: what does not help is not tried for ever before what might (L1).
    turn: u32,
}

impl Look<'_> {
    /// What would help, the most urgent first. Listing what a returned master holds alone needs the master (R7), so that is
    /// started first, unless it was tried just now.
    fn intents(&self) -> Vec<Intent> {
        let mut urgent = [self.start_master(), self.fence_returned()];
        if self.turn % 2 == 1 {
            urgent.reverse();
        }
        urgent.into_iter().chain([self.follow(), self.count(), self.wake()]).flatten().collect()
    }

    /// Of several slots a different one each time.
    fn in_turn<'s>(&self, slots: impl Iterator<Item = &'s SlotId>) -> Option<&'s SlotId> {
        let slots: Vec<&SlotId> = slots.collect();
        let turn = usize::try_from(self.turn).unwrap_or(0);
        slots.get(turn % slots.len().max(1)).copied()
    }

    /// What the admitted disk of the slot's host lately said of this very copy (S2, R11).
    fn report(&self, slot: &SlotId) -> Option<&SlotReport> {
        let policy = &self.cluster.policy;
        let host = self.cluster.hosts.get(&slot.host)?;
        if !self.observer.is_well(&slot.host, host, self.now, policy.silent_ms) {
            return None;
        }
        let copy = self.store.copies.get(slot)?;
        let report = self.observer.slot(slot, self.now, policy.silent_ms)?;
        (report.store == *self.name && report.generation == copy.generation).then_some(report)
    }

    /// What a person holds is not tried again and again: it waits for its release.
    fn may_run(&self, slot: &SlotId) -> bool {
        let declared = self.cluster.hosts.get(&slot.host).map(|h| h.declared);
        matches!(declared, Some(HostState::Active | HostState::Draining)) && !self.cluster.is_held(self.name, slot)
    }

    /// R8, R28: a possible master that answers again is demoted, and what it holds alone is listed.
    fn fence_returned(&self) -> Option<Intent> {
        let awaiting: BTreeSet<&SlotId> = self
            .cluster
            .loss_cases
            .values()
            .filter(|c| c.store == *self.name && c.state == LossState::AwaitingReturn)
            .map(|c| &c.slot)
            .collect();
        let slot = self
            .store
            .possible_masters
            .keys()
            .chain(awaiting)
            .filter(|slot| self.store.master.as_ref() != Some(*slot) && self.report(slot).is_some());
        let slot = self.in_turn(slot)?;
        self.store.master.is_some().then(|| Intent::FenceReturned { slot: slot.clone() })
    }

    /// R25: same slot, same epoch, intact ledger, nothing higher committed.
    fn start_master(&self) -> Option<Intent> {
        let slot = self.store.master.as_ref().filter(|slot| self.store.pending.is_none() && self.may_run(slot))?;
        let report = self.report(slot)?;
        let copy = self.store.copies.get(slot)?;
        let down = match &report.engine {
            EngineSeen::NotRunning => true,
            EngineSeen::Silent => false,
            EngineSeen::Running(status) => status.role == EngineRole::Idle,
        };
        let intact = report.ledger_master && report.ledger_epoch == self.store.epoch;
        (down && intact && matches!(copy.state, CopyState::Serving | CopyState::Frozen))
            .then(|| Intent::StartMaster { slot: slot.clone() })
    }

    /// R25, R16: a replica follows the master that is seen serving, at its epoch.
    fn follow(&self) -> Option<Intent> {
        let master = self.store.master.as_ref().filter(|_| self.store.pending.is_none())?;
        let serving = running(self.report(master)?)?;
        if serving.role != EngineRole::Master || serving.epoch != self.store.epoch {
            return None;
        }
        let astray = |slot: &SlotId, copy: &Copy| {
            copy.role == Role::Replica
                && matches!(copy.state, CopyState::Serving | CopyState::Building)
                && !self.store.possible_masters.contains_key(slot)
                && self.may_run(slot)
                && self.report(slot).is_some_and(|report| match &report.engine {
                    EngineSeen::NotRunning => true,
                    EngineSeen::Silent => false,
                    EngineSeen::Running(status) => {
                        self.is_astray(status, master) || self.is_uncounted(status, copy, master)
                    }
                })
        };
        let slot = self.in_turn(self.store.copies.iter().filter(|(slot, copy)| astray(slot, copy)).map(|(s, _)| s))?;
        Some(Intent::Follow { slot: slot.clone() })
    }

    /// L1: without a master nobody can be followed, and nothing else starts an engine that died; but only a copy whose engine
    /// runs can be chosen by a person. It is started at the committed epoch; who may still be master is demoted (R8).
    fn wake(&self) -> Option<Intent> {
        if self.store.master.is_some() || self.store.epoch == Epoch::ZERO {
            return None;
        }
        let asleep = |slot: &SlotId, copy: &Copy| {
            let demote = self.store.possible_masters.contains_key(slot) && self.store.pending.as_ref() != Some(slot);
            !matches!(copy.state, CopyState::Stopped | CopyState::Retired)
                && self.may_run(slot)
                && self.report(slot).is_some_and(|report| match &report.engine {
                    EngineSeen::NotRunning => true,
                    EngineSeen::Silent => false,
                    EngineSeen::Running(status) => demote && status.role != EngineRole::Demoted,
                })
        };
        let slot = self.in_turn(self.store.copies.iter().filter(|(slot, copy)| asleep(slot, copy)).map(|(s, _)| s))?;
        Some(Intent::Follow { slot: slot.clone() })
    }

    /// R16: a copy whose building was cut short follows, and holds everything by now.
    fn count(&self) -> Option<Intent> {
        let master = self.store.master.as_ref().filter(|_| self.store.pending.is_none())?;
        let follows = Some((master.clone(), self.store.epoch));
        let ready = |slot: &SlotId, copy: &Copy| {
            !copy.whole
                && copy.state == CopyState::Building
                && copy.follows == follows
                && self.may_run(slot)
                && self.report(slot).and_then(running).is_some_and(|status| {
                    let heard = status.heard_ms.is_some_and(|ms| ms <= self.cluster.policy.silent_ms);
                    status.following == follows && status.behind == Some(0) && status.verified_ms.is_some() && heard
                })
        };
        let slot = self.in_turn(self.store.copies.iter().filter(|(slot, copy)| ready(slot, copy)).map(|(s, _)| s))?;
        Some(Intent::CountCopy { slot: slot.clone() })
    }

    /// R16: it follows well, but its Follow was cut short before it was recorded: until it is said again it never counts.
    fn is_uncounted(&self, status: &EngineStatus, copy: &Copy, master: &SlotId) -> bool {
        let bound = copy.state == CopyState::Serving || !copy.whole;
        let recorded = bound && copy.follows == Some((master.clone(), self.store.epoch));
        status.role == EngineRole::Replica && !recorded
    }

    fn is_astray(&self, status: &EngineStatus, master: &SlotId) -> bool {
        match status.role {
            EngineRole::Idle | EngineRole::Demoted => true,
            EngineRole::Replica => status.following != Some((master.clone(), self.store.epoch)),
            // R7: what can't be reconciled asks a person; a master here is another rule's business.
            EngineRole::Diverged | EngineRole::Master => false,
        }
    }
}
