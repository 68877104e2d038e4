//! Hosts that join with a one-time token (docs/adr/0024).
//!
//! What always holds: which host asks, and with which token, is what the certificate of its connection says, never the message; the
//! key is made once and kept over restarts of the machine; an agent whose host has no identity does not start. Certificates are
//! not real here: a key is known by its digest, and a certificate says for which key it is.

use super::letters::{NO, answer_bytes, read_refusal};
use super::wire::Asker;
use super::*;
use crate::check::Seen;
use prost::Message;
use slot_agent::core_join::{Exchange, Next, PAUSE_MS};
use slot_coordinator::core::{Failure, Reply};
use slot_machine::join::Guest;
use slot_proto::pb;
use slot_types::position::Digest;

/// How long a coordinator may take, as the agent's shell says.
const CALL_MS: u64 = 10_000;
/// How long a host asks.
const PATIENCE_MS: u64 = 120_000;
/// Before a certificate.
const YES: u8 = 1;

/// Somebody with a token.
pub(crate) struct Joiner {
    guest: Guest,
    /// What its request says of its key.
    key: [u8; 16],
    exchange: Exchange,
    began: u64,
    /// The machine itself; others may have a copy of its token.
    is_the_host: bool,
    is_bare: bool,
    runs: bool,
    /// The call it waits for.
    call: u64,
    /// Somebody signed for it already, whether or not it heard so.
    is_certified: bool,
    /// Who led when it began.
    leader: Option<u64>,
    said: Option<Result<(), String>>,
}

impl Sim {
    /// A host is installed anew: its disk is empty, and it has no identity. It comes up after so long.
    pub(crate) fn reinstall(&mut self, host: &HostName, down_ms: u64) {
        self.wipe(host, down_ms);
        if let Some(node) = self.agents.get_mut(host) {
            node.outside = true;
        }
    }

    /// A machine that was never here.
    pub(crate) fn bare_machine(&mut self, host: &HostName) {
        let (incarnation, boot) = (Incarnation(self.arrivals.token()), BootId(self.arrivals.token()));
        let mut node = AgentMachine::new(self.cluster, host, incarnation, boot);
        node.outside = true;
        self.agents.insert(host.clone(), node);
        self.witness.saw(self.queue.now(), Seen::HostOn { host, boot });
    }

    /// A token, by the digest of its certificate.
    pub(crate) fn new_token(&mut self) -> Digest {
        Digest::of(&self.arrivals.token())
    }

    /// `slot-agent join`: on the machine itself, or by somebody who has its token as well.
    pub(crate) fn join(&mut self, host: &HostName, certificate: Digest, is_the_host: bool) -> u64 {
        let (joiner, key) = (self.number(), self.arrivals.token());
        let elsewhere = Incarnation(self.arrivals.token());
        let node = self.agents.get(host).filter(|_| is_the_host);
        let incarnation = node.map_or(elsewhere, |node| node.fresh.unwrap_or(node.incarnation));
        let is_bare = node.is_some_and(|node| node.fresh.is_none());
        let guest = Guest { host: host.clone(), certificate, key: Digest::of(&key), incarnation };
        let exchange = Exchange::new(self.coordinators.len(), PATIENCE_MS);
        let (began, leader) = (self.now(), self.leader());
        let asks = Joiner {
            guest,
            key,
            exchange,
            began,
            is_the_host,
            is_bare,
            runs: true,
            call: 0,
            is_certified: false,
            leader,
            said: None,
        };
        self.note(|| format!("{host} joins with token {certificate}, itself: {is_the_host}"));
        self.joiners.insert(joiner, asks);
        self.joins_again(joiner);
        joiner
    }

    /// The same command once more, with the key that was made.
    pub(crate) fn join_resumed(&mut self, joiner: u64) {
        let now = self.now();
        if let Some(asks) = self.joiners.get_mut(&joiner) {
            (asks.runs, asks.began, asks.said) = (true, now, None);
        }
        self.joins_again(joiner);
    }

