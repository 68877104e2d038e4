//! The comparison at the end: what clients were told against what the masters hold.
//!
//! What always holds: it looks at clients' own logs and at records in masters' logs; of the replicated state only the
//! loss cases count, since a person gave those records up, or put them back, by name.

use super::{Acked, Writers};
use slot_machine::state::State;
use slot_types::cluster::LossState;
use slot_types::ids::*;
use std::collections::{BTreeMap, BTreeSet};

/// Something clients were told that must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The invariant or rule.
    pub invariant: &'static str,
    /// When the record in question was acknowledged.
    pub at_ms: u64,
    /// What.
    pub text: String,
}

/// Records that an unplanned failover left behind, and what people did about them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Aside {
    /// Given up by name: they need not be there.
    pub given_up: BTreeSet<RecordId>,
    /// Put back, so that they stand later in the log than they were acknowledged; or listed, and waiting for a person.
    pub moved: BTreeSet<RecordId>,
    /// Listed and not settled: they need not be there yet.
    pub listed: BTreeSet<RecordId>,
    /// Nobody knows yet what is missing: the old master has not come back.
    pub unknown: bool,
    /// Former masters that were promoted past, and the last epoch at which: what they acknowledged before it may have come
    /// back later, by a reinjection from them or from a replica of theirs.
    pub failed_over: BTreeMap<SlotId, Epoch>,
}

impl Aside {
    /// What the loss cases of a store say.
    pub fn of(state: &State, store: &StoreName) -> Self {
        let mut aside = Self::default();
        let cases = state.cluster.iter().flat_map(|c| c.loss_cases.values()).filter(|c| c.store == *store);
        for case in cases {
            match &case.state {
                LossState::Discarded { .. } => aside.given_up.extend(case.stranded.iter().cloned()),
                LossState::Listed => aside.listed.extend(case.stranded.iter().cloned()),
                LossState::AwaitingReturn => aside.unknown = true,
                LossState::Reinjected { .. } | LossState::NothingStranded => {}
            }
            aside.moved.extend(case.stranded.iter().cloned());
            let last = aside.failed_over.entry(case.slot.clone()).or_default();
            *last = (*last).max(case.epoch);
        }
        aside
    }
}

impl Writers {
    /// Every acknowledged record of a store is in its master's log once, unless a person gave it up by name (S4, R7, R21);
    /// and a record that was acknowledged before another was first sent stands before it. `log` is the ids of clients'
    /// records in the master's log, in order. `waived` skips what is missing: a person was truly wrong about its host, or
    /// the only disk with it was taken out.
    pub fn compare<'a>(
        &self,
        store: &StoreName,
        log: impl Iterator<Item = &'a RecordId>,
        aside: &Aside,
        waived: bool,
    ) -> Vec<Finding> {
        let mut found = Vec::new();
        let mut places: BTreeMap<&RecordId, usize> = BTreeMap::new();
        for (place, id) in log.enumerate() {
            if places.insert(id, place).is_some() {
                found.push(Finding { invariant: "R21", at_ms: 0, text: format!("{id} is there more than once") });
            }
        }
        for (_, client, acked) in self.logs().filter(|(of, _, _)| *of == store) {
            let mut there: Vec<(usize, &Acked)> = Vec::new();
            let came_back = |ack: &Acked| {
                let past = self.slot(ack.slot).and_then(|slot| aside.failed_over.get(slot));
                past.is_some_and(|epoch| ack.epoch < *epoch)
            };
            for ack in acked {
                let id = RecordId { client: client.clone(), sequence: ack.sequence };
                match places.get(&id) {
                    Some(_) if aside.moved.contains(&id) || self.listed.contains(&id) || came_back(ack) => {}
                    Some(place) => there.push((*place, ack)),
                    None if waived || aside.unknown => {}
                    None if aside.given_up.contains(&id) || aside.listed.contains(&id) => {}
                    None => found.push(self.lost(ack, &id)),
                }
            }
            found.extend(out_of_order(client, there));
        }
        found
    }

    fn lost(&self, ack: &Acked, id: &RecordId) -> Finding {
        let slot = self.slot(ack.slot).map_or(String::new(), ToString::to_string);
        let text = format!(
            "{id}, acknowledged by {slot} at epoch {}, index {}, is not in the master's log and nobody gave it up",
            ack.epoch, ack.index
        );
        Finding { invariant: "S4", at_ms: ack.at, text }
    }
}

/// A record stands behind one that was first sent only after it was acknowledged.
fn out_of_order(client: &ClientName, mut there: Vec<(usize, &Acked)>) -> Option<Finding> {
    there.sort_by_key(|(place, _)| *place);
    let mut latest: Option<&Acked> = None;
    for (_, ack) in there {
        if let Some(before) = latest.filter(|before| ack.at < before.sent_at) {
            let text = format!(
                "{client}:{} was acknowledged before {client}:{} was sent, and stands behind it",
                ack.sequence, before.sequence
            );
            return Some(Finding { invariant: "S13", at_ms: before.at, text });
        }
        if latest.is_none_or(|before| before.sent_at < ack.sent_at) {
            latest = Some(ack);
        }
    }
    None
}
