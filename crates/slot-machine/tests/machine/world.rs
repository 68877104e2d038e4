//! A small fleet, perfect agents that may fall silent, and a driver that does what `runnable` says.

use crate::watch::Watch;
use slot_machine::apply::apply;
use slot_machine::command::*;
use slot_machine::runnable::{Runnable, runnable};
use slot_machine::state::*;
use slot_types::cluster::*;
use slot_types::engine::{EngineRole, EngineStatus};
use slot_types::evidence::*;
use slot_types::front_end::FrontEndSeen;
use slot_types::ids::*;
use slot_types::order::{Action, Done, NeverWill, Order, Outcome};
use slot_types::plan::*;
use slot_types::position::{Digest, Position, Tip};
use std::collections::{BTreeMap, BTreeSet};

pub fn host(n: u8) -> HostName {
    HostName::new(format!("h{n}")).unwrap()
}
pub fn slot(h: u8, n: u16) -> SlotId {
    SlotId::new(host(h), n)
}
pub fn store(n: u8) -> StoreName {
    StoreName::new(format!("store{n}")).unwrap()
}
pub fn person(name: &str) -> OperatorName {
    OperatorName::new(name).unwrap()
}
pub fn disk(n: u8) -> Incarnation {
    Incarnation([n; 16])
}
pub fn boot(h: u8, n: u8) -> BootId {
    BootId([h, n, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7])
}
pub fn epoch(n: u64) -> Epoch {
    Epoch { generation: 0, n }
}
pub fn tip(e: u64, length: u64) -> Tip {
    let position = Position { epoch: epoch(e), length };
    Tip { position, digest: Digest::of(&length.to_le_bytes()) }
}
pub fn never(why: NeverWill) -> Outcome {
    Outcome::NeverWill(why)
}

pub const HOSTS: u8 = 4;

/// How long a host was silent that booted, where a test does not say.
pub const SILENCE: Silence = Silence { ms: 60_000, whole: true };

pub struct World {
    pub state: State,
    pub watch: Watch,
    pub log: Vec<(LogIndex, Proposal)>,
    pub index: u64,
    pub now: u64,
    /// Hosts whose agents neither answer nor are heard.
    pub dead: BTreeSet<HostName>,
    /// Where copies end.
    pub tips: BTreeMap<SlotId, Tip>,
    /// The revisions that front ends serve; one that is not here was never heard.
    pub serving: BTreeMap<FrontEndName, Revision>,
    /// What ListStranded answers.
    pub stranded: BTreeMap<SlotId, Vec<RecordId>>,
    /// Every order an agent was sent, once.
    pub sent: Vec<Order>,
}

impl World {
    /// Founded, four hosts with two slots each, all seen; no stores.
    pub fn new() -> Self {
        let mut world = Self {
            state: State::default(),
            watch: Watch::default(),
            log: Vec::new(),
            index: 0,
            now: 1_000,
            dead: BTreeSet::new(),
            tips: BTreeMap::new(),
            serving: BTreeMap::new(),
            stranded: BTreeMap::new(),
            sent: Vec::new(),
        };
        let name = ClusterName::new("fm1").unwrap();
        world.ok(Command::Found { cluster: ClusterId([9; 16]), name });
        let task = Task {
            kind: TaskKind::Fleet,
            store: None,
            epoch: Epoch::ZERO,
            after: Vec::new(),
            steps: vec![crate::plans::step(StepKind::ChangeFleet, None)],
        };
        let plan = world.plan(Intent::Apply(Box::new(fleet())), vec![task]);
        let id = world.record(&plan);
        world.approve(id, "ann").unwrap();
        world.drive();
        for n in 1..=HOSTS {
            world.seen(n, 1);
        }
        world
    }
    /// With `store1`: master on h1/01, replicas on h2/01 and h3/01.
    pub fn with_store() -> Self {
        let mut world = Self::new();
        world.create(1, &[slot(1, 1), slot(2, 1), slot(3, 1)]);
        world
    }
    pub fn create(&mut self, n: u8, slots: &[SlotId]) {
        let plan = self.plan(Intent::Apply(Box::new(fleet())), vec![crate::plans::create(n, slots)]);
        let id = self.record(&plan);
        self.approve(id, "ann").unwrap();
        self.drive();
        assert_eq!(self.state.plans[&id].status, PlanStatus::Done, "{:?}", self.state.plans[&id].tasks);
    }
    pub fn cluster(&self) -> &Cluster {
        self.state.cluster.as_ref().unwrap()
    }
    pub fn store(&self, n: u8) -> &Store {
        &self.cluster().stores[&store(n)]
    }
    pub fn copy(&self, n: u8, at: &SlotId) -> &Copy {
        &self.store(n).copies[at]
    }
    pub fn cluster_mut(&mut self) -> &mut Cluster {
        self.state.cluster.as_mut().unwrap()
    }
    pub fn run(&self, id: PlanId, task: usize) -> &TaskRun {
        &self.state.plans[&id].tasks[task]
    }

