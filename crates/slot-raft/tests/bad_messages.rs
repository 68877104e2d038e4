//! Whatever a peer sends, a node neither panics nor writes a state it could not start from (S11).

use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use slot_raft::store::{LogStore, MemStore};
use slot_raft::{
    Input, RaftConfState, RaftConfig, RaftCore, RaftEntry, RaftMessage, RaftMessageType as Kind, RaftSnapshot, Refusal,
    Restored,
};

const NODE: u64 = 1;

#[derive(Debug, Clone)]
enum Event {
    Message(Box<RaftMessage>),
    Wait(u64),
    Durable,
    Propose,
    Compact,
    Read,
    Restart,
}

/// One event from one number: a list of numbers shrinks to the events that matter.
struct Maker(Pcg64);

impl Maker {
    fn chance(&mut self, percent: u32) -> bool {
        self.0.random_range(0..100) < percent
    }

    fn position(&mut self) -> u64 {
        match self.0.random_range(0..21) {
            0..12 => self.0.random_range(0..12),
            12..18 => self.0.random_range(0..60),
            18 => u64::MAX,
            19 => u64::MAX >> 2,
            _ => self.0.random(),
        }
    }

    fn data(&mut self) -> Vec<u8> {
        if self.chance(25) {
            // A well-formed change of members: adds or removes a node.
            return vec![0x12, 4, 0x08, self.0.random_range(0..4), 0x10, self.0.random_range(0..5)];
        }
        (0..self.0.random_range(0..4)).map(|_| self.0.random()).collect()
    }

