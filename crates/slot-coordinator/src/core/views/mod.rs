//! Views: the documents people and scripts read.
//!
//! What always holds: a view decides nothing and changes nothing; what is declared and what is seen stand side by side;
//! a node that does not lead sees no agents and says so; the planner is not asked here, but in a [`Study`].

mod evidence;
mod explain;
mod fleet;
mod front_ends;
mod invitations;
mod plans;
mod status;
mod studies;
mod trouble;

use super::CoreConfig;
use super::io::Now;
use super::study::{Study, Unfinished};
use slot_machine::audit::AuditEntry;
use slot_machine::state::State;
use slot_types::backup::{BackupHead, BackupView};
use slot_types::cluster::*;
use slot_types::engine::EngineRole;
use slot_types::evidence::{CopyEvidence, Evidence, Seen};
use slot_types::ids::*;
use slot_types::probe::Reach;
use slot_types::view::*;
use std::collections::BTreeMap;

/// Everything a view is made of.
pub(super) struct Eyes<'a> {
    pub state: &'a State,
    pub evidence: &'a Evidence,
    /// How other hosts see one, as this leader knows it.
    pub reach: &'a dyn Fn(&HostName) -> Option<Reach>,
    pub now: Now,
    pub log_now: LogTime,
    pub config: &'a CoreConfig,
    pub leader: Option<&'a CoordinatorName>,
    pub leads: bool,
    pub heard: &'a BTreeMap<u64, u64>,
}

/// What is said to a query.
pub(super) enum Said {
    /// The view.
    View(View),
    /// What the planner finds; looked for beside the core.
    Study(Box<Study>),
}

/// A cluster with what is seen of it.
pub(super) struct Fleet<'a> {
    pub eyes: &'a Eyes<'a>,
    pub cluster: &'a Cluster,
    /// What is on each slot.
    pub on: BTreeMap<&'a SlotId, (&'a StoreName, &'a Store, &'a Copy)>,
}

