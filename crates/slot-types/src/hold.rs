//! Holds: a person's "hands off" on a host, a store or everything.
//!
//! What always holds: a hold is a person's word and ends only by a person's word; it keeps plans from starting and stops
//! none that runs; the standing Demote of R8 is never kept from starting, since safety rests on it (docs/adr/0019).

use crate::cluster::{Cluster, Store};
use crate::ids::*;
use crate::plan::{Intent, Plan, StepKind, TaskKind};
use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// What is held; written as a person types it: `host imap3`, `store store23`, `all`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
pub enum HoldOn {
    /// A host: nothing is changed there, and no plan of a person changes a store that has a copy there.
    Host(HostName),
    /// A store.
    Store(StoreName),
    /// The whole cluster.
    All,
}

impl fmt::Display for HoldOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(host) => f.pad(&format!("host {host}")),
            Self::Store(store) => f.pad(&format!("store {store}")),
            Self::All => f.pad("all"),
        }
    }
}
impl FromStr for HoldOn {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(' ') {
            None if text == "all" => Ok(Self::All),
            Some(("host", name)) => HostName::new(name).map(Self::Host).map_err(|e| e.to_string()),
            Some(("store", name)) => StoreName::new(name).map(Self::Store).map_err(|e| e.to_string()),
            _ => Err(format!("{text:?} can't be held: write it as in `host imap3`, `store store23` or `all`")),
        }
    }
}
impl Serialize for HoldOn {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}
impl<'de> Deserialize<'de> for HoldOn {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        <String as Deserialize>::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Who holds it, why and since when.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Hold {
    /// Who.
    pub by: OperatorName,
    /// Why.
    pub reason: String,
    /// Since when, in log time.
    pub at: LogTime,
    /// Since when, in wall time; for display.
    pub wall: WallTime,
}

/// A hold with what it is on.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Held {
    /// What is held.
    pub on: HoldOn,
    /// By whom, why and since when.
    #[serde(flatten)]
    pub hold: Hold,
}

impl Held {
    fn new((on, hold): (&HoldOn, &Hold)) -> Self {
        Self { on: on.clone(), hold: hold.clone() }
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { on, hold: Hold { by, reason, wall, .. } } = self;
        let what = match on {
            HoldOn::All => "everything".to_string(),
            on => on.to_string(),
        };
        let since = moment(*wall);
        write!(
            f,
            "{what} is held by {by} since {since}: {reason}; when its time is over: slotctl release {on} -m REASON"
        )
    }
}

/// `2026-11-24 10:02 UTC`: days of the civil calendar, counted in eras of 400 years that begin in March.
fn moment(wall: WallTime) -> String {
    let minutes = wall.0 / 60_000;
    let days = minutes / 1_440 + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (year, month) = if month < 10 { (era * 400 + year, month + 3) } else { (era * 400 + year + 1, month - 9) };
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02} UTC", minutes / 60 % 24, minutes % 60)
}

impl HoldOn {
    /// Whether it keeps everyday recovery of a store's copy on this slot from starting.
    pub fn is_of(&self, store: &StoreName, slot: &SlotId) -> bool {
        match self {
            Self::Host(host) => *host == slot.host,
            Self::Store(name) => name == store,
            Self::All => true,
        }
    }
}

impl Cluster {
    /// Every hold.
    pub fn holds(&self) -> impl Iterator<Item = Held> {
        self.holds.iter().map(Held::new)
    }

    /// Every hold that covers a host.
    pub fn holds_on_host(&self, host: &HostName) -> impl Iterator<Item = Held> {
        let covers = move |on: &HoldOn| matches!(on, HoldOn::All) || matches!(on, HoldOn::Host(h) if h == host);
        self.holds.iter().filter(move |(on, _)| covers(on)).map(Held::new)
    }

    /// Every hold that keeps persons' plans off a store: its own, and those of hosts that a copy or a possible master is on.
    pub fn holds_on_store(&self, name: &StoreName) -> impl Iterator<Item = Held> {
        let hosts = if self.holds.is_empty() { BTreeSet::new() } else { self.hosts_of(name) };
        let covers = move |on: &HoldOn| match on {
            HoldOn::All => true,
            HoldOn::Store(store) => store == name,
            HoldOn::Host(host) => hosts.contains(host),
        };
        self.holds.iter().filter(move |(on, _)| covers(on)).map(Held::new)
    }

    /// Whether everyday recovery of a store's copy on this slot is kept from starting.
    pub fn is_held(&self, store: &StoreName, slot: &SlotId) -> bool {
        self.holds.keys().any(|on| on.is_of(store, slot))
    }

    /// The hold that keeps a plan from starting.
    pub fn hold_against(&self, plan: &Plan) -> Option<Held> {
        if self.holds.is_empty() || matches!(plan.intent, Intent::FenceReturned { .. }) {
            return None;
        }
        let (stores, hosts) = (self.stores_touched(plan), self.hosts_touched(plan));
        let covers = |on: &HoldOn| match on {
            HoldOn::All => true,
            HoldOn::Store(store) => stores.contains(store),
            HoldOn::Host(host) => hosts.contains(host),
        };
        self.holds.iter().find(|(on, _)| covers(on)).map(Held::new)
    }

