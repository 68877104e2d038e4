//! Committed entries, one by one: epochs, approvals, sessions, audit, and the nodes' states beside them
//! (S3, S5, S8, S9, S12, S14, R17, R20, R21, R22).
//!
//! What always holds: every committed entry is applied once to a state of the witness's own, so that each transition is
//! seen alone; its lawfulness is judged by the rules written here. Nodes are compared with that state at equal index: the
//! audit head at every one, the whole state at every n-th.

use super::Found;
use super::admission::Admission;
use super::approvals::{Recorded, StoreBase};
use super::audit::{Chain, verify};
use super::engines::Engines;
use super::front_ends::FrontEnds;
use super::holds::Holds;
use super::joins::Joins;
use super::ledgers::Ledgers;
use super::pauses::Pauses;
use super::power;
use super::restore::Restores;
use super::retire::Retired;
use super::tasks::Tasks;
use slot_coordinator::core::Entry;
use slot_machine::apply::apply;
use slot_machine::command::{Answer, Command, Proposal, Refused, RequestId, StepRef};
use slot_machine::state::State;
use slot_types::cluster::{FenceLevel, HostState, LossClass};
use slot_types::codec;
use slot_types::ids::*;
use slot_types::order::{Action, Order};
use slot_types::plan::{StepKind, TaskKind};
use slot_types::position::Digest;
use std::collections::{BTreeMap, BTreeSet};

/// Indices remembered for nodes that are behind.
const MARKS_KEPT: u64 = 8_192;
/// How far log time may be ahead of the world's, in milliseconds (R17).
const LOG_TIME_SLACK_MS: u64 = 1_000;

/// What is known beside the log.
#[derive(Clone, Copy)]
pub(crate) struct Facts<'a> {
    pub ledgers: &'a Ledgers,
    pub engines: &'a Engines,
    pub front_ends: &'a FrontEnds,
}

/// What a failover's approved sheet said.
#[derive(Clone)]
pub(crate) struct Sheet {
    pub plan: PlanId,
    pub class: LossClass,
    pub fence: FenceLevel,
    pub waived: BTreeSet<SlotId>,
}

/// An epoch of a store.
pub(super) struct Allocated {
    pub holder: SlotId,
    pub sheet: Option<Sheet>,
}

pub(super) struct Mark {
    head: Digest,
    revision: Revision,
    log_time: LogTime,
    hash: Option<Digest>,
}

/// See the module's documentation.
pub(crate) struct Commits {
    pub hash_every: u64,
    pub(super) state: State,
    /// Counts dangerous states, when somebody wants to know.
    pub(super) looks: Option<crate::reach::Commits>,
    pub(super) chain: Chain,
    pub(super) marks: BTreeMap<u64, Mark>,
    pub(super) stores: BTreeMap<StoreName, StoreBase>,
    pub(super) epochs: BTreeMap<StoreName, BTreeMap<Epoch, Allocated>>,
    pub(super) hosts: BTreeMap<HostName, HostState>,
    pub(super) plans: BTreeMap<PlanId, Recorded>,
    pub(super) tasks: Tasks,
    holds: Holds,
    pub(super) joins: Joins,
    retired: Retired,
    pauses: Pauses,
    pub(super) admission: Admission,
    pub(super) restores: Restores,
    pub(super) last_leader: u64,
    pub(super) answers: BTreeMap<RequestId, Answer>,
    pub sessions: BTreeSet<u64>,
    /// At which index each node was compared last.
    pub(super) compared: BTreeMap<u64, u64>,
}

impl Default for Commits {
    fn default() -> Self {
        Self {
            hash_every: 8,
            state: State::default(),
            looks: None,
            chain: Chain::default(),
            marks: BTreeMap::new(),
            stores: BTreeMap::new(),
            epochs: BTreeMap::new(),
            hosts: BTreeMap::new(),
            plans: BTreeMap::new(),
            tasks: Tasks::default(),
            holds: Holds::default(),
            joins: Joins::default(),
            retired: Retired::default(),
            pauses: Pauses::default(),
            admission: Admission::default(),
            restores: Restores::default(),
            last_leader: 0,
            answers: BTreeMap::new(),
            sessions: BTreeSet::new(),
            compared: BTreeMap::new(),
        }
    }
}

