//! What goes into the core and what comes out of it.
//!
//! What always holds: an effect is a wish, carried out by the shell in the order given; a request's token comes back in
//! exactly one [`Effect::Reply`]; time is a value of the caller's, and wall time is for display only (R17).

use super::study::{Found, Study};
use core::net::SocketAddr;
use slot_machine::command::RequestId;
use slot_machine::join::Guest;
use slot_raft::{PersistBatch, RaftMessage};
use slot_types::front_end::FrontEndReport;
use slot_types::hold::HoldOn;
use slot_types::ids::*;
use slot_types::order::{AgentReport, Answer};
use slot_types::plan::{Intent, Said};
use slot_types::position::{Digest, ShortDigest};
use slot_types::probe::Sights;
use slot_types::view::Query;
use std::collections::BTreeMap;

/// A moment, as the caller's clocks show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds of a clock that never goes back.
    pub ms: u64,
    /// Wall time; for display.
    pub wall: WallTime,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Nothing but the passing of time.
    Tick,
    /// A peer's message; certificate, cluster and incarnation have been checked.
    Raft(RaftMessage),
    /// The batch with this number, and every one before it, is on disk.
    Persisted {
        /// The batch's number.
        seq: u64,
    },
    /// A message to this peer could not be delivered.
    PeerUnreachable {
        /// The peer's node id.
        peer: u64,
    },
    /// A snapshot to this peer has been handed to the network, or has not.
    SnapshotSent {
        /// The peer's node id.
        peer: u64,
        /// It has.
        ok: bool,
    },
    /// Somebody asks.
    Request {
        /// Comes back in the reply.
        token: u64,
        /// Who, as the certificate says.
        who: OperatorName,
        /// What.
        request: ControlRequest,
    },
    /// A host asks to come in with its token; the certificate it dialled with is that token's.
    Join {
        /// Comes back in the reply.
        token: u64,
        /// Who, and with what.
        guest: Guest,
    },
    /// An agent said how it is.
    AgentReport {
        /// Which host's, as the certificate it was dialled by says.
        host: HostName,
        /// What it said.
        report: Box<AgentReport>,
    },
    /// An agent answered an order, or could not be asked.
    AgentAnswer {
        /// The number of [`Effect::Deliver`].
        delivery: u64,
        /// The answer, or what went wrong on the way.
        result: Result<Answer, String>,
    },
    /// An agent looked around, or could not be asked.
    Looked {
        /// The number of [`Effect::Look`].
        look: u64,
        /// What it saw, or what went wrong on the way.
        result: Result<Sights, String>,
    },
    /// An answer was looked for.
    Studied {
        /// The number of [`Effect::Study`].
        number: u64,
        /// What was found, or what went wrong on the way.
        found: Result<Found, String>,
    },
    /// A front end answered [`Effect::ServeRoutes`], or could not be asked.
    FrontEndAnswer {
        /// Which.
        front_end: FrontEndName,
        /// What it serves, or what went wrong on the way.
        result: Result<FrontEndReport, String>,
    },
    /// The stream of an agent's reports broke.
    AgentLost {
        /// Which host's.
        host: HostName,
        /// Why.
        why: String,
    },
}

/// What is asked of a coordinator.
#[derive(Clone, Debug, PartialEq)]
pub enum ControlRequest {
    /// A session for retries (R21).
    OpenSession,
    /// Plan an intent and record the plan.
    MakePlan {
        /// Which request of which session.
        request: Option<RequestId>,
        /// What is wanted.
        intent: Box<Intent>,
        /// Why.
        reason: String,
        /// What the person says besides.
        said: Said,
    },
    /// A person's yes.
    ApprovePlan {
        /// Which request of which session.
        request: Option<RequestId>,
        /// The plan.
        plan: PlanId,
        /// What the person saw.
        digest: ShortDigest,
        /// Why.
        reason: String,
    },
    /// A person's no.
    RejectPlan {
        /// Which request of which session.
        request: Option<RequestId>,
        /// The plan.
        plan: PlanId,
        /// Why.
        reason: String,
    },
    /// Stop a plan.
    AbortPlan {
        /// Which request of which session.
        request: Option<RequestId>,
        /// The plan.
        plan: PlanId,
        /// Why.
        reason: String,
    },
    /// Begin nothing more of a plan (R18).
    PausePlan {
        /// Which request of which session.
        request: Option<RequestId>,
        /// The plan.
        plan: PlanId,
        /// Why.
        reason: String,
    },
    /// Go on with a paused plan.
    ResumePlan {
        /// Which request of which session.
        request: Option<RequestId>,
        /// The plan.
        plan: PlanId,
        /// Why.
        reason: String,
    },
    /// A person's word that a host is off (R8).
    Attest {
        /// Which request of which session.
        request: Option<RequestId>,
        /// The host.
        host: HostName,
        /// How the person knows.
        how: String,
    },
    /// Admit another disk of a host (S2).
    AdmitHost {
        /// Which request of which session.
        request: Option<RequestId>,
        /// The host.
        host: HostName,
        /// The disk.
        incarnation: Incarnation,
        /// Why.
        reason: String,
    },
    /// A person's word that a host may join.
    InviteHost {
        /// Which request of which session.
        request: Option<RequestId>,
        /// The host.
        host: HostName,
        /// The digest of its token's certificate.
        certificate: Digest,
        /// Why.
        reason: String,
    },
    /// The end of that word.
    RevokeInvitation {
        /// Which request of which session.
        request: Option<RequestId>,
        /// The host.
        host: HostName,
        /// Why.
        reason: String,
    },
    /// A person's "hands off".
    Hold {
        /// Which request of which session.
        request: Option<RequestId>,
        /// What.
        on: HoldOn,
        /// Why.
        reason: String,
    },
    /// The end of a hold.
    Release {
        /// Which request of which session.
        request: Option<RequestId>,
        /// On what.
        on: HoldOn,
        /// Why.
        reason: String,
    },
    /// Compare copies with their masters, and say how far that is; changes nothing but stamps.
    Verify {
        /// Which.
        on: HoldOn,
        /// Since when a comparison counts; `None` for from now on.
        since: Option<LogTime>,
    },
    /// A read-only document.
    View {
        /// Which.
        query: Query,
        /// Whether this node's own state will do, unconfirmed.
        stale_ok: bool,
    },
}

