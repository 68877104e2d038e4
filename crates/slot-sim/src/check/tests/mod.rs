//! What is judged of committed entries fires on transitions that the product refuses to make, which are made here by hand.

mod more;
mod planted;

use super::Found;
use super::acks::{Acks, Context};
use super::approvals::{Recorded, StoreBase};
use super::audit::{Chain, verify};
use super::commits::{Allocated, Commits, Sheet};
use super::engines::Engines;
use super::ledgers::Ledgers;
use super::places::{Places, nothing_serves};
use super::tasks::Tasks;
use slot_machine::audit::{Audit, AuditEntry};
use slot_machine::command::{Command, StepRef};
use slot_machine::state::{Approval, PlanRecord, PlanStatus, State, StepRun, StepState, TaskRun, TaskState};
use slot_types::cluster::*;
use slot_types::engine::{EngineRole, EngineStatus};
use slot_types::evidence::{CopyEvidence, Evidence, Seen};
use slot_types::ids::*;
use slot_types::order::{Done, Outcome};
use slot_types::plan::*;
use slot_types::position::{Digest, Tip};
use std::collections::{BTreeMap, BTreeSet};

fn slot(host: &str) -> SlotId {
    format!("{host}/1").parse().unwrap()
}
fn store() -> StoreName {
    StoreName::new("store1").unwrap()
}
fn person(name: &str) -> OperatorName {
    OperatorName::new(name).unwrap()
}
fn epoch(n: u64) -> Epoch {
    Epoch { generation: 0, n }
}
fn base(n: u64, master: &str) -> BTreeMap<StoreName, StoreBase> {
    BTreeMap::from([(store(), StoreBase { epoch: epoch(n), master: Some(slot(master)), pending: None })])
}
fn said(found: &Found) -> Vec<&'static str> {
    found.list.iter().map(|v| v.invariant).collect()
}
fn step(kind: StepKind, at: Option<&str>) -> Step {
    Step { kind, at: at.map(|host| Place::Slot(slot(host))), deadline_ms: 1 }
}
fn hand_over() -> Task {
    let steps = vec![
        step(StepKind::Freeze, Some("h1")),
        step(StepKind::CommitEpoch, None),
        step(StepKind::Demote, Some("h1")),
        step(StepKind::Promote, Some("h2")),
    ];
    let kind = TaskKind::HandOver { from: slot("h1"), to: slot("h2") };
    Task { kind, store: Some(store()), epoch: epoch(1), after: Vec::new(), steps }
}
fn loss(class: LossClass) -> LossStatement {
    LossStatement { class, candidate: Tip::default(), last_known: None, last_known_age_ms: None, known_lag: None }
}
fn fail_over(class: LossClass, fence: FenceLevel, waived: &[&str]) -> Task {
    let kind = TaskKind::FailOver {
        from: slot("h1"),
        to: slot("h2"),
        fence,
        waived: waived.iter().map(|host| slot(host)).collect(),
        unreachable: BTreeSet::new(),
        feed: None,
        loss: loss(class),
    };
    let steps = vec![step(StepKind::CommitEpoch, None), step(StepKind::Promote, Some("h2"))];
    Task { kind, store: Some(store()), epoch: epoch(1), after: Vec::new(), steps }
}
fn plan(intent: Intent, tasks: Vec<Task>) -> Plan {
    Plan {
        cluster: ClusterId([9; 16]),
        generation: 0,
        requested_by: Some(person("ann")),
        intent,
        reason: "test".into(),
        revision: Revision(1),
        created: LogTime(0),
        created_wall: WallTime(0),
        valid_ms: 60_000,
        facts: BTreeMap::new(),
        evidence: Evidence::default(),
        silent_hosts: 0,
        said: Default::default(),
        switch_off: BTreeMap::new(),
        people: 1,
        two_because: Vec::new(),
        tasks,
        notes: Vec::new(),
    }
}
fn wanted() -> Intent {
    Intent::FailOverSlot { slot: slot("h1"), to: None }
}

