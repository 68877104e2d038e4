//! The coordinator without I/O: raft, the replicated state, and what a leader does with them.
//!
//! What always holds:
//!
//! - [`CoordinatorCore::step`] is the only way in; the same inputs give the same effects. No clock, disk, network or
//!   randomness is read here.
//! - State changes only by applying committed entries, in order, each once. An entry that can't be read ends the process
//!   instead of being skipped (R20).
//! - What only a leader does hangs on [`Leading`], which ends with the term it began in: nothing observed, proposed or
//!   delivered is carried over.

mod adopt;
mod control;
mod entry;
mod everyday;
mod executor;
mod front_ends;
mod io;
mod lead;
mod looks;
mod observer;
mod proposer;
pub mod restore;
#[cfg(test)]
mod samples;
mod share;
mod studies;
mod study;
mod verify;
mod views;

pub use entry::Entry;
pub use io::{ControlRequest, Effect, Event, Failure, Now, Reply};
pub use study::{Found, Study};

use self::control::Question;
use self::everyday::Everyday;
use self::executor::{Executor, Hands};
use self::front_ends::FrontEnds;
use self::looks::Looks;
use self::observer::Observer;
use self::proposer::{Proposer, Purpose};
use self::studies::Studies;
use self::verify::Verifier;
use core::net::SocketAddr;
use slot_machine::apply::apply;
use slot_machine::command::{Answer, Command, StepRef};
use slot_machine::state::State;
use slot_planted::planted;
use slot_raft::{CommittedEntry, Effects, Input, RaftConfig, RaftCore, RaftError, Restored};
use slot_types::cluster::Route;
use slot_types::codec::{self, CodecError};
use slot_types::ids::*;
use slot_types::plan::StepKind;
use std::collections::BTreeMap;

/// Applied entries after which a shipped coordinator takes a snapshot.
pub const SNAPSHOT_EVERY: u64 = 2_000;
/// At every such index the state's hash is logged, so that nodes can be compared (S14).
const HASH_EVERY: u64 = 256;
/// A request that came before the new leader was ready waits at most this long.
const PARKED_MS: u64 = 5_000;
/// Requests that may wait so; further ones are sent away.
const PARKED_MAX: usize = 256;
/// Without other deadlines the core wants to be called at least this often.
const IDLE_MS: u64 = 500;

/// Who this node is, and whose company it keeps.
#[derive(Clone, Debug)]
pub struct CoreConfig {
    /// The cluster's name.
    pub cluster: ClusterName,
    /// The cluster's identity.
    pub cluster_id: ClusterId,
    /// This node's name.
    pub node: CoordinatorName,
    /// Raft's part.
    pub raft: RaftConfig,
    /// Every node by its raft id, with its address.
    pub members: BTreeMap<u64, (CoordinatorName, SocketAddr)>,
    /// Drawn at random at every start of the process.
    pub life: [u8; 16],
    /// Moves election timeouts only.
    pub seed: u64,
    /// Applied entries after which a snapshot is taken: [`SNAPSHOT_EVERY`], or fewer to see many in a simulation.
    pub snapshot_every: u64,
}

