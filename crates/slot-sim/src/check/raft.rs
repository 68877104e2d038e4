//! Raft itself: elections, what is durable, what is committed, who may speak (S14, S15).
//!
//! What always holds: a node's log is known from the batches it wanted written, its durable log from those its disk took;
//! an entry is named by index and term, and one name has one content for ever.

use super::Found;
use slot_proto::pb::RaftEntryType;
use slot_raft::{PersistBatch, RaftMessage, RaftMessageType, Restored};
use slot_types::ids::OrderId;
use slot_types::order::{Action, Order};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// Contents kept for comparison behind the newest committed entry.
const BODIES_KEPT: u64 = 4_096;

/// Rounds of heartbeats kept without a second look, and how long each is kept then: longer than any read waits.
const ROUNDS_KEPT: usize = 256;
const ROUND_KEPT_MS: u64 = 120_000;

/// Entries kept with the moment they were placed, and orders with the moment they were last sent.
const PLACED_KEPT: usize = 4_096;
const SENT_KEPT: usize = 4_096;

/// Which entries a log holds.
#[derive(Default)]
struct Log {
    /// The index it begins after.
    start: u64,
    /// The term of each entry.
    terms: BTreeMap<u64, u64>,
}

impl Log {
    fn take(&mut self, batch: &PersistBatch) {
        self.take_entries(batch);
        if let Some(start) = &batch.log_start {
            self.begin_after(start.index);
        }
    }

    fn take_entries(&mut self, batch: &PersistBatch) {
        if let Some(from) = batch.truncate_from {
            self.terms.split_off(&from);
        }
        self.terms.extend(batch.entries.iter().map(|e| (e.index, e.term)));
    }

    fn begin_after(&mut self, index: u64) {
        self.start = index;
        self.terms = self.terms.split_off(&(index + 1));
    }

    fn last(&self) -> u64 {
        self.terms.last_key_value().map_or(self.start, |(index, _)| *index)
    }

    fn holds(&self, index: u64, term: u64) -> bool {
        index <= self.start || self.terms.get(&index) == Some(&term)
    }
}

#[derive(Default)]
struct Node {
    incarnation: Option<[u8; 16]>,
    /// Its disk was replaced or put back: its votes and its log count for nothing.
    stranger: bool,
    touched: bool,
    log: Log,
    durable: Log,
    /// What was durable on the disk that it lost: it may have acknowledged that, and nothing since.
    former: Log,
    /// Durable term and vote.
    term: u64,
    vote: u64,
    applied: u64,
    /// Up to where its log is to be forgotten, once what was applied of it has been looked at.
    dropped: u64,
    /// When it last sent each order, and in which term.
    sent: BTreeMap<(OrderId, u64), (u64, u64)>,
    /// When it placed each entry of its log.
    placed: BTreeMap<u64, u64>,
}

struct Body {
    bytes: Rc<[u8]>,
    is_command: bool,
}

/// A round of heartbeats that confirms leadership.
struct Round {
    begun: u64,
    term: u64,
    answered: BTreeSet<u64>,
}

/// See the module's documentation.
pub(crate) struct Raft {
    quorum: usize,
    nodes: BTreeMap<u64, Node>,
    leaders: BTreeMap<u64, u64>,
    votes: BTreeMap<(u64, u64), u64>,
    bodies: BTreeMap<(u64, u64), Body>,
    committed: BTreeMap<u64, u64>,
    fed: Option<u64>,
    rounds: BTreeMap<(u64, Vec<u8>), Round>,
    led_at: Option<u64>,
}

impl Raft {
    pub fn new(voters: usize) -> Self {
        Self {
            quorum: voters / 2 + 1,
            nodes: BTreeMap::new(),
            leaders: BTreeMap::new(),
            votes: BTreeMap::new(),
            bodies: BTreeMap::new(),
            committed: BTreeMap::new(),
            fed: None,
            rounds: BTreeMap::new(),
            led_at: None,
        }
    }

    /// The group that was is lost, and these nodes begin a new one after an index: another log, with terms of its own.
    pub fn restored(&mut self, nodes: &[u64], index: u64) {
        for id in nodes {
            self.nodes.insert(*id, Node::default());
        }
        self.leaders.clear();
        self.votes.clear();
        self.bodies.clear();
        self.committed.clear();
        self.rounds.clear();
        self.fed = Some(index);
    }

    /// When a leader was last heard.
    pub fn led_at(&self) -> Option<u64> {
        self.led_at
    }

    pub fn touched(&mut self, node: u64) {
        self.nodes.entry(node).or_default().touched = true;
    }

