//! What people can see, and what they make of it.
//!
//! What always holds: looking changes nothing; what is replicated and what was seen with one's own eyes are two things.

use super::{Crowd, Faith, Habit, cluster};
use slot_machine::state::State;
use slot_types::cluster::*;
use slot_types::ids::*;
use slot_types::plan::Intent;
use std::collections::{BTreeMap, BTreeSet};

/// What a person could see by going there.
#[derive(Clone, Debug, Default)]
pub struct Truth {
    /// Hosts without power.
    pub off: BTreeSet<HostName>,
    /// The boot each host is in, or was last in.
    pub boots: BTreeMap<HostName, BootId>,
    /// The disk in each host.
    pub disks: BTreeMap<HostName, Incarnation>,
    /// Hosts whose agent's process runs and is not paused.
    pub agents: BTreeSet<HostName>,
    /// Slots whose engine's process runs and is not paused.
    pub engines: BTreeSet<SlotId>,
    /// Copies that their engines refuse to open: a power failure took the middle of what was not synced (P12).
    pub damaged: BTreeSet<SlotId>,
    /// Hosts none of whose links to other hosts and to coordinators is cut, and whose disks are well. Leave it empty, and
    /// nobody attests anything wrongly in good faith.
    pub undisturbed: BTreeSet<HostName>,
}

/// What people can see.
#[derive(Clone, Copy)]
pub struct Public<'a> {
    /// The newest live coordinator's state.
    pub state: Option<&'a State>,
    /// The coordinators by node id.
    pub coordinators: &'a BTreeMap<u64, CoordinatorName>,
    /// What a person could see by going there.
    pub truth: &'a Truth,
    /// The faults are over: whoever is stuck is looked after.
    pub healing: bool,
}

impl Crowd {
    /// Remembers what there is to see.
    pub(super) fn look(&mut self, now: u64, public: &Public<'_>) {
        if self.names.len() != public.coordinators.len() {
            self.names = public.coordinators.iter().map(|(id, name)| (name.clone(), *id)).collect();
        }
        for (host, disk) in &public.truth.disks {
            self.first_disks.entry(host.clone()).or_insert(*disk);
        }
        for host in &public.truth.off {
            let boot = cluster(public).and_then(|(_, c)| c.hosts.get(host)).and_then(|h| h.boot);
            self.seen_off.insert(host.clone(), (now, boot));
        }
        self.look_at_doubted(now, public);
        let standing = cluster(public).map(|(_, c)| &c.attestations);
        for word in self.words.iter_mut().filter(|w| !w.void) {
            let stands = standing.and_then(|all| all.get(&word.host)).is_some_and(|a| a.by == word.by);
            match (word.recorded, stands) {
                (false, true) => word.recorded = true,
                (true, false) => {
                    word.void = true;
                    let name = match word.faith {
                        Faith::True => "attestation gone: true",
                        Faith::CameBack => "attestation void: host was back",
                        Faith::EngineServes => "attestation void: engine served",
                        Faith::TrulyWrong => "attestation void: truly wrong",
                    };
                    *self.counts.entry(name).or_default() += 1;
                }
                _ => {}
            }
        }
    }

    /// S5: one person's yes counts once; a new leader makes former ones void, then it may be given again (R17).
    fn look_at_doubted(&mut self, now: u64, public: &Public<'_>) {
        for plan in std::mem::take(&mut self.doubted) {
            let Some(record) = public.state.and_then(|s| s.plans.get(&plan)) else { continue };
            let people: BTreeSet<&OperatorName> = record.approvals.iter().map(|a| &a.by).collect();
            if people.len() < record.approvals.len() {
                self.complain("S5", now, format!("two yeses of one person to {plan} count: {people:?}"));
            }
        }
    }

    /// Whether every store of the cluster file has a master: from here on the world may become rough.
    pub fn is_founded(&self, public: &Public<'_>) -> bool {
        let Some((_, cluster)) = cluster(public) else { return false };
        let gone = |name: &StoreName| cluster.tombstones.contains_key(name);
        let served =
            |name: &StoreName| gone(name) || cluster.stores.get(name).is_some_and(|s| s.master.is_some() || s.retired);
        self.config.fleet.stores.keys().all(served)
    }

    /// Whether nothing is left to look after (L1).
    pub fn is_well(&self, public: &Public<'_>) -> bool {
        self.is_founded(public) && self.first_ill(public).is_none()
    }

    /// What is not well, for a person.
    pub fn why_not_well(&self, public: &Public<'_>) -> Option<String> {
        if !self.is_founded(public) {
            return Some("not every store of the cluster file has a master".into());
        }
        self.first_ill(public)
    }

    /// The stores that clients must be able to write to once all is well: a store with fewer copies left than it must
    /// acknowledge by refuses writes (R24), since a replaced disk is not filled again in this version.
    pub fn writable(&self, public: &Public<'_>) -> Vec<StoreName> {
        let stores = cluster(public).into_iter().flat_map(|(_, cluster)| &cluster.stores);
        let whole = |store: &Store| {
            let there =
                |(slot, copy): &(&SlotId, &Copy)| copy.state == CopyState::Serving && !self.is_lost(public, slot);
            store.copies.iter().filter(there).count() > usize::from(store.spec.sync_copies)
        };
        stores.filter(|(_, store)| !store.retired && whole(store)).map(|(name, _)| name.clone()).collect()
    }

