//! What becomes of a delivery: refused, answered from the ledger, joined to the order under way, queued or accepted.
//!
//! What always holds: an order that is known is never accepted anew (R4, S6); an order of a slot is accepted only while no
//! other order of that slot has anything out (R21); a newer order makes an older one stop unless something was already
//! asked for it (P4).

use super::admit::{self, Judgement};
use super::image::{CopyEntry, LedgerWrite, OrderEntry, fingerprint};
use super::{ACTIVE_MAX, Active, AgentCore, CatchingUp, Effect, Mark, Phase, ProcessState, Then, Waiter};
use borsh::BorshDeserialize;
use slot_planted::planted;
use slot_types::codec;
use slot_types::ids::*;
use slot_types::order::{Action, Answer, Done, NeverWill, Order, Outcome, Receipt};

/// A deliberate bug, in no shipped build (S11): what comes behind an order in its message is overlooked.
fn order_and_more(bytes: &[u8]) -> Option<Order> {
    let mut rest = bytes.get(2..).filter(|_| planted("s11-trailing-bytes-overlooked"))?;
    Order::deserialize(&mut rest).ok()
}

/// A deliberate bug, in no shipped build (R4): only what was done is kept, what was refused is judged again.
fn is_judged_again(known: &Option<Outcome>) -> bool {
    matches!(known, Some(Outcome::NeverWill(_))) && planted("r4-refusal-judged-again")
}

/// A deliberate bug, in no shipped build (S6): what was done is done again when its order comes again.
fn is_performed_again(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Done(_)) && planted("s6-redelivery-performed-again")
}

impl AgentCore {
    pub(super) fn deliver(&mut self, delivery: u64, bytes: &[u8]) {
        let order: Order = match codec::decode(bytes) {
            Ok(order) => order,
            Err(_) if let Some(order) = order_and_more(bytes) => order,
            Err(e) => return self.refuse(delivery, e.to_string()),
        };
        if let Err(why) = admit::sender(&self.image, &order) {
            return self.refuse(delivery, why);
        }
        self.note_meta(order.term, LogIndex::default());
        let id = order.id;
        if let Some(entry) = self.image.orders.get(&id)
            && entry.fingerprint.is_some_and(|known| known != fingerprint(&order))
        {
            return self.refuse(delivery, format!("order {id} was delivered before with another content"));
        }
        if self.active.contains_key(&id) && !planted("s11-duplicate-begins-anew") {
            return self.join(delivery, order);
        }
        let known = self.image.orders.get(&id).map(|entry| entry.outcome.clone());
        match known.filter(|known| !is_judged_again(known)) {
            Some(Some(outcome)) if !is_performed_again(&outcome) => {
                let receipt = Receipt { id, index: order.index, outcome };
                self.say_when_durable(delivery, Answer::Receipt(receipt));
            }
            // Accepted by this boot, and nothing under way: performed again, every call being idempotent.
            Some(_) => self.begin(delivery, order),
            None => match admit::judge(&self.image, &self.config.slots, self.boot, &order) {
                Judgement::Lawful => self.begin(delivery, order),
                Judgement::Never(why) => self.record_refusal(delivery, order, why),
                Judgement::Refused(why) => self.refuse(delivery, why),
            },
        }
    }

    fn refuse(&mut self, delivery: u64, why: String) {
        self.effects.push(Effect::Answer { delivery, answer: Answer::Refused { why } });
    }

    /// R4: refusals are kept too, so that every later delivery hears the same.
    fn record_refusal(&mut self, delivery: u64, order: Order, why: NeverWill) {
        let outcome = Outcome::NeverWill(why);
        let entry = self.entry_for(&order, None);
        self.stage(LedgerWrite::Order(order.id, entry));
        self.note_refusal(&order, &outcome);
        self.settle(order.id, outcome.clone(), false);
        self.say_when_durable(delivery, Answer::Receipt(Receipt { id: order.id, index: order.index, outcome }));
    }

