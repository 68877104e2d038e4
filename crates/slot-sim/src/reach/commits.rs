//! Dangerous states of the replicated state: what is committed, and when.
//!
//! What always holds: told of every committed entry once, in order, with the state right after it; looks only at what the
//! entry is about.

use super::Reached;
use slot_machine::command::{Answer, Command, Proposal, Refused, RequestId, StepRef};
use slot_machine::state::{PlanRecord, State, StepState, TaskRun, TaskState};
use slot_machine::unwind::{CANCEL_BIT, SERVE_BIT, THAW_BIT};
use slot_types::cluster::{CopyState, HostQuarantine, LossClass, Store};
use slot_types::evidence::Seen;
use slot_types::hand::HandState;
use slot_types::ids::*;
use slot_types::order::{Done, NeverWill, Outcome};
use slot_types::plan::{StepKind, Task, TaskKind};
use slot_types::position::Tip;
use slot_types::probe::FRESH_MS;
use std::collections::{BTreeMap, BTreeSet};

/// See the module's documentation.
#[derive(Default)]
pub(crate) struct Commits {
    pub reached: Reached,
    /// How many approvals were consumed, and the term of the last one's entry.
    pub consumed: (u64, u64),
    /// In which term plans were recorded.
    recorded: BTreeMap<PlanId, u64>,
    /// Plans with a yes that have not started.
    half: BTreeSet<PlanId>,
    requests: BTreeSet<RequestId>,
    /// In which term orders were begun.
    begun: BTreeMap<OrderId, u64>,
    attested: usize,
}

impl Commits {
    /// One committed entry; `state` is the one right after it.
    pub fn entry(&mut self, state: &State, term: u64, proposal: &Proposal, answer: &Answer) {
        if let Some(request) = proposal.request
            && !self.requests.insert(request)
        {
            return self.reached.at(match answer {
                Answer::Refused(Refused::SessionUnknown(_)) => "R21: a request of an evicted session was refused",
                _ => "R21: a request came again and was answered from memory",
            });
        }
        match answer {
            Answer::Refused(refused) => self.refused(&proposal.command, refused),
            _ => self.accepted(state, term, &proposal.command, answer),
        }
        let attested = state.cluster.as_ref().map_or(0, |c| c.attestations.len());
        if attested < self.attested
            && matches!(&proposal.command, Command::SignOfLife { seen, .. } if seen.contains("answered a probe"))
        {
            self.reached.at("R8: a probe that was answered voided a word");
        }
        if attested < self.attested {
            self.reached.at("a sign of life voided an attestation");
        }
        self.attested = attested;
    }

    fn refused(&mut self, command: &Command, refused: &Refused) {
        let approves = matches!(command, Command::ApprovePlan { .. });
        let name = match refused {
            Refused::SessionUnknown(_) => "R21: a request of an evicted session was refused",
            Refused::ApprovedAlready { .. } => "S5: the second approver was the first",
            Refused::RequesterMayNotApprove { .. } => "S5: who asked wanted to be one of two",
            Refused::Expired(_) => "S5: an expired approval was refused",
            Refused::OtherDigest { .. } => "S5: a stale digest was refused",
            Refused::WrongStatus { .. } if approves => "S5: a yes came for a plan that had started or was over",
            Refused::FactsChanged { .. } if matches!(command, Command::RecordPlan { .. }) => {
                "ADR53: what a plan touches had changed when it was found"
            }
            Refused::FactsChanged { .. } => "R14: the facts of a plan had changed",
            Refused::Guard(_) if approves => "R14: what a sheet rests on did not hold at somebody's yes",
            Refused::Held(_) if approves => "R13: a hold kept an approved plan from starting",
            Refused::Claimed { .. } => "R13: a second plan wanted what a running one holds",
            _ => return,
        };
        self.reached.at(name);
    }

