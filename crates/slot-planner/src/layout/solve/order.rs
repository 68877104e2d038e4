//! In which order copies move, and which of them at once.
//!
//! What always holds: every move finds room for its copy beside everything that is there then, so a sequence can be cut
//! after any of them; moves of one wave share no host's link beyond the caps, and none of them needs what another frees;
//! what mends a rule comes first, then what is gained for each byte decides.

use super::Task;
use super::aims::Aims;
use super::roles::Roles;
use crate::layout::course::carry_out;
use crate::layout::figures::{Figures, figures};
use crate::layout::goal::{Move, No, Outcome, Wish};
use crate::layout::model::*;
use std::cmp::Reverse;

/// Orders what leads from one layout, whose figures are known, to the other, whose may be, within the wish's budget.
pub(super) fn outcome(
    task: &Task<'_>,
    (before, first): (&Layout, Figures),
    (mut after, mut known): (Layout, Option<Figures>),
    aims: &Aims,
) -> Result<Outcome, No> {
    let (fleet, wish) = (task.fleet, task.wish);
    let mut cut = within_budget(fleet, before, &mut after, aims, wish);
    // What finds no room in the usual order comes first in another; what finds none then stays where it is, and masters are chosen
    // again for what is then reached.
    let mut urgent: Vec<u32> = Vec::new();
    loop {
        if cut {
            let (again, leaderless) = Roles::assign(fleet, before, after, aims);
            task.scope.refuse_if_drained(&leaderless, before, fleet)?;
            (after, known) = (again, None);
        }
        let moves = differences(fleet, before, &after);
        let mut yard = Yard::of(fleet, before, wish);
        let stuck = yard.schedule(moves, aims, &urgent);
        if stuck.is_empty() {
            return Ok(yard.outcome(first, after, known));
        }
        let before_these = urgent.len();
        urgent.extend(stuck.iter().map(|one| one.store));
        urgent.sort_unstable();
        urgent.dedup();
        cut = urgent.len() == before_these;
        if cut {
            give_up(task, before, &mut after, &stuck)?;
            urgent.clear();
        }
    }
}

/// The outcome of steps that can be carried out in their order: as many of them at once as come one after the other.
pub(super) fn in_order(task: &Task<'_>, (before, first): (&Layout, Figures), steps: &[Move]) -> Option<Outcome> {
    let mut yard = Yard::of(task.fleet, before, task.wish);
    let mut after = before.clone();
    let (mut wave, mut at_once, mut begun) = (0, 0, 0);
    for one in steps {
        let again = yard.moves[begun..].iter().any(|earlier| earlier.store == one.store);
        if again || !yard.admit(one, &mut at_once) {
            yard.end_wave(begun);
            (wave, at_once, begun) = (wave + 1, 0, yard.moves.len());
            if !yard.admit(one, &mut at_once) {
                return None;
            }
        }
        yard.moves.push(*one);
        yard.waves.push(wave);
        carry_out(task.fleet, &mut after, *one);
    }
    Some(yard.outcome(first, after, None))
}

/// Leaves stores as they were whose copies find no room at any time; where they have to go, that is a refusal.
fn give_up(task: &Task<'_>, before: &Layout, after: &mut Layout, stuck: &[Move]) -> Result<(), No> {
    let fleet = task.fleet;
    let mut homeless = Vec::new();
    for one in stuck {
        let must = one.from != NOWHERE && task.scope.is_drained(one.from) && !fleet.may_stay(one.from);
        if must && one.to != NOWHERE {
            homeless.push((one.store, fleet.stores[one.store as usize].size));
        }
        let range = fleet.range(one.store);
        after.at[range.clone()].copy_from_slice(&before.at[range]);
    }
    if homeless.is_empty() { Ok(()) } else { Err(No::DoesNotFit(homeless)) }
}

/// Leaves out what the budget does not reach, least gain for each byte first. Answers whether anything was.
fn within_budget(fleet: &Fleet, before: &Layout, after: &mut Layout, aims: &Aims, wish: &Wish) -> bool {
    if !wish.is_bounded() {
        return false;
    }
    let mut moves = differences(fleet, before, after);
    let tally = Tally::without_pairs(fleet, before);
    moves.sort_by_key(|one| (rank(fleet, before, &tally, aims, one), one.store));
    let (mut bytes, mut count, mut cut) = (0u64, 0usize, vec![]);
    for one in &moves {
        let size = if one.to == NOWHERE { 0 } else { fleet.stores[one.store as usize].size };
        let (mends, Reverse(gain)) = {
            let r = rank(fleet, before, &tally, aims, one);
            (r.0, r.1)
        };
        let poor = mends == Need::Evens && size > 0 && gain < wish.min_gain_ppm;
        let (then, moved) = (bytes.saturating_add(size), count + one.cost(before, fleet));
        if poor || then > wish.max_bytes || moved > wish.max_moves {
            cut.push(one.store);
        } else {
            (bytes, count) = (then, moved);
        }
    }
    // A store's moves are carried out all or not at all.
    for store in &cut {
        let range = fleet.range(*store);
        after.at[range.clone()].copy_from_slice(&before.at[range]);
    }
    !cut.is_empty()
}

