//! People and clients in the world: what they see, what they ask, what they are answered.
//!
//! What always holds: they ask over the same network as everybody; a question that nobody answers ends by their patience.

use super::wire::Asker;
use super::*;
use crate::check::Seen;
use crate::clients::{self, ClientRequest, Routes};
use crate::people::{self, Hand, Public, Truth};
use prost::Message;
use slot_engine::journal::wire;
use slot_machine::state::State;
use slot_proto::pb;
use slot_types::engine::EngineRole;

/// How many entries a coordinator may be behind when all is well.
const BEHIND_MAX: u64 = 8;

/// What clients sent, to be shown to the witness with the answer.
pub(crate) enum Sent {
    Append { store: StoreName, id: RecordId },
    Read { store: StoreName, epoch: Epoch, begun_ms: u64, stale: bool },
}

fn newest<'a>(coordinators: &'a BTreeMap<u64, Coordinator>, without_disk: &BTreeSet<u64>) -> Option<&'a State> {
    let live = coordinators.iter().filter(|(id, _)| !without_disk.contains(id)).filter_map(|(_, n)| n.core.as_ref());
    // A restored state is newer than any of before, whatever its revision (R10).
    live.map(coordinator::CoordinatorCore::state).max_by_key(|s| (s.applied.generation(), s.revision))
}

impl Sim {
    /// The newest state among live coordinators that still have the disk they began with.
    pub fn state(&self) -> Option<&State> {
        newest(&self.coordinators, &self.without_disk)
    }

    /// What a person could see by going there.
    pub fn truth(&self) -> Truth {
        let mut truth = Truth::default();
        for (host, node) in &self.agents {
            truth.boots.insert(host.clone(), node.boot);
            truth.disks.insert(host.clone(), node.fresh.unwrap_or(node.incarnation));
            if node.dark {
                truth.off.insert(host.clone());
            }
            let process = Node::Agent(host.clone());
            if node.core.is_some() && !self.paused.contains_key(&process) {
                truth.agents.insert(host.clone());
            }
            let is_cut = self.cuts.keys().any(|(a, b)| *a == process.place() || *b == process.place());
            if !is_cut && !node.replaced {
                truth.undisturbed.insert(host.clone());
            }
        }
        let runs = |slot: &&SlotId| !self.paused.contains_key(&Node::Engine((*slot).clone()));
        let live = self.engines.iter().filter(|(_, e)| e.core.is_some()).map(|(slot, _)| slot).filter(runs);
        truth.engines = live.cloned().collect();
        truth.damaged = self.damaged.clone();
        truth
    }

    /// Whether everything is as a person would want it.
    pub fn is_well(&self) -> bool {
        self.why_not_well().is_none()
    }

    /// What is not well, for a person.
    pub fn why_not_well(&self) -> Option<String> {
        let (truth, names) = (self.truth(), self.names());
        let public = Public { state: self.state(), coordinators: &names, truth: &truth, healing: self.healing };
        let people = self.crowd.why_not_well(&public);
        people
            .or_else(|| self.coordinator_behind())
            .or_else(|| self.follower_apart())
            .or_else(|| self.front_end_behind())
    }

    /// R16, R7: a follower that has not yet put aside what its master lacks. It asks again only with a pause, after its
    /// master had died.
    fn follower_apart(&self) -> Option<String> {
        let stores = self.state().and_then(|state| state.cluster.as_ref()).into_iter().flat_map(|c| &c.stores);
        let core = |slot: &SlotId| self.engines.get(slot).and_then(|node| node.core.as_ref());
        for (name, store) in stores {
            let Some(master) = store.master.as_ref().and_then(core) else { continue };
            for slot in store.copies.keys().filter(|slot| !self.agents.get(&slot.host).is_none_or(|n| n.replaced)) {
                let Some(follower) = core(slot).filter(|core| core.role() == EngineRole::Replica) else { continue };
                let (length, there) = (follower.log().length(), master.log().length());
                let apart = length > there || follower.log().digest_at(length) != master.log().digest_at(length);
                if follower.epoch() == master.epoch() && apart {
                    return Some(format!("{slot} holds records of {name} that are no beginning of its master's"));
                }
            }
        }
        None
    }

