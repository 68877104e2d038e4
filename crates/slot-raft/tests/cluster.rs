//! Groups of one and three: elections, replication, restarts, snapshots, reads, members.

mod support;

use slot_raft::{Input, MemberChange, Restored};
use support::Cluster;

#[test]
fn three_nodes_elect_and_replicate() {
    let mut c = Cluster::new(3, 1);
    c.propose_and_wait(b"one");
    c.propose_and_wait(b"two");
    c.everyone_has(b"two");
    assert!(c.refused.is_empty(), "{:?}", c.refused);
}

#[test]
fn a_lone_node_works_and_restarts() {
    let mut c = Cluster::new(1, 2);
    c.propose_and_wait(b"one");
    c.run(100);
    c.crash(1);
    c.start(1);
    c.propose_and_wait(b"two");
    assert!(c.has(1, b"one"));
    let leader = c.elect();
    c.input(leader, Input::ReadIndex { token: 5 });
    c.until("the read", |c| !c.reads.is_empty());
}

#[test]
fn a_dead_leader_is_replaced_and_comes_back() {
    for seed in 0..20 {
        let mut c = Cluster::new(3, seed);
        c.propose_and_wait(b"before");
        let old = c.elect();
        c.crash(old);
        let died = c.now;
        c.until("a new leader", |c| c.leader().is_some_and(|l| l != old));
        assert!(c.now - died < 10_000, "seed {seed}");
        c.propose_and_wait(b"after");
        c.start(old);
        c.everyone_has(b"after");
        c.check_acked();
    }
}

#[test]
fn all_nodes_lose_power_and_nothing_acknowledged_is_lost() {
    for seed in 0..20 {
        let mut c = Cluster::new(3, seed);
        for n in 0..10u8 {
            c.propose_and_wait(&[n + 1]);
        }
        for id in 1..=3 {
            c.crash(id);
        }
        c.wire.clear();
        for id in 1..=3 {
            c.start(id);
        }
        c.propose_and_wait(b"after");
        c.everyone_has(b"after");
        c.check_acked();
    }
}

#[test]
fn a_batch_not_yet_written_is_lost_without_harm() {
    let mut c = Cluster::new(3, 3);
    c.propose_and_wait(b"one");
    c.run(500);
    let leader = c.elect();
    let follower = (1..=3).find(|id| *id != leader).unwrap();
    c.manners.disk = 1_000..1_001;
    c.propose(leader, 1, b"two");
    c.run(50);
    assert!(!c.nodes[&follower].writing.is_empty(), "the follower is writing");
    c.crash(follower);
    c.manners.disk = 1..4;
    c.start(follower);
    c.everyone_has(b"two");
    c.check_acked();
}

#[test]
fn an_isolated_leader_steps_down_and_drops_what_it_could_not_commit() {
    let mut c = Cluster::new(3, 4);
    c.propose_and_wait(b"one");
    let old = c.elect();
    c.isolate(old);
    c.propose(old, 1, b"lost");
    c.until("a new leader", |c| c.leader().is_some_and(|l| l != old));
    c.propose_and_wait(b"two");
    c.until("stepping down", |c| !c.core(old).is_leader());
    c.heal();
    c.everyone_has(b"two");
    assert!(!c.has(old, b"lost"));
    c.check_acked();
}

#[test]
fn a_node_that_was_away_does_not_depose_the_leader() {
    let mut c = Cluster::new(3, 5);
    c.propose_and_wait(b"one");
    let leader = c.elect();
    let term = c.core(leader).term();
    let away = (1..=3).find(|id| *id != leader).unwrap();
    c.isolate(away);
    c.run(10_000);
    c.heal();
    c.run(3_000);
    assert_eq!((c.elect(), c.core(leader).term()), (leader, term), "pre-vote keeps the term");
}

