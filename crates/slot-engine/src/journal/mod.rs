//! The journal: a small replicated append-only record store, one process per slot.
//!
//! What always holds: it is for trial, tests and simulation, and says so wherever it can be met: here, in `--help` and in
//! its log. The whole log is kept in memory, and one process writes one disk operation at a time. Its decisions are all
//! in [`core`], which has no disk, network or clock; everything else here only carries out what the core asks for.

pub mod client;
pub mod core;
pub mod engine;
pub mod folder;
mod peers;
mod runtime;
pub mod server;
pub mod wire;

pub use client::{Appended, ClientError, JournalClient};
pub use engine::JournalEngine;

/// What the program says of itself, in `--help` and when it starts.
pub const PURPOSE: &str = "The journal engine is for trial, tests and simulation: it keeps its whole log in memory.";
