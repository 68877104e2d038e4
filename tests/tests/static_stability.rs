//! The data plane without its brain (S10).
//!
//! What always holds: while every coordinator is dead and agents are started anew, no client's write fails, no engine is
//! started or ended, and nobody changes a role.

use slot_tests::cluster::Cluster;
use slot_tests::shape::Shape;
use slot_tests::verify::verify;
use slot_tests::writer::Writers;
use slot_tests::{Outcome, wait_for};
use std::time::{Duration, Instant};

const PAUSE: Duration = Duration::from_millis(10);
/// How long no coordinator lives.
const OUTAGE: Duration = Duration::from_secs(60);

fn engines(cluster: &Cluster) -> Vec<(u32, String)> {
    let all = (1..=cluster.shape.hosts).flat_map(|n| cluster.engines(n));
    all.map(|engine| (engine.identity.pid, engine.dir.display().to_string())).collect()
}

#[test]
fn s10_a_minute_without_coordinators_fails_no_write_and_changes_no_role() -> Outcome<()> {
    let mut cluster = Cluster::for_test(Shape::small())?;
    let mut writers = Writers::start(&cluster, PAUSE)?;
    let (engines_before, routes_before) = (engines(&cluster), writers.routes());
    let began = Instant::now();
    for n in 1..=cluster.shape.coordinators {
        cluster.kill_coordinator(n)?;
    }
    while began.elapsed() < OUTAGE {
        for n in 1..=cluster.shape.hosts {
            cluster.kill_agent(n)?;
            std::thread::sleep(OUTAGE / 12);
            cluster.start_agent(n)?;
            writers.wait_progress()?;
        }
    }
    for (store, (_, log)) in writers.logs() {
        assert_eq!(log.troubles_since(began), Vec::<String>::new(), "writes to {store} failed");
    }
    assert_eq!(engines(&cluster), engines_before, "no engine was started or ended");
    for n in 1..=cluster.shape.coordinators {
        cluster.start_coordinator(n)?;
    }
    cluster.wait_served()?;
    assert_eq!(engines(&cluster), engines_before, "running engines are adopted, not started anew");
    assert_eq!(writers.routes(), routes_before, "same masters, same epochs");
    for (store, (_, log)) in writers.logs() {
        assert_eq!(log.troubles_since(began), Vec::<String>::new(), "writes to {store} failed");
    }
    writers.stop()?;
    verify(&writers)?.must_be_in_order()
}

#[test]
fn an_agent_that_is_killed_fails_no_write_and_adopts_what_runs() -> Outcome<()> {
    let mut cluster = Cluster::for_test(Shape::small())?;
    let mut writers = Writers::start(&cluster, PAUSE)?;
    let engines_before = engines(&cluster);
    let began = Instant::now();
    for n in 1..=cluster.shape.hosts {
        cluster.kill_agent(n)?;
    }
    writers.wait_progress()?;
    for n in 1..=cluster.shape.hosts {
        cluster.start_agent(n)?;
    }
    cluster.wait_served()?;
    writers.wait_progress()?;
    for (store, (_, log)) in writers.logs() {
        assert_eq!(log.troubles_since(began), Vec::<String>::new(), "writes to {store} failed");
    }
    assert_eq!(engines(&cluster), engines_before);
    // The adopted engines take orders: a hand-over works.
    let from = cluster.master_of("store1")?;
    let said = wait_for("a hand-over is accepted", slot_tests::AT_LAST, || {
        cluster.ctl.propose("alice", &["failover", "slot", &from, "-m", "after the restart"]).ok()
    })?;
    cluster.ctl.approve("alice", &said)?.expect(slot_tests::ctl::DONE)?;
    assert_ne!(cluster.master_of("store1")?, from);
    writers.wait_progress()?;
    writers.stop()?;
    verify(&writers)?.must_be_in_order()
}
