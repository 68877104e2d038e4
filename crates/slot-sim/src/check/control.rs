//! The control API: reads and changes in real time (S13), plans as they were recorded (R15), sessions (R21).
//!
//! What always holds: a request begins when a node takes it and ends when the node decides its reply; whatever any node had
//! applied when a confirmed read began was committed, so the read must show it.

use super::Found;
use super::commits::Commits;
use slot_coordinator::core::{ControlRequest, Failure, Reply};
use slot_machine::command::RequestId;
use slot_types::codec;
use slot_types::ids::*;
use slot_types::plan::Plan;
use std::collections::{BTreeMap, VecDeque};

enum Kind {
    View { stale_ok: bool },
    MakePlan { request: Option<RequestId>, mass: bool },
    Other,
}

struct Asked {
    kind: Kind,
    /// What was committed when it began.
    floor: Revision,
}

/// See the module's documentation.
#[derive(Default)]
pub(crate) struct Control {
    /// By node and number of the call; one that came twice is answered twice.
    asked: BTreeMap<(u64, u64), VecDeque<Asked>>,
    plans: BTreeMap<RequestId, PlanId>,
}

impl Control {
    /// A node takes a request.
    pub fn asked(&mut self, node: u64, token: u64, request: &ControlRequest, floor: Revision) {
        let kind = match request {
            ControlRequest::View { stale_ok, .. } => Kind::View { stale_ok: *stale_ok },
            ControlRequest::MakePlan { request, said, .. } => Kind::MakePlan { request: *request, mass: said.mass },
            _ => Kind::Other,
        };
        self.asked.entry((node, token)).or_default().push_back(Asked { kind, floor });
    }

    /// A node takes the request of a host that joins.
    pub fn joins(&mut self, node: u64, token: u64, floor: Revision) {
        self.asked.entry((node, token)).or_default().push_back(Asked { kind: Kind::Other, floor });
    }

    /// The log is lost, and with it every session (R10).
    pub fn restored(&mut self) {
        self.plans.clear();
    }

    /// A node's process is gone, and with it what it was asked.
    pub fn forget(&mut self, node: u64) {
        self.asked.retain(|(asked, _), _| *asked != node);
    }

    /// A node answers.
    pub fn replied(
        &mut self,
        found: &mut Found,
        commits: &Commits,
        at: (u64, u64),
        applied: Revision,
        reply: &Result<Reply, Failure>,
    ) {
        let mut waiting = self.asked.remove(&at).unwrap_or_default();
        let first = waiting.pop_front();
        if !waiting.is_empty() {
            self.asked.insert(at, waiting);
        }
        let Some(Asked { kind, floor }) = first else {
            return found
                .say("S13", format!("c{} answers request {}, which nobody made or which it answered", at.0, at.1));
        };
        let node = at.0;
        match (kind, reply) {
            (Kind::View { stale_ok }, Ok(Reply::View { revision, confirmed, .. })) => {
                if *confirmed && *revision < floor {
                    found.say(
                        "S13",
                        format!("c{node} shows revision {revision}, {floor} was committed before it was asked"),
                    );
                }
                if stale_ok == *confirmed {
                    found.say("S13", format!("c{node} calls a read confirmed: {confirmed}, stale allowed: {stale_ok}"));
                }
                if *revision > applied {
                    found.say("S13", format!("c{node} shows revision {revision}, it has applied {applied}"));
                }
            }
            (Kind::MakePlan { request, mass }, Ok(Reply::Plan { id, bytes, .. })) => {
                self.plan(found, commits, node, *id, bytes);
                if let Some(request) = request
                    && let Some(first) = self.plans.insert(request, *id).filter(|first| first != id)
                {
                    found.say("R21", format!("request {request:?} made {first} and, asked again, {id}"));
                }
                let plan = codec::decode::<Plan>(bytes).ok();
                if !mass && plan.as_ref().is_some_and(|plan| plan.said.mass) {
                    found.say("R23", format!("{id} says that its many silent hosts are known; nobody said so"));
                }
                let made = plan.map_or(floor, |plan| plan.revision);
                if request.is_none() && made < floor {
                    found.say("S13", format!("{id} was made at revision {made}, {floor} was committed before"));
                }
            }
            (_, Ok(Reply::Plan { id, bytes, .. })) => self.plan(found, commits, node, *id, bytes),
            (_, Ok(Reply::Changed { revision } | Reply::Hold { revision, .. })) if *revision > commits.revision() => {
                found.say(
                    "S13",
                    format!("c{node} says that revision {revision} has the change, which is not committed"),
                );
            }
            (_, Ok(Reply::Session(session))) if !commits.sessions.contains(session) => {
                found.say("R21", format!("c{node} says that session {session} is open, which no entry opened"));
            }
            _ => {}
        }
    }

    /// R15: what is shown is what was recorded.
    fn plan(&self, found: &mut Found, commits: &Commits, node: u64, id: PlanId, bytes: &[u8]) {
        if commits.plan_bytes(id).is_some_and(|recorded| recorded != bytes) {
            found.say("R15", format!("c{node} shows other bytes of {id} than were recorded"));
        }
        if commits.plan_bytes(id).is_none() {
            found.say("S13", format!("c{node} shows {id}, which is not committed"));
        }
    }
}
