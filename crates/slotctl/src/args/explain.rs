//! What is explained of a fleet in a file.

use super::asks::Input;
use super::offline::{Budget, Files, Offline};
use clap::Subcommand;
use slot_types::ids::SlotId;
use std::path::PathBuf;

/// What to explain of a fleet in a file.
#[derive(Clone, Debug, Subcommand)]
pub enum ExplainOf {
    /// A store.
    Store {
        /// Which.
        store: String,
    },
    /// A slot, and the store on it.
    Slot {
        /// Which, `imap3/07`.
        slot: SlotId,
    },
    /// A plan that is made for it, each of its choices; nothing is written but the answer.
    Plan {
        /// Which.
        #[command(subcommand)]
        what: PlanOf,
    },
}

/// A plan to explain: as `offline` makes it.
#[derive(Clone, Debug, Subcommand)]
pub enum PlanOf {
    /// That of `offline rebalance`.
    Rebalance {
        /// How far to go.
        #[command(flatten)]
        budget: Budget,
    },
    /// That of `offline drain`.
    Drain {
        /// Which hosts: once for each, or imap3,imap7.
        #[arg(long = "host", value_name = "HOST", value_delimiter = ',', required_unless_present = "racks")]
        hosts: Vec<String>,
        /// Every host of this rack; once for each.
        #[arg(long = "rack", value_name = "RACK")]
        racks: Vec<String>,
        /// Copies too.
        #[arg(long)]
        empty: bool,
        /// How far to go.
        #[command(flatten)]
        budget: Budget,
    },
    /// That of `offline fill`.
    Fill {
        /// Which hosts: once for each, or imap3,imap7.
        #[arg(long = "host", value_name = "HOST", value_delimiter = ',', required = true)]
        hosts: Vec<String>,
        /// How far to go.
        #[command(flatten)]
        budget: Budget,
    },
    /// That of `offline place`.
    Place {
        /// For a snapshot: a cluster file with the new stores and the hosts they may be on.
        #[arg(short = 'f', long = "file", value_name = "CLUSTER.toml")]
        file: Option<PathBuf>,
        /// How far to go.
        #[command(flatten)]
        budget: Budget,
    },
}

impl PlanOf {
    /// Its name, its bounds, and what `offline` would be asked for it.
    pub fn offline(&self, input: &Input) -> (&'static str, Budget, Offline) {
        let Input { from, format, json: _ } = input;
        let files = Files {
            from: from.clone(),
            format: *format,
            out: None,
            json: None,
            moves: None,
            rate: None,
            during: false,
        };
        match self.clone() {
            Self::Rebalance { budget } => ("rebalance", budget.clone(), Offline::Rebalance { files, budget }),
            Self::Fill { hosts, budget } => ("fill", budget.clone(), Offline::Fill { hosts, files, budget }),
            Self::Place { file, budget } => ("place", budget.clone(), Offline::Place { file, files, budget }),
            Self::Drain { hosts, racks, empty, budget } => {
                ("drain", budget.clone(), Offline::Drain { hosts, racks, empty, files, budget })
            }
        }
    }
}
