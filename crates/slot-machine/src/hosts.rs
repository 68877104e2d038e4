//! Hosts as their agents present themselves, and persons' words about them.
//!
//! What always holds: only the admitted disk of a host gets orders (S2); any sign of life voids an attestation (R8).

use crate::apply::{Stamp, audit};
use crate::command::{Answer, Refused};
use crate::state::State;
use slot_planted::planted;
use slot_types::cluster::{Attestation, CopyState, Host, HostQuarantine, HostState, REBOOTS_KEPT, Reboot, Silence};
use slot_types::ids::*;

/// The longest reason or remark kept, in bytes.
pub(crate) const TEXT_MAX: usize = 1024;

pub(crate) fn bounded(text: &str) -> String {
    let mut end = text.len().min(TEXT_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn host_mut<'a>(state: &'a mut State, host: &HostName) -> Result<&'a mut Host, Refused> {
    let cluster = state.cluster.as_mut().ok_or(Refused::NotFounded)?;
    cluster.hosts.get_mut(host).ok_or_else(|| Refused::UnknownHost(host.clone()))
}

/// What an agent said of its host.
#[derive(Clone, Copy)]
pub(crate) struct Report {
    pub incarnation: Incarnation,
    pub boot: BootId,
    pub high_water: LogIndex,
    pub first: bool,
}

pub(crate) fn seen(
    state: &mut State,
    stamp: Stamp,
    name: &HostName,
    report: Report,
    silence: Silence,
) -> Result<Answer, Refused> {
    let Report { incarnation, boot, high_water, first } = report;
    // R27: a report that was on its way while the host booted again is a sign of life, but no boot comes back.
    let ended = state.ended_boots.get(name) == Some(&boot);
    let given_up = state.is_given_up(name, incarnation);
    let said_off = state.cluster.as_ref().is_some_and(|cluster| cluster.attestations.contains_key(name));
    let host = host_mut(state, name)?;
    let before = (host.incarnation, host.boot, host.quarantined.clone());
    // The first word of a boot, said twice, or said late of one that has ended: it was held against the ledger when the boot
    // began, and orders of it, or of the next one, may have been acknowledged since.
    let said_again = first && (ended || host.boot == Some(boot));
    let older = high_water < host.acknowledged && !said_again;
    match host.incarnation {
        // R10: the host came after the backup, and its disk took orders from whoever led then.
        None if high_water > LogIndex(0) => {
            host.quarantined = Some(HostQuarantine::OtherDisk { presented: incarnation });
        }
        // The first contact admits: the certificate says it is this host, and no copy of ours can be there yet.
        None => host.incarnation = Some(incarnation),
        Some(_) if planted("s2-new-disk-admits-itself") => host.incarnation = Some(incarnation),
        Some(admitted) if admitted != incarnation => {
            host.quarantined = Some(HostQuarantine::OtherDisk { presented: incarnation });
        }
        // S2: the admitted disk, but older than what it acknowledged: a backup was put back. It stays out for good, whatever
        // disk was put in meanwhile: its ledger may catch up in index without holding what it forgot.
        Some(_) if (given_up || older) && !planted("s2-older-disk-accepted") => {
            host.quarantined =
                Some(HostQuarantine::OlderDisk { presented: high_water, acknowledged: host.acknowledged });
        }
        Some(_) => {
            // The admitted disk, complete: a clone's or a stray disk's visit leaves no trace.
            if matches!(host.quarantined, Some(HostQuarantine::OtherDisk { .. })) {
                host.quarantined = None;
            }
        }
    }
    if host.quarantined.is_none() && (!ended || planted("r27-ended-boot-comes-back")) {
        let began = host.boot.replace(boot).is_some_and(|known| known != boot);
        if began {
            booted(host, Reboot { boot, silence, kept_off: said_off || is_kept_off(host), wall: stamp.wall });
        }
    }
    let after = (host.incarnation, host.boot, host.quarantined.clone());
    let changed = before != after;
    if changed {
        host.version += 1;
    }
    let quarantined = host.quarantined.clone();
    if let Some(HostQuarantine::OlderDisk { .. }) = quarantined {
        give_up(state, name, incarnation);
    }
    if changed {
        let what = match quarantined {
            Some(why) => format!("{name} is quarantined: {why:?}"),
            None => format!("{name} seen with disk {incarnation}, boot {boot}"),
        };
        audit(state, stamp, "slotd", what);
    }
    void_attestation(state, stamp, name, "its agent answered");
    crate::fence::sign_of_life(state, stamp, name, Some(boot), "its agent answered");
    Ok(Answer::Done)
}

/// S2: it is never this host's disk again.
fn give_up(state: &mut State, name: &HostName, incarnation: Incarnation) {
    state.given_up_disks.entry(name.clone()).or_default().insert(incarnation);
}

/// S2: what is said of a disk that was given up, to whoever wants to admit it.
pub(crate) fn not_given_up(state: &State, name: &HostName, incarnation: Incarnation) -> Result<(), Refused> {
    if !state.is_given_up(name, incarnation) {
        return Ok(());
    }
    Err(Refused::Precondition(format!(
        "S2: disk {incarnation} of {name} was given up before, and nobody knows what its ledger forgot; take the agent's data \
         folder away, so that it comes with a new one"
    )))
}

/// Whether somebody wants it off.
fn is_kept_off(host: &Host) -> bool {
    matches!(host.declared, HostState::Maintenance | HostState::Off) || host.device.off.is_some()
}

