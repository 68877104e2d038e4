//! `slotctl loss`.
//!
//! What always holds: what is given up is given up by the name of its case.

use super::Change;
use clap::Subcommand;
use slot_types::ids::LossCaseId;

/// Loss cases.
#[derive(Debug, Subcommand)]
pub enum Loss {
    /// All of them, the open ones first.
    List,
    /// One, with every stranded record.
    Show {
        /// Which, `L12`.
        case: LossCaseId,
    },
    /// Put its stranded records into the present master.
    Reinject {
        /// Which, `L12`.
        case: LossCaseId,
        /// Why.
        #[command(flatten)]
        change: Change,
    },
    /// Give its stranded records up by name; they are kept aside on the old slot.
    Discard {
        /// Which, `L12`.
        case: LossCaseId,
        /// Why.
        #[command(flatten)]
        change: Change,
    },
}
