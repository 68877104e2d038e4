//! Why there is nothing to do.
//!
//! What always holds: it is no fault; what a person may have expected and does not get is said with it.

use slot_types::cluster::LossClass;
use slot_types::ids::*;
use slot_types::plan::Scope;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Why there is nothing to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Nothing {
    /// The fleet is as the file says; what the file leaves out stays.
    #[error("the fleet is as the file says{}{}", kept(.kept_hosts, .kept_stores), gone(.retired, .unused))]
    FleetAsFile {
        /// Hosts that are not in the file and stay.
        kept_hosts: BTreeSet<HostName>,
        /// Stores that are not in the file and stay.
        kept_stores: BTreeSet<StoreName>,
        /// Stores that are in the file and were retired.
        retired: BTreeSet<StoreName>,
        /// What the file says and this build does not carry out.
        unused: BTreeSet<String>,
    },
    /// A store is gone for good.
    #[error("{0} is retired, and its name is not used again")]
    StoreRetired(StoreName),
    /// Drained already.
    #[error("{0} is in Maintenance: safe to switch off")]
    Drained(HostName),
    /// Emptied already.
    #[error("{0} is Empty: no copies")]
    Emptied(HostName),
    /// Retired already.
    #[error("{0} is Retired")]
    Retired(HostName),
    /// Every copy is there, and none too many.
    #[error("{0}: as many whole copies as the file asks for")]
    Rebuilt(Scope),
    /// No move would make hosts more even.
    #[error("no move of a copy or a master would make the hosts more even")]
    Even,
    /// Nothing was found, and of so many copies not every single move was looked at; onto these hosts, or all.
    #[error("nothing was found that would make the hosts more even{}; of so many copies not every move is tried", onto(.0))]
    NotFound(BTreeSet<HostName>),
    /// Hosts that were to be filled have their share, or nothing can come to them that would better the fleet.
    #[error("no move of a copy or a master onto {}, within its share, would make the hosts more even", list(.0))]
    Filled(BTreeSet<HostName>),
    /// Active already.
    #[error("{0} is Active")]
    Active(HostName),
    /// Nothing of what a plan did is left to bring back.
    #[error("nothing that {0} did is left to bring back")]
    Undone(PlanId),
    /// Not one host.
    #[error("no host is there that was asked for; slotctl hosts shows those that are")]
    NoHosts,
    /// No master on it.
    #[error("no store has its master on {0}")]
    NoMasters(HostName),
    /// No store of a host's sheet is of a class that was asked for.
    #[error("no master of {host} would be failed over with a loss of {}; its sheet has {}",
        words(.classes), counted(.whole))]
    NoneOfClass {
        /// The host.
        host: HostName,
        /// The classes.
        classes: BTreeSet<LossClass>,
        /// How many stores of each class there are.
        whole: BTreeMap<LossClass, usize>,
    },
    /// It runs as master.
    #[error("{0} runs as master")]
    RunsAsMaster(SlotId),
    /// It follows the master.
    #[error("{0} follows its master")]
    Follows(SlotId),
    /// It runs, and its store has no master to follow.
    #[error("{0} runs; its store waits for a master")]
    Awake(SlotId),
    /// It is no possible master and has no loss case to list.
    #[error("{0} is no former master that may still acknowledge, and nothing is left to list")]
    Fenced(SlotId),
    /// It held everything its master held once: there is nothing to count (R16).
    #[error("the copy on {0} is whole already")]
    Whole(SlotId),
}

pub(crate) fn list<T: fmt::Display>(things: &BTreeSet<T>) -> String {
    things.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

fn onto(hosts: &BTreeSet<HostName>) -> String {
    if hosts.is_empty() { String::new() } else { format!(" by moves onto {}", list(hosts)) }
}

fn words(classes: &BTreeSet<LossClass>) -> String {
    classes.iter().map(|class| class.word()).collect::<Vec<_>>().join(" or ")
}

fn counted(whole: &BTreeMap<LossClass, usize>) -> String {
    whole.iter().map(|(class, n)| format!("{n} {}", class.word())).collect::<Vec<_>>().join(", ")
}

fn kept(hosts: &BTreeSet<HostName>, stores: &BTreeSet<StoreName>) -> String {
    match (hosts.is_empty(), stores.is_empty()) {
        (true, true) => String::new(),
        (false, true) => format!("; it leaves out {}, which stay", list(hosts)),
        (true, false) => format!("; it leaves out {}, which stay", list(stores)),
        (false, false) => format!("; it leaves out {} and {}, which stay", list(hosts), list(stores)),
    }
}

fn gone(stores: &BTreeSet<StoreName>, unused: &BTreeSet<String>) -> String {
    let mut text = String::new();
    if !stores.is_empty() {
        text = format!("; it names {}, retired for good: take that out of the file", list(stores));
    }
    unused.iter().for_each(|line| text += &format!("\n  not in force: {line}"));
    text
}
