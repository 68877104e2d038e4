//! Telling front ends where clients go, while this node leads.
//!
//! What always holds: a table carries the revision of the very state it was made of; a front end is told again until it has
//! acknowledged what it was told, one call at a time, the newest table each time; nothing else waits for it but the steps
//! whose guard asks. "Moving" is told only of a freeze that lasts longer than a reload does, and never longer than the freeze
//! may last (R12).

use super::io::{Effect, Now};
use core::net::SocketAddr;
use slot_machine::state::State;
use slot_types::cluster::Cluster;
use slot_types::codec;
use slot_types::evidence::Seen;
use slot_types::front_end::*;
use slot_types::ids::*;
use std::collections::{BTreeMap, BTreeSet};

/// A freeze that is over sooner is not worth two reloads.
const MOVING_AFTER_MS: u64 = 250;
/// How often a front end that serves everything is asked whether it still does.
const ASK_MS: u64 = 2_000;
/// The first pause before one that did not take the table is told again, doubled each time up to [`ASK_MS`].
const PAUSE_MS: u64 = 100;
/// An answer that did not come by then is not waited for.
const ANSWER_MS: u64 = 60_000;

/// What was last told, as far as it makes a difference to a front end.
#[derive(Clone, PartialEq, Eq)]
struct Told {
    revision: Revision,
    moving: BTreeSet<StoreName>,
    render: BTreeSet<MapName>,
}

struct End {
    address: SocketAddr,
    /// What is under way, and until when its answer is waited for.
    under_way: Option<(Told, u64)>,
    /// What was told and acknowledged to this leader.
    taken: Option<Told>,
    again_at: u64,
    failures: u32,
    heard: Option<(FrontEndSeen, u64)>,
    lost: Option<String>,
}

/// See the module's documentation.
#[derive(Default)]
pub(super) struct FrontEnds {
    lines: BTreeMap<StoreName, TableLine>,
    revision: Revision,
    /// Since when a store is seen moving.
    moving: BTreeMap<StoreName, u64>,
    ends: BTreeMap<FrontEndName, End>,
}

impl FrontEnds {
    /// The state changed.
    pub(super) fn refresh(&mut self, state: &State, now: Now) {
        let Some(cluster) = state.cluster.as_ref().filter(|c| !c.front_ends.is_empty()) else {
            return *self = Self::default();
        };
        let lines = lines(cluster);
        if self.revision == Revision::default() || lines != self.lines {
            (self.lines, self.revision) = (lines, state.revision);
        }
        self.moving.retain(|store, _| cluster.stores.get(store).is_some_and(is_moving));
        for (name, _) in cluster.stores.iter().filter(|(_, store)| is_moving(store)) {
            self.moving.entry(name.clone()).or_insert(now.ms);
        }
        self.ends.retain(|name, end| cluster.front_ends.get(name).is_some_and(|spec| spec.address == end.address));
        for (name, spec) in &cluster.front_ends {
            self.ends.entry(name.clone()).or_insert(End {
                address: spec.address,
                under_way: None,
                taken: None,
                again_at: 0,
                failures: 0,
                heard: None,
                lost: None,
            });
        }
    }

