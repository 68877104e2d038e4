//! When which copy is compared with its master, record by record: on a schedule, at once where a copy is seen to differ, and
//! when a person asks.
//!
//! What always holds: what is due is a function of the replicated stamps, log time and what is observed, so that a new leader
//! goes on where another one was; only a person's wish is this leader's alone, and whoever waits for it says it again. Never
//! more than policy allows are under way, and never two that read the same host's disks. An agent verifies only what it
//! was asked to, and nothing follows from what is found but a stamp ([ADR 26]).
//!
//! [ADR 26]: ../../../../docs/adr/0026-verification.md

use super::io::Now;
use super::observer::{Observer, running};
use slot_machine::command::Command;
use slot_machine::state::State;
use slot_machine::verified::is_news;
use slot_types::cluster::*;
use slot_types::engine::{EngineRole, EngineStatus, Source};
use slot_types::hold::HoldOn;
use slot_types::ids::*;
use slot_types::probe::LookAt;
use slot_types::verify::{Verification, VerifyStage};
use slot_types::view::{VerifyLine, VerifyState, VerifyView};
use std::collections::{BTreeMap, BTreeSet};

/// Whether something is due is seen at most this often.
const PASS_MS: u64 = 500;
/// What was asked and is not told of in a report is asked again after this long.
const ASK_AGAIN_MS: u64 = 10_000;
/// What could not begin, or broke off, is left alone for so long, unless a person asks.
const BACK_OFF_MS: u64 = 60_000;
/// A wish of a person that nobody waits for any more is forgotten after this long.
const WISH_MS: u64 = 30_000;

/// What is said of a copy whose agent this leader has had no time to hear.
const NEW_LEADER: &str = "a new leader has only begun to listen to agents";

/// What this leader asked of an agent.
struct Asked {
    name: LogTime,
    at: u64,
    refused: Option<String>,
}

/// A person's wish: a comparison that was asked for at this time or later.
#[derive(Clone, Copy)]
struct Wish {
    since: LogTime,
    until: u64,
}

/// See the module's documentation.
#[derive(Default)]
pub(super) struct Verifier {
    pass_at: u64,
    asked: BTreeMap<SlotId, Asked>,
    wishes: BTreeMap<SlotId, Wish>,
}

/// A copy that may be compared now.
struct Ready<'a> {
    slot: &'a SlotId,
    store: &'a StoreName,
    generation: CopyGeneration,
    epoch: Epoch,
    master: &'a SlotId,
    status: &'a EngineStatus,
}

/// How urgent it is: what a person waits for, what is seen to differ, what was never compared, and then the longest ago.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Why {
    Wished,
    Diverged,
    Scheduled { last: Option<LogTime> },
}

