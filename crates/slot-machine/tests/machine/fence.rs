//! R6, R26: cutting a host's power, and what its device's word is worth.

use crate::plans::*;
use crate::world::*;
use slot_machine::command::*;
use slot_machine::runnable::runnable;
use slot_machine::state::*;
use slot_types::cluster::*;
use slot_types::fence::*;
use slot_types::ids::*;
use slot_types::order::{Action, Done, NeverWill, Outcome};
use slot_types::plan::*;

fn device() -> FenceSpec {
    FenceSpec {
        agent: FenceAgent::new("fence_ipmilan").unwrap(),
        options: [(FenceKey::new("ip").unwrap(), FenceValue::new("10.9.0.1").unwrap())].into(),
        password_file: None,
        timeout_ms: 20_000,
        from: FenceFrom::AnotherRack,
    }
}

/// `store1` and `store2` have their masters on h1, which is silent; h1 has a device.
fn dead_host() -> World {
    let mut world = World::with_store();
    world.create(2, &[slot(1, 2), slot(2, 2)]);
    world.cluster_mut().hosts.get_mut(&host(1)).unwrap().device.spec = Some(device());
    world.write(1, 3, &[]);
    world.write(2, 3, &[]);
    world.dead.insert(host(1));
    world
}

/// The master on h1 is waived, h1 is switched off by the agent of `by`.
fn switching(world: &World, n: u8, by: u8) -> Task {
    let from = world.store(n).master.clone().unwrap();
    let to = world.store(n).copies.keys().find(|s| s.host == host(2)).unwrap().clone();
    let mut task = waiving(world, n, &from, &to, FenceLevel::Device);
    let at = task.steps.iter().position(|s| s.kind == StepKind::Promote).unwrap();
    let place = Place::Device { of: host(1), by: host(by) };
    task.steps.insert(at, step(StepKind::FenceHost, Some(place)));
    if let TaskKind::FailOver { loss, .. } = &mut task.kind {
        loss.class = LossClass::CaughtUp;
    }
    task
}

fn plan(world: &World, stores: &[u8], by: u8) -> Plan {
    let tasks = stores.iter().map(|n| switching(world, *n, by)).collect();
    let mut plan = world.plan(Intent::FailOverHost(host(1)), tasks);
    let known = &world.cluster().hosts[&host(1)];
    let kills = world.cluster().copies_on(&host(1)).map(|(_, slot, _)| slot.clone()).collect();
    let off = SwitchOff { boot: known.boot.unwrap(), by: Some(host(by)), spec: device(), kills };
    plan.switch_off.insert(host(1), off);
    for name in [host(1), host(by)] {
        plan.facts.insert(EntityRef::Host(name.clone()), world.cluster().hosts[&name].version);
    }
    plan
}

/// Approved by one person, which is enough where a device fences.
fn approved(world: &mut World, stores: &[u8], by: u8) -> PlanId {
    let id = world.record(&plan(world, stores, by));
    assert_eq!(world.approve(id, "ann"), Ok(0), "a device needs no second person");
    id
}

fn said(world: &World) -> Outcome {
    let _ = world;
    Outcome::Done(Done::Off)
}

fn not_off() -> Outcome {
    never(NeverWill::NotOff { host: host(1), why: "its status says ON".into() })
}

/// R6: epochs first, then power; R26: once for all stores of the host, after every copy was raised.
#[test]
fn r26_a_host_is_switched_off_once_and_every_store_goes_on() {
    let mut world = dead_host();
    let id = world.record(&plan(&world, &[1, 2], 3));
    assert!(world.sends().is_empty(), "nothing is sent before the yes");
    assert_eq!(world.approve(id, "ann"), Ok(0));
    assert_eq!((world.store(1).epoch, world.store(2).epoch), (epoch(2), epoch(2)), "R6: committed first");
    let order = world.until(StepKind::FenceHost);
    assert!(matches!(&order.action, Action::Fence { host: h, ends, .. } if *h == host(1) && *ends == boot(1, 1)));
    assert_eq!((order.boot, order.subject.clone()), (boot(3, 1), None), "it is for the agent that fences");
    assert!(world.run(id, 0).steps[..2].iter().all(|s| matches!(s.state, StepState::Done { .. })), "raised before");
    let restored = State::restore(&world.state.snapshot()).unwrap();
    assert_eq!(runnable(&world.state), runnable(&restored), "a new leader sends the same order");
    let fences = world.sends().iter().filter(|(_, kind, _)| *kind == StepKind::FenceHost).count();
    assert_eq!(fences, 1);
    world.finish(order.id, said(&world));
    world.drive();
    for n in [1, 2] {
        assert_eq!(world.store(n).master.as_ref().map(|s| s.host.clone()), Some(host(2)));
        assert_eq!(world.store(n).possible_masters.len(), 1, "R28: it stays one until its agent demotes it");
    }
    let fenced = world.sent.iter().filter(|o| matches!(o.action, Action::Fence { .. })).count();
    assert_eq!(fenced, 0, "no second order of its kind was ever sent");
    let known = &world.cluster().hosts[&host(1)];
    assert_eq!((known.declared, known.device.is_off(known.boot)), (HostState::Off, true));
    assert_eq!(world.state.plans[&id].status, PlanStatus::Done);
    assert_eq!(world.cluster().loss_cases.len(), 2);
}

