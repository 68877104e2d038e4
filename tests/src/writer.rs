//! Writers: one for each store, writing all the time, each with a certificate of its own.
//!
//! What always holds: a writer has one record outstanding; it repeats an unknown outcome under the same record id until
//! the answer is definite (R21); it follows the coordinators' routes and keeps the last one it knows when none of them
//! answers; a route is only ever replaced by one of the same or a later epoch. It keeps its connections to masters it was
//! sent to before, as masters come back to where they were.

use crate::cluster::Cluster;
use crate::log::Log;
use crate::wire::{Caller, runtime};
use crate::{Outcome, wait_until};
use slot_engine::journal::client::{ClientError, JournalClient};
use slot_proto::pb;
use slot_types::engine::Source;
use slot_types::ids::{ClientName, Epoch, RecordId, SlotId, StoreName};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How long a writer waits for one answer before it counts the outcome as unknown: long enough for a busy machine, since a
/// dead engine's connection ends at once, and a new route ends the waiting anyway.
const APPEND_BUDGET: Duration = Duration::from_secs(10);
/// How long a writer waits for a new route before it tries the one it has again.
const ROUTE_WAIT: Duration = Duration::from_millis(10);
/// How long to wait before a coordinator is asked for routes again.
const ROUTES_PAUSE: Duration = Duration::from_millis(100);
/// The size of a record.
const PAYLOAD_BYTES: usize = 100;

/// Where a store's clients go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The master.
    pub to: Source,
    /// Sent with each request.
    pub epoch: Epoch,
}

/// Every store's route.
pub type Routes = BTreeMap<StoreName, Route>;

/// The writers of a cluster, and the routes they follow.
pub struct Writers {
    runtime: Runtime,
    routes: watch::Receiver<Routes>,
    stopping: Arc<AtomicBool>,
    writers: Vec<JoinHandle<()>>,
    watchers: Vec<JoinHandle<()>>,
    logs: BTreeMap<StoreName, (ClientName, Log)>,
    reader: Caller,
}

impl Writers {
    /// Starts a writer for every store; each waits `pause` after an acknowledgement. Returns when all have written.
    pub fn start(cluster: &Cluster, pause: Duration) -> Outcome<Self> {
        let runtime = runtime()?;
        let reader = cluster.caller("client-reader")?;
        let (sender, routes) = watch::channel(Routes::new());
        let sender = Arc::new(sender);
        let mut watchers = Vec::new();
        for coordinator in reader.coordinators.clone() {
            watchers.push(runtime.spawn(follow_routes(reader.clone(), coordinator, sender.clone())));
        }
        let stopping = Arc::new(AtomicBool::new(false));
        let (mut writers, mut logs) = (Vec::new(), BTreeMap::new());
        for n in 1..=cluster.shape.stores {
            let client = ClientName::new(format!("w{n}"))?;
            let store = StoreName::new(format!("store{n}"))?;
            let log = Log::default();
            logs.insert(store.clone(), (client.clone(), log.clone()));
            let caller = cluster.caller(&format!("client-{client}"))?;
            let writer =
                Writer { caller, client, store, log, routes: routes.clone(), stopping: stopping.clone(), pause };
            writers.push(runtime.spawn(writer.run()));
        }
        let started = Self { runtime, routes, stopping, writers, watchers, logs, reader };
        started.wait_progress()?;
        Ok(started)
    }

    /// Every store's log, with the name its writer uses.
    pub fn logs(&self) -> &BTreeMap<StoreName, (ClientName, Log)> {
        &self.logs
    }

    /// The log of a store.
    pub fn log(&self, store: &StoreName) -> Outcome<&Log> {
        self.logs.get(store).map(|(_, log)| log).ok_or_else(|| format!("{store} has no writer").into())
    }

    /// The routes as clients know them now.
    pub fn routes(&self) -> Routes {
        self.routes.borrow().clone()
    }

    /// Whoever only reads.
    pub fn reader(&self) -> &Caller {
        &self.reader
    }

    /// The runtime the writers run on.
    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// How many records were acknowledged so far.
    pub fn acknowledged(&self) -> usize {
        self.logs.values().map(|(_, log)| log.count()).sum()
    }

    /// Waits until every writer has had two more acknowledgements: one may have been on its way already.
    pub fn wait_progress(&self) -> Outcome<()> {
        let before: Vec<usize> = self.logs.values().map(|(_, log)| log.count()).collect();
        let waited = wait_until("every writer's next records are acknowledged", crate::AT_LAST, || {
            self.logs.values().zip(&before).all(|((_, log), before)| log.count() >= before + 2)
        });
        waited.map_err(|error| {
            let stuck: Vec<&str> = self
                .logs
                .iter()
                .zip(&before)
                .filter(|((_, (_, log)), before)| log.count() < **before + 2)
                .map(|((store, _), _)| store.as_str())
                .collect();
            format!("{error}; not so for {}", stuck.join(", ")).into()
        })
    }

