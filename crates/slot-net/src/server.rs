//! Serving: accept, handshake, authorise, and only then a service.
//!
//! What always holds: no accept error ends a server; a slow or dumb handshake holds up nobody else and ends after
//! [`HANDSHAKE_TIMEOUT`]; connections, handshakes and streams are bounded; every request that reaches a service carries
//! the [`Identity`] its connection proved, and passed the table in [`crate::authz`].

use crate::authz::AuthzLayer;
use crate::folder::IdentityFolder;
use crate::identity::Identity;
use crate::tls;
use slot_types::position::Digest;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::Connected;

/// How long a client may take for its TLS handshake.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// How many handshakes run at a time; further connections wait in the kernel's queue.
pub const HANDSHAKES_MAX: usize = 128;
/// How many authenticated connections there may be; further ones are closed. With the handshakes they stay below the
/// 1024 file descriptors a process usually has, so that the store's own files can still be opened.
pub const CONNECTIONS_MAX: usize = 640;
/// How many calls may run at a time on one connection. tonic has no limit of its own.
pub const STREAMS_PER_CONNECTION_MAX: u32 = 256;
/// The largest list of headers a request may have, in bytes.
pub const HEADER_LIST_BYTES_MAX: u32 = 16 * 1024;
/// How long calls may go on after the shutdown was asked for, before their connections are cut.
pub const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);
const KEEPALIVE: Duration = Duration::from_secs(10);
/// How long to wait after the kernel refused a connection (no file descriptors left, say) before asking again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Handshakes that are done and not yet taken up by the HTTP/2 server.
const READY_QUEUE: usize = 64;

/// Why a server could not start or ended.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The identity folder's certificates or key do not make a TLS server.
    #[error("cannot serve as {identity}: {cause}; check ca.pem, cert.pem and key.pem of its folder")]
    Tls {
        /// As whom.
        identity: Identity,
        /// What TLS said.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The HTTP/2 server ended by itself.
    #[error("the server of {identity} ended: {cause}")]
    Ended {
        /// As whom.
        identity: Identity,
        /// Why.
        #[source]
        cause: tonic::transport::Error,
    },
}

/// What is known of the other side of a connection.
#[derive(Debug, Clone)]
pub struct PeerInfo {
    /// Who it proved to be.
    pub identity: Identity,
    /// Which certificate it proved that with.
    pub certificate: Digest,
    /// Where it dialled from.
    pub remote_addr: Option<SocketAddr>,
}

/// Who sent this request, as its certificate says.
pub fn identity_of<T>(request: &tonic::Request<T>) -> Result<&Identity, Status> {
    request.extensions().get::<Identity>().ok_or_else(|| {
        Status::unauthenticated("the request came without an identity: serve it through slot_net::serve")
    })
}

/// Everything known of who sent this request.
pub fn peer_of<T>(request: &tonic::Request<T>) -> Result<&PeerInfo, Status> {
    request.extensions().get::<PeerInfo>().ok_or_else(|| {
        Status::unauthenticated("the request came without a certificate: serve it through slot_net::serve")
    })
}

