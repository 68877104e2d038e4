//! Who may call what, tried on the real servers over real TLS.
//!
//! What always holds: every RPC denies every role that its rule does not name; nobody without a certificate of this
//! cluster is heard.

use slot_net::authz::RULES;
use slot_net::{Identity, Role};
use slot_proto::pb;
use slot_tests::cluster::Cluster;
use slot_tests::shape::Shape;
use slot_tests::wire::{Caller, runtime};
use slot_tests::{AT_LAST, Outcome, wait_for};
use slot_types::ids::SlotId;
use std::net::SocketAddr;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::{Code, Request, Status};

fn shape() -> Shape {
    Shape { stores: 1, hosts: 2, front_ends: 1, maps: vec!["json"], ..Shape::small() }
}

/// Somebody of each role.
fn everybody(cluster: &Cluster) -> Outcome<Vec<(Role, Caller)>> {
    let folders = [
        (Role::Coordinator, "coordinator-c1"),
        (Role::Agent, "agent-imap1"),
        (Role::Operator, "operator-alice"),
        (Role::Client, "client-w1"),
        (Role::FrontEnd, "front-end-fe1"),
    ];
    let token = cluster.folder().join("imap1.token");
    cluster.unknown_token(1, &token)?;
    let guest = (Role::Joiner, cluster.holder_of(&token)?);
    let others = folders.into_iter().map(|(role, folder)| Ok((role, cluster.caller(folder)?)));
    others.chain([Ok(guest)]).collect()
}

/// Calls an RPC with an empty message.
async fn call(caller: &Caller, server: &Identity, at: SocketAddr, path: &'static str) -> Outcome<Status> {
    let mut client = tonic::client::Grpc::new(caller.dialer.channel(at, server)?);
    client.ready().await?;
    let codec = tonic_prost::ProstCodec::<pb::OpenSessionRequest, pb::OpenSessionRequest>::default();
    let answer = client.unary(Request::new(pb::OpenSessionRequest {}), PathAndQuery::from_static(path), codec).await;
    Ok(answer.err().unwrap_or_else(|| Status::ok("")))
}

#[test]
fn every_rpc_denies_every_role_that_its_rule_does_not_name() -> Outcome<()> {
    let cluster = Cluster::for_test(shape())?;
    let _front_end = cluster.start_front_end(1, "")?;
    cluster.wait_front_end(1)?;
    let runtime = runtime()?;
    let slot: SlotId = cluster.master_of("store1")?.parse()?;
    let n = slot_tests::shape::host_number(&slot.to_string()).ok_or("a slot names its host")?;
    let agent = Identity::new(Role::Agent, slot.host.as_str())?;
    let number = u8::try_from(slot.number)?;
    let everybody = everybody(&cluster)?;
    let mut denied = 0;
    for rule in RULES {
        let (server, at) = match rule.path.split('/').nth(1) {
            Some("slot.v1.Control" | "slot.v1.Peer" | "slot.v1.Joining") => {
                (Identity::new(Role::Coordinator, "c1")?, cluster.block().coordinator(1))
            }
            Some("slot.v1.Agent") => (agent.clone(), cluster.block().agent(n)),
            Some("slot.v1.FrontEnd") => (Identity::new(Role::FrontEnd, "fe1")?, cluster.block().front_end(1)),
            Some("slot.v1.Journal") => (agent.clone(), cluster.block().slot(n, number)),
            other => return Err(format!("which server serves {other:?}?").into()),
        };
        for (role, caller) in everybody.iter().filter(|(role, _)| !rule.roles.contains(role)) {
            let status = runtime.block_on(call(caller, &server, at, rule.path))?;
            assert_eq!(status.code(), Code::PermissionDenied, "{role} calls {}: {status:?}", rule.path);
            assert!(status.message().contains(role.as_str()), "the refusal names the role: {}", status.message());
            denied += 1;
        }
    }
    assert!(denied > RULES.len(), "only {denied} calls were tried");
    Ok(())
}

#[test]
fn a_certificate_of_another_cluster_is_not_heard() -> Outcome<()> {
    let cluster = Cluster::for_test(shape())?;
    let elsewhere = tempfile::tempdir()?;
    let other = slot_tests::ctl::Ctl::new(&slot_tests::programs::Programs::find()?.slotctl, elsewhere.path());
    other.init(cluster.file().as_ref(), &slot_tests::shape::OPERATORS, &["w1".to_owned()])?;
    // The same names and addresses, made by another initiator.
    let said = other.json("alice", &["--timeout", "3s", "status"])?;
    assert_eq!(said.code, slot_tests::ctl::FAILED, "{said:?}");
    // And ours is still served.
    let own = wait_for("alice is answered", AT_LAST, || cluster.ctl.json("alice", &["status"]).ok())?;
    assert_eq!(own.code, slot_tests::ctl::DONE);
    Ok(())
}
