//! `offline explain` of a file of htools: it says where copies are and nothing of what runs, so only their places are explained.
//!
//! What always holds: reasons and changes are those of [`why`](slot_planner::layout::why), with names in place of numbers.

use super::whatif::word;
use crate::offline::Loaded;
use crate::text::layout::{bytes, count};
use serde::Serialize;
use slot_planner::layout::choice::Rank;
use slot_planner::layout::why::{self, Change, Copy, Here, NoChange, Were, Why, places};
use slot_planner::layout::*;

/// So many moves of a plan are explained: each looks at every host.
const MOVES_MAX: usize = 200;

/// Why copies are where they are, or would be.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Placement {
    /// What is explained: `store s1`, or `drain` and the like.
    pub subject: String,
    /// Of a store: each of its copies, the master first.
    pub places: Vec<CopyWhy>,
    /// Of a plan: its moves, in their order.
    pub moves: Vec<MoveWhy>,
    /// So many more moves are not explained.
    pub not_explained: usize,
}

/// Why a copy is on its host.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CopyWhy {
    /// `master` or `replica`.
    pub role: &'static str,
    /// Where it is; null where it is nowhere.
    pub host: Option<String>,
    /// Why it may not be there; empty where it may.
    pub broken: String,
    /// The best host for it; null where none may have it.
    pub best: Option<String>,
    /// Every other host.
    pub others: Vec<OtherWhy>,
}

/// Why another host is not the choice.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OtherWhy {
    /// Which.
    pub host: String,
    /// The one reason; empty for the one that is.
    pub why: String,
    /// What would have to be otherwise; null for the one that is, and where `no_change` says why none is said.
    pub change: Option<ChangeWhy>,
    /// Why no change is said.
    pub no_change: String,
}

/// What would have to be otherwise.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ChangeWhy {
    /// Each of these, in words.
    pub were: Vec<String>,
    /// Fewer masters there.
    pub led_elsewhere: Vec<Led>,
    /// So many more bytes of room there; null where there is enough.
    pub more_bytes: Option<u64>,
    /// Whether the search was cut short.
    pub bounded: bool,
}

/// A store that would be led from another copy.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Led {
    /// Which.
    pub store: String,
    /// From where.
    pub to: String,
}

/// A move and its reason.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MoveWhy {
    /// Its number, from 1.
    pub task: usize,
    /// Of which store.
    pub store: String,
    /// The host that holds a copy no longer; null for none.
    pub from: Option<String>,
    /// The host that gets one; null for none.
    pub to: Option<String>,
    /// The host of the master afterwards; null where that stays.
    pub master: Option<String>,
    /// Why it is made.
    pub because: Vec<String>,
    /// The place of the copy that is built, and why no other host, the rest of the plan staying as it is.
    pub place: Option<CopyWhy>,
}

/// Explains a store; [`None`] when there is none of that name.
pub fn store(loaded: &Loaded, name: &str) -> Option<Placement> {
    let (fleet, layout) = (&loaded.fleet, &loaded.layout);
    let number = (0..fleet.stores.len() as u32).find(|number| loaded.store(*number) == name)?;
    let copies: Vec<Copy> = (0..layout.copies(fleet, number).len()).map(|nth| (number, nth)).collect();
    let all = places(fleet, layout, &copies);
    let places = all.iter().zip(&copies).map(|(here, (_, nth))| Words { loaded, fleet }.copy(here, *nth)).collect();
    Some(Placement { subject: format!("store {name}"), places, moves: Vec::new(), not_explained: 0 })
}