#[test]
fn one_way_cuts_heal() {
    for seed in 0..10 {
        let mut c = Cluster::new(3, seed);
        let leader = c.elect();
        for other in (1..=3).filter(|id| *id != leader) {
            c.cut.insert((other, leader));
        }
        c.until("a leader that hears", |c| c.leader().is_some_and(|l| l != leader));
        c.heal();
        c.propose_and_wait(b"after");
        c.everyone_has(b"after");
    }
}

#[test]
fn a_slow_disk_does_not_cost_a_leader() {
    let mut c = Cluster::new(3, 6);
    c.propose_and_wait(b"one");
    let leader = c.elect();
    let term = c.core(leader).term();
    c.manners.disk = 2_000..2_500;
    c.propose(leader, 1, b"two");
    c.everyone_has(b"two");
    c.run(2_000);
    assert_eq!((c.leader(), c.core(leader).term()), (Some(leader), term));
}

#[test]
fn a_lagging_node_gets_a_snapshot_and_survives_a_crash_while_writing_it() {
    for seed in 0..10 {
        let mut c = Cluster::new(3, seed);
        let leader = c.elect();
        let away = (1..=3).find(|id| *id != leader).unwrap();
        c.crash(away);
        for n in 0..30u8 {
            c.propose_and_wait(&[n + 1]);
        }
        let leader = c.elect();
        c.compact(leader);
        assert!(c.core(leader).first_index() > 20);
        c.manners.disk = 300..400;
        c.start(away);
        c.run(350);
        c.crash(away);
        c.start(away);
        c.manners.disk = 1..4;
        c.everyone_has(&[30]);
        assert_eq!(c.nodes[&away].applied, c.nodes[&leader].applied);
        c.propose_and_wait(b"after");
        c.everyone_has(b"after");
        assert!(c.nodes[&away].installs > 0);
    }
}

#[test]
fn two_snapshots_back_to_back() {
    let mut c = Cluster::new(3, 7);
    let leader = c.elect();
    let away = (1..=3).find(|id| *id != leader).unwrap();
    c.isolate(away);
    for round in 0..2u8 {
        for n in 0..20u8 {
            c.propose_and_wait(&[round, n]);
        }
        let leader = c.elect();
        c.compact(leader);
        if round == 0 {
            c.manners.disk = 500..600;
            c.heal();
            c.run(400);
            c.manners.disk = 1..4;
            c.log_tail = 0;
        }
    }
    c.heal();
    c.everyone_has(&[1, 19]);
    for id in 1..=3 {
        c.compact(id);
        c.run(20);
        c.crash(id);
        c.start(id);
    }
    c.propose_and_wait(b"after");
    c.everyone_has(b"after");
}

#[test]
fn a_lost_snapshot_is_sent_again() {
    let mut c = Cluster::new(3, 8);
    let leader = c.elect();
    let away = (1..=3).find(|id| *id != leader).unwrap();
    c.isolate(away);
    for n in 0..20u8 {
        c.propose_and_wait(&[n + 1]);
    }
    c.compact(leader);
    c.heal();
    let is_snapshot = |m: &slot_raft::RaftMessage| m.r#type() == slot_raft::RaftMessageType::Snapshot;
    c.until("a snapshot under way", |c| c.wire.values().any(|(_, m)| is_snapshot(m)));
    c.wire.retain(|_, (_, m)| !is_snapshot(m));
    c.everyone_has(&[20]);
}

#[test]
fn a_follower_drops_proposals_with_a_hint() {
    let mut c = Cluster::new(3, 9);
    let leader = c.elect();
    c.run(500);
    let follower = (1..=3).find(|id| *id != leader).unwrap();
    c.propose(follower, 77, b"no");
    c.input(follower, Input::ReadIndex { token: 78 });
    assert_eq!(c.dropped, vec![(77, Some(leader))]);
    assert_eq!(c.read_failed, vec![(78, Some(leader))]);
    c.propose(leader, 79, b"");
    assert_eq!(c.dropped.last(), Some(&(79, None)));
}

