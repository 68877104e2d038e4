//! Engines: what their logs hold and what of it is durable, from the records' own bytes and the disk's own answers.
//!
//! What always holds: a record is durable here once an operation that wrote it and fsynced its file was reported done by
//! the disk; an epoch is, once a `meta` that holds it was written, fsynced, renamed and the folder fsynced. What the engine
//! says of either is never used.

use super::Found;
use slot_engine::journal::core::{self as journal, Body, CANARY_CLIENT, DiskOp, Event, JournalCore, Meta, Record};
use slot_types::engine::{EngineCall, EngineRole};
use slot_types::ids::*;
use slot_types::position::Digest;
use std::collections::{BTreeMap, BTreeSet};

/// A record's id with its store, as a number and a sequence.
pub(crate) type Id = (u32, u64);

/// A freeze as its agent's ledger tells: which, and where the copy ended.
pub(crate) struct Freeze {
    pub id: FreezeId,
    pub length: u64,
}

/// A disk operation under way.
struct Op {
    op: u64,
    length: u64,
    epoch: Option<Epoch>,
}

/// A control call that may change a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Call {
    Master,
    Demote,
    Replica,
    Stop,
}

/// One copy's engine.
pub(crate) struct Engine {
    pub store: StoreName,
    pub generation: CopyGeneration,
    pub alive: bool,
    /// Chain digest after each record, hashed here.
    pub chain: Vec<Digest>,
    /// Clients' records in the log, and where.
    pub ids: BTreeMap<Id, u64>,
    names: Vec<Option<Id>>,
    epochs: Vec<(u64, Epoch)>,
    pub durable: u64,
    /// What was durable on a disk that is gone: an answer that it had sent may still be under way (R24).
    former: BTreeSet<Digest>,
    /// The highest epoch that is durable.
    pub epoch: Epoch,
    pub role: (EngineRole, Epoch),
    /// The highest epoch at which it was master.
    pub mastered: Option<Epoch>,
    pub diverged: bool,
    ops: Vec<Op>,
    dirty: BTreeSet<String>,
    pub requests: BTreeMap<u64, (Epoch, RecordId)>,
    /// Calls under way, with the epoch that was durable when each came.
    pub controls: BTreeMap<u64, (EngineCall, Epoch)>,
    pub called: BTreeSet<(Call, Epoch)>,
    /// R24, by epoch: the least that an order asked for.
    pub sync: BTreeMap<Epoch, u8>,
    freeze_until: BTreeMap<FreezeId, u64>,
    /// Until when nothing from a length on may be acknowledged.
    pub frozen: Option<(u64, u64, FreezeId)>,
    /// R12: until when a freeze may last, and whether it was answered.
    pub limits: BTreeMap<FreezeId, (u64, bool)>,
    /// R1: answered freezes that were seen to end.
    pub ended: BTreeSet<FreezeId>,
    /// The highest epoch at which it was told to take records from somewhere (R16).
    pulls: Epoch,
    /// Its disk has failed (P11).
    pub failed: bool,
}

impl Engine {
    fn new(store: StoreName, generation: CopyGeneration) -> Self {
        Self {
            store,
            generation,
            alive: true,
            chain: Vec::new(),
            ids: BTreeMap::new(),
            names: Vec::new(),
            epochs: Vec::new(),
            durable: 0,
            former: BTreeSet::new(),
            epoch: Epoch::ZERO,
            role: (EngineRole::Idle, Epoch::ZERO),
            mastered: None,
            diverged: false,
            ops: Vec::new(),
            dirty: BTreeSet::new(),
            requests: BTreeMap::new(),
            controls: BTreeMap::new(),
            called: BTreeSet::new(),
            sync: BTreeMap::new(),
            freeze_until: BTreeMap::new(),
            frozen: None,
            limits: BTreeMap::new(),
            ended: BTreeSet::new(),
            pulls: Epoch::ZERO,
            failed: false,
        }
    }

    /// Whatever froze it is over.
    pub fn thaw_all(&mut self) {
        self.frozen = None;
        self.freeze_until.clear();
    }

    /// Whether it holds, durably, the record after which a chain has this digest.
    pub fn holds(&self, index: u64, digest: Digest) -> bool {
        index < self.durable && usize::try_from(index).is_ok_and(|i| self.chain.get(i) == Some(&digest))
    }

