//! Why not each other host: every change that is said is made by hand, and the copy judged again.

use super::fleets::any_fleet;
use proptest::prelude::*;
use slot_planner::layout::why::*;
use slot_planner::layout::*;

/// A fleet in which a change that was said is made.
fn changed((fleet, layout): (&Fleet, &Layout), copy: Copy, host: u32, change: &Change) -> (Fleet, Layout) {
    let (mut fleet, mut layout) = (fleet.clone(), layout.clone());
    for were in &change.were {
        make(&mut fleet, &mut layout, copy, host, were);
    }
    for (store, to) in &change.led_elsewhere {
        let copies = &mut layout.at[fleet.range(*store)];
        assert_eq!(copies[0], host, "it leads the store now");
        let nth = copies.iter().position(|at| at == to).expect("there is a copy");
        copies.swap(0, nth);
    }
    if let Some(bytes) = change.bytes {
        let on = &mut fleet.hosts[host as usize];
        (on.bytes, on.slots) = (on.bytes + bytes, on.slots.saturating_add(1));
    }
    (fleet, layout)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn every_change_that_is_said_makes_its_host_the_choice(made in any_fleet(), pick in any::<prop::sample::Index>()) {
        let (fleet, layout) = made;
        let store = pick.index(fleet.stores.len()) as u32;
        for nth in 0..layout.copies(&fleet, store).len() {
            let here = &places(&fleet, &layout, &[(store, nth)])[0];
            let hosts = fleet.hosts.len() - usize::from(here.host != NOWHERE);
            prop_assert_eq!(here.others.len(), hosts, "every other host has its reason");
            for other in &here.others {
                prop_assert_eq!(other.why == Why::Best, here.best == Some(other.host));
                let Ok(change) = &other.change else { continue };
                let (then, placed) = changed((&fleet, &layout), (store, nth), other.host, change);
                let again = &places(&then, &placed, &[(store, nth)])[0];
                prop_assert_eq!(again.best, Some(other.host), "{:?}", other);
                // No part of it can be left out.
                if let Some(bytes) = change.bytes.filter(|bytes| *bytes > 0) {
                    let less = Change { bytes: Some(bytes - 1), ..change.clone() };
                    let (then, placed) = changed((&fleet, &layout), (store, nth), other.host, &less);
                    let again = &places(&then, &placed, &[(store, nth)])[0];
                    prop_assert_ne!(again.best, Some(other.host), "less room is enough: {:?}", other);
                }
                for skipped in 0..change.led_elsewhere.len() {
                    let mut fewer = change.clone();
                    fewer.led_elsewhere.remove(skipped);
                    let (then, placed) = changed((&fleet, &layout), (store, nth), other.host, &fewer);
                    let again = &places(&then, &placed, &[(store, nth)])[0];
                    prop_assert_ne!(again.best, Some(other.host), "fewer are enough: {:?}", other);
                }
            }
        }
    }
}

/// What a rule forbids is told apart from what is only worse, and each kind of change is said somewhere.
#[test]
fn each_reason_has_its_change() {
    let mut fleet = Fleet::default();
    for rack in [0, 1, 1, 2, 3, 4] {
        fleet.hosts.push(Host::new(1_000, 16).within(&[rack]));
    }
    fleet.hosts[3].state = State::Draining;
    fleet.hosts[4].bytes = 5;
    // Room for one copy, and so full with it that nothing comes there by itself.
    fleet.hosts[5].bytes = 15;
    let store = |size| Store { size, load: 1, copies: 2, level: RACK };
    let rows = [(store(10), [0, 1]), (store(10), [2, 0]), (store(10), [2, 0])];
    let layout = Layout::of(&mut fleet, rows.iter().map(|(store, at)| (*store, at.as_slice())));
    let here = &places(&fleet, &layout, &[(0, 0)])[0];
    assert_eq!((here.host, here.broken, here.best), (0, None, Some(0)));
    let change = |host: u32| here.others.iter().find(|other| other.host == host).unwrap().change.clone().unwrap();
    assert_eq!(change(3).were.first(), Some(&Were::Active));
    assert_eq!(change(2).were.first(), Some(&Were::ApartFrom(1)));
    assert_eq!(change(1).were.first(), Some(&Were::CopyOn(5)));
    assert!(change(4).bytes >= Some(5), "{:?}", change(4));
}
