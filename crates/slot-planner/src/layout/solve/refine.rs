//! Small fleets are searched further: copies and masters together, by simulated annealing.
//!
//! What always holds: the search is arithmetic alone, from a seed that never changes, so the same input gives the same layout; no
//! step breaks a rule that was kept, needs room that is not there, or moves what the goal does not let move; what it
//! answers is no worse than what it was given, by its own sum of what is short and what it costs.
//!
//! Choosing copies first and masters afterwards (ADR 20) loses little on many hosts and a store or two of the worst survivor on
//! few, where each pair of hosts shares so many stores that no choice of masters can spread them.

use super::aims::Aims;
use super::filled::Filled;
use super::{Scope, Task};
use crate::layout::figures::{figures, violations};
use crate::layout::model::*;

/// Above so many hosts the table of all pairs is too large to be searched in the time a plan may take.
const HOSTS_MAX: usize = 64;
/// To mend what is broken, down to the next level of the worst survivor, and to make what is reached cheap.
const MEND: Effort = Effort { least: 12_000, each: 40, most: 24_000, heat: (2_000, 64) };
const DOWN: Effort = Effort { least: 2_000, each: 80, most: 48_000, heat: (300, 8) };
const CHEAPER: Effort = Effort { least: 4_000, each: 60, most: 40_000, heat: (24, 4) };
/// The same where anything may move, and copies are neither many nor so few that all changes are soon tried: which sizes make up what leaves a host is then
/// what decides, and takes more looks to find.
const CHEAPER_SOME: Effort = Effort { least: 4_000, each: 200, most: 200_000, heat: (24, 4) };
const COPIES_SOME: usize = 1_000;
/// So few copies are searched from hotter: there is time for it.
const COPIES_FEW: usize = 100;
const HOT: u64 = 600;
/// Where the numbers begin; nothing is special about them.
const SEEDS: [u64; 2] = [0x9E37_79B9_7F4A_7C15, 0xD1B5_4A32_D192_ED03];

/// How long to search: steps at least, for each copy, and at most; and how much worse than the last a step may be on average, at the
/// beginning and at the end.
#[derive(Clone, Copy)]
struct Effort {
    least: u64,
    each: u64,
    most: u64,
    heat: (u64, u64),
}

/// When to stop before the end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Until {
    /// Nothing is broken.
    Whole,
    /// No host is above a limit, and no more is broken than at the beginning.
    Within,
    /// Never.
    End,
}

/// Searches from a layout for a better one; [`None`] where the fleet is too large for it.
pub(super) fn refine(task: &Task<'_>, before: &Layout, start: &Layout, aims: &Aims) -> Option<Layout> {
    if !is_small(task.fleet) {
        return None;
    }
    let (mut best, mut level) = (start.clone(), figures(task.fleet, start).worst_survivor);
    let (was, is) = (violations(task.fleet, before), violations(task.fleet, start));
    if is.total() > 0 {
        // A copy that came back because it fits nowhere may find its place taken: the search would never leave an overfull host.
        if is.slots > was.slots || is.bytes > was.bytes {
            best = before.clone();
        }
        best = searched(task, before, &best, &aims.loose(), (MEND, Until::Whole)).0;
        level = figures(task.fleet, &best).worst_survivor;
    }
    while level > aims.survivor {
        // The next whole number of stores below.
        let next = ((level - 1) / aims.step * aims.step).max(aims.survivor);
        let (layout, within) = searched(task, before, &best, &aims.at_level(next), (DOWN, Until::Within));
        if !within {
            break;
        }
        (best, level) = (layout, next);
    }
    let aims = aims.at_level(level.max(aims.survivor));
    let some = task.scope.evens && (COPIES_FEW..=COPIES_SOME).contains(&best.at.len());
    let effort = if some { CHEAPER_SOME } else { CHEAPER };
    Some(led(task.fleet, before, searched(task, before, &best, &aims, (effort, Until::End)).0))
}

/// No store is handed over to a host that may lead none: it stays as it was instead.
fn led(fleet: &Fleet, before: &Layout, mut layout: Layout) -> Layout {
    for store in 0..fleet.stores.len() as u32 {
        let (was, is) = (before.master(fleet, store), layout.master(fleet, store));
        let may = |host: u32| {
            host != NOWHERE && fleet.hosts[host as usize].is_active() && fleet.may_become_master(store, host)
        };
        if is != was && !may(is) {
            layout.at[fleet.range(store)].copy_from_slice(before.copies(fleet, store));
        }
    }
    layout
}

/// Searches for a layout in which everything that has to leave has left.
pub(super) fn housed(task: &Task<'_>, before: &Layout, start: Layout, aims: &Aims) -> Layout {
    let scope = Scope { only_drained: true, leaves: false, evens: false, ..task.scope.clone() };
    let task = &Task { scope, ..*task };
    if is_small(task.fleet) { searched(task, before, &start, &aims.loose(), (MEND, Until::Whole)).0 } else { start }
}

