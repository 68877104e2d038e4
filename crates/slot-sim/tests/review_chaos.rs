//! Everything at once: agents, engines, hosts and coordinators that die, stop and return, links that are cut, and an
//! operator who hands over and fails over in the middle of it. Then all is healed.
//!
//! What always holds: an attestation is given only for a host without power. At no moment are there two masters at one
//! epoch; after the healing, and once every loss case is put back, every acknowledged record is there once.

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use slot_coordinator::core::ControlRequest;
use slot_machine::state::PlanStatus;
use slot_sim::check;
use slot_sim::setup::{fleet, host};
use slot_sim::world::{Faults, World};
use slot_types::cluster::*;
use slot_types::ids::*;
use slot_types::plan::{Intent, Settlement};
use std::collections::{BTreeMap, BTreeSet};

fn show(world: &World) -> String {
    let from = world.trace.len().saturating_sub(120);
    let plans =
        world.state().map(|s| s.plans.values().rev().take(4).map(|p| (p.id, &p.plan.intent, &p.status, &p.tasks)));
    let plans: Vec<String> = plans.into_iter().flatten().map(|p| format!("{p:?}")).collect();
    format!("{}\n{}\n{:?}", world.trace[from..].join("\n"), plans.join("\n"), store(world))
}

fn store(world: &World) -> Option<&Store> {
    world.state()?.cluster.as_ref()?.stores.values().next()
}

/// What is out of order now.
#[derive(Default)]
struct Broken {
    agents: BTreeMap<HostName, u64>,
    dark: BTreeMap<HostName, u64>,
    coordinators: BTreeMap<u64, u64>,
    paused: BTreeMap<SlotId, u64>,
    links: u64,
}

struct Chaos {
    world: World,
    seed: u64,
    dice: Pcg64Mcg,
    broken: Broken,
    reached: BTreeMap<&'static str, u64>,
    refused: String,
}

impl Chaos {
    fn new(seed: u64) -> Self {
        let faults = if seed.is_multiple_of(3) { (40, 20) } else { (0, 0) };
        let mut world = World::new(seed, 3, Faults { lose_one_in: faults.0, double_one_in: faults.1 });
        let mut spec = fleet(3, 1);
        for store in spec.stores.values_mut() {
            (store.copies, store.sync_copies) = (3, u8::from(!seed.is_multiple_of(2)));
        }
        let plan = world.order(Intent::Apply(Box::new(spec))).expect("the cluster file is accepted");
        let done = |w: &World| w.state().and_then(|s| s.plans.get(&plan)).is_some_and(|p| p.status == PlanStatus::Done);
        assert!(world.run_until(300_000, done), "seed {seed}: not made\n{}", show(&world));
        world.start_writer("store1");
        assert!(world.run_until(120_000, |w| w.written() >= 40), "seed {seed}: the writer gets nowhere");
        let dice = Pcg64Mcg::seed_from_u64(seed ^ 0x5eed);
        Self { world, seed, dice, broken: Broken::default(), reached: BTreeMap::new(), refused: String::new() }
    }

    fn count(&mut self, what: &'static str) {
        *self.reached.entry(what).or_default() += 1;
    }

    fn draw(&mut self, low: u64, high: u64) -> u64 {
        self.dice.random_range(low..=high)
    }

    fn pass(&mut self, ms: u64) {
        let seed = self.seed;
        let mut wrong = Ok(());
        let mut looked = 0;
        self.world.run_until(ms, |w| {
            looked += 1;
            if looked % 8 == 0 {
                wrong = check::one_master(w);
            }
            wrong.is_err()
        });
        assert_eq!(wrong, Ok(()), "seed {seed}\n{}", show(&self.world));
    }

