//! Draining, on the command line.
//!
//! What always holds: at least one host or a failure domain is named; a time to be back by is one that can be read.

use super::{Change, domain};
use crate::since::BackBy;
use clap::{Args, Subcommand};
use slot_types::cluster::Domain;
use slot_types::ids::HostName;

/// What to drain.
#[derive(Debug, Subcommand)]
pub enum Drain {
    /// A host, or several as one: nothing goes from one of them to another.
    Host {
        /// Which: imap3 imap7, or imap3,imap7.
        #[arg(required = true, value_delimiter = ',')]
        host: Vec<HostName>,
        /// How.
        #[command(flatten)]
        how: DrainHow,
    },
    /// Every host in a failure domain, as one.
    Rack {
        /// Which, `ny/r1`; or a larger one, `ny`.
        #[arg(value_parser = domain)]
        domain: Domain,
        /// How.
        #[command(flatten)]
        how: DrainHow,
    },
}

/// How to drain.
#[derive(Debug, Args)]
pub struct DrainHow {
    /// The data too: every copy is built elsewhere before it is destroyed here.
    #[arg(long)]
    pub empty: bool,
    /// When it will be in service again: 12:00 or "2026-11-24 12:00" (UTC), or 2h from now. `status` says so when it is not.
    #[arg(long, value_name = "TIME")]
    pub back_by: Option<BackBy>,
    /// Why.
    #[command(flatten)]
    pub change: Change,
}
