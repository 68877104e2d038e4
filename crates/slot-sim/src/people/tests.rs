//! People in front of a toy picture of a cluster.
//!
//! What always holds: every complaint is shown to fire on a bad answer and to stay silent on a good one.

use super::*;
use slot_coordinator::core::{Failure, Reply};
use slot_machine::state::{Approval, PlanRecord, PlanStatus, StepRun, StepState, TaskRun, TaskState};
use slot_types::cluster::*;
use slot_types::evidence::Evidence;
use slot_types::hold::Hold;
use slot_types::plan::Plan;
use std::net::{Ipv4Addr, SocketAddr};

fn host(n: u8) -> HostName {
    HostName::new(format!("h{n}")).unwrap()
}
fn slot(n: u8) -> SlotId {
    SlotId::new(host(n), 1)
}
fn store_name() -> StoreName {
    StoreName::new("store1").unwrap()
}
fn address() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 1).into()
}

fn spec() -> StoreSpec {
    StoreSpec {
        engine: EngineKind::Journal,
        copies: 3,
        size_bytes: 1,
        spread: Spread::Host,
        sync_copies: 0,
        never: std::collections::BTreeSet::new(),
        load: 1,
    }
}

fn fleet() -> FleetSpec {
    FleetSpec {
        unused: std::collections::BTreeSet::new(),
        cluster: ClusterName::new("toy").unwrap(),
        coordinators: BTreeMap::new(),
        hosts: BTreeMap::new(),
        stores: BTreeMap::from([(store_name(), spec())]),
        front_ends: BTreeMap::new(),
        policy: Policy::default(),
    }
}

/// One store on three hosts, its master on h1.
struct Toy {
    state: State,
    truth: Truth,
    coordinators: BTreeMap<u64, CoordinatorName>,
    healing: bool,
}

impl Toy {
    fn new() -> Self {
        let mut cluster = Cluster::new(ClusterId([1; 16]), ClusterName::new("toy").unwrap());
        let mut truth = Truth::default();
        let mut copies = BTreeMap::new();
        for n in 1..=3 {
            let (boot, disk) = (BootId([n; 16]), Incarnation([n; 16]));
            let known = Host {
                at: Domain(vec![format!("r{n}")]),
                address: address(),
                declared: HostState::Active,
                slots: BTreeMap::from([(1, SlotSpec { size_bytes: 1, address: address() })]),
                incarnation: Some(disk),
                boot: Some(boot),
                quarantined: None,
                acknowledged: LogIndex(0),
                drained_masters: BTreeSet::new(),
                back_by: None,
                device: slot_types::fence::Device::default(),
                reboots: Vec::new(),
                weight: 1,
                version: 1,
            };
            cluster.hosts.insert(host(n), known);
            let (role, follows) =
                if n == 1 { (Role::Master, None) } else { (Role::Replica, Some((slot(1), Epoch::ZERO.next()))) };
            copies.insert(
                slot(n),
                Copy { role, state: CopyState::Serving, generation: CopyGeneration(1), follows, whole: true },
            );
            truth.boots.insert(host(n), boot);
            truth.disks.insert(host(n), disk);
            truth.agents.insert(host(n));
            truth.undisturbed.insert(host(n));
            truth.engines.insert(slot(n));
        }
        let epoch = Epoch::ZERO.next();
        let store = Store {
            spec: spec(),
            epoch,
            master: Some(slot(1)),
            pending: None,
            promote_started: true,
            copies,
            possible_masters: BTreeMap::new(),
            route: Some(Route { slot: slot(1), address: address(), epoch, revision: Revision(0) }),
            last_promoted: epoch,
            past: BTreeMap::new(),
            unheard: std::collections::BTreeSet::new(),
            retired: false,
            version: 1,
        };
        cluster.stores.insert(store_name(), store);
        let state = State { cluster: Some(cluster), ..State::default() };
        let coordinators = (1..=3).map(|n| (n, CoordinatorName::new(format!("c{n}")).unwrap())).collect();
        Self { state, truth, coordinators, healing: false }
    }
    fn public(&self) -> Public<'_> {
        Public { state: Some(&self.state), coordinators: &self.coordinators, truth: &self.truth, healing: self.healing }
    }
    fn cluster(&mut self) -> &mut Cluster {
        self.state.cluster.as_mut().unwrap()
    }
    fn store(&mut self) -> &mut Store {
        self.cluster().stores.get_mut(&store_name()).unwrap()
    }
    fn record(&mut self, id: PlanId, status: PlanStatus, stuck: bool) {
        let bytes = plan_bytes(id.0);
        let step = StepRun { state: StepState::Waiting { attempt: 1 }, stuck: stuck.then(|| "an answer".to_string()) };
        let task = TaskRun { state: TaskState::Running, steps: vec![step], unwind: None, serve: None };
        let record = PlanRecord {
            id,
            digest: Plan::digest_of(&bytes),
            plan: plan(id.0),
            bytes,
            status,
            approvals: Vec::new(),
            people: 1,
            tasks: vec![task],
            recorded: LogTime(0),
            started: None,
            ended: None,
            ended_wall: None,
        };
        self.state.plans.insert(id, record);
    }
}

