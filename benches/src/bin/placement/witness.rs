//! That the least worst survivor is possible at all, whatever it costs in bytes: a layout from nothing that has it.
//!
//! What always holds: what is answered was counted on a whole layout of the input's own hosts and stores, with its sizes; nothing is
//! answered where none is found, and that proves nothing.
//!
//! Hosts stand on a ring, racks in turn. Each host leads as many stores as any other, and the replica of the nth is the same number of places
//! further on for all of them, never in the leader's rack. Of one such step each host leads one store and has one replica, so
//! each step may be given stores of nearly one size, and disks come out even.

use super::bounds::Input;
use std::collections::BTreeMap;

/// Passes of exchanges that even disks out; each lowers the sum of squares.
const PASSES: usize = 40;

/// Masters of the worst survivor of a layout that keeps the cap and breaks no rule, masters being even: where it is `least`.
pub fn reaches(input: &Input, cap: f64, least: usize) -> Option<usize> {
    let (ring, racks) = ring(input)?;
    let (hosts, share) = (ring.len(), input.share());
    if input.drained.is_some() || hosts * share != input.stores.len() {
        return None;
    }
    // A survivor takes one store of the lost host for each time their distance is used.
    let distances: Vec<usize> = (1..hosts).filter(|distance| distance % racks != 0).collect();
    let steps: Vec<usize> = distances.iter().copied().cycle().take(share).collect();
    let mut sizes: Vec<f64> = input.stores.iter().map(|store| store.0).collect();
    sizes.sort_by(|a, b| b.total_cmp(a));
    let mut rounds: Vec<Vec<f64>> = sizes.chunks(hosts).map(<[f64]>::to_vec).collect();
    let mut disks = vec![0.0; hosts];
    for (round, step) in rounds.iter_mut().zip(&steps) {
        place(round, *step, &mut disks);
    }
    for _ in 0..PASSES {
        rounds.iter_mut().zip(&steps).for_each(|(round, step)| even(round, *step, &mut disks));
    }
    (disks.iter().all(|disk| *disk <= cap) && worst(hosts, &steps) == least).then_some(least)
}

/// Hosts with racks in turn, and how many racks; [`None`] where racks differ in size.
fn ring(input: &Input) -> Option<(Vec<usize>, usize)> {
    let mut by_rack: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    input.alive().for_each(|host| by_rack.entry(&input.racks[host]).or_default().push(host));
    let each = by_rack.values().next()?.len();
    let even = by_rack.values().all(|hosts| hosts.len() == each);
    let turn = |nth: usize| by_rack.values().map(move |hosts| hosts[nth]);
    even.then(|| ((0..each).flat_map(turn).collect(), by_rack.len()))
}

/// Gives a round's stores to the hosts, the largest to the two that then have least.
fn place(round: &mut [f64], step: usize, disks: &mut [f64]) {
    let hosts = disks.len();
    let mut free: Vec<usize> = (0..hosts).collect();
    let mut placed = vec![0.0; hosts];
    for size in round.iter() {
        let both = |host: usize| disks[host].max(disks[(host + step) % hosts]);
        let best = (0..free.len()).min_by(|a, b| both(free[*a]).total_cmp(&both(free[*b]))).expect("a host for each");
        let host = free.swap_remove(best);
        placed[host] = *size;
        disks[host] += size;
        disks[(host + step) % hosts] += size;
    }
    round.copy_from_slice(&placed);
}

/// Exchanges stores of a round where that brings disks nearer to each other.
fn even(round: &mut [f64], step: usize, disks: &mut [f64]) {
    let hosts = disks.len();
    for a in 0..hosts {
        for b in a + 1..hosts {
            let more = round[b] - round[a];
            let ends = [(a, more), ((a + step) % hosts, more), (b, -more), ((b + step) % hosts, -more)];
            let squares = |disks: &[f64]| ends.iter().map(|(host, _)| disks[*host] * disks[*host]).sum::<f64>();
            let was = squares(disks);
            ends.iter().for_each(|(host, more)| disks[*host] += more);
            if squares(disks) + 1e-6 < was {
                round.swap(a, b);
            } else {
                ends.iter().for_each(|(host, more)| disks[*host] -= more);
            }
        }
    }
}

/// Masters of the worst survivor, counted loss by loss.
fn worst(hosts: usize, steps: &[usize]) -> usize {
    let after = |lost: usize| {
        let mut led = vec![steps.len(); hosts];
        steps.iter().for_each(|step| led[(lost + step) % hosts] += 1);
        led.into_iter().enumerate().filter(|(host, _)| *host != lost).map(|(_, led)| led).max().unwrap_or(0)
    };
    (0..hosts).map(after).max().unwrap_or(0)
}