/// Starts a plan to which so many people said yes, and says what is wrong with it.
fn starts(task: Task, yes: &[(&str, u64, u64)], now: &BTreeMap<StoreName, StoreBase>) -> Vec<&'static str> {
    let bytes = plan(wanted(), vec![task]).bytes();
    let mut recorded = Recorded::new(&bytes, LogTime(1_000), &base(1, "h1")).unwrap();
    for (by, at, index) in yes {
        recorded.approved(&person(by), Digest::of(&bytes).short(), LogTime(*at), *index);
    }
    let mut found = Found::default();
    recorded.starts(&mut found, PlanId(1), &Policy::default(), now, 10);
    said(&found)
}

#[test]
fn s5_approvals_are_counted_anew() {
    let well = base(1, "h1");
    assert_eq!(starts(hand_over(), &[("ann", 2_000, 11)], &well), [""; 0]);
    assert_eq!(starts(hand_over(), &[], &well), ["S5"], "nobody");
    assert_eq!(starts(hand_over(), &[("ann", 99_000, 11)], &well), ["S5"], "too late");
    assert_eq!(starts(hand_over(), &[("ann", 2_000, 9)], &well), ["S5"], "before the last leader");
    assert_eq!(starts(hand_over(), &[("ann", 2_000, 11)], &base(2, "h1")), ["S5"], "another epoch");
    assert_eq!(starts(hand_over(), &[("ann", 2_000, 11)], &base(1, "h3")), ["S5"], "another master");
    let two = || fail_over(LossClass::Unknown, FenceLevel::Attested, &["h1"]);
    assert_eq!(starts(two(), &[("bob", 2_000, 11), ("carol", 2_000, 12)], &well), [""; 0]);
    assert_eq!(starts(two(), &[("bob", 2_000, 11)], &well), ["S5"], "one of two");
    assert_eq!(starts(two(), &[("bob", 2_000, 11), ("bob", 2_000, 12)], &well), ["S5"], "one person twice");
    assert_eq!(starts(two(), &[("bob", 2_000, 11), ("ann", 2_000, 12)], &well), ["S5"], "the requester");
}

#[test]
fn s5_another_digest_a_second_start_and_a_false_everyday() {
    let bytes = plan(wanted(), vec![hand_over()]).bytes();
    let mut recorded = Recorded::new(&bytes, LogTime(0), &base(1, "h1")).unwrap();
    recorded.approved(&person("ann"), Digest::of(b"other").short(), LogTime(1), 11);
    let mut found = Found::default();
    recorded.starts(&mut found, PlanId(1), &Policy::default(), &base(1, "h1"), 10);
    assert_eq!(said(&found), ["S5"]);
    recorded.starts(&mut found, PlanId(1), &Policy::default(), &base(1, "h1"), 10);
    assert_eq!(said(&found), ["S5"; 3]);
    let everyday = |task| plan(Intent::StartMaster { slot: slot("h1") }, vec![task]).bytes();
    let good = Task { kind: TaskKind::StartMaster { slot: slot("h1") }, ..hand_over() };
    for (task, wrong) in [(good, 0), (hand_over(), 1)] {
        let mut found = Found::default();
        let mut recorded = Recorded::new(&everyday(task), LogTime(0), &base(1, "h1")).unwrap();
        recorded.starts(&mut found, PlanId(1), &Policy::default(), &base(1, "h1"), 10);
        assert_eq!(found.list.len(), wrong);
    }
}

fn record_of(id: u64, tasks: Vec<Task>) -> PlanRecord {
    let plan = plan(wanted(), tasks);
    let bytes = plan.bytes();
    let run = |task: &Task| TaskRun {
        state: TaskState::Running,
        steps: vec![StepRun { state: StepState::Waiting { attempt: 1 }, stuck: None }; task.steps.len()],
        unwind: None,
        serve: None,
    };
    PlanRecord {
        id: PlanId(id),
        digest: Digest::of(&bytes),
        bytes,
        status: PlanStatus::Running,
        approvals: vec![Approval { by: person("ann"), at: LogTime(1), wall: WallTime(0), reason: String::new() }],
        people: 1,
        tasks: plan.tasks.iter().map(run).collect(),
        recorded: LogTime(0),
        started: Some(LogTime(1)),
        ended: None,
        ended_wall: None,
        plan,
    }
}

