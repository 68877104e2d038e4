//! Starting steps and delivering orders, while this node leads.
//!
//! What always holds: it remembers nothing that matters, a new leader recomputes everything from the state; a step is
//! proposed at most once at a time; an order is sent only after its StartStep entry is committed (R4) and after a read-index
//! round that began no earlier than that entry was proposed confirmed that this node leads (S15); one that is sent again
//! waits for a round of its own. A durable word is recorded once, anything else is asked again. A step may be proposed
//! together with the end of the one before it; only `apply` decides whether it starts.

use super::front_ends::FrontEnds;
use super::io::{Effect, Now};
use super::observer::Observer;
use super::proposer::{Proposer, Purpose};
use slot_machine::apply::apply;
use slot_machine::command::{Answer as Applied, Command, Proposal, StepRef};
use slot_machine::guard::{guard, may_send};
use slot_machine::runnable::{Runnable, runnable};
use slot_machine::state::{PlanStatus, State};
use slot_types::cluster::Cluster;
use slot_types::codec;
use slot_types::evidence::Evidence;
use slot_types::ids::*;
use slot_types::order::{Answer, Order};
use slot_types::plan::{Place, Plan, StepKind, Task, TaskKind};
use std::collections::{BTreeMap, BTreeSet};

/// The first pause before an order is delivered, or a step proposed, again.
const PAUSE_MS: u64 = 50;
/// The longest pause.
const PAUSE_MS_MAX: u64 = 1_000;
/// The least an agent is given to carry out an order before it says "not yet".
const BUDGET_MS_MIN: u64 = 1_000;
/// The most.
const BUDGET_MS_MAX: u64 = 10_000;
/// A step that is blocked by the state, and whose own deadline is unknown, counts as stuck after this long.
const BLOCKED_MS: u64 = 60_000;

type OrderKey = (OrderId, LogIndex);

/// A step that is to be started.
#[derive(Default)]
struct Start {
    proposed: bool,
    /// Since when, in log time, it could not be started, and why.
    blocked: Option<(LogTime, String)>,
    retry_at: u64,
    failures: u32,
    /// The round that begins with its proposal.
    round: u64,
}

/// How far a delivery is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// Leadership is to be confirmed first.
    Wanted,
    /// It is being confirmed, by this round.
    Confirming(u64),
    /// The agent has it; the number names the call.
    Sent(u64),
    /// The agent did not give its word; again at this time.
    Resting(u64),
    /// The agent's word is being recorded.
    Recording,
}

struct Delivery {
    phase: Phase,
    failures: u32,
    last: String,
}

/// See the module's documentation.
#[derive(Default)]
pub(super) struct Executor {
    runnable: Vec<Runnable>,
    starts: BTreeMap<StepRef, Start>,
    deliveries: BTreeMap<OrderKey, Delivery>,
    calls: BTreeMap<u64, OrderKey>,
    last_call: u64,
    /// Rounds that confirm leadership: the last one begun, the one under way, the last one confirmed, and whether what was
    /// proposed since wants another.
    rounds: u64,
    under_way: Option<u64>,
    confirmed: u64,
    round_wanted: bool,
    /// The round that began with the proposal of a step whose order was not looked at yet.
    begun_with: BTreeMap<StepRef, u64>,
    stuck: BTreeSet<StepRef>,
}

/// What the executor works with.
pub(super) struct Hands<'a> {
    pub now: Now,
    pub term: u64,
    pub state: &'a State,
    pub observer: &'a Observer,
    pub front_ends: &'a FrontEnds,
    pub proposer: &'a mut Proposer,
    pub out: &'a mut Vec<Effect>,
}

impl Hands<'_> {
    fn log_now(&self) -> LogTime {
        self.proposer.log_now(self.now, self.state.log_time)
    }
    fn propose(&mut self, command: Command, purpose: Purpose) {
        self.proposer.propose(self.now, self.state.log_time, None, command, purpose);
    }
}

