//! The schedules of the rules that random worlds meet too seldom: a campaign plays them among its seeds.
//!
//! What always holds: nothing is asserted here; that the state was reached is counted where the world passes through it.

use super::*;
use slot_coordinator::core::ControlRequest;
use slot_machine::command::RequestId;
use slot_types::cluster::{CopyState, FleetSpec};
use slot_types::plan::{Intent, Plan};
use slot_types::position::Digest;

/// The schedules.
pub(super) const SCRIPTS: &[Script] = &[
    Script { name: "reach/freeze-again-after-thaw", swarm: pair, play: freeze_again },
    Script { name: "reach/thaw-before-commit", swarm: pair, play: thaw_before_commit },
    Script { name: "reach/late-start-master", swarm: pair, play: late_start_master },
    Script { name: "reach/late-start-answer", swarm: pair, play: late_start_answer },
    Script { name: "reach/approval-and-election", swarm: pair, play: approval_and_election },
    Script { name: "reach/two-possible-masters", swarm: triple, play: two_possible_masters },
    Script { name: "reach/approvals-refused", swarm: pair, play: approvals_refused },
    Script { name: "reach/stopped-inside-append", swarm: pair, play: stopped_inside_append },
    Script { name: "reach/order-for-an-ended-boot", swarm: pair, play: ended_boot },
    Script { name: "reach/store-made-again", swarm: pair, play: store_made_again },
    Script { name: "reach/expired-approval", swarm: pair, play: expired },
    Script { name: "reach/thaw-before-demote", swarm: pair, play: thaw_before_demote },
    Script { name: "reach/cancel-of-a-done-freeze", swarm: pair, play: cancel_of_a_done_freeze },
    Script { name: "reach/late-promote", swarm: pair, play: late_promote },
    Script { name: "reach/guard-fails-at-commit", swarm: pair, play: guard_fails_at_commit },
    Script { name: "reach/order-of-a-dead-leader", swarm: pair, play: order_of_a_dead_leader },
    Script { name: "reach/attested-and-serving", swarm: pair, play: attested_and_serving },
    Script { name: "reach/old-disk", swarm: one_pair, play: old_disk },
    Script { name: "reach/agent-dies-in-freeze", swarm: pair, play: agent_dies_in_freeze },
    Script { name: "reach/leader-changes-in-demote", swarm: pair, play: leader_changes_in_demote },
    Script { name: "reach/snapshot-between-steps", swarm: short_log, play: snapshot_between_steps },
    Script { name: "reach/successor-served", swarm: pair, play: successor_served },
    Script { name: "reach/promote-held-after-an-abort", swarm: one_pair, play: held_after_abort },
];

fn pair(dice: &mut Stream) -> Swarm {
    Swarm::calm(2, 1 + u8::from(dice.one_in(3)), 2, u8::from(dice.one_in(3)))
}

fn one_pair(_: &mut Stream) -> Swarm {
    Swarm::calm(2, 1, 2, 0)
}

fn triple(_: &mut Stream) -> Swarm {
    Swarm::calm(3, 1, 3, 0)
}

fn short_log(dice: &mut Stream) -> Swarm {
    Swarm { snapshot_every: dice.within(10, 20), log_tail: dice.within(2, 6), ..Swarm::calm(2, 1, 2, 0) }
}

const STORE: &str = "store1";

/// The master and the next copy.
fn ends(sim: &Sim) -> Option<(SlotId, SlotId)> {
    let mut slots = sim.copies_of(STORE).into_iter();
    Some((slots.next()?, slots.next()?))
}

/// The slot gets another master.
fn away(from: &SlotId, to: &SlotId) -> Intent {
    Intent::FailOverSlot { slot: from.clone(), to: Some(to.clone()) }
}

fn until_master(sim: &mut Sim, slot: &SlotId) -> bool {
    sim.run_until(60_000, |sim| sim.master_of(STORE).as_ref() == Some(slot))
}

fn until_sprung(sim: &mut Sim, left: usize) -> bool {
    sim.run_until(15_000, |sim| sim.triggers.len() <= left)
}

/// Somebody wants it, and it is carried out.
fn carried_out(sim: &mut Sim, intent: Intent) {
    if let Ok(id) = sim.order(intent) {
        sim.run_plan(id, 60_000);
    }
}

/// Every further delivery of this action is lost.
fn lose(sim: &mut Sim, place: &str) {
    for _ in 0..24 {
        sim.trap(place, 0, Injection::Lose);
    }
}

