//! A seed from beginning to end: found, grow rough, heal, become well, compare.
//!
//! What always holds: safety is looked at all the time; liveness only after everything was healed, within a bound; what
//! clients were acknowledged is compared with the masters' logs at the end.

use super::*;
use crate::check::{End, Heal};
use crate::clients::Aside;
use crate::run::{FaultEvent, Options, Outcome, Violation};

/// What a line of the trace is made of.
pub(crate) const LEGEND: &str = "Each line: milliseconds since the world began, then what happened. c1: a coordinator. \
h1: a host. h1/02: a slot of it. A life is one process from start to death. VERB-ACTION after a process is a named place \
in it: deliver (a coordinator sends an order), accepts and records (an agent's ledger), calls (an agent asks an engine), \
engine (an engine takes a call), slotd-started and slotd-finished (a step in the log). fault N: fault event N of the seed.";

/// How long stores may take to be made.
const FOUND_MS: u64 = 120_000;
/// How long everything may take to become well once nothing goes wrong any more (L1).
const HEAL_MS: u64 = 900_000;
/// How many records clients of each store must get through after that (L2).
const MORE_RECORDS: usize = 4;

/// A world that is played, kept where it can be looked at after a panic.
pub(crate) struct Scene {
    pub(super) sim: Sim,
    extra: Vec<Violation>,
    options: Options,
    /// Faults of a sweep that really happened.
    pub(super) landed: u64,
}

/// Plays a seed to its end; the scene is left in `stage`, also after a panic.
pub(crate) fn play(seed: u64, options: &Options, stage: &mut Option<Scene>) {
    if let Some(case) = options.directed.as_deref().and_then(crate::sweep::Faults::parse) {
        return super::sweeping::play(seed, &case, options, stage);
    }
    let script = match options.directed.as_deref() {
        Some(name) => super::directed::find(name),
        None => super::directed::of_seed(seed),
    };
    let mut dice = Stream::new(seed, 40);
    let mut swarm = script.map_or_else(|| Swarm::of(seed), |script| (script.swarm)(&mut dice));
    if let Some(only) = &options.classes {
        swarm.classes.retain(|class| only.contains(class.name()));
    }
    let sim = match script {
        None => Sim::new(seed, swarm),
        // Nobody acts but the script, until everything is healed.
        Some(_) => {
            let mut config = crate::people::Config::new(super::fleet_of(&swarm));
            config.habits.clear();
            Sim::with_people(seed, swarm, config)
        }
    };
    let scene = stage.insert(Scene::new(sim, options));
    let rough_ms = scene.sim.swarm.rough_ms;
    scene.sim.begin();
    if !scene.sim.run_until(FOUND_MS, Sim::is_founded) {
        return scene.lack("L1", "the stores are not made");
    }
    match script {
        None => {
            scene.sim.become_rough();
            scene.sim.run_for(rough_ms);
        }
        Some(script) => {
            scene.sim.run_until(60_000, |sim| sim.writers.written() >= 10);
            (script.play)(&mut scene.sim, &mut dice);
        }
    }
    scene.heal();
}

impl Scene {
    /// A world that has not begun.
    pub(super) fn new(mut sim: Sim, options: &Options) -> Self {
        sim.injected.suppressed = options.suppressed.clone();
        sim.injected.keep = true;
        sim.trace = options.trace.then(Vec::new);
        let config = sim.swarm.describe();
        sim.note(|| config);
        Self { sim, extra: Vec::new(), options: options.clone(), landed: 0 }
    }

    pub(super) fn lack(&mut self, invariant: &'static str, text: impl Into<String>) {
        if !self.sim.is_violated() {
            let at_ms = self.sim.now();
            self.extra.push(Violation { invariant, text: text.into(), at_ms });
        }
    }

