//! Agents: their ledgers as they are on disk, their answers, and what they do for which order (S2, S6, S10, S11, S15, R4, R11,
//! R27).
//!
//! What always holds: a ledger is known from the transactions that its disk took; an order is known from the bytes that
//! reached the agent, and what coordinators sent is kept beside them.

mod deeds;
mod generations;

pub(crate) use self::deeds::epoch_of;

use self::deeds::{call_name, permits};
use super::Found;
use super::by_hand::{self, Hands};
use super::commits::Commits;
use super::engines::Freeze;
use slot_agent::core::Effect;
use slot_agent::core::image::{CopyEntry, CopyKey, LedgerImage, LedgerMeta, LedgerWrite, OrderEntry};
use slot_types::codec;
use slot_types::engine::EngineCall;
use slot_types::ids::*;
use slot_types::order::{Action, Answer, Done, NeverWill, Order, Outcome};
use std::collections::{BTreeMap, BTreeSet};

/// What of a copy's entry may not go back.
#[derive(Clone, PartialEq, Eq)]
struct Copy {
    epoch: Epoch,
    index: LogIndex,
    retired: bool,
    stopped: bool,
    freeze: Option<FreezeId>,
}

/// One host.
#[derive(Default)]
struct Host {
    boot: Option<BootId>,
    meta: Option<LedgerMeta>,
    copies: BTreeMap<CopyKey, Copy>,
    orders: BTreeMap<OrderId, OrderEntry>,
    /// Orders that had an outcome and were forgotten.
    forgotten: BTreeSet<OrderId>,
    open: BTreeMap<u16, BTreeSet<OrderId>>,
    /// Orders as they reached this agent, each with the highest term it came with.
    delivered: BTreeMap<OrderId, Order>,
    /// R4: orders of which a cancel was told that they never will take effect.
    cancelled: BTreeSet<OrderId>,
    /// R21: engines' calls that are out, and at which slot.
    out: BTreeMap<u64, u16>,
    /// R1: freezes that were seen to end, by a thaw or by themselves.
    ended: BTreeSet<OrderId>,
    /// R19: what people did at the machine.
    hands: Hands,
    /// S16: whose orders it takes, by the Adopts that its disk took.
    generation: u32,
    /// R3: the epoch at which a copy was last ordered to be master, until an order that fences it is done.
    masters: BTreeMap<CopyKey, Epoch>,
    touched: bool,
}

fn of_entry(entry: &CopyEntry) -> Copy {
    Copy {
        epoch: entry.epoch,
        index: entry.index,
        retired: entry.retired,
        stopped: entry.stopped,
        freeze: entry.freeze,
    }
}

/// See the module's documentation.
#[derive(Default)]
pub(crate) struct Ledgers {
    hosts: BTreeMap<HostName, Host>,
    /// What coordinators sent.
    sent: BTreeMap<OrderId, Vec<(HostName, Order)>>,
    outcomes: BTreeMap<OrderId, Vec<Outcome>>,
    fences: BTreeMap<SlotId, BTreeMap<(StoreName, CopyGeneration), Epoch>>,
}

/// The bits of a step number that mark cancels, thaws and serving again (`slot_machine::unwind`).
pub(crate) const MARKS: u16 = 0x8000 | 0x4000 | 0x2000;

fn same_order(a: &Order, b: &Order) -> bool {
    (&a.id, a.index, &a.subject, &a.action) == (&b.id, b.index, &b.subject, &b.action)
        && (a.cluster, a.incarnation, a.boot) == (b.cluster, b.incarnation, b.boot)
}

impl Ledgers {
    pub fn powered(&mut self, host: &HostName, boot: Option<BootId>) {
        self.hosts.entry(host.clone()).or_default().boot = boot;
    }

    /// The boot that runs on a host; `None` while it has no power.
    pub fn power(&self, host: &HostName) -> Option<BootId> {
        self.hosts.get(host).and_then(|known| known.boot)
    }

    pub fn touched(&mut self, host: &HostName) {
        let host = self.hosts.entry(host.clone()).or_default();
        host.touched = true;
        host.cancelled.clear();
        host.ended.clear();
    }