impl Commits {
    /// Holds, pauses, retired stores and places, after a restore: what the entries of a lost log said is void.
    pub(super) fn begin_books_anew(&mut self, state: &State) {
        let cluster = state.cluster.as_ref();
        self.holds = Holds::of(cluster);
        self.pauses = Pauses::default();
        self.retired.restored(cluster);
        self.admission.restored();
        self.joins.restored();
    }
    /// As if this state had come to be.
    #[cfg(test)]
    pub fn knowing(state: State) -> Self {
        Self { state, ..Self::default() }
    }
    /// The disk of a host was replaced, or an older one put back.
    pub fn touched(&mut self, host: &HostName) {
        self.tasks.places.touched(host);
    }
    /// The state after it.
    pub fn followed(&self) -> &State {
        &self.state
    }
    /// The last committed command that was followed.
    pub fn applied(&self) -> u64 {
        self.state.applied.0
    }
    /// The revision with everything in it that any node applied.
    pub fn revision(&self) -> Revision {
        self.state.revision
    }
    /// The bytes of a recorded plan, if it is remembered.
    pub fn plan_bytes(&self, id: PlanId) -> Option<&[u8]> {
        self.state.plans.get(&id).map(|record| record.bytes.as_slice())
    }
    /// To whom an epoch was allocated.
    pub fn holder(&self, store: &StoreName, epoch: Epoch) -> Option<&SlotId> {
        Some(&self.epochs.get(store)?.get(&epoch)?.holder)
    }
    /// The sheet by which an epoch was allocated, if by a failover.
    pub fn sheet(&self, store: &StoreName, epoch: Epoch) -> Option<&Sheet> {
        self.epochs.get(store)?.get(&epoch)?.sheet.as_ref()
    }
    /// The sheets of the failovers after one epoch, up to another.
    pub fn waivers(&self, store: &StoreName, after: Epoch, upto: Epoch) -> impl Iterator<Item = &Sheet> {
        let epochs = self.epochs.get(store).into_iter();
        let later = epochs.flat_map(move |all| {
            all.range((std::ops::Bound::Excluded(after.min(upto)), std::ops::Bound::Included(upto)))
        });
        later.filter_map(|(_, allocated)| allocated.sheet.as_ref())
    }
    /// Whether a Promote above an epoch was ever started, as far as was committed.
    pub fn promoted_past(&self, store: &StoreName, epoch: Epoch) -> bool {
        let cluster = self.state.cluster.as_ref();
        cluster.and_then(|cluster| cluster.stores.get(store)).is_some_and(|store| store.last_promoted > epoch)
    }
    /// Whether a loss case tells of a copy.
    pub fn has_loss_case(&self, store: &StoreName, slot: &SlotId) -> bool {
        let cases = self.state.cluster.iter().flat_map(|c| c.loss_cases.values());
        cases.into_iter().any(|case| case.store == *store && case.slot == *slot)
    }
    /// Whether a host is declared to serve nothing (S8).
    pub fn is_put_away(&self, host: &HostName) -> bool {
        matches!(self.hosts.get(host), Some(HostState::Maintenance | HostState::Empty))
    }

    /// One committed entry, followed.
    pub fn entry(&mut self, found: &mut Found, facts: Facts<'_>, index: u64, term: u64, bytes: &[u8]) {
        let entry: Entry = match codec::decode(bytes) {
            Ok(entry) => entry,
            Err(error) => return found.say("R20", format!("entry {index} was applied, it can't be read: {error}")),
        };
        let proposal = &entry.proposal;
        if proposal.log_time.0 > found.now.saturating_add(LOG_TIME_SLACK_MS) {
            found.say("R17", format!("entry {index} is stamped {} at {}", proposal.log_time, found.now));
        }
        let before = (self.state.last_plan, self.state.last_loss_case, self.state.fleet_version, self.chain.number);
        let waited = self.state.restoring.is_some();
        let answer = apply(&mut self.state, LogIndex(index), Term(term), proposal);
        if let Some(looks) = &mut self.looks {
            looks.entry(&self.state, term, proposal, &answer);
        }
        let audited = match self.chain.follow(&self.state.audit, index) {
            Ok(new) => new,
            Err(why) => {
                found.say("S12", format!("the audit chain breaks at log index {index}: {why}"));
                // Said once: go on from what is there.
                self.chain.goes_on_from(Chain::at(self.state.audit.last_number(), self.state.audit.head()));
                1
            }
        };
        if self.is_repeated(found, proposal, &answer) {
            let after = (self.state.last_plan, self.state.last_loss_case, self.state.fleet_version, self.chain.number);
            if before != after {
                found.say("R21", format!("entry {index} repeats request {:?} and takes effect anew", proposal.request));
            }
        } else if !matches!(answer, Answer::Refused(_)) {
            is_audited(found, index, audited, &proposal.command);
            self.accepted(found, facts, index, &proposal.command, &answer);
            self.while_restoring(found, facts, index, &proposal.command, waited);
        }
        self.plans_changed(found, &proposal.command);
        self.stores_changed(found, index, &proposal.command);
        self.retired.follow(found, &self.state, &proposal.command, facts.ledgers);
        // What an old state says of copies is looked at when hosts have said what they hold.
        if let Some(cluster) = self.state.cluster.as_ref().filter(|_| self.state.restoring.is_none()) {
            self.tasks.places.copies(found, cluster, facts);
        }
        self.hosts_changed(found, facts);
        self.mark(index);
    }

