//! Which copies leave.
//!
//! What always holds: what is pinned stays; a host gives up no more than brings it to what it should have, but for the
//! smallest overshoot that copies' sizes allow; a copy that has to leave for another reason leaves from the fuller end.

use super::board::Board;
use crate::layout::model::*;
use std::cmp::Reverse;

/// Copies that break a rule where they are: in one domain with another, on a host they are kept away from.
pub(super) fn broken(board: &mut Board<'_>, moving: &mut Vec<u32>) {
    let fleet = board.fleet;
    let mut stores: Vec<u32> = (0..fleet.stores.len() as u32).filter(|store| is_broken(board, *store)).collect();
    stores.sort_by_key(|store| (Reverse(fleet.stores[*store as usize].size), *store));
    for store in stores {
        while let Some(copy) = worst_of(board, store) {
            leave(board, copy, moving);
        }
    }
}

fn is_broken(board: &Board<'_>, store: u32) -> bool {
    let range = board.fleet.range(store);
    let level = board.fleet.stores[store as usize].level;
    range.clone().any(|copy| {
        let host = board.at[copy];
        let later = board.at[copy + 1..range.end].iter();
        host != NOWHERE
            && (board.fleet.is_excluded(store, host)
                || later.into_iter().any(|other| *other != NOWHERE && board.fleet.share(level, host, *other)))
    })
}

/// The copy of a store that should leave first, of those that break a rule.
fn worst_of(board: &Board<'_>, store: u32) -> Option<u32> {
    let level = board.fleet.stores[store as usize].level;
    let copies = board.fleet.range(store).map(|copy| copy as u32).filter(|copy| board.at[*copy as usize] != NOWHERE);
    let breaks = |copy: &u32| {
        let host = board.at[*copy as usize];
        board.fleet.is_excluded(store, host) || board.siblings(*copy).any(|other| board.fleet.share(level, host, other))
    };
    let excluded = |copy: u32| board.fleet.is_excluded(store, board.at[copy as usize]);
    copies.filter(breaks).filter(|copy| !board.is_pinned(*copy)).max_by_key(|copy| {
        let over = board.over(board.at[*copy as usize]);
        // What its host gives up anyway counts up to the copy's size; of two that cost the same, the one whose role is no loss.
        let free = over.clamp(0, i64::try_from(board.size(*copy)).unwrap_or(i64::MAX));
        (excluded(*copy), free, is_spare(board, *copy), over, Reverse(*copy))
    })
}

/// Whether a copy's host would rather lose one of its role: masters while it has more than its share, else replicas.
fn is_spare(board: &Board<'_>, copy: u32) -> bool {
    let host = board.at[copy as usize] as usize;
    board.is_master(copy) == (board.load[host] > board.aims.load[host])
}

/// Takes a copy from its host.
fn leave(board: &mut Board<'_>, copy: u32, moving: &mut Vec<u32>) {
    let (load, leads) = (u64::from(board.store(copy).load), board.is_master(copy));
    let host = board.lift(copy) as usize;
    if leads {
        board.load[host] = board.load[host].saturating_sub(load);
    }
    moving.push(copy);
}

/// Copies of pairs of hosts that share more stores than the worst survivor's level allows: the smallest, unless one end
/// is too full anyway.
pub(super) fn too_close(board: &mut Board<'_>, moving: &mut Vec<u32>) {
    let mut found: Vec<(u32, u32, u64, u32)> = Vec::new();
    for (store, spec) in (0..).zip(&board.fleet.stores) {
        let range = board.fleet.range(store);
        for (nth, &a) in board.at[range.clone()].iter().enumerate() {
            for &b in &board.at[range.start + nth + 1..range.end] {
                if a != NOWHERE && b != NOWHERE && board.shared(a, b) > board.aims.shared {
                    found.push((a.min(b), a.max(b), spec.size, store));
                }
            }
        }
    }
    found.sort_unstable();
    for group in found.chunk_by(|x, y| (x.0, x.1) == (y.0, y.1)) {
        let (a, b) = (group[0].0, group[0].1);
        let end = |host: u32, store: u32| board_copy(board, host, store);
        let mut ends: Vec<(u32, u64, u32)> = Vec::new();
        for &(_, _, size, store) in group {
            ends.extend([a, b].into_iter().filter_map(|host| end(host, store).map(|copy| (host, size, copy))));
        }
        while board.shared(a, b) > board.aims.shared {
            let usable =
                ends.iter().filter(|(host, _, copy)| board.at[*copy as usize] == *host && !board.is_pinned(*copy));
            // What it costs beyond what its host gives up anyway.
            let cost = |host: u32, size: u64| size as i64 - board.over(host).clamp(0, size as i64);
            let best = usable
                .min_by_key(|(host, size, copy)| (cost(*host, *size), !is_spare(board, *copy), Reverse(*size), *copy));
            let Some((_, _, copy)) = best.copied() else { break };
            leave(board, copy, moving);
        }
    }
}

