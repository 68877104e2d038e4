//! `verify`: how far it is, and the verdict.
//!
//! What always holds: what could not be compared is said beside what was; every record that is named is named whole.

use super::layout::*;
use slot_types::verify::{Findings, Stamp, Verification};
use slot_types::view::{Compared, ComparedCounts, Differs, VerifyLine, VerifyState, VerifyView};

/// In a table: how long ago it was equal, record by record.
pub fn compared(of: Option<Compared>) -> String {
    match of {
        None => "-".into(),
        Some(Compared::Never) => "never".into(),
        Some(Compared::Equal { ago_ms }) => span(ago_ms),
        Some(Compared::Differs { .. }) => "DIFFERS".into(),
    }
}

/// The same of all replicas, on one line.
pub fn counts(of: &ComparedCounts) -> String {
    let ComparedCounts { replicas, uncompared, differ, oldest_ms } = *of;
    if replicas == 0 {
        return "no replica to compare".into();
    }
    let equal = replicas.saturating_sub(uncompared + differ);
    let mut parts = vec![format!("{equal} of {} equal record by record", count(replicas, "replica"))];
    parts.extend(oldest_ms.map(|ms| format!("the longest ago {}", span(ms))));
    parts.extend((uncompared > 0).then(|| format!("{uncompared} never compared")));
    parts.extend((differ > 0).then(|| format!("{differ} DIFFER")));
    parts.join(" · ")
}

/// Below a hand-over that gave up: which records of the copy it was for are not its master's.
pub fn named(of: &Differs) -> String {
    let slot = &of.slot;
    match &of.findings {
        None => wrap("      ", &format!("{slot} differs from its master; in which records is not known yet")),
        Some(found) => {
            let head = format!("{slot} differs from its master in {}:", counted(found));
            wrap("      ", &head) + &differences(found)
        }
    }
}

/// One line while it goes on.
pub fn progress(view: &VerifyView) -> String {
    let (mut over, mut records, mut of) = (0, 0, 0);
    let mut waits = None;
    for line in &view.copies {
        match &line.state {
            VerifyState::UnderWay { of: now } => {
                records += now.records;
                of += now.upto;
            }
            VerifyState::Waiting { why } => waits = waits.or(Some((&line.slot, why))),
            _ => over += 1,
        }
    }
    let all = view.copies.len();
    match waits {
        Some((slot, why)) if of == 0 => format!("{over} of {all} compared · {slot}: {why}\n"),
        _ => format!("{over} of {all} compared · {records} of {of} records of what is under way\n"),
    }
}

/// What was found.
pub fn verdict(view: &VerifyView) -> String {
    let mut text = String::new();
    for line in &view.copies {
        text += &copy(line);
    }
    let equal = view.copies.iter().filter(|line| is_equal(line)).count();
    let differ = view.copies.iter().filter(|line| findings(line).is_some_and(|found| found.count > 0)).count();
    let all = view.copies.len();
    let not = all - equal - differ;
    let verdict = match (all, differ, not) {
        (0, ..) => format!("{}: no replica to compare", view.on),
        (1, 0, 0) => format!("{}: its one replica is equal to its master", view.on),
        (_, 0, 0) => format!("{}: all {all} replicas are equal to their masters", view.on),
        (_, 0, not) => format!("{}: {equal} of {all} replicas are equal, {not} NOT COMPARED", view.on),
        (_, differ, 0) => format!("{}: {differ} of {all} replicas DIFFER", view.on),
        (_, differ, not) => format!("{}: {differ} of {all} replicas DIFFER, {not} NOT COMPARED", view.on),
    };
    format!("{verdict}\n{text}{}", next(view))
}

fn is_equal(line: &VerifyLine) -> bool {
    matches!(&line.state, VerifyState::Told { stamp } if stamp.is_clean())
}

fn findings(line: &VerifyLine) -> Option<&Findings> {
    match &line.state {
        VerifyState::Told { stamp } => Some(&stamp.of.findings),
        VerifyState::UnderWay { of } | VerifyState::Broken { of } => Some(&of.findings),
        VerifyState::Cannot { .. } | VerifyState::Waiting { .. } => None,
    }
}

fn copy(line: &VerifyLine) -> String {
    let VerifyLine { store, slot, master, state } = line;
    let master = master.as_ref().map_or("no master".to_string(), |master| format!("{master} (master)"));
    let looked = |of: &Verification| {
        format!("({} compared, {}, {})", count(of.records, "record"), bytes(of.bytes), span(of.took_ms))
    };
    match state {
        VerifyState::Told { stamp } if stamp.is_clean() => {
            wrap("  ", &format!("{store} {master} = {slot} {}", looked(&stamp.of)))
        }
        VerifyState::Told { stamp } => {
            let found = &stamp.of.findings;
            let head = format!("{store} {master} and {slot} DIFFER in {} {}", counted(found), looked(&stamp.of));
            wrap("  ", &head) + &differences(found) + &cut_short(stamp)
        }
        VerifyState::Broken { of } | VerifyState::UnderWay { of } => {
            let why = match &of.stage {
                slot_types::verify::VerifyStage::Broken { why } => why.as_str(),
                _ => "it goes on",
            };
            let text = format!("{store} {slot} NOT COMPARED, but for {} of {} records: {why}", of.records, of.upto);
            wrap("  ", &text)
        }
        VerifyState::Cannot { why } | VerifyState::Waiting { why } => {
            wrap("  ", &format!("{store} {slot} NOT COMPARED: {why}"))
        }
    }
}

fn counted(found: &Findings) -> String {
    count(found.count, "record")
}

/// Each record that is named, and how many are not.
pub fn differences(found: &Findings) -> String {
    let mut text: String = found.first.iter().map(|one| wrap("      ", &one.to_string())).collect();
    let more = found.count.saturating_sub(found.first.len() as u64);
    if more > 0 {
        text += &format!("      and {} more\n", count(more, "record"));
    }
    text
}

fn cut_short(stamp: &Stamp) -> String {
    match &stamp.of.stage {
        slot_types::verify::VerifyStage::Broken { why } => {
            let text = format!("broke off after {} of {} records: {why}", stamp.of.records, stamp.of.upto);
            wrap("      ", &text)
        }
        _ => String::new(),
    }
}

/// What to type next.
fn next(view: &VerifyView) -> String {
    let faulty = view.copies.iter().find_map(|line| match &line.state {
        VerifyState::Told { stamp } if stamp.differs() => Some((line, stamp)),
        _ => None,
    });
    let Some((line, stamp)) = faulty else { return String::new() };
    let VerifyLine { store, slot, master, .. } = line;
    if !stamp.is_at_fault() {
        let master = master.as_ref().map_or_else(String::new, ToString::to_string);
        let text =
            format!("the disk of the master fails, {slot} has those records: slotctl failover slot {master} -m REASON");
        return wrap("next  ", &text);
    }
    let text = format!(
        "{slot} is given no master role while it differs. slotctl move slot {slot} -m REASON builds the copy of {store} anew \
         on another slot; then slotctl verify store {store}"
    );
    wrap("next  ", &text)
}
