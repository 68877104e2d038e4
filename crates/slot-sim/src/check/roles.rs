//! Engines' steps: roles, acknowledgements and answers (S1, S2, S3, S7, S8, S10).
//!
//! What always holds: a role is compared with what was committed, with what the agents' ledgers durably say, and with the
//! calls that the engine was given; an engine that changes its role by itself has only stopped (`Diverged`).

use super::Witness;
use super::acks::{Ack, Context};
use super::engines::Call;
use super::ledgers::epoch_of;
use slot_engine::journal::core::{AppendOutcome, CANARY_CLIENT, Effect, JournalCore, PeerAnswer, Reply};
use slot_types::engine::{EngineAnswer, EngineCall, EngineDone, EngineRole};
use slot_types::ids::*;

impl Witness {
    pub(super) fn engine_opens(&mut self, slot: &SlotId, core: &JournalCore, effects: &[Effect]) {
        self.engines.opens(&mut self.found, slot, core);
        self.engines.asks(slot, effects);
        if core.role() != EngineRole::Idle {
            self.found.say("S10", format!("{slot} opens as {:?} without having been told", core.role()));
        }
    }

    pub(super) fn engine_did(&mut self, slot: &SlotId, core: &JournalCore, effects: &[Effect]) {
        self.engines.sync(&mut self.found, slot, core, true);
        self.engines.asks(slot, effects);
        self.role(slot, core);
        if let Some(engine) = self.engines.all.get_mut(slot) {
            engine.thawed_in_time(&mut self.found, slot, core);
            if engine.failed && !effects.iter().any(|effect| matches!(effect, Effect::Die { .. })) {
                self.found.say("P11", format!("{slot} goes on after an error of its disk"));
            }
        }
        for effect in effects {
            let Effect::Reply { request, reply } = effect else { continue };
            match reply {
                Reply::Append(outcome) | Reply::Peer(PeerAnswer::Appended(outcome)) => {
                    self.append_answered(slot, *request, outcome);
                }
                Reply::Control(answer) => self.control_answered(slot, *request, answer),
                Reply::Read(_) | Reply::Peer(_) => {}
            }
        }
    }

    fn append_answered(&mut self, slot: &SlotId, request: u64, outcome: &AppendOutcome) {
        let Some(engine) = self.engines.all.get_mut(slot) else { return };
        let Some((epoch, record)) = engine.requests.remove(&request) else { return };
        let AppendOutcome::Done { index, .. } = outcome else { return };
        if engine.role.0 != EngineRole::Master {
            self.found.say("R2", format!("{slot} acknowledges {record} at {epoch:?} as {:?}", engine.role.0));
        }
        let store = engine.store.clone();
        let canary = record.client.as_str() == CANARY_CLIENT;
        let id = if canary { None } else { Some(self.engines.id(&store, &record)) };
        let ack = Ack { store: &store, slot, epoch, index: *index, record: &record, id };
        let context =
            Context { commits: &self.commits, ledgers: &self.ledgers, engines: &self.engines, touched: &self.touched };
        self.acks.given(&mut self.found, &ack, context);
    }

    /// S2, R2: an epoch that an engine answers for is on its disk.
    fn control_answered(&mut self, slot: &SlotId, request: u64, answer: &EngineAnswer) {
        let Some(engine) = self.engines.all.get_mut(slot) else { return };
        let Some((call, held)) = engine.controls.remove(&request) else { return };
        match (&call, answer) {
            (EngineCall::Freeze { id, .. }, EngineAnswer(Err(_))) => drop(engine.limits.remove(id)),
            (EngineCall::Freeze { id, .. }, EngineAnswer(Ok(_))) if engine.ended.contains(id) => {
                self.found.say("R1", format!("{slot} is frozen again by {id}, which had ended"));
            }
            (EngineCall::Freeze { id, .. }, EngineAnswer(Ok(_))) => {
                engine.limits.entry(*id).and_modify(|(_, answered)| *answered = true);
            }
            _ => {}
        }
        if let (Some(asked), EngineAnswer(Ok(_))) = (epoch_of(&call), answer)
            && asked < held
        {
            self.found.say("S2", format!("{slot} says yes to {call:?}, it durably held {held:?} when that came"));
        }
        let EngineAnswer(Ok(EngineDone::Tip { tip, .. })) = answer else { return };
        let (held, durable) = (engine.epoch, engine.durable);
        let asked = match call {
            EngineCall::Demote { epoch } | EngineCall::Raise { epoch } | EngineCall::Promote { epoch, .. } => epoch,
            _ => Epoch::ZERO,
        };
        if held < asked {
            self.found.say("R2", format!("{slot} answers for {asked:?}, on its disk is {held:?}"));
        }
        if tip.position.length > durable {
            let text = format!("{slot} answers that it ends at {}, durable are {durable} records", tip.position);
            self.found.say("R2", text);
        }
    }

