//! From a goal to an outcome.
//!
//! What always holds: where copies live is settled first, and which copy is master afterwards, since the second costs no
//! bytes; bytes move only for a reason (a copy that may not stay, a pair of hosts that shares too much, a host that is too
//! full); ties go to the lowest number.

mod board;
mod counts;
mod order;
mod place;
mod roles;
mod shed;

use super::figures::{Figures, figures, least_level, share_at};
use super::goal::{Goal, No, Outcome, Wish};
use super::model::*;
use board::Board;
use roles::Roles;

/// Levels of the worst survivor that are tried, each a store worse than the one before.
const LEVELS_TRIED: u32 = 4;
/// The worst survivor is let be one store worse where its bound would force more bytes than this part of what has to
/// move anyway.
const DEAR_PART: u64 = 10;

/// Computes where copies go and how they get there, or says why there is no way.
pub fn solve(fleet: &Fleet, before: &Layout, goal: &Goal, wish: &Wish) -> Result<Outcome, No> {
    let wanted = wanted(fleet, goal)?;
    let fleet = &wanted;
    let first = figures(fleet, before);
    let scope = Scope::of(goal, fleet.hosts.len());
    let mut aims = Aims::of(fleet, before, wish, &first);
    if scope.evens {
        aims.give_up_what_is_dear(fleet, before);
    }
    let mut best: Option<(Figures, Aims, Layout)> = None;
    for _ in 0..LEVELS_TRIED {
        let copies = if scope.copies { settle(fleet, before, &scope, &aims)? } else { before.clone() };
        let layout = Roles::assign(fleet, before, copies, &aims)?;
        let reached = figures(fleet, &layout);
        let next = aims.one_worse();
        let is_reached = reached.worst_survivor <= aims.survivor && reached.load_max <= reached.load_bound;
        let is_better = |(least, _, _): &(Figures, Aims, Layout)| {
            (reached.worst_survivor, reached.load_max) < (least.worst_survivor, least.load_max)
        };
        if best.as_ref().is_none_or(is_better) {
            best = Some((reached, aims, layout));
        }
        if is_reached {
            break;
        }
        aims = next;
    }
    let Some((last, aims, layout)) = best else { return Err(No::NoActiveHost) };
    order::outcome(fleet, before, layout, (first, last), (&aims, wish, scope.strict))
}

/// The fleet in the states that the goal asks for.
fn wanted(fleet: &Fleet, goal: &Goal) -> Result<Fleet, No> {
    let mut fleet = fleet.clone();
    if let Goal::Drain { hosts, empty } = goal {
        for number in hosts {
            let host = fleet.hosts.get_mut(*number as usize).ok_or(No::UnknownHost(*number))?;
            if host.is_readable() {
                host.state = if *empty { State::Leaving } else { State::Draining };
            }
        }
    }
    if let Goal::Fill { hosts } = goal
        && let Some(unknown) = hosts.iter().find(|host| **host as usize >= fleet.hosts.len())
    {
        return Err(No::UnknownHost(*unknown));
    }
    if fleet.active().next().is_none() {
        return Err(No::NoActiveHost);
    }
    Ok(fleet)
}

/// What a goal lets the solver touch.
struct Scope {
    /// Whether copies may move at all.
    copies: bool,
    /// Whether copies that break no rule may move, to even out.
    evens: bool,
    /// Whether copies on hosts that may not keep them have to go.
    leaves: bool,
    /// Whether it is a refusal that something which has to go fits nowhere. Else it stays, and is told in the figures.
    strict: bool,
    /// Hosts that get copies; all active ones if empty.
    only_to: Vec<bool>,
}

impl Scope {
    fn of(goal: &Goal, hosts: usize) -> Scope {
        let mut only_to = Vec::new();
        if let Goal::Fill { hosts: named } = goal {
            only_to = vec![false; hosts];
            named.iter().for_each(|host| only_to[*host as usize] = true);
        }
        let masters_only = matches!(goal, Goal::Drain { empty: false, .. } | Goal::FailOver);
        let evens = matches!(goal, Goal::Rebalance | Goal::Fill { .. });
        let strict = matches!(goal, Goal::Drain { .. });
        Scope { copies: !masters_only, evens, leaves: !matches!(goal, Goal::Place), strict, only_to }
    }
}