    /// The stores whose copies an agent's ledger durably holds on a slot.
    pub fn held_on<'a>(&'a self, slot: &'a SlotId) -> impl Iterator<Item = &'a StoreName> {
        let copies = self.hosts.get(&slot.host).into_iter().flat_map(|host| &host.copies);
        copies.filter(|(key, copy)| key.slot == slot.number && !copy.retired).map(|(key, _)| &key.store)
    }

    /// Whether the disk of a host was replaced, or an older one put back.
    pub fn is_touched(&self, host: &HostName) -> bool {
        self.hosts.get(host).is_some_and(|host| host.touched)
    }

    /// Below which epoch an agent's durable word keeps a copy from acknowledging (R2, R5).
    pub fn fenced(&self, slot: &SlotId, store: &StoreName, generation: CopyGeneration) -> Epoch {
        let Some(fences) = self.fences.get(slot) else { return Epoch::ZERO };
        let is_it = |((s, g), epoch): (&(StoreName, CopyGeneration), &Epoch)| {
            (s == store && *g == generation).then_some(*epoch)
        };
        fences.iter().find_map(is_it).unwrap_or(Epoch::ZERO)
    }

    /// Whether an agent's ledger ever durably held that outcome of an order.
    pub fn gave(&self, id: &OrderId, outcome: &Outcome) -> bool {
        self.outcomes.get(id).is_some_and(|all| all.contains(outcome))
    }

    /// A coordinator sends an order; what it is, if it can be read. S12: what it rests on is committed; R18: no thaw after the
    /// commit.
    pub fn emitted(&mut self, found: &mut Found, commits: &Commits, host: &HostName, bytes: &[u8]) -> Option<Order> {
        let order: Order = match codec::decode(bytes) {
            Ok(order) => order,
            Err(error) => {
                found.say("S11", format!("an order that can't be read is sent to {host}: {error}"));
                return None;
            }
        };
        commits.check_order(found, host, &order);
        let known = self.sent.entry(order.id).or_default();
        let moved = |(_, o): &(HostName, Order)| o.index == order.index && o.boot != order.boot;
        // Every host is told to adopt under one number, whatever its boot (R10).
        let is_step = order.id.step & MARKS == 0 && order.action != Action::Adopt;
        if is_step && known.iter().any(moved) {
            found.say("R27", format!("{} is sent again for another boot of {host}", order.id));
        }
        if !known.iter().any(|(to, o)| to == host && same_order(o, &order)) {
            known.push((host.clone(), order.clone()));
        }
        Some(order)
    }

    /// A person at the machine asks an agent for a master.
    pub fn asked_by_hand(&mut self, host: &HostName, by_hand: &slot_agent::core::hand::ByHand) {
        self.hosts.entry(host.clone()).or_default().hands.asks(by_hand);
    }

    /// What people did at a host's machine.
    pub fn hands(&self, host: &HostName) -> Option<&Hands> {
        self.hosts.get(host).map(|host| &host.hands)
    }

    /// Whether a person started that copy at that epoch by hand (R19).
    pub fn has_branch(&self, slot: &SlotId, store: &StoreName, generation: CopyGeneration, epoch: Epoch) -> bool {
        let key = CopyKey { slot: slot.number, store: store.clone(), generation };
        self.hands(&slot.host).is_some_and(|hands| hands.has_branch(&key, epoch))
    }

    /// R19: at the end, the audit tells of every branch on a disk that was never touched.
    pub fn branches_told(
        &self,
        found: &mut Found,
        state: &slot_machine::state::State,
        touched: &BTreeMap<HostName, u64>,
    ) {
        for (name, host) in self.hosts.iter().filter(|(name, _)| !touched.contains_key(*name)) {
            by_hand::all_told(found, state, name, &host.hands);
        }
    }

