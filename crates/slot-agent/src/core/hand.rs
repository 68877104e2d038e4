//! A person at the machine starts a master while there is no coordinator to order it (R19).
//!
//! What always holds: nothing here begins but by a person's word; only the copy that its own finished Promote made master is
//! started, at that very epoch, so no epoch is invented (S3); the branch is durable in the ledger before anything is started;
//! an order that comes meanwhile goes first, and while one has anything out a person waits; and whoever asks has said that the
//! disk is the one this host ran on last, since without a coordinator no ledger can tell that it is an old one (S2).

use super::image::{CopyEntry, CopyKey, LedgerImage, LedgerRole, LedgerWrite};
use super::{AgentCore, CallFor, Effect, Engine, Phase, ProcessState, RETRY_PAUSE_MS, Then};
use slot_planted::planted;
use slot_types::engine::{EngineCall, EngineDone, EngineError, EngineRole};
use slot_types::hand::{HAND_REASON_MAX, HAND_STARTS_KEPT, HandStart, HandState};
use slot_types::ids::*;
use slot_types::order::Subject;
use std::collections::BTreeSet;

/// How long a start by hand is tried: an engine reads its whole journal first.
pub const HAND_BUDGET_MS: u64 = 30_000;

/// What a person asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ByHand {
    /// The slot's number.
    pub slot: u16,
    /// The epoch at which the person believes it was master.
    pub epoch: Epoch,
    /// Who, as that person says.
    pub by: OperatorName,
    /// The user, as the kernel says.
    pub uid: u32,
    /// Why.
    pub reason: String,
    /// When, by the clock on the wall; for display.
    pub wall: WallTime,
    /// Whether a coordinator that leads watches this agent now.
    pub led: bool,
    /// That person's word that no older state of this disk was put back (S2).
    pub disk_is_current: bool,
}

/// What a person hears: the branch as the ledger holds it, or why nothing was begun.
pub type ByHandAnswer = Result<HandStart, String>;

/// How far a start by hand is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HandPhase {
    /// Its branch is being recorded.
    Recording,
    /// The engine is being started.
    Launching,
    /// The engine was asked.
    Calling,
    /// Until then, before the engine is asked again.
    Pausing(u64),
}

/// A start by hand under way.
#[derive(Clone, Debug)]
pub(super) struct Hand {
    ask: u64,
    key: CopyKey,
    start: HandStart,
    sync_copies: u8,
    phase: HandPhase,
    /// The engine was asked at least once: what it did is known by its answer alone.
    asked: bool,
    /// An answer of it was lost: it may have been master since, whatever it says later.
    unheard: bool,
    deadline: u64,
    why: String,
}

impl Hand {
    pub(super) fn wake_at(&self) -> Option<u64> {
        match self.phase {
            HandPhase::Pausing(until) => Some(until),
            _ => None,
        }
    }
}

/// Judges by the ledger alone whether that copy was master at that epoch and may be again.
fn judge(image: &LedgerImage, slots: &BTreeSet<u16>, slot: u16, epoch: Epoch) -> Result<(CopyKey, CopyEntry), String> {
    let at = SlotId::new(image.meta.host.clone(), slot);
    if !slots.contains(&slot) {
        return Err(format!("{at} is not in agent.toml; slot-agent local status lists the slots that are"));
    }
    let Some((key, entry)) = image.current(slot) else {
        return Err(format!("{at} holds no copy; there is nothing to start"));
    };
    // S2: until a coordinator has spoken, nobody knows what such a disk has forgotten.
    if image.meta.copied {
        return Err(format!(
            "the ledger of {} was copied or restored, so what it says of {} may be old; a coordinator must admit it first",
            image.meta.host, key.store
        ));
    }
    let may_be_any = planted("r19-any-copy-started-by-hand");
    if entry.epoch != epoch {
        return Err(format!(
            "the ledger holds epoch {} of {}, not {}; nothing else can be started here by hand",
            entry.epoch, key.store, epoch
        ));
    }
    let was_master = entry.role == LedgerRole::Master && entry.settled;
    if !was_master && !may_be_any {
        let unfinished = if entry.settled { "" } else { ", unfinished" };
        return Err(format!(
            "{at} was not the master of {} at epoch {}: the ledger says {}{unfinished}; who may be master next is for the \
             coordinators to say",
            key.store,
            entry.epoch,
            entry.role.name()
        ));
    }
    Ok((key.clone(), entry.clone()))
}

