//! A person at the machine starts a master while there is no coordinator (R19).

use crate::world::*;
use slot_agent::core::Event;
use slot_agent::core::hand::ByHand;
use slot_agent::core::image::LedgerImage;
use slot_types::engine::*;
use slot_types::hand::{HAND_STARTS_KEPT, HandStart, HandState};
use slot_types::order::*;
use slot_types::position::Tip;

fn promote(index: u64, n: u64) -> Order {
    order(index, n, Action::Promote { expect: Tip::default(), source: None, sync_copies: 1 })
}

/// A master at epoch 1 whose engine died: what a person finds.
fn dead_master() -> World {
    let mut world = World::new();
    world.done(&order(1, 1, Action::Provision));
    world.done(&promote(2, 1));
    world.kill_engine(1);
    world.calls.clear();
    world.deeds.clear();
    world
}

fn branches(image: &LedgerImage) -> Vec<HandStart> {
    image.current(1).map(|(_, entry)| entry.by_hand.clone()).unwrap_or_default()
}

fn refused(world: &mut World, n: u64) -> String {
    let (disk, deeds) = (world.disk.clone(), world.deeds.clone());
    let why = world.by_hand(n).unwrap_err();
    assert_eq!((&world.disk, &world.deeds), (&disk, &deeds), "a refusal changes nothing");
    why
}

#[test]
fn r19_a_dead_master_is_started_by_hand_at_its_own_epoch_and_the_branch_is_named() {
    let mut world = dead_master();
    let start = world.by_hand(1).unwrap();
    assert_eq!((start.number, start.epoch, start.uid, &start.state), (1, epoch(1), 1000, &HandState::Serving));
    assert_eq!(start.branch(&store("store1")), "store1@1+1");
    assert_eq!(branches(&world.disk), vec![start.clone()]);
    // R24: with as many copies as the Promote asked for, never fewer.
    assert_eq!(world.calls, vec![EngineCall::StartMaster { epoch: epoch(1), sync_copies: 1 }]);
    assert_eq!(world.engine().role, EngineRole::Master);
    world.wait(1_000);
    assert_eq!(world.last_report().slots[0].by_hand, vec![start], "the leader hears of it");
}

#[test]
fn r19_after_a_reboot_too() {
    let mut world = dead_master();
    world.reboot(OTHER_BOOT);
    let start = world.by_hand(1).unwrap();
    assert_eq!((start.boot, &start.state), (OTHER_BOOT, &HandState::Serving));
}

#[test]
fn r19_the_branch_is_durable_before_anything_is_started() {
    let mut world = dead_master();
    world.crash_before_persist = Some(world.persists);
    world.ask_by_hand(1);
    assert!(world.crashed && world.deeds.is_empty() && world.calls.is_empty(), "{:?}", world.deeds);
    world.restart();
    assert_eq!(branches(&world.disk), Vec::new());
    // One transaction later the branch is there, and what became of it is not known.
    let mut world = dead_master();
    world.crash_before_persist = Some(world.persists + 1);
    world.ask_by_hand(1);
    world.restart();
    assert_eq!(branches(&world.disk).iter().map(|b| b.state.clone()).collect::<Vec<_>>(), vec![HandState::Asked]);
}

#[test]
fn r19_the_agent_does_not_start_a_master_again_by_itself_afterwards() {
    let mut world = dead_master();
    world.by_hand(1).unwrap();
    world.kill_engine(1);
    world.deeds.clear();
    world.wait(120_000);
    world.restart();
    world.wait(120_000);
    assert_eq!(world.deeds, Vec::<String>::new());
    assert_eq!(world.by_hand(1).unwrap().number, 2);
}

#[test]
fn r19_another_epoch_is_refused_and_none_is_invented() {
    let mut world = dead_master();
    for n in [0, 2, 7] {
        assert!(refused(&mut world, n).contains("the ledger holds epoch 1"), "{n}");
    }
}

#[test]
fn r19_a_copy_that_was_not_master_is_refused() {
    let mut world = World::with_master();
    world.done(&order(3, 2, Action::Demote));
    world.kill_engine(1);
    let why = refused(&mut world, 2);
    assert!(why.contains("was not the master"), "{why}");
    assert!(refused(&mut world, 1).contains("holds epoch 2"));
    let mut replica = World::new();
    replica.done(&order(1, 1, Action::Provision));
    replica.done(&order(2, 1, Action::Follow { source: source() }));
    replica.kill_engine(1);
    assert!(refused(&mut replica, 1).contains("was not the master"));
}

#[test]
fn r19_a_promote_without_an_outcome_made_nobody_master() {
    let mut world = World::new();
    world.done(&order(1, 1, Action::Provision));
    world.unreachable = true;
    world.deliver(&promote(2, 1));
    world.kill_engine(1);
    world.unreachable = false;
    let why = refused(&mut world, 1);
    assert!(why.contains("unfinished"), "{why}");
}

