//! The agent's orders.
//!
//! What always holds: an older epoch is refused; the same epoch with another role is refused, except Raise(n) before
//! Promote(n) and Demote(n) again; a yes is given only when what it says is durable. Repeating a call gives its answer
//! again.

use super::promote::Promote;
use super::stranded::TaskKind;
use super::{Effect, Frozen, JournalCore, RequestId, Then, thaws_as_master};
use slot_planted::planted;
use slot_types::engine::{EngineCall, EngineDone, EngineError, EngineRole, EngineStatus, Source};
use slot_types::ids::{Epoch, FreezeId};
use std::collections::BTreeSet;

impl JournalCore {
    pub(super) fn control(&mut self, request: RequestId, call: EngineCall, budget_ms: u64) {
        if !self.ready || self.leaving {
            let why = if self.leaving { "it is ending" } else { "it is still opening its files" };
            return self.answer(request, Err(EngineError::Unreachable(why.into())));
        }
        match call {
            EngineCall::Status => self.answer_status(request),
            EngineCall::Freeze { id, epoch, limit_ms } => self.freeze(request, id, epoch, limit_ms),
            EngineCall::Thaw { id } => self.thaw(request, id),
            EngineCall::CatchUp { epoch, source, target } => self.catch_up(request, epoch, source, target, budget_ms),
            EngineCall::Demote { epoch } => self.demote(request, epoch),
            EngineCall::Raise { epoch } => self.raise(request, epoch),
            EngineCall::Promote { epoch, expect, sync_copies } => {
                self.try_promote(Promote { request, epoch, expect, sync_copies });
            }
            EngineCall::StartMaster { epoch, sync_copies } => self.start_master(request, epoch, sync_copies),
            EngineCall::Follow { epoch, source } => self.follow(request, epoch, source),
            EngineCall::ListStranded { epoch, against } => {
                self.begin_task(request, TaskKind::List, epoch, against, budget_ms)
            }
            EngineCall::Reinject { epoch, to } => self.begin_task(request, TaskKind::Reinject, epoch, to, budget_ms),
            // A canary needs no copy: whoever is asked speaks to the master itself.
            EngineCall::Canary { .. } => self.answer(request, Err(EngineError::WrongRole(self.role))),
            EngineCall::Verify { epoch, against, asked, rate } => {
                self.begin_verify(request, epoch, against, asked, rate)
            }
            EngineCall::Stop => self.stop(request),
        }
    }

    fn answer_status(&mut self, request: RequestId) {
        let status = self.status();
        self.answer(request, Ok(EngineDone::Status(Box::new(status))));
    }

    /// What it says of itself: durable facts only.
    pub fn status(&self) -> EngineStatus {
        let pulling = self.pulling.as_ref();
        let follow = pulling.filter(|p| p.follow);
        let since = |at: Option<u64>| at.map(|at| self.now.saturating_sub(at));
        let durable = self.log.durable;
        let missing = |id: &&slot_types::ids::RecordId| self.log.find(id).is_none_or(|index| index >= durable);
        EngineStatus {
            store: self.config.store.clone(),
            slot: self.config.slot.clone(),
            generation: self.config.generation,
            epoch: self.epoch_durable,
            role: self.role,
            tip: self.log.durable_tip(),
            bytes: self.log.bytes,
            history: self.log.history_at(durable),
            frozen: self.frozen.map(|f| f.id),
            following: follow.map(|p| (p.source.slot.clone(), p.epoch)),
            behind: follow.and_then(|p| p.head).map(|head| head.saturating_sub(durable)),
            heard_ms: since(follow.and_then(|p| p.heard)),
            verified_ms: since(follow.and_then(|p| p.verified)),
            sync_copies: self.sync_copies,
            aside: {
                let mut seen = BTreeSet::new();
                let ids = self.meta.aside.iter().flat_map(|a| &a.ids).filter(missing);
                ids.filter(|id| seen.insert(*id)).cloned().collect()
            },
            verification: self.verification(),
        }
    }

    pub(super) fn refuses_older(&mut self, request: RequestId, asked: Epoch) -> bool {
        let held = self.meta.epoch;
        if asked < held {
            self.answer(request, Err(EngineError::OlderEpoch { asked, held }));
        }
        asked < held
    }

    pub(super) fn refuse_same_epoch(&mut self, request: RequestId, epoch: Epoch, role: EngineRole) {
        self.answer(request, Err(EngineError::SameEpochOtherRole { epoch, role }));
    }

    /// Whether that epoch is this copy's own: it was ordered to be master at it.
    pub(super) fn is_own_epoch(&self, epoch: Epoch) -> bool {
        self.meta.promoted.is_some_and(|promoted| promoted.epoch == epoch)
    }

    pub(super) fn is_following_at(&self, epoch: Epoch) -> bool {
        self.pulling.as_ref().is_some_and(|p| p.follow && p.epoch == epoch)
    }