fn plan(number: u64) -> Plan {
    Plan {
        cluster: ClusterId([1; 16]),
        generation: 0,
        intent: Intent::DrainHost(host(2)),
        requested_by: None,
        reason: "toy".into(),
        revision: Revision(number),
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
        tasks: Vec::new(),
        notes: Vec::new(),
    }
}

fn plan_bytes(number: u64) -> Vec<u8> {
    plan(number).bytes()
}

fn with(habits: impl IntoIterator<Item = Habit>, seed: u64) -> Crowd {
    let config = Config { habits: habits.into_iter().collect(), ..Config::new(fleet()) };
    Crowd::new(Stream::new(seed, 9), config)
}

fn step(crowd: &mut Crowd, toy: &Toy) -> (u64, Vec<Ask>) {
    let now = crowd.wake_at();
    (now, crowd.step(now, &toy.public()))
}

/// Runs until somebody asks something that fits; whatever else is asked stays unanswered.
fn until(crowd: &mut Crowd, toy: &Toy, fits: impl Fn(&Ask) -> bool) -> (u64, Ask) {
    for _ in 0..5_000 {
        let (now, asks) = step(crowd, toy);
        if let Some(ask) = asks.into_iter().find(&fits) {
            return (now, ask);
        }
    }
    panic!("nobody asked it; {:?}", crowd.counts());
}

fn makes_plan(ask: &Ask) -> bool {
    matches!(ask.request, ControlRequest::MakePlan { .. })
}
fn approves(ask: &Ask) -> bool {
    matches!(ask.request, ControlRequest::ApprovePlan { .. })
}
fn attests(ask: &Ask) -> bool {
    matches!(ask.request, ControlRequest::Attest { .. })
}

fn shown(number: u64, people_missing: u8) -> Option<Result<Reply, Failure>> {
    Some(Ok(Reply::Plan { id: PlanId(number), bytes: plan_bytes(number), people_missing }))
}

#[test]
fn the_cluster_file_is_applied_first_and_approved_as_shown() {
    let mut toy = Toy::new();
    toy.cluster().stores.clear();
    let mut crowd = with([], 1);
    let (now, asks) = step(&mut crowd, &toy);
    assert_eq!((now, asks.len()), (0, 1), "one thing first");
    assert!(
        matches!(&asks[0].request, ControlRequest::MakePlan { intent, .. } if matches!(**intent, Intent::Apply(_)))
    );
    assert_eq!(asks[0].who.as_str(), "alice");
    crowd.answered(5, asks[0].token, shown(7, 1));
    let (_, yes) = until(&mut crowd, &toy, approves);
    let ControlRequest::ApprovePlan { plan, digest, .. } = yes.request else { panic!("an approval") };
    assert_eq!((plan, digest), (PlanId(7), Plan::digest_of(&plan_bytes(7)).short()));
    assert!(!crowd.is_founded(&toy.public()));
    assert!(crowd.is_founded(&Toy::new().public()));
}

#[test]
fn where_two_people_are_needed_the_requester_is_neither() {
    let mut toy = Toy::new();
    toy.healing = true;
    toy.store().master = None;
    toy.store().possible_masters.insert(slot(1), PossibleMaster { since: Epoch::ZERO, generation: CopyGeneration(1) });
    let mut crowd = with([], 2);
    let (now, ask) = until(&mut crowd, &toy, makes_plan);
    crowd.answered(now, ask.token, shown(3, 2));
    let mut who = BTreeSet::new();
    for _ in 0..20 {
        who.extend(step(&mut crowd, &toy).1.into_iter().filter(approves).map(|a| a.who.to_string()));
    }
    assert_eq!(who, BTreeSet::from(["bob".to_string(), "carol".to_string()]));
}

