//! The steps of each kind of task.
//!
//! What always holds: the sequence of a kind is fixed; only places and the number of followers differ. The checker
//! has its own copy of this knowledge.

use slot_types::cluster::{Cluster, Copy, CopyState, HostState, Store};
use slot_types::ids::*;
use slot_types::plan::{Place, Settlement, Step, StepKind};

/// A copy that is built is told again whom it follows when it did not count after this long.
const COUNT_MS: u64 = 60_000;
/// Deadlines are for a person who waits, never for safety: after them a step counts as stuck.
const ORDER_MS: u64 = 10_000;
/// Making room for a copy may wait for a disk.
const PROVISION_MS: u64 = 60_000;
/// A front end that has not reloaded after so long is looked after by a person.
const ROUTE_SERVED_MS: u64 = 30_000;
/// An engine flushes everything before it ends.
const STOP_MS: u64 = 30_000;
/// Records to move take a while: a feed, a list or a reinjection of everything a master held alone.
const RECORDS_MS: u64 = 60_000;
/// A change of the replicated state is one log entry.
const INTERNAL_MS: u64 = 5_000;

fn deadline_ms(kind: StepKind) -> u64 {
    match kind {
        StepKind::Provision | StepKind::Destroy => PROVISION_MS,
        StepKind::Stop | StepKind::ConfirmStopped => STOP_MS,
        StepKind::Feed | StepKind::ListStranded | StepKind::Reinject => RECORDS_MS,
        StepKind::Count => COUNT_MS,
        StepKind::RouteServed => ROUTE_SERVED_MS,
        kind if kind.is_internal() => INTERNAL_MS,
        _ => ORDER_MS,
    }
}

pub(crate) fn at(kind: StepKind, slot: &SlotId) -> Step {
    Step { kind, at: Some(Place::Slot(slot.clone())), deadline_ms: deadline_ms(kind) }
}

pub(crate) fn on(kind: StepKind, host: &HostName) -> Step {
    Step { kind, at: Some(Place::Host(host.clone())), deadline_ms: deadline_ms(kind) }
}

/// R26: off, then status until it says off, may take the device's whole time; the agent is asked again in between.
pub(crate) fn fence_host(of: &HostName, by: &HostName, timeout_ms: u64) -> Step {
    let at = Some(Place::Device { of: of.clone(), by: by.clone() });
    Step { kind: StepKind::FenceHost, at, deadline_ms: timeout_ms.saturating_add(ORDER_MS) }
}

pub(crate) fn internal(kind: StepKind) -> Step {
    Step { kind, at: None, deadline_ms: deadline_ms(kind) }
}

/// The last step of whatever moves a route, where there are front ends to follow it.
pub(crate) fn route_served(cluster: &Cluster) -> Option<Step> {
    (!cluster.front_ends.is_empty()).then(|| internal(StepKind::RouteServed))
}

pub(crate) fn create_store(master: &SlotId, copies: &[SlotId], canary: &HostName) -> Vec<Step> {
    let mut steps: Vec<Step> = copies.iter().map(|slot| at(StepKind::Provision, slot)).collect();
    steps.push(internal(StepKind::CommitEpoch));
    steps.push(at(StepKind::Promote, master));
    steps.push(internal(StepKind::Repoint));
    steps.extend(copies.iter().filter(|slot| *slot != master).map(|slot| at(StepKind::Follow, slot)));
    steps.push(on(StepKind::Canary, canary));
    steps
}

pub(crate) fn hand_over(from: &SlotId, to: &SlotId, others: &[SlotId], canary: &HostName) -> Vec<Step> {
    let mut steps = vec![
        at(StepKind::Freeze, from),
        at(StepKind::CatchUp, to),
        internal(StepKind::CommitEpoch),
        at(StepKind::Demote, from),
        at(StepKind::Promote, to),
        internal(StepKind::Repoint),
        at(StepKind::Follow, from),
    ];
    steps.extend(others.iter().map(|slot| at(StepKind::Follow, slot)));
    steps.push(on(StepKind::Canary, canary));
    steps
}

/// `begin`: nothing of it is there yet.
pub(crate) fn build_copy(slot: &SlotId, begin: bool) -> Vec<Step> {
    let mut steps = Vec::new();
    if begin {
        steps.push(at(StepKind::Provision, slot));
    }
    steps.push(at(StepKind::Follow, slot));
    steps.push(internal(StepKind::Count));
    steps
}