    fn entries(&mut self, index: u64, mut term: u64) -> Vec<RaftEntry> {
        let fitting = self.chance(80);
        let mut list = Vec::new();
        for number in 0..self.0.random_range(0..5u64) {
            let (kind, data) = (self.0.random_range(-1..4), self.data());
            term = term.saturating_add(self.0.random_range(0..2));
            list.push(if fitting {
                let kind = if kind == 2 { 2 } else { 1 };
                RaftEntry { r#type: kind, term, index: index.saturating_add(number + 1), data }
            } else {
                RaftEntry { r#type: kind, term: self.position(), index: self.position(), data }
            });
        }
        list
    }

    fn ids(&mut self) -> Vec<u64> {
        (0..self.0.random_range(0..4)).map(|_| self.0.random_range(0..6)).collect()
    }

    fn snapshot(&mut self) -> RaftSnapshot {
        let members = if self.chance(40) {
            RaftConfState { voters: vec![1, 2, 3], ..Default::default() }
        } else {
            RaftConfState {
                voters: self.ids(),
                learners: self.ids(),
                voters_outgoing: self.ids(),
                learners_next: self.ids(),
                auto_leave: self.chance(50),
            }
        };
        let conf_state = self.chance(95).then_some(members);
        RaftSnapshot { index: self.position(), term: self.position(), conf_state, data: vec![7] }
    }

    fn message(&mut self) -> RaftMessage {
        let kind = match self.0.random_range(0..15) {
            0 => self.0.random_range(-1..13),
            1..5 => Kind::Append as i32,
            5 | 6 => Kind::Snapshot as i32,
            _ => self.0.random_range(1..11),
        };
        let (index, log_term) = (self.position(), self.position());
        let with_entries = kind == Kind::Append as i32 || self.chance(2);
        let with_snapshot = if kind == Kind::Snapshot as i32 { 95 } else { 2 };
        RaftMessage {
            r#type: kind,
            to: if self.chance(95) { NODE } else { self.0.random_range(0..4) },
            from: self.0.random_range(0..5),
            term: self.position(),
            log_term,
            index,
            entries: if with_entries { self.entries(index, log_term) } else { vec![] },
            commit: self.position(),
            commit_term: self.position(),
            snapshot: self.chance(with_snapshot).then(|| self.snapshot()),
            reject: self.chance(40),
            reject_hint: self.position(),
            context: self.data(),
        }
    }

    fn event(&mut self) -> Event {
        match self.0.random_range(0..35) {
            0..20 => Event::Message(Box::new(self.message())),
            20..24 => Event::Wait(self.0.random_range(0..1500)),
            24..30 => Event::Durable,
            30 | 31 => Event::Propose,
            32 => Event::Compact,
            33 => Event::Read,
            _ => Event::Restart,
        }
    }
}

struct Bench {
    now: u64,
    core: RaftCore,
    disk: MemStore,
    writing: Vec<slot_raft::PersistBatch>,
}

impl Bench {
    fn new(voters: &[u64]) -> Self {
        Self::start(MemStore::new(Restored::bootstrap(voters, vec![])), 0)
    }

    fn start(mut disk: MemStore, now: u64) -> Self {
        let restored = disk.load().expect("a state to start from");
        let mut config = RaftConfig::new(NODE, [1; 16]);
        config.log_tail = 2;
        let core = RaftCore::new(config, restored, 7).expect("a node starts");
        Self { now, core, disk, writing: Vec::new() }
    }

    fn input(&mut self, input: Input) {
        let effects = self.core.step(self.now, input);
        for (to, message) in &effects.send {
            assert_eq!((*to, NODE), (message.to, message.from));
        }
        self.writing.extend(effects.persist);
    }

    fn perform(mut self, event: Event) -> Self {
        match event {
            Event::Message(message) => self.input(Input::Message(*message)),
            Event::Wait(ms) => {
                self.now += ms;
                self.input(Input::Tick);
            }
            Event::Durable => {
                // Merged, as a driver that was kept waiting would write them.
                let mut waiting = std::mem::take(&mut self.writing).into_iter();
                if let Some(mut batch) = waiting.next() {
                    waiting.for_each(|later| batch.merge(later));
                    self.disk.commit(&batch).unwrap();
                    self.disk.load().expect("a state to start from");
                    self.input(Input::Persisted { seq: batch.seq });
                }
            }
            Event::Propose => self.input(Input::Propose { request: 1, data: vec![1] }),
            Event::Compact => self.input(Input::Compact { index: self.core.applied(), snapshot_data: vec![2] }),
            Event::Read => self.input(Input::ReadIndex { token: 1 }),
            Event::Restart => self = Self::start(self.disk, self.now),
        }
        self
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_a_peer_sends_ends_the_process(
        voters in prop_oneof![Just(vec![1]), Just(vec![1, 2, 3])],
        seeds in proptest::collection::vec(any::<u64>(), 1..200),
    ) {
        let mut bench = Bench::new(&voters);
        for seed in seeds {
            bench = bench.perform(Maker(Pcg64::seed_from_u64(seed)).event());
        }
    }
}

fn valid(kind: Kind) -> RaftMessage {
    RaftMessage { r#type: kind as i32, to: NODE, from: 2, term: 2, index: 1, log_term: 1, ..Default::default() }
}

#[test]
fn what_must_be_refused_is_refused_and_counted() {
    let entry = |index, term| RaftEntry { r#type: 1, term, index, data: vec![1] };
    let refused = [
        RaftMessage { r#type: 0, ..valid(Kind::Append) },
        RaftMessage { r#type: 99, ..valid(Kind::Append) },
        RaftMessage { to: 3, ..valid(Kind::Append) },
        RaftMessage { from: 0, ..valid(Kind::Append) },
        RaftMessage { from: NODE, ..valid(Kind::Append) },
        RaftMessage { term: 0, ..valid(Kind::Heartbeat) },
        RaftMessage { term: u64::MAX, ..valid(Kind::RequestVote) },
        RaftMessage { commit: 9, ..valid(Kind::Heartbeat) },
        RaftMessage { index: 0, ..valid(Kind::Append) },
        RaftMessage { log_term: 0, index: 40, ..valid(Kind::Append) },
        RaftMessage { entries: vec![entry(3, 1)], ..valid(Kind::Append) },
        RaftMessage { entries: vec![entry(2, 3)], ..valid(Kind::Append) },
        RaftMessage { entries: vec![RaftEntry { r#type: 3, ..entry(2, 1) }], ..valid(Kind::Append) },
        RaftMessage { entries: vec![RaftEntry { r#type: 2, data: vec![255], ..entry(2, 1) }], ..valid(Kind::Append) },
        RaftMessage { entries: vec![entry(2, 1)], ..valid(Kind::Heartbeat) },
        valid(Kind::Snapshot),
        RaftMessage {
            snapshot: Some(RaftSnapshot { index: 9, term: 1, ..Default::default() }),
            ..valid(Kind::Snapshot)
        },
    ];
    let mut bench = Bench::new(&[1, 2, 3]);
    for (number, message) in refused.into_iter().enumerate() {
        let effects = bench.core.step(0, Input::Message(message.clone()));
        assert_eq!(effects.refused.len(), 1, "{message:?}");
        assert!(effects.send.is_empty() && effects.persist.is_none(), "{message:?}");
        assert_eq!(bench.core.refused(), number as u64 + 1);
    }
    assert_eq!(bench.core.step(0, Input::Message(valid(Kind::Append))).refused, vec![]);
    assert_eq!(bench.core.step(0, Input::Persisted { seq: 9 }).refused.len(), 1);
}

#[test]
fn a_lone_leader_told_to_campaign_waits_for_its_disk() {
    let mut bench = Bench::new(&[1]);
    for term in [4, 57] {
        bench.now += 5_000;
        bench.input(Input::Tick);
        bench.input(Input::Message(RaftMessage { term, ..valid(Kind::TimeoutNow) }));
    }
    bench.perform(Event::Durable);
}

#[test]
fn votes_wait_for_entries_on_their_way_to_disk() {
    let mut bench = Bench::new(&[1, 2, 3]);
    let entries = vec![RaftEntry { r#type: 1, term: 2, index: 2, data: vec![1] }];
    bench.input(Input::Message(RaftMessage { entries, ..valid(Kind::Append) }));
    for _ in 0..20 {
        bench.now += 300;
        bench.input(Input::Tick);
    }
    let vote = RaftMessage { term: 3, ..valid(Kind::RequestPreVoteResponse) };
    let effects = bench.core.step(bench.now, Input::Message(vote.clone()));
    assert!(matches!(effects.refused[..], [Refusal::NotYetDurable { from: 2 }]), "{:?}", effects.refused);
    bench = bench.perform(Event::Durable);
    assert_eq!(bench.core.step(bench.now, Input::Message(vote)).refused, vec![]);
}

#[test]
fn a_node_writing_a_snapshot_is_deaf_until_it_is_on_disk() {
    let mut bench = Bench::new(&[1, 2, 3]);
    let conf_state = Some(RaftConfState { voters: vec![1, 2, 3], ..Default::default() });
    let snapshot = Some(RaftSnapshot { index: 50, term: 2, conf_state, data: vec![7] });
    bench.input(Input::Message(RaftMessage { snapshot, ..valid(Kind::Snapshot) }));
    for _ in 0..30 {
        bench.now += 300;
        bench.input(Input::Tick);
    }
    assert_eq!((bench.core.term(), bench.core.applied()), (2, 1), "it neither campaigned nor applied");
    let effects = bench.core.step(bench.now, Input::Message(valid(Kind::Heartbeat)));
    assert!(matches!(effects.refused[..], [Refusal::Installing { from: 2 }]), "{:?}", effects.refused);
    bench = bench.perform(Event::Durable);
    assert_eq!(bench.core.applied(), 50);
    let effects = bench.core.step(bench.now, Input::Message(valid(Kind::Heartbeat)));
    assert_eq!((effects.refused.len(), effects.send.len()), (0, 1));
}
