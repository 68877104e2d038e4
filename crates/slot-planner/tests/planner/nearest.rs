//! The nearest change that `explain` states for each host that is not the choice, held against the planner.
//!
//! What always holds: each stated change is made by hand and planned for again, and its host is the choice; with a little less of it, with
//! any part of it left out, and with any smaller set of masters led elsewhere, however large a slot there is, it is not.

mod made;

use crate::random::declared;
use crate::world::*;
use made::*;
use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;
use slot_planner::{explain_plan, explain_store};
use slot_types::cluster::*;
use slot_types::disk::Disk;
use slot_types::evidence::Seen;
use slot_types::ids::*;
use slot_types::plan::{Intent, Plan, Scope, TaskKind};
use slot_types::verify::{Findings, Stamp, Verification, VerifyStage};
use slot_types::view::{Change, ExplainedCopy, LedElsewhere, OtherHost, Were};
use std::collections::BTreeSet;

/// More room than any host lacks.
const PLENTY: u64 = 1 << 49;

fn places(world: &World, name: &StoreName) -> Vec<ExplainedCopy> {
    explain_store(&world.cluster, &world.evidence, &world.inputs, name).expect("it is there").places
}

/// Where a copy would be put, by a plan that builds it anew where that can be asked for, else by the planner's rank.
fn choice(world: &World, name: &StoreName, slot: &SlotId) -> Option<HostName> {
    rebuilt(world, name, slot).unwrap_or_else(|| {
        places(world, name).into_iter().find(|place| place.slot == *slot).and_then(|place| place.best)
    })
}

/// Where a plan builds a replica again that is not there any more; `None` if that is not asked for in this world.
fn rebuilt(world: &World, name: &StoreName, slot: &SlotId) -> Option<Option<HostName>> {
    let known = &world.cluster.stores[name];
    let disk_is_known = world.evidence.hosts[&slot.host].disk.value().is_some();
    if known.master.as_ref() == Some(slot) || disk_is_known {
        return None;
    }
    let mut without = world.clone();
    without.store_mut(name).copies.remove(slot);
    without.evidence.copies.remove(slot);
    match without.plan(Intent::Rebuild(Scope::Store(name.clone()))) {
        Ok(plan) => {
            let built: Vec<HostName> = built(plan.plan()).into_iter().map(|(_, slot)| slot.host).collect();
            (built.len() == 1).then(|| built.first().cloned())
        }
        Err(slot_planner::Refusal::NoRoom { needed: 1, .. }) => Some(None),
        Err(_) => None,
    }
}

fn built(plan: &Plan) -> Vec<(StoreName, SlotId)> {
    let builds = plan.tasks.iter().filter_map(|task| match &task.kind {
        TaskKind::BuildCopy { slot, .. } => Some((task.store.clone()?, slot.clone())),
        _ => None,
    });
    builds.collect()
}

fn size(world: &World, name: &StoreName) -> u64 {
    world.cluster.stores[name].spec.size_bytes
}

/// Each host of one copy that states a change.
fn stated(place: &ExplainedCopy) -> impl Iterator<Item = (&OtherHost, &Change)> {
    place.others.iter().filter_map(|other| Some((other, other.change.as_ref()?)))
}

fn only_others_matter(change: &Change) -> bool {
    matches!(change.were.last(), Some(Were::NeverOn(_) | Were::Draining(_)))
}

/// The changes that are nearer than this one in masters and room.
fn nearer(world: &World, about: About<'_>, change: &Change, sizes: usize) -> Vec<Change> {
    let mut were = change.were.clone();
    let smaller = match only_others_matter(change) {
        true => {
            were.pop();
            sizes
        }
        false => change.led_elsewhere.len().min(sizes),
    };
    let (mut nearer, least) = (Vec::new(), size(world, about.name));
    let mut add = |led: Vec<LedElsewhere>, slot_bytes| {
        nearer.push(Change { were: were.clone(), led_elsewhere: led, slot_bytes, bounded: false });
    };
    for size in 0..smaller {
        sets(world, about.host, about.name, size).into_iter().for_each(|led| add(led, Some(PLENTY)));
    }
    if let (Some(bytes), false, true) = (change.slot_bytes, only_others_matter(change), smaller <= sizes) {
        for led in sets(world, about.host, about.name, change.led_elsewhere.len()) {
            add(led.clone(), None);
            if bytes > least {
                add(led, Some(bytes - 1));
            }
        }
    }
    nearer
}