fn pause(failures: u32) -> u64 {
    (PAUSE_MS << failures.min(6)).min(PAUSE_MS_MAX)
}

fn key(order: &Order) -> OrderKey {
    (order.id, order.index)
}

impl Executor {
    /// The state changed: recomputes what there is to do and forgets what is not among it any more.
    pub(super) fn refresh(&mut self, state: &State) {
        self.runnable = runnable(state);
        let mut steps = BTreeSet::new();
        let mut orders = BTreeSet::new();
        let mut sending = BTreeSet::new();
        for item in &self.runnable {
            match item {
                Runnable::Start { step, .. } | Runnable::Blocked { step, .. } => drop(steps.insert(*step)),
                Runnable::Send { order, step, .. } => {
                    orders.insert(key(order));
                    sending.insert(*step);
                }
            }
        }
        self.begun_with.retain(|step, _| sending.contains(step));
        // What is proposed stays until it is decided: it may have been proposed ahead.
        self.starts.retain(|step, start| start.proposed || steps.contains(step));
        self.deliveries.retain(|order, _| orders.contains(order));
        self.calls.retain(|_, order| orders.contains(order));
        self.stuck.retain(|step| state.step(*step).is_some_and(|(_, _, run)| run.stuck.is_none()));
    }

    /// Does what can be done now; the number of the read-index round that is to be begun now, if one is.
    pub(super) fn act(&mut self, hands: &mut Hands<'_>) -> Option<u64> {
        let items = std::mem::take(&mut self.runnable);
        for item in &items {
            match item {
                Runnable::Start { step, attempt, deadline_ms, host, .. } => {
                    self.round_wanted |= self.start(hands, *step, *attempt, *deadline_ms) && host.is_some();
                }
                Runnable::Blocked { step, why, deadline_ms } => self.blocked(hands, *step, why.clone(), *deadline_ms),
                Runnable::Send { order, since, deadline_ms, step, .. } => {
                    let is_own = order.id.step == step.step; // and no cancel, thaw or serve, which no proposal began
                    let begun_with = if is_own { self.begun_with.remove(step) } else { None };
                    let delivery = self.deliveries.entry(key(order)).or_insert_with(|| Delivery {
                        phase: begun_with.map_or(Phase::Wanted, Phase::Confirming),
                        failures: 0,
                        last: "no answer yet".into(),
                    });
                    if matches!(delivery.phase, Phase::Resting(until) if until <= hands.now.ms) {
                        delivery.phase = Phase::Wanted;
                    }
                    if hands.log_now().since(*since) > *deadline_ms {
                        let why = format!("{}: {}", order.action.name(), delivery.last);
                        self.say_stuck(hands, *step, why, false);
                    }
                }
            }
        }
        self.runnable = items;
        self.send_confirmed(hands);
        self.next_round()
    }

    /// Begins a round for what wants one, if none is under way: one that comes meanwhile waits for the next (S13).
    fn next_round(&mut self) -> Option<u64> {
        let (round, under_way) = (self.rounds + 1, self.under_way);
        // A round that failed, or was overtaken by a lost one, confirms nothing any more.
        let is_lost = |of: u64| of != round && under_way != Some(of);
        for delivery in self.deliveries.values_mut() {
            if delivery.phase == Phase::Wanted || matches!(delivery.phase, Phase::Confirming(of) if is_lost(of)) {
                delivery.phase = Phase::Confirming(round);
                self.round_wanted = true;
            }
        }
        if under_way.is_some() || !std::mem::take(&mut self.round_wanted) {
            return None;
        }
        self.rounds = round;
        self.under_way = Some(round);
        self.under_way
    }

