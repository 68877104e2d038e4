//! Staging of ledger writes, and what follows once they are durable.
//!
//! What always holds: all writes of one step are one transaction; nothing that depends on a write leaves the core before
//! that write is durable (S6); operations become durable in the order in which they were made.

use super::image::{CopyEntry, LedgerRole, LedgerWrite, OUTCOMES_KEPT, OrderEntry};
use super::{AgentCore, Effect, Mark, PendingOp, Phase, ProcessState, REPORT_EVERY_MS, REPORT_GATHER_MS, Then};
use slot_planted::planted;
use slot_types::ids::*;
use slot_types::order::{
    Action, AgentReport, Answer, Done, EngineSeen, NeverWill, Order, Outcome, Receipt, RoleOrdered, SlotReport,
};

impl AgentCore {
    /// Makes one transaction of what the step staged, and a report when there is something to tell.
    pub(super) fn flush(&mut self) {
        if self.staged_meta {
            self.staged.push(LedgerWrite::Meta(self.image.meta.clone()));
            self.staged_meta = false;
        }
        if !self.staged.is_empty() {
            let op = self.next_op;
            self.next_op += 1;
            let writes = std::mem::take(&mut self.staged);
            let then = std::mem::take(&mut self.staged_then);
            let marks = std::mem::take(&mut self.staged_marks);
            self.effects.push(Effect::Persist { op, writes: writes.clone(), marks });
            self.pending.push_back(PendingOp { op, writes, then });
        } else {
            // Nothing of its own to write: what waits, waits for what is being written already, or for nothing.
            let then = std::mem::take(&mut self.staged_then);
            if let Some(last) = self.pending.back_mut() {
                last.then.extend(then);
            } else {
                for then in then {
                    self.follow_up(then);
                }
            }
        }
        self.report_if_due();
    }

    /// Puts a write into the image and into this step's transaction.
    pub(super) fn stage(&mut self, write: LedgerWrite) {
        self.image.apply(&write);
        self.staged.push(write);
    }

    /// S15: the highest term and index are kept for good.
    pub(super) fn note_meta(&mut self, term: Term, index: LogIndex) {
        let meta = &mut self.image.meta;
        if term > meta.term || index > meta.highest {
            meta.term = meta.term.max(term);
            meta.highest = meta.highest.max(index);
            self.staged_meta = true;
        }
    }

    /// What a refusal leaves of its order's index. S2: an order of a boot that has ended is refused by any disk, an older one
    /// too, before the leader has heard of it; it says nothing about how much of the past this ledger holds.
    pub(super) fn note_refusal(&mut self, order: &Order, outcome: &Outcome) {
        let any_disk = matches!(outcome, Outcome::NeverWill(NeverWill::BootEnded(_)));
        self.note_meta(order.term, if any_disk { LogIndex::default() } else { order.index });
    }

    pub(super) fn ledger_done(&mut self, op: u64) {
        while self.pending.front().is_some_and(|front| front.op <= op) {
            let Some(done) = self.pending.pop_front() else { break };
            for write in &done.writes {
                self.durable.apply(write);
            }
            self.report_urgent = true;
            for then in done.then {
                self.follow_up(then);
            }
        }
    }

    fn follow_up(&mut self, then: Then) {
        match then {
            Then::Say(delivery, answer) => self.effects.push(Effect::Answer { delivery, answer }),
            Then::ByHand(slot) => self.hand_goes_on(slot),
            Then::Told(ask, answer) => self.effects.push(Effect::Told { ask, answer }),
            Then::Accepted(id) => {
                if let Some(active) = self.active.get_mut(&id)
                    && active.phase == Phase::Accepting
                {
                    active.phase = Phase::Ready;
                    self.advance(id);
                }
            }
            Then::Recorded(id, answer) => {
                if let Some(active) = self.active.remove(&id) {
                    for waiter in active.waiters {
                        self.effects.push(Effect::Answer { delivery: waiter.delivery, answer: answer.clone() });
                    }
                }
            }
        }
    }

    /// Answers once everything written so far is durable.
    pub(super) fn say_when_durable(&mut self, delivery: u64, answer: Answer) {
        self.staged_then.push(Then::Say(delivery, answer));
    }

