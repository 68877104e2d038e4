//! Seeds that found something, kept.
//!
//! What always holds: a seed here failed once, for the reason that `docs/bugs-found.md` gives. A seed's world changes with
//! whatever is drawn in it, so each bug also has a test of its own where that was possible.

use slot_sim::run::{self, Options};

fn clean(seeds: &[u64]) {
    for seed in seeds {
        let outcome = run::run(*seed, &Options::default());
        assert!(outcome.is_clean(), "seed {seed}: {:?} {:?}", outcome.violations, outcome.panicked);
    }
}

/// Three stores of three hosts whose making was given up: there was no room to make them again beside themselves.
#[test]
fn l1_several_stores_that_were_given_up_are_made_where_they_were() {
    clean(&[8121, 8206]);
}

/// Two copies, one of which must hold every record beside the master: the copy whose records were to come back had to follow
/// after that, and the master took nothing before it did.
#[test]
fn r24_records_come_back_to_a_master_that_needs_the_copy_they_are_on() {
    clean(&[10335, 20201, 20957]);
}

/// A copy that had gone with its disk was raised at every failover of its store, and each stopped there.
#[test]
fn l1_a_store_with_a_copy_that_went_with_its_disk_fails_over() {
    clean(&[26301]);
}

/// A Promote is called stuck, its plan is aborted, and only then is it held back, since the attested master came back.
#[test]
fn l1_a_promote_held_back_after_the_abort_holds_no_store() {
    for seed in 0..3 {
        let directed = Some("reach/promote-held-after-an-abort".to_string());
        let outcome = run::run(seed, &Options { directed, ..Options::default() });
        assert!(outcome.is_clean(), "seed {seed}: {:?} {:?}", outcome.violations, outcome.panicked);
    }
}

/// Damage that was none, and plans that held their stores after they were aborted.
#[test]
fn l1_seeds_that_never_became_well() {
    clean(&[9193, 9284, 11034, 26301, 40350]);
}

/// A paused follower took entries of one term, and the next leader's in their place, before the first were on disk: what it
/// then acknowledged of the older term was never there.
#[test]
fn s14_no_acknowledgement_of_entries_that_were_cut_before_they_were_durable() {
    for (seed, play) in [
        (34685, "pair/undrain/pause/72/leader-killed/107"),
        (44673, "pair/drain/pause/22/crash/98"),
        (66350, "pair/create-store/pause/36/crash/55"),
    ] {
        let outcome = run::run(seed, &Options { directed: Some(play.into()), ..Options::default() });
        assert!(outcome.is_clean(), "{play}: {:?} {:?}", outcome.violations, outcome.panicked);
    }
}

/// A bug of the simulator: a run was said to be well before a follower had asked its master, back from the dead, what of its
/// log to keep (R16).
#[test]
fn r16_a_run_is_not_well_before_its_followers_hold_their_masters_log() {
    let directed = Some("pair/reinject/pause/15/eio/52".to_string());
    let outcome = run::run(28025, &Options { directed, ..Options::default() });
    assert!(outcome.is_clean(), "{:?} {:?}", outcome.violations, outcome.panicked);
}

/// While a copy moves within its rack a host may hold two copies of one store: its drain had no order between their tasks, and
/// handed a master over to the other one.
#[test]
fn l1_a_host_with_two_copies_of_one_store_is_drained() {
    clean(&[824, 1209, 2923]);
}

/// Two plans of everyday recovery acted on one store, beside a build.
#[test]
fn r13_one_recovery_at_a_time_beside_a_build() {
    clean(&[523, 1315]);
}

/// An epoch was given to the only whole copy, its plan was aborted before the Promote, and no sheet could make it master.
#[test]
fn l1_a_slot_that_was_to_be_master_is_promoted_itself_when_nothing_else_is_left() {
    clean(&[10052, 11422, 14787, 17935, 22490, 25692, 29480]);
}

/// A bug of the simulator: a copy's "holds everything" was committed after an older disk was put back, before the new boot was
/// in the log (S2 tells the leader with the next report).
#[test]
fn r16_what_was_seen_before_an_old_disk_came_back_may_still_be_committed() {
    clean(&[8823]);
}

/// The witnesses were too strict: they took a resent order for one that leaves on another's round (S15), what went on while its
/// plan was paused for something begun (R18), and waited for the clients of a store that a person had just retired (L2).
#[test]
fn s15_r18_l2_nothing_is_said_of_rounds_pauses_and_stores_that_are_as_they_should_be() {
    clean(&[30916, 31167, 30554, 32661, 33076]);
}

/// A succeeded master whose disk was replaced, and a master with a loss case of its own that is handed over first.
#[test]
fn l1_seeds_of_people_who_read_what_they_are_told() {
    clean(&[104156, 109657]);
}

/// The witness was too strict: an engine died in a freeze before that was durable, its next process got the same freeze from a
/// call that had been held up, and the witness counted the limit from the first.
#[test]
fn r12_a_freeze_that_its_engine_died_in_is_bounded_anew() {
    clean(&[407192]);
}

/// The witness was too strict: it wanted a loss case of a master that was being demoted when the coordinators were lost, though
/// nobody had been promoted past it: whoever is next fences it first, or has it on the sheet.
#[test]
fn r7_a_restored_store_without_a_successor_has_left_nothing_behind() {
    clean(&[500930]);
}

/// The witness was too strict: an agent died in writing a branch, which was on its disk all the same.
#[test]
fn r19_a_branch_that_its_agent_died_in_writing_is_on_its_disk() {
    clean(&[1512]);
}

/// The witness was too strict: it wanted a copy that was about to be destroyed with its store named among what a power cut kills.
#[test]
fn r6_a_sheet_names_what_serves_and_not_what_is_about_to_be_destroyed() {
    clean(&[12775]);
}

/// An older disk was put back within five seconds of its host's last acknowledgement, and its first report, of a boot that the log
/// did not have yet, was not held against that.
#[test]
fn s2_an_older_disk_is_known_by_the_first_report_of_its_boot() {
    clean(&[8125]);
}

/// The people of the simulator were too careful: they put no new disk in while the last copy of a store that was being retired
/// was on the older one, for ever.
#[test]
fn l1_of_a_store_that_is_retired_nothing_is_wanted_any_more() {
    clean(&[19444]);
}