/// Why a node could not start from what its disk holds.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The raft state can't be used.
    #[error(transparent)]
    Raft(#[from] RaftError),
    /// The snapshot can't be read.
    #[error("reading the state from the newest snapshot: {0}")]
    Snapshot(#[from] CodecError),
}

/// What exists only while this node leads, in one term.
struct Leading {
    term: u64,
    /// The entry that announced this leadership is applied: the state is current, requests are served.
    ready: bool,
    observer: Observer,
    executor: Executor,
    everyday: Everyday,
    looks: Looks,
    verifier: Verifier,
    front_ends: FrontEnds,
    /// When a host was last refused to join in the log.
    turned_away: BTreeMap<HostName, u64>,
    watched: BTreeMap<HostName, SocketAddr>,
}

struct Parked {
    token: u64,
    who: OperatorName,
    request: ControlRequest,
    until: u64,
}

/// What a read-index round was asked for.
enum Read {
    /// To send orders; the term in which the round began, and the executor's number of it: each leadership counts its own.
    Orders(u64, u64),
    /// To answer a question.
    Answer { token: u64, question: Box<Question> },
}

/// See the module's documentation.
pub struct CoordinatorCore {
    config: CoreConfig,
    raft: RaftCore,
    state: State,
    now: Now,
    proposer: Proposer,
    out: Vec<Effect>,
    lead: Option<Box<Leading>>,
    reads: BTreeMap<u64, Read>,
    last_read: u64,
    parked: Vec<Parked>,
    studies: Studies,
    changed: bool,
    routes: BTreeMap<StoreName, Route>,
    snapshot_at: LogIndex,
    heard: BTreeMap<u64, u64>,
}

impl CoordinatorCore {
    /// A node from what its disk holds.
    pub fn new(config: CoreConfig, restored: Restored, now: Now) -> Result<Self, StartError> {
        let data = restored.snapshot.as_ref().map(|s| s.data.as_slice()).unwrap_or_default();
        let state = restore(data)?;
        let raft = RaftCore::new(config.raft.clone(), restored, config.seed)?;
        let snapshot_at = state.applied;
        Ok(Self {
            proposer: Proposer::new(config.life),
            config,
            raft,
            state,
            now,
            out: Vec::new(),
            lead: None,
            reads: BTreeMap::new(),
            last_read: 0,
            parked: Vec::new(),
            studies: Studies::default(),
            changed: true,
            routes: BTreeMap::new(),
            snapshot_at,
            heard: BTreeMap::new(),
        })
    }

    /// Takes one event at a moment, answers what is to be done, in order.
    pub fn step(&mut self, now: Now, event: Event) -> Vec<Effect> {
        self.now = Now { ms: now.ms.max(self.now.ms), wall: now.wall };
        self.take(event);
        loop {
            while let Some(inputs) = self.proposer.next_inputs() {
                let effects = self.raft.step_all(self.now.ms, inputs);
                self.carry_out(effects);
            }
            self.lead_on();
            if self.proposer.inputs.is_empty() {
                break;
            }
        }
        std::mem::take(&mut self.out)
    }

    /// When `step` must be called next, if nothing happens before.
    pub fn next_deadline(&self) -> u64 {
        let lead = self.lead.as_ref();
        let executor = lead.and_then(|l| l.executor.next_deadline(self.now));
        let front_ends = lead.and_then(|l| l.front_ends.next_deadline(self.now));
        let idle = self.now.ms.saturating_add(IDLE_MS);
        self.raft.next_deadline().min(executor.unwrap_or(idle)).min(front_ends.unwrap_or(idle)).min(idle)
    }

    /// The replicated state, as applied here.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Whether this node believes that it leads.
    pub fn is_leader(&self) -> bool {
        self.raft.is_leader()
    }

    /// The leader, as far as known here.
    pub fn leader(&self) -> Option<&CoordinatorName> {
        self.raft.leader().and_then(|id| self.config.members.get(&id)).map(|(name, _)| name)
    }

    fn take(&mut self, event: Event) {
        let input = match event {
            Event::Tick => Input::Tick,
            Event::Raft(message) => {
                self.heard.insert(message.from, self.now.ms);
                Input::Message(message)
            }
            Event::Persisted { seq } => Input::Persisted { seq },
            Event::PeerUnreachable { peer } => Input::ReportUnreachable { peer },
            Event::SnapshotSent { peer, ok } => Input::ReportSnapshot { peer, ok },
            Event::Request { token, who, request } => {
                self.request(token, who, request);
                Input::Tick
            }
            Event::Join { token, guest } => {
                self.join(token, guest);
                Input::Tick
            }
            Event::AgentReport { host, report } => {
                self.agent_report(&host, *report);
                Input::Tick
            }
            Event::AgentAnswer { delivery, result } => {
                self.with_hands(|executor, hands| executor.answered(hands, delivery, result));
                Input::Tick
            }
            Event::Looked { look, result } => {
                self.looked(look, result);
                Input::Tick
            }
            Event::Studied { number, found } => {
                self.studied(number, found);
                Input::Tick
            }
            Event::FrontEndAnswer { front_end, result } => {
                if let (Some(lead), Some(cluster)) = (self.lead.as_deref_mut(), &self.state.cluster) {
                    lead.front_ends.answered(cluster, &front_end, result, self.now);
                }
                Input::Tick
            }
            Event::AgentLost { host, why } => {
                if let Some(lead) = &mut self.lead {
                    lead.observer.lost(host, why);
                }
                Input::Tick
            }
        };
        self.proposer.inputs.push_front(input);
    }

    fn carry_out(&mut self, effects: Effects) {
        if let Some(batch) = effects.persist {
            self.out.push(Effect::Persist(batch));
        }
        self.out.extend(effects.send.into_iter().map(|(peer, message)| Effect::Send { peer, message }));
        if let Some(snapshot) = effects.install_snapshot {
            match restore(&snapshot.data) {
                Ok(state) => {
                    self.state = state;
                    self.snapshot_at = LogIndex(snapshot.index);
                    self.changed = true;
                }
                Err(error) => self.out.push(Effect::Die(format!("installing the leader's snapshot: {error}"))),
            }
        }
        for entry in effects.committed {
            self.apply(entry);
        }
        if let Some(role) = effects.role {
            self.role(role);
        }
        for (token, _) in effects.reads {
            self.read_confirmed(token);
        }
        for (token, _) in effects.read_failed {
            self.read_failed(token);
        }
        for (counter, _) in effects.proposals_dropped {
            if let Some(purpose) = self.proposer.dropped(counter) {
                self.proposal_lost(purpose);
            }
        }
        self.snapshot_if_due();
    }

    fn apply(&mut self, committed: CommittedEntry) {
        let mut entry: Entry = match codec::decode(&committed.data) {
            Ok(entry) => entry,
            // R20: an unknown command stops the process instead of being skipped.
            Err(error) => {
                let text = format!("applying log entry {}: {error}", committed.index);
                return self.out.push(Effect::Die(text));
            }
        };
        if self.is_skipped(&entry.proposal.command) {
            return;
        }
        if planted("s14-own-clock-in-apply") {
            entry.proposal.wall = self.now.wall;
        }
        let index = LogIndex(committed.index);
        let answer = apply(&mut self.state, index, Term(committed.term), &entry.proposal);
        self.changed = true;
        if committed.index.is_multiple_of(HASH_EVERY) && tracing::enabled!(tracing::Level::DEBUG) {
            tracing::debug!(index = committed.index, hash = self.state.hash().hex(), "state"); // S14
        }
        if let Some(purpose) = self.proposer.committed(&entry) {
            self.failpoint(&entry.proposal.command, &answer);
            self.decided(purpose, answer);
        }
    }

    /// Whether the planted bug `r20-unknown-command-skipped` is on and this is the node that still runs the older build.
    fn is_skipped(&self, command: &Command) -> bool {
        let newer = matches!(
            command,
            Command::SignOfLife { .. } | Command::AsideSeen { .. } | Command::RaiseFeatureLevel { .. }
        );
        newer && self.config.raft.node_id == 1 && planted("r20-unknown-command-skipped")
    }

    /// A named place for tests: this leader's own step is committed, and nothing has followed from it yet.
    fn failpoint(&mut self, command: &Command, answer: &Answer) {
        let (verb, at) = match command {
            Command::StartStep { step, .. } => ("started", *step),
            Command::FinishStep { id, .. } => ("finished", StepRef { plan: id.plan, task: id.task, step: id.step }),
            _ => return,
        };
        let task = self.state.plans.get(&at.plan).and_then(|p| p.plan.tasks.get(usize::from(at.task)));
        if let (Some(step), false) =
            (task.and_then(|t| t.steps.get(usize::from(at.step))), matches!(answer, Answer::Refused(_)))
        {
            let kind = kebab(step.kind);
            tracing::debug!(plan = %at.plan, task = at.task, step = kind, "{verb}");
            self.out.push(Effect::Failpoint(format!("slotd-{verb}-{kind}")));
        }
    }

    fn decided(&mut self, purpose: Purpose, answer: Answer) {
        if let Answer::Refused(refused) = &answer {
            tracing::debug!(?purpose, "refused: {refused}");
        }
        match purpose {
            Purpose::NewLeader => self.announced(),
            Purpose::Found => self.founded(&answer),
            Purpose::Request(token) => self.reply_answer(token, answer),
            Purpose::Start(step) => {
                self.with_hands(|executor, hands| executor.start_decided(hands, step, Some(&answer)));
            }
            Purpose::Finish(id, index) => {
                if let (Answer::Refused(refused), Some(lead)) = (&answer, &mut self.lead) {
                    lead.executor.not_recorded(self.now, (id, index), refused.to_string());
                }
            }
            Purpose::Stuck(step) => {
                if let Some(lead) = &mut self.lead {
                    lead.executor.stuck_decided(step, !matches!(answer, Answer::Refused(_)));
                }
            }
            Purpose::HostSeen(_)
            | Purpose::SignOfLife(_)
            | Purpose::Aside(_)
            | Purpose::Adopt(_)
            | Purpose::ByHand(_)
            | Purpose::Verified(_) => {}
            Purpose::Everyday(store) => {
                if let Some(lead) = &mut self.lead {
                    lead.everyday.decided(&store);
                }
            }
        }
    }

    fn proposal_lost(&mut self, purpose: Purpose) {
        match purpose {
            Purpose::Request(token) => {
                let leader = self.other_leader();
                self.reply(token, Err(Failure::Interrupted { leader }));
            }
            Purpose::Start(step) => self.with_hands(|executor, hands| executor.start_decided(hands, step, None)),
            Purpose::Finish(id, index) => {
                if let Some(lead) = &mut self.lead {
                    lead.executor.not_recorded(self.now, (id, index), "the proposal was lost".into());
                }
            }
            Purpose::Stuck(step) => {
                if let Some(lead) = &mut self.lead {
                    lead.executor.stuck_decided(step, false);
                }
            }
            Purpose::Everyday(store) => {
                if let Some(lead) = &mut self.lead {
                    lead.everyday.decided(&store);
                }
            }
            // Proposed again with the next report, or by the next leader.
            Purpose::NewLeader
            | Purpose::Found
            | Purpose::HostSeen(_)
            | Purpose::SignOfLife(_)
            | Purpose::Aside(_)
            | Purpose::Adopt(_)
            | Purpose::ByHand(_)
            | Purpose::Verified(_) => {}
        }
    }

    /// What follows from a changed state or from passing time.
    fn lead_on(&mut self) {
        if self.changed {
            self.out.push(Effect::Applied(self.state.revision));
            self.routes_changed();
        }
        let changed = std::mem::take(&mut self.changed);
        self.expire_parked();
        let Some(lead) = &mut self.lead else { return };
        if !lead.ready {
            return;
        }
        if changed {
            lead.executor.refresh(&self.state);
            lead.front_ends.refresh(&self.state, self.now);
            self.watch_agents();
        }
        if let (Some(lead), Some(cluster)) = (&mut self.lead, &self.state.cluster) {
            // R10: while the state is an old one, front ends keep the map they have.
            if self.state.restoring.is_none() {
                lead.front_ends.act(cluster, self.now, &mut self.out);
            }
        }
        let mut confirm = None;
        self.with_hands(|executor, hands| confirm = executor.act(hands));
        match confirm {
            Some(round) if planted("s15-deposed-leader-sends") => {
                self.with_hands(|executor, hands| executor.confirmed(hands, round));
            }
            Some(round) => {
                let term = self.lead.as_ref().map_or(0, |lead| lead.term);
                self.read_index(Read::Orders(term, round));
            }
            None => {}
        }
        if self.lead.as_mut().is_some_and(|l| l.everyday.round_due(self.now)) {
            self.everyday(None);
        }
        let log_now = self.log_now();
        if let Some(lead) = self.lead.as_deref_mut() {
            self.out.extend(lead.looks.due(&self.state, &lead.observer, self.now, log_now));
            let asks = lead.verifier.due(&self.state, &lead.observer, self.now, log_now);
            self.out.extend(lead.looks.verify(self.state.cluster.as_ref(), asks, self.now, log_now));
        }
    }

    fn with_hands(&mut self, work: impl FnOnce(&mut Executor, &mut Hands<'_>)) {
        let Some(lead) = self.lead.as_deref_mut() else { return };
        let mut hands = Hands {
            now: self.now,
            term: lead.term,
            state: &self.state,
            observer: &lead.observer,
            front_ends: &lead.front_ends,
            proposer: &mut self.proposer,
            out: &mut self.out,
        };
        work(&mut lead.executor, &mut hands);
    }

    fn read_index(&mut self, read: Read) {
        self.last_read += 1;
        self.reads.insert(self.last_read, read);
        self.proposer.inputs.push_back(Input::ReadIndex { token: self.last_read });
    }

    fn read_confirmed(&mut self, token: u64) {
        match self.reads.remove(&token) {
            // S15: what confirmed an earlier leadership of this node says nothing of this one.
            Some(Read::Orders(term, _)) if self.lead.as_ref().is_none_or(|lead| lead.term != term) => {}
            Some(Read::Orders(_, round)) => self.with_hands(|executor, hands| executor.confirmed(hands, round)),
            Some(Read::Answer { token, question }) => self.answer(token, *question, true),
            None => {}
        }
    }

    fn read_failed(&mut self, token: u64) {
        match self.reads.remove(&token) {
            Some(Read::Orders(term, round)) => {
                if let Some(lead) = self.lead.as_mut().filter(|lead| lead.term == term) {
                    lead.executor.not_confirmed(self.now, round);
                }
            }
            Some(Read::Answer { token, .. }) => {
                let leader = self.other_leader();
                self.reply(token, Err(Failure::NotLeader { leader }));
            }
            None => {}
        }
    }

    fn snapshot_if_due(&mut self) {
        if self.state.applied.0.saturating_sub(self.snapshot_at.0) < self.config.snapshot_every {
            return;
        }
        self.snapshot_at = self.state.applied;
        let effects = self
            .raft
            .step(self.now.ms, Input::Compact { index: self.state.applied.0, snapshot_data: self.state.snapshot() });
        self.carry_out(effects);
    }

    fn routes_changed(&mut self) {
        let stores = self.state.cluster.iter().flat_map(|c| c.stores.iter());
        let routes = || stores.clone().filter_map(|(name, store)| store.route.as_ref().map(|route| (name, route)));
        if !routes().eq(self.routes.iter()) {
            self.routes = routes().map(|(name, route)| (name.clone(), route.clone())).collect();
            self.out.push(Effect::RoutesChanged);
        }
    }

    fn expire_parked(&mut self) {
        let leads = self.raft.is_leader();
        let now = self.now.ms;
        let (keep, gone) = std::mem::take(&mut self.parked).into_iter().partition(|p| leads && p.until > now);
        self.parked = keep;
        let leader = self.other_leader();
        for parked in gone {
            self.reply(parked.token, Err(Failure::NotLeader { leader: leader.clone() }));
        }
    }

    fn log_now(&self) -> LogTime {
        self.proposer.log_now(self.now, self.state.log_time)
    }

    fn propose(&mut self, command: Command, purpose: Purpose) {
        self.proposer.propose(self.now, self.state.log_time, None, command, purpose);
    }

    fn reply(&mut self, token: u64, reply: Result<Reply, Failure>) {
        self.out.push(Effect::Reply { token, reply });
    }

    /// Whom to ask instead of this node.
    fn other_leader(&self) -> Option<CoordinatorName> {
        self.leader().filter(|name| **name != self.config.node).cloned()
    }
}

fn restore(data: &[u8]) -> Result<State, CodecError> {
    // A new group begins with an empty snapshot, which every first voter is given alike.
    if data.is_empty() { Ok(State::default()) } else { State::restore(data) }
}

fn kebab(kind: StepKind) -> &'static str {
    match kind {
        StepKind::Provision => "provision",
        StepKind::Count => "count",
        StepKind::Destroy => "destroy",
        StepKind::Freeze => "freeze",
        StepKind::CatchUp => "catch-up",
        StepKind::CommitEpoch => "commit-epoch",
        StepKind::Demote => "demote",
        StepKind::Raise => "raise",
        StepKind::Feed => "feed",
        StepKind::Promote => "promote",
        StepKind::Repoint => "repoint",
        StepKind::Follow => "follow",
        StepKind::Canary => "canary",
        StepKind::StartMaster => "start-master",
        StepKind::Stop => "stop",
        StepKind::ConfirmStopped => "confirm-stopped",
        StepKind::DeclareHost => "declare-host",
        StepKind::ListStranded => "list-stranded",
        StepKind::Reinject => "reinject",
        StepKind::CloseLossCase => "close-loss-case",
        StepKind::ChangeFleet => "change-fleet",
        StepKind::RetireStore => "retire-store",
        StepKind::FenceHost => "fence-host",
        StepKind::RouteServed => "route-served",
    }
}
