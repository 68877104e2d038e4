//! Fixed values: the fleet of the examples, at a fixed moment. Nothing here reads a clock.

use slot_types::cluster::*;
use slot_types::engine::{EngineRole, EngineStatus};
use slot_types::evidence::{AgentSeen, CopyEvidence, Evidence, HostEvidence, Seen};
use slot_types::front_end::FrontEndSeen;
use slot_types::hold::{Held, Hold, HoldOn};
use slot_types::ids::*;
use slot_types::load::{Busy, EngineLoad, HostLoad};
use slot_types::plan::*;
use slot_types::position::{Digest, Position, Tip};
use slot_types::view::*;
use std::collections::{BTreeMap, BTreeSet};

/// Tue 2024-11-05 10:02:14 UTC.
pub const NOW: WallTime = WallTime(1_730_800_934_000);

pub fn host(n: u16) -> HostName {
    HostName::new(format!("imap{n}")).unwrap()
}
pub fn store(n: u16) -> StoreName {
    StoreName::new(format!("store{n}")).unwrap()
}
pub fn slot(h: u16, n: u16) -> SlotId {
    SlotId::new(host(h), n)
}
pub fn epoch(n: u64) -> Epoch {
    Epoch { generation: 0, n }
}
pub fn who(name: &str) -> OperatorName {
    OperatorName::new(name).unwrap()
}
pub fn known<T>(value: T, age_ms: u64) -> Seen<T> {
    Seen::Known { value, age_ms }
}
pub fn unknown<T>(reason: &str) -> Seen<T> {
    Seen::Unknown { reason: reason.into() }
}
pub fn rack(h: u16) -> Domain {
    Domain(vec!["ny".into(), format!("r{}", (h - 1) / 4 + 1)])
}

/// What an agent measured; of each engine the processors' part.
pub fn load_of(processors: u16, cpu_ppm: u32, disk_ppm: Option<u32>, engines: &[(u16, u32)]) -> HostLoad {
    let engine = |(slot, cpu_ppm): &(u16, u32)| EngineLoad {
        slot: *slot,
        busy: Busy { cpu_ppm: *cpu_ppm, disk_ppm: disk_ppm.map(|_| 10_000) },
    };
    let machine = Busy { cpu_ppm, disk_ppm };
    HostLoad { window_ms: 30_000, processors, machine, engines: engines.iter().map(engine).collect() }
}

fn host_line(h: u16) -> HostLine {
    HostLine {
        host: host(h),
        at: rack(h),
        state: HostState::Active,
        masters: 20,
        masters_load: 20,
        weight: 1,
        replicas: 20,
        free: 0,
        worst_lag_records: known(u64::from(h % 4), 900),
        load_ppm: known(560_000 + u32::from(h) * 7_000, 900),
        seen: known(BootId([7; 16]), 1_200),
        silent: false,
        quarantined: None,
        stop_if_dies: Some(0),
        fullest_if_dies: Some((23, host(if h > 8 { h - 8 } else { h + 4 }))),
        coordinator: match h {
            3 => Some("c1".into()),
            7 => Some("c2 leader".into()),
            11 => Some("c3".into()),
            _ => None,
        },
        held: Vec::new(),
    }
}

pub fn held(on: &str, by: &str, reason: &str) -> Held {
    let hold = Hold { by: who(by), reason: reason.into(), at: LogTime(7), wall: WallTime(NOW.0 - 7_200_000) };
    Held { on: on.parse().unwrap(), hold }
}

pub fn loss_line(lost: Lost, masters: u32) -> LossLine {
    let after = if masters > 20 { 30 } else { 23 };
    LossLine {
        lost,
        masters,
        moves: masters,
        to_hosts: 8,
        stops: 0,
        single: 2 * masters,
        short: 0,
        fullest: Some(Fullest { host: host(11), before: 20, after, load: None }),
        served: 240,
        stores: 240,
        coordinators: vec![CoordinatorName::new("c2").unwrap()],
    }
}

/// Two hosts that share seven stores.
pub fn worst_pair() -> PairLoss {
    let lost = Lost::Hosts([host(5), host(7)].into());
    let worst = LossLine { moves: 33, stops: 7, served: 233, coordinators: Vec::new(), ..loss_line(lost, 40) };
    PairLoss { worst: Some(worst), looked_at: 66, of: 66 }
}

