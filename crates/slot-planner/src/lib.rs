//! Decides where masters and replicas go; pure.
//!
//! What always holds: the same cluster, evidence, intent and inputs give the same bytes; a [`CheckedPlan`] comes only
//! out of [`check`], which derives from the cluster again what the planner has decided; a "no" is a [`Refusal`] with
//! a type, the things it is about and what to do next; nothing here waits, asks or writes.

mod apply;
pub mod check;
mod copies;
mod drain;
pub mod estimate;
mod everyday;
mod explain;
mod failover;
mod fence;
mod forecast;
mod handed;
pub mod layout;
mod leads;
mod leave;
mod ledger;
mod lines;
mod live;
mod loss;
mod nothing;
mod parts;
mod preflight;
mod refusal;
mod retire;
mod risk;
mod sheet;
mod snapshot;
mod steps;
mod undo;
mod undrain;
mod view;

pub use check::CheckedPlan;
pub use explain::{explain_plan, explain_store};
pub use nothing::Nothing;
pub use refusal::{DrainBlock, NotWell, Refusal, WhyNot};
pub use retire::RetireBlock;
pub use risk::WhatIf;

use slot_types::cluster::Cluster;
use slot_types::evidence::Evidence;
use slot_types::fence::SwitchOff;
use slot_types::ids::*;
use slot_types::plan::{EntityRef, Intent, Note, Plan, Said, Task, TaskKind, people_needed, two_people_because};
use std::collections::{BTreeMap, BTreeSet};
use view::View;

/// What a plan depends on besides cluster, evidence and intent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inputs {
    /// Who asks; `None` for everyday recovery.
    pub requested_by: Option<OperatorName>,
    /// Why, in the person's words.
    pub reason: String,
    /// The revision the cluster was read at.
    pub revision: Revision,
    /// Log time (R17).
    pub now: LogTime,
    /// Wall time, for display.
    pub wall: WallTime,
    /// Stores that running plans hold (R13).
    pub busy_stores: BTreeSet<StoreName>,
    /// Hosts whose declared state running plans hold (R13).
    pub busy_hosts: BTreeSet<HostName>,
    /// Slots that running plans have reserved (R13).
    pub busy_slots: BTreeSet<SlotId>,
    /// The version of the set of hosts and stores and the policy.
    pub fleet_version: u64,
    /// What whoever asks says besides.
    pub said: Said,
}

/// Computes the plan that fulfils an intent, or says why there is none.
pub fn plan(cluster: &Cluster, evidence: &Evidence, intent: Intent, inputs: Inputs) -> Result<CheckedPlan, Refusal> {
    let view = View { cluster, evidence, inputs: &inputs };
    if !intent.is_everyday() && inputs.requested_by.is_none() {
        return Err(Refusal::NobodyAsks);
    }
    let draft = match &intent {
        Intent::Apply(spec) => apply::plan(&view, spec)?,
        Intent::DrainHost(host) => drain::plan(&view, &BTreeSet::from([host.clone()]))?,
        Intent::DrainHosts(hosts) => drain::plan(&view, hosts)?,
        Intent::EmptyHost(host) => copies::empty(&view, &BTreeSet::from([host.clone()]))?,
        Intent::EmptyHosts(hosts) => copies::empty(&view, hosts)?,
        Intent::MoveCopy { slot, to } => copies::move_copy(&view, slot, to.as_ref())?,
        Intent::Rebuild(scope) => copies::rebuild(&view, scope)?,
        Intent::Rebalance(budget) => live::rebalance(&view, budget)?,
        Intent::Fill { hosts, budget } => live::fill(&view, hosts, budget)?,
        Intent::RetireHost(host) => copies::retire_host(&view, host)?,
        Intent::RetireStore(store) => retire::plan(&view, store)?,
        Intent::CountCopy { slot } => everyday::count(&view, slot)?,
        Intent::UndrainHost(host) => undrain::plan(&view, host)?,
        Intent::Undo(reverse) => undo::plan(&view, reverse)?,
        Intent::FailOverSlot { slot, to } => failover::plan_slot(&view, slot, to.as_ref())?,
        Intent::FailOverStore { store, to } => failover::plan_store(&view, store, to.as_ref())?,
        Intent::FailOverHost(host) => failover::plan_host(&view, host, None)?,
        Intent::FailOverClasses { host, classes } => failover::plan_host(&view, host, Some(classes))?,
        Intent::SettleLoss { case, how } => everyday::settle(&view, *case, *how)?,
        Intent::StartMaster { slot } => everyday::start_master(&view, slot)?,
        Intent::Follow { slot } => everyday::follow(&view, slot)?,
        Intent::FenceReturned { slot } => everyday::fence_returned(&view, slot)?,
    };
    finish(&view, intent, draft)
}

