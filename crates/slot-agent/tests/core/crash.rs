//! The agent dies at every transaction of a hand-over's orders; the orders are delivered again.

use crate::world::*;
use slot_types::order::*;
use slot_types::position::{Position, Tip};

/// The life of one copy: made, caught up and promoted, frozen and thawed, demoted, following, stopped.
fn script() -> Vec<Order> {
    let want = Tip { position: Position { epoch: epoch(1), length: 7 }, ..Tip::default() };
    let freeze = order(4, 2, Action::Freeze { limit_ms: 60_000 });
    vec![
        order(1, 1, Action::Provision),
        order(2, 2, Action::Raise),
        order(3, 2, Action::Promote { expect: want, source: Some(source()), sync_copies: 0 }),
        freeze.clone(),
        order(5, 2, Action::Thaw { freeze: freeze.id }),
        order(6, 3, Action::Demote),
        order(7, 3, Action::Follow { source: source() }),
        host_order(8, Action::Canary { store: store("store1"), epoch: epoch(3), to: source() }),
        host_order(9, Action::Cancel { order: order_id(7, 1) }),
        order(10, 3, Action::Stop),
        host_order(11, Action::ConfirmStopped),
    ]
}

fn receipt(answer: Answer) -> Receipt {
    match answer {
        Answer::Receipt(receipt) => receipt,
        other => panic!("no receipt: {other:?}"),
    }
}

fn play(world: &mut World, orders: &[Order]) -> Vec<Receipt> {
    orders.iter().map(|order| receipt(world.deliver(order))).collect()
}

#[test]
fn s6_a_crash_at_every_transaction_gives_the_same_receipts_and_no_effect_twice() {
    let mut plain = World::new();
    let wanted = play(&mut plain, &script());
    let persists = plain.persists;
    assert!(persists > 2 * 9, "each order is accepted and recorded");
    for crash in 0..persists {
        let mut world = World::new();
        world.crash_before_persist = Some(crash);
        let mut receipts = Vec::new();
        for order in script() {
            let delivery = world.send(&order);
            if world.crashed {
                assert!(!world.answers.contains_key(&delivery), "S6: answered and not durable, crash {crash}");
                world.restart();
            }
            receipts.push(receipt(world.deliver(&order)));
        }
        assert_eq!(receipts, wanted, "crash before transaction {crash}");
        assert!(world.engine().starts.values().all(|count| *count == 1), "an epoch-start record twice, crash {crash}");
        // The next agent adopts the engine, so that nothing is made or launched a second time.
        assert_eq!(world.deeds, plain.deeds, "crash before transaction {crash}");
        assert_eq!(world.disk.copies, plain.disk.copies, "crash before transaction {crash}");
        assert_eq!(world.engine().tip, plain.engine().tip);
    }
}

#[test]
fn r4_orders_delivered_again_in_any_order_after_a_crash_never_undo_a_later_one() {
    let mut plain = World::new();
    play(&mut plain, &script());
    let persists = plain.persists;
    for crash in 0..persists {
        let mut world = World::new();
        world.crash_before_persist = Some(crash);
        let mut sent = Vec::new();
        for order in script() {
            world.send(&order);
            sent.push(order);
            if world.crashed {
                break;
            }
        }
        world.restart();
        let epoch_held = world.disk.copies.values().map(|entry| entry.epoch).max().unwrap_or_default();
        let last = sent.last().cloned().unwrap();
        let _ = receipt(world.deliver(&last));
        for order in sent.iter().rev() {
            let first = world.deliver(order);
            assert_eq!(world.deliver(order), first, "a receipt changed, crash {crash}");
        }
        assert!(world.disk.copies.values().all(|entry| entry.epoch >= epoch_held));
        assert!(world.disk.open_orders().is_empty());
    }
}

#[test]
fn r27_a_reboot_at_every_transaction_closes_what_was_open() {
    let mut plain = World::new();
    play(&mut plain, &script());
    for crash in 0..plain.persists {
        let mut world = World::new();
        world.crash_before_persist = Some(crash);
        let mut sent: Vec<Order> = Vec::new();
        for order in script() {
            world.send(&order);
            sent.push(order);
            if world.crashed {
                break;
            }
        }
        world.reboot(OTHER_BOOT);
        assert!(world.processes.is_empty());
        let deeds = world.deeds.len();
        for order in &sent {
            let outcome = receipt(world.deliver(order)).outcome;
            let last = Some(order) == sent.last();
            let ended = outcome == Outcome::NeverWill(NeverWill::BootEnded(BOOT));
            assert!(!last || ended || matches!(outcome, Outcome::Done(_)), "{outcome:?}");
        }
        assert_eq!(world.deeds.len(), deeds, "nothing of an ended boot is done, crash {crash}");
    }
}
