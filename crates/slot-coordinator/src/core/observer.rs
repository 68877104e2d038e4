//! What the leader sees of the agents, and the evidence made of it.
//!
//! What always holds: evidence is never truth, every known value has an age counted from when it was heard here, and what
//! is not known says why. A disk that is not the admitted one is heard as a sign of life, and its copies count as unknown
//! (S2). Nothing here outlives a leadership.

use super::io::Now;
use core::net::SocketAddr;
use slot_machine::aside::untold;
use slot_machine::by_hand::unnoted;
use slot_machine::command::Command;
use slot_machine::state::State;
use slot_types::cluster::{Cluster, Host, HostQuarantine, HostState, Silence};
use slot_types::engine::EngineStatus;
use slot_types::evidence::{AgentSeen, CopyEvidence, Evidence, HostEvidence, Seen};
use slot_types::ids::*;
use slot_types::load::HostLoad;
use slot_types::order::{AgentReport, EngineSeen, SlotReport};
use std::collections::{BTreeMap, BTreeSet};

/// A status in a report may be this much older than the report: a source counts as heard after an attestation only by
/// more than this.
const SIGN_OF_LIFE_MARGIN_MS: u64 = 2_000;
/// After proposing what a report says, the same is not proposed again for this long.
const REPEAT_MS: u64 = 1_000;

/// What a host acknowledged counts against its reports only after this long: a report made before that may still be on
/// its way, and an older disk is not admitted again.
const SETTLE_MS: u64 = 5_000;

/// Guards are in the log: what none of them asks is left out of them (ADR 37).
const NO_GUARD_ASKS: &str = "no guard asks";

/// What speaks against a word that a host is off (R8).
pub(super) struct Sign {
    pub host: HostName,
    /// When that word was given.
    pub word: LogTime,
    /// What was seen.
    pub seen: String,
}

/// What a host had acknowledged a while ago: a report that knows less is of an older disk (S2).
struct Floor {
    settled: LogIndex,
    latest: LogIndex,
    at: u64,
}

/// The last report of a host.
struct Heard {
    report: AgentReport,
    at: u64,
    /// How long nothing was heard of the host before the first report of this boot.
    silence: Silence,
}

/// All that is heard.
#[derive(Default)]
pub(super) struct Observer {
    /// When this leader began to listen.
    since: u64,
    heard: BTreeMap<HostName, Heard>,
    lost: BTreeMap<HostName, String>,
    floors: BTreeMap<HostName, Floor>,
    /// Boots after which another one was heard: what is heard of them now was on its way (R27).
    former: BTreeMap<HostName, BTreeSet<BootId>>,
    /// Until when nothing more is proposed about a host.
    quiet_until: BTreeMap<(HostName, Topic), u64>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Topic {
    Seen,
    /// What speaks against this word that the host is off: once is enough for each, but for one that is given again.
    SignOfLife(LogTime),
    Aside,
    ByHand,
    Verified,
    Adopt,
}

impl Observer {
    /// Nothing heard yet.
    pub(super) fn new(now: Now) -> Self {
        Self { since: now.ms, ..Self::default() }
    }

    /// This leader is ready: what is acknowledged now was so before any report to it was made.
    pub(super) fn begin(&mut self, cluster: &Cluster, now: Now) {
        let floor = |h: &Host| Floor { settled: h.acknowledged, latest: h.acknowledged, at: now.ms };
        self.floors = cluster.hosts.iter().map(|(name, host)| (name.clone(), floor(host))).collect();
    }

    fn floor(&mut self, name: &HostName, host: &Host, now: Now) -> LogIndex {
        let new = Floor { settled: LogIndex(0), latest: host.acknowledged, at: now.ms };
        let floor = self.floors.entry(name.clone()).or_insert(new);
        if now.ms.saturating_sub(floor.at) >= SETTLE_MS {
            *floor = Floor { settled: floor.latest, latest: host.acknowledged, at: now.ms };
        }
        // Another disk was admitted: it starts from nothing.
        floor.settled = floor.settled.min(host.acknowledged);
        floor.settled
    }

