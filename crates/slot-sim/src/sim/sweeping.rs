//! Runs of the sweep: a calm world, one plan of a kind, and faults at numbered places that it passes.
//!
//! What always holds: places are counted from the moment before the plan to its end, in the order in which they are passed;
//! appends of clients are no places; after the plan everything is healed and looked at as in any other run.

use super::play::Scene;
use super::*;
use crate::disk::{DiskFault, FaultKind};
use crate::people;
use crate::run::Options;
use crate::sweep::{Fault, Faults, Kind as PlanKind};
use slot_machine::state::{PlanRecord, PlanStatus};
use slot_types::cluster::{CopyState, LossState};
use slot_types::plan::{Intent, Settlement};

/// A process that was killed starts again after this long.
const DOWN_MS: u64 = 200;
/// Longer than an election.
const PAUSE_MS: u64 = 3_500;
/// As long again for a leader that hears no peer.
const CUT_MS: u64 = 3_500;
/// How late a message comes the second time, in turn by the place's number.
const AGAIN_MS: [u64; 3] = [5, 250, 1_500];
/// How long a plan may take before everything is healed.
const PLAN_MS: u64 = 15_000;
/// How long the preparation may take for each thing it waits for.
const PREPARE_MS: u64 = 40_000;

/// What a run of the sweep has counted and done.
#[derive(Default)]
pub(crate) struct Sweep {
    passed: u64,
    names: Vec<String>,
    at: BTreeMap<u64, Fault>,
    /// The next message from a machine comes twice.
    echo: Option<(Place, u64)>,
    /// Disks that fail, and how often they had failed before.
    armed: Vec<(Node, u64)>,
    landed: u64,
}

/// What sets a plan off.
enum Ready {
    /// People apply the first cluster file by themselves.
    Founding,
    /// Somebody orders this.
    Order(Intent),
    /// A host gets power; then the leader does by itself what this says.
    Power(HostName, fn(&Intent) -> bool),
}

/// Plays a case to its end.
pub(crate) fn play(seed: u64, case: &Faults, options: &Options, stage: &mut Option<Scene>) {
    let scene = begin(seed, case.kind, options, stage);
    let ready = match scene.sim.prepare(case.kind) {
        Ok(ready) => ready,
        Err(why) => return scene.lack("L1", format!("the case can't be prepared: {why}")),
    };
    scene.sim.sweep = Some(Box::new(Sweep { at: case.at.clone(), ..Sweep::default() }));
    let is_done = scene.sim.carry_out(&ready);
    let landed = scene.sim.stop_counting().landed;
    scene.landed = landed;
    if case.at.is_empty() && !is_done {
        return scene.lack("L1", "without a fault the plan is not done");
    }
    if case.at.values().any(|fault| *fault == Fault::Again) {
        scene.sim.run_for(AGAIN_MS[2]);
    }
    // Whoever looks after what is stuck begins at once.
    scene.sim.people_at = scene.sim.now();
    scene.sim.queue.after(0, Happening::People);
    scene.heal();
}

/// The names of the places that a plan of a kind passes when nothing goes wrong.
pub fn places_of(kind: PlanKind, seed: u64) -> Vec<String> {
    let mut stage = None;
    let scene = begin(seed, kind, &Options::default(), &mut stage);
    let Ok(ready) = scene.sim.prepare(kind) else { return Vec::new() };
    scene.sim.sweep = Some(Box::default());
    scene.sim.carry_out(&ready);
    scene.sim.stop_counting().names
}

fn begin<'a>(seed: u64, kind: PlanKind, options: &Options, stage: &'a mut Option<Scene>) -> &'a mut Scene {
    let hosts = if matches!(kind, PlanKind::StartMaster | PlanKind::Follow | PlanKind::CreateStore) { 2 } else { 3 };
    let sync = matches!(kind, PlanKind::HandOver | PlanKind::Drain | PlanKind::Undrain | PlanKind::FailOverEngine);
    let copies = if matches!(kind, PlanKind::Drain | PlanKind::Undrain) { 3 } else { 2 };
    let swarm = Swarm::calm(hosts, 1, copies, u8::from(sync));
    let mut config = people::Config::new(fleet_of(&swarm));
    config.habits.clear();
    // Nobody but who applies the first file acts before everything is healed.
    config.think_ms = (100_000_000, 100_000_001);
    let sim = Sim::with_people(seed, swarm, config);
    let scene = stage.insert(Scene::new(sim, options));
    scene.sim.begin();
    scene
}

