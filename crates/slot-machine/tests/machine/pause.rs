//! Plans that are paused, taken up again and undone (R18, R14).

use crate::plans::*;
use crate::world::*;
use slot_machine::command::*;
use slot_machine::pause::is_at_rest;
use slot_machine::state::*;
use slot_machine::undo::reverse;
use slot_types::cluster::*;
use slot_types::ids::*;
use slot_types::order::{Action, NeverWill};
use slot_types::plan::*;

/// Two masters on h1 that leave it, then its copies stop, then it is in Maintenance.
fn drain() -> (World, PlanId) {
    let mut world = World::with_store();
    world.create(2, &[slot(1, 2), slot(3, 2)]);
    let tasks = vec![
        host_state(1, HostState::Draining),
        after(hand_over(&world, 1, &slot(1, 1), &slot(2, 1)), &[0]),
        after(stop(&world, 1, &slot(1, 1)), &[1]),
        after(hand_over(&world, 2, &slot(1, 2), &slot(3, 2)), &[0]),
        after(stop(&world, 2, &slot(1, 2)), &[3]),
        after(host_state(1, HostState::Maintenance), &[0, 1, 2, 3, 4]),
    ];
    let id = world.start(Intent::DrainHost(host(1)), tasks);
    (world, id)
}

fn status(world: &World, id: PlanId) -> &PlanStatus {
    &world.state.plans[&id].status
}
fn pause(world: &mut World, id: PlanId) -> Answer {
    world.apply(Command::PausePlan { plan: id, by: person("ben"), reason: "lunch".into() })
}
fn resume(world: &mut World, id: PlanId) -> Answer {
    let guards = world.evidence();
    world.apply(Command::ResumePlan { plan: id, by: person("cat"), reason: "go on".into(), guards })
}
fn undo(world: &mut World, id: PlanId) -> PlanId {
    let wanted = reverse(&world.state, id).unwrap();
    let mut tasks = vec![host_state(1, HostState::Active)];
    for (at, name) in &wanted.started {
        let n = if *name == store(1) { 1 } else { 2 };
        tasks.push(after(follow(world, n, at), &[0]));
    }
    for (name, to) in &wanted.masters {
        let n = if *name == store(1) { 1 } else { 2 };
        let from = world.store(n).master.clone().unwrap();
        let deps: Vec<u16> = (0..u16::try_from(tasks.len()).unwrap()).collect();
        tasks.push(after(hand_over(world, n, &from, to), &deps));
    }
    let plan = world.plan(Intent::Undo(Box::new(wanted)), tasks);
    world.record(&plan)
}

/// R18: what is frozen goes on to its end; nothing else begins; resumed, the rest is done.
#[test]
fn r18_a_pause_takes_effect_at_the_next_safe_point() {
    for frozen in [StepKind::Freeze, StepKind::CatchUp, StepKind::Demote, StepKind::Promote] {
        let (mut world, id) = drain();
        world.until(frozen);
        let begun =
            |world: &World| world.state.plans[&id].tasks.iter().filter(|t| t.state == TaskState::Running).count();
        assert!(begun(&world) > 0);
        pause(&mut world, id);
        assert!(!is_at_rest(&world.state.plans[&id]), "frozen is not paused");
        world.drive();
        assert!(is_at_rest(&world.state.plans[&id]));
        assert!(matches!(status(&world, id), PlanStatus::Paused { by: Some(_), .. }));
        assert!(world.cluster().stores.values().all(|s| s.copies.values().all(|c| c.state != CopyState::Frozen)));
        assert_eq!(world.run(id, 5).state, TaskState::Waiting);
        let stopped = world.state.plans[&id].plan.tasks.iter().zip(&world.state.plans[&id].tasks);
        let stopped =
            stopped.filter(|(t, r)| matches!(t.kind, TaskKind::StopCopy { .. }) && r.state == TaskState::Done);
        assert_eq!(stopped.count(), 0, "nothing was begun");
        // Nobody calls it stuck while a person thinks, and nothing of it starts.
        world.now += 3_600_000;
        world.all_stuck();
        assert!(!world.start_all() && world.sends().is_empty());
        let step = StepRef { plan: id, task: 2, step: 0 };
        assert!(matches!(world.apply(world.start_step(step, 1)), Answer::Refused(_)));
        assert!(matches!(world.apply(Command::StuckStep { step, why: "slow".into() }), Answer::Refused(_)));
        assert_eq!(resume(&mut world, id), Answer::Plan { id, people_missing: 0 });
        world.drive();
        assert_eq!(*status(&world, id), PlanStatus::Done);
        assert_eq!(world.cluster().hosts[&host(1)].declared, HostState::Maintenance);
    }
}

