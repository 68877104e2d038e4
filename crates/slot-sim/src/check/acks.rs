//! Acknowledgements: who gave them, at which epoch, on how many disks, and where they are afterwards (S1, S4, R1, R2, R7, R24).
//!
//! What always holds: an acknowledgement counts from the moment an engine decided to give it, whether or not a client heard
//! it. Of the records acknowledged at one epoch only the furthest is compared by place and digest: whoever holds it holds
//! all before it.

use super::Found;
use super::commits::{Commits, Sheet};
use super::engines::{Engine, Engines, Id};
use super::ledgers::Ledgers;
use slot_types::cluster::{FenceLevel, LossClass};
use slot_types::ids::*;
use slot_types::position::Digest;
use std::collections::{BTreeMap, BTreeSet};

/// The furthest acknowledged record of an epoch.
#[derive(Clone)]
struct Top {
    slot: SlotId,
    index: u64,
    digest: Digest,
    at: u64,
}

/// A store's acknowledgements.
#[derive(Default)]
pub(crate) struct StoreAcks {
    /// Who acknowledged at an epoch, and when first.
    givers: BTreeMap<Epoch, (SlotId, u64)>,
    tops: BTreeMap<Epoch, Top>,
    pub ids: BTreeMap<Id, Epoch>,
    /// Lost in a failover that people had been told may lose, or with a disk that was touched.
    pub lost: BTreeSet<Id>,
}

/// See the module's documentation.
#[derive(Default)]
pub(crate) struct Acks {
    pub stores: BTreeMap<StoreName, StoreAcks>,
    pub attested_wrongly: BTreeSet<HostName>,
    pub count: u64,
}

/// Everything else an acknowledgement is judged by.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    pub commits: &'a Commits,
    pub ledgers: &'a Ledgers,
    pub engines: &'a Engines,
    pub touched: &'a BTreeMap<HostName, u64>,
}

/// One acknowledgement.
pub(crate) struct Ack<'a> {
    pub store: &'a StoreName,
    pub slot: &'a SlotId,
    pub epoch: Epoch,
    pub index: u64,
    pub record: &'a RecordId,
    /// `None` for a canary.
    pub id: Option<Id>,
}

impl Acks {
    /// An engine acknowledges a record.
    pub fn given(&mut self, found: &mut Found, ack: &Ack<'_>, context: Context<'_>) {
        let Ack { store, slot, epoch, index, record, .. } = *ack;
        self.count += 1;
        let Some(engine) = context.engines.all.get(slot) else { return };
        let place = usize::try_from(index).unwrap_or(usize::MAX);
        let Some(digest) = engine.chain.get(place).copied() else {
            return found.say("R2", format!("{slot} acknowledges {record} at {index}, where it holds nothing"));
        };
        if ack.id.is_some_and(|id| engine.ids.get(&id) != Some(&index)) {
            found.say("R21", format!("{slot} acknowledges {record} at {index}, where another record is"));
        }
        if index >= engine.durable {
            found.say("R2", format!("{slot} acknowledges {record} at {index} before its disk has it"));
        }
        Self::on_enough_copies(found, ack, engine, digest, context);
        if let Some((length, until, id)) = engine.frozen
            && index >= length
            && found.now < until
        {
            found.say("R1", format!("{slot} acknowledges {record} while frozen by {id} at {length}"));
        }
        self.one_writer(found, ack, engine, context);
        // R19: a person's word started it beside a successor: what it acknowledges from here on a loss case must list.
        let past = context.commits.promoted_past(store, epoch)
            && context.ledgers.has_branch(slot, store, engine.generation, epoch);
        let acks = self.stores.entry(store.clone()).or_default();
        if let (true, Some(id)) = (past, ack.id) {
            acks.ids.insert(id, epoch);
            acks.lost.insert(id);
            return;
        }
        let now = found.now;
        acks.givers.entry(epoch).or_insert_with(|| (slot.clone(), now));
        if let Some(id) = ack.id {
            acks.ids.insert(id, epoch);
            acks.lost.remove(&id);
        }
        let top = acks.tops.entry(epoch).or_insert_with(|| Top { slot: slot.clone(), index, digest, at: now });
        if index >= top.index {
            *top = Top { slot: slot.clone(), index, digest, at: now };
        }
    }

    /// R24: on the disks of as many other copies as the order for this epoch said.
    fn on_enough_copies(found: &mut Found, ack: &Ack<'_>, engine: &Engine, digest: Digest, context: Context<'_>) {
        let wanted = usize::from(engine.sync.get(&engine.role.1).copied().unwrap_or(0));
        if wanted == 0 {
            return;
        }
        let holding =
            context.engines.others(ack.store, ack.slot).filter(|(_, e)| e.has_held(ack.index, digest)).count();
        if holding < wanted {
            let (slot, record) = (ack.slot, ack.record);
            let text =
                format!("{slot} acknowledges {record} with {holding} other copies durable, ordered were {wanted}");
            found.say("R24", text);
        }
    }