    /// Everything stands still for so long, as where all machines are suspended: what waits is no nearer than before.
    pub(crate) fn stand_still(&mut self, ms: u64) {
        self.note(|| format!("everything stands still for {ms} ms"));
        self.queue.stand_still(ms);
        self.stood_still += ms;
        // Moments that are kept beside the queue.
        for at in [&mut self.people_at, &mut self.clients_at] {
            *at = at.saturating_add(ms);
        }
    }

    /// What it was told for good.
    pub(crate) fn joined(&self, joiner: u64) -> Option<&Result<(), String>> {
        self.joiners.get(&joiner)?.said.as_ref()
    }

    /// Its machine loses power.
    pub(super) fn joiners_die(&mut self, host: &HostName) {
        let mine = |asks: &&mut Joiner| asks.is_the_host && asks.runs && asks.guest.host == *host;
        let mut any = false;
        for asks in self.joiners.values_mut().filter(mine) {
            asks.runs = false;
            any = true;
        }
        if any {
            self.reach("ADR24: a host died while it joined");
        }
    }

    pub(super) fn place_of_joiner(&self, joiner: u64) -> Place {
        let asks = self.joiners.get(&joiner).filter(|asks| asks.is_the_host);
        asks.map_or(Place::Outside, |asks| Place::Host(asks.guest.host.clone()))
    }

    /// It asks, from the first coordinator on.
    pub(super) fn joins_again(&mut self, joiner: u64) {
        let is_dark = self.is_dark(&self.place_of_joiner(joiner));
        if let Some(asks) = self.joiners.get_mut(&joiner).filter(|asks| asks.runs && !is_dark) {
            let next = asks.exchange.begin();
            self.joining(joiner, next);
        }
    }

    fn joining(&mut self, joiner: u64, next: Next) {
        match next {
            Next::Ask(index) => {
                let (from, id) = (self.place_of_joiner(joiner), index as u64 + 1);
                let number = self.call(Asker::Joiner { joiner }, CALL_MS);
                let Some(asks) = self.joiners.get_mut(&joiner) else { return };
                asks.call = number;
                let (request, incarnation) = (asks.key.to_vec(), asks.guest.incarnation.to_string());
                let bytes = pb::JoinRequest { request, incarnation }.encode_to_vec();
                self.send(from, Node::Coordinator(id), Kind::Join, number, &bytes);
            }
            Next::Pause => self.queue.after(PAUSE_MS, Happening::Join(joiner)),
            Next::Refused(why) | Next::Unanswered(why) => self.joins_no_more(joiner, Err(why)),
        }
    }

    fn joins_no_more(&mut self, joiner: u64, said: Result<(), String>) {
        let Some(asks) = self.joiners.get_mut(&joiner) else { return };
        (asks.runs, asks.said) = (false, Some(said.clone()));
        let host = asks.guest.host.clone();
        self.note(|| format!("{host}, which joins, is told {said:?}"));
    }

    /// A coordinator gets the request of a host; the certificate is that of the connection.
    pub(super) fn join_in(&mut self, number: u64, payload: &[u8]) -> Option<Work> {
        let joiner = self.joiner_of(number)?;
        let request = pb::JoinRequest::decode(payload).ok()?;
        let asks = self.joiners.get(&joiner)?;
        let (host, certificate) = (asks.guest.host.clone(), asks.guest.certificate);
        let (key, incarnation) = (Digest::of(&request.request), request.incarnation.parse().ok()?);
        let guest = Guest { host, certificate, key, incarnation };
        Some(Work::Coordinator(Box::new(coordinator::Event::Join { token: number, guest })))
    }

    pub(super) fn joiner_of(&self, number: u64) -> Option<u64> {
        match self.calls.get(&number)? {
            Asker::Joiner { joiner } => Some(*joiner),
            _ => None,
        }
    }