    fn role(&mut self, slot: &SlotId, core: &JournalCore) {
        let (role, epoch) = (core.role(), core.epoch());
        let Some(engine) = self.engines.all.get_mut(slot) else { return };
        if epoch > engine.epoch {
            let text = format!("{slot} says that it holds {epoch:?}, on its disk is {:?}", engine.epoch);
            self.found.say("S2", text);
        }
        let before = std::mem::replace(&mut engine.role, (role, epoch));
        if before == (role, epoch) {
            return;
        }
        engine.diverged |= role == EngineRole::Diverged;
        if role != EngineRole::Master {
            // R29: with the mastership every freeze of it is over.
            engine.thaw_all();
        }
        let told = match role {
            EngineRole::Master => engine.called.contains(&(Call::Master, epoch)),
            EngineRole::Replica => engine.called.iter().any(|(call, _)| *call == Call::Replica),
            EngineRole::Demoted => !engine.called.is_empty(),
            EngineRole::Idle => before.0 == role || engine.called.iter().any(|(call, _)| *call == Call::Stop),
            EngineRole::Diverged => true,
        };
        if !told {
            self.found.say("S10", format!("{slot} becomes {role:?} at {epoch:?}, which nobody called for"));
        }
        let serves = matches!(role, EngineRole::Master | EngineRole::Replica);
        if serves && self.commits.is_put_away(&slot.host) {
            self.found.say("S8", format!("{slot} becomes {role:?} on a host declared away"));
        }
        if role == EngineRole::Master {
            self.becomes_master(slot, epoch);
        }
    }

    fn becomes_master(&mut self, slot: &SlotId, epoch: Epoch) {
        let Some(engine) = self.engines.all.get_mut(slot) else { return };
        let first = engine.mastered.is_none_or(|before| before < epoch);
        engine.mastered = engine.mastered.max(Some(epoch));
        let (store, generation) = (engine.store.clone(), engine.generation);
        match self.commits.holder(&store, epoch) {
            Some(holder) if holder == slot => {}
            Some(holder) => {
                let text = format!("{slot} is master of {store} at {epoch:?}, which was allocated to {holder}");
                self.found.say("S3", text);
            }
            None => {
                self.found.say("S3", format!("{slot} is master of {store} at {epoch:?}, which nobody committed"));
            }
        }
        let fenced = self.ledgers.fenced(slot, &store, generation);
        if fenced > epoch {
            let text = format!("{slot} is master at {epoch:?} though its agent's durable word fences below {fenced:?}");
            self.found.say("R29", text);
        }
        let mut wrong = Vec::new();
        for (other, engine) in self.engines.others(&store, slot) {
            let Some(was) = engine.mastered else { continue };
            if was == epoch {
                wrong.push(("S1", format!("{slot} and {other} both were master of {store} at {epoch:?}")));
            }
            let fence = engine.epoch.max(self.ledgers.fenced(other, &store, engine.generation));
            let known = self.commits.waivers(&store, was, epoch).any(|sheet| sheet.waived.contains(other));
            let touched = self.touched.contains_key(&other.host);
            if first && was < epoch && fence <= was && !known && !touched {
                wrong.push(("S7", format!("{slot} is master at {epoch:?}, {other} is not fenced above {was:?}")));
            }
        }
        for (invariant, text) in wrong {
            self.found.say(invariant, text);
        }
        let context =
            Context { commits: &self.commits, ledgers: &self.ledgers, engines: &self.engines, touched: &self.touched };
        self.acks.new_master(&mut self.found, slot, epoch, context);
    }

    /// What a client took for an acknowledgement is one that an engine gave.
    pub(super) fn client_acked(&mut self, store: &StoreName, id: &RecordId) {
        let number = self.engines.known(store, id);
        let given =
            self.acks.stores.get(store).zip(number).is_some_and(|(acks, number)| acks.ids.contains_key(&number));
        if !given {
            self.found.say("S11", format!("a client took {id} for acknowledged by {store}, no engine said so"));
        }
    }

    pub(super) fn client_read(&mut self, store: &StoreName, slot: &SlotId, epoch: Epoch, begun: u64) {
        let context =
            Context { commits: &self.commits, ledgers: &self.ledgers, engines: &self.engines, touched: &self.touched };
        self.acks.read(&mut self.found, (store, slot, epoch, begun), context);
    }
}
