//! What raft-rs has ready, turned into effects.
//!
//! What always holds: the mirror takes entries before raft-rs is told it may forget them; a message waits for the batch
//! it speaks of; committed changes of members are applied before raft-rs is told so, else it would leave a joint phase
//! twice.

use crate::batch::PersistBatch;
use crate::convert;
use crate::core::{RaftCore, UnderWay};
use crate::effects::{CommittedEntry, Effects, InstallSnapshot, Refusal};
use crate::members::Members;
use raft::Ready;
use raft::eraftpb::{Entry, EntryType, Message, MessageType};
use slot_planted::planted;
use slot_proto::pb::{RaftMessage, RaftMessageType};

impl RaftCore {
    /// Entries or a snapshot are handed out and not yet on disk.
    pub(crate) fn entries_under_way(&self) -> bool {
        self.batch_carries_log || self.under_way.iter().any(|batch| batch.carries_log)
    }

    /// Takes everything raft-rs has ready. With asynchronous readies there is no light ready: what it would hold comes
    /// in the next full one.
    pub(crate) fn drain(&mut self, effects: &mut Effects) {
        while self.node.has_ready() {
            let mut ready = self.node.ready();
            self.last_ready = ready.number();
            self.take_hard_state(&ready);
            let with_entries = !ready.entries().is_empty();
            self.take_log(&mut ready);
            for state in ready.take_read_states() {
                self.reads.confirm(&state.request_ctx, state.index);
            }
            let before = self.delivered;
            let committed = ready.take_committed_entries();
            if !(with_entries && planted("raft-committed-with-entries-dropped")) {
                self.deliver(committed, effects);
            }
            let leading = ready.take_messages();
            let following = ready.take_persisted_messages();
            self.send(leading, true, effects);
            self.send(following, false, effects);
            self.node.advance_append_async(ready);
            if self.delivered > before {
                self.node.advance_apply_to(self.delivered);
            }
            self.step_down_if_removed();
            self.pin(false);
        }
    }

    fn take_hard_state(&mut self, ready: &Ready) {
        let Some(state) = ready.hs() else { return };
        let state = convert::hard_state_from_raft(state);
        let voted = (state.term, state.vote) != (self.hard_state.term, self.hard_state.vote);
        if voted && !planted("raft-vote-not-persisted") {
            self.batch.hard_state = Some(state);
            self.vote_seq = self.last_seq + 1;
        }
        self.hard_state = state;
    }

    fn take_log(&mut self, ready: &mut Ready) {
        if !ready.snapshot().is_empty() {
            let snapshot = convert::snapshot_from_raft(ready.snapshot());
            self.installing =
                Some(InstallSnapshot { index: snapshot.index, term: snapshot.term, data: snapshot.data.clone() });
            // The node's members are the snapshot's from now on; raft-rs has switched already.
            self.conf_state = convert::conf_state_to_raft(&snapshot.conf_state.clone().unwrap_or_default());
            self.node.mut_store().replace(snapshot.clone());
            self.batch.replace_by_snapshot(snapshot);
            self.batch_carries_log = true;
        }
        let entries = ready.take_entries();
        if !entries.is_empty() {
            self.node.mut_store().append(&entries);
            self.batch.append(entries.iter().map(convert::entry_from_raft).collect());
            self.batch_carries_log = true;
        }
    }

    fn deliver(&mut self, entries: Vec<Entry>, effects: &mut Effects) {
        for entry in entries {
            self.delivered = entry.index;
            match entry.get_entry_type() {
                // The empty entry a leader begins its term with is not the application's.
                EntryType::EntryNormal if entry.data.is_empty() => {}
                EntryType::EntryNormal => {
                    self.delivered_data = entry.index;
                    let data = entry.data.to_vec();
                    effects.committed.push(CommittedEntry { index: entry.index, term: entry.term, data });
                }
                EntryType::EntryConfChange | EntryType::EntryConfChangeV2 => self.apply_conf_change(&entry, effects),
            }
        }
    }

