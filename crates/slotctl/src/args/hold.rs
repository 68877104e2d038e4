//! What `hold` and `release` take.

use super::Change;
use clap::Subcommand;
use slot_types::hold::HoldOn;
use slot_types::ids::*;

/// What is held or released.
#[derive(Debug, Subcommand)]
pub enum Hold {
    /// A host, and the stores that have a copy there.
    Host {
        /// Which.
        host: HostName,
        /// Why.
        #[command(flatten)]
        change: Change,
    },
    /// A store.
    Store {
        /// Which.
        store: StoreName,
        /// Why.
        #[command(flatten)]
        change: Change,
    },
    /// Everything; what was held by name stays held by name.
    All {
        /// Why.
        #[command(flatten)]
        change: Change,
    },
}

impl Hold {
    /// What, and why.
    pub fn parts(self) -> (HoldOn, Change) {
        match self {
            Self::Host { host, change } => (HoldOn::Host(host), change),
            Self::Store { store, change } => (HoldOn::Store(store), change),
            Self::All { change } => (HoldOn::All, change),
        }
    }
}
