//! Directed runs for the bugs planted in the state machine, the planner and the coordinator.
//!
//! What always holds: each is the schedule that its bug's `how` tells. Store 1 is what they are about; its master is A, its
//! other copies are B and C.

use super::*;
use slot_coordinator::core::{ControlRequest, Failure, Reply};
use slot_machine::command::RequestId;
use slot_machine::state::StepState;
use slot_types::plan::{Intent, Plan, StepKind};
use slot_types::position::ShortDigest;
use slot_types::view::Query;

/// The schedules.
pub(super) const SCRIPTS: &[Script] = &[
    Script { name: "r1-promote-against-freeze", swarm: |_| Swarm::calm(2, 1, 2, 0), play: thaw_before_demote },
    Script { name: "s2-older-disk-accepted", swarm: three, play: older_disk },
    Script { name: "s2-new-disk-admits-itself", swarm: three, play: new_disk },
    Script { name: "r3-former-master-forgotten", swarm: three, play: former_master },
    Script { name: "r3-half-made-master-forgotten", swarm: three, play: half_made_master },
    Script { name: "r4-abort-forgets-started", swarm: three, play: abort_while_freezing },
    Script { name: "r4-new-leader-starts-anew", swarm: three, play: leader_dies_at_step },
    Script { name: "r6-epoch-before-last-yes", swarm: three, play: one_yes_of_two },
    Script { name: "r7-furthest-raised-ignored", swarm: |_| Swarm::calm(3, 1, 3, 1), play: furthest_raised },
    Script { name: "r7-unheard-copy-counted", swarm: |_| Swarm::calm(3, 1, 3, 1), play: unheard_copy },
    Script { name: "r8-sign-of-life-ignored", swarm: three, play: sign_of_life },
    Script { name: "r13-store-claim-not-checked", swarm: three, play: two_hand_overs },
    Script { name: "r13-superseded-plan-goes-on", swarm: three, play: superseded },
    Script { name: "r14-guards-skipped-at-commit", swarm: three, play: silent_at_commit },
    Script { name: "r14-stale-plan-executed-late", swarm: three, play: stale_plan },
    Script { name: "r15-new-leader-encodes-anew", swarm: three, play: plan_over_leaders },
    Script { name: "r16-done-before-followers", swarm: three, play: silent_follower },
    Script { name: "r17-approvals-survive-a-new-leader", swarm: three, play: yes_over_leaders },
    Script { name: "r18-abort-after-commit-thaws", swarm: three, play: abort_after_commit },
    Script { name: "r20-unknown-command-skipped", swarm: three, play: sign_of_life },
    Script { name: "r21-dedup-by-high-water-mark", swarm: three, play: sequence_out_of_order },
    Script { name: "r21-evicted-session-applied-anew", swarm: three, play: evicted_session },
    Script { name: "r25-start-master-after-commit", swarm: three, play: late_start_master },
    Script { name: "r27-ended-boot-comes-back", swarm: three, play: report_of_ended_boot },
    Script { name: "r27-order-moved-to-new-boot", swarm: three, play: order_over_boots },
    Script { name: "r28-waived-master-forgotten", swarm: three, play: waived_master },
    Script { name: "s3-epoch-allocated-twice", swarm: three, play: epoch_twice },
    Script { name: "s5-rejected-plan-approved", swarm: three, play: approve_rejected },
    Script { name: "s5-other-digest-approved", swarm: three, play: approve_other_digest },
    Script { name: "s5-expired-approval-accepted", swarm: three, play: approve_late },
    Script { name: "s5-same-person-twice", swarm: three, play: approve_twice },
    Script { name: "s7-attestation-unchecked-at-promote", swarm: three, play: attestation_expires },
    Script { name: "s8-silent-counts-as-stopped", swarm: three, play: drain_the_silent },
    Script { name: "s9-two-copies-one-rack", swarm: |_| Swarm::calm(4, 1, 2, 0), play: rack_moves },
    Script { name: "s13-read-from-leader-memory", swarm: three, play: deposed_reader },
];

fn three(_: &mut Stream) -> Swarm {
    Swarm::calm(3, 1, 3, 0)
}

