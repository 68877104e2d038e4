//! The whole cluster: coordinators, agents, engines, disks, network, people and clients around one queue.
//!
//! What always holds: the cores are the product's own, fed with the product's own bytes; whatever a process asks for takes
//! time drawn from the seed; nothing a dead process had asked for reaches its successor, except messages that were already
//! under way. Each happening is followed by the checkers. Strings are made only for a trace, a trap or a sweep.

mod actors;
mod agents;
mod coordinators;
mod decode;
mod device;
pub mod directed;
mod engines;
mod front_ends;
mod hand;
mod hosts;
mod joins;
mod letters;
mod looks;
mod nemesis;
pub(crate) mod play;
mod restore;
mod script;
mod sweeping;
mod watch;
mod wire;

pub use self::decode::decode;
pub use self::hosts::fleet_of;
pub use self::sweeping::places_of;
pub use self::wire::Kind;

use self::agents::AgentMachine;
use self::coordinators::Coordinator;
use self::engines::EngineProcess;
use self::front_ends::FrontEndMachine;
use self::wire::{Asker, Frame};
use crate::clients::Writers;
use crate::disk::Folder;
use crate::faults::{FaultClass, Injected, Injection, Node, Swarm, Trigger};
use crate::people::Crowd;
use crate::queue::{Queue, Stream};
use crate::reach::Watched;
use slot_agent::core as agent;
use slot_agent::core::image::LedgerWrite;
use slot_coordinator::core as coordinator;
use slot_engine::journal::core as journal;
use slot_types::ids::*;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A run that has more events than this goes round somewhere: the longest known has a tenth of it.
const EVENTS_MAX: u64 = 20_000_000;

/// What a process does next.
pub(crate) enum Work {
    Coordinator(Box<coordinator::Event>),
    CoordinatorRest(VecDeque<coordinator::Effect>),
    CoordinatorDisk,
    Agent(Box<agent::Event>),
    /// An agent is asked to look around.
    Look {
        number: u64,
        payload: Vec<u8>,
    },
    /// Something came of what it tried.
    Looked(Box<slot_agent::core_looks::Event>),
    /// It is to be proven who this is.
    Prove {
        number: u64,
    },
    AgentRest(VecDeque<agent::Effect>),
    AgentDisk {
        op: u64,
        writes: Vec<LedgerWrite>,
    },
    Engine(Box<journal::Event>),
    EngineRest(VecDeque<journal::Effect>),
    EngineDisk {
        op: u64,
        ops: Vec<journal::DiskOp>,
    },
    EngineRead {
        op: u64,
        pieces: Vec<journal::DiskPiece>,
    },
    FrontEnd(Box<slot_agent::front_end::core::Event>),
    FrontEndRest(VecDeque<slot_agent::front_end::core::Effect>),
    FrontEndDeed,
    FrontEndDid(Result<bool, String>),
}

/// What is in the queue.
pub(crate) enum Happening {
    /// A process has something to do, if it still lives that life.
    Work(Node, u32, Work),
    /// A frame arrives.
    Frame(Box<Frame>),
    /// Nobody waits for this call's answer any longer.
    CallOver(u64),
    /// An agent's shell starts an engine's process, if the agent still lives.
    Spawn { slot: SlotId, agent_life: u32, instance: u64, serving: agent::Serving },
    /// An agent's shell has killed an engine's process.
    Killed { slot: SlotId, agent_life: u32, instance: u64 },
    /// An agent's shell has made a folder.
    Made { slot: SlotId, agent_life: u32, serving: agent::Serving },
    /// The agent's shell removes the folder of a copy.
    Unmade { slot: SlotId, agent_life: u32, serving: agent::Serving },
    /// A process that was down starts again.
    Start(Node),
    /// A process that was stopped goes on.
    Resume(Node),
    /// A host has power again.
    PowerOn(HostName),
    /// A host's device has done what it was asked, or not.
    Device { asked: device::Asked, of: HostName, deed: device::Deed },
    /// A cut is mended.
    Mend(Place, Place),
    /// The next injection is to be drawn.
    Nemesis,
    /// Somebody passes by a machine (R19).
    AtTheMachine,
    /// A host that joins asks once more.
    Join(u64),
    /// Something may go wrong with a front end.
    FrontEnds,
    /// People look.
    People,
    /// Clients go on.
    Clients,
}

