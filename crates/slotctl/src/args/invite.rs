//! What `invite` takes.
//!
//! What always holds: nothing here takes a token: the one that is made goes into a file of its own, and others are named by
//! their host.

use super::Change;
use clap::Subcommand;
use slot_types::ids::HostName;
use std::path::PathBuf;

/// Who is invited, and who was.
#[derive(Debug, Subcommand)]
pub enum Invite {
    /// A host, bare or installed anew; it may be in the cluster file already, or come into it later.
    Host {
        /// Which.
        host: HostName,
        /// The folder that `init` made: the CA in it signs the token. Its key is read here and goes nowhere.
        #[arg(long, value_name = "DIR")]
        ca: PathBuf,
        /// The file to write the token into; whoever has it can become this host, once.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// Why.
        #[command(flatten)]
        change: Change,
    },
    /// Every invitation of the last day: who may join, invited by whom, until when, and which tokens are burnt or revoked.
    List,
    /// Take an invitation back: the host's token is no good any more. One that was used is burnt already.
    Revoke {
        /// Whose.
        host: HostName,
        /// Why.
        #[command(flatten)]
        change: Change,
    },
}