    /// Whether it holds that record durably, or did on a disk that has gone since.
    pub fn has_held(&self, index: u64, digest: Digest) -> bool {
        self.holds(index, digest) || self.former.contains(&digest)
    }

    /// Clients' durable records from a length on.
    fn loses(&self, to: usize) -> Vec<Id> {
        let durable = usize::try_from(self.durable).unwrap_or(usize::MAX).min(self.names.len());
        self.names.get(to..durable).into_iter().flatten().flatten().copied().collect()
    }

    /// R12, R1: a freeze that is past its limit is over, and for good.
    pub fn thawed_in_time(&mut self, found: &mut Found, slot: &SlotId, core: &JournalCore) {
        if self.limits.values().all(|(until, _)| *until > found.now) {
            return;
        }
        let (now, frozen) = (found.now, core.status().frozen);
        for (id, (until, answered)) in std::mem::take(&mut self.limits) {
            if until > now {
                self.limits.insert(id, (until, answered));
                continue;
            }
            if frozen == Some(id) {
                found.say("R12", format!("{slot} is frozen by {id} beyond its limit"));
            }
            if answered {
                self.ended.insert(id);
            }
        }
    }

    fn cut(&mut self, to: usize) {
        while self.chain.len() > to {
            self.chain.pop();
            if let Some(id) = self.names.pop().flatten()
                && self.ids.get(&id) == Some(&(self.chain.len() as u64))
            {
                self.ids.remove(&id);
            }
        }
        let to = to as u64;
        self.epochs.retain(|(start, _)| *start < to);
        self.durable = self.durable.min(to);
        for op in &mut self.ops {
            op.length = op.length.min(to);
        }
    }

    /// How many records of a log are those known here.
    fn common(&self, core: &JournalCore) -> usize {
        let log = core.log();
        let same = |n: usize| n == 0 || log.digest_at(n as u64) == self.chain[n - 1];
        let most = self.chain.len().min(usize::try_from(log.length()).unwrap_or(usize::MAX));
        if same(most) {
            return most;
        }
        let (mut low, mut high) = (0, most);
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if same(middle) { low = middle } else { high = middle }
        }
        low
    }

    /// What an operation will have made durable once it is done.
    fn asks_disk(&mut self, op: u64, ops: &[DiskOp]) {
        let (mut meta, mut written, mut renamed) = (None, None, None);
        for step in ops {
            match step {
                DiskOp::Write { file, bytes, .. } if file == "meta.next" => {
                    written = Meta::from_bytes(bytes).ok().map(|m| m.epoch);
                    self.dirty.insert(file.clone());
                }
                DiskOp::Write { file, .. } => drop(self.dirty.insert(file.clone())),
                DiskOp::Fsync { file } => {
                    self.dirty.remove(file);
                    if !file.ends_with(".next") {
                        self.dirty.remove(TAIL);
                    }
                }
                DiskOp::Rename { from, to } => {
                    let clean = !self.dirty.remove(from);
                    if !clean {
                        self.dirty.insert(to.clone());
                    }
                    self.dirty.insert(FOLDER.into());
                    if to == "meta" && clean {
                        renamed = written.take();
                    }
                }
                DiskOp::FsyncDir => {
                    self.dirty.remove(FOLDER);
                    meta = renamed.take().or(meta);
                }
                DiskOp::Remove { .. } | DiskOp::Truncate { .. } => {}
            }
        }
        let is_log = |file: &String| file != "meta" && file != "meta.next";
        let sound = !self.dirty.iter().any(is_log);
        let length = if sound { self.chain.len() as u64 } else { 0 };
        self.ops.push(Op { op, length, epoch: meta });
    }

    fn disk_done(&mut self, op: u64) {
        let Some(at) = self.ops.iter().position(|o| o.op == op) else { return };
        let done = self.ops.remove(at);
        self.durable = self.durable.max(done.length.min(self.chain.len() as u64));
        self.epoch = self.epoch.max(done.epoch.unwrap_or(Epoch::ZERO));
    }
}

