//! Fleets in files: read, planned for, and written back, without a coordinator.
//!
//! What always holds: nothing is dialled and no identity is needed; hosts and stores are numbered in the order of their
//! names, so the order of lines in a file changes nothing that comes out.

pub mod htools;

use slot_planner::layout::{Fleet, Layout};

/// A fleet as it was read, with its names.
#[derive(Debug)]
pub struct Loaded {
    /// Hosts and stores.
    pub fleet: Fleet,
    /// Where the copies are.
    pub layout: Layout,
    /// Names of hosts, by number.
    pub hosts: Vec<String>,
    /// The file, for what is written back.
    pub source: htools::Source,
}
