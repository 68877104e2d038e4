//! The placement engine, held to its promises on random fleets.
//!
//! What always holds of any fleet and goal: an outcome passes the independent replay, however early it is cut; planning
//! its end again gives nothing to do; the same input gives the same bytes, in whatever order its hosts and stores come; no kind
//! of violation grows. A refusal names what really fits nowhere.

mod apart;
mod budget;
mod course;
mod exact;
mod figures;
mod fleets;
mod judged;
mod mended;
mod naive;
mod refused;
mod remaining;
mod scale;
mod walked;
mod why;

use fleets::*;
use proptest::prelude::*;
use slot_planner::layout::*;

/// The first moves of an outcome, and the layout they lead to.
fn cut(fleet: &Fleet, before: &Layout, outcome: &Outcome, moves: usize) -> Outcome {
    let mut layout = before.clone();
    for one in &outcome.moves[..moves] {
        let range = fleet.range(one.store);
        let copies = &mut layout.at[range];
        if one.to != NOWHERE {
            let place = copies.iter().position(|host| *host == one.from && one.from != NOWHERE);
            let place =
                place.or_else(|| copies.iter().position(|host| *host == NOWHERE)).expect("a place for the copy");
            copies[place] = one.to;
        } else if one.from != NOWHERE {
            let place = copies.iter().position(|host| *host == one.from).expect("what is dropped is there");
            copies[place] = NOWHERE;
        }
        if one.master != NOWHERE {
            let place = copies.iter().position(|host| *host == one.master).expect("the master is a copy");
            copies.swap(0, place);
        }
    }
    let (moves, waves) = (outcome.moves[..moves].to_vec(), outcome.waves[..moves].to_vec());
    Outcome { layout, moves, waves, ..outcome.clone() }
}

