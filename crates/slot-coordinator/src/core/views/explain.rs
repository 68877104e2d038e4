//! What only the state knows of things that are explained: the plans that are remembered. The planner's verdicts come to it later.

use super::Fleet;
use super::plans::title;
use crate::core::study::{Explain, Remembered, Unfinished};
use slot_machine::state::{PlanRecord, TaskState};
use slot_types::ids::*;
use slot_types::plan::{Task, TaskKind};
use slot_types::view::*;

impl Fleet<'_> {
    /// `None` when there is no such thing.
    pub(super) fn explain(&self, what: &ExplainWhat) -> Option<Unfinished> {
        let explain = match what {
            ExplainWhat::Plan(id) => self.explain_plan(*id)?,
            ExplainWhat::Store(name) => Explain::Store(name.clone(), self.remembered(name)?),
            ExplainWhat::Slot(slot) => {
                self.cluster.slot(slot)?;
                let store = self.on.get(slot).map(|(name, _, _)| *name);
                let store = store.and_then(|name| Some((name.clone(), self.remembered(name)?)));
                let claimed_by = self.eyes.state.slot_claims.get(slot).copied();
                Explain::Slot { slot: slot.clone(), claimed_by, store }
            }
        };
        Some(Unfinished::Explain(explain))
    }

    fn remembered(&self, name: &StoreName) -> Option<Remembered> {
        let store = self.cluster.stores.get(name)?;
        let claimed_by = self.eyes.state.store_claims.get(name).copied();
        Some(Remembered { claimed_by, made_by: store.master.as_ref().and_then(|master| self.made_by(name, master)) })
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

    fn explain_plan(&self, id: PlanId) -> Option<Explain> {
        let record = self.eyes.state.plans.get(&id)?;
        let explained = ExplainedPlan {
            plan: id,
            title: record.plan.intent.to_string(),
            planned_at: record.plan.revision,
            without_choice: 0,
            tasks: Vec::new(),
        };
        Some(Explain::Plan(Box::new(record.plan.clone()), explained))
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
