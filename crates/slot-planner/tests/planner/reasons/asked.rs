//! What speaks against an undrain, an undo, a retirement, a settlement and everyday recovery: counted from the cluster and what is
//! seen of it, by nothing that the planner uses.
//!
//! What always holds: `is_free` says when a plan has to come, `truth` whether a refusal is so and is about what was asked; neither
//! looks at the other, and no true reason is left where the way is free.

mod truth;

use super::judge::Judge;
use crate::world::World;
use slot_types::cluster::*;
use slot_types::engine::{EngineRole, EngineStatus};
use slot_types::hold::HoldOn;
use slot_types::ids::*;
use slot_types::plan::{Intent, Plan, Reverse, TaskKind};
use std::collections::{BTreeMap, BTreeSet};

/// A world, and what was asked for in it.
pub struct Asked<'w> {
    pub world: &'w World,
    pub intent: &'w Intent,
}

/// Copies that are started, and stores that are handed back with the slot that gets them.
#[derive(Default, Debug, PartialEq)]
pub struct Brought {
    pub active: BTreeSet<HostName>,
    pub starts: BTreeSet<SlotId>,
    pub hands: BTreeMap<StoreName, SlotId>,
    /// Stores of which something stays as it is although it should not.
    pub left: BTreeSet<StoreName>,
}

