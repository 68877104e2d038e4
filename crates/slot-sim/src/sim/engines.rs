//! Engines: the journal's core, its files on a simulated disk, and what its process does around it.
//!
//! What always holds: operations of one request are carried out in order and stop at the first failure; two processes never
//! serve one slot: the second ends at once; a process that dies leaves its files to the next.

use super::wire::Asker;
use super::*;
use crate::check::Seen;
use prost::Message;
use slot_machine::state::State;
use slot_proto::pb;
use slot_types::cluster::CopyState;
use slot_types::codec;

/// An engine: its process, if it runs.
pub(crate) struct EngineProcess {
    pub(crate) core: Option<journal::JournalCore>,
    pub(crate) life: u32,
    pub(crate) instance: u64,
    pub(crate) serving: agent::Serving,
    /// Control calls under way, but for questions how it is.
    pub(crate) controls: BTreeSet<u64>,
    disk_free_at: u64,
}

impl Sim {
    pub(crate) fn folder_mut(&mut self, slot: &SlotId) -> Option<&mut Folder> {
        let serving = &self.engines.get(slot)?.serving;
        self.folders.get_mut(&(slot.clone(), serving.store.clone(), serving.generation))
    }

    /// The agent's shell makes the folder of a copy, if it is not there.
    pub(crate) fn made(&mut self, slot: SlotId, agent_life: u32, serving: agent::Serving) {
        let config = journal::Config::new(serving.store.clone(), slot.clone(), serving.generation);
        let key = (slot.clone(), serving.store, serving.generation);
        let is_dark = self.is_dark(&Place::Host(slot.host.clone()));
        if !is_dark && self.life(&Node::Agent(slot.host.clone())) == Some(agent_life) {
            self.folders.entry(key).or_insert_with(|| Folder::new(journal::fresh_files(&config)));
        }
        let event = agent::Event::Provisioned { slot: slot.number, result: Ok(()) };
        self.work(Node::Agent(slot.host), agent_life, Work::Agent(Box::new(event)));
    }

    /// The agent's shell removes the folder of a copy; a process that serves it is in the way.
    pub(crate) fn unmade(&mut self, slot: SlotId, agent_life: u32, serving: agent::Serving) {
        if self.is_dark(&Place::Host(slot.host.clone()))
            || self.life(&Node::Agent(slot.host.clone())) != Some(agent_life)
        {
            return;
        }
        let alive = self.engines.get(&slot).is_some_and(|e| e.core.is_some() && e.serving == serving);
        let kept = |state: &State| {
            let copy = state.cluster.as_ref()?.stores.get(&serving.store)?.copies.get(&slot)?;
            Some(copy.generation == serving.generation && copy.state != CopyState::Retired)
        };
        if self.state().and_then(kept) == Some(true) {
            self.finding("S10", format!("the agent of {slot} removes a copy of {} that nobody gave up", serving.store));
        }
        let result = if alive {
            self.finding("R11", format!("the agent of {slot} removes a copy under its engine"));
            Err("the slot's lock is taken".to_string())
        } else {
            self.folders.remove(&(slot.clone(), serving.store.clone(), serving.generation));
            self.damaged.remove(&slot);
            Ok(())
        };
        self.note(|| format!("copy {} {} on {slot} removed: {result:?}", serving.store, serving.generation));
        let event = agent::Event::Removed { slot: slot.number, result };
        self.work(Node::Agent(slot.host), agent_life, Work::Agent(Box::new(event)));
    }

    /// The agent's shell starts a process for a copy.
    pub(crate) fn spawn(&mut self, slot: SlotId, agent_life: u32, instance: u64, serving: agent::Serving) {
        let agent = Node::Agent(slot.host.clone());
        if self.life(&agent) != Some(agent_life) {
            return;
        }
        let result = if self.engines.get(&slot).is_some_and(|e| e.core.is_some()) {
            // The slot's lock protects; that it was tried is what must not be (R21, S6).
            self.finding("S6", format!("the agent of {slot} starts a process beside one that lives"));
            Err("the slot's address and lock are taken".to_string())
        } else {
            self.open_engine(&slot, instance, &serving)
        };
        self.note(|| format!("engine {slot} starts: {result:?}"));
        let delay = self.net.within(1, 10);
        let event = agent::Event::EngineLaunched { slot: slot.number, instance, result };
        self.queue.after(delay, Happening::Work(agent, agent_life, Work::Agent(Box::new(event))));
    }

