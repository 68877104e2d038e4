//! Why a master is on no other host than the one it goes to, and with what it would have gone to that one.
//!
//! What always holds: copies are judged as the plan judged them, before it, and compared as the plan leaves everything else; what
//! is lifted is lifted in both. A copy that may take a master is never said to be forbidden, nor the other way round.

use super::changed::{About, Changed, LIFTED_MAX, copy_on};
use crate::leads::{Choice, Leads};
use crate::refusal::WhyNot;
use crate::view::View;
use slot_types::cluster::*;
use slot_types::ids::*;
use slot_types::position::Position;
use slot_types::view::{Candidate, Change, ExplainedCopy, ExplainedTask, OtherHost, Verdict, Were};
use std::collections::BTreeSet;

/// So many stores are looked at for one plan at most: for each of its choices an equal part.
const LOOKS_MAX: u64 = 8_000_000;
/// So many hosts are looked at for one plan in a cluster in which something is otherwise.
const OTHERS_MAX: usize = 2_000_000;

/// The cluster before a plan and after it.
pub(super) struct Judge<'v> {
    before: &'v View<'v>,
    then: &'v View<'v>,
    leads: Leads<'v>,
    looks: u64,
    /// Whether there is time to look at other clusters.
    is_small: bool,
}

/// One master that moves.
#[derive(Clone, Copy)]
struct Moves<'t> {
    store: &'t StoreName,
    from: &'t SlotId,
    to: &'t SlotId,
    planned: bool,
}

