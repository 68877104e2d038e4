//! Replicas compared with their masters, record by record: what somebody changed on a disk is named, and nothing else is.
//!
//! What always holds: a comparison reads what the disks hold and changes nothing; a copy that differs is given no master role
//! until it is built anew; nothing acknowledged is lost.

use serde_json::Value;
use slot_engine::journal::core::{Body, FRAME_HEAD, Record};
use slot_tests::cluster::Cluster;
use slot_tests::ctl::{DONE, FAILED};
use slot_tests::rot::{self, frames, replica};
use slot_tests::shape::Shape;
use slot_tests::writer::Writers;
use slot_tests::{AT_LAST, Outcome, engines, wait_for};
use std::os::unix::fs::FileExt;
use std::time::Duration;

const PAUSE: Duration = Duration::from_millis(10);

/// `verify`, as JSON; whoever leads must have heard the agents first.
fn verify(cluster: &Cluster, on: &[&str]) -> Outcome<(i32, Value)> {
    let arguments: Vec<&str> = ["verify"].into_iter().chain(on.iter().copied()).collect();
    let said = cluster.ctl.json("alice", &arguments)?;
    Ok((said.code, said.json()))
}

fn findings(view: &Value, slot: &str) -> Value {
    let lines = view["copies"].as_array().cloned().unwrap_or_default();
    let line = lines.into_iter().find(|line| line["slot"] == slot).unwrap_or_default();
    line["state"]["Told"]["stamp"]["of"]["findings"].clone()
}

/// A cluster whose stores hold records and whose replicas have them all; nobody writes any more.
fn quiet(shape: Shape) -> Outcome<Cluster> {
    let cluster = Cluster::for_test(shape)?;
    let mut writers = Writers::start(&cluster, PAUSE)?;
    (0..10).try_for_each(|_| writers.wait_progress())?;
    writers.stop()?;
    Ok(cluster)
}

#[test]
fn a_record_that_rots_on_a_replicas_disk_is_named_and_the_copy_is_built_anew() -> Outcome<()> {
    let cluster = quiet(Shape::small())?;
    let equal = wait_for("all copies are equal", AT_LAST, || {
        verify(&cluster, &["all"]).ok().filter(|(code, view)| *code == DONE && view["equal"] == true)
    })?;
    assert_eq!(equal.1["copies"].as_array().map(Vec::len), Some(3), "{}", equal.1);

    let (slot, dir) = replica(&cluster, "store1")?;
    let (file, _, places) = frames(&dir)?;
    let rotten = &places[places.len() / 2];
    let last = (rotten.start + FRAME_HEAD + rotten.body.len() - 1) as u64;
    let disk = std::fs::OpenOptions::new().write(true).open(&file)?;
    disk.write_all_at(&[rotten.body.last().ok_or("an empty record")? ^ 1], last)?;
    disk.sync_all()?;

    let (code, view) = verify(&cluster, &["store", "store1"])?;
    assert_eq!((code, &view["equal"], &view["settled"]), (FAILED, &false.into(), &true.into()), "{view}");
    let found = findings(&view, &slot);
    assert_eq!((&found["count"], &found["first"][0]["index"]), (&1.into(), &rotten.index.into()), "{found}");
    assert_eq!(found["first"][0]["here"], "Unreadable", "{found}");
    let Body::Data { id, .. } = Record::from_bytes(&rotten.body)?.body else {
        return Err("a start of an epoch".into());
    };
    let named = found["first"][0]["master"]["Record"]["id"].clone();
    assert_eq!((&named["client"], &named["sequence"]), (&id.client.as_str().into(), &id.sequence.into()), "{found}");
    let said = cluster.ctl.run("alice", &["verify", "store", "store1"])?;
    assert!(said.code == FAILED && said.stdout.contains(&format!("record {}: UNREADABLE", rotten.index)), "{said:?}");
    // The others are not touched by it.
    assert_eq!(verify(&cluster, &["store", "store2"])?.0, DONE);

    // It is given no master role, and the refusal names the record.
    let master = cluster.master_of("store1")?;
    let refused = cluster.ctl.run("alice", &["failover", "slot", &master, "-m", "new fan"])?;
    let words = refused.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(refused.code == FAILED && words.contains(&format!("record {}: UNREADABLE", rotten.index)), "{refused:?}");

    cluster.ctl.change("alice", &["move", "slot", &slot, "-m", "its disk fails"])?.expect(DONE)?;
    let (code, view) = verify(&cluster, &["store", "store1"])?;
    assert_eq!((code, &view["equal"]), (DONE, &true.into()), "{view}");
    cluster.ctl.change("alice", &["failover", "slot", &master, "-m", "new fan"])?.expect(DONE)?;
    Ok(())
}

#[test]
fn r7_a_replica_that_comes_back_with_another_record_stops_and_is_named_unasked() -> Outcome<()> {
    let cluster = quiet(Shape::small())?;
    let (slot, dir) = replica(&cluster, "store1")?;
    // Held, so that nobody starts it before its record is another one.
    cluster.ctl.run("bob", &["hold", "store", "store1", "-m", "its disk is looked at"])?.expect(DONE)?;
    engines::kill(&cluster.engine_on(&slot)?)?;
    let last = rot::rewrite_last("store1", &slot, &dir)?;

    cluster.ctl.run("bob", &["release", "store", "store1", "-m", "done"])?.expect(DONE)?;
    // Its leader starts it again; it stops at its master's first answer, is compared, and the audit says what differs.
    let event = wait_for("what differs is told", AT_LAST, || {
        let events = cluster.look(&["audit", "--limit", "500"]).ok()?;
        let entries = events["entries"].as_array()?.clone();
        let texts = entries.into_iter().filter_map(|entry| Some(entry["event"].as_str()?.to_owned()));
        texts.into_iter().find(|text| text.contains("DIFFERS"))
    })?;
    assert!(
        event.contains(&format!("store1: {slot} DIFFERS")) && event.contains(&format!("record {last}:")),
        "{event}"
    );
    let (code, view) = verify(&cluster, &["host", slot.split('/').next().unwrap_or_default()])?;
    let found = findings(&view, &slot);
    assert_eq!((code, &found["count"], &found["first"][0]["index"]), (FAILED, &1.into(), &last.into()), "{view}");
    Ok(())
}
