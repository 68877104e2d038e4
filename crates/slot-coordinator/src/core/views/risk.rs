//! What losses would do, and why things are where they are: the planner's own words.

use super::Fleet;
use slot_planner::{Inputs, WhatIf};
use slot_types::evidence::Seen;
use slot_types::ids::*;
use slot_types::view::*;

impl Fleet<'_> {
    /// What the planner needs besides cluster and evidence; nobody asks for a plan here.
    pub(super) fn inputs(&self) -> Inputs {
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
    pub(super) fn sees(&self) -> Result<(), String> {
        let unheard = |name: &&HostName| !self.eyes.evidence.hosts.contains_key(*name);
        if !self.eyes.leads {
            return Err("only the leader hears agents".into());
        }
        match self.cluster.hosts.keys().find(unheard) {
            Some(host) => Err(format!("this leader is new and has not listened for {host} long enough")),
            None => Ok(()),
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

    /// Each loss, and that of the worst two hosts.
    pub(super) fn losses_and_pair(&self) -> (Seen<Losses>, Seen<PairLoss>) {
        let both = self.if_lost(|if_lost| {
            let mut pair = if_lost.worst_pair();
            if let Some(line) = &mut pair.worst {
                line.coordinators = self.coordinators_on(&line.lost);
            }
            (self.losses(if_lost), pair)
        });
        match both {
            Ok((losses, pair)) => (Seen::Known { value: losses, age_ms: 0 }, Seen::Known { value: pair, age_ms: 0 }),
            Err(reason) => (Seen::Unknown { reason: reason.clone() }, Seen::Unknown { reason }),
        }
    }

    /// What the planner would do, as far as enough is seen to ask it.
    fn if_lost<T>(&self, ask: impl FnOnce(&WhatIf<'_>) -> T) -> Result<T, String> {
        self.sees()?;
        let inputs = self.inputs();
        Ok(ask(&WhatIf::new(self.cluster, self.eyes.evidence, &inputs)))
    }

    pub(super) fn risks(&self) -> RisksView {
        let losses = match self.if_lost(|if_lost| self.losses(if_lost)) {
            Ok(value) => Seen::Known { value, age_ms: 0 },
            Err(reason) => Seen::Unknown { reason },
        };
        RisksView { revision: self.eyes.state.revision, losses }
    }

    /// One loss in full; `None` when it names nothing of the fleet.
    pub(super) fn risk(&self, lost: &Lost) -> Option<RiskView> {
        let inputs = self.inputs();
        let loss = WhatIf::new(self.cluster, self.eyes.evidence, &inputs).of(lost)?;
        let loss = match self.sees() {
            Ok(()) => Seen::Known { value: loss, age_ms: 0 },
            Err(reason) => Seen::Unknown { reason },
        };
        let voters = u32::try_from(self.eyes.config.members.len()).unwrap_or(u32::MAX);
        Some(RiskView { revision: self.eyes.state.revision, loss, coordinators: self.coordinators_on(lost), voters })
    }

    fn coordinators_on(&self, lost: &Lost) -> Vec<CoordinatorName> {
        lost.coordinators(self.cluster, self.eyes.config.members.values().map(|(name, address)| (name, address)))
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
