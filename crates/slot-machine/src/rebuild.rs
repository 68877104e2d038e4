//! A restored state, rebuilt from what every host said (R10).
//!
//! What always holds: a store's epoch is the highest that anybody holds; nobody is its master but who was made it at that
//! epoch; whoever may still acknowledge below it is a possible master (R3, R28), and so is, until there is a successor, whose
//! end is the store's. Where a disk that the backup knew has not spoken, somebody may have been made master there, above all that
//! is known: a master counts then only if it is seen serving, for whoever is promoted past a master stops it first, and what
//! was stopped has left a trace or does not run. What does not count waits for a person's failover, with an unknown loss (R7).

use crate::apply::{Stamp, audit};
use crate::hosts::bounded;
use crate::restore::{AdoptedCopy, AdoptedHost, Readoption};
use crate::state::State;
use slot_planted::planted;
use slot_types::cluster::*;
use slot_types::ids::*;
use slot_types::order::RoleOrdered;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

type Held = BTreeMap<SlotId, AdoptedCopy>;

/// What is known of all hosts together.
struct Ground {
    /// What they hold, by store.
    held: BTreeMap<StoreName, Held>,
    /// Hosts whose disk of the backup has not spoken, and who said that it does not count any more.
    silent: BTreeMap<HostName, OperatorName>,
    slots: BTreeMap<SlotId, SlotSpec>,
    generation: u32,
    stamp: Stamp,
}

/// Every host has said what it holds: the stores are what the hosts say.
pub(crate) fn rebuild(state: &mut State, stamp: Stamp) {
    let Some(restoring) = state.restoring.take() else { return };
    for (name, how) in &restoring.hosts {
        // S2: a person said that it is this host's disk, and what it holds was asked anew.
        if let (Readoption::Adopted { said, .. }, Some(given_up)) = (how, state.given_up_disks.get_mut(name)) {
            given_up.remove(&said.incarnation);
        }
    }
    let mut told = vec!["every host was re-adopted: the state is rebuilt from what they hold".to_string()];
    let mut next_case = state.last_loss_case;
    if let Some(cluster) = state.cluster.as_mut() {
        let mut ground = hear(cluster, restoring.hosts, stamp, &mut told);
        let names: BTreeSet<StoreName> = cluster.stores.keys().chain(ground.held.keys()).cloned().collect();
        for name in names {
            let held = ground.held.remove(&name).unwrap_or_default();
            let Some(mut store) = known_or_learnt(cluster, &ground, &name, &held, &mut told) else { continue };
            let passed = ground.rebuild_store(&mut store, &held);
            let master = store.master.as_ref().map_or("no master".to_string(), |slot| format!("master {slot}"));
            told.push(format!("{name} is at epoch {}, {master}, {} copies", store.epoch, store.copies.len()));
            close_settled(&mut cluster.loss_cases, &ground, &name, &store);
            for (slot, generation) in passed {
                let known = |case: &LossCase| case.store == name && case.slot == slot && case.state.is_open();
                if cluster.loss_cases.values().any(known) {
                    continue;
                }
                next_case = next_case.next();
                told.push(format!(
                    "loss case {next_case} opened for {slot}: it was a master of {name} below that epoch"
                ));
                cluster.loss_cases.insert(next_case, unknown_loss(&name, slot, generation, store.epoch, stamp));
            }
            keep_quarantined(&cluster.loss_cases, &name, &mut store);
            cluster.stores.insert(name, store);
        }
        declare(cluster, &mut told);
    }
    state.last_loss_case = next_case;
    state.fleet_version += 1;
    for text in told {
        audit(state, stamp, "slotd", bounded(&text));
    }
}

