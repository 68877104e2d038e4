//! Clusters to save, to ask and to plan for: those of the planner's own tests.

#[expect(dead_code, reason = "shared with the planner's tests, which use all of it")]
#[path = "../../../slot-planner/tests/planner/world.rs"]
pub mod world;

use slot_types::cluster::*;
use slot_types::evidence::*;
use slot_types::fence::*;
use slot_types::front_end::{FrontEndSeen, FrontEndSpec};
use slot_types::hold::{Hold, HoldOn};
use slot_types::ids::*;
use slot_types::probe::{Probe, Probed, Reach};
use slot_types::view::SnapshotView;
use slotctl::offline::{Loaded, snapshot as file};
use std::collections::{BTreeMap, BTreeSet};
use world::World;

/// A world as its leader would send it.
pub fn snapshot(world: &World) -> SnapshotView {
    SnapshotView {
        revision: world.inputs.revision,
        log_time: world.inputs.now,
        wall: world.inputs.wall,
        cluster: world.cluster.clone(),
        evidence: world.evidence.clone(),
        not_seen: None,
        busy_stores: world.inputs.busy_stores.clone(),
        busy_hosts: world.inputs.busy_hosts.clone(),
        busy_slots: world.inputs.busy_slots.clone(),
        fleet_version: world.inputs.fleet_version,
        coordinators: BTreeMap::from([(CoordinatorName::new("c1").unwrap(), "10.1.2.1:7400".parse().unwrap())]),
    }
}

/// What is read of it.
pub fn loaded(world: &World) -> Loaded {
    file::load(Box::new(snapshot(world))).unwrap()
}

/// One in which everything that a snapshot may say is said.
pub fn with_everything() -> SnapshotView {
    let mut world = World::running(4, 8, 6, 2);
    let (name, slot) = (world::host(1), world::slot("imap1/1"));
    let by = OperatorName::new("alice").unwrap();
    world.inputs.busy_hosts = BTreeSet::from([world::host(3)]);
    world.inputs.busy_slots = BTreeSet::from([world::slot("imap3/8")]);
    world.inputs.busy_stores = BTreeSet::from([world::store(3)]);
    world.attest(&name);
    world.cluster.holds.insert(
        HoldOn::Store(world::store(2)),
        Hold { by, reason: "disk is looked at".into(), at: LogTime(5), wall: WallTime(6) },
    );
    let tombstone = Tombstone {
        epoch: Epoch::default(),
        past: BTreeMap::from([(slot.clone(), CopyGeneration(1))]),
        at: LogTime(7),
        wall: WallTime(8),
    };
    world.cluster.tombstones.insert(world::store(90), tombstone);
    let front_end = FrontEndSpec {
        address: "10.1.9.9:7440".parse().unwrap(),
        render: BTreeSet::from([MapName::new("haproxy").unwrap()]),
    };
    world.cluster.front_ends.insert(FrontEndName::new("lb1").unwrap(), front_end);
    world.cluster.loss_cases.insert(LossCaseId(12), super::loss_case(12, LossState::Listed).case);
    let spec = FenceSpec {
        agent: FenceAgent::new("fence_ipmilan").unwrap(),
        options: BTreeMap::from([(FenceKey::new("ip").unwrap(), FenceValue::new("10.9.0.1").unwrap())]),
        password_file: Some(FencePath::new("/etc/slot/ipmi").unwrap()),
        timeout_ms: TIMEOUT_MS,
        from: FenceFrom::AnotherRack,
    };
    let host = world.host_mut(&name);
    host.device.spec = Some(spec);
    host.device.off = Some(DeviceOff {
        boot: BootId([1; 16]),
        by: world::host(2),
        plan: PlanId(17),
        at: LogTime(9),
        was: HostState::Active,
    });
    host.device.failed = Some(DeviceFailed { boot: BootId([1; 16]), at: LogTime(9), why: "no route".into() });
    host.quarantined = Some(HostQuarantine::OlderDisk { presented: LogIndex(3), acknowledged: LogIndex(4) });
    host.back_by = Some(WallTime(10));
    host.drained_masters = BTreeSet::from([world::store(1)]);
    let replica = world.store_mut(&world::store(1)).copies.keys().next_back().cloned().unwrap();
    let store = world.store_mut(&world::store(1));
    store.past.insert(slot.clone(), CopyGeneration(1));
    store.unheard.insert(slot.clone());
    store.pending = Some(replica.clone());
    store
        .possible_masters
        .insert(slot.clone(), PossibleMaster { since: Epoch::default(), generation: CopyGeneration(1) });
    let probe = Probe { by: world::host(2), slot: Some(slot.clone()), probed: Probed::NoAnswer, age_ms: 5, same_ms: 6 };
    let reach = Reach { probes: vec![probe], elsewhere: 3, elsewhere_answered: 3, near: vec![(world::host(2), true)] };
    world.evidence.reach.insert(name.clone(), reach);
    world.evidence.power.insert(name.clone(), Seen::Known { value: Power::On, age_ms: 7 });
    world.evidence.copies.insert(replica, Seen::Unknown { reason: "never reported".into() });
    let order = OrderId { plan: PlanId(17), task: 0, step: 1, attempt: 1 };
    world.evidence.hosts.get_mut(&name).unwrap().running.push(order);
    let seen = FrontEndSeen { acknowledged: Some((0, Revision(7))), problem: Some("no such file".into()) };
    world.evidence.front_ends.insert(FrontEndName::new("lb1").unwrap(), Seen::Known { value: seen, age_ms: 8 });
    world.said(&slot, |status| {
        status.frozen = Some(order);
        status.aside = vec![super::loss_case(12, LossState::Listed).case.stranded[0].clone()];
    });
    SnapshotView { not_seen: Some("this leader is new".into()), ..snapshot(&world) }
}