impl Verifier {
    /// What to ask of which agent now.
    pub(super) fn due(
        &mut self,
        state: &State,
        observer: &Observer,
        now: Now,
        log_now: LogTime,
    ) -> Vec<(HostName, LookAt)> {
        let Some(cluster) = state.cluster.as_ref().filter(|_| self.pass_at <= now.ms) else { return Vec::new() };
        self.pass_at = now.ms + PASS_MS;
        self.wishes.retain(|_, wish| wish.until > now.ms);
        let back_off = |asked: &Asked| now.ms.saturating_sub(asked.at) < BACK_OFF_MS;
        self.asked.retain(|_, asked| back_off(asked));
        let ready: Vec<Ready<'_>> = copies(cluster, observer, now).filter_map(|(.., ready)| ready.ok()).collect();
        let mut busy: BTreeSet<&HostName> = BTreeSet::new();
        let mut under_way = 0;
        for copy in ready.iter().filter(|copy| self.is_under_way(copy, now)) {
            under_way += 1;
            busy.extend([&copy.slot.host, &copy.master.host]);
        }
        let mut due: Vec<(Why, &Ready<'_>)> =
            ready.iter().filter_map(|copy| Some((self.why(cluster, copy, now, log_now)?, copy))).collect();
        due.sort_by(|(one, a), (other, b)| one.cmp(other).then_with(|| a.slot.cmp(b.slot)));
        let mut asks = Vec::new();
        for (_, copy) in due {
            let free = !busy.contains(&copy.slot.host) && !busy.contains(&copy.master.host);
            if under_way >= usize::from(cluster.policy.verify_at_once) || !free {
                continue;
            }
            let Some((name, look)) = ask(cluster, copy, log_now) else { continue };
            under_way += 1;
            busy.extend([&copy.slot.host, &copy.master.host]);
            self.asked.insert(copy.slot.clone(), Asked { name, at: now.ms, refused: None });
            asks.push((copy.slot.host.clone(), look));
        }
        asks
    }

    fn is_under_way(&self, copy: &Ready<'_>, now: Now) -> bool {
        let seen = copy.status.verification.as_deref();
        let asked = self.asked.get(copy.slot).filter(|asked| asked.refused.is_none());
        let awaited = asked.is_some_and(|asked| {
            now.ms.saturating_sub(asked.at) < ASK_AGAIN_MS && seen.is_none_or(|seen| seen.asked < asked.name)
        });
        awaited || seen.is_some_and(|seen| !seen.is_over())
    }

    fn why(&self, cluster: &Cluster, copy: &Ready<'_>, now: Now, log_now: LogTime) -> Option<Why> {
        let stamp = cluster.stamps.get(copy.slot).filter(|stamp| stamp.generation == copy.generation);
        let seen = copy.status.verification.as_deref();
        if self.is_under_way(copy, now) || seen.is_some_and(|seen| is_news(cluster, copy.slot, copy.generation, seen)) {
            return None;
        }
        let tried = self.asked.get(copy.slot);
        if let Some(wish) = self.wishes.get(copy.slot) {
            // One try for each wish: what came of it is what the person is told.
            let answered = stamp.is_some_and(|stamp| stamp.of.asked >= wish.since)
                || seen.is_some_and(|seen| seen.is_over() && seen.asked >= wish.since)
                || tried.is_some_and(|tried| tried.refused.is_some() && tried.name >= wish.since);
            return (!answered).then_some(Why::Wished);
        }
        // What could not begin, broke off or was never heard of again is left alone for a while; what came to its end is not.
        let failed = |tried: &Asked| seen.is_none_or(|seen| seen.asked < tried.name || !seen.tells());
        if tried.is_some_and(failed) {
            return None;
        }
        let differs = stamp.is_some_and(|stamp| stamp.differs() && stamp.of.epoch == copy.epoch);
        if copy.status.role == EngineRole::Diverged {
            return (!differs).then_some(Why::Diverged);
        }
        let every = cluster.policy.verify_every_ms;
        let last = stamp.map(|stamp| stamp.at);
        let is_due = last.is_none_or(|last| log_now.since(last) >= every - spread(copy.slot) % (every / 4).max(1));
        (every > 0 && is_due).then_some(Why::Scheduled { last })
    }

    /// An agent's word on whether it has begun.
    pub(super) fn began(&mut self, slot: &SlotId, name: LogTime, result: Result<(), String>) {
        if let Some(asked) = self.asked.get_mut(slot).filter(|asked| asked.name == name) {
            asked.refused = result.err();
        }
    }

    /// A person asks, or asks again, about copies that were verified at `since` or later; how far it is.
    pub(super) fn wish(
        &mut self,
        state: &State,
        observer: &Observer,
        on: &HoldOn,
        since: Option<LogTime>,
        (now, log_now): (Now, LogTime),
    ) -> VerifyView {
        let since = since.unwrap_or(log_now);
        let mut view = VerifyView { on: on.to_string(), since, copies: Vec::new() };
        let Some(cluster) = &state.cluster else { return view };
        for (store, slot, ready) in copies(cluster, observer, now) {
            let master = cluster.stores.get(store).and_then(|store| store.master.clone());
            let wanted = match on {
                HoldOn::All => true,
                HoldOn::Store(name) => name == store,
                HoldOn::Host(host) => slot.host == *host || master.as_ref().is_some_and(|master| master.host == *host),
            };
            if !wanted {
                continue;
            }
            let state = self.state_of(cluster, slot, ready.as_ref().map_err(Clone::clone), since, now);
            if ready.is_ok() && matches!(state, VerifyState::Waiting { .. }) {
                self.wishes.insert(slot.clone(), Wish { since, until: now.ms + WISH_MS });
            }
            view.copies.push(VerifyLine { store: store.clone(), slot: slot.clone(), master, state });
        }
        // What a person waits for begins with the next event, not half a second later.
        self.pass_at = self.pass_at.min(now.ms);
        view
    }

    fn state_of(
        &self,
        cluster: &Cluster,
        slot: &SlotId,
        ready: Result<&Ready<'_>, String>,
        since: LogTime,
        now: Now,
    ) -> VerifyState {
        if let Some(stamp) = cluster.stamp(slot).filter(|stamp| stamp.of.asked >= since) {
            return VerifyState::Told { stamp: stamp.clone() };
        }
        let copy = match ready {
            Ok(copy) => copy,
            Err(why) if why == NEW_LEADER => return VerifyState::Waiting { why },
            Err(why) => return VerifyState::Cannot { why },
        };
        let seen: Option<&Verification> = copy.status.verification.as_deref().filter(|seen| seen.asked >= since);
        match seen.map(|seen| (seen, &seen.stage)) {
            Some((seen, VerifyStage::UnderWay)) => return VerifyState::UnderWay { of: seen.clone() },
            Some((seen, VerifyStage::Broken { .. })) if !seen.tells() => {
                return VerifyState::Broken { of: seen.clone() };
            }
            Some(_) => return VerifyState::Waiting { why: "what was found is being recorded".into() },
            None => {}
        }
        let tried = self.asked.get(slot).filter(|asked| asked.name >= since);
        if let Some(why) = tried.and_then(|tried| tried.refused.clone()) {
            return VerifyState::Cannot { why };
        }
        let why = match self.is_under_way(copy, now) {
            true => "its engine begins",
            false => "another comparison reads the same disks, or as many as policy allows are under way",
        };
        VerifyState::Waiting { why: why.into() }
    }
}

/// What the copies of a host say they found and the state does not know yet. Only the admitted disk's word counts (S2).
pub(super) fn found(cluster: &Cluster, observer: &Observer, name: &HostName) -> Option<Command> {
    let host = cluster.hosts.get(name)?;
    if host.quarantined.is_some() {
        return None;
    }
    observer.slots(name, host).iter().find_map(|report| {
        let slot = SlotId::new(name.clone(), report.slot);
        let of = running(report)?.verification.as_deref()?;
        let (_, store, _) = cluster.copy_on(&slot)?;
        let news = store.epoch == of.epoch && is_news(cluster, &slot, report.generation, of);
        news.then(|| Command::Verified { slot, generation: report.generation, of: of.clone() })
    })
}

/// Every copy that has a master to be compared with, and whether it can be now.
fn copies<'a>(
    cluster: &'a Cluster,
    observer: &'a Observer,
    now: Now,
) -> impl Iterator<Item = (&'a StoreName, &'a SlotId, Result<Ready<'a>, String>)> {
    let stores = cluster.stores.iter().filter(|(_, store)| !store.retired);
    stores.flat_map(move |(name, store)| {
        let others = store.copies.iter().filter(|(slot, copy)| {
            store.master.as_ref() != Some(*slot) && copy.role == Role::Replica && copy.state != CopyState::Retired
        });
        others.map(move |(slot, copy)| (name, slot, ready(cluster, observer, now, (name, store), (slot, copy))))
    })
}