/// The copies of store 1, the master's first.
pub(super) fn copies<const N: usize>(sim: &Sim) -> Option<[SlotId; N]> {
    sim.copies_of("store1").try_into().ok()
}

/// Another master for a slot's store: planned where the master is well.
pub(super) fn over(from: &SlotId, to: &SlotId) -> Intent {
    Intent::FailOverSlot { slot: from.clone(), to: Some(to.clone()) }
}

/// Plans an intent, with everybody's yes, until it starts; not for ever.
pub(super) fn begin(sim: &mut Sim, intent: &Intent, tries: u32) -> Option<PlanId> {
    for _ in 0..tries {
        if let Some((id, digest)) = proposed(sim, intent) {
            for who in ["alice", "bob", "carol"] {
                let _ = sim.approve(who, id, digest);
                if sim.record(id).is_some_and(|p| p.started.is_some()) {
                    return Some(id);
                }
            }
        }
        sim.run_for(700);
    }
    None
}

/// A plan that waits for people; asked for again while the planner refuses for now.
fn proposed(sim: &mut Sim, intent: &Intent) -> Option<(PlanId, ShortDigest)> {
    for _ in 0..5 {
        if let Ok((id, plan)) = sim.plan("alice", intent.clone()) {
            return Some((id, Plan::digest_of(&plan.bytes()).short()));
        }
        sim.run_for(500);
    }
    None
}

/// Whether a plan has started a step of a kind, and it is not over.
fn is_at(sim: &Sim, id: PlanId, kind: StepKind) -> bool {
    sim.record(id).is_some_and(|record| {
        let tasks = record.plan.tasks.iter().zip(&record.tasks);
        let mut steps = tasks.flat_map(|(task, run)| task.steps.iter().zip(&run.steps));
        steps.any(|(step, run)| step.kind == kind && matches!(run.state, StepState::Started { .. }))
    })
}

fn is_pending(sim: &Sim, slot: &SlotId) -> bool {
    sim.fleet().is_some_and(|c| c.stores.values().any(|s| s.pending.as_ref() == Some(slot)))
}

/// A host loses its power, and somebody who stands before it says so.
fn off_and_attested(sim: &mut Sim, host: &HostName) {
    sim.power_off_now(host);
    sim.run_for(5_000);
    let _ = sim.attest(host);
}

/// R1: A thaws between the commit and its Demote, and acknowledges what B is cut off from.
fn thaw_before_demote(sim: &mut Sim, dice: &mut Stream) {
    let Some([a, b]) = copies(sim) else { return };
    sim.trap("slotd-started-demote", 0, Injection::Silence(a.host.clone(), dice.within(17_000, 20_000)));
    begin(sim, &over(&a, &b), 5);
    sim.run_until(5_000, |sim| is_pending(sim, &b));
    sim.part_hosts(&a.host, &b.host, 40_000);
    sim.run_for(45_000);
}

/// S2: a disk is put back to what it was before it acknowledged orders.
fn older_disk(sim: &mut Sim, dice: &mut Stream) {
    let Some([a, b, c]) = copies::<3>(sim) else { return };
    sim.keep_now(&c.host);
    if let Some(id) = begin(sim, &over(&a, &b), 5) {
        sim.run_plan(id, 20_000);
    }
    sim.run_for(dice.within(7_000, 9_000));
    sim.put_back_now(&c.host, 1_000);
    sim.run_for(20_000);
}

/// S2: a replica's host comes back with an empty disk.
fn new_disk(sim: &mut Sim, dice: &mut Stream) {
    let Some([_, _, c]) = copies(sim) else { return };
    sim.wipe(&c.host, dice.within(500, 3_000));
    sim.run_for(10_000);
}

/// R3: A is cut off before its Demote reaches it, and the next failover goes on without it.
fn former_master(sim: &mut Sim, dice: &mut Stream) {
    let Some([a, b, c]) = copies(sim) else { return };
    sim.trap("slotd-started-demote", 0, Injection::Silence(a.host.clone(), 40_000));
    let Some(id) = begin(sim, &over(&a, &b), 5) else { return };
    sim.run_until(5_000, |sim| is_pending(sim, &b));
    sim.run_for(dice.within(4_000, 6_000));
    let _ = sim.abort(id);
    if let Some(id) = begin(sim, &over(&b, &c), 6) {
        sim.run_plan(id, 20_000);
    }
}

