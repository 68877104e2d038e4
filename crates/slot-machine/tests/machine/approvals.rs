//! S5: every way in which an approval must not work, and R14, R15, R17, R23.

use crate::plans::*;
use crate::world::*;
use slot_machine::command::*;
use slot_machine::state::*;
use slot_types::cluster::*;
use slot_types::ids::*;
use slot_types::plan::*;
use slot_types::position::ShortDigest;

fn dead_master() -> (World, Plan) {
    let mut world = World::with_store();
    world.dead.insert(host(1));
    world.attest(1, "ann");
    let task = waiving(&world, 1, &slot(1, 1), &slot(2, 1), FenceLevel::Attested);
    let plan = world.plan(Intent::FailOverHost(host(1)), vec![task]);
    (world, plan)
}

fn approve_with(world: &World, id: PlanId, by: &str, change: impl FnOnce(&mut Command)) -> Command {
    let mut command = world.approval(id, by);
    change(&mut command);
    command
}

#[test]
fn s5_table_of_refusals() {
    let (mut world, plan) = dead_master();
    let id = world.record(&plan);
    let wrong = approve_with(&world, id, "ben", |c| {
        if let Command::ApprovePlan { digest, .. } = c {
            *digest = ShortDigest([0; 8]);
        }
    });
    assert!(matches!(world.refused(wrong), Refused::OtherDigest { .. }));
    let unknown = approve_with(&world, id, "ben", |c| {
        if let Command::ApprovePlan { plan, .. } = c {
            *plan = PlanId(99);
        }
    });
    assert_eq!(world.refused(unknown), Refused::UnknownPlan(PlanId(99)));
    assert!(matches!(world.approve(id, "ann"), Err(Refused::RequesterMayNotApprove { people: 2, .. })));
    assert_eq!(world.approve(id, "ben"), Ok(1));
    assert!(matches!(world.approve(id, "ben"), Err(Refused::ApprovedAlready { .. })));
    assert_eq!(world.store(1).epoch, epoch(1), "one of two allocates nothing");
    assert_eq!(world.approve(id, "cat"), Ok(0));
    // Consumed: the same approval starts nothing twice (R6).
    assert!(matches!(world.approve(id, "dan"), Err(Refused::WrongStatus { .. })));
    assert_eq!(world.store(1).epoch, epoch(2));
}

#[test]
fn s5_an_approval_expires_by_log_time() {
    let (mut world, plan) = dead_master();
    let id = world.record(&plan);
    world.now += plan.valid_ms + 1;
    assert_eq!(world.approve(id, "ben"), Err(Refused::Expired(id)));
    // Nor does a plan wait longer than policy because it says so itself.
    let (mut world, mut plan) = dead_master();
    plan.valid_ms = u64::MAX;
    let id = world.record(&plan);
    world.now += world.cluster().policy.plan_valid_ms + 1;
    assert_eq!(world.approve(id, "ben"), Err(Refused::Expired(id)));
}

#[test]
fn s5_rejected_and_aborted_plans_never_start() {
    let (mut world, plan) = dead_master();
    let first = world.record(&plan);
    world.ok(Command::RejectPlan { plan: first, by: person("ben"), reason: "no".into() });
    assert!(matches!(world.approve(first, "cat"), Err(Refused::WrongStatus { .. })));
    let second = world.record(&plan);
    world.ok(Command::AbortPlan { plan: second, by: person("ben"), reason: "no".into() });
    assert!(matches!(world.approve(second, "cat"), Err(Refused::WrongStatus { .. })));
}

/// R14: the digest covers the versions of what a plan touches, and nothing else.
#[test]
fn r14_changed_facts_refuse_at_recording_and_at_each_yes() {
    let (mut world, plan) = dead_master();
    let id = world.record(&plan);
    assert_eq!(world.approve(id, "ben"), Ok(1));
    world.seen(4, 2);
    let why = world.approve(id, "cat");
    assert!(matches!(&why, Err(Refused::FactsChanged { entity, .. }) if entity == "h4"), "{why:?}");
    assert!(matches!(world.propose(&plan), Answer::Refused(Refused::FactsChanged { .. })));
    // A host it does not touch may change.
    let (mut world, plan) = dead_master();
    let id = world.record(&plan);
    world.seen(3, 2);
    assert_eq!(world.approve(id, "ben"), Ok(1));
}

#[test]
fn r14_a_plan_names_the_version_of_all_it_touches() {
    let (mut world, plan) = dead_master();
    for entity in plan.facts.keys().filter(|e| **e != EntityRef::Fleet && **e != EntityRef::Host(host(3))) {
        let mut less = plan.clone();
        less.facts.remove(entity);
        let answer = world.propose(&less);
        assert!(matches!(answer, Answer::Refused(Refused::BadPlan(_))), "without {entity}: {answer:?}");
    }
}

