//! Who may order, in which boot, and what a receipt is worth.

use crate::world::*;
use slot_agent::core::image::{LedgerImage, LedgerRole, OUTCOMES_KEPT};
use slot_types::engine::*;
use slot_types::ids::*;
use slot_types::order::*;
use slot_types::position::Tip;

fn refused(answer: Answer) -> String {
    match answer {
        Answer::Refused { why } => why,
        other => panic!("not refused: {other:?}"),
    }
}

fn not_yet(answer: Answer) -> String {
    match answer {
        Answer::NotYet { why } => why,
        other => panic!("not NotYet: {other:?}"),
    }
}

#[test]
fn s15_another_cluster_disk_or_an_older_term_is_not_considered() {
    let mut world = World::with_master();
    let before = world.disk.clone();
    let good = order(3, 1, Action::Freeze { limit_ms: 1000 });
    assert!(refused(world.deliver(&Order { cluster: ClusterId([9; 16]), ..good.clone() })).contains("cluster"));
    assert!(refused(world.deliver(&Order { incarnation: Incarnation([9; 16]), ..good.clone() })).contains("disk"));
    let delivery = {
        let mut bytes = slot_types::codec::encode(&good);
        bytes.truncate(30);
        world.event(slot_agent::core::Event::Deliver { delivery: 900, bytes });
        900
    };
    assert!(refused(world.answers[&delivery].clone()).contains("damaged"));
    assert_eq!(world.disk, before, "a refused order leaves no trace");
    world.done(&Order { term: Term(5), ..good.clone() });
    assert!(refused(world.deliver(&order(4, 1, Action::Stop))).contains("term"));
    world.restart();
    assert!(refused(world.deliver(&order(4, 1, Action::Stop))).contains("term"), "the highest term is durable");
    assert!(world.calls.iter().all(|call| *call != EngineCall::Stop));
}

#[test]
fn s15_a_newer_term_between_accept_and_effect_leaves_the_order_to_the_new_leader() {
    let mut world = World::with_master();
    world.kill_engine(1);
    world.launch_fails = true;
    let demote = order(3, 2, Action::Demote);
    let delivery = world.send(&demote);
    // A newer leader speaks while the launch is being tried again.
    refused(world.deliver(&Order { term: Term(2), subject: None, ..order(9, 1, Action::Freeze { limit_ms: 1 }) }));
    world.launch_fails = false;
    assert!(not_yet(world.until_answered(delivery)).contains("term"));
    assert!(world.calls.is_empty());
    world.done(&Order { term: Term(2), ..demote });
}

#[test]
fn s2_a_wiped_disk_takes_nothing_that_was_meant_for_the_old_one() {
    let mut world = World::with_master();
    let disk = LedgerImage::empty(CLUSTER, HostName::new("imap3").unwrap(), Incarnation([7; 16]));
    world.disk = disk;
    world.restart();
    assert!(refused(world.deliver(&order(3, 2, Action::Demote))).contains("disk"));
    assert!(world.calls.is_empty());
    let slot = &world.last_report().slots[0];
    assert!(!slot.ledger_master && slot.ledger_epoch == Epoch::ZERO, "the engine that runs on is reported");
}

#[test]
fn s2_epoch_and_index_survive_restarts() {
    let mut world = World::with_master();
    world.done(&order(7, 5, Action::Demote));
    world.restart();
    assert_eq!(world.never(&order(8, 4, Action::Raise)), NeverWill::OlderEpoch { held: epoch(5) });
    assert_eq!(world.never(&order(6, 9, Action::Raise)), NeverWill::Superseded { held: LogIndex(7) });
    assert_eq!(world.last_report().high_water, LogIndex(8));
}

#[test]
fn s6_a_redelivered_order_answers_its_stored_receipt_and_performs_nothing() {
    let mut world = World::with_master();
    let demote = order(3, 2, Action::Demote);
    let first = world.deliver(&demote);
    let calls = world.calls.len();
    assert_eq!(world.deliver(&Order { term: Term(4), budget_ms: 1, ..demote.clone() }), first);
    world.restart();
    assert_eq!(world.deliver(&Order { term: Term(4), ..demote.clone() }), first);
    world.reboot(OTHER_BOOT);
    assert_eq!(world.deliver(&Order { term: Term(4), ..demote.clone() }), first, "also after another boot");
    assert_eq!(world.calls.len(), calls);
    let other = Order { term: Term(4), action: Action::Raise, ..demote };
    assert!(refused(world.deliver(&other)).contains("another content"));
}

