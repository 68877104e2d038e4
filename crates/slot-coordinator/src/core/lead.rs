//! Leading: from the election, through the announcement, to what reports and passing time ask for.
//!
//! What always holds: a new leader first announces itself in the log, and serves and sends nothing before that entry is
//! applied, so its state is as new as any leader's before it; approvals given under an earlier leader are void then (R17).

use super::control::Asker;
use super::everyday::Everyday;
use super::executor::Executor;
use super::front_ends::FrontEnds;
use super::looks::{Looks, Seen};
use super::observer::{self, Observer, Sign, Topic};
use super::proposer::Purpose;
use super::study::{Asked, Study, planned};
use super::verify::{self, Verifier};
use super::{CoordinatorCore, Effect, Failure, Leading};
use slot_machine::command::{Answer, Command};
use slot_machine::plans::yields_to_everyday;
use slot_machine::undo::reverse;
use slot_planner::Inputs;
use slot_planted::planted;
use slot_raft::RoleChange;
use slot_types::cluster::Cluster;
use slot_types::evidence::Evidence;
use slot_types::ids::*;
use slot_types::order::AgentReport;
use slot_types::plan::{Intent, Said};
use slot_types::probe::Sights;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

impl CoordinatorCore {
    pub(super) fn role(&mut self, role: RoleChange) {
        let leads = role.is_leader.then_some(role.term);
        if self.lead.as_ref().map(|l| l.term) != leads {
            let leader = self.other_leader();
            for purpose in self.proposer.forget() {
                if let Purpose::Request(token) = purpose {
                    self.reply(token, Err(Failure::Interrupted { leader: leader.clone() }));
                }
            }
            let watched = self.lead.take().is_some_and(|l| !l.watched.is_empty());
            match leads {
                Some(term) => self.begin_to_lead(term),
                None if watched => {
                    let term = Term(role.term);
                    self.out.push(Effect::WatchAgents { term, agents: BTreeMap::new() });
                }
                None => {}
            }
        }
        self.out.push(Effect::Role { leader: self.leader().cloned(), is_leader: role.is_leader });
    }

    fn begin_to_lead(&mut self, term: u64) {
        tracing::info!(term, "this node leads");
        self.proposer.set_base(self.state.log_time, self.now);
        self.lead = Some(Box::new(Leading {
            term,
            ready: false,
            observer: Observer::new(self.now),
            executor: Executor::default(),
            everyday: Everyday::new(self.now),
            looks: Looks::of(term),
            verifier: Verifier::default(),
            front_ends: FrontEnds::default(),
            turned_away: BTreeMap::new(),
            watched: BTreeMap::new(),
        }));
        self.watch_agents();
        self.propose(Command::NewLeader { node: self.config.node.clone() }, Purpose::NewLeader);
    }

    /// The announcement is applied, so everything before it is: the state is current.
    pub(super) fn announced(&mut self) {
        // R17: entries of earlier leaders applied meanwhile may have moved log time on.
        self.proposer.set_base(self.state.log_time, self.now);
        if self.state.cluster.is_none() {
            let (cluster, name) = (self.config.cluster_id, self.config.cluster.clone());
            return self.propose(Command::Found { cluster, name }, Purpose::Found);
        }
        self.founded(&Answer::Done);
    }

    pub(super) fn founded(&mut self, answer: &Answer) {
        let expected = (self.config.cluster_id, &self.config.cluster);
        match &self.state.cluster {
            Some(cluster) if (cluster.id, &cluster.name) == expected => {}
            Some(cluster) => {
                let text = format!(
                    "serving cluster {} ({}): the log is of cluster {} ({}); check --folder and --dir",
                    self.config.cluster, self.config.cluster_id, cluster.name, cluster.id
                );
                return self.out.push(Effect::Die(text));
            }
            None => return self.out.push(Effect::Die(format!("founding the cluster was refused: {answer:?}"))),
        }
        if let Some(lead) = &mut self.lead {
            lead.ready = true;
            if let Some(cluster) = &self.state.cluster {
                lead.observer.begin(cluster, self.now);
            }
        }
        self.changed = true;
        for parked in std::mem::take(&mut self.parked) {
            self.request(parked.token, parked.who, parked.request);
        }
    }

    pub(super) fn watch_agents(&mut self) {
        let Some(lead) = self.lead.as_deref_mut() else { return };
        let agents = observer::agents(self.state.cluster.as_ref());
        if lead.watched != agents {
            lead.watched = agents.clone();
            self.out.push(Effect::WatchAgents { term: Term(lead.term), agents });
        }
    }

