//! What `verify` says: equal, differing record by record, and what could not be compared.

use super::fixtures::*;
use slot_types::ids::*;
use slot_types::position::Digest;
use slot_types::verify::*;
use slot_types::view::*;
use slotctl::text;

fn of(stage: VerifyStage, records: u64, findings: Findings) -> Verification {
    Verification {
        asked: LogTime(8_000),
        epoch: epoch(9),
        against: slot(3, 11),
        upto: 1_204_118,
        records,
        bytes: records * 812,
        took_ms: 111_000,
        stage,
        findings,
    }
}

fn told(of: Verification) -> VerifyState {
    VerifyState::Told { stamp: Stamp { generation: CopyGeneration(1), at: LogTime(9_000), wall: WallTime(1_000), of } }
}

fn record(client: &str, sequence: u64, digest: u8) -> Held {
    let id = RecordId { client: ClientName::new(client).unwrap(), sequence };
    Held::Record { epoch: epoch(8), id: Some(id), digest: Digest([digest; 32]) }
}

fn line(store: StoreName, copy: SlotId, master: SlotId, state: VerifyState) -> VerifyLine {
    VerifyLine { store, slot: copy, master: Some(master), state }
}

fn clean() -> VerifyState {
    told(of(VerifyStage::Ended, 1_204_118, Findings::default()))
}

fn view(on: &str, copies: Vec<VerifyLine>) -> VerifyView {
    VerifyView { on: on.into(), since: LogTime(8_000), copies }
}

pub fn differing(count: u64) -> Findings {
    let mut findings = Findings::default();
    findings.add(Difference { index: 411, here: record("imapd-4", 4411, 7), master: record("imapd-4", 4411, 9) });
    findings.add(Difference { index: 412, here: Held::Unreadable, master: record("imapd-4", 4412, 9) });
    findings.add(Difference {
        index: 1_204_117,
        here: Held::Record { epoch: epoch(9), id: None, digest: Digest([3; 32]) },
        master: Held::Nothing,
    });
    (3..count).for_each(|n| {
        findings.add(Difference { index: 2_000_000 + n, here: record("x", n, 1), master: record("x", n, 2) })
    });
    findings
}

/// Every kind of line there is.
pub fn verify_view() -> VerifyView {
    let why = |text: &str| text.to_string();
    view(
        "host imap3",
        vec![
            line(store(4), slot(7, 4), slot(3, 4), clean()),
            line(store(58), slot(10, 2), slot(3, 11), told(of(VerifyStage::Ended, 1_204_118, differing(3)))),
            line(
                store(60),
                slot(10, 4),
                slot(3, 12),
                VerifyState::Broken {
                    of: of(
                        VerifyStage::Broken { why: why("imap3/12 did not say what it holds: no answer in 10000 ms") },
                        40_000,
                        Findings::default(),
                    ),
                },
            ),
            line(
                store(61),
                slot(3, 13),
                slot(8, 1),
                VerifyState::Cannot { why: why("its engine is not seen running") },
            ),
            line(
                store(62),
                slot(3, 14),
                slot(8, 2),
                VerifyState::Waiting {
                    why: why("another comparison reads the same disks, or as many as policy allows are under way"),
                },
            ),
            line(
                store(63),
                slot(3, 15),
                slot(8, 3),
                VerifyState::UnderWay { of: of(VerifyStage::UnderWay, 70_000, Findings::default()) },
            ),
        ],
    )
}

/// All that was asked about was compared, and one copy differs.
pub fn settled_view(on: &str) -> VerifyView {
    let differs = told(of(VerifyStage::Ended, 1_204_118, differing(3)));
    let mut copies =
        vec![line(store(4), slot(7, 4), slot(3, 4), clean()), line(store(58), slot(10, 2), slot(3, 11), differs)];
    copies.retain(|line| !on.starts_with("store ") || on == format!("store {}", line.store));
    view(on, copies)
}

#[test]
fn every_copy_is_equal() {
    let one = vec![line(store(58), slot(10, 2), slot(3, 11), clean())];
    let two = vec![line(store(4), slot(7, 4), slot(3, 4), clean()), line(store(58), slot(10, 2), slot(3, 11), clean())];
    assert!(view("store store58", one.clone()).all_equal());
    golden!(text::verify::verdict(&view("store store58", one)) + &text::verify::verdict(&view("host imap3", two)));
}

#[test]
fn a_copy_that_differs_is_named_record_by_record() {
    let differs = told(of(VerifyStage::Ended, 1_204_118, differing(25)));
    let shown = view("store store58", vec![line(store(58), slot(10, 2), slot(3, 11), differs)]);
    assert!(!shown.all_equal() && shown.is_settled());
    golden!(text::verify::verdict(&shown));
}

#[test]
fn the_masters_disk_that_fails_is_told_from_a_replica_that_differs() {
    let mut findings = Findings::default();
    findings.add(Difference { index: 7, here: record("a", 7, 7), master: Held::Unreadable });
    let state = told(of(VerifyStage::Broken { why: "a higher epoch is held".into() }, 900, findings));
    golden!(text::verify::verdict(&view("store store58", vec![line(store(58), slot(10, 2), slot(3, 11), state)])));
}

#[test]
fn what_was_not_compared_is_said() {
    golden!(text::verify::verdict(&verify_view()) + &text::verify::progress(&verify_view()));
}