/// R2: a log's epochs never go down.
pub(super) fn in_order(found: &mut Found, slot: &SlotId, index: usize, last: Epoch, epoch: Epoch) {
    if epoch < last {
        found.say("R2", format!("record {index} of {slot} is of {epoch:?}, after records of {last:?}"));
    }
}

/// Stands for a folder whose entries were not fsynced.
const FOLDER: &str = "?folder";
/// Stands for a tail that a dead process left behind unsynced.
const TAIL: &str = "?tail";

/// See the module's documentation.
#[derive(Default)]
pub(crate) struct Engines {
    pub all: BTreeMap<SlotId, Engine>,
    clients: BTreeMap<StoreName, BTreeMap<ClientName, u32>>,
    next_client: u32,
    payloads: BTreeMap<Id, u32>,
}

impl Engines {
    /// The number of a record of a store.
    pub fn id(&mut self, store: &StoreName, id: &RecordId) -> Id {
        if let Some(number) = self.known(store, id) {
            return number;
        }
        self.next_client += 1;
        let clients = self.clients.entry(store.clone()).or_default();
        clients.insert(id.client.clone(), self.next_client);
        (self.next_client, id.sequence)
    }

    /// The same, if its client was ever heard of.
    pub fn known(&self, store: &StoreName, id: &RecordId) -> Option<Id> {
        Some((*self.clients.get(store)?.get(&id.client)?, id.sequence))
    }

    pub fn sent(&mut self, store: &StoreName, id: &RecordId, payload: &[u8]) {
        let id = self.id(store, id);
        self.payloads.insert(id, crc32c::crc32c(payload));
    }

    pub fn touched(&mut self, host: &HostName) {
        for (_, engine) in self.all.iter_mut().filter(|(slot, _)| slot.host == *host) {
            let durable = usize::try_from(engine.durable).unwrap_or(usize::MAX).min(engine.chain.len());
            engine.former.extend(engine.chain[..durable].iter().copied());
            engine.cut(0);
            engine.epoch = Epoch::ZERO;
        }
    }

    pub fn gone(&mut self, slot: &SlotId) {
        if let Some(engine) = self.all.get_mut(slot) {
            engine.alive = false;
            engine.ops.clear();
            engine.requests.clear();
            engine.controls.clear();
            engine.thaw_all();
            // A freeze that it died in before answering may come once more, late, and is bounded from then on (R12).
            engine.limits.retain(|_, (_, answered)| *answered);
            engine.role = (EngineRole::Idle, engine.role.1);
        }
    }

    /// R1: an agent's ledger says that a copy is frozen.
    pub fn frozen(&mut self, now: u64, slot: &SlotId, freeze: Freeze) {
        let Some(engine) = self.all.get_mut(slot) else { return };
        if let Some(until) = engine.freeze_until.get(&freeze.id).filter(|until| **until > now) {
            engine.frozen = Some((freeze.length, *until, freeze.id));
        }
    }

    /// R11: the engine that runs where something was done is of that generation of the copy.
    pub fn serves(&self, found: &mut Found, slot: &SlotId, copy: &(StoreName, CopyGeneration)) {
        let Some(engine) = self.all.get(slot).filter(|engine| engine.alive) else { return };
        if (&engine.store, &engine.generation) != (&copy.0, &copy.1) {
            let (runs, done) = ((&engine.store, engine.generation), (&copy.0, copy.1));
            found.say("R11", format!("an engine of {runs:?} runs on {slot}, where something was done for {done:?}"));
        }
    }

    /// R2: what an agent's ledger says is fenced is fenced on the engine's own disk.
    pub fn fenced(&self, found: &mut Found, slot: &SlotId, copy: &(StoreName, CopyGeneration), epoch: Epoch) {
        let Some(engine) = self.all.get(slot) else { return };
        if (&engine.store, &engine.generation) == (&copy.0, &copy.1) && engine.epoch < epoch {
            let text = format!("{slot} counts as fenced below {epoch:?}, on its engine's disk is {:?}", engine.epoch);
            found.say("R2", text);
        }
    }