fn ready<'a>(
    cluster: &'a Cluster,
    observer: &'a Observer,
    now: Now,
    (name, store): (&'a StoreName, &'a Store),
    (slot, copy): (&'a SlotId, &'a Copy),
) -> Result<Ready<'a>, String> {
    if copy.state != CopyState::Serving || !copy.whole {
        return Err(format!("it is {:?}{}", copy.state, if copy.whole { "" } else { ", and never held everything" }));
    }
    let master = store.master.as_ref().ok_or("the store has no master now")?;
    let silent = cluster.policy.silent_ms;
    let host = cluster.hosts.get(&slot.host).ok_or("its host is gone")?;
    if !observer.is_well(&slot.host, host, now, silent) {
        let why = match observer.has_listened(now, silent) {
            true => format!("the agent of {} is not heard", slot.host),
            false => NEW_LEADER.into(),
        };
        return Err(why);
    }
    let seen = observer.slot(slot, now, silent).and_then(running);
    let status = seen.filter(|status| status.store == *name && status.generation == copy.generation);
    let status = status.ok_or("its engine is not seen running")?;
    let follows = status.following == Some((master.clone(), store.epoch)) && status.verified_ms.is_some();
    match status.role {
        EngineRole::Replica if follows => {}
        EngineRole::Diverged if status.epoch == store.epoch => {}
        role => return Err(format!("its engine is {role:?} and does not follow {master} at epoch {}", store.epoch)),
    }
    Ok(Ready { slot, store: name, generation: copy.generation, epoch: store.epoch, master, status })
}

fn ask(cluster: &Cluster, copy: &Ready<'_>, log_now: LogTime) -> Option<(LogTime, LookAt)> {
    let (address, master) = (cluster.slot(copy.slot)?.address, cluster.slot(copy.master)?.address);
    // A later name than any its engine has heard, also one of a leader whose clock ran ahead of its last entry.
    let seen = copy.status.verification.as_deref().map_or(0, |seen| seen.asked.0 + 1);
    let stamp = cluster.stamps.get(copy.slot).map_or(0, |stamp| stamp.of.asked.0 + 1);
    let asked = LogTime(log_now.0.max(seen).max(stamp));
    let look = LookAt::Verify {
        slot: copy.slot.number,
        address,
        store: copy.store.clone(),
        generation: copy.generation,
        epoch: copy.epoch,
        against: Source { slot: copy.master.clone(), address: master },
        asked,
        rate: cluster.policy.verify_rate,
    };
    Some((asked, look))
}

/// An unchanging number of a slot, so that not all copies of a fleet are due in the same hour (FNV-1a).
fn spread(slot: &SlotId) -> u64 {
    let bytes = slot.host.as_str().bytes().chain(slot.number.to_le_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
