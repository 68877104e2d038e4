//! What a budget of moves leaves of a plan, and what a plan touches that needs nothing of the kind.
//!
//! What always holds: copies and hand-overs together are no more than the budget; a plan that is cut is legal and leaves the fleet better
//! than it was, or does nothing; a drain that the budget does not reach says what it takes, and with that it is planned.

use super::fleets::*;
use slot_planner::layout::*;

/// Copies that are built and stores whose master goes elsewhere, counted from the layouts alone.
fn moved(fleet: &Fleet, before: &Layout, outcome: &Outcome) -> usize {
    let built = outcome.moves.iter().filter(|one| one.to != NOWHERE).count();
    let handed = |store: &u32| {
        let (was, is) = (before.master(fleet, *store), outcome.layout.master(fleet, *store));
        was != NOWHERE && was != is
    };
    built + (0..fleet.stores.len() as u32).filter(handed).count()
}

/// Fleets of four to eight hosts, uneven, all well.
fn fleet_of(seed: u64) -> (Fleet, Layout) {
    let mut dice = Dice(seed);
    let (hosts, racks) = (4 + dice.below(5), 2 + dice.below(3));
    let mut fleet = Fleet::default();
    fleet.hosts.extend((0..hosts).map(|host| Host::new(2_000, u32::MAX).within(&[host % racks])));
    let rows: Vec<(Store, [u32; 2])> = (0..hosts * 4)
        .map(|_| {
            let first = dice.below(hosts).min(dice.below(hosts));
            let second = (first + 1 + dice.below(hosts - 1)) % hosts;
            let store = Store { size: 5 + u64::from(dice.below(60)), load: 1, copies: 2, level: dice.below(2) as u8 };
            (store, [first, second])
        })
        .collect();
    let layout = Layout::of(&mut fleet, rows.iter().map(|(store, at)| (*store, at.as_slice())));
    (fleet, layout)
}

/// What a plan may be made for, lower being better: rules broken, stores in one rack alone, the worst survivor, load and bytes above a share.
fn standing(fleet: &Fleet, layout: &Layout, first: &Figures) -> [u64; 5] {
    let (tally, now) = (Tally::without_pairs(fleet, layout), figures(fleet, layout));
    let in_one = |store: &u32| {
        let copies = layout.copies(fleet, *store);
        copies.len() > 1 && copies.iter().all(|host| fleet.share(RACK, *host, copies[0]))
    };
    let exposed = (0..fleet.stores.len() as u32).filter(in_one).count() as u64;
    let share = first.load_bound / 1000;
    let load = tally.load.iter().map(|load| load.saturating_sub(share)).sum();
    let even = tally.bytes.iter().sum::<u64>() / fleet.hosts.len() as u64;
    let bytes = tally.bytes.iter().map(|bytes| bytes.saturating_sub(even)).sum();
    [now.violations.total(), exposed, now.worst_survivor, load, bytes]
}

#[test]
fn a_budget_of_moves_bounds_copies_and_hand_overs_together_whatever_it_is() {
    let (mut cut, mut whole) = (0, 0);
    for seed in 0..15 {
        let (fleet, before) = fleet_of(seed);
        let first = figures(&fleet, &before);
        let free = solve(&fleet, &before, &Goal::Rebalance, &Wish::default()).unwrap();
        let all = moved(&fleet, &before, &free);
        for max_moves in 0..=all + 1 {
            let wish = Wish { max_moves, ..Wish::default() };
            let outcome = solve(&fleet, &before, &Goal::Rebalance, &wish).unwrap();
            let is = moved(&fleet, &before, &outcome);
            assert!(is <= max_moves, "fleet {seed}: {is} moves, at most {max_moves} asked for");
            assert_eq!(replay(&fleet, &before, &outcome), Ok(()), "fleet {seed}, at most {max_moves}");
            if outcome.moves.is_empty() {
                assert_eq!(outcome.layout, before);
            } else {
                let (was, now) = (standing(&fleet, &before, &first), standing(&fleet, &outcome.layout, &first));
                assert!(now[0] <= was[0], "fleet {seed}, at most {max_moves}: {now:?} after {was:?}");
                let is_better = was.iter().zip(&now).any(|(was, now)| now < was);
                assert!(is_better, "fleet {seed}, at most {max_moves}: {now:?} after {was:?}");
                cut += usize::from(is < all);
                whole += usize::from(is >= all);
            }
        }
    }
    assert!(cut > 100 && whole > 5, "{cut} plans were cut and {whole} were not");
}

