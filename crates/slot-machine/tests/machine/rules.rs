//! The rules of protocol.md, by name: hand-over, orders, attestations, claims.

use crate::plans::*;
use crate::world::*;
use slot_machine::command::*;
use slot_machine::runnable::{Runnable, runnable};
use slot_machine::state::*;
use slot_types::cluster::*;
use slot_types::ids::*;
use slot_types::order::{Action, Done, NeverWill, Outcome};
use slot_types::plan::*;

fn handing_over() -> (World, PlanId) {
    let mut world = World::with_store();
    world.write(1, 10, &[]);
    let task = hand_over(&world, 1, &slot(1, 1), &slot(2, 1));
    let id = world.start(Intent::FailOverSlot { slot: slot(1, 1), to: None }, vec![task]);
    (world, id)
}
fn abort(world: &mut World, id: PlanId) -> Answer {
    world.apply(Command::AbortPlan { plan: id, by: person("ben"), reason: "stop".into() })
}

/// R1: Promote is checked against Demote's final tip, never against the freeze's.
#[test]
fn r1_promote_expects_the_final_tip_of_demote() {
    let (mut world, id) = handing_over();
    world.until(StepKind::Demote);
    // The freeze had run out: A acknowledged four more records meanwhile.
    world.tips.insert(slot(1, 1), tip(1, 15));
    let promote = world.until(StepKind::Promote);
    let Action::Promote { expect, source, .. } = &promote.action else { panic!("{promote:?}") };
    assert_eq!((*expect, source.as_ref().map(|s| s.slot.clone())), (tip(1, 15), Some(slot(1, 1))));
    world.drive();
    assert_eq!(world.state.plans[&id].status, PlanStatus::Done);
    assert_eq!(world.tips[&slot(2, 1)].position.length, 16);
}

/// R1, R18: before the commit an abort cancels and thaws; the store is as before.
#[test]
fn r1_r18_abort_before_commit_thaws() {
    let (mut world, id) = handing_over();
    world.until(StepKind::CatchUp);
    abort(&mut world, id);
    let thaw = world.order(StepKind::Freeze);
    let Action::Thaw { freeze } = thaw.action else { panic!("{thaw:?}") };
    assert_eq!((freeze.plan, freeze.task, freeze.step, freeze.attempt), (id, 0, 0, 1));
    assert_eq!(world.state.store_claims[&store(1)], id, "held until the freeze is known to be over");
    world.drive();
    assert!(matches!(world.state.plans[&id].status, PlanStatus::Aborted { .. }));
    assert_eq!((world.store(1).epoch, world.copy(1, &slot(1, 1)).state), (epoch(1), CopyState::Serving));
    assert!(world.state.store_claims.is_empty());
}

/// R1: a freeze whose fate is not known is cancelled, then thawed even if the cancel says it never was.
#[test]
fn r1_a_freeze_of_unknown_fate_is_thawed() {
    for outcome in [
        Outcome::Done(Done::Tip { tip: tip(1, 11), history: vec![] }),
        never(NeverWill::Cancelled),
        never(NeverWill::Superseded { held: LogIndex(900) }),
    ] {
        let (mut world, id) = handing_over();
        world.until(StepKind::Freeze);
        abort(&mut world, id);
        let cancel = world.order(StepKind::Freeze);
        assert!(matches!(cancel.action, Action::Cancel { .. }));
        assert_eq!(world.finish(cancel.id, outcome), Answer::Done);
        assert!(matches!(world.order(StepKind::Freeze).action, Action::Thaw { .. }));
        world.drive();
        assert!(world.state.plans[&id].status.is_ended());
    }
    // The boot that might be frozen is over: there is nothing to thaw.
    let (mut world, id) = handing_over();
    world.until(StepKind::Freeze);
    abort(&mut world, id);
    let cancel = world.order(StepKind::Freeze);
    world.finish(cancel.id, never(NeverWill::BootEnded(boot(1, 1))));
    assert!(world.state.plans[&id].status.is_ended());
}

#[test]
fn r1_copies_that_differ_go_back() {
    let (mut world, id) = handing_over();
    let order = world.until(StepKind::CatchUp);
    world.finish(order.id, Outcome::Done(Done::Tip { tip: tip(1, 3), history: vec![] }));
    assert!(matches!(world.run(id, 0).state, TaskState::Unwinding { .. }));
    world.drive();
    assert!(matches!(world.run(id, 0).state, TaskState::NotDone { .. }));
    assert_eq!(world.store(1).master, Some(slot(1, 1)));
}

