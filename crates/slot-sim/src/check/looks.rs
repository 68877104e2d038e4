//! Probes: what they prove, what they void, and that everybody is looked at (R8, R23, R26, docs/adr/0027 and 0039).
//!
//! What always holds: who has proven to be whom, and when, is told by the world and not by the code; a word that a host is off
//! stands no longer than its leader takes an answer to a probe that it had asked for later, and is voided by no answer that was
//! given before it; who is said to have answered has proven it; devices are asked as R26 wants it; the address of every master
//! is asked for by at least two hosts elsewhere that are heard.

use super::Found;
use super::raft::Raft;
use slot_coordinator::core as coordinator;
use slot_coordinator::core::{ControlRequest, Entry};
use slot_machine::command::Command;
use slot_machine::state::State;
use slot_types::codec;
use slot_types::fence::FenceFrom;
use slot_types::ids::*;
use slot_types::plan::Plan;
use slot_types::probe::{LookAt, Looks as Asks, Probed, Saw, Sights};
use std::collections::{BTreeMap, BTreeSet};

/// A sight is proposed at once; whatever its leader places so much later comes after it in the log.
const AFTER_MS: u64 = 500;
/// A word that a leader has known for so long was in force when it asked.
const KNOWN_MS: u64 = 5;
/// A report is expected this often of a host that is heard.
const HEARD_MS: u64 = 1_000;
/// A leader that does nothing for so long stood still.
const STILL_MS: u64 = 1_500;
/// How long all must have been as it is, before everybody must be looked at.
const STEADY_MS: u64 = 13_000;
/// The longest pause between two questions for one address: a round that is lost is waited for, and then whoever has to look
/// now has one.
const ROUND_MS: u64 = 12_000;
/// The shortest pause between two questions to one device.
const DEVICE_EVERY_MS: u64 = 10_000;
/// By how many a master's address is looked at.
const WATCHERS: usize = 2;

/// A coordinator that leads.
struct Lead {
    term: u64,
    /// Since when it has led without standing still.
    since: u64,
    at: u64,
    /// When it first knew of the word in force.
    words: BTreeMap<HostName, (LogTime, u64)>,
    heard: BTreeMap<HostName, (Incarnation, BootId, u64)>,
    well: BTreeMap<HostName, u64>,
    masters: BTreeMap<SlotId, u64>,
    looked: BTreeMap<SlotId, BTreeMap<HostName, u64>>,
    devices: BTreeMap<HostName, u64>,
}

struct Asked {
    looks: Vec<LookAt>,
    words: BTreeMap<HostName, LogTime>,
}

struct Word {
    at: LogTime,
    /// When the first coordinator was asked to take it.
    asked: u64,
}

/// A word that has to fall: its leader took an answer.
struct Due {
    word: LogTime,
    node: u64,
    term: u64,
    at: u64,
}

/// Who looked, at whose agent or slot.
type Sight = (HostName, HostName, Option<u16>);

/// See the module's documentation.
#[derive(Default)]
pub(super) struct Looks {
    /// Whether this world probes.
    pub on: bool,
    leads: BTreeMap<u64, Lead>,
    asked: BTreeMap<(u64, u64), Asked>,
    taken: Option<(u64, u64, Vec<Saw>)>,
    attests: BTreeMap<HostName, u64>,
    words: BTreeMap<HostName, Word>,
    due: BTreeMap<HostName, Due>,
    proofs: BTreeMap<Sight, u64>,
    alive: BTreeMap<HostName, u64>,
}

impl Looks {
    /// A process of a host has proven to another host's agent who it is.
    pub fn proves(&mut self, now: u64, by: &HostName, host: &HostName, slot: Option<u16>) {
        self.proofs.insert((by.clone(), host.clone(), slot), now);
        self.alive.insert(host.clone(), now);
    }

    /// An agent says what it saw: "answered" of nobody who has not proven it since it was asked.
    pub fn saw(&self, found: &mut Found, by: &HostName, begun: u64, looks: &[LookAt], sights: &Sights) {
        for (at, saw) in looks.iter().zip(&sights.saw) {
            let (LookAt::Address { host, slot, .. }, Saw::Probe(Probed::Answered)) = (at, saw) else { continue };
            let slot = slot.as_ref().map(|slot| slot.number);
            let proof = self.proofs.get(&(by.clone(), host.clone(), slot)).copied();
            if proof.is_none_or(|at| at < begun) {
                let what = slot.map_or_else(|| format!("the agent of {host}"), |slot| format!("{host}/{slot}"));
                found
                    .say("R8", format!("{by} says that {what} answered, which has proven nothing to it since {begun}"));
            }
        }
        if sights.saw.len() != looks.len() {
            found.say("R8", format!("{by} was asked to look at {} things and says {}", looks.len(), sights.saw.len()));
        }
    }