    /// A process begins: the same copy holds what was durable, another copy is begun anew.
    pub fn opens(&mut self, found: &mut Found, slot: &SlotId, core: &JournalCore) {
        let config = core.config();
        let same = |e: &Engine| e.store == config.store && e.generation == config.generation;
        if !self.all.get(slot).is_some_and(same) {
            self.all.insert(slot.clone(), Engine::new(config.store.clone(), config.generation));
        }
        let Some(engine) = self.all.get_mut(slot) else { return };
        engine.alive = true;
        engine.ops.clear();
        engine.dirty.clear();
        engine.failed = false;
        engine.role = (core.role(), core.epoch());
        engine.diverged = false;
        if engine.common(core) < usize::try_from(engine.durable).unwrap_or(usize::MAX) {
            let text = format!("{slot} opens with {} records, {} were durable", core.log().length(), engine.durable);
            found.say("P12", text);
        }
        if core.epoch() < engine.epoch {
            found.say("S2", format!("{slot} opens at {:?}, it durably held {:?}", core.epoch(), engine.epoch));
        }
        engine.epoch = engine.epoch.max(core.epoch());
        self.sync(found, slot, core, false);
        let Some(engine) = self.all.get_mut(slot) else { return };
        if engine.chain.len() as u64 > engine.durable {
            engine.dirty.insert(TAIL.into());
        }
    }

    /// What an engine is about to take.
    pub fn takes(&mut self, now: u64, slot: &SlotId, event: &Event) {
        let Some(engine) = self.all.get_mut(slot) else { return };
        match event {
            Event::DiskDone { op, result: Ok(()) } => engine.disk_done(*op),
            Event::DiskDone { result: Err(_), .. } => engine.failed = true,
            Event::Append { request, append, .. }
            | Event::Peer { request, call: journal::PeerCall::Append(append) } => {
                engine.requests.insert(*request, (append.epoch, append.id.clone()));
            }
            Event::Control { request, call, .. } => {
                if *call != EngineCall::Status {
                    engine.controls.insert(*request, (call.clone(), engine.epoch));
                }
                Self::called(engine, now, call);
            }
            _ => {}
        }
    }

    fn called(engine: &mut Engine, now: u64, call: &EngineCall) {
        let (kind, epoch) = match call {
            EngineCall::Promote { epoch, sync_copies, .. } | EngineCall::StartMaster { epoch, sync_copies } => {
                let least = engine.sync.entry(*epoch).or_insert(*sync_copies);
                *least = (*least).min(*sync_copies);
                (Call::Master, *epoch)
            }
            EngineCall::Demote { epoch } | EngineCall::Raise { epoch } => (Call::Demote, *epoch),
            EngineCall::CatchUp { epoch, .. } => {
                engine.pulls = engine.pulls.max(*epoch);
                (Call::Demote, *epoch)
            }
            EngineCall::Follow { epoch, .. } => {
                engine.pulls = engine.pulls.max(*epoch);
                (Call::Replica, *epoch)
            }
            EngineCall::Stop => (Call::Stop, Epoch::ZERO),
            EngineCall::Freeze { id, limit_ms, .. } => {
                // A later freeze takes over from an earlier one.
                engine.freeze_until.retain(|known, _| known == id);
                engine.freeze_until.entry(*id).or_insert(now.saturating_add(*limit_ms));
                engine.limits.entry(*id).or_insert((now.saturating_add(*limit_ms), false));
                engine.frozen = engine.frozen.filter(|(_, _, frozen)| frozen == id);
                return;
            }
            EngineCall::Thaw { id } => {
                engine.freeze_until.remove(id);
                engine.frozen = engine.frozen.filter(|(_, _, frozen)| frozen != id);
                return;
            }
            _ => return,
        };
        engine.called.insert((kind, epoch));
    }

    /// Takes over what changed in a log: S11, R2, R21; R7 and R16 of one that `lives`.
    pub fn sync(&mut self, found: &mut Found, slot: &SlotId, core: &JournalCore, lives: bool) {
        let Some(engine) = self.all.get(slot) else { return };
        let length = usize::try_from(core.log().length()).unwrap_or(usize::MAX);
        let common = engine.common(core);
        if common == engine.chain.len() && length == common {
            return;
        }
        let cut = if lives { engine.loses(common) } else { Vec::new() };
        if let Some(engine) = self.all.get_mut(slot) {
            if !cut.is_empty() && engine.epochs.last().is_some_and(|(_, last)| *last >= core.epoch()) {
                // R7: only a history with a later epoch supersedes.
                found.say("R7", format!("{slot} cuts records of the epoch {:?} that it holds", core.epoch()));
            }
            engine.cut(common);
        }
        self.take_over(found, slot, core, common..length, lives);
        self.put_aside(found, slot, core, &cut);
    }