/// R18: after the commit an abort goes on forward; nothing goes back.
#[test]
fn r18_abort_after_commit_goes_forward() {
    let (mut world, id) = handing_over();
    world.until(StepKind::Demote);
    abort(&mut world, id);
    world.drive();
    assert_eq!(world.store(1).master, Some(slot(2, 1)));
    assert_eq!(world.state.plans[&id].status, PlanStatus::Done);
}

/// R18: what can't go forward needs a person, and releases its claims.
#[test]
fn r18_a_refused_demote_needs_a_person() {
    let (mut world, id) = handing_over();
    let demote = world.until(StepKind::Demote);
    world.finish(demote.id, never(NeverWill::OlderEpoch { held: epoch(7) }));
    assert!(matches!(world.run(id, 0).state, TaskState::NeedsHuman { .. }));
    assert_eq!((world.store(1).pending.clone(), world.store(1).master.clone()), (Some(slot(2, 1)), None));
    assert!(world.state.store_claims.is_empty());
    // A new plan, back to A at e+2.
    let task = demoting(&world, 1, &slot(2, 1), &slot(1, 1));
    world.start(Intent::FailOverSlot { slot: slot(2, 1), to: Some(slot(1, 1)) }, vec![task]);
    world.drive();
    assert_eq!((world.store(1).master.clone(), world.store(1).epoch), (Some(slot(1, 1)), epoch(3)));
}

/// R3: e+1 committed for B, A not yet demoted, B's host dies: a failover must fence A too.
#[test]
fn r3_failover_past_an_unfenced_former_master_is_refused() {
    let (mut world, _) = handing_over();
    world.until(StepKind::Demote);
    world.dead.insert(host(2));
    let (from, to) = (slot(2, 1), slot(3, 1));
    let waived = [from.clone()];
    let class = LossClass::Unknown;
    let fence = FenceLevel::None;
    let careless = Failover { from: &from, to: &to, fence, demote: &[], waived: &waived, class, candidate: tip(1, 11) };
    let plan = world.plan(Intent::FailOverHost(host(2)), vec![careless.task(&world, 1)]);
    let id = world.record(&plan);
    assert_eq!(world.approve(id, "ben"), Ok(1));
    let why = world.approve(id, "cat").unwrap_err();
    assert!(why.to_string().contains("h1/01"), "{why}");
    assert_eq!(world.store(1).epoch, epoch(2), "the refused approval allocated nothing");

    let demote = [slot(1, 1)];
    let careful = Failover { demote: &demote, ..careless };
    world.start(Intent::FailOverHost(host(2)), vec![careful.task(&world, 1)]);
    world.drive();
    assert_eq!((world.store(1).master.clone(), world.store(1).epoch), (Some(slot(3, 1)), epoch(3)));
}

/// R4: an order carries its StartStep index; a new leader computes the same orders; attempt 2 starts after attempt 1 is over.
#[test]
fn r4_orders_carry_their_index_and_attempts_follow_each_other() {
    let (mut world, id) = handing_over();
    let order = world.until(StepKind::Demote);
    let StepState::Started { index, .. } = world.run(id, 0).steps[3].state else { panic!() };
    assert_eq!(order.index, index);
    assert_eq!(runnable(&world.state), runnable(&State::restore(&world.state.snapshot()).unwrap()));
    let step = StepRef { plan: id, task: 0, step: 3 };
    let early = world.start_step(step, 2);
    assert!(matches!(world.refused(early), Refused::Precondition(_)));
    world.finish(order.id, never(NeverWill::Superseded { held: LogIndex(1_000) }));
    assert!(matches!(world.finish(order.id, Outcome::Done(Done::Plain)), Answer::Refused(_)), "attempt 1 is over");
    world.start_all();
    let again = world.order(StepKind::Demote);
    assert_eq!(again.id.attempt, 2);
    assert!(again.index > order.index);
    world.drive();
    assert_eq!(world.state.plans[&id].status, PlanStatus::Done);
}

