//! What agents do when the leader asks them to look at something.
//!
//! What always holds: in worlds that probe, questions and answers travel as the product's own bytes, and the product's own core
//! decides what is tried, for how long, and what it means. A connection is taken by a machine that has power and a process
//! there, whether or not it stands still; a proof is given by a process that goes on. Whatever has to do with looks is drawn
//! from a stream of its own. In the other worlds copies are verified, by their engines and over the same wire, and nobody
//! probes: an unanswered look is forgotten at its time.

use super::wire::{Asker, Frame};
use super::*;
use crate::check::Seen;
use prost::Message;
use slot_agent::core_looks::{At, Connected, Effect, Event, LookCore};
use slot_proto::pb;
use slot_types::codec;
use slot_types::engine::{EngineAnswer, EngineCall, EngineError};
use slot_types::fence::FenceAction;
use slot_types::probe::{LookAt, Looks, PROBE_MS, Probed, Saw, Sights};
use std::net::{IpAddr, SocketAddr};

/// What is said of a connection or of a proof.
const NO: u8 = 0;
const YES: u8 = 1;

/// The looks of one agent's process.
pub(crate) struct Lookout {
    core: LookCore,
    calls: BTreeMap<u64, Call>,
}

/// A call that it carries out.
struct Call {
    number: u64,
    begun: u64,
    looks: Vec<LookAt>,
    wakes: u64,
}

impl Lookout {
    pub(crate) fn new(cluster: ClusterId) -> Self {
        Self { core: LookCore::new(cluster), calls: BTreeMap::new() }
    }
}

/// A round that a coordinator waits for: when it asked, whom, and who was said to be off then.
pub(crate) struct Round {
    asked: u64,
    looks: Vec<LookAt>,
    said_off: BTreeSet<HostName>,
}

impl Sim {
    pub(crate) fn look(&mut self, id: u64, life: u32, look: u64, host: &HostName, looks: &[u8], budget_ms: u64) {
        if self.swarm.probes {
            return self.look_around(id, life, look, host, looks, budget_ms);
        }
        // Without an agent there is nobody to pass it on.
        if self.life(&Node::Agent(host.clone())).is_none() {
            return;
        }
        let looks = codec::decode::<Looks>(looks).map(|looks| looks.at).unwrap_or_default();
        let Some(LookAt::Verify { slot, store, generation, epoch, against, asked, rate, .. }) =
            looks.into_iter().next()
        else {
            return;
        };
        let slot = SlotId::new(host.clone(), slot);
        let call = EngineCall::Verify { epoch, against, asked, rate };
        let request = verify_request(&slot, &call, &store, generation, budget_ms);
        self.reach("a copy was to be verified");
        let number = self.call(Asker::Look { id, life, look }, budget_ms);
        self.send(Place::Coordinator(id), Node::Engine(slot), Kind::Control, number, &request);
    }

    /// What the engine answered, or that nobody did.
    pub(crate) fn looked(&mut self, id: u64, life: u32, look: u64, answer: Option<EngineAnswer>) {
        let result = match answer {
            Some(EngineAnswer(answer)) => {
                let saw = Saw::Verify(answer.map(drop).map_err(|e| e.to_string()));
                Ok(Sights { saw: vec![saw] })
            }
            None => Err("no answer".into()),
        };
        let event = coordinator::Event::Looked { look, result };
        self.work(Node::Coordinator(id), life, Work::Coordinator(Box::new(event)));
    }

    /// A coordinator asks an agent.
    fn look_around(&mut self, id: u64, life: u32, look: u64, host: &HostName, looks: &[u8], budget_ms: u64) {
        if !self.coordinators.get(&id).is_some_and(|node| node.watched.contains(host)) {
            return;
        }
        let number = self.call(Asker::Around { id, life, look }, budget_ms);
        let at = codec::decode::<Looks>(looks).map(|looks| looks.at).unwrap_or_default();
        if at.iter().any(|at| matches!(at, LookAt::Verify { .. })) {
            self.reach("a copy was to be verified");
        }
        self.rounds.insert(number, Round { asked: self.now(), looks: at, said_off: self.said_off(id) });
        let bytes = pb::LookRequest { looks: looks.to_vec() }.encode_to_vec();
        self.send(Place::Coordinator(id), Node::Agent(host.clone()), Kind::Look, number, &bytes);
    }

