//! Real TLS over loopback: who gets in, who does not, and whom a dialer talks to.

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use slot_net::server::HANDSHAKES_MAX;
use slot_net::{Dialer, Identity, IdentityFolder, Role, identity_of, init_cluster, serve};
use slot_types::ids::{ClientName, ClusterName, CoordinatorName, HostName, OperatorName};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion, version};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tonic::body::Body;
use tonic::codegen::http;
use tonic::server::NamedService;
use tonic::service::Routes;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tower::Service;

/// So long that only a test that hangs reaches it.
const HANG: Duration = Duration::from_secs(60);
/// For coordinators only.
const DELIVER: &str = "/slot.v1.Agent/Deliver";

/// Stands for `slot.v1.Agent`: answers every call ABORTED with the caller's identity as the message.
#[derive(Clone)]
struct Echo;

impl NamedService for Echo {
    const NAME: &'static str = "slot.v1.Agent";
}

impl Service<http::Request<Body>> for Echo {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;
    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }
    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let (parts, body) = request.into_parts();
        let request = tonic::Request::from_parts(Default::default(), parts.extensions, body);
        let status = match identity_of(&request) {
            Ok(identity) => Status::aborted(identity.to_string()),
            Err(status) => status,
        };
        Box::pin(async move { Ok(status.into_http()) })
    }
}

fn names<T, E: std::fmt::Debug>(texts: &[&str], new: impl Fn(String) -> Result<T, E>) -> Vec<T> {
    texts.iter().map(|text| new(text.to_string()).unwrap()).collect()
}

fn make_cluster(dir: &Path) -> Result<slot_net::Initialized, slot_net::CaError> {
    let coordinators = BTreeMap::from([
        (CoordinatorName::new("c1").unwrap(), "127.0.0.1:7001".parse().unwrap()),
        (CoordinatorName::new("c2").unwrap(), "127.0.0.1:7002".parse().unwrap()),
    ]);
    init_cluster(
        dir,
        &ClusterName::new("fm1").unwrap(),
        &coordinators,
        &names(&["imap3", "imap4"], HostName::new),
        &[],
        &names(&["alice", "bob"], OperatorName::new),
        &names(&["w1"], ClientName::new),
    )
}

fn cluster() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    make_cluster(dir.path()).unwrap();
    dir
}

fn folder(dir: &TempDir, name: &str) -> IdentityFolder {
    IdentityFolder::load(&dir.path().join(name)).unwrap()
}

fn identity(role: Role, name: &str) -> Identity {
    Identity::new(role, name).unwrap()
}

struct Running {
    addr: SocketAddr,
    stop: oneshot::Sender<()>,
    served: tokio::task::JoinHandle<Result<(), slot_net::ServeError>>,
}

async fn start(folder: IdentityFolder) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let served = tokio::spawn(async move {
        serve(listener, &folder, Routes::new(Echo), async {
            let _ = stopped.await;
        })
        .await
    });
    Running { addr, stop, served }
}

fn dial(folder: IdentityFolder, addr: SocketAddr, expected: &Identity) -> Channel {
    Dialer::new(folder).channel(addr, expected).unwrap()
}

/// Calls a path; the status the server answered, or every cause of the failure in one text.
async fn call(channel: &mut Channel, path: &str) -> Result<Status, String> {
    let attempt = async {
        std::future::poll_fn(|cx| channel.poll_ready(cx)).await.map_err(|e| causes(&e))?;
        let request = http::Request::post(path).header("content-type", "application/grpc").body(Body::empty()).unwrap();
        let response = channel.call(request).await.map_err(|e| causes(&e))?;
        Status::from_header_map(response.headers()).ok_or_else(|| "no status".to_string())
    };
    tokio::time::timeout(HANG, attempt).await.expect("the call hangs")
}

fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

#[tokio::test]
async fn the_right_role_is_served_as_who_it_is_and_the_wrong_one_is_denied() {
    let dir = cluster();
    let server = start(folder(&dir, "coordinator-c1")).await;
    let c1 = identity(Role::Coordinator, "c1");
    let served = call(&mut dial(folder(&dir, "coordinator-c2"), server.addr, &c1), DELIVER).await.unwrap();
    assert_eq!((served.code(), served.message()), (Code::Aborted, "coordinator/c2"));

    let mut client = dial(folder(&dir, "client-w1"), server.addr, &c1);
    let denied = call(&mut client, DELIVER).await.unwrap();
    assert_eq!(denied.code(), Code::PermissionDenied);
    for part in ["client/w1", DELIVER, "coordinator"] {
        assert!(denied.message().contains(part), "{part} in {}", denied.message());
    }
    let unknown = call(&mut client, "/slot.v1.Agent/NoSuchThing").await.unwrap();
    assert_eq!(unknown.code(), Code::PermissionDenied, "a path without a rule is denied, not unimplemented");
}