    fn first_ill(&self, public: &Public<'_>) -> Option<String> {
        let (state, cluster) = cluster(public)?;
        if let Some(on) = cluster.holds.keys().next() {
            return Some(format!("{on} is held"));
        }
        // What can't be opened is asked to follow again and again.
        let vain = |intent: &Intent| matches!(intent, Intent::Follow { slot } if public.truth.damaged.contains(slot));
        if let Some(plan) = state.running().find(|plan| !vain(&plan.plan.intent)) {
            return Some(format!("plan {} ({}) is {}", plan.id, plan.plan.intent, plan.status));
        }
        for (name, host) in &cluster.hosts {
            if host.declared != HostState::Active || host.quarantined.is_some() || public.truth.off.contains(name) {
                return Some(format!("{name} is {}, quarantined: {:?}", host.declared, host.quarantined));
            }
            // Which disk it came up with is not known before its agent was heard: an older one looks well until then (S2).
            let boot = public.truth.boots.get(name);
            if boot.is_some() && host.boot.as_ref() != boot {
                return Some(format!("{name} was not heard since it booted"));
            }
        }
        for (id, case) in &cluster.loss_cases {
            if case.state.is_open() && !self.is_lost(public, &case.slot) {
                return Some(format!("loss case {id} of {} on {} is {:?}", case.store, case.slot, case.state));
            }
        }
        cluster.stores.iter().find_map(|(name, store)| self.ill_store(public, name, store))
    }

    fn ill_store(&self, public: &Public<'_>, name: &StoreName, store: &Store) -> Option<String> {
        if store.retired {
            return Some(format!("{name} is retired, and copies of it are left"));
        }
        let Some(master) = store.master.as_ref().filter(|_| store.pending.is_none()) else {
            return Some(format!("{name} has no master, pending is {:?}", store.pending));
        };
        if !public.truth.engines.contains(master) {
            return Some(format!("the engine of {name}'s master {master} does not run"));
        }
        // There is no rebuild: a copy on a disk that was replaced stays as it is, and so does a possible master (R28).
        let copy = store.copies.iter().find(|(slot, copy)| {
            !matches!(copy.state, CopyState::Serving | CopyState::Retired) && !self.is_lost(public, slot)
        });
        if let Some((slot, copy)) = copy {
            return Some(format!("{name}'s copy on {slot} is {:?}", copy.state));
        }
        let loose = store.possible_masters.keys().find(|slot| !self.is_lost(public, slot));
        loose.map(|slot| format!("{slot} may still be a master of {name}"))
    }

    /// Whether a copy is gone with its disk, or can't be opened: there is no rebuild.
    fn is_lost(&self, public: &Public<'_>, slot: &SlotId) -> bool {
        self.is_replaced(public, &slot.host) || public.truth.damaged.contains(slot)
    }

    /// Whether the disk in a host is not the one it began with.
    pub(super) fn is_replaced(&self, public: &Public<'_>, host: &HostName) -> bool {
        matches!((self.first_disks.get(host), public.truth.disks.get(host)), (Some(first), Some(now)) if first != now)
    }

    /// In what faith a host may be attested off now, if at all. In truth goes first.
    pub(super) fn faith(&self, now: u64, public: &Public<'_>, host: &HostName) -> Option<Faith> {
        if public.truth.off.contains(host) {
            return Some(Faith::True);
        }
        if self.has(Habit::TrulyWrong) {
            return Some(Faith::TrulyWrong);
        }
        if !self.has(Habit::AttestWrong) || !public.truth.undisturbed.contains(host) {
            return None;
        }
        let looked = self.seen_off.get(host).is_some_and(|(at, _)| now.saturating_sub(*at) < 60_000);
        if public.truth.agents.contains(host) {
            return looked.then_some(Faith::CameBack);
        }
        serves_in_sight(public, host).then_some(Faith::EngineServes)
    }
}

/// Whether a host's engine would surely be noticed (R8: agent and engine are separate signs of life): whatever may be
/// master there is a committed master that runs and that an undisturbed replica follows, with an agent that reports it.
fn serves_in_sight(public: &Public<'_>, host: &HostName) -> bool {
    let Some((_, cluster)) = cluster(public) else { return false };
    let truth = public.truth;
    let here = |slot: &SlotId| slot.host == *host;
    let mut masters = 0;
    for store in cluster.stores.values() {
        if store.possible_masters.keys().any(here) || store.pending.as_ref().is_some_and(here) {
            return false;
        }
        let Some(master) = store.master.as_ref().filter(|slot| here(slot)) else { continue };
        let hears = |(slot, copy): (&SlotId, &Copy)| {
            copy.state == CopyState::Serving
                && copy.follows == Some((master.clone(), store.epoch))
                && truth.engines.contains(slot)
                && truth.agents.contains(&slot.host)
                && truth.undisturbed.contains(&slot.host)
        };
        if store.pending.is_some() || !truth.engines.contains(master) || !store.copies.iter().any(hears) {
            return false;
        }
        masters += 1;
    }
    masters > 0
}

/// Whom a change of master may be asked about, as the planner takes it.
pub(super) fn leads(store: &Store) -> Vec<SlotId> {
    match &store.master {
        Some(master) => vec![master.clone()],
        None => store.pending.iter().chain(store.possible_masters.keys()).cloned().collect(),
    }
}
