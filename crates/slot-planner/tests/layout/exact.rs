//! The exact solver: every way to hold each store on a small fleet, and of all combinations the best, by a mixed integer program.
//!
//! What always holds: a way to hold a store that the hard rules forbid is no choice here, nor is one that moves what may not move; so
//! what the program finds is what no planner can do better. It may do what no order of moves can: it knows the end alone.

use good_lp::{
    Expression, ProblemVariables, ResolutionError, Solution, SolverModel, Variable, constraint, microlp, variable,
    variables,
};
use slot_planner::layout::*;
use std::collections::BTreeSet;

/// One way to hold a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The hosts of its copies, the master first.
    pub at: Vec<u32>,
    /// Rules it breaks.
    pub broken: u64,
    /// Bytes to copy.
    pub bytes: u64,
}

/// What may move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum May {
    /// Any copy that is not pinned.
    Anything,
    /// What is on these hosts' numbers below 32, given as bits, and masters.
    Leave(u32),
}

/// What is asked of the solver.
#[derive(Clone, Copy, Debug)]
pub enum Least {
    /// Rules broken.
    Broken,
    /// Copies that may not stay on these hosts, given as bits, and do.
    Left(u32),
    /// Load of the worst survivor, with at most so many rules broken and stores in one rack. Stores of at most two copies, hosts of one weight.
    Survivor { broken: u64, exposed: u64 },
    /// Load of the masters of the host with most, broken rules at most so many. Hosts of one weight.
    Load { broken: u64 },
    /// Bytes, with at most this broken and in one rack, this worst survivor, these masters on a host and this many bytes above the hosts' shares.
    Bytes { broken: u64, exposed: u64, survivor: u64, load: u64, above: u64 },
}

/// The ways to hold a store.
pub fn choices(fleet: &Fleet, before: &Layout, store: u32, may: May) -> Vec<Choice> {
    let was = before.copies(fleet, store);
    let mut found: Vec<Choice> = Vec::new();
    let mut at = was.to_vec();
    each(fleet, was, store, may, 0, &mut at, &mut found);
    found
}

fn each(fleet: &Fleet, was: &[u32], store: u32, may: May, nth: usize, at: &mut Vec<u32>, found: &mut Vec<Choice>) {
    if nth == was.len() {
        return lead(fleet, was, store, at, found);
    }
    each(fleet, was, store, may, nth + 1, at, found);
    let home = was[nth];
    let stuck = home != NOWHERE && fleet.is_pinned(store, home) || fleet.is_lost_at(was);
    let must = home == NOWHERE || !fleet.may_stay(home);
    let moves = match may {
        May::Anything => true,
        May::Leave(hosts) => home != NOWHERE && hosts & 1 << home != 0 && must,
    };
    if stuck || !moves {
        return;
    }
    for host in fleet.active() {
        if was.contains(&host) || fleet.is_excluded(store, host) {
            continue;
        }
        at[nth] = host;
        each(fleet, was, store, may, nth + 1, at, found);
        at[nth] = home;
    }
}

/// Each copy that can be master, in turn.
fn lead(fleet: &Fleet, was: &[u32], store: u32, at: &[u32], found: &mut Vec<Choice>) {
    let spec = fleet.stores[store as usize];
    let shares = |a: usize, b: usize| at[a] != NOWHERE && at[b] != NOWHERE && fleet.share(spec.level, at[a], at[b]);
    let pairs = || (0..at.len()).flat_map(|a| (a + 1..at.len()).map(move |b| (a, b)));
    let new = |nth: usize| at[nth] != NOWHERE && !was.contains(&at[nth]);
    if pairs().any(|(a, b)| (new(a) || new(b)) && shares(a, b)) {
        return;
    }
    let mut broken = pairs().filter(|(a, b)| shares(*a, *b)).count() as u64;
    for (nth, host) in at.iter().enumerate() {
        let gone = *host == NOWHERE || matches!(fleet.hosts[*host as usize].state, State::Down | State::Retired);
        broken += u64::from(gone && nth < usize::from(spec.copies));
        if *host != NOWHERE {
            broken += u64::from(fleet.hosts[*host as usize].state == State::Leaving);
            broken += u64::from(fleet.is_excluded(store, *host));
        }
    }
    let bytes = (0..at.len()).filter(|nth| new(*nth)).count() as u64 * spec.size;
    let active = |host: u32| host != NOWHERE && fleet.hosts[host as usize].is_active();
    let leads: Vec<usize> = (0..at.len()).filter(|nth| active(at[*nth])).collect();
    // Where none can be master, the one that was is it still.
    let (leads, none) = if leads.is_empty() { (vec![0], 1) } else { (leads, 0) };
    for nth in leads {
        let mut at = at.to_vec();
        at.swap(0, nth);
        at[1..].sort_unstable();
        let choice = Choice { at, broken: broken + none, bytes };
        if !found.contains(&choice) {
            found.push(choice);
        }
    }
}

