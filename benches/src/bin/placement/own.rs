//! Cases that the shared generator does not make: whole racks, several hosts, three copies, unequal hosts, tight disks.
//!
//! What always holds: every outcome is replayed against the hard rules, move by move and wave by wave; the length of a
//! schedule is compared with what the busiest link has to carry.

use serde_json::{Value, json};
use slot_planner::layout::*;
use std::time::Instant;

const HOSTS: u32 = 200;
const RACKS: u32 = 10;
const EACH: u32 = 30;

/// All of them.
pub fn all() -> Vec<Value> {
    let (fleet, layout) = settled(2, 50, false);
    let rack: Vec<u32> = (0..HOSTS).filter(|host| host % RACKS == 3).collect();
    let mut rows = vec![
        case("a whole rack drained", &fleet, &layout, &Goal::Drain { hosts: rack, empty: true }),
        case("three hosts drained at once", &fleet, &layout, &Goal::Drain { hosts: vec![0, 11, 57], empty: true }),
    ];
    for (name, copies, full, unequal) in [
        ("three copies, rebalanced", 3, 50, false),
        ("unequal hosts and sizes, rebalanced", 2, 50, true),
        ("disks 85 % full, rebalanced", 2, 85, false),
    ] {
        let (fleet, layout) = made(copies, full, unequal);
        rows.push(case(name, &fleet, &layout, &Goal::Rebalance));
    }
    let (tight, layout) = settled(2, 85, false);
    rows.push(case("disks 85 % full, a host emptied", &tight, &layout, &Goal::Drain { hosts: vec![0], empty: true }));
    rows
}

fn settled(copies: u8, full: u64, unequal: bool) -> (Fleet, Layout) {
    let (fleet, layout) = made(copies, full, unequal);
    let layout = solve(&fleet, &layout, &Goal::Rebalance, &Wish::default()).map(|o| o.layout).unwrap_or(layout);
    (fleet, layout)
}

/// A fleet whose copies are anywhere, so many per cent full.
fn made(copies: u8, full: u64, unequal: bool) -> (Fleet, Layout) {
    let mut state = 42u64;
    let mut next = |below: u32| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) as u32) % below
    };
    // A product of two is skewed as sizes of real stores are.
    let sizes: Vec<u64> = (0..HOSTS * EACH).map(|_| 4 + u64::from(next(14)) * u64::from(next(14)) / 2).collect();
    let all = sizes.iter().sum::<u64>() * u64::from(copies);
    let mut fleet = Fleet::default();
    for host in 0..HOSTS {
        let part = if unequal { 50 + 50 * u64::from(host % 3) } else { 100 };
        let mut one = Host::new(all * part / u64::from(HOSTS) / full, u32::MAX).within(&[host % RACKS]);
        one.weight = u32::try_from(part * 10).unwrap_or(1000);
        fleet.hosts.push(one);
    }
    let mut left: Vec<u64> = fleet.hosts.iter().map(|host| host.bytes).collect();
    let mut rows: Vec<(Store, Vec<u32>)> = Vec::new();
    for size in sizes {
        let mut at: Vec<u32> = Vec::new();
        while at.len() < usize::from(copies) {
            let host = next(HOSTS);
            if !at.contains(&host) && left[host as usize] >= size {
                left[host as usize] -= size;
                at.push(host);
            }
        }
        rows.push((Store { size, load: 1, copies, level: RACK }, at));
    }
    let layout = Layout::of(&mut fleet, rows.iter().map(|(store, at)| (*store, at.as_slice())));
    (fleet, layout)
}

fn case(name: &str, fleet: &Fleet, before: &Layout, goal: &Goal) -> Value {
    let begun = Instant::now();
    let outcome = match solve(fleet, before, goal, &Wish::default()) {
        Ok(outcome) => outcome,
        Err(no) => return json!({ "case": name, "refused": no.to_string() }),
    };
    let seconds = begun.elapsed().as_secs_f64();
    let mut states = fleet.clone();
    if let Goal::Drain { hosts, .. } = goal {
        hosts.iter().for_each(|host| states.hosts[*host as usize].state = State::Leaving);
    }
    let checked = replay(&states, before, &outcome);
    let (length, link, waves) = lengths(&states, before, &outcome);
    let after = outcome.after;
    json!({
        "case": name, "hosts": HOSTS, "wall_s": seconds,
        "replayed": checked.map_or_else(|fault| fault.to_string(), |()| "no rule broken".to_owned()),
        "load_max": after.load_max as f64 / 1e3, "load_bound": after.load_bound as f64 / 1e3,
        "worst_survivor": after.worst_survivor as f64 / 1e3, "worst_survivor_bound": one_above(&states, before, &after) as f64 / 1e3,
        "bytes_max_over_share": after.bytes_max_ppm as f64 / 1e6, "violations": after.violations.total(),
        "bytes": outcome.bytes, "bytes_bound": bound(&states, before), "waves": outcome.waves.last().map_or(0, |w| w + 1),
        "schedule_over_busiest_link": length as f64 / link.max(1) as f64,
        "schedule_over_wave_bound": length as f64 / waves.max(1) as f64,
    })
}

