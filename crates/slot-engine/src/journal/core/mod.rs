//! The journal, without its disk, network and clock: `step(now, event) -> effects`.
//!
//! What always holds:
//! - The core is single threaded, and being in `step` is the append lock that Demote takes (R2).
//! - A record is acknowledged only after the fsync of its frame, only by a master, and only at the epoch at which it was
//!   accepted; that is looked at again between fsync and acknowledgement (R2).
//! - The held epoch never goes down, and what a control call answers was durable before (S2).
//! - At most one disk operation is under way; what arrives meanwhile forms the next one (group commit).
//! - After a disk error nothing is answered any more (P11).
//! - The role changes only because the agent said so, except master and follower to stopped: `Diverged` (R7).

mod api;
mod append;
mod control;
mod follow;
mod log;
mod meta;
mod open;
mod promote;
mod record;
mod segment;
mod serve;
mod stranded;
mod verify;

pub use api::*;
pub use log::Log;
pub use meta::{Aside, Meta, Promoted};
pub use open::{OpenError, fresh_files};
pub use record::{Body, CANARY_CLIENT, PAYLOAD_MAX, RECORD_MAX, Record, common_length};
pub use segment::{FRAME_HEAD, SEGMENT_VERSION, SegmentError, frame_bytes, salt, segment_base, segment_name};

use append::{Held, Waiting, appends_late};
use follow::{CatchUp, Pulling};
use serve::{Follower, Poll, ReadWait};
use slot_planted::planted;
use slot_types::engine::{EngineAnswer, EngineDone, EngineError, EngineRole};
use slot_types::ids::{Epoch, FreezeId, SlotId};
use std::collections::{BTreeMap, VecDeque};
use stranded::Task;
use verify::{Served, Verify};

/// A disk operation under way.
#[derive(Clone, Debug, PartialEq, Eq)]
struct InFlight {
    op: u64,
    length: u64,
    meta_version: u64,
    epoch: Epoch,
}

/// A freeze in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Frozen {
    id: FreezeId,
    until_ms: u64,
}

/// An answer that waits for the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Barrier {
    length: u64,
    meta_version: u64,
    then: Then,
}

/// What to do once the disk has it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Then {
    Frozen { request: RequestId, id: FreezeId },
    Demoted { request: RequestId, epoch: Epoch },
    Raised { request: RequestId, epoch: Epoch },
    Done { request: RequestId },
    TryPromote(promote::Promote),
    Promoted { request: RequestId, epoch: Epoch },
    Exit { request: RequestId },
}

/// A deliberate bug, in no shipped build (R29): a demote leaves the freeze's timer, and a thaw makes it master.
fn thaws_as_master() -> bool {
    planted("r29-thaws-as-master")
}

/// One copy of one store.
#[derive(Debug)]
pub struct JournalCore {
    config: Config,
    meta: Meta,
    /// Grows with every change of `meta`.
    meta_version: u64,
    /// The version that is durable, and the epoch in it.
    meta_durable: u64,
    epoch_durable: Epoch,
    log: Log,
    role: EngineRole,
    ready: bool,
    dead: bool,
    leaving: bool,
    now: u64,
    out: Vec<Effect>,
    disk: Option<InFlight>,
    next_op: u64,
    next_call: u64,
    held: VecDeque<Held>,
    held_bytes: usize,
    waiting: Vec<Waiting>,
    frozen: Option<Frozen>,
    sync_copies: u8,
    followers: BTreeMap<SlotId, Follower>,
    polls: Vec<Poll>,
    reads: Vec<ReadWait>,
    barriers: Vec<Barrier>,
    promotion: Option<Epoch>,
    pulling: Option<Pulling>,
    catch_ups: Vec<CatchUp>,
    /// Clients' data put aside, by file.
    asides: BTreeMap<String, Vec<Record>>,
    tasks: Vec<Task>,
    verify: Option<Verify>,
    /// Pieces of the log that are read for others.
    served: Vec<Served>,
    settle_at: Option<u64>,
    armed: Option<u64>,
}