    /// An agent is about to take a delivery.
    pub fn delivered(&mut self, host: &HostName, bytes: &[u8]) {
        let Ok(order) = codec::decode::<Order>(bytes) else { return };
        let host = self.hosts.entry(host.clone()).or_default();
        let accepted = host.orders.contains_key(&order.id);
        match host.delivered.get_mut(&order.id) {
            Some(known) if same_order(known, &order) => known.term = known.term.max(order.term),
            // An order that was accepted is not replaced by one with another content.
            Some(_) if accepted => {}
            _ => drop(host.delivered.insert(order.id, order)),
        }
    }

    /// An engine's answer, or none in time, reaches an agent.
    pub fn call_over(&mut self, host: &HostName, call: u64) {
        if let Some(host) = self.hosts.get_mut(host) {
            host.out.remove(&call);
        }
    }

    /// An agent begins from its disk: what was durable is there.
    pub fn opens(&mut self, found: &mut Found, name: &HostName, boot: BootId, image: &LedgerImage) {
        let host = self.hosts.entry(name.clone()).or_default();
        host.boot = Some(boot);
        host.out.clear();
        host.hands.opens(found, name, image);
        let same_disk = host.meta.as_ref().is_some_and(|m| m.incarnation == image.meta.incarnation);
        if same_disk && !host.touched {
            let gone = host.copies.iter().find(|(key, known)| {
                image.copies.get(*key).is_none_or(|now| now.epoch < known.epoch || now.index < known.index)
            });
            if let Some((key, _)) = gone {
                found.say(
                    "S2",
                    format!("the ledger of {name} opens with an older entry of {} on slot {}", key.store, key.slot),
                );
            }
            let changed = host.orders.iter().find(|(id, known)| match image.orders.get(*id) {
                Some(now) => known.outcome.is_some() && known.outcome != now.outcome && !thawed(now),
                None => known.index > image.meta.forgotten,
            });
            if let Some((id, _)) = changed {
                found.say("S6", format!("the ledger of {name} opens without the durable outcome of {id}"));
            }
        }
        host.touched = false;
        host.meta = Some(image.meta.clone());
        host.generation = image.meta.highest.generation();
        if !same_disk {
            host.masters.clear();
        }
        host.copies = image.copies.iter().map(|(key, entry)| (key.clone(), of_entry(entry))).collect();
        image.copies.iter().for_each(|(key, entry)| host.leads(key, entry));
        host.orders = image.orders.clone();
        host.open.clear();
        for (id, entry) in &host.orders {
            if let (Some(slot), None) = (entry.slot, &entry.outcome) {
                host.open.entry(slot).or_default().insert(*id);
            }
            if let Some(outcome) = &entry.outcome {
                // The kernel may have finished what its dead agent was not told of.
                let all = self.outcomes.entry(*id).or_default();
                if !all.contains(outcome) {
                    all.push(outcome.clone());
                }
            }
        }
    }

    /// A transaction is on disk. Gives what it says is done.
    pub fn durable(&mut self, found: &mut Found, name: &HostName, writes: &[LedgerWrite]) -> Vec<Fact> {
        let Some(host) = self.hosts.get_mut(name) else { return Vec::new() };
        let before: BTreeMap<u16, LogIndex> = host.copies.iter().fold(BTreeMap::new(), |mut all, (key, copy)| {
            let highest = all.entry(key.slot).or_default();
            *highest = copy.index.max(*highest);
            all
        });
        let mut orders: BTreeMap<OrderId, &OrderEntry> = BTreeMap::new();
        for write in writes {
            match write {
                LedgerWrite::Meta(meta) => host.meta_written(found, name, meta),
                LedgerWrite::Copy(key, entry) => {
                    host.copy_written(found, name, key, of_entry(entry));
                    host.leads(key, entry);
                    host.hands.written(found, name, key, entry);
                }
                LedgerWrite::Order(id, entry) => drop(orders.insert(*id, entry)),
                LedgerWrite::Forget(id) => {
                    orders.remove(id);
                    host.forget(*id);
                }
            }
        }
        let mut facts = Vec::new();
        // R21: what ends in a transaction has ended before what begins in it.
        let (ends, begins): (Vec<_>, Vec<_>) = orders.into_iter().partition(|(_, entry)| entry.outcome.is_some());
        for (id, entry) in ends.into_iter().chain(begins) {
            let sent = self.sent.get(&id).map(Vec::as_slice).unwrap_or_default();
            let was_accepted = host.orders.contains_key(&id);
            host.order_written(found, name, id, entry, &before, sent);
            if let Some(outcome) = &entry.outcome {
                let all = self.outcomes.entry(id).or_default();
                if !all.contains(outcome) {
                    all.push(outcome.clone());
                }
                if was_accepted {
                    facts.extend(host.serves(found, name, id, outcome));
                }
                if let Some(done) = host.done(name, id, outcome) {
                    if let Fact::Fenced(slot, copy, epoch) = &done {
                        host.is_fenced(slot, copy, *epoch);
                        let fence = self.fences.entry(slot.clone()).or_default().entry(copy.clone()).or_default();
                        *fence = (*epoch).max(*fence);
                    }
                    facts.push(done);
                }
            }
        }
        facts
    }