    /// Whom somebody says to be off, as a coordinator knows.
    fn said_off(&self, id: u64) -> BTreeSet<HostName> {
        let core = self.coordinators.get(&id).and_then(|node| node.core.as_ref());
        let cluster = core.and_then(|core| core.state().cluster.as_ref());
        cluster.map(|cluster| cluster.attestations.keys().cloned().collect()).unwrap_or_default()
    }

    /// What an agent saw comes to the coordinator that asked, or nothing does in time.
    pub(crate) fn looked_around(&mut self, id: u64, life: u32, look: u64, number: u64, answer: Option<&[u8]>) {
        let round = self.rounds.remove(&number);
        let result = match answer.map(|payload| payload.split_first()) {
            None => Err("no answer in time".to_string()),
            Some(Some((&YES, bytes))) => pb::LookReply::decode(bytes)
                .map_err(|e| e.to_string())
                .and_then(|reply| codec::decode::<Sights>(&reply.sights).map_err(|e| e.to_string())),
            Some(_) => Err("it was refused".to_string()),
        };
        if let (Some(round), Ok(sights)) = (round, &result) {
            self.saw_sights(id, &round, sights);
        }
        let event = coordinator::Event::Looked { look, result };
        self.work(Node::Coordinator(id), life, Work::Coordinator(Box::new(event)));
    }

    /// Dangerous states among what a coordinator is told.
    fn saw_sights(&mut self, id: u64, round: &Round, sights: &Sights) {
        let said_off = self.said_off(id);
        let now = self.now();
        for (at, saw) in round.looks.iter().zip(&sights.saw) {
            let (LookAt::Address { host, slot, .. }, Saw::Probe(Probed::Answered)) = (at, saw) else { continue };
            if said_off.contains(host) && !round.said_off.contains(host) {
                self.reach("R8: an answer to a probe of before a word came after the word");
            }
            let core = self.coordinators.get(&id).and_then(|node| node.core.as_ref());
            let word = core.and_then(|core| core.state().cluster.as_ref()?.attestations.get(host));
            let boot = self.agents.get(host).map(|agent| agent.boot);
            if word.is_some_and(|word| Some(word.boot) != boot) && round.said_off.contains(host) {
                self.reach("R8: a host answered a probe in another boot than the one it was said to be off in");
            }
            let heard = self.coordinators.get(&id).and_then(|node| node.heard_at.get(host)).copied().unwrap_or(0);
            if slot.is_none() && heard + 4_000 < round.asked.min(now) {
                self.reach("R23: a host that the leader does not hear answered another host");
            }
        }
    }

    /// An agent is asked.
    pub(crate) fn agent_is_asked(&mut self, host: &HostName, number: u64, payload: &[u8]) {
        let (now, from) = (self.now(), Place::Host(host.clone()));
        if !self.place(&Node::Agent(host.clone()), "looks", "around") {
            return;
        }
        let request = pb::LookRequest::decode(payload).map_err(|e| e.to_string());
        let looks = request.and_then(|request| codec::decode::<Looks>(&request.looks).map_err(|e| e.to_string()));
        let Some(lookout) = self.agents.get_mut(host).and_then(|node| node.looks.as_mut()) else { return };
        let asked = looks.and_then(|looks| Ok((looks.at.clone(), lookout.core.ask(now, looks)?)));
        match asked {
            Ok((looks, (call, effects))) => {
                lookout.calls.insert(call, Call { number, begun: now, looks, wakes: 0 });
                self.look_effects(host, call, effects);
            }
            Err(why) => self.answer(from, Kind::LookReply, number, &[&[NO], why.as_bytes()].concat()),
        }
    }

    /// Something came of what an agent tried.
    pub(crate) fn look_step(&mut self, host: &HostName, event: Event) {
        let now = self.now();
        let call = match &event {
            Event::Connected(at, _) | Event::Proved(at, _) | Event::Told(at, _) | Event::Began(at, _) => at.call,
            Event::Tick(call) => *call,
        };
        let Some(lookout) = self.agents.get_mut(host).and_then(|node| node.looks.as_mut()) else { return };
        let effects = lookout.core.step(now, event);
        self.look_effects(host, call, effects);
    }

