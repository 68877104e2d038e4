//! What a copy must not forget: its epoch, its last promote, its freezes, what was put aside.
//!
//! What always holds: `meta` is replaced whole (temporary name, fsync, rename, fsync of the folder) and ends with a CRC of
//! itself, so it is never torn; a damaged or missing one is refused. A freeze id is in it from before the freeze was
//! answered, so whatever ends the freeze, a crash too, that id is over for good (R1).

use super::api::DiskOp;
use borsh::{BorshDeserialize, BorshSerialize};
use slot_types::codec::{self, CodecError, Versioned};
use slot_types::ids::{CopyGeneration, Epoch, FreezeId, RecordId, SlotId, StoreName};
use slot_types::position::Tip;
use std::collections::BTreeSet;

/// The file.
pub const META: &str = "meta";
/// Where the next one is written.
pub const META_NEXT: &str = "meta.next";
/// Freeze ids kept singly; older ones count as thawed, which is the safe side.
const FREEZES_MAX: usize = 1024;

/// The last promote ordered here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Promoted {
    /// Its epoch; it took effect when the log holds that epoch's start record.
    pub epoch: Epoch,
    /// What the copy had to be equal to.
    pub expect: Tip,
}

/// Records put aside when a history without them was followed (R7).
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Aside {
    /// The file, written as a segment.
    pub file: String,
    /// Index of its first record.
    pub base: u64,
    /// How many records it has.
    pub records: u64,
    /// The ids of clients' data in it, in order.
    pub ids: Vec<RecordId>,
}

/// The content of `meta`.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Meta {
    /// The store.
    pub store: StoreName,
    /// The slot.
    pub slot: SlotId,
    /// The copy generation.
    pub generation: CopyGeneration,
    /// The highest epoch held: nothing older is accepted, ever (S2).
    pub epoch: Epoch,
    /// The last promote here.
    pub promoted: Option<Promoted>,
    /// The epoch of the last Demote: no Promote and no StartMaster at it.
    pub demoted: Option<Epoch>,
    /// Every freeze begun or thawed at the held epoch (R1).
    pub freezes: BTreeSet<FreezeId>,
    /// Ids up to this one count as thawed: what [`FREEZES_MAX`] pushed out of `freezes`.
    pub freezes_below: Option<FreezeId>,
    /// A length known to be durable. A shorter log at opening has lost acknowledged data and is refused (P12).
    pub durable: u64,
    /// What was put aside.
    pub aside: Vec<Aside>,
    /// A truncation decided on: records from there on are in `aside` and no longer in the log.
    pub truncating: Option<u64>,
}

impl Versioned for Meta {
    const NAME: &'static str = "journal meta";
    const VERSION: u16 = 1;
}

impl Meta {
    /// Of a copy just made.
    pub fn new(store: StoreName, slot: SlotId, generation: CopyGeneration) -> Self {
        Self {
            store,
            slot,
            generation,
            epoch: Epoch::ZERO,
            promoted: None,
            demoted: None,
            freezes: BTreeSet::new(),
            freezes_below: None,
            durable: 0,
            aside: Vec::new(),
            truncating: None,
        }
    }

    /// Holds a higher epoch; freezes of the older one can't matter again (R29: the timer goes with them).
    pub fn raise(&mut self, epoch: Epoch) {
        if epoch > self.epoch {
            self.epoch = epoch;
            self.freezes.clear();
            self.freezes_below = None;
        }
    }

    /// Whether that freeze was begun or thawed here.
    pub fn knows_freeze(&self, id: FreezeId) -> bool {
        self.freezes.contains(&id) || self.freezes_below.is_some_and(|below| id <= below)
    }

    /// Remembers a freeze for good (R1).
    pub fn remember_freeze(&mut self, id: FreezeId) {
        self.freezes.insert(id);
        while self.freezes.len() > FREEZES_MAX {
            self.freezes_below = self.freezes.pop_first().max(self.freezes_below);
        }
    }

    /// The file's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = codec::encode(self);
        bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
        bytes
    }

    /// Reads the file's bytes. The version is looked at first, so that a newer file is named as such.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CodecError> {
        let damaged = |detail: &str| CodecError::Damaged { name: Self::NAME, detail: detail.into() };
        let (body, crc) = bytes.split_last_chunk::<4>().ok_or_else(|| damaged("shorter than its checksum"))?;
        let version = body
            .first_chunk::<2>()
            .map(|v| u16::from_le_bytes(*v))
            .ok_or_else(|| damaged("shorter than its version"))?;
        if version != Self::VERSION {
            return Err(CodecError::UnknownVersion { name: Self::NAME, found: version, supported: Self::VERSION });
        }
        if crc32c::crc32c(body) != u32::from_le_bytes(*crc) {
            return Err(damaged("it does not match its checksum"));
        }
        codec::decode(body)
    }

    /// The operations that replace the file durably.
    pub fn write_ops(&self) -> Vec<DiskOp> {
        let mut ops = vec![
            DiskOp::Remove { file: META_NEXT.into() },
            DiskOp::Write { file: META_NEXT.into(), offset: 0, bytes: self.to_bytes() },
            DiskOp::Fsync { file: META_NEXT.into() },
            DiskOp::Rename { from: META_NEXT.into(), to: META.into() },
            DiskOp::FsyncDir,
        ];
        ops.truncate(if slot_planted::planted("p10-rename-without-folder-fsync") { 4 } else { 5 });
        ops
    }
}
