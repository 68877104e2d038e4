//! The processes: what each core asks for is done here, in simulated time.
//!
//! What always holds: a disk does what it was asked in order and says so later; a dead process's disk writes that had not
//! been done are not done.

use crate::disk::Folder;
use crate::queue::Stream;
use crate::world::{Asker, Happening, World};
use slot_agent::core as agent;
use slot_agent::core::image::{LedgerImage, LedgerWrite};
use slot_coordinator::core as coordinator;
use slot_engine::journal::core as journal;
use slot_raft::store::{LogStore, MemStore};
use slot_raft::{NodeMarker, PersistBatch, RaftConfig};
use slot_types::codec;
use slot_types::engine::{EngineAnswer, EngineCall, EngineDone, EngineError};
use slot_types::ids::*;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

/// A coordinator: its process, if it runs, and its disk.
pub struct CoordinatorNode {
    pub(crate) core: Option<coordinator::CoordinatorCore>,
    pub(crate) life: u32,
    pub(crate) marker: NodeMarker,
    pub(crate) store: MemStore,
    pub(crate) watched: BTreeSet<HostName>,
    pub(crate) members: BTreeMap<u64, (CoordinatorName, SocketAddr)>,
    disk_free_at: u64,
    wake_at: Option<u64>,
    seed: u64,
}

impl CoordinatorNode {
    /// A node that does not run yet.
    pub(crate) fn new(
        marker: NodeMarker,
        store: MemStore,
        members: BTreeMap<u64, (CoordinatorName, SocketAddr)>,
        seed: u64,
    ) -> Self {
        Self {
            core: None,
            life: 0,
            marker,
            store,
            watched: BTreeSet::new(),
            members,
            disk_free_at: 0,
            wake_at: None,
            seed,
        }
    }
}

/// An agent: its process, if it runs, and its ledger as it is on disk.
pub struct AgentNode {
    pub(crate) core: Option<agent::AgentCore>,
    pub(crate) life: u32,
    pub(crate) ledger: LedgerImage,
    pub(crate) boot: BootId,
    pub(crate) slots: BTreeSet<u16>,
    disk_free_at: u64,
    wake_at: Option<u64>,
}

impl AgentNode {
    /// An agent that does not run yet.
    pub(crate) fn new(ledger: LedgerImage, boot: BootId, slots: BTreeSet<u16>) -> Self {
        Self { core: None, life: 0, ledger, boot, slots, disk_free_at: 0, wake_at: None }
    }
}

/// An engine: its process, if it runs.
pub struct JournalNode {
    pub(crate) core: Option<journal::JournalCore>,
    pub(crate) life: u32,
    pub(crate) instance: u64,
    pub(crate) serving: agent::Serving,
    disk_free_at: u64,
}

fn life_token(seed: u64, life: u32) -> [u8; 16] {
    Stream::new(seed, 1_000 + u64::from(life)).token()
}

impl World {
    /// Starts a coordinator from its disk.
    pub fn start_coordinator(&mut self, id: u64) {
        let (now, cluster_id) = (self.moment(), self.cluster);
        let Some(node) = self.coordinators.get_mut(&id).filter(|n| n.core.is_none()) else { return };
        node.life += 1;
        node.disk_free_at = now.ms;
        node.wake_at = None;
        let config = coordinator::CoreConfig {
            cluster: crate::setup::cluster_name(),
            cluster_id,
            node: node.members[&id].0.clone(),
            raft: RaftConfig::new(id, [id as u8; 16]),
            members: node.members.clone(),
            life: life_token(node.seed, node.life),
            seed: node.seed + u64::from(node.life),
            snapshot_every: coordinator::SNAPSHOT_EVERY,
        };
        let restored = node.store.load().expect("the simulated disk holds what was committed to it");
        let core = coordinator::CoordinatorCore::new(config, restored, now).expect("a node starts from its own disk");
        node.core = Some(core);
        let life = node.life;
        self.note(format!("c{id} starts, life {life}"));
        self.coordinator_step(id, life, coordinator::Event::Tick);
    }

    /// Kills a coordinator's process.
    pub fn kill_coordinator(&mut self, id: u64) {
        if let Some(node) = self.coordinators.get_mut(&id) {
            node.core = None;
            node.life += 1;
            node.watched.clear();
        }
        self.note(format!("c{id} killed"));
    }

