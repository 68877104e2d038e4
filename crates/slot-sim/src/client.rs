//! A client that writes one record after the other, and an operator.
//!
//! What always holds: the writer retries an unknown outcome with the same record id until it is certain (R21), and keeps
//! its own log of what was acknowledged, with the epoch and slot that acknowledged it.

use crate::world::{Asker, Happening, World};
use slot_coordinator::core as coordinator;
use slot_engine::journal::core as journal;
use slot_types::ids::*;
use slot_types::plan::{Intent, Plan};

/// How long the writer waits for one answer.
const PATIENCE_MS: u64 = 500;

/// The writer of one store.
pub struct Writer {
    pub(crate) store: StoreName,
    pub(crate) client: ClientName,
    pub(crate) sequence: u64,
    /// Sequence, slot and epoch of every acknowledged record.
    pub acked: Vec<(u64, SlotId, Epoch)>,
    asked: Option<(SlotId, Epoch)>,
    /// Writes are sent while this holds.
    pub running: bool,
}

impl World {
    /// Starts a writer on a store.
    pub fn start_writer(&mut self, store: &str) {
        let store = StoreName::new(store).expect("a test's store has a name");
        let client = ClientName::new("w1").expect("w1 is a name");
        self.writer = Some(Writer { store, client, sequence: 1, acked: Vec::new(), asked: None, running: true });
        self.queue.after(0, Happening::Writer);
    }

    /// The route that the newest live coordinator knows.
    fn route(&self, store: &StoreName) -> Option<(SlotId, Epoch)> {
        let live = self.coordinators.values().filter_map(|n| n.core.as_ref());
        let newest = live.max_by_key(|c| c.state().revision)?;
        let route = newest.state().cluster.as_ref()?.stores.get(store)?.route.as_ref()?;
        Some((route.slot.clone(), route.epoch))
    }

    pub(crate) fn writer_step(&mut self) {
        let Some(writer) = self.writer.as_ref().filter(|w| w.running) else { return };
        let (store, sequence, client) = (writer.store.clone(), writer.sequence, writer.client.clone());
        let Some((slot, epoch)) = self.route(&store) else { return self.queue.after(50, Happening::Writer) };
        if let Some(writer) = &mut self.writer {
            writer.asked = Some((slot.clone(), epoch));
        }
        let payload = sequence.to_le_bytes().to_vec();
        let append = journal::Append { store, epoch, id: RecordId { client, sequence }, payload };
        let asker = Asker::Writer(sequence);
        self.ask_engine(asker, &slot, PATIENCE_MS, |request| journal::Event::Append {
            request,
            append,
            budget_ms: PATIENCE_MS,
        });
    }

    pub(crate) fn writer_answered(&mut self, sequence: u64, outcome: &journal::AppendOutcome) {
        let Some(writer) = self.writer.as_mut().filter(|w| w.sequence == sequence) else { return };
        match outcome {
            journal::AppendOutcome::Done { .. } => {
                if let Some((slot, epoch)) = writer.asked.take() {
                    writer.acked.push((sequence, slot, epoch));
                }
                writer.sequence += 1;
                self.queue.after(2, Happening::Writer);
            }
            journal::AppendOutcome::Refused(_) | journal::AppendOutcome::Unknown { .. } => {
                self.queue.after(10, Happening::Writer);
            }
        }
    }

    pub(crate) fn writer_unknown(&mut self, sequence: u64) {
        if self.writer.as_ref().is_some_and(|w| w.sequence == sequence) {
            self.queue.after(10, Happening::Writer);
        }
    }

    /// The node that leads, as it believes itself.
    pub fn leader(&self) -> Option<u64> {
        let leads = |n: &&crate::nodes::CoordinatorNode| n.core.as_ref().is_some_and(|c| c.is_leader());
        self.coordinators.iter().find(|(_, n)| leads(n)).map(|(id, _)| *id)
    }

