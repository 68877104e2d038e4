//! Who knows whose disk (trap 11).
//!
//! What always holds: a coordinator that is wiped later can be told from the one it was by every other, also by one that it
//! never had anything to say to.

use slot_sim::faults::Swarm;
use slot_sim::run::{self, Options};
use slot_sim::sim::Sim;

#[test]
fn s14_every_coordinator_soon_knows_the_disks_of_all_others() {
    for seed in 0..8 {
        let mut sim = Sim::new(seed, Swarm::calm(2, 1, 2, 0));
        sim.begin();
        sim.run_for(5_000);
        assert_eq!(
            sim.unmet(),
            0,
            "seed {seed}: followers speak to their leader only, and must know each other all the same"
        );
    }
}

/// The seeds that found it: a follower took the wiped disk of another for its first one, and counted its word.
#[test]
fn s14_a_wiped_coordinator_counts_for_nobody() {
    for seed in [3009, 3059] {
        let outcome = run::run(seed, &Options::default());
        assert!(outcome.is_clean(), "seed {seed}: {:?} {:?}", outcome.violations, outcome.panicked);
    }
}
