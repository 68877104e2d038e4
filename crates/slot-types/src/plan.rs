//! Intents, plans, tasks and steps.
//!
//! What always holds: a plan is immutable; its canonical bytes, and nothing else, are what is recorded, hashed, shown and
//! approved (R15). It leaves no choice to the executor: every slot and epoch is named; only tips, which no one can know
//! before a demote, are filled in while it runs. Tasks are about one store or one host; a fault in one stops no other (L2).

mod budget;

pub use budget::Budget;

use crate::cluster::*;
use crate::codec::{self, Versioned};
use crate::evidence::Evidence;
use crate::fence::SwitchOff;
use crate::ids::*;
use crate::position::Digest;
use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What an operator wants, or, for the last four, what the coordinator proposes by itself and needs no approval for.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub enum Intent {
    /// Make the fleet as this file says.
    Apply(Box<FleetSpec>),
    /// Masters off, replicas stopped, safe to switch off.
    DrainHost(HostName),
    /// Masters off, and every copy built elsewhere before it is destroyed here: the host ends in `Empty`.
    EmptyHost(HostName),
    /// Several hosts drained as one: no master goes from one of them to another.
    DrainHosts(BTreeSet<HostName>),
    /// Several hosts emptied as one: no copy goes from one of them to another.
    EmptyHosts(BTreeSet<HostName>),
    /// Start the replicas again, hand the same masters back.
    UndrainHost(HostName),
    /// Another master for the store on this slot; planned if the master is well, else unplanned.
    FailOverSlot {
        /// The slot whose master role ends.
        slot: SlotId,
        /// The slot that should get it.
        to: Option<SlotId>,
    },
    /// Another master for this store, wherever the present one is.
    FailOverStore {
        /// The store.
        store: StoreName,
        /// The slot that should get it.
        to: Option<SlotId>,
    },
    /// One sheet for every master of a dead host; of those, the stores that need the fewest people (S5).
    FailOverHost(HostName),
    /// The stores of that sheet whose loss is of these classes.
    FailOverClasses {
        /// The host.
        host: HostName,
        /// The classes.
        classes: BTreeSet<LossClass>,
    },
    /// Build the copy on this slot on another one, then destroy it here; a master goes along by a hand-over.
    MoveCopy {
        /// From.
        slot: SlotId,
        /// To; chosen when not given.
        to: Option<SlotId>,
    },
    /// As many whole copies as each store's line in the cluster file asks for: missing ones built, surplus ones destroyed.
    Rebuild(Scope),
    /// Hosts even: copies moved, masters handed over, as far as this goes.
    Rebalance(Budget),
    /// An empty host is gone for good.
    RetireHost(HostName),
    /// Settle a loss case: put its records into the master, or give them up by name; then the copy follows again.
    SettleLoss {
        /// Which.
        case: LossCaseId,
        /// How.
        how: Settlement,
    },
    /// Everyday: start the same master at the same epoch again (R25).
    StartMaster {
        /// The slot.
        slot: SlotId,
    },
    /// Everyday: a replica follows its master again (R25, R16).
    Follow {
        /// The slot.
        slot: SlotId,
    },
    /// The standing Demote of a possible master that is back (R8), then the exact list of what it holds alone.
    FenceReturned {
        /// The slot.
        slot: SlotId,
    },
    /// Everyday: a copy whose building was interrupted holds everything by now and counts from here on (R16).
    CountCopy {
        /// The slot.
        slot: SlotId,
    },
    /// A store is gone for good: nobody serves it from its first step on, and all its copies are destroyed.
    RetireStore(StoreName),
    /// Bring back what another plan has done, as far as it can be brought back (R18).
    Undo(Box<Reverse>),
    /// Copies and masters onto these hosts, up to their fair share: they came back or are new.
    Fill {
        /// The hosts.
        hosts: BTreeSet<HostName>,
        /// How far it goes.
        budget: Budget,
    },
}

