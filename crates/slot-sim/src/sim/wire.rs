//! The network: frames between machines, calls and their answers.
//!
//! What always holds: every frame holds the bytes that the product would send, behind a length and a checksum, as TLS has
//! them; a frame that does not check is dropped before any decoder sees it; a call ends once, by an answer or by its
//! deadline. A frame that is late may reach the successor of the process it was sent to: more than TCP allows.

use super::*;
use crate::faults::FaultClass;
use prost::Message;
use slot_agent::core_looks::At;
use slot_proto::pb;
use slot_raft::RaftMessage;
use slot_types::codec;
use slot_types::engine::{EngineAnswer, EngineCall, EngineError};
use slot_types::order::{AgentReport, Answer};

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A raft envelope.
    Raft,
    /// An order.
    Deliver,
    /// Its answer.
    DeliverReply,
    /// An agent's report.
    Report,
    /// An agent's call of an engine.
    Control,
    /// Its answer.
    ControlReply,
    /// An engine's call of another.
    Peer,
    /// Its answer.
    PeerReply,
    /// A client's append.
    Append,
    /// Its answer.
    AppendReply,
    /// A client's read.
    Read,
    /// Its answer.
    ReadReply,
    /// A route table.
    Serve,
    /// What a front end says of itself.
    ServeReply,
    /// A host that joins.
    Join,
    /// Its answer.
    JoinReply,
    /// What an agent is to look at.
    Look,
    /// What it saw.
    LookReply,
    /// A connection that is asked for.
    Connect,
    /// Whether it was taken.
    ConnectReply,
    /// Who is there is to prove it.
    Prove,
    /// The proof.
    ProveReply,
    /// A person's request.
    Ask,
    /// Its answer.
    AskReply,
}

impl Kind {
    /// Whether it has to do with looks: then its way is drawn from their own stream.
    fn is_of_looks(self) -> bool {
        use Kind::*;
        matches!(self, Look | LookReply | Connect | ConnectReply | Prove | ProveReply)
    }
}

/// A message under way.
#[derive(Clone)]
pub(crate) struct Frame {
    pub(crate) from: Place,
    pub(crate) to: Place,
    pub(crate) node: Option<Node>,
    pub(crate) kind: Kind,
    pub(crate) number: u64,
    pub(crate) bytes: Vec<u8>,
}

/// Who waits for an answer.
#[derive(Clone, Debug)]
pub(crate) enum Asker {
    /// A coordinator's delivery.
    Coordinator { id: u64, life: u32, delivery: u64 },
    /// An agent's call.
    Agent { host: HostName, life: u32, call: u64 },
    /// A canary's append, which is read back next.
    Canary { host: HostName, life: u32, call: u64, store: StoreName, epoch: Epoch, id: RecordId, to: SlotId },
    /// A canary's read.
    CanaryRead { host: HostName, life: u32, call: u64, id: RecordId },
    /// A coordinator that wants a copy verified.
    Look { id: u64, life: u32, look: u64 },
    /// A coordinator that has an agent look around.
    Around { id: u64, life: u32, look: u64 },
    /// An agent that probes: for a connection.
    Connect { host: HostName, life: u32, at: At },
    /// For a proof.
    Proof { host: HostName, life: u32, at: At, expected: HostName },
    /// An agent that has a copy of its own verified.
    Verify { host: HostName, life: u32, at: At },
    /// Another engine.
    Engine { slot: SlotId, life: u32, call: u64 },
    /// A client.
    Client { token: u64, slot: SlotId },
    /// A person.
    Person { token: u64 },
    /// A host that joins.
    Joiner { joiner: u64 },
    /// A coordinator that told a front end.
    FrontEnd { id: u64, life: u32, front_end: FrontEndName },
}

const HEAD: usize = 8;

fn framed(payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEAD + payload.len());
    bytes.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&crc32c::crc32c(payload).to_le_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

