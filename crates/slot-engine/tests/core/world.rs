//! A few copies of one store, their disks and the wires between them, in one thread from one seed.

use crate::disk::{Disk, Rng};
use slot_engine::journal::core::*;
use slot_types::codec;
use slot_types::engine::*;
use slot_types::ids::*;
use slot_types::position::Tip;
use std::collections::{BTreeMap, BTreeSet};

pub const E: fn(u64) -> Epoch = |n| Epoch { generation: 0, n };

pub fn store() -> StoreName {
    StoreName::new("store23").unwrap()
}
pub fn slot(node: usize) -> SlotId {
    SlotId::new(HostName::new(format!("imap{node}")).unwrap(), 7)
}
pub fn source(node: usize) -> Source {
    Source { slot: slot(node), address: format!("127.0.0.1:{}", 7000 + node).parse().unwrap() }
}
pub fn id(client: &str, sequence: u64) -> RecordId {
    RecordId { client: ClientName::new(client).unwrap(), sequence }
}
pub fn freeze_id(plan: u64) -> FreezeId {
    OrderId { plan: PlanId(plan), task: 1, step: 1, attempt: 1 }
}
pub fn config(node: usize) -> Config {
    Config { segment_bytes: 600, ..Config::new(store(), slot(node), CopyGeneration(1)) }
}

enum Happening {
    Disk { node: usize, life: u64, op: u64 },
    Event { node: usize, life: u64, event: Event },
    Wake { node: usize, life: u64 },
}

pub struct Node {
    pub core: Option<JournalCore>,
    pub disk: Disk,
    pub life: u64,
    writing: BTreeMap<u64, Vec<DiskOp>>,
    pub died: Option<String>,
    pub exited: bool,
    /// Disk operations are not finished while this is set.
    pub disk_stalled: bool,
    stalled: Vec<u64>,
}

pub struct World {
    pub now: u64,
    pub rng: Rng,
    pub nodes: Vec<Node>,
    queue: BTreeMap<(u64, u64), Happening>,
    serial: u64,
    pub replies: BTreeMap<RequestId, Reply>,
    asked: BTreeMap<RequestId, (usize, u64, u64)>,
    pub cut: BTreeSet<(usize, usize)>,
    pub milestones: BTreeSet<&'static str>,
    /// Of processes that start from now on.
    pub segment_bytes: u64,
}

impl World {
    pub fn new(nodes: usize, seed: u64) -> Self {
        let mut world = World {
            now: 1_000,
            rng: Rng(seed),
            nodes: Vec::new(),
            queue: BTreeMap::new(),
            serial: 0,
            replies: BTreeMap::new(),
            asked: BTreeMap::new(),
            cut: BTreeSet::new(),
            segment_bytes: config(0).segment_bytes,
            milestones: BTreeSet::new(),
        };
        for node in 0..nodes {
            world.nodes.push(Node {
                core: None,
                disk: Disk::new(fresh_files(&config(node))),
                life: 0,
                writing: BTreeMap::new(),
                died: None,
                exited: false,
                disk_stalled: false,
                stalled: Vec::new(),
            });
            world.start(node).unwrap();
        }
        world
    }

    pub fn start(&mut self, node: usize) -> Result<(), OpenError> {
        let config = Config { segment_bytes: self.segment_bytes, ..config(node) };
        let (core, effects) = JournalCore::open(config, self.nodes[node].disk.files(), self.now)?;
        self.nodes[node].core = Some(core);
        self.nodes[node].life += 1;
        self.carry_out(node, effects);
        self.run(20);
        Ok(())
    }

    /// Kills the process; with `power`, what was not synced is lost too.
    pub fn crash(&mut self, node: usize, power: bool) {
        let n = &mut self.nodes[node];
        n.core = None;
        n.life += 1;
        n.stalled.clear();
        for (_, ops) in std::mem::take(&mut n.writing) {
            let done = self.rng.below(ops.len() as u64 + 1) as usize;
            ops[..done].iter().for_each(|op| n.disk.run(op));
        }
        if power { n.disk.crash(&mut self.rng) } else { n.disk.kill() }
    }

    fn later(&mut self, ms: u64, happening: Happening) {
        self.serial += 1;
        self.queue.insert((self.now + ms, self.serial), happening);
    }

    fn node_of(&self, slot_asked: &SlotId) -> usize {
        (0..self.nodes.len()).find(|n| slot(*n) == *slot_asked).unwrap()
    }