/// What a plan has done, turned round.
#[derive(Clone, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Reverse {
    /// The plan that is undone; all else is read from its record.
    pub plan: PlanId,
    /// Stores whose master it moved, each with the slot it was on before.
    pub masters: BTreeMap<StoreName, SlotId>,
    /// Replicas that it stopped.
    pub started: BTreeMap<SlotId, StoreName>,
    /// Hosts that it declared Draining or Maintenance.
    pub active: BTreeSet<HostName>,
    /// Tasks whose work stays as it is: this is where undo ends.
    pub stays: u32,
}

/// Which stores a rebuild is about.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub enum Scope {
    /// This one.
    Store(StoreName),
    /// Those with a copy on this host.
    Host(HostName),
    /// All.
    All,
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(store) => write!(f, "{store}"),
            Self::Host(host) => write!(f, "the stores of {host}"),
            Self::All => f.write_str("all stores"),
        }
    }
}

impl Intent {
    /// The hosts that are safe to switch off once it is fulfilled.
    pub fn drained(&self) -> Vec<&HostName> {
        match self {
            Self::DrainHost(host) | Self::EmptyHost(host) => vec![host],
            Self::DrainHosts(hosts) | Self::EmptyHosts(hosts) => hosts.iter().collect(),
            _ => Vec::new(),
        }
    }
    /// Whether the coordinator may carry it out without a person's yes (R25, R16 and R8's standing order; nothing else).
    pub fn is_everyday(&self) -> bool {
        matches!(
            self,
            Self::StartMaster { .. } | Self::Follow { .. } | Self::FenceReturned { .. } | Self::CountCopy { .. }
        )
    }
}

impl fmt::Display for Intent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Apply(_) => write!(f, "apply cluster file"),
            Self::DrainHost(host) => write!(f, "drain {host}"),
            Self::DrainHosts(hosts) => write!(f, "drain {}", spaced(hosts)),
            Self::EmptyHosts(hosts) => write!(f, "empty {}", spaced(hosts)),
            Self::UndrainHost(host) => write!(f, "undrain {host}"),
            Self::FailOverSlot { slot, .. } => write!(f, "fail over {slot}"),
            Self::FailOverStore { store, .. } => write!(f, "fail over {store}"),
            Self::FailOverHost(host) => write!(f, "fail over host {host}"),
            Self::FailOverClasses { host, classes } => {
                let classes: Vec<String> = classes.iter().map(|class| class.word().to_string()).collect();
                write!(f, "fail over host {host}, {}", classes.join(" and "))
            }
            Self::SettleLoss { case, how: Settlement::Reinject } => write!(f, "reinject {case}"),
            Self::SettleLoss { case, how: Settlement::Discard } => write!(f, "discard {case}"),
            Self::StartMaster { slot } => write!(f, "start master {slot}"),
            Self::Follow { slot } => write!(f, "follow {slot}"),
            Self::FenceReturned { slot } => write!(f, "fence returned {slot}"),
            Self::CountCopy { slot } => write!(f, "count {slot}"),
            Self::EmptyHost(host) => write!(f, "empty {host}"),
            Self::MoveCopy { slot, to: Some(to) } => write!(f, "move {slot} to {to}"),
            Self::MoveCopy { slot, to: None } => write!(f, "move {slot}"),
            Self::Rebuild(scope) => write!(f, "rebuild {scope}"),
            Self::Rebalance(budget) => write!(f, "rebalance{budget}"),
            Self::Fill { hosts, budget } => write!(f, "fill {}{budget}", spaced(hosts)),
            Self::RetireHost(host) => write!(f, "retire {host}"),
            Self::RetireStore(store) => write!(f, "retire {store}"),
            Self::Undo(reverse) => write!(f, "undo {}", reverse.plan),
        }
    }
}

fn spaced(hosts: &BTreeSet<HostName>) -> String {
    hosts.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

/// How a loss case is settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub enum Settlement {
    /// Append every stranded record to the present master under its own id.
    Reinject,
    /// Keep them aside on the old slot and give them up by name.
    Discard,
}

