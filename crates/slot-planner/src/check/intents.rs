//! Whether the tasks together do what was wanted, all of it and nothing else.
//!
//! What always holds: a plan whose intent names one slot, host or case touches the roles of nothing else; a drain
//! that ends in Maintenance has no master and no running engine left on the host (S8) and leaves every store its live
//! copies (R24).

use super::{Fault, Ground, copies};
use slot_types::cluster::*;
use slot_types::ids::*;
use slot_types::plan::{Intent, Reverse, Task, TaskKind};
use std::collections::BTreeSet;

pub(super) fn check(ground: &Ground<'_>) -> Result<(), Fault> {
    let tasks = ground.plan.tasks.as_slice();
    match (&ground.plan.intent, tasks) {
        (Intent::Apply(file), _) => apply(ground, file),
        (Intent::DrainHost(_) | Intent::DrainHosts(_), _) => drain(ground, &off(ground)),
        (Intent::UndrainHost(host), _) => undrain(ground, host),
        (Intent::Undo(reverse), _) => undo(ground, reverse),
        (Intent::EmptyHost(_) | Intent::EmptyHosts(_), _) => empty(ground, &off(ground)),
        (Intent::MoveCopy { .. } | Intent::Rebuild(_) | Intent::Rebalance(_) | Intent::Fill { .. }, _) => {
            match tasks.iter().position(|task| !copies::within(ground, task)) {
                Some(number) => Err(wrong(format!("task {number} is not within what was asked for"))),
                None => Ok(()),
            }
        }
        (Intent::RetireHost(host), [Task { kind: TaskKind::HostState { host: h, to: HostState::Retired }, .. }])
            if h == host && ground.cluster.copies_on(host).next().is_none() =>
        {
            Ok(())
        }
        (Intent::RetireStore(store), _) => super::retire::check(ground, store),
        (Intent::FailOverSlot { slot, to }, [task]) => {
            let (from, target) = moves(task).ok_or_else(|| wrong("the task moves no master"))?;
            let asked = to.as_ref().is_none_or(|to| to == target);
            if from == slot && asked { Ok(()) } else { Err(wrong("another master is moved, or to another slot")) }
        }
        (Intent::FailOverStore { store, to }, [task]) => {
            let (_, target) = moves(task).ok_or_else(|| wrong("the task moves no master"))?;
            let asked = task.store.as_ref() == Some(store) && to.as_ref().is_none_or(|to| to == target);
            if asked { Ok(()) } else { Err(wrong("another store's master is moved, or to another slot")) }
        }
        (Intent::FailOverHost(host), _) => {
            of_host(host, tasks)?;
            one_yes(ground)
        }
        (Intent::FailOverClasses { host, classes }, _) => {
            of_host(host, tasks)?;
            let asked = |task: &Task| match &task.kind {
                TaskKind::FailOver { loss, .. } => classes.contains(&loss.class),
                _ => true,
            };
            if tasks.iter().all(asked) { Ok(()) } else { Err(wrong("a task's loss is of a class nobody asked for")) }
        }
        (Intent::SettleLoss { case, how }, [Task { kind: TaskKind::SettleLoss { case: c, how: h, .. }, .. }])
            if case == c && how == h =>
        {
            Ok(())
        }
        (Intent::StartMaster { slot }, [Task { kind: TaskKind::StartMaster { slot: at }, .. }])
        | (Intent::Follow { slot }, [Task { kind: TaskKind::StartCopy { slot: at }, .. }])
        | (Intent::FenceReturned { slot }, [Task { kind: TaskKind::FenceReturned { slot: at }, .. }])
        | (Intent::CountCopy { slot }, [Task { kind: TaskKind::CountCopy { slot: at }, .. }])
            if slot == at =>
        {
            Ok(())
        }
        _ => Err(wrong("the tasks are not those of the intent")),
    }
}

fn of_host(host: &HostName, tasks: &[Task]) -> Result<(), Fault> {
    let mut stores = BTreeSet::new();
    let fits = |task: &Task| moves(task).is_some_and(|(from, to)| from.host == *host && to.host != *host);
    if tasks.iter().all(|task| fits(task) && stores.insert(&task.store)) {
        Ok(())
    } else {
        Err(wrong("a task is not about a master of the host, or a store is there twice"))
    }
}

/// S5: a sheet that one person could approve but for some of its stores does not hold those.
fn one_yes(ground: &Ground<'_>) -> Result<(), Fault> {
    let policy = &ground.cluster.policy;
    let two = |task: &Task| match &task.kind {
        TaskKind::FailOver { fence, loss, .. } => {
            policy.two_if_loss && loss.class > LossClass::CaughtUp
                || policy.two_if_unfenced && *fence > FenceLevel::Device
        }
        _ => false,
    };
    let needing = ground.plan.tasks.iter().filter(|task| two(task)).count();
    match needing == 0 || needing == ground.plan.tasks.len() {
        true => Ok(()),
        false => Err(wrong("stores that need one person are on one sheet with others that need two")),
    }
}

