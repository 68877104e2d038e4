//! Whether a refusal is true of a world: counted from cluster and evidence alone, by nothing that the planner uses.

use crate::world::*;
use slot_planner::{DrainBlock, NotWell, Nothing, Refusal, WhyNot};
use slot_types::cluster::*;
use slot_types::engine::{EngineRole, EngineStatus};
use slot_types::evidence::{CopyEvidence, Seen};
use slot_types::fence::FenceFrom;
use slot_types::ids::*;
use slot_types::plan::{Intent, Scope};
use std::collections::{BTreeMap, BTreeSet};

/// A world, and what was asked for in it.
pub struct Judge<'w> {
    pub world: &'w World,
    pub intent: &'w Intent,
}

/// What a statement is worth: `Err` says what is not so.
pub type Truth = Result<(), String>;

pub fn say(so: bool, what: impl std::fmt::Debug) -> Truth {
    if so { Ok(()) } else { Err(format!("it is not so that {what:?}")) }
}

impl<'w> Judge<'w> {
    fn store(&self, name: &StoreName) -> Result<&Store, String> {
        self.world.cluster.stores.get(name).ok_or(format!("there is no {name}"))
    }
    fn silent_ms(&self) -> u64 {
        self.world.cluster.policy.silent_ms
    }
    /// Its agent was not heard lately, or on another boot or disk than the admitted one.
    pub fn silent(&self, host: &HostName) -> bool {
        let Some(known) = self.world.cluster.hosts.get(host) else { return true };
        match self.world.evidence.hosts.get(host).map(|seen| &seen.agent) {
            Some(Seen::Known { value, age_ms }) if *age_ms <= self.silent_ms() => {
                known.quarantined.is_some()
                    || known.boot != Some(value.boot)
                    || known.incarnation != Some(value.incarnation)
            }
            _ => true,
        }
    }
    pub fn declared(&self, host: &HostName) -> Option<HostState> {
        self.world.cluster.hosts.get(host).map(|known| known.declared)
    }
    fn engine(&self, slot: &SlotId) -> Option<&'w EngineStatus> {
        match self.world.evidence.copies.get(slot)? {
            Seen::Known { value: CopyEvidence::Running(status), age_ms } if *age_ms <= self.silent_ms() => Some(status),
            _ => None,
        }
    }
    fn is_of(&self, name: &StoreName, slot: &SlotId, status: &EngineStatus) -> bool {
        let copy = self.world.cluster.stores.get(name).and_then(|store| store.copies.get(slot));
        status.store == *name && copy.is_some_and(|copy| copy.generation == status.generation)
    }
    /// The copy's own engine is seen, and its host takes orders.
    pub fn lives(&self, name: &StoreName, slot: &SlotId) -> Option<&'w EngineStatus> {
        self.engine(slot).filter(|status| self.is_of(name, slot, status) && !self.silent(&slot.host))
    }
    fn case_open(&self, id: LossCaseId, name: &StoreName, on: impl Fn(&SlotId) -> bool) -> bool {
        let case = self.world.cluster.loss_cases.get(&id);
        case.is_some_and(|case| case.store == *name && on(&case.slot) && case.state.is_open())
    }
    fn together(&self, store: &Store, a: &HostName, b: &HostName) -> bool {
        let at = |host: &HostName| self.world.cluster.hosts.get(host).map(|known| &known.at);
        a == b || store.spec.spread == Spread::Rack && at(a) == at(b)
    }
    /// Free slots of a host that are as large as a store asks for.
    pub fn free(&self, host: &HostName, size: u64) -> usize {
        let holds = |slot: &SlotId| self.world.cluster.stores.values().any(|store| store.copies.contains_key(slot));
        let slots = self.world.cluster.hosts.get(host).into_iter().flat_map(|known| &known.slots);
        let free = slots.filter(|(number, slot)| {
            let id = SlotId::new(host.clone(), **number);
            slot.size_bytes >= size && !holds(&id) && !self.world.inputs.busy_slots.contains(&id)
        });
        free.count()
    }

    /// Nothing keeps it from acknowledging: no demote reaches it, nobody's word and no device says that its host is off, and no
    /// device can be used (R3, R8, R26).
    pub fn is_loose(&self, slot: &SlotId) -> bool {
        let Some(known) = self.world.cluster.hosts.get(&slot.host) else { return true };
        let now = self.world.inputs.now.0;
        let word = self.world.cluster.attestations.get(&slot.host).is_some_and(|word| {
            let since = self.last_life(&slot.host).is_none_or(|at| at <= word.at.0);
            known.boot == Some(word.boot) && word.expires.0 > now && since
        });
        let device = known.device.spec.as_ref().filter(|_| known.boot.is_some());
        let off = known.device.off.as_ref().is_some_and(|off| Some(off.boot) == known.boot);
        let failed = known.device.failed.as_ref().is_some_and(|f| Some(f.boot) == known.boot && now < f.at.0 + 600_000);
        let by = |(name, other): (&HostName, &Host)| {
            let apart = device.is_some_and(|spec| spec.from == FenceFrom::AnotherHost) || other.at != known.at;
            let there = !matches!(other.declared, HostState::Off | HostState::Retired) && !self.silent(name);
            *name != slot.host && apart && there
        };
        let switched = device.is_some() && (off || !failed && self.world.cluster.hosts.iter().any(by));
        self.silent(&slot.host) && !word && !switched
    }

    /// When a host's agent was heard, or one of its engines by a replica elsewhere, for the last time.
    fn last_life(&self, host: &HostName) -> Option<u64> {
        let evidence = &self.world.evidence;
        let agent = evidence.hosts.get(host).and_then(|seen| seen.agent.age_ms());
        let by_others = evidence.copies.iter().filter(|(slot, _)| slot.host != *host).filter_map(|(_, seen)| {
            let Seen::Known { value: CopyEvidence::Running(status), age_ms } = seen else { return None };
            let from = status.following.as_ref().is_some_and(|(source, _)| source.host == *host);
            from.then_some(status.heard_ms?.saturating_add(*age_ms))
        });
        by_others.chain(agent).min().map(|age| evidence.taken_at.0.saturating_sub(age))
    }

    pub fn refusal(&self, refusal: &Refusal) -> Truth {
        let inputs = &self.world.inputs;
        match refusal {
            Refusal::NothingToDo(nothing) => self.nothing(nothing),
            Refusal::HostIn { host, state, .. } => say(self.declared(host) == Some(*state), refusal),
            Refusal::HostQuarantined(host) => self.host(host, &WhyNot::HostQuarantined),
            Refusal::HostSilent(host) => self.host(host, &WhyNot::HostSilent),
            Refusal::HostBusy(host) => self.host(host, &WhyNot::HostBusy),
            Refusal::StoresBusy(stores) => say(stores.is_subset(&inputs.busy_stores) && !stores.is_empty(), refusal),
            Refusal::Drain { because, .. } => because.iter().try_for_each(|(name, block)| self.block(name, block)),
            Refusal::NotMaster { slot, store, master } => {
                let known = self.store(store)?;
                let leads = known.master.as_ref().or(known.pending.as_ref());
                say(leads == master.as_ref() && leads != Some(slot), refusal)
            }
            Refusal::NoTarget { store, from, why } => {
                let all = self.store(store)?.copies.keys().filter(|slot| *slot != from).collect::<BTreeSet<_>>();
                say(why.keys().filter(|slot| *slot != from).collect::<BTreeSet<_>>() == all, refusal)?;
                why.iter().try_for_each(|(slot, why)| self.role(store, slot, why))
            }
            Refusal::NotThisTarget { store, to, why } => self.role(store, to, why),
            Refusal::NotThisPlace { store, to, why: WhyNot::NoFreeSlot } => {
                let size = self.store(store)?.spec.size_bytes;
                let slot = self.world.cluster.slot(to).filter(|slot| slot.size_bytes >= size);
                let taken = self.world.cluster.copy_on(to).is_some() || inputs.busy_slots.contains(to);
                say(slot.is_none() || taken, refusal)
            }
            Refusal::NotThisPlace { store, to, why } => self.place(store, &to.host, why, 0),
            Refusal::NotFenced { slots, .. } => {
                say(!slots.is_empty() && slots.iter().all(|slot| self.is_loose(slot)), refusal)
            }
            Refusal::NoHead(name) => {
                let known = self.store(name)?;
                let none = known.master.is_none() && known.pending.is_none() && known.possible_masters.is_empty();
                say(none, refusal)
            }
            Refusal::ManyHeads { store, slots } => {
                let known = self.store(store)?;
                let all = known.possible_masters.keys().cloned().collect::<BTreeSet<_>>();
                say(known.master.is_none() && slots.len() > 1 && *slots == all, refusal)
            }
            Refusal::Brake { silent, allowed, hosts } => {
                let all = hosts.iter().all(|host| self.silent(host)) && hosts.len() == usize::from(*silent);
                say(all && silent > allowed && *allowed == self.world.cluster.policy.brake_silent_hosts, refusal)
            }
            Refusal::FailOverHost { because, .. } | Refusal::Rebuild { because } => {
                because.values().try_for_each(|why| self.refusal(why))
            }
            Refusal::PossibleMasters { store, slots } => {
                let all = self.store(store)?.possible_masters.keys().cloned().collect::<BTreeSet<_>>();
                say(!slots.is_empty() && *slots == all, refusal)
            }
            Refusal::NotServed { store, why } => self.not_well(store, why),
            Refusal::CopyIn { store, slot, state, .. } => {
                say(self.store(store)?.copies.get(slot).is_some_and(|copy| copy.state == *state), refusal)
            }
            Refusal::LossCaseIn { case, state } => {
                say(self.world.cluster.loss_cases.get(case).is_some_and(|known| known.state == *state), refusal)
            }
            Refusal::NoRoom { store, size_bytes, excluded, .. } => {
                say(self.store(store)?.spec.size_bytes == *size_bytes, refusal)?;
                self.nowhere(store, excluded)
            }
            Refusal::TooFewCopies { store, live, needed, .. } => self.too_few(store, *live, *needed),
            other => Err(format!("nobody judges {other:?}")),
        }
    }

    fn nothing(&self, nothing: &Nothing) -> Truth {
        match nothing {
            Nothing::Drained(host) => say(self.declared(host) == Some(HostState::Maintenance), nothing),
            Nothing::Emptied(host) => say(self.declared(host) == Some(HostState::Empty), nothing),
            Nothing::NoMasters(host) => {
                let leads = |store: &Store| store.master.iter().chain(&store.pending).any(|slot| slot.host == *host);
                say(!self.world.cluster.stores.values().any(leads), nothing)
            }
            Nothing::Rebuilt(scope) => {
                let within = |name: &StoreName, store: &Store| match scope {
                    Scope::Store(wanted) => wanted == name,
                    Scope::Host(host) => store.copies.keys().any(|slot| slot.host == *host),
                    Scope::All => true,
                };
                let mut stores = self.world.cluster.stores.iter().filter(|(name, store)| within(name, store));
                say(
                    stores.all(|(_, store)| self.domains(store, |copy| copy.whole) >= usize::from(store.spec.copies)),
                    nothing,
                )
            }
            // Whether any move makes a fleet more even is judged in `even`, where moves can be measured.
            Nothing::Even | Nothing::Filled(_) => Ok(()),
            other => Err(format!("nobody judges {other:?}")),
        }
    }

    fn domains(&self, store: &Store, counts: impl Fn(&Copy) -> bool) -> usize {
        let slots: Vec<&SlotId> = store.copies.iter().filter(|(_, copy)| counts(copy)).map(|(slot, _)| slot).collect();
        let first =
            |nth: &usize| !slots[..*nth].iter().any(|other| self.together(store, &other.host, &slots[*nth].host));
        (0..slots.len()).filter(first).count()
    }

    pub fn not_well(&self, name: &StoreName, why: &NotWell) -> Truth {
        let store = self.store(name)?;
        let master = store.master.as_ref();
        let so = match why {
            NotWell::Pending(slot) => store.pending.as_ref() == Some(slot),
            NotWell::NoMaster => master.is_none_or(|slot| !store.copies.contains_key(slot)),
            NotWell::HostSilent => master.is_some_and(|slot| self.silent(&slot.host)),
            NotWell::Copy(state) => master.is_some_and(|slot| store.copies[slot].state == *state),
            NotWell::EngineNotSeen => master.is_some_and(|slot| self.lives(name, slot).is_none()),
            NotWell::Engine { role, epoch } => master.and_then(|slot| self.engine(slot)).is_some_and(|status| {
                let other = status.role != EngineRole::Master || status.epoch != store.epoch;
                (status.role, status.epoch) == (*role, *epoch) && other
            }),
        };
        say(so, (name, why))
    }

    fn block(&self, name: &StoreName, block: &DrainBlock) -> Truth {
        let store = self.store(name)?;
        let off: BTreeSet<&HostName> = self.intent.drained().into_iter().collect();
        let here = |slot: &SlotId| off.contains(&slot.host);
        match block {
            DrainBlock::Busy => say(self.world.inputs.busy_stores.contains(name), (name, block)),
            DrainBlock::MasterNotWell(why) | DrainBlock::NotServed(why) => self.not_well(name, why),
            DrainBlock::NoTarget(why) => {
                let all: BTreeSet<&SlotId> = store.copies.keys().filter(|slot| !here(slot)).collect();
                say(why.keys().collect::<BTreeSet<_>>() == all, (name, block))?;
                // That nothing is said of any copy is true of a store that has one alone.
                say(!why.is_empty() || store.copies.len() == 1, (name, block))?;
                why.iter().try_for_each(|(slot, why)| self.role(name, slot, why))
            }
            DrainBlock::AllDrained(slots) => {
                let is_led =
                    |slot: &&SlotId| store.master.as_ref() == Some(*slot) || store.pending.as_ref() == Some(*slot);
                let all: BTreeSet<&SlotId> = store.copies.keys().filter(|slot| !is_led(slot)).collect();
                say(!all.is_empty() && all.iter().all(|slot| here(slot)), (name, block))?;
                say(slots.iter().collect::<BTreeSet<_>>() == all, (name, block))
            }
            DrainBlock::TooFewReplicas { live, needed } => {
                let counts = |slot: &&SlotId| !here(slot) && self.lives(name, slot).is_some();
                let most = store.copies.keys().filter(counts).count();
                say(live < needed && *needed == store.spec.sync_copies && usize::from(*live) <= most, (name, block))
            }
            DrainBlock::PossibleMasters(slots) => {
                let may =
                    |slot: &SlotId| store.possible_masters.contains_key(slot) || store.pending.as_ref() == Some(slot);
                say(!slots.is_empty() && slots.iter().all(may), (name, block))
            }
            DrainBlock::LossCase(id) => say(self.case_open(*id, name, here), (name, block)),
            DrainBlock::TooFewCopies { live, needed } => self.too_few(name, *live, *needed),
            DrainBlock::NoRoom { size_bytes, why, .. } => {
                say(store.spec.size_bytes == *size_bytes, (name, block))?;
                self.nowhere(name, why)
            }
            DrainBlock::Copy(state) => {
                say(store.copies.iter().any(|(slot, copy)| here(slot) && copy.state == *state), (name, block))
            }
        }
    }

    /// With every live copy that is close behind, and one that is built, there are no more domains than was said.
    fn too_few(&self, name: &StoreName, live: usize, needed: u8) -> Truth {
        let store = self.store(name)?;
        let there = store.copies.iter().filter(|(slot, copy)| {
            let serves = matches!(copy.state, CopyState::Serving | CopyState::Frozen);
            copy.whole && serves && self.lives(name, slot).is_some()
        });
        say(
            live < usize::from(needed) && needed == store.spec.copies && live <= there.count() + 1,
            (name, live, needed),
        )
    }

    /// Every host is named, each with a reason that is true.
    fn nowhere(&self, name: &StoreName, why: &BTreeMap<HostName, WhyNot>) -> Truth {
        let unnamed: Vec<&HostName> = self.world.cluster.hosts.keys().filter(|host| !why.contains_key(*host)).collect();
        say(unnamed.is_empty(), (name, "these hosts have a reason", &unnamed))?;
        let others = self.others_placed();
        why.iter().try_for_each(|(host, why)| self.place(name, host, why, others))
    }

    /// So many copies the same plan has to place besides, at most.
    fn others_placed(&self) -> usize {
        let on = |host: &HostName| self.world.cluster.copies_on(host).count();
        match self.intent {
            Intent::MoveCopy { .. } | Intent::Rebuild(Scope::Store(_)) => 0,
            Intent::Rebuild(_) => self.world.cluster.stores.values().map(|store| usize::from(store.spec.copies)).sum(),
            intent => intent.drained().into_iter().map(on).sum::<usize>().saturating_sub(1),
        }
    }

    fn place(&self, name: &StoreName, host: &HostName, why: &WhyNot, others: usize) -> Truth {
        let store = self.store(name)?;
        let moved = if let Intent::MoveCopy { slot, .. } = self.intent { Some(slot) } else { None };
        let so = match why {
            WhyNot::HostState(HostState::Draining) if self.intent.drained().contains(&host) => true,
            WhyNot::SameDomain(slot) => {
                // It may be one of several that the same plan builds.
                let stays =
                    Some(slot) != moved && (store.copies.contains_key(slot) || store.spec.copies > 1 && others > 0);
                stays && self.together(store, &slot.host, host)
            }
            WhyNot::NoFreeSlot => self.free(host, store.spec.size_bytes) <= others,
            WhyNot::Pinned => store.spec.never.contains(host),
            other => return self.host(host, other),
        };
        say(so, (name, host, why))
    }

    /// What is wrong with a host, whatever it is wanted for.
    fn host(&self, host: &HostName, why: &WhyNot) -> Truth {
        let so = match why {
            WhyNot::HostState(state) => self.declared(host) == Some(*state) && *state != HostState::Active,
            WhyNot::HostQuarantined => {
                self.world.cluster.hosts.get(host).is_some_and(|known| known.quarantined.is_some())
            }
            WhyNot::HostSilent => self.silent(host),
            WhyNot::HostBusy => self.world.inputs.busy_hosts.contains(host),
            _ => false,
        };
        say(so, (host, why))
    }

    fn role(&self, name: &StoreName, slot: &SlotId, why: &WhyNot) -> Truth {
        let store = self.store(name)?;
        let (copy, status) = (store.copies.get(slot), self.engine(slot));
        let policy = &self.world.cluster.policy;
        let said = |so: &dyn Fn(&EngineStatus) -> bool| status.is_some_and(so);
        let so = match why {
            WhyNot::NoCopy => copy.is_none(),
            WhyNot::IsMaster => {
                let leads = store.master.as_ref() == Some(slot) || store.pending.as_ref() == Some(slot);
                leads || copy.is_some_and(|copy| copy.role == Role::Master)
            }
            WhyNot::OthersCan => {
                let asked = matches!(self.intent, Intent::FailOverSlot { slot: from, .. } if from == slot);
                let by_store =
                    matches!(self.intent, Intent::FailOverStore { .. }) && store.possible_masters.contains_key(slot);
                let other = store.copies.keys().any(|other| other != slot && self.lives(name, other).is_some());
                (asked || by_store || store.pending.as_ref() == Some(slot))
                    && store.master.as_ref() != Some(slot)
                    && other
            }
            WhyNot::State(state) => copy.is_some_and(|copy| copy.state == *state),
            WhyNot::EngineNotSeen => self.lives(name, slot).is_none(),
            WhyNot::Engine(role) => said(&|status| status.role == *role),
            WhyNot::OtherCopy => said(&|status| !self.is_of(name, slot, status)),
            WhyNot::FollowsOther { master, epoch } => {
                let follows = (Some(master), *epoch) == (store.master.as_ref(), store.epoch);
                follows && said(&|status| status.following != Some((master.clone(), *epoch)))
            }
            WhyNot::NotHeard => said(&|status| status.heard_ms.is_none_or(|ms| ms > policy.silent_ms)),
            WhyNot::BehindUnknown => said(&|status| status.behind.is_none()),
            WhyNot::Behind { behind, max } => {
                let far = behind > max && *max == policy.max_lag_records;
                far && said(&|status| status.behind == Some(*behind))
            }
            WhyNot::NeverVerified => said(&|status| status.verified_ms.is_none()),
            WhyNot::VerifiedLongAgo { age_ms, max_ms } => {
                let long = age_ms > max_ms && *max_ms == policy.max_stamp_age_ms;
                long && said(&|status| status.verified_ms == Some(*age_ms))
            }
            WhyNot::LossCase(id) => self.case_open(*id, name, |at| at == slot),
            WhyNot::NotWhole => copy.is_some_and(|copy| !copy.whole),
            WhyNot::Differs { .. } => self.world.cluster.stamps.get(slot).is_some_and(|stamp| stamp.differs()),
            WhyNot::SameDomain(_) | WhyNot::NoFreeSlot | WhyNot::Pinned => false,
            other => return self.host(&slot.host, other),
        };
        say(so, (name, slot, why))
    }
}
