//! What `verify` takes.

use clap::Subcommand;
use slot_types::hold::HoldOn;
use slot_types::ids::*;

/// Of what every replica is compared with its master.
#[derive(Clone, Debug, Subcommand)]
pub enum Verify {
    /// A store.
    Store {
        /// Which.
        store: StoreName,
    },
    /// A host: the replicas on it, and the replicas of the masters on it.
    Host {
        /// Which.
        host: HostName,
    },
    /// Everything.
    All,
}

impl Verify {
    /// What.
    pub fn on(self) -> HoldOn {
        match self {
            Self::Store { store } => HoldOn::Store(store),
            Self::Host { host } => HoldOn::Host(host),
            Self::All => HoldOn::All,
        }
    }
}