/// The least level of the worst survivor, in thousandths, masters being even: of a store's two copies the replica's host takes all of it, so
/// whoever has a replica leads a store less than the level allows. In a drain only what has to leave moves, so none but a host with
/// no more copies than its share of masters could be without; else all are taken to have one (docs/placement.md).
fn one_above(fleet: &Fleet, before: &Layout, after: &Figures) -> u64 {
    if fleet.stores.iter().any(|store| store.copies != 2 || store.load != 1) {
        return after.worst_survivor_bound;
    }
    let slots = Tally::of(fleet, before).slots;
    let drains = fleet.hosts.iter().any(|host| !host.is_active());
    let led = |level: u64, host: u32| level * u64::from(fleet.hosts[host as usize].weight) / 1_000_000;
    let most = |level: u64, host: u32| {
        let share = led(after.load_bound, host);
        let alone = drains && u64::from(slots[host as usize]) <= share;
        share.min(led(level, host).saturating_sub(u64::from(!alone)))
    };
    let carries = |level: u64| fleet.active().map(|host| most(level, host)).sum::<u64>() >= fleet.stores.len() as u64;
    (after.worst_survivor_bound..).find(|level| carries(*level)).expect("a level is high enough")
}

/// Bytes that have to move whatever is done: on hosts to be emptied; else the larger of what is over 1.01 of each share and
/// what violations force out.
fn bound(fleet: &Fleet, before: &Layout) -> u64 {
    let tally = Tally::of(fleet, before);
    let leaving = |host: usize| fleet.hosts[host].state == State::Leaving;
    let must: u64 = (0..fleet.hosts.len()).filter(|host| leaving(*host)).map(|host| tally.bytes[host]).sum();
    if must > 0 {
        return must;
    }
    let (all, room): (u64, u64) = (tally.bytes.iter().sum(), fleet.hosts.iter().map(|host| host.bytes).sum());
    let share = |host: &Host| (all as f64 * 1.01 * host.bytes as f64 / room as f64) as u64;
    let over = fleet.hosts.iter().zip(&tally.bytes).map(|(host, has)| has.saturating_sub(share(host))).sum();
    let forced = (0..fleet.stores.len() as u32).map(|store| {
        let copies = before.copies(fleet, store);
        let shares = |nth: usize| copies[nth + 1..].iter().any(|other| fleet.share(RACK, copies[nth], *other));
        (0..copies.len()).filter(|nth| shares(*nth)).count() as u64 * fleet.stores[store as usize].size
    });
    forced.sum::<u64>().max(over)
}

/// The schedule's length, each wave as long as its largest copy; what the busiest link carries in one direction; and what no schedule
/// of waves is shorter than: its nth longest wave carries at least what is nth largest on any one link (docs/placement.md).
fn lengths(fleet: &Fleet, before: &Layout, outcome: &Outcome) -> (u64, u64, u64) {
    let mut waves = vec![0u64; outcome.waves.last().map_or(0, |last| *last as usize + 1)];
    let mut links: Vec<Vec<u64>> = vec![Vec::new(); 2 * fleet.hosts.len()];
    for (one, wave) in outcome.moves.iter().zip(&outcome.waves).filter(|(one, _)| one.to != NOWHERE) {
        let size = fleet.stores[one.store as usize].size;
        waves[*wave as usize] = waves[*wave as usize].max(size);
        let from = if one.from == NOWHERE { before.master(fleet, one.store) } else { one.from };
        if from != NOWHERE {
            links[2 * from as usize].push(size);
        }
        links[2 * one.to as usize + 1].push(size);
    }
    let mut nth: Vec<u64> = Vec::new();
    for link in &mut links {
        link.sort_unstable_by(|a, b| b.cmp(a));
        nth.resize(nth.len().max(link.len()), 0);
        nth.iter_mut().zip(link).for_each(|(most, size)| *most = (*most).max(*size));
    }
    let busiest = links.iter().map(|link| link.iter().sum()).max().unwrap_or(0);
    (waves.iter().sum(), busiest, nth.iter().sum())
}
