//! Questions that only the planner can answer, with all that it is asked from. They are answered beside the core: on large fleets
//! that takes longer than followers wait for a heartbeat (L1).
//!
//! What always holds: a study is a value, of one moment of the state and of what was seen then; what is found depends on nothing else, so it
//! does not matter where or when it is looked for. A plan that is found names the versions of what it touches, and is recorded
//! only while they are the same (R14); a view that is found says of which revision it is.

use core::net::SocketAddr;
use slot_planner::{Inputs, WhatIf, explain_plan, explain_store};
use slot_types::cluster::Cluster;
use slot_types::codec;
use slot_types::evidence::{Evidence, Seen};
use slot_types::ids::*;
use slot_types::plan::{Intent, Plan};
use slot_types::view::*;
use std::collections::BTreeMap;

/// A question for the planner. To look for the answer takes up to seconds of processor time, and nothing else.
#[derive(Clone, Debug, PartialEq)]
pub struct Study {
    pub(super) cluster: Cluster,
    pub(super) evidence: Evidence,
    pub(super) inputs: Inputs,
    pub(super) asked: Asked,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Asked {
    /// The plan that fulfils an intent.
    Plan(Box<Intent>),
    /// A view.
    View {
        view: Box<Unfinished>,
        /// Why too little is seen to conclude from; `None` when it is enough (R14).
        not_seen: Option<String>,
        coordinators: Vec<(CoordinatorName, SocketAddr)>,
    },
}

/// A view that lacks the planner's part.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Unfinished {
    /// The losses, and what of them is said of each host.
    Status(Box<StatusView>),
    /// All but the revision.
    Risks,
    /// All but the revision; it names something of the fleet.
    Risk(Lost),
    /// Why things are where they are.
    Explain(Explain),
}

/// What is explained, with what only the state remembers.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Explain {
    /// A plan; its choices are lacking.
    Plan(Box<Plan>, ExplainedPlan),
    /// A store that there is.
    Store(StoreName, Remembered),
    /// A slot, with the store that has a copy on it.
    Slot { slot: SlotId, claimed_by: Option<PlanId>, store: Option<(StoreName, Remembered)> },
}

/// What the state knows of a store's master and of who holds the store.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Remembered {
    pub claimed_by: Option<PlanId>,
    pub made_by: Option<MadeBy>,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// A plan's canonical bytes, or why there is none.
    Plan(Result<Vec<u8>, String>),
    /// A view's canonical bytes.
    View(Vec<u8>),
}

impl Study {
    /// Looks for the answer.
    pub fn answer(self) -> Found {
        let Self { cluster, evidence, inputs, asked } = self;
        match asked {
            Asked::Plan(intent) => Found::Plan(planned(&cluster, &evidence, *intent, inputs)),
            Asked::View { view, not_seen, coordinators } => {
                let desk = Desk { cluster: &cluster, evidence: &evidence, inputs: &inputs, not_seen, coordinators };
                Found::View(codec::encode(&desk.finished(*view)))
            }
        }
    }
}

/// A plan's canonical bytes, or why there is none.
pub(super) fn planned(
    cluster: &Cluster,
    evidence: &Evidence,
    intent: Intent,
    inputs: Inputs,
) -> Result<Vec<u8>, String> {
    let checked = slot_planner::plan(cluster, evidence, intent, inputs);
    checked.map(|checked| checked.bytes().to_vec()).map_err(|refusal| refusal.to_string())
}

/// Where views are finished.
struct Desk<'a> {
    cluster: &'a Cluster,
    evidence: &'a Evidence,
    inputs: &'a Inputs,
    not_seen: Option<String>,
    coordinators: Vec<(CoordinatorName, SocketAddr)>,
}

