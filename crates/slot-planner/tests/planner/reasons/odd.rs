//! Worlds in which something is odd: held, set aside, half retired, half drained, returned, never made.
//!
//! What always holds: an oddity is one that the cluster can be in: who leads a store is one slot, and its copies say so; a slot
//! waits for one loss case at most. What is seen of it may be anything.

use crate::random::{self, Upset};
use crate::world::*;
use proptest::prelude::*;
use slot_types::cluster::*;
use slot_types::engine::EngineRole;
use slot_types::evidence::{CopyEvidence, Seen};
use slot_types::fence::{Device, DeviceFailed, DeviceOff, FenceAgent, FenceFrom, FenceSpec};
use slot_types::hold::{Hold, HoldOn};
use slot_types::ids::*;
use slot_types::plan::{Intent, Reverse};
use std::collections::{BTreeMap, BTreeSet};

/// What is odd; which host, store and copy, and how, are numbers beside it.
#[derive(Clone, Copy, Debug)]
pub enum What {
    Hold,
    NobodyAsks,
    Quarantine,
    OtherBoot,
    Declared,
    StoppedOn,
    DrainedMasters,
    DrainedPartly,
    Retiring,
    Tombstone,
    NotMade,
    Case,
    Set,
    Possible,
    Pending,
    NoMaster,
    Building,
    Idle,
    OtherCopy,
    Emptied,
    Device,
    Word,
    Silent,
    Listed,
}

const ALL: [What; 25] = [
    What::Hold,
    What::NobodyAsks,
    What::Quarantine,
    What::OtherBoot,
    What::Declared,
    What::StoppedOn,
    What::DrainedMasters,
    What::DrainedPartly,
    What::Retiring,
    What::Tombstone,
    What::NotMade,
    What::Case,
    What::Set,
    What::Possible,
    What::Pending,
    What::NoMaster,
    What::Building,
    What::Idle,
    What::OtherCopy,
    What::Emptied,
    What::Device,
    What::Word,
    What::Silent,
    What::Listed,
    What::Listed,
];

#[derive(Clone, Copy, Debug)]
pub struct Odd {
    what: What,
    a: usize,
    b: usize,
    c: usize,
}

/// A world as numbers, so that a case shrinks to few of them.
#[derive(Clone, Debug)]
pub struct Recipe {
    hosts: usize,
    stores: usize,
    copies: u8,
    odd: Vec<Odd>,
    upsets: Vec<Upset>,
    undone: Vec<[usize; 4]>,
}

pub fn recipe() -> impl Strategy<Value = Recipe> {
    let n = || 0usize..60;
    let odd = (0..ALL.len(), n(), n(), n()).prop_map(|(what, a, b, c)| Odd { what: ALL[what], a, b, c });
    let undone = prop::collection::vec([0usize..4, 0usize..60, 0usize..60, 0usize..60], 1..5);
    let upsets = prop::collection::vec(random::upset(), 0..3);
    (3usize..6, 1usize..6, 1u8..4, prop::collection::vec(odd, 0..5), upsets, undone)
        .prop_map(|(hosts, stores, copies, odd, upsets, undone)| Recipe { hosts, stores, copies, odd, upsets, undone })
}

impl Recipe {
    pub fn world(&self) -> World {
        let mut world = World::running(self.hosts, 24, self.stores, self.copies);
        for upset in &self.upsets {
            random::apply(&mut world, upset);
        }
        for odd in &self.odd {
            if !world.cluster.stores.is_empty() {
                odd.come(&mut world);
            }
        }
        tidy(&mut world);
        world
    }

    /// What some plan is said to have done, true of this world or not.
    pub fn undo(&self, world: &World) -> Intent {
        let mut reverse = Reverse { plan: PlanId(17), ..Reverse::default() };
        for [what, a, b, c] in &self.undone {
            let host = pick(world.cluster.hosts.keys(), *a);
            match (what, pick(world.cluster.stores.keys(), *b)) {
                (0, _) if *c == 0 => drop(reverse.active.insert(HostName::new("gone").unwrap())),
                (0, _) => reverse.active.extend(host),
                (1, Some(name)) => {
                    let slot = pick(world.cluster.stores[&name].copies.keys(), *a);
                    let slot = if *c == 0 { slot.map(|slot| SlotId::new(slot.host, 24)) } else { slot };
                    reverse.started.extend(slot.map(|slot| (slot, name)));
                }
                (_, Some(name)) => {
                    let slot = pick(world.cluster.stores[&name].copies.keys(), *a);
                    let slot = if *c == 0 { slot.map(|slot| SlotId::new(slot.host, 24)) } else { slot };
                    reverse.masters.extend(slot.map(|slot| (name, slot)));
                }
                _ => {}
            }
        }
        Intent::Undo(Box::new(reverse))
    }
}