    /// What an agent wants done.
    pub fn did(&mut self, found: &mut Found, name: &HostName, effects: &[Effect]) {
        let Some(host) = self.hosts.get_mut(name) else { return };
        for effect in effects {
            match effect {
                Effect::Answer { answer, .. } => host.answers(found, name, answer),
                Effect::Call { call, slot: Some(slot), engine_call, .. } if *engine_call != EngineCall::Status => {
                    if host.out.iter().any(|(other, at)| at == slot && other != call) {
                        found.say("R21", format!("{name} calls slot {slot} while another call of it is out"));
                    }
                    host.out.insert(*call, *slot);
                    host.acts(found, name, *slot, call_name(engine_call), epoch_of(engine_call));
                }
                Effect::Call { slot: None, engine_call: EngineCall::Canary { id, .. }, .. }
                    if host.orders.get(id).is_none_or(|entry| entry.outcome.is_some()) =>
                {
                    found.say("S6", format!("{name} writes a canary for {id}, which is not open in its ledger"));
                }
                Effect::Launch { slot, .. } => host.acts(found, name, *slot, "launch", None),
                Effect::Kill { slot, .. } => host.acts(found, name, *slot, "kill", None),
                Effect::Provision { slot, .. } => host.acts(found, name, *slot, "provision", None),
                _ => {}
            }
        }
    }
}

/// What an order that was done means.
pub(crate) enum Fact {
    /// A copy is frozen.
    Frozen(SlotId, Freeze),
    /// A copy was made, or has a role: its engine runs, or died since.
    Serves(SlotId, (StoreName, CopyGeneration)),
    /// A copy acknowledges nothing below an epoch any more.
    Fenced(SlotId, (StoreName, CopyGeneration), Epoch),
}

/// R1: a freeze that was thawed answers so from then on.
fn thawed(entry: &OrderEntry) -> bool {
    matches!(entry.outcome, Some(Outcome::NeverWill(NeverWill::Thawed)))
}

impl Host {
    fn meta_written(&mut self, found: &mut Found, name: &HostName, meta: &LedgerMeta) {
        if let Some(known) = &self.meta {
            if meta.term < known.term || meta.highest < known.highest || meta.forgotten < known.forgotten {
                found.say("S2", format!("the ledger of {name} goes back: {meta:?} after {known:?}"));
            }
            if meta.incarnation != known.incarnation || meta.cluster != known.cluster {
                found.say("S2", format!("the ledger of {name} changes its identity: {meta:?} after {known:?}"));
            }
        }
        self.meta = Some(meta.clone());
    }

    fn copy_written(&mut self, found: &mut Found, name: &HostName, key: &CopyKey, now: Copy) {
        if let Some(known) = self.copies.get(key) {
            if now.epoch < known.epoch || now.index < known.index {
                let (was, is) = ((known.epoch, known.index), (now.epoch, now.index));
                found.say("S2", format!("{name} slot {}: {} goes back from {was:?} to {is:?}", key.slot, key.store));
            }
            if let (Some(freeze), None) = (known.freeze, now.freeze)
                && known.epoch == now.epoch
                && !now.stopped
            {
                self.ended.insert(freeze);
            }
            if known.retired && !now.retired {
                found.say("R11", format!("{name} slot {}: {} {} lives again", key.slot, key.store, key.generation));
            }
        }
        self.copies.insert(key.clone(), now);
    }

