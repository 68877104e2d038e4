//! A person at a machine, when no coordinator that leads watches it (R19).
//!
//! What always holds: that person sees what `slot-agent local status` shows, and knows whether a disk of that machine was put
//! back, and nothing else; who leads and what was committed meanwhile is not known there, so now and then the word is wrong.

use super::*;
use slot_agent::core::hand::{ByHand, ByHandAnswer};
use slot_types::hand::HandState;

/// How often somebody passes by, in milliseconds.
const ROUND_MS: (u64, u64) = (1_000, 5_000);

impl Sim {
    /// Somebody passes by a machine, and starts a master that is dead.
    pub(crate) fn at_the_machine(&mut self) {
        if self.healing {
            return;
        }
        let next = self.hands.within(ROUND_MS.0, ROUND_MS.1);
        self.queue.after(next, Happening::AtTheMachine);
        let offered: Vec<(SlotId, Epoch)> =
            self.agents.keys().filter(|host| !self.is_led(host)).flat_map(|host| self.startable(host)).collect();
        let last = (offered.len() as u64).checked_sub(1);
        let Some((slot, epoch)) = last.and_then(|last| offered.get(self.hands.within(0, last) as usize)) else {
            return;
        };
        if self.hands.one_in(2) {
            self.start_by_hand(slot, *epoch);
        }
    }

    /// What local status offers on a host.
    fn startable(&self, host: &HostName) -> Vec<(SlotId, Epoch)> {
        let process = Node::Agent(host.clone());
        let core = self.agents.get(host).and_then(|node| node.core.as_ref());
        let core = core.filter(|_| !self.paused.contains_key(&process));
        let slots = core.map(|core| core.local_status(false).slots).unwrap_or_default();
        slots.into_iter().filter(|slot| slot.may_start.is_ok()).map(|slot| (slot.slot, slot.epoch)).collect()
    }

    /// Whether a coordinator that takes itself for the leader watches an agent; a link that is cut says nothing.
    pub(crate) fn is_led(&self, host: &HostName) -> bool {
        let here = Place::Host(host.clone());
        self.coordinators.iter().any(|(id, node)| {
            let there = Place::Coordinator(*id);
            let is_cut = self.cuts.contains_key(&(there.clone(), here.clone()))
                || self.cuts.contains_key(&(here.clone(), there.clone()));
            node.core.is_some() && node.watched.contains(host) && !is_cut
        })
    }

    /// Somebody starts a slot's master by hand, at that epoch. Whoever put an older disk in says so (S2): no ledger could.
    pub fn start_by_hand(&mut self, slot: &SlotId, epoch: Epoch) {
        let Ok(by) = OperatorName::new("dora") else { return };
        let (ask, wall) = (self.number(), WallTime(self.now()));
        let (led, reason) = (self.is_led(&slot.host), "nobody answers".to_string());
        let disk_is_current = self.agents.get(&slot.host).is_some_and(|node| !node.replaced);
        if !disk_is_current {
            self.reach("R19: a start was asked for on a disk that nobody vouched for");
        }
        self.note(|| format!("dora starts {slot} at {epoch:?} by hand, led: {led}, vouches: {disk_is_current}"));
        let by_hand = Box::new(ByHand { slot: slot.number, epoch, by, uid: 0, reason, wall, led, disk_is_current });
        self.agent_step(&slot.host, agent::Event::ByHand { ask, by_hand });
    }

    /// What that person is told.
    pub(crate) fn told_by_hand(&mut self, host: &HostName, answer: &ByHandAnswer) {
        self.note(|| format!("{host}: dora is told {answer:?}"));
        if answer.as_ref().is_ok_and(|start| start.state == HandState::Serving) {
            self.reach("R19: a master was started by hand");
        }
    }
}