    /// What was durable is there after a start; another disk is another node.
    pub fn opens(&mut self, found: &mut Found, id: u64, incarnation: [u8; 16], restored: &Restored) {
        let node = self.nodes.entry(id).or_default();
        let other = node.incarnation.is_some_and(|known| known != incarnation);
        let was_stranger = node.stranger;
        node.stranger |= other || node.touched;
        if node.stranger && !was_stranger {
            node.former = std::mem::take(&mut node.durable);
        }
        let (term, vote) = (restored.hard_state.term, restored.hard_state.vote);
        let mut log = Log { start: restored.log_start.index, terms: BTreeMap::new() };
        log.terms.extend(restored.entries.iter().map(|e| (e.index, e.term)));
        if node.incarnation.is_some() && !node.stranger {
            if term < node.term || (term == node.term && node.vote != 0 && vote != node.vote) {
                let was = (node.term, node.vote);
                found.say("S14", format!("c{id} restarts with term and vote {:?}, durable were {was:?}", (term, vote)));
            }
            let lost = node.durable.terms.iter().find(|(index, term)| !log.holds(**index, **term));
            if let Some((index, _)) = lost.filter(|_| log.last() < node.durable.last()) {
                found.say("S14", format!("c{id} restarts without entry {index}, which was durable there"));
            }
        }
        node.incarnation = Some(incarnation);
        node.touched = false;
        (node.term, node.vote) = (term, vote);
        node.dropped = 0;
        node.applied = restored.snapshot.as_ref().map_or(0, |s| s.index);
        node.log = Log { start: log.start, terms: log.terms.clone() };
        node.durable = log;
        for entry in &restored.entries {
            self.body(found, id, entry);
        }
    }

    /// One index and term, one content (log matching).
    fn body(&mut self, found: &mut Found, id: u64, entry: &slot_raft::RaftEntry) {
        let name = (entry.index, entry.term);
        match self.bodies.get(&name) {
            Some(known) if *known.bytes != *entry.data => {
                found.say("S14", format!("c{id} holds another content of entry {} of term {}", name.0, name.1));
            }
            Some(_) => {}
            None if self.fed.is_some_and(|fed| entry.index + BODIES_KEPT < fed) => {}
            None => {
                let is_command = entry.r#type() == RaftEntryType::Normal && !entry.data.is_empty();
                self.bodies.insert(name, Body { bytes: entry.data.as_slice().into(), is_command });
            }
        }
    }

    /// When a node wanted an entry written that it has placed last at this index.
    pub fn placed_at(&self, id: u64, index: u64) -> Option<u64> {
        self.nodes.get(&id)?.placed.get(&index).copied()
    }

    /// A node that has applied so much wants a batch written.
    pub fn asked(&mut self, found: &mut Found, id: u64, batch: &PersistBatch, applied: u64) {
        for entry in &batch.entries {
            self.body(found, id, entry);
        }
        let node = self.nodes.entry(id).or_default();
        node.placed.extend(batch.entries.iter().map(|entry| (entry.index, found.now)));
        while node.placed.len() > PLACED_KEPT {
            node.placed.pop_first();
        }
        match &batch.log_start {
            // What it drops it may have applied in this very step: that is looked at first.
            Some(start) if start.index <= applied => {
                node.log.take_entries(batch);
                node.dropped = node.dropped.max(start.index);
            }
            _ => node.log.take(batch),
        }
    }

    /// A node's disk has a batch.
    pub fn durable(&mut self, id: u64, batch: &PersistBatch) {
        let node = self.nodes.entry(id).or_default();
        node.durable.take(batch);
        if let Some(state) = &batch.hard_state {
            (node.term, node.vote) = (state.term, state.vote);
        }
    }

    /// A node's state has come to an index; whether it got there by a snapshot.
    pub fn applied(&mut self, found: &mut Found, id: u64, applied: u64) -> bool {
        let installed = self.newly_applied(found, id, applied);
        if let Some(node) = self.nodes.get_mut(&id).filter(|node| node.dropped > node.log.start) {
            node.log.begin_after(node.dropped);
        }
        installed
    }

    fn newly_applied(&mut self, found: &mut Found, id: u64, applied: u64) -> bool {
        let Some(node) = self.nodes.get_mut(&id) else { return false };
        if node.stranger || applied <= node.applied {
            return false;
        }
        let (from, mut installed) = (node.applied + 1, false);
        node.applied = applied;
        for index in from..=applied {
            let Some(term) = self.nodes.get(&id).and_then(|n| n.log.terms.get(&index)).copied() else {
                installed = true;
                continue;
            };
            match self.committed.get(&index) {
                Some(known) if *known != term => {
                    let text = format!("c{id} applied entry {index} of term {term}, committed was one of term {known}");
                    found.say("S14", text);
                }
                Some(_) => {}
                None => {
                    // An acknowledgement may be under way while its disk is lost: it was given by the node that had it.
                    let held = |n: &&Node| if n.stranger { &n.former } else { &n.durable }.holds(index, term);
                    let holding = self.nodes.values().filter(held).count();
                    if holding < self.quorum {
                        let text = format!("c{id} applied entry {index}, durable on {holding} nodes only");
                        found.say("S14", text);
                    }
                    self.committed.insert(index, term);
                }
            }
        }
        installed
    }

