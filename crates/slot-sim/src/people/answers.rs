//! What people make of answers: yes, late yes, wrong yes, no, again, or never mind.
//!
//! What always holds: an unknown outcome is asked again with the same session and sequence where there is one (R21); an
//! answer that must not be is a complaint.

use super::*;
use slot_coordinator::core::{Failure, Reply};
use slot_machine::command::RequestId;
use slot_machine::state::{PlanRecord, PlanStatus, State};
use slot_types::plan::Plan;

/// A person gives up after so many tries.
const TRIES_MAX: u32 = 12;

impl Crowd {
    /// The answer to an [`Ask`]; `None` when none came in time. A token that is not (or no longer) known is ignored.
    pub fn answered(&mut self, now: u64, token: u64, answer: Option<Result<Reply, Failure>>) {
        let Some(sent) = self.sent.remove(&token) else { return };
        if matches!(answer, Some(Ok(_) | Err(Failure::Refused(_))))
            && let Purpose::Attest(word) = sent.errand.purpose
            && let Some(word) = self.words.get(word).filter(|w| w.faith == Faith::True)
        {
            self.alone.remove(&word.host);
        }
        match answer {
            None => {
                self.count("no answer in time");
                self.again(now, sent, None, true);
            }
            Some(Err(Failure::NotLeader { leader })) => {
                let to = leader.and_then(|name| self.names.get(&name).copied());
                self.count("asked one that does not lead");
                self.again(now, sent, to, false);
            }
            Some(Err(Failure::Interrupted { leader })) => {
                let to = leader.and_then(|name| self.names.get(&name).copied());
                self.count("interrupted by a leader change");
                if let Purpose::Approve(..) = sent.errand.purpose {
                    self.count("approval interrupted by a leader change");
                }
                self.again(now, sent, to, true);
            }
            Some(Err(failure)) => self.refused(&sent, &failure),
            Some(Ok(reply)) => self.taken(now, sent, reply),
        }
    }

    /// Asks again, unless nobody cares any more.
    fn again(&mut self, now: u64, sent: Sent, to: Option<u64>, unknown: bool) {
        let Sent { who, mut errand, .. } = sent;
        if errand.tries >= TRIES_MAX || (self.healing && !errand.heal) {
            if errand.purpose == Purpose::Session
                && let Some(person) = self.people.get_mut(who)
            {
                person.opening = false;
            }
            return self.count("gave up asking");
        }
        if unknown {
            let sessioned = request_id(&errand.request).is_some();
            self.count(if sessioned { "retried, same session and sequence" } else { "retried without a session" });
        }
        errand.to = to;
        let pause = self.dice.within(50, 1_500);
        self.later(now + pause, who, Act::Send(Box::new(errand)));
    }

    fn refused(&mut self, sent: &Sent, failure: &Failure) {
        let why = classify(failure);
        self.count(why);
        match sent.errand.purpose {
            Purpose::Attest(_) => self.count("attestation refused"),
            Purpose::Session => {
                if let Some(person) = self.people.get_mut(sent.who) {
                    person.opening = false;
                }
            }
            _ => {}
        }
        let session = request_id(&sent.errand.request).map(|id| id.session);
        if let Some(person) = self.people.get_mut(sent.who)
            && why == "refused: session not known"
            && person.session.is_some()
            && person.session == session
        {
            // It was evicted: whether the request took effect is not known, and it is not asked anew.
            person.session = None;
            self.count("own session was evicted");
        }
    }

    fn taken(&mut self, now: u64, sent: Sent, reply: Reply) {
        if sent.errand.purpose == Purpose::Evicted {
            self.complain("R21", now, format!("a request of a session nobody opened was taken: {}", brief(&reply)));
        }
        match reply {
            Reply::Session(session) => {
                let Some(person) = self.people.get_mut(sent.who) else { return };
                if sent.errand.purpose == Purpose::Session {
                    (person.session, person.sequence, person.opening) = (Some(session), 0, false);
                    self.count("session opened");
                }
            }
            Reply::Changed { revision } => {
                self.newest = self.newest.max(revision);
                self.count(match sent.errand.purpose {
                    Purpose::Attest(_) => "attestation taken",
                    Purpose::Admit => "host admitted",
                    _ => "change taken",
                });
            }
            Reply::Hold { revision, changed, running } => {
                self.newest = self.newest.max(revision);
                self.count(match (changed, running.is_empty()) {
                    (true, true) => "hold or release taken",
                    (true, false) => "held while a plan runs",
                    (false, _) => "held or released already",
                });
            }
            Reply::View { revision, confirmed, .. } => self.viewed(now, &sent, revision, confirmed),
            Reply::Plan { id, bytes, people_missing } => match sent.errand.purpose {
                Purpose::Approve(plan, yes, expired) => {
                    self.approved(now, &sent, (id, plan), (yes, expired), people_missing);
                }
                Purpose::Reject => self.count("plan rejected"),
                Purpose::Abort => self.count("plan aborted"),
                Purpose::Pause => self.count("plan paused, resumed or ended while it is paused"),
                _ => self.planned(now, &sent, id, &bytes, people_missing),
            },
        }
    }

