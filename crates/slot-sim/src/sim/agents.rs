//! Agents: the product's core, its ledger in redb on a simulated disk, and what the shell does around them.
//!
//! What always holds: a transaction is reported durable only after redb's commit returned; an agent that dies leaves its
//! engines running, and its successor adopts them (S10); after the first error of the disk the process is dead (P11).

use super::wire::{Asker, engine_call_name};
use super::*;
use crate::check::Seen;
use crate::disk::{FileImage, FolderImage, SimFile};
use prost::Message;
use slot_agent::core::Mark;
use slot_agent::core::image::LedgerImage;
use slot_agent::ledger::Ledger;
use slot_proto::pb;
use slot_types::codec;
use slot_types::engine::{EngineCall, EngineDone, EngineError};
use slot_types::order::AgentReport;

/// A host: its agent's process, if it runs, and its ledger.
pub(crate) struct AgentMachine {
    pub(crate) core: Option<agent::AgentCore>,
    pub(crate) life: u32,
    pub(crate) boot: BootId,
    pub(crate) slots: BTreeSet<u16>,
    pub(crate) file: SimFile,
    /// The disk as it was at some moment, with what the folders held then.
    pub(crate) kept: Option<Kept>,
    /// The disk is not what it was: wiped, put back or copied.
    pub(crate) replaced: bool,
    /// The host has no power.
    pub(crate) dark: bool,
    /// It has no identity: it has to join before its agent can start.
    pub(crate) outside: bool,
    /// What its next start finds: a folder that was copied, or an empty disk.
    pub(crate) fresh: Option<Incarnation>,
    pub(crate) incarnation: Incarnation,
    /// Faults of its disk that are known.
    fired: u64,
    ledger: Option<Ledger>,
    disk_free_at: u64,
    wake_at: Option<u64>,
    pub(crate) last_report: Option<Vec<u8>>,
    /// What it looks at for the leader, if it runs and this world probes.
    pub(crate) looks: Option<super::looks::Lookout>,
}

/// A host's disk as it was.
pub(crate) struct Kept {
    pub(crate) ledger: FileImage,
    pub(crate) folders: Vec<((SlotId, StoreName, CopyGeneration), FolderImage)>,
}

impl AgentMachine {
    /// A host whose agent does not run yet, with an empty ledger.
    pub(crate) fn new(cluster: ClusterId, host: &HostName, incarnation: Incarnation, boot: BootId) -> Self {
        let file = SimFile::formatted();
        let image = LedgerImage::empty(cluster, host.clone(), incarnation);
        // A disk without faults takes its first transaction.
        drop(Ledger::create_with_backend(file.open(), &image));
        file.process_died();
        Self {
            core: None,
            life: 0,
            boot,
            slots: (1..=4).collect(),
            file,
            kept: None,
            replaced: false,
            dark: false,
            outside: false,
            fresh: None,
            incarnation,
            fired: 0,
            ledger: None,
            disk_free_at: 0,
            wake_at: None,
            last_report: None,
            looks: None,
        }
    }
}

impl Sim {
    /// Starts an agent from its ledger; engines that run are adopted.
    pub(crate) fn start_agent(&mut self, host: &HostName) {
        let (now, cluster) = (self.now(), self.cluster);
        // One that runs keeps what it knows of its engines' processes.
        if self.agents.get(host).is_none_or(|n| n.core.is_some() || n.dark || n.outside) {
            return;
        }
        let running: BTreeMap<u16, agent::Serving> = self
            .engines
            .iter_mut()
            .filter(|(slot, node)| slot.host == *host && node.core.is_some())
            .map(|(slot, node)| {
                node.instance = 0;
                (slot.number, node.serving.clone())
            })
            .collect();
        let Some(node) = self.agents.get_mut(host).filter(|n| n.core.is_none() && !n.dark) else { return };
        node.life += 1;
        node.disk_free_at = now;
        node.wake_at = None;
        let handle = node.file.open();
        let opened = match node.fresh {
            // An empty folder: the shipped agent makes a ledger with a new incarnation.
            Some(incarnation) => {
                node.incarnation = incarnation;
                let image = LedgerImage::empty(cluster, host.clone(), incarnation);
                Ledger::create_with_backend(handle, &image).map(|ledger| (ledger, image))
            }
            None => Ledger::open_with_backend(handle),
        };
        match opened {
            Ok((ledger, image)) => {
                let Some(node) = self.agents.get_mut(host) else { return };
                self.witness.saw(now, Seen::AgentOpens { host, boot: node.boot, image: &image });
                let config = agent::CoreConfig { slots: node.slots.clone() };
                let adopts = !running.is_empty();
                let (core, effects) = agent::AgentCore::open(config, image, node.boot, running, now);
                (node.core, node.ledger) = (Some(core), Some(ledger));
                node.looks = self.swarm.probes.then(|| super::looks::Lookout::new(cluster));
                (node.fired, node.fresh) = (node.file.fired(), None);
                self.witness.saw(now, Seen::AgentDid { host, effects: &effects });
                let life = node.life;
                self.note(|| format!("agent {host} starts, life {life}"));
                if adopts {
                    self.reach("S10: an agent adopted engines that had run on");
                }
                self.agent_effects(host, effects.into());
                self.agent_step(host, agent::Event::Tick);
            }
            Err(error) => self.agent_cannot_start(host, &error.to_string()),
        }
    }

