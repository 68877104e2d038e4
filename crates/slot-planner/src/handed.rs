//! Sets of hand-overs off one host, of growing size.
//!
//! What always holds: a store is in a set once; hand-overs that have the same effect stand for each other, and of the sets that so
//! become equal one is shown; every other one is.

use std::collections::{BTreeMap, BTreeSet};

/// A hand-over: of which store, and to which of its copies or hosts, as the caller numbers them.
pub(crate) type HandOver = (u32, u32);

/// What a search for the nearest set came to.
pub(crate) struct Nearest {
    /// The room that is lacking beside it, if any, and the set.
    pub found: Option<(Option<u64>, Vec<HandOver>)>,
    /// Not all was looked at.
    pub bounded: bool,
}

/// The hand-overs off one host, those of the same effect together.
pub(crate) struct Sets(Vec<Vec<HandOver>>);

impl Sets {
    /// Each hand-over with its effect.
    pub fn of(all: impl Iterator<Item = (Vec<u32>, HandOver)>) -> Sets {
        let mut classes: BTreeMap<Vec<u32>, Vec<HandOver>> = BTreeMap::new();
        all.for_each(|(effect, one)| classes.entry(effect).or_default().push(one));
        Sets(classes.into_values().collect())
    }

    /// The smallest set with which `room` says that it is enough, of as small ones that with the least room; none of more than `most`. So many
    /// looks are made at most: one set costs as many as there are hosts, and eight for each hand-over.
    pub fn nearest(
        &self,
        most: usize,
        (hosts, looks): (usize, u64),
        mut room: impl FnMut(&[HandOver]) -> Option<Option<u64>>,
    ) -> Nearest {
        let (mut left, mut bounded) = (looks, false);
        for size in 0..=most {
            let mut found: Option<(Option<u64>, Vec<HandOver>)> = None;
            let cost = if size == 0 { 0 } else { (hosts + 8 * size) as u64 };
            self.each(size, &mut |set| {
                let Some(rest) = left.checked_sub(cost) else {
                    bounded = true;
                    return false;
                };
                left = rest;
                if let Some(room) = room(set).filter(|room| found.as_ref().is_none_or(|(known, _)| room < known)) {
                    found = Some((room, set.to_vec()));
                }
                true
            });
            if found.is_some() || bounded {
                return Nearest { found, bounded };
            }
        }
        Nearest { found: None, bounded }
    }

    /// Shows every set of so many, until one is refused.
    pub fn each(&self, size: usize, show: &mut dyn FnMut(&[HandOver]) -> bool) {
        self.extend(size, &mut Vec::new(), show);
    }

    /// Answers whether to go on.
    fn extend(&self, size: usize, chosen: &mut Vec<usize>, show: &mut dyn FnMut(&[HandOver]) -> bool) -> bool {
        let Some(set) = self.assign(chosen) else { return true };
        if chosen.len() == size {
            return show(&set);
        }
        for class in chosen.last().copied().unwrap_or(0)..self.0.len() {
            chosen.push(class);
            let goes_on = self.extend(size, chosen, show);
            chosen.pop();
            if !goes_on {
                return false;
            }
        }
        true
    }

    /// Hand-overs of these effects, each of another store.
    fn assign(&self, chosen: &[usize]) -> Option<Vec<HandOver>> {
        let mut by: BTreeMap<u32, (usize, HandOver)> = BTreeMap::new();
        let all = (0..chosen.len()).all(|nth| self.augment(chosen, nth, &mut by, &mut BTreeSet::new()));
        all.then(|| by.into_values().map(|(_, one)| one).collect())
    }

    fn augment(
        &self,
        chosen: &[usize],
        nth: usize,
        by: &mut BTreeMap<u32, (usize, HandOver)>,
        seen: &mut BTreeSet<u32>,
    ) -> bool {
        for one in &self.0[chosen[nth]] {
            if !seen.insert(one.0) {
                continue;
            }
            let held = by.get(&one.0).map(|(other, _)| *other);
            if held.is_none_or(|other| self.augment(chosen, other, by, seen)) {
                by.insert(one.0, (nth, *one));
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(all: &[(u32, HandOver)], size: usize) -> Vec<Vec<u32>> {
        let effect: BTreeMap<HandOver, u32> = all.iter().map(|(effect, one)| (*one, *effect)).collect();
        let mut found = Vec::new();
        Sets::of(all.iter().map(|(effect, one)| (vec![*effect], *one))).each(size, &mut |set| {
            let mut effects: Vec<u32> = set.iter().map(|one| effect[one]).collect();
            effects.sort_unstable();
            found.push(effects);
            true
        });
        found.sort();
        found
    }

    /// The effects of every set, by trying all.
    fn all_sets(all: &[(u32, HandOver)], size: usize) -> BTreeSet<Vec<u32>> {
        let mut found = BTreeSet::new();
        for picked in 0u32..1 << all.len() {
            let set: Vec<&(u32, HandOver)> =
                (0..).zip(all).filter(|(n, _)| picked >> n & 1 == 1).map(|(_, o)| o).collect();
            let stores: BTreeSet<u32> = set.iter().map(|(_, (store, _))| *store).collect();
            if set.len() == size && stores.len() == size {
                let mut effects: Vec<u32> = set.iter().map(|(effect, _)| *effect).collect();
                effects.sort_unstable();
                found.insert(effects);
            }
        }
        found
    }

    proptest::proptest! {
        #[test]
        fn every_effect_is_shown_once_and_no_other(
            picks in proptest::collection::btree_map((0u32..5, 0u32..3), 0u32..4, 0..10),
            size in 0usize..5,
        ) {
            let all: Vec<(u32, HandOver)> = picks.into_iter().map(|(one, effect)| (effect, one)).collect();
            let known: Vec<Vec<u32>> = all_sets(&all, size).into_iter().collect();
            proptest::prop_assert_eq!(shown(&all, size), known);
        }
    }
}
