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
        // A disk that is new since the restore: nobody from before ever ordered anything there.
        let admitted = host.quarantined.is_none() && host.incarnation == Some(report.incarnation);
        return (admitted && report.high_water.generation() < cluster.generation).then(tell);
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
