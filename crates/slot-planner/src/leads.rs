//! Which of the copies that are there becomes master, where several masters move at once.
//!
//! What always holds: each goes to one of the copies that may take it; the order is that of all placement, as far as roles bear on
//! it: first what the fullest host would bear after the loss of any one host more, then the fullest host, then evenness. What a host
//! bears is the declared load of its masters over its weight: their number where the cluster file declares nothing. No
//! copy moves, so which failure domains can be lost and how even bytes are is the same whatever is chosen. The choice is never
//! worse than that of evenness alone, and where there are at most [`TRIED_MAX`] choices in all it is the best one.
//!
//! Where the cluster file weighs the aims, what the worst survivor and the fullest host weigh comes before that order, which
//! decides among equals; no other weight bears on roles. The choice then never weighs more than the one that the order makes.
//!
//! A host that is lost hands each of its masters to one of the live copies on hosts that may lead, which one being chosen as well
//! as it can be.

mod board;
mod matching;
mod why;

pub(crate) use why::Choice;

use crate::view::View;
use board::{Board, Score};
use matching::{Matching, Reach, Thing};
use slot_types::cluster::{HostState, Weights};
use slot_types::ids::*;
use std::collections::{BTreeMap, BTreeSet};

/// No host.
const NONE: u32 = u32::MAX;
/// Up to so many choices in all every one of them is looked at, unless it can't be the best.
const TRIED_MAX: u64 = 4_096;
/// So many stores are looked at for one choice at most; then the best that was found stands.
const LOOKS_MAX: u64 = 200_000;

/// A master that moves: of which store, and the copies that may take it, none of which is named twice.
pub(crate) type Open<'a> = (&'a StoreName, &'a [SlotId]);

/// Who leads what, and who could take over.
pub(crate) struct Leads<'a> {
    /// By name.
    pub hosts: Vec<&'a HostName>,
    stores: Vec<&'a StoreName>,
    /// The host of each store's master.
    pub lead: Vec<u32>,
    /// By store: the hosts of live copies that could be master of it.
    pub heirs: Vec<Vec<u32>>,
    /// By host: the stores with such a copy on it.
    pub on: Vec<Vec<u32>>,
    /// How the aims are weighed, where any that bears on roles is.
    weights: Option<Weights>,
    /// What each store's master weighs.
    pub store_load: Vec<u16>,
    /// What each host is meant to carry.
    pub host_weight: Vec<u16>,
}