    /// Proposes to start a step, if nothing speaks against it; whether it did.
    fn start(&mut self, hands: &mut Hands<'_>, step: StepRef, attempt: u32, deadline_ms: u64) -> bool {
        let first_seen = !self.starts.contains_key(&step);
        let start = self.starts.entry(step).or_default();
        if first_seen && attempt > 1 {
            start.retry_at = hands.now.ms.saturating_add(pause(attempt));
        }
        if start.proposed || start.retry_at > hands.now.ms {
            return false;
        }
        let guards = step_evidence(hands, step);
        match guard(hands.state, step, &guards) {
            Ok(()) => {
                start.proposed = true;
                start.round = self.rounds + 1;
                hands.propose(Command::StartStep { step, attempt, guards }, Purpose::Start(step));
                true
            }
            Err(why) => {
                self.blocked(hands, step, why, deadline_ms);
                false
            }
        }
    }

    fn blocked(&mut self, hands: &mut Hands<'_>, step: StepRef, why: String, deadline_ms: u64) {
        let log_now = hands.log_now();
        let start = self.starts.entry(step).or_default();
        let since = start.blocked.as_ref().map_or(log_now, |(since, _)| *since);
        start.blocked = Some((since, why.clone()));
        if log_now.since(since) > deadline_ms {
            self.say_stuck(hands, step, why, true);
        }
    }

    fn say_stuck(&mut self, hands: &mut Hands<'_>, step: StepRef, why: String, is_blocked: bool) {
        // R18: what was called stuck before its plan was aborted is said again when it is stuck in another way.
        let aborting = hands.state.plans.get(&step.plan);
        let aborting = aborting.is_some_and(|plan| matches!(plan.status, PlanStatus::Aborting { .. }));
        let known = hands.state.step(step).is_none_or(|(_, _, run)| match &run.stuck {
            Some(said) => !(aborting && is_blocked && *said != why),
            None => false,
        });
        if !known && self.stuck.insert(step) {
            hands.propose(Command::StuckStep { step, why }, Purpose::Stuck(step));
        }
    }

    /// A round confirmed that this node led after it began: orders that waited for it go out.
    pub(super) fn confirmed(&mut self, hands: &mut Hands<'_>, round: u64) {
        self.under_way = self.under_way.filter(|under_way| *under_way != round);
        self.confirmed = self.confirmed.max(round);
        self.send_confirmed(hands);
    }

    fn send_confirmed(&mut self, hands: &mut Hands<'_>) {
        let Some(cluster) = &hands.state.cluster else { return };
        for item in &self.runnable {
            let Runnable::Send { host, order, deadline_ms, step, .. } = item else { continue };
            let (Some(delivery), Some(place)) = (self.deliveries.get_mut(&key(order)), cluster.hosts.get(host)) else {
                continue;
            };
            if !matches!(delivery.phase, Phase::Confirming(round) if round <= self.confirmed) {
                continue;
            }
            if order.action == slot_types::order::Action::Destroy
                && let Err(why) = may_send(hands.state, *step, &step_evidence(hands, *step))
            {
                delivery.phase = Phase::Resting(hands.now.ms.saturating_add(PAUSE_MS_MAX));
                delivery.last = why;
                continue;
            }
            self.last_call += 1;
            delivery.phase = Phase::Sent(self.last_call);
            self.calls.insert(self.last_call, key(order));
            let budget_ms = (deadline_ms / 2).clamp(BUDGET_MS_MIN, BUDGET_MS_MAX);
            let order = Order { term: Term(hands.term), budget_ms, ..Order::clone(order) };
            tracing::debug!(order = %order.id, action = order.action.name(), %host, "sent");
            hands.out.push(Effect::Deliver {
                delivery: self.last_call,
                host: host.clone(),
                address: place.address,
                order: codec::encode(&order),
                budget_ms,
            });
        }
    }

    /// Leadership could not be confirmed.
    pub(super) fn not_confirmed(&mut self, now: Now, round: u64) {
        self.under_way = self.under_way.filter(|under_way| *under_way != round);
        for delivery in self.deliveries.values_mut().filter(|d| d.phase == Phase::Confirming(round)) {
            delivery.phase = Phase::Resting(now.ms.saturating_add(PAUSE_MS));
        }
    }

