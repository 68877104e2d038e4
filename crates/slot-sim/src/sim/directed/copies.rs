//! Schedules of copies that come and go.
//!
//! What always holds: as in the other schedules, nothing is asserted here. B is a replica of the first store; T is where its
//! copy goes.

use super::*;
use slot_coordinator::core::ControlRequest;
use slot_types::cluster::{Host, HostQuarantine};
use slot_types::plan::{Intent, Scope};

/// The schedules, and those of the bugs planted in copies.
pub(super) const SCRIPTS: &[Script] = &[
    Script { name: "r16-building-copy-counted", swarm: quad, play: moved },
    Script { name: "r16-counted-while-behind", swarm: quad, play: moved },
    Script { name: "r4-slot-free-before-destroyed", swarm: quad, play: late_destroy },
    Script { name: "r11-destroyed-without-tombstone", swarm: quad, play: destroyed_then_built_again },
    Script { name: "reach/destroy-comes-late", swarm: quad, play: late_destroy },
    Script { name: "reach/destroy-aborted", swarm: quad, play: aborted_destroy },
    Script { name: "reach/engine-dies-while-built", swarm: quad, play: dies_while_built },
    Script { name: "reach/master-dies-while-built", swarm: quad, play: master_dies_while_built },
    Script { name: "reach/host-emptied", swarm: quad, play: emptied },
    Script { name: "reach/disk-replaced-and-rebuilt", swarm: quad, play: rebuilt },
    Script { name: "reach/destroy-of-an-ended-boot", swarm: quad, play: boots_while_destroyed },
    Script { name: "reach/leader-dies-while-built", swarm: quad, play: leader_dies_while_built },
    Script { name: "r11-tombstone-dropped", swarm: quad, play: retired_then_the_old_file },
    Script { name: "reach/store-retired", swarm: quad, play: retired_then_the_old_file },
    Script { name: "reach/retirement-cut-short", swarm: quad, play: retired_in_two_goes },
];

const STORE: &str = "store1";

fn quad(_: &mut Stream) -> Swarm {
    Swarm::calm(4, 3, 2, 0)
}

/// The master, the replica, and a free slot of a host that has no copy of the store.
fn places(sim: &Sim) -> Option<(SlotId, SlotId, SlotId)> {
    let mut slots = sim.copies_of(STORE).into_iter();
    let (a, b) = (slots.next()?, slots.next()?);
    let cluster = sim.fleet()?;
    let used: BTreeSet<SlotId> = cluster.stores.values().flat_map(|s| s.copies.keys().cloned()).collect();
    let (_, free) = cluster
        .hosts
        .iter()
        .filter(|(name, _)| **name != a.host && **name != b.host)
        .flat_map(|(name, host)| host.slots.keys().map(move |number| ((), SlotId::new(name.clone(), *number))))
        .find(|(_, slot)| !used.contains(slot))?;
    Some((a, b, free))
}

fn away(from: &SlotId, to: &SlotId) -> Intent {
    Intent::MoveCopy { slot: from.clone(), to: Some(to.clone()) }
}

fn through(sim: &mut Sim, intent: Intent) {
    if let Ok(id) = sim.order(intent) {
        sim.run_plan(id, 90_000);
    }
}

/// R16, S9: a replica goes elsewhere while clients write.
fn moved(sim: &mut Sim, dice: &mut Stream) {
    sim.run_for(dice.within(3_000, 8_000));
    let Some((_, b, t)) = places(sim) else { return };
    through(sim, away(&b, &t));
    sim.run_for(5_000);
}

/// R4, R11: the order to destroy B is held back; meanwhile somebody wants B's slot for another store.
fn late_destroy(sim: &mut Sim, dice: &mut Stream) {
    sim.run_for(3_000);
    let Some((_, b, t)) = places(sim) else { return };
    super::hosts::lose(sim, "deliver-destroy");
    let Ok(id) = sim.order(away(&b, &t)) else { return };
    sim.run_until(30_000, |sim| sim.triggers.len() < 24);
    sim.run_for(dice.within(100, 2_000));
    let others: Vec<SlotId> = ["store2", "store3"].iter().flat_map(|store| sim.copies_of(store)).collect();
    for other in others.iter().filter(|other| other.host != b.host) {
        if let Ok((plan, shown)) = sim.plan("alice", away(other, &b)) {
            let digest = slot_types::plan::Plan::digest_of(&shown.bytes()).short();
            drop(sim.approve("alice", plan, digest));
            sim.run_for(4_000);
            break;
        }
    }
    sim.triggers.clear();
    sim.run_plan(id, 60_000);
    sim.run_for(5_000);
}

/// R11, S2: B's copy is destroyed, and the store gets a copy on that very slot again while an old order is on its way.
fn destroyed_then_built_again(sim: &mut Sim, dice: &mut Stream) {
    sim.run_for(3_000);
    let Some((_, b, t)) = places(sim) else { return };
    sim.trap("deliver-destroy", 0, Injection::Late(dice.within(9_000, 15_000)));
    through(sim, away(&b, &t));
    through(sim, away(&t, &b));
    sim.run_for(16_000);
}

/// R4: the order to destroy B is lost and its plan aborted; what is left is put right later.
fn aborted_destroy(sim: &mut Sim, dice: &mut Stream) {
    sim.run_for(3_000);
    let Some((_, b, t)) = places(sim) else { return };
    super::hosts::lose(sim, "deliver-destroy");
    let Ok(id) = sim.order(away(&b, &t)) else { return };
    sim.run_until(30_000, |sim| sim.triggers.len() < 24);
    sim.run_for(dice.within(10, 900));
    drop(sim.abort(id));
    sim.triggers.clear();
    sim.run_plan(id, 60_000);
    through(sim, Intent::Rebuild(Scope::All));
}

