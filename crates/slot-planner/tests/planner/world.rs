//! A fleet to plan for: hosts in racks of their own, stores placed in a ring, everything well until a test says
//! otherwise.

use slot_planner::{CheckedPlan, Inputs, Refusal, plan};
use slot_types::cluster::*;
use slot_types::engine::{EngineRole, EngineStatus};
use slot_types::evidence::*;
use slot_types::ids::*;
use slot_types::load::{Busy, EngineLoad, HostLoad};
use slot_types::plan::{Intent, Place, Plan, Settlement, Step, StepKind, Task, TaskKind};
use slot_types::position::{Digest, EpochStart, Position, Tip};
use std::collections::{BTreeMap, BTreeSet};

/// Cluster, evidence and inputs together.
#[derive(Clone, Debug)]
pub struct World {
    pub cluster: Cluster,
    pub evidence: Evidence,
    pub inputs: Inputs,
}

pub fn host(n: usize) -> HostName {
    HostName::new(format!("imap{n}")).unwrap()
}
pub fn store(n: usize) -> StoreName {
    StoreName::new(format!("store{n}")).unwrap()
}
pub fn slot(text: &str) -> SlotId {
    text.parse().unwrap()
}

pub fn tip(epoch: Epoch, length: u64) -> Tip {
    Tip { position: Position { epoch, length }, digest: Digest::of(&length.to_le_bytes()) }
}

/// A cluster file: `hosts` hosts in racks of their own with `slots` slots each, `stores` stores of `copies` copies.
pub fn file(hosts: usize, slots: u16, stores: usize, copies: u8) -> FleetSpec {
    let host_spec = |n: usize| HostSpec {
        at: Domain(vec!["ny".into(), format!("r{n}")]),
        address: format!("10.1.{n}.1:7420").parse().unwrap(),
        slots: (1..=slots)
            .map(|s| (s, SlotSpec { size_bytes: 1000, address: format!("10.20.{n}.{s}:7430").parse().unwrap() }))
            .collect(),
        weight: 1,
        fence: None,
    };
    let spec = StoreSpec {
        engine: EngineKind::Journal,
        copies,
        size_bytes: 100,
        spread: Spread::Rack,
        sync_copies: 0,
        never: std::collections::BTreeSet::new(),
        load: 1,
    };
    FleetSpec {
        unused: std::collections::BTreeSet::new(),
        cluster: ClusterName::new("fm1").unwrap(),
        coordinators: BTreeMap::from([(CoordinatorName::new("c1").unwrap(), "10.1.9.1:7400".parse().unwrap())]),
        hosts: (1..=hosts).map(|n| (host(n), host_spec(n))).collect(),
        stores: (1..=stores).map(|n| (store(n), spec.clone())).collect(),
        front_ends: BTreeMap::new(),
        policy: Policy::default(),
    }
}

/// What an agent measures here: a master takes 7 % of the processors and 2 % of the disk of its host, a replica 2 % of both.
fn measured(cluster: &Cluster, name: &HostName) -> HostLoad {
    let engine = |(_, slot, copy): (&StoreName, &SlotId, &Copy)| {
        let cpu_ppm = if copy.role == Role::Master { 70_000 } else { 20_000 };
        EngineLoad { slot: slot.number, busy: Busy { cpu_ppm, disk_ppm: Some(20_000) } }
    };
    let engines: Vec<EngineLoad> = cluster.copies_on(name).map(engine).collect();
    let all = |of: fn(&Busy) -> u32| engines.iter().map(|engine| of(&engine.busy)).sum::<u32>();
    let machine =
        Busy { cpu_ppm: 150_000 + all(|busy| busy.cpu_ppm), disk_ppm: Some(all(|busy| busy.disk_ppm.unwrap_or(0))) };
    HostLoad { window_ms: 30_000, processors: 8, machine, engines }
}

impl World {
    pub fn empty() -> Self {
        let cluster = Cluster::new(ClusterId([7; 16]), ClusterName::new("fm1").unwrap());
        let inputs = Inputs {
            requested_by: Some(OperatorName::new("oncall").unwrap()),
            reason: "ticket 8812".into(),
            revision: Revision(48_211),
            now: LogTime(1_000_000),
            wall: WallTime(36_220_000),
            busy_stores: BTreeSet::new(),
            busy_hosts: BTreeSet::new(),
            busy_slots: BTreeSet::new(),
            fleet_version: 3,
            said: Default::default(),
        };
        let evidence = Evidence { taken_at: LogTime(1_000_000), ..Evidence::default() };
        Self { cluster, evidence, inputs }
    }