fn unframed(bytes: &[u8]) -> Option<&[u8]> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (sum, payload) = rest.split_first_chunk::<4>()?;
    let whole = payload.len() == u32::from_le_bytes(*length) as usize;
    (whole && crc32c::crc32c(payload) == u32::from_le_bytes(*sum)).then_some(payload)
}

/// The frame of an order with bytes behind it, as two run together would be: whole for the transport.
fn longer_order(frame: &Frame) -> Option<Vec<u8>> {
    let payload = unframed(&frame.bytes).filter(|_| frame.kind == Kind::Deliver)?;
    let mut request = pb::DeliverRequest::decode(payload).ok()?;
    request.order.extend_from_slice(&[0; 7]);
    Some(framed(&request.encode_to_vec()))
}

impl Node {
    pub(crate) fn place(&self) -> Place {
        match self {
            Node::Coordinator(id) => Place::Coordinator(*id),
            Node::Agent(host) => Place::Host(host.clone()),
            Node::Engine(slot) => Place::Host(slot.host.clone()),
            Node::FrontEnd(name) => Place::FrontEnd(name.clone()),
        }
    }
}

impl Sim {
    /// Puts a message on its way; it may meet a fault.
    pub(crate) fn send(&mut self, from: Place, to: Node, kind: Kind, number: u64, payload: &[u8]) {
        let frame = Frame { from, to: to.place(), node: Some(to), kind, number, bytes: framed(payload) };
        self.dispatch(frame);
    }

    /// Puts an answer on its way to whoever asked.
    pub(crate) fn answer(&mut self, from: Place, kind: Kind, number: u64, payload: &[u8]) {
        let to = match self.calls.get(&number) {
            None => return,
            Some(
                Asker::Coordinator { id, .. }
                | Asker::Look { id, .. }
                | Asker::Around { id, .. }
                | Asker::FrontEnd { id, .. },
            ) => Place::Coordinator(*id),
            Some(
                Asker::Agent { host, .. }
                | Asker::Canary { host, .. }
                | Asker::CanaryRead { host, .. }
                | Asker::Connect { host, .. }
                | Asker::Proof { host, .. }
                | Asker::Verify { host, .. },
            ) => Place::Host(host.clone()),
            Some(Asker::Engine { slot, .. }) => Place::Host(slot.host.clone()),
            Some(Asker::Joiner { joiner }) => self.place_of_joiner(*joiner),
            Some(Asker::Client { .. } | Asker::Person { .. }) => Place::Outside,
        };
        self.dispatch(Frame { from, to, node: None, kind, number, bytes: framed(payload) });
    }

    fn dispatch(&mut self, mut frame: Frame) {
        if self.sweep.is_some() {
            self.echo(&frame);
        }
        if frame.from == frame.to {
            let delay = self.net.within(0, 1);
            if let Some(fate) = self.fate.take() {
                // A call inside a host outlives its agent: the engine finds it whenever it gets to it.
                return self.dispatch_to_fate(frame, delay, &fate);
            }
            return self.queue.after(delay, Happening::Frame(Box::new(frame)));
        }
        let looks = frame.kind.is_of_looks();
        let delay = if looks { self.probes.within(1, 4) } else { self.net.within(1, 4) };
        if matches!(frame.kind, Kind::Serve | Kind::ServeReply) && self.fate.is_none() {
            self.fate = self.fate_of_a_table();
        }
        if let Some(fate) = self.fate.take() {
            return self.dispatch_to_fate(frame, delay, &fate);
        }
        let classes =
            [FaultClass::Loss, FaultClass::Duplicate, FaultClass::Delay, FaultClass::BitFlip, FaultClass::Truncation];
        let dice = if looks { &mut self.probes } else { &mut self.dice };
        if !self.healing && self.swarm.message_one_in > 0 && dice.one_in(self.swarm.message_one_in) {
            let class = classes[dice.within(0, 4) as usize];
            let latest = if dice.one_in(6) { 12_000 } else { 900 };
            let late = dice.within(20, latest);
            let spot = dice.within(0, frame.bytes.len() as u64 * 8 - 1) as usize;
            let now = self.now();
            let kind = frame.kind;
            if self.swarm.classes.contains(&class)
                && self.injected.happens(now, class, || format!("{kind:?} {} ", frame.number))
            {
                match class {
                    FaultClass::Loss => return,
                    FaultClass::Duplicate => {
                        self.queue.after(late, Happening::Frame(Box::new(frame.clone())));
                    }
                    FaultClass::Delay => return self.queue.after(late, Happening::Frame(Box::new(frame))),
                    FaultClass::BitFlip => frame.bytes[spot / 8] ^= 1 << (spot % 8),
                    _ => frame.bytes.truncate(spot / 8),
                }
            }
        }
        self.queue.after(delay, Happening::Frame(Box::new(frame)));
    }

