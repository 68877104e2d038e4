//! The audit chain, hashed anew (S12, R22).
//!
//! What always holds: the hash of an entry is recomputed here from its fields, by the format that `slot_machine::audit`
//! documents, and never asked for.

use slot_machine::audit::{Audit, AuditEntry};
use slot_types::position::Digest;
use std::collections::{BTreeMap, BTreeSet};

/// What an entry's hash must be after another.
fn hash(prev: Digest, entry: &AuditEntry) -> Digest {
    let mut bytes = Vec::with_capacity(64 + entry.actor.len() + entry.event.len());
    for number in [entry.number, entry.index.0, entry.log_time.0, entry.wall.0] {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    for text in [&entry.actor, &entry.event] {
        bytes.extend_from_slice(&(text.len() as u64).to_le_bytes());
        bytes.extend_from_slice(text.as_bytes());
    }
    prev.chain(&bytes)
}

/// The chain as far as it was followed.
#[derive(Clone, Default)]
pub(crate) struct Chain {
    pub number: u64,
    pub head: Digest,
    /// Every link that was followed, also of a log that is lost.
    links: BTreeMap<u64, BTreeSet<Digest>>,
}

impl Chain {
    /// A chain of which only the end is known.
    pub fn at(number: u64, head: Digest) -> Self {
        Self { number, head, links: BTreeMap::new() }
    }

    /// Whether an entry of that number and hash was ever followed, or is the beginning.
    pub fn wrote(&self, number: u64, hash: Digest) -> bool {
        (number == 0 && hash == Digest::default()) || self.links.get(&number).is_some_and(|all| all.contains(&hash))
    }

    /// The chain ends here from now on; what was written before is remembered.
    pub fn goes_on_from(&mut self, end: Self) {
        (self.number, self.head) = (end.number, end.head);
        self.links.entry(end.number).or_default().insert(end.head);
    }

    /// Follows what was appended since; how many entries, or what is wrong.
    pub fn follow(&mut self, audit: &Audit, index: u64) -> Result<usize, String> {
        let new: Vec<&AuditEntry> = audit.entries.iter().rev().take_while(|e| e.number > self.number).collect();
        for entry in new.iter().rev() {
            self.link(entry)?;
            if entry.index.0 != index {
                return Err(format!("entry {} is stamped {}, it was written at {index}", entry.number, entry.index));
            }
        }
        if audit.entries.back().is_some_and(|last| last.number < self.number) {
            return Err(format!("it ends at {}, {} was there before", audit.last_number(), self.number));
        }
        Ok(new.len())
    }

    fn link(&mut self, entry: &AuditEntry) -> Result<(), String> {
        if entry.number != self.number + 1 {
            return Err(format!("entry {} follows {}", entry.number, self.number));
        }
        if entry.prev != self.head || entry.hash != hash(self.head, entry) {
            return Err(format!("entry {} does not follow from the one before", entry.number));
        }
        (self.number, self.head) = (entry.number, entry.hash);
        self.links.entry(entry.number).or_default().insert(entry.hash);
        Ok(())
    }
}

/// R22: a whole chain, from its trim point on.
pub(crate) fn verify(audit: &Audit) -> Result<(), String> {
    let mut chain = Chain::at(audit.trimmed_through, audit.trimmed_hash);
    audit.entries.iter().try_for_each(|entry| chain.link(entry))
}
