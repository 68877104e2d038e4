//! Clients of stores: several per store, each with several records under way, and a log of its own of what it was told.
//!
//! What always holds: a record is retried with its own id until its fate is certain (R21); a client trusts nothing but
//! answers, and compares them with the masters' logs at the end. Everything it does is returned as a value.

mod compare;
mod doors;
#[cfg(test)]
mod tests;

pub use compare::{Aside, Finding};
pub use doors::{Door, Line};

use crate::queue::Stream;
use slot_engine::journal::core::{self as journal, AppendOutcome, ReadOutcome, RefusedReason};
use slot_machine::state::State;
use slot_types::ids::*;
use std::collections::{BTreeMap, BTreeSet};

/// How long a client waits for one answer; then `answered` must be called with `None`.
pub const PATIENCE_MS: u64 = 1_000;
/// A client that finds no route looks again after this long.
const NO_ROUTE_MS: u64 = 100;
/// Former routes a client remembers, to use one on purpose.
const FORMER_ROUTES: usize = 4;

/// Where stores are, as far as anybody who is alive knows.
#[derive(Clone, Copy)]
pub struct Routes<'a>(pub Option<&'a State>);

impl Routes<'_> {
    /// The route of a store.
    pub fn of(&self, store: &StoreName) -> Option<(SlotId, Epoch)> {
        let route = self.0?.cluster.as_ref()?.stores.get(store)?.route.as_ref()?;
        Some((route.slot.clone(), route.epoch))
    }
}

/// A client's request to an engine.
#[derive(Clone, Debug, PartialEq)]
pub struct ClientAsk {
    /// Comes back in [`Writers::answered`], once.
    pub token: u64,
    /// Which engine.
    pub slot: SlotId,
    /// What.
    pub what: ClientRequest,
}

/// What a client asks.
#[derive(Clone, Debug, PartialEq)]
pub enum ClientRequest {
    /// Append a record.
    Append(journal::Append),
    /// Read records.
    Read(journal::Read),
}

impl ClientRequest {
    /// The event an engine gets.
    pub fn event(self, request: u64) -> journal::Event {
        match self {
            Self::Append(append) => journal::Event::Append { request, append, budget_ms: PATIENCE_MS },
            Self::Read(read) => journal::Event::Read { request, read },
        }
    }
}

/// How the clients are.
#[derive(Clone, Debug)]
pub struct Config {
    /// The stores they write to.
    pub stores: Vec<StoreName>,
    /// Clients of each store.
    pub clients_per_store: u8,
    /// Records each client has under way at most.
    pub pipeline: u8,
    /// The shortest and longest pause before a client's next record, in milliseconds.
    pub pause_ms: (u64, u64),
    /// The longest payload, in bytes.
    pub payload_max: u64,
    /// One in so many requests is a read; 0 is none.
    pub read_one_in: u64,
    /// One in so many appends goes by a wrong route on purpose; 0 is none.
    pub astray_one_in: u64,
}

impl Config {
    /// Two clients per store, four records under way each.
    pub fn new(stores: Vec<StoreName>) -> Self {
        Self {
            stores,
            clients_per_store: 2,
            pipeline: 4,
            pause_ms: (20, 400),
            payload_max: 40,
            read_one_in: 12,
            astray_one_in: 40,
        }
    }
}

/// An acknowledgement, as the client keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acked {
    /// The record's number with its client.
    pub sequence: u64,
    /// Who acknowledged: see [`Writers::slot`].
    pub slot: u16,
    /// At which epoch.
    pub epoch: Epoch,
    /// At which index of the log.
    pub index: u64,
    /// When the record was first sent.
    pub sent_at: u64,
    /// When it was acknowledged.
    pub at: u64,
}

struct Client {
    name: ClientName,
    store: usize,
    sequence: u64,
    route: Option<(SlotId, Epoch)>,
    former: Vec<(SlotId, Epoch)>,
    /// Records under way: when each was first sent.
    under_way: BTreeMap<u64, u64>,
    acked: Vec<Acked>,
    /// Sequences whose last answer was none, or "unknown".
    unknown: BTreeSet<u64>,
}

struct Flight {
    client: usize,
    slot: SlotId,
    epoch: Epoch,
    what: What,
}

