//! R6, R26: whether what is switched off has to be, may be from there, and names all that it kills.
//!
//! What always holds: derived from cluster and evidence alone; a host that answers, was attested off, or whose device has
//! said off before is never switched off.

use super::{Fault, Ground};
use slot_types::cluster::*;
use slot_types::fence::{FAILED_MS, FenceFrom, SwitchOff};
use slot_types::ids::*;
use slot_types::plan::TaskKind;
use std::collections::BTreeSet;

pub(super) fn check(ground: &Ground<'_>) -> Result<(), Fault> {
    let waived: BTreeSet<&HostName> = ground
        .plan
        .tasks
        .iter()
        .flat_map(|task| match &task.kind {
            TaskKind::FailOver { waived, .. } => waived.iter().map(|slot| &slot.host).collect::<Vec<_>>(),
            _ => Vec::new(),
        })
        .collect();
    for (name, off) in &ground.plan.switch_off {
        let wrong = |what| Err(Fault::SwitchOff { host: name.clone(), what });
        let Some(host) = ground.cluster.hosts.get(name) else { return wrong("is not there to be switched off") };
        if !waived.contains(name) {
            return wrong("would be switched off although no master there is past");
        }
        if ground.hears(name) {
            return wrong("would be switched off although its agent answers");
        }
        if host.boot != Some(off.boot) || host.device.spec.as_ref() != Some(&off.spec) {
            return wrong("would be switched off in another boot, or by another device");
        }
        let there: BTreeSet<&SlotId> = ground
            .cluster
            .copies_on(name)
            .filter(|(_, _, copy)| copy.state != CopyState::Retired)
            .map(|(_, slot, _)| slot)
            .collect();
        if there != off.kills.iter().collect() {
            return wrong("would be switched off without naming exactly what dies there");
        }
        let said_off = host.device.off.as_ref().is_some_and(|said| said.boot == off.boot);
        if said_off != off.by.is_none() {
            return wrong("would be switched off twice, or counts as off without its device's word");
        }
        by(ground, name, host, off)?;
    }
    Ok(())
}

fn by(ground: &Ground<'_>, name: &HostName, host: &Host, off: &SwitchOff) -> Result<(), Fault> {
    let Some(by) = &off.by else { return Ok(()) };
    let wrong = |what| Err(Fault::SwitchOff { host: name.clone(), what });
    let now = ground.plan.created;
    if host.device.failed.as_ref().is_some_and(|f| f.boot == off.boot && now.since(f.at) < FAILED_MS) {
        return wrong("would be switched off by a device that did not confirm a short while ago");
    }
    if ground.said_off(name) {
        return wrong("would be switched off although a person says that it is off");
    }
    let at = ground.cluster.hosts.get(by).map(|there| &there.at);
    let apart = match off.spec.from {
        FenceFrom::AnotherRack => at.is_some_and(|at| *at != host.at),
        FenceFrom::AnotherHost => by != name,
    };
    if apart && at.is_some() && ground.hears(by) {
        Ok(())
    } else {
        wrong("would be switched off from its own failure domain, or by an agent that is silent")
    }
}
