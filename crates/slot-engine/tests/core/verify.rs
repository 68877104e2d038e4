//! Comparing a replica with its master: what differs is named record by record, nothing else is, and nothing changes.

use crate::world::*;
use slot_engine::journal::core::*;
use slot_types::engine::*;
use slot_types::ids::*;
use slot_types::verify::*;

/// Bytes a second that no test reaches.
const FAST: u64 = 1 << 40;

/// A master and a replica with so many records of a client, over several segments.
fn pair(records: u64) -> World {
    let mut w = World::with_master(2, 7, 1);
    for n in 1..=records {
        w.must_append(0, 1, "w1", n);
    }
    w.run(3_000);
    w
}

fn ask(w: &mut World, node: usize, asked: u64, rate: u64) -> Result<EngineDone, EngineError> {
    w.control(node, EngineCall::Verify { epoch: E(1), against: source(0), asked: LogTime(asked), rate })
}

fn seen(w: &mut World, node: usize) -> Verification {
    *w.status(node).verification.expect("it was asked to verify")
}

/// Asks, waits for the end, and answers what was found.
fn verify(w: &mut World, asked: u64) -> Verification {
    assert_eq!(ask(w, 1, asked, FAST), Ok(EngineDone::Done));
    for _ in 0..2_000 {
        w.run(10);
        let seen = seen(w, 1);
        if seen.is_over() {
            assert_eq!(seen.asked, LogTime(asked));
            return seen;
        }
    }
    panic!("it never ended: {:?}", seen(w, 1));
}

fn place(w: &World, node: usize, index: u64) -> DiskPiece {
    w.nodes[node].core.as_ref().unwrap().log().pieces(index, index + 1).remove(0)
}

/// Flips one bit of a record's payload on a node's disk, under the process that serves it.
fn flip(w: &mut World, node: usize, index: u64) {
    let piece = place(w, node, index);
    let last = piece.offset + piece.length - 1;
    let byte = w.nodes[node].disk.files()[&piece.file][last as usize];
    w.nodes[node].disk.spoil(&piece.file, last, &[byte ^ 1]);
}

/// Puts another record in a record's place, in a frame that is whole.
fn swap(w: &mut World, node: usize, index: u64) {
    let piece = place(w, node, index);
    let core = w.nodes[node].core.as_ref().unwrap();
    let mut record = core.log().record(index).unwrap();
    let Body::Data { payload, .. } = &mut record.body else { panic!("record {index} is the start of an epoch") };
    payload[0] ^= 1;
    let base = segment_base(&piece.file).unwrap();
    let mut frame = Vec::new();
    frame_bytes(salt(core.config(), base), index, index, &record.to_bytes(), &mut frame);
    assert_eq!(frame.len() as u64, piece.length);
    w.nodes[node].disk.spoil(&piece.file, piece.offset, &frame);
}

fn indexes(found: &Verification) -> Vec<u64> {
    found.findings.first.iter().map(|difference| difference.index).collect()
}

#[test]
fn a_copy_that_is_equal_is_said_to_be_and_nothing_changes() {
    let mut w = pair(40);
    let before = (w.status(0), w.status(1), w.nodes[0].disk.files(), w.nodes[1].disk.files());
    let found = verify(&mut w, 5);
    assert_eq!(found.stage, VerifyStage::Ended);
    assert_eq!((found.records, found.upto, found.against.clone()), (41, 41, slot(0)));
    let bytes: u64 =
        (0..41).map(|i| w.nodes[1].core.as_ref().unwrap().log().entry(i).unwrap().bytes.len() as u64).sum();
    assert_eq!((found.bytes, found.findings.clone()), (bytes, Findings::default()));
    let after = (w.status(0), w.status(1), w.nodes[0].disk.files(), w.nodes[1].disk.files());
    assert_eq!((before.0.tip, before.1.tip, before.2, before.3), (after.0.tip, after.1.tip, after.2, after.3));
    assert_eq!((after.1.role, after.1.following), (EngineRole::Replica, Some((slot(0), E(1)))));
}

#[test]
fn a_bit_that_flips_on_the_disk_under_a_running_replica_is_named() {
    let mut w = pair(40);
    flip(&mut w, 1, 17);
    let found = verify(&mut w, 5);
    assert_eq!(found.stage, VerifyStage::Ended);
    assert_eq!((found.findings.count, indexes(&found)), (1, vec![17]));
    let difference = &found.findings.first[0];
    assert_eq!(difference.here, Held::Unreadable);
    assert!(
        matches!(&difference.master, Held::Record { id: Some(named), .. } if *named == id("w1", 17)),
        "{difference}"
    );
    assert_eq!(w.status(1).role, EngineRole::Replica, "what to do about it is for a person to say");
}