    pub fn submit(&mut self, request: Option<RequestId>, command: Command) -> Answer {
        self.index += 1;
        let proposal = Proposal { request, log_time: LogTime(self.now), wall: WallTime(5), command };
        let before = self.state.clone();
        let answer = apply(&mut self.state, LogIndex(self.index), Term(1), &proposal);
        self.watch.check(&before, &self.state, &proposal, &answer);
        self.log.push((LogIndex(self.index), proposal));
        answer
    }
    pub fn apply(&mut self, command: Command) -> Answer {
        self.submit(None, command)
    }
    pub fn ok(&mut self, command: Command) {
        let answer = self.apply(command);
        assert!(!matches!(answer, Answer::Refused(_)), "{answer:?}");
    }
    pub fn refused(&mut self, command: Command) -> Refused {
        match self.apply(command) {
            Answer::Refused(why) => why,
            other => panic!("not refused: {other:?}"),
        }
    }
    pub fn seen(&mut self, h: u8, b: u8) {
        let high_water = self.cluster().hosts[&host(h)].acknowledged;
        self.ok(Command::HostSeen {
            host: host(h),
            incarnation: disk(h),
            boot: boot(h, b),
            high_water,
            silence: SILENCE,
            first: false,
        });
    }
    pub fn attest(&mut self, h: u8, by: &str) -> Answer {
        let known = self.cluster().hosts[&host(h)].boot.unwrap();
        let answer =
            self.apply(Command::Attest { host: host(h), boot: known, how: "unplugged".into(), by: person(by) });
        // R8: it counts once nothing was heard for a while.
        self.now += 5_000;
        answer
    }

    /// A plan with every fact it needs, as asked for by ann.
    pub fn plan(&self, intent: Intent, tasks: Vec<Task>) -> Plan {
        let cluster = self.cluster();
        let mut plan = Plan {
            cluster: cluster.id,
            generation: cluster.generation,
            requested_by: (!intent.is_everyday()).then(|| person("ann")),
            intent,
            reason: "test".into(),
            revision: self.state.revision,
            created: self.state.log_time,
            created_wall: WallTime(0),
            valid_ms: cluster.policy.plan_valid_ms,
            facts: BTreeMap::new(),
            evidence: Evidence::default(),
            silent_hosts: 0,
            said: Default::default(),
            switch_off: BTreeMap::new(),
            people: 1,
            two_because: Vec::new(),
            tasks,
            notes: Vec::new(),
        };
        let mut facts = BTreeMap::new();
        for name in plan.stores() {
            facts.insert(EntityRef::Store(name.clone()), cluster.stores.get(name).map_or(0, |s| s.version));
        }
        for name in plan.hosts() {
            facts.insert(EntityRef::Host(name.clone()), cluster.hosts.get(name).map_or(0, |h| h.version));
        }
        facts.insert(EntityRef::Fleet, self.state.fleet_version);
        plan.facts = facts;
        plan
    }
    pub fn propose(&mut self, plan: &Plan) -> Answer {
        self.apply(Command::RecordPlan { bytes: plan.bytes() })
    }
    pub fn record(&mut self, plan: &Plan) -> PlanId {
        match self.propose(plan) {
            Answer::Plan { id, .. } => id,
            other => panic!("not recorded: {other:?}"),
        }
    }
    pub fn approval(&self, id: PlanId, by: &str) -> Command {
        Command::ApprovePlan {
            plan: id,
            digest: self.state.plans[&id].digest.short(),
            by: person(by),
            reason: "yes".into(),
            guards: self.evidence(),
        }
    }
    pub fn approve(&mut self, id: PlanId, by: &str) -> Result<u8, Refused> {
        match self.apply(self.approval(id, by)) {
            Answer::Plan { people_missing, .. } => Ok(people_missing),
            Answer::Refused(why) => Err(why),
            other => panic!("{other:?}"),
        }
    }
    /// Records, and approves by as many as it takes; ann asks, ben and cat are the others.
    pub fn start(&mut self, intent: Intent, tasks: Vec<Task>) -> PlanId {
        let plan = self.plan(intent, tasks);
        let id = self.record(&plan);
        let people = self.state.plans[&id].people;
        for by in ["ben", "cat"].iter().take(usize::from(people)) {
            self.approve(id, by).unwrap();
        }
        id
    }

