//! What the loss of hosts would do now: which stores stop, which are left with one live copy, where the masters would go.
//!
//! What always holds: it asks the same questions as a failover's plan and chooses as it does; a copy counts as lost with
//! its host whatever was seen of it; whether the lost hosts could be fenced is left to the person who would approve.

mod pair;

use crate::leads::{self, Leads};
use crate::refusal::WhyNot;
use crate::view::View;
use crate::{Inputs, failover};
use slot_types::cluster::*;
use slot_types::engine::EngineStatus;
use slot_types::evidence::Evidence;
use slot_types::ids::*;
use slot_types::view::{Fullest, LoadThen, Loss, Losses, Lost, Move, Stop};
use std::cell::OnceCell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// The fleet at one moment, to ask of several losses what each would do.
pub struct WhatIf<'a> {
    view: View<'a>,
    on: BTreeMap<&'a HostName, BTreeSet<&'a StoreName>>,
    led: BTreeMap<HostName, Led>,
    has_loads: bool,
    served: BTreeSet<&'a StoreName>,
    /// Counted once a loss leaves a choice.
    leads: OnceCell<Leads<'a>>,
}

/// What a loss does to one store that has a copy on a lost host.
enum Fate {
    /// Its master is not lost.
    KeepsMaster,
    /// One of these becomes master.
    Moves { from: SlotId, options: Vec<SlotId> },
    /// Nothing can.
    Stops(BTreeMap<SlotId, String>),
    /// It had no live copy before.
    DownAlready,
}

impl<'a> WhatIf<'a> {
    /// Looks at the fleet.
    pub fn new(cluster: &'a Cluster, evidence: &'a Evidence, inputs: &'a Inputs) -> Self {
        let view = View { cluster, evidence, inputs };
        let mut on: BTreeMap<&HostName, BTreeSet<&StoreName>> = BTreeMap::new();
        let mut served = BTreeSet::new();
        for (name, store) in &cluster.stores {
            for slot in store.copies.keys() {
                on.entry(&slot.host).or_default().insert(name);
            }
            if view.master_well(name, store).is_ok() {
                served.insert(name);
            }
        }
        Self { view, on, led: cluster.led(), has_loads: cluster.has_loads(), served, leads: OnceCell::new() }
    }

    /// Each host's loss and each rack's, in numbers, without the coordinators on them.
    pub fn each(&self) -> Losses {
        let hosts = &self.view.cluster.hosts;
        let line = |lost: Lost| self.of(&lost).map(|loss| loss.line(Vec::new()));
        let racks: BTreeSet<&Domain> = hosts.values().map(|h| &h.at).collect();
        let racks = if racks.len() == hosts.len() { BTreeSet::new() } else { racks };
        Losses {
            hosts: hosts.keys().filter_map(|name| line(Lost::Host(name.clone()))).collect(),
            racks: racks.into_iter().filter_map(|at| line(Lost::Domain(at.clone()))).collect(),
        }
    }

    /// One loss; `None` when it names no host of the fleet.
    pub fn of(&self, lost: &Lost) -> Option<Loss> {
        let gone = self.hosts(lost);
        if gone.is_empty() {
            return None;
        }
        let mut loss = self.empty(lost, &gone);
        let mut ways = Vec::new();
        for name in gone.iter().filter_map(|host| self.on.get(host)).flatten().copied().collect::<BTreeSet<_>>() {
            let Some(store) = self.view.cluster.stores.get(name) else { continue };
            self.count_copies(store, &gone, &mut loss);
            let live = self.view.live_copies(name, store);
            let left = live.iter().filter(|slot| !gone.contains(&slot.host)).count();
            let lead = match self.fate(name, store, &gone, &live) {
                Fate::DownAlready => {
                    loss.down_already.push(name.clone());
                    continue;
                }
                Fate::Stops(why) => {
                    loss.stops.push(Stop { store: name.clone(), why });
                    continue;
                }
                Fate::KeepsMaster => store.master.as_ref().is_some_and(|m| live.contains(m)),
                Fate::Moves { from, options } => {
                    ways.push((name, from, options));
                    true
                }
            };
            if left == 1 && live.len() > 1 {
                loss.single.push(name.clone());
            }
            // R24: the new master's own copy is none of its replicas.
            if lead && left.saturating_sub(1) < usize::from(store.spec.sync_copies) {
                loss.short.push(name.clone());
            }
        }
        self.choose(&gone, ways, &mut loss);
        Some(loss)
    }