/// What a task is about.
#[expect(clippy::large_enum_variant, reason = "a plan holds few tasks, and most that are held in number are failovers")]
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub enum TaskKind {
    /// Add, change or re-address hosts, slots and policy as the file says.
    Fleet,
    /// Make a store: provision its copies, promote the first master.
    CreateStore {
        /// The spec.
        spec: StoreSpec,
        /// Its copies, each with the generation it will have.
        copies: BTreeMap<SlotId, CopyGeneration>,
        /// Which becomes master.
        master: SlotId,
    },
    /// A planned hand-over.
    HandOver {
        /// From.
        from: SlotId,
        /// To.
        to: SlotId,
    },
    /// An unplanned failover.
    FailOver {
        /// The master that is gone.
        from: SlotId,
        /// The candidate.
        to: SlotId,
        /// How `from`, and every other possible master in `waived`, is kept from acknowledging.
        fence: FenceLevel,
        /// Possible masters that are not going to be demoted, named (R3, R28).
        waived: BTreeSet<SlotId>,
        /// Copies that are not raised because nothing answers there, named (R16).
        unreachable: BTreeSet<SlotId>,
        /// The copy that is furthest and feeds `to`, when that is not `to` itself.
        feed: Option<SlotId>,
        /// What may be lost.
        loss: LossStatement,
    },
    /// Stop a replica cleanly.
    StopCopy {
        /// Where.
        slot: SlotId,
    },
    /// Build one more copy of a store, or go on with one that was begun; it counts once it holds everything (R16).
    BuildCopy {
        /// Where.
        slot: SlotId,
        /// Which generation it has (R11).
        generation: CopyGeneration,
        /// The copy that a later task of this plan destroys: the new one may share its domain until then (S9).
        replaces: Option<SlotId>,
    },
    /// A copy that was begun by an earlier plan holds everything by now.
    CountCopy {
        /// Where.
        slot: SlotId,
    },
    /// Destroy a copy that is one too many (S9).
    DestroyCopy {
        /// Where.
        slot: SlotId,
        /// Of which generation (R11).
        generation: CopyGeneration,
    },
    /// Start a stopped, dead or lagging-behind replica: it follows the present master.
    StartCopy {
        /// Where.
        slot: SlotId,
    },
    /// Start the same master at the same epoch (R25).
    StartMaster {
        /// Where.
        slot: SlotId,
    },
    /// Demote a possible master that is back and list what it holds alone.
    FenceReturned {
        /// Where.
        slot: SlotId,
    },
    /// Settle a loss case.
    SettleLoss {
        /// Which.
        case: LossCaseId,
        /// Where its records are.
        slot: SlotId,
        /// How.
        how: Settlement,
    },
    /// Change a host's declared state.
    HostState {
        /// Which.
        host: HostName,
        /// To what.
        to: HostState,
    },
    /// End a store: no route, no master, and the one it had demoted at an epoch that is nobody's, so that nothing is
    /// acknowledged any more when the first copy is destroyed.
    RetireStore {
        /// Who is, or may still be, its master.
        master: SlotId,
    },
}

/// Part of a plan that is about one store or one host; its steps run one after another.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Task {
    /// What it is about.
    pub kind: TaskKind,
    /// The store, unless it is about a host or the fleet.
    pub store: Option<StoreName>,
    /// The store's epoch when the plan was made; role steps use the next one where the kind changes the master.
    pub epoch: Epoch,
    /// Tasks of this plan (by number) that must be done first.
    pub after: Vec<u16>,
    /// In order.
    pub steps: Vec<Step>,
}

/// One agent call, or one change of the replicated state.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Step {
    /// What.
    pub kind: StepKind,
    /// Where; `None` for a change of the replicated state.
    pub at: Option<Place>,
    /// After this long in log time the step counts as stuck; never safety. Milliseconds.
    pub deadline_ms: u64,
}

/// Where a step is carried out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub enum Place {
    /// By the agent of this slot's host, on this slot's copy.
    Slot(SlotId),
    /// By the agent of this host.
    Host(HostName),
    /// By the agent of `by`, on the fence device of another host (R26).
    Device {
        /// The host that is switched off.
        of: HostName,
        /// The host whose agent does it.
        by: HostName,
    },
}

impl Place {
    /// The host that carries it out.
    pub fn host(&self) -> &HostName {
        match self {
            Place::Slot(slot) => &slot.host,
            Place::Host(host) | Place::Device { by: host, .. } => host,
        }
    }
}