    /// Takes a report; `false` when it is not of this cluster or host (S15).
    pub(super) fn report(&mut self, cluster: &Cluster, host: &HostName, report: AgentReport, now: Now) -> bool {
        if report.cluster != cluster.id || report.host != *host || !cluster.hosts.contains_key(host) {
            tracing::warn!(%host, "agent report refused: it names cluster {} and host {}", report.cluster, report.host);
            return false;
        }
        self.lost.remove(host);
        let silence = self.silence_before(host, report.boot, now);
        if let Some(last) = self.heard.get(host).map(|last| last.report.boot).filter(|last| *last != report.boot) {
            self.former.entry(host.clone()).or_default().insert(last);
        }
        self.heard.insert(host.clone(), Heard { report, at: now.ms, silence });
        true
    }

    /// How long nothing was heard of a host before the first report of the boot that is heard now. A leader that heard it in no
    /// other boot knows only since when it listens.
    fn silence_before(&self, host: &HostName, boot: BootId, now: Now) -> Silence {
        match self.heard.get(host) {
            Some(last) if last.report.boot == boot => last.silence,
            Some(last) => Silence { ms: now.ms.saturating_sub(last.at), whole: true },
            None => Silence { ms: now.ms.saturating_sub(self.since), whole: false },
        }
    }

    pub(super) fn lost(&mut self, host: HostName, why: String) {
        self.lost.insert(host, why);
    }

    /// What an agent said of a slot, if it was heard no longer ago than this.
    pub(super) fn slot(&self, slot: &SlotId, now: Now, age_ms_max: u64) -> Option<&SlotReport> {
        let heard = self.heard.get(&slot.host)?;
        if now.ms.saturating_sub(heard.at) > age_ms_max {
            return None;
        }
        heard.report.slots.iter().find(|s| s.slot == slot.number)
    }

    /// Whether this leader has listened for so long that a host it has not heard is silent.
    pub(super) fn has_listened(&self, now: Now, ms: u64) -> bool {
        now.ms.saturating_sub(self.since) >= ms
    }

    /// What the admitted disk of a host said of its slots last.
    pub(super) fn slots(&self, name: &HostName, host: &Host) -> &[SlotReport] {
        let heard = self.heard.get(name).filter(|heard| host.incarnation == Some(heard.report.incarnation));
        heard.map(|heard| heard.report.slots.as_slice()).unwrap_or_default()
    }

    /// The last report of a host.
    pub(super) fn last(&self, name: &HostName) -> Option<&AgentReport> {
        self.heard.get(name).map(|heard| &heard.report)
    }

    /// Whether the admitted disk of a host was heard no longer ago than this, and nothing speaks against sending there.
    pub(super) fn is_well(&self, name: &HostName, host: &Host, now: Now, age_ms_max: u64) -> bool {
        let Some(heard) = self.heard.get(name) else { return false };
        now.ms.saturating_sub(heard.at) <= age_ms_max
            && host.quarantined.is_none()
            && host.incarnation == Some(heard.report.incarnation)
            && host.boot == Some(heard.report.boot)
    }

    /// Whether nothing was heard of a host for so long, by a leader that has listened for so long.
    pub(super) fn is_silent(&self, name: &HostName, now: Now, ms: u64) -> bool {
        now.ms.saturating_sub(self.heard.get(name).map_or(self.since, |heard| heard.at)) > ms
    }