/// A machine, or the people's and clients' one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    Coordinator(u64),
    Host(HostName),
    FrontEnd(FrontEndName),
    Outside,
}

/// Payloads that travelled, by kind.
type Payloads = BTreeMap<Kind, Vec<Vec<u8>>>;

/// Everything. See the module's documentation.
pub struct Sim {
    /// The seed's choice.
    pub swarm: Swarm,
    /// What went wrong so far.
    pub injected: Injected,
    /// Who sees whether what must hold does.
    pub witness: Watched,
    /// The people.
    pub crowd: Crowd,
    /// The clients.
    pub writers: Writers,
    /// How often each dangerous state was met.
    pub reached: BTreeMap<&'static str, u64>,
    /// One line per event, if asked for.
    pub trace: Option<Vec<String>>,
    /// Everything goes well from now on.
    pub healing: bool,
    queue: Queue<Happening>,
    net: Stream,
    disk: Stream,
    dice: Stream,
    tokens: Stream,
    devices: Stream,
    hands: Stream,
    doors: Stream,
    arrivals: Stream,
    probes: Stream,
    /// How long the planner takes.
    studies: Stream,
    /// Rounds of looks that coordinators wait for.
    rounds: BTreeMap<u64, looks::Round>,
    joiners: BTreeMap<u64, joins::Joiner>,
    cluster: ClusterId,
    coordinators: BTreeMap<u64, Coordinator>,
    agents: BTreeMap<HostName, AgentMachine>,
    front_ends: BTreeMap<FrontEndName, FrontEndMachine>,
    engines: BTreeMap<SlotId, EngineProcess>,
    /// Copies that their engines refuse to open.
    damaged: BTreeSet<SlotId>,
    folders: BTreeMap<(SlotId, StoreName, CopyGeneration), Folder>,
    calls: BTreeMap<u64, Asker>,
    last_number: u64,
    cuts: BTreeMap<(Place, Place), u64>,
    paused: BTreeMap<Node, VecDeque<Work>>,
    slow: BTreeMap<Node, u64>,
    /// What is wrong with whose disk, until it shows itself.
    armed: BTreeMap<Node, crate::faults::DiskTrouble>,
    triggers: Vec<Trigger>,
    /// Places passed, while somebody counts them, and what happens there.
    sweep: Option<Box<sweeping::Sweep>>,
    /// What a trap does to the message about to be sent.
    fate: Option<Injection>,
    /// Coordinators that have lost their disk.
    without_disk: BTreeSet<u64>,
    /// The last map of the front ends before the coordinators were lost (S10).
    map_kept: Option<Box<slot_machine::state::State>>,
    /// Who asks, as the certificate of the call's connection says, until it is answered.
    asks: BTreeMap<u64, OperatorName>,
    sent: BTreeMap<u64, actors::Sent>,
    /// What scripts were answered.
    posted: BTreeMap<u64, Option<Result<coordinator::Reply, coordinator::Failure>>>,
    /// What the world itself found.
    pub found: Vec<crate::check::Violation>,
    /// Payloads that travelled, for tests: at most so many of each kind.
    kept: Option<(usize, Payloads)>,
    leaders: u64,
    steps_seen: u64,
    hash: u64,
    events: u64,
    /// How long everything stood still in all: nothing was simulated then.
    stood_still: u64,
    people_at: u64,
    clients_at: u64,
}

fn mix(hash: u64, value: u64) -> u64 {
    (hash ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29)
}

impl Sim {
    /// The time, in milliseconds since the world began.
    pub fn now(&self) -> u64 {
        self.queue.now()
    }

