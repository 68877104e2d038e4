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
use slot_types::view::{Change, ExplainedCopy, OtherHost};
use std::collections::BTreeSet;

/// More room than this on one host is no change that anybody makes.
const BYTES_MAX: u64 = 1 << 50;

/// Each copy of a store that has its place, the master's first.
pub(crate) fn places(view: &View<'_>, name: &StoreName, store: &Store) -> Vec<ExplainedCopy> {
    if !super::has_master(store) {
        return Vec::new();
    }
    Stance::kept(store).at.into_iter().flatten().filter_map(|slot| place(view, name, store, &slot)).collect()
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

fn place(view: &View<'_>, name: &StoreName, store: &Store, slot: &SlotId) -> Option<ExplainedCopy> {
    let leads = store.pending.as_ref().or(store.master.as_ref()) == Some(slot);
    let (chart, number, nth) = lifted(view, name, slot, leads)?;
    let table = Table::of(&chart, &chart.layout);
    // The slot it is on is free for it.
    let own = |host: u32| *chart.host(host) == slot.host && view.takes_copies(&slot.host).is_ok();
    let rank = |host: u32| match own(host) {
        true => Ok(table.seats.rank_with(number, nth, host, 0)),
        false => table.rank(number, nth, NOWHERE, host),
    };
    let best = table.hosts().filter_map(|host| rank(host).ok()).min();
    let others = table.hosts().filter(|host| *chart.host(*host) != slot.host).map(|host| {
        let ranked = rank(host);
        let why = match (&ranked, &best) {
            (Err(why), _) => table.named(view, number, host, *why).to_string(),
            (Ok(here), Some(best)) if here.host != best.host => worse(&chart, here, best),
            (Ok(_), _) => String::new(),
        };
        let room =
            matches!(ranked, Err(WhyNotHere::Slots | WhyNotHere::Bytes { .. })) || !why.is_empty() && ranked.is_ok();
        let size = store.spec.size_bytes;
        let change = best
            .filter(|_| room)
            .and_then(|best| least(size, |more| table.seats.rank_with(number, nth, host, more) < best));
        OtherHost { host: chart.host(host).clone(), why, change: change.map(|size_bytes| Change::Slot { size_bytes }) }
    });
    Some(ExplainedCopy {
        slot: slot.clone(),
        best: best.map(|best| chart.host(best.host).clone()),
        others: others.collect(),
    })
}

/// In what a host is worse than the best one.
fn worse(chart: &Chart<'_>, here: &Rank, best: &Rank) -> String {
    let other = chart.host(best.host);
    let masters = |level: u64| level.div_ceil(1000);
    let tenths = |ppm: u64| format!("{}.{}%", ppm / 10_000, ppm / 1_000 % 10);
    if here.survivor != best.survivor {
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
