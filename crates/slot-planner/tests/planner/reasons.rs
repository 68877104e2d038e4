//! Any cluster, any intent: a checked plan, or a refusal whose every reason is true.
//!
//! What always holds: the judge counts from cluster and evidence and asks nothing of the planner; a refusal that it does not know
//! fails the test.

mod asked;
mod even;
mod judge;
pub mod odd;
mod others;
mod packing;

use crate::random;
use crate::world::*;
use judge::Judge;
use proptest::prelude::*;
use slot_planner::{DrainBlock, Refusal, WhyNot};
use slot_types::cluster::*;
use slot_types::ids::*;
use slot_types::plan::{Intent, Scope};
use std::collections::{BTreeMap, BTreeSet};

/// What makes a fleet narrow.
#[derive(Clone, Debug)]
struct Narrow {
    /// How large the slots of each host are that are left free.
    free: Vec<Vec<u64>>,
    sizes: Vec<u64>,
    racks: Vec<usize>,
    never: Vec<usize>,
    spread: Vec<bool>,
}

fn narrow() -> impl Strategy<Value = Narrow> {
    let n = || prop::collection::vec(0usize..6, 8);
    let free = prop::collection::vec(prop::collection::vec(1u64..6, 0..3), 8);
    let sizes = prop::collection::vec(1u64..6, 8);
    (free, sizes, n(), n(), prop::collection::vec(any::<bool>(), 8))
        .prop_map(|(free, sizes, racks, never, spread)| Narrow { free, sizes, racks, never, spread })
}

/// A well fleet in which little is free. What holds a copy stays as large as it was.
fn made_narrow(world: &mut World, how: &Narrow) {
    let stores: Vec<StoreName> = world.cluster.stores.keys().cloned().collect();
    for (nth, name) in stores.iter().enumerate() {
        let by_host = how.spread[nth % 8];
        let barred = host(how.never[nth % 8] + 1);
        let store = world.store_mut(name);
        store.spec.size_bytes = how.sizes[nth % 8] * 100;
        store.spec.spread = if by_host { Spread::Host } else { Spread::Rack };
        if store.copies.keys().all(|slot| slot.host != barred) {
            store.spec.never = BTreeSet::from([barred]);
        }
    }
    let hosts: Vec<HostName> = world.cluster.hosts.keys().cloned().collect();
    for (nth, name) in hosts.iter().enumerate() {
        let held: BTreeSet<u16> = world.cluster.copies_on(name).map(|(_, slot, _)| slot.number).collect();
        let spare = (1..=24).filter(|number| !held.contains(number)).zip(&how.free[nth % 8]);
        let spare: BTreeMap<u16, u64> = spare.map(|(number, size)| (number, size * 100)).collect();
        let known = world.host_mut(name);
        known.slots.retain(|number, _| held.contains(number) || spare.contains_key(number));
        spare.iter().for_each(|(number, size)| known.slots.get_mut(number).unwrap().size_bytes = *size);
    }
    // Two racks become one where no store minds.
    for (nth, name) in hosts.iter().enumerate().skip(1) {
        let other = hosts[how.racks[nth % 8] % nth].clone();
        let at = world.cluster.hosts[&other].at.clone();
        let on = |store: &Store, host: &HostName| store.copies.keys().any(|slot| slot.host == *host);
        let rack: Vec<&HostName> =
            world.cluster.hosts.iter().filter(|(_, known)| known.at == at).map(|(name, _)| name).collect();
        let minds = |store: &Store| {
            store.spec.spread == Spread::Rack && on(store, name) && rack.iter().any(|host| on(store, host))
        };
        if how.racks[nth % 8] < 3 && !world.cluster.stores.values().any(minds) {
            world.host_mut(name).at = at;
        }
    }
    world.see_all();
}

/// Everything that may be wanted of copies and masters.
fn wanted(world: &World) -> Vec<Intent> {
    let of_roles_and_copies = |intent: &Intent| {
        matches!(
            intent,
            Intent::DrainHost(_)
                | Intent::DrainHosts(_)
                | Intent::EmptyHost(_)
                | Intent::EmptyHosts(_)
                | Intent::Rebuild(_)
                | Intent::Rebalance(_)
                | Intent::Fill { .. }
                | Intent::MoveCopy { .. }
                | Intent::FailOverHost(_)
                | Intent::FailOverStore { .. }
                | Intent::FailOverSlot { .. }
        )
    };
    let mut all: Vec<Intent> = random::every_intent(world).into_iter().filter(of_roles_and_copies).collect();
    all.extend(world.cluster.stores.keys().map(|name| Intent::Rebuild(Scope::Store(name.clone()))));
    all
}

fn judged(world: &World, intent: &Intent) -> Result<(), TestCaseError> {
    match world.plan(intent.clone()) {
        Ok(_) | Err(Refusal::UnknownSlot(_)) => Ok(()),
        Err(refusal) => {
            let truth = Judge { world, intent }.refusal(&refusal);
            prop_assert!(truth.is_ok(), "{intent}: {}\n{refusal}\n{refusal:?}", truth.unwrap_err());
            Ok(())
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_refusal_is_for_a_true_reason(
        hosts in 3usize..6,
        stores in 1usize..7,
        copies in 1u8..4,
        narrow in prop::option::of(narrow()),
        upsets in prop::collection::vec(random::upset(), 0..6),
    ) {
        let mut world = World::running(hosts, 24, stores, copies);
        if let Some(narrow) = &narrow {
            made_narrow(&mut world, narrow);
        }
        for upset in &upsets {
            random::apply(&mut world, upset);
        }
        for intent in wanted(&world) {
            judged(&world, &intent)?;
        }
    }
}

/// The judge is no yes-man: each true refusal with one thing changed is refused.
#[test]
fn a_reason_that_is_not_true_is_found_out() {
    let mut world = World::running(4, 8, 4, 2);
    world.said(&slot("imap2/1"), |status| status.behind = Some(5_000));
    let intent = Intent::DrainHost(host(1));
    let why = world.plan(intent.clone()).expect_err("its target is behind");
    let judge = Judge { world: &world, intent: &intent };
    assert_eq!(judge.refusal(&why), Ok(()));
    let behind = |behind| [(slot("imap2/1"), WhyNot::Behind { behind, max: 1_000 })].into();
    let drain =
        |block: DrainBlock| Refusal::Drain { hosts: BTreeSet::from([host(1)]), because: [(store(1), block)].into() };
    assert_eq!(judge.refusal(&drain(DrainBlock::NoTarget(behind(5_000)))), Ok(()));
    let everywhere = |why: WhyNot| (1..=4).map(|n| (host(n), why.clone())).collect::<BTreeMap<_, _>>();
    let untrue = [
        drain(DrainBlock::NoTarget(behind(4_999))),
        drain(DrainBlock::NoTarget(BTreeMap::new())),
        drain(DrainBlock::Busy),
        drain(DrainBlock::TooFewReplicas { live: 0, needed: 1 }),
        drain(DrainBlock::NoRoom { size_bytes: 100, why: everywhere(WhyNot::NoFreeSlot), is_most: true }),
        drain(DrainBlock::NoRoom { size_bytes: 100, why: BTreeMap::new(), is_most: true }),
        Refusal::HostSilent(host(1)),
        Refusal::HostBusy(host(1)),
        Refusal::NotFenced { store: store(1), slots: BTreeSet::from([slot("imap1/1")]) },
        Refusal::UnknownStore(store(1)),
    ];
    for refusal in untrue {
        assert!(judge.refusal(&refusal).is_err(), "{refusal:?}");
    }
}