    /// The next committed command after the last one given, with index, term and bytes.
    pub fn next_committed(&mut self, applied: u64) -> Option<(u64, u64, Rc<[u8]>)> {
        let mut after = self.fed.unwrap_or(applied);
        loop {
            let (index, term) = self.committed.range(after + 1..).next().map(|(i, t)| (*i, *t))?;
            self.fed = Some(index);
            after = index;
            if index.is_multiple_of(256) {
                self.forget(index);
            }
            if let Some(body) = self.bodies.get(&(index, term)).filter(|b| b.is_command) {
                return Some((index, term, body.bytes.clone()));
            }
        }
    }

    fn forget(&mut self, index: u64) {
        let Some(below) = index.checked_sub(BODIES_KEPT) else { return };
        self.bodies = self.bodies.split_off(&(below, 0));
        let newest = self.rounds.values().map(|r| r.term).max().unwrap_or(0);
        self.rounds.retain(|_, round| round.term == newest);
    }

    /// Election safety: one leader in a term.
    pub fn leads(&mut self, found: &mut Found, id: u64, term: u64) {
        self.led_at = Some(found.now);
        let first = *self.leaders.entry(term).or_insert(id);
        if first != id {
            found.say("S14", format!("c{first} and c{id} both lead in term {term}"));
        }
    }

    /// Persist before send, one vote a term, one leader a term.
    pub fn sends(&mut self, found: &mut Found, id: u64, message: &RaftMessage) {
        use RaftMessageType::*;
        let (kind, term) = (message.r#type(), message.term);
        let Some(node) = self.nodes.get(&id) else { return };
        if matches!(kind, Unspecified | RequestPreVote | RequestPreVoteResponse) {
            return;
        }
        if node.term < term {
            let text = format!("c{id} sends {kind:?} in term {term}, durable is term {}", node.term);
            found.say("S14", text);
        }
        let durable_vote = node.vote;
        let (same_term, last) = (node.term == term, node.durable.last());
        let stranger = node.stranger;
        match kind {
            RequestVoteResponse if !message.reject && !stranger => {
                if same_term && durable_vote != message.to {
                    found.say("S14", format!("c{id} votes for c{} before that vote is durable", message.to));
                }
                let first = *self.votes.entry((id, term)).or_insert(message.to);
                if first != message.to {
                    found.say("S14", format!("c{id} votes for c{first} and c{} in term {term}", message.to));
                }
            }
            AppendResponse if !message.reject && message.index > last => {
                let text = format!("c{id} acknowledges entry {}, durable is {last}", message.index);
                found.say("S14", text);
            }
            Append | Snapshot | TimeoutNow => self.leads(found, id, term),
            Heartbeat => {
                self.leads(found, id, term);
                if !message.context.is_empty() {
                    let begun = found.now;
                    if self.rounds.len() >= ROUNDS_KEPT {
                        self.rounds.retain(|_, round| round.begun + ROUND_KEPT_MS >= begun);
                    }
                    let round = || Round { begun, term, answered: BTreeSet::new() };
                    self.rounds.entry((id, message.context.clone())).or_insert_with(round);
                }
            }
            HeartbeatResponse if !message.context.is_empty() && !stranger => {
                if let Some(round) = self.rounds.get_mut(&(message.to, message.context.clone())) {
                    round.answered.insert(id);
                }
            }
            _ => {}
        }
    }

    /// S15: an order leaves only after a round of heartbeats was answered by a quorum in the sender's term, begun since the
    /// sender last sent that very order in that term or, for one that leaves for the first time, since it placed its entry.
    /// Other orders may leave in between, on rounds of their own.
    pub fn delivers(&mut self, found: &mut Found, id: u64, order: &Order) {
        let (now, term, index) = (found.now, order.term.0, order.index.0);
        if self.leaders.get(&term).is_some_and(|leader| *leader != id) {
            found.say("S15", format!("c{id} sends {} in term {term}, in which it does not lead", order.id));
        }
        if order.action == Action::Adopt {
            // It only makes the agent deaf to former generations: whoever led in this one may say so, confirmed or not.
            return;
        }
        let quorum = self.quorum;
        let Some(node) = self.nodes.get_mut(&id) else { return };
        let last = node.sent.insert((order.id, index), (term, now)).filter(|(in_term, _)| *in_term == term);
        while node.sent.len() > SENT_KEPT {
            node.sent.pop_first();
        }
        let placed = node.placed.get(&index).filter(|_| node.log.terms.get(&index) == Some(&term)).copied();
        let since = last.map(|(_, at)| at).or(placed).unwrap_or(0);
        let own = |(key, round): &(&(u64, Vec<u8>), &Round)| key.0 == id && round.term == term;
        let confirmed = |(_, round): (_, &Round)| round.begun >= since && round.answered.len() + 1 >= quorum;
        if quorum > 1 && !self.rounds.iter().filter(own).any(confirmed) {
            let newest = self.rounds.iter().filter(own).map(|(_, r)| (r.begun, r.answered.len() + 1)).max();
            let wants = format!("entry {index} placed {placed:?}, a round wanted since {since}, newest {newest:?}");
            found.say("S15", format!("c{id} sends {} in term {term}, its leadership not confirmed: {wants}", order.id));
        }
    }
}
