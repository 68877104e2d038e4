//! Raft's messages between coordinators.
//!
//! What always holds: a message counts only if it comes from a coordinator's certificate, is of this cluster, and names
//! that coordinator's node id and the disk it had when it was first heard (trap 11: a wiped node under its old id would
//! forget its vote). Messages may be lost; a slow peer never holds up another or the core.

use super::{Inbox, Members};
use crate::core::Event;
use slot_net::{Dialer, Identity, Role, identity_of};
use slot_proto::pb::peer_client::PeerClient;
use slot_proto::pb::peer_server::Peer;
use slot_proto::pb::{RaftEnvelope, RaftStreamEnd};
use slot_raft::{NodeMarker, RaftMessage, RaftMessageType};
use slot_types::ids::CoordinatorName;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

/// A snapshot travels in one message, so it may be larger than anything else on the wire.
pub(super) const PEER_MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Messages that wait for one peer; further ones are dropped, which raft bears.
const QUEUE: usize = 1_024;
/// Messages handed to a connection and not yet taken by it.
const ON_THE_WAY: usize = 64;
const RECONNECT: Duration = Duration::from_millis(100);
const RECONNECT_MAX: Duration = Duration::from_secs(1);

/// The ways to all other coordinators.
pub(super) struct Peers {
    queues: BTreeMap<u64, mpsc::Sender<RaftMessage>>,
    inbox: Inbox,
}

impl Peers {
    /// Starts a task per peer; it greets the peer, so that its disk is known there, and dials when there is something to send.
    pub(super) fn start(dialer: &Dialer, members: &Members, own: u64, marker: &NodeMarker, inbox: &Inbox) -> Self {
        let mut queues = BTreeMap::new();
        for (id, (name, address)) in members.iter().filter(|(id, _)| **id != own) {
            let channel = Identity::new(Role::Coordinator, name.as_str())
                .map_err(|e| e.to_string())
                .and_then(|identity| dialer.channel(*address, &identity).map_err(|e| e.to_string()));
            let client = match channel {
                Ok(channel) => PeerClient::new(channel).max_decoding_message_size(slot_net::MESSAGE_BYTES_MAX),
                Err(error) => {
                    tracing::error!(peer = %name, "no messages can be sent: {error}");
                    continue;
                }
            };
            let (queue, messages) = mpsc::channel(QUEUE);
            let way = Way { own, peer: *id, name: name.clone(), client, marker: marker.clone(), inbox: inbox.clone() };
            tokio::spawn(way.run(messages));
            queues.insert(*id, queue);
        }
        Self { queues, inbox: inbox.clone() }
    }

    /// Queues a message, or drops it and says so.
    pub(super) fn send(&self, peer: u64, message: RaftMessage) {
        let snapshot = is_snapshot(&message);
        let sent = self.queues.get(&peer).is_some_and(|queue| queue.try_send(message).is_ok());
        if !sent {
            // If the inbox is full too, the core has better things to do than to hear of it.
            drop(self.inbox.try_send(Event::PeerUnreachable { peer }));
            if snapshot {
                drop(self.inbox.try_send(Event::SnapshotSent { peer, ok: false }));
            }
        }
    }
}

fn is_snapshot(message: &RaftMessage) -> bool {
    message.r#type == RaftMessageType::Snapshot as i32
}

