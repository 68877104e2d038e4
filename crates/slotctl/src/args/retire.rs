//! What `retire` takes.

use super::Change;
use clap::Subcommand;
use slot_types::ids::*;

/// What is gone for good.
#[derive(Debug, Subcommand)]
pub enum Retire {
    /// An empty host.
    Host {
        /// Which.
        host: HostName,
        /// Why.
        #[command(flatten)]
        change: Change,
    },
    /// A store: clients lose it at once, ALL its copies are DESTROYED, and its name is never used again.
    Store {
        /// Which.
        store: StoreName,
        /// Why.
        #[command(flatten)]
        change: Change,
    },
}
