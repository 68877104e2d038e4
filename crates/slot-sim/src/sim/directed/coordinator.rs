//! Directed runs for the bugs planted in the state machine, the planner and the coordinator.
//!
//! What always holds: each is the schedule that its bug's `how` tells.

use super::*;

/// The schedules.
pub(super) const SCRIPTS: &[Script] = &[];