/// Takes the hosts' words, and puts the hosts themselves back in service.
fn hear(cluster: &mut Cluster, hosts: BTreeMap<HostName, Readoption>, stamp: Stamp, told: &mut Vec<String>) -> Ground {
    let mut held: BTreeMap<StoreName, Held> = BTreeMap::new();
    let mut silent = BTreeMap::new();
    for (name, how) in hosts {
        let Some(host) = cluster.hosts.get_mut(&name) else { continue };
        let Readoption::Adopted { said, by } = how else { continue };
        if host.incarnation != Some(said.incarnation) {
            silent.insert(name.clone(), by);
        }
        put_back(host, &said);
        for copy in said.copies {
            held.entry(copy.store.clone()).or_default().insert(SlotId::new(name.clone(), copy.slot), copy);
        }
    }
    if !silent.is_empty() {
        let hosts: Vec<String> = silent.keys().map(ToString::to_string).collect();
        told.push(format!(
            "nobody knows what the disks held that {} had in the backup: a master counts only where it is seen serving",
            hosts.join(" ")
        ));
    }
    let slots = cluster.hosts.iter().flat_map(|(name, host)| {
        host.slots.iter().map(|(number, spec)| (SlotId::new(name.clone(), *number), spec.clone()))
    });
    let (slots, generation) = (slots.collect(), cluster.generation);
    Ground { held, silent, slots, generation, stamp }
}

fn put_back(host: &mut Host, said: &AdoptedHost) {
    host.quarantined = None;
    host.incarnation = Some(said.incarnation);
    host.boot = Some(said.boot);
    host.acknowledged = said.high_water;
    host.version += 1;
    // S8: all that it holds was stopped by orders, so it was made safe to switch off after the backup, and may be open.
    let stopped = !said.copies.is_empty() && said.copies.iter().all(|copy| copy.stopped);
    if stopped && matches!(host.declared, HostState::Active | HostState::Draining) {
        host.declared = HostState::Maintenance;
    }
}

/// The store of the backup; or one that was made after it, as far as its copies tell what the cluster file said of it.
fn known_or_learnt(
    cluster: &mut Cluster,
    ground: &Ground,
    name: &StoreName,
    held: &Held,
    told: &mut Vec<String>,
) -> Option<Store> {
    let slots = || held.keys().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    if cluster.tombstones.contains_key(name) {
        told.push(format!("{} hold {name}, which was retired before the backup: a person must look", slots()));
        return None;
    }
    Some(cluster.stores.remove(name).unwrap_or_else(|| {
        told.push(format!("{} hold {name}, which was made after the backup: it is learnt from them", slots()));
        ground.learnt(held)
    }))
}

impl Ground {
    /// What its next plan finds is what its copies say; the cluster file says the rest when it is applied again.
    fn learnt(&self, held: &Held) -> Store {
        let room = held.keys().filter_map(|slot| self.slots.get(slot)).map(|spec| spec.size_bytes).min();
        let spec = StoreSpec {
            engine: EngineKind::Journal,
            copies: u8::try_from(held.len()).unwrap_or(u8::MAX),
            size_bytes: room.unwrap_or(0),
            spread: Spread::Host,
            // R24: as its masters were told, never fewer.
            sync_copies: held.values().map(|said| said.sync_copies).max().unwrap_or(0),
            never: BTreeSet::new(),
            load: 1,
        };
        Store {
            spec,
            epoch: Epoch::ZERO,
            master: None,
            pending: None,
            promote_started: false,
            copies: BTreeMap::new(),
            possible_masters: BTreeMap::new(),
            route: None,
            last_promoted: Epoch::ZERO,
            past: BTreeMap::new(),
            unheard: BTreeSet::new(),
            retired: false,
            version: 0,
        }
    }

    /// One store. Answers the slots that may have acknowledged below its epoch what who was promoted past them lacks (R7).
    fn rebuild_store(&self, store: &mut Store, held: &Held) -> Vec<(SlotId, CopyGeneration)> {
        store.version += 1;
        let backed_up = store.epoch;
        if !planted("r10-backup-epoch-taken") {
            store.epoch = held.values().map(|said| said.epoch).fold(store.epoch, Epoch::max);
        }
        take_copies(store, held);

        let at_epoch = |(_, said): &(&SlotId, &AdoptedCopy)| {
            said.epoch == store.epoch && matches!(said.ordered, RoleOrdered::Master { .. })
        };
        let promoted = held.iter().find(at_epoch);
        let master = promoted.filter(|(_, said)| said.ordered == RoleOrdered::Master { done: true });
        let master = master.filter(|(_, said)| self.silent.is_empty() || serves(said)).map(|(slot, _)| slot.clone());
        let half_made = promoted.filter(|(_, said)| said.ordered != RoleOrdered::Master { done: true });
        // Ordered to be master, and not known to be one: it may be. So may whom the backup knows to have been ordered, if it was
        // only raised since (ADR 30).
        let was_pending = store.pending.take().filter(|slot| {
            store.promote_started && store.epoch == backed_up && promoted.is_none() && held.contains_key(slot)
        });
        store.pending = half_made.map(|(slot, _)| slot.clone()).or(was_pending);
        store.promote_started = store.pending.is_some();
        store.master = master;

        store.possible_masters = possible_masters(store, held);
        // R7: a Promote may have been issued that nobody who spoke knows of; its epoch is not known, but is below this one.
        let unknown = !self.silent.is_empty() || store.epoch > backed_up && promoted.is_none();
        store.last_promoted = match (&store.master, unknown) {
            (None, true) if !store.retired => Epoch::unheard_of(self.generation),
            _ => store.last_promoted.max(store.epoch),
        };
        self.settle(store, held);
        let passed = |said: &AdoptedCopy| {
            matches!(said.ordered, RoleOrdered::Master { .. }) && said.epoch < store.epoch
                || said.ordered == RoleOrdered::Demoted { done: false }
        };
        let passed = held.iter().filter(|(_, said)| promoted.is_some() && !store.retired && passed(said));
        passed.map(|(slot, said)| (slot.clone(), said.generation)).collect()
    }