/// R1, R18: a hand-over is aborted in its freeze, and the freeze's order comes once more after the thaw.
fn freeze_again(sim: &mut Sim, dice: &mut Stream) {
    let Some((a, b)) = ends(sim) else { return };
    sim.trap("deliver-freeze", 0, Injection::Again(dice.within(5_000, 9_000)));
    lose(sim, "deliver-catch-up");
    let Ok(id) = sim.order(away(&a, &b)) else { return };
    sim.run_for(dice.within(100, 900));
    drop(sim.abort(id));
    sim.triggers.clear();
    sim.run_plan(id, 30_000);
    sim.run_for(10_000);
}

/// R1, R12: the copies were found equal, nobody leads until the freeze is over, and then the epoch is committed.
fn thaw_before_commit(sim: &mut Sim, dice: &mut Stream) {
    let (Some((a, b)), Some(leader)) = (ends(sim), sim.leader()) else { return };
    let follower = Node::Coordinator(leader % 3 + 1);
    sim.kill_now(&follower);
    sim.trap("answers-order", 1, Injection::KillLeader(dice.within(17_000, 22_000)));
    let Ok(id) = sim.order(away(&a, &b)) else { return sim.start_now(&follower) };
    sim.run_for(24_000);
    sim.run_plan(id, 30_000);
    sim.start_now(&follower);
    sim.run_for(2_000);
}

/// R5, R13: a StartMaster is late, and its store has another master when it comes.
fn late_start_master(sim: &mut Sim, dice: &mut Stream) {
    let Some((a, b)) = ends(sim) else { return };
    sim.trap("deliver-start-master", 0, Injection::Late(dice.within(12_000, 15_000)));
    lose(sim, "deliver-start-master");
    sim.kill_now(&Node::Engine(a.clone()));
    until_sprung(sim, 24);
    drop(sim.order(away(&a, &b)));
    until_master(sim, &b);
    sim.triggers.clear();
    sim.run_for(16_000);
}

/// R5: the answer to a StartMaster is late, and its store has another epoch when it comes.
fn late_start_answer(sim: &mut Sim, dice: &mut Stream) {
    let Some((a, b)) = ends(sim) else { return };
    sim.trap("answers-order", 0, Injection::Late(dice.within(5_500, 6_500)));
    sim.kill_now(&Node::Engine(a.clone()));
    until_sprung(sim, 0);
    sim.kill_now(&Node::Engine(a.clone()));
    drop(sim.order(away(&a, &b)));
    until_master(sim, &b);
    sim.run_for(8_000);
}

/// R29: the demoted master's engine dies, and the Promote that has to catch up from it gets nowhere until it serves again.
fn successor_served(sim: &mut Sim, dice: &mut Stream) {
    let Some((a, b)) = ends(sim) else { return };
    sim.trap("slotd-started-promote", 0, Injection::Kill(Node::Engine(a.clone()), 0));
    lose(sim, "deliver-promote");
    let Ok(id) = sim.order(away(&a, &b)) else { return };
    sim.run_for(dice.within(60_000, 70_000));
    sim.triggers.clear();
    sim.run_plan(id, 60_000);
}

/// R8, R18: a Promote gets nowhere, its plan is aborted, and then the attested master comes back: nobody sends it on.
fn held_after_abort(sim: &mut Sim, dice: &mut Stream) {
    let Some((a, b)) = ends(sim) else { return };
    sim.power_off_now(&a.host);
    sim.run_for(5_000);
    drop(sim.attest(&a.host));
    lose(sim, "deliver-promote");
    let Ok(id) = sim.order(away(&a, &b)) else { return };
    sim.run_for(dice.within(60_000, 70_000));
    drop(sim.abort(id));
    sim.run_for(2_000);
    sim.kill_now(&Node::Engine(b.clone()));
    sim.power_on(&a.host);
    sim.run_for(20_000);
    sim.triggers.clear();
}

