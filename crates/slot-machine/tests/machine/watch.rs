//! The invariants, by a bookkeeping of its own: it reads the commands and the states before and after, and nothing of how
//! `apply` decides.

use slot_machine::command::*;
use slot_machine::state::*;
use slot_types::cluster::*;
use slot_types::ids::*;
use slot_types::order::{Done, Outcome};
use slot_types::plan::*;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Default)]
pub struct Watch {
    /// S3: who got an epoch, by which index.
    allocated: BTreeMap<(StoreName, Epoch), (SlotId, LogIndex)>,
    /// The latest epoch whose Promote order existed for a slot.
    promoted: BTreeMap<(StoreName, SlotId), Epoch>,
    /// The latest epoch at which its agent said it is demoted.
    demoted: BTreeMap<(StoreName, SlotId), Epoch>,
    /// R26: hosts whose device said off, at which boot, and that showed no life since.
    off: BTreeMap<HostName, BootId>,
    /// S5: plans that started once.
    started: BTreeSet<PlanId>,
    commands: u64,
    /// How often something worth testing was reached.
    pub reached: BTreeMap<&'static str, u64>,
}

impl Watch {
    pub fn check(&mut self, before: &State, after: &State, proposal: &Proposal, answer: &Answer) {
        if matches!(answer, Answer::Refused(_)) {
            unchanged(before, after);
        }
        self.demotes(before, proposal, answer);
        self.power(before, after, proposal, answer);
        self.epochs(after, before.restoring.is_some());
        self.starts(before, after, proposal);
        self.promotes(before, after);
        loss_cases(before, after);
        claims(after);
        hosts(before, after);
        bounds(after);
        self.chain(before, after, proposal);
        self.notice(before, after, answer);
        self.commands += 1;
        if self.commands % 16 == 1 {
            whole(after);
        }
    }

    /// What the schedule reached: a test that never gets near danger proves nothing.
    fn notice(&mut self, before: &State, after: &State, answer: &Answer) {
        let mut saw = |what, yes: bool| {
            if yes {
                *self.reached.entry(what).or_default() += 1;
            }
        };
        saw("refused", matches!(answer, Answer::Refused(_)));
        let (Some(was), Some(is)) = (&before.cluster, &after.cluster) else { return };
        saw("loss case opened", is.loss_cases.len() > was.loss_cases.len());
        saw(
            "loss case settled",
            is.loss_cases
                .iter()
                .any(|(id, c)| !c.state.is_open() && was.loss_cases.get(id).is_some_and(|c| c.state.is_open())),
        );
        saw("attestation void", is.attestations.len() < was.attestations.len());
        saw(
            "host quarantined",
            is.hosts.iter().any(|(h, now)| now.quarantined.is_some() && was.hosts[h].quarantined.is_none()),
        );
        saw(
            "maintenance",
            is.hosts.iter().any(|(h, now)| {
                now.declared == HostState::Maintenance && was.hosts.get(h).is_some_and(|h| h.declared != now.declared)
            }),
        );
        for (name, store) in &is.stores {
            let Some(old) = was.stores.get(name) else { continue };
            let promoted = store.master.is_some() && old.master.is_none();
            saw("promoted", promoted);
            saw("promoted past a possible master", promoted && !store.possible_masters.is_empty());
            saw("two possible masters", store.possible_masters.len() > 1);
            saw("failed over while a promote was out", old.promote_started && store.epoch > old.epoch);
            let gone = old.possible_masters.keys().any(|s| !store.possible_masters.contains_key(s));
            saw("former master fenced", gone);
        }
        for record in after.plans.values() {
            let Some(old) = before.plans.get(&record.id) else { continue };
            for ((task, run), was) in record.plan.tasks.iter().zip(&record.tasks).zip(&old.tasks) {
                if run.state == was.state {
                    continue;
                }
                let hands_over = matches!(task.kind, TaskKind::HandOver { .. });
                saw("superseded", matches!(run.state, TaskState::Superseded { .. }));
                saw("needs a person", matches!(run.state, TaskState::NeedsHuman { .. }));
                saw("going back", hands_over && matches!(run.state, TaskState::Unwinding { .. }));
                saw(
                    "gone back",
                    hands_over && matches!(was.state, TaskState::Unwinding { .. }) && run.state.is_ended(),
                );
                saw("handed over", hands_over && run.state == TaskState::Done);
            }
        }
    }

