//! Questions about a whole fleet, asked of a cluster or of a file.

use super::offline::Format;
use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;

/// A fleet in a file.
#[derive(Debug, Args)]
pub struct Input {
    /// The fleet.
    #[arg(long, value_name = "FILE")]
    pub from: PathBuf,
    /// What the file is.
    #[arg(long, value_enum, default_value_t = Format::Htools)]
    pub format: Format,
    /// The answer as JSON, also when the output is text.
    #[arg(long, value_name = "FILE", value_parser = file)]
    pub json: Option<PathBuf>,
}

/// The same where more words follow: before them or behind them.
#[derive(Debug, Args)]
pub struct Anywhere {
    /// The fleet.
    #[arg(long, global = true, value_name = "FILE")]
    pub from: Option<PathBuf>,
    /// What the file is.
    #[arg(long, global = true, value_enum, default_value_t = Format::Htools)]
    pub format: Format,
    /// The answer as JSON, also when the output is text.
    #[arg(long, global = true, value_name = "FILE", value_parser = file)]
    pub json: Option<PathBuf>,
}

impl Anywhere {
    /// A file that is named; clap asks for none of what may stand anywhere.
    pub fn named(&self) -> Option<Input> {
        let Anywhere { from, format, json } = self;
        from.clone().map(|from| Input { from, format: *format, json: json.clone() })
    }
}

/// A file to write; `-` would be the name of one.
pub(super) fn file(text: &str) -> Result<PathBuf, String> {
    match text {
        "-" => Err("it names a file; --output json prints the document".to_owned()),
        name => Ok(PathBuf::from(name)),
    }
}

/// What changes.
#[derive(Clone, Debug, Subcommand)]
pub enum Whatif {
    /// These hosts are lost at once.
    Down {
        /// Which, imap3 or imap3,imap7.
        #[arg(value_name = "HOST", value_delimiter = ',', required = true)]
        hosts: Vec<String>,
    },
    /// New hosts, each as large as one that is there, in its rack, and then everything made even.
    AddHost {
        /// Like which.
        #[arg(long, value_name = "HOST")]
        like: String,
        /// How many.
        #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
        count: u32,
    },
    /// These hosts are emptied and taken out for good.
    RemoveHost {
        /// Which, imap3 or imap3,imap7.
        #[arg(value_name = "HOST", value_delimiter = ',', required = true)]
        hosts: Vec<String>,
    },
    /// A host holds so much, what it holds now included.
    Resize {
        /// Which.
        host: String,
        /// How much, 4TB.
        #[arg(long = "to", value_name = "SIZE", value_parser = slot_types::file::size)]
        bytes: u64,
    },
    /// Every store is so much larger.
    GrowStores {
        /// By how much, in per cent of its size.
        #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u32).range(1..=10_000))]
        by: u32,
    },
}

/// What is to fit.
#[derive(Clone, Debug, Args)]
pub struct Ask {
    /// How large each store is, 500GB. Without it, as large as the largest there is.
    #[arg(long, value_name = "SIZE", value_parser = slot_types::file::size)]
    pub size: Option<u64>,
    /// How many copies each has. Without it, as many as most stores have.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u8).range(1..=16))]
    pub copies: Option<u8>,
    /// What may still be lost, with everything on it built again elsewhere.
    #[arg(long, value_enum, default_value_t = Survive::Host)]
    pub survive: Survive,
}

/// What may be lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Survive {
    /// Any one host.
    Host,
    /// Any one rack.
    Rack,
    /// Nothing: only the places are counted.
    Nothing,
}
