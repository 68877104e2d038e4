//! Many things, each of which goes to one of a few hosts, so that hosts are as even as they can be.
//!
//! What always holds: each goes to one of its options; no other choice has a lower fullest host among those that could get
//! something, nor, where evenness is asked for, a lower sum of squares; ties go to the first host.

use std::cmp::Reverse;
use std::collections::VecDeque;

/// How far to go.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// Until the fullest host is as low as it can be.
    Fullest,
    /// Until all hosts are as even as they can be.
    All,
}

/// Room to work in, kept from one choice to the next.
pub(super) struct Matching {
    seen: Vec<u32>,
    turn: u32,
    /// Which thing led to a host, by which of its options.
    came: Vec<(usize, usize)>,
    queue: VecDeque<u32>,
}

impl Matching {
    pub fn of(hosts: usize) -> Matching {
        Matching { seen: vec![0; hosts], turn: 0, came: vec![(0, 0); hosts], queue: VecDeque::new() }
    }

    /// Chooses an option for each thing; none is without. `load` is what each host has before, and is brought up to date.
    pub fn choose(&mut self, options: &[&[u32]], load: &mut [u32], reach: Reach) -> Vec<usize> {
        let mut chosen = vec![0; options.len()];
        let mut order: Vec<usize> = (0..options.len()).collect();
        order.sort_by_key(|thing| options[*thing].len());
        for thing in order {
            let hosts = options[thing];
            chosen[thing] = (0..hosts.len()).min_by_key(|nth| (load[hosts[*nth] as usize], hosts[*nth])).unwrap_or(0);
            load[hosts[chosen[thing]] as usize] += 1;
        }
        while self.improve(options, &mut chosen, load, reach) {}
        chosen
    }

    /// Shifts things along one path from a host to one that has at least two fewer; the sum of squares falls, so this ends.
    /// A fullest host that has no such path is as low as it can be: all it reaches is as full, or nearly.
    fn improve(&mut self, options: &[&[u32]], chosen: &mut [usize], load: &mut [u32], reach: Reach) -> bool {
        let mut starts: Vec<u32> = options.iter().zip(chosen.iter()).map(|(hosts, nth)| hosts[*nth]).collect();
        starts.sort_unstable_by_key(|host| (Reverse(load[*host as usize]), *host));
        starts.dedup();
        let tried = if reach == Reach::Fullest { 1 } else { starts.len() };
        for start in starts.into_iter().take(tried) {
            let Some(mut host) = self.path(options, chosen, load, start) else { continue };
            load[host as usize] += 1;
            load[start as usize] -= 1;
            while host != start {
                let (thing, nth) = self.came[host as usize];
                host = options[thing][chosen[thing]];
                chosen[thing] = nth;
            }
            return true;
        }
        false
    }

    /// Breadth first over "a thing now on this host could go to that one"; answers where the path ends.
    fn path(&mut self, options: &[&[u32]], chosen: &[usize], load: &[u32], start: u32) -> Option<u32> {
        self.turn += 1;
        self.queue.clear();
        self.queue.push_back(start);
        self.seen[start as usize] = self.turn;
        while let Some(host) = self.queue.pop_front() {
            if load[host as usize] + 2 <= load[start as usize] {
                return Some(host);
            }
            for (thing, hosts) in options.iter().enumerate().filter(|(thing, hosts)| hosts[chosen[*thing]] == host) {
                for (nth, to) in hosts.iter().enumerate() {
                    if self.seen[*to as usize] != self.turn {
                        self.seen[*to as usize] = self.turn;
                        self.came[*to as usize] = (thing, nth);
                        self.queue.push_back(*to);
                    }
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The least fullest host and the least sum of squares, by trying all.
    fn best(options: &[Vec<u32>], load: &mut [u32]) -> (u32, u32) {
        let Some((first, rest)) = options.split_first() else {
            return (load.iter().copied().max().unwrap_or(0), load.iter().map(|n| n * n).sum());
        };
        let mut least = (u32::MAX, u32::MAX);
        for host in first {
            load[*host as usize] += 1;
            let (fullest, squares) = best(rest, load);
            least = (least.0.min(fullest), least.1.min(squares));
            load[*host as usize] -= 1;
        }
        least
    }

    proptest::proptest! {
        #[test]
        fn hosts_are_as_even_as_brute_force_finds(
            before in proptest::collection::vec(0u32..4, 4),
            picks in proptest::collection::vec(proptest::collection::btree_set(0u32..4, 1..4), 1..7),
        ) {
            let options: Vec<Vec<u32>> = picks.iter().map(|hosts| hosts.iter().copied().collect()).collect();
            let slices: Vec<&[u32]> = options.iter().map(Vec::as_slice).collect();
            let (fullest, squares) = best(&options, &mut before.clone());
            for reach in [Reach::Fullest, Reach::All] {
                let mut load = before.clone();
                let chosen = Matching::of(4).choose(&slices, &mut load, reach);
                let mut counted = before.clone();
                slices.iter().zip(&chosen).for_each(|(hosts, nth)| counted[hosts[*nth] as usize] += 1);
                proptest::prop_assert_eq!(&load, &counted);
                // What got nothing is as it was, however full.
                proptest::prop_assert_eq!(load.iter().copied().max(), Some(fullest));
                if reach == Reach::All {
                    proptest::prop_assert_eq!(load.iter().map(|n| n * n).sum::<u32>(), squares);
                }
            }
        }
    }
}