#[derive(Clone, Copy)]
enum What {
    Append {
        sequence: u64,
        /// By a wrong route on purpose.
        astray: bool,
    },
    /// Of this acknowledged record.
    Read(Option<Acked>),
}

#[derive(Clone, Copy)]
enum Due {
    /// A client's next record.
    Next(usize),
    /// A record once more.
    Again(usize, u64),
}

/// All clients of all stores.
pub struct Writers {
    dice: Stream,
    config: Config,
    clients: Vec<Client>,
    slots: Vec<SlotId>,
    agenda: BTreeMap<(u64, u64), Due>,
    flights: BTreeMap<u64, Flight>,
    number: u64,
    running: bool,
    doors: doors::Doors,
    holders: BTreeMap<(usize, Epoch), u16>,
    findings: Vec<Finding>,
    /// Records that were ever listed as held by a former master alone: reinjected ones stand later than they were
    /// acknowledged, and a list that was put back half way is made again without them.
    listed: BTreeSet<RecordId>,
    looked: BTreeMap<LossCaseId, usize>,
    counts: BTreeMap<&'static str, u64>,
}

impl Writers {
    /// Clients that have written nothing yet.
    pub fn new(dice: Stream, config: Config) -> Self {
        let mut clients = Vec::new();
        for (store, name) in config.stores.iter().enumerate() {
            for number in 1..=config.clients_per_store {
                let Ok(name) = ClientName::new(format!("w{number}-{}", name.as_str())) else { continue };
                clients.push(Client {
                    name,
                    store,
                    sequence: 0,
                    route: None,
                    former: Vec::new(),
                    under_way: BTreeMap::new(),
                    acked: Vec::new(),
                    unknown: BTreeSet::new(),
                });
            }
        }
        let agenda = (0..clients.len()).map(|client| ((0, client as u64), Due::Next(client))).collect();
        let number = clients.len() as u64;
        Self {
            dice,
            config,
            clients,
            slots: Vec::new(),
            agenda,
            flights: BTreeMap::new(),
            number,
            running: true,
            doors: doors::Doors::default(),
            holders: BTreeMap::new(),
            findings: Vec::new(),
            listed: BTreeSet::new(),
            looked: BTreeMap::new(),
            counts: BTreeMap::new(),
        }
    }

    /// When [`Writers::step`] must be called next; `u64::MAX` is never.
    pub fn wake_at(&self) -> u64 {
        self.agenda.keys().next().map_or(u64::MAX, |(at, _)| *at)
    }

    /// From now on no new record begins; those under way are retried until they are certain.
    pub fn stop(&mut self) {
        self.running = false;
    }

    /// The shortest and longest pause before a client's next record from now on, in milliseconds.
    pub fn pace(&mut self, pause_ms: (u64, u64)) {
        self.config.pause_ms = pause_ms;
    }

    /// Whether every record that was ever sent has a certain fate.
    pub fn is_settled(&self) -> bool {
        self.clients.iter().all(|c| c.under_way.is_empty())
    }

    /// How many records were acknowledged.
    pub fn written(&self) -> usize {
        self.clients.iter().map(|c| c.acked.len()).sum()
    }

    /// Whether anybody writes to a store.
    pub fn has_clients(&self, store: &StoreName) -> bool {
        self.config.stores.contains(store)
    }

    /// How many records of one store were acknowledged.
    pub fn written_to(&self, store: &StoreName) -> usize {
        let of = |c: &&Client| self.config.stores.get(c.store) == Some(store);
        self.clients.iter().filter(of).map(|c| c.acked.len()).sum()
    }

    /// The acknowledgements of each client, in the order in which they came, with its store.
    pub fn logs(&self) -> impl Iterator<Item = (&StoreName, &ClientName, &[Acked])> {
        let store = |c: &Client| self.config.stores.get(c.store);
        self.clients.iter().filter_map(move |c| Some((store(c)?, &c.name, c.acked.as_slice())))
    }

    /// The slot that an [`Acked`] names.
    pub fn slot(&self, number: u16) -> Option<&SlotId> {
        self.slots.get(usize::from(number))
    }

