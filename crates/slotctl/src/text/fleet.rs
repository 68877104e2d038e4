//! `slotctl hosts`, `stores` and `slots`.
//!
//! What always holds: what is not known is `?`, what does not apply is `-`; a table that leaves something out says of how
//! many it is a part.

use super::layout::*;
use super::{hold, show, status, verify};
use slot_types::evidence::Seen;
use slot_types::view::*;

/// All hosts.
pub fn hosts(view: &StatusView, confirmed: bool) -> String {
    let mut text = headline(view.hosts.len(), view.hosts.len() as u64, "host", view.revision, confirmed);
    text += &hold::lines("HELD  ", &view.holds);
    text.push('\n');
    text += &status::hosts(view.hosts.iter());
    text
}

/// Stores.
pub fn stores(view: &StoresView, confirmed: bool) -> String {
    let mut text = headline(view.stores.len(), view.all, "store", view.revision, confirmed);
    if view.stores.is_empty() {
        return text;
    }
    text += &hold::lines("HELD  ", &view.holds);
    text.push('\n');
    let mut table =
        Table::new(&["STORE", "EPOCH", "MASTER", "STATE", ">LIVE", ">LAG", ">VERIFIED", ">COMPARED", "OTHER COPIES"]);
    for line in &view.stores {
        table.row(vec![
            line.store.to_string(),
            line.epoch.to_string(),
            line.master.as_ref().map_or("-".into(), ToString::to_string),
            state(line),
            format!("{}/{}", line.live.value().map_or("?".into(), ToString::to_string), line.copies),
            of_replicas(line, &line.worst_lag_records, u64::to_string),
            of_replicas(line, &line.oldest_stamp_ms, |ms| span(*ms)),
            verify::compared(line.compared),
            remarks(line),
        ]);
    }
    text + &table.text(0)
}

/// Slots.
pub fn slots(view: &SlotsView, confirmed: bool) -> String {
    let mut text = headline(view.slots.len(), view.all, "slot", view.revision, confirmed);
    if view.slots.is_empty() {
        return text;
    }
    text.push('\n');
    text + &show::slots(&view.slots, |line| line.slot.to_string(), "SLOT")
}

fn headline(shown: usize, all: u64, what: &str, revision: slot_types::ids::Revision, confirmed: bool) -> String {
    let shown = shown as u64;
    let many = if shown == all { count(all, what) } else { format!("{shown} of {}", count(all, what)) };
    let sure = if confirmed { "read confirmed" } else { "NOT CONFIRMED" };
    join("", &[many, format!("revision {revision}"), sure.into()])
}

fn state(line: &StoreLine) -> String {
    match (&line.master, &line.pending, &line.served) {
        (_, Some(pending), _) => format!("TO {pending}"),
        (None, None, _) => "NO MASTER".into(),
        (Some(_), None, Seen::Known { value: true, .. }) => "served".into(),
        (Some(_), None, Seen::Known { value: false, .. }) => "NOT SERVED".into(),
        (Some(_), None, Seen::Unknown { .. }) => "?".into(),
    }
}

fn of_replicas(line: &StoreLine, seen: &Seen<u64>, say: impl Fn(&u64) -> String) -> String {
    match seen {
        Seen::Known { value, .. } => say(value),
        Seen::Unknown { .. } if line.others.is_empty() => "-".into(),
        Seen::Unknown { .. } => "?".into(),
    }
}

fn remarks(line: &StoreLine) -> String {
    let slots: Vec<String> = line.others.iter().map(ToString::to_string).collect();
    let mut parts = vec![if slots.is_empty() { "-".to_string() } else { slots.join(" ") }];
    parts.extend(line.claimed_by.map(|plan| format!("held by {plan}")));
    parts.extend((!line.held.is_empty()).then(|| "HELD".to_string()));
    parts.extend(line.open_loss_cases.iter().map(|case| format!("{case} open")));
    parts.join(" · ")
}
