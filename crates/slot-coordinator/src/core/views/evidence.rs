//! Everything seen of one host, for a person who has to decide whether it is dead.

use super::Fleet;
use slot_types::evidence::{CopyEvidence, Seen};
use slot_types::ids::*;
use slot_types::view::*;

impl Fleet<'_> {
    pub(super) fn evidence(&self, name: &HostName) -> Option<EvidenceView> {
        let host = self.cluster.hosts.get(name)?;
        let word = self.cluster.attestations.get(name).cloned();
        let word_holds = word.as_ref().is_some_and(|a| a.expires > self.eyes.log_now && Some(a.boot) == host.boot);
        let device = host.device.spec.as_ref().map(|spec| DeviceSeen {
            fence_agent: spec.agent.to_string(),
            power: self.heard(|| self.eyes.evidence.power_of(name)),
            off: host.device.off.clone(),
            failed: host.device.failed.clone(),
        });
        let engines = self.cluster.copies_on(name).map(|(store, slot, _)| EngineSeen {
            slot: slot.clone(),
            store: store.clone(),
            engine: self.heard(|| self.eyes.evidence.copy(slot)),
        });
        Some(EvidenceView {
            host: name.clone(),
            at: host.at.clone(),
            declared: host.declared,
            revision: self.eyes.state.revision,
            boot: host.boot,
            reboots: host.reboots.clone(),
            agent: self.agent_of(name),
            disk: self.disk_of(name),
            load: self.load_of(name),
            engines: engines.collect(),
            links: self.links_to(name),
            others: self.others_than(name),
            reach: (self.eyes.reach)(name),
            device,
            word,
            word_holds,
        })
    }

    /// Only the leader hears agents; every other coordinator says so.
    fn heard<T>(&self, seen: impl FnOnce() -> Seen<T>) -> Seen<T> {
        if self.eyes.leads { seen() } else { Seen::Unknown { reason: "only the leader hears agents".into() } }
    }

    fn agent_of(&self, name: &HostName) -> Seen<slot_types::evidence::AgentSeen> {
        let never = || Seen::Unknown { reason: "this leader has not heard it yet".into() };
        self.heard(|| self.eyes.evidence.hosts.get(name).map_or_else(never, |seen| seen.agent.clone()))
    }

    fn disk_of(&self, name: &HostName) -> Seen<slot_types::disk::Disk> {
        let never = || Seen::Unknown { reason: "this leader has not heard its agent yet".into() };
        self.heard(|| self.eyes.evidence.hosts.get(name).map_or_else(never, |seen| seen.disk.clone()))
    }

    /// How busy a host is.
    pub(super) fn load_of(&self, name: &HostName) -> Seen<slot_types::load::HostLoad> {
        let never = || Seen::Unknown { reason: "this leader has not heard its agent yet".into() };
        self.heard(|| self.eyes.evidence.hosts.get(name).map_or_else(never, |seen| seen.load.clone()))
    }

    fn links_to(&self, name: &HostName) -> Vec<LinkSeen> {
        let mut links = Vec::new();
        for (store, record) in &self.cluster.stores {
            let Some(master) = record.master.as_ref().filter(|master| master.host == *name) else { continue };
            for slot in record.copies.keys().filter(|slot| slot.host != *name) {
                let heard_ms = match self.heard(|| self.eyes.evidence.copy(slot)) {
                    Seen::Known { value: CopyEvidence::Running(status), age_ms } => match status.heard_ms {
                        Some(value) => Seen::Known { value, age_ms },
                        None => Seen::Unknown { reason: "it has not heard its master since it started".into() },
                    },
                    Seen::Known { .. } => Seen::Unknown { reason: "its engine does not run".into() },
                    Seen::Unknown { reason } => Seen::Unknown { reason },
                };
                links.push(LinkSeen { store: store.clone(), from: slot.clone(), to: master.clone(), heard_ms });
            }
        }
        links
    }

    fn others_than(&self, name: &HostName) -> Vec<OtherSeen> {
        let here = self.cluster.hosts.get(name).map(|host| &host.at);
        let others = self.cluster.hosts.iter().filter(|(other, _)| *other != name);
        let mut all: Vec<OtherSeen> = others
            .map(|(other, host)| OtherSeen {
                host: other.clone(),
                same_domain: Some(&host.at) == here,
                agent: self.agent_of(other),
                silent: self.silent(other, host),
            })
            .collect();
        all.sort_by_key(|other| (!other.same_domain, other.host.clone()));
        all
    }
}
