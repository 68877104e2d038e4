//! The audit chain as it is read, and how its hashes are computed (S12).
//!
//! What always holds: an entry's hash covers its number, its index, both its times, who and what, and the hash before it;
//! whoever reads a chain can compute it again and needs nobody's word.

use crate::ids::*;
use crate::position::Digest;
use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

/// The most audit entries one answer carries.
pub const AUDIT_LINES_MAX: u32 = 500;

/// The hash of an entry: of the hash before it, its numbers, and its texts, each behind its length.
pub fn entry_hash(prev: &Digest, numbers: [u64; 4], texts: &[&str]) -> Digest {
    let mut bytes = Vec::new();
    for number in numbers {
        bytes.extend(number.to_le_bytes());
    }
    for text in texts {
        bytes.extend((text.len() as u64).to_le_bytes());
        bytes.extend(text.as_bytes());
    }
    prev.chain(&bytes)
}

/// An entry of the audit chain (S12).
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct AuditLine {
    /// Its number, from 1, without gaps.
    pub number: u64,
    /// The index of the command it is about.
    pub index: LogIndex,
    /// When, in log time.
    pub log_time: LogTime,
    /// When; for display.
    pub wall: WallTime,
    /// Who: an operator's name, `coordinator c2`, `agent imap3`.
    pub actor: String,
    /// What.
    pub event: String,
    /// The chain's hash up to and including it.
    pub hash: Digest,
}

impl AuditLine {
    /// What its hash must be behind this one.
    pub fn expected_hash(&self, prev: &Digest) -> Digest {
        let numbers = [self.number, self.index.0, self.log_time.0, self.wall.0];
        entry_hash(prev, numbers, &[&self.actor, &self.event])
    }
}

/// A part of the audit chain.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct AuditView {
    /// Entries up to this number are archived elsewhere (R22).
    pub trimmed_through: u64,
    /// The hash of the last of those; all zeros when there are none.
    pub trimmed_hash: Digest,
    /// In order.
    pub entries: Vec<AuditLine>,
    /// The number of the last entry there is.
    pub last: u64,
    /// Whether the answering node found these entries to fit the chain; when they begin it, whether it recomputed the whole
    /// chain it holds and found it whole.
    pub chain_ok: bool,
    /// Whether there are entries after these.
    pub more: bool,
}

/// An entry that does not fit the chain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainBreak {
    /// Its hash is not that of what it says.
    #[error("entry {number} says hash {said}, its content and the entry before it give {computed}")]
    Hash {
        /// Which.
        number: u64,
        /// The hash it carries.
        said: Digest,
        /// The hash it must have.
        computed: Digest,
    },
    /// Another number than the next.
    #[error("entry {expected} is missing: {found} comes instead")]
    Gap {
        /// The number that must come.
        expected: u64,
        /// The number that comes.
        found: u64,
    },
    /// An entry whose hash was noted before has another one now.
    #[error("entry {number} has hash {found}, noted was {noted}")]
    NotAsNoted {
        /// Which.
        number: u64,
        /// The hash noted.
        noted: String,
        /// The hash found.
        found: Digest,
    },
}

impl ChainBreak {
    /// The number of the first entry that is not as it must be.
    pub fn number(&self) -> u64 {
        match self {
            Self::Hash { number, .. } | Self::NotAsNoted { number, .. } => *number,
            Self::Gap { expected, .. } => *expected,
        }
    }
}

/// A chain as far as it was followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainEnd {
    /// The number of the last entry that fits; of the last one archived at first.
    pub number: u64,
    /// Its hash.
    pub hash: Digest,
}

impl ChainEnd {
    /// Follows the chain by one entry, or says how it does not fit.
    pub fn follow(&mut self, entry: &AuditLine) -> Result<(), ChainBreak> {
        let expected = self.number.saturating_add(1);
        if entry.number != expected {
            return Err(ChainBreak::Gap { expected, found: entry.number });
        }
        let computed = entry.expected_hash(&self.hash);
        if entry.hash != computed {
            return Err(ChainBreak::Hash { number: entry.number, said: entry.hash, computed });
        }
        (self.number, self.hash) = (entry.number, computed);
        Ok(())
    }
}
