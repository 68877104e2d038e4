//! Where a live plan ends, and where it may stop: carried out, it leaves nothing of what was asked; stopped after any task, in any
//! order its tasks may run in, it leaves a cluster in which every rule holds that held before, and can be asked for again.
//!
//! What always holds: the tests count for themselves; they ask the planner for plans and nothing else.

use crate::random;
use crate::reasons::odd::{Recipe, recipe};
use crate::world::*;
use proptest::prelude::*;
use slot_planner::{CheckedPlan, Nothing, Refusal, WhyNot};
use slot_types::cluster::*;
use slot_types::engine::EngineRole;
use slot_types::evidence::{CopyEvidence, Seen};
use slot_types::ids::*;
use slot_types::plan::{Intent, Place, Plan, StepKind, Task, TaskKind};
use std::collections::{BTreeMap, BTreeSet};

/// A plan as it goes on: what the cluster has become, and what was begun anew and is seen well by that.
struct Course<'w> {
    before: &'w World,
    plan: &'w Plan,
    now: World,
    touched: BTreeSet<SlotId>,
}

impl<'w> Course<'w> {
    fn of(before: &'w World, plan: &'w Plan) -> Self {
        Course { before, plan, now: before.clone(), touched: BTreeSet::new() }
    }

    fn go(&mut self, task: &Task) {
        self.now.carry_out(self.plan, task);
        let places = task.steps.iter().filter_map(|step| step.at.as_ref());
        self.touched.extend(places.filter_map(|at| if let Place::Slot(slot) = at { Some(slot.clone()) } else { None }));
    }

    /// What is seen after it: engines that got an order do as they were told, all others what they did.
    fn seen(&self) -> World {
        let mut fresh = self.now.clone();
        fresh.see_all();
        let mut world = self.now.clone();
        for (name, seen) in &fresh.evidence.hosts {
            world.evidence.hosts.entry(name.clone()).or_insert_with(|| seen.clone());
        }
        // R13: it took over from whoever held them, and holds them no more.
        for name in self.plan.stores() {
            world.inputs.busy_stores.remove(name);
        }
        for slot in &self.touched {
            match fresh.evidence.copies.get(slot) {
                Some(seen) => {
                    let mut seen = seen.clone();
                    if self.demotes(slot)
                        && let Seen::Known { value: CopyEvidence::Running(status), .. } = &mut seen
                    {
                        status.role = EngineRole::Demoted;
                    }
                    world.evidence.copies.insert(slot.clone(), seen);
                }
                None => drop(world.evidence.copies.remove(slot)),
            }
        }
        world
    }

    /// The last that its engine is told is to lead no more.
    fn demotes(&self, slot: &SlotId) -> bool {
        let at = Some(Place::Slot(slot.clone()));
        let mut steps = self.plan.tasks.iter().flat_map(|task| &task.steps).filter(|step| step.at == at);
        steps.next_back().is_some_and(|step| step.kind == StepKind::Demote)
    }

    fn heard(&self, host: &HostName) -> bool {
        let known = &self.now.cluster.hosts[host];
        let Some(seen) = self.before.evidence.hosts.get(host) else { return true };
        match &seen.agent {
            Seen::Known { value, age_ms } => {
                let same = Some(value.boot) == known.boot && Some(value.incarnation) == known.incarnation;
                same && known.quarantined.is_none() && *age_ms <= self.now.cluster.policy.silent_ms
            }
            Seen::Unknown { .. } => false,
        }
    }

    fn domain(&self, store: &Store, slot: &SlotId) -> String {
        let at = &self.now.cluster.hosts[&slot.host].at;
        if store.spec.spread == Spread::Rack { at.to_string() } else { slot.host.to_string() }
    }

