//! Random fleets in random states: the planner never panics, and never makes a plan that its checker refuses.

use crate::world::*;
use proptest::prelude::*;
use slot_planner::Refusal;
use slot_types::cluster::*;
use slot_types::engine::EngineRole;
use slot_types::evidence::{CopyEvidence, Seen};
use slot_types::ids::*;
use slot_types::plan::{Intent, Scope, Settlement};
use std::collections::BTreeSet;

/// One thing that is not as it should be.
#[derive(Clone, Debug)]
pub enum Upset {
    Silent(usize, u64),
    Attest(usize),
    Declared(usize, usize),
    Copy(usize, usize, usize),
    Dead(usize, usize),
    Role(usize, usize, usize),
    Behind(usize, usize, u64),
    Length(usize, usize, u64),
    Verified(usize, usize, Option<u64>),
    Possible(usize, usize, bool),
    Pending(usize, usize, bool),
    NoMaster(usize),
    Sync(usize, u8),
    Busy(usize),
    BusyHost(usize),
    Loss(usize, usize, usize),
    Unwhole(usize, usize, bool),
    Retired(usize, usize),
    Wanted(usize, u8),
    Load(usize, u16),
    Weight(usize, u16),
    AllowUnfenced,
}

pub fn upset() -> impl Strategy<Value = Upset> {
    let n = 0usize..30;
    prop_oneof![
        (n.clone(), 0u64..40_000).prop_map(|(h, ms)| Upset::Silent(h, ms)),
        n.clone().prop_map(Upset::Attest),
        (n.clone(), n.clone()).prop_map(|(h, s)| Upset::Declared(h, s)),
        (n.clone(), n.clone(), n.clone()).prop_map(|(s, c, x)| Upset::Copy(s, c, x)),
        (n.clone(), n.clone()).prop_map(|(s, c)| Upset::Dead(s, c)),
        (n.clone(), n.clone(), n.clone()).prop_map(|(s, c, r)| Upset::Role(s, c, r)),
        (n.clone(), n.clone(), 0u64..3_000).prop_map(|(s, c, b)| Upset::Behind(s, c, b)),
        (n.clone(), n.clone(), 0u64..200).prop_map(|(s, c, l)| Upset::Length(s, c, l)),
        (n.clone(), n.clone(), any::<Option<u64>>()).prop_map(|(s, c, v)| Upset::Verified(s, c, v)),
        (n.clone(), n.clone(), any::<bool>()).prop_map(|(s, c, q)| Upset::Possible(s, c, q)),
        (n.clone(), n.clone(), any::<bool>()).prop_map(|(s, c, p)| Upset::Pending(s, c, p)),
        n.clone().prop_map(Upset::NoMaster),
        (n.clone(), 0u8..3).prop_map(|(s, k)| Upset::Sync(s, k)),
        n.clone().prop_map(Upset::Busy),
        n.clone().prop_map(Upset::BusyHost),
        (n.clone(), n.clone(), n.clone()).prop_map(|(s, c, x)| Upset::Loss(s, c, x)),
        (n.clone(), n.clone(), any::<bool>()).prop_map(|(s, c, g)| Upset::Unwhole(s, c, g)),
        (n.clone(), n.clone()).prop_map(|(s, c)| Upset::Retired(s, c)),
        (n.clone(), 1u8..4).prop_map(|(s, n)| Upset::Wanted(s, n)),
        (n.clone(), 1u16..9).prop_map(|(s, load)| Upset::Load(s, load)),
        (n, 1u16..5).prop_map(|(h, weight)| Upset::Weight(h, weight)),
        Just(Upset::AllowUnfenced),
    ]
}

/// Loads of stores and weights of hosts, as [`World::declare`] takes them; in half of the cases none.
pub fn declared() -> impl Strategy<Value = Option<(Vec<u16>, Vec<u16>)>> {
    let (loads, weights) = (prop::collection::vec(1u16..6, 8), prop::collection::vec(1u16..4, 7));
    prop::option::of((loads, weights))
}