/// R3: B was told to become master, nobody knows whether it did, and it is forgotten two epochs later.
fn half_made_master(sim: &mut Sim, dice: &mut Stream) {
    let Some([a, b, c]) = copies(sim) else { return };
    sim.trap("accepts-promote", 0, Injection::PowerOff(b.host.clone(), 600_000));
    begin(sim, &over(&a, &b), 5);
    sim.run_until(10_000, |sim| !sim.has_power(&b.host));
    sim.run_for(dice.within(4_000, 6_000));
    let _ = sim.attest(&b.host);
    two_more(sim, (&b, &c), (&c, &a));
}

/// A failover past a host that is off, and a hand-over while it still is.
fn two_more(sim: &mut Sim, first: (&SlotId, &SlotId), second: (&SlotId, &SlotId)) {
    if let Some(id) = begin(sim, &over(first.0, first.1), 6) {
        sim.run_plan(id, 40_000);
    }
    sim.run_for(3_000);
    if let Some(id) = begin(sim, &over(second.0, second.1), 4) {
        sim.run_plan(id, 20_000);
    }
}

/// R4: a person aborts while the Freeze is on its way.
fn abort_while_freezing(sim: &mut Sim, dice: &mut Stream) {
    let Some([a, b, _]) = copies(sim) else { return };
    sim.trap("deliver-freeze", 0, Injection::Late(dice.within(2_000, 4_000)));
    let Some(id) = begin(sim, &over(&a, &b), 5) else { return };
    sim.run_until(5_000, |sim| is_at(sim, id, StepKind::Freeze));
    let _ = sim.abort(id);
    sim.run_for(10_000);
}

/// R4, R21: the leader dies while an order is out.
fn leader_dies_at_step(sim: &mut Sim, dice: &mut Stream) {
    let Some([a, b, _]) = copies(sim) else { return };
    let place = ["slotd-started-freeze", "slotd-started-demote", "slotd-started-follow"][dice.within(0, 2) as usize];
    sim.trap(place, 0, Injection::KillLeader(3_000));
    if let Some(id) = begin(sim, &over(&a, &b), 5) {
        sim.run_plan(id, 30_000);
    }
}

/// R6: a failover needs two people, and one has said yes.
fn one_yes_of_two(sim: &mut Sim, dice: &mut Stream) {
    let Some([a, b, _]) = copies(sim) else { return };
    off_and_attested(sim, &a.host);
    let Some((id, digest)) = proposed(sim, &over(&a, &b)) else { return };
    let _ = sim.approve("bob", id, digest);
    sim.run_for(dice.within(500, 2_000));
    let _ = sim.ask_and_wait("carol", reject(id));
}

fn reject(plan: PlanId) -> ControlRequest {
    ControlRequest::RejectPlan { request: None, plan, reason: "no".into() }
}

/// R7: after the sheet was made A acknowledges through C alone; then it dies.
fn furthest_raised(sim: &mut Sim, dice: &mut Stream) {
    let Some([a, b, c]) = copies::<3>(sim) else { return };
    sim.silence_now(&a.host, 60_000);
    sim.run_for(2_000);
    // Nobody writes for a while, so that both copies are seen to be equal.
    let (clients, host) = (Place::Outside, Place::Host(a.host.clone()));
    sim.cut(clients, host, 3_500);
    sim.run_for(3_200);
    sim.part_hosts(&a.host, &b.host, 120_000);
    let _ = sim.attest(&a.host);
    let begun = sim.now();
    begin(sim, &over(&a, &b), 1);
    let left = (begun + dice.within(1_300, 1_900)).saturating_sub(sim.now());
    sim.run_for(left);
    sim.power_off_now(&a.host);
    sim.run_for(20_000);
    drop(c);
}

