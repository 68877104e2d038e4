//! `risk`: every single loss, and the worst of any two hosts.

use crate::offline::Loaded;
use serde::Serialize;
use slot_planner::layout::loss::{Loss, Losses};
use slot_planner::layout::{NOWHERE, RACK};

/// Above so many hosts not every pair is looked at: their number grows as the square, and this takes about ten seconds.
const HOSTS_IN_PAIRS_MAX: usize = 1_000;

/// Every single loss and the worst pair, as the placement alone says it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Risk {
    /// Each host.
    pub hosts: Vec<LossRow>,
    /// Each rack; empty when none is named, or every host is in one of its own.
    pub racks: Vec<LossRow>,
    /// Any two hosts.
    pub pairs: Pairs,
}

/// One loss.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LossRow {
    /// Of what.
    pub lost: String,
    /// Stores without any copy left.
    pub stops: u32,
    /// Stores that had more and have one copy left.
    pub single: u32,
    /// Masters that go to another host.
    pub moves: u32,
    /// The fullest host then; null when none is left.
    pub fullest: Option<Full>,
}

/// A host and the load it would have.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Full {
    /// Which.
    pub host: String,
    /// Load of its masters.
    pub load: u64,
    /// The same over its weight, 1 being ordinary: what is compared.
    pub load_over_weight: f64,
}

/// Any two hosts at once.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Pairs {
    /// How many pairs were looked at: all there are, or none.
    pub looked_at: u64,
    /// The worst; null when none was looked at.
    pub worst: Option<PairRow>,
    /// Why none was looked at; null when all were.
    pub not_looked: Option<String>,
}

/// Two hosts at once.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PairRow {
    /// Which.
    pub hosts: [String; 2],
    /// Stores without any copy left.
    pub stops: u32,
    /// Stores that had more and have one copy left.
    pub single: u32,
    /// Masters that go to another host.
    pub moves: u32,
    /// The fullest host then; null when none is left.
    pub fullest: Option<Full>,
}

impl Risk {
    /// The worst of some losses; of equals the first.
    pub fn worst(rows: &[LossRow]) -> Option<&LossRow> {
        let load = |row: &LossRow| row.fullest.as_ref().map_or(0.0, |full| full.load_over_weight);
        let worse = |a: &LossRow, b: &LossRow| {
            (a.stops.cmp(&b.stops)).then(load(a).total_cmp(&load(b))).then(a.single.cmp(&b.single))
        };
        rows.iter().rev().max_by(|a, b| worse(a, b))
    }
}

fn fullest(loaded: &Loaded, loss: &Loss) -> Option<Full> {
    let full = loss.fullest;
    let load_over_weight = full.level as f64 / 1e3;
    (full.host != NOWHERE).then(|| Full { host: loaded.host(full.host).to_owned(), load: full.load, load_over_weight })
}

/// Looks at every single loss, and at every pair.
pub fn risk(loaded: &Loaded) -> Risk {
    let mut losses = Losses::of(&loaded.fleet, &loaded.layout);
    let row = |lost: &str, loss: Loss| LossRow {
        lost: lost.to_owned(),
        stops: loss.stopped,
        single: loss.on_one_copy,
        moves: loss.moved,
        fullest: fullest(loaded, &loss),
    };
    let hosts: Vec<LossRow> = losses.of_each().into_iter().map(|(host, loss)| row(loaded.host(host), loss)).collect();
    let racks: Vec<LossRow> =
        losses.of_domains(RACK).into_iter().map(|(rack, loss)| row(&loaded.racks[rack as usize], loss)).collect();
    let racks = if racks.len() == hosts.len() { Vec::new() } else { racks };
    Risk { hosts, racks, pairs: pairs(loaded) }
}

/// Looks at every pair of hosts.
pub fn pairs(loaded: &Loaded) -> Pairs {
    let active = loaded.fleet.active().count();
    if active > HOSTS_IN_PAIRS_MAX {
        let not_looked = Some(format!("{active} hosts make too many pairs: at most {HOSTS_IN_PAIRS_MAX} hosts do not"));
        return Pairs { looked_at: 0, worst: None, not_looked };
    }
    let found = Losses::of(&loaded.fleet, &loaded.layout).worst_pair();
    let worst = found.map(|((a, b), loss)| PairRow {
        hosts: [a, b].map(|host| loaded.host(host).to_owned()),
        stops: loss.stopped,
        single: loss.on_one_copy,
        moves: loss.moved,
        fullest: fullest(loaded, &loss),
    });
    Pairs { looked_at: (active * active.saturating_sub(1) / 2) as u64, worst, not_looked: None }
}
