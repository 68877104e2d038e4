//! What is said of a fleet, and how few bytes are moved, against what can be counted otherwise.

use good_lp::{Expression, ProblemVariables, Solution, SolverModel, constraint, microlp, variable, variables};
use proptest::prelude::*;
use slot_planner::layout::*;

/// The load of the survivor with most after a loss, of all ways to choose who takes what the best.
fn least_after(fleet: &Fleet, layout: &Layout, lost: u32) -> u64 {
    let mut load = vec![0u64; fleet.hosts.len()];
    let mut open = Vec::new();
    for store in 0..fleet.stores.len() as u32 {
        match layout.master(fleet, store) {
            master if master == lost => open.push(store),
            master => load[master as usize] += 1,
        }
    }
    fn each(fleet: &Fleet, layout: &Layout, open: &[u32], lost: u32, load: &mut Vec<u64>) -> u64 {
        let Some((store, rest)) = open.split_first() else { return load.iter().copied().max().unwrap_or(0) };
        let takers = layout.copies(fleet, *store).iter().copied().filter(|host| *host != lost);
        let mut least = u64::MAX;
        for host in takers {
            load[host as usize] += 1;
            least = least.min(each(fleet, layout, rest, lost, load));
            load[host as usize] -= 1;
        }
        least
    }
    each(fleet, layout, &open, lost, &mut load)
}

/// Stores of three copies, each on the hosts that these draws name.
fn three_copies(hosts: u32, draws: &[(u32, u32, u32)]) -> (Fleet, Layout) {
    let mut fleet = Fleet::default();
    fleet.hosts.extend((0..hosts).map(|_| Host::new(1_000, 100)));
    let store = Store { size: 1, load: 1, copies: 3, level: HOST };
    let at = |(a, b, c): &(u32, u32, u32)| {
        let mut left: Vec<u32> = (0..hosts).collect();
        [*a, *b, *c].map(|draw| left.remove(draw as usize % left.len()))
    };
    let rows: Vec<[u32; 3]> = draws.iter().map(at).collect();
    let layout = Layout::of(&mut fleet, rows.iter().map(|at| (store, at.as_slice())));
    (fleet, layout)
}

/// Host 1 leads a store, host 2 takes one and could pass it on to host 4: only then has it room for the one that host 1 would be
/// too much for.
#[test]
fn who_takes_the_masters_of_a_lost_host_is_found_along_chains() {
    let (mut fleet, store) = (Fleet::default(), Store { size: 1, load: 1, copies: 3, level: HOST });
    fleet.hosts.extend((0..5).map(|_| Host::new(100, 100)));
    let homes = [[1, 2, 0], [0, 4, 2], [0, 1, 2]];
    let layout = Layout::of(&mut fleet, homes.iter().map(|at| (store, at.as_slice())));
    assert_eq!(survivors(&fleet, &layout, &[0]).load, [0, 1, 1, 0, 1]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_worst_survivor_is_the_least_that_any_choice_of_takers_gives(
        hosts in 4u32..7,
        draws in prop::collection::vec((0u32..60, 0u32..60, 0u32..60), 1..14),
    ) {
        let (fleet, layout) = three_copies(hosts, &draws);
        for lost in 0..hosts {
            let after = survivors(&fleet, &layout, &[lost]);
            prop_assert_eq!(after.load.iter().copied().max(), Some(least_after(&fleet, &layout, lost)));
        }
        let worst = (0..hosts).map(|lost| least_after(&fleet, &layout, lost)).max().unwrap();
        prop_assert_eq!(figures(&fleet, &layout).worst_survivor, worst * 1_000);
    }
}

/// Ten hosts in five racks, half full, thirty stores each: a few hosts have most copies, one has none.
fn skewed(seed: u64) -> (Fleet, Layout) {
    let mut state = seed;
    let mut next = move |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let sizes: Vec<u64> = (0..300).map(|_| 200 + next(1_000) * next(1_000) * next(1_000) / 100_000).collect();
    let room = sizes.iter().sum::<u64>() * 4 / 10;
    let mut fleet = Fleet::default();
    fleet.hosts.extend((0..10).map(|host| Host::new(room, u32::MAX).within(&[host % 5])));
    let mut rows: Vec<(Store, [u32; 2])> = Vec::new();
    for size in sizes {
        // The lower numbers get more, and the last nothing.
        let mut draw = || next(9).min(next(9)) as u32;
        let master = draw();
        let mut replica = draw();
        while replica == master {
            replica = draw();
        }
        rows.push((Store { size, load: 1, copies: 2, level: RACK }, [master, replica]));
    }
    let layout = Layout::of(&mut fleet, rows.iter().map(|(store, at)| (*store, at.as_slice())));
    (fleet, layout)
}

/// Bytes that leave whatever is done: above the share of a host, and of two copies in one rack one.
fn bytes_at_least(fleet: &Fleet, before: &Layout, shares: &[u64]) -> f64 {
    let tally = Tally::without_pairs(fleet, before);
    let mut vars: ProblemVariables = variables!();
    let leaves: Vec<_> = before.at.iter().map(|_| vars.add(variable().min(0.0).max(1.0))).collect();
    let size = |copy: usize| fleet.stores[copy / 2].size as f64;
    let moved: Expression = leaves.iter().enumerate().map(|(copy, x)| size(copy) * *x).sum();
    let mut problem = vars.minimise(moved.clone()).using(microlp);
    for (host, share) in (0..).zip(shares) {
        let over = tally.bytes[host as usize] as f64 - *share as f64;
        let here = (0..before.at.len()).filter(|copy| before.at[*copy] == host);
        let out: Expression = here.map(|copy| size(copy) * leaves[copy]).sum();
        if over > 0.0 {
            problem = problem.with(constraint!(out >= over));
        }
    }
    for store in 0..fleet.stores.len() {
        if fleet.share(RACK, before.at[2 * store], before.at[2 * store + 1]) {
            problem = problem.with(constraint!(leaves[2 * store] + leaves[2 * store + 1] >= 1));
        }
    }
    problem.solve().map_or(0.0, |solution| solution.eval(&moved))
}

#[test]
fn ten_uneven_hosts_move_at_most_a_twentieth_more_than_they_must() {
    for seed in 1..=6 {
        let (fleet, before) = skewed(seed);
        let wish = Wish { bytes_ppm: 1_020_000, ..Wish::default() };
        let outcome = solve(&fleet, &before, &Goal::Rebalance, &wish).unwrap();
        let all: u64 = fleet.stores.iter().map(|store| 2 * store.size).sum();
        let bound = bytes_at_least(&fleet, &before, &[all * 102 / 100 / 10; 10]);
        let after = outcome.after;
        assert_eq!((after.violations.total(), after.load_max), (0, after.load_bound), "seed {seed}");
        assert!(after.bytes_max_ppm <= 1_020_000, "seed {seed}: {}", after.bytes_max_ppm);
        assert!(after.worst_survivor <= after.worst_survivor_bound + 1_000, "seed {seed}: {}", after.worst_survivor);
        let part = outcome.bytes as f64 / bound;
        assert!(part <= 1.05, "seed {seed}: {part:.4} of what has to move");
    }
}