/// R7: A acknowledged through C alone, dies, and nobody hears C.
fn unheard_copy(sim: &mut Sim, dice: &mut Stream) {
    let Some([a, b, c]) = copies(sim) else { return };
    sim.part_hosts(&a.host, &b.host, 8_000);
    sim.run_for(dice.within(2_500, 4_000));
    sim.silence_now(&c.host, 60_000);
    sim.part_hosts(&c.host, &b.host, 60_000);
    off_and_attested(sim, &a.host);
    if let Some(id) = begin(sim, &over(&a, &b), 5) {
        sim.run_plan(id, 30_000);
    }
}

/// R8, R20: an agent is dead, its engine serves, and somebody says in good faith that the host is off.
fn sign_of_life(sim: &mut Sim, dice: &mut Stream) {
    let Some([a, _, _]) = copies(sim) else { return };
    sim.kill_now(&Node::Agent(a.host.clone()));
    sim.run_for(dice.within(4_000, 6_000));
    let _ = sim.attest(&a.host);
    sim.run_for(12_000);
}

/// R13: two hand-overs of one store get their yes in the same moment.
fn two_hand_overs(sim: &mut Sim, _: &mut Stream) {
    let Some([a, b, c]) = copies(sim) else { return };
    let plans = [proposed(sim, &over(&a, &b)), proposed(sim, &over(&a, &c))];
    let tokens: Vec<u64> = plans.into_iter().flatten().map(|(id, digest)| post_yes(sim, "alice", id, digest)).collect();
    sim.run_until(3_000, |sim| tokens.iter().all(|token| sim.posted.contains_key(token)));
    sim.run_for(5_000);
}

fn post_yes(sim: &mut Sim, who: &str, plan: PlanId, digest: ShortDigest) -> u64 {
    sim.post(who, ControlRequest::ApprovePlan { request: None, plan, digest, reason: "yes".into() })
}

/// R13: a failover takes the store from a hand-over that waits for B.
fn superseded(sim: &mut Sim, dice: &mut Stream) {
    let Some([a, b, c]) = copies(sim) else { return };
    sim.trap("slotd-started-catch-up", 0, Injection::PowerOff(a.host.clone(), 120_000));
    begin(sim, &over(&a, &b), 5);
    sim.run_until(5_000, |sim| !sim.has_power(&a.host));
    sim.run_for(dice.within(4_000, 6_000));
    let _ = sim.attest(&a.host);
    if let Some(id) = begin(sim, &over(&a, &c), 6) {
        sim.run_plan(id, 20_000);
    }
}

/// R14: nobody has heard A for a while when the epoch is to be committed.
fn silent_at_commit(sim: &mut Sim, dice: &mut Stream) {
    let Some([a, b, _]) = copies(sim) else { return };
    sim.trap("slotd-started-catch-up", 0, Injection::Silence(a.host.clone(), 25_000));
    sim.trap("deliver-catch-up", 0, Injection::Late(dice.within(5_500, 6_500)));
    sim.trap("deliver-catch-up", 0, Injection::Lose);
    if let Some(id) = begin(sim, &over(&a, &b), 5) {
        sim.run_plan(id, 20_000);
    }
}

/// S5, R14: the master has moved since a plan was made.
fn stale_plan(sim: &mut Sim, dice: &mut Stream) {
    let Some([a, b, c]) = copies(sim) else { return };
    let Some((old, digest)) = proposed(sim, &over(&a, &b)) else { return };
    if let Some(id) = begin(sim, &over(&a, &c), 5) {
        sim.run_plan(id, 20_000);
    }
    sim.run_for(dice.within(100, 5_000));
    let _ = sim.approve("alice", old, digest);
    sim.run_for(5_000);
}

/// R15: the leader changes while a plan waits.
fn plan_over_leaders(sim: &mut Sim, dice: &mut Stream) {
    let Some([a, b, _]) = copies(sim) else { return };
    let Some((id, digest)) = proposed(sim, &over(&a, &b)) else { return };
    another_leader(sim, dice);
    let _ = sim.approve("alice", id, digest);
    sim.run_for(3_000);
}

/// The leader is killed, and another is ready.
pub(super) fn another_leader(sim: &mut Sim, dice: &mut Stream) {
    sim.strike(Injection::KillLeader(dice.within(3_000, 6_000)));
    sim.run_until(20_000, |sim| sim.leader().is_some());
    sim.run_for(4_500);
}

