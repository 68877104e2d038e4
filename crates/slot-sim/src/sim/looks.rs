//! What agents' shells do when the leader asks them to look at something.
//!
//! What always holds: copies are verified as in the product, by the engine's own core and over the same wire; nobody probes in
//! the swarm: an unanswered look is forgotten at its time.

use super::wire::Asker;
use super::*;
use prost::Message;
use slot_proto::pb;
use slot_types::codec;
use slot_types::engine::{EngineAnswer, EngineCall};
use slot_types::probe::{LookAt, Looks, Saw, Sights};

impl Sim {
    pub(crate) fn look(&mut self, id: u64, life: u32, look: u64, host: &HostName, looks: &[u8], budget_ms: u64) {
        // Without an agent there is nobody to pass it on.
        if self.life(&Node::Agent(host.clone())).is_none() {
            return;
        }
        let looks = codec::decode::<Looks>(looks).map(|looks| looks.at).unwrap_or_default();
        let Some(LookAt::Verify { slot, store, generation, epoch, against, asked, rate, .. }) =
            looks.into_iter().next()
        else {
            return;
        };
        let slot = SlotId::new(host.clone(), slot);
        let request = pb::EngineControlRequest {
            call: codec::encode(&EngineCall::Verify { epoch, against, asked, rate }),
            budget_ms: u32::try_from(budget_ms).unwrap_or(u32::MAX),
            store: store.to_string(),
            slot: slot.to_string(),
            copy_generation: generation.0,
        };
        self.reach("a copy was to be verified");
        let number = self.call(Asker::Look { id, life, look }, budget_ms);
        self.send(Place::Coordinator(id), Node::Engine(slot), Kind::Control, number, &request.encode_to_vec());
    }

    /// What the engine answered, or that nobody did.
    pub(crate) fn looked(&mut self, id: u64, life: u32, look: u64, answer: Option<EngineAnswer>) {
        let result = match answer {
            Some(EngineAnswer(answer)) => {
                let saw = Saw::Verify(answer.map(drop).map_err(|e| e.to_string()));
                Ok(Sights { saw: vec![saw] })
            }
            None => Err("no answer".into()),
        };
        let event = coordinator::Event::Looked { look, result };
        self.work(Node::Coordinator(id), life, Work::Coordinator(Box::new(event)));
    }

    /// A comparison came to its end, or found something. Nothing in this world changes a disk behind its process's back.
    pub(crate) fn saw_verification(&mut self, slot: &SlotId) {
        let Some(core) = self.engines.get(slot).and_then(|engine| engine.core.as_ref()) else { return };
        let Some(seen) = core.verification_over() else { return };
        let (differ, follows) = (seen.findings.count, core.role() == slot_types::engine::EngineRole::Replica);
        if differ > 0 && follows {
            let text = format!("{slot} follows {} and is said to differ: {}", seen.against, seen.findings);
            return self.finding("R7", text);
        }
        if differ == 0 && seen.stage == slot_types::verify::VerifyStage::Ended {
            self.reach("a copy was verified, and is equal");
        }
    }
}
