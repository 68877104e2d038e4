//! The cases of the single-fault sweep and of sampled pairs.
//!
//! What always holds: a case is fully named by its text, so it can be run again alone.

use crate::campaign::sweep::Case;
use crate::run::{self, Options, Outcome};

/// One run with one fault, or two, at their places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faulted {
    /// Its directed run's name: kind of plan, fault and effect.
    pub directed: String,
    /// What it counts to.
    pub group: String,
    /// The seed of everything else.
    pub seed: u64,
}

impl Case for Faulted {
    fn name(&self) -> String {
        format!("--seed {} --directed {}", self.seed, self.directed)
    }
    fn group(&self) -> String {
        self.group.clone()
    }
    fn run(&self) -> Outcome {
        run::run(self.seed, &Options { directed: Some(self.directed.clone()), ..Options::default() })
    }
}

/// Every kind of fault at every effect of every kind of plan.
pub fn singles() -> Vec<Faulted> {
    Vec::new()
}

/// So many pairs of them, drawn from a seed.
pub fn pairs(_number: u64, _seed: u64) -> Vec<Faulted> {
    Vec::new()
}