/// R16: C can't be told whom to follow.
fn silent_follower(sim: &mut Sim, dice: &mut Stream) {
    let Some([a, b, c]) = copies::<3>(sim) else { return };
    sim.trap("slotd-started-promote", 0, Injection::Silence(c.host.clone(), dice.within(8_000, 20_000)));
    if let Some(id) = begin(sim, &over(&a, &b), 5) {
        sim.run_plan(id, 15_000);
    }
}

/// R17: one yes before, one after a change of leader.
fn yes_over_leaders(sim: &mut Sim, dice: &mut Stream) {
    let Some([a, b, _]) = copies(sim) else { return };
    off_and_attested(sim, &a.host);
    let Some((id, digest)) = proposed(sim, &over(&a, &b)) else { return };
    let _ = sim.approve("bob", id, digest);
    another_leader(sim, dice);
    let _ = sim.approve("carol", id, digest);
    sim.run_for(8_000);
}

/// R18: a person aborts when the epoch is committed and A is not demoted.
fn abort_after_commit(sim: &mut Sim, dice: &mut Stream) {
    let Some([a, b, _]) = copies(sim) else { return };
    sim.trap("slotd-started-demote", 0, Injection::Silence(a.host.clone(), dice.within(3_000, 6_000)));
    let Some(id) = begin(sim, &over(&a, &b), 5) else { return };
    sim.run_until(5_000, |sim| is_pending(sim, &b));
    let _ = sim.abort(id);
    sim.run_for(20_000);
}

fn open_session(sim: &mut Sim) -> Option<u64> {
    match sim.ask_and_wait("alice", ControlRequest::OpenSession) {
        Ok(Reply::Session(session)) => Some(session),
        _ => None,
    }
}

fn attest_within(request: RequestId, host: &HostName) -> ControlRequest {
    ControlRequest::Attest { request: Some(request), host: host.clone(), how: "seen from afar".into() }
}

/// R21: sequence 2 of a session arrives before sequence 1.
fn sequence_out_of_order(sim: &mut Sim, _: &mut Stream) {
    let Some([a, b, _]) = copies(sim) else { return };
    let Some(session) = open_session(sim) else { return };
    let _ = sim.ask_and_wait("alice", attest_within(RequestId { session, sequence: 2 }, &a.host));
    let _ = sim.ask_and_wait("alice", attest_within(RequestId { session, sequence: 1 }, &b.host));
    sim.run_for(2_000);
}

/// R21: a change is asked again when its session has long been forgotten.
fn evicted_session(sim: &mut Sim, _: &mut Stream) {
    let Some([a, _, _]) = copies(sim) else { return };
    let Some(session) = open_session(sim) else { return };
    let change = attest_within(RequestId { session, sequence: 1 }, &a.host);
    let _ = sim.ask_and_wait("alice", change.clone());
    for _ in 0..11 {
        let tokens: Vec<u64> = (0..100).map(|_| sim.post("bob", ControlRequest::OpenSession)).collect();
        sim.run_until(6_500, |sim| tokens.iter().all(|token| sim.posted.contains_key(token)));
    }
    let _ = sim.ask_and_wait("alice", change);
    sim.run_for(1_000);
}

/// R25: a StartMaster is out when its host loses power and the store fails over.
fn late_start_master(sim: &mut Sim, dice: &mut Stream) {
    let Some([a, b, _]) = copies(sim) else { return };
    sim.trap("slotd-started-start-master", 0, Injection::PowerOff(a.host.clone(), 120_000));
    sim.kill_now(&Node::Engine(a.clone()));
    sim.run_until(20_000, |sim| !sim.has_power(&a.host));
    sim.run_for(dice.within(4_000, 5_000));
    let _ = sim.attest(&a.host);
    if let Some(id) = begin(sim, &over(&a, &b), 6) {
        sim.run_plan(id, 20_000);
    }
}

