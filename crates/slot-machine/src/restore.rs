//! A state that comes back from a backup (R10, S16).
//!
//! What always holds: a restore raises the generation, and with it every index, term, plan number and epoch that will ever be
//! given, above whatever was given after the backup; plans, approvals, claims and sessions are void; nothing is planned,
//! approved or ordered until every host was re-adopted by a person's word, and has said, after it had durably stopped
//! listening to anybody from before, what it holds. Only then the state is rebuilt, from what the hosts said.

use crate::apply::{Stamp, audit};
use crate::audit::AuditEntry;
use crate::command::{Answer, Command, Refused};
use crate::hosts::bounded;
use crate::state::State;
use borsh::{BorshDeserialize, BorshSerialize};
use slot_types::backup::Backup;
use slot_types::cluster::*;
use slot_types::codec::CodecError;
use slot_types::engine::EngineRole;
use slot_types::hand::{HandStart, HandState};
use slot_types::ids::*;
use slot_types::order::{EngineSeen, RoleOrdered, SlotReport};
use slot_types::position::Digest;
use std::collections::{BTreeMap, BTreeSet};

/// Plans of a generation are numbered from here times the generation: their orders are told from any given before (R4).
const PLANS_OF_A_GENERATION: u64 = 1_000_000_000;
/// The same for loss cases, so that nobody takes one for another.
const CASES_OF_A_GENERATION: u64 = 1_000_000;

/// What is still to be learnt after a restore.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Restoring {
    /// Every host of the backup that was not retired.
    pub hosts: BTreeMap<HostName, Readoption>,
}

/// How far a host is.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Readoption {
    /// A person must say that it belongs to this cluster.
    Waiting,
    /// Somebody did: its agent is told to adopt.
    Wanted {
        /// The disk that the person named.
        incarnation: Incarnation,
        /// Disks that were named before it, and may have adopted since.
        before: BTreeSet<Incarnation>,
        /// Who.
        by: OperatorName,
    },
    /// Its agent has adopted.
    Adopted {
        /// What it holds.
        said: AdoptedHost,
        /// Who named its disk.
        by: OperatorName,
    },
}

/// What a host said after it had adopted.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct AdoptedHost {
    /// Its disk.
    pub incarnation: Incarnation,
    /// Its boot.
    pub boot: BootId,
    /// Its ledger's highest order index.
    pub high_water: LogIndex,
    /// Its copies.
    pub copies: Vec<AdoptedCopy>,
}

/// One copy, as a ledger has it, and what its engine is seen to be.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct AdoptedCopy {
    /// The slot's number.
    pub slot: u16,
    /// The store.
    pub store: StoreName,
    /// The copy generation.
    pub generation: CopyGeneration,
    /// The highest epoch that it holds.
    pub epoch: Epoch,
    /// What it was ordered to be at that epoch.
    pub ordered: RoleOrdered,
    /// Its engine was stopped by an order (S8).
    pub stopped: bool,
    /// R24: how many replicas it was last ordered to ask as a master.
    pub sync_copies: u8,
    /// Whom its engine follows, and at which epoch.
    pub follows: Option<(SlotId, Epoch)>,
    /// Its engine is seen as master at this epoch.
    pub serves: Option<Epoch>,
    /// A person may have started it as master at its machine at that epoch (R19).
    pub by_hand: bool,
}

impl AdoptedCopy {
    /// What a slot's report says.
    pub fn of(report: &SlotReport) -> Self {
        let SlotReport { slot, store, generation, ledger_epoch, ordered, stopped, sync_copies, .. } = report;
        let started = |start: &HandStart| start.epoch == *ledger_epoch && !matches!(start.state, HandState::Failed(_));
        let status = match &report.engine {
            EngineSeen::Running(status) => Some(status),
            EngineSeen::NotRunning | EngineSeen::Silent => None,
        };
        Self {
            slot: *slot,
            store: store.clone(),
            generation: *generation,
            epoch: *ledger_epoch,
            ordered: *ordered,
            stopped: *stopped,
            sync_copies: *sync_copies,
            follows: status.and_then(|status| status.following.clone()),
            serves: status.filter(|status| status.role == EngineRole::Master).map(|status| status.epoch),
            by_hand: report.by_hand.iter().any(started),
        }
    }
}

