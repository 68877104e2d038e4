//! Further transitions and answers: L1, R2, R7, R15, R18, R21, S6, S8, S12.

use super::*;
use crate::check::commits::{Facts, is_audited};
use crate::check::control::Control;
use crate::check::engines::in_order;
use crate::check::front_ends::FrontEnds;
use crate::check::{Heal, liveness};
use slot_agent::core::image::{LedgerWrite, OrderEntry};
use slot_coordinator::core::{ControlRequest, Entry, Reply};
use slot_engine::journal::core as journal;
use slot_machine::command::{Answer, Proposal, RequestId};
use slot_types::codec;
use slot_types::order::{Action, NeverWill, Order, Subject};

fn order(action: Action, n: u64) -> Order {
    Order {
        cluster: ClusterId([9; 16]),
        term: Term(1),
        index: LogIndex(0),
        id: OrderId { step: 0x4000, ..id(0) },
        incarnation: Incarnation([1; 16]),
        boot: BootId([1; 16]),
        subject: Some(Subject { store: store(), slot: 1, generation: CopyGeneration(1), epoch: epoch(n) }),
        budget_ms: 1,
        action,
    }
}

fn knowing(tasks: Vec<Task>) -> Commits {
    Commits::knowing(state(1, Some("h1"), None, tasks))
}

#[test]
fn l1_a_plan_that_does_not_end() {
    let heal = Heal { begun_ms: 0, ended_ms: 90_000, bound_ms: 60_000 };
    let mut now = state(1, Some("h1"), None, vec![hand_over()]);
    let wrong: Vec<_> = liveness(&heal, Some(90_000), Some(&now)).iter().map(|v| v.invariant).collect();
    assert_eq!(wrong, ["L1"]);
    now.plans.get_mut(&PlanId(1)).unwrap().status = PlanStatus::Done;
    assert_eq!(liveness(&heal, Some(90_000), Some(&now)), []);
}

#[test]
fn r2_a_record_of_an_older_epoch_after_newer_ones() {
    let mut found = Found::default();
    in_order(&mut found, &slot("h1"), 3, epoch(2), epoch(2));
    assert_eq!(said(&found), [""; 0]);
    in_order(&mut found, &slot("h1"), 3, epoch(2), epoch(1));
    assert_eq!(said(&found), ["R2"]);
}

#[test]
fn r15_other_bytes_are_recorded_or_shown() {
    let (engines, ledgers) = (Engines::default(), Ledgers::default());
    let front_ends = FrontEnds::default();
    let facts = Facts { ledgers: &ledgers, engines: &engines, front_ends: &front_ends };
    let commits = || knowing(vec![hand_over()]);
    let recorded = commits().plan_bytes(PlanId(1)).unwrap().to_vec();
    let other = plan(wanted(), Vec::new()).bytes();
    for (bytes, wrong) in [(recorded, 0), (other, 1)] {
        let mut found = Found::default();
        let answer = Answer::Plan { id: PlanId(1), people_missing: 1 };
        let command = Command::RecordPlan { bytes: bytes.clone() };
        commits().accepted(&mut found, facts, 3, &command, &answer);
        assert_eq!(said(&found), vec!["R15"; wrong]);
        let (mut found, mut control) = (Found::default(), Control::default());
        let request = ControlRequest::RejectPlan { request: None, plan: PlanId(1), reason: "no".into() };
        control.asked(1, 1, &request, Revision(0));
        let reply = Ok(Reply::Plan { id: PlanId(1), bytes, people_missing: 0 });
        control.replied(&mut found, &commits(), (1, 1), Revision(0), &reply);
        assert_eq!(said(&found), vec!["R15"; wrong]);
    }
}