    /// L3: a coordinator that does not catch up with the others.
    fn coordinator_behind(&self) -> Option<String> {
        let newest = self.state()?.applied.0;
        let well = self.coordinators.iter().filter(|(id, _)| !self.without_disk.contains(id));
        let mut applied = well.map(|(id, node)| (id, node.core.as_ref().map_or(0, |core| core.state().applied.0)));
        let (id, at) = applied.find(|(_, at)| at + BEHIND_MAX < newest)?;
        Some(format!("c{id} is at entry {at}, others are at {newest}"))
    }

    /// The stores that clients must be able to write to once all is well.
    pub fn writable(&self) -> Vec<StoreName> {
        let (truth, names) = (self.truth(), self.names());
        let public = Public { state: self.state(), coordinators: &names, truth: &truth, healing: self.healing };
        self.crowd.writable(&public)
    }

    /// Whether a store was given up by a person; once its last copy is gone only a tombstone is left of it.
    pub fn is_retired(&self, name: &StoreName) -> bool {
        let cluster = self.state().and_then(|state| state.cluster.as_ref());
        cluster.is_some_and(|cluster| cluster.stores.get(name).is_none_or(|store| store.retired))
    }

    /// Whether every store of the cluster file has a master.
    pub fn is_founded(&self) -> bool {
        let (truth, names) = (Truth::default(), self.names());
        let public = Public { state: self.state(), coordinators: &names, truth: &truth, healing: false };
        self.crowd.is_founded(&public)
    }

    fn names(&self) -> BTreeMap<u64, CoordinatorName> {
        super::hosts::members().into_iter().map(|(id, (name, _))| (id, name)).collect()
    }

    pub(crate) fn people(&mut self) {
        // They have been woken earlier, or will be later: each waking that was put off would beget others for ever.
        if self.now() != self.people_at {
            return;
        }
        self.people_at = u64::MAX;
        let (truth, names, now) = (self.truth(), self.names(), self.now());
        let state = newest(&self.coordinators, &self.without_disk);
        let public = Public { state, coordinators: &names, truth: &truth, healing: self.healing };
        let asks = self.crowd.step(now, &public);
        let hands = self.crowd.hands();
        for hand in hands {
            self.hand(hand);
        }
        for ask in asks {
            self.ask(ask);
        }
        self.arm_people();
    }

    /// Wakes the people when they want to be.
    pub(crate) fn arm_people(&mut self) {
        let wake = self.crowd.wake_at().max(self.now() + 1);
        if wake < self.people_at {
            self.people_at = wake;
            self.queue.at(wake, Happening::People);
        }
    }

    fn hand(&mut self, hand: Hand) {
        match hand {
            Hand::SwitchOff(host) => self.power_off(&host),
            Hand::SwitchOn(host) => self.power_on(&host),
            Hand::NewDisk(host) => {
                if self.may_lose_its_disk(&host) {
                    self.reach("a person put a new disk in");
                    self.wipe(&host, 2_000);
                }
            }
        }
    }

    fn ask(&mut self, ask: people::Ask) {
        let to = ask.to.or_else(|| self.leader()).unwrap_or(1);
        let number = self.call(Asker::Person { token: ask.token }, people::PATIENCE_MS);
        self.note(|| format!("{} asks c{to}: {:?}", ask.who, ask.request));
        self.send_ask(to, number, ask.who, ask.request);
    }

    /// The answer to a person's request, or none in time.
    pub(crate) fn person_answered(&mut self, token: u64, number: u64, answer: Option<&[u8]>) {
        self.asks.remove(&number);
        let answer = answer.and_then(super::letters::read_answer);
        if Self::is_script(token) {
            self.posted.insert(token, answer);
            return;
        }
        let now = self.now();
        self.crowd.answered(now, token, answer);
        self.arm_people();
    }

