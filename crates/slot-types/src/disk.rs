//! What disks have free, and what copies take of them.
//!
//! What always holds: what is not known is never counted as room or as the lack of it: `None` says that nobody knows; what a
//! copy takes is never less than what the file reserves for it, nor than what a whole copy of its store holds already.

use crate::cluster::{Cluster, CopyState, Store};
use crate::evidence::{CopyEvidence, Evidence, Seen};
use crate::ids::*;
use crate::render::size;
use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The file system that a host's copies lie on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Disk {
    /// Bytes that its agent may still write.
    pub free_bytes: u64,
    /// All of its bytes.
    pub total_bytes: u64,
}

impl Disk {
    /// What it has free beyond what stays free.
    pub fn beyond(&self, keep: KeepFree) -> u64 {
        self.free_bytes.saturating_sub(keep.of(self.total_bytes))
    }
}

impl fmt::Display for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} free", size(self.free_bytes), size(self.total_bytes))
    }
}

/// What no new copy may take of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub enum KeepFree {
    /// A part of all its bytes, in percent.
    Percent(u8),
    /// So many bytes.
    Bytes(u64),
}

impl KeepFree {
    /// Nothing is kept free.
    pub const NOTHING: Self = Self::Percent(0);

    /// Of a disk of this size.
    pub fn of(self, total_bytes: u64) -> u64 {
        match self {
            // Rounded up, and without overflow.
            Self::Percent(part) => {
                let (whole, rest) = (total_bytes / 100, total_bytes % 100);
                whole.saturating_mul(part.into()).saturating_add((rest * u64::from(part)).div_ceil(100))
            }
            Self::Bytes(bytes) => bytes,
        }
    }
}

impl Evidence {
    /// What a new copy of a store takes: what the file reserves for one, or what a copy that is there is seen to hold, if
    /// that is more.
    pub fn copy_bytes(&self, name: &StoreName, reserved: u64, store: Option<&Store>) -> u64 {
        let copies = store.into_iter().flat_map(|store| &store.copies).filter(|(_, copy)| copy.whole);
        let held = copies.filter_map(|(slot, copy)| {
            let (status, _) = self.last_status(slot)?;
            (status.store == *name && status.generation == copy.generation).then_some(status.bytes)
        });
        held.max().unwrap_or(0).max(reserved)
    }

    /// What a host's disk has to spare for copies that are not begun yet: what is free, without what stays free by policy and
    /// without what is still to come of those that are being built there. `None` when nobody knows.
    pub fn disk_to_spare(&self, cluster: &Cluster, host: &HostName) -> Option<u64> {
        let disk = self.hosts.get(host)?.disk.value()?;
        let to_come = cluster.stores.iter().flat_map(|(name, store)| {
            let begun = store
                .copies
                .iter()
                .filter(|(slot, copy)| slot.host == *host && !copy.whole && copy.state == CopyState::Building);
            begun.filter_map(move |(slot, _)| {
                let has = match self.copies.get(slot).and_then(Seen::value) {
                    // Its disk was replaced: it is begun anew, or not at all.
                    Some(CopyEvidence::Absent) => return None,
                    Some(CopyEvidence::Running(status)) => status.bytes,
                    _ => 0,
                };
                Some(self.copy_bytes(name, store.spec.size_bytes, Some(store)).saturating_sub(has))
            })
        });
        Some(disk.beyond(cluster.policy.copy_keep_free).saturating_sub(to_come.fold(0, u64::saturating_add)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stays_free_is_rounded_up_and_never_more_than_there_is_to_lose() {
        assert_eq!([0, 1, 150, 1_000].map(|total| KeepFree::Percent(10).of(total)), [0, 1, 15, 100]);
        assert_eq!(KeepFree::Percent(99).of(u64::MAX), u64::MAX / 100 * 99 + 15 * 99 / 100 + 1);
        let disk = Disk { free_bytes: 120, total_bytes: 1_000 };
        assert_eq!(disk.beyond(KeepFree::NOTHING), 120);
        assert_eq!(disk.beyond(KeepFree::Percent(10)), 20);
        assert_eq!(disk.beyond(KeepFree::Bytes(500)), 0);
    }
}
