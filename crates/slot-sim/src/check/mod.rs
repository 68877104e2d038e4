//! Checkers: what must hold of a world, whatever happened in it.
//!
//! What always holds: a checker looks at bytes, records, acknowledgements and committed log entries and keeps a small
//! model of its own; it never asks the code under test whether all is well. [`Witness`] is told everything by the world
//! as it happens ([`Seen`]), in the order in which it happens, and compares only what changed. Text is made only for a
//! violation. Its ids are those of the invariants (S1…S16, L1–L3), of the rules (R1…R29) where no invariant reaches, and
//! `P12` for durable records that a disk gave back incomplete without having been touched.
//!
//! Where committed entries are concerned the witness applies each of them once to a state of its own, to see every single
//! transition; whether that transition was lawful is judged by its own rules, and the nodes' states are compared with it.
//! Its knowledge of a coordinator's log comes from the batches the node wanted written, of what is durable from the batches
//! the disk has taken, and of what is applied from the node's state.

mod acks;
mod admission;
mod approvals;
mod audit;
mod by_hand;
mod commits;
mod control;
mod end;
mod engines;
mod first;
mod front_ends;
mod holds;
mod joins;
mod ledgers;
mod looks;
mod pauses;
mod places;
pub(crate) mod power;
mod raft;
mod restore;
mod retire;
mod roles;
mod tasks;
#[cfg(test)]
mod tests;
mod witness;

pub use end::{Heal, liveness};
pub use first::{acknowledged_are_there_once, one_master, records, replicas_agree, single_writer};
pub use witness::{End, Seen, Violation, Witness};

/// The most violations that are kept: the first ones tell most.
const VIOLATIONS_MAX: usize = 32;

/// Where checkers put what they find.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub now: u64,
    pub list: Vec<Violation>,
}

impl Found {
    /// Something that must never be.
    pub fn say(&mut self, invariant: &'static str, text: String) {
        if self.list.len() < VIOLATIONS_MAX {
            self.list.push(Violation { invariant, at_ms: self.now, text });
        }
    }
}
