//! Carrying out an accepted order, one effect at a time.
//!
//! What always holds: before each effect the order is judged again against the ledger (P4); an outcome is taken only from
//! an engine's own answer, or from a process known to be gone; a failure that may pass is tried again within the budget
//! and then left open as NotYet, which proves nothing.

use super::admit;
use super::{
    Active, AgentCore, CallFor, CatchingUp, Effect, Engine, PATIENCE_MIN_MS, Phase, ProcessState, RETRY_PAUSE_MS,
    Serving,
};
use slot_planted::planted;
use slot_types::engine::{EngineCall, EngineDone, EngineError};
use slot_types::fence::{FenceAction, FenceSpec};
use slot_types::ids::*;
use slot_types::order::{Action, Answer, Done, NeverWill, Order, Outcome, Subject};

/// The next thing to do for an order.
pub(super) enum Deed {
    Call(Option<u16>, EngineCall),
    Launch(Subject),
    Kill,
    Provision(Subject),
    Remove(Subject),
    AwaitGone,
    Fence { host: HostName, action: FenceAction, device: Box<FenceSpec>, budget_ms: u64 },
    Finish(Outcome),
}

/// Why an order may not go on.
enum Halt {
    Never(NeverWill),
    NotNow(String),
}

impl AgentCore {
    /// Does the next thing for an order that has nothing out.
    pub(super) fn advance(&mut self, id: OrderId) {
        let Some(active) = self.active.get(&id).filter(|active| active.phase == Phase::Ready) else { return };
        if active.device_asked() {
            // R26: what was begun is seen through, whoever leads now; the rest only asks for the device's word.
            let deed = self.next_fence_deed(active);
            return self.perform(id, deed);
        }
        if active.cancelled {
            return self.finish(id, Outcome::NeverWill(NeverWill::Cancelled), false);
        }
        if let Some(held) = self.newer_queued(active) {
            return self.finish(id, Outcome::NeverWill(NeverWill::Superseded { held }), false);
        }
        match self.lawful_still(active) {
            Err(Halt::Never(why)) => return self.finish(id, Outcome::NeverWill(why), false),
            Err(Halt::NotNow(why)) => return self.sleep(id, why),
            Ok(()) => {}
        }
        let deed = self.next_deed(active);
        if self.now >= active.deadline && !matches!(deed, Deed::Finish(_)) {
            let why = active.why.clone();
            return self.sleep(id, why);
        }
        self.perform(id, deed);
    }

    fn newer_queued(&self, active: &Active) -> Option<LogIndex> {
        let slot = active.slot?;
        let queued = self.active.values().filter(|other| other.slot == Some(slot) && other.phase == Phase::Queued);
        queued.map(|other| other.order.index).filter(|index| *index > active.order.index).max()
    }

    /// P4: the checks of the door, made again at the effect.
    fn lawful_still(&self, active: &Active) -> Result<(), Halt> {
        let order = &active.order;
        // S15: a newer leader has spoken since; it delivers again what it wants done.
        admit::sender(&self.image, order).map_err(Halt::NotNow)?;
        if order.boot != self.boot && !admit::takes_any_boot() {
            return Err(Halt::Never(NeverWill::BootEnded(order.boot)));
        }
        let (Some(slot), Some(subject)) = (active.slot, &order.subject) else { return Ok(()) };
        let held = self.image.high_water(slot);
        if held > order.index && !admit::takes_any_index() {
            return Err(Halt::Never(NeverWill::Superseded { held }));
        }
        match self.image.current(slot) {
            Some((key, entry)) if admit::is_copy(key, subject) => {
                if entry.epoch > subject.epoch {
                    return Err(Halt::Never(NeverWill::OlderEpoch { held: entry.epoch }));
                }
                Ok(())
            }
            Some((key, _)) => {
                Err(Halt::Never(NeverWill::OtherCopy { held: format!("{} {}", key.store, key.generation) }))
            }
            // What is destroyed may be a tombstone already.
            None if order.action == Action::Destroy => Ok(()),
            None => Err(Halt::Never(NeverWill::OtherCopy { held: "nothing".into() })),
        }
    }

    /// Leaves an accepted order open: everyone who waits hears NotYet, and a later delivery takes it up again.
    fn sleep(&mut self, id: OrderId, why: String) {
        let Some(active) = self.active.remove(&id) else { return };
        for waiter in active.waiters {
            self.effects
                .push(Effect::Answer { delivery: waiter.delivery, answer: Answer::NotYet { why: why.clone() } });
        }
        self.report_urgent = true;
        if let Some(slot) = active.slot {
            self.free_lane(slot, id);
        }
    }

