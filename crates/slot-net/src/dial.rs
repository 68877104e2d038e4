//! Calling somebody by identity.
//!
//! What always holds: a channel speaks TLS 1.3 to a server whose certificate states exactly the identity it was made
//! for, whatever answers at the address; a dead connection is noticed within the two keepalive times, also while idle.

use crate::folder::IdentityFolder;
use crate::identity::Identity;
use crate::tls::ExpectIdentity;
use std::net::SocketAddr;
use std::time::Duration;
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};

/// How long one try to connect may take, TCP and TLS each.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How often an open connection is tried, also when no call runs on it.
pub const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
/// How long the answer to such a try may take.
pub const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);
/// The largest list of headers a client accepts, in bytes.
const HEADER_LIST_BYTES_MAX: u32 = 16 * 1024;

/// Why a channel could not be made. Connecting happens later, with the first call.
#[derive(Debug, thiserror::Error)]
#[error("cannot prepare a channel to {expected} at {addr} with the identity folder {folder}: {cause}")]
pub struct DialError {
    expected: Identity,
    addr: SocketAddr,
    folder: String,
    #[source]
    cause: Box<dyn std::error::Error + Send + Sync>,
}

/// Makes channels with one identity folder.
#[derive(Debug, Clone)]
pub struct Dialer {
    folder: IdentityFolder,
}

impl Dialer {
    /// Dials as the identity of this folder.
    pub fn new(folder: IdentityFolder) -> Self {
        Self { folder }
    }

    /// Who dials.
    pub fn identity(&self) -> &Identity {
        self.folder.identity()
    }

    /// The folder it dials with.
    pub fn folder(&self) -> &IdentityFolder {
        &self.folder
    }

    /// A channel to exactly `expected` at `addr`. It connects when first used, and again whenever it must; it needs a
    /// tokio runtime around it. Set a deadline on every call, and [`crate::MESSAGE_BYTES_MAX`] on the client.
    pub fn channel(&self, addr: SocketAddr, expected: &Identity) -> Result<Channel, DialError> {
        self.endpoint(addr, expected).map(|endpoint| endpoint.connect_lazy()).map_err(|cause| DialError {
            expected: expected.clone(),
            addr,
            folder: self.folder.path().display().to_string(),
            cause,
        })
    }

    /// The same, connected already: whoever it reaches has shown that it is `expected`.
    pub async fn connect(&self, addr: SocketAddr, expected: &Identity) -> Result<Channel, DialError> {
        let failed = |cause| DialError {
            expected: expected.clone(),
            addr,
            folder: self.folder.path().display().to_string(),
            cause,
        };
        let endpoint = self.endpoint(addr, expected).map_err(failed)?;
        endpoint.connect().await.map_err(|cause| failed(Box::new(cause)))
    }

    fn endpoint(
        &self,
        addr: SocketAddr,
        expected: &Identity,
    ) -> Result<Endpoint, Box<dyn std::error::Error + Send + Sync>> {
        let verifier = ExpectIdentity::new(&self.folder, expected)?;
        let tls = ClientTlsConfig::new()
            .domain_name(expected.dns_name())
            .identity(tonic::transport::Identity::from_pem(self.folder.cert_pem(), self.folder.key_pem()))
            .timeout(CONNECT_TIMEOUT);
        Ok(Endpoint::from_shared(format!("https://{addr}"))?
            .tls_config_with_verifier(tls, verifier)?
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT)
            .keep_alive_while_idle(true)
            .http2_max_header_list_size(HEADER_LIST_BYTES_MAX))
    }
}
