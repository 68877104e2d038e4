//! What a planner that anybody can check would do: of all single steps the best, until none makes anything better.
//!
//! What always holds: a step is one copy to a host that may hold it beside all that is there, a missing copy built, or one hand-over;
//! none adds anything broken, so the steps can be carried out in their order and cut anywhere.
//!
//! Why: on fleets that are too full there are many ways to be stuck, and the search is sometimes stuck earlier than single steps are.
//! What the engine answers on small fleets is therefore never worse in broken rules than this (docs/placement.md).

use super::Task;
use crate::layout::figures::{Figures, figures, violations};
use crate::layout::goal::Move;
use crate::layout::model::*;
use crate::layout::rules::may_hold;

/// Above so many (copy, host) combinations looking at every step takes longer than a plan may.
const COMBINATIONS_MAX: usize = 1_024;

/// What is short, the dearest first.
type Merit = (u64, u64, u64, u64);

/// The steps from a layout; [`None`] where the fleet is too large for it, or the goal does not let everything move.
pub(super) fn steps(task: &Task<'_>, before: &Layout) -> Option<Vec<Move>> {
    let small = before.at.len() * task.fleet.hosts.len() <= COMBINATIONS_MAX;
    if !small || !task.scope.evens || task.wish.is_bounded() {
        return None;
    }
    let (fleet, mut at, mut moves) = (task.fleet, before.clone(), Vec::new());
    let mut best = merit(&figures(fleet, &at));
    loop {
        let mut found: Option<(Move, Layout)> = None;
        for (one, then) in candidates(task, before, &at) {
            // Most steps are out by the first figure, which is counted soonest.
            if violations(fleet, &then).total() > best.0 {
                continue;
            }
            let merit = merit(&figures(fleet, &then));
            if merit < best {
                (best, found) = (merit, Some((one, then)));
            }
        }
        match found {
            Some((one, then)) => {
                moves.push(one);
                at = then;
            }
            None => return Some(moves),
        }
    }
}

fn merit(figures: &Figures) -> Merit {
    (figures.violations.total(), figures.worst_survivor, figures.load_max, figures.bytes_max_ppm)
}

/// Every single step from a layout that its hosts have room for, with where it leads.
pub(super) fn candidates(task: &Task<'_>, before: &Layout, at: &Layout) -> Vec<(Move, Layout)> {
    let fleet = task.fleet;
    let tally = Tally::without_pairs(fleet, at);
    let mut all = Vec::new();
    for store in (0..fleet.stores.len() as u32).filter(|store| !fleet.is_lost(*store, before)) {
        let (range, copies) = (fleet.range(store), at.copies(fleet, store));
        let is_new = copies[0] == NOWHERE;
        for copy in range.clone().filter(|copy| !is_new || *copy == range.start) {
            let (from, leads) = (at.at[copy], copy == range.start);
            let may_go = from == NOWHERE || !fleet.is_pinned(store, from);
            for to in fleet.active().filter(|host| may_go && task.scope.is_open(*host)) {
                let master = if leads { to } else { NOWHERE };
                let follows = !leads || is_new || fleet.may_become_master(store, to);
                if follows && may_hold(fleet, &tally, copies, store, from, to).is_ok() {
                    let mut then = at.clone();
                    then.at[copy] = to;
                    all.push((Move { store, from, to, master }, then));
                }
            }
            let may_lead = !leads && from != NOWHERE && fleet.hosts[from as usize].is_active();
            if may_lead && fleet.may_become_master(store, from) {
                let mut then = at.clone();
                then.at.swap(range.start, copy);
                all.push((Move { store, from: NOWHERE, to: NOWHERE, master: from }, then));
            }
        }
    }
    all
}
