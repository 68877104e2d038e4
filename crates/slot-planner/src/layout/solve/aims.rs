//! What a layout should come to, and how far one is from it.
//!
//! What always holds: aims depend on the fleet, the number of copies and the wish, but for what is given up where it would be dear;
//! a layout from which nothing is short is left alone.

use super::{apart, shed};
use crate::layout::figures::{Figures, least_level, share_at};
use crate::layout::goal::Wish;
use crate::layout::model::*;

/// The worst survivor is let be one store worse where its bound would force more bytes than this part of what has to
/// move anyway.
const DEAR_PART: u64 = 10;

/// How far a layout is from its aims, the dearest first: a layout is better if it comes before another in this order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Short {
    /// Rules that are broken.
    violations: u64,
    /// Stores that the loss of one failure domain would take whole.
    exposed: u64,
    /// How far the worst survivor is above its level.
    survivor: u64,
    /// Load of masters above each host's share.
    load: u64,
    /// Bytes above each host's share.
    bytes: u64,
}

impl Short {
    /// Whether any rule is.
    pub fn is_broken(&self) -> bool {
        self.violations > 0
    }
}

/// What every host should come to.
#[derive(Clone)]
pub(super) struct Aims {
    /// Bytes it should not exceed.
    pub bytes: Vec<u64>,
    /// Copies that fit its share of all.
    pub copies: Vec<u32>,
    /// Masters of a store's mean load that are its share.
    pub masters: Vec<u32>,
    /// Load of masters it should not exceed.
    pub load: Vec<u64>,
    /// The load it has at least when all are even.
    pub load_low: Vec<u64>,
    /// The worst survivor's level to reach, in thousandths.
    pub survivor: u64,
    /// Stores two hosts may share, so that the worst survivor can be reached.
    pub shared: u32,
    /// The level to which masters can be even, and what one store adds to an ordinary host's.
    pub level: u64,
    pub step: u64,
}

impl Aims {
    pub fn of(fleet: &Fleet, before: &Layout, wish: &Wish, first: &Figures) -> Aims {
        let (mut bytes, mut load, mut least) = (0u128, 0u64, None);
        for (number, store) in (0..).zip(&fleet.stores) {
            bytes += fleet.range(number).len() as u128 * u128::from(store.size);
            load += u64::from(store.load);
            least = Some(least.map_or(store.load, |least: u32| least.min(store.load)));
        }
        let share_of = |what: u128, part: u128, whole: u128| {
            let share = match what.checked_mul(part) {
                Some(all) => all / whole.max(1),
                // As near as there are digits for.
                None => (what >> 24) * part / (whole >> 24).max(1),
            };
            u64::try_from(share).unwrap_or(u64::MAX)
        };
        let room: u128 = fleet.active().map(|h| u128::from(fleet.hosts[h as usize].bytes)).sum();
        let weights = || fleet.active().map(|h| fleet.hosts[h as usize].weight);
        let level = least_level(weights().collect::<Vec<_>>().into_iter(), load);
        let heaviest = weights().max().unwrap_or(1000);
        // One store above the level is the least a host with a replica can go to (docs/placement.md).
        let step = u64::from(least.unwrap_or(1)) * 1_000_000 / u64::from(heaviest.max(1));
        let mut aims = Aims {
            bytes: Vec::new(),
            copies: Vec::new(),
            masters: Vec::new(),
            load: Vec::new(),
            load_low: Vec::new(),
            survivor: first.worst_survivor_bound.max(level.saturating_add(step)),
            shared: 0,
            level,
            step,
        };
        let mean = load.saturating_mul(1_000_000) / weights().map(u64::from).sum::<u64>().max(1);
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
    pub fn one_worse(&self) -> Aims {
        let mut aims = self.clone();
        aims.survivor = aims.survivor.saturating_add(self.step);
        aims.set_shared();
        aims
    }
    /// The same for another level of the worst survivor.
    pub fn at_level(&self, survivor: u64) -> Aims {
        Aims { survivor, ..self.clone() }
    }
    /// The same with no limit to any host's load and bytes.
    pub fn loose(&self) -> Aims {
        let all: u64 = self.load.iter().sum::<u64>() + 1;
        Aims {
            survivor: all.saturating_mul(2_000_000),
            load: vec![all.saturating_mul(2); self.load.len()],
            bytes: vec![u64::MAX; self.load.len()],
            ..self.clone()
        }
    }
    /// Lets the worst survivor be a store worse than its bound where the bound would cost too many bytes.
    pub fn give_up_what_is_dear(&mut self, fleet: &Fleet, before: &Layout) {
        let tally = Tally::without_pairs(fleet, before);
        let over = tally.bytes.iter().zip(&self.bytes).map(|(is, aim)| is.saturating_sub(*aim));
        let must: u64 = over.sum();
        if shed::forced_by_pairs(fleet, before, self.shared) > must / DEAR_PART {
            *self = self.one_worse();
        }
    }
    /// How far a layout is from these aims.
    pub fn short(&self, fleet: &Fleet, layout: &Layout, figures: &Figures) -> Short {
        let tally = Tally::without_pairs(fleet, layout);
        let bytes = fleet.active().map(|host| tally.bytes[host as usize].saturating_sub(self.bytes[host as usize]));
        Short {
            exposed: apart::exposed(fleet, layout),
            bytes: bytes.sum(),
            ..self.short_by_load(fleet, &tally.load, figures)
        }
    }
    /// The same where copies that are on a host may stay there: how even they are is no reason for anything.
    pub fn short_of_masters(&self, fleet: &Fleet, layout: &Layout, figures: &Figures) -> Short {
        // By a loop of its own: this is asked again and again where nothing but a few copies moved.
        let mut load = vec![0; fleet.hosts.len()];
        for (number, store) in (0..).zip(&fleet.stores) {
            let master = layout.master(fleet, number);
            if master != NOWHERE {
                load[master as usize] += u64::from(store.load);
            }
        }
        self.short_by_load(fleet, &load, figures)
    }
    fn short_by_load(&self, fleet: &Fleet, load: &[u64], figures: &Figures) -> Short {
        let over = fleet.active().map(|host| load[host as usize].saturating_sub(self.load[host as usize]));
        Short {
            violations: figures.violations.total(),
            exposed: 0,
            survivor: figures.worst_survivor.saturating_sub(self.survivor),
            load: over.sum(),
            bytes: 0,
        }
    }
    /// The same with the worst survivor as it was reached, where that is above its level, and no host's load brought below what it has.
    pub fn as_reached(&self, reached: &Figures) -> Aims {
        self.at_level(self.survivor.max(reached.worst_survivor))
    }
}
