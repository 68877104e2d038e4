//! The independent check: every part of every move is carried out on a copy of the layout, and the hard rules are counted
//! after each.
//!
//! What always holds: nothing here comes from the solver: rooms, domains and copies are counted from the layout before, host
//! by host. Waves are checked as they run: all builds of a wave are on their hosts before any of its drops. Nothing but [`check`]
//! makes a [`Checked`] outcome, and nothing else is written to a file or shown as a plan.

use super::figures::violations;
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
    let same = (0..yard.stores()).all(|store| {
        let (mut is, mut was) = (yard.at[store as usize].clone(), outcome.layout.copies(fleet, store).to_vec());
        was.retain(|host| *host != NOWHERE);
        let masters = is.first() == was.first();
        is.sort_unstable();
        was.sort_unstable();
        masters && is == was
    });
    if !same {
        return fault(end, Wrong::OtherEnd);
    }
    let (was, is) = (violations(fleet, before), violations(fleet, &outcome.layout));
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
    /// Copies by store, the master first.
    at: Vec<Vec<u32>>,
    bytes: Vec<u64>,
    slots: Vec<u32>,
    /// (host, bytes) of copies that this wave drops: they are there until it ends.
    waiting: Vec<(u32, u64)>,
}

impl<'a> Yard<'a> {
    fn of(fleet: &'a Fleet, layout: &Layout) -> Yard<'a> {
        let (mut bytes, mut slots) = (vec![0; fleet.hosts.len()], vec![0; fleet.hosts.len()]);
        let mut at = Vec::with_capacity(fleet.stores.len());
        for (number, store) in (0..).zip(&fleet.stores) {
            let copies: Vec<u32> = layout.copies(fleet, number).iter().copied().filter(|h| *h != NOWHERE).collect();
            for host in &copies {
                bytes[*host as usize] = store.size.saturating_add(bytes[*host as usize]);
                slots[*host as usize] += 1;
            }
            at.push(copies);
        }
        Yard { fleet, at, bytes, slots, waiting: Vec::new() }
    }
    fn stores(&self) -> u32 {
        u32::try_from(self.at.len()).unwrap_or(u32::MAX)
    }
    fn drop_waiting(&mut self) {
        for (host, size) in self.waiting.drain(..) {
            self.bytes[host as usize] = self.bytes[host as usize].saturating_sub(size);
            self.slots[host as usize] -= 1;
        }
    }
    fn live(&self, store: u32) -> usize {
        self.at[store as usize].iter().filter(|host| self.fleet.hosts[**host as usize].is_readable()).count()
    }
    fn carry_out(&mut self, one: Move) -> Result<(), Wrong> {
        let hosts = u32::try_from(self.fleet.hosts.len()).unwrap_or(u32::MAX);
        let there = |host: u32| host == NOWHERE || host < hosts;
        if one.store >= self.stores() || !there(one.from) || !there(one.to) || !there(one.master) {
            return Err(Wrong::Nonsense);
        }
        let spec = self.fleet.stores[one.store as usize];
        let live_before = self.live(one.store);
        let master_before = self.at[one.store as usize].first().copied();
        if one.from == NOWHERE && one.to == NOWHERE && (one.master == NOWHERE || Some(one.master) == master_before) {
            return Err(Wrong::Nonsense);
        }
        if one.to != NOWHERE {
            self.build(one, spec)?;
        }
        if one.master != NOWHERE && self.at[one.store as usize].first() != Some(&one.master) {
            let copies = &mut self.at[one.store as usize];
            let nth = copies.iter().position(|host| *host == one.master).ok_or(Wrong::Master)?;
            let is_active = self.fleet.hosts[one.master as usize].is_active();
            if !is_active || !self.fleet.may_become_master(one.store, one.master) {
                return Err(Wrong::Master);
            }
            copies.swap(0, nth);
        }
        if one.from != NOWHERE {
            let copies = &mut self.at[one.store as usize];
            let nth = copies.iter().position(|host| *host == one.from).ok_or(Wrong::Nonsense)?;
            if self.fleet.is_pinned(one.store, one.from) {
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
        let host = &self.fleet.hosts[one.to as usize];
        let copies = &mut self.at[one.store as usize];
        if !host.is_active() {
            return Err(Wrong::BuildsThere(Rule::Hosts));
        }
        if self.fleet.is_excluded(one.store, one.to) {
            return Err(Wrong::BuildsThere(Rule::Excluded));
        }
        if copies.contains(&one.to) {
            return Err(Wrong::SharesDomain);
        }
        let stays = |other: &&u32| **other != one.from;
        if copies.iter().filter(stays).any(|other| self.fleet.share(spec.level, *other, one.to)) {
            return Err(Wrong::SharesDomain);
        }
        // A new store has nothing to read yet: its first copy is made empty.
        if !copies.is_empty() && !copies.iter().any(|h| self.fleet.hosts[*h as usize].is_readable()) {
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
        copies.push(one.to);
        Ok(())
    }
}
