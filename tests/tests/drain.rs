//! A host is emptied of masters, stopped, and gets the same masters back.
//!
//! What always holds: the last line and the exit code say the same; a host that is said to be safe to switch off runs no
//! engine; nothing that was acknowledged is lost, also when the leader dies in the middle.

use slot_tests::cluster::Cluster;
use slot_tests::ctl::{DONE, FAILED, PART_WAY};
use slot_tests::shape::{Shape, host};
use slot_tests::verify::verify;
use slot_tests::writer::Writers;
use slot_tests::{AT_LAST, Outcome, wait_until};
use slot_types::ids::SlotId;
use std::time::Duration;

const PAUSE: Duration = Duration::from_millis(10);

fn shape() -> Shape {
    Shape { stores: 6, ..Shape::small() }
}

/// A host that has masters.
fn busy_host(cluster: &Cluster) -> Outcome<u8> {
    for n in 1..=cluster.shape.hosts {
        if !cluster.masters_on(n)?.is_empty() {
            return Ok(n);
        }
    }
    Err("no host has a master".into())
}

/// What must be so once a drain of host `n` has ended well.
fn must_be_drained(cluster: &Cluster, n: u8, last_words: &str) -> Outcome<()> {
    let last = last_words.trim_end().lines().last().unwrap_or_default();
    assert!(last.starts_with(&format!("{} is SAFE TO SWITCH OFF", host(n))), "last line: {last}");
    assert!(cluster.engines(n).is_empty(), "engines run: {:?}", cluster.engines(n));
    assert!(cluster.masters_on(n)?.is_empty());
    assert_eq!(cluster.look(&["show", "host", &host(n)])?["declared"], "Maintenance");
    Ok(())
}

#[test]
fn a_drained_host_is_safe_to_switch_off_and_gets_its_masters_back() -> Outcome<()> {
    let cluster = Cluster::for_test(shape())?;
    let mut writers = Writers::start(&cluster, PAUSE)?;
    let n = busy_host(&cluster)?;
    let masters = cluster.masters_on(n)?;
    let proposal = cluster.ctl.propose("alice", &["drain", "host", &host(n), "-m", "new fan"])?;
    let line = ["plan", "approve", &proposal.plan, "--digest", &proposal.digest, "-m", "yes"];
    let said = cluster.ctl.run("alice", &line)?.expect(DONE)?;
    must_be_drained(&cluster, n, &said.stdout)?;
    writers.wait_progress()?;
    // Asked again there is nothing to do, and it is as safe as before.
    let again = cluster.ctl.json("alice", &["drain", "host", &host(n), "-m", "again"])?;
    assert_eq!(again.code, DONE, "{again:?}");
    assert_eq!(again.json()["safe_to_switch_off"], true, "{again:?}");
    cluster.ctl.change("alice", &["undrain", "host", &host(n), "-m", "fan is in"])?.expect(DONE)?;
    assert_eq!(cluster.masters_on(n)?, masters, "the same masters are handed back");
    assert_eq!(cluster.look(&["show", "host", &host(n)])?["declared"], "Active");
    cluster.wait_served()?;
    writers.wait_progress()?;
    writers.stop()?;
    verify(&writers)?.must_be_in_order()
}

