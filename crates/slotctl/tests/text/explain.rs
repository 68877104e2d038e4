//! Explanations, as they are said.

use super::fixtures::*;
use slot_types::cluster::{CopyState, Role};
use slot_types::ids::*;
use slot_types::position::Position;
use slot_types::view::*;
use slotctl::text;

fn at(n: u64) -> Position {
    Position { epoch: epoch(9), length: n }
}
fn no(why: &str) -> Verdict {
    Verdict::No { why: why.into() }
}

fn candidate(slot: SlotId, role: Role, planned: Verdict, unplanned: Verdict) -> Candidate {
    let state = CopyState::Serving;
    Candidate { slot, role, state, host_masters: 20, ends_at: Some(at(1_204_118)), planned, unplanned }
}

pub fn explained_store() -> ExplainedStore {
    let stopped = Candidate {
        state: CopyState::Quarantined,
        ends_at: None,
        ..candidate(slot(3, 7), Role::Replica, no("is Quarantined"), no("its host's agent is silent"))
    };
    let lagging = Candidate {
        ends_at: Some(at(1_200_000)),
        ..candidate(
            slot(9, 4),
            Role::Replica,
            no("it is 4118 records behind, allowed are 1000"),
            Verdict::NotFurthest { furthest: at(1_204_118) },
        )
    };
    ExplainedStore {
        store: store(23),
        epoch: epoch(9),
        master: Some(slot(7, 31)),
        pending: None,
        not_well: None,
        made_by: Some(MadeBy {
            plan: PlanId(18),
            title: "fail over slot imap3/07".into(),
            task: "store23  imap3/07 => imap7/31".into(),
            requested_by: Some(who("oncall")),
            reason: "imap3 is dead, ticket 8813".into(),
        }),
        candidates: vec![
            stopped,
            candidate(slot(7, 31), Role::Master, Verdict::Master, Verdict::Master),
            lagging,
            candidate(slot(11, 5), Role::Replica, Verdict::Can, Verdict::Can),
        ],
        places: vec![
            ExplainedCopy {
                slot: slot(7, 31),
                best: Some(slot(7, 31).host),
                others: vec![
                    other(4, "it would be 81.2% full, imap7 would be 78.0%", Some(40_123_456_789)),
                    other(8, "no free slot is large enough", Some(500_000_000_000)),
                    were(9, "imap9/04 holds a copy of it in the same domain", vec![elsewhere(9, 4, 11)]),
                    were(10, "imap9/04 holds a copy of it in the same domain", vec![Were::ApartFrom(slot(9, 4))]),
                    OtherHost { no_change: "no other host may have imap11/05".into(), ..other(11, "x", None) },
                ],
            },
            ExplainedCopy {
                slot: slot(9, 4),
                best: Some(slot(8, 1).host),
                others: vec![
                    fewer(4, "a host's loss could leave 25 masters on one host; with imap8 it is 23"),
                    were(5, "the file says never there", vec![Were::Allowed, Were::DiskBytes(1_234_567)]),
                    were(6, "its host is Draining", vec![Were::Active, Were::NeverOn(vec![slot(8, 1).host])]),
                    were(7, "its host presents another or an older disk", vec![Were::Admitted, Were::Heard]),
                    other(8, "", None),
                    were(12, "a running plan holds its host", vec![Were::Unclaimed]),
                ],
            },
        ],
        if_host_dies: Some(slot(11, 5)),
        claimed_by: Some(PlanId(20)),
    }
}

fn other(host: u16, why: &str, more: Option<u64>) -> OtherHost {
    let change = more.map(|bytes| Change { slot_bytes: Some(bytes), ..Change::default() });
    OtherHost { host: slot(host, 1).host, why: why.into(), change, no_change: String::new() }
}

/// A host that would be chosen if these things were otherwise.
fn were(host: u16, why: &str, were: Vec<Were>) -> OtherHost {
    OtherHost { change: Some(Change { were, ..Change::default() }), ..other(host, why, None) }
}

fn elsewhere(host: u16, number: u16, to: u16) -> Were {
    Were::CopyOn { slot: slot(host, number), to: slot(to, 1).host }
}

/// A host that would be chosen with two fewer masters.
fn fewer(host: u16, why: &str) -> OtherHost {
    let led = |n: u16, to| LedElsewhere { store: store(n), to };
    let led_elsewhere = vec![led(3, slot(7, 12)), led(9, slot(8, 40))];
    OtherHost { change: Some(Change { led_elsewhere, bounded: true, ..Change::default() }), ..other(host, why, None) }
}

fn view(explained: Explained) -> ExplainView {
    ExplainView { revision: Revision(48_211), explained: known(explained, 0) }
}