    /// Ends the writers, each after its last record's outcome is definite.
    pub fn stop(&mut self) -> Outcome<()> {
        self.stopping.store(true, Ordering::SeqCst);
        wait_until("every writer's last record has a definite outcome", crate::AT_LAST, || {
            self.writers.iter().all(JoinHandle::is_finished)
        })
    }
}

impl Drop for Writers {
    fn drop(&mut self) {
        for task in self.watchers.iter().chain(&self.writers) {
            task.abort();
        }
    }
}

/// Takes over every later route that a coordinator tells, for ever.
async fn follow_routes(
    caller: Caller,
    coordinator: (String, std::net::SocketAddr),
    routes: Arc<watch::Sender<Routes>>,
) {
    loop {
        if let Ok(mut client) = caller.control(&coordinator)
            && let Ok(reply) = client.routes(pb::RoutesRequest { watch: true }).await
        {
            let mut stream = reply.into_inner();
            while let Ok(Some(told)) = stream.message().await {
                routes.send_if_modified(|known| merge(known, &told));
            }
        }
        tokio::time::sleep(ROUTES_PAUSE).await;
    }
}

/// Whether anything was new.
fn merge(known: &mut Routes, told: &pb::RoutesReply) -> bool {
    let mut changed = false;
    for line in &told.routes {
        let (Ok(store), Ok(slot), Ok(address)) =
            (line.store.parse::<StoreName>(), line.slot.parse::<SlotId>(), line.address.parse())
        else {
            continue; // it has no master now: the last route stays
        };
        let epoch = Epoch { generation: line.epoch_generation, n: line.epoch_n };
        let route = Route { to: Source { slot, address }, epoch };
        let newer = known.get(&store).is_none_or(|old| old.epoch < route.epoch);
        if newer {
            known.insert(store, route);
            changed = true;
        }
    }
    changed
}

struct Writer {
    caller: Caller,
    client: ClientName,
    store: StoreName,
    log: Log,
    routes: watch::Receiver<Routes>,
    stopping: Arc<AtomicBool>,
    pause: Duration,
}

impl Writer {
    async fn run(mut self) {
        let mut sequence = 0;
        let mut connected = BTreeMap::new();
        while !self.stopping.load(Ordering::SeqCst) {
            sequence += 1;
            self.log.begin(sequence);
            while !self.try_once(sequence, &mut connected).await {}
            self.log.acknowledge(sequence);
            tokio::time::sleep(self.pause).await;
        }
    }

    /// Sends a record once; whether it was acknowledged.
    async fn try_once(&mut self, sequence: u64, connected: &mut BTreeMap<Source, JournalClient>) -> bool {
        let Some(route) = self.routes.borrow_and_update().get(&self.store).cloned() else {
            let _ = tokio::time::timeout(ROUTE_WAIT, self.routes.changed()).await;
            return false;
        };
        if !connected.contains_key(&route.to)
            && let Ok(client) = self.caller.journal(&self.store, &route.to)
        {
            connected.insert(route.to.clone(), client);
        }
        let Some(client) = connected.get(&route.to) else {
            tokio::time::sleep(ROUTE_WAIT).await;
            return false;
        };
        let id = RecordId { client: self.client.clone(), sequence };
        let payload = payload(sequence);
        let append = client.append(route.epoch, id, payload, APPEND_BUDGET);
        let answer = tokio::select! {
            answer = append => answer,
            () = moved(&mut self.routes, &self.store, &route) => {
                Err(ClientError::Unknown("the route changed meanwhile".into()))
            }
        };
        let error = match answer {
            Ok(_) => return true,
            Err(error) => error,
        };
        self.log.trouble(format!("{}:{sequence} at {} {}: {error}", self.client, route.to.slot, route.epoch));
        // The next try is with the same id, whether the outcome is unknown or a certain no.
        let _ = tokio::time::timeout(ROUTE_WAIT, moved(&mut self.routes, &self.store, &route)).await;
        false
    }
}

/// Waits until the store's route is another one.
async fn moved(routes: &mut watch::Receiver<Routes>, store: &StoreName, route: &Route) {
    loop {
        if routes.borrow_and_update().get(store) != Some(route) {
            return;
        }
        if routes.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

fn payload(sequence: u64) -> Vec<u8> {
    let mut payload = sequence.to_be_bytes().to_vec();
    payload.resize(PAYLOAD_BYTES, b'.');
    payload
}
