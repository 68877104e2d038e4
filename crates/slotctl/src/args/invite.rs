//! What `invite` takes.

use super::Change;
use clap::Subcommand;
use slot_types::ids::HostName;
use std::path::PathBuf;

/// Who is invited.
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
}