/// R14, R8: what the sheet rests on is looked at again at every yes.
#[test]
fn r14_a_master_that_answers_again_is_not_failed_over() {
    let (mut world, plan) = dead_master();
    let id = world.record(&plan);
    assert_eq!(world.approve(id, "ben"), Ok(1));
    world.dead.clear();
    assert!(matches!(world.approve(id, "cat"), Err(Refused::Guard(_))));
    assert_eq!(world.store(1).master, Some(slot(1, 1)));
}

#[test]
fn r15_what_is_recorded_are_the_bytes_themselves() {
    let (mut world, plan) = dead_master();
    let id = world.record(&plan);
    let record = &world.state.plans[&id];
    assert_eq!(record.bytes, plan.bytes());
    assert_eq!(record.digest, Plan::digest_of(&plan.bytes()));
    assert_eq!(record.plan, plan);
    let mut other = plan.clone();
    other.reason = "another".into();
    let other = world.record(&other);
    assert_ne!(world.state.plans[&other].digest, world.state.plans[&id].digest);
    // One plan, one encoding: swapped map entries are refused.
    let mut trailing = plan.bytes();
    trailing.push(0);
    assert!(matches!(world.apply(Command::RecordPlan { bytes: trailing }), Answer::Refused(Refused::BadPlan(_))));
}

/// R17: a new leader voids the approvals of plans that have not started; log time never goes back.
#[test]
fn r17_a_new_leader_voids_approvals() {
    let (mut world, plan) = dead_master();
    let id = world.record(&plan);
    assert_eq!(world.approve(id, "ben"), Ok(1));
    world.ok(Command::NewLeader { node: CoordinatorName::new("c2").unwrap() });
    assert_eq!(world.approve(id, "cat"), Ok(1), "ben's yes is void");
    assert_eq!(world.approve(id, "ben"), Ok(0));
    let before = world.state.log_time;
    world.now = 1;
    world.ok(Command::OpenSession);
    assert_eq!(world.state.log_time, before);
}

/// The number of people is policy's at the moment of the yes, whatever the plan asks for.
#[test]
fn s5_people_are_counted_by_policy_as_it_is_now() {
    let mut world = World::with_store();
    world.cluster_mut().policy.two_if_unfenced = false;
    world.cluster_mut().policy.two_if_loss = false;
    world.dead.insert(host(1));
    world.attest(1, "ann");
    let mut task = waiving(&world, 1, &slot(1, 1), &slot(2, 1), FenceLevel::Attested);
    if let TaskKind::FailOver { loss, .. } = &mut task.kind {
        loss.class = LossClass::CaughtUp;
    }
    let mut plan = world.plan(Intent::FailOverHost(host(1)), vec![task]);
    plan.people = 0;
    let id = world.record(&plan);
    assert_eq!(world.state.plans[&id].people, 1);
    world.cluster_mut().policy.two_if_unfenced = true;
    assert!(matches!(world.approve(id, "ann"), Err(Refused::RequesterMayNotApprove { .. })));
    assert_eq!(world.approve(id, "ben"), Ok(1));
    assert_eq!(world.approve(id, "cat"), Ok(0));
}

#[test]
fn s5_a_site_may_ask_two_for_every_failover() {
    let mut world = World::with_store();
    world.cluster_mut().policy.failover_people = 2;
    let task = demoting(&world, 1, &slot(1, 1), &slot(2, 1));
    let plan = world.plan(Intent::FailOverSlot { slot: slot(1, 1), to: None }, vec![task]);
    let id = world.record(&plan);
    assert_eq!(world.approve(id, "ben"), Ok(1));
}

/// R23: many silent hosts look like our own partition.
#[test]
fn r23_many_silent_hosts_need_a_second_person() {
    let mut world = World::with_store();
    let task = demoting(&world, 1, &slot(1, 1), &slot(2, 1));
    let mut plan = world.plan(Intent::FailOverSlot { slot: slot(1, 1), to: None }, vec![task]);
    let one = world.record(&plan);
    assert_eq!(world.state.plans[&one].people, 1);
    let allowed = world.cluster().policy.brake_silent_hosts;
    plan.silent_hosts = allowed + 1;
    let refused = world.refused(Command::RecordPlan { bytes: plan.bytes() });
    assert_eq!(refused, Refused::Brake { silent: allowed + 1, allowed });
    plan.said.mass = true;
    let two = world.record(&plan);
    assert_eq!(world.state.plans[&two].people, 2);
    // The brake of the day of the yes counts too.
    plan.said.mass = false;
    plan.silent_hosts = allowed;
    let three = world.record(&plan);
    world.cluster_mut().policy.brake_silent_hosts = allowed - 1;
    assert_eq!(world.approve(three, "ben"), Err(Refused::Brake { silent: allowed, allowed: allowed - 1 }));
}