    /// A coordinator is about to take an event.
    pub fn takes(&mut self, now: u64, node: u64, event: &coordinator::Event) {
        if !self.on {
            return;
        }
        match event {
            coordinator::Event::Looked { look, result: Ok(sights) } => {
                self.taken = Some((node, *look, sights.saw.clone()));
            }
            coordinator::Event::Request { request: ControlRequest::Attest { host, .. }, .. } => {
                self.attests.entry(host.clone()).or_insert(now);
            }
            coordinator::Event::AgentReport { host, report } => {
                if let Some(lead) = self.leads.get_mut(&node) {
                    lead.heard.insert(host.clone(), (report.incarnation, report.boot, now));
                }
            }
            _ => {}
        }
    }

    /// A coordinator has taken it, and wants things done.
    pub fn did(&mut self, found: &mut Found, node: u64, state: &State, effects: &[coordinator::Effect]) {
        if !self.on {
            return;
        }
        for effect in effects {
            if let coordinator::Effect::WatchAgents { term, agents } = effect {
                self.watches(found.now, node, term.0, agents.is_empty());
            }
        }
        self.voids(found.now, node, state);
        let Some(lead) = self.leads.get_mut(&node) else { return };
        lead.goes_on(found.now, state);
        let known: BTreeMap<HostName, LogTime> = lead
            .words
            .iter()
            .filter(|(_, (_, since))| since + KNOWN_MS <= found.now)
            .map(|(host, (word, _))| (host.clone(), *word))
            .collect();
        for effect in effects {
            let coordinator::Effect::Look { look, host, looks, .. } = effect else { continue };
            let Ok(Asks { at, .. }) = codec::decode::<Asks>(looks) else { continue };
            lead.asks(found, state, host, &at);
            self.asked.insert((node, *look), Asked { looks: at, words: known.clone() });
        }
        while self.asked.len() > 4_096 {
            self.asked.pop_first();
        }
        if effects.iter().any(|effect| matches!(effect, coordinator::Effect::Look { .. })) {
            lead.covers(found, state);
        }
    }

    fn watches(&mut self, now: u64, node: u64, term: u64, nobody: bool) {
        if nobody {
            self.leads.remove(&node);
        } else if self.leads.get(&node).is_none_or(|lead| lead.term != term) {
            self.leads.insert(node, Lead::new(now, term));
            self.asked.retain(|(other, _), _| *other != node);
        }
    }

    /// A coordinator's process is dead.
    pub fn gone(&mut self, node: u64) {
        self.leads.remove(&node);
        self.asked.retain(|(other, _), _| *other != node);
    }

    /// The log is lost.
    pub fn restored(&mut self) {
        let (on, proofs, alive) = (self.on, std::mem::take(&mut self.proofs), std::mem::take(&mut self.alive));
        *self = Self { on, proofs, alive, ..Self::default() };
    }

    /// The answers that a leader has just taken: the words that it knew when it asked have to fall.
    fn voids(&mut self, now: u64, node: u64, state: &State) {
        let Some((_, look, saw)) = self.taken.take_if(|(by, ..)| *by == node) else { return };
        let (Some(asked), Some(lead)) = (self.asked.remove(&(node, look)), self.leads.get(&node)) else { return };
        let Some(cluster) = state.cluster.as_ref().filter(|_| state.restoring.is_none()) else { return };
        for (at, saw) in asked.looks.iter().zip(saw) {
            let (LookAt::Address { host, .. }, Saw::Probe(Probed::Answered)) = (at, saw) else { continue };
            let word = cluster.attestations.get(host).map(|word| word.at);
            if let Some(word) = word.filter(|word| asked.words.get(host) == Some(word)) {
                self.due.entry(host.clone()).or_insert(Due { word, node, term: lead.term, at: now });
            }
        }
    }