impl JournalCore {
    /// Takes one event, answers what must be done.
    pub fn step(&mut self, now_ms: u64, event: Event) -> Vec<Effect> {
        if self.dead {
            return Vec::new();
        }
        self.now = self.now.max(now_ms);
        // R12: whatever comes later than the limit finds the freeze over.
        self.expire();
        match event {
            Event::DiskDone { op, result } => self.disk_done(op, result),
            Event::Append { request, append, budget_ms } => self.append(request, false, append, budget_ms),
            Event::Read { request, read } => self.read(request, read),
            Event::Peer { request, call } => self.peer(request, call),
            Event::Control { request, call, budget_ms } => self.control(request, call, budget_ms),
            Event::CallAnswer { call, result } => self.call_answer(call, result),
            Event::DiskRead { op, pieces } => self.disk_read(op, pieces),
            Event::Gone { request } => self.gone(request),
            Event::Wake => {}
        }
        self.pump();
        std::mem::take(&mut self.out)
    }

    /// Which copy this is.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The log, for tests and digests.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// What it is doing.
    pub fn role(&self) -> EngineRole {
        self.role
    }

    /// The highest epoch it durably holds.
    pub fn epoch(&self) -> Epoch {
        self.epoch_durable
    }

    fn reply(&mut self, request: RequestId, reply: Reply) {
        self.out.push(Effect::Reply { request, reply });
    }

    fn answer(&mut self, request: RequestId, answer: Result<EngineDone, EngineError>) {
        self.reply(request, Reply::Control(EngineAnswer(answer)));
    }

    fn answer_tip(&mut self, request: RequestId) {
        let tip = self.log.durable_tip();
        let history = self.log.history_at(self.log.durable);
        self.answer(request, Ok(EngineDone::Tip { tip, history }));
    }

    fn touch(&mut self) {
        self.meta_version += 1;
    }

    /// Runs `then` once all that is now in memory is durable.
    fn when_durable(&mut self, then: Then) {
        let barrier = Barrier { length: self.log.length(), meta_version: self.meta_version, then };
        self.barriers.push(barrier);
    }

    fn meta_is_durable(&self) -> bool {
        self.meta_durable == self.meta_version
    }

    /// Everything that can go on now, goes on.
    fn pump(&mut self) {
        if self.dead {
            return;
        }
        self.pass_barriers();
        if self.dead {
            return;
        }
        self.start_disk();
        self.acknowledge();
        self.answer_polls();
        self.answer_reads();
        self.settle_catch_ups();
        self.start_pull();
        self.advance_verify();
        self.arm();
    }

    fn start_disk(&mut self) {
        if self.disk.is_some() || !self.ready {
            return;
        }
        if !appends_late() || self.meta_is_durable() {
            self.place_held();
        }
        let mut ops = Vec::new();
        if !self.meta_is_durable() {
            ops.extend(self.meta_ops());
        }
        let from = self.log.durable;
        ops.extend(self.log.append_ops(&self.config, from));
        if !ops.is_empty() {
            self.emit_disk(ops);
        }
    }

    /// Writes `meta`, with the durable length it may promise, and drops asides that are settled: each of their records is
    /// durably in the log again, where a later divergence would find it.
    fn meta_ops(&mut self) -> Vec<DiskOp> {
        self.meta.durable = self.log.durable;
        let (log, durable) = (&self.log, self.log.durable);
        let is_settled = |aside: &Aside| aside.ids.iter().all(|id| log.find(id).is_some_and(|index| index < durable));
        let settled: Vec<String> = self.meta.aside.iter().filter(|a| is_settled(a)).map(|a| a.file.clone()).collect();
        self.meta.aside.retain(|aside| !settled.contains(&aside.file));
        let mut ops = self.meta.write_ops();
        for file in settled {
            self.asides.remove(&file);
            ops.push(DiskOp::Remove { file });
        }
        ops
    }