fn wrong(what: impl Into<String>) -> Fault {
    Fault::Intent(what.into())
}

fn moves(task: &Task) -> Option<(&SlotId, &SlotId)> {
    match &task.kind {
        TaskKind::HandOver { from, to } | TaskKind::FailOver { from, to, .. } => Some((from, to)),
        _ => None,
    }
}

fn apply(ground: &Ground<'_>, file: &FleetSpec) -> Result<(), Fault> {
    let changes = matches!(ground.plan.tasks.first().map(|t| &t.kind), Some(TaskKind::Fleet));
    let mut stores = BTreeSet::new();
    for (number, task) in ground.plan.tasks.iter().enumerate() {
        match (&task.kind, &task.store) {
            (TaskKind::Fleet, None) if number == 0 => {}
            (TaskKind::CreateStore { spec, copies, .. }, Some(name)) => {
                if file.stores.get(name) != Some(spec) || !stores.insert(name) {
                    return Err(wrong(format!("{name} is not what the file says")));
                }
                let new_host = copies.keys().any(|slot| ground.cluster.slot(slot).is_none());
                if new_host && !changes || changes && !ground.waits(number, 0) {
                    return Err(Fault::Order(number));
                }
            }
            _ => return Err(wrong("a file only changes the fleet and makes stores")),
        }
    }
    // R11: what was retired is not made anew, whatever a file says.
    let gone = |store: &StoreName| ground.cluster.tombstones.contains_key(store);
    let known = |store: &StoreName| ground.cluster.stores.contains_key(store) || gone(store);
    if let Some(store) = stores.iter().find(|store| gone(store)) {
        return Err(wrong(format!("{store} was retired")));
    }
    let wanted = |(store, line): &(&StoreName, &StoreSpec)| line.engine.is_here() && !known(store);
    match file.stores.iter().filter(wanted).find(|(store, _)| !stores.contains(store)) {
        Some((store, _)) => Err(wrong(format!("{store} of the file is not made"))),
        None => Ok(()),
    }
}

/// The hosts that are to be off.
fn off(ground: &Ground<'_>) -> BTreeSet<HostName> {
    ground.plan.intent.drained().into_iter().cloned().collect()
}

/// S8: the hosts are declared `to`, after everything else; those that are not Draining yet are declared so before it. Answers
/// the tasks between.
fn framed(ground: &Ground<'_>, off: &BTreeSet<HostName>, to: HostState) -> Result<std::ops::Range<usize>, Fault> {
    let tasks = &ground.plan.tasks;
    let declares = |number: usize, to: HostState| match &tasks.get(number)?.kind {
        TaskKind::HostState { host, to: state } if *state == to => Some(host.clone()),
        _ => None,
    };
    let end = tasks.len().saturating_sub(off.len());
    let last: BTreeSet<HostName> = (end..tasks.len()).filter_map(|number| declares(number, to)).collect();
    let waits_for_all = |number| (0..end).all(|earlier| ground.waits(number, earlier));
    if last != *off || !(end..tasks.len()).all(waits_for_all) {
        return Err(wrong(format!("a host is not declared {to} after everything else")));
    }
    let due = |name: &&HostName| match ground.cluster.hosts.get(*name).map(|h| h.declared) {
        Some(HostState::Active) => true,
        Some(HostState::Maintenance) => to != HostState::Empty,
        _ => false,
    };
    let due: BTreeSet<HostName> = off.iter().filter(due).cloned().collect();
    let begin = due.len();
    let first: BTreeSet<HostName> = (0..begin).filter_map(|number| declares(number, HostState::Draining)).collect();
    let waits_for_first = |number| (0..begin).all(|earlier| ground.waits(number, earlier));
    if first != due || !(begin..tasks.len()).all(waits_for_first) {
        return Err(wrong("a host is not declared Draining before everything else"));
    }
    Ok(begin..end)
}

