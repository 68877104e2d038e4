//! What the planner reads off cluster and evidence.
//!
//! What always holds: nothing counts as well unless it was seen well, lately, at the committed epoch and of the
//! recorded copy; what is old or unknown is never read as good news.

use crate::Inputs;
use crate::refusal::{NotWell, WhyNot};
use slot_types::cluster::*;
use slot_types::engine::{EngineRole, EngineStatus};
use slot_types::evidence::{CopyEvidence, Evidence, Seen};
use slot_types::ids::*;
use std::collections::{BTreeMap, BTreeSet};

pub(crate) struct View<'a> {
    pub cluster: &'a Cluster,
    pub evidence: &'a Evidence,
    pub inputs: &'a Inputs,
}

impl<'a> View<'a> {
    pub fn policy(&self) -> &'a Policy {
        &self.cluster.policy
    }

    /// Whether orders reach a host: its agent was heard lately, with the admitted disk (S2) and the latest boot (R27).
    pub fn answers(&self, name: &HostName) -> bool {
        let Some(host) = self.cluster.hosts.get(name) else { return false };
        let seen = self.evidence.hosts.get(name).and_then(|e| e.agent.fresh(self.policy().silent_ms));
        host.quarantined.is_none()
            && seen.is_some_and(|s| Some(s.incarnation) == host.incarnation && Some(s.boot) == host.boot)
    }

    /// Whether a copy can be raised and follow: its host answers, and it is there, neither stopped nor set aside.
    pub fn copy_answers(&self, slot: &SlotId, copy: &Copy) -> bool {
        matches!(copy.state, CopyState::Serving | CopyState::Frozen | CopyState::Building)
            && self.answers(&slot.host)
            && !self.is_gone(slot, copy)
            // What was begun and has no engine holds nothing, and may have no folder to start one in.
            && (copy.whole || self.evidence.running(slot, self.policy().silent_ms).is_some())
    }

    /// Whether a copy that is to be built is not there at all, since its disk was replaced: its agent, which answers, holds
    /// nothing on the slot and would refuse whatever is ordered of the copy.
    pub fn is_gone(&self, slot: &SlotId, copy: &Copy) -> bool {
        let seen = self.evidence.copies.get(slot).and_then(Seen::value);
        copy.state == CopyState::Building && seen == Some(&CopyEvidence::Absent)
    }

    /// What a new copy of a store takes of a disk.
    pub fn copy_bytes(&self, name: &StoreName, spec: &StoreSpec) -> u64 {
        self.evidence.copy_bytes(name, spec.size_bytes, self.cluster.stores.get(name))
    }

    /// What a host's disk has to spare for copies that this plan builds; `None` when nobody knows.
    pub fn disk_to_spare(&self, name: &HostName) -> Option<u64> {
        self.evidence.disk_to_spare(self.cluster, name)
    }

    /// What a copy's engine said lately, with its age, if it is the recorded copy and its host answers.
    pub fn status(&self, name: &StoreName, slot: &SlotId, copy: &Copy) -> Option<(&'a EngineStatus, u64)> {
        let (status, age) = self.evidence.last_status(slot)?;
        let same = status.store == *name && status.generation == copy.generation;
        (same && age <= self.policy().silent_ms && self.answers(&slot.host)).then_some((status, age))
    }

    /// Hosts that should be heard and are not (R23).
    pub fn silent_hosts(&self) -> BTreeSet<HostName> {
        let expected = |h: &Host| matches!(h.declared, HostState::Active | HostState::Draining | HostState::Empty);
        let hosts = self.cluster.hosts.iter();
        let silent =
            hosts.filter(|(name, host)| expected(host) && !self.evidence.agent_alive(name, self.policy().silent_ms));
        silent.map(|(name, _)| name.clone()).collect()
    }

    /// The slot of a store's master, if it can be handed over as a planned thing.
    pub fn master_well(&self, name: &StoreName, store: &'a Store) -> Result<&'a SlotId, NotWell> {
        if let Some(pending) = &store.pending {
            return Err(NotWell::Pending(pending.clone()));
        }
        let master = store.master.as_ref().ok_or(NotWell::NoMaster)?;
        if !self.answers(&master.host) {
            return Err(NotWell::HostSilent);
        }
        let copy = store.copies.get(master).ok_or(NotWell::NoMaster)?;
        if !matches!(copy.state, CopyState::Serving | CopyState::Frozen) {
            return Err(NotWell::Copy(copy.state));
        }
        let (status, _) = self.status(name, master, copy).ok_or(NotWell::EngineNotSeen)?;
        if status.role != EngineRole::Master || status.epoch != store.epoch {
            return Err(NotWell::Engine { role: status.role, epoch: status.epoch });
        }
        Ok(master)
    }

    /// Whether a host may get copies: it is Active, answers, and no running plan holds it.
    pub fn takes_copies(&self, name: &HostName) -> Result<(), WhyNot> {
        let host = self.cluster.hosts.get(name).ok_or(WhyNot::NoCopy)?;
        match host.declared {
            HostState::Active if host.quarantined.is_some() => Err(WhyNot::HostQuarantined),
            HostState::Active if self.inputs.busy_hosts.contains(name) => Err(WhyNot::HostBusy),
            HostState::Active if !self.answers(name) => Err(WhyNot::HostSilent),
            HostState::Active => Ok(()),
            state => Err(WhyNot::HostState(state)),
        }
    }

    /// Whether the host of a copy may get a master.
    fn host_may_lead(&self, slot: &SlotId) -> Result<(), WhyNot> {
        let host = self.cluster.hosts.get(&slot.host).ok_or(WhyNot::NoCopy)?;
        if host.declared != HostState::Active {
            return Err(WhyNot::HostState(host.declared));
        }
        if host.quarantined.is_some() {
            return Err(WhyNot::HostQuarantined);
        }
        if !self.answers(&slot.host) {
            return Err(WhyNot::HostSilent);
        }
        Ok(())
    }

    /// Hand-over 1: B is well, follows A directly (R16), is close behind and lately verified.
    pub fn handover_target(&self, name: &StoreName, store: &Store, from: &SlotId, to: &SlotId) -> Result<(), WhyNot> {
        let copy = store.copies.get(to).ok_or(WhyNot::NoCopy)?;
        if to == from || copy.role == Role::Master {
            return Err(WhyNot::IsMaster);
        }
        if copy.state != CopyState::Serving {
            return Err(WhyNot::State(copy.state));
        }
        self.host_may_lead(to)?;
        if self.inputs.busy_hosts.contains(&to.host) {
            return Err(WhyNot::HostBusy);
        }
        if let Some(case) = self.open_case(name, to) {
            return Err(WhyNot::LossCase(case));
        }
        if let Some(stamp) = self.cluster.fault(store, to) {
            return Err(WhyNot::Differs { findings: Box::new(stamp.of.findings.clone()) });
        }
        let status = self.replica(name, to, copy)?;
        if status.following != Some((from.clone(), store.epoch)) {
            return Err(WhyNot::FollowsOther { master: from.clone(), epoch: store.epoch });
        }
        let policy = self.policy();
        match status.heard_ms {
            Some(ms) if ms <= policy.silent_ms => {}
            _ => return Err(WhyNot::NotHeard),
        }
        match status.behind {
            None => return Err(WhyNot::BehindUnknown),
            Some(behind) if behind > policy.max_lag_records => {
                return Err(WhyNot::Behind { behind, max: policy.max_lag_records });
            }
            Some(_) => {}
        }
        match status.verified_ms {
            None => Err(WhyNot::NeverVerified),
            Some(age_ms) if age_ms > policy.max_stamp_age_ms => {
                Err(WhyNot::VerifiedLongAgo { age_ms, max_ms: policy.max_stamp_age_ms })
            }
            Some(_) => Ok(()),
        }
    }

    fn replica(&self, name: &StoreName, slot: &SlotId, copy: &Copy) -> Result<&'a EngineStatus, WhyNot> {
        let status = self.evidence.running(slot, self.policy().silent_ms).ok_or(WhyNot::EngineNotSeen)?;
        if status.store != *name || status.generation != copy.generation {
            return Err(WhyNot::OtherCopy);
        }
        if status.role != EngineRole::Replica {
            return Err(WhyNot::Engine(status.role));
        }
        Ok(status)
    }

    /// Whether a copy may be promoted past a master that is gone; its engine's word if it may.
    pub fn failover_target(
        &self,
        name: &StoreName,
        store: &Store,
        from: &SlotId,
        to: &SlotId,
    ) -> Result<(&'a EngineStatus, u64), WhyNot> {
        let copy = store.copies.get(to).ok_or(WhyNot::NoCopy)?;
        if to == from && store.master.is_some() {
            return Err(WhyNot::IsMaster);
        }
        if !matches!(copy.state, CopyState::Serving | CopyState::Frozen | CopyState::Building) {
            return Err(WhyNot::State(copy.state));
        }
        self.host_may_lead(to)?;
        if let Some(case) = self.open_case(name, to) {
            return Err(WhyNot::LossCase(case));
        }
        let (status, age) = match self.status(name, to, copy) {
            Some(seen) => seen,
            None if self.evidence.running(to, self.policy().silent_ms).is_some() => return Err(WhyNot::OtherCopy),
            None => return Err(WhyNot::EngineNotSeen),
        };
        match (copy.state, status.role) {
            (_, EngineRole::Diverged) => Err(WhyNot::Engine(status.role)),
            // R16: what never held everything is never promoted, whatever its engine says.
            _ if !copy.whole => Err(WhyNot::NotWhole),
            // R16: a building copy is never counted. A demoted master is no building copy, though it waits to follow.
            (CopyState::Building, EngineRole::Demoted) => Ok((status, age)),
            (CopyState::Building, _) => Err(WhyNot::State(copy.state)),
            _ => Ok((status, age)),
        }
    }

    /// Whether a copy with an open loss case could be promoted, when nothing else can: it was master and is whole, or follows
    /// and only put records aside.
    pub fn last_resort(&self, name: &StoreName, store: &Store, to: &SlotId) -> Option<(&'a EngineStatus, u64)> {
        let copy = store.copies.get(to)?;
        self.open_case(name, to)?;
        self.host_may_lead(to).ok()?;
        let (status, age) = self.status(name, to, copy)?;
        let whole = match copy.state {
            CopyState::Quarantined | CopyState::Serving | CopyState::Frozen => true,
            CopyState::Building => status.role == EngineRole::Demoted,
            CopyState::Stopped | CopyState::Retired => false,
        };
        (whole && copy.whole && status.role != EngineRole::Diverged).then_some((status, age))
    }

    /// How surely a slot can no longer acknowledge: by a demote that can be ordered, by a device that says off or can be used,
    /// by a person's word, or not at all. No power is cut where a person said that it is off (docs/adr/0017).
    pub fn fence(&self, slot: &SlotId) -> FenceLevel {
        if self.answers(&slot.host) {
            FenceLevel::Demoted
        } else if self.is_off(&slot.host) {
            FenceLevel::Device
        } else if self.attested(&slot.host) {
            FenceLevel::Attested
        } else if self.switch(&slot.host).is_some() {
            FenceLevel::Device
        } else {
            FenceLevel::None
        }
    }

    /// R8: the attestation is for the latest boot, in force, and nothing was heard of agent or engine since.
    pub fn attested(&self, name: &HostName) -> bool {
        let Some(attestation) = self.cluster.attestations.get(name) else { return false };
        let boot = self.cluster.hosts.get(name).and_then(|h| h.boot);
        boot == Some(attestation.boot)
            && attestation.expires > self.inputs.now
            && self
                .last_life_age(name)
                .is_none_or(|age| self.evidence.taken_at.0.saturating_sub(age) <= attestation.at.0)
    }

    /// Whether its device's "off" stands for a host's latest boot (R26).
    pub fn is_off(&self, name: &HostName) -> bool {
        self.cluster.hosts.get(name).is_some_and(|host| host.device.is_off(host.boot) && host.device.spec.is_some())
    }

    /// How long ago anything of a host showed life: its agent, or one of its engines to a replica (R8: separate signs).
    pub fn last_life_age(&self, name: &HostName) -> Option<u64> {
        let agent = self.evidence.hosts.get(name).and_then(|h| h.agent.age_ms());
        let heard = self.evidence.copies.keys().filter_map(|slot| {
            let (status, age) = self.evidence.last_status(slot)?;
            let (source, _) = status.following.as_ref()?;
            let heard = status.heard_ms?;
            (source.host == *name && slot.host != *name).then(|| age.saturating_add(heard))
        });
        heard.chain(agent).min()
    }

    /// The loss case of a store's copy on a slot that is not settled.
    pub fn open_case(&self, name: &StoreName, slot: &SlotId) -> Option<LossCaseId> {
        let mut cases = self.cluster.loss_cases.iter();
        cases.find(|(_, c)| c.store == *name && c.slot == *slot && c.state.is_open()).map(|(id, _)| *id)
    }

    /// What the masters of each host weigh, promised ones included.
    pub fn loads(&self) -> BTreeMap<HostName, u64> {
        self.cluster.led().into_iter().map(|(host, led)| (host, led.load)).collect()
    }

    /// Where a canary is written from: a host that is neither in `not` nor silent, spread by `turn`; else the first of
    /// `fallback` that answers; else the last of them.
    pub fn canary_host(&self, not: &[&HostName], fallback: &[&HostName], turn: usize) -> Option<HostName> {
        let third: Vec<&HostName> = self.third_hosts(not).collect();
        if !third.is_empty() {
            return Some(third[turn % third.len()].clone());
        }
        let answering = fallback.iter().find(|h| self.answers(h));
        answering.or(fallback.last()).map(|h| (*h).clone())
    }

    fn third_hosts<'b>(&self, not: &'b [&HostName]) -> impl Iterator<Item = &'a HostName> + use<'a, 'b, '_> {
        let live = |h: &Host| matches!(h.declared, HostState::Active | HostState::Draining | HostState::Empty);
        self.cluster
            .hosts
            .iter()
            .filter(move |(name, host)| live(host) && !not.contains(name) && self.answers(name))
            .map(|(name, _)| name)
    }

    /// Live copies of a store: seen running lately, neither building nor set aside.
    pub fn live_copies(&self, name: &StoreName, store: &Store) -> BTreeSet<SlotId> {
        let live = store.copies.iter().filter(|(slot, copy)| {
            matches!(copy.state, CopyState::Serving | CopyState::Frozen) && self.status(name, slot, copy).is_some()
        });
        live.map(|(slot, _)| slot.clone()).collect()
    }

    /// Every slot with a copy, with its store: for looking many of them up.
    pub fn used_slots(&self) -> BTreeMap<&'a SlotId, &'a StoreName> {
        self.cluster.stores.iter().flat_map(|(name, store)| store.copies.keys().map(move |s| (s, name))).collect()
    }
}
