//! Coordinators: the product's core, raft's log in redb on a simulated disk, and what the shell does around them.
//!
//! What always holds: a batch is reported durable only after redb's commit returned; what queues up while one is written
//! shares the next; after the first error of the disk the process is dead (P11); an empty disk begins as another node's,
//! whose incarnation nobody knows.

use super::wire::Asker;
use super::*;
use crate::check::Seen;
use crate::disk::SimFile;
use prost::Message;
use slot_proto::pb;
use slot_raft::store::{LogStore, RedbStore, StoreError};
use slot_raft::{NodeMarker, PersistBatch, RaftConfig, RaftMessage, Restored};
use std::net::SocketAddr;

/// A coordinator: its process, if it runs, and its disk.
pub(crate) struct Coordinator {
    pub(crate) core: Option<coordinator::CoordinatorCore>,
    pub(crate) life: u32,
    pub(crate) marker: NodeMarker,
    pub(crate) watched: BTreeSet<HostName>,
    /// The number of the newest report heard of each host: they are one stream, and none overtakes another.
    pub(crate) heard: BTreeMap<HostName, u64>,
    /// When a report of each host came last.
    pub(crate) heard_at: BTreeMap<HostName, u64>,
    pub(crate) file: SimFile,
    /// Milliseconds its wall clock is ahead or behind.
    pub(crate) wall_skew: i64,
    pub(crate) dark: bool,
    /// Faults of its disk that are known.
    fired: u64,
    /// Whether its disk holds a store.
    pub(crate) has_store: bool,
    store: Option<RedbStore>,
    acquaintances: BTreeMap<u64, [u8; 16]>,
    greet_at: u64,
    members: BTreeMap<u64, (CoordinatorName, SocketAddr)>,
    pending: Option<PersistBatch>,
    writing: Option<PersistBatch>,
    wake_at: Option<u64>,
    seed: u64,
}

impl Coordinator {
    pub(crate) fn new(
        cluster: ClusterId,
        id: u64,
        members: BTreeMap<u64, (CoordinatorName, SocketAddr)>,
        seed: u64,
    ) -> Self {
        let marker =
            NodeMarker { cluster_id: cluster.0.to_vec(), node_id: id, incarnation: Stream::new(seed, 900).token() };
        Self {
            core: None,
            life: 0,
            marker,
            watched: BTreeSet::new(),
            heard: BTreeMap::new(),
            heard_at: BTreeMap::new(),
            file: SimFile::formatted(),
            has_store: false,
            wall_skew: 0,
            dark: false,
            fired: 0,
            store: None,
            acquaintances: BTreeMap::new(),
            greet_at: 0,
            members,
            pending: None,
            writing: None,
            wake_at: None,
            seed,
        }
    }

    /// Its disk is gone; its process does not run.
    pub(crate) fn loses_its_disk(&mut self) {
        self.file = SimFile::formatted();
        (self.has_store, self.fired) = (false, 0);
        self.acquaintances.clear();
    }

    /// Its disk is written for the first time, with this content (`shell/restore.rs`).
    pub(crate) fn is_written(&mut self, first: &Restored, incarnation: [u8; 16]) -> Result<(), StoreError> {
        self.marker.incarnation = incarnation;
        self.acquaintances.clear();
        drop(RedbStore::create_with_backend(self.file.open(), &self.marker, first)?);
        self.file.process_died();
        self.has_store = true;
        Ok(())
    }

    /// Whether a disk of a peer was ever seen.
    pub(crate) fn has_met(&self, peer: u64) -> bool {
        self.acquaintances.contains_key(&peer)
    }

    /// The first disk seen of a peer is the only one it may ever have (`shell/peers.rs`).
    pub(crate) fn knows(&mut self, peer: u64, incarnation: [u8; 16]) -> bool {
        *self.acquaintances.entry(peer).or_insert(incarnation) == incarnation
    }
}

impl Sim {
    fn moment(&self, skew: i64) -> coordinator::Now {
        let wall = 1_700_000_000_000u64.saturating_add(self.now()).saturating_add_signed(skew);
        coordinator::Now { ms: self.now(), wall: WallTime(wall) }
    }