    /// What the leader observes: every copy of a live host runs as the committed state says.
    pub fn evidence(&self) -> Evidence {
        let mut evidence = Evidence { taken_at: LogTime(self.now), ..Evidence::default() };
        let Some(cluster) = &self.state.cluster else { return evidence };
        for (name, known) in &cluster.hosts {
            if self.dead.contains(name) {
                let agent = Seen::Unknown { reason: "silent".into() };
                evidence.hosts.insert(
                    name.clone(),
                    HostEvidence {
                        agent,
                        running: Vec::new(),
                        disk: Seen::Unknown { reason: "not told".into() },
                        load: Seen::Unknown { reason: "not told".into() },
                    },
                );
            } else if let (Some(incarnation), Some(boot)) = (known.incarnation, known.boot) {
                let agent = Seen::Known { value: AgentSeen { incarnation, boot }, age_ms: 0 };
                evidence.hosts.insert(
                    name.clone(),
                    HostEvidence {
                        agent,
                        running: Vec::new(),
                        disk: Seen::Unknown { reason: "not told".into() },
                        load: Seen::Unknown { reason: "not told".into() },
                    },
                );
            }
        }
        for (name, at) in &self.serving {
            let value = FrontEndSeen { acknowledged: Some((cluster.generation, *at)), problem: None };
            evidence.front_ends.insert(name.clone(), Seen::Known { value, age_ms: 0 });
        }
        for (name, store) in &cluster.stores {
            for (at, copy) in store.copies.iter().filter(|(at, _)| !self.dead.contains(&at.host)) {
                let master = store.master.as_ref() == Some(at);
                let status = EngineStatus {
                    store: name.clone(),
                    slot: at.clone(),
                    generation: copy.generation,
                    epoch: store.epoch,
                    role: if master { EngineRole::Master } else { EngineRole::Replica },
                    tip: self.tips.get(at).copied().unwrap_or_default(),
                    bytes: 0,
                    history: Vec::new(),
                    frozen: None,
                    following: store.master.clone().filter(|_| !master).map(|m| (m, store.epoch)),
                    behind: Some(0),
                    heard_ms: Some(0),
                    verified_ms: Some(0),
                    sync_copies: 0,
                    aside: Vec::new(),
                    verification: None,
                };
                let value = CopyEvidence::Running(Box::new(status));
                evidence.copies.insert(at.clone(), Seen::Known { value, age_ms: 0 });
            }
        }
        evidence
    }

    pub fn start_step(&self, step: StepRef, attempt: u32) -> Command {
        Command::StartStep { step, attempt, guards: self.evidence() }
    }
    /// Starts what can be started, once over; answers whether anything was.
    pub fn start_all(&mut self) -> bool {
        let mut any = false;
        for item in runnable(&self.state) {
            if let Runnable::Start { step, attempt, .. } = item {
                any |= self.apply(self.start_step(step, attempt)) == Answer::Done;
            }
        }
        any
    }
    pub fn sends(&self) -> Vec<(StepRef, StepKind, Order)> {
        let sends = runnable(&self.state).into_iter().filter_map(|item| match item {
            Runnable::Send { step, kind, order, .. } => Some((step, kind, *order)),
            _ => None,
        });
        sends.collect()
    }
    /// The outstanding order of a kind.
    pub fn order(&self, kind: StepKind) -> Order {
        let found = self.sends().into_iter().find(|(_, k, _)| *k == kind);
        found.unwrap_or_else(|| panic!("no {kind:?} among {:?}", runnable(&self.state))).2
    }
    pub fn finish(&mut self, id: OrderId, outcome: Outcome) -> Answer {
        self.apply(Command::FinishStep { id, outcome })
    }
    pub fn answer_as_agent(&mut self, host: &HostName, order: &Order) -> Answer {
        let at = order.subject.as_ref().map(|s| SlotId::new(host.clone(), s.slot));
        let outcome = self.outcome(at, order);
        self.sent.push(order.clone());
        self.finish(order.id, outcome)
    }
    fn outcome(&mut self, at: Option<SlotId>, order: &Order) -> Outcome {
        let at = at.unwrap_or_else(|| slot(99, 1));
        let mine = self.tips.get(&at).copied().unwrap_or_default();
        let tip = |tip| Outcome::Done(Done::Tip { tip, history: Vec::new() });
        match &order.action {
            Action::Freeze { .. } | Action::Demote | Action::Raise => tip(mine),
            Action::CatchUp { target, .. } => {
                self.tips.insert(at, *target);
                tip(*target)
            }
            Action::Promote { expect, source, .. } => {
                if mine != *expect && source.is_none() {
                    return never(NeverWill::NotEqual { have: mine, want: *expect });
                }
                let epoch = order.subject.as_ref().unwrap().epoch;
                let next = crate::world::tip(epoch.n, expect.position.length + 1);
                self.tips.insert(at, next);
                tip(next)
            }
            Action::Follow { source } => {
                let master = self.tips.get(&source.slot).copied().unwrap_or_default();
                self.tips.insert(at, master);
                Outcome::Done(Done::Plain)
            }
            Action::ListStranded { .. } => {
                Outcome::Done(Done::Stranded(self.stranded.get(&at).cloned().unwrap_or_default()))
            }
            Action::Reinject { .. } => Outcome::Done(Done::Reinjected { appended: 1, present: 0 }),
            Action::Destroy => {
                self.tips.remove(&at);
                Outcome::Done(Done::Plain)
            }
            Action::Cancel { .. } => never(NeverWill::Cancelled),
            _ => Outcome::Done(Done::Plain),
        }
    }
    /// The master of a store takes so many more writes, and its replicas hold them too, except those named.
    pub fn write(&mut self, n: u8, records: u64, lagging: &[SlotId]) {
        let (master, e) = (self.store(n).master.clone().unwrap(), self.store(n).epoch.n);
        let length = self.tips[&master].position.length + records;
        for at in self.store(n).copies.keys().cloned().collect::<Vec<_>>() {
            if !lagging.contains(&at) {
                self.tips.insert(at, tip(e, length));
            }
        }
    }