#[test]
fn with_a_budget_of_no_moves_nothing_is_handed_over() {
    let (fleet, before) = uneven(10, 5, 30);
    let wish = Wish { max_moves: 0, ..Wish::default() };
    assert_eq!(solve(&fleet, &before, &Goal::Rebalance, &wish).unwrap().moves, []);
    let wish = Wish { max_moves: 5, ..Wish::default() };
    let five = solve(&fleet, &before, &Goal::Rebalance, &wish).unwrap();
    assert_eq!((five.moves.is_empty(), five.cost(&before, &fleet) <= 5), (false, true));
}

#[test]
fn a_drain_that_the_budget_does_not_reach_says_what_it_takes_and_with_that_it_is_planned() {
    let (fleet, before) = uneven(10, 5, 30);
    for empty in [true, false] {
        let goal = Goal::Drain { hosts: vec![0], empty };
        let solved = |wish: &Wish| solve(&fleet, &before, &goal, wish);
        let mut poor = vec![Wish { max_moves: 3, ..Wish::default() }];
        poor.extend(empty.then(|| Wish { max_bytes: 1, ..Wish::default() }));
        for wish in poor {
            let Err(No::Budget { bytes, moves }) = solved(&wish) else { panic!("{:?}", solved(&wish)) };
            let enough = Wish { max_bytes: bytes, max_moves: moves, ..Wish::default() };
            let outcome = solved(&enough).unwrap();
            assert!(outcome.bytes <= bytes && moved(&fleet, &before, &outcome) <= moves);
            assert!((0..fleet.stores.len() as u32).all(|store| outcome.layout.master(&fleet, store) != 0));
        }
    }
}

#[test]
fn what_fits_nowhere_whatever_the_budget_is_not_laid_to_the_budget() {
    let mut fleet = Fleet::default();
    fleet.hosts.extend([Host::new(100, 4), Host::new(100, 4), Host::new(50, 4)]);
    let store = Store { size: 60, load: 1, copies: 2, level: HOST };
    let before = Layout::of(&mut fleet, [(store, [0, 1].as_slice())]);
    let goal = Goal::Drain { hosts: vec![0], empty: true };
    let wish = Wish { max_bytes: 1, ..Wish::default() };
    assert_eq!(solve(&fleet, &before, &goal, &wish), Err(No::DoesNotFit(vec![(0, 60)])));
}

/// Of how many stores the master goes elsewhere though it is not on one of these hosts.
fn handed_over_elsewhere(fleet: &Fleet, before: &Layout, outcome: &Outcome, hosts: &[u32]) -> usize {
    let changes = |store: &u32| {
        let was = before.master(fleet, *store);
        was != NOWHERE && !hosts.contains(&was) && was != outcome.layout.master(fleet, *store)
    };
    (0..fleet.stores.len() as u32).filter(changes).count()
}

#[test]
fn a_drain_of_masters_hands_over_the_drained_hosts_alone() {
    let (fleet, before) = uneven(10, 5, 30);
    let goal = Goal::Drain { hosts: vec![0], empty: false };
    let outcome = solve(&fleet, &before, &goal, &Wish::default()).unwrap();
    assert_eq!(outcome.after.violations.masters, 0);
    assert_eq!(outcome.bytes, 0);
    assert_eq!(handed_over_elsewhere(&fleet, &before, &outcome, &[0]), 0);
    assert!(outcome.moves.len() > 20, "{} masters", outcome.moves.len());
}

