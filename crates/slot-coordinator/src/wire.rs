//! What travels between people and coordinators: requests, replies and refusals, as protobuf has them and as the core does.
//!
//! What always holds: nothing is decided here; a request that can't be read is the caller's mistake and never reaches the
//! core; whatever the core asks or answers comes out at the other end as it went in.

use crate::core::{ControlRequest, Failure, Reply};
use core::net::SocketAddr;
use slot_machine::command::RequestId;
use slot_proto::pb::{
    AdmitHostRequest, ApprovePlanRequest, AttestRequest, ChangeReply, EndPlanRequest, HoldReply, HoldRequest,
    InviteHostRequest, MakePlanRequest, OpenSessionReply, OpenSessionRequest, PlanReply, RequestName,
    RevokeInvitationRequest, VerifyRequest, ViewReply, ViewRequest,
};
use slot_types::codec;
use slot_types::ids::*;
use slot_types::plan::{Intent, Said};
use slot_types::position::{Digest, ShortDigest};
use slot_types::view::Query;
use tonic::Code;

/// How the text of [`Failure::Interrupted`] begins: by code alone it can't be told from [`Failure::NotLeader`].
const INTERRUPTED: &str = "leadership moved while the request was under way";

/// A request, as it travels.
#[derive(Clone, Debug, PartialEq)]
pub enum Asked {
    /// For a session.
    OpenSession(OpenSessionRequest),
    /// For a plan.
    MakePlan(MakePlanRequest),
    /// A yes.
    ApprovePlan(ApprovePlanRequest),
    /// A no.
    RejectPlan(EndPlanRequest),
    /// A stop.
    AbortPlan(EndPlanRequest),
    /// A pause.
    PausePlan(EndPlanRequest),
    /// Its end.
    ResumePlan(EndPlanRequest),
    /// A word.
    Attest(AttestRequest),
    /// Another disk.
    AdmitHost(AdmitHostRequest),
    /// A host may join.
    InviteHost(InviteHostRequest),
    /// It may not any more.
    RevokeInvitation(RevokeInvitationRequest),
    /// Hands off.
    Hold(HoldRequest),
    /// Hands on again.
    Release(HoldRequest),
    /// For comparisons.
    Verify(VerifyRequest),
    /// For a document.
    View(ViewRequest),
}

fn name_of(request: Option<RequestId>) -> Option<RequestName> {
    request.map(|r| RequestName { session: r.session, sequence: r.sequence })
}

fn id_of(request: Option<RequestName>) -> Option<RequestId> {
    request.map(|r| RequestId { session: r.session, sequence: r.sequence })
}

fn invalid(error: impl std::fmt::Display) -> Failure {
    Failure::Invalid(error.to_string())
}

impl From<ControlRequest> for Asked {
    fn from(request: ControlRequest) -> Self {
        match request {
            ControlRequest::OpenSession => Self::OpenSession(OpenSessionRequest {}),
            ControlRequest::MakePlan { request, intent, reason, said } => {
                let intent = codec::encode(intent.as_ref());
                let Said { mass, back_by } = said;
                let (request, back_by_ms) = (name_of(request), back_by.map(|at| at.0));
                Self::MakePlan(MakePlanRequest { request, intent, reason, mass, back_by_ms })
            }
            ControlRequest::ApprovePlan { request, plan, digest, reason } => {
                let (request, digest) = (name_of(request), digest.0.to_vec());
                Self::ApprovePlan(ApprovePlanRequest { request, plan: plan.0, digest, reason })
            }
            ControlRequest::RejectPlan { request, plan, reason } => {
                Self::RejectPlan(EndPlanRequest { request: name_of(request), plan: plan.0, reason })
            }
            ControlRequest::AbortPlan { request, plan, reason } => {
                Self::AbortPlan(EndPlanRequest { request: name_of(request), plan: plan.0, reason })
            }
            ControlRequest::PausePlan { request, plan, reason } => {
                Self::PausePlan(EndPlanRequest { request: name_of(request), plan: plan.0, reason })
            }
            ControlRequest::ResumePlan { request, plan, reason } => {
                Self::ResumePlan(EndPlanRequest { request: name_of(request), plan: plan.0, reason })
            }
            ControlRequest::Attest { request, host, how } => {
                Self::Attest(AttestRequest { request: name_of(request), host: host.to_string(), how })
            }
            ControlRequest::AdmitHost { request, host, incarnation, reason } => {
                let (request, incarnation) = (name_of(request), incarnation.to_string());
                Self::AdmitHost(AdmitHostRequest { request, host: host.to_string(), incarnation, reason })
            }
            ControlRequest::InviteHost { request, host, certificate, reason } => {
                let (request, certificate) = (name_of(request), certificate.0.to_vec());
                Self::InviteHost(InviteHostRequest { request, host: host.to_string(), certificate, reason })
            }
            ControlRequest::RevokeInvitation { request, host, reason } => {
                let (request, host) = (name_of(request), host.to_string());
                Self::RevokeInvitation(RevokeInvitationRequest { request, host, reason })
            }
            ControlRequest::Hold { request, on, reason } => {
                Self::Hold(HoldRequest { request: name_of(request), on: on.to_string(), reason })
            }
            ControlRequest::Release { request, on, reason } => {
                Self::Release(HoldRequest { request: name_of(request), on: on.to_string(), reason })
            }
            ControlRequest::Verify { on, since } => {
                Self::Verify(VerifyRequest { on: on.to_string(), since: since.map(|at| at.0) })
            }
            ControlRequest::View { query, stale_ok } => {
                Self::View(ViewRequest { query: codec::encode(&query), stale_ok })
            }
        }
    }
}

