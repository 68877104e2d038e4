//! A whole group on one thread: a network, disks and an application, all from one seed.
//!
//! What always holds after every step, else the test fails: applied histories agree at every index, a term has one
//! leader, nothing proposed and acknowledged is lost, and no vote or acknowledgement leaves before the disk holds what
//! it promises.

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use slot_raft::store::{LogStore, MemStore};
use slot_raft::{Effects, Input, PersistBatch, RaftConfig, RaftCore, RaftMessage, RaftMessageType, Restored};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// What one node is made of.
pub struct Node {
    pub core: Option<RaftCore>,
    pub disk: MemStore,
    /// Batches handed to the disk and when each will be durable.
    pub writing: VecDeque<(u64, PersistBatch)>,
    /// The application: everything applied, in order.
    pub applied: Vec<(u64, Vec<u8>)>,
    pub applied_index: u64,
    pub installs: u64,
    pub boots: u64,
}

/// The network's and the disks' manners.
#[derive(Debug, Clone)]
pub struct Manners {
    pub delay: std::ops::Range<u64>,
    pub loss_percent: u32,
    pub duplicate_percent: u32,
    pub disk: std::ops::Range<u64>,
    /// Every tenth batch is reported durable and is not.
    pub lying_disk: bool,
}

impl Default for Manners {
    fn default() -> Self {
        Self { delay: 1..5, loss_percent: 0, duplicate_percent: 0, disk: 1..4, lying_disk: false }
    }
}

/// The group.
pub struct Cluster {
    pub now: u64,
    pub nodes: BTreeMap<u64, Node>,
    pub wire: BTreeMap<(u64, u64), (u64, RaftMessage)>,
    sent: u64,
    pub cut: BTreeSet<(u64, u64)>,
    pub manners: Manners,
    pub rng: Pcg64,
    seed: u64,
    pub log_tail: u64,
    /// The one history: index to data.
    pub history: BTreeMap<u64, Vec<u8>>,
    leaders: BTreeMap<u64, u64>,
    pub acked: BTreeSet<Vec<u8>>,
    pub reads: Vec<(u64, u64, u64)>,
    /// The newest entry applied anywhere when a read was asked for.
    asked: BTreeMap<u64, u64>,
    pub read_failed: Vec<(u64, Option<u64>)>,
    pub dropped: Vec<(u64, Option<u64>)>,
    pub refused: Vec<String>,
    pub trace: Vec<String>,
}

