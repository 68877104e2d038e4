//! The leader's ways to the front ends.
//!
//! What always holds: each is dialled as exactly the identity `front-end/NAME`; every call has a deadline; what went wrong on the
//! way comes back as an event like any answer.

use super::Inbox;
use crate::core::Event;
use slot_net::{Dialer, Identity, MESSAGE_BYTES_MAX, Role};
use slot_proto::pb::ServeRequest;
use slot_proto::pb::front_end_client::FrontEndClient;
use slot_types::codec;
use slot_types::front_end::FrontEndReport;
use slot_types::ids::FrontEndName;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::time::timeout;
use tonic::transport::Channel;

/// Every map's reload has a deadline of its own; the front end's agent answers before this.
const CALL: Duration = Duration::from_secs(45);

type Client = FrontEndClient<Channel>;

/// See the module's documentation.
pub(super) struct FrontEnds {
    dialer: Dialer,
    inbox: Inbox,
    ways: BTreeMap<FrontEndName, (SocketAddr, Client)>,
}

impl FrontEnds {
    pub(super) fn new(dialer: Dialer, inbox: Inbox) -> Self {
        Self { dialer, inbox, ways: BTreeMap::new() }
    }

    /// Hands a table over; the answer, or why there is none, comes back as an event.
    pub(super) fn serve(&mut self, front_end: FrontEndName, address: SocketAddr, table: Vec<u8>) {
        let client = self.client(&front_end, address);
        let inbox = self.inbox.clone();
        tokio::spawn(async move {
            let call = async {
                let reply = client?.serve(ServeRequest { table }).await;
                let bytes = reply.map_err(|s| format!("{:?}: {}", s.code(), s.message()))?.into_inner().report;
                codec::decode::<FrontEndReport>(&bytes).map_err(|e| e.to_string())
            };
            let result = timeout(CALL, call).await.unwrap_or_else(|_| Err(format!("no answer within {CALL:?}")));
            drop(inbox.send(Event::FrontEndAnswer { front_end, result }).await);
        });
    }

    fn client(&mut self, name: &FrontEndName, address: SocketAddr) -> Result<Client, String> {
        if let Some((at, client)) = self.ways.get(name)
            && *at == address
        {
            return Ok(client.clone());
        }
        let identity = Identity::new(Role::FrontEnd, name.as_str()).map_err(|e| e.to_string())?;
        let channel = self.dialer.channel(address, &identity).map_err(|e| e.to_string())?;
        let client = FrontEndClient::new(channel).max_encoding_message_size(MESSAGE_BYTES_MAX);
        self.ways.insert(name.clone(), (address, client.clone()));
        Ok(client)
    }
}
