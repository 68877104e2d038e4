//! Finding a coordinator that may answer: from the identity folder's `cluster.json` and leaders' names, and nothing else.

use super::fake::Rig;
use super::fixtures::*;
use super::run;
use slot_types::plan::Plan;
use slotctl::failure::Exit;
use std::net::SocketAddr;
use tokio::net::TcpListener;

/// Changes what `cluster.json` says of where coordinators listen.
fn write_addresses(rig: &Rig, change: impl Fn(&str, &mut serde_json::Value)) {
    let path = rig.folder("oncall").join("cluster.json");
    let mut file: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    for (name, at) in file["coordinators"].as_object_mut().unwrap() {
        change(name, at);
    }
    std::fs::write(&path, file.to_string()).unwrap();
}

/// An address where nothing listens.
async fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

/// Two coordinators that plan a drain.
async fn two() -> Rig {
    let rig = Rig::start(&["c1", "c2"]).await;
    for node in ["c1", "c2"] {
        rig.script(node).plan = Some(Plan { cluster: rig.cluster, ..drain_plan() });
    }
    rig
}

const DRAIN: &str = "slotctl drain host imap3 -m ticket-8812";

#[tokio::test]
async fn a_coordinator_that_is_off_is_passed_over() {
    let rig = two().await;
    let off = nobody().await;
    write_addresses(&rig, |name, at| {
        if name == "c1" {
            *at = off.to_string().into()
        }
    });
    let ended = run(&rig, DRAIN, None).await;
    assert_eq!(ended.exit, Exit::NeedsApproval, "{}", ended.err);
    assert!(rig.script("c1").calls.is_empty() && rig.script("c2").calls.len() == 2);
}

/// Its machine takes connections and says nothing, as one that hangs does: the next is tried before that one is given up.
#[tokio::test]
async fn a_coordinator_that_hangs_is_overtaken() {
    let rig = two().await;
    let hangs = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = hangs.local_addr().unwrap().to_string();
    write_addresses(&rig, |name, address| {
        if name == "c1" {
            *address = at.clone().into()
        }
    });
    // No longer than a connection to one that hangs is waited for.
    let ended = run(&rig, &format!("{DRAIN} --timeout 2s"), None).await;
    assert_eq!(ended.exit, Exit::NeedsApproval, "{}", ended.err);
    assert_eq!(rig.script("c2").calls.len(), 2);
}

#[tokio::test]
async fn a_leader_is_followed_to_an_address_that_is_in_no_file() {
    let rig = two().await;
    let (off, leader) = (nobody().await, format!("c2={}", rig.nodes["c2"].1));
    write_addresses(&rig, |name, at| {
        if name == "c2" {
            *at = off.to_string().into()
        }
    });
    rig.script("c1").follower_of = Some(leader);
    let ended = run(&rig, DRAIN, None).await;
    assert_eq!(ended.exit, Exit::NeedsApproval, "{}", ended.err);
    assert_eq!((rig.script("c1").calls.len(), rig.script("c2").calls.len()), (1, 2));
}

/// R15: a hint may lead astray, never to somebody else: whoever answers at c2's address must be c2.
#[tokio::test]
async fn a_hint_to_somebody_else_is_not_believed() {
    let rig = two().await;
    let imposter = format!("c2={}", rig.nodes["c1"].1);
    rig.script("c1").follower_of = Some(imposter);
    let ended = run(&rig, DRAIN, None).await;
    assert_eq!(ended.exit, Exit::NeedsApproval, "the real c2 answers: {}", ended.err);
    assert_eq!(rig.script("c2").calls.len(), 2);
    assert!(rig.script("c1").calls.iter().all(|call| call.starts_with("OpenSession")), "c1 is asked as c1 alone");
}

#[tokio::test]
async fn nobody_there_says_who_was_asked_and_why_not() {
    let rig = two().await;
    let off = nobody().await;
    write_addresses(&rig, |_, at| *at = off.to_string().into());
    let ended = run(&rig, "slotctl --timeout 1s hosts", None).await;
    assert_eq!(ended.exit, Exit::Failed);
    for says in ["cannot list hosts", "c1: ", "c2: ", "are the coordinators running"] {
        assert!(ended.err.contains(says), "{}", ended.err);
    }
}

/// With DNS gone there is nothing to resolve: only addresses are taken, in the file as on the command line.
#[tokio::test]
async fn a_name_that_must_be_looked_up_is_refused_before_anything_is_dialled() {
    let rig = two().await;
    let ended = run(&rig, &format!("{DRAIN} --coordinator c1=localhost:7400"), None).await;
    assert_eq!(ended.exit, Exit::Usage, "{}", ended.err);
    write_addresses(&rig, |name, at| {
        if name == "c1" {
            *at = "localhost:7400".into()
        }
    });
    let ended = run(&rig, DRAIN, None).await;
    assert_eq!(ended.exit, Exit::Failed);
    assert!(ended.err.contains("cluster.json"), "{}", ended.err);
    assert!(rig.script("c1").calls.is_empty() && rig.script("c2").calls.is_empty());
}
