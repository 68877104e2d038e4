//! Everything seen of one host, with its age, for a person who has to decide whether it is dead.

use super::layout::{Table, age, count, join, span, wrap};
use slot_types::cluster::{length, reboots_took};
use slot_types::evidence::{CopyEvidence, Seen};
use slot_types::load::{HostLoad, percent};
use slot_types::view::*;

/// An agent that was heard this lately is not called silent; what policy calls silent is said elsewhere.
const SILENCE_SAID_MS: u64 = 5_000;

/// All of it; nothing is concluded.
pub fn evidence(view: &EvidenceView) -> String {
    let mut text = join(&format!("{}   ", view.host), &[view.declared.to_string(), format!("at {}", view.at)]);
    text += "\n";
    let mut table = Table::new(&["WHO", "AGE", "WHAT"]);
    let agent = match (&view.agent, view.boot) {
        (Seen::Known { value, .. }, known) if Some(value.boot) != known => {
            format!("its last word, of another boot than is known: {}", value.boot)
        }
        (Seen::Known { .. }, _) => "its last word to the leader".to_string(),
        (Seen::Unknown { reason }, _) => format!("UNKNOWN: {reason}"),
    };
    table.row(vec!["agent".into(), age(&view.agent), agent]);
    let disk = match &view.disk {
        Seen::Known { value, .. } => value.to_string(),
        Seen::Unknown { reason } => format!("UNKNOWN: {reason}"),
    };
    table.row(vec!["disk".into(), age(&view.disk), disk]);
    let load = match &view.load {
        Seen::Known { value, .. } => load(value),
        Seen::Unknown { reason } => format!("UNKNOWN: {reason}"),
    };
    table.row(vec!["load".into(), age(&view.load), load]);
    for line in &view.engines {
        let what = format!("{}: {}", line.store, engine(&line.engine));
        table.row(vec![format!("engine {:02}", line.slot.number), age(&line.engine), what]);
    }
    for link in &view.links {
        let what = match &link.heard_ms {
            Seen::Known { value, .. } => format!("{} heard {} {} before its report", link.from, link.to, span(*value)),
            Seen::Unknown { reason } => format!("{} of {}: UNKNOWN: {reason}", link.from, link.store),
        };
        table.row(vec!["replication".into(), age(&link.heard_ms), what]);
    }
    text += &table.text(2);
    text += &wrap("or wait?     ", &or_wait(view));
    text += &others(view);
    text += &probes(view);
    text += &device(view);
    text += &match &view.word {
        Some(word) if view.word_holds => wrap("word         ", &format!("{} says it is off: {}", word.by, word.how)),
        Some(word) => wrap("word         ", &format!("{}'s word that it is off holds no longer", word.by)),
        None => "word         nobody says that it is off\n".into(),
    };
    text
}

fn engine(seen: &Seen<CopyEvidence>) -> String {
    match seen {
        Seen::Known { value: CopyEvidence::Running(status), .. } => {
            format!("{:?} at epoch {}, ends at {}", status.role, status.epoch, status.tip.position)
        }
        Seen::Known { value: CopyEvidence::NotRunning, .. } => "not running".into(),
        Seen::Known { value: CopyEvidence::Silent, .. } => "runs, does not answer its agent".into(),
        Seen::Known { value: CopyEvidence::Absent, .. } => "its agent holds no such copy".into(),
        Seen::Unknown { reason } => format!("UNKNOWN: {reason}"),
    }
}

/// Both parts of it, and the engines that take most.
fn load(of: &HostLoad) -> String {
    let disk = match of.machine.disk_ppm {
        Some(disk) => format!("disk {} %", percent(disk)),
        None => "disk not measured".into(),
    };
    let cpus = count(of.processors.into(), "processor");
    let window = span(of.window_ms.into());
    format!(
        "{} % of {cpus}, {disk}, over {window}; {} measured",
        percent(of.machine.cpu_ppm),
        count(of.engines.len() as u64, "engine")
    )
}

/// How long its reboots took, against how long it is silent now.
fn or_wait(view: &EvidenceView) -> String {
    let took = reboots_took(&view.reboots);
    match view.agent.age_ms() {
        Some(ms) if ms >= SILENCE_SAID_MS => format!("{took}; silent now for {}", length(ms)),
        _ => took,
    }
}

fn others(view: &EvidenceView) -> String {
    let silent = |same: bool| -> Vec<String> {
        let all = view.others.iter().filter(|o| o.same_domain == same && o.silent && o.agent.value().is_some());
        all.map(|other| format!("{} ({})", other.host, age(&other.agent))).collect()
    };
    let say = |same: bool| {
        let here = || view.others.iter().filter(|other| other.same_domain == same);
        let unknown = here().filter(|other| other.agent.value().is_none()).count() as u64;
        let heard = here().filter(|other| other.agent.value().is_some() && !other.silent).count() as u64;
        let mut parts = vec![format!("{} heard", count(heard, "host"))];
        if unknown > 0 {
            parts.push(format!("{unknown} UNKNOWN"));
        }
        match (here().count(), silent(same)) {
            (0, _) => return "there is no other host".to_string(),
            (_, silent) if silent.is_empty() => {}
            (_, silent) => parts.push(format!("SILENT: {}", silent.join(" "))),
        }
        parts.join(" · ")
    };
    wrap("its domain   ", &say(true)) + &wrap("elsewhere    ", &say(false))
}

/// How other hosts see it: the sum, then every address that was probed, with what became of it and for how long.
fn probes(view: &EvidenceView) -> String {
    let Some(reach) = &view.reach else { return "probes       UNKNOWN: only the leader has them\n".into() };
    let mut text = String::new();
    for (i, words) in reach.words().iter().enumerate() {
        text += &wrap(if i == 0 { "probes       " } else { "             " }, words);
    }
    let mut table = Table::new(&["PROBED FROM", "WHERE", "AGE", "WHAT", "FOR"]);
    for probe in &reach.probes {
        let place = probe.slot.as_ref().map_or_else(|| "agent".to_string(), |slot| format!("slot {:02}", slot.number));
        let what = probe.probed.to_string();
        table.row(vec![probe.by.to_string(), place, span(probe.age_ms), what, span(probe.same_ms)]);
    }
    if !reach.probes.is_empty() {
        text += &table.text(2);
    }
    text
}

fn device(view: &EvidenceView) -> String {
    let Some(device) = &view.device else {
        return "device       the cluster file names none\n".into();
    };
    let mut parts = vec![device.fence_agent.clone()];
    parts.push(match &device.power {
        Seen::Known { value, age_ms } => format!("power {value}, {} ago", span(*age_ms)),
        Seen::Unknown { reason } => format!("power UNKNOWN: {reason}"),
    });
    if let Some(off) = &device.off {
        parts.push(format!("switched it off for {} by {}", off.plan, off.by));
    }
    if let Some(failed) = &device.failed {
        parts.push(format!("did not confirm: {}", failed.why));
    }
    wrap("device       ", &parts.join(" · "))
}