/// Two hosts share each rack, so no store lives in one rack alone: a whole rack may go.
#[test]
fn a_whole_rack_is_drained_as_one_and_is_missed_when_it_is_not_back_in_time() -> Outcome<()> {
    let shape = Shape { hosts: 6, hosts_per_rack: 2, stores: 6, ..Shape::small() };
    let cluster = Cluster::for_test(shape)?;
    let mut writers = Writers::start(&cluster, PAUSE)?;
    let masters = (cluster.masters_on(1)?, cluster.masters_on(2)?);
    let ask = ["drain", "rack", "ny/r1", "--back-by", "1s", "-m", "new switch"];
    let proposal = cluster.ctl.propose("alice", &ask)?;
    let line = ["plan", "approve", &proposal.plan, "--digest", &proposal.digest, "-m", "yes"];
    let said = cluster.ctl.run("alice", &line)?.expect(DONE)?;
    for n in [1, 2] {
        let safe = format!("{} is SAFE TO SWITCH OFF", host(n));
        assert!(said.stdout.lines().any(|line| line.starts_with(&safe)), "{}", said.stdout);
        assert!(cluster.engines(n).is_empty() && cluster.masters_on(n)?.is_empty());
    }
    writers.wait_progress()?;
    wait_until("somebody is told that the rack is not back", AT_LAST, || {
        let status = cluster.ctl.run("alice", &["status", "--check"]);
        status.is_ok_and(|said| said.code == FAILED && said.stdout.matches("OVERDUE").count() == 2)
    })?;
    for n in [1, 2] {
        cluster.ctl.change("alice", &["undrain", "host", &host(n), "-m", "it is in"])?.expect(DONE)?;
    }
    assert_eq!((cluster.masters_on(1)?, cluster.masters_on(2)?), masters, "the same masters are handed back");
    cluster.wait_served()?;
    assert_eq!(cluster.ctl.run("alice", &["status", "--check"])?.code, DONE);
    let nowhere = cluster.ctl.json("alice", &["drain", "rack", "ny/r9", "-m", "no such rack"])?.expect(FAILED)?;
    assert!(nowhere.stderr.contains("no host is there"), "{}", nowhere.stderr);
    writers.wait_progress()?;
    writers.stop()?;
    verify(&writers)?.must_be_in_order()
}

/// More than any disk has is to stay free: no copy is built, and the refusal says how many bytes it takes. Without that it moves.
#[test]
fn a_copy_moves_only_onto_a_disk_that_has_the_bytes() -> Outcome<()> {
    let mut cluster = Cluster::for_test(Shape::small())?;
    wait_until("every agent says what its disk has free", AT_LAST, || {
        (1..=cluster.shape.hosts).all(|n| {
            let seen = cluster.look(&["evidence", "host", &host(n)]);
            seen.is_ok_and(|seen| seen["disk"]["Known"]["value"]["free_bytes"].as_u64().is_some_and(|free| free > 0))
        })
    })?;
    let tight = "copy = { keep_free = \"1000 PB\" }\n";
    cluster.set_policy(tight)?;
    let file = cluster.file();
    cluster.ctl.change("alice", &["apply", "-f", &file, "-m", "keep much free"])?.expect(DONE)?;
    let master = cluster.master_of("store1")?;
    let move_it = ["move", "slot", &master, "-m", "look"];
    let refused = cluster.ctl.insist(|| cluster.ctl.json("alice", &move_it))?.expect(FAILED)?;
    assert!(refused.stderr.contains("its disk has 0 B to spare"), "{}", refused.stderr);
    assert!(refused.stderr.contains("the copy takes"), "{}", refused.stderr);
    cluster.set_policy("copy = { keep_free = \"0%\" }\n")?;
    cluster.ctl.change("alice", &["apply", "-f", &file, "-m", "as before"])?.expect(DONE)?;
    cluster.ctl.change("alice", &move_it)?.expect(DONE)?;
    cluster.wait_served()
}

