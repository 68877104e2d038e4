//! Copies compared with their masters: on a schedule, where one differs, and when a person asks.

use super::world::World;
use super::{FLEET, HOSTS, built, host};
use slot_coordinator::core::{ControlRequest, Failure, Reply};
use slot_types::cluster::Cluster;
use slot_types::codec;
use slot_types::engine::EngineRole;
use slot_types::hold::HoldOn;
use slot_types::ids::*;
use slot_types::plan::Intent;
use slot_types::verify::VerifyStage;
use slot_types::view::*;
use std::collections::BTreeSet;

/// Three stores of two copies on three hosts, compared again every 20 s, so many at once.
fn scheduled(seed: u64, at_once: u16) -> World {
    let mut world = World::new(seed, 3, &HOSTS);
    let mut spec = slot_types::file::parse(FLEET, "cluster.toml").unwrap();
    (spec.policy.verify_every_ms, spec.policy.verify_at_once) = (20_000, at_once);
    let plan = world.plan(Intent::Apply(Box::new(spec))).unwrap();
    world.approve(plan).unwrap();
    world.until("the fleet is made", |w| w.plan_status(plan).as_deref() == Some("done"));
    world
}

fn cluster(world: &World) -> &Cluster {
    world.core(world.leader().unwrap()).state().cluster.as_ref().unwrap()
}

fn replicas(world: &World) -> Vec<SlotId> {
    let stores = cluster(world).stores.values();
    stores.flat_map(|s| s.copies.keys().filter(|slot| s.master.as_ref() != Some(*slot)).cloned()).collect()
}

