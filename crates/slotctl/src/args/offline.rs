//! What `offline` takes.

use super::asks::{Anywhere, Ask, Input, Whatif};
use super::explain::ExplainOf;
use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;

/// How full the fullest host may be over its share when nothing is said.
const DISK_PERCENT: f64 = 101.0;

/// What to plan for a fleet in a file.
#[derive(Debug, Subcommand)]
pub enum Offline {
    /// No violations, masters even, losses spread thin, bytes even, with as few bytes moved as possible.
    Rebalance {
        /// From where to where.
        #[command(flatten)]
        files: Files,
        /// How far to go.
        #[command(flatten)]
        budget: Budget,
    },
    /// No masters on these hosts; with --empty, no copies either.
    Drain {
        /// Which hosts: once for each, or imap3,imap7.
        #[arg(long = "host", value_name = "HOST", value_delimiter = ',', required_unless_present = "racks")]
        hosts: Vec<String>,
        /// Every host of this rack, as one with the others that are named; once for each. Of a snapshot, any failure domain: ny/r1 or ny.
        #[arg(long = "rack", value_name = "RACK")]
        racks: Vec<String>,
        /// Copies too; masters of other hosts are handed over as well where what arrives makes them uneven.
        #[arg(long)]
        empty: bool,
        /// From where to where.
        #[command(flatten)]
        files: Files,
        /// How far to go.
        #[command(flatten)]
        budget: Budget,
    },
    /// As rebalance, but copies come to these hosts only: new ones, or back from a drain.
    Fill {
        /// Which hosts: once for each, or imap3,imap7.
        #[arg(long = "host", value_name = "HOST", value_delimiter = ',', required = true)]
        hosts: Vec<String>,
        /// From where to where.
        #[command(flatten)]
        files: Files,
        /// How far to go.
        #[command(flatten)]
        budget: Budget,
    },
    /// Copies that are nowhere, or on hosts that are offline, get a place; what has one stays, and so does a master that runs.
    ///
    /// New stores are placed together. In a file of htools they are instances whose nodes are empty, or `-`; for a snapshot they are in a
    /// cluster file.
    Place {
        /// For a snapshot: a cluster file with the new stores and the hosts they may be on. The plan is that of `slotctl apply`.
        #[arg(short = 'f', long = "file", value_name = "CLUSTER.toml")]
        file: Option<PathBuf>,
        /// From where to where.
        #[command(flatten)]
        files: Files,
        /// How far to go.
        #[command(flatten)]
        budget: Budget,
    },
    /// What the loss of each host, of each rack and of any two hosts would do.
    Risk {
        /// From where.
        #[command(flatten)]
        input: Input,
    },
    /// How many more stores fit while one host or one rack may still be lost.
    Capacity {
        /// From where.
        #[command(flatten)]
        input: Input,
        /// Which stores.
        #[command(flatten)]
        ask: Ask,
    },
    /// The fleet as it would be.
    Whatif {
        /// From where.
        #[command(flatten)]
        input: Anywhere,
        /// What changes.
        #[command(subcommand)]
        change: Whatif,
    },
    /// Which hosts may be down together with every store still on a live copy.
    ServiceGroups {
        /// From where.
        #[command(flatten)]
        input: Input,
    },
    /// Why copies are where they are or where a plan puts them, and why on no other host; of a snapshot, of masters too.
    Explain {
        /// From where.
        #[command(flatten)]
        input: Anywhere,
        /// What.
        #[command(subcommand)]
        what: ExplainOf,
    },
}

/// From where to where.
#[derive(Debug, Args)]
pub struct Files {
    /// The fleet.
    #[arg(long, value_name = "FILE")]
    pub from: PathBuf,
    /// What the file is.
    #[arg(long, value_enum, default_value_t = Format::Htools)]
    pub format: Format,
    /// Where the copies are afterwards: NAME.csv, or the whole fleet again as NAME.data.
    #[arg(long, value_name = "FILE", value_parser = table)]
    pub out: Option<PathBuf>,
    /// The figures before and after as JSON, also when the output is text.
    #[arg(long, value_name = "FILE", value_parser = super::asks::file)]
    pub json: Option<PathBuf>,
    /// The moves as JSON lines in their order, with the wave of each.
    #[arg(long, value_name = "FILE", value_parser = super::asks::file)]
    pub moves: Option<PathBuf>,
    /// Bytes a second from one host to another, for how long it takes; 100MB where it is not said.
    #[arg(long, value_name = "SIZE", value_parser = slot_types::file::size)]
    pub rate: Option<u64>,
    /// Say of each wave what the fleet could lose when it is over; looks at the whole fleet once for each.
    #[arg(long)]
    pub during: bool,
}

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Ganeti's htools text format.
    Htools,
    /// What `slotctl snapshot` saved.
    Snapshot,
}

/// How far to go.
#[derive(Clone, Debug, Args)]
pub struct Budget {
    /// How full the fullest host may be over its fair share of bytes, in per cent.
    #[arg(long, value_name = "PERCENT", default_value_t = DISK_PERCENT, value_parser = percent)]
    pub disk: f64,
    /// At most so many bytes are copied.
    #[arg(long, value_name = "SIZE", value_parser = super::rebalance::bytes)]
    pub max_bytes: Option<u64>,
    /// At most so many copies and masters are moved.
    #[arg(long, value_name = "COUNT")]
    pub max_moves: Option<usize>,
    /// Stop where a move evens out less than so many bytes for each byte copied.
    #[arg(long, value_name = "RATIO", default_value_t = 0.0, value_parser = ratio)]
    pub min_gain: f64,
    /// At most so many copies into or out of a host at once.
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub per_host: u32,
    /// At most so many copies into or out of a rack at once.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    pub per_domain: Option<u32>,
    /// At most so many copies at once.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    pub in_all: Option<u32>,
}

impl Budget {
    /// The part that a plan of a cluster knows, and whether any other part was given.
    pub fn of_plan(&self) -> (slot_types::plan::Budget, bool) {
        let Budget { disk, max_bytes, max_moves, min_gain, per_host, per_domain, in_all } = self;
        let other = per_domain.is_some() || in_all.is_some() || *disk != DISK_PERCENT || *per_host != 1;
        let max_moves = max_moves.map(|moves| u32::try_from(moves).unwrap_or(u32::MAX));
        let bounds = super::Bounds { max_bytes: *max_bytes, max_moves, min_gain: *min_gain };
        (bounds.into(), other)
    }
}

/// Where the copies are: its ending says how.
fn table(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    match path.extension().and_then(|ending| ending.to_str()) {
        Some("csv" | "data") => Ok(path),
        _ => Err("its ending says what it is: NAME.csv, or the whole fleet again as NAME.data".to_owned()),
    }
}

fn percent(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(percent) if (100.0..=1000.0).contains(&percent) => Ok(percent),
        _ => Err("a number from 100 to 1000".to_owned()),
    }
}

pub(super) fn ratio(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok(ratio),
        _ => Err("a number from 0 to 1".to_owned()),
    }
}