    fn hosts(&self, lost: &Lost) -> BTreeSet<&'a HostName> {
        let hosts = self.view.cluster.hosts.iter();
        hosts.filter(|(name, host)| lost.takes(name, &host.at)).map(|(name, _)| name).collect()
    }

    fn empty(&self, lost: &Lost, gone: &BTreeSet<&'a HostName>) -> Loss {
        Loss {
            lost: lost.clone(),
            hosts: gone.iter().map(|host| (*host).clone()).collect(),
            masters: 0,
            replicas: 0,
            moves: Vec::new(),
            stops: Vec::new(),
            single: Vec::new(),
            short: Vec::new(),
            down_already: Vec::new(),
            fullest: None,
            served: 0,
            stores: u32::try_from(self.view.cluster.stores.len()).unwrap_or(u32::MAX),
        }
    }

    fn count_copies(&self, store: &Store, gone: &BTreeSet<&'a HostName>, loss: &mut Loss) {
        for (_, copy) in store.copies.iter().filter(|(slot, _)| gone.contains(&slot.host)) {
            match copy.role {
                Role::Master => loss.masters += 1,
                Role::Replica => loss.replicas += 1,
            }
        }
    }

    fn fate(
        &self,
        name: &'a StoreName,
        store: &'a Store,
        gone: &BTreeSet<&'a HostName>,
        live: &BTreeSet<SlotId>,
    ) -> Fate {
        let lost = |slot: &SlotId| gone.contains(&slot.host);
        if live.is_empty() {
            return Fate::DownAlready;
        }
        let Some(from) = store.copies.keys().find(|slot| lost(slot) && failover::leads(store, slot)) else {
            let all_lost = live.iter().all(lost);
            return if all_lost { Fate::Stops(BTreeMap::new()) } else { Fate::KeepsMaster };
        };
        let mut why: BTreeMap<SlotId, WhyNot> = BTreeMap::new();
        let mut able: Vec<(SlotId, &EngineStatus)> = Vec::new();
        for slot in store.copies.keys().filter(|slot| !lost(slot)) {
            match self.view.failover_target(name, store, from, slot) {
                Ok((status, _)) => able.push((slot.clone(), status)),
                Err(reason) => {
                    why.insert(slot.clone(), reason);
                }
            }
        }
        if able.is_empty() {
            able = failover::last_resorts(&self.view, name, store, from);
            able.retain(|(slot, _)| !lost(slot));
        }
        match failover::furthest(&able, false) {
            options if options.is_empty() => {
                Fate::Stops(why.into_iter().map(|(slot, why)| (slot, why.to_string())).collect())
            }
            options => Fate::Moves { from: from.clone(), options },
        }
    }

    /// Chooses for all lost masters together, as one sheet would.
    fn choose(&self, gone: &BTreeSet<&'a HostName>, ways: Vec<(&'a StoreName, SlotId, Vec<SlotId>)>, loss: &mut Loss) {
        let left = self.led.iter().filter(|(host, _)| !gone.contains(host));
        let load: BTreeMap<HostName, u64> = left.map(|(host, led)| (host.clone(), led.load)).collect();
        let open: Vec<leads::Open<'_>> = ways.iter().map(|(name, _, options)| (*name, &options[..])).collect();
        let chosen = leads::only_choice(&open).unwrap_or_else(|| {
            let leads = self.leads.get_or_init(|| Leads::of(&self.view));
            leads.choose(&|host| gone.contains(host), &open, &load)
        });
        for ((name, from, _), to) in ways.iter().zip(chosen) {
            let status = self.view.evidence.running(&to, self.view.policy().silent_ms);
            let behind = status.and_then(|s| s.behind);
            loss.moves.push(Move { store: (*name).clone(), from: from.clone(), to, behind });
        }
        loss.fullest = self.fullest(gone, &loss.moves);
        let touched: BTreeSet<&StoreName> =
            gone.iter().filter_map(|host| self.on.get(host)).flatten().copied().collect();
        let stopped = |name: &StoreName| loss.stops.iter().any(|s| s.store == *name);
        let moved = |name: &StoreName| loss.moves.iter().any(|m| m.store == *name);
        let master_lost = |name: &StoreName| {
            let master = self.view.cluster.stores.get(name).and_then(|s| s.master.as_ref());
            master.is_none_or(|slot| gone.contains(&slot.host))
        };
        let still =
            self.served.iter().filter(|name| !touched.contains(*name) || (!stopped(name) && !master_lost(name)));
        let served = still.count() + touched.iter().filter(|name| moved(name)).count();
        loss.served = u32::try_from(served).unwrap_or(u32::MAX);
    }

    /// The survivor that bears most once these masters have moved; of equals the first.
    fn fullest(&self, gone: &BTreeSet<&'a HostName>, moves: &[Move]) -> Option<Fullest> {
        if moves.is_empty() {
            return None;
        }
        let cluster = self.view.cluster;
        let mut then: BTreeMap<&HostName, Led> = self.led.iter().map(|(host, led)| (host, *led)).collect();
        then.retain(|host, _| !gone.contains(host));
        for one in moves {
            let load = cluster.stores.get(&one.store).map_or(1, |store| store.spec.load);
            then.entry(&one.to.host).or_default().add(load);
        }
        let (host, now) = then.iter().max_by_key(|(host, led)| (cluster.level(host, **led), Reverse(**host)))?;
        let was = self.led.get(*host).copied().unwrap_or_default();
        let load = LoadThen { before_milli: cluster.level(host, was), after_milli: cluster.level(host, *now) };
        Some(Fullest {
            host: (*host).clone(),
            before: was.masters,
            after: now.masters,
            load: self.has_loads.then_some(load),
        })
    }
}
