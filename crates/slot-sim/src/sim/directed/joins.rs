//! Directed runs about hosts that join with a one-time token (docs/adr/0024).
//!
//! What always holds: A is the master's slot of the first store, B the next copy's; whoever joins is B's host, installed anew,
//! unless a run says otherwise. In the end it has joined, and its copies are built anew.

use super::hosts::{STORE, ends, until_sprung};
use super::*;
use slot_coordinator::core::ControlRequest;
use slot_types::cluster::{Cluster, CopyState};
use slot_types::plan::{Intent, Scope};
use slot_types::position::Digest;

/// The schedules. A campaign plays all of them in 300 seeds.
pub(super) const SCRIPTS: &[Script] = &[
    Script { name: "s15-token-not-burnt", swarm: triple, play: two_with_one_token },
    Script { name: "s15-revoked-token-taken", swarm: triple, play: revoked_while_it_joins },
    Script { name: "s15-expired-token-taken", swarm: triple, play: a_day_too_late },
    Script { name: "s2-disk-that-joined-admitted-unseen", swarm: synced, play: master_installed_anew },
    Script { name: "join/answer-lost", swarm: triple, play: answer_lost },
    Script { name: "join/leader-changes", swarm: triple, play: leader_changes },
    Script { name: "join/bare-machine", swarm: triple, play: bare_machine },
    Script { name: "join/dies-while-joining", swarm: triple, play: dies_while_joining },
];

fn triple(_: &mut Stream) -> Swarm {
    Swarm::calm(3, 1, 2, 0)
}

/// Everything acknowledged is on a second disk.
fn synced(_: &mut Stream) -> Swarm {
    Swarm::calm(3, 1, 3, 1)
}

/// A person says that a host may join with a new token.
fn invited(sim: &mut Sim, host: &HostName) -> Digest {
    let certificate = sim.new_token();
    let (host, reason) = (host.clone(), "installed anew".to_string());
    let request = ControlRequest::InviteHost { request: None, host: host.clone(), certificate, reason };
    if let Err(failure) = sim.ask_and_wait("alice", request) {
        sim.finding("L1", format!("{host} can't be invited: {failure}"));
    }
    certificate
}

fn revoke(host: &HostName) -> ControlRequest {
    ControlRequest::RevokeInvitation { request: None, host: host.clone(), reason: "the file was left behind".into() }
}

/// B's host, with an empty disk and no identity, up again.
fn installed_anew(sim: &mut Sim, dice: &mut Stream) -> Option<HostName> {
    let (_, b) = ends(sim)?;
    sim.reinstall(&b.host, dice.within(500, 3_000));
    sim.run_for(4_000);
    Some(b.host)
}

/// Whether it was let in, once that is certain.
fn told(sim: &mut Sim, joiner: u64) -> bool {
    sim.run_until(130_000, |sim| sim.joined(joiner).is_some());
    sim.joined(joiner).is_some_and(Result::is_ok)
}

/// It comes in with a token of its own, whatever became of others.
fn comes_in(sim: &mut Sim, host: &HostName) {
    let certificate = invited(sim, host);
    let joiner = sim.join(host, certificate, true);
    if !told(sim, joiner) {
        let why = sim.joined(joiner).cloned();
        sim.finding("L1", format!("{host} is invited and can't join: {why:?}"));
    }
}

fn whole(cluster: &Cluster, host: &HostName) -> bool {
    let copies = cluster.stores.values().flat_map(|store| &store.copies);
    let mut here = copies.filter(|(slot, copy)| slot.host == *host && copy.state != CopyState::Retired).peekable();
    here.peek().is_some() && here.all(|(_, copy)| copy.whole && copy.state == CopyState::Serving)
}

