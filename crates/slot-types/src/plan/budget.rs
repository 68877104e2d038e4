//! How far a plan goes that could go further.

use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};
use std::fmt;

/// How far a rebalancing goes. What mends a rule comes first, then what gains most for each byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Budget {
    /// At most so many bytes are copied.
    pub max_bytes: Option<u64>,
    /// At most so many copies and masters are moved.
    pub max_moves: Option<u32>,
    /// A copy that only evens out is left where it is if less than so many millionths of a byte are evened out for each byte
    /// copied.
    pub min_gain_ppm: u32,
}

/// `, at most 500.0 GB, at most 20 moves`; nothing where nothing is bounded.
impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(bytes) = self.max_bytes {
            write!(f, ", at most {}", crate::render::size(bytes))?;
        }
        if let Some(moves) = self.max_moves {
            write!(f, ", at most {moves} moves")?;
        }
        match self.min_gain_ppm {
            0 => Ok(()),
            ppm => write!(f, ", a gain of {}% or more", f64::from(ppm) / 10_000.0),
        }
    }
}
