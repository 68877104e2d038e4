//! Failovers, on the command line.
//!
//! What always holds: a class of losses is one there is; that many hosts are silent is said, never assumed (R23).

use super::Change;
use clap::{Args, Subcommand};
use slot_types::cluster::LossClass;
use slot_types::ids::{HostName, SlotId, StoreName};
use std::collections::BTreeSet;

/// For every failover.
#[derive(Clone, Copy, Debug, Args)]
pub struct Mass {
    /// Many hosts are silent at once, which looks like our own partition; you looked from elsewhere, and they are dead.
    #[arg(long)]
    pub mass: bool,
}

/// One class of losses, or all.
pub type Classes = BTreeSet<LossClass>;

fn loss_classes(word: &str) -> Result<Classes, String> {
    let known = || LossClass::ALL.iter().map(|class| class.word()).collect::<Vec<_>>().join(", ");
    match LossClass::ALL.iter().find(|class| class.word() == word) {
        Some(class) => Ok(Classes::from([*class])),
        None if word == "all" => Ok(LossClass::ALL.into()),
        None => Err(format!("no such class; there are {} and all", known())),
    }
}

/// Whose master goes elsewhere.
#[derive(Debug, Subcommand)]
pub enum Failover {
    /// The master on one slot.
    Slot {
        /// Which, `imap3/07`.
        slot: SlotId,
        /// Where to; chosen when not given.
        #[arg(long, value_name = "SLOT")]
        to: Option<SlotId>,
        /// Many hosts are silent at once, and you know why.
        #[command(flatten)]
        mass: Mass,
        /// Why.
        #[command(flatten)]
        change: Change,
    },
    /// The master of one store, wherever it is.
    Store {
        /// Which.
        store: StoreName,
        /// Where to; chosen when not given.
        #[arg(long, value_name = "SLOT")]
        to: Option<SlotId>,
        /// Many hosts are silent at once, and you know why.
        #[command(flatten)]
        mass: Mass,
        /// Why.
        #[command(flatten)]
        change: Change,
    },
    /// Every master of a host, on one sheet: those that the fewest people can approve; the others are named.
    Host {
        /// Which.
        host: HostName,
        /// Only the stores whose loss is of these classes, or all: none-provable, caught-up, lagging, unverified, unknown.
        #[arg(long, value_name = "CLASS", value_delimiter = ',', value_parser = loss_classes)]
        class: Vec<Classes>,
        /// Many hosts are silent at once, and you know why.
        #[command(flatten)]
        mass: Mass,
        /// Why.
        #[command(flatten)]
        change: Change,
    },
}