    fn next_deed(&self, active: &Active) -> Deed {
        let order = &active.order;
        if matches!(order.action, Action::Fence { .. }) {
            return self.next_fence_deed(active);
        }
        let (Some(slot), Some(subject)) = (active.slot, &order.subject) else {
            return match canary_call(order) {
                Some(call) => Deed::Call(None, call),
                None => Deed::Finish(Outcome::Done(Done::Plain)),
            };
        };
        let engine = self.engines.get(&slot).filter(|engine| engine.state != ProcessState::Down);
        let is_generation = |held| held == subject.generation || planted("r11-old-engine-taken-for-new-copy");
        let ours = engine.is_some_and(|e| e.serving.store == subject.store && is_generation(e.serving.generation));
        match (&order.action, engine) {
            (Action::Provision, _) if ours => Deed::Finish(Outcome::Done(Done::Plain)),
            (Action::Provision, None) if !active.provisioned => Deed::Provision(subject.clone()),
            // R11: whatever runs there ends first; then the data goes, and the ledger keeps the name.
            (Action::Destroy, None) if !active.removed => Deed::Remove(subject.clone()),
            (Action::Destroy, None) => Deed::Finish(Outcome::Done(Done::Plain)),
            (Action::Destroy, Some(_)) => Deed::Kill,
            (Action::Freeze { .. }, _) if !ours => Deed::Finish(never_engine("engine is not running")),
            // A dead engine is not frozen; it is started again only by StartMaster (R12, R25).
            (Action::Thaw { .. }, _) if !ours => Deed::Finish(Outcome::Done(Done::Plain)),
            (Action::Stop, None) => Deed::Finish(Outcome::Done(Done::Plain)),
            (Action::Stop, Some(_)) if !ours || active.killed => Deed::Kill,
            (Action::Stop, Some(_)) if active.asked => Deed::AwaitGone,
            // R2: an engine that did not answer is killed, and started again read-only to learn its final tip.
            (Action::Demote, Some(_)) if active.asked && !active.killed && planted("r21-launched-beside-hung") => {
                Deed::Launch(subject.clone())
            }
            (Action::Demote, Some(_)) if active.asked && !active.killed => Deed::Kill,
            (_, Some(_)) if !ours => Deed::Kill,
            (_, None) => Deed::Launch(subject.clone()),
            (_, Some(_)) => match engine_call(order, subject, active.catching_up) {
                Some(call) => Deed::Call(Some(slot), call),
                None => Deed::Finish(Outcome::Done(Done::Plain)),
            },
        }
    }

    fn perform(&mut self, id: OrderId, deed: Deed) {
        let Some(active) = self.active.get(&id) else { return };
        let left = active.deadline.saturating_sub(self.now).max(1);
        let patience = (active.deadline.saturating_sub(active.started) / 3).max(PATIENCE_MIN_MS);
        let slot = active.slot.unwrap_or_default();
        let impatient = matches!(active.order.action, Action::Stop)
            || (matches!(active.order.action, Action::Demote) && !active.killed);
        let phase = match deed {
            Deed::Finish(outcome) => return self.finish(id, outcome, false),
            Deed::Fence { host, action, device, budget_ms } => {
                return self.ask_device(id, host, action, device, budget_ms);
            }
            Deed::Call(target, engine_call) => {
                let budget = if impatient { left.min(patience) } else { left };
                let call = self.emit_call(target, engine_call, budget);
                self.calls.insert(call, CallFor::Order(id));
                Phase::Calling
            }
            Deed::Launch(subject) => {
                self.launch(slot, subject);
                Phase::Launching
            }
            Deed::Kill => {
                if let Some(engine) = self.engines.get_mut(&slot) {
                    engine.state = ProcessState::Killing;
                    self.effects.push(Effect::Kill { slot, instance: engine.instance });
                }
                Phase::Killing
            }
            Deed::Provision(subject) => {
                let serving = Serving { store: subject.store, generation: subject.generation };
                self.effects.push(Effect::Provision { slot, serving });
                Phase::Provisioning
            }
            Deed::Remove(subject) => {
                let serving = Serving { store: subject.store, generation: subject.generation };
                self.effects.push(Effect::Remove { slot, serving });
                Phase::Removing
            }
            Deed::AwaitGone => Phase::AwaitingGone(self.now + patience),
        };
        if let Some(active) = self.active.get_mut(&id) {
            active.called = true;
            active.why = match phase {
                Phase::Calling => "the engine has not answered yet".into(),
                Phase::Launching => "the engine is starting".into(),
                Phase::Killing => "not fenced: its process is not gone yet".into(),
                Phase::Provisioning => "the copy is being made".into(),
                Phase::Removing => "the copy's data is being removed".into(),
                _ => "the engine's process is not gone yet".into(),
            };
            if matches!(active.order.action, Action::Demote) && phase != Phase::Killing {
                active.why = format!("not fenced: {}", active.why);
            }
            if phase == Phase::Killing || matches!(phase, Phase::AwaitingGone(_)) {
                // After this one wait the process is killed; after a kill the engine is asked with all that is left.
                active.killed = true;
            }
            if phase == Phase::Launching {
                // A fresh process was not asked yet.
                active.asked = false;
            }
            active.phase = phase;
        }
    }