    fn apply_conf_change(&mut self, entry: &Entry, effects: &mut Effects) {
        let applied = convert::conf_change_to_raft(&entry.data)
            .and_then(|change| self.node.apply_conf_change(&change).map_err(|e| e.to_string()));
        match applied {
            Ok(state) => {
                self.conf_state = state;
                effects.members = Some(Members::of(&self.conf_state));
            }
            // Every node refuses it the same way, so all keep the same members.
            Err(detail) => {
                effects.refused.push(Refusal::MemberChange { detail: format!("entry {}: {detail}", entry.index) })
            }
        }
    }

    /// raft-rs looks itself up among the members at every commit of a leader, and ends the process when it is not
    /// there.
    fn step_down_if_removed(&mut self) {
        let id = self.config.node_id;
        if self.is_leader() && self.node.raft.prs().get(id).is_none() {
            let term = self.term();
            self.node.raft.become_follower(term, raft::INVALID_ID);
        }
    }

    /// Sends what may go and holds the rest (S14, persist before send).
    ///
    /// A leader's messages may go before its own entries are on disk: they are counted for the leader only when they
    /// are. Its term and vote must be there, which only a lone voter's are not yet. A follower's votes and
    /// acknowledgements wait for everything handed out so far. Its answer to a heartbeat promises nothing but that it
    /// was heard in this term, so it waits for the term alone: a slow disk must not look like a dead node.
    fn send(&mut self, messages: Vec<Message>, leading: bool, effects: &mut Effects) {
        let newest = self.last_seq + u64::from(!self.batch.is_empty());
        for message in messages {
            let promises = !leading && message.get_msg_type() != MessageType::MsgHeartbeatResponse;
            let waits_for = if promises { newest } else { self.vote_seq };
            let Some(message) = convert::message_from_raft(&message) else { continue };
            if waits_for <= self.persisted_seq || planted("raft-send-before-persist") {
                effects.send.push((message.to, message));
            } else {
                self.held.push((waits_for, message));
            }
        }
    }

    /// S14: an acknowledgement of a term that has ended since. What it speaks of may have been cut by a later leader before it
    /// was ever on disk, and nobody counts it any more.
    fn is_overtaken(&self, message: &RaftMessage) -> bool {
        message.r#type() == RaftMessageType::AppendResponse && message.term < self.hard_state.term
    }

    /// A batch and all before it are on disk.
    pub(crate) fn persisted(&mut self, seq: u64, effects: &mut Effects) {
        if seq <= self.persisted_seq || !self.under_way.iter().any(|batch| batch.seq == seq) {
            effects.refused.push(Refusal::UnknownBatch { seq });
            return;
        }
        self.persisted_seq = seq;
        let mut ready = 0;
        while let Some(batch) = self.under_way.pop_front_if(|batch| batch.seq <= seq) {
            ready = batch.ready;
        }
        self.node.on_persist_ready(ready);
        self.pin(false);
        let held = std::mem::take(&mut self.held);
        for (waits_for, message) in held {
            if self.is_overtaken(&message) {
                continue;
            }
            if waits_for <= seq {
                effects.send.push((message.to, message));
            } else {
                self.held.push((waits_for, message));
            }
        }
        if !self.entries_under_way()
            && let Some(install) = self.installing.take()
        {
            self.delivered = install.index;
            self.delivered_data = install.index;
            self.node.advance_apply_to(install.index);
            self.pin(false);
            effects.install_snapshot = Some(install);
            effects.members = Some(Members::of(&self.conf_state));
        }
    }

    /// Closes the step's batch. The commit index alone is not worth a write of its own, but goes with every other one.
    pub(crate) fn close_batch(&mut self) -> Option<PersistBatch> {
        if self.batch.is_empty() {
            if self.under_way.is_empty() {
                // Nothing to write, nothing being written: raft-rs need not remember these readies.
                self.node.on_persist_ready(self.last_ready);
            }
            return None;
        }
        let mut batch = std::mem::take(&mut self.batch);
        let apart = batch.snapshot.is_some() && planted("raft-snapshot-without-hard-state");
        if self.hard_state != self.hard_state_batched && !apart {
            batch.hard_state = Some(self.hard_state);
            self.hard_state_batched = self.hard_state;
        }
        self.last_seq += 1;
        batch.seq = self.last_seq;
        let carries_log = std::mem::take(&mut self.batch_carries_log);
        self.under_way.push_back(UnderWay { seq: batch.seq, ready: self.last_ready, carries_log });
        Some(batch)
    }
}
