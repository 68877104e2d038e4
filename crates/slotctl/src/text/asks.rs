//! Answers to questions about a whole fleet.
//!
//! What always holds: what would be lost comes first; of long lists the first are named and the others counted.

use super::layout::*;
use crate::asks::*;
use slot_planner::layout::room::COUNTED_MAX;

/// So many names are said of a list; JSON has all of them.
const NAMES_MAX: usize = 60;

fn names(prefix: &str, what: &str, all: &[String]) -> String {
    if all.is_empty() {
        return String::new();
    }
    let mut named: Vec<&str> = all.iter().take(NAMES_MAX).map(String::as_str).collect();
    let more = format!("and {} more (--output json names all)", all.len().saturating_sub(NAMES_MAX));
    if all.len() > NAMES_MAX {
        named.push(&more);
    }
    wrap(prefix, &format!("{} {what}: {}", count(all.len() as u64, "store"), named.join(" ")))
}

/// `2 stores STOP`.
fn stop(n: u32) -> String {
    count(n.into(), "store") + if n == 1 { " STOPS" } else { " STOP" }
}

fn full(fullest: Option<&Full>) -> String {
    let over = |full: &Full| match full.load_over_weight == full.load as f64 {
        true => String::new(),
        false => format!(", {} over its weight", full.load_over_weight),
    };
    fullest.map_or("-".into(), |full| format!("{} on {}{}", full.load, full.host, over(full)))
}

fn loss(stops: u32, moves: u32, single: u32, fullest: Option<&Full>) -> Vec<String> {
    let mut parts = vec![if stops > 0 { stop(stops) } else { "no store stops".into() }];
    if moves > 0 {
        parts.push(format!("{} move, fullest {}", count(moves.into(), "master"), full(fullest)));
    }
    if single > 0 {
        parts.push(format!("{single} on one copy"));
    }
    parts
}

/// `two hosts die`, with the worst two.
pub fn pairs(pairs: &Pairs) -> String {
    let prefix = "two hosts die  ";
    match (&pairs.worst, &pairs.not_looked) {
        (Some(worst), _) => {
            let mut parts = loss(worst.stops, worst.moves, worst.single, worst.fullest.as_ref());
            parts[0] = format!("worst {} and {}: {}", worst.hosts[0], worst.hosts[1], parts[0]);
            parts.push(format!("of {}", count(pairs.looked_at, "pair")));
            join(prefix, &parts)
        }
        (None, Some(why)) => wrap(prefix, &format!("NOT KNOWN: {why}")),
        (None, None) => wrap(prefix, "there are no two that are active"),
    }
}

/// Every single loss and the worst pair of a file that says nothing of what runs.
pub fn risk(risk: &Risk) -> String {
    let mut text = String::new();
    for (prefix, rows) in [("one host dies  ", &risk.hosts), ("one rack dies  ", &risk.racks)] {
        if let Some(worst) = Risk::worst(rows) {
            let mut parts = loss(worst.stops, worst.moves, worst.single, worst.fullest.as_ref());
            parts[0] = format!("worst {}: {}", worst.lost, parts[0]);
            text += &join(prefix, &parts);
        }
    }
    text += &pairs(&risk.pairs);
    text.push('\n');
    let mut table = Table::new(&["IF LOST", ">STOP", ">1 COPY", ">MOVE", "FULLEST THEN"]);
    for row in risk.racks.iter().chain(&risk.hosts) {
        table.row(vec![
            row.lost.clone(),
            row.stops.to_string(),
            row.single.to_string(),
            row.moves.to_string(),
            full(row.fullest.as_ref()),
        ]);
    }
    text + &table.text(0)
}

fn are(n: usize) -> &'static str {
    if n == 1 { "is" } else { "are" }
}

/// How many more fit.
pub fn capacity(room: &Capacity) -> String {
    let what = format!("{} of {} each", count(room.fits.into(), "more store"), bytes(room.size_bytes));
    let copies = format!("in {}, no two on one {}", count(room.copies.into(), "copy"), room.apart);
    let survive = match room.survive {
        "nothing" => "no loss is counted on".to_owned(),
        what => format!("any one {what} may be lost and is built again on the others"),
    };
    let mut text = join("fit          ", &[what, copies]);
    text += &wrap("while        ", &survive);
    let bound = match room.at_most == room.fits {
        true if room.fits == COUNTED_MAX => "that many and more: so far they are counted".to_owned(),
        true => "no placement has more".to_owned(),
        false => {
            format!("{} were placed and each loss rebuilt; no placement has more than {}", room.fits, room.at_most)
        }
    };
    text += &wrap("at most      ", &bound);
    let more = if room.together > 1 { format!("{} more", room.together) } else { "one more".to_owned() };
    let limit = match &room.loss {
        Some(loss) if !room.last_copies.is_empty() => {
            let stores = count(room.last_copies.len() as u64, "store");
            format!("with {loss} lost, {stores} that {} there now would have no copy left", are(room.last_copies.len()))
        }
        Some(loss) if !room.safe => {
            format!("with {loss} lost, no way was found to build what is there now again on the others")
        }
        Some(loss) => format!("with {more}, no way was found to build what is on {loss} again on the others"),
        None => format!("there is no place for the copies of {more}"),
    };
    if room.fits == COUNTED_MAX {
        return text;
    }
    if room.together > 1 {
        let together = format!("{} at a time, since they are small beside the room", room.together);
        text += &wrap("placed       ", &together);
    }
    if !room.last_copies.is_empty() {
        let text = text + &wrap("limit        ", &limit);
        return text + &names("last copies  ", "whose last copy it takes", &room.last_copies);
    }
    text + &wrap("limit        ", &limit)
}

