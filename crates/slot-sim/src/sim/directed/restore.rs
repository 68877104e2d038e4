//! Directed runs of R10 and S16: a backup, the loss of every coordinator's disk, and the restore.
//!
//! What always holds: A is the first store's master when the backup is taken, B the next copy. Clients write all the while.
//! Hosts are re-adopted one after another, in an order that is drawn; then everything is healed.

use super::hosts::{away, carried_out, ends, lose, until_sprung};
use super::*;
use slot_coordinator::core::Failure;
use slot_machine::state::StepState;
use slot_types::plan::{Intent, StepKind};

/// The schedules. A campaign plays all of them in 300 seeds.
pub(super) const SCRIPTS: &[Script] = &[
    Script { name: "r10-backup-epoch-taken", swarm: fleet, play: handed_over_since },
    Script { name: "r10-former-generation-obeyed", swarm: fleet, play: promote_comes_late },
    Script { name: "r10-former-master-forgotten", swarm: fleet, play: demote_was_not_heard },
    Script { name: "restore/asked-too-early", swarm: fleet, play: asked_for_too_early },
    Script { name: "restore/same-backup-twice", swarm: fleet, play: restored_twice },
    Script { name: "restore/promote-open", swarm: fleet, play: promote_is_open },
    Script { name: "restore/demote-open", swarm: fleet, play: demote_is_open },
    Script { name: "restore/order-waits", swarm: fleet, play: order_waits_behind_a_call },
    Script { name: "restore/between-steps", swarm: fleet, play: between_two_steps },
    Script { name: "restore/plain-or-copies", swarm: quad, play: copies_come_and_go },
];

fn fleet(dice: &mut Stream) -> Swarm {
    Swarm::calm(3, 1 + u8::from(dice.one_in(2)), 2 + u8::from(dice.one_in(2)), u8::from(dice.one_in(3)))
}

fn quad(_: &mut Stream) -> Swarm {
    Swarm::calm(4, 2, 2, 0)
}

const ALL: [u64; 3] = [1, 2, 3];

/// The disks are lost, and a person writes new ones; the hosts are still to be re-adopted.
fn restored(sim: &mut Sim, dice: &mut Stream, backup: &[u8], generation: Option<u32>) {
    sim.lose_coordinators(&ALL);
    written(sim, dice, &ALL, backup, generation);
}

fn written(sim: &mut Sim, dice: &mut Stream, nodes: &[u64], backup: &[u8], generation: Option<u32>) {
    sim.run_for(dice.within(500, 4_000));
    if let Err(why) = sim.restore_coordinators(nodes, backup, generation) {
        sim.finding("R10", format!("a backup that was taken can't be restored: {why}"));
    }
}

/// Somebody says of every host that it belongs here, until the state is rebuilt.
fn re_adopted(sim: &mut Sim, dice: &mut Stream) {
    let before = sim.writers.written();
    let mut hosts: Vec<HostName> = sim.agents.keys().cloned().collect();
    while !hosts.is_empty() {
        let host = hosts.swap_remove(dice.within(0, hosts.len() as u64 - 1) as usize);
        for _ in 0..20 {
            if sim.readopt(&host).is_ok() {
                break;
            }
            sim.run_for(500);
        }
        sim.run_for(dice.within(0, 1_500));
    }
    sim.run_until(20_000, |sim| !sim.is_restoring());
    if sim.writers.written() > before {
        sim.reach("S10: clients were served while hosts were re-adopted");
    }
}

/// Whether a step of a task is so far, by the newest state.
fn step_is(sim: &Sim, plan: PlanId, kind: StepKind, done: bool) -> bool {
    let Some(record) = sim.record(plan) else { return false };
    let steps = record.plan.tasks.iter().flat_map(|task| &task.steps);
    let runs = record.tasks.iter().flat_map(|run| &run.steps);
    steps.zip(runs).any(|(step, run)| {
        let so_far = match run.state {
            StepState::Done { .. } => true,
            StepState::Started { .. } => !done,
            _ => false,
        };
        step.kind == kind && so_far
    })
}

/// S3: B was made master since the backup.
fn handed_over_since(sim: &mut Sim, dice: &mut Stream) {
    let Some((a, b)) = ends(sim) else { return };
    let Some(backup) = sim.take_backup() else { return };
    sim.run_for(dice.within(0, 3_000));
    carried_out(sim, away(&a, &b));
    sim.run_for(dice.within(500, 3_000));
    if dice.one_in(3) {
        sim.kill_now(&Node::Engine(b));
    }
    restored(sim, dice, &backup, None);
    re_adopted(sim, dice);
    sim.run_for(8_000);
}

