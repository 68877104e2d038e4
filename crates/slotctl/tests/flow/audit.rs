//! The audit as it is read and verified, against a coordinator that serves a chain, whole or tampered with.

use super::fake::Rig;
use super::{Ended, Sink, run};
use clap::Parser;
use slot_types::ids::*;
use slot_types::position::Digest;
use slot_types::view::AuditLine;
use slotctl::args::Cli;
use slotctl::console::Console;
use slotctl::failure::Exit;
use std::time::Duration;

/// Tue 2024-11-05 10:02:14 UTC.
const NOW: u64 = 1_730_800_934_000;

/// A whole chain behind an archived entry with this number and hash; an entry a minute.
fn chain(archived: u64, hash: Digest, entries: u64) -> Vec<AuditLine> {
    let mut prev = hash;
    let entry = |number| {
        let mut line = AuditLine {
            number,
            index: LogIndex(number * 2),
            log_time: LogTime(number * 60_000),
            wall: WallTime(NOW + number * 60_000),
            actor: if number.is_multiple_of(3) { "oncall" } else { "slotd" }.into(),
            event: format!("event {number}"),
            hash: Digest::default(),
        };
        line.hash = line.expected_hash(&prev);
        prev = line.hash;
        line
    };
    (archived + 1..=archived + entries).map(entry).collect()
}

async fn serving(archived: u64, entries: u64) -> Rig {
    let rig = Rig::start(&["c1"]).await;
    {
        let mut script = rig.script("c1");
        let hash = if archived == 0 { Digest::default() } else { Digest::of(b"archived") };
        script.archived = (archived, hash);
        script.audit = chain(archived, hash, entries);
    }
    rig
}

async fn verify(rig: &Rig) -> Ended {
    run(rig, "slotctl audit verify", None).await
}

#[tokio::test]
async fn a_whole_chain_is_computed_again_over_all_its_pages() {
    let rig = serving(0, 1_201).await;
    let head = rig.script("c1").audit.last().unwrap().hash;
    let ended = verify(&rig).await;
    assert_eq!(ended.exit, Exit::Done, "{}{}", ended.out, ended.err);
    assert!(ended.out.starts_with("chain whole · 1201 entries · as c1 has it\n"), "{}", ended.out);
    assert!(ended.out.contains(&format!("hash through entry 1201: {head}\n")), "{}", ended.out);
    let pages = rig.script("c1").calls.iter().filter(|call| call.starts_with("View")).count();
    assert_eq!(pages, 3, "500 entries at a time");
    let json = run(&rig, "slotctl --output json audit verify", None).await;
    let json: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!((&json["whole"], &json["whole_through"], &json["first_bad"]), (&true.into(), &1_201.into(), &().into()));
}

#[tokio::test]
async fn s12_a_tampered_entry_is_named_whatever_was_changed() {
    type Tamper = fn(&mut AuditLine);
    let changes: [Tamper; 6] = [
        |entry| entry.event = "event 70".into(),
        |entry| entry.actor = "alice".into(),
        |entry| entry.wall.0 += 1,
        |entry| entry.log_time.0 += 1,
        |entry| entry.index.0 += 1,
        |entry| entry.hash.0[31] ^= 1,
    ];
    for (number, change) in changes.into_iter().enumerate() {
        // On the second page, so that the entry before it came in another answer.
        let rig = serving(0, 700).await;
        change(&mut rig.script("c1").audit[500]);
        let ended = verify(&rig).await;
        assert_eq!(ended.exit, Exit::Failed, "change {number}: {}", ended.out);
        assert!(ended.out.starts_with("CHAIN BROKEN at entry 501 · as c1 has it\n"), "{}", ended.out);
        assert!(ended.out.contains("up to entry 500, hash through entry 500: "), "{}", ended.out);
    }
}

#[tokio::test]
async fn s12_a_missing_entry_and_a_changed_one_hashed_anew_are_found() {
    let rig = serving(0, 20).await;
    rig.script("c1").audit.remove(9);
    let ended = verify(&rig).await;
    assert_eq!(ended.exit, Exit::Failed);
    assert!(ended.out.contains("entry 10 is missing: 11 comes instead"), "{}", ended.out);

    // Hashed anew, the entry itself fits; the next one still has the hash behind the true one.
    let rig = serving(0, 20).await;
    {
        let mut script = rig.script("c1");
        let prev = script.audit[8].hash;
        script.audit[9].event = "nothing happened".into();
        script.audit[9].hash = script.audit[9].expected_hash(&prev);
    }
    let ended = verify(&rig).await;
    assert!(ended.out.starts_with("CHAIN BROKEN at entry 11 "), "{}", ended.out);
    let json = run(&rig, "slotctl --output json audit verify", None).await;
    assert_eq!(json.exit, Exit::Failed);
    let json: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!((&json["whole"], &json["first_bad"], &json["whole_through"]), (&false.into(), &11.into(), &10.into()));
}