#[test]
fn s6_nothing_is_answered_or_performed_before_the_ledger_has_it() {
    let mut world = World::with_master();
    let persists = world.persists;
    world.crash_before_persist = Some(persists);
    let delivery = world.send(&order(3, 2, Action::Demote));
    assert!(world.crashed && world.calls.is_empty() && !world.answers.contains_key(&delivery));
    world.restart();
    world.crash_before_persist = Some(world.persists + 1);
    let delivery = world.send(&order(3, 2, Action::Demote));
    assert_eq!(world.calls.len(), 1, "performed, and not yet recorded");
    assert!(!world.answers.contains_key(&delivery));
    assert_eq!(world.disk.open_orders().len(), 1);
    world.restart();
    assert_eq!(world.last_report().running, vec![order_id(3, 1)]);
    world.done(&order(3, 2, Action::Demote));
}

#[test]
fn s6_deliveries_of_one_order_under_way_hear_one_answer() {
    let mut world = World::with_master();
    world.hold_calls = true;
    let demote = order(3, 2, Action::Raise);
    let first = world.send(&demote);
    let short = world.send(&Order { budget_ms: 100, ..demote.clone() });
    assert!(not_yet(world.until_answered(short)).contains("not answered"));
    world.release();
    let second = world.send(&demote);
    assert!(matches!(world.answers[&first], Answer::Receipt(_)));
    assert_eq!(world.answers[&first], world.answers[&second]);
    assert_eq!(world.calls.len(), 1);
}

#[test]
fn s10_the_agent_starts_stops_and_changes_nothing_of_itself() {
    let mut world = World::with_master();
    world.restart();
    world.wait(600_000);
    assert!(world.processes.contains_key(&1), "a running engine is left as it is");
    world.kill_engine(1);
    for _ in 0..100 {
        world.wait(10_000);
    }
    world.restart();
    for _ in 0..100 {
        world.wait(10_000);
    }
    assert!(world.deeds.is_empty() && world.calls.is_empty(), "{:?} {:?}", world.deeds, world.calls);
    let slot = &world.last_report().slots[0];
    assert_eq!(slot.engine, EngineSeen::NotRunning, "an engine found dead is only reported");
    assert!(slot.ledger_master && slot.ledger_epoch == epoch(1));
}

#[test]
fn s10_reports_tell_agent_and_engine_apart() {
    let mut world = World::with_master();
    world.wait(600);
    assert!(matches!(&world.last_report().slots[0].engine, EngineSeen::Running(s) if s.role == EngineRole::Master));
    world.unreachable = true;
    world.wait(600);
    assert_eq!(world.last_report().slots[0].engine, EngineSeen::Silent);
    world.unreachable = false;
    world.wait(600);
    assert!(matches!(world.last_report().slots[0].engine, EngineSeen::Running(_)));
}

#[test]
fn r27_an_order_for_another_boot_never_will() {
    let mut world = World::with_master();
    let start = order(3, 1, Action::StartMaster { sync_copies: 0 });
    world.reboot(OTHER_BOOT);
    let copies = world.disk.copies.clone();
    assert_eq!(world.never(&start), NeverWill::BootEnded(BOOT));
    let demote = order(4, 9, Action::Demote);
    assert_eq!(world.never(&demote), NeverWill::BootEnded(BOOT));
    assert!(world.processes.is_empty());
    assert_eq!(world.disk.copies, copies, "refused at the door: neither epoch nor index is raised");
    world.reboot(BOOT);
    assert_eq!(world.never(&start), NeverWill::BootEnded(BOOT), "the refusal is durable");
}