    pub(crate) fn coordinator_step(&mut self, id: u64, life: u32, event: coordinator::Event) {
        let now = self.moment();
        let Some(node) = self.coordinators.get_mut(&id).filter(|n| n.life == life) else { return };
        let Some(core) = node.core.as_mut() else { return };
        if matches!(event, coordinator::Event::Tick) {
            node.wake_at = None;
        }
        let effects = core.step(now, event);
        for effect in effects {
            self.coordinator_effect(id, life, effect);
            if self.coordinators.get(&id).is_none_or(|n| n.core.is_none()) {
                return;
            }
        }
        let Some(node) = self.coordinators.get_mut(&id) else { return };
        let Some(wake) = node.core.as_ref().map(|c| c.next_deadline().max(now.ms + 1)) else { return };
        if node.wake_at.is_none_or(|at| wake < at) {
            node.wake_at = Some(wake);
            self.queue.at(wake, Happening::Coordinator(id, life, Box::new(coordinator::Event::Tick)));
        }
    }

    fn coordinator_effect(&mut self, id: u64, life: u32, effect: coordinator::Effect) {
        use coordinator::Effect;
        match effect {
            Effect::Persist(batch) => {
                let delay = self.disk.within(1, 3);
                let now = self.now();
                let Some(node) = self.coordinators.get_mut(&id) else { return };
                node.disk_free_at = node.disk_free_at.max(now) + delay;
                self.queue.at(node.disk_free_at, Happening::CoordinatorDisk(id, life, Box::new(batch)));
            }
            Effect::Send { peer, message } => self.send_raft(peer, &message),
            Effect::Deliver { delivery, host, order, budget_ms, .. } => {
                self.deliver((id, life, delivery), &host, &order, budget_ms);
            }
            Effect::Study { number, study } => {
                let studied = coordinator::Event::Studied { number, found: Ok(study.answer()) };
                self.queue.after(1, Happening::Coordinator(id, life, Box::new(studied)));
            }
            // Nobody looks around here: an unanswered look is forgotten at its time.
            Effect::Look { .. } => {}
            Effect::WatchAgents { agents, .. } => {
                let hosts: BTreeSet<HostName> = agents.into_keys().collect();
                let Some(node) = self.coordinators.get_mut(&id) else { return };
                let new: Vec<HostName> = hosts.difference(&node.watched).cloned().collect();
                node.watched = hosts;
                for host in new {
                    if let Some(report) = self.agents.get(&host).and_then(|a| a.core.as_ref()).map(|c| c.report()) {
                        self.report(&host, &report);
                    }
                }
            }
            Effect::Reply { token, reply } => {
                self.replies.insert(token, reply);
            }
            Effect::Failpoint(name) => {
                self.note(format!("c{id} {name}"));
                *self.passed.entry(name.clone()).or_default() += 1;
                if self.kill_leader_at.take_if(|at| *at == name).is_some() {
                    self.kill_coordinator(id);
                    self.queue.after(2_000, Happening::RestartCoordinator(id));
                }
            }
            Effect::Role { leader, is_leader } => {
                let leader = leader.map_or("nobody".to_string(), |l| l.to_string());
                self.note(format!("c{id} sees {leader} lead{}", if is_leader { ", itself" } else { "" }));
            }
            Effect::Die(why) => panic!("c{id} would end its process: {why}"),
            Effect::Applied(_) | Effect::RoutesChanged | Effect::ServeRoutes { .. } => {}
        }
    }

    pub(crate) fn coordinator_disk(&mut self, id: u64, life: u32, batch: &PersistBatch) {
        let Some(node) = self.coordinators.get_mut(&id).filter(|n| n.life == life) else { return };
        node.store.commit(batch).expect("the simulated disk does not fail");
        let seq = batch.seq;
        self.coordinator_step(id, life, coordinator::Event::Persisted { seq });
    }

