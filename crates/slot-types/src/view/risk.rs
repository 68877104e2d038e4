//! What the loss of one host, of two, or of all hosts of a domain, would do now.
//!
//! What always holds: nothing here is a plan and nothing is promised; it is the planner's own choice on what is seen at one
//! moment, so it changes with what is seen.

use crate::cluster::{Cluster, Domain, Host, ONE_STORE};
use crate::evidence::Seen;
use crate::ids::*;
use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;

/// What is lost at once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub enum Lost {
    /// One host.
    Host(HostName),
    /// Every host in a failure domain or below it.
    Domain(Domain),
    /// Several hosts at once.
    Hosts(BTreeSet<HostName>),
}
impl Lost {
    /// Whether a host, which is there, is lost.
    pub fn takes(&self, name: &HostName, at: &Domain) -> bool {
        match self {
            Self::Host(host) => host == name,
            Self::Domain(domain) => at.0.starts_with(&domain.0),
            Self::Hosts(hosts) => hosts.contains(name),
        }
    }
    /// The coordinators that go with it: those with the address of a host that is lost.
    pub fn coordinators<'a>(
        &self,
        cluster: &Cluster,
        all: impl Iterator<Item = (&'a CoordinatorName, &'a SocketAddr)>,
    ) -> Vec<CoordinatorName> {
        let hosts = cluster.hosts.iter().filter(|(name, host)| self.takes(name, &host.at));
        let hosts: Vec<&Host> = hosts.map(|(_, host)| host).collect();
        let gone = all.filter(|(_, address)| hosts.iter().any(|host| host.address.ip() == address.ip()));
        gone.map(|(name, _)| name.clone()).collect()
    }
    /// Its name alone.
    pub fn name(&self) -> String {
        match self {
            Self::Host(host) => host.to_string(),
            Self::Domain(at) => at.to_string(),
            Self::Hosts(hosts) => hosts.iter().map(HostName::as_str).collect::<Vec<_>>().join(" "),
        }
    }
}
impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(host) => write!(f, "host {host}"),
            Self::Domain(at) => write!(f, "domain {at}"),
            Self::Hosts(_) => write!(f, "hosts {}", self.name()),
        }
    }
}

/// A host and its masters, before and after.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Fullest {
    /// Which.
    pub host: HostName,
    /// Masters it has.
    pub before: u32,
    /// Masters it would have.
    pub after: u32,
    /// What they weigh; `None` where the cluster file declares neither loads nor weights.
    pub load: Option<LoadThen>,
}

impl Fullest {
    /// What losses are compared by: the load over the host's weight, in thousandths.
    fn level(&self) -> u64 {
        self.load.map_or(u64::from(self.after) * ONE_STORE, |load| load.after_milli)
    }
}

/// The declared load of a host's masters over its weight, before and after, in thousandths of an ordinary master on an ordinary host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct LoadThen {
    /// Of what it has.
    pub before_milli: u64,
    /// Of what it would have.
    pub after_milli: u64,
}

/// Where one lost master would go.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Move {
    /// The store.
    pub store: StoreName,
    /// Its master.
    pub from: SlotId,
    /// Its master after a failover.
    pub to: SlotId,
    /// How many records that copy is behind; `None` when it does not know.
    pub behind: Option<u64>,
}

/// A store that would stop.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Stop {
    /// The store.
    pub store: StoreName,
    /// Why none of its other copies could become master, by slot; empty when it has none.
    pub why: BTreeMap<SlotId, String>,
}

/// What a loss would do, in full.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Loss {
    /// Of what.
    pub lost: Lost,
    /// The hosts that go.
    pub hosts: Vec<HostName>,
    /// Masters on them.
    pub masters: u32,
    /// Replicas on them.
    pub replicas: u32,
    /// Where their masters would go, once a person approves it.
    pub moves: Vec<Move>,
    /// Stores that would have no live copy, or none that can become master.
    pub stops: Vec<Stop>,
    /// Stores that would have one live copy, and had more.
    pub single: Vec<StoreName>,
    /// Stores that would refuse writes: fewer replicas live than must hold every record (R24).
    pub short: Vec<StoreName>,
    /// Stores with a copy there that have no live copy already.
    pub down_already: Vec<StoreName>,
    /// The host with the most masters afterwards, by declared load where there is any; `None` when no master moves.
    pub fullest: Option<Fullest>,
    /// Stores that are served afterwards.
    pub served: u32,
    /// All stores.
    pub stores: u32,
}

impl Loss {
    /// The numbers alone.
    pub fn line(&self, coordinators: Vec<CoordinatorName>) -> LossLine {
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let mut to: Vec<&HostName> = self.moves.iter().map(|m| &m.to.host).collect();
        to.sort();
        to.dedup();
        LossLine {
            lost: self.lost.clone(),
            masters: self.masters,
            moves: number(self.moves.len()),
            to_hosts: number(to.len()),
            stops: number(self.stops.len()),
            single: number(self.single.len()),
            short: number(self.short.len()),
            fullest: self.fullest.clone(),
            served: self.served,
            stores: self.stores,
            coordinators,
        }
    }
}

/// What a loss would do, in numbers.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct LossLine {
    /// Of what.
    pub lost: Lost,
    /// Masters there.
    pub masters: u32,
    /// Masters that would go elsewhere.
    pub moves: u32,
    /// To so many hosts.
    pub to_hosts: u32,
    /// Stores that would stop.
    pub stops: u32,
    /// Stores that would have one live copy, and had more.
    pub single: u32,
    /// Stores that would refuse writes (R24).
    pub short: u32,
    /// The host with the most masters afterwards, by declared load where there is any; `None` when no master moves.
    pub fullest: Option<Fullest>,
    /// Stores that are served afterwards.
    pub served: u32,
    /// All stores.
    pub stores: u32,
    /// Coordinators that go with it.
    pub coordinators: Vec<CoordinatorName>,
}

impl LossLine {
    /// The worse of two losses compares higher: stores that stop, then those that refuse writes, then the fullest survivor.
    pub fn severity(&self) -> impl Ord + use<> {
        let fullest = self.fullest.as_ref().map_or(0, Fullest::level);
        (self.stops, self.short, fullest, self.masters, self.single, Reverse(self.lost.clone()))
    }

    /// The worst of several; of equals, the first by name.
    pub fn worst(lines: &[Self]) -> Option<&Self> {
        lines.iter().max_by_key(|line| line.severity())
    }
}

/// Every single loss, in numbers.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Losses {
    /// Each host.
    pub hosts: Vec<LossLine>,
    /// Each rack: all hosts of one failure domain. Empty when every host is in one of its own.
    pub racks: Vec<LossLine>,
}

/// The worst of any two hosts at once.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct PairLoss {
    /// In numbers; `None` when there are no two hosts with anything to lose.
    pub worst: Option<LossLine>,
    /// How many pairs were looked at. Where that is not all of them, those that stop the most stores are among them.
    pub looked_at: u64,
    /// How many pairs there are of hosts with anything to lose.
    pub of: u64,
}

/// What each loss would do.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct RisksView {
    /// The revision the answer is of.
    pub revision: Revision,
    /// In numbers; unknown when the answering node hears no agents.
    pub losses: Seen<Losses>,
}

/// What one loss would do.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct RiskView {
    /// The revision the answer is of.
    pub revision: Revision,
    /// In full; unknown when the answering node hears no agents.
    pub loss: Seen<Loss>,
    /// Coordinators that go with it.
    pub coordinators: Vec<CoordinatorName>,
    /// How many coordinators vote.
    pub voters: u32,
}
