//! The engine beside the exact solver on thousands of small fleets, and beside a naive planner on larger ones.
//!
//! What is stated, and held here, of fleets of three or four hosts and up to five stores, many too full, broken or both:
//! - In at least 99 of 100 no rule is broken at the end that any order of moves could have mended, and never more than three.
//! - The worst survivor is at most one store above the optimum, or above the bound if that is larger (a layout that serves fewer stores
//!   can be below it).
//! - For what it reaches, all plans together copy at most [`DEARER_IN_ALL`] per cent more than the optimum, and none more than
//!   [`DEARER`] times as much.

use crate::exact::{Least, May, is_in_one_rack, least, least_in_order, shares};
use crate::fleets::{Dice, any_fleet, tiny};
use crate::naive;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config as TestConfig, RngAlgorithm, TestRng, TestRunner};
use slot_planner::layout::*;

/// How many times the optimum's bytes a plan of a tiny fleet may copy: there, one store that could have stayed is all there is.
const DEARER: u64 = 12;
/// Per cent that all of them together may copy more.
const DEARER_IN_ALL: u64 = 15;

/// One fleet, judged.
struct Judged {
    /// Rules broken at the end, and the least that an order of moves reaches.
    broken: (u64, u64),
    /// Bytes, and the least for what was reached.
    bytes: (u64, u64),
}

fn judge(seed: u64) -> Option<Judged> {
    let (fleet, before) = tiny(&mut Dice(seed));
    let outcome = solve(&fleet, &before, &Goal::Rebalance, &Wish::default()).ok()?;
    assert_eq!(replay(&fleet, &before, &outcome), Ok(()), "seed {seed}");
    let (after, broken) = (outcome.after, outcome.after.violations.total());
    let (exact, _) = least(&fleet, &before, May::Anything, Least::Broken).expect("everything can stay");
    assert!(broken >= exact, "seed {seed}: fewer are broken than the solver says is possible");
    let in_order = if broken > exact { least_in_order(&fleet, &before, May::Anything) } else { exact };
    let alone =
        |store: &u32| is_in_one_rack(&fleet, outcome.layout.copies(&fleet, *store)) && !fleet.is_lost(*store, &before);
    let exposed = (0..fleet.stores.len() as u32).filter(alone).count() as u64;
    let what = Least::Survivor { broken, exposed };
    let (survivor, _) = least(&fleet, &before, May::Anything, what).expect("the outcome is one");
    let most = survivor.max(after.worst_survivor_bound / 1000) + 1;
    assert!(after.worst_survivor / 1000 <= most, "seed {seed}: {} for {survivor}", after.worst_survivor);
    let tally = Tally::without_pairs(&fleet, &outcome.layout);
    let shares = shares(&fleet, &before);
    let above = fleet.active().map(|host| tally.bytes[host as usize].saturating_sub(shares[host as usize])).sum();
    let (survivor, load) = (after.worst_survivor / 1000, after.load_max / 1000);
    let same = Least::Bytes { broken, exposed, survivor, load, above };
    let (bytes, _) = least(&fleet, &before, May::Anything, same).expect("the outcome is one");
    assert!(outcome.bytes >= bytes, "seed {seed}: cheaper than the solver says is possible");
    Some(Judged { broken: (broken, in_order), bytes: (outcome.bytes, bytes) })
}

fn judge_all(seeds: std::ops::Range<u64>) {
    let (mut fleets, mut more, mut copied, mut least) = (0, 0, 0, 0);
    for seed in seeds {
        let Some(judged) = judge(seed) else { continue };
        fleets += 1;
        let (is, could) = judged.broken;
        more += u64::from(is > could);
        assert!(is <= could + 3, "seed {seed}: {is} broken, {could} possible");
        let (is, could) = judged.bytes;
        assert!(is <= could.max(1) * DEARER, "seed {seed}: {is} bytes, {could} possible");
        (copied, least) = (copied + is, least + could);
    }
    assert!(fleets > 400 && more * 100 <= fleets, "{more} of {fleets} with more broken than need be");
    assert!(copied * 100 <= least * (100 + DEARER_IN_ALL), "{copied} bytes for {least}");
}

#[test]
fn it_is_near_the_optimum_on_the_first_five_hundred() {
    judge_all(0..500);
}
#[test]
fn it_is_near_the_optimum_on_the_second_five_hundred() {
    judge_all(500..1000);
}
#[test]
fn it_is_near_the_optimum_on_the_third_five_hundred() {
    judge_all(1000..1500);
}
#[test]
fn it_is_near_the_optimum_on_the_fourth_five_hundred() {
    judge_all(1500..2000);
}

