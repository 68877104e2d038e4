//! Broken fleets that are known to be mendable: made by walking backwards from a whole one.
//!
//! What always holds: each step backwards is one that may be carried out forwards, so the steps in reverse mend the fleet wholly. A copy
//! goes back to where it may not be, or may, any number of times; hosts become overfull by what goes back to them.

use crate::fleets::Dice;
use slot_planner::layout::*;

/// Six to twenty-four hosts of unequal room in racks and sites, some draining or leaving; stores of one to three copies of unequal sizes,
/// apart by host, rack or site; some pinned, some kept away from hosts. With the way that mends it.
pub fn walked(dice: &mut Dice) -> (Fleet, Layout, Outcome) {
    let (mut fleet, whole) = whole(dice);
    let (mut now, mut moves) = (whole.clone(), Vec::new());
    let steps = 20 + dice.below(4) * 40;
    for _ in 0..steps * 12 {
        if moves.len() >= steps as usize {
            break;
        }
        moves.extend(step_back(&mut fleet, &mut now, dice));
    }
    moves.reverse();
    let waves = (0..moves.len() as u32).collect();
    let bytes = moves.iter().map(|one| fleet.stores[one.store as usize].size).sum();
    let (was, is) = (figures(&fleet, &now), figures(&fleet, &whole));
    (fleet, now, Outcome { layout: whole, moves, waves, before: was, after: is, bytes })
}

/// A fleet with nothing broken, and little room.
fn whole(dice: &mut Dice) -> (Fleet, Layout) {
    let (hosts, sites) = (6 + dice.below(19), 2 + dice.below(2));
    let racks = sites * (1 + dice.below(3));
    let mut fleet = Fleet::default();
    for host in 0..hosts {
        let rack = host % racks;
        let mut host = Host::new(0, 0).within(&[rack, rack % sites]);
        host.state = match dice.below(14) {
            0 => State::Leaving,
            1 => State::Draining,
            _ => State::Active,
        };
        fleet.hosts.push(host);
    }
    let (skewed, wide) = (dice.below(2) == 0, dice.below(3) == 0);
    let mut rows: Vec<(Store, Vec<u32>)> = Vec::new();
    for _ in 0..hosts * (2 + dice.below(3)) {
        let size = 3 + u64::from(if skewed { dice.below(8) * dice.below(8) } else { dice.below(40) });
        let copies = if wide { 1 + dice.below(3) } else { 1 + dice.below(9).div_ceil(4).min(2) } as u8;
        let store = Store { size, load: 1, copies, level: dice.below(5).saturating_sub(2) as u8 };
        let mut at: Vec<u32> = Vec::new();
        for _ in 0..200 {
            let host = dice.below(hosts);
            let on = fleet.hosts[host as usize].is_active();
            if on && at.len() < usize::from(copies) && at.iter().all(|other| !fleet.share(store.level, *other, host)) {
                at.push(host);
            }
        }
        if at.len() == usize::from(copies) {
            rows.push((store, at));
        }
    }
    let whole = Layout::of(&mut fleet, rows.iter().map(|(store, at)| (*store, at.as_slice())));
    let (tally, room) = (Tally::without_pairs(&fleet, &whole), 4 + dice.below(48));
    for (number, host) in fleet.hosts.iter_mut().enumerate() {
        // Unequal: some take what all the others have no room for.
        let spare = if dice.below(6) == 0 { 3 * room } else { room };
        host.bytes = tally.bytes[number] + u64::from(dice.below(spare));
        host.slots = tally.slots[number] + dice.below(4);
    }
    for store in 0..rows.len() as u32 {
        let copies = whole.copies(&fleet, store);
        match dice.below(12) {
            0 => fleet.pins.push((store, copies[dice.below(copies.len() as u32) as usize])),
            1 => {
                let host = dice.below(hosts);
                if !copies.contains(&host) {
                    fleet.exclusions.push((store, host));
                }
            }
            _ => {}
        }
    }
    (fleet, whole)
}

/// The reverse of one step that may be carried out.
fn step_back(fleet: &mut Fleet, now: &mut Layout, dice: &mut Dice) -> Option<Move> {
    let store = dice.below(fleet.stores.len() as u32);
    let range = fleet.range(store);
    let copy = range.start + dice.below(range.len() as u32) as usize;
    let (to, from) = (now.at[copy], dice.below(fleet.hosts.len() as u32));
    // Without the copy: what its host would then have to take besides all that is there.
    let mut without = now.clone();
    without.at[copy] = NOWHERE;
    let tally = Tally::without_pairs(fleet, &without);
    let comes = may_hold(fleet, &tally, without.copies(fleet, store), store, NOWHERE, to).is_ok();
    let others: Vec<u32> = now.at[range.clone()].to_vec();
    let (spec, host) = (fleet.stores[store as usize], &fleet.hosts[from as usize]);
    let fits = tally.bytes[from as usize] + spec.size <= host.bytes && tally.slots[from as usize] < host.slots;
    let apart = others.iter().filter(|other| **other != to).all(|other| !fleet.share(spec.level, *other, from));
    let pinned = fleet.is_pinned(store, from) || fleet.is_pinned(store, to);
    let other_readable = others.iter().any(|other| *other != to && fleet.hosts[*other as usize].is_readable());
    if !comes || others.contains(&from) || pinned || !(host.is_readable() || other_readable) {
        return None;
    }
    let odd = !fits || !apart || !host.is_active() || fleet.is_excluded(store, from);
    // Most steps back break nothing more: they only take the room that others need.
    if odd && dice.below(3) > 0 || !fits && dice.below(4) > 0 {
        return None;
    }
    now.at[copy] = from;
    Some(Move { store, from, to, master: if copy == range.start { to } else { NOWHERE } })
}