/// R4: an aborted Provision holds its slots until its agent has said what became of it.
#[test]
fn r4_claims_last_until_the_order_is_over() {
    let mut world = World::new();
    let plan = world.plan(Intent::Apply(Box::new(fleet())), vec![create(1, &[slot(1, 1), slot(2, 1)])]);
    let id = world.record(&plan);
    world.approve(id, "ann").unwrap();
    world.until(StepKind::Provision);
    world.dead.insert(host(1));
    abort(&mut world, id);
    world.drive();
    assert!(world.state.slot_claims.contains_key(&slot(1, 1)));
    let other = world.plan(Intent::Apply(Box::new(fleet())), vec![create(2, &[slot(1, 1), slot(3, 1)])]);
    let other = world.record(&other);
    assert!(matches!(world.approve(other, "ann"), Err(Refused::Claimed { .. })));
    world.dead.clear();
    world.drive();
    assert!(world.state.slot_claims.is_empty() && world.state.plans[&id].status.is_ended());
}

/// R6: one entry consumes the approval, allocates the epoch, claims the store and remembers the former master.
#[test]
fn r6_the_last_approval_allocates_the_epoch() {
    let mut world = World::with_store();
    let task = demoting(&world, 1, &slot(1, 1), &slot(2, 1));
    let plan = world.plan(Intent::FailOverSlot { slot: slot(1, 1), to: None }, vec![task]);
    let id = world.record(&plan);
    let before = world.index;
    assert_eq!(world.approve(id, "ann"), Ok(0));
    assert_eq!(world.index, before + 1);
    let now = world.store(1);
    assert_eq!((now.epoch, now.master.clone(), now.pending.clone()), (epoch(2), None, Some(slot(2, 1))));
    assert!(now.possible_masters.contains_key(&slot(1, 1)));
    assert_eq!(world.state.store_claims[&store(1)], id);
}

/// R8: names host and boot, expires, void at any later sign of life; checked at commit and just before Promote.
#[test]
fn r8_an_attestation_is_void_at_a_sign_of_life() {
    let mut world = World::with_store();
    let wrong = Command::Attest { host: host(1), boot: boot(1, 9), how: "off".into(), by: person("ann") };
    assert!(matches!(world.refused(wrong), Refused::OtherBoot { .. }));
    world.dead.insert(host(1));
    for sign in [
        Command::SignOfLife { host: host(1), seen: "its engine answered h3".into() },
        Command::HostSeen {
            host: host(1),
            incarnation: disk(1),
            boot: boot(1, 1),
            high_water: LogIndex(9_999),
            silence: SILENCE,
            first: false,
        },
        Command::HostSeen {
            host: host(1),
            incarnation: disk(77),
            boot: boot(1, 1),
            high_water: LogIndex(0),
            silence: SILENCE,
            first: false,
        },
    ] {
        world.attest(1, "ann");
        assert!(world.cluster().attestations.contains_key(&host(1)));
        world.ok(sign);
        assert!(!world.cluster().attestations.contains_key(&host(1)));
    }
}

#[test]
fn r8_checked_at_commit_and_just_before_promote() {
    for expire in [false, true] {
        let mut world = World::with_store();
        world.dead.insert(host(1));
        let task = waiving(&world, 1, &slot(1, 1), &slot(2, 1), FenceLevel::Attested);
        let plan = world.plan(Intent::FailOverHost(host(1)), vec![task]);
        let id = world.record(&plan);
        assert!(matches!(world.approve(id, "ben"), Err(Refused::Guard(_))), "nobody attests it");
        world.attest(1, "ann");
        assert_eq!(world.approve(id, "ben"), Ok(1));
        assert_eq!(world.approve(id, "cat"), Ok(0));
        let raise = world.until(StepKind::Raise);
        world.answer_as_agent(&host(2), &raise);
        if expire {
            world.now += world.cluster().policy.attestation_ms + 1;
            world.ok(Command::OpenSession);
        } else {
            world.ok(Command::SignOfLife { host: host(1), seen: "engine".into() });
        }
        assert!(!world.start_all(), "no Promote on a void attestation");
        assert_eq!(world.store(1).master, None);
        // Attested again: it goes on.
        world.attest(1, "dan");
        world.drive();
        assert_eq!(world.store(1).master, Some(slot(2, 1)));
    }
}

