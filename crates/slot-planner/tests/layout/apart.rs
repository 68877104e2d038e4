//! Any one rack may be lost: the first aim of the engine, after the hard rules; and nothing leaves the engine unchecked.

use super::exact::is_in_one_rack;
use super::fleets::*;
use proptest::prelude::*;
use slot_planner::layout::room::not_survivable;
use slot_planner::layout::*;

/// Stores of several copies on hosts of one rack, counted with nothing of the engine's.
fn in_one_rack(fleet: &Fleet, layout: &Layout) -> usize {
    let together = |store: &u32| is_in_one_rack(fleet, layout.copies(fleet, *store)) && !fleet.is_lost(*store, layout);
    (0..fleet.stores.len() as u32).filter(together).count()
}

/// Two copies of each store may be in one rack by its own spread; a byte more is copied so that they are not.
#[test]
fn a_rack_that_holds_all_copies_of_a_store_gives_one_away() {
    let mut fleet = Fleet::default();
    fleet.hosts.extend((0..6).map(|host| Host::new(1_000, 16).within(&[host / 3])));
    let store = Store { size: 10, load: 1, copies: 2, level: HOST };
    let homes: [[u32; 2]; 6] = [[0, 1], [1, 2], [2, 0], [3, 4], [4, 5], [5, 3]];
    let before = Layout::of(&mut fleet, homes.iter().map(|at| (store, at.as_slice())));
    assert_eq!(not_survivable(&fleet, &before, RACK), [0, 1]);
    let outcome = solve(&fleet, &before, &Goal::Rebalance, &Wish::default()).unwrap();
    assert_eq!(not_survivable(&fleet, &outcome.layout, RACK), Vec::<u32>::new());
    assert_eq!((outcome.bytes, outcome.after.load_max), (60, 1_000));
    let checked = check(&fleet, &before, &Goal::Rebalance, outcome).unwrap();
    let again = solve(&fleet, &checked.outcome().layout, &Goal::Rebalance, &Wish::default()).unwrap();
    assert_eq!(again.moves, []);
}

#[test]
fn an_outcome_that_breaks_a_rule_is_not_checked() {
    let (fleet, before) = uneven(10, 5, 8);
    let mut outcome = solve(&fleet, &before, &Goal::Rebalance, &Wish::default()).unwrap();
    let copied = outcome.moves.iter().position(|one| one.to != NOWHERE).expect("something is copied");
    outcome.moves[copied].to = outcome.moves[copied].from;
    assert!(check(&fleet, &before, &Goal::Rebalance, outcome).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Of plans that leave as many rules broken, none exposes a store that was not.
    #[test]
    fn no_more_stores_are_in_one_rack_than_before((fleet, before) in any_fleet()) {
        let Ok(outcome) = solve(&fleet, &before, &Goal::Rebalance, &Wish::default()) else { return Ok(()) };
        let mended = outcome.after.violations.total() < outcome.before.violations.total();
        let (was, is) = (in_one_rack(&fleet, &before), in_one_rack(&fleet, &outcome.layout));
        prop_assert!(is <= was || mended, "{was} before, {is} after");
        prop_assert!(check(&fleet, &before, &Goal::Rebalance, outcome).is_ok());
    }
}
