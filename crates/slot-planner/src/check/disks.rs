//! What disks have free, at the fullest state the plan passes through.
//!
//! What always holds: what a plan destroys is not counted on, since it is free only afterwards; a copy that was begun before
//! is not counted twice; a disk of which nothing is known is judged by its slots alone.

use super::{Fault, Ground};
use slot_types::ids::*;
use slot_types::plan::TaskKind;
use std::collections::BTreeMap;

pub(super) fn check(ground: &Ground<'_>) -> Result<(), Fault> {
    let mut takes: BTreeMap<&HostName, u64> = BTreeMap::new();
    for task in &ground.plan.tasks {
        let Some(name) = &task.store else { continue };
        let store = ground.cluster.stores.get(name);
        let begun = |slot: &SlotId, generation: CopyGeneration| {
            store.and_then(|store| store.copies.get(slot)).is_some_and(|copy| copy.generation == generation)
        };
        let (reserved, slots): (u64, Vec<&SlotId>) = match &task.kind {
            TaskKind::BuildCopy { slot, generation, .. } if !begun(slot, *generation) => {
                (store.map_or(0, |store| store.spec.size_bytes), vec![slot])
            }
            // What it held once and was given up is free for it alone.
            TaskKind::CreateStore { spec, copies, .. } => {
                let new = copies.keys().filter(|slot| store.is_none_or(|store| !store.copies.contains_key(*slot)));
                (spec.size_bytes, new.collect())
            }
            _ => continue,
        };
        let bytes = ground.evidence.copy_bytes(name, reserved, store);
        for slot in slots {
            let sum = takes.entry(&slot.host).or_default();
            *sum = sum.saturating_add(bytes);
        }
    }
    for (host, takes) in takes {
        if let Some(spare) = ground.evidence.disk_to_spare(ground.cluster, host).filter(|spare| *spare < takes) {
            return Err(Fault::Disk { host: host.clone(), takes, spare });
        }
    }
    Ok(())
}