impl TryFrom<Asked> for ControlRequest {
    type Error = Failure;
    fn try_from(asked: Asked) -> Result<Self, Failure> {
        match asked {
            Asked::OpenSession(OpenSessionRequest {}) => Ok(Self::OpenSession),
            Asked::MakePlan(asked) => asked.try_into(),
            Asked::ApprovePlan(asked) => asked.try_into(),
            Asked::RejectPlan(EndPlanRequest { request, plan, reason }) => {
                Ok(Self::RejectPlan { request: id_of(request), plan: PlanId(plan), reason })
            }
            Asked::AbortPlan(EndPlanRequest { request, plan, reason }) => {
                Ok(Self::AbortPlan { request: id_of(request), plan: PlanId(plan), reason })
            }
            Asked::PausePlan(EndPlanRequest { request, plan, reason }) => {
                Ok(Self::PausePlan { request: id_of(request), plan: PlanId(plan), reason })
            }
            Asked::ResumePlan(EndPlanRequest { request, plan, reason }) => {
                Ok(Self::ResumePlan { request: id_of(request), plan: PlanId(plan), reason })
            }
            Asked::Attest(AttestRequest { request, host, how }) => {
                Ok(Self::Attest { request: id_of(request), host: HostName::new(host).map_err(invalid)?, how })
            }
            Asked::AdmitHost(AdmitHostRequest { request, host, incarnation, reason }) => {
                let host = HostName::new(host).map_err(invalid)?;
                let incarnation = incarnation.parse().map_err(invalid)?;
                Ok(Self::AdmitHost { request: id_of(request), host, incarnation, reason })
            }
            Asked::InviteHost(InviteHostRequest { request, host, certificate, reason }) => {
                let host = HostName::new(host).map_err(invalid)?;
                let whole = |_| invalid("a token's certificate is told by the 32 bytes of its digest");
                let certificate = Digest(certificate.try_into().map_err(whole)?);
                Ok(Self::InviteHost { request: id_of(request), host, certificate, reason })
            }
            Asked::RevokeInvitation(RevokeInvitationRequest { request, host, reason }) => Ok(Self::RevokeInvitation {
                request: id_of(request),
                host: HostName::new(host).map_err(invalid)?,
                reason,
            }),
            Asked::Hold(HoldRequest { request, on, reason }) => {
                Ok(Self::Hold { request: id_of(request), on: on.parse().map_err(invalid)?, reason })
            }
            Asked::Release(HoldRequest { request, on, reason }) => {
                Ok(Self::Release { request: id_of(request), on: on.parse().map_err(invalid)?, reason })
            }
            Asked::Verify(VerifyRequest { on, since }) => {
                Ok(Self::Verify { on: on.parse().map_err(invalid)?, since: since.map(LogTime) })
            }
            Asked::View(ViewRequest { query, stale_ok }) => {
                Ok(Self::View { query: codec::decode::<Query>(&query).map_err(invalid)?, stale_ok })
            }
        }
    }
}

impl TryFrom<MakePlanRequest> for ControlRequest {
    type Error = Failure;
    fn try_from(asked: MakePlanRequest) -> Result<Self, Failure> {
        let intent = Box::new(codec::decode::<Intent>(&asked.intent).map_err(invalid)?);
        let said = Said { mass: asked.mass, back_by: asked.back_by_ms.map(WallTime) };
        Ok(Self::MakePlan { request: id_of(asked.request), intent, reason: asked.reason, said })
    }
}

