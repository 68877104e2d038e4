//! The journal: a small replicated append-only record store, one process per slot.
//!
//! What always holds: it is for trial, tests and simulation, and says so; its decisions are all in [`core`], which has no
//! disk, network or clock; everything else here only carries out what the core asks for.

pub mod core;
