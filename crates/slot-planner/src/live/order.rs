//! In which order the moves of a plan come, so that it can be stopped after any of them.
//!
//! What always holds: the moves of one store stay in their order; each next move is the first by gain per byte that leaves the fleet
//! no worse than it has been best so far. Where no single one does, as when two hosts exchange masters, the next in line begins the
//! exchange, and what ends it follows.

use super::merit::{Merit, Standing};
use super::rebalance::Way;
use crate::layout::{Fleet, Layout, Move, NOWHERE};
use slot_types::cluster::Policy;
use std::collections::BTreeSet;

/// So many copies are counted over for one plan at most; then the moves that are left stay as the engine ordered them.
const COUNTED_MAX: usize = 40_000_000;

/// Orders moves, which come by gain per byte.
pub(super) fn in_good_order<'a>(policy: &Policy, fleet: &Fleet, layout: &Layout, ways: Vec<Way<'a>>) -> Vec<Way<'a>> {
    let mut left = COUNTED_MAX / (layout.at.len() + fleet.hosts.len()).max(1);
    let mut walk = Walk { policy, fleet, layout: layout.clone(), best: None };
    walk.best = Some(walk.merit());
    let (mut pending, mut ordered) = (ways, Vec::new());
    while !pending.is_empty() {
        let found = walk.first_good(&pending, &mut left);
        let way = pending.remove(found.unwrap_or(0));
        walk.go(&way.one);
        ordered.push(way);
    }
    ordered
}

/// The fleet on its way through a plan.
struct Walk<'a> {
    policy: &'a Policy,
    fleet: &'a Fleet,
    layout: Layout,
    /// As good as it has been so far.
    best: Option<Merit>,
}

impl Walk<'_> {
    /// What was copied does not count: it is why the moves come by gain per byte.
    fn merit(&self) -> Merit {
        Standing::of(self.fleet, &self.layout).merit(self.policy, 0)
    }

    /// The first move after which the fleet is no worse; of each store only its next is looked at.
    fn first_good(&mut self, pending: &[Way<'_>], left: &mut usize) -> Option<usize> {
        let mut earlier: BTreeSet<u32> = BTreeSet::new();
        for (nth, way) in pending.iter().enumerate() {
            if !earlier.insert(way.one.store) {
                continue;
            }
            *left = left.checked_sub(1)?;
            let range = self.fleet.range(way.one.store);
            let before = self.layout.at[range.clone()].to_vec();
            self.carry_out(&way.one);
            let then = Some(self.merit());
            self.layout.at[range].copy_from_slice(&before);
            if then <= self.best {
                return Some(nth);
            }
        }
        None
    }

    fn go(&mut self, one: &Move) {
        self.carry_out(one);
        self.best = self.best.min(Some(self.merit()));
    }

    fn carry_out(&mut self, one: &Move) {
        let copies = &mut self.layout.at[self.fleet.range(one.store)];
        let place = |copies: &[u32], host: u32| copies.iter().position(|at| *at == host);
        if one.from != NOWHERE
            && one.to != NOWHERE
            && let Some(at) = place(copies, one.from)
        {
            copies[at] = one.to;
        }
        if one.master != NOWHERE
            && let Some(at) = place(copies, one.master)
        {
            copies.swap(0, at);
        }
    }
}
