//! Holds: persons' words that nothing may touch a host, a store or anything.
//!
//! What always holds: there is one hold on a thing at most, and who put it there, when and why is in the audit; a hold stops
//! no plan that runs (R18); it keeps every plan that touches its thing from starting, the standing Demote of R8 excepted.

use crate::apply::{Stamp, audit, cluster};
use crate::command::{Answer, Refused};
use crate::hosts::bounded;
use crate::state::{PlanRecord, State};
use slot_planted::planted;
use slot_types::hold::{Held, Hold, HoldOn};
use slot_types::ids::*;

/// Running plans named in an answer; the rest are in `slotctl plan list`.
pub const RUNNING_NAMED_MAX: usize = 16;

/// Whatever is neither there nor held is a mistake.
fn must_be_known(state: &State, on: &HoldOn) -> Result<(), Refused> {
    let cluster = cluster(state)?;
    match on {
        _ if cluster.holds.contains_key(on) => Ok(()),
        HoldOn::Host(host) if !cluster.hosts.contains_key(host) => Err(Refused::UnknownHost(host.clone())),
        HoldOn::Store(store) if !cluster.stores.contains_key(store) => Err(Refused::UnknownStore(store.clone())),
        _ => Ok(()),
    }
}

/// The plans that go on although they touch it.
fn running(state: &State, on: &HoldOn) -> Vec<PlanId> {
    let Some(cluster) = &state.cluster else { return Vec::new() };
    let touched = state.running().filter(|record| cluster.is_touched(on, &record.plan));
    touched.map(|record| record.id).take(RUNNING_NAMED_MAX).collect()
}

pub(crate) fn hold(
    state: &mut State,
    stamp: Stamp,
    on: &HoldOn,
    by: &OperatorName,
    reason: &str,
) -> Result<Answer, Refused> {
    must_be_known(state, on)?;
    let running = running(state, on);
    match cluster(state)?.holds.get(on) {
        // Another person's word is not written over: who releases it must know whose it is.
        Some(hold) if hold.by != *by => {
            return Err(Refused::Held(Box::new(Held { on: on.clone(), hold: hold.clone() })));
        }
        Some(_) => return Ok(Answer::Hold { changed: false, running }),
        None => {}
    }
    let hold = Hold { by: by.clone(), reason: bounded(reason), at: stamp.now, wall: stamp.wall };
    audit(state, stamp, by.as_str(), format!("hold {on}: {}", hold.reason));
    if let Some(cluster) = state.cluster.as_mut() {
        cluster.holds.insert(on.clone(), hold);
    }
    Ok(Answer::Hold { changed: true, running })
}

pub(crate) fn release(
    state: &mut State,
    stamp: Stamp,
    on: &HoldOn,
    by: &OperatorName,
    reason: &str,
) -> Result<Answer, Refused> {
    must_be_known(state, on)?;
    let Some(hold) = state.cluster.as_mut().and_then(|c| c.holds.remove(on)) else {
        return Ok(Answer::Hold { changed: false, running: Vec::new() });
    };
    audit(state, stamp, by.as_str(), format!("release {on}, held by {}: {}", hold.by, bounded(reason)));
    Ok(Answer::Hold { changed: true, running: Vec::new() })
}

/// Whether a person's hold keeps this plan from starting.
pub(crate) fn let_start(state: &State, record: &PlanRecord) -> Result<(), Refused> {
    if planted("r13-held-plan-started") {
        return Ok(());
    }
    cluster(state)?.hold_against(&record.plan).map_or(Ok(()), |held| Err(Refused::Held(Box::new(held))))
}