    /// Everything observed of these hosts (all when `None`), and of these of their slots (all when `None`).
    pub(super) fn evidence(
        &self,
        cluster: &Cluster,
        now: Now,
        taken_at: LogTime,
        hosts: Option<&BTreeSet<HostName>>,
        slots: Option<&BTreeSet<SlotId>>,
    ) -> Evidence {
        let mut evidence = Evidence { taken_at, ..Evidence::default() };
        for (name, host) in cluster.hosts.iter().filter(|(name, _)| hosts.is_none_or(|wanted| wanted.contains(*name))) {
            let heard = self.heard.get(name);
            // R14: silence is known only by who has listened long enough; until then the host is not in the evidence.
            if heard.is_some() || now.ms.saturating_sub(self.since) >= cluster.policy.silent_ms {
                let mut seen = self.host_evidence((name, host), heard, now);
                if hosts.is_some() || slots.is_some() {
                    seen.load = Seen::Unknown { reason: NO_GUARD_ASKS.into() };
                }
                evidence.hosts.insert(name.clone(), seen);
            }
            for number in host.slots.keys() {
                let slot = SlotId::new(name.clone(), *number);
                if slots.is_none_or(|wanted| wanted.contains(&slot)) {
                    evidence.copies.insert(slot, copy_evidence(host, heard, *number, now));
                }
            }
        }
        evidence
    }

    fn host_evidence(&self, (name, host): (&HostName, &Host), heard: Option<&Heard>, now: Now) -> HostEvidence {
        let Some(heard) = heard else {
            let reason = match self.lost.get(name) {
                Some(why) => format!("not heard by this leader: {why}"),
                None => "not heard by this leader yet".to_string(),
            };
            let (agent, disk) = (Seen::Unknown { reason: reason.clone() }, Seen::Unknown { reason: reason.clone() });
            return HostEvidence { agent, running: Vec::new(), disk, load: Seen::Unknown { reason } };
        };
        let value = AgentSeen { incarnation: heard.report.incarnation, boot: heard.report.boot };
        let agent = Seen::Known { value, age_ms: now.ms.saturating_sub(heard.at) };
        let disk = match heard.report.disk {
            Some(value) => Seen::Known { value, age_ms: now.ms.saturating_sub(heard.at) },
            None => Seen::Unknown { reason: "its agent does not know what its disk has free".into() },
        };
        HostEvidence { agent, running: heard.report.running.clone(), disk, load: load_evidence(host, heard, now) }
    }

    /// Whether something may be proposed about a host again; if so, not for a while.
    pub(super) fn may_propose(&mut self, host: &HostName, topic: Topic, now: Now) -> bool {
        let until = self.quiet_until.entry((host.clone(), topic)).or_insert(0);
        let may = *until <= now.ms;
        if may {
            *until = now.ms.saturating_add(REPEAT_MS);
        }
        may
    }

    /// What a host's last report says that the state does not know yet (S2, R27), or that is a sign of life (R8).
    /// `applied` is the last index applied here.
    pub(super) fn host_seen(
        &mut self,
        cluster: &Cluster,
        name: &HostName,
        now: Now,
        applied: LogIndex,
    ) -> Option<Command> {
        let host = cluster.hosts.get(name)?;
        let floor = self.floor(name, host, now);
        let Heard { report, silence, .. } = self.heard.get(name)?;
        let known_quarantine = match &host.quarantined {
            Some(HostQuarantine::OtherDisk { presented }) => *presented == report.incarnation,
            Some(HostQuarantine::OlderDisk { .. }) => host.incarnation == Some(report.incarnation),
            // R10: nothing that it shows is judged before it was re-adopted.
            Some(HostQuarantine::Restored) => return None,
            None => false,
        };
        let other_disk = host.incarnation != Some(report.incarnation);
        let older_disk = !other_disk && report.high_water < floor;
        let back = !other_disk && matches!(host.quarantined, Some(HostQuarantine::OtherDisk { .. }));
        let other_boot = !other_disk && host.boot != Some(report.boot);
        // S2: of a boot that begins, nothing is acknowledged yet; of one that another followed, or that comes late, more may be.
        let is_former = self.former.get(name).is_some_and(|former| former.contains(&report.boot));
        let first = other_boot && !is_former;
        let news =
            back || ((other_disk || older_disk) && !known_quarantine) || (other_boot && host.quarantined.is_none());
        // R8, R26: what speaks is not off, whoever says so.
        let said_off = cluster.attestations.contains_key(name) || host.device.off.is_some();
        (news || said_off).then(|| Command::HostSeen {
            host: name.clone(),
            incarnation: report.incarnation,
            boot: report.boot,
            // A report that lags behind a receipt is no older disk: every order acknowledged before this command is
            // applied was started at or before `applied`.
            // Of a disk that was never admitted, or of a boot that the log does not have yet, nothing was started.
            high_water: match older_disk || first || host.incarnation.is_none() {
                true => report.high_water,
                false => report.high_water.max(applied),
            },
            silence: *silence,
            first,
        })
    }

