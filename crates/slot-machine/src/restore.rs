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
use slot_types::ids::*;
use slot_types::order::{EngineSeen, SlotReport};
use slot_types::position::{Digest, Tip};
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
    },
    /// Its agent has adopted, and this is what it holds.
    Adopted(AdoptedHost),
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

/// One copy, as a ledger has it.
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
    /// Its Promote at that epoch is done.
    pub master: bool,
    /// It was ordered to be master at that epoch, done or not.
    pub promoted: bool,
    /// Whom its engine follows, and at which epoch.
    pub follows: Option<(SlotId, Epoch)>,
}

impl AdoptedCopy {
    /// What a slot's report says.
    pub fn of(report: &SlotReport) -> Self {
        let SlotReport { slot, store, generation, ledger_epoch, ledger_master, ledger_promoted, .. } = report;
        let (master, promoted) = (*ledger_master, *ledger_promoted);
        let follows = match &report.engine {
            EngineSeen::Running(status) => status.following.clone(),
            EngineSeen::NotRunning | EngineSeen::Silent => None,
        };
        let (slot, store, generation, epoch) = (*slot, store.clone(), *generation, *ledger_epoch);
        Self { slot, store, generation, epoch, master, promoted, follows }
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
    state.ended_boots.clear();
    // Which of the tokens were burnt after the backup is not known here.
    state.invitations.clear();
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
        let missing = self.hosts.iter().filter(|(_, how)| !matches!(how, Readoption::Adopted(_)));
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
    match known {
        Readoption::Adopted(_) => return Ok(Answer::Done),
        Readoption::Wanted { incarnation: before } if *before == incarnation => return Ok(Answer::Done),
        // R10: this generation has not ordered anything there. Whoever did was another restore with the same number.
        Readoption::Waiting if high_water.generation() >= generation => {
            return Err(Refused::Precondition(format!(
                "{name} has taken orders of generation {} from another restored cluster; restore again with slotd restore \
                 --generation {} or higher",
                high_water.generation(),
                high_water.generation() + 1
            )));
        }
        Readoption::Waiting | Readoption::Wanted { .. } => *known = Readoption::Wanted { incarnation },
    }
    audit(state, stamp, by.as_str(), format!("re-adopt {name} with disk {incarnation}: {}", bounded(reason)));
    Ok(Answer::Done)
}

/// A host's agent has adopted this generation, and says what it holds.
pub(crate) fn adopted(state: &mut State, stamp: Stamp, name: &HostName, said: &AdoptedHost) -> Result<Answer, Refused> {
    let generation = state.cluster.as_ref().map_or(0, |cluster| cluster.generation);
    let Some(restoring) = state.restoring.as_mut() else { return Ok(Answer::Done) };
    let known = restoring.hosts.get_mut(name).ok_or_else(|| Refused::UnknownHost(name.clone()))?;
    let Readoption::Wanted { incarnation } = known else { return Ok(Answer::Done) };
    if *incarnation != said.incarnation {
        return Err(Refused::Precondition(format!(
            "{name} presents disk {}, named was {incarnation}",
            said.incarnation
        )));
    }
    if said.high_water.generation() != generation {
        return Err(Refused::Precondition(format!("{name} has not adopted generation {generation}")));
    }
    *known = Readoption::Adopted(said.clone());
    let missing = restoring.missing();
    let text = format!("{name} is re-adopted with disk {} and {} copies", said.incarnation, said.copies.len());
    audit(state, stamp, "slotd", text);
    if missing.is_empty() {
        rebuild(state, stamp);
    }
    Ok(Answer::Done)
}

/// Every host has said what it holds: the stores are what the hosts say.
fn rebuild(state: &mut State, stamp: Stamp) {
    let Some(restoring) = state.restoring.take() else { return };
    let mut told = Vec::new();
    let mut next_case = state.last_loss_case;
    if let Some(cluster) = state.cluster.as_mut() {
        let mut copies: BTreeMap<StoreName, BTreeMap<SlotId, AdoptedCopy>> = BTreeMap::new();
        for (name, how) in restoring.hosts {
            let Readoption::Adopted(said) = how else { continue };
            for copy in said.copies {
                let of_store = copies.entry(copy.store.clone()).or_default();
                of_store.insert(SlotId::new(name.clone(), copy.slot), copy);
            }
            if let Some(host) = cluster.hosts.get_mut(&name) {
                host.quarantined = None;
                host.incarnation = Some(said.incarnation);
                host.boot = Some(said.boot);
                host.acknowledged = said.high_water;
                host.version += 1;
            }
            // A person said that it is this host's disk, and what it holds was asked anew.
            if let Some(given_up) = state.given_up_disks.get_mut(&name) {
                given_up.remove(&said.incarnation);
            }
        }
        let addresses: BTreeMap<SlotId, std::net::SocketAddr> = cluster
            .hosts
            .iter()
            .flat_map(|(name, host)| {
                host.slots.iter().map(|(number, spec)| (SlotId::new(name.clone(), *number), spec.address))
            })
            .collect();
        for (name, store) in cluster.stores.iter_mut() {
            let held = copies.remove(name).unwrap_or_default();
            let cases = rebuild_store(store, &held, &addresses, stamp);
            let master = store.master.as_ref().map_or("no master".to_string(), |slot| format!("master {slot}"));
            told.push(format!("{name} is at epoch {}, {master}, {} copies", store.epoch, store.copies.len()));
            close_settled(&mut cluster.loss_cases, name, store);
            for (slot, generation) in cases {
                let known = |case: &LossCase| case.store == *name && case.slot == slot && case.state.is_open();
                if cluster.loss_cases.values().any(known) {
                    continue;
                }
                next_case = next_case.next();
                told.push(format!(
                    "loss case {next_case} opened for {slot}: it was a master of {name} below that epoch"
                ));
                cluster.loss_cases.insert(next_case, unknown_loss(name, slot, generation, store.epoch, stamp));
            }
        }
        let masters: BTreeSet<HostName> =
            cluster.stores.values().filter_map(|store| store.master.as_ref()).map(|slot| slot.host.clone()).collect();
        for (name, host) in cluster.hosts.iter_mut().filter(|(name, _)| masters.contains(*name)) {
            // S8: it was put back into service after the backup.
            if host.declared != HostState::Active {
                told.push(format!("{name} holds masters and was {}: it is Active", host.declared));
                host.declared = HostState::Active;
            }
        }
        for (name, held) in copies {
            let slots: Vec<String> = held.keys().map(ToString::to_string).collect();
            told.push(format!(
                "{} hold {name}, which this state does not know: it was made after the backup",
                slots.join(" ")
            ));
        }
    }
    state.last_loss_case = next_case;
    state.fleet_version += 1;
    audit(state, stamp, "slotd", "every host was re-adopted: the state is rebuilt from what they hold".into());
    for text in told {
        audit(state, stamp, "slotd", bounded(&text));
    }
}

/// One store: its epoch is the highest that any copy holds; who was made master at it is its master. Answers the slots that may
/// have acknowledged below it what nobody else has.
fn rebuild_store(
    store: &mut Store,
    held: &BTreeMap<SlotId, AdoptedCopy>,
    addresses: &BTreeMap<SlotId, std::net::SocketAddr>,
    stamp: Stamp,
) -> Vec<(SlotId, CopyGeneration)> {
    store.version += 1;
    let gone: Vec<(SlotId, CopyGeneration)> = store
        .copies
        .iter()
        .filter(|(slot, _)| !held.contains_key(*slot))
        .map(|(s, c)| (s.clone(), c.generation))
        .collect();
    for (slot, generation) in gone {
        store.copies.remove(&slot);
        let past = store.past.entry(slot.clone()).or_insert(generation);
        *past = generation.max(*past);
        store.unheard.insert(slot);
    }
    store.epoch = held.values().map(|copy| copy.epoch).fold(store.epoch, Epoch::max);
    store.last_promoted = store.last_promoted.max(store.epoch);
    for (slot, said) in held {
        let generation = said.generation;
        let new = Copy { role: Role::Replica, state: CopyState::Building, generation, follows: None, whole: false };
        let copy = store.copies.entry(slot.clone()).or_insert(new);
        copy.whole &= copy.generation == generation;
        copy.generation = generation;
        copy.role = Role::Replica;
        copy.follows = None;
        if copy.state != CopyState::Stopped {
            copy.state = if copy.whole { CopyState::Serving } else { CopyState::Building };
        }
    }
    let at_epoch = |(_, said): &(&SlotId, &AdoptedCopy)| said.promoted && said.epoch == store.epoch;
    let holder = held.iter().find(at_epoch).map(|(slot, said)| (slot.clone(), said.master));
    let master = holder.as_ref().filter(|(_, done)| *done).map(|(slot, _)| slot.clone());
    // Ordered to be master, and not known to be one: it may be.
    store.pending = holder.filter(|(_, done)| !done).map(|(slot, _)| slot);
    store.promote_started = store.pending.is_some();
    if let Some(copy) = master.as_ref().and_then(|slot| store.copies.get_mut(slot)) {
        (copy.role, copy.state, copy.whole) = (Role::Master, CopyState::Serving, true);
    }
    store.route = master.as_ref().and_then(|slot| {
        let address = *addresses.get(slot)?;
        Some(Route { slot: slot.clone(), address, epoch: store.epoch, revision: stamp.revision })
    });
    // R16: who follows that master at that epoch follows it; the others are told again.
    let right = master.clone().map(|master| (master, store.epoch));
    for (slot, said) in held.iter().filter(|(_, said)| right.is_some() && said.follows == right) {
        if let Some(copy) = store.copies.get_mut(slot) {
            copy.follows.clone_from(&said.follows);
        }
    }
    store.master = master;
    // R3: whoever was master at a lower epoch, and whose ledger does not say that it was demoted since.
    let below = held.iter().filter(|(_, said)| said.promoted && said.epoch < store.epoch);
    let possible =
        below.map(|(slot, said)| (slot.clone(), PossibleMaster { since: said.epoch, generation: said.generation }));
    store.possible_masters = possible.collect();
    for slot in store.possible_masters.keys() {
        if let Some(copy) = store.copies.get_mut(slot) {
            copy.state = CopyState::Quarantined;
        }
    }
    store.possible_masters.iter().map(|(slot, was)| (slot.clone(), was.generation)).collect()
}

/// Cases that wait for a copy which was demoted since, by whoever coordinated after the backup: it has nothing to list any more.
/// What it put aside it reports itself, and that opens a case of its own (R7).
fn close_settled(cases: &mut BTreeMap<LossCaseId, LossCase>, name: &StoreName, store: &Store) {
    for case in cases.values_mut().filter(|case| case.store == *name && case.state == LossState::AwaitingReturn) {
        if store.copies.contains_key(&case.slot) && !store.possible_masters.contains_key(&case.slot) {
            case.state = LossState::NothingStranded;
        }
    }
}

fn unknown_loss(store: &StoreName, slot: SlotId, generation: CopyGeneration, epoch: Epoch, stamp: Stamp) -> LossCase {
    let stated = LossStatement {
        class: LossClass::Unknown,
        candidate: Tip::default(),
        last_known: None,
        last_known_age_ms: None,
        known_lag: None,
    };
    LossCase {
        store: store.clone(),
        slot,
        generation,
        plan: PlanId(0),
        epoch,
        stated,
        state: LossState::AwaitingReturn,
        final_tip: None,
        stranded: Vec::new(),
        opened: stamp.now,
    }
}