pub fn encode(applied: &[(u64, Vec<u8>)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (index, data) in applied {
        out.extend_from_slice(&index.to_le_bytes());
        out.extend_from_slice(&(data.len() as u64).to_le_bytes());
        out.extend_from_slice(data);
    }
    out
}

pub fn decode(mut bytes: &[u8]) -> Vec<(u64, Vec<u8>)> {
    let mut out = Vec::new();
    while !bytes.is_empty() {
        let index = u64::from_le_bytes(bytes[..8].try_into().unwrap());
        let length = u64::from_le_bytes(bytes[8..16].try_into().unwrap()) as usize;
        out.push((index, bytes[16..16 + length].to_vec()));
        bytes = &bytes[16 + length..];
    }
    out
}

impl Cluster {
    pub fn new(size: u64, seed: u64) -> Self {
        let voters: Vec<u64> = (1..=size).collect();
        let mut cluster = Self {
            now: 0,
            nodes: BTreeMap::new(),
            wire: BTreeMap::new(),
            sent: 0,
            cut: BTreeSet::new(),
            manners: Manners::default(),
            rng: Pcg64::seed_from_u64(seed),
            seed,
            log_tail: 4,
            history: BTreeMap::new(),
            leaders: BTreeMap::new(),
            acked: BTreeSet::new(),
            reads: Vec::new(),
            asked: BTreeMap::new(),
            read_failed: Vec::new(),
            dropped: Vec::new(),
            refused: Vec::new(),
            trace: Vec::new(),
        };
        for id in &voters {
            cluster.add(*id, Restored::bootstrap(&voters, Vec::new()));
        }
        cluster
    }

    pub fn add(&mut self, id: u64, first: Restored) {
        let node = Node {
            core: None,
            disk: MemStore::new(first),
            writing: VecDeque::new(),
            applied: Vec::new(),
            applied_index: 0,
            installs: 0,
            boots: 0,
        };
        self.nodes.insert(id, node);
        self.start(id);
    }

    /// Starts a node from its disk.
    pub fn start(&mut self, id: u64) {
        let node = self.nodes.get_mut(&id).unwrap();
        let restored = node.disk.load().expect("the disk holds a valid state");
        node.applied = restored.snapshot.as_ref().map(|s| decode(&s.data)).unwrap_or_default();
        node.applied_index = restored.snapshot.as_ref().map_or(0, |s| s.index);
        node.boots += 1;
        let mut config = RaftConfig::new(id, [id as u8; 16]);
        config.log_tail = self.log_tail;
        config.snapshot_timeout_ms = 2_000;
        node.core = Some(RaftCore::new(config, restored, self.seed ^ (node.boots << 32)).expect("a node starts"));
        self.input(id, Input::Tick);
    }

    /// Ends a node as a power cut would: what is not on its disk is gone.
    pub fn crash(&mut self, id: u64) {
        let node = self.nodes.get_mut(&id).unwrap();
        node.core = None;
        node.writing.clear();
    }

    pub fn core(&self, id: u64) -> &RaftCore {
        self.nodes[&id].core.as_ref().expect("the node runs")
    }

    pub fn running(&self) -> Vec<u64> {
        self.nodes.iter().filter(|(_, n)| n.core.is_some()).map(|(id, _)| *id).collect()
    }

    pub fn input(&mut self, id: u64, input: Input) {
        let now = self.now;
        if let Input::ReadIndex { token } = input {
            self.asked.insert(token, self.history.keys().last().copied().unwrap_or(0));
        }
        let Some(core) = self.nodes.get_mut(&id).and_then(|n| n.core.as_mut()) else { return };
        let effects = core.step(now, input);
        self.perform(id, effects);
    }

    fn perform(&mut self, id: u64, effects: Effects) {
        let now = self.now;
        if let Some(role) = effects.role {
            self.trace.push(format!("{now} {id} {role:?}"));
        }
        let node = self.nodes.get_mut(&id).unwrap();
        let core = node.core.as_ref().unwrap();
        let leading = core.is_leader();
        if leading {
            let other = self.leaders.insert(core.term(), id);
            assert!(other.is_none_or(|other| other == id), "two leaders in term {}", core.term());
        }
        if let Some(batch) = effects.persist {
            let last = node.writing.back().map_or(now, |(due, _)| *due);
            let due = last.max(now + self.rng.random_range(self.manners.disk.clone()));
            node.writing.push_back((due, batch));
        }
        for (to, message) in &effects.send {
            check_promise(message, &node.disk);
            assert_eq!((*to, id), (message.to, message.from));
        }
        if let Some(install) = effects.install_snapshot {
            assert!(install.index > node.applied_index);
            node.applied = decode(&install.data);
            node.applied_index = install.index;
            node.installs += 1;
        }
        for entry in effects.committed {
            assert!(entry.index > node.applied_index, "entry {} delivered twice at {id}", entry.index);
            node.applied_index = entry.index;
            let seen = self.history.entry(entry.index).or_insert_with(|| entry.data.clone());
            assert_eq!(*seen, entry.data, "histories differ at {}", entry.index);
            self.trace.push(format!("{now} {id} applied {}", entry.index));
            if leading {
                self.acked.insert(entry.data.clone());
            }
            node.applied.push((entry.index, entry.data));
        }
        for (token, index) in effects.reads {
            assert!(
                index >= self.asked[&token],
                "stale read {token}: as of {index}, {} was applied",
                self.asked[&token]
            );
            assert!(self.nodes[&id].core.as_ref().is_some_and(|core| core.applied() >= index));
            self.reads.push((token, id, index));
        }
        self.read_failed.extend(effects.read_failed);
        self.dropped.extend(effects.proposals_dropped);
        self.refused.extend(effects.refused.iter().map(ToString::to_string));
        for (_, message) in effects.send {
            self.post(message);
        }
        if effects.snapshot_wanted {
            self.compact(id);
        }
    }

    pub fn post(&mut self, message: RaftMessage) {
        let copies = 1 + u32::from(self.chance(self.manners.duplicate_percent));
        for _ in 0..copies {
            if self.chance(self.manners.loss_percent) {
                continue;
            }
            self.sent += 1;
            let due = self.now + self.rng.random_range(self.manners.delay.clone());
            self.wire.insert((due, self.sent), (message.to, message.clone()));
        }
    }

    pub fn chance(&mut self, percent: u32) -> bool {
        percent > 0 && self.rng.random_range(0..100) < percent
    }

    /// Lets time pass until the next event, and performs it.
    pub fn turn(&mut self) {
        let mut next = self.wire.keys().next().map(|(due, _)| *due);
        for node in self.nodes.values() {
            if let Some(core) = &node.core {
                let disk = node.writing.front().map_or(u64::MAX, |(due, _)| *due);
                next = Some(next.unwrap_or(u64::MAX).min(core.next_deadline()).min(disk));
            }
        }
        self.now = self.now.max(next.unwrap_or(self.now + 1));
        let now = self.now;
        while let Some(entry) = self.wire.first_entry().filter(|e| e.key().0 <= now) {
            let (to, message) = entry.remove();
            if !self.cut.contains(&(message.from, to)) {
                self.input(to, Input::Message(message));
            }
        }
        for id in self.running() {
            while self.nodes[&id].writing.front().is_some_and(|(due, _)| *due <= now) {
                self.write_one(id);
            }
            if self.core(id).next_deadline() <= now {
                self.input(id, Input::Tick);
            }
        }
    }

    fn write_one(&mut self, id: u64) {
        let lies = self.manners.lying_disk && self.chance(10);
        let node = self.nodes.get_mut(&id).unwrap();
        let Some((_, batch)) = node.writing.pop_front() else { return };
        if lies {
            return self.input(id, Input::Persisted { seq: batch.seq });
        }
        node.disk.commit(&batch).unwrap();
        node.disk.load().expect("every batch leaves a state to start from");
        self.input(id, Input::Persisted { seq: batch.seq });
    }

    pub fn run(&mut self, ms: u64) {
        let end = self.now + ms;
        while self.now < end {
            self.turn();
        }
    }

    /// Runs until a condition holds; the bound is simulated time, not the machine's.
    pub fn until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        let end = self.now + 60_000;
        while !holds(self) {
            assert!(self.now < end, "never came: {what}; refused: {:?}", self.refused.last());
            self.turn();
        }
    }

    pub fn leader(&self) -> Option<u64> {
        let leading = |id: &u64| self.nodes[id].core.as_ref().is_some_and(RaftCore::is_current_leader);
        self.nodes.keys().copied().filter(leading).max_by_key(|id| self.core(*id).term())
    }

    pub fn elect(&mut self) -> u64 {
        self.until("a leader", |c| c.leader().is_some());
        self.leader().unwrap()
    }

    pub fn propose(&mut self, id: u64, request: u64, data: &[u8]) {
        self.input(id, Input::Propose { request, data: data.to_vec() });
    }

    pub fn propose_and_wait(&mut self, data: &[u8]) {
        let leader = self.elect();
        self.propose(leader, 0, data);
        self.until("the entry on the leader", |c| c.has(leader, data));
    }

    pub fn has(&self, id: u64, data: &[u8]) -> bool {
        self.nodes[&id].applied.iter().any(|(_, d)| d == data)
    }

    pub fn everyone_has(&mut self, data: &[u8]) {
        self.until("the entry everywhere", |c| c.running().iter().all(|id| c.has(*id, data)));
    }

    pub fn compact(&mut self, id: u64) {
        let Some(core) = &self.nodes[&id].core else { return };
        let index = core.applied();
        let snapshot_data = encode(&self.nodes[&id].applied);
        self.input(id, Input::Compact { index, snapshot_data });
    }

    pub fn isolate(&mut self, id: u64) {
        for other in self.nodes.keys().copied().filter(|o| *o != id).collect::<Vec<_>>() {
            self.cut.insert((id, other));
            self.cut.insert((other, id));
        }
    }

    pub fn heal(&mut self) {
        self.cut.clear();
    }

    /// Everything acknowledged is in every running node's history.
    pub fn check_acked(&self) {
        for id in self.running() {
            for data in &self.acked {
                assert!(self.has(id, data), "node {id} lost {data:?}");
            }
        }
    }
}

/// A vote or an acknowledgement must be true of the disk at the moment it leaves.
fn check_promise(message: &RaftMessage, disk: &MemStore) {
    let state = disk.clone().load().unwrap();
    match message.r#type() {
        RaftMessageType::AppendResponse if !message.reject => {
            assert!(state.last_index() >= message.index, "acknowledged before it was on disk: {message:?}");
            assert!(state.hard_state.term >= message.term);
        }
        RaftMessageType::RequestVoteResponse if !message.reject => {
            let kept = (state.hard_state.term, state.hard_state.vote) >= (message.term, message.to)
                && state.hard_state.term >= message.term;
            assert!(kept, "voted before it was on disk: {message:?}, {:?}", state.hard_state);
        }
        RaftMessageType::RequestVote | RaftMessageType::HeartbeatResponse | RaftMessageType::Append => {
            assert!(state.hard_state.term >= message.term, "spoke in a term not on disk: {message:?}");
        }
        _ => {}
    }
}
