//! Where the time of hand-overs goes, read from what coordinators and agents log.
//!
//! What always holds: a moment is the one that stands in the log of the process in which it happened; a step that is not
//! there from its start to its end, as across a change of leader, is left out and counts nowhere.

use crate::Outcome;
use crate::cluster::Cluster;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fs;

/// What the programs must log to be read here.
pub const FILTER: &str = "info,slot_coordinator::core=debug,slot_coordinator::shell::disk=debug,\
                          slot_agent::ledger_thread=debug,slot_agent::perform=debug";
/// Microseconds of a day: a log that runs past midnight goes on.
const DAY_US: u64 = 86_400_000_000;

/// Half of the steps of a kind took at most so long, in microseconds.
#[derive(Debug, Clone, Serialize, PartialEq, Eq)]
pub struct Step {
    /// How many were seen.
    pub count: usize,
    /// From the commit of its start until its order left: the confirmation of leadership.
    pub to_send_us: u64,
    /// From then until the agent's word: two commits of its ledger, and the engine's part.
    pub agent_us: u64,
    /// Of this, the engine's part.
    pub engine_us: u64,
    /// From then until its end, and with it the start of the next step, is committed.
    pub commit_us: u64,
}

/// How often something was made durable.
#[derive(Debug, Default, Clone, Serialize, PartialEq, Eq)]
pub struct Durable {
    /// Commits of agents' ledgers, of two fsyncs each.
    pub ledger_commits: usize,
    /// Half of them took at most so long, in microseconds.
    pub ledger_us: u64,
    /// Commits of coordinators' logs, of two fsyncs each, on all coordinators together.
    pub log_commits: usize,
    /// Half of them took at most so long, in microseconds.
    pub log_us: u64,
}

/// What was read.
#[derive(Debug, Default, Serialize)]
pub struct Profile {
    /// The steps that have an order, by their kind.
    pub steps: BTreeMap<String, Step>,
    /// What was made durable meanwhile.
    pub durable: Durable,
}

/// How long the logs are now: what comes later is read from there on.
pub struct Since(BTreeMap<String, usize>);

impl Since {
    /// From here on.
    pub fn now(cluster: &Cluster) -> Outcome<Self> {
        Ok(Self(texts(cluster)?.into_iter().map(|(name, text)| (name, text.len())).collect()))
    }

    /// Everything logged since.
    pub fn read(&self, cluster: &Cluster) -> Outcome<Profile> {
        let texts = texts(cluster)?;
        let later = texts.iter().map(|(name, text)| {
            let from = self.0.get(name).copied().unwrap_or(0);
            text.get(from..).unwrap_or_default()
        });
        Ok(profile(later))
    }
}

fn texts(cluster: &Cluster) -> Outcome<BTreeMap<String, String>> {
    let mut texts = BTreeMap::new();
    for entry in fs::read_dir(cluster.folder().join("logs"))? {
        let entry = entry?;
        texts.insert(entry.file_name().to_string_lossy().into_owned(), fs::read_to_string(entry.path())?);
    }
    Ok(texts)
}

/// The moments of one step, in microseconds of the day.
#[derive(Default)]
struct Moments {
    kind: String,
    started: Option<u64>,
    sent: Option<u64>,
    answered: Option<u64>,
    finished: Option<u64>,
}