/// Stores of different loads: the bound is one, by the exact solver, and the engine is within the largest load of what is possible.
/// It may be above it for the sake of the worst survivor, which comes first.
#[test]
fn loads_that_differ_are_near_their_bound() {
    let (mut judged, mut above, mut tight) = (0, 0, 0);
    for seed in 0..400 {
        let mut dice = Dice(seed + 50_000);
        let (mut fleet, before) = tiny(&mut dice);
        fleet.stores.iter_mut().for_each(|store| store.load = 1 + dice.below(6));
        let Ok(outcome) = solve(&fleet, &before, &Goal::Rebalance, &Wish::default()) else { continue };
        let (after, broken) = (outcome.after, outcome.after.violations.total());
        let (exact, _) = least(&fleet, &before, May::Anything, Least::Load { broken }).expect("the outcome is one");
        let largest = fleet.stores.iter().map(|store| u64::from(store.load)).max().unwrap_or(0);
        let (is, bound) = (after.load_max / 1000, after.load_bound / 1000);
        // Where nothing is broken every store is served, which is what the bound counts.
        assert!(broken > 0 || bound <= exact, "seed {seed}: {exact} is possible, the bound says {bound}");
        assert!(is >= exact && is <= exact + largest, "seed {seed}: {is} of {exact}, stores of up to {largest}");
        (judged, above) = (judged + 1, above + u64::from(is > exact));
        tight += u64::from(bound == exact);
    }
    assert!(
        judged > 300 && above * 10 <= judged * 4 && tight * 3 >= judged,
        "{judged}, {above} above, bound met {tight}"
    );
}

/// The worst that were found: (seed, broken at most, times the optimum's bytes at most, in tenths). They may get better.
#[test]
fn the_worst_that_were_found_get_no_worse() {
    let kept = [
        (521, 0, 13),
        (572, 3, 30),
        (811, 2, 30),
        (1036, 5, 30),
        (1145, 8, 30),
        (728, 9, 120),
        (487, 9, 75),
        (97, 9, 60),
    ];
    for (seed, broken, tenths) in kept {
        let judged = judge(seed).expect("it was solved when it was found");
        assert!(judged.broken.0 <= broken, "seed {seed}: {} broken", judged.broken.0);
        let (is, could) = judged.bytes;
        assert!(is * 10 <= could.max(1) * tenths, "seed {seed}: {is} bytes for {could}, {} broken", judged.broken.0);
    }
}

/// A fleet in whose hosts there is a quarter of the room, and slots for half of the copies: most have too much on them from the
/// beginning, and not everything can be mended.
fn too_full((mut fleet, before): (Fleet, Layout)) -> (Fleet, Layout) {
    for host in &mut fleet.hosts {
        (host.bytes, host.slots) = (host.bytes / 4, host.slots / 2 + 1);
    }
    (fleet, before)
}

/// Rules broken in the end, by the engine and by the naive planner.
fn beside_the_naive(fleet: &Fleet, before: &Layout) -> Option<(u64, u64)> {
    let outcome = solve(fleet, before, &Goal::Rebalance, &Wish::default()).ok()?;
    assert_eq!(replay(fleet, before, &outcome), Ok(()));
    Some((outcome.after.violations.total(), violations(fleet, &naive::rebalance(fleet, before)).total()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    /// A planner that looks at every single step and takes the best is never better by a rule.
    #[test]
    fn it_leaves_no_more_broken_than_a_naive_planner((fleet, before) in any_fleet()) {
        let Some((ours, naive)) = beside_the_naive(&fleet, &before) else { return Ok(()) };
        prop_assert!(ours <= naive, "{} and naively {}", ours, naive);
    }

    #[test]
    fn nor_where_hosts_are_too_full((fleet, before) in any_fleet().prop_map(too_full)) {
        let Some((ours, naive)) = beside_the_naive(&fleet, &before) else { return Ok(()) };
        prop_assert!(ours <= naive, "{} and naively {}", ours, naive);
    }
}

/// Where the engine was furthest behind the naive planner before it looked at single steps too, of 1,500 fleets, every other one too
/// full: (seed, rules it left broken then). It was behind on 177 of them.
#[test]
fn where_the_naive_planner_was_better_it_is_no_longer() {
    let furthest = [(1125, 9), (71, 17), (83, 16), (109, 35), (167, 32), (233, 24), (379, 30), (435, 15), (491, 22)];
    for (seed, then) in furthest.into_iter().chain([(633, 19), (1059, 19), (1155, 9), (475, 26), (74, 7), (876, 12)]) {
        let (fleet, before) = numbered(seed);
        let (ours, naive) = beside_the_naive(&fleet, &before).expect("it was solved when it was found");
        assert!(ours <= naive && ours < then, "seed {seed}: {ours}, naively {naive}, once {then}");
    }
}

/// The fleet of a seed; those of odd seeds are too full.
fn numbered(seed: u64) -> (Fleet, Layout) {
    let mut bytes = [7u8; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(TestConfig::default(), rng);
    let made = any_fleet().new_tree(&mut runner).expect("a fleet is made of anything").current();
    if seed % 2 == 1 { too_full(made) } else { made }
}