#[tokio::test]
async fn a_chain_written_anew_is_found_by_a_hash_noted_before() {
    let rig = serving(40, 20).await;
    let noted = format!("50={}", rig.script("c1").audit[9].hash);
    let line = format!("slotctl audit verify --noted {noted}");
    let ended = run(&rig, &line, None).await;
    assert_eq!(ended.exit, Exit::Done, "{}{}", ended.out, ended.err);
    assert!(ended.out.contains("entry 50 has the hash that was noted"), "{}", ended.out);
    assert!(ended.out.contains("entries through 40 are archived"), "{}", ended.out);
    {
        let mut script = rig.script("c1");
        let (archived, hash) = script.archived;
        script.audit = chain(archived, hash, 20);
        script.audit[4].event = "nothing happened".into();
        let mut prev = hash;
        for entry in &mut script.audit {
            entry.hash = entry.expected_hash(&prev);
            prev = entry.hash;
        }
    }
    assert_eq!(verify(&rig).await.exit, Exit::Done, "by itself it is whole");
    let ended = run(&rig, &line, None).await;
    assert_eq!(ended.exit, Exit::Failed, "{}", ended.out);
    assert!(ended.out.starts_with("CHAIN BROKEN at entry 50 "), "{}", ended.out);
    let ended = run(&rig, "slotctl audit verify --noted 39=9f3c-41d0-77ab-e215", None).await;
    assert_eq!(ended.exit, Exit::Failed);
    assert!(ended.err.contains("is not among those kept"), "{}", ended.err);
}

#[tokio::test]
async fn events_are_read_since_a_number_since_a_time_or_the_latest() {
    let rig = serving(0, 1_201).await;
    let numbers = |out: &str| -> Vec<u64> {
        out.lines()
            .filter(|l| l.starts_with(' '))
            .map(|l| l.split_whitespace().next().unwrap().parse().unwrap())
            .collect()
    };
    let all = run(&rig, "slotctl events --since 150", None).await;
    assert_eq!(all.exit, Exit::Done, "{}", all.err);
    assert_eq!(numbers(&all.out), (150..=1_201).collect::<Vec<u64>>());
    let days: Vec<&str> = all.out.lines().filter(|line| !line.starts_with(' ')).collect();
    assert_eq!(days, ["Tue 2024-11-05 UTC", "Wed 2024-11-06 UTC"], "a day is named once");
    assert!(all.out.contains("   150  12:32:14  oncall    event 150\n"), "{}", &all.out[..200]);
    let day = run(&rig, "slotctl events --since 2024-11-06", None).await;
    assert_eq!(numbers(&day.out), (838..=1_201).collect::<Vec<u64>>());
    let latest = run(&rig, "slotctl events", None).await;
    assert_eq!(numbers(&latest.out), (1_152..=1_201).collect::<Vec<u64>>());
    assert_eq!(numbers(&run(&rig, "slotctl events --since 2100-01-01", None).await.out), Vec::<u64>::new());
    let json = run(&rig, "slotctl --output json events --since 1200", None).await;
    let lines: Vec<serde_json::Value> = json.out.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(lines.iter().map(|l| &l["number"]).collect::<Vec<_>>(), [1_200, 1_201]);
}

#[tokio::test]
async fn followed_events_are_said_once_each_also_after_a_coordinator_was_away() {
    let rig = serving(0, 3).await;
    let folder = rig.folder("oncall");
    let line = ["slotctl", "--timeout", "100ms", "events", "--since", "3", "--follow", "--folder"];
    let cli = Cli::try_parse_from(line.into_iter().chain([folder.to_str().unwrap()])).unwrap();
    let (out, err) = (Sink::default(), Sink::default());
    let mut console = Console::elsewhere(Box::new(out.clone()), Box::new(err.clone()), None, false);
    let wait_for = async |text: &str| {
        for _ in 0..300 {
            if out.text().contains(text) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("no {text:?} in {}\n{}", out.text(), err.text());
    };
    let outage = async {
        wait_for("event 3\n").await;
        rig.script("c1").away = true;
        for _ in 0..300 {
            if err.text().contains("no coordinator that may answer did so") {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        {
            let mut script = rig.script("c1");
            script.audit = chain(0, Digest::default(), 5);
            script.away = false;
        }
        wait_for("event 5\n").await;
    };
    tokio::select! {
        exit = slotctl::run(cli, &mut console) => panic!("it ended with {exit:?}"),
        () = outage => {}
    }
    let said = out.text();
    for event in ["event 3\n", "event 4\n", "event 5\n"] {
        assert_eq!(said.matches(event).count(), 1, "{said}");
    }
    assert!(err.text().contains("no coordinator that may answer did so"), "an outage is said: {}", err.text());
}
