//! Fleets to plan for: small random ones with everything a rule can be about, and larger uneven ones.

use proptest::prelude::*;
use slot_planner::layout::*;

/// Small fleets with different sizes, racks, states, pins and exclusions, and stores of one to four copies, some broken.
pub fn any_fleet() -> impl Strategy<Value = (Fleet, Layout)> {
    let host = (100u64..900, 4u32..14, 0u32..4, 500u32..2000, 0u8..12);
    let store = (5u64..90, 1u32..3, 1u8..4, 0u8..2, prop::collection::vec(0u32..10, 4));
    let pins = prop::collection::vec((0u32..12, 0u32..10), 0..3);
    (prop::collection::vec(host, 4..10), prop::collection::vec(store, 1..24), pins.clone(), pins).prop_map(
        |(hosts, stores, mut pins, mut exclusions)| {
            let mut fleet = Fleet::default();
            for (bytes, slots, rack, weight, state) in hosts {
                let mut host = Host::new(bytes, slots).within(&[rack]);
                host.weight = weight;
                host.state = match state {
                    0 => State::Down,
                    1 => State::Draining,
                    2 => State::Leaving,
                    _ => State::Active,
                };
                fleet.hosts.push(host);
            }
            let count = fleet.hosts.len() as u32;
            let mut room: Vec<(u64, u32)> = fleet.hosts.iter().map(|host| (host.bytes, host.slots)).collect();
            let mut rows: Vec<(Store, Vec<u32>)> = Vec::new();
            for (size, load, copies, level, mut at) in stores {
                at.iter_mut().for_each(|host| *host %= count);
                let mut seen = Vec::new();
                for host in at.into_iter().take(usize::from(copies)) {
                    let free = &mut room[host as usize];
                    if !seen.contains(&host) && free.0 >= size && free.1 > 0 {
                        *free = (free.0 - size, free.1 - 1);
                        seen.push(host);
                    }
                }
                rows.push((Store { size, load, copies, level }, seen));
            }
            let layout = Layout::of(&mut fleet, rows.iter().map(|(store, at)| (*store, at.as_slice())));
            for list in [&mut pins, &mut exclusions] {
                list.retain(|(store, host)| (*store as usize) < rows.len() && *host < count);
                list.sort_unstable();
                list.dedup();
            }
            (fleet.pins, fleet.exclusions) = (pins, exclusions);
            (fleet, layout)
        },
    )
}

/// Any goal, about hosts that are there.
pub fn any_goal() -> impl Strategy<Value = Goal> {
    let hosts = || prop::collection::btree_set(0u32..4, 1..3).prop_map(|set| set.into_iter().collect::<Vec<_>>());
    prop_oneof![
        Just(Goal::Rebalance),
        (hosts(), any::<bool>()).prop_map(|(hosts, empty)| Goal::Drain { hosts, empty }),
        hosts().prop_map(|hosts| Goal::Fill { hosts }),
        Just(Goal::Rebuild),
        Just(Goal::Place),
        Just(Goal::FailOver),
    ]
}

/// Hosts with very different numbers of stores, half full, in racks; pairs and sizes follow from arithmetic alone.
pub fn uneven(hosts: u32, racks: u32, each: u32) -> (Fleet, Layout) {
    let mut fleet = Fleet::default();
    let mut state = 7u64;
    let mut next = |below: u32| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) as u32) % below
    };
    let sizes: Vec<u64> = (0..hosts * each).map(|_| 5 + u64::from(next(10)) * u64::from(next(20))).collect();
    let room = sizes.iter().sum::<u64>() * 4 / u64::from(hosts);
    fleet.hosts.extend((0..hosts).map(|host| Host::new(room, u32::MAX).within(&[host % racks])));
    let rows: Vec<(Store, [u32; 2])> = sizes
        .iter()
        .map(|size| {
            // The lower numbers get more.
            let first = next(hosts).min(next(hosts));
            let second = (first + 1 + next(hosts - 1)) % hosts;
            (Store { size: *size, load: 1, copies: 2, level: RACK }, [first, second])
        })
        .collect();
    let layout = Layout::of(&mut fleet, rows.iter().map(|(store, at)| (*store, at.as_slice())));
    (fleet, layout)
}

/// The same numbers in every run.
pub struct Dice(pub u64);

impl Dice {
    /// A number below a bound.
    pub fn below(&mut self, bound: u32) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // The low bits of such a generator are poor, and its first numbers follow the seed.
        let mixed = (self.0 ^ (self.0 >> 32)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        ((mixed >> 33) as u32) % bound
    }
}