#[test]
fn r26_a_device_that_does_not_confirm_stops_every_store_and_is_not_asked_again() {
    let mut world = dead_host();
    let id = approved(&mut world, &[1, 2], 3);
    let order = world.until(StepKind::FenceHost);
    world.finish(order.id, not_off());
    world.drive();
    for task in 0..2 {
        assert!(
            matches!(&world.run(id, task).state, TaskState::NeedsHuman { why } if why.contains("confirm")),
            "{task}"
        );
        assert_eq!(world.store(1).master, None, "nothing is promoted past it");
    }
    let known = &world.cluster().hosts[&host(1)];
    assert_eq!(known.declared, HostState::Active);
    assert!(known.device.usable(boot(1, 1), LogTime(world.now)).is_none(), "the next sheet is without it");
    assert_eq!(world.state.plans[&id].status, PlanStatus::Stopped);
    let answer = world.finish(order.id, said(&world));
    assert!(matches!(answer, slot_machine::command::Answer::Refused(_)), "what is over is over");
}

/// Off, answered without the device's status, is no "off".
#[test]
fn r26_only_the_devices_off_counts() {
    let mut world = dead_host();
    let id = approved(&mut world, &[1], 3);
    let order = world.until(StepKind::FenceHost);
    world.finish(order.id, Outcome::Done(Done::Plain));
    assert!(matches!(world.run(id, 0).state, TaskState::NeedsHuman { .. }));
    assert_eq!(world.cluster().hosts[&host(1)].declared, HostState::Active);
}

#[test]
fn r26_no_power_is_cut_while_the_agent_answers() {
    let mut world = dead_host();
    let id = approved(&mut world, &[1], 3);
    let raise = world.until(StepKind::Raise);
    world.answer_as_agent(&host(2), &raise);
    world.dead.clear();
    assert!(!world.start_all(), "an agent that answers can be asked to demote");
    let step = StepRef { plan: id, task: 0, step: 2 };
    let start = world.start_step(step, 1);
    assert!(matches!(world.refused(start), Refused::Guard(why) if why.contains("demote")));
    world.dead.insert(host(1));
    assert!(world.start_all());
}

#[test]
fn r26_only_from_another_failure_domain() {
    let mut world = dead_host();
    let id = approved(&mut world, &[1], 3);
    let raise = world.until(StepKind::Raise);
    world.answer_as_agent(&host(2), &raise);
    // The file moved h3 beside h1 meanwhile.
    let rack = world.cluster().hosts[&host(1)].at.clone();
    world.cluster_mut().hosts.get_mut(&host(3)).unwrap().at = rack;
    assert!(world.blocked().iter().any(|why| why.contains("R26")), "{:?}", world.blocked());
    assert!(!world.start_all());
    assert_eq!(world.run(id, 0).state, TaskState::Running);
}

#[test]
fn r6_a_host_that_booted_again_is_not_switched_off() {
    let mut world = dead_host();
    let id = approved(&mut world, &[1], 3);
    let order = world.until(StepKind::FenceHost);
    assert_eq!(world.order(StepKind::FenceHost), order);
    world.seen(1, 2);
    assert!(world.sends().is_empty(), "R6: it fires again only if the boot is unchanged");
    assert!(world.blocked().iter().any(|why| why.contains("booted again")));
    // A person ends it: what may still be on its way is cancelled first (R4).
    world.all_stuck();
    world.ok(Command::AbortPlan { plan: id, by: person("ann"), reason: "it is back".into() });
    assert!(matches!(world.run(id, 0).state, TaskState::Unwinding { .. }));
    let (_, _, cancel) = world.sends().pop().unwrap();
    assert_eq!(cancel.action, Action::Cancel { order: order.id });
    world.finish(cancel.id, never(NeverWill::Cancelled));
    assert!(matches!(world.run(id, 0).state, TaskState::NotDone { .. }));
    assert_eq!(world.cluster().hosts[&host(1)].declared, HostState::Active);
}

