//! What chains leave broken: copies wander among legal places until there is room where it is wanted.
//!
//! What always holds: as for chains, every step finds its place free beside all that is there and adds nothing broken; the
//! numbers come from a seed that never changes and looks are counted, not timed; steps that nothing needs in the end are left out.
//!
//! Why: chains try what makes way in one order, and forget what did not lead to the end. Nearly full hosts have to be
//! sorted anew before a large copy finds room in them, which takes steps that make nothing better by themselves. So one thing that is
//! broken is looked at after the other; how far the fleet is from mending it is a number of bytes, what is lacking where the least is, and
//! that number is annealed.

use super::super::Task;
use super::super::refine::Dice;
use super::Chains;
use crate::layout::figures::violations;
use crate::layout::goal::{Goal, Move, Wish};
use crate::layout::model::*;
use crate::layout::remains::{Why, remains};
use std::collections::BTreeSet;

/// Places looked at in all.
const LOOKS_MAX: u32 = 4_000_000;
/// And for each combination of a copy and a host.
const LOOKS_EACH: u32 = 4_000;
/// Steps of the first try for one thing that is broken; each further try has half as many again, up to a number.
const STEPS_FIRST: u64 = 160;
const STEPS_MAX: u64 = 8_000;
/// Steps that are worth shortening; beyond that a way is taken as it is.
const SHORTENED_MAX: usize = 4_000;
/// Where the numbers begin; nothing is special about it.
const SEED: u64 = 0x9E37_79B9_7F4A_7C15;

/// Something that is broken.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Broken {
    /// A copy of this store is where it may not be.
    Store(u32),
    /// This host has too much.
    Host(u32),
}

/// What is lacking for a copy on a host.
#[derive(Clone, Copy)]
struct Lack {
    bytes: u64,
    copy: u32,
    host: u32,
}

/// The steps from a layout to one with less broken; [`None`] where none is found, or not everything may move.
pub(in super::super) fn steps(task: &Task<'_>, before: &Layout) -> Option<Vec<Move>> {
    if !task.scope.evens || task.wish.is_bounded() {
        return None;
    }
    let hopeless = hopeless(task.fleet, before)?;
    let mut chains = Chains::of(task, before, false);
    let combinations = before.at.len() * task.fleet.hosts.len();
    chains.looks = u32::try_from(combinations).unwrap_or(u32::MAX).saturating_mul(LOOKS_EACH).min(LOOKS_MAX);
    let (mut dice, mut length) = (Dice(SEED), STEPS_FIRST);
    while chains.looks > 0 && chains.sweep_wandering(length, &hopeless, &mut dice) {
        length = (length + length / 2).min(STEPS_MAX);
    }
    chains.shorten(before);
    let moves = chains.moves();
    (!moves.is_empty()).then_some(moves)
}

/// What counting shows to be beyond mending; [`None`] where that is everything, or there is not the room for all: then a walk is no use.
fn hopeless(fleet: &Fleet, before: &Layout) -> Option<BTreeSet<Broken>> {
    let (mut never, mut perhaps) = (BTreeSet::new(), BTreeSet::new());
    for one in remains(fleet, (before, before), &Goal::Rebalance, &Wish::default()) {
        let broken = if one.store == NOWHERE { Broken::Host(one.host) } else { Broken::Store(one.store) };
        match one.why {
            Why::Bytes { .. } | Why::Slots { .. } => return None,
            why if why.is_proven() => never.insert(broken),
            _ => perhaps.insert(broken),
        };
    }
    never.retain(|broken| !perhaps.contains(broken));
    (!perhaps.is_empty()).then_some(never)
}

