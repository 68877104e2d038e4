//! A log entry: a proposal, and which life of which node proposed it.
//!
//! What always holds: `(life, counter)` is never used twice, so a node recognises its own proposal when it is committed,
//! and never takes another node's, or its own from before a restart, for it.

use borsh::{BorshDeserialize, BorshSerialize};
use slot_machine::command::Proposal;
use slot_types::codec::Versioned;

/// What the bytes of a log entry say.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Entry {
    /// Drawn at random at every start of a process.
    pub life: [u8; 16],
    /// Counts that life's proposals.
    pub counter: u64,
    /// The command and its stamps.
    pub proposal: Proposal,
}

impl Versioned for Entry {
    const NAME: &'static str = "log entry";
    const VERSION: u16 = 1;
}