impl Eyes<'_> {
    /// R10: the whole state, but for what a restore voids and for the audit, which is read apart.
    fn backup(&self, cluster: &Cluster) -> BackupView {
        let audit = &self.state.audit;
        let head = BackupHead {
            cluster: cluster.id,
            name: cluster.name.clone(),
            generation: cluster.generation,
            revision: self.state.revision,
            applied: self.state.applied,
            wall: self.now.wall,
            audit_last: audit.last_number(),
            audit_head: audit.head(),
        };
        let (audit_trimmed, audit_trimmed_hash) = (audit.trimmed_through, audit.trimmed_hash);
        BackupView { head, audit_trimmed, audit_trimmed_hash, state: self.state.for_backup() }
    }

    /// Answers a query.
    pub fn say(&self, query: &Query) -> Said {
        let Some(cluster) = &self.state.cluster else {
            return Said::View(View::NotFound { subject: "the cluster: it is not founded yet".into() });
        };
        let mut on = BTreeMap::new();
        for (name, store) in &cluster.stores {
            on.extend(store.copies.iter().map(|(slot, copy)| (slot, (name, store, copy))));
        }
        let fleet = Fleet { eyes: self, cluster, on };
        let unfinished = match query {
            Query::Status => Some(Unfinished::Status(Box::new(fleet.status()))),
            Query::Explain(what) => fleet.explain(what),
            Query::Risks => Some(Unfinished::Risks),
            Query::Risk(lost) => fleet.risk(lost),
            _ => None,
        };
        match unfinished {
            Some(view) => Said::Study(Box::new(fleet.study(view))),
            None => Said::View(self.view(&fleet, query)),
        }
    }

    /// A view that is whole.
    fn view(&self, fleet: &Fleet<'_>, query: &Query) -> View {
        let cluster = fleet.cluster;
        let found = match query {
            Query::Host(name) => fleet.host(name).map(|v| View::Host(Box::new(v))),
            Query::Store(name) => fleet.store(name).map(|v| View::Store(Box::new(v))),
            Query::Slot(slot) => fleet.slot(slot).map(|v| View::Slot(Box::new(v))),
            Query::Plans => Some(View::Plans(self.state.plans.values().rev().map(|r| fleet.plan_line(r)).collect())),
            Query::Plan(id) => self.state.plans.get(id).map(|r| View::Plan(Box::new(fleet.plan(r)))),
            Query::LossCases => Some(View::LossCases(fleet.loss_cases())),
            Query::LossCase(id) => fleet.loss_case(*id).map(|v| View::LossCase(Box::new(v))),
            Query::Audit { after, limit } => Some(View::Audit(self.audit(*after, *limit))),
            Query::AuditSince { wall, limit } => Some(View::Audit(self.audit(self.before(*wall), *limit))),
            Query::Routes => Some(View::Routes(self.routes(cluster))),
            Query::Backup => Some(View::Backup(Box::new(self.backup(cluster)))),
            Query::Stores(filter) => fleet.stores(filter).map(View::Stores),
            Query::Slots(filter) => fleet.slots(filter).map(View::Slots),
            Query::Evidence(host) => fleet.evidence(host).map(|v| View::Evidence(Box::new(v))),
            Query::Snapshot => Some(View::Snapshot(Box::new(fleet.snapshot()))),
            Query::Invitations => Some(View::Invitations(self.invitations())),
            // What there is of these is for the planner.
            Query::Status | Query::Explain(_) | Query::Risks | Query::Risk(_) => None,
        };
        found.unwrap_or_else(|| View::NotFound { subject: subject(query) })
    }

    fn audit(&self, after: u64, limit: u32) -> AuditView {
        let limit = limit.clamp(1, AUDIT_LINES_MAX) as usize;
        let chain = &self.state.audit;
        let first = chain.entries.partition_point(|entry| entry.number <= after);
        let entries: Vec<AuditLine> = chain.entries.iter().skip(first).take(limit).map(audit_line).collect();
        let more = first + entries.len() < chain.entries.len();
        // The whole chain is computed for who reads from its beginning, not again for each page behind it.
        let chain_ok = match first.checked_sub(1).and_then(|before| chain.entries.get(before)) {
            None => chain.first_broken().is_none(),
            Some(before) => {
                let mut end = ChainEnd { number: before.number, hash: before.hash };
                entries.iter().all(|entry| end.follow(entry).is_ok())
            }
        };
        AuditView {
            trimmed_through: chain.trimmed_through,
            trimmed_hash: chain.trimmed_hash,
            entries,
            last: chain.last_number(),
            chain_ok,
            more,
        }
    }

    /// The number of the entry before the first of this wall time or a later one.
    fn before(&self, wall: WallTime) -> u64 {
        let chain = &self.state.audit;
        let first = chain.entries.iter().find(|entry| entry.wall >= wall);
        first.map_or(chain.last_number(), |entry| entry.number.saturating_sub(1))
    }

    fn routes(&self, cluster: &Cluster) -> RoutesView {
        let routes = cluster
            .stores
            .iter()
            .map(|(store, s)| RouteLine { store: store.clone(), route: s.route.clone() })
            .collect();
        RoutesView { revision: self.state.revision, routes }
    }
}

fn audit_line(entry: &AuditEntry) -> AuditLine {
    AuditLine {
        number: entry.number,
        index: entry.index,
        log_time: entry.log_time,
        wall: entry.wall,
        actor: entry.actor.clone(),
        event: entry.event.clone(),
        hash: entry.hash,
    }
}

fn subject(query: &Query) -> String {
    match query {
        Query::Host(host) | Query::Evidence(host) => format!("host {host}"),
        Query::Store(store) | Query::Explain(ExplainWhat::Store(store)) => format!("store {store}"),
        Query::Slot(slot) | Query::Explain(ExplainWhat::Slot(slot)) => format!("slot {slot}"),
        Query::Plan(plan) | Query::Explain(ExplainWhat::Plan(plan)) => format!("plan {plan}"),
        Query::LossCase(case) => format!("loss case {case}"),
        Query::Stores(StoreFilter { host: Some(host), .. }) | Query::Slots(SlotFilter { host: Some(host), .. }) => {
            format!("host {host}")
        }
        Query::Risk(lost) => lost.to_string(),
        Query::Stores(_) | Query::Slots(_) | Query::Risks | Query::Snapshot | Query::Invitations => "nothing".into(),
        Query::Status
        | Query::Plans
        | Query::LossCases
        | Query::Audit { .. }
        | Query::AuditSince { .. }
        | Query::Backup
        | Query::Routes => "nothing".into(),
    }
}