/// Makes what is stated of one copy of a store, and a little less.
fn hold_place(world: &World, name: &StoreName, place: &ExplainedCopy) -> TestCaseResult {
    for other in &place.others {
        let is_choice = place.best.as_ref() == Some(&other.host);
        prop_assert_eq!(other.why.is_empty(), is_choice);
        prop_assert!(is_choice || other.change.is_some() == other.no_change.is_empty(), "{:?}", other);
        prop_assert!(!is_choice || other.change.is_none());
    }
    for (other, change) in stated(place) {
        let about = About { name, host: &other.host, like: &place.slot };
        prop_assert!(!change.bounded, "a small cluster is looked at to the end: {:?}", change);
        let then = made(world, about, change).expect("it can be made");
        let goes = choice(&then, name, &place.slot);
        prop_assert_eq!(goes.as_ref(), Some(&other.host), "{} with {:?}", &place.slot, change);
        // The planner moves it there as well, where a move can be asked for.
        if let Ok(plan) = then.plan(Intent::MoveCopy { slot: place.slot.clone(), to: None }) {
            let on: Vec<HostName> = built(plan.plan()).into_iter().map(|(_, slot)| slot.host).collect();
            prop_assert_eq!(on, vec![other.host.clone()], "{} with {:?}", &place.slot, change);
        }
        for less in a_little_less(change, size(world, name)).into_iter().chain(nearer(world, about, change, 3)) {
            let Some(then) = made(world, about, &less) else { continue };
            let goes = choice(&then, name, &place.slot);
            prop_assert_ne!(goes.as_ref(), Some(&other.host), "{} with {:?}, not {:?}", &place.slot, less, change);
        }
    }
    Ok(())
}

/// What is wrong with a host, or with a store on it.
fn upset_host(world: &mut World, kind: u8, host: &HostName, name: &StoreName) {
    match kind {
        0 => world.host_mut(host).declared = HostState::Draining,
        1 => world.host_mut(host).declared = HostState::Empty,
        2 => world.silent(host, 60_000),
        3 => drop(world.inputs.busy_hosts.insert(host.clone())),
        4 => {
            let presented = Incarnation([9; 16]);
            world.host_mut(host).quarantined = Some(HostQuarantine::OtherDisk { presented });
        }
        5 => drop(world.store_mut(name).spec.never.insert(host.clone())),
        6 => {
            let value = Disk { free_bytes: 60, total_bytes: 10_000 };
            world.evidence.hosts.get_mut(host).unwrap().disk = Seen::Known { value, age_ms: 500 };
        }
        7 => {
            let used: BTreeSet<u16> = world.cluster.copies_on(host).map(|(_, slot, _)| slot.number).collect();
            world.host_mut(host).slots.retain(|number, _| used.contains(number));
        }
        _ => {}
    }
}

/// Two hosts share each rack; stores that may, ask for different ones.
fn in_racks(world: &mut World, hosts: usize) {
    for n in 1..=hosts {
        world.host_mut(&host(n)).at = Domain(vec!["ny".into(), format!("r{}", n / 2)]);
    }
    let at = |slot: &SlotId| slot.host.as_str().trim_start_matches("imap").parse::<usize>().unwrap() / 2;
    for known in world.cluster.stores.values_mut() {
        let racks: BTreeSet<usize> = known.copies.keys().map(at).collect();
        known.spec.spread = if racks.len() == known.copies.len() { Spread::Rack } else { Spread::Host };
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..Default::default() })]

    /// Of every copy of some stores, whatever is wrong with hosts.
    #[test]
    fn each_stated_change_of_a_place_is_enough_and_nothing_nearer_is(
        hosts in 3usize..6,
        stores in 2usize..8,
        copies in 2u8..4,
        racks in any::<bool>(),
        sizes in proptest::collection::vec(1u64..1000, 8),
        upsets in proptest::collection::vec((0u8..8, 0usize..6, 0usize..8), 0..4),
        looked_at in 0usize..8,
        declared in declared(),
    ) {
        let mut world = World::running(hosts, 12, stores, copies);
        declared.iter().for_each(|declared| world.declare(declared));
        if racks {
            in_racks(&mut world, hosts);
        }
        for (n, size) in (1..=stores).zip(&sizes) {
            world.store_mut(&store(n)).spec.size_bytes = *size;
        }
        for (kind, h, s) in &upsets {
            upset_host(&mut world, *kind, &host(h % hosts + 1), &store(s % stores + 1));
        }
        let name = store(looked_at % stores + 1);
        for place in places(&world, &name) {
            hold_place(&world, &name, &place)?;
        }
    }
}