fn pick<'a, T: Clone + 'a>(all: impl Iterator<Item = &'a T>, nth: usize) -> Option<T> {
    let all: Vec<&T> = all.collect();
    all.get(nth % all.len().max(1)).map(|thing| (*thing).clone())
}

impl Odd {
    fn come(self, world: &mut World) {
        let Self { what, a, b, c } = self;
        let host = pick(world.cluster.hosts.keys(), a).unwrap();
        let name = pick(world.cluster.stores.keys(), a).unwrap();
        let slot = pick(world.cluster.stores[&name].copies.keys(), b);
        match (what, slot) {
            (What::Hold, _) => {
                let by = OperatorName::new("ann").unwrap();
                let hold = Hold { by, reason: "disk".into(), at: LogTime(1), wall: WallTime(1) };
                let on = [HoldOn::All, HoldOn::Host(host), HoldOn::Store(name)];
                world.cluster.holds.insert(on[if b == 0 { 0 } else { 1 + b % 2 }].clone(), hold);
            }
            (What::NobodyAsks, _) if b < 6 => world.inputs.requested_by = None,
            (What::Quarantine, _) => {
                let presented = Incarnation([9; 16]);
                world.host_mut(&host).quarantined = Some(HostQuarantine::OtherDisk { presented });
            }
            (What::OtherBoot, _) => world.host_mut(&host).boot = Some(BootId([99; 16])),
            (What::Declared, _) => {
                world.host_mut(&host).declared = STATES[b % STATES.len()];
                if c % 4 == 0 {
                    world.inputs.busy_hosts.insert(host);
                }
            }
            (What::StoppedOn, _) => stopped_on(world, &host, b),
            (What::DrainedMasters, _) => world.host_mut(&host).drained_masters.extend([name]),
            (What::DrainedPartly, _) => drained_partly(world, &host, b),
            (What::Retiring, _) => retiring(world, &name, b),
            (What::Tombstone, _) => {
                let store = world.cluster.stores.remove(&name).unwrap();
                let stone = Tombstone { epoch: store.epoch, past: BTreeMap::new(), at: LogTime(9), wall: WallTime(9) };
                world.cluster.tombstones.insert(name, stone);
            }
            (What::NotMade, _) => {
                let store = world.store_mut(&name);
                (store.epoch, store.master, store.pending, store.route) = (Epoch::ZERO, None, None, None);
                store.copies.values_mut().for_each(|copy| copy.state = CopyState::Building);
            }
            (What::Silent, _) => world.silent(&host, [2_900, 3_100, 20_000, 90_000][b % 4]),
            (What::Emptied, _) => {
                for store in world.cluster.stores.values_mut() {
                    store.copies.retain(|slot, _| slot.host != host || store.master.as_ref() == Some(slot));
                }
            }
            (What::Device, _) => device(world, &host, b),
            (What::Word, _) => {
                if c % 4 != 0 {
                    world.silent(&host, 20_000);
                }
                world.attest(&host);
                let word = world.cluster.attestations.get_mut(&host).unwrap();
                match b % 4 {
                    0 => word.expires = LogTime(1_000_000),
                    1 => word.boot = BootId([77; 16]),
                    2 => word.at = LogTime(900_000),
                    _ => {}
                }
            }
            (what, Some(slot)) => at(world, what, (&name, &slot), (b, c)),
            _ => {}
        }
    }
}

const STATES: [HostState; 6] = [
    HostState::Draining,
    HostState::Maintenance,
    HostState::Empty,
    HostState::Off,
    HostState::Retired,
    HostState::Active,
];