    fn mend(&mut self, all: bool) {
        let now = if all { u64::MAX } else { self.world.now() };
        let due = |map: &BTreeMap<HostName, u64>| -> Vec<HostName> {
            map.iter().filter(|(_, at)| **at <= now).map(|(h, _)| h.clone()).collect()
        };
        for host in due(&self.broken.dark) {
            self.broken.dark.remove(&host);
            self.broken.agents.remove(&host);
            self.world.power_on(&host);
        }
        for host in due(&self.broken.agents) {
            self.broken.agents.remove(&host);
            self.world.start_agent(&host);
        }
        let up: Vec<u64> = self.broken.coordinators.iter().filter(|(_, at)| **at <= now).map(|(id, _)| *id).collect();
        for id in up {
            self.broken.coordinators.remove(&id);
            self.world.start_coordinator(id);
        }
        let on: Vec<SlotId> = self.broken.paused.iter().filter(|(_, at)| **at <= now).map(|(s, _)| s.clone()).collect();
        for slot in on {
            self.broken.paused.remove(&slot);
            self.world.resume_engine(&slot);
        }
        if self.broken.links <= now {
            self.world.cut.clear();
            self.world.silent.clear();
        }
    }

    fn break_something(&mut self) {
        let victim = host(self.draw(1, 3) as u8);
        let until = self.world.now() + self.draw(200, 12_000);
        let slots = self.world.engines_on(&victim);
        match self.draw(0, 9) {
            0 | 1 if !self.broken.dark.contains_key(&victim) => {
                self.world.kill_agent(&victim);
                self.broken.agents.insert(victim, until);
                self.count("agent killed");
            }
            2 if !slots.is_empty() => {
                self.world.kill_engine(&slots[0]);
                self.count("engine killed");
            }
            3 | 4 if !slots.is_empty() => {
                self.world.pause_engine(&slots[0]);
                self.broken.paused.insert(slots[0].clone(), until);
                self.count("engine paused");
            }
            5 if self.broken.dark.is_empty() => {
                self.broken.paused.retain(|slot, _| slot.host != victim);
                self.world.power_off(&victim);
                self.broken.agents.remove(&victim);
                let until = until + self.draw(0, 20_000);
                self.broken.dark.insert(victim, until);
                self.count("power off");
            }
            6 if self.broken.coordinators.is_empty() => {
                let id = self.world.leader().unwrap_or(1);
                self.world.kill_coordinator(id);
                self.broken.coordinators.insert(id, until);
                self.count("leader killed");
            }
            7 => {
                self.world.silent.insert(victim);
                self.broken.links = until;
                self.count("agent cut off");
            }
            8 => {
                let other = host(self.draw(1, 3) as u8);
                self.world.cut.insert((victim, other));
                self.broken.links = until;
                self.count("engines cut off");
            }
            _ => {}
        }
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
            let _ = self.world.approve(who, id, &plan);
            self.world.state().and_then(|s| s.plans.get(&id)).is_some_and(|p| p.started.is_some())
        })
    }

    /// Another master, by a hand-over or past a host without power.
    fn operate(&mut self) {
        for from in store(&self.world).map(leads).unwrap_or_default() {
            if self.broken.dark.contains_key(&from.host) {
                let _ = self.world.attest(&from.host);
                self.pass(3_500);
            }
            if self.intend(Intent::FailOverSlot { slot: from, to: None }) {
                return self.count("failover or hand-over started");
            }
        }
    }

    /// What a master had put aside before it became one is settled once it has handed over, as the refusal says.
    fn settle_cases(&mut self) {
        let cluster = self.world.state().and_then(|s| s.cluster.as_ref());
        let listed = cluster.into_iter().flat_map(|c| &c.loss_cases).filter(|(_, c)| c.state == LossState::Listed);
        for (case, slot) in listed.map(|(id, case)| (*id, case.slot.clone())).collect::<Vec<_>>() {
            if store(&self.world).is_some_and(|s| s.master.as_ref() == Some(&slot)) {
                self.intend(Intent::FailOverSlot { slot, to: None });
                continue;
            }
            if self.intend(Intent::SettleLoss { case, how: Settlement::Reinject }) {
                self.count("loss case reinjected");
            }
        }
    }

    fn run(&mut self) {
        for _ in 0..40 {
            self.mend(false);
            self.break_something();
            let pause = self.draw(50, 2_500);
            self.pass(pause);
            match self.draw(0, 5) {
                0 | 1 => self.operate(),
                2 => self.settle_cases(),
                _ => {}
            }
        }
    }

    /// Two persons who look after what is stuck, until nothing is.
    fn heal(&mut self) -> bool {
        self.mend(true);
        for round in 0..60 {
            self.pass(10_000);
            if self.is_well() {
                return true;
            }
            let Some(state) = self.world.state() else { continue };
            let stuck: Vec<PlanId> = state
                .running()
                .filter(|p| p.tasks.iter().any(|t| t.steps.iter().any(|s| s.stuck.is_some())))
                .map(|p| p.id)
                .collect();
            for plan in stuck {
                let reason = "it is stuck".to_string();
                let _ = self.world.ask("alice", ControlRequest::AbortPlan { request: None, plan, reason });
            }
            if round > 1 && store(&self.world).is_some_and(|s| s.master.is_none()) {
                self.operate();
            }
            self.settle_cases();
        }
        panic!(
            "seed {}: not well ten minutes after the last fault (L1): {}\n{}",
            self.seed,
            self.refused,
            show(&self.world)
        );
    }

    fn is_well(&self) -> bool {
        let Some(state) = self.world.state() else { return false };
        let Some(cluster) = &state.cluster else { return false };
        let calm = state.running().next().is_none() && !cluster.loss_cases.values().any(|c| c.state.is_open());
        let Some(store) = store(&self.world).filter(|s| s.pending.is_none()) else { return false };
        let Some(master) = &store.master else { return false };
        let serve = store.copies.values().all(|c| c.state == CopyState::Serving);
        calm && serve && store.possible_masters.is_empty() && self.world.journals_core(master).is_some()
    }

    fn check(&mut self, well: bool) {
        let seed = self.seed;
        if !well {
            return assert_eq!(check::single_writer(&self.world), Ok(()), "seed {seed}\n{}", show(&self.world));
        }
        let target = self.world.written() + 20;
        assert!(
            self.world.run_until(120_000, |w| w.written() >= target),
            "seed {seed}: no writes\n{}",
            show(&self.world)
        );
        for wrong in [
            check::acknowledged_are_there_once(&self.world),
            check::single_writer(&self.world),
            check::one_master(&self.world),
            check::replicas_agree(&self.world),
        ] {
            assert_eq!(wrong, Ok(()), "seed {seed}\n{}", show(&self.world));
        }
    }
}