fn state(n: u64, master: Option<&str>, pending: Option<&str>, tasks: Vec<Task>) -> State {
    let mut cluster = Cluster::new(ClusterId([9; 16]), ClusterName::new("fm1").unwrap());
    let address = "127.0.0.1:1".parse().unwrap();
    for (number, name) in ["h1", "h2", "h3"].into_iter().enumerate() {
        let host = Host {
            at: Domain(vec!["site".into(), format!("r{number}")]),
            address,
            declared: HostState::Active,
            slots: BTreeMap::from([(1, SlotSpec { size_bytes: 100, address })]),
            incarnation: None,
            boot: None,
            quarantined: None,
            acknowledged: LogIndex(0),
            drained_masters: BTreeSet::new(),
            back_by: None,
            device: slot_types::fence::Device::default(),
            reboots: Vec::new(),
            weight: 1,
            version: 1,
        };
        cluster.hosts.insert(HostName::new(name).unwrap(), host);
    }
    let copy =
        |role, follows| Copy { role, state: CopyState::Serving, generation: CopyGeneration(1), follows, whole: true };
    let follows = master.map(|master| (slot(master), epoch(n)));
    let copies = ["h1", "h2"].map(|host| match master == Some(host) {
        true => (slot(host), copy(Role::Master, None)),
        false => (slot(host), copy(Role::Replica, follows.clone())),
    });
    let spec = StoreSpec {
        engine: EngineKind::Journal,
        copies: 2,
        size_bytes: 10,
        spread: Spread::Rack,
        sync_copies: 0,
        never: std::collections::BTreeSet::new(),
        load: 1,
    };
    let made = Store {
        spec,
        epoch: epoch(n),
        master: master.map(slot),
        pending: pending.map(slot),
        promote_started: false,
        copies: copies.into(),
        possible_masters: BTreeMap::new(),
        route: None,
        last_promoted: epoch(n),
        past: BTreeMap::new(),
        unheard: std::collections::BTreeSet::new(),
        retired: false,
        version: 1,
    };
    cluster.stores.insert(store(), made);
    let plans = BTreeMap::from([(PlanId(1), record_of(1, tasks))]);
    State { cluster: Some(cluster), plans, ..State::default() }
}

fn at(step: u16) -> StepRef {
    StepRef { plan: PlanId(1), task: 0, step }
}
fn id(step: u16) -> OrderId {
    OrderId { plan: PlanId(1), task: 0, step, attempt: 1 }
}

fn seen_well() -> Evidence {
    let status = |host: &str, role, following| EngineStatus {
        store: store(),
        slot: slot(host),
        generation: CopyGeneration(1),
        epoch: epoch(1),
        role,
        tip: Tip::default(),
        bytes: 0,
        history: Vec::new(),
        frozen: None,
        following,
        behind: Some(0),
        heard_ms: Some(1),
        verified_ms: Some(1),
        sync_copies: 0,
        aside: Vec::new(),
        verification: None,
    };
    let known = |status| Seen::Known { value: CopyEvidence::Running(Box::new(status)), age_ms: 100 };
    let copies = BTreeMap::from([
        (slot("h1"), known(status("h1", EngineRole::Master, None))),
        (slot("h2"), known(status("h2", EngineRole::Replica, Some((slot("h1"), epoch(1)))))),
    ]);
    Evidence { copies, ..Evidence::default() }
}

