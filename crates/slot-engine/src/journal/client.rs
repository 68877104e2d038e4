//! A client of one journal master.
//!
//! What always holds: an error says whether the request took effect: [`ClientError::Refused`] and [`ClientError::Denied`]
//! mean it did not; [`ClientError::Unknown`] means it may have, and the same record id must be used again (R21). Every
//! request carries store and epoch of its route; whoever is refused for either asks for the route again.

use super::core::{Append, AppendOutcome, Read, Record, Refused};
use super::wire;
use futures::{Stream, StreamExt};
use slot_net::{Dialer, Identity, MESSAGE_BYTES_MAX, Role};
use slot_proto::pb::journal_client::JournalClient as Wire;
use slot_types::engine::Source;
use slot_types::ids::{Epoch, RecordId, StoreName};
use std::time::Duration;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

/// How much longer than the engine's budget its answer is waited for.
const ANSWER_SLACK: Duration = Duration::from_millis(500);

/// What happened to a request that has no plain answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// It took no effect; the epoch the engine holds is in it. Ask for the route again.
    #[error("refused: {0}")]
    Refused(Refused),
    /// It took no effect: this certificate may not do that, or the request is malformed.
    #[error("denied: {0}")]
    Denied(String),
    /// It may have taken effect. Try again with the same record id.
    #[error("unknown outcome: {0}; try again with the same record id")]
    Unknown(String),
}

/// A record is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Its index in the log.
    pub index: u64,
    /// It was there before this request.
    pub existed: bool,
}

/// Records as read: each with its index, and where what may be read ends.
pub type ReadRecords = (Vec<(u64, Record)>, u64);

/// A client of the engine at one address. Cheap to clone.
#[derive(Clone, Debug)]
pub struct JournalClient {
    wire: Wire<Channel>,
    store: StoreName,
}

fn error_of(status: &Status) -> ClientError {
    match status.code() {
        Code::PermissionDenied
        | Code::Unauthenticated
        | Code::InvalidArgument
        | Code::FailedPrecondition
        | Code::Unimplemented => ClientError::Denied(status.message().to_string()),
        _ => ClientError::Unknown(status.to_string()),
    }
}

impl JournalClient {
    /// A client of `store` at `to`; connects with the first request and again whenever it must.
    pub fn new(dialer: &Dialer, to: &Source, store: StoreName) -> Result<Self, ClientError> {
        let host = Identity::new(Role::Agent, to.slot.host.as_str()).map_err(|e| ClientError::Denied(e.to_string()))?;
        let channel = dialer.channel(to.address, &host).map_err(|e| ClientError::Denied(e.to_string()))?;
        let wire = Wire::new(channel)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        Ok(Self { wire, store })
    }

    /// Appends a record at the epoch of the route; durable when this answers Ok.
    pub async fn append(
        &self,
        epoch: Epoch,
        id: RecordId,
        payload: Vec<u8>,
        budget: Duration,
    ) -> Result<Appended, ClientError> {
        let append = Append { store: self.store.clone(), epoch, id, payload };
        let budget_ms = u64::try_from(budget.as_millis()).unwrap_or(u64::MAX);
        let request = Request::new(wire::append_to(append, budget_ms));
        let mut client = self.wire.clone();
        // The engine answers at the budget's end with what it knows, so its answer is waited for a little longer.
        let reply = match tokio::time::timeout(budget + ANSWER_SLACK, client.append(request)).await {
            Ok(reply) => reply.map_err(|status| error_of(&status))?,
            Err(_) => return Err(ClientError::Unknown(format!("no answer in {} ms", budget.as_millis()))),
        };
        match wire::outcome_from(reply.into_inner()) {
            AppendOutcome::Done { index, existed } => Ok(Appended { index, existed }),
            AppendOutcome::Refused(refused) => Err(ClientError::Refused(refused)),
            AppendOutcome::Unknown { why } => Err(ClientError::Unknown(why)),
        }
    }

    /// Reads records from an index on, waiting up to `wait` for the first. With `epoch` `None`, any role answers with what
    /// is durable there, which may be stale.
    pub async fn read(
        &self,
        epoch: Option<Epoch>,
        from: u64,
        records_max: u32,
        wait: Duration,
    ) -> Result<ReadRecords, ClientError> {
        let mut request = Request::new(wire::read_to(&self.read_request(epoch, from, records_max, wait)));
        request.set_timeout(wait + Duration::from_secs(5));
        let reply = self.wire.clone().read(request).await.map_err(|status| error_of(&status))?;
        match wire::read_outcome_from(reply.into_inner()) {
            Ok(Ok(records)) => Ok(records),
            Ok(Err(refused)) => Err(ClientError::Refused(refused)),
            Err(why) => Err(ClientError::Unknown(why)),
        }
    }

    fn read_request(&self, epoch: Option<Epoch>, from: u64, records_max: u32, wait: Duration) -> Read {
        Read {
            store: self.store.clone(),
            epoch: epoch.unwrap_or_default(),
            from,
            records_max,
            wait_ms: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
            stale: epoch.is_none(),
        }
    }

    /// Records from an index on, as they are acknowledged, until the engine refuses or the connection ends.
    pub async fn tail(
        &self,
        epoch: Option<Epoch>,
        from: u64,
    ) -> Result<impl Stream<Item = Result<(u64, Record), ClientError>> + use<>, ClientError> {
        let request = Request::new(wire::read_to(&self.read_request(epoch, from, 1000, Duration::ZERO)));
        let replies = self.wire.clone().tail(request).await.map_err(|status| error_of(&status))?.into_inner();
        Ok(replies.flat_map(|reply| {
            let items = match reply.map(wire::read_outcome_from) {
                Ok(Ok(Ok((records, _)))) => records.into_iter().map(Ok).collect(),
                Ok(Ok(Err(refused))) => vec![Err(ClientError::Refused(refused))],
                Ok(Err(why)) => vec![Err(ClientError::Unknown(why))],
                Err(status) => vec![Err(error_of(&status))],
            };
            futures::stream::iter(items)
        }))
    }
}