    pub(super) fn entry_for(&self, order: &Order, outcome: Option<Outcome>) -> OrderEntry {
        let about_slot = admit::is_about_a_slot(&order.action);
        OrderEntry {
            index: order.index,
            slot: order.subject.as_ref().filter(|_| about_slot).map(|subject| subject.slot),
            boot: self.boot,
            fingerprint: Some(fingerprint(order)),
            outcome,
        }
    }

    /// The same order again while it is under way: both deliveries hear the same answer.
    fn join(&mut self, delivery: u64, order: Order) {
        let now = self.now;
        let Some(active) = self.active.get_mut(&order.id) else { return };
        if fingerprint(&active.order) != fingerprint(&order) {
            return self.refuse(delivery, format!("order {} is under way with another content", order.id));
        }
        active.order.term = active.order.term.max(order.term);
        let deadline = now.saturating_add(order.budget_ms);
        active.deadline = active.deadline.max(deadline);
        active.waiters.push(Waiter { delivery, deadline });
    }

    fn begin(&mut self, delivery: u64, order: Order) {
        if self.active.len() >= ACTIVE_MAX {
            let why = format!("{ACTIVE_MAX} orders are under way on this host");
            return self.effects.push(Effect::Answer { delivery, answer: Answer::NotYet { why } });
        }
        let id = order.id;
        let deadline = self.now.saturating_add(order.budget_ms);
        let slot = order.subject.as_ref().filter(|_| admit::is_about_a_slot(&order.action)).map(|subject| subject.slot);
        let active = Active {
            slot,
            phase: Phase::Queued,
            waiters: vec![Waiter { delivery, deadline }],
            deadline,
            started: self.now,
            called: false,
            cancelled: false,
            role_before: None,
            catching_up: CatchingUp::NotAsked,
            fencing: super::fence::Fencing::default(),
            provisioned: false,
            removed: false,
            asked: false,
            killed: false,
            why: "an earlier order of this slot has a call under way".into(),
            order,
        };
        self.active.insert(id, active);
        match slot {
            Some(slot) => self.enter_lane(slot, id),
            None => self.begin_for_host(id),
        }
    }

    fn enter_lane(&mut self, slot: u16, id: OrderId) {
        if self.hands.contains_key(&slot) {
            // R19, R21: what a person began ends first; it looks for orders before each of its effects.
            return self.hand_yields(slot);
        }
        let Some(running) = self.lanes.get(&slot).copied().filter(|_| !planted("r21-attempt-beside-attempt")) else {
            return self.start_next(slot);
        };
        // P4: a newer order makes the older one stop, unless it has something out.
        let idle = self
            .active
            .get(&running)
            .is_some_and(|r| matches!(r.phase, Phase::Accepting | Phase::Ready | Phase::Pausing(_)));
        if idle {
            let held = self.active.get(&id).map(|active| active.order.index).unwrap_or_default();
            self.finish(running, Outcome::NeverWill(NeverWill::Superseded { held }), false);
        }
    }

    /// Frees a slot of the order that is over there, and lets the next begin.
    pub(super) fn free_lane(&mut self, slot: u16, id: OrderId) {
        if self.lanes.get(&slot) == Some(&id) {
            self.lanes.remove(&slot);
            self.start_next(slot);
        }
    }

    /// The newest queued order begins; older ones are then superseded (R4).
    pub(super) fn start_next(&mut self, slot: u16) {
        let mut queued: Vec<_> = self
            .active
            .iter()
            .filter(|(_, active)| active.slot == Some(slot) && active.phase == Phase::Queued)
            .map(|(id, active)| (active.order.index, *id))
            .collect();
        queued.sort();
        while let Some((_, id)) = queued.pop() {
            self.accept_queued(slot, id);
        }
    }