/// S16: the order that promotes B is on its way for so long that B's host was re-adopted before it comes.
fn promote_comes_late(sim: &mut Sim, dice: &mut Stream) {
    let Some((a, b)) = ends(sim) else { return };
    let Some(backup) = sim.take_backup() else { return };
    sim.trap("deliver-promote", 0, Injection::Late(dice.within(16_000, 24_000)));
    lose(sim, "deliver-promote");
    drop(sim.order(away(&a, &b)));
    until_sprung(sim, 24);
    restored(sim, dice, &backup, None);
    sim.triggers.clear();
    re_adopted(sim, dice);
    sim.run_for(26_000);
}

/// R3: A is failed over while its host has no power, and has said nothing of a demote when it is re-adopted.
fn demote_was_not_heard(sim: &mut Sim, dice: &mut Stream) {
    let Some((a, _)) = ends(sim) else { return };
    let Some(backup) = sim.take_backup() else { return };
    sim.power_off_now(&a.host);
    sim.run_for(4_000);
    drop(sim.attest(&a.host));
    carried_out(sim, Intent::FailOverSlot { slot: a.clone(), to: None });
    restored(sim, dice, &backup, None);
    sim.power_on_now(&a.host);
    sim.run_for(dice.within(100, 3_000));
    re_adopted(sim, dice);
    sim.run_for(8_000);
}

/// R10: people ask for plans before every host was re-adopted; a host boots between their word and its report, and one of the
/// coordinators still has the disk of before, and believes for a while that it is one of them.
fn asked_for_too_early(sim: &mut Sim, dice: &mut Stream) {
    let Some((a, b)) = ends(sim) else { return };
    let Some(backup) = sim.take_backup() else { return };
    sim.run_for(dice.within(0, 4_000));
    let old = sim.leader().unwrap_or(3);
    let others: Vec<u64> = ALL.into_iter().filter(|id| *id != old).collect();
    sim.pause_now(&Node::Coordinator(old), dice.within(4_000, 9_000));
    sim.lose_coordinators(&others);
    sim.without_disk.insert(old);
    written(sim, dice, &others, &backup, None);
    sim.trap("deliver-adopt", 0, Injection::Late(dice.within(2_000, 4_000)));
    let again = sim.readopt(&a.host);
    sim.power_off_now(&a.host);
    sim.run_for(dice.within(100, 1_000));
    sim.power_on_now(&a.host);
    if again.is_ok() {
        sim.reach("R10: a host booted while it was re-adopted");
    }
    for _ in 0..3 {
        drop(sim.plan("alice", away(&a, &b)));
        sim.run_for(dice.within(200, 1_500));
    }
    sim.run_until(12_000, |sim| !sim.paused.contains_key(&Node::Coordinator(old)));
    if sim.life(&Node::Coordinator(old)).is_some() && sim.is_restoring() {
        sim.reach("R10: a coordinator of before ran beside the restored ones");
    }
    sim.run_for(dice.within(1_000, 4_000));
    re_adopted(sim, dice);
    sim.run_for(4_000);
    sim.kill_now(&Node::Coordinator(old));
}

/// R10: the backup is restored once more when its first group has given orders already.
fn restored_twice(sim: &mut Sim, dice: &mut Stream) {
    let Some((a, b)) = ends(sim) else { return };
    let Some(backup) = sim.take_backup() else { return };
    restored(sim, dice, &backup, None);
    if dice.one_in(2) {
        re_adopted(sim, dice);
        carried_out(sim, away(&a, &b));
    } else {
        drop(sim.readopt(&a.host));
        sim.run_for(dice.within(1_000, 3_000));
    }
    restored(sim, dice, &backup, None);
    sim.run_until(20_000, |sim| sim.leader().is_some());
    sim.run_for(2_000);
    let Err(Failure::Refused(why)) = sim.readopt(&a.host) else {
        return sim.finding("R10", format!("{} was re-adopted by a generation that it follows already", a.host));
    };
    let named = why.rsplit_once("--generation ").and_then(|(_, rest)| rest.split(' ').next()?.parse().ok());
    let Some(generation) = named else {
        return sim.finding("R10", format!("a refused host names no generation: {why}"));
    };
    sim.reach("R10: a generation that was used already was refused");
    restored(sim, dice, &backup, Some(generation));
    re_adopted(sim, dice);
    sim.run_for(4_000);
}

