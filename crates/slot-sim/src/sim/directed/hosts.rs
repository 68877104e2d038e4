//! Directed runs for the bugs planted in the agent and its ledger.
//!
//! What always holds: each is the schedule that its bug's `how` tells. The store is the first one; A is its master's slot, B
//! the next copy's.

use super::*;
use crate::check::Seen;
use slot_types::cluster::FleetSpec;
use slot_types::engine::EngineRole;
use slot_types::plan::Intent;

/// The schedules.
pub(super) const SCRIPTS: &[Script] = &[
    Script { name: "r1-frozen-answered-after-thaw", swarm: pair, play: receipt_of_a_freeze_is_lost },
    Script { name: "r1-freezes-again-after-thaw", swarm: pair, play: agent_forgets_a_freeze },
    Script { name: "r12-freeze-never-thaws", swarm: pair, play: receipt_of_a_freeze_is_lost },
    Script { name: "r2-demote-by-ledger-alone", swarm: pair, play: engine_hangs_at_demote },
    Script { name: "r21-launched-beside-hung", swarm: pair, play: engine_hangs_at_demote },
    Script { name: "r4-older-index-accepted", swarm: pair, play: older_freeze_comes_late },
    Script { name: "r4-cancel-leaves-no-tombstone", swarm: pair, play: cancelled_start_comes_late },
    Script { name: "r4-refusal-judged-again", swarm: pair, play: cancelled_freeze_comes_late },
    Script { name: "r5-boots-as-master", swarm: pair, play: returns_unheard },
    Script { name: "r5-late-start-master", swarm: pair, play: start_master_outlives_its_agent },
    Script { name: "p4-stale-follow-applied", swarm: triple, play: follow_outlives_its_agent },
    Script { name: "r11-key-without-generation", swarm: pair, play: store_is_made_again },
    Script { name: "r11-old-engine-taken-for-new-copy", swarm: pair, play: store_is_made_again },
    Script { name: "r21-attempt-beside-attempt", swarm: pair, play: takeover_while_a_call_hangs },
    Script { name: "r27-boot-unchecked", swarm: pair, play: start_master_of_an_ended_boot },
    Script { name: "s6-redelivery-performed-again", swarm: pair, play: orders_come_twice },
    Script { name: "s8-stop-believed", swarm: pair, play: engine_hangs_at_stop },
    Script { name: "s10-agent-start-kills-engines", swarm: pair, play: agents_start_again },
    Script { name: "s11-duplicate-begins-anew", swarm: pair, play: duplicate_while_a_call_is_out },
    Script { name: "s11-trailing-bytes-overlooked", swarm: pair, play: orders_run_together },
    Script { name: "s15-incarnation-unchecked", swarm: triple, play: order_for_the_old_disk },
    Script { name: "s15-older-term-taken", swarm: two_stores, play: order_of_a_deposed_leader },
];

pub(super) const STORE: &str = "store1";

pub(super) fn pair(_: &mut Stream) -> Swarm {
    Swarm::calm(2, 1, 2, 0)
}

pub(super) fn triple(_: &mut Stream) -> Swarm {
    Swarm::calm(3, 1, 3, 0)
}

fn two_stores(_: &mut Stream) -> Swarm {
    Swarm::calm(2, 2, 2, 0)
}

/// The master and the next copy, when they know each other.
pub(super) fn ends(sim: &mut Sim) -> Option<(SlotId, SlotId)> {
    sim.run_for(3_000);
    let mut slots = sim.copies_of(STORE).into_iter();
    Some((slots.next()?, slots.next()?))
}

pub(super) fn away(from: &SlotId, to: &SlotId) -> Intent {
    Intent::FailOverSlot { slot: from.clone(), to: Some(to.clone()) }
}

/// A plan that is begun and carried out, or not.
pub(super) fn carried_out(sim: &mut Sim, intent: Intent) {
    if let Ok(id) = sim.order(intent) {
        sim.run_plan(id, 60_000);
    }
}

pub(super) fn until_sprung(sim: &mut Sim, left: usize) -> bool {
    sim.run_until(15_000, |sim| sim.triggers.len() <= left)
}

/// Every further message at a place is lost.
pub(super) fn lose(sim: &mut Sim, place: &str) {
    for _ in 0..24 {
        sim.trap(place, 0, Injection::Lose);
    }
}

pub(super) fn is_role(sim: &Sim, slot: &SlotId, role: EngineRole) -> bool {
    sim.engine(slot).is_some_and(|engine| engine.role() == role)
}