pub fn apply(world: &mut World, upset: &Upset) {
    let hosts: Vec<HostName> = world.cluster.hosts.keys().cloned().collect();
    let stores: Vec<StoreName> = world.cluster.stores.keys().cloned().collect();
    let pick_host = |n: &usize| hosts[n % hosts.len()].clone();
    let name = |n: &usize| stores[n % stores.len()].clone();
    let at = |world: &World, s: &usize, c: &usize| {
        let copies: Vec<SlotId> = world.cluster.stores[&name(s)].copies.keys().cloned().collect();
        copies[c % copies.len()].clone()
    };
    let states = [CopyState::Frozen, CopyState::Building, CopyState::Quarantined, CopyState::Stopped];
    let declared = [HostState::Draining, HostState::Maintenance, HostState::Off, HostState::Empty];
    let roles = [EngineRole::Idle, EngineRole::Demoted, EngineRole::Diverged, EngineRole::Master, EngineRole::Replica];
    match upset {
        Upset::Silent(h, ms) => world.silent(&pick_host(h), *ms),
        Upset::Attest(h) => world.attest(&pick_host(h)),
        Upset::Declared(h, s) => world.host_mut(&pick_host(h)).declared = declared[s % declared.len()],
        Upset::Copy(s, c, x) => {
            let slot = at(world, s, c);
            world.store_mut(&name(s)).copies.get_mut(&slot).unwrap().state = states[x % states.len()];
        }
        Upset::Dead(s, c) => {
            let slot = at(world, s, c);
            world.evidence.copies.insert(slot, Seen::Known { value: CopyEvidence::NotRunning, age_ms: 10 });
        }
        Upset::Role(s, c, r) => said(world, &at(world, s, c), |status| status.role = roles[r % roles.len()]),
        Upset::Behind(s, c, b) => said(world, &at(world, s, c), |status| status.behind = Some(*b)),
        Upset::Length(s, c, l) => said(world, &at(world, s, c), |status| status.tip = tip(status.epoch, *l)),
        Upset::Verified(s, c, v) => said(world, &at(world, s, c), |status| status.verified_ms = *v),
        Upset::Possible(s, c, quarantined) => {
            let slot = at(world, s, c);
            let known = world.store_mut(&name(s));
            if known.master.as_ref() != Some(&slot) {
                let since = PossibleMaster { since: known.epoch, generation: CopyGeneration(1) };
                known.possible_masters.insert(slot.clone(), since);
                if *quarantined {
                    known.copies.get_mut(&slot).unwrap().state = CopyState::Quarantined;
                }
            }
        }
        Upset::Pending(s, c, started) => {
            let slot = at(world, s, c);
            let known = world.store_mut(&name(s));
            (known.master, known.pending, known.promote_started) = (None, Some(slot), *started);
        }
        Upset::NoMaster(s) => world.store_mut(&name(s)).master = None,
        Upset::Sync(s, k) => world.store_mut(&name(s)).spec.sync_copies = *k,
        Upset::Busy(s) => {
            world.inputs.busy_stores.insert(name(s));
        }
        Upset::BusyHost(h) => {
            world.inputs.busy_hosts.insert(pick_host(h));
        }
        Upset::Loss(s, c, x) => {
            let slot = at(world, s, c);
            let states = [LossState::AwaitingReturn, LossState::Listed, LossState::NothingStranded];
            let example = crate::intents::with_loss_case(states[x % states.len()].clone());
            let mut case = example.cluster.loss_cases[&LossCaseId(12)].clone();
            (case.store, case.slot) = (name(s), slot);
            world.cluster.loss_cases.insert(LossCaseId(*x as u64), case);
        }
        Upset::Unwhole(..) | Upset::Retired(..) | Upset::Wanted(..) => copies(world, upset),
        Upset::Load(s, load) => world.store_mut(&name(s)).spec.load = *load,
        Upset::Weight(h, weight) => world.host_mut(&pick_host(h)).weight = *weight,
        Upset::AllowUnfenced => world.cluster.policy.allow_unfenced = true,
    }
}

fn copies(world: &mut World, upset: &Upset) {
    let stores: Vec<StoreName> = world.cluster.stores.keys().cloned().collect();
    let name = |n: &usize| stores[n % stores.len()].clone();
    let at = |world: &World, s: &usize, c: &usize| {
        let copies: Vec<SlotId> = world.cluster.stores[&name(s)].copies.keys().cloned().collect();
        copies[c % copies.len()].clone()
    };
    match upset {
        Upset::Unwhole(s, c, gone) => {
            let slot = at(world, s, c);
            let copy = world.store_mut(&name(s)).copies.get_mut(&slot).unwrap();
            if copy.role != Role::Master {
                (copy.whole, copy.state) = (false, CopyState::Building);
            }
            if *gone {
                world.evidence.copies.insert(slot, Seen::Known { value: CopyEvidence::Absent, age_ms: 10 });
            }
        }
        Upset::Retired(s, c) => {
            let slot = at(world, s, c);
            let copy = world.store_mut(&name(s)).copies.get_mut(&slot).unwrap();
            if copy.role != Role::Master {
                copy.state = CopyState::Retired;
            }
        }
        Upset::Wanted(s, n) => world.store_mut(&name(s)).spec.copies = *n,
        _ => {}
    }
}

