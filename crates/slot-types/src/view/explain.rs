//! Why a master is where it is, and why no other copy was or would be chosen.
//!
//! What always holds: every reason is the planner's own, worded by the planner; what can no longer be looked at is said so
//! and not guessed.

use crate::cluster::{CopyState, Role};
use crate::evidence::Seen;
use crate::ids::*;
use crate::position::Position;
use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

/// Whether a copy could become master.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub enum Verdict {
    /// It is the master.
    Master,
    /// It could.
    Can,
    /// It could, as nothing else can.
    LastResort,
    /// It could, and another copy has more: a failover takes the furthest.
    NotFurthest {
        /// Where the furthest ends.
        furthest: Position,
    },
    /// It can't.
    No {
        /// Why.
        why: String,
    },
}

/// A copy, as a choice for master.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Candidate {
    /// Where.
    pub slot: SlotId,
    /// Its committed role.
    pub role: Role,
    /// Its committed state.
    pub state: CopyState,
    /// Masters its host has, promised ones included.
    pub host_masters: u32,
    /// Where its data was seen to end; `None` when it was not seen.
    pub ends_at: Option<Position>,
    /// By a hand-over from a master that is well.
    pub planned: Verdict,
    /// By a failover from a master that is gone.
    pub unplanned: Verdict,
}

/// The nearest change that would make another host the choice, all of it together (docs/adr/0044).
///
/// First everything that forbids the host is lifted: each of it is needed. Of what then makes it the choice, fewer masters there come
/// before masters and room together; of as few masters, no new room comes before some, and less before more. Where neither helps, the
/// hosts that are better are left out, and no more than those.
#[derive(Clone, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Change {
    /// What would have to be otherwise, each of them.
    pub were: Vec<Were>,
    /// Fewer masters there: these stores are led from elsewhere.
    pub led_elsewhere: Vec<LedElsewhere>,
    /// One more slot there, free and at least so large; `None` where it has room enough.
    pub slot_bytes: Option<u64>,
    /// Whether the search was cut short, so that a nearer one may exist.
    pub bounded: bool,
}

/// One thing that is otherwise.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub enum Were {
    /// The host is Active.
    Active,
    /// Its agent is heard.
    Heard,
    /// The disk that it presents is admitted.
    Admitted,
    /// No running plan holds it.
    Unclaimed,
    /// It is in another failure domain than the host of this copy.
    ApartFrom(SlotId),
    /// Its copy of the store is on another host.
    CopyOn {
        /// That copy.
        slot: SlotId,
        /// The host: the best one for it but this.
        to: HostName,
    },
    /// The file does not keep the store away from it.
    Allowed,
    /// Its disk has so many bytes more free.
    DiskBytes(u64),
    /// The file keeps the store away from these hosts.
    NeverOn(Vec<HostName>),
    /// These hosts are Draining.
    Draining(Vec<HostName>),
    /// It holds a copy of the store that is as well as the one that was chosen.
    HoldsCopy,
    /// Its copy is Serving, and whole.
    Serving,
    /// The engine of its copy is seen as the recorded copy, doing what that of the chosen one does.
    Following,
    /// Its copy is so many records behind, or fewer.
    Behind(u64),
    /// Its copy was verified no longer ago than this, in milliseconds.
    VerifiedWithin(u64),
    /// Its copy ends there, or further.
    EndsAt(Position),
    /// The loss case that is open on its copy is closed.
    CaseClosed(LossCaseId),
    /// Its copy does not differ from its master.
    Agreeing,
}

/// A store's master on another of its copies.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct LedElsewhere {
    /// Which store.
    pub store: StoreName,
    /// The copy that leads it.
    pub to: SlotId,
}

/// A host that a copy is not on.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct OtherHost {
    /// Which.
    pub host: HostName,
    /// The one reason why it is not the choice, all else staying as it is; empty for the one that is.
    pub why: String,
    /// The nearest change that would make it the choice; `None` for the one that is, and where `no_change` says why there is none.
    pub change: Option<Change>,
    /// Why no change is said; empty where one is, and for the host that is the choice.
    pub no_change: String,
}

