//! What a budget of bytes and moves leaves of a plan.
//!
//! What always holds: copies and hand-overs together are no more than were asked for, whatever masters were chosen again after copies were
//! left out; what is within the budget without being cut is not cut; a drain that is cut short is refused, with what it takes.

use super::aims::{Aims, Short};
use super::{Scope, Task};
use crate::layout::course::carry_out;
use crate::layout::figures::figures;
use crate::layout::goal::{Move, No, Outcome};
use crate::layout::model::*;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// So many copies are counted over to find where a plan is cut best.
const COUNTED_MAX: usize = 20_000_000;
/// So many pairs of hand-overs are compared to find the one that comes next.
const COMPARED_MAX: usize = 50_000_000;

/// A plan within the budget: the one without a budget where that is, or what of it the budget reaches.
pub(super) fn bounded(task: &Task<'_>, further: Option<&Task<'_>>, before: &Layout) -> Result<Outcome, No> {
    let (fleet, first) = (task.fleet, figures(task.fleet, before));
    let all = task.wish.unbounded();
    let other = further.map(|task| Task { fleet: task.fleet, wish: &all, scope: task.scope.clone() });
    let whole = Task { fleet, wish: &all, scope: task.scope.clone() }.better(other.as_ref(), before, first)?;
    if task.wish.reaches(&whole, before, fleet) {
        return Ok(whole);
    }
    let part = task.better(further, before, first);
    if task.scope.drained.is_empty() {
        return part;
    }
    let leads = |outcome: &Outcome| led(&task.scope, fleet, &outcome.layout);
    match part {
        Ok(part) if leads(&part) <= leads(&whole) => Ok(part),
        Ok(_) | Err(_) => Err(No::Budget { bytes: whole.bytes, moves: whole.cost(before, fleet) }),
    }
}

/// Masters on the hosts that are drained.
fn led(scope: &Scope, fleet: &Fleet, layout: &Layout) -> usize {
    (0..fleet.stores.len() as u32).filter(|store| scope.is_drained(layout.master(fleet, *store))).count()
}

/// What of an outcome the budget reaches: hand-overs first, which cost no bytes, or copies first, whichever leaves less short.
pub(super) fn within(task: &Task<'_>, before: &Layout, outcome: Outcome, aims: &Aims) -> Outcome {
    let fleet = task.fleet;
    if task.wish.reaches(&outcome, before, fleet) {
        return outcome;
    }
    let mut moves_of: BTreeMap<u32, usize> = BTreeMap::new();
    outcome.moves.iter().for_each(|one| *moves_of.entry(one.store).or_default() += 1);
    let is_alone =
        |one: &Move| one.from == NOWHERE && one.to == NOWHERE && moves_of.get(&one.store).is_some_and(|all| *all == 1);
    let in_waves = || outcome.moves.iter().copied().zip(outcome.waves.iter().copied());
    let (hand_overs, copies): (Vec<_>, Vec<_>) = in_waves().partition(|(one, _)| is_alone(one));
    let hand_overs: Vec<Move> = hand_overs.into_iter().map(|(one, _)| one).collect();
    let last = copies.last().map_or(0, |(_, wave)| *wave);
    let at_once = |wave: u32| move |one: Move| (one, wave);
    let mut after = before.clone();
    let handed = in_good_order(fleet, &after, hand_overs.clone());
    let first: Vec<(Move, u32)> = handed.into_iter().map(at_once(0)).chain(copies.iter().copied()).collect();
    copies.iter().for_each(|(one, _)| carry_out(fleet, &mut after, *one));
    let handed = in_good_order(fleet, &after, hand_overs);
    let later: Vec<(Move, u32)> = copies.into_iter().chain(handed.into_iter().map(at_once(last))).collect();
    let mut best: Option<(Short, Outcome)> = None;
    for steps in [first, later] {
        best_cut(task, before, (&outcome, &steps), aims, &mut best);
    }
    best.map_or_else(|| Outcome::nothing(before, outcome.before), |(_, outcome)| outcome)
}

