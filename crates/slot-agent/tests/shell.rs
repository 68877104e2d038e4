//! The whole agent over its real ledger, real processes and mutual TLS; only the engine's protocol is a fake.

use slot_agent::agent::{Agent, Handle};
use slot_agent::config::AgentConfig;
use slot_agent::fence::Fencer;
use slot_agent::looks::Lookout;
use slot_agent::service::AgentService;
use slot_engine::{Engine, EngineFuture, EngineSpec, EngineTarget};
use slot_net::process::{ProcessIdentity, is_alive};
use slot_net::{Dialer, Identity, IdentityFolder, Role, init_cluster};
use slot_proto::pb::agent_client::AgentClient;
use slot_proto::pb::{DeliverRequest, LookRequest, WatchRequest};
use slot_types::codec;
use slot_types::engine::*;
use slot_types::ids::*;
use slot_types::order::*;
use slot_types::position::Tip;
use slot_types::probe::{LookAt, Looks, Probed, Saw, Sights};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tonic::transport::Channel;

const CLUSTER: ClusterId = ClusterId([1; 16]);
const BOOT: BootId = BootId([3; 16]);

/// An engine whose process is real and does nothing, and whose answers are made up.
#[derive(Default)]
struct FakeEngine {
    children: Mutex<Vec<Child>>,
    hung: Mutex<bool>,
    calls: Mutex<Vec<EngineCall>>,
}

impl FakeEngine {
    fn hang(&self, yes: bool) {
        *self.hung.lock().unwrap() = yes;
    }

    fn status(target: &EngineTarget) -> EngineDone {
        EngineDone::Status(Box::new(EngineStatus {
            store: target.store.clone(),
            slot: target.slot.clone(),
            generation: target.generation,
            epoch: Epoch::ZERO,
            role: EngineRole::Idle,
            tip: Tip::default(),
            bytes: 0,
            history: Vec::new(),
            frozen: None,
            following: None,
            behind: None,
            heard_ms: None,
            verified_ms: None,
            sync_copies: 0,
            aside: Vec::new(),
            verification: None,
        }))
    }
}

impl Drop for FakeEngine {
    fn drop(&mut self) {
        for child in self.children.get_mut().unwrap() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Engine for FakeEngine {
    fn call<'a>(
        &'a self,
        target: &'a EngineTarget,
        call: EngineCall,
        _budget: Duration,
    ) -> EngineFuture<'a, EngineDone> {
        Box::pin(async move {
            if call == EngineCall::Status {
                return Ok(Self::status(target));
            }
            self.calls.lock().unwrap().push(call.clone());
            if *self.hung.lock().unwrap() {
                // Hangs longer than any budget, once.
                self.hang(false);
                std::future::pending::<()>().await;
            }
            match call {
                EngineCall::Demote { .. } => Ok(EngineDone::Tip { tip: Tip::default(), history: Vec::new() }),
                _ => Ok(EngineDone::Done),
            }
        })
    }

    fn provision<'a>(&'a self, spec: &'a EngineSpec) -> EngineFuture<'a, ()> {
        Box::pin(async move { std::fs::create_dir_all(&spec.dir).map_err(|e| EngineError::Disk(e.to_string())) })
    }

    fn destroy<'a>(&'a self, spec: &'a EngineSpec) -> EngineFuture<'a, ()> {
        Box::pin(async move { std::fs::remove_dir_all(&spec.dir).map_err(|e| EngineError::Disk(e.to_string())) })
    }

    fn launch<'a>(&'a self, _spec: &'a EngineSpec) -> EngineFuture<'a, ProcessIdentity> {
        Box::pin(async move {
            let child = Command::new("sleep").arg("600").process_group(0).spawn().unwrap();
            let process = ProcessIdentity::of(child.id()).unwrap();
            self.children.lock().unwrap().push(child);
            Ok(process)
        })
    }
}