#[test]
fn s7_a_promote_past_a_master_that_is_not_fenced() {
    for demoted in [true, false] {
        let mut found = Found::default();
        let mut tasks = Tasks::default();
        // h1 was promoted at epoch 1 by some plan.
        let create = Task { epoch: epoch(0), ..fail_over(LossClass::NoneProvable, FenceLevel::Demoted, &[]) };
        let create = Task { steps: vec![step(StepKind::Promote, Some("h1"))], ..create };
        let before = state(1, None, Some("h1"), vec![create]);
        tasks.started(&mut found, &before, &base(0, "h1"), 3, (at(0), 1), &Evidence::default());
        tasks.finished(&before, id(0), &Outcome::Done(Done::Plain));
        let now = state(2, None, Some("h2"), vec![hand_over()]);
        if demoted {
            tasks.started(&mut found, &now, &base(2, "h1"), 4, (at(2), 1), &seen_well());
            tasks.finished(&now, id(2), &Outcome::Done(Done::Plain));
        }
        tasks.started(&mut found, &now, &base(2, "h1"), 5, (at(3), 1), &seen_well());
        assert_eq!(said(&found), if demoted { vec![] } else { vec!["S7"] });
        // R28: waived by name it may be promoted past, and the next sheet has to name it again.
        for (n, waived, wrong) in [(3, vec!["h1"], false), (4, vec![], true)] {
            let mut found = Found::default();
            let task = fail_over(LossClass::Unknown, FenceLevel::None, &waived);
            let now = state(n, None, Some("h2"), vec![task]);
            let other = StepRef { step: 1, ..at(0) };
            tasks.finished(&now, id(1), &Outcome::Done(Done::Plain));
            tasks.started(&mut found, &now, &base(n, "h1"), 6 + n, (other, 1), &Evidence::default());
            assert_eq!(said(&found).contains(&"S7"), wrong && !demoted);
            tasks.finished(&now, id(1), &Outcome::Done(Done::Plain));
        }
    }
}

#[test]
fn r14_r25_r21_steps_that_rest_on_nothing() {
    let now = state(1, Some("h1"), None, vec![hand_over()]);
    for (guards, wrong) in [(seen_well(), 0), (Evidence::default(), 2)] {
        let mut found = Found::default();
        Tasks::default().started(&mut found, &now, &base(1, "h1"), 3, (at(1), 1), &guards);
        assert_eq!(said(&found), vec!["R14"; wrong]);
    }
    let start = Task {
        kind: TaskKind::StartMaster { slot: slot("h1") },
        steps: vec![step(StepKind::StartMaster, Some("h1"))],
        ..hand_over()
    };
    for (master, wrong) in [("h1", 0), ("h2", 1)] {
        let mut found = Found::default();
        let now = state(1, Some(master), None, vec![start.clone()]);
        Tasks::default().started(&mut found, &now, &base(1, master), 3, (at(0), 1), &Evidence::default());
        assert_eq!(said(&found), vec!["R25"; wrong]);
    }
    let (mut found, mut tasks) = (Found::default(), Tasks::default());
    tasks.started(&mut found, &now, &base(1, "h1"), 3, (at(0), 1), &seen_well());
    assert_eq!(said(&found), [""; 0]);
    tasks.started(&mut found, &now, &base(1, "h1"), 4, (at(0), 2), &seen_well());
    assert_eq!(said(&found), ["R21"]);
}

#[test]
fn r4_a_task_that_ends_while_its_order_may_be_anywhere() {
    for answered in [true, false] {
        let (mut found, mut tasks) = (Found::default(), Tasks::default());
        let mut now = state(1, Some("h1"), None, vec![hand_over()]);
        tasks.plans_changed(&mut found, &now);
        tasks.started(&mut found, &now, &base(1, "h1"), 3, (at(0), 1), &seen_well());
        if answered {
            let cancel = OrderId { step: 0x8000, ..id(0) };
            tasks.finished(&now, cancel, &Outcome::Done(Done::Plain));
        }
        let record = now.plans.get_mut(&PlanId(1)).unwrap();
        record.tasks[0].state = TaskState::NotDone { why: "aborted".into() };
        tasks.plans_changed(&mut found, &now);
        assert_eq!(said(&found), if answered { vec![] } else { vec!["R4"] });
    }
}

