//! How far `rebalance` and `fill` go, and what is filled.

use super::Change;
use clap::{Args, Subcommand};
use slot_types::ids::HostName;
use slot_types::plan::Budget;

/// What to fill.
#[derive(Debug, Subcommand)]
pub enum Fill {
    /// A host, or several: copies and masters come to them from the others, up to their fair share.
    Host {
        /// Which: imap3 imap7, or imap3,imap7.
        #[arg(required = true, value_delimiter = ',')]
        host: Vec<HostName>,
        /// How far to go.
        #[command(flatten)]
        budget: Bounds,
        /// Why.
        #[command(flatten)]
        change: Change,
    },
}

/// Bounds of one plan. What mends a rule comes first, then what gains most for each byte.
#[derive(Clone, Debug, Default, Args)]
pub struct Bounds {
    /// At most so many bytes are copied.
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    pub max_bytes: Option<u64>,
    /// At most so many copies and masters are moved.
    #[arg(long, value_name = "COUNT")]
    pub max_moves: Option<u32>,
    /// Leave a copy that only evens out where it is if less than so many bytes are evened out for each byte copied.
    #[arg(long, value_name = "RATIO", default_value_t = 0.0, value_parser = super::offline::ratio)]
    pub min_gain: f64,
}

/// `100GB`, or a number of bytes, which may be none at all.
pub(super) fn bytes(text: &str) -> Result<u64, String> {
    text.parse().or_else(|_| slot_types::file::size(text))
}

impl From<Bounds> for Budget {
    fn from(bounds: Bounds) -> Budget {
        // The ratio is between 0 and 1: checked when it was read.
        let min_gain_ppm = (bounds.min_gain * 1e6) as u32;
        Budget { max_bytes: bounds.max_bytes, max_moves: bounds.max_moves, min_gain_ppm }
    }
}
