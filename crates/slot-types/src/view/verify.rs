//! What `verify` answers: how far the comparisons are that a person asked for; and what is told elsewhere of those before.
//!
//! What always holds: in answer to `verify` a copy is "equal" only by a comparison that was asked for after the person asked,
//! and came to its end; elsewhere it stands with how long ago that was.

use crate::ids::*;
use crate::verify::{Findings, Stamp, Verification};
use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

/// Of a store, a host or everything.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct VerifyView {
    /// What was asked about, as in `store store23`.
    pub on: String,
    /// Since when a comparison counts, in log time. Whoever asks again says it again.
    pub since: LogTime,
    /// Every copy that is not a master, in the order of stores and slots.
    pub copies: Vec<VerifyLine>,
}

/// One copy.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct VerifyLine {
    /// The store.
    pub store: StoreName,
    /// The copy's slot.
    pub slot: SlotId,
    /// Its master's.
    pub master: Option<SlotId>,
    /// How far it is.
    pub state: VerifyState,
}

/// How far one comparison is.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub enum VerifyState {
    /// It cannot be compared now.
    Cannot {
        /// Why, for a person.
        why: String,
    },
    /// It will be.
    Waiting {
        /// What for.
        why: String,
    },
    /// It is being compared.
    UnderWay {
        /// How far.
        of: Verification,
    },
    /// It broke off.
    Broken {
        /// Where and why.
        of: Verification,
    },
    /// It was compared, or broke off after a difference was found.
    Told {
        /// What was found.
        stamp: Stamp,
    },
}

impl VerifyView {
    /// Whether nothing more is waited for.
    pub fn is_settled(&self) -> bool {
        !self.copies.iter().any(|line| matches!(line.state, VerifyState::Waiting { .. } | VerifyState::UnderWay { .. }))
    }
    /// Whether every copy was compared whole and none differs.
    pub fn all_equal(&self) -> bool {
        self.copies.iter().all(|line| matches!(&line.state, VerifyState::Told { stamp } if stamp.is_clean()))
    }
}

/// When a replica was last compared with its master record by record, and what came of it; of several the greatest is the worst.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize, Serialize, Deserialize,
)]
pub enum Compared {
    /// It was equal in every record.
    Equal {
        /// How long ago, in log time.
        ago_ms: u64,
    },
    /// It never was compared.
    Never,
    /// It differs.
    Differs {
        /// In so many records.
        records: u64,
        /// As was seen so long ago, in log time.
        ago_ms: u64,
    },
}

/// The same of all replicas that serve.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct ComparedCounts {
    /// Replicas that serve.
    pub replicas: u64,
    /// Of them, those never compared.
    pub uncompared: u64,
    /// Of them, those that differ.
    pub differ: u64,
    /// The longest ago that one of the others was equal, in log time; `None` when there are none.
    pub oldest_ms: Option<u64>,
}

impl ComparedCounts {
    /// One more.
    pub fn add(&mut self, one: Compared) {
        self.replicas += 1;
        match one {
            Compared::Equal { ago_ms } => self.oldest_ms = self.oldest_ms.max(Some(ago_ms)),
            Compared::Never => self.uncompared += 1,
            Compared::Differs { .. } => self.differ += 1,
        }
    }
}

/// The copy that a hand-over was for is not its master's equal (R7).
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Differs {
    /// Where it is.
    pub slot: SlotId,
    /// In which records; `None` until they are compared.
    pub findings: Option<Findings>,
}
