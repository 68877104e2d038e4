//! A host dies: the sheet, the people, the loss cases and the return.
//!
//! What always holds: without a fence or a person's word nothing is promoted; the requester is not one of the two people;
//! the loss cases list exactly what clients miss; a returning master takes no write.

use slot_engine::journal::client::ClientError;
use slot_tests::cluster::Cluster;
use slot_tests::ctl::{DONE, FAILED, NEEDS_APPROVAL};
use slot_tests::loss::{self, Records};
use slot_tests::shape::{Shape, host, host_number};
use slot_tests::verify::verify;
use slot_tests::writer::{Routes, Writers};
use slot_tests::{AT_LAST, Outcome, wait_for, wait_until};
use slot_types::ids::RecordId;
use std::time::{Duration, Instant};

const PAUSE: Duration = Duration::from_millis(5);

fn shape() -> Shape {
    Shape { stores: 6, ..Shape::small() }
}

/// A host died, its masters were failed over.
struct Failed {
    cluster: Cluster,
    writers: Writers,
    host: u8,
    masters: usize,
    missing: Records,
    routes_before: Routes,
}

/// Kills a host with masters, and takes every road to the failover of all of them.
fn fail_over_a_host() -> Outcome<Failed> {
    let mut cluster = Cluster::for_test(shape())?;
    let writers = Writers::start(&cluster, PAUSE)?;
    let n = host_number(&cluster.master_of("store1")?).ok_or("a slot names its host")?;
    let name = host(n);
    let masters = cluster.masters_on(n)?.len();
    let routes_before = writers.routes();
    loss::kill_with_lag(&mut cluster, n)?;
    loss::wait_silent(&cluster, n)?;
    let ask = ["failover", "host", &name, "-m", "it is dead"];
    let refused = cluster.ctl.json("alice", &ask)?.expect(FAILED)?;
    assert!(refused.stderr.contains("slotctl off host"), "the refusal names the way: {}", refused.stderr);
    cluster.ctl.json("alice", &["off", "host", &name, "--how", "unplugged", "-m", "dead"])?.expect(DONE)?;
    let sheet = cluster.ctl.propose("alice", &ask)?;
    assert_eq!(sheet.json["people_needed"].as_u64().or(sheet.json["document"]["people"].as_u64()), Some(2));
    let own = cluster.ctl.approve("alice", &sheet)?;
    assert_ne!(own.code, DONE, "the requester's yes alone carries nothing out: {own:?}");
    cluster.ctl.approve("bob", &sheet)?.expect(NEEDS_APPROVAL)?;
    assert!(!cluster.masters_on(n)?.is_empty(), "one person is not enough");
    cluster.ctl.approve("carol", &sheet)?.expect(DONE)?;
    assert!(cluster.masters_on(n)?.is_empty());
    writers.wait_progress()?;
    let missing = loss::missing(&writers)?;
    Ok(Failed { cluster, writers, host: n, masters, missing, routes_before })
}

impl Failed {
    /// Brings the host back and checks that its loss cases list exactly what clients miss.
    fn come_back(&mut self) -> Outcome<loss::Listed> {
        self.cluster.restart_host(self.host)?;
        let listed = loss::listed(&self.cluster, self.host, self.masters)?;
        assert_eq!(listed.records, self.missing, "listed is exactly what is missing");
        Ok(listed)
    }

    /// Writes with a route of before the failover: it must be refused for certain, and never be acknowledged.
    fn old_routes_take_no_write(&self) -> Outcome<()> {
        let dead = host(self.host);
        for (store, route) in self.routes_before.iter().filter(|(_, route)| route.to.slot.host.as_str() == dead) {
            let (client, _) = self.writers.logs().get(store).ok_or("every store has a writer")?;
            let caller = self.cluster.caller(&format!("client-{client}"))?;
            let id = RecordId { client: client.clone(), sequence: u64::MAX };
            let refused = wait_for("a returned master answers", AT_LAST, || {
                let answer = self.writers.runtime().block_on(async {
                    let journal = caller.journal(store, &route.to)?;
                    let append = journal.append(route.epoch, id.clone(), vec![0], Duration::from_secs(2)).await;
                    Ok::<_, slot_tests::Failure>(append)
                });
                match answer.ok()? {
                    Err(ClientError::Unknown(_)) => None,
                    certain => Some(certain),
                }
            })?;
            assert!(matches!(refused, Err(ClientError::Refused(_))), "{store} at its old epoch: {refused:?}");
        }
        Ok(())
    }
}

#[test]
fn what_was_stranded_on_a_dead_host_is_listed_exactly_and_put_back() -> Outcome<()> {
    let mut failed = fail_over_a_host()?;
    let listed = failed.come_back()?;
    failed.old_routes_take_no_write()?;
    for (case, _) in &listed.open {
        failed.cluster.ctl.change("alice", &["loss", "reinject", case, "-m", "all of it"])?.expect(DONE)?;
    }
    failed.cluster.wait_served()?;
    failed.writers.wait_progress()?;
    failed.writers.stop()?;
    verify(&failed.writers)?.must_be_whole()
}