impl TryFrom<ApprovePlanRequest> for ControlRequest {
    type Error = Failure;
    fn try_from(asked: ApprovePlanRequest) -> Result<Self, Failure> {
        // R15: at least 64 bits of what the person saw.
        let digest = asked
            .digest
            .first_chunk::<8>()
            .map(|head| ShortDigest(*head))
            .ok_or_else(|| invalid("a digest has at least 8 bytes; give the one the plan was shown with"))?;
        let (request, plan, reason) = (id_of(asked.request), PlanId(asked.plan), asked.reason);
        Ok(Self::ApprovePlan { request, plan, digest, reason })
    }
}

/// A reply, as it travels.
#[derive(Clone, Debug, PartialEq)]
pub enum Answered {
    /// A session.
    Session(OpenSessionReply),
    /// A plan.
    Plan(PlanReply),
    /// A change.
    Changed(ChangeReply),
    /// A hold, or its end.
    Hold(HoldReply),
    /// A document.
    View(ViewReply),
}

impl Answered {
    /// A reply of this coordinator.
    pub fn of(reply: Reply, by: &CoordinatorName) -> Self {
        match reply {
            Reply::Session(session) => Self::Session(OpenSessionReply { session }),
            Reply::Plan { id, bytes, people_missing } => {
                Self::Plan(PlanReply { plan: id.0, bytes, people_missing: u32::from(people_missing) })
            }
            Reply::Changed { revision } => Self::Changed(ChangeReply { revision: revision.0 }),
            Reply::Hold { revision, changed, running } => {
                let running = running.into_iter().map(|plan| plan.0).collect();
                Self::Hold(HoldReply { revision: revision.0, changed, running })
            }
            Reply::View { bytes, revision, confirmed } => {
                let answered_by = by.to_string();
                Self::View(ViewReply { view: bytes, revision: revision.0, answered_by, confirmed })
            }
        }
    }

    /// What it says.
    pub fn reply(self) -> Reply {
        match self {
            Self::Session(OpenSessionReply { session }) => Reply::Session(session),
            Self::Plan(PlanReply { plan, bytes, people_missing }) => {
                let people_missing = u8::try_from(people_missing).unwrap_or(u8::MAX);
                Reply::Plan { id: PlanId(plan), bytes, people_missing }
            }
            Self::Changed(ChangeReply { revision }) => Reply::Changed { revision: Revision(revision) },
            Self::Hold(HoldReply { revision, changed, running }) => {
                let running = running.into_iter().map(PlanId).collect();
                Reply::Hold { revision: Revision(revision), changed, running }
            }
            Self::View(ViewReply { view, revision, confirmed, .. }) => {
                Reply::View { bytes: view, revision: Revision(revision), confirmed }
            }
        }
    }
}

/// A refusal, as it travels: a status of gRPC and who leads, in its metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The status.
    pub code: Code,
    /// What a person reads.
    pub text: String,
    /// Whom to ask instead, and where: `c2=127.0.0.1:7402`.
    pub leader: Option<String>,
}

/// How a leader is named in metadata, if it is known where it is.
pub fn leader_hint<'a>(
    leader: Option<&CoordinatorName>,
    members: impl IntoIterator<Item = &'a (CoordinatorName, SocketAddr)>,
) -> Option<String> {
    let place = members.into_iter().find(|(name, _)| Some(name) == leader);
    place.map(|(name, address)| format!("{name}={address}"))
}