/// Searches once, or, where there are few copies or a level has to be reached, twice from the same start with other numbers.
fn searched(task: &Task<'_>, before: &Layout, start: &Layout, aims: &Aims, how: (Effort, Until)) -> (Layout, bool) {
    let again = start.at.len() < COPIES_FEW || how.1 == Until::Within;
    let times = if again { SEEDS.len() } else { 1 };
    let mut best: Option<((i64, i64), Layout, bool)> = None;
    for seed in &SEEDS[..times] {
        let found = Search::of(task, before, start, aims, *seed).run(how.0, how.1);
        let done = found.2;
        if best.as_ref().is_none_or(|(least, _, _)| found.0 < *least) {
            best = Some(found);
        }
        if done {
            break;
        }
    }
    best.map_or((start.clone(), false), |(_, layout, done)| (layout, done))
}

/// Whether a fleet is searched: what is chosen before is then no more than where the search begins.
pub(super) fn is_small(fleet: &Fleet) -> bool {
    let load: u64 = fleet.stores.iter().map(|store| u64::from(store.load)).sum();
    fleet.hosts.len() <= HOSTS_MAX && load <= Filled::LOAD_MAX && !fleet.stores.is_empty()
}

/// The same numbers in every run.
pub(super) struct Dice(pub u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
    pub fn below(&mut self, bound: usize) -> usize {
        (((self.next() >> 32) * bound as u64) >> 32) as usize
    }
    /// How much worse a step may be: exponentially distributed with about this mean, from the bits alone.
    pub fn patience(&mut self, heat: u64) -> u64 {
        let bits = self.next() | 1;
        let (zeros, rest) = (u64::from(bits.leading_zeros()), (bits << bits.leading_zeros()) >> 48 & 0x7FFF);
        (heat * (zeros * 0x8000 + 0x8000 - rest)) >> 15
    }
}

struct Search<'a> {
    fill: Filled<'a>,
    dice: Dice,
    scope: &'a Scope,
    /// Hosts that may get copies.
    open: Vec<u32>,
}