    fn dispatch_to_fate(&mut self, mut frame: Frame, delay: u64, fate: &Injection) {
        let now = self.now();
        if *fate == Injection::Longer {
            if let Some(longer) = longer_order(&frame) {
                frame.bytes = longer;
            }
            return self.queue.after(delay, Happening::Frame(Box::new(frame)));
        }
        let (class, later) = match fate {
            Injection::Again(ms) => (FaultClass::Duplicate, Some(*ms)),
            Injection::Late(ms) => (FaultClass::Delay, Some(*ms)),
            _ => (FaultClass::Loss, None),
        };
        let kind = frame.kind;
        if !self.injected.happens(now, class, || format!("{kind:?}, by a trap")) {
            return self.queue.after(delay, Happening::Frame(Box::new(frame)));
        }
        match (class, later) {
            (FaultClass::Duplicate, Some(ms)) => {
                self.queue.after(ms, Happening::Frame(Box::new(frame.clone())));
                self.queue.after(delay, Happening::Frame(Box::new(frame)));
            }
            (FaultClass::Delay, Some(ms)) => self.queue.after(ms, Happening::Frame(Box::new(frame))),
            _ => {}
        }
    }

    fn is_cut(&self, from: &Place, to: &Place) -> bool {
        !self.cuts.is_empty() && self.cuts.get(&(from.clone(), to.clone())).is_some_and(|until| *until > self.now())
    }

    /// A call whose asker is to be told, at the latest, when its time is over.
    pub(crate) fn call(&mut self, asker: Asker, wait_ms: u64) -> u64 {
        let number = self.number();
        self.calls.insert(number, asker);
        self.queue.after(wait_ms, Happening::CallOver(number));
        number
    }

    pub(crate) fn arrive(&mut self, frame: Frame) {
        if frame.from != frame.to && self.is_cut(&frame.from, &frame.to) {
            return;
        }
        let Some(payload) = unframed(&frame.bytes) else {
            self.reach("a damaged frame was refused");
            return self.witness_damaged(&frame);
        };
        self.digest(u64::from(crc32c::crc32c(payload)));
        if let Some((most, kept)) = &mut self.kept {
            let of_kind = kept.entry(frame.kind).or_default();
            if of_kind.len() < *most {
                of_kind.push(payload.to_vec());
            }
        }
        match &frame.node {
            Some(node) if frame.kind == Kind::Connect => self.connect_in(&node.clone(), &frame),
            Some(node) if self.life(node).is_none() => self.nobody_there(&frame),
            Some(node) => self.request(node.clone(), &frame, payload),
            None => self.reply(&frame, payload),
        }
    }

    /// A machine that is up and has no such process says so at once; one without power says nothing.
    fn nobody_there(&mut self, frame: &Frame) {
        if self.is_dark(&frame.to) {
            return;
        }
        if let (Kind::Raft, Some(Node::Coordinator(peer)), Place::Coordinator(from)) =
            (frame.kind, &frame.node, &frame.from)
        {
            let event = coordinator::Event::PeerUnreachable { peer: *peer };
            let (peer_of, delay) = (*from, self.net.within(1, 4));
            return self.give(delay, Node::Coordinator(peer_of), Work::Coordinator(Box::new(event)));
        }
        if frame.kind == Kind::Prove {
            return self.answer(frame.to.clone(), Kind::ProveReply, frame.number, &[]);
        }
        if self.calls.contains_key(&frame.number) {
            let delay = self.net.within(1, 4);
            self.queue.after(delay, Happening::CallOver(frame.number));
        }
    }

