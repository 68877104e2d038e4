//! Where copies without a place go: the largest first, each to the host whose room for each copy it still wants is largest.
//!
//! What always holds: a host's hard rules are kept; what evens out only comes back to where it was when it fits nowhere
//! else; what fits nowhere is named, and left where it was.

use super::board::Board;
use crate::layout::model::*;
use std::cmp::Reverse;
use std::collections::BTreeSet;

/// Hosts that are looked at in the order of what they want before they are looked at in the order of room.
const WANTING_TRIED: usize = 48;

/// Places them. Answers the stores of what fits nowhere.
pub(super) fn all(board: &mut Board<'_>, only_to: &[bool], moving: &mut [u32]) -> Vec<u32> {
    let mut yard = Yard::of(board, only_to);
    moving.sort_by_key(|copy| (Reverse(board.size(*copy)), board.at.len() as u32 - *copy));
    let mut stuck: Vec<u32> = Vec::new();
    for &copy in moving.iter() {
        let found = yard
            .wanting(board, copy)
            .or_else(|| yard.roomy(board, copy, true))
            .or_else(|| yard.roomy(board, copy, false))
            .or_else(|| stays(board, copy))
            .or_else(|| yard.any(board, copy))
            .or_else(|| yard.exchange(board, copy));
        match found {
            Some(host) => {
                board.put(copy, host);
                yard.note(board, host);
            }
            None => stuck.push(board.owner[copy as usize]),
        }
    }
    // A store is moved as it should be or stays as it was.
    for copy in stuck.iter().flat_map(|store| board.fleet.range(*store)) {
        if board.at[copy] != NOWHERE {
            board.lift(copy as u32);
        }
        if board.origin[copy] != NOWHERE {
            board.put(copy as u32, board.origin[copy]);
        }
    }
    stuck
}

/// Where a copy was, if it may be there.
fn stays(board: &Board<'_>, copy: u32) -> Option<u32> {
    let home = board.origin[copy as usize];
    let fits = |home: u32| board.bytes[home as usize] + board.size(copy) <= board.fleet.hosts[home as usize].bytes;
    (home != NOWHERE && board.may(copy, home) && fits(home)).then_some(home)
}

/// Hosts in order.
struct Yard {
    open: Vec<bool>,
    /// (room for each copy that is still wanted, host).
    wanting: BTreeSet<(u64, Reverse<u32>)>,
    /// (room, host).
    roomy: BTreeSet<(u64, Reverse<u32>)>,
    /// What stands in the sets.
    noted: Vec<(u64, u64)>,
}

impl Yard {
    fn of(board: &Board<'_>, only_to: &[bool]) -> Yard {
        let hosts = board.fleet.hosts.len();
        let mut yard =
            Yard { open: vec![false; hosts], wanting: BTreeSet::new(), roomy: BTreeSet::new(), noted: Vec::new() };
        for host in 0..hosts {
            let named = only_to.is_empty() || only_to[host];
            yard.open[host] = named && board.fleet.hosts[host].is_active();
            yard.noted.push(Yard::keys(board, host as u32));
            if yard.open[host] {
                let (each, room) = yard.noted[host];
                yard.wanting.insert((each, Reverse(host as u32)));
                yard.roomy.insert((room, Reverse(host as u32)));
            }
        }
        yard
    }
    fn keys(board: &Board<'_>, host: u32) -> (u64, u64) {
        let room = u64::try_from(-board.over(host)).unwrap_or(0);
        let wants = board.aims.copies[host as usize].saturating_sub(board.slots[host as usize]).max(1);
        (room / u64::from(wants), room)
    }
    fn note(&mut self, board: &Board<'_>, host: u32) {
        if !self.open[host as usize] {
            return;
        }
        let (each, room) = self.noted[host as usize];
        self.wanting.remove(&(each, Reverse(host)));
        self.roomy.remove(&(room, Reverse(host)));
        let (each, room) = Yard::keys(board, host);
        self.wanting.insert((each, Reverse(host)));
        self.roomy.insert((room, Reverse(host)));
        self.noted[host as usize] = (each, room);
    }
    fn wanting(&self, board: &Board<'_>, copy: u32) -> Option<u32> {
        let size = board.size(copy);
        let hosts = self.wanting.iter().rev().take(WANTING_TRIED).map(|(_, Reverse(host))| *host);
        let fits = |host: &u32| self.noted[*host as usize].1 >= size;
        let mut able = hosts.filter(fits).filter(|host| board.may(copy, *host) && board.thin(copy, *host)).peekable();
        let first = able.peek().copied();
        // What takes no hand-over elsewhere comes first.
        able.find(|host| board.is_calm(copy, *host)).or(first)
    }
    fn roomy(&self, board: &Board<'_>, copy: u32, thin: bool) -> Option<u32> {
        let size = board.size(copy);
        let hosts = self.roomy.iter().rev().take_while(|(room, _)| *room >= size).map(|(_, Reverse(host))| *host);
        let mut hosts = hosts.filter(|host| board.may(copy, *host));
        if thin { hosts.find(|host| board.thin(copy, *host)) } else { hosts.next() }
    }
    /// The host that is then least full for its room, of those that can hold it at all.
    fn any(&self, board: &Board<'_>, copy: u32) -> Option<u32> {
        let size = board.size(copy);
        let room = |host: u32| board.fleet.hosts[host as usize].bytes;
        let hosts = (0..self.open.len() as u32).filter(|host| self.open[*host as usize]);
        let fits = hosts.filter(|host| board.bytes[*host as usize] + size <= room(*host));
        let fill = |host: u32| parts_of(board.bytes[host as usize] + size, room(host).max(1));
        // Of those that stay thin and of the others; what cannot be the best of its kind is not looked at further.
        let [mut thin, mut thick] = [None::<(u128, u32)>; 2];
        for key in fits.map(|host| (fill(host), host)) {
            if thin.is_some_and(|best| best < key) || !board.may(copy, key.1) {
                continue;
            }
            if board.thin(copy, key.1) {
                thin = Some(key);
            } else if thick.is_none_or(|best| key < best) {
                thick = Some(key);
            }
        }
        thin.or(thick).map(|(_, host)| host)
    }
    /// A host that has the room once one of the copies that already move is moved on from it.
    fn exchange(&mut self, board: &mut Board<'_>, copy: u32) -> Option<u32> {
        let size = board.size(copy);
        let moved: Vec<u32> = (0..board.at.len() as u32)
            .filter(|other| {
                board.at[*other as usize] != NOWHERE && board.at[*other as usize] != board.origin[*other as usize]
            })
            .collect();
        for other in moved {
            let host = board.lift(other);
            let limit = board.fleet.hosts[host as usize].bytes;
            if self.open[host as usize] && board.bytes[host as usize] + size <= limit && board.may(copy, host) {
                board.put(copy, host);
                let elsewhere = self.any(board, other);
                board.lift(copy);
                if let Some(there) = elsewhere {
                    board.put(other, there);
                    self.note(board, there);
                    return Some(host);
                }
            }
            board.put(other, host);
        }
        None
    }
}

/// So many millionths of what there is room for. Long division is for what is too large for the short one.
fn parts_of(bytes: u64, room: u64) -> u128 {
    match bytes.checked_mul(1_000_000) {
        Some(parts) => u128::from(parts / room),
        None => u128::from(bytes) * 1_000_000 / u128::from(room),
    }
}
