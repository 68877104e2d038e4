//! The independent check: every part of every move is carried out on a copy of the layout, and the hard rules are counted
//! after each.
//!
//! What always holds: nothing here comes from the solver: rooms, domains and copies are counted from the layout before, host
//! by host, and every store of the promised end is held against what the moves came to. What no move named and is the same at the
//! end breaks at the end what it broke before, so it is counted once. Waves are checked as they run: all builds of a wave are on their hosts before any of its drops. Nothing but [`check`]
//! makes a [`Checked`] outcome, and nothing else is written to a file or shown as a plan.

use super::figures::{Violations, of_store, over_room};
use super::goal::{Goal, Move, Outcome};
use super::model::*;
use super::rules::Rule;

/// What is wrong with a sequence of moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("move {nth}: {what}")]
pub struct Fault {
    /// Which move, or their count if it is the end that is wrong.
    pub nth: usize,
    /// What it does.
    pub what: Wrong,
}

/// What a move may not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// It names a host or a store that is not there, or does nothing.
    #[error("names what is not there, or does nothing")]
    Nonsense,
    /// It builds on a host that holds a copy, or may not get one.
    #[error("builds where no copy may be built: {0}")]
    BuildsThere(Rule),
    /// It builds in the domain of another copy that stays.
    #[error("puts two copies of a store in one failure domain")]
    SharesDomain,
    /// It builds what nothing can be read for.
    #[error("builds a copy from none that can be read")]
    NoSource,
    /// It needs more bytes than are free.
    #[error("needs bytes that are not free")]
    Bytes,
    /// It needs a slot and none is free.
    #[error("needs a slot and none is free")]
    Slots,
    /// It drops what is not there, what is pinned, or the master.
    #[error("drops what may not be dropped: {0}")]
    Drops(Rule),
    /// It leaves fewer live copies than the store asks for and had.
    #[error("leaves fewer copies than the store asks for")]
    TooFew,
    /// It makes a master of what is no live copy on an active host.
    #[error("makes a master of what may be none")]
    Master,
    /// Its wave is not after the one before it, or does not exist.
    #[error("its wave is out of order")]
    Wave,
    /// The end is not the layout that was promised.
    #[error("ends in another layout than promised")]
    OtherEnd,
    /// Something is broken at the end that was not before.
    #[error("ends with more broken than before")]
    Worse,
}

impl Wrong {
    /// The hard rule that it breaks, if it breaks one and is not plain nonsense.
    pub fn rule(self) -> Option<Rule> {
        match self {
            Wrong::BuildsThere(rule) | Wrong::Drops(rule) => Some(rule),
            Wrong::SharesDomain => Some(Rule::Apart),
            Wrong::NoSource | Wrong::TooFew => Some(Rule::Copies),
            Wrong::Bytes => Some(Rule::Bytes),
            Wrong::Slots => Some(Rule::Slots),
            Wrong::Master => Some(Rule::Masters),
            Wrong::Nonsense | Wrong::Wave | Wrong::OtherEnd | Wrong::Worse => None,
        }
    }
}

/// An outcome that was carried out move by move and wave by wave, and broke no rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked(Outcome);

impl Checked {
    /// What was checked.
    pub fn outcome(&self) -> &Outcome {
        &self.0
    }
}

/// Replays an outcome on hosts in the states that its goal asks for.
pub fn check(fleet: &Fleet, before: &Layout, goal: &Goal, outcome: Outcome) -> Result<Checked, Fault> {
    let mut fleet = fleet.clone();
    if let Goal::Drain { hosts, empty } = goal {
        for number in hosts {
            let host = fleet.hosts.get_mut(*number as usize).ok_or(Fault { nth: 0, what: Wrong::Nonsense })?;
            if host.is_readable() {
                host.state = if *empty { State::Leaving } else { State::Draining };
            }
        }
    }
    replay(&fleet, before, &outcome)?;
    Ok(Checked(outcome))
}