    pub(super) fn agent_report(&mut self, host: &HostName, report: AgentReport) {
        let log_now = self.log_now();
        let (Some(lead), Some(cluster)) = (self.lead.as_deref_mut(), &self.state.cluster) else { return };
        if !lead.observer.report(cluster, host, report, self.now) || !lead.ready {
            return;
        }
        if self.state.restoring.is_some() {
            // R10: nothing moves before every host has said what it holds.
            return self.adopt(host);
        }
        let seen = lead.observer.host_seen(cluster, host, self.now, self.state.applied);
        let signs = lead.observer.signs_of_life(cluster, host, log_now);
        let aside = lead.observer.asides(cluster, host);
        let by_hand = lead.observer.by_hand(&self.state, host);
        let by_hand = by_hand.filter(|_| lead.observer.may_propose(host, Topic::ByHand, self.now));
        let aside = aside.filter(|_| lead.observer.may_propose(host, Topic::Aside, self.now));
        let found = verify::found(cluster, &lead.observer, host);
        let found = found.filter(|_| lead.observer.may_propose(host, Topic::Verified, self.now));
        if let Some(command) = seen.filter(|_| lead.observer.may_propose(host, Topic::Seen, self.now)) {
            self.propose(command, Purpose::HostSeen(host.clone()));
        }
        if let Some(command) = by_hand {
            self.propose(command, Purpose::ByHand(host.clone()));
        }
        if let Some(command) = aside {
            self.propose(command, Purpose::Aside(host.clone()));
        }
        if let Some(command) = found {
            self.propose(command, Purpose::Verified(host.clone()));
        }
        self.propose_signs(signs);
        self.adopt(host);
        self.everyday(Some(host));
    }

    fn propose_signs(&mut self, signs: Vec<Sign>) {
        for Sign { host, word, seen } in signs {
            let topic = Topic::SignOfLife(word);
            if self.lead.as_mut().is_some_and(|lead| lead.observer.may_propose(&host, topic, self.now)) {
                self.propose(Command::SignOfLife { host: host.clone(), seen }, Purpose::SignOfLife(host));
            }
        }
    }

    /// An agent looked around.
    pub(super) fn looked(&mut self, look: u64, result: Result<Sights, String>) {
        let (Some(lead), Some(cluster)) = (self.lead.as_deref_mut(), &self.state.cluster) else { return };
        let Seen { signs, began } = lead.looks.looked(cluster, look, result, self.now);
        for (slot, name, result) in began {
            lead.verifier.began(&slot, name, result);
        }
        if self.state.restoring.is_none() {
            self.propose_signs(signs);
        }
    }

    /// Proposes what everyday recovery asks for (R25).
    pub(super) fn everyday(&mut self, host: Option<&HostName>) {
        if self.state.restoring.is_some() {
            return;
        }
        let Some(lead) = self.lead.as_deref_mut() else { return };
        for (store, intents) in lead.everyday.wanted(&self.state, &lead.observer, self.now, host) {
            let planned = intents.into_iter().find_map(|intent| {
                let text = intent.to_string();
                let slots = self.store_slots(&store);
                self.plan(intent, None, "everyday recovery".into(), Some(&slots))
                    .inspect_err(|refusal| tracing::info!(%store, "{text}: {refusal}"))
                    .ok()
            });
            match planned {
                Some(bytes) => self.propose(Command::RecordPlan { bytes }, Purpose::Everyday(store)),
                None => self.proposal_lost(Purpose::Everyday(store)),
            }
        }
    }

    fn store_slots(&self, store: &StoreName) -> BTreeSet<SlotId> {
        let store = self.state.cluster.as_ref().and_then(|c| c.stores.get(store));
        store.into_iter().flat_map(|s| s.copies.keys().chain(s.possible_masters.keys())).cloned().collect()
    }

    /// R13: stores that running plans hold; everyday recovery looks past those that yield to it.
    fn busy_stores(&self, intent: &Intent) -> BTreeSet<StoreName> {
        let at = match intent {
            Intent::StartMaster { slot } | Intent::Follow { slot } | Intent::FenceReturned { slot } => Some(slot),
            _ => None,
        };
        let undone = undone(intent);
        let held = self.state.store_claims.iter().filter(|(_, plan)| undone != Some(**plan)).map(|(store, _)| store);
        held.filter(|store| !at.is_some_and(|slot| yields_to_everyday(&self.state, store, slot))).cloned().collect()
    }

