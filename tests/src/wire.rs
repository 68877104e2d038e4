//! Calls over the real wire, as any identity of the cluster.
//!
//! What always holds: whoever is called is pinned by name; every call has a deadline.

use crate::Outcome;
use slot_engine::journal::client::JournalClient;
use slot_net::{Dialer, Identity, IdentityFolder, MESSAGE_BYTES_MAX, Role};
use slot_proto::pb;
use slot_proto::pb::control_client::ControlClient;
use slot_types::codec::{decode, encode};
use slot_types::engine::Source;
use slot_types::ids::StoreName;
use slot_types::view::{Query, View};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use tonic::Status;
use tonic::transport::Channel;

/// How long one look at a coordinator may take.
const LOOK_LIMIT: Duration = Duration::from_millis(1500);

/// A runtime for a few calls.
pub fn runtime() -> Outcome<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?)
}

/// Calls as one identity.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Dials as that identity.
    pub dialer: Dialer,
    /// The coordinators of its cluster.
    pub coordinators: Vec<(String, SocketAddr)>,
}

impl Caller {
    /// Reads an identity folder.
    pub fn load(folder: &Path) -> Outcome<Self> {
        let folder = IdentityFolder::load(folder)?;
        let coordinators = folder.membership().coordinators.iter().map(|(name, at)| (name.to_string(), *at)).collect();
        Ok(Self { dialer: Dialer::new(folder), coordinators })
    }

    /// A channel to somebody at an address; it needs a runtime around it.
    pub fn channel(&self, role: Role, name: &str, at: SocketAddr) -> Outcome<Channel> {
        Ok(self.dialer.channel(at, &Identity::new(role, name)?)?)
    }

    /// A client of one coordinator.
    pub fn control(&self, (name, at): &(String, SocketAddr)) -> Outcome<ControlClient<Channel>> {
        let channel = self.channel(Role::Coordinator, name, *at)?;
        Ok(ControlClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX))
    }

    /// A client of one store's master.
    pub fn journal(&self, store: &StoreName, at: &Source) -> Outcome<JournalClient> {
        Ok(JournalClient::new(&self.dialer, at, store.clone())?)
    }

    /// A confirmed document from the leader; whoever is not the leader refuses.
    pub async fn view(&self, coordinator: &(String, SocketAddr), query: &Query) -> Result<View, Status> {
        let failed = |error: String| Status::internal(error);
        let mut client = self.control(coordinator).map_err(|error| failed(error.to_string()))?;
        let request = pb::ViewRequest { query: encode(query), stale_ok: false };
        let reply = tokio::time::timeout(LOOK_LIMIT, client.view(request)).await;
        let reply = reply.map_err(|_| Status::deadline_exceeded("no answer"))??;
        decode::<View>(&reply.into_inner().view).map_err(|error| failed(error.to_string()))
    }

    /// The name of the coordinator that leads and could prove it just now.
    pub async fn leader(&self) -> Option<String> {
        for coordinator in &self.coordinators {
            if let Ok(View::Status(status)) = self.view(coordinator, &Query::Status).await
                && status.leader.as_ref().map(|name| name.as_str()) == Some(&coordinator.0)
            {
                return Some(coordinator.0.clone());
            }
        }
        None
    }
}