    fn request(&mut self, node: Node, frame: &Frame, payload: &[u8]) {
        let work = match (&node, frame.kind) {
            (Node::Coordinator(id), Kind::Raft) => self.raft_in(*id, &frame.from, payload),
            (Node::Coordinator(id), Kind::Report) => self.report_in(*id, frame, payload),
            (Node::Coordinator(id), Kind::Ask) => self.ask_in(*id, frame.number, payload),
            (Node::Coordinator(_), Kind::Join) => self.join_in(frame.number, payload),
            (Node::Agent(_), Kind::Deliver) => pb::DeliverRequest::decode(payload).ok().map(|request| {
                let event = agent::Event::Deliver { delivery: frame.number, bytes: request.order };
                Work::Agent(Box::new(event))
            }),
            (Node::Agent(_), Kind::Look) => Some(Work::Look { number: frame.number, payload: payload.to_vec() }),
            (Node::Agent(_) | Node::Engine(_), Kind::Prove) => Some(Work::Prove { number: frame.number }),
            (Node::Engine(slot), _) => self.engine_in(slot, frame, payload),
            (Node::FrontEnd(name), Kind::Serve) => self.table_in(name, frame, payload),
            _ => None,
        };
        if let Some(work) = work
            && let Some(life) = self.life(&node)
        {
            self.work(node, life, work);
        }
    }

    fn raft_in(&mut self, id: u64, from: &Place, payload: &[u8]) -> Option<Work> {
        let node = self.coordinators.get_mut(&id)?;
        let received = slot_proto::raft::decode_envelope(payload).ok().and_then(|e| node.marker.open(e).ok())?;
        // S15, R-traps 11: nobody speaks for another node, and another disk than before is refused.
        let sender = received.message.from;
        if *from != Place::Coordinator(sender) || !node.knows(sender, received.from_incarnation) {
            self.reach("S15: a wiped coordinator was refused");
            return None;
        }
        // A greeting, which only makes a disk known, is not for the core.
        let says_something = received.message.r#type != 0;
        says_something.then(|| Work::Coordinator(Box::new(coordinator::Event::Raft(received.message))))
    }

    fn report_in(&mut self, id: u64, frame: &Frame, payload: &[u8]) -> Option<Work> {
        let Place::Host(host) = &frame.from else { return None };
        let node = self.coordinators.get_mut(&id)?;
        let newest = node.heard.entry(host.clone()).or_default();
        if !node.watched.contains(host) || frame.number < *newest {
            return None;
        }
        *newest = frame.number;
        node.heard_at.insert(host.clone(), self.queue.now());
        let reply = pb::WatchReply::decode(payload).ok()?;
        let report = codec::decode::<AgentReport>(&reply.report).ok()?;
        let event = coordinator::Event::AgentReport { host: host.clone(), report: Box::new(report) };
        Some(Work::Coordinator(Box::new(event)))
    }