/// A message that says nothing: with the envelope around it, it makes a node's disk known to a peer before the day on
/// which it matters (trap 11). A peer that has never heard a node would take a wiped disk of it for its first one.
pub(crate) fn greeting(from: u64, to: u64) -> RaftMessage {
    RaftMessage { r#type: RaftMessageType::Unspecified as i32, from, to, ..RaftMessage::default() }
}

/// Whether a message is a greeting, and not for the core.
pub(crate) fn is_greeting(message: &RaftMessage) -> bool {
    message.r#type == RaftMessageType::Unspecified as i32
}

struct Way {
    own: u64,
    peer: u64,
    name: CoordinatorName,
    client: PeerClient<tonic::transport::Channel>,
    marker: NodeMarker,
    inbox: Inbox,
}

impl Way {
    async fn run(mut self, mut messages: mpsc::Receiver<RaftMessage>) {
        let mut pause = RECONNECT;
        let mut greeted = false;
        // A connection is made when there is a first message for it, and until one has lasted: the peer knows this disk then.
        while let Some(first) = self.next(&mut messages, greeted).await {
            let started = tokio::time::Instant::now();
            let why = self.connection(first, &mut messages).await;
            tracing::debug!(peer = %self.name, "raft stream ended: {why}");
            if self.inbox.send(Event::PeerUnreachable { peer: self.peer }).await.is_err() {
                return;
            }
            greeted |= started.elapsed() > RECONNECT_MAX;
            pause = if started.elapsed() > RECONNECT_MAX { RECONNECT } else { (pause * 2).min(RECONNECT_MAX) };
            tokio::time::sleep(pause).await;
            // What queued up meanwhile is old; raft says it again.
            while let Ok(message) = messages.try_recv() {
                self.report_snapshot(&message, false).await;
            }
        }
    }

    /// The next message to send; a greeting while the peer may not know this node and there is nothing else to say.
    async fn next(&self, messages: &mut mpsc::Receiver<RaftMessage>, greeted: bool) -> Option<RaftMessage> {
        if greeted {
            return messages.recv().await;
        }
        let waited = tokio::time::timeout(RECONNECT_MAX, messages.recv()).await;
        waited.unwrap_or_else(|_| Some(greeting(self.own, self.peer)))
    }

    async fn connection(&mut self, first: RaftMessage, messages: &mut mpsc::Receiver<RaftMessage>) -> String {
        let (wire, taken) = mpsc::channel(ON_THE_WAY);
        let mut client = self.client.clone();
        let call = async move { client.raft(ReceiverStream::new(taken)).await };
        let pump = async {
            let mut next = Some(first);
            while let Some(message) = next {
                let snapshot = is_snapshot(&message).then(|| message.clone());
                let gone = wire.send(self.marker.seal(message)).await.is_err();
                if let Some(snapshot) = snapshot {
                    self.report_snapshot(&snapshot, !gone).await;
                }
                if gone {
                    break;
                }
                next = messages.recv().await;
            }
        };
        tokio::select! {
            ended = call => match ended {
                Ok(end) => end.into_inner().why,
                Err(status) => status.message().to_string(),
            },
            () = pump => "nothing more to send".to_string(),
        }
    }

    async fn report_snapshot(&self, message: &RaftMessage, ok: bool) {
        if is_snapshot(message) {
            drop(self.inbox.send(Event::SnapshotSent { peer: self.peer, ok }).await);
        }
    }
}

/// Which disk each peer had when it was first heard; survives restarts.
pub(super) struct Acquaintances {
    folder: PathBuf,
    known: Mutex<BTreeMap<CoordinatorName, [u8; 16]>>,
}

impl Acquaintances {
    /// Reads what was noted before.
    pub(super) fn open(folder: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(&folder)?;
        let mut known = BTreeMap::new();
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|n| n.to_str()).and_then(|n| CoordinatorName::new(n).ok());
            let token = fs::read_to_string(&path)?.trim().parse::<slot_types::ids::Incarnation>();
            if let (Some(name), Ok(token)) = (name, token) {
                known.insert(name, token.0);
            }
        }
        Ok(Self { folder, known: Mutex::new(known) })
    }

    fn check(&self, name: &CoordinatorName, incarnation: [u8; 16]) -> Result<(), Status> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match known.get(name) {
            Some(first) if *first == incarnation => Ok(()),
            Some(_) => Err(Status::failed_precondition(format!(
                "coordinator {name} presents another disk than before: a wiped or restored node must not vote under its \
                 old name; put its disk back, or, if all other coordinators are well and the old disk never comes back, \
                 remove {} on each of them and restart them one by one",
                self.folder.join(name.as_str()).display()
            ))),
            None => {
                note(&self.folder, name, incarnation)
                    .map_err(|e| Status::internal(format!("noting the disk of {name}: {e}")))?;
                known.insert(name.clone(), incarnation);
                Ok(())
            }
        }
    }
}

fn note(folder: &Path, name: &CoordinatorName, incarnation: [u8; 16]) -> io::Result<()> {
    // Not a name, so a crash in between leaves nothing that is read.
    let draft = folder.join(format!("{name}.new"));
    let mut file = File::create(&draft)?;
    writeln!(file, "{}", slot_types::ids::Incarnation(incarnation))?;
    file.sync_all()?;
    fs::rename(&draft, folder.join(name.as_str()))?;
    File::open(folder)?.sync_all()
}

/// The service other coordinators call.
pub(super) struct PeerService {
    pub(super) marker: NodeMarker,
    pub(super) members: Arc<Members>,
    pub(super) acquaintances: Arc<Acquaintances>,
    pub(super) inbox: Inbox,
}

impl PeerService {
    fn node_id(&self, name: &CoordinatorName) -> Result<u64, Status> {
        let found = self.members.iter().find(|(_, (member, _))| member == name);
        found
            .map(|(id, _)| *id)
            .ok_or_else(|| Status::permission_denied(format!("coordinator {name} is not in this node's cluster.json")))
    }
}

#[tonic::async_trait]
impl Peer for PeerService {
    async fn raft(&self, request: Request<Streaming<RaftEnvelope>>) -> Result<Response<RaftStreamEnd>, Status> {
        let name = CoordinatorName::new(identity_of(&request)?.name())
            .map_err(|e| Status::permission_denied(e.to_string()))?;
        let id = self.node_id(&name)?;
        let mut envelopes = request.into_inner();
        let mut checked = None;
        while let Some(envelope) = envelopes.message().await? {
            let received = self.marker.open(envelope).map_err(|e| Status::invalid_argument(e.to_string()))?;
            // S15: the certificate says who it is, and nobody speaks for another node.
            if received.message.from != id {
                let from = received.message.from;
                return Err(Status::permission_denied(format!("{name} is node {id} and speaks as node {from}")));
            }
            if checked != Some(received.from_incarnation) {
                self.acquaintances.check(&name, received.from_incarnation).inspect_err(|status| {
                    tracing::error!(peer = %name, "{}", status.message());
                })?;
                checked = Some(received.from_incarnation);
            }
            if is_greeting(&received.message) {
                continue;
            }
            if self.inbox.send(Event::Raft(received.message)).await.is_err() {
                break;
            }
        }
        Ok(Response::new(RaftStreamEnd { why: "this coordinator is stopping".into() }))
    }
}