    fn carry_out(&mut self, node: usize, effects: Vec<Effect>) {
        let life = self.nodes[node].life;
        for effect in effects {
            match effect {
                Effect::Disk { op, ops } => {
                    self.nodes[node].writing.insert(op, ops);
                    let ms = 1 + self.rng.below(4);
                    self.later(ms, Happening::Disk { node, life, op });
                }
                Effect::ReadDisk { op, pieces } => {
                    let pieces = self.nodes[node].disk.read(&pieces);
                    let ms = 1 + self.rng.below(4);
                    self.later(ms, Happening::Event { node, life, event: Event::DiskRead { op, pieces } });
                }
                Effect::Reply { request, reply } => self.replied(request, reply),
                Effect::Call { call, to, request, budget_ms } => {
                    let target = self.node_of(&to.slot);
                    let late = Event::CallAnswer { call, result: Err("no answer".into()) };
                    let cut = self.cut.contains(&(node, target)) || self.nodes[target].core.is_none();
                    let ms = if cut { 5 } else { budget_ms };
                    self.later(ms, Happening::Event { node, life, event: late });
                    if !cut {
                        let bytes = codec::encode(&request);
                        let request_id = self.request();
                        self.asked.insert(request_id, (node, life, call));
                        let event = Event::Peer { request: request_id, call: codec::decode(&bytes).unwrap() };
                        let (ms, life) = (1 + self.rng.below(3), self.nodes[target].life);
                        self.later(ms, Happening::Event { node: target, life, event });
                    }
                }
                Effect::Arm { at_ms } => {
                    let ms = at_ms.saturating_sub(self.now).max(1);
                    self.later(ms, Happening::Wake { node, life });
                }
                Effect::Milestone(name) => {
                    self.milestones.insert(name);
                }
                Effect::Exit => {
                    self.nodes[node].exited = true;
                    self.nodes[node].core = None;
                }
                Effect::Die { reason } => {
                    self.nodes[node].died = Some(reason);
                    self.nodes[node].core = None;
                }
            }
        }
    }

    fn replied(&mut self, request: RequestId, reply: Reply) {
        let Some((node, life, call)) = self.asked.remove(&request) else {
            let before = self.replies.insert(request, reply);
            assert!(before.is_none(), "request {request} was answered twice");
            return;
        };
        let Reply::Peer(answer) = reply else { panic!("a peer got {reply:?}") };
        let bytes = codec::encode(&answer);
        let event = Event::CallAnswer { call, result: Ok(codec::decode(&bytes).unwrap()) };
        let ms = 1 + self.rng.below(3);
        self.later(ms, Happening::Event { node, life, event });
    }

    pub fn request(&mut self) -> RequestId {
        self.serial += 1;
        self.serial
    }

