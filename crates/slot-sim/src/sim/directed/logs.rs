//! Directed runs for the bugs planted in the journal.
//!
//! What always holds: each is the schedule that its bug's `how` tells. The store is the first one; A is its master's slot, B
//! and D the other copies'.

use super::hosts::{STORE, away, carried_out, ends, is_role, lose, pair, until_sprung};
use super::*;
use crate::faults::DiskTrouble;
use slot_types::cluster::LossState;
use slot_types::engine::EngineRole;
use slot_types::plan::{Intent, Settlement};

/// The schedules.
pub(super) const SCRIPTS: &[Script] = &[
    Script { name: "r1-promote-unchecked", swarm: pair, play: thawed_before_demote },
    Script { name: "s4-promote-while-behind", swarm: pair, play: thawed_before_demote },
    Script { name: "r2-ack-without-recheck", swarm: pair, play: demote_during_an_append },
    Script { name: "r2-append-after-demote", swarm: pair, play: demote_during_an_append },
    Script { name: "r2-demote-before-durable", swarm: pair, play: demote_during_an_append },
    Script { name: "r29-thaws-as-master", swarm: pair, play: demoted_within_a_freeze },
    Script { name: "r7-tail-cut-and-forgotten", swarm: pair, play: comes_back_longer },
    Script { name: "r16-divergent-tail-kept", swarm: pair, play: comes_back_longer },
    Script { name: "r7-follower-judged-by-length", swarm: synced, play: longer_follower_counts },
    Script { name: "r7-ahead-of-master-cut", swarm: |_| Swarm::calm(3, 1, 3, 2), play: master_lost_its_last_fsync },
    Script { name: "r16-pulls-on-after-raise", swarm: synced, play: master_goes_on },
    Script { name: "p10-ack-before-fsync", swarm: pair, play: slow_followers },
    Script { name: "p10-rename-without-folder-fsync", swarm: pair, play: power_fails_after_orders },
    Script { name: "s2-ledger-commit-unsynced", swarm: pair, play: power_fails_after_orders },
    Script { name: "s2-raise-in-memory-only", swarm: synced, play: master_goes_on },
    Script { name: "s6-answered-before-durable", swarm: pair, play: power_fails_after_orders },
    Script { name: "s6-performed-before-accepted", swarm: pair, play: power_fails_after_orders },
    Script { name: "r21-record-high-water", swarm: repeating, play: appends_are_repeated },
    Script { name: "r21-record-looked-for-once", swarm: repeating, play: appends_are_repeated },
    Script { name: "r24-counted-before-fsync", swarm: synced, play: slow_followers },
    Script { name: "r24-lowered-silently", swarm: |_| Swarm::calm(2, 1, 2, 1), play: replicas_are_away },
    Script { name: "p11-fsync-tried-again", swarm: pair, play: failed_fsync },
    Script { name: "p12-lost-tail-opened", swarm: |_| Swarm::calm(2, 1, 2, 1), play: known_tail_is_lost },
    Script { name: "p12-corrupt-middle-cut", swarm: pair, play: bit_rot },
];

fn synced(_: &mut Stream) -> Swarm {
    Swarm::calm(3, 1, 3, 1)
}

/// Messages come twice, and late.
fn repeating(_: &mut Stream) -> Swarm {
    let classes = [FaultClass::Duplicate, FaultClass::Delay].into_iter().collect();
    Swarm { classes, message_one_in: 6, ..Swarm::calm(2, 1, 2, 0) }
}

fn length(sim: &Sim, slot: &SlotId) -> u64 {
    sim.engine(slot).map_or(0, |engine| engine.log().durable_tip().position.length)
}

/// R1, S4: A thaws between the commit and its Demote, and acknowledges what B is cut off from.
fn thawed_before_demote(sim: &mut Sim, dice: &mut Stream) {
    let Some((a, b)) = ends(sim) else { return };
    lose(sim, "deliver-demote");
    if sim.order(away(&a, &b)).is_err() {
        return;
    }
    until_sprung(sim, 23);
    let alone = dice.within(18_000, 20_000);
    sim.part_hosts(&a.host, &b.host, alone + 12_000);
    sim.run_for(alone);
    sim.triggers.clear();
    sim.run_for(20_000);
}

/// R2: A thaws before its Demote comes, its disk is slow, and the Demote comes with appends on their way to it.
fn demote_during_an_append(sim: &mut Sim, dice: &mut Stream) {
    let Some((a, b)) = ends(sim) else { return };
    lose(sim, "deliver-demote");
    if sim.order(away(&a, &b)).is_err() {
        return;
    }
    until_sprung(sim, 23);
    sim.run_for(dice.within(16_000, 17_000));
    let until = sim.now() + 20_000;
    sim.slow.insert(Node::Engine(a), until);
    sim.run_for(dice.within(500, 2_000));
    sim.triggers.clear();
    sim.run_for(15_000);
}