/// S2: an older disk forgot what was demoted since, and only coordinators would notice; here, only a person knows.
fn judge_word(by_hand: &ByHand) -> Result<(), String> {
    if by_hand.disk_is_current || planted("r19-disk-not-vouched-for") {
        return Ok(());
    }
    Err("nobody said that its disk is the one it ran on last: a disk that was restored, cloned or put back has forgotten \
         what was demoted since, and would be a second master; if you know that it was not, say --disk-is-current"
        .into())
}

/// Whether that engine leaves room for a start: it is dead, or idle.
fn judge_engine(engine: Option<&Engine>, key: &CopyKey) -> Result<(), String> {
    let Some(engine) = engine.filter(|engine| engine.state != ProcessState::Down) else { return Ok(()) };
    let ours = engine.serving.store == key.store && engine.serving.generation == key.generation;
    match &engine.status {
        Some(status) if ours && !engine.silent && engine.state == ProcessState::Up => match status.role {
            EngineRole::Idle => Ok(()),
            EngineRole::Master => Err(format!("its engine is master of {} at epoch {}", key.store, status.epoch)),
            other => Err(format!("its engine runs as {}", format!("{other:?}").to_lowercase())),
        },
        _ => {
            Err("its engine runs and does not say what it is; it may be master already: end that process first".into())
        }
    }
}

