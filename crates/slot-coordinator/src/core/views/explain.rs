//! Why things are where they are: the planner's verdicts, and the plans that are remembered.

use super::Fleet;
use super::plans::title;
use slot_machine::state::{PlanRecord, TaskState};
use slot_planner::{Inputs, explain_plan, explain_store};
use slot_types::evidence::Seen;
use slot_types::ids::*;
use slot_types::plan::{Task, TaskKind};
use slot_types::view::*;

impl Fleet<'_> {
    /// `None` when there is no such thing.
    pub(super) fn explain(&self, what: &ExplainWhat) -> Option<ExplainView> {
        let explained = match what {
            // A plan carries its own evidence: any node can explain it.
            ExplainWhat::Plan(id) => self.explained(Explained::Plan(self.explain_plan(*id)?), false),
            ExplainWhat::Store(name) => self.explained(Explained::Store(self.explain_store(name)?), true),
            ExplainWhat::Slot(slot) => {
                self.cluster.slot(slot)?;
                let store = self.on.get(slot).and_then(|(name, _, _)| self.explain_store(name));
                let claimed_by = self.eyes.state.slot_claims.get(slot).copied();
                self.explained(Explained::Slot { slot: slot.clone(), claimed_by, store }, true)
            }
        };
        Some(ExplainView { revision: self.eyes.state.revision, explained })
    }

    fn explained(&self, explained: Explained, of_now: bool) -> Seen<Explained> {
        match self.sees() {
            Err(reason) if of_now => Seen::Unknown { reason },
            _ => Seen::Known { value: explained, age_ms: 0 },
        }
    }

    fn explain_store(&self, name: &StoreName) -> Option<ExplainedStore> {
        let mut explained = explain_store(self.cluster, self.eyes.evidence, &self.inputs(), name)?;
        explained.claimed_by = self.eyes.state.store_claims.get(name).copied();
        explained.made_by = explained.master.as_ref().and_then(|master| self.made_by(name, master));
        Some(explained)
    }

    /// The last plan that is remembered to have made this slot the store's master.
    fn made_by(&self, name: &StoreName, master: &SlotId) -> Option<MadeBy> {
        let made = |record: &PlanRecord| {
            let ended = record.plan.tasks.iter().zip(&record.tasks);
            let done = ended.filter(|(task, run)| run.state == TaskState::Done && task.store.as_ref() == Some(name));
            done.map(|(task, _)| task).find(|task| new_master(task) == Some(master)).map(title)
        };
        let mut newest_first = self.eyes.state.plans.values().rev();
        newest_first.find_map(|record| {
            made(record).map(|task| MadeBy {
                plan: record.id,
                title: record.plan.intent.to_string(),
                task,
                requested_by: record.plan.requested_by.clone(),
                reason: record.plan.reason.clone(),
            })
        })
    }

    fn explain_plan(&self, id: PlanId) -> Option<ExplainedPlan> {
        let record = self.eyes.state.plans.get(&id)?;
        let inputs = self.inputs();
        // What the plan itself holds was free when it was made.
        let others = self.eyes.state.host_claims.iter().filter(|(_, plan)| **plan != id);
        let inputs = Inputs { busy_hosts: others.map(|(host, _)| host.clone()).collect(), ..inputs };
        let tasks = explain_plan(self.cluster, self.eyes.evidence, &inputs, &record.plan);
        let without = record.plan.tasks.len().saturating_sub(tasks.len());
        Some(ExplainedPlan {
            plan: id,
            title: record.plan.intent.to_string(),
            planned_at: record.plan.revision,
            without_choice: u32::try_from(without).unwrap_or(u32::MAX),
            tasks,
        })
    }
}

/// The slot that a task makes the master of its store.
fn new_master(task: &Task) -> Option<&SlotId> {
    match &task.kind {
        TaskKind::CreateStore { master, .. } => Some(master),
        TaskKind::HandOver { to, .. } | TaskKind::FailOver { to, .. } => Some(to),
        _ => None,
    }
}
