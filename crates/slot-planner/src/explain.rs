//! Why a master is where it is, and why each other copy is not it.
//!
//! What always holds: every verdict comes from the function that plans with it, worded by its own refusal; a plan is
//! explained with the evidence that is inside it. What it made is taken away again for that; where the cluster as it was can't be had (R14),
//! what its own evidence says is said, and that it is all.

mod after;
mod before;
pub(crate) mod changed;
mod role;

use crate::ledger::Ledger;
use crate::refusal::WhyNot;
use crate::view::View;
use crate::{Inputs, WhatIf, failover, live};
use slot_types::cluster::*;
use slot_types::engine::EngineStatus;
use slot_types::evidence::Evidence;
use slot_types::ids::*;
use slot_types::plan::{EntityRef, Intent, Plan, Task, TaskKind};
use slot_types::position::Position;
use slot_types::view::{Candidate, ExplainedStore, ExplainedTask, Lost, Verdict};
use std::collections::{BTreeMap, BTreeSet};

const GONE: &str = "the store is not there any more; what the plan itself says is above";

/// One store as it is now; `None` when there is none of that name. Which plan made it so is for who remembers plans.
pub fn explain_store(
    cluster: &Cluster,
    evidence: &Evidence,
    inputs: &Inputs,
    name: &StoreName,
) -> Option<ExplainedStore> {
    let (name, store) = cluster.stores.get_key_value(name)?;
    let view = View { cluster, evidence, inputs };
    let leader = store.pending.as_ref().or(store.master.as_ref());
    let dies = leader.and_then(|slot| WhatIf::new(cluster, evidence, inputs).of(&Lost::Host(slot.host.clone())));
    let goes = dies.and_then(|loss| loss.moves.into_iter().find(|m| m.store == *name)).map(|m| m.to);
    Some(ExplainedStore {
        store: name.clone(),
        epoch: store.epoch,
        master: store.master.clone(),
        pending: store.pending.clone(),
        not_well: view.master_well(name, store).err().map(|why| why.to_string()),
        made_by: None,
        candidates: candidates(&view, name, store, leader, &cluster.led()),
        places: live::places(&view, name, store),
        if_host_dies: goes,
        claimed_by: None,
    })
}

/// Every copy of a store, as a choice for master in place of `from`.
fn candidates(
    view: &View<'_>,
    name: &StoreName,
    store: &Store,
    from: Option<&SlotId>,
    led: &BTreeMap<HostName, Led>,
) -> Vec<Candidate> {
    let unplanned: BTreeMap<&SlotId, Result<(&EngineStatus, u64), WhyNot>> =
        store.copies.keys().map(|slot| (slot, unplanned(view, name, store, from, slot))).collect();
    let furthest = unplanned.values().filter_map(|v| v.as_ref().ok()).map(|(s, _)| s.tip.position).max();
    let no = |why: WhyNot| Verdict::No { why: why.to_string() };
    let candidate = |(slot, copy): (&SlotId, &Copy)| Candidate {
        slot: slot.clone(),
        role: copy.role,
        state: copy.state,
        host_masters: led.get(&slot.host).map_or(0, |led| led.masters),
        ends_at: view.evidence.last_status(slot).map(|(status, _)| status.tip.position),
        planned: match from {
            Some(from) if from == slot => Verdict::Master,
            Some(from) => match view.handover_target(name, store, from, slot) {
                Ok(()) => Verdict::Can,
                Err(why) => no(why),
            },
            None => Verdict::No { why: crate::NotWell::NoMaster.to_string() },
        },
        unplanned: match &unplanned[slot] {
            _ if from == Some(slot) => Verdict::Master,
            Ok((status, _)) => by_position(status.tip.position, furthest),
            Err(_) if furthest.is_none() && view.last_resort(name, store, slot).is_some() => Verdict::LastResort,
            Err(why) => no(why.clone()),
        },
    };
    store.copies.iter().map(candidate).collect()
}

fn by_position(ends_at: Position, furthest: Option<Position>) -> Verdict {
    match furthest {
        Some(furthest) if ends_at < furthest => Verdict::NotFurthest { furthest },
        _ => Verdict::Can,
    }
}

fn unplanned<'a>(
    view: &View<'a>,
    name: &StoreName,
    store: &Store,
    from: Option<&SlotId>,
    slot: &SlotId,
) -> Result<(&'a EngineStatus, u64), WhyNot> {
    // Without a master, any slot stands for the one that is replaced, as long as it is none of the copies that may.
    match from.or(store.copies.keys().find(|other| failover::leads(store, other))) {
        Some(from) => view.failover_target(name, store, from, slot),
        None => Err(WhyNot::NoCopy),
    }
}

