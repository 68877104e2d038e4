//! What makes one fleet better than another: the aims of placement in their order, or weighed as the cluster file says.
//!
//! What always holds: a merit is counted from the layout alone and what was copied for it; no plan is made that does not lower it,
//! so asking again and again ends.

use crate::layout::room::not_survivable;
use crate::layout::scale::Measure;
use crate::layout::{Figures, Fleet, LEVELS, Layout, NOWHERE, RACK, Wish, figures};
use slot_types::cluster::{ONE_STORE, Policy, Weights};

/// One per cent, as figures count bytes.
const ONE_PER_CENT: u64 = 10_000;

/// Lower is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Merit([u64; 7]);

/// A fleet's figures, with the failure domains that could not be lost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing {
    pub figures: Figures,
    /// Racks and sites that could not be lost, each alone.
    pub domains: usize,
    /// Bytes of all copies.
    bytes: u64,
}

impl Standing {
    pub fn of(fleet: &Fleet, layout: &Layout) -> Standing {
        Standing { domains: domains(fleet, layout), ..Standing::at_best(fleet, layout) }
    }

    /// As if each domain could be lost: no worse than it is.
    pub fn at_best(fleet: &Fleet, layout: &Layout) -> Standing {
        let bytes = (0..).zip(&fleet.stores).map(|(store, spec)| {
            let copies = layout.copies(fleet, store).iter().filter(|host| **host != NOWHERE).count();
            spec.size.saturating_mul(copies as u64)
        });
        Standing { figures: figures(fleet, layout), domains: 0, bytes: bytes.fold(0, u64::saturating_add) }
    }

    /// With so many bytes copied to reach it.
    pub fn merit(&self, policy: &Policy, copied: u64) -> Merit {
        match &policy.weights {
            Some(weights) => self.weighed(weights, copied),
            None => self.in_order(copied),
        }
    }

    /// Bytes within the engine's aim count as even.
    fn in_order(&self, copied: u64) -> Merit {
        let Standing { figures, domains, .. } = self;
        let bytes = figures.bytes_max_ppm.max(Wish::default().bytes_ppm);
        let least = u64::MAX - figures.load_min;
        let (broken, domains) = (figures.violations.total(), *domains as u64);
        Merit([broken, domains, figures.worst_survivor, figures.load_max, least, bytes, copied])
    }

    fn weighed(&self, weights: &Weights, copied: u64) -> Merit {
        Merit([self.figures.violations.total(), self.sum(weights, copied), 0, 0, 0, 0, 0])
    }

    /// What the aims come to, in thousandths of a weight.
    pub fn sum(&self, weights: &Weights, copied: u64) -> u64 {
        let Standing { figures, domains, bytes } = self;
        let copied = u128::from(copied) * 1_000_000 / u128::from((*bytes).max(1));
        let copied = u64::try_from(copied).unwrap_or(u64::MAX);
        Above::of(&Measure::from(figures), *domains as u64, copied).sum(weights)
    }
}

/// The levels on which hosts have domains, from racks outwards.
pub(super) fn levels(fleet: &Fleet) -> impl Iterator<Item = u8> + '_ {
    let named = |level: &u8| fleet.hosts.iter().any(|host| host.domain[usize::from(*level)] != NOWHERE);
    (RACK..).take(LEVELS - 1).filter(named)
}

/// Racks and sites that could not be lost, each alone: of all that is counted this takes longest.
pub(super) fn domains(fleet: &Fleet, layout: &Layout) -> usize {
    levels(fleet).map(|level| not_survivable(fleet, layout, level).len()).sum()
}

/// How far a fleet is from meeting each aim. Of what is the same for all that are compared any part may be left out.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Above {
    /// Racks and sites that could not be lost.
    pub domains: u64,
    /// Load of the worst survivor, as figures count it.
    pub survivor: u64,
    /// Load of the host with most masters, likewise.
    pub masters: u64,
    /// Bytes of the fullest host above its share, in millionths.
    pub bytes_ppm: u64,
    /// Bytes copied of all, in millionths.
    pub copied_ppm: u64,
}

impl Above {
    /// By what a layout measures.
    pub(super) fn of(measure: &Measure, domains: u64, copied_ppm: u64) -> Above {
        Above {
            domains,
            survivor: measure.worst_survivor.saturating_sub(measure.worst_survivor_bound),
            masters: measure.load_max.saturating_sub(measure.load_bound),
            bytes_ppm: measure.bytes_max_ppm.saturating_sub(100 * ONE_PER_CENT),
            copied_ppm,
        }
    }

    /// What roles bear on: load of the worst survivor, and of the fullest host.
    pub fn of_roles(survivor: u64, masters: u64) -> Above {
        Above { survivor, masters, ..Above::default() }
    }

    /// What it comes to, in thousandths of a weight.
    pub fn sum(&self, weights: &Weights) -> u64 {
        let parts = [
            (weights.domain, self.domains.saturating_mul(1_000)),
            (weights.survivor, self.survivor.saturating_mul(1_000) / ONE_STORE),
            (weights.masters, self.masters.saturating_mul(1_000) / ONE_STORE),
            (weights.bytes, self.bytes_ppm.saturating_mul(1_000) / ONE_PER_CENT),
            (weights.moved, self.copied_ppm.saturating_mul(1_000) / ONE_PER_CENT),
        ];
        let weigh = |sum: u64, (weight, units): (u16, u64)| sum.saturating_add(u64::from(weight).saturating_mul(units));
        parts.into_iter().fold(0u64, weigh)
    }
}