fn coordinator(name: &str, address: &str, reachable: Seen<bool>) -> CoordinatorLine {
    CoordinatorLine { name: CoordinatorName::new(name).unwrap(), address: address.parse().unwrap(), reachable }
}

pub fn quiet() -> StatusView {
    StatusView {
        cluster: ClusterName::new("fm1").unwrap(),
        id: ClusterId([0xc1; 16]),
        revision: Revision(48_211),
        leader: Some(CoordinatorName::new("c2").unwrap()),
        answered_by: CoordinatorName::new("c2").unwrap(),
        coordinators: vec![
            coordinator("c1", "10.1.1.3:7400", known(true, 100)),
            coordinator("c2", "10.1.2.7:7400", known(true, 0)),
            coordinator("c3", "10.1.3.11:7400", known(true, 100)),
        ],
        voters: 3,
        wall: NOW,
        needs_you: Vec::new(),
        counts: StoreCounts {
            all: 240,
            served: 240,
            full: 240,
            reduced: 0,
            open_loss_cases: 0,
            open_plans: 0,
            slots: 480,
            slots_free: 0,
        },
        compared: ComparedCounts { replicas: 240, uncompared: 3, differ: 0, oldest_ms: Some(449_280_000) },
        hosts: (1..=12).map(host_line).collect(),
        worst_losses: known(vec![loss_line(Lost::Host(host(7)), 20), loss_line(Lost::Domain(rack(5)), 80)], 0),
        worst_pair: known(worst_pair(), 0),
        front_ends: vec![front_end(1, 48_211), front_end(2, 48_211)],
        holds: Vec::new(),
    }
}

/// A front end at a revision; the newest route is of 48,190.
fn front_end(n: u8, at: u64) -> FrontEndLine {
    let problem = (at < 48_190).then(|| "nginx-mail: /usr/sbin/nginx ended with exit code 1".to_string());
    let seen = FrontEndSeen { acknowledged: Some((0, Revision(at))), problem };
    FrontEndLine {
        front_end: FrontEndName::new(format!("fe{n}")).unwrap(),
        address: format!("10.1.9.{n}:7420").parse().unwrap(),
        render: ["nginx-mail", "postfix-transport"].map(|map| MapName::new(map).unwrap()).into(),
        seen: known(seen, 800),
        serves_all: at >= 48_190,
    }
}

pub fn trouble() -> StatusView {
    let mut view = quiet();
    view.revision = Revision(48_377);
    view.coordinators[0].reachable = known(false, 171_000);
    view.front_ends[1] = front_end(2, 48_100);
    view.compared = ComparedCounts { replicas: 240, uncompared: 238, differ: 2, oldest_ms: None };
    let numbers = [4, 17, 23, 31, 58, 71, 88, 90, 112, 119, 127, 133, 140, 151, 166, 178, 190, 201, 222, 239];
    let stores = numbers.map(|n| format!("store{n}")).join(" ");
    view.needs_you = vec![
        Trouble {
            subject: "imap3".into(),
            what: "SILENT for 2 min 51 s".into(),
            hurts: vec![
                format!("20 stores not served: {stores}"),
                "20 stores with one copy less: store2 store8".into(),
            ],
            seen: vec![
                "11 of 11 hosts cannot reach it".into(),
                "the others all reach each other (110 probes)".into(),
                "its device answers: power ON, 4.0 s ago".into(),
            ],
            next: "slotctl failover host imap3".into(),
        },
        Trouble {
            subject: "p18".into(),
            what: "fail over store112: waits for 2 more approvals".into(),
            hurts: Vec::new(),
            seen: Vec::new(),
            next: "slotctl plan show p18".into(),
        },
    ];
    view.counts = StoreCounts { served: 220, full: 200, reduced: 20, open_plans: 1, ..view.counts };
    let imap3 = &mut view.hosts[2];
    imap3.silent = true;
    imap3.seen = known(BootId([7; 16]), 171_000);
    imap3.worst_lag_records = unknown("imap3 is silent");
    imap3.load_ppm = known(571_000, 171_000);
    view.hosts[3].load_ppm = unknown("its agent has not measured it yet");
    let imap9 = &mut view.hosts[8];
    imap9.quarantined = Some("presents disk 0101, which is not the admitted one".into());
    imap9.held = vec![HoldOn::Host(host(9))];
    view.holds = vec![
        held(
            "host imap9",
            "bob",
            "its disk is on the bench; ticket 8812 has the serial numbers of both, ask before touching",
        ),
        held("store store112", "oncall", "export runs"),
    ];
    view
}