/// A drain of which a store was refused waits, keeps what it has, and tries that store again under another freeze (R1).
#[test]
fn r1_a_refused_store_is_tried_again_under_another_freeze() {
    let (mut world, id) = drain();
    let freeze = world.until(StepKind::Freeze);
    world.finish(freeze.id, never(NeverWill::Engine("busy".into())));
    world.drive();
    assert!(matches!(status(&world, id), PlanStatus::Paused { by: None, .. }), "{:?}", world.state.plans[&id].tasks);
    assert_eq!(world.state.host_claims.get(&host(1)), Some(&id));
    assert_eq!(world.store(1).master, Some(slot(1, 1)));
    assert_eq!(world.store(2).master, Some(slot(3, 2)), "L2: the rest went on");
    resume(&mut world, id);
    let again = world.until(StepKind::Freeze);
    assert!(matches!(again.action, Action::Freeze { .. }));
    assert!(again.id.attempt > freeze.id.attempt && again.index > freeze.index);
    world.drive();
    assert_eq!(*status(&world, id), PlanStatus::Done);
    assert!(world.state.store_claims.is_empty() && world.state.host_claims.is_empty());
}

/// R14: on resume the guards are looked at anew; what may not begin is left, and with nothing left it is refused.
#[test]
fn r14_resume_looks_at_the_guards_again() {
    let (mut world, id) = drain();
    let freeze = world.until(StepKind::Freeze);
    world.finish(freeze.id, never(NeverWill::Engine("busy".into())));
    world.drive();
    world.dead.insert(host(2));
    let before = world.state.plans[&id].clone();
    assert!(matches!(resume(&mut world, id), Answer::Refused(Refused::Guard(_))));
    assert_eq!(world.state.plans[&id], before, "a refusal changes nothing");
    world.dead.clear();
    assert!(matches!(resume(&mut world, id), Answer::Plan { .. }));
    // Held hands stay off.
    pause(&mut world, id);
    world.ok(Command::Hold { on: slot_types::hold::HoldOn::Host(host(1)), by: person("ann"), reason: "mine".into() });
    assert!(matches!(resume(&mut world, id), Answer::Refused(Refused::Held(_))));
}

/// R6, R18: what fails over has its epoch already, and is not paused.
#[test]
fn r18_a_failover_is_not_paused() {
    let mut world = World::with_store();
    let task = demoting(&world, 1, &slot(1, 1), &slot(2, 1));
    let id = world.start(Intent::FailOverSlot { slot: slot(1, 1), to: None }, vec![task]);
    assert!(matches!(pause(&mut world, id), Answer::Refused(Refused::Precondition(_))));
    world.drive();
    assert!(matches!(pause(&mut world, id), Answer::Refused(Refused::WrongStatus { .. })));
}

