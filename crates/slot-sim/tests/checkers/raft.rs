//! Raft and the log: S14, S15, S12, R17, R20, R22.

use crate::*;
use slot_coordinator::core::{Effect, Entry};
use slot_machine::apply::apply;
use slot_machine::command::{Command, Proposal};
use slot_machine::state::State;
use slot_proto::pb::{RaftEntry, RaftEntryType, RaftHardState, RaftMessage, RaftMessageType};
use slot_raft::{PersistBatch, Restored};
use slot_sim::check::{Seen, Witness};
use slot_types::codec;

pub struct Log {
    pub w: Witness,
    pub state: State,
    pub index: u64,
    seq: u64,
}

pub fn raft_entry(index: u64, term: u64, data: Vec<u8>) -> RaftEntry {
    RaftEntry { r#type: RaftEntryType::Normal as i32, term, index, data }
}

impl Log {
    pub fn new() -> Self {
        let mut w = Witness::new(3);
        let restored = Restored::bootstrap(&[1, 2, 3], Vec::new());
        for node in 1..=3 {
            w.saw(0, Seen::CoordinatorOpens { node, incarnation: [node as u8; 16], restored: &restored });
        }
        Self { w, state: State::default(), index: 1, seq: 0 }
    }
    pub fn batch(&mut self, entries: Vec<RaftEntry>, hard: Option<(u64, u64)>) -> PersistBatch {
        self.seq += 1;
        let truncate_from = entries.first().map(|e| e.index);
        let hard_state = hard.map(|(term, vote)| RaftHardState { term, vote, commit: 0 });
        PersistBatch { seq: self.seq, truncate_from, entries, hard_state, ..Default::default() }
    }
    pub fn asks(&mut self, node: u64, batch: &PersistBatch) {
        let effects = [Effect::Persist(batch.clone())];
        let state = State::default();
        self.w.saw(1, Seen::CoordinatorDid { node, state: &state, effects: &effects });
    }
    pub fn writes(&mut self, node: u64, entries: Vec<RaftEntry>, hard: Option<(u64, u64)>) {
        let batch = self.batch(entries, hard);
        self.asks(node, &batch);
        self.w.saw(2, Seen::BatchDurable { node, batch: &batch });
    }
    pub fn did(&mut self, node: u64, effects: &[Effect]) {
        self.w.saw(3, Seen::CoordinatorDid { node, state: &self.state, effects });
    }
    pub fn proposal(&self, command: Command) -> Proposal {
        Proposal { request: None, log_time: LogTime(1), wall: WallTime(0), command }
    }
    /// Commits a command on two nodes; the first applies it.
    pub fn commit(&mut self, proposal: Proposal) {
        self.index += 1;
        let entry = Entry { life: [0; 16], counter: self.index, proposal };
        for node in [1, 2] {
            self.writes(node, vec![raft_entry(self.index, 1, codec::encode(&entry))], Some((1, 1)));
        }
        apply(&mut self.state, LogIndex(self.index), Term(1), &entry.proposal);
        self.did(1, &[]);
    }
    pub fn found(&mut self) {
        let proposal =
            self.proposal(Command::Found { cluster: ClusterId([9; 16]), name: ClusterName::new("fm1").unwrap() });
        self.commit(proposal);
    }
    pub fn leader(&mut self) {
        let proposal = self.proposal(Command::NewLeader { node: CoordinatorName::new("c1").unwrap() });
        self.commit(proposal);
    }
}

fn message(kind: RaftMessageType, from: u64, to: u64, term: u64) -> RaftMessage {
    RaftMessage { r#type: kind as i32, from, to, term, ..Default::default() }
}

fn send(message: RaftMessage) -> Effect {
    Effect::Send { peer: message.to, message }
}

#[test]
fn a_log_that_goes_its_way_is_well() {
    let mut log = Log::new();
    log.w.hash_every(1);
    log.found();
    (0..20).for_each(|_| log.leader());
    let heartbeat = message(RaftMessageType::Heartbeat, 1, 2, 1);
    let answer = RaftMessage { index: log.index, ..message(RaftMessageType::AppendResponse, 2, 1, 1) };
    log.did(1, &[send(heartbeat)]);
    log.did(2, &[send(answer)]);
    silent(&log.w);
}

#[test]
fn s14_two_leaders_in_a_term() {
    let mut log = Log::new();
    log.did(1, &[send(message(RaftMessageType::Append, 1, 2, 1))]);
    silent(&log.w);
    log.did(3, &[send(message(RaftMessageType::Append, 3, 2, 1))]);
    breaks(&log.w, "S14");
}

#[test]
fn s14_a_vote_before_it_is_durable_and_two_votes_in_a_term() {
    let vote = |to| send(message(RaftMessageType::RequestVoteResponse, 2, to, 5));
    let mut log = Log::new();
    let batch = log.batch(Vec::new(), Some((5, 1)));
    log.asks(2, &batch);
    log.did(2, &[vote(1)]);
    breaks(&log.w, "S14");
    let mut log = Log::new();
    log.writes(2, Vec::new(), Some((5, 1)));
    log.did(2, &[vote(1)]);
    silent(&log.w);
    log.writes(2, Vec::new(), Some((5, 3)));
    log.did(2, &[vote(3)]);
    breaks(&log.w, "S14");
}

#[test]
fn s14_entries_acknowledged_before_they_are_durable() {
    let mut log = Log::new();
    let batch = log.batch(vec![raft_entry(2, 1, vec![1])], None);
    log.asks(2, &batch);
    log.did(2, &[send(RaftMessage { index: 2, ..message(RaftMessageType::AppendResponse, 2, 1, 1) })]);
    breaks(&log.w, "S14");
}

#[test]
fn s14_one_name_two_contents_and_applied_without_a_quorum() {
    let mut log = Log::new();
    log.writes(1, vec![raft_entry(2, 1, vec![1])], None);
    log.writes(2, vec![raft_entry(2, 1, vec![2])], None);
    breaks(&log.w, "S14");
    let mut log = Log::new();
    log.writes(1, vec![raft_entry(2, 1, Vec::new())], None);
    let state = State { applied: LogIndex(2), ..State::default() };
    log.w.saw(3, Seen::CoordinatorDid { node: 1, state: &state, effects: &[] });
    breaks(&log.w, "S14");
}

#[test]
fn s14_another_entry_applied_at_an_index() {
    let mut log = Log::new();
    log.found();
    silent(&log.w);
    log.writes(3, vec![raft_entry(2, 4, Vec::new())], None);
    log.did(3, &[]);
    breaks(&log.w, "S14");
}

#[test]
fn s14_a_disk_that_forgets_term_vote_or_entries() {
    for (restored, touched) in
        [(Restored::bootstrap(&[1, 2, 3], Vec::new()), false), (Restored::bootstrap(&[1, 2, 3], Vec::new()), true)]
    {
        let mut log = Log::new();
        log.writes(2, vec![raft_entry(2, 5, vec![1])], Some((5, 1)));
        log.w.saw(4, Seen::CoordinatorGone { node: 2 });
        if touched {
            log.w.saw(4, Seen::CoordinatorDiskTouched { node: 2 });
        }
        log.w.saw(5, Seen::CoordinatorOpens { node: 2, incarnation: [2; 16], restored: &restored });
        assert_eq!(broken(&log.w), if touched { vec![] } else { vec!["S14"] });
    }
}

#[test]
fn s14_a_state_that_differs() {
    for every in [1, 1_000] {
        let mut log = Log::new();
        log.w.hash_every(every);
        log.found();
        log.state.fleet_version += 1;
        log.w.saw(4, Seen::CoordinatorDid { node: 2, state: &log.state, effects: &[] });
        assert_eq!(broken(&log.w), if every == 1 { vec!["S14"] } else { vec![] });
    }
    let mut log = Log::new();
    log.found();
    log.state.log_time = LogTime(77);
    log.w.saw(4, Seen::CoordinatorDid { node: 2, state: &log.state, effects: &[] });
    breaks(&log.w, "S14");
}

#[test]
fn r17_a_stamp_from_the_wall_clock() {
    let mut log = Log::new();
    log.found();
    let proposal = log.proposal(Command::OpenSession);
    log.commit(Proposal { log_time: LogTime(1_700_000_000_000), ..proposal });
    breaks(&log.w, "R17");
}

#[test]
fn r20_an_entry_that_nobody_can_read_is_applied() {
    let mut log = Log::new();
    log.index += 1;
    for node in [1, 2] {
        log.writes(node, vec![raft_entry(2, 1, b"from the future".to_vec())], None);
    }
    log.state.applied = LogIndex(2);
    log.did(1, &[]);
    breaks(&log.w, "R20");
}

#[test]
fn r22_a_snapshot_whose_audit_does_not_fit() {
    for cut in [false, true] {
        let mut log = Log::new();
        log.found();
        log.leader();
        if cut {
            log.state.audit.entries.pop_front();
        }
        log.w.saw(4, Seen::CoordinatorDid { node: 3, state: &log.state, effects: &[] });
        assert_eq!(broken(&log.w).contains(&"R22"), cut, "{:?}", log.w.violations());
    }
}

/// An order in term 1 whose StartStep is the entry at an index.
fn delivers(index: u64) -> Effect {
    use slot_types::order::{Action, Order};
    let order = Order {
        cluster: ClusterId([9; 16]),
        term: Term(1),
        index: LogIndex(index),
        id: OrderId { plan: PlanId(1), task: 0, step: 0x8000, attempt: 1 },
        incarnation: Incarnation([1; 16]),
        boot: BootId([1; 16]),
        subject: None,
        budget_ms: 1,
        action: Action::ConfirmStopped,
    };
    Effect::Deliver {
        delivery: 1,
        host: host(1),
        address: "127.0.0.1:1".parse().unwrap(),
        order: codec::encode(&order),
        budget_ms: 1,
    }
}

/// Node 2 answers a round of heartbeats of node 1.
fn round(log: &mut Log, context: u8) {
    let context = vec![context];
    let ask = RaftMessage { context: context.clone(), ..message(RaftMessageType::Heartbeat, 1, 2, 1) };
    let answer = RaftMessage { context, ..message(RaftMessageType::HeartbeatResponse, 2, 1, 1) };
    log.did(1, &[send(ask)]);
    log.did(2, &[send(answer)]);
}

#[test]
fn s15_orders_without_a_round_of_heartbeats() {
    let deliver = delivers(2);
    let at = |log: &mut Log, now| {
        let effects = [deliver.clone()];
        log.w.saw(now, Seen::CoordinatorDid { node: 1, state: &log.state, effects: &effects });
    };
    let mut log = Log::new();
    log.found();
    round(&mut log, 1);
    at(&mut log, 10);
    silent(&log.w);
    // A round is good for the orders of its moment, not for later ones.
    at(&mut log, 20);
    breaks(&log.w, "S15");
    let mut log = Log::new();
    log.found();
    at(&mut log, 10);
    breaks(&log.w, "S15");
    let mut log = Log::new();
    log.did(2, &[send(message(RaftMessageType::Append, 2, 1, 1))]);
    log.found();
    round(&mut log, 1);
    at(&mut log, 10);
    breaks(&log.w, "S15");
}

#[test]
fn s15_a_round_is_good_for_the_first_order_of_an_entry_that_was_placed_before_it() {
    let at = |log: &mut Log, now: u64, index: u64| {
        let effects = [delivers(index)];
        log.w.saw(now, Seen::CoordinatorDid { node: 1, state: &log.state, effects: &effects });
    };
    let is_broken = |log: &Log| broken(&log.w).contains(&"S15");
    let mut log = Log::new();
    log.found();
    log.leader();
    log.leader();
    round(&mut log, 1);
    at(&mut log, 10, 3);
    at(&mut log, 20, 4);
    assert!(!is_broken(&log), "both entries were placed before the round: {:?}", log.w.violations());
    at(&mut log, 30, 4);
    assert!(is_broken(&log), "an order that is sent again needs a round of its own");

    let mut log = Log::new();
    log.found();
    round(&mut log, 1);
    at(&mut log, 10, 2);
    let batch = log.batch(vec![raft_entry(3, 1, Vec::new())], None);
    let effects = [Effect::Persist(batch)];
    log.w.saw(15, Seen::CoordinatorDid { node: 1, state: &log.state, effects: &effects });
    at(&mut log, 20, 3);
    assert!(is_broken(&log), "the round began before the entry was placed");
}

#[test]
fn s12_an_order_whose_step_is_not_committed() {
    use slot_types::order::{Action, Order};
    let mut log = Log::new();
    log.found();
    let order = Order {
        cluster: ClusterId([9; 16]),
        term: Term(1),
        index: LogIndex(9),
        id: OrderId { plan: PlanId(1), task: 0, step: 0, attempt: 1 },
        incarnation: Incarnation([1; 16]),
        boot: BootId([1; 16]),
        subject: None,
        budget_ms: 1,
        action: Action::ConfirmStopped,
    };
    let deliver = Effect::Deliver {
        delivery: 1,
        host: host(1),
        address: "127.0.0.1:1".parse().unwrap(),
        order: codec::encode(&order),
        budget_ms: 1,
    };
    log.did(1, &[deliver]);
    breaks(&log.w, "S12");
}
