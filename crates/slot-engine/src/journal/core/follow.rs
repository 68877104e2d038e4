//! Pulling another copy's records, and what happens when the histories part.
//!
//! What always holds: at most one pull is under way, and only while everything here is durable, so what a pull says of
//! this copy is durable; records are taken only when the chain digest after them is the source's; nothing is cut that is
//! not in an aside file first, and nothing at all is cut for a source whose history does not supersede ours (R7).

use super::api::*;
use super::record::{Record, common_length};
use super::{Aside, JournalCore};
use slot_planted::planted;
use slot_types::engine::{EngineError, EngineRole, Source};
use slot_types::ids::Epoch;
use slot_types::position::{Digest, EpochStart, Tip};

/// Bytes asked for by one pull.
const PULL_BYTES: u64 = 1 << 20;
/// Waits between failed pulls.
const RETRY_FIRST_MS: u64 = 20;
const RETRY_LAST_MS: u64 = 1_000;
/// How much longer than the source may wait a call is waited for.
const CALL_SLACK_MS: u64 = 3_000;

/// Whom this copy pulls from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pulling {
    pub source: Source,
    pub epoch: Epoch,
    /// Follows its master; otherwise only catches up to `upto`.
    pub follow: bool,
    pub upto: u64,
    pub call: Option<u64>,
    pub next_at: u64,
    pub retry_ms: u64,
    pub heard: Option<u64>,
    pub verified: Option<u64>,
    pub head: Option<u64>,
}

/// A CatchUp that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CatchUp {
    pub request: RequestId,
    pub epoch: Epoch,
    pub source: Source,
    pub target: Tip,
    pub deadline: u64,
}

/// A source's answer that our records are not the beginning of its own.
struct Parted {
    master: bool,
    history: Vec<EpochStart>,
    head: u64,
    common: u64,
    digest: Digest,
}

impl JournalCore {
    fn pull_from(&mut self, source: Source, epoch: Epoch, follow: bool, upto: u64) {
        self.pulling = Some(Pulling {
            source,
            epoch,
            follow,
            upto,
            call: None,
            next_at: self.now,
            retry_ms: RETRY_FIRST_MS,
            heard: None,
            verified: None,
            head: None,
        });
    }

    pub(super) fn start_following(&mut self, source: Source, epoch: Epoch) {
        self.pull_from(source, epoch, true, u64::MAX);
    }

    pub(super) fn catch_up(&mut self, request: RequestId, epoch: Epoch, source: Source, target: Tip, budget_ms: u64) {
        if self.refuses_older(request, epoch) {
            return;
        }
        if self.is_own_epoch(epoch) {
            return self.refuse_same_epoch(request, epoch, self.role);
        }
        self.fence(epoch);
        let deadline = self.now.saturating_add(budget_ms);
        let catch_up = CatchUp { request, epoch, source: source.clone(), target, deadline };
        match &self.pulling {
            Some(p) if p.follow && p.source == source => {}
            // R16: no chains; who follows a master catches up from that master only.
            Some(p) if p.follow => return self.answer(request, Err(EngineError::WrongRole(EngineRole::Replica))),
            Some(p) if p.source == source && p.upto == target.position.length => {}
            _ => {
                self.fail_catch_ups("another catch-up took its place");
                self.pull_from(source, epoch, false, target.position.length);
            }
        }
        self.catch_ups.push(catch_up);
    }

    pub(super) fn fail_catch_ups(&mut self, why: &str) {
        for failed in std::mem::take(&mut self.catch_ups) {
            let error = EngineError::SourceFailed { slot: failed.source.slot, detail: why.into() };
            self.answer(failed.request, Err(error));
        }
        self.pulling.take_if(|p| !p.follow);
    }