#[tokio::test]
async fn a_dialer_refuses_everybody_but_the_one_it_asked_for() {
    let dir = cluster();
    let server = start(folder(&dir, "agent-imap3")).await;
    let mut wrong_name = dial(folder(&dir, "coordinator-c1"), server.addr, &identity(Role::Agent, "imap4"));
    let refused = call(&mut wrong_name, DELIVER).await.unwrap_err();
    assert!(refused.contains("certificate"), "{refused}");
    let mut wrong_role = dial(folder(&dir, "coordinator-c1"), server.addr, &identity(Role::Coordinator, "imap3"));
    assert!(call(&mut wrong_role, DELIVER).await.is_err());
    let mut right = dial(folder(&dir, "coordinator-c1"), server.addr, &identity(Role::Agent, "imap3"));
    assert!(call(&mut right, DELIVER).await.is_ok());
}

#[tokio::test]
async fn another_cluster_s_certificate_is_refused_on_both_sides() {
    let (ours, theirs) = (cluster(), cluster());
    let server = start(folder(&ours, "coordinator-c1")).await;
    let c1 = identity(Role::Coordinator, "c1");
    let refused = call(&mut dial(folder(&theirs, "coordinator-c2"), server.addr, &c1), DELIVER).await.unwrap_err();
    assert!(refused.contains("certificate"), "{refused}");

    // And when the dialer trusts the server, the server still refuses a certificate of another CA.
    let trusting = Outsider { ca: &ours, identity: Some(&theirs), version: &version::TLS13 };
    assert!(trusting.exchange(server.addr).await.is_err());
    let own = Outsider { ca: &ours, identity: Some(&ours), version: &version::TLS13 };
    assert!(own.exchange(server.addr).await.is_ok(), "the same with the right certificate works");
}

#[tokio::test]
async fn no_certificate_and_no_tls_1_3_are_refused() {
    let dir = cluster();
    let server = start(folder(&dir, "coordinator-c1")).await;
    let nobody = Outsider { ca: &dir, identity: None, version: &version::TLS13 };
    assert!(nobody.exchange(server.addr).await.is_err());
    let old = Outsider { ca: &dir, identity: Some(&dir), version: &version::TLS12 };
    let refused = old.exchange(server.addr).await.unwrap_err();
    assert!(refused.contains("ProtocolVersion"), "{refused}");
}

/// A client that is not ours: it picks its CA, its certificate and its TLS version.
struct Outsider<'a> {
    ca: &'a TempDir,
    identity: Option<&'a TempDir>,
    version: &'static SupportedProtocolVersion,
}

impl Outsider<'_> {
    /// Handshakes, greets as HTTP/2 and waits for a byte: in TLS 1.3 a client learns only then that it was refused.
    async fn exchange(&self, addr: SocketAddr) -> Result<(), String> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.ca.path().join("ca/ca.pem")).unwrap()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[self.version])
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match self.identity {
            None => builder.with_no_client_auth(),
            Some(dir) => {
                let path = dir.path().join("coordinator-c2");
                let certificate = CertificateDer::from_pem_file(path.join("cert.pem")).unwrap();
                let key = PrivateKeyDer::from_pem_file(path.join("key.pem")).unwrap();
                builder.with_client_auth_cert(vec![certificate], key).unwrap()
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        let name = ServerName::try_from(identity(Role::Coordinator, "c1").dns_name()).unwrap();
        let attempt = async {
            let tcp = TcpStream::connect(addr).await.map_err(|e| e.to_string())?;
            let connector = TlsConnector::from(Arc::new(config));
            let mut tls = connector.connect(name, tcp).await.map_err(|e| e.to_string())?;
            tls.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.map_err(|e| e.to_string())?;
            tls.read_u8().await.map(drop).map_err(|e| e.to_string())
        };
        tokio::time::timeout(HANG, attempt).await.expect("the handshake hangs")
    }
}

/// A CA of our own in `dir`, whose leaf has the given URIs beside a DNS name.
fn forge(dir: &TempDir, dns_name: &str, uris: &[&str]) -> ServerConfig {
    let ca_pem = std::fs::read_to_string(dir.path().join("ca/ca.pem")).unwrap();
    let ca_key = KeyPair::from_pem(&std::fs::read_to_string(dir.path().join("ca/ca-key.pem")).unwrap()).unwrap();
    let issuer = Issuer::from_ca_cert_pem(&ca_pem, ca_key).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![dns_name.to_string()]).unwrap();
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    for uri in uris {
        params.subject_alt_names.push(SanType::URI((*uri).try_into().unwrap()));
    }
    let certificate = params.signed_by(&key, &issuer).unwrap();
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&version::TLS13, &version::TLS12])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap(),
        )
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}