/// What a step does.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize, Serialize, Deserialize,
)]
pub enum StepKind {
    /// Make an empty copy.
    Provision,
    /// A built copy holds everything its master has and counts from now on (R16). Replicated state only.
    Count,
    /// Delete a copy for good; its name stays as a tombstone (R11).
    Destroy,
    /// Stop acknowledging writes (protocol, hand-over 2).
    Freeze,
    /// Be equal to the freeze's tip (hand-over 3): an early stop only.
    CatchUp,
    /// Allocate the next epoch (hand-over 4): the point of no return. Replicated state only.
    CommitEpoch,
    /// Hold the new epoch durably, answer the final tip (hand-over 5).
    Demote,
    /// Hold the new epoch durably (unplanned 3).
    Raise,
    /// Pull from the furthest copy after raising (unplanned 3).
    Feed,
    /// Become master (hand-over 6).
    Promote,
    /// Point clients at the new master. Replicated state only.
    Repoint,
    /// Follow the new master (R16).
    Follow,
    /// Write and read back through the route, from another host.
    Canary,
    /// Start the same master again (R25).
    StartMaster,
    /// Stop cleanly.
    Stop,
    /// Prove that nothing runs on the host (S8).
    ConfirmStopped,
    /// Declare a host's state. Replicated state only.
    DeclareHost,
    /// List what only this copy holds.
    ListStranded,
    /// Put it into the master.
    Reinject,
    /// Close the loss case. Replicated state only.
    CloseLossCase,
    /// Change hosts, slots and policy. Replicated state only.
    ChangeFleet,
    /// Switch a host off by its device, which must then say off (R26).
    FenceHost,
    /// Nobody is to serve the store any more: the point of no return of retiring it. Replicated state only.
    RetireStore,
    /// Every front end serves the new route (hand-over 7). Replicated state only; it starts once they have said so.
    RouteServed,
}

impl StepKind {
    /// Whether it changes only the replicated state and needs no agent.
    pub fn is_internal(self) -> bool {
        matches!(
            self,
            Self::CommitEpoch
                | Self::Repoint
                | Self::DeclareHost
                | Self::CloseLossCase
                | Self::ChangeFleet
                | Self::Count
                | Self::RetireStore
                | Self::RouteServed
        )
    }
}

/// An entity a plan was computed from, with its version then.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub enum EntityRef {
    /// A host.
    Host(HostName),
    /// A store.
    Store(StoreName),
    /// A loss case.
    LossCase(LossCaseId),
    /// The set of hosts and stores and the policy, for plans that change it.
    Fleet,
}
impl fmt::Display for EntityRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(h) => write!(f, "{h}"),
            Self::Store(s) => write!(f, "{s}"),
            Self::LossCase(c) => write!(f, "{c}"),
            Self::Fleet => write!(f, "the fleet"),
        }
    }
}

/// What a person says besides what they want and why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Said {
    /// They know that many hosts are silent at once, and ask all the same (R23).
    pub mass: bool,
    /// When the hosts they take off are to be back, in wall time; a person is told when they are not.
    pub back_by: Option<WallTime>,
}

/// The complete list of steps that fulfils an intent; immutable.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Plan {
    /// The cluster it is for.
    pub cluster: ClusterId,
    /// The cluster's generation (R10).
    pub generation: u32,
    /// What was wanted.
    pub intent: Intent,
    /// Who asked; `None` for everyday recovery.
    pub requested_by: Option<OperatorName>,
    /// Why, in the person's words.
    pub reason: String,
    /// The revision it was computed at; for display.
    pub revision: Revision,
    /// When it was computed, in log time.
    pub created: LogTime,
    /// When it was computed, in wall time; for display.
    pub created_wall: WallTime,
    /// How long an approval may wait, in log time.
    pub valid_ms: u64,
    /// The versions of everything it was computed from (R14).
    pub facts: BTreeMap<EntityRef, u64>,
    /// What was observed of the hosts it touches.
    pub evidence: Evidence,
    /// Hosts that were silent when it was made, in the whole cluster (R23).
    pub silent_hosts: u16,
    /// What whoever asked said besides.
    pub said: Said,
    /// Approvals it needs.
    pub people: u8,
    /// Why it needs more than one.
    pub two_because: Vec<String>,
    /// The hosts that are switched off by their devices, or were before (R6, R26).
    pub switch_off: BTreeMap<HostName, SwitchOff>,
    /// The tasks.
    pub tasks: Vec<Task>,
    /// What a person should know: where load goes, what one more loss would stop, what is not possible.
    pub notes: Vec<Note>,
}

