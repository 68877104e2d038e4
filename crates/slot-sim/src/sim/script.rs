//! What a directed run does by hand: ask and wait, set traps, look.
//!
//! What always holds: everything goes over the same network and through the same queue as in any run; waiting is running the
//! world. A script asks again when an answer is lost or the leader moves, as a person would.

use super::wire::Asker;
use super::*;
use slot_coordinator::core::{ControlRequest, Failure, Reply};
use slot_machine::state::{PlanRecord, PlanStatus};
use slot_types::plan::{Intent, Plan, Said};
use slot_types::position::ShortDigest;

/// Tokens of scripts begin here, those of people end before.
const SCRIPT: u64 = 1 << 62;

impl Sim {
    /// Sends a person's request to whoever leads; the answer is found under the token.
    pub fn post(&mut self, who: &str, request: ControlRequest) -> u64 {
        self.post_to(self.leader().unwrap_or(1), who, request)
    }

    /// Sends a person's request to this coordinator.
    pub fn post_to(&mut self, to: u64, who: &str, request: ControlRequest) -> u64 {
        let token = SCRIPT + self.number();
        let Ok(who) = OperatorName::new(who) else { return token };
        let number = self.call(Asker::Person { token }, crate::people::PATIENCE_MS);
        self.note(|| format!("{who} asks c{to}: {request:?}"));
        self.send_ask(to, number, who, request);
        token
    }

    /// The answer to a posted request, once it is there; `Some(None)` is none in time.
    pub fn posted(&mut self, token: u64) -> Option<Option<Result<Reply, Failure>>> {
        self.posted.remove(&token)
    }

    pub(crate) fn is_script(token: u64) -> bool {
        token >= SCRIPT
    }

    /// Asks whoever leads, again until somebody answers for certain.
    pub fn ask_and_wait(&mut self, who: &str, request: ControlRequest) -> Result<Reply, Failure> {
        for _ in 0..30 {
            if !self.run_until(20_000, |sim| sim.leader().is_some()) {
                break;
            }
            let token = self.post(who, request.clone());
            self.run_until(10_000, |sim| sim.posted.contains_key(&token));
            match self.posted.remove(&token).flatten() {
                None | Some(Err(Failure::NotLeader { .. } | Failure::Interrupted { .. })) => self.run_for(300),
                Some(answer) => return answer,
            }
        }
        Err(Failure::Invalid("nobody answers".into()))
    }

    /// Plans an intent for somebody; nobody has said yes.
    pub fn plan(&mut self, who: &str, intent: Intent) -> Result<(PlanId, Plan), Failure> {
        self.plan_knowing(who, intent, false)
    }

    /// The same, by somebody who knows that many hosts are silent at once, or does not (R23).
    pub fn plan_knowing(&mut self, who: &str, intent: Intent, mass: bool) -> Result<(PlanId, Plan), Failure> {
        let (intent, reason) = (Box::new(intent), "a directed run".into());
        let said = Said { mass, ..Said::default() };
        let request = ControlRequest::MakePlan { request: None, intent, reason, said };
        let Reply::Plan { id, bytes, .. } = self.ask_and_wait(who, request)? else {
            return Err(Failure::Invalid("no plan was answered".into()));
        };
        let plan = slot_types::codec::decode(&bytes).map_err(|e| Failure::Invalid(e.to_string()))?;
        Ok((id, plan))
    }

    /// Says yes to a plan as shown.
    pub fn approve(&mut self, who: &str, id: PlanId, digest: ShortDigest) -> Result<Reply, Failure> {
        let reason = "a directed run".to_string();
        self.ask_and_wait(who, ControlRequest::ApprovePlan { request: None, plan: id, digest, reason })
    }

    /// Plans an intent and has as many people say yes as are asked; asks again while the planner refuses for now.
    pub fn order(&mut self, intent: Intent) -> Result<PlanId, Failure> {
        let mut last = Failure::Invalid("never planned".into());
        for _ in 0..40 {
            let (id, plan) = match self.plan("alice", intent.clone()) {
                Ok(planned) => planned,
                Err(failure) => {
                    last = failure;
                    self.run_for(1_000);
                    continue;
                }
            };
            let digest = Plan::digest_of(&plan.bytes()).short();
            for who in ["alice", "bob", "carol"] {
                if let Err(failure) = self.approve(who, id, digest) {
                    last = failure;
                }
                if self.record(id).is_some_and(|p| p.started.is_some()) {
                    return Ok(id);
                }
            }
            self.run_for(500);
        }
        Err(last)
    }

