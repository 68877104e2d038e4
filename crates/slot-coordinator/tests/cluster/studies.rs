//! The planner is asked beside the core.

use super::world::World;
use super::{built, host};
use slot_coordinator::core::{ControlRequest, Failure, Reply};
use slot_types::cluster::HostState;
use slot_types::codec;
use slot_types::plan::{Intent, Said};
use slot_types::view::{Query, View};

/// Longer than followers wait for a leader.
const LONG_MS: u64 = 20_000;

fn wanted(intent: Intent) -> ControlRequest {
    ControlRequest::MakePlan { request: None, intent: Box::new(intent), reason: "test".into(), said: Said::default() }
}

fn reply(world: &mut World, token: u64) -> Result<Reply, Failure> {
    world.until("a reply", |w| w.replies.contains_key(&token));
    world.replies[&token].clone()
}

#[test]
fn l1_a_leader_leads_while_the_planner_works() {
    let mut world = built(61, 3);
    let (leader, term) = (world.leader().unwrap(), world.term());
    world.study_ms = LONG_MS;
    let began = world.now;
    let asked = world.begin(leader, "alice", wanted(Intent::DrainHost(host("imap1"))));
    let seen = world.begin(leader, "alice", ControlRequest::View { query: Query::Status, stale_ok: false });
    // What asks nothing of the planner does not wait for it.
    world.view(Query::Routes);
    assert!(world.now < began + 1_000);
    let revision = world.core(leader).state().revision;
    let hold = slot_types::hold::HoldOn::Host(host("imap2"));
    world.ask_leader("alice", &ControlRequest::Hold { request: None, on: hold, reason: "test".into() }).unwrap();
    let Ok(Reply::View { bytes, revision: of, confirmed: true }) = reply(&mut world, seen) else { panic!("a view") };
    let View::Status(status) = codec::decode(&bytes).unwrap() else { panic!("a status") };
    // It is of when it was asked for, the planner's part as the rest.
    assert_eq!((of, status.revision), (revision, revision));
    assert!(status.holds.is_empty() && status.worst_losses.value().is_some_and(|worst| !worst.is_empty()));
    assert!(matches!(reply(&mut world, asked), Ok(Reply::Plan { .. })));
    assert!(world.now >= began + LONG_MS);
    assert_eq!((world.leader(), world.term()), (Some(leader), term));
}

#[test]
fn r14_a_plan_that_was_found_too_late_is_not_recorded() {
    let mut world = built(62, 3);
    let first = world.plan(Intent::DrainHost(host("imap1"))).unwrap();
    world.study_ms = LONG_MS;
    let leader = world.leader().unwrap();
    let asked = world.begin(leader, "bob", wanted(Intent::DrainHost(host("imap1"))));
    world.run_for(1_000);
    world.approve(first).unwrap();
    world.until("the first drain", |w| w.plan_status(first).as_deref() == Some("done"));
    assert!(!world.replies.contains_key(&asked));
    let Err(Failure::Refused(why)) = reply(&mut world, asked) else { panic!("a refusal") };
    assert!(why.contains("imap1") || why.contains("store"), "{why}");
    let state = world.core(leader).state();
    assert_eq!(state.plans.keys().max(), Some(&first), "{why}");
    assert_eq!(state.cluster.as_ref().unwrap().hosts[&host("imap1")].declared, HostState::Maintenance);
}

#[test]
fn r17_a_plan_that_was_asked_of_a_former_leadership_is_not_recorded() {
    let mut world = built(63, 3);
    world.study_ms = LONG_MS;
    let leader = world.leader().unwrap();
    let plans = world.core(leader).state().plans.len();
    let asked = world.begin(leader, "alice", wanted(Intent::DrainHost(host("imap1"))));
    world.run_for(1_000);
    world.cut_off = Some(leader);
    world.until("another leader", |w| w.other_leads(leader));
    world.cut_off = None;
    let reply = reply(&mut world, asked);
    assert!(matches!(reply, Err(Failure::NotLeader { .. })), "{reply:?}");
    world.run_for(5_000);
    let leader = world.leader().unwrap();
    assert_eq!(world.core(leader).state().plans.len(), plans);
}

#[test]
fn a_planner_that_ends_without_an_answer_ends_nothing_else() {
    let mut world = built(64, 3);
    world.planner_ends = true;
    for request in
        [wanted(Intent::DrainHost(host("imap1"))), ControlRequest::View { query: Query::Risks, stale_ok: false }]
    {
        let Err(Failure::Refused(why)) = world.ask_leader("alice", &request) else { panic!("a refusal") };
        assert!(why.contains("it ended") && why.contains("nothing has changed"), "{why}");
    }
    world.planner_ends = false;
    world.plan(Intent::DrainHost(host("imap1"))).unwrap();
}

#[test]
fn questions_to_the_planner_are_bounded_and_each_is_answered() {
    let mut world = built(65, 3);
    world.study_ms = LONG_MS;
    let leader = world.leader().unwrap();
    let tokens: Vec<u64> = (0..40)
        .map(|_| world.begin(leader, "alice", ControlRequest::View { query: Query::Risks, stale_ok: false }))
        .collect();
    let answers: Vec<bool> = tokens.into_iter().map(|token| reply(&mut world, token).is_ok()).collect();
    assert_eq!(answers.iter().filter(|answered| **answered).count(), 32);
    world.plan(Intent::DrainHost(host("imap1"))).unwrap();
}
