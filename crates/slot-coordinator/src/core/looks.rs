//! Who looks at whom, how often, and what was seen: hosts as the other hosts see them, and devices' words on power.
//!
//! What always holds: each agent that is heard looks at its share ([`Shares`]) once in one to two seconds, so that the probes of
//! a fleet grow with its hosts and masters, and not with their square. A device is asked only of a host that is silent, at most
//! once in [`DEVICE_EVERY_MS`], by an agent that may fence it, and never while a plan holds the host. What is seen is evidence
//! and decides nothing but one thing: an answer to a probe that was asked for after a word that a host is off voids that word
//! (R8, [ADR 27]).
//!
//! [ADR 27]: ../../../../docs/adr/0027-probes.md

use super::io::{Effect, Now};
use super::observer::{Observer, Sign, said_off};
use super::share::{Masters, Shares};
use slot_machine::state::State;
use slot_planted::planted;
use slot_types::cluster::{Cluster, Domain, Host, HostState};
use slot_types::codec;
use slot_types::evidence::{self, Evidence};
use slot_types::fence::{FenceFrom, Power};
use slot_types::ids::*;
use slot_types::probe::*;
use std::collections::BTreeMap;

/// A host looks around again this long after it last did, and up to as long again: not all at the same moment.
const EVERY_MS: u64 = 1_000;
/// Whether somebody is to be asked is seen at most this often.
const PASS_MS: u64 = 100;
/// What a round of looks may take before its agent is asked again.
const BUDGET_MS: u64 = 2 * PROBE_MS + 500;
/// The shortest pause between two questions to one device.
pub(super) const DEVICE_EVERY_MS: u64 = 10_000;
/// What a device may take, with the way there and back.
const DEVICE_BUDGET_MS: u64 = 22_000;
/// Each term's looks are numbered from its own multiple of this: more than any leadership asks.
const FIRST_OF_TERM: u64 = 1 << 32;
/// What was seen is forgotten after this long.
const FORGET_MS: u64 = 600_000;

/// What of an answer is not only kept.
#[derive(Default)]
pub(super) struct Seen {
    /// What speaks against words that hosts are off.
    pub signs: Vec<Sign>,
    /// Whether a copy's comparison with its master has begun, by its name.
    pub began: Vec<(SlotId, LogTime, Result<(), String>)>,
}

/// A round that is under way.
struct Asked {
    by: HostName,
    at: u64,
    log_at: LogTime,
    until: u64,
    looks: Vec<LookAt>,
}

struct Sighted {
    probed: Probed,
    at: u64,
    since: u64,
}

/// All that is looked at, by one leader.
#[derive(Default)]
pub(super) struct Looks {
    asked: BTreeMap<u64, Asked>,
    last: u64,
    /// When it is next seen who is to be asked.
    pass_at: u64,
    next_at: BTreeMap<HostName, u64>,
    rounds: BTreeMap<HostName, u64>,
    device_next_at: BTreeMap<HostName, u64>,
    shares: Shares,
    seen: BTreeMap<HostName, BTreeMap<(HostName, Option<SlotId>), Sighted>>,
    power: BTreeMap<HostName, (Result<Power, String>, u64)>,
}