#[test]
fn r21_one_request_two_plans() {
    let (mut found, mut control) = (Found::default(), Control::default());
    let mut commits = knowing(vec![hand_over()]);
    commits.state.plans.insert(PlanId(2), record_of(2, vec![hand_over()]));
    let request = Some(RequestId { session: 1, sequence: 1 });
    for (token, id, wrong) in [(1, 1, 0), (2, 1, 0), (3, 2, 1)] {
        let asked = ControlRequest::MakePlan {
            request,
            intent: Box::new(wanted()),
            reason: "test".into(),
            said: Default::default(),
        };
        control.asked(1, token, &asked, Revision(0));
        let bytes = commits.plan_bytes(PlanId(id)).unwrap().to_vec();
        let reply = Ok(Reply::Plan { id: PlanId(id), bytes, people_missing: 1 });
        control.replied(&mut found, &commits, (1, token), Revision(0), &reply);
        assert_eq!(said(&found), vec!["R21"; wrong]);
    }
}

#[test]
fn r21_a_repeated_request_that_is_answered_otherwise_or_takes_effect() {
    let (engines, ledgers) = (Engines::default(), Ledgers::default());
    let front_ends = FrontEnds::default();
    let facts = Facts { ledgers: &ledgers, engines: &engines, front_ends: &front_ends };
    let (mut found, mut commits) = (Found::default(), Commits::default());
    let entry = |request, command| {
        let proposal = Proposal { request, log_time: LogTime(0), wall: WallTime(0), command };
        Entry { life: [0; 16], counter: 1, proposal }
    };
    commits.entry(&mut found, facts, 2, 1, &codec::encode(&entry(None, Command::OpenSession)));
    let request = Some(RequestId { session: 2, sequence: 1 });
    let leads = entry(request, Command::NewLeader { node: CoordinatorName::new("c1").unwrap() });
    assert!(!commits.is_repeated(&mut found, &leads.proposal, &Answer::Done));
    assert!(commits.is_repeated(&mut found, &leads.proposal, &Answer::Done));
    assert_eq!(said(&found), [""; 0]);
    commits.entry(&mut found, facts, 3, 1, &codec::encode(&leads));
    assert_eq!(said(&found), ["R21"], "it takes effect anew");
    commits.is_repeated(&mut found, &leads.proposal, &Answer::Session(7));
    assert_eq!(said(&found), ["R21"; 2], "it is answered otherwise");
}

#[test]
fn s6_an_outcome_that_no_agent_gave() {
    let (engines, mut ledgers) = (Engines::default(), Ledgers::default());
    let host = HostName::new("h1").unwrap();
    ledgers.powered(&host, None);
    let outcome = Outcome::NeverWill(NeverWill::Cancelled);
    let entry = OrderEntry {
        index: LogIndex(3),
        slot: Some(1),
        boot: BootId([1; 16]),
        fingerprint: None,
        outcome: Some(outcome.clone()),
    };
    ledgers.durable(&mut Found::default(), &host, &[LedgerWrite::Order(id(0), entry)]);
    let front_ends = FrontEnds::default();
    let facts = Facts { ledgers: &ledgers, engines: &engines, front_ends: &front_ends };
    for (outcome, wrong) in [(outcome, 0), (Outcome::Done(Done::Plain), 1)] {
        let mut found = Found::default();
        let command = Command::FinishStep { id: id(0), outcome };
        Commits::default().accepted(&mut found, facts, 3, &command, &Answer::Done);
        assert_eq!(said(&found), vec!["S6"; wrong]);
    }
}

#[test]
fn r18_a_thaw_after_the_commit() {
    let (mut found, mut commits) = (Found::default(), Commits::default());
    let now = state(1, Some("h1"), None, vec![hand_over()]);
    let thaw = order(Action::Thaw { freeze: id(0) }, 1);
    let host = HostName::new("h1").unwrap();
    commits.check_order(&mut found, &host, &thaw);
    assert_eq!(said(&found), [""; 0]);
    commits.tasks.started(&mut found, &now, &base(1, "h1"), 3, (at(1), 1), &seen_well());
    commits.check_order(&mut found, &host, &thaw);
    assert_eq!(said(&found), ["R18"]);
}