/// Whether the loss of a rack would take all of several copies, though there is another rack.
pub fn is_in_one_rack(fleet: &Fleet, at: &[u32]) -> bool {
    let rack = |host: u32| fleet.hosts[host as usize].domain[usize::from(RACK)];
    let racks: BTreeSet<u32> = fleet.active().map(rack).filter(|rack| *rack != NOWHERE).collect();
    let on: Vec<u32> = at.iter().filter(|host| **host != NOWHERE).map(|host| rack(*host)).collect();
    racks.len() > 1 && on.len() > 1 && on.iter().all(|rack| *rack == on[0] && *rack != NOWHERE)
}

/// What each active host may hold of all bytes to be even: a hundredth above its share by room.
pub fn shares(fleet: &Fleet, layout: &Layout) -> Vec<u64> {
    let sizes = (0..).zip(&fleet.stores).map(|(n, s)| layout.copies(fleet, n).len() as u128 * u128::from(s.size));
    let (stored, room): (u128, u128) =
        (sizes.sum(), fleet.active().map(|host| u128::from(fleet.hosts[host as usize].bytes)).sum());
    let share = |host: &Host| (stored * 1_010_000 * u128::from(host.bytes) / (room * 1_000_000).max(1)) as u64;
    fleet.hosts.iter().map(|host| if host.is_active() { share(host).min(host.bytes) } else { 0 }).collect()
}

/// The least there can be, and how; [`None`] if nothing satisfies what is asked.
pub fn least(fleet: &Fleet, before: &Layout, may: May, what: Least) -> Option<(u64, Vec<Vec<u32>>)> {
    let all: Vec<Vec<Choice>> =
        (0..fleet.stores.len() as u32).map(|store| choices(fleet, before, store, may)).collect();
    let mut vars: ProblemVariables = variables!();
    let picks: Vec<Vec<Variable>> =
        all.iter().map(|ways| ways.iter().map(|_| vars.add(variable().binary())).collect()).collect();
    let top = vars.add(variable().min(0.0));
    let overs: Vec<Variable> = fleet.hosts.iter().map(|_| vars.add(variable().min(0.0))).collect();
    let sum = |of: &dyn Fn(&Choice, u32) -> f64| {
        let mut sum = Expression::from(0.0);
        for ((store, ways), picks) in (0..).zip(&all).zip(&picks) {
            for (way, pick) in ways.iter().zip(picks) {
                let by = of(way, store);
                if by != 0.0 {
                    sum += by * *pick;
                }
            }
        }
        sum
    };
    let broken = sum(&|way, _| way.broken as f64);
    let of = |store: u32| &fleet.stores[store as usize];
    let goal = match what {
        Least::Broken => broken.clone(),
        Least::Left(hosts) => sum(&|way, store| left(fleet, before, store, &way.at, hosts) as f64),
        Least::Survivor { .. } | Least::Load { .. } => Expression::from(top),
        Least::Bytes { .. } => sum(&|way, _| way.bytes as f64),
    };
    let mut problem = vars.minimise(goal.clone()).using(microlp);
    for picks in &picks {
        problem = problem.with(constraint!(picks.iter().sum::<Expression>() == 1));
    }
    let (most_broken, most_after, most_load, most_above) = limits(what, top);
    if let Some(most) = most_broken {
        problem = problem.with(constraint!(broken.clone() <= most as f64));
    }
    if let Least::Survivor { exposed, .. } | Least::Bytes { exposed, .. } = what {
        let alone = |store: u32, at: &[u32]| is_in_one_rack(fleet, at) && !fleet.is_lost(store, before);
        let in_one = sum(&|way, store| f64::from(u8::from(alone(store, &way.at))));
        problem = problem.with(constraint!(in_one <= exposed as f64));
    }
    let shares = shares(fleet, before);
    let mut above = Expression::from(0.0);
    for host in fleet.active() {
        let spec = &fleet.hosts[host as usize];
        let held = sum(&|way, store| if way.at.contains(&host) { of(store).size as f64 } else { 0.0 });
        let count = sum(&|way, _| f64::from(u8::from(way.at.contains(&host))));
        if most_above.is_some() {
            above += overs[host as usize];
            problem = problem.with(constraint!(held.clone() - overs[host as usize] <= shares[host as usize] as f64));
        }
        problem =
            problem.with(constraint!(held <= spec.bytes as f64)).with(constraint!(count <= f64::from(spec.slots)));
        let load = sum(&|way, store| if way.at[0] == host { f64::from(of(store).load) } else { 0.0 });
        if matches!(what, Least::Load { .. }) {
            problem = problem.with(constraint!(load.clone() <= Expression::from(top)));
        }
        if let Some(most) = most_load {
            problem = problem.with(constraint!(load.clone() <= most as f64));
        }
        let Some(after) = &most_after else { continue };
        for lost in fleet.active().filter(|lost| *lost != host) {
            let takes = sum(&|way, store| {
                if way.at[0] == lost && way.at.contains(&host) { f64::from(of(store).load) } else { 0.0 }
            });
            problem = problem.with(constraint!(load.clone() + takes <= after.clone()));
        }
    }
    if let Some(most) = most_above {
        problem = problem.with(constraint!(above <= most as f64));
    }
    let solution = match problem.solve() {
        Ok(solution) => solution,
        Err(ResolutionError::Infeasible) => return None,
        Err(error) => panic!("the exact solver: {error}"),
    };
    Some((solution.eval(&goal).round() as u64, picked(&all, &picks, &solution)))
}

