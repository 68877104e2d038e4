//! The lookout: told what the witness is told, it counts the dangerous states that the world passes through.
//!
//! What always holds: it changes nothing and judges nothing; the witness hears of everything as if nobody else listened.

use super::Reached;
use super::commits::is_done;
use super::engines::Engines;
use super::orders::Orders;
use crate::check::{Seen, Witness};
use crate::faults::DiskTrouble;
use slot_agent::core as agent;
use slot_coordinator::core as coordinator;
use slot_machine::state::State;
use slot_raft::RaftMessageType;
use slot_types::ids::*;
use slot_types::order::Answer;
use slot_types::plan::{StepKind, TaskKind};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Deref, DerefMut};

/// How soon after an approval a leader's death counts as right after it.
const RIGHT_AFTER_MS: u64 = 500;

/// The witness, and the lookout beside it.
pub struct Watched {
    witness: Witness,
    lookout: Lookout,
}

impl Watched {
    /// Both of a cluster with so many voting coordinators.
    pub fn new(voters: usize) -> Self {
        let mut witness = Witness::new(voters);
        witness.looks().get_or_insert_default();
        Self { witness, lookout: Lookout::default() }
    }

    /// Takes one observation.
    pub fn saw(&mut self, now: u64, seen: Seen<'_>) {
        self.lookout.before(now, seen, self.witness.state());
        self.witness.saw(now, seen);
        self.lookout.after(now, seen, &mut self.witness);
    }

    /// The lookout alone.
    pub(crate) fn lookout(&mut self) -> &mut Lookout {
        &mut self.lookout
    }

    /// Everything that was counted.
    pub(crate) fn reached(&mut self) -> BTreeMap<&'static str, u64> {
        let mut all = std::mem::take(&mut self.lookout.reached.0);
        for name in self.witness.restores_seen() {
            *all.entry(name).or_default() += 1;
        }
        let parts = [&mut self.lookout.orders.reached, &mut self.lookout.engines.reached];
        let parts = parts.into_iter().chain(self.witness.looks().iter_mut().map(|looks| &mut looks.reached));
        for part in parts {
            for (name, times) in std::mem::take(&mut part.0) {
                *all.entry(name).or_default() += times;
            }
        }
        all
    }
}

impl Deref for Watched {
    type Target = Witness;
    fn deref(&self) -> &Witness {
        &self.witness
    }
}

impl DerefMut for Watched {
    fn deref_mut(&mut self) -> &mut Witness {
        &mut self.witness
    }
}

/// See the module's documentation.
#[derive(Default)]
pub(crate) struct Lookout {
    pub reached: Reached,
    orders: Orders,
    engines: Engines,
    /// Who believes that it leads.
    leaders: BTreeSet<u64>,
    /// Nodes that were sent a snapshot and have not written it.
    installing: BTreeSet<u64>,
    /// The highest term that somebody stood for election in.
    stood: u64,
    /// Approvals consumed so far, and when the last was.
    consumed: (u64, u64),
    stopped: BTreeSet<SlotId>,
}

impl Lookout {
    fn before(&mut self, now: u64, seen: Seen<'_>, state: &State) {
        match seen {
            Seen::EngineOpens { slot, core, effects } => self.engines.opens(slot, core, effects),
            Seen::EngineTakes { slot, event } => {
                self.engines.takes(now, slot, event);
                self.thawed(state);
            }
            Seen::EngineDid { slot, effects, .. } => self.engines.did(slot, effects),
            Seen::EngineGone { slot } => {
                self.stopped.remove(slot);
                self.engines.gone(slot);
            }
            Seen::AgentOpens { host, boot, image } => self.orders.opens(host, boot, image),
            Seen::AgentTakes { host, event: agent::Event::Deliver { delivery, bytes } } => {
                self.orders.takes(host, *delivery, bytes, state);
                self.demoted_while_stopped(host);
            }
            Seen::AgentDid { host, effects } => self.orders.did(host, effects),
            Seen::LedgerDurable { host, writes } => self.orders.durable(host, writes),
            Seen::HostOn { host, boot } => self.orders.powered(host, boot),
            Seen::CoordinatorTakes { node, event } => self.coordinator_takes(node, event, state),
            Seen::CoordinatorGone { node } => self.coordinator_gone(now, node, state),
            _ => {}
        }
    }