    fn demotes(&mut self, before: &State, proposal: &Proposal, answer: &Answer) {
        let Command::FinishStep { id, outcome: Outcome::Done(Done::Tip { .. }) } = &proposal.command else { return };
        let Some(record) = before.plans.get(&id.plan).filter(|_| *answer == Answer::Done) else { return };
        let Some(task) = record.plan.tasks.get(usize::from(id.task)) else { return };
        let Some(step) = task.steps.get(usize::from(id.step)).filter(|s| s.kind == StepKind::Demote) else { return };
        let (Some(Place::Slot(slot)), Some(name)) = (&step.at, &task.store) else { return };
        let epoch = before.cluster.as_ref().unwrap().stores[name].epoch;
        self.demoted.insert((name.clone(), slot.clone()), epoch);
    }

    /// R6, R26: power is ordered off only after its plan's epochs, for the boot that the plan names, by another host.
    fn power(&mut self, before: &State, after: &State, proposal: &Proposal, answer: &Answer) {
        if let Command::HostSeen { host, .. } | Command::SignOfLife { host, .. } = &proposal.command {
            self.off.remove(host);
        }
        if let (Command::FinishStep { id, outcome: Outcome::Done(Done::Off) }, Answer::Done) =
            (&proposal.command, answer)
            && let Some(record) = before.plans.get(&id.plan)
            && let Some(task) = record.plan.tasks.get(usize::from(id.task))
            && let Some(Place::Device { of, .. }) =
                task.steps.get(usize::from(id.step & 0x1fff)).and_then(|step| step.at.as_ref())
        {
            self.off.insert(of.clone(), record.plan.switch_off[of].boot);
        }
        let cluster = after.cluster.as_ref();
        for record in after.plans.values() {
            for (task, run) in record.plan.tasks.iter().zip(&record.tasks) {
                for (step, done) in task.steps.iter().zip(&run.steps) {
                    let StepState::Started { index, .. } = done.state else { continue };
                    let Some(Place::Device { of, by }) = &step.at else { continue };
                    if index != after.applied || before.applied == after.applied {
                        continue;
                    }
                    let hosts = &cluster.unwrap().hosts;
                    assert_eq!(hosts[of].boot, Some(record.plan.switch_off[of].boot), "R6: {of} at another boot");
                    assert_ne!(hosts[of].at, hosts[by].at, "R26: {by} is in the domain of {of}");
                    let store = &cluster.unwrap().stores[task.store.as_ref().unwrap()];
                    assert!(store.epoch > task.epoch, "R6: power before the commit");
                }
            }
        }
    }

    /// S3, and one master at most.
    fn epochs(&mut self, after: &State, restoring: bool) {
        for (name, store) in after.cluster.iter().flat_map(|c| &c.stores) {
            assert!(store.master.is_none() || store.pending.is_none(), "{name} has a master and a pending one");
            let masters: Vec<_> = store.copies.iter().filter(|(_, c)| c.role == Role::Master).map(|(s, _)| s).collect();
            assert_eq!(masters, store.master.iter().collect::<Vec<_>>(), "{name}: roles and master disagree");
            let Some(holder) = store.master.as_ref().or(store.pending.as_ref()) else { continue };
            let key = (name.clone(), store.epoch);
            match self.allocated.get(&key) {
                Some((slot, index)) => assert_eq!(slot, holder, "S3: {name} {} of {index}", store.epoch),
                None => {
                    // R10: after a restore epochs are learnt from who holds them.
                    assert!(
                        store.pending.is_some() || restoring,
                        "S3: {name} has a master at an epoch nobody allocated"
                    );
                    let last =
                        self.allocated.range((name.clone(), Epoch::ZERO)..).take_while(|(k, _)| k.0 == *name).last();
                    if let Some(((_, last), _)) = last {
                        assert!(store.epoch > *last, "S3: epochs of {name} grow");
                    }
                    self.allocated.insert(key, (holder.clone(), after.applied));
                }
            }
        }
    }

