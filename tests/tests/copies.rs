//! Copies come and go on real machines: a host is emptied and filled again, a bare host gets its copies back.
//!
//! What always holds: while copies move, clients write and nothing that was acknowledged is lost; an emptied host holds no
//! data; a copy counts only once it holds everything.

use slot_tests::cluster::Cluster;
use slot_tests::ctl::{DONE, FAILED, USAGE};
use slot_tests::shape::{Shape, host};
use slot_tests::verify::verify;
use slot_tests::writer::Writers;
use slot_tests::{AT_LAST, Outcome, wait_for, wait_until};
use std::path::PathBuf;
use std::time::Duration;

const PAUSE: Duration = Duration::from_millis(10);

/// Six stores of two copies on four hosts of six slots: any host can be emptied.
fn shape() -> Shape {
    Shape { hosts: 4, slots: 6, stores: 6, ..Shape::small() }
}

/// The folders of copies on host `n`, those that are about to be removed too.
fn data_on(cluster: &Cluster, n: u8) -> Outcome<Vec<PathBuf>> {
    let mut found = Vec::new();
    for slot in std::fs::read_dir(cluster.host_folder(n).join("slots"))? {
        for entry in std::fs::read_dir(slot?.path())? {
            let path = entry?.path();
            if path.is_dir() {
                found.push(path);
            }
        }
    }
    Ok(found)
}

/// The copies of every store, each with its role and state, as the coordinators have them.
fn copies(cluster: &Cluster) -> Outcome<Vec<(String, String, bool)>> {
    let mut all = Vec::new();
    for n in 1..=cluster.shape.stores {
        let store = format!("store{n}");
        let view = cluster.look(&["show", "store", &store])?;
        for copy in view["copies"].as_array().ok_or("a store has copies")? {
            let state = copy["copy"]["copy"]["state"].as_str().unwrap_or_default().to_owned();
            let slot = copy["slot"].as_str().unwrap_or_default().to_owned();
            all.push((format!("{store} {slot}"), state, copy["copy"]["copy"]["whole"] == true));
        }
    }
    Ok(all)
}

fn all_whole(cluster: &Cluster) -> Outcome<bool> {
    let all = copies(cluster)?;
    Ok(all.len() == usize::from(cluster.shape.stores) * 2
        && all.iter().all(|(_, state, whole)| state == "Serving" && *whole))
}

#[test]
fn an_emptied_host_holds_nothing_and_is_filled_again() -> Outcome<()> {
    let mut cluster = Cluster::for_test(shape())?;
    let mut writers = Writers::start(&cluster, PAUSE)?;
    writers.wait_progress()?;
    let leader = cluster.leader()?;
    let proposal = cluster.ctl.propose("alice", &["drain", "host", &host(1), "--empty", "-m", "to be replaced"])?;
    cluster.ctl.approve_and_go("alice", &proposal)?.expect(DONE)?;
    // The leader dies while copies are on their way.
    wait_until("the first copy is destroyed, or all are", AT_LAST, || {
        data_on(&cluster, 1).is_ok_and(|left| left.len() < 3)
    })?;
    cluster.kill_coordinator(leader)?;
    let said = cluster.ctl.run("alice", &["plan", "watch", &proposal.plan])?.expect(DONE)?;
    let last = said.stdout.trim_end().lines().last().unwrap_or_default().to_owned();
    assert!(last.starts_with(&format!("{} is SAFE TO SWITCH OFF", host(1))), "last line: {last}");
    cluster.start_coordinator(leader)?;
    assert_eq!(cluster.look(&["show", "host", &host(1)])?["declared"], "Empty");
    assert_eq!((data_on(&cluster, 1)?, cluster.engines(1).len()), (Vec::new(), 0), "its data is gone");
    assert!(all_whole(&cluster)?, "{:?}", copies(&cluster)?);
    writers.wait_progress()?;
    // It comes back without copies; rebalancing gives it some.
    cluster.ctl.change("alice", &["undrain", "host", &host(1), "-m", "new machine"])?.expect(DONE)?;
    cluster.ctl.change("alice", &["rebalance", "-m", "use it"])?.expect(DONE)?;
    assert!(!data_on(&cluster, 1)?.is_empty(), "it holds copies again");
    assert!(all_whole(&cluster)?, "{:?}", copies(&cluster)?);
    cluster.wait_served()?;
    writers.wait_progress()?;
    writers.stop()?;
    verify(&writers)?.must_be_in_order()
}