/// Why a move is made, most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Need {
    /// A rule is broken without it.
    Mends,
    /// It costs no bytes.
    Free,
    /// It evens out.
    Evens,
}

/// The order of moves: why, then millionths evened out for each byte, then size.
fn rank(fleet: &Fleet, before: &Layout, tally: &Tally, aims: &Aims, one: &Move) -> (Need, Reverse<u64>, Reverse<u64>) {
    let size = fleet.stores[one.store as usize].size;
    if one.to == NOWHERE {
        return (Need::Free, Reverse(u64::MAX), Reverse(0));
    }
    let copies = before.copies(fleet, one.store);
    let level = fleet.stores[one.store as usize].level;
    let mends = one.from == NOWHERE
        || !fleet.may_stay(one.from)
        || fleet.is_excluded(one.store, one.from)
        || copies.iter().any(|host| *host != NOWHERE && *host != one.from && fleet.share(level, *host, one.from));
    let over = if one.from == NOWHERE { 0 } else { above(tally, aims, one.from) };
    let gain = u128::from(over.min(size)) * 1_000_000 / u128::from(size.max(1));
    (if mends { Need::Mends } else { Need::Evens }, Reverse(gain as u64), Reverse(size))
}

fn above(tally: &Tally, aims: &Aims, host: u32) -> u64 {
    tally.bytes[host as usize].saturating_sub(aims.bytes[host as usize])
}

/// The moves that lead from one layout to the other, a copy built in each at most; those of a store in their order.
pub(super) fn differences(fleet: &Fleet, before: &Layout, after: &Layout) -> Vec<Move> {
    let mut moves = Vec::new();
    for store in 0..fleet.stores.len() as u32 {
        let (was, is) = (before.copies(fleet, store), after.copies(fleet, store));
        if was != is {
            let spread = fleet.stores[store as usize].level;
            moves_of(was, is, &mut |from, to, master| moves.push(Move { store, from, to, master }), &|a, b| {
                fleet.share(spread, a, b)
            });
        }
    }
    moves
}

/// The moves of one store. Each builds a copy where none of those that stay shares its domain, as far as an order allows,
/// and the master is handed over with the first move after which the new one is there.
fn moves_of(was: &[u32], is: &[u32], push: &mut impl FnMut(u32, u32, u32), share: &impl Fn(u32, u32) -> bool) {
    let there = |hosts: &[u32], not: &[u32]| -> Vec<u32> {
        hosts.iter().copied().filter(|host| *host != NOWHERE && !not.contains(host)).collect()
    };
    let (mut now, mut gone, mut come) = (there(was, &[]), there(was, is), there(is, was));
    let (first, last) = (was[0], is[0]);
    let mut master = if first == NOWHERE { last } else { first };
    // The copy that becomes master comes first, the one that is master goes last.
    gone.sort_by_key(|host| (*host == first, *host));
    come.sort_by_key(|host| (*host != last, *host));
    while !gone.is_empty() || !come.is_empty() {
        let builds = if come.is_empty() { vec![NOWHERE] } else { come.clone() };
        // What is missing is built before anything is dropped for it.
        let drops = if gone.len() < come.len() || gone.is_empty() { vec![NOWHERE] } else { gone.clone() };
        let fits = |to: u32, from: u32| {
            let follows = from != master || last == to || (now.contains(&last) && last != from);
            let apart = to == NOWHERE || now.iter().all(|stays| *stays == from || !share(*stays, to));
            follows && apart
        };
        let mut pairs = builds.iter().flat_map(|to| drops.iter().map(|from| (*to, *from)));
        let (to, from) = pairs.find(|(to, from)| fits(*to, *from)).unwrap_or((builds[0], drops[0]));
        now.retain(|host| *host != from);
        now.extend((to != NOWHERE).then_some(to));
        come.retain(|host| *host != to);
        gone.retain(|host| *host != from);
        let changes = last != master && last != NOWHERE && now.contains(&last);
        push(from, to, if changes || first == NOWHERE { last } else { NOWHERE });
        if changes {
            master = last;
        }
    }
    if master != last && last != NOWHERE {
        push(NOWHERE, NOWHERE, last);
    }
}

/// Hosts while moves are carried out.
struct Yard<'a> {
    fleet: &'a Fleet,
    wish: &'a Wish,
    layout: &'a Layout,
    tally: Tally,
    moves: Vec<Move>,
    waves: Vec<u32>,
    /// Copies read from and written to each host in this wave; into and out of each rack.
    links: Vec<[u32; 2]>,
    racks: Vec<u32>,
}