    /// S13: a confirmed read that was sent after an answer shows at least what that answer told.
    fn viewed(&mut self, now: u64, sent: &Sent, revision: Revision, confirmed: bool) {
        self.count(if confirmed { "view answered, confirmed" } else { "view answered, stale" });
        if !confirmed {
            return;
        }
        if revision < sent.floor {
            let text =
                format!("a confirmed view asked at {} is of revision {revision}, {} was known", sent.at, sent.floor);
            self.complain("S13", now, text);
        }
        self.newest = self.newest.max(revision);
    }

    fn planned(&mut self, now: u64, sent: &Sent, id: PlanId, bytes: &[u8], people: u8) {
        if let Some(request) = request_id(&sent.errand.request) {
            let before = *self.planned.entry(request).or_insert(id);
            if before != id {
                let text = format!("one request was planned twice: {before} and {id}");
                self.complain("R21", now, text);
            }
        }
        let ControlRequest::MakePlan { intent, .. } = &sent.errand.request else { return };
        let digest = Plan::digest_of(bytes).short();
        self.count("plan shown");
        let shown = Shown { digest, intent: (**intent).clone(), by: sent.who, people, heal: sent.errand.heal };
        self.shown.insert(id, shown);
        if self.shown.len() > 512 {
            self.shown.pop_first();
        }
        if self.healing && !sent.errand.heal {
            return;
        }
        let pause = if self.healing { 100 } else { self.dice.within(20, 3_000) };
        self.later(now + pause, sent.who, Act::Decide(id));
    }

    fn approved(&mut self, now: u64, sent: &Sent, ids: (PlanId, PlanId), how: (Yes, bool), missing: u8) {
        let (id, plan) = ids;
        if id != plan {
            self.complain("S5", now, format!("a yes to {plan} was counted for {id}"));
        }
        let (yes, expired) = how;
        match yes {
            Yes::Stale => self.complain("S5", now, format!("a yes to {plan} with another digest was counted")),
            _ if expired => self.complain("S5", now, format!("a yes to {plan} was counted after its validity")),
            _ => {}
        }
        let request = request_id(&sent.errand.request);
        let before = self.yes.insert((plan, sent.who), request);
        if before.is_some_and(|before| before.is_none() || before != request) {
            self.doubted.insert(plan);
        }
        self.count(if missing == 0 { "approved: plan started" } else { "approved: more people needed" });
        if missing == 0 && !self.healing && self.has(Habit::Abort) && self.dice.one_in(5) {
            let moment = now + self.dice.within(0, 4_000);
            self.later(moment, sent.who, Act::Abort(plan));
        }
    }

    /// What becomes of a plan that was shown.
    pub(super) fn decide(&mut self, now: u64, public: &Public<'_>, who: usize, plan: PlanId) {
        let Some(shown) = self.shown.get(&plan) else { return };
        let founding = matches!(shown.intent, Intent::Apply(_));
        if self.healing || shown.heal || founding || self.dice.one_in(2) {
            return self.all_say_yes(now, who, plan);
        }
        let (term, valid_ms) = cluster(public).map_or((Term(0), 0), |(s, c)| (s.term, c.policy.plan_valid_ms));
        match self.dice.within(0, 6) {
            0 if self.has(Habit::Late) => {
                let late = now + valid_ms + self.dice.within(500, 30_000);
                self.later(late, who, Act::Approve(plan, Yes::Late));
            }
            1 if self.has(Habit::Late) => {
                let until = now + 30_000;
                self.later(now, who, Act::AfterNewLeader(plan, term, until));
            }
            2 if self.has(Habit::Stale) => {
                self.later(now, who, Act::Approve(plan, Yes::Stale));
                let after = now + self.dice.within(0, 2_000);
                self.all_say_yes(after, who, plan);
            }
            3 if self.has(Habit::Twice) => {
                self.all_say_yes(now, who, plan);
                let gap = now + self.dice.within(0, 40);
                for person in 0..self.people.len() {
                    self.later(gap, person, Act::Approve(plan, Yes::Again));
                }
            }
            4 if self.has(Habit::Reject) => {
                self.count("reject asked");
                let request = ControlRequest::RejectPlan { request: self.id(who), plan, reason: "not this".into() };
                let errand = Errand { request, purpose: Purpose::Reject, tries: 0, to: None, heal: self.healing };
                self.later(now, who, Act::Send(Box::new(errand)));
            }
            5 => self.count("plan left lying"),
            _ => self.all_say_yes(now, who, plan),
        }
    }

