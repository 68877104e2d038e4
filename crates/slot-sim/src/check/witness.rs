//! The witness: told everything, it hands each observation to the checkers it concerns.
//!
//! What always holds: observations come in the order of what happened; what a process wants done is told when it wants it
//! (its step's effects, all of them, whether or not they are carried out later), what a disk has done is told when it has
//! done it and before the process hears of it.

use super::Found;
use super::acks::Acks;
use super::commits::Commits;
use super::control::Control;
use super::engines::Engines;
use super::front_ends::FrontEnds;
use super::ledgers::{Fact, Ledgers};
use super::looks::Looks;
use super::raft::Raft;
use slot_agent::core as agent;
use slot_agent::core::image::{LedgerImage, LedgerWrite};
use slot_coordinator::core as coordinator;
use slot_engine::journal::core as journal;
use slot_engine::journal::core::JournalCore;
use slot_machine::join::Guest;
use slot_machine::state::State;
use slot_raft::{PersistBatch, Restored};
use slot_types::ids::*;
use slot_types::probe::{LookAt, Sights};
use std::collections::{BTreeMap, BTreeSet};

/// Something that must never be, and was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The invariant or rule.
    pub invariant: &'static str,
    /// When, in milliseconds of the world.
    pub at_ms: u64,
    /// What was seen.
    pub text: String,
}