/// An unchanging number for a pair of names (FNV-1a).
fn draw(one: &HostName, other: &HostName, salt: u64) -> u64 {
    let bytes = one.as_str().bytes().chain([0]).chain(other.as_str().bytes()).chain(salt.to_le_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

impl Looks {
    /// Those of the leadership of this term. Numbers of looks are never those of another one: an answer that was on its way
    /// meanwhile would be taken for an answer to what is asked now (R8).
    pub(super) fn of(term: u64) -> Self {
        Self { last: term.wrapping_mul(FIRST_OF_TERM), ..Self::default() }
    }

    /// What to ask of whom now.
    pub(super) fn due(&mut self, state: &State, observer: &Observer, now: Now, log_now: LogTime) -> Vec<Effect> {
        let Some(cluster) = state.cluster.as_ref().filter(|_| self.pass_at <= now.ms) else { return Vec::new() };
        self.pass_at = now.ms + PASS_MS;
        self.asked.retain(|_, asked| asked.until > now.ms);
        let there = cluster.hosts.iter().filter(|(_, host)| host.declared != HostState::Retired);
        let hosts: Vec<(HostName, Domain)> = there.map(|(name, host)| (name.clone(), host.at.clone())).collect();
        let silent_ms = cluster.policy.silent_ms;
        let well = |name: &HostName, host: &Host| observer.is_well(name, host, now, silent_ms);
        let seekers: Vec<&HostName> = cluster.hosts.iter().filter(|(n, h)| well(n, h)).map(|(n, _)| n).collect();
        if self.shares.know(hosts, seekers.iter().map(|name| (*name).clone()).collect(), masters(cluster)) {
            self.seen.retain(|name, _| cluster.hosts.contains_key(name));
            self.power.retain(|name, _| cluster.hosts.contains_key(name));
        }
        let mut effects = Vec::new();
        for by in &seekers {
            let busy = self.asked.values().any(|asked| asked.by == **by && asked.is_round());
            if busy || self.next_at.get(*by).is_some_and(|at| *at > now.ms) {
                continue;
            }
            let round = self.rounds.entry((*by).clone()).or_insert(0);
            *round += 1;
            let round = *round;
            self.next_at.insert((*by).clone(), now.ms + EVERY_MS + draw(by, by, round) % EVERY_MS);
            let looks = self.round(cluster, by, round);
            effects.extend(self.ask(cluster, by, looks, BUDGET_MS, now, log_now));
        }
        for (name, host) in cluster.hosts.iter().filter(|(name, _)| observer.is_silent(name, now, silent_ms)) {
            let held = is_held(state, name);
            if held || host.declared == HostState::Retired || self.device_next_at.get(name).is_some_and(|t| *t > now.ms)
            {
                continue;
            }
            let Some((by, look)) = device_look(cluster, name, host, &seekers) else { continue };
            self.device_next_at.insert(name.clone(), now.ms + DEVICE_EVERY_MS);
            effects.extend(self.ask(cluster, &by, vec![look], DEVICE_BUDGET_MS, now, log_now));
        }
        effects
    }

    /// The share of an agent, as addresses.
    fn round(&self, cluster: &Cluster, by: &HostName, round: u64) -> Vec<LookAt> {
        let address = |(host, slot): (HostName, Option<u16>)| {
            let spec = cluster.hosts.get(&host)?;
            let address = match slot {
                None => spec.address,
                Some(number) => spec.slots.get(&number)?.address,
            };
            let slot = slot.map(|number| SlotId::new(host.clone(), number));
            Some(LookAt::Address { host, slot, address })
        };
        self.shares.round(by, round).into_iter().filter_map(address).collect()
    }

    /// Copies to be verified, each asked of its own agent.
    pub(super) fn verify(
        &mut self,
        cluster: Option<&Cluster>,
        asks: Vec<(HostName, LookAt)>,
        now: Now,
        log_now: LogTime,
    ) -> Vec<Effect> {
        let Some(cluster) = cluster else { return Vec::new() };
        asks.into_iter().filter_map(|(by, at)| self.ask(cluster, &by, vec![at], BUDGET_MS, now, log_now)).collect()
    }

    fn ask(
        &mut self,
        cluster: &Cluster,
        by: &HostName,
        at: Vec<LookAt>,
        budget_ms: u64,
        now: Now,
        log_at: LogTime,
    ) -> Option<Effect> {
        if at.is_empty() {
            return None;
        }
        self.last += 1;
        let until = now.ms.saturating_add(budget_ms).saturating_add(PROBE_MS);
        let asked = Asked { by: by.clone(), at: now.ms, log_at, until, looks: at.clone() };
        self.asked.insert(self.last, asked);
        let looks = codec::encode(&slot_types::probe::Looks { cluster: cluster.id, at });
        Some(Effect::Look { look: self.last, host: by.clone(), looks, budget_ms })
    }

    /// An agent's answer: it is kept, and what of it speaks against a word that a host is off is handed back (R8).
    pub(super) fn looked(&mut self, cluster: &Cluster, look: u64, result: Result<Sights, String>, now: Now) -> Seen {
        let mut seen = Seen::default();
        let Some(asked) = self.asked.remove(&look) else { return seen };
        let saw = match result {
            Ok(sights) if sights.saw.len() == asked.looks.len() => sights.saw,
            Ok(sights) => {
                tracing::warn!(by = %asked.by, "{} sights for {} looks", sights.saw.len(), asked.looks.len());
                return seen;
            }
            Err(why) => {
                tracing::debug!(by = %asked.by, "did not look around: {why}");
                return seen;
            }
        };
        for (at, saw) in asked.looks.into_iter().zip(saw) {
            match (at, saw) {
                (LookAt::Address { host, slot, .. }, Saw::Probe(probed)) => {
                    // Asked after the word was in force, so what answered did so after it.
                    let word = said_off(cluster, &host).filter(|said| is_later(asked.log_at, *said));
                    if let Some(word) =
                        word.filter(|_| probed == Probed::Answered && !planted("r8-answered-probe-ignored"))
                    {
                        let what = slot.as_ref().map_or_else(|| format!("the agent of {host}"), ToString::to_string);
                        let said = format!("{what} answered a probe from {}", asked.by);
                        seen.signs.push(Sign { host: host.clone(), word, seen: said });
                    }
                    self.keep(host, (asked.by.clone(), slot), probed, asked.at);
                }
                (LookAt::Verify { slot, asked: name, .. }, Saw::Verify(result)) => {
                    seen.began.push((SlotId::new(asked.by.clone(), slot), name, result));
                }
                (LookAt::Power { host, .. }, Saw::Power(said)) => drop(self.power.insert(host, (said, asked.at))),
                _ => tracing::warn!(by = %asked.by, "an answer to another question than was asked"),
            }
        }
        for probes in self.seen.values_mut() {
            probes.retain(|_, probe| now.ms.saturating_sub(probe.at) < FORGET_MS);
        }
        seen
    }

    fn keep(&mut self, host: HostName, from: (HostName, Option<SlotId>), probed: Probed, at: u64) {
        let probes = self.seen.entry(host).or_default();
        let since = probes.get(&from).filter(|before| before.probed == probed).map_or(at, |before| before.since);
        probes.insert(from, Sighted { probed, at, since });
    }

    /// How a host is seen from the others.
    pub(super) fn reach(&self, cluster: &Cluster, observer: &Observer, name: &HostName, now: Now) -> Reach {
        let probes = self.seen.get(name).into_iter().flatten().map(|((by, slot), seen)| Probe {
            by: by.clone(),
            slot: slot.clone(),
            probed: seen.probed,
            age_ms: now.ms.saturating_sub(seen.at),
            same_ms: now.ms.saturating_sub(seen.since),
        });
        let mut reach = Reach { probes: probes.collect(), ..Reach::default() };
        for (_, probes) in self.seen.iter().filter(|(other, _)| *other != name) {
            for ((by, slot), seen) in probes {
                if by != name && slot.is_none() && now.ms.saturating_sub(seen.at) <= FRESH_MS {
                    reach.elsewhere += 1;
                    reach.elsewhere_answered += u32::from(seen.probed == Probed::Answered);
                }
            }
        }
        if let Some(at) = cluster.hosts.get(name).map(|host| &host.at) {
            let near = cluster.hosts.iter().filter(|(other, host)| *other != name && host.at == *at);
            let near = near.filter(|(_, host)| !matches!(host.declared, HostState::Off | HostState::Retired));
            reach.near = near
                .map(|(other, host)| (other.clone(), observer.is_well(other, host, now, cluster.policy.silent_ms)))
                .collect();
        }
        reach
    }

    /// Adds to what is observed: devices' words, and how those hosts are seen that are silent.
    pub(super) fn add_to(&self, evidence: &mut Evidence, cluster: &Cluster, observer: &Observer, now: Now) {
        for (name, (said, at)) in &self.power {
            let seen = match said {
                Ok(power) => evidence::Seen::Known { value: *power, age_ms: now.ms.saturating_sub(*at) },
                Err(why) => evidence::Seen::Unknown { reason: why.clone() },
            };
            evidence.power.insert(name.clone(), seen);
        }
        let is_silent = |name: &&HostName| !evidence.agent_alive(name, cluster.policy.silent_ms);
        let silent: Vec<HostName> = self.shares.hosts().filter(is_silent).cloned().collect();
        for name in silent {
            let reach = self.reach(cluster, observer, &name, now);
            if !reach.probes.is_empty() {
                evidence.reach.insert(name, reach);
            }
        }
    }
}

impl Asked {
    fn is_round(&self) -> bool {
        self.looks.iter().any(|look| matches!(look, LookAt::Address { .. }))
    }
}

fn masters(cluster: &Cluster) -> Masters {
    let mut masters = Masters::new();
    for slot in cluster.stores.values().filter_map(|store| store.master.as_ref()) {
        masters.entry(slot.host.clone()).or_default().push(slot.number);
    }
    masters
}

/// Whether a running plan holds a host, or is to switch it off: its device has few sessions, and the fence needs one.
fn is_held(state: &State, name: &HostName) -> bool {
    let switches_off = || state.running().any(|record| record.plan.switch_off.contains_key(name));
    state.host_claims.contains_key(name) || (switches_off() && !planted("r26-device-asked-while-held"))
}

/// Whether a probe was asked for after a word was in force: who answers it was there after the word.
fn is_later(asked: LogTime, word: LogTime) -> bool {
    asked > word || planted("r8-late-answer-counts")
}

/// Who asks a silent host's device for its status: whoever would switch it off (R26).
fn device_look(cluster: &Cluster, name: &HostName, host: &Host, well: &[&HostName]) -> Option<(HostName, LookAt)> {
    let spec = host.device.spec.as_ref()?;
    let apart = |other: &HostName| match spec.from {
        FenceFrom::AnotherRack => cluster.hosts.get(other).is_some_and(|there| there.at != host.at),
        FenceFrom::AnotherHost => other != name,
    };
    let by = well.iter().find(|other| apart(other))?;
    Some(((*by).clone(), LookAt::Power { host: name.clone(), device: Box::new(spec.clone()) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Now = Now { ms: 5_000, wall: WallTime(0) };

    fn asked(looks: &mut Looks, cluster: &Cluster, of: &str) -> u64 {
        let address = "127.0.0.1:7420".parse().unwrap();
        let at = LookAt::Address { host: of.parse().unwrap(), slot: None, address };
        match looks.ask(cluster, &"imap1".parse().unwrap(), vec![at], BUDGET_MS, NOW, LogTime(9)) {
            Some(Effect::Look { look, .. }) => look,
            other => panic!("{other:?} is no look"),
        }
    }

    /// A node that leads again before the answers to its former leadership are there.
    #[test]
    fn r8_an_answer_to_a_leadership_of_before_answers_nothing() {
        let cluster = Cluster::new(ClusterId([1; 16]), "fm1".parse().unwrap());
        let (mut before, mut now) = (Looks::of(3), Looks::of(4));
        let (old, new) = (asked(&mut before, &cluster, "imap2"), asked(&mut now, &cluster, "imap3"));
        let answered = || Ok(Sights { saw: vec![Saw::Probe(Probed::Answered)] });
        now.looked(&cluster, old, answered(), NOW);
        assert!(now.seen.is_empty(), "imap3 has not answered: {:?}", now.seen.keys());
        now.looked(&cluster, new, answered(), NOW);
        assert_eq!(now.seen.len(), 1);
    }
}
