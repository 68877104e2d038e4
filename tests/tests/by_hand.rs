//! A person at the machine, when no coordinator is left (R19).
//!
//! What always holds: only the copy that was master is started, at the epoch it was master at; the coordinators that come
//! back tell of it in their audit; where another one had been made master, the one started by hand is fenced, and the loss
//! case lists exactly what it alone acknowledged.

use slot_engine::journal::client::ClientError;
use slot_tests::cluster::Cluster;
use slot_tests::ctl::{DONE, FAILED, Said, USAGE};
use slot_tests::loss;
use slot_tests::shape::{Shape, host, host_number};
use slot_tests::verify::verify;
use slot_tests::writer::{Route, Writers};
use slot_tests::{AT_LAST, Failure, Outcome, engines, wait_for, wait_until};
use slot_types::ids::{ClientName, RecordId, StoreName};
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

const PAUSE: Duration = Duration::from_millis(5);
const STORE: &str = "store1";

fn start(cluster: &Cluster, n: u8, slot: &str, epoch: u64, confirm: &str) -> Outcome<Said> {
    let epoch = epoch.to_string();
    let ask = ["start-master", slot, "--epoch", &epoch, "--by", "alice", "-m", "nobody answers", "--confirm", confirm];
    cluster.at_machine(n, &[&ask[..], &["--disk-is-current"]].concat())
}

/// What the audit says of branches, once it says anything.
fn audited(cluster: &Cluster) -> Outcome<String> {
    wait_for("the audit tells of the branch", AT_LAST, || {
        let all = cluster.ctl.run("alice", &["audit"]).ok()?.stdout;
        all.contains("adopted").then_some(all)
    })
}

#[test]
fn r19_a_person_starts_the_dead_master_and_the_coordinators_hear_of_it() -> Outcome<()> {
    let mut cluster = Cluster::for_test(Shape::small())?;
    let mut writers = Writers::start(&cluster, PAUSE)?;
    let routes = writers.routes();
    let (slot, epoch) = (cluster.master_of(STORE)?, cluster.epoch_of(STORE)?);
    let n = host_number(&slot).ok_or("a slot names its host")?;
    let socket = std::fs::metadata(cluster.host_folder(n).join("local.sock"))?;
    assert_eq!(socket.mode() & 0o777, 0o600, "nobody else may ask");

    // While a coordinator leads, it starts what died, and nobody else.
    let refused = start(&cluster, n, &slot, epoch, &slot)?.expect(FAILED)?;
    assert!(refused.stderr.contains("a coordinator that leads"), "{}", refused.stderr);

    cluster.kill_coordinators()?;
    engines::kill(&cluster.engine_on(&slot)?)?;
    let log = writers.log(&StoreName::new(STORE)?)?.clone();
    let status = wait_for("the agent offers a start by hand", AT_LAST, || {
        let status = cluster.at_machine(n, &["status"]).ok()?.json();
        let slots = status["slots"].as_array()?;
        slots.iter().find(|line| line["slot"] == slot.as_str() && line["may_start"]["Ok"].is_null()).cloned()
    })?;
    assert_eq!((status["store"].as_str(), status["role"].as_str()), (Some(STORE), Some("master")), "{status}");

    // Nothing is started by a slip: another epoch, another slot typed, another machine.
    for (said, words) in [
        (start(&cluster, n, &slot, epoch + 1, &slot)?, "the ledger holds epoch"),
        (start(&cluster, n, &slot, epoch, &format!("{}/99", host(n)))?, "was not typed once more"),
        (start(&cluster, n % 3 + 1, &slot, epoch, &slot)?, "this machine is"),
    ] {
        let said = said.expect(FAILED)?;
        assert!(said.stderr.contains(words), "{}", said.stderr);
    }
    cluster.at_machine(n, &["start-master", &slot])?.expect(USAGE)?;
    let at = epoch.to_string();
    let unvouched = ["start-master", &slot, "--epoch", &at, "--by", "alice", "-m", "why", "--confirm", &slot];
    let said = cluster.at_machine(n, &unvouched)?.expect(FAILED)?;
    assert!(said.stderr.contains("--disk-is-current"), "S2: {}", said.stderr);
    let count = log.count();
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(log.count(), count, "the agent starts nothing of itself");

    let started = start(&cluster, n, &slot, epoch, &slot)?.expect(DONE)?.json();
    assert_eq!(started["start"]["state"], "Serving", "{started}");
    writers.wait_progress()?;
    assert!(log.count() > count, "clients are served without any coordinator");

    cluster.start_coordinators()?;
    cluster.wait_served()?;
    let audit = audited(&cluster)?;
    assert!(audit.contains(&format!("branch {STORE}@{epoch}+1")), "{audit}");
    assert!(audit.contains("alice (user ") && audit.contains("nobody answers"), "{audit}");
    assert!(audit.contains("adopted: no epoch above"), "{audit}");
    cluster.ctl.run("alice", &["audit", "verify"])?.expect(DONE)?;
    let events = cluster.ctl.run("alice", &["events"])?.expect(DONE)?;
    assert!(events.stdout.contains("by hand"), "{}", events.stdout);
    assert_eq!(writers.routes(), routes, "same masters, same epochs");
    writers.wait_progress()?;
    writers.stop()?;
    verify(&writers)?.must_be_whole()
}