    fn accepted(&mut self, state: &State, term: u64, command: &Command, answer: &Answer) {
        match command {
            Command::NewLeader { .. } => self.new_leader(state),
            Command::RecordPlan { .. } => {
                if let Answer::Plan { id, .. } = answer {
                    self.recorded.insert(*id, term);
                    self.sheet(state, *id);
                }
            }
            Command::ApprovePlan { plan, .. } => {
                if let (Some(record), Answer::Plan { people_missing, .. }) = (state.plans.get(plan), answer) {
                    self.approved(state, term, record, *people_missing);
                }
            }
            Command::AbortPlan { plan, .. } => {
                for (task, run) in state.plans.get(plan).iter().flat_map(|r| r.plan.tasks.iter().zip(&r.tasks)) {
                    self.aborted(task, run);
                }
            }
            Command::StartStep { step, attempt, .. } => self.started(state, term, *step, *attempt),
            Command::FinishStep { id, outcome } => self.finished(state, term, *id, outcome),
            Command::StuckStep { step, .. } => self.stuck(state, *step),
            Command::HostSeen { host, .. } => {
                self.booted(state, host);
                let host = state.cluster.as_ref().and_then(|c| c.hosts.get(host));
                match host.and_then(|h| h.quarantined.as_ref()) {
                    Some(HostQuarantine::OtherDisk { .. }) => self.reached.at("S2: another disk was quarantined"),
                    Some(HostQuarantine::OlderDisk { .. }) => self.reached.at("S2: an old disk was quarantined"),
                    Some(HostQuarantine::Restored) | None => {}
                }
            }
            Command::ByHandSeen { store, starts, .. } => {
                let store = state.cluster.as_ref().and_then(|cluster| cluster.stores.get(store));
                let last = starts.last().filter(|start| start.state == HandState::Serving);
                if let (Some(store), Some(last)) = (store, last) {
                    self.reached.at(if last.epoch == store.epoch {
                        "R19: a branch was adopted"
                    } else {
                        "R19: a branch was beside a higher epoch"
                    });
                }
            }
            Command::AdmitHost { .. } => self.reached.at("S2: a person admitted another disk"),
            Command::Attest { .. } => self.reached.at("somebody attested a host off"),
            Command::SignOfLife { .. } | Command::AsideSeen { .. } | Command::RaiseFeatureLevel { .. } => {
                self.reached.at("R20: a command was committed that an older build would not know");
            }
            _ => {}
        }
    }

    fn new_leader(&mut self, state: &State) {
        if !self.half.is_empty() {
            self.half.clear();
            self.reached.at("R17: a new leader voided approvals");
        }
        let stores = state.cluster.iter().flat_map(|c| c.stores.values());
        if stores.into_iter().any(|store| store.pending.is_some() && store.epoch != Epoch::ZERO) {
            self.reached.at("R6: the leader changed between an epoch and its promote");
        }
        if state.running().any(|record| record.tasks.iter().any(|t| matches!(t.state, TaskState::Unwinding { .. }))) {
            self.reached.at("R4: the leader changed while a plan went back");
        }
    }

    fn approved(&mut self, state: &State, term: u64, record: &PlanRecord, missing: u8) {
        if missing > 0 {
            self.half.insert(record.id);
            return;
        }
        self.half.remove(&record.id);
        self.consumed = (self.consumed.0 + 1, term);
        if self.recorded.get(&record.id).is_some_and(|recorded| *recorded != term) {
            self.reached.at("R15: a plan was recorded by one leader and approved under another");
        }
        let superseded = |run: &TaskRun| run.state == TaskState::Superseded { by: record.id };
        if state.plans.values().any(|other| other.tasks.iter().any(superseded)) {
            self.reached.at("R13: a failover took a store from a running plan");
        }
        for task in &record.plan.tasks {
            let TaskKind::FailOver { waived, unreachable, loss, .. } = &task.kind else { continue };
            let Some(store) = store_of(state, task) else { continue };
            if store.possible_masters.len() > 1 {
                self.reached.at("R3: an epoch was given out while two slots might be masters");
            }
            let weak = |slot: &SlotId| store.possible_masters.get(slot).is_some_and(|p| p.since < task.epoch);
            if waived.iter().any(weak) {
                self.reached.at("R28: a weakly fenced master was named again at a later failover");
            }
            if !unreachable.is_empty() {
                self.reached.at("R16: a follower was left out by name");
            }
            if !matches!(loss.class, LossClass::NoneProvable | LossClass::CaughtUp) {
                self.reached.at("R7: people approved a failover whose loss has no bound");
            }
            self.epoch_grew(store, task);
        }
    }

    fn epoch_grew(&mut self, store: &Store, task: &Task) {
        if task.epoch.n > 0 && store.copies.values().any(|copy| copy.state == CopyState::Building) {
            self.reached.at("R16: the epoch grew while a copy was building");
        }
    }

    fn aborted(&mut self, task: &Task, run: &TaskRun) {
        if !matches!(task.kind, TaskKind::HandOver { .. }) {
            return;
        }
        if is_done(task, run, StepKind::CommitEpoch) {
            if !run.state.is_ended() {
                self.reached.at("R18: an abort came after the epoch was committed");
            }
        } else if is_done(task, run, StepKind::Freeze) {
            self.reached.at("R18: an abort came while the master was frozen");
        }
    }