    /// Tells whoever is to be told now.
    pub(super) fn act(&mut self, cluster: &Cluster, now: Now, out: &mut Vec<Effect>) {
        let limit = cluster.policy.freeze_limit_ms;
        let left = |since: u64| limit.checked_sub(now.ms.saturating_sub(since)).filter(|left| *left > 0);
        let long = self.moving.iter().filter(|(_, since)| now.ms.saturating_sub(**since) >= MOVING_AFTER_MS);
        let moving: BTreeMap<StoreName, u64> =
            long.filter_map(|(store, since)| Some((store.clone(), left(*since)?))).collect();
        for (name, end) in &mut self.ends {
            let Some(spec) = cluster.front_ends.get(name) else { continue };
            let told =
                Told { revision: self.revision, moving: moving.keys().cloned().collect(), render: spec.render.clone() };
            if end.under_way.as_ref().is_some_and(|(_, until)| *until <= now.ms) {
                end.failed("it did not answer in time".into(), now);
            }
            let news = end.taken.as_ref() != Some(&told) && end.failures == 0;
            if end.under_way.is_some() || (!news && end.again_at > now.ms) {
                continue;
            }
            let mut routes = self.lines.clone();
            for (store, left) in &moving {
                if let Some(line) = routes.get_mut(store) {
                    line.moving_ms = Some(*left);
                }
            }
            let table = RouteTable {
                cluster: cluster.id,
                generation: cluster.generation,
                revision: self.revision,
                front_end: name.clone(),
                render: spec.render.clone(),
                routes,
            };
            end.under_way = Some((told, now.ms.saturating_add(ANSWER_MS)));
            out.push(Effect::ServeRoutes {
                front_end: name.clone(),
                address: end.address,
                table: codec::encode(&table),
            });
        }
    }

    /// A front end answered, or could not be asked.
    pub(super) fn answered(
        &mut self,
        cluster: &Cluster,
        name: &FrontEndName,
        result: Result<FrontEndReport, String>,
        now: Now,
    ) {
        let Some(end) = self.ends.get_mut(name) else { return };
        let report = result.and_then(|report| match report.cluster == cluster.id && report.front_end == *name {
            true => Ok(report),
            false => Err(format!("it says that it is {} of cluster {}", report.front_end, report.cluster)),
        });
        match report {
            Ok(report) => {
                let told = end.under_way.take().map(|(told, _)| told);
                let taken = told.filter(|told| report.serving.serves(cluster.generation, told.revision));
                let is_well = taken.is_some() && report.serving.problem.is_none();
                end.heard = Some((report.serving, now.ms));
                end.lost = None;
                if is_well {
                    (end.taken, end.failures) = (taken, 0);
                    end.again_at = now.ms.saturating_add(ASK_MS);
                } else {
                    end.rest(now);
                }
            }
            Err(why) => end.failed(why, now),
        }
    }

    /// What they serve, as far as this leader heard.
    pub(super) fn evidence(&self, now: Now) -> BTreeMap<FrontEndName, Seen<FrontEndSeen>> {
        self.ends.iter().map(|(name, end)| (name.clone(), end.seen(now))).collect()
    }

    /// When [`Self::act`] may have something to do.
    pub(super) fn next_deadline(&self, now: Now) -> Option<u64> {
        if self.ends.is_empty() {
            return None;
        }
        let again = self.ends.values().filter(|end| end.under_way.is_none()).map(|end| end.again_at);
        let moving = self.moving.values().map(|since| since.saturating_add(MOVING_AFTER_MS)).filter(|at| *at > now.ms);
        again.chain(moving).min()
    }
}

impl End {
    fn rest(&mut self, now: Now) {
        self.again_at = now.ms.saturating_add((PAUSE_MS << self.failures.min(6)).min(ASK_MS));
        self.failures = self.failures.saturating_add(1);
    }

    fn failed(&mut self, why: String, now: Now) {
        self.under_way = None;
        self.taken = None;
        self.lost = Some(why);
        self.rest(now);
    }

    fn seen(&self, now: Now) -> Seen<FrontEndSeen> {
        match (&self.heard, &self.lost) {
            (Some((value, at)), lost) => {
                let mut value = value.clone();
                value.problem = value.problem.or_else(|| lost.as_ref().map(|why| format!("not reached: {why}")));
                Seen::Known { value, age_ms: now.ms.saturating_sub(*at) }
            }
            (None, Some(why)) => Seen::Unknown { reason: format!("not reached by this leader: {why}") },
            (None, None) => Seen::Unknown { reason: "not heard by this leader yet".into() },
        }
    }
}