#[test]
fn what_is_discarded_by_name_stays_away_and_the_copy_follows_again() -> Outcome<()> {
    let mut failed = fail_over_a_host()?;
    let listed = failed.come_back()?;
    for (case, _) in &listed.open {
        failed.cluster.ctl.change("alice", &["loss", "discard", case, "-m", "not worth it"])?.expect(DONE)?;
    }
    failed.cluster.wait_served()?;
    failed.old_routes_take_no_write()?;
    failed.writers.wait_progress()?;
    failed.writers.stop()?;
    assert_eq!(loss::missing(&failed.writers)?, failed.missing, "what was given up by name, and nothing else");
    let verdicts = verify(&failed.writers)?;
    assert_eq!(verdicts.duplicated(), 0);
    assert!(verdicts.0.values().all(|verdict| verdict.foreign.is_empty()));
    Ok(())
}

/// A host that dies again: its sheet says how long it took to come back the last time, so that somebody may rather wait.
#[test]
fn or_wait_a_sheet_says_how_long_the_last_reboot_took() -> Outcome<()> {
    let mut cluster = Cluster::for_test(shape())?;
    let n = host_number(&cluster.master_of("store1")?).ok_or("a slot names its host")?;
    let name = host(n);
    cluster.kill_host(n)?;
    loss::wait_silent(&cluster, n)?;
    let silent = Instant::now();
    cluster.restart_host(n)?;
    let reboots = |cluster: &Cluster| cluster.look(&["evidence", "host", &name]).map(|seen| seen["reboots"].clone());
    wait_until("the new boot is known", AT_LAST, || {
        reboots(&cluster).is_ok_and(|all| all.as_array().is_some_and(|all| all.len() == 1))
    })?;
    let seen = reboots(&cluster)?;
    let ms = seen[0]["silence"]["ms"].as_u64().ok_or("a reboot has its length")?;
    let whole = Duration::from_millis(ms);
    assert!(ms >= 3_000 && whole <= silent.elapsed() + AT_LAST, "from its last word to its first: {seen}");
    assert_eq!((&seen[0]["kept_off"], &seen[0]["silence"]["whole"]), (&false.into(), &true.into()), "{seen}");
    cluster.wait_served()?;
    cluster.kill_host(n)?;
    loss::wait_silent(&cluster, n)?;
    let said = ["off", "host", &name, "--how", "unplugged", "-m", "dead"];
    cluster.ctl.json("alice", &said)?.expect(DONE)?;
    let sheet = cluster.ctl.propose("alice", &["failover", "host", &name, "-m", "dead again"])?;
    let notes = sheet.json["document"]["notes"].to_string();
    assert!(notes.contains("OR WAIT?") && notes.contains("its last reboot took"), "{}", sheet.json);
    assert!(notes.contains("silent now for"), "{notes}");
    Ok(())
}

/// R23: two of five hosts die at once, which is more than policy lets pass: nothing goes past a master until somebody says to
/// know, and then two others say yes. A store whose both copies are gone stops no other (L2).
#[test]
fn r23_many_silent_hosts_brake_until_somebody_says_to_know() -> Outcome<()> {
    let policy = "brake = { silent_hosts = 1 }\n".into();
    let mut cluster = Cluster::for_test(Shape { hosts: 5, stores: 5, policy, ..Shape::small() })?;
    let n = host_number(&cluster.master_of("store1")?).ok_or("a slot names its host")?;
    let led: Vec<String> = cluster.masters_on(n)?.iter().map(ToString::to_string).collect();
    let outlives = |other: &u8| {
        let elsewhere = |copies: Vec<String>| copies.iter().any(|copy| !is_on(copy, &[n, *other]));
        led.iter().any(|store| cluster.copies_of(store).is_ok_and(elsewhere))
    };
    let other = (1..=5).filter(|other| *other != n).find(outlives).ok_or("a store has a copy on a third host")?;
    for dead in [n, other] {
        cluster.kill_host(dead)?;
        loss::wait_silent(&cluster, dead)?;
        cluster.ctl.json("alice", &["off", "host", &host(dead), "--how", "unplugged", "-m", "dead"])?.expect(DONE)?;
    }
    let name = host(n);
    let masters: Vec<String> = cluster.masters_on(n)?.iter().map(ToString::to_string).collect();
    let can: Vec<&String> = masters
        .iter()
        .filter(|store| cluster.copies_of(store).is_ok_and(|copies| copies.iter().any(|c| !is_on(c, &[n, other]))))
        .collect();
    let store = can.first().ok_or("the ring puts no two stores on the same pair")?.as_str();
    for ask in [vec!["failover", "host", &name, "-m", "dead"], vec!["failover", "store", store, "-m", "dead"]] {
        let refused = cluster.ctl.json("alice", &ask)?.expect(FAILED)?;
        assert!(refused.stderr.contains("2 hosts are silent at once (policy allows 1)"), "{}", refused.stderr);
        assert!(refused.stderr.contains("--mass"), "{}", refused.stderr);
    }
    let sheet = cluster.ctl.propose("alice", &["failover", "host", &name, "--mass", "-m", "dead, seen on the spot"])?;
    assert_eq!(sheet.json["document"]["mass"].as_bool(), Some(true), "{}", sheet.json);
    cluster.ctl.approve("bob", &sheet)?.expect(NEEDS_APPROVAL)?;
    cluster.ctl.approve("carol", &sheet)?.expect(DONE)?;
    for store in can {
        assert!(!is_on(&cluster.master_of(store)?, &[n, other]), "{store}");
    }
    Ok(())
}

fn is_on(slot: &str, hosts: &[u8]) -> bool {
    host_number(slot).is_some_and(|n| hosts.contains(&n))
}