fn profile<'a>(logs: impl Iterator<Item = &'a str>) -> Profile {
    let mut took = BTreeMap::<String, [Vec<u64>; 3]>::new();
    let mut engines: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    let (mut ledger, mut log) = (Vec::<u64>::new(), Vec::<u64>::new());
    for text in logs {
        let mut steps: BTreeMap<String, Moments> = BTreeMap::new();
        // Of a task, the kind of the step that was started last: orders name steps by number.
        let mut current: BTreeMap<String, String> = BTreeMap::new();
        for line in text.lines().filter_map(Line::parse) {
            match line.event {
                "started" | "finished" => {
                    let (Some(plan), Some(task), Some(kind)) =
                        (line.field("plan"), line.field("task"), line.field("step"))
                    else {
                        continue;
                    };
                    let task = format!("{plan}.{task}");
                    let moments = steps.entry(format!("{task} {kind}")).or_default();
                    moments.kind = kind.to_owned();
                    match line.event {
                        "started" => {
                            moments.started = Some(line.at);
                            current.insert(task, kind.to_owned());
                        }
                        _ => moments.finished = Some(line.at),
                    }
                }
                "sent" | "answered" => {
                    let Some(task) = line.field("order").and_then(|id| id.rsplit_once('.')).map(|(task, _)| task)
                    else {
                        continue;
                    };
                    let Some(kind) = current.get(task) else { continue };
                    let moments = steps.entry(format!("{task} {kind}")).or_default();
                    let at = if line.event == "sent" { &mut moments.sent } else { &mut moments.answered };
                    *at = Some(line.at);
                }
                "engine answered" => {
                    if let (Some(call), Some(us)) = (line.field("call"), line.field("us")) {
                        engines.entry(call.to_owned()).or_default().extend(us.parse::<u64>().ok());
                    }
                }
                "ledger durable" => ledger.extend(line.field("us").and_then(|us| us.parse::<u64>().ok())),
                "log durable" => log.extend(line.field("us").and_then(|us| us.parse::<u64>().ok())),
                _ => {}
            }
        }
        for moments in steps.into_values() {
            if let (Some(started), Some(sent), Some(answered), Some(finished)) =
                (moments.started, moments.sent, moments.answered, moments.finished)
            {
                let since = |from: u64, to: u64| if to < from { to + DAY_US - from } else { to - from };
                let [a, b, c] = took.entry(moments.kind).or_default();
                a.push(since(started, sent));
                b.push(since(sent, answered));
                c.push(since(answered, finished));
            }
        }
    }
    let steps = took.into_iter().map(|(kind, [mut a, mut b, mut c])| {
        let (a, b, c) = (&mut a, &mut b, &mut c);
        let (count, to_send_us, agent_us, commit_us) = (a.len(), middle(a), middle(b), middle(c));
        let engine_us = engines.get_mut(&kind).map_or(0, |all| middle(all));
        (kind, Step { count, to_send_us, agent_us, engine_us, commit_us })
    });
    let steps = steps.collect();
    let (ledger_commits, log_commits) = (ledger.len(), log.len());
    let (ledger_us, log_us) = (middle(&mut ledger), middle(&mut log));
    Profile { steps, durable: Durable { ledger_commits, ledger_us, log_commits, log_us } }
}

fn middle(values: &mut [u64]) -> u64 {
    values.sort_unstable();
    values.get(values.len().saturating_sub(1) / 2).copied().unwrap_or(0)
}

/// A line of a log: when, what, and with which fields.
struct Line<'a> {
    at: u64,
    event: &'a str,
    fields: &'a str,
}

impl<'a> Line<'a> {
    /// Reads `2026-01-31T12:00:00.000001Z DEBUG module: what happened field=value other="value"`.
    fn parse(text: &'a str) -> Option<Self> {
        let (stamp, rest) = text.split_once(' ')?;
        let (_, rest) = rest.trim_start().split_once(": ")?;
        let clock = stamp.split_once('T')?.1.strip_suffix('Z')?;
        let (clock, us) = clock.split_once('.')?;
        let mut at = 0;
        for part in clock.split(':') {
            at = at * 60 + part.parse::<u64>().ok()?;
        }
        let end = rest.find('=').map_or(rest.len(), |at| rest[..at].rfind(' ').unwrap_or(0));
        let (event, fields) = rest.split_at(end);
        Some(Self { at: at * 1_000_000 + us.parse::<u64>().ok()?, event: event.trim(), fields })
    }

    fn field(&self, name: &str) -> Option<&'a str> {
        let mut words = self.fields.split_whitespace();
        words
            .find_map(|word| word.split_once('=').filter(|(key, _)| *key == name))
            .map(|(_, value)| value.trim_matches('"'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "\
2026-11-28T23:59:59.000000Z  INFO slot_coordinator::core::lead: this node leads term=3
2026-11-28T23:59:59.000100Z DEBUG slot_coordinator::core: started plan=p5 task=3 step=\"freeze\"
2026-11-28T23:59:59.000150Z DEBUG slot_coordinator::core::executor: sent order=p5.3.0#1 action=\"freeze\" host=imap1
2026-11-28T23:59:59.000200Z DEBUG slot_coordinator::shell::disk: log durable entries=2 us=70
2026-11-28T23:59:59.300000Z DEBUG slot_agent::perform: engine answered slot=Some(1) call=\"freeze\" us=7
2026-11-28T23:59:59.900000Z DEBUG slot_coordinator::core::executor: answered order=p5.3.0#1
2026-11-29T00:00:00.000100Z DEBUG slot_coordinator::core: finished plan=p5 task=3 step=\"freeze\"
2026-11-29T00:00:00.000100Z DEBUG slot_coordinator::core: started plan=p5 task=3 step=\"catch-up\"
2026-11-29T00:00:00.000300Z DEBUG slot_coordinator::core::executor: sent order=p5.3.1#1 action=\"catch-up\" host=imap2
";

    #[test]
    fn a_step_is_read_from_its_start_to_its_end_and_one_without_an_end_is_not() {
        let profile = profile(std::iter::once(LOG));
        let freeze = Step { count: 1, to_send_us: 50, agent_us: 899_850, engine_us: 7, commit_us: 100_100 };
        assert_eq!(profile.steps, BTreeMap::from([("freeze".into(), freeze)]));
        assert_eq!(profile.durable, Durable { log_commits: 1, log_us: 70, ..Durable::default() });
    }
}