    fn emit_disk(&mut self, ops: Vec<DiskOp>) {
        let op = self.next_op;
        self.next_op += 1;
        self.disk =
            Some(InFlight { op, length: self.log.length(), meta_version: self.meta_version, epoch: self.meta.epoch });
        if self.ready {
            self.out.push(Effect::Milestone("journal-before-disk"));
        }
        self.out.push(Effect::Disk { op, ops });
    }

    fn disk_done(&mut self, op: u64, result: Result<(), String>) {
        let Some(done) = self.disk.take_if(|disk| disk.op == op) else { return };
        if result.is_err() && planted("p11-fsync-tried-again") {
            return self.fsync_again(done);
        }
        if let Err(reason) = result {
            // P11: pages may be marked clean though they are not on disk. Never retry, never acknowledge.
            self.dead = true;
            self.out.push(Effect::Die { reason: format!("disk: {reason}") });
            return;
        }
        if self.ready {
            self.out.push(Effect::Milestone("journal-after-disk"));
        }
        self.ready = true;
        if done.length > self.log.durable {
            self.log.durable = done.length;
            self.settle_at = Some(self.now + self.config.settle_ms);
        }
        self.meta_durable = done.meta_version;
        self.epoch_durable = done.epoch;
    }

    /// A deliberate bug, in no shipped build (P11): after an error the file is synced once more, and that is believed.
    fn fsync_again(&mut self, failed: InFlight) {
        let file = self.log.segments.last().map(|last| segment_name(last.base)).unwrap_or_default();
        self.out.push(Effect::Disk { op: failed.op, ops: vec![DiskOp::Fsync { file }] });
        self.disk = Some(failed);
    }

    fn pass_barriers(&mut self) {
        loop {
            let (durable, meta) = (self.log.durable, self.meta_durable);
            let passed = self.barriers.iter().position(|b| b.length <= durable && b.meta_version <= meta && self.ready);
            let Some(at) = passed else { return };
            let barrier = self.barriers.remove(at);
            self.pass(barrier.then);
            if self.dead {
                return;
            }
        }
    }

    /// Deadlines that have come.
    fn expire(&mut self) {
        if self.frozen.is_some_and(|f| f.until_ms <= self.now) && !planted("r12-freeze-never-thaws") {
            // R12: the freeze's own timer. Its id is in `meta` since before it was answered, so it is over for good (R1).
            self.frozen = None;
            if self.role != EngineRole::Master && thaws_as_master() {
                self.role = EngineRole::Master;
                self.pulling = None;
            }
        }
        self.expire_appends();
        self.expire_serving();
        self.expire_catch_ups();
        if self.settle_at.is_some_and(|at| at <= self.now) {
            self.settle_at = None;
            if self.meta.durable != self.log.durable {
                self.touch();
            }
        }
    }

    fn arm(&mut self) {
        let pull = self.pulling.as_ref().filter(|p| p.call.is_none() && p.next_at > self.now).map(|p| p.next_at);
        let next = (self.frozen.iter().map(|f| f.until_ms))
            .chain(self.held.iter().map(|h| h.deadline))
            .chain(self.waiting.iter().map(|w| w.deadline))
            .chain(self.polls.iter().map(|p| p.deadline))
            .chain(self.reads.iter().map(|r| r.deadline))
            .chain(self.catch_ups.iter().map(|c| c.deadline))
            .chain(self.tasks.iter().map(|t| t.deadline))
            .chain(self.settle_at)
            .chain(self.verify.as_ref().and_then(Verify::wakes_at))
            .chain(pull)
            .min();
        if let Some(at_ms) = next.filter(|_| next != self.armed) {
            self.out.push(Effect::Arm { at_ms });
        }
        self.armed = next;
    }
}