/// Bytes that have to move so that no two hosts share more stores than this, each pair for itself.
pub(super) fn forced_by_pairs(fleet: &Fleet, layout: &Layout, shared: u32) -> u64 {
    let mut all: Vec<(u32, u32, u64)> = Vec::new();
    for (store, spec) in (0..).zip(&fleet.stores) {
        let copies = layout.copies(fleet, store);
        for (nth, &a) in copies.iter().enumerate() {
            let later = copies[nth + 1..].iter().filter(|b| a != NOWHERE && **b != NOWHERE);
            all.extend(later.filter(|b| !fleet.share(spec.level, a, **b)).map(|b| (a.min(*b), a.max(*b), spec.size)));
        }
    }
    all.sort_unstable();
    let groups = all.chunk_by(|x, y| (x.0, x.1) == (y.0, y.1));
    let beyond = |group: &[(u32, u32, u64)]| group.len().saturating_sub(shared as usize);
    groups.map(|group| group[..beyond(group)].iter().map(|one| one.2).sum::<u64>()).sum()
}

fn board_copy(board: &Board<'_>, host: u32, store: u32) -> Option<u32> {
    board.fleet.range(store).find(|copy| board.at[*copy] == host).map(|copy| copy as u32)
}

/// Copies of hosts that have more bytes or copies than they should.
pub(super) fn too_full(board: &mut Board<'_>, moving: &mut Vec<u32>) {
    let by_host = board.by_host();
    for host in 0..board.fleet.hosts.len() as u32 {
        let spare_slots = board.fleet.hosts[host as usize].slots;
        if !board.fleet.hosts[host as usize].is_active() {
            continue;
        }
        let over_slots = board.slots[host as usize].saturating_sub(spare_slots);
        if board.over(host) <= 0 && over_slots == 0 {
            continue;
        }
        let mut copies: Vec<Candidate> = Vec::new();
        for &copy in by_host.of_host(host).iter().filter(|copy| !board.is_pinned(**copy)) {
            let beside = board.too_many_led(copy).unwrap_or(NOWHERE);
            copies.push(Candidate {
                size: board.size(copy),
                copy,
                leads: board.is_master(copy),
                beside,
                picked: false,
            });
        }
        copies.sort_by_key(|c| (c.size, c.copy));
        let excess = u64::try_from(board.over(host)).unwrap_or(0);
        let surplus = board.slots[host as usize].saturating_sub(board.aims.copies[host as usize]);
        let too_many = board.load[host as usize].saturating_sub(board.aims.load[host as usize]);
        pick(&mut copies, excess, surplus, too_many);
        for one in copies.iter().filter(|one| one.picked) {
            leave(board, one.copy, moving);
        }
        let still = board.slots[host as usize].saturating_sub(spare_slots) as usize;
        for one in copies.iter().filter(|one| !one.picked).take(still) {
            leave(board, one.copy, moving);
        }
    }
}

struct Candidate {
    size: u64,
    copy: u32,
    leads: bool,
    /// The other host, where one of the stores that the two share has to be handed over or to leave.
    beside: u32,
    picked: bool,
}

/// Picks copies of at least `excess` bytes together, with as little above it as exchanges of one for one allow. Sizes are
/// such that a host with more copies than its share gives up the surplus too; masters go first while there are too many.
fn pick(copies: &mut [Candidate], excess: u64, surplus: u32, too_many: u64) {
    let (mut left, mut surplus, mut too_many) = (excess, u64::from(surplus).max(1), too_many);
    loop {
        let want = (left / surplus).max(1);
        let fits = copies.partition_point(|c| c.size <= left);
        // What spares a hand-over may be half as far again from the size that is wanted.
        let away = |c: &Candidate| c.size.abs_diff(want).saturating_sub(if c.beside == NOWHERE { 0 } else { want / 2 });
        let free = || (0..fits).filter(|n| !copies[*n].picked);
        let role = too_many > 0;
        let of_role = free().filter(|n| copies[*n].leads == role);
        let Some(best) = of_role.min_by_key(|n| away(&copies[*n])).or_else(|| free().min_by_key(|n| away(&copies[*n])))
        else {
            break;
        };
        copies[best].picked = true;
        let beside = copies[best].beside;
        copies.iter_mut().filter(|c| c.beside == beside).for_each(|c| c.beside = NOWHERE);
        left -= copies[best].size;
        too_many = too_many.saturating_sub(u64::from(copies[best].leads));
        surplus = surplus.saturating_sub(1).max(1);
    }
    if left == 0 {
        return;
    }
    // Either one more, or a picked one exchanged for a larger one.
    let mut best: Option<(u64, Option<usize>, usize)> = None;
    let mut offer = |over: u64, out: Option<usize>, with: usize| {
        if best.is_none_or(|(least, _, _)| over < least) {
            best = Some((over, out, with));
        }
    };
    for with in (0..copies.len()).filter(|n| !copies[*n].picked) {
        if copies[with].size >= left {
            offer(copies[with].size - left, None, with);
        }
        for out in (0..copies.len()).filter(|n| copies[*n].picked) {
            if copies[with].size >= copies[out].size + left && (copies[with].leads == copies[out].leads) {
                offer(copies[with].size - copies[out].size - left, Some(out), with);
            }
        }
    }
    if let Some((_, out, with)) = best {
        copies[with].picked = true;
        if let Some(out) = out {
            copies[out].picked = false;
        }
    }
}
