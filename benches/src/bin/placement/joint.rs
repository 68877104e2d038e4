//! The joint bound of bytes: what the cap, the racks and the worst survivor force out together.
//!
//! What always holds: it is the optimum of a linear program that every layout satisfies which keeps the cap, breaks no rule, evens
//! masters and keeps the worst survivor; its proof is in docs/placement.md. Where copies go is no part of it, so it may be too low.

use super::bounds::Input;
use good_lp::{
    Expression, ProblemVariables, Solution, SolverModel, Variable, constraint, microlp, variable, variables,
};
use std::collections::BTreeMap;

/// MiB at least, if nobody leads more than its share and no survivor more than `survivor`.
pub fn least(input: &Input, cap: f64, survivor: usize) -> f64 {
    let mut vars: ProblemVariables = variables!();
    // Of each copy, how much of it leaves: 0 or 1, and anything between makes the bound lower at most.
    let leaves: Vec<[Variable; 2]> =
        input.stores.iter().map(|_| [0, 1].map(|_| vars.add(variable().min(0.0).max(1.0)))).collect();
    let mut pairs: BTreeMap<(usize, usize), Vec<usize>> = BTreeMap::new();
    for (store, (_, a, b)) in input.stores.iter().enumerate() {
        pairs.entry((*a.min(b), *a.max(b))).or_default().push(store);
    }
    // Each of two hosts leads its share when masters are even; what the other one leads it takes beyond that (docs/placement.md).
    let share = input.share();
    let spare = share * input.alive().count() - input.stores.len();
    let shared = 2 * (survivor - share) + spare;
    let crowded: Vec<(&Vec<usize>, usize)> = pairs
        .iter()
        .filter(|((a, b), stores)| !input.together(*a, *b) && stores.len() > shared)
        .map(|(_, stores)| (stores, stores.len() - shared))
        .collect();
    let apart: BTreeMap<usize, Variable> = crowded
        .iter()
        .flat_map(|(stores, _)| stores.iter())
        .map(|store| (*store, vars.add(variable().min(0.0).max(1.0))))
        .collect();
    let moved: Expression = input.stores.iter().zip(&leaves).map(|(store, [a, b])| store.0 * *a + store.0 * *b).sum();
    let mut problem = vars.minimise(moved.clone()).using(microlp);
    let disks = input.disks();
    for host in input.alive().filter(|host| disks[*host] > cap) {
        let mut out = Expression::from(0.0);
        for ((size, a, b), leaves) in input.stores.iter().zip(&leaves) {
            for (at, leaves) in [a, b].into_iter().zip(leaves).filter(|(at, _)| **at == host) {
                debug_assert_eq!(*at, host);
                out += *size * *leaves;
            }
        }
        problem = problem.with(constraint!(out >= disks[host] - cap));
    }
    for ((_, a, b), [x, y]) in input.stores.iter().zip(&leaves) {
        if input.together(*a, *b) {
            problem = problem.with(constraint!(*x + *y >= 1));
        }
    }
    for (store, gone) in &apart {
        let [x, y] = leaves[*store];
        problem = problem.with(constraint!(x + y - *gone >= 0));
    }
    for (stores, many) in crowded {
        let gone: Expression = stores.iter().map(|store| apart[store]).sum();
        problem = problem.with(constraint!(gone >= many as f64));
    }
    problem.solve().map_or(0.0, |solution| solution.eval(&moved))
}