pub(crate) fn count_copy() -> Vec<Step> {
    // It holds everything already, or the store is wanted for something else.
    vec![Step { deadline_ms: INTERNAL_MS, ..internal(StepKind::Count) }]
}

pub(crate) fn destroy_copy(slot: &SlotId) -> Vec<Step> {
    vec![at(StepKind::Destroy, slot)]
}

/// Nobody is to serve it, and then nobody can: from the first step's epoch on its master refuses (R2).
pub(crate) fn retire_store(master: &SlotId) -> Vec<Step> {
    vec![internal(StepKind::RetireStore), at(StepKind::Demote, master)]
}

/// The places of an unplanned failover's steps.
pub(crate) struct FailOverPlaces<'a> {
    pub to: &'a SlotId,
    pub raise: &'a [SlotId],
    pub feed: bool,
    pub demote: &'a [SlotId],
    /// The hosts that are switched off, by whom, and how long that may take.
    pub switch_off: &'a [(HostName, HostName, u64)],
    pub follow: &'a [SlotId],
    pub canary: &'a HostName,
}

pub(crate) fn fail_over(places: &FailOverPlaces<'_>) -> Vec<Step> {
    let mut steps = vec![internal(StepKind::CommitEpoch), at(StepKind::Raise, places.to)];
    steps.extend(places.raise.iter().map(|slot| at(StepKind::Raise, slot)));
    if places.feed {
        steps.push(at(StepKind::Feed, places.to));
    }
    steps.extend(places.demote.iter().map(|slot| at(StepKind::Demote, slot)));
    // R26: power is the last fence; whatever can stop the failover has been asked before.
    steps.extend(places.switch_off.iter().map(|(of, by, timeout_ms)| fence_host(of, by, *timeout_ms)));
    steps.push(at(StepKind::Promote, places.to));
    steps.push(internal(StepKind::Repoint));
    steps.extend(places.follow.iter().map(|slot| at(StepKind::Follow, slot)));
    steps.push(on(StepKind::Canary, places.canary));
    steps
}

/// Whether the master acknowledges nothing, reinjected records neither, unless the copy of a loss case follows it first (R24).
/// What the master lacks is then put aside there, and brought back from aside.
pub(crate) fn follows_first(store: &Store, slot: &SlotId) -> bool {
    // One that still follows a former master gets to nothing while the plan holds its store.
    let now = store.master.clone().map(|master| (master, store.epoch));
    let follows = |(other, copy): &(&SlotId, &Copy)| {
        *other != slot && copy.state == CopyState::Serving && now.is_some() && copy.follows == now
    };
    let set_aside = store.copies.get(slot).is_some_and(|copy| copy.state == CopyState::Quarantined);
    set_aside && store.copies.iter().filter(follows).count() < usize::from(store.spec.sync_copies)
}

pub(crate) fn settle_loss(slot: &SlotId, how: Settlement, follows_first: bool) -> Vec<Step> {
    let mut steps = Vec::new();
    if how == Settlement::Reinject {
        if follows_first {
            steps.push(at(StepKind::Follow, slot));
        }
        steps.push(at(StepKind::Reinject, slot));
    }
    steps.push(internal(StepKind::CloseLossCase));
    steps.push(at(StepKind::Follow, slot));
    steps
}

/// Whether a copy of a store without a master is woken by its standing Demote (R8). The pending slot may be promoted at the
/// committed epoch, so it is raised.
pub(crate) fn wakes_by_demote(store: &Store, slot: &SlotId) -> bool {
    store.possible_masters.contains_key(slot) && store.pending.as_ref() != Some(slot)
}

/// The one step that starts a dead engine of a store without a master.
pub(crate) fn wake(store: &Store, slot: &SlotId) -> Step {
    at(if wakes_by_demote(store, slot) { StepKind::Demote } else { StepKind::Raise }, slot)
}

pub(crate) fn fence_returned(slot: &SlotId, list: bool) -> Vec<Step> {
    let mut steps = vec![at(StepKind::Demote, slot)];
    if list {
        steps.push(at(StepKind::ListStranded, slot));
    }
    steps
}

pub(crate) fn host_state(host: &HostName, to: HostState) -> Vec<Step> {
    let mut steps = Vec::new();
    if matches!(to, HostState::Maintenance | HostState::Empty) {
        steps.push(on(StepKind::ConfirmStopped, host));
    }
    steps.push(internal(StepKind::DeclareHost));
    steps
}
