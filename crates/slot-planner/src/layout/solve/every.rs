//! Of the smallest fleets every layout is looked at that single steps lead to.
//!
//! What always holds: a step is one of [`plain`](super::plain)'s, so the way that is found can be carried out in its order and cut
//! anywhere; what is least broken on the way comes first, then what copies least. Where the layouts are no more than are
//! looked at, what is left broken at the end is left by any order of such steps.

use super::{Task, plain};
use crate::layout::figures::violations;
use crate::layout::goal::Move;
use crate::layout::model::*;
use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

/// Above so many (copy, host) combinations there are too many layouts to look at all.
const COMBINATIONS_MAX: usize = 72;
/// Layouts looked at.
const LAYOUTS_MAX: usize = 30_000;

/// A layout, and the step that led to it.
struct Stop {
    at: Layout,
    last: Option<(Move, usize)>,
}

/// The way to the layout that has the fewest rules broken; [`None`] where the fleet is too large, the goal does not let everything
/// move, or no way leads to fewer.
pub(super) fn steps(task: &Task<'_>, before: &Layout) -> Option<Vec<Move>> {
    let fleet = task.fleet;
    let small = before.at.len() * fleet.hosts.len() <= COMBINATIONS_MAX;
    if !small || !task.scope.evens || task.wish.is_bounded() {
        return None;
    }
    let broken = |at: &Layout| violations(fleet, at).total();
    let (first, was) = (sorted(fleet, before.clone()), broken(before));
    let mut seen = BTreeSet::from([first.at.clone()]);
    let mut stops = vec![Stop { at: first, last: None }];
    let mut open = BinaryHeap::from([Reverse((was, 0u64, 0usize))]);
    let mut best = (was, 0);
    while let Some(Reverse((is, bytes, number))) = open.pop() {
        if is < best.0 {
            best = (is, number);
        }
        if best.0 == 0 || stops.len() >= LAYOUTS_MAX {
            break;
        }
        for (one, then) in plain::candidates(task, before, &stops[number].at) {
            let then = sorted(fleet, then);
            if is_idle(fleet, &one, &stops[number].at) || !seen.insert(then.at.clone()) {
                continue;
            }
            let copied = if one.to == NOWHERE { 0 } else { fleet.stores[one.store as usize].size };
            // What adds something broken is no step.
            let left = broken(&then);
            if left <= is {
                open.push(Reverse((left, bytes + copied, stops.len())));
                stops.push(Stop { at: then, last: Some((one, number)) });
            }
        }
    }
    let mut way = Vec::new();
    let mut at = best.1;
    while let Some((one, from)) = stops[at].last {
        way.push(one);
        at = from;
    }
    way.reverse();
    (!way.is_empty()).then_some(way)
}

/// A hand-over of a store whose master may stay leads to nothing new here.
fn is_idle(fleet: &Fleet, one: &Move, at: &Layout) -> bool {
    let master = at.master(fleet, one.store);
    let stays = master != NOWHERE && fleet.hosts[master as usize].is_active();
    one.to == NOWHERE && stays && fleet.no_master.is_empty()
}

/// Replicas in order, so that the same places are the same layout.
fn sorted(fleet: &Fleet, mut layout: Layout) -> Layout {
    for store in 0..fleet.stores.len() as u32 {
        if let Some((_, replicas)) = layout.at[fleet.range(store)].split_first_mut() {
            replicas.sort_unstable();
        }
    }
    layout
}