/// R8: a Promote that waits for its agent is not sent on after a sign of life.
#[test]
fn r8_an_outstanding_promote_is_not_sent_past_a_sign_of_life() {
    let mut world = World::with_store();
    world.dead.insert(host(1));
    world.attest(1, "ann");
    let task = waiving(&world, 1, &slot(1, 1), &slot(2, 1), FenceLevel::Attested);
    world.start(Intent::FailOverHost(host(1)), vec![task]);
    world.until(StepKind::Promote);
    world.ok(Command::SignOfLife { host: host(1), seen: "engine".into() });
    assert!(world.sends().iter().all(|(_, kind, _)| *kind != StepKind::Promote));
    assert!(runnable(&world.state).iter().any(|i| matches!(i, Runnable::Blocked { .. })));
    world.attest(1, "ann");
    assert_eq!(world.order(StepKind::Promote).id.attempt, 1);
}

/// R14: a leader that has only begun to listen leaves a host it has not heard out of its evidence; that is no silence.
#[test]
fn r14_a_leader_that_has_not_listened_yet_knows_no_silence() {
    let mut world = World::with_store();
    world.dead.insert(host(1));
    world.attest(1, "ann");
    let task = waiving(&world, 1, &slot(1, 1), &slot(2, 1), FenceLevel::Attested);
    let plan = world.plan(Intent::FailOverHost(host(1)), vec![task]);
    let id = world.record(&plan);
    let mut hasty = world.approval(id, "ben");
    if let Command::ApprovePlan { guards, .. } = &mut hasty {
        guards.hosts.remove(&host(1));
    }
    assert!(matches!(world.refused(hasty), Refused::Guard(_)));
    assert_eq!(world.approve(id, "ben"), Ok(1));
}

/// R13: two plans never hold one store; an approved failover takes it, and the other plan goes on without it.
#[test]
fn r13_claims_and_a_failover_that_takes_over() {
    let mut world = World::with_store();
    world.create(2, &[slot(4, 1), slot(3, 2)]);
    let tasks = vec![hand_over(&world, 1, &slot(1, 1), &slot(2, 1)), hand_over(&world, 2, &slot(4, 1), &slot(3, 2))];
    let drain = world.plan(Intent::DrainHost(host(1)), tasks);
    let first = world.record(&drain);
    let second = world.record(&drain);
    assert_eq!(world.approve(first, "ann"), Ok(0));
    assert!(matches!(world.approve(second, "ann"), Err(Refused::Claimed { plan, .. }) if plan == first));
    world.until(StepKind::CatchUp);
    let task = demoting(&world, 1, &slot(1, 1), &slot(3, 1));
    let taker = world.start(Intent::FailOverSlot { slot: slot(1, 1), to: None }, vec![task]);
    assert_eq!(world.run(first, 0).state, TaskState::Superseded { by: taker });
    assert_eq!(world.state.store_claims[&store(1)], taker);
    assert!(world.sends().iter().all(|(step, _, _)| step.plan == taker || step.task == 1), "no order of it is sent on");
    world.drive();
    assert_eq!(world.store(1).master, Some(slot(3, 1)));
    assert_eq!(world.run(first, 1).state, TaskState::Done, "the other store's task went on");
    assert_eq!(world.state.plans[&first].status, PlanStatus::Stopped);
}

/// R13: what a superseded order's agent says later changes nothing.
#[test]
fn r13_a_late_word_of_a_superseded_order_changes_nothing() {
    let (mut world, _) = handing_over();
    let demote = world.until(StepKind::Demote);
    let task = demoting(&world, 1, &slot(2, 1), &slot(3, 1));
    let TaskKind::FailOver { waived, .. } = &task.kind else { panic!() };
    assert!(waived.is_empty());
    let demote_both = [slot(2, 1), slot(1, 1)];
    let (from, to, class) = (slot(2, 1), slot(3, 1), LossClass::NoneProvable);
    let fence = FenceLevel::Demoted;
    let task =
        Failover { from: &from, to: &to, fence, demote: &demote_both, waived: &[], class, candidate: tip(1, 11) }
            .task(&world, 1);
    world.start(Intent::FailOverSlot { slot: from.clone(), to: None }, vec![task]);
    let before = world.store(1).clone();
    let late = world.finish(demote.id, Outcome::Done(Done::Tip { tip: tip(1, 11), history: vec![] }));
    assert!(matches!(late, Answer::Refused(_)));
    assert_eq!(*world.store(1), before);
    world.drive();
    assert_eq!((world.store(1).master.clone(), world.store(1).epoch), (Some(slot(3, 1)), epoch(3)));
}