/// R16, L1: the engine that is being filled dies again and again.
fn dies_while_built(sim: &mut Sim, dice: &mut Stream) {
    sim.run_for(3_000);
    let Some((_, b, t)) = places(sim) else { return };
    sim.trap("records-follow", 0, Injection::Kill(Node::Engine(t.clone()), dice.within(10, 400)));
    let Ok(id) = sim.order(away(&b, &t)) else { return };
    sim.run_until(20_000, |sim| sim.triggers.is_empty());
    sim.run_plan(id, 200_000);
}

/// R13, R16: the master's host loses power while a copy is filled from it, and its store is failed over.
fn master_dies_while_built(sim: &mut Sim, dice: &mut Stream) {
    sim.run_for(3_000);
    let Some((a, b, t)) = places(sim) else { return };
    sim.trap("accepts-follow", 0, Injection::PowerOff(a.host.clone(), dice.within(40_000, 60_000)));
    let id = sim.order(away(&b, &t));
    sim.run_until(20_000, |sim| sim.triggers.is_empty());
    sim.run_for(4_000);
    drop(sim.attest(&a.host));
    if let Ok(sheet) = sim.order(Intent::FailOverSlot { slot: a, to: None }) {
        sim.run_plan(sheet, 60_000);
    }
    if let Ok(id) = id {
        sim.run_plan(id, 30_000);
    }
    sim.run_for(60_000);
}

/// S8, S9: a host is emptied and put into service again.
fn emptied(sim: &mut Sim, _: &mut Stream) {
    sim.run_for(3_000);
    let Some((a, ..)) = places(sim) else { return };
    through(sim, Intent::EmptyHost(a.host.clone()));
    sim.run_for(3_000);
    through(sim, Intent::UndrainHost(a.host));
    through(sim, Intent::Rebalance(Default::default()));
}

/// R16: a host's disk is wiped, a person admits the new one, and its copies are built anew.
fn rebuilt(sim: &mut Sim, dice: &mut Stream) {
    sim.run_for(3_000);
    sim.strike(Injection::Any(FaultClass::WipedDisk));
    sim.run_for(dice.within(20_000, 40_000));
    let presented = |(name, host): (&HostName, &Host)| match &host.quarantined {
        Some(HostQuarantine::OtherDisk { presented }) => Some((name.clone(), *presented)),
        _ => None,
    };
    let Some((host, incarnation)) = sim.fleet().and_then(|cluster| cluster.hosts.iter().find_map(presented)) else {
        return;
    };
    for store in ["store1", "store2", "store3"] {
        if let Some(master) = sim.master_of(store).filter(|master| master.host == host) {
            through(sim, Intent::FailOverSlot { slot: master, to: None });
        }
    }
    let reason = "a new disk".to_string();
    drop(
        sim.ask_and_wait("alice", ControlRequest::AdmitHost { request: None, host: host.clone(), incarnation, reason }),
    );
    sim.run_for(5_000);
    through(sim, Intent::Rebuild(Scope::Host(host)));
}

/// R27, R4: B's host boots while the order to destroy its copy is on its way.
fn boots_while_destroyed(sim: &mut Sim, dice: &mut Stream) {
    sim.run_for(3_000);
    let Some((_, b, t)) = places(sim) else { return };
    sim.trap("accepts-destroy", 0, Injection::PowerOff(b.host.clone(), dice.within(2_000, 6_000)));
    through(sim, away(&b, &t));
}

/// R16, S6: the leader dies while a copy is filled.
fn leader_dies_while_built(sim: &mut Sim, dice: &mut Stream) {
    sim.run_for(3_000);
    let Some((_, b, t)) = places(sim) else { return };
    sim.trap("accepts-follow", 0, Injection::KillLeader(dice.within(1_000, 5_000)));
    through(sim, away(&b, &t));
}

fn retirement() -> Option<Intent> {
    StoreName::new("store3").ok().map(Intent::RetireStore)
}

/// R11: a store is retired while the leader dies, and whoever has the old file applies it.
fn retired_then_the_old_file(sim: &mut Sim, dice: &mut Stream) {
    sim.run_for(dice.within(2_000, 6_000));
    let Some(intent) = retirement() else { return };
    if dice.one_in(2) {
        sim.trap("deliver-demote", 0, Injection::KillLeader(dice.within(1_000, 5_000)));
    }
    through(sim, intent);
    sim.run_for(dice.within(500, 4_000));
    let mut fleet = fleet_of(&sim.swarm);
    fleet.policy.max_lag_records += 1;
    through(sim, Intent::Apply(Box::new(fleet)));
    sim.run_for(8_000);
}

/// R4, L1: the master's host loses power while its store is retired; the plan is given up, and what is left is asked for again.
fn retired_in_two_goes(sim: &mut Sim, dice: &mut Stream) {
    sim.run_for(3_000);
    let (Some(intent), Some(master)) = (retirement(), sim.master_of("store3")) else { return };
    let place = if dice.one_in(2) { "deliver-demote" } else { "deliver-destroy" };
    sim.trap(place, 0, Injection::PowerOff(master.host.clone(), dice.within(20_000, 40_000)));
    let Ok(id) = sim.order(intent.clone()) else { return };
    sim.run_until(20_000, |sim| sim.triggers.is_empty());
    sim.run_for(dice.within(1_000, 15_000));
    drop(sim.abort(id));
    sim.run_plan(id, 60_000);
    sim.run_for(30_000);
    through(sim, intent);
}
