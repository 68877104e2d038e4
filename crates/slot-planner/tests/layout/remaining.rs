//! What remains broken is named, each violation once, and what is called proven is: judged by all layouts that any moves lead to.

use crate::fleets::{Dice, any_fleet, any_goal, tiny};
use proptest::prelude::*;
use slot_planner::layout::remains::{Remains, Why, remains};
use slot_planner::layout::*;
use std::collections::{BTreeMap, BTreeSet};

/// Above so many layouts a fleet is not judged.
const LAYOUTS_MAX: usize = 10_000;

/// Every layout that moves lead to which are allowed one by one: counted by nothing of the engine's.
fn reachable(fleet: &Fleet, before: &Layout) -> Option<BTreeSet<Vec<u32>>> {
    let mut seen = BTreeSet::from([before.at.clone()]);
    let mut open = vec![before.at.clone()];
    while let Some(at) = open.pop() {
        for then in steps(fleet, before, &at) {
            if seen.insert(then.clone()) {
                open.push(then);
            }
        }
        if seen.len() > LAYOUTS_MAX {
            return None;
        }
    }
    Some(seen)
}

fn steps(fleet: &Fleet, before: &Layout, at: &[u32]) -> Vec<Vec<u32>> {
    let mut all = Vec::new();
    for store in 0..fleet.stores.len() as u32 {
        let (range, spec) = (fleet.range(store), fleet.stores[store as usize]);
        let leads_for_good = fleet.no_master.contains(&(store, NOWHERE));
        let held = |host: &u32| *host != NOWHERE;
        let was = &before.at[range.clone()];
        if was.iter().any(held) && !was.iter().any(|host| held(host) && fleet.hosts[*host as usize].is_readable()) {
            continue;
        }
        for copy in range.clone() {
            let from = at[copy];
            if leads_for_good && copy == range.start && from != NOWHERE || fleet.pins.contains(&(store, from)) {
                continue;
            }
            for to in (0..fleet.hosts.len() as u32).filter(|host| fleet.hosts[*host as usize].state == State::Active) {
                let others = || range.clone().filter(|other| *other != copy && at[*other] != NOWHERE).map(|n| at[n]);
                let on: u64 = (0..at.len()).filter(|n| at[*n] == to).map(|n| size_of(fleet, n)).sum();
                let count = at.iter().filter(|host| **host == to).count();
                let room = &fleet.hosts[to as usize];
                let fits = on + spec.size <= room.bytes && count < room.slots as usize && spec.size <= room.largest;
                let free = !others().any(|other| fleet.share(spec.level, other, to)) && from != to;
                if fits && free && !fleet.exclusions.contains(&(store, to)) {
                    let mut then = at.to_vec();
                    then[copy] = to;
                    all.push(then);
                }
            }
            let active = from != NOWHERE && fleet.hosts[from as usize].state == State::Active;
            if copy != range.start && active && !leads_for_good {
                let mut then = at.to_vec();
                then.swap(range.start, copy);
                all.push(then);
            }
        }
    }
    all
}

fn size_of(fleet: &Fleet, copy: usize) -> u64 {
    let store = (0..fleet.stores.len() as u32).find(|store| fleet.range(*store).contains(&copy)).expect("a store");
    fleet.stores[store as usize].size
}

/// Whether a violation is there in a layout.
fn is_there(fleet: &Fleet, at: &[u32], one: &Remains) -> bool {
    let copies = || &at[fleet.range(one.store)];
    let on = |host: u32| at.iter().enumerate().filter(move |(_, there)| **there == host);
    match one.rule {
        Rule::Bytes => on(one.host).map(|(n, _)| size_of(fleet, n)).sum::<u64>() > fleet.hosts[one.host as usize].bytes,
        Rule::Slots => on(one.host).count() > fleet.hosts[one.host as usize].slots as usize,
        Rule::Masters => copies()[0] == NOWHERE || fleet.hosts[copies()[0] as usize].state != State::Active,
        Rule::Apart => copies().contains(&one.host) && one.with.is_some_and(|with| copies().contains(&with)),
        Rule::Copies | Rule::Excluded | Rule::Hosts | Rule::Pinned => copies().contains(&one.host),
    }
}

