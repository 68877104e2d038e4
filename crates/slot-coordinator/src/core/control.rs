//! What operators ask.
//!
//! What always holds: a change is proposed only by a leader that has applied everything before its term; who asks is what
//! the certificate says; a read that is called confirmed was confirmed by a read-index round begun after it was asked
//! (S13); a retry of a remembered request is answered from the state and neither planned nor applied again (R21).

use super::executor::plan_slots;
use super::io::{ControlRequest, Failure, Reply};
use super::proposer::Purpose;
use super::{CoordinatorCore, PARKED_MAX, PARKED_MS, Parked, Read, views};
use slot_machine::command::{Answer, Command, Refused, RequestId};
use slot_machine::join::{Guest, may_join};
use slot_planted::planted;
use slot_types::codec;
use slot_types::evidence::Evidence;
use slot_types::hold::HoldOn;
use slot_types::ids::*;
use slot_types::plan::{Intent, Said};
use slot_types::view::{Query, View};

/// The longest reason or remark taken, in bytes.
const TEXT_BYTES_MAX: usize = 2_000;
/// Of refused joins of one host, one in so long becomes an entry of the log.
const TURNED_AWAY_EVERY_MS: u64 = 60_000;
/// What an entry needs beside a plan's bytes.
pub(super) const ENVELOPE_BYTES: usize = 1_024;

/// What is answered after a read-index round.
pub(super) enum Question {
    View(Query),
    Verify { on: HoldOn, since: Option<LogTime> },
    Plan(Box<Wish>),
    Join(Guest),
}

/// A plan that somebody asks for.
pub(super) struct Wish {
    pub by: Asker,
    pub request: Option<RequestId>,
    pub intent: Intent,
    pub reason: String,
}

/// Who asks for a plan.
pub(super) struct Asker {
    /// The person.
    pub who: OperatorName,
    /// What they say besides.
    pub said: Said,
}

impl CoordinatorCore {
    pub(super) fn request(&mut self, token: u64, who: OperatorName, request: ControlRequest) {
        if let ControlRequest::View { query, stale_ok: true } = request {
            return self.answer(token, Question::View(query), false);
        }
        match &self.lead {
            Some(lead) if lead.ready => {}
            Some(_) if self.parked.len() < PARKED_MAX => {
                let until = self.now.ms.saturating_add(PARKED_MS);
                return self.parked.push(Parked { token, who, request, until });
            }
            _ => {
                let leader = self.other_leader();
                return self.reply(token, Err(Failure::NotLeader { leader }));
            }
        }
        if let Err(failure) = self.serve(token, who, request) {
            self.reply(token, Err(failure));
        }
    }

    fn serve(&mut self, token: u64, who: OperatorName, request: ControlRequest) -> Result<(), Failure> {
        let (request, command) = match request {
            ControlRequest::View { query, .. } if planted("s13-read-from-leader-memory") => {
                self.answer(token, Question::View(query), true);
                return Ok(());
            }
            ControlRequest::View { query, .. } => return self.answer_confirmed(token, Question::View(query)),
            ControlRequest::Verify { on, since } => {
                self.known(&on)?;
                return self.answer_confirmed(token, Question::Verify { on, since });
            }
            ControlRequest::MakePlan { request, intent, reason, said } => {
                reason_given(&reason)?;
                not_everyday(&intent)?;
                let wish = Wish { by: Asker { who, said }, request, intent: *intent, reason };
                return self.answer_confirmed(token, Question::Plan(Box::new(wish)));
            }
            ControlRequest::OpenSession => (None, Command::OpenSession),
            ControlRequest::ApprovePlan { request, plan, digest, reason } => {
                reason_given(&reason)?;
                let guards = self.approval_guards(plan)?;
                (request, Command::ApprovePlan { plan, digest, by: who, reason, guards })
            }
            ControlRequest::RejectPlan { request, plan, reason } => {
                reason_given(&reason)?;
                (request, Command::RejectPlan { plan, by: who, reason })
            }
            ControlRequest::AbortPlan { request, plan, reason } => {
                reason_given(&reason)?;
                (request, Command::AbortPlan { plan, by: who, reason })
            }
            ControlRequest::PausePlan { request, plan, reason } => {
                reason_given(&reason)?;
                (request, Command::PausePlan { plan, by: who, reason })
            }
            ControlRequest::ResumePlan { request, plan, reason } => {
                reason_given(&reason)?;
                let guards = self.approval_guards(plan)?;
                (request, Command::ResumePlan { plan, by: who, reason, guards })
            }
            ControlRequest::Attest { request, host, how } => {
                reason_given(&how)?;
                let boot = self.boot_of(&host)?;
                (request, Command::Attest { host, boot, how, by: who })
            }
            ControlRequest::AdmitHost { request, host, incarnation, reason } if self.state.restoring.is_some() => {
                reason_given(&reason)?;
                (request, self.adopt_host(host, incarnation, who, reason).map_err(Failure::Refused)?)
            }
            ControlRequest::AdmitHost { request, host, incarnation, reason } => {
                reason_given(&reason)?;
                (request, Command::AdmitHost { host, incarnation, by: who, reason })
            }
            ControlRequest::InviteHost { request, host, certificate, reason } => {
                reason_given(&reason)?;
                (request, Command::InviteHost { host, certificate, by: who, reason })
            }
            ControlRequest::RevokeInvitation { request, host, reason } => {
                reason_given(&reason)?;
                (request, Command::RevokeInvitation { host, by: who, reason })
            }
            ControlRequest::Hold { request, on, reason } => {
                reason_given(&reason)?;
                (request, Command::Hold { on, by: who, reason })
            }
            ControlRequest::Release { request, on, reason } => {
                reason_given(&reason)?;
                (request, Command::Release { on, by: who, reason })
            }
        };
        self.proposer.propose(self.now, self.state.log_time, request, command, Purpose::Request(token));
        Ok(())
    }

