//! Three Raft cores whose disks and network are memory: from proposals at the leader to their commit on all three.
//!
//! What always holds: every batch is in its store before it is reported durable, and every proposal of a run is
//! delivered by every core.

use criterion::{BatchSize, Criterion, Throughput};
use slot_raft::store::{LogStore, MemStore};
use slot_raft::{Effects, Input, RaftConfig, RaftCore, Restored};
use std::collections::VecDeque;

/// Proposals in a run.
const PROPOSALS: u64 = 128;
/// Bytes in each.
const BYTES: usize = 256;
const VOTERS: [u64; 3] = [1, 2, 3];

struct Node {
    id: u64,
    core: RaftCore,
    disk: MemStore,
}

struct Group {
    nodes: Vec<Node>,
    now: u64,
    inputs: VecDeque<(u64, Input)>,
    delivered: usize,
}

impl Group {
    fn new() -> Self {
        let node = |id: u64| {
            let first = Restored::bootstrap(&VOTERS, Vec::new());
            let config = RaftConfig::new(id, id.to_le_bytes().repeat(2).try_into().expect("16 bytes"));
            let core = RaftCore::new(config, first.clone(), 7).expect("a first state is a node's");
            Node { id, core, disk: MemStore::new(first) }
        };
        Self { nodes: VOTERS.map(node).into(), now: 0, inputs: VecDeque::new(), delivered: 0 }
    }

    /// A group with a leader that has applied an entry of its own term.
    fn led() -> Self {
        let mut group = Self::new();
        for _ in 0..100 {
            if group.leader().is_some() {
                return group;
            }
            group.now += 100;
            group.inputs.extend(VOTERS.map(|id| (id, Input::Tick)));
            group.settle();
        }
        panic!("nobody was elected");
    }

    fn leader(&self) -> Option<u64> {
        self.nodes.iter().find(|node| node.core.is_current_leader()).map(|node| node.id)
    }

    fn take(&mut self, id: u64, inputs: impl IntoIterator<Item = Input>) {
        let Some(node) = self.nodes.iter_mut().find(|node| node.id == id) else { return };
        let Effects { persist, send, committed, .. } = node.core.step_all(self.now, inputs);
        if let Some(batch) = persist {
            node.disk.commit(&batch).expect("memory takes every batch");
            self.inputs.push_back((id, Input::Persisted { seq: batch.seq }));
        }
        self.delivered += committed.len();
        self.inputs.extend(send.into_iter().map(|(to, message)| (to, Input::Message(message))));
    }

    /// Until nothing is under way any more.
    fn settle(&mut self) {
        while let Some((id, input)) = self.inputs.pop_front() {
            self.take(id, [input]);
        }
    }
}

fn ready() -> (Group, u64, Vec<Input>) {
    let group = Group::led();
    let leader = group.leader().expect("it is led");
    let proposals = (0..PROPOSALS).map(|request| Input::Propose { request, data: vec![7; BYTES] }).collect();
    (group, leader, proposals)
}

/// Each waits for the one before.
fn one_by_one((mut group, leader, proposals): (Group, u64, Vec<Input>)) -> Group {
    for proposal in proposals {
        group.take(leader, [proposal]);
        group.settle();
    }
    all_delivered(group)
}

/// One step takes them all.
fn together((mut group, leader, proposals): (Group, u64, Vec<Input>)) -> Group {
    group.take(leader, proposals);
    group.settle();
    all_delivered(group)
}

fn all_delivered(group: Group) -> Group {
    assert_eq!(group.delivered, VOTERS.len() * PROPOSALS as usize);
    group
}

fn main() {
    let mut criterion = Criterion::default().sample_size(20).configure_from_args();
    let mut benches = criterion.benchmark_group("raft: propose to commit on three cores");
    benches.throughput(Throughput::Elements(PROPOSALS));
    benches.bench_function("one by one", |bencher| bencher.iter_batched(ready, one_by_one, BatchSize::PerIteration));
    benches.bench_function("in one step", |bencher| bencher.iter_batched(ready, together, BatchSize::PerIteration));
    benches.finish();
    criterion.final_summary();
}