    fn open_engine(&mut self, slot: &SlotId, instance: u64, serving: &agent::Serving) -> Result<(), String> {
        let now = self.now();
        let key = (slot.clone(), serving.store.clone(), serving.generation);
        let Some(folder) = self.folders.get_mut(&key) else { return Err("there is no such folder".into()) };
        folder.process_died();
        let files = folder.files();
        let config = journal::Config::new(serving.store.clone(), slot.clone(), serving.generation);
        let (core, effects) = match journal::JournalCore::open(config, files, now) {
            Ok(opened) => opened,
            Err(error) => {
                // P12: the copy stays away until it is made anew, which no plan of this version does.
                self.damaged.insert(slot.clone());
                return Err(error.to_string());
            }
        };
        self.damaged.remove(slot);
        self.witness.saw(now, Seen::EngineOpens { slot, core: &core, effects: &effects });
        let life = self.engines.get(slot).map_or(1, |n| n.life + 1);
        let node = EngineProcess {
            core: Some(core),
            life,
            instance,
            serving: serving.clone(),
            controls: BTreeSet::new(),
            disk_free_at: now,
        };
        self.engines.insert(slot.clone(), node);
        self.engine_effects(slot, effects.into());
        Ok(())
    }

    /// The agent's shell has sent SIGKILL and waited.
    pub(crate) fn killed(&mut self, slot: SlotId, agent_life: u32, instance: u64) {
        let agent = Node::Agent(slot.host.clone());
        if self.life(&agent) != Some(agent_life) {
            return;
        }
        let lives = self.engines.get(&slot).filter(|e| e.core.is_some()).map(|e| e.instance);
        self.note(|| format!("agent {} has killed instance {instance} of {slot}, where {lives:?} lives", slot.host));
        if lives == Some(instance) {
            self.reach("an engine was killed by its agent");
            self.engine_ends(&slot, false);
        }
        let event = agent::Event::Reaped { slot: slot.number, instance, result: Ok(()) };
        self.work(agent, agent_life, Work::Agent(Box::new(event)));
    }

    /// SIGKILL by somebody else; the machine stays up.
    pub(crate) fn kill_engine(&mut self, slot: &SlotId) {
        self.engine_ends(slot, true);
    }

    /// The process is gone; its agent sees so a little later, unless it has done it itself.
    pub(crate) fn engine_ends(&mut self, slot: &SlotId, is_seen: bool) {
        if let Some(folder) = self.folder_mut(slot) {
            folder.process_died();
        }
        let node = Node::Engine(slot.clone());
        if self.life(&node).is_none() {
            return;
        }
        self.paused.remove(&node);
        let Some(engine) = self.engines.get_mut(slot) else { return };
        engine.core = None;
        engine.life += 1;
        let instance = engine.instance;
        self.note(|| format!("engine {slot} is dead"));
        self.witness.saw(self.queue.now(), Seen::EngineGone { slot });
        if is_seen {
            let delay = self.net.within(1, 300);
            let event = agent::Event::EngineGone { slot: slot.number, instance };
            self.give(delay, Node::Agent(slot.host.clone()), Work::Agent(Box::new(event)));
        }
    }

    pub(crate) fn engine_step(&mut self, slot: &SlotId, event: journal::Event) {
        let now = self.now();
        let Some(engine) = self.engines.get_mut(slot) else { return };
        let Some(core) = engine.core.as_mut() else { return };
        if let journal::Event::Control { request, call, .. } = &event
            && !matches!(call, slot_types::engine::EngineCall::Status)
        {
            engine.controls.insert(*request);
        }
        self.witness.saw(now, Seen::EngineTakes { slot, event: &event });
        let under_way = core.verification_over().is_none();
        let effects = core.step(now, event);
        self.witness.saw(now, Seen::EngineDid { slot, core, effects: &effects });
        if under_way {
            self.saw_verification(slot);
        }
        self.engine_effects(slot, effects.into());
    }

    pub(crate) fn engine_effects(&mut self, slot: &SlotId, mut effects: VecDeque<journal::Effect>) {
        let node = Node::Engine(slot.clone());
        let Some(life) = self.life(&node) else { return };
        while let Some(effect) = effects.pop_front() {
            let goes_on = match &effect {
                journal::Effect::Milestone(name) => self.place(&node, "engine", name),
                journal::Effect::Reply { reply: journal::Reply::Control(answer), .. }
                    if !matches!(&answer.0, Ok(slot_types::engine::EngineDone::Status(_))) =>
                {
                    self.place(&node, "engine", "replies")
                }
                journal::Effect::Call { .. } if self.sweep.is_some() => self.place(&node, "engine", "asks-peer"),
                journal::Effect::Reply { reply: journal::Reply::Peer(_), .. } if self.sweep.is_some() => {
                    self.place(&node, "engine", "answers-peer")
                }
                _ => true,
            };
            if !goes_on {
                if self.life(&node) == Some(life)
                    && let Some(waiting) = self.paused.get_mut(&node)
                {
                    effects.push_front(effect);
                    waiting.push_front(Work::EngineRest(effects));
                }
                return;
            }
            self.engine_effect(slot, life, effect);
            if self.life(&node) != Some(life) {
                return;
            }
        }
    }