/// R4: an aborted fence that had happened is recorded all the same; one that is under way and not stuck goes on.
#[test]
fn r4_an_abort_learns_what_became_of_the_power() {
    let mut world = dead_host();
    let id = approved(&mut world, &[1], 3);
    let order = world.until(StepKind::FenceHost);
    world.ok(Command::AbortPlan { plan: id, by: person("ann"), reason: "no".into() });
    assert_eq!(world.run(id, 0).state, TaskState::Running, "R18: after the commit only forward");
    world.all_stuck();
    let (_, _, cancel) = world.sends().pop().unwrap();
    assert_eq!(cancel.action, Action::Cancel { order: order.id });
    world.finish(cancel.id, said(&world));
    assert!(world.run(id, 0).state.is_ended());
    let known = &world.cluster().hosts[&host(1)];
    assert_eq!((known.declared, known.device.is_off(known.boot)), (HostState::Off, true));
}

/// R6: its approval names every copy on the host.
#[test]
fn r6_a_copy_the_sheet_does_not_name_keeps_the_power_on() {
    let mut world = dead_host();
    let mut plan = plan(&world, &[1], 3);
    plan.switch_off.get_mut(&host(1)).unwrap().kills.remove(&slot(1, 2));
    let id = world.record(&plan);
    assert_eq!(world.approve(id, "ann"), Ok(0));
    let raise = world.until(StepKind::Raise);
    world.answer_as_agent(&host(2), &raise);
    assert!(world.blocked().iter().any(|why| why.contains("R6") && why.contains("h1/02")), "{:?}", world.blocked());
}

/// R27: the agent that fences booted again; another attempt, for the host's boot as it is.
#[test]
fn r27_a_fence_is_ordered_anew_of_an_agent_that_booted() {
    let mut world = dead_host();
    approved(&mut world, &[1], 3);
    let order = world.until(StepKind::FenceHost);
    world.finish(order.id, never(NeverWill::BootEnded(boot(3, 1))));
    world.seen(3, 2);
    world.start_all();
    let again = world.order(StepKind::FenceHost);
    assert_eq!((again.id.attempt, again.boot), (2, boot(3, 2)));
    assert!(matches!(again.action, Action::Fence { ends, .. } if ends == boot(1, 1)));
}

/// A sign of life of the same boot: the device's word is void, and it is not believed for a while.
#[test]
fn r26_an_off_host_that_speaks_is_not_off() {
    let mut world = dead_host();
    let id = approved(&mut world, &[1], 3);
    let order = world.until(StepKind::FenceHost);
    world.finish(order.id, said(&world));
    for again in [false, true] {
        let mut world = World {
            state: world.state.clone(),
            watch: world.watch.clone(),
            index: world.index,
            now: 100_000,
            ..dead_host()
        };
        world.seen(1, if again { 2 } else { 1 });
        let known = &world.cluster().hosts[&host(1)];
        assert_eq!((known.declared, known.device.off.is_none()), (HostState::Active, true));
        assert_eq!(known.device.failed.is_some(), !again);
        assert_eq!(world.state.ended_boots.contains_key(&host(1)), again, "that boot is over, or never was");
        assert!(!world.start_all(), "no Promote past a host that speaks");
        assert!(!world.run(id, 0).state.is_ended());
        assert_eq!(world.store(1).master, None);
    }
}

/// R5, R27: what comes back with another boot is fenced as everybody that returns; nothing makes it master again.
#[test]
fn r5_a_host_that_was_switched_off_comes_back_as_no_master() {
    let mut world = dead_host();
    approved(&mut world, &[1], 3);
    let order = world.until(StepKind::FenceHost);
    world.finish(order.id, said(&world));
    world.drive();
    assert_eq!(world.store(1).master, Some(slot(2, 1)));
    assert_eq!(world.store(2).master, Some(slot(1, 2)), "that store's sheet was not this one");
    world.dead.clear();
    world.seen(1, 2);
    assert_eq!(world.cluster().hosts[&host(1)].declared, HostState::Active);
    let start = world.plan(Intent::StartMaster { slot: slot(1, 1) }, vec![start_master(&world, 1, &slot(1, 1))]);
    assert!(matches!(world.propose(&start), slot_machine::command::Answer::Refused(_)));
    // R25: the master that nobody replaced is started again, and the replaced one is fenced and lists what it has.
    let start = world.plan(Intent::StartMaster { slot: slot(1, 2) }, vec![start_master(&world, 2, &slot(1, 2))]);
    world.record(&start);
    let fence = world.plan(Intent::FenceReturned { slot: slot(1, 1) }, vec![fence_returned(&world, 1, &slot(1, 1))]);
    world.record(&fence);
    world.drive();
    assert!(world.store(1).possible_masters.is_empty());
    assert!(world.sent.iter().all(|o| o.boot != boot(1, 1) || o.index < order.index), "R27");
}

