//! Hosts for a copy, weighed as the cluster file says.
//!
//! What always holds: a host weighs what the whole fleet would with the copy there, all else staying as it is. Masters, survivors and
//! bytes are followed from layout to layout ([`Scale`]), however large the fleet. Which racks and sites could be lost is counted anew
//! for each host that is looked at: for a plan only for those that could be the best; and of too large a plan for none, for no copy.

use super::merit::{Above, domains, levels};
use crate::layout::choice::Rank;
use crate::layout::room::{Survival, survivals};
use crate::layout::scale::{Homeless, Scale};
use crate::layout::{Fleet, Layout, NOWHERE};
use slot_types::cluster::Weights;
use std::cell::{Cell, RefCell};

/// So many copies are counted over, for one plan or one answer, to say which racks and sites could be lost.
const COUNTED_MAX: usize = 5_000_000;

/// A fleet, and how its aims are weighed.
pub(super) struct Weighing<'c> {
    fleet: &'c Fleet,
    weights: Weights,
    scale: RefCell<Scale<'c>>,
    copies: usize,
    /// Copies that may still be counted over.
    left: Cell<usize>,
    is_spent: Cell<bool>,
}

impl<'c> Weighing<'c> {
    pub fn of(fleet: &'c Fleet, layout: &Layout, weights: Weights) -> Weighing<'c> {
        let scale = RefCell::new(Scale::of(fleet, layout));
        let (copies, left) = (layout.at.len(), Cell::new(COUNTED_MAX));
        Weighing { fleet, weights, scale, copies, left, is_spent: Cell::new(false) }
    }

    /// Whether domains were left out somewhere, as too much was counted for them.
    pub fn is_spent(&self) -> bool {
        self.is_spent.get()
    }

    /// What a layout weighs.
    pub fn sum(&self, layout: &Layout) -> u64 {
        let mut scale = self.scale.borrow_mut();
        scale.follow(layout);
        let domains = if self.may_count(1) { domains(self.fleet, layout) as u64 } else { 0 };
        Above::of(&scale.measure(), domains, 0).sum(&self.weights)
    }

    /// The best host for a copy that is taken up.
    pub fn best(&self, layout: &Layout, copy: Homeless, mut ranks: Vec<Rank>) -> Option<Rank> {
        if ranks.len() < 2 {
            return ranks.pop();
        }
        self.weigh_most(layout, copy, &mut ranks);
        ranks.sort_unstable();
        let least = if self.may_count(1) { self.of_domains(self.least_domains(layout, copy.store)) } else { 0 };
        let (mut then, at) = (layout.clone(), self.fleet.range(copy.store).start + copy.nth);
        let mut best: Option<Rank> = None;
        for rank in ranks {
            let with = |domains: u64| Rank { weighed: rank.weighed.saturating_add(domains), ..rank };
            if best.is_some_and(|best| best <= with(least)) {
                break;
            }
            then.at[at] = rank.host;
            let domains = if self.may_count(1) { self.of_domains(domains(self.fleet, &then) as u64) } else { 0 };
            best = best.into_iter().chain([with(domains)]).min();
        }
        best
    }

    /// Weighs all of them.
    pub fn weigh(&self, layout: &Layout, copy: Homeless, ranks: &mut [Rank]) {
        if ranks.len() < 2 {
            return;
        }
        self.weigh_most(layout, copy, ranks);
        if !self.may_count(ranks.len()) {
            return;
        }
        let (mut then, at) = (layout.clone(), self.fleet.range(copy.store).start + copy.nth);
        for rank in ranks {
            then.at[at] = rank.host;
            rank.weighed = rank.weighed.saturating_add(self.of_domains(domains(self.fleet, &then) as u64));
        }
    }

    /// What each host weighs at least for a copy, wherever the store's others go; the lightest first.
    pub fn least(&self, layout: &Layout, copy: Homeless, mut ranks: Vec<Rank>) -> Vec<Rank> {
        self.weigh_most(layout, copy, &mut ranks);
        let least = if self.may_count(1) { self.of_domains(self.least_domains(layout, copy.store)) } else { 0 };
        ranks.iter_mut().for_each(|rank| rank.weighed = rank.weighed.saturating_add(least));
        ranks.sort_unstable();
        ranks
    }

    /// By all but domains.
    fn weigh_most(&self, layout: &Layout, copy: Homeless, ranks: &mut [Rank]) {
        let hosts: Vec<u32> = ranks.iter().map(|rank| rank.host).collect();
        let mut scale = self.scale.borrow_mut();
        scale.follow(layout);
        for (rank, measure) in ranks.iter_mut().zip(scale.with(copy, &hosts)) {
            rank.weighed = Above::of(&measure, 0, 0).sum(&self.weights);
        }
    }

    fn of_domains(&self, domains: u64) -> u64 {
        Above { domains, ..Above::default() }.sum(&self.weights)
    }

    /// Whether domains weigh anything, and may be counted so often more.
    fn may_count(&self, times: usize) -> bool {
        if self.weights.domain == 0 || self.is_spent.get() {
            return false;
        }
        let counted = times.saturating_mul(self.fleet.hosts.len() + self.copies);
        let left = self.left.get().checked_sub(counted);
        self.left.set(left.unwrap_or(0));
        self.is_spent.set(left.is_none());
        left.is_some()
    }

    /// The racks and sites that could not be lost, wherever a copy goes that is taken up: there is no room even without it, or another
    /// store has its last copy there.
    fn least_domains(&self, layout: &Layout, store: u32) -> u64 {
        let on = |level: u8| {
            let copies = layout.copies(self.fleet, store).iter().filter(|host| **host != NOWHERE);
            copies.map(move |host| self.fleet.hosts[*host as usize].domain[usize::from(level)])
        };
        let is_sure = |level: u8, (domain, survival): (u32, Survival)| match survival {
            Survival::NoRoom => true,
            Survival::LastCopy => {
                let is_elsewhere = |other: u32| other != domain && other != NOWHERE && domain != NOWHERE;
                on(level).next().is_none() || on(level).any(is_elsewhere)
            }
            Survival::NotShown | Survival::Shown => false,
        };
        let sure =
            |level: u8| survivals(self.fleet, layout, level).into_iter().filter(|one| is_sure(level, *one)).count();
        levels(self.fleet).map(sure).sum::<usize>() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::choice::Seats;
    use crate::layout::{HOST, Host, Store, figures};

    /// Four hosts in two racks, each with a store of its own; a store whose replica is taken up leads on host 0, and host 1, in its
    /// rack, has less on it than the others.
    fn fleet() -> (Fleet, Layout) {
        let mut fleet = Fleet::default();
        fleet.hosts.extend((0..4).map(|host| Host::new(1_000, 8).within(&[host / 2])));
        let stores = [([0, 2], 50), ([2, 1], 50), ([3, 0], 50), ([1, 3], 10), ([0, NOWHERE], 10)];
        let store = |size| Store { size, load: 1, copies: 2, level: HOST };
        let layout = Layout::of(&mut fleet, stores.iter().map(|(on, size)| (store(*size), on.as_slice())));
        (fleet, layout)
    }

    fn chosen(fleet: &Fleet, layout: &Layout, weighing: &Weighing<'_>) -> u32 {
        let seats = Seats::of(fleet, layout, &figures(fleet, layout));
        let ranks = (1..4).map(|host| seats.rank(4, 1, NOWHERE, host).expect("there is room")).collect();
        weighing.best(layout, Homeless { store: 4, nth: 1, more: 0 }, ranks).expect("there are three").host
    }

    /// Where what may be counted is used up the other weights decide, and it is told, so that a plan does so for all its copies.
    #[test]
    fn beyond_what_may_be_counted_domains_weigh_nothing_and_that_is_told() {
        let (fleet, layout) = fleet();
        let weights = Weights { domain: 100, bytes: 1, ..Weights::default() };
        let weighing = Weighing::of(&fleet, &layout, weights);
        assert_ne!(chosen(&fleet, &layout, &weighing), 1, "its rack would have both copies");
        assert!(!weighing.is_spent());
        let without = Weighing::of(&fleet, &layout, Weights { domain: 0, ..weights });
        assert_eq!(chosen(&fleet, &layout, &without), 1);
        assert!(!without.is_spent(), "nothing has to be counted");
        let counted = fleet.hosts.len() + layout.at.len();
        for times in 0..2 {
            let weighing = Weighing::of(&fleet, &layout, weights);
            weighing.left.set(times * counted);
            chosen(&fleet, &layout, &weighing);
            assert!(weighing.is_spent());
        }
        weighing.left.set(0);
        assert_eq!(chosen(&fleet, &layout, &weighing), 1);
        assert!(weighing.is_spent());
    }

    /// Looking only at hosts that could be the best finds the one that is, also where some racks can't be lost anyway.
    #[test]
    fn the_best_is_found_without_counting_domains_for_all() {
        let (mut fleet, layout) = fleet();
        for (rooms, domain) in (0u64..81).flat_map(|rooms| [0, 1, 20].map(|domain| (rooms, domain))) {
            for (nth, host) in fleet.hosts.iter_mut().enumerate() {
                host.bytes = [130, 160, 1_000][(rooms / 3u64.pow(nth as u32) % 3) as usize];
            }
            let weights = Weights { domain, survivor: 2, masters: 1, bytes: 1, moved: 0 };
            let (copy, seats) =
                (Homeless { store: 4, nth: 1, more: 0 }, Seats::of(&fleet, &layout, &figures(&fleet, &layout)));
            let ranks: Vec<Rank> = (1..4).filter_map(|host| seats.rank(4, 1, NOWHERE, host).ok()).collect();
            let mut all = ranks.clone();
            let weighing = Weighing::of(&fleet, &layout, weights);
            weighing.weigh(&layout, copy, &mut all);
            for rank in all.iter().filter(|_| all.len() > 1) {
                let mut then = layout.clone();
                then.at[fleet.range(4).start + 1] = rank.host;
                assert_eq!(rank.weighed, super::super::merit::Standing::of(&fleet, &then).sum(&weights, 0));
                assert_eq!(rank.weighed, weighing.sum(&then));
            }
            assert_eq!(weighing.best(&layout, copy, ranks), all.into_iter().min(), "{rooms} by {domain}");
        }
    }
}
