//! R10 in the simulator: the coordinators' disks are lost and restored from a backup, and every run is clean.

mod played;

fn played(name: &str, reached: &[&str]) {
    played::played(name, &["R10: every host was re-adopted"], reached);
}

#[test]
fn r10_what_was_handed_over_after_the_backup_is_learnt_from_the_hosts() {
    played(
        "r10-backup-epoch-taken",
        &["R10: a store's epoch was above the backup's", "S10: clients were served while hosts were re-adopted"],
    );
}

#[test]
fn s16_an_order_of_a_former_generation_comes_too_late() {
    played("r10-former-generation-obeyed", &["S16: an order of a former generation came to a re-adopted host"]);
}

#[test]
fn r3_a_former_master_that_heard_of_no_demote_is_named_at_the_rebuild() {
    played("r10-former-master-forgotten", &["R10: a former master was found at a restore"]);
}

#[test]
fn r10_nothing_is_planned_before_every_host_was_re_adopted() {
    let beside = "R10: a coordinator of before ran beside the restored ones";
    played("restore/asked-too-early", &["R10: a host booted while it was re-adopted", beside]);
}

#[test]
fn r10_the_same_backup_is_restored_twice_and_its_generation_refused() {
    played("restore/same-backup-twice", &["R10: a generation that was used already was refused"]);
}

#[test]
fn r10_a_promote_that_is_open_at_the_re_adoption_is_no_mystery() {
    played("restore/promote-open", &["R10: a promote was open when its host was re-adopted"]);
}

#[test]
fn r2_r3_a_demote_that_is_open_at_the_re_adoption_fences_nobody_yet() {
    played("restore/demote-open", &[]);
}

#[test]
fn s16_an_order_that_waits_behind_a_call_is_void_after_the_re_adoption() {
    played("restore/order-waits", &[]);
}

#[test]
fn r10_a_hand_over_that_was_between_two_steps_ends_with_a_master() {
    played("restore/between-steps", &["R10: a store came back without a master"]);
}

#[test]
fn r16_copies_that_came_or_went_after_the_backup_are_those_of_the_hosts() {
    played("restore/plain-or-copies", &[]);
}
