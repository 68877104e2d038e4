//! Many things, each of which goes to one of a few hosts, so that hosts are as even as they can be for their weights.
//!
//! What always holds: each goes to one of its options; where things weigh alike no other choice has a lower fullest host among those that
//! could get something, nor, where evenness is asked for and hosts weigh alike too, a lower sum of squares; where things differ that is so
//! of the fullest host while there are few choices, else it is what shifting them along paths finds; ties go to the first host.

use slot_types::cluster::Led;
use std::cmp::Reverse;
use std::collections::VecDeque;

/// Of things that differ, up to so many choices in all every one of them is looked at, unless it can't be the best.
const TRIED_MAX: u64 = 8_192;

/// How far to go.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// Until the fullest host is as low as it can be.
    Fullest,
    /// Until all hosts are as even as they can be.
    All,
}

/// What goes somewhere.
#[derive(Clone, Copy)]
pub(super) struct Thing<'o> {
    pub load: u64,
    /// Hosts it could go to.
    pub hosts: &'o [u32],
}

/// Room to work in, kept from one choice to the next.
pub(super) struct Matching<'w> {
    /// By host.
    weights: &'w [u16],
    seen: Vec<u32>,
    turn: u32,
    /// Which thing led to a host, by which of its options.
    came: Vec<(usize, usize)>,
    queue: VecDeque<u32>,
}

/// What a host of this weight bears of a load.
pub(super) fn level(load: u64, weight: u16) -> u64 {
    Led { masters: 0, load }.level(weight)
}