    /// S5, R6, R14.
    fn starts(&mut self, before: &State, after: &State, proposal: &Proposal) {
        for (id, record) in &after.plans {
            if record.status == PlanStatus::Proposed || record.started.is_none() || !self.started.insert(*id) {
                continue;
            }
            let plan = &record.plan;
            assert_eq!(record.digest, Plan::digest_of(&record.bytes));
            assert_eq!(plan.bytes(), record.bytes);
            if plan.intent.is_everyday() {
                assert_eq!(plan.tasks.len(), 1, "R25");
                continue;
            }
            let Command::ApprovePlan { plan: named, digest, .. } = &proposal.command else {
                panic!("S5: {id} started by {:?}", proposal.command)
            };
            assert!(named == id && *digest == record.digest.short(), "S5: another digest");
            let people: BTreeSet<_> = record.approvals.iter().map(|a| &a.by).collect();
            assert_eq!(people.len(), record.approvals.len(), "S5: one person, one yes");
            let policy = &before.cluster.as_ref().unwrap().policy;
            let needed = people_for(plan, policy);
            let others = people.iter().filter(|by| plan.requested_by.as_ref() != Some(by)).count();
            let counted = if needed >= 2 { others } else { people.len() };
            assert!(counted >= needed, "S5: {counted} of {needed} approved {id}");
            assert!(after.log_time.since(record.recorded) <= plan.valid_ms, "S5: expired");
            let facts_now = |entity: &EntityRef| match entity {
                EntityRef::Host(h) => before.cluster.as_ref().unwrap().hosts.get(h).map_or(0, |h| h.version),
                EntityRef::Store(s) => before.cluster.as_ref().unwrap().stores.get(s).map_or(0, |s| s.version),
                EntityRef::LossCase(c) => {
                    before.cluster.as_ref().unwrap().loss_cases.get(c).map_or(0, |c| u64::from(c.state.is_open()))
                }
                EntityRef::Fleet => before.fleet_version,
            };
            assert!(plan.facts.iter().all(|(entity, then)| facts_now(entity) == *then), "S5: changed facts");
        }
    }

    /// S7, R3, R28: a Promote order comes into being only when every other slot that ever had one is demoted at a higher
    /// epoch, or is waived by name in the consumed approval.
    fn promotes(&mut self, before: &State, after: &State) {
        for record in after.plans.values() {
            for (task, run) in record.plan.tasks.iter().zip(&record.tasks) {
                for (step, done) in task.steps.iter().zip(&run.steps) {
                    let StepState::Started { index, .. } = done.state else { continue };
                    if step.kind != StepKind::Promote || index != after.applied || before.applied == after.applied {
                        continue;
                    }
                    let name = task.store.clone().unwrap();
                    let Some(Place::Slot(to)) = &step.at else { panic!("a Promote without its slot") };
                    self.fenced(after, record, task, &name, to);
                    let epoch = after.cluster.as_ref().unwrap().stores[&name].epoch;
                    self.promoted.insert((name, to.clone()), epoch);
                }
            }
        }
    }

    fn fenced(&self, after: &State, record: &PlanRecord, task: &Task, name: &StoreName, to: &SlotId) {
        let cluster = after.cluster.as_ref().unwrap();
        let epoch = cluster.stores[name].epoch;
        assert_eq!(self.allocated[&(name.clone(), epoch)].0, *to, "S3: promoted is who got the epoch");
        let none = BTreeSet::new();
        let waived = match &task.kind {
            TaskKind::FailOver { waived, .. } => waived,
            _ => &none,
        };
        for ((_, slot), since) in self.promoted.iter().filter(|((n, slot), _)| n == name && slot != to) {
            if self.demoted.get(&(name.clone(), slot.clone())).is_some_and(|at| at > since) {
                continue;
            }
            assert!(
                waived.contains(slot),
                "S7: {slot} was promoted at {since}, never demoted, not waived for {to} at {epoch}"
            );
            assert!(!record.approvals.is_empty(), "S7: waived by nobody");
            if let Some(off) = record.plan.switch_off.get(&slot.host) {
                assert_eq!(self.off.get(&slot.host), Some(&off.boot), "R26: {slot} is not off by its device's word");
            }
            let told = |c: &LossCase| c.store == *name && c.slot == *slot && c.state.is_open();
            assert!(cluster.loss_cases.values().any(told), "{slot} is promoted past without a loss case");
        }
    }

    /// S12: only appended to, except by a trim; each new entry fits the one before.
    fn chain(&self, before: &State, after: &State, proposal: &Proposal) {
        if matches!(proposal.command, Command::TrimAudit { .. }) {
            return assert_eq!(after.audit.first_broken(), None, "S12");
        }
        assert_eq!(before.audit.trimmed_through, after.audit.trimmed_through, "S12: only a trim shortens it");
        let old = before.audit.entries.len();
        assert!(after.audit.entries.iter().take(old).eq(before.audit.entries.iter()), "S12: only appended");
        let (mut head, mut number) = (before.audit.head(), before.audit.last_number());
        for entry in after.audit.entries.iter().skip(old) {
            assert!(entry.prev == head && entry.number == number + 1 && entry.hash == entry.expected_hash(), "S12");
            assert_eq!(entry.index, after.applied, "S12");
            (head, number) = (entry.hash, entry.number);
        }
    }
}

