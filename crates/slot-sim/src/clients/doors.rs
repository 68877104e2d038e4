//! Front ends as clients see them.
//!
//! What always holds: where there are front ends, every second client comes through one and is told nothing but what its proxy
//! has read; whoever is connected already stays connected.

use slot_types::ids::*;
use std::collections::BTreeMap;

/// Where a front end sends whoever comes, by store.
pub type Door = BTreeMap<StoreName, Line>;

/// A store's line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The slot.
    pub slot: SlotId,
    /// The epoch.
    pub epoch: Epoch,
    /// New connections are held.
    pub moving: bool,
}

/// All front ends.
#[derive(Default)]
pub(super) struct Doors(Vec<Door>);

impl Doors {
    pub fn set(&mut self, number: usize, door: Door) {
        if self.0.len() <= number {
            self.0.resize(number + 1, Door::default());
        }
        self.0[number] = door;
    }

    /// Whether a client comes through a front end.
    pub fn has(&self, client: usize) -> bool {
        !self.0.is_empty() && client % 2 == 1
    }

    /// What the client's front end shows of a store; `None` for whoever comes through none.
    pub fn of(&self, client: usize, store: &StoreName) -> Option<Option<&Line>> {
        let number = (client / 2).checked_rem(self.0.len())?;
        self.0.get(number).filter(|_| self.has(client)).map(|door| door.get(store))
    }
}
