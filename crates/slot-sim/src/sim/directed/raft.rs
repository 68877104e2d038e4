//! Directed runs for the bugs planted in the Raft driver.
//!
//! What always holds: each is the schedule that its bug's `how` tells.

use super::*;

/// The schedules.
pub(super) const SCRIPTS: &[Script] = &[];