    /// `hosts` hosts with their stores placed and running: store k's master on host k, its replicas on later ones.
    pub fn running(hosts: usize, slots: u16, stores: usize, copies: u8) -> Self {
        let mut world = Self::empty();
        let file = file(hosts, slots, stores, copies);
        world.add_hosts(&file);
        let mut used: BTreeMap<usize, u16> = BTreeMap::new();
        for (number, (name, spec)) in (0..).zip(&file.stores) {
            let mut copies = Vec::new();
            let shift = number / hosts % (hosts - usize::from(spec.copies) + 1);
            for copy in 0..usize::from(spec.copies) {
                let at = (number + if copy == 0 { 0 } else { copy + shift }) % hosts + 1;
                let next = used.entry(at).or_insert(0);
                *next += 1;
                copies.push(SlotId::new(host(at), *next));
            }
            world.add_store(name, spec, &copies);
        }
        world.see_all();
        world
    }

    pub fn add_hosts(&mut self, file: &FleetSpec) {
        for (number, (name, spec)) in (1u8..).zip(&file.hosts) {
            let known = Host {
                at: spec.at.clone(),
                address: spec.address,
                declared: HostState::Active,
                slots: spec.slots.clone(),
                incarnation: Some(Incarnation([number; 16])),
                boot: Some(BootId([number; 16])),
                quarantined: None,
                acknowledged: LogIndex(0),
                drained_masters: BTreeSet::new(),
                back_by: None,
                device: slot_types::fence::Device { spec: spec.fence.clone(), ..Default::default() },
                reboots: Vec::new(),
                weight: spec.weight,
                version: 10 + u64::from(number),
            };
            self.cluster.hosts.entry(name.clone()).or_insert(known);
        }
        self.cluster.policy = file.policy.clone();
    }

    pub fn add_store(&mut self, name: &StoreName, spec: &StoreSpec, slots: &[SlotId]) {
        let epoch = Epoch { generation: 0, n: 8 };
        let master = &slots[0];
        let copy = |slot: &SlotId| Copy {
            role: if slot == master { Role::Master } else { Role::Replica },
            state: CopyState::Serving,
            generation: CopyGeneration(1),
            follows: (slot != master).then(|| (master.clone(), epoch)),
            whole: true,
        };
        let known = Store {
            spec: spec.clone(),
            epoch,
            master: Some(master.clone()),
            pending: None,
            promote_started: false,
            copies: slots.iter().map(|s| (s.clone(), copy(s))).collect(),
            possible_masters: BTreeMap::new(),
            route: self.cluster.slot(master).map(|s| Route {
                slot: master.clone(),
                address: s.address,
                epoch,
                revision: Revision(0),
            }),
            last_promoted: epoch,
            past: BTreeMap::new(),
            unheard: BTreeSet::new(),
            retired: false,
            version: 40,
        };
        self.cluster.stores.insert(name.clone(), known);
    }

    /// Everything is seen as the cluster says it is, half a second ago.
    pub fn see_all(&mut self) {
        self.evidence.hosts.clear();
        self.evidence.copies.clear();
        for (name, host) in &self.cluster.hosts {
            let seen =
                AgentSeen { incarnation: host.incarnation.unwrap_or_default(), boot: host.boot.unwrap_or_default() };
            let agent = Seen::Known { value: seen, age_ms: 500 };
            self.evidence.hosts.insert(
                name.clone(),
                HostEvidence {
                    agent,
                    running: Vec::new(),
                    disk: Seen::Unknown { reason: "not told".into() },
                    load: Seen::Known { value: measured(&self.cluster, name), age_ms: 500 },
                },
            );
        }
        let stores: Vec<(StoreName, Store)> = self.cluster.stores.clone().into_iter().collect();
        for (name, store) in stores {
            for (slot, copy) in &store.copies {
                let stopped = copy.state == CopyState::Stopped;
                let seen = if stopped {
                    CopyEvidence::NotRunning
                } else {
                    CopyEvidence::Running(Box::new(status(&name, &store, slot)))
                };
                self.evidence.copies.insert(slot.clone(), Seen::Known { value: seen, age_ms: 500 });
            }
        }
    }

    /// Changes what an engine said.
    pub fn said(&mut self, at: &SlotId, change: impl FnOnce(&mut EngineStatus)) {
        match self.evidence.copies.get_mut(at) {
            Some(Seen::Known { value: CopyEvidence::Running(status), .. }) => change(status),
            other => panic!("{at} is not seen running: {other:?}"),
        }
    }

