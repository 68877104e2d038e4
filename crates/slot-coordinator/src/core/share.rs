//! Which agent looks at what: the share of each in every round.
//!
//! What always holds: the agent of every host, and the address of every master, is looked at in each round by at least
//! [`WATCHERS`] agents elsewhere, of other failure domains where there are as many; only agents that are heard have a share, so
//! what a silent one had goes to others at once; no share is larger than one call ([`LOOKS_MAX`]): what is beyond takes turns.
//! The share is a function of the cluster and of who is heard, the same at every leader; as long as nobody falls silent and no
//! master moves, everybody looks at the same again ([ADR 39]).
//!
//! [ADR 39]: ../../../../docs/adr/0039-every-service-address-is-probed.md

use slot_planted::planted;
use slot_types::cluster::Domain;
use slot_types::ids::*;
use slot_types::probe::LOOKS_MAX;
use std::collections::{BTreeMap, BTreeSet};

/// The most hosts of a fleet in which everybody looks at everybody's agent.
pub(super) const SMALL_FLEET: usize = 16;
/// By how many others the agent of a host of a larger fleet is looked at.
pub(super) const SEEKERS: usize = 8;
/// By how many others the address of a master is looked at.
pub(super) const WATCHERS: usize = 2;

/// The masters of each host, by their slots' numbers.
pub(super) type Masters = BTreeMap<HostName, Vec<u16>>;
/// A host, and one of its slots or its agent.
pub(super) type Target = (HostName, Option<u16>);

/// See the module's documentation.
#[derive(Default)]
pub(super) struct Shares {
    hosts: Vec<(HostName, Domain)>,
    /// For each host its place in its failure domain, and all others, the first to look at it first.
    others: Vec<(usize, Vec<usize>)>,
    of: (BTreeSet<HostName>, Masters),
    shares: BTreeMap<HostName, Vec<Target>>,
}

impl Shares {
    /// The fleet, who of it is heard, and where its masters are; says whether the fleet is another one than before.
    pub(super) fn know(&mut self, hosts: Vec<(HostName, Domain)>, heard: BTreeSet<HostName>, masters: Masters) -> bool {
        let is_other = hosts != self.hosts;
        if is_other {
            let mut ring: Vec<usize> = (0..hosts.len()).collect();
            ring.sort_by_key(|at| (&hosts[*at].1, &hosts[*at].0));
            self.others = (0..hosts.len()).map(|of| others(&hosts, &ring, of)).collect();
            self.hosts = hosts;
        }
        if is_other || (&heard, &masters) != (&self.of.0, &self.of.1) {
            self.of = (heard, masters);
            self.deal();
        }
        is_other
    }

    /// The hosts of the fleet.
    pub(super) fn hosts(&self) -> impl Iterator<Item = &HostName> {
        self.hosts.iter().map(|(name, _)| name)
    }

    /// What an agent looks at in a round: all of its share, or as much of it as one call takes and the next part in the next.
    pub(super) fn round(&self, by: &HostName, round: u64) -> Vec<Target> {
        let share = self.shares.get(by).map(Vec::as_slice).unwrap_or_default();
        let first = match share.len() as u64 {
            all if all > LOOKS_MAX as u64 => round % all * LOOKS_MAX as u64 % all,
            _ => 0,
        };
        share.iter().cycle().skip(first as usize).take(share.len().min(LOOKS_MAX)).cloned().collect()
    }

    fn deal(&mut self) {
        let (heard, masters) = &self.of;
        let mut shares: BTreeMap<HostName, Vec<Target>> = BTreeMap::new();
        for (at, (of, domain)) in self.hosts.iter().enumerate() {
            let (rank, others) = &self.others[at];
            let is_heard = |other: &&usize| heard.contains(&self.hosts[**other].0);
            let seekers = if self.hosts.len() > SMALL_FLEET { SEEKERS } else { SMALL_FLEET };
            let seekers: Vec<&(HostName, Domain)> =
                others.iter().filter(is_heard).take(seekers).map(|other| &self.hosts[*other]).collect();
            for (by, _) in &seekers {
                shares.entry(by.clone()).or_default().push((of.clone(), None));
            }
            // Those of other domains come first in the list.
            let apart = seekers.iter().take_while(|(_, there)| there != domain).count();
            let mut watchers = if apart >= WATCHERS { &seekers[..apart] } else { &seekers[..] };
            let all: Vec<&(HostName, Domain)>;
            if planted("adr39-share-of-the-silent-dropped") {
                all = others.iter().map(|other| &self.hosts[*other]).collect();
                watchers = &all;
            }
            for (turn, slot) in masters.get(of).into_iter().flatten().enumerate() {
                let first = (rank + turn) * WATCHERS;
                for next in 0..WATCHERS.min(watchers.len()) {
                    let (by, _) = watchers[(first + next) % watchers.len()];
                    shares.entry(by.clone()).or_default().push((of.clone(), Some(*slot)));
                }
            }
        }
        self.shares = shares;
    }
}

/// A host's place in its failure domain, and all others in the order in which they look at it: those of other domains first.
/// Seen from each end of a domain the rest of the fleet is a ring; every host of the domain begins at a place of its own in it and
/// goes round in [`SEEKERS`] strides, so that everybody looks at about as many as everybody else.
fn others(hosts: &[(HostName, Domain)], ring: &[usize], of: usize) -> (usize, Vec<usize>) {
    let domain = &hosts[of].1;
    let near: Vec<usize> = ring.iter().copied().filter(|at| hosts[*at].1 == *domain).collect();
    let rank = near.iter().position(|at| *at == of).unwrap_or_default();
    let end = ring.iter().position(|at| hosts[*at].1 > *domain).unwrap_or_default();
    let round = ring.iter().copied().cycle().skip(end).take(ring.len());
    let far: Vec<usize> = round.filter(|at| hosts[*at].1 != *domain).collect();
    let mut order = strides(&far, rank, near.len());
    order.extend(near.iter().cycle().skip(rank + 1).take(near.len().saturating_sub(1)));
    (rank, order)
}

fn strides(far: &[usize], rank: usize, near: usize) -> Vec<usize> {
    let mut taken = vec![false; far.len()];
    let mut order = Vec::with_capacity(far.len());
    for step in 0..far.len() {
        for stride in 0..SEEKERS {
            let at = (step + (rank + stride * near) * far.len() / (SEEKERS * near)) % far.len();
            if !std::mem::replace(&mut taken[at], true) {
                order.push(far[at]);
            }
        }
        if order.len() == far.len() {
            break;
        }
    }
    order
}

#[cfg(test)]
#[path = "share_tests.rs"]
mod tests;
