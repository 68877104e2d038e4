//! The border between our own message types and raft-rs's.
//!
//! What always holds: raft-rs's structs are filled in field by field, its parser is never called on foreign bytes, and
//! a number that is no value of its enum is refused, never turned into another value.

use raft::eraftpb;
use slot_proto::pb::{RaftConfChange, RaftConfChangeTransition, RaftMemberChangeType};
use slot_proto::pb::{
    RaftConfState, RaftEntry, RaftEntryType, RaftHardState, RaftMessage, RaftMessageType, RaftSnapshot,
};
use slot_proto::raft::decode_conf_change;

/// The message types peers exchange; every other one of raft-rs is local, forwarded or unused here.
const TYPES: [(RaftMessageType, eraftpb::MessageType); 10] = [
    (RaftMessageType::Append, eraftpb::MessageType::MsgAppend),
    (RaftMessageType::AppendResponse, eraftpb::MessageType::MsgAppendResponse),
    (RaftMessageType::RequestVote, eraftpb::MessageType::MsgRequestVote),
    (RaftMessageType::RequestVoteResponse, eraftpb::MessageType::MsgRequestVoteResponse),
    (RaftMessageType::Snapshot, eraftpb::MessageType::MsgSnapshot),
    (RaftMessageType::Heartbeat, eraftpb::MessageType::MsgHeartbeat),
    (RaftMessageType::HeartbeatResponse, eraftpb::MessageType::MsgHeartbeatResponse),
    (RaftMessageType::TimeoutNow, eraftpb::MessageType::MsgTimeoutNow),
    (RaftMessageType::RequestPreVote, eraftpb::MessageType::MsgRequestPreVote),
    (RaftMessageType::RequestPreVoteResponse, eraftpb::MessageType::MsgRequestPreVoteResponse),
];

/// A checked message of a peer as raft-rs wants it; the error says what is wrong.
pub(crate) fn message_to_raft(message: RaftMessage) -> Result<eraftpb::Message, String> {
    let kind = message.r#type();
    let (_, kind) = TYPES.iter().find(|(own, _)| *own == kind).ok_or("its type is unknown")?;
    let mut out = eraftpb::Message::default();
    out.set_msg_type(*kind);
    out.to = message.to;
    out.from = message.from;
    out.term = message.term;
    out.log_term = message.log_term;
    out.index = message.index;
    out.commit = message.commit;
    out.commit_term = message.commit_term;
    out.reject = message.reject;
    out.reject_hint = message.reject_hint;
    out.context = message.context.into();
    let entries: Vec<_> = message.entries.into_iter().map(entry_to_raft).collect::<Result<_, _>>()?;
    out.set_entries(entries.into());
    if let Some(snapshot) = &message.snapshot {
        out.set_snapshot(snapshot_to_raft(snapshot));
    }
    Ok(out)
}

/// A message of raft-rs for a peer; none for a type peers do not exchange.
pub(crate) fn message_from_raft(message: &eraftpb::Message) -> Option<RaftMessage> {
    let kind = message.get_msg_type();
    let (kind, _) = TYPES.iter().find(|(_, theirs)| *theirs == kind)?;
    Some(RaftMessage {
        r#type: *kind as i32,
        to: message.to,
        from: message.from,
        term: message.term,
        log_term: message.log_term,
        index: message.index,
        entries: message.get_entries().iter().map(entry_from_raft).collect(),
        commit: message.commit,
        commit_term: message.commit_term,
        snapshot: message.has_snapshot().then(|| snapshot_from_raft(message.get_snapshot())),
        reject: message.reject,
        reject_hint: message.reject_hint,
        context: message.context.to_vec(),
    })
}

