//! Directed runs about probes (R8, R23, R26, docs/adr/0027 and 0039).
//!
//! What always holds: agents probe; A is the master's slot of the first store, B the next copy's, C a host without a copy of it.
//! Whoever attests here may be wrong: it is the answer to a probe that has to tell.

use super::hosts::{STORE, away, ends};
use super::*;
use slot_coordinator::core::ControlRequest;
use slot_types::plan::{Intent, Plan};

/// The schedules. A campaign plays all of them in 300 seeds.
pub(super) const SCRIPTS: &[Script] = &[
    Script { name: "r8-answered-probe-ignored", swarm: three, play: seen_by_a_third_host_only },
    Script { name: "r8-late-answer-counts", swarm: three, play: answer_comes_after_the_word },
    Script { name: "r8-connection-taken-for-an-answer", swarm: three, play: host_stands_still },
    Script { name: "r26-device-asked-while-held", swarm: devices, play: held_for_longer_than_a_device_rests },
    Script { name: "adr39-share-of-the-silent-dropped", swarm: five, play: those_that_look_fall_silent },
    Script { name: "probe/another-boot", swarm: three, play: comes_back_unheard },
    Script { name: "probe/engine-without-agent", swarm: three, play: engine_without_its_agent },
    Script { name: "probe/leader-changes", swarm: three, play: leader_changes },
    Script { name: "probe/one-way", swarm: three, play: heard_by_nobody_and_hears_all },
    Script { name: "probe/word-given-again", swarm: three, play: word_is_given_again },
];

fn three(_: &mut Stream) -> Swarm {
    Swarm { probes: true, ..Swarm::calm(3, 1, 2, 0) }
}

fn five(_: &mut Stream) -> Swarm {
    Swarm { probes: true, ..Swarm::calm(5, 3, 2, 0) }
}

fn devices(_: &mut Stream) -> Swarm {
    Swarm { devices: true, ..three_of_three() }
}

fn three_of_three() -> Swarm {
    Swarm { probes: true, ..Swarm::calm(3, 3, 2, 0) }
}

/// A, B, and the host that has no copy.
fn cast(sim: &mut Sim) -> Option<(SlotId, SlotId, HostName)> {
    let (a, b) = ends(sim)?;
    let third = sim.agents.keys().find(|host| **host != a.host && **host != b.host)?.clone();
    Some((a, b, third))
}

fn is_attested(sim: &Sim, host: &HostName) -> bool {
    sim.fleet().is_some_and(|cluster| cluster.attestations.contains_key(host))
}

/// The word falls, or that is a finding.
fn falls(sim: &mut Sim, host: &HostName) {
    if !sim.run_until(6_000, |sim| !is_attested(sim, host)) {
        sim.finding("R8", format!("{host} answers probes, and the word that it is off stands"));
    }
}

/// Two others say yes, if it can be planned at all.
fn tried(sim: &mut Sim, intent: Intent) {
    let Ok((id, plan)) = sim.plan("alice", intent) else { return };
    let digest = Plan::digest_of(&plan.bytes()).short();
    for who in ["bob", "carol"] {
        drop(sim.approve(who, id, digest));
    }
    sim.run_plan(id, 20_000);
}

/// R8, R23: A serves, neither the leader nor its replica hears it, a person is wrong, and a third host sees it.
fn seen_by_a_third_host_only(sim: &mut Sim, dice: &mut Stream) {
    let Some((a, b, _)) = cast(sim) else { return };
    sim.silence_now(&a.host, 60_000);
    sim.part_hosts(&a.host, &b.host, 60_000);
    sim.run_for(dice.within(5_000, 8_000));
    drop(sim.attest(&a.host));
    tried(sim, away(&a, &b));
    sim.run_for(6_000);
    tried(sim, away(&a, &b));
    falls(sim, &a.host);
    sim.run_for(3_000);
}

/// R8: a host that had answered is switched off, and a person says so; the answer of before comes after that.
fn answer_comes_after_the_word(sim: &mut Sim, dice: &mut Stream) {
    let Some((a, b, _)) = cast(sim) else { return };
    sim.silence_now(&a.host, 60_000);
    sim.run_for(dice.within(5_000, 8_000));
    sim.trap("answers-look", 0, Injection::Late(dice.within(1_200, 1_900)));
    super::hosts::until_sprung(sim, 0);
    sim.power_off_now(&a.host);
    drop(sim.attest(&a.host));
    if !is_attested(sim, &a.host) {
        return;
    }
    sim.run_for(6_000);
    if !is_attested(sim, &a.host) {
        sim.finding("R8", format!("{} is off, a person says so, and an answer of before has voided that", a.host));
    }
    tried(sim, away(&a, &b));
}

/// R8: nothing of a host goes on, and its kernel takes connections.
fn host_stands_still(sim: &mut Sim, dice: &mut Stream) {
    let Some((a, b, _)) = cast(sim) else { return };
    let ms = dice.within(14_000, 18_000);
    sim.pause_now(&Node::Agent(a.host.clone()), ms);
    for slot in sim.engines.keys().filter(|slot| slot.host == a.host).cloned().collect::<Vec<_>>() {
        sim.pause_now(&Node::Engine(slot), ms);
    }
    sim.run_for(5_000);
    // It is no sign of life; that the person is wrong all the same shows when it goes on.
    drop(sim.attest(&a.host));
    sim.run_for(4_000);
    if !is_attested(sim, &a.host) {
        sim.finding("R8", format!("{} stands still, and the word that it is off was voided", a.host));
    }
    sim.run_for(ms);
    falls(sim, &a.host);
    tried(sim, away(&a, &b));
}