    /// Stages an order's outcome and what it means for its copy. The order must have an entry.
    pub(super) fn settle(&mut self, id: OrderId, outcome: Outcome, by_engine: bool) {
        let Some(entry) = self.image.orders.get(&id) else { return };
        let entry = OrderEntry { outcome: Some(outcome.clone()), ..entry.clone() };
        let index = entry.index;
        self.over.insert((index, id));
        if let (Some(slot), Some(active)) = (entry.slot, self.active.get(&id)) {
            let action = active.order.action.clone();
            let uncalled = !active.called && active.role_before.is_some_and(|role| role != LedgerRole::Master);
            let refused = by_engine && matches!(outcome, Outcome::NeverWill(NeverWill::NotEqual { .. }));
            self.settle_copy(slot, index, id, &action, &outcome, refused || uncalled);
        }
        self.stage(LedgerWrite::Order(id, entry));
        self.forget_surplus();
        self.report_urgent = true;
    }

    /// What an outcome makes of the copy's entry. Only the order that is the copy's latest may say anything of it.
    fn settle_copy(
        &mut self,
        slot: u16,
        index: LogIndex,
        id: OrderId,
        action: &Action,
        outcome: &Outcome,
        surely_not: bool,
    ) {
        let Some((key, entry)) = self.image.current(slot) else { return };
        if entry.index != index {
            return;
        }
        let (key, before) = (key.clone(), entry.clone());
        let mut after = before.clone();
        match (outcome, action) {
            (Outcome::Done(_), Action::Freeze { .. }) => {
                after.freeze = Some(id);
                self.frozen_at_op.insert(slot, self.next_op);
            }
            (Outcome::Done(_), Action::Thaw { freeze }) => {
                if after.freeze == Some(*freeze) {
                    after.freeze = None;
                }
                self.end_freeze(*freeze);
            }
            (Outcome::Done(_), Action::Stop) => {
                after.stopped = true;
                after.freeze = None;
            }
            // R11: the tombstone stays, so that nothing older is ever done on this slot.
            (Outcome::Done(_), Action::Destroy) => after.retired = true,
            (
                Outcome::Done(_),
                Action::Demote
                | Action::Raise
                | Action::Promote { .. }
                | Action::Follow { .. }
                | Action::StartMaster { .. },
            ) => after.settled = true,
            // It surely did not become master: the epoch is held, and no role at it.
            (Outcome::NeverWill(_), Action::Promote { .. })
                if surely_not && after.role == LedgerRole::Master && !after.settled =>
            {
                after.role = LedgerRole::Raised;
            }
            _ => {}
        }
        if after.retired && planted("r11-destroyed-without-tombstone") {
            after.index = LogIndex::default();
        }
        if after != before {
            self.stage(LedgerWrite::Copy(key, after));
        }
    }

    /// R1: a freeze's id is over for good once it was thawed: delivered again, its order answers "thawed".
    pub(super) fn end_freeze(&mut self, freeze: FreezeId) {
        if planted("r1-frozen-answered-after-thaw") {
            return;
        }
        if let Some(entry) = self.image.orders.get(&freeze)
            && matches!(entry.outcome, Some(Outcome::Done(Done::Tip { .. })))
        {
            let entry = OrderEntry { outcome: Some(Outcome::NeverWill(NeverWill::Thawed)), ..entry.clone() };
            self.stage(LedgerWrite::Order(freeze, entry));
        }
    }

    /// Records the outcome of an order under way, frees its slot, and tells the cancels that wait for it.
    pub(super) fn finish(&mut self, id: OrderId, outcome: Outcome, by_engine: bool) {
        let Some(active) = self.active.get(&id) else { return };
        if active.phase == Phase::Recording {
            return;
        }
        let (order, slot, called) = (active.order.clone(), active.slot, active.called);
        if !self.image.orders.contains_key(&id) {
            self.stage(LedgerWrite::Order(id, self.entry_for(&order, None)));
            self.note_refusal(&order, &outcome);
        }
        self.settle(id, outcome.clone(), by_engine);
        if called {
            self.staged_marks.push(Mark::Records(order.action.name()));
        }
        let receipt = Receipt { id, index: order.index, outcome: outcome.clone() };
        if let Some(active) = self.active.get_mut(&id) {
            active.phase = Phase::Recording;
        }
        let then = Then::Recorded(id, Answer::Receipt(receipt));
        if planted("s6-answered-before-durable") {
            self.follow_up(then);
        } else {
            self.staged_then.push(then);
        }
        let watchers: Vec<_> =
            self.active.iter().filter(|(_, a)| a.phase == Phase::Watching(id)).map(|(w, _)| *w).collect();
        for watcher in watchers {
            self.finish(watcher, outcome.clone(), false);
        }
        if let Some(slot) = slot {
            self.free_lane(slot, id);
        }
    }