    /// An agent answered, or could not be asked.
    pub(super) fn answered(&mut self, hands: &mut Hands<'_>, call: u64, result: Result<Answer, String>) {
        let Some(order) = self.calls.remove(&call) else { return };
        let Some(delivery) = self.deliveries.get_mut(&order) else { return };
        if delivery.phase != Phase::Sent(call) {
            return;
        }
        let why = match result {
            Ok(Answer::Receipt(receipt)) if (receipt.id, receipt.index) == order => {
                tracing::debug!(order = %order.0, "answered");
                delivery.phase = Phase::Recording;
                let command = Command::FinishStep { id: receipt.id, outcome: receipt.outcome };
                hands.propose(command.clone(), Purpose::Finish(order.0, order.1));
                return self.propose_ahead(hands, order.0, command);
            }
            Ok(Answer::Receipt(receipt)) => format!("the agent answered for {} instead", receipt.id),
            Ok(Answer::NotYet { why } | Answer::Refused { why }) | Err(why) => why,
        };
        tracing::debug!(order = %order.0, "not done yet: {why}");
        delivery.phase = Phase::Resting(hands.now.ms.saturating_add(pause(delivery.failures)));
        delivery.failures += 1;
        delivery.last = why;
    }

    /// Proposes the steps that follow at once when `finish` is applied, so that they share its way through the log: while
    /// a master is frozen every round trip counts. `apply` decides as ever; it refuses them if `finish` is not applied.
    fn propose_ahead(&mut self, hands: &mut Hands<'_>, id: OrderId, finish: Command) {
        let mut ahead = sketch(hands.state, id.plan);
        let mut command = finish;
        loop {
            let index = ahead.applied.next();
            let log_time = hands.log_now();
            let proposal = Proposal { request: None, log_time, wall: hands.now.wall, command };
            if let Applied::Refused(_) = apply(&mut ahead, index, Term(hands.term), &proposal) {
                return;
            }
            let next = runnable(&ahead).into_iter().find_map(|item| match item {
                Runnable::Start { step, attempt: 1, host, .. } if step.plan == id.plan && step.task == id.task => {
                    Some((step, host))
                }
                _ => None,
            });
            let Some((step, host)) = next else { return };
            let guards = step_evidence(hands, step);
            let start = self.starts.entry(step).or_default();
            if start.proposed || guard(&ahead, step, &guards).is_err() {
                return;
            }
            start.proposed = true;
            start.round = self.rounds + 1;
            self.round_wanted |= host.is_some();
            command = Command::StartStep { step, attempt: 1, guards };
            hands.propose(command.clone(), Purpose::Start(step));
            if host.is_some() {
                return;
            }
        }
    }

    /// A step this executor proposed to start was decided on; `None` when the proposal was lost.
    pub(super) fn start_decided(&mut self, hands: &mut Hands<'_>, step: StepRef, answer: Option<&Applied>) {
        let Some(start) = self.starts.get_mut(&step) else { return };
        start.proposed = false;
        let why = match answer {
            Some(Applied::Refused(refused)) => refused.to_string(),
            Some(_) => {
                self.begun_with.insert(step, start.round);
                self.starts.remove(&step);
                return;
            }
            None => "the proposal was lost".into(),
        };
        start.retry_at = hands.now.ms.saturating_add(pause(start.failures));
        start.failures += 1;
        tracing::debug!(?step, "not started: {why}");
        self.blocked(hands, step, why, deadline_of(hands.state, step));
    }

    /// A word this executor proposed to record was refused or lost: the order is asked about again.
    pub(super) fn not_recorded(&mut self, now: Now, order: OrderKey, why: String) {
        if let Some(delivery) = self.deliveries.get_mut(&order) {
            tracing::warn!(order = %order.0, "its outcome was not recorded: {why}");
            delivery.phase = Phase::Resting(now.ms.saturating_add(PAUSE_MS_MAX));
            delivery.last = why;
        }
    }

    /// A proposal to call a step stuck was refused or lost.
    pub(super) fn stuck_decided(&mut self, step: StepRef, accepted: bool) {
        if !accepted {
            self.stuck.remove(&step);
        }
    }

