//! The control API: S13, R15, R21.

use crate::raft::Log;
use crate::*;
use slot_coordinator::core::{ControlRequest, Effect, Event, Failure, Reply};
use slot_machine::command::{Command, Proposal, RequestId};
use slot_sim::check::Seen;
use slot_types::view::Query;

fn ask(log: &mut Log, token: u64, request: ControlRequest) {
    let event = Event::Request { token, who: OperatorName::new("ann").unwrap(), request };
    log.w.saw(3, Seen::CoordinatorTakes { node: 1, event: &event });
}

fn view(stale_ok: bool) -> ControlRequest {
    ControlRequest::View { query: Query::Status, stale_ok }
}

fn shown(log: &mut Log, token: u64, revision: u64, confirmed: bool) {
    let reply = Reply::View { bytes: Vec::new(), revision: Revision(revision), confirmed };
    log.did(1, &[Effect::Reply { token, reply: Ok(reply) }]);
}

#[test]
fn s13_reads_that_show_everything_are_well_and_older_ones_are_not() {
    let mut log = Log::new();
    log.found();
    log.leader();
    ask(&mut log, 1, view(false));
    shown(&mut log, 1, 2, true);
    ask(&mut log, 2, view(true));
    shown(&mut log, 2, 1, false);
    silent(&log.w);
    ask(&mut log, 3, view(false));
    shown(&mut log, 3, 1, true);
    breaks(&log.w, "S13");
}

#[test]
fn s13_labels_revisions_and_answers_to_nobody() {
    for (stale_ok, revision, confirmed) in [(false, 1, false), (true, 1, true), (false, 9, true)] {
        let mut log = Log::new();
        log.found();
        ask(&mut log, 1, view(stale_ok));
        shown(&mut log, 1, revision, confirmed);
        breaks(&log.w, "S13");
    }
    let mut log = Log::new();
    log.found();
    ask(&mut log, 1, ControlRequest::OpenSession);
    let reply = Ok(Reply::Changed { revision: Revision(2) });
    log.did(1, &[Effect::Reply { token: 1, reply }]);
    breaks(&log.w, "S13");
    let mut log = Log::new();
    log.did(1, &[Effect::Reply { token: 1, reply: Err(Failure::NotLeader { leader: None }) }]);
    breaks(&log.w, "S13");
}

#[test]
fn s13_a_plan_that_is_not_committed() {
    let mut log = Log::new();
    log.found();
    let request = ControlRequest::RejectPlan { request: None, plan: PlanId(1), reason: "no".into() };
    ask(&mut log, 1, request);
    let reply = Ok(Reply::Plan { id: PlanId(1), bytes: vec![1], people_missing: 1 });
    log.did(1, &[Effect::Reply { token: 1, reply }]);
    breaks(&log.w, "S13");
}

#[test]
fn r21_a_session_that_no_entry_opened() {
    let mut log = Log::new();
    log.found();
    let proposal = log.proposal(Command::OpenSession);
    log.commit(proposal);
    let session = log.index;
    for (token, said) in [(1, session), (2, session + 1)] {
        ask(&mut log, token, ControlRequest::OpenSession);
        log.did(1, &[Effect::Reply { token, reply: Ok(Reply::Session(said)) }]);
        assert_eq!(broken(&log.w), if said == session { vec![] } else { vec!["R21"] });
    }
}

#[test]
fn r21_a_request_that_is_repeated_is_well_as_long_as_its_answer_is_the_same() {
    let mut log = Log::new();
    log.found();
    let proposal = log.proposal(Command::OpenSession);
    log.commit(proposal);
    let request = Some(RequestId { session: log.index, sequence: 1 });
    let reject = Command::RejectPlan { plan: PlanId(7), by: OperatorName::new("ann").unwrap(), reason: "no".into() };
    for _ in 0..3 {
        let proposal = Proposal { request, ..log.proposal(reject.clone()) };
        log.commit(proposal);
    }
    silent(&log.w);
}
