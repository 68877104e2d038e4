//! What a person sees, on a running cluster: tables, risk, explanations, events and the audit's proof.
//!
//! What always holds: what `risk` said of a host before it died is what its failover's sheet then says; each coordinator has
//! the same audit, and a hash noted once is found again.

use serde_json::Value;
use slot_tests::cluster::Cluster;
use slot_tests::ctl::DONE;
use slot_tests::shape::{Shape, host, host_number};
use slot_tests::{AT_LAST, Outcome, loss, wait_until};
use std::collections::{BTreeMap, BTreeSet};

/// Three copies of each store, so that there is something to choose.
fn shape() -> Shape {
    Shape { hosts: 4, slots: 8, stores: 8, copies: 3, ..Shape::small() }
}

/// What a list of objects says under two keys.
fn pairs(list: &Value, key: &str, value: &str) -> BTreeMap<String, String> {
    let text = |object: &Value, key: &str| object[key].as_str().unwrap_or_default().to_owned();
    list.as_array().into_iter().flatten().map(|object| (text(object, key), text(object, value))).collect()
}

fn store_names(list: &Value) -> BTreeSet<String> {
    pairs(list, "store", "store").into_keys().collect()
}

/// Waits until every copy of a store was heard to end at the same place. Until then the furthest copies are preferred, and what
/// is furthest changes with each word of an engine.
fn wait_level(cluster: &Cluster) -> Outcome<()> {
    wait_until("every copy of a store ends at the same place", AT_LAST, || {
        let Ok(seen) = cluster.look(&["slots"]) else { return false };
        let mut ends: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        let copies = seen["slots"].as_array().into_iter().flatten().map(|line| &line["copy"]);
        for copy in copies.filter(|copy| !copy.is_null()) {
            let end = copy["position"]["Known"]["value"].to_string();
            ends.entry(copy["store"].as_str().unwrap_or_default()).or_default().insert(end);
        }
        !ends.is_empty() && ends.values().all(|ends| ends.len() == 1 && !ends.contains("null"))
    })
}

#[test]
fn tables_and_narrowed_tables_agree_with_the_routes() -> Outcome<()> {
    let cluster = Cluster::for_test(shape())?;
    let stores = cluster.look(&["stores"])?;
    let routes: BTreeMap<String, String> =
        cluster.routes()?.into_iter().map(|(store, slot)| (store.to_string(), slot.to_string())).collect();
    assert_eq!(pairs(&stores["stores"], "store", "master"), routes);
    let (schema, version) = (&stores["schema"], &stores["version"]);
    assert_eq!((schema.as_str(), version.as_u64(), stores["all"].as_u64()), (Some("stores"), Some(1), Some(8)));
    assert_eq!(store_names(&cluster.look(&["stores", "--store", "*1"])?["stores"]), ["store1".to_owned()].into());
    assert!(store_names(&cluster.look(&["stores", "--not-served"])?["stores"]).is_empty());
    let free = cluster.look(&["slots", "--free"])?;
    assert_eq!((free["slots"].as_array().map(Vec::len), free["all"].as_u64()), (Some(4 * 8 - 3 * 8), Some(32)));
    let hosts = cluster.look(&["hosts"])?;
    let masters = hosts["hosts"].as_array().into_iter().flatten().filter_map(|line| line["masters"].as_u64());
    assert_eq!(masters.sum::<u64>(), 8);
    let events = cluster.ctl.run("alice", &["events", "--since", "1"])?.expect(DONE)?;
    assert!(events.stdout.contains("founded with id") && events.stdout.contains("alice     approve p1"), "{events:?}");
    Ok(())
}