/// What is odd of one copy.
fn at(world: &mut World, what: What, (name, slot): (&StoreName, &SlotId), (b, c): (usize, usize)) {
    let store = world.store_mut(name);
    let (epoch, leads) = (store.epoch, store.master.as_ref() == Some(slot));
    match what {
        What::Case => case(world, (name, slot), (b, c)),
        What::Listed if !leads => listed(world, (name, slot), c),
        What::Set if !leads => {
            let states = [CopyState::Quarantined, CopyState::Retired, CopyState::Stopped, CopyState::Frozen];
            store.copies.get_mut(slot).unwrap().state = states[c % 4];
        }
        What::Possible => {
            let since = PossibleMaster { since: epoch, generation: CopyGeneration(1) };
            if leads && c % 3 == 0 {
                store.master = None;
            }
            // A place that it may lead from outlives the copy there.
            let gone = SlotId::new(slot.host.clone(), 23);
            let at = if c % 5 == 0 { gone } else { slot.clone() };
            store.possible_masters.insert(at, since);
            if store.master.as_ref() == Some(slot) {
                store.possible_masters.remove(slot);
            }
        }
        What::Pending => {
            (store.master, store.pending, store.promote_started) = (None, Some(slot.clone()), c % 2 == 0);
        }
        What::NoMaster => store.master = None,
        What::Building if !leads => {
            let master = store.master.clone().map(|master| (master, epoch));
            let copy = store.copies.get_mut(slot).unwrap();
            (copy.whole, copy.state) = (c % 4 == 0, CopyState::Building);
            copy.follows = if c % 3 == 0 { None } else { master };
            said(world, slot, |status| match b % 5 {
                0 => status.verified_ms = None,
                1 => status.behind = Some(3),
                2 => status.role = EngineRole::Demoted,
                _ => {}
            });
        }
        What::Idle => said(world, slot, |status| {
            let roles = [EngineRole::Idle, EngineRole::Demoted, EngineRole::Replica, EngineRole::Master];
            status.role = roles[c % 4];
            if c % 5 == 0 {
                status.epoch = epoch.next();
            }
        }),
        What::OtherCopy => said(world, slot, |status| status.generation = CopyGeneration(9)),
        _ => {}
    }
}

fn said(world: &mut World, slot: &SlotId, change: impl FnOnce(&mut slot_types::engine::EngineStatus)) {
    if let Some(Seen::Known { value: CopyEvidence::Running(status), .. }) = world.evidence.copies.get_mut(slot) {
        change(status);
    }
}

fn case(world: &mut World, (name, slot): (&StoreName, &SlotId), (b, c): (usize, usize)) {
    let by = || OperatorName::new("ann").unwrap();
    let states = [
        LossState::AwaitingReturn,
        LossState::Listed,
        LossState::NothingStranded,
        LossState::Reinjected { by: by() },
        LossState::Discarded { by: by() },
        LossState::Listed,
        LossState::Listed,
    ];
    let example = crate::intents::with_loss_case(states[b % 7].clone());
    let mut case = example.cluster.loss_cases[&LossCaseId(12)].clone();
    (case.store, case.slot) = (name.clone(), slot.clone());
    if c % 11 == 0 {
        case.generation = CopyGeneration(7);
    }
    if c % 13 == 0 {
        case.slot = SlotId::new(slot.host.clone(), 24);
    }
    let store = world.store_mut(name);
    if store.master.as_ref() != Some(slot) && c % 2 == 0 {
        let states = [CopyState::Quarantined, CopyState::Building, CopyState::Stopped, CopyState::Retired];
        store.copies.get_mut(slot).unwrap().state = states[c / 2 % 4];
    }
    world.cluster.loss_cases.insert(LossCaseId(100 + b as u64), case);
}

/// A copy was set aside with records of its own, and its master may be ill besides.
fn listed(world: &mut World, (name, slot): (&StoreName, &SlotId), how: usize) {
    let example = crate::intents::with_loss_case(LossState::Listed);
    let case = example.cluster.loss_cases[&LossCaseId(12)].clone();
    let case = LossCase { store: name.clone(), slot: slot.clone(), ..case };
    world.cluster.loss_cases.insert(LossCaseId(50), case);
    let store = world.store_mut(name);
    let states = [CopyState::Quarantined, CopyState::Serving, CopyState::Stopped, CopyState::Frozen];
    store.copies.get_mut(slot).unwrap().state = states[if how < 30 { 0 } else { how % 4 }];
    let Some(master) = store.master.clone() else { return };
    match how % 7 {
        0 => store.copies.get_mut(&master).unwrap().state = CopyState::Building,
        1 => drop(world.evidence.copies.remove(&master)),
        2 => said(world, &master, |status| status.epoch = status.epoch.next()),
        3 => world.silent(&master.host, 20_000),
        _ => {}
    }
}