    /// What the roles mean for the copies, and where clients go.
    fn settle(&self, store: &mut Store, held: &Held) {
        for slot in store.possible_masters.keys() {
            let demoted = held.get(slot).is_some_and(|said| said.ordered == RoleOrdered::Demoted { done: true });
            if let Some(copy) = store.copies.get_mut(slot).filter(|copy| copy.state != CopyState::Retired) {
                copy.state = if demoted { CopyState::Building } else { CopyState::Quarantined };
            }
        }
        let Some(master) = store.master.clone() else {
            store.route = None;
            return;
        };
        if let Some(copy) = store.copies.get_mut(&master) {
            (copy.role, copy.state, copy.whole) = (Role::Master, CopyState::Serving, true);
        }
        let address: Option<SocketAddr> = self.slots.get(&master).map(|spec| spec.address);
        let (epoch, revision) = (store.epoch, self.stamp.revision);
        store.route = address.map(|address| Route { slot: master.clone(), address, epoch, revision });
        // R16: who follows that master at that epoch follows it; the others are told again.
        let right = Some((master, store.epoch));
        for (slot, _) in held.iter().filter(|(_, said)| said.follows == right) {
            if let Some(copy) = store.copies.get_mut(slot) {
                copy.follows.clone_from(&right);
            }
        }
    }
}

/// A master that nobody fenced: its engine is what its ledger says, and was not dead in between.
fn serves(said: &AdoptedCopy) -> bool {
    said.serves == Some(said.epoch) && !said.by_hand
}

/// The copies are those of the ledgers. What no ledger knows is gone (R7), and an engine without a ledger is no copy (S2).
fn take_copies(store: &mut Store, held: &Held) {
    let in_ledger = |slot: &SlotId| held.get(slot).is_some_and(|said| said.ordered != RoleOrdered::Unknown);
    let gone: Vec<(SlotId, CopyGeneration)> =
        store.copies.iter().filter(|(slot, _)| !in_ledger(slot)).map(|(s, c)| (s.clone(), c.generation)).collect();
    for (slot, generation) in gone {
        store.copies.remove(&slot);
        let past = store.past.entry(slot.clone()).or_insert(generation);
        *past = generation.max(*past);
        store.unheard.insert(slot);
    }
    for (slot, said) in held.iter().filter(|(slot, _)| in_ledger(slot)) {
        let generation = said.generation;
        let new = Copy { role: Role::Replica, state: CopyState::Building, generation, follows: None, whole: false };
        let copy = store.copies.entry(slot.clone()).or_insert(new);
        copy.whole &= copy.generation == generation;
        copy.generation = generation;
        copy.role = Role::Replica;
        copy.follows = None;
        copy.state = match (store.retired, said.stopped, copy.whole) {
            (true, ..) => CopyState::Retired,
            // S8: what a person had stopped, only a person's plan starts again.
            (_, true, _) => CopyState::Stopped,
            (.., true) => CopyState::Serving,
            (.., false) => CopyState::Building,
        };
    }
}

