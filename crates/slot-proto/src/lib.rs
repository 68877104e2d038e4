//! The wire: slot.v1 compiled, and conversions with one error type.
