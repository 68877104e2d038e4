//! What is broken is mended by chains: a copy goes to a host from which others make way first.
//!
//! What always holds: every step finds its place free beside all that is there and adds nothing broken, so the steps can be carried
//! out in their order and cut anywhere; what makes way for nothing in the end stays; looks are counted, not timed, so the same fleet
//! has the same answer anywhere.
//!
//! Why: the search moves one copy at a time, or exchanges two. Where a copy's only place is taken by one whose only place is taken by
//! a third, no single step is any better than none.

mod wander;

use super::Task;
use crate::layout::goal::Move;
use crate::layout::model::*;
use crate::layout::rules::may_hold;
use std::cmp::Reverse;

pub(super) use wander::steps as wandering;

/// So many copies make way for one another, at most.
const DEPTH_MAX: u32 = 4;
/// Places looked at in all.
const LOOKS_MAX: u32 = 100_000;

/// A copy that went to another host.
struct Step {
    copy: u32,
    from: u32,
    to: u32,
}

struct Chains<'a> {
    task: &'a Task<'a>,
    fleet: &'a Fleet,
    /// Copies keep their places in it: a master that moves stays the first of its store.
    layout: Layout,
    tally: Tally,
    owner: Vec<u32>,
    /// Copies on each host.
    on: Vec<Vec<u32>>,
    /// Stores of which nothing can be read: nothing of them can be built.
    lost: Vec<bool>,
    steps: Vec<Step>,
    /// Copies that wait for a place.
    waiting: Vec<u32>,
    /// Hosts that are being cleared get nothing: how often each is.
    barred: Vec<u32>,
    looks: u32,
    /// Whether a copy goes to the host with the least room for it rather than the most.
    tight: bool,
}

/// Each host's room is kept for what is large.
pub(super) fn tight(task: &Task<'_>, before: &Layout) -> Option<Vec<Move>> {
    steps(task, before, true)
}

/// No host is filled to the brim while another is not.
pub(super) fn roomy(task: &Task<'_>, before: &Layout) -> Option<Vec<Move>> {
    steps(task, before, false)
}

/// The steps that mend what chains can mend, from a layout on; [`None`] where there are none, or not everything may move.
fn steps(task: &Task<'_>, before: &Layout, tight: bool) -> Option<Vec<Move>> {
    if !task.scope.evens || task.wish.is_bounded() {
        return None;
    }
    let mut chains = Chains::of(task, before, tight);
    let mut depth = 0;
    while depth <= DEPTH_MAX && chains.looks > 0 {
        // What mends one thing may leave room for another: the short chains first, again.
        depth = if chains.sweep(depth) { 0 } else { depth + 1 };
    }
    let moves = chains.moves();
    (!moves.is_empty()).then_some(moves)
}

