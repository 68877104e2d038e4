//! The engine processes as this agent sees them.
//!
//! What always holds: a process is `Down` only when the shell said it is gone or never started; news of an earlier process
//! of a slot never changes what is known of the present one; a status changes nothing but reports and the end of a freeze.

use super::image::{CopyEntry, LedgerRole, LedgerWrite};
use super::{AgentCore, CallFor, Effect, Engine, POLL_BUDGET_MS, POLL_EVERY_MS, Phase, ProcessState, Serving};
use slot_planted::planted;
use slot_types::engine::{EngineCall, EngineDone, EngineError, EngineRole, EngineStatus};
use slot_types::ids::*;
use slot_types::order::Subject;

/// A deliberate bug, in no shipped build (R5): the ledger says master, so an agent that starts makes it master again.
fn makes_masters_again() -> bool {
    planted("r5-boots-as-master")
}

fn is_master(entry: &CopyEntry) -> bool {
    entry.role == LedgerRole::Master && entry.settled
}

impl Engine {
    pub(super) fn adopted(serving: Serving, now: u64) -> Self {
        Self { state: ProcessState::Up, instance: 0, serving, status: None, silent: true, polling: false, poll_at: now }
    }

    pub(super) fn launching(serving: Serving, instance: u64, now: u64) -> Self {
        Self { state: ProcessState::Launching, instance, ..Self::adopted(serving, now) }
    }

    fn down(&mut self) {
        self.state = ProcessState::Down;
        self.status = None;
        self.polling = false;
        self.silent = true;
    }
}

impl AgentCore {
    pub(super) fn poll_engines(&mut self) {
        let due: Vec<_> = self
            .engines
            .iter()
            .filter(|(_, e)| e.state == ProcessState::Up && !e.polling && e.poll_at <= self.now)
            .map(|(slot, e)| (*slot, e.instance))
            .collect();
        for (slot, instance) in due {
            let call = self.emit_call(Some(slot), EngineCall::Status, POLL_BUDGET_MS);
            self.calls.insert(call, CallFor::Status(slot, instance, self.next_op));
            if let Some(engine) = self.engines.get_mut(&slot) {
                engine.polling = true;
                engine.poll_at = self.now + POLL_EVERY_MS;
            }
        }
    }

    pub(super) fn emit_call(&mut self, slot: Option<u16>, engine_call: EngineCall, budget_ms: u64) -> u64 {
        let call = self.next_call;
        self.next_call += 1;
        self.effects.push(Effect::Call { call, slot, engine_call, budget_ms });
        call
    }

    pub(super) fn engine_answer(&mut self, call: u64, result: Result<EngineDone, EngineError>) {
        match self.calls.remove(&call) {
            Some(CallFor::Order(id)) => {
                // Whatever was asked has changed the engine: look at once.
                let slot = self.active.get(&id).and_then(|active| active.slot);
                if let Some(engine) = slot.and_then(|slot| self.engines.get_mut(&slot)) {
                    engine.poll_at = self.now;
                }
                self.call_answered(id, result);
            }
            Some(CallFor::Hand(slot)) => self.hand_answered(slot, result),
            Some(CallFor::Status(slot, instance, op)) => self.status_answered(slot, instance, op, result),
            None => {}
        }
    }

    fn status_answered(&mut self, slot: u16, instance: u64, op: u64, result: Result<EngineDone, EngineError>) {
        let Some(engine) = self.engines.get_mut(&slot) else { return };
        if engine.instance != instance || engine.state == ProcessState::Down {
            return;
        }
        engine.polling = false;
        let silent_before = engine.silent;
        match result {
            Ok(EngineDone::Status(status)) => {
                engine.silent = false;
                let changed = engine.status.as_ref().is_none_or(|old| differs(old, &status));
                if engine.status.as_ref() != Some(&status) {
                    self.report_soon = true;
                }
                self.report_urgent |= changed || silent_before;
                let frozen = status.frozen;
                engine.status = Some(*status);
                self.note_thawed(slot, frozen, op);
                self.make_master_again(slot);
            }
            Ok(_) | Err(_) => {
                engine.silent = true;
                self.report_urgent |= !silent_before;
            }
        }
    }

    /// Deliberate bugs, in no shipped build: an agent that starts leaves engines neither running (S10) nor dead (R5).
    pub(super) fn meddle_at_start(&mut self) {
        if planted("s10-agent-start-kills-engines") {
            for (slot, engine) in &mut self.engines {
                engine.state = ProcessState::Killing;
                self.effects.push(Effect::Kill { slot: *slot, instance: engine.instance });
            }
        }
        if !makes_masters_again() {
            return;
        }
        for slot in self.config.slots.clone() {
            if let Some((key, entry)) = self.image.current(slot).filter(|(_, entry)| is_master(entry))
                && !self.engines.contains_key(&slot)
            {
                let (store, generation) = (key.store.clone(), key.generation);
                self.launch(slot, Subject { store, slot, generation, epoch: entry.epoch });
            }
        }
    }

