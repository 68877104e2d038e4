//! Three slotd nodes over mutual TLS on the loopback, with real disks: what the shell adds to the core.

use slot_coordinator::shell::{Options, StartupError, prepare, run};
use slot_net::{Dialer, Identity, IdentityFolder, Role, init_cluster};
use slot_proto::pb::control_client::ControlClient;
use slot_proto::pb::{OpenSessionRequest, RoutesRequest, ViewRequest, WatchPlanRequest};
use slot_types::codec;
use slot_types::ids::*;
use slot_types::view::{Query, StatusView, View};
use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tonic::transport::Channel;
use tonic::{Code, Status};

/// A limit for what must happen; generous, since machines may be busy.
const LONG: Duration = Duration::from_secs(60);

type Serving = JoinHandle<Result<(), StartupError>>;

struct Site {
    dir: TempDir,
    addresses: BTreeMap<CoordinatorName, SocketAddr>,
    running: BTreeMap<CoordinatorName, (oneshot::Sender<()>, Serving)>,
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn operators() -> [OperatorName; 2] {
    ["alice", "bob"].map(|n| OperatorName::new(n).unwrap())
}

impl Site {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let names = ["c1", "c2", "c3"].map(|n| CoordinatorName::new(n).unwrap());
        let addresses: BTreeMap<_, _> = names.into_iter().map(|n| (n, free_address())).collect();
        let cluster = ClusterName::new("fm1").unwrap();
        let agents = [HostName::new("imap1").unwrap()];
        let clients = [ClientName::new("w1").unwrap()];
        init_cluster(dir.path(), &cluster, &addresses, &agents, &[], &operators(), &clients).unwrap();
        Self { dir, addresses, running: BTreeMap::new() }
    }

    fn folder(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn options(&self, name: &CoordinatorName) -> Options {
        let folder = self.folder(&format!("coordinator-{name}"));
        Options { folder, dir: self.dir.path().join(format!("data-{name}")), listen: None }
    }

    async fn start(&mut self, name: &CoordinatorName) {
        let prepared = prepare(&self.options(name)).await.unwrap();
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(run(prepared, async move { drop(stopped.await) }));
        self.running.insert(name.clone(), (stop, task));
    }

    async fn stop(&mut self, name: &CoordinatorName) {
        let (stop, task) = self.running.remove(name).unwrap();
        stop.send(()).unwrap();
        timeout(LONG, task).await.unwrap().unwrap().unwrap();
    }

    fn client(&self, folder: &str, name: &CoordinatorName) -> ControlClient<Channel> {
        let dialer = Dialer::new(IdentityFolder::load(&self.folder(folder)).unwrap());
        let expected = Identity::new(Role::Coordinator, name.as_str()).unwrap();
        ControlClient::new(dialer.channel(self.addresses[name], &expected).unwrap())
    }

    async fn status(&self, name: &CoordinatorName, stale_ok: bool) -> Result<StatusView, Status> {
        let query = codec::encode(&Query::Status);
        let mut client = self.client("operator-alice", name);
        let reply = timeout(LONG, client.view(ViewRequest { query, stale_ok })).await.unwrap()?.into_inner();
        assert_eq!(reply.answered_by, name.as_str());
        assert_eq!(reply.confirmed, !stale_ok);
        match codec::decode(&reply.view).unwrap() {
            View::Status(status) => Ok(*status),
            View::NotFound { subject } => Err(Status::not_found(subject)),
            other => panic!("{other:?}"),
        }
    }

    /// Asks every running node until one leads.
    async fn leader(&self) -> (CoordinatorName, StatusView) {
        let search = async {
            loop {
                for name in self.running.keys() {
                    if let Ok(status) = self.status(name, false).await {
                        return (name.clone(), status);
                    }
                }
                sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(LONG, search).await.expect("a leader")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_lead_answer_and_come_back() {
    let mut site = Site::new();
    let names: Vec<_> = site.addresses.keys().cloned().collect();
    for name in &names {
        site.start(name).await;
    }
    let (leader, status) = site.leader().await;
    assert_eq!((status.leader.as_ref(), status.voters), (Some(&leader), 3));
    let session = site.client("operator-alice", &leader).open_session(OpenSessionRequest {}).await.unwrap();
    assert!(session.into_inner().session > 0);

    // Others name the leader, with its address.
    let follower = names.iter().find(|n| **n != leader).unwrap();
    let refused = site.status(follower, false).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    let hint = refused.metadata().get("slot-leader").unwrap().to_str().unwrap();
    assert_eq!(hint, format!("{leader}={}", site.addresses[&leader]));
    timeout(LONG, async {
        while site.status(follower, true).await.is_err() {
            sleep(Duration::from_millis(50)).await; // not founded there yet
        }
    })
    .await
    .unwrap();

    // Everybody may follow routes, at any node; only operators may ask for more.
    let mut client = site.client("client-w1", follower);
    let mut routes = client.routes(RoutesRequest { watch: false }).await.unwrap().into_inner();
    assert!(routes.message().await.unwrap().unwrap().routes.is_empty());
    assert!(routes.message().await.unwrap().is_none());
    assert_eq!(client.open_session(OpenSessionRequest {}).await.unwrap_err().code(), Code::PermissionDenied);

    // A plan that is not there can't be watched, and at the wrong node not even that is said.
    for (node, code) in [(&leader, Code::NotFound), (follower, Code::Unavailable)] {
        let refused = site.client("operator-bob", node).watch_plan(WatchPlanRequest { plan: 7 }).await.unwrap_err();
        assert_eq!((refused.code(), refused.metadata().contains_key("slot-leader")), (code, node == follower));
    }

    // The leader goes, another leads; it comes back from its own disk.
    site.stop(&leader).await;
    let (next, after) = site.leader().await;
    assert_ne!(next, leader);
    assert!(after.revision > status.revision);
    site.start(&leader).await;
    site.stop(&next).await;
    let (_, last) = site.leader().await;
    assert!(last.revision > after.revision);
}

#[tokio::test]
async fn only_a_coordinators_folder_and_its_own_disk_will_do() {
    let site = Site::new();
    let c1 = CoordinatorName::new("c1").unwrap();
    let c2 = CoordinatorName::new("c2").unwrap();
    let agent = Options { folder: site.folder("agent-imap1"), ..site.options(&c1) };
    assert!(matches!(prepare(&agent).await, Err(StartupError::NotACoordinator { .. })));
    let summary = prepare(&site.options(&c1)).await.unwrap().summary();
    assert!(summary.contains("coordinator c1 of cluster fm1 (3 coordinators)"), "{summary}");
    let swapped = Options { dir: site.options(&c1).dir, ..site.options(&c2) };
    let refused = prepare(&swapped).await.err().unwrap().to_string();
    assert!(refused.contains("node 1") && refused.contains("node 2"), "{refused}");
    assert!(matches!(prepare(&missing(site.dir.path())).await, Err(StartupError::Folder(_))));
}

fn missing(dir: &Path) -> Options {
    Options { folder: dir.join("nobody"), dir: dir.join("data"), listen: None }
}