    /// As many as are needed say yes; where two are, not the one who asked, but sometimes that one tries.
    fn all_say_yes(&mut self, now: u64, who: usize, plan: PlanId) {
        let Some(shown) = self.shown.get(&plan) else { return };
        let (by, people) = (shown.by, shown.people);
        if people <= 1 {
            return self.later(now, who, Act::Approve(plan, Yes::Plain));
        }
        if !self.healing && self.dice.one_in(5) {
            self.count("the requester says yes where two others are needed");
            self.later(now, by, Act::Approve(plan, Yes::Plain));
        }
        for person in (0..self.people.len()).filter(|person| *person != by) {
            let pause = if self.healing { 50 } else { self.dice.within(0, 2_500) };
            self.later(now + pause, person, Act::Approve(plan, Yes::Plain));
        }
    }

    pub(super) fn say_yes(
        &mut self,
        now: u64,
        public: &Public<'_>,
        who: usize,
        plan: PlanId,
        yes: Yes,
        asks: &mut Vec<Ask>,
    ) {
        let record = public.state.and_then(|s| s.plans.get(&plan));
        let digest = self.shown.get(&plan).map(|s| s.digest).or_else(|| record.map(|r| r.digest.short()));
        let Some(mut digest) = digest else { return };
        match yes {
            Yes::Plain => self.count("approval sent"),
            Yes::Late => self.count("approval sent late"),
            Yes::Again => self.count("approval sent twice"),
            Yes::Stale => {
                self.count("approval sent with a stale digest");
                let other = self.shown.values().rev().map(|s| s.digest).find(|other| *other != digest);
                digest = other.unwrap_or_else(|| {
                    let mut bytes = digest.0;
                    bytes[7] ^= 1;
                    ShortDigest(bytes)
                });
            }
        }
        let expired = public.state.zip(record).is_some_and(|(state, record)| is_expired(state, record));
        let reason = "simulation".to_string();
        let request = ControlRequest::ApprovePlan { request: self.id(who), plan, digest, reason };
        self.ask(now, public, who, request, Purpose::Approve(plan, yes, expired), asks);
    }
}

/// Whether a proposal had outlived its validity already when somebody looked (log time never goes back).
fn is_expired(state: &State, record: &PlanRecord) -> bool {
    record.status == PlanStatus::Proposed && state.log_time.since(record.recorded) > record.plan.valid_ms
}

/// Which request of which session.
fn request_id(request: &ControlRequest) -> Option<RequestId> {
    match request {
        ControlRequest::MakePlan { request, .. }
        | ControlRequest::ApprovePlan { request, .. }
        | ControlRequest::RejectPlan { request, .. }
        | ControlRequest::AbortPlan { request, .. }
        | ControlRequest::PausePlan { request, .. }
        | ControlRequest::ResumePlan { request, .. }
        | ControlRequest::Attest { request, .. }
        | ControlRequest::AdmitHost { request, .. }
        | ControlRequest::InviteHost { request, .. }
        | ControlRequest::RevokeInvitation { request, .. }
        | ControlRequest::Hold { request, .. }
        | ControlRequest::Release { request, .. } => *request,
        ControlRequest::OpenSession | ControlRequest::Verify { .. } | ControlRequest::View { .. } => None,
    }
}

fn brief(reply: &Reply) -> String {
    match reply {
        Reply::Session(session) => format!("session {session}"),
        Reply::Plan { id, .. } => format!("plan {id}"),
        Reply::Changed { revision } | Reply::Hold { revision, .. } => format!("revision {revision}"),
        Reply::View { revision, .. } => format!("a view of {revision}"),
    }
}

/// Why something was refused, by its words: for counting, never for a decision of the product.
fn classify(failure: &Failure) -> &'static str {
    let text = match failure {
        Failure::NotFound(_) => return "refused: not found",
        Failure::Invalid(_) => return "refused: invalid",
        Failure::Refused(text) => text,
        _ => return "refused: other",
    };
    const WORDS: [(&str, &str); 18] = [
        (" is held by ", "refused: held"),
        ("session", "refused: session not known"),
        ("is older than its validity", "refused: expired"),
        ("is not that of plan", "refused: other digest"),
        ("has approved plan", "refused: approved already"),
        ("people besides", "refused: the requester may not"),
        ("no longer fits", "refused: facts changed"),
        ("not now:", "refused: guard"),
        ("is claimed by running plan", "refused: claimed"),
        ("attestation names boot", "refused: other boot"),
        ("nothing to do", "refused: nothing to do"),
        ("is void", "refused: plan void"),
        (" is running", "refused: plan running"),
        (" is done", "refused: plan done"),
        ("can't be drained now", "refused: drain not possible"),
        ("can become master", "refused: no target"),
        ("does not present disk", "refused: no such disk presented"),
        ("first: slotctl failover", "refused: still master"),
    ];
    let found = WORDS.iter().find(|(words, _)| text.contains(words));
    found.map_or("refused: other", |(_, name)| *name)
}
