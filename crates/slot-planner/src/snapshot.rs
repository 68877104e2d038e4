//! Planning from a snapshot instead of a running cluster.
//!
//! What always holds: the inputs are the ones the leader had at that moment, so a plan is the one it would have made then, but
//! for who asks and why.

use crate::Inputs;
use slot_types::ids::OperatorName;
use slot_types::plan::Said;
use slot_types::view::SnapshotView;

impl Inputs {
    /// What a plan depended on besides cluster and evidence when the snapshot was taken.
    pub fn of(snapshot: &SnapshotView, requested_by: Option<OperatorName>, reason: &str) -> Inputs {
        Inputs {
            requested_by,
            reason: reason.to_owned(),
            revision: snapshot.revision,
            now: snapshot.log_time,
            wall: snapshot.wall,
            busy_stores: snapshot.busy_stores.clone(),
            busy_hosts: snapshot.busy_hosts.clone(),
            busy_slots: snapshot.busy_slots.clone(),
            fleet_version: snapshot.fleet_version,
            said: Said::default(),
        }
    }
}
