//! Dangerous states of orders: when they come to an agent, and what it says.
//!
//! What always holds: each order is decoded once, when its agent takes it; what is known of a ledger comes from what became
//! durable in it.

use super::Reached;
use slot_agent::core as agent;
use slot_agent::core::image::{LedgerImage, LedgerWrite};
use slot_machine::state::{PlanStatus, State, TaskState};
use slot_machine::unwind::{CANCEL_BIT, SERVE_BIT, THAW_BIT};
use slot_types::codec;
use slot_types::ids::*;
use slot_types::order::{Action, Answer, NeverWill, Order, Outcome};
use std::collections::{BTreeMap, BTreeSet};

/// What an agent was asked and has not answered.
#[derive(Clone, Copy)]
enum Asked {
    Thaw(FreezeId),
    CatchUp(PlanId, u16),
    Demote,
    Other,
}

/// A host as its ledger and its power say.
#[derive(Default)]
struct Host {
    boot: Option<BootId>,
    incarnation: Option<Incarnation>,
    term: Term,
    generation: u32,
}

/// See the module's documentation.
#[derive(Default)]
pub(crate) struct Orders {
    pub reached: Reached,
    hosts: BTreeMap<HostName, Host>,
    asked: BTreeMap<(HostName, u64), Asked>,
    delivered: BTreeSet<OrderId>,
    over: BTreeSet<OrderId>,
    thawed: BTreeSet<FreezeId>,
    /// Tasks whose copies were found equal.
    pub compared: BTreeSet<(PlanId, u16)>,
    /// Slots that a demote is under way on.
    pub demoting: BTreeSet<SlotId>,
}

impl Orders {
    pub fn powered(&mut self, host: &HostName, boot: BootId) {
        self.hosts.entry(host.clone()).or_default().boot = Some(boot);
    }

    pub fn opens(&mut self, host: &HostName, boot: BootId, image: &LedgerImage) {
        let (incarnation, generation) = (Some(image.meta.incarnation), image.meta.highest.generation());
        let known = Host { boot: Some(boot), incarnation, term: image.meta.term, generation };
        self.hosts.insert(host.clone(), known);
        self.asked.retain(|(of, _), _| of != host);
        if image.orders.values().any(|entry| entry.outcome.is_none()) {
            self.reached.at("S6: an agent woke with an accepted order open");
        }
    }

    /// An order comes.
    pub fn takes(&mut self, host: &HostName, delivery: u64, bytes: &[u8], state: &State) {
        let Ok(order) = codec::decode::<Order>(bytes) else { return };
        self.by_sender(host, &order);
        self.by_plan(&order, state);
        let id = order.id;
        if self.over.contains(&id) {
            self.reached.at("S6: an order came again after its outcome");
        }
        match &order.action {
            Action::Freeze { .. } if self.thawed.contains(&id) => {
                self.reached.at("R1: a freeze was delivered again after its thaw");
            }
            Action::Cancel { order: target } if !self.delivered.contains(target) => {
                self.reached.at("R4: a cancel came before its order");
            }
            _ => {}
        }
        self.delivered.insert(id);
        let asked = match &order.action {
            Action::Thaw { freeze } => Asked::Thaw(*freeze),
            Action::CatchUp { .. } => Asked::CatchUp(id.plan, id.task),
            Action::Demote => Asked::Demote,
            _ => Asked::Other,
        };
        if let (Asked::Demote, Some(subject)) = (asked, &order.subject) {
            self.demoting.insert(SlotId::new(host.clone(), subject.slot));
        }
        self.asked.insert((host.clone(), delivery), asked);
    }

    fn by_sender(&mut self, host: &HostName, order: &Order) {
        let Some(known) = self.hosts.get(host) else { return };
        let boot = known.boot.is_some_and(|boot| boot != order.boot);
        let disk = known.incarnation.is_some_and(|disk| disk != order.incarnation);
        if order.index.generation() < known.generation {
            self.reached.at("S16: an order of a former generation came to a re-adopted host");
        }
        let old = order.term < known.term;
        if boot && order.action.is_role_order() {
            self.reached.at("R27: an order arrived for a boot that has ended");
        }
        if disk {
            self.reached.at("S15: an order arrived for another disk");
        }
        if old {
            self.reached.at("S15: an order of a deposed leader arrived");
        }
    }

