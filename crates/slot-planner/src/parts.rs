//! Which stores of a dead host's sheet are carried out by one yes, and which are left for another.
//!
//! What always holds: each store of the sheet is in the plan or named with the command that asks for it; a plan that needs
//! one person holds nothing that needs two (S5).

use crate::Draft;
use crate::failover::Way;
use crate::sheet;
use slot_types::cluster::{LossClass, Policy};
use slot_types::ids::*;
use slot_types::plan::{Task, TaskKind};
use std::collections::{BTreeMap, BTreeSet};

/// A way, its target and the task that takes it there.
type Made<'a> = (Way<'a>, SlotId, Task);

/// Which part of a sheet is wanted.
pub(crate) enum Part<'a> {
    /// All of it.
    All,
    /// Of a host's sheet.
    Host {
        /// The host.
        host: &'a HostName,
        /// These classes; without them, what needs the fewest people.
        classes: Option<&'a BTreeSet<LossClass>>,
    },
}

/// The class of an unplanned failover; a hand-over loses nothing and has none.
pub(crate) fn class(task: &Task) -> Option<LossClass> {
    if let TaskKind::FailOver { loss, .. } = &task.kind { Some(loss.class) } else { None }
}

/// S5: whether this task by itself needs a second person.
fn asks_two(policy: &Policy, task: &Task) -> bool {
    let TaskKind::FailOver { loss, fence, .. } = &task.kind else { return false };
    policy.loss_asks_two(loss.class) || policy.fence_asks_two(*fence)
}

impl Part<'_> {
    /// What is carried out, and what is left.
    pub fn split<'a>(&self, policy: &Policy, made: Vec<Made<'a>>) -> (Vec<Made<'a>>, Vec<Made<'a>>) {
        match self {
            Self::All => (made, Vec::new()),
            Self::Host { classes: Some(classes), .. } => {
                made.into_iter().partition(|(_, _, task)| class(task).is_none_or(|class| classes.contains(&class)))
            }
            Self::Host { classes: None, .. } => {
                let some_need_one = made.iter().any(|(_, _, task)| !asks_two(policy, task));
                made.into_iter().partition(|(_, _, task)| !some_need_one || !asks_two(policy, task))
            }
        }
    }
}

/// What is left of the sheet, by class, with the commands: all of a class in one go, or one store by itself.
pub(crate) fn name_later(part: &Part<'_>, later: &[Made<'_>], draft: &mut Draft) {
    let Part::Host { host, .. } = part else { return };
    let mut groups: BTreeMap<LossClass, Vec<&StoreName>> = BTreeMap::new();
    for (way, _, task) in later {
        if let Some(class) = class(task) {
            groups.entry(class).or_default().push(way.name);
        }
    }
    for (class, stores) in groups {
        let all = format!("slotctl failover host {host} --class {}", class.word());
        let command = match stores.as_slice() {
            [store] => format!("slotctl failover store {store}"),
            _ => all,
        };
        let stores = format!("{}, {}", sheet::count(stores.len(), "store", "stores"), sheet::names(&stores));
        draft.note("NOT IN THIS PLAN", format!("{class}: {stores}\n{command}"));
    }
}
