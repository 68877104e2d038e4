//! `capacity`.

use super::CannotAnswer;
use crate::args::{self, Survive};
use crate::offline::Loaded;
use serde::Serialize;
use slot_planner::layout::capacity::{self, last_copies};
use slot_planner::layout::room::{self, Limit};
use slot_planner::layout::{HOST, RACK, Store};
use std::collections::BTreeMap;

/// How many more stores fit.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Capacity {
    /// Of this size.
    pub size_bytes: u64,
    /// With so many copies each.
    pub copies: u8,
    /// What two copies may not share: `host` or `rack`.
    pub apart: &'static str,
    /// What may still be lost: `host`, `rack` or `nothing`.
    pub survive: &'static str,
    /// So many fit: a placement was made, and every loss was rebuilt on what is left.
    pub fits: u32,
    /// No placement has more.
    pub at_most: u32,
    /// So many new stores were placed together, as many being small beside the room; 1 if each was placed by itself.
    pub together: u32,
    /// What stands in the way of one more, or of so many more as were placed together: `places`, `loss` or `last-copies`.
    pub limit: &'static str,
    /// Whether what is there now survives every such loss.
    pub safe: bool,
    /// The loss that could not be rebuilt; null when there is no place.
    pub loss: Option<String>,
    /// Stores that are there now of which that loss takes the last copies.
    pub last_copies: Vec<String>,
}

/// What most stores have; of equals the larger.
fn most(stores: &[Store], of: impl Fn(&Store) -> u8) -> Option<u8> {
    let mut counts: BTreeMap<u8, usize> = BTreeMap::new();
    stores.iter().for_each(|store| *counts.entry(of(store)).or_default() += 1);
    counts.into_iter().max_by_key(|(value, count)| (*count, *value)).map(|(value, _)| value)
}

/// Answers.
pub fn capacity(loaded: &Loaded, ask: &args::Ask) -> Result<Capacity, CannotAnswer> {
    let stores = &loaded.fleet.stores;
    let largest = stores.iter().map(|store| store.size).max();
    let (size, copies) = match (ask.size.or(largest), ask.copies.or(most(stores, |store| store.copies))) {
        (Some(size), Some(copies)) => (size, copies),
        (size, copies) => return Err(CannotAnswer::NoStore { size: size.is_none(), copies: copies.is_none() }),
    };
    let named = loaded.racks.len() > 1;
    let level = most(stores, |store| store.level).unwrap_or(if named { RACK } else { HOST });
    let (survive, survived) = match ask.survive {
        Survive::Host => (Some(HOST), "host"),
        Survive::Rack => (Some(RACK), "rack"),
        Survive::Nothing => (None, "nothing"),
    };
    let asked = room::Ask { size, copies, level, survive };
    let (found, together) = capacity::capacity(&loaded.fleet, &loaded.layout, &asked);
    let name = |domain: u32| match survive {
        Some(RACK) => loaded.racks.get(domain as usize).map_or("a host in no rack", String::as_str).to_owned(),
        _ => loaded.host(domain).to_owned(),
    };
    let (limit, loss, last) = match (found.limit, survive) {
        (Limit::Places, _) => ("places", None, Vec::new()),
        (Limit::Loss { domain }, level) => {
            let last = last_copies(&loaded.fleet, &loaded.layout, level.unwrap_or(HOST), domain);
            let last: Vec<String> = last.into_iter().map(|store| loaded.store(store).to_owned()).collect();
            (if last.is_empty() { "loss" } else { "last-copies" }, Some(name(domain)), last)
        }
    };
    let apart = if level == HOST { "host" } else { "rack" };
    Ok(Capacity {
        size_bytes: size,
        copies,
        apart,
        survive: survived,
        fits: found.fits,
        at_most: found.at_most,
        together,
        limit,
        safe: found.safe,
        loss,
        last_copies: last,
    })
}
