//! What waits for a person, the worst first, each with the command to type next.

use super::Fleet;
use slot_machine::state::{PlanStatus, TaskState};
use slot_types::cluster::*;
use slot_types::evidence::Seen;
use slot_types::ids::*;
use slot_types::render::clock;
use slot_types::view::Trouble;
use std::collections::BTreeSet;

/// How many names one line of "hurts" holds; the rest is counted.
const NAMES_MAX: usize = 20;

impl Fleet<'_> {
    pub(super) fn needs_you(&self) -> Vec<Trouble> {
        let mut all = Vec::new();
        let mut told = BTreeSet::new();
        if self.eyes.leads {
            self.silent_hosts(&mut all, &mut told);
            self.unserved_stores(&mut all, &mut told);
            self.front_ends_in_trouble(&mut all);
        }
        self.copies_that_differ(&mut all);
        self.overdue_hosts(&mut all);
        self.quarantined_hosts(&mut all);
        self.plans_waiting(&mut all);
        self.open_loss_cases(&mut all);
        all
    }

    fn silent_hosts<'a>(&'a self, all: &mut Vec<Trouble>, told: &mut BTreeSet<&'a StoreName>) {
        for (name, host) in self.cluster.hosts.iter().filter(|(name, host)| self.silent(name, host)) {
            let masters: Vec<&StoreName> = self.cluster.masters_on(name).map(|(store, _)| store).collect();
            let replicas: Vec<&StoreName> = self
                .cluster
                .copies_on(name)
                .filter(|(_, _, c)| c.role == Role::Replica && c.state == CopyState::Serving)
                .map(|(store, _, _)| store)
                .collect();
            if masters.is_empty() && (replicas.is_empty() || host.declared == HostState::Maintenance) {
                continue;
            }
            told.extend(masters.iter().copied());
            let mut hurts = Vec::new();
            if !masters.is_empty() {
                hurts.push(format!("{} not served: {}", stores(masters.len()), names(&masters)));
            }
            if !replicas.is_empty() {
                hurts.push(format!("{} with one copy less: {}", stores(replicas.len()), names(&replicas)));
            }
            let what = match self.seen(name) {
                _ if host.device.off.is_some() => "OFF: its device switched it off and says so".to_string(),
                Seen::Known { age_ms, .. } => format!("SILENT for {}", span(age_ms)),
                Seen::Unknown { reason } => format!("SILENT: {reason}"),
            };
            let verb = if masters.is_empty() { "show" } else { "failover" };
            let next = format!("slotctl {verb} host {name}");
            all.push(Trouble { subject: name.to_string(), what, hurts, seen: self.seen_by(name), next });
        }
    }

    /// R23: from where a silent host is seen, and what its device says.
    fn seen_by(&self, name: &HostName) -> Vec<String> {
        let mut seen = (self.eyes.reach)(name).map_or_else(Vec::new, |reach| reach.words());
        match self.eyes.evidence.power.get(name) {
            Some(Seen::Known { value, age_ms }) => {
                seen.push(format!("its device answers: power {value}, {} ago", span(*age_ms)));
            }
            Some(Seen::Unknown { reason }) => seen.push(format!("its device: UNKNOWN, {reason}")),
            None => {}
        }
        if let Some(host) = self.cluster.hosts.get(name).filter(|host| !host.reboots.is_empty()) {
            seen.push(format!("or wait: {}", reboots_took(&host.reboots)));
        }
        seen.push(format!("every probe: slotctl evidence host {name}"));
        seen
    }

    /// R7: nothing mends a copy but building it anew, and nobody does that by himself.
    fn copies_that_differ(&self, all: &mut Vec<Trouble>) {
        for (name, store) in self.cluster.stores.iter().filter(|(_, store)| !store.retired) {
            for slot in store.copies.keys() {
                let Some(stamp) = self.cluster.fault(store, slot) else { continue };
                let hurts = vec![format!("{name} has one copy less that may become its master")];
                let what = format!("{slot} DIFFERS from its master: {}", stamp.of.findings);
                let next = format!("slotctl move slot {slot} -m REASON   builds the copy anew elsewhere");
                all.push(Trouble { subject: name.to_string(), what, hurts, seen: Vec::new(), next });
            }
        }
    }

    /// Hosts that were to be back in service by now.
    fn overdue_hosts(&self, all: &mut Vec<Trouble>) {
        let off = |host: &Host| !matches!(host.declared, HostState::Active | HostState::Retired);
        for (name, host) in self.cluster.hosts.iter().filter(|(_, host)| off(host)) {
            let Some(due) = host.back_by.filter(|due| self.eyes.now.wall > *due) else { continue };
            let stopped = self.cluster.copies_on(name).filter(|(_, _, c)| c.state == CopyState::Stopped).count();
            let hurts = match stopped {
                0 => Vec::new(),
                n => vec![format!("{} with one copy less", stores(n))],
            };
            let what = format!("OVERDUE: was to be back by {}, is {}", clock(due), host.declared);
            all.push(Trouble {
                subject: name.to_string(),
                what,
                hurts,
                seen: Vec::new(),
                next: format!("slotctl undrain host {name}"),
            });
        }
    }

    fn unserved_stores<'a>(&'a self, all: &mut Vec<Trouble>, told: &mut BTreeSet<&'a StoreName>) {
        for (name, store) in &self.cluster.stores {
            let under_way = self.eyes.state.store_claims.contains_key(name) && store.master.is_none();
            if told.contains(name) || under_way {
                continue;
            }
            let (what, next) = match (&store.master, &store.pending) {
                _ if store.retired => {
                    all.push(retired(name, store));
                    continue;
                }
                (Some(_), _) if self.served(store) => continue,
                // Nothing is done about it by itself: the command is the release.
                (Some(slot), _) if self.cluster.is_held(name, slot) => {
                    let held = self.cluster.holds_on_store(name).find(|held| held.on.is_of(name, slot));
                    let on = held.map_or_else(|| "all".to_string(), |held| held.on.to_string());
                    let what =
                        format!("its master {slot} is not seen serving, and {on} is held: it is not started again");
                    (what, format!("slotctl release {on} -m REASON"))
                }
                (Some(slot), _) => {
                    (format!("its master {slot} is not seen serving"), format!("slotctl show store {name}"))
                }
                (None, Some(slot)) => (
                    format!("has no master: promoting {slot} at epoch {} did not end", store.epoch),
                    format!("slotctl failover slot {slot}"),
                ),
                (None, None) => ("has no master".to_string(), format!("slotctl show store {name}")),
            };
            all.push(Trouble {
                subject: name.to_string(),
                what,
                hurts: vec![format!("{name} is not served")],
                seen: Vec::new(),
                next,
            });
        }
    }

    fn quarantined_hosts(&self, all: &mut Vec<Trouble>) {
        for (name, host) in &self.cluster.hosts {
            let Some(why) = &host.quarantined else { continue };
            let next = match why {
                HostQuarantine::OtherDisk { presented } => {
                    format!("slotctl admit host {name} --incarnation {presented} -m REASON")
                }
                HostQuarantine::OlderDisk { .. } => format!("slotctl show host {name}"),
                HostQuarantine::Restored => self.how_to_readopt(name),
            };
            let hurts = vec!["nothing is ordered there until a person decides".to_string()];
            all.push(Trouble { subject: name.to_string(), what: quarantine(why), hurts, seen: Vec::new(), next });
        }
    }

    /// R10: with the disk that it presents now, so that a person names what is meant.
    fn how_to_readopt(&self, name: &HostName) -> String {
        match self.eyes.evidence.hosts.get(name).map(|seen| &seen.agent) {
            Some(Seen::Known { value, .. }) => {
                format!("slotctl admit host {name} --incarnation {} -m REASON", value.incarnation)
            }
            _ => format!("start the agent of {name}; then slotctl status says how to re-adopt it"),
        }
    }

    fn plans_waiting(&self, all: &mut Vec<Trouble>) {
        for record in self.eyes.state.plans.values() {
            let next = format!("slotctl plan show {}", record.id);
            let subject = record.id.to_string();
            let title = record.plan.intent.to_string();
            match &record.status {
                PlanStatus::Proposed => {
                    let missing = usize::from(record.people).saturating_sub(record.approvals.len());
                    let what = format!("{title}: waits for {missing} more approval{}", plural(missing));
                    all.push(Trouble { subject, what, hurts: Vec::new(), seen: Vec::new(), next });
                }
                PlanStatus::Running | PlanStatus::Aborting { .. } => {
                    let stuck = self.stuck_reasons(record);
                    if !stuck.is_empty() {
                        all.push(Trouble {
                            subject,
                            what: format!("{title}: STUCK"),
                            hurts: stuck,
                            seen: Vec::new(),
                            next,
                        });
                    }
                }
                PlanStatus::Paused { by, reason } => {
                    let by = by.as_ref().map_or_else(|| "part way".to_string(), |by| format!("by {by}"));
                    let (what, hurts) = (format!("{title}: PAUSED {by}"), vec![reason.clone()]);
                    let next = format!("slotctl plan watch {}   says what may be done with it", record.id);
                    all.push(Trouble { subject, what, hurts, seen: Vec::new(), next });
                }
                _ => {}
            }
        }
    }

    fn stuck_reasons(&self, record: &slot_machine::state::PlanRecord) -> Vec<String> {
        let mut reasons = Vec::new();
        for (number, task) in record.tasks.iter().enumerate() {
            let needs = match &task.state {
                TaskState::NeedsHuman { why } => Some(why.clone()),
                state if state.is_ended() => None,
                _ => task.steps.iter().find_map(|s| s.stuck.clone()),
            };
            let store = record.plan.tasks.get(number).and_then(|t| t.store.as_ref());
            reasons.extend(needs.map(|why| match store {
                Some(store) => format!("{store}: {why}"),
                None => why,
            }));
        }
        reasons
    }

    fn open_loss_cases(&self, all: &mut Vec<Trouble>) {
        for (id, case) in self.cluster.loss_cases.iter().filter(|(_, c)| c.state == LossState::Listed) {
            let count = case.stranded.len();
            all.push(Trouble {
                subject: id.to_string(),
                what: format!("{count} record{} of {} only on {}", plural(count), case.store, case.slot),
                hurts: vec!["acknowledged once, and not in the present master".to_string()],
                seen: Vec::new(),
                next: format!("slotctl loss show {id}"),
            });
        }
    }
}

