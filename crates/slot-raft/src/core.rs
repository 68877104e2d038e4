//! The one entrance: an input in, effects out.
//!
//! What always holds:
//!
//! - After a step raft-rs has nothing ready any more, and everything handed out as committed counts as applied, since
//!   the caller applies it before the next step.
//! - While a snapshot of the leader is being written, this node is deaf: no tick, no message, no proposal. raft-rs
//!   would look for entries it no longer has, and two snapshots back to back would meet in the middle.
//! - raft-rs's election timeout is written over after every call into it.

use crate::batch::PersistBatch;
use crate::check::{View, check};
use crate::config::{MAX_PROPOSAL_BYTES, MAX_TICKS_PER_STEP, RaftConfig, RaftError};
use crate::convert;
use crate::effects::{Effects, Input, InstallSnapshot, MemberChange, Refusal, RoleChange};
use crate::members::{Members, to_conf_change};
use crate::mirror::Mirror;
use crate::raft_log::logger;
use crate::reads::Reads;
use crate::restored::Restored;
use crate::timeouts::ElectionTimeouts;
use raft::eraftpb::ConfState;
use raft::{INVALID_ID, ProgressState, RawNode, SnapshotStatus, StateRole, Storage};
use slot_planted::planted;
use slot_proto::pb::{RaftConfState, RaftHardState, RaftMessage, RaftSnapshot};
use std::collections::{BTreeMap, VecDeque};

/// A batch handed out and not yet reported durable.
pub(crate) struct UnderWay {
    pub(crate) seq: u64,
    /// The last of raft-rs's readies whose content is in it.
    pub(crate) ready: u64,
    /// It holds entries or a snapshot from raft-rs.
    pub(crate) carries_log: bool,
}

/// One node's Raft. Single-threaded; see the crate's documentation for the loop around it.
pub struct RaftCore {
    pub(crate) config: RaftConfig,
    pub(crate) node: RawNode<Mirror>,
    pub(crate) timeouts: ElectionTimeouts,
    pub(crate) reads: Reads,
    pub(crate) conf_state: ConfState,
    /// When the last tick was due; none before the first step.
    last_tick: Option<u64>,
    /// The last entry handed out, of any kind.
    pub(crate) delivered: u64,
    /// The last entry of the application handed out, or the snapshot before it.
    pub(crate) delivered_data: u64,
    pub(crate) batch: PersistBatch,
    pub(crate) batch_carries_log: bool,
    pub(crate) under_way: VecDeque<UnderWay>,
    pub(crate) last_seq: u64,
    pub(crate) persisted_seq: u64,
    pub(crate) last_ready: u64,
    /// The batch that holds the newest term and vote.
    pub(crate) vote_seq: u64,
    pub(crate) hard_state: RaftHardState,
    pub(crate) hard_state_batched: RaftHardState,
    /// Messages and the batch each waits for.
    pub(crate) held: Vec<(u64, RaftMessage)>,
    /// The snapshot being written, to be installed when it is durable.
    pub(crate) installing: Option<InstallSnapshot>,
    snapshots_since: BTreeMap<u64, u64>,
    reported: RoleChange,
    refused: u64,
}

impl RaftCore {
    /// A node from what its disk holds. The application begins with the restored snapshot's state; what is committed
    /// after it comes out of the first step. The seed moves election timeouts only: in production it is drawn at
    /// random.
    pub fn new(config: RaftConfig, restored: Restored, rng_seed: u64) -> Result<Self, RaftError> {
        let node_id = config.node_id;
        let damaged = |detail: String| RaftError::Damaged { node_id, detail };
        restored.check().map_err(damaged)?;
        if config.tick_ms == 0 {
            return Err(RaftError::Config { node_id, detail: "a tick of 0 ms".into() });
        }
        let hard_state = restored.hard_state;
        let mirror = Mirror::new(restored).map_err(damaged)?;
        let applied = if planted("raft-applied-without-effect") { hard_state.commit } else { mirror.snapshot_index() };
        let conf_state = mirror.members().clone();
        let raft_config = config.to_raft(applied);
        raft_config.validate().map_err(|e| RaftError::Config { node_id, detail: e.to_string() })?;
        let timeout_range = raft_config.min_election_tick()..raft_config.max_election_tick();
        let mut timeouts = ElectionTimeouts::new(rng_seed, node_id, config.incarnation, timeout_range);
        let mut node = RawNode::new(&raft_config, mirror, &logger(node_id)).map_err(|e| damaged(e.to_string()))?;
        timeouts.pin(&mut node.raft, false);
        let reported = RoleChange { leader: None, term: hard_state.term, is_leader: false };
        Ok(Self {
            config,
            node,
            timeouts,
            reads: Reads::default(),
            conf_state,
            last_tick: None,
            delivered: applied,
            delivered_data: applied,
            batch: PersistBatch::default(),
            batch_carries_log: false,
            under_way: VecDeque::new(),
            last_seq: 0,
            persisted_seq: 0,
            last_ready: 0,
            vote_seq: 0,
            hard_state,
            hard_state_batched: hard_state,
            held: Vec::new(),
            installing: None,
            snapshots_since: BTreeMap::new(),
            reported,
            refused: 0,
        })
    }

