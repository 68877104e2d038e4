//! The least that the worst survivor of one loss can come to, masters being as even as they can be.
//!
//! What always holds: a number below the one that is answered is impossible, each for one of the reasons in docs/placement.md; what is
//! answered may be impossible too. Stores of two copies, all of one load.

use super::bounds::Input;
use std::collections::{BTreeMap, VecDeque};

/// Up to so many hosts every way to lead less than a share is tried.
const TRIED_HOSTS_MAX: usize = 10;

/// Masters of the worst survivor, at least.
pub fn least(input: &Input) -> usize {
    let hosts = input.alive().count();
    // All masters on one host fewer; and a host that leads its share takes one of another's.
    let mut level = input.stores.len().div_ceil(hosts - 1).max(input.share() + 1);
    while is_impossible(input, level) {
        level += 1;
    }
    level
}

/// Stores that two hosts share and go on sharing, since nothing but what is on the drained host moves; none where all may move.
fn shared(input: &Input) -> BTreeMap<(usize, usize), usize> {
    let mut pairs = BTreeMap::new();
    let stays = |host: &usize| Some(*host) != input.drained;
    for (_, a, b) in input.stores.iter().filter(|(_, a, b)| input.drained.is_some() && stays(a) && stays(b)) {
        *pairs.entry((*a.min(b), *a.max(b))).or_default() += 1;
    }
    pairs
}

fn is_impossible(input: &Input, level: usize) -> bool {
    let (share, shared) = (input.share(), shared(input));
    let spare = share * input.alive().count() - input.stores.len();
    let beyond = |pair: &(usize, usize)| shared.get(pair).copied().unwrap_or(0).saturating_sub(2 * (level - share));
    // Hosts that share so many stores have to lead so many fewer than their share; pairs apart from each other add up.
    let mut crowded: Vec<(usize, (usize, usize))> = shared.keys().map(|pair| (beyond(pair), *pair)).collect();
    crowded.sort_unstable_by(|a, b| b.cmp(a));
    let (mut used, mut fewer) = (vec![false; input.racks.len()], 0);
    for (many, (a, b)) in crowded {
        if many > 0 && !used[a] && !used[b] {
            (used[a], used[b]) = (true, true);
            fewer += many;
        }
    }
    let few = input.drained.is_some() && input.racks.len() <= TRIED_HOSTS_MAX;
    fewer > spare || few && !any_way(input, level, spare, &shared)
}

/// Whether there is a way to lead less than a share, `spare` stores in all, with room between hosts for what the drained host holds.
fn any_way(input: &Input, level: usize, spare: usize, shared: &BTreeMap<(usize, usize), usize>) -> bool {
    let hosts: Vec<usize> = input.alive().collect();
    let mut coming = vec![0; input.racks.len()];
    for (_, a, b) in &input.stores {
        match input.drained {
            Some(drained) if drained == *a => coming[*b] += 1,
            Some(drained) if drained == *b => coming[*a] += 1,
            _ => {}
        }
    }
    let pairs: Vec<(usize, usize)> = hosts
        .iter()
        .flat_map(|a| hosts.iter().filter(move |b| a < b).map(move |b| (*a, *b)))
        .filter(|(a, b)| !input.together(*a, *b))
        .collect();
    let mut fewer = vec![0; input.racks.len()];
    each_way(&hosts, spare, &mut fewer, &mut |fewer| {
        let room = |pair: &(usize, usize)| {
            let limit = 2 * (level - input.share()) + fewer[pair.0] + fewer[pair.1];
            limit.checked_sub(shared.get(pair).copied().unwrap_or(0))
        };
        let room: Option<Vec<usize>> = pairs.iter().map(room).collect();
        room.is_some_and(|room| fits(&coming, &pairs, room))
    })
}

/// Tries every way to spread `left` over hosts.
fn each_way(hosts: &[usize], left: usize, fewer: &mut Vec<usize>, is_one: &mut impl FnMut(&[usize]) -> bool) -> bool {
    let Some((host, rest)) = hosts.split_first() else { return left == 0 && is_one(fewer) };
    (0..=left).any(|part| {
        fewer[*host] = part;
        each_way(rest, left - part, fewer, is_one)
    })
}

/// Whether each host's coming stores find room in a pair it belongs to: a flow, one store after the other.
fn fits(coming: &[usize], pairs: &[(usize, usize)], mut room: Vec<usize>) -> bool {
    let mut given: BTreeMap<(usize, usize), usize> = BTreeMap::new();
    for (host, count) in coming.iter().enumerate() {
        for _ in 0..*count {
            // From a host to a pair with room, or to one that another host's store can leave for a pair of its own.
            let mut came: Vec<Option<usize>> = vec![None; pairs.len()];
            let mut by = vec![None; coming.len()];
            let mut open = VecDeque::from([host]);
            by[host] = Some(usize::MAX);
            let mut end = None;
            while let (Some(at), None) = (open.pop_front(), end) {
                for (nth, (a, b)) in pairs.iter().enumerate().filter(|(_, pair)| pair.0 == at || pair.1 == at) {
                    if came[nth].is_some() {
                        continue;
                    }
                    came[nth] = Some(at);
                    if room[nth] > 0 {
                        end = Some(nth);
                        break;
                    }
                    let other = if *a == at { *b } else { *a };
                    if given.get(&(other, nth)).is_some_and(|many| *many > 0) && by[other].is_none() {
                        by[other] = Some(nth);
                        open.push_back(other);
                    }
                }
            }
            let Some(mut pair) = end else { return false };
            room[pair] -= 1;
            loop {
                let at = came[pair].expect("the way came through it");
                *given.entry((at, pair)).or_default() += 1;
                match by[at] {
                    Some(before) if before != usize::MAX => {
                        *given.entry((at, before)).or_default() -= 1;
                        pair = before;
                    }
                    _ => break,
                }
            }
        }
    }
    true
}