    /// The newest applied state among live coordinators.
    pub fn state(&self) -> Option<&slot_machine::state::State> {
        let live = self.coordinators.values().filter_map(|n| n.core.as_ref());
        live.map(coordinator::CoordinatorCore::state).max_by_key(|s| s.revision)
    }

    /// Asks whoever leads, again until somebody answers.
    pub fn ask(
        &mut self,
        who: &str,
        request: coordinator::ControlRequest,
    ) -> Result<coordinator::Reply, coordinator::Failure> {
        let who = OperatorName::new(who).expect("a test's operator has a name");
        for _ in 0..50 {
            if !self.run_until(10_000, |w| w.leader().is_some()) {
                continue;
            }
            let Some(id) = self.leader() else { continue };
            let token = self.number();
            let life = self.coordinators[&id].life;
            let event = coordinator::Event::Request { token, who: who.clone(), request: request.clone() };
            self.queue.after(1, Happening::Coordinator(id, life, Box::new(event)));
            self.run_until(6_000, |w| w.replies.contains_key(&token));
            match self.replies.remove(&token) {
                Some(Err(coordinator::Failure::NotLeader { .. } | coordinator::Failure::Interrupted { .. })) | None => {
                }
                Some(reply) => return reply,
            }
        }
        Err(coordinator::Failure::Invalid("nobody answers".into()))
    }

    /// Plans an intent and says yes to it; the plan's number.
    pub fn order(&mut self, intent: Intent) -> Result<PlanId, coordinator::Failure> {
        let request = coordinator::ControlRequest::MakePlan {
            request: None,
            intent: Box::new(intent),
            reason: "simulation".into(),
            said: Default::default(),
        };
        let coordinator::Reply::Plan { id, bytes, .. } = self.ask("alice", request)? else {
            return Err(coordinator::Failure::Invalid("no plan was answered".into()));
        };
        let digest = Plan::digest_of(&bytes).short();
        let reason = "simulation".to_string();
        let yes = coordinator::ControlRequest::ApprovePlan { request: None, plan: id, digest, reason };
        match self.ask("alice", yes) {
            // The yes of a request whose answer was lost may have been taken; then the plan is under way.
            Err(coordinator::Failure::Refused(_)) if self.plan_started(id) => Ok(id),
            Err(failure) => Err(failure),
            Ok(_) => Ok(id),
        }
    }

    fn plan_started(&self, id: PlanId) -> bool {
        self.state().and_then(|s| s.plans.get(&id)).is_some_and(|p| p.started.is_some())
    }
}

impl World {
    /// How many records the writer has had acknowledged.
    pub fn written(&self) -> usize {
        self.writer.as_ref().map_or(0, |w| w.acked.len())
    }
}

impl World {
    /// Plans an intent for alice; nobody has said yes.
    pub fn plan(&mut self, intent: Intent) -> Result<(PlanId, Plan), coordinator::Failure> {
        let request = coordinator::ControlRequest::MakePlan {
            request: None,
            intent: Box::new(intent),
            reason: "simulation".into(),
            said: Default::default(),
        };
        let coordinator::Reply::Plan { id, bytes, .. } = self.ask("alice", request)? else {
            return Err(coordinator::Failure::Invalid("no plan was answered".into()));
        };
        let plan = slot_types::codec::decode(&bytes).map_err(|e| coordinator::Failure::Invalid(e.to_string()))?;
        Ok((id, plan))
    }

    /// Says yes to a plan as shown.
    pub fn approve(&mut self, who: &str, id: PlanId, plan: &Plan) -> Result<coordinator::Reply, coordinator::Failure> {
        let digest = Plan::digest_of(&plan.bytes()).short();
        let reason = "simulation".to_string();
        self.ask(who, coordinator::ControlRequest::ApprovePlan { request: None, plan: id, digest, reason })
    }

    /// Alice says that a host is off.
    pub fn attest(&mut self, host: &HostName) -> Result<coordinator::Reply, coordinator::Failure> {
        let how = "power cord in hand".to_string();
        self.ask("alice", coordinator::ControlRequest::Attest { request: None, host: host.clone(), how })
    }
}