    /// In how many domains a store has whole copies that serve, or that a person had stopped.
    fn whole(&self, name: &StoreName, store: &Store) -> usize {
        let serves = |slot: &SlotId, copy: &Copy| {
            let seen = self.before.evidence.copies.get(slot);
            let runs = matches!(seen, Some(Seen::Known { value: CopyEvidence::Running(s), age_ms })
                if *age_ms <= self.now.cluster.policy.silent_ms && s.store == *name && s.generation == copy.generation);
            copy.state == CopyState::Stopped || self.touched.contains(slot) || runs
        };
        let counts = |(slot, copy): &(&SlotId, &Copy)| {
            let there = matches!(copy.state, CopyState::Serving | CopyState::Frozen | CopyState::Stopped);
            there && copy.whole && self.heard(&slot.host) && serves(slot, copy)
        };
        let domains = store.copies.iter().filter(counts).map(|(slot, _)| self.domain(store, slot));
        domains.collect::<BTreeSet<_>>().len()
    }

    /// Pairs of copies in one domain.
    fn together(&self, store: &Store) -> BTreeSet<(SlotId, SlotId)> {
        let slots: Vec<&SlotId> =
            store.copies.iter().filter(|(_, copy)| copy.state != CopyState::Retired).map(|(slot, _)| slot).collect();
        let pairs = slots.iter().enumerate().flat_map(|(n, a)| slots[..n].iter().map(move |b| (*b, *a)));
        pairs
            .filter(|(a, b)| self.domain(store, a) == self.domain(store, b))
            .map(|(a, b)| (a.clone(), b.clone()))
            .collect()
    }

    /// What is broken now and was not before.
    fn broken(&self) -> Option<String> {
        let mut held: BTreeMap<&SlotId, &StoreName> = BTreeMap::new();
        for (name, store) in &self.now.cluster.stores {
            for slot in store.copies.keys() {
                if let Some(other) = held.insert(slot, name) {
                    return Some(format!("{slot} holds {other} and {name}"));
                }
                if self.now.cluster.slot(slot).is_none() {
                    return Some(format!("{slot} of {name} is not there"));
                }
            }
            if let Some(what) = self.store_broken(name, store) {
                return Some(format!("{name}: {what}"));
            }
        }
        self.hosts_broken()
    }

    fn store_broken(&self, name: &StoreName, store: &Store) -> Option<String> {
        let leads: Vec<&SlotId> = store.copies.iter().filter(|(_, c)| c.role == Role::Master).map(|(s, _)| s).collect();
        if leads != store.master.iter().collect::<Vec<_>>() {
            return Some(format!("led by {:?}, its copies say {leads:?}", store.master));
        }
        let fresh = Store { copies: BTreeMap::new(), master: None, ..store.clone() };
        let was = self.before.cluster.stores.get(name).unwrap_or(&fresh);
        if was.master.is_some() && store.master.is_none() && !store.retired {
            return Some("it has lost its master".into());
        }
        if was.epoch > store.epoch || (was.master != store.master && was.epoch == store.epoch && !fresh_store(was)) {
            return Some(format!("another master at {}, after {}", store.epoch, was.epoch));
        }
        if let Some(master) = store.master.as_ref().filter(|master| was.master.as_ref() != Some(*master)) {
            let declared = self.now.cluster.hosts[&master.host].declared;
            let given_up_since = self.plan.intent.drained().contains(&&master.host);
            if declared != HostState::Active || given_up_since {
                return Some(format!("led from {master}, whose host is {declared}"));
            }
        }
        for (slot, copy) in store
            .copies
            .iter()
            .filter(|(slot, copy)| was.copies.get(*slot).is_none_or(|old| old.generation != copy.generation))
        {
            if store.spec.never.contains(&slot.host) || was.past.get(slot).is_some_and(|past| *past >= copy.generation)
            {
                return Some(format!("a copy on {slot} of {:?}, pinned away or a generation it had", copy.generation));
            }
        }
        let sets_aside = |kind: &TaskKind| matches!(kind, TaskKind::FailOver { .. } | TaskKind::FenceReturned { .. });
        let moved = |task: &Task| task.store.as_ref() == Some(name) && sets_aside(&task.kind);
        let first = Course::of(self.before, self.plan);
        let (then, now) = (first.whole(name, was), self.whole(name, store));
        // A failover leaves a copy aside by its nature, and who comes back after one is demoted.
        if now < then.min(usize::from(store.spec.copies)) && !store.retired && !self.plan.tasks.iter().any(moved) {
            return Some(format!("{now} whole copies, there were {then}"));
        }
        let replaces = |(a, b): &&(SlotId, SlotId)| {
            self.plan.tasks.iter().any(|task| match &task.kind {
                TaskKind::BuildCopy { slot, replaces: Some(old), .. } => [(a, b), (b, a)].contains(&(slot, old)),
                _ => false,
            })
        };
        let (had, has) = (first.together(was), self.together(store));
        has.difference(&had).find(|pair| !replaces(pair)).map(|(a, b)| format!("{a} and {b} are in one domain"))
    }

