//! A store that is retired: it alone, all of it, its master fenced first.
//!
//! What always holds: nothing of the store is open (R3, R7); who is demoted is the only one who may acknowledge; each copy there
//! is destroyed once, after that, and nothing else is touched.

use super::{Fault, Ground};
use slot_types::ids::*;
use slot_types::plan::TaskKind;
use std::collections::BTreeSet;

pub(super) fn check(ground: &Ground<'_>, name: &StoreName) -> Result<(), Fault> {
    let wrong = |what: &str| Err(Fault::Intent(format!("{name}: {what}")));
    let Some(store) = ground.cluster.stores.get(name) else { return wrong("does not exist") };
    let mut cases = ground.cluster.loss_cases.values();
    if store.pending.is_some() || cases.any(|case| case.store == *name && case.state.is_open()) {
        return wrong("a change of master or a loss case is open");
    }
    let acknowledges: BTreeSet<&SlotId> = store.master.iter().chain(store.possible_masters.keys()).collect();
    if acknowledges.len() > 1 || acknowledges.is_empty() && !store.retired {
        return wrong("who may acknowledge is not one slot");
    }
    let mut demoted: Option<&SlotId> = None;
    let mut gone: BTreeSet<&SlotId> = BTreeSet::new();
    for (number, task) in ground.plan.tasks.iter().enumerate() {
        if task.store.as_ref() != Some(name) {
            return wrong("another store is touched");
        }
        match &task.kind {
            TaskKind::RetireStore { master } if number == 0 => demoted = Some(master),
            TaskKind::DestroyCopy { slot, .. } if gone.insert(slot) => {
                if demoted.is_some() && !ground.waits(number, 0) {
                    return Err(Fault::Order(number));
                }
            }
            _ => return wrong("a task neither fences its master nor destroys a copy of it"),
        }
    }
    if demoted != acknowledges.first().copied() {
        return wrong("it is not its master that is demoted first");
    }
    if gone != store.copies.keys().collect() {
        return wrong("not every copy of it is destroyed");
    }
    match store.copies.keys().find(|slot| !ground.hears(&slot.host)) {
        Some(slot) => wrong(&format!("{slot} is on a host that can't be asked")),
        None => Ok(()),
    }
}
