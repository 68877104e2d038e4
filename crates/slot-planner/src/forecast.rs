//! How busy hosts would be once a plan is carried out, in words.
//!
//! What always holds: it chooses nothing and refuses nothing; a host whose load afterwards can't be told is named with the reason; a
//! measure that is older than a silence is said to be old.

use crate::sheet::names;
use crate::view::View;
use slot_types::cluster::length;
use slot_types::evidence::Seen;
use slot_types::ids::HostName;
use slot_types::load::{HostForecast, forecast, percent};
use slot_types::plan::Task;
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// So many hosts are written out, the busiest first; the rest is a number.
const HOSTS_MAX: usize = 8;

/// Of every host that a plan's tasks touch.
pub(crate) struct Forecast {
    hosts: Vec<HostForecast>,
    /// A measure that is older than this is said to be.
    old_ms: u64,
}

impl Forecast {
    pub fn of(view: &View<'_>, tasks: &[Task]) -> Self {
        Self { hosts: forecast(view.evidence, tasks), old_ms: view.policy().silent_ms }
    }

    /// `61 -> 70 %`, of one host.
    pub fn words(&self, host: &HostName) -> Option<String> {
        self.hosts.iter().find(|one| one.host == *host).and_then(words)
    }

    /// Of every host that gains; of `said` alone, nothing more than [`Forecast::words`] says.
    pub fn lines(&self, said: &HostName) -> Vec<String> {
        let gaining = || self.hosts.iter().filter(|one| one.comes > 0);
        let mut known: Vec<(u32, String, &HostForecast)> =
            gaining().filter_map(|one| Some((*one.then_ppm.value()?, words(one)?, one))).collect();
        known.sort_by_key(|(then, _, one)| (Reverse(*then), &one.host));
        let mut lines = Vec::new();
        if known.iter().any(|(.., one)| one.host != *said) {
            let written = known.iter().take(HOSTS_MAX).map(|(_, words, one)| format!("{} {words}", one.host));
            let mut parts: Vec<String> = written.collect();
            if let Some((most, ..)) = known.get(HOSTS_MAX) {
                parts.push(format!("{} more at most {} %", known.len() - HOSTS_MAX, percent(*most)));
            }
            lines.push(format!("load afterwards: {}", parts.join(", ")));
        }
        let age_ms = known.iter().filter_map(|(.., one)| one.then_ppm.age_ms()).max().unwrap_or(0);
        if age_ms > self.old_ms {
            lines.push(format!("the oldest measure in these loads is of {} ago", length(age_ms)));
        }
        let mut unknown: BTreeMap<&str, Vec<&HostName>> = BTreeMap::new();
        for one in gaining() {
            if let Seen::Unknown { reason } = &one.then_ppm {
                unknown.entry(reason).or_default().push(&one.host);
            }
        }
        lines.extend(unknown.iter().map(|(why, hosts)| format!("load afterwards UNKNOWN of {}: {why}", names(hosts))));
        lines
    }
}

fn words(of: &HostForecast) -> Option<String> {
    Some(format!("{} -> {} %", percent(*of.now_ppm.value()?), percent(*of.then_ppm.value()?)))
}