    fn accept_queued(&mut self, slot: u16, id: OrderId) {
        let Some(active) = self.active.get_mut(&id).filter(|active| active.phase == Phase::Queued) else { return };
        let order = active.order.clone();
        let known = self.image.orders.get(&id).map(|entry| entry.outcome.clone());
        match known.filter(|known| !is_judged_again(known)) {
            // It was over before its turn came: a newer order took its place, or it was cancelled.
            Some(Some(outcome)) if !is_performed_again(&outcome) => {
                active.phase = Phase::Recording;
                let receipt = Receipt { id, index: order.index, outcome };
                return self.staged_then.push(Then::Recorded(id, Answer::Receipt(receipt)));
            }
            Some(_) => {
                active.phase = Phase::Ready;
                self.lanes.insert(slot, id);
                return self.advance(id);
            }
            None => {}
        }
        // S16: the host may have been re-adopted while this one waited for its turn.
        if let Err(why) = admit::generation(&self.image, &order) {
            return self.never_began(id, &why);
        }
        match admit::judge(&self.image, &self.config.slots, self.boot, &order) {
            Judgement::Lawful => self.accept_for_slot(slot, id, &order),
            Judgement::Never(why) => self.finish(id, Outcome::NeverWill(why), false),
            Judgement::Refused(why) => self.never_began(id, &why),
        }
    }

    /// An order that had waited can't be considered any more: nothing of it is durable.
    fn never_began(&mut self, id: OrderId, why: &str) {
        let waiters = self.active.remove(&id).map(|active| active.waiters).unwrap_or_default();
        for waiter in waiters {
            self.refuse(waiter.delivery, why.to_string());
        }
    }

    /// Writes that the order is accepted, with its index and epoch, before anything is performed for it (S6).
    fn accept_for_slot(&mut self, slot: u16, id: OrderId, order: &Order) {
        let Some(subject) = &order.subject else { return };
        // What an earlier order of this slot left open is over with this one: at most one is open per slot (R21).
        let open: Vec<_> = self
            .image
            .orders
            .iter()
            .filter(|(other, entry)| **other != id && entry.slot == Some(slot) && entry.outcome.is_none())
            .map(|(other, _)| *other)
            .collect();
        for other in open {
            self.settle(other, Outcome::NeverWill(NeverWill::Superseded { held: order.index }), false);
        }
        let before = self.image.current(slot).map(|(key, entry)| (key.clone(), entry.clone()));
        let named = super::image::CopyKey { slot, store: subject.store.clone(), generation: subject.generation };
        let there = before.as_ref().map(|(old, _)| old).filter(|old| admit::is_copy(old, subject));
        let key = there.cloned().unwrap_or(named);
        if let Some((old, entry)) = &before
            && *old != key
        {
            // R11: the tombstone stays.
            let retired = CopyEntry { retired: true, ..entry.clone() };
            self.stage(LedgerWrite::Copy(old.clone(), retired));
        }
        // A tombstone stays one: what is destroyed once more, or never was here, does not live again (R11).
        let gone = before.is_none() && order.action == Action::Destroy;
        let tombstone = self.image.copies.get(&key).cloned();
        let same = before.filter(|(old, _)| *old == key).map(|(_, entry)| entry).or(tombstone);
        let entry = admit::accepted_entry(same.as_ref(), order, subject);
        self.stage(LedgerWrite::Copy(key, CopyEntry { retired: gone, ..entry }));
        if let Some(active) = self.active.get_mut(&id) {
            active.role_before = same.map(|entry| entry.role);
        }
        self.lanes.insert(slot, id);
        self.accept(id, order);
    }

    fn accept(&mut self, id: OrderId, order: &Order) {
        let entry = self.entry_for(order, None);
        self.stage(LedgerWrite::Order(id, entry));
        // S2: this disk was admitted, since an order was sent to it.
        self.staged_meta |= std::mem::take(&mut self.image.meta.copied);
        self.note_meta(order.term, order.index);
        self.staged_marks.push(Mark::Accepts(order.action.name()));
        self.staged_then.push(Then::Accepted(id));
        if let Some(active) = self.active.get_mut(&id) {
            active.phase = Phase::Accepting;
            active.why = "not accepted durably yet".into();
        }
        if planted("s6-performed-before-accepted")
            && let Some(active) = self.active.get_mut(&id)
        {
            active.phase = Phase::Ready;
            self.advance(id);
        }
    }

