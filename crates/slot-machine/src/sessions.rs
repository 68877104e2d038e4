//! Deduplication of clients' requests (R21).
//!
//! What always holds: a remembered answer is a set by sequence, never a high-water mark; a request of a session that is
//! not known any more is refused, never applied anew.

use crate::command::{Answer, Refused, RequestId};
use crate::state::{ANSWERS_PER_SESSION_MAX, SESSIONS_MAX, Session, State};
use slot_planted::planted;
use slot_types::ids::LogIndex;

pub(crate) fn open(state: &mut State, index: LogIndex) -> u64 {
    if state.sessions.len() >= SESSIONS_MAX {
        let oldest = state.sessions.iter().min_by_key(|(id, s)| (s.last_used, **id)).map(|(id, _)| *id);
        if let Some(oldest) = oldest {
            state.sessions.remove(&oldest);
        }
    }
    // The index of the opening entry is unique for all time: a session is never reused.
    state.sessions.insert(index.0, Session { last_used: index, ..Session::default() });
    index.0
}

/// The answer a request already has, or why it can't be answered; `None` when it is new.
pub(crate) fn remembered(state: &mut State, request: RequestId, index: LogIndex) -> Option<Answer> {
    let Some(session) = state.sessions.get_mut(&request.session) else {
        if planted("r21-evicted-session-applied-anew") {
            return None;
        }
        return Some(Answer::Refused(Refused::SessionUnknown(request.session)));
    };
    session.last_used = index;
    if let Some(answer) = session.answers.get(&request.sequence) {
        return Some(answer.clone());
    }
    if planted("r21-dedup-by-high-water-mark")
        && let Some((_, latest)) = session.answers.last_key_value().filter(|(last, _)| request.sequence < **last)
    {
        return Some(latest.clone());
    }
    (request.sequence < session.forgotten)
        .then_some(Answer::Refused(Refused::SequenceTooOld { session: request.session, sequence: request.sequence }))
}

pub(crate) fn remember(state: &mut State, request: RequestId, index: LogIndex, answer: &Answer) {
    let Some(session) = state.sessions.get_mut(&request.session) else { return };
    session.last_used = index;
    session.answers.insert(request.sequence, answer.clone());
    while session.answers.len() > ANSWERS_PER_SESSION_MAX {
        if let Some((sequence, _)) = session.answers.pop_first() {
            session.forgotten = session.forgotten.max(sequence.saturating_add(1));
        }
    }
}
