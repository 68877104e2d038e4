//! Which records this copy holds and the present master lacks, and bringing them back.
//!
//! What always holds: a record is stranded when the master, asked at its own epoch, does not hold its id durably;
//! nothing is left out by guessing: what both histories say is common is skipped only when the digests there agree.
//! Reinjection appends under the record's own id, so doing it twice does nothing (R21).

use super::api::*;
use super::record::Body;
use super::serve::CONTAINS_MAX;
use super::{Effect, JournalCore};
use slot_types::engine::{EngineDone, EngineError, EngineRole, Source};
use slot_types::ids::{Epoch, RecordId};
use std::collections::{BTreeSet, VecDeque};

/// How long one question to the master may take.
const CALL_MS: u64 = 10_000;

/// What the agent asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TaskKind {
    List,
    Reinject,
}

/// A ListStranded or Reinject under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Task {
    pub request: RequestId,
    pub kind: TaskKind,
    pub epoch: Epoch,
    pub peer: Source,
    pub deadline: u64,
    call: u64,
    /// Ids asked for by the Contains under way.
    asked: Vec<RecordId>,
    /// Ids not asked for yet.
    candidates: VecDeque<RecordId>,
    /// Ids the master lacks.
    missing: VecDeque<RecordId>,
    present: u64,
    appended: u64,
}

impl JournalCore {
    pub(super) fn begin_task(
        &mut self,
        request: RequestId,
        kind: TaskKind,
        epoch: Epoch,
        peer: Source,
        budget_ms: u64,
    ) {
        if self.refuses_older(request, epoch) {
            return;
        }
        if self.role == EngineRole::Master {
            return self.answer(request, Err(EngineError::WrongRole(self.role)));
        }
        let deadline = self.now.saturating_add(budget_ms);
        let call = self.next_call;
        let length = self.log.durable;
        let compare =
            PeerCall::Compare { store: self.config.store.clone(), epoch, history: self.log.history_at(length), length };
        let mut task = Task {
            request,
            kind,
            epoch,
            peer,
            deadline,
            call,
            asked: Vec::new(),
            candidates: VecDeque::new(),
            missing: VecDeque::new(),
            present: 0,
            appended: 0,
        };
        self.ask(&mut task, compare);
        self.tasks.push(task);
    }

    fn ask(&mut self, task: &mut Task, request: PeerCall) {
        task.call = self.next_call;
        self.next_call += 1;
        self.out.push(Effect::Call { call: task.call, to: task.peer.clone(), request, budget_ms: CALL_MS });
    }

    pub(super) fn expire_tasks(&mut self) {
        let now = self.now;
        if self.tasks.iter().any(|t| t.deadline <= now) {
            let (late, tasks): (Vec<_>, Vec<_>) =
                std::mem::take(&mut self.tasks).into_iter().partition(|t| t.deadline <= now);
            self.tasks = tasks;
            for task in late {
                let why = format!("{} records are not settled yet", task.candidates.len() + task.missing.len());
                self.answer(task.request, Err(EngineError::TimedOut(why)));
            }
        }
    }

    /// Whether that call was a task's.
    pub(super) fn task_answer(&mut self, call: u64, result: &Result<PeerAnswer, String>) -> bool {
        let Some(at) = self.tasks.iter().position(|t| t.call == call) else { return false };
        let mut task = self.tasks.remove(at);
        let outcome = match result {
            Ok(PeerAnswer::Compared { common, digest }) => {
                let from = if self.log.digest_at(*common) == *digest { *common } else { 0 };
                self.gather(&mut task, from);
                Ok(())
            }
            Ok(PeerAnswer::Contained(held)) => {
                let held: BTreeSet<&RecordId> = held.iter().collect();
                let asked = std::mem::take(&mut task.asked);
                task.present += asked.iter().filter(|id| held.contains(id)).count() as u64;
                task.missing.extend(asked.into_iter().filter(|id| !held.contains(id)));
                Ok(())
            }
            Ok(PeerAnswer::Appended(AppendOutcome::Done { existed, .. })) => {
                task.missing.pop_front();
                if *existed {
                    task.present += 1
                } else {
                    task.appended += 1
                }
                Ok(())
            }
            Ok(PeerAnswer::Appended(AppendOutcome::Refused(refused))) => Err(refused.to_string()),
            Ok(PeerAnswer::Appended(AppendOutcome::Unknown { why })) => Err(why.clone()),
            Ok(PeerAnswer::Refused { held, why }) => Err(format!("{why}; it holds epoch {held}")),
            Ok(PeerAnswer::Records { .. } | PeerAnswer::Diverged { .. } | PeerAnswer::Fingerprint { .. }) => {
                Err("it answered something else".into())
            }
            Err(why) => Err(why.clone()),
        };
        match outcome {
            Ok(()) => self.advance(task),
            Err(detail) => {
                let slot = task.peer.slot.clone();
                self.answer(task.request, Err(EngineError::SourceFailed { slot, detail }));
            }
        }
        true
    }

    /// Ids of clients' data from `from` on and of what was put aside, each once, in order.
    fn gather(&self, task: &mut Task, from: u64) {
        let mut seen = BTreeSet::new();
        let log = (from..self.log.durable).filter_map(|i| self.log.record(i)).filter_map(|r| r.data_id().cloned());
        let aside = self.aside_records().filter_map(|r| r.data_id().cloned());
        task.candidates = log.chain(aside).filter(|id| seen.insert(id.clone())).collect();
    }

    fn advance(&mut self, mut task: Task) {
        if !task.candidates.is_empty() {
            let count = task.candidates.len().min(CONTAINS_MAX);
            task.asked = task.candidates.drain(..count).collect();
            let contains =
                PeerCall::Contains { store: self.config.store.clone(), epoch: task.epoch, ids: task.asked.clone() };
            self.ask(&mut task, contains);
            return self.tasks.push(task);
        }
        if task.kind == TaskKind::List {
            return self.answer(task.request, Ok(EngineDone::Stranded(task.missing.into_iter().collect())));
        }
        let Some(id) = task.missing.front().cloned() else {
            let (appended, present) = (task.appended, task.present);
            return self.answer(task.request, Ok(EngineDone::Reinjected { appended, present }));
        };
        let Some(payload) = self.payload_of(&id) else {
            let detail = format!("record {id} is no longer here to be reinjected");
            return self.answer(task.request, Err(EngineError::Disk(detail)));
        };
        let append = Append { store: self.config.store.clone(), epoch: task.epoch, id, payload };
        self.ask(&mut task, PeerCall::Append(append));
        self.tasks.push(task);
    }

    fn payload_of(&self, id: &RecordId) -> Option<Vec<u8>> {
        let aside = || self.aside_records().find(|r| r.data_id() == Some(id)).cloned();
        match self.log.find(id).and_then(|index| self.log.record(index)).or_else(aside)?.body {
            Body::Data { payload, .. } => Some(payload),
            Body::EpochStart => None,
        }
    }
}