/// Explains the moves of a plan; the hosts are in the states that its goal asks for.
pub fn plan(loaded: &Loaded, fleet: &Fleet, operation: &str, outcome: &Outcome) -> Placement {
    let words = Words { loaded, fleet };
    let moves = &outcome.moves[..outcome.moves.len().min(MOVES_MAX)];
    let copy = |one: &Move| {
        let nth = outcome.layout.copies(fleet, one.store).iter().position(|host| *host == one.to && one.to != NOWHERE);
        nth.map(|nth| (one.store, nth))
    };
    let copies: Vec<Option<Copy>> = moves.iter().map(copy).collect();
    let known: Vec<Copy> = copies.iter().flatten().copied().collect();
    let mut all = places(fleet, &outcome.layout, &known).into_iter();
    let reasons = Reasons {
        words,
        before: &loaded.layout,
        was: Tally::without_pairs(fleet, &loaded.layout),
        is: Tally::without_pairs(fleet, &outcome.layout),
        outcome,
    };
    let explained = (1..).zip(moves).zip(copies).map(|((task, one), copy)| MoveWhy {
        task,
        store: loaded.store(one.store).to_owned(),
        from: words.named(one.from),
        to: words.named(one.to),
        master: words.named(one.master),
        because: reasons.of(one),
        place: copy.and_then(|(_, nth)| all.next().map(|here| words.copy(&here, nth))),
    });
    let moves: Vec<MoveWhy> = explained.collect();
    let not_explained = outcome.moves.len() - moves.len();
    Placement { subject: operation.to_owned(), places: Vec::new(), moves, not_explained }
}

/// What moves are made for.
struct Reasons<'a> {
    words: Words<'a>,
    before: &'a Layout,
    was: Tally,
    is: Tally,
    outcome: &'a Outcome,
}

impl Reasons<'_> {
    fn of(&self, one: &Move) -> Vec<String> {
        let mut because = Vec::new();
        if one.to != NOWHERE {
            because.push(self.copied(one));
        }
        let was = self.before.master(self.words.fleet, one.store);
        if one.master != NOWHERE && was != NOWHERE && one.master != was && one.from != was {
            because.push(self.led(was, one.master));
            because.extend(self.other_copies(one));
        }
        because
    }
    /// Why a copy is built elsewhere.
    fn copied(&self, one: &Move) -> String {
        let (fleet, name) = (self.words.fleet, |host| self.words.loaded.host(host));
        let copies = self.before.copies(fleet, one.store);
        if one.from == NOWHERE {
            return "a copy of it is nowhere".to_owned();
        }
        let Some(nth) = copies.iter().position(|host| *host == one.from) else {
            return format!("it was on {} only on its way", name(one.from));
        };
        let state = fleet.hosts[one.from as usize].state;
        if !state.may_keep() {
            return format!("{} is {}", name(one.from), word(state));
        }
        if let Some(why) = places(fleet, self.before, &[(one.store, nth)])[0].broken {
            return format!("{} may not keep it: {}", name(one.from), self.words.rule(why));
        }
        let full = |tally: &Tally, host: u32| {
            tenths(u128::from(tally.bytes[host as usize]) * 1_000_000, fleet.hosts[host as usize].bytes)
        };
        let side = |host| format!("{} was {} full and is {}", name(host), full(&self.was, host), full(&self.is, host));
        format!("with the plan hosts and losses are more even: {}, {}", side(one.from), side(one.to))
    }
    /// Why another copy leads.
    fn led(&self, from: u32, to: u32) -> String {
        let (fleet, name) = (self.words.fleet, |host| self.words.loaded.host(host));
        let side = |host: u32| {
            format!(
                "{} led {} and leads {}",
                name(host),
                self.was.masters[host as usize],
                self.is.masters[host as usize]
            )
        };
        match fleet.hosts[from as usize].is_active() {
            true => format!("with the plan masters are more even: {}, {}", side(from), side(to)),
            false => format!("{} is {}; {}", name(from), word(fleet.hosts[from as usize].state), side(to)),
        }
    }
    /// Why no other copy leads.
    fn other_copies(&self, one: &Move) -> Vec<String> {
        let fleet = self.words.fleet;
        let copies = self.outcome.layout.copies(fleet, one.store).iter().skip(1).filter(|host| **host != NOWHERE);
        let why = |host: &u32| {
            let name = self.words.loaded.host(*host);
            match fleet.hosts[*host as usize].is_active() {
                true => format!("{name}, which has a copy too, leads {} without it", self.is.masters[*host as usize]),
                false => format!("{name}, which has a copy too, is {}", word(fleet.hosts[*host as usize].state)),
            }
        };
        copies.map(why).collect()
    }
}

/// Names for numbers.
#[derive(Clone, Copy)]
struct Words<'a> {
    loaded: &'a Loaded,
    fleet: &'a Fleet,
}

