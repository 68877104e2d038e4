//! `verify`: asked again until it is settled, and what the exit code says.

use super::*;
use slot_types::position::Digest;
use slot_types::verify::*;
use slot_types::view::{VerifyLine, VerifyState, VerifyView};

fn slot(host: &str, number: u16) -> SlotId {
    SlotId::new(HostName::new(host).unwrap(), number)
}

fn of(stage: VerifyStage, differ: u64) -> Verification {
    let epoch = Epoch { generation: 0, n: 8 };
    let mut findings = Findings::default();
    for index in 0..differ {
        let id = RecordId { client: ClientName::new("imapd").unwrap(), sequence: index };
        let master = Held::Record { epoch, id: Some(id), digest: Digest::default() };
        findings.add(Difference { index, here: Held::Unreadable, master });
    }
    let (asked, against) = (LogTime(7), slot("imap3", 11));
    Verification { asked, epoch, against, upto: 50, records: 50, bytes: 900, took_ms: 30, stage, findings }
}

fn view(state: VerifyState) -> VerifyView {
    let line = VerifyLine {
        store: StoreName::new("store58").unwrap(),
        slot: slot("imap10", 2),
        master: Some(slot("imap3", 11)),
        state,
    };
    VerifyView { on: "store store58".into(), since: LogTime(7), copies: vec![line] }
}

fn told(differ: u64) -> VerifyState {
    let of = of(VerifyStage::Ended, differ);
    VerifyState::Told { stamp: Stamp { generation: CopyGeneration(1), at: LogTime(8), wall: WallTime(8), of } }
}

#[tokio::test]
async fn a_comparison_is_asked_for_until_it_is_settled_and_the_exit_code_says_the_verdict() {
    let (rig, _) = drains().await;
    let under_way = view(VerifyState::UnderWay { of: of(VerifyStage::UnderWay, 0) });
    let waiting = view(VerifyState::Waiting { why: "its engine begins".into() });
    rig.script("c1").verify = [waiting, under_way.clone(), under_way, view(told(0))].into();
    let ended = run(&rig, "slotctl verify store store58", None).await;
    assert_eq!(ended.exit, Exit::Done, "{}", ended.err);
    assert!(ended.out.starts_with("store store58: its one replica is equal to its master"), "{}", ended.out);
    assert!(ended.err.contains("its engine begins") && ended.err.contains("50 of 50 records"), "{}", ended.err);
    let asked = rig.script("c1").verify_asked.clone();
    let since: Vec<Option<u64>> = asked.iter().map(|(_, since)| *since).collect();
    assert_eq!(since, [None, Some(7), Some(7), Some(7)], "what was compared before the person asked does not count");

    rig.script("c1").verify = [view(told(2))].into();
    let ended = run(&rig, "slotctl verify host imap3", None).await;
    assert_eq!(ended.exit, Exit::Failed);
    assert!(ended.out.contains("DIFFER in 2 records") && ended.out.contains("imapd:1 of epoch"), "{}", ended.out);
    assert_eq!(rig.script("c1").verify_asked.last().unwrap().0, "host imap3");

    rig.script("c1").verify = [view(VerifyState::Cannot { why: "its engine is not seen running".into() })].into();
    let ended = run(&rig, "slotctl --output json verify all", None).await;
    assert_eq!(ended.exit, Exit::Failed, "what was not compared is not called equal");
    let document: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!((&document["settled"], &document["equal"]), (&true.into(), &false.into()), "{document}");
    let ended = run(&rig, "slotctl verify store store9", None).await;
    assert_eq!(ended.exit, Exit::Failed);
    assert!(ended.err.contains("does not exist"), "{}", ended.err);
}