    pub(crate) fn clients(&mut self) {
        if self.now() != self.clients_at {
            return;
        }
        self.clients_at = u64::MAX;
        let now = self.now();
        let mut map = newest(&self.coordinators, &self.without_disk);
        // R10, S10: while hosts are re-adopted, front ends keep the map that they have.
        if map.is_none_or(|state| state.restoring.is_some()) && self.map_kept.is_some() {
            map = self.map_kept.as_deref();
        }
        let asks = self.writers.step(now, &Routes(map));
        for ask in asks {
            self.client_asks(ask);
        }
        self.arm_clients();
    }

    /// Wakes the clients when they want to be.
    pub(crate) fn arm_clients(&mut self) {
        let wake = self.writers.wake_at().max(self.now() + 1);
        if wake < self.clients_at {
            self.clients_at = wake;
            self.queue.at(wake, Happening::Clients);
        }
    }

    fn client_asks(&mut self, ask: clients::ClientAsk) {
        let now = self.now();
        let number = self.call(Asker::Client { token: ask.token, slot: ask.slot.clone() }, clients::PATIENCE_MS);
        let (kind, bytes, sent) = match ask.what {
            ClientRequest::Append(mut append) => {
                let (store, id) = (append.store.clone(), append.id.clone());
                self.witness.saw(now, Seen::ClientSends { store: &store, id: &id, payload: &append.payload });
                // The bug that cannot be missed: what a client is told of is not what was written.
                if slot_planted::planted("canary") {
                    append.id.sequence += 1 << 40;
                }
                let bytes = wire::append_to(append, clients::PATIENCE_MS).encode_to_vec();
                (Kind::Append, bytes, Sent::Append { store, id })
            }
            ClientRequest::Read(read) => {
                let bytes = wire::read_to(&read).encode_to_vec();
                let sent = Sent::Read { store: read.store, epoch: read.epoch, begun_ms: now, stale: read.stale };
                (Kind::Read, bytes, sent)
            }
        };
        self.sent.insert(number, sent);
        self.send(Place::Outside, Node::Engine(ask.slot), kind, number, &bytes);
    }

    /// The answer to a client's request, or none in time.
    pub(crate) fn client_answered(&mut self, token: u64, number: u64, slot: &SlotId, answer: Option<(Kind, &[u8])>) {
        let now = self.now();
        let sent = self.sent.remove(&number);
        let reply = answer.and_then(|(kind, payload)| read_answer(kind, payload));
        match (&sent, &reply) {
            (Some(Sent::Append { store, id }), Some(journal::Reply::Append(journal::AppendOutcome::Done { .. }))) => {
                self.witness.saw(now, Seen::ClientAcked { store, id });
                self.digest(id.sequence);
            }
            (Some(Sent::Read { store, epoch, begun_ms, stale }), Some(journal::Reply::Read(outcome))) => {
                let seen = Seen::ClientRead { store, slot, epoch: *epoch, begun_ms: *begun_ms, stale: *stale, outcome };
                self.witness.saw(now, seen);
            }
            _ => {}
        }
        self.writers.answered(now, token, reply);
        self.arm_clients();
    }
}

fn read_answer(kind: Kind, payload: &[u8]) -> Option<journal::Reply> {
    match kind {
        Kind::AppendReply => {
            pb::AppendReply::decode(payload).ok().map(|reply| journal::Reply::Append(wire::outcome_from(reply)))
        }
        Kind::ReadReply => {
            let answer = wire::read_outcome_from(pb::JournalReadReply::decode(payload).ok()?).ok()?;
            Some(journal::Reply::Read(match answer {
                Ok((records, head)) => journal::ReadOutcome::Records {
                    from: records.first().map_or(head, |(index, _)| *index),
                    records: records.into_iter().map(|(_, record)| record).collect(),
                    head,
                },
                Err(refused) => journal::ReadOutcome::Refused(refused),
            }))
        }
        _ => None,
    }
}