/// S2: an older disk was put back, and an order that was under way comes before any report of it was heard. What it refuses
/// must not make it look newer than it is.
#[test]
fn s2_a_refusal_for_another_boot_is_no_proof_of_a_complete_ledger() {
    let mut world = World::with_master();
    world.reboot(OTHER_BOOT);
    let held = world.disk.meta.highest;
    let demote = order(held.0 + 50, 9, Action::Demote);
    assert_eq!(world.never(&demote), NeverWill::BootEnded(BOOT));
    world.wait(600);
    assert_eq!((world.disk.meta.highest, world.last_report().high_water), (held, held));
    let cancel = host_order(held.0 + 60, Action::Cancel { order: demote.id });
    assert_eq!(world.never(&cancel), NeverWill::BootEnded(BOOT));
    assert_eq!(world.disk.meta.highest, held);
}

#[test]
fn r27_what_was_open_when_the_boot_ended_is_closed() {
    let mut world = World::with_master();
    world.hold_calls = true;
    let freeze = order(3, 1, Action::Freeze { limit_ms: 1000 });
    world.send(&freeze);
    world.hold_calls = false;
    world.reboot(OTHER_BOOT);
    assert!(world.disk.open_orders().is_empty());
    assert_eq!(world.never(&freeze), NeverWill::BootEnded(BOOT));
}

#[test]
fn r25_the_same_master_is_started_again_at_the_same_epoch_only() {
    let mut world = World::with_master();
    world.reboot(OTHER_BOOT);
    let start = |index, n| Order { boot: OTHER_BOOT, ..order(index, n, Action::StartMaster { sync_copies: 0 }) };
    assert!(matches!(world.never(&start(3, 2)), NeverWill::Engine(_)), "a higher epoch is not its own");
    assert_eq!(world.done(&start(4, 1)), Done::Plain);
    assert_eq!(world.engine().role, EngineRole::Master);
    world.done(&Order { boot: OTHER_BOOT, ..order(5, 2, Action::Demote) });
    assert!(matches!(world.never(&start(6, 2)), NeverWill::SameEpochOtherRole { .. }));
    assert!(matches!(world.never(&start(7, 1)), NeverWill::OlderEpoch { .. }));
    assert!(!world.last_report().slots[0].ledger_master);
}

#[test]
fn r5_no_receipt_of_a_start_after_a_demote() {
    let mut world = World::with_master();
    world.kill_engine(1);
    let start = order(3, 1, Action::StartMaster { sync_copies: 0 });
    world.done(&order(4, 2, Action::Demote));
    assert!(matches!(world.never(&start), NeverWill::Superseded { .. }));
    assert_eq!(world.engine().role, EngineRole::Demoted);
}

#[test]
fn outcomes_are_bounded_and_a_forgotten_order_is_never_performed_again() {
    let mut world = World::with_master();
    let canary = |index| host_order(index, Action::Canary { store: store("store1"), epoch: epoch(1), to: source() });
    let count = OUTCOMES_KEPT as u64 + 50;
    for index in 3..3 + count {
        world.done(&canary(index));
    }
    assert!(world.disk.orders.len() <= OUTCOMES_KEPT + 1);
    let calls = world.calls.len();
    let forgotten = world.disk.meta.forgotten;
    assert!(forgotten >= LogIndex(3));
    assert!(matches!(world.never(&canary(3)), NeverWill::Superseded { .. }));
    assert!(matches!(world.never(&order(1, 1, Action::Provision)), NeverWill::Superseded { .. }));
    assert_eq!(world.calls.len(), calls);
    // The latest order of a slot is kept however old it is.
    world.done(&order(2, 1, Action::Promote { expect: Tip::default(), source: None, sync_copies: 0 }));
    assert_eq!(world.calls.len(), calls);
}

#[test]
fn s8_stopped_is_confirmed_only_when_nothing_runs() {
    let mut world = World::with_master();
    assert!(
        matches!(world.never(&host_order(3, Action::ConfirmStopped)), NeverWill::StillRunning(what) if what.contains("store1"))
    );
    world.hold_calls = true;
    let stop = world.send(&order(4, 1, Action::Stop));
    assert!(
        matches!(world.never(&host_order(5, Action::ConfirmStopped)), NeverWill::StillRunning(what) if what.contains("order p4"))
    );
    world.release();
    assert!(matches!(world.until_answered(stop), Answer::Receipt(_)));
    assert!(world.processes.is_empty());
    assert_eq!(world.done(&host_order(6, Action::ConfirmStopped)), Done::Plain);
    assert_eq!(world.done(&host_order(6, Action::ConfirmStopped)), Done::Plain);
    assert!(world.disk.copies.values().all(|entry| entry.stopped && entry.role == LedgerRole::Master));
}