    /// A disk that fails while it is opened is looked at and opened again; one that is well must open.
    fn agent_cannot_start(&mut self, host: &HostName, why: &str) {
        self.note(|| format!("agent {host} does not start: {why}"));
        let Some(node) = self.agents.get_mut(host) else { return };
        let is_ill = node.file.fired() > node.fired;
        node.fired = node.file.fired();
        node.file.process_died();
        node.file.disarm();
        if is_ill {
            self.reach("P11: a disk failed while it was opened");
            let down = self.dice.within(500, 3_000);
            return self.power_fails(host, down);
        }
        self.finding("S2", format!("the agent of {host} can't open its own ledger: {why}"));
    }

    /// SIGKILL; the engines live on. What the disk was writing may or may not be there.
    pub(crate) fn kill_agent(&mut self, host: &HostName) {
        let Some(node) = self.agents.get_mut(host).filter(|n| n.core.is_some()) else { return };
        let engines = self.engines.iter().filter(|(slot, e)| slot.host == *host && e.core.is_some());
        self.witness.lookout().agent_dies(engines.map(|(slot, _)| slot.clone()));
        node.core = None;
        node.life += 1;
        node.file.process_died();
        node.ledger = None;
        node.last_report = None;
        node.looks = None;
        self.paused.remove(&Node::Agent(host.clone()));
        self.note(|| format!("agent {host} is dead"));
        let watchers: Vec<u64> =
            self.coordinators.iter().filter(|(_, c)| c.watched.contains(host)).map(|(id, _)| *id).collect();
        for id in watchers {
            // The stream breaks at once unless the machine itself is gone.
            let delay = if self.is_dark(&Place::Host(host.clone())) { 4_000 } else { 2 };
            let event = coordinator::Event::AgentLost { host: host.clone(), why: "the stream broke".into() };
            self.give(delay, Node::Coordinator(id), Work::Coordinator(Box::new(event)));
        }
    }

    pub(crate) fn agent_step(&mut self, host: &HostName, event: agent::Event) {
        let now = self.now();
        let Some(node) = self.agents.get_mut(host) else { return };
        let Some(core) = node.core.as_mut() else { return };
        if matches!(event, agent::Event::Tick) {
            // A tick that was put off is none: it would beget another each time.
            if node.wake_at.is_some_and(|at| at > now) {
                return;
            }
            node.wake_at = None;
        }
        self.witness.saw(now, Seen::AgentTakes { host, event: &event });
        let effects = core.step(now, event);
        self.witness.saw(now, Seen::AgentDid { host, effects: &effects });
        let wake = core.wake_at().max(now + 1);
        if node.wake_at.is_none_or(|at| wake < at) {
            node.wake_at = Some(wake);
            let tick = Work::Agent(Box::new(agent::Event::Tick));
            self.queue.at(wake, Happening::Work(Node::Agent(host.clone()), node.life, tick));
        }
        self.agent_effects(host, effects.into());
    }

    pub(crate) fn agent_effects(&mut self, host: &HostName, mut effects: VecDeque<agent::Effect>) {
        if effects.is_empty() {
            return;
        }
        let node = Node::Agent(host.clone());
        let Some(life) = self.life(&node) else { return };
        while let Some(effect) = effects.pop_front() {
            if !self.agent_place(&node, &effect) {
                if self.life(&node) == Some(life)
                    && let Some(waiting) = self.paused.get_mut(&node)
                {
                    effects.push_front(effect);
                    waiting.push_front(Work::AgentRest(effects));
                }
                return;
            }
            self.agent_effect(host, life, effect);
            if self.life(&node) != Some(life) {
                return;
            }
        }
    }