/// R3, R10: B's engine hangs in its promote when its host is re-adopted.
fn promote_is_open(sim: &mut Sim, dice: &mut Stream) {
    let Some((a, b)) = ends(sim) else { return };
    let Some(backup) = sim.take_backup() else { return };
    sim.trap("calls-promote", 0, Injection::Pause(Node::Engine(b.clone()), dice.within(15_000, 30_000)));
    drop(sim.order(away(&a, &b)));
    until_sprung(sim, 0);
    restored(sim, dice, &backup, None);
    re_adopted(sim, dice);
    sim.run_for(25_000);
}

/// R2, R3: A's engine hangs in its demote when its host is re-adopted, and the host is not heard any more when people fail over.
fn demote_is_open(sim: &mut Sim, dice: &mut Stream) {
    let Some((a, b)) = ends(sim) else { return };
    let Some(backup) = sim.take_backup() else { return };
    sim.trap("calls-demote", 0, Injection::Pause(Node::Engine(a.clone()), dice.within(45_000, 60_000)));
    drop(sim.order(away(&a, &b)));
    until_sprung(sim, 0);
    restored(sim, dice, &backup, None);
    re_adopted(sim, dice);
    sim.kill_now(&Node::Agent(a.host.clone()));
    sim.silence_now(&a.host, 45_000);
    sim.run_for(4_000);
    drop(sim.order(away(&a, &b)));
    sim.run_for(50_000);
}

/// S16, R21: an order of before waits in A's agent behind a call that hangs, and its turn comes after the host was re-adopted.
fn order_waits_behind_a_call(sim: &mut Sim, dice: &mut Stream) {
    let Some((a, b)) = ends(sim) else { return };
    let Some(backup) = sim.take_backup() else { return };
    sim.trap("calls-freeze", 0, Injection::Pause(Node::Engine(a.clone()), dice.within(25_000, 35_000)));
    drop(sim.order(away(&a, &b)));
    until_sprung(sim, 0);
    sim.run_for(dice.within(3_200, 4_000));
    drop(sim.order(away(&a, &b)));
    sim.run_for(dice.within(500, 2_000));
    restored(sim, dice, &backup, None);
    re_adopted(sim, dice);
    sim.run_for(30_000);
}

/// R10: a hand-over is after its freeze, its commit or its demote when the coordinators die.
fn between_two_steps(sim: &mut Sim, dice: &mut Stream) {
    let Some((a, b)) = ends(sim) else { return };
    let Some(backup) = sim.take_backup() else { return };
    let last = [StepKind::Freeze, StepKind::CommitEpoch, StepKind::Demote, StepKind::Demote];
    let turn = dice.within(0, 3) as usize;
    let Ok(id) = sim.order(away(&a, &b)) else { return };
    sim.run_until(15_000, |sim| step_is(sim, id, last[turn], turn != 3));
    restored(sim, dice, &backup, None);
    re_adopted(sim, dice);
    sim.run_for(8_000);
}

/// R10, R16: a copy was built and another destroyed since the backup, or nothing happened at all.
fn copies_come_and_go(sim: &mut Sim, dice: &mut Stream) {
    let Some((a, b)) = ends(sim) else { return };
    let Some(backup) = sim.take_backup() else { return };
    let used: BTreeSet<SlotId> =
        sim.fleet().iter().flat_map(|c| c.stores.values()).flat_map(|s| s.copies.keys().cloned()).collect();
    let free = sim.fleet().and_then(|cluster| {
        let slots = cluster.hosts.iter().filter(|(name, _)| **name != a.host && **name != b.host);
        let mut slots =
            slots.flat_map(|(name, host)| host.slots.keys().map(|number| SlotId::new(name.clone(), *number)));
        slots.find(|slot| !used.contains(slot))
    });
    if dice.one_in(4) {
        sim.run_for(2_000);
    } else if let Some(to) = free {
        let id = sim.order(Intent::MoveCopy { slot: b.clone(), to: Some(to) });
        match (id, dice.one_in(2)) {
            (Ok(id), true) => drop(sim.run_plan(id, 60_000)),
            _ => sim.run_for(dice.within(300, 6_000)),
        }
    }
    restored(sim, dice, &backup, None);
    re_adopted(sim, dice);
    sim.run_for(8_000);
}
