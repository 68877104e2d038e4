//! An independent judge of finished plans, and the only maker of [`CheckedPlan`].
//!
//! What always holds: every task is carried out, one after the other, and the hard rules are asked after each (`rules`). It shares
//! no decision with the planner; it derives from cluster, evidence and the plan itself what every task of its kind must look
//! like (S3, S7, S9, R3, R16, R28), what the plan must name as its facts (R14), and how many people must say yes (S5). What it
//! can't derive, it refuses.

mod copies;
mod disks;
mod fence;
mod intents;
mod places;
mod retire;
mod rules;
mod sequence;
mod tasks;

use crate::layout::Rule;
use slot_types::cluster::Cluster;
use slot_types::evidence::Evidence;
use slot_types::ids::*;
use slot_types::plan::{EntityRef, Intent, Plan, Task, TaskKind, people_needed, two_people_because};
use slot_types::position::Digest;
use std::collections::{BTreeMap, BTreeSet};

/// A plan that has passed the checker, with its canonical bytes (R15).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedPlan {
    plan: Plan,
    bytes: Vec<u8>,
    digest: Digest,
}

impl CheckedPlan {
    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }
    /// Its canonical bytes: what is recorded, shown and approved.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
    /// The digest of those bytes.
    pub fn digest(&self) -> Digest {
        self.digest
    }
}

/// What is wrong with a plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// For another cluster or generation (R10).
    #[error("it is for another cluster or generation")]
    OtherCluster,
    /// No tasks, or too many.
    #[error("it has {0} tasks")]
    TaskCount(usize),
    /// R14: a fact is missing, superfluous or of another version.
    #[error("it names {entity} at {named:?}, it rests on {needed:?}")]
    Fact {
        /// Which.
        entity: EntityRef,
        /// In the plan.
        named: Option<u64>,
        /// As derived.
        needed: Option<u64>,
    },
    /// The evidence in it is not what was observed of the hosts it touches.
    #[error("its evidence is not what was observed")]
    Evidence,
    /// S5: it asks for another number of people, or gives other reasons.
    #[error("it asks for {named} people, policy asks for {needed}")]
    People {
        /// In the plan.
        named: u8,
        /// By policy.
        needed: u8,
    },
    /// R23.
    #[error("it counts {named} silent hosts, {needed} are")]
    SilentHosts {
        /// In the plan.
        named: u16,
        /// By evidence.
        needed: u16,
    },
    /// R23.
    #[error("it goes past masters while {0} hosts are silent, which nobody said to know")]
    Brake(u16),
    /// R25: everyday plans, and only they, are asked for by nobody.
    #[error("it names the wrong one who asks")]
    Requester,
    /// A task names the wrong store, or none.
    #[error("task {0} names a wrong store, or none")]
    TaskStore(usize),
    /// The epoch is not the store's.
    #[error("task {task} is for epoch {named}, the store is at {needed}")]
    Epoch {
        /// Which.
        task: usize,
        /// In the plan.
        named: Epoch,
        /// The store's.
        needed: Epoch,
    },
    /// A task waits for itself, for a later one, or for none where it must.
    #[error("task {0} does not wait for what must be done before it")]
    Order(usize),
    /// The steps are not those of the task's kind.
    #[error("task {task} has wrong steps from step {step} on")]
    Steps {
        /// Which.
        task: usize,
        /// The first that differs.
        step: usize,
    },
    /// A step without a deadline.
    #[error("step {step} of task {task} has no deadline")]
    Deadline {
        /// Which.
        task: usize,
        /// The step.
        step: usize,
    },
    /// The canary would not be written from another host although one is there.
    #[error("task {0} has its canary in the wrong place")]
    Canary(usize),
    /// A role that the cluster does not give that slot.
    #[error("task {task}: {slot} {what}")]
    Role {
        /// Which.
        task: usize,
        /// The slot.
        slot: SlotId,
        /// What is wrong with it.
        what: &'static str,
    },
    /// R3, R28: a possible master neither demoted nor waived by name.
    #[error("task {task}: {slot} may be master and is neither demoted nor waived")]
    NotFenced {
        /// Which.
        task: usize,
        /// The slot.
        slot: SlotId,
    },
    /// The fence is said to be stronger, or other, than it is.
    #[error("task {0} says a wrong fence")]
    Fence(usize),
    /// R6, R26: a host would be switched off that need not be, from where it may not be, or without naming what that kills.
    #[error("{host} {what}")]
    SwitchOff {
        /// The host.
        host: HostName,
        /// What is wrong.
        what: &'static str,
    },
    /// R7: the loss statement promises more than evidence allows.
    #[error("task {0} says a loss that evidence does not bear out")]
    Loss(usize),
    /// A task adds to what is broken of a hard rule.
    #[error("task {task} breaks a rule ({rule}): {what}")]
    Broken {
        /// Which.
        task: usize,
        /// The rule.
        rule: Rule,
        /// What would be where it may not be.
        what: String,
    },
    /// S9: two copies in one domain, a slot used twice, too small, or missing.
    #[error("S9: {0}")]
    Placement(String),
    /// A disk would get more than it has to spare.
    #[error("the disk of {host} would get {takes} bytes of new copies, it has {spare} to spare")]
    Disk {
        /// Whose.
        host: HostName,
        /// What comes.
        takes: u64,
        /// What is there.
        spare: u64,
    },
    /// The tasks do not do what the intent says, or do more.
    #[error("it does not do what was wanted: {0}")]
    Intent(String),
}