/// A plan's choices. `cluster` is as it is now; the evidence is the plan's own, and of what it has not looked at, `seen`, which is
/// as it is now. `busy` are hosts that other plans hold.
pub fn explain_plan(cluster: &Cluster, seen: &Evidence, inputs: &Inputs, plan: &Plan) -> Vec<ExplainedTask> {
    let inputs = Inputs { now: plan.created, wall: plan.created_wall, revision: plan.revision, ..inputs.clone() };
    let (before, taken_back) = before::before(cluster, plan);
    let view = View { cluster: &before, evidence: &plan.evidence, inputs: &inputs };
    let load = ledger(&view, plan);
    let number = |n: usize| u32::try_from(n + 1).unwrap_or(u32::MAX);
    let tasks = plan.tasks.iter().enumerate();
    let mut explained: Vec<ExplainedTask> =
        tasks.filter_map(|(n, task)| explain_task(&view, plan, task, &load, number(n))).collect();
    let mut evidence = plan.evidence.clone();
    for (host, known) in &seen.hosts {
        evidence.hosts.entry(host.clone()).or_insert_with(|| known.clone());
    }
    let made = taken_back.iter().filter_map(|name| cluster.stores.get(name)).flat_map(|store| store.copies.keys());
    let made: BTreeSet<&SlotId> = made.collect();
    for (slot, known) in seen.copies.iter().filter(|(slot, _)| !made.contains(slot)) {
        evidence.copies.entry(slot.clone()).or_insert_with(|| known.clone());
    }
    places(&View { evidence: &evidence, ..view }, plan, &mut explained);
    for task in explained.iter_mut().filter(|task| taken_back.contains(&task.store)) {
        task.because.push(before::since(&view, plan));
    }
    explained
}

/// Why each other host is not the one, the rest of the plan staying as it is.
fn places(view: &View<'_>, plan: &Plan, explained: &mut [ExplainedTask]) {
    let (cluster, inputs) = after::after(view, plan);
    let then = View { cluster: &cluster, evidence: view.evidence, inputs: &inputs };
    let mut copies: Vec<(usize, &StoreName, &SlotId)> = Vec::new();
    for (nth, known) in explained.iter().enumerate().filter(|(_, known)| known.changed.is_empty()) {
        let task = plan.tasks.get((known.task as usize).saturating_sub(1));
        match task.map(|task| (&task.kind, &task.store)) {
            Some((TaskKind::BuildCopy { slot, .. }, Some(name))) => copies.push((nth, name, slot)),
            Some((TaskKind::CreateStore { copies: made, .. }, Some(name))) => {
                copies.extend(made.keys().map(|slot| (nth, name, slot)));
            }
            _ => {}
        }
    }
    if !copies.is_empty() {
        let asked: Vec<(&StoreName, &SlotId)> = copies.iter().map(|(_, name, slot)| (*name, *slot)).collect();
        for ((nth, ..), place) in copies.iter().zip(live::places_of(&then, &asked)) {
            explained[*nth].places.extend(place);
        }
    }
    let roles: Vec<&mut ExplainedTask> =
        explained.iter_mut().filter(|task| task.changed.is_empty() && !task.builds && task.from.is_some()).collect();
    let judge = role::Judge::of(view, &then, roles.len());
    for task in roles {
        task.places.extend(judge.place(task));
    }
}

/// Masters by host before the plan and after it. What a task of it, or another plan, has moved already is in the count.
fn ledger<'a>(view: &View<'a>, plan: &'a Plan) -> Ledger<'a> {
    let file = if let Intent::Apply(file) = &plan.intent { Some(&**file) } else { None };
    let moved = |task: &&Task| match &task.store {
        Some(name) => version_changed(view, plan, &EntityRef::Store(name.clone())),
        None => false,
    };
    Ledger::of(view, file, plan.tasks.iter().filter(|task| !moved(task)))
}

fn explain_task(view: &View<'_>, plan: &Plan, task: &Task, load: &Ledger<'_>, number: u32) -> Option<ExplainedTask> {
    let name = task.store.as_ref()?;
    let empty = |from: Option<&SlotId>, to: &SlotId| ExplainedTask {
        task: number,
        store: name.clone(),
        from: from.cloned(),
        to: to.clone(),
        planned: matches!(task.kind, TaskKind::HandOver { .. }),
        builds: matches!(task.kind, TaskKind::BuildCopy { .. }),
        because: Vec::new(),
        others: Vec::new(),
        places: Vec::new(),
        changed: String::new(),
    };
    match &task.kind {
        TaskKind::CreateStore { spec, copies, master } => {
            let mut made = empty(None, master);
            made.because = placed(view, spec, copies.keys(), master, load);
            if view.cluster.stores.contains_key(name) {
                // Its host's masters are those of now, and it may be one of them.
                made.because.truncate(1);
                made.because.extend(before::recorded(plan, name, master));
                made.changed = format!(
                    "its copies or its master have moved since it was made, so what the other hosts had at revision {} \
                     can't be had; what the plan itself says is above",
                    plan.revision
                );
            }
            Some(made)
        }
        TaskKind::BuildCopy { slot, replaces, .. } => {
            let mut built = empty(replaces.as_ref(), slot);
            built.changed = match view.cluster.stores.contains_key(name) {
                true => changed(view, plan, name).unwrap_or_default(),
                false => GONE.into(),
            };
            if !built.changed.is_empty() {
                built.because = before::recorded(plan, name, slot);
            }
            Some(built)
        }
        TaskKind::HandOver { from, to } => Some(moved(view, plan, task, load, (from, to), empty(Some(from), to))),
        TaskKind::FailOver { from, to, .. } => Some(moved(view, plan, task, load, (from, to), empty(Some(from), to))),
        _ => None,
    }
}

