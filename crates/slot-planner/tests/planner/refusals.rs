//! Every "no" names its subject, its cause and the next step.

use crate::world::*;
use slot_planner::{DrainBlock, Refusal, WhyNot};
use slot_types::cluster::*;
use slot_types::hold::{Held, Hold, HoldOn};
use slot_types::ids::*;
use slot_types::plan::Intent;
use std::collections::BTreeSet;

fn drain_block(change: impl FnOnce(&mut World)) -> DrainBlock {
    let mut world = World::running(4, 8, 4, 2);
    change(&mut world);
    match world.plan(Intent::DrainHost(host(1))) {
        Err(Refusal::Drain { because, .. }) => because.into_values().next().unwrap(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_drain_says_why_each_store_stays() {
    let target = slot("imap2/1");
    let only = |why: &DrainBlock| match why {
        DrainBlock::NoTarget(why) => why.values().next().cloned().unwrap(),
        other => panic!("{other}"),
    };
    let why = drain_block(|w| w.said(&target, |s| s.behind = Some(1_001)));
    assert_eq!(only(&why), WhyNot::Behind { behind: 1_001, max: 1_000 });
    let why = drain_block(|w| w.said(&target, |s| s.verified_ms = None));
    assert_eq!(only(&why), WhyNot::NeverVerified);
    let why = drain_block(|w| w.said(&target, |s| s.following = Some((slot("imap3/1"), s.epoch))));
    assert!(matches!(only(&why), WhyNot::FollowsOther { .. }));
    let why = drain_block(|w| w.said(&target, |s| s.generation = CopyGeneration(2)));
    assert_eq!(only(&why), WhyNot::OtherCopy);
    let why = drain_block(|w| w.silent(&host(2), 5_000));
    assert_eq!(only(&why), WhyNot::HostSilent);
    let why = drain_block(|w| w.host_mut(&host(2)).declared = HostState::Maintenance);
    assert_eq!(only(&why), WhyNot::HostState(HostState::Maintenance));
    let why = drain_block(|w| {
        w.inputs.busy_stores.insert(store(1));
    });
    assert_eq!(why, DrainBlock::Busy);
    let why = drain_block(|w| w.said(&slot("imap1/1"), |s| s.epoch = s.epoch.next()));
    assert!(matches!(why, DrainBlock::MasterNotWell(_)));
    let why = drain_block(|w| w.store_mut(&store(1)).spec.sync_copies = 1);
    assert_eq!(why, DrainBlock::TooFewReplicas { live: 0, needed: 1 });
    // store4 has its replica on imap1; its master is dead.
    let why = drain_block(|w| w.said(&slot("imap4/2"), |s| s.role = slot_types::engine::EngineRole::Idle));
    assert!(matches!(why, DrainBlock::NotServed(_)), "{why}");
}

#[test]
fn hosts_in_other_states_are_refused() {
    let mut world = World::running(4, 8, 4, 2);
    let drain = Intent::DrainHost(host(1));
    world.inputs.busy_hosts.insert(host(1));
    assert_eq!(world.plan(drain.clone()), Err(Refusal::HostBusy(host(1))));
    world.inputs.busy_hosts.clear();
    world.silent(&host(1), 9_000);
    assert_eq!(world.plan(drain.clone()), Err(Refusal::HostSilent(host(1))));
    world.see_all();
    world.host_mut(&host(1)).boot = Some(BootId([99; 16]));
    assert_eq!(world.plan(drain.clone()), Err(Refusal::HostSilent(host(1))));
    world.host_mut(&host(1)).declared = HostState::Retired;
    assert!(matches!(world.plan(drain), Err(Refusal::HostIn { .. })));
    assert_eq!(world.plan(Intent::DrainHost(host(8))), Err(Refusal::UnknownHost(host(8))));
}

/// The same word as `apply` says it with, before anything is recorded; the standing Demote is planned all the same.
#[test]
fn what_a_person_holds_is_not_planned_for() {
    let mut world = World::running(4, 8, 4, 2);
    let hold = Hold { by: OperatorName::new("ben").unwrap(), reason: "why".into(), at: LogTime(1), wall: WallTime(2) };
    let apply = |change: &dyn Fn(&mut FleetSpec)| {
        let mut wanted = file(4, 8, 4, 2);
        change(&mut wanted);
        Intent::Apply(Box::new(wanted))
    };
    let more = apply(&|f| {
        let address = "10.9.9.9:7430".parse().unwrap();
        f.hosts.get_mut(&host(4)).unwrap().slots.insert(99, SlotSpec { size_bytes: 1_000, address });
    });
    // store1 is on imap1 and imap2.
    let cases = [
        (HoldOn::All, more.clone(), true),
        (HoldOn::Host(host(4)), more.clone(), true),
        (HoldOn::Host(host(3)), more, false),
        (HoldOn::All, Intent::DrainHost(host(1)), true),
        (HoldOn::Host(host(1)), Intent::DrainHost(host(1)), true),
        (HoldOn::Store(store(1)), Intent::DrainHost(host(1)), true),
        (HoldOn::Store(store(1)), Intent::FailOverSlot { slot: slot("imap1/1"), to: None }, true),
        (HoldOn::Host(host(2)), Intent::FailOverSlot { slot: slot("imap1/1"), to: None }, true),
        (HoldOn::Host(host(4)), Intent::FailOverSlot { slot: slot("imap1/1"), to: None }, false),
        (HoldOn::Store(store(2)), Intent::FailOverSlot { slot: slot("imap1/1"), to: None }, false),
    ];
    for (on, intent, refused) in cases {
        world.cluster.holds = [(on.clone(), hold.clone())].into();
        let held = Refusal::Held(Box::new(Held { on: on.clone(), hold: hold.clone() }));
        match world.plan(intent.clone()) {
            Err(why) if refused => assert_eq!(why, held, "{on}: {intent}"),
            Ok(_) if !refused => {}
            other => panic!("{on}: {intent}: {other:?}"),
        }
        assert!(held.to_string().contains(&format!("slotctl release {on} -m REASON")), "{held}");
    }
}

#[test]
fn a_file_takes_nothing_from_under_a_copy() {
    let world = World::running(4, 8, 4, 2);
    let apply = |change: &dyn Fn(&mut FleetSpec)| {
        let mut file = file(4, 8, 4, 2);
        change(&mut file);
        world.plan(Intent::Apply(Box::new(file))).expect_err("refused")
    };
    let fewer = apply(&|f| f.hosts.get_mut(&host(1)).unwrap().slots.clear());
    assert!(matches!(fewer, Refusal::SlotInUse { what: "takes away", .. }));
    let smaller = apply(&|f| f.hosts.get_mut(&host(1)).unwrap().slots.get_mut(&1).unwrap().size_bytes = 5);
    assert!(matches!(smaller, Refusal::SlotInUse { what: "shrinks", .. }));
    let elsewhere = apply(&|f| {
        f.hosts.get_mut(&host(1)).unwrap().slots.get_mut(&1).unwrap().address = "10.9.9.9:7430".parse().unwrap();
    });
    assert!(matches!(elsewhere, Refusal::SlotInUse { .. }));
    let together = apply(&|f| {
        let at = f.hosts[&host(2)].at.clone();
        f.hosts.get_mut(&host(1)).unwrap().at = at;
    });
    assert!(matches!(together, Refusal::SpreadBroken { .. }));
    let synced = apply(&|f| f.stores.get_mut(&store(1)).unwrap().sync_copies = 1);
    assert!(matches!(synced, Refusal::NotSupported { what: "sync_copies", .. }), "R24: {synced}");
    let pinned = apply(&|f| {
        f.stores.get_mut(&store(1)).unwrap().never.insert(host(1));
    });
    assert!(matches!(&pinned, Refusal::Pinned { slot: at, .. } if at.host == host(1)), "{pinned}");
    assert!(pinned.to_string().contains("slotctl move slot imap1/01"), "{pinned}");
    let large = apply(&|f| f.stores.get_mut(&store(1)).unwrap().size_bytes = 100_000);
    assert!(matches!(large, Refusal::SlotInUse { what: "reserves more than there is on", .. }), "{large}");
    let cyrus = apply(&|f| f.stores.get_mut(&store(1)).unwrap().engine = EngineKind::Cyrus);
    assert!(matches!(cyrus, Refusal::NotSupported { what: "the engine", .. }), "{cyrus}");
    let full = apply(&|f| *f = file(4, 8, 17, 2));
    assert!(matches!(full, Refusal::NoRoom { needed: 2, .. }), "{full}");
    let other = apply(&|f| f.cluster = ClusterName::new("fm2").unwrap());
    assert!(matches!(other, Refusal::OtherCluster { .. }));
}

#[test]
fn a_failover_of_something_else_is_refused() {
    let mut world = World::running(4, 8, 4, 2);
    let fail = |world: &World, at: &str, to: Option<&str>| {
        world.plan(Intent::FailOverSlot { slot: slot(at), to: to.map(slot) }).expect_err("refused")
    };
    assert!(matches!(fail(&world, "imap2/1", None), Refusal::NotMaster { .. }));
    assert!(matches!(fail(&world, "imap1/8", None), Refusal::NoCopy(_)));
    assert!(matches!(fail(&world, "imap1/9", None), Refusal::UnknownSlot(_)));
    assert!(matches!(fail(&world, "imap1/1", Some("imap3/1")), Refusal::NotThisTarget { .. }));
    assert!(matches!(fail(&world, "imap1/1", Some("imap1/1")), Refusal::NotThisTarget { .. }));
    world.inputs.busy_stores.insert(store(1));
    assert_eq!(fail(&world, "imap1/1", None), Refusal::StoresBusy(BTreeSet::from([store(1)])));
    world.inputs.requested_by = None;
    assert_eq!(fail(&world, "imap1/1", None), Refusal::NobodyAsks);
}

#[test]
fn r13_an_unplanned_failover_takes_a_store_from_a_running_plan() {
    let mut world = World::running(4, 8, 4, 2);
    world.silent(&host(1), 20_000);
    world.attest(&host(1));
    world.inputs.busy_stores.insert(store(1));
    let plan = world.plan(Intent::FailOverSlot { slot: slot("imap1/1"), to: None }).unwrap();
    assert!(plan.plan().notes.iter().any(|n| n.heading == "TAKES OVER" && n.text.contains("store1")));
}

#[test]
fn refusals_fit_a_terminal() {
    let mut world = World::running(4, 8, 12, 2);
    world.silent(&host(2), 20_000);
    world.silent(&host(3), 20_000);
    let texts = [
        world.plan(Intent::DrainHost(host(1))).expect_err("targets are silent").to_string(),
        world.plan(Intent::FailOverHost(host(2))).expect_err("nothing fences it").to_string(),
        world.plan(Intent::UndrainHost(host(1))).expect_err("it is Active").to_string(),
    ];
    insta::assert_snapshot!(texts.join("\n\n"));
    assert!(texts.iter().flat_map(|t| t.lines()).all(|line| line.chars().count() <= 120), "{texts:#?}");
}