    /// R21: a request that was answered before is answered alike, or refused.
    pub(super) fn is_repeated(&mut self, found: &mut Found, proposal: &Proposal, answer: &Answer) -> bool {
        if let Answer::Session(session) = answer {
            self.sessions.insert(*session);
        }
        let Some(request) = proposal.request else { return false };
        let Some(first) = self.answers.get(&request) else {
            self.answers.insert(request, answer.clone());
            return false;
        };
        let forgotten = matches!(answer, Answer::Refused(Refused::SessionUnknown(_) | Refused::SequenceTooOld { .. }));
        if first != answer && !forgotten {
            found.say("R21", format!("request {request:?} was answered {first:?} and is now answered {answer:?}"));
        }
        true
    }

    pub(super) fn accepted(
        &mut self,
        found: &mut Found,
        facts: Facts<'_>,
        index: u64,
        command: &Command,
        answer: &Answer,
    ) {
        self.holds.said(found, command, answer);
        self.pauses.said(found, &self.state, command);
        self.joins.said(found, &self.state, command);
        match command {
            Command::NewLeader { .. } => {
                self.last_leader = index;
                self.plans_stay(found, index);
            }
            Command::HostSeen { host, boot, high_water, first, .. } => {
                let again = *first && self.admission.knows(host, *boot);
                self.admission.seen(found, &self.state, host, *high_water, again);
            }
            Command::SignOfLife { host, .. } => self.admission.alive(found, &self.state, host),
            Command::AdmitHost { host, incarnation, .. } => {
                self.admission.admitted(host, *incarnation);
                self.tasks.disk_admitted(host, index);
            }
            Command::JoinHost(guest) => {
                let known = self.admission.disk(&guest.host);
                if self.joins.joined(found, &self.state, guest, known, &self.stores) {
                    self.admission.admitted(&guest.host, guest.incarnation);
                    self.tasks.disk_admitted(&guest.host, index);
                }
            }
            Command::RecordPlan { bytes } => {
                let Answer::Plan { id, .. } = answer else { return };
                let kept = self.state.plans.get(id);
                if kept.is_none_or(|r| r.bytes != *bytes || r.digest != Digest::of(bytes) || r.plan.bytes() != *bytes) {
                    found.say(
                        "R15",
                        format!("{id} is recorded with other bytes or another digest than entry {index} has"),
                    );
                }
                if let Some(recorded) = Recorded::new(bytes, self.state.log_time, &self.stores) {
                    self.plans.insert(*id, recorded);
                }
            }
            Command::ApprovePlan { plan, digest, by, guards, .. } => {
                let now = self.state.log_time;
                if let Some(recorded) = self.plans.get_mut(plan) {
                    recorded.approved(by, *digest, now, index);
                    recorded.seen_silent(self.state.cluster.as_ref(), guards);
                }
            }
            Command::RejectPlan { plan, .. } => {
                if let Some(recorded) = self.plans.get_mut(plan) {
                    recorded.is_over();
                }
            }
            Command::StartStep { step, attempt, guards } => {
                self.admission.started(&self.state, *step, *attempt, index);
                let past_return = self.tasks.is_past_return(step.plan, step.task);
                power::started(found, &self.state, *step, guards, past_return);
                facts.front_ends.started(found, &self.state, *step);
                self.tasks.started(found, &self.state, &self.stores, index, (*step, *attempt), guards);
            }
            Command::ByHandSeen { slot, store, generation, starts } => {
                let hands = facts.ledgers.hands(&slot.host);
                super::by_hand::told(found, &self.state, hands, (slot, store, *generation), starts);
            }
            Command::FinishStep { id, outcome } => {
                if !facts.ledgers.gave(id, outcome) {
                    found.say("S6", format!("entry {index} records {outcome:?} of {id}, which no agent durably gave"));
                }
                power::finished(found, &self.state, facts.ledgers, id, outcome);
                self.admission.finished(id, outcome);
                self.tasks.finished(&self.state, *id, outcome);
            }
            _ => {}
        }
    }