/// What may be broken, the worst survivor, masters' load and bytes above a share, at most.
fn limits(what: Least, top: Variable) -> (Option<u64>, Option<Expression>, Option<u64>, Option<u64>) {
    match what {
        Least::Broken | Least::Left(_) => (None, None, None, None),
        Least::Load { broken } => (Some(broken), None, None, None),
        Least::Survivor { broken, .. } => (Some(broken), Some(Expression::from(top)), None, None),
        Least::Bytes { broken, survivor, load, above, .. } => {
            (Some(broken), Some(Expression::from(survivor as f64)), Some(load), Some(above))
        }
    }
}

fn picked(all: &[Vec<Choice>], picks: &[Vec<Variable>], solution: &impl Solution) -> Vec<Vec<u32>> {
    let picked = all.iter().zip(picks).map(|(ways, picks)| {
        let nth = (0..ways.len()).max_by(|a, b| solution.value(picks[*a]).total_cmp(&solution.value(picks[*b])));
        ways[nth.expect("every store can stay as it is")].at.clone()
    });
    picked.collect()
}

/// The least that is broken at the end of any order of moves, each copy moved once at most, each step with room for its copy beside
/// all that is there: every reachable layout is looked at.
pub fn least_in_order(fleet: &Fleet, before: &Layout, may: May) -> u64 {
    let start = before.at.clone();
    let mut seen: BTreeSet<Vec<u32>> = BTreeSet::from([start.clone()]);
    let mut open = vec![start];
    let mut least = u64::MAX;
    let ways: Vec<Vec<Choice>> =
        (0..fleet.stores.len() as u32).map(|store| choices(fleet, before, store, may)).collect();
    while let Some(at) = open.pop() {
        let now = Layout { at };
        let tally = Tally::without_pairs(fleet, &now);
        let broken =
            (0..fleet.stores.len() as u32).map(|store| broken_of(&ways[store as usize], now.copies(fleet, store)));
        least = least.min(broken.sum());
        for store in 0..fleet.stores.len() as u32 {
            let range = fleet.range(store);
            for copy in range.clone().filter(|copy| now.at[*copy] == before.at[*copy]) {
                for host in fleet.active() {
                    let mut then = now.at.clone();
                    then[copy] = host;
                    let (spec, room) = (&fleet.stores[store as usize], &fleet.hosts[host as usize]);
                    let fits =
                        tally.bytes[host as usize] + spec.size <= room.bytes && tally.slots[host as usize] < room.slots;
                    let is_way = || broken_of(&ways[store as usize], &then[range.clone()]) < u64::MAX;
                    if fits && !now.copies(fleet, store).contains(&host) && is_way() && seen.insert(then.clone()) {
                        open.push(then);
                    }
                }
            }
        }
    }
    least
}

/// What holding a store on these hosts breaks, its master wherever that is best; the largest number if it is no choice.
fn broken_of(ways: &[Choice], at: &[u32]) -> u64 {
    let same = |way: &&Choice| {
        let (mut a, mut b) = (way.at.clone(), at.to_vec());
        a.sort_unstable();
        b.sort_unstable();
        a == b
    };
    ways.iter().filter(same).map(|way| way.broken).min().unwrap_or(u64::MAX)
}

/// Whether all that has to leave these hosts, given as bits, can be elsewhere with every rule kept, by the exact solver.
pub fn can_leave(fleet: &Fleet, before: &Layout, hosts: u32) -> bool {
    least(fleet, before, May::Leave(hosts), Least::Left(hosts)).is_some_and(|(left, _)| left == 0)
}

/// Copies on these hosts that may not stay there and are not held by a pin, or by having nothing to be built from.
fn left(fleet: &Fleet, before: &Layout, store: u32, at: &[u32], hosts: u32) -> usize {
    let must = |host: &&u32| {
        **host != NOWHERE && hosts & 1 << **host != 0 && !fleet.may_stay(**host) && !fleet.is_pinned(store, **host)
    };
    if fleet.is_lost(store, before) { 0 } else { at.iter().filter(must).count() }
}