#[test]
fn an_unknown_outcome_is_asked_again_under_the_same_name() {
    let toy = Toy::new();
    let mut crowd = with([Habit::Sessions, Habit::HandOver], 3);
    let (now, ask) = until(&mut crowd, &toy, |a| matches!(a.request, ControlRequest::OpenSession));
    crowd.answered(now, ask.token, Some(Ok(Reply::Session(77))));
    let sessioned =
        |a: &Ask| matches!(a.request, ControlRequest::MakePlan { request: Some(id), .. } if id.session == 77);
    let (now, ask) = until(&mut crowd, &toy, sessioned);
    crowd.answered(now, ask.token, None);
    let (now, again) = until(&mut crowd, &toy, |a| a.request == ask.request);
    let leader = CoordinatorName::new("c2").unwrap();
    crowd.answered(now, again.token, Some(Err(Failure::Interrupted { leader: Some(leader) })));
    let (now, third) = until(&mut crowd, &toy, |a| a.request == ask.request);
    assert_eq!(third.to, Some(2), "the hint is followed");
    crowd.answered(now, third.token, shown(4, 1));
    assert_eq!(crowd.counts()["retried, same session and sequence"], 2);
    assert!(crowd.complaints().is_empty());
    // R21: the same request answered by another plan.
    let mut late = crowd.sent.len() as u64 + 10_000;
    let errand = Errand { request: ask.request, purpose: Purpose::Plan, tries: 1, to: None, heal: false };
    late += 1;
    crowd.sent.insert(late, Sent { who: 0, errand, at: now, floor: Revision(0) });
    crowd.answered(now, late, shown(5, 1));
    assert_eq!(crowd.complaints()[0].invariant, "R21");
}

#[test]
fn a_session_that_is_not_remembered_is_left_and_one_that_never_was_must_be_refused() {
    let toy = Toy::new();
    let mut crowd = with([Habit::Sessions, Habit::Evicted, Habit::HandOver], 4);
    let (now, ask) = until(&mut crowd, &toy, |a| matches!(a.request, ControlRequest::OpenSession));
    crowd.answered(now, ask.token, Some(Ok(Reply::Session(9))));
    let own = |a: &Ask| matches!(a.request, ControlRequest::MakePlan { request: Some(id), .. } if id.session == 9);
    let (now, ask) = until(&mut crowd, &toy, own);
    let refusal = slot_machine::command::Refused::SessionUnknown(9).to_string();
    crowd.answered(now, ask.token, Some(Err(Failure::Refused(refusal.clone()))));
    assert_eq!(crowd.counts()["own session was evicted"], 1);
    let never =
        |a: &Ask| matches!(a.request, ControlRequest::MakePlan { request: Some(id), .. } if id.session > u64::MAX / 2);
    let (now, ask) = until(&mut crowd, &toy, never);
    crowd.answered(now, ask.token, Some(Err(Failure::Refused(refusal))));
    assert!(crowd.complaints().is_empty());
    let (now, ask) = until(&mut crowd, &toy, never);
    crowd.answered(now, ask.token, shown(1, 1));
    assert_eq!(crowd.complaints()[0].invariant, "R21");
}

#[test]
fn a_confirmed_view_shows_what_was_known_before_it_was_asked() {
    let toy = Toy::new();
    let mut crowd = with([Habit::Views], 5);
    let confirmed = |a: &Ask| matches!(a.request, ControlRequest::View { stale_ok: false, .. });
    let view =
        |revision, confirmed| Some(Ok(Reply::View { bytes: Vec::new(), revision: Revision(revision), confirmed }));
    let (now, early) = until(&mut crowd, &toy, confirmed);
    let (_, first) = until(&mut crowd, &toy, confirmed);
    crowd.answered(now, first.token, view(40, true));
    crowd.answered(now, early.token, view(39, true));
    assert!(crowd.complaints().is_empty(), "the early one was asked before 40 was known");
    let (now, second) = until(&mut crowd, &toy, confirmed);
    crowd.answered(now, second.token, view(12, false));
    assert!(crowd.complaints().is_empty(), "stale views may be stale");
    let (now, third) = until(&mut crowd, &toy, confirmed);
    crowd.answered(now, third.token, view(39, true));
    assert_eq!(crowd.complaints()[0].invariant, "S13");
}

