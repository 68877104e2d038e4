//! Stores that people retire (R3, R7, R11).
//!
//! What always holds: that a store is given up is read from the entry that says so and from the books of the tasks; who asked is
//! read from the plan; a name that is gone stays in the books for good.

use super::Found;
use super::ledgers::Ledgers;
use slot_machine::command::{Command, StepRef};
use slot_machine::state::State;
use slot_types::cluster::Cluster;
use slot_types::ids::*;
use slot_types::plan::{Intent, StepKind};
use std::collections::{BTreeMap, BTreeSet};

/// See the module's documentation.
#[derive(Default)]
pub(super) struct Retired {
    /// Stores that there are, and whether nobody serves them any more.
    known: BTreeMap<StoreName, bool>,
    /// Names that were used.
    gone: BTreeSet<StoreName>,
}

impl Retired {
    /// The log is lost: a store that was retired after the backup is known again, to whoever retires it once more.
    pub fn restored(&mut self, cluster: Option<&Cluster>) {
        let stores = cluster.into_iter().flat_map(|cluster| &cluster.stores);
        self.known = stores.map(|(name, store)| (name.clone(), store.retired)).collect();
        self.gone.retain(|name| !self.known.contains_key(name));
    }

    /// One committed entry was applied.
    pub fn follow(&mut self, found: &mut Found, state: &State, command: &Command, ledgers: &Ledgers) {
        let Some(cluster) = &state.cluster else { return };
        for (name, store) in &cluster.stores {
            let before = self.known.insert(name.clone(), store.retired);
            if before.is_none() && self.gone.contains(name) {
                found.say("R11", format!("{name} is made, and a store of that name was retired before"));
            }
            if store.retired && before != Some(true) {
                begins(found, state, cluster, command, name);
            }
            if before == Some(true) && !store.retired {
                found.say("R11", format!("{name} was retired and is not any more"));
            }
        }
        let ended: Vec<StoreName> =
            self.known.keys().filter(|name| !cluster.stores.contains_key(*name)).cloned().collect();
        for name in ended {
            if self.known.remove(&name) != Some(true) {
                found.say("R11", format!("{name} is gone, and nobody retired it"));
            }
            let slots = cluster
                .hosts
                .iter()
                .flat_map(|(host, known)| known.slots.keys().map(move |number| SlotId::new(host.clone(), *number)));
            for slot in slots.filter(|slot| !ledgers.is_touched(&slot.host)) {
                if ledgers.held_on(&slot).any(|held| *held == name) {
                    found.say("R4", format!("{name} is gone, the agent of {slot} holds a copy of it"));
                }
            }
            self.gone.insert(name);
        }
    }
}

/// S5: by a step of a plan that asks for just this; R3, R7: nobody else may be its master, nothing waits to be settled.
fn begins(found: &mut Found, state: &State, cluster: &Cluster, command: &Command, name: &StoreName) {
    let asked = |step: &StepRef| {
        let record = state.plans.get(&step.plan)?;
        let task = record.plan.tasks.get(usize::from(step.task))?;
        let kind = task.steps.get(usize::from(step.step))?.kind;
        let wanted = matches!(&record.plan.intent, Intent::RetireStore(store) if store == name);
        Some(wanted && kind == StepKind::RetireStore && task.store.as_ref() == Some(name))
    };
    if !matches!(command, Command::StartStep { step, .. } if asked(step) == Some(true)) {
        found.say("S5", format!("{name} is retired by what does not say so"));
    }
    let open = |(_, case): &(&LossCaseId, &slot_types::cluster::LossCase)| case.store == *name && case.state.is_open();
    if let Some((case, _)) = cluster.loss_cases.iter().find(open) {
        found.say("R7", format!("{name} is retired while {case} is open"));
    }
    let masters = cluster.stores.get(name).map_or(0, |store| store.possible_masters.len());
    if masters > 1 {
        found.say("R3", format!("{name} is retired while {masters} slots may be its master"));
    }
}