/// From now on a freeze ends well before its step counts as stuck.
fn short_freezes(sim: &mut Sim) {
    let mut fleet = super::super::fleet_of(&sim.swarm);
    fleet.policy.freeze_limit_ms = 3_000;
    carried_out(sim, Intent::Apply(Box::new(fleet)));
}

/// R1, R12: A is frozen, nobody hears so, and its limit passes before the order comes again.
fn receipt_of_a_freeze_is_lost(sim: &mut Sim, dice: &mut Stream) {
    let Some((a, b)) = ends(sim) else { return };
    short_freezes(sim);
    sim.trap("records-freeze", 0, Injection::Silence(a.host.clone(), dice.within(4_500, 6_500)));
    let id = sim.order(away(&a, &b));
    sim.run_for(14_000);
    if let Ok(id) = id {
        sim.run_plan(id, 30_000);
    }
}

/// R1: A is frozen, its agent dies before that is in its ledger, and comes back when the freeze is over.
fn agent_forgets_a_freeze(sim: &mut Sim, dice: &mut Stream) {
    let Some((a, b)) = ends(sim) else { return };
    short_freezes(sim);
    sim.trap("records-freeze", 0, Injection::Kill(Node::Agent(a.host.clone()), dice.within(4_500, 6_000)));
    let id = sim.order(away(&a, &b));
    sim.run_for(14_000);
    if let Ok(id) = id {
        sim.run_plan(id, 30_000);
    }
}

/// R2, R21: A's engine hangs when its Demote comes, for longer than its agent waits.
fn engine_hangs_at_demote(sim: &mut Sim, dice: &mut Stream) {
    let Some((a, b)) = ends(sim) else { return };
    sim.trap("calls-demote", 0, Injection::Pause(Node::Engine(a.clone()), dice.within(9_000, 14_000)));
    carried_out(sim, away(&a, &b));
    sim.run_for(15_000);
}

/// R4: a Freeze is held back, cancelled and forgotten about; it comes when A serves again.
fn cancelled_freeze_comes_late(sim: &mut Sim, dice: &mut Stream) {
    let Some((a, b)) = ends(sim) else { return };
    sim.trap("deliver-freeze", 0, Injection::Late(dice.within(9_000, 13_000)));
    lose(sim, "deliver-freeze");
    let Ok(id) = sim.order(away(&a, &b)) else { return };
    until_sprung(sim, 24);
    sim.run_for(dice.within(10, 900));
    drop(sim.abort(id));
    sim.run_plan(id, 20_000);
    sim.triggers.clear();
    sim.run_for(15_000);
}

/// R4: a StartMaster is held back, cancelled and forgotten about; it comes while what was ordered since is lost.
fn cancelled_start_comes_late(sim: &mut Sim, dice: &mut Stream) {
    let Some((a, _)) = ends(sim) else { return };
    sim.trap("deliver-start-master", 0, Injection::Late(dice.within(4_000, 6_000)));
    lose(sim, "deliver-start-master");
    sim.kill_now(&Node::Engine(a));
    until_sprung(sim, 24);
    sim.run_for(dice.within(10, 400));
    let running = sim.state().and_then(|state| state.running().next()).map(|plan| plan.id);
    if let Some(id) = running {
        drop(sim.abort(id));
    }
    sim.run_for(8_000);
    sim.triggers.clear();
    sim.run_for(6_000);
}

/// R4: the same as for the Freeze, with another plan between that freezes A and is stopped as well.
fn older_freeze_comes_late(sim: &mut Sim, dice: &mut Stream) {
    let Some((a, b)) = ends(sim) else { return };
    sim.trap("deliver-freeze", 0, Injection::Late(dice.within(16_000, 20_000)));
    let Ok(id) = sim.order(away(&a, &b)) else { return };
    until_sprung(sim, 0);
    sim.run_for(dice.within(10, 900));
    drop(sim.abort(id));
    sim.run_plan(id, 20_000);
    lose(sim, "deliver-catch-up");
    if let Ok(id) = sim.order(away(&a, &b)) {
        until_sprung(sim, 23);
        drop(sim.abort(id));
        sim.run_plan(id, 20_000);
    }
    sim.triggers.clear();
    sim.run_for(20_000);
}

/// R5: A's host comes back while nobody hears it and B is master.
fn returns_unheard(sim: &mut Sim, dice: &mut Stream) {
    let Some((a, b)) = ends(sim) else { return };
    sim.power_off_now(&a.host);
    sim.run_for(5_000);
    drop(sim.attest(&a.host));
    carried_out(sim, away(&a, &b));
    sim.power_on_now(&a.host);
    sim.silence_now(&a.host, dice.within(4_000, 9_000));
    sim.run_for(12_000);
}

