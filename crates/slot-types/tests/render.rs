//! Rendered plans: no line is too wide and nothing but text reaches the terminal, whatever the names and reasons are.

use proptest::prelude::*;
use slot_types::cluster::*;
use slot_types::evidence::Evidence;
use slot_types::ids::*;
use slot_types::plan::*;
use slot_types::position::{Digest, Position, Tip};
use slot_types::render::{WIDTH, render_plan};
use std::collections::{BTreeMap, BTreeSet};

fn plan(host: &str, store: &str, reason: &str, note: &str) -> Plan {
    let slot = |n| SlotId::new(HostName::new(host).unwrap(), n);
    let epoch = Epoch { generation: 0, n: 8 };
    let tip = |length| Tip { position: Position { epoch, length }, digest: Digest::of(b"x") };
    let task = |n: u16, fence, class| Task {
        kind: TaskKind::FailOver {
            from: slot(n),
            to: slot(n + 100),
            fence,
            waived: BTreeSet::from([slot(n)]),
            unreachable: BTreeSet::from([slot(n + 200)]),
            feed: Some(slot(n + 300)),
            loss: LossStatement {
                class,
                candidate: tip(1204),
                last_known: Some(tip(1241)),
                last_known_age_ms: Some(241_000),
                known_lag: Some(37),
            },
        },
        store: Some(StoreName::new(store).unwrap()),
        epoch,
        after: Vec::new(),
        steps: Vec::new(),
    };
    Plan {
        cluster: ClusterId([1; 16]),
        generation: 0,
        intent: Intent::FailOverHost(HostName::new(host).unwrap()),
        requested_by: Some(OperatorName::new("oncall").unwrap()),
        reason: reason.into(),
        revision: Revision(48_377),
        created: LogTime(5),
        created_wall: WallTime(11_172_000),
        valid_ms: 600_000,
        facts: BTreeMap::new(),
        evidence: Evidence::default(),
        silent_hosts: 2,
        said: Default::default(),
        switch_off: BTreeMap::new(),
        people: 2,
        two_because: vec!["loss is UNKNOWN".into()],
        tasks: vec![task(1, FenceLevel::Attested, LossClass::Lagging), task(2, FenceLevel::None, LossClass::Unknown)],
        notes: vec![
            Note { heading: "!".into(), text: note.into() },
            Note { heading: "AFTER".into(), text: note.into() },
            Note { heading: "WHILE IT IS OFF".into(), text: note.into() },
        ],
    }
}

#[test]
fn the_worst_sheet() {
    let plan = plan("imap3", "store23", "host is dead", "all of imap3 is silent");
    insta::assert_snapshot!(render_plan(None, &plan, &Digest::of(&plan.bytes())));
}

proptest! {
    #[test]
    fn every_line_fits(
        host in "[a-z0-9][a-z0-9-]{0,62}",
        store in "[a-z0-9][a-z0-9-]{0,62}",
        reason in "\\PC{0,300}|[ \\t\\n\\x1b\\[a-z]{0,300}",
        note in "\\PC{0,300}|[ \\t\\n\\x1b\\[a-z]{0,300}",
    ) {
        let plan = plan(&host, &store, &reason, &note);
        let text = render_plan(Some(PlanId(u64::MAX)), &plan, &Digest::of(&plan.bytes()));
        for line in text.lines() {
            prop_assert!(line.chars().count() <= WIDTH, "{line:?}");
        }
        prop_assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
    }
}
