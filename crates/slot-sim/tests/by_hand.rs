//! R19 in the simulator: what people start at their machines is adopted or told of, and every run is clean.

use slot_sim::run::{self, Options};

fn played(name: &str, reached: &[&str]) {
    for seed in 0..3 {
        let outcome = run::run(seed, &Options { directed: Some(name.into()), ..Options::default() });
        assert!(outcome.is_clean(), "{name}, seed {seed}: {:?} {:?}", outcome.violations, outcome.panicked);
        for state in reached {
            assert!(outcome.reached.contains_key(state), "{name}, seed {seed}: never {state:?}");
        }
    }
}

#[test]
fn r19_a_master_started_while_nobody_leads_is_adopted() {
    played("r19-branch-not-recorded", &["R19: a master was started by hand", "R19: a branch was adopted"]);
}

#[test]
fn r19_a_master_started_past_a_failover_is_fenced_and_told_of() {
    played("r19-conflict-adopted", &["R19: a master was started by hand", "R19: a branch was beside a higher epoch"]);
}

#[test]
fn r19_s2_nothing_starts_from_a_disk_that_was_put_back() {
    played("r19-disk-not-vouched-for", &["R19: a start was asked for on a disk that nobody vouched for"]);
}

#[test]
fn r19_what_a_person_may_not_start_stays_down() {
    played("r19-any-copy-started-by-hand", &[]);
    played("r19-started-beside-a-leader", &[]);
}
