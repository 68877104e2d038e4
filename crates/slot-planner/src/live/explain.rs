//! Why a copy is where it is, and why not on each other host, all else staying as it is.
//!
//! What always holds: hosts are compared by the rank that places a moved or rebuilt copy, so what is said here is what a plan would do;
//! a change that is said to make a host the choice was made, and the copy ranked again with that very rank: nothing nearer does, in
//! the order of [`Change`], unless it says that the search was cut short.

mod permit;

use super::place::Table;
use super::{Chart, Lead, Stance};
use crate::handed::{HandOver, Nearest, Sets};
use crate::layout::choice::Rank;
use crate::layout::{NOWHERE, WhyNotHere};
use crate::view::View;
use slot_types::cluster::*;
use slot_types::ids::*;
use slot_types::view::{Change, ExplainedCopy, LedElsewhere, OtherHost, Were};
use std::collections::BTreeSet;

/// More room than this on one host is no change that anybody makes.
const BYTES_MAX: u64 = 1 << 50;
/// More masters than this off one host is no change either.
pub(crate) const FEWER_MAX: usize = 8;
/// So many ranks are looked at for one answer at most: of each copy and host an equal part.
const LOOKS_MAX: u64 = 20_000_000;
/// What it costs, in ranks, to look at a copy or a host of a cluster in which something is otherwise.
const LOOKS_EACH: u64 = 10;

/// What may still be looked at.
struct Looks {
    left: u64,
    /// For the sets of hand-overs off one host.
    each: u64,
}

impl Looks {
    fn of(copies: usize, chart: &Chart<'_>) -> Looks {
        Looks { left: LOOKS_MAX, each: LOOKS_MAX / (copies * chart.hosts.len()).max(1) as u64 }
    }

    /// Whether there is enough left to look at a cluster in which something is otherwise.
    fn at_another(&mut self, chart: &Chart<'_>) -> bool {
        let cost = LOOKS_EACH * (chart.layout.at.len() + chart.hosts.len()) as u64;
        self.left.checked_sub(cost).map(|left| self.left = left).is_some()
    }
}

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
    let mut looks = Looks::of(copies.len(), &chart);
    let mut judge = Judge::of(view, &chart);
    copies.iter().map(|(name, slot)| judge.place(name, slot, &mut looks)).collect()
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

impl<'c, 'a> Judge<'c, 'a> {
    fn of(view: &'c View<'a>, chart: &'c Chart<'c>) -> Self {
        Judge { view, chart, table: Table::of(chart, &chart.layout) }
    }

