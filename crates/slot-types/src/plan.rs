//! Intents, plans, tasks and steps.
//!
//! What always holds: a plan is immutable; its canonical bytes, and nothing else, are what is recorded, hashed, shown and
//! approved (R15). It leaves no choice to the executor: every slot and epoch is named; only tips, which no one can know
//! before a demote, are filled in while it runs. Tasks are about one store or one host; a fault in one stops no other (L2).

mod budget;
mod intent;

pub use budget::Budget;
pub use intent::{Intent, Reverse, Scope, Settlement};

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