#[test]
fn s12_an_effect_without_an_audit_entry() {
    let mut found = Found::default();
    let start = Command::StartStep { step: at(0), attempt: 1, guards: Evidence::default() };
    is_audited(&mut found, 3, 1, &start);
    is_audited(&mut found, 3, 0, &Command::OpenSession);
    assert_eq!(said(&found), [""; 0]);
    is_audited(&mut found, 3, 0, &start);
    assert_eq!(said(&found), ["S12"]);
}

#[test]
fn s8_declared_away_while_an_engine_serves() {
    let cluster = state(1, Some("h1"), None, Vec::new()).cluster.unwrap();
    for (role, wrong) in [(EngineRole::Demoted, 0), (EngineRole::Replica, 1)] {
        let (mut found, mut engines) = (Found::default(), Engines::default());
        let config = journal::Config::new(store(), slot("h2"), CopyGeneration(1));
        let (core, _) = journal::JournalCore::open(config.clone(), journal::fresh_files(&config), 0).unwrap();
        engines.opens(&mut found, &slot("h2"), &core);
        engines.all.get_mut(&slot("h2")).unwrap().role = (role, epoch(1));
        nothing_serves(&mut found, &cluster, &HostName::new("h2").unwrap(), HostState::Maintenance, &engines);
        assert_eq!(said(&found), vec!["S8"; wrong]);
    }
}

#[test]
fn r7_a_raised_copy_that_holds_what_the_new_master_lacks() {
    for raised in [true, false] {
        let mut found = Found::default();
        let (mut engines, mut acks, mut commits) = (Engines::default(), Acks::default(), Commits::default());
        let (mut ledgers, touched) = (Ledgers::default(), BTreeMap::new());
        for host in ["h1", "h2", "h3"] {
            let config = journal::Config::new(store(), slot(host), CopyGeneration(1));
            let (core, _) = journal::JournalCore::open(config.clone(), journal::fresh_files(&config), 0).unwrap();
            engines.opens(&mut found, &slot(host), &core);
        }
        for host in ["h1", "h3"] {
            let engine = engines.all.get_mut(&slot(host)).unwrap();
            engine.chain.push(Digest::of(b"one"));
            engine.ids.insert((1, 1), 0);
            engine.durable = 1;
        }
        if raised {
            let (host, raise) = (HostName::new("h3").unwrap(), order(Action::Raise, 2));
            ledgers.powered(&host, None);
            ledgers.delivered(&host, &codec::encode(&raise));
            let entry = OrderEntry {
                index: LogIndex(3),
                slot: Some(1),
                boot: raise.boot,
                fingerprint: None,
                outcome: Some(Outcome::Done(Done::Plain)),
            };
            ledgers.durable(&mut Found::default(), &host, &[LedgerWrite::Order(raise.id, entry)]);
        }
        let sheet = Sheet {
            plan: PlanId(1),
            class: LossClass::Unknown,
            fence: FenceLevel::Attested,
            waived: BTreeSet::from([slot("h1")]),
        };
        let allocated = Allocated { holder: slot("h2"), sheet: Some(sheet) };
        commits.epochs.entry(store()).or_default().insert(epoch(2), allocated);
        let record = RecordId { client: ClientName::new("w1").unwrap(), sequence: 1 };
        let (name, giver) = (store(), slot("h1"));
        let ack = crate::check::acks::Ack {
            store: &name,
            slot: &giver,
            epoch: epoch(1),
            index: 0,
            record: &record,
            id: Some((1, 1)),
        };
        let context = Context { commits: &commits, ledgers: &ledgers, engines: &engines, touched: &touched };
        acks.given(&mut found, &ack, context);
        acks.new_master(&mut found, &slot("h2"), epoch(2), context);
        assert_eq!(said(&found), if raised { vec!["R7"] } else { vec![] });
    }
}