    fn engine_effect(&mut self, slot: &SlotId, life: u32, effect: journal::Effect) {
        use journal::Effect;
        match effect {
            Effect::Disk { op, ops } => {
                let (delay, now) = (self.disk_ms(&Node::Engine(slot.clone())), self.now());
                let Some(engine) = self.engines.get_mut(slot) else { return };
                engine.disk_free_at = engine.disk_free_at.max(now) + delay;
                let wait = engine.disk_free_at - now;
                self.give(wait, Node::Engine(slot.clone()), Work::EngineDisk { op, ops });
            }
            Effect::ReadDisk { op, pieces } => {
                let delay = self.disk_ms(&Node::Engine(slot.clone()));
                self.give(delay, Node::Engine(slot.clone()), Work::EngineRead { op, pieces });
            }
            Effect::Reply { request, reply } => self.engine_replied(slot, request, reply),
            Effect::Call { call, to, request, budget_ms } => {
                let asker = Asker::Engine { slot: slot.clone(), life, call };
                let number = self.call(asker, budget_ms + 20);
                let bytes = pb::EnginePeerRequest { call: codec::encode(&request) }.encode_to_vec();
                self.send(Place::Host(slot.host.clone()), Node::Engine(to.slot), Kind::Peer, number, &bytes);
            }
            Effect::Arm { at_ms } => {
                let wake = Work::Engine(Box::new(journal::Event::Wake));
                self.queue.at(at_ms, Happening::Work(Node::Engine(slot.clone()), life, wake));
            }
            Effect::Milestone(_) => {}
            Effect::Exit => self.engine_ends(slot, true),
            Effect::Die { reason } => {
                self.note(|| format!("engine {slot} ends itself: {reason}"));
                self.reach("P11: an engine ended itself on a disk error");
                self.engine_ends(slot, true);
                let lost = self.folder_mut(slot).is_some_and(|f| f.has_lost_pages());
                if let Some(folder) = self.folder_mut(slot) {
                    folder.disarm();
                }
                if lost {
                    // After EIO the page cache says more than the disk holds: the machine is booted anew (P11).
                    let down = self.dice.within(500, 4_000);
                    self.power_fails(&slot.host.clone(), down);
                }
            }
        }
    }

    pub(crate) fn engine_read(&mut self, slot: &SlotId, op: u64, pieces: &[journal::DiskPiece]) {
        let Some(folder) = self.folder_mut(slot) else { return };
        let pieces = folder.read(pieces);
        self.engine_step(slot, journal::Event::DiskRead { op, pieces });
    }

    pub(crate) fn engine_disk(&mut self, slot: &SlotId, op: u64, ops: &[journal::DiskOp]) {
        let Some(folder) = self.folder_mut(slot) else { return };
        let mut result = Ok(());
        for one in ops {
            result = folder.try_carry_out(one).map_err(|e| e.to_string());
            if result.is_err() {
                break;
            }
        }
        let (crashed, power_lost) = (folder.crashed(), folder.power_lost());
        if crashed {
            self.reach("an engine died inside a disk operation");
            self.saw_disk(&Node::Engine(slot.clone()));
            self.engine_ends(slot, true);
            if power_lost {
                let down = self.dice.within(1_000, 8_000);
                self.power_fails(&slot.host, down);
            }
            return;
        }
        if result.is_err() {
            self.saw_disk(&Node::Engine(slot.clone()));
        }
        self.engine_step(slot, journal::Event::DiskDone { op, result });
    }

    fn engine_replied(&mut self, slot: &SlotId, request: u64, reply: journal::Reply) {
        let from = Place::Host(slot.host.clone());
        match reply {
            journal::Reply::Control(answer) => {
                if let Some(engine) = self.engines.get_mut(slot) {
                    engine.controls.remove(&request);
                }
                let bytes = pb::EngineControlReply { answer: codec::encode(&answer) }.encode_to_vec();
                self.answer(from, Kind::ControlReply, request, &bytes);
            }
            journal::Reply::Peer(answer) => {
                let bytes = pb::EnginePeerReply { answer: codec::encode(&answer) }.encode_to_vec();
                self.answer(from, Kind::PeerReply, request, &bytes);
            }
            journal::Reply::Append(outcome) => {
                self.witness.lookout().append_answered(slot, request);
                let bytes = slot_engine::journal::wire::outcome_to(outcome).encode_to_vec();
                self.answer(from, Kind::AppendReply, request, &bytes);
            }
            journal::Reply::Read(outcome) => {
                let bytes = slot_engine::journal::wire::read_outcome_to(outcome).encode_to_vec();
                self.answer(from, Kind::ReadReply, request, &bytes);
            }
        }
    }
}
