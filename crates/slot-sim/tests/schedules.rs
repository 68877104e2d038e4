//! The directed schedules that a campaign plays among its seeds.
//!
//! What always holds: each is clean, and the world passes through the states that it is there for.

use slot_sim::run::{Options, Outcome, names, run};
use std::collections::BTreeSet;

fn play(name: &str, seed: u64) -> Outcome {
    let outcome = run(seed, &Options { directed: Some(name.into()), ..Options::default() });
    assert_eq!((&outcome.violations, &outcome.panicked), (&Vec::new(), &None), "{name}, seed {seed}");
    outcome
}

/// Found by this schedule: the planner took a store without a first epoch for made, and it never was (L1).
#[test]
fn r11_a_store_whose_making_was_given_up_is_made_again() {
    let outcome = play("reach/store-made-again", 0);
    assert!(outcome.reached.contains_key("R11: a store was made again on slots that had held it"));
}

#[test]
fn schedules_reach_what_they_are_there_for() {
    for (name, state) in [
        ("reach/freeze-again-after-thaw", "R1: a freeze was delivered again after its thaw"),
        ("reach/thaw-before-commit", "R1: a thaw came between the compare and the commit"),
        ("reach/stopped-inside-append", "R2: a demote was ordered of an engine that stood still inside an append"),
        ("reach/late-start-master", "R5: a late StartMaster arrived at a higher epoch"),
        ("reach/late-start-answer", "R5: the answer to a StartMaster came after a higher epoch"),
        ("reach/two-possible-masters", "R28: a weakly fenced master was named again at a later failover"),
    ] {
        let reached = (0..3).any(|seed| play(name, seed).reached.contains_key(state));
        assert!(reached, "{name}: never: {state}");
    }
}

/// R11, R4, L1: a leader dies while a store is retired, a host loses power in it, the old file is applied afterwards.
#[test]
fn r11_a_store_is_retired_whole_or_in_two_goes_and_its_name_stays_gone() {
    for name in ["reach/store-retired", "reach/retirement-cut-short"] {
        for seed in 0..6 {
            let outcome = play(name, seed);
            let buried = "R11: a store's last copy was destroyed and its tombstone kept";
            assert!(outcome.reached.contains_key(buried), "{name}, seed {seed}: {:?}", outcome.reached);
        }
    }
}

/// R18, R14: pauses, resumes and undos at their worst moments are clean without the bugs that these schedules are for.
#[test]
fn r18_pauses_and_undos_are_clean() {
    for name in ["reach/paused-while-frozen", "r14-resume-without-guards", "r18-undo-with-old-approval"] {
        for seed in 0..2 {
            play(name, seed);
        }
    }
}

#[test]
fn every_state_that_is_counted_is_declared() {
    let declared: BTreeSet<&str> = names().iter().copied().collect();
    for seed in 0..6 {
        let outcome = run(seed, &Options::default());
        let unknown: Vec<_> = outcome.reached.keys().filter(|name| !declared.contains(*name)).collect();
        assert!(unknown.is_empty(), "{unknown:?}");
    }
}
