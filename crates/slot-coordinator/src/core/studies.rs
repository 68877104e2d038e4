//! Studies under way.
//!
//! What always holds: what waits for a study is answered exactly once, by what was found or by why nothing was; a plan is recorded only by
//! the leadership that asked for it, and from then on it is as any other proposal (R17, R21).

use super::CoordinatorCore;
use super::control::{ENVELOPE_BYTES, Wish};
use super::io::{Effect, Failure, Reply};
use super::lead::Draft;
use super::proposer::Purpose;
use super::study::{Found, Study};
use super::views::Said;
use slot_machine::command::{Command, RequestId};
use slot_raft::MAX_PROPOSAL_BYTES;
use slot_types::codec;
use slot_types::ids::Revision;
use slot_types::view::Query;
use std::collections::BTreeMap;

/// So many may be under way; each has a copy of the cluster.
const STUDIES_MAX: usize = 32;

/// Studies by their number.
#[derive(Default)]
pub(super) struct Studies {
    last: u64,
    waiting: BTreeMap<u64, Waiting>,
}

/// What waits for a study.
pub(super) enum Waiting {
    /// Somebody who asked for a view.
    View { token: u64, revision: Revision, confirmed: bool },
    /// Somebody who asked for a plan, in this term.
    Plan { token: u64, term: u64, request: Option<RequestId> },
}

impl Waiting {
    fn token(&self) -> u64 {
        match self {
            Self::View { token, .. } | Self::Plan { token, .. } => *token,
        }
    }
}

impl CoordinatorCore {
    /// Wishes that an answer be looked for.
    pub(super) fn study(&mut self, waiting: Waiting, study: Study) {
        if self.studies.waiting.len() >= STUDIES_MAX {
            let text = format!("{STUDIES_MAX} questions to the planner are under way here; ask again in a moment");
            return self.reply(waiting.token(), Err(Failure::Refused(text)));
        }
        self.studies.last += 1;
        let number = self.studies.last;
        self.studies.waiting.insert(number, waiting);
        self.out.push(Effect::Study { number, study: Box::new(study) });
    }

    /// It was looked for.
    pub(super) fn studied(&mut self, number: u64, found: Result<Found, String>) {
        let Some(waiting) = self.studies.waiting.remove(&number) else { return };
        match (waiting, found) {
            (waiting, Err(why)) => {
                let text =
                    format!("{why}; nothing has changed: this is a fault of slotd, please report it with its log");
                self.reply(waiting.token(), Err(Failure::Refused(text)));
            }
            (Waiting::View { token, revision, confirmed }, Ok(Found::View(bytes))) => {
                self.reply(token, Ok(Reply::View { bytes, revision, confirmed }));
            }
            (Waiting::Plan { token, term, request }, Ok(Found::Plan(planned))) => {
                self.planned(token, term, request, planned);
            }
            (waiting, Ok(_)) => {
                self.reply(
                    waiting.token(),
                    Err(Failure::Refused("something else was found than was asked for".into())),
                );
            }
        }
    }

    /// Records a plan that was found.
    fn planned(&mut self, token: u64, term: u64, request: Option<RequestId>, planned: Result<Vec<u8>, String>) {
        if self.lead.as_ref().is_none_or(|lead| lead.term != term || !lead.ready) {
            let leader = self.other_leader();
            return self.reply(token, Err(Failure::NotLeader { leader }));
        }
        match planned {
            Ok(bytes) if bytes.len() > MAX_PROPOSAL_BYTES - ENVELOPE_BYTES => {
                let text = format!("the plan has {} bytes, too many for the log; plan less at once", bytes.len());
                self.reply(token, Err(Failure::Refused(text)));
            }
            Ok(bytes) => {
                let command = Command::RecordPlan { bytes };
                self.proposer.propose(self.now, self.state.log_time, request, command, Purpose::Request(token));
            }
            Err(refusal) => self.reply(token, Err(Failure::Refused(refusal))),
        }
    }

    /// Answers a query from the state as it is, at once or once the planner was asked.
    pub(super) fn say(&mut self, token: u64, query: &Query, confirmed: bool) {
        let revision = self.state.revision;
        match self.eyes(|eyes| eyes.say(query)) {
            Said::View(view) => {
                self.reply(token, Ok(Reply::View { bytes: codec::encode(&view), revision, confirmed }));
            }
            Said::Study(study) => self.study(Waiting::View { token, revision, confirmed }, *study),
        }
    }

    /// Plans an intent: a retry of a remembered request is answered as the first was (R21).
    pub(super) fn make_plan(&mut self, token: u64, wish: Wish) {
        let Wish { by, request, intent, reason } = wish;
        let remembered =
            request.and_then(|r| self.state.sessions.get(&r.session).and_then(|s| s.answers.get(&r.sequence))).cloned();
        if let Some(answer) = remembered {
            return self.reply_answer(token, answer);
        }
        let term = self.lead.as_ref().map_or(0, |lead| lead.term);
        match self.draft(intent, Some(by), reason, None).map(Draft::study) {
            Ok(study) => self.study(Waiting::Plan { token, term, request }, study),
            Err(refusal) => self.reply(token, Err(Failure::Refused(refusal))),
        }
    }
}
