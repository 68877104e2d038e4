//! Bugs planted in the agent and the engine.

use super::Bug;

/// The bugs.
pub const BUGS: &[Bug] = &[];