    fn hosts_broken(&self) -> Option<String> {
        for (name, host) in &self.now.cluster.hosts {
            if self.before.cluster.hosts.get(name).is_some_and(|was| was.declared == host.declared) {
                continue;
            }
            let copies: Vec<(&SlotId, &Copy)> = self.now.cluster.copies_on(name).map(|(_, s, c)| (s, c)).collect();
            let still = |copy: &Copy| matches!(copy.state, CopyState::Stopped | CopyState::Retired);
            let fits = match host.declared {
                HostState::Active | HostState::Draining => true,
                HostState::Maintenance => copies.iter().all(|(_, copy)| still(copy)),
                HostState::Empty | HostState::Off | HostState::Retired => copies.is_empty(),
            };
            if !fits {
                return Some(format!("{name} is {} with {copies:?}", host.declared));
            }
        }
        None
    }
}

fn fresh_store(store: &Store) -> bool {
    store.copies.is_empty() || store.epoch == Epoch::ZERO
}

/// One order in which the tasks may run: each after those that it waits for, chosen among them by `picks`.
fn order(plan: &Plan, picks: &[usize]) -> Vec<usize> {
    let mut left: Vec<usize> = (0..plan.tasks.len()).collect();
    let mut done = Vec::new();
    while !left.is_empty() {
        let is_ready = |n: &&usize| plan.tasks[**n].after.iter().all(|dep| done.contains(&usize::from(*dep)));
        let ready: Vec<usize> = left.iter().filter(is_ready).copied().collect();
        let next = ready[picks[done.len() % picks.len()] % ready.len()];
        left.retain(|n| *n != next);
        done.push(next);
    }
    done
}

/// Stores that a plan says it leaves as they are.
fn left_out(plan: &Plan, name: &StoreName) -> bool {
    let named = |heading: &str| matches!(heading, "NOT POSSIBLE" | "NOT IN THIS PLAN");
    let is_in = |text: &str| text.split(|c: char| !c.is_alphanumeric()).any(|word| word == name.as_str());
    plan.notes.iter().any(|note| named(&note.heading) && is_in(&note.text))
}

