//! The end of a run: L1–L3, S14, S12, and acknowledged records that are nowhere.

use crate::engines::Engine;
use crate::raft::Log;
use crate::*;
use slot_machine::state::State;
use slot_sim::check::{End, Heal, liveness};
use slot_types::cluster::*;
use std::collections::BTreeMap;

const HEAL: Heal = Heal { begun_ms: 1_000, ended_ms: 100_000, bound_ms: 60_000 };

fn cluster(master: Option<SlotId>, n: u64) -> Cluster {
    let mut cluster = Cluster::new(ClusterId([9; 16]), ClusterName::new("fm1").unwrap());
    let spec = StoreSpec {
        engine: EngineKind::Journal,
        copies: 1,
        size_bytes: 1,
        spread: Spread::Host,
        sync_copies: 0,
        never: std::collections::BTreeSet::new(),
        load: 1,
    };
    let made = Store {
        spec,
        epoch: epoch(n),
        master,
        pending: None,
        promote_started: false,
        copies: BTreeMap::new(),
        possible_masters: BTreeMap::new(),
        route: None,
        last_promoted: epoch(n),
        past: BTreeMap::new(),
        unheard: std::collections::BTreeSet::new(),
        retired: false,
        version: 1,
    };
    cluster.stores.insert(store(), made);
    cluster
}

#[test]
fn l3_nobody_leads_after_the_bound() {
    assert_eq!(liveness(&HEAL, Some(99_000), None), []);
    assert_eq!(liveness(&Heal { ended_ms: 30_000, ..HEAL }, None, None), []);
    assert_eq!(liveness(&HEAL, Some(50_000), None)[0].invariant, "L3");
    assert_eq!(liveness(&HEAL, None, None)[0].invariant, "L3");
}

#[test]
fn l2_a_store_without_a_master() {
    let mut state = State { cluster: Some(cluster(Some(slot(1, 1)), 3)), ..State::default() };
    assert_eq!(liveness(&HEAL, Some(99_000), Some(&state)), []);
    state.cluster = Some(cluster(None, 3));
    assert_eq!(liveness(&HEAL, Some(99_000), Some(&state))[0].invariant, "L2");
}

#[test]
fn s14_s12_states_that_differ_or_whose_chain_is_broken() {
    for bad in [0, 1, 2] {
        let mut log = Log::new();
        log.found();
        log.leader();
        let mut other = log.state.clone();
        match bad {
            1 => other.fleet_version += 1,
            2 => other.audit.entries[0].event = "nothing happened".into(),
            _ => {}
        }
        let nodes = [(1, &log.state), (2, &other)];
        log.w.finish(End { state: None, nodes: &nodes, engines: &[], heal: None });
        let expected: &[&str] = match bad {
            1 => &["S14"],
            2 => &["S12", "S14"],
            _ => &[],
        };
        assert_eq!(broken(&log.w), expected);
    }
}

#[test]
fn s4_an_acknowledged_record_that_is_nowhere() {
    for complete in [true, false] {
        let mut log = Log::new();
        let mut a = Engine::open(&mut log.w, slot(1, 1));
        a.promote(&mut log.w, 1, 0);
        a.append(&mut log.w, 2, 1, 1);
        let mut end = Engine::open(&mut log.w, slot(2, 1));
        end.promote(&mut log.w, 1, 0);
        let shown = if complete { &a } else { &end };
        let state = State { cluster: Some(cluster(Some(shown.slot.clone()), 1)), ..State::default() };
        let engines = [(&shown.slot, &shown.core)];
        let before = log.w.violations().len();
        log.w.finish(End { state: Some(&state), nodes: &[], engines: &engines, heal: None });
        let new: Vec<&str> = log.w.violations()[before..].iter().map(|v| v.invariant).collect();
        // It was seen missing when the other became master already: what is missing then stays known as lost.
        assert_eq!(new.is_empty(), complete, "{new:?}");
    }
}

#[test]
fn a_world_without_faults_is_well() {
    let options = slot_sim::run::Options { classes: Some(Default::default()), ..Default::default() };
    let outcome = slot_sim::run::run(1, &options);
    assert_eq!(outcome.failure(), None, "{:?} {:?}", outcome.violations, outcome.panicked);
}
