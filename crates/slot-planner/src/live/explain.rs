//! Why a copy is where it is, and why not on each other host, all else staying as it is.
//!
//! What always holds: hosts are compared by the rank that places a moved or rebuilt copy, so what is said here is what a plan would do;
//! a change that is said to make a host the choice was computed with that very rank.

use super::place::Table;
use super::{Chart, Lead, Stance};
use crate::layout::choice::Rank;
use crate::layout::{NOWHERE, WhyNotHere};
use crate::view::View;
use slot_types::cluster::*;
use slot_types::ids::*;
use slot_types::view::{Change, ExplainedCopy, LedElsewhere, OtherHost};
use std::collections::BTreeSet;

/// More room than this on one host is no change that anybody makes.
const BYTES_MAX: u64 = 1 << 50;
/// More masters than this off one host is no change either.
const FEWER_MAX: usize = 8;

/// Each copy of a store that has its place, the master's first.
pub(crate) fn places(view: &View<'_>, name: &StoreName, store: &Store) -> Vec<ExplainedCopy> {
    if !super::has_master(store) {
        return Vec::new();
    }
    let slots: Vec<SlotId> = Stance::kept(store).at.into_iter().flatten().collect();
    let copies: Vec<(&StoreName, &SlotId)> = slots.iter().map(|slot| (name, slot)).collect();
    places_of(view, &copies).into_iter().flatten().collect()
}

/// These copies, each taken up by itself; `None` for one that has no place.
pub(crate) fn places_of(view: &View<'_>, copies: &[(&StoreName, &SlotId)]) -> Vec<Option<ExplainedCopy>> {
    let chart = Chart::of(view, &BTreeSet::new(), |_, known| Stance::kept(known));
    let table = Table::of(&chart, &chart.layout);
    let mut judge = Judge { view, chart: &chart, table };
    copies.iter().map(|(name, slot)| judge.place(name, slot)).collect()
}

/// The problem with one copy of a store taken up: its number, and which of its copies that is.
pub(crate) fn lifted<'a>(
    view: &'a View<'a>,
    name: &StoreName,
    slot: &SlotId,
    leads: bool,
) -> Option<(Chart<'a>, u32, usize)> {
    let gone = BTreeSet::from([slot.clone()]);
    let chart = Chart::of(view, &BTreeSet::new(), |other, known| match other == name {
        true if leads => {
            let mut stance = Stance::kept(known).without(&gone);
            stance.at.insert(0, None);
            Stance { lead: Lead::Or(BTreeSet::new()), ..stance }
        }
        true => Stance::kept(known).without(&gone).and_more(1),
        false => Stance::kept(known),
    });
    let number = chart.number(name)?;
    let nth = if leads { 0 } else { chart.layout.copies(&chart.fleet, number).len() - 1 };
    Some((chart, number, nth))
}

/// A fleet of which one copy at a time is taken up.
struct Judge<'c, 'a> {
    view: &'c View<'a>,
    chart: &'c Chart<'c>,
    table: Table<'c, 'c>,
}

/// A copy that is taken up: its store, which of its copies it is, and where it was.
#[derive(Clone, Copy)]
struct Taken<'s> {
    store: u32,
    nth: usize,
    slot: &'s SlotId,
}

impl Judge<'_, '_> {
    fn place(&mut self, name: &StoreName, slot: &SlotId) -> Option<ExplainedCopy> {
        let store = self.chart.number(name)?;
        let copies = self.chart.layout.copies(&self.chart.fleet, store);
        let nth = copies.iter().position(|host| *host != NOWHERE && self.chart.slot(store, *host) == Some(slot))?;
        let host = self.table.seats.lift(store, nth);
        let explained = self.explain(Taken { store, nth, slot });
        self.table.seats.put(store, nth, host);
        Some(explained)
    }

    /// The slot it is on is free for it.
    fn rank(&self, copy: Taken<'_>, host: u32) -> Result<Rank, WhyNotHere> {
        match *self.chart.host(host) == copy.slot.host && self.view.takes_copies(&copy.slot.host).is_ok() {
            true => Ok(self.table.seats.rank_with(copy.store, copy.nth, host, 0)),
            false => self.table.rank(copy.store, copy.nth, NOWHERE, host),
        }
    }

    fn explain(&mut self, copy: Taken<'_>) -> ExplainedCopy {
        let mut able: Vec<Rank> = self.table.hosts().filter_map(|host| self.rank(copy, host).ok()).collect();
        self.table.weigh(copy.store, copy.nth, &mut able);
        let best = able.iter().min().copied();
        let is_weighed = able.iter().any(|rank| rank.weighed > 0);
        let mut others = Vec::new();
        for host in self.table.hosts().filter(|host| *self.chart.host(*host) != copy.slot.host) {
            let weighed = able.iter().find(|rank| rank.host == host).copied();
            let ranked = self.rank(copy, host).map(|rank| weighed.unwrap_or(rank));
            let why = match (&ranked, &best) {
                (Err(why), _) => self.table.named(self.view, copy.store, host, *why).to_string(),
                (Ok(here), Some(best)) if here.host != best.host => worse(self.chart, here, best),
                (Ok(_), _) => String::new(),
            };
            let is_full = matches!(ranked, Err(WhyNotHere::Slots | WhyNotHere::Bytes { .. }));
            let change = best
                // Of a sum of weights no single change is told.
                .filter(|_| !is_weighed && (is_full || !why.is_empty() && ranked.is_ok()))
                .and_then(|best| self.change(copy, host, &best, is_full));
            others.push(OtherHost { host: self.chart.host(host).clone(), why, change });
        }
        let best = best.map(|best| self.chart.host(best.host).clone());
        ExplainedCopy { slot: copy.slot.clone(), best, others }
    }

