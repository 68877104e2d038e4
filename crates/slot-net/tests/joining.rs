//! A bare host becomes an agent: tokens, requests, and what a coordinator may issue.

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType};
use slot_net::{AgentIssuer, Arrival, Asking, Ca, Dialer, Identity, IdentityFolder, Role, Token, init_cluster, serve};
use slot_proto::pb::DeliverRequest;
use slot_proto::pb::agent_client::AgentClient;
use slot_types::ids::{ClusterName, CoordinatorName, HostName, OperatorName};
use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tonic::service::Routes;
use tonic::{Code, Status};

fn cluster() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let coordinators = BTreeMap::from([(CoordinatorName::new("c1").unwrap(), "127.0.0.1:7001".parse().unwrap())]);
    let people = ["alice", "bob"].map(|name| OperatorName::new(name).unwrap());
    let name = ClusterName::new("fm1").unwrap();
    init_cluster(dir.path(), &name, &coordinators, &[host()], &[], &people, &[]).unwrap();
    dir
}

fn host() -> HostName {
    HostName::new("imap9").unwrap()
}
fn agent(name: &str) -> Identity {
    Identity::new(Role::Agent, name).unwrap()
}
fn joiner() -> Identity {
    Identity::new(Role::Joiner, "imap9").unwrap()
}
fn token(dir: &TempDir) -> Token {
    Ca::load(dir.path()).unwrap().make_token(&host()).unwrap()
}
fn issuer(dir: &TempDir) -> AgentIssuer {
    AgentIssuer::load(&dir.path().join("coordinator-c1")).unwrap().expect("init gives every coordinator one")
}
fn folder(dir: &TempDir, name: &str) -> IdentityFolder {
    IdentityFolder::load(&dir.path().join(name)).unwrap()
}

/// Serves nothing as somebody: whoever gets in is refused by the table, by name.
async fn start(folder: IdentityFolder) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move { serve(listener, &folder, Routes::default(), std::future::pending()).await });
    addr
}

/// What a server says to an order from `by`.
async fn call(by: IdentityFolder, at: SocketAddr, expected: &Identity) -> Status {
    let channel = Dialer::new(by).channel(at, expected).unwrap();
    AgentClient::new(channel).deliver(DeliverRequest { order: Vec::new() }).await.unwrap_err()
}

/// The whole way of a host, without a network.
fn join(dir: &TempDir, token: &Token) -> IdentityFolder {
    let arrival = Arrival::begin(&dir.path().join("joined"), &host()).unwrap();
    let asking = Asking::check(&arrival.request().unwrap(), &joiner(), &agent("imap9")).unwrap();
    arrival.finish(token, &issuer(dir).issue(&asking).unwrap()).unwrap()
}