/// Whom a change of master may be asked about, as the planner takes it.
fn leads(store: &Store) -> Vec<SlotId> {
    match &store.master {
        Some(master) => vec![master.clone()],
        None => store.pending.iter().chain(store.possible_masters.keys()).cloned().collect(),
    }
}

/// `REVIEW_SEEDS=1000..1400` runs other seeds than the few of every day.
fn seeds() -> Vec<u64> {
    let wanted = std::env::var("REVIEW_SEEDS").ok();
    let range = wanted.as_deref().and_then(|text| text.split_once(".."));
    let range = range.and_then(|(from, to)| Some(from.parse().ok()?..to.parse().ok()?));
    range.unwrap_or(0..6).collect()
}

/// L1: a change of master was given up after its commit and the engines of all copies died (38, 46), or the copies that are
/// left wait for a loss case that needs a master (81, 179), or a list that needs the master keeps the master's own start
/// away (16, 55). Each failed before its repair.
#[test]
fn l1_a_store_without_a_master_is_served_again() {
    for seed in [16, 38, 46, 55, 81, 179] {
        let mut chaos = Chaos::new(seed);
        chaos.run();
        let well = chaos.heal();
        chaos.check(well);
    }
}

#[test]
fn nothing_acknowledged_is_lost_whatever_dies_and_returns() {
    let mut reached: BTreeMap<&'static str, u64> = BTreeMap::new();
    let mut failed: BTreeSet<u64> = BTreeSet::new();
    let seeds = seeds();
    for seed in &seeds {
        let outcome = std::panic::catch_unwind(|| {
            let mut chaos = Chaos::new(*seed);
            chaos.run();
            let well = chaos.heal();
            chaos.check(well);
            chaos.reached
        });
        match outcome {
            Ok(counts) => counts.into_iter().for_each(|(what, n)| *reached.entry(what).or_default() += n),
            Err(_) => drop(failed.insert(*seed)),
        }
    }
    assert!(failed.is_empty(), "seeds {failed:?} failed; see above");
    println!("{reached:?}");
    for what in ["agent killed", "engine killed", "engine paused", "power off", "leader killed", "agent cut off"] {
        assert!(reached.contains_key(what), "no seed had: {what}");
    }
    assert!(reached.contains_key("failover or hand-over started"), "nobody changed a master");
}