    fn engine_in(&mut self, slot: &SlotId, frame: &Frame, payload: &[u8]) -> Option<Work> {
        let request = frame.number;
        let event = match frame.kind {
            Kind::Control => {
                let asked = pb::EngineControlRequest::decode(payload).ok()?;
                let serving = &self.engines.get(slot)?.serving;
                let is_meant = asked.store == serving.store.as_str()
                    && asked.slot == slot.to_string()
                    && asked.copy_generation == serving.generation.0;
                if !is_meant {
                    let held = format!("{} on {slot}", serving.store);
                    let answer = EngineAnswer(Err(EngineError::OtherStore { held }));
                    let reply = pb::EngineControlReply { answer: codec::encode(&answer) };
                    self.answer(Place::Host(slot.host.clone()), Kind::ControlReply, request, &reply.encode_to_vec());
                    return None;
                }
                let call = codec::decode::<EngineCall>(&asked.call).ok()?;
                if !matches!(call, EngineCall::Status) {
                    let node = Node::Engine(slot.clone());
                    if !self.place(&node, "engine", engine_call_name(&call)) {
                        let event = journal::Event::Control { request, call, budget_ms: asked.budget_ms.into() };
                        if let Some(waiting) = self.paused.get_mut(&node) {
                            waiting.push_back(Work::Engine(Box::new(event)));
                        }
                        return None;
                    }
                }
                journal::Event::Control { request, call, budget_ms: asked.budget_ms.into() }
            }
            Kind::Peer => {
                let asked = pb::EnginePeerRequest::decode(payload).ok()?;
                journal::Event::Peer { request, call: codec::decode(&asked.call).ok()? }
            }
            Kind::Append => {
                let asked = pb::AppendRequest::decode(payload).ok()?;
                let (append, budget_ms) = slot_engine::journal::wire::append_from(asked).ok()?;
                journal::Event::Append { request, append, budget_ms }
            }
            Kind::Read => {
                let asked = pb::JournalReadRequest::decode(payload).ok()?;
                journal::Event::Read { request, read: slot_engine::journal::wire::read_from(asked).ok()? }
            }
            _ => return None,
        };
        Some(Work::Engine(Box::new(event)))
    }

    fn reply(&mut self, frame: &Frame, payload: &[u8]) {
        let Some(asker) = self.calls.remove(&frame.number) else {
            return self.reach("an answer came when nobody waited any more");
        };
        match (asker, frame.kind) {
            (Asker::Coordinator { id, life, delivery }, Kind::DeliverReply) => {
                let answer = pb::DeliverReply::decode(payload).map_err(|e| e.to_string());
                let result = answer.and_then(|reply| codec::decode::<Answer>(&reply.answer).map_err(|e| e.to_string()));
                let event = coordinator::Event::AgentAnswer { delivery, result };
                self.work(Node::Coordinator(id), life, Work::Coordinator(Box::new(event)));
            }
            (Asker::Agent { host, life, call }, Kind::ControlReply) => {
                let answer = pb::EngineControlReply::decode(payload).ok();
                let answer = answer.and_then(|reply| codec::decode::<EngineAnswer>(&reply.answer).ok());
                let result = answer.map_or_else(|| Err(EngineError::Unreachable("unreadable".into())), |a| a.0);
                let event = agent::Event::EngineAnswer { call, result };
                self.work(Node::Agent(host), life, Work::Agent(Box::new(event)));
            }
            (Asker::Look { id, life, look }, Kind::ControlReply) => {
                let answer = pb::EngineControlReply::decode(payload).ok();
                let answer = answer.and_then(|reply| codec::decode::<EngineAnswer>(&reply.answer).ok());
                self.looked(id, life, look, answer);
            }
            (Asker::Around { id, life, look }, Kind::LookReply) => {
                self.looked_around(id, life, look, frame.number, Some(payload));
            }
            (asker, Kind::ConnectReply | Kind::ProveReply) => self.look_replied(asker, payload),
            (asker @ Asker::Verify { .. }, Kind::ControlReply) => self.look_replied(asker, payload),
            (Asker::Engine { slot, life, call }, Kind::PeerReply) => {
                let reply = pb::EnginePeerReply::decode(payload).map_err(|e| e.to_string());
                let result = reply.and_then(|r| codec::decode(&r.answer).map_err(|e| e.to_string()));
                let event = journal::Event::CallAnswer { call, result };
                self.work(Node::Engine(slot), life, Work::Engine(Box::new(event)));
            }
            (asker @ (Asker::Canary { .. } | Asker::CanaryRead { .. }), Kind::AppendReply | Kind::ReadReply) => {
                self.canary_reply(asker, frame.kind, payload);
            }
            (Asker::Client { token, slot }, Kind::AppendReply | Kind::ReadReply) => {
                self.client_answered(token, frame.number, &slot, Some((frame.kind, payload)));
            }
            (Asker::Person { token }, Kind::AskReply) => self.person_answered(token, frame.number, Some(payload)),
            (Asker::Joiner { joiner }, Kind::JoinReply) => self.join_answered(joiner, frame.number, Some(payload)),
            (Asker::FrontEnd { id, life, front_end }, Kind::ServeReply) => {
                self.front_end_said(id, life, front_end, Some(payload));
            }
            _ => {}
        }
    }

