//! From a goal to an outcome.
//!
//! What always holds: where copies live is settled first, and which copy is master afterwards, since the second costs no
//! bytes; bytes move only for a reason (a copy that may not stay, a pair of hosts that shares too much, a host that is too
//! full); ties go to the lowest number. An outcome leaves less short than there was, or does nothing; and planning its end again
//! with the same goal and no budget does nothing.

mod aims;
mod apart;
mod board;
mod calm;
mod cap;
mod chains;
mod counts;
mod every;
mod filled;
mod flow;
mod order;
mod place;
mod plain;
mod refine;
mod roles;
mod shed;

use super::figures::{Figures, figures};
use super::goal::{Goal, Move, No, Outcome, Wish};
use super::model::*;
use aims::{Aims, Short};
use board::Board;
use roles::Roles;

/// Levels of the worst survivor that are tried, each a store worse than the one before.
const LEVELS_TRIED: u32 = 4;
/// How often an outcome is planned for again, until there is nothing left to do.
const ROUNDS: usize = 6;

/// Computes where copies go and how they get there, or says why there is no way.
pub fn solve(fleet: &Fleet, before: &Layout, goal: &Goal, wish: &Wish) -> Result<Outcome, No> {
    if fleet.is_too_large() {
        return Err(No::TooLarge);
    }
    let fleet = &wanted(fleet, before, goal)?;
    let scope = Scope::of(goal, fleet.hosts.len());
    let apart = if scope.evens { apart::further(fleet) } else { None };
    let further = apart.as_ref().map(|apart| Task { fleet: apart, wish, scope: scope.clone() });
    let task = Task { fleet, wish, scope };
    if wish.is_bounded() {
        return cap::bounded(&task, further.as_ref(), before);
    }
    let mut reached = task.better(further.as_ref(), before, figures(fleet, before))?;
    for _ in 0..ROUNDS {
        if reached.moves.is_empty() {
            break;
        }
        match task.better(further.as_ref(), &reached.layout, reached.after) {
            Ok(next) if !next.moves.is_empty() => reached = task.joined(before, reached, next),
            Ok(_) | Err(_) => break,
        }
    }
    Ok(reached)
}

/// The best outcome so far, and what makes it better than another: what it leaves short, its bytes, its hand-overs.
type Best = Option<((Short, u64, usize), Outcome)>;

/// What is asked for.
struct Task<'a> {
    /// In the states that the goal asks for.
    fleet: &'a Fleet,
    wish: &'a Wish,
    scope: Scope,
}