    /// R15: a plan's bytes are those that its entry had, whoever leads.
    fn plans_stay(&self, found: &mut Found, index: u64) {
        for (id, recorded) in &self.plans {
            if self.state.plans.get(id).is_some_and(|record| Digest::of(&record.bytes) != recorded.digest) {
                found.say("R15", format!("entry {index} changes the bytes of {id}"));
            }
        }
    }

    /// S5: what starts was approved; R4, R13, R16: what ends is over.
    fn plans_changed(&mut self, found: &mut Found, command: &Command) {
        let Some(policy) = self.state.cluster.as_ref().map(|c| c.policy.clone()) else { return };
        for (id, started) in self.tasks.plans_changed(found, &self.state) {
            if !started {
                continue;
            }
            if let Some(record) = self.state.plans.get(&id) {
                self.holds.starts(found, id, &record.plan);
            }
            let by_people = matches!(command, Command::ApprovePlan { plan, .. } if *plan == id);
            let by_itself = matches!(command, Command::RecordPlan { .. });
            match self.plans.get_mut(&id) {
                Some(recorded) if by_people || by_itself => {
                    recorded.starts(found, id, &policy, &self.stores, self.last_leader);
                }
                _ => found.say("S5", format!("{id} starts by {}", name(command))),
            }
        }
        self.plans.retain(|id, _| self.state.plans.contains_key(id));
    }

    /// S3: an epoch is allocated once, upwards, to one slot, by the entry that says so.
    pub(super) fn stores_changed(&mut self, found: &mut Found, index: u64, command: &Command) {
        let Some(cluster) = &self.state.cluster else { return };
        let mut placed = false;
        for (name, store) in &cluster.stores {
            let known = self.stores.get(name);
            let same = known
                .is_some_and(|k| (&k.epoch, &k.master, &k.pending) == (&store.epoch, &store.master, &store.pending));
            if same {
                continue;
            }
            placed |= known.is_none();
            let holder = store.pending.as_ref().or(store.master.as_ref());
            let before = known.map_or(Epoch::ZERO, |k| k.epoch);
            if store.epoch < before {
                found.say("S3", format!("entry {index}: {name} goes back from {before:?} to {:?}", store.epoch));
            }
            let epochs = self.epochs.entry(name.clone()).or_default();
            match (holder, epochs.get(&store.epoch)) {
                (Some(holder), Some(allocated)) if allocated.holder != *holder => {
                    let text = format!(
                        "entry {index}: {:?} of {name} was for {}, now for {holder}",
                        store.epoch, allocated.holder
                    );
                    found.say("S3", text);
                }
                (Some(holder), None) => {
                    let by = self.tasks.allocates(&self.state, command, name, holder);
                    if by.is_none() {
                        let text = format!(
                            "entry {index}: {:?} of {name} is for {holder}, which it does not say",
                            store.epoch
                        );
                        found.say("S3", text);
                    }
                    let sheet = by.flatten();
                    epochs.insert(store.epoch, Allocated { holder: holder.clone(), sheet });
                }
                _ => {}
            }
            let base = StoreBase { epoch: store.epoch, master: store.master.clone(), pending: store.pending.clone() };
            self.stores.insert(name.clone(), base);
        }
        if placed || matches!(command, Command::StartStep { .. }) {
            self.tasks.places.check(found, cluster);
        }
    }

    /// S8: nothing serves on a host when it is declared away.
    fn hosts_changed(&mut self, found: &mut Found, facts: Facts<'_>) {
        let Some(cluster) = &self.state.cluster else { return };
        for (name, host) in &cluster.hosts {
            if self.hosts.get(name) == Some(&host.declared) {
                continue;
            }
            if matches!(host.declared, HostState::Maintenance | HostState::Empty) {
                super::places::nothing_serves(found, cluster, name, host.declared, facts.engines);
            }
            self.hosts.insert(name.clone(), host.declared);
        }
    }

