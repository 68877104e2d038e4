//! Switching a host off by its device, and what its word is worth (R6, R26; docs/adr/0017).
//!
//! What always holds: power is cut only after the commit, only of the boot and with the copies that the approval names, only
//! by a host of another failure domain, and once for however many stores; "off" is the device's status alone, holds for that
//! boot alone, and any sign of life of the host ends it.

use crate::apply::{Stamp, audit};
use crate::command::StepRef;
use crate::ready::At;
use crate::state::{State, StepState, TaskState};
use slot_planted::planted;
use slot_types::cluster::{Cluster, CopyState, HostState};
use slot_types::fence::{DeviceFailed, DeviceOff, FenceFrom, SwitchOff};
use slot_types::ids::*;
use slot_types::plan::{Place, Plan, Step, StepKind, Task};

/// The host a step switches off.
pub(crate) fn target(step: &Step) -> Option<&HostName> {
    match (&step.at, step.kind) {
        (Some(Place::Device { of, .. }), StepKind::FenceHost) => Some(of),
        _ => None,
    }
}

fn named<'a>(at: &At<'a>) -> Result<(&'a HostName, &'a SwitchOff), String> {
    let host = target(at.step).ok_or("the step switches nothing off")?;
    let off = at.record.plan.switch_off.get(host).ok_or_else(|| format!("the plan does not name {host}"))?;
    Ok((host, off))
}

/// R6: a fence is for one boot; it neither fires nor counts once the host has booted again.
pub(crate) fn same_boot(cluster: &Cluster, name: &HostName, off: &SwitchOff) -> Result<(), String> {
    let boot = cluster.hosts.get(name).and_then(|host| host.boot);
    if boot == Some(off.boot) || planted("r26-fires-on-another-boot") {
        return Ok(());
    }
    Err(format!("{name} has booted again since; ask for a new plan, which can demote what runs there"))
}

/// Whether the device's word stands for the boot that the plan names.
pub(crate) fn stands(cluster: &Cluster, plan: &Plan, name: &HostName) -> Result<(), String> {
    let off = plan.switch_off.get(name).ok_or_else(|| format!("no device switched {name} off"))?;
    same_boot(cluster, name, off)?;
    let said = cluster.hosts.get(name).is_some_and(|host| host.device.is_off(host.boot));
    if said { Ok(()) } else { Err(format!("no device says that {name} is off, or it showed a sign of life since")) }
}

/// Whether what an approval says of a host's device holds now.
pub(crate) fn approvable(cluster: &Cluster, plan: &Plan, name: &HostName) -> Result<(), String> {
    match plan.switch_off.get(name) {
        Some(off) if off.by.is_some() => same_boot(cluster, name, off),
        _ => stands(cluster, plan, name),
    }
}

/// Whether the power may be cut now, as far as the replicated state goes.
pub(crate) fn ready(at: &At<'_>) -> Result<(), String> {
    let (name, off) = named(at)?;
    let store = at.store()?;
    if store.epoch != crate::ready::next_epoch(at.task.epoch, at.cluster.generation) {
        // R6: what the power is cut for is committed first.
        return Err(format!("the epoch is {}, not the one this task allocated", store.epoch));
    }
    same_boot(at.cluster, name, off)?;
    from_elsewhere(at, name, off)?;
    let mut copies = at.cluster.copies_on(name).filter(|(_, _, copy)| copy.state != CopyState::Retired);
    if let Some((other, slot, _)) = copies.find(|(_, slot, _)| !off.kills.contains(*slot)) {
        return Err(format!("R6: {slot} holds a copy of {other} now, which the approved sheet does not name"));
    }
    match under_way(at.state, name) {
        Some(by) if by.plan != at.record.id || at.record.plan.tasks.get(usize::from(by.task)) != Some(at.task) => {
            Err(format!("{name} is being switched off by {} task {}", by.plan, by.task + 1))
        }
        _ => Ok(()),
    }
}

/// R26: from another failure domain, which lost its power with the host else.
fn from_elsewhere(at: &At<'_>, name: &HostName, off: &SwitchOff) -> Result<(), String> {
    let by = at.host().ok_or("the step names no host")?;
    let domain = |host: &HostName| at.cluster.hosts.get(host).map(|h| &h.at);
    let apart = match off.spec.from {
        FenceFrom::AnotherRack => domain(by) != domain(name),
        FenceFrom::AnotherHost => true,
    };
    if off.by.as_ref() == Some(by) && by != name && apart {
        Ok(())
    } else {
        Err(format!(
            "R26: {by} may not switch off {name}: it is not in another failure domain, or not the one approved"
        ))
    }
}

/// The step that has an order to switch this host off in flight.
fn under_way(state: &State, name: &HostName) -> Option<StepRef> {
    for record in state.running() {
        for (number, (task, run)) in record.plan.tasks.iter().zip(&record.tasks).enumerate() {
            if run.state.is_ended() {
                continue;
            }
            for (step, (what, at)) in task.steps.iter().zip(&run.steps).enumerate() {
                if target(what) == Some(name) && matches!(at.state, StepState::Started { .. }) {
                    let (task, step) = (u16::try_from(number).ok()?, u16::try_from(step).ok()?);
                    return Some(StepRef { plan: record.id, task, step });
                }
            }
        }
    }
    None
}

