//! Coordinator cores, pretended agents and a network, in one thread from one seed.

pub mod agent;

use agent::FakeAgent;
use slot_coordinator::core::*;
use slot_machine::join::Guest;
use slot_raft::store::{LogStore, MemStore};
use slot_raft::{RaftConfig, Restored};
use slot_types::codec;
use slot_types::fence::Power;
use slot_types::ids::*;
use slot_types::plan::Intent;
use slot_types::position::Digest;
use slot_types::probe::{LookAt, Looks, Probed, Saw, Sights};
use slot_types::verify::{Difference, Findings, Held, Verification, VerifyStage};
use slot_types::view::{Query, View};
use std::collections::BTreeMap;
use std::net::SocketAddr;

pub const CLUSTER: ClusterId = ClusterId([9; 16]);

/// A small generator of numbers; the same seed gives the same numbers.
pub struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}

enum Item {
    Event(u64, u32, Event),
    Wake(u64, u32),
    Persisted(u64, u32, slot_raft::PersistBatch),
    Order { from: u64, life: u32, delivery: u64, host: HostName, order: Vec<u8> },
    Reports,
    Verified { slot: SlotId, asked: LogTime },
}

pub struct Node {
    pub core: Option<CoordinatorCore>,
    store: MemStore,
    life: u32,
    watched: BTreeMap<HostName, SocketAddr>,
    pub failpoints: Vec<(u64, String)>,
}

pub struct World {
    pub now: u64,
    pub nodes: BTreeMap<u64, Node>,
    pub agents: BTreeMap<HostName, FakeAgent>,
    pub tips: BTreeMap<StoreName, Epoch>,
    pub replies: BTreeMap<u64, Result<Reply, Failure>>,
    queue: BTreeMap<(u64, u64), Item>,
    order: u64,
    dice: Dice,
    token: u64,
    pub trace: Digest,
    /// The node that reaches this failpoint dies there, once.
    pub crash_at: Option<String>,
    pub crashed: Vec<u64>,
    /// What becomes of probes of a host by others, where its agent's own state does not say it.
    pub probed: BTreeMap<HostName, Probed>,
    /// When who was asked to look at which agent or slot.
    pub looked: Vec<(u64, HostName, (HostName, Option<SlotId>))>,
    /// When which device was asked, by whom; it says that the power is on.
    pub devices_asked: Vec<(u64, HostName, HostName)>,
    /// How long the planner takes, and whether it ends without an answer.
    pub study_ms: u64,
    pub planner_ends: bool,
    /// This node and its peers do not hear each other.
    pub cut_off: Option<u64>,
    /// How long a comparison takes, and which copies are found to differ in how many records.
    pub verify_ms: u64,
    pub differ: BTreeMap<SlotId, u64>,
    /// When which copy began to be compared, how many were so at once, and how often two of them shared a host.
    pub verifications: Vec<(u64, SlotId)>,
    pub most_verified_at_once: usize,
    pub shared_disks: u64,
    verified_now: BTreeMap<SlotId, SlotId>,
}

impl World {
    pub fn new(seed: u64, nodes: u64, hosts: &[&str]) -> Self {
        let agents = (1..).zip(hosts).map(|(n, h)| (HostName::new(*h).unwrap(), FakeAgent::new(h, CLUSTER, n)));
        let mut world = Self {
            now: 1_000,
            nodes: BTreeMap::new(),
            agents: agents.collect(),
            tips: BTreeMap::new(),
            replies: BTreeMap::new(),
            queue: BTreeMap::new(),
            order: 0,
            dice: Dice(seed),
            token: 0,
            trace: Digest::default(),
            crash_at: None,
            crashed: Vec::new(),
            probed: BTreeMap::new(),
            looked: Vec::new(),
            devices_asked: Vec::new(),
            study_ms: 1,
            planner_ends: false,
            cut_off: None,
            verify_ms: 900,
            differ: BTreeMap::new(),
            verifications: Vec::new(),
            most_verified_at_once: 0,
            shared_disks: 0,
            verified_now: BTreeMap::new(),
        };
        let voters: Vec<u64> = (1..=nodes).collect();
        for id in 1..=nodes {
            let store = MemStore::new(Restored::bootstrap(&voters, Vec::new()));
            let node = Node { core: None, store, life: 0, watched: BTreeMap::new(), failpoints: Vec::new() };
            world.nodes.insert(id, node);
        }
        for id in 1..=nodes {
            world.start(id);
        }
        world.at(100, Item::Reports);
        world
    }