/// What the world tells the witness.
#[derive(Clone, Copy)]
pub enum Seen<'a> {
    /// A client sends a record, for the first time or again: what it truly sent, before any damage on the way.
    ClientSends {
        /// The store of its route.
        store: &'a StoreName,
        /// The record's id.
        id: &'a RecordId,
        /// Its data.
        payload: &'a [u8],
    },
    /// A client took an answer as the acknowledgement of its record.
    ClientAcked {
        /// The store.
        store: &'a StoreName,
        /// The record's id.
        id: &'a RecordId,
    },
    /// A client's read was answered; `begun_ms` is when it was sent.
    ClientRead {
        /// The store.
        store: &'a StoreName,
        /// Who answered.
        slot: &'a SlotId,
        /// The epoch of the client's route.
        epoch: Epoch,
        /// When it was sent.
        begun_ms: u64,
        /// Asked for as stale.
        stale: bool,
        /// The answer.
        outcome: &'a journal::ReadOutcome,
    },
    /// An engine's process has opened its folder. After `JournalCore::open`, before its effects are carried out.
    EngineOpens {
        /// Where.
        slot: &'a SlotId,
        /// The core.
        core: &'a JournalCore,
        /// What it wants done.
        effects: &'a [journal::Effect],
    },
    /// An engine is about to take an event.
    EngineTakes {
        /// Where.
        slot: &'a SlotId,
        /// What.
        event: &'a journal::Event,
    },
    /// An engine has taken it.
    EngineDid {
        /// Where.
        slot: &'a SlotId,
        /// The core.
        core: &'a JournalCore,
        /// What it wants done.
        effects: &'a [journal::Effect],
    },
    /// An engine's process is dead, however it died.
    EngineGone {
        /// Where.
        slot: &'a SlotId,
    },
    /// An agent's process has opened its ledger. After `AgentCore::open`, before its effects are told (`AgentDid`).
    AgentOpens {
        /// Whose.
        host: &'a HostName,
        /// This boot.
        boot: BootId,
        /// The ledger as it was read.
        image: &'a LedgerImage,
    },
    /// An agent is about to take an event.
    AgentTakes {
        /// Whose.
        host: &'a HostName,
        /// What.
        event: &'a agent::Event,
    },
    /// An agent wants things done.
    AgentDid {
        /// Whose.
        host: &'a HostName,
        /// What.
        effects: &'a [agent::Effect],
    },
    /// A transaction of an agent's ledger is on its disk; told before the agent hears of it, and also when it is dead.
    LedgerDurable {
        /// Whose.
        host: &'a HostName,
        /// What was written.
        writes: &'a [LedgerWrite],
    },
    /// A coordinator's process has loaded its disk, before the core's first step.
    CoordinatorOpens {
        /// Which.
        node: u64,
        /// Its disk's incarnation.
        incarnation: [u8; 16],
        /// What the disk held.
        restored: &'a Restored,
    },
    /// A coordinator is about to take an event.
    CoordinatorTakes {
        /// Which.
        node: u64,
        /// What.
        event: &'a coordinator::Event,
    },
    /// A coordinator has taken it.
    CoordinatorDid {
        /// Which.
        node: u64,
        /// Its state.
        state: &'a State,
        /// What it wants done.
        effects: &'a [coordinator::Effect],
    },
    /// A batch is on a coordinator's disk; told before the coordinator hears of it.
    BatchDurable {
        /// Which.
        node: u64,
        /// What was written, merged batches included.
        batch: &'a PersistBatch,
    },
    /// A coordinator's process is dead: what it asked its disk for and was not told durable may be lost.
    CoordinatorGone {
        /// Which.
        node: u64,
    },
    /// A host has power, in this boot.
    HostOn {
        /// Which.
        host: &'a HostName,
        /// The boot.
        boot: BootId,
    },
    /// A host has no power.
    HostOff {
        /// Which.
        host: &'a HostName,
    },
    /// A host's ledger or folders were wiped, put back from a backup, or damaged: what was durable there is not any more.
    HostDiskTouched {
        /// Which.
        host: &'a HostName,
    },
    /// A coordinator's disk was wiped, put back or damaged.
    CoordinatorDiskTouched {
        /// Which.
        node: u64,
    },
    /// The coordinators' disks are lost, and these nodes' new ones were written from a backup; before they start (R10).
    Restored {
        /// Which.
        nodes: &'a [u64],
        /// What their disks hold.
        state: &'a State,
    },
    /// A coordinator has signed a certificate for a host that joins.
    Certified {
        /// Whose, for which key, with which token.
        guest: &'a Guest,
    },
    /// A front end's proxy has read a map: from now on clients are sent where it says.
    FrontEndLoads {
        /// Whose.
        name: &'a FrontEndName,
        /// Which.
        map: &'a MapName,
        /// Of which table it was made.
        age: (u32, Revision),
        /// Of which stores it holds new connections, where the map tells.
        moving: Option<&'a BTreeSet<StoreName>>,
    },
    /// A front end answers a coordinator.
    FrontEndSays {
        /// Which.
        name: &'a FrontEndName,
        /// The table that it says it serves.
        acknowledged: Option<(u32, Revision)>,
    },
    /// A front end's process starts, or ends.
    FrontEndRuns {
        /// Which.
        name: &'a FrontEndName,
        /// It starts.
        starts: bool,
    },
    /// A front end's disk is empty.
    FrontEndWiped {
        /// Which.
        name: &'a FrontEndName,
    },
    /// A process of a host proves to another host's agent who it is, in answer to a probe.
    Proves {
        /// Who probes.
        by: &'a HostName,
        /// Whose process.
        host: &'a HostName,
        /// The engine's slot; `None` for the agent.
        slot: Option<u16>,
    },
    /// An agent answers what it saw.
    AgentSaw {
        /// Which.
        by: &'a HostName,
        /// When it was asked.
        begun_ms: u64,
        /// What for.
        looks: &'a [LookAt],
        /// What it says.
        sights: &'a Sights,
    },
    /// A person attested a host off that was on, in a way that no rule can find out: S1's model ends there.
    AttestedWrongly {
        /// Which.
        host: &'a HostName,
    },
}

/// What the world shows at the end of a run.
pub struct End<'a> {
    /// The newest state of a live coordinator.
    pub state: Option<&'a State>,
    /// All live coordinators' states.
    pub nodes: &'a [(u64, &'a State)],
    /// All engines that run.
    pub engines: &'a [(&'a SlotId, &'a JournalCore)],
    /// When and how everything was healed, if it was: then L1–L3 are looked at.
    pub heal: Option<super::Heal>,
}

/// See the module's documentation.
pub struct Witness {
    pub(super) found: Found,
    pub(super) raft: Raft,
    pub(super) commits: Commits,
    pub(super) control: Control,
    pub(super) ledgers: Ledgers,
    pub(super) engines: Engines,
    pub(super) acks: Acks,
    front_ends: FrontEnds,
    looks: Looks,
    /// When a host's disk was last touched.
    pub(super) touched: BTreeMap<HostName, u64>,
}

