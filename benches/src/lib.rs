//! Fleets to measure with, made by the planner and the machine: of 12 hosts in three racks with 240 stores of two copies, or larger.
//!
//! What always holds: no speed is asserted anywhere; the same calls make the same fleet; its agents are perfect, and
//! no client writes, so a copy at epoch n holds its n epoch-start records and nothing else.

use slot_machine::apply::apply;
use slot_machine::command::{Answer, Command, Proposal, StepRef};
use slot_machine::runnable::{Runnable, runnable};
use slot_machine::state::{PlanStatus, State};
use slot_planner::{CheckedPlan, Inputs, plan};
use slot_types::cluster::*;
use slot_types::engine::{EngineRole, EngineStatus};
use slot_types::evidence::*;
use slot_types::ids::*;
use slot_types::order::{Action, Done, Order, Outcome};
use slot_types::plan::Intent;
use slot_types::position::{Digest, EpochStart, Position, Tip};
use std::collections::{BTreeMap, BTreeSet};
use std::hint::black_box;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Instant;

/// How large a fleet is.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Hosts.
    pub hosts: u16,
    /// Racks, hosts in turn.
    pub racks: u16,
    /// Slots on each host.
    pub slots: u16,
    /// Stores.
    pub stores: u16,
    /// Copies of each.
    pub copies: u8,
}

/// The fleet that most is measured with.
pub const SMALL: Size = Size { hosts: 12, racks: 3, slots: 44, stores: 240, copies: 2 };
/// Log entries as they were applied.
pub type Log = Vec<(LogIndex, Proposal)>;

/// How long ago a silent host was heard.
const SILENT_MS: u64 = 60_000;
/// More rounds than the longest plan needs.
const ROUNDS_MAX: usize = 10_000;

/// The replicated state, and what its agents and engines would say.
#[derive(Clone, Debug)]
pub struct Fleet {
    /// The machine's state.
    pub state: State,
    log: Log,
    now: u64,
    tips: BTreeMap<SlotId, Tip>,
    silent: BTreeSet<HostName>,
}

/// A host's name.
pub fn host(n: u16) -> HostName {
    HostName::new(format!("imap{n}")).expect("a valid name")
}

fn person() -> OperatorName {
    OperatorName::new("oncall").expect("a valid name")
}

fn ip(network: u8, host: u16, last: u16) -> std::net::IpAddr {
    std::net::Ipv4Addr::from_bits((u32::from(network) << 24) | (u32::from(host) << 8) | u32::from(last)).into()
}

fn file(size: Size) -> FleetSpec {
    let slot = |h: u16, s: u16| SlotSpec { size_bytes: 500 << 30, address: SocketAddr::new(ip(10, h, s), 7430) };
    let host_spec = |h: u16| HostSpec {
        at: Domain(vec!["ny".into(), format!("r{}", h % size.racks + 1)]),
        address: SocketAddr::new(ip(11, h, 0), 7420),
        slots: (1..=size.slots).map(|s| (s, slot(h, s))).collect(),
        weight: 1,
        fence: None,
    };
    let engine = EngineKind::Journal;
    let spec = StoreSpec {
        engine,
        copies: size.copies,
        size_bytes: 100 << 30,
        spread: Spread::Rack,
        sync_copies: 0,
        never: std::collections::BTreeSet::new(),
        load: 1,
    };
    let store = |n: u16| (StoreName::new(format!("store{n}")).expect("a valid name"), spec.clone());
    let coordinator = CoordinatorName::new("c1").expect("a valid name");
    FleetSpec {
        unused: std::collections::BTreeSet::new(),
        cluster: ClusterName::new("fm1").expect("a valid name"),
        coordinators: BTreeMap::from([(coordinator, SocketAddr::from(([10, 255, 9, 1], 7400)))]),
        hosts: (1..=size.hosts).map(|h| (host(h), host_spec(h))).collect(),
        stores: (1..=size.stores).map(store).collect(),
        front_ends: BTreeMap::new(),
        policy: Policy::default(),
    }
}

impl Fleet {
    /// The small fleet after its cluster file was applied.
    pub fn made() -> Self {
        Self::of(SMALL)
    }

    /// A fleet after its cluster file was applied.
    pub fn of(size: Size) -> Self {
        let (state, log, tips, silent) = (State::default(), Vec::new(), BTreeMap::new(), BTreeSet::new());
        let mut fleet = Self { state, log, now: 100_000, tips, silent };
        let file = file(size);
        fleet.must(Command::Found { cluster: ClusterId([9; 16]), name: file.cluster.clone() });
        let plan = fleet.start(Intent::Apply(Box::new(file)));
        fleet.drive();
        for n in 1..=size.hosts {
            let id = u128::from(n).to_be_bytes();
            let (incarnation, boot) = (Incarnation(id), BootId(id));
            let silence = Silence { ms: 0, whole: true };
            let high_water = LogIndex(0);
            fleet.must(Command::HostSeen { host: host(n), incarnation, boot, high_water, silence, first: true });
        }
        fleet.drive();
        fleet.is_done(plan);
        fleet
    }