/// Why nothing is sent to a host, in words.
pub(super) fn quarantine(why: &HostQuarantine) -> String {
    match why {
        HostQuarantine::OtherDisk { presented } => format!("presents disk {presented}, which is not the admitted one"),
        HostQuarantine::Restored => "NOT RE-ADOPTED since the coordinators were restored: nothing moves".to_string(),
        HostQuarantine::OlderDisk { presented, acknowledged } => {
            format!("its disk is older than it was: it knows order {presented}, it had acknowledged {acknowledged}")
        }
    }
}

fn plural(n: usize) -> &'static str {
    if n == 1 { "" } else { "s" }
}

fn stores(n: usize) -> String {
    format!("{n} store{}", plural(n))
}

fn names(all: &[&StoreName]) -> String {
    let shown: Vec<&str> = all.iter().take(NAMES_MAX).map(|s| s.as_str()).collect();
    let more = all.len().saturating_sub(NAMES_MAX);
    if more == 0 { shown.join(" ") } else { format!("{} and {more} more", shown.join(" ")) }
}

/// A length of time for a person.
pub(super) fn span(ms: u64) -> String {
    let s = ms / 1000;
    match s {
        0..60 => format!("{s} s"),
        60..3_600 => format!("{} min {} s", s / 60, s % 60),
        _ => format!("{} h {} min", s / 3_600, s % 3_600 / 60),
    }
}

/// What is left of a store whose retirement did not come to its end.
fn retired(name: &StoreName, store: &Store) -> Trouble {
    let left: Vec<String> = store.copies.keys().map(ToString::to_string).collect();
    Trouble {
        subject: name.to_string(),
        what: format!("is retired, and not all of it is destroyed: {}", left.join(" ")),
        hurts: vec!["its slots are not free".to_string()],
        seen: Vec::new(),
        next: format!("slotctl retire store {name} -m REASON"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_read_well() {
        assert_eq!(span(900), "0 s");
        assert_eq!(span(171_000), "2 min 51 s");
        assert_eq!(span(7_380_000), "2 h 3 min");
    }

    #[test]
    fn long_lists_are_counted() {
        let all: Vec<StoreName> = (0..23).map(|n| StoreName::new(format!("s{n}")).unwrap()).collect();
        let all: Vec<&StoreName> = all.iter().collect();
        assert!(names(&all).ends_with("s19 and 3 more"));
        assert_eq!(names(&all[..2]), "s0 s1");
    }
}