impl Chains<'_> {
    fn broken(&self) -> Vec<Broken> {
        let stores = (0..self.fleet.stores.len() as u32).filter(|store| self.misplaced(*store).next().is_some());
        let hosts = (0..self.on.len() as u32).filter(|host| self.is_overfull(*host));
        stores.map(Broken::Store).chain(hosts.map(Broken::Host)).collect()
    }
    fn is_overfull(&self, host: u32) -> bool {
        self.fleet.hosts[host as usize].is_readable() && self.over(host, 0, 0)
    }
    fn misplaced(&self, store: u32) -> impl Iterator<Item = u32> {
        self.fleet.range(store).map(|copy| copy as u32).filter(|copy| self.is_misplaced(*copy) && self.may_go(*copy))
    }
    /// One try for each thing that is broken; what led nowhere is undone. Answers whether another try may lead to something.
    fn sweep_wandering(&mut self, length: u64, hopeless: &BTreeSet<Broken>, dice: &mut Dice) -> bool {
        let mut goes_on = false;
        for one in self.broken().into_iter().filter(|one| !hopeless.contains(one)) {
            let begun = self.steps.len();
            match self.wander(one, length, dice) {
                Some(true) => goes_on = true,
                Some(false) => {
                    self.undo(begun);
                    goes_on = true;
                }
                None => self.undo(begun),
            }
        }
        goes_on
    }
    /// One try; [`None`] where nothing could take what is broken away.
    fn wander(&mut self, one: Broken, length: u64, dice: &mut Dice) -> Option<bool> {
        let mut lack = self.least(one, dice)?;
        let hot = (lack.bytes / 2).max(self.middling()).max(4);
        for nth in 0..length {
            if lack.bytes == 0 {
                self.step(lack.copy, lack.host);
                return Some(true);
            }
            if self.looks == 0 {
                break;
            }
            let begun = self.steps.len();
            if !self.stir(lack, dice) {
                continue;
            }
            let then = self.least(one, dice)?;
            let heat = (hot * (length - nth) / length).max(1);
            if then.bytes > lack.bytes && then.bytes - lack.bytes > dice.patience(heat) {
                self.undo(begun);
            } else {
                lack = then;
            }
        }
        Some(false)
    }
    /// A third of an ordinary copy.
    fn middling(&self) -> u64 {
        let bytes: u64 = self.fleet.stores.iter().map(|store| store.size).sum();
        bytes / (self.fleet.stores.len() as u64).max(1) / 3
    }
    /// Where the least is lacking to take away what is broken; of places that are alike any.
    fn least(&mut self, one: Broken, dice: &mut Dice) -> Option<Lack> {
        let copies: Vec<u32> = match one {
            Broken::Store(store) => self.misplaced(store).collect(),
            Broken::Host(host) => self.on[host as usize].iter().copied().filter(|copy| self.may_go(*copy)).collect(),
        };
        let hosts = self.on.len() as u32;
        self.looks = self.looks.saturating_sub(hosts * copies.len() as u32);
        let (mut least, mut alike): (Option<Lack>, usize) = (None, 0);
        for copy in copies {
            for host in (0..hosts).filter(|host| self.could(copy, *host)) {
                let bytes = self.lack(copy, host);
                alike = if least.is_some_and(|least| least.bytes == bytes) { alike + 1 } else { 1 };
                if least.is_none_or(|least| bytes < least.bytes || bytes == least.bytes && dice.below(alike) == 0) {
                    least = Some(Lack { bytes, copy, host });
                }
            }
        }
        least
    }
    /// Bytes that are lacking for a copy on a host; a slot that is, and a copy of the store that is too near, count as an ordinary copy.
    fn lack(&self, copy: u32, host: u32) -> u64 {
        let spread = self.fleet.stores[self.owner[copy as usize] as usize].level;
        let near =
            self.siblings(copy).filter(|other| self.fleet.share(spread, self.layout.at[*other as usize], host)).count();
        let slots = self.tally.slots[host as usize] >= self.fleet.hosts[host as usize].slots;
        self.short_of(host, self.size(copy)) + (near as u64 + u64::from(slots)) * (self.middling() * 3).max(1)
    }
    /// One legal step, or two, by which copies near the place that is wanted are others.
    fn stir(&mut self, lack: Lack, dice: &mut Dice) -> bool {
        let hosts = self.on.len();
        let (aim, all) = (lack.host as usize, self.layout.at.len());
        match dice.below(8) {
            0..=2 if !self.on[aim].is_empty() => {
                let copy = self.on[aim][dice.below(self.on[aim].len())];
                self.try_step(copy, dice.below(hosts) as u32)
            }
            3..=4 if !self.on[aim].is_empty() => {
                let one = self.on[aim][dice.below(self.on[aim].len())];
                self.try_exchange(one, dice.below(all) as u32)
            }
            5 => self.try_exchange(dice.below(all) as u32, dice.below(all) as u32),
            6 => {
                let near: Vec<u32> = self.siblings(lack.copy).collect();
                !near.is_empty() && self.try_step(near[dice.below(near.len())], dice.below(hosts) as u32)
            }
            _ => self.try_step(dice.below(all) as u32, dice.below(hosts) as u32),
        }
    }
    fn try_step(&mut self, copy: u32, to: u32) -> bool {
        self.looks = self.looks.saturating_sub(1);
        let goes = self.layout.at[copy as usize] != NOWHERE
            && self.may_go(copy)
            && self.could(copy, to)
            && self.is_free(copy, to);
        if goes {
            self.step(copy, to);
        }
        goes
    }
    /// Two copies for each other: the one that finds room first goes first.
    fn try_exchange(&mut self, one: u32, other: u32) -> bool {
        let (a, b) = (self.layout.at[one as usize], self.layout.at[other as usize]);
        if a == b || a == NOWHERE || b == NOWHERE {
            return false;
        }
        let begun = self.steps.len();
        for ((first, to), (second, back)) in [((one, b), (other, a)), ((other, a), (one, b))] {
            if self.try_step(first, to) {
                if self.try_step(second, back) {
                    return true;
                }
                self.undo(begun);
            }
        }
        false
    }
    /// Leaves out what nothing needs: all steps of a copy, or a stop on its way.
    fn shorten(&mut self, before: &Layout) {
        let steps = std::mem::take(&mut self.steps);
        let steps: Vec<(u32, u32)> = steps.into_iter().map(|step| (step.copy, step.to)).collect();
        let mut steps = if steps.len() > SHORTENED_MAX { steps } else { self.without_detours(before, steps) };
        self.reset(before);
        for (copy, to) in steps.drain(..) {
            self.step(copy, to);
        }
    }
    fn without_detours(&mut self, before: &Layout, mut steps: Vec<(u32, u32)>) -> Vec<(u32, u32)> {
        let broken = violations(self.fleet, &self.layout).total();
        let mut copies: Vec<u32> = steps.iter().map(|step| step.0).collect();
        copies.sort_unstable();
        copies.dedup();
        loop {
            let was = steps.len();
            for copy in &copies {
                let without: Vec<(u32, u32)> = steps.iter().copied().filter(|step| step.0 != *copy).collect();
                if without.len() < steps.len() && self.leads_to(before, &without, broken) {
                    steps = without;
                }
            }
            let mut nth = 0;
            while nth < steps.len() {
                let (mut earlier, mut later) = (steps.clone(), steps.clone());
                earlier.remove(nth);
                // The next step of the same copy comes in this one's place, or this one is left out.
                let next = (nth + 1..steps.len()).find(|other| steps[*other].0 == steps[nth].0);
                if let Some(next) = next {
                    later[nth] = steps[next];
                    later.remove(next);
                }
                if next.is_some() && self.leads_to(before, &earlier, broken) {
                    steps = earlier;
                } else if next.is_some() && self.leads_to(before, &later, broken) {
                    steps = later;
                } else {
                    nth += 1;
                }
            }
            if steps.len() == was {
                return steps;
            }
        }
    }
    /// Whether steps can be carried out in their order, and no more is broken at the end.
    fn leads_to(&mut self, before: &Layout, steps: &[(u32, u32)], broken: u64) -> bool {
        self.reset(before);
        steps.iter().all(|(copy, to)| {
            let goes = self.may_go(*copy) && self.could(*copy, *to) && self.is_free(*copy, *to);
            if goes {
                self.put(*copy, *to);
            }
            goes
        }) && violations(self.fleet, &self.layout).total() <= broken
    }
    fn reset(&mut self, before: &Layout) {
        self.steps.clear();
        for copy in 0..before.at.len() as u32 {
            if self.layout.at[copy as usize] != before.at[copy as usize] {
                self.put(copy, before.at[copy as usize]);
            }
        }
    }
}