/// Weights that bear on roles, one way or the other, or none.
fn of_roles() -> impl Strategy<Value = Option<Weights>> {
    let weights = |(survivor, masters)| Weights { survivor, masters, ..Weights::default() };
    prop::option::of(prop::sample::select(vec![(1, 400), (400, 1), (10, 10), (0, 10)]).prop_map(weights))
}

/// Where the master of a store goes.
fn goes(world: &World, slot: &SlotId) -> Option<SlotId> {
    let plan = world.plan(Intent::FailOverSlot { slot: slot.clone(), to: None }).ok()?;
    plan.plan().tasks.iter().find_map(|task| match &task.kind {
        TaskKind::HandOver { to, .. } | TaskKind::FailOver { to, .. } => Some(to.clone()),
        _ => None,
    })
}

/// Makes what is stated of one role, and a little less; where smaller sets of masters are tried as well.
fn hold_role(world: &World, name: &StoreName, from: &SlotId, place: &ExplainedCopy, sizes: usize) -> TestCaseResult {
    prop_assert_eq!(place.others.len(), world.cluster.hosts.len() - 1);
    for other in &place.others {
        prop_assert!(!other.why.is_empty());
        prop_assert!(other.change.is_some() == other.no_change.is_empty(), "{:?}", other);
    }
    for (other, change) in stated(place) {
        let about = About { name, host: &other.host, like: &place.slot };
        prop_assert!(!change.bounded, "a small cluster is looked at to the end: {:?}", change);
        let then = made(world, about, change).expect("it can be made");
        let to = goes(&then, from).map(|slot| slot.host);
        prop_assert_eq!(to.as_ref(), Some(&other.host), "{} of {} with {:?}", from, name, change);
        for less in a_little_less(change, size(world, name)).into_iter().chain(nearer(world, about, change, sizes)) {
            let less = Change { slot_bytes: None, ..less };
            let Some(then) = made(world, about, &less) else { continue };
            let to = goes(&then, from).map(|slot| slot.host);
            prop_assert_ne!(to.as_ref(), Some(&other.host), "{} of {} with {:?}, not {:?}", from, name, less, change);
        }
    }
    Ok(())
}

fn of_plan(world: &World, plan: &Plan) -> Vec<slot_types::view::ExplainedTask> {
    explain_plan(&world.cluster, &world.evidence, &world.inputs, plan)
}

/// Three copies of each store, wherever the picks say.
fn scattered(hosts: usize, picks: &[usize]) -> World {
    let mut world = World::running(hosts, 20, 0, 1);
    let spec = file(hosts, 20, 1, 3).stores[&store(1)].clone();
    let mut used = vec![0u16; hosts + 1];
    for (n, pick) in (1..).zip(picks) {
        let (mut left, mut pick): (Vec<usize>, usize) = ((1..=hosts).collect(), *pick);
        let at = |_| {
            let at = left.remove(pick % left.len());
            pick /= 7;
            used[at] += 1;
            SlotId::new(host(at), used[at])
        };
        let slots: Vec<SlotId> = (0..3).map(at).collect();
        world.add_store(&store(n), &spec, &slots);
    }
    world.see_all();
    world
}

