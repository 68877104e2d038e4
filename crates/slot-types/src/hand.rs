//! A master that a person started at its machine while there was no coordinator to order it (R19).
//!
//! What always holds: a start by hand invents no epoch; it makes the same copy master again at the epoch that its own
//! Promote was done at, and it is in the ledger, with a name, before anything is started. What it means is judged on contact:
//! adopted if nothing higher was committed, else a loss case tells of it.

use crate::ids::*;
use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};
use std::fmt;

/// How many starts of one copy a ledger keeps; their numbers tell when older ones are missing.
pub const HAND_STARTS_KEPT: usize = 16;
/// The longest reason kept, in bytes.
pub const HAND_REASON_MAX: usize = 1_024;

/// One start by hand, as the ledger keeps it.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct HandStart {
    /// From 1, per copy: with the store and its epoch it names the branch.
    pub number: u32,
    /// The epoch: that of the copy's last finished Promote.
    pub epoch: Epoch,
    /// The boot in which it was asked for.
    pub boot: BootId,
    /// Who, as that person says.
    pub by: OperatorName,
    /// The user on that machine, as its kernel says.
    pub uid: u32,
    /// Why.
    pub reason: String,
    /// When, by that machine's clock; for display.
    pub wall: WallTime,
    /// What came of it.
    pub state: HandState,
}

/// What came of a start by hand.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub enum HandState {
    /// Recorded, before its effect; whether it had one is not known.
    Asked,
    /// The engine said that it is master.
    Serving,
    /// It never became master by it.
    Failed(String),
}

impl HandStart {
    /// The branch's name, `store23@4+1`: what may have been acknowledged at that epoch since that start.
    pub fn branch(&self, store: &StoreName) -> String {
        format!("{store}@{}+{}", self.epoch, self.number)
    }
}

impl fmt::Display for HandState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asked => f.write_str("not known to have come up"),
            Self::Serving => f.write_str("serving"),
            Self::Failed(why) => write!(f, "not started: {why}"),
        }
    }
}