/// The fleet in the states that a goal asks for.
fn drained(fleet: &Fleet, goal: &Goal) -> Fleet {
    let mut fleet = fleet.clone();
    if let Goal::Drain { hosts, empty } = goal {
        for host in hosts {
            fleet.hosts[*host as usize].state = if *empty { State::Leaving } else { State::Draining };
        }
    }
    fleet
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn every_outcome_is_legal_wherever_it_is_cut(made in any_fleet(), goal in any_goal(), at in 0.0f64..1.0) {
        let (fleet, before) = made;
        let Ok(outcome) = solve(&fleet, &before, &goal, &Wish::default()) else { return Ok(()) };
        let fleet = drained(&fleet, &goal);
        prop_assert_eq!(replay(&fleet, &before, &outcome), Ok(()));
        let part = cut(&fleet, &before, &outcome, (outcome.moves.len() as f64 * at) as usize);
        prop_assert_eq!(replay(&fleet, &before, &part), Ok(()));
    }

    #[test]
    fn what_has_to_leave_has_left(made in any_fleet(), host in 0u32..4) {
        let (fleet, before) = made;
        let goal = Goal::Drain { hosts: vec![host], empty: true };
        prop_assume!(fleet.hosts[host as usize].is_readable());
        let Ok(outcome) = solve(&fleet, &before, &goal, &Wish::default()) else { return Ok(()) };
        let pinned = fleet.pins.iter().any(|(_, on)| *on == host);
        prop_assert!(pinned || !outcome.layout.at.contains(&host));
        // Nothing moves but what has to: what is nowhere or may not stay, as far as it can be read.
        let fleet = drained(&fleet, &goal);
        for store in 0..fleet.stores.len() as u32 {
            let (was, is) = (before.copies(&fleet, store), outcome.layout.copies(&fleet, store));
            for on in was.iter().filter(|on| **on != NOWHERE) {
                let stays = fleet.may_stay(*on) || fleet.is_pinned(store, *on) || fleet.is_lost(store, &before);
                prop_assert!(!stays || is.contains(on), "store {} left host {}", store, on);
            }
        }
    }

    #[test]
    fn planning_an_end_again_gives_nothing_to_do(made in any_fleet(), goal in any_goal()) {
        let (fleet, before) = made;
        let Ok(outcome) = solve(&fleet, &before, &goal, &Wish::default()) else { return Ok(()) };
        let again = solve(&fleet, &outcome.layout, &goal, &Wish::default()).map(|again| again.moves);
        prop_assert_eq!(again, Ok(vec![]));
    }

    /// A refusal is true: of a drain that does not fit, no way to place what has to leave exists; of a store without another copy, no
    /// other of its copies is on an active host that stays one.
    #[test]
    fn a_refusal_is_true(seed in 0u64..u64::MAX, hosts in 1u32..8, empty in any::<bool>()) {
        let (fleet, before) = tiny(&mut Dice(seed));
        let named: Vec<u32> = (0..3u32).filter(|host| hosts & 1 << host != 0).collect();
        let goal = Goal::Drain { hosts: named.clone(), empty };
        let states = drained(&fleet, &goal);
        match solve(&fleet, &before, &goal, &Wish::default()) {
            Ok(_) => {}
            Err(No::NoActiveHost) => prop_assert_eq!(states.active().count(), 0),
            Err(No::UnknownHost(host)) => prop_assert!(host as usize >= fleet.hosts.len()),
            Err(no @ (No::Budget { .. } | No::TooLarge)) => prop_assert!(false, "{no}"),
            Err(No::NoOtherCopy(stores)) => {
                for store in stores {
                    let copies = before.copies(&fleet, store);
                    prop_assert!(named.contains(&copies[0]), "store {} is led elsewhere", store);
                    let other = copies.iter().any(|on| *on != NOWHERE && states.hosts[*on as usize].is_active());
                    prop_assert!(!other && (!empty || fleet.is_pinned(store, copies[0])), "store {}", store);
                }
            }
            Err(No::DoesNotFit(copies)) => {
                prop_assert!(empty);
                for (store, bytes) in &copies {
                    prop_assert_eq!(*bytes, fleet.stores[*store as usize].size);
                    let on = before.copies(&fleet, *store);
                    prop_assert!(on.iter().any(|host| named.contains(host)), "store {} has not to leave", store);
                }
                prop_assert!(!exact::can_leave(&states, &before, hosts), "everything fits somewhere");
            }
        }
    }

    #[test]
    fn the_same_input_gives_the_same_bytes(made in any_fleet(), goal in any_goal()) {
        let (fleet, before) = made;
        let once = solve(&fleet, &before, &goal, &Wish::default());
        prop_assert_eq!(once, solve(&fleet, &before, &goal, &Wish::default()));
    }

    #[test]
    fn a_budget_is_kept(made in any_fleet(), max_bytes in 0u64..600, max_moves in 0usize..12) {
        let (fleet, before) = made;
        let wish = Wish { max_bytes, max_moves, ..Wish::default() };
        if let Ok(outcome) = solve(&fleet, &before, &Goal::Rebalance, &wish) {
            prop_assert!(outcome.bytes <= max_bytes && outcome.cost(&before, &fleet) <= max_moves);
            prop_assert_eq!(replay(&fleet, &before, &outcome), Ok(()));
        }
    }

    #[test]
    fn masters_that_have_to_stay_stay_and_none_goes_where_it_may_not(made in any_fleet(), goal in any_goal(), seed in 0u32..97) {
        let (mut fleet, before) = made;
        for store in 0..fleet.stores.len() as u32 {
            let held: Vec<u32> = before.copies(&fleet, store).iter().copied().filter(|host| *host != NOWHERE).collect();
            match (store * 31 + seed) % 3 {
                0 if before.master(&fleet, store) != NOWHERE => {
                    fleet.pins.extend(held.iter().map(|host| (store, *host)));
                    fleet.no_master.push((store, NOWHERE));
                }
                1 => fleet.no_master.extend(held.iter().skip(1).map(|host| (store, *host))),
                _ => {}
            }
        }
        fleet.pins.sort_unstable();
        fleet.pins.dedup();
        fleet.no_master.sort_unstable();
        fleet.no_master.dedup();
        let Ok(outcome) = solve(&fleet, &before, &goal, &Wish::default()) else { return Ok(()) };
        prop_assert_eq!(replay(&fleet, &before, &outcome), Ok(()));
        for store in (0..fleet.stores.len() as u32).filter(|store| fleet.keeps_master(*store)) {
            prop_assert_eq!(outcome.layout.master(&fleet, store), before.master(&fleet, store));
        }
        for one in outcome.moves.iter().filter(|one| one.master != NOWHERE) {
            prop_assert!(fleet.may_become_master(one.store, one.master), "{one:?}");
        }
    }

    #[test]
    fn caps_of_waves_are_kept(made in any_fleet(), per_host in 1u32..3, in_all in 1u32..6) {
        let (fleet, before) = made;
        let wish = Wish { per_host, in_all, ..Wish::default() };
        let Ok(outcome) = solve(&fleet, &before, &Goal::Rebalance, &wish) else { return Ok(()) };
        let waves = outcome.waves.last().map_or(0, |last| last + 1);
        for wave in 0..waves {
            let of_wave = outcome.moves.iter().zip(&outcome.waves).filter(|(one, w)| **w == wave && one.to != NOWHERE);
            let into: Vec<u32> = of_wave.clone().map(|(one, _)| one.to).collect();
            prop_assert!(into.len() <= in_all as usize);
            for host in 0..fleet.hosts.len() as u32 {
                prop_assert!(into.iter().filter(|to| **to == host).count() <= per_host as usize);
            }
        }
    }
}