    /// How many events there were.
    pub fn events(&self) -> u64 {
        self.events
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    /// Counts a dangerous state (the `sometimes` of a campaign).
    pub(crate) fn reach(&mut self, name: &'static str) {
        *self.reached.entry(name).or_default() += 1;
    }

    /// A line of the trace; the text is made only when somebody reads it.
    pub(crate) fn note(&mut self, text: impl FnOnce() -> String) {
        let now = self.now();
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{now:>8} {}", text()));
        }
    }

    /// For whoever reads the trace of a seed that never became well: plans and stores that are not as they should be.
    pub(crate) fn note_what_hangs(&mut self) {
        let Some(state) = self.state() else { return };
        let mut lines = Vec::new();
        for record in state.running() {
            lines.push(format!("{} ({}) is {}", record.id, record.plan.intent, record.status));
            for run in &record.tasks {
                lines.push(format!("  {:?}, steps {:?}", run.state, run.steps));
            }
        }
        for (name, store) in state.cluster.iter().flat_map(|cluster| &cluster.stores) {
            lines.push(format!("{name} at {}: master {:?}, pending {:?}", store.epoch, store.master, store.pending));
            lines.push(format!("  {:?}, possible masters {:?}", store.copies, store.possible_masters));
        }
        lines.into_iter().for_each(|line| self.note(|| format!("hangs: {line}")));
    }

    pub(crate) fn digest(&mut self, value: u64) {
        self.hash = mix(self.hash, value);
    }

    /// Runs until a condition holds or the time is over; says which.
    pub fn run_until(&mut self, limit_ms: u64, mut done: impl FnMut(&Sim) -> bool) -> bool {
        let end = self.now() + limit_ms;
        loop {
            if done(self) {
                return true;
            }
            if self.now() > end || self.is_violated() {
                return false;
            }
            if self.events > EVENTS_MAX {
                self.finding("L1", format!("{EVENTS_MAX} events, and no end: something goes round"));
                return false;
            }
            let Some(next) = self.queue.pop() else { return false };
            self.happen(next);
        }
    }

    /// Whether something was seen that must not be.
    pub fn is_violated(&self) -> bool {
        !self.witness.violations().is_empty() || !self.found.is_empty()
    }

    /// Runs for so long.
    pub fn run_for(&mut self, ms: u64) {
        self.run_until(ms, |_| false);
    }

    fn happen(&mut self, happening: Happening) {
        self.events += 1;
        self.digest(self.queue.now());
        match happening {
            Happening::Work(node, life, work) => self.work(node, life, work),
            Happening::Frame(frame) => self.arrive(*frame),
            Happening::CallOver(number) => self.call_over(number),
            Happening::Spawn { slot, agent_life, instance, serving } => self.spawn(slot, agent_life, instance, serving),
            Happening::Killed { slot, agent_life, instance } => self.killed(slot, agent_life, instance),
            Happening::Made { slot, agent_life, serving } => self.made(slot, agent_life, serving),
            Happening::Unmade { slot, agent_life, serving } => self.unmade(slot, agent_life, serving),
            Happening::Start(node) => self.start(&node),
            Happening::Resume(node) => self.resume(&node),
            Happening::PowerOn(host) => self.power_on(&host),
            Happening::Device { asked, of, deed } => self.device(asked, &of, deed),
            Happening::Mend(from, to) => self.mend(&from, &to),
            Happening::Nemesis => self.nemesis(),
            Happening::AtTheMachine => self.at_the_machine(),
            Happening::Join(joiner) => self.joins_again(joiner),
            Happening::FrontEnds => self.front_ends_suffer(),
            Happening::People => self.people(),
            Happening::Clients => self.clients(),
        }
        self.after_event();
    }