    /// Orders about the whole host run beside each other.
    fn begin_for_host(&mut self, id: OrderId) {
        let Some(active) = self.active.get_mut(&id) else { return };
        let order = active.order.clone();
        match &order.action {
            Action::Cancel { order: target } => self.cancel(id, &order, *target),
            Action::ConfirmStopped => {
                let outcome = self.confirm_stopped(id);
                self.note_meta(order.term, order.index);
                self.finish(id, outcome, false);
            }
            _ if self.image.orders.contains_key(&id) => {
                active.phase = Phase::Ready;
                self.advance(id);
            }
            _ => self.accept(id, &order),
        }
    }

    /// S8: no engine process is alive and no order is open or under way, but this one.
    fn confirm_stopped(&self, id: OrderId) -> Outcome {
        let engines = self.engines.iter().filter(|(_, e)| e.state != ProcessState::Down);
        let mut running: Vec<String> =
            engines.map(|(slot, e)| format!("slot {slot:02} ({})", e.serving.store)).collect();
        let under_way = self
            .active
            .iter()
            .filter(|(other, a)| **other != id && a.phase != Phase::Recording)
            .map(|(other, _)| *other);
        let mut orders = self.image.open_orders();
        orders.extend(under_way);
        running.extend(orders.iter().map(|order| format!("order {order}")));
        running.extend(self.hands.keys().map(|slot| format!("a start by hand of slot {slot:02}")));
        if running.is_empty() {
            Outcome::Done(Done::Plain)
        } else {
            Outcome::NeverWill(NeverWill::StillRunning(running.join(", ")))
        }
    }

    /// R4: after this the target has an outcome for good, and the cancel's own outcome is the target's.
    fn cancel(&mut self, id: OrderId, order: &Order, target: OrderId) {
        self.note_meta(order.term, order.index);
        if let Some(active) = self.active.get_mut(&target)
            && active.phase != Phase::Recording
        {
            active.cancelled = true;
            let out = matches!(
                active.phase,
                Phase::Calling | Phase::Launching | Phase::Killing | Phase::Provisioning | Phase::Removing
            ) || active.device_asked();
            if let Some(active) = self.active.get_mut(&id) {
                active.phase = Phase::Watching(target);
                active.why = format!("order {target} has a call under way");
            }
            if !out {
                // Finishing the target finishes this order too, in the same transaction.
                self.finish(target, Outcome::NeverWill(NeverWill::Cancelled), false);
            }
            return;
        }
        let known = self.image.orders.get(&target).map(|entry| entry.outcome.clone());
        let outcome = match known {
            Some(Some(outcome)) => outcome,
            Some(None) => {
                self.settle(target, Outcome::NeverWill(NeverWill::Cancelled), false);
                Outcome::NeverWill(NeverWill::Cancelled)
            }
            None if planted("r4-cancel-leaves-no-tombstone") || admit::takes_any_index() => {
                Outcome::NeverWill(NeverWill::Cancelled)
            }
            None => {
                // A tombstone: should the order still come, it is answered by this. Once it is forgotten, the high-water
                // covers it, since a cancel's index is higher than its target's.
                let tombstone =
                    OrderEntry { index: order.index, slot: None, boot: self.boot, fingerprint: None, outcome: None };
                self.stage(LedgerWrite::Order(target, tombstone));
                self.settle(target, Outcome::NeverWill(NeverWill::Cancelled), false);
                Outcome::NeverWill(NeverWill::Cancelled)
            }
        };
        self.finish(id, outcome, false);
    }
}