impl Words<'_> {
    fn named(&self, host: u32) -> Option<String> {
        (host != NOWHERE).then(|| self.loaded.host(host).to_owned())
    }
    fn copy(&self, here: &Here, nth: usize) -> CopyWhy {
        CopyWhy {
            role: if nth == 0 { "master" } else { "replica" },
            host: self.named(here.host),
            broken: here.broken.map_or(String::new(), |why| self.rule(why)),
            best: here.best.and_then(|best| self.named(best)),
            others: here.others.iter().map(|other| self.other(other)).collect(),
        }
    }
    fn other(&self, other: &why::Other) -> OtherWhy {
        let (why, is_best) = match &other.why {
            Why::Best => (String::new(), true),
            Why::Rule(why) => (self.rule(*why), false),
            Why::Worse { here, best } => (self.worse(here, best), false),
        };
        let (change, no_change) = match &other.change {
            Ok(_) if is_best => (None, ""),
            Ok(change) => (Some(self.change(change)), ""),
            Err(NoChange::TooMuch) => (None, "too much would have to be otherwise"),
            Err(NoChange::TooLarge) => (None, "the fleet is too large to look for one here"),
            Err(NoChange::OtherCopy) => (None, "no other host may have the copy that is there"),
        };
        OtherWhy { host: self.loaded.host(other.host).to_owned(), why, change, no_change: no_change.to_owned() }
    }
    fn rule(&self, why: WhyNotHere) -> String {
        match why {
            WhyNotHere::State(state) => format!("it is {}", word(state)),
            WhyNotHere::HasCopy => "it has another copy of the store".to_owned(),
            WhyNotHere::SharesDomain { with } => {
                format!("it is in one rack with {}, which has another copy", self.loaded.host(with))
            }
            WhyNotHere::Excluded => "the store is kept away from it".to_owned(),
            WhyNotHere::Bytes { short } => format!("it has {} too little room", bytes(short)),
            WhyNotHere::Slots => "all its slots are taken".to_owned(),
        }
    }
    fn worse(&self, here: &Rank, best: &Rank) -> String {
        let other = self.loaded.host(best.host);
        let masters = |level: u64| level.div_ceil(1000);
        let full = |ppm: u64| tenths(u128::from(ppm), 1);
        if here.survivor != best.survivor {
            let (here, there) = (masters(here.survivor), masters(best.survivor));
            format!("a host's loss could leave {here} masters on one host; with {other} it is {there}")
        } else if here.masters != best.masters {
            let (here, there) = (masters(here.masters), masters(best.masters));
            format!("it would lead {}, {other} would lead {there}", count(here, "store"))
        } else if here.fill != best.fill {
            format!("it would be {} full, {other} would be {}", full(here.fill), full(best.fill))
        } else {
            format!("it is as good as {other}, which comes first by name")
        }
    }
    fn change(&self, change: &Change) -> ChangeWhy {
        let name = |host: &u32| self.loaded.host(*host).to_owned();
        let were = |were: &Were| match were {
            Were::Active => "were it active".to_owned(),
            Were::ApartFrom(host) => format!("were it in another rack than {}", name(host)),
            Were::Allowed => "were the store not kept away from it".to_owned(),
            Were::CopyOn(host) => format!("were the copy that it has on {}", name(host)),
            Were::NeverOn(hosts) => {
                format!("were the store kept away from {}", hosts.iter().map(name).collect::<Vec<_>>().join(" "))
            }
        };
        let led = |(store, to): &(u32, u32)| Led { store: self.loaded.store(*store).to_owned(), to: name(to) };
        // Kept away from none is no change.
        let real = change.were.iter().filter(|one| !matches!(one, Were::NeverOn(hosts) if hosts.is_empty()));
        ChangeWhy {
            were: real.map(were).collect(),
            led_elsewhere: change.led_elsewhere.iter().map(led).collect(),
            more_bytes: change.bytes,
            bounded: change.bounded,
        }
    }
}

/// Millionths of a part, in per cent.
fn tenths(ppm: u128, of: u64) -> String {
    let ppm = ppm / u128::from(of.max(1));
    format!("{}.{}%", ppm / 10_000, ppm / 1_000 % 10)
}