/// R26: the device of a silent host is asked for the sheet; then a plan holds the host, for longer than the device rests.
fn held_for_longer_than_a_device_rests(sim: &mut Sim, dice: &mut Stream) {
    let Some((a, _)) = ends(sim) else { return };
    sim.power_off(&a.host);
    sim.run_for(dice.within(6_500, 8_500));
    sim.trap("deliver-raise", 0, Injection::Late(dice.within(6_000, 6_700)));
    super::hosts::lose(sim, "deliver-raise");
    let id = sim.order(Intent::FailOverHost(a.host.clone()));
    sim.run_for(16_000);
    sim.triggers.clear();
    if let Ok(id) = id {
        sim.run_plan(id, 60_000);
    }
    sim.power_on(&a.host);
}

/// Agents that look at the masters' addresses fall silent for long.
fn those_that_look_fall_silent(sim: &mut Sim, dice: &mut Stream) {
    let Some((a, _)) = ends(sim) else { return };
    let others: Vec<HostName> = sim.agents.keys().filter(|host| **host != a.host).cloned().collect();
    sim.run_for(dice.within(1_000, 4_000));
    let first = dice.within(0, 3) as usize;
    for host in [&others[first], &others[(first + 1) % 4]] {
        sim.silence_now(host, 40_000);
    }
    sim.run_for(35_000);
    sim.reach("ADR39: the share of silent agents was dealt to others");
}

/// R8: a host that a person said to be off comes back in another boot, and the leader can't hear it.
fn comes_back_unheard(sim: &mut Sim, dice: &mut Stream) {
    let Some((a, b, _)) = cast(sim) else { return };
    sim.power_off_now(&a.host);
    sim.run_for(dice.within(5_000, 7_000));
    drop(sim.attest(&a.host));
    sim.run_for(dice.within(2_000, 4_000));
    sim.silence_now(&a.host, 40_000);
    sim.power_on_now(&a.host);
    falls(sim, &a.host);
    tried(sim, away(&a, &b));
    sim.run_for(3_000);
}

/// R8: agent and engine are separate signs of life.
fn engine_without_its_agent(sim: &mut Sim, dice: &mut Stream) {
    let Some((a, b, _)) = cast(sim) else { return };
    let agent = Node::Agent(a.host.clone());
    sim.kill_now(&agent);
    sim.part_hosts(&a.host, &b.host, 30_000);
    sim.run_for(dice.within(5_000, 8_000));
    drop(sim.attest(&a.host));
    falls(sim, &a.host);
    tried(sim, away(&a, &b));
    sim.start_now(&agent);
    sim.run_for(2_000);
}

/// The leader asks, and leads no more when it is answered; its successor asks anew.
fn leader_changes(sim: &mut Sim, dice: &mut Stream) {
    let Some((a, b, _)) = cast(sim) else { return };
    sim.silence_now(&a.host, 60_000);
    sim.part_hosts(&a.host, &b.host, 60_000);
    sim.run_for(dice.within(5_000, 8_000));
    drop(sim.attest(&a.host));
    for _ in 0..3 {
        // What it hears it hears late; then it hears no peer, and steps down before the answers are there.
        for _ in 0..12 {
            sim.trap("answers-look", 0, Injection::Late(dice.within(2_000, 2_400)));
        }
        sim.strike(Injection::IsolateLeader(dice.within(3_000, 5_000)));
        sim.run_for(6_000);
        sim.triggers.clear();
        sim.run_until(10_000, |sim| sim.leader().is_some());
    }
    sim.run_for(3_000);
    falls(sim, &a.host);
    tried(sim, away(&a, &b));
}

/// R8: nothing comes back from A, though all reaches it: no answer is no answer, and it serves whoever it reaches.
fn heard_by_nobody_and_hears_all(sim: &mut Sim, dice: &mut Stream) {
    let Some((a, b, third)) = cast(sim) else { return };
    let ms = dice.within(16_000, 20_000);
    for id in 1..=3 {
        sim.cut(Place::Host(a.host.clone()), Place::Coordinator(id), ms);
    }
    for other in [&b.host, &third] {
        sim.cut(Place::Host(a.host.clone()), Place::Host(other.clone()), ms);
    }
    sim.run_for(5_000);
    drop(sim.attest(&a.host));
    sim.run_for(5_000);
    if !is_attested(sim, &a.host) {
        sim.finding("R8", format!("nobody is answered by {}, and the word that it is off was voided", a.host));
    }
    sim.run_for(ms);
    falls(sim, &a.host);
    tried(sim, away(&a, &b));
}

/// R8: a person who is wrong says it again as soon as it falls: each word falls by an answer of its own.
fn word_is_given_again(sim: &mut Sim, dice: &mut Stream) {
    let Some((a, b, _)) = cast(sim) else { return };
    sim.silence_now(&a.host, 60_000);
    sim.part_hosts(&a.host, &b.host, 60_000);
    sim.run_for(dice.within(5_000, 8_000));
    for _ in 0..6 {
        let attest = ControlRequest::Attest { request: None, host: a.host.clone(), how: "I am sure".into() };
        drop(sim.ask_and_wait("alice", attest));
        sim.run_until(4_000, |sim| !is_attested(sim, &a.host));
        sim.run_for(dice.within(0, 30));
    }
    sim.run_for(2_000);
    falls(sim, &a.host);
    if let Ok(store) = StoreName::new(STORE) {
        tried(sim, Intent::FailOverStore { store, to: None });
    }
}