#[test]
fn a_host_is_attested_off_only_while_it_is() {
    let mut toy = Toy::new();
    toy.truth.off.insert(host(1));
    toy.truth.engines.remove(&slot(1));
    toy.truth.agents.remove(&host(1));
    let mut crowd = with([Habit::FailOver], 6);
    let (now, ask) = until(&mut crowd, &toy, attests);
    assert_eq!(crowd.words()[0].faith, Faith::True);
    assert_eq!(crowd.words()[0].boot, Some(BootId([1; 16])));
    assert!(crowd.leaves_alone(&host(1), now + 1) && !crowd.leaves_alone(&host(2), now + 1));
    // Nobody answered, and the host came back: the word is not given again.
    crowd.answered(now + PATIENCE_MS, ask.token, None);
    toy.truth = Toy::new().truth;
    for _ in 0..500 {
        let (_, asks) = step(&mut crowd, &toy);
        assert!(!asks.iter().any(attests));
    }
    assert!(crowd.counts().contains_key("attestation kept back: looked again"));
    assert!(!crowd.leaves_alone(&host(1), now + 1_000_000));
    assert!(crowd.waived_hosts().is_empty());
}

#[test]
fn a_wrong_word_is_given_only_where_it_must_be_found_out() {
    let mut toy = Toy::new();
    toy.truth.agents.remove(&host(1));
    toy.truth.undisturbed.clear();
    let mut crowd = with([Habit::AttestWrong], 7);
    for _ in 0..500 {
        assert!(!step(&mut crowd, &toy).1.iter().any(attests), "nothing may be attested in a disturbed world");
    }
    toy.truth.undisturbed = (1..=3).map(host).collect();
    let (now, ask) = until(&mut crowd, &toy, attests);
    let word = crowd.words().last().unwrap().clone();
    assert_eq!((word.faith, word.host.clone()), (Faith::EngineServes, host(1)));
    assert!((1..=3).all(|n| crowd.leaves_alone(&host(n), now + 100)), "the replicas must be able to tell");
    crowd.answered(now, ask.token, Some(Ok(Reply::Changed { revision: Revision(4) })));
    let given =
        Attestation { boot: BootId([1; 16]), how: String::new(), by: ask.who, at: LogTime(0), expires: LogTime(9) };
    toy.cluster().attestations.insert(host(1), given);
    step(&mut crowd, &toy);
    assert!(crowd.words().last().is_some_and(|w| w.recorded && !w.void));
    toy.cluster().attestations.clear();
    step(&mut crowd, &toy);
    assert!(crowd.words().last().is_some_and(|w| w.void));
    assert_eq!(crowd.counts()["attestation void: engine served"], 1);
    assert!(crowd.waived_hosts().is_empty());
}

#[test]
fn a_replica_that_does_not_hear_the_engine_makes_a_wrong_word_impossible() {
    let mut toy = Toy::new();
    toy.truth.agents.remove(&host(1));
    for copy in toy.store().copies.values_mut() {
        copy.follows = None;
    }
    let crowd = with([Habit::AttestWrong], 8);
    assert_eq!(crowd.faith(0, &toy.public(), &host(1)), None);
    let crowd = with([Habit::TrulyWrong], 8);
    assert_eq!(crowd.faith(0, &toy.public(), &host(1)), Some(Faith::TrulyWrong));
}

#[test]
fn a_host_that_is_back_may_be_attested_by_who_saw_it_off() {
    let mut toy = Toy::new();
    toy.truth.off.insert(host(3));
    let mut crowd = with([Habit::AttestWrong], 9);
    let (now, _) = step(&mut crowd, &toy);
    toy.truth.off.clear();
    assert_eq!(crowd.faith(now + 10, &toy.public(), &host(3)), Some(Faith::CameBack));
    assert_eq!(crowd.faith(now + 10, &toy.public(), &host(2)), None, "nobody saw it off");
    assert_eq!(crowd.faith(now + 100_000, &toy.public(), &host(3)), None, "nobody says so for ever");
}

fn approval(crowd: &mut Crowd, toy: &Toy, yes: Yes) -> (u64, Ask) {
    crowd.agenda.clear();
    crowd.later(0, 1, Act::Approve(PlanId(5), yes));
    until(crowd, toy, approves)
}