    pub fn start(&mut self, id: u64) {
        let members =
            self.nodes.keys().map(|id| (*id, (name(*id), format!("127.0.0.{id}:7400").parse().unwrap()))).collect();
        let node = self.nodes.get_mut(&id).unwrap();
        node.life += 1;
        let mut life = [id as u8; 16];
        life[1] = node.life as u8;
        let config = CoreConfig {
            cluster: ClusterName::new("fm1").unwrap(),
            cluster_id: CLUSTER,
            node: name(id),
            raft: RaftConfig::new(id, [id as u8; 16]),
            members,
            life,
            seed: self.dice.roll(1 << 30),
            snapshot_every: slot_coordinator::core::SNAPSHOT_EVERY,
        };
        let now = Now { ms: self.now, wall: WallTime(self.now) };
        node.core = Some(CoordinatorCore::new(config, node.store.load().unwrap(), now).unwrap());
        let life = node.life;
        self.at(0, Item::Wake(id, life));
    }

    pub fn crash(&mut self, id: u64) {
        let node = self.nodes.get_mut(&id).unwrap();
        node.core = None;
        node.life += 1;
        node.watched.clear();
        self.crashed.push(id);
    }

    fn at(&mut self, after: u64, item: Item) {
        self.order += 1;
        self.queue.insert((self.now + after, self.order), item);
    }

    /// Lets one thing happen.
    fn one(&mut self) {
        let ((at, _), item) = self.queue.pop_first().expect("something always happens next");
        self.now = at;
        match item {
            Item::Event(id, life, event) => self.step(id, life, event),
            Item::Wake(id, life) => self.step(id, life, Event::Tick),
            Item::Persisted(id, life, batch) => {
                let node = self.nodes.get_mut(&id).unwrap();
                if node.life == life {
                    node.store.commit(&batch).unwrap();
                    self.step(id, life, Event::Persisted { seq: batch.seq });
                }
            }
            Item::Order { from, life, delivery, host, order } => self.deliver(from, life, delivery, &host, &order),
            Item::Verified { slot, asked } => self.verified(&slot, asked),
            Item::Reports => {
                self.reports();
                self.at(200, Item::Reports);
            }
        }
    }

    fn deliver(&mut self, from: u64, life: u32, delivery: u64, host: &HostName, order: &[u8]) {
        let agent = self.agents.get_mut(host).unwrap();
        let result =
            if agent.up { Ok(agent.deliver(order, &mut self.tips)) } else { Err("connection refused".to_string()) };
        let after = 1 + self.dice.roll(5);
        self.at(after, Item::Event(from, life, Event::AgentAnswer { delivery, result }));
        self.reports();
    }

    fn reports(&mut self) {
        let watching: Vec<(u64, u32, HostName)> = self
            .nodes
            .iter()
            .flat_map(|(id, node)| node.watched.keys().map(|host| (*id, node.life, host.clone())))
            .collect();
        for (id, life, host) in watching {
            let agent = &self.agents[&host];
            if agent.up {
                let report = Box::new(agent.report(&self.tips));
                let after = 1 + self.dice.roll(4);
                self.at(after, Item::Event(id, life, Event::AgentReport { host, report }));
            }
        }
    }

    fn step(&mut self, id: u64, life: u32, event: Event) {
        let node = self.nodes.get_mut(&id).unwrap();
        if node.life != life {
            return;
        }
        let Some(core) = &mut node.core else { return };
        let effects = core.step(Now { ms: self.now, wall: WallTime(self.now) }, event);
        let wake = core.next_deadline().max(self.now + 1) - self.now;
        self.trace = self.trace.chain(format!("{} {id} {effects:?}", self.now).as_bytes());
        for effect in effects {
            if self.nodes[&id].life != life {
                return;
            }
            self.carry_out(id, life, effect);
        }
        self.at(wake, Item::Wake(id, life));
    }