    /// Answers once a read-index round begun now has confirmed that nothing newer is there (S13).
    fn answer_confirmed(&mut self, token: u64, question: Question) -> Result<(), Failure> {
        self.read_index(Read::Answer { token, question: Box::new(question) });
        Ok(())
    }

    /// The boot whose end a person attests.
    fn boot_of(&self, host: &HostName) -> Result<BootId, Failure> {
        let known = self.state.cluster.as_ref().and_then(|c| c.hosts.get(host));
        let known = known.ok_or_else(|| Failure::NotFound(Refused::UnknownHost(host.clone()).to_string()))?;
        known.boot.ok_or_else(|| never_seen(host))
    }

    /// Whether there is such a thing.
    fn known(&self, on: &HoldOn) -> Result<(), Failure> {
        let Some(cluster) = &self.state.cluster else {
            return Err(Failure::Refused(Refused::NotFounded.to_string()));
        };
        let missing = match on {
            HoldOn::Host(host) if !cluster.hosts.contains_key(host) => Refused::UnknownHost(host.clone()),
            HoldOn::Store(store) if !cluster.stores.contains_key(store) => Refused::UnknownStore(store.clone()),
            HoldOn::Host(_) | HoldOn::Store(_) | HoldOn::All => return Ok(()),
        };
        Err(Failure::NotFound(missing.to_string()))
    }

    /// A host asks to come in. Only an entry of the log lets it (a token is burnt there), and refusals stand there too, for
    /// somebody may be trying a stolen token; but not so many of them that they fill it. The others are confirmed (S13), for
    /// a host gives up when it hears one.
    pub(super) fn join(&mut self, token: u64, guest: Guest) {
        let leader = self.other_leader();
        let (log_now, ms) = (self.log_now(), self.now.ms);
        let Some(lead) = self.lead.as_deref_mut().filter(|lead| lead.ready) else {
            return self.reply(token, Err(Failure::NotLeader { leader }));
        };
        if let Err(refused) = may_join(&self.state, log_now, &guest) {
            tracing::warn!("{refused}");
            let again =
                lead.turned_away.get(&guest.host).is_some_and(|at| ms.saturating_sub(*at) < TURNED_AWAY_EVERY_MS);
            if again {
                let question = Box::new(Question::Join(guest));
                return self.read_index(Read::Answer { token, question });
            }
            lead.turned_away.retain(|_, at| ms.saturating_sub(*at) < TURNED_AWAY_EVERY_MS);
            lead.turned_away.insert(guest.host.clone(), ms);
        }
        let command = Command::JoinHost(guest);
        self.proposer.propose(self.now, self.state.log_time, None, command, Purpose::Request(token));
    }

    /// What is observed now of everything the plan touches (R14).
    fn approval_guards(&self, id: PlanId) -> Result<slot_types::evidence::Evidence, Failure> {
        let record = self.state.plans.get(&id);
        let record = record.ok_or_else(|| Failure::NotFound(Refused::UnknownPlan(id).to_string()))?;
        let (Some(lead), Some(cluster)) = (self.lead.as_deref(), &self.state.cluster) else {
            return Err(Failure::NotLeader { leader: None });
        };
        let slots = plan_slots(cluster, &record.plan);
        let guards = lead.observer.evidence(cluster, self.now, self.log_now(), None, Some(&slots));
        Ok(guards)
    }