    pub fn step(&mut self, node: usize, event: Event) {
        let now = self.now;
        let Some(core) = self.nodes[node].core.as_mut() else { return };
        let effects = core.step(now, event);
        self.carry_out(node, effects);
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Disk { node, life, op } if self.nodes[node].life == life => {
                if self.nodes[node].disk_stalled {
                    self.nodes[node].stalled.push(op);
                    return;
                }
                let ops = self.nodes[node].writing.remove(&op).unwrap_or_default();
                ops.iter().for_each(|op| self.nodes[node].disk.run(op));
                self.step(node, Event::DiskDone { op, result: Ok(()) });
            }
            Happening::Event { node, life, event } if self.nodes[node].life == life => self.step(node, event),
            Happening::Wake { node, life } if self.nodes[node].life == life => self.step(node, Event::Wake),
            _ => {}
        }
    }

    pub fn release_disk(&mut self, node: usize) {
        self.nodes[node].disk_stalled = false;
        let life = self.nodes[node].life;
        for op in std::mem::take(&mut self.nodes[node].stalled) {
            self.later(1, Happening::Disk { node, life, op });
        }
    }

    /// Fails the operation under way.
    pub fn fail_disk(&mut self, node: usize) {
        let op = *self.nodes[node].writing.keys().next().expect("an operation is under way");
        self.step(node, Event::DiskDone { op, result: Err("EIO".into()) });
    }

    /// Lets `ms` pass.
    pub fn run(&mut self, ms: u64) {
        let end = self.now + ms;
        while let Some((&(at, serial), _)) = self.queue.first_key_value().filter(|((at, _), _)| *at <= end) {
            let happening = self.queue.remove(&(at, serial)).unwrap();
            self.now = self.now.max(at);
            self.happen(happening);
        }
        self.now = end;
    }

    pub fn wait(&mut self, request: RequestId, ms: u64) -> Option<Reply> {
        let end = self.now + ms;
        while !self.replies.contains_key(&request) && self.now < end {
            self.run(1);
        }
        self.replies.get(&request).cloned()
    }

    pub fn order(&mut self, node: usize, call: EngineCall) -> RequestId {
        let request = self.request();
        let bytes = codec::encode(&call);
        self.step(node, Event::Control { request, call: codec::decode(&bytes).unwrap(), budget_ms: 5_000 });
        request
    }

    pub fn control(&mut self, node: usize, call: EngineCall) -> Result<EngineDone, EngineError> {
        let request = self.order(node, call.clone());
        match self.wait(request, 20_000) {
            Some(Reply::Control(EngineAnswer(answer))) => answer,
            other => panic!("{call:?} got {other:?}"),
        }
    }

    /// Repeats a call, starting the process again when it is down, until its answer is final.
    pub fn insist(&mut self, node: usize, call: EngineCall) -> Result<EngineDone, EngineError> {
        for _ in 0..50 {
            if self.nodes[node].core.is_none() {
                self.start(node).unwrap();
            }
            let request = self.order(node, call.clone());
            match self.wait(request, 8_000) {
                Some(Reply::Control(EngineAnswer(Err(e)))) if e.is_transient() => self.run(100),
                Some(Reply::Control(EngineAnswer(answer))) => return answer,
                other => panic!("{call:?} got {other:?}"),
            }
        }
        panic!("{call:?} never ended");
    }

    /// Gives a call, lets a little time pass, and then the node may lose power before it answers.
    pub fn disturb(&mut self, node: usize, call: &EngineCall) {
        if self.rng.one_in(2) && self.nodes[node].core.is_some() {
            self.order(node, call.clone());
            let ms = self.rng.below(15);
            self.run(ms);
            let power = self.rng.one_in(2);
            self.crash(node, power);
        }
    }

    pub fn tip_of(&mut self, node: usize, call: EngineCall) -> Tip {
        match self.control(node, call.clone()) {
            Ok(EngineDone::Tip { tip, .. }) => tip,
            other => panic!("{call:?} got {other:?}"),
        }
    }

    pub fn status(&mut self, node: usize) -> EngineStatus {
        match self.control(node, EngineCall::Status) {
            Ok(EngineDone::Status(status)) => *status,
            other => panic!("status got {other:?}"),
        }
    }

    pub fn begin_append(&mut self, node: usize, epoch: u64, client: &str, sequence: u64) -> RequestId {
        let payload = format!("{client} {sequence}").into_bytes();
        let append = Append { store: store(), epoch: E(epoch), id: id(client, sequence), payload };
        let request = self.request();
        self.step(node, Event::Append { request, append, budget_ms: 2_000 });
        request
    }

    pub fn append(&mut self, node: usize, epoch: u64, client: &str, sequence: u64) -> AppendOutcome {
        let request = self.begin_append(node, epoch, client, sequence);
        match self.wait(request, 10_000) {
            Some(Reply::Append(outcome)) => outcome,
            other => panic!("append got {other:?}"),
        }
    }

    pub fn must_append(&mut self, node: usize, epoch: u64, client: &str, sequence: u64) -> u64 {
        match self.append(node, epoch, client, sequence) {
            AppendOutcome::Done { index, .. } => index,
            other => panic!("append got {other:?}"),
        }
    }

    /// Node 0 is master at epoch 1 and all others follow it.
    pub fn with_master(nodes: usize, seed: u64, sync_copies: u8) -> Self {
        let mut world = Self::new(nodes, seed);
        let expect = Tip::default();
        world.tip_of(0, EngineCall::Promote { epoch: E(1), expect, sync_copies });
        for node in 1..nodes {
            assert_eq!(
                world.control(node, EngineCall::Follow { epoch: E(1), source: source(0) }),
                Ok(EngineDone::Done)
            );
        }
        world.run(100);
        world
    }

    pub fn ids(&self, node: usize) -> Vec<RecordId> {
        let log = self.nodes[node].core.as_ref().unwrap().log();
        (0..log.durable).filter_map(|i| log.record(i)?.id().cloned()).collect()
    }
}
