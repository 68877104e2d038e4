//! The way from one layout to the other: its waves, how long they take, what is at risk meanwhile, and how many copies a rack has
//! to do with at once.

use super::fleets::*;
use proptest::prelude::*;
use slot_planner::layout::course::{Leg, legs};
use slot_planner::layout::*;

proptest! {
    #[test]
    fn the_way_ends_where_the_outcome_says_and_copies_what_it_says((fleet, before) in any_fleet(), goal in any_goal()) {
        let Ok(outcome) = solve(&fleet, &before, &goal, &Wish::default()) else { return Ok(()) };
        let mut then = fleet.clone();
        if let Goal::Drain { hosts, empty } = &goal {
            let state = if *empty { State::Leaving } else { State::Draining };
            let live = hosts.iter().filter(|host| fleet.hosts[**host as usize].is_readable());
            live.for_each(|host| then.hosts[*host as usize].state = state);
        }
        let legs = legs(&then, &before, &outcome, true);
        prop_assert_eq!(legs.iter().map(|leg| leg.bytes).sum::<u64>(), outcome.bytes);
        prop_assert_eq!(legs.len() as u32, outcome.waves.last().map_or(0, |last| last + 1));
        if let Some(Leg { worst_survivor, .. }) = legs.last() {
            prop_assert_eq!(*worst_survivor, Some(outcome.after.worst_survivor));
        }
        for leg in &legs {
            prop_assert!(leg.link <= leg.bytes && (leg.bytes == 0 || leg.link > 0) && (leg.copies > 0 || leg.bytes == 0));
        }
    }

    /// Of each wave, the racks at both ends of each copy are counted with nothing of the planner's.
    #[test]
    fn no_rack_has_to_do_with_more_copies_at_once_than_was_said((fleet, before) in any_fleet(), goal in any_goal(), cap in 1u32..4) {
        let wish = Wish { per_domain: cap, per_host: 8, ..Wish::default() };
        let Ok(outcome) = solve(&fleet, &before, &goal, &wish) else { return Ok(()) };
        prop_assert!(most_in_a_rack(&fleet, &before, &outcome) <= cap);
    }
}

/// The most copies that any rack reads or writes in one wave; one that stays within it counts once.
fn most_in_a_rack(fleet: &Fleet, before: &Layout, outcome: &Outcome) -> u32 {
    let mut most = 0;
    let moves: Vec<(Move, u32)> = outcome.moves.iter().copied().zip(outcome.waves.iter().copied()).collect();
    for wave in moves.chunk_by(|a, b| a.1 == b.1) {
        let mut racks = std::collections::BTreeMap::new();
        for (one, _) in wave.iter().filter(|(one, _)| one.to != NOWHERE) {
            let readable = |host: &u32| *host != NOWHERE && fleet.hosts[*host as usize].is_readable();
            let mut sources = Some(one.from).into_iter().chain(before.copies(fleet, one.store).iter().copied());
            let ends = [sources.find(readable), Some(one.to)];
            let ends = ends.into_iter().flatten().map(|host| fleet.hosts[host as usize].domain[1]);
            let ends: std::collections::BTreeSet<u32> = ends.filter(|rack| *rack != NOWHERE).collect();
            ends.into_iter().for_each(|rack| *racks.entry(rack).or_insert(0u32) += 1);
        }
        most = most.max(racks.values().copied().max().unwrap_or(0));
    }
    most
}

/// With many moves to make the cap is reached, so the test above is not about nothing; and a tighter one takes more waves.
#[test]
fn a_cap_for_racks_is_used_up_and_costs_waves() {
    let (fleet, before) = uneven(24, 4, 12);
    let run = |per_domain| {
        let wish = Wish { per_domain, per_host: 4, ..Wish::default() };
        let outcome = solve(&fleet, &before, &Goal::Rebalance, &wish).unwrap();
        (most_in_a_rack(&fleet, &before, &outcome), outcome.waves.last().map_or(0, |last| last + 1))
    };
    let (open, one, three) = (run(u32::MAX), run(1), run(3));
    assert!(open.0 > 3 && one.0 == 1 && three.0 == 3, "{open:?} {one:?} {three:?}");
    assert!(open.1 < three.1 && three.1 < one.1, "{open:?} {one:?} {three:?}");
}

/// Two copies of 100 on the same way out: one after the other at 50 a second, 4 seconds; half way there one of them is there.
#[test]
fn a_wave_takes_as_long_as_its_busiest_link() {
    let mut fleet = Fleet::default();
    fleet.hosts.extend((0..4).map(|_| Host::new(1_000, 8)));
    let store = Store { size: 100, load: 1, copies: 2, level: HOST };
    let before = Layout::of(&mut fleet, [(store, [0, 1].as_slice()), (store, [1, 0].as_slice())]);
    let goal = Goal::Drain { hosts: vec![0], empty: true };
    let outcome = solve(&fleet, &before, &goal, &Wish::default()).unwrap();
    let way = legs(&fleet, &before, &outcome, false);
    assert_eq!(way.iter().map(|leg| (leg.copies, leg.bytes, leg.ms(50))).collect::<Vec<_>>(), [(1, 100, 2_000); 2]);
    assert!(way.iter().all(|leg| leg.worst_survivor.is_none()));
    let both = Wish { per_host: 2, ..Wish::default() };
    let outcome = solve(&fleet, &before, &goal, &both).unwrap();
    let way = legs(&fleet, &before, &outcome, false);
    assert_eq!(way.iter().map(|leg| (leg.copies, leg.bytes, leg.ms(50))).collect::<Vec<_>>(), [(2, 200, 4_000)]);
}