    /// A committed entry was followed; `state` is the one after it.
    pub fn entry(&mut self, found: &mut Found, raft: &Raft, state: &State, index: u64, term: u64, bytes: &[u8]) {
        if !self.on {
            return;
        }
        let Some(cluster) = state.cluster.as_ref() else { return };
        let stands = |host: &HostName, word: LogTime| cluster.attestations.get(host).is_some_and(|a| a.at == word);
        if let Ok(entry) = codec::decode::<Entry>(bytes) {
            match &entry.proposal.command {
                Command::SignOfLife { host, seen } if seen.contains("answered a probe") => {
                    let word = self.words.get(host).filter(|word| !stands(host, word.at));
                    let alive = self.alive.get(host).copied();
                    if word.is_some_and(|word| alive.is_none_or(|at| at < word.asked)) {
                        found.say("R8", format!("entry {index} voids the word that {host} is off: {seen}, before it"));
                    }
                }
                Command::RecordPlan { bytes } => self.sheet(found, index, bytes),
                _ => {}
            }
        }
        self.words.retain(|host, word| stands(host, word.at));
        for (host, word) in &cluster.attestations {
            if !self.words.contains_key(host) {
                let asked = self.attests.remove(host).unwrap_or(0);
                self.words.insert(host.clone(), Word { at: word.at, asked });
            }
        }
        self.due.retain(|host, due| {
            if !stands(host, due.word) || term > due.term {
                return false;
            }
            let later = raft.placed_at(due.node, index).is_some_and(|at| at > due.at + AFTER_MS);
            if term == due.term && later {
                let text = format!(
                    "entry {index}: the word that {host} is off stands, its leader took an answer at {}",
                    due.at
                );
                found.say("R8", text);
                return false;
            }
            true
        });
    }

    /// R23: who is said to reach a host has had its proof.
    fn sheet(&self, found: &mut Found, index: u64, bytes: &[u8]) {
        let Ok(plan) = codec::decode::<Plan>(bytes) else { return };
        for (host, reach) in &plan.evidence.reach {
            for probe in reach.probes.iter().filter(|probe| probe.probed == Probed::Answered) {
                let slot = probe.slot.as_ref().map(|slot| slot.number);
                if !self.proofs.contains_key(&(probe.by.clone(), host.clone(), slot)) {
                    found.say("R23", format!("entry {index} says that {} reaches {host}, which never did", probe.by));
                }
            }
        }
    }
}

impl Lead {
    fn new(now: u64, term: u64) -> Self {
        Self {
            term,
            since: now,
            at: now,
            words: BTreeMap::new(),
            heard: BTreeMap::new(),
            well: BTreeMap::new(),
            masters: BTreeMap::new(),
            looked: BTreeMap::new(),
            devices: BTreeMap::new(),
        }
    }

    /// It has taken a step: what it knows now, and since when.
    fn goes_on(&mut self, now: u64, state: &State) {
        if now > self.at + STILL_MS {
            self.since = now;
        }
        self.at = now;
        let Some(cluster) = state.cluster.as_ref() else { return };
        self.words.retain(|host, (at, _)| cluster.attestations.get(host).is_some_and(|word| word.at == *at));
        for (host, word) in &cluster.attestations {
            self.words.entry(host.clone()).or_insert((word.at, now));
        }
        for (name, host) in &cluster.hosts {
            let heard = self.heard.get(name).filter(|(disk, boot, at)| {
                host.incarnation == Some(*disk) && host.boot == Some(*boot) && now <= at + HEARD_MS
            });
            match heard.filter(|_| host.quarantined.is_none()) {
                Some(_) => drop(self.well.entry(name.clone()).or_insert(now)),
                None => drop(self.well.remove(name)),
            }
        }
        let masters: BTreeSet<&SlotId> = cluster.stores.values().filter_map(|store| store.master.as_ref()).collect();
        self.masters.retain(|slot, _| masters.contains(slot));
        for slot in masters {
            self.masters.entry(slot.clone()).or_insert(now);
        }
    }

    /// It asks an agent to look.
    fn asks(&mut self, found: &mut Found, state: &State, by: &HostName, looks: &[LookAt]) {
        let now = found.now;
        for look in looks {
            match look {
                LookAt::Address { slot: Some(slot), .. } => {
                    self.looked.entry(slot.clone()).or_default().insert(by.clone(), now);
                }
                LookAt::Power { host, .. } => self.asks_device(found, state, by, host),
                _ => {}
            }
        }
    }