fn ask(world: &mut World, on: HoldOn, since: Option<LogTime>) -> Result<VerifyView, Failure> {
    match world.ask_leader("alice", &ControlRequest::Verify { on, since })? {
        Reply::View { bytes, confirmed: true, .. } => match codec::decode(&bytes).unwrap() {
            View::Verify(view) => Ok(view),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

/// Asks as slotctl does: again and again, until nothing more is waited for.
fn verify(world: &mut World, on: HoldOn) -> VerifyView {
    let mut since = None;
    for _ in 0..500 {
        let view = ask(world, on.clone(), since).unwrap();
        since = Some(view.since);
        if view.is_settled() {
            return view;
        }
        world.run_for(400);
    }
    panic!("it never settled");
}

#[test]
fn every_replica_is_compared_once_in_the_time_that_policy_says_one_after_the_other() {
    let mut world = scheduled(41, 1);
    world.run_for(12_000);
    let all = replicas(&world);
    assert_eq!(cluster(&world).stamps.keys().cloned().collect::<Vec<_>>().len(), all.len());
    for slot in &all {
        let stamp = cluster(&world).stamp(slot).expect("each has a stamp");
        assert!(stamp.is_clean() && stamp.of.stage == VerifyStage::Ended, "{stamp:?}");
    }
    assert_eq!(world.verifications.len(), all.len(), "each once: {:?}", world.verifications);
    assert_eq!(world.most_verified_at_once, 1);
    let rounds: Vec<SlotId> = world.verifications.iter().map(|(_, slot)| slot.clone()).collect();
    world.run_for(22_000);
    let again: BTreeSet<SlotId> = world.verifications[all.len()..].iter().map(|(_, slot)| slot.clone()).collect();
    assert_eq!(again, rounds.into_iter().collect(), "and once more when the time has passed");
    let gaps = world.verifications.windows(2).map(|two| two[1].0 - two[0].0);
    assert!(gaps.min().unwrap() >= world.verify_ms, "never two at once: {:?}", world.verifications);
}

#[test]
fn a_new_leader_goes_on_where_another_one_was() {
    let mut world = scheduled(42, 2);
    world.run_for(12_000);
    let (before, stamps) = (world.verifications.len(), cluster(&world).stamps.clone());
    let leader = world.leader().unwrap();
    world.crash(leader);
    world.run_for(3_000);
    assert_ne!(world.leader(), Some(leader));
    assert_eq!((world.verifications.len(), &cluster(&world).stamps), (before, &stamps), "nothing is due again");
    world.run_for(25_000);
    assert!(world.verifications.len() >= 2 * before, "and then all of it is");
    world.check();
}

#[test]
fn no_two_comparisons_read_the_same_hosts_disks() {
    let mut world = scheduled(43, 50);
    world.verify_ms = 3_000;
    world.run_for(25_000);
    assert!(world.most_verified_at_once >= 1);
    assert_eq!(world.shared_disks, 0, "{:?}", world.verifications);
}

#[test]
fn what_differs_is_recorded_named_and_keeps_the_copy_from_the_master_role() {
    let mut world = built(44, 3);
    world.run_for(5_000);
    let slot = replicas(&world)[0].clone();
    let (store, copy) = cluster(&world).copy_on(&slot).map(|(name, store, _)| (name.clone(), store.clone())).unwrap();
    world.differ.insert(slot.clone(), 3);
    let view = verify(&mut world, HoldOn::Store(store.clone()));
    assert!(view.is_settled() && !view.all_equal());
    let [line] = view.copies.as_slice() else { panic!("{view:?}") };
    let VerifyState::Told { stamp } = &line.state else { panic!("{line:?}") };
    assert_eq!((stamp.of.findings.count, stamp.of.findings.first[0].index, &line.slot), (3, 0, &slot));
    let version = cluster(&world).stores[&store].version;
    assert_eq!(version, copy.version + 1, "R14: a plan made before does not fit any more");
    // R14: it is handed no master role, and the refusal names the record.
    let master = copy.master.unwrap();
    let refused = world.plan(Intent::FailOverSlot { slot: master, to: Some(slot.clone()) }).unwrap_err().to_string();
    assert!(refused.contains("differs from its master: 3 records, the first is record 0"), "{refused}");
    let leader = world.leader().unwrap();
    let audit = &world.core(leader).state().audit.entries;
    let said = audit.iter().filter(|e| e.event.contains("DIFFERS from")).collect::<Vec<_>>();
    assert!(
        said.len() == 1 && said[0].event.contains("record 0: ") && said[0].event.contains("and 2 more"),
        "{said:?}"
    );
    // Mended, it is compared again and trusted again.
    world.differ.clear();
    assert!(verify(&mut world, HoldOn::Store(store.clone())).all_equal());
    assert_eq!(cluster(&world).stores[&store].version, version + 1);
    let handed = world
        .plan(Intent::FailOverSlot { slot: cluster(&world).stores[&store].master.clone().unwrap(), to: Some(slot) });
    assert!(handed.is_ok(), "{handed:?}");
}

#[test]
fn r7_a_copy_that_stopped_because_it_differs_is_compared_at_once_and_unasked() {
    let mut world = scheduled(45, 2);
    world.run_for(12_000);
    let before = world.verifications.len();
    let slot = replicas(&world)[0].clone();
    world.differ.insert(slot.clone(), 1);
    let copy = world.agents.get_mut(&slot.host).unwrap().slots.get_mut(&slot.number).unwrap();
    (copy.role, copy.following) = (EngineRole::Diverged, None);
    world.run_for(8_000);
    assert_eq!(world.verifications[before..].iter().filter(|(_, of)| *of == slot).count(), 1, "once, and no more");
    assert!(cluster(&world).stamp(&slot).unwrap().differs());
}

/// What `plan show` says of the hand-over that gave up.
fn gave_up(world: &mut World, plan: PlanId) -> Option<TaskLine> {
    let View::Plan(view) = world.view(Query::Plan(plan)) else { panic!("a plan") };
    view.tasks.into_iter().find(|line| line.state == TaskProgress::NotDone && line.title.contains("store"))
}

/// R1, R7: the early stop proves nothing by itself, so it only goes back; what differs is named where the plan is looked at.
#[test]
fn r7_a_drain_that_meets_a_copy_that_differs_names_its_records() {
    let mut world = built(47, 3);
    world.run_for(5_000);
    let (store, slot, master) = {
        let (name, store) = cluster(&world).stores.iter().next().unwrap();
        let master = store.master.clone().unwrap();
        (name.clone(), store.copies.keys().find(|slot| **slot != master).cloned().unwrap(), master)
    };
    world.agents.get_mut(&slot.host).unwrap().slots.get_mut(&slot.number).unwrap().unequal = true;
    world.differ.insert(slot.clone(), 2);
    let plan = world.plan(Intent::DrainHost(master.host.clone())).unwrap();
    world.approve(plan).unwrap();
    world.until("the hand-over gave up", |w| w.plan_status(plan).is_some_and(|status| status.starts_with("paused")));
    let line = gave_up(&mut world, plan).expect("the store that was stopped");
    assert_eq!(line.differs, Some(Differs { slot: slot.clone(), findings: None }), "not compared yet: {line:?}");
    assert_eq!(cluster(&world).stores[&store].master.as_ref(), Some(&master), "it went back");
    world.run_for(8_000);
    let differs = gave_up(&mut world, plan).and_then(|line| line.differs).expect("it differs");
    let findings = differs.findings.expect("compared at once and unasked");
    assert_eq!((findings.count, findings.first[0].index, &differs.slot), (2, 0, &slot));
    // Whoever looks at stores, slots or the status sees it too.
    let View::Stores(stores) = world.view(Query::Stores(StoreFilter::default())) else { panic!("stores") };
    let of = stores.stores.iter().find(|line| line.store == store).unwrap();
    assert!(matches!(of.compared, Some(Compared::Differs { records: 2, .. })), "{of:?}");
    let View::Status(status) = world.view(Query::Status) else { panic!("a status") };
    assert_eq!((status.compared.differ, status.compared.replicas), (1, 3 - 1), "{:?}", status.compared);
    let told = status.needs_you.iter().find(|trouble| trouble.what.contains("DIFFERS from its master")).unwrap();
    assert!(told.next.starts_with(&format!("slotctl move slot {slot}")), "{told:?}");
}

#[test]
fn a_person_hears_what_cannot_be_compared_and_of_what_does_not_exist() {
    let mut world = built(46, 3);
    world.run_for(5_000);
    let view = verify(&mut world, HoldOn::All);
    assert!(view.all_equal() && view.copies.len() == 3, "{view:?}");
    let slot = replicas(&world)[0].clone();
    world.agents.get_mut(&slot.host).unwrap().up = false;
    world.run_for(8_000);
    let view = verify(&mut world, HoldOn::Host(slot.host.clone()));
    let line = view.copies.iter().find(|line| line.slot == slot).unwrap();
    assert!(matches!(&line.state, VerifyState::Cannot { why } if why.contains("is not heard")), "{line:?}");
    assert!(!view.all_equal());
    let nobody = ask(&mut world, HoldOn::Host(host("imap9")), None).unwrap_err();
    assert!(matches!(nobody, Failure::NotFound(_)), "{nobody:?}");
}

#[test]
fn a_wish_outlives_the_leader_that_heard_it_first() {
    let mut world = built(47, 3);
    world.run_for(5_000);
    world.verify_ms = 6_000;
    let first = ask(&mut world, HoldOn::All, None).unwrap();
    world.run_for(1_500);
    let leader = world.leader().unwrap();
    world.crash(leader);
    let mut view = first;
    for _ in 0..300 {
        view = ask(&mut world, HoldOn::All, Some(view.since)).unwrap();
        if view.is_settled() {
            break;
        }
        world.run_for(400);
    }
    assert!(view.is_settled() && view.all_equal(), "{view:?}");
    world.check();
}
