//! Why a master went to one copy and not to another that could take it as well.
//!
//! What always holds: copies are compared by the score that chooses among them, all else staying as it is; a change that is said to
//! make another one the choice was made on the same board.

use super::board::{Board, Score};
use super::{Item, Leads};
use crate::view::View;
use slot_types::ids::*;
use slot_types::view::{Change, LedElsewhere, OtherHost};

/// More masters than this off one host is no change that anybody makes.
const FEWER_MAX: usize = 8;

impl Leads<'_> {
    /// In what each of these hosts is worse for a store's master than the one that it is on.
    pub fn why_not(&self, view: &View<'_>, name: &StoreName, chosen: &HostName, able: &[&HostName]) -> Vec<OtherHost> {
        let Some((store, to)) = self.store(name).zip(self.host(chosen)) else { return Vec::new() };
        let hosts: Vec<u32> = able.iter().filter_map(|host| self.host(host)).collect();
        let mut load = view.masters();
        if let Some(count) = load.get_mut(chosen) {
            *count = count.saturating_sub(1);
        }
        let item = Item { store, hosts: Vec::new() };
        let mut others = Others { leads: self, view, board: Board::of(self, &|_| false, &[item], &load), store, to };
        hosts.iter().map(|host| others.why(*host, &hosts)).collect()
    }
}

/// The fleet with one master taken up.
struct Others<'l, 'a, 'v> {
    leads: &'l Leads<'a>,
    view: &'v View<'v>,
    board: Board<'l, 'a>,
    store: u32,
    to: u32,
}

impl Others<'_, '_, '_> {
    fn score(&mut self, host: u32) -> Score {
        self.board.put(self.store, host);
        let score = self.board.score();
        self.board.lift(self.store);
        score
    }

    fn why(&mut self, host: u32, able: &[u32]) -> OtherHost {
        let chosen = self.leads.hosts[self.to as usize];
        let (here, there) = (self.score(host), self.score(self.to));
        let with = |host: u32| self.board.load[host as usize] + 1;
        let why = if here.worst != there.worst {
            let (here, there) = (here.worst, there.worst);
            format!("a host's loss could leave {here} masters on one host; with {chosen} it is {there}")
        } else if here > there {
            format!("it would have {} masters, {chosen} would have {}", with(host), with(self.to))
        } else {
            format!("it is as good as {chosen}; all masters of a plan are chosen together, and the first by name then")
        };
        let change = self.change(host, able).map(|led_elsewhere| Change { led_elsewhere, slot_bytes: None });
        OtherHost { host: self.leads.hosts[host as usize].clone(), why, change }
    }

    /// The fewest masters off a host, one after the other, with which it would be better than every other.
    fn change(&mut self, host: u32, able: &[u32]) -> Option<Vec<LedElsewhere>> {
        let mut moved: Vec<(u32, u32)> = Vec::new();
        let is_best = |others: &mut Self| {
            let here = others.score(host);
            let rest = able.iter().copied().chain([others.to]).filter(|other| *other != host);
            rest.collect::<Vec<u32>>().into_iter().all(|other| here < others.score(other))
        };
        let mut found = is_best(self);
        while !found && moved.len() < FEWER_MAX {
            let Some((store, to)) = self.led_elsewhere(host) else { break };
            self.hand_over(store, to);
            moved.push((store, to));
            found = is_best(self);
        }
        let told = moved.iter().map(|(store, to)| self.told(*store, host, *to)).collect::<Option<Vec<LedElsewhere>>>();
        moved.iter().rev().for_each(|(store, _)| self.hand_over(*store, host));
        told.filter(|told| found && !told.is_empty())
    }

    /// The hand-over off a host that makes it best for the master that is taken up.
    fn led_elsewhere(&mut self, host: u32) -> Option<(u32, u32)> {
        let mut best = (self.score(host), None);
        for store in self.board.led(host).to_vec() {
            for to in self.leads.heirs[store as usize].clone() {
                if self.told(store, host, to).is_none() {
                    continue;
                }
                self.hand_over(store, to);
                let then = self.score(host);
                self.hand_over(store, host);
                if then < best.0 {
                    best = (then, Some((store, to)));
                }
            }
        }
        best.1
    }

    fn hand_over(&mut self, store: u32, to: u32) {
        self.board.lift(store);
        self.board.put(store, to);
    }

    /// A hand-over that can be made now, in slots.
    fn told(&self, store: u32, from: u32, to: u32) -> Option<LedElsewhere> {
        let name = self.leads.stores[store as usize];
        let known = self.view.cluster.stores.get(name).filter(|_| !self.view.inputs.busy_stores.contains(name))?;
        let master = self.view.master_well(name, known).ok().filter(|_| known.possible_masters.is_empty())?;
        let (from, to) = (self.leads.hosts[from as usize], self.leads.hosts[to as usize]);
        let mut takers = known.copies.keys().filter(|slot| slot.host == *to && master.host == *from);
        let slot = takers.find(|slot| self.view.handover_target(name, known, master, slot).is_ok())?;
        Some(LedElsewhere { store: name.clone(), to: slot.clone() })
    }
}