    /// What the copies of a host put aside and no loss case tells of (R7). Only the admitted disk's word counts (S2).
    pub(super) fn asides(&self, cluster: &Cluster, name: &HostName) -> Option<Command> {
        let (host, heard) = (cluster.hosts.get(name)?, self.heard.get(name)?);
        if host.quarantined.is_some() || host.incarnation != Some(heard.report.incarnation) {
            return None;
        }
        heard.report.slots.iter().find_map(|report| {
            let slot = SlotId::new(name.clone(), report.slot);
            let aside = &running(report).filter(|status| !status.aside.is_empty())?.aside;
            let records = untold(cluster, &slot, report.generation, aside);
            let generation = report.generation;
            (!records.is_empty()).then_some(Command::AsideSeen { slot, generation, records })
        })
    }

    /// Masters that a person started at a host's machine, and the audit does not tell of yet (R19). Only the admitted disk's
    /// word counts (S2).
    pub(super) fn by_hand(&self, state: &State, name: &HostName) -> Option<Command> {
        let (host, heard) = (state.cluster.as_ref()?.hosts.get(name)?, self.heard.get(name)?);
        if host.quarantined.is_some() || host.incarnation != Some(heard.report.incarnation) {
            return None;
        }
        heard.report.slots.iter().find_map(|report| {
            let SlotReport { store, generation, by_hand, .. } = report;
            let slot = SlotId::new(name.clone(), report.slot);
            let starts = unnoted(state, &slot, store, *generation, by_hand);
            let (store, generation) = (store.clone(), *generation);
            (!starts.is_empty()).then_some(Command::ByHandSeen { slot, store, generation, starts })
        })
    }