    /// Keeps the number of outcomes bounded; see the module of the image for why that is safe (R4).
    fn forget_surplus(&mut self) {
        while self.over.len() > OUTCOMES_KEPT {
            let image = &self.image;
            let latest = |index: LogIndex, id: &OrderId| {
                let slot = image.orders.get(id).and_then(|entry| entry.slot);
                slot.is_some_and(|slot| image.high_water(slot) == index)
            };
            let Some((index, id)) = self.over.iter().find(|(index, id)| !latest(*index, id)).copied() else { return };
            self.over.remove(&(index, id));
            self.stage(LedgerWrite::Forget(id));
            self.image.meta.forgotten = self.image.meta.forgotten.max(index);
            self.staged_meta = true;
        }
    }

    fn report_if_due(&mut self) {
        let since = self.now.saturating_sub(self.reported_at);
        if !(self.report_urgent || since >= REPORT_EVERY_MS || (self.report_soon && since >= REPORT_GATHER_MS)) {
            return;
        }
        self.report_urgent = false;
        self.report_soon = false;
        self.reported_at = self.now;
        let report = self.report();
        self.effects.push(Effect::Report(report));
    }

    /// What is told to the leader: the durable ledger, and the engines as last seen.
    pub fn report(&self) -> AgentReport {
        let meta = &self.durable.meta;
        let slots = self.durable.copies.iter().filter(|(_, entry)| !entry.retired).map(|(key, entry)| SlotReport {
            slot: key.slot,
            store: key.store.clone(),
            generation: key.generation,
            ledger_epoch: entry.epoch,
            ledger_master: entry.role == LedgerRole::Master && entry.settled,
            ordered: ordered(entry),
            stopped: entry.stopped,
            sync_copies: entry.sync_copies,
            by_hand: entry.by_hand.clone(),
            engine: self.engine_seen(key.slot),
        });
        let mut slots: Vec<_> = slots.collect();
        // An engine that runs where the ledger knows no copy: the ledger was lost, and the engine was not.
        for (slot, engine) in &self.engines {
            if engine.state != ProcessState::Down && slots.iter().all(|known| known.slot != *slot) {
                slots.push(SlotReport {
                    slot: *slot,
                    store: engine.serving.store.clone(),
                    generation: engine.serving.generation,
                    ledger_epoch: Epoch::ZERO,
                    ledger_master: false,
                    ordered: RoleOrdered::Unknown,
                    stopped: false,
                    sync_copies: 0,
                    by_hand: Vec::new(),
                    engine: self.engine_seen(*slot),
                });
            }
        }
        AgentReport {
            cluster: meta.cluster,
            host: meta.host.clone(),
            incarnation: meta.incarnation,
            boot: self.boot,
            high_water: meta.highest,
            slots,
            running: self.durable.open_orders().into_iter().collect(),
            // No I/O here: who sends it asks the disk, and measures.
            disk: None,
            load: None,
        }
    }

    fn engine_seen(&self, slot: u16) -> EngineSeen {
        use super::ProcessState::*;
        match self.engines.get(&slot) {
            None => EngineSeen::NotRunning,
            Some(engine) => match (engine.state, &engine.status) {
                (Down, _) => EngineSeen::NotRunning,
                (Up, Some(status)) if !engine.silent => EngineSeen::Running(Box::new(status.clone())),
                (Launching | Up | Killing, _) => EngineSeen::Silent,
            },
        }
    }
}

fn ordered(entry: &CopyEntry) -> RoleOrdered {
    match entry.role {
        LedgerRole::Idle | LedgerRole::Raised | LedgerRole::Replica => RoleOrdered::Replica,
        LedgerRole::Master => RoleOrdered::Master { done: entry.settled },
        LedgerRole::Demoted => RoleOrdered::Demoted { done: entry.settled },
    }
}