/// R28: a master that was fenced and succeeded is gone with its disk, once that is replaced; one whose boot is not known to have
/// ended stays possible.
#[test]
fn r28_l1_a_succeeded_master_goes_with_its_disk() {
    let mut world = dead_host();
    approved(&mut world, &[1, 2], 3);
    let order = world.until(StepKind::FenceHost);
    world.finish(order.id, said(&world));
    world.drive();
    world.ok(Command::HostSeen {
        host: host(1),
        incarnation: disk(66),
        boot: boot(1, 2),
        high_water: LogIndex(0),
        silence: SILENCE,
        first: false,
    });
    let mut alive = World { state: world.state.clone(), watch: world.watch.clone(), index: world.index, ..dead_host() };
    alive.state.ended_boots.clear();
    for (world, left) in [(&mut world, 0), (&mut alive, 1)] {
        assert!(world.store(1).possible_masters.contains_key(&slot(1, 1)));
        world.ok(Command::AdmitHost { host: host(1), incarnation: disk(66), by: person("ann"), reason: "new".into() });
        for n in [1, 2] {
            assert_eq!(world.store(n).possible_masters.len(), left);
        }
    }
}

/// A device's word stands for the next plan too: nothing is switched a second time.
#[test]
fn r26_a_host_that_is_off_is_not_switched_off_again() {
    let mut world = dead_host();
    approved(&mut world, &[1], 3);
    let order = world.until(StepKind::FenceHost);
    world.finish(order.id, said(&world));
    world.drive();
    let mut later = plan(&world, &[2], 3);
    later.switch_off.get_mut(&host(1)).unwrap().by = None;
    later.tasks[0].steps.retain(|s| s.kind != StepKind::FenceHost);
    let id = world.record(&later);
    assert_eq!(world.approve(id, "ann"), Ok(0));
    world.drive();
    assert_eq!(world.store(2).master, Some(slot(2, 2)));
    assert_eq!(world.sent.iter().filter(|o| matches!(o.action, Action::Fence { .. })).count(), 0);
}

/// S5: bytes that would cut power where the plan does not say so are no plan.
#[test]
fn s5_a_plan_that_hides_a_power_cut_is_refused() {
    let world = dead_host();
    let honest = plan(&world, &[1], 3);
    let mutants: [fn(&mut Plan); 3] = [
        |p| p.switch_off.clear(),
        |p| p.switch_off.get_mut(&host(1)).unwrap().by = Some(host(4)),
        |p| p.switch_off.get_mut(&host(1)).unwrap().by = None,
    ];
    for change in mutants {
        let mut mutant = honest.clone();
        change(&mut mutant);
        let mut world = World { state: world.state.clone(), watch: world.watch.clone(), ..dead_host() };
        let answer = world.propose(&mutant);
        assert!(matches!(answer, slot_machine::command::Answer::Refused(Refused::BadPlan(_))), "{answer:?}");
    }
}

/// ADR 19: a power cut touches the host and every store with a copy there, and not the host whose agent asks the device.
#[test]
fn r26_a_hold_on_what_dies_with_the_host_stands_before_the_power_cut() {
    use slot_types::hold::HoldOn;
    let held = [HoldOn::Store(store(1)), HoldOn::Host(host(1)), HoldOn::All];
    let free = [HoldOn::Host(host(4)), HoldOn::Host(host(3))];
    for (on, refused) in held.map(|on| (on, true)).into_iter().chain(free.map(|on| (on, false))) {
        let mut world = dead_host();
        let id = world.record(&plan(&world, &[2], 4));
        world.ok(Command::Hold { on: on.clone(), by: person("ben"), reason: "hands off".into() });
        match world.approve(id, "ann") {
            Err(Refused::Held(_)) if refused => assert_eq!(world.store(2).epoch, epoch(1)),
            Ok(0) if !refused => {}
            other => panic!("{on}: {other:?}"),
        }
    }
}