    /// The fleet's committed picture.
    pub fn cluster(&self) -> &Cluster {
        self.state.cluster.as_ref().expect("founded")
    }

    /// The masters on a host.
    pub fn masters_on(&self, host: &HostName) -> Vec<SlotId> {
        self.cluster().masters_on(host).filter_map(|(_, store)| store.master.clone()).collect()
    }

    /// Nothing is heard of a host any more, and a person says that it is off.
    pub fn silence(&mut self, host: &HostName) {
        let boot = self.cluster().hosts[host].boot.expect("it was seen");
        self.silent.insert(host.clone());
        self.must(Command::Attest { host: host.clone(), boot, how: "unplugged".into(), by: person() });
    }

    /// What a plan depends on besides cluster, evidence and intent.
    pub fn inputs(&self) -> Inputs {
        Inputs {
            requested_by: Some(person()),
            reason: "measuring".into(),
            revision: self.state.revision,
            now: LogTime(self.now),
            wall: WallTime(self.now),
            busy_stores: BTreeSet::new(),
            busy_hosts: BTreeSet::new(),
            busy_slots: BTreeSet::new(),
            fleet_version: self.state.fleet_version,
            said: Default::default(),
        }
    }

    /// The plan for an intent.
    pub fn plan(&self, intent: Intent) -> CheckedPlan {
        let cluster = self.cluster();
        plan(cluster, &self.evidence(), intent, self.inputs()).unwrap_or_else(|why| panic!("no plan: {why}"))
    }

    /// Plans an intent, approves it, carries it out to its end, and answers the log entries that this took.
    pub fn carry_out(&mut self, intent: Intent) -> Log {
        self.log.clear();
        let id = self.start(intent);
        self.drive();
        self.is_done(id);
        std::mem::take(&mut self.log)
    }

    /// What the leader observes of every host and every copy.
    pub fn evidence(&self) -> Evidence {
        self.evidence_of(self.cluster().stores.iter())
    }