    /// A coordinator answers a host that joins: with a certificate, once its core says that the token is burnt.
    pub(super) fn answer_joiner(&mut self, id: u64, joiner: u64, token: u64, reply: Result<Reply, Failure>) {
        let node = Node::Coordinator(id);
        let Some(asks) = self.joiners.get(&joiner) else { return };
        let bytes = match reply {
            Ok(_) => {
                let (guest, key) = (asks.guest.clone(), Digest::of(&asks.key).to_string());
                self.witness.saw(self.queue.now(), Seen::Certified { guest: &guest });
                let before = self.joiners.get_mut(&joiner).map(|asks| std::mem::replace(&mut asks.is_certified, true));
                if before == Some(true) {
                    self.reach("ADR24: a host asked again for the same use of its token");
                }
                [vec![YES], pb::JoinReply { certificates: key }.encode_to_vec()].concat()
            }
            Err(failure) => {
                self.saw_refused_joiner(joiner, &failure);
                let failure = match failure {
                    Failure::Interrupted { leader } => Failure::NotLeader { leader },
                    other => other,
                };
                answer_bytes(id, Err(failure))
            }
        };
        if self.place(&node, "answers", "joiner") {
            self.answer(Place::Coordinator(id), Kind::JoinReply, token, &bytes);
        }
    }

    fn saw_refused_joiner(&mut self, joiner: u64, failure: &Failure) {
        let text = failure.to_string();
        let is_said = |words: &str| matches!(failure, Failure::Refused(_)) && text.contains(words);
        let name = match () {
            () if is_said("revoked") => "ADR24: a token that was revoked was refused",
            () if is_said("another key") => "ADR24: a token that was used was refused to another key",
            () if is_said("older than a day") => "ADR24: a token that had expired was refused",
            () => return,
        };
        self.reach(name);
        self.note(|| format!("joiner {joiner} is refused: {text}"));
    }

    /// The answer, or none in time.
    pub(super) fn join_answered(&mut self, joiner: u64, number: u64, payload: Option<&[u8]>) {
        let (now, leader) = (self.now(), self.leader());
        let Some(asks) = self.joiners.get_mut(&joiner).filter(|asks| asks.runs && asks.call == number) else { return };
        let (is_final, text) = match payload.and_then(<[u8]>::split_first) {
            Some((&YES, reply)) => {
                let certificates = pb::JoinReply::decode(reply).map(|reply| reply.certificates).unwrap_or_default();
                if certificates == Digest::of(&asks.key).to_string() {
                    return self.is_in(joiner, leader);
                }
                (false, "the certificate is not that of this host's own key".to_string())
            }
            Some((&NO, no)) => match read_refusal(no) {
                Some(failure) => (matches!(failure, Failure::Refused(_) | Failure::Invalid(_)), failure.to_string()),
                None => (false, "an answer that can't be read".to_string()),
            },
            _ => (false, "no answer".to_string()),
        };
        let next = asks.exchange.failed(now.saturating_sub(asks.began), is_final, text);
        self.joining(joiner, next);
    }

    /// It has its certificate: its agent starts.
    fn is_in(&mut self, joiner: u64, leader: Option<u64>) {
        let Some(asks) = self.joiners.get(&joiner) else { return };
        let (host, is_the_host, is_bare) = (asks.guest.host.clone(), asks.is_the_host, asks.is_bare);
        if asks.leader != leader {
            self.reach("ADR24: the leader changed while a host joined");
        }
        if is_the_host {
            self.reach(if is_bare { "ADR24: a bare host joined" } else { "ADR24: a reinstalled host joined" });
            if let Some(node) = self.agents.get_mut(&host) {
                node.outside = false;
            }
            self.queue.after(20, Happening::Start(Node::Agent(host)));
        }
        self.joins_no_more(joiner, Ok(()));
    }
}
