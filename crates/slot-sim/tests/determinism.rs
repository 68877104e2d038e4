//! The same seed twice comes to the same.
//!
//! What always holds: the digest is over all that happened, so two runs that differ anywhere differ in it; a thousand
//! seeds are compared by `cargo xtask sim --seeds 1000 --check-twice`, and with `--dev` its digest is the same.

use slot_sim::campaign::{self, Campaign, Wanted};
use slot_sim::run::{self, Options};

#[test]
fn twenty_seeds_come_to_the_same_twice() {
    let options = Options { twice: true, ..Options::default() };
    let campaign = Campaign { start: 500, seeds: 20, at_most: None, jobs: 2, options };
    let summary = campaign::run(&campaign, &Wanted { names: &[], classes: &[] }, &run::run, &|_| ());
    let apart: Vec<_> = summary.failed.iter().filter(|f| f.invariant == "determinism").collect();
    assert!(apart.is_empty(), "{apart:?}");
    assert_eq!(summary.seeds, 20);
}

#[test]
fn a_trace_changes_nothing_but_the_trace() {
    let plain = run::run(7, &Options::default());
    let traced = run::run(7, &Options { trace: true, ..Options::default() });
    assert!(plain.trace.is_empty() && !traced.trace.is_empty());
    assert_eq!(run::Outcome { trace: Vec::new(), ..traced }, plain);
}
