//! The fewest master changes with copies where an outcome has them.
//!
//! What always holds: nothing here comes from the planner. Who leads is a flow of masters between hosts; where no cycle of hand-overs
//! takes more back than it makes, no other choice of masters that is as even, with no worse a worst survivor, changes fewer. Every such
//! cycle is found (Bellman and Ford) and carried out, so what is answered is the least, whatever the outcome was.
//!
//! It is told where every host has to lead its share exactly, since only then what two hosts may share does not depend on the rest.

use super::bounds::Input;
use std::collections::BTreeMap;
use std::path::Path;

/// Two hosts and the stores that they hold.
struct Pair {
    ends: [usize; 2],
    all: i64,
    /// Of these, what each led before.
    homes: [i64; 2],
    /// What the first one leads.
    led: i64,
}

impl Pair {
    /// Stores that neither is led where it was, nor can be as many as that are led by each.
    fn changes(&self, led: i64) -> i64 {
        (self.homes[0] - led).max(0) + (led - (self.all - self.homes[1])).max(0)
    }
    /// What one store more from one end to the other costs, where neither leads more than `most` of what the other holds.
    fn cost(&self, from: usize, most: i64) -> Option<i64> {
        let then = if from == 0 { self.led - 1 } else { self.led + 1 };
        let within = (0..=self.all).contains(&then)
            && then <= most.max(self.led)
            && self.all - then <= most.max(self.all - self.led);
        within.then(|| self.changes(then) - self.changes(self.led))
    }
}

/// The least, if a survivor may lead `survivor` stores; [`None`] where a host may lead less than its share, or the outcome cannot be read.
pub fn least(input: &Input, before: &Path, after: &Path, survivor: usize) -> Option<i64> {
    let share = input.share();
    if share * input.alive().count() != input.stores.len() {
        return None;
    }
    let mut pairs: BTreeMap<(usize, usize), Pair> = BTreeMap::new();
    let mut gone = 0;
    for ((_, was, _), (leads, other)) in input.stores.iter().zip(ends(before, after)?) {
        let ends = [leads.min(other), leads.max(other)];
        let fresh = Pair { ends, all: 0, homes: [0; 2], led: 0 };
        let pair = pairs.entry((ends[0], ends[1])).or_insert(fresh);
        pair.all += 1;
        pair.led += i64::from(leads == ends[0]);
        match ends.iter().position(|end| end == was) {
            Some(home) => pair.homes[home] += 1,
            None => gone += 1,
        }
    }
    let mut pairs: Vec<Pair> = pairs.into_values().collect();
    while take_back(&mut pairs, input.racks.len(), (survivor - share) as i64) {}
    Some(gone + pairs.iter().map(|pair| pair.changes(pair.led)).sum::<i64>())
}

/// Carries out a cycle that makes fewer changes; answers whether there was one.
fn take_back(pairs: &mut [Pair], hosts: usize, most: i64) -> bool {
    let mut far = vec![0i64; hosts];
    let mut from: Vec<Option<(usize, usize)>> = vec![None; hosts];
    loop {
        let mut changed = false;
        for (nth, pair) in pairs.iter().enumerate() {
            for end in 0..2 {
                let (a, b) = (pair.ends[end], pair.ends[1 - end]);
                let Some(cost) = pair.cost(end, most) else { continue };
                if far[a] + cost < far[b] {
                    far[b] = far[a] + cost;
                    from[b] = Some((nth, end));
                    changed = true;
                }
            }
        }
        if !changed {
            return false;
        }
        if let Some(cycle) = cycle(pairs, &from) {
            for (nth, end) in cycle {
                pairs[nth].led += if end == 0 { -1 } else { 1 };
            }
            return true;
        }
    }
}

/// A cycle of the steps by which hosts were reached; there is none unless it gains.
fn cycle(pairs: &[Pair], from: &[Option<(usize, usize)>]) -> Option<Vec<(usize, usize)>> {
    let mut turn = vec![0usize; from.len()];
    for first in 0..from.len() {
        let mut host = first;
        while turn[host] == 0 {
            turn[host] = first + 1;
            match from[host] {
                Some((nth, end)) => host = pairs[nth].ends[end],
                None => break,
            }
        }
        if turn[host] == first + 1 && from[host].is_some() {
            let (mut way, last) = (Vec::new(), host);
            loop {
                let step = from[host]?;
                way.push(step);
                host = pairs[step.0].ends[step.1];
                if host == last {
                    return Some(way);
                }
            }
        }
    }
    None
}

/// The hosts of each store's copies afterwards, the master first, in the order of the file before.
fn ends(before: &Path, after: &Path) -> Option<Vec<(usize, usize)>> {
    let (before, after) = (std::fs::read_to_string(before).ok()?, std::fs::read_to_string(after).ok()?);
    let mut sections = before.split("\n\n").skip(1);
    let name = |line: &str| line.split('|').next().unwrap_or_default().to_owned();
    let hosts: BTreeMap<String, usize> = sections.next()?.lines().map(name).zip(0..).collect();
    let mut stores: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for line in after.lines() {
        let mut fields = line.split(',');
        let (store, leads, other) = (fields.next()?, fields.next()?, fields.next()?);
        if let (Some(leads), Some(other)) = (hosts.get(leads), hosts.get(other)) {
            stores.insert(store, (*leads, *other));
        }
    }
    let all = sections.next()?.lines().map(|line| stores.get(name(line).as_str()).copied());
    all.collect()
}
