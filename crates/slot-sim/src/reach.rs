//! The dangerous states that a campaign must have been in (`sometimes`).
//!
//! What always holds: a name that is not reached in a whole campaign fails it; names are counted where the world passes
//! through the state, never where a test wishes that it did.

/// Every name.
pub const ALL: [&str; 8] = [
    "a coordinator died between its write and its hearing of it",
    "a coordinator ended itself on a disk error",
    "a damaged frame was refused",
    "a fault at a named place",
    "a new leader while a plan runs",
    "a site power cut",
    "a snapshot was sent",
    "an engine was killed by its agent",
];
