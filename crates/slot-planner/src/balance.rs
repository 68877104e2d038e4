//! Choosing one of several places for each of many masters, so that the fullest host is as low as it can be.
//!
//! What always holds: every item goes to one of its options; no other choice has a lower fullest host among those that
//! got something; ties go to the first name.

use slot_types::ids::{HostName, SlotId};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Chooses an option for each item. `load` is what each host has before; it is brought up to date. Items without
/// options must not be given.
pub(crate) fn choose(options: &[Vec<SlotId>], load: &mut BTreeMap<HostName, u32>) -> Vec<SlotId> {
    let mut chosen: Vec<usize> = vec![0; options.len()];
    let mut order: Vec<usize> = (0..options.len()).collect();
    order.sort_by_key(|i| options[*i].len());
    for item in order {
        let best = (0..options[item].len()).min_by_key(|o| (at(load, &options[item][*o].host), &options[item][*o]));
        chosen[item] = best.unwrap_or(0);
        *load.entry(options[item][chosen[item]].host.clone()).or_default() += 1;
    }
    while improve(options, &mut chosen, load) {}
    options.iter().zip(chosen).map(|(o, c)| o[c].clone()).collect()
}

fn at(load: &BTreeMap<HostName, u32>, host: &HostName) -> u32 {
    load.get(host).copied().unwrap_or(0)
}

/// Shifts items along one path from a host to one that has at least two fewer; the sum of squares falls, so this ends.
fn improve(options: &[Vec<SlotId>], chosen: &mut [usize], load: &mut BTreeMap<HostName, u32>) -> bool {
    let given: BTreeSet<HostName> = options.iter().zip(chosen.iter()).map(|(o, c)| o[*c].host.clone()).collect();
    let mut starts: Vec<HostName> = given.into_iter().collect();
    starts.sort_by_key(|h| (std::cmp::Reverse(at(load, h)), h.clone()));
    for start in starts {
        let Some(moves) = path(options, chosen, load, &start) else { continue };
        for (item, option) in moves {
            let before = options[item][chosen[item]].host.clone();
            let after = options[item][option].host.clone();
            chosen[item] = option;
            if let Some(count) = load.get_mut(&before) {
                *count -= 1;
            }
            *load.entry(after).or_default() += 1;
        }
        return true;
    }
    false
}

/// Breadth first over "an item now on this host could go to that one".
fn path(
    options: &[Vec<SlotId>],
    chosen: &[usize],
    load: &BTreeMap<HostName, u32>,
    start: &HostName,
) -> Option<Vec<(usize, usize)>> {
    let mut came: BTreeMap<HostName, Option<(usize, usize, HostName)>> = BTreeMap::from([(start.clone(), None)]);
    let mut queue = VecDeque::from([start.clone()]);
    while let Some(host) = queue.pop_front() {
        if at(load, &host) + 2 <= at(load, start) {
            let mut moves = Vec::new();
            let mut here = host;
            while let Some(Some((item, option, before))) = came.get(&here) {
                moves.push((*item, *option));
                here = before.clone();
            }
            return Some(moves);
        }
        for (item, places) in options.iter().enumerate().filter(|(i, o)| o[chosen[*i]].host == host) {
            for (option, place) in places.iter().enumerate() {
                if !came.contains_key(&place.host) {
                    came.insert(place.host.clone(), Some((item, option, host.clone())));
                    queue.push_back(place.host.clone());
                }
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn best(options: &[Vec<SlotId>], load: &mut BTreeMap<HostName, u32>) -> u32 {
        let Some((first, rest)) = options.split_first() else { return load.values().copied().max().unwrap_or(0) };
        let tried = first.iter().map(|slot| {
            let mut load = load.clone();
            *load.entry(slot.host.clone()).or_default() += 1;
            best(rest, &mut load)
        });
        tried.min().unwrap_or(0)
    }

    proptest::proptest! {
        #[test]
        fn the_fullest_host_is_as_low_as_brute_force_finds(
            before in proptest::collection::vec(0u32..4, 4),
            picks in proptest::collection::vec(proptest::collection::btree_set(0usize..4, 1..4), 1..7),
        ) {
            let host = |n: usize| HostName::new(format!("h{n}")).unwrap();
            let mut load: BTreeMap<HostName, u32> = (0..4).map(|n| (host(n), before[n])).collect();
            let options: Vec<Vec<SlotId>> =
                picks.iter().map(|p| p.iter().map(|n| SlotId::new(host(*n), 1)).collect()).collect();
            let wanted = best(&options, &mut load.clone());
            let chosen = choose(&options, &mut load);
            proptest::prop_assert_eq!(load.values().copied().max(), Some(wanted));
            proptest::prop_assert!(chosen.iter().zip(&options).all(|(c, o)| o.contains(c)));
            let counted: u32 = load.values().sum();
            proptest::prop_assert_eq!(counted, before.iter().sum::<u32>() + u32::try_from(options.len()).unwrap());
        }
    }
}