fn said(world: &mut World, slot: &SlotId, change: impl FnOnce(&mut slot_types::engine::EngineStatus)) {
    if let Some(Seen::Known { value: CopyEvidence::Running(status), .. }) = world.evidence.copies.get_mut(slot) {
        change(status);
    }
}

pub fn every_intent(world: &World) -> Vec<Intent> {
    let mut intents = Vec::new();
    for host in world.cluster.hosts.keys() {
        intents.push(Intent::DrainHost(host.clone()));
        intents.push(Intent::UndrainHost(host.clone()));
        intents.push(Intent::FailOverHost(host.clone()));
        intents.push(Intent::FailOverClasses { host: host.clone(), classes: [LossClass::Lagging].into() });
        intents.push(Intent::FailOverClasses { host: host.clone(), classes: LossClass::ALL.into() });
        intents.push(Intent::EmptyHost(host.clone()));
        intents.push(Intent::RetireHost(host.clone()));
        intents.push(Intent::Rebuild(Scope::Host(host.clone())));
    }
    let pairs: Vec<BTreeSet<HostName>> = {
        let names: Vec<&HostName> = world.cluster.hosts.keys().collect();
        names.windows(2).map(|pair| pair.iter().copied().cloned().collect()).collect()
    };
    for pair in pairs {
        intents.push(Intent::DrainHosts(pair.clone()));
        intents.push(Intent::EmptyHosts(pair));
    }
    intents.push(Intent::Rebuild(Scope::All));
    intents.push(Intent::Rebalance(Default::default()));
    let hosts = world.cluster.hosts.keys().take(2).cloned().collect();
    intents.push(Intent::Fill { hosts, budget: Default::default() });
    for (name, store) in &world.cluster.stores {
        intents.push(Intent::RetireStore(name.clone()));
        intents.push(Intent::FailOverStore { store: name.clone(), to: None });
        intents.push(Intent::FailOverStore { store: name.clone(), to: store.copies.keys().next().cloned() });
    }
    for slot in world.cluster.stores.values().flat_map(|s| s.copies.keys()) {
        intents.push(Intent::FailOverSlot { slot: slot.clone(), to: None });
        for store in world.cluster.stores.values().filter(|s| s.copies.contains_key(slot)) {
            for to in store.copies.keys() {
                intents.push(Intent::FailOverSlot { slot: slot.clone(), to: Some(to.clone()) });
            }
        }
        intents.push(Intent::StartMaster { slot: slot.clone() });
        intents.push(Intent::Follow { slot: slot.clone() });
        intents.push(Intent::FenceReturned { slot: slot.clone() });
        intents.push(Intent::CountCopy { slot: slot.clone() });
        intents.push(Intent::MoveCopy { slot: slot.clone(), to: None });
        let last = SlotId::new(slot.host.clone(), 24);
        intents.push(Intent::MoveCopy { slot: slot.clone(), to: Some(last) });
    }
    for case in world.cluster.loss_cases.keys() {
        intents.push(Intent::SettleLoss { case: *case, how: Settlement::Reinject });
        intents.push(Intent::SettleLoss { case: *case, how: Settlement::Discard });
    }
    intents
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_checker_agrees_with_every_plan(
        hosts in 3usize..6,
        stores in 1usize..7,
        copies in 1u8..4,
        upsets in prop::collection::vec(upset(), 0..8),
    ) {
        let mut world = World::running(hosts, 24, stores, copies);
        for upset in &upsets {
            apply(&mut world, upset);
        }
        let mut intents = every_intent(&world);
        intents.push(Intent::Apply(Box::new(file(hosts + 1, 24, stores + 3, copies))));
        for intent in intents {
            match world.plan(intent.clone()) {
                Ok(_) => {}
                Err(Refusal::Faulty(fault)) => prop_assert!(false, "{intent}: {fault}\n{world:#?}"),
                Err(other) => prop_assert!(!other.to_string().is_empty()),
            }
        }
    }
}