    fn look_effects(&mut self, host: &HostName, call: u64, effects: Vec<Effect>) {
        let node = Node::Agent(host.clone());
        let Some(life) = self.life(&node) else { return };
        for effect in effects {
            self.look_effect(host, life, effect);
            if self.life(&node) != Some(life) {
                return;
            }
        }
        let Some(lookout) = self.agents.get_mut(host).and_then(|node| node.looks.as_mut()) else { return };
        let (wake, known) = (lookout.core.wake_at(call), lookout.calls.get_mut(&call));
        if let (Some(wake), Some(known)) = (wake, known)
            && known.wakes != wake
        {
            known.wakes = wake;
            self.queue.at(wake, Happening::Work(node, life, Work::Looked(Box::new(Event::Tick(call)))));
        }
    }

    fn look_effect(&mut self, host: &HostName, life: u32, effect: Effect) {
        let from = Place::Host(host.clone());
        match effect {
            Effect::Connect { at, address } => {
                let Some(node) = who_listens(address) else { return };
                let number = self.call(Asker::Connect { host: host.clone(), life, at }, 4 * PROBE_MS);
                self.send(from, node, Kind::Connect, number, &[YES]);
            }
            Effect::Prove { at, host: expected, address } => {
                let Some(node) = who_listens(address) else { return };
                let number = self.call(Asker::Proof { host: host.clone(), life, at, expected }, 4 * PROBE_MS);
                self.send(from, node, Kind::Prove, number, &[YES]);
            }
            Effect::AskDevice { at, host: of, budget_ms, .. } => {
                self.reach("R26: a silent host's device was asked for its status");
                let asked = super::device::Asked::Look { by: host.clone(), life, at };
                self.ask_device(asked, &of, FenceAction::Status, budget_ms);
            }
            Effect::AskEngine { at, copy, engine_call, budget_ms } => {
                let slot = SlotId::new(host.clone(), copy.slot);
                let request = verify_request(&slot, &engine_call, &copy.store, copy.generation, budget_ms);
                let number = self.call(Asker::Verify { host: host.clone(), life, at }, budget_ms);
                self.send(from, Node::Engine(slot), Kind::Control, number, &request);
            }
            Effect::Answer { call, sights } => self.answer_look(host, call, sights),
        }
    }

    fn answer_look(&mut self, host: &HostName, call: u64, sights: Sights) {
        let now = self.now();
        let Some(lookout) = self.agents.get_mut(host).and_then(|node| node.looks.as_mut()) else { return };
        lookout.core.gone(call);
        let Some(Call { number, begun, looks, .. }) = lookout.calls.remove(&call) else { return };
        self.witness.saw(now, Seen::AgentSaw { by: host, begun_ms: begun, looks: &looks, sights: &sights });
        self.note(|| format!("agent {host} saw {:?}", sights.saw));
        // What the agent has said is under way, whatever becomes of it now.
        let probes = looks.iter().any(|at| matches!(at, LookAt::Address { .. }));
        self.place(&Node::Agent(host.clone()), "answers", if probes { "look" } else { "question" });
        let bytes = pb::LookReply { sights: codec::encode(&sights) }.encode_to_vec();
        self.answer(Place::Host(host.clone()), Kind::LookReply, number, &[&[YES], bytes.as_slice()].concat());
    }

    /// A connection is asked for: the kernel takes it for whatever process is there, also for one that stands still.
    pub(crate) fn connect_in(&mut self, node: &Node, frame: &Frame) {
        if self.is_dark(&frame.to) {
            return;
        }
        let is_there = self.life(node).is_some();
        if is_there && self.paused.contains_key(node) {
            self.reach("R8: a process that stood still was connected to");
        }
        let said = if is_there { YES } else { NO };
        self.answer(frame.to.clone(), Kind::ConnectReply, frame.number, &[said]);
    }

    /// A proof is asked of a process that goes on.
    pub(crate) fn prove(&mut self, node: &Node, number: u64) {
        let Some(Asker::Proof { host: by, .. }) = self.calls.get(&number) else { return };
        let by = by.clone();
        let (host, slot) = match node {
            Node::Agent(host) => (host, None),
            Node::Engine(slot) => (&slot.host, Some(slot.number)),
            _ => return,
        };
        let agent = Node::Agent(host.clone());
        if slot.is_some() && (self.life(&agent).is_none() || self.paused.contains_key(&agent)) {
            self.reach("R8: an engine answered a probe while its agent did not");
        }
        self.witness.saw(self.queue.now(), Seen::Proves { by: &by, host, slot });
        self.answer(Place::Host(host.clone()), Kind::ProveReply, number, host.as_str().as_bytes());
    }