    /// A plan as the newest state has it.
    pub fn record(&self, id: PlanId) -> Option<&PlanRecord> {
        self.state()?.plans.get(&id)
    }

    /// Runs until a plan is over; whether it is, and done.
    pub fn run_plan(&mut self, id: PlanId, limit_ms: u64) -> Option<PlanStatus> {
        let is_over = |p: &PlanRecord| p.status.is_ended() || matches!(p.status, PlanStatus::Paused { by: None, .. });
        self.run_until(limit_ms, |sim| sim.record(id).is_none_or(is_over));
        self.record(id).map(|p| p.status.clone()).filter(PlanStatus::is_ended)
    }

    /// Somebody says that a host is off.
    pub fn attest(&mut self, host: &HostName) -> Result<Reply, Failure> {
        let how = "power cord in hand".to_string();
        self.ask_and_wait("alice", ControlRequest::Attest { request: None, host: host.clone(), how })
    }

    /// Somebody stops a plan.
    pub fn abort(&mut self, id: PlanId) -> Result<Reply, Failure> {
        self.ask_and_wait("alice", ControlRequest::AbortPlan { request: None, plan: id, reason: "a script".into() })
    }

    /// Something goes wrong when a named place is passed for the (skip + 1)th time from now.
    pub fn trap(&mut self, place: &str, skip: u32, what: Injection) {
        self.triggers.push(Trigger { place: place.into(), skip, what });
    }

    /// Something goes wrong now.
    pub fn strike(&mut self, what: Injection) {
        self.inject(what);
    }

    /// The master slot of a store.
    pub fn master_of(&self, store: &str) -> Option<SlotId> {
        let store = StoreName::new(store).ok()?;
        self.fleet()?.stores.get(&store)?.master.clone()
    }

    /// The slots of a store's copies, the master's first.
    pub fn copies_of(&self, store: &str) -> Vec<SlotId> {
        let Some(store) = StoreName::new(store).ok().and_then(|name| self.fleet()?.stores.get(&name)) else {
            return Vec::new();
        };
        let mut slots: Vec<SlotId> = store.master.iter().cloned().collect();
        slots.extend(store.copies.keys().filter(|slot| Some(*slot) != store.master.as_ref()).cloned());
        slots
    }

    /// The engine on a slot, if its process runs.
    pub fn engine(&self, slot: &SlotId) -> Option<&journal::JournalCore> {
        self.engines.get(slot)?.core.as_ref()
    }

    /// Whether a host has power.
    pub fn has_power(&self, host: &HostName) -> bool {
        !self.is_dark(&Place::Host(host.clone()))
    }

    /// A process is killed and stays down until started.
    pub fn kill_now(&mut self, node: &Node) {
        self.kill(node);
    }

    /// A process that is down starts.
    pub fn start_now(&mut self, node: &Node) {
        self.start(node);
    }

    /// A process stops for so long.
    pub fn pause_now(&mut self, node: &Node, ms: u64) {
        self.pause(node, ms);
    }

    /// A process goes on.
    pub fn resume_now(&mut self, node: &Node) {
        self.resume(node);
    }

    /// A host loses power until somebody switches it on.
    pub fn power_off_now(&mut self, host: &HostName) {
        self.power_off(host);
    }

    /// A host gets power.
    pub fn power_on_now(&mut self, host: &HostName) {
        self.power_on(host);
    }

    /// A host's disk as it is now is kept, to be put back later.
    pub fn keep_now(&mut self, host: &HostName) {
        let here = self.folders.iter().filter(|((slot, _, _), _)| slot.host == *host);
        let folders = here.map(|(key, folder)| (key.clone(), folder.snapshot())).collect();
        if let Some(node) = self.agents.get_mut(host) {
            node.kept = Some(super::agents::Kept { ledger: node.file.snapshot(), folders });
        }
    }

    /// A host loses power and comes back with the disk that was kept.
    pub fn put_back_now(&mut self, host: &HostName, down_ms: u64) {
        self.put_back(host, down_ms);
    }

    /// A host's agent and the coordinators do not hear each other for so long; its engines go on.
    pub fn silence_now(&mut self, host: &HostName, ms: u64) {
        self.strike(Injection::Silence(host.clone(), ms));
    }

    /// Two hosts do not hear each other for so long.
    pub fn part_hosts(&mut self, a: &HostName, b: &HostName, ms: u64) {
        self.cut(Place::Host(a.clone()), Place::Host(b.clone()), ms);
        self.cut(Place::Host(b.clone()), Place::Host(a.clone()), ms);
    }
}