#[test]
fn r19_not_while_a_leader_watches_nor_while_the_engine_may_be_master() {
    let mut world = dead_master();
    let ask = Event::ByHand { ask: 900, by_hand: Box::new(ByHand { led: true, ..by_hand(1) }) };
    world.event(ask);
    assert!(world.told[&900].as_ref().unwrap_err().contains("a coordinator that leads"));
    let mut world = World::with_master();
    assert!(refused(&mut world, 1).contains("is master"));
    world.unreachable = true;
    world.wait(2_000);
    assert!(refused(&mut world, 1).contains("may be master already"));
}

#[test]
fn r19_s2_nothing_starts_from_a_disk_that_nobody_vouched_for() {
    let mut world = dead_master();
    let ask = Event::ByHand { ask: 900, by_hand: Box::new(ByHand { disk_is_current: false, ..by_hand(1) }) };
    world.event(ask);
    let why = world.told[&900].as_ref().unwrap_err();
    assert!(why.contains("put back") && why.contains("--disk-is-current"), "{why}");
    assert!(world.disk.copies.values().all(|entry| entry.by_hand.is_empty()), "no branch was begun");
    assert_eq!(world.by_hand(1).unwrap().state, HandState::Serving);
}

#[test]
fn s2_a_copied_ledger_starts_nothing_until_its_disk_is_admitted() {
    let mut world = dead_master();
    world.disk.meta.copied = true;
    world.restart();
    assert!(refused(&mut world, 1).contains("copied or restored"));
    // An order for this disk says that it was admitted.
    world.done(&order(3, 1, Action::StartMaster { sync_copies: 0 }));
    assert!(!world.disk.meta.copied);
    world.kill_engine(1);
    assert_eq!(world.by_hand(1).unwrap().state, HandState::Serving);
}

#[test]
fn r19_an_order_that_comes_meanwhile_goes_first_or_waits_for_what_is_out() {
    // While the engine is asked, the demote waits; then it is done, and the branch is over.
    let mut world = dead_master();
    world.hold_calls = true;
    let ask = world.ask_by_hand(1);
    let demote = world.send(&order(3, 2, Action::Demote));
    assert_eq!(world.held.len(), 1, "R21: one at a time");
    world.release();
    assert_eq!(world.until_told(ask).unwrap().state, HandState::Serving);
    assert!(matches!(world.until_answered(demote), Answer::Receipt(Receipt { outcome: Outcome::Done(_), .. })));
    assert_eq!(world.engine().role, EngineRole::Demoted);
    // A start that does not come up gives way to it.
    let mut world = dead_master();
    world.launch_fails = true;
    let ask = world.ask_by_hand(1);
    let demote = world.send(&order(3, 2, Action::Demote));
    world.launch_fails = false;
    let state = world.until_told(ask).unwrap().state;
    assert!(matches!(&state, HandState::Failed(why) if why.contains("came first")), "{state:?}");
    assert!(matches!(world.until_answered(demote), Answer::Receipt(Receipt { outcome: Outcome::Done(_), .. })));
    assert!(!world.calls.iter().any(|call| matches!(call, EngineCall::StartMaster { .. })));
}

#[test]
fn s8_a_host_is_not_confirmed_stopped_while_a_person_starts_something() {
    let mut world = dead_master();
    world.launch_fails = true;
    world.ask_by_hand(1);
    let never = world.never(&host_order(3, Action::ConfirmStopped));
    assert!(matches!(&never, NeverWill::StillRunning(what) if what.contains("by hand")), "{never:?}");
}

#[test]
fn r19_what_never_answers_is_said_to_be_unknown() {
    let mut world = dead_master();
    world.unreachable = true;
    assert_eq!(world.by_hand(1).unwrap().state, HandState::Asked);
    let mut world = dead_master();
    world.launch_fails = true;
    assert!(matches!(world.by_hand(1).unwrap().state, HandState::Failed(_)));
}

/// A call whose answer was lost may have made it master; what the next one says takes nothing back.
#[test]
fn r19_a_refusal_after_a_lost_answer_does_not_say_that_it_never_served() {
    let mut world = dead_master();
    world.hold_calls = true;
    let ask = world.ask_by_hand(1);
    for error in [EngineError::TimedOut("no answer".into()), EngineError::WrongRole(EngineRole::Idle)] {
        let (call, ..) = world.held.pop().expect("the engine was asked");
        world.event(Event::EngineAnswer { call, result: Err(error) });
        world.wait(200);
    }
    assert_eq!(world.until_told(ask).unwrap().state, HandState::Asked);
    // One that was refused at once never was.
    let mut world = dead_master();
    world.hold_calls = true;
    let ask = world.ask_by_hand(1);
    let (call, ..) = world.held.pop().expect("the engine was asked");
    world.event(Event::EngineAnswer { call, result: Err(EngineError::WrongRole(EngineRole::Idle)) });
    assert!(matches!(world.until_told(ask).unwrap().state, HandState::Failed(_)));
}

#[test]
fn r19_branches_are_bounded_and_their_numbers_show_the_gap() {
    let mut world = dead_master();
    for _ in 0..HAND_STARTS_KEPT + 3 {
        world.by_hand(1).unwrap();
        world.kill_engine(1);
    }
    let numbers: Vec<u32> = branches(&world.disk).iter().map(|start| start.number).collect();
    assert_eq!(numbers, (4..=19).collect::<Vec<_>>());
}
