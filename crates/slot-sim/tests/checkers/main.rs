//! Every checker fires on a bad history and is silent on a good one.
//!
//! What always holds: a bad history differs from a good one in one thing, and the test names the invariant that it breaks.

mod agents;
mod control;
mod ends;
mod engines;
mod raft;

use slot_sim::check::Witness;
use slot_types::ids::*;

pub(crate) fn host(n: u8) -> HostName {
    HostName::new(format!("h{n}")).unwrap()
}
pub(crate) fn slot(h: u8, n: u16) -> SlotId {
    SlotId::new(host(h), n)
}
pub(crate) fn store() -> StoreName {
    StoreName::new("store1").unwrap()
}
pub(crate) fn epoch(n: u64) -> Epoch {
    Epoch { generation: 0, n }
}
pub(crate) fn record(sequence: u64) -> RecordId {
    RecordId { client: ClientName::new("w1").unwrap(), sequence }
}

/// The invariants that were found broken, in order, each once.
pub(crate) fn broken(witness: &Witness) -> Vec<&'static str> {
    let mut all = Vec::new();
    for violation in witness.violations() {
        if !all.contains(&violation.invariant) {
            all.push(violation.invariant);
        }
    }
    all
}

#[track_caller]
pub(crate) fn breaks(witness: &Witness, invariant: &str) {
    assert!(broken(witness).contains(&invariant), "{invariant} is not said, but {:?}", witness.violations());
}

#[track_caller]
pub(crate) fn silent(witness: &Witness) {
    assert_eq!(witness.violations(), [], "nothing is wrong");
}
