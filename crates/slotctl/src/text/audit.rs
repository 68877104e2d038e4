//! `slotctl audit` and `slotctl routes`.
//!
//! What always holds: a broken chain is the first thing said (S12).

use super::layout::*;
use slot_types::view::{AuditView, RoutesView};

/// A part of the audit chain.
pub fn audit(view: &AuditView) -> String {
    let mut text = String::new();
    if view.chain_ok {
        text += "chain whole";
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