/// R6: the leader dies around the entry that consumes an approval.
fn approval_and_election(sim: &mut Sim, dice: &mut Stream) {
    for turn in 0..6 {
        let Some((a, b)) = ends(sim) else { return };
        let Ok((id, plan)) = sim.plan("alice", away(&a, &b)) else {
            sim.run_for(2_000);
            continue;
        };
        let digest = Plan::digest_of(&plan.bytes()).short();
        let reason = "a directed run".to_string();
        sim.post("alice", ControlRequest::ApprovePlan { request: None, plan: id, digest, reason });
        if turn == 5 {
            sim.run_until(3_000, |sim| sim.record(id).is_some_and(|p| p.started.is_some()));
        } else {
            sim.run_for(dice.within(3, 9));
        }
        sim.strike(Injection::KillLeader(dice.within(800, 2_500)));
        sim.run_until(20_000, |sim| sim.leader().is_some());
        drop(sim.approve("alice", id, digest));
        sim.run_plan(id, 60_000);
    }
}

/// R3, R28, R7: A's host goes with records that nobody else has, B takes over by attestation, B's host goes, C takes over.
fn two_possible_masters(sim: &mut Sim, dice: &mut Stream) {
    let slots = sim.copies_of(STORE);
    let [a, b, c] = slots.as_slice() else { return };
    let (ms, alone) = (dice.within(4_000, 6_000), dice.within(1_000, 3_000));
    sim.part_hosts(&a.host, &b.host, ms);
    sim.part_hosts(&a.host, &c.host, ms);
    sim.run_for(alone);
    for (from, to) in [(a, b), (b, c)] {
        sim.power_off_now(&from.host);
        sim.run_for(6_000);
        drop(sim.attest(&from.host));
        drop(sim.order(away(from, to)));
        until_master(sim, to);
        sim.run_for(dice.within(0, 2_000));
    }
    sim.power_on_now(&b.host);
    sim.power_on_now(&a.host);
    // While a copy comes back the master moves once more (R16).
    if sim.run_until(20_000, is_building) {
        drop(sim.order(away(c, if dice.one_in(2) { a } else { b })));
    }
    sim.run_for(20_000);
}

fn is_building(sim: &Sim) -> bool {
    let stores = sim.fleet().into_iter().flat_map(|fleet| fleet.stores.values());
    stores.flat_map(|store| store.copies.values()).any(|copy| copy.state == CopyState::Building)
}

/// S5, R17, R21: everything that is no yes, and a leader change between the first yes and the second.
fn approvals_refused(sim: &mut Sim, dice: &mut Stream) {
    let Some((a, b)) = ends(sim) else { return };
    sim.power_off_now(&a.host);
    sim.run_for(6_000);
    drop(sim.attest(&a.host));
    let Ok((id, plan)) = sim.plan("alice", away(&a, &b)) else { return sim.power_on_now(&a.host) };
    let digest = Plan::digest_of(&plan.bytes()).short();
    drop(sim.approve("alice", id, digest));
    drop(sim.approve("bob", id, Digest::of(b"something else").short()));
    drop(sim.approve("bob", id, digest));
    drop(sim.approve("bob", id, digest));
    let request = Some(RequestId { session: u64::MAX, sequence: dice.within(1, 9) });
    let reason = "under a session that nobody remembers".to_string();
    drop(sim.ask_and_wait("carol", ControlRequest::ApprovePlan { request, plan: id, digest, reason }));
    sim.strike(Injection::KillLeader(dice.within(500, 3_000)));
    sim.run_for(5_000);
    for who in ["bob", "carol", "bob"] {
        drop(sim.approve(who, id, digest));
    }
    sim.run_plan(id, 40_000);
    sim.power_on_now(&a.host);
    sim.run_for(5_000);
}

/// S5: a yes after a plan's validity, which is short for a while.
fn expired(sim: &mut Sim, dice: &mut Stream) {
    let fleet = super::super::fleet_of(&sim.swarm);
    let mut hasty = fleet.clone();
    hasty.policy.plan_valid_ms = 1_500;
    carried_out(sim, Intent::Apply(Box::new(hasty)));
    for _ in 0..6 {
        let Some((a, b)) = ends(sim) else { break };
        let Ok((id, plan)) = sim.plan("alice", away(&a, &b)) else {
            sim.run_for(1_000);
            continue;
        };
        sim.run_for(dice.within(2_000, 3_000));
        // A colleague may have been faster.
        if sim.record(id).is_some_and(|p| p.started.is_none()) {
            drop(sim.approve("alice", id, Plan::digest_of(&plan.bytes()).short()));
            break;
        }
        sim.run_plan(id, 20_000);
    }
    carried_out(sim, Intent::Apply(Box::new(fleet)));
}

