//! Calls to other engines.
//!
//! What always holds: a call goes to exactly the host that the source names, or to nobody; what comes back is decoded by
//! its version; no answer within the budget is an error that proves nothing.

use super::core::{PeerAnswer, PeerCall};
use super::wire;
use slot_net::{Dialer, Identity, MESSAGE_BYTES_MAX, Role};
use slot_proto::pb::{EnginePeerRequest, journal_client::JournalClient as Wire};
use slot_types::codec;
use slot_types::engine::Source;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tonic::transport::Channel;

/// Channels to other engines, made once each.
#[derive(Clone, Debug)]
pub struct Peers {
    dialer: Dialer,
    channels: Arc<Mutex<BTreeMap<Source, Channel>>>,
}

impl Peers {
    /// Dials with this dialer.
    pub fn new(dialer: Dialer) -> Self {
        Self { dialer, channels: Arc::default() }
    }

    /// A client of the engine at that slot and address.
    pub fn client(&self, to: &Source) -> Result<Wire<Channel>, String> {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        let channel = match channels.get(to) {
            Some(channel) => channel.clone(),
            None => {
                let host = Identity::new(Role::Agent, to.slot.host.as_str()).map_err(|e| e.to_string())?;
                let channel = self.dialer.channel(to.address, &host).map_err(|e| e.to_string())?;
                channels.insert(to.clone(), channel.clone());
                channel
            }
        };
        Ok(Wire::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX).max_encoding_message_size(MESSAGE_BYTES_MAX))
    }

    /// One call.
    pub async fn call(&self, to: &Source, call: PeerCall, budget: Duration) -> Result<PeerAnswer, String> {
        match tokio::time::timeout(budget, self.call_unbounded(to, call, budget)).await {
            Ok(answer) => answer,
            Err(_) => Err(format!("no answer in {} ms", budget.as_millis())),
        }
    }

    async fn call_unbounded(&self, to: &Source, call: PeerCall, budget: Duration) -> Result<PeerAnswer, String> {
        let mut client = self.client(to)?;
        let envelope = EnginePeerRequest { call: codec::encode(&call) };
        let reply = match call {
            PeerCall::Append(append) => {
                let budget_ms = u64::try_from(budget.as_millis()).unwrap_or(u64::MAX);
                let reply = client.append(wire::append_to(append, budget_ms)).await.map_err(|s| s.to_string())?;
                return Ok(PeerAnswer::Appended(wire::outcome_from(reply.into_inner())));
            }
            PeerCall::Pull(_) => client.pull(envelope).await,
            PeerCall::Compare { .. } | PeerCall::Contains { .. } | PeerCall::Fingerprint { .. } => {
                client.contains(envelope).await
            }
        };
        let reply = reply.map_err(|status| status.to_string())?;
        codec::decode(&reply.into_inner().answer).map_err(|e| e.to_string())
    }
}
