//! A whole cluster in one thread from one seed.
//!
//! What always holds: the cores of coordinators, agents and engines are the product's own, unchanged, and speak the
//! product's own bytes; clock, network, disks and randomness are simulated; the same seed gives the same world. No shipped
//! program imports this crate.

pub mod check;
pub mod client;
pub mod disk;
pub mod nodes;
pub mod queue;
pub mod setup;
pub mod world;