/// Tasks and notes, before they are a plan.
#[derive(Default)]
pub(crate) struct Draft {
    switch_off: BTreeMap<HostName, SwitchOff>,
    tasks: Vec<Task>,
    notes: Vec<Note>,
}

impl Draft {
    /// Adds a task and answers its number.
    fn push(&mut self, task: Task) -> u16 {
        self.tasks.push(task);
        // More tasks than a number can name are refused by the checker.
        u16::try_from(self.tasks.len() - 1).unwrap_or(u16::MAX)
    }
    /// Adds a note; several under one heading are one block.
    fn note(&mut self, heading: &str, text: impl Into<String>) {
        self.notes.push(Note { heading: heading.to_string(), text: text.into() });
    }
}

/// Everything around the tasks: facts (R14), evidence, people; then the checker.
fn finish(view: &View<'_>, intent: Intent, mut draft: Draft) -> Result<CheckedPlan, Refusal> {
    drain::name_left_out(view, &mut draft);
    estimate::note(view, &intent, &mut draft);
    let silent = view.silent_hosts();
    let silent_hosts = u16::try_from(silent.len()).unwrap_or(u16::MAX);
    let mut plan = Plan {
        cluster: view.cluster.id,
        generation: view.cluster.generation,
        // R25: what needs no yes is asked for by nobody.
        requested_by: view.inputs.requested_by.clone().filter(|_| !intent.is_everyday()),
        intent,
        reason: view.inputs.reason.clone(),
        revision: view.inputs.revision,
        created: view.inputs.now,
        created_wall: view.inputs.wall,
        valid_ms: view.cluster.policy.plan_valid_ms,
        facts: BTreeMap::new(),
        evidence: Evidence::default(),
        silent_hosts,
        said: view.inputs.said,
        people: 0,
        two_because: Vec::new(),
        switch_off: draft.switch_off,
        tasks: draft.tasks,
        notes: draft.notes,
    };
    let policy = view.policy();
    if plan.failovers().next().is_some() && policy.brakes(silent_hosts) && !plan.said.mass {
        let (allowed, hosts) = (policy.brake_silent_hosts, silent);
        return Err(Refusal::Brake { silent: silent_hosts, allowed, hosts });
    }
    if let Some(held) = view.cluster.hold_against(&plan) {
        return Err(Refusal::Held(Box::new(held)));
    }
    plan.facts = facts(view, &plan);
    let hosts = plan.facts.keys().filter_map(|e| if let EntityRef::Host(h) = e { Some(h.clone()) } else { None });
    plan.evidence = view.evidence.only(&hosts.collect());
    plan.two_because = two_people_because(&plan, &view.cluster.policy);
    plan.people = people_needed(&plan, &view.cluster.policy);
    check::check(view.cluster, view.evidence, view.inputs.fleet_version, plan).map_err(Refusal::Faulty)
}

/// The versions of everything a plan was computed from (R14): the stores its tasks touch, every host one of their
/// copies is on, every host it sends an order to or declares, the loss cases it lists or settles, and for `apply` the fleet
/// and the stores whose lines change. What does not exist yet has version 0.
fn facts(view: &View<'_>, plan: &Plan) -> BTreeMap<EntityRef, u64> {
    let mut facts = BTreeMap::new();
    let mut hosts: BTreeSet<&HostName> = plan.hosts();
    for name in plan.stores() {
        let store = view.cluster.stores.get(name);
        facts.insert(EntityRef::Store(name.clone()), store.map_or(0, |s| s.version));
        if let Some(store) = store {
            hosts.extend(store.copies.keys().chain(store.possible_masters.keys()).map(|slot| &slot.host));
        }
    }
    for name in hosts {
        let version = view.cluster.hosts.get(name).map_or(0, |h| h.version);
        facts.insert(EntityRef::Host(name.clone()), version);
    }
    if let Intent::Apply(spec) = &plan.intent {
        facts.insert(EntityRef::Fleet, view.inputs.fleet_version);
        let changed = lines::changed(view.cluster, spec);
        facts.extend(changed.map(|(name, store, _)| (EntityRef::Store(name.clone()), store.version)));
    }
    for task in &plan.tasks {
        let case = match &task.kind {
            TaskKind::SettleLoss { case, .. } => Some(*case),
            TaskKind::FenceReturned { slot } => task.store.as_ref().and_then(|name| view.open_case(name, slot)),
            _ => None,
        };
        if let Some(case) = case {
            // A loss case's version is whether it is open: what is settled never changes again.
            let open = view.cluster.loss_cases.get(&case).is_some_and(|c| c.state.is_open());
            facts.insert(EntityRef::LossCase(case), u64::from(open));
        }
    }
    facts
}