/// Writes one record with a route of before.
fn append(
    cluster: &Cluster,
    writers: &Writers,
    client: &ClientName,
    route: &Route,
    id: &RecordId,
) -> Outcome<Result<(), ClientError>> {
    let caller = cluster.caller(&format!("client-{client}"))?;
    writers.runtime().block_on(async {
        let journal = caller.journal(&StoreName::new(STORE)?, &route.to)?;
        let append = journal.append(route.epoch, id.clone(), vec![7], Duration::from_secs(5)).await;
        Ok::<_, Failure>(append.map(drop))
    })
}

#[test]
fn r19_one_started_by_hand_past_a_failover_is_fenced_and_its_own_records_are_listed() -> Outcome<()> {
    let mut cluster = Cluster::for_test(Shape { stores: 1, ..Shape::small() })?;
    let mut writers = Writers::start(&cluster, PAUSE)?;
    let store = StoreName::new(STORE)?;
    let (slot, epoch) = (cluster.master_of(STORE)?, cluster.epoch_of(STORE)?);
    let n = host_number(&slot).ok_or("a slot names its host")?;
    let name = host(n);
    let old = writers.routes().get(&store).cloned().ok_or("store1 has a route")?;
    cluster.kill_host(n)?;
    loss::wait_silent(&cluster, n)?;
    cluster.ctl.json("alice", &["off", "host", &name, "--how", "unplugged", "-m", "dead"])?.expect(DONE)?;
    let sheet = cluster.ctl.propose("alice", &["failover", "host", &name, "-m", "it is dead"])?;
    let _ = cluster.ctl.approve("bob", &sheet)?;
    cluster.ctl.approve("carol", &sheet)?.expect(DONE)?;
    writers.wait_progress()?;

    // Now the coordinators are gone, and somebody switches the old machine on who knows nothing of the failover.
    cluster.kill_coordinators()?;
    cluster.restart_host(n)?;
    let started = wait_for("the agent answers", AT_LAST, || {
        let said = start(&cluster, n, &slot, epoch, &slot).ok()?;
        (said.code == DONE).then(|| said.json())
    })?;
    assert_eq!(started["start"]["state"], "Serving", "{started}");
    let (client, _) = writers.logs().get(&store).ok_or("store1 has a writer")?.clone();
    let stranded = RecordId { client: client.clone(), sequence: 1 << 40 };
    append(&cluster, &writers, &client, &old, &stranded)??;

    cluster.start_coordinators()?;
    let audit = audited(&cluster)?;
    assert!(audit.contains("not adopted: epoch"), "{audit}");
    let listed = loss::listed(&cluster, n, 1)?;
    let own = listed.records.get(&store).ok_or("the loss case lists something")?;
    assert!(own.contains(&stranded), "what it alone acknowledged is listed: {own:?}");
    let late = RecordId { client: client.clone(), sequence: (1 << 40) + 1 };
    wait_until("the one started by hand refuses", AT_LAST, || {
        matches!(append(&cluster, &writers, &client, &old, &late), Ok(Err(ClientError::Refused(_))))
    })?;
    for (case, _) in &listed.open {
        cluster.ctl.change("alice", &["loss", "reinject", case, "-m", "all of it"])?.expect(DONE)?;
    }
    cluster.wait_served()?;
    writers.wait_progress()?;
    cluster.ctl.run("alice", &["audit", "verify"])?.expect(DONE)?;
    writers.stop()?;
    let verdicts = verify(&writers)?;
    assert!(verdicts.0.values().all(|verdict| verdict.lost.is_empty()), "nothing acknowledged is lost");
    Ok(())
}