    /// Whether a hold on this would keep the plan from starting.
    pub fn is_touched(&self, on: &HoldOn, plan: &Plan) -> bool {
        let standing = matches!(plan.intent, Intent::FenceReturned { .. });
        !standing
            && match on {
                HoldOn::All => true,
                HoldOn::Store(store) => self.stores_touched(plan).contains(store),
                HoldOn::Host(host) => self.hosts_touched(plan).contains(host),
            }
    }

    /// Its own stores, and those that lose a copy when it cuts a host's power (R26).
    fn stores_touched<'a>(&'a self, plan: &'a Plan) -> BTreeSet<&'a StoreName> {
        let killed = plan.powers_off().into_iter().flat_map(|host| self.copies_on(host).map(|(store, ..)| store));
        plan.stores().into_iter().chain(killed).collect()
    }

    /// Hosts that an order of the plan goes to, that it declares, changes or switches off; nothing changes on the host that a
    /// canary is written from or that another's device is asked from. What a person asks for touches every host of its stores
    /// besides: a change of the master is everybody's. What is everyday touches the host of its slot alone, so that a hold on
    /// one replica's host keeps no master elsewhere from being started again.
    fn hosts_touched(&self, plan: &Plan) -> BTreeSet<HostName> {
        let mut hosts: BTreeSet<HostName> = plan.switch_off.keys().cloned().collect();
        for task in &plan.tasks {
            let ordered = task.steps.iter().filter(|step| !matches!(step.kind, StepKind::Canary | StepKind::FenceHost));
            hosts.extend(ordered.filter_map(|step| step.at.as_ref()).map(|at| at.host().clone()));
            if let TaskKind::HostState { host, .. } = &task.kind {
                hosts.insert(host.clone());
            }
        }
        if !plan.intent.is_everyday() {
            hosts.extend(plan.stores().into_iter().flat_map(|name| self.hosts_of(name)));
        }
        if let Intent::CountCopy { slot } = &plan.intent {
            hosts.insert(slot.host.clone());
        }
        if let Intent::Apply(spec) = &plan.intent
            && plan.tasks.iter().any(|task| task.kind == TaskKind::Fleet)
        {
            let changed = spec.hosts.iter().filter(|(name, wanted)| {
                self.hosts.get(*name).is_some_and(|host| {
                    let slots_fit = wanted.slots.iter().all(|(n, slot)| host.slots.get(n) == Some(slot));
                    host.at != wanted.at
                        || host.address != wanted.address
                        || host.device.spec != wanted.fence
                        || !slots_fit
                })
            });
            hosts.extend(changed.map(|(name, _)| name.clone()));
        }
        hosts
    }

    fn hosts_of(&self, name: &StoreName) -> BTreeSet<HostName> {
        let slots = |store: &Store| -> BTreeSet<HostName> {
            store.copies.keys().chain(store.possible_masters.keys()).map(|slot| slot.host.clone()).collect()
        };
        self.stores.get(name).map(slots).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_reads_as_it_is_typed() {
        for text in ["host imap3", "store store23", "all"] {
            let on: HoldOn = text.parse().unwrap();
            assert_eq!(on.to_string(), text);
            assert_eq!(serde_json::from_str::<HoldOn>(&format!("{text:?}")).unwrap(), on);
        }
        for text in ["", "everything", "host", "host ", "slot imap3/07", "host a b", "store A"] {
            assert!(text.parse::<HoldOn>().is_err(), "{text}");
        }
    }

    #[test]
    fn moments_are_of_the_civil_calendar() {
        let days = |n: u64| moment(WallTime(n * 86_400_000 + 3_720_000));
        for (n, text) in [(0, "1970-01-01"), (58, "1970-02-28"), (59, "1970-03-01"), (364, "1970-12-31")] {
            assert_eq!(days(n), format!("{text} 01:02 UTC"));
        }
        for (n, text) in
            [(11_016, "2000-02-29"), (19_782, "2024-02-29"), (19_783, "2024-03-01"), (20_819, "2027-01-01")]
        {
            assert_eq!(days(n), format!("{text} 01:02 UTC"));
        }
        assert!(!moment(WallTime(u64::MAX)).is_empty());
    }

    #[test]
    fn who_why_since_when_and_how_it_ends_are_in_one_sentence() {
        let by = OperatorName::new("ann").unwrap();
        let hold = Hold { by, reason: "disk is looked at".into(), at: LogTime(1), wall: WallTime(1_764_000_000_000) };
        let host = Held { on: "host imap3".parse().unwrap(), hold: hold.clone() };
        assert_eq!(
            host.to_string(),
            "host imap3 is held by ann since 2025-11-24 16:00 UTC: disk is looked at; when its time is over: slotctl \
             release host imap3 -m REASON"
        );
        let all = Held { on: HoldOn::All, hold };
        assert!(all.to_string().starts_with("everything is held by ann since "), "{all}");
    }
}