    fn find<'s>(&self, name: &StoreName, slot: &'s SlotId) -> Option<Taken<'s>> {
        let store = self.chart.number(name)?;
        let copies = self.chart.layout.copies(&self.chart.fleet, store);
        let nth = copies.iter().position(|host| *host != NOWHERE && self.chart.slot(store, *host) == Some(slot))?;
        Some(Taken { store, nth, slot })
    }

    /// With a copy taken up, which is put down again.
    fn taken_up<T>(&mut self, copy: Taken<'_>, look: impl FnOnce(&mut Self) -> T) -> T {
        let host = self.table.seats.lift(copy.store, copy.nth);
        let seen = look(self);
        self.table.seats.put(copy.store, copy.nth, host);
        seen
    }

    fn place(&mut self, name: &StoreName, slot: &SlotId, looks: &mut Looks) -> Option<ExplainedCopy> {
        let copy = self.find(name, slot)?;
        let each = looks.each;
        let (best, seen) = self.taken_up(copy, |judge| {
            let able = judge.able(copy);
            let others = judge.table.hosts().filter(|host| *judge.chart.host(*host) != slot.host);
            let seen: Vec<_> = others.map(|host| judge.other(copy, host, &able, each)).collect();
            (able.into_iter().min(), seen)
        });
        let mut others = Vec::new();
        for (mut other, is_forbidden) in seen {
            if is_forbidden {
                match permit::nearest(self.view, (name, slot), &other.host, looks) {
                    Ok(change) => other.change = Some(change),
                    Err(why) => other.no_change = why,
                }
            }
            others.push(other);
        }
        let best = best.map(|best| self.chart.host(best.host).clone());
        Some(ExplainedCopy { slot: slot.clone(), best, others })
    }

    /// The slot it is on is free for it.
    fn rank(&self, copy: Taken<'_>, host: u32) -> Result<Rank, WhyNotHere> {
        let is_own = *self.chart.host(host) == copy.slot.host && self.view.takes_copies(&copy.slot.host).is_ok();
        match is_own && !self.chart.never_on.contains(&(copy.store, host)) {
            true => Ok(self.table.seats.rank_with(copy.store, copy.nth, host, 0)),
            false => self.table.rank(copy.store, copy.nth, NOWHERE, host),
        }
    }

    /// Those hosts that may have the copy, with their ranks, by the weights of the cluster file where it has any.
    fn able(&self, copy: Taken<'_>) -> Vec<Rank> {
        let mut able: Vec<Rank> = self.table.hosts().filter_map(|host| self.rank(copy, host).ok()).collect();
        self.table.weigh(copy.store, copy.nth, &mut able);
        able
    }

    /// Why not another host, and whether a rule says so that no room lifts: then the change is found elsewhere.
    fn other(&mut self, copy: Taken<'_>, host: u32, able: &[Rank], looks: u64) -> (OtherHost, bool) {
        let weighed = able.iter().find(|rank| rank.host == host).copied();
        let ranked = self.rank(copy, host).map(|rank| weighed.unwrap_or(rank));
        let why = match (&ranked, able.iter().min()) {
            (Err(why), _) => self.table.named(self.view, copy.store, host, *why).to_string(),
            (Ok(here), Some(best)) if here.host != best.host => worse(self.chart, here, best),
            (Ok(_), _) => String::new(),
        };
        let is_forbidden = ranked.is_err_and(|why| !self.room_helps(copy, host, why));
        let nearest = (!is_forbidden && !why.is_empty()).then(|| self.nearest(copy, host, able, looks)).transpose();
        let (change, no_change) = match nearest {
            Ok(change) => (change, String::new()),
            Err(why_none) => (None, why_none),
        };
        let other = OtherHost { host: self.chart.host(host).clone(), why, change, no_change };
        (other, is_forbidden)
    }

    /// Whether one more free slot is all that a host lacks to be allowed.
    fn room_helps(&self, copy: Taken<'_>, host: u32, why: WhyNotHere) -> bool {
        matches!(why, WhyNotHere::Slots | WhyNotHere::Bytes { .. }) && !self.table.is_full(copy.store, host)
    }

    /// The nearest change with which a host that no rule forbids would be better than every other one, or why none is said.
    fn nearest(&mut self, copy: Taken<'_>, host: u32, able: &[Rank], looks: u64) -> Result<Change, String> {
        let is_full = self.rank(copy, host).is_err();
        if self.chart.weights.is_some() {
            // Masters and room move every part of a sum, so only what always helps is said.
            return match is_full {
                true => Err("what one more slot there would weigh is not counted".into()),
                false => Ok(self.without_better(copy, host, able, None, false)),
            };
        }
        let sets = Sets::of(self.hand_overs(copy, host).into_iter());
        let Nearest { found, bounded } = sets.nearest(FEWER_MAX, (self.chart.hosts.len(), looks), |set| {
            set.iter().for_each(|one| self.hand_over(*one));
            let room = self.least_room(copy, host, is_full);
            set.iter().rev().for_each(|one| self.hand_over(*one));
            room
        });
        if let Some((slot_bytes, set)) = found {
            let led_elsewhere = set.iter().filter_map(|one| self.told(*one)).collect();
            return Ok(Change { were: Vec::new(), led_elsewhere, slot_bytes, bounded });
        }
        let slot_bytes = is_full.then(|| self.fits(copy, host));
        Ok(self.without_better(copy, host, able, slot_bytes, bounded))
    }

    /// The store being kept away from every host that is better.
    fn without_better(
        &self,
        copy: Taken<'_>,
        host: u32,
        able: &[Rank],
        slot_bytes: Option<u64>,
        bounded: bool,
    ) -> Change {
        let here = able.iter().find(|rank| rank.host == host).copied();
        let here =
            here.unwrap_or_else(|| self.table.seats.rank_with(copy.store, copy.nth, host, slot_bytes.unwrap_or(0)));
        let better = able.iter().filter(|rank| rank.host != host && **rank < here);
        let better = better.map(|rank| self.chart.host(rank.host).clone()).collect();
        Change { were: vec![Were::NeverOn(better)], led_elsewhere: Vec::new(), slot_bytes, bounded }
    }

    /// Bytes of one more slot on a host with which the copy may be there.
    fn fits(&self, copy: Taken<'_>, host: u32) -> u64 {
        let size = self.chart.fleet.stores[copy.store as usize].size;
        let then = self.table.seats.tally.bytes[host as usize].saturating_add(size);
        size.max(then.saturating_sub(self.chart.fleet.hosts[host as usize].bytes))
    }

    /// The room that a host lacks to be better than every other one: none, or one more free slot of the least size. `None` where no
    /// room is enough.
    fn least_room(&self, copy: Taken<'_>, host: u32, is_full: bool) -> Option<Option<u64>> {
        let others = self.table.hosts().filter(|other| *other != host);
        let best = others.filter_map(|other| self.rank(copy, other).ok()).min();
        let is_best = |more: u64| {
            let here = self.table.seats.rank_with(copy.store, copy.nth, host, more);
            best.is_none_or(|best| here < best)
        };
        if !is_full && is_best(0) {
            return Some(None);
        }
        least(self.fits(copy, host), is_best).map(Some)
    }

    /// The copy that leads a store once its nth copy does.
    fn told(&self, (store, nth): HandOver) -> Option<LedElsewhere> {
        let host = self.table.seats.layout.copies(&self.chart.fleet, store)[nth as usize];
        Some(LedElsewhere { store: self.chart.store(store).clone(), to: self.chart.slot(store, host)?.clone() })
    }

    /// The masters of a host that can be handed over now, each to a copy that can take it, with what that changes for the copy that
    /// is taken up: whose load grows, and which hosts share one more master with it.
    fn hand_overs(&self, copy: Taken<'_>, host: u32) -> Vec<(Vec<u32>, HandOver)> {
        let (fleet, layout) = (&self.chart.fleet, &self.table.seats.layout);
        let siblings = layout.copies(fleet, copy.store);
        let mut all = Vec::new();
        for store in (0..).take(fleet.stores.len()).filter(|store| *store != copy.store) {
            if layout.master(fleet, store) != host {
                continue;
            }
            let copies = layout.copies(fleet, store);
            for (nth, to) in (0..).zip(copies).skip(1).filter(|(_, to)| **to != NOWHERE) {
                if !can_take(self.view, self.chart, store, (host, *to)) {
                    continue;
                }
                let mut effect: Vec<u32> = match copy.nth {
                    0 => copies.iter().copied().filter(|other| siblings.contains(other)).collect(),
                    _ if siblings.first() == Some(to) => copies.to_vec(),
                    _ => Vec::new(),
                };
                effect.sort_unstable();
                // Only what weighs alike stands for each other.
                effect.splice(0..0, [*to, fleet.stores[store as usize].load]);
                all.push((effect, (store, nth)));
            }
        }
        all
    }

    /// The nth copy of a store and its master exchange roles.
    fn hand_over(&mut self, (store, nth): HandOver) {
        let (seats, nth) = (&mut self.table.seats, nth as usize);
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
    let masters = |level: u64| match chart.has_loads {
        true => format!("a declared load of {}", level_text(level)),
        false => format!("{} masters", level.div_ceil(ONE_STORE)),
    };
    let alone = |level: u64| match chart.has_loads {
        true => level_text(level),
        false => level.div_ceil(ONE_STORE).to_string(),
    };
    let tenths = |ppm: u64| format!("{}.{}%", ppm / 10_000, ppm / 1_000 % 10);
    if here.weighed != best.weighed {
        let (here, there) = (here.weighed.div_ceil(1000), best.weighed.div_ceil(1000));
        format!("by the weights of the cluster file it comes to {here}; {other} comes to {there}")
    } else if here.survivor != best.survivor {
        let (here, there) = (masters(here.survivor), alone(best.survivor));
        format!("a host's loss could leave {here} on one host; with {other} it is {there}")
    } else if here.masters != best.masters {
        format!("it would have {}, {other} would have {}", masters(here.masters), alone(best.masters))
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
