//! What `verify` answers: how far the comparisons are that a person asked for.
//!
//! What always holds: a copy is "equal" only by a comparison that was asked for after the person asked, and came to its end.

use crate::ids::*;
use crate::verify::{Stamp, Verification};
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
