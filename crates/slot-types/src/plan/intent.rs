//! What an operator may want, and what the coordinator proposes by itself.
//!
//! What always holds: an intent names hosts, slots and stores, and leaves every choice to the planner; the plan that
//! comes of it leaves none to the executor. Only the four that `Intent::is_everyday` lists are carried out without a yes.

use super::Budget;
use crate::cluster::{FleetSpec, LossClass};
use crate::codec::Versioned;
use crate::ids::*;
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

impl Versioned for Intent {
    const NAME: &'static str = "intent";
    const VERSION: u16 = 2;
}