/// Hand-overs, each of another store, so that the first of them even out most: the next one is always from the host that has most
/// more than the one that gets it.
fn in_good_order(fleet: &Fleet, from: &Layout, mut pending: Vec<Move>) -> Vec<Move> {
    if pending.len() * pending.len() > COMPARED_MAX {
        return pending;
    }
    let mut load: Vec<i128> = Tally::without_pairs(fleet, from).load.into_iter().map(i128::from).collect();
    let weight = |host: u32| i128::from(fleet.hosts[host as usize].weight.max(1));
    let mut ordered = Vec::with_capacity(pending.len());
    while !pending.is_empty() {
        let gain = |one: &Move| {
            let leads = from.master(fleet, one.store);
            let level = |host: u32| load[host as usize] * 1_000_000 / weight(host);
            // Where nobody who may lead does, nothing is more urgent.
            let open = leads == NOWHERE || !fleet.hosts[leads as usize].is_active();
            (open, if open { 0 } else { level(leads) } - level(one.master))
        };
        let next = (0..pending.len()).max_by_key(|nth| (gain(&pending[*nth]), Reverse(*nth)));
        let one = pending.remove(next.unwrap_or(0));
        let more = i128::from(fleet.stores[one.store as usize].load);
        let leads = from.master(fleet, one.store);
        if leads != NOWHERE {
            load[leads as usize] -= more;
        }
        load[one.master as usize] += more;
        ordered.push(one);
    }
    ordered
}

/// Cuts steps where the budget ends, or sooner where that leaves less short, and keeps the best.
fn best_cut(
    task: &Task<'_>,
    before: &Layout,
    (outcome, steps): (&Outcome, &[(Move, u32)]),
    aims: &Aims,
    best: &mut Option<(Short, Outcome)>,
) {
    let fleet = task.fleet;
    let (mut bytes, mut moves) = (0u64, 0usize);
    let reached = steps.iter().take_while(|(one, _)| {
        let copied = if one.to == NOWHERE { 0 } else { fleet.stores[one.store as usize].size };
        bytes = bytes.saturating_add(copied);
        moves += one.cost(before, fleet);
        bytes <= task.wish.max_bytes && moves <= task.wish.max_moves
    });
    let reached = reached.count();
    // From the end on: as many places to cut at as can be looked at, evenly.
    let looks = (COUNTED_MAX / before.at.len().max(1)).clamp(2, reached.max(2));
    let mut layout = before.clone();
    for (nth, (one, _)) in steps[..reached].iter().enumerate() {
        carry_out(fleet, &mut layout, *one);
        let left = reached - nth - 1;
        if left % reached.div_ceil(looks) != 0 {
            continue;
        }
        let figures = figures(fleet, &layout);
        let short = task.short(aims, &layout, &figures);
        if best.as_ref().is_none_or(|(least, _)| short < *least) {
            let mut cut =
                Outcome { layout: layout.clone(), after: figures, ..Outcome::nothing(before, outcome.before) };
            cut.take(fleet, &steps[..=nth]);
            *best = Some((short, cut));
        }
    }
}

impl Outcome {
    /// Takes these steps for its own, their waves without gaps.
    fn take(&mut self, fleet: &Fleet, steps: &[(Move, u32)]) {
        let waves: BTreeSet<u32> = steps.iter().map(|(_, wave)| *wave).collect();
        let number = |wave: &u32| u32::try_from(waves.range(..wave).count()).unwrap_or(u32::MAX);
        let mut last = (NOWHERE, 0);
        for (one, wave) in steps {
            if *wave != last.0 {
                last = (*wave, number(wave));
            }
            self.moves.push(*one);
            self.waves.push(last.1);
            let copied = if one.to == NOWHERE { 0 } else { fleet.stores[one.store as usize].size };
            self.bytes = self.bytes.saturating_add(copied);
        }
    }
}
