//! Probes (docs/adr/0027 and 0039) in the simulator: what voids a word that a host is off, and what does not.

mod played;

use played::played;

#[test]
fn r8_a_third_host_sees_a_master_that_nobody_else_hears() {
    let voided = "R8: a probe that was answered voided a word";
    let silent = "R23: a host that the leader does not hear answered another host";
    played("r8-answered-probe-ignored", &[voided, silent], &[]);
}

#[test]
fn r8_an_answer_of_before_the_word_does_not_void_it() {
    played("r8-late-answer-counts", &[], &["R8: an answer to a probe of before a word came after the word"]);
}

#[test]
fn r8_a_host_that_stands_still_takes_connections_and_does_not_answer() {
    played("r8-connection-taken-for-an-answer", &["R8: a process that stood still was connected to"], &[]);
}

#[test]
fn r26_a_device_is_asked_for_the_sheet_and_left_alone_while_a_plan_holds_its_host() {
    let told = "R26: a sheet says what a device says of a host's power";
    played("r26-device-asked-while-held", &["R26: a silent host's device was asked for its status"], &[told]);
}

#[test]
fn adr39_every_master_is_looked_at_though_those_that_looked_fall_silent() {
    played("adr39-share-of-the-silent-dropped", &["ADR39: the share of silent agents was dealt to others"], &[]);
}

#[test]
fn r8_a_host_that_is_back_in_another_boot_is_not_off() {
    let boot = "R8: a host answered a probe in another boot than the one it was said to be off in";
    played("probe/another-boot", &["R8: a probe that was answered voided a word"], &[boot]);
}

#[test]
fn r8_an_engine_answers_though_its_agent_is_dead() {
    let engine = "R8: an engine answered a probe while its agent did not";
    played("probe/engine-without-agent", &[engine, "R8: a probe that was answered voided a word"], &[]);
}

#[test]
fn s15_what_comes_to_a_leader_of_before_is_nothing() {
    played("probe/leader-changes", &[], &["ADR27: what an agent saw came to a coordinator that leads no more"]);
}

#[test]
fn r8_no_answer_is_no_sign_of_life() {
    played("probe/one-way", &[], &[]);
}

#[test]
fn r8_each_word_falls_by_an_answer_of_its_own() {
    played("probe/word-given-again", &["R8: a probe that was answered voided a word"], &[]);
}