impl Refusal {
    /// What a failure is told as.
    pub fn of<'a>(failure: &Failure, members: impl IntoIterator<Item = &'a (CoordinatorName, SocketAddr)>) -> Self {
        let (code, leader) = match failure {
            Failure::NotLeader { leader } | Failure::Interrupted { leader } => {
                (Code::Unavailable, leader_hint(leader.as_ref(), members))
            }
            Failure::NotFound(_) => (Code::NotFound, None),
            Failure::Invalid(_) => (Code::InvalidArgument, None),
            Failure::Refused(_) => (Code::FailedPrecondition, None),
        };
        Self { code, text: failure.to_string(), leader }
    }

    /// What it says. Whatever no coordinator's core says leaves open whether the request took effect.
    pub fn failure(self) -> Failure {
        let leader = self.leader.as_deref().and_then(|hint| hint.split_once('='));
        let leader = leader.and_then(|(name, _)| CoordinatorName::new(name).ok());
        match self.code {
            Code::Unavailable if !self.text.starts_with(INTERRUPTED) => Failure::NotLeader { leader },
            Code::NotFound => Failure::NotFound(self.text),
            Code::InvalidArgument => Failure::Invalid(self.text),
            Code::FailedPrecondition => Failure::Refused(self.text),
            _ => Failure::Interrupted { leader },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use slot_types::hold::HoldOn;

    fn host() -> HostName {
        HostName::new("h1").unwrap()
    }

    #[test]
    fn requests_come_out_as_they_went_in() {
        let request = Some(RequestId { session: 7, sequence: 3 });
        let (plan, reason) = (PlanId(9), "because".to_string());
        let incarnation = Incarnation([5; 16]);
        let all = [
            ControlRequest::OpenSession,
            ControlRequest::MakePlan {
                request,
                intent: Box::new(Intent::DrainHost(host())),
                reason: reason.clone(),
                said: Said { mass: true, back_by: Some(WallTime(7)) },
            },
            ControlRequest::ApprovePlan { request, plan, digest: ShortDigest([1; 8]), reason: reason.clone() },
            ControlRequest::RejectPlan { request: None, plan, reason: reason.clone() },
            ControlRequest::AbortPlan { request, plan, reason: reason.clone() },
            ControlRequest::PausePlan { request, plan, reason: reason.clone() },
            ControlRequest::ResumePlan { request, plan, reason: reason.clone() },
            ControlRequest::Attest { request, host: host(), how: "seen".into() },
            ControlRequest::AdmitHost { request, host: host(), incarnation, reason: reason.clone() },
            ControlRequest::InviteHost { request, host: host(), certificate: Digest([8; 32]), reason: reason.clone() },
            ControlRequest::RevokeInvitation { request, host: host(), reason: reason.clone() },
            ControlRequest::Hold { request, on: HoldOn::Host(host()), reason: reason.clone() },
            ControlRequest::Release { request, on: HoldOn::All, reason },
            ControlRequest::Verify { on: HoldOn::Host(host()), since: Some(LogTime(3)) },
            ControlRequest::View { query: Query::Plan(plan), stale_ok: true },
        ];
        for asked in all {
            assert_eq!(ControlRequest::try_from(Asked::from(asked.clone())), Ok(asked));
        }
    }

    #[test]
    fn a_request_that_makes_no_sense_is_the_callers_mistake() {
        let reason = String::new();
        let bytes = MakePlanRequest { request: None, intent: vec![9; 3], reason, ..Default::default() };
        let held = HoldRequest { request: None, on: "slot h1/01".into(), reason: "why".into() };
        assert!(matches!(ControlRequest::try_from(Asked::Hold(held)), Err(Failure::Invalid(_))));
        let short = InviteHostRequest { host: "h1".into(), certificate: vec![1; 31], ..Default::default() };
        assert!(matches!(ControlRequest::try_from(Asked::InviteHost(short)), Err(Failure::Invalid(_))));
        let short = ApprovePlanRequest { request: None, plan: 1, digest: vec![0; 7], reason: String::new() };
        let name = AttestRequest { request: None, host: "no host!".into(), how: String::new() };
        for asked in [Asked::ApprovePlan(short), Asked::MakePlan(bytes), Asked::Attest(name)] {
            assert!(matches!(ControlRequest::try_from(asked), Err(Failure::Invalid(_))));
        }
    }

    #[test]
    fn replies_come_out_as_they_went_in() {
        let by = CoordinatorName::new("c1").unwrap();
        let all = [
            Reply::Session(4),
            Reply::Plan { id: PlanId(2), bytes: vec![1, 2], people_missing: 1 },
            Reply::Changed { revision: Revision(8) },
            Reply::Hold { revision: Revision(8), changed: true, running: vec![PlanId(3), PlanId(4)] },
            Reply::View { bytes: vec![3], revision: Revision(5), confirmed: true },
        ];
        for reply in all {
            assert_eq!(Answered::of(reply.clone(), &by).reply(), reply);
        }
    }

    #[test]
    fn failures_come_out_as_they_went_in() {
        let member = |name: &str| (CoordinatorName::new(name).unwrap(), SocketAddr::from(([127, 0, 0, 1], 7401)));
        let members = [member("c1"), member("c2")];
        let leader = Some(CoordinatorName::new("c2").unwrap());
        let all = [
            Failure::NotLeader { leader: leader.clone() },
            Failure::NotLeader { leader: None },
            Failure::Interrupted { leader },
            Failure::NotFound("no such plan".into()),
            Failure::Invalid("no reason".into()),
            Failure::Refused("not now".into()),
        ];
        for failure in all {
            assert_eq!(Refusal::of(&failure, &members).failure(), failure);
        }
        let stranger = Failure::NotLeader { leader: CoordinatorName::new("c9").ok() };
        assert_eq!(Refusal::of(&stranger, &members).leader, None, "nobody is sent where nobody is known to be");
    }
}
