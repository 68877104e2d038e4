//! The Agent service: the leader's orders in, reports out.
//!
//! What always holds: an order is bytes here and is judged by the core alone; who may call is judged before, by the
//! role table of slot-net (S15); a watcher that is slow misses reports in between, never the latest.

use crate::agent::Handle;
use crate::looks::Lookout;
use slot_net::failpoint;
use slot_proto::pb::agent_server::{Agent, AgentServer};
use slot_proto::pb::{DeliverReply, DeliverRequest, LookReply, LookRequest, WatchReply, WatchRequest};
use slot_types::codec;
use slot_types::order::Order;
use slot_types::probe::Looks;
use std::pin::Pin;
use std::time::Duration;
use tokio_stream::Stream;
use tonic::{Request, Response, Status};

/// The bounds of the interval that a watcher may ask for, in milliseconds.
const INTERVAL_MS: std::ops::RangeInclusive<u64> = 100..=10_000;

/// Serves one running agent.
pub struct AgentService {
    handle: Handle,
    lookout: Lookout,
}

impl AgentService {
    /// The service, with the size limits of slot-net.
    pub fn server(handle: Handle, lookout: Lookout) -> AgentServer<AgentService> {
        AgentServer::new(Self { handle, lookout })
            .max_decoding_message_size(slot_net::MESSAGE_BYTES_MAX)
            .max_encoding_message_size(slot_net::MESSAGE_BYTES_MAX)
    }
}

#[tonic::async_trait]
impl Agent for AgentService {
    async fn deliver(&self, request: Request<DeliverRequest>) -> Result<Response<DeliverReply>, Status> {
        let bytes = request.into_inner().order;
        received(&bytes).await;
        match self.handle.deliver(bytes).await {
            Some(answer) => Ok(Response::new(DeliverReply { answer: codec::encode(&answer) })),
            None => Err(Status::unavailable("this agent is ending; deliver again")),
        }
    }

    async fn look(&self, request: Request<LookRequest>) -> Result<Response<LookReply>, Status> {
        let looks = codec::decode::<Looks>(&request.into_inner().looks);
        let looks = looks.map_err(|e| Status::invalid_argument(format!("reading what to look at: {e}")))?;
        let sights = self.lookout.look(looks).await.map_err(Status::invalid_argument)?;
        Ok(Response::new(LookReply { sights: codec::encode(&sights) }))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<WatchReply, Status>> + Send>>;

    async fn watch(&self, request: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let interval = u64::from(request.into_inner().interval_ms).clamp(*INTERVAL_MS.start(), *INTERVAL_MS.end());
        let mut reports = self.handle.reports();
        let watcher = self.handle.watched();
        let stream = async_stream::stream! {
            let _watcher = watcher;
            loop {
                let report = reports.borrow_and_update().clone();
                yield Ok(WatchReply { report });
                // On a change at once, else after the interval; the agent is ending when the sender is gone.
                let changed = tokio::time::timeout(Duration::from_millis(interval), reports.changed()).await;
                if matches!(changed, Ok(Err(_))) {
                    return;
                }
            }
        };
        Ok(Response::new(Box::pin(stream)))
    }
}

/// The failpoint before anything is done with an order. It may block, so it has a thread of its own.
async fn received(bytes: &[u8]) {
    if !failpoint::ENABLED {
        return;
    }
    if let Ok(order) = codec::decode::<Order>(bytes) {
        let name = format!("agent-{}-received", order.action.name());
        let _ = tokio::task::spawn_blocking(move || failpoint::reach(&name)).await;
    }
}
