//! How a sheet says who is fenced by what, and what a power cut kills.
//!
//! What always holds: whoever is not demoted stands here by name, and so does every copy on a host that is switched off (R6,
//! R26).

use super::{INDENT, Page, count, plain, span};
use crate::cluster::FenceLevel;
use crate::evidence::Seen;
use crate::fence::SwitchOff;
use crate::ids::*;
use crate::plan::{Place, Plan, StepKind, TaskKind};
use std::collections::{BTreeMap, BTreeSet};

/// What the devices say of the hosts in question.
pub(super) fn power(page: &mut Page, plan: &Plan) {
    for (host, off) in &plan.switch_off {
        let text = match plan.evidence.power_of(host) {
            Seen::Known { value, age_ms } => format!("answers: power {value}, {} ago", span(age_ms)),
            Seen::Unknown { reason } => format!("UNKNOWN, {}", plain(&reason)),
        };
        page.line(&format!("  device of {host} ({}): {text}", plain(&off.spec.to_string())), INDENT);
        let what = match off.by {
            Some(_) => format!("  UNKNOWN     whether {host} still runs. That is why it is switched off."),
            None => format!("  {host} was switched off before, and its device said OFF"),
        };
        page.line(&what, INDENT);
    }
}

fn all<'a>(slots: impl IntoIterator<Item = &'a SlotId>) -> String {
    slots.into_iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

/// What happens to everyone who may acknowledge below the new epoch, strongest fence first.
pub(super) fn lines(plan: &Plan) -> Vec<String> {
    let mut by_level: BTreeMap<FenceLevel, BTreeSet<&SlotId>> = BTreeMap::new();
    let mut unreachable: BTreeSet<&SlotId> = BTreeSet::new();
    for task in &plan.tasks {
        let TaskKind::FailOver { fence, waived, unreachable: left, .. } = &task.kind else { continue };
        let demoted = task.steps.iter().filter(|s| s.kind == StepKind::Demote).filter_map(|s| match &s.at {
            Some(Place::Slot(slot)) => Some(slot),
            _ => None,
        });
        by_level.entry(FenceLevel::Demoted).or_default().extend(demoted);
        for slot in waived {
            let level = if plan.switch_off.contains_key(&slot.host) { FenceLevel::Device } else { *fence };
            by_level.entry(level).or_default().insert(slot);
        }
        unreachable.extend(left);
    }
    let mut lines = Vec::new();
    for (level, slots) in by_level.iter().filter(|(_, slots)| !slots.is_empty()) {
        let names = all(slots.iter().copied());
        match level {
            FenceLevel::Demoted => lines.push(format!("demoted by their agents, with their final positions: {names}")),
            FenceLevel::Device => {
                lines.extend(plan.switch_off.iter().map(|(host, off)| switched_off(host, off, slots)))
            }
            FenceLevel::Attested => {
                lines.push(format!("NOT demoted, a person says they are off, waived by name: {names}"));
            }
            FenceLevel::None => {
                lines.push(format!("NOT FENCED AT ALL, two masters are possible, waived by name: {names}"));
            }
        }
    }
    if !unreachable.is_empty() {
        lines.push(format!("not raised, because nothing answers there: {}", all(unreachable)));
    }
    lines
}

fn switched_off(host: &HostName, off: &SwitchOff, slots: &BTreeSet<&SlotId>) -> String {
    let masters = all(slots.iter().copied().filter(|slot| slot.host == *host));
    let device = plain(&off.spec.to_string());
    let Some(by) = &off.by else {
        return format!("{host} is OFF since before, by its device ({device}): {masters}");
    };
    format!(
        "switch off ALL of {host} ({device}, run by {by}); it must then say OFF. {}: {}. If it does not: stop, nothing \
         new serves, and the next sheet is without it",
        count(off.kills.len(), "copy on it dies", "copies on it die"),
        all(&off.kills)
    )
}