    /// Holds a higher epoch, in memory at once: from here on no append is accepted or acknowledged below it (R2), no
    /// replication goes on below it, and the freeze's timer is gone (R29). The caller waits for `meta` before it answers.
    pub(super) fn fence(&mut self, epoch: Epoch) {
        if epoch <= self.meta.epoch {
            return;
        }
        self.meta.raise(epoch);
        if !planted("s2-raise-in-memory-only") {
            self.touch();
        }
        if self.role == EngineRole::Master {
            self.role = EngineRole::Demoted;
        }
        self.frozen = self.frozen.filter(|_| thaws_as_master());
        self.promotion = None;
        if !planted("r16-pulls-on-after-raise") {
            self.pulling = None;
        }
        self.followers.clear();
        self.stop_serving();
        self.break_verify("a higher epoch is held");
        self.refuse_polls("a higher epoch is held");
        let held = self.meta.epoch;
        for old in std::mem::take(&mut self.catch_ups) {
            self.answer(old.request, Err(EngineError::OlderEpoch { asked: old.epoch, held }));
        }
    }

    fn freeze(&mut self, request: RequestId, id: FreezeId, epoch: Epoch, limit_ms: u64) {
        if self.refuses_older(request, epoch) {
            return;
        }
        let in_force = self.frozen.is_some_and(|f| f.id == id);
        if !in_force && self.meta.knows_freeze(id) && !planted("r1-freezes-again-after-thaw") {
            // R1: its thaw, or a crash in it, ended that id for good.
            return self.answer(request, Err(EngineError::Thawed(id)));
        }
        if self.role != EngineRole::Master || epoch != self.meta.epoch {
            return self.answer(request, Err(EngineError::WrongRole(self.role)));
        }
        if !in_force {
            // A later freeze takes over; the earlier id is remembered and so is over. Nothing is placed in the log from
            // here on; what is under way belongs to the tip.
            self.meta.remember_freeze(id);
            self.touch();
            self.frozen = Some(Frozen { id, until_ms: self.now.saturating_add(limit_ms) });
        }
        self.when_durable(Then::Frozen { request, id });
    }

    fn thaw(&mut self, request: RequestId, id: FreezeId) {
        if self.frozen.is_some_and(|f| f.id == id) {
            self.frozen = None;
        }
        if !self.meta.knows_freeze(id) {
            // A freeze of this id that arrives late must find it over (R1).
            self.meta.remember_freeze(id);
            self.touch();
        }
        self.when_durable(Then::Done { request });
    }

    fn demote(&mut self, request: RequestId, epoch: Epoch) {
        if self.refuses_older(request, epoch) {
            return;
        }
        if epoch == self.meta.epoch && self.is_own_epoch(epoch) {
            return self.refuse_same_epoch(request, epoch, self.role);
        }
        if self.is_following_at(epoch) {
            return self.refuse_same_epoch(request, epoch, EngineRole::Replica);
        }
        // R2: the role changes under the append lock, before anything else can be appended.
        self.fence(epoch);
        self.role = EngineRole::Demoted;
        self.pulling = None;
        self.fail_catch_ups("the copy was demoted");
        if self.meta.demoted != Some(epoch) {
            self.meta.demoted = Some(epoch);
            self.touch();
        }
        if planted("r2-demote-before-durable") {
            return self.answer_tip(request);
        }
        // The final tip: the operation under way ends first, and then nothing can make the log grow.
        self.when_durable(Then::Demoted { request, epoch });
    }

    fn raise(&mut self, request: RequestId, epoch: Epoch) {
        if self.refuses_older(request, epoch) {
            return;
        }
        self.fence(epoch);
        self.when_durable(Then::Raised { request, epoch });
    }

    fn follow(&mut self, request: RequestId, epoch: Epoch, source: Source) {
        if !planted("p4-stale-follow-applied") && self.refuses_older(request, epoch) {
            return;
        }
        if self.is_own_epoch(epoch) {
            return self.refuse_same_epoch(request, epoch, self.role);
        }
        self.fence(epoch);
        let same = self.pulling.as_ref().is_some_and(|p| p.follow && p.source == source);
        if !same {
            self.fail_catch_ups("the copy follows a master now");
            self.start_following(source, epoch);
        }
        self.role = EngineRole::Replica;
        self.when_durable(Then::Done { request });
    }

    fn stop(&mut self, request: RequestId) {
        self.leaving = true;
        self.stop_serving();
        self.role = EngineRole::Idle;
        self.pulling = None;
        self.frozen = None;
        self.fail_catch_ups("the engine is ending");
        self.refuse_polls("the engine is ending");
        // One more `meta`, so that the durable length is on record.
        self.touch();
        self.when_durable(Then::Exit { request });
    }

    /// The disk has it: answer.
    pub(super) fn pass(&mut self, then: Then) {
        let held = self.meta.epoch;
        match then {
            Then::Frozen { request, id } => match self.frozen {
                Some(frozen) if frozen.id == id => {
                    self.acknowledge();
                    self.answer_tip(request);
                }
                _ => self.answer(request, Err(EngineError::Thawed(id))),
            },
            Then::Demoted { request, epoch } if epoch == held && self.role == EngineRole::Demoted => {
                self.out.push(Effect::Milestone("journal-after-demote-durable"));
                self.answer_tip(request);
            }
            Then::Raised { request, epoch } if epoch == held => self.answer_tip(request),
            Then::Demoted { request, epoch } | Then::Raised { request, epoch } => {
                self.answer(request, Err(EngineError::OlderEpoch { asked: epoch, held }));
            }
            Then::Done { request } => self.answer(request, Ok(EngineDone::Done)),
            Then::TryPromote(promote) => self.try_promote(promote),
            Then::Promoted { request, epoch } => self.promoted(request, epoch),
            Then::Exit { request } => {
                self.answer(request, Ok(EngineDone::Done));
                self.out.push(Effect::Exit);
                self.dead = true;
            }
        }
    }
}
