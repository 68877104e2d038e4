//! Random faults from a seed, then healing: safety all along, progress at the end, and the same seed twice.

mod support;

use rand::RngExt;
use slot_raft::Input;
use support::{Cluster, Manners};

/// Seeds in an ordinary run; each is some twenty simulated seconds of faults.
const SEEDS: u64 = 60;

fn storm(seed: u64) -> Cluster {
    let size = if seed % 4 == 3 { 5 } else { 3 };
    let mut c = Cluster::new(size, seed);
    c.log_tail = seed % 5;
    let slow = c.rng.random_range(2..60);
    c.manners = Manners {
        delay: 1..(1 + c.rng.random_range(1..60)),
        loss_percent: c.rng.random_range(0..20),
        duplicate_percent: c.rng.random_range(0..25),
        disk: 1..slow,
        lying_disk: false,
    };
    for n in 0..150u64 {
        let id = c.rng.random_range(1..=size);
        let leader = c.leader().unwrap_or(id);
        match c.rng.random_range(0..24) {
            0 => c.crash(id),
            1 => c.crash(leader),
            2..=5 => start_all(&mut c),
            6 => c.isolate(id),
            7 => drop(c.cut.insert((leader, 1 + leader % size))),
            8..=11 => c.heal(),
            12 => c.compact(leader),
            13 => c.compact(id),
            14 => c.input(leader, Input::TransferLeader { to: id }),
            15 | 16 => c.input(leader, Input::ReadIndex { token: n }),
            17 => c.propose(id, n, &n.to_le_bytes()),
            _ => (0..3u8).for_each(|k| c.propose(leader, n, &[n as u8, k])),
        }
        let pause = c.rng.random_range(1..300);
        c.run(pause);
    }
    c
}

fn start_all(c: &mut Cluster) {
    for id in c.nodes.keys().copied().collect::<Vec<_>>() {
        if c.nodes[&id].core.is_none() {
            c.start(id);
        }
    }
}

fn calm(c: &mut Cluster) {
    c.manners = Manners::default();
    c.heal();
    start_all(c);
    c.run(3_000);
    c.propose_and_wait(b"calm");
    c.everyone_has(b"calm");
    c.check_acked();
    let first = c.nodes[&1].applied.clone();
    assert!(c.nodes.values().all(|node| node.applied == first), "states differ");
}

#[test]
fn storms_break_nothing_and_end() {
    let (mut installs, mut entries, mut reads) = (0, 0, 0);
    for seed in 0..SEEDS {
        let mut c = storm(seed);
        calm(&mut c);
        installs += c.nodes.values().map(|n| n.installs).sum::<u64>();
        entries += c.history.len();
        reads += c.reads.len();
    }
    // A storm in which nothing happens proves nothing.
    assert!(installs > 5, "snapshots were installed: {installs}");
    assert!(entries > 500 && reads > 20, "entries {entries}, reads {reads}");
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in 1000..1010 {
        let (mut one, mut two) = (storm(seed), storm(seed));
        calm(&mut one);
        calm(&mut two);
        assert_eq!(one.trace, two.trace, "seed {seed}");
        assert_eq!(one.refused, two.refused, "seed {seed}");
        assert_eq!(one.now, two.now, "seed {seed}");
    }
    assert_ne!(storm(1).trace, storm(2).trace);
}

/// The harness must notice the worst bug there is, else the tests above prove nothing.
#[test]
#[should_panic(expected = "before it was on disk")]
fn a_disk_that_lies_is_noticed() {
    for seed in 0..SEEDS {
        let mut c = Cluster::new(3, seed);
        c.manners.lying_disk = true;
        for n in 0..50u8 {
            c.propose_and_wait(&[n]);
        }
    }
}