/// R1: the freeze is over between the commit of the epoch and the Demote, and the master takes records meanwhile.
fn thaw_before_demote(sim: &mut Sim, dice: &mut Stream) {
    let Some((a, b)) = ends(sim) else { return };
    lose(sim, "deliver-demote");
    let Ok(id) = sim.order(away(&a, &b)) else { return };
    sim.run_for(dice.within(16_000, 20_000));
    sim.triggers.clear();
    sim.run_plan(id, 40_000);
}

/// R4: a hand-over is aborted when its freeze is done and nobody has heard of it.
fn cancel_of_a_done_freeze(sim: &mut Sim, dice: &mut Stream) {
    let Some((a, b)) = ends(sim) else { return };
    lose(sim, "answers-order");
    let Ok(id) = sim.order(away(&a, &b)) else { return };
    until_sprung(sim, 23);
    sim.triggers.clear();
    sim.run_for(dice.within(10, 600));
    drop(sim.abort(id));
    sim.run_plan(id, 30_000);
    sim.run_for(dice.within(0, 3_000));
}

/// R3, R18: B's Promote is late, the store goes back to A at the next epoch, and then the Promote comes.
fn late_promote(sim: &mut Sim, dice: &mut Stream) {
    let Some((a, b)) = ends(sim) else { return };
    sim.trap("deliver-promote", 0, Injection::Late(dice.within(14_000, 18_000)));
    lose(sim, "deliver-promote");
    if sim.order(away(&a, &b)).is_err() {
        return;
    }
    until_sprung(sim, 24);
    sim.kill_now(&Node::Engine(b.clone()));
    drop(sim.order(away(&b, &a)));
    sim.triggers.clear();
    until_master(sim, &a);
    sim.run_for(18_000);
}

/// R14: the copies were found equal, the answer is late, and the replica's engine dies before it comes.
fn guard_fails_at_commit(sim: &mut Sim, dice: &mut Stream) {
    let Some((a, b)) = ends(sim) else { return };
    sim.trap("answers-order", 1, Injection::Late(dice.within(3_500, 6_000)));
    let Ok(id) = sim.order(away(&a, &b)) else { return };
    until_sprung(sim, 0);
    sim.kill_now(&Node::Engine(b.clone()));
    sim.run_for(15_000);
    sim.run_plan(id, 30_000);
}

/// S15, R25: an order of a leader that is dead comes after one of its successor.
fn order_of_a_dead_leader(sim: &mut Sim, dice: &mut Stream) {
    let Some((a, b)) = ends(sim) else { return };
    sim.trap("deliver-freeze", 0, Injection::Late(dice.within(6_000, 9_000)));
    let Ok(id) = sim.order(away(&a, &b)) else { return };
    until_sprung(sim, 0);
    sim.strike(Injection::KillLeader(dice.within(1_000, 3_000)));
    sim.run_plan(id, 40_000);
    sim.run_for(9_000);
}

/// R8, R20: a person says that a silent host is off, and a replica still hears its engine.
fn attested_and_serving(sim: &mut Sim, dice: &mut Stream) {
    let Some((a, b)) = ends(sim) else { return };
    sim.silence_now(&a.host, dice.within(16_000, 20_000));
    sim.run_for(6_000);
    drop(sim.attest(&a.host));
    if let Ok((id, plan)) = sim.plan("alice", away(&a, &b)) {
        for who in ["bob", "carol"] {
            drop(sim.approve(who, id, Plan::digest_of(&plan.bytes()).short()));
        }
    }
    sim.run_for(16_000);
}

/// S2: the disk of a replica's host is put back from before two hand-overs.
fn old_disk(sim: &mut Sim, dice: &mut Stream) {
    let Some((a, b)) = ends(sim) else { return };
    sim.keep_now(&b.host);
    carried_out(sim, away(&a, &b));
    carried_out(sim, away(&b, &a));
    sim.run_for(dice.within(500, 2_000));
    if sim.master_of(STORE).as_ref() == Some(&a) {
        sim.put_back_now(&b.host, 1_000);
    }
    sim.run_for(8_000);
}

/// R2: the engine stands still between its disk and its acknowledgement, and its demote is ordered meanwhile.
fn stopped_inside_append(sim: &mut Sim, dice: &mut Stream) {
    let Some((a, b)) = ends(sim) else { return };
    let stop = Injection::Pause(Node::Engine(a.clone()), dice.within(15_000, 40_000));
    sim.trap("engine-journal-before-ack", dice.within(0, 5) as u32, stop);
    until_sprung(sim, 0);
    sim.run_for(dice.within(10, 6_000));
    drop(sim.order(away(&a, &b)));
    until_master(sim, &b);
    sim.run_for(10_000);
}

