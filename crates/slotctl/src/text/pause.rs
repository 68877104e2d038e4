//! Plans that are paused: what may be done with them.
//!
//! What always holds: each line ends in a command that can be typed as it stands.

use super::layout::count;
use slot_types::ids::{PlanId, SlotId};
use slot_types::plan::{Plan, TaskKind};
use slot_types::view::{PlanView, TaskProgress};

/// What is under way of a pause.
pub fn pausing(id: PlanId) -> String {
    format!("{id} begins nothing more; what is frozen or committed goes on to its end\n")
}

/// Resumed and not waited for.
pub fn resumed(id: PlanId) -> String {
    format!("{id} goes on: slotctl plan watch {id}\n")
}

/// An undo was not carried out.
pub fn still_paused(id: PlanId) -> String {
    format!("{id} stays paused: slotctl plan resume {id} -m REASON\n")
}

/// What to type next about a paused plan.
pub fn next(view: &PlanView, plan: &Plan) -> String {
    let id = view.id;
    let refused =
        plan.tasks.iter().zip(&view.tasks).filter(|(task, line)| {
            matches!(task.kind, TaskKind::HandOver { .. }) && line.state == TaskProgress::NotDone
        });
    let refused: Vec<String> = refused.filter_map(|(task, _)| Some(task.store.as_ref()?.to_string())).collect();
    let again = match refused.as_slice() {
        [] => "go on".to_string(),
        [one] => format!("try {one} again, then go on"),
        many => format!("try {} again, then go on", count(many.len() as u64, "store")),
    };
    let back = plan
        .tasks
        .iter()
        .zip(&view.tasks)
        .filter(|(task, line)| matches!(task.kind, TaskKind::HandOver { .. }) && line.state == TaskProgress::Done);
    let back = match back.count() as u64 {
        0 => "turn back what it did".to_string(),
        n => format!("hand {} back", count(n, "master")),
    };
    let mut rows = Vec::new();
    if let [one] = refused.as_slice() {
        rows.push((format!("slotctl show store {one}"), "how its copies are now".to_string()));
    }
    rows.push((format!("slotctl plan resume {id} -m REASON"), again));
    rows.push((format!("slotctl plan undo {id} -m REASON"), back));
    rows.push((format!("slotctl plan abort {id} -m REASON"), "leave it as it is, and let go of its stores".into()));
    // The paused plan keeps the store, so the copy is built anew after it.
    let differ: Vec<&SlotId> =
        view.tasks.iter().filter_map(|line| line.differs.as_ref()).map(|differs| &differs.slot).collect();
    if let Some(slot) = differ.first() {
        rows.push((format!("slotctl move slot {slot} -m REASON"), "once it is over: build that copy anew".into()));
    }
    rows.iter().map(|(command, what)| format!("  {command:<38}   {what}\n")).collect()
}