    /// Starts an agent from its ledger; engines that run are adopted.
    pub fn start_agent(&mut self, host: &HostName) {
        let now = self.now();
        let running: BTreeMap<u16, agent::Serving> = self
            .journals
            .iter_mut()
            .filter(|(slot, node)| slot.host == *host && node.core.is_some())
            .map(|(slot, node)| {
                node.instance = 0;
                (slot.number, node.serving.clone())
            })
            .collect();
        let Some(node) = self.agents.get_mut(host).filter(|n| n.core.is_none()) else { return };
        node.life += 1;
        node.disk_free_at = now;
        node.wake_at = None;
        let config = agent::CoreConfig { slots: node.slots.clone() };
        let (core, effects) = agent::AgentCore::open(config, node.ledger.clone(), node.boot, running, now);
        node.core = Some(core);
        let life = node.life;
        self.note(format!("agent of {host} starts, life {life}"));
        self.agent_effects(host, life, effects);
        self.agent_step(host, life, agent::Event::Tick);
    }

    /// Kills an agent's process; its engines live on.
    pub fn kill_agent(&mut self, host: &HostName) {
        if let Some(node) = self.agents.get_mut(host) {
            node.core = None;
            node.life += 1;
        }
        self.note(format!("agent of {host} killed"));
    }

    pub(crate) fn agent_step(&mut self, host: &HostName, life: u32, event: agent::Event) {
        let now = self.now();
        let Some(node) = self.agents.get_mut(host).filter(|n| n.life == life) else { return };
        let Some(core) = node.core.as_mut() else { return };
        if matches!(event, agent::Event::Tick) {
            node.wake_at = None;
        }
        let effects = core.step(now, event);
        let wake = core.wake_at().max(now + 1);
        let arm = node.wake_at.is_none_or(|at| wake < at);
        if arm {
            node.wake_at = Some(wake);
        }
        if arm {
            self.queue.at(wake, Happening::Agent(host.clone(), life, Box::new(agent::Event::Tick)));
        }
        self.agent_effects(host, life, effects);
    }

    fn agent_effects(&mut self, host: &HostName, life: u32, effects: Vec<agent::Effect>) {
        for effect in effects {
            self.agent_effect(host, life, effect);
        }
    }

    fn agent_effect(&mut self, host: &HostName, life: u32, effect: agent::Effect) {
        use agent::Effect;
        let now = self.now();
        match effect {
            Effect::Persist { op, writes, .. } => {
                let delay = self.disk.within(1, 3);
                let Some(node) = self.agents.get_mut(host) else { return };
                node.disk_free_at = node.disk_free_at.max(now) + delay;
                self.queue.at(node.disk_free_at, Happening::AgentDisk(host.clone(), life, op, writes));
            }
            Effect::Answer { delivery, answer } => self.delivery_answered(delivery, Ok(answer)),
            Effect::Call { call, slot: None, engine_call, budget_ms } => {
                self.canary(host, life, call, &engine_call, budget_ms);
            }
            Effect::Call { call, slot: Some(number), engine_call, budget_ms } => {
                let slot = SlotId::new(host.clone(), number);
                self.call_engine(Asker::Agent(host.clone(), life, call), &slot, &engine_call, budget_ms);
            }
            Effect::Launch { slot, instance, serving } => {
                let slot = SlotId::new(host.clone(), slot);
                let delay = self.disk.within(2, 8);
                self.queue.after(delay, Happening::Launch(slot, life, instance, serving));
            }
            Effect::Kill { slot, instance } => {
                self.kill_engine(&SlotId::new(host.clone(), slot));
                let event = agent::Event::Reaped { slot, instance, result: Ok(()) };
                self.queue.after(1, Happening::Agent(host.clone(), life, Box::new(event)));
            }
            Effect::Provision { slot, serving } => {
                let id = SlotId::new(host.clone(), slot);
                let config = journal::Config::new(serving.store, id.clone(), serving.generation);
                self.folders.insert(id, Folder::new(journal::fresh_files(&config)));
                let event = agent::Event::Provisioned { slot, result: Ok(()) };
                self.queue.after(3, Happening::Agent(host.clone(), life, Box::new(event)));
            }
            Effect::Remove { slot, serving: _ } => {
                self.folders.remove(&SlotId::new(host.clone(), slot));
                let event = agent::Event::Removed { slot, result: Ok(()) };
                self.queue.after(3, Happening::Agent(host.clone(), life, Box::new(event)));
            }
            // Nothing in this world has a device.
            Effect::Fence { call, host: of, .. } => {
                let event = agent::Event::FenceAnswer { call, result: Err(format!("{of} has no device")) };
                self.queue.after(1, Happening::Agent(host.clone(), life, Box::new(event)));
            }
            Effect::Told { .. } => {}
            Effect::Report(report) => self.report(host, &report),
        }
    }