/// Serves `routes` as the identity of `folder` until `shutdown`, then lets running calls end for [`SHUTDOWN_GRACE`] and
/// cuts the rest. Returns when no connection is served any more.
pub async fn serve(
    listener: TcpListener,
    folder: &IdentityFolder,
    routes: Routes,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let identity = folder.identity().clone();
    let config = tls::server_config(folder).map_err(|cause| ServeError::Tls { identity: identity.clone(), cause })?;
    let (cut, cut_seen) = watch::channel(false);
    let (stopping, mut stopped) = watch::channel(false);
    let (ready, incoming) = mpsc::channel(READY_QUEUE);
    let accepting = accept(listener, TlsAcceptor::from(config), ready, cut_seen);
    let serving = Server::builder()
        .accept_http1(false)
        .max_concurrent_streams(STREAMS_PER_CONNECTION_MAX)
        .http2_max_header_list_size(HEADER_LIST_BYTES_MAX)
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE))
        .layer(AuthzLayer)
        .add_routes(routes)
        .serve_with_incoming_shutdown(ReceiverStream::new(incoming), async move {
            let _ = stopped.wait_for(|stopped| *stopped).await;
        });
    let mut serving = std::pin::pin!(serving);
    let ended = |outcome: Result<(), tonic::transport::Error>| {
        outcome.map_err(|cause| ServeError::Ended { identity: identity.clone(), cause })
    };
    tokio::select! {
        outcome = &mut serving => return ended(outcome),
        () = accepting => {}
        () = shutdown => {}
    }
    stopping.send_replace(true);
    match timeout(SHUTDOWN_GRACE, &mut serving).await {
        Ok(outcome) => ended(outcome),
        Err(_) => {
            cut.send_replace(true);
            ended(serving.await)
        }
    }
}

/// Takes connections for ever, each handshake in a task of its own. Dropping it ends the handshakes under way.
async fn accept(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    ready: mpsc::Sender<io::Result<Connection>>,
    cut: watch::Receiver<bool>,
) {
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut tasks = JoinSet::new();
    while let Ok(handshake) = handshakes.clone().acquire_owned().await {
        while tasks.try_join_next().is_some() {}
        let (stream, remote_addr) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!("cannot accept a connection: {error}; trying again in {ACCEPT_PAUSE:?}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (acceptor, ready, cut, connections) = (acceptor.clone(), ready.clone(), cut.clone(), connections.clone());
        tasks.spawn(async move {
            let outcome = shake(stream, remote_addr, &acceptor, &connections, cut).await;
            drop(handshake);
            match outcome {
                // The receiver is gone only when the server is ending.
                Ok(connection) => drop(ready.send(Ok(connection)).await),
                Err(refused) => tracing::info!(%remote_addr, "connection refused: {refused}"),
            }
        });
    }
}

#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("no TLS handshake within {HANDSHAKE_TIMEOUT:?}")]
    Slow,
    #[error("TLS: {0}")]
    Tls(#[from] io::Error),
    #[error("no client certificate")]
    NoCertificate,
    #[error("{0}")]
    Identity(#[from] crate::identity::IdentityError),
    #[error("{0} connections are open already")]
    Full(usize),
}

async fn shake(
    stream: TcpStream,
    remote_addr: SocketAddr,
    acceptor: &TlsAcceptor,
    connections: &Arc<Semaphore>,
    mut cut: watch::Receiver<bool>,
) -> Result<Connection, Refused> {
    stream.set_nodelay(true)?;
    let stream = timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await.map_err(|_| Refused::Slow)??;
    let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let leaf = certificates.first().ok_or(Refused::NoCertificate)?;
    let identity = Identity::from_der(leaf)?;
    let info = PeerInfo { identity, certificate: Digest::of(leaf), remote_addr: Some(remote_addr) };
    let permit = connections.clone().try_acquire_owned().map_err(|_| Refused::Full(CONNECTIONS_MAX))?;
    let cut = Box::pin(async move { drop(cut.wait_for(|cut| *cut).await) });
    Ok(Connection { stream, info, cut, _permit: permit })
}

/// An authenticated connection; it counts against [`CONNECTIONS_MAX`] until it is dropped.
struct Connection {
    stream: TlsStream<TcpStream>,
    info: PeerInfo,
    /// Done when the server's grace is over: then reading fails, which ends the connection's task.
    cut: Pin<Box<dyn Future<Output = ()> + Send>>,
    _permit: OwnedSemaphorePermit,
}

impl Connected for Connection {
    type ConnectInfo = PeerInfo;
    fn connect_info(&self) -> PeerInfo {
        self.info.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.cut.as_mut().poll(cx).is_ready() {
            // A finished future is not polled again: the next one is finished from the start.
            self.cut = Box::pin(std::future::ready(()));
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the server is shutting down")));
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }
    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