    fn by_plan(&mut self, order: &Order, state: &State) {
        let id = order.id;
        let settles = id.step & (CANCEL_BIT | THAW_BIT | SERVE_BIT) != 0;
        if let Some(record) = state.plans.get(&id.plan).filter(|_| !settles) {
            match &record.status {
                PlanStatus::Aborted { .. } | PlanStatus::Aborting { .. } => {
                    self.reached.at("R4: an order arrived after its plan was aborted");
                }
                status if status.is_ended() => self.reached.at("R4: an order arrived after its plan was over"),
                _ => {}
            }
            let task = record.tasks.get(usize::from(id.task)).map(|t| &t.state);
            if matches!(task, Some(TaskState::Superseded { .. })) {
                self.reached.at("R13: an order arrived after a failover had taken its store");
            }
        }
        let Some(subject) = &order.subject else { return };
        let store = state.cluster.as_ref().and_then(|c| c.stores.get(&subject.store));
        if store.is_some_and(|store| store.epoch > subject.epoch) {
            match order.action {
                Action::StartMaster { .. } => self.reached.at("R5: a late StartMaster arrived at a higher epoch"),
                Action::Promote { .. } => self.reached.at("R3: a late Promote arrived at a higher epoch"),
                _ => self.reached.at("S2: an order of an older epoch arrived"),
            }
        }
    }

    /// What an agent wants done.
    pub fn did(&mut self, host: &HostName, effects: &[agent::Effect]) {
        for effect in effects {
            match effect {
                agent::Effect::Answer { delivery, answer } => self.answers(host, *delivery, answer),
                agent::Effect::Kill { slot, .. } if self.demoting.contains(&SlotId::new(host.clone(), *slot)) => {
                    self.reached.at("R2: a hung engine was killed for its demote");
                }
                _ => {}
            }
        }
    }

    fn answers(&mut self, host: &HostName, delivery: u64, answer: &Answer) {
        let Some(asked) = self.asked.remove(&(host.clone(), delivery)) else { return };
        if matches!(asked, Asked::Demote) {
            self.demoting.retain(|slot| slot.host != *host);
        }
        let receipt = match answer {
            Answer::Receipt(receipt) => receipt,
            Answer::NotYet { .. } => return self.reached.at("S6: an order proved nothing yet"),
            Answer::Refused { .. } => return self.reached.at("S15: an order was not even considered"),
        };
        self.over.insert(receipt.id);
        match (&receipt.outcome, asked) {
            (Outcome::Done(_), Asked::Thaw(freeze)) => drop(self.thawed.insert(freeze)),
            (Outcome::Done(_), Asked::CatchUp(plan, task)) => drop(self.compared.insert((plan, task))),
            (Outcome::NeverWill(NeverWill::Thawed), _) => self.reached.at("R1: a freeze was answered: thawed"),
            (Outcome::NeverWill(NeverWill::OlderEpoch { .. } | NeverWill::Superseded { .. }), _) => {
                self.reached.at("R4: an order lost to a later one of its slot");
            }
            _ => {}
        }
    }

    /// What became durable in a ledger.
    pub fn durable(&mut self, host: &HostName, writes: &[LedgerWrite]) {
        for write in writes {
            match write {
                LedgerWrite::Meta(meta) => {
                    let known = self.hosts.entry(host.clone()).or_default();
                    (known.incarnation, known.term) = (Some(meta.incarnation), meta.term);
                    known.generation = meta.highest.generation();
                }
                LedgerWrite::Copy(_, entry) if entry.retired => {
                    self.reached.at("R11: a copy was retired and its tombstone kept");
                }
                LedgerWrite::Order(_, entry) if entry.fingerprint.is_none() => {
                    self.reached.at("R4: a cancel left a tombstone for an order that had not come");
                }
                _ => {}
            }
        }
    }
}
