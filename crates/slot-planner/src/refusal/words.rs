//! Parts of sentences that refusals are made of.
//!
//! What always holds: words only; nothing is decided here.

use super::{WhyNot, list};
use slot_types::cluster::LossState;
use slot_types::ids::*;
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn kept(hosts: &BTreeSet<HostName>, stores: &BTreeSet<StoreName>) -> String {
    match (hosts.is_empty(), stores.is_empty()) {
        (true, true) => String::new(),
        (false, true) => format!("; it leaves out {}, which stay", list(hosts)),
        (true, false) => format!("; it leaves out {}, which stay", list(stores)),
        (false, false) => format!("; it leaves out {} and {}, which stay", list(hosts), list(stores)),
    }
}
pub(super) fn gone(stores: &BTreeSet<StoreName>) -> String {
    let text = || format!("; it names {}, retired for good: take that out of the file", list(stores));
    if stores.is_empty() { String::new() } else { text() }
}
pub(super) fn places(why: &BTreeMap<HostName, WhyNot>) -> String {
    why.iter().map(|(host, why)| format!("\n    {host}: {why}")).collect()
}
pub(super) fn left_out(hosts: &BTreeMap<HostName, WhyNot>) -> String {
    hosts.iter().map(|(host, why)| format!("\n  {host} is left out: {why}")).collect()
}
pub(super) fn loss_state(state: &LossState) -> &'static str {
    match state {
        LossState::AwaitingReturn => "not listed yet",
        LossState::Listed => "listed",
        LossState::NothingStranded => "over: nothing was stranded",
        LossState::Reinjected { .. } => "reinjected already",
        LossState::Discarded { .. } => "discarded already",
    }
}
pub(super) fn loss_next(state: &LossState) -> &'static str {
    match state {
        LossState::AwaitingReturn => "switch its host on: its records are listed as soon as its agent is back",
        _ => "slotctl loss list shows what is open",
    }
}