impl Desk<'_> {
    fn finished(&self, view: Unfinished) -> View {
        match view {
            Unfinished::Status(status) => View::Status(Box::new(self.status(*status))),
            Unfinished::Risks => {
                let losses = self.if_lost(|if_lost| self.losses(if_lost));
                View::Risks(Box::new(RisksView { revision: self.inputs.revision, losses }))
            }
            Unfinished::Risk(lost) => self.risk(&lost),
            Unfinished::Explain(what) => {
                let explained = self.explain(what);
                View::Explain(Box::new(ExplainView { revision: self.inputs.revision, explained }))
            }
        }
    }

    /// What the planner would do, as far as enough is seen to ask it.
    fn if_lost<T>(&self, ask: impl FnOnce(&WhatIf<'_>) -> T) -> Seen<T> {
        match &self.not_seen {
            Some(reason) => Seen::Unknown { reason: reason.clone() },
            None => {
                let value = ask(&WhatIf::new(self.cluster, self.evidence, self.inputs));
                Seen::Known { value, age_ms: 0 }
            }
        }
    }

    /// Each loss in numbers.
    fn losses(&self, if_lost: &WhatIf<'_>) -> Losses {
        let mut losses = if_lost.each();
        for line in losses.hosts.iter_mut().chain(&mut losses.racks) {
            line.coordinators = self.coordinators_on(&line.lost);
        }
        losses
    }

    fn worst_pair(&self, if_lost: &WhatIf<'_>) -> PairLoss {
        let mut pair = if_lost.worst_pair();
        if let Some(line) = &mut pair.worst {
            line.coordinators = self.coordinators_on(&line.lost);
        }
        pair
    }

    fn coordinators_on(&self, lost: &Lost) -> Vec<CoordinatorName> {
        lost.coordinators(self.cluster, self.coordinators.iter().map(|(name, address)| (name, address)))
    }

    fn status(&self, status: StatusView) -> StatusView {
        let both = self.if_lost(|if_lost| (self.losses(if_lost), self.worst_pair(if_lost)));
        let worst_losses = both.clone().map(|(losses, _)| worst(&losses));
        let mut hosts = status.hosts;
        let lines = both.value().into_iter().flat_map(|(losses, _)| &losses.hosts);
        let dies: BTreeMap<String, &LossLine> = lines.map(|line| (line.lost.name(), line)).collect();
        for line in &mut hosts {
            let loss = dies.get(line.host.as_str());
            line.fullest_if_dies =
                loss.and_then(|loss| loss.fullest.as_ref()).map(|full| (full.after, full.host.clone()));
            line.stop_if_dies = loss.map(|loss| loss.stops);
        }
        StatusView { hosts, worst_losses, worst_pair: both.map(|(_, pair)| pair), ..status }
    }

    fn risk(&self, lost: &Lost) -> View {
        let loss = WhatIf::new(self.cluster, self.evidence, self.inputs).of(lost);
        let (Some(value), not_seen) = (loss, self.not_seen.clone()) else {
            return View::NotFound { subject: lost.to_string() };
        };
        let loss = match not_seen {
            None => Seen::Known { value, age_ms: 0 },
            Some(reason) => Seen::Unknown { reason },
        };
        let voters = u32::try_from(self.coordinators.len()).unwrap_or(u32::MAX);
        let coordinators = self.coordinators_on(lost);
        View::Risk(Box::new(RiskView { revision: self.inputs.revision, loss, coordinators, voters }))
    }

    fn explain(&self, what: Explain) -> Seen<Explained> {
        let known = |value| Seen::Known { value, age_ms: 0 };
        match (what, &self.not_seen) {
            // A plan carries its own evidence: any node can explain it.
            (Explain::Plan(plan, explained), _) => {
                let tasks = explain_plan(self.cluster, self.evidence, self.inputs, &plan);
                let without = plan.tasks.len().saturating_sub(tasks.len());
                let without_choice = u32::try_from(without).unwrap_or(u32::MAX);
                known(Explained::Plan(ExplainedPlan { without_choice, tasks, ..explained }))
            }
            (_, Some(reason)) => Seen::Unknown { reason: reason.clone() },
            (Explain::Store(name, remembered), None) => match self.explain_store(&name, remembered) {
                Some(store) => known(Explained::Store(store)),
                None => Seen::Unknown { reason: format!("there is no {name}") },
            },
            (Explain::Slot { slot, claimed_by, store }, None) => {
                let store = store.and_then(|(name, remembered)| self.explain_store(&name, remembered));
                known(Explained::Slot { slot, claimed_by, store })
            }
        }
    }

    fn explain_store(&self, name: &StoreName, remembered: Remembered) -> Option<ExplainedStore> {
        let Remembered { claimed_by, made_by } = remembered;
        let explained = explain_store(self.cluster, self.evidence, self.inputs, name)?;
        Some(ExplainedStore { claimed_by, made_by, ..explained })
    }
}

/// The worst host and the worst rack.
fn worst(losses: &Losses) -> Vec<LossLine> {
    let worst = [LossLine::worst(&losses.hosts), LossLine::worst(&losses.racks)];
    worst.into_iter().flatten().cloned().collect()
}