    /// A host's agent and engines were last seen so long ago; its replicas' followers heard them as long ago.
    pub fn silent(&mut self, name: &HostName, ms: u64) {
        if let Some(HostEvidence { agent: Seen::Known { age_ms, .. }, load, .. }) = self.evidence.hosts.get_mut(name) {
            *age_ms = ms;
            if let Seen::Known { age_ms, .. } = load {
                *age_ms = ms;
            }
        }
        for (slot, seen) in &mut self.evidence.copies {
            let Seen::Known { value, age_ms } = seen else { continue };
            if slot.host == *name {
                *age_ms = ms;
            } else if let CopyEvidence::Running(status) = value
                && status.following.as_ref().is_some_and(|(source, _)| source.host == *name)
            {
                status.heard_ms = Some(ms);
            }
        }
    }

    /// A person said so a second ago.
    pub fn attest(&mut self, name: &HostName) {
        let word = Attestation {
            boot: self.cluster.hosts[name].boot.unwrap(),
            how: "unplugged".into(),
            by: OperatorName::new("oncall").unwrap(),
            at: LogTime(999_000),
            expires: LogTime(2_000_000),
        };
        self.cluster.attestations.insert(name.clone(), word);
    }

    pub fn plan(&self, intent: Intent) -> Result<CheckedPlan, Refusal> {
        plan(&self.cluster, &self.evidence, intent, self.inputs.clone())
    }

    pub fn store_mut(&mut self, name: &StoreName) -> &mut Store {
        self.cluster.stores.get_mut(name).unwrap()
    }
    pub fn host_mut(&mut self, name: &HostName) -> &mut Host {
        self.cluster.hosts.get_mut(name).unwrap()
    }

    /// The world after every task of a plan is done, and everything seen well.
    pub fn complete(&mut self, plan: &Plan) {
        plan.tasks.iter().for_each(|task| self.carry_out(plan, task));
        self.see_all();
    }

    /// What the cluster is after a task of a plan is done, as far as planning again depends on it.
    pub fn carry_out(&mut self, plan: &Plan, task: &Task) {
        match (&task.kind, &task.store) {
            (TaskKind::Fleet, _) => {
                if let Intent::Apply(file) = &plan.intent {
                    self.change_fleet(file);
                }
            }
            (TaskKind::CreateStore { spec, copies, master }, Some(name)) => {
                let mut slots: Vec<SlotId> = vec![master.clone()];
                slots.extend(copies.keys().filter(|s| *s != master).cloned());
                self.add_store(name, spec, &slots);
            }
            (TaskKind::HandOver { to, .. } | TaskKind::FailOver { to, .. }, Some(name)) => {
                let told = |kind: StepKind| -> Vec<SlotId> {
                    let steps = task.steps.iter().filter(|step: &&Step| step.kind == kind);
                    steps
                        .filter_map(|s| if let Some(Place::Slot(slot)) = &s.at { Some(slot.clone()) } else { None })
                        .collect()
                };
                self.lead(name, to, &told(StepKind::Follow), &told(StepKind::Demote));
                if let TaskKind::FailOver { waived, .. } = &task.kind {
                    let since = PossibleMaster { since: task.epoch, generation: CopyGeneration(1) };
                    let waived = waived.iter().filter(|slot| *slot != to).map(|slot| (slot.clone(), since.clone()));
                    self.store_mut(name).possible_masters.extend(waived);
                }
            }
            (TaskKind::HostState { host, to }, _) => {
                if *to == HostState::Draining {
                    let masters = self.cluster.masters_on(host).map(|(s, _)| s.clone()).collect();
                    self.host_mut(host).drained_masters = masters;
                }
                self.host_mut(host).declared = *to;
            }
            (TaskKind::SettleLoss { case, slot, how }, Some(name)) => {
                let by = OperatorName::new("oncall").unwrap();
                self.cluster.loss_cases.get_mut(case).unwrap().state = match how {
                    Settlement::Reinject => LossState::Reinjected { by },
                    Settlement::Discard => LossState::Discarded { by },
                };
                self.follow(name, slot);
            }
            (_, Some(name)) => self.change_copy(name, task),
            _ => {}
        }
    }

    fn change_fleet(&mut self, file: &FleetSpec) {
        self.add_hosts(file);
        for (name, spec) in &file.hosts {
            let host = self.host_mut(name);
            (host.at, host.address, host.weight) = (spec.at.clone(), spec.address, spec.weight);
            host.slots.extend(spec.slots.clone());
            host.device.spec.clone_from(&spec.fence);
        }
        for (name, spec) in &file.stores {
            if let Some(store) = self.cluster.stores.get_mut(name) {
                store.spec = spec.clone();
            }
        }
    }