    fn agent_place(&mut self, node: &Node, effect: &agent::Effect) -> bool {
        use agent::Effect;
        match effect {
            Effect::Persist { marks, .. } => {
                let mut goes_on = true;
                for mark in marks {
                    goes_on &= match mark {
                        Mark::Accepts(action) => self.place(node, "accepts", action),
                        Mark::Records(action) => self.place(node, "records", action),
                    };
                }
                goes_on
            }
            Effect::Call { engine_call: EngineCall::Status, .. } => true,
            Effect::Call { engine_call, .. } => self.place(node, "calls", engine_call_name(engine_call)),
            Effect::Launch { .. } => self.place(node, "launches", "engine"),
            Effect::Kill { .. } => self.place(node, "kills", "engine"),
            Effect::Provision { .. } => self.place(node, "provisions", "copy"),
            Effect::Remove { .. } => self.place(node, "removes", "copy"),
            Effect::Fence { action, .. } => self.place(node, "fences", action.name()),
            Effect::Answer { .. } => self.place(node, "answers", "order"),
            Effect::Told { .. } | Effect::Report(_) => true,
        }
    }

    fn agent_effect(&mut self, host: &HostName, life: u32, effect: agent::Effect) {
        use agent::Effect;
        let now = self.now();
        match effect {
            Effect::Persist { op, writes, .. } => {
                let delay = self.disk_ms(&Node::Agent(host.clone()));
                let Some(node) = self.agents.get_mut(host) else { return };
                node.disk_free_at = node.disk_free_at.max(now) + delay;
                let wait = node.disk_free_at - now;
                self.give(wait, Node::Agent(host.clone()), Work::AgentDisk { op, writes });
            }
            Effect::Answer { delivery, answer } => {
                let bytes = pb::DeliverReply { answer: codec::encode(&answer) }.encode_to_vec();
                self.answer(Place::Host(host.clone()), Kind::DeliverReply, delivery, &bytes);
            }
            Effect::Call { call, slot: None, engine_call, budget_ms } => {
                self.canary(host, life, call, &engine_call, budget_ms);
            }
            Effect::Call { call, slot: Some(number), engine_call, budget_ms } => {
                self.engine_call(host, life, call, number, &engine_call, budget_ms);
            }
            Effect::Launch { slot, instance, serving } => {
                let slot = SlotId::new(host.clone(), slot);
                let delay = self.disk.within(2, 8);
                self.queue.after(delay, Happening::Spawn { slot, agent_life: life, instance, serving });
            }
            Effect::Kill { slot, instance } => {
                let slot = SlotId::new(host.clone(), slot);
                let delay = self.disk.within(1, 6);
                self.queue.after(delay, Happening::Killed { slot, agent_life: life, instance });
            }
            Effect::Provision { slot, serving } => {
                let slot = SlotId::new(host.clone(), slot);
                let delay = self.disk.within(2, 6);
                self.queue.after(delay, Happening::Made { slot, agent_life: life, serving });
            }
            Effect::Remove { slot, serving } => {
                let slot = SlotId::new(host.clone(), slot);
                let delay = self.disk.within(2, 20);
                self.queue.after(delay, Happening::Unmade { slot, agent_life: life, serving });
            }
            Effect::Fence { call, host: of, action, budget_ms, .. } => {
                let asked = super::device::Asked::Fence { by: host.clone(), life, call };
                self.ask_device(asked, &of, action, budget_ms);
            }
            Effect::Told { answer, .. } => self.told_by_hand(host, &answer),
            Effect::Report(report) => self.report(host, &report),
        }
    }

    fn engine_call(
        &mut self,
        host: &HostName,
        life: u32,
        call: u64,
        number: u16,
        engine_call: &EngineCall,
        budget_ms: u64,
    ) {
        let slot = SlotId::new(host.clone(), number);
        let asker = Asker::Agent { host: host.clone(), life, call };
        let Some(serving) = self.engines.get(&slot).filter(|e| e.core.is_some()).map(|e| e.serving.clone()) else {
            let number = self.call(asker, 1);
            return self.digest(number);
        };
        let number = self.call(asker, budget_ms + 20);
        let request = pb::EngineControlRequest {
            call: codec::encode(engine_call),
            budget_ms: u32::try_from(budget_ms - budget_ms / 10).unwrap_or(u32::MAX),
            store: serving.store.to_string(),
            slot: slot.to_string(),
            copy_generation: serving.generation.0,
        };
        self.send(Place::Host(host.clone()), Node::Engine(slot), Kind::Control, number, &request.encode_to_vec());
    }

    /// What the agent's engine plug does for a canary: append it at the master, then read it back.
    fn canary(&mut self, host: &HostName, life: u32, call: u64, engine_call: &EngineCall, budget_ms: u64) {
        let EngineCall::Canary { store, epoch, to, id } = engine_call else { return };
        let Ok(client) = ClientName::new(journal::CANARY_CLIENT) else { return };
        let sequence =
            (id.plan.0 << 32) | (u64::from(id.task) << 16) | (u64::from(id.step) << 8) | u64::from(id.attempt);
        let id = RecordId { client, sequence };
        let append =
            journal::Append { store: store.clone(), epoch: *epoch, id: id.clone(), payload: b"canary".to_vec() };
        let asker = Asker::Canary {
            host: host.clone(),
            life,
            call,
            store: store.clone(),
            epoch: *epoch,
            id,
            to: to.slot.clone(),
        };
        let number = self.call(asker, budget_ms + 20);
        let bytes = slot_engine::journal::wire::append_to(append, budget_ms).encode_to_vec();
        self.send(Place::Host(host.clone()), Node::Engine(to.slot.clone()), Kind::Append, number, &bytes);
    }