/// Its disk is admitted, and its copies are built anew.
fn rebuilt(sim: &mut Sim, host: &HostName) {
    let disk = |sim: &Sim| sim.truth().disks.get(host).copied();
    let admitted = |sim: &Sim| {
        let known = sim.fleet().and_then(|cluster| cluster.hosts.get(host));
        known.is_some_and(|known| known.incarnation == disk(sim) && known.quarantined.is_none() && known.boot.is_some())
    };
    if !sim.run_until(30_000, admitted) {
        return sim.finding("L1", format!("{host} has joined, and its disk is not admitted"));
    }
    if let Ok(id) = sim.order(Intent::Rebuild(Scope::Host(host.clone()))) {
        sim.run_plan(id, 200_000);
    }
    if !sim.run_until(60_000, |sim| sim.fleet().is_some_and(|cluster| whole(cluster, host))) {
        return sim.finding("L1", format!("the copies of {host}, which has joined, are not built anew"));
    }
    sim.reach("ADR24: a copy of a host that joined was built anew");
}

/// Somebody has a copy of the token. One of the two comes in, and a person sees that it was the wrong one.
fn two_with_one_token(sim: &mut Sim, dice: &mut Stream) {
    let Some(host) = installed_anew(sim, dice) else { return };
    let certificate = invited(sim, &host);
    let first_is_the_host = dice.one_in(2);
    let one = sim.join(&host, certificate, first_is_the_host);
    sim.run_for(dice.within(0, 40));
    let other = sim.join(&host, certificate, !first_is_the_host);
    let came = [told(sim, one), told(sim, other)];
    if came == [true, true] {
        sim.finding("S15", format!("two came in as {host} with one token"));
    }
    if came[usize::from(!first_is_the_host)] {
        return rebuilt(sim, &host);
    }
    comes_in(sim, &host);
    rebuilt(sim, &host);
}

/// The token is taken back before, or while, it is used.
fn revoked_while_it_joins(sim: &mut Sim, dice: &mut Stream) {
    let Some(host) = installed_anew(sim, dice) else { return };
    let certificate = invited(sim, &host);
    let is_before = dice.one_in(2);
    if is_before {
        drop(sim.ask_and_wait("bob", revoke(&host)));
    } else {
        sim.post("bob", revoke(&host));
        sim.run_for(dice.within(0, 12));
    }
    let joiner = sim.join(&host, certificate, true);
    let came = told(sim, joiner);
    if came && is_before {
        sim.finding("S15", format!("{host} came in with a token that was revoked before"));
    }
    if !came {
        comes_in(sim, &host);
    }
    rebuilt(sim, &host);
}

/// The token is a day old. (Everything stood still for that day: a site whose machines were suspended.)
fn a_day_too_late(sim: &mut Sim, dice: &mut Stream) {
    let Some(host) = installed_anew(sim, dice) else { return };
    let certificate = invited(sim, &host);
    sim.run_for(dice.within(100, 2_000));
    sim.stand_still(86_400_000 + dice.within(0, 60_000));
    sim.run_for(3_000);
    let joiner = sim.join(&host, certificate, true);
    if told(sim, joiner) {
        sim.finding("S15", format!("{host} came in with a token that was a day old"));
    }
    comes_in(sim, &host);
    rebuilt(sim, &host);
}

/// S2, R3: A's host is installed anew, and what its former disk held may matter: a person has to look.
fn master_installed_anew(sim: &mut Sim, dice: &mut Stream) {
    let Some((a, _)) = ends(sim) else { return };
    sim.reinstall(&a.host, dice.within(500, 3_000));
    sim.run_for(4_000);
    comes_in(sim, &a.host);
    sim.run_for(2_000);
    let known = sim.fleet().and_then(|cluster| cluster.hosts.get(&a.host));
    if known.is_some_and(|known| known.quarantined.is_some()) {
        sim.reach("ADR24: a disk that joined waited for a person");
    }
    let Ok(store) = StoreName::new(STORE) else { return };
    if let Ok(id) = sim.order(Intent::FailOverStore { store, to: None }) {
        sim.run_plan(id, 60_000);
    }
}

