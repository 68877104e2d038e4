//! The journal as processes: real disks, real TLS, real kills.

use futures::StreamExt;
use slot_engine::journal::core::RefusedReason;
use slot_engine::journal::{ClientError, JournalClient, JournalEngine};
use slot_engine::{Engine, EngineSpec, EngineTarget};
use slot_net::process::{ProcessIdentity, is_alive, kill_and_wait};
use slot_net::{Dialer, IdentityFolder, init_cluster};
use slot_types::engine::*;
use slot_types::ids::*;
use slot_types::position::Tip;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(30);
const E: fn(u64) -> Epoch = |n| Epoch { generation: 0, n };

struct Rig {
    _dir: tempfile::TempDir,
    engines: Vec<JournalEngine>,
    specs: Vec<EngineSpec>,
    processes: Vec<Option<ProcessIdentity>>,
    client: Dialer,
}

impl Drop for Rig {
    fn drop(&mut self) {
        for process in self.processes.iter().flatten() {
            let _ = kill_and_wait(process, LONG);
        }
    }
}

fn id(sequence: u64) -> RecordId {
    RecordId { client: ClientName::new("w1").unwrap(), sequence }
}

impl Rig {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let hosts: Vec<HostName> = (0..2).map(|n| HostName::new(format!("imap{n}")).unwrap()).collect();
        let keys = dir.path().join("keys");
        init_cluster(
            &keys,
            &"fm1".parse().unwrap(),
            &BTreeMap::from([("c1".parse().unwrap(), "127.0.0.1:1".parse().unwrap())]),
            &hosts,
            &[],
            &["alice".parse().unwrap(), "bob".parse().unwrap()],
            &["w1".parse().unwrap()],
        )
        .unwrap();
        let dialer = |name: &str| Dialer::new(IdentityFolder::load(&keys.join(name)).unwrap());
        let program = PathBuf::from(env!("CARGO_BIN_EXE_slot-journal"));
        let engines =
            hosts.iter().map(|h| JournalEngine::new(dialer(&format!("agent-{h}")), program.clone())).collect();
        let specs = hosts
            .iter()
            .map(|host| {
                let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
                let target = EngineTarget {
                    slot: SlotId::new(host.clone(), 7),
                    address: port,
                    store: "store23".parse().unwrap(),
                    generation: CopyGeneration(1),
                };
                EngineSpec { target, dir: dir.path().join(format!("data-{host}")) }
            })
            .collect();
        let client = dialer("client-w1");
        let mut rig = Rig { _dir: dir, engines, specs, processes: vec![None, None], client };
        for node in 0..2 {
            rig.engines[node].provision(&rig.specs[node]).await.unwrap();
            rig.engines[node].provision(&rig.specs[node]).await.unwrap();
            rig.launch(node).await;
        }
        rig
    }

    async fn launch(&mut self, node: usize) {
        self.processes[node] = Some(self.engines[node].launch(&self.specs[node]).await.unwrap());
        self.status(node).await;
    }

    fn kill(&mut self, node: usize) {
        kill_and_wait(&self.processes[node].take().unwrap(), LONG).unwrap();
    }

    fn source(&self, node: usize) -> Source {
        let target = &self.specs[node].target;
        Source { slot: target.slot.clone(), address: target.address }
    }

    fn writer(&self, node: usize) -> JournalClient {
        JournalClient::new(&self.client, &self.source(node), "store23".parse().unwrap()).unwrap()
    }

    /// Tries until the process answers; what it then says is final.
    async fn call(&self, node: usize, call: EngineCall) -> Result<EngineDone, EngineError> {
        for _ in 0..600 {
            match self.engines[node].call(&self.specs[node].target, call.clone(), LONG).await {
                Err(EngineError::Unreachable(_)) => tokio::time::sleep(Duration::from_millis(50)).await,
                answer => return answer,
            }
        }
        let log = std::fs::read_to_string(self.specs[node].dir.join("journal.log")).unwrap_or_default();
        panic!("engine {node} does not answer {call:?}; its log:\n{log}");
    }

    async fn status(&self, node: usize) -> EngineStatus {
        match self.call(node, EngineCall::Status).await {
            Ok(EngineDone::Status(status)) => *status,
            other => panic!("{other:?}"),
        }
    }

    async fn tip(&self, node: usize, call: EngineCall) -> Tip {
        match self.call(node, call.clone()).await {
            Ok(EngineDone::Tip { tip, .. }) => tip,
            other => panic!("{call:?}: {other:?}"),
        }
    }

    async fn until_equal(&self) {
        for _ in 0..600 {
            if self.status(0).await.tip == self.status(1).await.tip {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{:?} and {:?} never became equal", self.status(0).await, self.status(1).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hand_over_kills_and_restarts_lose_nothing() {
    let mut rig = Rig::new().await;
    rig.tip(0, EngineCall::Promote { epoch: E(1), expect: Tip::default(), sync_copies: 0 }).await;
    rig.call(1, EngineCall::Follow { epoch: E(1), source: rig.source(0) }).await.unwrap();
    for n in 1..=50 {
        rig.writer(0).append(E(1), id(n), vec![7; 1000], LONG).await.unwrap();
    }
    let again = rig.writer(0).append(E(1), id(7), vec![7; 1000], LONG).await.unwrap();
    assert!(again.existed && again.index == 7);
    rig.until_equal().await;

    // Planned hand-over.
    let freeze = OrderId { plan: PlanId(1), task: 1, step: 1, attempt: 1 };
    let p0 = rig.tip(0, EngineCall::Freeze { id: freeze, epoch: E(1), limit_ms: 60_000 }).await;
    rig.tip(1, EngineCall::CatchUp { epoch: E(1), source: rig.source(0), target: p0 }).await;
    let p1 = rig.tip(0, EngineCall::Demote { epoch: E(2) }).await;
    rig.tip(1, EngineCall::CatchUp { epoch: E(2), source: rig.source(0), target: p1 }).await;
    rig.tip(1, EngineCall::Promote { epoch: E(2), expect: p1, sync_copies: 0 }).await;
    rig.call(0, EngineCall::Follow { epoch: E(2), source: rig.source(1) }).await.unwrap();
    let refused = rig.writer(0).append(E(1), id(60), vec![], LONG).await;
    assert!(matches!(refused, Err(ClientError::Refused(r)) if r.reason == RefusedReason::OlderEpoch && r.held == E(2)));
    let canary = EngineCall::Canary { store: "store23".parse().unwrap(), epoch: E(2), to: rig.source(1), id: freeze };
    assert_eq!(rig.call(0, canary).await, Ok(EngineDone::Done));
    rig.until_equal().await;

    // The new master is killed and started again at the same epoch (R25).
    rig.writer(1).append(E(2), id(61), b"before the kill".to_vec(), LONG).await.unwrap();
    rig.kill(1);
    let gone = rig.writer(1).append(E(2), id(62), vec![], Duration::from_secs(5)).await;
    assert!(matches!(gone, Err(ClientError::Unknown(_))));
    rig.launch(1).await;
    let idle = rig.writer(1).append(E(2), id(62), vec![], LONG).await;
    assert!(matches!(idle, Err(ClientError::Refused(r)) if r.reason == RefusedReason::NotMaster));
    assert_eq!(rig.call(1, EngineCall::StartMaster { epoch: E(2), sync_copies: 1 }).await, Ok(EngineDone::Done));
    let appended = rig.writer(1).append(E(2), id(62), vec![], LONG).await.unwrap();
    rig.until_equal().await;

    let mut tail = rig.writer(1).tail(Some(E(2)), 0).await.unwrap().boxed();
    let mut seen = Vec::new();
    while seen.len() < appended.index as usize + 1 {
        seen.push(tail.next().await.unwrap().unwrap());
    }
    let ids: Vec<u64> = seen.iter().filter_map(|(_, r)| r.data_id().map(|id| id.sequence)).collect();
    assert_eq!(ids, (1..=50).chain([61, 62]).collect::<Vec<u64>>());

    let process = rig.processes[0].unwrap();
    assert_eq!(rig.call(0, EngineCall::Stop).await, Ok(EngineDone::Done));
    for _ in 0..600 {
        if !is_alive(&process).unwrap() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("a stopped engine did not end");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_do_what_and_one_process_per_folder() {
    let rig = Rig::new().await;
    rig.tip(0, EngineCall::Promote { epoch: E(1), expect: Tip::default(), sync_copies: 0 }).await;

    // Another host's agent controls nothing here (S15).
    let target = &rig.specs[0].target;
    let foreign = rig.engines[1].call(target, EngineCall::Demote { epoch: E(9) }, LONG).await;
    assert!(matches!(foreign, Err(EngineError::Unreachable(why)) if why.contains("does not control")));
    // Another store or copy generation (R11).
    let other = EngineTarget { generation: CopyGeneration(2), ..target.clone() };
    let answer = rig.engines[0].call(&other, EngineCall::Demote { epoch: E(9) }, LONG).await;
    assert!(matches!(answer, Err(EngineError::OtherStore { .. })));
    let other = EngineSpec { target: other, dir: rig.specs[0].dir.clone() };
    assert!(matches!(rig.engines[0].provision(&other).await, Err(EngineError::OtherStore { .. })));
    // A client under another's name, or under the canary's.
    for name in ["w2", "slot-canary", "w1x"] {
        let stolen = RecordId { client: name.parse().unwrap(), sequence: 1 };
        let answer = rig.writer(0).append(E(1), stolen, vec![], LONG).await;
        assert!(matches!(answer, Err(ClientError::Denied(_))), "{name}");
    }
    let own = RecordId { client: "w1-store23".parse().unwrap(), sequence: 1 };
    rig.writer(0).append(E(1), own, vec![], LONG).await.unwrap();
    assert_eq!(rig.status(0).await.epoch, E(1));

    // P5: a second process on the same folder ends, the first goes on.
    let second = rig.engines[0].launch(&rig.specs[0]).await.unwrap();
    for _ in 0..600 {
        if !is_alive(&second).unwrap() {
            rig.writer(0).append(E(1), id(1), vec![], LONG).await.unwrap();
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("a second process serves the folder");
}