    /// One round of starts, then of answers; answers whether anything moved.
    pub fn round(&mut self) -> bool {
        let mut moved = self.start_all();
        for item in runnable(&self.state) {
            if let Runnable::Send { host, order, .. } = item
                && !self.dead.contains(&host)
            {
                moved |= self.answer_as_agent(&host, &order) == Answer::Done;
            }
        }
        moved
    }
    /// Until nothing moves any more.
    pub fn drive(&mut self) {
        for _ in 0..1_000 {
            if !self.round() {
                return;
            }
        }
        panic!("it never comes to rest: {:?}", runnable(&self.state));
    }
    /// Until an order of this kind is out.
    pub fn until(&mut self, kind: StepKind) -> Order {
        for _ in 0..1_000 {
            if let Some((_, _, order)) = self.sends().into_iter().find(|(_, k, _)| *k == kind) {
                return order;
            }
            let moved = self.start_all();
            if let Some((_, _, order)) = self.sends().into_iter().find(|(_, k, _)| *k == kind) {
                return order;
            }
            let mut answered = false;
            for item in runnable(&self.state) {
                if let Runnable::Send { host, order, .. } = item
                    && !self.dead.contains(&host)
                {
                    answered |= self.answer_as_agent(&host, &order) == Answer::Done;
                }
            }
            assert!(moved || answered, "no {kind:?}: {:?}", runnable(&self.state));
        }
        panic!("no {kind:?}");
    }
    pub fn blocked(&self) -> Vec<String> {
        let items = runnable(&self.state).into_iter();
        items.filter_map(|i| if let Runnable::Blocked { why, .. } = i { Some(why) } else { None }).collect()
    }
    /// Whatever is outstanding or blocked is called stuck, as after its deadline.
    pub fn all_stuck(&mut self) {
        for item in runnable(&self.state) {
            let (Runnable::Start { step, .. } | Runnable::Send { step, .. } | Runnable::Blocked { step, .. }) = item;
            self.apply(Command::StuckStep { step, why: "nothing answers".into() });
        }
    }
}

/// The cluster file of every test: four hosts in four racks.
pub fn fleet() -> FleetSpec {
    let address = |h: u8, n: u16| format!("10.0.0.{h}:{}", 7000 + n).parse().unwrap();
    let hosts = (1..=HOSTS).map(|h| {
        let slots = (1..=2).map(|n| (n, SlotSpec { size_bytes: 1 << 30, address: address(h, n) })).collect();
        (
            host(h),
            HostSpec {
                at: Domain(vec!["ny".into(), format!("r{h}")]),
                address: address(h, 100),
                slots,
                weight: 1,
                fence: None,
            },
        )
    });
    FleetSpec {
        unused: std::collections::BTreeSet::new(),
        cluster: ClusterName::new("fm1").unwrap(),
        coordinators: BTreeMap::new(),
        hosts: hosts.collect(),
        stores: BTreeMap::new(),
        front_ends: BTreeMap::new(),
        policy: Policy { allow_unfenced: true, ..Policy::default() },
    }
}