    pub(super) fn launch(&mut self, slot: u16, subject: Subject) {
        let instance = self.next_instance;
        self.next_instance += 1;
        let serving = Serving { store: subject.store, generation: subject.generation };
        self.engines.insert(slot, Engine::launching(serving.clone(), instance, self.now));
        self.effects.push(Effect::Launch { slot, instance, serving });
    }

    /// A launch, kill or provision ended; the order that asked for it goes on, after a pause when it failed.
    pub(super) fn effect_ended(&mut self, slot: u16, phase: Phase, failed: Option<String>) {
        if phase == Phase::Launching && self.hands.contains_key(&slot) {
            return self.hand_launched(slot, failed);
        }
        let Some(id) = self.lanes.get(&slot).copied() else { return };
        let now = self.now;
        let Some(active) = self.active.get_mut(&id).filter(|active| active.phase == phase) else { return };
        match failed {
            None => active.phase = Phase::Ready,
            Some(why) => {
                active.why = why;
                active.phase = if active.cancelled { Phase::Ready } else { Phase::Pausing(now + RETRY_PAUSE_MS) };
            }
        }
        self.go_on(id);
    }

    /// After something ended: on at once, unless it pauses; a pause gives way to a newer order and to a cancel.
    fn go_on(&mut self, id: OrderId) {
        let Some(active) = self.active.get(&id) else { return };
        let yields = matches!(active.phase, Phase::Pausing(_)) && self.newer_queued(active).is_some();
        if yields && let Some(active) = self.active.get_mut(&id) {
            active.phase = Phase::Ready;
        }
        self.advance(id);
    }

    pub(super) fn call_answered(&mut self, id: OrderId, result: Result<EngineDone, EngineError>) {
        let now = self.now;
        let believed = self.believed_tip(id);
        let Some(active) = self.active.get_mut(&id).filter(|active| active.phase == Phase::Calling) else { return };
        active.phase = Phase::Ready;
        let action = active.order.action.clone();
        if matches!(action, Action::Stop) {
            // Whatever it answered, what counts is that the process is gone.
            active.asked = true;
            if let Err(e) = &result {
                active.why = e.to_string();
            }
            if planted("s8-stop-believed") {
                return self.believe_stopped(id);
            }
            return self.go_on(id);
        }
        let failure = match result {
            Ok(done) => {
                if active.catching_up == CatchingUp::Wanted {
                    active.catching_up = CatchingUp::Done;
                    return self.go_on(id);
                }
                match outcome_of(&action, done) {
                    Ok(done) => return self.finish(id, Outcome::Done(done), true),
                    Err(why) => why,
                }
            }
            Err(EngineError::NotEqual { .. })
                if matches!(action, Action::Promote { source: Some(_), .. })
                    && active.catching_up == CatchingUp::NotAsked =>
            {
                // Promote is asked first, for one that was already performed must not catch up again.
                active.catching_up = CatchingUp::Wanted;
                return self.go_on(id);
            }
            Err(e) if e.is_transient() => e.to_string(),
            Err(e) => return self.finish(id, Outcome::NeverWill(never_of(e)), true),
        };
        let demote = matches!(action, Action::Demote);
        if let Some(done) = believed.filter(|_| demote) {
            return self.finish(id, Outcome::Done(done), true);
        }
        let kill_next = demote && !active.killed;
        active.asked = true;
        active.why = if demote { format!("not fenced: {failure}") } else { failure };
        active.phase = if kill_next || active.cancelled { Phase::Ready } else { Phase::Pausing(now + RETRY_PAUSE_MS) };
        self.go_on(id);
    }

    /// A deliberate bug, in no shipped build (R2): the ledger holds the epoch, so an engine that does not answer its demote
    /// counts as fenced, where it was last seen.
    fn believed_tip(&self, id: OrderId) -> Option<Done> {
        let slot = self.active.get(&id).filter(|_| planted("r2-demote-by-ledger-alone"))?.slot?;
        let status = self.engines.get(&slot)?.status.as_ref()?;
        Some(Done::Tip { tip: status.tip, history: status.history.clone() })
    }