impl<'a> Chains<'a> {
    fn of(task: &'a Task<'a>, before: &Layout, tight: bool) -> Chains<'a> {
        let fleet = task.fleet;
        let mut on = vec![Vec::new(); fleet.hosts.len()];
        for (copy, host) in (0..).zip(&before.at).filter(|(_, host)| **host != NOWHERE) {
            on[*host as usize].push(copy);
        }
        let stores = 0..fleet.stores.len() as u32;
        Chains {
            task,
            fleet,
            layout: before.clone(),
            tally: Tally::without_pairs(fleet, before),
            owner: stores.clone().flat_map(|store| fleet.range(store).map(move |_| store)).collect(),
            on,
            lost: stores.map(|store| fleet.is_lost(store, before)).collect(),
            steps: Vec::new(),
            waiting: Vec::new(),
            barred: vec![0; fleet.hosts.len()],
            looks: LOOKS_MAX,
            tight,
        }
    }
    /// The steps so far.
    fn moves(&self) -> Vec<Move> {
        let leads = |copy: u32| self.fleet.first.binary_search(&copy).is_ok();
        let moves = self.steps.iter().map(|step| Move {
            store: self.owner[step.copy as usize],
            from: step.from,
            to: step.to,
            master: if leads(step.copy) { step.to } else { NOWHERE },
        });
        moves.collect()
    }
    /// Tries to mend each thing that is broken once, by chains of this depth; answers whether anything was.
    fn sweep(&mut self, depth: u32) -> bool {
        let mut mended = false;
        for copy in 0..self.owner.len() as u32 {
            if self.is_misplaced(copy) {
                mended |= self.settle(copy, depth);
            }
        }
        for host in 0..self.on.len() as u32 {
            if self.fleet.hosts[host as usize].is_readable() && self.over(host, 0, 0) {
                mended |= self.tried(host, |chains| chains.make_room(host, (0, 0), depth));
            }
        }
        mended
    }
    /// Whether a copy breaks a rule where it is, host's room apart.
    fn is_misplaced(&self, copy: u32) -> bool {
        let (store, host) = (self.owner[copy as usize], self.layout.at[copy as usize]);
        let (spec, range) = (&self.fleet.stores[store as usize], self.fleet.range(store));
        let nth = copy as usize - range.start;
        if host == NOWHERE {
            return nth < usize::from(spec.copies);
        }
        let broken = match self.fleet.hosts[host as usize].state {
            State::Down | State::Retired => nth < usize::from(spec.copies),
            State::Leaving => true,
            // Where another copy can be master a hand-over is enough, and not made here.
            State::Draining | State::Stopped => nth == 0 && !self.siblings(copy).any(|other| self.may_lead(other)),
            State::Active => false,
        };
        broken
            || self.fleet.is_excluded(store, host)
            || self.siblings(copy).any(|other| self.fleet.share(spec.level, self.layout.at[other as usize], host))
    }
    fn may_lead(&self, copy: u32) -> bool {
        let host = self.layout.at[copy as usize];
        self.fleet.hosts[host as usize].is_active() && self.fleet.may_become_master(self.owner[copy as usize], host)
    }
    /// The other copies of a store that are somewhere.
    fn siblings(&self, copy: u32) -> impl Iterator<Item = u32> + use<'_, 'a> {
        let range = self.fleet.range(self.owner[copy as usize]);
        let others = range.filter(move |other| *other != copy as usize && self.layout.at[*other] != NOWHERE);
        others.map(|other| other as u32)
    }
    /// Whether a copy may go anywhere.
    fn may_go(&self, copy: u32) -> bool {
        let (store, host) = (self.owner[copy as usize], self.layout.at[copy as usize]);
        let is_held = self.lost[store as usize] || host != NOWHERE && self.fleet.is_pinned(store, host);
        // Of a new store the master is made first, and is what the others are built from.
        let master = self.layout.master(self.fleet, store);
        let waits = master == NOWHERE && self.fleet.first[store as usize] != copy;
        !is_held && !waits && !self.waiting.contains(&copy)
    }
    /// Whether a host could take a copy if everything there made way that may.
    fn could(&self, copy: u32, host: u32) -> bool {
        let (store, spec) = (self.owner[copy as usize], &self.fleet.hosts[host as usize]);
        let (size, was) = (self.size(copy), self.layout.at[copy as usize]);
        let leads = self.fleet.first[store as usize] == copy;
        self.barred[host as usize] == 0
            && host != was
            && spec.is_active()
            && self.task.scope.is_open(host)
            && size <= spec.largest
            && size <= spec.bytes
            && spec.slots > 0
            && !self.fleet.is_excluded(store, host)
            && (!leads || was == NOWHERE || self.fleet.may_become_master(store, host))
    }
    fn size(&self, copy: u32) -> u64 {
        self.fleet.stores[self.owner[copy as usize] as usize].size
    }
    /// Whether a host has not enough room for so many bytes and copies more.
    fn over(&self, host: u32, bytes: u64, slots: u32) -> bool {
        self.short_of(host, bytes) > 0
            || self.tally.slots[host as usize] + slots > self.fleet.hosts[host as usize].slots
    }
    fn short_of(&self, host: u32, bytes: u64) -> u64 {
        (self.tally.bytes[host as usize] + bytes).saturating_sub(self.fleet.hosts[host as usize].bytes)
    }
    fn is_free(&self, copy: u32, host: u32) -> bool {
        let (store, was) = (self.owner[copy as usize], self.layout.at[copy as usize]);
        may_hold(self.fleet, &self.tally, self.layout.copies(self.fleet, store), store, was, host).is_ok()
    }
    /// Brings a copy to another host, others making way for it where they have to.
    fn settle(&mut self, copy: u32, depth: u32) -> bool {
        if !self.may_go(copy) || self.looks == 0 {
            return false;
        }
        let hosts = self.on.len() as u32;
        self.looks = self.looks.saturating_sub(hosts);
        let free = (0..hosts).filter(|host| self.could(copy, *host) && self.is_free(copy, *host));
        let room = |host: u32| self.fleet.hosts[host as usize].bytes.saturating_sub(self.tally.bytes[host as usize]);
        let likes = |host: &u32| (if self.tight { u64::MAX - room(*host) } else { room(*host) }, Reverse(*host));
        if let Some(host) = free.max_by_key(likes) {
            self.step(copy, host);
            return true;
        }
        if depth == 0 {
            return false;
        }
        self.waiting.push(copy);
        let found = (0..hosts).any(|host| {
            self.looks > 0
                && self.could(copy, host)
                && self.tried(host, |chains| chains.clear(copy, host, depth - 1) && chains.is_free(copy, host))
                && {
                    self.step(copy, host);
                    true
                }
        });
        self.waiting.retain(|waits| *waits != copy);
        found
    }
    /// Does something during which a host gets nothing, and undoes it where it leads to nothing.
    fn tried(&mut self, host: u32, mut what: impl FnMut(&mut Self) -> bool) -> bool {
        let begun = self.steps.len();
        self.barred[host as usize] += 1;
        let done = what(self);
        self.barred[host as usize] -= 1;
        if !done {
            self.undo(begun);
        }
        done
    }
    /// Makes way for a copy on a host: its others leave the failure domain, and what is too much there leaves the host.
    fn clear(&mut self, copy: u32, host: u32, depth: u32) -> bool {
        let level = self.fleet.stores[self.owner[copy as usize] as usize].level;
        let near: Vec<u32> = (0..self.on.len() as u32).filter(|other| self.fleet.share(level, *other, host)).collect();
        let beside: Vec<u32> =
            self.siblings(copy).filter(|other| near.contains(&self.layout.at[*other as usize])).collect();
        for other in beside {
            near.iter().for_each(|host| self.barred[*host as usize] += 1);
            let left = self.settle(other, depth);
            near.iter().for_each(|host| self.barred[*host as usize] -= 1);
            if !left {
                return false;
            }
        }
        self.make_room(host, (self.size(copy), 1), depth)
    }
    /// Sends copies away until a host has so much room: one that is enough, the smallest such first, or the largest and then again.
    fn make_room(&mut self, host: u32, (bytes, slots): (u64, u32), depth: u32) -> bool {
        while self.over(host, bytes, slots) {
            let short = self.short_of(host, bytes);
            let mut leaves = self.on[host as usize].clone();
            leaves.retain(|copy| self.may_go(*copy));
            leaves.sort_by_key(|copy| {
                let size = self.size(*copy);
                (size < short, if size < short { u64::MAX - size } else { size }, *copy)
            });
            // Stores of one size that are on the same hosts are alike, but few are: each is tried.
            if !leaves.into_iter().any(|copy| self.settle(copy, depth)) {
                return false;
            }
        }
        true
    }
    fn step(&mut self, copy: u32, to: u32) {
        let from = self.layout.at[copy as usize];
        self.put(copy, to);
        self.steps.push(Step { copy, from, to });
    }
    fn undo(&mut self, begun: usize) {
        while self.steps.len() > begun {
            if let Some(step) = self.steps.pop() {
                self.put(step.copy, step.from);
            }
        }
    }
    fn put(&mut self, copy: u32, to: u32) {
        let (from, size) = (self.layout.at[copy as usize], self.size(copy));
        if from != NOWHERE {
            self.tally.bytes[from as usize] -= size;
            self.tally.slots[from as usize] -= 1;
            self.on[from as usize].retain(|there| *there != copy);
        }
        if to != NOWHERE {
            self.tally.bytes[to as usize] += size;
            self.tally.slots[to as usize] += 1;
            self.on[to as usize].push(copy);
        }
        self.layout.at[copy as usize] = to;
    }
}