impl Witness {
    /// A witness of a cluster with so many voting coordinators.
    pub fn new(voters: usize) -> Self {
        Self {
            found: Found::default(),
            raft: Raft::new(voters),
            commits: Commits::default(),
            control: Control::default(),
            ledgers: Ledgers::default(),
            engines: Engines::default(),
            acks: Acks::default(),
            front_ends: FrontEnds::default(),
            looks: Looks::default(),
            touched: BTreeMap::new(),
        }
    }

    /// The state after every committed entry that was followed.
    pub(crate) fn state(&self) -> &State {
        self.commits.followed()
    }

    /// Who counts the dangerous states among committed entries, if anybody does.
    pub(crate) fn looks(&mut self) -> &mut Option<crate::reach::Commits> {
        &mut self.commits.looks
    }

    /// Dangerous states of restores that were seen.
    pub(crate) fn restores_seen(&self) -> impl Iterator<Item = &'static str> {
        self.commits.restores.seen.iter().copied()
    }

    /// What was found so far, earliest first.
    pub fn violations(&self) -> &[Violation] {
        &self.found.list
    }

    /// Every how many applied entries whole states are hashed and compared (S14); 8 unless set.
    pub fn hash_every(&mut self, entries: u64) {
        self.commits.hash_every = entries.max(1);
    }

    /// A front end is slow, stands still or fails: what it holds is looked at from now on.
    pub fn front_end_disturbed(&mut self, name: &FrontEndName, now: u64) {
        self.front_ends.disturbed(name, now);
    }

    /// Agents probe in this world.
    pub fn probes(&mut self) {
        self.looks.on = true;
    }

    /// How many acknowledgements engines gave, whether or not a client heard of them.
    pub fn acknowledged(&self) -> u64 {
        self.acks.count
    }

    /// Takes one observation.
    pub fn saw(&mut self, now: u64, seen: Seen<'_>) {
        self.found.now = now;
        let limit = self.commits.followed().cluster.as_ref().map_or(0, |cluster| cluster.policy.freeze_limit_ms);
        self.front_ends.hold_no_longer(&mut self.found, limit);
        match seen {
            Seen::ClientSends { store, id, payload } => self.engines.sent(store, id, payload),
            Seen::ClientAcked { store, id } => self.client_acked(store, id),
            Seen::ClientRead { store, slot, epoch, begun_ms, stale, outcome } => {
                if let (false, journal::ReadOutcome::Records { .. }) = (stale, outcome) {
                    self.client_read(store, slot, epoch, begun_ms);
                }
            }
            Seen::EngineOpens { slot, core, effects } => self.engine_opens(slot, core, effects),
            Seen::EngineTakes { slot, event } => self.engines.takes(now, slot, event),
            Seen::EngineDid { slot, core, effects } => self.engine_did(slot, core, effects),
            Seen::EngineGone { slot } => self.engines.gone(slot),
            Seen::AgentOpens { host, boot, image } => self.ledgers.opens(&mut self.found, host, boot, image),
            Seen::AgentTakes { host, event } => {
                if let agent::Event::Deliver { bytes, .. } = event {
                    self.ledgers.delivered(host, bytes);
                }
                if let agent::Event::ByHand { by_hand, .. } = event {
                    self.ledgers.asked_by_hand(host, by_hand);
                }
                if let agent::Event::EngineAnswer { call, .. } = event {
                    self.ledgers.call_over(host, *call);
                }
            }
            Seen::AgentDid { host, effects } => self.ledgers.did(&mut self.found, host, effects),
            Seen::LedgerDurable { host, writes } => self.ledger_durable(now, host, writes),
            Seen::CoordinatorOpens { node, incarnation, restored } => {
                self.raft.opens(&mut self.found, node, incarnation, restored);
                self.control.forget(node);
            }
            Seen::CoordinatorTakes { node, event } => {
                self.looks.takes(now, node, event);
                if let coordinator::Event::Request { token, request, .. } = event {
                    self.control.asked(node, *token, request, self.commits.revision());
                }
                if let coordinator::Event::Join { token, .. } = event {
                    self.control.joins(node, *token, self.commits.revision());
                }
            }
            Seen::CoordinatorDid { node, state, effects } => self.coordinator_did(node, state, effects),
            Seen::BatchDurable { node, batch } => self.raft.durable(node, batch),
            Seen::CoordinatorGone { node } => {
                self.control.forget(node);
                self.looks.gone(node);
            }
            Seen::HostOn { host, boot } => self.ledgers.powered(host, Some(boot)),
            Seen::HostOff { host } => self.ledgers.powered(host, None),
            Seen::HostDiskTouched { host } => {
                self.touched.insert(host.clone(), now);
                self.ledgers.touched(host);
                self.engines.touched(host);
                self.commits.touched(host);
            }
            Seen::CoordinatorDiskTouched { node } => self.raft.touched(node),
            Seen::Restored { nodes, state } => {
                self.raft.restored(nodes, state.applied.0);
                self.commits.restored(&mut self.found, state);
                self.control.restored();
                self.looks.restored();
            }
            Seen::FrontEndLoads { name, map, age, moving } => {
                self.front_ends.loads(&mut self.found, name, map, age, moving);
            }
            Seen::Certified { guest } => self.commits.joins.certified(&mut self.found, guest),
            Seen::FrontEndSays { name, acknowledged } => self.front_ends.says(&mut self.found, name, acknowledged),
            Seen::Proves { by, host, slot } => self.looks.proves(now, by, host, slot),
            Seen::AgentSaw { by, begun_ms, looks, sights } => {
                self.looks.saw(&mut self.found, by, begun_ms, looks, sights);
            }
            Seen::FrontEndRuns { name, starts } => self.front_ends.runs(name, starts, now),
            Seen::FrontEndWiped { name } => self.front_ends.wiped(name),
            Seen::AttestedWrongly { host } => {
                self.acks.attested_wrongly.insert(host.clone());
            }
        }
    }

    fn ledger_durable(&mut self, now: u64, host: &HostName, writes: &[LedgerWrite]) {
        for fact in self.ledgers.durable(&mut self.found, host, writes) {
            match fact {
                Fact::Frozen(slot, freeze) => self.engines.frozen(now, &slot, freeze),
                Fact::Serves(slot, copy) => self.engines.serves(&mut self.found, &slot, &copy),
                Fact::Fenced(slot, copy, epoch) => self.engines.fenced(&mut self.found, &slot, &copy, epoch),
            }
        }
    }

    fn coordinator_did(&mut self, node: u64, state: &State, effects: &[coordinator::Effect]) {
        use coordinator::Effect;
        for effect in effects {
            if let Effect::Persist(batch) = effect {
                self.raft.asked(&mut self.found, node, batch, state.applied.0);
            }
        }
        let installed = self.raft.applied(&mut self.found, node, state.applied.0);
        while let Some((index, term, bytes)) = self.raft.next_committed(self.commits.applied()) {
            let (ledgers, engines, front_ends) = (&self.ledgers, &self.engines, &self.front_ends);
            let facts = super::commits::Facts { ledgers, engines, front_ends };
            self.commits.entry(&mut self.found, facts, index, term, &bytes);
            self.looks.entry(&mut self.found, &self.raft, self.commits.followed(), index, term, &bytes);
        }
        self.commits.compare(&mut self.found, node, state, installed);
        self.looks.did(&mut self.found, node, state, effects);
        for effect in effects {
            match effect {
                Effect::Send { message, .. } => self.raft.sends(&mut self.found, node, message),
                Effect::Reply { token, reply } => {
                    self.control.replied(&mut self.found, &self.commits, (node, *token), state.revision, reply);
                }
                Effect::Deliver { host, order, .. } => {
                    let emitted = self.ledgers.emitted(&mut self.found, &self.commits, host, order);
                    let Some(order) = emitted else { continue };
                    self.raft.delivers(&mut self.found, node, &order);
                }
                Effect::WatchAgents { term, agents } if !agents.is_empty() => {
                    self.raft.leads(&mut self.found, node, term.0);
                }
                _ => {}
            }
        }
    }

    /// End-of-run checks: nothing is told after this.
    pub fn finish(&mut self, end: End<'_>) {
        super::end::finish(self, &end);
    }
}