/// Whether what is said of an intent after its plan says that it is done, or only what the plan had left out.
fn is_done(plan: &Plan, said: &Refusal) -> bool {
    let about = |because: &BTreeMap<StoreName, Refusal>| because.keys().all(|name| left_out(plan, name));
    match (&plan.intent, said) {
        (Intent::FailOverSlot { slot, .. }, Refusal::NotMaster { slot: at, .. }) => slot == at,
        (Intent::FailOverStore { to: Some(to), .. }, Refusal::NotThisTarget { to: at, why: WhyNot::IsMaster, .. }) => {
            to == at
        }
        // It is master there, and nobody hands it over while one that was waived may still be one (R28).
        (Intent::FailOverStore { .. }, Refusal::PossibleMasters { slots, .. }) => {
            let waived = |slot: &SlotId| {
                plan.tasks
                    .iter()
                    .any(|task| matches!(&task.kind, TaskKind::FailOver { waived, .. } if waived.contains(slot)))
            };
            slots.iter().all(waived)
        }
        (Intent::MoveCopy { slot, .. }, Refusal::NoCopy(at)) => slot == at,
        (Intent::SettleLoss { case, .. }, Refusal::LossCaseIn { case: id, state }) => case == id && !state.is_open(),
        (Intent::UndrainHost(_), Refusal::Undrain { because, .. })
        | (Intent::Undo(_), Refusal::Undo { because, .. }) => about(because),
        (Intent::Rebuild(_), Refusal::Rebuild { because }) => about(because),
        (Intent::Rebuild(_), Refusal::NoRoom { store, .. } | Refusal::NotServed { store, .. }) => left_out(plan, store),
        (Intent::Rebuild(_), Refusal::StoresBusy(stores)) => stores.iter().all(|name| left_out(plan, name)),
        (Intent::FailOverHost(_) | Intent::FailOverClasses { .. }, Refusal::FailOverHost { because, .. }) => {
            about(because)
        }
        (Intent::FailOverHost(_) | Intent::FailOverClasses { .. }, Refusal::NotFenced { store, .. }) => {
            left_out(plan, store)
        }
        (Intent::CountCopy { .. }, Refusal::NothingToDo(nothing)) => matches!(nothing, Nothing::Whole(_)),
        (_, Refusal::NothingToDo(_)) => true,
        _ => false,
    }
}

/// What is asked for again after its plan leaves nothing, or of a host's sheet only stores that it had left for another yes.
fn is_over(before: &CheckedPlan, again: &Result<CheckedPlan, Refusal>) -> Result<(), String> {
    let plan = before.plan();
    match again {
        Err(refusal) if is_done(plan, refusal) => Ok(()),
        Err(refusal) => Err(format!("{}: {refusal:?}", plan.intent)),
        Ok(next) => {
            let sheet = matches!(plan.intent, Intent::FailOverHost(_) | Intent::FailOverClasses { .. });
            let rest = next.plan().stores().into_iter().all(|name| left_out(plan, name));
            if sheet && rest { Ok(()) } else { Err(format!("{}: planned again: {:?}", plan.intent, next.plan().tasks)) }
        }
    }
}

/// Those that ask for another master wherever it is, or go on as far as their budget goes, have no end to ask for.
fn has_an_end(plan: &Plan) -> bool {
    let to_itself = |task: &Task| matches!(&task.kind, TaskKind::FailOver { from, to, .. } if from == to);
    !matches!(plan.intent, Intent::FailOverStore { to: None, .. } | Intent::Rebalance(_) | Intent::Fill { .. })
        && !plan.tasks.iter().any(to_itself)
}

/// What is open of a slot is of the copy there; one without a copy is not planned around yet (docs/bugs-found.md).
fn with_copies(mut world: World) -> World {
    for store in world.cluster.stores.values_mut() {
        store.possible_masters.retain(|slot, _| store.copies.contains_key(slot));
    }
    let stores = &world.cluster.stores;
    let there = |case: &LossCase| stores.get(&case.store).is_some_and(|store| store.copies.contains_key(&case.slot));
    world.cluster.loss_cases.retain(|_, case| there(case));
    world
}

fn everything(recipe: &Recipe, world: &World) -> Vec<Intent> {
    let mut all = random::every_intent(world);
    all.push(recipe.undo(world));
    let (hosts, stores) = (world.cluster.hosts.len(), world.cluster.stores.len());
    let mut file = file(hosts + 1, 24, 0, 1);
    for (name, store) in &world.cluster.stores {
        file.stores.insert(name.clone(), store.spec.clone());
    }
    file.stores.extend(crate::world::file(1, 1, 1, 2).stores.into_values().map(|spec| (store(90 + stores), spec)));
    all.push(Intent::Apply(Box::new(file)));
    all
}