    fn forget(&mut self, id: OrderId) {
        if let Some(entry) = self.orders.remove(&id) {
            self.forgotten.insert(id);
            if let Some(slot) = entry.slot {
                self.open.entry(slot).or_default().remove(&id);
            }
        }
    }

    fn order_written(
        &mut self,
        found: &mut Found,
        name: &HostName,
        id: OrderId,
        entry: &OrderEntry,
        before: &BTreeMap<u16, LogIndex>,
        sent: &[(HostName, Order)],
    ) {
        let known = self.orders.insert(id, entry.clone());
        if let Some(slot) = entry.slot {
            let open = self.open.entry(slot).or_default();
            if entry.outcome.is_none() {
                open.insert(id)
            } else {
                open.remove(&id)
            };
        }
        if known.is_none() {
            self.of_generation(found, name, id);
        }
        match (&known, &entry.outcome) {
            (Some(OrderEntry { outcome: Some(was), .. }), now) if now.as_ref() != Some(was) && !thawed(entry) => {
                found.say("S6", format!("{name}: the outcome of {id} was {was:?} and becomes {now:?}"));
            }
            (None, _) if self.forgotten.contains(&id) => {
                found.say("S6", format!("{name} takes order {id} again, whose outcome it had forgotten"));
            }
            (None, None) => self.accepted(found, name, id, entry, before, sent),
            (None, Some(Outcome::Done(_))) if entry.slot.is_some() => {
                found.say("S6", format!("{name}: {id} is done without having been accepted durably before"));
            }
            _ => {}
        }
    }

    /// S15, S11, R4, R27, S2: what an order must be to be accepted.
    fn accepted(
        &mut self,
        found: &mut Found,
        name: &HostName,
        id: OrderId,
        entry: &OrderEntry,
        before: &BTreeMap<u16, LogIndex>,
        sent: &[(HostName, Order)],
    ) {
        let Some(order) = self.delivered.get(&id) else {
            return found.say("S15", format!("{name} accepts {id}, which nobody delivered"));
        };
        if self.cancelled.contains(&id) {
            found.say("S6", format!("{name} accepts {id}, of which it had answered that it never will"));
        }
        if !sent.iter().any(|(to, o)| to == name && same_order(o, order)) {
            found.say("S11", format!("{name} accepts {id} with a content that no coordinator sent it"));
        }
        if self.meta.as_ref().is_some_and(|m| m.incarnation != order.incarnation || m.cluster != order.cluster) {
            found.say("S15", format!("{name} accepts {id}, which is for another disk or cluster"));
        }
        if self.boot.is_some_and(|boot| boot != order.boot) {
            found.say("R27", format!("{name} accepts {id}, which is for a boot that has ended"));
        }
        let Some(slot) = entry.slot else { return };
        if let Some(highest) = before.get(&slot).filter(|highest| order.index <= **highest) {
            found.say("R4", format!("{name} accepts {id} of index {}, slot {slot} is at {highest}", order.index));
        }
        if self.open.get(&slot).is_some_and(|open| open.len() > 1) {
            found.say("R21", format!("{name} has more than one order open on slot {slot}: {:?}", self.open.get(&slot)));
        }
        if let Some(subject) = &order.subject {
            let held = self.copies.iter().find(|(key, _)| {
                key.slot == slot && key.store == subject.store && key.generation == subject.generation
            });
            if let Some((_, copy)) = held.filter(|(_, copy)| copy.epoch > subject.epoch) {
                found.say("S2", format!("{name} accepts {id} for {:?}, it holds {:?}", subject.epoch, copy.epoch));
            }
        }
    }