/// Why a backup can't be restored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// Its state is of another version.
    #[error("its state can't be read: {0}; restore with the version of slotd that made it")]
    State(#[from] CodecError),
    /// It has no cluster.
    #[error("it was taken before the cluster was founded: there is nothing to restore")]
    Empty,
    /// The generation does not grow.
    #[error(
        "generation {asked} is not above {held}, which the backup had, or above {GENERATION_MAX}; give another one"
    )]
    Generation {
        /// Asked.
        asked: u32,
        /// The backup's.
        held: u32,
    },
}

impl State {
    /// What a backup keeps of this state: no plans and no sessions, which a restore voids, and the audit apart.
    pub fn for_backup(&self) -> Vec<u8> {
        let mut kept = self.clone();
        kept.plans.clear();
        kept.sessions.clear();
        kept.audit.entries.clear();
        kept.snapshot()
    }
}

/// The state with which every coordinator of the restored cluster begins: equal for equal arguments.
pub fn restored(backup: &Backup, generation: u32) -> Result<State, RestoreError> {
    let mut state = State::restore(&backup.view.state)?;
    let Some(cluster) = state.cluster.as_mut() else { return Err(RestoreError::Empty) };
    let held = cluster.generation;
    if generation <= held || generation > GENERATION_MAX {
        return Err(RestoreError::Generation { asked: generation, held });
    }
    cluster.generation = generation;
    cluster.attestations.clear();
    // Nobody is sent where a master was when the backup was taken.
    cluster.stores.values_mut().for_each(|store| store.route = None);
    let mut hosts = BTreeMap::new();
    for (name, host) in cluster.hosts.iter_mut().filter(|(_, host)| host.declared != HostState::Retired) {
        host.quarantined = Some(HostQuarantine::Restored);
        host.version += 1;
        if let Some(off) = host.device.off.take()
            && host.declared == HostState::Off
        {
            host.declared = off.was;
        }
        hosts.insert(name.clone(), Readoption::Waiting);
    }
    state.plans.clear();
    state.sessions.clear();
    state.store_claims.clear();
    state.host_claims.clear();
    state.slot_claims.clear();
    state.everyday.clear();
    // A token may have been used since: it is one machine's, once.
    state.invitations.clear();
    state.ended_boots.clear();
    state.last_plan = PlanId(state.last_plan.0.max(u64::from(generation) * PLANS_OF_A_GENERATION));
    state.last_loss_case = LossCaseId(state.last_loss_case.0.max(u64::from(generation) * CASES_OF_A_GENERATION));
    let taken_at = state.applied;
    state.applied = LogIndex::first_of(generation);
    state.term = Term(state.applied.0);
    state.revision = state.revision.next();
    state.fleet_version += 1;
    state.leader = None;
    state.restoring = Some(Restoring { hosts });
    state.audit.entries = entries(backup);
    let text = format!(
        "restored from a backup of entry {taken_at}, generation {held}, taken at wall time {}: this is generation \
         {generation}; plans, approvals and claims are void, and what was audited after entry {} is not known here",
        backup.view.head.wall, backup.view.head.audit_last
    );
    let stamp = Stamp { index: state.applied, revision: state.revision, now: state.log_time, wall: state.wall };
    audit(&mut state, stamp, "slotd", text);
    Ok(state)
}

fn entries(backup: &Backup) -> std::collections::VecDeque<AuditEntry> {
    let mut prev: Digest = backup.view.audit_trimmed_hash;
    let lines = backup.audit.iter().cloned();
    lines
        .map(|line| {
            let entry = AuditEntry {
                number: line.number,
                index: line.index,
                log_time: line.log_time,
                wall: line.wall,
                actor: line.actor,
                event: line.event,
                prev,
                hash: line.hash,
            };
            prev = entry.hash;
            entry
        })
        .collect()
}

/// Whether a command is taken while hosts are to be re-adopted: nothing that plans, approves, orders or admits is.
pub(crate) fn is_taken(command: &Command) -> bool {
    matches!(
        command,
        Command::Found { .. }
            | Command::NewLeader { .. }
            | Command::OpenSession
            | Command::AdoptHost { .. }
            | Command::HostAdopted { .. }
            | Command::Hold { .. }
            | Command::Release { .. }
            | Command::TrimAudit { .. }
    )
}

