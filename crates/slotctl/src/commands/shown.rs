//! A plan as it is shown.
//!
//! What always holds: text, JSON and digest come from the same received bytes, and the digest is computed here (R15); a
//! digest that somebody else names is only ever compared with it.

use crate::client::Task;
use crate::failure::Failure;
use slot_types::codec;
use slot_types::ids::{ClusterId, PlanId};
use slot_types::plan::Plan;
use slot_types::position::{Digest, ShortDigest};
use slot_types::render::render_plan;

/// A plan as it is shown.
#[derive(Clone, Debug)]
pub struct Shown {
    /// Its number.
    pub id: PlanId,
    /// What its bytes say.
    pub plan: Plan,
    /// The digest of its bytes.
    pub digest: Digest,
}

impl Shown {
    /// Reads and hashes received bytes; refuses a plan of another cluster.
    pub fn new(task: &Task, cluster: ClusterId, id: PlanId, bytes: &[u8]) -> Result<Self, Failure> {
        let plan: Plan = codec::decode(bytes)
            .map_err(|e| task.failure(format!("{id} can't be shown: {e}"), "use a slotctl of the cluster's version"))?;
        if plan.cluster != cluster {
            let cause = format!("{id} is a plan for cluster {}, your identity is of {cluster}", plan.cluster);
            return Err(task.failure(cause, "use the identity folder of the right cluster"));
        }
        Ok(Self { id, plan, digest: Digest::of(bytes) })
    }

    /// For a person.
    pub fn text(&self) -> String {
        render_plan(Some(self.id), &self.plan, &self.digest)
    }

    /// Refuses a digest that is not that of the bytes received (R15).
    pub fn must_be(&self, task: &Task, given: ShortDigest) -> Result<(), Failure> {
        if self.digest.short() == given {
            return Ok(());
        }
        let cause = format!("{given} is not the digest of {} as received", self.id);
        Err(task.failure(cause, format!("read it again, then approve what you read: slotctl plan show {}", self.id)))
    }

    /// Refuses bytes that are not the ones the coordinator says it recorded (R15).
    pub fn must_be_recorded(&self, task: &Task, recorded: &Digest) -> Result<(), Failure> {
        if self.digest == *recorded {
            return Ok(());
        }
        let cause = format!("{} was recorded with digest {recorded}, what was received has {}", self.id, self.digest);
        Err(task.failure(cause, "approve nothing; ask another coordinator: --coordinator NAME"))
    }
}