    /// Something came back from where an agent looks.
    pub(crate) fn look_replied(&mut self, asker: Asker, payload: &[u8]) {
        let (host, life, event) = match asker {
            Asker::Connect { host, life, at } => {
                let connected = if payload == [YES] { Connected::Made } else { Connected::Refused };
                (host, life, Event::Connected(at, connected))
            }
            Asker::Proof { host, life, at, expected } => {
                (host, life, Event::Proved(at, payload == expected.as_str().as_bytes()))
            }
            Asker::Verify { host, life, at } => {
                let answer = pb::EngineControlReply::decode(payload).ok();
                let answer = answer.and_then(|reply| codec::decode::<EngineAnswer>(&reply.answer).ok());
                let result = answer.map_or_else(|| Err(EngineError::Unreachable("unreadable".into())), |a| a.0);
                (host, life, Event::Began(at, result.map(drop).map_err(|e| e.to_string())))
            }
            _ => return,
        };
        self.work(Node::Agent(host), life, Work::Looked(Box::new(event)));
    }

    /// Nobody answered: a verification's end is its engine plug's, the others' is the core's own.
    pub(crate) fn look_unanswered(&mut self, asker: Asker) {
        if let Asker::Verify { host, life, at } = asker {
            let event = Event::Began(at, Err("no answer in time".into()));
            self.work(Node::Agent(host), life, Work::Looked(Box::new(event)));
        }
    }

    /// A device's word on power, for the leader.
    pub(crate) fn device_told(&mut self, by: HostName, life: u32, at: At, said: DeviceSaid) {
        self.work(Node::Agent(by), life, Work::Looked(Box::new(Event::Told(at, said))));
    }

    /// A comparison came to its end, or found something. Nothing in this world changes a disk behind its process's back.
    pub(crate) fn saw_verification(&mut self, slot: &SlotId) {
        let Some(core) = self.engines.get(slot).and_then(|engine| engine.core.as_ref()) else { return };
        let Some(seen) = core.verification_over() else { return };
        let (differ, follows) = (seen.findings.count, core.role() == slot_types::engine::EngineRole::Replica);
        if differ > 0 && follows {
            let text = format!("{slot} follows {} and is said to differ: {}", seen.against, seen.findings);
            return self.finding("R7", text);
        }
        if differ == 0 && seen.stage == slot_types::verify::VerifyStage::Ended {
            self.reach("a copy was verified, and is equal");
        }
    }
}

type DeviceSaid = Result<slot_types::fence::FenceSaid, String>;

fn verify_request(
    slot: &SlotId,
    call: &EngineCall,
    store: &StoreName,
    generation: CopyGeneration,
    budget_ms: u64,
) -> Vec<u8> {
    let request = pb::EngineControlRequest {
        call: codec::encode(call),
        budget_ms: u32::try_from(budget_ms).unwrap_or(u32::MAX),
        store: store.to_string(),
        slot: slot.to_string(),
        copy_generation: generation.0,
    };
    request.encode_to_vec()
}

/// Whose address it is, in the fleets of this world (`setup.rs`).
fn who_listens(address: SocketAddr) -> Option<Node> {
    let IpAddr::V4(ip) = address.ip() else { return None };
    let [_, _, host, slot] = ip.octets();
    let host = crate::setup::host(host);
    Some(match address.port() {
        7420 => Node::Agent(host),
        _ => Node::Engine(SlotId::new(host, slot.into())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_of_a_fleet_is_somebodys() {
        let fleet = crate::setup::fleet(6, 1);
        for (name, host) in &fleet.hosts {
            assert_eq!(who_listens(host.address), Some(Node::Agent(name.clone())));
            for (number, slot) in &host.slots {
                let expected = Node::Engine(SlotId::new(name.clone(), *number));
                assert_eq!(who_listens(slot.address), Some(expected));
            }
        }
    }
}
