//! The hash-chained audit (S12).
//!
//! What always holds: entry n's `prev` is entry n-1's hash; an entry stands before the effect it is about, since it is
//! written by the command that allows the effect; entries since the committed trim point travel in every snapshot (R22).

use borsh::{BorshDeserialize, BorshSerialize};
use slot_planted::planted;
use slot_types::ids::*;
use slot_types::position::Digest;
use slot_types::view::entry_hash;
use std::collections::VecDeque;

/// The chain since its trim point.
#[derive(Clone, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Audit {
    /// The number of the last dropped entry; 0 before any trim.
    pub trimmed_through: u64,
    /// Its hash.
    pub trimmed_hash: Digest,
    /// The entries after it.
    pub entries: VecDeque<AuditEntry>,
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct AuditEntry {
    /// From 1, without gaps.
    pub number: u64,
    /// The log index of the command.
    pub index: LogIndex,
    /// Log time.
    pub log_time: LogTime,
    /// Wall time; for display.
    pub wall: WallTime,
    /// Who: an operator's certificate name, or `slotd`.
    pub actor: String,
    /// What.
    pub event: String,
    /// The hash of the entry before.
    pub prev: Digest,
    /// The hash of this entry.
    pub hash: Digest,
}

impl AuditEntry {
    fn hashed(mut self) -> Self {
        self.hash = self.expected_hash();
        self
    }
    /// What its hash must be.
    pub fn expected_hash(&self) -> Digest {
        let covered = if planted("s12-hash-leaves-out-event") { 1 } else { 2 };
        let numbers = [self.number, self.index.0, self.log_time.0, self.wall.0];
        entry_hash(&self.prev, numbers, &[self.actor.as_str(), self.event.as_str()][..covered])
    }
}

impl Audit {
    /// The last hash: equal on all nodes at equal index.
    pub fn head(&self) -> Digest {
        self.entries.back().map_or(self.trimmed_hash, |e| e.hash)
    }
    /// The last number.
    pub fn last_number(&self) -> u64 {
        self.entries.back().map_or(self.trimmed_through, |e| e.number)
    }
    pub(crate) fn push(&mut self, index: LogIndex, log_time: LogTime, wall: WallTime, actor: &str, event: String) {
        let entry = AuditEntry {
            number: self.last_number() + 1,
            index,
            log_time,
            wall,
            actor: actor.to_string(),
            event,
            prev: self.head(),
            hash: Digest::default(),
        };
        self.entries.push_back(entry.hashed());
    }
    pub(crate) fn trim(&mut self, through: u64, hash: Digest) -> bool {
        if !self.entries.iter().any(|e| e.number == through && e.hash == hash) {
            return false;
        }
        while self.entries.front().is_some_and(|e| e.number <= through) {
            self.entries.pop_front();
        }
        self.trimmed_through = through;
        self.trimmed_hash = hash;
        true
    }
    /// The number of the first entry that does not fit the chain, if any.
    pub fn first_broken(&self) -> Option<u64> {
        let mut prev = self.trimmed_hash;
        let mut number = self.trimmed_through;
        for entry in &self.entries {
            if entry.number != number + 1 || entry.prev != prev || entry.hash != entry.expected_hash() {
                return Some(entry.number);
            }
            prev = entry.hash;
            number = entry.number;
        }
        None
    }
}