#[test]
fn a_yes_that_must_not_count_is_a_complaint() {
    let mut toy = Toy::new();
    toy.record(PlanId(5), PlanStatus::Proposed, false);
    let counted = shown(5, 0);
    let fresh = || with([], 10);
    let mut crowd = fresh();
    let (now, ask) = approval(&mut crowd, &toy, Yes::Plain);
    crowd.answered(now, ask.token, counted.clone());
    assert!(crowd.complaints().is_empty());
    let (now, ask) = approval(&mut crowd, &toy, Yes::Again);
    crowd.answered(now, ask.token, counted.clone());
    crowd.look(now, &toy.public());
    assert!(crowd.complaints().is_empty(), "after a leader change the former yes is void (R17)");
    let (now, ask) = approval(&mut crowd, &toy, Yes::Again);
    crowd.answered(now, ask.token, counted.clone());
    let by = OperatorName::new("bob").unwrap();
    let yes = Approval { by, at: LogTime(0), wall: WallTime(0), reason: String::new() };
    toy.state.plans.get_mut(&PlanId(5)).unwrap().approvals = vec![yes.clone(), yes];
    crowd.look(now, &toy.public());
    assert_eq!(crowd.complaints().len(), 1, "the same person twice (S5)");

    let mut crowd = fresh();
    let (now, ask) = approval(&mut crowd, &toy, Yes::Stale);
    let ControlRequest::ApprovePlan { digest, .. } = ask.request else { panic!("an approval") };
    assert_ne!(digest, Plan::digest_of(&plan_bytes(5)).short());
    crowd.answered(now, ask.token, counted.clone());
    assert_eq!(crowd.complaints()[0].invariant, "S5");

    toy.state.log_time = LogTime(60_001);
    let mut crowd = fresh();
    let (now, ask) = approval(&mut crowd, &toy, Yes::Late);
    crowd.answered(now, ask.token, Some(Err(Failure::Refused("plan p5 is older than its validity".into()))));
    assert!(crowd.complaints().is_empty());
    assert_eq!(crowd.counts()["refused: expired"], 1);
    let (now, ask) = approval(&mut crowd, &toy, Yes::Late);
    crowd.answered(now, ask.token, counted);
    assert_eq!(crowd.complaints()[0].invariant, "S5");
}

fn cared(toy: &Toy, rounds: usize) -> (Crowd, Vec<Ask>) {
    let mut crowd = with(Habit::DRAWN, 11);
    let mut asks = Vec::new();
    crowd.look(0, &Toy::new().public());
    for _ in 0..rounds {
        asks.extend(step(&mut crowd, toy).1);
    }
    (crowd, asks)
}

fn intends(asks: &[Ask], wanted: impl Fn(&Intent) -> bool) -> bool {
    asks.iter().any(|a| matches!(&a.request, ControlRequest::MakePlan { intent, .. } if wanted(intent)))
}

#[test]
fn what_is_stuck_is_looked_after() {
    let mut toy = Toy::new();
    toy.healing = true;
    let (crowd, asks) = cared(&toy, 30);
    assert!(asks.is_empty() && crowd.is_well(&toy.public()), "{:?}", crowd.why_not_well(&toy.public()));

    let by = OperatorName::new("ann").unwrap();
    let hold = Hold { by, reason: "why".into(), at: LogTime(1), wall: WallTime(1) };
    toy.state.cluster.as_mut().unwrap().holds.insert(HoldOn::All, hold);
    let (crowd, asks) = cared(&toy, 3);
    assert!(matches!(asks[0].request, ControlRequest::Release { on: HoldOn::All, .. }));
    assert!(!crowd.is_well(&toy.public()));
    toy.state.cluster.as_mut().unwrap().holds.clear();

    toy.record(PlanId(8), PlanStatus::Running, true);
    let (crowd, asks) = cared(&toy, 3);
    assert!(matches!(asks[0].request, ControlRequest::AbortPlan { plan: PlanId(8), .. }));
    assert!(!crowd.is_well(&toy.public()));
    toy.state.plans.clear();

    toy.cluster().hosts.get_mut(&host(2)).unwrap().declared = HostState::Maintenance;
    let (_, asks) = cared(&toy, 3);
    assert!(intends(&asks, |i| *i == Intent::UndrainHost(host(2))));
    toy.cluster().hosts.get_mut(&host(2)).unwrap().declared = HostState::Active;

    toy.store().master = None;
    toy.store().pending = Some(slot(2));
    let (_, asks) = cared(&toy, 40);
    assert!(intends(&asks, |i| *i == Intent::FailOverSlot { slot: slot(2), to: None }));
}