    pub(super) fn heal(&mut self) {
        if self.sim.is_violated() {
            return;
        }
        self.sim.heal();
        let begun = self.sim.now();
        let mut looked_at = 0;
        let well = self.sim.run_until(HEAL_MS, |sim| {
            // Looking is dear: every half second is enough.
            if sim.now() < looked_at + 500 {
                return false;
            }
            looked_at = sim.now();
            sim.is_well()
        });
        if !well {
            let why = self.sim.why_not_well().unwrap_or_else(|| "nothing happens any more".into());
            self.sim.note_what_hangs();
            return self.lack("L1", format!("not well {} s after the last fault: {why}", HEAL_MS / 1_000));
        }
        let writers = &self.sim.writers;
        let stores = self.sim.writable().into_iter().filter(|name| writers.has_clients(name));
        let targets: Vec<(StoreName, usize)> =
            stores.map(|name| (name.clone(), self.sim.writers.written_to(&name) + MORE_RECORDS)).collect();
        let lacks = |sim: &Sim| {
            // A yes may have been on its way when all was well: a store that it gave up wants no more.
            let short = |(name, target): &&(StoreName, usize)| sim.writers.written_to(name) < *target;
            targets.iter().filter(short).find(|(name, _)| !sim.is_retired(name)).cloned()
        };
        if !self.sim.run_until(60_000, |sim| lacks(sim).is_none()) {
            let name = lacks(&self.sim).map_or(String::new(), |(name, _)| name.to_string());
            return self.lack("L2", format!("all is well, and clients of {name} get nowhere"));
        }
        self.sim.writers.stop();
        self.sim.run_until(30_000, |sim| sim.writers.is_settled());
        self.finish(begun);
    }

    fn finish(&mut self, begun: u64) {
        if self.sim.is_violated() {
            return;
        }
        let sim = &mut self.sim;
        let nodes: Vec<(u64, &slot_machine::state::State)> = sim
            .coordinators
            .iter()
            .filter(|(id, _)| !sim.without_disk.contains(id))
            .filter_map(|(id, n)| n.core.as_ref().map(|c| (*id, c.state())))
            .collect();
        let engines: Vec<(&SlotId, &journal::JournalCore)> =
            sim.engines.iter().filter_map(|(slot, e)| e.core.as_ref().map(|core| (slot, core))).collect();
        let state = nodes.iter().map(|(_, s)| *s).max_by_key(|s| (s.applied.generation(), s.revision));
        let heal = Heal { begun_ms: begun, ended_ms: sim.queue.now(), bound_ms: HEAL_MS };
        sim.witness.finish(End { state, nodes: &nodes, engines: &engines, heal: Some(heal) });
        let mut extra = Vec::new();
        if let Some(state) = state {
            extra = compare(sim, state);
        }
        self.extra.extend(extra);
    }

    /// Gives what was seen into an outcome.
    pub(crate) fn harvest(self, into: &mut Outcome) {
        into.landed = self.landed;
        let mut sim = self.sim;
        let own = sim.witness.violations().iter().chain(&sim.found);
        let own = own.map(|v| Violation { invariant: v.invariant, text: v.text.clone(), at_ms: v.at_ms });
        into.violations = own.chain(self.extra).collect();
        let told = sim.crowd.complaints().iter();
        into.violations.extend(told.map(|c| Violation {
            invariant: c.invariant,
            text: c.text.clone(),
            at_ms: c.at_ms,
        }));
        into.sim_ms = sim.now() - sim.stood_still;
        let digest = sim.final_digest();
        into.digest = *slot_types::position::Digest::of(&digest.to_le_bytes()).0.first_chunk().unwrap_or(&[0; 32]);
        into.config = sim.swarm.describe();
        into.faults = std::mem::take(&mut sim.injected.counts);
        let events = std::mem::take(&mut sim.injected.log).into_iter();
        into.fault_events = events.map(|(number, at_ms, what)| FaultEvent { number, at_ms, what }).collect();
        into.reached = sim.all_reached();
        if self.options.trace {
            into.trace = sim.trace.unwrap_or_default();
        }
    }
}

/// What clients were told against what masters hold.
fn compare(sim: &Sim, state: &slot_machine::state::State) -> Vec<Violation> {
    let mut found: Vec<Violation> = sim.writers.findings().iter().map(violation).collect();
    let waived = sim.crowd.waived_hosts();
    for (name, store) in state.cluster.iter().flat_map(|c| &c.stores) {
        let Some(core) = store.master.as_ref().and_then(|m| sim.engines.get(m)).and_then(|e| e.core.as_ref()) else {
            continue;
        };
        let ids = crate::check::records(core);
        let is_waived = store.copies.keys().any(|slot| waived.contains(&slot.host));
        let aside = Aside::of(state, name);
        found.extend(sim.writers.compare(name, ids.iter(), &aside, is_waived).iter().map(violation));
    }
    found
}

fn violation(finding: &crate::clients::Finding) -> Violation {
    Violation { invariant: finding.invariant, text: finding.text.clone(), at_ms: finding.at_ms }
}
