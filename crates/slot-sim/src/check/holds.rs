//! Holds, booked anew from the committed entries (docs/adr/0019).
//!
//! What always holds: what is held is what the entries said; a plan that starts meanwhile and has a task for a held store,
//! or an order for a held host, is a finding, unless it is the standing Demote (R8).

use super::Found;
use slot_machine::command::{Answer, Command};
use slot_types::cluster::Cluster;
use slot_types::hold::HoldOn;
use slot_types::ids::PlanId;
use slot_types::plan::{Intent, Plan, StepKind};
use std::collections::BTreeSet;

/// The rule's name in a finding.
const RULE: &str = "ADR19";

/// See the module's documentation.
#[derive(Default)]
pub(crate) struct Holds(BTreeSet<HoldOn>);

impl Holds {
    /// What a restored state holds.
    pub fn of(cluster: Option<&Cluster>) -> Self {
        Self(cluster.into_iter().flat_map(|cluster| cluster.holds.keys().cloned()).collect())
    }

    /// An entry was accepted.
    pub fn said(&mut self, found: &mut Found, command: &Command, answer: &Answer) {
        let (on, is_change) = match command {
            Command::Hold { on, .. } => (on, self.0.insert(on.clone())),
            Command::Release { on, .. } => (on, self.0.remove(on)),
            _ => return,
        };
        if !matches!(answer, Answer::Hold { changed, .. } if *changed == is_change) {
            found.say(RULE, format!("{command:?} is answered {answer:?}, a change of {on} it is: {is_change}"));
        }
    }

    /// A plan starts.
    pub fn starts(&self, found: &mut Found, id: PlanId, plan: &Plan) {
        if matches!(plan.intent, Intent::FenceReturned { .. }) {
            return;
        }
        let cut = plan.switch_off.keys().map(|host| HoldOn::Host(host.clone()));
        let mut touched: BTreeSet<HoldOn> = cut.chain([HoldOn::All]).collect();
        for task in &plan.tasks {
            // Nothing changes on the host that a canary is written from or that another's device is asked from.
            let orders = task.steps.iter().filter(|s| !matches!(s.kind, StepKind::Canary | StepKind::FenceHost));
            touched.extend(orders.filter_map(|step| step.at.as_ref()).map(|at| HoldOn::Host(at.host().clone())));
            touched.extend(task.store.clone().map(HoldOn::Store));
        }
        if let Some(on) = touched.intersection(&self.0).next() {
            found.say(RULE, format!("{id} ({}) starts although {on} is held", plan.intent));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use slot_types::ids::OperatorName;

    #[test]
    fn a_hold_is_booked_once_and_a_wrong_answer_is_found() {
        let (mut found, mut holds) = (Found::default(), Holds::default());
        let by = OperatorName::new("ann").unwrap();
        let hold = Command::Hold { on: HoldOn::All, by: by.clone(), reason: "why".into() };
        let release = Command::Release { on: HoldOn::All, by, reason: "why".into() };
        let answer = |changed| Answer::Hold { changed, running: Vec::new() };
        for (command, changed) in [(&release, false), (&hold, true), (&hold, false), (&release, true)] {
            holds.said(&mut found, command, &answer(changed));
        }
        assert!(found.list.is_empty());
        holds.said(&mut found, &hold, &answer(false));
        assert_eq!(found.list.len(), 1);
    }
}