    /// S1: one slot an epoch, no older epoch after a newer one, nothing after a fence.
    fn one_writer(&mut self, found: &mut Found, ack: &Ack<'_>, engine: &Engine, context: Context<'_>) {
        let Ack { store, slot, epoch, record, .. } = *ack;
        let fenced = context.ledgers.fenced(slot, store, engine.generation);
        if fenced > epoch {
            let text =
                format!("{slot} acknowledges {record} at {epoch:?}, its agent's durable word fences below {fenced:?}");
            found.say("S1", text);
        }
        if engine.epoch > epoch {
            let text = format!("{slot} acknowledges {record} at {epoch:?}, it durably holds {:?}", engine.epoch);
            found.say("S1", text);
        }
        let Some(acks) = self.stores.get(store) else { return };
        if let Some((other, _)) = acks.givers.get(&epoch).filter(|(other, _)| other != slot) {
            found.say("S1", format!("{slot} acknowledges {record} at {epoch:?}, {other} did at that epoch"));
        }
        if let Some((newer, (other, _))) = acks.givers.last_key_value().filter(|(newer, _)| **newer > epoch)
            && !self.may_still_acknowledge(store, slot, epoch, *newer, context)
        {
            let text = format!("{slot} acknowledges {record} at {epoch:?} after {other} did at {newer:?}");
            found.say("S1", text);
        }
    }

    /// S1b: people knew that nothing stops it, or one of them was wrong about its host in a way nobody can find out.
    pub fn may_still_acknowledge(
        &self,
        store: &StoreName,
        slot: &SlotId,
        epoch: Epoch,
        newer: Epoch,
        context: Context<'_>,
    ) -> bool {
        context.commits.waivers(store, epoch, newer).any(|sheet| {
            let by_hand = context
                .engines
                .all
                .get(slot)
                .is_some_and(|engine| context.ledgers.has_branch(slot, store, engine.generation, epoch));
            sheet.waived.contains(slot)
                && (sheet.fence == FenceLevel::None || by_hand || self.attested_wrongly.contains(&slot.host))
        })
    }

    /// S4, R7: an engine has become master: does it hold what was acknowledged?
    pub fn new_master(&mut self, found: &mut Found, slot: &SlotId, epoch: Epoch, context: Context<'_>) {
        let Some(engine) = context.engines.all.get(slot) else { return };
        let store = &engine.store;
        let Some(acks) = self.stores.get_mut(store) else { return };
        let sheet = context.commits.sheet(store, epoch);
        let tops: Vec<(Epoch, Top)> = acks.tops.range(..=epoch).map(|(e, t)| (*e, t.clone())).collect();
        for (at, top) in tops {
            let place = usize::try_from(top.index).unwrap_or(usize::MAX);
            if engine.chain.get(place) == Some(&top.digest) {
                continue;
            }
            let all = acks.ids.iter().filter(|(_, e)| **e == at).map(|(id, _)| *id);
            let (kept, missing): (Vec<Id>, Vec<Id>) = all.partition(|id| engine.ids.contains_key(id));
            let missing: Vec<Id> = missing.into_iter().filter(|id| !acks.lost.contains(id)).collect();
            acks.tops.remove(&at);
            let last = kept.iter().filter_map(|id| engine.ids.get(id)).max().copied();
            if let Some(index) = last
                && let Some(digest) = engine.chain.get(usize::try_from(index).unwrap_or(usize::MAX)).copied()
            {
                acks.tops.insert(at, Top { index, digest, ..top.clone() });
            }
            if missing.is_empty() {
                continue;
            }
            Self::judge_loss(found, (slot, epoch, at), &missing, sheet, &top, engine, context);
            acks.lost.extend(missing);
        }
    }

    fn judge_loss(
        found: &mut Found,
        (slot, epoch, at): (&SlotId, Epoch, Epoch),
        missing: &[Id],
        sheet: Option<&Sheet>,
        top: &Top,
        engine: &Engine,
        context: Context<'_>,
    ) {
        let store = &engine.store;
        let touched = |host: &HostName| context.touched.get(host).is_some_and(|when| *when >= top.at);
        let mut copies = context.engines.others(store, slot).map(|(other, _)| other).chain([slot, &top.slot]);
        if copies.any(|copy| touched(&copy.host)) {
            return;
        }
        let lacks = format!(
            "{slot} is master of {store} at {epoch:?} without {} records that {} acknowledged at {at:?}",
            missing.len(),
            top.slot
        );
        match sheet {
            None => found.say("S4", lacks),
            Some(sheet) if sheet.class == LossClass::NoneProvable => {
                found.say("R7", format!("{lacks}; the sheet of {} said that none can be lost", sheet.plan));
            }
            // R7: all raised and demoted copies taken together, except what an open loss case tells of.
            Some(_) => {
                let had = context.engines.others(store, slot).find(|(other, e)| {
                    missing.iter().any(|id| e.ids.get(id).is_some_and(|index| *index < e.durable))
                        && context.ledgers.fenced(other, store, e.generation) == epoch
                        && !e.diverged
                        && !context.commits.has_loss_case(store, other)
                });
                if let Some((other, _)) = had {
                    found.say("R7", format!("{lacks}; {other}, which was raised before, holds some of them"));
                }
            }
        }
    }

    /// A read that a client asked of a master: it is not of a time before what was acknowledged elsewhere (S13).
    pub fn read(
        &self,
        found: &mut Found,
        (store, slot, epoch, begun): (&StoreName, &SlotId, Epoch, u64),
        context: Context<'_>,
    ) {
        let Some(acks) = self.stores.get(store) else { return };
        let newer = acks.givers.iter().rev().find(|(_, (_, first))| *first < begun);
        if let Some((newer, (other, _))) = newer.filter(|(newer, _)| **newer > epoch)
            && !self.may_still_acknowledge(store, slot, epoch, *newer, context)
        {
            let text = format!("{slot} answers a read of {store} at {epoch:?}, {other} acknowledges at {newer:?}");
            found.say("S13", text);
        }
    }
}