/// A comparison that speaks against a copy.
fn differs(world: &World, name: &StoreName, slot: &SlotId) -> Stamp {
    let known = &world.cluster.stores[name];
    let of = Verification {
        asked: LogTime(900_000),
        epoch: known.epoch,
        against: known.master.clone().unwrap(),
        upto: 100,
        records: 100,
        bytes: 1_000,
        took_ms: 10,
        stage: VerifyStage::Ended,
        findings: Findings { count: 1, master_unreadable: 0, first: Vec::new() },
    };
    Stamp { generation: known.copies[slot].generation, at: LogTime(900_010), wall: WallTime(0), of }
}

/// What is wrong with a replica, or with its host.
fn upset_replica(world: &mut World, kind: u8, name: &StoreName, slot: &SlotId) {
    match kind {
        0 => world.said(slot, |s| s.behind = Some(5_000)),
        1 => world.said(slot, |s| s.verified_ms = None),
        2 => world.said(slot, |s| s.verified_ms = Some(u64::MAX / 2)),
        3 => world.said(slot, |s| s.following = None),
        4 => world.said(slot, |s| s.heard_ms = None),
        5 => world.store_mut(name).copies.get_mut(slot).unwrap().state = CopyState::Stopped,
        6 => drop(world.evidence.copies.remove(slot)),
        7 => world.said(slot, |s| s.tip.position.length -= 10),
        8 => {
            let example = crate::intents::with_loss_case(LossState::Listed);
            let mut case = example.cluster.loss_cases[&LossCaseId(12)].clone();
            (case.store, case.slot) = (name.clone(), slot.clone());
            world.cluster.loss_cases.insert(LossCaseId(12), case);
        }
        9 => drop(world.cluster.stamps.insert(slot.clone(), differs(world, name, slot))),
        other => upset_host(world, other - 10, &slot.host, name),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..Default::default() })]

    /// Of every master that moves by itself, whatever is wrong with the other copies; planned, or past a host that is gone.
    #[test]
    fn each_stated_change_of_a_role_is_enough_and_nothing_nearer_is(
        hosts in 4usize..7,
        picks in proptest::collection::vec(0usize..5040, 4..14),
        upsets in proptest::collection::vec((0u8..15, 0usize..6, 0usize..8), 0..4),
        is_gone in any::<bool>(),
        weights in of_roles(),
        declared in declared(),
    ) {
        let mut world = scattered(hosts, &picks);
        world.cluster.policy.weights = weights;
        declared.iter().for_each(|declared| world.declare(declared));
        let name = store(1);
        let from = world.cluster.stores[&name].master.clone().unwrap();
        for (kind, which, of) in &upsets {
            let name = store([1, of % picks.len() + 1][which % 2]);
            let known = &world.cluster.stores[&name];
            let replicas: Vec<SlotId> = known.copies.keys().filter(|s| Some(*s) != known.master.as_ref()).cloned().collect();
            let is_running = |slot: &SlotId| world.evidence.running(slot, 60_001).is_some();
            let replica = replicas[which / 2 % replicas.len()].clone();
            if is_running(&replica) && replica.host != from.host {
                upset_replica(&mut world, *kind, &name, &replica);
            }
        }
        if is_gone {
            world.silent(&from.host, 60_000);
            world.attest(&from.host);
        }
        let Ok(plan) = world.plan(Intent::FailOverSlot { slot: from.clone(), to: None }) else { return Ok(()) };
        for task in of_plan(&world, plan.plan()).iter().filter(|task| task.store == name) {
            hold_role(&world, &name, &from, &task.places[0], 3)?;
        }
    }
}

