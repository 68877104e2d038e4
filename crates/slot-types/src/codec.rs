//! The canonical, versioned encoding of everything that is replicated, stored, hashed or sent inside an envelope.
//!
//! What always holds: the first two bytes are the format's version, little endian; the rest is borsh, which is canonical
//! (one value has one encoding, R15). Decoding refuses an unknown version and names both numbers (R20), refuses trailing
//! bytes, and never panics on any input.

use borsh::{BorshDeserialize, BorshSerialize};

/// A value with a name and a version of its own on the wire, on disk and under a hash.
pub trait Versioned: BorshSerialize + BorshDeserialize {
    /// What the format is called in an error message.
    const NAME: &'static str;
    /// The version this build writes, and the only one it reads.
    const VERSION: u16;
}

/// Names formats and their versions: `versioned! { Order: "order", 2; }`.
#[macro_export]
macro_rules! versioned {
    ($($kind:ty: $name:literal, $version:literal;)+) => {$(
        impl $crate::codec::Versioned for $kind {
            const NAME: &'static str = $name;
            const VERSION: u16 = $version;
        }
    )+};
}

/// Why bytes were refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// Written by a build this one does not understand.
    #[error(
        "{name}: format version {found} is unknown, this build reads version {supported}; upgrade this program before going on"
    )]
    UnknownVersion {
        /// The format's name.
        name: &'static str,
        /// The version found in the bytes.
        found: u16,
        /// The version this build reads.
        supported: u16,
    },
    /// Too short, too long, or not a value of the type.
    #[error("{name}: the bytes are damaged: {detail}")]
    Damaged {
        /// The format's name.
        name: &'static str,
        /// What the decoder said.
        detail: String,
    },
}

/// Encodes a value canonically, its version first.
pub fn encode<T: Versioned>(value: &T) -> Vec<u8> {
    let mut bytes = T::VERSION.to_le_bytes().to_vec();
    // Writing into a Vec has no error of its own; a type that could not be written would fail every test of it.
    if value.serialize(&mut bytes).is_err() {
        bytes.truncate(2);
    }
    bytes
}

/// Decodes a value, refusing unknown versions, damage and trailing bytes.
pub fn decode<T: Versioned>(bytes: &[u8]) -> Result<T, CodecError> {
    let (version, body) = bytes
        .split_first_chunk::<2>()
        .ok_or_else(|| CodecError::Damaged { name: T::NAME, detail: "shorter than its version".into() })?;
    let found = u16::from_le_bytes(*version);
    if found != T::VERSION {
        return Err(CodecError::UnknownVersion { name: T::NAME, found, supported: T::VERSION });
    }
    T::try_from_slice(body).map_err(|e| CodecError::Damaged { name: T::NAME, detail: e.to_string() })
}
