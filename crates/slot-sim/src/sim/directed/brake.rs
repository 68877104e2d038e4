//! Directed runs of R23: more hosts are silent at once than policy allows.
//!
//! What always holds: A, the master of store 1, is among the silent ones, and B, its other copy, is not.

use super::*;
use slot_types::plan::{Intent, Plan};

/// The schedules.
pub(super) const SCRIPTS: &[Script] =
    &[Script { name: "r23-mass-unasked", swarm: |_| Swarm::calm(6, 1, 2, 0), play: many_silent_hosts }];

/// Somebody asks who has not looked, then somebody who has: two others say yes.
fn many_silent_hosts(sim: &mut Sim, dice: &mut Stream) {
    let Ok([a, b]) = <[SlotId; 2]>::try_from(sim.copies_of("store1")) else { return };
    let others: Vec<HostName> =
        sim.agents.keys().filter(|host| **host != a.host && **host != b.host).cloned().collect();
    let silent: Vec<HostName> = std::iter::once(a.host.clone()).chain(others.into_iter().take(3)).collect();
    for host in &silent {
        sim.power_off(host);
    }
    sim.run_for(dice.within(4_000, 7_000));
    let _ = sim.attest(&a.host);
    sim.run_for(4_000);
    let intent = match dice.one_in(2) {
        true => Intent::FailOverHost(a.host.clone()),
        false => Intent::FailOverStore { store: "store1".parse().expect("a name"), to: None },
    };
    let unasked = sim.plan("alice", intent.clone());
    if let Ok((id, plan)) = &unasked {
        yes_of_two(sim, *id, plan);
    }
    match sim.plan_knowing("alice", intent, true) {
        Ok((id, plan)) => {
            if unasked.is_err() {
                sim.reach("R23: many hosts silent, refused, asked again, and two said yes");
            }
            yes_of_two(sim, id, &plan);
            sim.run_plan(id, 30_000);
        }
        Err(_) => sim.run_for(1_000),
    }
    for host in &silent {
        sim.power_on(host);
    }
    sim.run_for(3_000);
}

fn yes_of_two(sim: &mut Sim, id: PlanId, plan: &Plan) {
    let digest = Plan::digest_of(&plan.bytes()).short();
    for who in ["bob", "carol"] {
        let _ = sim.approve(who, id, digest);
    }
}
