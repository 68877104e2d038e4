//! What the world itself looks at: findings of its own, and dangerous states that it passes through.
//!
//! What always holds: nothing here changes what happens.

use super::wire::Frame;
use super::*;
use slot_types::cluster::Cluster;

impl Sim {
    /// Something the world itself found, that must not be.
    pub(crate) fn finding(&mut self, invariant: &'static str, text: String) {
        let now = self.now();
        self.note(|| format!("VIOLATION of {invariant}: {text}"));
        self.found.push(crate::check::Violation { invariant, at_ms: now, text });
    }

    /// Whether somebody wants to know the places passed.
    pub(crate) fn is_looked_at(&self) -> bool {
        self.sweep.is_some() || self.trace.is_some() || (!self.triggers.is_empty() && !self.healing)
    }

    pub(crate) fn witness_damaged(&mut self, frame: &Frame) {
        self.note(|| format!("a damaged {:?} frame is dropped", frame.kind));
    }

    pub(crate) fn saw_failpoint(&mut self, id: u64, name: &str) {
        self.digest(name.len() as u64 ^ id);
        self.steps_seen += 1;
    }

    pub(crate) fn saw_role(&mut self, id: u64, is_leader: bool) {
        if is_leader {
            self.leaders += 1;
            let running = self.state().is_some_and(|s| s.running().next().is_some());
            if running && self.leaders > 1 {
                self.reach("a new leader while a plan runs");
            }
            if self.coordinators.get(&id).is_some_and(|n| n.wall_skew != 0) {
                self.reach("R17: a leader's clock was an hour off");
            }
        }
        self.digest(id << 1 | u64::from(is_leader));
    }

    /// What was wrong with a disk shows itself.
    pub(crate) fn saw_disk(&mut self, node: &Node) {
        if let Some(trouble) = self.armed.remove(node) {
            let (ledger, engine) = (matches!(node, Node::Agent(_)), matches!(node, Node::Engine(_)));
            self.witness.lookout().disk(trouble, ledger, engine);
        }
    }

    /// A process stands still for so long.
    pub(crate) fn saw_pause(&mut self, node: &Node, ms: u64) {
        match node {
            Node::Coordinator(id) => self.witness.lookout().coordinator_stops(*id, ms),
            Node::Engine(slot) => self.witness.lookout().stops(slot),
            Node::Agent(_) => {}
            Node::FrontEnd(name) => self.witness.front_end_disturbed(name, self.queue.now()),
        }
    }

    /// A host is about to lose its power.
    pub(crate) fn saw_power_off(&mut self, host: &HostName) {
        let Some(cluster) = self.fleet() else { return };
        let stores = || cluster.stores.values();
        let is_here = |slot: &SlotId| slot.host == *host;
        let master = stores().any(|s| s.master.as_ref().is_some_and(is_here));
        let pending = stores().any(|s| s.pending.as_ref().is_some_and(is_here));
        if master {
            self.reach("a host lost power with a master on it");
        }
        if pending {
            self.reach("S7: a host lost power with a master to be on it");
        }
    }

    /// Everything that was met in this run.
    pub(crate) fn all_reached(&mut self) -> BTreeMap<&'static str, u64> {
        let mut all = std::mem::take(&mut self.reached);
        for (name, times) in self.witness.reached() {
            *all.entry(name).or_default() += times;
        }
        for (count, name) in crate::reach::TOLD {
            let times = self.crowd.counts().get(count).or_else(|| self.writers.counts().get(count));
            if let Some(times) = times {
                *all.entry(name).or_default() += times;
            }
        }
        all
    }

    pub(crate) fn saw_applied(&mut self, _id: u64) {
        if !self.front_ends.is_empty() {
            self.saw_waits_for_front_ends();
        }
    }

    pub(crate) fn after_event(&mut self) {}

    /// The fleet, as the newest state has it.
    pub fn fleet(&self) -> Option<&Cluster> {
        self.state()?.cluster.as_ref()
    }

    /// Clients look at their routes again soon.
    pub(crate) fn wake_clients(&mut self) {
        self.arm_clients();
    }
}
