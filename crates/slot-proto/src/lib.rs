//! The wire: slot.v1 compiled, and conversions with one error type.
//!
//! What always holds: nothing outside this crate parses protobuf, every format carries a version, and an unknown
//! version is refused with both numbers in the message.

pub mod raft;

/// The generated types and services of package `slot.v1`; their documentation is in `proto/slot/v1`.
#[allow(
    missing_docs,
    clippy::all,
    clippy::allow_attributes,
    reason = "generated: tidiness is the generator's business"
)]
pub mod pb {
    tonic::include_proto!("slot.v1");
}

/// The compiled descriptors of every file of `slot.v1`, for reflection and for tests that walk all methods.
pub const DESCRIPTOR: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/slot.v1.bin"));
