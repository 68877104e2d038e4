//! Answering other engines and readers.
//!
//! What always holds: only durable records leave this copy; a pull is answered only at the very epoch held here; a
//! follower is served by a master only, so lag is the master's and there are no chains (R16).

use super::api::*;
use super::record::common_length;
use super::{Effect, JournalCore};
use slot_planted::planted;
use slot_types::engine::EngineRole;
use slot_types::ids::{Epoch, RecordId, StoreName};
use slot_types::position::EpochStart;

/// Ids in one Contains.
pub const CONTAINS_MAX: usize = 1000;
/// Records in one read.
const READ_RECORDS_MAX: u32 = 1024;
/// Bytes in one read.
const READ_BYTES_MAX: usize = 2 << 20;
/// Bytes in one answer to a pull: below the wire's limit whatever the asker says.
const PULL_BYTES_MAX: u64 = 2 << 20;
/// Pulls that wait.
const POLLS_MAX: usize = 256;

/// A follower, as its last pull told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Follower {
    pub length: u64,
    pub heard: u64,
}

/// A pull that waits for records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Poll {
    pub request: RequestId,
    pub pull: Pull,
    pub deadline: u64,
}

/// A read that waits for records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ReadWait {
    pub request: RequestId,
    pub read: Read,
    pub deadline: u64,
}

impl JournalCore {
    pub(super) fn peer(&mut self, request: RequestId, call: PeerCall) {
        match call {
            PeerCall::Append(append) => self.append(request, true, append, 0),
            PeerCall::Pull(pull) => self.serve_pull(request, pull),
            PeerCall::Compare { store, epoch, history, length } => {
                let answer = self.compare(&store, epoch, &history, length);
                self.reply(request, Reply::Peer(answer));
            }
            PeerCall::Contains { store, epoch, ids } => {
                let answer = self.contains(&store, epoch, ids);
                self.reply(request, Reply::Peer(answer));
            }
            PeerCall::Fingerprint { store, epoch, from, to, each } => {
                self.serve_fingerprint(request, &store, epoch, (from, to), each);
            }
        }
    }

    pub(super) fn refused_peer(&self, why: &str) -> PeerAnswer {
        PeerAnswer::Refused { held: self.meta.epoch, why: why.into() }
    }

    pub(super) fn refuses_peer(&self, store: &StoreName, epoch: Epoch, master_only: bool) -> Option<PeerAnswer> {
        if *store != self.config.store {
            Some(self.refused_peer("it holds another store"))
        } else if !self.ready || self.leaving {
            Some(self.refused_peer("it is opening or ending"))
        } else if epoch != self.meta.epoch || self.epoch_durable != epoch {
            Some(self.refused_peer("it holds another epoch"))
        } else if self.role == EngineRole::Diverged || (master_only && self.role != EngineRole::Master) {
            Some(self.refused_peer("it is not the master"))
        } else {
            None
        }
    }

    fn serve_pull(&mut self, request: RequestId, pull: Pull) {
        if let Some(refused) = self.refuses_peer(&pull.store, pull.epoch, pull.follow) {
            return self.reply(request, Reply::Peer(refused));
        }
        let head = self.log.durable;
        let history = self.log.history_at(head);
        let length = pull.tip.position.length;
        let common = common_length(&pull.history, length, &history, head);
        let master = self.role == EngineRole::Master;
        let is_ours = common == length && self.log.digest_at(common) == pull.tip.digest;
        if !is_ours && !planted("r7-follower-judged-by-length") {
            let digest = self.log.digest_at(common);
            return self.reply(request, Reply::Peer(PeerAnswer::Diverged { master, history, head, common, digest }));
        }
        if pull.follow {
            // R24: what the follower says is durable there, of records that are ours.
            self.followers.insert(pull.from.clone(), Follower { length, heard: self.now });
        }
        let deadline = self.now + pull.wait_ms.min(self.config.poll_ms);
        if head.min(pull.upto) <= length && deadline > self.now && self.polls.len() < POLLS_MAX {
            // A follower asks once at a time: what it asked before, it gave up.
            let is_same = |p: &Poll| p.pull.from == pull.from && p.pull.follow == pull.follow;
            let (given_up, waiting): (Vec<_>, Vec<_>) = std::mem::take(&mut self.polls).into_iter().partition(is_same);
            self.polls = waiting;
            self.polls.push(Poll { request, pull, deadline });
            for old in given_up {
                let refused = self.refused_peer("another pull took its place");
                self.reply(old.request, Reply::Peer(refused));
            }
            return;
        }
        self.answer_pull(request, &pull);
    }

