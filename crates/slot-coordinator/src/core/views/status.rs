//! The whole cluster at a glance, but for what the planner says of losses.

use super::Fleet;
use super::of_status;
use slot_types::cluster::*;
use slot_types::evidence::Seen;
use slot_types::ids::*;
use slot_types::view::*;
use std::collections::BTreeMap;

/// A peer not heard for this long does not follow the log: many heartbeats' time.
const PEER_SILENT_MS: u64 = 2_000;

impl Fleet<'_> {
    pub(super) fn status(&self) -> StatusView {
        let eyes = self.eyes;
        let uncounted = || "not counted yet".to_string();
        StatusView {
            cluster: self.cluster.name.clone(),
            id: self.cluster.id,
            revision: eyes.state.revision,
            leader: eyes.leader.cloned(),
            answered_by: eyes.config.node.clone(),
            coordinators: self.coordinators(),
            voters: u32::try_from(eyes.config.members.len()).unwrap_or(u32::MAX),
            wall: eyes.now.wall,
            needs_you: self.needs_you(),
            counts: self.counts(),
            compared: self.compared_counts(),
            hosts: self.host_lines(),
            worst_losses: Seen::Unknown { reason: uncounted() },
            worst_pair: Seen::Unknown { reason: uncounted() },
            front_ends: self.front_ends(),
            holds: self.cluster.holds().collect(),
        }
    }

    fn coordinators(&self) -> Vec<CoordinatorLine> {
        let eyes = self.eyes;
        let line = |(id, (name, address)): (&u64, &(CoordinatorName, core::net::SocketAddr))| {
            let reachable = if *name == eyes.config.node {
                Seen::Known { value: true, age_ms: 0 }
            } else if !eyes.leads {
                Seen::Unknown { reason: "only the leader hears every coordinator".into() }
            } else {
                match eyes.heard.get(id).map(|at| eyes.now.ms.saturating_sub(*at)) {
                    Some(age_ms) => Seen::Known { value: age_ms <= PEER_SILENT_MS, age_ms },
                    None => Seen::Unknown { reason: "not heard since this node started".into() },
                }
            };
            CoordinatorLine { name: name.clone(), address: *address, reachable }
        };
        eyes.config.members.iter().map(line).collect()
    }

    fn counts(&self) -> StoreCounts {
        let mut counts = StoreCounts::default();
        for store in self.cluster.stores.values().filter(|store| !store.retired) {
            counts.all += 1;
            counts.served += u64::from(self.served(store));
            match self.live_copies(store) {
                0 => {}
                live if live >= usize::from(store.spec.copies) => counts.full += 1,
                _ => counts.reduced += 1,
            }
        }
        counts.open_loss_cases = self.cluster.loss_cases.values().filter(|c| c.state.is_open()).count() as u64;
        counts.open_plans = self.eyes.state.plans.values().filter(|p| !p.status.is_ended()).count() as u64;
        counts.slots = self.cluster.hosts.values().map(|h| h.slots.len() as u64).sum();
        counts.slots_free = counts.slots.saturating_sub(self.on.len() as u64);
        counts
    }

    fn compared_counts(&self) -> ComparedCounts {
        let mut counts = ComparedCounts::default();
        let stores = self.cluster.stores.values().filter(|store| !store.retired);
        let copies = stores.flat_map(|store| &store.copies).filter(|(_, copy)| copy.state == CopyState::Serving);
        copies.filter_map(|(slot, copy)| self.compared(slot, copy)).for_each(|one| counts.add(one));
        counts
    }

    /// Masters by host, as committed.
    fn masters(&self) -> BTreeMap<&HostName, Led> {
        let mut masters: BTreeMap<&HostName, Led> = BTreeMap::new();
        for store in self.cluster.stores.values() {
            if let Some(slot) = &store.master {
                masters.entry(&slot.host).or_default().add(store.spec.load);
            }
        }
        masters
    }

    fn host_lines(&self) -> Vec<HostLine> {
        let masters = self.masters();
        self.cluster.hosts.iter().map(|(name, host)| self.host_line(name, host, &masters)).collect()
    }

    fn host_line(&self, name: &HostName, host: &Host, masters: &BTreeMap<&HostName, Led>) -> HostLine {
        let slots = || host.slots.keys().map(|n| SlotId::new(name.clone(), *n));
        let replicas = slots().filter(|s| self.on.get(s).is_some_and(|(_, _, c)| c.role == Role::Replica)).count();
        let free = slots().filter(|s| !self.on.contains_key(s)).count();
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let led = masters.get(name).copied().unwrap_or_default();
        HostLine {
            host: name.clone(),
            at: host.at.clone(),
            state: host.declared,
            masters: led.masters,
            masters_load: led.load,
            weight: host.weight,
            replicas: number(replicas),
            free: number(free),
            worst_lag_records: self.worst_lag(slots()),
            load_ppm: self.load_of(name).map(|load| load.machine.load_ppm()),
            seen: self.seen(name),
            silent: self.silent(name, host),
            quarantined: host.quarantined.as_ref().map(super::trouble::quarantine),
            fullest_if_dies: None,
            stop_if_dies: None,
            coordinator: self.coordinator_at(host),
            held: self.cluster.holds_on_host(name).map(|held| held.on).collect(),
        }
    }

    fn worst_lag(&self, slots: impl Iterator<Item = SlotId>) -> Seen<u64> {
        let mut worst = Seen::Unknown { reason: "no replica on it".into() };
        for slot in slots {
            let Some((_, _, copy)) = self.on.get(&slot) else { continue };
            if copy.role != Role::Replica || copy.state != CopyState::Serving {
                continue;
            }
            let lag = of_status(&self.eyes.evidence.copy(&slot), |s| s.behind, "a replica does not know");
            worst = match (&worst, &lag) {
                (Seen::Known { value: old, .. }, Seen::Known { value: new, .. }) if new <= old => worst,
                (Seen::Known { .. }, Seen::Unknown { .. }) => worst,
                _ => lag,
            };
        }
        worst
    }

    fn coordinator_at(&self, host: &Host) -> Option<String> {
        let (name, _) = self.eyes.config.members.values().find(|(_, address)| address.ip() == host.address.ip())?;
        let leads = self.eyes.leader == Some(name);
        Some(if leads { format!("{name} leader") } else { name.to_string() })
    }
}