    pub(crate) fn canary_reply(&mut self, asker: Asker, kind: Kind, payload: &[u8]) {
        use slot_engine::journal::wire;
        match (asker, kind) {
            (Asker::Canary { host, life, call, store, epoch, id, to }, Kind::AppendReply) => {
                let outcome = pb::AppendReply::decode(payload).ok().map(wire::outcome_from);
                if let Some(journal::AppendOutcome::Done { index, .. }) = outcome {
                    let read = journal::Read { store, epoch, from: index, records_max: 1, wait_ms: 0, stale: false };
                    let asker = Asker::CanaryRead { host: host.clone(), life, call, id };
                    let number = self.call(asker, 1_000);
                    let bytes = wire::read_to(&read).encode_to_vec();
                    return self.send(Place::Host(host), Node::Engine(to), Kind::Read, number, &bytes);
                }
                let result = Err(EngineError::TimedOut("the canary was not taken".into()));
                self.canary_over(host, life, call, result);
            }
            (Asker::CanaryRead { host, life, call, id }, Kind::ReadReply) => {
                let answer = pb::JournalReadReply::decode(payload).ok().map(wire::read_outcome_from);
                let found = match answer {
                    Some(Ok(Ok((records, _)))) => records.first().is_some_and(|(_, r)| r.id() == Some(&id)),
                    _ => false,
                };
                let result =
                    if found { Ok(EngineDone::Done) } else { Err(EngineError::TimedOut("not read back".into())) };
                self.canary_over(host, life, call, result);
            }
            _ => {}
        }
    }

    fn canary_over(&mut self, host: HostName, life: u32, call: u64, result: Result<EngineDone, EngineError>) {
        let event = agent::Event::EngineAnswer { call, result };
        self.work(Node::Agent(host), life, Work::Agent(Box::new(event)));
    }

    pub(crate) fn agent_disk(&mut self, host: &HostName, op: u64, writes: &[LedgerWrite]) {
        let Some(node) = self.agents.get_mut(host) else { return };
        let Some(ledger) = node.ledger.as_mut() else { return };
        let result = ledger.commit(writes);
        let (crashed, power_lost) = (node.file.crashed(), node.file.power_lost());
        if result.is_err() || crashed {
            self.reach("P11: an agent ended itself on a disk error");
            self.saw_disk(&Node::Agent(host.clone()));
            self.kill_agent(host);
            let down = self.dice.within(300, 5_000);
            let lost_pages = self.agents.get(host).is_some_and(|n| n.file.has_lost_pages());
            if let Some(node) = self.agents.get(host) {
                node.file.disarm();
            }
            if power_lost || lost_pages {
                return self.power_fails(host, down);
            }
            return self.queue.after(down, Happening::Start(Node::Agent(host.clone())));
        }
        self.note(|| format!("agent {host}: its ledger holds {writes:?}"));
        self.witness.saw(self.queue.now(), Seen::LedgerDurable { host, writes });
        self.agent_step(host, agent::Event::LedgerDone { op });
    }

    fn report(&mut self, host: &HostName, report: &AgentReport) {
        let bytes = pb::WatchReply { report: codec::encode(report) }.encode_to_vec();
        let watchers: Vec<u64> = self
            .coordinators
            .iter()
            .filter(|(_, node)| node.core.is_some() && node.watched.contains(host))
            .map(|(id, _)| *id)
            .collect();
        for id in watchers {
            let number = self.number();
            self.send(Place::Host(host.clone()), Node::Coordinator(id), Kind::Report, number, &bytes);
        }
        if let Some(node) = self.agents.get_mut(host) {
            node.last_report = Some(bytes);
        }
    }

    /// The last report goes to who begins to watch.
    pub(crate) fn report_to(&mut self, host: &HostName, watchers: &[u64]) {
        let Some(node) = self.agents.get(host).filter(|n| n.core.is_some()) else { return };
        let Some(core) = &node.core else { return };
        let bytes = pb::WatchReply { report: codec::encode(&core.report()) }.encode_to_vec();
        for id in watchers {
            let number = self.number();
            self.send(Place::Host(host.clone()), Node::Coordinator(*id), Kind::Report, number, &bytes);
        }
    }
}