/// R22, S12: a snapshot is the state, and its audit verifies by itself.
pub fn whole(state: &State) {
    assert_eq!(state.audit.first_broken(), None, "S12");
    let again = State::restore(&state.snapshot()).expect("a snapshot is read back");
    assert!(again == *state && again.hash() == state.hash(), "R22: a snapshot is the state");
}

/// Independent of the crate's own: protocol.md, "Who approves".
fn people_for(plan: &Plan, policy: &Policy) -> usize {
    let two = plan.tasks.iter().any(|t| match &t.kind {
        TaskKind::FailOver { fence, loss, .. } => {
            (policy.two_if_loss && !matches!(loss.class, LossClass::NoneProvable | LossClass::CaughtUp))
                || (policy.two_if_unfenced && !matches!(fence, FenceLevel::Demoted | FenceLevel::Device))
                || plan.silent_hosts > policy.brake_silent_hosts
        }
        _ => false,
    });
    if two { 2 } else { 1 }
}

/// A refused command leaves everything as it was but what the contract names.
fn unchanged(before: &State, after: &State) {
    let mut masked = after.clone();
    masked.revision = before.revision;
    masked.applied = before.applied;
    masked.term = before.term;
    masked.log_time = before.log_time;
    masked.wall = before.wall;
    masked.sessions = before.sessions.clone();
    masked.audit = before.audit.clone();
    masked.everyday = before.everyday.clone();
    assert!(masked == *before, "a refused command changed the state");
}

/// R24: a copy with a listed case may have followed, by a plan whose next step was to put its records into the master.
fn followed_to_bring_back(state: &State, id: LossCaseId, case: &LossCase) -> bool {
    let (how, slot) = (Settlement::Reinject, case.slot.clone());
    let settles = TaskKind::SettleLoss { case: id, slot, how };
    let mut tasks = state.plans.values().flat_map(|record| record.plan.tasks.iter().zip(&record.tasks));
    case.state == LossState::Listed
        && tasks.any(|(task, run)| {
            task.kind == settles
                && task.steps.first().is_some_and(|step| step.kind == StepKind::Follow)
                && run.steps.first().is_some_and(|step| matches!(step.state, StepState::Done { .. }))
        })
}

fn loss_cases(before: &State, state: &State) {
    let (Some(before), Some(after)) = (&before.cluster, &state.cluster) else { return };
    for (id, case) in &before.loss_cases {
        let now = after.loss_cases.get(id).unwrap_or_else(|| panic!("{id} is lost"));
        assert!(case.state.is_open() || now.state == case.state, "{id} was settled as {:?}", case.state);
        assert!(case.state != LossState::Listed || now.state != LossState::AwaitingReturn);
    }
    for (id, case) in after.loss_cases.iter().filter(|(_, c)| c.state.is_open()) {
        let copy = &after.stores[&case.store].copies[&case.slot];
        let leads = after.stores[&case.store].master.as_ref() == Some(&case.slot);
        assert!(!leads, "{} serves with an open loss case", case.slot);
        let follows = (copy.role, copy.state) == (Role::Replica, CopyState::Serving);
        assert!(!follows || followed_to_bring_back(state, *id, case), "{} follows with one", case.slot);
    }
}

fn recovers_beside(state: &State, a: PlanId, b: PlanId, store: &StoreName) -> bool {
    let everyday = |id: PlanId| state.plans[&id].plan.intent.is_everyday();
    let builds = |id: PlanId| {
        let record = &state.plans[&id];
        record.plan.tasks.iter().zip(&record.tasks).all(|(task, run)| {
            let moves = matches!(task.kind, TaskKind::BuildCopy { .. } | TaskKind::DestroyCopy { .. });
            // R18: what is paused keeps still, and recovery does not wait for a person.
            moves || task.store.as_ref() != Some(store) || run.state.is_ended() || run.state == TaskState::Waiting
        })
    };
    (everyday(a) && builds(b)) || (everyday(b) && builds(a))
}