    pub(super) fn expire_catch_ups(&mut self) {
        let now = self.now;
        if !self.catch_ups.iter().any(|c| c.deadline <= now) {
            return;
        }
        let (late, waiting): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.catch_ups).into_iter().partition(|c| c.deadline <= now);
        self.catch_ups = waiting;
        let have = self.log.durable_tip();
        for late in late {
            let why = format!("the copy ends at {have}, asked was {}", late.target);
            self.answer(late.request, Err(EngineError::TimedOut(why)));
        }
        if self.catch_ups.is_empty() {
            self.pulling.take_if(|p| !p.follow);
        }
    }

    /// Answers those that are equal to their target, and those that never can be.
    pub(super) fn settle_catch_ups(&mut self) {
        if self.catch_ups.is_empty() || !self.log.is_quiet() || !self.meta_is_durable() || self.disk.is_some() {
            return;
        }
        let have = self.log.durable_tip();
        for catch_up in std::mem::take(&mut self.catch_ups) {
            let want = catch_up.target;
            if have == want {
                self.answer_tip(catch_up.request);
            } else if have.position >= want.position || self.role == EngineRole::Diverged {
                self.answer(catch_up.request, Err(EngineError::NotEqual { have, want }));
            } else {
                self.catch_ups.push(catch_up);
            }
        }
        if self.catch_ups.is_empty() {
            self.pulling.take_if(|p| !p.follow);
        }
    }

    pub(super) fn start_pull(&mut self) {
        let eager = self.role == EngineRole::Replica && planted("r24-counted-before-fsync");
        let quiet = (eager || (self.log.is_quiet() && self.disk.is_none())) && self.meta_is_durable() && self.ready;
        let now = self.now;
        let Some(pulling) = self.pulling.as_mut().filter(|p| quiet && p.call.is_none() && p.next_at <= now) else {
            return;
        };
        let told = if eager { self.log.length() } else { self.log.durable };
        let (tip, history) = (self.log.tip_at(told), self.log.history().to_vec());
        let call = self.next_call;
        self.next_call += 1;
        pulling.call = Some(call);
        let wait_ms = self.config.poll_ms;
        let pull = Pull {
            store: self.config.store.clone(),
            epoch: pulling.epoch,
            from: self.config.slot.clone(),
            follow: pulling.follow,
            history,
            tip,
            upto: pulling.upto,
            bytes_max: PULL_BYTES,
            wait_ms,
        };
        let to = pulling.source.clone();
        self.out.push(Effect::Call { call, to, request: PeerCall::Pull(pull), budget_ms: wait_ms + CALL_SLACK_MS });
    }

    pub(super) fn call_answer(&mut self, call: u64, result: Result<PeerAnswer, String>) {
        if self.task_answer(call, &result) || self.verify_answer(call, &result) {
            return;
        }
        // An answer to a pull that was given up, by a raise or another source, is for nobody.
        let Some(pulling) = self.pulling.as_mut().filter(|p| p.call == Some(call)) else { return };
        pulling.call = None;
        if result.is_ok() {
            pulling.heard = Some(self.now);
        }
        match result {
            Ok(PeerAnswer::Records { master, start, records, digest, head }) => {
                self.take_records(master, start, &records, digest, head);
            }
            Ok(PeerAnswer::Diverged { master, history, head, common, digest }) => {
                self.parted(Parted { master, history, head, common, digest });
            }
            _ => self.pull_later(),
        }
    }

    fn pull_later(&mut self) {
        if let Some(pulling) = &mut self.pulling {
            pulling.next_at = self.now + pulling.retry_ms;
            pulling.retry_ms = (pulling.retry_ms * 2).min(RETRY_LAST_MS);
        }
    }

    fn take_records(&mut self, master: bool, start: u64, records: &[Vec<u8>], digest: Digest, head: u64) {
        let Some(pulling) = self.pulling.clone() else { return };
        if start != self.log.length()
            || (pulling.follow && !master)
            || self.push_records(&pulling, records, digest).is_err()
        {
            self.log.cut(start.max(self.log.durable));
            return self.pull_later();
        }
        let now = self.now;
        if let Some(pulling) = &mut self.pulling {
            pulling.next_at = now;
            pulling.retry_ms = RETRY_FIRST_MS;
            pulling.verified = Some(now);
            // R16: lag is measured against the master only.
            pulling.head = master.then_some(head);
        }
    }

    fn push_records(&mut self, pulling: &Pulling, records: &[Vec<u8>], digest: Digest) -> Result<(), String> {
        for bytes in records {
            let record = Record::from_bytes(bytes)?;
            self.log.accepts(&record)?;
            if record.epoch > self.meta.epoch || self.log.length() >= pulling.upto {
                return Err("a record beyond what was asked for".into());
            }
            self.log.push(&record, bytes.clone());
        }
        if self.log.digest_at(self.log.length()) == digest {
            Ok(())
        } else {
            Err("other records than the source hashed".into())
        }
    }

    /// R7. Histories are compared by epoch and position before anything is cut.
    fn parted(&mut self, theirs: Parted) {
        let Some(pulling) = self.pulling.clone() else { return };
        if !self.log.is_quiet() || self.disk.is_some() || (pulling.follow && !theirs.master) {
            return self.pull_later();
        }
        let length = self.log.length();
        let common = common_length(self.log.history(), length, &theirs.history, theirs.head);
        if common != theirs.common {
            return self.pull_later();
        }
        let last = |history: &[EpochStart]| history.last().map_or(Epoch::ZERO, |line| line.epoch);
        let supersedes = (last(&theirs.history) > self.log.last_epoch() || planted("r7-ahead-of-master-cut"))
            && last(&theirs.history) <= pulling.epoch;
        if self.log.digest_at(common) != theirs.digest || common == length || !supersedes {
            return self.cannot_reconcile(&pulling);
        }
        if planted("r16-divergent-tail-kept") {
            return self.pull_later();
        }
        self.put_aside(common);
        if let Some(pulling) = &mut self.pulling {
            pulling.next_at = self.now;
        }
    }

    /// Ahead of its same-epoch master, or with other records under the same history: stop and ask (R7).
    fn cannot_reconcile(&mut self, pulling: &Pulling) {
        self.pulling = None;
        if pulling.follow {
            self.role = EngineRole::Diverged;
        }
        let have = self.log.durable_tip();
        for failed in std::mem::take(&mut self.catch_ups) {
            self.answer(failed.request, Err(EngineError::NotEqual { have, want: failed.target }));
        }
    }

    fn put_aside(&mut self, to: u64) {
        self.break_verify("records of this copy were put aside");
        let records: Vec<Record> = (to..self.log.length()).filter_map(|i| self.log.record(i)).collect();
        let data: Vec<Record> = records.iter().filter(|r| r.data_id().is_some()).cloned().collect();
        let epoch = self.log.last_epoch();
        let taken = |name: &String| self.meta.aside.iter().any(|a| a.file == *name);
        let name = |n: usize| format!("aside-{}-{}-{to}-{n}.log", epoch.generation, epoch.n);
        let Some(file) = (0..=self.meta.aside.len()).map(name).find(|name| !taken(name)) else { return };
        let ids = data.iter().filter_map(|r| r.data_id().cloned()).collect();
        let aside = Aside { file: file.clone(), base: to, records: records.len() as u64, ids };
        let ops = self.log.truncate_ops(&self.config, &mut self.meta, aside);
        if planted("r7-tail-cut-and-forgotten") {
            self.meta.aside.pop();
        } else {
            self.asides.insert(file, data);
        }
        self.touch();
        self.emit_disk(ops);
    }

    /// The data records put aside, in order.
    pub(super) fn aside_records(&self) -> impl Iterator<Item = &Record> {
        self.asides.values().flatten()
    }
}