/// A yes.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// A session was opened.
    Session(u64),
    /// A plan was recorded, approved, rejected or aborted.
    Plan {
        /// Which.
        id: PlanId,
        /// Its canonical bytes, as recorded.
        bytes: Vec<u8>,
        /// How many more people must approve.
        people_missing: u8,
    },
    /// Something was changed.
    Changed {
        /// The revision with the change in it.
        revision: Revision,
    },
    /// Something is held, or is not any more.
    Hold {
        /// The revision with the change in it.
        revision: Revision,
        /// Whether that is a change; if not, it was so already.
        changed: bool,
        /// Plans that touch it and go on running.
        running: Vec<PlanId>,
    },
    /// A document.
    View {
        /// Canonical bytes of a `slot_types::view::View`.
        bytes: Vec<u8>,
        /// The revision it is of.
        revision: Revision,
        /// Whether a quorum confirmed that nothing newer was there (S13).
        confirmed: bool,
    },
}

/// A no.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// This node can't answer now; another may.
    #[error("this coordinator is not the leader; {}", hint(.leader))]
    NotLeader {
        /// Whom to ask instead.
        leader: Option<CoordinatorName>,
    },
    /// Leadership was lost while the request was under way: it may have taken effect.
    #[error("leadership moved while the request was under way: whether it took effect is not known here; ask again with \
             the same session and sequence, {}", hint(.leader))]
    Interrupted {
        /// Whom to ask instead.
        leader: Option<CoordinatorName>,
    },
    /// There is no such thing.
    #[error("{0}")]
    NotFound(String),
    /// The request makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// Understood and refused; nothing changed.
    #[error("{0}")]
    Refused(String),
}

fn hint(leader: &Option<CoordinatorName>) -> String {
    match leader {
        Some(name) => format!("ask {name}"),
        None => "no leader is known here: ask again in a moment".into(),
    }
}

/// What to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Write this in one transaction, then report [`Event::Persisted`].
    Persist(PersistBatch),
    /// Send a peer a message.
    Send {
        /// The peer's node id.
        peer: u64,
        /// What.
        message: RaftMessage,
    },
    /// Deliver an order to an agent; answer with [`Event::AgentAnswer`].
    Deliver {
        /// Names this delivery.
        delivery: u64,
        /// Whose agent.
        host: HostName,
        /// Where.
        address: SocketAddr,
        /// Canonical bytes of a `slot_types::order::Order`.
        order: Vec<u8>,
        /// How long the agent may try.
        budget_ms: u64,
    },
    /// Ask an agent to look at things; answer with [`Event::Looked`].
    Look {
        /// Names this look.
        look: u64,
        /// Whose agent.
        host: HostName,
        /// Canonical bytes of a `slot_types::probe::Looks`.
        looks: Vec<u8>,
        /// How long it may take.
        budget_ms: u64,
    },
    /// Look for the answer to this beside the core; answer with [`Event::Studied`].
    Study {
        /// Names this study.
        number: u64,
        /// What is asked, with all that it is asked from.
        study: Box<Study>,
    },
    /// Watch exactly these agents from now on; none when this node does not lead.
    WatchAgents {
        /// The leader's term.
        term: Term,
        /// Where they are.
        agents: BTreeMap<HostName, SocketAddr>,
    },
    /// Tell a front end where clients go; answer with [`Event::FrontEndAnswer`].
    ServeRoutes {
        /// Which.
        front_end: FrontEndName,
        /// Where.
        address: SocketAddr,
        /// Canonical bytes of a `slot_types::front_end::RouteTable`.
        table: Vec<u8>,
    },
    /// Answer a request.
    Reply {
        /// Whose.
        token: u64,
        /// What.
        reply: Result<Reply, Failure>,
    },
    /// The replicated state changed.
    Applied(Revision),
    /// A store's route changed.
    RoutesChanged,
    /// Who leads has changed.
    Role {
        /// The leader, as far as known.
        leader: Option<CoordinatorName>,
        /// This node.
        is_leader: bool,
    },
    /// A named place for tests, before the effects after it are carried out.
    Failpoint(String),
    /// End the process: going on would be worse.
    Die(String),
}