    /// A deliberate bug, in no shipped build (S8): an engine that was asked to stop counts as stopped.
    fn believe_stopped(&mut self, id: OrderId) {
        let slot = self.active.get(&id).and_then(|active| active.slot);
        if let Some(engine) = slot.and_then(|slot| self.engines.get_mut(&slot)) {
            engine.state = ProcessState::Down;
        }
        self.finish(id, Outcome::Done(Done::Plain), false);
    }
}

fn never_engine(text: &str) -> Outcome {
    Outcome::NeverWill(NeverWill::Engine(text.into()))
}

fn canary_call(order: &Order) -> Option<EngineCall> {
    match &order.action {
        Action::Canary { store, epoch, to } => {
            Some(EngineCall::Canary { store: store.clone(), epoch: *epoch, to: to.clone(), id: order.id })
        }
        _ => None,
    }
}

fn engine_call(order: &Order, subject: &Subject, catching_up: CatchingUp) -> Option<EngineCall> {
    let epoch = subject.epoch;
    Some(match &order.action {
        Action::Freeze { limit_ms } => EngineCall::Freeze { id: order.id, epoch, limit_ms: *limit_ms },
        Action::Thaw { freeze } => EngineCall::Thaw { id: *freeze },
        Action::CatchUp { source, target } => EngineCall::CatchUp { epoch, source: source.clone(), target: *target },
        Action::Demote => EngineCall::Demote { epoch },
        Action::Raise => EngineCall::Raise { epoch },
        Action::Promote { expect, source: Some(source), .. } if catching_up == CatchingUp::Wanted => {
            EngineCall::CatchUp { epoch, source: source.clone(), target: *expect }
        }
        Action::Promote { expect, sync_copies, .. } => {
            EngineCall::Promote { epoch, expect: *expect, sync_copies: *sync_copies }
        }
        Action::StartMaster { sync_copies } => EngineCall::StartMaster { epoch, sync_copies: *sync_copies },
        Action::Follow { source } => EngineCall::Follow { epoch, source: source.clone() },
        Action::Stop => EngineCall::Stop,
        Action::ListStranded { against } => EngineCall::ListStranded { epoch, against: against.clone() },
        Action::Reinject { to } => EngineCall::Reinject { epoch, to: to.clone() },
        Action::Provision
        | Action::Destroy
        | Action::Adopt
        | Action::Canary { .. }
        | Action::ConfirmStopped
        | Action::Cancel { .. }
        | Action::Fence { .. } => return None,
    })
}

/// What an engine's yes means for the order; an answer that is not of the call's kind proves nothing.
fn outcome_of(action: &Action, done: EngineDone) -> Result<Done, String> {
    let unexpected = |got: &str| Err(format!("the engine answered {got} to {}", action.name()));
    match (action, done) {
        (
            Action::Freeze { .. } | Action::CatchUp { .. } | Action::Demote | Action::Raise | Action::Promote { .. },
            EngineDone::Tip { tip, history },
        ) => Ok(Done::Tip { tip, history }),
        (Action::ListStranded { .. }, EngineDone::Stranded(records)) => Ok(Done::Stranded(records)),
        (Action::Reinject { .. }, EngineDone::Reinjected { appended, present }) => {
            Ok(Done::Reinjected { appended, present })
        }
        (
            Action::Thaw { .. } | Action::StartMaster { .. } | Action::Follow { .. } | Action::Canary { .. },
            EngineDone::Done | EngineDone::Status(_) | EngineDone::Tip { .. },
        ) => Ok(Done::Plain),
        (_, EngineDone::Status(_)) => unexpected("a status"),
        (_, EngineDone::Tip { .. }) => unexpected("a tip"),
        (_, EngineDone::Stranded(_)) => unexpected("stranded records"),
        (_, EngineDone::Reinjected { .. }) => unexpected("reinjected"),
        (_, EngineDone::Done) => unexpected("done without a tip"),
    }
}

fn never_of(error: EngineError) -> NeverWill {
    match error {
        EngineError::OlderEpoch { held, .. } => NeverWill::OlderEpoch { held },
        EngineError::SameEpochOtherRole { epoch, role } => {
            NeverWill::SameEpochOtherRole { epoch, role: format!("{role:?}").to_lowercase() }
        }
        EngineError::OtherStore { held } => NeverWill::OtherCopy { held },
        EngineError::Thawed(_) => NeverWill::Thawed,
        EngineError::NotEqual { have, want } => NeverWill::NotEqual { have, want },
        other => NeverWill::Engine(other.to_string()),
    }
}