impl Task<'_> {
    /// One plan from a layout, or the one that keeps stores as far apart as they can be, where that is better.
    fn better(&self, further: Option<&Task<'_>>, before: &Layout, first: Figures) -> Result<Outcome, No> {
        let plain = self.once(before, first);
        let Some(Ok(mut other)) = further.map(|task| task.once(before, figures(task.fleet, before))) else {
            return plain;
        };
        (other.before, other.after) = (first, figures(self.fleet, &other.layout));
        let aims = Aims::of(self.fleet, before, self.wish, &first);
        let merit = |outcome: &Outcome| (self.short(&aims, &outcome.layout, &outcome.after), outcome.bytes);
        match plain {
            Ok(plain) if merit(&plain) <= merit(&other) => Ok(plain),
            Ok(_) | Err(_) => Ok(other),
        }
    }
    /// One plan from a layout. It does nothing where nothing is short, or where it would leave no less short.
    fn once(&self, before: &Layout, first: Figures) -> Result<Outcome, No> {
        let fleet = self.fleet;
        let mut aims = Aims::of(fleet, before, self.wish, &first);
        if self.scope.evens {
            aims.give_up_what_is_dear(fleet, before);
        }
        let was = self.short(&aims, before, &first);
        if was == Short::default() {
            return Ok(Outcome::nothing(before, first));
        }
        let Built { layout: built, aims: reached_for, figures: known } = self.built(before, &aims)?;
        let refined = refine::refine(self, before, &built, &aims).map(|layout| (layout, None));
        let mut best: Best = None;
        for after in refined.into_iter().chain([(built, Some(known))]) {
            let outcome = match order::outcome(self, (before, first), after, &reached_for) {
                Ok(outcome) => self.calmed(before, outcome, &aims),
                Err(_) if best.is_some() => break,
                Err(no) => return Err(no),
            };
            self.offer(before, outcome, &aims, &mut best);
        }
        self.mend(before, first, &aims, &mut best);
        let outcome = match best {
            Some(((short, _, _), outcome)) if short < was => outcome,
            _ => Outcome::nothing(before, first),
        };
        let undrained = if self.scope.copies { self.scope.undrained(fleet, before, &outcome.layout) } else { vec![] };
        if undrained.is_empty() { Ok(outcome) } else { Err(No::DoesNotFit(undrained)) }
    }
    /// Where rules stay broken: single steps, on the smallest fleets every order of them, and chains of copies that make way for one
    /// another, and copies that wander until there is room.
    fn mend(&self, before: &Layout, first: Figures, aims: &Aims, best: &mut Best) {
        type Steps = fn(&Task<'_>, &Layout) -> Option<Vec<Move>>;
        let ways: [(Steps, bool); 8] = [
            (plain::steps, false),
            (every::steps, false),
            (chains::roomy, true),
            (chains::tight, true),
            (chains::roomy, false),
            (chains::tight, false),
            (chains::wandering, true),
            (chains::wandering, false),
        ];
        for (steps, from_end) in ways {
            if best.as_ref().is_some_and(|best| !best.0.0.is_broken()) {
                break;
            }
            let reached = best.as_ref().map(|best| best.1.clone()).filter(|_| from_end);
            let start = reached.unwrap_or_else(|| Outcome::nothing(before, first));
            // From an end that is the beginning there is nothing to be tried that is not tried from there.
            if from_end && start.moves.is_empty() {
                continue;
            }
            if let Some(steps) = steps(self, &start.layout)
                && let Some(next) = order::in_order(self, (&start.layout, start.after), &steps)
            {
                self.offer(before, start.and_then(next), aims, best);
            }
        }
    }
    /// Takes an outcome if it is the best so far: what it leaves short, then bytes, then hand-overs. None that leaves on a drained host
    /// what has to leave it is.
    fn offer(&self, before: &Layout, outcome: Outcome, aims: &Aims, best: &mut Best) {
        let outcome = cap::within(self, before, outcome, aims);
        if self.scope.copies && !self.scope.undrained(self.fleet, before, &outcome.layout).is_empty() {
            return;
        }
        let short = self.short(aims, &outcome.layout, &outcome.after);
        let merit = (short, outcome.bytes, outcome.hand_overs(before, self.fleet));
        if best.as_ref().is_none_or(|(least, _)| merit < *least) {
            *best = Some((merit, outcome));
        }
    }
    fn short(&self, aims: &Aims, layout: &Layout, figures: &Figures) -> Short {
        match self.scope.evens {
            true => aims.short(self.fleet, layout, figures),
            false => aims.short_of_masters(self.fleet, layout, figures),
        }
    }
    /// The outcome without hand-overs that nothing needs.
    fn calmed(&self, before: &Layout, outcome: Outcome, aims: &Aims) -> Outcome {
        let as_reached = aims.as_reached(&outcome.after);
        let Some(layout) = Roles::calmed(self.fleet, before, &outcome.layout, &as_reached) else { return outcome };
        let is_no_worse = |calm: &Outcome| {
            self.short(aims, &calm.layout, &calm.after) <= self.short(aims, &outcome.layout, &outcome.after)
        };
        let calm = order::outcome(self, (before, outcome.before), (layout, None), &as_reached);
        calm.ok().filter(is_no_worse).unwrap_or(outcome)
    }
    /// One outcome and what was planned from its end, in one go where that loses nothing.
    fn joined(&self, before: &Layout, reached: Outcome, next: Outcome) -> Outcome {
        let aims = Aims::of(self.fleet, before, self.wish, &reached.before);
        let whole = order::outcome(self, (before, reached.before), (next.layout.clone(), Some(next.after)), &aims);
        let short = |outcome: &Outcome| self.short(&aims, &outcome.layout, &outcome.after);
        match whole {
            Ok(whole) if short(&whole) <= short(&next) => whole,
            Ok(_) | Err(_) => reached.and_then(next),
        }
    }
    /// Copies first, then masters, at the best level of the worst survivor that is found so.
    fn built(&self, before: &Layout, aims: &Aims) -> Result<Built, No> {
        let mut aims = aims.clone();
        let mut best: Option<Built> = None;
        for _ in 0..LEVELS_TRIED {
            let copies = if self.scope.copies { self.settle(before, &aims)? } else { before.clone() };
            let (layout, leaderless) = Roles::assign(self.fleet, before, copies, &aims);
            self.scope.refuse_if_drained(&leaderless, before, self.fleet)?;
            let figures = figures(self.fleet, &layout);
            let is_reached = figures.worst_survivor <= aims.survivor && figures.load_max <= figures.load_bound;
            let merit = |figures: &Figures| (figures.worst_survivor, figures.load_max);
            let next = aims.one_worse();
            if best.as_ref().is_none_or(|best| merit(&figures) < merit(&best.figures)) {
                best = Some(Built { layout, aims, figures });
            }
            if is_reached {
                break;
            }
            aims = next;
        }
        best.ok_or(No::NoActiveHost)
    }
    /// Where the copies live.
    fn settle(&self, before: &Layout, aims: &Aims) -> Result<Layout, No> {
        let (layout, homeless) = self.settled(before, aims, true);
        if self.scope.drained.is_empty() || homeless.is_empty() {
            return Ok(layout);
        }
        // What is missing elsewhere must not be in the way of what has to leave.
        let (layout, _) = self.settled(before, aims, false);
        let layout = refine::housed(self, before, layout, aims);
        let homeless = self.scope.undrained(self.fleet, before, &layout);
        if homeless.is_empty() { Ok(layout) } else { Err(No::DoesNotFit(homeless)) }
    }
    fn settled(&self, before: &Layout, aims: &Aims, all: bool) -> (Layout, Vec<u32>) {
        let scope = &self.scope;
        let mut board = Board::of(self.fleet, before, aims, scope.evens);
        let mut moving = board.homeless(|host| all && (host == NOWHERE || scope.leaves) || scope.is_drained(host));
        if scope.evens {
            shed::broken(&mut board, &mut moving);
            shed::too_close(&mut board, &mut moving);
            shed::too_full(&mut board, &mut moving);
        }
        let homeless = place::all(&mut board, &scope.only_to, &mut moving);
        if scope.evens {
            counts::even(&mut board, &scope.only_to);
        }
        (Layout { at: board.at }, homeless)
    }
}

