//! One coordinator alone, as a small site starts.
//!
//! What always holds: it founds, serves and hands over like three, and comes back from `kill -9` with what it knew.

use slot_tests::Outcome;
use slot_tests::cluster::Cluster;
use slot_tests::ctl::DONE;
use slot_tests::shape::Shape;
use slot_tests::verify::verify;
use slot_tests::writer::Writers;
use std::time::Duration;

#[test]
fn one_coordinator_alone_works_and_comes_back() -> Outcome<()> {
    let shape = Shape { coordinators: 1, hosts: 2, slots: 2, stores: 2, ..Shape::small() };
    let mut cluster = Cluster::for_test(shape)?;
    let mut writers = Writers::start(&cluster, Duration::from_millis(10))?;
    let from = cluster.master_of("store1")?;
    cluster.kill_coordinator(1)?;
    writers.wait_progress()?;
    cluster.start_coordinator(1)?;
    cluster.wait_served()?;
    assert_eq!(cluster.master_of("store1")?, from);
    cluster.ctl.change("alice", &["failover", "slot", &from, "-m", "test"])?.expect(DONE)?;
    assert_ne!(cluster.master_of("store1")?, from);
    writers.wait_progress()?;
    writers.stop()?;
    verify(&writers)?.must_be_in_order()
}
