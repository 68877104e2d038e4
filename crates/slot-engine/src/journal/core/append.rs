//! Clients' appends: accepted, held, placed, acknowledged.
//!
//! What always holds: a refusal means the record was not and will not be written by this request; "unknown" is said
//! whenever it may have been. A record that is present is answered with its own index and never written twice (R21).

use super::api::*;
use super::record::{Body, PAYLOAD_MAX, Record};
use super::{Effect, JournalCore};
use slot_planted::planted;
use slot_types::engine::EngineRole;
use slot_types::ids::Epoch;

/// Bytes of payload in one disk operation.
const BATCH_BYTES: usize = 1 << 20;
/// Records in one disk operation.
const BATCH_RECORDS: usize = 2048;
/// Bytes of payload held back.
const HELD_BYTES: usize = 32 << 20;

/// A deliberate bug, in no shipped build (R2): what waits for the disk outlives a demote and is then acknowledged.
fn acknowledges_late() -> bool {
    planted("r2-ack-without-recheck")
}

/// A deliberate bug, in no shipped build (R2): role and epoch are looked at when an append comes and never again.
pub(super) fn appends_late() -> bool {
    planted("r2-append-after-demote")
}

/// An append that is not in the log yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub request: RequestId,
    pub peer: bool,
    pub append: Append,
    pub deadline: u64,
}

/// An append whose record is in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Waiting {
    pub request: RequestId,
    pub peer: bool,
    pub index: u64,
    pub existed: bool,
    pub epoch: Epoch,
    pub deadline: u64,
}

impl JournalCore {
    pub(super) fn append(&mut self, request: RequestId, peer: bool, append: Append, budget_ms: u64) {
        if let Some(reason) = self.refuses(&append) {
            return self.refuse(request, peer, reason);
        }
        let budget =
            if budget_ms == 0 { self.config.append_budget_ms } else { budget_ms.min(self.config.append_budget_ms) };
        let deadline = self.now + budget;
        if let Some(index) = self.log.find(&append.id) {
            // R21: it is there. The answer waits until it is durable and on enough copies like any other.
            self.waiting.push(Waiting { request, peer, index, existed: true, epoch: append.epoch, deadline });
            return;
        }
        if self.held.len() >= self.config.held_max || self.held_bytes + append.payload.len() > HELD_BYTES {
            return self.refuse(request, peer, RefusedReason::Busy);
        }
        self.held_bytes += append.payload.len();
        self.held.push_back(Held { request, peer, append, deadline });
    }

    /// R2: store and epoch are compared here, under the lock that Demote takes.
    fn refuses(&self, append: &Append) -> Option<RefusedReason> {
        self.refuses_route(&append.store, append.epoch).or_else(|| {
            if append.payload.len() > PAYLOAD_MAX {
                Some(RefusedReason::Invalid)
            } else if self.log.bytes >= self.config.log_bytes_max {
                self.log.find(&append.id).is_none().then_some(RefusedReason::Full)
            } else {
                None
            }
        })
    }

    pub(super) fn refuses_route(&self, store: &slot_types::ids::StoreName, epoch: Epoch) -> Option<RefusedReason> {
        if *store != self.config.store {
            Some(RefusedReason::OtherStore)
        } else if epoch < self.meta.epoch {
            Some(RefusedReason::OlderEpoch)
        } else if epoch > self.meta.epoch {
            Some(RefusedReason::NewerEpoch)
        } else if self.role != EngineRole::Master || self.leaving {
            Some(RefusedReason::NotMaster)
        } else {
            None
        }
    }

    pub(super) fn refused(&self, reason: RefusedReason) -> Refused {
        let held = if reason == RefusedReason::OtherStore { Epoch::ZERO } else { self.meta.epoch };
        Refused { reason, held }
    }

    fn refuse(&mut self, request: RequestId, peer: bool, reason: RefusedReason) {
        let outcome = AppendOutcome::Refused(self.refused(reason));
        self.reply_append(request, peer, outcome);
    }

    fn reply_append(&mut self, request: RequestId, peer: bool, outcome: AppendOutcome) {
        let reply = if peer { Reply::Peer(PeerAnswer::Appended(outcome)) } else { Reply::Append(outcome) };
        self.reply(request, reply);
    }

    /// R24: whether enough followers are there for a write to be acknowledged at all.
    fn has_enough_followers(&self) -> bool {
        self.followers_alive() >= self.required_followers()
    }

    fn followers_alive(&self) -> usize {
        let alive = |f: &&super::Follower| f.heard + self.config.follower_ms > self.now;
        self.followers.values().filter(alive).count()
    }

    /// R24: what was committed, however many there are.
    fn required_followers(&self) -> usize {
        let wanted = usize::from(self.sync_copies);
        if planted("r24-lowered-silently") { wanted.min(self.followers_alive()) } else { wanted }
    }

