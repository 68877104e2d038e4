//! What was asked for and is not so in the end.
//!
//! What always holds: it is counted from where the copies are then, whatever the planner says it did; while anything is left, the command
//! does not end as done.

use crate::failure::Failure;
use crate::offline::Loaded;
use crate::text::layout::{count, wrap};
use serde::Serialize;
use slot_planner::layout::{Fleet, Layout, NOWHERE};

/// So many are named; JSON has all of them.
const NAMES_MAX: usize = 20;

/// What a plan is asked to reach, as far as it can be seen in a layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// No masters on these hosts; with `empty`, no copies either.
    Drained {
        /// Which.
        hosts: Vec<u32>,
        /// Copies too.
        empty: bool,
    },
    /// Every copy that a store asks for has a place.
    Placed,
    /// As good as it gets.
    Even,
}

/// A copy that is not as it was asked to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Left {
    /// Of which store.
    pub store: String,
    /// Where it still is; null for one that is missing.
    pub host: Option<String>,
    /// `master`, `copy` or `missing`.
    pub what: &'static str,
}

impl Left {
    fn text(&self) -> String {
        match (&self.host, self.what) {
            (Some(host), "master") => format!("{} is led from {host}", self.store),
            (Some(host), _) => format!("{} is on {host}", self.store),
            (None, _) => format!("{} lacks a copy", self.store),
        }
    }
}

/// What is left to do of it.
pub fn left(loaded: &Loaded, (fleet, layout): (&Fleet, &Layout), asked: &Asked) -> Vec<Left> {
    let mut found = Vec::new();
    for number in 0..fleet.stores.len() as u32 {
        let copies = layout.copies(fleet, number);
        let store = || loaded.store(number).to_owned();
        match asked {
            Asked::Even => {}
            Asked::Drained { hosts, empty } => {
                let what = if *empty { "copy" } else { "master" };
                let looked_at = if *empty { copies } else { &copies[..copies.len().min(1)] };
                let on = looked_at.iter().filter(|host| hosts.contains(host));
                found.extend(on.map(|host| Left { store: store(), host: Some(loaded.host(*host).to_owned()), what }));
            }
            Asked::Placed => {
                let live = |host: &&u32| **host != NOWHERE && fleet.may_stay(**host);
                let missing = usize::from(fleet.stores[number as usize].copies)
                    .saturating_sub(copies.iter().filter(live).count());
                found.extend((0..missing).map(|_| Left { store: store(), host: None, what: "missing" }));
            }
        }
    }
    found
}

fn named(left: &[Left]) -> String {
    let mut named: Vec<String> = left.iter().take(NAMES_MAX).map(Left::text).collect();
    if left.len() > NAMES_MAX {
        named.push(format!("and {} more (--json FILE names all)", left.len() - NAMES_MAX));
    }
    named.join(", ")
}

/// As it is printed, if there is any.
pub fn text(left: &[Left]) -> String {
    match left.len() as u64 {
        0 => String::new(),
        n => wrap("not done     ", &format!("{}: {}", count(n, "copy"), named(left))),
    }
}

/// That it was not done.
pub fn failure(operation: &str, subject: &str, left: &[Left]) -> Failure {
    let is = if left.len() == 1 { "is" } else { "are" };
    let cause = format!("{} {is} not as was asked: {}", count(left.len() as u64, "copy"), named(left));
    let next = "what was printed and written is as far as it goes: bring a host back, make room, or ask for less";
    Failure::new(operation, subject, cause, next)
}
