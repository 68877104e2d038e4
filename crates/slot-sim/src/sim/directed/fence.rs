//! Directed runs of R26 and R6: hosts that are silent and are switched off by their devices.
//!
//! What always holds: the host of A, the first store's master, is the silent one; its agent stands still while its engines
//! serve, or it has no power.

use super::hosts::ends;
use super::*;
use slot_types::plan::Intent;

/// The schedules.
pub(super) const SCRIPTS: &[Script] = &[
    Script { name: "r26-off-without-status", swarm: fleet, play: silent_host_is_switched_off },
    Script { name: "r26-power-cut-while-the-agent-answers", swarm: fleet, play: agent_answers_before_the_cut },
    Script { name: "r26-fires-on-another-boot", swarm: fleet, play: host_boots_before_the_cut },
];

fn fleet(_: &mut Stream) -> Swarm {
    Swarm { devices: true, ..Swarm::calm(3, 3, 2, 0) }
}

/// R26: one sheet for a store of it, or for all; the device confirms, or does what devices do.
fn silent_host_is_switched_off(sim: &mut Sim, dice: &mut Stream) {
    let Some((a, _)) = ends(sim) else { return };
    sim.strike(Injection::Pause(Node::Agent(a.host.clone()), 60_000));
    sim.run_for(dice.within(3_500, 6_000));
    let intent = match dice.one_in(2) {
        true => Intent::FailOverHost(a.host),
        false => Intent::FailOverSlot { slot: a, to: None },
    };
    if let Ok(id) = sim.order(intent) {
        sim.run_plan(id, 60_000);
    }
    sim.run_for(3_000);
}

/// R26: the agent answers again while the copies are being raised.
fn agent_answers_before_the_cut(sim: &mut Sim, dice: &mut Stream) {
    let Some((a, _)) = ends(sim) else { return };
    sim.strike(Injection::Pause(Node::Agent(a.host.clone()), dice.within(7_000, 9_000)));
    sim.run_for(4_000);
    sim.trap("deliver-raise", 0, Injection::Late(dice.within(6_000, 6_700)));
    super::hosts::lose(sim, "deliver-raise");
    if let Ok(id) = sim.order(Intent::FailOverHost(a.host)) {
        sim.run_plan(id, 30_000);
    }
    sim.triggers.clear();
    sim.run_for(3_000);
}

/// R6: it boots again while the copies are being raised, and falls silent once more.
fn host_boots_before_the_cut(sim: &mut Sim, dice: &mut Stream) {
    let Some((a, _)) = ends(sim) else { return };
    sim.power_off(&a.host);
    sim.run_for(4_000);
    sim.trap("deliver-raise", 0, Injection::Late(dice.within(6_000, 6_700)));
    super::hosts::lose(sim, "deliver-raise");
    let id = sim.order(Intent::FailOverHost(a.host.clone()));
    sim.power_on(&a.host);
    sim.run_for(2_500);
    sim.power_off(&a.host);
    sim.run_for(10_000);
    sim.triggers.clear();
    sim.power_on(&a.host);
    if let Ok(id) = id {
        sim.run_plan(id, 30_000);
    }
}