pub fn explain_plan_view() -> ExplainView {
    let other = candidate(slot(9, 4), Role::Replica, Verdict::Can, Verdict::Can);
    let lagging = candidate(
        slot(11, 5),
        Role::Replica,
        no("it was never verified"),
        Verdict::NotFurthest { furthest: at(1_204_118) },
    );
    let task = ExplainedTask {
        task: 2,
        store: store(57),
        from: Some(slot(3, 7)),
        to: slot(8, 2),
        planned: true,
        builds: false,
        because: vec!["after the whole plan imap8 has 22 masters with it; imap9 would have 23".into()],
        others: vec![other, lagging.clone()],
        places: vec![ExplainedCopy {
            slot: slot(8, 2),
            best: Some(slot(8, 2).host),
            others: vec![
                self::were(4, "it holds no copy of it", vec![Were::HoldsCopy]),
                self::were(5, "it holds no copy of it", vec![Were::HoldsCopy]),
                self::were(
                    6,
                    "is Stopped",
                    vec![Were::Serving, Were::Following, Were::Draining(vec![slot(8, 2).host])],
                ),
                self::were(7, "it is 4118 records behind, allowed are 1000", vec![Were::Behind(1000)]),
                fewer(9, "it would have 23 masters, imap8 would have 22"),
                self::were(10, "another copy has more, it ends at 1204118@9", vec![Were::EndsAt(at(1_204_118))]),
                self::were(11, "it was never verified", vec![Were::VerifiedWithin(86_400_000)]),
                self::were(12, "loss case L4 is open there", vec![Were::CaseClosed(LossCaseId(4)), Were::Agreeing]),
            ],
        }],
        changed: String::new(),
    };
    let failed_over = ExplainedTask {
        task: 3,
        planned: false,
        because: vec![
            "its data ends furthest of all copies that were seen".into(),
            "no other copy can become master as well".into(),
        ],
        others: vec![lagging],
        ..task.clone()
    };
    let changed = ExplainedTask {
        task: 4,
        because: Vec::new(),
        others: Vec::new(),
        places: Vec::new(),
        changed: "store58 has changed since the plan was made, so the other copies can't be judged as they were then"
            .into(),
        store: store(58),
        ..task.clone()
    };
    let made = ExplainedTask {
        task: 5,
        store: store(59),
        from: None,
        planned: false,
        because: vec!["its 2 copies must be in different racks: imap3/01 in ny/r1, imap8/02 in ny/r2".into()],
        others: Vec::new(),
        ..task.clone()
    };
    let built = a_copy_to_build(&task);
    view(Explained::Plan(ExplainedPlan {
        plan: PlanId(17),
        title: "drain imap3".into(),
        planned_at: Revision(48_211),
        without_choice: 42,
        tasks: vec![task, failed_over, changed, made, built],
    }))
}

/// A copy that a plan builds, with room for it on no other host.
fn a_copy_to_build(task: &ExplainedTask) -> ExplainedTask {
    ExplainedTask {
        task: 6,
        from: Some(slot(3, 9)),
        to: slot(6, 1),
        planned: false,
        builds: true,
        because: Vec::new(),
        others: Vec::new(),
        places: vec![ExplainedCopy {
            slot: slot(6, 1),
            best: Some(slot(6, 1).host),
            others: vec![
                other(4, "no free slot is large enough", Some(40_123_456_789)),
                were(5, "imap5/02 holds a copy of it in the same domain", vec![elsewhere(5, 2, 7)]),
            ],
        }],
        ..task.clone()
    }
}

pub fn explain_store_view() -> ExplainView {
    view(Explained::Store(explained_store()))
}

pub fn explain_slot_view() -> ExplainView {
    view(Explained::Slot { slot: slot(7, 31), claimed_by: None, store: Some(explained_store()) })
}

#[test]
fn why_a_master_is_there() {
    golden!(text::explain::explain(&explain_store_view()));
}

#[test]
fn why_a_plan_chose_so() {
    golden!(text::explain::explain(&explain_plan_view()));
}

#[test]
fn a_slot_and_the_store_on_it() {
    let on = text::explain::explain(&explain_slot_view());
    assert!(on.starts_with("imap7/31   holds a copy of store23\n\nstore23   master imap7/31 at epoch 9"), "{on}");
    let free =
        |claimed_by| text::explain::explain(&view(Explained::Slot { slot: slot(3, 6), claimed_by, store: None }));
    assert_eq!(free(None), "imap3/06   is free\n");
    assert_eq!(free(Some(PlanId(17))), "imap3/06   is free, reserved by p17\n");
}

#[test]
fn a_store_that_nothing_can_take_over() {
    let alone = ExplainedStore {
        master: None,
        pending: Some(slot(7, 31)),
        not_well: Some("epoch was given to imap7/31, which is not master yet".into()),
        made_by: None,
        if_host_dies: None,
        ..explained_store()
    };
    let text = text::explain::explain(&view(Explained::Store(alone)));
    assert!(text.contains("NOTHING could become master") && text.contains("hand-over    not now: "), "{text}");
    let unknown = ExplainView { explained: unknown("only the leader hears agents"), ..explain_store_view() };
    assert_eq!(text::explain::explain(&unknown), "explain  NOT KNOWN: only the leader hears agents\n");
}