/// A plan with everything of it done but what is about one store.
fn all_but(world: &World, plan: &Plan, left_out: &StoreName) -> World {
    let mut then = world.clone();
    let mut rest = plan.clone();
    rest.tasks.retain(|task| task.store.as_ref() != Some(left_out));
    then.complete(&rest);
    then
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..Default::default() })]

    /// Of every master that a drain moves, the rest of the drain being done.
    #[test]
    fn each_stated_change_of_a_drain_is_enough_with_the_rest_of_it_done(
        hosts in 4usize..7,
        picks in proptest::collection::vec(0usize..5040, 6..14),
        weights in of_roles(),
        declared in declared(),
    ) {
        let mut world = scattered(hosts, &picks);
        world.cluster.policy.weights = weights;
        declared.iter().for_each(|declared| world.declare(declared));
        let Ok(plan) = world.plan(Intent::DrainHost(host(1))) else { return Ok(()) };
        let plan = plan.plan();
        for task in of_plan(&world, plan) {
            let from = task.from.clone().unwrap();
            let then = all_but(&world, plan, &task.store);
            for (other, change) in stated(&task.places[0]) {
                let about = About { name: &task.store, host: &other.host, like: &task.to };
                let changed = made(&then, about, change).expect("it can be made");
                let to = goes(&changed, &from).map(|slot| slot.host);
                prop_assert_eq!(to.as_ref(), Some(&other.host), "{} of {} with {:?}", from, task.store, change);
                for less in a_little_less(change, size(&then, &task.store)) {
                    let Some(changed) = made(&then, about, &less) else { continue };
                    let to = goes(&changed, &from).map(|slot| slot.host);
                    prop_assert_ne!(to.as_ref(), Some(&other.host), "{} of {} with {:?}", from, task.store, less);
                }
            }
        }
    }

    /// Of every copy that is built to empty a host, and of new stores, the rest of the plan being done.
    #[test]
    fn each_stated_change_of_what_is_built_is_enough_with_the_rest_of_the_plan_done(
        hosts in 4usize..6,
        stores in 3usize..8,
        trimmed in 0usize..6,
        more in 0usize..3,
        declared in declared(),
    ) {
        let mut world = World::running(hosts, 8, stores, 2);
        declared.iter().for_each(|declared| world.declare(declared));
        upset_host(&mut world, 7, &host(trimmed % hosts + 1), &store(1));
        let mut file = file(hosts, 8, stores + more, 2);
        for (name, known) in &world.cluster.hosts {
            file.hosts.get_mut(name).unwrap().weight = known.weight;
        }
        for (name, known) in &world.cluster.stores {
            file.stores.get_mut(name).unwrap().load = known.spec.load;
        }
        let asked = if more == 0 { Intent::EmptyHost(host(2)) } else { Intent::Apply(Box::new(file)) };
        let Ok(plan) = world.plan(asked) else { return Ok(()) };
        let plan = plan.plan();
        let mut then = world.clone();
        then.complete(plan);
        for task in &plan.tasks {
            if let TaskKind::DestroyCopy { slot, .. } = &task.kind {
                then.inputs.busy_slots.insert(slot.clone());
            }
        }
        for task in of_plan(&world, plan).iter().filter(|task| task.builds || task.from.is_none()) {
            for place in &task.places {
                for (other, change) in stated(place) {
                    let about = About { name: &task.store, host: &other.host, like: &place.slot };
                    let changed = made(&then, about, change).expect("it can be made");
                    let goes = choice(&changed, &task.store, &place.slot);
                    prop_assert_eq!(goes.as_ref(), Some(&other.host), "{} with {:?}", &place.slot, change);
                    for less in a_little_less(change, size(&then, &task.store)) {
                        let Some(changed) = made(&then, about, &less) else { continue };
                        let goes = choice(&changed, &task.store, &place.slot);
                        prop_assert_ne!(goes.as_ref(), Some(&other.host), "{} with {:?}", &place.slot, less);
                    }
                }
            }
        }
    }
}

/// The names of all that a change is made of.
fn kinds(change: &Change) -> BTreeSet<String> {
    let name = |were: &Were| format!("{were:?}").split(['(', ' ']).next().unwrap_or_default().to_string();
    let mut kinds: BTreeSet<String> = change.were.iter().map(name).collect();
    kinds.extend((!change.led_elsewhere.is_empty()).then(|| "led elsewhere".into()));
    kinds.extend(change.slot_bytes.map(|_| "slot".into()));
    kinds
}