/// R23, R14: what was silent when the plan was made is not what counts: the sheet of one dead host must not be carried out
/// while our own uplink is down, nor by the one person who sufficed before.
#[test]
fn r23_hosts_that_fell_silent_since_the_plan_was_made_count_at_the_yes() {
    let mut world = World::with_store();
    let allowed = 1;
    world.cluster_mut().policy.brake_silent_hosts = allowed;
    let task = demoting(&world, 1, &slot(1, 1), &slot(2, 1));
    let mut plan = world.plan(Intent::FailOverSlot { slot: slot(1, 1), to: None }, vec![task]);
    let unknowing = world.record(&plan);
    plan.said.mass = true;
    let knowing = world.record(&plan);
    assert_eq!(world.state.plans[&knowing].people, 1, "nothing else was silent then");

    world.dead = [host(3), host(4)].into();
    assert_eq!(world.approve(unknowing, "ben"), Err(Refused::Brake { silent: 2, allowed }));
    assert_eq!(world.approve(knowing, "ben"), Ok(1), "a second person");
    assert_eq!(world.store(1).epoch, epoch(1));
    world.dead.clear();
    assert_eq!(world.approve(unknowing, "ben"), Ok(0), "they are heard again");
}

#[test]
fn unfenced_only_where_policy_allows_it() {
    let mut world = World::with_store();
    world.cluster_mut().policy.allow_unfenced = false;
    world.dead.insert(host(1));
    let task = waiving(&world, 1, &slot(1, 1), &slot(2, 1), FenceLevel::None);
    let plan = world.plan(Intent::FailOverHost(host(1)), vec![task]);
    let id = world.record(&plan);
    assert!(matches!(world.approve(id, "ben"), Err(Refused::Precondition(_))));
    world.cluster_mut().policy.allow_unfenced = true;
    assert_eq!(world.approve(id, "ben"), Ok(1));
    assert_eq!(world.approve(id, "cat"), Ok(0));
    world.drive();
    assert_eq!(world.store(1).master, Some(slot(2, 1)));
}

/// Plans that wait are bounded, and those nobody answers go by themselves.
#[test]
fn waiting_plans_are_bounded() {
    let mut world = World::with_store();
    let task = hand_over(&world, 1, &slot(1, 1), &slot(2, 1));
    let plan = world.plan(Intent::FailOverSlot { slot: slot(1, 1), to: None }, vec![task]);
    for _ in 0..PROPOSED_PLANS_MAX {
        world.record(&plan);
    }
    assert!(matches!(world.propose(&plan), Answer::Refused(Refused::Precondition(_))));
    world.now += plan.valid_ms + 1;
    let id = world.record(&plan);
    assert_eq!(world.approve(id, "ann"), Ok(0));
}

/// What every yes of a candidate that fell behind is worth: nothing (R7).
#[test]
fn r7_a_worse_loss_than_approved_is_not_promoted() {
    let mut world = World::with_store();
    world.write(1, 10, &[]);
    world.dead.insert(host(1));
    let (from, to) = (slot(1, 1), slot(2, 1));
    let waived = [from.clone()];
    let candidate = world.tips[&to];
    let (fence, class) = (FenceLevel::None, LossClass::Unknown);
    let task = Failover { from: &from, to: &to, fence, demote: &[], waived: &waived, class, candidate }.task(&world, 1);
    let id = world.start(Intent::FailOverHost(host(1)), vec![task]);
    world.tips.insert(to.clone(), tip(1, 4));
    world.drive();
    assert!(matches!(world.run(id, 0).state, TaskState::NeedsHuman { .. }));
    assert_eq!(world.store(1).master, None);

    // The same where the plan names a feed and has no step for it: Raise alone does not look then.
    let mut world = World::with_store();
    world.write(1, 10, &[]);
    world.dead.insert(host(1));
    let candidate = world.tips[&to];
    let mut task =
        Failover { from: &from, to: &to, fence, demote: &[], waived: &waived, class, candidate }.task(&world, 1);
    if let TaskKind::FailOver { feed, .. } = &mut task.kind {
        *feed = Some(slot(3, 1));
    }
    world.start(Intent::FailOverHost(host(1)), vec![task]);
    world.tips.insert(to.clone(), tip(1, 4));
    world.drive();
    assert!(world.blocked()[0].contains("worse than approved"), "{:?}", world.blocked());
}