impl Asked<'_> {
    fn judge(&self) -> Judge<'_> {
        Judge { world: self.world, intent: self.intent }
    }
    fn cluster(&self) -> &Cluster {
        &self.world.cluster
    }
    fn store(&self, name: &StoreName) -> Result<&Store, String> {
        self.cluster().stores.get(name).ok_or(format!("there is no {name}"))
    }
    fn busy(&self, name: &StoreName) -> bool {
        self.world.inputs.busy_stores.contains(name)
    }
    fn on(&self, slot: &SlotId) -> Option<(&StoreName, &Store, &Copy)> {
        self.cluster().stores.iter().find_map(|(name, store)| Some((name, store, store.copies.get(slot)?)))
    }
    /// A master is settled: it is one, and no other is to be.
    fn settled(&self, name: &StoreName, store: &Store) -> bool {
        store.master.is_some() && store.pending.is_none() && !self.busy(name)
    }
    /// Its master is seen to serve it at its epoch.
    fn served(&self, name: &StoreName, store: &Store) -> bool {
        let Some(master) = store.master.as_ref().filter(|_| store.pending.is_none()) else { return false };
        let state = store.copies.get(master).map(|copy| copy.state);
        let serves = |status: &EngineStatus| status.role == EngineRole::Master && status.epoch == store.epoch;
        matches!(state, Some(CopyState::Serving | CopyState::Frozen))
            && self.judge().lives(name, master).is_some_and(serves)
    }
    fn may_hand_back(&self, name: &StoreName, store: &Store) -> bool {
        self.served(name, store) && !self.busy(name) && store.possible_masters.is_empty()
    }
    fn may_start(&self, name: &StoreName, store: &Store, slot: &SlotId) -> bool {
        self.settled(name, store) && !store.possible_masters.contains_key(slot)
    }
    fn open_case(&self, name: &StoreName, slot: &SlotId) -> Option<&LossCase> {
        self.cluster().loss_cases.values().find(|case| {
            let open = matches!(case.state, LossState::AwaitingReturn | LossState::Listed);
            case.store == *name && case.slot == *slot && open
        })
    }

    /// What an undrain of a host brings back.
    fn by_undrain(&self, host: &HostName) -> Brought {
        let mut all = Brought { active: [host.clone()].into(), ..Brought::default() };
        let Some(known) = self.cluster().hosts.get(host) else { return all };
        for (name, store) in &self.cluster().stores {
            let leads = |slot: &SlotId| store.master.as_ref() == Some(slot) || store.pending.as_ref() == Some(slot);
            let here = store.copies.iter().filter(|(slot, _)| slot.host == *host && !leads(slot));
            let (mut follows, mut is_there) = (Vec::new(), false);
            for (slot, copy) in here {
                is_there |= copy.state != CopyState::Retired;
                match copy.state {
                    CopyState::Serving => follows.push(slot),
                    CopyState::Stopped if self.may_start(name, store, slot) => {
                        all.starts.insert(slot.clone());
                        follows.push(slot);
                    }
                    CopyState::Stopped => drop(all.left.insert(name.clone())),
                    _ => {}
                }
            }
            let away = store.master.as_ref().is_none_or(|master| master.host != *host);
            if known.drained_masters.contains(name) && away {
                match follows.first().filter(|_| self.may_hand_back(name, store)) {
                    Some(slot) => drop(all.hands.insert(name.clone(), (*slot).clone())),
                    None => all.left.extend(is_there.then(|| name.clone())),
                }
            }
        }
        all
    }

    /// What an undo brings back.
    fn by_undo(&self, wanted: &Reverse) -> Brought {
        let mut all = Brought::default();
        let hosts = &self.cluster().hosts;
        let out =
            |host: &HostName| !matches!(hosts.get(host).map(|known| known.declared), None | Some(HostState::Active));
        all.active.extend(wanted.active.iter().filter(|host| out(host)).cloned());
        let open = |host: &HostName| {
            let active = hosts.get(host).is_some_and(|known| known.declared == HostState::Active);
            (active || wanted.active.contains(host)) && !self.judge().silent(host)
        };
        let there = |name: &StoreName| self.cluster().stores.get(name).filter(|store| !store.retired);
        for (slot, name) in &wanted.started {
            let Some(store) = there(name) else { continue };
            let state = store.copies.get(slot).map(|copy| copy.state);
            if state == Some(CopyState::Stopped) && self.may_start(name, store, slot) && open(&slot.host) {
                all.starts.insert(slot.clone());
            } else if state != Some(CopyState::Serving) {
                all.left.insert(name.clone());
            }
        }
        for (name, to) in &wanted.masters {
            let Some(store) = there(name).filter(|store| store.master.as_ref() != Some(to)) else { continue };
            let serves = store.copies.get(to).is_some_and(|copy| copy.state == CopyState::Serving);
            if (serves || all.starts.contains(to)) && self.may_hand_back(name, store) && open(&to.host) {
                all.hands.insert(name.clone(), to.clone());
            } else {
                all.left.insert(name.clone());
            }
        }
        all
    }

    pub fn brought(&self) -> Option<Brought> {
        match self.intent {
            Intent::UndrainHost(host) => Some(self.by_undrain(host)),
            Intent::Undo(wanted) => Some(self.by_undo(wanted)),
            _ => None,
        }
    }

    /// What a plan brings back.
    pub fn planned(plan: &Plan) -> Brought {
        let mut all = Brought::default();
        for task in &plan.tasks {
            match (&task.kind, &task.store) {
                (TaskKind::HostState { host, to: HostState::Active }, _) => drop(all.active.insert(host.clone())),
                (TaskKind::StartCopy { slot }, _) => drop(all.starts.insert(slot.clone())),
                (TaskKind::HandOver { to, .. }, Some(name)) => drop(all.hands.insert(name.clone(), to.clone())),
                other => panic!("an undrain or undo has no {other:?}"),
            }
        }
        all
    }

    /// Orders reach the slot's host, and no plan holds the store there.
    fn reached(&self, slot: &SlotId) -> bool {
        let known = self.cluster().hosts.get(&slot.host).is_some_and(|host| host.slots.contains_key(&slot.number));
        let free = self.on(slot).is_some_and(|(name, ..)| !self.busy(name));
        known && free && !self.judge().silent(&slot.host)
    }
    /// Its engines may run.
    fn runs(&self, host: &HostName) -> bool {
        matches!(self.judge().declared(host), Some(HostState::Active | HostState::Draining))
    }
    fn follows(&self, name: &StoreName, store: &Store, slot: &SlotId) -> bool {
        let wanted = store.master.clone().map(|master| (master, store.epoch));
        let by_engine = |status: &EngineStatus| status.role == EngineRole::Replica && status.following == wanted;
        self.judge().lives(name, slot).is_some_and(by_engine)
    }

    /// Nothing speaks against what was asked.
    pub fn is_free(&self) -> bool {
        let asks = self.world.inputs.requested_by.is_some() || self.intent.is_everyday();
        asks && self.may_be() && self.held_by().is_empty()
    }

    fn may_be(&self) -> bool {
        let cluster = self.cluster();
        let busy = |host: &HostName| self.world.inputs.busy_hosts.contains(host);
        let returns = |host: &HostName| !busy(host) && !self.judge().silent(host);
        match self.intent {
            Intent::UndrainHost(host) => {
                let brought = self.by_undrain(host);
                let brings = !brought.starts.is_empty() || !brought.hands.is_empty();
                let fits = match self.judge().declared(host) {
                    Some(HostState::Active) => brings,
                    state => state.is_some_and(|state| state != HostState::Retired),
                };
                fits && returns(host)
            }
            Intent::Undo(wanted) => {
                let fits = |host: &HostName| match self.judge().declared(host) {
                    Some(HostState::Active) => true,
                    Some(HostState::Draining | HostState::Maintenance) => returns(host),
                    _ => false,
                };
                let brought = self.by_undo(wanted);
                let any = !brought.active.is_empty() || !brought.starts.is_empty() || !brought.hands.is_empty();
                wanted.active.iter().all(fits) && any
            }
            Intent::RetireHost(host) => {
                let state = self.judge().declared(host);
                state.is_some_and(|state| state != HostState::Retired) && !busy(host) && self.held(host).is_empty()
            }
            Intent::RetireStore(name) => cluster.stores.get(name).is_some_and(|store| {
                let open = cluster.loss_cases.values().any(|case| case.store == *name && case.state.is_open());
                // Who is demoted first: its master, or whoever of one that is given up was not demoted yet.
                let one = match (&store.master, store.retired) {
                    (Some(master), false) => store.possible_masters.keys().all(|slot| slot == master),
                    (None, true) => store.possible_masters.len() <= 1,
                    _ => false,
                };
                let acks = store.master.iter().chain(store.possible_masters.keys());
                let asked = store.copies.keys().chain(acks).all(|slot| !self.judge().silent(&slot.host));
                !self.busy(name) && store.epoch != Epoch::ZERO && !open && store.pending.is_none() && one && asked
            }),
            Intent::SettleLoss { case, .. } => cluster.loss_cases.get(case).is_some_and(|case| self.settles(case)),
            Intent::StartMaster { slot }
            | Intent::Follow { slot }
            | Intent::FenceReturned { slot }
            | Intent::CountCopy { slot } => {
                let Some((name, store, copy)) = self.on(slot).filter(|_| self.reached(slot)) else { return false };
                self.everyday(slot, name, store, copy)
            }
            other => panic!("nobody judges {other}"),
        }
    }

    fn settles(&self, case: &LossCase) -> bool {
        let slot = &case.slot;
        let Some((name, store, copy)) = self.on(slot).filter(|_| self.reached(slot)) else { return false };
        let same = *name == case.store && copy.generation == case.generation;
        let there = matches!(copy.state, CopyState::Quarantined | CopyState::Serving | CopyState::Building);
        let follower = store.master.as_ref() != Some(slot) && !store.possible_masters.contains_key(slot);
        let listed = case.state == LossState::Listed;
        listed && same && there && follower && self.runs(&slot.host) && self.served(name, store)
    }

    fn everyday(&self, slot: &SlotId, name: &StoreName, store: &Store, copy: &Copy) -> bool {
        let leads = store.master.as_ref() == Some(slot);
        let settled = store.master.is_some() && store.pending.is_none();
        let status = self.judge().lives(name, slot);
        let possible = store.possible_masters.contains_key(slot);
        match self.intent {
            Intent::StartMaster { .. } => {
                let serves = status.is_some_and(|s| s.role == EngineRole::Master && s.epoch == store.epoch);
                let whole = matches!(copy.state, CopyState::Serving | CopyState::Frozen);
                self.runs(&slot.host) && leads && settled && whole && !serves
            }
            Intent::Follow { .. } if leads || copy.state == CopyState::Retired || !self.runs(&slot.host) => false,
            Intent::Follow { .. } if store.master.is_none() && store.epoch != Epoch::ZERO => {
                let demotes = possible && store.pending.as_ref() != Some(slot);
                let awake = status.is_some_and(|status| !demotes || status.role == EngineRole::Demoted);
                copy.state != CopyState::Stopped && !awake
            }
            Intent::Follow { .. } => {
                let bound = copy.state == CopyState::Serving
                    || !copy.whole && copy.follows == store.master.clone().map(|master| (master, store.epoch));
                let does = self.follows(name, store, slot) && bound;
                settled && !possible && copy.state != CopyState::Quarantined && !does
            }
            Intent::FenceReturned { .. } => {
                let awaits = self.open_case(name, slot).is_some_and(|case| case.state == LossState::AwaitingReturn);
                settled && !leads && (possible || awaits)
            }
            _ => settled && copy.state == CopyState::Building && !copy.whole && self.holds_all(name, store, slot),
        }
    }

    /// It was told to follow the master there is, does, and has and has verified everything.
    fn holds_all(&self, name: &StoreName, store: &Store, slot: &SlotId) -> bool {
        let wanted = store.master.clone().map(|master| (master, store.epoch));
        let told = store.copies[slot].follows == wanted;
        let silent_ms = self.cluster().policy.silent_ms;
        let status = self.judge().lives(name, slot);
        let all = status.filter(|s| s.following == wanted && s.behind == Some(0) && s.verified_ms.is_some());
        told && all.and_then(|s| s.heard_ms).is_some_and(|ms| ms <= silent_ms)
    }

    /// Copies and possible masters on a host.
    fn held(&self, host: &HostName) -> BTreeSet<SlotId> {
        let stores = self.cluster().stores.values();
        let slots = stores.flat_map(|store| store.copies.keys().chain(store.possible_masters.keys()));
        slots.filter(|slot| slot.host == *host).cloned().collect()
    }

    /// The holds on anything that what was asked would change.
    fn held_by(&self) -> BTreeSet<&HoldOn> {
        let (mut hosts, mut stores): (BTreeSet<HostName>, BTreeSet<StoreName>) = Default::default();
        match self.intent {
            Intent::FenceReturned { .. } => return BTreeSet::new(),
            Intent::RetireHost(host) => drop(hosts.insert(host.clone())),
            Intent::RetireStore(name) => drop(stores.insert(name.clone())),
            Intent::SettleLoss { case, .. } => {
                stores.extend(self.cluster().loss_cases.get(case).map(|case| case.store.clone()));
            }
            Intent::StartMaster { slot } | Intent::Follow { slot } | Intent::CountCopy { slot } => {
                hosts.insert(slot.host.clone());
                stores.extend(self.on(slot).map(|(name, ..)| name.clone()));
            }
            _ => {
                let brought = self.brought().unwrap_or_default();
                stores.extend(brought.hands.into_keys());
                stores.extend(brought.starts.iter().filter_map(|slot| Some(self.on(slot)?.0.clone())));
                hosts.extend(brought.active);
            }
        }
        if !self.intent.is_everyday() {
            let slots = stores.iter().filter_map(|name| self.cluster().stores.get(name));
            let slots = slots.flat_map(|store| store.copies.keys().chain(store.possible_masters.keys()));
            hosts.extend(slots.map(|slot| slot.host.clone()));
        }
        let covers = |on: &&HoldOn| match on {
            HoldOn::All => true,
            HoldOn::Host(host) => hosts.contains(host),
            HoldOn::Store(name) => stores.contains(name),
        };
        self.cluster().holds.keys().filter(covers).collect()
    }

    /// The slot that was asked about.
    fn at(&self) -> Option<&SlotId> {
        match self.intent {
            Intent::StartMaster { slot }
            | Intent::Follow { slot }
            | Intent::FenceReturned { slot }
            | Intent::CountCopy { slot } => Some(slot),
            Intent::SettleLoss { case, .. } => self.cluster().loss_cases.get(case).map(|case| &case.slot),
            _ => None,
        }
    }

    /// Whether a host is one that was asked about.
    fn asks_about(&self, host: &HostName) -> bool {
        match self.intent {
            Intent::UndrainHost(asked) | Intent::RetireHost(asked) => host == asked,
            Intent::Undo(wanted) => wanted.active.contains(host),
            _ => self.at().is_some_and(|slot| slot.host == *host),
        }
    }
}