    /// The same, of the copies of these stores.
    fn evidence_of<'a>(&self, stores: impl Iterator<Item = (&'a StoreName, &'a Store)>) -> Evidence {
        let mut evidence = Evidence { taken_at: LogTime(self.now), ..Evidence::default() };
        for (name, known) in &self.cluster().hosts {
            if let (Some(incarnation), Some(boot)) = (known.incarnation, known.boot) {
                let agent = Seen::Known { value: AgentSeen { incarnation, boot }, age_ms: self.age_ms(name) };
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
        for (name, store) in stores {
            for (slot, copy) in &store.copies {
                let status = self.status(name, store, slot, copy);
                let seen =
                    Seen::Known { value: CopyEvidence::Running(Box::new(status)), age_ms: self.age_ms(&slot.host) };
                evidence.copies.insert(slot.clone(), seen);
            }
        }
        evidence
    }

    fn age_ms(&self, host: &HostName) -> u64 {
        if self.silent.contains(host) { SILENT_MS } else { 0 }
    }

    fn status(&self, name: &StoreName, store: &Store, slot: &SlotId, copy: &Copy) -> EngineStatus {
        let source = store.master.clone().filter(|master| master != slot);
        let tip = self.tips.get(slot).copied().unwrap_or_default();
        let start = |n: u64| EpochStart { epoch: Epoch { generation: 0, n }, start: n - 1 };
        EngineStatus {
            store: name.clone(),
            slot: slot.clone(),
            generation: copy.generation,
            epoch: store.epoch,
            role: if store.master.as_ref() == Some(slot) { EngineRole::Master } else { EngineRole::Replica },
            tip,
            bytes: 0,
            history: (1..=tip.position.length).map(start).collect(),
            frozen: None,
            behind: source.as_ref().map(|_| 0),
            heard_ms: source.as_ref().map(|master| self.age_ms(&master.host)),
            verified_ms: source.as_ref().map(|_| 60_000),
            following: source.map(|master| (master, store.epoch)),
            sync_copies: store.spec.sync_copies,
            aside: Vec::new(),
            verification: None,
        }
    }

    fn apply(&mut self, command: Command) -> Answer {
        let proposal = Proposal { request: None, log_time: LogTime(self.now), wall: WallTime(self.now), command };
        let index = self.state.applied.next();
        let answer = apply(&mut self.state, index, Term(1), &proposal);
        if !matches!(answer, Answer::Refused(_)) {
            self.log.push((index, proposal));
        }
        answer
    }

    fn must(&mut self, command: Command) -> Answer {
        match self.apply(command) {
            Answer::Refused(why) => panic!("refused: {why}"),
            answer => answer,
        }
    }

    fn start(&mut self, intent: Intent) -> PlanId {
        let plan = self.plan(intent);
        let Answer::Plan { id, .. } = self.must(Command::RecordPlan { bytes: plan.bytes().to_vec() }) else {
            panic!("a recorded plan is answered with its number")
        };
        let touched = plan.plan().stores();
        let guards = self.evidence_of(self.cluster().stores.iter().filter(|(name, _)| touched.contains(name)));
        let digest = plan.digest().short();
        self.must(Command::ApprovePlan { plan: id, digest, by: person(), reason: "yes".into(), guards });
        id
    }

    /// Does what the machine says is to be done, until nothing moves any more.
    fn drive(&mut self) {
        for _ in 0..ROUNDS_MAX {
            let mut moved = false;
            for item in runnable(&self.state) {
                let command = match item {
                    Runnable::Start { step, attempt, .. } => {
                        Command::StartStep { step, attempt, guards: self.guards(step) }
                    }
                    Runnable::Send { host, order, .. } => {
                        Command::FinishStep { id: order.id, outcome: Outcome::Done(self.done(&host, &order)) }
                    }
                    Runnable::Blocked { .. } => continue,
                };
                moved |= self.apply(command) == Answer::Done;
            }
            if !moved {
                return;
            }
        }
        panic!("it never comes to rest");
    }

    fn guards(&self, step: StepRef) -> Evidence {
        let store = &self.state.plans[&step.plan].plan.tasks[usize::from(step.task)].store;
        self.evidence_of(store.iter().filter_map(|name| self.cluster().stores.get_key_value(name)))
    }

    /// What a perfect agent answers.
    fn done(&mut self, host: &HostName, order: &Order) -> Done {
        let Some(subject) = &order.subject else { return Done::Plain };
        let slot = SlotId::new(host.clone(), subject.slot);
        let tip = match &order.action {
            Action::Freeze { .. } | Action::Demote | Action::Raise => self.tips.get(&slot).copied().unwrap_or_default(),
            Action::CatchUp { target, .. } => *target,
            Action::Promote { expect, .. } => {
                let length = expect.position.length + 1;
                let position = Position { epoch: subject.epoch, length };
                Tip { position, digest: Digest::of(&length.to_le_bytes()) }
            }
            Action::Follow { source } => {
                let master = self.tips.get(&source.slot).copied().unwrap_or_default();
                self.tips.insert(slot, master);
                return Done::Plain;
            }
            _ => return Done::Plain,
        };
        self.tips.insert(slot, tip);
        Done::Tip { tip, history: Vec::new() }
    }

    fn is_done(&self, id: PlanId) {
        let record = &self.state.plans[&id];
        assert_eq!(record.status, PlanStatus::Done, "{id}: {:?}", record.tasks);
    }
}

/// How long a question takes, in milliseconds, shortest first: asked so often, after once that is not counted.
pub fn times_ms<T>(runs: usize, mut question: impl FnMut() -> T) -> Vec<f64> {
    black_box(question());
    let mut took_ms: Vec<f64> = (0..runs)
        .map(|_| {
            let from = Instant::now();
            black_box(question());
            from.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    took_ms.sort_by(f64::total_cmp);
    took_ms
}

/// `--json FILE`, or `--json=FILE`; what else cargo hands on is not for a bench of ours.
pub fn json_file() -> Option<PathBuf> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let after = arguments.iter().position(|argument| argument == "--json").and_then(|at| arguments.get(at + 1));
    after.map(String::as_str).or_else(|| arguments.iter().find_map(|a| a.strip_prefix("--json="))).map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fleet_is_made_and_what_was_logged_makes_it_again() {
        let mut fleet = Fleet::made();
        assert!(fleet.cluster().stores.values().all(|store| store.master.is_some()));
        assert_eq!(fleet.masters_on(&host(3)).len(), usize::from(SMALL.stores / SMALL.hosts));
        let mut again = fleet.state.clone();
        for (index, proposal) in fleet.carry_out(Intent::DrainHost(host(3))) {
            apply(&mut again, index, Term(1), &proposal);
        }
        assert_eq!(fleet.cluster().hosts[&host(3)].declared, HostState::Maintenance);
        assert_eq!(again.cluster, fleet.state.cluster);
    }
}
