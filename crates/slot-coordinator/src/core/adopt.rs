//! Hosts that are to take this generation's orders (R10): after a restore by a person's word, a fresh ledger by itself.
//!
//! What always holds: an agent is told to adopt only where a person said so, or where its admitted disk never took an order of
//! this generation; what a host holds is taken from a report that its agent made after it had durably adopted.

use super::io::Effect;
use super::observer::{Observer, Topic};
use super::proposer::Purpose;
use super::{CoordinatorCore, Leading};
use slot_machine::command::Command;
use slot_machine::restore::{AdoptedCopy, AdoptedHost, Readoption};
use slot_machine::state::State;
use slot_types::cluster::{Cluster, Host};
use slot_types::codec;
use slot_types::ids::*;
use slot_types::order::{Action, AgentReport, Order};

/// How long an agent is given to adopt.
const BUDGET_MS: u64 = 2_000;

/// What a host's last report asks for.
enum Wish {
    /// Its agent is told to adopt.
    Tell(Box<Order>),
    /// What it holds is recorded.
    Record(Command),
}

fn order(cluster: &Cluster, term: u64, report: &AgentReport) -> Order {
    let generation = cluster.generation;
    Order {
        cluster: cluster.id,
        term: Term(term),
        index: LogIndex::first_of(generation),
        id: OrderId { plan: PlanId(0), task: 0, step: 0, attempt: generation },
        incarnation: report.incarnation,
        boot: report.boot,
        subject: None,
        budget_ms: BUDGET_MS,
        action: Action::Adopt,
    }
}

fn wish(state: &State, cluster: &Cluster, host: &Host, term: u64, report: &AgentReport) -> Option<Wish> {
    let follows = report.high_water.generation() == cluster.generation;
    let tell = || Wish::Tell(Box::new(order(cluster, term, report)));
    let Some(restoring) = &state.restoring else {
        // A disk that is new since the restore: nobody from before ever ordered anything there. One that acknowledged something
        // since and knows nothing of it is an older one, and is not told: it would look newer by it (S2).
        let admitted = host.quarantined.is_none() && host.incarnation == Some(report.incarnation);
        let is_new = host.acknowledged.generation() < cluster.generation;
        return (admitted && is_new && report.high_water.generation() < cluster.generation).then(tell);
    };
    let Readoption::Wanted { incarnation, .. } = restoring.hosts.get(&report.host)? else { return None };
    if *incarnation != report.incarnation {
        return None;
    }
    if !follows {
        return Some(tell());
    }
    let copies = report.slots.iter().map(AdoptedCopy::of).collect();
    let (incarnation, boot, high_water) = (report.incarnation, report.boot, report.high_water);
    let said = AdoptedHost { incarnation, boot, high_water, copies };
    Some(Wish::Record(Command::HostAdopted { host: report.host.clone(), said }))
}

/// A host, and what its agent's last report asks for.
fn wanted<'a>(lead: &mut Leading, state: &'a State, name: &HostName, now: super::Now) -> Option<(&'a Host, Wish)> {
    let cluster = state.cluster.as_ref()?;
    let host = cluster.hosts.get(name)?;
    let wish = wish(state, cluster, host, lead.term, lead.observer.last(name)?)?;
    lead.observer.may_propose(name, Topic::Adopt, now).then_some((host, wish))
}

impl CoordinatorCore {
    /// After a report: tells its agent to adopt, or records what it holds.
    pub(super) fn adopt(&mut self, name: &HostName) {
        let Some(lead) = self.lead.as_deref_mut() else { return };
        match wanted(lead, &self.state, name, self.now) {
            Some((host, Wish::Tell(order))) => self.out.push(Effect::Deliver {
                // Nobody waits for the answer: the next report says whether it did.
                delivery: 0,
                host: name.clone(),
                address: host.address,
                order: codec::encode(&*order),
                budget_ms: BUDGET_MS,
            }),
            Some((_, Wish::Record(command))) => self.propose(command, Purpose::Adopt(name.clone())),
            None => {}
        }
    }

    /// A person's word on a host, with what is heard of it now (R10).
    pub(super) fn adopt_host(
        &self,
        host: HostName,
        incarnation: Incarnation,
        by: OperatorName,
        reason: String,
    ) -> Result<Command, String> {
        let observer: Option<&Observer> = self.lead.as_deref().map(|lead| &lead.observer);
        let Some(report) = observer.and_then(|observer| observer.last(&host)) else {
            return Err(format!(
                "re-adopt {host}: its agent was not heard by this leader yet; start it, then ask again"
            ));
        };
        if report.incarnation != incarnation {
            return Err(format!("re-adopt {host}: it presents disk {}, not {incarnation}", report.incarnation));
        }
        Ok(Command::AdoptHost { high_water: report.high_water, host, incarnation, by, reason })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether an agent is told to adopt, of a host that acknowledged so much, with a disk that knows so much.
    fn is_told(acknowledged: LogIndex, high_water: LogIndex) -> bool {
        let mut cluster = Cluster::new(ClusterId([1; 16]), "fm1".parse().unwrap());
        cluster.generation = 2;
        let host = Host { acknowledged, ..super::super::samples::host() };
        let report = AgentReport {
            cluster: cluster.id,
            host: "imap1".parse().unwrap(),
            incarnation: Incarnation([3; 16]),
            boot: BootId([4; 16]),
            high_water,
            slots: Vec::new(),
            running: Vec::new(),
            disk: None,
            load: None,
        };
        matches!(wish(&State::default(), &cluster, &host, 7, &report), Some(Wish::Tell(_)))
    }

    #[test]
    fn s2_an_older_disk_is_not_told_to_adopt() {
        let since = LogIndex(LogIndex::first_of(2).0 + 9);
        assert!(is_told(LogIndex(0), LogIndex(0)), "a disk that is new since the restore");
        assert!(
            !is_told(since, LogIndex(12)),
            "it acknowledged something since the restore, and this disk knows nothing of it"
        );
        assert!(!is_told(since, since), "it follows");
    }
}