    /// What the agent's shell does for a canary: append it at the master, then read it back.
    fn canary(&mut self, host: &HostName, life: u32, call: u64, engine_call: &EngineCall, budget_ms: u64) {
        let EngineCall::Canary { store, epoch, to, id } = engine_call else { return };
        let Ok(client) = ClientName::new(journal::CANARY_CLIENT) else { return };
        let sequence = id.plan.0 << 32 | u64::from(id.task) << 16 | u64::from(id.attempt);
        let append = journal::Append {
            store: store.clone(),
            epoch: *epoch,
            id: RecordId { client, sequence },
            payload: b"canary".to_vec(),
        };
        let asker = Asker::Canary(host.clone(), life, call);
        self.ask_engine(asker, &to.slot, budget_ms, |request| journal::Event::Append { request, append, budget_ms });
    }

    pub(crate) fn agent_disk(&mut self, host: &HostName, life: u32, op: u64, writes: &[LedgerWrite]) {
        let Some(node) = self.agents.get_mut(host).filter(|n| n.life == life) else { return };
        for write in writes {
            node.ledger.apply(write);
        }
        self.agent_step(host, life, agent::Event::LedgerDone { op });
    }

    pub(crate) fn launch(&mut self, slot: SlotId, agent_life: u32, instance: u64, serving: &agent::Serving) {
        let now = self.now();
        let files = self.folders.get(&slot).map(Folder::files).unwrap_or_default();
        let config = journal::Config::new(serving.store.clone(), slot.clone(), serving.generation);
        let result = match journal::JournalCore::open(config, files, now) {
            Ok((core, effects)) => {
                let life = self.journals.get(&slot).map_or(1, |n| n.life + 1);
                let node =
                    JournalNode { core: Some(core), life, instance, serving: serving.clone(), disk_free_at: now };
                self.journals.insert(slot.clone(), node);
                self.journal_effects(&slot, life, effects);
                Ok(())
            }
            Err(e) => Err(e.to_string()),
        };
        self.note(format!("engine of {slot} starts: {result:?}"));
        let event = agent::Event::EngineLaunched { slot: slot.number, instance, result };
        self.queue.after(0, Happening::Agent(slot.host, agent_life, Box::new(event)));
    }

    /// Kills an engine's process; the machine stays up.
    pub fn kill_engine(&mut self, slot: &SlotId) {
        if let Some(folder) = self.folders.get_mut(slot) {
            folder.process_died();
        }
        self.engine_gone(slot);
        self.note(format!("engine of {slot} killed"));
    }

    fn engine_gone(&mut self, slot: &SlotId) {
        self.paused.remove(slot);
        let Some(node) = self.journals.get_mut(slot) else { return };
        node.core = None;
        node.life += 1;
        let instance = node.instance;
        if let Some(agent) = self.agents.get(&slot.host).filter(|a| a.core.is_some()) {
            let event = agent::Event::EngineGone { slot: slot.number, instance };
            self.queue.after(1, Happening::Agent(slot.host.clone(), agent.life, Box::new(event)));
        }
    }

    pub(crate) fn journal_step(&mut self, slot: &SlotId, life: u32, event: journal::Event) {
        let now = self.now();
        if let Some(waiting) = self.paused.get_mut(slot) {
            return waiting.push(Happening::Journal(slot.clone(), life, Box::new(event)));
        }
        let Some(node) = self.journals.get_mut(slot).filter(|n| n.life == life) else { return };
        let Some(core) = node.core.as_mut() else { return };
        let effects = core.step(now, event);
        self.journal_effects(slot, life, effects);
    }