impl<'v> Judge<'v> {
    /// For a plan with so many masters that move.
    pub fn of(before: &'v View<'v>, then: &'v View<'v>, roles: usize) -> Judge<'v> {
        let hosts = then.cluster.hosts.len() * roles;
        let is_small = hosts.saturating_mul(then.cluster.stores.len() + then.cluster.hosts.len()) <= OTHERS_MAX;
        Judge { before, then, leads: Leads::of(then), looks: LOOKS_MAX / hosts.max(1) as u64, is_small }
    }

    pub fn place(&self, task: &ExplainedTask) -> Option<ExplainedCopy> {
        let from = task.from.as_ref()?;
        let moves = Moves { store: &task.store, from, to: &task.to, planned: task.planned };
        let hosts = self.then.cluster.hosts.keys().filter(|host| **host != task.to.host);
        let others = hosts.map(|host| self.other(moves, &task.others, host)).collect();
        Some(ExplainedCopy { slot: task.to.clone(), best: Some(task.to.host.clone()), others })
    }

    fn other(&self, moves: Moves<'_>, candidates: &[Candidate], host: &HostName) -> OtherHost {
        let why = self.why(moves, candidates, host);
        let (change, no_change) = match self.nearest(moves, host) {
            Ok(change) => (Some(change), String::new()),
            Err(why) => (None, why),
        };
        OtherHost { host: host.clone(), why, change, no_change }
    }

    fn why(&self, moves: Moves<'_>, candidates: &[Candidate], host: &HostName) -> String {
        if *host == moves.from.host {
            return "the master leaves it".into();
        }
        let verdict = |c: &Candidate| if moves.planned { c.planned.clone() } else { c.unplanned.clone() };
        match candidates.iter().find(|c| c.slot.host == *host).map(verdict) {
            None => "it holds no copy of it".into(),
            Some(Verdict::No { why }) => why,
            Some(Verdict::NotFurthest { furthest }) => format!("another copy has more, it ends at {furthest}"),
            Some(Verdict::LastResort) => "a loss case is open there".into(),
            Some(Verdict::Can | Verdict::Master) => {
                let able = able(self.before, self.then, moves);
                let able: Vec<&HostName> = able.iter().collect();
                let choice = Choice { store: moves.store, chosen: &moves.to.host, able: &able };
                let is_left =
                    self.then.cluster.hosts.get(host).is_some_and(|known| known.declared != HostState::Active);
                match is_left {
                    true => "masters leave it with this plan".into(),
                    false => self.leads.why_not(self.then, &choice, host).unwrap_or_default(),
                }
            }
        }
    }

    /// The nearest change with which a host would be the choice, or why none is said.
    fn nearest(&self, moves: Moves<'_>, host: &HostName) -> Result<Change, String> {
        let is_active = |view: &View<'_>| view.cluster.hosts.get(host).map(|h| h.declared == HostState::Active);
        if *host == moves.from.host || is_active(self.before) == Some(true) && is_active(self.then) == Some(false) {
            return Err("the plan takes masters off it".into());
        }
        let (mut before, mut then) = (Changed::of(self.before), Changed::of(self.then));
        let mut were = Vec::new();
        while let Some(lift) = forbidden(&before.view(), moves, host) {
            if !self.is_small || were.len() >= LIFTED_MAX {
                return Err(too_large());
            }
            let lift = lift?;
            let about = About { store: moves.store, host, like: moves.to };
            before.make(about, &lift);
            then.make(about, &lift);
            were.push(lift);
        }
        let (before, then) = (before.view(), then.view());
        // One record more than the furthest leaves nobody else to choose.
        if let Some(Were::EndsAt(furthest)) = were.last()
            && !is_chosen(&before, &then, moves, host)
        {
            let further = Position { length: furthest.length + 1, ..*furthest };
            were.pop();
            were.push(Were::EndsAt(further));
            return Ok(Change { were, ..Change::default() });
        }
        let change = match were.is_empty() {
            true => self.best_there(&self.leads, (&before, &then), moves, host)?,
            false => self.best_there(&Leads::of(&then), (&before, &then), moves, host)?,
        };
        let change = Change { were: were.into_iter().chain(change.were).collect(), ..change };
        Ok(self.without_needless(change, moves, host))
    }

    /// Where no other host is left, a copy that waits for its loss case is chosen as it is.
    fn without_needless(&self, change: Change, moves: Moves<'_>, host: &HostName) -> Change {
        let is_case = |were: &Were| matches!(were, Were::CaseClosed(_));
        let is_alone = |were: &Were| matches!(were, Were::Draining(_));
        if !change.were.iter().any(is_case) || !change.were.iter().any(is_alone) {
            return change;
        }
        let (mut before, mut then) = (Changed::of(self.before), Changed::of(self.then));
        let about = About { store: moves.store, host, like: moves.to };
        let rest: Vec<Were> = change.were.iter().filter(|were| !is_case(were)).cloned().collect();
        for were in &rest {
            before.make(about, were);
            then.make(about, were);
        }
        match is_chosen(&before.view(), &then.view(), moves, host) {
            true => Change { were: rest, ..change },
            false => change,
        }
    }

    /// With what a host that nothing forbids is the best one.
    fn best_there(
        &self,
        leads: &Leads<'_>,
        (before, then): (&View<'_>, &View<'_>),
        moves: Moves<'_>,
        host: &HostName,
    ) -> Result<Change, String> {
        let able = able(before, then, moves);
        let able: Vec<&HostName> = able.iter().collect();
        let choice = Choice { store: moves.store, chosen: &moves.to.host, able: &able };
        let fewer = leads.fewer(then, &choice, host, self.looks).ok_or("it can't be compared")?;
        if let Some(led_elsewhere) = fewer.led_elsewhere {
            return Ok(Change { led_elsewhere, bounded: fewer.bounded, ..Change::default() });
        }
        if !self.is_small {
            return Err(too_large());
        }
        let rest: Vec<&HostName> = able.into_iter().filter(|other| *other != host).collect();
        let few = fewest(&rest, |hosts| {
            let drained = Were::Draining(hosts.to_vec());
            let (mut before, mut then) = (Changed::of(before), Changed::of(then));
            let about = About { store: moves.store, host, like: moves.to };
            before.make(about, &drained);
            then.make(about, &drained);
            is_chosen(&before.view(), &then.view(), moves, host)
        });
        let draining = Were::Draining(few.ok_or_else(too_large)?);
        Ok(Change { were: vec![draining], bounded: fewer.bounded, ..Change::default() })
    }
}

fn too_large() -> String {
    "too much would have to be looked at; ask about one store".into()
}

/// The fewest hosts of which something holds. A store has few copies: all sets of them are looked at.
fn fewest(all: &[&HostName], holds: impl Fn(&[HostName]) -> bool) -> Option<Vec<HostName>> {
    let sets = 1u32.checked_shl(u32::try_from(all.len()).ok()?).filter(|_| all.len() <= LIFTED_MAX)?;
    let mut numbers: Vec<u32> = (0..sets).collect();
    numbers.sort_by_key(|set| set.count_ones());
    numbers.into_iter().find_map(|set| {
        let hosts: Vec<HostName> =
            (0..).zip(all).filter(|(n, _)| set >> n & 1 == 1).map(|(_, host)| (*host).clone()).collect();
        holds(&hosts).then_some(hosts)
    })
}