    fn change_copy(&mut self, name: &StoreName, task: &Task) {
        let store = self.store_mut(name);
        match &task.kind {
            TaskKind::BuildCopy { slot, generation, .. } => {
                let follows = store.master.clone().map(|master| (master, store.epoch));
                let (role, state) = (Role::Replica, CopyState::Serving);
                let copy = Copy { role, state, generation: *generation, follows, whole: true };
                store.copies.insert(slot.clone(), copy);
            }
            TaskKind::DestroyCopy { slot, generation } => {
                store.copies.remove(slot);
                store.past.insert(slot.clone(), *generation);
                if store.retired && store.copies.is_empty() {
                    let (epoch, past) = (store.epoch, store.past.clone());
                    let stone = Tombstone { epoch, past, at: self.inputs.now, wall: self.inputs.wall };
                    self.cluster.stores.remove(name);
                    self.cluster.tombstones.insert(name.clone(), stone);
                }
            }
            TaskKind::StopCopy { slot } => store.copies.get_mut(slot).unwrap().state = CopyState::Stopped,
            TaskKind::StartCopy { slot } if store.master.is_some() => self.follow(name, slot),
            TaskKind::CountCopy { slot } => {
                let copy = store.copies.get_mut(slot).unwrap();
                (copy.whole, copy.state) = (true, CopyState::Serving);
            }
            TaskKind::RetireStore { .. } => {
                (store.retired, store.master, store.route, store.epoch) = (true, None, None, store.epoch.next());
                store.possible_masters.clear();
                store
                    .copies
                    .values_mut()
                    .for_each(|copy| (copy.role, copy.state) = (Role::Replica, CopyState::Retired));
            }
            TaskKind::FenceReturned { slot } => {
                store.possible_masters.remove(slot);
                store.copies.get_mut(slot).unwrap().state = CopyState::Building;
                let waits = |case: &&mut LossCase| case.store == *name && case.slot == *slot && case.state.is_open();
                for case in self.cluster.loss_cases.values_mut().filter(waits) {
                    case.state = LossState::Listed;
                    self.cluster.stores.get_mut(name).unwrap().copies.get_mut(slot).unwrap().state =
                        CopyState::Quarantined;
                }
            }
            _ => {}
        }
    }

    /// It follows its master; what never was whole is built on.
    fn follow(&mut self, name: &StoreName, slot: &SlotId) {
        let store = self.store_mut(name);
        let follows = store.master.clone().map(|master| (master, store.epoch));
        let copy = store.copies.get_mut(slot).unwrap();
        copy.state = if copy.whole { CopyState::Serving } else { CopyState::Building };
        copy.follows = follows;
    }

    fn lead(&mut self, name: &StoreName, to: &SlotId, follows: &[SlotId], demoted: &[SlotId]) {
        let store = self.store_mut(name);
        store.epoch = store.epoch.next();
        store.last_promoted = store.epoch;
        let former = store.master.replace(to.clone());
        store.pending = None;
        let master = (to.clone(), store.epoch);
        for (slot, copy) in &mut store.copies {
            copy.role = if slot == to { Role::Master } else { Role::Replica };
            if slot == to {
                (copy.state, copy.follows, copy.whole) = (CopyState::Serving, None, true);
            } else if follows.contains(slot) {
                copy.follows = Some(master.clone());
                copy.state = if copy.whole { CopyState::Serving } else { CopyState::Building };
            } else if Some(slot) == former.as_ref() {
                copy.state = CopyState::Quarantined;
            }
        }
        store.possible_masters.retain(|slot, _| slot != to && !demoted.contains(slot));
        self.host_mut(&to.host).drained_masters.remove(name);
    }
}

/// What a well engine says: its master ends at record 100, it is close behind and was verified a minute ago.
pub fn status(name: &StoreName, store: &Store, slot: &SlotId) -> EngineStatus {
    let leads = store.master.as_ref() == Some(slot);
    EngineStatus {
        store: name.clone(),
        slot: slot.clone(),
        generation: store.copies[slot].generation,
        epoch: store.epoch,
        role: if leads { EngineRole::Master } else { EngineRole::Replica },
        tip: tip(store.epoch, 100),
        bytes: 0,
        history: vec![EpochStart { epoch: store.epoch, start: 0 }],
        frozen: None,
        following: if leads { None } else { store.master.clone().map(|m| (m, store.epoch)) },
        behind: if leads { None } else { Some(0) },
        heard_ms: if leads { None } else { Some(200) },
        verified_ms: if leads { None } else { Some(60_000) },
        sync_copies: store.spec.sync_copies,
        aside: Vec::new(),
        verification: None,
    }
}
