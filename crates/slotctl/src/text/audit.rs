//! `slotctl audit`, `events` and `routes`.
//!
//! What always holds: a broken chain is the first thing said (S12).

use super::layout::*;
use crate::commands::audit::Verified;
use slot_types::view::{AuditLine, AuditView, RoutesView};

/// A part of the audit chain.
pub fn audit(view: &AuditView) -> String {
    let mut text = String::new();
    let first = view.entries.first().map_or(view.last, |first| first.number.saturating_sub(1));
    let from_the_beginning = first == view.trimmed_through;
    if view.chain_ok && from_the_beginning {
        text += "chain whole";
    } else if view.chain_ok {
        text += "these entries fit the chain; all of it: slotctl audit verify";
    } else {
        text += "CHAIN BROKEN: entries were changed or are missing; compare with another coordinator's";
    }
    if view.trimmed_through > 0 {
        text += &format!(" · entries through {} are archived", view.trimmed_through);
    }
    text.push('\n');
    // One hash stands for everything before it (S12).
    if let Some(last) = view.entries.last() {
        text += &format!("hash through entry {}: {}\n", last.number, last.hash);
    }
    text.push('\n');
    for entry in &view.entries {
        let prefix = format!("{:>5}  {}  {:<8} ", entry.number, date_and_time(entry.wall), entry.actor);
        text += &wrap(&prefix, &entry.event);
    }
    match (view.entries.last(), view.more) {
        (Some(last), true) => text += &format!("\nnext  slotctl audit --after {}\n", last.number),
        (None, _) => text += "no entries\n",
        _ => {}
    }
    text
}

/// What was found of the whole chain.
pub fn verified(found: &Verified) -> String {
    let (end, archived) = (found.end, found.archived_through);
    let through = format!("hash through entry {}: {}", end.number, end.hash);
    let mut parts = match &found.broken {
        None => vec!["chain whole".to_string(), count(end.number.saturating_sub(archived), "entry")],
        Some(broken) => vec![format!("CHAIN BROKEN at entry {}", broken.number())],
    };
    if archived > 0 {
        parts.push(format!("entries through {archived} are archived"));
    }
    parts.push(format!("as {} has it", found.answered_by));
    let mut text = join("", &parts);
    if let Some(broken) = &found.broken {
        text += &wrap("first bad    ", &broken.to_string());
        text += &wrap("whole        ", &format!("up to entry {}, {through}", end.number));
        return text
            + "next         compare with another coordinator's: slotctl audit verify --stale --coordinator NAME\n";
    }
    if let Some(number) = found.noted {
        text += &format!("as noted     entry {number} has the hash that was noted: nothing up to it was changed\n");
    }
    text += &format!("{through}\n");
    text + &wrap("note it      ", &format!("later: slotctl audit verify --noted {}={}", end.number, end.hash))
}

/// Prints events one by one, the date whenever it is another one.
#[derive(Debug, Default)]
pub struct Events {
    day: String,
}

impl Events {
    /// One event.
    pub fn line(&mut self, entry: &AuditLine) -> String {
        let mut text = String::new();
        let today = day(entry.wall);
        if today != self.day {
            text += &format!("{today} UTC\n");
            self.day = today;
        }
        let prefix = format!("{:>6}  {}  {:<8}  ", entry.number, time(entry.wall), entry.actor);
        text + &wrap(&prefix, &entry.event)
    }
}

/// Where clients of every store must go.
pub fn routes(view: &RoutesView) -> String {
    let mut table = Table::new(&["STORE", "ADDRESS", "SLOT", "EPOCH"]);
    for line in &view.routes {
        table.row(match &line.route {
            Some(route) => {
                vec![line.store.to_string(), route.address.to_string(), route.slot.to_string(), route.epoch.to_string()]
            }
            None => vec![line.store.to_string(), "NO MASTER".into(), "-".into(), "-".into()],
        });
    }
    format!("revision {}\n{}", view.revision, table.text(0))
}
