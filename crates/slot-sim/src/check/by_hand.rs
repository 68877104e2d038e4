//! R19: masters that people start at their machine.
//!
//! What always holds: who asked is known from what reached the agent, what was recorded from what its disk took; the rules
//! are written here again: only a copy that its own finished Promote made master, at that epoch, while no leader watched,
//! from a disk that whoever asked had vouched for, durably recorded first; on contact adopted only if no higher epoch was committed.

use super::Found;
use slot_agent::core::hand::ByHand;
use slot_agent::core::image::{CopyEntry, CopyKey, LedgerImage, LedgerRole};
use slot_machine::state::State;
use slot_types::hand::{HandStart, HandState};
use slot_types::ids::*;
use std::collections::{BTreeMap, BTreeSet};

/// One wish: slot and epoch, whether a leader watched, whether the disk was vouched for.
type Asked = (u16, Epoch, bool, bool);

/// What is known of one host.
#[derive(Default)]
pub(crate) struct Hands {
    /// What people asked of the agent that runs.
    asked: Vec<Asked>,
    /// Branches that this life of the agent recorded and may act on.
    open: BTreeMap<u16, Epoch>,
    /// Every branch that its disk took.
    branches: BTreeMap<CopyKey, BTreeMap<u32, Epoch>>,
}

impl Hands {
    /// The agent begins anew: what people asked of the one before is over. A branch that it died in writing may be on its disk
    /// all the same; then somebody had asked for it.
    pub fn opens(&mut self, found: &mut Found, name: &HostName, image: &LedgerImage) {
        for (key, entry) in &image.copies {
            let known = self.branches.entry(key.clone()).or_default();
            let newest = known.last_key_value().map_or(0, |(number, _)| *number);
            if let Some(last) = entry.by_hand.last().filter(|last| last.number > newest) {
                known.insert(last.number, last.epoch);
                self.begins(found, name, key, entry, last);
            }
        }
        self.asked.clear();
        self.open.clear();
    }

    /// A person asks.
    pub fn asks(&mut self, by_hand: &ByHand) {
        self.asked.push((by_hand.slot, by_hand.epoch, by_hand.led, by_hand.disk_is_current));
    }

    /// A copy's entry is on the disk.
    pub fn written(&mut self, found: &mut Found, name: &HostName, key: &CopyKey, entry: &CopyEntry) {
        let known = self.branches.entry(key.clone()).or_default();
        let newest = known.last_key_value().map_or(0, |(number, _)| *number);
        let Some(last) = entry.by_hand.last() else { return };
        if last.number > newest {
            known.insert(last.number, last.epoch);
            self.open.insert(key.slot, last.epoch);
            self.begins(found, name, key, entry, last);
        }
        if last.state != HandState::Asked {
            self.open.remove(&key.slot);
        }
    }

    fn begins(&self, found: &mut Found, name: &HostName, key: &CopyKey, entry: &CopyEntry, start: &HandStart) {
        let is_it = |led, vouched| self.asked.contains(&(key.slot, start.epoch, led, vouched));
        let what = format!("{name} slot {}: branch {}", key.slot, start.branch(&key.store));
        if !is_it(false, true) {
            let why = match (is_it(true, true), is_it(false, false) || is_it(true, false)) {
                (true, _) => "was begun while a leader watched",
                (_, true) => "was begun on a disk that nobody vouched for",
                _ => "is nobody's wish",
            };
            found.say("R19", format!("{what} {why}"));
        }
        if entry.epoch != start.epoch || entry.role != LedgerRole::Master || !entry.settled {
            let is = (entry.epoch, entry.role, entry.settled);
            found.say("R19", format!("{what} begins on a copy that is no master of that epoch: {is:?}"));
        }
    }

    /// Whether a person's word is a reason for a deed at a slot.
    pub fn permits(&self, slot: u16, deed: &str, epoch: Option<Epoch>) -> bool {
        let open = self.open.get(&slot);
        open.is_some_and(|at| matches!(deed, "launch" | "start-master") && epoch.is_none_or(|epoch| epoch == *at))
    }

    /// Whether a branch of that copy, at that epoch, is on the disk.
    pub fn has_branch(&self, key: &CopyKey, epoch: Epoch) -> bool {
        self.branches.get(key).is_some_and(|all| all.values().any(|at| *at == epoch))
    }

    /// Copies of which the latest branch's number is known.
    pub fn latest(&self) -> impl Iterator<Item = (&CopyKey, u32)> {
        self.branches.iter().filter_map(|(key, all)| Some((key, *all.last_key_value()?.0)))
    }
}

/// A command that tells of branches was applied: what the state makes of them.
pub(crate) fn told(
    found: &mut Found,
    state: &State,
    hands: Option<&Hands>,
    (slot, store, generation): (&SlotId, &StoreName, CopyGeneration),
    starts: &[HandStart],
) {
    let key = CopyKey { slot: slot.number, store: store.clone(), generation };
    if let Some(start) = starts.iter().find(|start| !hands.is_some_and(|hands| hands.has_branch(&key, start.epoch))) {
        found.say("R19", format!("the log tells of branch {}, which no disk has", start.branch(store)));
    }
    let noted = state.by_hand.get(slot).is_some_and(|noted| noted.store == *store && noted.generation == generation);
    let last = starts.last().filter(|start| !matches!(start.state, HandState::Failed(_)));
    let (Some(last), Some(cluster)) = (last, &state.cluster) else { return };
    if !noted {
        found.say("R19", format!("branch {} is not remembered", last.branch(store)));
    }
    let Some(now) = cluster.stores.get(store) else { return };
    let is_here = now.copies.get(slot).is_some_and(|copy| copy.generation == generation);
    let leads = now.master.as_ref() == Some(slot) || now.pending.as_ref() == Some(slot);
    if now.epoch <= last.epoch || leads || !is_here {
        return;
    }
    if !now.possible_masters.contains_key(slot) {
        let text = format!("branch {} is beside {:?}, and {slot} is no possible master", last.branch(store), now.epoch);
        found.say("R19", text);
    }
    let told: BTreeSet<&SlotId> = cluster
        .loss_cases
        .values()
        .filter(|case| case.store == *store && case.generation == generation && case.state.is_open())
        .map(|case| &case.slot)
        .collect();
    if now.last_promoted > last.epoch && !told.contains(slot) {
        let text = format!("branch {} is beside {:?}, and no loss case tells of it", last.branch(store), now.epoch);
        found.say("R19", text);
    }
}

/// At the end, once all is well: every branch of a copy that is there is in the audit.
pub(crate) fn all_told(found: &mut Found, state: &State, host: &HostName, hands: &Hands) {
    for (key, number) in hands.latest() {
        let slot = SlotId::new(host.clone(), key.slot);
        let store = state.cluster.as_ref().and_then(|cluster| cluster.stores.get(&key.store));
        let copy = store.and_then(|store| store.copies.get(&slot));
        let is_here = copy.is_some_and(|copy| copy.generation == key.generation);
        let noted = state.by_hand.get(&slot).is_some_and(|noted| {
            noted.store == key.store && noted.generation == key.generation && noted.last.number >= number
        });
        if is_here && !noted {
            found.say("R19", format!("the audit does not tell of branch {number} of {} on {slot}", key.store));
        }
    }
}
