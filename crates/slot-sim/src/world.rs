//! The world: coordinators, agents, engines, a network and clients, around one queue.
//!
//! What always holds: the cores are the product's own and see the product's own bytes; whatever a core asks for takes
//! seeded time; nothing a dead process had asked for reaches its successor (every process has a life of its own).

use crate::client::Writer;
use crate::disk::Folder;
use crate::nodes::{AgentNode, CoordinatorNode, JournalNode};
use crate::queue::{Queue, Stream};
use slot_agent::core as agent;
use slot_coordinator::core as coordinator;
use slot_engine::journal::core as journal;
use slot_raft::{PersistBatch, RaftMessage};
use slot_types::codec;
use slot_types::engine::EngineCall;
use slot_types::ids::*;
use slot_types::order::AgentReport;
use slot_types::position::Digest;
use std::collections::{BTreeMap, BTreeSet};

/// What is in the queue.
pub enum Happening {
    /// A coordinator's event, if it still lives that life.
    Coordinator(u64, u32, Box<coordinator::Event>),
    /// A coordinator's disk finished a batch.
    CoordinatorDisk(u64, u32, Box<PersistBatch>),
    /// An agent's event.
    Agent(HostName, u32, Box<agent::Event>),
    /// An agent's disk finished a transaction.
    AgentDisk(HostName, u32, u64, Vec<agent::image::LedgerWrite>),
    /// An engine's event.
    Journal(SlotId, u32, Box<journal::Event>),
    /// An engine's disk finished an operation.
    JournalDisk(SlotId, u32, u64, Vec<journal::DiskOp>),
    /// An engine's process is to start.
    Launch(SlotId, u32, u64, agent::Serving),
    /// An engine call's time is up.
    CallOver(u64),
    /// An order's delivery gets no answer any more.
    DeliveryOver(u64),
    /// The writer looks what to do.
    Writer,
    /// A node that was down starts again.
    RestartCoordinator(u64),
    /// An agent that was down starts again.
    RestartAgent(HostName),
}

/// Who waits for an engine's answer.
pub enum Asker {
    /// An agent's call.
    Agent(HostName, u32, u64),
    /// A canary that an agent writes by itself at another engine: append first, then it is read back.
    Canary(HostName, u32, u64),
    /// Another engine.
    Engine(SlotId, u32, u64),
    /// The writer's append of this sequence.
    Writer(u64),
}

/// How rough the world is.
#[derive(Clone, Copy)]
pub struct Faults {
    /// One in so many messages is lost; 0 is none.
    pub lose_one_in: u64,
    /// One in so many messages comes twice; 0 is none.
    pub double_one_in: u64,
}

/// Everything.
pub struct World {
    pub(crate) queue: Queue<Happening>,
    pub(crate) net: Stream,
    pub(crate) disk: Stream,
    pub(crate) faults: Faults,
    pub(crate) fault_stream: Stream,
    pub(crate) cluster: ClusterId,
    pub(crate) coordinators: BTreeMap<u64, CoordinatorNode>,
    pub(crate) agents: BTreeMap<HostName, AgentNode>,
    pub(crate) journals: BTreeMap<SlotId, JournalNode>,
    pub(crate) folders: BTreeMap<SlotId, Folder>,
    pub(crate) asked: BTreeMap<u64, Asker>,
    pub(crate) deliveries: BTreeMap<u64, (u64, u32, u64)>,
    pub(crate) last_number: u64,
    pub(crate) replies: BTreeMap<u64, Result<coordinator::Reply, coordinator::Failure>>,
    pub(crate) writer: Option<Writer>,
    /// What happened, hashed.
    pub digest: Digest,
    /// What happened, for a person; only the last so many lines.
    pub trace: Vec<String>,
    /// Failpoints passed, by name.
    pub passed: BTreeMap<String, u64>,
    /// Kill this leader's process when it passes this failpoint, once.
    pub kill_leader_at: Option<String>,
    /// Pairs of hosts whose engines don't hear each other.
    pub cut: BTreeSet<(HostName, HostName)>,
    /// Hosts whose agents and the coordinators don't hear each other; their engines go on.
    pub silent: BTreeSet<HostName>,
    /// Engines that were stopped (SIGSTOP), with what happened to them meanwhile.
    pub(crate) paused: BTreeMap<SlotId, Vec<Happening>>,
}

impl World {
    pub(crate) fn number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    /// The time, in milliseconds since the world began.
    pub fn now(&self) -> u64 {
        self.queue.now()
    }

