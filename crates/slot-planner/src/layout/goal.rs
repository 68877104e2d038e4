//! What is wanted of a layout, and what comes out.
//!
//! What always holds: an [`Outcome`]'s moves, carried out in their order on the layout before, give the layout after.

use super::figures::Figures;
use super::model::{BYTES_MAX, Fleet, LOAD_MAX, Layout, NOWHERE};

/// What an operator wants. A grown fleet is rebalanced or filled; a shrunk one is drained empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Goal {
    /// No violations, masters even, losses spread thin, bytes even; in that order, with as few bytes moved as possible.
    Rebalance,
    /// No masters on these hosts; with `empty`, no copies either. Bytes move only to empty them. Masters of other hosts are handed
    /// over with `empty` alone, where copies that arrive elsewhere make them uneven.
    Drain {
        /// Which.
        hosts: Vec<u32>,
        /// Copies too.
        empty: bool,
    },
    /// As [`Goal::Rebalance`], copies going to these hosts only: new ones, or back from a drain.
    Fill {
        /// Which.
        hosts: Vec<u32>,
    },
    /// What is missing or on hosts that are down is built elsewhere, every survivor taking a part. A master that runs stays.
    Rebuild,
    /// Copies that are nowhere get a place; what has one stays, and so does a master that runs.
    Place,
    /// The masters of hosts that are down move to copies that live, no survivor swamped. No bytes.
    FailOver,
}

/// How far to go for a goal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// How full the fullest host may be over its fair share of bytes, in millionths. Where that cannot be reached, less
    /// even is taken.
    pub bytes_ppm: u64,
    /// At most so many bytes are copied.
    pub max_bytes: u64,
    /// At most so many copies and hand-overs together ([`Outcome::cost`]).
    pub max_moves: usize,
    /// Copies that only even out bytes are left out below so many millionths of a byte evened out per byte copied.
    pub min_gain_ppm: u64,
    /// At most so many copies read from or written to a host at once.
    pub per_host: u32,
    /// At most so many copies into or out of a rack at once.
    pub per_domain: u32,
    /// At most so many copies at once.
    pub in_all: u32,
}

impl Default for Wish {
    fn default() -> Wish {
        Wish {
            bytes_ppm: 1_010_000,
            max_bytes: u64::MAX,
            max_moves: usize::MAX,
            min_gain_ppm: 0,
            per_host: 1,
            per_domain: u32::MAX,
            in_all: u32::MAX,
        }
    }
}

impl Wish {
    /// Whether a budget may cut the plan.
    pub fn is_bounded(&self) -> bool {
        self.max_bytes != u64::MAX || self.max_moves != usize::MAX || self.min_gain_ppm != 0
    }
    /// Whether an outcome is within the bytes and the moves of the budget.
    pub fn reaches(&self, outcome: &Outcome, before: &Layout, fleet: &Fleet) -> bool {
        outcome.bytes <= self.max_bytes && outcome.cost(before, fleet) <= self.max_moves
    }
    /// The same with all the bytes and moves there can be.
    pub(super) fn unbounded(&self) -> Wish {
        Wish { max_bytes: u64::MAX, max_moves: usize::MAX, ..self.clone() }
    }
}

/// One store's move: a copy is built at `to`, then the master is handed to `master`, then the copy at `from` is dropped.
/// [`NOWHERE`](super::NOWHERE) leaves a part out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Move {
    /// Which store.
    pub store: u32,
    /// The host that holds a copy no longer.
    pub from: u32,
    /// The host that gets one.
    pub to: u32,
    /// The host of the master afterwards.
    pub master: u32,
}

impl Move {
    /// What it counts in a budget of moves: its copy and its hand-over, or one if it only drops. Where a new store begins is no
    /// hand-over.
    pub(super) fn cost(&self, before: &Layout, fleet: &Fleet) -> usize {
        let hands_over = self.master != NOWHERE && before.master(fleet, self.store) != NOWHERE;
        (usize::from(self.to != NOWHERE) + usize::from(hands_over)).max(1)
    }
}

/// What comes out of planning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Where the copies are afterwards.
    pub layout: Layout,
    /// How to get there: what can be stopped after any move.
    pub moves: Vec<Move>,
    /// The wave of each move, in ascending order; moves of a wave may run at once.
    pub waves: Vec<u32>,
    /// The fleet's figures before, under the goal's states of hosts.
    pub before: Figures,
    /// And after.
    pub after: Figures,
    /// Bytes copied.
    pub bytes: u64,
}

impl Outcome {
    /// Nothing to do.
    pub(super) fn nothing(before: &Layout, figures: Figures) -> Outcome {
        let (layout, moves, waves) = (before.clone(), Vec::new(), Vec::new());
        Outcome { layout, moves, waves, before: figures, after: figures, bytes: 0 }
    }
    /// This outcome and then one that was planned from its end.
    pub(super) fn and_then(mut self, next: Outcome) -> Outcome {
        let waves = self.waves.last().map_or(0, |last| last + 1);
        self.moves.extend(next.moves);
        self.waves.extend(next.waves.into_iter().map(|wave| waves + wave));
        Outcome { layout: next.layout, after: next.after, bytes: self.bytes.saturating_add(next.bytes), ..self }
    }
    /// Copies and hand-overs together: what a budget of moves counts.
    pub fn cost(&self, before: &Layout, fleet: &Fleet) -> usize {
        self.moves.iter().map(|one| one.cost(before, fleet)).sum()
    }
    /// Stores whose master is on another host than before.
    pub fn hand_overs(&self, before: &Layout, fleet: &Fleet) -> usize {
        let stores = 0..u32::try_from(fleet.stores.len()).unwrap_or(u32::MAX);
        stores.filter(|store| before.master(fleet, *store) != self.layout.master(fleet, *store)).count()
    }
}

/// Why there is no plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum No {
    /// A goal names a host that is not there.
    #[error("there is no host number {0}")]
    UnknownHost(u32),
    /// Nothing may hold a copy.
    #[error("no host is active")]
    NoActiveHost,
    /// Copies that have to go, or to be built, and fit nowhere: (store, bytes).
    #[error("{} copies fit on no other host", .0.len())]
    DoesNotFit(Vec<(u32, u64)>),
    /// Stores that would have to be served from elsewhere and have no other copy that could be master.
    #[error("{} stores have no other copy that could be master", .0.len())]
    NoOtherCopy(Vec<u32>),
    /// More bytes or load than the engine counts with.
    #[error(
        "all copies together, or all hosts, have more than {BYTES_MAX} bytes, or all masters more load than {LOAD_MAX}"
    )]
    TooLarge,
    /// A drain that the budget does not reach, though without one there is a plan: what that plan takes.
    #[error("the budget does not reach what has to leave: that takes {bytes} bytes and {moves} moves")]
    Budget {
        /// Bytes copied.
        bytes: u64,
        /// Copies and hand-overs together.
        moves: usize,
    },
}