    /// R26: a device is asked for its status seldom, of a silent host that no plan holds, and by who may use it.
    fn asks_device(&mut self, found: &mut Found, state: &State, by: &HostName, of: &HostName) {
        let (Some(cluster), now) = (state.cluster.as_ref(), found.now) else { return };
        let switches_off = state.running().any(|record| record.plan.switch_off.contains_key(of));
        if switches_off || state.host_claims.contains_key(of) {
            found.say("R26", format!("{by} is to ask the device of {of}, which a running plan holds"));
        }
        if self.devices.insert(of.clone(), now).is_some_and(|last| now < last + DEVICE_EVERY_MS) {
            found.say("R26", format!("{by} is to ask the device of {of} again so soon"));
        }
        if self.heard.get(of).is_some_and(|(.., at)| now <= at + cluster.policy.silent_ms) {
            found.say("R26", format!("{by} is to ask the device of {of}, whose agent is heard"));
        }
        let Some((there, here)) = cluster.hosts.get(of).zip(cluster.hosts.get(by)) else { return };
        let apart = there.device.spec.as_ref().is_some_and(|spec| spec.from == FenceFrom::AnotherRack);
        if apart && there.at == here.at {
            found.say("R26", format!("{by} is to ask the device of {of}, of its own failure domain"));
        }
    }

    /// Every master's address was asked for lately by two others that are heard, where there are two.
    fn covers(&self, found: &mut Found, state: &State) {
        let now = found.now;
        if now < self.since + STEADY_MS || state.restoring.is_some() {
            return;
        }
        let steady = |since: &u64| since + STEADY_MS <= now;
        for (slot, _) in self.masters.iter().filter(|(_, since)| steady(since)) {
            let may = self.well.iter().filter(|(host, since)| **host != slot.host && steady(since)).count();
            let by = self.looked.get(slot).into_iter().flatten().filter(|(_, at)| **at + ROUND_MS >= now).count();
            if by < may.min(WATCHERS) {
                let text = format!("the address of {slot} is looked at by {by} hosts lately, {may} could");
                return found.say("ADR39", text);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(n: u8) -> HostName {
        crate::setup::host(n)
    }

    fn look(of: u8, slot: Option<u16>) -> LookAt {
        let slot = slot.map(|number| SlotId::new(name(of), number));
        LookAt::Address { host: name(of), slot, address: "127.1.1.1:7430".parse().unwrap() }
    }

    fn said(work: impl FnOnce(&mut Looks, &mut Found)) -> Vec<&'static str> {
        let (mut looks, mut found) = (Looks { on: true, ..Looks::default() }, Found::default());
        work(&mut looks, &mut found);
        found.list.iter().map(|v| v.invariant).collect()
    }

    #[test]
    fn r8_who_is_said_to_have_answered_has_proven_it_since_it_was_asked() {
        let answered = Sights { saw: vec![Saw::Probe(Probed::Answered)] };
        let saw = |l: &mut Looks, f: &mut Found, begun| l.saw(f, &name(2), begun, &[look(1, Some(3))], &answered);
        assert_eq!(said(|l, f| saw(l, f, 5)), ["R8"]);
        let proven = |l: &mut Looks, slot| l.proves(10, &name(2), &name(1), slot);
        let other = |l: &mut Looks, f: &mut Found| {
            proven(l, None);
            saw(l, f, 5);
        };
        assert_eq!(said(other), ["R8"], "its agent did, not that engine");
        let then = |begun: u64| {
            said(move |l, f| {
                proven(l, Some(3));
                saw(l, f, begun);
            })
        };
        assert!(then(10).is_empty());
        assert_eq!(then(11), ["R8"], "that was before");
        assert_eq!(said(|l, f| l.saw(f, &name(2), 0, &[], &answered)), ["R8"], "an answer to nothing");
    }

    #[test]
    fn adr39_a_master_that_nobody_is_asked_to_look_at() {
        let mut lead = Lead::new(0, 1);
        let master = SlotId::new(name(1), 1);
        lead.masters.insert(master.clone(), 0);
        let covers = |lead: &Lead, now: u64| {
            let mut found = Found { now, ..Found::default() };
            lead.covers(&mut found, &State::default());
            found.list.len()
        };
        assert_eq!(covers(&lead, 20_000), 0, "nobody could");
        lead.well.extend([(name(1), 0), (name(2), 0), (name(3), 0), (name(4), 0)]);
        assert_eq!(covers(&lead, 20_000), 1);
        assert_eq!(covers(&lead, 2_000), 0, "not yet");
        lead.looked.insert(master.clone(), [(name(2), 19_000), (name(3), 9_000)].into());
        assert_eq!(covers(&lead, 20_000), 1, "one of them, not lately");
        lead.looked.insert(master, [(name(2), 19_000), (name(4), 15_000)].into());
        assert_eq!(covers(&lead, 20_000), 0);
    }
}
