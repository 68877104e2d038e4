//! A schedule played under a few seeds.
//!
//! What always holds: every run is clean; a state that a schedule is for is reached in each of them, or in one at least where
//! chance decides which.

use slot_sim::run::{self, Options};
use std::collections::BTreeSet;

/// Plays it; `each` is reached under every seed, `once` under one of them at least.
pub fn played(name: &str, each: &[&str], once: &[&str]) {
    let mut all = BTreeSet::new();
    for seed in 0..4 {
        let outcome = run::run(seed, &Options { directed: Some(name.into()), ..Options::default() });
        assert!(outcome.is_clean(), "{name}, seed {seed}: {:?} {:?}", outcome.violations, outcome.panicked);
        for state in each {
            assert!(outcome.reached.contains_key(state), "{name}, seed {seed}: never {state:?}");
        }
        all.extend(outcome.reached.keys().copied());
    }
    for state in once {
        assert!(all.contains(state), "{name}: never {state:?}");
    }
}