    fn started(&mut self, state: &State, term: u64, at: StepRef, attempt: u32) {
        let Some((record, ..)) = state.step(at) else { return };
        let Some(task) = record.plan.tasks.get(usize::from(at.task)) else { return };
        self.begun.insert(OrderId { plan: at.plan, task: at.task, step: at.step, attempt }, term);
        if attempt > 1 {
            self.reached.at("R21: a further attempt began after the one before was over");
        }
        let Some(store) = store_of(state, task) else { return };
        match task.steps.get(usize::from(at.step)).map(|s| s.kind) {
            Some(StepKind::CommitEpoch) => self.epoch_grew(store, task),
            Some(StepKind::Promote) if !store.possible_masters.is_empty() => {
                let TaskKind::FailOver { waived, .. } = &task.kind else { return };
                if store.possible_masters.keys().any(|slot| waived.contains(slot)) {
                    self.reached.at("R3: a promote was ordered past a master that is waived by name");
                }
            }
            Some(StepKind::Count) => self.counted(state, at, task, attempt),
            Some(StepKind::Destroy) if attempt > 1 => {
                self.reached.at("R27: a destroy was ordered again for the next boot");
            }
            Some(StepKind::Provision) => {
                if let TaskKind::BuildCopy { slot, .. } = &task.kind {
                    return self.build_begins(store, slot);
                }
                let TaskKind::CreateStore { copies, .. } = &task.kind else { return };
                if copies.values().any(|generation| generation.0 > 1) {
                    self.reached.at("R11: a store was made again on slots that had held it");
                }
            }
            _ => {}
        }
    }

    fn build_begins(&mut self, store: &Store, slot: &SlotId) {
        let generation = store.copies.get(slot).map_or(0, |copy| copy.generation.0);
        if generation > 1 {
            self.reached.at("R11: a copy was built on a slot that had held one of its store");
        }
    }

    fn counted(&mut self, state: &State, at: StepRef, task: &Task, attempt: u32) {
        self.reached.at(match &task.kind {
            TaskKind::CountCopy { .. } => "R16: an interrupted build came to count by itself",
            _ => "R16: a copy was built and counts",
        });
        let again = state.step(at).is_some_and(|(_, run, _)| {
            run.steps.iter().any(|step| matches!(step.state, StepState::Done { attempt: 2.., .. }))
        });
        if again || attempt > 1 {
            self.reached.at("R16: a build was told again whom it follows");
        }
    }

    fn finished(&mut self, state: &State, term: u64, id: OrderId, outcome: &Outcome) {
        if id.step & SERVE_BIT != 0 {
            return self.reached.at("a demoted engine was ordered to serve its successor");
        }
        if id.step & THAW_BIT != 0 {
            return self.reached.at("R18: an abort thawed a master");
        }
        if id.step & CANCEL_BIT != 0 {
            return self.reached.at(match outcome {
                Outcome::Done(_) => "R4: a cancel found its order done",
                Outcome::NeverWill(_) => "R4: a cancel came in time",
            });
        }
        let at = StepRef { plan: id.plan, task: id.task, step: id.step };
        let Some((record, run, _)) = state.step(at) else { return };
        let Some(task) = record.plan.tasks.get(usize::from(at.task)) else { return };
        let Some(kind) = task.steps.get(usize::from(at.step)).map(|s| s.kind) else { return };
        if self.begun.remove(&id).is_some_and(|begun| begun != term) {
            self.reached.at("an order was answered to another leader than gave it");
            if kind == StepKind::Demote {
                self.reached.at("a demote was answered after a leader change");
            }
        }
        match outcome {
            Outcome::Done(Done::Off) => self.switched_off(state, at),
            Outcome::NeverWill(NeverWill::NotOff { .. }) => self.reached.at("R26: a device did not confirm"),
            Outcome::Done(done) => {
                let buried = |name: &StoreName| state.cluster.as_ref().is_some_and(|c| c.tombstones.contains_key(name));
                if kind == StepKind::Destroy && task.store.as_ref().is_some_and(buried) {
                    self.reached.at("R11: a store's last copy was destroyed and its tombstone kept");
                }
                self.done(task, run, kind, done);
            }
            Outcome::NeverWill(NeverWill::BootEnded(_)) => self.reached.at("R27: a step waited for a new boot"),
            Outcome::NeverWill(_) => {}
        }
    }

