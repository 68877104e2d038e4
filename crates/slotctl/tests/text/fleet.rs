//! The tables of hosts, stores and slots.

use super::fixtures::*;
use slot_types::cluster::*;
use slot_types::engine::EngineRole;
use slot_types::ids::*;
use slot_types::view::*;
use slotctl::text;

fn store_line(n: u16) -> StoreLine {
    StoreLine {
        store: store(n),
        epoch: epoch(9),
        master: Some(slot(3, n)),
        pending: None,
        served: known(true, 0),
        live: known(2, 0),
        copies: 2,
        load: 1,
        others: vec![slot(7, n)],
        worst_lag_records: known(0, 900),
        oldest_stamp_ms: known(95_000, 900),
        compared: Some(Compared::Equal { ago_ms: 449_280_000 }),
        claimed_by: None,
        open_loss_cases: Vec::new(),
        held: Vec::new(),
    }
}

pub fn stores_view() -> StoresView {
    let well = store_line(4);
    let moving = StoreLine { claimed_by: Some(PlanId(17)), worst_lag_records: known(12, 900), ..store_line(17) };
    let silent = StoreLine {
        served: known(false, 0),
        live: known(1, 0),
        worst_lag_records: unknown("its engine is not running"),
        oldest_stamp_ms: unknown("its engine is not running"),
        compared: Some(Compared::Differs { records: 3, ago_ms: 95_000 }),
        open_loss_cases: vec![LossCaseId(12), LossCaseId(13)],
        ..store_line(23)
    };
    let three = StoreLine {
        copies: 3,
        live: known(3, 0),
        others: vec![slot(7, 31), slot(11, 5)],
        oldest_stamp_ms: known(449_280_000, 900),
        compared: Some(Compared::Never),
        held: vec![slot_types::hold::HoldOn::Store(store(31))],
        ..store_line(31)
    };
    let promoting = StoreLine { master: None, pending: Some(slot(7, 40)), served: known(false, 0), ..store_line(40) };
    let lost = StoreLine { master: None, served: known(false, 0), live: known(0, 0), ..store_line(41) };
    let alone = StoreLine {
        copies: 1,
        live: known(1, 0),
        others: Vec::new(),
        worst_lag_records: unknown("it has no replica that serves"),
        oldest_stamp_ms: unknown("it has no replica that serves"),
        compared: None,
        ..store_line(42)
    };
    StoresView {
        revision: Revision(48_211),
        all: 240,
        stores: vec![well, moving, silent, three, promoting, lost, alone],
        holds: vec![held("store store31", "bob", "export runs")],
    }
}

pub fn slots_view() -> SlotsView {
    let stopped =
        line(3, 2, 17, Role::Replica, CopyState::Stopped, known(slot_types::evidence::CopyEvidence::NotRunning, 900));
    let reserved = host_view().slots.pop().unwrap();
    let free = SlotLine { slot: slot(4, 1), claimed_by: None, ..reserved.clone() };
    SlotsView {
        revision: Revision(48_211),
        all: 480,
        slots: vec![
            line(3, 1, 4, Role::Master, CopyState::Serving, running(3, 1, 4, EngineRole::Master, 900)),
            stopped,
            reserved,
            free,
        ],
    }
}

#[test]
fn hosts() {
    golden!(text::fleet::hosts(&trouble(), true));
}

#[test]
fn stores() {
    golden!(text::fleet::stores(&stores_view(), true));
}

#[test]
fn no_store_fits() {
    let none = StoresView { stores: Vec::new(), ..stores_view() };
    assert_eq!(text::fleet::stores(&none, true), "0 of 240 stores · revision 48211 · read confirmed\n");
}

#[test]
fn what_no_agent_told_is_a_question() {
    let mut view = stores_view();
    view.stores.truncate(1);
    view.stores[0].served = unknown("only the leader hears agents");
    view.stores[0].live = unknown("only the leader hears agents");
    view.stores[0].worst_lag_records = unknown("only the leader hears agents");
    let text = text::fleet::stores(&view, false);
    assert!(text.contains("NOT CONFIRMED") && text.contains("?/2") && !text.contains("served"), "{text}");
}

#[test]
fn slots() {
    golden!(text::fleet::slots(&slots_view(), true));
}