/// R27: a report of a boot comes when orders for it have been refused as ended.
fn report_of_ended_boot(sim: &mut Sim, dice: &mut Stream) {
    let Some([a, b, _]) = copies(sim) else { return };
    sim.run_for(2_500);
    let old = sim.agents.get(&a.host).and_then(|node| node.last_report.clone());
    sim.trap("slotd-started-freeze", 0, Injection::PowerOff(a.host.clone(), dice.within(500, 1_500)));
    begin(sim, &over(&a, &b), 1);
    sim.run_until(20_000, |sim| sim.state().is_some_and(|state| state.ended_boots.contains_key(&a.host)));
    // What was proposed of a host is not proposed again at once, and an older disk is told from a late report in time.
    for _ in 0..3 {
        sim.run_for(dice.within(1_050, 1_250));
        if let (Some(old), Some(leader)) = (&old, sim.leader()) {
            let number = sim.number();
            sim.send(Place::Host(a.host.clone()), Node::Coordinator(leader), Kind::Report, number, old);
        }
    }
}

/// R27: B boots again while its Promote is out.
fn order_over_boots(sim: &mut Sim, dice: &mut Stream) {
    let Some([a, b, _]) = copies(sim) else { return };
    sim.trap("slotd-started-promote", 0, Injection::PowerOff(b.host.clone(), dice.within(500, 2_500)));
    if let Some(id) = begin(sim, &over(&a, &b), 5) {
        sim.run_plan(id, 25_000);
    }
}

/// R28: A was waived for B, and is still off when C takes over from B.
fn waived_master(sim: &mut Sim, _: &mut Stream) {
    let Some([a, b, c]) = copies(sim) else { return };
    off_and_attested(sim, &a.host);
    two_more(sim, (&a, &b), (&b, &c));
}

/// S3: B dies before it is promoted, and C gets the next epoch.
fn epoch_twice(sim: &mut Sim, dice: &mut Stream) {
    let Some([a, b, c]) = copies(sim) else { return };
    off_and_attested(sim, &a.host);
    sim.trap("slotd-started-raise", 0, Injection::PowerOff(b.host.clone(), 600_000));
    begin(sim, &over(&a, &b), 5);
    sim.run_until(15_000, |sim| !sim.has_power(&b.host));
    sim.run_for(dice.within(4_000, 6_000));
    let _ = sim.attest(&b.host);
    if let Some(id) = begin(sim, &over(&b, &c), 6) {
        sim.run_plan(id, 20_000);
    }
}

/// S5: somebody had the plan on the screen when another rejected it.
fn approve_rejected(sim: &mut Sim, _: &mut Stream) {
    let Some([a, b, _]) = copies(sim) else { return };
    let Some((id, digest)) = proposed(sim, &over(&a, &b)) else { return };
    let _ = sim.ask_and_wait("bob", reject(id));
    let _ = sim.approve("alice", id, digest);
    sim.run_for(3_000);
}

/// S5: a stale screen showed another plan's digest.
fn approve_other_digest(sim: &mut Sim, _: &mut Stream) {
    let Some([a, b, c]) = copies(sim) else { return };
    let (one, other) = (proposed(sim, &over(&a, &b)), proposed(sim, &over(&a, &c)));
    let (Some((id, _)), Some((_, digest))) = (one, other) else { return };
    let _ = sim.approve("alice", id, digest);
    sim.run_for(3_000);
}

/// Another policy, by the cluster file.
fn with_policy(sim: &mut Sim, change: impl FnOnce(&mut slot_types::cluster::Policy)) {
    let mut fleet = fleet_of(&sim.swarm);
    change(&mut fleet.policy);
    if let Some(id) = begin(sim, &Intent::Apply(Box::new(fleet)), 5) {
        sim.run_plan(id, 10_000);
    }
}

/// S5: a plan waits for longer than policy says.
fn approve_late(sim: &mut Sim, dice: &mut Stream) {
    let Some([a, b, _]) = copies(sim) else { return };
    with_policy(sim, |policy| policy.plan_valid_ms = 600);
    let Some((id, digest)) = proposed(sim, &over(&a, &b)) else { return };
    sim.run_for(dice.within(700, 900));
    let _ = sim.approve("alice", id, digest);
    sim.run_for(3_000);
}