#[test]
fn what_is_called_proven_no_order_of_moves_mends() {
    let (mut judged, mut said): (usize, BTreeMap<&str, usize>) = (0, BTreeMap::new());
    for seed in 40_000..41_500 {
        let mut dice = Dice(seed);
        let (mut fleet, before) = tiny(&mut dice);
        if dice.below(5) == 0 {
            fleet.no_master.push((dice.below(fleet.stores.len() as u32), NOWHERE));
        }
        let Ok(outcome) = solve(&fleet, &before, &Goal::Rebalance, &Wish::default()) else { continue };
        let left = remains(&fleet, (&before, &outcome.layout), &Goal::Rebalance, &Wish::default());
        assert_eq!(left.len() as u64, outcome.after.violations.total(), "fleet {seed}: {left:?}");
        left.iter().for_each(|one| *said.entry(one.why.code()).or_default() += 1);
        if !left.iter().any(|one| one.why.is_proven()) {
            continue;
        }
        let Some(all) = reachable(&fleet, &before) else { continue };
        judged += 1;
        for one in left.iter().filter(|one| one.why.is_about_each()) {
            let way = all.iter().find(|at| !is_there(&fleet, at, one));
            assert_eq!(way, None, "fleet {seed}: {one:?} can be mended");
        }
        let whole = all.iter().find(|at| violations(&fleet, &Layout { at: at.to_vec() }).total() == 0);
        assert_eq!(whole, None, "fleet {seed}: all can be mended, and {left:?} is said");
    }
    let counted = |why: &str| said.get(why).copied().unwrap_or(0);
    assert!(judged > 150, "{judged} judged, {said:?}");
    for why in ["lost", "pinned", "no_host", "domains", "bytes", "slots", "not_found"] {
        assert!(counted(why) > 0, "{why} is never said: {said:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]
    /// Whatever the goal: as many are named as are counted, none twice, and a budget or a narrow goal is never called proven.
    #[test]
    fn each_violation_is_named_once((fleet, before) in any_fleet(), goal in any_goal()) {
        let Ok(outcome) = solve(&fleet, &before, &goal, &Wish::default()) else { return Ok(()) };
        let left = remains(&fleet, (&before, &outcome.layout), &goal, &Wish::default());
        prop_assert_eq!(left.len() as u64, outcome.after.violations.total());
        let named: BTreeSet<String> =
            left.iter().filter(|one| one.host != NOWHERE).map(|one| format!("{one:?}")).collect();
        prop_assert_eq!(named.len(), left.iter().filter(|one| one.host != NOWHERE).count());
        let evens = matches!(goal, Goal::Rebalance | Goal::Fill { .. });
        prop_assert!(left.iter().all(|one| one.why != Why::NotFound || evens));
    }
}

/// A counting argument each, and the sentence that says it.
#[test]
fn a_reason_is_said_with_its_numbers() {
    let named = |fleet: &Fleet, layout: &Layout| -> Vec<String> {
        let outcome = solve(fleet, layout, &Goal::Rebalance, &Wish::default()).expect("a plan");
        let left = remains(fleet, (layout, &outcome.layout), &Goal::Rebalance, &Wish::default());
        left.iter().map(|one| one.said(|_| "store", |host| ["h0", "h1", "h2"][host as usize])).collect()
    };
    let mut fleet = Fleet::default();
    fleet.hosts.extend((0..3).map(|host| Host::new(100, 4).within(&[host % 2])));
    let store = Store { size: 10, load: 1, copies: 3, level: RACK };
    let layout = Layout::of(&mut fleet, [(store, [0, 1, 2].as_slice())]);
    let domains = "the store's 3 copies need as many failure domains; those that hold one or may: 2";
    assert_eq!(named(&fleet, &layout), [format!("store: copies on h0 and h2 share a failure domain; {domains}")]);
    let mut fleet = Fleet::default();
    fleet.hosts.extend((0..2).map(|_| Host::new(15, 4)));
    let store = Store { size: 10, load: 1, copies: 2, level: HOST };
    let layout = Layout::of(&mut fleet, [(store, [0, 1].as_slice()), (store, [0].as_slice())]);
    let all = named(&fleet, &layout);
    assert!(all.iter().any(|said| said.contains("40 B") && said.contains("30 B")), "{all:?}");
}