pub(crate) fn entry_to_raft(entry: RaftEntry) -> Result<eraftpb::Entry, String> {
    let mut out = eraftpb::Entry::default();
    match entry.r#type() {
        RaftEntryType::Normal => out.set_entry_type(eraftpb::EntryType::EntryNormal),
        RaftEntryType::ConfChange => {
            conf_change_to_raft(&entry.data)?;
            out.set_entry_type(eraftpb::EntryType::EntryConfChangeV2);
        }
        RaftEntryType::Unspecified => return Err(format!("entry {} is of unknown type {}", entry.index, entry.r#type)),
    }
    out.term = entry.term;
    out.index = entry.index;
    out.data = entry.data.into();
    Ok(out)
}

pub(crate) fn entry_from_raft(entry: &eraftpb::Entry) -> RaftEntry {
    let kind = match entry.get_entry_type() {
        eraftpb::EntryType::EntryNormal => RaftEntryType::Normal,
        // The first version is never proposed here and refused from peers.
        eraftpb::EntryType::EntryConfChange | eraftpb::EntryType::EntryConfChangeV2 => RaftEntryType::ConfChange,
    };
    RaftEntry { r#type: kind as i32, term: entry.term, index: entry.index, data: entry.data.to_vec() }
}

pub(crate) fn snapshot_to_raft(snapshot: &RaftSnapshot) -> eraftpb::Snapshot {
    let mut out = eraftpb::Snapshot { data: snapshot.data.clone().into(), ..Default::default() };
    let meta = out.mut_metadata();
    meta.index = snapshot.index;
    meta.term = snapshot.term;
    meta.set_conf_state(conf_state_to_raft(&snapshot.conf_state.clone().unwrap_or_default()));
    out
}

pub(crate) fn snapshot_from_raft(snapshot: &eraftpb::Snapshot) -> RaftSnapshot {
    let meta = snapshot.get_metadata();
    RaftSnapshot {
        index: meta.index,
        term: meta.term,
        conf_state: Some(conf_state_from_raft(meta.get_conf_state())),
        data: snapshot.data.to_vec(),
    }
}

pub(crate) fn conf_state_to_raft(state: &RaftConfState) -> eraftpb::ConfState {
    let mut out = eraftpb::ConfState::default();
    out.set_voters(state.voters.clone());
    out.set_learners(state.learners.clone());
    out.set_voters_outgoing(state.voters_outgoing.clone());
    out.set_learners_next(state.learners_next.clone());
    out.auto_leave = state.auto_leave;
    out
}

/// Sorted: raft-rs keeps members in hash order, and what is stored must be the same bytes on every node.
pub(crate) fn conf_state_from_raft(state: &eraftpb::ConfState) -> RaftConfState {
    let sorted = |list: &[u64]| {
        let mut list = list.to_vec();
        list.sort_unstable();
        list
    };
    RaftConfState {
        voters: sorted(state.get_voters()),
        learners: sorted(state.get_learners()),
        voters_outgoing: sorted(state.get_voters_outgoing()),
        learners_next: sorted(state.get_learners_next()),
        auto_leave: state.auto_leave,
    }
}

pub(crate) fn hard_state_from_raft(state: &eraftpb::HardState) -> RaftHardState {
    RaftHardState { term: state.term, vote: state.vote, commit: state.commit }
}

/// Reads the data of a conf change entry with our own parser.
pub(crate) fn conf_change_to_raft(data: &[u8]) -> Result<eraftpb::ConfChangeV2, String> {
    let change: RaftConfChange = decode_conf_change(data).map_err(|e| e.to_string())?;
    let mut out = eraftpb::ConfChangeV2::default();
    out.set_transition(match RaftConfChangeTransition::try_from(change.transition) {
        Ok(RaftConfChangeTransition::Auto) => eraftpb::ConfChangeTransition::Auto,
        Ok(RaftConfChangeTransition::Implicit) => eraftpb::ConfChangeTransition::Implicit,
        Ok(RaftConfChangeTransition::Explicit) => eraftpb::ConfChangeTransition::Explicit,
        Err(_) => return Err(format!("a change of members has unknown transition {}", change.transition)),
    });
    let mut singles = Vec::with_capacity(change.changes.len());
    for wish in &change.changes {
        let mut single = eraftpb::ConfChangeSingle::default();
        single.set_change_type(match RaftMemberChangeType::try_from(wish.r#type) {
            Ok(RaftMemberChangeType::AddVoter) => eraftpb::ConfChangeType::AddNode,
            Ok(RaftMemberChangeType::Remove) => eraftpb::ConfChangeType::RemoveNode,
            Ok(RaftMemberChangeType::AddLearner) => eraftpb::ConfChangeType::AddLearnerNode,
            Err(_) => return Err(format!("a change of a member has unknown type {}", wish.r#type)),
        });
        if wish.node_id == 0 {
            return Err("a change of members names node 0".into());
        }
        single.node_id = wish.node_id;
        singles.push(single);
    }
    out.set_changes(singles.into());
    Ok(out)
}