#[test]
fn a_bare_host_gets_its_copies_back() -> Outcome<()> {
    let mut cluster = Cluster::for_test(shape())?;
    let mut writers = Writers::start(&cluster, PAUSE)?;
    writers.wait_progress()?;
    let (n, name) = (2, host(2));
    let held = data_on(&cluster, n)?.len();
    assert!(held > 0);
    cluster.ctl.change("alice", &["drain", "host", &name, "-m", "new disks"])?.expect(DONE)?;
    cluster.kill_host(n)?;
    std::fs::remove_dir_all(cluster.host_folder(n))?;
    std::fs::create_dir_all(cluster.host_folder(n))?;
    cluster.restart_host(n)?;
    // S2: nothing is ordered there before a person says that this is its disk now.
    let presented = wait_for("the new disk is presented", AT_LAST, || {
        let view = cluster.look(&["show", "host", &name]).ok()?;
        view["quarantined"]["OtherDisk"]["presented"].as_str().map(str::to_owned)
    })?;
    let rebuild = ["rebuild", "host", &name, "-m", "new disks"];
    cluster
        .ctl
        .json("alice", &["admit", "host", &name, "--incarnation", &presented, "-m", "new disks"])?
        .expect(DONE)?;
    cluster.ctl.change("alice", &["undrain", "host", &name, "-m", "new disks"])?.expect(DONE)?;
    assert!(!all_whole(&cluster)?, "R16: nothing counts on a disk that was replaced");
    cluster.ctl.change("alice", &rebuild)?.expect(DONE)?;
    assert!(all_whole(&cluster)?, "{:?}", copies(&cluster)?);
    assert_eq!(data_on(&cluster, n)?.len(), held, "the same slots hold the same stores");
    // What was built is as good as any: its host takes masters, and nothing is lost by it.
    let master = cluster.master_of("store1")?;
    let replica =
        cluster.copies_of("store1")?.into_iter().find(|slot| *slot != master).ok_or("store1 has a replica")?;
    cluster.ctl.change("alice", &["failover", "slot", &master, "--to", &replica, "-m", "try it"])?.expect(DONE)?;
    writers.wait_progress()?;
    let again = cluster.ctl.json("alice", &rebuild)?;
    assert_eq!(again.code, DONE, "nothing is left to do: {again:?}");
    writers.stop()?;
    verify(&writers)?.must_be_in_order()
}

#[test]
fn a_copy_goes_where_it_is_told_to_and_not_where_it_must_not() -> Outcome<()> {
    let cluster = Cluster::for_test(shape())?;
    let mut writers = Writers::start(&cluster, PAUSE)?;
    writers.wait_progress()?;
    let master = cluster.master_of("store1")?;
    let copies = cluster.copies_of("store1")?;
    let other = copies.iter().find(|slot| **slot != master).ok_or("store1 has a replica")?;
    let beside = format!("{}/6", other.split('/').next().unwrap_or_default());
    let line = ["move", "slot", &master, "--to", &beside, "-m", "try it"];
    let refused = cluster.ctl.json("alice", &line)?.expect(FAILED)?;
    assert!(refused.stderr.contains("holds a copy of it in the same domain"), "{}", refused.stderr);
    let free = (1..=4).map(host).find(|name| !copies.iter().any(|slot| slot.starts_with(&format!("{name}/"))));
    let to = format!("{}/6", free.ok_or("a host without a copy")?);
    cluster.ctl.change("alice", &["move", "slot", &master, "--to", &to, "-m", "try it"])?.expect(DONE)?;
    assert_eq!(cluster.master_of("store1")?.replace("/06", "/6"), to.replace("/06", "/6"), "the master went along");
    writers.wait_progress()?;
    writers.stop()?;
    verify(&writers)?.must_be_in_order()
}

#[test]
fn a_retired_store_is_gone_and_the_same_file_does_not_bring_it_back() -> Outcome<()> {
    let cluster = Cluster::for_test(shape())?;
    let slots = cluster.copies_of("store2")?;
    let proposal = cluster.ctl.propose("alice", &["retire", "store", "store2", "-m", "customer left"])?;
    let plain = cluster.ctl.approve("alice", &proposal)?.expect(USAGE)?;
    assert!(plain.stderr.contains("--destroy STORE"), "{}", plain.stderr);
    let yes = ["plan", "approve", &proposal.plan, "--digest", &proposal.digest, "--destroy", "store2", "-m", "agreed"];
    cluster.ctl.json("alice", &yes)?.expect(DONE)?;
    cluster.ctl.run("alice", &["show", "store", "store2"])?.expect(FAILED)?;
    for slot in &slots {
        assert_eq!(cluster.look(&["show", "slot", slot])?["store"], serde_json::Value::Null, "{slot} is free");
        let host: u8 = slot.trim_start_matches("imap").split('/').next().unwrap_or_default().parse()?;
        let number = slot.split('/').next_back().unwrap_or_default();
        let left = data_on(&cluster, host)?;
        let here = |path: &&PathBuf| path.parent().is_some_and(|p| p.ends_with(number));
        assert!(!left.iter().any(|path| here(&path)), "{left:?}");
    }
    assert!(!cluster.routes()?.keys().any(|store| store.as_str() == "store2"));
    // R11: the line that is still in the file makes nothing, and is named.
    let again = cluster.ctl.run("alice", &["apply", "-f", &cluster.file(), "-m", "as it was"])?.expect(DONE)?;
    assert!(again.stdout.contains("store2, retired for good"), "{}", again.stdout);
    Ok(())
}