    pub(crate) fn start_coordinator(&mut self, id: u64) {
        let (cluster_id, swarm) = (self.cluster, (self.swarm.snapshot_every, self.swarm.log_tail));
        let Some(node) = self.coordinators.get_mut(&id).filter(|n| n.core.is_none() && !n.dark) else { return };
        node.life += 1;
        node.wake_at = None;
        (node.pending, node.writing) = (None, None);
        let mut life_stream = Stream::new(node.seed, 1_000 + u64::from(node.life));
        let handle = node.file.open();
        let opened = if !node.has_store {
            if node.life > 1 {
                // As a shipped coordinator does on an empty data folder: a node of its own, with a new incarnation.
                node.marker.incarnation = life_stream.token();
                node.acquaintances.clear();
            }
            let voters: Vec<u64> = node.members.keys().copied().collect();
            RedbStore::create_with_backend(handle, &node.marker, &Restored::bootstrap(&voters, Vec::new()))
        } else {
            RedbStore::with_backend(handle, &cluster_id.0, id)
        };
        let loaded = opened.and_then(|mut store| store.load().map(|restored| (store, restored)));
        let (store, restored) = match loaded {
            Ok(both) => both,
            Err(error) => return self.coordinator_cannot_start(id, &error.to_string()),
        };
        let mut raft = RaftConfig::new(id, node.marker.incarnation);
        raft.log_tail = swarm.1;
        let config = coordinator::CoreConfig {
            cluster: crate::setup::cluster_name(),
            cluster_id,
            node: node.members[&id].0.clone(),
            raft,
            members: node.members.clone(),
            life: life_stream.token(),
            seed: node.seed + u64::from(node.life),
            snapshot_every: swarm.0,
        };
        let (skew, incarnation) = (node.wall_skew, node.marker.incarnation);
        let now = self.moment(skew);
        self.witness.saw(now.ms, Seen::CoordinatorOpens { node: id, incarnation, restored: &restored });
        match coordinator::CoordinatorCore::new(config, restored, now) {
            Ok(core) => {
                let Some(node) = self.coordinators.get_mut(&id) else { return };
                (node.core, node.store) = (Some(core), Some(store));
                (node.fired, node.has_store) = (node.file.fired(), true);
                let life = node.life;
                self.note(|| format!("c{id} starts, life {life}"));
                self.coordinator_step(id, coordinator::Event::Tick);
            }
            Err(error) => self.coordinator_cannot_start(id, &error.to_string()),
        }
    }

    /// A disk that fails while it is opened is looked at and opened again; one that is well must open.
    fn coordinator_cannot_start(&mut self, id: u64, why: &str) {
        self.note(|| format!("c{id} does not start: {why}"));
        let Some(node) = self.coordinators.get_mut(&id) else { return };
        let is_ill = node.file.fired() > node.fired;
        node.fired = node.file.fired();
        node.file.process_died();
        node.file.disarm();
        if is_ill {
            self.reach("P11: a disk failed while it was opened");
            self.coordinator_power_failed(id);
            let down = self.dice.within(500, 3_000);
            return self.queue.after(down, Happening::Start(Node::Coordinator(id)));
        }
        self.finding("S14", format!("c{id} can't start from its own disk: {why}"));
    }

    /// SIGKILL; what the disk was writing may or may not be there.
    pub(crate) fn kill_coordinator(&mut self, id: u64) {
        let reached = self.disk.one_in(2);
        let Some(node) = self.coordinators.get_mut(&id).filter(|n| n.core.is_some()) else { return };
        if let (true, Some(batch), Some(store)) = (reached, node.writing.take(), node.store.as_mut()) {
            // The kernel finishes what was handed to it; nobody is told.
            if store.commit(&batch).is_ok() && !node.file.crashed() {
                self.witness.saw(self.queue.now(), Seen::BatchDurable { node: id, batch: &batch });
                self.reach("a coordinator died between its write and its hearing of it");
            }
        }
        self.coordinator_gone(id);
    }

    pub(crate) fn coordinator_gone(&mut self, id: u64) {
        let Some(node) = self.coordinators.get_mut(&id) else { return };
        node.core = None;
        node.life += 1;
        node.watched.clear();
        node.file.process_died();
        node.store = None;
        (node.pending, node.writing) = (None, None);
        self.paused.remove(&Node::Coordinator(id));
        self.note(|| format!("c{id} is dead"));
        self.witness.saw(self.queue.now(), Seen::CoordinatorGone { node: id });
    }

    /// How many times one coordinator has never seen the disk of another.
    pub fn unmet(&self) -> usize {
        let pairs =
            self.coordinators.iter().flat_map(|(id, n)| self.coordinators.keys().map(move |other| (id, n, other)));
        pairs.filter(|(id, n, other)| id != other && !n.has_met(**other)).count()
    }

