//! In which order the moves of a plan come, so that it can be stopped after any of them.
//!
//! What always holds: the moves of one store stay in their order; each next move is the first by gain per byte that leaves the fleet
//! no worse than it has been best so far. Where no single one does, as when two hosts exchange masters, the next in line begins the
//! exchange, and what ends it follows. What leads to nothing as good as was reached before it is left out.

use super::merit::{Merit, Standing};
use super::rebalance::Way;
use super::single::carry_out;
use crate::layout::{Fleet, Layout, Move};
use slot_types::cluster::Policy;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// So many copies are counted over for one plan at most; then the moves that are left stay as the engine ordered them.
const COUNTED_MAX: usize = 40_000_000;

/// Orders moves, which come by gain per byte, and answers how the fleet is after them.
pub(super) fn in_good_order<'a>(
    policy: &Policy,
    fleet: &Fleet,
    layout: &Layout,
    ways: Vec<Way<'a>>,
) -> (Vec<Way<'a>>, Standing) {
    let mut left = COUNTED_MAX / (layout.at.len() + fleet.hosts.len()).max(1);
    let mut walk = Walk { policy, fleet, layout: layout.clone() };
    let mut best = walk.merit();
    let (mut pending, mut ordered) = (ways, Vec::new());
    let mut reached: Vec<Standing> = Vec::new();
    while !pending.is_empty() && left > 0 {
        let found = walk.first_good(&pending, &best, &mut left);
        let way = pending.remove(found.unwrap_or(0));
        walk.carry_out(&way.one);
        ordered.push(way);
        let standing = Standing::of(fleet, &walk.layout);
        best = best.min(standing.merit(policy, 0));
        reached.push(standing);
    }
    if !pending.is_empty() {
        pending.iter().for_each(|way| walk.carry_out(&way.one));
        ordered.extend(pending);
        let after = Standing::of(fleet, &walk.layout);
        return (ordered, after);
    }
    let whole = whole_stores(&ordered);
    let cuts = reached.into_iter().enumerate().filter(|(nth, _)| whole[*nth]);
    // Of equals the longest: what is in it came for a gain that these figures do not show.
    match cuts.min_by_key(|(nth, standing)| (standing.merit(policy, 0), Reverse(*nth))) {
        Some((nth, after)) => {
            ordered.truncate(nth + 1);
            (ordered, after)
        }
        None => (ordered, Standing::of(fleet, layout)),
    }
}

/// Whether a plan may end after each of these moves: all moves of a store are made or none.
fn whole_stores(ways: &[Way<'_>]) -> Vec<bool> {
    let mut left: BTreeMap<u32, usize> = BTreeMap::new();
    ways.iter().for_each(|way| *left.entry(way.one.store).or_default() += 1);
    let mut begun: BTreeSet<u32> = BTreeSet::new();
    let after = |way: &Way<'_>| {
        let store = way.one.store;
        let count = left.entry(store).or_default();
        *count -= 1;
        if *count == 0 {
            begun.remove(&store);
        } else {
            begun.insert(store);
        }
        begun.is_empty()
    };
    ways.iter().map(after).collect()
}

/// The fleet on its way through a plan.
struct Walk<'a> {
    policy: &'a Policy,
    fleet: &'a Fleet,
    layout: Layout,
}

impl Walk<'_> {
    /// What was copied does not count: it is why the moves come by gain per byte.
    fn merit(&self) -> Merit {
        Standing::of(self.fleet, &self.layout).merit(self.policy, 0)
    }

    /// The first move after which the fleet is no worse; of each store only its next is looked at.
    fn first_good(&mut self, pending: &[Way<'_>], best: &Merit, left: &mut usize) -> Option<usize> {
        let mut earlier: BTreeSet<u32> = BTreeSet::new();
        for (nth, way) in pending.iter().enumerate() {
            if !earlier.insert(way.one.store) {
                continue;
            }
            *left = left.checked_sub(1)?;
            let range = self.fleet.range(way.one.store);
            let before = self.layout.at[range.clone()].to_vec();
            self.carry_out(&way.one);
            let then = self.merit();
            self.layout.at[range].copy_from_slice(&before);
            if then <= *best {
                return Some(nth);
            }
        }
        None
    }

    fn carry_out(&mut self, one: &Move) {
        carry_out(self.fleet, &mut self.layout, one);
    }
}
