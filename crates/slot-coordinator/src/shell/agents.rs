//! The leader's ways to the agents.
//!
//! What always holds: each agent is dialled as exactly the identity `agent/HOST`; orders of different steps travel side by
//! side, at most [`ORDERS_PER_HOST`] to one host; every call has a deadline; what is not watched any more is hung up.

use super::Inbox;
use crate::core::Event;
use slot_net::{Dialer, Identity, MESSAGE_BYTES_MAX, Role};
use slot_proto::pb::agent_client::AgentClient;
use slot_proto::pb::{DeliverRequest, LookRequest, WatchRequest};
use slot_types::codec;
use slot_types::ids::*;
use slot_types::order::{AgentReport, Answer};
use slot_types::probe::Sights;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tonic::transport::Channel;

/// Orders under way to one host.
const ORDERS_PER_HOST: usize = 64;
/// How often an agent reports when nothing changes.
const REPORT_MS: u32 = 500;
/// A stream that says nothing for so long is taken for broken.
const REPORT_SILENCE: Duration = Duration::from_secs(4);
/// How long opening the stream may take.
const OPEN: Duration = Duration::from_secs(3);
/// What a call may take beyond the budget the agent was given.
const BEYOND_BUDGET: Duration = Duration::from_secs(2);
const RECONNECT: Duration = Duration::from_millis(100);
const RECONNECT_MAX: Duration = Duration::from_secs(1);

type Client = AgentClient<Channel>;

struct Way {
    address: SocketAddr,
    term: Term,
    client: Client,
    orders: Arc<Semaphore>,
    watch: AbortHandle,
}

/// See the module's documentation.
pub(super) struct Agents {
    dialer: Dialer,
    inbox: Inbox,
    ways: BTreeMap<HostName, Way>,
}

impl Agents {
    pub(super) fn new(dialer: Dialer, inbox: Inbox) -> Self {
        Self { dialer, inbox, ways: BTreeMap::new() }
    }

    /// Watches exactly these from now on.
    pub(super) fn watch(&mut self, term: Term, agents: BTreeMap<HostName, SocketAddr>) {
        self.ways.retain(|host, way| {
            let keep = agents.get(host) == Some(&way.address) && way.term == term;
            if !keep {
                way.watch.abort();
            }
            keep
        });
        for (host, address) in agents {
            if self.ways.contains_key(&host) {
                continue;
            }
            match self.client(&host, address) {
                Ok(client) => {
                    let task = watch(host.clone(), term, client.clone(), self.inbox.clone());
                    let watch = tokio::spawn(task).abort_handle();
                    let orders = Arc::new(Semaphore::new(ORDERS_PER_HOST));
                    self.ways.insert(host, Way { address, term, client, orders, watch });
                }
                Err(error) => tracing::error!(%host, "its agent cannot be dialled: {error}"),
            }
        }
    }

    fn client(&self, host: &HostName, address: SocketAddr) -> Result<Client, String> {
        let identity = Identity::new(Role::Agent, host.as_str()).map_err(|e| e.to_string())?;
        let channel = self.dialer.channel(address, &identity).map_err(|e| e.to_string())?;
        Ok(AgentClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX))
    }

    /// Asks an agent to look around; what it saw, or why nothing, comes back as an event.
    pub(super) fn look(&self, look: u64, host: &HostName, looks: Vec<u8>, budget_ms: u64) {
        // One that is not watched any more is not waited for either: the core's own time for the round runs out.
        let Some(mut client) = self.ways.get(host).map(|way| way.client.clone()) else { return };
        let (inbox, limit) = (self.inbox.clone(), Duration::from_millis(budget_ms));
        tokio::spawn(async move {
            let call = async {
                let reply = client.look(LookRequest { looks }).await;
                let bytes = reply.map_err(|s| format!("{:?}: {}", s.code(), s.message()))?.into_inner().sights;
                codec::decode::<Sights>(&bytes).map_err(|e| e.to_string())
            };
            let result = timeout(limit, call).await.unwrap_or_else(|_| Err(format!("no answer within {limit:?}")));
            drop(inbox.send(Event::Looked { look, result }).await);
        });
    }

    /// Delivers an order; the answer, or why there is none, comes back as an event.
    pub(super) fn deliver(&self, delivery: u64, host: &HostName, order: Vec<u8>, budget_ms: u64) {
        let inbox = self.inbox.clone();
        let Some(way) = self.ways.get(host) else {
            let result = Err(format!("the agent of {host} is not watched"));
            tokio::spawn(async move { drop(inbox.send(Event::AgentAnswer { delivery, result }).await) });
            return;
        };
        let (mut client, orders) = (way.client.clone(), way.orders.clone());
        let limit = Duration::from_millis(budget_ms) + BEYOND_BUDGET;
        tokio::spawn(async move {
            let call = async {
                let _permit = orders.acquire_owned().await.map_err(|e| e.to_string())?;
                let reply = client.deliver(DeliverRequest { order }).await;
                let bytes = reply.map_err(|s| format!("{:?}: {}", s.code(), s.message()))?.into_inner().answer;
                codec::decode::<Answer>(&bytes).map_err(|e| e.to_string())
            };
            let result = timeout(limit, call).await.unwrap_or_else(|_| Err(format!("no answer within {limit:?}")));
            drop(inbox.send(Event::AgentAnswer { delivery, result }).await);
        });
    }
}

impl Drop for Agents {
    fn drop(&mut self) {
        self.ways.values().for_each(|way| way.watch.abort());
    }
}

async fn watch(host: HostName, term: Term, mut client: Client, inbox: Inbox) {
    let mut pause = RECONNECT;
    loop {
        let (heard, why) = one_stream(&host, term, &mut client, &inbox).await;
        tracing::debug!(%host, "agent stream ended: {why}");
        if inbox.send(Event::AgentLost { host: host.clone(), why }).await.is_err() {
            return;
        }
        pause = if heard { RECONNECT } else { (pause * 2).min(RECONNECT_MAX) };
        tokio::time::sleep(pause).await;
    }
}

/// Reads one stream to its end: whether anything was heard, and why it ended.
async fn one_stream(host: &HostName, term: Term, client: &mut Client, inbox: &Inbox) -> (bool, String) {
    let request = WatchRequest { term: term.0, interval_ms: REPORT_MS };
    let mut reports = match timeout(OPEN, client.watch(request)).await {
        Ok(Ok(stream)) => stream.into_inner(),
        Ok(Err(status)) => return (false, status.message().to_string()),
        Err(_) => return (false, format!("no answer within {OPEN:?}")),
    };
    let mut heard = false;
    loop {
        let bytes = match timeout(REPORT_SILENCE, reports.message()).await {
            Ok(Ok(Some(reply))) => reply.report,
            Ok(Ok(None)) => return (heard, "the agent closed it".into()),
            Ok(Err(status)) => return (heard, status.message().to_string()),
            Err(_) => return (heard, format!("nothing heard for {REPORT_SILENCE:?}")),
        };
        let report = match codec::decode::<AgentReport>(&bytes) {
            Ok(report) => Box::new(report),
            Err(error) => return (heard, error.to_string()),
        };
        heard = true;
        if inbox.send(Event::AgentReport { host: host.clone(), report }).await.is_err() {
            return (heard, "this coordinator is stopping".into());
        }
    }
}