/// The answer is lost, so the host asks again with the same key.
fn answer_lost(sim: &mut Sim, dice: &mut Stream) {
    let Some(host) = installed_anew(sim, dice) else { return };
    let certificate = invited(sim, &host);
    // Those that do not lead answer too.
    for _ in 0..1 + dice.within(0, 3) {
        sim.trap("answers-joiner", dice.within(0, 1) as u32, Injection::Lose);
    }
    let joiner = sim.join(&host, certificate, true);
    if !told(sim, joiner) {
        sim.finding("L1", format!("{host} asked again with its own key, and is not let in"));
    }
    sim.triggers.clear();
    rebuilt(sim, &host);
}

/// The leader dies at some moment between the question and the answer.
fn leader_changes(sim: &mut Sim, dice: &mut Stream) {
    let Some(host) = installed_anew(sim, dice) else { return };
    let certificate = invited(sim, &host);
    let (Some(leader), at) = (sim.leader(), dice.within(0, 3)) else { return };
    let place = ["persists-entries", "answers-joiner", "persists-entries", ""][at as usize];
    if !place.is_empty() {
        sim.trap(place, dice.within(0, 2) as u32, Injection::KillLeader(dice.within(500, 4_000)));
    }
    let joiner = sim.join(&host, certificate, true);
    if place.is_empty() {
        sim.run_for(dice.within(0, 20));
        sim.kill_now(&Node::Coordinator(leader));
    }
    let came = told(sim, joiner);
    sim.triggers.clear();
    sim.start_now(&Node::Coordinator(leader));
    if !came {
        sim.finding("L1", format!("{host} is not let in, since the leader changed"));
    }
    rebuilt(sim, &host);
}

/// A machine that was never here is added to the cluster file, joins, and gets a copy.
fn bare_machine(sim: &mut Sim, dice: &mut Stream) {
    let Some((_, b)) = ends(sim) else { return };
    let mut fleet = super::super::fleet_of(&sim.swarm);
    let all = crate::setup::fleet(4, 1);
    let Some((host, spec)) = all.hosts.into_iter().next_back() else { return };
    fleet.hosts.insert(host.clone(), spec);
    sim.bare_machine(&host);
    let is_early = dice.one_in(3);
    if is_early {
        comes_in(sim, &host);
    }
    match sim.order(Intent::Apply(Box::new(fleet))) {
        Ok(id) => drop(sim.run_plan(id, 30_000)),
        Err(failure) => return sim.finding("L1", format!("{host} can't be added: {failure}")),
    }
    if !is_early {
        comes_in(sim, &host);
    }
    sim.run_for(4_000);
    let to = SlotId::new(host.clone(), 1);
    match sim.order(Intent::MoveCopy { slot: b, to: Some(to) }) {
        Ok(id) => drop(sim.run_plan(id, 90_000)),
        Err(failure) => return sim.finding("L1", format!("{host} has joined, and gets no copy: {failure}")),
    }
    if !sim.run_until(30_000, |sim| sim.fleet().is_some_and(|cluster| whole(cluster, &host))) {
        sim.finding("L1", format!("{host} has joined, and its copy is not whole"));
    }
}

/// The machine loses power while it joins, and asks again with the key that it had made.
fn dies_while_joining(sim: &mut Sim, dice: &mut Stream) {
    let Some(host) = installed_anew(sim, dice) else { return };
    let certificate = invited(sim, &host);
    let down = dice.within(200, 12_000);
    let by_an_answer = dice.one_in(2);
    if by_an_answer {
        // The token may be burnt, and nobody is there any more to hear so.
        sim.trap("answers-joiner", dice.within(0, 1) as u32, Injection::PowerOff(host.clone(), down));
    }
    let joiner = sim.join(&host, certificate, true);
    if by_an_answer {
        until_sprung(sim, 0);
        sim.triggers.clear();
    } else {
        sim.run_for(dice.within(0, 5));
        sim.power_off_now(&host);
    }
    sim.run_for(down + 500);
    sim.power_on_now(&host);
    sim.run_for(1_000);
    if sim.joined(joiner).is_none() {
        sim.join_resumed(joiner);
    }
    if !told(sim, joiner) {
        sim.finding("L1", format!("{host} asks with the key that it had made, and is not let in"));
    }
    rebuilt(sim, &host);
}
