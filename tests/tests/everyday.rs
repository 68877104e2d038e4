//! Everyday recovery: what died comes back as it was, without anybody's yes (R25).
//!
//! What always holds: the same master serves at the same epoch again; no plan asks for an approval.

use slot_tests::cluster::Cluster;
use slot_tests::shape::Shape;
use slot_tests::verify::verify;
use slot_tests::writer::{Routes, Writers};
use slot_tests::{AT_LAST, Outcome, engines, wait_until};
use std::time::Duration;

const PAUSE: Duration = Duration::from_millis(10);

/// Nobody was asked: every plan since is the coordinator's own and none waits.
fn nobody_was_asked(cluster: &Cluster, plans_before: usize) -> Outcome<()> {
    let view = cluster.look(&["plan", "list"])?;
    let plans = view["plans"].as_array().cloned().unwrap_or_default();
    assert!(plans.len() > plans_before, "recovery leaves plans behind: {view}");
    // The newest come first.
    for plan in &plans[..plans.len() - plans_before] {
        assert!(plan["requested_by"].is_null(), "{plan}");
        assert_ne!(plan["state"], "Proposed", "{plan}");
    }
    Ok(())
}

fn plans(cluster: &Cluster) -> Outcome<usize> {
    Ok(cluster.look(&["plan", "list"])?["plans"].as_array().map_or(0, Vec::len))
}

/// Waits until all is well again, then compares with what was before.
fn as_before(cluster: &Cluster, writers: &mut Writers, routes: &Routes) -> Outcome<()> {
    cluster.wait_served()?;
    writers.wait_progress()?;
    assert_eq!(writers.routes(), *routes, "same masters, same epochs");
    writers.stop()?;
    verify(writers)?.must_be_in_order()
}

#[test]
fn r25_a_dead_engine_is_started_as_the_same_master_without_a_yes() -> Outcome<()> {
    let cluster = Cluster::for_test(Shape::small())?;
    let mut writers = Writers::start(&cluster, PAUSE)?;
    let (routes, before) = (writers.routes(), plans(&cluster)?);
    let slot = cluster.master_of("store1")?;
    let engine = cluster.engine_on(&slot)?;
    engines::kill(&engine)?;
    wait_until("another process serves the slot", AT_LAST, || {
        cluster.engine_on(&slot).is_ok_and(|now| now.identity != engine.identity)
    })?;
    as_before(&cluster, &mut writers, &routes)?;
    nobody_was_asked(&cluster, before)
}

#[test]
fn r25_after_a_power_cut_everything_comes_back_without_a_yes() -> Outcome<()> {
    let mut cluster = Cluster::for_test(Shape::small())?;
    let mut writers = Writers::start(&cluster, PAUSE)?;
    let (routes, before) = (writers.routes(), plans(&cluster)?);
    cluster.stop_all()?;
    for n in 1..=cluster.shape.hosts {
        cluster.restart_host(n)?;
    }
    for n in 1..=cluster.shape.coordinators {
        cluster.start_coordinator(n)?;
    }
    as_before(&cluster, &mut writers, &routes)?;
    nobody_was_asked(&cluster, before)
}
