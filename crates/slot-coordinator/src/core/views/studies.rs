//! Views that lack the planner's part, with all that the planner is asked from.

use super::Fleet;
use crate::core::study::{Asked, Explain, Study, Unfinished};
use slot_planner::Inputs;
use slot_types::ids::*;
use slot_types::view::*;

impl Fleet<'_> {
    /// What the planner needs besides cluster and evidence; nobody asks for a plan here.
    fn inputs(&self) -> Inputs {
        let state = self.eyes.state;
        Inputs {
            requested_by: None,
            reason: String::new(),
            revision: state.revision,
            now: self.eyes.log_now,
            wall: self.eyes.now.wall,
            busy_stores: state.store_claims.keys().cloned().collect(),
            busy_hosts: state.host_claims.keys().cloned().collect(),
            busy_slots: self.eyes.state.slot_claims.keys().cloned().collect(),
            fleet_version: state.fleet_version,
            said: Default::default(),
        }
    }

    /// Whether what is seen is enough to conclude from: a leader that has heard every agent, or has listened for it so long
    /// that it counts as silent (R14). A new leader would else call everything lost.
    fn sees(&self) -> Result<(), String> {
        let unheard = |name: &&HostName| !self.eyes.evidence.hosts.contains_key(*name);
        if !self.eyes.leads {
            return Err("only the leader hears agents".into());
        }
        match self.cluster.hosts.keys().find(unheard) {
            Some(host) => Err(format!("this leader is new and has not listened for {host} long enough")),
            None => Ok(()),
        }
    }

    /// What is asked of the planner for a view, of this moment.
    pub(super) fn study(&self, view: Unfinished) -> Study {
        let mut inputs = self.inputs();
        if let Unfinished::Explain(Explain::Plan(_, explained)) = &view {
            // What the plan itself holds was free when it was made.
            inputs.busy_hosts.retain(|host| self.eyes.state.host_claims.get(host) != Some(&explained.plan));
        }
        let asked = Asked::View {
            view: Box::new(view),
            not_seen: self.sees().err(),
            coordinators: self.eyes.config.members.values().cloned().collect(),
        };
        Study { cluster: self.cluster.clone(), evidence: self.eyes.evidence.clone(), inputs, asked }
    }

    /// `None` when it names nothing of the fleet.
    pub(super) fn risk(&self, lost: &Lost) -> Option<Unfinished> {
        let mut hosts = self.cluster.hosts.iter();
        hosts.any(|(name, host)| lost.takes(name, &host.at)).then(|| Unfinished::Risk(lost.clone()))
    }

    /// Everything a plan would be made from now.
    pub(super) fn snapshot(&self) -> SnapshotView {
        let (eyes, inputs) = (self.eyes, self.inputs());
        SnapshotView {
            revision: inputs.revision,
            log_time: inputs.now,
            wall: inputs.wall,
            cluster: self.cluster.clone(),
            evidence: eyes.evidence.clone(),
            not_seen: self.sees().err(),
            busy_stores: inputs.busy_stores,
            busy_hosts: inputs.busy_hosts,
            busy_slots: inputs.busy_slots,
            fleet_version: inputs.fleet_version,
            coordinators: eyes.config.members.values().cloned().collect(),
        }
    }
}