/// R18: undo is a plan of its own: the old approval is not used, and the other plan ends only when the new one starts.
#[test]
fn r18_undo_is_a_plan_with_its_own_approval() {
    let (mut world, id) = drain();
    world.until(StepKind::Promote);
    assert!(reverse(&world.state, id).is_err(), "it runs");
    pause(&mut world, id);
    assert!(reverse(&world.state, id).is_err(), "it is not at rest yet");
    world.drive();
    let back = undo(&mut world, id);
    assert_eq!(*status(&world, back), PlanStatus::Proposed);
    assert!(!world.start_all(), "nobody has said yes to it");
    assert!(matches!(status(&world, id), PlanStatus::Paused { .. }), "a no leaves it paused");
    world.approve(back, "ann").unwrap();
    assert!(matches!(status(&world, id), PlanStatus::Aborted { .. }));
    assert!(matches!(resume(&mut world, id), Answer::Refused(Refused::WrongStatus { .. })));
    world.drive();
    assert_eq!(*status(&world, back), PlanStatus::Done, "{:?}", world.state.plans[&back].tasks);
    assert_eq!((world.store(1).master.clone(), world.store(2).master.clone()), (Some(slot(1, 1)), Some(slot(1, 2))));
    assert_eq!(world.cluster().hosts[&host(1)].declared, HostState::Active);
    assert!(reverse(&world.state, back).is_err(), "an undo is not undone");
}

/// R18: what a client says was done is not believed, and an undo of what went on since is refused.
#[test]
fn r18_undo_is_of_what_was_done() {
    let (mut world, id) = drain();
    world.until(StepKind::Promote);
    pause(&mut world, id);
    world.drive();
    let mut wanted = reverse(&world.state, id).unwrap();
    wanted.active.insert(host(4));
    let plan = world.plan(Intent::Undo(Box::new(wanted)), vec![host_state(4, HostState::Active)]);
    assert!(matches!(world.propose(&plan), Answer::Refused(Refused::BadPlan(_))));
    let back = undo(&mut world, id);
    resume(&mut world, id);
    world.drive();
    assert_eq!(*status(&world, id), PlanStatus::Done);
    assert!(world.approve(back, "ann").is_err());
}

/// R13: a failover takes its store from a plan that is paused, whether it had begun there or given it up.
#[test]
fn r13_a_failover_takes_a_store_from_a_paused_plan() {
    let (mut world, id) = drain();
    let freeze = world.until(StepKind::Freeze);
    world.finish(freeze.id, never(NeverWill::Engine("busy".into())));
    world.drive();
    let task = demoting(&world, 1, &slot(1, 1), &slot(3, 1));
    let other = world.start(Intent::FailOverSlot { slot: slot(1, 1), to: None }, vec![task]);
    assert_eq!(world.state.store_claims.get(&store(1)), Some(&other));
    assert_eq!(*status(&world, id), PlanStatus::Stopped);
    world.drive();
    assert_eq!(world.store(1).master, Some(slot(3, 1)));
    assert!(world.state.store_claims.is_empty() && world.state.host_claims.is_empty());
}

/// R25: a master that died while its plan is paused is started again, without waiting for whoever paused it.
#[test]
fn r25_recovery_does_not_wait_for_a_paused_plan() {
    let (mut world, id) = drain();
    world.start_all();
    pause(&mut world, id);
    world.drive();
    let task = start_master(&world, 1, &slot(1, 1));
    let plan = world.plan(Intent::StartMaster { slot: slot(1, 1) }, vec![task]);
    let recovery = world.record(&plan);
    world.drive();
    assert_eq!(*status(&world, recovery), PlanStatus::Done);
    assert_eq!(world.state.store_claims.get(&store(1)), Some(&id), "it is still the paused plan's");
    resume(&mut world, id);
    world.drive();
    assert_eq!(*status(&world, id), PlanStatus::Done);
}

/// An abort of a paused plan ends it and lets go of everything.
#[test]
fn a_paused_plan_is_aborted() {
    let (mut world, id) = drain();
    world.start_all();
    pause(&mut world, id);
    assert!(matches!(pause(&mut world, id), Answer::Refused(Refused::WrongStatus { .. })));
    world.ok(Command::AbortPlan { plan: id, by: person("ben"), reason: "no".into() });
    world.drive();
    assert!(matches!(status(&world, id), PlanStatus::Aborted { .. }));
    assert!(world.state.store_claims.is_empty() && world.state.host_claims.is_empty());
}