    /// The asker's records are the beginning of ours: that was looked at when it asked, and ours only grew since.
    fn answer_pull(&mut self, request: RequestId, pull: &Pull) {
        let head = self.log.durable;
        let start = pull.tip.position.length;
        let (mut records, mut bytes) = (Vec::new(), 0);
        let bytes_max = pull.bytes_max.min(PULL_BYTES_MAX);
        for index in start..head.min(pull.upto) {
            let Some(entry) = self.log.entry(index) else { break };
            bytes += entry.bytes.len() as u64;
            if bytes > bytes_max && !records.is_empty() {
                break;
            }
            records.push(entry.bytes.clone());
        }
        let digest = self.log.digest_at(start + records.len() as u64);
        let master = self.role == EngineRole::Master;
        self.reply(request, Reply::Peer(PeerAnswer::Records { master, start, records, digest, head }));
    }

    pub(super) fn answer_polls(&mut self) {
        let durable = self.log.durable;
        if self.polls.iter().all(|p| durable.min(p.pull.upto) <= p.pull.tip.position.length) {
            return;
        }
        let is_due = |p: &Poll| durable.min(p.pull.upto) > p.pull.tip.position.length;
        let (due, waiting): (Vec<_>, Vec<_>) = std::mem::take(&mut self.polls).into_iter().partition(is_due);
        self.polls = waiting;
        for poll in due {
            self.answer_pull(poll.request, &poll.pull);
        }
    }

    pub(super) fn refuse_polls(&mut self, why: &str) {
        let refused = self.refused_peer(why);
        for poll in std::mem::take(&mut self.polls) {
            self.reply(poll.request, Reply::Peer(refused.clone()));
        }
    }

    fn compare(&self, store: &StoreName, epoch: Epoch, theirs: &[EpochStart], length: u64) -> PeerAnswer {
        self.refuses_peer(store, epoch, true).unwrap_or_else(|| {
            let head = self.log.durable;
            let common = common_length(theirs, length, &self.log.history_at(head), head);
            PeerAnswer::Compared { common, digest: self.log.digest_at(common) }
        })
    }

    fn contains(&self, store: &StoreName, epoch: Epoch, ids: Vec<RecordId>) -> PeerAnswer {
        self.refuses_peer(store, epoch, true).unwrap_or_else(|| {
            let is_held = |id: &RecordId| self.log.find(id).is_some_and(|index| index < self.log.durable);
            PeerAnswer::Contained(ids.into_iter().take(CONTAINS_MAX).filter(is_held).collect())
        })
    }

    pub(super) fn read(&mut self, request: RequestId, read: Read) {
        let reason = match read.stale {
            true => (read.store != self.config.store).then_some(RefusedReason::OtherStore),
            false => self.refuses_route(&read.store, read.epoch),
        };
        if let Some(reason) = reason {
            let refused = self.refused(reason);
            return self.reply(request, Reply::Read(ReadOutcome::Refused(refused)));
        }
        let deadline = self.now + read.wait_ms.min(self.config.poll_ms);
        self.reads.push(ReadWait { request, read, deadline });
    }

    fn readable(&self, read: &Read) -> u64 {
        if read.stale { self.log.durable } else { self.acknowledged_length() }
    }

    pub(super) fn answer_reads(&mut self) {
        if self.reads.is_empty() {
            return;
        }
        for wait in std::mem::take(&mut self.reads) {
            let head = self.readable(&wait.read);
            if head <= wait.read.from && wait.deadline > self.now {
                self.reads.push(wait);
                continue;
            }
            let (mut records, mut bytes) = (Vec::new(), 0);
            let count = u64::from(wait.read.records_max.clamp(1, READ_RECORDS_MAX));
            for index in wait.read.from..head.min(wait.read.from.saturating_add(count)) {
                let Some(record) = self.log.record(index) else { break };
                bytes += self.log.entry(index).map_or(0, |e| e.bytes.len());
                if bytes > READ_BYTES_MAX && !records.is_empty() {
                    break;
                }
                records.push(record);
            }
            self.out.push(Effect::Reply {
                request: wait.request,
                reply: Reply::Read(ReadOutcome::Records { from: wait.read.from, records, head }),
            });
        }
    }

    /// Long polls whose time is over are answered with nothing; late reads are answered by the next pump.
    pub(super) fn expire_serving(&mut self) {
        let now = self.now;
        if self.polls.iter().any(|p| p.deadline <= now) {
            let (late, waiting): (Vec<_>, Vec<_>) =
                std::mem::take(&mut self.polls).into_iter().partition(|p| p.deadline <= now);
            self.polls = waiting;
            for poll in late {
                self.answer_pull(poll.request, &poll.pull);
            }
        }
        self.expire_tasks();
    }

    pub(super) fn gone(&mut self, request: RequestId) {
        self.polls.retain(|p| p.request != request);
        self.reads.retain(|r| r.request != request);
    }
}