    /// R11: what was done for a copy was done for that very generation of it.
    fn serves(&self, found: &mut Found, name: &HostName, id: OrderId, outcome: &Outcome) -> Option<Fact> {
        let order = self.delivered.get(&id).filter(|_| matches!(outcome, Outcome::Done(_)))?;
        let subject = order.subject.as_ref()?;
        let (store, generation) = (subject.store.clone(), subject.generation);
        let key = CopyKey { slot: subject.slot, store: store.clone(), generation };
        if !self.copies.contains_key(&key) {
            found.say(
                "R11",
                format!("{name} has done {id} and knows of no copy {store} {generation} on {}", subject.slot),
            );
        }
        let wants_engine =
            matches!(order.action, Action::Provision | Action::Promote { .. } | Action::Follow { .. } | Action::Raise);
        wants_engine.then(|| Fact::Serves(SlotId::new(name.clone(), subject.slot), (store, generation)))
    }

    fn done(&self, name: &HostName, id: OrderId, outcome: &Outcome) -> Option<Fact> {
        let Outcome::Done(done) = outcome else { return None };
        let order = self.delivered.get(&id)?;
        let subject = order.subject.as_ref()?;
        let slot = SlotId::new(name.clone(), subject.slot);
        match (&order.action, done) {
            (Action::Freeze { .. }, Done::Tip { tip, .. }) => {
                Some(Fact::Frozen(slot, Freeze { id, length: tip.position.length }))
            }
            (Action::Demote | Action::Raise | Action::Follow { .. }, _) => {
                Some(Fact::Fenced(slot, (subject.store.clone(), subject.generation), subject.epoch))
            }
            _ => None,
        }
    }

    /// S6: an answer is durable before it is given.
    fn answers(&mut self, found: &mut Found, name: &HostName, answer: &Answer) {
        let Answer::Receipt(receipt) = answer else { return };
        if let Some(order) = self.delivered.get(&receipt.id) {
            if let (Action::Cancel { order }, Outcome::NeverWill(_)) = (&order.action, &receipt.outcome) {
                self.cancelled.insert(*order);
            }
            if self.meta.as_ref().is_some_and(|m| m.incarnation != order.incarnation) {
                found.say("S15", format!("{name} answers for {}, which is for another disk", receipt.id));
            }
        }
        if self.ended.contains(&receipt.id) && matches!(receipt.outcome, Outcome::Done(_)) {
            found.say("R1", format!("{name} answers that {} is frozen, which had ended", receipt.id));
        }
        let Some(entry) = self.orders.get(&receipt.id) else {
            if !self.forgotten.contains(&receipt.id) {
                found.say("S6", format!("{name} answers {}, of which its ledger holds nothing", receipt.id));
            }
            return;
        };
        if entry.outcome.as_ref() != Some(&receipt.outcome) && !thawed(entry) {
            let text = format!(
                "{name} answers {:?} to {}, its ledger durably holds {:?}",
                receipt.outcome, receipt.id, entry.outcome
            );
            found.say("S6", text);
        }
    }

    /// S10, S6, S15, R27: something is done at a slot because of an order that is durably open there.
    fn acts(&self, found: &mut Found, name: &HostName, slot: u16, deed: &'static str, epoch: Option<Epoch>) {
        let open = self.open.get(&slot).into_iter().flatten().filter_map(|id| self.delivered.get(id));
        let mut reason = None;
        for order in open {
            if permits(&order.action, deed) {
                reason = Some(order);
            }
        }
        if reason.is_none() && self.hands.permits(slot, deed, epoch) {
            return;
        }
        let Some(order) = reason else {
            let open = self.open.get(&slot);
            return found
                .say("S10", format!("{name} does {deed} at slot {slot}, for which no open order asks: {open:?}"));
        };
        if self.meta.as_ref().is_some_and(|meta| order.term < meta.term) {
            found.say(
                "S15",
                format!("{name} does {deed} for {} of term {}, it has seen a newer one", order.id, order.term),
            );
        }
        if self.boot.is_some_and(|boot| boot != order.boot) {
            found.say("R27", format!("{name} does {deed} for {}, which is for a boot that has ended", order.id));
        }
        if let (Some(epoch), Some(subject)) = (epoch, &order.subject)
            && epoch != subject.epoch
        {
            found.say(
                "S15",
                format!("{name} does {deed} at {epoch:?} for {}, which is for {:?}", order.id, subject.epoch),
            );
        }
    }
}