fn drain(ground: &Ground<'_>, off: &BTreeSet<HostName>) -> Result<(), Fault> {
    let tasks = &ground.plan.tasks;
    for number in framed(ground, off, HostState::Maintenance)? {
        match &tasks[number].kind {
            TaskKind::HandOver { from, to } if off.contains(&from.host) && !off.contains(&to.host) => {}
            TaskKind::StopCopy { slot } if off.contains(&slot.host) => {}
            _ => return Err(wrong(format!("task {number} takes nothing off a host that is drained"))),
        }
    }
    for (name, slot, copy) in off.iter().flat_map(|host| ground.cluster.copies_on(host)) {
        let about = |task: &&Task| task.store.as_ref() == Some(name);
        let stopped =
            tasks.iter().filter(about).any(|t| matches!(&t.kind, TaskKind::StopCopy { slot: s } if s == slot));
        let done = matches!(copy.state, CopyState::Stopped | CopyState::Retired);
        if stopped == done {
            return Err(wrong(format!("the copy of {name} on {slot} is not stopped once")));
        }
        if stopped {
            enough_left(ground, name, off)?;
        }
    }
    Ok(())
}

/// S8: everything leaves, and each host is declared Empty last.
fn empty(ground: &Ground<'_>, off: &BTreeSet<HostName>) -> Result<(), Fault> {
    let tasks = &ground.plan.tasks;
    for number in framed(ground, off, HostState::Empty)? {
        if !copies::within(ground, &tasks[number]) {
            return Err(wrong(format!("task {number} empties no host")));
        }
    }
    for (name, slot, _) in off.iter().flat_map(|host| ground.cluster.copies_on(host)) {
        let goes = |task: &&Task| {
            task.store.as_ref() == Some(name)
                && matches!(&task.kind, TaskKind::DestroyCopy { slot: s, .. } if s == slot)
        };
        if tasks.iter().filter(goes).count() != 1 {
            return Err(wrong(format!("the copy of {name} on {slot} is not destroyed once")));
        }
    }
    Ok(())
}

/// A live master is left, and live replicas enough for its acknowledgements (R24).
fn enough_left(ground: &Ground<'_>, name: &StoreName, off: &BTreeSet<HostName>) -> Result<(), Fault> {
    let Some(store) = ground.cluster.stores.get(name) else { return Ok(()) };
    let live = store.copies.iter().filter(|(slot, copy)| {
        let seen = ground.evidence.running(slot, ground.cluster.policy.silent_ms);
        !off.contains(&slot.host)
            && matches!(copy.state, CopyState::Serving | CopyState::Frozen)
            && ground.hears(&slot.host)
            && seen.is_some_and(|s| s.store == *name && s.generation == copy.generation)
    });
    let live = live.count();
    if live > usize::from(store.spec.sync_copies) {
        Ok(())
    } else {
        Err(wrong(format!("{name} would be left with {live} live copies")))
    }
}

fn undrain(ground: &Ground<'_>, host: &HostName) -> Result<(), Fault> {
    let tasks = &ground.plan.tasks;
    if !matches!(&tasks[0].kind, TaskKind::HostState { host: h, to: HostState::Active } if h == host) {
        return Err(wrong("the host is not declared Active first"));
    }
    let promised = ground.cluster.hosts.get(host).map(|h| &h.drained_masters);
    for (number, task) in tasks.iter().enumerate().skip(1) {
        let fits = match (&task.kind, &task.store) {
            (TaskKind::StartCopy { slot }, Some(_)) => slot.host == *host,
            (TaskKind::HandOver { to, .. }, Some(name)) => {
                to.host == *host && promised.is_some_and(|stores| stores.contains(name))
            }
            _ => false,
        };
        if !fits || !ground.waits(number, 0) {
            return Err(wrong(format!("task {number} does not bring {host} back")));
        }
    }
    Ok(())
}

/// R18: nothing but what the other plan did, turned round; on a host that was taken out of service nothing begins before it is
/// Active.
fn undo(ground: &Ground<'_>, wanted: &Reverse) -> Result<(), Fault> {
    let tasks = &ground.plan.tasks;
    for (number, task) in tasks.iter().enumerate() {
        let host = match (&task.kind, &task.store) {
            (TaskKind::HostState { host, to: HostState::Active }, None) if wanted.active.contains(host) => continue,
            (TaskKind::StartCopy { slot }, Some(name)) if wanted.started.get(slot) == Some(name) => &slot.host,
            (TaskKind::HandOver { to, .. }, Some(name)) if wanted.masters.get(name) == Some(to) => &to.host,
            _ => return Err(wrong(format!("task {number} is no reverse of what {} did", wanted.plan))),
        };
        let declares = |task: &Task| matches!(&task.kind, TaskKind::HostState { host: h, .. } if h == host);
        let declared = ground.cluster.hosts.get(host).map(|h| h.declared);
        let first = tasks.iter().position(declares);
        let ready = match first {
            Some(first) => ground.waits(number, first),
            None => declared == Some(HostState::Active),
        };
        if !ready {
            return Err(wrong(format!("task {number} begins before {host} is Active")));
        }
    }
    Ok(())
}
