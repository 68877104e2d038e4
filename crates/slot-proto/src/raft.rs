//! Raft's envelope and stored values as bytes.
//!
//! What always holds: an envelope names its format and a stored value begins with its version, two bytes, little
//! endian; one this build does not know is refused with both numbers (R20); no input makes these functions panic.

use crate::pb::{
    RaftConfChange, RaftConfState, RaftEntry, RaftEnvelope, RaftHardState, RaftLogStart, RaftNodeMarker, RaftSnapshot,
};
use prost::Message;

/// The envelope format this build writes, and the only one it reads.
pub const ENVELOPE_FORMAT: u32 = 1;

/// The version of stored values this build writes, and the only one it reads.
pub const STORED_VERSION: u16 = 1;

/// Why bytes of Raft were refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RaftWireError {
    /// Written by a build this one does not understand.
    #[error("{what}: format {found} is unknown, this build reads format {supported}; upgrade this program first")]
    UnknownFormat {
        /// What was read.
        what: &'static str,
        /// The format found.
        found: u32,
        /// The format this build reads.
        supported: u32,
    },
    /// Not a value of its type.
    #[error("{what}: the bytes are damaged: {detail}; do not use them")]
    Damaged {
        /// What was read.
        what: &'static str,
        /// What the parser said.
        detail: String,
    },
}

/// A value kept on disk, with a name for error messages.
pub trait Stored: Message + Default {
    /// What the value is called.
    const NAME: &'static str;
}

macro_rules! stored {
    ($($type:ident: $name:literal),* $(,)?) => {
        $(impl Stored for $type { const NAME: &'static str = $name; })*
    };
}

stored!(
    RaftEntry: "stored log entry",
    RaftHardState: "stored hard state",
    RaftSnapshot: "stored snapshot",
    RaftLogStart: "stored log start",
    RaftNodeMarker: "stored node marker",
    RaftConfState: "stored members",
);

/// Writes a value for the disk, its version first.
pub fn to_stored<T: Stored>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(2 + value.encoded_len());
    bytes.extend_from_slice(&STORED_VERSION.to_le_bytes());
    bytes.extend_from_slice(&value.encode_to_vec());
    bytes
}

/// Reads a value from the disk, refusing unknown versions and damage.
pub fn from_stored<T: Stored>(bytes: &[u8]) -> Result<T, RaftWireError> {
    let (version, body) = bytes
        .split_first_chunk::<2>()
        .ok_or_else(|| RaftWireError::Damaged { what: T::NAME, detail: "shorter than its version".into() })?;
    let found = u16::from_le_bytes(*version);
    if found != STORED_VERSION {
        return Err(RaftWireError::UnknownFormat {
            what: T::NAME,
            found: u32::from(found),
            supported: u32::from(STORED_VERSION),
        });
    }
    T::decode(body).map_err(|e| RaftWireError::Damaged { what: T::NAME, detail: e.to_string() })
}

/// Writes an envelope for the network.
pub fn encode_envelope(envelope: &RaftEnvelope) -> Vec<u8> {
    envelope.encode_to_vec()
}

/// Reads an envelope from the network, refusing unknown formats and damage.
pub fn decode_envelope(bytes: &[u8]) -> Result<RaftEnvelope, RaftWireError> {
    let envelope = RaftEnvelope::decode(bytes)
        .map_err(|e| RaftWireError::Damaged { what: "raft envelope", detail: e.to_string() })?;
    check_envelope_format(&envelope)?;
    Ok(envelope)
}

/// Refuses an envelope of an unknown format; for envelopes a gRPC server has already parsed.
pub fn check_envelope_format(envelope: &RaftEnvelope) -> Result<(), RaftWireError> {
    if envelope.format == ENVELOPE_FORMAT {
        return Ok(());
    }
    Err(RaftWireError::UnknownFormat { what: "raft envelope", found: envelope.format, supported: ENVELOPE_FORMAT })
}

/// Reads the data of a conf change entry.
pub fn decode_conf_change(bytes: &[u8]) -> Result<RaftConfChange, RaftWireError> {
    RaftConfChange::decode(bytes)
        .map_err(|e| RaftWireError::Damaged { what: "conf change entry", detail: e.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_value_comes_back() {
        let value = RaftHardState { term: 3, vote: 2, commit: 17 };
        assert_eq!(from_stored::<RaftHardState>(&to_stored(&value)), Ok(value));
    }

    #[test]
    fn an_unknown_version_names_both_numbers() {
        let mut bytes = to_stored(&RaftHardState::default());
        bytes[0] = 9;
        let text = from_stored::<RaftHardState>(&bytes).unwrap_err().to_string();
        assert!(text.contains("format 9") && text.contains("format 1"), "{text}");
        assert!(from_stored::<RaftHardState>(&[1]).is_err());
    }

    #[test]
    fn an_unknown_envelope_format_is_refused() {
        let bytes = encode_envelope(&RaftEnvelope { format: 2, ..Default::default() });
        assert!(matches!(decode_envelope(&bytes), Err(RaftWireError::UnknownFormat { found: 2, supported: 1, .. })));
        assert!(matches!(decode_envelope(&[0xff; 9]), Err(RaftWireError::Damaged { .. })));
    }
}