pub fn status_of(h: u16, n: u16, s: u16, role: EngineRole) -> EngineStatus {
    EngineStatus {
        store: store(s),
        slot: slot(h, n),
        generation: CopyGeneration(1),
        epoch: epoch(9),
        role,
        tip: Tip { position: Position { epoch: epoch(9), length: 1_204_118 }, digest: Digest([1; 32]) },
        bytes: 0,
        history: Vec::new(),
        frozen: None,
        following: None,
        behind: Some(3),
        heard_ms: Some(12),
        verified_ms: Some(40),
        sync_copies: 1,
        aside: Vec::new(),
        verification: None,
    }
}

pub fn line(h: u16, n: u16, s: u16, role: Role, state: CopyState, engine: Seen<CopyEvidence>) -> SlotLine {
    let status = match &engine {
        Seen::Known { value: CopyEvidence::Running(status), age_ms } => Some((status.clone(), *age_ms)),
        _ => None,
    };
    let follows = (role == Role::Replica).then(|| (slot(1, 1), epoch(9)));
    let (position, behind) = match status {
        Some((s, age)) => (known(s.tip.position, age), s.behind.map_or(unknown("not said"), |b| known(b, age))),
        None => (unknown("nothing runs"), unknown("nothing runs")),
    };
    let copy = Copy { role, state, generation: CopyGeneration(1), follows, whole: true };
    let compared = (role == Role::Replica).then_some(match state {
        CopyState::Quarantined => Compared::Differs { records: 2, ago_ms: 95_000 },
        CopyState::Stopped => Compared::Never,
        _ => Compared::Equal { ago_ms: 183_000_000 },
    });
    SlotLine {
        slot: slot(h, n),
        address: format!("10.20.{h}.{n}:7430").parse().unwrap(),
        copy: Some(SlotCopy { store: store(s), copy, engine, position, behind, compared }),
        claimed_by: None,
    }
}

pub fn running(h: u16, n: u16, s: u16, role: EngineRole, age_ms: u64) -> Seen<CopyEvidence> {
    known(CopyEvidence::Running(Box::new(status_of(h, n, s, role))), age_ms)
}

pub fn host_view() -> HostView {
    let free = SlotLine {
        slot: slot(3, 6),
        address: "10.20.3.6:7430".parse().unwrap(),
        copy: None,
        claimed_by: Some(PlanId(17)),
    };
    HostView {
        host: host(3),
        at: rack(3),
        declared: HostState::Active,
        address: "10.1.1.3:7420".parse().unwrap(),
        weight: 1,
        incarnation: Some(Incarnation([3; 16])),
        boot: Some(BootId([7; 16])),
        seen: known(BootId([7; 16]), 1_100),
        silent: false,
        quarantined: None,
        attestation: None,
        attestation_valid: false,
        drained_masters: BTreeSet::new(),
        back_by: None,
        claimed_by: Some(PlanId(17)),
        running: vec![OrderId { plan: PlanId(17), task: 3, step: 2, attempt: 1 }],
        slots: vec![
            line(3, 1, 4, Role::Master, CopyState::Serving, running(3, 1, 4, EngineRole::Master, 900)),
            line(3, 2, 17, Role::Replica, CopyState::Serving, running(3, 2, 17, EngineRole::Replica, 900)),
            line(3, 3, 23, Role::Replica, CopyState::Quarantined, running(3, 3, 23, EngineRole::Demoted, 8_000)),
            line(3, 4, 31, Role::Replica, CopyState::Stopped, known(CopyEvidence::NotRunning, 900)),
            line(3, 5, 58, Role::Replica, CopyState::Serving, known(CopyEvidence::Silent, 900)),
            free,
        ],
        holds: Vec::new(),
    }
}

pub fn silent_host() -> HostView {
    let mut view = host_view();
    view.silent = true;
    view.seen = known(BootId([7; 16]), 171_000);
    view.claimed_by = None;
    view.running = Vec::new();
    view.attestation = Some(Attestation {
        boot: BootId([7; 16]),
        how: "unplugged".into(),
        by: who("oncall"),
        at: LogTime(1),
        expires: LogTime(2),
    });
    view.holds =
        vec![held("all", "bob", "the network is moved"), held("host imap3", "oncall", "its disk is looked at")];
    view.slots.truncate(2);
    for line in &mut view.slots {
        let copy = line.copy.as_mut().unwrap();
        copy.engine = unknown("imap3 is silent");
        copy.behind = unknown("imap3 is silent");
    }
    view
}