    /// Moves held appends into the log, in memory; the next disk operation takes them. Nothing is placed while frozen.
    pub(super) fn place_held(&mut self) {
        if (self.role != EngineRole::Master && !appends_late())
            || self.frozen.is_some()
            || self.held.is_empty()
            || !self.has_enough_followers()
        {
            return;
        }
        let (mut bytes, mut records) = (0, 0);
        while bytes < BATCH_BYTES && records < BATCH_RECORDS {
            let Some(Held { request, peer, append, deadline }) = self.held.pop_front() else { return };
            self.held_bytes -= append.payload.len();
            let epoch = append.epoch;
            let there = self.log.find(&append.id).filter(|_| !planted("r21-record-looked-for-once"));
            let (index, existed) = match there {
                Some(index) => (index, true),
                None => {
                    bytes += append.payload.len();
                    records += 1;
                    let record = Record { epoch, body: Body::Data { id: append.id, payload: append.payload } };
                    let index = self.log.length();
                    let encoded = record.to_bytes();
                    self.log.push(&record, encoded);
                    (index, false)
                }
            };
            self.waiting.push(Waiting { request, peer, index, existed, epoch, deadline });
        }
    }

    /// Records below this are durable here and on `sync_copies` followers (R24: the number is never lowered here).
    pub(super) fn acknowledged_length(&self) -> u64 {
        let here = if planted("p10-ack-before-fsync") { self.log.length() } else { self.log.durable };
        let Some(nth) = self.required_followers().checked_sub(1) else { return here };
        let mut lengths: Vec<u64> = self.followers.values().map(|f| f.length).collect();
        lengths.sort_unstable_by(|a, b| b.cmp(a));
        lengths.get(nth).copied().unwrap_or(0).min(here)
    }

    /// Between fsync and acknowledgement, role and epoch are compared again (R2).
    pub(super) fn acknowledge(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        let length = self.acknowledged_length();
        let (ready, waiting): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.waiting).into_iter().partition(|w| w.index < length);
        self.waiting = waiting;
        if !ready.is_empty() {
            self.out.push(Effect::Milestone("journal-before-ack"));
        }
        for done in ready {
            let is_master = self.role == EngineRole::Master && self.meta.epoch == done.epoch;
            let outcome = if is_master || acknowledges_late() || appends_late() {
                AppendOutcome::Done { index: done.index, existed: done.existed }
            } else {
                AppendOutcome::Unknown { why: "it stopped being master before it could answer".into() }
            };
            self.reply_append(done.request, done.peer, outcome);
        }
    }

    /// No append is accepted or acknowledged after this; what is in the log stays there and belongs to the final tip.
    pub(super) fn stop_serving(&mut self) {
        self.held_bytes = if appends_late() { self.held_bytes } else { 0 };
        let held = if appends_late() { Default::default() } else { std::mem::take(&mut self.held) };
        for held in held {
            let reason = self.refuses_route(&held.append.store, held.append.epoch).unwrap_or(RefusedReason::NotMaster);
            self.refuse(held.request, held.peer, reason);
        }
        let waiting = if acknowledges_late() { Vec::new() } else { std::mem::take(&mut self.waiting) };
        for wait in waiting {
            let why = "it stopped being master before it could answer".into();
            self.reply_append(wait.request, wait.peer, AppendOutcome::Unknown { why });
        }
        for read in std::mem::take(&mut self.reads) {
            let reason = self.refuses_route(&read.read.store, read.read.epoch).unwrap_or(RefusedReason::NotMaster);
            let refused = self.refused(reason);
            self.reply(read.request, Reply::Read(ReadOutcome::Refused(refused)));
        }
    }

    pub(super) fn expire_appends(&mut self) {
        let now = self.now;
        if self.held.iter().any(|h| h.deadline <= now) {
            let reason = if self.frozen.is_some() {
                RefusedReason::Frozen
            } else if !self.has_enough_followers() {
                RefusedReason::TooFewCopies
            } else {
                RefusedReason::Busy
            };
            let (late, held): (Vec<_>, Vec<_>) =
                std::mem::take(&mut self.held).into_iter().partition(|h| h.deadline <= now);
            self.held = held.into();
            self.held_bytes = self.held.iter().map(|h| h.append.payload.len()).sum();
            for held in late {
                self.refuse(held.request, held.peer, reason);
            }
        }
        if self.waiting.iter().any(|w| w.deadline <= now) {
            let (late, waiting): (Vec<_>, Vec<_>) =
                std::mem::take(&mut self.waiting).into_iter().partition(|w| w.deadline <= now);
            self.waiting = waiting;
            for wait in late {
                let why = "it is in the log but not yet durable on enough copies".into();
                self.reply_append(wait.request, wait.peer, AppendOutcome::Unknown { why });
            }
        }
    }
}
