//! The rough life of a small cluster: processes, hosts and links fail and return, people hand over and fail over; then
//! everything is healed and must become well.
//!
//! What always holds: all that a fault needs is drawn before it is known whether it is injected, so leaving one out does
//! not change what the others draw; an attestation is given only for a host without power.

use crate::check;
use crate::queue::Stream;
use crate::run::{FaultEvent, Options, Outcome, Violation};
use crate::setup::{fleet, host};
use crate::world::{Faults, World};
use slot_coordinator::core::ControlRequest;
use slot_machine::state::PlanStatus;
use slot_types::cluster::*;
use slot_types::ids::*;
use slot_types::plan::{Intent, Settlement};
use std::collections::BTreeMap;

/// What a line of the trace is made of.
pub(crate) const LEGEND: &str = "Each line: milliseconds since the world began, then what happened. c1: a coordinator. \
h1: a host. h1/02: a slot of it. A life is one process from start to death. fault N: fault event N of the seed.";

/// The faults there are.
pub(crate) const CLASSES: [&str; 7] =
    ["agent killed", "agent silent", "engine killed", "engine paused", "leader killed", "link cut", "power off"];

/// The dangerous states there are.
pub(crate) const NAMES: [&str; 2] = ["loss case reinjected", "master changed under faults"];

/// What is out of order now, and until when.
#[derive(Default)]
struct Broken {
    agents: BTreeMap<HostName, u64>,
    dark: BTreeMap<HostName, u64>,
    coordinators: BTreeMap<u64, u64>,
    paused: BTreeMap<SlotId, u64>,
    links: u64,
}

/// A world and what was done to it.
pub(crate) struct Scene {
    world: World,
    dice: Stream,
    options: Options,
    broken: Broken,
    outcome: Outcome,
    refused: String,
}

/// Plays a seed to its end; the scene is left in `stage`, also after a panic.
pub(crate) fn play(seed: u64, options: &Options, stage: &mut Option<Scene>) {
    let rough = seed.is_multiple_of(3);
    let sync_copies = u8::from(!seed.is_multiple_of(2));
    let faults = if rough { Faults { lose_one_in: 40, double_one_in: 20 } } else { no_faults() };
    let config = format!(
        "3 coordinators, 3 hosts, 1 store of 3 copies, sync_copies {sync_copies}; one message in {} lost, one in {} \
         doubled (0: none)",
        faults.lose_one_in, faults.double_one_in
    );
    let world = World::new(seed, 3, faults);
    let scene = stage.insert(Scene {
        world,
        dice: Stream::new(seed, 0x5eed),
        options: options.clone(),
        broken: Broken::default(),
        outcome: Outcome { config, ..Outcome::default() },
        refused: String::new(),
    });
    let played = scene.begin(sync_copies).and_then(|()| scene.rough()).and_then(|()| scene.heal());
    if let Err(violation) = played.and_then(|()| scene.look_at_the_end()) {
        scene.outcome.violations.push(violation);
    }
}

fn no_faults() -> Faults {
    Faults { lose_one_in: 0, double_one_in: 0 }
}

/// The violation that a checker's text stands for: `S1: …`.
fn violation(text: String, at_ms: u64) -> Violation {
    let known = ["S1", "S4", "S12", "S14"];
    let invariant = known.into_iter().find(|id| text.split(':').next() == Some(*id)).unwrap_or("S4");
    Violation { invariant, text, at_ms }
}

impl Scene {
    /// Gives what was seen into an outcome.
    pub(crate) fn harvest(self, into: &mut Outcome) {
        let seed = into.seed;
        *into = self.outcome;
        into.seed = seed;
        into.sim_ms = self.world.now();
        into.digest = self.world.digest.0;
        if self.options.trace {
            into.trace = self.world.trace;
        }
    }

    fn broke(&self, invariant: &'static str, text: impl Into<String>) -> Violation {
        Violation { invariant, text: text.into(), at_ms: self.world.now() }
    }

    fn begin(&mut self, sync_copies: u8) -> Result<(), Violation> {
        let mut spec = fleet(3, 1);
        for store in spec.stores.values_mut() {
            (store.copies, store.sync_copies) = (3, sync_copies);
        }
        let plan = self.world.order(Intent::Apply(Box::new(spec)));
        let plan = plan.map_err(|failure| self.broke("L1", format!("the cluster file is refused: {failure:?}")))?;
        let done = |w: &World| w.state().and_then(|s| s.plans.get(&plan)).is_some_and(|p| p.status == PlanStatus::Done);
        if !self.world.run_until(300_000, done) {
            return Err(self.broke("L1", "the stores are not made"));
        }
        self.world.start_writer("store1");
        if !self.world.run_until(120_000, |w| w.written() >= 40) {
            return Err(self.broke("L1", "the writer gets nowhere"));
        }
        Ok(())
    }