pub fn store_view() -> StoreView {
    StoreView {
        store: store(23),
        spec: StoreSpec {
            engine: EngineKind::Journal,
            copies: 2,
            size_bytes: 500_000_000_000,
            spread: Spread::Rack,
            sync_copies: 1,
            never: std::collections::BTreeSet::new(),
            load: 1,
        },
        epoch: epoch(9),
        master: Some(slot(7, 31)),
        pending: None,
        served: true,
        copies: vec![
            line(3, 7, 23, Role::Replica, CopyState::Quarantined, unknown("imap3 is silent")),
            line(7, 31, 23, Role::Master, CopyState::Serving, running(7, 31, 23, EngineRole::Master, 900)),
        ],
        possible_masters: BTreeMap::from([(
            slot(3, 7),
            PossibleMaster { since: epoch(8), generation: CopyGeneration(1) },
        )]),
        route: Some(Route {
            slot: slot(7, 31),
            address: "10.20.7.31:7430".parse().unwrap(),
            epoch: epoch(9),
            revision: Revision(48_190),
        }),
        claimed_by: None,
        loss_cases: vec![LossCaseId(12)],
        holds: vec![held("host imap3", "oncall", "its disk is looked at")],
    }
}

pub fn loss_case(id: u64, state: LossState) -> LossCaseView {
    let listed = state != LossState::AwaitingReturn;
    let client = ClientName::new("w7").unwrap();
    let stranded = (4_410..4_430).map(|sequence| RecordId { client: client.clone(), sequence });
    let tip = |length| Tip { position: Position { epoch: epoch(8), length }, digest: Digest([1; 32]) };
    LossCaseView {
        id: LossCaseId(id),
        case: LossCase {
            store: store(23),
            slot: slot(3, 7),
            generation: CopyGeneration(1),
            plan: PlanId(18),
            epoch: epoch(9),
            stated: LossStatement {
                class: LossClass::CaughtUp,
                candidate: tip(1_204_098),
                last_known: Some(tip(1_204_098)),
                last_known_age_ms: Some(3_000),
                known_lag: Some(0),
            },
            final_tip: listed.then(|| tip(1_204_118)),
            stranded: if state == LossState::Listed { stranded.collect() } else { Vec::new() },
            state,
            opened: LogTime(5),
        },
        master: Some(slot(7, 31)),
        plan: None,
    }
}

/// What is seen of the hosts of the drain; one of them is not measured yet.
fn drain_evidence() -> Evidence {
    let host_seen = |h: u16, load| {
        let agent = known(AgentSeen { incarnation: Incarnation([1; 16]), boot: BootId([1; 16]) }, 500);
        (host(h), HostEvidence { agent, running: Vec::new(), disk: unknown("not asked"), load })
    };
    let hosts = [
        host_seen(3, known(load_of(16, 571_000, Some(402_000), &[(7, 24_000), (8, 31_000)]), 500)),
        host_seen(8, known(load_of(8, 560_000, None, &[(2, 9_000)]), 800)),
        host_seen(10, unknown("its agent has not measured it yet")),
    ];
    Evidence { hosts: BTreeMap::from(hosts), ..Evidence::default() }
}

pub fn drain_plan() -> Plan {
    let step = |kind, at| Step { kind, at, deadline_ms: 10_000 };
    let hand_over = |n: u16, to: u16| Task {
        kind: TaskKind::HandOver { from: slot(3, n), to: slot(to, 2) },
        store: Some(store(50 + n)),
        epoch: epoch(4),
        after: vec![0],
        steps: vec![
            step(StepKind::Freeze, Some(Place::Slot(slot(3, n)))),
            step(StepKind::CommitEpoch, None),
            step(StepKind::Demote, Some(Place::Slot(slot(3, n)))),
        ],
    };
    let declare = |to| Task {
        kind: TaskKind::HostState { host: host(3), to },
        store: None,
        epoch: Epoch::ZERO,
        after: Vec::new(),
        steps: vec![step(StepKind::DeclareHost, None)],
    };
    Plan {
        cluster: ClusterId([0xc1; 16]),
        generation: 0,
        intent: Intent::DrainHost(host(3)),
        requested_by: Some(who("oncall")),
        reason: "replace PSU 2, ticket 8812".into(),
        revision: Revision(48_211),
        created: LogTime(1_000_000),
        created_wall: NOW,
        valid_ms: 900_000,
        facts: BTreeMap::from([(EntityRef::Host(host(3)), 7), (EntityRef::Store(store(58)), 3)]),
        evidence: drain_evidence(),
        silent_hosts: 0,
        said: Default::default(),
        people: 1,
        two_because: Vec::new(),
        switch_off: BTreeMap::new(),
        tasks: vec![declare(HostState::Draining), hand_over(7, 8), hand_over(8, 10), declare(HostState::Maintenance)],
        notes: Vec::new(),
    }
}