/// Why a new store's copies are apart, and how full its master's host is.
fn placed<'b>(
    view: &View<'_>,
    spec: &StoreSpec,
    copies: impl Iterator<Item = &'b SlotId>,
    master: &SlotId,
    load: &Ledger<'_>,
) -> Vec<String> {
    let at = |slot: &SlotId| view.cluster.hosts.get(&slot.host).map_or("a new host".into(), |h| h.at.to_string());
    let apart: Vec<String> = copies.map(|slot| format!("{slot} in {}", at(slot))).collect();
    let rule = match spec.spread {
        Spread::Host => "on different hosts",
        Spread::Rack => "in different racks",
    };
    let most = load.fullest(&load.after);
    vec![
        format!("its {} copies must be {rule}: {}", spec.copies, apart.join(", ")),
        format!(
            "with it {} has {}; the fullest host of the fleet has {}",
            master.host,
            load.words(&master.host, load.then(&master.host)),
            most.map_or("0".into(), |(host, led)| alone(load, host, led))
        ),
    ]
}

/// The same without the words of [`Ledger::words`].
fn alone(load: &Ledger<'_>, host: &HostName, led: Led) -> String {
    match load.is_declared() {
        true => format!("{}, declared load {}", led.masters, level_text(load.level(host, led))),
        false => led.masters.to_string(),
    }
}

fn version_changed(view: &View<'_>, plan: &Plan, of: &EntityRef) -> bool {
    let now = match of {
        EntityRef::Store(name) => view.cluster.stores.get(name).map_or(0, |s| s.version),
        EntityRef::Host(name) => view.cluster.hosts.get(name).map_or(0, |h| h.version),
        EntityRef::LossCase(_) | EntityRef::Fleet => return false,
    };
    plan.facts.get(of).is_some_and(|then| *then != now)
}

/// Whether anything the choice was made from has changed since (R14).
fn changed(view: &View<'_>, plan: &Plan, name: &StoreName) -> Option<String> {
    let store = view.cluster.stores.get(name);
    let hosts = store.into_iter().flat_map(|s| s.copies.keys()).map(|slot| &slot.host);
    let of: Vec<EntityRef> =
        [EntityRef::Store(name.clone())].into_iter().chain(hosts.cloned().map(EntityRef::Host)).collect();
    let differs = of.iter().find(|of| version_changed(view, plan, of))?;
    Some(format!(
        "{differs} has changed since the plan was made, so the other copies can't be judged as they were then; what the \
         plan itself says is above"
    ))
}

fn moved(
    view: &View<'_>,
    plan: &Plan,
    task: &Task,
    load: &Ledger<'_>,
    (from, to): (&SlotId, &SlotId),
    mut explained: ExplainedTask,
) -> ExplainedTask {
    let planned = explained.planned;
    if matches!(&plan.intent, Intent::FailOverSlot { to: Some(asked), .. } if asked == to) {
        explained.because.push("asked for by name, with --to".into());
    }
    let store = task.store.as_ref().and_then(|name| view.cluster.stores.get_key_value(name));
    let Some((name, store)) = store else {
        explained.changed = GONE.into();
        explained.because.extend(task.store.iter().flat_map(|name| before::recorded(plan, name, to)));
        return explained;
    };
    if let Some(changed) = changed(view, plan, name) {
        explained.changed = changed;
        explained.because.extend(before::recorded(plan, name, to));
        return explained;
    }
    let all = candidates(view, name, store, Some(from), &load.before);
    let verdict = |c: &Candidate| if planned { c.planned.clone() } else { c.unplanned.clone() };
    let (chosen, others): (Vec<Candidate>, Vec<Candidate>) = all.into_iter().partition(|c| c.slot == *to);
    if chosen.iter().any(|c| verdict(c) == Verdict::LastResort) {
        explained.because.push("no other copy can become master, so one with an open loss case has to".into());
    }
    explained.others = others.into_iter().filter(|c| c.slot != *from).collect();
    let able: Vec<&Candidate> = explained.others.iter().filter(|c| verdict(c) == Verdict::Can).collect();
    if !planned && explained.others.iter().any(|c| matches!(c.unplanned, Verdict::NotFurthest { .. })) {
        explained.because.push("its data ends furthest of all copies that were seen".into());
    }
    if able.is_empty() {
        explained.because.push("no other copy can become master as well".into());
    } else {
        let with = load.words(&to.host, load.then(&to.host));
        let one_more = |host: &HostName| {
            let mut led = load.then(host);
            led.add(store.spec.load);
            alone(load, host, led)
        };
        let than = able.iter().map(|c| format!("{} would have {}", c.slot.host, one_more(&c.slot.host)));
        let than: Vec<String> = than.collect();
        explained.because.push(format!("after the whole plan {} has {with} with it; {}", to.host, than.join(", ")));
    }
    explained
}
