//! Front ends: maps rendered and acknowledged, and hand-overs that wait for that.
//!
//! What always holds: a plan that moved a route is not done before every front end serves it; a front end that is away stops no
//! promotion; what was acknowledged is in the map on disk and stays there, over the deaths of everybody.

use slot_tests::cluster::Cluster;
use slot_tests::ctl::DONE;
use slot_tests::shape::Shape;
use slot_tests::verify::verify;
use slot_tests::writer::Writers;
use slot_tests::{AT_LAST, Outcome, wait_until};
use std::time::Duration;

const PAUSE: Duration = Duration::from_millis(10);

fn shape(front_ends: u8) -> Shape {
    Shape { front_ends, maps: vec!["json"], ..Shape::small() }
}

/// Whether the map of front end `n` sends the clients of a store to this slot.
fn sends_to(cluster: &Cluster, n: u8, store: &str, slot: &str) -> bool {
    cluster.mapped(n, store).is_ok_and(|line| line["slot"] == slot)
}

#[test]
fn a_hand_over_is_done_when_every_front_end_serves_it_and_none_stops_a_promotion() -> Outcome<()> {
    let cluster = Cluster::for_test(shape(2))?;
    let _one = cluster.start_front_end(1, "")?;
    let two = cluster.start_front_end(2, "")?;
    let mut writers = Writers::start(&cluster, PAUSE)?;
    for n in [1, 2] {
        cluster.wait_front_end(n)?;
        for store in ["store1", "store2", "store3"] {
            assert!(sends_to(&cluster, n, store, &cluster.master_of(store)?), "{store} on fe{n}");
        }
    }
    // Both follow: done, and both maps say so by then.
    let from = cluster.master_of("store1")?;
    cluster.ctl.change("alice", &["failover", "slot", &from, "-m", "test"])?.expect(DONE)?;
    let to = cluster.master_of("store1")?;
    assert!(from != to && sends_to(&cluster, 1, "store1", &to) && sends_to(&cluster, 2, "store1", &to));
    // One is away: the store moves and is written to all the same, the plan waits and says for whom.
    drop(two);
    let proposal = cluster.ctl.propose("alice", &["failover", "slot", &to, "-m", "test"])?;
    cluster.ctl.approve_and_go("alice", &proposal)?.expect(DONE)?;
    wait_until("fe1 serves the store where it was before", AT_LAST, || sends_to(&cluster, 1, "store1", &from))?;
    writers.wait_progress()?;
    let plan = || cluster.look(&["plan", "show", &proposal.plan]);
    wait_until("the plan waits for the front end, and says so", AT_LAST, || {
        plan().is_ok_and(|plan| plan.to_string().contains("front end fe2 does not serve revision"))
    })?;
    assert!(sends_to(&cluster, 2, "store1", &to), "nobody is there to render it");
    wait_until("somebody is told of fe2", AT_LAST, || {
        cluster.look(&["status"]).is_ok_and(|status| status["needs_you"].to_string().contains("front end fe2"))
    })?;
    let two = cluster.start_front_end(2, "")?;
    cluster.ctl.run("alice", &["plan", "watch", &proposal.plan])?.expect(DONE)?;
    assert!(sends_to(&cluster, 2, "store1", &from));
    drop(two);
    writers.stop()?;
    verify(&writers)?.must_be_in_order()
}

#[test]
fn what_is_acknowledged_survives_everybody_and_is_served_without_coordinators() -> Outcome<()> {
    let mut cluster = Cluster::for_test(shape(1))?;
    let one = cluster.start_front_end(1, "")?;
    cluster.wait_front_end(1)?;
    let acknowledged = |cluster: &Cluster| -> Outcome<u64> {
        let line = cluster.front_end_status(1)?;
        line["seen"]["Known"]["value"]["acknowledged"][1].as_u64().ok_or_else(|| format!("nothing: {line}").into())
    };
    let before = acknowledged(&cluster)?;
    let map = cluster.map(1, "json")?;
    for n in 1..=3 {
        cluster.kill_coordinator(n)?;
    }
    drop(one);
    // Somebody spoils the map; with nobody to ask, it is rendered from what was acknowledged.
    std::fs::write(cluster.front_end_folder(1).join("json"), "gone")?;
    let one = cluster.start_front_end(1, "")?;
    wait_until("the map is rendered without coordinators", AT_LAST, || cluster.map(1, "json").is_ok_and(|m| m == map))?;
    for n in 1..=3 {
        cluster.start_coordinator(n)?;
    }
    cluster.wait_front_end(1)?;
    assert!(acknowledged(&cluster)? >= before, "it never goes back");
    let from = cluster.master_of("store2")?;
    let leader = cluster.leader()?;
    let proposal = cluster.ctl.propose("alice", &["failover", "slot", &from, "-m", "test"])?;
    drop(one);
    cluster.ctl.approve_and_go("alice", &proposal)?.expect(DONE)?;
    // The next leader waits for the front end as this one did.
    wait_until("the store is handed over", AT_LAST, || cluster.master_of("store2").is_ok_and(|at| at != from))?;
    cluster.kill_coordinator(leader)?;
    cluster.leader()?;
    let _one = cluster.start_front_end(1, "")?;
    cluster.ctl.run("alice", &["plan", "watch", &proposal.plan])?.expect(DONE)?;
    assert!(sends_to(&cluster, 1, "store2", &cluster.master_of("store2")?));
    cluster.start_coordinator(leader)
}

#[test]
fn a_reload_that_fails_is_shown_and_its_line_can_be_taken_away() -> Outcome<()> {
    let cluster = Cluster::for_test(shape(1))?;
    let folder = cluster.front_end_folder(1);
    let maps = format!(
        "[map.json]\npath = \"{0}/json\"\nreload = [\"/bin/sh\", \"-c\", \"test -e {0}/well || {{ echo syntax >&2; exit 7; }}\"]\n",
        folder.display()
    );
    let _one = cluster.start_front_end(1, &maps)?;
    let said = |text: &str| cluster.look(&["status"]).is_ok_and(|status| status.to_string().contains(text));
    wait_until("the failed reload is shown", AT_LAST, || said("exit code 7: syntax"))?;
    assert_eq!(cluster.front_end_status(1)?["serves_all"], false, "nothing is acknowledged");
    std::fs::write(folder.join("well"), "")?;
    cluster.wait_front_end(1)?;
    std::fs::remove_file(folder.join("well"))?;
    // It fails again, and a person gives it up: the waiting plan ends.
    let from = cluster.master_of("store1")?;
    let proposal = cluster.ctl.propose("alice", &["failover", "slot", &from, "-m", "test"])?;
    cluster.ctl.approve_and_go("alice", &proposal)?.expect(DONE)?;
    wait_until("the failed reload is shown again", AT_LAST, || said("exit code 7: syntax"))?;
    let text = std::fs::read_to_string(cluster.file())?;
    let without: Vec<&str> = text.lines().filter(|line| !line.contains("fe1") && *line != "[frontends]").collect();
    std::fs::write(cluster.file(), without.join("\n"))?;
    cluster.ctl.change("alice", &["apply", "-f", &cluster.file(), "-m", "fe1 is gone"])?.expect(DONE)?;
    cluster.ctl.run("alice", &["plan", "watch", &proposal.plan])?.expect(DONE)?;
    Ok(())
}