    fn make_master_again(&mut self, slot: u16) {
        let idle = |e: &Engine| e.status.as_ref().is_some_and(|status| status.role == EngineRole::Idle);
        if !makes_masters_again() || self.lanes.contains_key(&slot) || !self.engines.get(&slot).is_some_and(idle) {
            return;
        }
        if let Some((_, entry)) = self.image.current(slot).filter(|(_, entry)| is_master(entry)) {
            let start = EngineCall::StartMaster { epoch: entry.epoch, sync_copies: 0 };
            self.emit_call(Some(slot), start, POLL_BUDGET_MS);
        }
    }

    /// R1, R12: a freeze that ended by its own timer is over for good here too. Only a status that was asked for after the
    /// freeze was recorded can say so.
    fn note_thawed(&mut self, slot: u16, frozen: Option<FreezeId>, asked_at_op: u64) {
        let Some((key, entry)) = self.image.current(slot) else { return };
        let Some(freeze) = entry.freeze else { return };
        if frozen == Some(freeze) || self.frozen_at_op.get(&slot).is_some_and(|op| asked_at_op <= *op) {
            return;
        }
        let (key, mut entry) = (key.clone(), entry.clone());
        entry.freeze = None;
        self.stage(LedgerWrite::Copy(key, entry));
        self.end_freeze(freeze);
    }

    pub(super) fn engine_launched(&mut self, slot: u16, instance: u64, result: Result<(), String>) {
        let Some(engine) =
            self.engines.get_mut(&slot).filter(|e| e.instance == instance && e.state == ProcessState::Launching)
        else {
            return;
        };
        match &result {
            Ok(()) => engine.state = ProcessState::Up,
            Err(_) => engine.down(),
        }
        engine.poll_at = self.now;
        self.report_urgent = true;
        self.effect_ended(slot, Phase::Launching, result.err().map(|e| format!("the engine did not start: {e}")));
    }

    /// A process was seen dead. It is reported and nothing else is done of itself (S10).
    pub(super) fn engine_gone(&mut self, slot: u16, instance: u64) {
        let alive = |e: &&mut Engine| e.instance == instance && e.state != ProcessState::Down;
        let Some(engine) = self.engines.get_mut(&slot).filter(alive) else { return };
        let state = engine.state;
        engine.down();
        self.report_urgent = true;
        match state {
            ProcessState::Launching => {
                self.effect_ended(slot, Phase::Launching, Some("the engine ended as soon as it started".into()))
            }
            ProcessState::Killing => self.effect_ended(slot, Phase::Killing, None),
            ProcessState::Up | ProcessState::Down => self.await_of_gone_ended(slot),
        }
    }

    fn await_of_gone_ended(&mut self, slot: u16) {
        if let Some(id) = self.lanes.get(&slot).copied()
            && let Some(active) = self.active.get_mut(&id)
            && matches!(active.phase, Phase::AwaitingGone(_))
        {
            active.phase = Phase::Ready;
            self.advance(id);
        }
    }

    pub(super) fn engine_reaped(&mut self, slot: u16, instance: u64, result: Result<(), String>) {
        let Some(engine) =
            self.engines.get_mut(&slot).filter(|e| e.instance == instance && e.state == ProcessState::Killing)
        else {
            return;
        };
        match &result {
            Ok(()) => engine.down(),
            Err(_) => engine.state = ProcessState::Up,
        }
        self.report_urgent = true;
        self.effect_ended(
            slot,
            Phase::Killing,
            result.err().map(|e| format!("not fenced: its process is not gone: {e}")),
        );
    }

    pub(super) fn provisioned(&mut self, slot: u16, result: Result<(), String>) {
        if result.is_ok()
            && let Some(id) = self.lanes.get(&slot)
            && let Some(active) = self.active.get_mut(id)
        {
            active.provisioned = true;
        }
        self.effect_ended(slot, Phase::Provisioning, result.err().map(|e| format!("the copy was not made: {e}")));
    }

    pub(super) fn removed(&mut self, slot: u16, result: Result<(), String>) {
        if result.is_ok()
            && let Some(id) = self.lanes.get(&slot)
            && let Some(active) = self.active.get_mut(id)
        {
            active.removed = true;
        }
        self.effect_ended(slot, Phase::Removing, result.err().map(|e| format!("its data was not removed: {e}")));
    }
}

/// Whether a status differs in more than ages and lengths, so that the leader should hear of it at once.
fn differs(old: &EngineStatus, new: &EngineStatus) -> bool {
    (old.epoch, old.role, old.frozen, &old.following, old.sync_copies, old.aside.len(), &old.store, old.generation)
        != (
            new.epoch,
            new.role,
            new.frozen,
            &new.following,
            new.sync_copies,
            new.aside.len(),
            &new.store,
            new.generation,
        )
}