/// R29: A is demoted well within its freeze's limit, which passes while nobody can make it follow.
fn demoted_within_a_freeze(sim: &mut Sim, dice: &mut Stream) {
    let Some((a, b)) = ends(sim) else { return };
    lose(sim, "deliver-follow");
    if sim.order(away(&a, &b)).is_err() {
        return;
    }
    sim.run_for(dice.within(17_000, 19_000));
    sim.triggers.clear();
    sim.run_for(10_000);
}

/// A has records that B lacks and goes; B is made master; A comes back.
fn failed_over_with_loss(sim: &mut Sim, alone: u64) -> Option<(SlotId, SlotId)> {
    let slots = sim.copies_of(STORE);
    let (a, b) = (slots.first()?.clone(), slots.get(1)?.clone());
    for other in &slots[1..] {
        sim.part_hosts(&a.host, &other.host, alone + 4_000);
    }
    sim.run_for(alone);
    sim.power_off_now(&a.host);
    sim.run_for(5_000);
    drop(sim.attest(&a.host));
    carried_out(sim, away(&a, &b));
    sim.power_on_now(&a.host);
    Some((a, b))
}

/// The listed loss cases are settled by reinjecting.
fn reinjected(sim: &mut Sim) {
    let listed = |sim: &Sim| {
        let cases = sim.fleet().into_iter().flat_map(|cluster| &cluster.loss_cases);
        cases.filter(|(_, case)| case.state == LossState::Listed).map(|(id, _)| *id).next()
    };
    sim.run_until(20_000, |sim| listed(sim).is_some());
    if let Some(case) = listed(sim) {
        carried_out(sim, Intent::SettleLoss { case, how: Settlement::Reinject });
    }
}

/// R7, R16: A comes back with a tail that B lacks, and follows B.
fn comes_back_longer(sim: &mut Sim, dice: &mut Stream) {
    if failed_over_with_loss(sim, dice.within(1_000, 3_000)).is_some() {
        reinjected(sim);
        sim.run_for(5_000);
    }
}

/// R7, R24: A comes back longer than B and follows it; nobody else does when clients go on.
fn longer_follower_counts(sim: &mut Sim, dice: &mut Stream) {
    let Some((a, b)) = failed_over_with_loss(sim, dice.within(1_500, 4_000)) else { return };
    reinjected(sim);
    let rest: Vec<HostName> = sim.copies_of(STORE).into_iter().map(|slot| slot.host).collect();
    for host in rest.iter().filter(|host| **host != a.host && **host != b.host) {
        sim.part_hosts(&b.host, host, 4_000);
    }
    sim.run_for(8_000);
}

/// Where the frames of a segment begin.
fn frames(bytes: &[u8]) -> Vec<usize> {
    let word = |at: usize| bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map(u32::from_le_bytes);
    let mut at = 18 + word(10).unwrap_or(0) as usize;
    let mut starts = Vec::new();
    while let Some(length) = word(at).filter(|length| at + 24 + *length as usize <= bytes.len()) {
        starts.push(at);
        at += 24 + length as usize;
    }
    starts
}

/// The last segment of a copy.
fn last_segment(files: &BTreeMap<String, Vec<u8>>) -> Option<String> {
    let segments = files.keys().filter_map(|name| Some((journal::segment_base(name)?, name)));
    segments.max().map(|(_, name)| name.clone())
}

/// The same files without the last frames of the log.
fn without_tail(files: &BTreeMap<String, Vec<u8>>, records: usize) -> Option<BTreeMap<String, Vec<u8>>> {
    let mut files = files.clone();
    let bytes = files.get_mut(&last_segment(&files)?)?;
    let starts = frames(bytes);
    bytes.truncate(*starts.get(starts.len().checked_sub(records)?)?);
    Some(files)
}

/// R7: A's last fsync was none, and B has what A lost; nobody was told of it, since D was not there.
fn master_lost_its_last_fsync(sim: &mut Sim, _: &mut Stream) {
    let slots = sim.copies_of(STORE);
    let [a, b, d] = slots.as_slice() else { return };
    sim.part_hosts(&a.host, &d.host, 4_000);
    sim.run_for(5);
    let before = length(sim, a);
    let ahead = sim.run_until(3_000, |sim| {
        let (at_a, at_b, at_d) = (length(sim, a), length(sim, b), length(sim, d));
        at_a > before && at_a == at_b && at_d < at_a
    });
    if !ahead {
        return;
    }
    sim.power_off_now(&a.host);
    let files = sim.files_of(a);
    if let Some(short) = without_tail(&files, 1) {
        sim.put_files(a, short);
        sim.disk_touched(&a.host);
    }
    sim.run_for(500);
    sim.power_on_now(&a.host);
    sim.run_for(12_000);
    // Nobody can make a copy whole that stands beside its master: it gets a new disk.
    if !is_role(sim, b, EngineRole::Replica) {
        sim.wipe(&b.host, 1_000);
        sim.run_for(5_000);
    }
}

