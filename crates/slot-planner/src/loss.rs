//! What an unplanned failover may lose, said no better than it can be proven (R7).
//!
//! What always holds: "none provable" only from durable stops of everyone who may have acknowledged, or from a bound
//! the engine enforces; "caught up" only from reports that reach close to the last sign of life; of several classes
//! that apply, the worst is said.

use crate::view::View;
use slot_types::cluster::*;
use slot_types::engine::{EngineRole, EngineStatus};
use slot_types::ids::*;
use slot_types::position::Tip;
use std::collections::BTreeSet;

/// A failover as far as the loss depends on it.
pub(crate) struct Past<'a> {
    pub name: &'a StoreName,
    pub store: &'a Store,
    pub from: &'a SlotId,
    pub to: &'a SlotId,
    /// What `to`'s engine said, and how long ago.
    pub candidate: (&'a EngineStatus, u64),
    /// The same of the copy that feeds `to`, if one does.
    pub feed: Option<(&'a EngineStatus, u64)>,
    /// Copies that are raised, `to` left out.
    pub raise: &'a [SlotId],
    /// Possible masters that are not demoted.
    pub waived: &'a BTreeSet<SlotId>,
}

/// The statement a person approves.
pub(crate) fn statement(view: &View<'_>, past: &Past<'_>) -> LossStatement {
    let (furthest, furthest_age) = past.feed.unwrap_or(past.candidate);
    let known = last_known(view, past);
    let lag = known.and_then(|(tip, _)| {
        let same_epoch = tip.position.epoch == furthest.tip.position.epoch;
        same_epoch.then(|| tip.position.length.saturating_sub(furthest.tip.position.length))
    });
    LossStatement {
        class: class(view, past, known, furthest, furthest_age),
        candidate: furthest.tip,
        last_known: known.map(|(tip, _)| tip),
        last_known_age_ms: known.map(|(_, age)| age),
        known_lag: lag,
    }
}

/// The old master's last reported end, if the report is of this very mastership.
fn last_known(view: &View<'_>, past: &Past<'_>) -> Option<(Tip, u64)> {
    let (status, age) = view.evidence.last_status(past.from)?;
    let copy = past.store.copies.get(past.from)?;
    let held = if past.store.master.as_ref() == Some(past.from) {
        past.store.epoch
    } else {
        past.store.possible_masters.get(past.from)?.since
    };
    let same = status.store == *past.name && status.generation == copy.generation && status.epoch == held;
    same.then_some((status.tip, age))
}

fn class(
    view: &View<'_>,
    past: &Past<'_>,
    known: Option<(Tip, u64)>,
    furthest: &EngineStatus,
    furthest_age: u64,
) -> LossClass {
    // R10: nor is it known who all of them are.
    if past.store.last_promoted.is_unheard_of() {
        return LossClass::Unknown;
    }
    // R7: everyone who may have acknowledged is durably stopped, and Promote is checked against where they end (R1).
    if past.waived.is_empty() {
        return LossClass::NoneProvable;
    }
    // R7: what a copy with an open loss case holds and lacks was never compared with the others.
    if diverged(view, past)
        || view.open_case(past.name, past.to).is_some()
        || past.waived.iter().any(|slot| slot != past.from)
    {
        return LossClass::Unknown;
    }
    let (status, age) = past.candidate;
    let verified_age = status.verified_ms.map(|ms| ms.saturating_add(age));
    let stamp = match verified_age {
        _ if view.cluster.fault(past.store, past.to).is_some() => LossClass::Unverified,
        Some(ms) if ms <= view.policy().max_stamp_age_ms => LossClass::NoneProvable,
        _ => LossClass::Unverified,
    };
    if bounded(past, furthest) {
        return stamp;
    }
    let (Some((tip, known_age)), Some(life)) = (known, view.last_life_age(&past.from.host)) else {
        return LossClass::Unknown;
    };
    if furthest.tip.position < tip.position {
        return stamp.max(LossClass::Lagging);
    }
    // What the furthest copy holds was everything at this age: when the master reported it, or when it said itself
    // that it had no more to give.
    let followed = furthest.following.as_ref().is_some_and(|(source, _)| source == past.from);
    let asked = furthest.heard_ms.filter(|_| followed && furthest.behind == Some(0));
    let covered = asked.map_or(known_age, |ms| known_age.min(ms.saturating_add(furthest_age)));
    if covered.saturating_sub(life) > view.policy().caught_up_ms {
        return LossClass::Unknown;
    }
    stamp.max(LossClass::CaughtUp)
}

/// R7's bound: of the copies that are not master, more are reached and raised than could be missing from an
/// acknowledgement, and the furthest holds the start record of the last epoch whose Promote was issued.
fn bounded(past: &Past<'_>, furthest: &EngineStatus) -> bool {
    let store = past.store;
    let sync = usize::from(store.spec.sync_copies);
    let settled = store.master.as_ref() == Some(past.from)
        && store.pending.is_none()
        && store.possible_masters.keys().all(|slot| slot == past.from);
    if sync == 0 || !settled {
        return false;
    }
    let serving = |slot: &&SlotId| {
        store.copies.get(*slot).is_some_and(|c| c.role == Role::Replica && c.state == CopyState::Serving)
    };
    // R16: a building copy is never counted as reached, but it may have been counted by the master.
    let reached = past.raise.iter().chain([past.to]).filter(serving).count();
    // What is gone since that Promote may have been all that an acknowledgement rested on.
    let others = store.copies.len().saturating_sub(1) + store.unheard.len();
    reached + sync > others && furthest.history.iter().any(|start| start.epoch == store.last_promoted)
}

/// A copy that stopped because its history fits nobody's may hold what no one else does.
fn diverged(view: &View<'_>, past: &Past<'_>) -> bool {
    past.store.copies.iter().any(|(slot, copy)| {
        slot != past.from
            && view.status(past.name, slot, copy).is_some_and(|(status, _)| status.role == EngineRole::Diverged)
    })
}