impl Sim {
    /// A place is passed: it is counted, and what must happen there happens.
    pub(crate) fn pass(&mut self, node: &Node, verb: &str, action: &str) {
        if self.healing || !self.is_counted(node, action) {
            return;
        }
        let Some(sweep) = &mut self.sweep else { return };
        sweep.passed += 1;
        let number = sweep.passed;
        if sweep.at.is_empty() {
            return sweep.names.push(format!("{verb}-{action} at {node}"));
        }
        if let Some(fault) = sweep.at.get(&number).copied() {
            self.note(|| format!("place {number}: {}", fault.name()));
            self.meet(node, fault, number);
        }
    }

    /// An engine's disk, calls of peers and acknowledgements are places while a control call is under way there, its answers
    /// to peers while one is anywhere: else they are clients'.
    fn is_counted(&self, node: &Node, action: &str) -> bool {
        let Node::Engine(slot) = node else { return true };
        match action {
            "journal-before-disk" | "journal-after-disk" | "journal-before-ack" | "asks-peer" => {
                self.engines.get(slot).is_some_and(|engine| !engine.controls.is_empty())
            }
            "answers-peer" => self.engines.values().any(|engine| engine.core.is_some() && !engine.controls.is_empty()),
            _ => true,
        }
    }

    fn meet(&mut self, node: &Node, fault: Fault, number: u64) {
        let counted = self.injected.total();
        match fault {
            Fault::Crash => self.inject(Injection::Kill(node.clone(), DOWN_MS)),
            Fault::Eio => self.fail_next(node),
            Fault::Again => {
                let late = AGAIN_MS[(number % 3) as usize];
                if let Some(sweep) = &mut self.sweep {
                    sweep.echo = Some((node.place(), late));
                }
            }
            Fault::LeaderKilled => self.inject(Injection::KillLeader(DOWN_MS)),
            Fault::LeaderCut => self.inject(Injection::IsolateLeader(CUT_MS)),
            Fault::Pause => self.inject(Injection::Pause(node.clone(), PAUSE_MS)),
        }
        let happened = self.injected.total() > counted;
        if let Some(sweep) = &mut self.sweep
            && happened
        {
            sweep.landed += 1;
        }
    }

    fn fail_next(&mut self, node: &Node) {
        let fired = self.disk_fired(node);
        let fault = DiskFault::new(0, FaultKind::Eio);
        match node {
            Node::Coordinator(id) => {
                if let Some(node) = self.coordinators.get(id) {
                    node.file.arm(fault);
                }
            }
            Node::Agent(host) => {
                if let Some(node) = self.agents.get(host) {
                    node.file.arm(fault);
                }
            }
            Node::Engine(slot) => {
                if let Some(folder) = self.folder_mut(slot) {
                    folder.arm(fault);
                }
            }
            Node::FrontEnd(_) => {}
        }
        if let Some(sweep) = &mut self.sweep {
            sweep.armed.push((node.clone(), fired));
        }
    }

    fn disk_fired(&mut self, node: &Node) -> u64 {
        match node {
            Node::Coordinator(id) => self.coordinators.get(id).map_or(0, |n| n.file.fired()),
            Node::Agent(host) => self.agents.get(host).map_or(0, |n| n.file.fired()),
            Node::Engine(slot) => self.folder_mut(slot).map_or(0, |folder| folder.fired()),
            Node::FrontEnd(_) => 0,
        }
    }