/// A remark shown with a plan.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Note {
    /// Its heading, as in `WHILE IT IS OFF`.
    pub heading: String,
    /// The text.
    pub text: String,
}

impl Versioned for Plan {
    const NAME: &'static str = "plan";
    const VERSION: u16 = 2;
}

impl Plan {
    /// The canonical bytes.
    pub fn bytes(&self) -> Vec<u8> {
        codec::encode(self)
    }
    /// The digest of canonical bytes; `slotctl` hashes what it shows, `apply` what it recorded (R15).
    pub fn digest_of(bytes: &[u8]) -> Digest {
        Digest::of(bytes)
    }
    /// Every store the tasks touch.
    pub fn stores(&self) -> BTreeSet<&StoreName> {
        self.tasks.iter().filter_map(|t| t.store.as_ref()).collect()
    }
    /// Every host the steps touch, with those whose declared state changes.
    pub fn hosts(&self) -> BTreeSet<&HostName> {
        let places = self.tasks.iter().flat_map(|t| t.steps.iter()).filter_map(|s| s.at.as_ref()).map(Place::host);
        let declared = self.tasks.iter().filter_map(|t| match &t.kind {
            TaskKind::HostState { host, .. } => Some(host),
            _ => None,
        });
        places.chain(declared).chain(self.switch_off.keys()).collect()
    }
    /// The hosts that this plan cuts the power of: their names are typed by whoever approves.
    pub fn powers_off(&self) -> BTreeSet<&HostName> {
        self.switch_off.iter().filter(|(_, off)| off.by.is_some()).map(|(host, _)| host).collect()
    }
    /// The store whose data this plan destroys for good: its name is typed by whoever approves.
    pub fn destroys(&self) -> Option<&StoreName> {
        match &self.intent {
            Intent::RetireStore(store) => Some(store),
            _ => None,
        }
    }
    /// The failovers in it.
    pub fn failovers(&self) -> impl Iterator<Item = (&StoreName, FenceLevel, &LossStatement)> {
        self.tasks.iter().filter_map(|t| match (&t.kind, &t.store) {
            (TaskKind::FailOver { fence, loss, .. }, Some(store)) => Some((store, *fence, loss)),
            _ => None,
        })
    }
}

/// Why a plan needs two people, by policy; empty when one is enough (`protocol.md`, "Who approves"). Used by the planner to
/// show it and by `apply` to enforce it (S5).
pub fn two_people_because(plan: &Plan, policy: &Policy) -> Vec<String> {
    let mut because = Vec::new();
    let mut worst_fence = FenceLevel::Demoted;
    let mut worst_loss = LossClass::NoneProvable;
    let mut any = false;
    for (_, fence, loss) in plan.failovers() {
        any = true;
        worst_fence = worst_fence.max(fence);
        worst_loss = worst_loss.max(loss.class);
    }
    if any && policy.loss_asks_two(worst_loss) {
        because.push(format!("loss is {worst_loss}"));
    }
    if any && policy.fence_asks_two(worst_fence) {
        because.push(format!("the old master is {worst_fence}"));
    }
    if any && policy.brakes(plan.silent_hosts) {
        because.push(format!("{} hosts are silent at once, which looks like our own partition", plan.silent_hosts));
    }
    because
}

/// How many people must approve a plan.
pub fn people_needed(plan: &Plan, policy: &Policy) -> u8 {
    if plan.intent.is_everyday() {
        return 0;
    }
    if two_people_because(plan, policy).is_empty() { 1 } else { 2 }
}

impl Versioned for Intent {
    const NAME: &'static str = "intent";
    const VERSION: u16 = 2;
}