/// Which hosts may be down together.
pub fn groups(groups: &Groups) -> String {
    let hosts: usize = groups.groups.iter().map(Vec::len).sum();
    let head = format!(
        "{} in {}: while all of a group are down, every store has a live copy elsewhere",
        count(hosts as u64, "host"),
        count(groups.groups.len() as u64, "group")
    );
    let mut text = wrap("together     ", &head);
    for (number, group) in (1..).zip(&groups.groups) {
        text += &wrap(&format!("  {number:<11}"), &group.join(" "));
    }
    for never in &groups.never {
        text += &wrap("never        ", &format!("{}: it holds the only live copy of {}", never.host, never.store));
    }
    text
}

fn figures(before: &Side, after: &Side) -> String {
    let mut table = Table::new(&["", ">BEFORE", ">THEN", ">BOUND"]);
    let mut row = |name: &str, was: String, is: String, bound: String| table.row(vec![name.into(), was, is, bound]);
    // What holds of every layout of these stores holds of those that have all their copies.
    let bound = |bound: f64| if after.violations == 0 { bound.to_string() } else { "-".to_owned() };
    row("most masters", before.load_max.to_string(), after.load_max.to_string(), bound(after.load_bound));
    let bound = bound(after.worst_survivor_bound);
    row("worst survivor of a loss", before.worst_survivor.to_string(), after.worst_survivor.to_string(), bound);
    let ratio = |side: &Side| format!("{:.4}", side.bytes_max_over_share);
    row("fullest over its share", ratio(before), ratio(after), "1.0000".into());
    row("violations", before.violations.to_string(), after.violations.to_string(), "0".into());
    table.text(0)
}

/// The fleet as it would be.
pub fn whatif(then: &Whatif) -> String {
    let mut parts = vec![match (then.stops.len() as u32, then.stopped_before.len()) {
        (0, 0) => "no store stops".to_owned(),
        (0, _) => "no other store stops".to_owned(),
        (n, _) => stop(n),
    }];
    if !then.stopped_before.is_empty() {
        parts.push(format!("{} STOPPED as it is", count(then.stopped_before.len() as u64, "store")));
    }
    parts.push(format!("{} on one copy", then.single.len()));
    let over: Vec<u64> = then.hosts.iter().map(|host| host.bytes_over).filter(|bytes| *bytes > 0).collect();
    match (then.no_place.len() as u64, over.is_empty()) {
        (0, false) => {}
        (0, true) => parts.push("every copy has a place".to_owned()),
        (1, _) => parts.push("1 copy has NO PLACE".to_owned()),
        (n, _) => parts.push(format!("{} have NO PLACE", count(n, "copy"))),
    }
    if !over.is_empty() {
        let (hosts, all) = (count(over.len() as u64, "host"), bytes(over.iter().sum()));
        parts.push(format!("{hosts} OVERFULL, by {all} in all"));
    }
    let mut text = join(&format!("if {}   ", then.change), &parts);
    text += &names("stop         ", "with no copy left", &then.stops);
    text += &names("stopped      ", "with no live copy as it is", &then.stopped_before);
    text += &names("one copy     ", "with one copy left", &then.single);
    if !then.no_place.is_empty() {
        let all: u64 = then.no_place.iter().map(|copy| copy.size_bytes).sum();
        let named = then.no_place.iter().take(NAMES_MAX).map(|c| format!("{} ({})", c.store, bytes(c.size_bytes)));
        let mut parts: Vec<String> = std::iter::once(format!("{} in all", bytes(all))).chain(named).collect();
        if then.no_place.len() > NAMES_MAX {
            parts.push(format!("and {} more", then.no_place.len() - NAMES_MAX));
        }
        text += &join("no place     ", &parts);
    }
    if then.bytes_copied > 0 {
        text += &wrap("copied       ", &format!("{} to come there", bytes(then.bytes_copied)));
    }
    text.push('\n');
    text += &figures(&then.figures_before, &then.figures_after);
    text.push('\n');
    let mut table = Table::new(&["HOST", "STATE", ">MASTERS", ">LOAD", ">BYTES", ">OF", "OVER"]);
    let from = |was: String, is: String| if was == is { is } else { format!("{was} → {is}") };
    for host in &then.hosts {
        table.row(vec![
            host.host.clone(),
            host.state.into(),
            from(host.masters_before.to_string(), host.masters.to_string()),
            from(host.load_before.to_string(), host.load.to_string()),
            from(bytes(host.bytes_before), bytes(host.bytes)),
            bytes(host.bytes_max),
            if host.bytes_over > 0 { bytes(host.bytes_over) } else { String::new() },
        ]);
    }
    text + &table.text(0)
}