impl<'a> Search<'a> {
    fn of(task: &'a Task<'a>, before: &'a Layout, start: &Layout, aims: &Aims, seed: u64) -> Search<'a> {
        let open = task.fleet.active().filter(|host| task.scope.is_open(*host)).collect();
        let fill = Filled::of(task.fleet, before, start, aims);
        Search { fill, dice: Dice(seed), scope: &task.scope, open }
    }
    /// Anneals: to the end, or until everything is within its limits. Answers the best it found, and whether that is what it searched for.
    fn run(mut self, effort: Effort, until: Until) -> ((i64, i64), Layout, bool) {
        let steps = (self.fill.at.len() as u64 * effort.each).clamp(effort.least, effort.most);
        let first = self.fill.short();
        let done = |fill: &Filled<'_>| match until {
            Until::Whole => fill.short().broken == 0,
            Until::Within => fill.short().is_within(first),
            Until::End => false,
        };
        let mut effort = effort;
        if self.fill.at.len() < COPIES_FEW {
            effort.heat.0 = effort.heat.0.max(HOT);
        }
        let halvings = u64::from((effort.heat.0 / effort.heat.1).max(2).ilog2());
        // While mending, what is broken is cheap enough to be passed through; what is best is still that which is whole.
        if until == Until::Whole {
            self.fill.make_breaking_cheap();
        }
        let merit = |fill: &Filled<'_>| (fill.short().broken, fill.cost());
        let mut best = (merit(&self.fill), self.fill.at.clone(), done(&self.fill));
        for step in 0..steps {
            if best.2 {
                break;
            }
            // Geometric cooling, in eighths of a halving.
            let cooled = step * halvings * 8 / steps;
            let heat = (effort.heat.0 >> (cooled / 8)) * (16 - cooled % 8) / 16;
            let was = self.fill.cost();
            if !self.step() {
                continue;
            }
            let is = self.fill.cost();
            if is > was && (is - was).cast_unsigned() > self.dice.patience(heat) {
                self.fill.undo();
                continue;
            }
            self.fill.keep();
            if merit(&self.fill) < best.0 {
                best = (merit(&self.fill), self.fill.at.clone(), done(&self.fill));
            }
        }
        (best.0, Layout { at: best.1 }, best.2)
    }
    /// One change, or a few that belong together. Answers whether there is any.
    fn step(&mut self) -> bool {
        match self.dice.below(8) {
            0..=1 if self.scope.copies => self.relocate(),
            2..=3 if self.scope.copies => self.exchange(),
            4 => self.turn_one(),
            _ => self.turn_round(),
        }
    }
    fn any_store(&mut self) -> u32 {
        self.dice.below(self.fill.fleet.stores.len()) as u32
    }
    fn any_copy(&mut self) -> usize {
        self.dice.below(self.fill.at.len())
    }
    /// Whether a copy may leave the host it is on.
    fn may_leave(&self, copy: usize) -> bool {
        let (store, host) = (self.fill.owner[copy], self.fill.at[copy]);
        if self.fill.is_lost(store) || (self.scope.only_drained && host == NOWHERE) {
            return false;
        }
        let was_there = host != NOWHERE && self.fill.before.copies(self.fill.fleet, store).contains(&host);
        let must = || (self.scope.leaves || self.scope.is_drained(host)) && !self.fill.fleet.may_stay(host);
        !was_there || ((self.scope.evens || must()) && !self.fill.fleet.is_pinned(store, host))
    }
    /// A copy to another host: home, if it has one that is free, or anywhere; or back to nowhere, for another to have its place.
    fn relocate(&mut self) -> bool {
        let copy = self.any_copy();
        if !self.may_leave(copy) || self.open.is_empty() {
            return false;
        }
        if self.fill.may_be_nowhere(copy) && self.dice.below(4) == 0 {
            self.fill.place(copy, NOWHERE);
            return true;
        }
        let home = self.fill.home_of(copy);
        let to = match home {
            Some(home) if self.dice.below(2) == 0 => home,
            _ => self.open[self.dice.below(self.open.len())],
        };
        let home = home.filter(|home| !self.scope.is_drained(*home));
        self.may_go(copy, to)
            && (self.fill.may_take(copy, to) || (Some(to) == home && self.fill.may_return(copy, to)))
            && {
                self.fill.place(copy, to);
                true
            }
    }
    /// Two copies for each other.
    fn exchange(&mut self) -> bool {
        let (one, other) = (self.any_copy(), self.any_copy());
        let (a, b) = (self.fill.at[one], self.fill.at[other]);
        let apart = a != b && a != NOWHERE && b != NOWHERE && self.fill.owner[one] != self.fill.owner[other];
        let named = |host: u32| self.open.contains(&host);
        if !apart || !self.may_leave(one) || !self.may_leave(other) || !named(a) || !named(b) {
            return false;
        }
        self.may_go(one, b) && self.may_go(other, a) && self.fill.may_exchange(one, other) && {
            self.fill.place(one, b);
            self.fill.place(other, a);
            true
        }
    }
    fn turn_one(&mut self) -> bool {
        let store = self.any_store();
        self.turn(store).is_some()
    }
    /// Hands a store over to one of its replicas, and says to which host.
    fn turn(&mut self, store: u32) -> Option<u32> {
        let range = self.fill.fleet.range(store);
        if range.len() < 2 || self.fill.is_lost(store) {
            return None;
        }
        let nth = range.start + 1 + self.dice.below(range.len() - 1);
        let to = self.fill.at[nth];
        self.may_lead(store, to).then(|| {
            self.fill.lead(store, nth);
            to
        })
    }
    /// Whether the copy of a store on a host may become its master.
    fn may_lead(&self, store: u32, host: u32) -> bool {
        let fleet = &self.fill.fleet;
        host != NOWHERE && fleet.hosts[host as usize].is_active() && fleet.may_become_master(store, host)
    }
    /// A chain of two or three hand-overs, back to where it began if it can: what the hosts of a ring have stays the same.
    fn turn_round(&mut self) -> bool {
        let store = self.any_store();
        let begun = self.fill.at[self.fill.fleet.first[store as usize] as usize];
        let Some(second) = self.turn(store) else { return false };
        let Some(next) = self.led_by(second, store) else { return true };
        let Some(third) = self.turn(next) else { return true };
        if third == begun || begun == NOWHERE {
            return true;
        }
        // The ring is closed where some store of the third host has a replica where it began.
        for _ in 0..4 {
            let Some(last) = self.led_by(third, next) else { break };
            let range = self.fill.fleet.range(last);
            let back = (range.start + 1..range.end).find(|copy| self.fill.at[*copy] == begun);
            if let Some(back) = back.filter(|_| self.may_lead(last, begun)) {
                self.fill.lead(last, back);
                break;
            }
        }
        true
    }
    /// A master's copy takes the master along.
    fn may_go(&self, copy: usize, to: u32) -> bool {
        let store = self.fill.owner[copy];
        let fleet = &self.fill.fleet;
        fleet.first[store as usize] as usize != copy || fleet.may_become_master(store, to)
    }
    fn led_by(&mut self, host: u32, not: u32) -> Option<u32> {
        let led = &self.fill.led[host as usize];
        let store = *led.get(self.dice.below(led.len()))?;
        (store != not).then_some(store)
    }
}
