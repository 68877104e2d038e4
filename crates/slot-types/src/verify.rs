//! Comparing a copy with its master, record by record, and what was found.
//!
//! What always holds: a comparison reads what the disks of both copies hold, not what their processes remember; it changes
//! nothing on either; what was found names its epoch and how far it looked; "no difference" is said only of a comparison
//! that came to its end.

use crate::ids::*;
use crate::position::Digest;
use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The most records that are named one by one; more are counted.
pub const DIFFERENCES_NAMED_MAX: usize = 20;

/// What a copy holds at an index.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub enum Held {
    /// A record.
    Record {
        /// The epoch it was written at.
        epoch: Epoch,
        /// Its client's name for it; `None` for the start of an epoch.
        id: Option<RecordId>,
        /// The BLAKE3 hash of its canonical bytes.
        digest: Digest,
    },
    /// Its disk does not give it back, or gives back other bytes than were written.
    Unreadable,
    /// Nothing: the copy ends before.
    Nothing,
}
impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Record { epoch, id: Some(id), digest } => write!(f, "{id} of epoch {epoch}, {digest}"),
            Self::Record { epoch, id: None, digest } => write!(f, "the start of epoch {epoch}, {digest}"),
            Self::Unreadable => f.write_str("UNREADABLE on its disk"),
            Self::Nothing => f.write_str("nothing"),
        }
    }
}

/// One record in which two copies differ, or that one of them cannot read.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Difference {
    /// Its index in the log.
    pub index: u64,
    /// What the copy that was verified holds there.
    pub here: Held,
    /// What its master holds there.
    pub master: Held,
}
impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "record {}: {} here, {} on the master", self.index, self.here, self.master)
    }
}

/// What a comparison found.
#[derive(Clone, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Findings {
    /// In how many records the copies differ.
    pub count: u64,
    /// In how many of them it is the master's disk that does not give the record back, and the copy's does: there the copy is
    /// the better one.
    pub master_unreadable: u64,
    /// The first of them, at most [`DIFFERENCES_NAMED_MAX`].
    pub first: Vec<Difference>,
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.count, self.first.first()) {
            (0, _) | (_, None) => f.write_str("no difference"),
            (1, Some(first)) => write!(f, "{first}"),
            (count, Some(first)) => write!(f, "{count} records, the first is {first}"),
        }
    }
}

impl Findings {
    /// One more.
    pub fn add(&mut self, difference: Difference) {
        self.count += 1;
        let copy_has_it = matches!(difference.here, Held::Record { .. });
        self.master_unreadable += u64::from(copy_has_it && difference.master == Held::Unreadable);
        if self.first.len() < DIFFERENCES_NAMED_MAX {
            self.first.push(difference);
        }
    }
}

/// How far a comparison has come.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub enum VerifyStage {
    /// It goes on.
    UnderWay,
    /// Every record was compared.
    Ended,
    /// It cannot go on; nothing follows from what it found so far, but what differs, differs.
    Broken {
        /// Why, for a person.
        why: String,
    },
}

/// A comparison of a copy with its master, as the copy's engine tells it.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Verification {
    /// When it was asked for, in log time: this is its name, and a later one takes an earlier one's place.
    pub asked: LogTime,
    /// The epoch at which the copies were compared.
    pub epoch: Epoch,
    /// The master.
    pub against: SlotId,
    /// How many records the copy held when it began; what came later is not part of it.
    pub upto: u64,
    /// How many of them were compared.
    pub records: u64,
    /// How many bytes they have.
    pub bytes: u64,
    /// How long it has taken, in milliseconds.
    pub took_ms: u64,
    /// How far it has come.
    pub stage: VerifyStage,
    /// What differs.
    pub findings: Findings,
}

impl Verification {
    /// Whether it is over.
    pub fn is_over(&self) -> bool {
        self.stage != VerifyStage::UnderWay
    }
    /// Whether it says something for good: it came to its end, or found a difference before it broke off.
    pub fn tells(&self) -> bool {
        self.stage == VerifyStage::Ended || (self.is_over() && self.findings.count > 0)
    }
}

/// When, at which epoch and how completely a copy was last compared with its master, and what was found.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Stamp {
    /// The copy generation: it says nothing of another one.
    pub generation: CopyGeneration,
    /// When it was recorded, in log time.
    pub at: LogTime,
    /// The same in wall time; for display.
    pub wall: WallTime,
    /// What was compared and found.
    pub of: Verification,
}

impl Stamp {
    /// Whether the copy was found to differ.
    pub fn differs(&self) -> bool {
        self.of.findings.count > 0
    }
    /// Whether some of it speaks against the copy, so that it must not be taken for its master's equal.
    pub fn is_at_fault(&self) -> bool {
        self.of.findings.count > self.of.findings.master_unreadable
    }
    /// Whether it is clean and was come to by comparing everything.
    pub fn is_clean(&self) -> bool {
        self.of.stage == VerifyStage::Ended && !self.differs()
    }
}