    /// As the shell does until a connection has lasted: peers that do not know this node's disk are told it.
    fn greet(&mut self, id: u64) {
        let now = self.now();
        let strangers: Vec<u64> = self
            .coordinators
            .iter()
            .filter(|(other, n)| **other != id && n.core.is_some() && !n.has_met(id))
            .map(|(other, _)| *other)
            .collect();
        let Some(node) = self.coordinators.get_mut(&id).filter(|n| !strangers.is_empty() && n.greet_at <= now) else {
            return;
        };
        node.greet_at = now + 1_000;
        for peer in strangers {
            let message = RaftMessage { from: id, to: peer, ..RaftMessage::default() };
            self.send_raft(id, peer, message);
        }
    }

    pub(crate) fn coordinator_step(&mut self, id: u64, event: coordinator::Event) {
        self.greet(id);
        let Some(node) = self.coordinators.get(&id) else { return };
        let now = self.moment(node.wall_skew);
        let Some(node) = self.coordinators.get_mut(&id) else { return };
        let Some(core) = node.core.as_mut() else { return };
        if matches!(event, coordinator::Event::Tick) {
            // A tick that was put off is none: it would beget another each time.
            if node.wake_at.is_some_and(|at| at > now.ms) {
                return;
            }
            node.wake_at = None;
        }
        self.witness.saw(now.ms, Seen::CoordinatorTakes { node: id, event: &event });
        let effects = core.step(now, event);
        self.witness.saw(now.ms, Seen::CoordinatorDid { node: id, state: core.state(), effects: &effects });
        let wake = core.next_deadline().max(now.ms + 1);
        if node.wake_at.is_none_or(|at| wake < at) {
            node.wake_at = Some(wake);
            let life = node.life;
            let tick = Work::Coordinator(Box::new(coordinator::Event::Tick));
            self.queue.at(wake, Happening::Work(Node::Coordinator(id), life, tick));
        }
        self.coordinator_effects(id, effects.into());
    }

    pub(crate) fn coordinator_effects(&mut self, id: u64, mut effects: VecDeque<coordinator::Effect>) {
        let node = Node::Coordinator(id);
        let Some(life) = self.life(&node) else { return };
        while let Some(effect) = effects.pop_front() {
            if !self.coordinator_place(&node, &effect) {
                if self.life(&node) == Some(life)
                    && let Some(waiting) = self.paused.get_mut(&node)
                {
                    effects.push_front(effect);
                    waiting.push_front(Work::CoordinatorRest(effects));
                }
                return;
            }
            self.coordinator_effect(id, life, effect);
            if self.life(&node) != Some(life) {
                return;
            }
        }
    }

    /// The places of a coordinator that traps and sweeps know.
    fn coordinator_place(&mut self, node: &Node, effect: &coordinator::Effect) -> bool {
        use coordinator::Effect;
        match effect {
            Effect::Failpoint(name) => {
                let name = name.strip_prefix("slotd-").unwrap_or(name);
                let (verb, action) = name.split_once('-').unwrap_or((name, ""));
                let verb = if verb == "started" { "slotd-started" } else { "slotd-finished" };
                self.place(node, verb, action)
            }
            Effect::Deliver { order, .. } if self.is_looked_at() => {
                let order = slot_types::codec::decode::<slot_types::order::Order>(order);
                order.is_ok_and(|o| self.place(node, "deliver", o.action.name()))
            }
            Effect::Persist(batch) if !batch.entries.is_empty() => self.place(node, "persists", "entries"),
            Effect::ServeRoutes { .. } => self.place(node, "serves", "table"),
            // Only a sweep wants to know these.
            Effect::Reply { .. } if self.sweep.is_some() => self.place(node, "answers", "person"),
            Effect::Send { message, .. } if self.sweep.is_some() && !message.entries.is_empty() => {
                self.place(node, "sends", "entries")
            }
            _ => true,
        }
    }