impl<'w> Matching<'w> {
    pub fn of(weights: &'w [u16]) -> Matching<'w> {
        let hosts = weights.len();
        Matching { weights, seen: vec![0; hosts], turn: 0, came: vec![(0, 0); hosts], queue: VecDeque::new() }
    }

    /// Chooses an option for each thing; none is without. `load` is what each host has before, and is brought up to date.
    pub fn choose(&mut self, things: &[Thing<'_>], load: &mut [u64], reach: Reach) -> Vec<usize> {
        let mut chosen = vec![0; things.len()];
        let mut order: Vec<usize> = (0..things.len()).collect();
        order.sort_by_key(|thing| (Reverse(things[*thing].load), things[*thing].hosts.len()));
        for thing in &order {
            let Thing { load: more, hosts } = things[*thing];
            let with = |nth: &usize| (self.level(hosts[*nth], load[hosts[*nth] as usize] + more), hosts[*nth]);
            chosen[*thing] = (0..hosts.len()).min_by_key(with).unwrap_or(0);
            load[hosts[chosen[*thing]] as usize] += more;
        }
        while self.improve(things, &mut chosen, load, reach) {}
        let choices = things.iter().fold(1u64, |all, thing| all.saturating_mul(thing.hosts.len() as u64));
        let are_alike = things.windows(2).all(|two| two[0].load == two[1].load);
        if !are_alike && reach == Reach::Fullest && choices <= TRIED_MAX {
            self.try_all(things, &order, &mut chosen, load);
        }
        chosen
    }

    fn level(&self, host: u32, load: u64) -> u64 {
        level(load, self.weights[host as usize])
    }

    /// What a host's load adds to the sum of squares.
    fn square(&self, host: u32, load: u64) -> u64 {
        load * self.level(host, load)
    }

    /// Shifts things along one path, by which the first host bears less, and the last no more than the first did; or, for evenness,
    /// the sum of squares falls, so this ends. A fullest host that has no such path is as low as it can be where things weigh alike: all it
    /// reaches is as full, or nearly.
    fn improve(&mut self, things: &[Thing<'_>], chosen: &mut [usize], load: &mut [u64], reach: Reach) -> bool {
        let mut starts: Vec<u32> = things.iter().zip(chosen.iter()).map(|(thing, nth)| thing.hosts[*nth]).collect();
        starts.sort_unstable_by_key(|host| (Reverse(self.level(*host, load[*host as usize])), *host));
        starts.dedup();
        let tried = if reach == Reach::Fullest { 1 } else { starts.len() };
        starts.into_iter().take(tried).any(|start| {
            let end = self.path(things, chosen, load, (start, reach));
            end.is_some_and(|end| self.shift(things, chosen, load, (start, end, reach)))
        })
    }

    /// Breadth first over "a thing now on this host could go to that one"; answers where the path ends.
    fn path(&mut self, things: &[Thing<'_>], chosen: &[usize], load: &[u64], from: (u32, Reach)) -> Option<u32> {
        let (start, reach) = from;
        self.turn += 1;
        self.queue.clear();
        self.queue.push_back(start);
        self.seen[start as usize] = self.turn;
        let mut comes = 0;
        while let Some(host) = self.queue.pop_front() {
            if host != start {
                comes = things[self.came[host as usize].0].load;
            }
            if host != start
                && self.is_better(load, (start, host), (self.leaves(things, chosen, start, host), comes), reach)
            {
                return Some(host);
            }
            for (nth, thing) in things.iter().enumerate().filter(|(nth, thing)| thing.hosts[chosen[*nth]] == host) {
                for (option, to) in thing.hosts.iter().enumerate() {
                    if self.seen[*to as usize] != self.turn {
                        self.seen[*to as usize] = self.turn;
                        self.came[*to as usize] = (nth, option);
                        self.queue.push_back(*to);
                    }
                }
            }
        }
        None
    }

    /// What leaves the first host of the path that ends here.
    fn leaves(&self, things: &[Thing<'_>], chosen: &[usize], start: u32, mut host: u32) -> u64 {
        let mut leaves = 0;
        while host != start {
            let thing = self.came[host as usize].0;
            leaves = things[thing].load;
            host = things[thing].hosts[chosen[thing]];
        }
        leaves
    }

    /// Whether it is better that so much leaves one host and so much comes to another.
    fn is_better(&self, load: &[u64], (start, end): (u32, u32), (leaves, comes): (u64, u64), reach: Reach) -> bool {
        let (was, there) = (load[start as usize], load[end as usize]);
        match reach {
            Reach::Fullest => self.level(end, there + comes) < self.level(start, was),
            Reach::All => {
                let falls = self.square(start, was) - self.square(start, was - leaves);
                self.square(end, there + comes) - self.square(end, there) < falls
            }
        }
    }

    /// Carries a path out; takes it back where hosts between get more than they give, so that nothing is better.
    fn shift(
        &mut self,
        things: &[Thing<'_>],
        chosen: &mut [usize],
        load: &mut [u64],
        (start, end, reach): (u32, u32, Reach),
    ) -> bool {
        let mut shifted: Vec<(usize, usize)> = Vec::new();
        let mut hosts = vec![end];
        let mut host = end;
        while host != start {
            let (thing, nth) = self.came[host as usize];
            host = things[thing].hosts[chosen[thing]];
            shifted.push((thing, nth));
            hosts.push(host);
        }
        let worth = |matching: &Self, load: &[u64]| {
            let levels = || hosts.iter().map(|host| matching.level(*host, load[*host as usize]));
            let most = levels().max().unwrap_or(0);
            match reach {
                Reach::Fullest => (most, levels().filter(|level| *level == most).count() as u64),
                Reach::All => (hosts.iter().map(|host| matching.square(*host, load[*host as usize])).sum(), 0),
            }
        };
        let before = worth(self, load);
        let put = |chosen: &mut [usize], load: &mut [u64], (thing, nth): (usize, usize)| {
            let Thing { load: moved, hosts } = things[thing];
            load[hosts[chosen[thing]] as usize] -= moved;
            load[hosts[nth] as usize] += moved;
            std::mem::replace(&mut chosen[thing], nth)
        };
        let was: Vec<(usize, usize)> =
            shifted.iter().map(|(thing, nth)| (*thing, put(chosen, load, (*thing, *nth)))).collect();
        let better = worth(self, load) < before;
        if !better {
            for one in was {
                put(chosen, load, one);
            }
        }
        better
    }

    /// Every choice after which the fullest host bears less than after the best one that is known.
    fn try_all(&self, things: &[Thing<'_>], order: &[usize], chosen: &mut [usize], load: &mut [u64]) {
        let with = load.to_vec();
        things.iter().zip(chosen.iter()).for_each(|(thing, nth)| load[thing.hosts[*nth] as usize] -= thing.load);
        let hosts = things.iter().flat_map(|thing| thing.hosts).copied();
        let fullest = |load: &[u64]| hosts.clone().map(|host| self.level(host, load[host as usize])).max().unwrap_or(0);
        let (least, mut best) = (fullest(load), (fullest(&with), chosen.to_vec()));
        self.branch(things, order, (&mut chosen.to_vec(), &mut *load), least, &mut best);
        chosen.copy_from_slice(&best.1);
        things.iter().zip(chosen.iter()).for_each(|(thing, nth)| load[thing.hosts[*nth] as usize] += thing.load);
    }

    fn branch(
        &self,
        things: &[Thing<'_>],
        order: &[usize],
        (chosen, load): (&mut [usize], &mut [u64]),
        fullest: u64,
        best: &mut (u64, Vec<usize>),
    ) {
        if fullest >= best.0 {
            return;
        }
        let Some((thing, rest)) = order.split_first() else {
            *best = (fullest, chosen.to_vec());
            return;
        };
        let Thing { load: more, hosts } = things[*thing];
        for (nth, host) in hosts.iter().enumerate() {
            load[*host as usize] += more;
            chosen[*thing] = nth;
            let then = fullest.max(self.level(*host, load[*host as usize]));
            self.branch(things, rest, (&mut *chosen, &mut *load), then, best);
            load[*host as usize] -= more;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worth(load: &[u64], weights: &[u16]) -> (u64, u64) {
        let levels: Vec<u64> = load.iter().zip(weights).map(|(load, weight)| level(*load, *weight)).collect();
        (levels.iter().copied().max().unwrap_or(0), load.iter().zip(&levels).map(|(load, level)| load * level).sum())
    }

    /// The least fullest host and the least sum of squares, by trying all.
    fn best(things: &[Thing<'_>], load: &mut [u64], weights: &[u16]) -> (u64, u64) {
        let Some((first, rest)) = things.split_first() else { return worth(load, weights) };
        let mut least = (u64::MAX, u64::MAX);
        for host in first.hosts {
            load[*host as usize] += first.load;
            let (fullest, squares) = best(rest, load, weights);
            least = (least.0.min(fullest), least.1.min(squares));
            load[*host as usize] -= first.load;
        }
        least
    }

    proptest::proptest! {
        #[test]
        fn hosts_are_as_even_as_brute_force_finds(
            before in proptest::collection::vec(0u64..4, 4),
            picks in proptest::collection::vec((proptest::collection::btree_set(0u32..4, 1..4), 1u64..6), 1..7),
            weights in proptest::collection::vec(1u16..4, 4),
            is_plain in proptest::bool::ANY,
        ) {
            let weights = if is_plain { vec![1; 4] } else { weights };
            let options: Vec<Vec<u32>> = picks.iter().map(|(hosts, _)| hosts.iter().copied().collect()).collect();
            let weigh = |load: u64| if is_plain { 1 } else { load };
            let things: Vec<Thing<'_>> =
                options.iter().zip(&picks).map(|(hosts, (_, load))| Thing { load: weigh(*load), hosts }).collect();
            let (fullest, squares) = best(&things, &mut before.clone(), &weights);
            for reach in [Reach::Fullest, Reach::All] {
                let mut load = before.clone();
                let chosen = Matching::of(&weights).choose(&things, &mut load, reach);
                let mut counted = before.clone();
                things.iter().zip(&chosen).for_each(|(thing, nth)| counted[thing.hosts[*nth] as usize] += thing.load);
                proptest::prop_assert_eq!(&load, &counted);
                // What got nothing is as it was, however full.
                let found = worth(&load, &weights);
                if is_plain || reach == Reach::Fullest {
                    proptest::prop_assert_eq!(found.0, fullest);
                }
                if is_plain && reach == Reach::All {
                    proptest::prop_assert_eq!(found.1, squares);
                }
            }
        }
    }
}
