//! Fleets that start with rules broken: where an order of moves leads to none, the engine leaves none, but for few that are counted.

use crate::exact::{Least, May, least, least_in_order};
use crate::fleets::{Dice, tiny};
use slot_planner::layout::*;

/// Of a thousand fleets of three or four hosts, all that start with something broken. On two of the 462 that an order of moves mends
/// wholly, one rule stays broken.
#[test]
fn none_remains_where_none_has_to_but_on_one_in_two_hundred() {
    let (mut mended, mut hopeless, mut left) = (0, 0, Vec::new());
    for seed in 20_000..21_000 {
        let (fleet, before) = tiny(&mut Dice(seed));
        if violations(&fleet, &before).total() == 0 {
            continue;
        }
        let Ok(outcome) = solve(&fleet, &before, &Goal::Rebalance, &Wish::default()) else {
            continue;
        };
        let broken = outcome.after.violations.total();
        if broken == 0 {
            mended += 1;
            continue;
        }
        let (anyhow, _) = least(&fleet, &before, May::Anything, Least::Broken).expect("everything can stay");
        if anyhow > 0 || least_in_order(&fleet, &before, May::Anything) > 0 {
            hopeless += 1;
        } else {
            left.push((seed, broken));
        }
    }
    assert!(left.iter().all(|(_, broken)| *broken == 1) && left.len() * 200 <= mended, "left {left:?} of {mended}");
    assert!(mended > 100 && hopeless > 50, "{mended} mended, {hopeless} can't be");
}
