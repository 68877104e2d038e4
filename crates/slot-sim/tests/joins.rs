//! Hosts that join (docs/adr/0024) in the simulator: tokens that are copied, revoked, old, and answers that are lost.

use slot_sim::run::{self, Options};
use std::collections::BTreeSet;

fn played(name: &str, reached: &[&str]) {
    let mut all = BTreeSet::new();
    for seed in 0..4 {
        let outcome = run::run(seed, &Options { directed: Some(name.into()), ..Options::default() });
        assert!(outcome.is_clean(), "{name}, seed {seed}: {:?} {:?}", outcome.violations, outcome.panicked);
        all.extend(outcome.reached.keys().copied());
    }
    for state in reached {
        assert!(all.contains(state), "{name}: never {state:?}");
    }
}

#[test]
fn s15_one_of_two_comes_in_with_one_token() {
    played("s15-token-not-burnt", &["ADR24: a token that was used was refused to another key"]);
}

#[test]
fn s15_a_token_is_revoked_before_or_while_it_is_used() {
    played("s15-revoked-token-taken", &["ADR24: a token that was revoked was refused"]);
}

#[test]
fn s15_a_token_is_good_for_a_day() {
    played("s15-expired-token-taken", &["ADR24: a token that had expired was refused"]);
}

#[test]
fn s2_the_disk_of_a_master_that_joins_waits_for_a_person() {
    played("s2-disk-that-joined-admitted-unseen", &["ADR24: a disk that joined waited for a person"]);
}

#[test]
fn a_lost_answer_is_asked_for_again() {
    let rebuilt = "ADR24: a copy of a host that joined was built anew";
    played("join/answer-lost", &["ADR24: a reinstalled host joined", rebuilt]);
}

#[test]
fn the_leader_changes_at_each_step() {
    played("join/leader-changes", &["ADR24: the leader changed while a host joined"]);
}

#[test]
fn a_bare_machine_joins_and_gets_a_copy() {
    played("join/bare-machine", &["ADR24: a bare host joined"]);
}

#[test]
fn a_machine_that_dies_while_it_joins_asks_with_the_key_that_it_had_made() {
    played("join/dies-while-joining", &["ADR24: a host died while it joined"]);
}