    /// The nearest change with which a host would be better than the best one: no more masters led elsewhere than it takes, and
    /// one more slot, of the least size, where it has none or fill decides.
    fn change(&mut self, copy: Taken<'_>, host: u32, best: &Rank, is_full: bool) -> Option<Change> {
        let seats = |judge: &Self, more: u64| judge.table.seats.rank_with(copy.store, copy.nth, host, more);
        let mut moved: Vec<(u32, usize)> = Vec::new();
        while seats(self, BYTES_MAX) >= *best && moved.len() < FEWER_MAX {
            let Some(next) = self.led_elsewhere(copy, host, seats(self, BYTES_MAX)) else { break };
            self.hand_over(next);
            moved.push(next);
        }
        let room = match seats(self, 0) < *best && !is_full {
            true => Some(None),
            false => self.least_room(copy, host, best).map(Some),
        };
        // The master's former host comes first among the copies once it is handed over, so it is told by where it went.
        let told: Vec<LedElsewhere> = moved.iter().filter_map(|(store, _)| self.told(*store)).collect();
        moved.iter().rev().for_each(|one| self.hand_over(*one));
        let slot_bytes = room?;
        (told.len() == moved.len()).then_some(Change { led_elsewhere: told, slot_bytes })
    }

    fn least_room(&self, copy: Taken<'_>, host: u32, best: &Rank) -> Option<u64> {
        let size = self.view.cluster.stores.get(self.chart.store(copy.store))?.spec.size_bytes;
        least(size, |more| self.table.seats.rank_with(copy.store, copy.nth, host, more) < *best)
    }

    fn told(&self, store: u32) -> Option<LedElsewhere> {
        let host = self.table.seats.layout.master(&self.chart.fleet, store);
        Some(LedElsewhere { store: self.chart.store(store).clone(), to: self.chart.slot(store, host)?.clone() })
    }

    /// The master of this host whose hand-over makes the host best for the copy: (store, which of its copies takes it). It is one
    /// that can be handed over now.
    fn led_elsewhere(&mut self, copy: Taken<'_>, host: u32, now: Rank) -> Option<(u32, usize)> {
        let (chart, view) = (self.chart, self.view);
        let fleet = &chart.fleet;
        let mut found: Option<(Rank, (u32, usize))> = None;
        for store in (0..).take(fleet.stores.len()).filter(|store| *store != copy.store) {
            if self.table.seats.layout.master(fleet, store) != host {
                continue;
            }
            for nth in 1..self.table.seats.layout.copies(fleet, store).len() {
                let to = self.table.seats.layout.copies(fleet, store)[nth];
                if to == NOWHERE || !can_take(view, chart, store, (host, to)) {
                    continue;
                }
                self.hand_over((store, nth));
                let then = self.table.seats.rank_with(copy.store, copy.nth, host, BYTES_MAX);
                self.hand_over((store, nth));
                if then < now && found.as_ref().is_none_or(|(known, _)| then < *known) {
                    found = Some((then, (store, nth)));
                }
            }
        }
        found.map(|(_, one)| one)
    }

    /// The nth copy of a store and its master exchange roles.
    fn hand_over(&mut self, (store, nth): (u32, usize)) {
        let seats = &mut self.table.seats;
        let (was, is) = (seats.lift(store, 0), seats.lift(store, nth));
        seats.put(store, 0, is);
        seats.put(store, nth, was);
    }
}

/// Whether the copy of a store on one host can take its master from another now.
fn can_take(view: &View<'_>, chart: &Chart<'_>, store: u32, (from, to): (u32, u32)) -> bool {
    let name = chart.store(store);
    let known = view.cluster.stores.get(name).filter(|_| !view.inputs.busy_stores.contains(name));
    let Some((known, from, to)) =
        known.zip(chart.slot(store, from)).zip(chart.slot(store, to)).map(|((known, from), to)| (known, from, to))
    else {
        return false;
    };
    let settled = view.master_well(name, known).is_ok() && known.possible_masters.is_empty();
    settled && view.handover_target(name, known, from, to).is_ok()
}

/// In what a host is worse than the best one.
fn worse(chart: &Chart<'_>, here: &Rank, best: &Rank) -> String {
    let other = chart.host(best.host);
    let masters = |level: u64| level.div_ceil(1000);
    let tenths = |ppm: u64| format!("{}.{}%", ppm / 10_000, ppm / 1_000 % 10);
    if here.weighed != best.weighed {
        let (here, there) = (here.weighed.div_ceil(1000), best.weighed.div_ceil(1000));
        format!("by the weights of the cluster file it comes to {here}; {other} comes to {there}")
    } else if here.survivor != best.survivor {
        let (here, there) = (masters(here.survivor), masters(best.survivor));
        format!("a host's loss could leave {here} masters on one host; with {other} it is {there}")
    } else if here.masters != best.masters {
        format!("it would have {} masters, {other} would have {}", masters(here.masters), masters(best.masters))
    } else if here.fill != best.fill {
        format!("it would be {} full, {other} would be {}", tenths(here.fill), tenths(best.fill))
    } else {
        format!("it is as good as {other}, which comes first by name")
    }
}

/// The least number from `least` on for which something holds that holds from there on.
fn least(least: u64, holds: impl Fn(u64) -> bool) -> Option<u64> {
    let (mut low, mut high) = (least, BYTES_MAX);
    if least > BYTES_MAX || !holds(high) {
        return None;
    }
    while low < high {
        let middle = low + (high - low) / 2;
        if holds(middle) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    Some(low)
}