    /// The message that was to come twice is on its way.
    pub(crate) fn echo(&mut self, frame: &wire::Frame) {
        let now = self.now();
        let dull = matches!(frame.kind, Kind::AppendReply | Kind::ReadReply | Kind::Report);
        let Some(sweep) = &mut self.sweep else { return };
        let Some((_, late)) = sweep.echo.take_if(|(from, _)| *from == frame.from && !dull) else { return };
        let kind = frame.kind;
        if self.injected.happens(now, FaultClass::Duplicate, || format!("{kind:?}, {late} ms later")) {
            sweep.landed += 1;
            self.queue.after(late, Happening::Frame(Box::new(frame.clone())));
        }
    }

    fn stop_counting(&mut self) -> Sweep {
        let armed = self.sweep.as_mut().map(|sweep| std::mem::take(&mut sweep.armed)).unwrap_or_default();
        let mut fired = 0;
        for (node, before) in armed {
            let has = self.disk_fired(&node) > before;
            let now = self.now();
            fired += u64::from(has && self.injected.happens(now, FaultClass::Eio, || format!("the disk of {node}")));
        }
        let mut sweep = self.sweep.take().map(|sweep| *sweep).unwrap_or_default();
        sweep.landed += fired;
        sweep
    }

    /// Runs until something holds that is dear to look at.
    fn wait_for(&mut self, limit_ms: u64, mut done: impl FnMut(&Sim) -> bool) -> bool {
        let mut looked_at = 0;
        self.run_until(limit_ms, |sim| {
            if sim.now() < looked_at + 20 {
                return false;
            }
            looked_at = sim.now();
            done(sim)
        })
    }

    /// Runs to the moment before the plan.
    fn prepare(&mut self, kind: PlanKind) -> Result<Ready, String> {
        if kind == PlanKind::CreateStore {
            let leads = self.run_until(PREPARE_MS, |sim| sim.leader().is_some());
            return if leads { Ok(Ready::Founding) } else { Err("nobody leads".into()) };
        }
        if !self.wait_for(PREPARE_MS, |sim| sim.writers.written() >= 6 && sim.is_well()) {
            return Err("the store is not made".into());
        }
        let copies = self.copies_of("store1");
        let (Some(master), Some(replica)) = (copies.first().cloned(), copies.get(1).cloned()) else {
            return Err("the store has no second copy".into());
        };
        let by_slot = Intent::FailOverSlot { slot: master.clone(), to: None };
        match kind {
            PlanKind::CreateStore | PlanKind::HandOver => self.plannable(by_slot),
            PlanKind::Drain => self.plannable(Intent::DrainHost(master.host)),
            PlanKind::Empty => self.plannable(Intent::EmptyHost(master.host)),
            PlanKind::Move => self.plannable(Intent::MoveCopy { slot: master, to: None }),
            PlanKind::Undrain => {
                self.done(Intent::DrainHost(master.host.clone()))?;
                self.plannable(Intent::UndrainHost(master.host))
            }
            PlanKind::FailOverOff => {
                self.off_and_attested(&master.host)?;
                self.plannable(by_slot)
            }
            PlanKind::FailOverHost => {
                self.off_and_attested(&master.host)?;
                self.plannable(Intent::FailOverHost(master.host))
            }
            PlanKind::FailOverEngine => self.engine_dead(&master, by_slot),
            PlanKind::Reinject => self.loss(&master, &replica, Settlement::Reinject),
            PlanKind::Discard => self.loss(&master, &replica, Settlement::Discard),
            PlanKind::StartMaster => {
                self.rest_without(&master.host);
                Ok(Ready::Power(master.host, |intent| matches!(intent, Intent::StartMaster { .. })))
            }
            PlanKind::Follow => {
                self.rest_without(&replica.host);
                Ok(Ready::Power(replica.host, |intent| matches!(intent, Intent::Follow { .. })))
            }
            PlanKind::FenceReturned => {
                self.stranded(&master, &replica)?;
                Ok(Ready::Power(master.host, |intent| matches!(intent, Intent::FenceReturned { .. })))
            }
        }
    }

    /// Waits until the planner takes an intent.
    fn plannable(&mut self, intent: Intent) -> Result<Ready, String> {
        let mut why = String::new();
        for _ in 0..60 {
            match self.plan("alice", intent.clone()) {
                Ok(_) => return Ok(Ready::Order(intent)),
                Err(failure) => why = failure.to_string(),
            }
            self.run_for(250);
        }
        Err(why)
    }