#[test]
fn a_deposed_leader_answers_no_read() {
    let mut c = Cluster::new(3, 10);
    c.propose_and_wait(b"one");
    let old = c.elect();
    c.isolate(old);
    c.until("a new leader", |c| c.leader().is_some_and(|l| l != old));
    c.propose_and_wait(b"two");
    c.input(old, Input::ReadIndex { token: 1 });
    c.run(3_000);
    assert!(c.reads.is_empty(), "{:?}", c.reads);
    assert!(c.read_failed.iter().any(|(token, _)| *token == 1));
}

#[test]
fn a_read_sees_everything_acknowledged_before_it() {
    for seed in 0..20 {
        let mut c = Cluster::new(3, seed);
        for n in 0..10u64 {
            c.propose_and_wait(&[n as u8 + 1]);
            let newest = *c.history.keys().last().unwrap();
            let leader = c.elect();
            c.input(leader, Input::ReadIndex { token: n });
            c.until("the read", |c| c.reads.iter().any(|(token, ..)| *token == n));
            let (_, _, index) = *c.reads.iter().find(|(token, ..)| *token == n).unwrap();
            assert!(index >= newest, "seed {seed}: read at {index}, entry {newest} was acknowledged");
        }
    }
}

#[test]
fn leadership_is_handed_over() {
    let mut c = Cluster::new(3, 11);
    c.propose_and_wait(b"one");
    let leader = c.elect();
    let to = (1..=3).find(|id| *id != leader).unwrap();
    c.run(300);
    c.input(leader, Input::TransferLeader { to });
    c.until("the new leader", |c| c.leader() == Some(to));
    c.propose_and_wait(b"two");
    c.everyone_has(b"two");
}

#[test]
fn one_node_grows_to_three() {
    for seed in 0..10 {
        let mut c = Cluster::new(1, seed);
        c.propose_and_wait(b"one");
        c.add(2, Restored::joiner());
        c.add(3, Restored::joiner());
        c.until("changes possible", |c| c.core(1).is_current_leader());
        let learners = vec![MemberChange::AddLearner(2), MemberChange::AddLearner(3)];
        c.input(1, Input::ChangeMembers { request: 1, changes: learners });
        c.everyone_has(b"one");
        let voters = vec![MemberChange::AddVoter(2), MemberChange::AddVoter(3)];
        c.input(1, Input::ChangeMembers { request: 2, changes: voters });
        assert_eq!(c.dropped, vec![]);
        let settled = |c: &Cluster, id: u64| {
            let members = c.core(id).members();
            members.voters.len() == 3 && members.outgoing.is_empty() && members.learners.is_empty()
        };
        c.until("three voters", |c| (1..=3).all(|id| settled(c, id)));
        c.crash(1);
        c.propose_and_wait(b"two");
        c.start(1);
        c.everyone_has(b"two");
        assert!(settled(&c, 1));
    }
}

#[test]
fn a_removed_leader_change_is_refused_and_a_removed_node_keeps_quiet() {
    let mut c = Cluster::new(3, 12);
    c.propose_and_wait(b"one");
    let leader = c.elect();
    c.run(300);
    c.input(leader, Input::ChangeMembers { request: 1, changes: vec![MemberChange::Remove(leader)] });
    assert_eq!(c.dropped, vec![(1, None)]);
    let others: Vec<u64> = (1..=3).filter(|id| *id != leader).collect();
    let changes = others.iter().map(|id| MemberChange::Remove(*id)).collect();
    c.input(leader, Input::ChangeMembers { request: 2, changes });
    c.until("alone", |c| c.core(leader).members().all().len() == 1);
    c.propose_and_wait(b"alone");
    let term = c.core(leader).term();
    c.run(5_000);
    assert_eq!(c.core(leader).term(), term);
    assert!(c.core(leader).is_leader());
}

#[test]
fn a_core_and_its_store_may_live_on_threads_of_their_own() {
    fn sendable<T: Send>() {}
    sendable::<slot_raft::RaftCore>();
    sendable::<slot_raft::PersistBatch>();
    sendable::<slot_raft::store::RedbStore>();
}
