//! R12 and docs/adr/0022 in the simulator: front ends that are late, dead, cut off, wiped or ill, and every run is clean.

mod played;

fn played(name: &str, reached: &[&str]) {
    played::played(name, &[], reached);
}

#[test]
fn a_table_of_a_leader_that_is_dead_comes_too_late() {
    let deposed = "ADR22: a table of a deposed leader came";
    played("adr22-older-table-taken", &["ADR22: an older table came after a newer one", deposed]);
}

#[test]
fn a_dead_front_end_holds_up_no_promotion_and_its_plan_says_so() {
    let made = "ADR22: a master was made while a front end was dead";
    played("adr22-plan-does-not-wait", &["ADR22: the wait for a front end ran out", made]);
}

#[test]
fn r12_new_connections_are_held_no_longer_than_the_freeze_though_nobody_is_left() {
    let held = "R12: a front end held a new connection";
    played("r12-moving-never-ends", &["R12: moving ended by a front end's own clock", held]);
}

/// A bug that was found: it came back with the table that it had acknowledged, and rendered it over the newer one.
#[test]
fn a_front_end_that_dies_after_a_reload_does_not_go_back() {
    played("adr22-begun-not-kept", &["ADR22: a front end died between a reload and its word"]);
}

#[test]
fn a_reload_that_fails_is_no_acknowledgement() {
    played("adr22-failed-reload-acknowledged", &["ADR22: a map could not be written or reloaded"]);
}

#[test]
fn r12_a_front_end_that_starts_again_holds_nobody() {
    played("front-end/starts-again-while-moving", &["R12: a front end started again while it held new connections"]);
}

#[test]
fn a_word_comes_when_its_plan_was_given_up() {
    played("front-end/plan-given-up", &["ADR22: a front end's word came after its plan was given up"]);
}

#[test]
fn a_front_end_whose_line_is_taken_out_is_waited_for_no_more() {
    played("front-end/line-taken-out", &[]);
}

#[test]
fn a_wiped_front_end_serves_the_newest_table_or_nothing() {
    played("front-end/wiped", &["ADR22: a disk of a front end was wiped"]);
}

#[test]
fn s1_clients_of_a_front_end_that_is_cut_off_are_refused_by_the_former_master() {
    played("front-end/cut-off", &["ADR22: a former master refused whom a front end had sent"]);
}