#[test]
fn another_disk_is_admitted_but_not_before_its_masters_are_elsewhere() {
    let mut toy = Toy::new();
    toy.healing = true;
    let disk = Incarnation([0x77; 16]);
    toy.truth.disks.insert(host(1), disk);
    toy.cluster().hosts.get_mut(&host(1)).unwrap().quarantined = Some(HostQuarantine::OtherDisk { presented: disk });
    let (mut crowd, asks) = cared(&toy, 3);
    assert!(asks.is_empty(), "nothing can be ordered there");
    assert_eq!(crowd.hands(), vec![Hand::SwitchOff(host(1))]);
    toy.truth.off.insert(host(1));
    let (_, ask) = until(&mut crowd, &toy, attests);
    assert!(matches!(ask.request, ControlRequest::Attest { host: h, .. } if h == host(1)));
    until(&mut crowd, &toy, |a| intends(std::slice::from_ref(a), |i| *i == Intent::FailOverHost(host(1))));
    toy.store().master = Some(slot(2));
    for _ in 0..5 {
        step(&mut crowd, &toy);
    }
    assert_eq!(crowd.hands(), vec![Hand::SwitchOn(host(1))]);
    toy.truth.off.clear();
    let (_, ask) = until(&mut crowd, &toy, |a| matches!(a.request, ControlRequest::AdmitHost { .. }));
    assert!(matches!(ask.request, ControlRequest::AdmitHost { incarnation, .. } if incarnation == disk));
    let known = toy.cluster().hosts.get_mut(&host(1)).unwrap();
    (known.quarantined, known.incarnation) = (None, Some(disk));
    toy.store().copies.get_mut(&slot(1)).unwrap().state = CopyState::Building;
    assert!(crowd.is_well(&toy.public()), "a copy on a replaced disk is not rebuilt (yet)");
    toy.store().copies.get_mut(&slot(3)).unwrap().state = CopyState::Building;
    assert!(!crowd.is_well(&toy.public()));
}

#[test]
fn every_habit_is_lived_and_equal_seeds_live_equally() {
    let live = |seed: u64| {
        let mut toy = Toy::new();
        toy.truth.off.insert(host(1));
        toy.record(PlanId(1), PlanStatus::Proposed, false);
        toy.record(PlanId(2), PlanStatus::Running, false);
        let mut crowd = with(Habit::DRAWN, seed);
        let mut all = Vec::new();
        for number in 10..3_000 {
            let (now, asks) = step(&mut crowd, &toy);
            for ask in asks {
                let answer = match &ask.request {
                    _ if number % 7 == 0 => None,
                    ControlRequest::OpenSession => Some(Ok(Reply::Session(number))),
                    ControlRequest::MakePlan { .. } => shown(number, 1 + u8::from(number % 3 == 0)),
                    _ => Some(Err(Failure::Refused("not now: toy".into()))),
                };
                crowd.answered(now + 1, ask.token, answer);
                all.push(ask);
            }
        }
        (all, crowd.counts().clone())
    };
    let (asks, counts) = live(12);
    assert_eq!((&asks, &counts), (&live(12).0, &live(12).1));
    // Several lives, so that no habit depends on what one seed happens to draw.
    let lived: BTreeSet<String> =
        (12..20).flat_map(|seed| live(seed).1.into_keys()).map(|what| what.to_string()).collect();
    for what in [
        "drain asked",
        "hand-over asked",
        "hand-over asked, to a slot",
        "failover of a slot asked",
        "failover of a host asked",
        "attested in truth",
        "approval sent late",
        "approved late, same leader",
        "approval sent with a stale digest",
        "approval sent twice",
        "approved a colleague's plan",
        "abort at a random moment",
        "reject asked",
        "plan left lying",
        "admit asked: no such disk",
        "view asked, stale",
        "view asked, confirmed",
        "asked under an evicted session",
        "cluster file applied again",
        "hold asked",
        "the requester says yes where two others are needed",
        "retried, same session and sequence",
    ] {
        assert!(lived.contains(what), "never: {what}; {lived:?}");
    }
}
