//! What evening out is wanted: of all hosts, or onto some of them, and how far.
//!
//! What always holds: a host that is filled gets no more copies than its share, which is measured by its bytes, and is never
//! emptied for it; where nobody fills anything, all of this says nothing.

use super::Chart;
use super::merit::{Merit, Standing};
use crate::layout::{Fleet, Goal, Layout, Tally};
use slot_types::cluster::Policy;
use slot_types::ids::HostName;
use slot_types::plan::Budget;
use std::collections::BTreeSet;

/// Lower is better: the fleet, then what hosts that are to be filled lack, then what was copied for it.
pub(super) type Worth = (Merit, u64, u64);

/// What is wanted.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'w> {
    /// How far to go.
    pub budget: &'w Budget,
    /// The hosts that copies and masters go to; `None` is all.
    pub onto: Option<&'w BTreeSet<HostName>>,
}

impl Wanted<'_> {
    /// Whether anything may go to a host.
    pub fn may_get(&self, host: &HostName) -> bool {
        self.onto.is_none_or(|onto| onto.contains(host))
    }

    /// The hosts that are filled.
    fn filled(&self, chart: &Chart<'_>) -> Vec<u32> {
        let named = |name: &HostName| self.onto.is_some_and(|onto| onto.contains(name));
        (0..).zip(&chart.hosts).filter(|(_, name)| named(name)).map(|(number, _)| number).collect()
    }

    /// What the engine is asked for.
    pub fn goal(&self, chart: &Chart<'_>) -> Goal {
        match self.onto {
            None => Goal::Rebalance,
            Some(_) => Goal::Fill { hosts: self.filled(chart) },
        }
    }

    /// The fleet, each filled host with room for its share.
    pub fn capped(&self, chart: &Chart<'_>, mut fleet: Fleet) -> Fleet {
        let filled = self.filled(chart);
        if filled.is_empty() {
            return fleet;
        }
        let tally = Tally::without_pairs(&fleet, &chart.layout);
        let copies: u64 = tally.slots.iter().map(|copies| u64::from(*copies)).sum();
        let shares: Vec<u32> = filled.iter().map(|host| share(&fleet, *host, copies)).collect();
        for (host, share) in filled.iter().map(|host| *host as usize).zip(shares) {
            let most = share.max(tally.slots[host]);
            fleet.hosts[host].slots = fleet.hosts[host].slots.min(most);
        }
        fleet
    }

    /// How many copies, and what load of masters, the filled hosts lack.
    pub fn lacks(&self, chart: &Chart<'_>, layout: &Layout) -> u64 {
        let filled = self.filled(chart);
        if filled.is_empty() {
            return 0;
        }
        let fleet = &chart.fleet;
        let tally = Tally::without_pairs(fleet, layout);
        let copies: Vec<u64> = tally.slots.iter().map(|copies| u64::from(*copies)).collect();
        let lack = |counts: &[u64], share: &dyn Fn(u32, u64) -> u64| -> u64 {
            let all = counts.iter().sum();
            filled.iter().map(|host| share(*host, all).saturating_sub(counts[*host as usize])).sum()
        };
        let by_bytes = |host: u32, all: u64| u64::from(share(fleet, host, all));
        let by_weight = |host: u32, all: u64| share_of_load(fleet, host, all);
        let is_weighed = fleet.hosts.windows(2).any(|two| two[0].weight != two[1].weight);
        lack(&copies, &by_bytes) + lack(&tally.load, if is_weighed { &by_weight } else { &by_bytes })
    }

    /// What a fleet is worth with so much lacking and so many bytes copied.
    pub fn worth(&self, policy: &Policy, standing: &Standing, lacks: u64, copied: u64) -> Worth {
        match self.onto {
            None => (standing.merit(policy, copied), 0, 0),
            // Whoever asks to fill a host wants the copying.
            Some(_) => (standing.merit(policy, 0), lacks, copied),
        }
    }
}

/// Of so many things in all, what a host of its size should have at most.
fn share(fleet: &Fleet, host: u32, all: u64) -> u32 {
    let bytes = |host: u32| u128::from(fleet.hosts[host as usize].bytes);
    let whole: u128 = fleet.active().map(bytes).sum();
    let share = (u128::from(all) * bytes(host)).div_ceil(whole.max(1));
    u32::try_from(share).unwrap_or(u32::MAX)
}

/// Of so much load in all, what a host of its weight is meant to carry.
fn share_of_load(fleet: &Fleet, host: u32, all: u64) -> u64 {
    let weight = |host: u32| u128::from(fleet.hosts[host as usize].weight);
    let whole: u128 = fleet.active().map(weight).sum();
    u64::try_from((u128::from(all) * weight(host)).div_ceil(whole.max(1))).unwrap_or(u64::MAX)
}