#[test]
fn what_risk_says_of_a_host_is_what_its_sheet_says_when_it_is_dead() -> Outcome<()> {
    let mut cluster = Cluster::for_test(shape())?;
    let n = host_number(&cluster.master_of("store1")?).ok_or("a slot names its host")?;
    let name = host(n);
    wait_level(&cluster)?;
    let there: BTreeSet<String> = cluster.masters_on(n)?.iter().map(ToString::to_string).collect();
    let said = cluster.look(&["risk", "host", &name])?;
    let said = &said["loss"]["Known"]["value"];
    let predicted = pairs(&said["moves"], "store", "to");
    assert_eq!(predicted.keys().cloned().collect::<BTreeSet<_>>(), there);
    assert_eq!((said["stops"].as_array().map(Vec::len), said["served"].as_u64()), (Some(0), Some(8)));

    cluster.kill_host(n)?;
    loss::wait_silent(&cluster, n)?;
    assert_eq!(store_names(&cluster.look(&["stores", "--not-served"])?["stores"]), there);
    cluster.ctl.json("alice", &["off", "host", &name, "--how", "unplugged", "-m", "dead"])?.expect(DONE)?;
    let evidence = cluster.look(&["evidence", "host", &name])?;
    assert!(evidence["agent"]["Known"]["age_ms"].as_u64().is_some_and(|age| age > 1_000), "{evidence:#}");
    assert_eq!((evidence["word_holds"].as_bool(), evidence["word"]["by"].as_str()), (Some(true), Some("alice")));
    let heard = evidence["others"].as_array().into_iter().flatten().filter(|other| other["silent"] == false);
    assert_eq!((heard.count(), evidence["links"].as_array().map(Vec::len)), (3, Some(2 * there.len())));
    let sheet = cluster.ctl.propose("alice", &["failover", "host", &name, "-m", "it is dead"])?;
    let explained = cluster.look(&["explain", "plan", &sheet.plan])?;
    let tasks = &explained["explained"]["Known"]["value"]["Plan"]["tasks"];
    assert_eq!(pairs(tasks, "store", "to"), predicted, "{tasks:#}");
    for task in tasks.as_array().into_iter().flatten() {
        // The third copy could have become master too, and it is said why it did not.
        assert_eq!(
            (task["changed"].as_str(), task["others"].as_array().map(Vec::len)),
            (Some(""), Some(1)),
            "{task:#}"
        );
        assert!(task["because"].as_array().is_some_and(|because| !because.is_empty()), "{task:#}");
    }
    Ok(())
}

#[test]
fn every_coordinator_has_the_audit_whose_hash_was_noted() -> Outcome<()> {
    let cluster = Cluster::for_test(Shape::small())?;
    let whole = cluster.look(&["audit", "verify"])?;
    assert_eq!(whole["whole"].as_bool(), Some(true), "{whole}");
    let (number, hash) = (whole["whole_through"].as_u64().unwrap_or(0), whole["hash"].as_str().unwrap_or(""));
    assert!(number > 10, "{whole}");
    let noted = format!("{number}={hash}");
    for name in ["c1", "c2", "c3"] {
        let ask = ["audit", "verify", "--noted", &noted, "--stale", "--coordinator", name];
        // One that follows may not have applied the last entries yet.
        wait_until("its copy has the entry that was noted", AT_LAST, || {
            cluster.look(&ask).is_ok_and(|found| {
                found["noted_found"].as_u64() == Some(number) && found["answered_by"].as_str() == Some(name)
            })
        })?;
    }
    let wrong = format!("{number}=0000-0000-0000-0000");
    let refused = cluster.ctl.json("alice", &["audit", "verify", "--noted", &wrong])?;
    assert_eq!((refused.code, refused.json()["first_bad"].as_u64()), (slot_tests::ctl::FAILED, Some(number)));
    Ok(())
}

#[test]
fn a_file_of_the_cluster_answers_as_the_cluster_does() -> Outcome<()> {
    let cluster = Cluster::for_test(shape())?;
    wait_level(&cluster)?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("cluster.json").display().to_string();
    cluster.ctl.json("alice", &["snapshot", "--out", &file])?.expect(DONE)?;
    let offline = |question: &[&str], rest: &[&str]| -> Outcome<Value> {
        let from = ["--from", &file, "--format", "snapshot"];
        let words: Vec<&str> = ["offline"].iter().chain(question).chain(&from).chain(rest).copied().collect();
        cluster.look(&words)
    };
    let name = host(1);
    let changes: [&[&str]; 4] =
        [&["down", &name], &["remove-host", &name], &["add-host", "--like", &name], &["grow-stores", "--by", "20"]];
    let mut asked: Vec<(Vec<&str>, Value)> = Vec::new();
    for (question, rest) in [(["risk"], &[][..]), (["capacity"], &["--survive", "rack"]), (["service-groups"], &[])] {
        asked.push(([&question[..], rest].concat(), offline(&question, rest)?));
    }
    for change in changes {
        asked.push(([&["whatif"], change].concat(), offline(&["whatif"], change)?));
    }
    for (words, from_file) in asked {
        let mut live = cluster.look(&words)?;
        assert_eq!(live["confirmed"].as_bool(), Some(true), "{words:?}");
        live.as_object_mut().ok_or("a document")?.remove("confirmed");
        // The log goes on by itself meanwhile: comparisons leave their stamps in it.
        let revision = from_file["revision"].clone();
        assert!(live["revision"].as_u64() >= revision.as_u64(), "{words:?}: {} and {revision}", live["revision"]);
        live["revision"] = revision;
        assert_eq!(live, from_file, "{words:?}");
    }
    let drained = offline(&["drain", "--host", &name], &[])?;
    let proposed = cluster.ctl.propose("alice", &["drain", "host", &name, "-m", "disk"])?;
    let shown = cluster.look(&["plan", "show", &proposed.plan])?;
    assert_eq!(shown["document"]["tasks"], drained["document"]["tasks"]);
    Ok(())
}