fn followed(world: &World, intent: &Intent, picks: &[usize], stop: usize) -> Result<(), TestCaseError> {
    let checked = match world.plan(intent.clone()) {
        Ok(checked) => checked,
        Err(Refusal::Faulty(fault)) => return Err(TestCaseError::fail(format!("{intent}: {fault}"))),
        Err(_) => return Ok(()),
    };
    let plan = checked.plan();
    let mut course = Course::of(world, plan);
    prop_assert_eq!(course.broken(), None, "{} begins", intent);
    for (done, number) in order(plan, picks).into_iter().enumerate() {
        if done == stop % plan.tasks.len() && done > 0 {
            interrupted(&course.seen(), intent)?;
        }
        course.go(&plan.tasks[number]);
        let broken = course.broken();
        prop_assert!(broken.is_none(), "{intent}: after task {number} {}: {:?}", broken.unwrap(), plan.tasks);
    }
    if has_an_end(plan) {
        let over = is_over(&checked, &course.seen().plan(intent.clone()));
        prop_assert!(over.is_ok(), "{}\nafter {:?}\n{:?}", over.unwrap_err(), plan.tasks, plan.notes);
    }
    Ok(())
}

/// Asked for again where it stopped, it goes on from there to its end, or is refused for what the world is like.
fn interrupted(world: &World, intent: &Intent) -> Result<(), TestCaseError> {
    let checked = match world.plan(intent.clone()) {
        Ok(checked) => checked,
        Err(Refusal::Faulty(fault)) => return Err(TestCaseError::fail(format!("{intent}: {fault}"))),
        Err(_) => return Ok(()),
    };
    let mut course = Course::of(world, checked.plan());
    for task in &checked.plan().tasks {
        course.go(task);
        let broken = course.broken();
        prop_assert!(broken.is_none(), "{intent}, taken up again: {}", broken.unwrap());
    }
    if has_an_end(checked.plan()) {
        let over = is_over(&checked, &course.seen().plan(intent.clone()));
        prop_assert!(over.is_ok(), "taken up again: {}", over.unwrap_err());
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_live_plan_may_stop_anywhere_and_its_end_leaves_nothing_to_do(
        recipe in recipe(),
        picks in prop::collection::vec(0usize..60, 1..6),
        stop in 0usize..60,
    ) {
        let world = with_copies(recipe.world());
        for intent in everything(&recipe, &world) {
            followed(&world, &intent, &picks, stop)?;
        }
    }
}

/// The count is no yes-man: a copy destroyed before its successor is built, and a host given up with its copies on it.
#[test]
fn an_order_that_breaks_a_rule_is_found_out() {
    let world = World::running(4, 8, 4, 2);
    let plan = world.plan(Intent::EmptyHost(host(1))).unwrap().plan().clone();
    let ends = |of: &dyn Fn(&TaskKind) -> bool| {
        let mut course = Course::of(&world, &plan);
        plan.tasks.iter().filter(|task| of(&task.kind)).for_each(|task| course.go(task));
        course.broken()
    };
    assert_eq!(ends(&|_| true), None);
    let fewer = ends(&|kind| !matches!(kind, TaskKind::BuildCopy { .. }));
    assert!(fewer.as_ref().is_some_and(|what| what.contains("whole copies, there were 2")), "{fewer:?}");
    let kept = ends(&|kind| matches!(kind, TaskKind::HostState { .. }));
    assert!(kept.as_ref().is_some_and(|what| what.starts_with("imap1 is Empty with")), "{kept:?}");
    let unled = ends(&|kind| !matches!(kind, TaskKind::HandOver { .. }));
    assert!(unled.is_some_and(|what| what.contains("led by")), "a master was destroyed");
}