    fn carry_out(&mut self, id: u64, life: u32, effect: Effect) {
        match effect {
            Effect::Persist(batch) => {
                // One disk: batches become durable in order.
                self.at(2, Item::Persisted(id, life, batch));
            }
            Effect::Send { peer, message } => {
                let cut = self.cut_off.is_some_and(|node| node == id || node == peer);
                if self.dice.roll(50) != 0 && !cut {
                    let (after, to) = (1 + self.dice.roll(3), self.nodes[&peer].life);
                    self.at(after, Item::Event(peer, to, Event::Raft(message)));
                }
            }
            Effect::Deliver { delivery, host, order, .. } => {
                let after = 1 + self.dice.roll(5);
                self.at(after, Item::Order { from: id, life, delivery, host, order });
            }
            Effect::Look { look, host, looks, .. } => {
                let looks: Looks = codec::decode(&looks).unwrap();
                assert_eq!(looks.cluster, CLUSTER);
                let saw = looks.at.iter().map(|at| self.saw(&host, at)).collect();
                self.at(3, Item::Event(id, life, Event::Looked { look, result: Ok(Sights { saw }) }));
            }
            Effect::Study { number, study } => {
                let found = if self.planner_ends { Err("it ended".to_string()) } else { Ok(study.answer()) };
                self.at(self.study_ms, Item::Event(id, life, Event::Studied { number, found }));
            }
            Effect::WatchAgents { agents, .. } => self.nodes.get_mut(&id).unwrap().watched = agents,
            Effect::Reply { token, reply } => {
                assert!(self.replies.insert(token, reply).is_none(), "one reply per token");
            }
            Effect::Failpoint(name) => {
                self.nodes.get_mut(&id).unwrap().failpoints.push((self.now, name.clone()));
                if self.crash_at.as_ref() == Some(&name) {
                    self.crash_at = None;
                    self.crash(id);
                }
            }
            Effect::Die(why) => panic!("node {id} dies: {why}"),
            Effect::Applied(_) | Effect::RoutesChanged | Effect::Role { .. } | Effect::ServeRoutes { .. } => {}
        }
    }

    /// What an agent sees of another host, or of its device.
    fn saw(&mut self, by: &HostName, at: &LookAt) -> Saw {
        match at {
            LookAt::Address { host, slot, .. } => {
                self.looked.push((self.now, by.clone(), (host.clone(), slot.clone())));
                let up = if self.agents[host].up { Probed::Answered } else { Probed::NoAnswer };
                Saw::Probe(self.probed.get(host).copied().unwrap_or(up))
            }
            LookAt::Power { host, .. } => {
                self.devices_asked.push((self.now, host.clone(), by.clone()));
                Saw::Power(Ok(Power::On))
            }
            LookAt::Verify { slot, generation, epoch, against, asked, .. } => {
                let slot = SlotId::new(by.clone(), *slot);
                let agent = self.agents.get_mut(by).unwrap();
                let copy = agent.slots.get_mut(&slot.number).filter(|copy| copy.generation == *generation);
                let Some(copy) = copy.filter(|_| agent.up) else { return Saw::Verify(Err("no such copy".into())) };
                let under_way = Verification {
                    asked: *asked,
                    epoch: *epoch,
                    against: against.slot.clone(),
                    upto: 7,
                    records: 0,
                    bytes: 0,
                    took_ms: 0,
                    stage: VerifyStage::UnderWay,
                    findings: Findings::default(),
                };
                copy.verification = Some(under_way);
                self.verify_begins(slot, against.slot.clone(), *asked);
                Saw::Verify(Ok(()))
            }
        }
    }

    fn verify_begins(&mut self, slot: SlotId, against: SlotId, asked: LogTime) {
        let hosts = |one: &SlotId, other: &SlotId| [one.host.clone(), other.host.clone()];
        let mine = hosts(&slot, &against);
        let shares =
            |(one, other): (&SlotId, &SlotId)| *one != slot && hosts(one, other).iter().any(|h| mine.contains(h));
        self.shared_disks += u64::from(self.verified_now.iter().any(shares));
        self.verified_now.insert(slot.clone(), against);
        self.most_verified_at_once = self.most_verified_at_once.max(self.verified_now.len());
        self.verifications.push((self.now, slot.clone()));
        self.at(self.verify_ms, Item::Verified { slot, asked });
    }

    fn verified(&mut self, slot: &SlotId, asked: LogTime) {
        self.verified_now.remove(slot);
        let count = self.differ.get(slot).copied().unwrap_or(0);
        let copy = self.agents.get_mut(&slot.host).and_then(|agent| agent.slots.get_mut(&slot.number));
        let verification = copy.and_then(|copy| copy.verification.as_mut()).filter(|of| of.asked == asked);
        let Some(of) = verification else { return };
        (of.stage, of.records, of.bytes) = (VerifyStage::Ended, of.upto, 700);
        for index in 0..count {
            let master = Held::Record { epoch: of.epoch, id: None, digest: Digest::default() };
            of.findings.add(Difference { index, here: Held::Unreadable, master });
        }
    }

    /// Lets things happen until something holds; fails when it does not within a generous time.
    pub fn until(&mut self, what: &str, holds: impl Fn(&World) -> bool) {
        let end = self.now + 300_000;
        while !holds(self) {
            assert!(self.now < end, "not in time: {what}");
            self.one();
        }
    }

