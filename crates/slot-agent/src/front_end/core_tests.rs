//! Tables in every order, renderings that fail, freezes whose leader is gone.

use super::*;

fn table(revision: u64, moving_ms: Option<u64>) -> Box<RouteTable> {
    let line = TableLine {
        slot: "imap1/01".parse().unwrap(),
        address: "127.0.0.1:7430".parse().unwrap(),
        epoch: Epoch { generation: 0, n: 1 },
        moving_ms,
    };
    Box::new(RouteTable {
        cluster: ClusterId([1; 16]),
        generation: 0,
        revision: Revision(revision),
        front_end: "fe1".parse().unwrap(),
        render: BTreeSet::from(["json".parse().unwrap()]),
        routes: BTreeMap::from([("store1".parse().unwrap(), line)]),
    })
}

fn core(restored: Option<RouteTable>) -> FrontEndCore {
    let kept = Kept { acknowledged: restored.as_ref().map(RouteTable::age), begun: restored };
    FrontEndCore::new(ClusterId([1; 16]), "fe1".parse().unwrap(), kept)
}

/// The rendering that was asked for: number, revision, how many move.
fn rendering(effects: &[Effect]) -> Option<(u64, u64, usize)> {
    effects.iter().find_map(|effect| match effect {
        Effect::Render { job, table, moving } => Some((*job, table.revision.0, moving.len())),
        Effect::Answer { .. } => None,
    })
}

/// What was answered to this token: the acknowledged revision, and whether there is a problem.
fn answered(effects: &[Effect], wanted: u64) -> Option<(Option<u64>, bool)> {
    effects.iter().find_map(|effect| match effect {
        Effect::Answer { token, answer: Ok(report) } if *token == wanted => {
            let seen = &report.serving;
            Some((seen.acknowledged.map(|(_, at)| at.0), seen.problem.is_some()))
        }
        _ => None,
    })
}

#[test]
fn a_table_is_acknowledged_when_it_is_rendered_and_not_before() {
    let mut core = core(None);
    let effects = core.step(0, Event::Offer { token: 1, table: table(5, None) });
    assert_eq!((rendering(&effects), answered(&effects, 1)), (Some((1, 5, 0)), None));
    // Newer ones that come meanwhile are rendered next, the last alone.
    assert!(core.step(1, Event::Offer { token: 2, table: table(6, None) }).is_empty());
    assert!(core.step(2, Event::Offer { token: 3, table: table(7, None) }).is_empty());
    let effects = core.step(3, Event::Rendered { job: 1, result: Ok(()) });
    assert_eq!((rendering(&effects), answered(&effects, 1)), (Some((2, 7, 0)), Some((Some(5), false))));
    let effects = core.step(4, Event::Rendered { job: 2, result: Ok(()) });
    assert_eq!([answered(&effects, 2), answered(&effects, 3)], [Some((Some(7), false)); 2]);
}

#[test]
fn an_older_table_changes_nothing_over_a_restart_too() {
    let mut core = core(Some(*table(9, None)));
    assert_eq!(core.acknowledged(), Some((0, Revision(9))));
    let effects = core.step(0, Event::Offer { token: 1, table: table(8, None) });
    assert_eq!((rendering(&effects), answered(&effects, 1)), (Some((1, 9, 0)), Some((Some(9), false))));
    core.step(1, Event::Rendered { job: 1, result: Ok(()) });
    assert_eq!(core.acknowledged(), Some((0, Revision(9))));
}

/// Found by the simulator: it came back with what it had acknowledged, and rendered that over the newer maps.
#[test]
fn what_was_begun_before_a_restart_is_not_undone_by_it() {
    let kept = Kept { begun: Some(*table(9, None)), acknowledged: Some((0, Revision(7))) };
    let mut core = FrontEndCore::new(ClusterId([1; 16]), "fe1".parse().unwrap(), kept);
    assert_eq!(core.acknowledged(), Some((0, Revision(7))), "not what was begun: it may not be served whole");
    let effects = core.step(0, Event::Offer { token: 1, table: table(8, None) });
    assert_eq!((rendering(&effects), answered(&effects, 1)), (Some((1, 9, 0)), Some((Some(7), false))));
    core.step(1, Event::Rendered { job: 1, result: Ok(()) });
    assert_eq!(core.acknowledged(), Some((0, Revision(9))));
}

#[test]
fn a_failed_reload_is_said_and_tried_again() {
    let mut core = core(None);
    core.step(0, Event::Offer { token: 1, table: table(5, None) });
    let effects = core.step(10, Event::Rendered { job: 1, result: Err("exit code 1".into()) });
    assert_eq!((answered(&effects, 1), rendering(&effects)), (Some((None, true)), None));
    assert_eq!(core.next_deadline(10), Some(10 + RETRY_MS));
    assert!(core.step(500, Event::Tick).is_empty(), "not before its time");
    assert_eq!(rendering(&core.step(10 + RETRY_MS, Event::Tick)), Some((2, 5, 0)));
    core.step(2_000, Event::Rendered { job: 2, result: Ok(()) });
    assert_eq!(core.acknowledged(), Some((0, Revision(5))));
}

#[test]
fn r12_moving_ends_with_the_freeze_whoever_is_gone() {
    let mut core = core(None);
    let effects = core.step(0, Event::Offer { token: 1, table: table(5, Some(1_000)) });
    assert_eq!(rendering(&effects), Some((1, 5, 1)));
    core.step(10, Event::Rendered { job: 1, result: Ok(()) });
    // Another leader speaks of the same freeze: no more time.
    assert!(rendering(&core.step(900, Event::Offer { token: 2, table: table(5, Some(1_000)) })).is_none());
    assert_eq!(core.next_deadline(900), Some(1_000));
    assert_eq!(rendering(&core.step(1_000, Event::Tick)), Some((2, 5, 0)), "nobody had to say so");
    core.step(1_001, Event::Rendered { job: 2, result: Ok(()) });
    // And it does not begin again before a table said that it was over.
    assert!(rendering(&core.step(1_100, Event::Offer { token: 3, table: table(5, Some(900)) })).is_none());
    core.step(1_200, Event::Offer { token: 4, table: table(6, None) });
    core.step(1_201, Event::Rendered { job: 3, result: Ok(()) });
    assert_eq!(rendering(&core.step(1_300, Event::Offer { token: 5, table: table(7, Some(500)) })), Some((4, 7, 1)));
}

#[test]
fn s15_a_table_for_somebody_else_is_refused() {
    let mut core = core(None);
    let mut other = table(5, None);
    other.front_end = "fe2".parse().unwrap();
    let effects = core.step(0, Event::Offer { token: 1, table: other });
    assert!(
        matches!(&effects[..], [Effect::Answer { token: 1, answer: Err(why) }] if why.contains("fe2")),
        "{effects:?}"
    );
    let mut foreign = table(5, None);
    foreign.cluster = ClusterId([2; 16]);
    let effects = core.step(0, Event::Offer { token: 2, table: foreign });
    assert!(matches!(&effects[..], [Effect::Answer { token: 2, answer: Err(_) }]), "{effects:?}");
}
