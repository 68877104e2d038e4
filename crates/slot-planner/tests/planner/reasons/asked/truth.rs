//! Whether a refusal is so, and is about what was asked.
//!
//! What always holds: nothing here asks whether the way is free; what it does not know is not so.

use super::{Asked, Brought};
use crate::reasons::judge::{Truth, say};
use slot_planner::{NotWell, Nothing, Refusal, RetireBlock};
use slot_types::cluster::*;
use slot_types::engine::{EngineRole, EngineStatus};
use slot_types::ids::*;
use slot_types::plan::Intent;
use std::collections::{BTreeMap, BTreeSet};

impl Asked<'_> {
    /// Whether a refusal is true, and about what was asked.
    pub fn truth(&self, refusal: &Refusal) -> Truth {
        let cluster = self.cluster();
        let here = |slot: &SlotId| self.at() == Some(slot);
        let host = |host: &HostName| self.asks_about(host);
        let store = |name: &StoreName| self.asks_of(name);
        match refusal {
            Refusal::NobodyAsks => say(self.world.inputs.requested_by.is_none() && !self.intent.is_everyday(), refusal),
            Refusal::UnknownHost(name) => say(host(name) && !cluster.hosts.contains_key(name), refusal),
            Refusal::UnknownSlot(slot) => {
                let known = cluster.hosts.get(&slot.host).is_some_and(|host| host.slots.contains_key(&slot.number));
                say(here(slot) && cluster.hosts.contains_key(&slot.host) && !known, refusal)
            }
            Refusal::UnknownStore(name) => say(store(name) && !cluster.stores.contains_key(name), refusal),
            Refusal::UnknownLossCase(id) => {
                let asked = matches!(self.intent, Intent::SettleLoss { case, .. } if case == id);
                say(asked && !cluster.loss_cases.contains_key(id), refusal)
            }
            Refusal::NoCopy(slot) => say(here(slot) && self.on(slot).is_none(), refusal),
            Refusal::HostQuarantined(name) => {
                let aside = cluster.hosts.get(name).is_some_and(|host| host.quarantined.is_some());
                say(host(name) && aside && !matches!(self.intent, Intent::RetireHost(_)), refusal)
            }
            Refusal::HostSilent(name) => {
                let aside = cluster.hosts.get(name).is_none_or(|host| host.quarantined.is_some());
                say(host(name) && self.judge().silent(name) && !aside, refusal)
            }
            Refusal::HostBusy(name) => {
                say(host(name) && self.at().is_none() && self.world.inputs.busy_hosts.contains(name), refusal)
            }
            Refusal::HostIn { host: name, state, needed } => {
                let bars = match self.intent {
                    Intent::UndrainHost(_) => {
                        *needed == "only a host in Maintenance, Draining, Empty or Off can be undrained"
                            && *state == HostState::Retired
                    }
                    Intent::Undo(_) => {
                        needed.starts_with("only a host in Draining or Maintenance is made Active")
                            && matches!(state, HostState::Empty | HostState::Off | HostState::Retired)
                    }
                    Intent::StartMaster { .. } | Intent::Follow { .. } | Intent::SettleLoss { .. } => {
                        needed.starts_with("its engines stay stopped until")
                            && !matches!(state, HostState::Active | HostState::Draining)
                    }
                    _ => false,
                };
                say(host(name) && bars && self.judge().declared(name) == Some(*state), refusal)
            }
            Refusal::Held(held) => {
                let same = cluster.holds.get(&held.on).is_some_and(|hold| *hold == held.hold);
                say(same && self.held_by().contains(&held.on), refusal)
            }
            Refusal::HostHolds { host: name, slots } => {
                let retires = matches!(self.intent, Intent::RetireHost(_));
                say(retires && host(name) && !slots.is_empty() && *slots == self.held(name), refusal)
            }
            other => self.truth_of_stores(other),
        }
    }

    /// Whether the store is what is asked about, or has the slot that is.
    fn asks_of(&self, name: &StoreName) -> bool {
        match (self.intent, self.at()) {
            (Intent::RetireStore(asked), _) => asked == name,
            (_, Some(slot)) => self.on(slot).is_some_and(|(on, ..)| on == name),
            _ => false,
        }
    }

    /// Of stores, copies and loss cases, and of all of them that are left.
    fn truth_of_stores(&self, refusal: &Refusal) -> Truth {
        let cluster = self.cluster();
        let here = |slot: &SlotId| self.at() == Some(slot);
        let host = |host: &HostName| self.asks_about(host);
        let store = |name: &StoreName| self.asks_of(name);
        match refusal {
            Refusal::NotMaster { slot, store: name, master } => {
                let known = self.store(name)?;
                let starts = matches!(self.intent, Intent::StartMaster { .. });
                say(
                    starts && here(slot) && store(name) && known.master == *master && master.as_ref() != Some(slot),
                    refusal,
                )
            }
            Refusal::FollowsNobody { slot, store: name } => {
                let known = self.store(name)?;
                let leads = known.master.as_ref() == Some(slot) || known.pending.as_ref() == Some(slot);
                let asked = !matches!(self.intent, Intent::StartMaster { .. } | Intent::CountCopy { .. });
                say(asked && here(slot) && store(name) && leads, refusal)
            }
            Refusal::PossibleMasters { store: name, slots } => {
                let asked = matches!(self.intent, Intent::Follow { .. } | Intent::SettleLoss { .. });
                let known = self.store(name)?;
                let own = self.at().is_some_and(|slot| *slots == BTreeSet::from([slot.clone()]));
                say(
                    asked && store(name) && own && slots.iter().all(|slot| known.possible_masters.contains_key(slot)),
                    refusal,
                )
            }
            Refusal::StoresBusy(names) => {
                let about = self.at().and_then(|slot| self.on(slot)).map(|(name, ..)| name);
                let about = if let Intent::RetireStore(name) = self.intent { Some(name) } else { about };
                let one = about.is_some_and(|name| *names == BTreeSet::from([name.clone()]) && self.busy(name));
                say(one, refusal)
            }
            Refusal::NotServed { store: name, why } => {
                say(store(name) && self.asks_for_master(why), refusal)?;
                self.judge().not_well(name, why)
            }
            Refusal::CopyIn { store: name, slot, state, next } => {
                let known = self.store(name)?;
                say(here(slot) && known.copies.get(slot).is_some_and(|copy| copy.state == *state), refusal)?;
                say(self.in_state(name, slot, *state, next), refusal)
            }
            Refusal::LossCaseIn { case, state } => {
                let asked = matches!(self.intent, Intent::SettleLoss { case: id, .. } if id == case);
                let known = cluster.loss_cases.get(case).is_some_and(|case| case.state == *state);
                say(asked && known && *state != LossState::Listed, refusal)
            }
            Refusal::Retire { store: name, why } => {
                say(matches!(self.intent, Intent::RetireStore(asked) if asked == name), refusal)?;
                self.retire(name, why)
            }
            Refusal::Undrain { host: name, because } => {
                let active = self.judge().declared(name) == Some(HostState::Active);
                say(matches!(self.intent, Intent::UndrainHost(_)) && host(name) && active, refusal)?;
                self.left(because)
            }
            Refusal::Undo { plan, because } => {
                say(matches!(self.intent, Intent::Undo(wanted) if wanted.plan == *plan), refusal)?;
                self.left(because)
            }
            Refusal::NothingToDo(nothing) => self.nothing(nothing),
            other => Err(format!("nobody judges {other:?}")),
        }
    }

    /// A settlement needs the master seen well; the others that one is settled.
    fn asks_for_master(&self, why: &NotWell) -> bool {
        match self.intent {
            Intent::SettleLoss { .. } => true,
            Intent::StartMaster { .. }
            | Intent::Follow { .. }
            | Intent::FenceReturned { .. }
            | Intent::CountCopy { .. } => {
                matches!(why, NotWell::Pending(_) | NotWell::NoMaster)
            }
            _ => false,
        }
    }

    /// Whether a state is in the way, and the words beside it are so.
    fn in_state(&self, name: &StoreName, slot: &SlotId, state: CopyState, next: &str) -> bool {
        let store = &self.cluster().stores[name];
        let copy = &store.copies[slot];
        let waits = self.open_case(name, slot).is_some();
        match (self.intent, next) {
            (Intent::SettleLoss { case, .. }, "its loss case is about another copy; look at it: slotctl show slot") => {
                let case = &self.cluster().loss_cases[case];
                case.store != *name || case.generation != copy.generation
            }
            (Intent::SettleLoss { .. }, "its hand-over has not come to its end: slotctl plan list") => {
                state == CopyState::Frozen
            }
            (Intent::SettleLoss { .. } | Intent::Follow { .. }, "it was stopped on purpose: slotctl undrain host") => {
                state == CopyState::Stopped
            }
            (Intent::SettleLoss { .. } | Intent::Follow { .. }, "it is gone for good") => state == CopyState::Retired,
            (Intent::Follow { .. }, "settle its loss case first: slotctl loss list") => {
                state == CopyState::Quarantined && waits
            }
            (Intent::Follow { .. }, "it was set aside and no loss case says why; look at it: slotctl show slot") => {
                state == CopyState::Quarantined && !waits
            }
            (Intent::StartMaster { .. }, "look at it: slotctl show slot") => {
                !matches!(state, CopyState::Serving | CopyState::Frozen)
            }
            (Intent::CountCopy { .. }, "only a copy that is being built is counted") => {
                state != CopyState::Building && !copy.whole
            }
            (Intent::CountCopy { .. }, "it is not seen to hold everything yet; it counts as soon as it is") => {
                state == CopyState::Building && !self.holds_all(name, store, slot)
            }
            _ => false,
        }
    }

    fn retire(&self, name: &StoreName, why: &RetireBlock) -> Truth {
        let store = self.store(name)?;
        let so = match why {
            RetireBlock::LossCase(id) => {
                let case = self.cluster().loss_cases.get(id);
                case.is_some_and(|case| case.store == *name && case.state.is_open())
            }
            RetireBlock::Pending(slot) => store.pending.as_ref() == Some(slot),
            RetireBlock::PossibleMaster(slot) => {
                let besides = store.possible_masters.len() > 1 || !store.retired;
                store.possible_masters.contains_key(slot) && store.master.as_ref() != Some(slot) && besides
            }
            RetireBlock::NoMaster => store.master.is_none() && !store.retired && store.epoch != Epoch::ZERO,
            RetireBlock::NotMade => store.epoch == Epoch::ZERO,
            RetireBlock::Silent(hosts) => {
                let slots = store.copies.keys().chain(&store.master).chain(store.possible_masters.keys());
                let silent = slots.map(|slot| &slot.host).filter(|host| self.judge().silent(host));
                !hosts.is_empty() && hosts.iter().collect::<BTreeSet<_>>() == silent.collect()
            }
        };
        say(so, (name, why))
    }

    /// Each store of which something stays is named, none besides, and each for a reason that is so.
    fn left(&self, because: &BTreeMap<StoreName, Refusal>) -> Truth {
        let left = self.brought().unwrap_or_default().left;
        say(!left.is_empty() && because.keys().collect::<BTreeSet<_>>() == left.iter().collect(), (because, left))?;
        because.iter().try_for_each(|(name, why)| self.stays(name, why))
    }

    /// Why something of one store stays.
    fn stays(&self, name: &StoreName, why: &Refusal) -> Truth {
        let store = self.store(name)?;
        let slots: BTreeSet<&SlotId> = match self.intent {
            Intent::Undo(wanted) => {
                let started = wanted.started.iter().filter(|(_, of)| *of == name).map(|(slot, _)| slot);
                started.chain(wanted.masters.get(name)).collect()
            }
            Intent::UndrainHost(host) => store.copies.keys().filter(|slot| slot.host == *host).collect(),
            _ => BTreeSet::new(),
        };
        let host = |host: &HostName| slots.iter().any(|slot| slot.host == *host);
        let is_made_active =
            |host: &HostName| matches!(self.intent, Intent::Undo(wanted) if wanted.active.contains(host));
        let so = match why {
            Refusal::StoresBusy(names) => *names == BTreeSet::from([name.clone()]) && self.busy(name),
            Refusal::NotServed { store: of, why } => {
                return say(of == name, why).and_then(|()| self.judge().not_well(name, why));
            }
            Refusal::PossibleMasters { store: of, slots: may } => {
                of == name && !may.is_empty() && may.iter().all(|slot| store.possible_masters.contains_key(slot))
            }
            Refusal::CopyGone { store: of, slot } => {
                of == name && slots.contains(slot) && !store.copies.contains_key(slot)
            }
            Refusal::CopyIn { store: of, slot, state, .. } => {
                let known = store.copies.get(slot).map(|copy| copy.state);
                of == name && slots.contains(slot) && known == Some(*state) && *state != CopyState::Serving
            }
            Refusal::HostIn { host: on, state, .. } => {
                host(on)
                    && self.judge().declared(on) == Some(*state)
                    && *state != HostState::Active
                    && !is_made_active(on)
            }
            Refusal::HostSilent(on) => host(on) && self.judge().silent(on),
            Refusal::HostQuarantined(on) => {
                host(on) && self.cluster().hosts.get(on).is_some_and(|known| known.quarantined.is_some())
            }
            _ => false,
        };
        say(so, (name, why))
    }

    fn nothing(&self, nothing: &Nothing) -> Truth {
        let cluster = self.cluster();
        let of = |slot: &SlotId| (self.at() == Some(slot)).then(|| self.on(slot)).flatten();
        let so = match (nothing, self.intent) {
            (Nothing::Active(host), Intent::UndrainHost(asked)) => {
                let is_active = self.judge().declared(host) == Some(HostState::Active);
                let brought = self.by_undrain(host);
                let none = Brought { active: brought.active.clone(), ..Brought::default() };
                host == asked && is_active && brought == none
            }
            (Nothing::Undone(plan), Intent::Undo(wanted)) => {
                *plan == wanted.plan && self.by_undo(wanted) == Brought::default()
            }
            (Nothing::Retired(host), Intent::RetireHost(asked)) => {
                host == asked && self.judge().declared(host) == Some(HostState::Retired)
            }
            (Nothing::StoreRetired(name), Intent::RetireStore(asked)) => {
                name == asked && cluster.tombstones.contains_key(name)
            }
            (Nothing::RunsAsMaster(slot), Intent::StartMaster { .. }) => of(slot).is_some_and(|(name, store, _)| {
                let serves = |s: &EngineStatus| s.role == EngineRole::Master && s.epoch == store.epoch;
                store.master.as_ref() == Some(slot) && self.judge().lives(name, slot).is_some_and(serves)
            }),
            (Nothing::Follows(slot), Intent::Follow { .. }) => {
                of(slot).is_some_and(|(name, store, _)| store.pending.is_none() && self.follows(name, store, slot))
            }
            (Nothing::Awake(slot), Intent::Follow { .. }) => of(slot).is_some_and(|(name, store, _)| {
                store.master.is_none() && store.epoch != Epoch::ZERO && self.judge().lives(name, slot).is_some()
            }),
            (Nothing::Fenced(slot), Intent::FenceReturned { .. }) => of(slot).is_some_and(|(name, store, _)| {
                let awaits = self.open_case(name, slot).is_some_and(|case| case.state == LossState::AwaitingReturn);
                !store.possible_masters.contains_key(slot) && !self.leads(store, slot) && !awaits
            }),
            (Nothing::Whole(slot), Intent::CountCopy { .. }) => of(slot).is_some_and(|(.., copy)| copy.whole),
            _ => false,
        };
        say(so, nothing)
    }

    fn leads(&self, store: &Store, slot: &SlotId) -> bool {
        store.master.as_ref() == Some(slot) || store.pending.as_ref() == Some(slot)
    }
}