impl<'a> Fleet<'a> {
    pub fn seen(&self, host: &HostName) -> Seen<BootId> {
        match self.eyes.evidence.hosts.get(host).map(|h| &h.agent) {
            Some(Seen::Known { value, age_ms }) => Seen::Known { value: value.boot, age_ms: *age_ms },
            Some(Seen::Unknown { reason }) => Seen::Unknown { reason: reason.clone() },
            None => Seen::Unknown { reason: "only the leader hears agents".into() },
        }
    }

    /// A host that should answer and does not; unknown counts as silent only once it was seen in its life.
    pub fn silent(&self, name: &HostName, host: &Host) -> bool {
        self.eyes.leads
            && host.incarnation.is_some()
            && host.declared != HostState::Retired
            // What a fence switched off, nobody meant to be away: its masters are not served.
            && (host.declared != HostState::Off || host.device.off.is_some())
            && !self.eyes.evidence.agent_alive(name, self.cluster.policy.silent_ms)
    }

    /// Whether the store's master was lately seen running as master at its epoch.
    pub fn served(&self, store: &Store) -> bool {
        let status = store.master.as_ref().and_then(|m| self.eyes.evidence.running(m, self.cluster.policy.silent_ms));
        status.is_some_and(|s| s.role == EngineRole::Master && s.epoch == store.epoch)
    }

    /// Copies lately seen running as what they should be.
    pub fn live_copies(&self, store: &Store) -> usize {
        let live = |slot: &SlotId, copy: &Copy| {
            let Some(status) = self.eyes.evidence.running(slot, self.cluster.policy.silent_ms) else { return false };
            match (copy.role, copy.state) {
                (Role::Master, CopyState::Serving | CopyState::Frozen) => {
                    status.role == EngineRole::Master && status.epoch == store.epoch
                }
                (Role::Replica, CopyState::Serving) => {
                    let follows = store.master.as_ref().map(|m| (m.clone(), store.epoch));
                    status.role == EngineRole::Replica && status.following == follows
                }
                _ => false,
            }
        };
        store.copies.iter().filter(|(slot, copy)| live(slot, copy)).count()
    }

    pub fn slot_line(&self, slot: &SlotId, spec: &SlotSpec) -> SlotLine {
        let copy = self.on.get(slot).map(|(store, _, copy)| {
            let engine = if self.eyes.leads {
                self.eyes.evidence.copy(slot)
            } else {
                Seen::Unknown { reason: "only the leader hears agents".into() }
            };
            let position = of_status(&engine, |s| Some(s.tip.position), "not reported");
            let behind = of_status(&engine, |s| s.behind, "its engine does not know");
            let compared = self.compared(slot, copy);
            SlotCopy { store: (*store).clone(), copy: (*copy).clone(), engine, position, behind, compared }
        });
        let claimed_by = self.eyes.state.slot_claims.get(slot).copied();
        SlotLine { slot: slot.clone(), address: spec.address, copy, claimed_by }
    }

    /// When the copy on a slot was last compared with its master, as the state remembers it; `None` of a master.
    pub fn compared(&self, slot: &SlotId, copy: &Copy) -> Option<Compared> {
        let stamp = self.cluster.stamps.get(slot).filter(|stamp| stamp.generation == copy.generation);
        let ago_ms = stamp.map_or(0, |stamp| self.eyes.log_now.since(stamp.at));
        (copy.role == Role::Replica).then_some(match stamp {
            None => Compared::Never,
            Some(stamp) if stamp.differs() => Compared::Differs { records: stamp.of.findings.count, ago_ms },
            Some(_) => Compared::Equal { ago_ms },
        })
    }