#[tokio::test]
async fn whoever_joined_is_believed_on_both_sides_and_its_token_is_for_one_call() {
    let dir = cluster();
    let token = token(&dir);
    let joined = join(&dir, &token);
    assert_eq!((joined.identity(), joined.membership()), (&agent("imap9"), token.folder().membership()));
    for file in ["key.pem", "cert.pem"] {
        let mode = fs::metadata(joined.path().join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    let c1 = Identity::new(Role::Coordinator, "c1").unwrap();
    let coordinator = start(folder(&dir, "coordinator-c1")).await;
    let refused = call(joined.clone(), coordinator, &c1).await;
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert!(refused.message().starts_with("agent/imap9 may not call"), "{}", refused.message());
    let host = start(joined).await;
    let served = call(folder(&dir, "coordinator-c1"), host, &agent("imap9")).await;
    assert_eq!(served.code(), Code::Unimplemented, "the leader's call got through: {served:?}");
    let refused = call(token.folder().clone(), host, &agent("imap9")).await;
    assert!(refused.message().starts_with("joiner/imap9 may not call"), "{}", refused.message());
}

#[test]
fn a_token_is_a_file_of_its_own_that_nobody_else_may_read() {
    let dir = cluster();
    let made = token(&dir);
    let path = dir.path().join("token");
    made.write(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(made.write(&path).is_err(), "one that exists is left as it is");
    let read = Token::read(&path).unwrap();
    assert_eq!((read.host(), read.certificate()), (&host(), made.certificate()));
    let text = fs::read_to_string(&path).unwrap();
    let shown = format!("{read:?} {:?}", read.folder());
    assert!(text.contains("PRIVATE KEY") && !shown.contains("PRIVATE"), "{shown}");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    assert!(Token::read(&path).unwrap_err().to_string().contains("chmod 600"));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&path, text.replace("\"format\":1", "\"format\":7")).unwrap();
    assert!(Token::read(&path).unwrap_err().to_string().contains("format 7"));
    let left = read.folder().expires().duration_since(std::time::SystemTime::now()).unwrap();
    assert!(left <= slot_net::token::TOKEN_VALIDITY, "a day at most: {left:?}");
}

#[test]
fn an_interrupted_host_asks_with_the_same_key_and_a_finished_one_not_again() {
    let dir = cluster();
    let place = dir.path().join("joined");
    let key = |arrival: &Arrival| Asking::check(&arrival.request().unwrap(), &joiner(), &agent("imap9")).unwrap().key();
    let first = key(&Arrival::begin(&place, &host()).unwrap());
    let again = Arrival::begin(&place, &host()).unwrap();
    assert_eq!(key(&again), first, "the key was written down before anybody was asked");
    let elsewhere = Arrival::begin(&dir.path().join("other"), &host()).unwrap();
    assert_ne!(key(&elsewhere), first);
    let asking = Asking::check(&elsewhere.request().unwrap(), &joiner(), &agent("imap9")).unwrap();
    let others = issuer(&dir).issue(&asking).unwrap();
    assert!(again.finish(&token(&dir), &others).is_err(), "a certificate for another key is no use");
    assert!(!place.exists());
    join(&dir, &token(&dir));
    assert!(Arrival::begin(&place, &host()).is_err(), "a folder that exists is left as it is");
}

/// A request with these names, signed with its key.
fn request(names: &[&str], uri: &str) -> Vec<u8> {
    let mut params = CertificateParams::new(names.iter().map(|n| n.to_string()).collect::<Vec<_>>()).unwrap();
    params.subject_alt_names.push(SanType::URI(uri.try_into().unwrap()));
    params.serialize_request(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
}

#[test]
fn a_request_is_for_the_tokens_host_as_an_agent_or_for_nobody() {
    let check = |bytes: &[u8]| Asking::check(bytes, &joiner(), &agent("imap9"));
    let good = request(&["imap9.agent.slotd"], "slot://agent/imap9");
    assert!(check(&good).is_ok());
    for (names, uri) in [
        (vec!["imap8.agent.slotd"], "slot://agent/imap8"),
        (vec!["alice.operator.slotd"], "slot://operator/alice"),
        (vec!["imap9.agent.slotd"], "slot://operator/imap9"),
        (vec!["imap9.agent.slotd", "imap8.agent.slotd"], "slot://agent/imap9"),
        (vec![], "slot://agent/imap9"),
    ] {
        let refused = check(&request(&names, uri)).unwrap_err().to_string();
        assert!(refused.contains("agent/imap9") && refused.contains("joiner/imap9"), "{refused}");
    }
    // Not signed with the key that is in it: any byte of the end is the signature's.
    let mut broken = good.clone();
    *broken.last_mut().unwrap() ^= 1;
    assert!(check(&broken).is_err());
    assert!(check(b"nonsense").is_err());
    assert!(check(&vec![0x30; 20_000]).unwrap_err().to_string().contains("20000 bytes"));
}

/// What somebody who stole a coordinator's issuing key could make.
fn forged(dir: &TempDir, name: &str, dns: &str, uri: &str) -> IdentityFolder {
    let stolen = dir.path().join("coordinator-c1");
    let issuer_pem = fs::read_to_string(stolen.join("issuer.pem")).unwrap();
    let issuer_key = KeyPair::from_pem(&fs::read_to_string(stolen.join("issuer-key.pem")).unwrap()).unwrap();
    let issuer = Issuer::from_ca_cert_pem(&issuer_pem, issuer_key).unwrap();
    let mut params = CertificateParams::new(vec![dns.to_string()]).unwrap();
    params.subject_alt_names.push(SanType::URI(uri.try_into().unwrap()));
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate().unwrap();
    let chain = params.signed_by(&key, &issuer).unwrap().pem() + &issuer_pem;
    let made = dir.path().join(name);
    copy(&stolen, &made);
    fs::write(made.join("cert.pem"), chain).unwrap();
    fs::write(made.join("key.pem"), key.serialize_pem()).unwrap();
    IdentityFolder::load(&made).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// Whoever gets through the handshake is refused by the table, or has no such service: nobody answered here.
fn no_handshake(told: &Status) -> bool {
    matches!(told.code(), Code::Unavailable | Code::Unknown)
}

#[tokio::test]
async fn what_a_coordinator_issues_beside_agents_nobody_believes() {
    let dir = cluster();
    let c1 = Identity::new(Role::Coordinator, "c1").unwrap();
    let at = start(folder(&dir, "coordinator-c1")).await;
    let real = forged(&dir, "real", "imap8.agent.slotd", "slot://agent/imap8");
    let told = call(real, at, &c1).await;
    assert_eq!(told.code(), Code::PermissionDenied, "it may issue agents: {told:?}");
    for (name, dns, uri) in [
        ("person", "alice.operator.slotd", "slot://operator/alice"),
        ("other", "c1.coordinator.slotd", "slot://coordinator/c1"),
        ("guest", "imap8.joiner.slotd", "slot://joiner/imap8"),
    ] {
        let made = forged(&dir, name, dns, uri);
        let told = call(made.clone(), at, &c1).await;
        assert!(no_handshake(&told), "{name} got in: {told:?}");
        let identity = made.identity().clone();
        let there = start(made).await;
        let told = call(folder(&dir, "operator-alice"), there, &identity).await;
        assert!(no_handshake(&told), "{name} was believed: {told:?}");
    }
}

#[test]
#[should_panic(expected = "do not belong together")]
fn an_agents_dns_name_with_a_persons_uri_names_nobody() {
    forged(&cluster(), "both", "imap8.agent.slotd", "slot://operator/alice");
}

#[test]
fn a_coordinator_without_an_issuer_says_so() {
    let dir = cluster();
    assert!(AgentIssuer::load(&dir.path().join("operator-alice")).unwrap().is_none());
    let key = dir.path().join("coordinator-c1/issuer-key.pem");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let refused = AgentIssuer::load(&dir.path().join("coordinator-c1")).err().expect("an open key is not used");
    assert!(refused.to_string().contains("chmod 600"), "{refused}");
}
