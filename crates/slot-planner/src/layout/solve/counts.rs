//! Hosts with so few copies that they cannot have their share of masters.
//!
//! What always holds: what is moved here is on its way already, so it costs nothing more, unless a host is full of copies so
//! large that a few of its own have to make room.

use super::board::Board;
use crate::layout::model::*;
use std::cmp::Reverse;

/// Copies beyond its share of masters that leave a host a choice of which to lead.
const MARGIN: u32 = 4;

/// Gives every host enough copies for its share of masters, as far as room allows.
pub(super) fn even(board: &mut Board<'_>, only_to: &[bool]) {
    let needs = |board: &Board<'_>, host: u32| board.aims.masters[host as usize] + MARGIN;
    let poor: Vec<u32> = (0..board.slots.len() as u32)
        .filter(|host| board.fleet.hosts[*host as usize].is_active() && (only_to.is_empty() || only_to[*host as usize]))
        .filter(|host| board.slots[*host as usize] < needs(board, *host))
        .collect();
    if poor.is_empty() {
        return;
    }
    let mut moved: Vec<u32> = (0..board.at.len() as u32)
        .filter(|copy| board.at[*copy as usize] != NOWHERE && board.at[*copy as usize] != board.origin[*copy as usize])
        .collect();
    moved.sort_by_key(|copy| (board.size(*copy), *copy));
    for host in poor {
        let (least, mut nth) = (needs(board, host), 0);
        while board.slots[host as usize] < least && nth < moved.len() {
            let copy = moved[nth];
            nth += 1;
            let from = board.at[copy as usize];
            if from == host || board.slots[from as usize] <= needs(board, from) {
                continue;
            }
            if i64::try_from(board.size(copy)).is_ok_and(|size| board.over(host) + size > 0) {
                // Nothing smaller comes: one of its own makes room.
                if !make_room(board, host) {
                    break;
                }
                continue;
            }
            board.lift(copy);
            let fits = board.may(copy, host) && board.thin(copy, host);
            board.put(copy, if fits { host } else { from });
        }
    }
}

/// Moves the largest copy that some other host has room for off a host.
fn make_room(board: &mut Board<'_>, host: u32) -> bool {
    let mut own: Vec<u32> =
        (0..board.at.len() as u32).filter(|copy| board.at[*copy as usize] == host && !board.is_pinned(*copy)).collect();
    own.sort_by_key(|copy| (Reverse(board.size(*copy)), *copy));
    let mean = board.aims.bytes[host as usize] / u64::from(board.aims.copies[host as usize].max(1));
    own.retain(|copy| board.size(*copy) > mean);
    for copy in own {
        let size = i64::try_from(board.size(copy)).unwrap_or(i64::MAX);
        board.lift(copy);
        let others = (0..board.slots.len() as u32).filter(|other| *other != host);
        let fits = others
            .filter(|other| board.over(*other) + size <= 0 && board.may(copy, *other) && board.thin(copy, *other));
        match fits.min_by_key(|other| (board.over(*other), *other)) {
            Some(other) => {
                board.put(copy, other);
                return true;
            }
            None => board.put(copy, host),
        }
    }
    false
}