/// Whether nothing has to be ordered: another task had it switched off already (R26: once per host).
pub(crate) fn is_off_already(at: &At<'_>) -> bool {
    target(at.step).is_some_and(|host| stands(at.cluster, &at.record.plan, host).is_ok())
}

/// The device switched the host off, and its status says off.
pub(crate) fn confirmed(state: &mut State, stamp: Stamp, plan: PlanId, name: &HostName) {
    let Some(off) = state.plans.get(&plan).and_then(|record| record.plan.switch_off.get(name)).cloned() else { return };
    let Some(by) = off.by else { return };
    let Some(host) = state.cluster.as_mut().and_then(|c| c.hosts.get_mut(name)) else { return };
    // R6: it came back before its device's word did, which is about a boot that is over.
    if host.boot != Some(off.boot) {
        return audit(state, stamp, "slotd", format!("{name} was switched off in a boot that is over"));
    }
    let was = host.device.off.as_ref().map_or(host.declared, |before| before.was);
    host.device.off = Some(DeviceOff { boot: off.boot, by: by.clone(), plan, at: stamp.now, was });
    host.device.failed = None;
    host.declared = HostState::Off;
    host.version += 1;
    // R27: that boot has ended; nothing is ordered of it any more.
    state.ended_boots.insert(name.clone(), off.boot);
    audit(state, stamp, "slotd", format!("{name} is Off: its device, used by {by}, says so"));
}

/// It did not confirm: nothing is promoted past that host by this plan, and its other tasks don't try the device again.
pub(crate) fn not_confirmed(state: &mut State, stamp: Stamp, plan: PlanId, name: &HostName, why: &str) {
    let Some(record) = state.plans.get_mut(&plan) else { return };
    let Some(boot) = record.plan.switch_off.get(name).map(|off| off.boot) else { return };
    for (task, run) in record.plan.tasks.iter().zip(&mut record.tasks) {
        let waits = |(step, at): (&Step, &crate::state::StepRun)| {
            target(step) == Some(name) && matches!(at.state, StepState::Waiting { .. })
        };
        if matches!(run.state, TaskState::Running) && task.steps.iter().zip(&run.steps).any(waits) {
            run.state = TaskState::NeedsHuman { why: format!("{name} is not confirmed off: {why}") };
        }
    }
    if let Some(host) = state.cluster.as_mut().and_then(|c| c.hosts.get_mut(name)) {
        host.device.failed = Some(DeviceFailed { boot, at: stamp.now, why: crate::hosts::bounded(why) });
        host.version += 1;
    }
    audit(state, stamp, "slotd", format!("{name} is not confirmed off: {}", crate::hosts::bounded(why)));
}

/// A sign of life of a host: its device's word is void. With another boot it was switched on again, and is what it was
/// declared before; with the same boot it never was off, and the device is not believed for a while.
pub(crate) fn sign_of_life(state: &mut State, stamp: Stamp, name: &HostName, boot: Option<BootId>, seen: &str) {
    let Some(host) = state.cluster.as_mut().and_then(|c| c.hosts.get_mut(name)) else { return };
    let Some(off) = host.device.off.take() else { return };
    let again = boot.is_some_and(|boot| boot != off.boot);
    if host.declared == HostState::Off {
        host.declared = off.was;
    }
    host.version += 1;
    if again {
        return audit(state, stamp, "slotd", format!("{name} is {} again: it was switched on", off.was));
    }
    let why = format!("after it had said off, {seen}");
    host.device.failed = Some(DeviceFailed { boot: off.boot, at: stamp.now, why: why.clone() });
    if state.ended_boots.get(name) == Some(&off.boot) {
        state.ended_boots.remove(name);
    }
    audit(state, stamp, "slotd", format!("the device of {name} is not believed: {why}"));
}

/// Whether a plan's bytes put a step that cuts power where it belongs.
pub(crate) fn fits(plan: &Plan, task: &Task, step: &Step) -> bool {
    let Some(Place::Device { of, by }) = &step.at else { return step.kind != StepKind::FenceHost };
    let waived = match &task.kind {
        slot_types::plan::TaskKind::FailOver { waived, .. } => waived.iter().any(|slot| slot.host == *of),
        _ => false,
    };
    step.kind == StepKind::FenceHost && waived && plan.switch_off.get(of).is_some_and(|off| off.by.as_ref() == Some(by))
}

/// R8: the attestation is for the latest boot, in force, and no sign of life has come since.
pub(crate) fn attested(cluster: &Cluster, host: &HostName, now: LogTime) -> Result<(), String> {
    let attestation = cluster
        .attestations
        .get(host)
        .ok_or_else(|| format!("nobody attests that {host} is off, or it showed a sign of life since"))?;
    if cluster.hosts.get(host).and_then(|h| h.boot) != Some(attestation.boot) {
        return Err(format!("{host} was attested off in another boot"));
    }
    if attestation.expires <= now {
        return Err(format!("the attestation that {host} is off has expired"));
    }
    Ok(())
}
