//! Why a copy that has to leave its host fits on no other one.
//!
//! What always holds: every host is judged by [`may_hold`] as things are before anything moves, hosts in the states that the goal asks for; that
//! room is what is missing is said only where some host may have the copy by all other rules.

use super::goal::Goal;
use super::model::*;
use super::rules::{WhyNotHere, may_hold};

/// What stands in the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Nowhere {
    /// No host may have it, whatever room there is: each active one, and why.
    Rules(Vec<(u32, WhyNotHere)>),
    /// Hosts may have it and are too full: the bytes that are missing on the one that misses least; 0 where it is slots.
    Full {
        /// Bytes.
        short: u64,
    },
    /// Alone it has a place, and not with all the others that have to leave.
    Together,
}

/// The fleet with hosts in the states that a goal asks for.
pub fn in_states(fleet: &Fleet, goal: &Goal) -> Fleet {
    let mut fleet = fleet.clone();
    if let Goal::Drain { hosts, empty } = goal {
        for number in hosts {
            if let Some(host) = fleet.hosts.get_mut(*number as usize).filter(|host| host.is_readable()) {
                host.state = if *empty { State::Leaving } else { State::Draining };
            }
        }
    }
    fleet
}

/// Why no other host takes a copy of a store, in a fleet as [`in_states`] gives it.
pub fn nowhere(fleet: &Fleet, layout: &Layout, tally: &Tally, store: u32) -> Nowhere {
    let copies = layout.copies(fleet, store);
    // A copy that has to leave as well stands in nobody's way.
    let stays: Vec<u32> = copies.iter().copied().filter(|host| *host != NOWHERE && fleet.may_stay(*host)).collect();
    let (mut rules, mut short, mut fits) = (Vec::new(), None, false);
    for host in fleet.active() {
        match may_hold(fleet, tally, &stays, store, NOWHERE, host) {
            Ok(()) => fits = true,
            Err(WhyNotHere::Bytes { short: more }) => short = Some(short.map_or(more, |least: u64| least.min(more))),
            Err(WhyNotHere::Slots) => short = Some(short.unwrap_or(0)),
            Err(why) => rules.push((host, why)),
        }
    }
    match (fits, short) {
        (true, _) => Nowhere::Together,
        (false, Some(short)) => Nowhere::Full { short },
        (false, None) => Nowhere::Rules(rules),
    }
}