    /// The life of a process, if it runs.
    pub(crate) fn life(&self, node: &Node) -> Option<u32> {
        match node {
            Node::Coordinator(id) => self.coordinators.get(id).filter(|n| n.core.is_some()).map(|n| n.life),
            Node::Agent(host) => self.agents.get(host).filter(|n| n.core.is_some()).map(|n| n.life),
            Node::Engine(slot) => self.engines.get(slot).filter(|n| n.core.is_some()).map(|n| n.life),
            Node::FrontEnd(name) => self.front_ends.get(name).and_then(FrontEndMachine::life),
        }
    }

    /// Gives a process something to do after a delay.
    pub(crate) fn give(&mut self, delay: u64, node: Node, work: Work) {
        if let Some(life) = self.life(&node) {
            self.queue.after(delay, Happening::Work(node, life, work));
        }
    }

    pub(crate) fn work(&mut self, node: Node, life: u32, work: Work) {
        if self.life(&node) != Some(life) {
            return;
        }
        if let Some(waiting) = self.paused.get_mut(&node) {
            return waiting.push_back(work);
        }
        match (node, work) {
            (Node::Coordinator(id), Work::Coordinator(event)) => self.coordinator_step(id, *event),
            (Node::Coordinator(id), Work::CoordinatorRest(rest)) => self.coordinator_effects(id, rest),
            (Node::Coordinator(id), Work::CoordinatorDisk) => self.coordinator_disk(id),
            (Node::Agent(host), Work::Agent(event)) => self.agent_step(&host, *event),
            (Node::Agent(host), Work::Look { number, payload }) => self.agent_is_asked(&host, number, &payload),
            (Node::Agent(host), Work::Looked(event)) => self.look_step(&host, *event),
            (node @ (Node::Agent(_) | Node::Engine(_)), Work::Prove { number }) => self.prove(&node, number),
            (Node::Agent(host), Work::AgentRest(rest)) => self.agent_effects(&host, rest),
            (Node::Agent(host), Work::AgentDisk { op, writes }) => self.agent_disk(&host, op, &writes),
            (Node::Engine(slot), Work::Engine(event)) => self.engine_step(&slot, *event),
            (Node::Engine(slot), Work::EngineRest(rest)) => self.engine_effects(&slot, rest),
            (Node::Engine(slot), Work::EngineDisk { op, ops }) => self.engine_disk(&slot, op, &ops),
            (Node::Engine(slot), Work::EngineRead { op, pieces }) => self.engine_read(&slot, op, &pieces),
            (Node::FrontEnd(name), Work::FrontEnd(event)) => self.front_end_step(&name, *event),
            (Node::FrontEnd(name), Work::FrontEndRest(rest)) => self.front_end_effects(&name, rest),
            (Node::FrontEnd(name), Work::FrontEndDeed) => self.front_end_deed(&name),
            (Node::FrontEnd(name), Work::FrontEndDid(result)) => self.front_end_did(&name, result),
            _ => {}
        }
    }

    fn start(&mut self, node: &Node) {
        match node {
            Node::Coordinator(id) => self.start_coordinator(*id),
            Node::Agent(host) => self.start_agent(host),
            Node::Engine(_) => {}
            Node::FrontEnd(name) => self.start_front_end(name),
        }
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self, node: &Node) {
        match node {
            Node::Coordinator(id) => self.kill_coordinator(*id),
            Node::Agent(host) => self.kill_agent(host),
            Node::Engine(slot) => self.kill_engine(slot),
            Node::FrontEnd(name) => self.kill_front_end(name),
        }
    }

    /// SIGSTOP: the process does nothing until it goes on; what comes for it waits.
    pub(crate) fn pause(&mut self, node: &Node, ms: u64) {
        if self.life(node).is_some() && !self.paused.contains_key(node) {
            self.note(|| format!("{node} stops for {ms} ms"));
            self.saw_pause(node, ms);
            self.paused.insert(node.clone(), VecDeque::new());
            self.queue.after(ms, Happening::Resume(node.clone()));
        }
    }