/// S5: a failover needs two people, and one says yes twice.
fn approve_twice(sim: &mut Sim, _: &mut Stream) {
    let Some([a, b, _]) = copies(sim) else { return };
    off_and_attested(sim, &a.host);
    let Some((id, digest)) = proposed(sim, &over(&a, &b)) else { return };
    let _ = sim.approve("bob", id, digest);
    let _ = sim.approve("bob", id, digest);
    sim.run_for(3_000);
}

/// S7, R8: an attestation expires while C can't be raised.
fn attestation_expires(sim: &mut Sim, dice: &mut Stream) {
    let Some([a, b, c]) = copies(sim) else { return };
    with_policy(sim, |policy| policy.attestation_ms = 8_000);
    sim.power_off_now(&a.host);
    sim.run_for(5_000);
    let _ = sim.attest(&a.host);
    sim.trap("slotd-started-raise", 0, Injection::Silence(c.host.clone(), dice.within(9_000, 12_000)));
    if let Some(id) = begin(sim, &over(&a, &b), 2) {
        sim.run_plan(id, 30_000);
    }
}

/// S8: an agent dies before it is told to stop its engine.
fn drain_the_silent(sim: &mut Sim, _: &mut Stream) {
    let Some([_, _, c]) = copies::<3>(sim) else { return };
    sim.trap("slotd-started-stop", 0, Injection::Silence(c.host.clone(), 120_000));
    if let Some(id) = begin(sim, &Intent::DrainHost(c.host.clone()), 5) {
        sim.run_plan(id, 110_000);
    }
}

/// S9: a host moves to another rack in the moment in which copies are placed.
fn rack_moves(sim: &mut Sim, _: &mut Stream) {
    let Some([a, b]) = copies(sim) else { return };
    let old = fleet_of(&sim.swarm);
    let free: Vec<HostName> = old.hosts.keys().filter(|host| **host != a.host && **host != b.host).cloned().collect();
    let [one, other] = free.as_slice() else { return };
    let (mut moved, mut more) = (old.clone(), old.clone());
    let rack = old.hosts.get(one).map(|host| host.at.clone());
    if let (Some(host), Some(rack)) = (moved.hosts.get_mut(other), rack) {
        host.at = rack;
    }
    if let (Some(spec), Ok(name)) = (old.stores.values().next(), StoreName::new("store2")) {
        more.stores.insert(name, spec.clone());
    }
    let plans = [moved, more].map(|fleet| proposed(sim, &Intent::Apply(Box::new(fleet))));
    for (id, digest) in plans.into_iter().flatten() {
        post_yes(sim, "alice", id, digest);
        // Longer than a message may take, and shorter than a step takes to begin.
        sim.run_for(3);
    }
    sim.run_for(5_000);
}

/// S13: the old leader was stopped with a question in its ear while another was elected.
fn deposed_reader(sim: &mut Sim, dice: &mut Stream) {
    let Some(old) = sim.leader() else { return };
    sim.strike(Injection::IsolateLeader(60_000));
    sim.run_for(dice.within(8, 30));
    sim.pause_now(&Node::Coordinator(old), 60_000);
    sim.post_to(old, "alice", ControlRequest::View { query: Query::Status, stale_ok: false });
    sim.run_until(20_000, |sim| sim.leader().is_some_and(|id| id != old) || other_leads(sim, old));
    sim.run_for(3_000);
    sim.resume_now(&Node::Coordinator(old));
    sim.run_for(3_000);
}

fn other_leads(sim: &Sim, old: u64) -> bool {
    let leads = |node: &Coordinator| node.core.as_ref().is_some_and(|core| core.is_leader());
    sim.coordinators.iter().any(|(id, node)| *id != old && leads(node))
}

/// What a script needs no answer to.
pub(super) fn open_sessions(sim: &mut Sim, number: usize) -> Vec<Result<Reply, Failure>> {
    let tokens: Vec<u64> = (0..number).map(|_| sim.post("bob", ControlRequest::OpenSession)).collect();
    sim.run_until(6_500, |sim| tokens.iter().all(|token| sim.posted.contains_key(token)));
    tokens.iter().filter_map(|token| sim.posted(*token).flatten()).collect()
}
