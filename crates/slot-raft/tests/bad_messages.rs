//! Whatever a peer sends, a node neither panics nor writes a state it could not start from (trap 7, S11).

use proptest::prelude::*;
use slot_raft::store::{LogStore, MemStore};
use slot_raft::{
    Input, RaftConfState, RaftConfig, RaftCore, RaftEntry, RaftMessage, RaftMessageType as Kind, RaftSnapshot, Restored,
};

const NODE: u64 = 1;

#[derive(Debug, Clone)]
enum Event {
    Message(RaftMessage),
    Wait(u64),
    Durable,
    Propose,
    Compact,
    Read,
    Restart,
}

fn position() -> impl Strategy<Value = u64> {
    prop_oneof![12 => 0u64..12, 6 => 0u64..60, 1 => Just(u64::MAX), 1 => Just(u64::MAX >> 2), 1 => any::<u64>()]
}

fn data() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        3 => proptest::collection::vec(any::<u8>(), 0..4),
        // Well-formed changes of members: add or remove a node.
        1 => (0u8..4, 0u8..5).prop_map(|(kind, id)| vec![0x12, 4, 0x08, kind, 0x10, id]),
    ]
}

fn entries(index: u64, term: u64) -> impl Strategy<Value = Vec<RaftEntry>> {
    let fitting = proptest::collection::vec((0i32..4, 0u64..2, data()), 0..5).prop_map(move |list| {
        let mut term = term;
        let step = |(number, (kind, up, data)): (usize, (i32, u64, Vec<u8>))| {
            term = term.saturating_add(up);
            let kind = if kind == 2 { 2 } else { 1 };
            RaftEntry { r#type: kind, term, index: index.saturating_add(number as u64 + 1), data }
        };
        list.into_iter().enumerate().map(step).collect()
    });
    let wild = proptest::collection::vec((-1i32..4, position(), position(), data()), 0..4).prop_map(|list| {
        list.into_iter().map(|(kind, term, index, data)| RaftEntry { r#type: kind, term, index, data }).collect()
    });
    prop_oneof![4 => fitting, 1 => wild]
}

fn ids() -> impl Strategy<Value = Vec<u64>> {
    proptest::collection::vec(0u64..6, 0..4)
}

fn snapshot() -> impl Strategy<Value = RaftSnapshot> {
    let three = Just(RaftConfState { voters: vec![1, 2, 3], ..Default::default() });
    let wild = (ids(), ids(), ids(), ids(), any::<bool>()).prop_map(
        |(voters, learners, voters_outgoing, learners_next, auto_leave)| RaftConfState {
            voters,
            learners,
            voters_outgoing,
            learners_next,
            auto_leave,
        },
    );
    let members = proptest::option::weighted(0.95, prop_oneof![2 => three, 3 => wild]);
    (position(), position(), members).prop_map(|(index, term, conf_state)| RaftSnapshot {
        index,
        term,
        conf_state,
        data: vec![7],
    })
}

fn message() -> impl Strategy<Value = RaftMessage> {
    let kind =
        prop_oneof![1 => -1i32..13, 4 => Just(Kind::Append as i32), 2 => Just(Kind::Snapshot as i32), 8 => 1i32..11];
    let head = (kind, prop_oneof![20 => Just(NODE), 1 => 0u64..4], 0u64..5, position());
    (head, position(), position(), position(), position(), any::<bool>(), position()).prop_flat_map(
        |((kind, to, from, term), index, log_term, commit, commit_term, reject, reject_hint)| {
            let is_snapshot = kind == Kind::Snapshot as i32;
            let snapshot = proptest::option::weighted(if is_snapshot { 0.95 } else { 0.02 }, snapshot());
            let entries = entries(index, log_term);
            let context = proptest::collection::vec(any::<u8>(), 0..3);
            (entries, snapshot, context).prop_map(move |(entries, snapshot, context)| RaftMessage {
                r#type: kind,
                to,
                from,
                term,
                log_term,
                index,
                entries: if kind == Kind::Append as i32 || term % 7 == 3 { entries } else { vec![] },
                commit,
                commit_term,
                snapshot,
                reject,
                reject_hint,
                context,
            })
        },
    )
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        20 => message().prop_map(Event::Message),
        4 => (0u64..1500).prop_map(Event::Wait),
        6 => Just(Event::Durable),
        2 => Just(Event::Propose),
        1 => Just(Event::Compact),
        1 => Just(Event::Read),
        1 => Just(Event::Restart),
    ]
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
            Event::Message(message) => self.input(Input::Message(message)),
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
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_a_peer_sends_ends_the_process(
        voters in prop_oneof![Just(vec![1]), Just(vec![1, 2, 3])],
        events in proptest::collection::vec(event(), 1..120),
    ) {
        let mut bench = Bench::new(&voters);
        for event in events {
            bench = bench.perform(event);
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