/// Whether the planner would choose a host, of all that could have the master.
fn is_chosen(before: &View<'_>, then: &View<'_>, moves: Moves<'_>, host: &HostName) -> bool {
    let able = able(before, then, moves);
    let able: Vec<&HostName> = able.iter().collect();
    let choice = Choice { store: moves.store, chosen: &moves.to.host, able: &able };
    Leads::of(then).is_chosen(then, &choice, host)
}

/// Whether a copy may take the master, and where it ends.
fn takes(view: &View<'_>, moves: Moves<'_>, store: &Store, slot: &SlotId) -> Result<Option<Position>, WhyNot> {
    match moves.planned {
        true => view.handover_target(moves.store, store, moves.from, slot).map(|()| None),
        false => {
            let (status, _) = view.failover_target(moves.store, store, moves.from, slot)?;
            Ok(Some(status.tip.position))
        }
    }
}

/// The hosts that could have the master: of those that may take it, in a failover the ones whose copies end furthest; where nothing
/// else is left to fail over to, those that wait for a loss case.
fn able(before: &View<'_>, then: &View<'_>, moves: Moves<'_>) -> BTreeSet<HostName> {
    let Some(store) = before.cluster.stores.get(moves.store) else { return BTreeSet::new() };
    let may_lead = |host: &HostName| then.cluster.hosts.get(host).is_some_and(|h| h.declared == HostState::Active);
    let others = store.copies.keys().filter(|slot| *slot != moves.from && may_lead(&slot.host));
    let others: Vec<&SlotId> = others.collect();
    let mut able: Vec<(&SlotId, Option<Position>)> =
        others.iter().filter_map(|slot| Some((*slot, takes(before, moves, store, slot).ok()?))).collect();
    if able.is_empty() && !moves.planned {
        let waiting = |slot: &&SlotId| before.last_resort(moves.store, store, slot).map(|(s, _)| s.tip.position);
        able = others.iter().filter_map(|slot| Some((*slot, Some(waiting(slot)?)))).collect();
    }
    let furthest = able.iter().map(|(_, ends)| *ends).max().flatten();
    able.into_iter().filter(|(_, ends)| *ends == furthest).map(|(slot, _)| slot.host.clone()).collect()
}

/// What keeps a host's copy from being among those that are chosen from, lifted; `None` where nothing does.
fn forbidden(view: &View<'_>, moves: Moves<'_>, host: &HostName) -> Option<Result<Were, String>> {
    let store = view.cluster.stores.get(moves.store)?;
    let Some((slot, _)) = copy_on(store, host) else { return Some(Ok(Were::HoldsCopy)) };
    match takes(view, moves, store, slot) {
        Ok(ends) => {
            let all = store.copies.keys().filter(|slot| *slot != moves.from);
            let furthest = all.filter_map(|slot| takes(view, moves, store, slot).ok()).max().flatten();
            furthest.filter(|_| ends < furthest).map(|furthest| Ok(Were::EndsAt(furthest)))
        }
        Err(why) => Some(lifted(view, why)),
    }
}

fn lifted(view: &View<'_>, why: WhyNot) -> Result<Were, String> {
    Ok(match why {
        WhyNot::HostState(_) => Were::Active,
        WhyNot::HostQuarantined => Were::Admitted,
        WhyNot::HostSilent => Were::Heard,
        WhyNot::HostBusy => Were::Unclaimed,
        WhyNot::State(_) | WhyNot::NotWhole => Were::Serving,
        WhyNot::EngineNotSeen
        | WhyNot::Engine(_)
        | WhyNot::OtherCopy
        | WhyNot::FollowsOther { .. }
        | WhyNot::NotHeard
        | WhyNot::BehindUnknown => Were::Following,
        WhyNot::Behind { max, .. } => Were::Behind(max),
        WhyNot::NeverVerified => Were::VerifiedWithin(view.policy().max_stamp_age_ms),
        WhyNot::VerifiedLongAgo { max_ms, .. } => Were::VerifiedWithin(max_ms),
        WhyNot::Differs { .. } => Were::Agreeing,
        WhyNot::LossCase(case) => Were::CaseClosed(case),
        why => return Err(why.to_string()),
    })
}
