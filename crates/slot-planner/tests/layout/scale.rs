//! Figures that are followed, held against figures that are counted.

use crate::fleets::{Dice, any_fleet, uneven};
use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;
use slot_planner::layout::scale::{Homeless, Measure, Scale};
use slot_planner::layout::*;

/// A copy of a fleet's, to be taken up or moved.
fn copy(fleet: &Fleet, pick: usize) -> (u32, usize) {
    let store = pick as u32 % fleet.stores.len() as u32;
    (store, pick / 32 % fleet.range(store).len())
}

/// Takes one copy up and holds what each host would come to, then puts it down on one of them.
fn hold(fleet: &Fleet, layout: &mut Layout, scale: &mut Scale<'_>, (pick, onto): (usize, usize)) -> TestCaseResult {
    let (store, nth) = copy(fleet, pick);
    let range = fleet.range(store);
    let was = std::mem::replace(&mut layout.at[range.start + nth], NOWHERE);
    scale.follow(layout);
    prop_assert_eq!(scale.measure(), Measure::from(&figures(fleet, layout)));
    let able: Vec<u32> = fleet.active().filter(|host| !layout.at[range.clone()].contains(host)).collect();
    let with = scale.with(Homeless { store, nth, more: 0 }, &able);
    for (host, measured) in able.iter().zip(with) {
        layout.at[range.start + nth] = *host;
        prop_assert_eq!(measured, Measure::from(&figures(fleet, layout)), "{} of {} on {}", nth, store, host);
    }
    layout.at[range.start + nth] = able.get(onto % able.len().max(1)).copied().unwrap_or(was);
    scale.follow(layout);
    prop_assert_eq!(scale.measure(), Measure::from(&figures(fleet, layout)));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// Hosts and stores of any weight, some down, and all alike, where not every loss is looked at.
    #[test]
    fn what_is_followed_is_what_is_counted(
        any in any_fleet(),
        alike in any::<bool>(),
        picks in prop::collection::vec((0usize..10_000, 0usize..100), 1..8),
    ) {
        let (mut fleet, mut layout) = any;
        if alike {
            fleet.hosts.iter_mut().for_each(|host| host.weight = 1000);
            fleet.stores.iter_mut().for_each(|store| store.load = 1);
        }
        let mut scale = Scale::of(&fleet, &layout);
        for pick in picks {
            hold(&fleet, &mut layout, &mut scale, pick)?;
        }
    }
}

/// On larger fleets, from as uneven as they come to even: every host for some masters and replicas.
#[test]
fn on_larger_fleets_too() {
    let (fleet, mut layout) = uneven(24, 6, 12);
    let even = solve(&fleet, &layout, &Goal::Rebalance, &Wish::default()).unwrap().layout;
    let mut scale = Scale::of(&fleet, &layout);
    let mut dice = Dice(3);
    for turn in 0..40 {
        if turn == 20 {
            layout = even.clone();
        }
        let pick = (dice.below(10_000) as usize, dice.below(100) as usize);
        hold(&fleet, &mut layout, &mut scale, pick).unwrap();
    }
}

/// What it takes is counted in masters that are looked at: a fleet of 4,000 hosts with 30 stores each is looked at once, and then each
/// copy, on each of all hosts, costs a small part of that, where counting it anew for each host would be 4,000 times as much.
#[test]
fn a_copy_is_weighed_on_four_thousand_hosts_for_less_than_the_fleet_is_counted_twice() {
    let hosts = 4_000;
    let mut fleet = Fleet::default();
    fleet.hosts.extend((0..hosts).map(|host| Host::new(10_000, 200).within(&[host / 40])));
    let store = Store { size: 10, load: 1, copies: 2, level: RACK };
    let rows: Vec<[u32; 2]> =
        (0..hosts * 30).map(|n| [n % hosts, (n % hosts + 40 * (n / hosts + 1)) % hosts]).collect();
    let mut layout = Layout::of(&mut fleet, rows.iter().map(|on| (store, on.as_slice())));
    let mut scale = Scale::of(&fleet, &layout);
    let once = scale.looks;
    assert_eq!(once, 120_000);
    for nth in [0, 1] {
        let at = fleet.range(77).start + nth;
        let was = std::mem::replace(&mut layout.at[at], NOWHERE);
        let before = scale.looks;
        scale.follow(&layout);
        let able: Vec<u32> = fleet.active().filter(|host| !layout.copies(&fleet, 77).contains(host)).collect();
        let with = scale.with(Homeless { store: 77, nth, more: 0 }, &able);
        assert_eq!(with.len(), able.len());
        let looks = scale.looks - before;
        assert!(looks < 2 * once, "{looks} for the copy {nth}");
        layout.at[at] = was;
    }
}