#[test]
fn another_record_in_a_whole_frame_is_named_with_what_both_hold() {
    let mut w = pair(40);
    swap(&mut w, 1, 9);
    let found = verify(&mut w, 5);
    assert_eq!(indexes(&found), vec![9]);
    match &found.findings.first[0] {
        Difference {
            here: Held::Record { id: Some(here), digest: a, .. },
            master: Held::Record { id: Some(there), digest: b, .. },
            ..
        } => {
            assert_eq!((here, there), (&id("w1", 9), &id("w1", 9)));
            assert_ne!(a, b);
        }
        other => panic!("{other}"),
    }
}

#[test]
fn what_the_masters_disk_lost_is_named_too() {
    let mut w = pair(40);
    flip(&mut w, 0, 33);
    let found = verify(&mut w, 5);
    assert_eq!(indexes(&found), vec![33]);
    assert_eq!(found.findings.first[0].master, Held::Unreadable);
}

#[test]
fn many_differences_are_counted_and_the_first_are_named() {
    let mut w = pair(60);
    (10..50).for_each(|index| flip(&mut w, 1, index));
    let found = verify(&mut w, 5);
    assert_eq!(found.findings.count, 40);
    assert_eq!(indexes(&found), (10..30).collect::<Vec<u64>>());
    assert_eq!(found.findings.first.len(), DIFFERENCES_NAMED_MAX);
}

#[test]
fn r7_a_copy_with_another_history_says_where_it_differs() {
    let mut w = pair(20);
    // Its last record is another one, so that it opens well and has another chain.
    w.crash(1, false);
    w.start(1).unwrap();
    swap(&mut w, 1, 20);
    w.crash(1, false);
    w.start(1).unwrap();
    w.control(1, EngineCall::Follow { epoch: E(1), source: source(0) }).unwrap();
    w.run(200);
    assert_eq!(w.status(1).role, EngineRole::Diverged);
    let found = verify(&mut w, 9);
    assert_eq!((found.stage.clone(), found.findings.count, indexes(&found)), (VerifyStage::Ended, 1, vec![20]));
}

#[test]
fn it_takes_no_more_bytes_a_second_than_it_was_told() {
    let mut w = World::with_master(2, 3, 1);
    w.segment_bytes = 1 << 30;
    for n in 1..=120 {
        let payload = vec![b'x'; 60_000];
        let append = Append { store: store(), epoch: E(1), id: id("w1", n), payload };
        let request = w.request();
        w.step(0, Event::Append { request, append, budget_ms: 9_000 });
        assert!(matches!(w.wait(request, 9_000), Some(Reply::Append(AppendOutcome::Done { .. }))));
    }
    w.run(3_000);
    assert_eq!(ask(&mut w, 1, 5, 1_000_000), Ok(EngineDone::Done));
    w.run(3_000);
    let midway = seen(&mut w, 1);
    assert_eq!(midway.stage, VerifyStage::UnderWay);
    assert!((2_000_000..=4_500_000).contains(&midway.bytes), "after 3 s at 1 MB/s: {}", midway.bytes);
    w.run(5_000);
    let end = seen(&mut w, 1);
    assert_eq!((end.stage, end.findings.count), (VerifyStage::Ended, 0));
    assert!(end.took_ms >= 6_000, "7.2 MB at 1 MB/s took {} ms", end.took_ms);
}

#[test]
fn a_raised_epoch_ends_it_and_a_silent_master_too() {
    let mut w = pair(40);
    w.cut.insert((1, 0));
    assert_eq!(ask(&mut w, 1, 5, FAST), Ok(EngineDone::Done));
    w.run(100);
    assert_eq!(seen(&mut w, 1).stage, VerifyStage::UnderWay);
    w.tip_of(1, EngineCall::Raise { epoch: E(2) });
    let broken = seen(&mut w, 1);
    assert_eq!(broken.stage, VerifyStage::Broken { why: "a higher epoch is held".into() });
    assert!(!broken.tells(), "a comparison that broke off and found nothing says nothing");

    let mut w = pair(40);
    w.cut.insert((1, 0));
    ask(&mut w, 1, 5, FAST).unwrap();
    w.run(100_000);
    assert!(matches!(seen(&mut w, 1).stage, VerifyStage::Broken { why } if why.contains("imap0/07 did not say")));
}

#[test]
fn it_is_refused_where_it_makes_no_sense_and_asked_twice_it_begins_once() {
    let mut w = pair(10);
    assert!(matches!(ask(&mut w, 0, 5, FAST), Err(EngineError::WrongRole(EngineRole::Master))));
    let call = |epoch| EngineCall::Verify { epoch: E(epoch), against: source(0), asked: LogTime(5), rate: FAST };
    assert!(matches!(w.control(1, call(0)), Err(EngineError::OlderEpoch { .. })));
    assert!(matches!(w.control(1, call(2)), Err(EngineError::SourceFailed { .. })));
    let first = verify(&mut w, 5);
    w.run(1_000);
    assert_eq!(ask(&mut w, 1, 5, FAST), Ok(EngineDone::Done));
    w.run(100);
    assert_eq!(seen(&mut w, 1), first, "the same question has its answer already");
    assert_eq!(verify(&mut w, 6).asked, LogTime(6));
}
