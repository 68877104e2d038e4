//! Dangerous states of engines: freezes, appends under way, histories that part.
//!
//! What always holds: known from the calls an engine takes and the answers it gives, never from its inside.

use super::Reached;
use slot_engine::journal::core as journal;
use slot_engine::journal::core::{AppendOutcome, DiskOp, JournalCore, PeerAnswer, RefusedReason, Reply};
use slot_types::engine::{EngineCall, EngineDone};
use slot_types::ids::{FreezeId, SlotId};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Default)]
struct Engine {
    /// Freezes that were asked for, by request.
    asked: BTreeMap<u64, (FreezeId, u64)>,
    /// The freeze in force, and its limit.
    frozen: Option<(FreezeId, u64)>,
    /// When a freeze would have ended that a demote has ended.
    disarmed: Option<u64>,
    appends: BTreeSet<u64>,
    /// Its source said that their histories part.
    parted: bool,
}

/// See the module's documentation.
#[derive(Default)]
pub(crate) struct Engines {
    pub reached: Reached,
    engines: BTreeMap<SlotId, Engine>,
    /// Freezes that ended without a demote since somebody last asked.
    pub ended: Vec<FreezeId>,
}

impl Engines {
    /// How many appends an engine has not answered.
    pub fn appends(&self, slot: &SlotId) -> usize {
        self.engines.get(slot).map_or(0, |e| e.appends.len())
    }

    /// Whether an engine is frozen.
    pub fn is_frozen(&self, slot: &SlotId) -> bool {
        self.engines.get(slot).is_some_and(|e| e.frozen.is_some())
    }

    pub fn opens(&mut self, slot: &SlotId, core: &JournalCore, effects: &[journal::Effect]) {
        self.engines.insert(slot.clone(), Engine::default());
        let mut ops = effects.iter().filter_map(|e| match e {
            journal::Effect::Disk { ops, .. } => Some(ops),
            _ => None,
        });
        if ops.any(|ops| ops.iter().any(|op| matches!(op, DiskOp::Truncate { .. }))) {
            self.reached.at("P12: a torn end of a log was cut off");
        }
        if core.log().length() > 0 && core.epoch() > core.log().last_epoch() {
            self.reached.at("S2: an engine woke with a higher epoch than its records have");
        }
    }

    pub fn gone(&mut self, slot: &SlotId) {
        let Some(engine) = self.engines.remove(slot) else { return };
        if engine.frozen.is_some() {
            self.reached.at("R12: an engine died in a freeze");
        }
        if !engine.appends.is_empty() {
            self.reached.at("an engine died with appends under way");
        }
    }

    pub fn takes(&mut self, now: u64, slot: &SlotId, event: &journal::Event) {
        let Some(engine) = self.engines.get_mut(slot) else { return };
        if let Some((id, until)) = engine.frozen
            && until <= now
        {
            engine.frozen = None;
            self.ended.push(id);
            self.reached.at("R12: a freeze ended by its own limit");
        }
        if engine.disarmed.is_some_and(|until| until <= now) {
            engine.disarmed = None;
            self.reached.at("R29: the limit of a freeze passed after its demote");
        }
        match event {
            journal::Event::Append { request, .. } => drop(engine.appends.insert(*request)),
            journal::Event::Control { request, call, .. } => match call {
                EngineCall::Freeze { id, limit_ms, .. } => {
                    engine.asked.insert(*request, (*id, now.saturating_add(*limit_ms)));
                }
                EngineCall::Thaw { id } if engine.frozen.is_some_and(|(frozen, _)| frozen == *id) => {
                    engine.frozen = None;
                    self.ended.push(*id);
                }
                EngineCall::Demote { .. } => {
                    if let Some((_, until)) = engine.frozen.take() {
                        engine.disarmed = Some(until);
                        self.reached.at("R29: a demote met a freeze in force");
                    }
                    if !engine.appends.is_empty() {
                        self.reached.at("R2: a demote met appends that were not acknowledged");
                    }
                }
                _ => {}
            },
            journal::Event::CallAnswer { result: Ok(PeerAnswer::Diverged { .. }), .. } => {
                engine.parted = true;
                self.reached.at("R7: a copy's history was not the beginning of its source's");
            }
            _ => {}
        }
    }

    /// An append's answer has left the engine.
    pub fn answered(&mut self, slot: &SlotId, request: u64) {
        if let Some(engine) = self.engines.get_mut(slot) {
            engine.appends.remove(&request);
        }
    }

    pub fn did(&mut self, slot: &SlotId, effects: &[journal::Effect]) {
        let Some(engine) = self.engines.get_mut(slot) else { return };
        if engine.parted {
            engine.parted = false;
            let puts_aside = |op: &DiskOp| matches!(op, DiskOp::Write { file, .. } if file.starts_with("aside-"));
            let aside =
                effects.iter().any(|e| matches!(e, journal::Effect::Disk { ops, .. } if ops.iter().any(puts_aside)));
            if aside {
                self.reached.at("R7: a divergent tail was put aside");
            }
        }
        for effect in effects {
            match effect {
                journal::Effect::Reply { reply: Reply::Append(outcome), .. } => {
                    if let Some(name) = of_append(outcome) {
                        self.reached.at(name);
                    }
                }
                journal::Effect::Reply { request, reply: Reply::Control(answer) } => {
                    let Some(freeze) = engine.asked.remove(request) else { continue };
                    if let Ok(EngineDone::Tip { .. }) = &answer.0 {
                        engine.frozen = Some(freeze);
                    }
                }
                _ => {}
            }
        }
    }
}

fn of_append(outcome: &AppendOutcome) -> Option<&'static str> {
    match outcome {
        AppendOutcome::Done { existed: true, .. } => Some("R21: a record came again and was there"),
        AppendOutcome::Done { .. } => None,
        AppendOutcome::Unknown { .. } => Some("R24: an append ended with its fate unknown"),
        AppendOutcome::Refused(refused) => match refused.reason {
            RefusedReason::TooFewCopies => Some("R24: writes were refused because too few copies followed"),
            RefusedReason::OlderEpoch | RefusedReason::NotMaster => Some("S1: a former master refused a client"),
            RefusedReason::Frozen => Some("R12: a freeze outlasted a client's patience"),
            _ => None,
        },
    }
}