/// Carries an outcome's moves out on the layout before, one after the other and wave by wave.
pub fn replay(fleet: &Fleet, before: &Layout, outcome: &Outcome) -> Result<(), Fault> {
    let end = outcome.moves.len();
    let fault = |nth, what| Err(Fault { nth, what });
    if outcome.waves.len() != end {
        return fault(end, Wrong::Wave);
    }
    let mut yard = Yard::of(fleet, before);
    let full_before = over_room(fleet, &yard.bytes, &yard.slots);
    for (nth, (one, wave)) in outcome.moves.iter().zip(&outcome.waves).enumerate() {
        let last = nth.checked_sub(1).map(|last| outcome.waves[last]);
        if last.is_some_and(|last| last > *wave) {
            return fault(nth, Wrong::Wave);
        }
        if last.is_some_and(|last| last < *wave) {
            yard.drop_waiting();
        }
        yard.carry_out(*one).map_err(|what| Fault { nth, what })?;
    }
    yard.drop_waiting();
    let Some((mut was, mut is)) = yard.broken_before_and_after(&outcome.layout) else {
        return fault(end, Wrong::OtherEnd);
    };
    (was.bytes, was.slots) = full_before;
    (is.bytes, is.slots) = over_room(fleet, &yard.bytes, &yard.slots);
    let worse = is.domains > was.domains
        || is.bytes > was.bytes
        || is.slots > was.slots
        || is.missing > was.missing
        || is.to_leave > was.to_leave
        || is.masters > was.masters
        || is.excluded > was.excluded;
    if worse { fault(end, Wrong::Worse) } else { Ok(()) }
}

/// The layout while moves are carried out.
struct Yard<'a> {
    fleet: &'a Fleet,
    before: &'a Layout,
    /// Which of the opened stores each store is, and one more; 0 where it is as it was.
    nth: Vec<u32>,
    /// The copies of stores that a move named, the master first.
    opened: Vec<Vec<u32>>,
    bytes: Vec<u64>,
    slots: Vec<u32>,
    /// (host, bytes) of copies that this wave drops: they are there until it ends.
    waiting: Vec<(u32, u64)>,
}

