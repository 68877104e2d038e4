//! Changes as `explain` states them, made by hand: nothing here is the planner's.

use crate::world::*;
use slot_types::cluster::*;
use slot_types::evidence::*;
use slot_types::ids::*;
use slot_types::plan::{Intent, TaskKind};
use slot_types::view::{Change, LedElsewhere, Were};

/// The number of the slot that is added where room is.
pub const ADDED: u16 = 200;

/// What a change is about.
#[derive(Clone, Copy, Debug)]
pub struct About<'s> {
    pub name: &'s StoreName,
    pub host: &'s HostName,
    /// The copy that was chosen: one that is well.
    pub like: &'s SlotId,
}

/// The world in which a change is made, each hand-over by a plan of its own. `None` if one of them can't be planned.
pub fn made(world: &World, about: About<'_>, change: &Change) -> Option<World> {
    let mut then = world.clone();
    change.were.iter().for_each(|were| one(&mut then, about, were));
    change.led_elsewhere.iter().try_for_each(|led| hand_over(&mut then, about.host, led))?;
    if let Some(bytes) = change.slot_bytes {
        add_slot(&mut then, about.host, bytes);
    }
    Some(then)
}

pub fn hand_over(world: &mut World, from: &HostName, led: &LedElsewhere) -> Option<()> {
    let slot = world.cluster.stores[&led.store].master.clone()?;
    assert_eq!(slot.host, *from, "a master of that host");
    let plan = world.plan(Intent::FailOverSlot { slot: slot.clone(), to: Some(led.to.clone()) }).ok()?;
    let [task] = &plan.plan().tasks[..] else { panic!("one store moves") };
    // A master that can't be handed over, as its engine is not seen well, is nobody's to lead elsewhere.
    let TaskKind::HandOver { .. } = &task.kind else { return None };
    let known = world.store_mut(&led.store);
    known.epoch = known.epoch.next();
    known.master = Some(led.to.clone());
    for (at, copy) in &mut known.copies {
        copy.role = if *at == led.to { Role::Master } else { Role::Replica };
    }
    // Only what moved is seen anew: the rest stays as it was seen.
    let known = known.clone();
    for at in known.copies.keys().filter(|at| **at == slot || **at == led.to) {
        let seen = CopyEvidence::Running(Box::new(status(&led.store, &known, at)));
        world.evidence.copies.insert(at.clone(), Seen::Known { value: seen, age_ms: 500 });
    }
    Some(())
}

pub fn add_slot(world: &mut World, host: &HostName, size_bytes: u64) {
    let address = "10.20.200.200:7430".parse().unwrap();
    world.host_mut(host).slots.insert(ADDED, SlotSpec { size_bytes, address });
}

/// A slot that holds nothing, added if there is none.
fn open_slot(world: &mut World, host: &HostName) -> SlotId {
    let is_used = |slot: &SlotId| world.cluster.copy_on(slot).is_some() || world.inputs.busy_slots.contains(slot);
    let all = world.cluster.hosts[host].slots.keys().map(|number| SlotId::new(host.clone(), *number));
    if let Some(open) = all.into_iter().find(|slot| !is_used(slot)) {
        return open;
    }
    let address = "10.20.200.201:7430".parse().unwrap();
    world.host_mut(host).slots.insert(ADDED + 1, SlotSpec { size_bytes: 1000, address });
    SlotId::new(host.clone(), ADDED + 1)
}

