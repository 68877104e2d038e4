//! Fleets that start with rules broken: where an order of moves leads to none, the engine leaves none.

use crate::exact::{Least, May, least, least_in_order};
use crate::fleets::{Dice, disturbed, tiny};
use crate::walked::walked;
use slot_planner::layout::*;

/// Rules broken before and after.
fn mended(fleet: &Fleet, before: &Layout) -> Option<(u64, u64)> {
    let outcome = solve(fleet, before, &Goal::Rebalance, &Wish::default()).ok()?;
    assert_eq!(replay(fleet, before, &outcome), Ok(()));
    Some((outcome.before.violations.total(), outcome.after.violations.total()))
}

/// Of six thousand fleets of three or four hosts, all that start with something broken: each that an order of moves mends wholly is.
#[test]
fn none_remains_where_none_has_to() {
    let (mut whole, mut hopeless, mut left) = (0, 0, Vec::new());
    for seed in 20_000..26_000 {
        let (fleet, before) = tiny(&mut Dice(seed));
        match mended(&fleet, &before) {
            None | Some((0, _)) => {}
            Some((_, 0)) => whole += 1,
            Some((_, broken)) => {
                let (anyhow, _) = least(&fleet, &before, May::Anything, Least::Broken).expect("everything can stay");
                if anyhow > 0 || least_in_order(&fleet, &before, May::Anything) > 0 {
                    hopeless += 1;
                } else {
                    left.push((seed, broken));
                }
            }
        }
    }
    assert_eq!(left, [], "of {whole} that were mended");
    assert!(whole > 2_000 && hopeless > 300, "{whole} mended, {hopeless} can't be");
}

/// What one copy at a time, or two exchanged, did not mend: found among the fleets above.
#[test]
fn a_copy_makes_way_for_another() {
    for seed in [20_896, 20_913] {
        let (fleet, before) = tiny(&mut Dice(seed));
        let (was, is) = mended(&fleet, &before).expect("a plan");
        assert!(was > 0 && is == 0, "fleet {seed}: {was} rules broken before, {is} after");
    }
}

/// Fleets of six to twenty hosts, nearly full, that were whole until copies went where they may not: to carry the same out backwards
/// would mend them.
#[test]
fn none_remains_where_carrying_it_out_backwards_would_mend_it() {
    let (mut whole, mut left) = (0, Vec::new());
    for seed in 0..1_100 {
        let (fleet, before, backwards) = disturbed(&mut Dice(seed));
        let (was, is) = mended(&fleet, &before).expect("a plan");
        assert_eq!(replay(&fleet, &before, &backwards), Ok(()), "fleet {seed}");
        assert_eq!(violations(&fleet, &backwards.layout).total(), 0, "fleet {seed}");
        match (was, is) {
            (0, _) => {}
            (_, 0) => whole += 1,
            (_, broken) => left.push((seed, broken, was)),
        }
    }
    assert!(left.is_empty() && whole > 1_000, "left {left:?} of {whole} mended");
}

/// Fleets of six to twenty-four hosts in racks and sites, of unequal room, with pins, exclusions and hosts that leave, that were broken by
/// walking backwards from a whole layout: up to 140 steps, a copy any number of times, hosts filled beyond their room. Whether a walk
/// of ours finds the way is luck, so one in two hundred may be missed.
#[test]
fn what_a_walk_backwards_broke_is_mended() {
    let (mut whole, mut left) = (0, Vec::new());
    for seed in 0..300 {
        let (fleet, before, backwards) = walked(&mut Dice(seed));
        assert_eq!(replay(&fleet, &before, &backwards), Ok(()), "fleet {seed}");
        assert_eq!(violations(&fleet, &backwards.layout).total(), 0, "fleet {seed}");
        match mended(&fleet, &before).expect("a plan") {
            (0, _) => {}
            (_, 0) => whole += 1,
            (was, broken) => left.push((seed, was, broken)),
        }
    }
    assert!(left.len() * 200 <= whole && whole > 270, "left {left:?} of {whole} mended");
}