    fn pass(&mut self, ms: u64) -> Result<(), Violation> {
        let mut wrong = Ok(());
        let mut looked = 0_u64;
        self.world.run_until(ms, |w| {
            looked += 1;
            if looked.is_multiple_of(8) {
                wrong = check::one_master(w);
            }
            wrong.is_err()
        });
        wrong.map_err(|text| violation(text, self.world.now()))
    }

    fn rough(&mut self) -> Result<(), Violation> {
        for number in 1..=40 {
            self.mend(false);
            self.break_something(number);
            let (pause, then) = (self.dice.within(50, 2_500), self.dice.within(0, 5));
            self.pass(pause)?;
            match then {
                0 | 1 => self.operate()?,
                2 => self.settle_cases(),
                _ => {}
            }
        }
        Ok(())
    }

    fn mend(&mut self, all: bool) {
        let now = if all { u64::MAX } else { self.world.now() };
        fn due<K: Ord + Clone>(map: &mut BTreeMap<K, u64>, now: u64) -> Vec<K> {
            let keys: Vec<K> = map.iter().filter(|(_, at)| **at <= now).map(|(key, _)| key.clone()).collect();
            map.retain(|_, at| *at > now);
            keys
        }
        for host in due(&mut self.broken.dark, now) {
            self.broken.agents.remove(&host);
            self.world.power_on(&host);
        }
        for host in due(&mut self.broken.agents, now) {
            self.world.start_agent(&host);
        }
        for id in due(&mut self.broken.coordinators, now) {
            self.world.start_coordinator(id);
        }
        for slot in due(&mut self.broken.paused, now) {
            self.world.resume_engine(&slot);
        }
        if self.broken.links <= now {
            self.world.cut.clear();
            self.world.silent.clear();
        }
    }

    fn break_something(&mut self, number: u64) {
        let (victim, other) = (host(self.dice.within(1, 3) as u8), host(self.dice.within(1, 3) as u8));
        let until = self.world.now() + self.dice.within(200, 12_000);
        let dark = self.dice.within(0, 20_000);
        let class = match self.dice.within(0, 9) {
            0 | 1 => "agent killed",
            2 => "engine killed",
            3 | 4 => "engine paused",
            5 => "power off",
            6 => "leader killed",
            7 => "agent silent",
            8 => "link cut",
            _ => return,
        };
        let wanted = self.options.classes.as_ref().is_none_or(|only| only.contains(class));
        if wanted && !self.options.suppressed.contains(&number) {
            let what = self.inject(class, victim, other, until, dark);
            if let Some(what) = what {
                self.world.note(format!("fault {number}: {class}: {what}"));
                *self.outcome.faults.entry(class).or_default() += 1;
                let event = FaultEvent { number, at_ms: self.world.now(), what: format!("{class}: {what}") };
                self.outcome.fault_events.push(event);
            }
        }
    }

    fn inject(&mut self, class: &str, victim: HostName, other: HostName, until: u64, dark: u64) -> Option<String> {
        let slot = self.world.engines_on(&victim).into_iter().next();
        let what = victim.to_string();
        match class {
            "agent killed" if !self.broken.dark.contains_key(&victim) => {
                self.world.kill_agent(&victim);
                self.broken.agents.insert(victim, until);
            }
            "engine killed" => {
                let slot = slot?;
                self.world.kill_engine(&slot);
                return Some(slot.to_string());
            }
            "engine paused" => {
                let slot = slot?;
                self.world.pause_engine(&slot);
                self.broken.paused.insert(slot.clone(), until);
                return Some(slot.to_string());
            }
            "power off" if self.broken.dark.is_empty() => {
                self.broken.paused.retain(|slot, _| slot.host != victim);
                self.world.power_off(&victim);
                self.broken.agents.remove(&victim);
                self.broken.dark.insert(victim, until + dark);
            }
            "leader killed" if self.broken.coordinators.is_empty() => {
                let id = self.world.leader().unwrap_or(1);
                self.world.kill_coordinator(id);
                self.broken.coordinators.insert(id, until);
                return Some(format!("c{id}"));
            }
            "agent silent" => {
                self.world.silent.insert(victim);
                self.broken.links = until;
            }
            "link cut" => {
                let what = format!("{victim} and {other}");
                self.world.cut.insert((victim, other));
                self.broken.links = until;
                return Some(what);
            }
            _ => return None,
        }
        Some(what)
    }