    fn done(&mut self, intent: Intent) -> Result<(), String> {
        self.plannable(intent.clone())?;
        let id = self.order(intent).map_err(|failure| failure.to_string())?;
        match self.run_plan(id, PREPARE_MS) {
            Some(PlanStatus::Done) => Ok(()),
            other => Err(format!("{id} is {other:?}")),
        }
    }

    fn rest_without(&mut self, host: &HostName) {
        self.power_off_now(host);
        self.run_for(500);
    }

    fn off_and_attested(&mut self, host: &HostName) -> Result<(), String> {
        self.power_off_now(host);
        // Until the leader, too, takes it for silent.
        self.run_for(3_300);
        self.attest(host).map(|_| ()).map_err(|failure| failure.to_string())
    }

    /// The master's engine has died often enough that the leader lets the store rest before it starts it once more.
    fn engine_dead(&mut self, master: &SlotId, intent: Intent) -> Result<Ready, String> {
        for _ in 0..2 {
            self.kill_now(&Node::Engine(master.clone()));
            self.run_for(400);
            let node = Node::Engine(master.clone());
            let serves = |sim: &Sim| sim.life(&node).is_some() && sim.is_well();
            if !self.wait_for(PREPARE_MS, serves) {
                return Err("the engine is not started again".into());
            }
        }
        self.kill_now(&Node::Engine(master.clone()));
        self.run_for(500);
        Ok(Ready::Order(intent))
    }

    /// The master acknowledges records that nobody else gets, loses power, and is failed over.
    fn stranded(&mut self, master: &SlotId, replica: &SlotId) -> Result<(), String> {
        self.part_hosts(&master.host, &replica.host, 1_200);
        self.run_for(1_000);
        self.off_and_attested(&master.host)?;
        self.done(Intent::FailOverSlot { slot: master.clone(), to: None })
    }

    fn loss(&mut self, master: &SlotId, replica: &SlotId, how: Settlement) -> Result<Ready, String> {
        self.stranded(master, replica)?;
        self.power_on_now(&master.host);
        let listed =
            |sim: &Sim| sim.listed_case().is_some() && sim.state().is_some_and(|s| s.running().next().is_none());
        if !self.wait_for(PREPARE_MS, listed) {
            return Err("no stranded records are listed".into());
        }
        let case = self.listed_case().ok_or("the case is gone")?;
        self.plannable(Intent::SettleLoss { case, how })
    }

    fn listed_case(&self) -> Option<LossCaseId> {
        let cases = &self.fleet()?.loss_cases;
        cases.iter().find(|(_, case)| case.state == LossState::Listed && !case.stranded.is_empty()).map(|(id, _)| *id)
    }

    /// Sets the plan off and waits for its end; whether it is done.
    fn carry_out(&mut self, ready: &Ready) -> bool {
        match ready {
            Ready::Founding => {
                let idle = |sim: &Sim| sim.state().is_some_and(|s| s.running().next().is_none());
                let serving = |sim: &Sim| {
                    let copies =
                        sim.fleet().into_iter().flat_map(|c| c.stores.values()).flat_map(|s| s.copies.values());
                    copies.filter(|copy| copy.state == CopyState::Serving).count() == 2
                };
                self.wait_for(PLAN_MS, |sim| sim.is_founded() && idle(sim) && serving(sim))
            }
            Ready::Order(intent) => match self.order(intent.clone()) {
                Ok(id) => self.run_plan(id, PLAN_MS) == Some(PlanStatus::Done),
                Err(_) => false,
            },
            Ready::Power(host, is_meant) => {
                let since = self.state().map_or(PlanId(0), |s| s.last_plan);
                self.power_on_now(host);
                let meant = |p: &&PlanRecord| p.id > since && is_meant(&p.plan.intent);
                let done = |sim: &Sim| {
                    let mut plans = sim.state().into_iter().flat_map(|s| s.plans.values());
                    plans.any(|p| meant(&p) && p.status == PlanStatus::Done)
                };
                self.wait_for(PLAN_MS, done)
            }
        }
    }
}
