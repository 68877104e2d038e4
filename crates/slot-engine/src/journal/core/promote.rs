//! Becoming master.
//!
//! What always holds: Promote looks at the copy's durable tip and at nothing else, and it must be equal to Demote's final
//! one (R1); epoch and epoch-start record are durable before the first append is accepted. StartMaster makes a master
//! again only at an epoch whose start record this very copy wrote (R5, R25).

use super::record::{Body, Record};
use super::{Effect, JournalCore, Promoted, RequestId, Then};
use slot_planted::planted;
use slot_types::engine::{EngineDone, EngineError, EngineRole};
use slot_types::ids::Epoch;
use slot_types::position::Tip;

/// An order to become master.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Promote {
    pub request: RequestId,
    pub epoch: Epoch,
    pub expect: Tip,
    pub sync_copies: u8,
}

impl JournalCore {
    pub(super) fn try_promote(&mut self, promote: Promote) {
        let Promote { request, epoch, expect, sync_copies } = promote;
        if self.refuses_older(request, epoch) {
            return;
        }
        if epoch == self.meta.epoch {
            if self.meta.demoted == Some(epoch) {
                return self.refuse_same_epoch(request, epoch, EngineRole::Demoted);
            }
            if self.is_following_at(epoch) {
                return self.refuse_same_epoch(request, epoch, EngineRole::Replica);
            }
            if let Some(promoted) = self.meta.promoted.filter(|p| p.epoch == epoch) {
                return self.promote_again(promote, promoted);
            }
            if self.log.last_epoch() == epoch {
                // Another copy wrote this epoch's start.
                return self.refuse_same_epoch(request, epoch, self.role);
            }
        }
        if !self.log.is_quiet() || self.disk.is_some() {
            return self.when_quiet(promote);
        }
        let have = self.log.durable_tip();
        let waived =
            planted("r1-promote-unchecked") || (have.position < expect.position && planted("s4-promote-while-behind"));
        if have != expect && !waived {
            return self.answer(request, Err(EngineError::NotEqual { have, want: expect }));
        }
        self.fence(epoch);
        self.pulling = None;
        self.fail_catch_ups("the copy is being promoted");
        self.meta.promoted = Some(Promoted { epoch, expect });
        self.touch();
        self.write_epoch_start(epoch, sync_copies);
        self.when_durable(Then::Promoted { request, epoch });
    }

    /// Waits for the operation under way: only then is the durable tip all there is.
    fn when_quiet(&mut self, promote: Promote) {
        self.when_durable(Then::TryPromote(promote));
    }

    fn write_epoch_start(&mut self, epoch: Epoch, sync_copies: u8) {
        let record = Record { epoch, body: Body::EpochStart };
        let bytes = record.to_bytes();
        self.log.push(&record, bytes);
        self.sync_copies = sync_copies;
        self.promotion = Some(epoch);
    }

    /// The same order again: while it is under way, after it, or after a crash in it.
    fn promote_again(&mut self, promote: Promote, before: Promoted) {
        let Promote { request, epoch, expect, sync_copies } = promote;
        if before.expect != expect {
            return self.refuse_same_epoch(request, epoch, self.role);
        }
        if self.promotion.is_none() && self.role != EngineRole::Master {
            // The process ended after `meta` was written: the start record is there or is written now.
            if self.log.last_epoch() == epoch {
                self.sync_copies = sync_copies;
                self.promotion = Some(epoch);
            } else if self.log.is_quiet() && self.disk.is_none() {
                let have = self.log.durable_tip();
                if have != expect {
                    return self.answer(request, Err(EngineError::NotEqual { have, want: expect }));
                }
                self.pulling = None;
                self.write_epoch_start(epoch, sync_copies);
            } else {
                return self.when_quiet(promote);
            }
        }
        self.when_durable(Then::Promoted { request, epoch });
    }

    /// Epoch and epoch-start record are durable: now it is master, if nothing higher came meanwhile.
    pub(super) fn promoted(&mut self, request: RequestId, epoch: Epoch) {
        let held = self.meta.epoch;
        if held != epoch {
            return self.answer(request, Err(EngineError::OlderEpoch { asked: epoch, held }));
        }
        if self.promotion.take_if(|at| *at == epoch).is_some() {
            self.become_master();
            self.out.push(Effect::Milestone("journal-after-promote-durable"));
        }
        if self.role == EngineRole::Master {
            self.answer_tip(request);
        } else {
            self.answer(request, Err(EngineError::WrongRole(self.role)));
        }
    }

    fn become_master(&mut self) {
        self.role = EngineRole::Master;
        self.pulling = None;
        self.followers.clear();
        self.refuse_polls("it became master");
    }

    pub(super) fn start_master(&mut self, request: RequestId, epoch: Epoch, sync_copies: u8) {
        let is_late = epoch < self.meta.epoch && planted("r5-late-start-master");
        if !is_late && self.refuses_older(request, epoch) {
            return;
        }
        if self.role == EngineRole::Master && epoch == self.meta.epoch {
            self.sync_copies = sync_copies;
            return self.answer(request, Ok(EngineDone::Done));
        }
        if self.meta.demoted == Some(epoch) || self.is_following_at(epoch) {
            return self.refuse_same_epoch(request, epoch, self.role);
        }
        let wrote_start = self.is_own_epoch(epoch) && self.log.tip_at(self.log.durable).position.epoch == epoch;
        if (epoch != self.meta.epoch && !is_late) || !wrote_start || self.promotion.is_some() {
            return self.answer(request, Err(EngineError::WrongRole(self.role)));
        }
        self.sync_copies = sync_copies;
        self.fail_catch_ups("the copy is master again");
        self.become_master();
        self.answer(request, Ok(EngineDone::Done));
    }
}