    /// When [`Self::act`] may have something to do, if nothing happens before.
    pub(super) fn next_deadline(&self, now: Now) -> Option<u64> {
        let resting = self.deliveries.values().filter_map(|d| match d.phase {
            Phase::Resting(until) => Some(until),
            _ => None,
        });
        let starting = self.starts.values().filter(|s| s.retry_at > now.ms).map(|s| s.retry_at);
        resting.chain(starting).min()
    }
}

/// The state as far as one plan's next steps depend on it: no audit, no sessions, no other plan.
fn sketch(state: &State, plan: PlanId) -> State {
    State {
        cluster: state.cluster.clone(),
        fleet_version: state.fleet_version,
        revision: state.revision,
        applied: state.applied,
        term: state.term,
        log_time: state.log_time,
        plans: state.plans.get(&plan).map(|record| (plan, record.clone())).into_iter().collect(),
        last_plan: state.last_plan,
        last_loss_case: state.last_loss_case,
        store_claims: state.store_claims.clone(),
        host_claims: state.host_claims.clone(),
        slot_claims: state.slot_claims.clone(),
        ..State::default()
    }
}

fn deadline_of(state: &State, step: StepRef) -> u64 {
    let task = state.plans.get(&step.plan).and_then(|p| p.plan.tasks.get(usize::from(step.task)));
    task.and_then(|t| t.steps.get(usize::from(step.step))).map_or(BLOCKED_MS, |s| s.deadline_ms)
}

/// What the guards of a step may ask about: the copies of its store, wherever they are, or the hosts of its task.
fn step_evidence(hands: &Hands<'_>, step: StepRef) -> Evidence {
    let (Some(cluster), Some(record)) = (&hands.state.cluster, hands.state.plans.get(&step.plan)) else {
        return Evidence::default();
    };
    let Some(task) = record.plan.tasks.get(usize::from(step.task)) else { return Evidence::default() };
    let (hosts, slots) = touched(cluster, task);
    let slots = task.store.is_some().then_some(&slots);
    let mut evidence = hands.observer.evidence(cluster, hands.now, hands.log_now(), Some(&hosts), slots);
    if task.steps.get(usize::from(step.step)).is_some_and(|step| step.kind == StepKind::RouteServed) {
        evidence.front_ends = hands.front_ends.evidence(hands.now);
    }
    evidence
}

fn touched(cluster: &Cluster, task: &Task) -> (BTreeSet<HostName>, BTreeSet<SlotId>) {
    let mut slots = BTreeSet::new();
    let mut hosts = BTreeSet::new();
    if let Some(store) = task.store.as_ref().and_then(|s| cluster.stores.get(s)) {
        slots.extend(store.copies.keys().chain(store.possible_masters.keys()).cloned());
    }
    for place in task.steps.iter().filter_map(|s| s.at.as_ref()) {
        hosts.insert(place.host().clone());
        if let Place::Slot(slot) = place {
            slots.insert(slot.clone());
        }
    }
    if let TaskKind::FailOver { from, waived, unreachable, .. } = &task.kind {
        slots.extend(waived.iter().chain(unreachable).chain([from]).cloned());
    }
    if let TaskKind::HostState { host, .. } = &task.kind {
        hosts.insert(host.clone());
    }
    hosts.extend(slots.iter().map(|s| s.host.clone()));
    (hosts, slots)
}

/// What the guards of an approval may ask about: every agent, the copies of the stores in it, and all of a host whose
/// state it changes (R14).
pub(super) fn plan_slots(cluster: &Cluster, plan: &Plan) -> BTreeSet<SlotId> {
    let mut all = BTreeSet::new();
    for task in &plan.tasks {
        all.extend(touched(cluster, task).1);
        if let TaskKind::HostState { host, .. } = &task.kind {
            let numbers = cluster.hosts.get(host).into_iter().flat_map(|h| h.slots.keys());
            all.extend(numbers.map(|n| SlotId::new(host.clone(), *n)));
        }
    }
    all
}
