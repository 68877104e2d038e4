//! What a peer's message must be before raft-rs may see it.
//!
//! What always holds: no message that passes makes raft-rs panic, whatever its fields (65 places in raft-rs end
//! the process). A message that fails is as good as lost, which Raft survives; it is reported and counted.

use crate::config::MAX_POSITION;
use crate::convert;
use crate::effects::Refusal;
use crate::members::check_conf_state;
use slot_proto::pb::{RaftEntry, RaftMessage, RaftMessageType as Kind};

/// What of this node's state a message is checked against.
pub(crate) struct View {
    pub(crate) node: u64,
    pub(crate) term: u64,
    pub(crate) last_index: u64,
    /// A snapshot is being written: raft-rs would look for entries it no longer has if it campaigned now.
    pub(crate) installing: bool,
    /// This node leads.
    pub(crate) leading: bool,
    /// Entries are not on disk yet: raft-rs asserts that there are none when it becomes leader.
    pub(crate) entries_under_way: bool,
}

/// Checks a message and turns it into raft-rs's.
pub(crate) fn check(message: RaftMessage, view: &View) -> Result<raft::eraftpb::Message, Refusal> {
    let from = message.from;
    let nonsense = |detail: &str| Refusal::Nonsense { from, detail: detail.into() };
    if message.to != view.node {
        return Err(Refusal::NotForThisNode { to: message.to, node: view.node });
    }
    if from == 0 || from == view.node {
        return Err(Refusal::ImpossibleSender { from });
    }
    let kind = Kind::try_from(message.r#type).unwrap_or(Kind::Unspecified);
    if kind == Kind::Unspecified {
        return Err(Refusal::UnknownType { from, kind: message.r#type });
    }
    if view.installing {
        return Err(Refusal::Installing { from });
    }
    // A term of 0 marks a local message to raft-rs, and skips every check of terms.
    if message.term == 0 {
        return Err(nonsense("it is of term 0"));
    }
    let positions =
        [message.term, message.log_term, message.index, message.commit, message.commit_term, message.reject_hint];
    if positions.iter().any(|p| *p > MAX_POSITION) {
        return Err(nonsense("a term or index in it is impossibly large"));
    }
    if kind != Kind::Append && !message.entries.is_empty() {
        return Err(nonsense("it carries entries"));
    }
    if kind != Kind::Snapshot && message.snapshot.is_some() {
        return Err(nonsense("it carries a snapshot"));
    }
    match kind {
        Kind::Append => check_append(&message)?,
        Kind::Snapshot => check_snapshot(&message)?,
        // Lower terms are answered, not believed: only a message of this term or a later one moves the commit index.
        Kind::Heartbeat if message.term >= view.term && message.commit > view.last_index => {
            return Err(Refusal::BeyondLog { from, index: message.commit, last: view.last_index });
        }
        Kind::AppendResponse if !message.reject && message.term == view.term && message.index > view.last_index => {
            return Err(Refusal::BeyondLog { from, index: message.index, last: view.last_index });
        }
        // A correct peer's vote answers a request that left only after every entry was on disk. A leader ignores votes,
        // but may be told to campaign in a later term, and a lone one would win at once.
        Kind::TimeoutNow if view.entries_under_way => return Err(Refusal::NotYetDurable { from }),
        Kind::RequestVoteResponse | Kind::RequestPreVoteResponse if view.entries_under_way && !view.leading => {
            return Err(Refusal::NotYetDurable { from });
        }
        _ => {}
    }
    convert::message_to_raft(message).map_err(|detail| Refusal::Nonsense { from, detail })
}

/// An append's entries follow its index without a gap and in order of terms. Groups begin at index 1 of term 1, so an
/// append never follows entry 0; raft-rs takes an unknown entry's term for 0 and would see a match.
fn check_append(message: &RaftMessage) -> Result<(), Refusal> {
    let nonsense = |detail: String| Refusal::Nonsense { from: message.from, detail };
    if message.index == 0 || message.log_term == 0 {
        return Err(nonsense("it appends to entry 0 or term 0".into()));
    }
    let mut previous = (message.index, message.log_term);
    for entry in &message.entries {
        check_entry(entry, previous, message.term).map_err(nonsense)?;
        previous = (entry.index, entry.term);
    }
    Ok(())
}

fn check_entry(entry: &RaftEntry, previous: (u64, u64), term: u64) -> Result<(), String> {
    if entry.index != previous.0 + 1 {
        return Err(format!("its entries go from {} to {}", previous.0, entry.index));
    }
    if entry.term < previous.1 || entry.term > term {
        return Err(format!(
            "entry {} is of term {}, between {} and {term} expected",
            entry.index, entry.term, previous.1
        ));
    }
    Ok(())
}

fn check_snapshot(message: &RaftMessage) -> Result<(), Refusal> {
    let nonsense = |detail: String| Refusal::Nonsense { from: message.from, detail };
    let snapshot = message.snapshot.as_ref().ok_or_else(|| nonsense("it carries no snapshot".into()))?;
    if snapshot.index == 0 || snapshot.index > MAX_POSITION || snapshot.term == 0 || snapshot.term > message.term {
        return Err(nonsense(format!("its snapshot is of entry {} in term {}", snapshot.index, snapshot.term)));
    }
    let members = snapshot.conf_state.as_ref().ok_or_else(|| nonsense("its snapshot names no members".into()))?;
    check_conf_state(members).map_err(|e| nonsense(format!("its snapshot's list of members is wrong: {e}")))
}