fn config(data: &Path) -> AgentConfig {
    AgentConfig {
        host: HostName::new("imap3").unwrap(),
        listen: "127.0.0.1:0".parse().unwrap(),
        data: data.to_path_buf(),
        engine_binary: None,
        fence_dir: None,
        slots: BTreeMap::from([(1, "127.0.0.1:1".parse().unwrap())]),
    }
}

/// Answers, unless it takes absurdly long.
async fn deliver(handle: &Handle, order: &Order) -> Answer {
    let answer = tokio::time::timeout(Duration::from_secs(120), handle.deliver(codec::encode(order)));
    answer.await.expect("no answer").expect("the agent ended")
}

async fn outcome(handle: &Handle, order: &Order) -> Outcome {
    match deliver(handle, order).await {
        Answer::Receipt(receipt) => receipt.outcome,
        other => panic!("{} got {other:?}", order.action.name()),
    }
}

fn report(handle: &Handle) -> AgentReport {
    codec::decode(&handle.reports().borrow().clone()).unwrap()
}

fn order(handle: &Handle, index: u64, n: u64, action: Action) -> Order {
    let epoch = Epoch { generation: 0, n };
    let store = StoreName::new("store1").unwrap();
    Order {
        cluster: report(handle).cluster,
        term: Term(1),
        index: LogIndex(index),
        id: OrderId { plan: PlanId(index), task: 0, step: 0, attempt: 1 },
        incarnation: report(handle).incarnation,
        boot: BOOT,
        subject: Some(Subject { store, slot: 1, generation: CopyGeneration(1), epoch }),
        budget_ms: 3_000,
        action,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s10_engines_outlive_the_agent_and_the_next_one_adopts_them() {
    let folder = tempfile::tempdir().unwrap();
    let engine = Arc::new(FakeEngine::default());
    let (agent, handle) = Agent::open(&config(folder.path()), CLUSTER, BOOT, engine.clone()).unwrap();
    let running = tokio::spawn(agent.run());
    let provision = order(&handle, 1, 1, Action::Provision);
    assert_eq!(outcome(&handle, &provision).await, Outcome::Done(Done::Plain));
    let pid = engine.children.lock().unwrap()[0].id();
    let process = ProcessIdentity::of(pid).unwrap();
    let demote = order(&handle, 2, 2, Action::Demote);
    let demoted = outcome(&handle, &demote).await;
    assert!(matches!(demoted, Outcome::Done(Done::Tip { .. })));
    let incarnation = report(&handle).incarnation;
    drop(handle);
    running.await.unwrap();
    assert!(is_alive(&process).unwrap(), "the engine outlives its agent");

    let (agent, handle) = reopen(folder.path(), engine.clone()).await;
    let running = tokio::spawn(agent.run());
    assert_eq!(report(&handle).incarnation, incarnation);
    let calls = engine.calls.lock().unwrap().len();
    assert_eq!(outcome(&handle, &demote).await, demoted, "S6: the stored receipt");
    assert_eq!(engine.calls.lock().unwrap().len(), calls);
    let mut reports = handle.reports();
    let seen = |r: &Vec<u8>| matches!(codec::decode::<AgentReport>(r).unwrap().slots[0].engine, EngineSeen::Running(_));
    reports.wait_for(seen).await.unwrap();
    // Its process dies: the agent says so, and starts nothing.
    engine.children.lock().unwrap()[0].kill().unwrap();
    let gone = |r: &Vec<u8>| codec::decode::<AgentReport>(r).unwrap().slots[0].engine == EngineSeen::NotRunning;
    reports.wait_for(gone).await.unwrap();
    assert_eq!(engine.children.lock().unwrap().len(), 1);
    drop(reports);
    drop(handle);
    running.await.unwrap();
}

/// An agent that ended by itself is noticed, so that its process ends too and another one is started: it would be deaf.
#[tokio::test]
async fn s10_whoever_serves_an_agent_that_ended_hears_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let (agent, handle) = Agent::open(&config(folder.path()), CLUSTER, BOOT, Arc::new(FakeEngine::default())).unwrap();
    let running = tokio::spawn(agent.run());
    assert!(tokio::time::timeout(Duration::from_millis(300), handle.gone()).await.is_err(), "it runs");
    running.abort();
    tokio::time::timeout(Duration::from_secs(60), handle.gone()).await.expect("it is gone");
}

/// The ledger's thread lets go of the file shortly after the agent ended.
async fn reopen(data: &Path, engine: Arc<FakeEngine>) -> (Agent, Handle) {
    for _ in 0..600 {
        match Agent::open(&config(data), CLUSTER, BOOT, engine.clone()) {
            Ok(opened) => return opened,
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
    panic!("the ledger stays locked");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r2_demote_reaps_a_hung_engine_and_asks_a_fresh_one() {
    let folder = tempfile::tempdir().unwrap();
    let engine = Arc::new(FakeEngine::default());
    let (agent, handle) = Agent::open(&config(folder.path()), CLUSTER, BOOT, engine.clone()).unwrap();
    let running = tokio::spawn(agent.run());
    outcome(&handle, &order(&handle, 1, 1, Action::Provision)).await;
    let pid = engine.children.lock().unwrap()[0].id();
    let process = ProcessIdentity::of(pid).unwrap();
    engine.hang(true);
    let demote = Order { budget_ms: 12_000, ..order(&handle, 2, 2, Action::Demote) };
    assert!(matches!(outcome(&handle, &demote).await, Outcome::Done(Done::Tip { .. })));
    assert!(!is_alive(&process).unwrap(), "the hung process is gone");
    assert_eq!(engine.children.lock().unwrap().len(), 2);
    let stop = outcome(&handle, &Order { budget_ms: 600, ..order(&handle, 3, 2, Action::Stop) }).await;
    assert_eq!(stop, Outcome::Done(Done::Plain), "a stop that the engine only says it did is finished by a kill");
    let confirm = Order { subject: None, ..order(&handle, 4, 0, Action::ConfirmStopped) };
    assert_eq!(outcome(&handle, &confirm).await, Outcome::Done(Done::Plain));
    drop(handle);
    running.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s15_only_a_coordinator_delivers_and_watches() {
    let folder = tempfile::tempdir().unwrap();
    let names = |names: &[&str]| names.iter().map(|n| OperatorName::new(*n).unwrap()).collect::<Vec<_>>();
    let coordinators = BTreeMap::from([(CoordinatorName::new("c1").unwrap(), "127.0.0.1:7001".parse().unwrap())]);
    let cluster = ClusterName::new("fm1").unwrap();
    let hosts = [HostName::new("imap3").unwrap()];
    let made =
        init_cluster(&folder.path().join("ids"), &cluster, &coordinators, &hosts, &[], &names(&["alice", "bob"]), &[])
            .unwrap();
    let identity = |role, name: &str| {
        let identity = Identity::new(role, name).unwrap();
        IdentityFolder::load(&folder.path().join("ids").join(identity.folder_name())).unwrap()
    };
    let engine = Arc::new(FakeEngine::default());
    let data = folder.path().join("data");
    let (agent, handle) = Agent::open(&config(&data), made.membership.cluster_id, BOOT, engine.clone()).unwrap();
    tokio::spawn(agent.run());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let agent_folder = identity(Role::Agent, "imap3");
    let lookout = Lookout::new(
        HostName::new("imap3").unwrap(),
        Dialer::new(agent_folder.clone()),
        Fencer::new(None),
        engine.clone(),
    );
    let routes = tonic::service::Routes::new(AgentService::server(handle.clone(), lookout));
    tokio::spawn(async move { slot_net::serve(listener, &agent_folder, routes, std::future::pending()).await });
    let expected = Identity::new(Role::Agent, "imap3").unwrap();
    let client = |folder: IdentityFolder| AgentClient::new(Dialer::new(folder).channel(address, &expected).unwrap());

    let mut leader = client(identity(Role::Coordinator, "c1"));
    let provision = order(&handle, 1, 1, Action::Provision);
    let reply = leader.deliver(DeliverRequest { order: codec::encode(&provision) }).await.unwrap().into_inner();
    let answer: Answer = codec::decode(&reply.answer).unwrap();
    assert!(matches!(answer, Answer::Receipt(Receipt { outcome: Outcome::Done(_), .. })), "{answer:?}");
    let mut reports = leader.watch(WatchRequest { term: 1, interval_ms: 100 }).await.unwrap().into_inner();
    for _ in 0..3 {
        let reply = reports.message().await.unwrap().unwrap();
        let report: AgentReport = codec::decode(&reply.report).unwrap();
        assert_eq!((report.boot, report.high_water), (BOOT, LogIndex(1)));
    }
    let saw = look_around(&mut leader, made.membership.cluster_id, address).await;
    assert_eq!(saw, [Probed::Answered, Probed::Unproven, Probed::Refused, Probed::Unproven].map(Saw::Probe));
    verified(&mut leader, made.membership.cluster_id, &engine).await;
    let other = Looks { cluster: ClusterId([99; 16]), at: Vec::new() };
    let refused = leader.look(LookRequest { looks: codec::encode(&other) }).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::InvalidArgument, "another cluster's looks");
    for folder in [identity(Role::Operator, "alice"), identity(Role::Agent, "imap3")] {
        let looks = codec::encode(&Looks { cluster: made.membership.cluster_id, at: Vec::new() });
        let refused = client(folder.clone()).look(LookRequest { looks }).await.unwrap_err();
        assert_eq!(refused.code(), tonic::Code::PermissionDenied);
        let refused = client(folder).deliver(DeliverRequest { order: codec::encode(&provision) }).await.unwrap_err();
        assert_eq!(refused.code(), tonic::Code::PermissionDenied);
    }
}

/// A copy to be verified is handed on to its engine as it was asked for, and to nobody else.
async fn verified(leader: &mut AgentClient<Channel>, cluster: ClusterId, engine: &FakeEngine) {
    let source = |host: &str| slot_types::engine::Source {
        slot: SlotId::new(HostName::new(host).unwrap(), 1),
        address: "127.0.0.1:9".parse().unwrap(),
    };
    let (epoch, asked, rate) = (Epoch { generation: 0, n: 4 }, LogTime(77), 20_000_000);
    let at = LookAt::Verify {
        slot: 7,
        address: "127.0.0.1:9".parse().unwrap(),
        store: StoreName::new("store23").unwrap(),
        generation: CopyGeneration(1),
        epoch,
        against: source("imap7"),
        asked,
        rate,
    };
    let looks = codec::encode(&Looks { cluster, at: vec![at] });
    let before = engine.calls.lock().unwrap().len();
    let reply = leader.look(LookRequest { looks }).await.unwrap().into_inner();
    assert_eq!(codec::decode::<Sights>(&reply.sights).unwrap().saw, [Saw::Verify(Ok(()))]);
    let wanted = EngineCall::Verify { epoch, against: source("imap7"), asked, rate };
    assert_eq!(engine.calls.lock().unwrap()[before..], [wanted]);
}

/// R8: itself by its name, itself by another name, nobody, and somebody who says nothing.
async fn look_around(leader: &mut AgentClient<Channel>, cluster: ClusterId, own: SocketAddr) -> Vec<Saw> {
    let mute = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let at = |name: &str, address| LookAt::Address { host: HostName::new(name).unwrap(), slot: None, address };
    let at = vec![at("imap3", own), at("imap4", own), at("imap3", gone), at("imap3", mute.local_addr().unwrap())];
    let looks = codec::encode(&Looks { cluster, at });
    let reply = leader.look(LookRequest { looks }).await.unwrap().into_inner();
    codec::decode::<Sights>(&reply.sights).unwrap().saw
}