/// R5: a StartMaster call waits at A's engine longer than its agent lives, and comes when A is fenced at a higher epoch.
fn start_master_outlives_its_agent(sim: &mut Sim, dice: &mut Stream) {
    let Some((a, b)) = ends(sim) else { return };
    sim.trap("calls-start-master", 0, Injection::Late(dice.within(12_000, 14_000)));
    sim.kill_now(&Node::Engine(a.clone()));
    until_sprung(sim, 0);
    let agent = Node::Agent(a.host.clone());
    sim.kill_now(&agent);
    sim.run_for(300);
    sim.start_now(&agent);
    sim.run_until(8_000, |sim| is_role(sim, &a, EngineRole::Master));
    if sim.order(away(&a, &b)).is_err() {
        return;
    }
    sim.run_until(10_000, |sim| is_role(sim, &a, EngineRole::Demoted));
    sim.part_hosts(&a.host, &b.host, 20_000);
    sim.run_for(24_000);
}

/// P4: a Follow call waits at a replica's engine longer than its agent lives, and comes when it follows another master.
fn follow_outlives_its_agent(sim: &mut Sim, dice: &mut Stream) {
    let slots = sim.copies_of(STORE);
    let [a, b, d] = slots.as_slice() else { return };
    sim.trap("calls-follow", 0, Injection::Late(dice.within(12_000, 14_000)));
    sim.kill_now(&Node::Engine(d.clone()));
    until_sprung(sim, 0);
    let agent = Node::Agent(d.host.clone());
    sim.kill_now(&agent);
    sim.run_for(300);
    sim.start_now(&agent);
    sim.run_until(8_000, |sim| is_role(sim, d, EngineRole::Replica));
    carried_out(sim, away(a, b));
    sim.run_for(15_000);
}

/// The cluster file with so many stores more.
fn with_more_stores(sim: &Sim, more: u8) -> FleetSpec {
    let mut fleet = super::super::fleet_of(&sim.swarm);
    let stores = crate::setup::fleet(sim.swarm.hosts, sim.swarm.stores + more).stores;
    for (name, spec) in stores {
        fleet.stores.entry(name).or_insert(spec);
    }
    fleet
}

/// R11: a store's making is given up when its copies are there and run, and it is made again on their slots.
fn store_is_made_again(sim: &mut Sim, dice: &mut Stream) {
    let fleet = Intent::Apply(Box::new(with_more_stores(sim, 1)));
    sim.trap("deliver-provision", 1, Injection::Late(dice.within(100, 900)));
    lose(sim, "deliver-provision");
    if let Ok(id) = sim.order(fleet.clone()) {
        until_sprung(sim, 24);
        drop(sim.abort(id));
        sim.run_plan(id, 20_000);
    }
    sim.triggers.clear();
    sim.run_for(2_000);
    carried_out(sim, fleet);
    sim.run_for(2_000);
}

/// R21: A's engine hangs in a Freeze, and a failover takes the store from that plan.
fn takeover_while_a_call_hangs(sim: &mut Sim, dice: &mut Stream) {
    let Some((a, b)) = ends(sim) else { return };
    sim.trap("calls-freeze", 0, Injection::Pause(Node::Engine(a.clone()), dice.within(12_000, 16_000)));
    let Ok(id) = sim.order(away(&a, &b)) else { return };
    until_sprung(sim, 0);
    sim.run_for(dice.within(3_200, 4_000));
    drop(sim.order(away(&a, &b)));
    sim.run_for(5_000);
    drop(sim.abort(id));
    sim.run_for(15_000);
}

/// R27: a StartMaster is held back, and comes right after its host has booted anew.
fn start_master_of_an_ended_boot(sim: &mut Sim, dice: &mut Stream) {
    let Some((a, _)) = ends(sim) else { return };
    sim.trap("deliver-start-master", 0, Injection::Late(dice.within(5_000, 6_000)));
    lose(sim, "deliver-start-master");
    sim.kill_now(&Node::Engine(a.clone()));
    until_sprung(sim, 24);
    sim.power_off_now(&a.host);
    sim.run_for(dice.within(300, 1_500));
    sim.power_on_now(&a.host);
    sim.run_for(8_000);
    sim.triggers.clear();
    sim.run_for(8_000);
}

/// S6: every order comes a second time when it is done, some of them when their engine has died since.
fn orders_come_twice(sim: &mut Sim, dice: &mut Stream) {
    let Some((a, b)) = ends(sim) else { return };
    for place in ["deliver-freeze", "deliver-demote", "deliver-promote", "deliver-follow", "deliver-start-master"] {
        sim.trap(place, 0, Injection::Again(dice.within(200, 3_000)));
    }
    sim.kill_now(&Node::Engine(a.clone()));
    sim.run_until(8_000, |sim| is_role(sim, &a, EngineRole::Master));
    sim.run_for(2_000);
    carried_out(sim, away(&a, &b));
    sim.run_for(4_000);
}