    /// What clients found wrong while they wrote (S1, S13).
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// What clients did and were answered, by name.
    pub fn counts(&self) -> &BTreeMap<&'static str, u64> {
        &self.counts
    }

    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    fn later(&mut self, at: u64, due: Due) {
        self.number += 1;
        self.agenda.insert((at, self.number), due);
    }

    fn pause(&mut self) -> u64 {
        let (low, high) = self.config.pause_ms;
        self.dice.within(low.min(high), high)
    }

    /// Sends what is due.
    pub fn step(&mut self, now: u64, routes: &Routes<'_>) -> Vec<ClientAsk> {
        self.look(routes);
        let mut asks = Vec::new();
        while self.agenda.keys().next().is_some_and(|(at, _)| *at <= now) {
            let Some((_, due)) = self.agenda.pop_first() else { break };
            match due {
                Due::Next(client) => self.next(now, routes, client, &mut asks),
                Due::Again(client, sequence) => self.append(now, routes, client, sequence, &mut asks),
            }
        }
        asks
    }

    /// Remembers what loss cases list, as long as they list it.
    fn look(&mut self, routes: &Routes<'_>) {
        let cases = routes.0.and_then(|state| state.cluster.as_ref()).map(|c| &c.loss_cases);
        for (id, case) in cases.into_iter().flatten() {
            let known = self.looked.entry(*id).or_default();
            if *known != case.stranded.len() {
                *known = case.stranded.len();
                self.listed.extend(case.stranded.iter().cloned());
            }
        }
    }

    fn next(&mut self, now: u64, routes: &Routes<'_>, client: usize, asks: &mut Vec<ClientAsk>) {
        if !self.running {
            return;
        }
        let pause = self.pause();
        self.later(now + pause, Due::Next(client));
        if self.dice.one_in(self.config.read_one_in) {
            return self.read(routes, client, asks);
        }
        let most = usize::from(self.config.pipeline.max(1));
        let Some(state) = self.clients.get_mut(client) else { return };
        if state.under_way.len() >= most {
            return self.count("pipeline full");
        }
        state.sequence += 1;
        let sequence = state.sequence;
        state.under_way.insert(sequence, now);
        if state.under_way.len() > 1 {
            self.count("several records under way");
        }
        self.append(now, routes, client, sequence, asks);
    }

    /// What a front end shows to whoever comes from now on.
    pub fn door(&mut self, number: usize, door: Door) {
        self.doors.set(number, door);
    }

    /// The route a client holds; asked anew when it holds none.
    fn route(&mut self, routes: &Routes<'_>, client: usize) -> Option<(SlotId, Epoch)> {
        let state = self.clients.get(client)?;
        let mut asked = None;
        if state.route.is_none() {
            let store = self.config.stores.get(state.store)?;
            let shown = self.doors.of(client, store);
            if shown.is_some_and(|line| line.is_some_and(|line| line.moving)) {
                self.count("held by a front end");
                return None;
            }
            asked = Some(match shown {
                Some(line) => line.map(|line| (line.slot.clone(), line.epoch))?,
                None => routes.of(store)?,
            });
        }
        let state = self.clients.get_mut(client)?;
        if let Some(route) = asked {
            if state.former.last() != Some(&route) {
                state.former.push(route.clone());
                if state.former.len() > FORMER_ROUTES {
                    state.former.remove(0);
                }
            }
            state.route = Some(route);
        }
        state.route.clone()
    }

    fn append(&mut self, now: u64, routes: &Routes<'_>, client: usize, sequence: u64, asks: &mut Vec<ClientAsk>) {
        let Some(mut route) = self.route(routes, client) else {
            self.count("no route");
            return self.later(now + NO_ROUTE_MS, Due::Again(client, sequence));
        };
        let mut astray = false;
        if self.dice.one_in(self.config.astray_one_in)
            && let Some(wrong) = self.astray(routes, client, &route)
        {
            (route, astray) = (wrong, true);
        }
        let Some(state) = self.clients.get(client) else { return };
        let Some(store) = self.config.stores.get(state.store).cloned() else { return };
        let id = RecordId { client: state.name.clone(), sequence };
        let (slot, epoch) = route;
        let payload = payload(&id, usize::try_from(self.config.payload_max).unwrap_or(0));
        let append = journal::Append { store, epoch, id, payload };
        self.number += 1;
        let token = self.number;
        asks.push(ClientAsk { token, slot: slot.clone(), what: ClientRequest::Append(append) });
        self.flights.insert(token, Flight { client, slot, epoch, what: What::Append { sequence, astray } });
    }

    /// A wrong route: a former one, an older epoch, or another store's slot.
    fn astray(&mut self, routes: &Routes<'_>, client: usize, route: &(SlotId, Epoch)) -> Option<(SlotId, Epoch)> {
        match self.dice.within(0, 2) {
            0 => {
                let former = self.clients.get(client)?.former.iter().find(|r| *r != route).cloned()?;
                self.count("sent by a former route");
                Some(former)
            }
            1 => {
                let n = route.1.n.checked_sub(1)?;
                self.count("sent with an older epoch");
                Some((route.0.clone(), Epoch { n, ..route.1 }))
            }
            _ => {
                let own = self.clients.get(client)?.store;
                let other = self.config.stores.iter().enumerate().find(|(number, _)| *number != own)?.1;
                let (slot, _) = routes.of(other)?;
                self.count("sent to another store's slot");
                Some((slot, route.1))
            }
        }
    }

    /// One of the client's own records that the route's master acknowledged itself, or whatever there is.
    fn read(&mut self, routes: &Routes<'_>, client: usize, asks: &mut Vec<ClientAsk>) {
        // The client's next turn is on the agenda already: a second one here would double its turns each time.
        let Some((slot, epoch)) = self.route(routes, client) else { return self.count("read without a route") };
        let back = self.dice.within(0, 8) as usize;
        let Some(state) = self.clients.get(client) else { return };
        let here = |a: &&Acked| a.epoch == epoch && self.slots.get(usize::from(a.slot)) == Some(&slot);
        let known = state.acked.iter().rev().take(20).filter(here).nth(back).copied();
        let Some(store) = self.config.stores.get(state.store).cloned() else { return };
        let from = known.map_or(0, |a| a.index);
        let read = journal::Read { store, epoch, from, records_max: 2, wait_ms: 0, stale: false };
        self.number += 1;
        let token = self.number;
        asks.push(ClientAsk { token, slot: slot.clone(), what: ClientRequest::Read(read) });
        self.flights.insert(token, Flight { client, slot, epoch, what: What::Read(known) });
        self.count("read sent");
    }

    /// The answer to a [`ClientAsk`]; `None` when none came in time. A token that is not (or no longer) known is ignored.
    pub fn answered(&mut self, now: u64, token: u64, answer: Option<journal::Reply>) {
        let Some(flight) = self.flights.remove(&token) else { return };
        match (flight.what, answer) {
            (What::Append { sequence, astray }, answer) => {
                let outcome = match answer {
                    Some(journal::Reply::Append(outcome)) => Some(outcome),
                    _ => None,
                };
                self.append_answered(now, &flight, (sequence, astray), outcome);
            }
            (What::Read(known), Some(journal::Reply::Read(outcome))) => {
                self.read_answered(&flight, known, &outcome);
            }
            (What::Read(_), _) => self.count("read without an answer"),
        }
    }

    fn append_answered(
        &mut self,
        now: u64,
        flight: &Flight,
        (sequence, astray): (u64, bool),
        outcome: Option<AppendOutcome>,
    ) {
        match outcome {
            Some(AppendOutcome::Done { index, existed }) => {
                self.acknowledged(now, flight, (sequence, astray), index, existed);
            }
            Some(AppendOutcome::Refused(refused)) => {
                self.count(refusal(refused.reason));
                let former = matches!(refused.reason, RefusedReason::NotMaster | RefusedReason::OlderEpoch);
                if former && !astray && self.doors.has(flight.client) {
                    self.count("refused where a front end had sent it");
                }
                self.forget_route(flight, astray);
                self.retry(now, flight.client, sequence, 30);
            }
            Some(AppendOutcome::Unknown { .. }) | None => {
                self.count(if outcome.is_none() { "append without an answer" } else { "append unknown" });
                if let Some(client) = self.clients.get_mut(flight.client) {
                    client.unknown.insert(sequence);
                }
                self.forget_route(flight, astray);
                self.retry(now, flight.client, sequence, 60);
            }
        }
    }

    fn acknowledged(&mut self, now: u64, flight: &Flight, what: (u64, bool), index: u64, existed: bool) {
        let (sequence, astray) = what;
        let slot = self.slot_number(&flight.slot);
        let Some(client) = self.clients.get_mut(flight.client) else { return };
        let Some(sent_at) = client.under_way.remove(&sequence) else { return };
        let store = client.store;
        let was_unknown = client.unknown.remove(&sequence);
        client.acked.push(Acked { sequence, slot, epoch: flight.epoch, index, sent_at, at: now });
        let id = RecordId { client: client.name.clone(), sequence };
        self.count("acknowledged");
        if was_unknown {
            self.count(if existed { "unknown append had been done" } else { "unknown append had not been done" });
        }
        if astray {
            self.count("acknowledged by a wrong route");
        }
        // S1: at one epoch one slot acknowledges.
        let holder = *self.holders.entry((store, flight.epoch)).or_insert(slot);
        if holder != slot {
            let other = self.slots.get(usize::from(holder)).map_or(String::new(), ToString::to_string);
            let text = format!("{id} was acknowledged by {} at epoch {}, others by {other}", flight.slot, flight.epoch);
            self.findings.push(Finding { invariant: "S1", at_ms: now, text });
        }
    }

    fn slot_number(&mut self, slot: &SlotId) -> u16 {
        let at = self.slots.iter().position(|known| known == slot).unwrap_or_else(|| {
            self.slots.push(slot.clone());
            self.slots.len() - 1
        });
        u16::try_from(at).unwrap_or(u16::MAX)
    }

    /// After a refusal the client asks for the route again; one sent astray says nothing about the route held.
    fn forget_route(&mut self, flight: &Flight, astray: bool) {
        let Some(client) = self.clients.get_mut(flight.client) else { return };
        let same = client.route.as_ref().is_some_and(|(slot, epoch)| *slot == flight.slot && *epoch == flight.epoch);
        if same && !astray {
            client.route = None;
        }
    }

    fn retry(&mut self, now: u64, client: usize, sequence: u64, pause_ms: u64) {
        let pause = self.dice.within(pause_ms / 4, pause_ms * 2);
        self.count("retried with the same id");
        self.later(now + pause, Due::Again(client, sequence));
    }

    /// S13, S1: at one slot and epoch an index holds one record for ever.
    fn read_answered(&mut self, flight: &Flight, known: Option<Acked>, outcome: &ReadOutcome) {
        let ReadOutcome::Records { from, records, .. } = outcome else {
            self.count("read refused");
            if let Some(client) = self.clients.get_mut(flight.client) {
                client.route = None;
            }
            return;
        };
        let Some(acked) = known else { return self.count("read answered") };
        let Some(first) = records.first().filter(|_| *from == acked.index) else {
            return self.count("read answered: not readable yet");
        };
        self.count("read answered: own record");
        let Some(client) = self.clients.get(flight.client) else { return };
        let own = first.data_id().is_some_and(|id| id.client == client.name && id.sequence == acked.sequence);
        if !own {
            let text = format!(
                "{} at epoch {} acknowledged {}:{} at index {}, and reads {:?} there",
                flight.slot,
                flight.epoch,
                client.name,
                acked.sequence,
                acked.index,
                first.id()
            );
            self.findings.push(Finding { invariant: "S13", at_ms: acked.at, text });
        }
    }
}

/// What a record holds: its name alone decides, so that every retry sends the same bytes.
fn payload(id: &RecordId, longest: usize) -> Vec<u8> {
    let seed = id.client.as_str().bytes().fold(id.sequence, |sum, b| sum.wrapping_mul(31).wrapping_add(u64::from(b)));
    let length = (seed % (longest as u64 + 1)) as usize;
    seed.to_le_bytes().into_iter().cycle().take(length.max(1)).collect()
}

fn refusal(reason: RefusedReason) -> &'static str {
    match reason {
        RefusedReason::OtherStore => "append refused: other store",
        RefusedReason::OlderEpoch => "append refused: older epoch",
        RefusedReason::NewerEpoch => "append refused: newer epoch",
        RefusedReason::NotMaster => "append refused: not master",
        RefusedReason::Frozen => "append refused: frozen",
        RefusedReason::TooFewCopies => "append refused: too few copies",
        RefusedReason::Busy => "append refused: busy",
        RefusedReason::Full => "append refused: full",
        RefusedReason::Invalid => "append refused: invalid",
    }
}
