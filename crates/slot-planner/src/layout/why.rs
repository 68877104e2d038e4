//! Why a copy is where it is, and why not on each other host, as the placement alone says it.
//!
//! What always holds: hosts are compared by the rank of [`choice`](super::choice), by which a cluster's leader explains too, all else staying
//! as it is; a change that is said to make a host the choice was made, and the copy ranked again: nothing nearer does, fewer masters led
//! elsewhere coming first and then less room, unless it says that the search was cut short.

use super::choice::{Rank, Seats};
use super::figures::figures;
use super::model::*;
use super::rules::WhyNotHere;
use crate::handed::{HandOver, Nearest, Sets};

/// More room than this on one host is no change that anybody makes.
const BYTES_MAX: u64 = 1 << 50;
/// More masters than this off one host is no change either.
const FEWER_MAX: usize = 8;
/// So many things that forbid a host are lifted for it at most.
const LIFTED_MAX: usize = 4;
/// So many ranks are looked at for one answer at most: of each copy and host an equal part.
const LOOKS_MAX: u64 = 20_000_000;
/// What it costs, in ranks, to look at a copy or a host of a fleet in which something is otherwise.
const LOOKS_EACH: u64 = 10;

/// A copy where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Here {
    /// Its host; [`NOWHERE`] if none.
    pub host: u32,
    /// The rule by which it may not be there.
    pub broken: Option<WhyNotHere>,
    /// The best host for it; [`None`] where none may have it.
    pub best: Option<u32>,
    /// Every other host, by number.
    pub others: Vec<Other>,
}

/// Another host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Other {
    /// Which.
    pub host: u32,
    /// The one reason why it is not the choice.
    pub why: Why,
    /// The nearest change that makes it the choice: none at all for the one that is.
    pub change: Result<Change, NoChange>,
}

/// Why a host is not the choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It is.
    Best,
    /// A rule forbids it.
    Rule(WhyNotHere),
    /// Another one is better.
    Worse {
        /// With the copy here.
        here: Rank,
        /// With it on the best host.
        best: Rank,
    },
}

/// What would have to be otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Each of these.
    pub were: Vec<Were>,
    /// Fewer masters there: these stores are led from their copies on these hosts.
    pub led_elsewhere: Vec<(u32, u32)>,
    /// Room for one copy more there, with so many more bytes.
    pub bytes: Option<u64>,
    /// Whether the search was cut short.
    pub bounded: bool,
}

/// One thing that is otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Were {
    /// The host is active.
    Active,
    /// It is in failure domains of its own, unlike this host, which has a copy.
    ApartFrom(u32),
    /// The store is not kept away from it.
    Allowed,
    /// The store's copy on it is on this host.
    CopyOn(u32),
    /// The store is kept away from these.
    NeverOn(Vec<u32>),
}

/// Why no change is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoChange {
    /// More than [`LIFTED_MAX`] things are in the way.
    TooMuch,
    /// The fleet is too large to look for one.
    TooLarge,
    /// The store's copy on it could be on no other host.
    OtherCopy,
}

/// A copy: its store, and which of its copies it is, the master being the first.
pub type Copy = (u32, usize);

/// Why each of these copies is where it is.
pub fn places(fleet: &Fleet, layout: &Layout, copies: &[Copy]) -> Vec<Here> {
    let mut looks = Looks::of(copies.len(), fleet);
    let mut judge = Judge::of(fleet, layout);
    copies.iter().map(|copy| judge.place(*copy, &mut looks)).collect()
}

/// Makes one thing otherwise, for a copy on a host.
pub fn make(fleet: &mut Fleet, layout: &mut Layout, copy: Copy, host: u32, were: &Were) {
    let store = copy.0;
    match were {
        Were::Active => fleet.hosts[host as usize].state = State::Active,
        Were::ApartFrom(_) => fleet.hosts[host as usize].domain = [NOWHERE; LEVELS],
        Were::Allowed => fleet.exclusions.retain(|one| *one != (store, host)),
        Were::CopyOn(to) => {
            let range = fleet.range(store);
            layout.at[range].iter_mut().filter(|at| **at == host).for_each(|at| *at = *to);
        }
        Were::NeverOn(hosts) => {
            fleet.exclusions.extend(hosts.iter().map(|host| (store, *host)));
            fleet.exclusions.sort_unstable();
        }
    }
}

/// What may still be looked at.
struct Looks {
    left: u64,
    /// For the sets of hand-overs off one host.
    each: u64,
}