    fn reach(&mut self, what: &'static str) {
        *self.outcome.reached.entry(what).or_default() += 1;
    }

    fn store(&self) -> Option<&Store> {
        self.world.state()?.cluster.as_ref()?.stores.values().next()
    }

    fn intend(&mut self, intent: Intent) -> bool {
        let (id, plan) = match self.world.plan(intent) {
            Ok(planned) => planned,
            Err(failure) => {
                self.refused = format!("{failure:?}");
                return false;
            }
        };
        ["alice", "bob", "carol"].into_iter().any(|who| {
            // Whether it started is looked up below, whatever the answer was.
            let _ = self.world.approve(who, id, &plan);
            self.world.state().and_then(|s| s.plans.get(&id)).is_some_and(|p| p.started.is_some())
        })
    }

    /// Another master, by a hand-over or past a host without power.
    fn operate(&mut self) -> Result<(), Violation> {
        let from: Vec<SlotId> = match self.store() {
            None => Vec::new(),
            Some(store) => match &store.master {
                Some(master) => vec![master.clone()],
                None => store.pending.iter().chain(store.possible_masters.keys()).cloned().collect(),
            },
        };
        for slot in from {
            if self.broken.dark.contains_key(&slot.host) {
                // A refusal of the word is the product's right.
                let _ = self.world.attest(&slot.host);
                self.pass(3_500)?;
            }
            if self.intend(Intent::FailOverSlot { slot, to: None }) {
                self.reach("master changed under faults");
                break;
            }
        }
        Ok(())
    }

    fn settle_cases(&mut self) {
        let cluster = self.world.state().and_then(|s| s.cluster.as_ref());
        let listed = cluster.into_iter().flat_map(|c| &c.loss_cases).filter(|(_, c)| c.state == LossState::Listed);
        for case in listed.map(|(id, _)| *id).collect::<Vec<_>>() {
            if self.intend(Intent::SettleLoss { case, how: Settlement::Reinject }) {
                self.reach("loss case reinjected");
            }
        }
    }

    /// People look after what is stuck, until nothing is (L1).
    fn heal(&mut self) -> Result<(), Violation> {
        self.mend(true);
        for round in 0..60 {
            self.pass(10_000)?;
            if self.is_well() {
                return Ok(());
            }
            let is_stuck =
                |p: &slot_machine::state::PlanRecord| p.tasks.iter().any(|t| t.steps.iter().any(|s| s.stuck.is_some()));
            let running = self.world.state().into_iter().flat_map(|s| s.running());
            let stuck: Vec<PlanId> = running.filter(|p| is_stuck(p)).map(|p| p.id).collect();
            for plan in stuck {
                // A plan that cannot be aborted any more is looked at again in the next round.
                let reason = "it is stuck".to_string();
                let _ = self.world.ask("alice", ControlRequest::AbortPlan { request: None, plan, reason });
            }
            if round > 1 && self.store().is_some_and(|s| s.master.is_none()) {
                self.operate()?;
            }
            self.settle_cases();
        }
        Err(self.broke("L1", format!("not well ten minutes after the last fault: {}", self.refused)))
    }

    fn is_well(&self) -> bool {
        let Some(state) = self.world.state() else { return false };
        let Some(cluster) = &state.cluster else { return false };
        let calm = state.running().next().is_none() && !cluster.loss_cases.values().any(|c| c.state.is_open());
        let Some(store) = self.store().filter(|s| s.pending.is_none()) else { return false };
        let Some(master) = &store.master else { return false };
        let serve = store.copies.values().all(|c| c.state == CopyState::Serving);
        calm && serve && store.possible_masters.is_empty() && self.world.journals_core(master).is_some()
    }

    /// The bug that must be caught at once: a client was told of a record that nobody has.
    fn canary(&mut self) {
        let Some(writer) = self.world.writer.as_mut().filter(|_| slot_planted::planted("canary")) else { return };
        if let Some((_, slot, epoch)) = writer.acked.last().cloned() {
            writer.acked.push((u64::MAX, slot, epoch));
        }
    }

    fn look_at_the_end(&mut self) -> Result<(), Violation> {
        let target = self.world.written() + 20;
        if !self.world.run_until(120_000, |w| w.written() >= target) {
            return Err(self.broke("L1", "nothing is written after the healing"));
        }
        self.canary();
        let now = self.world.now();
        for look in [check::acknowledged_are_there_once, check::single_writer, check::one_master, check::replicas_agree]
        {
            look(&self.world).map_err(|text| violation(text, now))?;
        }
        Ok(())
    }
}