/// R16, R2: A's engine is not seen for a while, B and D are raised; A goes on before its Demote comes.
fn master_goes_on(sim: &mut Sim, dice: &mut Stream) {
    let slots = sim.copies_of(STORE);
    let [a, b, d] = slots.as_slice() else { return };
    let engine = Node::Engine(a.clone());
    sim.pause_now(&engine, 30_000);
    sim.run_for(4_000);
    lose(sim, "deliver-demote");
    let held = sim.engine(d).map(|engine| engine.epoch());
    drop(sim.order(away(a, b)));
    sim.run_until(8_000, |sim| sim.engine(d).map(|engine| engine.epoch()) > held);
    sim.resume_now(&engine);
    sim.run_for(dice.within(2_000, 5_000));
    sim.triggers.clear();
    sim.run_for(12_000);
}

/// R24: followers' disks are slow.
fn slow_followers(sim: &mut Sim, dice: &mut Stream) {
    let slots = sim.copies_of(STORE);
    let until = sim.now() + 6_000;
    for slot in slots.into_iter().skip(1) {
        sim.slow.insert(Node::Engine(slot), until);
    }
    sim.run_for(dice.within(5_000, 7_000));
}

/// R24: no replica is heard for longer than one counts, and clients go on.
fn replicas_are_away(sim: &mut Sim, dice: &mut Stream) {
    let Some((a, b)) = ends(sim) else { return };
    sim.part_hosts(&a.host, &b.host, dice.within(14_000, 18_000));
    sim.run_for(20_000);
}

/// S2, S6: a hand-over is done, and both hosts lose power right after it.
fn power_fails_after_orders(sim: &mut Sim, dice: &mut Stream) {
    let Some((a, b)) = ends(sim) else { return };
    carried_out(sim, away(&a, &b));
    for slot in [a, b] {
        sim.power_off_now(&slot.host);
        sim.run_for(dice.within(500, 2_000));
        sim.power_on_now(&slot.host);
        sim.run_for(6_000);
    }
}

/// R21: appends wait for a slow disk, and come again before they are placed.
fn appends_are_repeated(sim: &mut Sim, dice: &mut Stream) {
    let Some((a, _)) = ends(sim) else { return };
    let until = sim.now() + 8_000;
    sim.slow.insert(Node::Engine(a), until);
    sim.run_for(dice.within(8_000, 10_000));
}

/// P11: an fsync of the master fails; its power is cut later.
fn failed_fsync(sim: &mut Sim, dice: &mut Stream) {
    let Some((a, _)) = ends(sim) else { return };
    sim.strike(Injection::Disk(Node::Engine(a.clone()), DiskTrouble::Eio));
    sim.run_for(dice.within(1_000, 3_000));
    sim.power_off_now(&a.host);
    sim.run_for(1_000);
    sim.power_on_now(&a.host);
    sim.run_for(6_000);
}

/// A copy's files are changed while its process is down; they are what they were when it does not start on them.
fn damaged(
    sim: &mut Sim,
    slot: &SlotId,
    change: impl Fn(&BTreeMap<String, Vec<u8>>) -> Option<BTreeMap<String, Vec<u8>>>,
) {
    let files = sim.files_of(slot);
    let Some(bad) = change(&files) else { return };
    sim.put_files(slot, bad);
    if !sim.has_power(&slot.host) {
        sim.power_on_now(&slot.host);
    }
    if !sim.run_until(5_000, |sim| sim.engine(slot).is_some()) {
        sim.put_files(slot, files);
    }
    sim.run_for(6_000);
}

/// P12: A's power fails long after its last write, and the end of its log is not there.
fn known_tail_is_lost(sim: &mut Sim, dice: &mut Stream) {
    let Some((a, _)) = ends(sim) else { return };
    sim.cut(Place::Outside, Place::Host(a.host.clone()), 1_500);
    sim.run_for(1_200);
    sim.power_off_now(&a.host);
    let records = dice.within(1, 4) as usize;
    damaged(sim, &a, |files| without_tail(files, records));
}

/// P12: a bit is flipped in the middle of a stopped engine's last segment.
fn bit_rot(sim: &mut Sim, dice: &mut Stream) {
    let slots = sim.copies_of(STORE);
    let Some(slot) = slots.get(dice.within(0, 1) as usize) else { return };
    sim.kill_now(&Node::Engine(slot.clone()));
    let (part, bit) = (dice.within(1, 8), dice.within(0, 7));
    damaged(sim, slot, |files| {
        let mut files = files.clone();
        let bytes = files.get_mut(&last_segment(&files)?)?;
        let starts = frames(bytes);
        let at = *starts.get(starts.len() * part as usize / 10)? + 26;
        *bytes.get_mut(at)? ^= 1 << bit;
        Some(files)
    });
}