    /// Takes one input at a moment of a clock that never goes back, in milliseconds.
    pub fn step(&mut self, now_ms: u64, input: Input) -> Effects {
        self.step_all(now_ms, [input])
    }

    /// Takes several inputs at the same moment: what they propose shares one batch and one message to each peer.
    pub fn step_all(&mut self, now_ms: u64, inputs: impl IntoIterator<Item = Input>) -> Effects {
        let mut effects = Effects::default();
        self.run_ticks(now_ms, &mut effects);
        for input in inputs {
            self.take(now_ms, input, &mut effects);
        }
        self.drain(&mut effects);
        self.run_reads(now_ms, &mut effects);
        self.finish(effects)
    }

    /// When `step` must be called next, if nothing happens before.
    pub fn next_deadline(&self) -> u64 {
        let tick = self.last_tick.map_or(0, |last| last.saturating_add(self.config.tick_ms));
        self.reads.deadline().map_or(tick, |read| read.min(tick))
    }

    /// The last entry handed out and applied, of any kind.
    pub fn applied(&self) -> u64 {
        self.delivered
    }

    /// The highest index known to be committed.
    pub fn committed(&self) -> u64 {
        self.node.raft.raft_log.committed
    }

    /// The last index of the log.
    pub fn last_index(&self) -> u64 {
        self.node.raft.raft_log.last_index()
    }

    /// The first index still in the log.
    pub fn first_index(&self) -> u64 {
        self.node.raft.raft_log.first_index()
    }

    /// The term.
    pub fn term(&self) -> u64 {
        self.node.raft.term
    }

    /// The leader this node knows of.
    pub fn leader(&self) -> Option<u64> {
        let leader = self.node.raft.leader_id;
        (leader != INVALID_ID).then_some(leader)
    }

    /// This node leads. It may have been deposed without knowing: confirm by a read before acting on it.
    pub fn is_leader(&self) -> bool {
        self.node.raft.state == StateRole::Leader
    }

    /// This node leads and has applied an entry of its own term: its state is as new as any leader's before it.
    pub fn is_current_leader(&self) -> bool {
        self.is_leader() && self.node.raft.apply_to_current_term()
    }

    /// The members, as of the last entry applied.
    pub fn members(&self) -> Members {
        Members::of(&self.conf_state)
    }