impl<'a> Yard<'a> {
    fn of(fleet: &'a Fleet, before: &'a Layout) -> Yard<'a> {
        let (mut bytes, mut slots) = (vec![0; fleet.hosts.len()], vec![0; fleet.hosts.len()]);
        for (number, store) in (0..).zip(&fleet.stores) {
            for host in before.copies(fleet, number).iter().filter(|host| **host != NOWHERE) {
                bytes[*host as usize] = store.size.saturating_add(bytes[*host as usize]);
                slots[*host as usize] += 1;
            }
        }
        Yard { fleet, before, nth: vec![0; fleet.stores.len()], opened: Vec::new(), bytes, slots, waiting: Vec::new() }
    }
    fn stores(&self) -> u32 {
        u32::try_from(self.nth.len()).unwrap_or(u32::MAX)
    }
    /// A store's copies, as they are now; none that is nowhere.
    fn open(&mut self, store: u32) -> &mut Vec<u32> {
        if self.nth[store as usize] == 0 {
            self.opened.push(somewhere(self.before.copies(self.fleet, store)));
            self.nth[store as usize] = self.opened.len() as u32;
        }
        &mut self.opened[self.nth[store as usize] as usize - 1]
    }
    /// What stores broke before and what they break now, those left out that are the same in both; [`None`] if a store is not as
    /// promised, its master first.
    fn broken_before_and_after(&self, promised: &Layout) -> Option<(Violations, Violations)> {
        let (mut broken_before, mut broken_after) = (Violations::default(), Violations::default());
        for (store, opened) in (0..).zip(&self.nth) {
            let (was, is) = (self.before.copies(self.fleet, store), promised.copies(self.fleet, store));
            if *opened == 0 && was == is {
                continue;
            }
            let mut now = opened.checked_sub(1).map_or_else(|| somewhere(was), |nth| self.opened[nth as usize].clone());
            let mut then = somewhere(is);
            let same_master = now.first() == then.first();
            now.sort_unstable();
            then.sort_unstable();
            if !same_master || now != then {
                return None;
            }
            of_store(self.fleet, store, was, &mut broken_before);
            of_store(self.fleet, store, is, &mut broken_after);
        }
        Some((broken_before, broken_after))
    }
    fn drop_waiting(&mut self) {
        for (host, size) in self.waiting.drain(..) {
            self.bytes[host as usize] = self.bytes[host as usize].saturating_sub(size);
            self.slots[host as usize] -= 1;
        }
    }
    fn live(&mut self, store: u32) -> usize {
        let fleet = self.fleet;
        self.open(store).iter().filter(|host| fleet.hosts[**host as usize].is_readable()).count()
    }
    fn carry_out(&mut self, one: Move) -> Result<(), Wrong> {
        let hosts = u32::try_from(self.fleet.hosts.len()).unwrap_or(u32::MAX);
        let there = |host: u32| host == NOWHERE || host < hosts;
        if one.store >= self.stores() || !there(one.from) || !there(one.to) || !there(one.master) {
            return Err(Wrong::Nonsense);
        }
        let spec = self.fleet.stores[one.store as usize];
        let live_before = self.live(one.store);
        let master_before = self.open(one.store).first().copied();
        if one.from == NOWHERE && one.to == NOWHERE && (one.master == NOWHERE || Some(one.master) == master_before) {
            return Err(Wrong::Nonsense);
        }
        if one.to != NOWHERE {
            self.build(one, spec)?;
        }
        if one.master != NOWHERE && self.open(one.store).first() != Some(&one.master) {
            let fleet = self.fleet;
            let copies = self.open(one.store);
            let nth = copies.iter().position(|host| *host == one.master).ok_or(Wrong::Master)?;
            let is_active = fleet.hosts[one.master as usize].is_active();
            if !is_active || !fleet.may_become_master(one.store, one.master) {
                return Err(Wrong::Master);
            }
            copies.swap(0, nth);
        }
        if one.from != NOWHERE {
            let fleet = self.fleet;
            let copies = self.open(one.store);
            let nth = copies.iter().position(|host| *host == one.from).ok_or(Wrong::Nonsense)?;
            if fleet.is_pinned(one.store, one.from) {
                return Err(Wrong::Drops(Rule::Pinned));
            }
            if nth == 0 && copies.len() > 1 {
                return Err(Wrong::Drops(Rule::Masters));
            }
            copies.remove(nth);
            self.waiting.push((one.from, spec.size));
            if self.live(one.store) < live_before.min(usize::from(spec.copies)) {
                return Err(Wrong::TooFew);
            }
        }
        Ok(())
    }
    fn build(&mut self, one: Move, spec: Store) -> Result<(), Wrong> {
        let fleet = self.fleet;
        let host = &fleet.hosts[one.to as usize];
        let copies = self.open(one.store);
        if !host.is_active() {
            return Err(Wrong::BuildsThere(Rule::Hosts));
        }
        if fleet.is_excluded(one.store, one.to) {
            return Err(Wrong::BuildsThere(Rule::Excluded));
        }
        if copies.contains(&one.to) {
            return Err(Wrong::SharesDomain);
        }
        let stays = |other: &&u32| **other != one.from;
        if copies.iter().filter(stays).any(|other| fleet.share(spec.level, *other, one.to)) {
            return Err(Wrong::SharesDomain);
        }
        // A new store has nothing to read yet: its first copy is made empty.
        if !copies.is_empty() && !copies.iter().any(|h| fleet.hosts[*h as usize].is_readable()) {
            return Err(Wrong::NoSource);
        }
        let (bytes, slots) = (&mut self.bytes[one.to as usize], &mut self.slots[one.to as usize]);
        *bytes = bytes.saturating_add(spec.size);
        *slots += 1;
        if *bytes > host.bytes || spec.size > host.largest {
            return Err(Wrong::Bytes);
        }
        if *slots > host.slots {
            return Err(Wrong::Slots);
        }
        self.open(one.store).push(one.to);
        Ok(())
    }
}

/// The hosts of a store's copies without those that are nowhere, in the same order.
fn somewhere(copies: &[u32]) -> Vec<u32> {
    copies.iter().copied().filter(|host| *host != NOWHERE).collect()
}