    fn journal_effects(&mut self, slot: &SlotId, life: u32, effects: Vec<journal::Effect>) {
        use journal::Effect;
        for effect in effects {
            match effect {
                Effect::Disk { op, ops } => {
                    let (delay, now) = (self.disk.within(1, 3), self.now());
                    let Some(node) = self.journals.get_mut(slot) else { return };
                    node.disk_free_at = node.disk_free_at.max(now) + delay;
                    self.queue.at(node.disk_free_at, Happening::JournalDisk(slot.clone(), life, op, ops));
                }
                Effect::Reply { request, reply } => self.engine_replied(request, reply),
                Effect::Call { call, to, request, budget_ms } => {
                    let bytes = codec::encode(&request);
                    let asker = Asker::Engine(slot.clone(), life, call);
                    let Ok(peer) = codec::decode::<journal::PeerCall>(&bytes) else { continue };
                    self.ask_engine(asker, &to.slot, budget_ms, |request| journal::Event::Peer { request, call: peer });
                }
                Effect::Arm { at_ms } => {
                    self.queue.at(at_ms, Happening::Journal(slot.clone(), life, Box::new(journal::Event::Wake)));
                }
                // Nothing is verified in this world.
                Effect::ReadDisk { .. } | Effect::Milestone(_) => {}
                Effect::Exit => self.engine_gone(slot),
                Effect::Die { reason } => panic!("engine of {slot} would die: {reason}"),
            }
        }
    }

    pub(crate) fn journal_disk(&mut self, slot: &SlotId, life: u32, op: u64, ops: &[journal::DiskOp]) {
        if self.journals.get(slot).is_none_or(|n| n.life != life) {
            return;
        }
        if let Some(folder) = self.folders.get_mut(slot) {
            ops.iter().for_each(|op| folder.carry_out(op));
        }
        self.journal_step(slot, life, journal::Event::DiskDone { op, result: Ok(()) });
    }

    fn engine_replied(&mut self, request: u64, reply: journal::Reply) {
        let Some(asker) = self.asked.remove(&request) else { return };
        let delay = self.net.within(0, 2);
        match (asker, reply) {
            (Asker::Agent(host, life, call), journal::Reply::Control(answer)) => {
                let bytes = codec::encode(&answer);
                let Ok(EngineAnswer(result)) = codec::decode(&bytes) else { return };
                let event = agent::Event::EngineAnswer { call, result };
                self.queue.after(delay, Happening::Agent(host, life, Box::new(event)));
            }
            (Asker::Canary(host, life, call), journal::Reply::Append(outcome)) => {
                let result = match outcome {
                    journal::AppendOutcome::Done { .. } => Ok(EngineDone::Done),
                    other => Err(EngineError::TimedOut(format!("{other:?}"))),
                };
                let event = agent::Event::EngineAnswer { call, result };
                self.queue.after(delay, Happening::Agent(host, life, Box::new(event)));
            }
            (Asker::Engine(slot, life, call), journal::Reply::Peer(answer)) => {
                let bytes = codec::encode(&answer);
                let result = codec::decode::<journal::PeerAnswer>(&bytes).map_err(|e| e.to_string());
                let event = journal::Event::CallAnswer { call, result };
                self.queue.after(delay, Happening::Journal(slot, life, Box::new(event)));
            }
            (Asker::Writer(sequence), journal::Reply::Append(outcome)) => self.writer_answered(sequence, &outcome),
            _ => {}
        }
    }
}

impl World {
    /// Cuts a host's power: its agent and engines are gone, and of their unsynced writes a random part.
    pub fn power_off(&mut self, host: &HostName) {
        self.kill_agent(host);
        let slots: Vec<SlotId> = self.folders.keys().filter(|slot| slot.host == *host).cloned().collect();
        for slot in slots {
            self.paused.remove(&slot);
            if let Some(node) = self.journals.get_mut(&slot) {
                node.core = None;
                node.life += 1;
            }
            if let Some(folder) = self.folders.get_mut(&slot) {
                folder.power_failed(&mut self.disk);
            }
        }
        self.note(format!("{host} is off"));
    }

    /// Switches a host on again: a new boot, and nothing runs but its agent.
    pub fn power_on(&mut self, host: &HostName) {
        let boot = BootId(self.disk.token());
        if let Some(node) = self.agents.get_mut(host) {
            node.boot = boot;
        }
        self.start_agent(host);
    }
}
