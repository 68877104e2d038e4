//! Questions about a whole fleet, answered here: from a file, or from what the leader sends of the cluster as it is.
//!
//! What always holds: an answer depends on the fleet and the question alone, so a cluster and its snapshot give the same; nothing
//! is planned to be done and nothing is changed; loads are in masters of an ordinary host.

mod capacity;
pub mod explain;
mod groups;
mod risk;
mod whatif;

pub use capacity::{Capacity, capacity};
pub use explain::{ChangeWhy, CopyWhy, MoveWhy, OtherWhy, Placement};
pub use groups::{Groups, Never, groups};
pub use risk::{Full, LossRow, PairRow, Pairs, Risk, pairs, risk};
pub use whatif::{HostThen, NoPlace, Whatif, whatif};

use serde::Serialize;
use slot_planner::layout::Figures;

/// Why a question has no answer: what is asked about, and what to ask instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CannotAnswer {
    /// It names a host that is not there.
    #[error("there is no host {0}")]
    NoHost(String),
    /// There is nothing to take the size or the number of copies from.
    #[error("there is no store to take {} from", missing(*.size, *.copies, ["the size", "the number of copies"], " and "))]
    NoStore {
        /// The size is missing.
        size: bool,
        /// The number of copies is.
        copies: bool,
    },
    /// Everything is gone then.
    #[error("no host would be left")]
    NoHostLeft,
}

impl CannotAnswer {
    /// What to do next.
    pub fn next(&self) -> String {
        match self {
            Self::NoHost(_) => "name hosts that are there".to_owned(),
            Self::NoStore { size, copies } => {
                format!("say it: {}", missing(*size, *copies, ["--size 500GB", "--copies 2"], " "))
            }
            Self::NoHostLeft => "name fewer hosts".to_owned(),
        }
    }
}

/// Of two words those whose thing is missing.
fn missing(size: bool, copies: bool, [of_size, of_copies]: [&str; 2], between: &str) -> String {
    let words = [(size, of_size), (copies, of_copies)];
    words.iter().filter(|(is, _)| *is).map(|(_, word)| *word).collect::<Vec<_>>().join(between)
}

/// The figures of a layout.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Side {
    /// Masters on the active host with the most.
    pub masters_max: u32,
    /// And with the fewest.
    pub masters_min: u32,
    /// Load of the masters of the host with the most.
    pub load_max: f64,
    /// No layout has less.
    pub load_bound: f64,
    /// After the loss of any one host, the load of the survivor with the most.
    pub worst_survivor: f64,
    /// No layout has less.
    pub worst_survivor_bound: f64,
    /// Bytes of the fullest host over its fair share.
    pub bytes_max_over_share: f64,
    /// Hard rules that are broken.
    pub violations: u64,
}

impl Side {
    /// As they are printed.
    pub fn of(figures: &Figures) -> Side {
        let thousandths = |level: u64| level as f64 / 1e3;
        Side {
            masters_max: figures.masters_max,
            masters_min: figures.masters_min,
            load_max: thousandths(figures.load_max),
            load_bound: thousandths(figures.load_bound),
            worst_survivor: thousandths(figures.worst_survivor),
            worst_survivor_bound: thousandths(figures.worst_survivor_bound),
            bytes_max_over_share: figures.bytes_max_ppm as f64 / 1e6,
            violations: figures.violations.total(),
        }
    }
}
