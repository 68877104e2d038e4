//! Hand-overs that nothing needs are taken back.
//!
//! What always holds: no copy moves, no two hosts come to share more than the worst survivor's level allows, and no host comes to lead
//! more than its share or than it led; every change leaves fewer stores with another master than before the plan, so it ends.
//!
//! A store goes back to the host that led it. Where that host has its share already, a chain of hand-overs carries one of its
//! stores on, as far as a host that has room for it: in all the chain may send no more stores away from home than it brings home.

use super::roles::Roles;
use crate::layout::model::*;
use std::collections::VecDeque;

/// Above so many copies next to nothing is found: what was handed over had to be, for the pairs' sake.
pub(super) const COPIES_MAX: usize = 4_096;
/// Copies looked at for each store that might go home.
const LOOKED_AT: usize = 4_096;
/// What goes home may let others go home.
const ROUNDS: usize = 4;
/// Stores brought home by a chain beyond those it sent away: more than these are as good as these.
const CREDIT_MAX: usize = 2;

/// The way to a state of the search: the store and its copy, and the credit before.
#[derive(Clone, Copy)]
struct Came {
    turn: u32,
    store: u32,
    copy: u32,
    credit: usize,
}

/// The states of a search: a host, and the credit the chain has there.
pub(super) struct Ways {
    came: Vec<[Came; CREDIT_MAX + 1]>,
    turn: u32,
}

impl Roles<'_> {
    /// Takes back what can be; answers whether anything was.
    pub fn calm(&mut self) -> bool {
        let nobody = Came { turn: 0, store: NOWHERE, copy: NOWHERE, credit: 0 };
        let mut ways = Ways { came: vec![[nobody; CREDIT_MAX + 1]; self.load.len()], turn: 0 };
        let mut any = false;
        for _ in 0..ROUNDS {
            let mut gained = false;
            for store in 0..self.lead.len() as u32 {
                if let Some(home) = self.home(store) {
                    gained |= self.take_back(store, home, &mut ways);
                }
            }
            any |= gained;
            if !gained {
                break;
            }
        }
        any
    }
    /// The copy that led a store before, where it is still there, may lead, and does not.
    fn home(&self, store: u32) -> Option<u32> {
        let was = self.was[store as usize];
        if !self.active(was) || self.leads_from(store) == was || self.lost.binary_search(&store).is_ok() {
            return None;
        }
        self.fleet.range(store).find(|copy| self.at[*copy] == was).map(|copy| copy as u32)
    }
    fn leads_from(&self, store: u32) -> u32 {
        self.at[self.lead[store as usize] as usize]
    }
    fn take_back(&mut self, store: u32, home: u32, ways: &mut Ways) -> bool {
        if !self.may_lead(store, home) {
            return false;
        }
        let (host, kept) = (self.at[home as usize], self.lead[store as usize]);
        let fits = self.may_end(host, u64::from(self.load_of(store)));
        let led = self.load[host as usize];
        self.hand_over(store, home);
        if fits || self.carry_on(host, led, ways) {
            return true;
        }
        self.hand_over(store, kept);
        false
    }
    /// Brings a host back to what it led by a chain that leaves at least one store more at home, this host's newest counted.
    fn carry_on(&mut self, from: u32, led: u64, ways: &mut Ways) -> bool {
        ways.turn += 1;
        let turn = ways.turn;
        ways.came[from as usize][1] = Came { turn, store: NOWHERE, copy: NOWHERE, credit: 0 };
        let mut queue = VecDeque::from([(from, 1usize)]);
        let mut looked = 0;
        while let Some((host, credit)) = queue.pop_front() {
            for nth in 0..self.by_host.of_host(host).len() {
                let copy = self.by_host.of_host(host)[nth];
                let store = self.owner[copy as usize];
                if self.lead[store as usize] != copy || self.fleet.keeps_master(store) {
                    continue;
                }
                let was = self.was[store as usize];
                for other in self.fleet.range(store).filter(|other| *other != copy as usize) {
                    looked += 1;
                    let to = self.at[other];
                    let gained = credit + usize::from(to == was);
                    let Some(then) = gained.checked_sub(usize::from(host == was)) else { continue };
                    let then = then.min(CREDIT_MAX);
                    let known = |ways: &Ways| ways.came[to as usize][then..].iter().any(|came| came.turn == turn);
                    if !self.active(to) || known(ways) || !self.may_lead(store, other as u32) {
                        continue;
                    }
                    ways.came[to as usize][then] = Came { turn, store, copy: other as u32, credit };
                    let load = u64::from(self.load_of(store));
                    if then > 0 && self.may_end(to, load) && self.carried((from, led), (to, then), ways) {
                        return true;
                    }
                    queue.push_back((to, then));
                }
                if looked > LOOKED_AT {
                    return false;
                }
            }
        }
        false
    }
    /// Carries a chain out, its far end first; takes it back where one of its hand-overs bars another.
    fn carried(&mut self, (from, led): (u32, u64), (to, credit): (u32, usize), ways: &Ways) -> bool {
        let mut chain: Vec<(u32, u32)> = Vec::new();
        let (mut host, mut credit) = (to, credit);
        while (host, credit) != (from, 1) {
            let came = ways.came[host as usize][credit];
            chain.push((came.store, came.copy));
            if chain.len() > self.load.len() * (CREDIT_MAX + 1) {
                return false;
            }
            (host, credit) = (self.leads_from(came.store), came.credit);
        }
        let before: Vec<(u32, u64)> = chain
            .iter()
            .map(|(_, copy)| self.at[*copy as usize])
            .map(|host| (host, self.load[host as usize]))
            .collect();
        let mut done: Vec<(u32, u32)> = Vec::new();
        let mut whole = true;
        for (store, copy) in chain {
            whole = self.lead[store as usize] != copy && self.may_lead(store, copy);
            if !whole {
                break;
            }
            done.push((store, self.lead[store as usize]));
            self.hand_over(store, copy);
        }
        let within = |host: u32, was: u64| self.load[host as usize] <= self.aims.load[host as usize].max(was);
        if whole && within(from, led) && before.iter().all(|(host, was)| *host == from || within(*host, *was)) {
            return true;
        }
        while let Some((store, copy)) = done.pop() {
            self.hand_over(store, copy);
        }
        false
    }
}