/// R27, R25: a StartMaster is under way while its host boots anew.
fn ended_boot(sim: &mut Sim, dice: &mut Stream) {
    let Some((a, _)) = ends(sim) else { return };
    sim.trap("deliver-start-master", 0, Injection::Late(dice.within(4_000, 9_000)));
    sim.kill_now(&Node::Engine(a.clone()));
    until_sprung(sim, 0);
    sim.power_off_now(&a.host);
    sim.run_for(dice.within(200, 2_000));
    sim.power_on_now(&a.host);
    sim.run_for(15_000);
}

fn with_another_store(sim: &Sim) -> FleetSpec {
    let mut fleet = super::super::fleet_of(&sim.swarm);
    let more = crate::setup::fleet(sim.swarm.hosts, sim.swarm.stores + 1).stores;
    for (name, spec) in more {
        fleet.stores.entry(name).or_insert(spec);
    }
    fleet
}

/// R11, R4: a store's making is stopped while an order of it is under way, and it is made again on the same slots.
fn store_made_again(sim: &mut Sim, dice: &mut Stream) {
    let fleet = Intent::Apply(Box::new(with_another_store(sim)));
    // The first copy is there, the second one's order is under way.
    sim.trap("deliver-provision", 1, Injection::Late(dice.within(6_000, 12_000)));
    lose(sim, "deliver-provision");
    let Ok(id) = sim.order(fleet.clone()) else { return };
    until_sprung(sim, 24);
    sim.run_for(dice.within(10, 500));
    drop(sim.abort(id));
    sim.triggers.clear();
    sim.run_plan(id, 20_000);
    if let Ok(again) = sim.order(fleet) {
        sim.run_plan(again, 60_000);
    }
    sim.run_for(8_000);
}

/// R12, R18: the agent dies with its engine frozen; then a hand-over is aborted past its commit.
fn agent_dies_in_freeze(sim: &mut Sim, dice: &mut Stream) {
    let Some((a, b)) = ends(sim) else { return };
    sim.trap("records-freeze", 0, Injection::Kill(Node::Agent(a.host.clone()), dice.within(1_000, 20_000)));
    if let Ok(id) = sim.order(away(&a, &b)) {
        sim.run_plan(id, 60_000);
    }
    sim.triggers.clear();
    sim.run_for(5_000);
    let Some((a, b)) = ends(sim) else { return };
    lose(sim, "deliver-demote");
    if let Ok(id) = sim.order(away(&a, &b)) {
        until_sprung(sim, 23);
        drop(sim.abort(id));
        sim.triggers.clear();
        sim.run_plan(id, 60_000);
    }
}

/// R6, L2: the leader dies as the former master accepts its Demote; later the master to be loses power before its Promote.
fn leader_changes_in_demote(sim: &mut Sim, dice: &mut Stream) {
    let Some((a, b)) = ends(sim) else { return };
    sim.trap("accepts-demote", 0, Injection::KillLeader(dice.within(1_000, 5_000)));
    if let Ok(id) = sim.order(away(&a, &b)) {
        sim.run_plan(id, 60_000);
    }
    sim.triggers.clear();
    let Some((a, b)) = ends(sim) else { return };
    sim.trap("deliver-promote", 0, Injection::PowerOff(b.host.clone(), dice.within(3_000, 12_000)));
    if let Ok(id) = sim.order(away(&a, &b)) {
        sim.run_plan(id, 60_000);
    }
}

/// R22: a coordinator that was away is given a snapshot while a hand-over is between two steps.
fn snapshot_between_steps(sim: &mut Sim, dice: &mut Stream) {
    let Some(leader) = sim.leader() else { return };
    let away_for_now = Node::Coordinator(leader % 3 + 1);
    sim.kill_now(&away_for_now);
    for _ in 0..3 {
        let Some((a, b)) = ends(sim) else { break };
        if let Ok(id) = sim.order(away(&a, &b)) {
            sim.run_plan(id, 30_000);
        }
        sim.run_for(dice.within(500, 2_000));
    }
    let Some((a, b)) = ends(sim) else { return sim.start_now(&away_for_now) };
    lose(sim, "deliver-catch-up");
    drop(sim.order(away(&a, &b)));
    sim.start_now(&away_for_now);
    sim.run_for(6_000);
    sim.triggers.clear();
    sim.run_for(20_000);
}
