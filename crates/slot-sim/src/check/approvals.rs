//! Approvals, counted anew (S5, R14, R15, R17).
//!
//! What always holds: what a plan says is read from the bytes of the committed entry; how many people it needs is computed
//! here from the policy in force and from what was silent at each yes; an approval counts when it names the digest of those
//! bytes, was given in time, by a person of its own, and since the last change of leader.

use super::Found;
use slot_types::cluster::{Cluster, FenceLevel, HostState, LossClass, Policy};
use slot_types::codec;
use slot_types::evidence::Evidence;
use slot_types::ids::*;
use slot_types::plan::{EntityRef, Intent, Plan, TaskKind};
use slot_types::position::{Digest, ShortDigest};
use std::collections::{BTreeMap, BTreeSet};

/// What of a store an approval rests on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct StoreBase {
    pub epoch: Epoch,
    pub master: Option<SlotId>,
    pub pending: Option<SlotId>,
}

/// A person's yes, as it stands in the log.
struct Yes {
    by: OperatorName,
    digest: ShortDigest,
    at: LogTime,
    index: u64,
}

/// A plan as its entry says.
pub(crate) struct Recorded {
    pub digest: Digest,
    requested_by: Option<OperatorName>,
    everyday: bool,
    valid_ms: u64,
    recorded: LogTime,
    people: u8,
    failovers: bool,
    fence: FenceLevel,
    loss: LossClass,
    silent_hosts: u16,
    mass: bool,
    base: BTreeMap<StoreName, StoreBase>,
    yes: Vec<Yes>,
    over: bool,
    started: bool,
}

impl Recorded {
    /// Reads a plan's bytes; `base` is the stores as they are now.
    pub fn new(bytes: &[u8], now: LogTime, base: &BTreeMap<StoreName, StoreBase>) -> Option<Self> {
        let plan: Plan = codec::decode(bytes).ok()?;
        let mut read = Self {
            digest: Digest::of(bytes),
            requested_by: plan.requested_by.clone(),
            everyday: matches!(
                plan.intent,
                Intent::StartMaster { .. }
                    | Intent::Follow { .. }
                    | Intent::FenceReturned { .. }
                    | Intent::CountCopy { .. }
            ),
            valid_ms: plan.valid_ms,
            recorded: now,
            people: plan.people,
            failovers: false,
            fence: FenceLevel::Demoted,
            loss: LossClass::NoneProvable,
            silent_hosts: plan.silent_hosts,
            mass: plan.said.mass,
            base: BTreeMap::new(),
            yes: Vec::new(),
            over: false,
            started: false,
        };
        for task in &plan.tasks {
            if let TaskKind::FailOver { fence, loss, .. } = &task.kind {
                read.failovers = true;
                read.fence = read.fence.max(*fence);
                read.loss = read.loss.max(loss.class);
            }
            if read.everyday
                && !matches!(
                    task.kind,
                    TaskKind::StartMaster { .. }
                        | TaskKind::StartCopy { .. }
                        | TaskKind::FenceReturned { .. }
                        | TaskKind::CountCopy { .. }
                )
            {
                // Nothing else needs no approval (R25, R8).
                read.everyday = false;
            }
        }
        let named = plan.facts.keys().filter_map(|fact| match fact {
            EntityRef::Store(store) => Some(store),
            _ => None,
        });
        let touched = plan.tasks.iter().filter_map(|task| task.store.as_ref());
        for store in named.chain(touched) {
            read.base.insert(store.clone(), base.get(store).cloned().unwrap_or_default());
        }
        Some(read)
    }

    /// A person said yes.
    pub fn approved(&mut self, by: &OperatorName, digest: ShortDigest, at: LogTime, index: u64) {
        self.yes.push(Yes { by: by.clone(), digest, at, index });
    }

    /// R23: hosts in service that the leader had listened to in vain when a person said yes.
    pub fn seen_silent(&mut self, cluster: Option<&Cluster>, guards: &Evidence) {
        let Some(cluster) = cluster else { return };
        let mut silent = 0;
        for (name, host) in &cluster.hosts {
            let serves = !matches!(host.declared, HostState::Maintenance | HostState::Off | HostState::Retired);
            let Some(seen) = guards.hosts.get(name).filter(|_| serves) else { continue };
            silent += u16::from(seen.agent.age_ms().is_none_or(|age| age > cluster.policy.silent_ms));
        }
        self.silent_hosts = self.silent_hosts.max(silent);
    }

    /// It can't start any more.
    pub fn is_over(&mut self) {
        self.over = true;
    }

    /// How many people it needs under a policy.
    fn needs(&self, policy: &Policy) -> usize {
        if self.everyday {
            return 0;
        }
        let worse = policy.two_if_loss && self.loss > LossClass::CaughtUp;
        let unfenced = policy.two_if_unfenced && self.fence > FenceLevel::Device;
        let many = self.silent_hosts > policy.brake_silent_hosts;
        let two = self.failovers && (worse || unfenced || many);
        let floor = if self.failovers { policy.failover_people } else { 1 };
        usize::from(self.people.max(floor).max(if two { 2 } else { 1 }))
    }

    /// It has started, at an index: S5.
    pub fn starts(
        &mut self,
        found: &mut Found,
        id: PlanId,
        policy: &Policy,
        stores: &BTreeMap<StoreName, StoreBase>,
        last_leader: u64,
    ) {
        if self.started || self.over {
            found.say("S5", format!("{id} starts a second time, or after it was rejected"));
        }
        self.started = true;
        if self.failovers && self.silent_hosts > policy.brake_silent_hosts && !self.mass {
            found.say("R23", format!("{id} starts with {} silent hosts, which nobody said to know", self.silent_hosts));
        }
        if self.everyday {
            return;
        }
        let needs = self.needs(policy);
        let valid_ms = self.valid_ms.min(policy.plan_valid_ms);
        let counts = |yes: &&Yes| {
            yes.digest == self.digest.short()
                && yes.at.since(self.recorded) <= valid_ms
                && yes.index > last_leader
                && !(needs >= 2 && self.requested_by.as_ref() == Some(&yes.by))
        };
        let people: BTreeSet<&OperatorName> = self.yes.iter().filter(counts).map(|yes| &yes.by).collect();
        if people.len() < needs {
            let text =
                format!("{id} starts with {} valid approvals of {}, it needs {needs}", people.len(), self.yes.len());
            found.say("S5", text);
        }
        let nothing = StoreBase::default();
        for (store, then) in &self.base {
            let now = stores.get(store).unwrap_or(&nothing);
            if now != then {
                found.say("S5", format!("{id} starts although {store} is {now:?}, it was made for {then:?}"));
            }
        }
    }
}
