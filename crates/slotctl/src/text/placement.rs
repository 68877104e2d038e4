//! `offline explain` of a file of htools.
//!
//! What always holds: every other host is named with its one reason and the nearest change; those of which the same is said are named together.

use super::layout::*;
use crate::asks::{ChangeWhy, CopyWhy, MoveWhy, OtherWhy, Placement};

/// The whole answer.
pub fn placement(of: &Placement) -> String {
    let mut parts = Vec::new();
    if of.places.is_empty() {
        parts.push(count(of.moves.len() as u64, "move"));
    }
    if of.not_explained > 0 {
        parts.push(format!("{} more are NOT EXPLAINED: ask for one store, or for less", of.not_explained));
    }
    let mut text = join(&format!("{}   ", of.subject), &parts);
    for copy in &of.places {
        text.push('\n');
        text += &place(copy);
        text += &others("  not ", copy);
    }
    for one in &of.moves {
        text.push('\n');
        text += &moved(one);
    }
    text
}

fn place(copy: &CopyWhy) -> String {
    let here = copy.host.as_deref();
    let best = match (&copy.best, here) {
        (Some(best), Some(here)) if best == here => {
            format!("{here} is the best host for it, all else staying as it is")
        }
        (Some(best), _) => format!("{best} is the best host for it, all else staying as it is"),
        (None, _) => "no host may have it".to_owned(),
    };
    let at = here.map_or("nowhere".to_owned(), |here| format!("on {here}"));
    let mut text = wrap(&format!("{} {at}   ", copy.role), &best);
    if !copy.broken.is_empty() {
        text += &wrap("  NOT ALLOWED THERE   ", &copy.broken);
    }
    text
}

fn moved(one: &MoveWhy) -> String {
    let way = match (&one.to, &one.from) {
        (Some(to), Some(from)) => format!("copy built at {to} in place of {from}"),
        (Some(to), None) => format!("copy built at {to}"),
        (None, Some(from)) => format!("copy at {from} dropped"),
        (None, None) => "handed over".to_owned(),
    };
    let mut parts = vec![one.store.clone(), way];
    parts.extend(one.master.as_ref().map(|master| format!("master {master}")));
    let mut text = join(&format!("{:>3}  ", one.task), &parts);
    for because in &one.because {
        text += &wrap("     because  ", because);
    }
    if let Some(copy) = &one.place {
        if let Some(best) = copy.best.as_ref().filter(|best| Some(*best) != copy.host.as_ref()) {
            text +=
                &wrap("     ", &format!("{best} would be better for it alone; what a plan places is placed together"));
        }
        text += &others("     not ", copy);
    }
    text
}

fn others(prefix: &str, copy: &CopyWhy) -> String {
    let mut said: Vec<(String, Vec<&str>)> = Vec::new();
    for other in copy.others.iter().filter(|other| !other.why.is_empty()) {
        let why = format!("{}{}", other.why, nearest(other));
        match said.iter_mut().find(|(known, _)| *known == why) {
            Some((_, hosts)) => hosts.push(&other.host),
            None => said.push((why, vec![&other.host])),
        }
    }
    said.iter().map(|(why, hosts)| wrap(prefix, &format!("{}: {why}", hosts.join(" ")))).collect()
}

/// `; would be chosen were it active, with 2 fewer masters (s3 on h7) and 40 GB more free`.
fn nearest(other: &OtherWhy) -> String {
    match &other.change {
        Some(change) => format!("; would be chosen {}", words(change)).trim_end().to_owned(),
        None if other.no_change.is_empty() => String::new(),
        None => format!("; no change said: {}", other.no_change),
    }
}

fn words(change: &ChangeWhy) -> String {
    let mut with = Vec::new();
    if !change.led_elsewhere.is_empty() {
        let led: Vec<String> = change.led_elsewhere.iter().map(|led| format!("{} on {}", led.store, led.to)).collect();
        with.push(format!("{} ({})", count(led.len() as u64, "fewer master"), led.join(", ")));
    }
    with.extend(change.more_bytes.map(|more| format!("{} more free", bytes(shown(more)))));
    let mut parts = change.were.clone();
    parts.extend((!with.is_empty()).then(|| format!("with {}", with.join(" and "))));
    let bounded = if change.bounded { " (not every nearer change was looked at)" } else { "" };
    format!("{}{bounded}", parts.join(", "))
}

/// No less than so many bytes once it is written with one digit after the point.
fn shown(bytes: u64) -> u64 {
    let mut unit = 1u64;
    while bytes / unit >= 1000 {
        unit *= 1000;
    }
    bytes.div_ceil((unit / 10).max(1)).saturating_mul((unit / 10).max(1))
}