impl Looks {
    fn of(copies: usize, fleet: &Fleet) -> Looks {
        Looks { left: LOOKS_MAX, each: LOOKS_MAX / (copies * fleet.hosts.len()).max(1) as u64 }
    }
    /// Whether there is enough left to look at a fleet in which something is otherwise.
    fn at_another(&mut self, fleet: &Fleet, layout: &Layout) -> bool {
        let cost = LOOKS_EACH * (layout.at.len() + fleet.hosts.len()) as u64;
        self.left.checked_sub(cost).map(|left| self.left = left).is_some()
    }
}

/// A fleet of which one copy at a time is taken up.
struct Judge<'a> {
    fleet: &'a Fleet,
    seats: Seats<'a>,
}

impl<'a> Judge<'a> {
    fn of(fleet: &'a Fleet, layout: &Layout) -> Judge<'a> {
        Judge { fleet, seats: Seats::of(fleet, layout, &figures(fleet, layout)) }
    }

    /// With a copy taken up, which is put down again.
    fn taken_up<T>(&mut self, (store, nth): Copy, look: impl FnOnce(&mut Self) -> T) -> T {
        let host = self.seats.lift(store, nth);
        let seen = look(self);
        if host != NOWHERE {
            self.seats.put(store, nth, host);
        }
        seen
    }

    fn hosts(&self) -> impl Iterator<Item = u32> + use<> {
        (0..).take(self.fleet.hosts.len())
    }

    fn rank(&self, (store, nth): Copy, host: u32) -> Result<Rank, WhyNotHere> {
        self.seats.rank(store, nth, NOWHERE, host)
    }

    fn place(&mut self, copy: Copy, looks: &mut Looks) -> Here {
        let host = self.seats.layout.copies(self.fleet, copy.0)[copy.1];
        let each = looks.each;
        let mut here = self.taken_up(copy, |judge| {
            let best = judge.hosts().filter_map(|host| judge.rank(copy, host).ok()).min();
            let others = judge.hosts().filter(|other| *other != host);
            let others = others.map(|other| judge.other(copy, other, best, each)).collect();
            let broken = if host == NOWHERE { None } else { judge.rank(copy, host).err() };
            Here { host, broken, best: best.map(|best| best.host), others }
        });
        for other in &mut here.others {
            if matches!(other.why, Why::Rule(why) if !room_helps(why)) {
                other.change = permitted(self.fleet, &self.seats.layout, copy, other.host, looks);
            }
        }
        here
    }

    fn other(&mut self, copy: Copy, host: u32, best: Option<Rank>, looks: u64) -> Other {
        let why = match (self.rank(copy, host), best) {
            (Err(why), _) => Why::Rule(why),
            (Ok(here), Some(best)) if best.host != host => Why::Worse { here, best },
            (Ok(_), _) => Why::Best,
        };
        let change = match why {
            Why::Best => Change::default(),
            // What forbids it is lifted in a fleet of its own.
            Why::Rule(why) if !room_helps(why) => Change::default(),
            Why::Rule(_) | Why::Worse { .. } => self.nearest(copy, host, looks),
        };
        Other { host, why, change: Ok(change) }
    }

    /// The nearest change with which a host that no rule forbids is better than every other one.
    fn nearest(&mut self, copy: Copy, host: u32, looks: u64) -> Change {
        let is_full = self.rank(copy, host).is_err();
        let sets = Sets::of(self.hand_overs(copy, host).into_iter());
        let Nearest { found, bounded } = sets.nearest(FEWER_MAX, (self.fleet.hosts.len(), looks), |set| {
            set.iter().for_each(|one| self.hand_over(*one));
            let room = self.least_room(copy, host, is_full);
            set.iter().rev().for_each(|one| self.hand_over(*one));
            room
        });
        if let Some((bytes, set)) = found {
            let on = |(store, nth): HandOver| self.seats.layout.copies(self.fleet, store)[nth as usize];
            let led_elsewhere = set.into_iter().map(|one| (one.0, on(one))).collect();
            return Change { were: Vec::new(), led_elsewhere, bytes, bounded };
        }
        self.without_better(copy, host, is_full, bounded)
    }

    /// The store being kept away from every host that is better.
    fn without_better(&self, copy: Copy, host: u32, is_full: bool, bounded: bool) -> Change {
        let bytes = is_full.then(|| self.fits(copy, host));
        let here = self.seats.rank_with(copy.0, copy.1, host, bytes.unwrap_or(0));
        let able = self.hosts().filter(|other| *other != host).filter_map(|other| self.rank(copy, other).ok());
        let better = able.filter(|rank| *rank < here).map(|rank| rank.host).collect();
        Change { were: vec![Were::NeverOn(better)], led_elsewhere: Vec::new(), bytes, bounded }
    }

    /// Bytes more on a host with which the copy may be there.
    fn fits(&self, (store, _): Copy, host: u32) -> u64 {
        let then = self.seats.tally.bytes[host as usize].saturating_add(self.fleet.stores[store as usize].size);
        then.saturating_sub(self.fleet.hosts[host as usize].bytes)
    }

    /// The room that a host lacks to be better than every other one: none, or the least. [`None`] where no room is enough.
    fn least_room(&self, copy: Copy, host: u32, is_full: bool) -> Option<Option<u64>> {
        let others = self.hosts().filter(|other| *other != host);
        let best = others.filter_map(|other| self.rank(copy, other).ok()).min();
        let is_best = |more: u64| {
            let here = self.seats.rank_with(copy.0, copy.1, host, more);
            best.is_none_or(|best| here < best)
        };
        if !is_full && is_best(0) {
            return Some(None);
        }
        least(self.fits(copy, host), is_best).map(Some)
    }

    /// The masters of a host that could be led from another copy, each with what that changes for the copy that is taken up.
    fn hand_overs(&self, copy: Copy, host: u32) -> Vec<(Vec<u32>, HandOver)> {
        let (fleet, layout) = (self.fleet, &self.seats.layout);
        let siblings = layout.copies(fleet, copy.0);
        let mut all = Vec::new();
        for store in (0..).take(fleet.stores.len()).filter(|store| *store != copy.0) {
            if layout.master(fleet, store) != host {
                continue;
            }
            let copies = layout.copies(fleet, store);
            for (nth, to) in (0..).zip(copies).skip(1).filter(|(_, to)| **to != NOWHERE) {
                if !fleet.hosts[*to as usize].is_active() || !fleet.may_become_master(store, *to) {
                    continue;
                }
                let mut effect: Vec<u32> = match copy.1 {
                    0 => copies.iter().copied().filter(|other| siblings.contains(other)).collect(),
                    _ if siblings.first() == Some(to) => copies.to_vec(),
                    _ => Vec::new(),
                };
                effect.sort_unstable();
                effect.insert(0, *to);
                effect.push(fleet.stores[store as usize].load);
                all.push((effect, (store, nth)));
            }
        }
        all
    }

    /// The nth copy of a store and its master exchange roles.
    fn hand_over(&mut self, (store, nth): HandOver) {
        let nth = nth as usize;
        let (was, is) = (self.seats.lift(store, 0), self.seats.lift(store, nth));
        self.seats.put(store, 0, is);
        self.seats.put(store, nth, was);
    }

    /// Where else the copy that a host has would be.
    fn elsewhere(&mut self, store: u32, host: u32) -> Result<Were, NoChange> {
        let (fleet, level) = (self.fleet, self.fleet.stores[store as usize].level);
        let nth = self.seats.layout.copies(fleet, store).iter().position(|at| *at == host);
        let held = (store, nth.ok_or(NoChange::OtherCopy)?);
        // Where it is not in the way again.
        let best = self.taken_up(held, |judge| {
            let others = judge.hosts().filter(|other| !fleet.share(level, host, *other));
            others.filter_map(|other| judge.rank(held, other).ok()).min()
        });
        best.map(|best| Were::CopyOn(best.host)).ok_or(NoChange::OtherCopy)
    }
}

fn room_helps(why: WhyNotHere) -> bool {
    matches!(why, WhyNotHere::Slots | WhyNotHere::Bytes { .. })
}

/// The nearest change with which a host that a rule forbids is the choice: what forbids it is lifted, one thing after the other.
fn permitted(fleet: &Fleet, layout: &Layout, copy: Copy, host: u32, looks: &mut Looks) -> Result<Change, NoChange> {
    let (mut fleet, mut layout) = (fleet.clone(), layout.clone());
    let mut were = Vec::new();
    while were.len() < LIFTED_MAX {
        if !looks.at_another(&fleet, &layout) {
            return Err(NoChange::TooLarge);
        }
        let mut judge = Judge::of(&fleet, &layout);
        let lift = match judge.taken_up(copy, |judge| judge.rank(copy, host)) {
            Err(WhyNotHere::State(_)) => Were::Active,
            Err(WhyNotHere::SharesDomain { with }) => Were::ApartFrom(with),
            Err(WhyNotHere::Excluded) => Were::Allowed,
            Err(WhyNotHere::HasCopy) => judge.elsewhere(copy.0, host)?,
            Ok(_) | Err(WhyNotHere::Slots | WhyNotHere::Bytes { .. }) => {
                let nearest = judge.taken_up(copy, |judge| judge.nearest(copy, host, looks.each));
                return Ok(Change { were: were.into_iter().chain(nearest.were).collect(), ..nearest });
            }
        };
        make(&mut fleet, &mut layout, copy, host, &lift);
        were.push(lift);
    }
    Err(NoChange::TooMuch)
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