    fn host(&self, name: &HostName) -> Option<HostView> {
        let host = self.cluster.hosts.get(name)?;
        let attestation = self.cluster.attestations.get(name).cloned();
        let attestation_valid =
            attestation.as_ref().is_some_and(|a| a.expires > self.eyes.log_now && Some(a.boot) == host.boot);
        let slots = host.slots.iter().map(|(n, spec)| self.slot_line(&SlotId::new(name.clone(), *n), spec)).collect();
        Some(HostView {
            host: name.clone(),
            at: host.at.clone(),
            declared: host.declared,
            address: host.address,
            weight: host.weight,
            incarnation: host.incarnation,
            boot: host.boot,
            seen: self.seen(name),
            silent: self.silent(name, host),
            quarantined: host.quarantined.clone(),
            attestation,
            attestation_valid,
            drained_masters: host.drained_masters.clone(),
            back_by: host.back_by,
            claimed_by: self.eyes.state.host_claims.get(name).copied(),
            running: self.eyes.evidence.hosts.get(name).map(|h| h.running.clone()).unwrap_or_default(),
            slots,
            holds: self.cluster.holds_on_host(name).collect(),
        })
    }

    fn store(&self, name: &StoreName) -> Option<StoreView> {
        let store = self.cluster.stores.get(name)?;
        let line = |slot: &SlotId| self.cluster.slot(slot).map(|spec| self.slot_line(slot, spec));
        let cases = self.cluster.loss_cases.iter().filter(|(_, c)| c.store == *name);
        Some(StoreView {
            store: name.clone(),
            spec: store.spec.clone(),
            epoch: store.epoch,
            master: store.master.clone(),
            pending: store.pending.clone(),
            served: self.served(store),
            copies: store.copies.keys().filter_map(line).collect(),
            possible_masters: store.possible_masters.clone(),
            route: store.route.clone(),
            claimed_by: self.eyes.state.store_claims.get(name).copied(),
            loss_cases: cases.map(|(id, _)| *id).collect(),
            holds: self.cluster.holds_on_store(name).collect(),
        })
    }

    fn slot(&self, slot: &SlotId) -> Option<SlotView> {
        let spec = self.cluster.slot(slot)?;
        let store = self.on.get(slot).and_then(|(name, _, _)| self.store(name));
        Some(SlotView { line: self.slot_line(slot, spec), size_bytes: spec.size_bytes, store })
    }

    fn loss_cases(&self) -> Vec<LossCaseView> {
        let mut cases: Vec<_> = self.cluster.loss_cases.iter().collect();
        cases.sort_by_key(|(id, case)| (!case.state.is_open(), **id));
        cases.into_iter().filter_map(|(id, _)| self.loss_case(*id)).collect()
    }

    fn loss_case(&self, id: LossCaseId) -> Option<LossCaseView> {
        let case = self.cluster.loss_cases.get(&id)?.clone();
        let master = self.cluster.stores.get(&case.store).and_then(|s| s.master.clone());
        Some(LossCaseView { id, master, plan: self.settling(id), case })
    }
}

fn of_status<T>(
    engine: &Seen<CopyEvidence>,
    get: impl Fn(&slot_types::engine::EngineStatus) -> Option<T>,
    missing: &str,
) -> Seen<T> {
    let unknown = |reason: &str| Seen::Unknown { reason: reason.to_string() };
    match engine {
        Seen::Unknown { reason } => unknown(reason),
        Seen::Known { value: CopyEvidence::Running(status), age_ms } => match get(status) {
            Some(value) => Seen::Known { value, age_ms: *age_ms },
            None => unknown(missing),
        },
        Seen::Known { value: CopyEvidence::NotRunning, .. } => unknown("its engine is not running"),
        Seen::Known { value: CopyEvidence::Silent, .. } => unknown("its engine does not answer"),
        Seen::Known { value: CopyEvidence::Absent, .. } => unknown("its agent knows no such copy"),
    }
}
