//! Which hosts may be taken down together, group after group, until every host was down once.
//!
//! What always holds: while a whole group is down, every store that had a live copy before has one left elsewhere; every active host is in
//! exactly one group, unless it holds the only live copy of a store and can't be taken down at all.
//!
//! The fewest groups are a colouring of the graph of hosts that share a store, which is hard in general; this is the greedy
//! colouring in order of failure domains first, since a rack that holds no store twice is one group by itself, and then of
//! the most neighbours (Welsh and Powell 1967).

use super::loss::Index;
use super::model::*;

/// Groups in the order in which they are best taken, and the hosts that can't be taken.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Groups {
    /// Hosts that may be down together, by number.
    pub groups: Vec<Vec<u32>>,
    /// Hosts with the only live copy of a store, and one such store.
    pub never: Vec<(u32, u32)>,
}

/// Groups all active hosts.
pub fn groups(fleet: &Fleet, layout: &Layout) -> Groups {
    let index = Index::of(fleet, layout);
    let mut result = Groups::default();
    let mut group_of: Vec<Option<usize>> = vec![None; fleet.hosts.len()];
    let mut order: Vec<u32> = fleet.active().collect();
    let rack = |host: u32| fleet.hosts[host as usize].domain[usize::from(RACK)];
    order.sort_by_key(|host| (rack(*host), std::cmp::Reverse(index.on(*host).len()), *host));
    // Full at: a group that may not get this host, found by walking its stores once.
    let mut barred: Vec<u32> = Vec::new();
    for (turn, host) in (1u32..).zip(order) {
        let mut only = None;
        for store in index.on(host) {
            let others = || {
                let copies = layout.copies(fleet, *store).iter().copied();
                copies.filter(|other| *other != host && *other != NOWHERE && fleet.hosts[*other as usize].is_readable())
            };
            if others().next().is_none() {
                only = Some(*store);
                break;
            }
            let mut homes = others().map(|other| group_of[other as usize]);
            // Only if all the others are in one group would that group take the last copy with this host.
            if let Some(Some(first)) = homes.next()
                && homes.all(|home| home == Some(first))
            {
                barred[first] = turn;
            }
        }
        if let Some(store) = only {
            result.never.push((host, store));
            continue;
        }
        let free = barred.iter().position(|when| *when != turn);
        let group = free.unwrap_or_else(|| {
            barred.push(0);
            result.groups.push(Vec::new());
            barred.len() - 1
        });
        group_of[host as usize] = Some(group);
        result.groups[group].push(host);
    }
    for group in &mut result.groups {
        group.sort_unstable();
    }
    result.never.sort_unstable();
    result
}