#[test]
fn r16_done_while_a_copy_follows_the_old_master() {
    for follows in ["h2", "h1"] {
        let (mut found, mut tasks) = (Found::default(), Tasks::default());
        let mut now = state(2, Some("h2"), None, vec![hand_over()]);
        let copies = &mut now.cluster.as_mut().unwrap().stores.get_mut(&store()).unwrap().copies;
        copies.get_mut(&slot("h1")).unwrap().follows = Some((slot(follows), epoch(2)));
        let record = now.plans.get_mut(&PlanId(1)).unwrap();
        (record.status, record.tasks[0].state) = (PlanStatus::Done, TaskState::Done);
        tasks.plans_changed(&mut found, &now);
        assert_eq!(said(&found), if follows == "h2" { vec![] } else { vec!["R16"] });
    }
}

#[test]
fn r13_two_plans_with_one_store() {
    let (mut found, mut tasks) = (Found::default(), Tasks::default());
    let mut now = state(1, Some("h1"), None, vec![hand_over()]);
    assert_eq!(tasks.plans_changed(&mut found, &now), [(PlanId(1), true)]);
    assert_eq!(said(&found), [""; 0]);
    now.plans.insert(PlanId(2), record_of(2, vec![hand_over()]));
    tasks.plans_changed(&mut found, &now);
    assert_eq!(said(&found), ["R13"]);
}

#[test]
fn r18_past_the_commit_there_is_no_way_back() {
    let (mut found, mut tasks) = (Found::default(), Tasks::default());
    let now = state(1, Some("h1"), None, vec![hand_over()]);
    assert!(!tasks.is_past_return(PlanId(1), 0));
    tasks.started(&mut found, &now, &base(1, "h1"), 3, (at(1), 1), &seen_well());
    assert!(tasks.is_past_return(PlanId(1), 0));
}

#[test]
fn s3_epochs_that_go_back_or_change_hands_or_come_from_nowhere() {
    let nowhere = Command::OpenSession;
    let commit = Command::StartStep { step: at(1), attempt: 1, guards: Evidence::default() };
    let go = |commits: &mut Commits, n, master, pending, command: &Command| {
        let mut found = Found::default();
        commits.state = state(n, master, pending, vec![hand_over()]);
        commits.stores_changed(&mut found, 3, command);
        said(&found)
    };
    let mut commits = Commits::default();
    assert_eq!(go(&mut commits, 2, None, Some("h2"), &commit), [""; 0]);
    assert_eq!(go(&mut commits, 2, Some("h2"), None, &nowhere), [""; 0]);
    assert_eq!(commits.holder(&store(), epoch(2)), Some(&slot("h2")));
    assert_eq!(go(&mut commits, 2, Some("h1"), None, &nowhere), ["S3"], "it changes hands");
    assert_eq!(go(&mut commits, 3, None, Some("h1"), &commit), ["S3"], "to another than the task says");
    assert_eq!(go(&mut commits, 4, None, Some("h2"), &nowhere), ["S3"], "from nowhere");
    assert!(go(&mut commits, 2, Some("h2"), None, &nowhere).contains(&"S3"), "it goes back");
}

#[test]
fn s9_domains_capacities_and_numbers() {
    let well = state(1, Some("h1"), None, Vec::new());
    let wrong = |change: &dyn Fn(&mut Cluster)| {
        let mut cluster = well.cluster.clone().unwrap();
        change(&mut cluster);
        let mut found = Found::default();
        Places::default().check(&mut found, &cluster);
        said(&found)
    };
    let name = |host: &str| HostName::new(host).unwrap();
    assert_eq!(wrong(&|_| {}), [""; 0]);
    assert_eq!(wrong(&|c| c.hosts.get_mut(&name("h2")).unwrap().at = c.hosts[&name("h1")].at.clone()), ["S9"]);
    assert_eq!(wrong(&|c| c.stores.get_mut(&store()).unwrap().spec.size_bytes = 1_000), ["S9", "S9"]);
    assert_eq!(wrong(&|c| c.stores.get_mut(&store()).unwrap().spec.copies = 3), ["S9"]);
    assert_eq!(wrong(&|c| drop(c.hosts.remove(&name("h2")))), ["S9"]);
    let twice = |c: &mut Cluster| {
        let other = c.stores[&store()].clone();
        c.stores.insert(StoreName::new("store2").unwrap(), other);
    };
    assert_eq!(wrong(&twice).first(), Some(&"S9"));
}