/// Where a copy is, and where it would be put now.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct ExplainedCopy {
    /// Its slot.
    pub slot: SlotId,
    /// The host that is best for it now, all else staying as it is; `None` where no host may have it.
    pub best: Option<HostName>,
    /// Every other host, by name.
    pub others: Vec<OtherHost>,
}

/// The plan that made a slot the master.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct MadeBy {
    /// Which.
    pub plan: PlanId,
    /// What it was for: `drain imap3`.
    pub title: String,
    /// What it did with the store: `imap3/07 -> imap7/31`.
    pub task: String,
    /// Who asked; `None` for everyday recovery.
    pub requested_by: Option<OperatorName>,
    /// Why that person asked.
    pub reason: String,
}

/// One store: its master, and what each copy is good for now.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct ExplainedStore {
    /// Which.
    pub store: StoreName,
    /// The committed epoch.
    pub epoch: Epoch,
    /// Its master.
    pub master: Option<SlotId>,
    /// The slot the epoch was allocated to that is not master yet (S3).
    pub pending: Option<SlotId>,
    /// Why its master can't be handed over as a planned thing; `None` when it can.
    pub not_well: Option<String>,
    /// The plan that made it master, if it is remembered.
    pub made_by: Option<MadeBy>,
    /// Its copies.
    pub candidates: Vec<Candidate>,
    /// Where each copy is, and why on no other host.
    pub places: Vec<ExplainedCopy>,
    /// Where it would go if its master's host were lost now; `None` when nowhere.
    pub if_host_dies: Option<SlotId>,
    /// The running plan that holds it.
    pub claimed_by: Option<PlanId>,
}

/// One choice of a plan.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct ExplainedTask {
    /// Its number, from 1, as `plan show` counts.
    pub task: u32,
    /// The store it is about.
    pub store: StoreName,
    /// The old master, or the copy that the one that is built takes the place of; `None` when there is none.
    pub from: Option<SlotId>,
    /// The master it chose, or where it builds a copy.
    pub to: SlotId,
    /// Whether it is a hand-over from a master that was well; else a failover, a new store, or a copy that is built.
    pub planned: bool,
    /// Whether it builds a copy.
    pub builds: bool,
    /// Why this one.
    pub because: Vec<String>,
    /// Every other copy, and why not that one. Empty when that can't be looked at any more.
    pub others: Vec<Candidate>,
    /// What it chose a host for, and why each other host is not that one, the rest of the plan staying as it is. Empty when
    /// that can't be looked at any more.
    pub places: Vec<ExplainedCopy>,
    /// Why the others can't be looked at any more; empty when they can.
    pub changed: String,
}

/// One plan's choices.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct ExplainedPlan {
    /// Which.
    pub plan: PlanId,
    /// What it is for.
    pub title: String,
    /// The revision it was computed from.
    pub planned_at: Revision,
    /// Tasks that do not choose: they follow from the intent.
    pub without_choice: u32,
    /// Tasks that chose a master.
    pub tasks: Vec<ExplainedTask>,
}

/// What is explained.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub enum Explained {
    /// A plan.
    Plan(ExplainedPlan),
    /// A store.
    Store(ExplainedStore),
    /// A slot, and the store that has a copy on it.
    Slot {
        /// The slot.
        slot: SlotId,
        /// The plan that has reserved it.
        claimed_by: Option<PlanId>,
        /// The store on it; `None` when it is free.
        store: Option<ExplainedStore>,
    },
}

/// What to explain.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub enum ExplainWhat {
    /// A plan.
    Plan(PlanId),
    /// A store.
    Store(StoreName),
    /// A slot.
    Slot(SlotId),
}

/// Why things are where they are.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct ExplainView {
    /// The revision the answer is of.
    pub revision: Revision,
    /// Why; unknown when it depends on what agents report and the answering node hears none.
    pub explained: Seen<Explained>,
}