/// What is tested above is all that can be stated: each kind of change is, in one of these worlds, and holds.
#[test]
fn every_kind_of_change_is_stated() {
    let mut seen = BTreeSet::new();
    for (kind, racks) in (0..8).flat_map(|kind| [(kind, false), (kind, true)]) {
        let mut world = World::running(5, 12, 7, 2);
        if racks {
            in_racks(&mut world, 5);
        }
        upset_host(&mut world, kind, &host(4), &store(1));
        for place in places(&world, &store(1)) {
            hold_place(&world, &store(1), &place).unwrap();
            stated(&place).for_each(|(_, change)| seen.extend(kinds(change)));
        }
    }
    // A host whose masters are not seen, and can't be led elsewhere.
    let mut world = World::running(4, 12, 3, 2);
    world.silent(&host(2), 60_000);
    for place in places(&world, &store(3)) {
        hold_place(&world, &store(3), &place).unwrap();
        stated(&place).for_each(|(_, change)| seen.extend(kinds(change)));
    }
    for (kind, is_gone) in (0..15).flat_map(|kind| [(kind, false), (kind, true)]) {
        let mut world = scattered(5, &[1, 9, 25, 700, 1234, 37, 2222, 91]);
        let from = world.cluster.stores[&store(1)].master.clone().unwrap();
        let replica = world.cluster.stores[&store(1)].copies.keys().find(|slot| **slot != from).cloned().unwrap();
        upset_replica(&mut world, kind, &store(1), &replica);
        if is_gone {
            world.silent(&from.host, 60_000);
            world.attest(&from.host);
        }
        let plan = world.plan(Intent::FailOverSlot { slot: from.clone(), to: None }).unwrap();
        let place = &of_plan(&world, plan.plan())[0].places[0];
        hold_role(&world, &store(1), &from, place, 2).unwrap();
        stated(place).for_each(|(_, change)| seen.extend(kinds(change)));
    }
    let all = "Active Admitted Agreeing Allowed ApartFrom Behind CaseClosed CopyOn DiskBytes Draining EndsAt Following \
        Heard HoldsCopy NeverOn Serving Unclaimed VerifiedWithin";
    let mut all: BTreeSet<String> = all.split_whitespace().map(String::from).collect();
    all.extend(["led elsewhere".to_string(), "slot".to_string()]);
    assert_eq!(seen, all);
}

/// By weights no amount of masters or room is the least: what is said is who would have to be kept away from, and that it is so.
#[test]
fn by_weights_it_is_said_which_hosts_are_better() {
    let mut stated_changes = 0;
    for weight in [1, 300] {
        let mut world = World::running(6, 12, 9, 2);
        world.cluster.policy.weights =
            Some(Weights { domain: 1, survivor: weight, masters: 301 - weight, bytes: 10, moved: 0 });
        for name in [store(1), store(5)] {
            for place in places(&world, &name) {
                for other in place.others.iter().filter(|other| place.best.as_ref() != Some(&other.host)) {
                    assert!(other.change.is_some() == other.no_change.is_empty(), "{other:?}");
                }
                for (other, change) in stated(&place) {
                    assert!(change.led_elsewhere.is_empty() && change.slot_bytes.is_none(), "{change:?}");
                    let about = About { name: &name, host: &other.host, like: &place.slot };
                    let then = made(&world, about, change).expect("it can be made");
                    assert_eq!(choice(&then, &name, &place.slot).as_ref(), Some(&other.host), "{change:?}");
                    stated_changes += 1;
                }
            }
        }
    }
    assert!(stated_changes >= 16, "{stated_changes}");
}

/// A fleet of twelve hosts and 240 stores is looked at to the end, each host with a change that was not cut short but for those that
/// would have to lead many masters fewer.
#[test]
fn a_whole_fleet_has_a_change_for_every_host() {
    let mut world = World::running(12, 60, 240, 2);
    for (kind, n) in (0u8..8).zip(3..) {
        upset_host(&mut world, kind, &host(n), &store(1));
    }
    let mut cut_short = 0;
    for n in [1, 2, 17, 100, 240] {
        for place in places(&world, &store(n)) {
            assert_eq!(place.others.len(), 11);
            for other in place.others.iter().filter(|other| place.best.as_ref() != Some(&other.host)) {
                let change = other.change.as_ref().unwrap_or_else(|| panic!("{other:?}"));
                cut_short += usize::from(change.bounded);
            }
        }
    }
    assert_eq!(cut_short, 0);
}