/// Why a dialer that expects `coordinator/c1` does not talk to a server with this TLS configuration.
async fn refusal(dir: &TempDir, config: ServerConfig) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let fake = tokio::spawn(async move {
        let acceptor = TlsAcceptor::from(Arc::new(config));
        while let Ok((tcp, _)) = listener.accept().await {
            let _ = acceptor.accept(tcp).await;
        }
    });
    let mut channel = dial(folder(dir, "coordinator-c2"), addr, &identity(Role::Coordinator, "c1"));
    let refused = call(&mut channel, DELIVER).await.unwrap_err();
    fake.abort();
    refused
}

#[tokio::test]
async fn a_dialer_believes_the_stated_identity_and_not_the_dns_name_alone() {
    let dir = cluster();
    let name = identity(Role::Coordinator, "c1").dns_name();
    let other = refusal(&dir, forge(&dir, &name, &["slot://agent/imap3"])).await;
    assert!(other.contains("states agent/imap3 and the DNS names"), "{other}");
    let none = refusal(&dir, forge(&dir, &name, &[])).await;
    assert!(none.contains("no slot:// identity"), "{none}");
    let two = refusal(&dir, forge(&dir, &name, &["slot://coordinator/c1", "slot://operator/alice"])).await;
    assert!(two.contains("2 slot:// identities"), "{two}");
    let unknown = refusal(&dir, forge(&dir, &name, &["slot://root/c1"])).await;
    assert!(unknown.contains("not a role"), "{unknown}");
}

#[tokio::test]
async fn a_dialer_believes_no_server_that_speaks_tls_1_2() {
    let dir = cluster();
    let name = identity(Role::Coordinator, "c1").dns_name();
    let ca_pem = std::fs::read_to_string(dir.path().join("ca/ca.pem")).unwrap();
    assert!(!ca_pem.is_empty());
    let folder = dir.path().join("coordinator-c1");
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&version::TLS12])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_file(folder.join("cert.pem")).unwrap()],
            PrivateKeyDer::from_pem_file(folder.join("key.pem")).unwrap(),
        )
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let refused = refusal(&dir, config).await;
    assert!(refused.contains("TLS 1.2"), "{name}: {refused}");
}

#[tokio::test]
async fn slow_handshakes_hold_up_nobody_else() {
    let dir = cluster();
    let server = start(folder(&dir, "coordinator-c1")).await;
    let mut silent = Vec::new();
    for _ in 0..HANDSHAKES_MAX / 4 {
        silent.push(TcpStream::connect(server.addr).await.unwrap());
    }
    let mut channel = dial(folder(&dir, "coordinator-c2"), server.addr, &identity(Role::Coordinator, "c1"));
    assert_eq!(call(&mut channel, DELIVER).await.unwrap().code(), Code::Aborted);
    // The silent ones are sent away by the server, not by us.
    for mut stream in silent {
        let read =
            tokio::time::timeout(HANG, stream.read(&mut [0u8; 1])).await.expect("a silent client is kept for ever");
        assert!(matches!(read, Ok(0) | Err(_)));
    }
}

#[tokio::test]
async fn a_server_ends_when_asked_even_with_a_connection_open() {
    let dir = cluster();
    let server = start(folder(&dir, "coordinator-c1")).await;
    let mut channel = dial(folder(&dir, "coordinator-c2"), server.addr, &identity(Role::Coordinator, "c1"));
    assert_eq!(call(&mut channel, DELIVER).await.unwrap().code(), Code::Aborted);
    server.stop.send(()).unwrap();
    tokio::time::timeout(HANG, server.served).await.expect("the server does not end").unwrap().unwrap();
    assert!(call(&mut channel, DELIVER).await.is_err());
}

const STARVED: &str = "SLOT_NET_TEST_STARVED";

/// Runs only inside the process that the test below starts, since it uses up the process's file descriptors.
#[tokio::test]
async fn child_survives_being_out_of_file_descriptors() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    if std::env::var_os(STARVED).is_none() {
        return;
    }
    let dir = cluster();
    let server = start(folder(&dir, "coordinator-c1")).await;
    let mut channel = dial(folder(&dir, "coordinator-c2"), server.addr, &identity(Role::Coordinator, "c1"));
    setrlimit(Resource::Nofile, Rlimit { current: Some(128), ..getrlimit(Resource::Nofile) }).unwrap();
    let mut hoard = Vec::new();
    while let Ok(file) = std::fs::File::open("/dev/null") {
        hoard.push(file);
    }
    hoard.pop(); // for the client's end of the connection; there is none for the server's
    let mut waiting = TcpStream::connect(server.addr).await.unwrap();
    let answered = tokio::time::timeout(Duration::from_millis(500), waiting.read(&mut [0u8; 1])).await;
    assert!(answered.is_err(), "not accepted, and not refused either");
    assert!(!server.served.is_finished(), "an accept error ended the server");
    drop(hoard);
    assert_eq!(call(&mut channel, DELIVER).await.unwrap().code(), Code::Aborted);
    println!("served after the famine");
}

#[test]
fn being_out_of_file_descriptors_does_not_end_a_server() {
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture", "child_survives_being_out_of_file_descriptors"])
        .env(STARVED, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("served after the famine"), "{text}");
}
