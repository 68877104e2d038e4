//! R19 in the simulator: what people start at their machines is adopted or told of, and every run is clean.

mod played;

fn played(name: &str, reached: &[&str]) {
    played::played(name, reached, &[]);
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
