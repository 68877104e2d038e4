//! The Joining service: a bare host exchanges its one-time token for its agent's certificate.
//!
//! What always holds: which host asks, and with which token, is what the certificate of its connection says, never the
//! message; a certificate is signed only after the entry that burns the token was applied; nothing secret is logged, for
//! nothing secret is sent.

use super::Message;
use super::service::Desk;
use crate::core::{Failure, Reply};
use slot_machine::join::Guest;
use slot_net::{AgentIssuer, Asking, Identity, IssuerError, Role, peer_of};
use slot_proto::pb::joining_server::Joining;
use slot_proto::pb::{JoinReply, JoinRequest};
use slot_types::ids::{HostName, Incarnation};
use tokio::sync::oneshot;
use tonic::{Request, Response, Status};

/// The service.
pub(super) struct JoiningService {
    desk: Desk,
    issuer: Option<AgentIssuer>,
}

impl JoiningService {
    pub(super) fn new(desk: Desk, issuer: Option<AgentIssuer>) -> Self {
        Self { desk, issuer }
    }

    /// Has the token burnt.
    async fn let_in(&self, guest: Guest) -> Result<(), Status> {
        let (reply, answer) = oneshot::channel();
        let stopping = || Status::unavailable("this coordinator is stopping; ask another");
        self.desk.inbox.ask(Message::Join { guest, reply }).await.map_err(|_| stopping())?;
        match answer.await.map_err(|_| stopping())? {
            Ok(Reply::Changed { .. }) => Ok(()),
            Ok(other) => Err(Status::internal(format!("the core answered something else: {other:?}"))),
            // The same key may ask again, so it does no harm that whether the token is burnt is not known.
            Err(Failure::Interrupted { leader }) => Err(self.desk.status(&Failure::NotLeader { leader })),
            Err(failure) => Err(self.desk.status(&failure)),
        }
    }
}

fn refused(error: &IssuerError) -> Status {
    match error {
        IssuerError::Request { .. } => Status::invalid_argument(error.to_string()),
        IssuerError::OtherName { .. } => Status::failed_precondition(error.to_string()),
        IssuerError::Folder(_) | IssuerError::Issuer { .. } | IssuerError::Certificate { .. } => {
            Status::internal(error.to_string())
        }
    }
}

#[tonic::async_trait]
impl Joining for JoiningService {
    async fn join(&self, request: Request<JoinRequest>) -> Result<Response<JoinReply>, Status> {
        let by = peer_of(&request)?.clone();
        let JoinRequest { request, incarnation } = request.into_inner();
        let invalid = |error: &dyn std::fmt::Display| Status::invalid_argument(error.to_string());
        let host = HostName::new(by.identity.name()).map_err(|e| invalid(&e))?;
        let incarnation: Incarnation = incarnation.parse().map_err(|e| invalid(&e))?;
        let agent = Identity::new(Role::Agent, host.as_str()).map_err(|e| invalid(&e))?;
        let asking = Asking::check(&request, &by.identity, &agent).map_err(|error| {
            tracing::warn!("refused: {error}");
            refused(&error)
        })?;
        let Some(issuer) = &self.issuer else {
            let node = &self.desk.node;
            let text = format!("coordinator {node} has no issuer.pem in its folder, so {host} can't join through it");
            return Err(Status::failed_precondition(text + "; restore the folder that slotctl init made"));
        };
        let guest = Guest { host: host.clone(), certificate: by.certificate, key: asking.key(), incarnation };
        self.let_in(guest).await?;
        let certificates = issuer.issue(&asking).map_err(|error| refused(&error))?;
        tracing::info!(%host, key = %asking.key(), "certified an agent");
        Ok(Response::new(JoinReply { certificates }))
    }
}