/// Every replica on a host is stopped on purpose, and the host is declared one way or another.
fn stopped_on(world: &mut World, host: &HostName, how: usize) {
    let mut stopped = Vec::new();
    for store in world.cluster.stores.values_mut() {
        for (slot, copy) in store.copies.iter_mut().filter(|(slot, _)| slot.host == *host) {
            if store.master.as_ref() != Some(slot) && copy.state == CopyState::Serving {
                copy.state = CopyState::Stopped;
                stopped.push(slot.clone());
                if how.is_multiple_of(5) {
                    let since = PossibleMaster { since: store.epoch, generation: CopyGeneration(1) };
                    store.possible_masters.insert(slot.clone(), since);
                }
            }
        }
    }
    for slot in stopped {
        world.evidence.copies.insert(slot, Seen::Known { value: CopyEvidence::NotRunning, age_ms: 10 });
    }
    let states = [HostState::Active, HostState::Draining, HostState::Maintenance, HostState::Off];
    world.host_mut(host).declared = states[how % 4];
}

/// A drain that was given up after so many tasks.
fn drained_partly(world: &mut World, host: &HostName, tasks: usize) {
    if let Ok(plan) = world.plan(Intent::DrainHost(host.clone())) {
        let mut plan = plan.plan().clone();
        plan.tasks.truncate(1 + tasks % plan.tasks.len());
        world.complete(&plan);
    }
}

/// Given up by a person: its master demoted already or not, and so many copies left.
fn retiring(world: &mut World, name: &StoreName, how: usize) {
    let store = world.store_mut(name);
    let since = PossibleMaster { since: store.epoch, generation: CopyGeneration(1) };
    let master = store.master.take();
    store.possible_masters.extend(master.filter(|_| how.is_multiple_of(2)).map(|slot| (slot, since)));
    (store.retired, store.pending, store.route, store.epoch) = (true, None, None, store.epoch.next());
    store.copies.values_mut().for_each(|copy| (copy.state, copy.follows) = (CopyState::Retired, None));
    if how.is_multiple_of(3) && store.copies.len() > 1 {
        store.copies.pop_last();
    }
}

fn device(world: &mut World, host: &HostName, how: usize) {
    let boot = world.cluster.hosts[host].boot.unwrap();
    let spec = FenceSpec {
        agent: FenceAgent::new("fence_ipmilan").unwrap(),
        options: BTreeMap::new(),
        password_file: None,
        timeout_ms: 20_000,
        from: if how.is_multiple_of(2) { FenceFrom::AnotherRack } else { FenceFrom::AnotherHost },
    };
    let off =
        |boot| DeviceOff { boot, by: crate::world::host(1), plan: PlanId(3), at: LogTime(7), was: HostState::Active };
    let failed = |boot, at| DeviceFailed { boot, at: LogTime(at), why: "no answer".into() };
    if !how.is_multiple_of(4) {
        world.silent(host, 20_000);
    }
    let known = world.host_mut(host);
    known.device = Device { spec: Some(spec), off: None, failed: None };
    match how % 6 {
        0 => known.device.off = Some(off(boot)),
        1 => known.device.off = Some(off(BootId([77; 16]))),
        2 => known.device.failed = Some(failed(boot, 999_000)),
        3 => known.device.failed = Some(failed(boot, 1)),
        _ => {}
    }
}

/// One leads a store, and its copies say so; one that nobody made leads nobody; a slot waits for one loss case.
fn tidy(world: &mut World) {
    for store in world.cluster.stores.values_mut() {
        if store.retired || store.epoch == Epoch::ZERO {
            (store.master, store.pending) = (None, None);
        }
        if store.epoch == Epoch::ZERO {
            store.possible_masters.clear();
        }
        if store.pending.is_some() {
            store.master = None;
        }
        let there = |slot: &SlotId| store.copies.contains_key(slot);
        store.pending = store.pending.take().filter(there);
        store.master = store.master.take().filter(there);
        store.possible_masters.retain(|slot, _| store.master.as_ref() != Some(slot));
        for (slot, copy) in &mut store.copies {
            let leads = store.master.as_ref() == Some(slot) || store.pending.as_ref() == Some(slot);
            copy.role = if store.master.as_ref() == Some(slot) { Role::Master } else { Role::Replica };
            match copy.state {
                _ if store.retired => copy.state = CopyState::Retired,
                // Nothing stops or ends the copy that leads.
                CopyState::Stopped | CopyState::Retired if leads => copy.state = CopyState::Serving,
                _ => {}
            }
        }
    }
    let gone: Vec<StoreName> =
        world.cluster.stores.iter().filter(|(_, s)| s.retired && s.copies.is_empty()).map(|(n, _)| n.clone()).collect();
    gone.iter().for_each(|name| drop(world.cluster.stores.remove(name)));
    let mut open: BTreeSet<(StoreName, SlotId)> = BTreeSet::new();
    world
        .cluster
        .loss_cases
        .retain(|_, case| !case.state.is_open() || open.insert((case.store.clone(), case.slot.clone())));
}