    pub(crate) fn moment(&self) -> coordinator::Now {
        coordinator::Now { ms: self.now(), wall: WallTime(1_700_000_000_000 + self.now()) }
    }

    pub(crate) fn note(&mut self, text: String) {
        let line = format!("{:>8} {text}", self.now());
        self.digest = self.digest.chain(line.as_bytes());
        if self.trace.len() < 200_000 {
            self.trace.push(line);
        }
    }

    /// Milliseconds on the way, or `None` when the message is lost.
    pub(crate) fn travel(&mut self) -> Option<u64> {
        let delay = self.net.within(1, 4);
        (!self.fault_stream.one_in(self.faults.lose_one_in)).then_some(delay)
    }

    /// Runs until a condition holds or the time is over; says which.
    pub fn run_until(&mut self, limit_ms: u64, mut done: impl FnMut(&World) -> bool) -> bool {
        let end = self.now() + limit_ms;
        loop {
            if done(self) {
                return true;
            }
            if self.now() > end {
                return false;
            }
            let Some(next) = self.queue.pop() else { return false };
            self.happen(next);
        }
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Coordinator(id, life, event) => self.coordinator_step(id, life, *event),
            Happening::CoordinatorDisk(id, life, batch) => self.coordinator_disk(id, life, &batch),
            Happening::Agent(host, life, event) => self.agent_step(&host, life, *event),
            Happening::AgentDisk(host, life, op, writes) => self.agent_disk(&host, life, op, &writes),
            Happening::Journal(slot, life, event) => self.journal_step(&slot, life, *event),
            Happening::JournalDisk(slot, life, op, ops) => self.journal_disk(&slot, life, op, &ops),
            Happening::Launch(slot, agent_life, instance, serving) => self.launch(slot, agent_life, instance, &serving),
            Happening::CallOver(call) => self.call_over(call),
            Happening::DeliveryOver(delivery) => self.delivery_over(delivery),
            Happening::Writer => self.writer_step(),
            Happening::RestartCoordinator(id) => self.start_coordinator(id),
            Happening::RestartAgent(host) => self.start_agent(&host),
        }
    }

    /// Sends a raft message: the real bytes, lost, doubled or late.
    pub(crate) fn send_raft(&mut self, peer: u64, message: &RaftMessage) {
        let Some(marker) = self.coordinators.get(&message.from).map(|n| n.marker.clone()) else { return };
        let bytes = slot_proto::raft::encode_envelope(&marker.seal(message.clone()));
        let copies = if self.fault_stream.one_in(self.faults.double_one_in) { 2 } else { 1 };
        for _ in 0..copies {
            let (Some(delay), Some(node)) = (self.travel(), self.coordinators.get(&peer)) else { continue };
            let (life, marker) = (node.life, node.marker.clone());
            let received = slot_proto::raft::decode_envelope(&bytes).ok().and_then(|e| marker.open(e).ok());
            if let Some(received) = received {
                let event = Box::new(coordinator::Event::Raft(received.message));
                self.queue.after(delay, Happening::Coordinator(peer, life, event));
            }
        }
    }

    /// Delivers an order to an agent, if it lives; it may get it twice.
    pub(crate) fn deliver(&mut self, from: (u64, u32, u64), host: &HostName, order: &[u8], budget_ms: u64) {
        let copies = if self.fault_stream.one_in(self.faults.double_one_in) { 2 } else { 1 };
        for copy in 0..copies {
            let delivery = self.number();
            if copy == 0 {
                self.deliveries.insert(delivery, from);
                self.queue.after(budget_ms + 2_000, Happening::DeliveryOver(delivery));
            }
            let Some(node) = self.agents.get(host).filter(|n| n.core.is_some() && !self.silent.contains(host)) else {
                continue;
            };
            let life = node.life;
            let Some(delay) = self.travel() else { continue };
            let event = Box::new(agent::Event::Deliver { delivery, bytes: order.to_vec() });
            self.queue.after(delay, Happening::Agent(host.clone(), life, event));
        }
    }

    pub(crate) fn delivery_answered(&mut self, delivery: u64, result: Result<slot_types::order::Answer, String>) {
        let Some((id, life, number)) = self.deliveries.remove(&delivery) else { return };
        let Some(delay) = self.travel() else {
            self.deliveries.insert(delivery, (id, life, number));
            return;
        };
        let event = Box::new(coordinator::Event::AgentAnswer { delivery: number, result });
        self.queue.after(delay, Happening::Coordinator(id, life, event));
    }

    fn delivery_over(&mut self, delivery: u64) {
        if let Some((id, life, number)) = self.deliveries.remove(&delivery) {
            let event = coordinator::Event::AgentAnswer { delivery: number, result: Err("no answer in time".into()) };
            self.queue.after(0, Happening::Coordinator(id, life, Box::new(event)));
        }
    }

    /// An agent's report goes to every coordinator that watches it.
    pub(crate) fn report(&mut self, host: &HostName, report: &AgentReport) {
        if self.silent.contains(host) {
            return;
        }
        let bytes = codec::encode(report);
        let watchers: Vec<(u64, u32)> = self
            .coordinators
            .iter()
            .filter(|(_, node)| node.core.is_some() && node.watched.contains(host))
            .map(|(id, node)| (*id, node.life))
            .collect();
        for (id, life) in watchers {
            let (Some(delay), Ok(report)) = (self.travel(), codec::decode::<AgentReport>(&bytes)) else { continue };
            let event = coordinator::Event::AgentReport { host: host.clone(), report: Box::new(report) };
            self.queue.after(delay, Happening::Coordinator(id, life, Box::new(event)));
        }
    }

    /// Asks an engine by the agent of its host; the real bytes.
    pub(crate) fn call_engine(&mut self, asker: Asker, slot: &SlotId, call: &EngineCall, budget_ms: u64) {
        let bytes = codec::encode(call);
        let number = self.number();
        self.asked.insert(number, asker);
        self.queue.after(budget_ms + 20, Happening::CallOver(number));
        let Some(life) = self.journals.get(slot).filter(|n| n.core.is_some()).map(|n| n.life) else {
            return self.queue.after(1, Happening::CallOver(number));
        };
        let Ok(call) = codec::decode::<EngineCall>(&bytes) else { return };
        let event = journal::Event::Control { request: number, call, budget_ms };
        let delay = self.net.within(0, 1);
        self.queue.after(delay, Happening::Journal(slot.clone(), life, Box::new(event)));
    }

    /// Asks an engine by another engine or by a client.
    pub(crate) fn ask_engine(
        &mut self,
        asker: Asker,
        slot: &SlotId,
        budget_ms: u64,
        event: impl FnOnce(u64) -> journal::Event,
    ) {
        let number = self.number();
        self.asked.insert(number, asker);
        self.queue.after(budget_ms + 20, Happening::CallOver(number));
        if matches!(self.asked.get(&number), Some(Asker::Engine(from, _, _)) if self.is_cut(&from.host, &slot.host)) {
            return;
        }
        let Some(delay) = self.travel() else { return };
        let Some(life) = self.journals.get(slot).filter(|n| n.core.is_some()).map(|n| n.life) else {
            return self.queue.after(delay, Happening::CallOver(number));
        };
        self.queue.after(delay, Happening::Journal(slot.clone(), life, Box::new(event(number))));
    }

    fn is_cut(&self, a: &HostName, b: &HostName) -> bool {
        self.cut.contains(&(a.clone(), b.clone())) || self.cut.contains(&(b.clone(), a.clone()))
    }

    /// SIGSTOP: the engine's process does nothing until it goes on; what is sent to it waits.
    pub fn pause_engine(&mut self, slot: &SlotId) {
        self.paused.entry(slot.clone()).or_default();
        self.note(format!("engine of {slot} paused"));
    }

    /// SIGCONT: everything that waited happens now, in order.
    pub fn resume_engine(&mut self, slot: &SlotId) {
        let waited = self.paused.remove(slot).unwrap_or_default();
        self.note(format!("engine of {slot} goes on, {} events waited", waited.len()));
        for happening in waited {
            self.happen(happening);
        }
    }

    fn call_over(&mut self, number: u64) {
        let Some(asker) = self.asked.remove(&number) else { return };
        let why = "no answer".to_string();
        match asker {
            Asker::Agent(host, life, call) | Asker::Canary(host, life, call) => {
                let result = Err(slot_types::engine::EngineError::Unreachable(why));
                let event = agent::Event::EngineAnswer { call, result };
                self.queue.after(0, Happening::Agent(host, life, Box::new(event)));
            }
            Asker::Engine(slot, life, call) => {
                let event = journal::Event::CallAnswer { call, result: Err(why) };
                self.queue.after(0, Happening::Journal(slot, life, Box::new(event)));
            }
            Asker::Writer(sequence) => self.writer_unknown(sequence),
        }
    }
}