    pub fn run_for(&mut self, ms: u64) {
        let end = self.now + ms;
        while self.now < end {
            self.one();
        }
    }

    pub fn leader(&self) -> Option<u64> {
        let leads = |node: &Node| node.core.as_ref().is_some_and(CoordinatorCore::is_leader);
        self.nodes.iter().find(|(_, node)| leads(node)).map(|(id, _)| *id)
    }

    /// Whether some other node leads, or believes so.
    pub fn other_leads(&self, than: u64) -> bool {
        let leads = |node: &Node| node.core.as_ref().is_some_and(CoordinatorCore::is_leader);
        self.nodes.iter().any(|(id, node)| *id != than && leads(node))
    }

    /// The newest term that any node has applied an entry of.
    pub fn term(&self) -> Term {
        let terms = self.nodes.values().filter_map(|node| node.core.as_ref()).map(|core| core.state().term);
        terms.max().unwrap()
    }

    pub fn core(&self, id: u64) -> &CoordinatorCore {
        self.nodes[&id].core.as_ref().unwrap()
    }

    /// Asks one node; its answer comes under the number.
    pub fn begin(&mut self, id: u64, who: &str, request: ControlRequest) -> u64 {
        self.token += 1;
        let token = self.token;
        let who = OperatorName::new(who).unwrap();
        let life = self.nodes[&id].life;
        self.at(1, Item::Event(id, life, Event::Request { token, who, request }));
        token
    }

    /// Asks one node, and waits for its answer.
    pub fn ask(&mut self, id: u64, who: &str, request: ControlRequest) -> Result<Reply, Failure> {
        let token = self.begin(id, who, request);
        self.until("a reply", |w| w.replies.contains_key(&token));
        self.replies[&token].clone()
    }

    /// Asks one node to let a guest in, and waits for its answer.
    pub fn join(&mut self, id: u64, guest: Guest) -> Result<Reply, Failure> {
        self.token += 1;
        let token = self.token;
        let life = self.nodes[&id].life;
        self.at(1, Item::Event(id, life, Event::Join { token, guest }));
        self.until("a reply", |w| w.replies.contains_key(&token));
        self.replies[&token].clone()
    }

    /// Asks whoever leads, again and again, until somebody answers.
    pub fn ask_leader(&mut self, who: &str, request: &ControlRequest) -> Result<Reply, Failure> {
        loop {
            self.until("a leader", |w| w.leader().is_some());
            let leader = self.leader().unwrap();
            match self.ask(leader, who, request.clone()) {
                Err(Failure::NotLeader { .. } | Failure::Interrupted { .. }) => self.run_for(100),
                answer => return answer,
            }
        }
    }

    pub fn view(&mut self, query: Query) -> View {
        match self.ask_leader("alice", &ControlRequest::View { query, stale_ok: false }).unwrap() {
            Reply::View { bytes, .. } => codec::decode(&bytes).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    pub fn plan(&mut self, intent: Intent) -> Result<PlanId, Failure> {
        let request = ControlRequest::MakePlan {
            request: None,
            intent: Box::new(intent),
            reason: "test".into(),
            said: Default::default(),
        };
        match self.ask_leader("alice", &request)? {
            Reply::Plan { id, .. } => Ok(id),
            other => panic!("{other:?}"),
        }
    }

    pub fn approve(&mut self, plan: PlanId) -> Result<Reply, Failure> {
        let leader = self.leader().unwrap();
        let digest = self.core(leader).state().plans[&plan].digest.short();
        let request = ControlRequest::ApprovePlan { request: None, plan, digest, reason: "test".into() };
        self.ask_leader("alice", &request)
    }

    /// A running node's state of a plan, as text.
    pub fn plan_status(&self, plan: PlanId) -> Option<String> {
        let leader = self.leader()?;
        self.core(leader).state().plans.get(&plan).map(|p| p.status.to_string())
    }

    /// S14 and S6: equal states at equal index, every order's effect at most once.
    pub fn check(&self) {
        let mut hashes: BTreeMap<LogIndex, Digest> = BTreeMap::new();
        for core in self.nodes.values().filter_map(|n| n.core.as_ref()) {
            let hash = core.state().hash();
            assert_eq!(*hashes.entry(core.state().applied).or_insert(hash), hash, "S14");
            assert_eq!(core.state().audit.first_broken(), None, "S12");
        }
        for agent in self.agents.values() {
            assert!(agent.effects.values().all(|n| *n == 1), "S6: {:?}", agent.effects);
        }
    }
}

pub fn name(id: u64) -> CoordinatorName {
    CoordinatorName::new(format!("c{id}")).unwrap()
}
