//! The coordinators' disks are gone, and come back from a backup (R10, S16).
//!
//! What always holds: the data plane goes on; nothing is started, planned or ordered before every host was re-adopted; then the
//! masters are those that the hosts know of, at their epochs, and every epoch given from then on is of a higher generation.

use serde_json::Value;
use slot_tests::cluster::Cluster;
use slot_tests::ctl::{DONE, FAILED};
use slot_tests::shape::Shape;
use slot_tests::verify::verify;
use slot_tests::writer::Writers;
use slot_tests::{AT_LAST, Outcome, engines, wait_for, wait_until};
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

const PAUSE: Duration = Duration::from_millis(5);
const STORE: &str = "store1";

/// Hands the store over to its other copy.
fn hand_over(cluster: &Cluster) -> Outcome<()> {
    let from = cluster.master_of(STORE)?;
    // Right after a restore the replicas are told again whom they follow (R16); until then nothing is begun.
    wait_for("a hand-over is done", AT_LAST, || {
        let said = cluster.ctl.change("alice", &["failover", "slot", &from, "-m", "after the backup"]).ok()?;
        (said.code == DONE).then_some(())
    })?;
    assert_ne!(cluster.master_of(STORE)?, from);
    Ok(())
}

/// The commands that `slotctl status` says to type next for hosts that were not re-adopted.
fn commands(cluster: &Cluster) -> Option<Vec<Vec<String>>> {
    let status = cluster.look(&["status"]).ok()?;
    let next = |trouble: &Value| trouble["next"].as_str().map(str::to_owned);
    let all: Vec<String> = status["needs_you"].as_array()?.iter().filter_map(next).collect();
    let admits = all.iter().filter(|command| command.starts_with("slotctl admit host"));
    Some(admits.map(|command| command.split(' ').skip(1).map(str::to_owned).collect()).collect())
}

/// Types them, and answers what the first refusal said, if there was one.
fn re_adopt(cluster: &Cluster) -> Outcome<Option<String>> {
    let hosts = usize::from(cluster.shape.hosts);
    let commands = wait_for("status names the commands", AT_LAST, || {
        commands(cluster).filter(|commands| commands.len() == hosts)
    })?;
    for command in commands {
        let words: Vec<&str> =
            command.iter().map(|word| if word == "REASON" { "after the fire" } else { word }).collect();
        let said = cluster.ctl.json("alice", &words)?;
        if said.code != DONE {
            return Ok(Some(said.stderr));
        }
    }
    Ok(None)
}

#[test]
fn r10_a_quorum_that_was_lost_comes_back_from_a_backup_and_gives_no_epoch_twice() -> Outcome<()> {
    let mut cluster = Cluster::for_test(Shape::small())?;
    let mut writers = Writers::start(&cluster, PAUSE)?;
    let file = cluster.folder().join("fm1.backup").display().to_string();
    let taken = cluster.ctl.json("alice", &["backup", "--out", &file])?.expect(DONE)?.json();
    assert_eq!((taken["schema"].as_str(), taken["generation"].as_u64()), (Some("backup"), Some(0)), "{taken}");
    assert_eq!(std::fs::metadata(&file)?.mode() & 0o777, 0o600);
    cluster.ctl.json("alice", &["backup", "--out", &file])?.expect(FAILED)?;
    for _ in 0..3 {
        hand_over(&cluster)?;
    }
    let (master, epoch) = (cluster.master_of(STORE)?, cluster.epoch_of(STORE)?);
    writers.wait_progress()?;
    let routes = writers.routes();

    // A disk that is there is never written over.
    cluster.kill_coordinators()?;
    assert!(cluster.restore_coordinators(&file, None).is_err());
    cluster.lose_coordinator_disks()?;
    cluster.restore_coordinators(&file, None)?;
    cluster.start_coordinators()?;
    writers.wait_progress()?;

    // Nothing moves: no plan is made, and a master that died stays down.
    cluster.leader()?;
    engines::kill(&cluster.engine_on(&master)?)?;
    let refused = wait_for("the restored leader answers", AT_LAST, || {
        let said = cluster.ctl.json("alice", &["drain", "host", "imap1", "-m", "no"]).ok()?;
        said.stderr.contains("re-adopted").then_some(said)
    })?;
    assert_eq!(refused.code, FAILED, "{refused:?}");
    std::thread::sleep(Duration::from_secs(6));
    assert!(cluster.engine_on(&master).is_err(), "nothing is started before it is known where the masters are");

    assert_eq!(re_adopt(&cluster)?, None);
    cluster.wait_served()?;
    writers.wait_progress()?;
    assert_eq!((cluster.master_of(STORE)?, cluster.epoch_of(STORE)?), (master, epoch), "what the hosts knew");
    assert_eq!(writers.routes(), routes, "no client was sent anywhere else");
    cluster.ctl.run("alice", &["audit", "verify"])?.expect(DONE)?;
    let audit = cluster.ctl.run("alice", &["audit"])?.expect(DONE)?.stdout;
    assert!(audit.contains("restored from a backup") && audit.contains("re-adopt imap1"), "{audit}");

    // The next epoch is of this generation.
    hand_over(&cluster)?;
    let view = cluster.look(&["show", "store", STORE])?;
    assert_eq!(
        (view["epoch"]["generation"].as_u64(), view["epoch"]["n"].as_u64()),
        (Some(1), Some(epoch + 1)),
        "{view}"
    );
    writers.wait_progress()?;

    // The same backup once more: its generation was used, which the hosts know; another one is needed, and is enough.
    cluster.kill_coordinators()?;
    cluster.lose_coordinator_disks()?;
    cluster.restore_coordinators(&file, None)?;
    cluster.start_coordinators()?;
    let refused = re_adopt(&cluster)?.ok_or("a generation was used twice")?;
    assert!(refused.contains("--generation 2"), "{refused}");
    cluster.kill_coordinators()?;
    cluster.lose_coordinator_disks()?;
    cluster.restore_coordinators(&file, Some(2))?;
    cluster.start_coordinators()?;
    assert_eq!(re_adopt(&cluster)?, None);
    cluster.wait_served()?;
    hand_over(&cluster)?;
    wait_until("the epoch is of the second generation", AT_LAST, || {
        cluster.look(&["show", "store", STORE]).is_ok_and(|view| view["epoch"]["generation"] == 2)
    })?;
    writers.wait_progress()?;
    writers.stop()?;
    verify(&writers)?.must_be_whole()
}