    pub(crate) fn call_over(&mut self, number: u64) {
        let Some(asker) = self.calls.remove(&number) else { return };
        let why = || "no answer".to_string();
        match asker {
            Asker::Coordinator { id, life, delivery } => {
                let event = coordinator::Event::AgentAnswer { delivery, result: Err(why()) };
                self.work(Node::Coordinator(id), life, Work::Coordinator(Box::new(event)));
            }
            Asker::Agent { host, life, call }
            | Asker::Canary { host, life, call, .. }
            | Asker::CanaryRead { host, life, call, .. } => {
                let event = agent::Event::EngineAnswer { call, result: Err(EngineError::Unreachable(why())) };
                self.work(Node::Agent(host), life, Work::Agent(Box::new(event)));
            }
            Asker::Look { id, life, look } => self.looked(id, life, look, None),
            Asker::Around { id, life, look } => self.looked_around(id, life, look, number, None),
            asker @ (Asker::Connect { .. } | Asker::Proof { .. } | Asker::Verify { .. }) => {
                self.look_unanswered(asker);
            }
            Asker::Engine { slot, life, call } => {
                let event = journal::Event::CallAnswer { call, result: Err(why()) };
                self.work(Node::Engine(slot), life, Work::Engine(Box::new(event)));
            }
            Asker::Client { token, slot } => self.client_answered(token, number, &slot, None),
            Asker::Person { token } => self.person_answered(token, number, None),
            Asker::Joiner { joiner } => self.join_answered(joiner, number, None),
            Asker::FrontEnd { id, life, front_end } => self.front_end_said(id, life, front_end, None),
        }
    }

    /// Sends a raft message in its envelope.
    pub(crate) fn send_raft(&mut self, from: u64, peer: u64, message: RaftMessage) {
        let Some(node) = self.coordinators.get(&from) else { return };
        let snapshot = message.snapshot.is_some();
        let bytes = slot_proto::raft::encode_envelope(&node.marker.seal(message));
        self.send(Place::Coordinator(from), Node::Coordinator(peer), Kind::Raft, 0, &bytes);
        if snapshot {
            let ok = self.life(&Node::Coordinator(peer)).is_some();
            let event = coordinator::Event::SnapshotSent { peer, ok };
            let delay = self.net.within(2, 8);
            self.give(delay, Node::Coordinator(from), Work::Coordinator(Box::new(event)));
            self.reach("R22: a snapshot was sent");
        }
    }
}

pub(crate) fn engine_call_name(call: &EngineCall) -> &'static str {
    match call {
        EngineCall::Status => "status",
        EngineCall::Freeze { .. } => "freeze",
        EngineCall::Thaw { .. } => "thaw",
        EngineCall::CatchUp { .. } => "catch-up",
        EngineCall::Demote { .. } => "demote",
        EngineCall::Raise { .. } => "raise",
        EngineCall::Promote { .. } => "promote",
        EngineCall::StartMaster { .. } => "start-master",
        EngineCall::Follow { .. } => "follow",
        EngineCall::ListStranded { .. } => "list-stranded",
        EngineCall::Reinject { .. } => "reinject",
        EngineCall::Canary { .. } => "canary",
        EngineCall::Verify { .. } => "verify",
        _ => "stop",
    }
}