fn bounded(text: &str) -> String {
    let mut end = text.len().min(HAND_REASON_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

impl AgentCore {
    /// A person asks; nothing is begun before the branch is durable.
    pub(super) fn by_hand(&mut self, ask: u64, by_hand: ByHand) {
        let judged = self.judge_by_hand(by_hand.slot, by_hand.epoch, by_hand.led);
        match judged.and_then(|found| judge_word(&by_hand).map(|()| found)) {
            Ok((key, entry)) => self.record_by_hand(ask, by_hand, key, entry),
            Err(why) => self.effects.push(Effect::Told { ask, answer: Err(why) }),
        }
    }

    pub(super) fn judge_by_hand(&self, slot: u16, epoch: Epoch, led: bool) -> Result<(CopyKey, CopyEntry), String> {
        let (key, entry) = judge(&self.image, &self.config.slots, slot, epoch)?;
        if led && !planted("r19-started-beside-a-leader") {
            return Err(
                "a coordinator that leads watches this host: it starts masters by itself, and slotctl asks it for \
                        anything else"
                    .into(),
            );
        }
        if self.hands.contains_key(&slot) {
            return Err("another start by hand of this slot is under way".into());
        }
        if let Some(order) = self.lanes.get(&slot) {
            return Err(format!("order {order} is under way on this slot; wait until it is over"));
        }
        judge_engine(self.engines.get(&slot), &key)?;
        Ok((key, entry))
    }

    fn record_by_hand(&mut self, ask: u64, by_hand: ByHand, key: CopyKey, mut entry: CopyEntry) {
        let number = entry.by_hand.last().map_or(0, |last| last.number).saturating_add(1);
        let ByHand { slot, epoch, by, uid, reason, wall, .. } = by_hand;
        let (boot, reason, state) = (self.boot, bounded(&reason), HandState::Asked);
        let start = HandStart { number, epoch, boot, by, uid, reason, wall, state };
        entry.stopped = false;
        entry.by_hand.push(start.clone());
        let surplus = entry.by_hand.len().saturating_sub(HAND_STARTS_KEPT);
        entry.by_hand.drain(..surplus);
        let sync_copies = entry.sync_copies;
        if !planted("r19-branch-not-recorded") {
            self.stage(LedgerWrite::Copy(key.clone(), entry));
        }
        let deadline = self.now.saturating_add(HAND_BUDGET_MS);
        let (phase, why) = (HandPhase::Recording, "the engine was not asked yet".into());
        self.hands
            .insert(slot, Hand { ask, key, start, sync_copies, phase, asked: false, unheard: false, deadline, why });
        self.staged_then.push(Then::ByHand(slot));
    }

    /// The branch is durable, or what was out has ended: the next thing, looked at anew (P4).
    pub(super) fn hand_goes_on(&mut self, slot: u16) {
        let Some(hand) = self.hands.get(&slot).cloned() else { return };
        let over = |why: String| if hand.asked { HandState::Asked } else { HandState::Failed(why) };
        if let Some(order) = self.order_waits(slot) {
            return self.hand_ends(slot, over(format!("order {order} came first")));
        }
        let still =
            self.image.current(slot).is_some_and(|(key, entry)| *key == hand.key && entry.epoch == hand.start.epoch);
        if !still {
            return self.hand_ends(slot, over("the copy is another by now".into()));
        }
        if self.now >= hand.deadline {
            return self.hand_ends(slot, over(hand.why.clone()));
        }
        let left = hand.deadline - self.now;
        let is_up = self.engines.get(&slot).is_some_and(|engine| engine.state == ProcessState::Up);
        let phase = if is_up {
            let (epoch, sync_copies) = (hand.start.epoch, hand.sync_copies);
            let call = self.emit_call(Some(slot), EngineCall::StartMaster { epoch, sync_copies }, left);
            self.calls.insert(call, CallFor::Hand(slot));
            HandPhase::Calling
        } else {
            let CopyKey { store, generation, .. } = hand.key;
            self.launch(slot, Subject { store, slot, generation, epoch: hand.start.epoch });
            HandPhase::Launching
        };
        if let Some(hand) = self.hands.get_mut(&slot) {
            hand.asked |= phase == HandPhase::Calling;
            hand.phase = phase;
        }
    }

    fn order_waits(&self, slot: u16) -> Option<OrderId> {
        let waits =
            |(_, active): &(&OrderId, &super::Active)| active.slot == Some(slot) && active.phase == Phase::Queued;
        self.active.iter().find(waits).map(|(id, _)| *id)
    }

    /// A launch ended that a person asked for.
    pub(super) fn hand_launched(&mut self, slot: u16, failed: Option<String>) {
        let Some(hand) = self.hands.get_mut(&slot).filter(|hand| hand.phase == HandPhase::Launching) else { return };
        match failed {
            None => self.hand_goes_on(slot),
            Some(why) => {
                hand.why = why;
                hand.phase = HandPhase::Pausing(self.now + RETRY_PAUSE_MS);
            }
        }
    }

    /// The engine answered a person's StartMaster.
    pub(super) fn hand_answered(&mut self, slot: u16, result: Result<EngineDone, EngineError>) {
        let Some(hand) = self.hands.get_mut(&slot).filter(|hand| hand.phase == HandPhase::Calling) else { return };
        let unheard = hand.unheard;
        match result {
            Ok(EngineDone::Done | EngineDone::Status(_) | EngineDone::Tip { .. }) => {
                self.hand_ends(slot, HandState::Serving);
            }
            // What that means is not known.
            Ok(_) => self.hand_ends(slot, HandState::Asked),
            Err(error) if error.is_transient() => {
                hand.unheard = true;
                hand.why = error.to_string();
                hand.phase = HandPhase::Pausing(self.now + RETRY_PAUSE_MS);
            }
            Err(error) => {
                let state = if unheard { HandState::Asked } else { HandState::Failed(error.to_string()) };
                self.hand_ends(slot, state);
            }
        }
    }

    /// An order came for a slot that a person starts: a pause ends at once.
    pub(super) fn hand_yields(&mut self, slot: u16) {
        if self.hands.get(&slot).is_some_and(|hand| hand.wake_at().is_some()) {
            self.hand_goes_on(slot);
        }
    }

    /// Pauses that are over.
    pub(super) fn hands_wake(&mut self) {
        let now = self.now;
        let over: Vec<u16> = self
            .hands
            .iter()
            .filter(|(_, hand)| hand.wake_at().is_some_and(|until| until <= now))
            .map(|(slot, _)| *slot)
            .collect();
        for slot in over {
            self.hand_goes_on(slot);
        }
    }

    /// Records what came of it, tells the person once that is durable, and lets orders in.
    fn hand_ends(&mut self, slot: u16, state: HandState) {
        let Some(hand) = self.hands.remove(&slot) else { return };
        let start = HandStart { state, ..hand.start };
        if let Some(entry) = self.image.copies.get(&hand.key)
            && entry.by_hand.iter().any(|kept| kept.number == start.number)
        {
            let mut entry = entry.clone();
            for kept in entry.by_hand.iter_mut().filter(|kept| kept.number == start.number) {
                *kept = start.clone();
            }
            self.stage(LedgerWrite::Copy(hand.key, entry));
        }
        if let Some(engine) = self.engines.get_mut(&slot) {
            engine.poll_at = self.now;
        }
        self.staged_then.push(Then::Told(hand.ask, Ok(start)));
        self.report_urgent = true;
        self.start_next(slot);
    }
}