/// A drain that could be taken up again: nothing of it was committed and left, and no copy's fate is open.
fn may_be_taken_up(record: &PlanRecord) -> bool {
    let lives = matches!(record.status, PlanStatus::Running | PlanStatus::Paused { .. });
    let fits = record.plan.tasks.iter().zip(&record.tasks).all(|(task, run)| match run.state {
        TaskState::NeedsHuman { .. } | TaskState::Superseded { .. } => false,
        TaskState::NotDone { .. } => {
            let copies = matches!(task.kind, TaskKind::BuildCopy { .. } | TaskKind::DestroyCopy { .. });
            !copies || run.steps.iter().all(|step| step.state == StepState::Waiting { attempt: 1 })
        }
        _ => true,
    });
    lives && fits && !record.plan.intent.drained().is_empty()
}

/// R13: a store belongs to one running plan, and to none when nothing of it is under way or waits for a person.
fn claims(after: &State) {
    let mut stores: BTreeMap<&StoreName, PlanId> = BTreeMap::new();
    let mut hosts: BTreeMap<&HostName, PlanId> = BTreeMap::new();
    for record in after.running() {
        for (task, run) in record.plan.tasks.iter().zip(&record.tasks) {
            let again = matches!(run.state, TaskState::NotDone { .. }) && may_be_taken_up(record);
            if let (Some(name), false) = (&task.store, run.state.is_ended() && !again) {
                let other = stores.insert(name, record.id).filter(|o| *o != record.id);
                // R25, R8: recovery may act beside a build or a destruction.
                let beside = |o: PlanId| recovers_beside(after, o, record.id, name);
                assert!(other.is_none_or(beside), "R13: {name} in two running plans");
                if let Some(holder) = other.filter(|o| after.store_claims.get(name) == Some(o)) {
                    stores.insert(name, holder);
                }
            }
            if let TaskKind::HostState { host, .. } = &task.kind {
                let other = hosts.insert(host, record.id);
                assert!(other.is_none_or(|o| o == record.id), "R13: {host} in two running plans");
            }
        }
        let waits = matches!(record.status, PlanStatus::Paused { by: None, .. });
        assert!(waits || record.tasks.iter().any(|r| !r.state.is_ended()), "{} is over and runs", record.id);
    }
    let held: BTreeMap<&StoreName, PlanId> = after.store_claims.iter().map(|(s, p)| (s, *p)).collect();
    assert_eq!(held, stores, "R13: claims are what is under way");
    let held: BTreeMap<&HostName, PlanId> = after.host_claims.iter().map(|(s, p)| (s, *p)).collect();
    assert_eq!(held, hosts, "R13: host claims are what is under way");
    for plan in after.slot_claims.values() {
        assert!(after.running().any(|r| r.id == *plan), "R13: a claim leaked");
    }
    // A frozen master belongs to a hand-over that is under way.
    for (name, store) in after.cluster.iter().flat_map(|c| &c.stores) {
        let frozen = store.master.as_ref().is_some_and(|m| store.copies[m].state == CopyState::Frozen);
        assert!(!frozen || after.store_claims.contains_key(name), "R1: {name} is left frozen");
    }
}

/// S8: Maintenance is declared of a host whose copies are stopped, and nothing is started there.
fn hosts(before: &State, after: &State) {
    for (name, host) in after.cluster.iter().flat_map(|c| &c.hosts) {
        let cluster = after.cluster.as_ref().unwrap();
        if host.declared == HostState::Maintenance {
            assert!(cluster.masters_on(name).next().is_none(), "S8: a master on {name}");
        }
        let was = before.cluster.as_ref().and_then(|c| c.hosts.get(name)).map(|h| h.declared);
        if host.declared == HostState::Maintenance && was != Some(HostState::Maintenance) {
            let runs =
                cluster.copies_on(name).find(|(_, _, c)| !matches!(c.state, CopyState::Stopped | CopyState::Retired));
            assert!(runs.is_none(), "S8: {runs:?} on {name}");
        }
    }
}

fn bounds(after: &State) {
    assert!(after.sessions.len() <= SESSIONS_MAX);
    assert!(after.sessions.values().all(|s| s.answers.len() <= ANSWERS_PER_SESSION_MAX));
    let proposed = after.plans.values().filter(|p| p.status == PlanStatus::Proposed).count();
    let ended = after.plans.values().filter(|p| p.status.is_ended()).count();
    assert!(proposed <= 2 * PROPOSED_PLANS_MAX && ended <= ENDED_PLANS_MAX + 2 * PROPOSED_PLANS_MAX);
}