/// What every host should come to.
#[derive(Clone)]
struct Aims {
    /// Bytes it should not exceed.
    bytes: Vec<u64>,
    /// Copies that fit its share of all.
    copies: Vec<u32>,
    /// Masters of a store's mean load that are its share.
    masters: Vec<u32>,
    /// Load of masters it should not exceed.
    load: Vec<u64>,
    /// The load it has at least when all are even.
    load_low: Vec<u64>,
    /// The worst survivor's level to reach, in thousandths.
    survivor: u64,
    /// Stores two hosts may share, so that the worst survivor can be reached.
    shared: u32,
    /// The level to which masters can be even, and what one store adds to an ordinary host's.
    level: u64,
    step: u64,
}

impl Aims {
    fn of(fleet: &Fleet, before: &Layout, wish: &Wish, first: &Figures) -> Aims {
        let mut bytes: u128 = 0;
        for (number, store) in (0..).zip(&fleet.stores) {
            bytes += before.copies(fleet, number).len() as u128 * u128::from(store.size);
        }
        let share_of =
            |what: u128, part: u128, whole: u128| u64::try_from(what * part / whole.max(1)).unwrap_or(u64::MAX);
        let room: u128 = fleet.active().map(|h| u128::from(fleet.hosts[h as usize].bytes)).sum();
        let weights = || fleet.active().map(|h| fleet.hosts[h as usize].weight);
        let load: u64 = fleet.stores.iter().map(|s| u64::from(s.load)).sum();
        let level = least_level(weights().collect::<Vec<_>>().into_iter(), load);
        let heaviest = weights().max().unwrap_or(1000);
        // One store above the level is the least a host with a replica can go to (docs/placement.md).
        let step =
            fleet.stores.iter().map(|s| u64::from(s.load)).min().unwrap_or(1) * 1_000_000 / u64::from(heaviest.max(1));
        let mut aims = Aims {
            bytes: Vec::new(),
            copies: Vec::new(),
            masters: Vec::new(),
            load: Vec::new(),
            load_low: Vec::new(),
            survivor: first.worst_survivor_bound.max(level + step),
            shared: 0,
            level,
            step,
        };
        let mean = load * 1_000_000 / weights().map(u64::from).sum::<u64>().max(1);
        for host in &fleet.hosts {
            let on = host.is_active();
            let even = share_of(bytes * u128::from(wish.bytes_ppm), u128::from(host.bytes), room * 1_000_000);
            aims.bytes.push(if on { even.min(host.bytes) } else { 0 });
            let copies = share_of(before.at.len() as u128, u128::from(host.bytes), room);
            aims.copies.push(if on { u32::try_from(copies).unwrap_or(u32::MAX).min(host.slots) } else { 0 });
            aims.load.push(if on { share_at(level, host.weight) } else { 0 });
            let each = (load / (fleet.stores.len() as u64).max(1)).max(1);
            aims.masters.push(u32::try_from(aims.load[aims.load.len() - 1] / each).unwrap_or(u32::MAX));
            aims.load_low.push(if on { share_at(mean, host.weight) } else { 0 });
        }
        aims.set_shared();
        aims
    }
    fn set_shared(&mut self) {
        let spare = (self.survivor.saturating_sub(self.level) / self.step.max(1)).max(1);
        self.shared = u32::try_from(2 * spare).unwrap_or(u32::MAX);
    }
    /// The same with the worst survivor a store worse.
    fn one_worse(&self) -> Aims {
        let mut aims = self.clone();
        aims.survivor += self.step;
        aims.set_shared();
        aims
    }
    /// Lets the worst survivor be a store worse than its bound where the bound would cost too many bytes.
    fn give_up_what_is_dear(&mut self, fleet: &Fleet, before: &Layout) {
        let tally = Tally::without_pairs(fleet, before);
        let over = tally.bytes.iter().zip(&self.bytes).map(|(is, aim)| is.saturating_sub(*aim));
        let must: u64 = over.sum();
        if shed::forced_by_pairs(fleet, before, self.shared) > must / DEAR_PART {
            *self = self.one_worse();
        }
    }
}

/// Where the copies live.
fn settle(fleet: &Fleet, before: &Layout, scope: &Scope, aims: &Aims) -> Result<Layout, No> {
    let mut board = Board::of(fleet, before, aims);
    let mut moving = board.homeless(scope.leaves);
    if scope.evens {
        shed::broken(&mut board, &mut moving);
        shed::too_close(&mut board, &mut moving);
        shed::too_full(&mut board, &mut moving);
    }
    let homeless = place::all(&mut board, &scope.only_to, &mut moving);
    if scope.strict && !homeless.is_empty() {
        return Err(No::DoesNotFit(homeless));
    }
    if scope.evens {
        counts::even(&mut board, &scope.only_to);
    }
    Ok(Layout { at: board.at })
}