    fn after(&mut self, now: u64, seen: Seen<'_>, witness: &mut Witness) {
        let Seen::CoordinatorDid { node, effects, .. } = seen else { return };
        for effect in effects {
            match effect {
                coordinator::Effect::Send { message, .. } if message.r#type() == RaftMessageType::RequestVote => {
                    self.stood = self.stood.max(message.term);
                }
                coordinator::Effect::Persist(batch) if batch.snapshot.is_some() && self.installing.remove(&node) => {
                    self.reached.at("R22: a node was installed from a snapshot");
                    if witness.state().running().next().is_some() {
                        self.reached.at("a snapshot was installed between two steps of a plan");
                    }
                }
                coordinator::Effect::Role { is_leader, .. } => self.role(node, *is_leader),
                _ => {}
            }
        }
        let consumed = witness.looks().as_ref().map_or((0, 0), |looks| looks.consumed);
        if consumed.0 > self.consumed.0 {
            self.consumed = (consumed.0, now);
            if consumed.1 < self.stood {
                self.reached.at("R6: an approval was consumed during an election");
            }
        }
    }

    fn role(&mut self, node: u64, is_leader: bool) {
        if !is_leader {
            self.leaders.remove(&node);
        } else if self.leaders.insert(node) && self.leaders.len() > 1 {
            self.reached.at("S15: two coordinators believed that they lead");
        }
    }

    fn coordinator_takes(&mut self, node: u64, event: &coordinator::Event, state: &State) {
        match event {
            coordinator::Event::Raft(message) if message.snapshot.is_some() => drop(self.installing.insert(node)),
            coordinator::Event::Looked { result: Ok(_), .. } if !self.leaders.contains(&node) => {
                self.reached.at("ADR27: what an agent saw came to a coordinator that leads no more");
            }
            coordinator::Event::Studied { found: Ok(coordinator::Found::Plan(Ok(_))), .. }
                if !self.leaders.contains(&node) =>
            {
                self.reached.at("ADR53: a plan was found by a coordinator that leads no more");
            }
            coordinator::Event::AgentAnswer { result: Ok(answer), .. } => {
                if !self.leaders.contains(&node) {
                    self.reached.at("S15: an agent's answer came to a coordinator that leads no more");
                }
                if let Answer::Receipt(receipt) = answer {
                    self.late_start(state, receipt.id);
                }
            }
            _ => {}
        }
    }

    /// Whether an order's word comes when its store has a higher epoch.
    fn late_start(&mut self, state: &State, id: OrderId) {
        let Some(task) = state.plans.get(&id.plan).and_then(|r| r.plan.tasks.get(usize::from(id.task))) else { return };
        let store = task.store.as_ref().and_then(|name| state.cluster.as_ref()?.stores.get(name));
        if matches!(task.kind, TaskKind::StartMaster { .. }) && store.is_some_and(|s| s.epoch > task.epoch) {
            self.reached.at("R5: the answer to a StartMaster came after a higher epoch");
        }
    }

    fn coordinator_gone(&mut self, now: u64, node: u64, state: &State) {
        self.installing.remove(&node);
        if !self.leaders.remove(&node) {
            return;
        }
        if self.consumed.0 > 0 && now <= self.consumed.1 + RIGHT_AFTER_MS {
            self.reached.at("R6: the leader died right after an approval was consumed");
        }
        if state.running().next().is_some() {
            self.reached.at("the leader died while a plan ran");
        }
    }

    /// Freezes that ended without a demote, and what their hand-overs had done by then.
    fn thawed(&mut self, state: &State) {
        while let Some(freeze) = self.engines.ended.pop() {
            if !self.orders.compared.contains(&(freeze.plan, freeze.task)) {
                continue;
            }
            let at = usize::from(freeze.task);
            let committed = state.plans.get(&freeze.plan).is_some_and(|record| {
                let task = record.plan.tasks.get(at).zip(record.tasks.get(at));
                task.is_some_and(|(task, run)| is_done(task, run, StepKind::CommitEpoch))
            });
            self.reached.at(if committed {
                "R1: a thaw came between the commit and the demote"
            } else {
                "R1: a thaw came between the compare and the commit"
            });
        }
    }

    /// R2's schedule: the engine stands still with an append half done, and its demote is on its way.
    fn demoted_while_stopped(&mut self, host: &HostName) {
        let (orders, engines) = (&self.orders, &self.engines);
        let inside = |slot: &&SlotId| slot.host == *host && orders.demoting.contains(*slot);
        let stopped = self.stopped.iter().filter(inside);
        if stopped.into_iter().any(|slot| engines.appends(slot) > 0) {
            self.reached.at("R2: a demote was ordered of an engine that stood still inside an append");
        }
    }

    /// An append's answer has left its engine.
    pub fn append_answered(&mut self, slot: &SlotId, request: u64) {
        self.engines.answered(slot, request);
    }

    /// An engine stands still.
    pub fn stops(&mut self, slot: &SlotId) {
        self.stopped.insert(slot.clone());
        if self.engines.appends(slot) > 0 {
            self.reached.at("an engine stood still inside an append");
        }
        if self.engines.is_frozen(slot) {
            self.reached.at("R12: an engine stood still in a freeze");
        }
    }

    /// An engine goes on.
    pub fn goes_on(&mut self, slot: &SlotId) {
        self.stopped.remove(slot);
    }

    /// A coordinator stands still for so long.
    pub fn coordinator_stops(&mut self, node: u64, ms: u64) {
        if ms > 2_000 && self.leaders.contains(&node) {
            self.reached.at("S15: the leader stood still for longer than an election");
        }
    }

    /// A clock jumps.
    pub fn clock_jumps(&mut self, node: u64) {
        if self.leaders.contains(&node) {
            self.reached.at("R17: the leader's clock jumped by an hour");
        }
    }

    /// An agent dies; these engines run on.
    pub fn agent_dies(&mut self, mut engines: impl Iterator<Item = SlotId>) {
        if engines.any(|slot| self.engines.is_frozen(&slot)) {
            self.reached.at("R12: an agent died while its engine was frozen");
        }
    }

    /// What was wrong with a disk showed itself.
    pub fn disk(&mut self, trouble: DiskTrouble, is_ledger: bool, is_engine: bool) {
        self.reached.at(match (trouble, is_ledger, is_engine) {
            (DiskTrouble::Eio, true, _) => "P11: a ledger's disk answered EIO",
            (DiskTrouble::Eio, _, true) => "P11: an engine's disk answered EIO",
            (DiskTrouble::Eio, ..) => "P11: a coordinator's disk answered EIO",
            (DiskTrouble::Enospc, true, _) => "P11: a ledger's disk was full",
            (DiskTrouble::Enospc, ..) => "P11: a disk was full",
            (DiskTrouble::Crash, _, true) => "an engine died inside an append or its meta",
            (DiskTrouble::Crash, true, _) => "an agent died inside a ledger transaction",
            (DiskTrouble::Crash, ..) => "a coordinator died inside a write of its log",
            (DiskTrouble::Torn, ..) => "P12: a write was torn by a power cut",
            (DiskTrouble::LostFsync, ..) => "P12: a power cut took what an fsync covered",
        });
    }
}
