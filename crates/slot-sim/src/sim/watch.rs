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
        }
        self.digest(id << 1 | u64::from(is_leader));
    }

    pub(crate) fn saw_applied(&mut self, _id: u64) {}

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