impl Restoring {
    /// The hosts that have not adopted yet.
    pub fn missing(&self) -> BTreeSet<HostName> {
        let missing = self.hosts.iter().filter(|(_, how)| !matches!(how, Readoption::Adopted { .. }));
        missing.map(|(name, _)| name.clone()).collect()
    }

    /// Why nothing moves.
    pub fn refusal(&self) -> Refused {
        let hosts: Vec<String> = self.missing().iter().map(ToString::to_string).collect();
        Refused::Restoring { hosts: hosts.join(" ") }
    }
}

/// A person says that a host belongs to this cluster.
pub(crate) fn adopt(
    state: &mut State,
    stamp: Stamp,
    name: &HostName,
    incarnation: Incarnation,
    high_water: LogIndex,
    by: &OperatorName,
    reason: &str,
) -> Result<Answer, Refused> {
    let generation = state.cluster.as_ref().map_or(0, |cluster| cluster.generation);
    let Some(restoring) = state.restoring.as_mut() else {
        return Err(Refused::Precondition("this cluster was not restored, or all its hosts were re-adopted".into()));
    };
    let known = restoring.hosts.get_mut(name).ok_or_else(|| Refused::UnknownHost(name.clone()))?;
    let before = match known {
        Readoption::Adopted { said, .. } if said.incarnation == incarnation => return Ok(Answer::Done),
        Readoption::Adopted { said, .. } => {
            let held = said.incarnation;
            return Err(Refused::Precondition(format!("{name} was re-adopted with disk {held} already")));
        }
        Readoption::Wanted { incarnation: before, .. } if *before == incarnation => return Ok(Answer::Done),
        Readoption::Wanted { incarnation, before, .. } => before.iter().copied().chain([*incarnation]).collect(),
        Readoption::Waiting => BTreeSet::new(),
    };
    // R10: this generation has not ordered anything on that disk. Whoever did was another restore with the same number.
    if high_water.generation() >= generation && !before.contains(&incarnation) {
        return Err(Refused::Precondition(format!(
            "{name} has taken orders of generation {} from another restored cluster; restore again with slotd restore \
             --generation {} or higher",
            high_water.generation(),
            high_water.generation() + 1
        )));
    }
    // S2: it forgot what the backup knows that it acknowledged, so its word on what it holds is worth nothing.
    let older = |host: &Host| host.incarnation == Some(incarnation) && high_water < host.acknowledged;
    if state.cluster.as_ref().and_then(|cluster| cluster.hosts.get(name)).is_some_and(older) {
        return Err(Refused::Precondition(format!("{name} presents an older copy of its disk; give it a new one")));
    }
    *known = Readoption::Wanted { incarnation, before, by: by.clone() };
    audit(state, stamp, by.as_str(), format!("re-adopt {name} with disk {incarnation}: {}", bounded(reason)));
    Ok(Answer::Done)
}

/// A host's agent has adopted this generation, and says what it holds.
pub(crate) fn adopted(state: &mut State, stamp: Stamp, name: &HostName, said: &AdoptedHost) -> Result<Answer, Refused> {
    let generation = state.cluster.as_ref().map_or(0, |cluster| cluster.generation);
    let Some(restoring) = state.restoring.as_mut() else { return Ok(Answer::Done) };
    let known = restoring.hosts.get_mut(name).ok_or_else(|| Refused::UnknownHost(name.clone()))?;
    let Readoption::Wanted { incarnation, by, .. } = known else { return Ok(Answer::Done) };
    if *incarnation != said.incarnation {
        return Err(Refused::Precondition(format!(
            "{name} presents disk {}, named was {incarnation}",
            said.incarnation
        )));
    }
    if said.high_water.generation() != generation {
        return Err(Refused::Precondition(format!("{name} has not adopted generation {generation}")));
    }
    *known = Readoption::Adopted { said: said.clone(), by: by.clone() };
    let missing = restoring.missing();
    let text = format!("{name} is re-adopted with disk {} and {} copies", said.incarnation, said.copies.len());
    audit(state, stamp, "slotd", text);
    if missing.is_empty() {
        crate::rebuild::rebuild(state, stamp);
    }
    Ok(Answer::Done)
}
