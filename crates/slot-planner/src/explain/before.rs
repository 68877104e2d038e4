//! The cluster without what a plan has made, for looking at its choices once they are carried out; and what of a choice the plan's own
//! record says, where the cluster as it was can't be had.
//!
//! What always holds: a store is taken away only while it is as the plan made it, its copies on their slots and its master where the plan
//! put it; all else stays as it is now, and whoever explains says so.

use super::version_changed;
use crate::sheet;
use crate::view::View;
use slot_types::cluster::Cluster;
use slot_types::ids::*;
use slot_types::plan::{EntityRef, Plan, TaskKind};
use std::collections::BTreeSet;

/// The cluster without the stores that the plan made and nobody has changed since, and which these are.
pub(super) fn before(cluster: &Cluster, plan: &Plan) -> (Cluster, BTreeSet<StoreName>) {
    let mut taken_back = BTreeSet::new();
    for task in &plan.tasks {
        let (TaskKind::CreateStore { copies, master, .. }, Some(name)) = (&task.kind, &task.store) else { continue };
        let as_made = cluster.stores.get(name).is_some_and(|store| {
            store.master.as_ref() == Some(master) && store.copies.keys().eq(copies.keys()) && store.pending.is_none()
        });
        if as_made {
            taken_back.insert(name.clone());
        }
    }
    let mut before = cluster.clone();
    before.stores.retain(|name, _| !taken_back.contains(name));
    (before, taken_back)
}

/// What is different from when the plan was made, if anything it was computed from is.
pub(super) fn since(view: &View<'_>, plan: &Plan) -> String {
    let stays = |of: &&EntityRef| match of {
        // A host that the plan brought has no version from before.
        EntityRef::Host(_) => plan.facts.get(*of).is_some_and(|then| *then > 0) && version_changed(view, plan, of),
        of => version_changed(view, plan, of),
    };
    let differs: Vec<String> = plan.facts.keys().filter(stays).map(ToString::to_string).collect();
    match differs.as_slice() {
        [] => "judged without what this plan made, all else as it is now".to_owned(),
        [first, more @ ..] => {
            let more = if more.is_empty() { String::new() } else { format!(" and {} more", more.len()) };
            format!("judged without what this plan made, all else as it is now; changed since: {first}{more}")
        }
    }
}

/// What the plan's own evidence says of the copy it chose, and of the others it looked at.
pub(super) fn recorded(plan: &Plan, name: &StoreName, chosen: &SlotId) -> Vec<String> {
    let status = |slot: &SlotId| plan.evidence.last_status(slot).filter(|(status, _)| status.store == *name);
    let said = |slot: &SlotId| {
        let (status, _) = status(slot)?;
        let behind = status.behind.map(|behind| {
            format!(", {} behind", sheet::count(usize::try_from(behind).unwrap_or(usize::MAX), "record", "records"))
        });
        let verified = status.verified_ms.map(|ms| format!(", verified within {} s", ms.div_ceil(1000)));
        let ends = format!("ended at {}", status.tip.position);
        Some(format!("{ends}{}{}", behind.unwrap_or_default(), verified.unwrap_or_default()))
    };
    let mut lines: Vec<String> =
        said(chosen).into_iter().map(|said| format!("as the plan saw it, {chosen} {said}")).collect();
    let others = plan.evidence.copies.keys().filter(|slot| *slot != chosen);
    lines.extend(others.filter_map(|slot| Some(format!("as the plan saw it, {slot} {}", said(slot)?))));
    let onto = plan.tasks.iter().filter(|task| match &task.kind {
        TaskKind::HandOver { to, .. } | TaskKind::FailOver { to, .. } => to.host == chosen.host,
        TaskKind::CreateStore { master, .. } => master.host == chosen.host,
        _ => false,
    });
    let (onto, all) = (onto.count(), "of the masters that the whole plan moves");
    lines.extend((onto > 0).then(|| format!("{} has {onto} {all}", chosen.host)));
    lines
}
