//! Records, their canonical bytes, and what of two histories is the same.
//!
//! What always holds: a log begins with an epoch-start record, an epoch begins with one, and epochs never go down in it.
//! One epoch has one master, so records of the same epoch that start at the same index are the same as far as both reach.

use borsh::{BorshDeserialize, BorshSerialize};
use slot_types::ids::{Epoch, RecordId};
use slot_types::position::EpochStart;

/// The longest payload.
pub const PAYLOAD_MAX: usize = 64 << 10;
/// The longest canonical record: payload, id, epoch and lengths.
pub const RECORD_MAX: usize = PAYLOAD_MAX + 256;
/// The shortest canonical record: an epoch and a tag.
pub const RECORD_MIN: usize = 13;
/// The client name of canary records: reserved for agents, never counted as stranded data.
pub const CANARY_CLIENT: &str = "slot-canary";

/// One record of the log.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Record {
    /// The epoch of the master that wrote it.
    pub epoch: Epoch,
    /// What it is.
    pub body: Body,
}

/// What a record is.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Body {
    /// The first record of an epoch, written by Promote.
    EpochStart,
    /// A client's data, or a canary.
    Data {
        /// The client's name for it.
        id: RecordId,
        /// The data.
        payload: Vec<u8>,
    },
}

impl Record {
    /// The record's id, when it has one.
    pub fn id(&self) -> Option<&RecordId> {
        match &self.body {
            Body::EpochStart => None,
            Body::Data { id, .. } => Some(id),
        }
    }
    /// The id of a client's data: neither an epoch start nor a canary.
    pub fn data_id(&self) -> Option<&RecordId> {
        self.id().filter(|id| id.client.as_str() != CANARY_CLIENT)
    }
    /// Its canonical bytes: what is hashed, stored in a frame and sent. The segment header and the peer answer around
    /// them carry the format's version.
    pub fn to_bytes(&self) -> Vec<u8> {
        // Writing into a Vec has no error of its own.
        borsh::to_vec(self).unwrap_or_default()
    }
    /// Decodes canonical bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() > RECORD_MAX {
            return Err(format!("a record of {} bytes is longer than {RECORD_MAX}", bytes.len()));
        }
        Self::try_from_slice(bytes).map_err(|e| e.to_string())
    }
}

/// How many records two histories have in common (R7: by epoch and position, never by length alone).
pub fn common_length(ours: &[EpochStart], our_length: u64, theirs: &[EpochStart], their_length: u64) -> u64 {
    let end = |history: &[EpochStart], i: usize, length: u64| {
        history.get(i + 1).map_or(length, |next| next.start.min(length))
    };
    let mut common = 0;
    for (i, (a, b)) in ours.iter().zip(theirs).enumerate() {
        if a != b || a.start != common {
            break;
        }
        let (our_end, their_end) = (end(ours, i, our_length), end(theirs, i, their_length));
        common = our_end.min(their_end).max(common);
        if our_end != their_end {
            break;
        }
    }
    common
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(lines: &[(u64, u64)]) -> Vec<EpochStart> {
        lines.iter().map(|(n, start)| EpochStart { epoch: Epoch { generation: 0, n: *n }, start: *start }).collect()
    }

    #[test]
    fn r7_histories_are_compared_by_epoch_and_position() {
        let a = history(&[(1, 0), (3, 10)]);
        let b = history(&[(1, 0), (2, 8)]);
        assert_eq!(common_length(&a, 15, &b, 20), 8);
        assert_eq!(common_length(&a, 15, &a, 12), 12);
        assert_eq!(common_length(&a, 15, &history(&[(1, 0)]), 10), 10);
        assert_eq!(common_length(&a, 15, &history(&[(1, 0)]), 14), 10);
        assert_eq!(common_length(&a, 15, &history(&[(2, 0)]), 14), 0);
        assert_eq!(common_length(&[], 0, &a, 15), 0);
    }
}
