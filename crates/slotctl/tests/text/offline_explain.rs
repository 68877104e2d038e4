//! `offline explain`: a store and a plan, of a file of htools and of a snapshot.

use super::clusters::world::{self, World};
use super::outputs::{ended, htools};
use super::snapshots::{golden, run, saved};
use serde_json::Value;
use slot_planner::layout::{Goal, State, Wish, solve};
use slot_types::plan::Intent;
use slotctl::asks::{Placement, explain};
use slotctl::failure::Exit;
use slotctl::offline::htools::parse;

/// Five hosts in three racks, one of them full and one offline; h1 leads most.
const FLEET: &str = "group|id|preferred||

h1|1000|0|1000|1000|500|8|N|id|1|rack:a|N|0|1|1.0
h2|1000|0|1000|1000|500|8|N|id|1|rack:b|N|0|1|1.0
h3|1000|0|1000|1000|500|8|N|id|1|rack:b|N|0|1|1.0
h4|1000|0|1000|110|10|8|N|id|1|rack:c|N|0|1|1.0
h5|1000|0|1000|1000|500|8|Y|id|1|rack:c|N|0|1|1.0

s1|10|100|1|running|Y|h1|h2|drbd||1|0|N
s2|10|100|1|running|Y|h1|h2|drbd||1|0|N
s3|10|100|1|running|Y|h1|h4|drbd||1|0|N
s4|10|100|1|running|Y|h3|h1|drbd||1|0|N

htools:nlocation:rack

policy
";

/// For the documents' shape: a store and a plan.
pub fn placements() -> Vec<Placement> {
    let loaded = parse(FLEET.to_owned()).unwrap();
    let goal = Goal::Drain { hosts: vec![2], empty: true };
    let outcome = solve(&loaded.fleet, &loaded.layout, &goal, &Wish::default()).unwrap();
    let mut fleet = loaded.fleet.clone();
    fleet.hosts[2].state = State::Leaving;
    vec![explain::store(&loaded, "s1").unwrap(), explain::plan(&loaded, &fleet, "drain", &outcome)]
}

#[test]
fn a_store_of_a_file_of_htools_is_explained() {
    let (_folder, path) = htools(FLEET);
    golden("a_store_of_htools", &run(&format!("slotctl offline explain store s1 --from {path}"), false).unwrap());
    let said: Value =
        serde_json::from_str(&run(&format!("slotctl offline explain store s1 --from {path}"), true).unwrap()).unwrap();
    let hosts = |copy: usize| said["places"][copy]["others"].as_array().unwrap().len();
    assert_eq!((hosts(0), hosts(1)), (4, 4), "every other host has its reason");
    let none = ended(&format!("slotctl offline explain store s9 --from {path}"), false).0.unwrap_err();
    assert_eq!((none.exit, none.cause.as_str()), (Exit::Failed, "the file has no store of this name"));
    let slot = ended(&format!("slotctl offline explain slot h1/1 --from {path}"), false).0.unwrap_err();
    assert_eq!(slot.exit, Exit::Usage);
}

#[test]
fn a_plan_for_a_file_of_htools_is_explained() {
    let (_folder, path) = htools(FLEET);
    for (name, what) in
        [("drain", "drain --host h3 --empty"), ("hand_overs", "drain --rack b"), ("rebalance", "rebalance")]
    {
        let text = run(&format!("slotctl offline explain plan {what} --from {path}"), false).unwrap();
        golden(&format!("a_plan_of_htools_{name}"), &text);
    }
    let plan = format!("slotctl offline drain --host h3 --empty --from {path}");
    let moves: Value = serde_json::from_str(&run(&plan, true).unwrap()).unwrap();
    let said: Value = serde_json::from_str(
        &run(&format!("slotctl offline explain --from {path} plan drain --host h3 --empty"), true).unwrap(),
    )
    .unwrap();
    let planned = moves["copies"].as_u64().unwrap() + moves["hand_overs"].as_u64().unwrap();
    assert_eq!(said["moves"].as_array().unwrap().len() as u64, planned, "it is the plan that offline drain makes");
    assert!(
        said["moves"].as_array().unwrap().iter().all(|one| !one["because"].as_array().unwrap().is_empty()),
        "{said}"
    );
}

#[test]
fn a_plan_for_a_snapshot_is_explained_as_by_its_leader() {
    let world = World::running(4, 8, 12, 2);
    let (_folder, path) = saved(&world);
    let line = format!("slotctl offline explain plan drain --host imap2 --empty --format snapshot --from {path}");
    let said: Value = serde_json::from_str(&run(&line, true).unwrap()).unwrap();
    let plan = world.plan(Intent::EmptyHost(world::host(2))).unwrap();
    let known = slot_planner::explain_plan(&world.cluster, &world.evidence, &world.inputs, plan.plan());
    assert_eq!(said["explained"]["Known"]["value"]["Plan"]["tasks"], serde_json::to_value(&known).unwrap());
    let text = run(&line, false).unwrap();
    assert!(text.starts_with("plan   ") && text.contains("not imap"), "{text}");
    let nothing = run(&format!("slotctl offline explain plan place --format snapshot --from {path}"), false).unwrap();
    assert!(nothing.starts_with("nothing to do"), "{nothing}");
}
