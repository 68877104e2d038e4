//! How much each aim of placement weighs beside the others.

use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

/// Weights of what placement aims at. A policy without them meets the aims in their order; with them the plan with the lowest
/// sum is taken, and of a rebalancing none that is no lower than doing nothing. Where no copy moves, and only who leads is chosen, as in a
/// drain or a failover, `survivor` and `masters` decide; the others are the same whatever is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Weights {
    /// A rack or site that could not be lost: a store would have no copy left, or there would be no room for what was there.
    pub domain: u16,
    /// A master more on the worst survivor of a host's loss than any layout has to have.
    pub survivor: u16,
    /// A master more on the fullest host than any layout has to have.
    pub masters: u16,
    /// One per cent of bytes on the fullest host above its fair share.
    pub bytes: u16,
    /// One per cent of all bytes copied.
    pub moved: u16,
}