#[test]
fn s8_declared_away_with_a_master() {
    let cluster = state(1, Some("h1"), None, Vec::new()).cluster.unwrap();
    for (host, declared, wrong) in [
        ("h3", HostState::Empty, 0),
        ("h2", HostState::Maintenance, 0),
        ("h1", HostState::Maintenance, 1),
        ("h2", HostState::Empty, 1),
    ] {
        let mut found = Found::default();
        nothing_serves(&mut found, &cluster, &HostName::new(host).unwrap(), declared, &Engines::default());
        assert_eq!(said(&found), vec!["S8"; wrong]);
    }
}

fn audited(events: &[&str]) -> Audit {
    let mut audit = Audit::default();
    for event in events {
        let mut entry = AuditEntry {
            number: audit.last_number() + 1,
            index: LogIndex(7),
            log_time: LogTime(1),
            wall: WallTime(1),
            actor: "ann".into(),
            event: (*event).into(),
            prev: audit.head(),
            hash: Digest::default(),
        };
        entry.hash = entry.expected_hash();
        audit.entries.push_back(entry);
    }
    audit
}

#[test]
fn s12_r22_the_chain_is_hashed_anew() {
    let mut audit = audited(&["one", "two", "three"]);
    let mut chain = Chain::default();
    assert_eq!(chain.follow(&audit, 7), Ok(3));
    assert_eq!(chain.follow(&audit, 7), Ok(0));
    assert_eq!(verify(&audit), Ok(()));
    let last = audit.entries.back_mut().unwrap();
    last.event = "another".into();
    assert!(verify(&audit).is_err());
    assert!(Chain::default().follow(&audit, 7).is_err());
    assert!(Chain::default().follow(&audited(&["one"]), 8).is_err(), "stamped with another index");
    assert!(chain.follow(&audited(&["one"]), 7).is_err(), "it became shorter");
    let mut cut = audited(&["one", "two"]);
    cut.entries.pop_front();
    assert!(verify(&cut).is_err());
}

#[test]
fn r7_a_sheet_that_promised_too_much() {
    use slot_engine::journal::core as journal;
    for (class, wrong) in [(LossClass::NoneProvable, vec!["R7"]), (LossClass::Lagging, vec![])] {
        let mut found = Found::default();
        let (mut engines, mut acks, mut commits) = (Engines::default(), Acks::default(), Commits::default());
        let (ledgers, touched) = (Ledgers::default(), BTreeMap::new());
        for host in ["h1", "h2"] {
            let config = journal::Config::new(store(), slot(host), CopyGeneration(1));
            let (core, _) = journal::JournalCore::open(config.clone(), journal::fresh_files(&config), 0).unwrap();
            engines.opens(&mut found, &slot(host), &core);
        }
        let old = engines.all.get_mut(&slot("h1")).unwrap();
        old.chain.push(Digest::of(b"one"));
        old.ids.insert((1, 1), 0);
        old.durable = 1;
        let sheet = Sheet { plan: PlanId(1), class, fence: FenceLevel::Attested, waived: BTreeSet::from([slot("h1")]) };
        let allocated = Allocated { holder: slot("h2"), sheet: Some(sheet) };
        commits.epochs.entry(store()).or_default().insert(epoch(2), allocated);
        let record = RecordId { client: ClientName::new("w1").unwrap(), sequence: 1 };
        let (name, at) = (store(), slot("h1"));
        let ack =
            super::acks::Ack { store: &name, slot: &at, epoch: epoch(1), index: 0, record: &record, id: Some((1, 1)) };
        let context = Context { commits: &commits, ledgers: &ledgers, engines: &engines, touched: &touched };
        acks.given(&mut found, &ack, context);
        acks.new_master(&mut found, &slot("h2"), epoch(2), context);
        assert_eq!(said(&found), wrong);
        assert!(acks.stores[&store()].lost.contains(&(1, 1)));
        // Whoever acknowledges it again has it.
        acks.new_master(&mut found, &slot("h2"), epoch(2), context);
        assert_eq!(said(&found), wrong);
    }
}