    /// R7: what is cut is listed as put aside, unless it is in the log again.
    fn put_aside(&self, found: &mut Found, slot: &SlotId, core: &JournalCore, cut: &[Id]) {
        let Some(engine) = self.all.get(slot).filter(|_| !cut.is_empty()) else { return };
        let aside = core.status().aside;
        let aside: BTreeSet<Id> = aside.iter().filter_map(|id| self.known(&engine.store, id)).collect();
        let silent = cut.iter().filter(|id| !aside.contains(*id) && !engine.ids.contains_key(*id)).count();
        if silent > 0 {
            found.say("R7", format!("{slot} cuts {silent} durable records that it lists nowhere"));
        }
    }

    fn take_over(
        &mut self,
        found: &mut Found,
        slot: &SlotId,
        core: &JournalCore,
        range: std::ops::Range<usize>,
        lives: bool,
    ) {
        for index in range {
            let Some(entry) = core.log().entry(index as u64) else { return };
            let decoded = Record::from_bytes(&entry.bytes);
            let id = match &decoded {
                Ok(Record { body: Body::Data { id, payload }, .. }) => {
                    self.payload(found, slot, &core.config().store, id, payload)
                }
                _ => None,
            };
            let Some(engine) = self.all.get_mut(slot) else { return };
            let digest = engine.chain.last().copied().unwrap_or_default().chain(&entry.bytes);
            if digest != entry.digest {
                found.say("S11", format!("record {index} of {slot} is not what its digest says"));
            }
            engine.chain.push(digest);
            engine.names.push(id);
            if let Some(id) = id
                && let Some(first) = engine.ids.insert(id, index as u64)
            {
                found.say("R21", format!("record {id:?} is at {first} and at {index} of {slot}"));
            }
            let Ok(record) = decoded else {
                found.say("S11", format!("record {index} of {slot} can't be decoded"));
                continue;
            };
            let last = engine.epochs.last().map_or(Epoch::ZERO, |(_, epoch)| *epoch);
            in_order(found, slot, index, last, record.epoch);
            if lives && record.epoch < engine.epoch && engine.pulls < engine.epoch {
                // R2, R16: behind its final tip nothing comes, until it is told from whom.
                let text =
                    format!("{slot} takes record {index} of {:?}, it durably holds {:?}", record.epoch, engine.epoch);
                found.say("R2", text);
            }
            if record.epoch > last {
                engine.epochs.push((index as u64, record.epoch));
            }
        }
    }

    /// S11: what is in a log is what a client sent.
    fn payload(
        &mut self,
        found: &mut Found,
        slot: &SlotId,
        store: &StoreName,
        id: &RecordId,
        payload: &[u8],
    ) -> Option<Id> {
        if id.client.as_str() == CANARY_CLIENT {
            return None;
        }
        let number = self.id(store, id);
        match self.payloads.get(&number) {
            Some(sent) if *sent == crc32c::crc32c(payload) => {}
            Some(_) => found.say("S11", format!("{slot} holds {id} with other data than its client sent")),
            None => found.say("S11", format!("{slot} holds {id}, which no client sent to {store}")),
        }
        Some(number)
    }

    /// What an engine wants its disk to do.
    pub fn asks(&mut self, slot: &SlotId, effects: &[journal::Effect]) {
        let Some(engine) = self.all.get_mut(slot) else { return };
        for effect in effects {
            if let journal::Effect::Disk { op, ops } = effect {
                engine.asks_disk(*op, ops);
            }
        }
    }

    /// The other copies of a store.
    pub fn others<'a>(
        &'a self,
        store: &'a StoreName,
        slot: &'a SlotId,
    ) -> impl Iterator<Item = (&'a SlotId, &'a Engine)> {
        self.all.iter().filter(move |(other, engine)| *other != slot && engine.store == *store)
    }
}