    /// Answers a question from the state as it is.
    pub(super) fn answer(&mut self, token: u64, question: Question, confirmed: bool) {
        match question {
            Question::View(query) => self.say(token, &query, confirmed),
            Question::Verify { on, since } => {
                let log_now = self.log_now();
                let Some(lead) = self.lead.as_deref_mut() else {
                    return self.reply(token, Err(Failure::NotLeader { leader: None }));
                };
                let view = lead.verifier.wish(&self.state, &lead.observer, &on, since, (self.now, log_now));
                let bytes = codec::encode(&View::Verify(view));
                self.reply(token, Ok(Reply::View { bytes, revision: self.state.revision, confirmed }));
            }
            Question::Join(guest) => match may_join(&self.state, self.log_now(), &guest) {
                Err(refused) => self.reply(token, Err(Failure::Refused(refused.to_string()))),
                Ok(()) => {
                    let command = Command::JoinHost(guest);
                    self.proposer.propose(self.now, self.state.log_time, None, command, Purpose::Request(token));
                }
            },
            Question::Plan(wish) => self.make_plan(token, *wish),
        }
    }

    /// Answers a request by what applying it answered.
    pub(super) fn reply_answer(&mut self, token: u64, answer: Answer) {
        let reply = match answer {
            Answer::Done => Ok(Reply::Changed { revision: self.state.revision }),
            Answer::Session(session) => Ok(Reply::Session(session)),
            Answer::Plan { id, people_missing } => match self.state.plans.get(&id) {
                Some(record) => Ok(Reply::Plan { id, bytes: record.bytes.clone(), people_missing }),
                None => Err(Failure::NotFound(Refused::UnknownPlan(id).to_string())),
            },
            Answer::Hold { changed, running } => Ok(Reply::Hold { revision: self.state.revision, changed, running }),
            Answer::Refused(
                refused @ (Refused::UnknownHost(_) | Refused::UnknownStore(_) | Refused::UnknownPlan(_)),
            ) => Err(Failure::NotFound(refused.to_string())),
            Answer::Refused(refused) => Err(Failure::Refused(refused.to_string())),
        };
        self.reply(token, reply);
    }

    /// Looks at everything that views are made of.
    pub(super) fn eyes<T>(&self, look: impl FnOnce(&views::Eyes<'_>) -> T) -> T {
        let log_now = self.log_now();
        let lead = self.lead.as_deref();
        let evidence = match (&self.state.cluster, lead) {
            (Some(cluster), Some(lead)) => {
                let seen = lead.observer.evidence(cluster, self.now, log_now, None, None);
                let mut evidence = Evidence { front_ends: lead.front_ends.evidence(self.now), ..seen };
                lead.looks.add_to(&mut evidence, cluster, &lead.observer, self.now);
                evidence
            }
            _ => Default::default(),
        };
        let reach = |name: &HostName| {
            let (cluster, lead) = (self.state.cluster.as_ref()?, lead?);
            Some(lead.looks.reach(cluster, &lead.observer, name, self.now))
        };
        look(&views::Eyes {
            state: &self.state,
            evidence: &evidence,
            reach: &reach,
            now: self.now,
            log_now,
            config: &self.config,
            leader: self.leader(),
            leads: lead.is_some(),
            heard: &self.heard,
        })
    }
}

/// What the coordinator proposes by itself is nobody else's to ask for.
fn not_everyday(intent: &Intent) -> Result<(), Failure> {
    match intent.is_everyday() {
        true => {
            let text = format!("{intent}: the coordinator proposes this by itself when it is due; nobody else may");
            Err(Failure::Invalid(text))
        }
        false => Ok(()),
    }
}

fn never_seen(host: &HostName) -> Failure {
    Failure::Refused(format!("attest {host}: it was never seen, so there is no boot to attest the end of"))
}

/// Every change names its reason; it stays in the audit chain.
fn reason_given(reason: &str) -> Result<(), Failure> {
    if reason.trim().is_empty() {
        return Err(Failure::Invalid("a change needs a reason: -m REASON".into()));
    }
    if reason.len() > TEXT_BYTES_MAX {
        return Err(Failure::Invalid(format!(
            "the reason has {} bytes, at most {TEXT_BYTES_MAX} are taken",
            reason.len()
        )));
    }
    Ok(())
}
