//! What planted bugs needed eyes for: R6, R15, R27, S5, S7, and a log that is dropped in the step that applies it.

use super::*;
use crate::check::commits::Facts;
use crate::check::front_ends::FrontEnds;
use crate::check::raft::Raft;
use slot_machine::command::Answer;
use slot_proto::pb::{RaftEntry, RaftEntryType, RaftLogStart};
use slot_raft::{PersistBatch, Restored};
use slot_types::order::{Action, Order};

#[test]
fn r6_a_yes_that_is_not_the_last_allocates_an_epoch() {
    for started in [true, false] {
        let (mut found, mut commits) = (Found::default(), Commits::default());
        let task = fail_over(LossClass::Unknown, FenceLevel::None, &["h1"]);
        commits.state = state(2, None, Some("h2"), vec![task]);
        let record = commits.state.plans.get_mut(&PlanId(1)).unwrap();
        record.started = record.started.filter(|_| started);
        let digest = record.digest.short();
        let (by, guards) = (person("bob"), Evidence::default());
        let yes = Command::ApprovePlan { plan: PlanId(1), digest, by, reason: "yes".into(), guards };
        commits.stores_changed(&mut found, 3, &yes);
        assert_eq!(said(&found), if started { vec![] } else { vec!["S3"] });
    }
}

#[test]
fn s5_a_plan_that_was_over_starts() {
    let (mut found, mut tasks) = (Found::default(), Tasks::default());
    let mut now = state(1, Some("h1"), None, vec![hand_over()]);
    let record = now.plans.get_mut(&PlanId(1)).unwrap();
    record.status = PlanStatus::Rejected { by: person("bob"), reason: "no".into() };
    record.started = None;
    assert_eq!(tasks.plans_changed(&mut found, &now), []);
    let record = now.plans.get_mut(&PlanId(1)).unwrap();
    (record.status, record.started) = (PlanStatus::Running, Some(LogTime(2)));
    assert_eq!(tasks.plans_changed(&mut found, &now), [(PlanId(1), true)]);
}

#[test]
fn s7_a_promote_past_a_host_whose_attestation_is_gone() {
    for attested in [true, false] {
        let (mut found, mut tasks) = (Found::default(), Tasks::default());
        let create = Task { epoch: epoch(0), ..fail_over(LossClass::NoneProvable, FenceLevel::Demoted, &[]) };
        let create = Task { steps: vec![step(StepKind::Promote, Some("h1"))], ..create };
        let before = state(1, None, Some("h1"), vec![create]);
        tasks.started(&mut found, &before, &base(0, "h1"), 3, (at(0), 1), &Evidence::default());
        tasks.finished(&before, id(0), &Outcome::Done(Done::Plain));
        let mut now = state(2, None, Some("h2"), vec![fail_over(LossClass::Unknown, FenceLevel::Attested, &["h1"])]);
        let (host, boot) = (HostName::new("h1").unwrap(), BootId([1; 16]));
        let cluster = now.cluster.as_mut().unwrap();
        cluster.hosts.get_mut(&host).unwrap().boot = Some(boot);
        if attested {
            let (by, at, expires) = (person("ann"), LogTime(0), LogTime(9));
            cluster.attestations.insert(host, Attestation { boot, how: "seen".into(), by, at, expires });
        }
        tasks.started(&mut found, &now, &base(2, "h1"), 5, (at(1), 1), &Evidence::default());
        assert_eq!(said(&found), if attested { vec![] } else { vec!["S7"] });
    }
}

#[test]
fn r15_a_new_leader_changes_a_plan() {
    let (engines, ledgers) = (Engines::default(), Ledgers::default());
    let front_ends = FrontEnds::default();
    let facts = Facts { ledgers: &ledgers, engines: &engines, front_ends: &front_ends };
    for changed in [true, false] {
        let mut found = Found::default();
        let mut commits = Commits::knowing(state(1, Some("h1"), None, vec![hand_over()]));
        let bytes = commits.plan_bytes(PlanId(1)).unwrap().to_vec();
        commits.plans.insert(PlanId(1), Recorded::new(&bytes, LogTime(0), &BTreeMap::new()).unwrap());
        if changed {
            commits.state.plans.get_mut(&PlanId(1)).unwrap().bytes.push(0);
        }
        let leads = Command::NewLeader { node: CoordinatorName::new("c2").unwrap() };
        commits.accepted(&mut found, facts, 9, &leads, &Answer::Done);
        assert_eq!(said(&found), if changed { vec!["R15"] } else { vec![] });
    }
}

#[test]
fn r27_an_order_moves_to_another_boot() {
    let (mut found, mut ledgers, commits) = (Found::default(), Ledgers::default(), Commits::default());
    let host = HostName::new("h1").unwrap();
    let mut send = |boot: u8| {
        let order = Order {
            cluster: ClusterId([9; 16]),
            term: Term(1),
            index: LogIndex(7),
            id: id(0),
            incarnation: Incarnation([1; 16]),
            boot: BootId([boot; 16]),
            subject: None,
            budget_ms: 1,
            action: Action::ConfirmStopped,
        };
        ledgers.emitted(&mut found, &commits, &host, &slot_types::codec::encode(&order));
        said(&found).contains(&"R27")
    };
    assert!(!send(1) && !send(1) && send(2));
}

#[test]
fn s14_what_a_log_drops_was_applied_before() {
    let (mut found, mut raft) = (Found::default(), Raft::new(1));
    let entry = |index| RaftEntry { r#type: RaftEntryType::Normal.into(), term: 1, index, data: vec![1] };
    let batch = PersistBatch { entries: (1..=3).map(entry).collect(), ..PersistBatch::default() };
    raft.asked(&mut found, 1, &batch, 0);
    raft.durable(1, &batch);
    let log_start = Some(RaftLogStart { index: 2, term: 1 });
    raft.asked(&mut found, 1, &PersistBatch { log_start, ..PersistBatch::default() }, 3);
    assert!(!raft.applied(&mut found, 1, 3), "nothing was installed");
    assert_eq!(raft.next_committed(0).map(|(index, _, _)| index), Some(1));
    assert_eq!(said(&found), [""; 0]);
}

/// A node may have acknowledged what was on the disk that it lost since, and nothing after that.
#[test]
fn s14_what_a_wiped_disk_held_was_acknowledged_before() {
    let (mut found, mut raft) = (Found::default(), Raft::new(3));
    let new = Restored::bootstrap(&[1, 2, 3], Vec::new());
    for id in 1..=3 {
        raft.opens(&mut found, id, [id as u8; 16], &new);
    }
    let take = |raft: &mut Raft, found: &mut Found, id, index| {
        let entry = RaftEntry { r#type: RaftEntryType::Normal.into(), term: 1, index, data: vec![1] };
        let batch = PersistBatch { entries: vec![entry], ..PersistBatch::default() };
        raft.asked(found, id, &batch, index - 1);
        raft.durable(id, &batch);
    };
    for id in [1, 2] {
        take(&mut raft, &mut found, id, 2);
    }
    raft.touched(2);
    raft.opens(&mut found, 2, [9; 16], &new);
    raft.applied(&mut found, 1, 2);
    assert_eq!(said(&found), [""; 0]);
    for id in [1, 2] {
        take(&mut raft, &mut found, id, 3);
    }
    raft.applied(&mut found, 1, 3);
    assert_eq!(said(&found), ["S14"]);
}
