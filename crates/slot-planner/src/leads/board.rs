//! Hosts with what they lead while masters are taken up and put down.
//!
//! What always holds: the figures are those of the masters that are put down; putting one down lowers none of them.

use super::matching::{Matching, Reach, Thing, level};
use super::{Item, Leads, NONE};
use crate::live::Above;
use slot_types::cluster::Weights;
use slot_types::ids::HostName;
use std::collections::BTreeMap;

/// How good a choice is; lower is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Score {
    /// What both of the next two come to, where the aims are weighed; 0 where their order decides.
    pub weighed: u64,
    /// What the fullest host bears after the loss of any one, or of none.
    pub worst: u64,
    /// What the fullest host bears.
    pub fullest: u64,
    /// The sum of the squares of all loads, each over its host's weight.
    pub squares: u64,
}

/// Who leads what now.
pub(super) struct Board<'b, 'a> {
    pub leads: &'b Leads<'a>,
    gone: Vec<bool>,
    pub load: Vec<u64>,
    lead: Vec<u32>,
    /// Stores by the host of their master.
    led: Vec<Vec<u32>>,
    /// By host: what the fullest of those that take its masters has once it is lost.
    after: Vec<u64>,
    matching: Matching<'b>,
    /// Whether hosts weigh alike and so does all that is taken up: then evenness has one best choice.
    pub is_plain: bool,
    /// How scores are weighed, if they are.
    pub weights: Option<Weights>,
    /// Stores that were looked at.
    pub looks: u64,
}

impl<'b, 'a> Board<'b, 'a> {
    pub fn of(
        leads: &'b Leads<'a>,
        gone: &dyn Fn(&HostName) -> bool,
        items: &[Item],
        load: &BTreeMap<HostName, u64>,
    ) -> Board<'b, 'a> {
        let hosts = leads.hosts.len();
        let first = items.first().map_or(1, |item| leads.store_load[item.store as usize]);
        let are_alike = items.iter().all(|item| leads.store_load[item.store as usize] == first);
        let mut board = Board {
            leads,
            gone: leads.hosts.iter().map(|host| gone(host)).collect(),
            load: leads.hosts.iter().map(|host| load.get(*host).copied().unwrap_or(0)).collect(),
            lead: leads.lead.clone(),
            led: vec![Vec::new(); hosts],
            after: vec![0; hosts],
            matching: Matching::of(&leads.host_weight),
            is_plain: are_alike && leads.host_weight.iter().all(|weight| *weight == 1),
            weights: leads.weights,
            looks: 0,
        };
        items.iter().for_each(|item| board.lead[item.store as usize] = NONE);
        for (store, lead) in (0..).zip(&board.lead).filter(|(_, lead)| **lead != NONE) {
            board.led[*lead as usize].push(store);
        }
        (0..hosts).for_each(|host| board.lose(host));
        board
    }

    /// Puts the master of a store, which is taken up, on a host.
    pub fn put(&mut self, store: u32, host: u32) {
        self.lead[store as usize] = host;
        self.led[host as usize].push(store);
        self.load[host as usize] += self.leads.load(store);
        self.look_again(host);
    }

    /// Takes it up.
    pub fn lift(&mut self, store: u32) {
        let host = std::mem::replace(&mut self.lead[store as usize], NONE);
        self.led[host as usize].retain(|other| *other != store);
        self.load[host as usize] -= self.leads.load(store);
        self.look_again(host);
    }

    /// Where the master of a store is; [`NONE`] while it is taken up.
    pub fn lead(&self, store: u32) -> u32 {
        self.lead[store as usize]
    }

    /// The stores whose master is on a host.
    pub fn led(&self, host: u32) -> &[u32] {
        &self.led[host as usize]
    }

    /// What a host bears, with so much more.
    pub fn level(&self, host: u32, more: u64) -> u64 {
        level(self.load[host as usize] + more, self.leads.host_weight[host as usize])
    }

    fn levels(&self) -> impl Iterator<Item = u64> {
        self.load.iter().zip(&self.leads.host_weight).map(|(load, weight)| level(*load, *weight))
    }

    pub fn score(&self) -> Score {
        let fullest = self.levels().max().unwrap_or(0);
        let worst = self.after.iter().copied().max().unwrap_or(0).max(fullest);
        let weighed = self.weights.map_or(0, |weights| Above::of_roles(worst, fullest).sum(&weights));
        let squares = self.load.iter().zip(self.levels()).map(|(load, level)| load * level).sum();
        Score { weighed, worst, fullest, squares }
    }

    /// The score, and how many losses are as bad as the worst one.
    pub fn rough(&self) -> (Score, usize) {
        let score = self.score();
        (score, self.after.iter().filter(|after| **after == score.worst).count())
    }

    /// By host: whether the first of the worst losses depends on what it leads.
    pub fn bears(&self) -> Vec<bool> {
        let score = self.score();
        let Some(lost) = self.after.iter().position(|after| *after == score.worst) else {
            return self.levels().map(|level| level == score.worst).collect();
        };
        let mut bears = vec![false; self.load.len()];
        bears[lost] = true;
        let heirs = self.led[lost].iter().flat_map(|store| &self.leads.heirs[*store as usize]);
        heirs.for_each(|heir| bears[*heir as usize] = true);
        bears
    }

    /// What this host leads has changed: its own loss, and those that it takes masters of, are other ones.
    fn look_again(&mut self, host: u32) {
        self.lose(host as usize);
        let leads = self.leads;
        let mut losses: Vec<u32> = leads.on[host as usize].iter().map(|store| self.lead[*store as usize]).collect();
        losses.sort_unstable();
        losses.dedup();
        for lost in losses.into_iter().filter(|lost| *lost != NONE && *lost != host) {
            self.lose(lost as usize);
        }
    }

    /// The loss of one host: those of its masters that have one heir first, then the others as well as can be.
    fn lose(&mut self, lost: usize) {
        let (leads, gone) = (self.leads, &self.gone);
        self.after[lost] = 0;
        if gone[lost] {
            return;
        }
        self.looks += self.led[lost].len() as u64;
        let mut takers: Vec<(u32, u64)> = Vec::with_capacity(self.led[lost].len());
        let mut several: Vec<(Vec<u32>, u64)> = Vec::new();
        for store in &self.led[lost] {
            let load = leads.load(*store);
            let heirs = leads.heirs[*store as usize].iter().copied();
            let mut heirs = heirs.filter(|heir| *heir as usize != lost && !gone[*heir as usize]);
            match (heirs.next(), heirs.next()) {
                (Some(only), None) => takers.push((only, load)),
                (Some(first), Some(second)) => several.push(([first, second].into_iter().chain(heirs).collect(), load)),
                (None, _) => {}
            }
        }
        takers.iter().for_each(|(host, load)| self.load[*host as usize] += load);
        if !several.is_empty() {
            let things: Vec<Thing<'_>> = several.iter().map(|(hosts, load)| Thing { load: *load, hosts }).collect();
            let chosen = self.matching.choose(&things, &mut self.load, Reach::Fullest);
            takers.extend(things.iter().zip(chosen).map(|(thing, nth)| (thing.hosts[nth], thing.load)));
        }
        self.after[lost] = takers.iter().map(|(host, _)| self.level(*host, 0)).max().unwrap_or(0);
        takers.iter().for_each(|(host, load)| self.load[*host as usize] -= load);
    }
}