    fn coordinator_effect(&mut self, id: u64, life: u32, effect: coordinator::Effect) {
        use coordinator::Effect;
        match effect {
            Effect::Persist(batch) => {
                let Some(node) = self.coordinators.get_mut(&id) else { return };
                match &mut node.pending {
                    Some(pending) => pending.merge(batch),
                    None => node.pending = Some(batch),
                }
                self.coordinator_write(id);
            }
            Effect::Send { peer, message } => self.send_raft(id, peer, message),
            Effect::Deliver { delivery, host, order, budget_ms, .. } => {
                let number = self.call(Asker::Coordinator { id, life, delivery }, budget_ms + 2_000);
                let bytes = pb::DeliverRequest { order }.encode_to_vec();
                self.send(Place::Coordinator(id), Node::Agent(host), Kind::Deliver, number, &bytes);
            }
            Effect::Look { look, host, looks, budget_ms } => self.look(id, life, look, &host, &looks, budget_ms),
            Effect::Study { number, study } => {
                let after = match self.studies.within(0, 19) {
                    0..2 => self.studies.within(500, 8_000),
                    2..6 => self.studies.within(5, 300),
                    _ => self.studies.within(0, 4),
                };
                let studied = coordinator::Event::Studied { number, found: Ok(study.answer()) };
                let work = Work::Coordinator(Box::new(studied));
                self.queue.after(after, Happening::Work(Node::Coordinator(id), life, work));
            }
            Effect::WatchAgents { agents, .. } => self.watch_agents(id, agents.into_keys().collect()),
            Effect::Reply { token, reply } => self.answer_person(id, token, reply),
            Effect::Failpoint(name) => self.saw_failpoint(id, &name),
            Effect::Role { leader, is_leader } => {
                self.note(|| {
                    let leader = leader.map_or("nobody".to_string(), |l| l.to_string());
                    format!("c{id} sees {leader} lead{}", if is_leader { ", itself" } else { "" })
                });
                self.saw_role(id, is_leader);
            }
            Effect::Die(why) => {
                self.finding("S14", format!("c{id} would end its process: {why}"));
                self.coordinator_gone(id);
            }
            Effect::Applied(_) => self.saw_applied(id),
            Effect::RoutesChanged => self.wake_clients(),
            Effect::ServeRoutes { front_end, table, .. } => self.serve_routes(id, life, front_end, table),
        }
    }

    fn watch_agents(&mut self, id: u64, hosts: BTreeSet<HostName>) {
        let Some(node) = self.coordinators.get_mut(&id) else { return };
        let new: Vec<HostName> = hosts.difference(&node.watched).cloned().collect();
        node.watched = hosts;
        for host in new {
            self.report_to(&host, &[id]);
        }
    }

    fn coordinator_write(&mut self, id: u64) {
        let delay = self.disk_ms(&Node::Coordinator(id));
        let Some(node) = self.coordinators.get_mut(&id).filter(|n| n.writing.is_none()) else { return };
        if let Some(batch) = node.pending.take() {
            node.writing = Some(batch);
            self.give(delay, Node::Coordinator(id), Work::CoordinatorDisk);
        }
    }

    pub(crate) fn coordinator_disk(&mut self, id: u64) {
        let Some(node) = self.coordinators.get_mut(&id) else { return };
        let (Some(batch), Some(store)) = (node.writing.take(), node.store.as_mut()) else { return };
        let result = store.commit(&batch);
        let power_lost = node.file.power_lost();
        if result.is_err() || node.file.crashed() {
            // P11: a disk that failed once may lie the second time; the process ends, and a person starts it again.
            self.reach("P11: a coordinator ended itself on a disk error");
            self.saw_disk(&Node::Coordinator(id));
            self.coordinator_gone(id);
            let lost_pages = self.coordinators.get(&id).is_some_and(|n| n.file.has_lost_pages());
            if power_lost || lost_pages {
                // After EIO the page cache says more than the disk holds: the machine is booted anew (P11).
                self.coordinator_power_failed(id);
            }
            if let Some(node) = self.coordinators.get(&id) {
                node.file.disarm();
            }
            let down = self.dice.within(500, 5_000);
            return self.queue.after(down, Happening::Start(Node::Coordinator(id)));
        }
        self.witness.saw(self.queue.now(), Seen::BatchDurable { node: id, batch: &batch });
        self.coordinator_step(id, coordinator::Event::Persisted { seq: batch.seq });
        if self.coordinators.get(&id).is_some_and(|n| n.core.is_some()) {
            self.coordinator_write(id);
        }
    }

    pub(crate) fn coordinator_power_failed(&mut self, id: u64) {
        if let Some(node) = self.coordinators.get_mut(&id) {
            node.file.power_failed(&mut self.disk);
        }
    }
}