    /// Whether a host's report shows that engines on hosts that are said to be off still talk (R8: agent and engine are separate signs).
    pub(super) fn signs_of_life(&self, cluster: &Cluster, from: &HostName, log_now: LogTime) -> Vec<Sign> {
        let Some(heard) = self.heard.get(from) else { return Vec::new() };
        let mut signs = Vec::new();
        for (slot, status) in heard.report.slots.iter().filter_map(|s| running(s).map(|status| (s.slot, status))) {
            let (Some((source, _)), Some(heard_ms)) = (&status.following, status.heard_ms) else { continue };
            let Some(word) = said_off(cluster, &source.host) else { continue };
            let heard_at = LogTime(log_now.0.saturating_sub(heard_ms));
            if heard_at.since(word) > SIGN_OF_LIFE_MARGIN_MS {
                let seen = format!("{} was heard by {}", source, SlotId::new(from.clone(), slot));
                signs.push(Sign { host: source.host.clone(), word, seen });
            }
        }
        signs
    }
}

/// Since when somebody or something says that a host is off.
pub(super) fn said_off(cluster: &Cluster, host: &HostName) -> Option<LogTime> {
    let word = cluster.attestations.get(host).map(|word| word.at);
    let device = cluster.hosts.get(host).and_then(|host| host.device.off.as_ref()).map(|off| off.at);
    word.max(device)
}

/// The engine status in a slot's report.
pub(super) fn running(report: &SlotReport) -> Option<&EngineStatus> {
    match &report.engine {
        EngineSeen::Running(status) => Some(status),
        _ => None,
    }
}

/// How busy a host was when it was heard last. What another disk's engines take is of no copy of this cluster (S2).
fn load_evidence(host: &Host, heard: &Heard, now: Now) -> Seen<HostLoad> {
    if host.incarnation.is_some_and(|admitted| admitted != heard.report.incarnation) {
        return Seen::Unknown { reason: format!("it presents disk {}, not admitted", heard.report.incarnation) };
    }
    match heard.report.load.clone() {
        Some(value) => Seen::Known { value, age_ms: now.ms.saturating_sub(heard.at) },
        None => Seen::Unknown { reason: "its agent has not measured it yet".into() },
    }
}

fn copy_evidence(host: &Host, heard: Option<&Heard>, number: u16, now: Now) -> Seen<CopyEvidence> {
    let Some(heard) = heard else { return Seen::Unknown { reason: "its agent was not heard by this leader".into() } };
    if host.incarnation.is_some_and(|admitted| admitted != heard.report.incarnation) {
        // S2: what another disk holds is not this copy.
        return Seen::Unknown { reason: format!("its host presents disk {}, not admitted", heard.report.incarnation) };
    }
    let value = match heard.report.slots.iter().find(|s| s.slot == number).map(|s| &s.engine) {
        None => CopyEvidence::Absent,
        Some(EngineSeen::NotRunning) => CopyEvidence::NotRunning,
        Some(EngineSeen::Silent) => CopyEvidence::Silent,
        Some(EngineSeen::Running(status)) => CopyEvidence::Running(status.clone()),
    };
    Seen::Known { value, age_ms: now.ms.saturating_sub(heard.at) }
}

/// Which agents a leader watches, and where they are.
pub(super) fn agents(cluster: Option<&Cluster>) -> BTreeMap<HostName, SocketAddr> {
    let hosts = cluster.into_iter().flat_map(|c| c.hosts.iter());
    hosts.filter(|(_, h)| h.declared != HostState::Retired).map(|(name, h)| (name.clone(), h.address)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use slot_types::load::Busy;

    fn cluster() -> Cluster {
        let mut cluster = Cluster::new(ClusterId([1; 16]), "fm1".parse().unwrap());
        cluster.hosts.insert("imap1".parse().unwrap(), super::super::samples::host());
        cluster
    }

    #[test]
    fn load_is_the_admitted_disks_last_word_and_in_no_guard() {
        let (cluster, name): (_, HostName) = (cluster(), "imap1".parse().unwrap());
        let at = |ms| Now { ms, wall: WallTime(0) };
        let machine = Busy { cpu_ppm: 610_000, disk_ppm: None };
        let measured = HostLoad { window_ms: 30_000, processors: 8, machine, engines: Vec::new() };
        let report = |disk: u8, load: Option<&HostLoad>| AgentReport {
            cluster: cluster.id,
            host: name.clone(),
            incarnation: Incarnation([disk; 16]),
            boot: BootId([4; 16]),
            high_water: LogIndex(0),
            slots: Vec::new(),
            running: Vec::new(),
            disk: None,
            load: load.cloned(),
        };
        let mut observer = Observer::new(at(0));
        let load = |observer: &Observer, hosts: Option<&BTreeSet<HostName>>, slots: Option<&BTreeSet<SlotId>>| {
            let evidence = observer.evidence(&cluster, at(60_700), LogTime(1), hosts, slots);
            evidence.hosts[&name].load.clone()
        };
        assert!(observer.report(&cluster, &name, report(3, None), at(60_000)));
        assert!(
            matches!(load(&observer, None, None), Seen::Unknown { reason } if reason.contains("not measured it yet"))
        );
        assert!(observer.report(&cluster, &name, report(3, Some(&measured)), at(60_000)));
        assert_eq!(load(&observer, None, None), Seen::Known { value: measured.clone(), age_ms: 700 });
        let (hosts, slots) = (BTreeSet::from([name.clone()]), BTreeSet::new());
        for (hosts, slots) in [(Some(&hosts), None), (None, Some(&slots)), (Some(&hosts), Some(&slots))] {
            assert!(matches!(load(&observer, hosts, slots), Seen::Unknown { reason } if reason == NO_GUARD_ASKS));
        }
        // S2: what another disk's engines take is of no copy of this cluster.
        assert!(observer.report(&cluster, &name, report(9, Some(&measured)), at(60_000)));
        assert!(matches!(load(&observer, None, None), Seen::Unknown { reason } if reason.contains("not admitted")));
    }
}