#[test]
fn what_is_placed_or_rebuilt_hands_over_no_master_that_runs() {
    let (mut fleet, before) = uneven(10, 5, 30);
    for goal in [Goal::Place, Goal::Rebuild] {
        // Uneven, but whole, and nothing is missing.
        let apart = violations(&fleet, &before).total();
        let outcome = solve(&fleet, &before, &goal, &Wish::default()).unwrap();
        assert_eq!(handed_over_elsewhere(&fleet, &before, &outcome, &[]), 0, "{goal:?} with {apart} broken");
    }
    fleet.hosts[3].state = State::Down;
    let outcome = solve(&fleet, &before, &Goal::Rebuild, &Wish::default()).unwrap();
    assert_eq!(handed_over_elsewhere(&fleet, &before, &outcome, &[3]), 0);
    assert_eq!((outcome.after.violations.masters, outcome.after.violations.missing), (0, 0));
}

#[test]
fn what_a_rule_forbids_is_not_laid_to_room() {
    let mut fleet = Fleet::default();
    fleet.hosts.extend([
        Host::new(1_000, 9).within(&[0]),
        Host::new(1_000, 9).within(&[1]),
        Host::new(1_000, 9).within(&[1]),
    ]);
    let store = Store { size: 10, load: 1, copies: 2, level: RACK };
    let before = Layout::of(&mut fleet, [(store, [0, 1].as_slice()), (Store { level: HOST, ..store }, &[0, 1])]);
    let goal = Goal::Drain { hosts: vec![0], empty: true };
    assert_eq!(solve(&fleet, &before, &goal, &Wish::default()), Err(No::DoesNotFit(vec![(0, 10)])));
    let why = |fleet: &Fleet, store: u32| {
        let then = in_states(fleet, &goal);
        nowhere(&then, &before, &Tally::without_pairs(&then, &before), store)
    };
    let rules = vec![(1, WhyNotHere::HasCopy), (2, WhyNotHere::SharesDomain { with: 1 })];
    assert_eq!(why(&fleet, 0), Nowhere::Rules(rules));
    assert_eq!(why(&fleet, 1), Nowhere::Together, "it has a place");
    fleet.hosts[2].bytes = 4;
    assert_eq!(why(&fleet, 1), Nowhere::Full { short: 6 });
}

/// Sizes and loads near the end of what has a number: counted without a panic, and refused where they are planned for.
#[test]
fn sums_of_what_is_very_large_are_refused_and_never_wrap() {
    let huge = |size: u64, load: u32, room: u64| {
        let mut fleet = Fleet::default();
        fleet.hosts.extend((0..4).map(|rack| Host::new(room, 9).within(&[rack])));
        let store = Store { size, load, copies: 2, level: RACK };
        let at = [[0, 1], [0, 1], [0, 2], [0, 3], [1, 2]];
        let layout = Layout::of(&mut fleet, at.iter().map(|at| (store, at.as_slice())));
        (fleet, layout)
    };
    for (size, load, room) in
        [(u64::MAX, u32::MAX, u64::MAX), (1 << 63, 1, 1 << 60), (10, 1, u64::MAX / 2), (1, u32::MAX, 99)]
    {
        let (fleet, before) = huge(size, load, room);
        let first = figures(&fleet, &before);
        assert!(first.load_max > 0 && first.worst_survivor >= first.load_max);
        assert_eq!(solve(&fleet, &before, &Goal::Rebalance, &Wish::default()), Err(No::TooLarge));
        let tally = Tally::of(&fleet, &before);
        assert!(fleet.active().all(|host| tally.bytes[host as usize] >= size));
        let ask = room::Ask { size, copies: 2, level: RACK, survive: Some(HOST) };
        let found = room::room(&fleet, &before, &ask);
        assert!(found.fits <= found.at_most);
    }
    // As much as is planned for is planned.
    let (fleet, before) = huge(1 << 56, u32::MAX / 5, 1 << 58);
    let outcome = solve(&fleet, &before, &Goal::Rebalance, &Wish::default()).unwrap();
    assert_eq!(replay(&fleet, &before, &outcome), Ok(()));
    assert!(outcome.after.load_max <= figures(&fleet, &before).load_max && !outcome.moves.is_empty());
}