    fn done(&mut self, task: &Task, run: &TaskRun, kind: StepKind, done: &Done) {
        match (kind, done) {
            (StepKind::Demote, _) if matches!(task.kind, TaskKind::RetireStore { .. }) => {
                self.reached.at("R11: a store was retired");
            }
            (StepKind::Demote, Done::Tip { tip, .. }) => {
                let frozen = tip_of(task, run, StepKind::Freeze);
                if frozen.is_some_and(|frozen| frozen != *tip) {
                    self.reached.at("R1: the final position was past the freeze's");
                }
            }
            (StepKind::Destroy, _) => self.reached.at("R11: a copy was destroyed"),
            (StepKind::StartMaster, _) => self.reached.at("R25: a master was started again without anybody's yes"),
            (_, Done::Stranded(records)) if !records.is_empty() => {
                self.reached.at("R7: records that only a former master holds were listed");
            }
            (_, Done::Reinjected { appended, .. }) if *appended > 0 => {
                self.reached.at("R7: stranded records were put into the master");
            }
            _ => {}
        }
    }

    /// Its device switched a host off.
    fn switched_off(&mut self, state: &State, at: StepRef) {
        let Some((of, ..)) = crate::check::power::target(state, at) else { return };
        self.reached.at("R26: a host was fenced by its device");
        let moved = state.plans.get(&at.plan).map(|record| record.plan.stores()).unwrap_or_default();
        if state.cluster.iter().flat_map(|c| c.copies_on(of)).any(|(store, ..)| !moved.contains(store)) {
            self.reached.at("R26: copies of other stores were killed by a fence");
        }
    }

    /// What a sheet says of hosts that are silent.
    fn sheet(&mut self, state: &State, id: PlanId) {
        let Some(record) = state.plans.get(&id) else { return };
        let evidence = &record.plan.evidence;
        if evidence.reach.values().any(|reach| reach.answered(FRESH_MS) > 0) {
            self.reached.at("R23: a sheet says that others reach a silent host");
        }
        if evidence.power.values().any(|power| matches!(power, Seen::Known { .. })) {
            self.reached.at("R26: a sheet says what a device says of a host's power");
        }
    }

    /// A host was seen; it may have booted while it was to be switched off.
    fn booted(&mut self, state: &State, name: &HostName) {
        let boot = state.cluster.as_ref().and_then(|c| c.hosts.get(name)).and_then(|host| host.boot);
        for record in state.running() {
            let Some(off) = record.plan.switch_off.get(name).filter(|off| Some(off.boot) != boot) else { continue };
            let outstanding = record.plan.tasks.iter().zip(&record.tasks).any(|(task, run)| {
                off.by.is_some()
                    && steps(task, run, StepKind::FenceHost).any(|at| matches!(at, StepState::Started { .. }))
            });
            if outstanding {
                self.reached.at("R6: a host booted again while it was ordered to be switched off");
            }
        }
    }

    fn stuck(&mut self, state: &State, at: StepRef) {
        let kind = state.step(at).and_then(|(record, run, _)| {
            let task = record.plan.tasks.get(usize::from(at.task))?;
            Some((task, run, task.steps.get(usize::from(at.step))?.kind))
        });
        match kind {
            Some((_, _, StepKind::CommitEpoch)) => {
                self.reached.at("R14: a guard failed between the compare and the commit");
            }
            Some((task, run, _)) if is_done(task, run, StepKind::CommitEpoch) => {
                self.reached.at("a step past the commit was stuck");
            }
            _ => {}
        }
    }
}

fn store_of<'a>(state: &'a State, task: &Task) -> Option<&'a Store> {
    state.cluster.as_ref()?.stores.get(task.store.as_ref()?)
}

fn steps<'a>(task: &'a Task, run: &'a TaskRun, kind: StepKind) -> impl Iterator<Item = &'a StepState> {
    task.steps.iter().zip(&run.steps).filter(move |(step, _)| step.kind == kind).map(|(_, at)| &at.state)
}

/// Whether a step of this kind is done.
pub(super) fn is_done(task: &Task, run: &TaskRun, kind: StepKind) -> bool {
    steps(task, run, kind).any(|state| matches!(state, StepState::Done { .. }))
}

fn tip_of(task: &Task, run: &TaskRun, kind: StepKind) -> Option<Tip> {
    steps(task, run, kind).find_map(|state| match state {
        StepState::Done { done: Done::Tip { tip, .. }, .. } => Some(*tip),
        _ => None,
    })
}
