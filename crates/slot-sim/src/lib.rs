//! A whole cluster in one thread from one seed.
//!
//! What always holds: the cores of coordinators, agents and engines are the product's own, unchanged, and speak the
//! product's own bytes; clock, network, disks and randomness are simulated; the same seed gives the same world. No shipped
//! program imports this crate.

pub mod campaign;
pub mod check;
pub mod client;
pub mod clients;
pub mod disk;
pub mod faults;
pub mod nodes;
pub mod people;
pub mod planted;
pub mod queue;
pub mod reach;
pub mod run;
pub mod setup;
pub mod sim;
pub mod sweep;
pub mod world;
