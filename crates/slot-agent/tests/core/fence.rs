//! R26: an order to switch another host off, from the ledger's point of view and the device's.

use crate::world::*;
use slot_types::fence::*;
use slot_types::ids::*;
use slot_types::order::*;

/// To switch off imap9.
pub fn fence() -> Action {
    let device = FenceSpec {
        agent: FenceAgent::new("fence_ipmilan").unwrap(),
        options: [(FenceKey::new("ip").unwrap(), FenceValue::new("10.9.0.9").unwrap())].into(),
        password_file: None,
        timeout_ms: 20_000,
        from: FenceFrom::AnotherRack,
    };
    Action::Fence { host: HostName::new("imap9").unwrap(), ends: BootId([9; 16]), device: Box::new(device) }
}

fn not_off(never: NeverWill) -> String {
    match never {
        NeverWill::NotOff { host, why } => {
            assert_eq!(host.as_str(), "imap9");
            why
        }
        other => panic!("{other:?}"),
    }
}

fn actions(world: &World) -> Vec<FenceAction> {
    world.asked.iter().map(|(action, _)| *action).collect()
}

use FenceAction::{Off, Status};

#[test]
fn r26_off_and_then_status_and_only_that_is_off() {
    let mut world = World::new();
    let order = host_order(5, fence());
    assert_eq!(world.done(&order), Done::Off);
    assert_eq!(actions(&world), [Off, Status]);
    assert_eq!(world.disk.meta.highest, LogIndex(5));
    // S6: delivered again, by a new leader too, and after a restart: from memory.
    assert_eq!(world.done(&Order { term: Term(9), ..order.clone() }), Done::Off);
    world.restart();
    assert_eq!(world.done(&Order { term: Term(9), ..order }), Done::Off);
    assert_eq!(world.asked.len(), 2, "the power was cut once");
}

#[test]
fn r26_a_status_that_says_on_is_asked_until_the_devices_time_is_up() {
    let mut world = World::new();
    world.device.extend([Ok(FenceSaid::Switched), Ok(FenceSaid::Power(Power::On)), Ok(FenceSaid::Power(Power::On))]);
    assert_eq!(world.done(&host_order(5, fence())), Done::Off, "it lagged");
    assert_eq!(actions(&world), [Off, Status, Status, Status]);

    let mut world = World::new();
    world.device.push_back(Ok(FenceSaid::Switched));
    world.device.extend((0..1_000).map(|_| Ok(FenceSaid::Power(Power::On))));
    let why = loop {
        match world.deliver(&host_order(5, fence())) {
            Answer::Receipt(Receipt { outcome: Outcome::NeverWill(why), .. }) => break not_off(why),
            Answer::NotYet { .. } => assert!(world.now < 60_000, "it ends"),
            other => panic!("{other:?}"),
        }
    };
    assert!(why.contains("says ON"), "{why}");
    assert!((20_000..22_000).contains(&world.now), "{}", world.now);
    assert_eq!(actions(&world).iter().filter(|action| **action == Off).count(), 1, "NotYet cuts no power again");
}

#[test]
fn r26_a_device_that_refuses_is_told_twice_and_then_never_will() {
    let mut world = World::new();
    world.device.extend([Err("exit code 1: no route".into()), Err("exit code 1: no route".into())]);
    assert!(not_off(world.never(&host_order(5, fence()))).contains("no route"));
    assert_eq!(actions(&world), [Off, Off]);
    assert!(not_off(world.never(&host_order(5, fence()))).contains("no route"), "R4: refusals are kept too");
    // One that was already off before it was told proves nothing: off comes first.
    let mut world = World::new();
    world.device.push_back(Ok(FenceSaid::Power(Power::Off)));
    assert_eq!(world.done(&host_order(5, fence())), Done::Off);
    assert_eq!(actions(&world), [Off, Off, Status]);
}