/// Chooses among the options of all; a store has at least one. `load` is what the masters of each host that counts weigh
/// before, without these; hosts in `gone` are as good as lost.
pub(crate) fn choose(
    view: &View<'_>,
    gone: &BTreeSet<HostName>,
    open: &[Open<'_>],
    load: &BTreeMap<HostName, u64>,
) -> Vec<SlotId> {
    only_choice(open).unwrap_or_else(|| Leads::of(view).choose(&|host: &HostName| gone.contains(host), open, load))
}

/// Where there is nothing to choose.
pub(crate) fn only_choice(open: &[Open<'_>]) -> Option<Vec<SlotId>> {
    let has_one = open.iter().all(|(_, slots)| slots.len() <= 1);
    has_one.then(|| open.iter().filter_map(|(_, slots)| slots.first().cloned()).collect())
}

impl<'a> Leads<'a> {
    /// As the cluster is.
    pub fn of(view: &View<'a>) -> Leads<'a> {
        let hosts: Vec<&HostName> = view.cluster.hosts.keys().collect();
        let number = |host: &HostName| hosts.binary_search(&host).ok().and_then(|at| u32::try_from(at).ok());
        let may_lead = |host: &HostName| {
            view.cluster
                .hosts
                .get(host)
                .is_some_and(|host| host.declared == HostState::Active && host.quarantined.is_none())
        };
        let mut leads = Leads {
            stores: view.cluster.stores.keys().collect(),
            lead: Vec::new(),
            heirs: Vec::new(),
            on: vec![Vec::new(); hosts.len()],
            store_load: view.cluster.stores.values().map(|store| store.spec.load).collect(),
            host_weight: view.cluster.hosts.values().map(|host| host.weight).collect(),
            hosts: Vec::new(),
            weights: view.policy().weights.filter(|weights| weights.survivor > 0 || weights.masters > 0),
        };
        for (store, (name, known)) in (0..).zip(&view.cluster.stores) {
            let master = known.pending.as_ref().or(known.master.as_ref());
            leads.lead.push(master.and_then(|slot| number(&slot.host)).unwrap_or(NONE));
            let live = view.live_copies(name, known);
            let mut heirs: Vec<u32> =
                live.iter().filter(|slot| may_lead(&slot.host)).filter_map(|slot| number(&slot.host)).collect();
            // While a copy moves within its rack its host may hold both.
            heirs.dedup();
            heirs.iter().for_each(|host| leads.on[*host as usize].push(store));
            leads.heirs.push(heirs);
        }
        leads.hosts = hosts;
        leads
    }

    fn host(&self, name: &HostName) -> Option<u32> {
        self.hosts.binary_search(&name).ok().and_then(|at| u32::try_from(at).ok())
    }
    fn store(&self, name: &StoreName) -> Option<u32> {
        self.stores.binary_search(&name).ok().and_then(|at| u32::try_from(at).ok())
    }

    /// The same as [`choose`], of what is counted already.
    pub fn choose(
        &self,
        gone: &dyn Fn(&HostName) -> bool,
        open: &[Open<'_>],
        load: &BTreeMap<HostName, u64>,
    ) -> Vec<SlotId> {
        // One that is not known stands for nobody else's choice.
        let (open, items): (Vec<&Open<'_>>, Vec<Item>) =
            open.iter().filter_map(|open| Some((open, self.item(open)?))).unzip();
        let mut board = Board::of(self, gone, &items, load);
        let chosen = Search { items: &items, bears: board.bears(), board: &mut board }.best();
        let slot = |((_, slots), (item, nth)): (&&Open<'_>, (&Item, usize))| {
            slots.iter().find(|slot| self.host(&slot.host) == Some(item.hosts[nth])).cloned()
        };
        open.iter().zip(items.iter().zip(chosen)).filter_map(slot).collect()
    }

    /// What a store's master weighs.
    fn load(&self, store: u32) -> u64 {
        self.store_load[store as usize].into()
    }

    fn item(&self, (name, slots): &Open<'_>) -> Option<Item> {
        let mut hosts: Vec<u32> = slots.iter().filter_map(|slot| self.host(&slot.host)).collect();
        hosts.sort_unstable();
        hosts.dedup();
        Some(Item { store: self.store(name)?, hosts })
    }
}

/// A store whose master moves, and the hosts that may get it.
struct Item {
    store: u32,
    hosts: Vec<u32>,
}

/// The search for the best choice.
struct Search<'s, 'b, 'a> {
    items: &'s [Item],
    board: &'s mut Board<'b, 'a>,
    /// By host: whether the worst loss depends on what it leads.
    bears: Vec<bool>,
}

impl Search<'_, '_, '_> {
    fn best(&mut self) -> Vec<usize> {
        let leads = self.board.leads;
        let things: Vec<Thing<'_>> =
            self.items.iter().map(|item| Thing { load: leads.load(item.store), hosts: &item.hosts }).collect();
        // What is unavoidable, whoever takes these.
        let least = self.board.score().worst;
        let mut load = self.board.load.clone();
        let even = Matching::of(&leads.host_weight).choose(&things, &mut load, Reach::All);
        self.lay(&even);
        // Nothing is more even, so where no choice has a better worst survivor this is the best one, by any weights.
        if self.board.is_plain && self.board.score().worst <= least {
            return even;
        }
        let weights = self.board.weights.take();
        let ordered = self.found(&[&even]);
        let Some(weights) = weights else { return ordered };
        // By weights it is looked at as often again, from there and from where masters are even.
        self.board.weights = Some(weights);
        let looks = std::mem::take(&mut self.board.looks);
        let weighed = self.found(&[&ordered, &even]);
        self.board.looks += looks;
        weighed
    }

    /// The best that single changes lead to from any of these; where there are few choices the best of all.
    fn found(&mut self, from: &[&[usize]]) -> Vec<usize> {
        let reached = from.iter().map(|start| {
            let mut chosen = start.to_vec();
            self.lay(&chosen);
            self.descend(&mut chosen);
            (self.board.score(), chosen)
        });
        let Some(mut found) = reached.min_by_key(|(score, _)| *score) else { return Vec::new() };
        let choices = self.items.iter().fold(1u64, |all, item| all.saturating_mul(item.hosts.len() as u64));
        if choices <= TRIED_MAX {
            self.items.iter().for_each(|item| self.board.lift(item.store));
            self.branch(&mut Vec::new(), &mut found);
        }
        found.1
    }

    /// Puts every master where a choice has it.
    fn lay(&mut self, chosen: &[usize]) {
        for (item, nth) in self.items.iter().zip(chosen) {
            let (is, to) = (self.board.lead(item.store), item.hosts[*nth]);
            if is != NONE && is != to {
                self.board.lift(item.store);
            }
            if is != to {
                self.board.put(item.store, to);
            }
        }
    }

    /// Single changes, and two at once along a path, as long as each makes it better.
    fn descend(&mut self, chosen: &mut [usize]) {
        let mut now = self.board.rough();
        self.bears = self.board.bears();
        let mut better = true;
        while better && self.board.looks < LOOKS_MAX {
            better = false;
            for nth in 0..self.items.len() {
                for option in 0..self.items[nth].hosts.len() {
                    better |= self.change(chosen, &[(nth, option)], &mut now);
                }
            }
            for first in 0..self.items.len() {
                for then in 0..self.items.len() {
                    // What the first brings to a host the second takes from it.
                    let host = self.items[then].hosts[chosen[then]];
                    let onto = self.items[first].hosts.iter().position(|to| *to == host);
                    let Some(onto) = onto.filter(|_| first != then) else { continue };
                    for option in 0..self.items[then].hosts.len() {
                        if self.board.looks < LOOKS_MAX {
                            better |= self.change(chosen, &[(first, onto), (then, option)], &mut now);
                        }
                    }
                }
            }
        }
    }

    fn change(&mut self, chosen: &mut [usize], to: &[(usize, usize)], now: &mut (Score, usize)) -> bool {
        if to.iter().any(|(nth, option)| chosen[*nth] == *option) || !self.is_promising(chosen, to) {
            return false;
        }
        let was: Vec<usize> = to.iter().map(|(nth, _)| chosen[*nth]).collect();
        for (nth, option) in to {
            self.set(chosen, *nth, *option);
        }
        let then = self.board.rough();
        let key = |(score, losses): (Score, usize)| (score.weighed, score.worst, losses, score);
        let better = key(then) < key(*now);
        if better {
            *now = then;
            self.bears = self.board.bears();
        } else {
            for ((nth, _), option) in to.iter().zip(was).rev() {
                self.set(chosen, *nth, option);
            }
        }
        better
    }

    /// Whether a change can make anything better: it bears on the worst loss, or evens out.
    fn is_promising(&self, chosen: &[usize], to: &[(usize, usize)]) -> bool {
        let host = |(nth, option): (usize, usize)| self.items[nth].hosts[option];
        let from = |(nth, _): &(usize, usize)| host((*nth, chosen[*nth]));
        let ends = to.first().map(from).zip(to.last().copied().map(host));
        let comes = to.last().map_or(0, |(nth, _)| self.board.leads.load(self.items[*nth].store));
        let evens = |(a, z): (u32, u32)| self.board.level(a, 0) > self.board.level(z, comes);
        to.iter().any(|one| self.bears[from(one) as usize]) || ends.is_some_and(evens)
    }

    fn set(&mut self, chosen: &mut [usize], nth: usize, option: usize) {
        let item = &self.items[nth];
        self.board.lift(item.store);
        self.board.put(item.store, item.hosts[option]);
        chosen[nth] = option;
    }

    /// Every choice that may be better than the best one that is known. All figures only grow as masters are added.
    fn branch(&mut self, chosen: &mut Vec<usize>, best: &mut (Score, Vec<usize>)) {
        let rest = &self.items[chosen.len()..];
        let square = |host: u32, more: u64| (self.board.load[host as usize] + more) * self.board.level(host, more);
        let least = |item: &Item| {
            let load = self.board.leads.load(item.store);
            item.hosts.iter().map(|host| square(*host, load) - square(*host, 0)).min()
        };
        let mut bound = self.board.score();
        if self.board.is_plain {
            bound.squares += rest.iter().filter_map(least).sum::<u64>();
        }
        if bound >= best.0 || self.board.looks >= LOOKS_MAX {
            return;
        }
        let Some(item) = rest.first() else {
            *best = (bound, chosen.clone());
            return;
        };
        for (nth, host) in item.hosts.iter().enumerate() {
            self.board.put(item.store, *host);
            chosen.push(nth);
            self.branch(chosen, best);
            chosen.pop();
            self.board.lift(item.store);
        }
    }
}