impl<'a> Yard<'a> {
    fn of(fleet: &'a Fleet, layout: &'a Layout, wish: &'a Wish) -> Yard<'a> {
        let racks = fleet.hosts.iter().map(|host| host.domain[1]).filter(|rack| *rack != NOWHERE).max();
        Yard {
            fleet,
            wish,
            layout,
            tally: Tally::without_pairs(fleet, layout),
            moves: Vec::new(),
            waves: Vec::new(),
            links: vec![[0; 2]; fleet.hosts.len()],
            racks: vec![0; racks.map_or(0, |most| most as usize + 1)],
        }
    }
    /// Puts moves into waves; answers those that find no room however long they wait. Where a copy of an urgent store is to come,
    /// no other comes before it.
    fn schedule(&mut self, moves: Vec<Move>, aims: &Aims, urgent: &[u32]) -> Vec<Move> {
        let mut pending: Vec<(Move, u32)> = Vec::with_capacity(moves.len());
        let mut nth_of_store = 0;
        for (nth, one) in moves.iter().enumerate() {
            nth_of_store = if nth > 0 && moves[nth - 1].store == one.store { nth_of_store + 1 } else { 0 };
            pending.push((*one, nth_of_store));
        }
        // A wave takes as long as its largest copy, so copies of a size go together: the largest first, of those as urgent.
        let urgency = |one: &Move| match rank(self.fleet, self.layout, &self.tally, aims, one) {
            (Need::Mends, _, size) => (Need::Mends, Reverse(0), size),
            rank => rank,
        };
        pending.sort_by_cached_key(|(one, nth)| (*nth, urgency(one), *one));
        let mut done = vec![0u32; self.fleet.stores.len()];
        let mut wave = 0;
        while !pending.is_empty() {
            let begun = self.moves.len();
            let mut at_once = 0;
            let is_urgent = |one: &Move| urgent.binary_search(&one.store).is_ok();
            let waited_for: Vec<u32> =
                pending.iter().filter(|(one, _)| is_urgent(one)).map(|(one, _)| one.to).collect();
            pending.retain(|(one, nth)| {
                let held = !is_urgent(one) && one.to != NOWHERE && waited_for.contains(&one.to);
                let admitted = !held && done[one.store as usize] == *nth && self.admit(one, &mut at_once);
                if admitted {
                    self.moves.push(*one);
                    self.waves.push(wave);
                }
                !admitted
            });
            if self.moves.len() == begun {
                break;
            }
            self.moves[begun..].iter().for_each(|one| done[one.store as usize] += 1);
            self.end_wave(begun);
            wave += 1;
        }
        pending.into_iter().map(|(one, _)| one).collect()
    }
    /// What the wave's moves leave is free, and so are all links.
    fn end_wave(&mut self, begun: usize) {
        for one in self.moves[begun..].iter().filter(|one| one.from != NOWHERE) {
            self.tally.bytes[one.from as usize] -= self.fleet.stores[one.store as usize].size;
            self.tally.slots[one.from as usize] -= 1;
        }
        self.links.fill([0; 2]);
        self.racks.fill(0);
    }
    fn outcome(self, before: Figures, layout: Layout, known: Option<Figures>) -> Outcome {
        let copied = self.moves.iter().filter(|one| one.to != NOWHERE);
        let bytes = copied.map(|one| self.fleet.stores[one.store as usize].size).sum();
        let after = known.unwrap_or_else(|| figures(self.fleet, &layout));
        Outcome { layout, moves: self.moves, waves: self.waves, before, after, bytes }
    }
    /// Whether a move can run in this wave; if so, it does.
    fn admit(&mut self, one: &Move, at_once: &mut u32) -> bool {
        if one.to == NOWHERE {
            return true;
        }
        let reads = if one.from != NOWHERE && self.fleet.hosts[one.from as usize].is_readable() {
            one.from
        } else {
            let copies = self.layout.copies(self.fleet, one.store).iter().copied();
            copies.into_iter().find(|h| *h != NOWHERE && self.fleet.hosts[*h as usize].is_readable()).unwrap_or(NOWHERE)
        };
        let rack = |host: u32| if host == NOWHERE { NOWHERE } else { self.fleet.hosts[host as usize].domain[1] };
        let (out_of, into) = (rack(reads), rack(one.to));
        let busy = |rack: u32| rack != NOWHERE && self.racks[rack as usize] >= self.wish.per_domain;
        let size = self.fleet.stores[one.store as usize].size;
        let (to, host) = (one.to as usize, &self.fleet.hosts[one.to as usize]);
        if *at_once >= self.wish.in_all
            || (reads != NOWHERE && self.links[reads as usize][0] >= self.wish.per_host)
            || self.links[to][1] >= self.wish.per_host
            || busy(out_of)
            || busy(into)
            || self.tally.bytes[to] + size > host.bytes
            || self.tally.slots[to] >= host.slots
        {
            return false;
        }
        *at_once += 1;
        if reads != NOWHERE {
            self.links[reads as usize][0] += 1;
        }
        self.links[to][1] += 1;
        for rack in [out_of, into].into_iter().take(if out_of == into { 1 } else { 2 }).filter(|rack| *rack != NOWHERE)
        {
            self.racks[rack as usize] += 1;
        }
        self.tally.bytes[to] += size;
        self.tally.slots[to] += 1;
        true
    }
}