#[test]
fn r26_a_device_that_hangs_ends_with_its_time() {
    let mut world = World::new();
    world.hold_device = true;
    let first = world.send(&host_order(5, fence()));
    assert!(matches!(world.until_answered(first), Answer::NotYet { why } if why.contains("has not answered off")));
    let second = world.send(&host_order(5, fence()));
    assert_eq!(world.asked.len(), 1, "who asks again waits for the same call");
    world.now += 20_000;
    let call = world.device_calls[0];
    world.event(slot_agent::core::Event::FenceAnswer { call, result: Err("off did not end within 20s".into()) });
    match world.until_answered(second) {
        Answer::Receipt(Receipt { outcome: Outcome::NeverWill(why), .. }) => {
            assert!(not_off(why).contains("did not end"));
        }
        // Its own budget was over before the device's time was.
        Answer::NotYet { .. } => assert!(not_off(world.never(&host_order(5, fence()))).contains("did not end")),
        other => panic!("{other:?}"),
    }
    assert_eq!(world.asked.len(), 1);
}

/// R4: once the device was asked, a cancel waits for its word, and says it.
#[test]
fn r4_a_cancel_tells_what_became_of_the_power() {
    let mut world = World::new();
    let order = host_order(5, fence());
    // Before it came: it never will.
    assert_eq!(world.never(&host_order(9, Action::Cancel { order: order.id })), NeverWill::Cancelled);
    assert_eq!(world.never(&order), NeverWill::Cancelled);
    assert!(world.asked.is_empty());

    let mut world = World::new();
    world.hold_device = true;
    world.send(&order);
    let cancel = world.send(&host_order(9, Action::Cancel { order: order.id }));
    assert!(!world.answers.contains_key(&cancel));
    world.hold_device = false;
    let call = world.device_calls[0];
    world.event(slot_agent::core::Event::FenceAnswer { call, result: Ok(FenceSaid::Switched) });
    match world.until_answered(cancel) {
        Answer::Receipt(receipt) => assert_eq!(receipt.outcome, Outcome::Done(Done::Off)),
        other => panic!("{other:?}"),
    }
}

/// R27: an order of a boot of this agent that has ended fires no more; a newer leader's word does not stop half-way.
#[test]
fn r27_a_fence_of_an_ended_boot_never_fires() {
    let mut world = World::new();
    assert!(matches!(
        world.never(&Order { boot: OTHER_BOOT, ..host_order(5, fence()) }),
        NeverWill::BootEnded(OTHER_BOOT)
    ));
    world.hold_device = true;
    world.send(&host_order(6, fence()));
    world.reboot(OTHER_BOOT);
    assert!(matches!(world.never(&host_order(6, fence())), NeverWill::BootEnded(_)));
    assert_eq!(world.asked.len(), 1);
}

/// S15: a newer leader speaks while the device is asked: what was begun is seen through, and no power is cut twice for it.
#[test]
fn s15_a_fence_under_way_outlives_its_leader() {
    let mut world = World::new();
    world.hold_device = true;
    let order = host_order(5, fence());
    world.send(&order);
    world.deliver(&Order { term: Term(2), ..host_order(9, Action::ConfirmStopped) });
    world.hold_device = false;
    let call = world.device_calls[0];
    world.event(slot_agent::core::Event::FenceAnswer { call, result: Ok(FenceSaid::Switched) });
    assert_eq!(world.done(&Order { term: Term(2), ..order }), Done::Off);
    assert_eq!(actions(&world), [Off, Status]);
}

#[test]
fn r26_no_host_switches_itself_off() {
    let mut world = World::new();
    let Action::Fence { ends, device, .. } = fence() else { panic!() };
    let own = Action::Fence { host: HostName::new("imap3").unwrap(), ends, device };
    assert!(matches!(world.deliver(&host_order(5, own)), Answer::Refused { why } if why.contains("itself")));
    assert!(world.asked.is_empty());
}