/// imap3, switched off by the agent of another host, or before.
pub fn switched_off(by: Option<HostName>) -> BTreeMap<HostName, slot_types::fence::SwitchOff> {
    use slot_types::fence::*;
    let spec = FenceSpec {
        agent: FenceAgent::new("fence_ipmilan").unwrap(),
        options: [(FenceKey::new("ip").unwrap(), FenceValue::new("10.9.0.3").unwrap())].into(),
        password_file: None,
        timeout_ms: 20_000,
        from: FenceFrom::AnotherRack,
    };
    BTreeMap::from([(host(3), SwitchOff { boot: BootId([3; 16]), by, spec, kills: [slot(3, 7)].into() })])
}

/// The drain, with its store58 in this state.
pub fn drain_view(state: PlanState, last: TaskProgress) -> PlanView {
    let plan = drain_plan();
    let task = |title: &str, state, done, total| TaskLine {
        title: title.into(),
        state,
        why: String::new(),
        step_now: String::new(),
        steps_done: done,
        steps_total: total,
        differs: None,
    };
    let ended = state.is_ended();
    let mut tasks = vec![
        task("imap3 is Draining", TaskProgress::Done, 1, 1),
        task("store57  imap3/07 -> imap8/02", TaskProgress::Done, 3, 3),
        task("store58  imap3/08 -> imap10/02", last, 1, 3),
        task("imap3 is Maintenance", TaskProgress::Waiting, 0, 1),
    ];
    if last == TaskProgress::Running {
        tasks[2].step_now = "commit-epoch".into();
    }
    if last == TaskProgress::NotDone {
        tasks[2].why = "catch-up imap10/02: its data ends at 98@4, asked was 100@4; thawed after 1.6 s".into();
        tasks[3].why = "task 3 was not done".into();
        tasks[3].state = TaskProgress::NotDone;
    }
    if state == PlanState::Done {
        tasks[2].state = TaskProgress::Done;
        tasks[3].state = TaskProgress::Done;
    }
    PlanView {
        id: PlanId(17),
        digest: Digest::of(&plan.bytes()),
        bytes: plan.bytes(),
        state,
        why: String::new(),
        approvals: vec![ApprovalLine { by: who("oncall"), wall: NOW, reason: "replace PSU 2".into() }],
        people_needed: 1,
        people_missing: 0,
        tasks,
        loss_cases: Vec::new(),
        started: Some(LogTime(1_000_000)),
        ended: ended.then_some(LogTime(1_041_000)),
        now: LogTime(1_020_000),
        ended_wall: None,
        wall: NOW,
        host_state: None,
    }
}

/// One of each kind.
pub fn invitations_view() -> InvitationsView {
    let line = |n: u16, by: &str, left_ms, fate| InvitationLine {
        host: host(n),
        role: "agent".into(),
        certificate: Digest([n as u8; 32]),
        by: who(by),
        reason: "ticket 8812: new disks after the fire".into(),
        wall: NOW,
        left_ms,
        fate,
    };
    let later = WallTime(NOW.0 + 3_600_000);
    let burnt = InvitationFate::Burnt { key: Digest([9; 32]), incarnation: Incarnation([7; 16]), wall: later };
    InvitationsView {
        revision: Revision(48_211),
        invitations: vec![
            line(7, "oncall", 70_000_000, burnt),
            line(8, "bob", 0, InvitationFate::Expired),
            line(9, "oncall", 82_800_000, InvitationFate::Open),
            line(10, "bob", 80_000_000, InvitationFate::Revoked { by: who("oncall"), wall: later }),
        ],
    }
}