/// Keeps the last few.
fn booted(host: &mut Host, reboot: Reboot) {
    host.reboots.push(reboot);
    let surplus = host.reboots.len().saturating_sub(REBOOTS_KEPT);
    host.reboots.drain(..surplus);
}

pub(crate) fn sign_of_life(state: &mut State, stamp: Stamp, name: &HostName, seen: &str) -> Result<Answer, Refused> {
    host_mut(state, name)?;
    if planted("r8-sign-of-life-ignored") {
        return Ok(Answer::Done);
    }
    void_attestation(state, stamp, name, &bounded(seen));
    crate::fence::sign_of_life(state, stamp, name, None, &bounded(seen));
    Ok(Answer::Done)
}

/// R8: void at any later sign of life.
fn void_attestation(state: &mut State, stamp: Stamp, name: &HostName, why: &str) {
    let removed = state.cluster.as_mut().and_then(|c| c.attestations.remove(name));
    if let Some(attestation) = removed {
        audit(state, stamp, "slotd", format!("attestation of {} that {name} is off is void: {why}", attestation.by));
    }
}

/// From here on this is the host's disk, and it holds nothing.
pub(crate) fn admit_disk(state: &mut State, name: &HostName, incarnation: Incarnation) -> Result<(), Refused> {
    let ended = state.ended_boots.get(name).copied();
    let host = host_mut(state, name)?;
    // R27: nothing was ordered there in any later boot than the last one heard of the old disk.
    let is_dead = host.boot.is_some() && host.boot == ended;
    let former = host.incarnation.replace(incarnation);
    host.quarantined = None;
    host.acknowledged = LogIndex(0);
    host.boot = None;
    host.version += 1;
    // R16: another disk holds none of the copies; they are not counted until they follow again.
    for store in state.cluster.iter_mut().flat_map(|c| c.stores.values_mut()) {
        let mut gone = false;
        for (_, copy) in store.copies.iter_mut().filter(|(slot, _)| slot.host == *name) {
            let before = copy.clone();
            // What it holds, it holds no more: it is built anew before it counts again.
            copy.whole = false;
            copy.follows = None;
            if matches!(copy.state, CopyState::Serving | CopyState::Frozen | CopyState::Stopped) {
                copy.state = CopyState::Building;
            }
            gone |= *copy != before;
        }
        // Whoever was master of a retired store there has nothing left to acknowledge into, and nobody follows it. R28: neither
        // has who was succeeded elsewhere, if the boot it served in has ended: no agent can say more of it than "no such copy".
        let masters = store.possible_masters.len();
        let (epoch, succeeded) = (store.epoch, store.master.is_some());
        let over = |since: Epoch| store.retired || succeeded && is_dead && since < epoch;
        store.possible_masters.retain(|slot, possible| slot.host != *name || !over(possible.since));
        gone |= store.possible_masters.len() < masters;
        store.version += u64::from(gone);
    }
    if let Some(former) = former.filter(|former| *former != incarnation) {
        give_up(state, name, former);
    }
    Ok(())
}

pub(crate) fn admit(
    state: &mut State,
    stamp: Stamp,
    name: &HostName,
    incarnation: Incarnation,
    by: &OperatorName,
    reason: &str,
) -> Result<Answer, Refused> {
    let masters = {
        let cluster = state.cluster.as_ref().ok_or(Refused::NotFounded)?;
        cluster.masters_on(name).map(|(store, _)| store.to_string()).collect::<Vec<_>>()
    };
    if !masters.is_empty() {
        // A new disk holds no copy: its masters would come up empty. They must be failed over first.
        return Err(Refused::Precondition(format!(
            "{name} still is the master of {}; fail them over first: slotctl failover host {name}",
            masters.join(" ")
        )));
    }
    let host = host_mut(state, name)?;
    match &host.quarantined {
        Some(HostQuarantine::OtherDisk { presented }) if *presented == incarnation => {}
        Some(HostQuarantine::OlderDisk { .. }) => {
            return Err(Refused::Precondition(format!("{name} presents an older copy of its disk; give it a new one")));
        }
        Some(HostQuarantine::Restored) => {
            return Err(Refused::Precondition(format!("{name} is to be re-adopted, not admitted")));
        }
        _ => return Err(Refused::Precondition(format!("{name} does not present disk {incarnation}"))),
    }
    not_given_up(state, name, incarnation)?;
    admit_disk(state, name, incarnation)?;
    audit(state, stamp, by.as_str(), format!("admit {name} with disk {incarnation}: {}", bounded(reason)));
    Ok(Answer::Done)
}

pub(crate) fn attest(
    state: &mut State,
    stamp: Stamp,
    name: &HostName,
    boot: BootId,
    how: &str,
    by: &OperatorName,
) -> Result<Answer, Refused> {
    let host = host_mut(state, name)?;
    match host.boot {
        Some(known) if known == boot => {}
        Some(known) => return Err(Refused::OtherBoot { host: name.clone(), given: boot, known }),
        None => {
            return Err(Refused::Precondition(format!("{name} was never seen; there is no boot to attest the end of")));
        }
    }
    let how = bounded(how);
    audit(state, stamp, by.as_str(), format!("attest that {name}, boot {boot}, is off: {how}"));
    if let Some(cluster) = state.cluster.as_mut() {
        let expires = LogTime(stamp.now.0.saturating_add(cluster.policy.attestation_ms));
        let attestation = Attestation { boot, how, by: by.clone(), at: stamp.now, expires };
        cluster.attestations.insert(name.clone(), attestation);
    }
    Ok(Answer::Done)
}
