//! Every single move after the engine's last: that no move would make the hosts more even is said only where it is so.
//!
//! What always holds: a move that is taken makes the fleet better by the worth that plans are compared by, and keeps every rule; of a
//! store that the plan has touched already, or that nothing may move of, none is looked at. A fleet that is too large for all of
//! its moves is not looked at in this way, and what is said of it then says so.

use super::merit::Standing;
use super::rebalance::Made;
use super::wanted::{Wanted, Worth};
use super::{Chart, Outcome};
use crate::layout::{Fleet, Layout, Move, NOWHERE, Tally, Wish, may_hold};
use crate::view::View;

/// Copies that are counted over for one look at all moves, at most.
const COUNTED_MAX: usize = 1_000_000;

/// Whether all single moves of a fleet are looked at.
pub(super) fn are_counted(chart: &Chart<'_>) -> bool {
    let (copies, hosts) = (chart.layout.at.len(), chart.hosts.len());
    copies.saturating_mul(hosts).saturating_mul(copies + hosts) <= COUNTED_MAX
}

/// A fleet whose moves are looked at.
pub(super) struct Singles<'s, 'a> {
    pub view: &'s View<'a>,
    /// As the plan leaves it so far, with what may still move.
    pub chart: &'s Chart<'a>,
    /// What it is measured by: what a copy leaves is room again.
    pub whole: &'s Fleet,
    pub wanted: Wanted<'s>,
    pub left: &'s Wish,
}

impl Singles<'_, '_> {
    /// The moves that make the fleet better than it is, the best one first, each as the engine would say it.
    pub fn better(&self, made: &Made<'_>) -> Vec<Outcome> {
        if !are_counted(self.chart) {
            return Vec::new();
        }
        let mut found: Vec<(Worth, Move, Layout)> = Vec::new();
        let now = made.worth(self.view, self.wanted);
        for one in self.moves() {
            let mut then = self.chart.layout.clone();
            carry_out(&self.chart.fleet, &mut then, &one);
            let copied = if one.to == NOWHERE { 0 } else { self.chart.fleet.stores[one.store as usize].size };
            let worth = |standing: &Standing, lacks: u64| {
                self.wanted.worth(self.view.policy(), standing, lacks, made.bytes().saturating_add(copied))
            };
            // Which domains could be lost takes longest to count, and most moves are no good whatever that says.
            if worth(&Standing::at_best(self.whole, &then), 0) >= now {
                continue;
            }
            let worth = worth(&Standing::of(self.whole, &then), self.wanted.lacks(self.chart, &then));
            if worth < now {
                found.push((worth, one, then));
            }
        }
        found.sort_unstable_by_key(|(worth, one, _)| (*worth, *one));
        found.into_iter().map(|(_, one, then)| self.outcome(made, one, then)).collect()
    }

    fn outcome(&self, made: &Made<'_>, one: Move, layout: Layout) -> Outcome {
        let after = Standing::at_best(self.whole, &layout).figures;
        let bytes = if one.to == NOWHERE { 0 } else { self.chart.fleet.stores[one.store as usize].size };
        Outcome { layout, moves: vec![one], waves: vec![0], before: made.after.figures, after, bytes }
    }

    /// All that keep the rules and the budget.
    fn moves(&self) -> Vec<Move> {
        let (chart, mut all) = (self.chart, Vec::new());
        let fleet = self.wanted.capped(chart, chart.fleet.clone());
        let tally = Tally::without_pairs(&fleet, &chart.layout);
        let gets: Vec<u32> = fleet.active().filter(|host| self.wanted.may_get(chart.host(*host))).collect();
        for store in (0..).take(fleet.stores.len()) {
            let copies = chart.layout.copies(&fleet, store);
            for (nth, &from) in copies.iter().enumerate().filter(|(_, from)| **from != NOWHERE) {
                if nth > 0 && gets.contains(&from) && fleet.may_become_master(store, from) {
                    all.push(Move { store, from: NOWHERE, to: NOWHERE, master: from });
                }
                let leads = |to: u32| nth > 0 || fleet.may_become_master(store, to);
                if fleet.is_pinned(store, from) || !self.may_copy(store) {
                    continue;
                }
                let may = |to: &&u32| {
                    leads(**to)
                        && may_hold(&fleet, &tally, copies, store, from, **to).is_ok()
                        && chart.has_slot(store, **to)
                };
                let moved = |to: &u32| Move { store, from, to: *to, master: if nth == 0 { *to } else { NOWHERE } };
                all.extend(gets.iter().filter(may).map(moved));
            }
        }
        all
    }

    fn may_copy(&self, store: u32) -> bool {
        self.chart.fleet.stores[store as usize].size <= self.left.max_bytes && self.left.min_gain_ppm == 0
    }
}

/// A fleet after a move.
pub(super) fn carry_out(fleet: &Fleet, layout: &mut Layout, one: &Move) {
    let copies = &mut layout.at[fleet.range(one.store)];
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