/// What checks read.
pub(crate) struct Ground<'a> {
    pub cluster: &'a Cluster,
    pub evidence: &'a Evidence,
    pub plan: &'a Plan,
}

/// Judges a plan against the cluster and the evidence it was made from.
pub fn check(cluster: &Cluster, evidence: &Evidence, fleet_version: u64, plan: Plan) -> Result<CheckedPlan, Fault> {
    let ground = Ground { cluster, evidence, plan: &plan };
    rules::check(&ground)?;
    ground.head(fleet_version)?;
    for (number, task) in plan.tasks.iter().enumerate() {
        ground.shape(number, task)?;
        tasks::check(&ground, number, task)?;
        sequence::check(&ground, number, task)?;
    }
    ground.order()?;
    fence::check(&ground)?;
    places::check(&ground)?;
    copies::check(&ground)?;
    disks::check(&ground)?;
    intents::check(&ground)?;
    let bytes = plan.bytes();
    let digest = Plan::digest_of(&bytes);
    Ok(CheckedPlan { plan, bytes, digest })
}

impl Ground<'_> {
    fn head(&self, fleet_version: u64) -> Result<(), Fault> {
        let plan = self.plan;
        if plan.cluster != self.cluster.id || plan.generation != self.cluster.generation {
            return Err(Fault::OtherCluster);
        }
        if plan.tasks.is_empty() || plan.tasks.len() > crate::apply::TASKS_MAX {
            return Err(Fault::TaskCount(plan.tasks.len()));
        }
        if plan.intent.is_everyday() != plan.requested_by.is_none() {
            return Err(Fault::Requester);
        }
        self.facts(fleet_version)?;
        let mut hosts = BTreeSet::new();
        for entity in plan.facts.keys() {
            if let EntityRef::Host(host) = entity {
                hosts.insert(host.clone());
            }
        }
        if plan.evidence != self.evidence.only(&hosts) {
            return Err(Fault::Evidence);
        }
        let needed = self.silent_hosts();
        if plan.silent_hosts != needed {
            return Err(Fault::SilentHosts { named: plan.silent_hosts, needed });
        }
        if plan.failovers().next().is_some() && needed > self.cluster.policy.brake_silent_hosts && !plan.said.mass {
            return Err(Fault::Brake(needed));
        }
        let needed = people_needed(plan, &self.cluster.policy);
        if plan.people != needed || plan.two_because != two_people_because(plan, &self.cluster.policy) {
            return Err(Fault::People { named: plan.people, needed });
        }
        Ok(())
    }

    /// R14: exactly the entities the plan touches, at their versions.
    fn facts(&self, fleet_version: u64) -> Result<(), Fault> {
        let mut needed: BTreeMap<EntityRef, u64> = BTreeMap::new();
        let host = |name: &HostName| {
            let version = self.cluster.hosts.get(name).map_or(0, |h| h.version);
            (EntityRef::Host(name.clone()), version)
        };
        for task in &self.plan.tasks {
            for place in task.steps.iter().filter_map(|s| s.at.as_ref()) {
                needed.extend([host(place.host())]);
            }
            match &task.kind {
                TaskKind::HostState { host: name, .. } => needed.extend([host(name)]),
                TaskKind::Fleet => {}
                TaskKind::SettleLoss { case, .. } => needed.extend([self.case_fact(*case)]),
                TaskKind::FenceReturned { slot } => {
                    let cases =
                        self.cluster.loss_cases.iter().filter(|(_, c)| {
                            c.slot == *slot && Some(&c.store) == task.store.as_ref() && c.state.is_open()
                        });
                    needed.extend(cases.take(1).map(|(id, _)| self.case_fact(*id)));
                }
                _ => {}
            }
            let Some(name) = &task.store else { continue };
            let store = self.cluster.stores.get(name);
            needed.insert(EntityRef::Store(name.clone()), store.map_or(0, |s| s.version));
            for slot in store.iter().flat_map(|s| s.copies.keys().chain(s.possible_masters.keys())) {
                needed.extend([host(&slot.host)]);
            }
        }
        needed.extend(self.plan.switch_off.keys().map(host));
        if let Intent::Apply(file) = &self.plan.intent {
            needed.insert(EntityRef::Fleet, fleet_version);
            for (name, store) in self.cluster.stores.iter().filter(|(_, s)| !s.retired && s.epoch != Epoch::ZERO) {
                if file.stores.get(name).is_some_and(|line| *line != store.spec) {
                    needed.insert(EntityRef::Store(name.clone()), store.version);
                }
            }
        }
        let both: BTreeSet<&EntityRef> = needed.keys().chain(self.plan.facts.keys()).collect();
        for entity in both {
            let (named, needed) = (self.plan.facts.get(entity).copied(), needed.get(entity).copied());
            if named != needed {
                return Err(Fault::Fact { entity: entity.clone(), named, needed });
            }
        }
        Ok(())
    }

    fn case_fact(&self, case: LossCaseId) -> (EntityRef, u64) {
        let open = self.cluster.loss_cases.get(&case).is_some_and(|c| c.state.is_open());
        (EntityRef::LossCase(case), u64::from(open))
    }

    fn silent_hosts(&self) -> u16 {
        use slot_types::cluster::HostState::{Active, Draining, Empty};
        let mut silent = 0u16;
        for (name, host) in &self.cluster.hosts {
            let heard = self.evidence.hosts.get(name).and_then(|e| e.agent.age_ms());
            if matches!(host.declared, Active | Draining | Empty)
                && heard.is_none_or(|age| age > self.cluster.policy.silent_ms)
            {
                silent = silent.saturating_add(1);
            }
        }
        silent
    }

    /// What holds for tasks of every kind.
    fn shape(&self, number: usize, task: &Task) -> Result<(), Fault> {
        let about_store = !matches!(task.kind, TaskKind::Fleet | TaskKind::HostState { .. });
        if about_store != task.store.is_some() {
            return Err(Fault::TaskStore(number));
        }
        if task.after.iter().any(|dep| usize::from(*dep) >= number) {
            return Err(Fault::Order(number));
        }
        let existing = task.store.as_ref().and_then(|s| self.cluster.stores.get(s));
        let creates = matches!(task.kind, TaskKind::CreateStore { .. });
        // A store without a first epoch was never there for anybody: it may be made anew.
        let existing = existing.filter(|store| !creates || store.epoch != Epoch::ZERO);
        if about_store && creates == existing.is_some() {
            return Err(Fault::TaskStore(number));
        }
        let needed = match existing {
            Some(store) => store.epoch,
            None if creates => Epoch { generation: self.cluster.generation, n: 0 },
            None => Epoch::ZERO,
        };
        if task.epoch != needed {
            return Err(Fault::Epoch { task: number, named: task.epoch, needed });
        }
        Ok(())
    }

    /// Two tasks about one store: the later waits for the earlier, or for one that waits for it.
    fn order(&self) -> Result<(), Fault> {
        let mut last: BTreeMap<&StoreName, usize> = BTreeMap::new();
        for (number, task) in self.plan.tasks.iter().enumerate() {
            let Some(store) = &task.store else { continue };
            if last.insert(store, number).is_some_and(|earlier| !self.waits(number, earlier)) {
                return Err(Fault::Order(number));
            }
        }
        Ok(())
    }

    /// Whether a task waits for another, at however many removes.
    pub(crate) fn waits(&self, task: usize, earlier: usize) -> bool {
        let mut open = vec![task];
        let mut seen = BTreeSet::new();
        while let Some(task) = open.pop() {
            for dep in self.plan.tasks[task].after.iter().map(|d| usize::from(*d)) {
                if dep == earlier {
                    return true;
                }
                if dep > earlier && dep < self.plan.tasks.len() && seen.insert(dep) {
                    open.push(dep);
                }
            }
        }
        false
    }
}