    fn mark(&mut self, index: u64) {
        let hash = index.is_multiple_of(self.hash_every).then(|| self.state.hash());
        let mark = Mark { head: self.chain.head, revision: self.state.revision, log_time: self.state.log_time, hash };
        self.marks.insert(index, mark);
        if index.is_multiple_of(1_024)
            && let Some(below) = index.checked_sub(MARKS_KEPT)
        {
            self.marks = self.marks.split_off(&below);
        }
    }

    /// S14, S12: a node's state at an index is the one that the log gives.
    pub fn compare(&mut self, found: &mut Found, node: u64, state: &State, installed: bool) {
        let index = state.applied.0;
        if installed && let Err(why) = verify(&state.audit) {
            found.say("R22", format!("c{node} installed a snapshot whose audit can't be verified: {why}"));
        }
        if self.compared.insert(node, index) == Some(index) {
            return;
        }
        let Some(mark) = self.marks.get(&index) else { return };
        if (mark.head, mark.revision, mark.log_time) != (state.audit.head(), state.revision, state.log_time) {
            found.say("S14", format!("c{node} differs at index {index} in its audit head, revision or log time"));
        } else if mark.hash.is_some_and(|hash| hash != state.hash()) {
            found.say("S14", format!("c{node} differs at index {index}"));
        }
    }

    /// S12: an order rests on an entry that is committed; R18: after its task's commit nothing is thawed.
    pub fn check_order(&self, found: &mut Found, host: &HostName, order: &Order) {
        if order.index.0 > self.applied() {
            found.say(
                "S12",
                format!("{} is sent to {host} with index {}, which is not committed", order.id, order.index),
            );
        }
        if order.action == Action::Adopt {
            // R10: it rests on the restore itself.
            let generation = self.state.cluster.as_ref().map_or(0, |cluster| cluster.generation);
            if order.index != LogIndex::first_of(generation) {
                found.say(
                    "S16",
                    format!("{host} is told to adopt index {}, this is generation {generation}", order.index),
                );
            }
            return;
        }
        let step = StepRef { plan: order.id.plan, task: order.id.task, step: order.id.step };
        if order.id.step & super::ledgers::MARKS == 0 && self.tasks.start_of(order.index.0) != Some(step) {
            found.say("S12", format!("{} is sent to {host}, entry {} does not start it", order.id, order.index));
        }
        if let Action::Thaw { freeze } = &order.action
            && self.tasks.is_past_return(freeze.plan, freeze.task)
        {
            found.say("R18", format!("{} thaws {freeze} after its task's commit", order.id));
        }
    }
}

/// S12: what takes effect is audited in the same entry.
pub(super) fn is_audited(found: &mut Found, index: u64, audited: usize, command: &Command) {
    if audited == 0 && must_be_audited(command) {
        found.say("S12", format!("entry {index} takes effect without an audit entry: {}", name(command)));
    }
}

/// Commands that are audited whenever they are accepted.
fn must_be_audited(command: &Command) -> bool {
    matches!(
        command,
        Command::NewLeader { .. }
            | Command::RecordPlan { .. }
            | Command::ApprovePlan { .. }
            | Command::RejectPlan { .. }
            | Command::AbortPlan { .. }
            | Command::PausePlan { .. }
            | Command::ResumePlan { .. }
            | Command::StartStep { .. }
            | Command::FinishStep { .. }
            | Command::Attest { .. }
            | Command::AdmitHost { .. }
            | Command::TrimAudit { .. }
    )
}

pub(super) fn name(command: &Command) -> String {
    let text = format!("{command:?}");
    text.chars().take_while(|c| c.is_alphanumeric()).collect()
}

/// The slot that a task makes master, and its sheet if it is a failover.
pub(super) fn target(plan: PlanId, kind: &TaskKind) -> Option<(&SlotId, Option<Sheet>)> {
    match kind {
        TaskKind::HandOver { to, .. } => Some((to, None)),
        TaskKind::CreateStore { master, .. } => Some((master, None)),
        TaskKind::FailOver { to, loss, fence, waived, .. } => {
            Some((to, Some(Sheet { plan, class: loss.class, fence: *fence, waived: waived.clone() })))
        }
        _ => None,
    }
}

/// Steps whose late order may do harm (R4).
pub(super) fn does_harm_late(kind: StepKind) -> bool {
    matches!(
        kind,
        StepKind::Freeze
            | StepKind::Provision
            | StepKind::Destroy
            | StepKind::StartMaster
            | StepKind::Promote
            | StepKind::Demote
    )
}
