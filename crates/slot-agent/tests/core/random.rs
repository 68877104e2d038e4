//! Arbitrary sequences of orders, duplicated, reordered, interrupted: nothing panics, nothing goes back, and no receipt
//! ever changes.

use crate::world::*;
use proptest::prelude::*;
use slot_types::ids::*;
use slot_types::order::*;
use slot_types::position::Tip;
use std::collections::BTreeMap;

#[derive(Clone, Debug)]
enum Move {
    Deliver(Box<Order>),
    Again(usize),
    Wait(u64),
    Restart,
    Reboot,
    KillEngine(u16),
    Unreachable(bool),
    Hold,
    Release,
    KillFails(bool),
    LaunchFails(bool),
}

fn action() -> impl Strategy<Value = Action> {
    let target = (1u64..30, 1u32..3).prop_map(|(plan, attempt)| order_id(plan, attempt)).boxed();
    prop_oneof![
        3 => Just(Action::Provision),
        2 => Just(Action::Freeze { limit_ms: 500 }),
        1 => target.clone().prop_map(|freeze| Action::Thaw { freeze }),
        1 => Just(Action::CatchUp { source: source(), target: Tip::default() }),
        3 => Just(Action::Demote),
        2 => Just(Action::Raise),
        3 => any::<bool>().prop_map(|from| Action::Promote { expect: Tip::default(), source: from.then(source), sync_copies: 0 }),
        2 => Just(Action::StartMaster { sync_copies: 0 }),
        2 => Just(Action::Follow { source: source() }),
        1 => Just(Action::Stop),
        1 => Just(Action::Reinject { to: source() }),
        1 => Just(Action::Canary { store: store("store1"), epoch: epoch(1), to: source() }),
        1 => Just(Action::ConfirmStopped),
        1 => Just(crate::fence::fence()),
        2 => target.prop_map(|order| Action::Cancel { order }),
    ]
}

fn any_order() -> impl Strategy<Value = Order> {
    let who = (1u64..30, 1u32..3, 1u64..4, prop_oneof![9 => Just(BOOT), 1 => Just(OTHER_BOOT)]);
    let what = (1u16..4, prop_oneof![5 => Just("store1"), 1 => Just("store2")], 1u32..3, 0u64..6);
    (who, what, action(), 1u64..3_000).prop_map(
        |((plan, attempt, term, boot), (slot, name, generation, n), action, budget_ms)| {
            let subject = Subject { store: store(name), slot, generation: CopyGeneration(generation), epoch: epoch(n) };
            Order {
                id: order_id(plan, attempt),
                index: LogIndex(plan * 2 + u64::from(attempt)),
                term: Term(term),
                boot,
                subject: Some(subject),
                budget_ms,
                ..order(0, 0, action)
            }
        },
    )
}

fn any_move() -> impl Strategy<Value = Move> {
    prop_oneof![
        12 => any_order().prop_map(|order| Move::Deliver(Box::new(order))),
        6 => any::<usize>().prop_map(Move::Again),
        4 => (1u64..2_000).prop_map(Move::Wait),
        1 => Just(Move::Restart),
        1 => Just(Move::Reboot),
        1 => (1u16..3).prop_map(Move::KillEngine),
        1 => any::<bool>().prop_map(Move::Unreachable),
        1 => Just(Move::Hold),
        2 => Just(Move::Release),
        1 => any::<bool>().prop_map(Move::KillFails),
        1 => any::<bool>().prop_map(Move::LaunchFails),
    ]
}

/// What must hold after every move.
#[derive(Default)]
struct Checker {
    receipts: BTreeMap<OrderId, Outcome>,
    checked: u64,
    epochs: BTreeMap<(u16, StoreName, CopyGeneration), Epoch>,
    indexes: BTreeMap<u16, LogIndex>,
}