/// The layout of the table in small: what the bounds say is reached.
#[test]
fn an_even_fleet_is_reached_where_the_bounds_allow_it() {
    let (fleet, before) = uneven(40, 8, 30);
    let outcome = solve(&fleet, &before, &Goal::Rebalance, &Wish::default()).unwrap();
    assert_eq!(outcome.after.load_max, outcome.after.load_bound);
    assert!(outcome.after.worst_survivor <= outcome.after.worst_survivor_bound + 1000, "{:?}", outcome.after);
    assert!(outcome.after.bytes_max_ppm <= 1_010_000, "{:?}", outcome.after);
    assert_eq!(outcome.after.violations.total(), 0);
    let again = solve(&fleet, &outcome.layout, &Goal::Rebalance, &Wish::default()).unwrap();
    assert_eq!(again.moves, []);
}

#[test]
fn a_refused_drain_names_what_fits_nowhere() {
    let mut fleet = Fleet::default();
    fleet.hosts.extend([Host::new(100, 4), Host::new(100, 4), Host::new(50, 4)]);
    let store = Store { size: 60, load: 1, copies: 2, level: HOST };
    let before = Layout::of(&mut fleet, [(store, [0, 1].as_slice())]);
    let goal = Goal::Drain { hosts: vec![0], empty: true };
    assert_eq!(solve(&fleet, &before, &goal, &Wish::default()), Err(No::DoesNotFit(vec![(0, 60)])));
    let lost = Goal::Drain { hosts: vec![0, 1], empty: false };
    assert_eq!(solve(&fleet, &before, &lost, &Wish::default()), Err(No::NoOtherCopy(vec![0])));
}

#[test]
fn a_dead_hosts_copies_are_built_by_many() {
    let (mut fleet, layout) = uneven(30, 30, 20);
    let settled = solve(&fleet, &layout, &Goal::Rebalance, &Wish::default()).unwrap().layout;
    fleet.hosts[3].state = State::Down;
    let outcome = solve(&fleet, &settled, &Goal::Rebuild, &Wish::default()).unwrap();
    assert_eq!(replay(&fleet, &settled, &outcome), Ok(()));
    assert_eq!(outcome.after.violations.total(), 0);
    let mut takers: Vec<u32> = outcome.moves.iter().map(|one| one.to).filter(|to| *to != NOWHERE).collect();
    let copies = takers.len();
    takers.sort_unstable();
    takers.dedup();
    assert!(takers.len() * 2 > copies.min(29), "{copies} copies go to {} hosts only", takers.len());
}

#[test]
fn a_failover_moves_masters_alone_and_swamps_nobody() {
    let (mut fleet, layout) = uneven(40, 8, 30);
    let settled = solve(&fleet, &layout, &Goal::Rebalance, &Wish::default()).unwrap().layout;
    fleet.hosts[5].state = State::Down;
    let outcome = solve(&fleet, &settled, &Goal::FailOver, &Wish::default()).unwrap();
    assert_eq!(outcome.bytes, 0);
    assert_eq!(outcome.after.violations.masters, 0);
    assert!(outcome.after.load_max <= outcome.after.load_bound + 1000, "{:?}", outcome.after);
    assert!(outcome.moves.iter().all(|one| one.to == NOWHERE));
}