fn one(world: &mut World, about: About<'_>, were: &Were) {
    let on = |world: &World| world.cluster.stores[about.name].copies.keys().find(|s| s.host == *about.host).cloned();
    match were {
        Were::Active => world.host_mut(about.host).declared = HostState::Active,
        Were::Heard => {
            let known = &world.cluster.hosts[about.host];
            let value = AgentSeen { incarnation: known.incarnation.unwrap(), boot: known.boot.unwrap() };
            world.evidence.hosts.get_mut(about.host).unwrap().agent = Seen::Known { value, age_ms: 100 };
        }
        Were::Admitted => world.host_mut(about.host).quarantined = None,
        Were::Unclaimed => assert!(world.inputs.busy_hosts.remove(about.host)),
        Were::ApartFrom(_) => world.host_mut(about.host).at = Domain(vec!["far".into(), about.host.to_string()]),
        Were::CopyOn { slot, to } => {
            let new = open_slot(world, to);
            let known = world.store_mut(about.name);
            let copy = known.copies.remove(slot).expect("it is there");
            known.copies.insert(new.clone(), copy);
            if known.master.as_ref() == Some(slot) {
                known.master = Some(new.clone());
                known.copies.values_mut().for_each(|copy| {
                    copy.follows = copy.follows.take().map(|(_, epoch)| (new.clone(), epoch));
                });
            }
            let known = known.clone();
            world.evidence.copies.remove(slot);
            for at in known.copies.keys() {
                let seen = CopyEvidence::Running(Box::new(status(about.name, &known, at)));
                world.evidence.copies.insert(at.clone(), Seen::Known { value: seen, age_ms: 500 });
            }
        }
        Were::Allowed => assert!(world.store_mut(about.name).spec.never.remove(about.host)),
        Were::DiskBytes(bytes) => match &mut world.evidence.hosts.get_mut(about.host).unwrap().disk {
            Seen::Known { value, .. } => value.free_bytes += bytes,
            Seen::Unknown { .. } => panic!("its disk is not known"),
        },
        Were::NeverOn(hosts) => world.store_mut(about.name).spec.never.extend(hosts.iter().cloned()),
        Were::Draining(hosts) => hosts.iter().for_each(|h| world.host_mut(h).declared = HostState::Draining),
        Were::HoldsCopy => {
            let new = open_slot(world, about.host);
            let known = world.store_mut(about.name);
            let copy = Copy { role: Role::Replica, ..known.copies[about.like].clone() };
            known.copies.insert(new.clone(), copy);
            like(world, about, &new);
        }
        Were::Following => like(world, about, &on(world).unwrap()),
        Were::Serving => {
            let slot = on(world).unwrap();
            let copy = world.store_mut(about.name).copies.get_mut(&slot).unwrap();
            (copy.state, copy.whole) = (CopyState::Serving, true);
        }
        Were::Behind(records) => world.said(&on(world).unwrap(), |s| s.behind = Some(*records)),
        Were::VerifiedWithin(ms) => world.said(&on(world).unwrap(), |s| s.verified_ms = Some(*ms)),
        Were::EndsAt(position) => world.said(&on(world).unwrap(), |s| s.tip.position = *position),
        Were::CaseClosed(id) => world.cluster.loss_cases.get_mut(id).unwrap().state = LossState::NothingStranded,
        Were::Agreeing => drop(world.cluster.stamps.remove(&on(world).unwrap())),
    }
}

/// A copy is seen as the chosen one is.
fn like(world: &mut World, about: About<'_>, slot: &SlotId) {
    let (status, age_ms) = world.evidence.last_status(about.like).expect("the chosen one is seen");
    let generation = world.cluster.stores[about.name].copies[slot].generation;
    let status = slot_types::engine::EngineStatus { slot: slot.clone(), generation, ..status.clone() };
    let value = CopyEvidence::Running(Box::new(status));
    world.evidence.copies.insert(slot.clone(), Seen::Known { value, age_ms });
}

/// The same change with one thing a little less of it: each of these must not be enough. A slot that could not take a copy of this
/// size is none.
pub fn a_little_less(change: &Change, size: u64) -> Vec<Change> {
    let mut less = Vec::new();
    for nth in 0..change.were.len() {
        let mut without = change.clone();
        let left_out = without.were.remove(nth);
        let mut instead = |were: Were| {
            let mut all = change.clone();
            all.were[nth] = were;
            less.push(all);
        };
        match left_out {
            Were::NeverOn(hosts) => one_fewer(&hosts).into_iter().for_each(|few| instead(Were::NeverOn(few))),
            Were::Draining(hosts) => one_fewer(&hosts).into_iter().for_each(|few| instead(Were::Draining(few))),
            Were::DiskBytes(bytes) => instead(Were::DiskBytes(bytes - 1)),
            Were::Behind(records) => instead(Were::Behind(records + 1)),
            Were::VerifiedWithin(ms) => instead(Were::VerifiedWithin(ms + 1)),
            Were::EndsAt(mut position) => {
                position.length -= 1;
                instead(Were::EndsAt(position));
            }
            _ => {}
        }
        less.push(without);
    }
    if let Some(bytes) = change.slot_bytes {
        less.push(Change { slot_bytes: None, ..change.clone() });
        less.extend((bytes > size).then(|| Change { slot_bytes: Some(bytes - 1), ..change.clone() }));
    }
    less
}

fn one_fewer(hosts: &[HostName]) -> Vec<Vec<HostName>> {
    (0..hosts.len()).map(|nth| (0..).zip(hosts).filter(|(n, _)| *n != nth).map(|(_, h)| h.clone()).collect()).collect()
}

/// Every set of so many masters of a host led elsewhere, by trying all.
pub fn sets(world: &World, host: &HostName, not: &StoreName, size: usize) -> Vec<Vec<LedElsewhere>> {
    let mut found: Vec<Vec<LedElsewhere>> = vec![Vec::new()];
    for (name, known) in &world.cluster.stores {
        if name == not || known.master.as_ref().is_none_or(|master| master.host != *host) {
            continue;
        }
        let takers = known.copies.keys().filter(|slot| Some(*slot) != known.master.as_ref());
        let more: Vec<Vec<LedElsewhere>> = takers
            .flat_map(|to| {
                let led = LedElsewhere { store: name.clone(), to: to.clone() };
                found
                    .iter()
                    .filter(|set| set.len() < size)
                    .map(move |set| set.iter().cloned().chain([led.clone()]).collect())
            })
            .collect();
        found.extend(more);
    }
    found.retain(|set| set.len() == size);
    found
}