/// Where copies and masters come to be, before it is looked at how they get there.
struct Built {
    layout: Layout,
    /// With the level of the worst survivor that it was built for.
    aims: Aims,
    figures: Figures,
}

/// The fleet in the states that the goal asks for.
pub(super) fn wanted(fleet: &Fleet, before: &Layout, goal: &Goal) -> Result<Fleet, No> {
    let mut fleet = fleet.clone();
    keep_masters(&mut fleet, before, goal);
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

/// Masters that a goal has nothing to do with stay where they are. A drain that moves copies is the exception: what arrives on a host
/// brings masters with it, and others are handed on so that none is above its share.
fn keep_masters(fleet: &mut Fleet, before: &Layout, goal: &Goal) {
    let stays = |host: u32| match goal {
        Goal::Drain { hosts, empty: false } => !hosts.contains(&host),
        Goal::Place | Goal::Rebuild => true,
        Goal::Drain { .. } | Goal::Rebalance | Goal::Fill { .. } | Goal::FailOver => false,
    };
    let runs = |host: u32| matches!(fleet.hosts[host as usize].state, State::Active | State::Draining);
    let kept = (0..fleet.stores.len() as u32).filter(|store| {
        let master = before.master(fleet, *store);
        master != NOWHERE && stays(master) && runs(master)
    });
    let kept: Vec<(u32, u32)> = kept.map(|store| (store, NOWHERE)).collect();
    if !kept.is_empty() {
        fleet.no_master.extend(kept);
        fleet.no_master.sort_unstable();
        fleet.no_master.dedup();
    }
}

/// What a goal lets the solver touch.
#[derive(Clone)]
struct Scope {
    /// Whether copies may move at all.
    copies: bool,
    /// Whether copies that break no rule may move, to even out.
    evens: bool,
    /// Whether copies on hosts that may not keep them have to go.
    leaves: bool,
    /// Hosts that the goal drains; none if empty. It is a refusal that what has to leave one of them fits nowhere, or has no other
    /// copy that could be master. Whatever else fits nowhere stays, and is told in the figures.
    drained: Vec<bool>,
    /// Whether nothing moves but what has to leave drained hosts.
    only_drained: bool,
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
        let mut drained = Vec::new();
        if let Goal::Drain { hosts: named, .. } = goal {
            drained = vec![false; hosts];
            named.iter().for_each(|host| drained[*host as usize] = true);
        }
        Scope {
            copies: !masters_only,
            evens,
            leaves: !matches!(goal, Goal::Place),
            drained,
            only_drained: false,
            only_to,
        }
    }
    fn is_drained(&self, host: u32) -> bool {
        self.drained.get(host as usize).copied().unwrap_or(false)
    }
    /// Whether copies may come to a host.
    fn is_open(&self, host: u32) -> bool {
        self.only_to.is_empty() || self.only_to[host as usize]
    }
    /// Refuses where a store that a drained host leads has no other copy that could be master.
    fn refuse_if_drained(&self, leaderless: &[u32], before: &Layout, fleet: &Fleet) -> Result<(), No> {
        let led = leaderless.iter().copied().filter(|store| {
            let was = before.master(fleet, *store);
            self.is_drained(was) && fleet.hosts[was as usize].is_readable()
        });
        let stores: Vec<u32> = led.collect();
        if stores.is_empty() { Ok(()) } else { Err(No::NoOtherCopy(stores)) }
    }
    /// What is still on drained hosts and has to leave them: (store, bytes).
    fn undrained(&self, fleet: &Fleet, before: &Layout, layout: &Layout) -> Vec<(u32, u64)> {
        let mut found = Vec::new();
        let stores = if self.drained.is_empty() { 0 } else { fleet.stores.len() as u32 };
        for store in 0..stores {
            let must = |host: u32| self.is_drained(host) && !fleet.may_stay(host) && !fleet.is_pinned(store, host);
            let left = layout.copies(fleet, store).iter().filter(|host| must(**host)).count();
            if left > 0 && !fleet.is_lost(store, before) {
                found.extend((0..left).map(|_| (store, fleet.stores[store as usize].size)));
            }
        }
        found
    }
}