/// R3: whoever was, or may have become, master and is not known to be fenced at the store's epoch.
fn possible_masters(store: &Store, held: &Held) -> BTreeMap<SlotId, PossibleMaster> {
    let leads = |slot: &SlotId| [&store.master, &store.pending].into_iter().any(|other| other.as_ref() == Some(slot));
    let may_serve = |said: &AdoptedCopy| match said.ordered {
        _ if planted("r10-former-master-forgotten") => false,
        RoleOrdered::Master { .. } | RoleOrdered::Demoted { done: false } => true,
        // Without a successor its end is still the store's: whoever plans next must fence and ask it again.
        RoleOrdered::Demoted { done: true } => store.master.is_none() && !store.retired,
        RoleOrdered::Unknown => said.serves.is_some(),
        RoleOrdered::Replica => false,
    };
    let those = held.iter().filter(|(slot, said)| !leads(slot) && may_serve(said)).map(|(slot, said)| {
        let since = said.serves.filter(|_| said.ordered == RoleOrdered::Unknown).unwrap_or(said.epoch);
        (slot.clone(), PossibleMaster { since, generation: said.generation })
    });
    // Somebody follows it at this epoch, and it has said nothing: it came after the backup, or its disk is gone.
    let named = held.values().filter_map(|said| said.follows.as_ref()).filter(|(slot, epoch)| {
        *epoch == store.epoch && store.master.is_none() && !held.contains_key(slot) && !store.retired
    });
    let named = named.map(|(slot, since)| {
        let generation = store.past.get(slot).copied().unwrap_or_default();
        (slot.clone(), PossibleMaster { since: *since, generation })
    });
    those.chain(named).collect()
}

/// S8: who holds masters was put back into service after the backup.
fn declare(cluster: &mut Cluster, told: &mut Vec<String>) {
    let masters: BTreeSet<HostName> =
        cluster.stores.values().filter_map(|store| store.master.as_ref()).map(|slot| slot.host.clone()).collect();
    for (name, host) in cluster.hosts.iter_mut().filter(|(name, _)| masters.contains(*name)) {
        if host.declared != HostState::Active {
            told.push(format!("{name} holds masters and was {}: it is Active", host.declared));
            host.declared = HostState::Active;
        }
    }
}

/// Cases that nothing waits for any more. A copy that was demoted since, by whoever coordinated after the backup, has nothing to
/// list, and what it put aside it reports itself (R7); a master holds what it held alone; a copy that was destroyed had its case
/// settled before. What was on a disk that does not come back was given up by whoever said so.
fn close_settled(cases: &mut BTreeMap<LossCaseId, LossCase>, ground: &Ground, name: &StoreName, store: &Store) {
    for case in cases.values_mut().filter(|case| case.store == *name && case.state.is_open()) {
        let there = store.copies.contains_key(&case.slot);
        let fenced = !store.possible_masters.contains_key(&case.slot);
        if let Some(by) = ground.silent.get(&case.slot.host).filter(|_| !there) {
            case.state = LossState::Discarded { by: by.clone() };
        } else if !there
            || store.master.as_ref() == Some(&case.slot)
            || case.state == LossState::AwaitingReturn && fenced
        {
            case.state = LossState::NothingStranded;
            case.stranded.clear();
        }
    }
}

/// Its end is the only place where the records of an open case are; it must not follow before a person settled that.
fn keep_quarantined(cases: &BTreeMap<LossCaseId, LossCase>, name: &StoreName, store: &mut Store) {
    for case in cases.values().filter(|case| case.store == *name && case.state.is_open()) {
        let copy = store.copies.get_mut(&case.slot).filter(|copy| copy.generation == case.generation);
        if let Some(copy) = copy.filter(|copy| copy.state != CopyState::Retired) {
            copy.state = CopyState::Quarantined;
        }
    }
}

fn unknown_loss(store: &StoreName, slot: SlotId, generation: CopyGeneration, epoch: Epoch, stamp: Stamp) -> LossCase {
    let stated = LossStatement {
        class: LossClass::Unknown,
        candidate: Default::default(),
        last_known: None,
        last_known_age_ms: None,
        known_lag: None,
    };
    LossCase {
        store: store.clone(),
        slot,
        generation,
        plan: PlanId(0),
        epoch,
        stated,
        state: LossState::AwaitingReturn,
        final_tip: None,
        stranded: Vec::new(),
        opened: stamp.now,
    }
}