    /// How many inputs have been refused.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    pub(crate) fn pin(&mut self, campaigned: bool) {
        self.timeouts.pin(&mut self.node.raft, campaigned);
    }

    fn run_ticks(&mut self, now: u64, effects: &mut Effects) {
        let last = *self.last_tick.get_or_insert(now);
        let due = now.saturating_sub(last) / self.config.tick_ms;
        self.last_tick = Some(if due > MAX_TICKS_PER_STEP { now } else { last + due * self.config.tick_ms });
        for _ in 0..due.min(MAX_TICKS_PER_STEP) {
            // A lone voter wins the moment it campaigns, and must have its entries on disk by then.
            let lone_and_waiting = !self.is_leader() && self.entries_under_way() && self.node.raft.prs().is_singleton();
            if self.installing.is_some() || lone_and_waiting {
                continue;
            }
            let leading = self.is_leader();
            let acted = self.node.tick();
            self.pin(acted && !leading);
            self.drain(effects);
        }
        if due > 0 {
            self.give_up_lost_snapshots(now);
        }
    }

    /// A snapshot whose fate nobody reports would keep its peer waiting for ever.
    fn give_up_lost_snapshots(&mut self, now: u64) {
        let mut sending = BTreeMap::new();
        if self.is_leader() {
            for (id, progress) in self.node.raft.prs().iter() {
                if progress.state == ProgressState::Snapshot {
                    sending.insert(*id, self.snapshots_since.get(id).copied().unwrap_or(now));
                }
            }
        }
        self.snapshots_since = sending;
        let timeout = self.config.snapshot_timeout_ms;
        let lost: Vec<u64> =
            self.snapshots_since.iter().filter(|(_, since)| now - **since >= timeout).map(|(id, _)| *id).collect();
        for peer in lost {
            self.snapshots_since.remove(&peer);
            self.report_snapshot(peer, SnapshotStatus::Failure);
            self.pin(false);
        }
    }

    fn report_snapshot(&mut self, peer: u64, status: SnapshotStatus) {
        if !planted("raft-snapshot-never-reported") {
            self.node.report_snapshot(peer, status);
        }
    }

    fn take(&mut self, now: u64, input: Input, effects: &mut Effects) {
        match input {
            Input::Tick => {}
            Input::Message(message) => self.take_message(message, effects),
            Input::Propose { request, data } => self.propose(request, data, effects),
            Input::ChangeMembers { request, changes } => self.change_members(request, &changes, effects),
            Input::ReadIndex { token } if self.is_leader() && self.installing.is_none() => {
                self.reads.add(token, now.saturating_add(self.config.read_timeout_ms));
            }
            Input::ReadIndex { token } => effects.read_failed.push((token, self.hint())),
            Input::Persisted { seq } => self.persisted(seq, effects),
            Input::Compact { index, snapshot_data } => self.compact(index, snapshot_data, effects),
            // On a follower raft-rs would forward it; peers do not take such messages.
            Input::TransferLeader { to } if self.is_leader() => self.node.transfer_leader(to),
            Input::TransferLeader { .. } => {}
            Input::ReportUnreachable { peer } => self.node.report_unreachable(peer),
            Input::ReportSnapshot { peer, ok } => {
                let status = if ok { SnapshotStatus::Finish } else { SnapshotStatus::Failure };
                self.report_snapshot(peer, status);
            }
        }
        self.pin(false);
    }

    fn take_message(&mut self, message: RaftMessage, effects: &mut Effects) {
        let view = View {
            node: self.config.node_id,
            term: self.term(),
            last_index: self.last_index(),
            installing: self.installing.is_some(),
            leading: self.is_leader(),
            entries_under_way: self.entries_under_way(),
        };
        match check(message, &view) {
            // Whatever raft-rs returns here means that it did not take the message, as if it had been lost.
            Ok(message) => drop(self.node.step(message)),
            Err(refusal) => effects.refused.push(refusal),
        }
    }

    fn propose(&mut self, request: u64, data: Vec<u8>, effects: &mut Effects) {
        if data.is_empty() || data.len() > MAX_PROPOSAL_BYTES {
            effects.refused.push(Refusal::ProposalSize { bytes: data.len(), most: MAX_PROPOSAL_BYTES });
            effects.proposals_dropped.push((request, self.hint()));
            return;
        }
        // Never forwarded: a follower would send it on, and could not say what became of it.
        if !self.is_leader() || self.node.propose(Vec::new(), data).is_err() {
            effects.proposals_dropped.push((request, self.hint()));
        }
    }

    fn change_members(&mut self, request: u64, changes: &[MemberChange], effects: &mut Effects) {
        let allowed = if !self.is_leader() {
            Err("this node does not lead".to_string())
        } else if self.node.raft.has_pending_conf() {
            Err("another change is under way, or this node has just become leader; try again".to_string())
        } else {
            self.members().after(changes, self.config.node_id).map(|_| ())
        };
        let proposed = allowed.and_then(|()| {
            self.node.propose_conf_change(Vec::new(), to_conf_change(changes)).map_err(|e| e.to_string())
        });
        if let Err(detail) = proposed {
            effects.refused.push(Refusal::MemberChange { detail });
            effects.proposals_dropped.push((request, self.hint()));
        }
    }

    fn compact(&mut self, index: u64, data: Vec<u8>, effects: &mut Effects) {
        // Entries of Raft itself may follow the application's last one; its state is the same after them.
        if index < self.delivered_data || index > self.delivered || self.installing.is_some() {
            effects.refused.push(Refusal::CompactElsewhere { index, delivered: self.delivered });
            return;
        }
        let at = self.delivered;
        if at <= self.node.store().snapshot_index() {
            return;
        }
        // What is applied is in the log: its term is known.
        let Ok(term) = self.node.store().term(at) else { return };
        let conf_state: RaftConfState = convert::conf_state_from_raft(&self.conf_state);
        let snapshot = RaftSnapshot { index: at, term, conf_state: Some(conf_state), data };
        let keep_after = at.saturating_sub(self.config.log_tail);
        self.batch.log_start = self.node.mut_store().compact(snapshot.clone(), keep_after).or(self.batch.log_start);
        self.batch.snapshot = Some(snapshot);
    }

    fn run_reads(&mut self, now: u64, effects: &mut Effects) {
        let leading_term = self.is_leader().then(|| self.term());
        let mut failed = self.reads.fail_unconfirmed(leading_term);
        failed.extend(self.reads.expire(now));
        let hint = self.hint();
        effects.read_failed.extend(failed.into_iter().map(|token| (token, hint)));
        // raft-rs drops a read silently before the leader has committed in its own term: it waits here instead.
        if let Some(term) = leading_term.filter(|_| self.node.raft.commit_to_current_term())
            && let Some(context) = self.reads.begin_round(term)
        {
            self.node.read_index(context);
            self.pin(false);
            self.drain(effects);
        }
        effects.reads.extend(self.reads.answer(self.delivered));
    }

    /// Whom to ask instead.
    fn hint(&self) -> Option<u64> {
        self.leader().filter(|leader| *leader != self.config.node_id)
    }

    fn finish(&mut self, mut effects: Effects) -> Effects {
        effects.persist = self.close_batch();
        effects.snapshot_wanted = self.node.store().take_newer_wanted();
        let role = RoleChange { leader: self.leader(), term: self.term(), is_leader: self.is_leader() };
        if role != self.reported {
            self.reported = role;
            effects.role = Some(role);
        }
        self.refused += effects.refused.len() as u64;
        for refusal in &effects.refused {
            tracing::warn!(node = self.config.node_id, "{refusal}");
        }
        effects
    }
}
