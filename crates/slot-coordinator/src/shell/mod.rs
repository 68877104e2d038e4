//! What carries out the core's effects: clocks, disk, network, services.
//!
//! What always holds: one task owns the core, everything else talks to it through one bounded inbox; effects are carried
//! out in the order given; an effect that says the process must end ends it.

mod agents;
mod disk;
mod front_ends;
mod join;
mod peers;
mod restore;
mod service;
mod start;
mod studies;

pub use self::restore::restore;
pub use self::start::{Options, Prepared, StartupError, prepare};

use self::agents::Agents;
use self::disk::Disk;
use self::front_ends::FrontEnds;
use self::join::JoiningService;
use self::peers::{PEER_MESSAGE_BYTES_MAX, PeerService, Peers};
use self::service::{ControlService, Desk, Lead};
use self::studies::Studies;
use crate::core::{ControlRequest, CoordinatorCore, Effect, Event, Failure, Now, Reply};
use slot_machine::join::Guest;
use slot_net::{Dialer, MESSAGE_BYTES_MAX, failpoint};
use slot_proto::pb::control_server::ControlServer;
use slot_proto::pb::joining_server::JoiningServer;
use slot_proto::pb::peer_server::PeerServer;
use slot_types::cluster::Route;
use slot_types::ids::*;
use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::{mpsc, oneshot, watch};

/// What waits for the core; senders wait when it is full.
const INBOX: usize = 4_096;

/// Every coordinator by its raft id: the order of their names, from 1.
pub type Members = BTreeMap<u64, (CoordinatorName, SocketAddr)>;

/// All routes at one revision.
#[derive(Debug, Default)]
struct RoutesTable {
    revision: Revision,
    routes: BTreeMap<StoreName, Route>,
}

/// Where an answer goes.
type Answer = oneshot::Sender<Result<Reply, Failure>>;

/// What the core's task is sent.
enum Message {
    Event(Event),
    Request { who: OperatorName, request: ControlRequest, reply: Answer },
    Join { guest: Guest, reply: Answer },
}

/// The way to the core.
#[derive(Clone)]
struct Inbox(mpsc::Sender<Message>);

/// The core's task has ended.
struct Gone;

impl Inbox {
    async fn send(&self, event: Event) -> Result<(), Gone> {
        self.ask(Message::Event(event)).await
    }
    async fn ask(&self, message: Message) -> Result<(), Gone> {
        self.0.send(message).await.map_err(|_| Gone)
    }
    fn try_send(&self, event: Event) -> Result<(), Gone> {
        self.0.try_send(Message::Event(event)).map_err(|_| Gone)
    }
    fn blocking_send(&self, event: Event) -> Result<(), Gone> {
        self.0.blocking_send(Message::Event(event)).map_err(|_| Gone)
    }
}

/// Ends the process at once, as a crash would: what goes on after a broken promise only does harm.
fn die(why: &str) -> ! {
    tracing::error!("slotd ends: {why}");
    std::process::abort()
}

fn now() -> Now {
    let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Now { ms: slot_net::boottime_ms(), wall: WallTime(u64::try_from(wall.as_millis()).unwrap_or(u64::MAX)) }
}

