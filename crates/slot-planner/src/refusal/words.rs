//! Parts of sentences that refusals are made of.
//!
//! What always holds: words only; nothing is decided here.

use super::WhyNot;
use slot_types::cluster::LossState;
use slot_types::ids::*;
use std::collections::BTreeMap;

pub(super) fn places(why: &BTreeMap<HostName, WhyNot>) -> String {
    why.iter().map(|(host, why)| format!("\n    {host}: {why}")).collect()
}
pub(super) fn left_out(hosts: &BTreeMap<HostName, WhyNot>) -> String {
    hosts.iter().map(|(host, why)| format!("\n  {host} is left out: {why}")).collect()
}
pub(super) fn tried(all: bool) -> &'static str {
    if all { "" } else { "; of very many packings not all were tried" }
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