/// R10, S16: a restored cluster is refused until its Adopt was taken, and whoever coordinated before it ever after.
#[test]
fn r10_orders_of_another_generation_are_refused_until_it_is_adopted() {
    let mut world = World::with_master();
    let first = LogIndex::first_of(1);
    let restored = |index: u64, action: Action| {
        let id = OrderId { plan: PlanId(1_000_000_000 + index), ..order_id(1, 1) };
        Order { index: LogIndex(first.0 + index), term: Term(first.0 + 1), id, ..order(0, 2, action) }
    };
    let before = world.disk.clone();
    let Answer::Refused { why } = world.deliver(&restored(5, Action::Demote)) else { panic!("taken") };
    assert!(why.contains("was not re-adopted"), "{why}");
    assert_eq!(world.disk, before, "not even its term is noted");
    let adopt = Order { subject: None, ..restored(0, Action::Adopt) };
    assert_eq!(world.done(&adopt), Done::Plain);
    assert_eq!(world.disk.meta.highest, first);
    // A leader from before, whatever its term.
    let old = Order { term: Term(first.0 + 9), ..order(40, 2, Action::Demote) };
    let Answer::Refused { why } = world.deliver(&old) else { panic!("taken") };
    assert!(why.contains("was adopted by generation 1"), "{why}");
    world.restart();
    assert!(matches!(world.deliver(&old), Answer::Refused { .. }));
    world.done(&restored(6, Action::Demote));
    // Adopt again, by a new leader, is answered and nothing more.
    assert_eq!(world.done(&Order { term: Term(first.0 + 2), ..adopt }), Done::Plain);
    let further = LogIndex::first_of(2);
    let index = Order { index: further, term: Term(further.0 + 1), ..order(0, 3, Action::Raise) };
    assert!(matches!(world.deliver(&index), Answer::Refused { .. }));
}

/// R10, R27, L1: every Adopt of a generation has the same id, so one that comes after its boot has ended must not be the answer to
/// the one for the boot that began.
#[test]
fn r10_an_adopt_that_comes_too_late_for_its_boot_keeps_no_later_one_out() {
    let mut world = World::with_master();
    let first = LogIndex::first_of(1);
    let adopt = Order { index: first, term: Term(first.0), subject: None, ..order(0, 1, Action::Adopt) };
    let ended = Order { boot: BootId([9; 16]), ..adopt.clone() };
    assert!(matches!(world.deliver(&ended), Answer::Refused { .. }));
    assert!(world.disk.meta.highest < first, "that boot's Adopt adopts nothing");
    world.restart();
    assert!(matches!(world.deliver(&ended), Answer::Refused { .. }));
    assert_eq!(world.done(&adopt), Done::Plain);
    assert_eq!(world.disk.meta.highest, first);
    assert!(matches!(world.deliver(&ended), Answer::Receipt(_)), "it was adopted");
}

/// S16, R21: an order of before that waits for its turn is void once the host was re-adopted.
#[test]
fn s16_an_order_that_waits_is_not_taken_after_the_host_was_re_adopted() {
    let mut world = World::with_master();
    world.hold_calls = true;
    let first = world.send(&order(3, 1, Action::Freeze { limit_ms: 60_000 }));
    let waits = world.send(&order(4, 2, Action::Demote));
    let began = LogIndex::first_of(1);
    let adopt = Order { index: began, term: Term(began.0), subject: None, ..order(0, 1, Action::Adopt) };
    assert_eq!(world.done(&adopt), Done::Plain);
    world.release();
    world.until_answered(first);
    let Answer::Refused { why } = world.until_answered(waits) else { panic!("taken") };
    assert!(why.contains("was adopted by generation 1"), "{why}");
    assert!(world.disk.copies.values().all(|entry| entry.role == LedgerRole::Master), "nobody demoted it");
}