/// S8: an engine hangs when it is asked to stop, for longer than its agent waits.
fn engine_hangs_at_stop(sim: &mut Sim, dice: &mut Stream) {
    let Some((_, b)) = ends(sim) else { return };
    sim.trap("calls-stop", 0, Injection::Pause(Node::Engine(b.clone()), dice.within(25_000, 35_000)));
    carried_out(sim, Intent::DrainHost(b.host));
    sim.run_for(20_000);
}

/// S10: agents start again with the coordinators away; then one host is cut off for a while.
fn agents_start_again(sim: &mut Sim, dice: &mut Stream) {
    let Some((a, b)) = ends(sim) else { return };
    for host in [a.host, b.host] {
        sim.silence_now(&host, dice.within(500, 3_000));
        sim.kill_now(&Node::Agent(host.clone()));
        sim.run_for(dice.within(100, 500));
        sim.start_now(&Node::Agent(host));
        sim.run_for(4_000);
    }
}

/// S11: a Demote comes twice while its call is out.
fn duplicate_while_a_call_is_out(sim: &mut Sim, dice: &mut Stream) {
    let Some((a, b)) = ends(sim) else { return };
    sim.trap("deliver-demote", 0, Injection::Again(dice.within(200, 400)));
    sim.trap("calls-demote", 0, Injection::Pause(Node::Engine(a.clone()), dice.within(800, 1_400)));
    carried_out(sim, away(&a, &b));
    sim.run_for(5_000);
}

/// S11: orders come with the bytes of others behind them.
fn orders_run_together(sim: &mut Sim, _: &mut Stream) {
    let Some((a, b)) = ends(sim) else { return };
    for place in ["deliver-freeze", "deliver-demote", "deliver-promote", "deliver-follow"] {
        sim.trap(place, 0, Injection::Longer);
    }
    carried_out(sim, away(&a, &b));
}

/// S15, S2: a replica's disk is replaced while an order for the old one is under way.
fn order_for_the_old_disk(sim: &mut Sim, dice: &mut Stream) {
    let slots = sim.copies_of(STORE);
    let [_, _, d] = slots.as_slice() else { return };
    let late = dice.within(3_000, 5_000);
    sim.trap("deliver-stop", 0, Injection::Late(late));
    let Ok(id) = sim.order(Intent::DrainHost(d.host.clone())) else { return };
    until_sprung(sim, 0);
    sim.wipe(&d.host, dice.within(300, 1_000));
    sim.run_for(late + 1_000);
    drop(sim.abort(id));
    sim.run_for(5_000);
}

/// S15: a deposed leader's order comes when its successor has spoken to that agent, but not of this order.
fn order_of_a_deposed_leader(sim: &mut Sim, dice: &mut Stream) {
    let Some((a, b)) = ends(sim) else { return };
    let other = sim.copies_of("store2").into_iter().find(|slot| slot.host == a.host);
    sim.trap("deliver-freeze", 0, Injection::Late(dice.within(6_500, 7_500)));
    lose(sim, "deliver-freeze");
    if sim.order(away(&a, &b)).is_err() {
        return;
    }
    until_sprung(sim, 24);
    sim.strike(Injection::KillLeader(dice.within(1_500, 3_000)));
    sim.run_for(2_000);
    sim.run_until(10_000, |sim| sim.leader().is_some());
    if let Some(other) = other {
        sim.kill_now(&Node::Engine(other));
    }
    sim.run_for(14_000);
    sim.triggers.clear();
    sim.run_for(5_000);
}

impl Sim {
    /// What a copy's folder holds.
    pub(super) fn files_of(&mut self, slot: &SlotId) -> BTreeMap<String, Vec<u8>> {
        self.folder_mut(slot).map(|folder| folder.files()).unwrap_or_default()
    }

    /// A copy's folder holds this from now on, all of it durable; its process does not run.
    pub(super) fn put_files(&mut self, slot: &SlotId, files: BTreeMap<String, Vec<u8>>) {
        if let Some(folder) = self.folder_mut(slot) {
            *folder = Folder::new(files);
        }
    }

    /// Checkers hear that a host's disk is not what it was.
    pub(super) fn disk_touched(&mut self, host: &HostName) {
        let now = self.now();
        self.witness.saw(now, Seen::HostDiskTouched { host });
    }
}