/// Serves until `shutdown`, then ends calls and writes out what is under way.
pub async fn run(prepared: Prepared, shutdown: impl Future<Output = ()>) -> Result<(), StartupError> {
    let Prepared { folder, issuer, config, store, restored, marker, acquaintances, listener, .. } = prepared;
    let node = config.node.clone();
    let own = config.raft.node_id;
    let members = Arc::new(config.members.clone());
    let core = CoordinatorCore::new(config, restored, now())?;
    let (sender, messages) = mpsc::channel(INBOX);
    let inbox = Inbox(sender);
    let dialer = Dialer::new(folder.clone());
    let (lead, lead_seen) = watch::channel(Lead::default());
    let (applied, applied_seen) = watch::channel(0);
    let (routes, routes_seen) = watch::channel(Arc::new(RoutesTable::default()));
    let desk = Desk {
        inbox: inbox.clone(),
        members: members.clone(),
        node,
        lead: lead_seen,
        applied: applied_seen,
        routes: routes_seen,
    };
    let joining = JoiningServer::new(JoiningService::new(desk.clone(), issuer));
    let control = ControlServer::new(ControlService::new(desk)).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let peer = PeerService { marker: marker.clone(), members: members.clone(), acquaintances, inbox: inbox.clone() };
    let peer = PeerServer::new(peer).max_decoding_message_size(PEER_MESSAGE_BYTES_MAX);
    let services = tonic::service::Routes::new(control).add_service(peer).add_service(joining);
    let driver = Driver {
        core,
        waiting: HashMap::new(),
        last_token: 0,
        disk: Disk::start(store, inbox.clone()).map_err(StartupError::Thread)?,
        peers: Peers::start(&dialer, &members, own, &marker, &inbox),
        agents: Agents::new(dialer.clone(), inbox.clone()),
        studies: Studies::new(inbox.clone()),
        front_ends: FrontEnds::new(dialer, inbox),
        lead,
        applied,
        routes,
    };
    let (stop, stopped) = oneshot::channel();
    let (alive, gone) = oneshot::channel::<()>();
    let driving = tokio::spawn(async move {
        let _alive = alive;
        driver.run(messages, stopped).await
    });
    // A core that ended by itself has panicked: a coordinator without one is deaf, and whoever supervises it starts another.
    let end = async move {
        tokio::select! {
            () = shutdown => {}
            _ = gone => {}
        }
    };
    let served = slot_net::serve(listener, &folder, services, end).await;
    // The driver is gone only if it has ended already.
    let _ = stop.send(());
    match driving.await {
        Ok(disk) => drop(tokio::task::spawn_blocking(move || disk.stop()).await),
        // The runtime itself is going, and takes the core along: nothing was promised that is not kept.
        Err(error) if error.is_cancelled() => {}
        Err(error) => die(&format!("its core ended by itself: {error}")),
    }
    served.map_err(StartupError::Serve)
}

/// The task that owns the core.
struct Driver {
    core: CoordinatorCore,
    waiting: HashMap<u64, Answer>,
    last_token: u64,
    disk: Disk,
    peers: Peers,
    agents: Agents,
    front_ends: FrontEnds,
    studies: Studies,
    lead: watch::Sender<Lead>,
    applied: watch::Sender<u64>,
    routes: watch::Sender<Arc<RoutesTable>>,
}

impl Driver {
    async fn run(mut self, mut messages: mpsc::Receiver<Message>, mut stop: oneshot::Receiver<()>) -> Disk {
        loop {
            let due = self.core.next_deadline().saturating_sub(now().ms);
            let message = tokio::select! {
                biased;
                _ = &mut stop => return self.disk,
                message = messages.recv() => message.unwrap_or(Message::Event(Event::Tick)),
                () = tokio::time::sleep(Duration::from_millis(due)) => Message::Event(Event::Tick),
            };
            let event = match message {
                Message::Event(event) => event,
                Message::Request { who, request, reply } => {
                    self.last_token += 1;
                    self.waiting.insert(self.last_token, reply);
                    Event::Request { token: self.last_token, who, request }
                }
                Message::Join { guest, reply } => {
                    self.last_token += 1;
                    self.waiting.insert(self.last_token, reply);
                    Event::Join { token: self.last_token, guest }
                }
            };
            for effect in self.core.step(now(), event) {
                self.carry_out(effect);
            }
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Persist(batch) => self.disk.persist(batch),
            Effect::Send { peer, message } => self.peers.send(peer, message),
            Effect::Deliver { delivery, host, order, budget_ms, .. } => {
                self.agents.deliver(delivery, &host, order, budget_ms);
            }
            Effect::Look { look, host, looks, budget_ms } => self.agents.look(look, &host, looks, budget_ms),
            Effect::Study { number, study } => self.studies.begin(number, *study),
            Effect::WatchAgents { term, agents } => self.agents.watch(term, agents),
            Effect::ServeRoutes { front_end, address, table } => self.front_ends.serve(front_end, address, table),
            Effect::Reply { token, reply } => {
                if let Some(waiting) = self.waiting.remove(&token) {
                    drop(waiting.send(reply)); // the caller may have hung up
                }
            }
            Effect::Applied(revision) => drop(self.applied.send_replace(revision.0)),
            Effect::RoutesChanged => drop(self.routes.send_replace(Arc::new(self.table()))),
            Effect::Role { leader, is_leader } => drop(self.lead.send_replace(Lead { leader, is_leader })),
            Effect::Failpoint(name) => failpoint::reach(&name),
            Effect::Die(why) => die(&why),
        }
    }

    fn table(&self) -> RoutesTable {
        let state = self.core.state();
        let stores = state.cluster.iter().flat_map(|c| c.stores.iter());
        let routes = stores.filter_map(|(name, store)| Some((name.clone(), store.route.clone()?))).collect();
        RoutesTable { revision: state.revision, routes }
    }
}