impl Checker {
    fn check(&mut self, world: &World) {
        for (_, answer) in world.answers.range(self.checked..) {
            let Answer::Receipt(receipt) = answer else { continue };
            let earlier = self.receipts.insert(receipt.id, receipt.outcome.clone());
            let thawed = receipt.outcome == Outcome::NeverWill(NeverWill::Thawed);
            if let Some(earlier) = earlier {
                assert!(
                    earlier == receipt.outcome || thawed,
                    "S6: {} was {earlier:?}, is {:?}",
                    receipt.id,
                    receipt.outcome
                );
            }
        }
        for (key, entry) in &world.disk.copies {
            let key = (key.slot, key.store.clone(), key.generation);
            let epoch = self.epochs.entry(key.clone()).or_default();
            assert!(entry.epoch >= *epoch, "S2: {key:?} went back");
            *epoch = entry.epoch;
        }
        for slot in 1..=3 {
            let index = self.indexes.entry(slot).or_default();
            assert!(world.disk.high_water(slot) >= *index, "R4: the index of slot {slot} went back");
            *index = world.disk.high_water(slot);
            let open = world.disk.orders.values().filter(|entry| entry.slot == Some(slot) && entry.outcome.is_none());
            assert!(open.count() <= 1, "R21: two open orders on slot {slot}");
            let living = world.disk.copies.iter().filter(|(key, entry)| key.slot == slot && !entry.retired);
            assert!(living.count() <= 1, "R11: two copies on slot {slot}");
        }
        for engine in world.copies.values() {
            assert!(engine.starts.values().all(|count| *count == 1), "S6: two epoch-start records");
        }
    }
}

fn play(world: &mut World, orders: &mut Vec<Order>, step: Move) {
    match step {
        Move::Deliver(order) => {
            world.send(&order);
            orders.push(*order);
        }
        Move::Again(which) => {
            if !orders.is_empty() {
                let order = orders[which % orders.len()].clone();
                world.send(&order);
            }
        }
        Move::Wait(ms) => world.wait(ms),
        Move::Restart => world.restart(),
        Move::Reboot => {
            let boot = if world.boot == BOOT { OTHER_BOOT } else { BOOT };
            world.reboot(boot);
        }
        Move::KillEngine(slot) => world.kill_engine(slot),
        Move::Unreachable(yes) => world.unreachable = yes,
        Move::Hold => world.hold_calls = true,
        Move::Release => world.release(),
        Move::KillFails(yes) => world.kill_fails = yes,
        Move::LaunchFails(yes) => world.launch_fails = yes,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn s2_s6_s11_any_sequence_of_orders_keeps_the_ledger_lawful(moves in prop::collection::vec(any_move(), 1..80)) {
        let mut world = World::new();
        let mut checker = Checker::default();
        let mut orders = Vec::new();
        for step in moves {
            play(&mut world, &mut orders, step);
            checker.check(&world);
        }
        // Everything that was delivered in this agent's life is answered in the end.
        world.unreachable = false;
        world.release();
        let last = world.send(&host_order(100, Action::ConfirmStopped));
        for _ in 0..400 {
            world.wait(50);
            checker.check(&world);
        }
        prop_assert!(world.answers.contains_key(&last));
    }

    #[test]
    fn s11_any_bytes_are_refused_or_lawful(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let mut world = World::with_master();
        let before = world.disk.clone();
        world.event(slot_agent::core::Event::Deliver { delivery: 1_000, bytes });
        let refused = matches!(world.answers[&1_000], Answer::Refused { .. });
        prop_assert!(refused);
        prop_assert_eq!(&world.disk, &before);
    }

    #[test]
    fn s11_a_flipped_bit_never_changes_another_copy(bit in 0usize..2_000) {
        let mut world = World::with_master();
        let mut bytes = slot_types::codec::encode(&order(3, 2, Action::Raise));
        let at = bit % (bytes.len() * 8);
        bytes[at / 8] ^= 1 << (at % 8);
        world.event(slot_agent::core::Event::Deliver { delivery: 1_000, bytes });
        for _ in 0..200 {
            world.wait(100);
        }
        prop_assert!(world.disk.copies.len() <= 2);
    }
}