/// The agents' own measure of this machine, from its kernel: engines that are written to do work, their hosts have a load, and the
/// sheet of a drain says what it would be elsewhere.
#[test]
fn busy_engines_and_their_hosts_have_a_load_and_a_drain_forecasts_it() -> Outcome<()> {
    let cluster = Cluster::for_test(shape())?;
    let mut writers = Writers::start(&cluster, Duration::from_millis(1))?;
    let busy = busy_host(&cluster)?;
    let number = |(_, slot): (_, SlotId)| (slot.host.as_str() == host(busy)).then_some(u64::from(slot.number));
    let masters: Vec<u64> = cluster.routes()?.into_iter().filter_map(number).collect();
    let works = |n: u8| -> Outcome<bool> {
        let seen = cluster.look(&["evidence", "host", &host(n)])?;
        let load = &seen["load"]["Known"]["value"];
        let engines = load["engines"].as_array().cloned().unwrap_or_default();
        let works = |number: &u64| {
            engines.iter().any(|e| e["slot"].as_u64() == Some(*number) && e["busy"]["cpu_ppm"].as_u64() > Some(0))
        };
        Ok(load["machine"]["cpu_ppm"].as_u64() > Some(0) && (n != busy || masters.iter().all(works)))
    };
    wait_until("every host has a load, and each master a share of it", AT_LAST, || {
        (1..=cluster.shape.hosts).all(|n| works(n).unwrap_or(false))
    })?;
    let hosts = cluster.look(&["hosts"])?;
    let loads: Vec<Option<u64>> =
        hosts["hosts"].as_array().into_iter().flatten().map(|h| h["load_ppm"]["Known"]["value"].as_u64()).collect();
    assert!(!loads.is_empty() && loads.iter().all(|load| *load > Some(0)), "{loads:?}");
    let proposal = cluster.ctl.propose("alice", &["drain", "host", &host(busy), "-m", "look"])?;
    let document = &proposal.json["document"];
    let forecast = document["load_forecast"].as_array().cloned().unwrap_or_default();
    let gains: Vec<_> = forecast.iter().filter(|one| one["comes"].as_u64() > Some(0)).collect();
    assert!(!gains.is_empty(), "{document}");
    for one in gains {
        let ppm = |key: &str| one[key]["Known"]["value"].as_u64();
        assert!(ppm("then_ppm") >= ppm("now_ppm") && ppm("now_ppm") > Some(0), "{one}");
    }
    let notes = document["notes"].to_string();
    assert!(notes.contains(", load ") && !notes.contains("load afterwards UNKNOWN"), "{notes}");
    writers.stop()?;
    verify(&writers)?.must_be_in_order()
}

#[test]
fn a_drain_ends_although_the_leader_is_killed_in_the_middle() -> Outcome<()> {
    let mut cluster = Cluster::for_test(shape())?;
    let mut writers = Writers::start(&cluster, PAUSE)?;
    let n = busy_host(&cluster)?;
    let leader = cluster.leader()?;
    let before = writers.routes();
    let proposal = cluster.ctl.propose("alice", &["drain", "host", &host(n), "-m", "new fan"])?;
    cluster.ctl.approve_and_go("alice", &proposal)?.expect(DONE)?;
    wait_until("the first master leaves", AT_LAST, || writers.routes() != before)?;
    cluster.kill_coordinator(leader)?;
    let said = cluster.ctl.run("alice", &["plan", "watch", &proposal.plan])?.expect(DONE)?;
    must_be_drained(&cluster, n, &said.stdout)?;
    assert_ne!(cluster.leader()?, leader, "a dead coordinator does not lead");
    cluster.start_coordinator(leader)?;
    writers.wait_progress()?;
    writers.stop()?;
    verify(&writers)?.must_be_in_order()
}

#[test]
fn an_aborted_drain_stops_where_it_is_safe_and_is_undone() -> Outcome<()> {
    let cluster = Cluster::for_test(shape())?;
    let mut writers = Writers::start(&cluster, PAUSE)?;
    let n = busy_host(&cluster)?;
    let masters = cluster.masters_on(n)?;
    let proposal = cluster.ctl.propose("alice", &["drain", "host", &host(n), "-m", "wrong host"])?;
    cluster.ctl.approve_and_go("alice", &proposal)?.expect(DONE)?;
    let aborted = cluster.ctl.json("alice", &["plan", "abort", &proposal.plan, "-m", "the wrong one"])?;
    // On a fast machine the drain may be over before the abort comes: then it is refused, and says so.
    let ended = cluster.ctl.watch(&proposal.plan)?;
    assert!([DONE, PART_WAY].contains(&ended.code), "after {aborted:?}: {ended:?}");
    // R18: whatever was committed went forward, the rest went back: every store is served, before and after the undo.
    writers.wait_progress()?;
    cluster.ctl.change("alice", &["undrain", "host", &host(n), "-m", "back"])?.expect(DONE)?;
    assert_eq!(cluster.masters_on(n)?, masters, "the same masters are there");
    cluster.wait_served()?;
    writers.stop()?;
    verify(&writers)?.must_be_in_order()
}