/// Three or four hosts and two to five stores of one or two copies, some broken, some tight: what the exact solver can judge.
pub fn tiny(dice: &mut Dice) -> (Fleet, Layout) {
    let mut fleet = Fleet::default();
    let tight = 8 + u64::from(dice.below(30));
    for _ in 0..3 + dice.below(2) {
        let mut host = Host::new(tight + u64::from(dice.below(12)), 2 + dice.below(5)).within(&[dice.below(3)]);
        host.state = match dice.below(14) {
            0 => State::Down,
            1 => State::Leaving,
            2 => State::Draining,
            _ => State::Active,
        };
        fleet.hosts.push(host);
    }
    let hosts = fleet.hosts.len() as u32;
    let mut room: Vec<(u64, u32)> = fleet.hosts.iter().map(|host| (host.bytes, host.slots)).collect();
    let mut rows: Vec<(Store, Vec<u32>)> = Vec::new();
    for _ in 0..2 + dice.below(4) {
        let copies = if dice.below(5) == 0 { 1 } else { 2 };
        let store = Store { size: 2 + u64::from(dice.below(10)), load: 1, copies, level: dice.below(2) as u8 };
        let mut at: Vec<u32> = Vec::new();
        for _ in 0..usize::from(copies) + dice.below(2) as usize {
            let host = dice.below(hosts);
            let free = &mut room[host as usize];
            if at.len() < usize::from(copies) && !at.contains(&host) && free.0 >= store.size && free.1 > 0 {
                *free = (free.0 - store.size, free.1 - 1);
                at.push(host);
            }
        }
        rows.push((store, at));
    }
    for list in [0, 1] {
        if dice.below(4) == 0 {
            let one = (dice.below(rows.len() as u32), dice.below(hosts));
            if list == 0 { fleet.pins.push(one) } else { fleet.exclusions.push(one) }
        }
    }
    let layout = Layout::of(&mut fleet, rows.iter().map(|(store, at)| (*store, at.as_slice())));
    (fleet, layout)
}

/// Six to twenty hosts, nearly full, whose copies were where they may be until some went elsewhere, half of them where they may not; and
/// the way back. Each store moves once, so what was free for a copy where it came from is free again when its turn comes.
pub fn disturbed(dice: &mut Dice) -> (Fleet, Layout, Outcome) {
    let (hosts, racks, room) = (6 + dice.below(15), 3 + dice.below(2), 8 + dice.below(40));
    let mut fleet = Fleet::default();
    fleet.hosts.extend((0..hosts).map(|host| Host::new(0, 0).within(&[host % racks])));
    let mut rows: Vec<(Store, Vec<u32>)> = Vec::new();
    for _ in 0..hosts * (2 + dice.below(3)) {
        let copies = 1 + dice.below(9).div_ceil(4) as u8;
        let store = Store { size: 3 + u64::from(dice.below(40)), load: 1, copies, level: dice.below(4).min(1) as u8 };
        let mut at: Vec<u32> = Vec::new();
        while at.len() < usize::from(copies) {
            let host = dice.below(hosts);
            if at.iter().all(|other| !fleet.share(store.level, *other, host)) {
                at.push(host);
            }
        }
        rows.push((store, at));
    }
    let whole = Layout::of(&mut fleet, rows.iter().map(|(store, at)| (*store, at.as_slice())));
    let tally = Tally::without_pairs(&fleet, &whole);
    for (number, host) in fleet.hosts.iter_mut().enumerate() {
        host.bytes = tally.bytes[number] + u64::from(dice.below(room));
        host.slots = tally.slots[number] + dice.below(4);
    }
    let (before, backwards) = disturb(&mut fleet, &whole, dice);
    let waves = (0..backwards.len() as u32).collect();
    let bytes = backwards.iter().map(|one| fleet.stores[one.store as usize].size).sum();
    let (was, is) = (figures(&fleet, &before), figures(&fleet, &whole));
    (fleet, before, Outcome { layout: whole, moves: backwards, waves, before: was, after: is, bytes })
}

fn disturb(fleet: &mut Fleet, whole: &Layout, dice: &mut Dice) -> (Layout, Vec<Move>) {
    let (mut now, mut backwards, mut moved) = (whole.clone(), Vec::new(), Vec::new());
    for _ in 0..400 {
        let (copy, to) = (dice.below(now.at.len() as u32) as usize, dice.below(fleet.hosts.len() as u32));
        let store =
            (0..fleet.stores.len() as u32).find(|store| fleet.range(*store).contains(&copy)).unwrap_or_default();
        let (spec, from, range) = (fleet.stores[store as usize], now.at[copy], fleet.range(store));
        let tally = Tally::without_pairs(fleet, &now);
        let fits = tally.bytes[to as usize] + spec.size <= fleet.hosts[to as usize].bytes
            && tally.slots[to as usize] < fleet.hosts[to as usize].slots;
        if moved.contains(&store) || now.at[range.clone()].contains(&to) || !fits {
            continue;
        }
        let apart =
            range.clone().filter(|other| *other != copy).all(|other| !fleet.share(spec.level, now.at[other], to));
        match dice.below(8) {
            0 if apart => fleet.exclusions.push((store, to)),
            1 | 2 if apart => {}
            _ if !apart => {}
            _ => continue,
        }
        moved.push(store);
        now.at[copy] = to;
        let master = if copy == range.start { from } else { NOWHERE };
        backwards.push(Move { store, from: to, to: from, master });
    }
    fleet.exclusions.sort_unstable();
    backwards.reverse();
    (now, backwards)
}