    /// The plan of this moment; its canonical bytes, or why there is none.
    fn plan(
        &self,
        intent: Intent,
        by: Option<Asker>,
        reason: String,
        slots: Option<&BTreeSet<SlotId>>,
    ) -> Result<Vec<u8>, String> {
        let Draft { cluster, evidence, inputs, intent } = self.draft(intent, by, reason, slots)?;
        planned(&cluster, &evidence, intent, inputs)
    }

    /// What the planner is asked for a plan, with what is observed now; `slots` are the only ones that bear on it, if not all do.
    pub(super) fn draft(
        &self,
        intent: Intent,
        by: Option<Asker>,
        reason: String,
        slots: Option<&BTreeSet<SlotId>>,
    ) -> Result<Draft<'_>, String> {
        let (Some(lead), Some(cluster)) = (self.lead.as_deref(), &self.state.cluster) else {
            return Err("this node does not lead".into());
        };
        if let Some(restoring) = &self.state.restoring {
            return Err(restoring.refusal().to_string());
        }
        // R18: what is undone is what the record says, whatever a client sent along.
        let intent = match intent {
            Intent::Undo(asked) => Intent::Undo(Box::new(reverse(&self.state, asked.plan).map_err(|e| e.to_string())?)),
            intent => intent,
        };
        let log_now = self.log_now();
        let mut evidence = lead.observer.evidence(cluster, self.now, log_now, None, slots);
        lead.looks.add_to(&mut evidence, cluster, &lead.observer, self.now);
        let mut said = by.as_ref().map_or_else(Said::default, |by| by.said);
        said.mass |= planted("r23-mass-unasked");
        let inputs = Inputs {
            requested_by: by.map(|by| by.who),
            said,
            reason,
            revision: self.state.revision,
            now: log_now,
            wall: self.now.wall,
            busy_stores: self.busy_stores(&intent),
            busy_hosts: others(&self.state.host_claims, undone(&intent)),
            busy_slots: self.state.slot_claims.keys().cloned().collect(),
            fleet_version: self.state.fleet_version,
        };
        let heard = heard_of(cluster, &evidence, &intent);
        let cluster = heard.map_or(Cow::Borrowed(cluster), Cow::Owned);
        Ok(Draft { cluster, evidence, inputs, intent })
    }
}

/// What the planner is asked for a plan.
pub(super) struct Draft<'a> {
    cluster: Cow<'a, Cluster>,
    evidence: Evidence,
    inputs: Inputs,
    intent: Intent,
}

impl Draft<'_> {
    /// The same, to be asked beside the core.
    pub(super) fn study(self) -> Study {
        let Self { cluster, evidence, inputs, intent } = self;
        Study { cluster: cluster.into_owned(), evidence, inputs, asked: Asked::Plan(Box::new(intent)) }
    }
}

/// The plan that an undo ends, whose claims are not in its way.
fn undone(intent: &Intent) -> Option<PlanId> {
    match intent {
        Intent::Undo(reverse) => Some(reverse.plan),
        _ => None,
    }
}

fn others<T: Clone + Ord>(claims: &std::collections::BTreeMap<T, PlanId>, but: Option<PlanId>) -> BTreeSet<T> {
    claims.iter().filter(|(_, plan)| but != Some(**plan)).map(|(what, _)| what.clone()).collect()
}

/// What the planted bug `r7-unheard-copy-counted` shows the planner of a failover: a copy nobody hears is no copy.
fn heard_of(cluster: &Cluster, evidence: &Evidence, intent: &Intent) -> Option<Cluster> {
    let fails_over = matches!(
        intent,
        Intent::FailOverSlot { .. }
            | Intent::FailOverStore { .. }
            | Intent::FailOverHost(_)
            | Intent::FailOverClasses { .. }
    );
    let mut heard = (fails_over && planted("r7-unheard-copy-counted")).then(|| cluster.clone())?;
    for store in heard.stores.values_mut() {
        let leads = [&store.master, &store.pending].into_iter().flatten().chain(store.possible_masters.keys());
        let leads: BTreeSet<SlotId> = leads.cloned().collect();
        let age = cluster.policy.silent_ms;
        store.copies.retain(|slot, _| leads.contains(slot) || evidence.running(slot, age).is_some());
    }
    Some(heard)
}