    /// SIGCONT: what waited happens now, in order.
    pub(crate) fn resume(&mut self, node: &Node) {
        let Some(mut waited) = self.paused.remove(node) else { return };
        self.note(|| format!("{node} goes on, {} waited", waited.len()));
        if let Node::Engine(slot) = node {
            self.witness.lookout().goes_on(slot);
        }
        let Some(life) = self.life(node) else { return };
        while let Some(work) = waited.pop_front() {
            if self.life(node) != Some(life) {
                return;
            }
            if let Some(again) = self.paused.get_mut(node) {
                // Stopped again by what it did: the rest waits behind what came first.
                again.push_back(work);
                again.extend(waited);
                return;
            }
            self.work(node.clone(), life, work);
        }
    }

    /// How long a disk takes for one synced write.
    pub(crate) fn disk_ms(&mut self, node: &Node) -> u64 {
        let base = self.disk.within(1, 3);
        match self.slow.get(node) {
            Some(until) if *until > self.queue.now() => base + self.disk.within(50, 900),
            _ => base,
        }
    }

    /// A named place in the code of a process: traps and sweeps hook in here. Says whether the process may go on.
    pub(crate) fn place(&mut self, node: &Node, verb: &str, action: &str) -> bool {
        if self.trace.is_some() {
            self.note(|| format!("{node}: {verb}-{action}"));
        }
        if self.sweep.is_some() {
            self.pass(node, verb, action);
        }
        if !self.triggers.is_empty() && !self.healing {
            self.spring(node, verb, action);
        }
        self.life(node).is_some() && !self.paused.contains_key(node)
    }

    fn spring(&mut self, node: &Node, verb: &str, action: &str) {
        let is_it = |t: &Trigger| {
            t.place.strip_prefix(verb).and_then(|rest| rest.strip_prefix('-')).is_some_and(|rest| rest == action)
        };
        let Some(index) = self.triggers.iter().position(is_it) else { return };
        if self.triggers[index].skip > 0 {
            self.triggers[index].skip -= 1;
            return;
        }
        let trigger = self.triggers.remove(index);
        self.befall(node, trigger.what);
    }

    /// An injection at a place: "any" then means this very process.
    fn befall(&mut self, node: &Node, injection: Injection) {
        self.reach("a fault at a named place");
        match injection {
            Injection::Any(FaultClass::Kill) => {
                let down = self.dice.within(300, 6_000);
                self.inject(Injection::Kill(node.clone(), down));
            }
            Injection::Any(FaultClass::PauseEngine | FaultClass::PauseAgent | FaultClass::PauseCoordinator) => {
                let ms = self.dice.within(500, 15_000);
                self.inject(Injection::Pause(node.clone(), ms));
            }
            Injection::Again(_) | Injection::Late(_) | Injection::Lose | Injection::Longer => {
                self.fate = Some(injection);
            }
            other => self.inject(other),
        }
    }

    /// Keeps payloads that travel from now on, so many of each kind.
    pub fn keep_payloads(&mut self, of_each: usize) {
        self.kept = Some((of_each, BTreeMap::new()));
    }

    /// The payloads kept so far.
    pub fn payloads(&mut self) -> BTreeMap<Kind, Vec<Vec<u8>>> {
        self.kept.take().map(|(_, kept)| kept).unwrap_or_default()
    }

    /// The digest of everything that happened, with the state of every process.
    pub fn final_digest(&self) -> u64 {
        let mut hash = mix(self.hash, self.events);
        for node in self.coordinators.values() {
            if let Some(core) = &node.core {
                let state = core.state().hash();
                hash =
                    state.0.chunks(8).fold(hash, |h, c| mix(h, u64::from_le_bytes(c.try_into().unwrap_or_default())));
            }
        }
        for node in self.engines.values() {
            if let Some(core) = &node.core {
                let log = core.log();
                let digest = log.digest_at(log.length());
                hash =
                    digest.0.chunks(8).fold(hash, |h, c| mix(h, u64::from_le_bytes(c.try_into().unwrap_or_default())));
            }
        }
        hash
    }
}
